/* Rows with keys once more, as plainly as they can be said: which rows are one, and what becomes of
 * them, computed from the whole set of writes, with "saw" as a bit. It shares no code with the
 * conflict layer. */
#ifndef SATCHEL_TEST_CLUSTER_REFERENCE_H
#define SATCHEL_TEST_CLUSTER_REFERENCE_H

#include <satchel/row.h>

#define CLUSTER_ROWS 4
#define CLUSTER_OPS_MAX 32

enum {
    CLUSTER_ID,
    CLUSTER_TAX,    /* @key */
    CLUSTER_NAME,   /* @lww */
    CLUSTER_PHONE,  /* @key */
    CLUSTER_VISITS, /* @counter */
    CLUSTER_COLUMNS
};

struct cluster_exception {
    uint32_t column;
    bool is_none;
    uint32_t seen;
};

struct cluster_op {
    unsigned row;
    enum satchel_op_kind kind;
    unsigned device, number, part; /* ops of one change set differ in their part */
    satchel_stamp stamp;
    uint32_t seen; /* bits of ops; always of lower index */
    bool writes[CLUSTER_COLUMNS];
    const char *texts[CLUSTER_COLUMNS]; /* NULL: the value NULL */
    bool sets_apart[CLUSTER_COLUMNS];
    int64_t visits;
    struct cluster_exception exceptions[CLUSTER_COLUMNS];
    unsigned exception_count;
};

struct cluster_conflict {
    enum satchel_conflict_kind kind;
    uint32_t unit;
    unsigned loser; /* ops */
    unsigned winner;
};

struct cluster_row {
    unsigned
        survivor; /* the row that stands for this one; the rest is meaningful if it is itself */
    bool exists;
    const char *texts[CLUSTER_COLUMNS];
    int64_t visits;
    struct cluster_conflict conflicts[CLUSTER_OPS_MAX * CLUSTER_COLUMNS];
    unsigned conflict_count;
};

struct cluster_state {
    struct cluster_row rows[CLUSTER_ROWS];
};

/* The table after the ops whose bits are in `set`. */
void cluster_compute(const struct cluster_op *ops, unsigned op_count, uint32_t set,
                     enum satchel_delete_policy policy, struct cluster_state *out);
/* Whether two keys are equal: of the texts used here, letters in either case. */
bool cluster_same_key(const char *a, const char *b);

#endif
