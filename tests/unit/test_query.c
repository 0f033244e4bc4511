/* What administrators read of a workspace, and that they can only read. */
#include "workspace_kit.h"

static void test_query__sql_reads_one_statement_and_nothing_else(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "DELETE FROM item",
        "UPDATE sqlite_master SET name='x'",
        "PRAGMA journal_mode=DELETE",
        "PRAGMA table_info(item)",
        "ATTACH ':memory:' AS x",
        "BEGIN",
        "COMMIT",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM item",
        "",
        "-- nothing",
        "SELEC 1",
        "SELECT * FROM nowhere",
        "SELECT load_extension('x')",
        "VACUUM INTO '/tmp/x'",
        "CREATE TEMP TABLE t(a)",
    };
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_string_equal(sql(&fixture, "SELECT 1, 'x', NULL; -- done"), "1|x|NULL");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct satchel_job *job = verb(SATCHEL_JOB_QUERY, "workspace.sql", "w", refused[i], NULL);
        if (run(&fixture, job) == SATCHEL_OK)
            fail_msg("'%s' was run", refused[i]);
        assert_true(job->error.message[0] != '\0');
        satchel_job_free(job);
    }
    struct satchel_job *job =
        verb(SATCHEL_JOB_QUERY, "workspace.sql", "w",
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100000)"
             " SELECT i, hex(zeroblob(500)) FROM n",
             NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_LIMIT);
    satchel_job_free(job);
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM person"), "3");
    fixture_close(&fixture);
}

static void test_query__verbs_list_devices_history_conflicts_quarantine_status(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_ok(attach(&fixture, &ann, NULL));
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    assert_ok(push(&fixture, &ann, 2, "nowhere", 5));
    struct satchel_job *job = verb(SATCHEL_JOB_QUERY, "device.list", "w", NULL);
    assert_ok(run(&fixture, job));
    assert_int_equal(job->answers[0].admin_result.row_count, 2);
    assert_int_equal(job->answers[0].admin_result.column_count, 9);
    assert_non_null(strstr(rows(job), "01010101010101010101010101010101|ann|"));
    assert_non_null(strstr(rows(job), "|0|3|2|-1500|test 1|\n"));
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_QUERY, "quarantine.list", "w", NULL);
    assert_ok(run(&fixture, job));
    assert_non_null(strstr(rows(job), "ann|01010101010101010101010101010101|2|0|item|nowhere|"));
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_QUERY, "history", "w", "item", "i1", NULL);
    assert_ok(run(&fixture, job));
    assert_true(job->answers[0].admin_result.row_count > 0);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_QUERY, "history", "w", "nothing", "i1", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_NOT_FOUND);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_QUERY, "conflicts", "w", "open", NULL);
    assert_ok(run(&fixture, job));
    assert_int_equal(job->answers[0].admin_result.row_count, 0);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_QUERY, "status", "w", NULL);
    assert_ok(run(&fixture, job));
    assert_non_null(strstr(rows(job), "w|1|3|2|3|"));
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_QUERY, "no.such.verb", "w", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_INVALID);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_ADMIN, "device.revoke", "w", "x", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_INVALID);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_ADMIN, "device.revoke", "w", "99999999999999999999999999999999", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_NOT_FOUND);
    satchel_job_free(job);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query__sql_reads_one_statement_and_nothing_else),
        cmocka_unit_test(test_query__verbs_list_devices_history_conflicts_quarantine_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
