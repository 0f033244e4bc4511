/* Rows that leave the scope of a phone's user and come back. */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <satchel/log_pack.h>
#include <satchel/log_reader.h>

static const char SCHEMA[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE item(id TEXT PRIMARY KEY, title TEXT, owner TEXT,"
    " code TEXT, hits INTEGER NOT NULL DEFAULT 0, -- @counter\n"
    " tags TEXT);\n"
    "-- @table scope=row(owner) delete=edit_wins\n"
    "CREATE TABLE deal(id TEXT PRIMARY KEY, owner TEXT, title TEXT);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE trip(id TEXT PRIMARY KEY,\n"
    " stage TEXT DEFAULT 'open', -- @state(trip)\n"
    " fee INTEGER, -- @lww frozen(sent)\n"
    " cost INTEGER -- @lww @mask(hq)\n"
    ");\n"
    "-- @table scope=row(owner) delete=edit_wins\n"
    "CREATE TABLE seat(id TEXT PRIMARY KEY,"
    " trip_id TEXT REFERENCES trip(id), owner TEXT,"
    " extras INTEGER NOT NULL DEFAULT 0 -- @counter frozen(parent)\n"
    ");\n"
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS"
    " VALUES('trip', 'open', 10, 0, NULL), ('trip', 'sent', 20, 0, NULL);\n";
static const char DEALS[] = "SELECT id, title FROM deal ORDER BY id";
static const char REPAIRED[] = "SELECT repaired FROM satchel_replica";

static void open_scoped(struct town *town)
{
    town_open_with(town, SCHEMA);
    town_add_user(town, "bob");
}

static void give_away(struct phone *phone)
{
    town_set(phone->town, "deal", "a", "owner=carl");
}

/* The row was in doubt; the answer was read before it left. */
static void test_scoped__a_row_in_doubt_that_leaves_behind_the_answer_stays_away(void **state)
{
    (void)state;
    struct town town;
    open_scoped(&town);
    struct phone *ann = town_join(&town), *twin = town_join(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    phone_sync(twin);
    town_back_up(&town, "backup");
    phone_write_through(twin, "UPDATE deal SET title = 'two' WHERE id = 'a'");
    phone_sync(ann);
    assert_string_equal(phone_read(ann, DEALS), "a|two");
    town_restore(&town, "backup", false);
    ann->behind_rows = give_away;
    phone_sync(ann);
    assert_null(ann->behind_rows);
    assert_string_equal(phone_read(ann, REPAIRED), "0");
    assert_string_equal(phone_read(ann, DEALS), "");
    town_close(&town);
}

/* Another sync of the replica hears that the row has left; then it is cut off. */
static void hear_that_it_left(struct phone *phone)
{
    give_away(phone);
    phone_beside_hears(phone, 6); /* four of the clock, WELCOME, SCOPE */
    assert_string_equal(phone_read(phone, DEALS), "");
}

/* It was evicted, then the session was cut off; the server is put back to before it left. */
static void test_scoped__a_row_that_had_left_is_back_with_a_restored_server(void **state)
{
    (void)state;
    for (int has_gone_on = 0; has_gone_on < 2; has_gone_on++) {
        struct town town;
        open_scoped(&town);
        struct phone *ann = town_join(&town);
        phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
        town_back_up(&town, "backup");
        hear_that_it_left(ann);
        town_restore(&town, "backup", false);
        for (int i = 0; i < 3 * has_gone_on; i++)
            town_set(&town, "deal", "a", i % 2 ? "title=x" : "title=one");
        phone_sync(ann);
        assert_string_equal(phone_read(ann, DEALS), "a|one");
        assert_string_equal(phone_read(ann, REPAIRED), "0");
        assert_string_equal(phone_read(ann, "SELECT count(*) > 0 FROM satchel_history"), "1");
        town_close(&town);
    }
}

static void write_when_digests_are_asked(struct phone *phone)
{
    if (!phone->sync->check.is_asked)
        return;
    phone->watch = NULL;
    town_set(phone->town, "deal", "b", "title=new");
}

/* The HEAD behind the digests is what lets them be compared; another does not come. */
static void test_scoped__a_difference_is_repaired_while_others_write(void **state)
{
    (void)state;
    struct town town;
    open_scoped(&town);
    struct phone *ann = town_join(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title)"
                             " VALUES('a', 'ann', 'one'), ('b', 'ann', 'two')");
    phone_damage(ann, "UPDATE deal SET title = 'bad' WHERE id = 'a'");
    ann->watch = write_when_digests_are_asked;
    phone_sync(ann);
    assert_string_equal(phone_read(ann, REPAIRED), "1");
    assert_string_equal(phone_read(ann, DEALS), "a|one;b|new");
    town_close(&town);
}

/* ---- roles ---- */

static const char COSTS[] = "SELECT count(*) FROM satchel_history WHERE field = 'cost'";

/* Another role is heard of, and the log says no more what it may not; the server is put back. */
static void test_scoped__the_log_has_what_the_role_of_a_restored_server_shows(void **state)
{
    (void)state;
    struct town town;
    open_scoped(&town);
    town_deploy(&town, TOWN_USERS);
    struct phone *ann = town_join(&town), *bob = town_join_as(&town, "bob");
    phone_write_through(bob, "INSERT INTO trip(id) VALUES('t')");
    phone_write_through(bob, "UPDATE trip SET cost = 5");
    phone_sync(ann);
    assert_string_equal(phone_read(ann, COSTS), "1");
    town_back_up(&town, "backup");
    town_set(&town, "person", "a", "role=rep");
    phone_beside_hears(ann, 5); /* four of the clock, WELCOME */
    town_restore(&town, "backup", false);
    phone_sync(ann);
    phone_sync(bob);
    phone_sync(ann);
    assert_string_equal(phone_read(ann, "SELECT cost FROM trip"), "5");
    assert_string_equal(phone_read(ann, REPAIRED), "0");
    assert_string_equal(phone_read(ann, COSTS), "1");
    town_close(&town);
}

/* The role changes and changes back; the session between them, in which the column was told, was
 * cut off before it was done. */
static void test_scoped__a_role_of_a_session_cut_off_leaves_nothing_in_the_log(void **state)
{
    (void)state;
    struct town town;
    open_scoped(&town);
    town_deploy(&town, TOWN_USERS);
    struct phone *ann = town_join(&town), *bob = town_join_as(&town, "bob");
    town_set(&town, "person", "a", "role=rep");
    phone_write_through(bob, "INSERT INTO trip(id) VALUES('t')");
    phone_write_through(bob, "UPDATE trip SET cost = 5");
    phone_sync(ann);
    phone_write_through(bob, "INSERT INTO item(id) VALUES('x')");
    phone_beside_hears(ann, 6); /* four of the clock, WELCOME, ENTRIES */
    town_set(&town, "person", "a", "role=hq");
    phone_beside_hears(ann, 7); /* and SCOPE */
    town_set(&town, "person", "a", "role=rep");
    phone_sync(ann);
    phone_sync(ann);
    assert_string_equal(phone_read(ann, "SELECT cost FROM trip"), "null");
    assert_string_equal(phone_read(ann, COSTS), "0");
    town_close(&town);
}

/* A phone whose first stream was cut off claims to be complete where that was to end: the server
 * is put back to before that, and has gone on beyond it when the phone comes again, or after. */
static void fill_over_restore(bool by_hand, bool comes_between)
{
    struct town town;
    open_scoped(&town);
    struct phone *ann = town_join(&town);
    struct phone *new = town_join_offline(&town, "ann");
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    town_set(&town, "deal", "a", "owner=carl");
    town_back_up(&town, "backup");
    for (int i = 0; i < 3; i++)
        town_set(&town, "deal", "a", i % 2 ? "title=x" : "title=y");
    new->down_frames = 6;
    assert_int_equal(phone_connect(new), SATCHEL_OK);
    assert_int_equal(phone_talk(new), SATCHEL_NETWORK);
    assert_string_equal(phone_read(new, "SELECT cursor, complete FROM satchel_replica"), "1|5");
    town_restore(&town, "backup", by_hand);
    if (comes_between)
        phone_sync(new);
    town_set(&town, "deal", "a", "owner=ann");
    town_set(&town, "deal", "a", "title=two");
    town_set(&town, "deal", "a", "title=three");
    phone_sync(new);
    assert_string_equal(phone_read(new, DEALS), "a|three");
    assert_string_equal(phone_read(new, REPAIRED), "0");
    assert_string_equal(phone_read(new, "SELECT count(*) FROM satchel_entry"), "5");
    town_close(&town);
}

static void test_scoped__what_comes_to_a_phone_that_was_being_filled_over_a_restore(void **state)
{
    (void)state;
    fill_over_restore(false, true);
    fill_over_restore(true, true);
    fill_over_restore(false, false);
}

/* Where the last comparison of a large table ended is the name of a row. */
static void test_scoped__a_wiped_replica_keeps_no_name_of_a_row(void **state)
{
    (void)state;
    struct town town;
    char id[40];
    open_scoped(&town);
    struct phone *ann = town_join(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    phone_damage(ann, "UPDATE satchel_replica SET checked = x'0102', checked_table = 2");
    snprintf(id, sizeof id, "%s", phone_read(ann, "SELECT device FROM satchel_status"));
    phone_close_app(ann);
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "device.revoke", "w", id, NULL);
    assert_ok(run(&town.server, job));
    satchel_job_free(job);
    assert_int_equal(phone_connect(ann), SATCHEL_OK);
    assert_int_equal(phone_talk(ann), SATCHEL_OK);
    phone_hang_up(ann);
    assert_string_equal(phone_read(ann, "SELECT state, checked FROM satchel_replica"),
                        "wiped|null");
    town_close(&town);
}

static void add(struct phone *phone, unsigned hits)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "BEGIN; UPDATE item SET hits = hits + %u WHERE id = 'a'; UPDATE trip SET cost = %u;"
             " COMMIT",
             hits, hits);
    phone_write(phone, sql);
}

/* As test_parted has it, of change sets with a column that their author may not see: what comes
 * back as another device's is whole here, and can be given back. */
static void test_scoped__what_is_pending_and_comes_cut_as_another_devices(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct town town;
        open_scoped(&town);
        struct phone *ann = town_join(&town), *bob = town_join(&town);
        phone_write(ann, "BEGIN; INSERT INTO item(id, title) VALUES('a', 'new');"
                         " INSERT INTO trip(id) VALUES('t'); COMMIT");
        phone_sync(ann);
        phone_sync(bob);
        struct phone *twin = town_clone(&town, ann);
        town_back_up(&town, "backup");
        add(ann, 1);
        add(twin, 10);
        add(twin, 100);
        struct phone *third = town_clone(&town, twin);
        phone_sync(ann);
        twin->up_frames = 11;
        phone_sync(twin);
        town_restore(&town, "backup", false);
        phone_sync(order ? twin : third);
        add(twin, 1000);
        add(third, 10000);
        phone_sync(order ? third : twin);
        phone_sync(bob);
        town_settle(&town);
        town_restore(&town, "backup", false);
        for (unsigned i = 0; i < town.phone_count; i++)
            phone_sync(&town.phones[i]); /* is refused nothing that it gives back */
        town_close(&town);
    }
}

/* Of all entries of the phone's log. */
static uint32_t conflicts_said(struct phone *phone)
{
    struct satchel_log_reader *reader;
    struct satchel_log_entry read;
    struct satchel_arena arena;
    struct satchel_error error = {0};
    bool found = true;
    uint32_t count = 0;
    (void)phone_read(phone, DEALS); /* the application has it open */
    assert_ok(satchel_log_reader_new(&reader, phone->app->db));
    assert_ok(satchel_log_read_from(reader, 0, NULL, 0, &error));
    satchel_arena_init(&arena, 1 << 20, NULL);
    while (satchel_log_read_next(reader, &found, &read, &error) == SATCHEL_OK && found) {
        struct satchel_notes notes;
        assert_ok(satchel_notes_read(read.entry.notes, &arena, &notes));
        count += notes.conflict_count;
    }
    satchel_arena_deinit(&arena);
    satchel_log_read_end(reader);
    satchel_log_reader_free(reader);
    return count;
}

static void pack(struct phone *phone, uint32_t keep)
{
    uint32_t packed = 0;
    struct satchel_error error = {0};
    (void)phone_read(phone, DEALS);
    assert_ok(satchel_log_pack(phone->app->db, keep, 1, &packed, &error));
    assert_true(packed > 0);
}

/* An entry that opened conflicts on a row, and changed nothing of it, is in a segment of its own.
 */
static void test_scoped__conflicts_of_a_row_that_left_are_cut_from_a_packed_log(void **state)
{
    (void)state;
    struct town town;
    open_scoped(&town);
    struct phone *ann = town_join(&town), *twin = town_join(&town);
    struct phone *bob = town_join_as(&town, "bob");
    phone_write_through(ann, "INSERT INTO trip(id) VALUES('t')");
    phone_write_through(ann, "INSERT INTO seat(id, trip_id, owner) VALUES('s', 't', 'ann')");
    phone_sync(twin);
    phone_sync(bob);
    phone_write_through(twin, "UPDATE seat SET extras = extras + 2");
    phone_write_through(twin, "UPDATE seat SET extras = extras - 2");
    phone_write_through(bob, "UPDATE trip SET stage = 'sent'");
    phone_sync(ann);
    phone_sync(twin);
    pack(ann, 1);
    pack(ann, 0);
    town_set(&town, "seat", "s", "owner=carl");
    phone_sync(ann);
    assert_string_equal(phone_read(ann, "SELECT count(*) FROM seat"), "0");
    assert_int_equal(conflicts_said(ann), 0);
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scoped__a_row_in_doubt_that_leaves_behind_the_answer_stays_away),
        cmocka_unit_test(test_scoped__a_row_that_had_left_is_back_with_a_restored_server),
        cmocka_unit_test(test_scoped__a_difference_is_repaired_while_others_write),
        cmocka_unit_test(test_scoped__the_log_has_what_the_role_of_a_restored_server_shows),
        cmocka_unit_test(test_scoped__a_role_of_a_session_cut_off_leaves_nothing_in_the_log),
        cmocka_unit_test(test_scoped__a_wiped_replica_keeps_no_name_of_a_row),
        cmocka_unit_test(test_scoped__what_is_pending_and_comes_cut_as_another_devices),
        cmocka_unit_test(test_scoped__what_comes_to_a_phone_that_was_being_filled_over_a_restore),
        cmocka_unit_test(test_scoped__conflicts_of_a_row_that_left_are_cut_from_a_packed_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
