/* The rules once more, as plainly as they can be said: a row computed from the whole set of writes,
 * with "saw" as a bit. It shares no code with the conflict layer, only value comparison. Elements
 * of sets are strings of one small letter, maps give such keys one digit, and a line of a text
 * occurs once in it. */
#ifndef SATCHEL_TEST_REFERENCE_H
#define SATCHEL_TEST_REFERENCE_H

#include <satchel/row.h>

#define REFERENCE_COLUMNS 32
#define REFERENCE_OPS_MAX 32
#define REFERENCE_PARENT 99 /* as the winner of a conflict: what froze the parent row */

struct reference_exception {
    uint32_t column; /* lowest of the unit, or SATCHEL_COLUMN_ROW */
    enum satchel_view_kind kind;
    uint32_t seen; /* bits of ops */
};

struct reference_op {
    enum satchel_op_kind kind;
    unsigned device, number;
    satchel_stamp stamp;
    const char *role; /* NULL: none */
    uint32_t seen;    /* bits of ops: the change set's `seen` */
    struct reference_exception exceptions[REFERENCE_COLUMNS];
    unsigned exception_count;
    bool writes[REFERENCE_COLUMNS];
    struct satchel_value values[REFERENCE_COLUMNS]; /* operations */
};

/* What froze the parent row: a change set of a device, up to its number. */
struct reference_freeze {
    unsigned device, number;
    uint32_t seen;
};

struct reference_context {
    const struct satchel_machine *machines;
    const struct reference_freeze *parent_freeze; /* NULL: not frozen */
};

struct reference_conflict {
    enum satchel_conflict_kind kind;
    enum satchel_severity severity;
    uint32_t unit;
    unsigned loser, winner; /* ops */
    struct satchel_value lost[REFERENCE_COLUMNS];
    unsigned lost_count; /* 0: not said */
};

struct reference_row {
    bool exists;
    bool is_frozen;
    struct satchel_value values[REFERENCE_COLUMNS];
    struct reference_conflict conflicts[REFERENCE_OPS_MAX * REFERENCE_COLUMNS];
    unsigned conflict_count;
    bool met[SATCHEL_RULE_COUNT]; /* a unit of the rule had two unseen writes with different values
                                   */
    char texts[8192];             /* of values that were made */
    size_t text_bytes;
};

/* The row after the ops whose bits are in `set`; without a context nothing is frozen and states
 * have no ranks. */
void reference_compute(const struct satchel_table_rules *rules,
                       const struct reference_context *context, const struct reference_op *ops,
                       unsigned op_count, uint32_t set, struct reference_row *out);

/* Negative, zero, positive: the total order of writes. */
int reference_order(const struct reference_op *a, const struct reference_op *b);
/* The state that an operation on a @state brings the row to. */
struct satchel_value reference_new_state(enum satchel_op_kind kind, struct satchel_value operation);
const struct satchel_state *reference_state(const struct satchel_machine *machine,
                                            const struct satchel_value *value);

/* ---- elements (reference_elements.c) ---- */

#define REFERENCE_LETTERS 26

/* Per letter: 0 not in it, else 1 (of a set) or 1 + the digit (of a map). */
struct reference_elements {
    unsigned has[REFERENCE_LETTERS];
};

/* Reads a value, or an operation on one: what it adds and what it removes. */
void reference_read_value(const struct satchel_value *value, struct reference_elements *out);
void reference_read_change(enum satchel_op_kind kind, const struct satchel_value *operation,
                           struct reference_elements *added, struct reference_elements *removed);
struct satchel_value reference_write_elements(const struct reference_elements *elements,
                                              bool is_map, char *text);

/* ---- texts (reference_text.c) ---- */

/* All sides' changes against the base done together, the later side's standing where two touch;
 * which sides lost one. Returns the bytes written. */
size_t reference_merge_texts(struct satchel_value base, const struct satchel_value *sides,
                             unsigned side_count, char *text, bool *lost);

#endif
