/* What comes to more than a message, a page or a batch holds, and is no other thing for it. */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Ann has written so much by `writes`, and her phone is lost: the server, put back to before, gets
 * it back from Bob, and he has nothing else by `query` then. */
static void give_back(const char *writes, unsigned repeat, bool in_one_sync, const char *query)
{
    struct town town;
    char before[64];
    town_open(&town);
    struct phone *ann = town_join(&town), *bob = town_join(&town);
    town_back_up(&town, "backup");
    for (unsigned i = 0; i < repeat; i++) {
        phone_write(ann, writes);
        if (!in_one_sync || i + 1 == repeat)
            phone_sync(ann);
    }
    phone_sync(bob);
    snprintf(before, sizeof before, "%s", phone_read(bob, query));
    town_restore(&town, "backup", false);
    phone_sync(bob);
    phone_sync(bob);
    assert_string_equal(phone_read(bob, "SELECT pending, conflicts FROM satchel_status"), "0|0");
    assert_string_equal(phone_read(bob, query), before);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_conflict"), "0");
    assert_string_equal(phone_read(bob, "SELECT count(*) FROM satchel_lost"), "0");
    town_close(&town);
}

#define NUMBERS(table)                                                   \
    "SELECT count(number), count(DISTINCT number), sum(length(number))," \
    " min(substr(number, 1, 5)), max(substr(number, 1, 5)) FROM " table

/* ---- given back in several messages ---- */

static void test_volume__bodies_that_compress_well_are_counted_as_they_travel(void **state)
{
    (void)state;
    give_back(
        "INSERT INTO item(id, title) VALUES(hex(randomblob(8)), printf('%.*c', 1000000, 'x'))", 20,
        false, "SELECT count(*), sum(length(title)) FROM item");
    give_back("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)"
              " INSERT INTO item(id, title) SELECT hex(randomblob(8)), printf('%.*c', 50000, 'x')"
              " FROM n; INSERT OR IGNORE INTO paper(id) VALUES('p')",
              20, false, "SELECT count(*), sum(length(title)) FROM item");
}

static void test_volume__a_document_keeps_its_number(void **state)
{
    (void)state;
    give_back("INSERT INTO paper(id, body) VALUES(hex(randomblob(8)), hex(randomblob(5000)))", 80,
              true, NUMBERS("paper"));
}

/* Their numbers are several change sets of the node. */
static void test_volume__documents_of_a_large_import_keep_theirs(void **state)
{
    (void)state;
    give_back("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)"
              " INSERT INTO paper(id, body) SELECT hex(randomblob(8)), hex(randomblob(20)) FROM n",
              1, true, NUMBERS("paper"));
}

static void test_volume__documents_of_two_series_keep_theirs(void **state)
{
    (void)state;
    give_back("BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
              " INSERT INTO paper(id, body) SELECT hex(randomblob(8)), hex(randomblob(3000))"
              " FROM n; INSERT INTO bill(id) SELECT id FROM paper; COMMIT",
              1, true, NUMBERS("bill"));
}

/* The reasons of all parts of a change set, where all were set aside, and what it says are more
 * than a message could hold. */
#define LONG_NAME "a_table_whose_name_is_as_long_as_anybody_would_ever_give_one_and_then_some_more"
static const char REFUSED[] = "-- @table scope=row(owner) delete=edit_wins\n"
                              "CREATE TABLE " LONG_NAME "(id TEXT PRIMARY KEY, owner TEXT,"
                              " note TEXT);\n";

static void write_rows(struct phone *phone, const char *owner, unsigned note_bytes)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)"
             " INSERT INTO " LONG_NAME " SELECT 'k' || i, '%s', printf('%%.*c', %u, 'x') FROM n",
             owner, note_bytes);
    phone_write(phone, sql);
    phone_sync(phone);
}

static void test_volume__a_change_set_with_a_reason_for_each_part_is_given_back(void **state)
{
    (void)state;
    struct town town;
    town_open_with(&town, REFUSED);
    town_add_user(&town, "bob");
    struct phone *ann = town_join(&town), *bob = town_join_as(&town, "bob");
    write_rows(ann, "ann", 1);
    town_back_up(&town, "backup");
    write_rows(bob, "bob", 600);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_quarantine"), "25000");
    town_restore(&town, "backup", false);
    phone_sync(bob);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_quarantine"), "25000");
    assert_string_equal(phone_read(bob, "SELECT count(*) FROM satchel_lost"), "0");
    town_close(&town);
}

/* ---- rows that leave in several pages ---- */

static const char SCOPED[] = "-- @table scope=row(owner, boss) delete=edit_wins\n"
                             "CREATE TABLE account(id TEXT PRIMARY KEY, owner TEXT, boss TEXT,"
                             " name TEXT);\n"
                             "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE item(id TEXT PRIMARY KEY, title TEXT, owner TEXT,"
                             " code TEXT, hits INTEGER NOT NULL DEFAULT 0, -- @counter\n"
                             " tags TEXT);\n";
enum { WAITS, HAS_GIVEN_AWAY, HAS_HEARD };
static int story;

/* While the first page has left, Bob gives 'a' away, too, and writes an item behind that; when Ann
 * has that, she writes to 'a' if she has it still. */
static void give_away_between(struct phone *ann)
{
    struct phone *bob = &ann->town->phones[1];
    if (story == WAITS &&
        strtol(phone_read(ann, "SELECT count(*) FROM account"), NULL, 10) < 4096) {
        story = HAS_GIVEN_AWAY;
        phone_write(bob, "UPDATE account SET owner = 'bob', name = 'bobs' WHERE id = 'a'");
        phone_write(bob, "INSERT INTO item(id) VALUES('behind')");
        phone_sync(bob);
    }
    if (story == HAS_GIVEN_AWAY && strcmp(phone_read(ann, "SELECT count(*) FROM item"), "1") == 0) {
        story = HAS_HEARD;
        if (strcmp(phone_read(ann, "SELECT count(*) FROM account WHERE id = 'a'"), "1") == 0)
            phone_write(ann, "UPDATE account SET name = 'anns' WHERE id = 'a'");
    }
}

static void test_volume__a_row_that_leaves_between_two_pages_leaves_before_the_news(void **state)
{
    (void)state;
    struct town town;
    town_open_with(&town, SCOPED);
    town_add_user(&town, "bob");
    struct phone *ann = town_join(&town), *bob = town_join_as(&town, "bob");
    phone_write(bob, "INSERT INTO account VALUES('a', 'ann', 'bob', 'new')");
    phone_write(bob, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE"
                     " i < 4100) INSERT INTO account SELECT 'k' || i, 'ann', 'bob', 'new' FROM n");
    phone_sync(bob);
    phone_sync(ann);
    assert_string_equal(phone_read(ann, "SELECT count(*) FROM account"), "4101");
    phone_write(bob, "UPDATE account SET owner = 'bob' WHERE id <> 'a'");
    phone_sync(bob);
    story = WAITS;
    ann->watch = give_away_between;
    phone_sync(ann);
    ann->watch = NULL;
    phone_sync(ann);
    assert_int_equal(story, HAS_HEARD);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_quarantine"), "0");
    assert_string_equal(phone_read(ann, "SELECT count(*) FROM account"), "0");
    town_close(&town);
}

/* Each page of rows that come needs what the log has about them: the import that they are all of,
 * and the one write that gave them away. */
static void test_volume__an_import_is_told_once_for_all_pages_of_rows_that_come(void **state)
{
    (void)state;
    struct town town;
    town_open_with(&town, SCOPED);
    town_add_user(&town, "bob");
    struct phone *ann = town_join(&town), *bob = town_join_as(&town, "bob");
    phone_write(bob, "INSERT INTO account VALUES('a', 'bob', 'bob', 'new')");
    phone_write(bob, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE"
                     " i < 1000) INSERT INTO account SELECT 'k' || i, 'bob', 'bob', 'new' FROM n");
    phone_sync(bob);
    phone_sync(ann);
    phone_write(bob, "UPDATE account SET owner = 'ann'");
    phone_sync(bob);
    phone_sync(ann);
    assert_string_equal(phone_read(ann, "SELECT count(*), min(owner) FROM account"), "1001|ann");
    assert_string_equal(phone_read(ann, "SELECT count(*), count(DISTINCT key) FROM satchel_history"
                                        " WHERE tbl = 'account'"),
                        phone_read(bob, "SELECT count(*), count(DISTINCT key) FROM satchel_history"
                                        " WHERE tbl = 'account'"));
    assert_int_equal(ann->past_count, 3);
    town_close(&town);
}

/* ---- conflicts ---- */

/* A row whose conflicts are more than notes may have: a new phone gets as many as have room,
 * and the open one. */
static void test_volume__a_row_with_many_conflicts(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town), *bob = town_join(&town);
    phone_write(ann, "INSERT INTO item(id) VALUES('a')");
    phone_sync(ann);
    phone_sync(bob);
    for (int i = 0; i < 220; i++) {
        phone_write(ann, "UPDATE item SET title = hex(randomblob(30000)) WHERE id = 'a'");
        phone_write(bob, "UPDATE item SET title = hex(randomblob(30000)) WHERE id = 'a'");
        phone_sync(ann);
        phone_sync(bob);
        phone_sync(ann);
    }
    town.gives_snapshots = true;
    struct phone *dora = town_join(&town);
    assert_string_equal(phone_read(dora, "SELECT count(*) FROM item"), "1");
    assert_string_equal(phone_read(dora, "SELECT conflicts FROM satchel_status"),
                        phone_read(bob, "SELECT conflicts FROM satchel_status"));
    town_close(&town);
}

/* They are looked for with every row that is told. */
static void test_volume__conflicts_of_a_row_are_found_by_its_key(void **state)
{
    (void)state;
    static const char of_row[] =
        "EXPLAIN QUERY PLAN SELECT note FROM satchel_conflict WHERE tbl = ?1"
        " AND (key = ?2 OR loser_key = ?2)";
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    assert_non_null(strstr(phone_read(ann, of_row), "satchel_conflict_loser_key"));
    assert_null(strstr(phone_read(ann, of_row), "SCAN"));
    assert_non_null(strstr(sql(&town.server, of_row), "satchel_conflict_loser_key"));
    assert_null(strstr(sql(&town.server, of_row), "SCAN"));
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_volume__bodies_that_compress_well_are_counted_as_they_travel),
        cmocka_unit_test(test_volume__a_document_keeps_its_number),
        cmocka_unit_test(test_volume__documents_of_a_large_import_keep_theirs),
        cmocka_unit_test(test_volume__documents_of_two_series_keep_theirs),
        cmocka_unit_test(test_volume__a_change_set_with_a_reason_for_each_part_is_given_back),
        cmocka_unit_test(test_volume__a_row_that_leaves_between_two_pages_leaves_before_the_news),
        cmocka_unit_test(test_volume__an_import_is_told_once_for_all_pages_of_rows_that_come),
        cmocka_unit_test(test_volume__a_row_with_many_conflicts),
        cmocka_unit_test(test_volume__conflicts_of_a_row_are_found_by_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
