/* See memory_replica.h. */
#include "memory_replica.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

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

const char of_time[] = "|stamp|utc_ms|monotonic_ms|boot|floor|last_sync_ms|last_stamp|at|"
                       "satchel_lock|";

/* ---- the same file every time ---- */

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

void open_connections(struct world *world)
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

void close_connections(struct world *world)
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
void open_world(struct world *world)
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
void keep_template(struct world *world)
{
    struct node_kit *kit = &world->kit;
    database_state(kit->db, of_time, &world->before);
    close_connections(world);
    snprintf(world->template, sizeof world->template, "%s.template", kit->path);
    memory_copy_file(kit->path, world->template);
}

void close_world(struct world *world)
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

void put_back_file(void *context)
{
    struct world *world = context;
    char beside[128];
    snprintf(beside, sizeof beside, "%s-wal", world->kit.path);
    unlink(beside);
    memory_copy_file(world->template, world->kit.path);
}

void put_back(void *context)
{
    put_back_file(context);
    open_connections(context);
}

/* After a run: all or nothing; then, if it was nothing, all. */
void judge(struct world *world, enum satchel_status status,
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

void check(struct world *world, const char *name,
           enum satchel_status (*run)(void *context, struct satchel_error *error),
           void (*finish)(void *context, enum satchel_status status))
{
    satchel_buffer_clear(&world->expected);
    memory_scenario_run(&(struct memory_scenario){name, put_back, run, finish}, world, RUNS);
}

enum satchel_status run_apply(void *context, struct satchel_error *error)
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

void finish_apply(void *context, enum satchel_status status)
{
    struct world *world = context;
    assert_true(sqlite3_get_autocommit(world->kit.sync_replica->db));
    judge(world, status, run_apply);
}
