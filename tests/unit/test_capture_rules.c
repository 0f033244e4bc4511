/* What capture writes, and what it refuses, for rules that take more than the new value. */
#include "capture_support.h"

#include <satchel/alias.h>
#include <satchel/row_io.h>

static const char SCHEMA[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE stage(code TEXT PRIMARY KEY, rank INTEGER, closed INTEGER DEFAULT 0, back_to "
    "TEXT);\n"
    "CREATE VIEW satchel_states AS SELECT 'deal' AS machine, code, rank, closed, back_to FROM "
    "stage;\n"
    "-- @table scope=all delete=restrict\n"
    "CREATE TABLE firm(\n"
    "  id    TEXT PRIMARY KEY,\n"
    "  phone TEXT, -- @key\n"
    "  tags  TEXT, -- @set\n"
    "  prefs TEXT DEFAULT '{}', -- @map\n"
    "  boss  TEXT REFERENCES firm(id)\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE deal(\n"
    "  id     TEXT PRIMARY KEY,\n"
    "  firm   TEXT REFERENCES firm(id),\n"
    "  stage  TEXT DEFAULT 'new', -- @state(deal)\n"
    "  why    TEXT, -- @follows(stage)\n"
    "  since  TEXT, -- @follows(stage)\n"
    "  price  INTEGER, -- @group(money)\n"
    "  unit   TEXT,    -- @group(money)\n"
    "  basis  TEXT,    -- @follows(price)\n"
    "  number TEXT, -- @server\n"
    "  note   TEXT, -- @text3\n"
    "  owner  TEXT, -- @claim(hq>rep)\n"
    "  terms  TEXT, -- @lww frozen(sent)\n"
    "  kind   TEXT -- @immutable\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE task(id TEXT PRIMARY KEY, about_type TEXT, about TEXT -- @lww @ref(about_type)\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE product(\n"
    "  id    TEXT PRIMARY KEY,\n"
    "  price INTEGER DEFAULT 1, -- @group(price) @write(hq, finance)\n"
    "  unit  TEXT, -- @group(price) @write(hq, finance)\n"
    "  name  TEXT, -- @lww @write(finance, rep)\n"
    "  sold  INTEGER DEFAULT 0, -- @counter @write(hq)\n"
    "  class TEXT -- @authority(hq>finance)\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE region(\n"
    "  id    TEXT PRIMARY KEY, -- @id @write(hq)\n"
    "  name  TEXT\n"
    ");\n";

static int setup(void **state)
{
    int result = kit_setup(state, SCHEMA);
    if (result == 0)
        kit_run(*state,
                "INSERT INTO stage VALUES('new', 10, 0, '[]'), ('sent', 30, 0, '[\"new\"]'),"
                "('won', 50, 1, '[\"sent\"]')");
    if (result == 0)
        kit_skip(*state);
    return result;
}

#define CASE(name) static void test_capture__##name(void **state)

/* ---- sets and maps ---- */

CASE(a_set_travels_as_what_was_added_and_removed)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, tags) VALUES('a', '[ \"vip\", \"cold\", \"vip\" ]')");
    kit_expect(kit, "insert firm('a') tags='[\"cold\",\"vip\"]'");
    kit_run(kit, "UPDATE firm SET tags = '[\"vip\",\"new\"]'");
    kit_expect(kit, "update firm('a') tags='[[\"new\"],[\"cold\"]]' "
                    "was '[ \"vip\", \"cold\", \"vip\" ]'");
    kit_run(kit, "UPDATE firm SET tags = NULL");
    kit_expect(kit, "update firm('a') tags='[[],[\"new\",\"vip\"]]' was '[\"vip\",\"new\"]'");
}

/* The node answers with the form that everybody stores. */
CASE(an_equal_set_in_another_order_is_written_as_no_change)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, tags) VALUES('a', '[1,2]')");
    kit_skip(kit);
    kit_run(kit, "UPDATE firm SET tags = '[2,1]'");
    kit_expect(kit, "update firm('a') tags='[[],[]]' was '[1,2]'");
}

CASE(a_map_travels_as_keys)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, prefs) VALUES('a', '{\"b\":1, \"a\":[2]}')");
    kit_expect(kit, "insert firm('a') prefs='{\"a\":[2],\"b\":1}'");
    kit_run(kit, "UPDATE firm SET prefs = '{\"b\":2,\"c\":3}'");
    kit_expect(kit, "update firm('a') prefs='[{\"b\":2,\"c\":3},[\"a\"]]' "
                    "was '{\"b\":1, \"a\":[2]}'");
}

CASE(several_updates_of_a_set_come_to_one)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, tags) VALUES('a', '[1]')");
    kit_skip(kit);
    kit_run(kit, "BEGIN; UPDATE firm SET tags = '[1,2]'; UPDATE firm SET tags = '[2,3]'; COMMIT");
    kit_expect(kit, "update firm('a') tags='[[2,3],[1]]' was '[1]'");
}

CASE(sets_and_maps_refuse_what_they_are_not)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id) VALUES('a')");
    kit_skip(kit);
    kit_refuse(kit, "UPDATE firm SET tags = 'vip'",
               "satchel: table firm, column tags: @set: a @set takes a JSON array");
    kit_refuse(kit, "UPDATE firm SET tags = '{}'", "a @set takes a JSON array");
    kit_refuse(kit, "UPDATE firm SET tags = 7", "a @set takes a JSON array");
    kit_refuse(kit, "UPDATE firm SET prefs = '[]'",
               "satchel: table firm, column prefs: @map: a @map takes a JSON object");
    kit_refuse(kit, "INSERT INTO firm(id, prefs) VALUES('b', 'x')", "a @map takes a JSON object");
    kit_expect_nothing(kit);
}

/* ---- keys ---- */

CASE(a_key_travels_in_the_form_that_everybody_stores)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, phone) VALUES('a', ' \xEF\xBC\x91\xEF\xBC\x92 ')");
    kit_expect(kit, "insert firm('a') phone='12'");
    kit_refuse(kit, "UPDATE firm SET phone = x'00'", "satchel: table firm, column phone: @key: ");
    kit_expect_nothing(kit);
}

/* ---- states, leaders and followers ---- */

CASE(a_state_travels_as_a_step)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO deal(id) VALUES('a')");
    kit_expect(kit, "insert deal('a')");
    kit_run(kit, "INSERT INTO deal(id, stage) VALUES('b', 'sent')");
    kit_expect(kit, "insert deal('b') stage='sent' why=NULL since=NULL");
    kit_run(kit, "UPDATE deal SET stage = 'won' WHERE id = 'b'");
    kit_expect(kit, "update deal('b') stage='[\"sent\",\"won\"]' why=NULL since=NULL "
                    "was 'sent',NULL,NULL");
}

CASE(a_leader_carries_its_followers)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO deal(id, why) VALUES('a', 'w')");
    kit_expect(kit, "insert deal('a') why='w'");
    kit_run(kit, "UPDATE deal SET stage = 'sent', since = '2026'");
    kit_expect(kit, "update deal('a') stage='[\"new\",\"sent\"]' why='w' since='2026' "
                    "was 'new','w',NULL");
    kit_run(kit, "UPDATE deal SET unit = 'EUR'");
    kit_expect(kit, "update deal('a') price=NULL unit='EUR' basis=NULL was NULL,NULL,NULL");
}

/* Behind the old values stand the leaders as they were: the number of the column, the value. */
CASE(a_follower_is_written_alone_beside_its_leader)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO deal(id) VALUES('a')");
    kit_skip(kit);
    kit_run(kit, "UPDATE deal SET why = 'w'");
    kit_expect(kit, "update deal('a') why='w' was NULL beside 2:'new'");
    kit_run(kit, "UPDATE deal SET basis = 'net', since = 's'");
    kit_expect(kit, "update deal('a') since='s' basis='net' was NULL,NULL "
                    "beside 2:'new',5:NULL,6:NULL");
    kit_run(kit, "BEGIN; UPDATE deal SET why = 'x'; UPDATE deal SET why = 'y'; COMMIT");
    kit_expect(kit, "update deal('a') why='y' was 'w' beside 2:'new'");
}

CASE(a_step_the_machine_does_not_allow_is_refused)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO deal(id, stage) VALUES('a', 'won')");
    kit_skip(kit);
    kit_refuse(kit, "UPDATE deal SET stage = 'new'",
               "satchel: table deal, column stage: @state: may not go back from 'won' to 'new', "
               "only to 'sent'");
    kit_refuse(kit, "UPDATE deal SET stage = 'lost'",
               "satchel: table deal, column stage: @state: 'lost' is no state of the machine; it "
               "has 'new', 'sent', 'won'");
    kit_refuse(kit, "INSERT INTO deal(id, stage) VALUES('b', 'lost')", "is no state");
    kit_refuse(kit, "UPDATE deal SET stage = NULL", "NULL is no state");
    kit_run(kit, "UPDATE deal SET stage = 'sent'");
    kit_expect(kit, "update deal('a') stage='[\"won\",\"sent\"]' why=NULL since=NULL "
                    "was 'won',NULL,NULL");
}

CASE(legal_steps_that_come_to_an_illegal_one_are_refused_at_the_commit)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO deal(id, stage) VALUES('a', 'won')");
    kit_skip(kit);
    kit_run(kit, "BEGIN; UPDATE deal SET stage = 'sent'; UPDATE deal SET stage = 'new'");
    kit_refuse(kit, "COMMIT", "column stage: @state: may not go back from 'won' to 'new'");
    kit_expect_nothing(kit);
    kit_expect_sql(kit, "SELECT stage FROM deal", "won");
    assert_true(sqlite3_get_autocommit(kit->db));
    kit_run(kit, "UPDATE deal SET note = 'later'");
    kit_expect(kit, "update deal('a') note='later' was NULL");
}

/* By this connection, in a savepoint that is taken back, by another. */
CASE(a_machine_that_changes_holds_at_once)
{
    struct kit *kit = *state;
    satchel_replica *other = NULL;
    kit_run(kit, "INSERT INTO deal(id, stage) VALUES('a', 'won')");
    kit_skip(kit);
    kit_refuse(kit, "UPDATE deal SET stage = 'lost'", "is no state");
    kit_run(kit, "BEGIN; SAVEPOINT s; INSERT INTO stage VALUES('lost', 60, 1, '[]');"
                 "UPDATE deal SET stage = 'lost'; ROLLBACK TO s");
    kit_refuse(kit, "UPDATE deal SET stage = 'lost'", "is no state");
    kit_run(kit, "COMMIT; INSERT INTO stage VALUES('lost', 60, 1, '[]')");
    kit_skip(kit);
    kit_run(kit, "UPDATE deal SET stage = 'lost'");
    kit_skip(kit);
    assert_int_equal(satchel_replica_open(&other, kit->path, NULL, NULL), SATCHEL_OK);
    assert_int_equal(sqlite3_exec(satchel_replica_db(other),
                                  "UPDATE stage SET back_to = '[\"new\"]' WHERE code = 'lost'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    satchel_replica_close(other);
    kit_skip(kit);
    kit_run(kit, "UPDATE deal SET stage = 'new'");
    kit_expect(kit, "update deal('a') stage='[\"lost\",\"new\"]' why=NULL since=NULL "
                    "was 'lost',NULL,NULL");
}

CASE(a_machine_without_states_allows_everything)
{
    struct kit *kit = *state;
    kit_run(kit, "DELETE FROM stage; INSERT INTO deal(id, stage) VALUES('a', 'anything')");
    kit_run(kit, "UPDATE deal SET stage = 'else'");
    kit_expect_sql(kit, "SELECT count(*) FROM satchel_change", "4");
}

/* ---- what others write ---- */

CASE(what_only_the_server_writes_is_refused)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO deal(id, number) VALUES('a', NULL)");
    kit_expect(kit, "insert deal('a')");
    kit_refuse(kit, "UPDATE deal SET number = 'Q1'",
               "satchel: table deal, column number: @server: only the server writes it");
    kit_refuse(kit, "INSERT INTO deal(id, number) VALUES('b', 'Q2')",
               "table deal, column number: @server: only the server writes it");
    kit_refuse(kit, "UPDATE deal SET kind = 'k'", "table deal, column kind: @immutable");
    kit_expect_nothing(kit);
}

CASE(who_may_not_set_a_column_is_refused)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO product(id, price, name) VALUES('a', 1, 'Pump')");
    kit_expect(kit, "insert product('a') name='Pump'");
    kit_refuse(kit, "UPDATE product SET name = 'x', price = 2",
               "satchel: table product, column price: @write(hq,finance): a rep may not set it");
    kit_refuse(kit, "UPDATE product SET sold = sold + 1", "column sold: @write(hq): a rep may not");
    kit_refuse(kit, "INSERT INTO product(id, unit) VALUES('b', 'kg')", "column unit: @write(hq");
    kit_refuse(kit, "UPDATE product SET class = 'A'",
               "column class: @authority(hq>finance): a rep may not set it");
    kit_run(kit, "UPDATE product SET price = 1, sold = 0");
    kit_expect_nothing(kit);
    kit_run(kit, "UPDATE satchel_replica SET role = 'hq'");
    kit_run(kit, "UPDATE product SET price = 2");
    kit->number++; /* of another role */
    kit_refuse(kit, "UPDATE product SET name = 'x'", "@write(finance,rep): a hq may not set it");
    kit_run(kit, "UPDATE satchel_replica SET role = NULL");
    kit_refuse(kit, "UPDATE product SET name = 'x'", "a user without a role may not set it");
}

/* What REPLACE deletes and inserts again is no write where it stays. */
CASE(a_row_replaced_keeps_what_its_writer_may_not_set)
{
    struct kit *kit = *state;
    kit_run(kit, "UPDATE satchel_replica SET role = 'finance'");
    kit_run(kit, "INSERT INTO product(id, price, unit, name) VALUES('a', 5, 'kg', 'Pump')");
    kit->number++;
    kit_run(kit, "UPDATE satchel_replica SET role = 'rep'");
    kit_run(kit, "REPLACE INTO product(id, price, unit, name) VALUES('a', 5, 'kg', 'Valve')");
    kit_expect(kit, "update product('a') name='Valve' was 'Pump'");
    kit_refuse(kit, "REPLACE INTO product(id, price, name) VALUES('a', 5, 'Pump')",
               "column unit: @write(hq,finance): a rep may not set it");
    kit_refuse(kit, "REPLACE INTO product(id, unit, name) VALUES('a', 'kg', 'Pump')",
               "column price: @write");
    kit_run(kit, "DELETE FROM product");
    kit_skip(kit);
    kit_run(kit, "INSERT INTO product(id, name) VALUES('a', 'Pump')");
    kit_expect(kit, "insert product('a') name='Pump'");
}

CASE(who_may_not_set_the_key_inserts_no_rows)
{
    struct kit *kit = *state;
    kit_refuse(kit, "INSERT INTO region(id, name) VALUES('north', 'North')",
               "table region, column id: @write(hq): a rep may not set it");
    kit_run(kit, "UPDATE satchel_replica SET role = 'hq'");
    kit_run(kit, "INSERT INTO region(id, name) VALUES('north', 'North')");
    kit->number++;
    kit_run(kit, "UPDATE satchel_replica SET role = 'rep'");
    kit_run(kit, "REPLACE INTO region(id, name) VALUES('north', 'The north')");
    kit_expect(kit, "update region('north') name='The north' was 'North'");
}

CASE(a_row_that_others_point_at_is_not_deleted)
{
    struct kit *kit = *state;
    kit_run(kit,
            "INSERT INTO firm(id, boss) VALUES('a', 'a'), ('b', NULL), ('c', 'b'), ('d', NULL);"
            "INSERT INTO deal(id, firm) VALUES('x', 'a');"
            "INSERT INTO task(id, about_type, about) VALUES('t', 'Firm', 'd'), ('u', 'deal', "
            "'c')");
    kit->number += 2;
    kit_skip(kit);
    kit_refuse(kit, "DELETE FROM firm WHERE id = 'a'",
               "satchel: table firm: delete=restrict: rows of table deal, column firm, point at "
               "this row: it cannot be deleted before those are deleted or point elsewhere");
    kit_refuse(kit, "DELETE FROM firm WHERE id = 'b'", "rows of table firm, column boss, point");
    kit_refuse(kit, "DELETE FROM firm WHERE id = 'd'", "rows of table task, column about, point");
    kit_refuse(kit, "UPDATE firm SET id = 'z' WHERE id = 'a'", "its key cannot change before");
    kit_expect_nothing(kit);
    kit_run(kit, "BEGIN; DELETE FROM firm WHERE id = 'c'; DELETE FROM firm WHERE id = 'b'; COMMIT");
    kit_skip(kit);
    kit_run(kit, "UPDATE deal SET firm = NULL");
    kit_skip(kit);
    kit_run(kit, "DELETE FROM firm WHERE id = 'a'");
    kit_expect(kit, "delete firm('a') was 1:NULL,2:NULL,3:'{}',4:'a'");
}

/* ---- what was shown ---- */

static void put_views(struct kit *kit, const char *table_name, const uint32_t *columns,
                      uint32_t count)
{
    struct satchel_exception views[4] = {0};
    struct satchel_base base = {.exists = false, .views = views, .view_count = count};
    struct satchel_buffer name, bytes;
    struct satchel_value key = satchel_value_text(satchel_span_text("a"));
    const struct satchel_table *table = satchel_schema_find(kit->replica->schema, table_name);
    sqlite3_stmt *statement;
    for (uint32_t i = 0; i < count; i++)
        views[i] = (struct satchel_exception){columns[i], {SATCHEL_VIEW_NONE, {NULL, 0}}};
    satchel_buffer_init(&name, 1000, NULL);
    satchel_buffer_init(&bytes, 1000, NULL);
    assert_int_equal(satchel_row_name(&name, table->number, &key, 1), SATCHEL_OK);
    assert_int_equal(satchel_base_encode(&bytes, &base, table->column_count), SATCHEL_OK);
    assert_int_equal(sqlite3_prepare_v2(kit->db, "REPLACE INTO satchel_base VALUES(?1, ?2)", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    sqlite3_bind_blob(statement, 1, name.data, (int)name.size, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, bytes.data, (int)bytes.size, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    satchel_buffer_deinit(&name);
    satchel_buffer_deinit(&bytes);
}

/* Columns of deal: 2 stage, 9 note, 11 terms. */
static int fail_to_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    (void)file, (void)bytes, (void)size, (void)offset;
    return SQLITE_IOERR_READ;
}

/* SQLite takes all of a transaction back when the disk fails a SELECT in the midst of it: here the
 * one that looks for rows that point at one that is deleted. */
CASE(what_the_disk_took_back_is_not_in_the_next_transaction)
{
    struct kit *kit = *state;
    sqlite3_file *file = NULL;
    kit_run(kit, "INSERT INTO firm(id) VALUES('f'); INSERT INTO deal(id) VALUES('d')");
    kit_skip(kit);
    kit_skip(kit);
    kit_run(kit, "PRAGMA wal_checkpoint(TRUNCATE); BEGIN; INSERT INTO task(id) VALUES('t'), ('u')");
    assert_int_equal(sqlite3_file_control(kit->db, "main", SQLITE_FCNTL_FILE_POINTER, &file),
                     SQLITE_OK);
    sqlite3_db_release_memory(kit->db);
    kit_run(kit, "SELECT * FROM firm WHERE id = 'f'"); /* the DELETE is to find it */
    const struct sqlite3_io_methods *methods = file->pMethods;
    struct sqlite3_io_methods failing = *methods;
    failing.xRead = fail_to_read;
    file->pMethods = &failing;
    assert_int_not_equal(sqlite3_exec(kit->db, "DELETE FROM firm WHERE id = 'f'", NULL, NULL, NULL),
                         SQLITE_OK);
    file->pMethods = methods;
    assert_true(sqlite3_get_autocommit(kit->db));
    kit_expect_nothing(kit);
    kit_run(kit, "BEGIN; UPDATE deal SET note = 'n'; SAVEPOINT s;"
                 "INSERT INTO task(id) VALUES('v'); ROLLBACK TO s; COMMIT");
    kit_expect(kit, "update deal('d') note='n' was NULL");
}

CASE(a_freezing_step_says_what_was_shown_of_the_fields_it_freezes)
{
    struct kit *kit = *state;
    const uint32_t columns[] = {2, 9, 11};
    kit_run(kit, "INSERT INTO deal(id) VALUES('a')");
    kit_skip(kit);
    put_views(kit, "deal", columns, 3);
    kit_run(kit, "UPDATE deal SET since = 's'");
    kit_expect(kit, "update deal('a') since='s' was NULL beside 2:'new' except 2:2");
    kit_run(kit, "UPDATE deal SET stage = 'sent'");
    kit_expect(kit, "update deal('a') stage='[\"new\",\"sent\"]' why=NULL since='s' "
                    "was 'new',NULL,'s' except 2:2 11:2");
    kit_run(kit, "UPDATE deal SET owner = 'o'");
    kit_expect(kit, "update deal('a') owner='o' was NULL");
}

/* ---- merged rows ---- */

static struct satchel_span name_firm(struct kit *kit, const char *id, struct satchel_buffer *out)
{
    const struct satchel_value key = satchel_value_text(satchel_span_text(id));
    const struct satchel_table *table = satchel_schema_find(kit->replica->schema, "firm");
    satchel_buffer_init(out, 1000, NULL);
    assert_int_equal(satchel_row_name(out, table->number, &key, 1), SATCHEL_OK);
    return satchel_buffer_span(out);
}

/* What the node would say: firm `id` is the same as firm `into`. */
static void make_alias(struct kit *kit, const char *id, const char *into)
{
    struct satchel_aliases *aliases;
    struct satchel_buffer name, survivor;
    struct satchel_error error;
    assert_int_equal(satchel_aliases_new(&aliases, kit->db), SATCHEL_OK);
    assert_int_equal(satchel_alias_put(aliases, name_firm(kit, id, &name),
                                       name_firm(kit, into, &survivor), &error),
                     SATCHEL_OK);
    satchel_aliases_free(aliases);
    satchel_buffer_deinit(&name);
    satchel_buffer_deinit(&survivor);
}

CASE(the_key_of_a_merged_row_is_written_to_all_it_is_made_of)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, phone) VALUES('a', '12345'), ('d', '99999')");
    kit_skip(kit);
    make_alias(kit, "b", "a");
    make_alias(kit, "c", "a");
    kit_run(kit, "UPDATE firm SET phone = '54321', boss = 'd' WHERE id = 'a'");
    kit_expect(kit, "update firm('a') phone='54321' boss='d' was '12345',NULL\n"
                    "update firm('b') phone='54321' was '12345'\n"
                    "update firm('c') phone='54321' was '12345'");
    kit_run(kit, "UPDATE firm SET boss = NULL WHERE id = 'a'");
    kit_expect(kit, "update firm('a') boss=NULL was 'd'");
    kit_run(kit, "UPDATE firm SET phone = '1111' WHERE id = 'd'");
    kit_expect(kit, "update firm('d') phone='1111' was '99999'");
}

CASE(a_merged_row_is_deleted_with_all_it_is_made_of)
{
    struct kit *kit = *state;
    kit_run(kit, "INSERT INTO firm(id, phone) VALUES('a', '12345')");
    kit_skip(kit);
    make_alias(kit, "b", "a");
    kit_run(kit, "DELETE FROM firm");
    kit_expect(kit, "delete firm('a') was 1:'12345',2:NULL,3:'{}',4:NULL\n"
                    "delete firm('b') was 1:'12345',2:NULL,3:'{}',4:NULL");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_capture__##name, setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_set_travels_as_what_was_added_and_removed),
        TEST(an_equal_set_in_another_order_is_written_as_no_change),
        TEST(a_map_travels_as_keys),
        TEST(several_updates_of_a_set_come_to_one),
        TEST(sets_and_maps_refuse_what_they_are_not),
        TEST(a_key_travels_in_the_form_that_everybody_stores),
        TEST(a_state_travels_as_a_step),
        TEST(a_leader_carries_its_followers),
        TEST(a_follower_is_written_alone_beside_its_leader),
        TEST(a_step_the_machine_does_not_allow_is_refused),
        TEST(legal_steps_that_come_to_an_illegal_one_are_refused_at_the_commit),
        TEST(a_machine_that_changes_holds_at_once),
        TEST(a_machine_without_states_allows_everything),
        TEST(what_only_the_server_writes_is_refused),
        TEST(who_may_not_set_a_column_is_refused),
        TEST(a_row_replaced_keeps_what_its_writer_may_not_set),
        TEST(who_may_not_set_the_key_inserts_no_rows),
        TEST(a_row_that_others_point_at_is_not_deleted),
        TEST(what_the_disk_took_back_is_not_in_the_next_transaction),
        TEST(a_freezing_step_says_what_was_shown_of_the_fields_it_freezes),
        TEST(the_key_of_a_merged_row_is_written_to_all_it_is_made_of),
        TEST(a_merged_row_is_deleted_with_all_it_is_made_of),
    };
    return cmocka_run_group_tests_name("capture_rules", tests, NULL, NULL);
}
