/* No memory on a device that gives back what a server has lost, or finds that it is a copy: whole
 * or not at all. */
#include "memory_replica.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- a server that was restored ---- */

enum { KEPT_CURSOR = 1, STEP_RUNS = 400 };

static enum satchel_status run_rewind(void *context, struct satchel_error *error)
{
    struct world *world = context;
    struct satchel_apply *apply = world->kit.apply;
    const struct satchel_vector vector = {NULL, 0};
    struct satchel_sync sync = {.replica = world->kit.sync_replica, .apply = apply};
    enum satchel_status status = satchel_apply_begin(apply, true, error);
    if (status == SATCHEL_OK)
        status = satchel_recover_rewind(&sync, KEPT_CURSOR, &vector, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_commit(apply, error);
    if (status != SATCHEL_OK)
        satchel_apply_rollback(apply);
    return status;
}

static void finish_rewind(void *context, enum satchel_status status)
{
    struct world *world = context;
    assert_true(sqlite3_get_autocommit(world->kit.sync_replica->db));
    judge(world, status, run_rewind);
}

/* In a session, where it has been read where the replica stands. */
static void put_back_standing(void *context)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    put_back(world);
    assert_ok(satchel_apply_begin(world->kit.apply, false, &error));
    satchel_apply_release(world->kit.apply);
}

/* Of every row in doubt what the node has: one as it is, one changed, two gone, a conflict that is
 * not known here instead of the one that is. */
static void make_rows(struct world *world)
{
    struct node_kit *kit = &world->kit;
    static const char *const ids[] = {"a", "b", "c", "d"};
    entry_begin(kit);
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "a", FIELDS(TEXT_FIELD(TITLE, "one")));
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "b", FIELDS(TEXT_FIELD(TITLE, "two")));
    entry_effect(kit, SATCHEL_EFFECT_GONE, "c", NULL);
    entry_effect(kit, SATCHEL_EFFECT_GONE, "d", NULL);
    entry_conflict(kit, "a", DONE, "0", "1", true);
    struct satchel_span notes = entry_of_other(kit).notes;
    assert_ok(satchel_buffer_append(&world->rows, notes.data, notes.size));
    for (int i = 0; i < 4; i++) {
        struct satchel_value key = text_of(ids[i]);
        satchel_buffer_clear(&world->is);
        assert_ok(satchel_row_name(&world->is, ITEM, &key, 1));
        world->asked[i].name = satchel_arena_copy(&world->arena, satchel_buffer_span(&world->is));
    }
}

static enum satchel_status run_rows(void *context, struct satchel_error *error)
{
    struct world *world = context;
    struct satchel_sync sync = {.replica = world->kit.sync_replica, .apply = world->kit.apply};
    sync.recovery = (struct sync_recovery){.has_rows = true,
                                           .rows_cursor = KEPT_CURSOR,
                                           .asked = world->asked,
                                           .asked_count = 4,
                                           .row_count = 4,
                                           .rows = world->rows};
    return satchel_recover_apply_rows(&sync, error);
}

static void finish_rows(void *context, enum satchel_status status)
{
    struct world *world = context;
    assert_true(sqlite3_get_autocommit(world->kit.sync_replica->db));
    judge(world, status, run_rows);
}

/* Two of the lost entries come again from the node that goes on, with the positions they had. */
static void make_again(struct world *world)
{
    struct node_kit *kit = &world->kit;
    world->entries[1] = world->entries[2];
    world->entry_count = 2;
    for (size_t i = 0; i < world->entry_count; i++) {
        struct satchel_position position = {kit->node, world->entries[i].seq};
        const struct satchel_vector positions = {&position, 1};
        satchel_buffer_clear(&world->is);
        assert_ok(satchel_vector_pack(&world->is, &positions));
        world->entries[i].positions =
            satchel_arena_copy(&world->arena, satchel_buffer_span(&world->is));
    }
    put_back(world);
    node_kit_sql(kit, "UPDATE satchel_replica SET node = x'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'");
    keep_template(world);
}

/* Whatever waits at one end is heard at the other. */
static void hear(struct satchel_session *from, struct satchel_session *to, struct satchel_now now)
{
    struct satchel_span frame;
    while (satchel_session_next_output(from, &frame)) {
        struct satchel_message event;
        assert_ok(satchel_session_receive(to, frame.data, frame.size, true, now));
        while (satchel_session_next_event(to, &event))
            if (event.kind == SATCHEL_MESSAGE_HELLO) {
                const struct satchel_message welcome = {.kind = SATCHEL_MESSAGE_WELCOME};
                assert_ok(satchel_session_send(to, &welcome));
            }
    }
}

static struct satchel_session *attached_session(void)
{
    static const uint8_t token[SATCHEL_TOKEN_BYTES];
    const struct satchel_now now = {1700000000000, 1000};
    struct satchel_session *ends[2];
    struct satchel_message hello = {.kind = SATCHEL_MESSAGE_HELLO};
    for (int i = 0; i < 2; i++) {
        const struct satchel_session_options options = {
            .size = sizeof options, .side = i == 0 ? SATCHEL_SIDE_CLIENT : SATCHEL_SIDE_SERVER};
        assert_ok(satchel_session_new(&ends[i], &options, now));
    }
    hello.hello.protocol = SATCHEL_PROTOCOL_VERSION;
    hello.hello.token = satchel_span_of(token, sizeof token);
    assert_ok(satchel_session_send(ends[0], &hello));
    while (satchel_session_output_bytes(ends[0]) + satchel_session_output_bytes(ends[1]) > 0) {
        hear(ends[0], ends[1], now);
        hear(ends[1], ends[0], now);
    }
    assert_true(satchel_session_is_attached(ends[0]));
    satchel_session_free(ends[1]);
    return ends[0];
}

static void put_back_attached(void *context)
{
    struct world *world = context;
    struct satchel_sync *sync = &world->sync;
    put_back_standing(world);
    *sync = (struct satchel_sync){.replica = world->kit.sync_replica, .apply = world->kit.apply};
    satchel_arena_init(&sync->push_arena, SIZE_MAX / 2, NULL);
    satchel_arena_init(&sync->recovery.arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&sync->push_scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    sync->session = attached_session();
}

static enum satchel_status run_step(void *context, struct satchel_error *error)
{
    struct satchel_sync *sync = &((struct world *)context)->sync;
    enum satchel_status status = satchel_recover_begin(sync, error);
    return status == SATCHEL_OK ? satchel_recover_step(sync, error) : status;
}

/* What was said is said once, and whole. */
static void finish_step(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_sync *sync = &world->sync;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_span frame;
    if (status != SATCHEL_OK && run_step(world, &error) != SATCHEL_OK)
        fail_msg("%s; with memory again: %s", memory_run_name(), error.message);
    bool is_first = world->said.size == 0;
    assert_true(satchel_session_next_output(sync->session, &frame));
    if (is_first)
        assert_ok(satchel_buffer_append(&world->said, frame.data, frame.size));
    assert_true(satchel_span_equal(frame, satchel_buffer_span(&world->said)));
    assert_false(satchel_session_next_output(sync->session, &frame));
    satchel_session_free(sync->session);
    satchel_arena_deinit(&sync->push_arena);
    satchel_buffer_deinit(&sync->push_scratch);
    satchel_recover_end(sync);
    close_connections(world);
}

static void check_step(struct world *world, const char *name)
{
    satchel_buffer_clear(&world->said);
    memory_scenario_run(&(struct memory_scenario){name, put_back_attached, run_step, finish_step},
                        world, STEP_RUNS);
}

static void test_memory__what_a_server_has_lost_is_kept_and_given_back_or_not(void **state)
{
    (void)state;
    struct world world;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    open_world(&world);
    make_rows(&world);
    assert_ok(run_apply(&world, &error));
    keep_template(&world);
    check(&world, "rewind", run_rewind, finish_rewind);
    put_back(&world);
    assert_ok(run_rewind(&world, &error));
    node_kit_expect(&world.kit, "SELECT count(*) FROM satchel_lost", "4");
    node_kit_expect(&world.kit, "SELECT count(*) FROM satchel_doubt", "4");
    keep_template(&world);
    satchel_buffer_clear(&world.expected);
    memory_scenario_run(&(struct memory_scenario){"rows", put_back_standing, run_rows, finish_rows},
                        &world, RUNS);
    check_step(&world, "give back");
    make_again(&world);
    check(&world, "hear again", run_apply, finish_apply);
    put_back(&world);
    assert_ok(run_apply(&world, &error));
    node_kit_expect(&world.kit, "SELECT count(*) FROM satchel_lost", "2");
    close_connections(&world);
    put_back(&world);
    node_kit_sql(&world.kit, "DELETE FROM satchel_lost");
    keep_template(&world);
    check_step(&world, "ask for rows");
    put_back_standing(&world);
    assert_ok(run_rows(&world, &error));
    node_kit_expect(&world.kit, "SELECT count(*) FROM satchel_doubt", "0");
    close_connections(&world);
    close_world(&world);
}

/* ---- a copy ---- */

static enum satchel_status run_copied(void *context, struct satchel_error *error)
{
    struct world *world = context;
    struct satchel_apply *apply = world->kit.apply;
    struct satchel_sync sync = {
        .replica = world->kit.sync_replica, .apply = apply, .has_asked_copy = true};
    struct satchel_message_copied copied = {.receipt = world->kit.other};
    apply->diverged_number = 1; /* of the pending ones the first */
    memset(apply->diverged_hash, 7, sizeof apply->diverged_hash);
    copied.device = satchel_copy_id(&sync.replica->device, 0, apply->diverged_hash);
    enum satchel_status status = satchel_sync_take_copied(&sync, &copied, error);
    return status == SATCHEL_AGAIN ? SATCHEL_OK : status;
}

/* Who is the other device in the file, and could not read that again, is it the next time. */
static void finish_copied(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct node_kit *kit = &world->kit;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_id device;
    assert_true(sqlite3_get_autocommit(kit->sync_replica->db));
    database_state(kit->db, of_time, &world->is);
    if (status != SATCHEL_OK &&
        !satchel_span_equal(satchel_buffer_span(&world->is), satchel_buffer_span(&world->before))) {
        assert_same_state(&world->is, &world->expected);
        assert_ok(satchel_replica_read_identity(kit->sync_replica, &error));
        device = kit->sync_replica->device;
        node_kit_reopen_sync(kit);
        assert_true(satchel_id_equal(&device, &kit->sync_replica->device));
        close_connections(world);
        return;
    }
    judge(world, status, run_copied);
}

static void test_memory__a_copy_goes_on_as_itself_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    keep_template(&world);
    check(&world, "copied", run_copied, finish_copied);
    close_world(&world);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__what_a_server_has_lost_is_kept_and_given_back_or_not),
        cmocka_unit_test(test_memory__a_copy_goes_on_as_itself_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
