/* See failing_memory.h. */
#include "failing_memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

/* ---- allocations, counted and failed ---- */

static struct {
    bool is_on;
    bool lasts;       /* everything from fail_at on */
    uint64_t fail_at; /* from 1; 0: none */
    uint64_t calls, failures;
    bool shows; /* who asked for what fails */
} memory;

/* Of the sanitizers, where the program is built with them. */
void __sanitizer_print_stack_trace(void) __attribute__((weak));

static bool fails(void)
{
    if (!memory.is_on)
        return false;
    memory.calls++;
    bool is_hit = memory.fail_at && (memory.calls == memory.fail_at ||
                                     (memory.lasts && memory.calls > memory.fail_at));
    memory.failures += is_hit;
    if (is_hit && memory.shows && memory.failures == 1 && __sanitizer_print_stack_trace)
        __sanitizer_print_stack_trace();
    return is_hit;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return fails() ? NULL : __real_realloc(pointer, size);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *pointer, int size)
{
    return fails() ? NULL : sqlite_memory.xRealloc(pointer, size);
}

void failing_memory_install(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    sqlite3_mem_methods methods = sqlite_memory;
    methods.xMalloc = sqlite_malloc;
    methods.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
    /* Small pieces would come from a block that was allocated before. */
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
    assert_int_equal(sqlite3_initialize(), SQLITE_OK);
}

/* ---- scenarios ---- */

static char where[160];
static unsigned wrong_count; /* runs that failed with another status */

static enum satchel_status run_once(const struct memory_scenario *scenario, void *context,
                                    uint64_t fail_at, bool lasts)
{
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    snprintf(where, sizeof where, "%s, allocation %" PRIu64 " failed%s", scenario->name, fail_at,
             lasts ? " and all after it" : "");
    scenario->prepare(context);
    memory.calls = memory.failures = 0;
    memory.fail_at = fail_at;
    memory.lasts = lasts;
    memory.is_on = true;
    enum satchel_status status = scenario->run(context, &error);
    memory.is_on = false;
    if (status != SATCHEL_OK && (status != SATCHEL_NOMEM || memory.failures == 0)) {
        print_error("%s: %s (%s)\n", where, satchel_status_name(status), error.message);
        wrong_count++;
    }
    scenario->finish(context, status);
    return status;
}

void memory_scenario_run(const struct memory_scenario *scenario, void *context, unsigned runs_max)
{
    assert_int_equal(run_once(scenario, context, 0, false), SATCHEL_OK);
    const uint64_t calls = memory.calls;
    const char *one = getenv("SATCHEL_MEMORY_AT");
    uint64_t every = getenv("SATCHEL_MEMORY_ALL") ? 1 : calls / runs_max + 1;
    unsigned refused = 0, survived = 0;
    wrong_count = 0;
    assert_true(calls > 0);
    memory.shows = one != NULL;
    for (int lasts = 0; lasts < 2; lasts++) {
        /* A sample's steps begin elsewhere each time, so that the two see more together. */
        uint64_t at = one ? strtoull(one, NULL, 10) : 1 + (lasts ? every / 2 : 0);
        for (bool is_hit = true; is_hit; at += every) {
            enum satchel_status status = run_once(scenario, context, at, lasts);
            is_hit = memory.failures > 0 && !one;
            refused += status != SATCHEL_OK;
            survived += memory.failures > 0 && status == SATCHEL_OK;
        }
    }
    printf("%s: %" PRIu64 " allocations, every %" PRIu64 ". failed: %u times no memory, %u times"
           " done without\n",
           scenario->name, calls, every, refused, survived);
    assert_int_equal(wrong_count, 0);
    assert_true(one || refused > 0);
}

bool memory_has_failed(void)
{
    return memory.failures > 0;
}

const char *memory_run_name(void)
{
    return where;
}

/* ---- the file of every run ---- */

void memory_copy_file(const char *from, const char *to)
{
    static uint8_t bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t size; (size = read(in, bytes, sizeof bytes)) > 0;)
        assert_int_equal(write(out, bytes, (size_t)size), size);
    close(in);
    close(out);
}

/* ---- what a database says ---- */

static void put(struct satchel_buffer *out, const char *text)
{
    assert_int_equal(satchel_buffer_append(out, text, strlen(text)), SATCHEL_OK);
}

static void put_value(sqlite3_stmt *select, int column, struct satchel_buffer *out)
{
    int type = sqlite3_column_type(select, column);
    const uint8_t *bytes = type == SQLITE_BLOB ? sqlite3_column_blob(select, column)
                                               : sqlite3_column_text(select, column);
    size_t size = (size_t)sqlite3_column_bytes(select, column);
    enum satchel_status status =
        satchel_buffer_format(out, "|%s=%d:", sqlite3_column_name(select, column), type);
    for (size_t at = 0; at < size && status == SATCHEL_OK; at++)
        status = type == SQLITE_BLOB || bytes[at] < ' '
                     ? satchel_buffer_format(out, "%02x", bytes[at])
                     : satchel_buffer_append(out, bytes + at, 1);
    assert_int_equal(status, SATCHEL_OK);
}

static bool is_left_out(const char *left_out, const char *column)
{
    size_t size = strlen(column);
    for (const char *at = left_out; (at = strstr(at, column)); at += size)
        if (at > left_out && at[-1] == '|' && at[size] == '|')
            return true;
    return false;
}

static void put_rows(sqlite3 *db, const char *table, const char *left_out,
                     struct satchel_buffer *out)
{
    sqlite3_stmt *select = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", table);
    assert_non_null(sql);
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_free(sql);
    while (sqlite3_step(select) == SQLITE_ROW) {
        put(out, table);
        for (int i = 0; i < sqlite3_column_count(select); i++)
            if (!is_left_out(left_out, sqlite3_column_name(select, i)))
                put_value(select, i, out);
        put(out, "\n");
    }
    assert_int_equal(sqlite3_finalize(select), SQLITE_OK);
}

void database_state(sqlite3 *db, const char *left_out, struct satchel_buffer *out)
{
    sqlite3_stmt *tables = NULL;
    satchel_buffer_clear(out);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT name FROM sqlite_master WHERE type = 'table' AND"
                                        " sql NOT LIKE 'CREATE VIRTUAL%'"
                                        " AND instr(?1, '|' || name || '|') = 0 ORDER BY name",
                                        -1, &tables, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(tables, 1, left_out, -1, SQLITE_STATIC);
    while (sqlite3_step(tables) == SQLITE_ROW)
        put_rows(db, (const char *)sqlite3_column_text(tables, 0), left_out, out);
    assert_int_equal(sqlite3_finalize(tables), SQLITE_OK);
    put(out, "\n"); /* the buffer has an address, also of an empty database */
}

void assert_same_state(const struct satchel_buffer *is, const struct satchel_buffer *expected)
{
    if (satchel_span_equal(satchel_buffer_span(is), satchel_buffer_span(expected)))
        return;
    size_t line = 0;
    for (size_t i = 0; i < is->size && i < expected->size && is->data[i] == expected->data[i]; i++)
        line = is->data[i] == '\n' ? i + 1 : line;
    fail_msg("%s\nis:       %.*s\nexpected: %.*s", where,
             (int)strcspn((const char *)is->data + line, "\n"), (const char *)is->data + line,
             (int)strcspn((const char *)expected->data + line, "\n"),
             (const char *)expected->data + line);
}
