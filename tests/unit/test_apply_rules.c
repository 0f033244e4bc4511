/* What a node's entries do to a replica where rules combine, where a follower waits for its leader,
 * and where rows are merged: a scripted node against real files. */
#include "node_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char SCHEMA[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE item(\n"
    "  id TEXT PRIMARY KEY,\n"
    "  phone TEXT, -- @key\n"
    "  tags TEXT,  -- @set\n"
    "  stage TEXT, -- @state(deal)\n"
    "  why TEXT,   -- @follows(stage)\n"
    "  note TEXT,\n"
    "  prefs TEXT  -- @map\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE part(id TEXT PRIMARY KEY, item TEXT REFERENCES item(id), size INTEGER);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE remark(id TEXT PRIMARY KEY, about_type TEXT, about TEXT -- @lww "
    "@ref(about_type)\n"
    ");\n"
    "CREATE VIEW satchel_states AS SELECT 'deal' AS machine, 'none' AS code, 0 AS rank, 0 AS "
    "closed, '[]' AS back_to WHERE 0;\n";
enum { PHONE = 1, TAGS = 2, STAGE = 3, WHY = 4, NOTE = 5, PREFS = 6 };

static int set_up(void **state)
{
    static struct node_kit kit;
    node_kit_open(&kit, SCHEMA);
    *state = &kit;
    return 0;
}

static int tear_down(void **state)
{
    node_kit_close(*state);
    return 0;
}

#define CASE(name) static void test_apply__##name(void **state)

static void other_applies(struct node_kit *kit)
{
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
}

static void own_applies(struct node_kit *kit, uint64_t number)
{
    struct satchel_entry entry = entry_of_own(kit, number);
    apply_entry(kit, &entry);
}

static void other_inserts_item(struct node_kit *kit, const char *id)
{
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, id, NULL);
    other_applies(kit);
}

static void other_changes(struct node_kit *kit, const char *id, uint32_t column, const char *text)
{
    struct satchel_field fields[] = {{column, text_of(text)}, {0}};
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, id, fields);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, id, fields);
    other_applies(kit);
}

/* ---- operations ---- */

CASE(an_operation_that_stands_has_the_value_it_makes_of_the_default)
{
    struct node_kit *kit = *state;
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a",
               FIELDS(TEXT_FIELD(TAGS, "[\"x\"]"), TEXT_FIELD(STAGE, "new")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT tags, stage, why FROM item", "[\"x\"]|new|null");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a",
               FIELDS(TEXT_FIELD(STAGE, "[\"new\",\"sent\"]"), TEXT_FIELD(WHY, "w")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT tags, stage, why FROM item", "[\"x\"]|sent|w");
}

CASE(a_set_and_a_map_show_the_nodes_elements_and_the_pending_changes)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_changes(kit, "a", TAGS, "[\"x\"]");
    other_changes(kit, "a", PREFS, "{\"k\":1}");
    node_kit_sql(kit, "UPDATE item SET tags = '[\"y\"]', prefs = '{\"k\":1,\"l\":2}'");
    other_changes(kit, "a", TAGS, "[\"x\",\"z\"]");
    other_changes(kit, "a", PREFS, "{\"k\":3}");
    node_kit_expect(kit, "SELECT tags, prefs FROM item", "[\"y\",\"z\"]|{\"k\":3,\"l\":2}");
    node_kit_sql(kit, "UPDATE item SET tags = '[]'");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "1");
    assert_int_equal(exception_seq(kit, 2, TAGS), -1);
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a",
                 FIELDS(TEXT_FIELD(TAGS, "[\"y\",\"z\"]"), TEXT_FIELD(PREFS, "{\"k\":3,\"l\":2}")));
    own_applies(kit, 1);
    node_kit_expect(kit, "SELECT tags, prefs FROM item", "[]|{\"k\":3,\"l\":2}");
}

/* What the table shows is what the application wrote, until the node answers. */
CASE(an_own_entry_brings_the_form_that_everybody_stores)
{
    struct node_kit *kit = *state;
    node_kit_sql(kit, "INSERT INTO item(id, phone, tags) VALUES('a', ' 123 ', '[2, 1, 2]')");
    node_kit_expect(kit, "SELECT phone, tags FROM item", " 123 |[2, 1, 2]");
    own_comes_back(kit, 1);
    node_kit_expect(kit, "SELECT phone, tags FROM item", "123|[1,2]");
    node_kit_sql(kit, "UPDATE item SET phone = '123 '");
    own_comes_back(kit, 2);
    node_kit_expect(kit, "SELECT phone FROM item", "123");
}

/* ---- followers ---- */

CASE(a_pending_leader_hides_leader_and_followers_together)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_changes(kit, "a", STAGE, "new");
    node_kit_sql(kit, "UPDATE item SET stage = 'sent'");
    other_changes(kit, "a", WHY, "because");
    node_kit_expect(kit, "SELECT stage, why FROM item", "sent|null");
    node_kit_sql(kit, "UPDATE item SET why = 'mine'");
    assert_int_equal(exception_seq(kit, 2, STAGE), 2);
}

CASE(a_pending_follower_is_shown_while_its_leader_is_what_it_was)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_changes(kit, "a", STAGE, "new");
    node_kit_sql(kit, "UPDATE item SET why = 'mine'");
    other_changes(kit, "a", NOTE, "n");
    node_kit_expect(kit, "SELECT stage, why, note FROM item", "new|mine|n");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a",
               FIELDS(TEXT_FIELD(STAGE, "[\"new\",\"sent\"]"), TEXT_FIELD(WHY, "theirs")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT stage, why FROM item", "sent|theirs");
    /* Nothing of the unit is hidden: what is written now had seen it all. */
    node_kit_sql(kit, "UPDATE item SET why = 'mine again'");
    assert_int_equal(exception_seq(kit, 2, STAGE), -1);
    assert_int_equal(seen_seq(kit, 2), 4);
    entry_begin(kit);
    entry_unlike(kit, 0);
    own_applies(kit, 1);
    node_kit_expect(kit, "SELECT stage, why FROM item", "sent|mine again");
    other_changes(kit, "a", STAGE, "won");
    node_kit_expect(kit, "SELECT stage, why FROM item", "won|theirs");
}

CASE(a_pending_follower_stands_on_a_pending_leader)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    node_kit_sql(kit, "UPDATE item SET stage = 'sent'; UPDATE item SET why = 'mine'");
    other_changes(kit, "a", STAGE, "won");
    node_kit_expect(kit, "SELECT stage, why FROM item", "sent|mine");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a",
                 FIELDS(TEXT_FIELD(STAGE, "won"), TEXT_FIELD(WHY, "theirs")));
    own_applies(kit, 1);
    node_kit_expect(kit, "SELECT stage, why FROM item", "won|theirs");
}

CASE(a_follower_that_the_node_took_is_shown_on_whatever_leader_there_is)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    node_kit_sql(kit, "UPDATE item SET stage = 'sent', why = 'one'");
    node_kit_sql(kit, "UPDATE item SET why = 'two'");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a",
                 FIELDS(TEXT_FIELD(STAGE, "won"), TEXT_FIELD(WHY, "one")));
    own_applies(kit, 1); /* the leader lost; what was written beside it waits */
    node_kit_expect(kit, "SELECT stage, why FROM item", "won|one");
    entry_begin(kit);
    own_applies(kit, 2); /* and counts for the leader that won */
    node_kit_expect(kit, "SELECT stage, why FROM item", "won|two");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

/* ---- rows that are merged ---- */

/* `id` becomes an alias of `into` by another's write. */
static void other_merges(struct node_kit *kit, const char *id, const char *into)
{
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, id, FIELDS(TEXT_FIELD(PHONE, "5")));
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, into, FIELDS(TEXT_FIELD(PHONE, "5")));
    entry_alias(kit, id, into);
    other_applies(kit);
}

CASE(an_alias_leaves_the_table_and_comes_back)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_inserts_item(kit, "b");
    other_merges(kit, "b", "a");
    node_kit_expect(kit, "SELECT id, phone FROM item", "a|5");
    node_kit_expect(kit, "SELECT key FROM satchel_alias", "b");
    /* Who had not seen it writes the alias: the effects say what comes of it. */
    other_changes(kit, "a", NOTE, "x");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "b", FIELDS(TEXT_FIELD(NOTE, "y")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT id, note FROM item", "a|x");
    entry_begin(kit);
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "b", FIELDS(TEXT_FIELD(NOTE, "y")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT id, note FROM item ORDER BY id", "a|x;b|y");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_alias", "0");
}

CASE(an_own_insert_that_is_merged_is_the_other_row)
{
    struct node_kit *kit = *state;
    node_kit_sql(kit, "INSERT INTO item(id, phone, note) VALUES('mine', '5', 'n')");
    node_kit_sql(kit, "UPDATE item SET note = 'later'");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a", FIELDS(TEXT_FIELD(PHONE, "5")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT id, note FROM item ORDER BY id", "a|null;mine|later");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(NOTE, "n")));
    entry_alias(kit, "mine", "a");
    own_applies(kit, 1);
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|later");
    node_kit_sql(kit, "UPDATE item SET note = 'last'");
    assert_int_equal(exception_seq(kit, 3, NOTE), 1);
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(NOTE, "later")));
    own_applies(kit, 2);
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|last");
    own_comes_back(kit, 3);
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|last");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

CASE(pending_writes_move_to_the_row_that_stands_for_theirs_and_back)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_changes(kit, "a", NOTE, "a's");
    other_inserts_item(kit, "b");
    other_changes(kit, "b", NOTE, "b's");
    node_kit_sql(kit, "UPDATE item SET note = 'mine' WHERE id = 'b'");
    other_merges(kit, "b", "a");
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|mine");
    node_kit_reopen_sync(kit);
    other_changes(kit, "a", NOTE, "a's again");
    node_kit_expect(kit, "SELECT id, note FROM item", "a|mine");
    entry_begin(kit);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(PHONE, "6")));
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "b",
                 FIELDS(TEXT_FIELD(PHONE, "5"), TEXT_FIELD(NOTE, "b's")));
    other_applies(kit);
    node_kit_expect(kit, "SELECT id, phone, note FROM item ORDER BY id", "a|6|a's again;b|5|mine");
    own_comes_back(kit, 1);
    node_kit_expect(kit, "SELECT id, phone, note FROM item ORDER BY id", "a|6|a's again;b|5|mine");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

CASE(the_aliases_of_a_row_go_with_it)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "b");
    other_inserts_item(kit, "c");
    node_kit_sql(kit, "UPDATE item SET note = 'mine' WHERE id = 'c'");
    other_merges(kit, "c", "b");
    node_kit_expect(kit, "SELECT id, note FROM item", "b|mine");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a", FIELDS(TEXT_FIELD(PHONE, "5")));
    entry_alias(kit, "b", "a");
    other_applies(kit);
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|mine");
    node_kit_expect(kit, "SELECT count(*), count(DISTINCT survivor) FROM satchel_alias", "2|1");
}

CASE(pending_fields_that_point_at_an_alias_point_at_the_row_that_stands_for_it)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_inserts_item(kit, "b");
    node_kit_sql(kit, "INSERT INTO part VALUES('p', 'b', 1);"
                      "INSERT INTO remark VALUES('r', 'item', 'b'), ('s', 'part', 'b')");
    other_merges(kit, "b", "a");
    node_kit_expect(kit, "SELECT item FROM part", "a");
    node_kit_expect(kit, "SELECT id, about FROM remark ORDER BY id", "r|a;s|b");
}

/* Such a row is none of its own, whatever the application thinks. */
CASE(a_row_inserted_again_as_an_alias_goes_when_the_node_answers)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_inserts_item(kit, "b");
    other_merges(kit, "b", "a");
    node_kit_sql(kit, "INSERT INTO item(id, note) VALUES('b', 'again')");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(NOTE, "again")));
    own_applies(kit, 1);
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|again");
}

/* What the delete replaced is told, whatever was inserted under the name of an alias before it. */
CASE(a_row_deleted_behind_an_insert_of_its_alias_is_what_the_node_has)
{
    struct node_kit *kit = *state;
    other_inserts_item(kit, "a");
    other_inserts_item(kit, "b");
    other_merges(kit, "b", "a");
    node_kit_sql(kit, "UPDATE item SET note = 'mine' WHERE id = 'a'");
    node_kit_sql(kit, "INSERT INTO item(id, note) VALUES('b', 'again')");
    node_kit_sql(kit, "DELETE FROM item WHERE id = 'a'");
    other_changes(kit, "a", NOTE, "theirs");
    for (uint64_t number = 1; number <= 3; number++) {
        entry_begin(kit);
        entry_unlike(kit, 0);
        if (number == 3)
            entry_unlike(kit, 1); /* of the alias */
        own_applies(kit, number);
    }
    node_kit_expect(kit, "SELECT id, phone, note FROM item", "a|5|theirs");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_apply__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_operation_that_stands_has_the_value_it_makes_of_the_default),
        TEST(a_set_and_a_map_show_the_nodes_elements_and_the_pending_changes),
        TEST(an_own_entry_brings_the_form_that_everybody_stores),
        TEST(a_pending_leader_hides_leader_and_followers_together),
        TEST(a_pending_follower_is_shown_while_its_leader_is_what_it_was),
        TEST(a_pending_follower_stands_on_a_pending_leader),
        TEST(a_follower_that_the_node_took_is_shown_on_whatever_leader_there_is),
        TEST(an_alias_leaves_the_table_and_comes_back),
        TEST(an_own_insert_that_is_merged_is_the_other_row),
        TEST(pending_writes_move_to_the_row_that_stands_for_theirs_and_back),
        TEST(the_aliases_of_a_row_go_with_it),
        TEST(pending_fields_that_point_at_an_alias_point_at_the_row_that_stands_for_it),
        TEST(a_row_inserted_again_as_an_alias_goes_when_the_node_answers),
        TEST(a_row_deleted_behind_an_insert_of_its_alias_is_what_the_node_has),
    };
    return cmocka_run_group_tests_name("apply_rules", tests, NULL, NULL);
}
