/* What a transaction did to a row, by the row before and after it, in the words of a change set. */
#ifndef SATCHEL_TEST_ROW_CHANGE_H
#define SATCHEL_TEST_ROW_CHANGE_H

#include <satchel/changeset.h>
#include <satchel/schema.h>

enum { ROW_CHANGE_COLUMNS_MAX = 48 };

struct row_change {
    enum satchel_op_kind kind;
    const struct satchel_table *table;
    const struct satchel_value *before, *after; /* whole rows; NULL where there was none */
};

/* The fields that a change set has of it. NOMEM, REFUSED. */
enum satchel_status row_change_fields(const struct row_change *change, struct satchel_arena *arena,
                                      struct satchel_field *fields,
                                      uint32_t *count) SATCHEL_MUST_USE;
bool row_change_agrees(const struct row_change *change, struct satchel_arena *arena,
                       const struct satchel_part *part);
/* Whether it writes a unit. */
bool row_change_writes(const struct row_change *change, uint32_t unit);

#endif
