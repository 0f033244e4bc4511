/* Random histories of one row: devices that insert, edit and delete it, upload and pull through one
 * hub, offline for as long as they like, with clocks that err. */
#ifndef SATCHEL_TEST_HISTORY_H
#define SATCHEL_TEST_HISTORY_H

#include "reference.h"

struct history {
    struct satchel_column_rules columns[REFERENCE_COLUMNS];
    struct satchel_table_rules rules;
    struct reference_context context;
    struct reference_freeze parent_freeze; /* meaningful if the context has it */
    satchel_stamp parent_freeze_stamp;
    struct reference_op ops[REFERENCE_OPS_MAX];
    unsigned op_count;
    unsigned device_count;
    /* op fields equal to the default, which an insert may carry and which are no writes */
    bool carries_default[REFERENCE_OPS_MAX][REFERENCE_COLUMNS];
    char texts[65536]; /* of values that were made */
    size_t text_bytes;
};

struct history_random {
    uint64_t state;
};
uint64_t history_next(struct history_random *random);
unsigned history_below(struct history_random *random, unsigned limit);

void history_generate(struct history *history, struct history_random *random);
/* For messages: one line per op on standard output. */
void history_print(const struct history *history);

#endif
