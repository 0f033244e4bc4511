/* Two syncs of one replica, one of them slow: what it is told comes when the other has heard more.
 */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char SCHEMA[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE item(id TEXT PRIMARY KEY, title TEXT, owner TEXT,"
    " code TEXT, hits INTEGER NOT NULL DEFAULT 0, -- @counter\n"
    " tags TEXT);\n"
    "-- @table scope=row(owner) delete=edit_wins\n"
    "CREATE TABLE deal(id TEXT PRIMARY KEY, owner TEXT, title TEXT);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE trip(id TEXT PRIMARY KEY, cost INTEGER); -- @lww @mask(hq)\n";
static const char DEALS[] = "SELECT id, title FROM deal ORDER BY id";
static const char REPAIRED[] = "SELECT repaired FROM satchel_replica";
enum { UP_TO_WELCOME = 5 }; /* frames: four of the clock before it */

static struct phone *open_beside(struct town *town)
{
    town_open_with(town, SCHEMA);
    town_add_user(town, "bob");
    return town_join(town);
}

static void give_away(struct phone *phone)
{
    town_set(phone->town, "deal", "a", "owner=carl");
}

/* The faster one hears that the row has left, and is cut off. */
static void hear_that_it_left(struct phone *phone)
{
    give_away(phone);
    phone_beside_hears(phone, UP_TO_WELCOME + 1);
    assert_string_equal(phone_read(phone, DEALS), "");
}

static void hear_welcome(struct phone *phone)
{
    phone_beside_hears(phone, UP_TO_WELCOME);
}

/* ---- rows ---- */

/* Neither that the server's head was lower, nor the row, which has come in it. */
static void test_beside__a_slow_sync_brings_no_row_back(void **state)
{
    (void)state;
    struct town town;
    struct phone *ann = open_beside(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    give_away(ann);
    phone_sync(ann);
    assert_string_equal(phone_read(ann, DEALS), "");
    town_set(&town, "deal", "a", "owner=ann");
    ann->in_flight = hear_that_it_left;
    assert_int_equal(phone_connect(ann), SATCHEL_OK);
    assert_int_equal(phone_talk(ann), SATCHEL_AGAIN);
    assert_null(ann->in_flight);
    phone_hang_up(ann);
    assert_string_equal(phone_read(ann, DEALS), "");
    phone_sync(ann);
    assert_string_equal(phone_read(ann, DEALS), "");
    assert_string_equal(phone_read(ann, REPAIRED), "0");
    town_close(&town);
}

static void is_away(struct phone *phone)
{
    if (!phone->behind_rows)
        assert_string_equal(phone_read(phone, DEALS), "");
}

/* It differs, and is repaired. */
static void test_beside__a_repair_brings_no_row_back(void **state)
{
    (void)state;
    struct town town;
    struct phone *ann = open_beside(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    phone_damage(ann, "UPDATE deal SET title = 'bad' WHERE id = 'a'");
    ann->behind_rows = hear_that_it_left;
    ann->watch = is_away;
    phone_sync(ann);
    assert_null(ann->behind_rows);
    is_away(ann);
    town_close(&town);
}

static void test_beside__a_snapshot_brings_no_row_back(void **state)
{
    (void)state;
    struct town town;
    struct phone *ann = open_beside(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    struct phone *new = town_join_offline(&town, "ann");
    hear_welcome(new); /* its node is known */
    struct phone filled = phone_beside(new), streamed = phone_beside(new);
    filled.pauses_behind = SATCHEL_MESSAGE_SNAPSHOT_REQUEST;
    town.gives_snapshots = true;
    assert_int_equal(phone_connect(&filled), SATCHEL_OK);
    assert_int_equal(phone_talk(&filled), SATCHEL_BUSY); /* the page is on its way */
    town.gives_snapshots = false;
    give_away(ann);
    streamed.down_frames = UP_TO_WELCOME + 1;
    streamed.holds_on = true;
    assert_int_equal(phone_connect(&streamed), SATCHEL_OK);
    assert_int_equal(phone_talk(&streamed), SATCHEL_BUSY);
    assert_int_equal(phone_talk(&filled), SATCHEL_AGAIN);
    phone_hang_up(&filled);
    assert_string_equal(phone_read(new, DEALS), "");
    streamed.down_frames = 3;
    assert_int_equal(phone_talk(&streamed), SATCHEL_AGAIN);
    phone_hang_up(&streamed);
    phone_sync(new);
    assert_string_equal(phone_read(new, DEALS), "");
    assert_string_equal(phone_read(new, REPAIRED), "0");
    town_close(&town);
}

/* ---- a server that was restored ---- */

static void write_items(struct phone *phone, int first, int count)
{
    char sql[100];
    for (int i = first; i < first + count; i++) {
        snprintf(sql, sizeof sql, "INSERT INTO item(id, title) VALUES('%d', 'x')", i);
        phone_write(phone, sql);
    }
    phone_sync(phone);
}

/* The slower one's HELLO was of a shorter log; its WELCOME is read when the log was cut back to
 * before that. */
static void test_beside__a_slow_welcome_leaves_no_hole_in_a_log_that_was_cut_back(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town), *twin = town_join(&town);
    write_items(twin, 0, 16);
    phone_sync(ann);
    town_back_up(&town, "backup");
    struct phone slow = phone_beside(ann);
    assert_int_equal(phone_connect(&slow), SATCHEL_OK); /* its HELLO is on its way */
    write_items(twin, 16, 12);
    phone_sync(ann);
    town_restore(&town, "backup", false);
    slow.in_flight = hear_welcome;
    assert_int_equal(phone_talk(&slow), SATCHEL_AGAIN);
    phone_hang_up(&slow);
    town_settle(&town);
    town_close(&town);
}

/* Its HELLO was of before a row left; that is lost, as the faster one has heard. */
static void test_beside__a_slow_welcome_does_not_claim_what_was_forgotten(void **state)
{
    (void)state;
    struct town town;
    struct phone *ann = open_beside(&town), *twin = town_join(&town);
    phone_write_through(ann, "INSERT INTO deal(id, owner, title) VALUES('a', 'ann', 'one')");
    phone_sync(twin);
    town_back_up(&town, "backup");
    struct phone slow = phone_beside(ann);
    assert_int_equal(phone_connect(&slow), SATCHEL_OK);
    give_away(ann);
    phone_write_through(twin, "INSERT INTO item(id) VALUES('x')");
    phone_sync(ann);
    assert_string_equal(phone_read(ann, DEALS), "");
    town_restore(&town, "backup", false);
    slow.in_flight = hear_welcome;
    assert_int_equal(phone_talk(&slow), SATCHEL_AGAIN);
    phone_hang_up(&slow);
    phone_sync(ann);
    assert_string_equal(phone_read(ann, DEALS), "a|one");
    assert_string_equal(phone_read(ann, REPAIRED), "0");
    town_close(&town);
}

static const char POSITIONS[] = "SELECT count(*) FROM satchel_position";

/* FORWARDED of one incarnation is read when the replica has met the next, which lacks it again. */
static void test_beside__an_old_forwarded_is_of_no_other_incarnation(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town), *bob = town_join(&town), *other = town_join(&town);
    town_back_up(&town, "empty");
    phone_write(bob, "INSERT INTO item(id, title) VALUES('a', 'one')");
    bob->pauses_behind = SATCHEL_MESSAGE_PUSH;
    assert_int_equal(phone_connect(bob), SATCHEL_OK);
    assert_int_equal(phone_talk(bob), SATCHEL_BUSY);
    phone_hang_up(bob);
    phone_sync(other);
    town_restore(&town, "empty", false);
    phone_sync(bob);
    phone_write_through(bob, "INSERT INTO item(id, title) VALUES('b', 'two')");
    phone_sync(ann);
    town_back_up(&town, "backup");
    phone_sync(other);
    phone_sync(ann);
    town_restore(&town, "backup", false);
    assert_string_equal(sql(&town.server, POSITIONS), "0");
    struct phone slow = phone_beside(ann);
    slow.pauses_behind = SATCHEL_MESSAGE_FORWARD;
    assert_int_equal(phone_connect(&slow), SATCHEL_OK);
    assert_int_equal(phone_talk(&slow), SATCHEL_BUSY);
    phone_sync(ann);
    assert_string_equal(sql(&town.server, POSITIONS), "1");
    town_restore(&town, "backup", false);
    hear_welcome(ann);
    assert_int_equal(phone_talk(&slow), SATCHEL_AGAIN);
    phone_hang_up(&slow);
    phone_sync(ann);
    assert_string_equal(sql(&town.server, POSITIONS), "1");
    town_close(&town);
}

/* ---- masks ---- */

/* A deployment has no entry: what was cut before it bears the head of what is cut behind it. */
static void hear_that_it_is_masked(struct phone *phone)
{
    struct phone beside = phone_beside(phone);
    town_deploy(phone->town, "-- @column deal.title @lww @mask(boss)\n");
    phone_sync(&beside);
}

static void test_beside__a_slow_sync_shows_no_column_that_is_masked_meanwhile(void **state)
{
    (void)state;
    struct town town;
    struct phone *ann = open_beside(&town), *bob = town_join_as(&town, "bob");
    phone_write_through(bob, "INSERT INTO deal(id, owner) VALUES('a', 'carl')");
    town_set(&town, "deal", "a", "title=secret");
    phone_sync(ann);
    town_set(&town, "deal", "a", "owner=ann");
    ann->in_flight = hear_that_it_is_masked;
    assert_int_equal(phone_connect(ann), SATCHEL_OK);
    assert_int_equal(phone_talk(ann), SATCHEL_AGAIN);
    assert_null(ann->in_flight);
    phone_hang_up(ann);
    assert_string_equal(phone_read(ann, DEALS), "a|null");
    assert_string_equal(phone_read(ann, "SELECT count(*) FROM satchel_history"
                                        " WHERE field = 'title'"),
                        "0");
    assert_string_equal(phone_read(ann, REPAIRED), "0");
    town_close(&town);
}

static void hear_of_another_role(struct phone *phone)
{
    town_set(phone->town, "person", "a", "role=rep");
    hear_welcome(phone);
}

/* The slower one's WELCOME is under way, or was before it. */
static void test_beside__a_slow_sync_leaves_no_column_in_the_log_that_the_role_masks(void **state)
{
    (void)state;
    for (int was_welcome = 0; was_welcome < 2; was_welcome++) {
        struct town town;
        struct phone *ann = open_beside(&town), *bob = town_join_as(&town, "bob");
        town_deploy(&town, TOWN_USERS);
        phone_sync(ann);
        phone_write_through(bob, "INSERT INTO trip(id) VALUES('t')");
        phone_sync(ann);
        phone_write_through(bob, "UPDATE trip SET cost = 5");
        struct phone slow = phone_beside(ann);
        slow.down_frames = was_welcome ? UP_TO_WELCOME : 0;
        slow.holds_on = true;
        slow.in_flight = was_welcome ? NULL : hear_of_another_role;
        assert_int_equal(phone_connect(&slow), SATCHEL_OK);
        assert_int_equal(phone_talk(&slow), was_welcome ? SATCHEL_BUSY : SATCHEL_AGAIN);
        if (was_welcome) {
            slow.in_flight = hear_of_another_role;
            assert_int_equal(phone_talk(&slow), SATCHEL_AGAIN);
        }
        phone_hang_up(&slow);
        phone_sync(ann);
        phone_write_through(bob, "INSERT INTO item(id) VALUES('x')");
        phone_sync(ann);
        assert_string_equal(phone_read(ann, "SELECT cost FROM trip"), "null");
        assert_string_equal(phone_read(ann, "SELECT count(*) FROM satchel_history"
                                            " WHERE field = 'cost'"),
                            "0");
        town_close(&town);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside__a_slow_sync_brings_no_row_back),
        cmocka_unit_test(test_beside__a_repair_brings_no_row_back),
        cmocka_unit_test(test_beside__a_snapshot_brings_no_row_back),
        cmocka_unit_test(test_beside__a_slow_welcome_leaves_no_hole_in_a_log_that_was_cut_back),
        cmocka_unit_test(test_beside__a_slow_welcome_does_not_claim_what_was_forgotten),
        cmocka_unit_test(test_beside__an_old_forwarded_is_of_no_other_incarnation),
        cmocka_unit_test(test_beside__a_slow_sync_shows_no_column_that_is_masked_meanwhile),
        cmocka_unit_test(test_beside__a_slow_sync_leaves_no_column_in_the_log_that_the_role_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
