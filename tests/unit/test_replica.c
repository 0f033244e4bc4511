/* Opening and attaching: what is refused and how, who checkpoints, what survives a migration; undo.
 */
#include "capture_support.h"
#include "replica_fixture.h"
#include "sql_support.h"
#include "sync.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char SCHEMA[] = "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE item (\n"
                             "  id    TEXT PRIMARY KEY, -- @id\n"
                             "  name  TEXT, -- @lww\n"
                             "  lat   REAL, -- @group(place)\n"
                             "  lon   REAL, -- @group(place)\n"
                             "  born  INTEGER, -- @immutable\n"
                             "  hits  INTEGER DEFAULT 10 -- @counter\n"
                             ");\n"
                             "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE pair (a, b, PRIMARY KEY(a, b));\n"
                             "-- @table scope=all delete=forbid\n"
                             "CREATE TABLE kept (id TEXT PRIMARY KEY, v);\n";

static int setup(void **state)
{
    return kit_setup(state, SCHEMA);
}

#define CASE(name) static void test_replica__##name(void **state)

/* ---- opening ---- */

static void expect_open(const char *path, enum satchel_status status, const char *words)
{
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    assert_int_equal(satchel_replica_open(&replica, path, NULL, &error), status);
    assert_null(replica);
    if (!strstr(error.message, words))
        fail_msg("%s: not %s", error.message, words);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

CASE(what_is_no_replica_is_refused_by_name)
{
    (void)state;
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "/tmp/satchel-replica-%ld.db", (long)getpid());
    fixture_remove(path);
    expect_open(path, SATCHEL_NOT_FOUND, "no such file");
    write_file(path, "");
    expect_open(path, SATCHEL_CORRUPT, "not an SQLite database");
    write_file(path,
               "This is a letter, and a long one, to whoever finds it; yours sincerely, the author."
               " It goes on and on so that it is longer than the header of a database would be.");
    expect_open(path, SATCHEL_CORRUPT, "not an SQLite database");
    fixture_remove(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    expect_open(path, SATCHEL_MISMATCH, "no Satchel replica");
    assert_int_equal(sqlite3_exec(db, SATCHEL_REPLICA_DDL, NULL, NULL, NULL), SQLITE_OK);
    expect_open(path, SATCHEL_MISMATCH, "never begun");
    sqlite3_close(db);
    expect_open("/tmp", SATCHEL_CORRUPT, "/tmp");
    fixture_remove(path);
}

CASE(an_unfinished_enrolment_opens_nothing)
{
    struct kit *kit = *state;
    kit_run(kit, "UPDATE satchel_replica SET state = 'joining'");
    expect_open(kit->path, SATCHEL_STATE, "join");
    kit_run(kit, "UPDATE satchel_replica SET state = 'joined', format = 9");
    expect_open(kit->path, SATCHEL_VERSION, "format 9");
    kit_run(kit, "UPDATE satchel_replica SET format = 8, device = x'00'");
    expect_open(kit->path, SATCHEL_CORRUPT, "whole enrolment");
}

CASE(synced_tables_are_not_altered_or_dropped)
{
    struct kit *kit = *state;
    kit_fail(kit, "DROP TABLE item");
    kit_fail(kit, "ALTER TABLE Pair ADD COLUMN sneaked");
    kit_fail(kit, "ALTER TABLE pair RENAME TO couple");
    kit_fail(kit, "DROP TRIGGER satchel_delete_kept");
    kit_run(kit, "CREATE TABLE own(a); ALTER TABLE own ADD COLUMN b; DROP TABLE own");
    kit_run(kit, "CREATE TEMP TABLE item(a); DROP TABLE temp.item");
}

CASE(what_happened_behind_its_back_is_named)
{
    struct kit *kit = *state;
    sqlite3_set_authorizer(kit->db, NULL, NULL); /* as a connection without Satchel */
    kit_run(kit, "DROP TRIGGER satchel_delete_kept");
    expect_open(kit->path, SATCHEL_SCHEMA, "satchel_delete_kept");
    kit_run(kit, "CREATE TRIGGER satchel_delete_kept AFTER DELETE ON kept BEGIN SELECT 1; END");
    expect_open(kit->path, SATCHEL_SCHEMA, "satchel_delete_kept");
    kit_run(kit, "ALTER TABLE pair ADD COLUMN sneaked");
    expect_open(kit->path, SATCHEL_SCHEMA, "table pair");
    kit_run(kit, "DROP TABLE item");
    expect_open(kit->path, SATCHEL_SCHEMA, "table item was dropped");
}

CASE(an_unguarded_trigger_is_named)
{
    struct kit *kit = *state;
    kit_run(kit, "CREATE TRIGGER fine AFTER UPDATE ON item WHEN NOT satchel_applying()"
                 " BEGIN UPDATE pair SET b = 1; END");
    satchel_replica *other = NULL;
    assert_int_equal(satchel_replica_open(&other, kit->path, NULL, NULL), SATCHEL_OK);
    satchel_replica_close(other);
    kit_run(kit, "CREATE TRIGGER loud AFTER UPDATE ON item BEGIN UPDATE pair SET b = 1; END");
    expect_open(kit->path, SATCHEL_SCHEMA, "loud");
}

CASE(the_connection_is_as_promised)
{
    struct kit *kit = *state;
    kit_expect_sql(kit, "PRAGMA journal_mode", "wal");
    kit_expect_sql(kit, "PRAGMA recursive_triggers", "1");
    kit_expect_sql(kit, "PRAGMA busy_timeout", "5000");
    kit_expect_sql(kit, "SELECT satchel_user() || satchel_role() || satchel_applying()", "annrep0");
    kit_expect_sql(kit, "SELECT satchel_now()", "1000000");
    kit_run(kit, "UPDATE satchel_replica SET reference_server_ms = 9000000, reference_utc_ms = 1,"
                 " reference_monotonic_ms = 4000, reference_boot = 7");
    kit_expect_sql(kit, "SELECT satchel_now()", "9001000");
}

CASE(status_is_a_view)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id) VALUES('a'); UPDATE satchel_replica SET cursor = 5,"
                 " last_sync_ms = 77, reference_server_ms = 100, reference_utc_ms = 150");
    kit_expect_sql(
        kit,
        "SELECT user || role || workspace || server || cursor || ' ' || pending || ' ' ||"
        " last_sync || ' ' || clock_error_ms || ' ' || refused || conflicts"
        " FROM satchel_status",
        "annreptestws://127.0.0.1:15 1 77 50 00");
    kit_expect_sql(kit,
                   "SELECT device = satchel_device() AND sqlite_version = sqlite_version()"
                   " AND node IS NULL FROM satchel_status",
                   "1");
}

CASE(an_open_statement_does_not_keep_close_from_working)
{
    struct kit *kit = *state;
    satchel_replica *other = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(satchel_replica_open(&other, kit->path, NULL, NULL), SATCHEL_OK);
    assert_int_equal(sqlite3_exec(satchel_replica_db(other), "INSERT INTO item(id) VALUES('a')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(satchel_replica_db(other), "SELECT 1", -1, &statement, NULL), SQLITE_OK);
    satchel_replica_close(other);
    sqlite3_finalize(statement);
    satchel_replica_close(NULL);
}

CASE(a_host_closes_its_connection_as_ever)
{
    struct kit *kit = *state;
    sqlite3 *db = NULL;
    satchel_replica *attached = NULL;
    assert_int_equal(sqlite3_open(kit->path, &db), SQLITE_OK);
    assert_int_equal(satchel_replica_attach(&attached, db, NULL, NULL), SATCHEL_OK);
    assert_non_null(attached);
    /* several operations on one row: every statement that capture keeps is used */
    assert_int_equal(sqlite3_exec(db,
                                  "BEGIN; INSERT INTO item(id) VALUES('a');"
                                  "UPDATE item SET name = 'x'; COMMIT",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

CASE(a_second_attach_is_refused_and_the_first_stays)
{
    struct kit *kit = *state;
    satchel_replica *again = NULL;
    assert_int_equal(satchel_replica_attach(&again, satchel_replica_db(kit->replica), NULL, NULL),
                     SATCHEL_EXISTS);
    assert_null(again);
    assert_int_equal(sqlite3_exec(satchel_replica_db(kit->replica),
                                  "INSERT INTO item(id) VALUES('still captured')", NULL, NULL,
                                  NULL),
                     SQLITE_OK);
}

/* ---- checkpoints ---- */

static bool lock_is_free(const char *path)
{
    char name[256];
    snprintf(name, sizeof name, "%s-ckpt", path);
    int fd = open(name, O_RDWR | O_CREAT, 0644);
    assert_true(fd >= 0);
    bool is_free = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return is_free;
}

static long wal_bytes(const char *path)
{
    char name[256];
    struct stat file;
    snprintf(name, sizeof name, "%s-wal", path);
    return stat(name, &file) == 0 ? (long)file.st_size : 0;
}

CASE(exactly_one_connection_checkpoints)
{
    struct kit *kit = *state;
    satchel_replica *second = NULL;
    assert_true(kit->replica->checkpoint_lock >= 0);
    assert_int_equal(satchel_replica_open(&second, kit->path, NULL, NULL), SATCHEL_OK);
    assert_int_equal(second->checkpoint_lock, -1);
    sqlite3 *db = satchel_replica_db(second);
    assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            sqlite3_exec(db, "INSERT INTO pair VALUES(randomblob(4000000), 1)", NULL, NULL, NULL),
            SQLITE_OK);
    assert_int_equal(second->checkpoint_lock, -1);
    assert_true(wal_bytes(kit->path) >
                20 * 1000 * 1000); /* not checkpointed, so never begun again */

    /* The holder goes; the other takes over at its next commit, and the WAL is used again from its
     * beginning. */
    satchel_replica_close(kit->replica);
    long before = wal_bytes(kit->path);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO kept VALUES(1, 1)", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(second->checkpoint_lock >= 0);
    assert_int_equal(
        sqlite3_exec(db, "INSERT INTO kept VALUES(2, randomblob(4000000))", NULL, NULL, NULL),
        SQLITE_OK);
    assert_true(wal_bytes(kit->path) <= before + 100000);
    assert_false(lock_is_free(kit->path));
    satchel_replica_close(second);
    assert_true(lock_is_free(kit->path));
    assert_int_equal(wal_bytes(kit->path), 0); /* the last one has checkpointed as it closed */
    assert_int_equal(satchel_replica_open(&kit->replica, kit->path, NULL, NULL), SATCHEL_OK);
    kit->db = satchel_replica_db(kit->replica);
}

CASE(the_sync_gives_a_long_wal_back_to_the_disk)
{
    struct kit *kit = *state;
    satchel_replica *sync = NULL;
    assert_int_equal(satchel_sync_open(&sync, kit->path, NULL, NULL), SATCHEL_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sqlite3_exec(satchel_replica_db(sync),
                                      "INSERT INTO pair VALUES(randomblob(4000000), 1)", NULL, NULL,
                                      NULL),
                         SQLITE_OK);
    /* The application, which checkpoints, and whose connection is as it was. */
    kit_run(kit, "INSERT INTO kept VALUES(1, 1)");
    assert_true(wal_bytes(kit->path) > 20 * 1000 * 1000);
    kit_expect_sql(kit, "SELECT * FROM pragma_journal_size_limit", "-1");
    assert_int_equal(
        sqlite3_exec(satchel_replica_db(sync), "INSERT INTO kept VALUES(2, 2)", NULL, NULL, NULL),
        SQLITE_OK);
    assert_true(wal_bytes(kit->path) <= 4194304);
    kit_run(kit, "INSERT INTO kept VALUES(3, 3)");
    assert_true(wal_bytes(kit->path) <= 4194304);
    satchel_replica_close(sync);
}

/* ---- migrations ---- */

CASE(a_migration_is_captured_by_every_connection)
{
    struct kit *kit = *state;
    satchel_replica *other = NULL;
    struct satchel_error error = {0};
    const struct satchel_migration second = {
        2, satchel_span_text("002.sql"),
        satchel_span_text(
            "ALTER TABLE item ADD COLUMN tint TEXT DEFAULT 'red'; -- @lww\n"
            "-- @table scope=all delete=edit_wins\nCREATE TABLE extra(id TEXT PRIMARY KEY, v);")};
    kit_run(kit, "INSERT INTO item(id) VALUES('a')");
    kit_skip(kit);
    assert_int_equal(satchel_replica_open(&other, kit->path, NULL, NULL), SATCHEL_OK);
    sqlite3 *db = satchel_replica_db(other);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    if (satchel_replica_migrate(other, &second, 1, &error) != SATCHEL_OK)
        fail_msg("%s", error.message);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE item SET tint = 'blue'", NULL, NULL, NULL),
                     SQLITE_OK);
    satchel_replica_close(other);
    kit_run(kit, "INSERT INTO item(id, tint) VALUES('b', 'red'), ('c', 'green');"
                 "INSERT INTO extra VALUES('e', 1)");
    kit_expect_sql(kit,
                   "SELECT group_concat(tbl || key || ':' || field || '=' || ifnull(new, ''), ' ')"
                   " FROM satchel_history",
                   "itema:= itema:tint=blue itemb:= itemc:tint=green extrae:v=1");
    assert_int_equal(satchel_replica_open(&other, kit->path, NULL, NULL), SATCHEL_OK);
    satchel_replica_close(other);
}

/* ---- the base ---- */

CASE(a_migration_that_is_rolled_back_leaves_capture_as_it_was)
{
    struct kit *kit = *state;
    const struct satchel_migration second = {
        2, satchel_span_text("002.sql"),
        satchel_span_text("ALTER TABLE item ADD COLUMN tint TEXT; -- @lww\n")};
    kit_run(kit, "INSERT INTO item(id, name) VALUES('a', 'Ann'); BEGIN IMMEDIATE");
    kit_skip(kit);
    assert_int_equal(satchel_replica_migrate(kit->replica, &second, 1, NULL), SATCHEL_OK);
    kit_run(kit, "ROLLBACK; UPDATE item SET name = 'Bea'");
    kit_expect(kit, "update item('a') name='Bea' was 'Ann'");
    kit_run(kit, "BEGIN IMMEDIATE");
    assert_int_equal(satchel_replica_migrate(kit->replica, &second, 1, NULL), SATCHEL_OK);
    kit_run(kit, "COMMIT; UPDATE item SET tint = 'red'");
    kit_expect_sql(kit, "SELECT new FROM satchel_history WHERE field = 'tint'", "red");
}

CASE(a_base_survives_its_encoding)
{
    (void)state;
    struct satchel_arena arena;
    struct satchel_buffer bytes;
    struct satchel_position positions[] = {{{{1}}, 5}, {{{2}}, 7}};
    struct satchel_value values[] = {
        satchel_value_null(), satchel_value_integer(INT64_MIN), satchel_value_real(-0.0),
        satchel_value_text(satchel_span_text("t")), satchel_value_blob(satchel_span_of("\0x", 2))};
    struct satchel_exception views[] = {{3, {SATCHEL_VIEW_SEEN, {positions, 2}}},
                                        {SATCHEL_COLUMN_ROW, {SATCHEL_VIEW_NONE, {NULL, 0}}}};
    struct satchel_base base = {.exists = true, .values = values, .views = views, .view_count = 2};
    struct satchel_base read;
    satchel_arena_init(&arena, 1u << 20, NULL);
    satchel_buffer_init(&bytes, 1u << 20, NULL);
    assert_int_equal(satchel_base_encode(&bytes, &base, 5), SATCHEL_OK);
    assert_int_equal(satchel_base_decode(satchel_buffer_span(&bytes), 6, &arena, &read),
                     SATCHEL_OK);
    assert_true(read.exists);
    assert_int_equal(read.value_count, 5);
    for (int i = 0; i < 5; i++)
        assert_true(satchel_value_equal(&values[i], &read.values[i]));
    assert_int_equal(read.values[5].type, SATCHEL_NULL);
    assert_int_equal(read.view_count, 2);
    assert_int_equal(read.views[0].column, 3);
    assert_int_equal(satchel_vector_get(&read.views[0].view.vector, &positions[1].node), 7);
    assert_int_equal(read.views[1].column, SATCHEL_COLUMN_ROW);
    assert_int_equal(read.views[1].view.kind, SATCHEL_VIEW_NONE);
    assert_int_equal(satchel_base_decode(satchel_buffer_span(&bytes), 4, &arena, &read),
                     SATCHEL_CORRUPT);
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(satchel_base_decode(satchel_span_of(bytes.data, size), 5, &arena, &read),
                         SATCHEL_CORRUPT);
    satchel_buffer_deinit(&bytes);
    satchel_arena_deinit(&arena);
}

/* ---- undo ---- */

static void expect_undo(struct kit *kit, const char *select_id, enum satchel_status status,
                        const char *words)
{
    sqlite3_stmt *statement;
    struct satchel_error error = {0};
    assert_int_equal(sqlite3_prepare_v2(kit->db, select_id, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    char id[128];
    snprintf(id, sizeof id, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    enum satchel_status found = satchel_undo(kit->replica, id, &error);
    if (found != status || !strstr(error.message, words))
        fail_msg("%s: %s %s", id, satchel_status_name(found), error.message);
    assert_true(sqlite3_get_autocommit(kit->db));
}

static void copy_file(const char *path, const char *copy, const char *suffix)
{
    char from[160], to[160], bytes[4096];
    size_t size;
    snprintf(from, sizeof from, "%s%s", path, suffix);
    snprintf(to, sizeof to, "%s%s", copy, suffix);
    FILE *source = fopen(from, "rb"), *target = fopen(to, "wb");
    assert_non_null(source);
    assert_non_null(target);
    while ((size = fread(bytes, 1, sizeof bytes, source)) > 0)
        assert_int_equal(fwrite(bytes, 1, size, target), size);
    fclose(source);
    assert_int_equal(fclose(target), 0);
}

/* What a kill leaves are the files as they are. */
CASE(a_kill_after_a_rolled_back_savepoint_takes_nothing_back)
{
    struct kit *kit = *state;
    char copy[128];
    sqlite3 *db;
    snprintf(copy, sizeof copy, "/tmp/satchel-replica-copy-%ld.db", (long)getpid());
    fixture_remove(copy);
    kit_run(kit, "PRAGMA cache_size = 5;"
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
                 " INSERT INTO item(id, name) SELECT i, hex(zeroblob(600)) FROM n;"
                 "BEGIN; SAVEPOINT inner;"
                 "INSERT INTO kept(id, v) SELECT id, name FROM item;"
                 "UPDATE item SET name = hex(randomblob(600));"
                 "UPDATE item SET name = hex(randomblob(600));"
                 "ROLLBACK TO inner; RELEASE inner;"
                 "INSERT INTO kept(id) VALUES('stays'); COMMIT");
    copy_file(kit->path, copy, "");
    copy_file(kit->path, copy, "-wal");
    assert_int_equal(sqlite3_open(copy, &db), SQLITE_OK);
    assert_string_equal(sql_rows(db, "SELECT id FROM kept"), "stays");
    sqlite3_close(db);
    fixture_remove(copy);
}

CASE(undo_writes_the_old_value_as_a_new_change)
{
    struct kit *kit = *state;
    kit_run(
        kit,
        "INSERT INTO item(id, name, lat) VALUES('a', 'one', 1.0);"
        "UPDATE item SET name = 'two', lat = 5.0, lon = 6.0, hits = 13; UPDATE item SET hits = 20");
    kit->number = 3;
    expect_undo(kit, "SELECT id FROM satchel_history WHERE new = 'two'", SATCHEL_OK, "");
    kit_expect(kit, "update item('a') name='one' was 'two'");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE field = 'lon' AND new = 6.0", SATCHEL_OK,
                "");
    kit_expect(kit, "update item('a') lat=1.0 lon=NULL was 5.0,6.0");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE field = 'hits' AND new = '+3'",
                SATCHEL_OK, "");
    kit_expect(kit, "update item('a') hits=-3 was 20");
}

CASE(undo_brings_rows_back_and_away)
{
    struct kit *kit = *state;
    kit_run(kit,
            "INSERT INTO item(id, name, hits) VALUES('a', 'one', 12); UPDATE item SET name = 'two',"
            " hits = hits + 1; DELETE FROM item; INSERT INTO item(id) VALUES('b');"
            "INSERT INTO pair VALUES(1, 'x'), (2, 'y'); DELETE FROM pair WHERE a = 1");
    kit->number = 6;
    expect_undo(kit, "SELECT id FROM satchel_history WHERE key = 'a' AND field = ''", SATCHEL_OK,
                "");
    kit_expect(kit, "insert item('a') name='two' hits=3");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE key = 'b'", SATCHEL_OK, "");
    kit_expect(kit, "delete item('b') was 1:NULL,2:NULL,3:NULL,4:NULL,5:10");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE key = '[1,\"x\"]' LIMIT 1 OFFSET 1",
                SATCHEL_OK, "");
    kit_expect(kit, "insert pair(1,'x')");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE key = '[1,\"x\"]' LIMIT 1 OFFSET 1",
                SATCHEL_REFUSED, "exists again");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE key = 'b' LIMIT 1", SATCHEL_REFUSED,
                "does not exist any more");
}

CASE(undo_obeys_the_rules)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, born) VALUES('a', 5); INSERT INTO kept(id) VALUES('k')");
    kit->number = 2;
    expect_undo(kit, "SELECT id FROM satchel_history WHERE field = 'born'", SATCHEL_REFUSED,
                "@immutable");
    expect_undo(kit, "SELECT id FROM satchel_history WHERE tbl = 'kept'", SATCHEL_REFUSED,
                "delete=forbid");
    expect_undo(kit, "SELECT 'nonsense'", SATCHEL_NOT_FOUND, "no such write");
    expect_undo(kit, "SELECT '00000000000000000000000000000000.1.0.1'", SATCHEL_NOT_FOUND,
                "no such write");
    kit_expect_nothing(kit);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_replica__##name, setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replica__what_is_no_replica_is_refused_by_name),
        TEST(an_unfinished_enrolment_opens_nothing),
        TEST(synced_tables_are_not_altered_or_dropped),
        TEST(what_happened_behind_its_back_is_named),
        TEST(an_unguarded_trigger_is_named),
        TEST(the_connection_is_as_promised),
        TEST(status_is_a_view),
        TEST(an_open_statement_does_not_keep_close_from_working),
        TEST(a_host_closes_its_connection_as_ever),
        TEST(a_second_attach_is_refused_and_the_first_stays),
        TEST(exactly_one_connection_checkpoints),
        TEST(the_sync_gives_a_long_wal_back_to_the_disk),
        TEST(a_migration_is_captured_by_every_connection),
        TEST(a_migration_that_is_rolled_back_leaves_capture_as_it_was),
        cmocka_unit_test(test_replica__a_base_survives_its_encoding),
        TEST(a_kill_after_a_rolled_back_savepoint_takes_nothing_back),
        TEST(undo_writes_the_old_value_as_a_new_change),
        TEST(undo_brings_rows_back_and_away),
        TEST(undo_obeys_the_rules),
    };
    return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}
