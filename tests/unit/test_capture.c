/* What capture writes for what SQL does: the decoded change set, compared as text. */
#include "capture_support.h"

static const char SCHEMA[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE item (\n"
    "  id    TEXT PRIMARY KEY, -- @id\n"
    "  name  TEXT, -- @lww\n"
    "  note  TEXT DEFAULT 'none', -- @lww\n"
    "  size  REAL, -- @max\n"
    "  lat   REAL, -- @group(place)\n"
    "  lon   REAL, -- @group(place)\n"
    "  born  INTEGER, -- @immutable\n"
    "  hits  INTEGER DEFAULT 10 -- @counter\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE line (a TEXT, b INTEGER, v BLOB, w, PRIMARY KEY(a, b)) WITHOUT ROWID;\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE child (id TEXT PRIMARY KEY, item TEXT REFERENCES item(id) ON DELETE CASCADE, "
    "x);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE orphan (id TEXT PRIMARY KEY, item TEXT REFERENCES item(id) ON DELETE SET NULL);\n"
    "-- @table scope=all delete=forbid\n"
    "CREATE TABLE kept (id TEXT PRIMARY KEY, v TEXT CHECK(v <> 'bad'));\n"
    "-- @table scope=all delete=forbid append\n"
    "CREATE TABLE log (id TEXT PRIMARY KEY, v TEXT);\n"
    "-- @table scope=all delete=forbid append\n"
    "CREATE TABLE paid (id TEXT PRIMARY KEY, amount,\n"
    "  confirmed -- @max\n"
    ");\n"
    "-- @table local\n"
    "CREATE TABLE private (id INTEGER PRIMARY KEY, v TEXT);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE latest (id TEXT PRIMARY KEY ON CONFLICT REPLACE, v, w);\n";

static int setup(void **state)
{
    return kit_setup(state, SCHEMA);
}

#define CASE(name) static void test_capture__##name(void **state)

/* ---- single statements ---- */

CASE(an_insert_writes_what_differs_from_the_default)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name) VALUES('a', 'Ann')");
    kit_expect(kit, "insert item('a') name='Ann'");
    kit_run(kit, "INSERT INTO item(id, note) VALUES('b', 'none')");
    kit_expect(kit, "insert item('b')");
    kit_run(kit, "INSERT INTO item(id, note, hits) VALUES('c', NULL, 12)");
    kit_expect(kit, "insert item('c') note=NULL hits=2");
}

CASE(a_group_is_written_whole)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, lat) VALUES('a', 1.5)");
    kit_expect(kit, "insert item('a') lat=1.5 lon=NULL");
    kit_run(kit, "UPDATE item SET lon = 2.5");
    kit_expect(kit, "update item('a') lat=1.5 lon=2.5 was 1.5,NULL");
}

CASE(an_update_writes_what_changed)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name, note) VALUES('a', 'Ann', 'x')");
    kit_skip(kit);
    kit_run(kit, "UPDATE item SET name = 'Bea', note = 'x'");
    kit_expect(kit, "update item('a') name='Bea' was 'Ann'");
    kit_run(kit, "UPDATE item SET name = NULL");
    kit_expect(kit, "update item('a') name=NULL was 'Bea'");
    kit_run(kit, "UPDATE item SET name = ''");
    kit_expect(kit, "update item('a') name='' was NULL");
}

CASE(an_update_to_an_equal_value_is_no_write)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name) VALUES('a', 'Ann')");
    kit_skip(kit);
    kit_run(kit, "UPDATE item SET name = 'Ann'");
    kit_run(kit, "UPDATE item SET name = name, size = size");
    kit_expect_nothing(kit);
}

CASE(a_delete_keeps_the_old_values_at_home)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 7)");
    kit_skip(kit);
    kit_run(kit, "DELETE FROM child");
    kit_expect(kit, "delete child('a') was 1:NULL,2:7");
}

CASE(counters_travel_as_deltas)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id) VALUES('a')");
    kit_skip(kit);
    kit_run(kit, "UPDATE item SET hits = hits + 5");
    kit_expect(kit, "update item('a') hits=5 was 10");
    kit_run(kit, "UPDATE item SET hits = 1");
    kit_expect(kit, "update item('a') hits=-14 was 15");
    kit_refuse(kit, "UPDATE item SET hits = 1.5", "table item, column hits: @counter");
    kit_refuse(kit, "UPDATE item SET hits = NULL", "table item, column hits: @counter");
    kit_refuse(kit, "INSERT INTO item(id, hits) VALUES('b', 'x')", "column hits: @counter");
    kit_expect_nothing(kit);
}

CASE(a_local_table_is_not_captured)
{
    struct kit *kit = *state;
    kit_run(kit,
            "INSERT INTO private(v) VALUES('x'); UPDATE private SET v = 'y'; DELETE FROM private");
    kit_expect_nothing(kit);
}

CASE(every_value_arrives_bit_for_bit)
{
    struct kit *kit = *state;
    kit_run(kit,
            "INSERT INTO line VALUES('a', 9223372036854775807, x'00ff00', -9223372036854775808)");
    kit_expect(kit, "insert line('a',9223372036854775807) v=x'00FF00' w=-9223372036854775808");
    kit_run(kit, "INSERT INTO line VALUES('\xF0\x9F\x98\x80', -1, '\xE4\xB8\xAD', zeroblob(3))");
    kit_expect(kit, "insert line('\xF0\x9F\x98\x80',-1) v='\xE4\xB8\xAD' w=x'000000'");
    kit_run(kit, "INSERT INTO line VALUES('', 0, '', x'')");
    kit_expect(kit, "insert line('',0) v='' w=x''");
    kit_run(kit, "INSERT INTO line VALUES('z', 0, NULL, 0.0)");
    kit_expect(kit, "insert line('z',0) w=0.0");
    kit_run(kit, "UPDATE line SET w = 1 WHERE a = 'z'");
    kit_expect(kit, "update line('z',0) w=1 was 0.0");
    kit_run(kit, "UPDATE line SET w = 1.0 WHERE a = 'z'");
    kit_expect(kit, "update line('z',0) w=1.0 was 1");
    kit_run(kit, "UPDATE line SET w = '1' WHERE a = 'z'");
    kit_expect(kit, "update line('z',0) w='1' was 1.0");
    kit_run(kit, "UPDATE line SET w = 9.0e999 WHERE a = 'z'");
    kit_expect(kit, "update line('z',0) w=inf was '1'");
    kit_run(kit, "INSERT INTO item(id, size) VALUES('r', 3)");
    kit_expect(kit, "insert item('r') size=3.0");
}

CASE(a_negative_zero_is_not_zero)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO line VALUES('z', 0, NULL, 0.0)");
    kit_skip(kit);
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(kit->db, "UPDATE line SET w = ?1", -1, &statement, NULL),
                     0);
    sqlite3_bind_double(statement, 1, -0.0);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    kit_expect(kit, "update line('z',0) w=-0.0 was 0.0");
}

/* ---- one transaction, several operations on one row ---- */

CASE(one_transaction_is_one_change_set)
{
    struct kit *kit = *state;
    kit_run(kit,
            "BEGIN; INSERT INTO child VALUES('a', NULL, 1); INSERT INTO child VALUES('b', NULL, 2);"
            "INSERT INTO line VALUES('c', 1, 2, 3); COMMIT");
    kit_expect(kit, "insert child('a') x=1\ninsert child('b') x=2\ninsert line('c',1) v=2 w=3");
}

CASE(insert_and_update_is_an_insert)
{
    struct kit *kit = *state;
    kit_run(kit, "BEGIN; INSERT INTO item(id, name, note) VALUES('a', 'x', 'y');"
                 "UPDATE item SET name = 'z', note = 'none', hits = 13; COMMIT");
    kit_expect(kit, "insert item('a') name='z' hits=3");
}

CASE(insert_and_delete_is_nothing)
{
    struct kit *kit = *state;
    kit_run(kit, "BEGIN; INSERT INTO item(id, name) VALUES('a', 'x'); DELETE FROM item; COMMIT");
    kit_expect_nothing(kit);
}

CASE(update_and_update_is_one)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name, note, hits) VALUES('a', 'x', 'y', 0)");
    kit_skip(kit);
    kit_run(kit, "BEGIN; UPDATE item SET name = '1', note = '2', hits = 5;"
                 "UPDATE item SET name = 'x', hits = 7; UPDATE item SET note = '3'; COMMIT");
    kit_expect(kit, "update item('a') note='3' hits=7 was 'y',0");
    kit_run(kit, "BEGIN; UPDATE item SET name = '1'; UPDATE item SET name = 'x'; COMMIT");
    kit_expect_nothing(kit);
    kit_run(kit, "BEGIN; UPDATE item SET lat = 1.0; UPDATE item SET lon = 2.0;"
                 "UPDATE item SET lat = NULL; COMMIT");
    kit_expect(kit, "update item('a') lat=NULL lon=2.0 was NULL,NULL");
}

CASE(update_and_delete_is_a_delete)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 1)");
    kit_skip(kit);
    kit_run(kit, "BEGIN; UPDATE child SET x = 2; DELETE FROM child; COMMIT");
    kit_expect(kit, "delete child('a') was 1:NULL,2:1");
}

CASE(delete_and_insert_is_an_update)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name, note, hits) VALUES('a', 'x', 'y', 4)");
    kit_skip(kit);
    kit_run(
        kit,
        "BEGIN; DELETE FROM item; INSERT INTO item(id, name, hits) VALUES('a', 'x', 5); COMMIT");
    kit_expect(kit, "update item('a') note='none' hits=1 was 'y',4");
    kit_run(
        kit,
        "BEGIN; DELETE FROM item; INSERT INTO item(id, name, hits) VALUES('a', 'x', 5); COMMIT");
    kit_expect_nothing(kit);
}

CASE(replace_is_an_update_of_what_differs)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name, note, born) VALUES('a', 'x', 'y', 5)");
    kit_skip(kit);
    kit_run(kit, "REPLACE INTO item(id, name, note, born) VALUES('a', 'z', 'y', 5)");
    kit_expect(kit, "update item('a') name='z' was 'x'");
    kit_run(kit, "INSERT OR REPLACE INTO item(id, name, note, born) VALUES('a', 'z', 'y', 5)");
    kit_expect_nothing(kit);
    kit_refuse(kit, "REPLACE INTO item(id, name, note, born) VALUES('a', 'z', 'y', 6)",
               "table item, column born: @immutable");
    kit_run(kit, "REPLACE INTO line VALUES('q', 1, 2, 3)");
    kit_expect(kit, "insert line('q',1) v=2 w=3");
    kit_run(kit, "REPLACE INTO line VALUES('q', 1, 2, 4)");
    kit_expect(kit, "update line('q',1) w=4 was 3");
}

CASE(replace_is_refused_where_its_deletes_would_go_unseen)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO line VALUES('q', 1, 2, 3); PRAGMA recursive_triggers=OFF");
    kit_skip(kit);
    kit_refuse(kit, "REPLACE INTO line VALUES('q', 1, 2, 4)", "recursive_triggers");
    kit_run(kit, "PRAGMA recursive_triggers=ON; REPLACE INTO line VALUES('q', 1, 2, 4)");
    kit_expect(kit, "update line('q',1) w=4 was 3");
}

CASE(replace_in_the_schema_is_as_one_in_the_statement)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO latest VALUES('a', 1, 2), ('b', 3, 4)");
    kit_skip(kit);
    kit_run(kit, "INSERT INTO latest(id, v) VALUES('a', 1)");
    kit_expect(kit, "update latest('a') w=NULL was 2");
    kit_run(kit, "PRAGMA recursive_triggers=OFF");
    kit_refuse(kit, "INSERT INTO latest(id, v) VALUES('a', 1)", "recursive_triggers");
    kit_refuse(kit, "UPDATE latest SET id = 'a' WHERE id = 'b'", "recursive_triggers");
    kit_run(kit, "DELETE FROM latest WHERE id = 'b'");
    kit_expect(kit, "delete latest('b') was 1:3,2:4");
    kit_run(kit, "INSERT INTO kept VALUES('k', 'v')");
    kit_skip(kit);
    kit_expect_nothing(kit);
}

CASE(a_key_update_is_a_delete_and_an_insert)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO line VALUES('a', 1, 2, 3)");
    kit_skip(kit);
    kit_run(kit, "UPDATE line SET b = 9, w = 4");
    kit_expect(kit, "delete line('a',1) was 2:2,3:3\ninsert line('a',9) v=2 w=4");
    kit_run(kit, "BEGIN; UPDATE line SET b = 10; UPDATE line SET b = 9, w = 5; COMMIT");
    kit_expect(kit, "update line('a',9) w=5 was 4");
    kit_run(kit, "INSERT INTO kept VALUES('k', 'v')");
    kit_skip(kit);
    kit_refuse(kit, "UPDATE kept SET id = 'l'", "table kept: delete=forbid: its key cannot change");
}

CASE(an_upsert_is_what_it_did)
{
    struct kit *kit = *state;
    const char *upsert = "INSERT INTO item(id, name) VALUES('a', 'x')"
                         " ON CONFLICT(id) DO UPDATE SET name = excluded.name || '2'";
    kit_run(kit, upsert);
    kit_expect(kit, "insert item('a') name='x'");
    kit_run(kit, upsert);
    kit_expect(kit, "update item('a') name='x2' was 'x'");
    kit_run(kit, "INSERT INTO item(id) VALUES('a') ON CONFLICT DO NOTHING");
    kit_expect_nothing(kit);
}

/* ---- savepoints and aborts ---- */

CASE(a_rollback_leaves_nothing)
{
    struct kit *kit = *state;
    kit_run(kit, "BEGIN; INSERT INTO child VALUES('a', NULL, 1); ROLLBACK");
    kit_expect_nothing(kit);
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 1)");
    kit_expect(kit, "insert child('a') x=1");
}

CASE(savepoints_cut_back)
{
    struct kit *kit = *state;
    kit_run(kit, "BEGIN; INSERT INTO child VALUES('a', NULL, 1); SAVEPOINT one;"
                 "INSERT INTO child VALUES('b', NULL, 1); SAVEPOINT two;"
                 "UPDATE child SET x = 2; INSERT INTO child VALUES('c', NULL, 1); ROLLBACK TO two;"
                 "INSERT INTO child VALUES('d', NULL, 1); RELEASE two; SAVEPOINT three;"
                 "DELETE FROM child; ROLLBACK TO three; RELEASE one; COMMIT");
    kit_expect(kit, "insert child('a') x=1\ninsert child('b') x=1\ninsert child('d') x=1");
    kit_run(kit, "SAVEPOINT outer; UPDATE child SET x = 5 WHERE id = 'a'; ROLLBACK TO outer;"
                 "UPDATE child SET x = 6 WHERE id = 'b'; RELEASE outer");
    kit_expect(kit, "update child('b') x=6 was 1");
    kit_run(kit, "BEGIN; SAVEPOINT s; UPDATE child SET x = 7; UPDATE line SET v = 1; ROLLBACK TO s;"
                 "INSERT INTO line VALUES('l', 1, NULL, NULL); ROLLBACK TO s;"
                 "UPDATE child SET x = 8 WHERE id = 'a'; COMMIT");
    kit_expect(kit, "update child('a') x=8 was 1");
}

CASE(tables_of_other_widths_share_the_savepoints)
{
    struct kit *kit = *state;
    kit_run(kit,
            "BEGIN; INSERT INTO child VALUES('a', NULL, 1); SAVEPOINT s;"
            "UPDATE child SET x = 2; INSERT INTO item(id) VALUES('i');"
            "UPDATE item SET name = 'n'; ROLLBACK TO s; UPDATE child SET x = 3; RELEASE s; COMMIT");
    kit_expect(kit, "insert child('a') x=3");
}

CASE(an_aborted_statement_leaves_what_was_before)
{
    struct kit *kit = *state;
    kit_run(kit, "BEGIN; INSERT INTO kept VALUES('a', '1')");
    kit_fail(kit, "INSERT INTO kept VALUES('b', '2'), ('c', 'bad')");
    kit_run(kit, "INSERT INTO kept VALUES('d', '4'); COMMIT");
    kit_expect(kit, "insert kept('a') v='1'\ninsert kept('d') v='4'");
    kit_fail(kit, "INSERT INTO kept VALUES('b', '2'), ('c', 'bad')");
    kit_expect_nothing(kit);
    kit_run(kit, "INSERT INTO kept VALUES('b', '2')");
    kit_expect(kit, "insert kept('b') v='2'");
}

CASE(conflict_clauses_keep_their_meaning)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO kept VALUES('a', '1')");
    kit_skip(kit);
    kit_run(kit, "INSERT OR IGNORE INTO kept VALUES('a', '2'), ('b', '3')");
    kit_expect(kit, "insert kept('b') v='3'");
    kit_fail(kit, "INSERT OR FAIL INTO kept VALUES('c', '4'), ('a', '5'), ('d', '6')");
    kit_expect(kit, "insert kept('c') v='4'");
    kit_run(kit, "BEGIN; INSERT INTO kept VALUES('e', '7')");
    kit_fail(kit, "INSERT OR ROLLBACK INTO kept VALUES('f', '8'), ('a', '9')");
    assert_true(sqlite3_get_autocommit(kit->db));
    kit_expect_nothing(kit);
    kit_run(
        kit,
        "UPDATE OR IGNORE kept SET v = 'bad'; UPDATE OR IGNORE kept SET v = 'w' WHERE id = 'a'");
    kit_expect(kit, "update kept('a') v='w' was '1'");
    kit_run(kit, "UPDATE OR REPLACE child SET id = 'y' WHERE id = 'x'");
    kit_expect_nothing(kit);
}

CASE(update_or_replace_deletes_what_it_overwrites)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO child VALUES('x', NULL, 1), ('y', NULL, 2)");
    kit_skip(kit);
    kit_run(kit, "UPDATE OR REPLACE child SET id = 'y' WHERE id = 'x'");
    kit_expect(kit, "update child('y') x=1 was 2\ndelete child('x') was 1:NULL,2:1");
}

CASE(a_refused_statement_leaves_the_transaction_usable)
{
    struct kit *kit = *state;
    kit_run(kit, "BEGIN; INSERT INTO item(id, born) VALUES('a', 1), ('b', 2)");
    kit_refuse(kit, "UPDATE item SET name = id, born = CASE id WHEN 'b' THEN 9 ELSE born END",
               "table item, column born: @immutable: cannot change after the insert");
    kit_run(kit, "UPDATE item SET name = 'ok' WHERE id = 'a'; COMMIT");
    kit_expect(kit, "insert item('a') name='ok' born=1\ninsert item('b') born=2");
}

/* ---- rules at the write ---- */

CASE(an_append_table_may_have_columns_of_other_rules)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO paid(id, amount) VALUES('p', 5)");
    kit_refuse(kit, "UPDATE paid SET amount = 6, confirmed = 1",
               "table paid, column amount: an append table");
    kit_run(kit, "UPDATE paid SET confirmed = 1 WHERE id = 'p'");
    kit_expect(kit, "insert paid('p') amount=5");
    kit_expect(kit, "update paid('p') confirmed=1 was NULL");
}

CASE(rules_refuse_at_the_statement)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO log VALUES('a', 'x'); INSERT INTO kept VALUES('k', 'v');"
                 "INSERT INTO item(id, born) VALUES('i', 1)");
    kit_skip(kit);
    kit_skip(kit);
    kit_skip(kit);
    kit_refuse(kit, "UPDATE log SET v = 'y'", "table log, column v: an append table");
    kit_refuse(kit, "DELETE FROM log", "table log: an append table");
    kit_refuse(kit, "REPLACE INTO log VALUES('a', 'y')", "table log: an append table");
    kit_refuse(kit, "UPDATE log SET id = 'b'", "table log: an append table");
    kit_run(kit, "UPDATE log SET v = v");
    kit_refuse(kit, "DELETE FROM kept", "table kept: delete=forbid");
    kit_refuse(kit, "REPLACE INTO kept VALUES('k', 'w')", "ON CONFLICT DO UPDATE");
    kit_refuse(kit, "UPDATE item SET born = 2", "table item, column born: @immutable");
    kit_refuse(kit, "UPDATE item SET born = NULL", "table item, column born: @immutable");
    kit_refuse(kit, "INSERT INTO item(name) VALUES('no key')", "table item, column id: @id: NULL");
    kit_refuse(kit, "INSERT INTO satchel_capture_12(code) VALUES(1)", "another replica");
    kit_expect_nothing(kit);
}

/* ---- triggers and foreign keys ---- */

CASE(foreign_key_actions_are_captured)
{
    struct kit *kit = *state;
    kit_run(kit,
            "PRAGMA foreign_keys=ON; BEGIN; INSERT INTO item(id) VALUES('i');"
            "INSERT INTO child VALUES('c', 'i', 1); INSERT INTO orphan VALUES('o', 'i'); COMMIT");
    kit_skip(kit);
    kit_run(kit, "DELETE FROM item");
    kit_expect_sorted(kit, "delete child('c') was 1:'i',2:1\n"
                           "delete item('i') was 1:NULL,2:'none',3:NULL,4:NULL,5:NULL,6:NULL,7:10\n"
                           "update orphan('o') item=NULL was 'i'");
}

CASE(writes_of_the_applications_triggers_are_captured_in_any_order)
{
    struct kit *kit = *state;
    /* Created after ours, so it fires before ours: its write to the same row is captured first. */
    kit_run(kit, "CREATE TRIGGER stamp AFTER INSERT ON item WHEN NOT satchel_applying() BEGIN"
                 " UPDATE item SET name = upper(NEW.name) WHERE id = NEW.id;"
                 " INSERT INTO log VALUES(NEW.id, 'made'); END;"
                 "CREATE TRIGGER again AFTER UPDATE OF note ON item"
                 " WHEN NOT satchel_applying() AND NEW.note <> 'fixed' BEGIN"
                 " UPDATE item SET note = 'fixed' WHERE id = NEW.id; END");
    kit_run(kit, "INSERT INTO item(id, name) VALUES('a', 'ann')");
    kit_expect_sorted(kit, "insert item('a') name='ANN'\ninsert log('a') v='made'");
    kit_run(kit, "UPDATE item SET note = 'odd'");
    kit_expect(kit, "update item('a') note='fixed' was 'none'");
    kit_run(kit, "UPDATE item SET note = 'other'");
    kit_expect_nothing(kit);
    kit_run(kit,
            "BEGIN; UPDATE item SET name = 'q'; UPDATE item SET note = 'x', name = 'r'; COMMIT");
    kit_expect(kit, "update item('a') name='r' was 'ANN'");
}

CASE(nothing_is_captured_while_applying)
{
    struct kit *kit = *state;
    kit->replica->is_applying = true;
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 1); DELETE FROM child;"
                 "INSERT INTO log VALUES('a', 'b'); DELETE FROM log");
    kit->replica->is_applying = false;
    kit_expect_nothing(kit);
}

/* ---- the row of satchel_change ---- */

CASE(the_row_holds_number_stamp_and_clocks)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 1); UPDATE child SET x = 2");
    kit_expect_sql(kit, "SELECT group_concat(number) FROM satchel_change", "1,2");
    kit_expect_sql(
        kit, "SELECT count(*) FROM satchel_change WHERE stamp = (1000000 << 16) + number - 1", "2");
    kit_expect_sql(kit,
                   "SELECT DISTINCT utc_ms || ' ' || monotonic_ms || ' ' || boot || ' ' || floor"
                   " FROM satchel_change",
                   "1000000 5000 7 0");
    /* What is applied raises the floor; what left the table keeps its number. */
    kit_run(kit, "UPDATE satchel_replica SET seen_stamp = 2000000 << 16, last_number = 2;"
                 "DELETE FROM satchel_change; UPDATE child SET x = 3");
    kit_expect_sql(kit,
                   "SELECT number || ' ' || (stamp - (2000000 << 16)) || ' ' || (floor >> 16)"
                   " FROM satchel_change",
                   "3 1 2000000");
}

CASE(a_stamp_exceeds_what_was_sent_before)
{
    struct kit *kit = *state;
    kit_run(kit, "UPDATE satchel_replica SET last_stamp = 3000000 << 16, seen_stamp = 5;"
                 "INSERT INTO child VALUES('a', NULL, 1)");
    kit_expect_sql(kit, "SELECT stamp - (3000000 << 16) FROM satchel_change", "1");
    kit->utc_ms = 4000000;
    kit_run(kit, "UPDATE child SET x = 2");
    kit_expect_sql(kit, "SELECT stamp = 4000000 << 16 FROM satchel_change WHERE number = 2", "1");
    kit->utc_ms = 1000; /* the clock was set back: the stamp goes on */
    kit_run(kit, "UPDATE child SET x = 3");
    kit_expect_sql(kit, "SELECT stamp - (4000000 << 16) FROM satchel_change WHERE number = 3", "1");
}

CASE(another_connections_writes_are_seen)
{
    struct kit *kit = *state;
    satchel_replica *other = NULL;
    assert_int_equal(satchel_replica_open(&other, kit->path, NULL, NULL), SATCHEL_OK);
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 1)");
    assert_int_equal(sqlite3_exec(satchel_replica_db(other),
                                  "INSERT INTO child VALUES('b', NULL, 2)", NULL, NULL, NULL),
                     SQLITE_OK);
    kit_run(kit, "INSERT INTO child VALUES('c', NULL, 3)");
    satchel_replica_close(other);
    kit_expect(kit, "insert child('a') x=1");
    kit_expect(kit, "insert child('b') x=2");
    kit_expect(kit, "insert child('c') x=3");
}

CASE(last_insert_rowid_is_the_applications)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO private(id, v) VALUES(77, 'x')");
    kit_run(kit, "BEGIN; UPDATE child SET x = 1; INSERT INTO line VALUES('a', 1, 2, 3); COMMIT");
    assert_int_equal(sqlite3_last_insert_rowid(kit->db), 77);
    kit_run(kit, "INSERT INTO child VALUES('a', NULL, 1), ('b', NULL, 1)");
    assert_int_equal(sqlite3_last_insert_rowid(kit->db), 2);
}

CASE(base_views_become_exceptions)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO item(id, name) VALUES('a', 'x'), ('b', 'x')");
    kit_skip(kit);
    kit_put_base(kit, "a", (uint32_t[]){1, 4, SATCHEL_COLUMN_ROW}, 2);
    kit_run(kit, "UPDATE item SET name = 'y'");
    kit_expect(kit,
               "update item('a') name='y' was 'x' except 1:2\nupdate item('b') name='y' was 'x'");
    kit_run(kit, "UPDATE item SET note = 'y', lon = 1.0 WHERE id = 'a'");
    kit_expect(kit, "update item('a') note='y' lat=NULL lon=1.0 was 'none',NULL,NULL except 4:2");
    kit_put_base(kit, "a", (uint32_t[]){1, 4, SATCHEL_COLUMN_ROW}, 3);
    kit_run(kit, "DELETE FROM item WHERE id = 'a'");
    kit_expect(kit, "delete item('a') was 1:'y',2:'y',3:NULL,4:NULL,5:1.0,6:NULL,7:10"
                    " except 1:2 4:2 row:2");
    kit_run(kit, "INSERT INTO item(id, name) VALUES('a', 'z')");
    kit_expect(kit, "insert item('a') name='z' except 1:2 4:2 row:2");
}

/* ---- limits and size ---- */

CASE(ten_thousand_rows_are_one_change_set)
{
    struct kit *kit = *state;
    kit_run(kit, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
                 "INSERT INTO child SELECT 'k' || i, NULL, i FROM n");
    kit_run(kit, "UPDATE child SET x = x + 1");
    kit_expect_sql(kit, "SELECT count(*) FROM satchel_change", "2");
    assert_int_equal(kit_part_count(kit, 1), 10000);
    assert_int_equal(kit_part_count(kit, 2), 10000);
}

CASE(a_change_set_over_the_limits_is_refused)
{
    struct kit *kit = *state;
    kit_refuse(kit,
               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= 100000)"
               "INSERT INTO child SELECT 'k' || i, NULL, i FROM n",
               "100000 rows");
    kit_run(kit, "BEGIN; INSERT INTO line VALUES('a', 1, zeroblob(10000000), NULL)");
    kit_refuse(kit, "INSERT INTO line VALUES('a', 2, zeroblob(10000000), NULL)", "16 MiB");
    kit_refuse(kit, "INSERT INTO line VALUES('a', 3, zeroblob(200000000), NULL)", "MiB");
    kit_run(kit, "INSERT INTO line VALUES('a', 4, 'small', NULL); COMMIT");
    assert_int_equal(kit_part_count(kit, 1), 2);
}

CASE(a_mebibyte_survives)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO line VALUES('a', 1, randomblob(1048576), NULL)");
    kit_expect_field_equals(kit, 1, 0, "SELECT v FROM line");
}

/* A table as wide as SQLite's limit on columns lets old and new values through, and one that is
 * wider. */
static void test_capture__tables_may_have_999_columns(void **state)
{
    for (uint32_t count = 998; count <= 999; count++) {
        struct satchel_buffer sql;
        struct kit *kit;
        satchel_buffer_init(&sql, 1u << 20, NULL);
        assert_int_equal(satchel_buffer_format(&sql, "-- @table scope=all delete=edit_wins\n"
                                                     "CREATE TABLE wide(id TEXT PRIMARY KEY"),
                         0);
        for (uint32_t i = 1; i <= count; i++)
            assert_int_equal(satchel_buffer_format(&sql, ",c%u", (unsigned)i), 0);
        assert_int_equal(satchel_buffer_format(&sql, ");"), 0);
        int result = kit_setup(state, satchel_buffer_text(&sql));
        satchel_buffer_deinit(&sql);
        kit = *state;
        assert_int_equal(result, count == 998 ? 0 : -1);
        if (result == 0) {
            kit_run(kit, "INSERT INTO wide(id, c1, c998) VALUES('a', 1, 2)");
            kit_expect(kit, "insert wide('a') c1=1 c998=2");
            kit_run(kit, "UPDATE wide SET c998 = 3");
            kit_expect(kit, "update wide('a') c998=3 was 2");
        }
        kit_teardown(state);
    }
}

CASE(random_transactions_lead_from_before_to_after)
{
    struct kit *kit = *state;
    kit_run_random(kit, 400);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_capture__##name, setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_insert_writes_what_differs_from_the_default),
        TEST(a_group_is_written_whole),
        TEST(an_update_writes_what_changed),
        TEST(an_update_to_an_equal_value_is_no_write),
        TEST(a_delete_keeps_the_old_values_at_home),
        TEST(counters_travel_as_deltas),
        TEST(a_local_table_is_not_captured),
        TEST(every_value_arrives_bit_for_bit),
        TEST(a_negative_zero_is_not_zero),
        TEST(one_transaction_is_one_change_set),
        TEST(insert_and_update_is_an_insert),
        TEST(insert_and_delete_is_nothing),
        TEST(update_and_update_is_one),
        TEST(update_and_delete_is_a_delete),
        TEST(delete_and_insert_is_an_update),
        TEST(replace_is_an_update_of_what_differs),
        TEST(replace_is_refused_where_its_deletes_would_go_unseen),
        TEST(replace_in_the_schema_is_as_one_in_the_statement),
        TEST(a_key_update_is_a_delete_and_an_insert),
        TEST(an_upsert_is_what_it_did),
        TEST(a_rollback_leaves_nothing),
        TEST(savepoints_cut_back),
        TEST(tables_of_other_widths_share_the_savepoints),
        TEST(an_aborted_statement_leaves_what_was_before),
        TEST(conflict_clauses_keep_their_meaning),
        TEST(update_or_replace_deletes_what_it_overwrites),
        TEST(a_refused_statement_leaves_the_transaction_usable),
        TEST(an_append_table_may_have_columns_of_other_rules),
        TEST(rules_refuse_at_the_statement),
        TEST(foreign_key_actions_are_captured),
        TEST(writes_of_the_applications_triggers_are_captured_in_any_order),
        TEST(nothing_is_captured_while_applying),
        TEST(the_row_holds_number_stamp_and_clocks),
        TEST(a_stamp_exceeds_what_was_sent_before),
        TEST(another_connections_writes_are_seen),
        TEST(last_insert_rowid_is_the_applications),
        TEST(base_views_become_exceptions),
        TEST(ten_thousand_rows_are_one_change_set),
        TEST(a_change_set_over_the_limits_is_refused),
        TEST(a_mebibyte_survives),
        cmocka_unit_test(test_capture__tables_may_have_999_columns),
        TEST(random_transactions_lead_from_before_to_after),
    };
    return cmocka_run_group_tests_name("capture", tests, NULL, NULL);
}
