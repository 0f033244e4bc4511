/* Rows as the node has them, put together as notes: an effect for each and all its conflicts. Of
 * a row that the reader's viewer may not see: evict. In the reader's transaction. */
#ifndef SATCHEL_SERVER_READ_ROWS_H
#define SATCHEL_SERVER_READ_ROWS_H

#include "workspace_internal.h"

#include <satchel/alias.h>
#include <satchel/row_io.h>

/* An answer is cut where it grows beyond this: the rest follows. */
enum { ROWS_BYTES_MAX = 4 << 20 };

struct rows_answer {
    struct workspace_reader *reader;
    struct satchel_job *job;
    struct satchel_row_io *rows;
    struct satchel_aliases *aliases;
    bool has_aliases;
    sqlite3_stmt *conflicts_of; /* NULL: the store has none */
    struct satchel_buffer text;
    struct satchel_effect *effects;
    uint32_t effect_count;
    struct satchel_conflict_note *conflicts;
    uint32_t conflict_count, conflict_capacity;
    size_t bytes; /* roughly, of what was added */
};

/* For at most `row_count` rows; rows_end in any case. */
enum satchel_status rows_begin(struct rows_answer *answer, struct workspace_reader *reader,
                               struct satchel_job *job, size_t row_count) SATCHEL_MUST_USE;
void rows_end(struct rows_answer *answer);
/* INVALID: the schema has no such row. */
enum satchel_status rows_add(struct rows_answer *answer, struct satchel_span name) SATCHEL_MUST_USE;
/* The same of a row that the reader's viewer sees, as the caller knows; and where the caller has
 * read it, with its values. */
enum satchel_status rows_add_seen(struct rows_answer *answer, struct satchel_span name,
                                  const struct satchel_value *values) SATCHEL_MUST_USE;
/* What was added, as notes in the job's arena. */
enum satchel_status rows_notes(struct rows_answer *answer,
                               struct satchel_span *out) SATCHEL_MUST_USE;

#endif
