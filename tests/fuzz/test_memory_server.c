/* No memory on the server: what a central store is asked for is done whole or not at all, and once
 * there is memory again the same store does it. */
#include "memory_store.h"

#include <satchel/log_pack.h>

/* ---- a batch ---- */

/* The same, and the store has done something already: its statements are prepared. */
static void put_back_warm(void *context)
{
    struct world *world = context;
    struct kit *kit = &world->kit;
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    put_back(world);
    assert_ok(kit->store->ops->begin(kit->store, &kit->error));
    assert_ok(satchel_merge_batch(kit->store, world->batch, world->batch_count, KIT_NOW_MS,
                                  outcomes, &kit->error));
    kit->store->ops->rollback(kit->store);
}

static enum satchel_status merge(struct world *world, struct satchel_error *error)
{
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    return satchel_merge_batch(world->kit.store, world->batch, world->batch_count, KIT_NOW_MS,
                               outcomes, error);
}

static enum satchel_status run_merge(void *context, struct satchel_error *error)
{
    return in_transaction(context, merge, error);
}

static void finish_merge(void *context, enum satchel_status status)
{
    judge(context, status, run_merge);
}

static void test_memory__a_batch_is_merged_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    make_batch(&world);
    keep_template(&world);
    memory_scenario_run(
        &(struct memory_scenario){"merge, first", put_back, run_merge, finish_merge}, &world, RUNS);
    memory_scenario_run(
        &(struct memory_scenario){"merge, later", put_back_warm, run_merge, finish_merge}, &world,
        2 * RUNS);
    close_world(&world);
}

/* ---- opening, packing ---- */

static void remove_store(void *context)
{
    struct world *world = context;
    put_back(world);
    world->kit.store->ops->close(world->kit.store);
    world->kit.store = NULL;
}

static enum satchel_status run_open(void *context, struct satchel_error *error)
{
    struct world *world = context;
    return satchel_store_sqlite_open(&world->kit.store, world->kit.path, error);
}

static void finish_open(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_ok(run_open(world, &error));
    database_state(satchel_store_sqlite_db(world->kit.store), "", &world->is);
    assert_same_state(&world->is, &world->before);
    world->kit.store->ops->close(world->kit.store);
}

static enum satchel_status pack(struct world *world, struct satchel_error *error)
{
    uint32_t packed;
    return satchel_log_pack(satchel_store_sqlite_db(world->kit.store), 0, 1, &packed, error);
}

static enum satchel_status run_pack(void *context, struct satchel_error *error)
{
    return in_transaction(context, pack, error);
}

static void finish_pack(void *context, enum satchel_status status)
{
    judge(context, status, run_pack);
}

static void test_memory__a_store_is_opened_and_its_log_packed_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    make_batch(&world);
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    kit_merge(&world.kit, world.batch, world.batch_count, outcomes);
    keep_template(&world);
    memory_scenario_run(&(struct memory_scenario){"open", remove_store, run_open, finish_open},
                        &world, RUNS);
    memory_scenario_run(&(struct memory_scenario){"pack", put_back, run_pack, finish_pack}, &world,
                        RUNS);
    close_world(&world);
}

/* ---- the schema ---- */

static enum satchel_status deploy(struct world *world, struct satchel_error *error)
{
    const struct satchel_migration migrations[] = {
        {1, satchel_span_text("001_init.sql"), satchel_span_text(schema_sql)},
        {2, satchel_span_text("002_more.sql"),
         satchel_span_text("ALTER TABLE line ADD COLUMN note TEXT DEFAULT 'n'; -- @lww\n"
                           "-- @table scope=all delete=forbid\n"
                           "CREATE TABLE unit(id TEXT PRIMARY KEY);\n"
                           "INSERT INTO unit VALUES('kg'), ('m');\n")}};
    struct satchel_arena arena;
    const char *notice;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status =
        deploy_migrations(world->kit.store, migrations, 2, KIT_NOW_MS, &arena, &notice, error);
    satchel_arena_deinit(&arena);
    return status;
}

static enum satchel_status run_deploy(void *context, struct satchel_error *error)
{
    return in_transaction(context, deploy, error);
}

static void finish_deploy(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_ok(deploy_reload(world->kit.store, &error));
    judge(world, status, run_deploy);
}

static void test_memory__migrations_are_deployed_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    kit_push(&world.kit, 1, 1, 0, 0, kit_part(&world.kit, INSERT, "line", "l", -1));
    keep_template(&world);
    memory_scenario_run(&(struct memory_scenario){"deploy", put_back, run_deploy, finish_deploy},
                        &world, RUNS);
    close_world(&world);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__a_batch_is_merged_whole_or_not),
        cmocka_unit_test(test_memory__a_store_is_opened_and_its_log_packed_or_not),
        cmocka_unit_test(test_memory__migrations_are_deployed_whole_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
