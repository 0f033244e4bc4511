/* Clusters: rows that turned out to be one. Pure.
 *
 * Two devices register the same customer apart; a @key column says so. Two writes of equal keys
 * (satchel_key_match) to one column of different rows *link* the rows
 *
 *   unless one of them sets its row apart (operation.h);
 *   and unless one of them was overwritten, or its row deleted, by a write to the same row that
 *   sets it apart, or that had not been shown the two as one: its change set's `seen` does not
 *   cover both. (Under delete_wins a delete takes what it had not seen, too.)
 *
 * Linked rows, and rows linked to those, are one *cluster*: one row in the tables. Its *survivor*
 * is the member with the earliest insert by order (then the smaller name) that is of the row's
 * present life, or if none is, of all; every other member is an *alias* of it.
 *
 * A pair of writes links from the moment the second one arrives or never; it stops for good when a
 * write to one of the two rows arrives that undoes it, and the cluster may split. So a row's keys
 * that nothing has overwritten there (satchel_row_keys, satchel_clusters_keys) are all one needs to
 * find the rows that a new key links it to.
 *
 * Whoever is shown a merged row and changes its key or deletes it means all its rows: devices then
 * write the same to every alias they know of. Else the aliases keep what was overwritten, and a
 * newcomer with the old key would be merged with them.
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
 * any of them may be linked to: those that are one with it now, and for a new write of a key those
 * with an equal one among their keys, each with what is one with it. NOMEM. */
enum satchel_status satchel_clusters_new(struct satchel_clusters **out,
                                         const struct satchel_table_rules *rules,
                                         struct satchel_member *members, uint32_t member_count,
                                         struct satchel_arena *arena) SATCHEL_MUST_USE;

/* The member that stands for `member`: itself, if it is no alias. */
uint32_t satchel_clusters_survivor(const struct satchel_clusters *clusters, uint32_t member);

/* satchel_row_rebuild for the survivor `member`, from the writes of its whole cluster. `row` is the
 * survivor's row before, `last` the write being merged if it is one of these, else NULL (result's
 * outcomes are then NULL). Conflicts of the row afterwards (satchel_row_conflicts) have the member
 * that the loser wrote to, and one DUPLICATE for each key head of an alias that is linked to
 * another head (the winner) on a row that its author had not been shown as the same; it takes the
 * place of the same head's conflict by the rule. It closes when somebody who was shown the merge
 * writes the key. A stored version keeps the duplicates, and member numbers as they were in this
 * call: what they name is the caller's to know. */
enum satchel_status satchel_clusters_rebuild(const struct satchel_clusters *clusters,
                                             uint32_t member, struct satchel_row *row,
                                             const struct satchel_write *last,
                                             struct satchel_arena *arena,
                                             struct satchel_merge_result *result,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* The keys by which a row can be linked to rows yet to come, for the index that finds candidates:
 * of a row by itself (the heads of its @key columns), and of a member, whether alias or not. */
struct satchel_row_key {
    uint32_t column;
    struct satchel_span match;
};
enum satchel_status satchel_row_keys(const struct satchel_table_rules *rules,
                                     const struct satchel_row *row, struct satchel_arena *arena,
                                     struct satchel_row_key **out,
                                     uint32_t *out_count) SATCHEL_MUST_USE;
enum satchel_status satchel_clusters_keys(const struct satchel_clusters *clusters, uint32_t member,
                                          struct satchel_arena *arena, struct satchel_row_key **out,
                                          uint32_t *out_count) SATCHEL_MUST_USE;

#endif
