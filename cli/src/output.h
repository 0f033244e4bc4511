/* Rows for people and for programs: aligned text, `|`-separated text, or JSON. */
#ifndef SATCHEL_OUTPUT_H
#define SATCHEL_OUTPUT_H

#include "command.h"

struct sqlite3_stmt;

/* How OUTPUT_LINES says a count, where there is one; a NULL it passes over. */
struct output_words {
    const char *column;
    const char *one, *many; /* what is counted, behind the number */
};

/* A table collected in memory, printed at once. Values are copied. */
struct output {
    struct satchel_arena arena;
    const char **columns;
    uint32_t column_count;
    struct satchel_value *values; /* row-major */
    size_t row_count, row_capacity;
    const char *const *shown; /* columns of OUTPUT_ALIGNED, NULL at the end; NULL: all. Borrowed */
    const struct output_words *words; /* no column at the end; NULL: none. Borrowed */
};

enum satchel_status output_init(struct output *output, const char *const *columns,
                                uint32_t column_count) SATCHEL_MUST_USE;
void output_deinit(struct output *output);
enum satchel_status output_row(struct output *output,
                               const struct satchel_value *values) SATCHEL_MUST_USE;

enum output_style {
    OUTPUT_ALIGNED, /* a heading and padded columns; long values are cut, times are UTC */
    OUTPUT_LIST,    /* as sqlite3: values separated by |, NULL empty, no heading */
    OUTPUT_LINES,   /* name and value, a row a block; times are UTC */
    OUTPUT_JSON     /* an array of objects, keys in column order */
};
/* Prints to stdout. NOMEM or IO. */
enum satchel_status output_print(const struct output *output,
                                 enum output_style style) SATCHEL_MUST_USE;
/* JSON of a single row as one object. */
enum satchel_status output_print_object(const struct output *output) SATCHEL_MUST_USE;

/* What text for people shows of history and conflicts: the long ids are left out. */
extern const char *const history_shown[];
extern const char *const conflicts_shown[];

/* Steps a statement to its end into a new table. On failure `output` is deinitialised. */
enum satchel_status output_collect(struct output *output, struct sqlite3_stmt *statement,
                                   struct satchel_error *error) SATCHEL_MUST_USE;

#endif
