/* Staging tables: filled beside their table, exchanged with it at once or not at all. */
#include "sql_support.h"

#include <satchel/staging_table.h>

#include <stdlib.h>
#include <unistd.h>

static const char shapes_sql[] =
    "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT COLLATE NOCASE, mail UNIQUE, age INTEGER"
    " CHECK(age < 200));"
    "CREATE INDEX contact_name ON contact(name DESC, age);"
    "CREATE UNIQUE INDEX \"con\"\"tact\" ON \"contact\"(lower(name)) WHERE age > 10;"
    "CREATE TABLE 'a \"pair\"'(k1, k2 TEXT, n DEFAULT 7, PRIMARY KEY(k1, k2), UNIQUE(n)) WITHOUT "
    "ROWID;"
    "CREATE INDEX pair_n /* on */ ON [a \"pair\"](n);"
    "CREATE TABLE number(id INTEGER PRIMARY KEY, v);"
    /* its name is that of a table */
    "CREATE TRIGGER satchel_contact AFTER INSERT ON contact BEGIN SELECT 1; END;"
    "CREATE VIEW names AS SELECT name FROM contact";

struct fixture {
    sqlite3 *db;
    struct satchel_error error;
    char path[32]; /* of a database in a file */
};

static bool make(struct fixture *fixture, const char *table)
{
    enum satchel_staging_state state;
    assert_ok(satchel_staging_table_make(fixture->db, table, false, &state, &fixture->error));
    return state == SATCHEL_STAGING_READY;
}

static bool exchange(struct fixture *fixture)
{
    bool is_done = false;
    assert_ok(satchel_staging_tables_exchange(fixture->db, &is_done, &fixture->error));
    if (is_done)
        assert_ok(satchel_staging_tables_drop(fixture->db, &fixture->error));
    return is_done;
}

static struct fixture open_fixture(const char *first)
{
    struct fixture fixture = {.db = sql_open(first)};
    sql_run(fixture.db, shapes_sql);
    return fixture;
}

static struct fixture open_file(void)
{
    struct fixture fixture = {.path = "/tmp/satchel-staging-XXXXXX"};
    int descriptor = mkstemp(fixture.path);
    assert_true(descriptor >= 0);
    close(descriptor);
    assert_int_equal(sqlite3_open(fixture.path, &fixture.db), SQLITE_OK);
    sql_run(fixture.db, "PRAGMA journal_mode=WAL");
    sql_run(fixture.db, shapes_sql);
    return fixture;
}

static void close_file(struct fixture *fixture)
{
    assert_int_equal(sqlite3_close(fixture->db), SQLITE_OK); /* its WAL goes with it */
    unlink(fixture->path);
}

static void fill(struct fixture *fixture)
{
    sql_run(fixture->db, "BEGIN IMMEDIATE");
    assert_true(make(fixture, "contact"));
    assert_true(make(fixture, "a \"pair\""));
    assert_true(make(fixture, "number"));
    assert_true(make(fixture, "contact")); /* it is there */
    sql_run(fixture->db, "COMMIT");
    sql_run(fixture->db,
            "INSERT INTO contact VALUES('old', 'old', 'o', 1);"
            "INSERT INTO number VALUES(5, 'old');"
            "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
            " INSERT INTO satchel_new_contact SELECT 'c' || i, 'Name ' || i, 'm' || i, 20 FROM n;"
            "INSERT INTO \"satchel_new_a \"\"pair\"\"\" VALUES(1, 'x', 2), (2, 'x', 3);"
            "INSERT INTO satchel_new_number VALUES(7, 'new')");
}

static void assert_old(sqlite3 *db)
{
    assert_string_equal(sql_rows(db, "SELECT id FROM contact"), "old");
    assert_string_equal(sql_rows(db, "SELECT * FROM number"), "5|old");
    assert_string_equal(sql_rows(db, "PRAGMA integrity_check"), "ok");
}

static void assert_new(sqlite3 *db)
{
    assert_string_equal(sql_rows(db, "PRAGMA integrity_check"), "ok");
    assert_string_equal(sql_rows(db, "SELECT count(*), min(id) FROM contact"), "2000|c1");
    assert_string_equal(sql_rows(db, "SELECT id FROM contact INDEXED BY contact_name WHERE name ="
                                     " 'NAME 77'"),
                        "c77");
    assert_string_equal(sql_rows(db, "SELECT id FROM contact WHERE mail = 'm9'"), "c9");
    assert_string_equal(sql_rows(db, "SELECT k1, n FROM \"a \"\"pair\"\"\" WHERE n = 3"), "2|3");
    assert_string_equal(sql_rows(db, "SELECT * FROM number"), "7|new");
    assert_string_equal(sql_rows(db, "SELECT count(*) FROM names"), "2000");
    assert_string_equal(sql_rows(db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE"
                                     " '%satchel!_new!_%' ESCAPE '!'"),
                        "0");
    /* And it goes on as any table does. */
    sql_run(db, "INSERT INTO contact VALUES('later', 'x', 'y', 3);"
                "DELETE FROM contact WHERE id = 'later';"
                "UPDATE \"a \"\"pair\"\"\" SET n = 9 WHERE k1 = 1;"
                "UPDATE \"a \"\"pair\"\"\" SET n = 2 WHERE k1 = 1");
}

static void test_staging_table__all_that_a_table_has_is_exchanged(void **state)
{
    static const char *const vacuums[] = {NULL, "PRAGMA auto_vacuum=FULL"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture fixture = open_fixture(vacuums[i]);
        const char *before = sql_rows(fixture.db, "SELECT group_concat(name || coalesce(sql, ''))"
                                                  " FROM sqlite_schema");
        char *schema = sqlite3_mprintf("%s", before);
        fill(&fixture);
        assert_string_equal(sql_rows(fixture.db, "SELECT id FROM contact"), "old");
        sql_run(fixture.db, "BEGIN IMMEDIATE");
        assert_true(exchange(&fixture));
        assert_new(fixture.db);
        sql_run(fixture.db, "COMMIT");
        assert_new(fixture.db);
        assert_string_equal(sql_rows(fixture.db, "SELECT group_concat(name || coalesce(sql, ''))"
                                                 " FROM sqlite_schema"),
                            schema);
        sqlite3_free(schema);
        sql_close(fixture.db);
    }
}

static void test_staging_table__rolled_back_nothing_has_happened(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(NULL);
    fill(&fixture);
    sql_run(fixture.db, "BEGIN IMMEDIATE");
    assert_true(exchange(&fixture));
    sql_run(fixture.db, "ROLLBACK");
    assert_old(fixture.db);
    assert_true(exchange(&fixture));
    assert_new(fixture.db);
    sql_close(fixture.db);
}

static void test_staging_table__a_connection_may_be_defensive(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(NULL);
    int is_on = 0;
    fill(&fixture);
    sqlite3_db_config(fixture.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    assert_true(exchange(&fixture));
    assert_new(fixture.db);
    sqlite3_db_config(fixture.db, SQLITE_DBCONFIG_DEFENSIVE, -1, &is_on);
    assert_true(is_on);
    sqlite3_db_config(fixture.db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, -1, &is_on);
    assert_false(is_on);
    sql_close(fixture.db);
}

/* However many rows there are, few pages are written: who wants to write waits for no more. */
static void test_staging_table__what_the_exchange_writes_does_not_grow(void **state)
{
    (void)state;
    struct fixture fixture = open_file();
    int written = 0, high = 0;
    fill(&fixture);
    sqlite3_db_status(fixture.db, SQLITE_DBSTATUS_CACHE_WRITE, &written, &high, 1);
    sql_run(fixture.db, "BEGIN IMMEDIATE");
    assert_true(exchange(&fixture));
    sql_run(fixture.db, "COMMIT");
    sqlite3_db_status(fixture.db, SQLITE_DBSTATUS_CACHE_WRITE, &written, &high, 0);
    assert_in_range(written, 1, 20);
    assert_new(fixture.db);
    close_file(&fixture);
}

static void test_staging_table__another_connection_sees_all_or_nothing(void **state)
{
    (void)state;
    struct fixture fixture = open_file();
    sqlite3 *other = NULL;
    fill(&fixture);
    assert_int_equal(sqlite3_open(fixture.path, &other), SQLITE_OK);
    assert_old(other);
    sql_run(other, "BEGIN");
    assert_string_equal(sql_rows(other, "SELECT count(*) FROM contact"), "1");
    assert_true(exchange(&fixture));
    assert_old(other);
    sql_run(other, "COMMIT");
    assert_new(other);
    assert_new(fixture.db);
    sqlite3_close(other);
    close_file(&fixture);
}

static void test_staging_table__some_tables_have_none(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(NULL);
    sql_run(fixture.db, "CREATE TABLE watched(id PRIMARY KEY);"
                        "CREATE TRIGGER watch AFTER INSERT ON watched BEGIN SELECT 1; END;"
                        "CREATE TABLE numbered(id INTEGER PRIMARY KEY AUTOINCREMENT);"
                        "CREATE TABLE named(id PRIMARY KEY, n CHECK(named.n > 0));"
                        "CREATE TABLE plain(id PRIMARY KEY)");
    sql_run(fixture.db, "BEGIN");
    assert_false(make(&fixture, "watched"));
    assert_false(make(&fixture, "numbered"));
    assert_false(make(&fixture, "named"));
    assert_false(make(&fixture, "not there"));
    assert_true(make(&fixture, "plain"));
    sql_run(fixture.db, "COMMIT");
    assert_string_equal(sql_rows(fixture.db, "SELECT name FROM sqlite_schema WHERE name LIKE"
                                             " 'satchel!_new!_%' ESCAPE '!'"),
                        "satchel_new_plain");
    assert_ok(satchel_staging_tables_drop(fixture.db, &fixture.error));
    bool is_there = true;
    assert_ok(satchel_staging_table_find(fixture.db, "plain", &is_there, &fixture.error));
    assert_false(is_there);
    sql_close(fixture.db);
}

/* What is staged is nobody's child: the application may delete what it will. */
static void test_staging_table__foreign_keys_stay_among_staging_tables(void **state)
{
    (void)state;
    struct fixture fixture = open_fixture(NULL);
    sql_run(fixture.db, "CREATE TABLE folder(id PRIMARY KEY, up REFERENCES folder);"
                        "CREATE TABLE note(id PRIMARY KEY, folder /* REFERENCES x */ REFERENCES "
                        "\"folder\"(id) ON DELETE CASCADE, FOREIGN KEY(id) REFERENCES folder);"
                        "BEGIN");
    assert_true(make(&fixture, "note"));
    assert_true(make(&fixture, "folder"));
    sql_run(fixture.db, "COMMIT; INSERT INTO satchel_new_note VALUES('f', 'f');"
                        "INSERT INTO satchel_new_folder VALUES('f', NULL);"
                        "INSERT INTO folder VALUES('f', NULL); PRAGMA foreign_keys=ON;"
                        "DELETE FROM folder; PRAGMA foreign_keys=OFF");
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM satchel_new_note"), "1");
    assert_true(exchange(&fixture));
    assert_string_equal(sql_rows(fixture.db, "SELECT folder FROM note"), "f");
    assert_string_equal(sql_rows(fixture.db, "PRAGMA foreign_key_check"), "");
    sql_run(fixture.db, "PRAGMA foreign_keys=ON; DELETE FROM folder");
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM note"), "0");
    sql_close(fixture.db);
}

static void test_staging_table__tables_that_are_alike_no_more_are_left(void **state)
{
    static const char *const changes[] = {
        "ALTER TABLE contact ADD COLUMN more", "DROP INDEX contact_name",
        "CREATE INDEX late ON contact(age)",
        "CREATE TRIGGER late AFTER INSERT ON contact BEGIN SELECT 1; END",
        "DROP INDEX contact_name; CREATE INDEX contact_name ON contact(name DESC)"};
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct fixture fixture = open_fixture(NULL);
        fill(&fixture);
        sql_run(fixture.db, changes[i]);
        enum satchel_staging_state found;
        assert_ok(satchel_staging_table_make(fixture.db, "contact", false, &found, &fixture.error));
        assert_int_equal(found, SATCHEL_STAGING_STALE);
        sql_run(fixture.db, "BEGIN");
        assert_false(exchange(&fixture));
        sql_run(fixture.db, "COMMIT");
        assert_old(fixture.db);
        assert_ok(satchel_staging_tables_drop(fixture.db, &fixture.error));
        assert_old(fixture.db);
        sql_close(fixture.db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_staging_table__all_that_a_table_has_is_exchanged),
        cmocka_unit_test(test_staging_table__rolled_back_nothing_has_happened),
        cmocka_unit_test(test_staging_table__a_connection_may_be_defensive),
        cmocka_unit_test(test_staging_table__what_the_exchange_writes_does_not_grow),
        cmocka_unit_test(test_staging_table__another_connection_sees_all_or_nothing),
        cmocka_unit_test(test_staging_table__some_tables_have_none),
        cmocka_unit_test(test_staging_table__foreign_keys_stay_among_staging_tables),
        cmocka_unit_test(test_staging_table__tables_that_are_alike_no_more_are_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
