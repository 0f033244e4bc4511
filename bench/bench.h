/* What the parts of the budget table share: rounds, medians, and how a line is printed. */
#ifndef SATCHEL_BENCH_H
#define SATCHEL_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define ROUNDS_MAX 101

struct bench {
    uint32_t row_count;   /* of the local writes */
    uint32_t round_count; /* what is compared is measured in turn, so often */
    uint32_t log_entries; /* of the long log, at the end */
    const char *folder;   /* where databases are made */
    FILE *json;           /* NULL: only printed */
    bool has_lines;       /* of `json` */
};

/* One line of the table. */
struct bench_line {
    const char *name, *variant, *text, *unit;
    double ratio, budget;      /* budget 0: shown, not judged */
    double per_second;         /* of what the ratio compares with */
    const char *per_second_of; /* NULL: not told */
    bool is_by_clock;
};

void bench_report(struct bench *bench, const struct bench_line *line);
/* The line with the medians of the rounds' ratios and rates, which are sorted. */
void bench_report_rounds(struct bench *bench, struct bench_line line, double *ratios,
                         double *per_second);
double bench_cpu_seconds(void);
/* Seconds of a clock that nobody sets. */
double bench_now(void);
/* Sorts the numbers. */
double bench_median(double *numbers, uint32_t count);
/* A pseudo-random number below `count`. */
uint32_t bench_draw(uint64_t *seed, uint32_t count);
/* The database's file and those beside it, if they are there. */
void bench_remove_store(const char *path);
/* Ends the program. */
_Noreturn void bench_fail(const char *what, const char *why);

/* What capture costs a local write (bench_local.c). */
void bench_local(struct bench *bench);
/* What each rule costs a merge (bench_rules.c). */
void bench_rules(struct bench *bench);
/* What it costs a server to merge, over plain SQL (bench_merge.c). */
void bench_merge(struct bench *bench);
/* What it costs a device to apply what others wrote (bench_apply.c). */
void bench_apply(struct bench *bench);
/* What each rule costs with a store beneath: what a server's writer thread does (bench_store.c). */
void bench_store(struct bench *bench);
/* What it costs to tell which rows a user may see (bench_scope.c). */
void bench_scope(struct bench *bench);

/* What it takes to fill a new device (bench_bootstrap.c). */
void bench_bootstrap(struct bench *bench);
/* Bytes, storage, memory, and the way from one device to another (bench_system.c). */
void bench_system(struct bench *bench);

#endif
