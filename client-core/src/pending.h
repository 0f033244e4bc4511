/* The pending index: which table rows have local writes the node has not sent back yet, and which
 * writes those are, in the order they were made. In memory, as large as what is pending; made from
 * satchel_change and never the truth itself: after a rollback it is cleared and made again. */
#ifndef SATCHEL_PENDING_H
#define SATCHEL_PENDING_H

#include <satchel/alias.h>
#include <satchel/changeset.h>
#include <satchel/map.h>
#include <satchel/sqlite.h>

struct satchel_pending_row;

/* What one pending change set did to one row. */
struct satchel_pending_op {
    struct satchel_pending_op *next; /* on the same row, of a later number */
    struct satchel_pending_row *row;
    uint64_t number;
    struct satchel_part part;
    /* update: the values its fields replaced; delete: the row's as it was */
    const struct satchel_field *old;
    uint32_t old_count;
    /* update: leaders that it left as they were while it wrote a follower, with their values then
     */
    const struct satchel_field *beside;
    uint32_t beside_count;
    bool is_alias;  /* it wrote a row that was merged into the one it is shown on */
    bool is_unlike; /* set while the entry that answers it is applied, if the part did not take
                       effect as it stands */
};

struct satchel_pending_row {
    struct satchel_span name; /* satchel_row_name; of an alias, the row's that stands for it */
    const struct satchel_value *key;
    struct satchel_pending_op *first, *last;
};

/* One change set; sets are in ascending number. */
struct satchel_pending_set {
    struct satchel_pending_set *next;
    struct satchel_pending_chunk *chunk;
    uint64_t number;
    struct satchel_pending_op *ops; /* one per part, in the order of the parts */
    uint32_t op_count;
};

struct satchel_pending {
    sqlite3_stmt *select;
    struct satchel_aliases *aliases; /* borrowed; NULL: there is none */
    struct satchel_map rows;         /* row name -> satchel_pending_row */
    size_t row_count;
    struct satchel_pending_set *first, *last;
    struct satchel_pending_chunk *chunk; /* where new sets go */
    uint64_t loaded_number;              /* everything up to it has been read */
    struct satchel_buffer name, scratch;
};

/* `db` must outlive it. Nothing is read yet. */
enum satchel_status satchel_pending_init(struct satchel_pending *pending,
                                         sqlite3 *db) SATCHEL_MUST_USE;
void satchel_pending_deinit(struct satchel_pending *pending);
/* Forgets everything; the next load reads all of satchel_change. */
void satchel_pending_clear(struct satchel_pending *pending);

/* Reads what satchel_change has gained. CORRUPT: it holds what capture never writes; SQL, NOMEM,
 * LIMIT. After a failure the index is empty. */
enum satchel_status satchel_pending_load(struct satchel_pending *pending,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* The row of that name, or NULL when nothing is pending on it. */
struct satchel_pending_row *satchel_pending_find(const struct satchel_pending *pending,
                                                 struct satchel_span name);
/* The oldest change set if it has that number, else NULL: a node answers them in order. */
struct satchel_pending_set *satchel_pending_oldest(const struct satchel_pending *pending,
                                                   uint64_t number);
/* Removes the oldest change set. */
void satchel_pending_drop_oldest(struct satchel_pending *pending);

#endif
