/* Workspaces being made and migrated: all of it or nothing. */
#include "digest_oracle.h"
#include "workspace_kit.h"

#include <stdatomic.h>
#include <unistd.h>

static void test_deploy__first_rows_are_a_change_set_of_the_server(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_string_equal(sql(&fixture, "SELECT cursor, seq, number, user FROM satchel_entry"),
                        "1|1|1|satchel-server");
    assert_string_equal(sql(&fixture, "SELECT login, role, active FROM person ORDER BY 1"),
                        "ann|rep|1\nbob|hq|1\ngone|rep|0");
    assert_string_equal(sql(&fixture, "SELECT new FROM satchel_history WHERE tbl='person' AND"
                                      " key='bob' AND field='role'"),
                        "hq");
    fixture_close(&fixture);
}

static void test_deploy__deploy_takes_new_migrations_and_refuses_edited_ones(void **state)
{
    (void)state;
    static const char more[] =
        "ALTER TABLE item ADD COLUMN color TEXT DEFAULT 'red'; -- @lww\n"
        "INSERT INTO item(id, name) SELECT 'i-' || login, login FROM person;\n";
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    struct satchel_job *job =
        verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", kit_plain_sql, NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_SCHEMA);
    assert_non_null(strstr(fixture.error.message, "001_init.sql was edited"));
    satchel_job_free(job);
    /* a row that is there already: file, line, and nothing happened */
    job =
        verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", kit_sql, "002_more.sql",
             "CREATE INDEX item_name ON item(name);\n\nINSERT INTO item(id) VALUES('i1');\n", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_SCHEMA);
    if (!strstr(fixture.error.message, "002_more.sql:3"))
        fail_msg("%s", fixture.error.message);
    satchel_job_free(job);
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM satchel_migration"), "1");
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM sqlite_schema WHERE name='item_name'"),
                        "0");
    /* the old schema still works */
    assert_ok(push(&fixture, &ann, 2, "i1", 3));
    job = verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", kit_sql, "002_more.sql",
               more, NULL);
    if (run(&fixture, job) != SATCHEL_OK)
        fail_msg("%s", fixture.error.message);
    satchel_job_free(job);
    assert_string_equal(sql(&fixture, "SELECT id, name, stock, color FROM item ORDER BY id"),
                        "i-ann|ann|0|red\ni-bob|bob|0|red\ni-gone|gone|0|red\ni1|thing|3|red");
    wait_for_head(&fixture, 4);
    /* the readers and the log know it too */
    job = satchel_job_new(SATCHEL_JOB_SCHEMA);
    job->after = 1;
    assert_ok(run(&fixture, job));
    assert_int_equal(job->answers[0].schema.migration_count, 1);
    satchel_job_free(job);
    /* again: nothing new */
    job = verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", kit_sql, "002_more.sql",
               more, NULL);
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    assert_string_equal(sql(&fixture, "SELECT cursor FROM satchel_workspace"), "4");
    reopen(&fixture);
    assert_ok(push(&fixture, &ann, 3, "i1", 1));
    assert_string_equal(sql(&fixture, "SELECT stock FROM item WHERE id='i1'"), "4");
    fixture_close(&fixture);
}

/* The sums of the store that is kept at `fixture`, which a deployment may have made others. */
static void expect_sums(struct fixture *fixture)
{
    char path[160];
    sqlite3 *db;
    struct satchel_schema *schema = NULL;
    struct satchel_error error = {0};
    snprintf(path, sizeof path, "%s/w.db", fixture->directory);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_ok(satchel_schema_load(db, &schema, &error));
    const char *said = digest_oracle(db, schema);
    if (said)
        fail_msg("%s", said);
    satchel_schema_free(schema);
    sqlite3_close(db);
}

static void test_deploy__columns_that_are_added_change_what_is_kept_of_every_row(void **state)
{
    (void)state;
    static const char more[] = "ALTER TABLE item ADD COLUMN color TEXT DEFAULT 'red'; -- @lww\n"
                               "INSERT INTO item(id, name) VALUES('first', 'row');\n"
                               "-- @table scope=all delete=edit_wins\n"
                               "CREATE TABLE later(id TEXT PRIMARY KEY, a TEXT);\n"
                               "INSERT INTO later VALUES('x', 'y');\n";
    static const char most[] = "ALTER TABLE later ADD COLUMN b TEXT DEFAULT 'z'; -- @lww\n";
    static const char bad[] = "ALTER TABLE item ADD COLUMN d TEXT; -- @lww\n"
                              "INSERT INTO item(id) VALUES('i1');\n";
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    expect_sums(&fixture);
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql",
                                   kit_sql, "002_bad.sql", bad, NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_SCHEMA);
    satchel_job_free(job);
    expect_sums(&fixture);
    job = verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", kit_sql, "002_more.sql",
               more, "003_most.sql", most, NULL);
    if (run(&fixture, job) != SATCHEL_OK)
        fail_msg("%s", fixture.error.message);
    satchel_job_free(job);
    expect_sums(&fixture);
    assert_ok(push(&fixture, &ann, 2, "i1", 3));
    expect_sums(&fixture);
    reopen(&fixture);
    assert_ok(push(&fixture, &ann, 3, "i1", 3));
    expect_sums(&fixture);
    fixture_close(&fixture);
}

static void test_deploy__rules_that_rows_were_merged_by_stay(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *reason; /* NULL: it is deployed */
    } cases[] = {
        {"-- @column item.name @key\n", "the rule of item.name cannot change"},
        {"-- @column item.stock @lww\n", "the rule of item.stock cannot change"},
        {"-- @column item.name @group(g)\n"
         "ALTER TABLE item ADD COLUMN label TEXT; -- @group(g)\n",
         NULL}, /* the group is named by its first column, which is a unit as it was */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture fixture;
        struct device ann, bob;
        open_joined(&fixture, &ann, &bob);
        assert_ok(push(&fixture, &ann, 1, "i1", 0));
        struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql",
                                       kit_sql, "002_more.sql", cases[i].sql, NULL);
        enum satchel_status status = run(&fixture, job);
        assert_int_equal(status, cases[i].reason ? SATCHEL_SCHEMA : SATCHEL_OK);
        if (cases[i].reason && !strstr(fixture.error.message, cases[i].reason))
            fail_msg("%s", fixture.error.message);
        satchel_job_free(job);
        assert_ok(push(&fixture, &ann, 2, "i1", 3)); /* what was deployed still works */
        fixture_close(&fixture);
    }
}

static void test_deploy__a_refused_schema_leaves_nothing_behind(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[100];
    fixture_open(&fixture);
    assert_int_equal(create(&fixture, "w", "CREATE TABLE t(id TEXT PRIMARY KEY);"), SATCHEL_SCHEMA);
    assert_int_equal(create(&fixture, "w",
                            "-- @table scope=all delete=forbid\n"
                            "CREATE TABLE t(id TEXT PRIMARY KEY, n INT CHECK (n > 0));\n"
                            "INSERT INTO t VALUES('a', 0);"),
                     SATCHEL_SCHEMA);
    if (!strstr(fixture.error.message, "001_init.sql:3"))
        fail_msg("%s", fixture.error.message);
    assert_int_equal(create(&fixture, "no/name", kit_plain_sql), SATCHEL_INVALID);
    snprintf(path, sizeof path, "%s/w.db", fixture.directory);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/w.db.new", fixture.directory);
    assert_int_equal(access(path, F_OK), -1);
    /* leftovers of a crash are in nobody's way */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("half", file);
    fclose(file);
    assert_ok(satchel_workspace_sweep(fixture.directory, &fixture.error));
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(create(&fixture, "w", kit_plain_sql));
    struct satchel_workspace *first = fixture.workspace;
    assert_int_equal(create(&fixture, "w", kit_plain_sql), SATCHEL_EXISTS);
    fixture.workspace = first;
    fixture_close(&fixture);
}

/* Fails a deployment at its first rows, and whoever then reads the migrations. */
static int refuse_to_read(void *context, int action, const char *table, const char *column,
                          const char *database, const char *trigger)
{
    atomic_bool *has_failed = context; /* the writer's thread calls this, even when idle */
    (void)column, (void)database, (void)trigger;
    if (action == SQLITE_INSERT && strcmp(table, "extra") == 0)
        *has_failed = true;
    return *has_failed && (action == SQLITE_INSERT || action == SQLITE_READ) ? SQLITE_DENY
                                                                             : SQLITE_OK;
}

static void test_deploy__nothing_is_merged_by_a_schema_that_was_taken_back(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    atomic_bool has_failed = false;
    open_joined(&fixture, &ann, &bob);
    sqlite3 *db = satchel_store_sqlite_db(fixture.workspace->store);
    sqlite3_set_authorizer(db, refuse_to_read, &has_failed);
    struct satchel_job *job =
        verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", kit_sql, "002_extra.sql",
             "-- @table scope=all delete=edit_wins\n"
             "CREATE TABLE extra (id TEXT PRIMARY KEY);\nINSERT INTO extra VALUES ('x');\n",
             NULL);
    assert_int_not_equal(run(&fixture, job), SATCHEL_OK);
    satchel_job_free(job);
    assert_true(has_failed);
    assert_int_not_equal(attach(&fixture, &ann, &welcome), SATCHEL_OK);
    sqlite3_set_authorizer(db, NULL, NULL);
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_int_equal(welcome.schema, 1);
    fixture_close(&fixture);
}

static void test_deploy__a_file_that_is_no_central_store_is_told_so(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[100];
    fixture_open(&fixture);
    snprintf(path, sizeof path, "%s/w.db", fixture.directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        fputs("this is not a database ", file);
    fclose(file);
    assert_int_equal(satchel_workspace_open(&fixture.workspace, fixture.directory, "w",
                                            &fixture.callbacks, &fixture.error),
                     SATCHEL_MISMATCH);
    unlink(path);
    assert_int_equal(satchel_workspace_open(&fixture.workspace, fixture.directory, "w",
                                            &fixture.callbacks, &fixture.error),
                     SATCHEL_IO);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deploy__first_rows_are_a_change_set_of_the_server),
        cmocka_unit_test(test_deploy__deploy_takes_new_migrations_and_refuses_edited_ones),
        cmocka_unit_test(test_deploy__columns_that_are_added_change_what_is_kept_of_every_row),
        cmocka_unit_test(test_deploy__rules_that_rows_were_merged_by_stay),
        cmocka_unit_test(test_deploy__a_refused_schema_leaves_nothing_behind),
        cmocka_unit_test(test_deploy__nothing_is_merged_by_a_schema_that_was_taken_back),
        cmocka_unit_test(test_deploy__a_file_that_is_no_central_store_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
