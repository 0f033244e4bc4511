/* Rows of a replica that are not the node's are found and repaired, whatever is wrong with them and
 * whatever is pending on them; where nothing is wrong, nothing is. */
#include "phone_kit.h"

static const char ALL[] =
    "SELECT id, title, owner, code, hits, prefs, tags FROM item ORDER BY id LIMIT 60";

static void expect(struct phone *phone, const char *sql, const char *expected)
{
    assert_string_equal(phone_read(phone, sql), expected);
}

static void expect_repaired(struct phone *phone, uint64_t count)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)count);
    expect(phone, "SELECT coalesce(repaired, 0) FROM satchel_status", text);
    expect(phone, "SELECT last_repair NOTNULL FROM satchel_status", count > 0 ? "1" : "0");
    assert_int_equal(phone->repaired_count, count);
}

/* A town with a phone that has so many items. */
static struct phone *open_town(struct town *town, unsigned item_count)
{
    char sql[256];
    town_open(town);
    struct phone *phone = town_join(town);
    snprintf(sql, sizeof sql,
             "INSERT INTO item(id, title) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1"
             " FROM n WHERE i < %u) SELECT printf('i%%05d', i), 'title ' || i FROM n",
             item_count);
    phone_write(phone, sql);
    phone_sync(phone);
    return phone;
}

/* Syncs, and expects everything to be as it was. */
static void expect_mended(struct phone *phone, const char *damage, uint64_t row_count)
{
    char before[8192];
    uint64_t repaired_count = phone->repaired_count;
    snprintf(before, sizeof before, "%s", phone_read(phone, ALL));
    phone_damage(phone, damage);
    phone_sync(phone);
    expect(phone, ALL, before);
    expect_repaired(phone, repaired_count + row_count);
}

static void test_repair__where_nothing_is_wrong_nothing_is_done(void **state)
{
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 30);
    uint64_t pushed_count = phone->pushed_count;
    phone_sync(phone);
    expect_repaired(phone, 0);
    assert_int_equal(phone->pushed_count, pushed_count);
    assert_int_equal(phone->ranges_count, 0);
    town_settle(&town);
    town_close(&town);
}

static void test_repair__a_row_changed_added_or_missing_is_as_the_node_has_it(void **state)
{
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 30);
    expect_mended(phone, "UPDATE item SET title = 'titlf 7' WHERE id = 'i00007'", 1);
    expect_mended(phone, "DELETE FROM item WHERE id IN ('i00001', 'i00030')", 2);
    expect_mended(phone, "INSERT INTO item(id, title) VALUES('i00007x', 'y'), ('', 'z')", 2);
    expect_mended(phone, "UPDATE item SET id = 'I00009' WHERE id = 'i00009'", 2);
    expect_mended(phone, "UPDATE item SET hits = hits + 1, tags = '[' WHERE id = 'i00003'", 1);
    expect_mended(phone, "UPDATE item SET title = CAST(title AS BLOB) WHERE id = 'i00004'", 1);
    expect_mended(phone, "DELETE FROM item", 30);
    town_settle(&town);
    town_close(&town);
}

static void test_repair__few_ranges_are_asked_for_of_many_rows(void **state)
{
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 5000);
    expect_mended(phone, "UPDATE item SET owner = 'x' WHERE id = 'i03333'", 1);
    assert_true(phone->ranges_count <= 2);
    expect_mended(phone, "DELETE FROM item WHERE rowid % 7 = 0", 714);
    town_close(&town);
}

static void test_repair__pending_writes_stay_and_what_is_beneath_is_mended(void **state)
{
    static const struct {
        const char *damage, *write, *shown;
    } cases[] = {
        /* a column that is not written; one that is */
        {"UPDATE item SET owner = 'x' WHERE id = 'i00002'",
         "UPDATE item SET title = 'mine' WHERE id = 'i00002'", "mine|null|null|0|{}|[]"},
        {"UPDATE item SET title = 'x' WHERE id = 'i00002'",
         "UPDATE item SET title = 'mine' WHERE id = 'i00002'", "mine|null|null|0|{}|[]"},
        {"UPDATE item SET hits = 40 WHERE id = 'i00002'",
         "UPDATE item SET hits = hits + 2 WHERE id = 'i00002'", "title 2|null|null|2|{}|[]"},
        {"DELETE FROM item WHERE id = 'i00002'",
         "INSERT INTO item(id, tags) VALUES('i00002', '[\"a\"]')", NULL},
        {"UPDATE item SET code = 'x' WHERE id = 'i00002'", "DELETE FROM item WHERE id = 'i00002'",
         ""},
        {"INSERT INTO item(id, title) VALUES('new', 'x')",
         "UPDATE item SET hits = 1 WHERE id = 'new'", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct town town;
        struct phone *phone = open_town(&town, 5), *other = town_join(&town);
        phone_damage(phone, cases[i].damage);
        phone->writes_at_rows = cases[i].write;
        phone_sync(phone);
        if (cases[i].shown)
            expect(phone,
                   "SELECT title, owner, code, hits, prefs, tags FROM item WHERE id = 'i00002'",
                   cases[i].shown);
        phone_sync(phone);
        phone_sync(other);
        assert_true(phone_is_uploaded(phone));
        expect(other, "SELECT count(*) FROM item", phone_read(phone, "SELECT count(*) FROM item"));
        expect(phone, "SELECT coalesce(repaired, 0) > 0 FROM satchel_status", "1");
        town_settle(&town);
        town_close(&town);
    }
}

static void test_repair__what_waits_to_be_sent_is_no_difference(void **state)
{
    static const char *const writes[] = {
        "UPDATE item SET title = 'a', hits = hits + 1 WHERE id = 'i00002'",
        "DELETE FROM item WHERE id = 'i00002'",
        "INSERT INTO item(id, title) VALUES('i00002a', 'x')",
        "BEGIN; DELETE FROM item WHERE id = 'i00003'; INSERT INTO item(id) VALUES('i00003'); "
        "COMMIT",
        "UPDATE item SET id = 'moved' WHERE id = 'i00004'",
    };
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 5);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        phone->writes_at_digests = writes[i];
        phone_sync(phone);
        expect_repaired(phone, 0);
        assert_int_equal(phone->ranges_count, 0);
    }
    town_settle(&town);
    town_close(&town);
}

static void test_repair__a_damaged_server_is_not_copied(void **state)
{
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 5);
    fixture_damage(&town.server, "UPDATE item SET title = 'x' WHERE id = 'i00002'");
    phone_sync(phone);
    expect_repaired(phone, 0);
    expect(phone, "SELECT title FROM item WHERE id = 'i00002'", "title 2");
    town_close(&town);
}

/* Slices of a large table come every so often. */
static void sync_slices(struct phone *phone, int count)
{
    for (int i = 0; i < count; i++) {
        phone_damage(phone, "UPDATE satchel_replica SET checked_ms = NULL");
        phone_sync(phone);
    }
}

static void test_repair__a_large_table_is_gone_through_slice_by_slice(void **state)
{
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 20000);
    unsigned ranges_count = phone->ranges_count;
    phone_damage(phone, "UPDATE item SET owner = 'x' WHERE id IN ('i00010', 'i19990')");
    phone_sync(phone); /* not yet */
    assert_int_equal(phone->ranges_count, ranges_count);
    expect_repaired(phone, 0);
    sync_slices(phone, 2);
    expect_repaired(phone, 2);
    expect(phone, "SELECT count(owner) FROM item", "0");
    sync_slices(phone, 3);
    expect_repaired(phone, 2);
    fixture_damage(&town.server, "UPDATE item SET owner = 'x' WHERE id = 'i00010'");
    sync_slices(phone, 2);
    expect_repaired(phone, 2);
    expect(phone, "SELECT count(owner) FROM item", "0");
    town_close(&town);
}

static void test_repair__a_device_that_watches_compares_again(void **state)
{
    struct town town;
    (void)state;
    struct phone *phone = open_town(&town, 30);
    assert_ok(phone_connect(phone));
    assert_ok(phone_talk(phone));
    assert_true(phone->is_done);
    phone_damage(phone, "DELETE FROM item WHERE id = 'i00004'");
    assert_ok(phone_talk(phone));
    expect_repaired(phone, 0);
    town.monotonic_ms += 600000;
    assert_ok(phone_talk(phone));
    expect_repaired(phone, 1);
    phone_hang_up(phone);
    town_settle(&town);
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair__where_nothing_is_wrong_nothing_is_done),
        cmocka_unit_test(test_repair__a_row_changed_added_or_missing_is_as_the_node_has_it),
        cmocka_unit_test(test_repair__few_ranges_are_asked_for_of_many_rows),
        cmocka_unit_test(test_repair__pending_writes_stay_and_what_is_beneath_is_mended),
        cmocka_unit_test(test_repair__what_waits_to_be_sent_is_no_difference),
        cmocka_unit_test(test_repair__a_damaged_server_is_not_copied),
        cmocka_unit_test(test_repair__a_large_table_is_gone_through_slice_by_slice),
        cmocka_unit_test(test_repair__a_device_that_watches_compares_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
