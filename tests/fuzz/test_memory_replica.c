/* No memory on a device: opening, writing, applying, undoing and settling happen whole or not at
 * all; the application learns it from the statement, and its connection goes on to work. */
#include "memory_replica.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- opening ---- */

static enum satchel_status run_open(void *context, struct satchel_error *error)
{
    struct world *world = context;
    return satchel_replica_open(&world->kit.replica, world->kit.path, NULL, error);
}

static void finish_open(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_ok(run_open(world, &error));
    database_state(satchel_replica_db(world->kit.replica), of_time, &world->is);
    assert_same_state(&world->is, &world->before);
    satchel_replica_close(world->kit.replica);
    world->kit.replica = NULL;
}

static void put_back_plain(void *context)
{
    struct world *world = context;
    put_back_file(world);
    assert_int_equal(sqlite3_open(world->kit.path, &world->kit.db), SQLITE_OK);
}

static enum satchel_status run_attach(void *context, struct satchel_error *error)
{
    struct world *world = context;
    return satchel_replica_attach(&world->kit.replica, world->kit.db, NULL, error);
}

static int write_plainly(struct world *world)
{
    return sqlite3_exec(world->kit.db, "UPDATE item SET done = 1 WHERE id = 'a'", NULL, NULL, NULL);
}

/* Through a connection that could not be attached to nothing is written unseen. It has Satchel's
 * modules all the same perhaps, and is then not attached to again. */
static void finish_attach(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK && write_plainly(world) == SQLITE_OK)
        node_kit_expect(&world->kit, "SELECT max(number) FROM satchel_change", "4");
    if (status != SATCHEL_OK && run_attach(world, &error) != SATCHEL_OK) {
        if (error.status != SATCHEL_EXISTS)
            fail_msg("%s: %s", memory_run_name(), error.message);
        assert_int_equal(sqlite3_close(world->kit.db), SQLITE_OK);
        put_back_plain(world);
        assert_ok(run_attach(world, &error));
    }
    assert_int_equal(write_plainly(world), SQLITE_OK);
    node_kit_expect(&world->kit, "SELECT max(number) FROM satchel_change", "4");
    assert_int_equal(sqlite3_close(world->kit.db), SQLITE_OK);
    world->kit.db = NULL;
    world->kit.replica = NULL;
}

static void test_memory__a_replica_is_opened_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    keep_template(&world);
    memory_scenario_run(&(struct memory_scenario){"open", put_back_file, run_open, finish_open},
                        &world, RUNS);
    memory_scenario_run(
        &(struct memory_scenario){"attach", put_back_plain, run_attach, finish_attach}, &world,
        RUNS);
    close_world(&world);
}

/* ---- writing ---- */

/* As an application does: a failed statement is its to roll back. */
static enum satchel_status run_sql(void *context, struct satchel_error *error)
{
    struct world *world = context;
    sqlite3 *db = world->kit.db;
    int code = sqlite3_exec(db, world->sql, NULL, NULL, NULL);
    enum satchel_status status = SATCHEL_OK;
    if (code != SQLITE_OK) {
        status = satchel_sql_error(error, db, "write");
        if (!sqlite3_get_autocommit(db))
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

static void finish_sql(void *context, enum satchel_status status)
{
    struct world *world = context;
    if (!sqlite3_get_autocommit(world->kit.db)) /* there was no memory for ROLLBACK either */
        node_kit_sql(&world->kit, "ROLLBACK");
    judge(world, status, run_sql);
}

static void test_memory__a_write_is_captured_whole_or_fails(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    keep_template(&world);
    world.sql = "INSERT INTO item(id, title, tags) VALUES('n', 'new', '[\"q\"]')";
    check(&world, "one statement", run_sql, finish_sql);
    world.sql = "BEGIN; INSERT INTO item(id, title) VALUES('n', 'new');"
                "UPDATE item SET hits = hits + 5, tags = '[\"y\",\"x\"]', extra = '{\"z\":[1]}',"
                " body = 'line' || char(10) || 'line' WHERE id IN ('a', 'm', 'n');"
                "SAVEPOINT s; DELETE FROM item WHERE id = 'b';"
                "UPDATE item SET title = 'lost'; ROLLBACK TO s;"
                "UPDATE item SET amount = 9 WHERE id = 'a'; DELETE FROM item WHERE id = 'b';"
                "INSERT OR REPLACE INTO item(id, title) VALUES('m', 'again'); COMMIT";
    check(&world, "transaction", run_sql, finish_sql);
    close_world(&world);
}

/* ---- applying ---- */

static void test_memory__entries_are_applied_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    keep_template(&world);
    check(&world, "apply", run_apply, finish_apply);
    close_world(&world);
}

/* ---- what people ask for ---- */

static enum satchel_status run_select(void *context, struct satchel_error *error)
{
    struct world *world = context;
    sqlite3_stmt *select = NULL;
    sqlite3 *db = world->kit.db;
    int count = 0;
    int code = sqlite3_prepare_v2(db, world->sql, -1, &select, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        code = SQLITE_OK;
        count++;
    }
    enum satchel_status status =
        code == SQLITE_DONE ? SATCHEL_OK : satchel_sql_error(error, db, "read");
    sqlite3_finalize(select);
    if (status == SATCHEL_OK && count < 6)
        return satchel_error_set(error, SATCHEL_DIFFERS, "only %d rows", count);
    return status;
}

static void finish_select(void *context, enum satchel_status status)
{
    judge(context, status, run_select);
}

static enum satchel_status run_undo(void *context, struct satchel_error *error)
{
    struct world *world = context;
    return satchel_undo(world->kit.replica, world->id, error);
}

static void finish_undo(void *context, enum satchel_status status)
{
    judge(context, status, run_undo);
}

static enum satchel_status run_resolve(void *context, struct satchel_error *error)
{
    struct world *world = context;
    return satchel_resolve(world->kit.replica, world->id, "loser", error);
}

static void finish_resolve(void *context, enum satchel_status status)
{
    judge(context, status, run_resolve);
}

static void read_id(struct world *world, const char *sql)
{
    sqlite3_stmt *select;
    assert_int_equal(sqlite3_prepare_v2(world->kit.db, sql, -1, &select, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(select), SQLITE_ROW);
    snprintf(world->id, sizeof world->id, "%s", (const char *)sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
}

static void test_memory__what_people_ask_for_happens_or_not(void **state)
{
    (void)state;
    struct world world;
    char undone[128];
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    open_world(&world);
    assert_ok(run_apply(&world, &error));
    read_id(&world, "SELECT id FROM satchel_history WHERE new = 'EUR'");
    memcpy(undone, world.id, sizeof undone);
    read_id(&world, "SELECT id FROM satchel_conflicts WHERE resolved IS NULL");
    keep_template(&world);
    check(&world, "resolve", run_resolve, finish_resolve);
    memcpy(world.id, undone, sizeof undone);
    check(&world, "undo", run_undo, finish_undo);
    world.sql = "SELECT * FROM satchel_history ORDER BY id";
    check(&world, "history", run_select, finish_select);
    close_world(&world);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__a_replica_is_opened_or_not),
        cmocka_unit_test(test_memory__a_write_is_captured_whole_or_fails),
        cmocka_unit_test(test_memory__entries_are_applied_whole_or_not),
        cmocka_unit_test(test_memory__what_people_ask_for_happens_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
