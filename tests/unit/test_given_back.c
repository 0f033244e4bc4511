/* What devices give back to a server that was restored more than once, or that had filled one of
 * them from a snapshot: each entry behind whatever it has seen, and no write counts as having
 * seen what its author was not shown. Where two stories differ only in who comes first, they end
 * alike. */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { END_BYTES = 400 };

static const char CONFLICTS[] = "SELECT mine, theirs FROM satchel_conflicts WHERE resolved IS NULL"
                                " ORDER BY mine";
static const char TITLE[] = "SELECT title FROM item WHERE id = 'a'";

static void write_through(struct phone *phone, const char *sql)
{
    phone_write(phone, sql);
    phone_sync(phone);
}

/* Phones that all have the items 'a' and 'b'. */
static void open_with_items(struct town *town, unsigned phone_count)
{
    town_open(town);
    write_through(town_join(town), "INSERT INTO item(id, title) VALUES('a', 'new'), ('b', 'new')");
    while (town->phone_count < phone_count)
        town_join(town);
    for (unsigned i = 0; i < phone_count; i++)
        phone_sync(&town->phones[i]);
}

/* Until `query` gives `end` on the phone, or the server for NULL: what it writes arrives, and it
 * is cut off before it hears more. */
static void sync_until(struct phone *phone, struct phone *asked, const char *query, const char *end)
{
    for (unsigned frames = 1;
         strcmp(asked ? phone_read(asked, query) : sql(&phone->town->server, query), end) != 0;
         frames++) {
        assert_true(frames < 20);
        phone->up_frames = frames;
        (void)phone_connect(phone);
        (void)phone_talk(phone);
    }
    phone->up_frames = 0;
}

/* Settles; what the item 'a' has come to, and its open conflicts. */
static void end_with(struct town *town, char out[END_BYTES])
{
    town_settle(town);
    snprintf(out, END_BYTES, "%s / %s", phone_read(&town->phones[0], TITLE),
             phone_read(&town->phones[0], CONFLICTS));
    for (unsigned i = 0; i < town->phone_count; i++)
        assert_string_equal(phone_read(&town->phones[i], CONFLICTS),
                            phone_read(&town->phones[0], CONFLICTS));
    town_close(town);
}

/* ---- what is given, and when ---- */

/* Bob's log has an insert with two positions, which a new incarnation that has lost nothing of
 * his is to be given for them; he is cut off before that, and then the insert is lost, too. It
 * comes before the update that has seen it. */
static void test_given_back__what_was_to_be_given_for_a_position_and_is_lost_then(void **state)
{
    (void)state;
    struct town town;
    open_with_items(&town, 3);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2];
    town_back_up(&town, "first");
    write_through(ann, "INSERT INTO item(id, title, hits) VALUES('c', 'new', 1)");
    town_restore(&town, "first", false);
    phone_sync(ann);
    phone_sync(cleo);
    write_through(cleo, "UPDATE item SET hits = hits + 10 WHERE id = 'c'");
    phone_sync(bob);
    town_back_up(&town, "later");
    town_restore(&town, "later", false);
    phone_hear(bob);
    town_restore(&town, "first", false);
    phone_hear(bob);
    phone_sync(bob);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_quarantine"), "0");
    assert_string_equal(sql(&town.server, "SELECT hits FROM item WHERE id = 'c'"), "11");
    town_settle(&town);
    town_close(&town);
}

/* Ann's phone is lost. Bob has her first change, Dora, who was filled from a snapshot, her
 * second: the server takes that behind the first only. */
static void test_given_back__what_was_refused_is_given_again_when_it_has_a_place(void **state)
{
    (void)state;
    struct town town;
    open_with_items(&town, 2);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    town_back_up(&town, "backup");
    write_through(ann, "UPDATE item SET title = 'first' WHERE id = 'a'");
    phone_sync(bob);
    town.gives_snapshots = town.has_no_past = true;
    struct phone *dora = town_join(&town);
    write_through(ann, "UPDATE item SET title = 'second' WHERE id = 'a'");
    phone_sync(dora);
    town_restore(&town, "backup", false);
    phone_sync(dora);
    phone_sync(bob);
    phone_sync(dora);
    assert_string_equal(sql(&town.server, TITLE), "second");
    town_close(&town);
}

/* Given back, and put back by hand to before that, before it was heard there. */
static void test_given_back__by_hand_to_before_what_was_given_and_not_heard(void **state)
{
    (void)state;
    for (int is_own = 0; is_own < 2; is_own++) {
        static const char taken[] = "SELECT hits FROM item WHERE id = 'a'";
        static const char given[] = "SELECT given NOTNULL FROM satchel_lost";
        struct town town;
        open_with_items(&town, 2);
        struct phone *ann = &town.phones[0], *bob = &town.phones[1];
        town_back_up(&town, "first");
        write_through(is_own ? bob : ann, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
        phone_sync(bob); /* and Ann's phone is lost */
        town_restore(&town, "first", false);
        town_back_up(&town, "second");
        sync_until(bob, bob, given, "1");
        assert_string_equal(sql(&town.server, taken), "1");
        town_restore(&town, "second", true);
        assert_string_equal(sql(&town.server, taken), "0");
        phone_sync(bob);
        write_through(bob, "UPDATE item SET title = 'bob'");
        assert_string_equal(sql(&town.server, taken), "1");
        town_close(&town);
    }
}

/* Nothing but a position is new: who comes then hears it. */
static void test_given_back__a_position_is_in_what_is_read_once_for_many(void **state)
{
    (void)state;
    struct town town;
    open_with_items(&town, 4);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                 *dora = &town.phones[3];
    town_back_up(&town, "first");
    phone_write(ann, "UPDATE item SET title = 'ann' WHERE id = 'a'");
    sync_until(ann, NULL, TITLE, "ann");
    phone_sync(bob);
    town_restore(&town, "first", false);
    phone_sync(ann);
    phone_sync(dora);
    phone_sync(bob);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_position"), "1");
    phone_sync(cleo);
    assert_string_equal(
        phone_read(cleo, "SELECT count(*) FROM satchel_receipt WHERE positions NOTNULL"), "1");
    town_close(&town);
}

/* Ann's change comes to the restored server anew, and Cleo hears it there, before Bob gives it back
 * with the position by which his own has seen it. Then both are lost once more: whoever gives them
 * back says that Bob's has seen Ann's. */
static void play_late_position(bool cleo_first, char out[END_BYTES])
{
    struct town town;
    open_with_items(&town, 3);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2];
    town_back_up(&town, "backup");
    phone_write(ann, "UPDATE item SET title = 'ann' WHERE id = 'a'");
    sync_until(ann, NULL, TITLE, "ann");
    phone_sync(bob);
    phone_write(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
    town_restore(&town, "backup", false);
    phone_sync(ann);
    (void)phone_connect(cleo);
    (void)phone_talk(cleo);
    phone_sync(bob);
    (void)phone_talk(cleo);
    assert_string_equal(phone_read(cleo, TITLE), "bob");
    town_restore(&town, "backup", false);
    phone_sync(cleo_first ? cleo : bob);
    end_with(&town, out);
}

static void test_given_back__a_late_position_is_told_to_who_has_the_entry(void **state)
{
    (void)state;
    char bob_first[END_BYTES], cleo_first[END_BYTES];
    play_late_position(false, bob_first);
    play_late_position(true, cleo_first);
    assert_string_equal(bob_first, cleo_first);
    assert_string_equal(bob_first, "bob / ");
}

/* Bob has more documents to give back than a message takes, of two pushes: to each its number comes
 * in the same. */
static void test_given_back__a_document_keeps_its_number(void **state)
{
    (void)state;
    static const char numbers[] = "SELECT sum(number NOTNULL), group_concat(number) FROM"
                                  " (SELECT number FROM paper ORDER BY id)";
    char given[4000];
    struct town town;
    open_with_items(&town, 2);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    town_back_up(&town, "backup");
    for (int i = 0; i < 2 * 80; i++) {
        phone_write(ann, "INSERT INTO paper(id, body) VALUES(hex(randomblob(8)),"
                         " hex(randomblob(2000)))");
        if (i % 80 == 79)
            phone_sync(ann);
    }
    phone_sync(bob); /* and Ann's phone is lost */
    snprintf(given, sizeof given, "%s", phone_read(bob, numbers));
    assert_memory_equal(given, "160|", 4);
    town_restore(&town, "backup", false);
    phone_sync(bob);
    phone_sync(bob);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_conflict"), "0");
    assert_string_equal(phone_read(bob, numbers), given);
    town_close(&town);
}

/* ---- what counts as seen ---- */

/* Ann's change has lost its old position, by which Bob has seen it, and gets it back before Cleo
 * hears of the end of the log. Then it is lost, and she is shown another: what she writes over
 * that has not seen Ann's. */
static void play_end(bool bob_comes, char out[END_BYTES])
{
    struct town town;
    open_with_items(&town, 5);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                 *dora = &town.phones[3], *eve = &town.phones[4];
    town_back_up(&town, "first");
    phone_write(ann, "UPDATE item SET title = 'ann' WHERE id = 'a'");
    sync_until(ann, NULL, TITLE, "ann");
    phone_sync(bob);
    town_restore(&town, "first", false);
    phone_sync(ann);
    write_through(dora, "INSERT INTO item(id) VALUES('c')");
    phone_sync(cleo);
    if (bob_comes)
        phone_sync(bob);
    phone_write(dora, "INSERT INTO item(id) VALUES('d')");
    write_through(dora, "INSERT INTO item(id) VALUES('e')");
    phone_sync(cleo);
    town_restore(&town, "first", false);
    write_through(eve, "UPDATE item SET title = 'eve' WHERE id = 'a'");
    phone_hear(cleo);
    assert_string_equal(phone_read(cleo, TITLE), "eve");
    phone_write(cleo, "UPDATE item SET title = 'cleo' WHERE id = 'a'");
    phone_sync(bob);
    phone_sync(cleo);
    end_with(&town, out);
}

static void test_given_back__the_end_of_the_log_says_nothing_of_what_came_back(void **state)
{
    (void)state;
    char without[END_BYTES], with[END_BYTES];
    play_end(false, without);
    play_end(true, with);
    assert_string_equal(without, with);
}

/* What Dora, who was filled from a snapshot, gives back has a position behind that of what she
 * cannot give back: who hears it has not seen that. */
static void play_hole(const char *sql, bool dora_first, char out[END_BYTES])
{
    struct town town;
    open_with_items(&town, 3);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2];
    town_back_up(&town, "backup");
    write_through(ann, "UPDATE item SET title = 'ann' WHERE id = 'a'");
    town.gives_snapshots = town.has_no_past = true;
    struct phone *dora = town_join(&town);
    write_through(bob, "UPDATE item SET hits = 1 WHERE id = 'b'");
    phone_sync(dora);
    town_restore(&town, "backup", false);
    if (dora_first)
        phone_sync(dora);
    phone_sync(cleo);
    assert_string_equal(phone_read(cleo, TITLE), "new");
    write_through(cleo, sql);
    phone_sync(ann);
    town.has_no_past = false;
    end_with(&town, out);
}

static void test_given_back__who_hears_what_came_behind_has_not_seen_what_is_missing(void **state)
{
    (void)state;
    static const char *const writes[] = {"UPDATE item SET title = 'cleo' WHERE id = 'a'",
                                         "DELETE FROM item WHERE id = 'a'"};
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        char first[END_BYTES], last[END_BYTES];
        play_hole(writes[i], true, first);
        play_hole(writes[i], false, last);
        assert_string_equal(first, last);
    }
}

/* Dora's first rows showed what is lost; then she is shown what was written without it. */
static void play_first_rows(bool has_log, char out[END_BYTES])
{
    struct town town;
    open_with_items(&town, 2);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1];
    town_back_up(&town, "backup");
    write_through(ann, "UPDATE item SET title = 'ann' WHERE id = 'a'");
    town.gives_snapshots = town.has_no_past = !has_log;
    struct phone *dora = town_join(&town);
    assert_string_equal(phone_read(dora, TITLE), "ann");
    town_restore(&town, "backup", false);
    write_through(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
    phone_hear(dora);
    assert_string_equal(phone_read(dora, TITLE), "bob");
    phone_write(dora, "UPDATE item SET title = 'dora' WHERE id = 'a'");
    phone_sync(ann);
    phone_sync(dora);
    town.has_no_past = false;
    end_with(&town, out);
}

static void test_given_back__what_a_snapshot_showed_and_an_entry_replaced_is_not_seen(void **state)
{
    (void)state;
    char with_log[END_BYTES], without[END_BYTES];
    play_first_rows(true, with_log);
    play_first_rows(false, without);
    assert_string_equal(with_log, without);
}

/* ---- what is worked out again ---- */

/* Bob's delete means both rows of one key: he has seen the second by its first position, which
 * comes back behind the delete, from Cleo; Dora was not told of it. They are one all the same, as
 * everybody was told, until it is told otherwise. */
static void test_given_back__rows_are_one_as_everybody_was_told(void **state)
{
    (void)state;
    static const char aliases[] = "SELECT count(*) FROM satchel_alias";
    for (int dora_first = 0; dora_first < 2; dora_first++) {
        struct town town;
        open_with_items(&town, 4);
        struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2],
                     *dora = &town.phones[3];
        write_through(cleo, "INSERT INTO firm(id, name, tax_no) VALUES('a', 'A', 'K')");
        phone_sync(dora);
        town_back_up(&town, "first");
        phone_write(ann, "INSERT INTO firm(id, name, tax_no) VALUES('b', 'B', 'K')");
        sync_until(ann, NULL, aliases, "1");
        phone_sync(bob);
        write_through(bob, "DELETE FROM firm WHERE id = 'a'");
        phone_sync(cleo);
        town_restore(&town, "first", false);
        phone_sync(ann);
        phone_sync(dora);
        write_through(dora, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
        town_back_up(&town, "second");
        phone_sync(bob);
        phone_sync(cleo);
        phone_damage(dora, "CREATE TABLE untold AS SELECT * FROM satchel_receipt");
        phone_sync(dora);
        phone_damage(dora, "REPLACE INTO satchel_receipt SELECT * FROM untold;"
                           " DROP TABLE untold");
        town_restore(&town, "second", false);
        phone_sync(dora_first ? dora : cleo);
        phone_sync(dora_first ? cleo : dora);
        phone_sync(dora);
        phone_write(dora, dora_first ? "UPDATE firm SET name = 'new'"
                                     : "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
        town_settle(&town);
        for (unsigned i = 0; i < town.phone_count; i++) {
            struct phone *phone = &town.phones[i];
            assert_string_equal(phone_read(phone, aliases), sql(&town.server, aliases));
            assert_string_equal(phone_read(phone, "SELECT repaired FROM satchel_replica"), "0");
        }
        town_close(&town);
    }
}

/* Dora knows the conflict of Ann's and Bob's titles from her snapshot alone. To the restored
 * server Cleo, who had seen Ann's title, comes before Bob: Ann's is never in conflict there, and
 * nobody tells that it ceased to be. */
static void test_given_back__a_conflict_that_only_a_snapshot_brought_is_asked_for(void **state)
{
    (void)state;
    struct town town;
    open_with_items(&town, 3);
    struct phone *ann = &town.phones[0], *bob = &town.phones[1], *cleo = &town.phones[2];
    town_back_up(&town, "backup");
    write_through(ann, "UPDATE item SET title = 'ann' WHERE id = 'a'");
    phone_sync(cleo);
    write_through(bob, "UPDATE item SET title = 'bob' WHERE id = 'a'");
    town.gives_snapshots = town.has_no_past = true;
    struct phone *dora = town_join(&town);
    assert_string_equal(phone_read(dora, CONFLICTS), "ann|bob");
    assert_string_equal(phone_read(dora, "SELECT count(*) FROM satchel_entry"), "0");
    phone_write(cleo, "UPDATE item SET title = 'cleo' WHERE id = 'a'");
    town_restore(&town, "backup", false);
    phone_sync(cleo);
    phone_sync(bob);
    phone_sync(dora);
    assert_string_equal(phone_read(dora, CONFLICTS), phone_read(bob, CONFLICTS));
    town.has_no_past = false;
    town_settle(&town);
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_given_back__what_was_to_be_given_for_a_position_and_is_lost_then),
        cmocka_unit_test(test_given_back__what_was_refused_is_given_again_when_it_has_a_place),
        cmocka_unit_test(test_given_back__by_hand_to_before_what_was_given_and_not_heard),
        cmocka_unit_test(test_given_back__a_position_is_in_what_is_read_once_for_many),
        cmocka_unit_test(test_given_back__a_late_position_is_told_to_who_has_the_entry),
        cmocka_unit_test(test_given_back__a_document_keeps_its_number),
        cmocka_unit_test(test_given_back__the_end_of_the_log_says_nothing_of_what_came_back),
        cmocka_unit_test(test_given_back__who_hears_what_came_behind_has_not_seen_what_is_missing),
        cmocka_unit_test(test_given_back__what_a_snapshot_showed_and_an_entry_replaced_is_not_seen),
        cmocka_unit_test(test_given_back__rows_are_one_as_everybody_was_told),
        cmocka_unit_test(test_given_back__a_conflict_that_only_a_snapshot_brought_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
