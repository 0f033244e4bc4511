/* The rules that are measured, and realistic values for each. */
#ifndef SATCHEL_BENCH_SUBJECTS_H
#define SATCHEL_BENCH_SUBJECTS_H

#include "bench.h"

#include <satchel/rules.h>

/* What a rule may cost, of what @lww does. */
#define BENCH_RULE_BUDGET 4.0

/* The machine of every @state: each state may be left for any other. */
enum { BENCH_STATE_COUNT = 5, BENCH_STATE_SENT = 3 };
extern const char *const BENCH_STATES[];

/* Where values are made. */
struct bench_maker {
    struct satchel_arena arena;
    uint64_t seed;
};

enum bench_traits {
    BENCH_GROUPED = 1,
    BENCH_FOLLOWED = 2,
    BENCH_FREEZES = 4,
    BENCH_INSERTS = 8,           /* never updated: inserts are measured */
    BENCH_UNJUDGED_TOGETHER = 16 /* where writes conflict, it is shown without a verdict */
};

struct bench_subject {
    enum satchel_rule rule;
    const char *name;
    /* The value after so many writes. */
    struct satchel_value (*value)(struct bench_maker *maker, uint32_t step);
    unsigned traits;
};

enum { BENCH_SUBJECT_COUNT = 20, BENCH_LWW = 0, BENCH_LWW_INSERT = 17 };
extern const struct bench_subject BENCH_SUBJECTS[BENCH_SUBJECT_COUNT];

/* Values of a text, a number, a state, for the columns beside. */
struct satchel_value bench_plain_value(struct bench_maker *maker, uint32_t step);
struct satchel_value bench_integer_value(struct bench_maker *maker, uint32_t step);
struct satchel_value bench_state_value(struct bench_maker *maker, uint32_t step);

#endif
