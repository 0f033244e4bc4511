/* The rules once more, as plainly as they can be said: a row computed from the whole set of writes,
 * with "saw" as a bit. It shares no code with the conflict layer, only value comparison. */
#ifndef SATCHEL_TEST_REFERENCE_H
#define SATCHEL_TEST_REFERENCE_H

#include <satchel/row.h>

#define REFERENCE_COLUMNS 14
#define REFERENCE_OPS_MAX 24

struct reference_exception {
    uint32_t column; /* lowest of the unit, or SATCHEL_COLUMN_ROW */
    enum satchel_view_kind kind;
    uint32_t seen; /* bits of ops */
};

struct reference_op {
    enum satchel_op_kind kind;
    unsigned device, number;
    satchel_stamp stamp;
    uint32_t seen; /* bits of ops: the change set's `seen` */
    struct reference_exception exceptions[REFERENCE_COLUMNS];
    unsigned exception_count;
    bool writes[REFERENCE_COLUMNS];
    struct satchel_value values[REFERENCE_COLUMNS]; /* counters: deltas */
};

struct reference_conflict {
    uint32_t unit;
    unsigned loser, winner; /* ops */
    struct satchel_value lost[REFERENCE_COLUMNS];
    unsigned lost_count;
};

struct reference_row {
    bool exists;
    struct satchel_value values[REFERENCE_COLUMNS];
    struct reference_conflict conflicts[REFERENCE_OPS_MAX * REFERENCE_COLUMNS];
    unsigned conflict_count;
    bool met[SATCHEL_RULE_COUNT]; /* a unit of the rule had two unseen writes with different values
                                   */
};

/* The row after the ops whose bits are in `set`. */
void reference_compute(const struct satchel_table_rules *rules, const struct reference_op *ops,
                       unsigned op_count, uint32_t set, struct reference_row *out);

/* Negative, zero, positive: the total order of writes. */
int reference_order(const struct reference_op *a, const struct reference_op *b);

#endif
