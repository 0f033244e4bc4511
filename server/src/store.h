/* The store of one workspace: what the merge needs of a database, in batches.
 *
 * Shaped so that a store over the network needs a handful of round trips per batch: load the
 * versions and values of many rows, write many rows, append many entries, one commit. The merge
 * (merge.h) is a pure function of what it loads here and the batch; it never issues SQL. One writer
 * per store.
 *
 * In the SQLite store (store_sqlite.c) one file holds everything: the application's tables exactly
 * as the schema declares them, and
 *
 *   satchel_workspace   one row: name, workspace id, node id (this incarnation), head, seq, ...
 *   satchel_incarnation what this node was called before it was restored: the last entry and
 *                       position known of each earlier incarnation (docs/recovery.md)
 *   satchel_position    positions that earlier incarnations gave to entries which devices gave
 *                       back; late ones with the last entry before them, and their turn
 *   satchel_id          ids as small numbers, for versions (row.h)
 *   satchel_row         version of every row ever seen, by satchel_row_name; deleted rows included;
 *                       and its scope (scope.h, which has tables of its own)
 *   satchel_device      id, user, token hash, last number and its hash, cursor, clock error, ...;
 *                       of a copy the device it is a copy of, and up to which number
 *   satchel_hash        hash of every change set by device and number
 *   satchel_key         every key that a row was ever written with (cluster.h)
 *   satchel_gone        rows deleted while they belonged to a row that may freeze them
 *   satchel_number      the last number given of every series, branch and year
 *   satchel_branch      one row: the short name of this node in document numbers
 *   satchel_revoked     devices that an administrator revoked, or that have wiped what they had
 *                       (ms); is_late: what such a device, or a copy of it, sends still is set
 *                       aside
 *   satchel_device_role the roles a device has been told, and when it was told another (ms)
 *   satchel_quarantine  parts set aside by (cursor, part), and what became of them
 *   satchel_user, satchel_grant, satchel_invite, and the log's tables (sql/include/satchel/log.h)
 *
 * satchel_entry.timeline: per part of the entry's body, the cursor of the previous entry that
 * touched the same row (0: none), as MessagePack array: the row's timeline is a chain through the
 * log that starts at satchel_version_timeline. A quarantined part is not in the chain (its element
 * is 0). */
#ifndef SATCHEL_STORE_H
#define SATCHEL_STORE_H

#include <satchel/log.h>
#include <satchel/row.h>
#include <satchel/row_io.h>
#include <satchel/schema.h>
#include <satchel/workspace_data.h>

struct satchel_store;
struct incarnations;

/* A row as the store holds it. */
struct satchel_store_row {
    const struct satchel_table *table;
    const struct satchel_value *key;
    struct satchel_span name;    /* satchel_row_name: what identifies it */
    struct satchel_span version; /* encoded; empty: never seen */
    bool exists;
    struct satchel_value *values; /* table->column_count if it exists */
    bool existed;                 /* for write_rows: it was in the table when it was loaded */
    const bool *changed;          /* for write_rows: columns to set if it existed; NULL: all */
};

struct satchel_store_device {
    struct satchel_id id;
    struct satchel_span user;
    uint64_t last_number; /* held; 0: none yet */
    satchel_stamp last_stamp;
    struct satchel_id parent;        /* the device that it is a copy of; zero: none */
    uint64_t parent_number;          /* up to which it was that one */
    struct satchel_vector ancestors; /* the merge's: the parent, its parent, and so on */
    bool is_refused;                 /* the merge's: so is what follows */
};

/* A key by which a row was written: its canonical form (satchel_key_match). */
struct satchel_store_key {
    uint32_t table, column;
    struct satchel_span match;
    struct satchel_span name; /* of the row */
};

/* A row that another one stands for. */
struct satchel_store_alias {
    struct satchel_span name;
    struct satchel_span survivor; /* empty: a row of its own again */
};

/* A row that was deleted while it belonged to another. */
struct satchel_store_gone {
    struct satchel_span parent, name;
};

/* A part that was set aside. */
struct satchel_store_quarantine {
    uint64_t cursor; /* of its entry */
    uint32_t part;
    struct satchel_span name; /* of its row; empty if it names none */
};

struct satchel_store_head {
    struct satchel_id workspace_id;
    struct satchel_id node;
    uint64_t cursor;     /* of the last entry */
    uint64_t seq;        /* of the last change set accepted first-hand */
    satchel_stamp stamp; /* the greatest stamp held */
};

/* What the schema says about document numbers (workspace_data.h), and whose they are. */
struct satchel_store_numbering {
    struct satchel_number_series *series;
    uint32_t series_count;
    struct satchel_span branch; /* the node's short name */
};

/* Who wrote, and what he had been shown when he did. */
struct satchel_store_author {
    struct satchel_span user;
    const struct satchel_vector *seen;
    const struct incarnations *known;
};

/* What a row is to an author, by its scope (scope.h). */
enum satchel_sight {
    SATCHEL_SIGHT_NEW, /* the store has never had the row */
    SATCHEL_SIGHT_SEEN,
    SATCHEL_SIGHT_FOREIGN
};

/* Every call but the reads is made inside begin .. commit by the one writer. `error` gets SQL, IO,
 * NOMEM. write_rows writes all rows or none: REFUSED when constraints or triggers of the schema
 * refuse some; then `refusals` (one per row, zeroed by the caller) has the reason of each of those,
 * in `arena`. */
struct satchel_store_ops {
    enum satchel_status (*begin)(struct satchel_store *, struct satchel_error *);
    enum satchel_status (*commit)(struct satchel_store *, struct satchel_error *);
    void (*rollback)(struct satchel_store *);
    enum satchel_status (*load_head)(struct satchel_store *, struct satchel_store_head *,
                                     struct satchel_error *);
    /* Who the node is and was, and what it holds. */
    enum satchel_status (*load_incarnations)(struct satchel_store *, struct satchel_arena *,
                                             struct incarnations *, struct satchel_error *);
    /* Positions from earlier incarnations that the entry has beside its own. */
    enum satchel_status (*load_positions)(struct satchel_store *, uint64_t cursor,
                                          struct satchel_arena *, struct satchel_vector *,
                                          struct satchel_error *);
    /* Such a position of an entry: from now on the node holds all of that incarnation's up to it.
     * `late_after`: positions_add. */
    enum satchel_status (*add_position)(struct satchel_store *, uint64_t cursor,
                                        const struct satchel_position *, uint64_t late_after,
                                        struct satchel_error *);
    enum satchel_status (*load_devices)(
        struct satchel_store *, struct satchel_store_device *, size_t count, struct satchel_arena *,
        struct satchel_error *); /* by id; NOT_FOUND if one is missing */
    enum satchel_status (*load_rows)(struct satchel_store *, struct satchel_store_row *,
                                     size_t count, struct satchel_arena *, struct satchel_error *);
    enum satchel_status (*load_entries)(struct satchel_store *, const uint64_t *cursors,
                                        size_t count, struct satchel_entry *,
                                        struct satchel_span *timelines, struct satchel_arena *,
                                        struct satchel_error *); /* bodies in stored form */
    /* The hash kept with a change set, for idempotency. NOT_FOUND. */
    enum satchel_status (*load_hash)(struct satchel_store *, const struct satchel_id *device,
                                     uint64_t number, uint8_t hash[SATCHEL_HASH_BYTES],
                                     struct satchel_error *);
    enum satchel_status (*write_rows)(struct satchel_store *, const struct satchel_store_row *,
                                      size_t count, struct satchel_span *refusals,
                                      struct satchel_arena *, struct satchel_error *);
    enum satchel_status (*append_entries)(struct satchel_store *, const struct satchel_entry *,
                                          const struct satchel_span *timelines,
                                          const uint8_t (*hashes)[SATCHEL_HASH_BYTES], size_t count,
                                          struct satchel_error *);
    enum satchel_status (*write_conflicts)(struct satchel_store *,
                                           const struct satchel_conflict_note *, size_t count,
                                           struct satchel_error *);
    enum satchel_status (*write_quarantine)(struct satchel_store *,
                                            const struct satchel_store_quarantine *, size_t count,
                                            struct satchel_error *);
    /* The entry of a change set. NOT_FOUND. */
    enum satchel_status (*find_entry)(struct satchel_store *, const struct satchel_id *device,
                                      uint64_t number, uint64_t *cursor, struct satchel_error *);
    /* The last note of a conflict. NOT_FOUND. */
    enum satchel_status (*find_conflict)(struct satchel_store *, const struct satchel_id *,
                                         struct satchel_arena *, struct satchel_conflict_note *,
                                         struct satchel_error *);
    enum satchel_status (*write_devices)(struct satchel_store *,
                                         const struct satchel_store_device *, size_t count,
                                         struct satchel_error *);
    /* Enrols a device without a token, if there is none of that id: the server's own. */
    enum satchel_status (*add_device)(struct satchel_store *, const struct satchel_id *,
                                      struct satchel_span user, int64_t now_ms,
                                      struct satchel_error *);
    enum satchel_status (*load_numbering)(struct satchel_store *, struct satchel_store_numbering *,
                                          struct satchel_arena *, struct satchel_error *);
    /* The next `count` numbers of a series of this node (year 0: of all years), never to be taken
     * again once committed. */
    enum satchel_status (*take_numbers)(struct satchel_store *, struct satchel_span series,
                                        struct satchel_span branch, int year, uint64_t count,
                                        uint64_t *first, struct satchel_error *);

    /* ---- rows that depend on others ---- */
    enum satchel_status (*any_alias)(struct satchel_store *, bool *, struct satchel_error *);
    /* The row that stands for the one of that name; empty: itself. */
    enum satchel_status (*find_alias)(struct satchel_store *, struct satchel_span name,
                                      struct satchel_arena *, struct satchel_span *survivor,
                                      struct satchel_error *);
    enum satchel_status (*write_aliases)(struct satchel_store *, const struct satchel_store_alias *,
                                         size_t count, struct satchel_error *);
    enum satchel_status (*keys_of_row)(struct satchel_store *, struct satchel_span name,
                                       struct satchel_arena *, struct satchel_store_key **,
                                       size_t *count, struct satchel_error *);
    /* Names of rows, at most `limit`. */
    enum satchel_status (*rows_of_key)(struct satchel_store *, uint32_t table, uint32_t column,
                                       struct satchel_span match, size_t limit,
                                       struct satchel_arena *, struct satchel_span **,
                                       size_t *count, struct satchel_error *);
    /* Keys held already are no failure. */
    enum satchel_status (*write_keys)(struct satchel_store *, const struct satchel_store_key *,
                                      size_t count, struct satchel_error *);
    /* The keys of the rows that have `value` in the column. */
    enum satchel_status (*find_references)(struct satchel_store *, const struct satchel_table *,
                                           uint32_t column, const struct satchel_value *value,
                                           struct satchel_arena *, const struct satchel_value ***,
                                           size_t *count, struct satchel_error *);
    /* Names of the rows with an open conflict in which `value` lost in the column. */
    enum satchel_status (*find_lost)(struct satchel_store *, const struct satchel_table *,
                                     uint32_t column, const struct satchel_value *value,
                                     struct satchel_arena *, struct satchel_span **, size_t *count,
                                     struct satchel_error *);
    enum satchel_status (*find_gone)(struct satchel_store *, struct satchel_span parent,
                                     struct satchel_arena *, struct satchel_span **, size_t *count,
                                     struct satchel_error *);
    enum satchel_status (*write_gone)(struct satchel_store *, const struct satchel_store_gone *,
                                      size_t count, struct satchel_error *);
    /* Names of all rows ever seen of a table, ascending behind `after` (empty: from the first). */
    enum satchel_status (*list_rows)(struct satchel_store *, uint32_t table,
                                     struct satchel_span after, size_t limit,
                                     struct satchel_arena *, struct satchel_span **, size_t *count,
                                     struct satchel_error *);
    /* The machines of the schema, by number; the store's, until they are loaded `again` twice. */
    enum satchel_status (*load_machines)(struct satchel_store *, bool again,
                                         const struct satchel_machine **, struct satchel_error *);
    /* Which tables they are read from, by number - 1. */
    enum satchel_status (*machine_tables)(struct satchel_store *, bool *is_read,
                                          struct satchel_error *);
    /* ---- rights, as the last commit left them ---- */
    /* SEEN: the user sees the row, or did at some head since what he had been shown; or he made it
     * since then. One that is gone counts by the scope that it had last. */
    enum satchel_status (*look)(struct satchel_store *, const struct satchel_store_author *,
                                const struct satchel_table *, struct satchel_span name,
                                enum satchel_sight *, struct satchel_error *);
    enum satchel_status (*is_granted)(struct satchel_store *, const struct satchel_store_author *,
                                      const struct satchel_value *, bool *, struct satchel_error *);
    /* A mark inside the transaction; what was written since is kept, or taken back. */
    enum satchel_status (*mark)(struct satchel_store *, struct satchel_error *);
    enum satchel_status (*release_mark)(struct satchel_store *, bool keep, struct satchel_error *);

    enum satchel_status (*write_head)(struct satchel_store *, const struct satchel_store_head *,
                                      struct satchel_error *);
    void (*close)(struct satchel_store *);
};

struct satchel_store {
    const struct satchel_store_ops *ops;
    const struct satchel_schema *schema; /* set by the owner; exchanged between batches */
    struct satchel_id_table ids;
};

/* The entry of a change set, as load_entries gives it. NOT_FOUND. */
static inline enum satchel_status satchel_store_load_change(
    struct satchel_store *store, const struct satchel_id *device, uint64_t number,
    struct satchel_entry *out, struct satchel_arena *arena, struct satchel_error *error)
{
    struct satchel_span timeline;
    uint64_t cursor;
    enum satchel_status status = store->ops->find_entry(store, device, number, &cursor, error);
    return status == SATCHEL_OK
               ? store->ops->load_entries(store, &cursor, 1, out, &timeline, arena, error)
               : status;
}

#endif
