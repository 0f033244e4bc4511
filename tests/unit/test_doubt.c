/* Rows in doubt: a restored server brings what is new on a row before what it had lost there is
 * back, the connection is cut, and somebody writes to the row. What he writes has seen what his
 * table showed, and nothing else. */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char CONFLICTS[] = "SELECT mine, theirs FROM satchel_conflicts WHERE resolved IS NULL"
                                " ORDER BY mine";

/* Ann, bob, cleo and dora have item 'a' as it is in the backup. */
static void open_backed_up(struct town *town)
{
    town_open(town);
    phone_write(town_join(town), "INSERT INTO item(id, title, tags) VALUES('a', 'old', '[\"x\"]')");
    for (int i = 0; i < 3; i++)
        phone_sync(town_join(town));
    for (unsigned i = 0; i < town->phone_count; i++)
        phone_sync(&town->phones[i]);
    town_back_up(town, "backup");
}

/* Ann writes `lost` and bob hears it; the server forgets it; cleo, who has not heard it, writes
 * `entry`; bob hears that alone. */
static void lose(struct town *town, const char *lost, const char *entry)
{
    phone_write(&town->phones[0], lost);
    phone_sync(&town->phones[0]);
    phone_sync(&town->phones[1]);
    town_restore(town, "backup", false);
    phone_write(&town->phones[2], entry);
    phone_sync(&town->phones[2]);
    phone_hear(&town->phones[1]);
}

/* What bob's table shows before he writes, and what becomes of all of it. */
static void write_between(const char *lost, const char *entry, const char *query, const char *shown,
                          const char *sql, const char *expected, const char *conflicts)
{
    struct town town;
    open_backed_up(&town);
    lose(&town, lost, entry);
    struct phone *bob = &town.phones[1];
    assert_string_equal(phone_read(bob, query), shown);
    phone_write(bob, sql);
    town_settle(&town);
    assert_string_equal(phone_read(bob, query), expected);
    assert_string_equal(phone_read(bob, CONFLICTS), conflicts);
    town_close(&town);
}

static void test_doubt__a_write_on_an_entry_has_not_seen_what_was_lost(void **state)
{
    (void)state;
    write_between("UPDATE item SET title = 'lost' WHERE id = 'a'",
                  "UPDATE item SET title = 'entry' WHERE id = 'a'", "SELECT title FROM item",
                  "entry", "UPDATE item SET title = 'bob' WHERE id = 'a'", "bob", "lost|bob");
}

static void test_doubt__a_field_no_entry_has_touched_shows_what_was_lost(void **state)
{
    (void)state;
    write_between("UPDATE item SET title = 'lost', hits = 7 WHERE id = 'a'",
                  "UPDATE item SET hits = hits + 1 WHERE id = 'a'", "SELECT title FROM item",
                  "lost", "UPDATE item SET title = 'bob' WHERE id = 'a'", "bob", "");
}

static void test_doubt__only_shown_additions_are_taken_out_of_a_set(void **state)
{
    (void)state;
    struct town town;
    open_backed_up(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    phone_write(ann, "UPDATE item SET tags = '[]' WHERE id = 'a'");
    /* The "x" of the backup is shown when the entry has come, not this one. */
    lose(&town, "UPDATE item SET tags = '[\"x\"]' WHERE id = 'a'",
         "UPDATE item SET tags = '[\"x\",\"y\"]' WHERE id = 'a'");
    assert_string_equal(phone_read(bob, "SELECT tags FROM item"), "[\"x\",\"y\"]");
    phone_write(bob, "UPDATE item SET tags = '[]' WHERE id = 'a'");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT tags FROM item"), "[\"x\"]");
    town_close(&town);
}

static void test_doubt__a_delete_does_not_take_what_was_lost_with_it(void **state)
{
    (void)state;
    write_between("UPDATE item SET title = 'lost' WHERE id = 'a'",
                  "UPDATE item SET title = 'entry' WHERE id = 'a'", "SELECT title FROM item",
                  "entry", "DELETE FROM item WHERE id = 'a'", "entry", "null|null;lost|entry");
}

static void test_doubt__a_write_on_a_row_that_came_back_leaves_a_lost_delete_open(void **state)
{
    (void)state;
    struct town town;
    open_backed_up(&town);
    struct phone *bob = &town.phones[1], *cleo = &town.phones[2];
    phone_write(cleo, "DELETE FROM item WHERE id = 'a'");
    lose(&town, "DELETE FROM item WHERE id = 'a'",
         "INSERT INTO item(id, title) VALUES('a', 'entry')");
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "entry");
    phone_write(cleo, "UPDATE item SET title = 'more' WHERE id = 'a'");
    phone_sync(cleo);
    phone_hear(bob);
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "more");
    phone_write(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "bob");
    assert_string_equal(phone_read(bob, CONFLICTS), "null|null");
    town_close(&town);
}

static void test_doubt__a_row_that_stays_away_is_inserted_knowing_the_lost_delete(void **state)
{
    (void)state;
    struct town town;
    open_backed_up(&town);
    struct phone *bob = &town.phones[1];
    lose(&town, "DELETE FROM item WHERE id = 'a'",
         "UPDATE item SET title = 'entry' WHERE id = 'a'");
    assert_string_equal(phone_read(bob, "SELECT count(*) FROM item"), "0");
    phone_write(bob, "INSERT INTO item(id, title) VALUES('a', 'bob')");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "bob");
    assert_string_equal(phone_read(bob, CONFLICTS), "entry|bob");
    town_close(&town);
}

/* The pending write was made on what was lost, or on the entry alone. */
static void test_doubt__a_write_over_a_pending_one_has_seen_what_that_had(void **state)
{
    (void)state;
    for (int is_before = 0; is_before < 2; is_before++) {
        struct town town;
        open_backed_up(&town);
        struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                     *dora = &town.phones[3];
        phone_write(ann, "UPDATE item SET title = 'lost' WHERE id = 'a'");
        phone_sync(ann);
        phone_sync(bob);
        if (is_before)
            phone_write(bob, "UPDATE item SET title = 'first' WHERE id = 'a'");
        town_restore(&town, "backup", false);
        phone_write(cleo, "UPDATE item SET title = 'entry' WHERE id = 'a'");
        phone_sync(cleo);
        phone_hear(bob);
        if (!is_before)
            phone_write(bob, "UPDATE item SET title = 'first' WHERE id = 'a'");
        phone_write(dora, "UPDATE item SET title = 'later' WHERE id = 'a'");
        phone_sync(dora);
        phone_hear(bob);
        assert_string_equal(phone_read(bob, "SELECT title FROM item"), "first");
        phone_write(bob, "UPDATE item SET title = 'second' WHERE id = 'a'");
        town_settle(&town);
        assert_string_equal(phone_read(bob, "SELECT title FROM item"), "second");
        assert_string_equal(phone_read(bob, CONFLICTS),
                            is_before ? "entry|second;later|second" : "later|second;lost|second");
        town_close(&town);
    }
}

static void test_doubt__a_lost_write_that_is_back_shows_nothing_of_the_next(void **state)
{
    (void)state;
    struct town town;
    open_backed_up(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2];
    phone_write(ann, "UPDATE item SET title = 'lost' WHERE id = 'a'");
    phone_sync(ann);
    phone_sync(cleo);
    /* Cleo gives back the first with her own. */
    lose(&town, "UPDATE item SET title = 'next' WHERE id = 'a'",
         "UPDATE item SET hits = 1 WHERE id = 'a'");
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "lost");
    phone_write(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "bob");
    assert_string_equal(phone_read(bob, CONFLICTS), "next|bob");
    town_close(&town);
}

static void test_doubt__what_is_back_has_been_seen(void **state)
{
    (void)state;
    struct town town;
    open_backed_up(&town);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    lose(&town, "UPDATE item SET title = 'lost' WHERE id = 'a'",
         "UPDATE item SET title = 'entry' WHERE id = 'a'");
    phone_sync(ann);
    phone_hear(bob);
    assert_string_equal(phone_read(bob, CONFLICTS), "lost|entry");
    phone_write(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT title FROM item"), "bob");
    assert_string_equal(phone_read(bob, CONFLICTS), "");
    town_close(&town);
}

/* What was given back to the first restored server is lost by the second. */
static void test_doubt__a_second_restore_takes_from_view_what_its_entries_replace(void **state)
{
    (void)state;
    for (int is_replaced = 0; is_replaced < 2; is_replaced++) {
        struct town town;
        open_backed_up(&town);
        struct phone *ann = &town.phones[0], *bob = &town.phones[1], *dora = &town.phones[3];
        lose(&town, "UPDATE item SET title = 'lost', hits = hits + 1 WHERE id = 'a'",
             "UPDATE item SET title = 'entry' WHERE id = 'a'");
        phone_sync(ann);
        phone_hear(bob);
        town_restore(&town, "backup", false);
        phone_write(dora, is_replaced ? "UPDATE item SET title = 'later' WHERE id = 'a'"
                                      : "UPDATE item SET hits = hits + 10 WHERE id = 'a'");
        phone_sync(dora);
        phone_hear(bob);
        assert_string_equal(phone_read(bob, "SELECT title FROM item"),
                            is_replaced ? "later" : "entry");
        phone_write(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
        town_settle(&town);
        assert_string_equal(phone_read(bob, "SELECT title FROM item"), "bob");
        assert_string_equal(phone_read(bob, CONFLICTS), is_replaced ? "entry|bob;lost|bob" : "");
        town_close(&town);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubt__a_write_on_an_entry_has_not_seen_what_was_lost),
        cmocka_unit_test(test_doubt__a_field_no_entry_has_touched_shows_what_was_lost),
        cmocka_unit_test(test_doubt__only_shown_additions_are_taken_out_of_a_set),
        cmocka_unit_test(test_doubt__a_delete_does_not_take_what_was_lost_with_it),
        cmocka_unit_test(test_doubt__a_write_on_a_row_that_came_back_leaves_a_lost_delete_open),
        cmocka_unit_test(test_doubt__a_row_that_stays_away_is_inserted_knowing_the_lost_delete),
        cmocka_unit_test(test_doubt__a_write_over_a_pending_one_has_seen_what_that_had),
        cmocka_unit_test(test_doubt__a_lost_write_that_is_back_shows_nothing_of_the_next),
        cmocka_unit_test(test_doubt__what_is_back_has_been_seen),
        cmocka_unit_test(test_doubt__a_second_restore_takes_from_view_what_its_entries_replace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
