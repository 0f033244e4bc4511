/* A server that was put back to an earlier moment, by the command or by hand, while people went on:
 * every commit of everybody is in the history once (town_settle). */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char CONFLICTS[] = "SELECT conflicts FROM satchel_status";
static const char INCARNATIONS[] = "SELECT count(*) FROM satchel_incarnation WHERE last_cursor"
                                   " NOTNULL";

static void add(struct phone *phone, unsigned hits)
{
    char sql[128];
    snprintf(sql, sizeof sql, "UPDATE item SET hits = hits + %u WHERE id = 'a'", hits);
    phone_write(phone, sql);
    phone_sync(phone);
}

static void open_with_item(struct town *town)
{
    town_open(town);
    phone_write(town_join(town), "INSERT INTO item(id, title) VALUES('a', 'new')");
    for (int i = 0; i < 3; i++)
        phone_sync(town_join(town));
    phone_sync(&town->phones[0]);
    for (unsigned i = 0; i < town->phone_count; i++)
        phone_sync(&town->phones[i]);
}

static void test_restore__the_status_tells_what_waits_to_be_given_back(void **state)
{
    (void)state;
    static const char waiting[] = "SELECT to_give_back, in_doubt FROM satchel_status";
    struct town town;
    open_with_item(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    town_back_up(&town, "backup");
    add(ann, 1);
    add(ann, 10);
    phone_sync(bob);
    town_restore(&town, "backup", false);
    /* Cut off as soon as the server has said how far it was put back. */
    for (unsigned frames = 1; strcmp(phone_read(ann, waiting), "null|null") == 0; frames++) {
        assert_true(frames < 20);
        ann->up_frames = frames;
        (void)phone_connect(ann);
        (void)phone_talk(ann);
    }
    ann->up_frames = 0;
    assert_string_equal(phone_read(ann, waiting), "2|1");
    assert_string_equal(phone_read(bob, waiting), "null|null");
    phone_sync(ann);
    assert_string_equal(phone_read(ann, waiting), "null|null");
    town_settle(&town);
    town_close(&town);
}

/* The server forgets that there is a copy, and what it wrote. */
static void test_restore__a_copy_comes_back_as_one(void **state)
{
    (void)state;
    for (int order = 0; order < 4; order++) {
        struct town town;
        town_open(&town);
        struct phone *ann = town_join(&town), *bob = town_join(&town);
        phone_write(ann, "INSERT INTO item(id, title) VALUES('a', 'new')");
        phone_sync(ann);
        if (order % 2)
            town_back_up(&town, "backup");
        struct phone *second = town_clone(&town, ann);
        phone_write(ann, "UPDATE item SET title = 'ann', hits = hits + 1 WHERE id = 'a'");
        phone_sync(ann);
        if (order % 2 == 0)
            town_back_up(&town, "backup");
        phone_write(second, "UPDATE item SET title = 'second', hits = hits + 10 WHERE id = 'a'");
        phone_sync(second);
        phone_write(second, "UPDATE item SET hits = hits + 100 WHERE id = 'a'");
        phone_sync(second);
        phone_sync(ann);
        phone_write(second, "UPDATE item SET hits = hits + 1000 WHERE id = 'a'");
        town_restore(&town, "backup", false);
        phone_sync(order < 2 ? second : ann);
        phone_sync(order < 2 ? ann : second);
        phone_sync(bob);
        phone_write(second, "UPDATE item SET hits = hits + 10000 WHERE id = 'a'");
        town_settle(&town);
        assert_string_equal(phone_read(bob, "SELECT title, hits FROM item"), "second|11111");
        assert_string_equal(phone_read(bob, CONFLICTS), "1"); /* 'ann' and 'second' */
        assert_string_equal(sql(&town.server, "SELECT count(parent) FROM satchel_device"), "1");
        town_close(&town);
    }
}

/* The restored node gives the same positions again before anybody comes who knows more. */
static void test_restore__by_hand_and_written_to_before_it_is_noticed(void **state)
{
    (void)state;
    for (int order = 0; order < 4; order++) {
        struct town town;
        open_with_item(&town);
        struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                     *dora = &town.phones[3];
        town_back_up(&town, "backup");
        add(ann, 1);
        add(ann, 10);
        phone_sync(bob);
        phone_sync(cleo);
        town_restore(&town, "backup", true);
        add(dora, 100);
        if (order % 2) {
            add(dora, 1000);
            add(dora, 10000);
        }
        phone_sync(order < 2 ? cleo : ann);
        assert_string_equal(sql(&town.server, INCARNATIONS), "1");
        assert_string_equal(sql(&town.server, "SELECT hits % 100 FROM item"), "11");
        town_settle(&town);
        assert_string_equal(phone_read(bob, "SELECT hits FROM item"), order % 2 ? "11111" : "111");
        town_close(&town);
    }
}

/* The hand knows nothing of the restore that came after what it puts back. */
static void test_restore__by_hand_to_before_a_restore(void **state)
{
    (void)state;
    for (int order = 0; order < 3; order++) {
        struct town town;
        open_with_item(&town);
        struct phone *ann = &town.phones[0], *bob = &town.phones[1], *dora = &town.phones[3];
        town_back_up(&town, "first");
        add(ann, 1);
        town_back_up(&town, "second");
        add(ann, 100000);
        town_restore(&town, "first", false);
        phone_sync(ann);
        add(ann, 10);
        add(bob, 100);
        town_restore(&town, "second", true);
        add(dora, 1000);
        phone_sync(order == 0 ? ann : bob);
        assert_string_equal(sql(&town.server, INCARNATIONS), "1");
        if (order == 2)
            add(dora, 10000);
        town_settle(&town);
        assert_string_equal(phone_read(bob, "SELECT hits FROM item"),
                            order == 2 ? "111111" : "101111");
        town_close(&town);
    }
}

/* Bob has lost a change of the first incarnation and has not given it back; the insert that it came
 * after and a later change he has heard from the second, which he loses, too. Without the others he
 * gives back what was lost last first: it is what came before. */
static void test_restore__again_before_what_was_lost_first_is_back(void **state)
{
    (void)state;
    struct town town;
    open_with_item(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                 *dora = &town.phones[3];
    town_back_up(&town, "backup");
    phone_write(ann, "INSERT INTO item(id, title, hits) VALUES('b', 'new', 1)");
    phone_sync(ann);
    phone_sync(cleo);
    phone_sync(dora);
    phone_write(cleo, "UPDATE item SET hits = hits + 10 WHERE id = 'b'");
    phone_sync(cleo);
    phone_sync(bob);
    town_restore(&town, "backup", false);
    phone_sync(dora);
    phone_write(dora, "UPDATE item SET hits = hits + 100 WHERE id = 'b'");
    phone_sync(dora);
    phone_hear(bob);
    assert_string_equal(phone_read(bob, "SELECT to_give_back FROM satchel_status"), "1");
    town_restore(&town, "backup", false);
    phone_sync(bob);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_quarantine"), "0");
    assert_string_equal(sql(&town.server, "SELECT hits FROM item WHERE id = 'b'"), "111");
    town_settle(&town);
    town_close(&town);
}

/* Put back by hand, the server gives a position a second time; Bob has both and gives back neither
 * before he loses the second, too. */
static void test_restore__again_with_two_changes_of_one_position(void **state)
{
    (void)state;
    struct town town;
    open_with_item(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *dora = &town.phones[3];
    town_back_up(&town, "backup");
    add(ann, 1);
    phone_sync(bob);
    town_restore(&town, "backup", true);
    add(dora, 10);
    phone_hear(bob);
    town_restore(&town, "backup", false);
    phone_sync(bob);
    assert_string_equal(sql(&town.server, "SELECT hits FROM item"), "11");
    town_settle(&town);
    town_close(&town);
}

/* The incarnation between the two has given nothing: what its predecessor gave is not taken for its
 * own, whichever id comes first. */
static void test_restore__twice_with_nothing_between(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct town town;
        open_with_item(&town);
        struct phone *ann = &town.phones[0];
        for (int times = 0; times < 2; times++) {
            town_back_up(&town, "backup");
            town_restore(&town, "backup", false);
            phone_sync(ann);
        }
        assert_string_equal(sql(&town.server, INCARNATIONS), "1");
        assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_position"), "0");
        add(ann, 1);
        town_settle(&town);
        town_close(&town);
    }
}

/* Ann's change was given anew, and by Bob, who had seen it, with its old position behind that. The
 * second restore takes the old position from the node. Dora, who was never told it, gives back what
 * Bob wrote with that knowledge; Cleo has all of it in her log, where nothing seems to be lost. */
static void test_restore__again_to_before_an_old_position_was_given(void **state)
{
    (void)state;
    static const char positions[] = "SELECT count(*) FROM satchel_position";
    struct town town;
    open_with_item(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                 *dora = &town.phones[3];
    town_back_up(&town, "first");
    phone_write(ann, "UPDATE item SET title = 'ann'");
    phone_keep(ann);
    phone_sync(ann);
    phone_sync(bob);
    phone_write(bob, "UPDATE item SET title = 'bob'");
    phone_sync(bob);
    phone_sync(cleo);
    town_restore(&town, "first", false);
    phone_put_back(ann);
    phone_sync(ann);
    phone_sync(dora);
    add(dora, 1);
    town_back_up(&town, "second");
    phone_sync(bob);
    phone_sync(cleo);
    phone_sync(dora);
    assert_string_equal(sql(&town.server, positions), "2");
    town_restore(&town, "second", false);
    phone_sync(dora);
    phone_sync(cleo);
    assert_string_equal(sql(&town.server, positions), "3");
    assert_string_equal(phone_read(cleo, "SELECT to_give_back FROM satchel_status"), "null");
    town_settle(&town);
    town_close(&town);
}

static void run_on(struct town *town, const char *backup, const char *sql)
{
    char path[160];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/%s.db", town->server.directory, backup);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* A backup of before columns that are needed today. */
static void test_restore__of_a_backup_that_lacks_columns(void **state)
{
    (void)state;
    struct town town;
    open_with_item(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    town_back_up(&town, "first");
    town_restore(&town, "first", false);
    add(ann, 1);
    town_back_up(&town, "second");
    run_on(&town, "second",
           "ALTER TABLE satchel_incarnation DROP COLUMN own_seq; DROP INDEX satchel_position_late;"
           "ALTER TABLE satchel_position DROP COLUMN late_turn;"
           "ALTER TABLE satchel_position DROP COLUMN late_after");
    add(ann, 10);
    phone_sync(bob);
    town_restore(&town, "second", false);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_incarnation WHERE"
                                          " ifnull(own_seq, last_cursor) = last_cursor"),
                        "2");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT hits FROM item"), "11");
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restore__the_status_tells_what_waits_to_be_given_back),
        cmocka_unit_test(test_restore__a_copy_comes_back_as_one),
        cmocka_unit_test(test_restore__by_hand_and_written_to_before_it_is_noticed),
        cmocka_unit_test(test_restore__by_hand_to_before_a_restore),
        cmocka_unit_test(test_restore__twice_with_nothing_between),
        cmocka_unit_test(test_restore__again_before_what_was_lost_first_is_back),
        cmocka_unit_test(test_restore__again_with_two_changes_of_one_position),
        cmocka_unit_test(test_restore__again_to_before_an_old_position_was_given),
        cmocka_unit_test(test_restore__of_a_backup_that_lacks_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
