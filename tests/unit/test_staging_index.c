/* Indexes of staging tables that are filled behind them: the b-trees are those that SQLite would
 * have made, whatever comes in between. */
#include "sql_support.h"
#include "staging_index.h"

#include <satchel/staging_table.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every value that a column may hold, and NULL; four of each. */
#define VALUES                                                                            \
    "WITH n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999), v(i, x) AS "    \
    "(SELECT i, CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN i / 4 WHEN 2 THEN -i / 4 WHEN 3 " \
    "THEN i / 4 + 0.5 WHEN 4 THEN 'text ' || i / 4 WHEN 5 THEN 'TEXT ' || i / 4 WHEN 6 "  \
    "THEN CAST(i / 4 AS BLOB) WHEN 7 THEN i / 4 * 1.0 ELSE 1e300 END FROM n) "

static const struct {
    const char *table, *sql, *fill;
    const char *waiting; /* the indexes that wait, in order of their making */
} cases[] = {
    {"t",
     "CREATE TABLE t(id TEXT PRIMARY KEY, x, y REAL, z INTEGER, \"a \"\"b\" VARCHAR(10),"
     " g AS (length(x)));"
     "CREATE INDEX t_x ON t(x); CREATE INDEX t_y ON t(y DESC, x COLLATE NOCASE);"
     "CREATE UNIQUE INDEX t_u ON t(id, x); CREATE INDEX t_p ON t(x) WHERE x > 5;"
     "CREATE INDEX t_e ON t(lower(x)); CREATE INDEX \"t 'z\" ON t(z, z, id) -- and no more\n;"
     "CREATE INDEX t_q ON t(\"a \"\"b\" COLLATE RTRIM DESC, g)",
     VALUES "INSERT INTO satchel_new_t SELECT 'k' || i, x, x, x, x FROM v",
     "satchel_new_t_x\nsatchel_new_t_y\nsatchel_new_t 'z\nsatchel_new_t_q"},
    {"n",
     "CREATE TABLE n(id INTEGER PRIMARY KEY, x TEXT COLLATE NOCASE);"
     "CREATE INDEX n_x ON n(x, id DESC)",
     VALUES "INSERT INTO satchel_new_n SELECT i * 3, x FROM v", "satchel_new_n_x"},
    {"w",
     "CREATE TABLE w(a, b TEXT, x, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;"
     "CREATE INDEX w_x ON w(x); CREATE INDEX w_a ON w(a, x)",
     VALUES "INSERT INTO satchel_new_w SELECT i, 'k', x FROM v",
     "satchel_new_w_x\nsatchel_new_w_a"},
    {"r", "CREATE TABLE r(id TEXT PRIMARY KEY, RowId, x); CREATE INDEX r_x ON r(x)",
     VALUES "INSERT INTO satchel_new_r SELECT 'k' || i, i, x FROM v", ""},
    {"e", "CREATE TABLE e(id TEXT PRIMARY KEY, x); CREATE INDEX e_x ON e(x)", "SELECT 1",
     "satchel_new_e_x"},
};

struct fixture {
    sqlite3 *db, *other;
    struct satchel_error error;
    char path[40];
};

static sqlite3 *open_file(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

/* A staging table that has its rows, and waits for indexes. */
static struct fixture open_fixture(size_t i)
{
    struct fixture fixture = {.path = "/tmp/satchel-index-XXXXXX"};
    enum satchel_staging_state state;
    int descriptor = mkstemp(fixture.path);
    assert_true(descriptor >= 0);
    close(descriptor);
    fixture.db = open_file(fixture.path);
    fixture.other = open_file(fixture.path);
    sql_run(fixture.db, "PRAGMA journal_mode=WAL");
    sql_run(fixture.db, cases[i].sql);
    assert_ok(satchel_staging_table_make(fixture.db, cases[i].table, true, &state, &fixture.error));
    assert_int_equal(state, SATCHEL_STAGING_READY);
    sql_run(fixture.db, cases[i].fill);
    assert_string_equal(
        sql_rows(fixture.db, "SELECT name FROM sqlite_schema WHERE sql LIKE '%WHERE 0'"),
        cases[i].waiting);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    assert_int_equal(sqlite3_close(fixture->other), SQLITE_OK);
    assert_int_equal(sqlite3_close(fixture->db), SQLITE_OK);
    unlink(fixture->path);
}

static bool at_once(void *context)
{
    (void)context;
    return true;
}

/* One run of it. */
static bool write_some(struct fixture *fixture, struct satchel_index_filling *filling)
{
    bool is_whole = false;
    sql_run(fixture->db, "BEGIN IMMEDIATE");
    assert_ok(satchel_index_filling_write(filling, at_once, NULL, &is_whole, &fixture->error));
    sql_run(fixture->db, "COMMIT");
    return is_whole;
}

static struct satchel_index_filling *begin(struct fixture *fixture)
{
    struct satchel_index_filling *filling;
    assert_ok(satchel_index_filling_new(&filling, fixture->db, &fixture->error));
    return filling;
}

static bool sort(struct fixture *fixture, struct satchel_index_filling *filling)
{
    bool is_over = false;
    assert_ok(satchel_index_filling_sort(filling, &is_over, &fixture->error));
    return !is_over;
}

static void settle(struct fixture *fixture, struct satchel_index_filling *filling)
{
    while (sort(fixture, filling))
        while (!write_some(fixture, filling))
            continue;
    sql_run(fixture->db, "BEGIN IMMEDIATE");
    assert_ok(satchel_index_filling_settle(filling, &fixture->error));
    sql_run(fixture->db, "COMMIT");
    satchel_index_filling_free(filling);
}

static bool exchange(struct fixture *fixture)
{
    bool is_done = false;
    sql_run(fixture->db, "BEGIN IMMEDIATE");
    assert_ok(satchel_staging_tables_exchange(fixture->db, &is_done, &fixture->error));
    if (is_done)
        assert_ok(satchel_staging_tables_drop(fixture->db, &fixture->error));
    sql_run(fixture->db, "COMMIT");
    return is_done;
}

/* The table goes on as any does: what one connection wrote the other finds and changes. */
static void assert_whole(const struct fixture *fixture, size_t i)
{
    char sql[128];
    assert_string_equal(sql_rows(fixture->db, "PRAGMA integrity_check"), "ok");
    assert_string_equal(sql_rows(fixture->other, "PRAGMA integrity_check"), "ok");
    assert_string_equal(
        sql_rows(fixture->other, "SELECT name FROM sqlite_schema WHERE name LIKE 'satchel%'"), "");
    snprintf(sql, sizeof sql, "UPDATE %s SET x = x || '!' WHERE x > ''", cases[i].table);
    sql_run(fixture->other, sql);
    snprintf(sql, sizeof sql, "DELETE FROM %s WHERE x IS NULL OR x < 20", cases[i].table);
    sql_run(fixture->db, sql);
    assert_string_equal(sql_rows(fixture->other, "PRAGMA integrity_check"), "ok");
}

static void test_staging_index__what_waited_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture fixture = open_fixture(i);
        struct satchel_index_filling *filling = begin(&fixture);
        assert_true((filling == NULL) == (cases[i].waiting[0] == '\0'));
        if (filling) {
            assert_false(exchange(&fixture));
            settle(&fixture, filling);
        }
        assert_null(begin(&fixture));
        assert_true(exchange(&fixture));
        assert_whole(&fixture, i);
        close_fixture(&fixture);
    }
}

static void test_staging_index__what_is_found_by_it_is_what_stands_in_the_table(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(0);
    char *expected =
        sqlite3_mprintf("%s", sql_rows(fixture.db, "SELECT group_concat(id) FROM (SELECT id FROM"
                                                   " satchel_new_t NOT INDEXED ORDER BY y DESC,"
                                                   " x COLLATE NOCASE, rowid)"));
    settle(&fixture, begin(&fixture));
    assert_true(exchange(&fixture));
    const char *found = sql_rows(fixture.db, "SELECT group_concat(id) FROM (SELECT id FROM t"
                                             " INDEXED BY t_y ORDER BY y DESC,"
                                             " x COLLATE NOCASE, rowid)");
    assert_string_equal(found, expected);
    assert_non_null(strstr(sql_rows(fixture.db, "EXPLAIN QUERY PLAN SELECT id FROM t INDEXED BY t_y"
                                                " ORDER BY y DESC, x COLLATE NOCASE, rowid"),
                           "SCAN t USING INDEX t_y"));
    sqlite3_free(expected);
    close_fixture(&fixture);
}

static void test_staging_index__broken_off_it_goes_on(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(0);
    for (int runs = 1; runs < 4; runs++) {
        struct satchel_index_filling *filling = begin(&fixture);
        assert_true(sort(&fixture, filling));
        for (int run = 0; run < runs; run++)
            write_some(&fixture, filling);
        /* And what a transaction takes back is not there. */
        sql_run(fixture.db, "BEGIN IMMEDIATE");
        bool is_whole;
        assert_ok(satchel_index_filling_write(filling, at_once, NULL, &is_whole, &fixture.error));
        sql_run(fixture.db, "ROLLBACK");
        satchel_index_filling_free(filling);
        assert_false(exchange(&fixture));
    }
    settle(&fixture, begin(&fixture));
    assert_true(exchange(&fixture));
    assert_whole(&fixture, 0);
    close_fixture(&fixture);
}

static void test_staging_index__two_may_fill_the_same(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(0), second = fixture;
    second.db = fixture.other;
    struct satchel_index_filling *one = begin(&fixture), *two = begin(&second);
    assert_true(sort(&fixture, one));
    assert_true(sort(&second, two));
    for (int run = 0; run < 2; run++) {
        write_some(&fixture, one);
        write_some(&second, two);
        write_some(&second, two);
    }
    settle(&fixture, one);
    /* The other finds that they have settled. */
    bool is_whole;
    sql_run(second.db, "BEGIN IMMEDIATE");
    sql_rows(second.db, "SELECT count(*) FROM sqlite_schema");
    assert_int_equal(satchel_index_filling_write(two, at_once, NULL, &is_whole, &second.error),
                     SATCHEL_AGAIN);
    assert_int_equal(satchel_index_filling_settle(two, &second.error), SATCHEL_AGAIN);
    sql_run(second.db, "ROLLBACK");
    satchel_index_filling_free(two);
    assert_true(exchange(&fixture));
    assert_whole(&fixture, 0);
    close_fixture(&fixture);
}

/* The page that was the root of the index is another b-tree's then. */
static void test_staging_index__tables_that_are_gone_are_left_alone(void **state)
{
    (void)state;
    for (int is_begun = 0; is_begun < 2; is_begun++) {
        struct fixture fixture = open_fixture(1);
        struct satchel_index_filling *filling = begin(&fixture);
        bool is_whole;
        assert_true(sort(&fixture, filling));
        if (is_begun)
            write_some(&fixture, filling);
        assert_ok(satchel_staging_tables_drop(fixture.other, &fixture.error));
        sql_run(fixture.other,
                "CREATE TABLE a(x); CREATE TABLE b(x UNIQUE); CREATE TABLE c(x UNIQUE, y UNIQUE)");
        sql_run(fixture.db, "BEGIN IMMEDIATE");
        sql_rows(fixture.db, "SELECT count(*) FROM sqlite_schema");
        assert_int_equal(
            satchel_index_filling_write(filling, at_once, NULL, &is_whole, &fixture.error),
            SATCHEL_AGAIN);
        sql_run(fixture.db, "ROLLBACK");
        satchel_index_filling_free(filling);
        assert_string_equal(sql_rows(fixture.db, "PRAGMA integrity_check"), "ok");
        assert_string_equal(
            sql_rows(fixture.db, "SELECT name FROM sqlite_schema WHERE name LIKE 'satchel_fill%'"),
            "");
        close_fixture(&fixture);
    }
}

static void test_staging_index__memory_is_bounded_where_it_may_wait(void **state)
{
    (void)state;
    sqlite3 *db = sql_open(NULL);
    assert_true(satchel_indexes_may_wait(db));
    sql_run(db, "PRAGMA temp_store=MEMORY");
    assert_false(satchel_indexes_may_wait(db));
    sql_run(db, "PRAGMA temp_store=FILE");
    assert_true(satchel_indexes_may_wait(db));
    sql_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_staging_index__what_waited_is_whole),
        cmocka_unit_test(test_staging_index__what_is_found_by_it_is_what_stands_in_the_table),
        cmocka_unit_test(test_staging_index__broken_off_it_goes_on),
        cmocka_unit_test(test_staging_index__two_may_fill_the_same),
        cmocka_unit_test(test_staging_index__tables_that_are_gone_are_left_alone),
        cmocka_unit_test(test_staging_index__memory_is_bounded_where_it_may_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
