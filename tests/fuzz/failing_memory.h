/* Every allocation fails in turn. A scenario is written once and run again and again: first with
 * memory that holds and is counted, then failing the 1st, 2nd, 3rd ... allocation, once alone and
 * once with all that follow, until the scenario no longer notices.
 *
 * Both kinds fail: those of Satchel and of this program (malloc, calloc, realloc, wrapped by the
 * linker: see CMakeLists.txt) and those of SQLite (SQLITE_CONFIG_MALLOC). One thread only. */
#ifndef SATCHEL_FAILING_MEMORY_H
#define SATCHEL_FAILING_MEMORY_H

#include <satchel/memory.h>

struct sqlite3;

struct memory_scenario {
    const char *name;
    /* Memory holds: whatever must be there before. */
    void (*prepare)(void *context);
    /* Memory may fail: OK or NOMEM, anything else fails the test. */
    enum satchel_status (*run)(void *context, struct satchel_error *error);
    /* Memory holds again. After NOMEM: nothing is half done, and the same objects do it now; then
     * what was done is right. Takes down what prepare has put up. */
    void (*finish)(void *context, enum satchel_status status);
};

/* Before anything uses SQLite. */
void failing_memory_install(void);

/* With SATCHEL_MEMORY_ALL in the environment every allocation; with SATCHEL_MEMORY_AT=NUMBER that
 * one, showing who asks for it; else those of a sample that the number of runs bounds. Prints what
 * it did. */
void memory_scenario_run(const struct memory_scenario *scenario, void *context, unsigned runs_max);

/* Whether an allocation of the run in hand has failed. */
bool memory_has_failed(void);
/* The run in hand in words, for who reads of a failure. */
const char *memory_run_name(void);

/* What every run begins with. */
void memory_copy_file(const char *from, const char *to);

/* Everything in the tables of a database but the tables and columns in `left_out` ("|name|name|"),
 * as text to be compared, a row in a line. */
void database_state(struct sqlite3 *db, const char *left_out, struct satchel_buffer *out);
/* Fails the test at the first line that differs. */
void assert_same_state(const struct satchel_buffer *is, const struct satchel_buffer *expected);

#endif
