/* Clusters: rows that turned out to be one. Pure.
 *
 * Two devices register the same customer apart; a @key column says so. Two writes of equal keys
 * (satchel_key_match) to different rows *link* the rows
 *
 *   unless one of them was overwritten, or its row deleted, by a write that had not seen the other,
 *   and unless a write has set the rows apart (operation.h): one on either row that had seen the
 *   other's write, or is seen by it, and whose own write is one of the two or overwrote it.
 *
 * Linked rows, and rows linked to those, are one *cluster*: one row in the tables. Its *survivor*
 * is the member with the earliest insert by order (then the smaller name); every other member is an
 * *alias* of it. Which rows are linked is a function of the set of writes: a link that forms when
 * the second write arrives goes again when a write arrives that undoes its ground, and the cluster
 * splits.
 *
 * The survivor's row is what all writes to all members make of one row, each rule as always. A
 * write on one member had seen a write on another only if its change set's `seen` covers both ends
 * of every link on some path between the two members (and then as satchel_write_saw says): whoever
 * had not been shown the merge had not been shown the other row as this one. */
#ifndef SATCHEL_CLUSTER_H
#define SATCHEL_CLUSTER_H

#include <satchel/row.h>

/* A row that may belong to a cluster. Everything borrowed; it must outlive the clusters. */
struct satchel_member {
    struct satchel_span name; /* satchel_row_name: what identifies it */
    /* every write to it in order of arrival; `member` is set by satchel_clusters_new, `arrival` is
     * the caller's */
    struct satchel_write *writes;
    size_t write_count;
};

struct satchel_clusters;

/* Finds the clusters among `members` (each once, in any order), which must include every row that
 * any of them may be linked to. NOMEM. */
enum satchel_status satchel_clusters_new(struct satchel_clusters **out,
                                         const struct satchel_table_rules *rules,
                                         struct satchel_member *members, uint32_t member_count,
                                         struct satchel_arena *arena) SATCHEL_MUST_USE;

/* The member that stands for `member`: itself, if it is no alias. */
uint32_t satchel_clusters_survivor(const struct satchel_clusters *clusters, uint32_t member);

/* satchel_row_rebuild for the survivor `member`, from the writes of its whole cluster. `row` is the
 * survivor's row before, `last` the write being merged if it is one of these, else NULL (result's
 * outcomes are then NULL). Conflicts of the row afterwards (satchel_row_conflicts) have the member
 * that the loser wrote to, and one DUPLICATE for each key head of an alias. */
enum satchel_status satchel_clusters_rebuild(const struct satchel_clusters *clusters,
                                             uint32_t member, struct satchel_row *row,
                                             const struct satchel_write *last,
                                             struct satchel_arena *arena,
                                             struct satchel_merge_result *result,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* The keys by which a row can be linked to rows yet to come: the heads of its @key columns, each
 * (column, satchel_key_match). For the index that finds candidates. */
struct satchel_row_key {
    uint32_t column;
    struct satchel_span match;
};
enum satchel_status satchel_row_keys(const struct satchel_table_rules *rules,
                                     const struct satchel_row *row, struct satchel_arena *arena,
                                     struct satchel_row_key **out,
                                     uint32_t *out_count) SATCHEL_MUST_USE;

#endif
