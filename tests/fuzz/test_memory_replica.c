/* No memory on a device: opening, writing, applying, undoing, settling and what a restored server
 * asks of it happen whole or not at all; the application learns it from the statement, and its
 * connection goes on to work. Every run begins with the same file. */
#include "../unit/node_kit.h"
#include "failing_memory.h"
#include "recover.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

enum { RUNS = 60 };

/* As node_kit's table, and columns whose rules combine. */
static const char schema_sql[] = "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE item(\n"
                                 "  id TEXT PRIMARY KEY,\n"
                                 "  title TEXT,\n"
                                 "  body TEXT, -- @text3\n"
                                 "  amount INTEGER,  -- @group(price)\n"
                                 "  currency TEXT,   -- @group(price)\n"
                                 "  hits INTEGER NOT NULL DEFAULT 0, -- @counter\n"
                                 "  done INTEGER DEFAULT 0,\n"
                                 "  tags TEXT, -- @set\n"
                                 "  extra TEXT, -- @map\n"
                                 "  phone TEXT -- @key\n"
                                 ");\n";

/* Where the time of day stands, and what follows from it. */
static const char of_time[] = "|stamp|utc_ms|monotonic_ms|boot|floor|last_sync_ms|last_stamp|at|"
                              "satchel_lock|";

struct world {
    struct node_kit kit;
    char template[128];
    struct satchel_buffer before, expected, is;
    struct satchel_entry entries[8]; /* to be applied; their bytes are in `arena` */
    size_t entry_count;
    struct satchel_arena arena;
    char id[128]; /* of a conflict, or of a write in the history */
    const char *sql;
    struct satchel_sync sync;            /* what the session of a restored server needs of one */
    struct satchel_row_request asked[4]; /* rows in doubt, and what the node has of them */
    struct satchel_buffer rows, said;
};

/* ---- the same file every time ---- */

static void copy_file(const char *from, const char *to)
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

static void keep_entry(struct world *world, struct satchel_entry entry)
{
    entry.body = satchel_arena_copy(&world->arena, entry.body);
    entry.notes = satchel_arena_copy(&world->arena, entry.notes);
    world->entries[world->entry_count++] = entry;
}

/* Entries with effects of every kind, one that answers the first local write, a conflict. */
static void make_entries(struct world *world)
{
    struct node_kit *kit = &world->kit;
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "c", FIELDS(TEXT_FIELD(TITLE, "see")));
    entry_part(kit, SATCHEL_OP_UPDATE, "a",
               FIELDS(TEXT_FIELD(TITLE, "theirs"), INTEGER_FIELD(HITS, 4)));
    entry_unlike(kit, 1);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a",
                 FIELDS(TEXT_FIELD(TITLE, "theirs"), INTEGER_FIELD(HITS, 5)));
    entry_effect(kit, SATCHEL_EFFECT_GONE, "b", NULL);
    keep_entry(world, entry_of_other(kit));
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(TITLE, "kept")));
    entry_conflict(kit, "a", TITLE, "mine", "kept", true);
    keep_entry(world, entry_of_own(kit, 1));
    entry_begin(kit);
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "d", FIELDS(TEXT_FIELD(TITLE, "d")));
    entry_alias(kit, "c", "d");
    keep_entry(world, entry_of_other(kit));
}

static void open_connections(struct world *world)
{
    struct node_kit *kit = &world->kit;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    assert_ok(satchel_replica_open(&kit->replica, kit->path, NULL, &error));
    kit->db = satchel_replica_db(kit->replica);
    node_kit_sql(kit, "PRAGMA synchronous=OFF");
    assert_ok(satchel_sync_open(&kit->sync_replica, kit->path, NULL, &error));
    assert_int_equal(
        sqlite3_exec(kit->sync_replica->db, "PRAGMA synchronous=OFF", NULL, NULL, NULL), SQLITE_OK);
    assert_ok(satchel_apply_new(&kit->apply, kit->sync_replica, &error));
}

static void close_connections(struct world *world)
{
    struct node_kit *kit = &world->kit;
    satchel_apply_free(kit->apply);
    satchel_replica_close(kit->sync_replica);
    satchel_replica_close(kit->replica);
    kit->apply = NULL;
    kit->sync_replica = kit->replica = NULL;
    kit->db = NULL;
}

/* A replica with two rows of others and pending local writes. */
static void open_world(struct world *world)
{
    struct node_kit *kit = &world->kit;
    memset(world, 0, sizeof *world);
    satchel_arena_init(&world->arena, SIZE_MAX / 2, NULL);
    struct satchel_buffer *buffers[] = {&world->before, &world->expected, &world->is, &world->rows,
                                        &world->said};
    for (int i = 0; i < 5; i++)
        satchel_buffer_init(buffers[i], (size_t)64 << 20, NULL);
    node_kit_open(kit, schema_sql);
    other_inserts(kit, "a", "one");
    other_inserts(kit, "b", "two");
    node_kit_sql(kit, "UPDATE item SET title = 'mine', hits = hits + 1 WHERE id = 'a'");
    node_kit_sql(kit, "UPDATE item SET amount = 3, currency = 'EUR' WHERE id = 'a';"
                      "INSERT INTO item(id, tags, extra, phone)"
                      " VALUES('m', '[\"x\"]', '{\"k\":1}', '0123 456')");
    make_entries(world);
}

/* What is in the file now is what every run begins with. */
static void keep_template(struct world *world)
{
    struct node_kit *kit = &world->kit;
    database_state(kit->db, of_time, &world->before);
    close_connections(world);
    snprintf(world->template, sizeof world->template, "%s.template", kit->path);
    copy_file(kit->path, world->template);
}

static void close_world(struct world *world)
{
    unlink(world->template);
    open_connections(world);
    node_kit_close(&world->kit);
    satchel_arena_deinit(&world->arena);
    satchel_buffer_deinit(&world->before);
    satchel_buffer_deinit(&world->expected);
    satchel_buffer_deinit(&world->is);
    satchel_buffer_deinit(&world->rows);
    satchel_buffer_deinit(&world->said);
}

static void put_back_file(void *context)
{
    struct world *world = context;
    char beside[128];
    snprintf(beside, sizeof beside, "%s-wal", world->kit.path);
    unlink(beside);
    copy_file(world->template, world->kit.path);
}

static void put_back(void *context)
{
    put_back_file(context);
    open_connections(context);
}

/* After a run: all or nothing; then, if it was nothing, all. */
static void judge(struct world *world, enum satchel_status status,
                  enum satchel_status (*run)(void *context, struct satchel_error *error))
{
    sqlite3 *db = world->kit.db;
    if (!sqlite3_get_autocommit(db))
        fail_msg("%s: a transaction is open", memory_run_name());
    if (status != SATCHEL_OK) {
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        database_state(db, of_time, &world->is);
        assert_same_state(&world->is, &world->before);
        if (run(world, &error) != SATCHEL_OK)
            fail_msg("with memory again: %s", error.message);
    }
    database_state(db, of_time, &world->is);
    if (world->expected.size == 0) /* the first run, with memory that holds */
        assert_ok(satchel_buffer_append(&world->expected, world->is.data, world->is.size));
    assert_same_state(&world->is, &world->expected);
    close_connections(world);
}

static void check(struct world *world, const char *name,
                  enum satchel_status (*run)(void *context, struct satchel_error *error),
                  void (*finish)(void *context, enum satchel_status status))
{
    satchel_buffer_clear(&world->expected);
    memory_scenario_run(&(struct memory_scenario){name, put_back, run, finish}, world, RUNS);
}

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

static enum satchel_status run_apply(void *context, struct satchel_error *error)
{
    struct world *world = context;
    struct satchel_apply *apply = world->kit.apply;
    enum satchel_status status = satchel_apply_begin(apply, true, error);
    for (size_t i = 0; i < world->entry_count && status == SATCHEL_OK; i++)
        status = satchel_apply_entry(apply, &world->entries[i], error);
    if (status == SATCHEL_OK)
        status = satchel_apply_commit(apply, error);
    if (status != SATCHEL_OK)
        satchel_apply_rollback(apply);
    return status;
}

static void finish_apply(void *context, enum satchel_status status)
{
    struct world *world = context;
    assert_true(sqlite3_get_autocommit(world->kit.sync_replica->db));
    judge(world, status, run_apply);
}

static void test_memory__entries_are_applied_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    keep_template(&world);
    check(&world, "apply", run_apply, finish_apply);
    close_world(&world);
}

/* ---- a server that was restored ---- */

enum { KEPT_CURSOR = 1, STEP_RUNS = 400 };

static enum satchel_status run_rewind(void *context, struct satchel_error *error)
{
    struct world *world = context;
    struct satchel_apply *apply = world->kit.apply;
    struct satchel_sync sync = {.replica = world->kit.sync_replica, .apply = apply};
    enum satchel_status status = satchel_apply_begin(apply, true, error);
    if (status == SATCHEL_OK)
        status = satchel_recover_rewind(&sync, KEPT_CURSOR, error);
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
        cmocka_unit_test(test_memory__what_a_server_has_lost_is_kept_and_given_back_or_not),
        cmocka_unit_test(test_memory__a_copy_goes_on_as_itself_or_not),
        cmocka_unit_test(test_memory__what_people_ask_for_happens_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
