/* What a node's entries do to a replica, with and without pending local writes: a scripted node
 * against real files. */
#include "node_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int set_up(void **state)
{
    static struct node_kit kit;
    node_kit_open(&kit, NODE_KIT_SCHEMA);
    *state = &kit;
    return 0;
}

static int tear_down(void **state)
{
    node_kit_close(*state);
    return 0;
}

/* ---- rows without pending writes ---- */

static void test_apply__parts_as_they_stand_take_effect(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    other_inserts(kit, "b", "two");
    other_updates(kit, "a", BODY, text_of("text"));
    other_deletes(kit, "b");
    node_kit_expect(kit, "SELECT id, title, body, hits, done FROM item", "a|one|text|0|0");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_change", "0");
    node_kit_expect(kit, "SELECT cursor FROM satchel_replica", "4");
    node_kit_expect(kit, "SELECT cursor, seq, number, user FROM satchel_entry WHERE cursor = 3",
                    "3|3|3|bob");
}

static void test_apply__effects_are_whole_delta_gone_or_evict(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a", FIELDS(TEXT_FIELD(TITLE, "lost")));
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "new",
                 FIELDS(TEXT_FIELD(TITLE, "n"), INTEGER_FIELD(HITS, 7)));
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "absent", FIELDS(TEXT_FIELD(TITLE, "x")));
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "a", FIELDS(TEXT_FIELD(BODY, "b")));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT id, title, body, hits FROM item ORDER BY id",
                    "a|null|b|0;new|n|null|7");
    entry_begin(kit);
    entry_effect(kit, SATCHEL_EFFECT_EVICT, "a", NULL);
    entry_effect(kit, SATCHEL_EFFECT_GONE, "new", NULL);
    entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT count(*) FROM item", "0");
}

static void test_apply__a_row_that_is_evicted_takes_its_open_conflicts_along(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    other_inserts(kit, "b", "two");
    entry_begin(kit);
    entry_conflict(kit, "a", TITLE, "lost", "one", true);
    entry_conflict(kit, "a", BODY, "lost", "one", false);
    entry_conflict(kit, "a", DONE, "lost", "one", true);
    entry_conflict(kit, "b", CURRENCY, "lost", "two", true);
    entry_conflict_wrote(kit, "a");
    entry_conflict(kit, "b", TITLE, "lost", "two", true);
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    entry_begin(kit); /* it is one with a row that is not for this replica */
    entry_conflict(kit, "a", TITLE, "lost", "one", false);
    entry_effect(kit, SATCHEL_EFFECT_EVICT, "a", NULL);
    entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit,
                    "SELECT key, loser_key, field, resolved NOTNULL, opened NOTNULL"
                    " FROM satchel_conflict ORDER BY key, field",
                    "a|a|body|1|0;a|a|title|1|1;b|b|title|0|1");
}

/* Its log says what others did to it since. */
static void test_apply__a_row_that_left_and_is_made_anew_is_not_forgotten(void **state)
{
    struct node_kit *kit = *state;
    static const char forgotten[] = "SELECT count(*) FROM satchel_forget";
    for (int is_own = 0; is_own < 2; is_own++) {
        other_inserts(kit, "a", "one");
        entry_begin(kit);
        entry_effect(kit, SATCHEL_EFFECT_EVICT, "a", NULL);
        struct satchel_entry entry = entry_of_other(kit);
        apply_entry(kit, &entry);
        node_kit_expect(kit, forgotten, "1");
        if (is_own) {
            node_kit_sql(kit, "INSERT INTO item(id, title) VALUES('a', 'mine')");
            node_kit_expect(kit, forgotten, "1");
            own_comes_back(kit, 1);
        } else {
            other_inserts(kit, "a", "two");
        }
        node_kit_expect(kit, forgotten, "0");
    }
}

/* What another sync of the replica heard before a position came, this one hears behind it. */
static void test_apply__an_entry_that_is_here_gets_its_positions(void **state)
{
    struct node_kit *kit = *state;
    static const char positions[] = "SELECT length(positions), hex(substr(receipt, 1, 1))"
                                    " FROM satchel_receipt";
    struct satchel_position items[] = {{{{1}}, 5}, {{{2}}, 7}};
    struct satchel_vector both = {items, 2}, one = {items, 1};
    struct satchel_buffer packed[2];
    other_inserts(kit, "a", "one");
    node_kit_expect(kit, positions, "null|00");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a", FIELDS(TEXT_FIELD(TITLE, "one")));
    struct satchel_entry entry = entry_of_other(kit);
    entry.cursor = entry.seq = 1;
    satchel_buffer_init(&packed[0], 4096, NULL);
    satchel_buffer_init(&packed[1], 4096, NULL);
    assert_int_equal(satchel_vector_pack(&packed[0], &one), SATCHEL_OK);
    assert_int_equal(satchel_vector_pack(&packed[1], &both), SATCHEL_OK);
    const struct satchel_buffer *told[] = {&packed[0], &packed[1], &packed[0]};
    static const char *const known[] = {"20|A1", "39|A2", "39|A2"};
    for (size_t i = 0; i < 3; i++) {
        entry.positions = satchel_buffer_span(told[i]);
        entry.receipt.bytes[0] = (uint8_t)(0xa1 + i);
        apply_entry(kit, &entry);
        node_kit_expect(kit, positions, known[i]);
    }
    node_kit_expect(kit, "SELECT count(*) FROM satchel_entry", "1");
    satchel_buffer_deinit(&packed[0]);
    satchel_buffer_deinit(&packed[1]);
}

static void test_apply__an_entry_at_or_below_the_cursor_changes_nothing(void **state)
{
    struct node_kit *kit = *state;
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a", FIELDS(TEXT_FIELD(TITLE, "one")));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_sql(kit, "UPDATE item SET title = 'mine'");
    apply_entry(kit, &entry);
    node_kit_reopen_sync(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title FROM item", "mine");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_entry", "1");
    assert_int_equal(kit->apply->entry_count, 0);
}

static void test_apply__what_is_not_committed_leaves_no_trace(void **state)
{
    struct node_kit *kit = *state;
    struct satchel_error error = {0};
    node_kit_sql(kit, "INSERT INTO item(id, title) VALUES('mine', 'm')");
    entry_begin(kit);
    struct satchel_entry own = entry_of_own(kit, 1);
    assert_int_equal(satchel_apply_begin(kit->apply, true, &error), SATCHEL_OK);
    assert_int_equal(satchel_apply_entry(kit->apply, &own, &error), SATCHEL_OK);
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a", FIELDS(TEXT_FIELD(TITLE, "one")));
    struct satchel_entry other = entry_of_other(kit);
    assert_int_equal(satchel_apply_entry(kit->apply, &other, &error), SATCHEL_OK);
    node_kit_reopen_sync(kit); /* dies before the commit */
    node_kit_expect(kit, "SELECT id FROM item", "mine");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_change", "1");
    node_kit_expect(kit, "SELECT cursor FROM satchel_replica", "0");
    kit->cursor = kit->seq = kit->other_number = 0;
    own_comes_back(kit, 1);
    other_inserts(kit, "a", "one");
    node_kit_expect(kit, "SELECT id FROM item ORDER BY id", "a;mine");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_change", "0");
}

static void test_apply__values_that_change_places_under_a_unique_index_are_all_set(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    other_inserts(kit, "b", "two");
    node_kit_sql(kit, "CREATE UNIQUE INDEX item_title ON item(title)");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a",
               FIELDS(TEXT_FIELD(TITLE, "two"), TEXT_FIELD(BODY, "x")));
    entry_part(kit, SATCHEL_OP_UPDATE, "b", FIELDS(TEXT_FIELD(TITLE, "one")));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT id, title, body FROM item ORDER BY id", "a|two|x;b|one|null");
}

static void test_apply__a_unique_index_that_others_data_breaks_is_named_and_nothing_is_written(
    void **state)
{
    struct node_kit *kit = *state;
    struct satchel_error error = {0};
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "CREATE UNIQUE INDEX item_title ON item(title)");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "b", FIELDS(TEXT_FIELD(TITLE, "one")));
    struct satchel_entry entry = entry_of_other(kit);
    assert_int_equal(satchel_apply_begin(kit->apply, true, &error), SATCHEL_OK);
    assert_int_equal(satchel_apply_entry(kit->apply, &entry, &error), SATCHEL_SQL);
    assert_non_null(strstr(error.message, "item.title"));
    satchel_apply_rollback(kit->apply);
    node_kit_expect(kit, "SELECT count(*) FROM item", "1");
    node_kit_sql(kit, "DROP INDEX item_title");
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT count(*) FROM item", "2");
}

static void test_apply__bytes_that_no_node_sends_are_refused(void **state)
{
    struct node_kit *kit = *state;
    struct satchel_error error = {0};
    static const struct satchel_field BAD[] = {{99, {SATCHEL_NULL, {0}}}, {0}};
    for (int i = 0; i < 3; i++) {
        entry_begin(kit);
        entry_part(kit, SATCHEL_OP_UPDATE, "a", i == 0 ? BAD : FIELDS(TEXT_FIELD(TITLE, "x")));
        if (i == 1)
            kit->parts[0].table = 77;
        struct satchel_entry entry = entry_of_other(kit);
        if (i == 2)
            entry.body.size--;
        assert_int_equal(satchel_apply_begin(kit->apply, true, &error), SATCHEL_OK);
        assert_int_equal(satchel_apply_entry(kit->apply, &entry, &error), SATCHEL_CORRUPT);
        satchel_apply_rollback(kit->apply);
        kit->cursor--;
        kit->seq--;
    }
    node_kit_expect(kit, "SELECT cursor FROM satchel_replica", "0");
}

/* ---- pending writes ---- */

static void test_apply__an_own_entry_ends_the_pending_write_and_changes_nothing_shown(void **state)
{
    struct node_kit *kit = *state;
    node_kit_sql(kit, "INSERT INTO item(id, title) VALUES('a', 'one')");
    node_kit_sql(kit, "UPDATE item SET title = 'two'");
    own_comes_back(kit, 1);
    node_kit_expect(kit, "SELECT title FROM item", "two");
    node_kit_expect(kit, "SELECT number FROM satchel_change", "2");
    own_comes_back(kit, 2);
    node_kit_expect(kit, "SELECT title FROM item", "two");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_change", "0");
    node_kit_expect(kit, "SELECT last_number, cursor FROM satchel_replica", "2|2");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_entry WHERE length(body) > 1", "2");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__a_pending_field_is_shown_over_the_nodes_and_others_are_the_nodes(
    void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    other_updates(kit, "a", BODY, text_of("text"));
    node_kit_expect(kit, "SELECT title, body FROM item", "mine|text");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "1");
    own_comes_back(kit, 1);
    node_kit_expect(kit, "SELECT title, body FROM item", "mine|text");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__an_own_entry_that_lost_shows_the_winner(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine', body = 'b' WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a",
                 FIELDS(TEXT_FIELD(TITLE, "theirs"), TEXT_FIELD(BODY, "b")));
    entry_conflict(kit, "a", TITLE, "mine", "theirs", true);
    struct satchel_entry entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title, body FROM item", "theirs|b");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
    node_kit_expect(kit, "SELECT field, mine, theirs, resolved FROM satchel_conflicts",
                    "title|mine|theirs|null");
    assert_int_equal(kit->apply->conflict_count, 1);
}

static void test_apply__a_later_pending_write_stays_shown_when_the_first_comes_back(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine1' WHERE id = 'a'");
    node_kit_sql(kit, "UPDATE item SET title = 'mine2' WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(TITLE, "theirs")));
    struct satchel_entry entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title FROM item", "mine2");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(TITLE, "theirs")));
    entry = entry_of_own(kit, 2);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title FROM item", "theirs");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__a_counter_shows_the_nodes_sum_and_the_pending_deltas(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET hits = hits + 5 WHERE id = 'a'");
    node_kit_sql(kit, "UPDATE item SET hits = hits + 2 WHERE id = 'a'");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a", FIELDS(INTEGER_FIELD(HITS, 100)));
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(INTEGER_FIELD(HITS, 100)));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT hits FROM item", "107");
    for (uint64_t number = 1; number <= 2; number++) {
        entry_begin(kit);
        entry_unlike(kit, 0);
        entry_effect(kit, SATCHEL_EFFECT_DELTA, "a",
                     number == 1 ? FIELDS(INTEGER_FIELD(HITS, 105))
                                 : FIELDS(INTEGER_FIELD(HITS, 107)));
        entry = entry_of_own(kit, number);
        apply_entry(kit, &entry);
        node_kit_expect(kit, "SELECT hits FROM item", "107");
    }
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
    node_kit_sql(kit, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 3, HITS), -1);
}

static void test_apply__the_columns_of_a_group_move_together(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET amount = 5 WHERE id = 'a'");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a",
               FIELDS(INTEGER_FIELD(AMOUNT, 9), TEXT_FIELD(CURRENCY, "EUR")));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT amount, currency FROM item", "5|null");
    node_kit_sql(kit, "UPDATE item SET currency = 'USD' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 2, AMOUNT), 1);
}

static void test_apply__a_pending_insert_is_shown_over_the_nodes_row(void **state)
{
    struct node_kit *kit = *state;
    node_kit_sql(kit, "INSERT INTO item(id, title, hits) VALUES('a', 'mine', 2)");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_INSERT, "a",
               FIELDS(TEXT_FIELD(TITLE, "theirs"), TEXT_FIELD(BODY, "b"), INTEGER_FIELD(HITS, 10)));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title, body, hits FROM item", "mine|b|12");
    node_kit_sql(kit, "UPDATE item SET title = 'again' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 2, TITLE), 0);
    assert_int_equal(exception_seq(kit, 2, SATCHEL_COLUMN_ROW), -1);
    /* what the insert left out is shown, so it is seen */
    node_kit_sql(kit, "UPDATE item SET body = 'mine' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 3, BODY), -1);
    assert_int_equal(exception_seq(kit, 3, SATCHEL_COLUMN_ROW), -1);
}

static void test_apply__a_row_that_came_back_is_seen_but_for_what_is_pending(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    other_deletes(kit, "a");
    other_inserts(kit, "a", "two");
    node_kit_expect(kit, "SELECT title FROM item", "mine");
    node_kit_sql(kit, "UPDATE item SET body = 'more' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 2, BODY), -1);
    assert_int_equal(exception_seq(kit, 2, SATCHEL_COLUMN_ROW), -1);
    node_kit_sql(kit, "UPDATE item SET title = 'again' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 3, TITLE), 1);
}

static void test_apply__a_pending_delete_keeps_the_row_away_until_it_comes_back(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    other_updates(kit, "a", BODY, text_of("b"));
    node_kit_sql(kit, "DELETE FROM item WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    node_kit_expect(kit, "SELECT count(*) FROM item", "0");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "1");
    entry_begin(kit); /* the unseen edit won */
    entry_unlike(kit, 0);
    struct satchel_entry entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title, body FROM item", "theirs|b");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__an_edit_whose_row_was_deleted_stays_shown_until_the_node_answers(
    void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    other_deletes(kit, "a");
    node_kit_expect(kit, "SELECT id, title FROM item", "a|mine");
    node_kit_sql(kit, "UPDATE item SET body = 'more' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 2, SATCHEL_COLUMN_ROW), 1);
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "a", FIELDS(TEXT_FIELD(TITLE, "mine")));
    struct satchel_entry entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT id, title, body FROM item", "a|mine|more");
    own_comes_back(kit, 2);
    node_kit_expect(kit, "SELECT id, title, body FROM item", "a|mine|more");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__what_a_constraint_refuses_of_pending_and_node_together_shows_the_nodes(
    void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "CREATE TRIGGER full_i BEFORE INSERT ON item WHEN new.hits > 9"
                      " BEGIN SELECT RAISE(ABORT, 'full'); END;"
                      "CREATE TRIGGER full_u BEFORE UPDATE ON item WHEN new.hits > 9"
                      " BEGIN SELECT RAISE(ABORT, 'full'); END");
    node_kit_sql(kit, "UPDATE item SET hits = hits + 6 WHERE id = 'a'");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a", FIELDS(INTEGER_FIELD(HITS, 5)));
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(INTEGER_FIELD(HITS, 5)));
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title, hits FROM item", "one|5");
    node_kit_expect(kit, "SELECT number FROM satchel_change", "1");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_WHOLE, "a",
                 FIELDS(TEXT_FIELD(TITLE, "one"), INTEGER_FIELD(HITS, 5)));
    entry_quarantined(kit, 0, "full");
    entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title, hits FROM item", "one|5");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__a_quarantined_row_shows_the_nodes_value_again(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "BEGIN; UPDATE item SET title = 'bad' WHERE id = 'a';"
                      "INSERT INTO item(id) VALUES('n'); DELETE FROM item WHERE id = 'zz'; COMMIT");
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_unlike(kit, 1);
    entry_quarantined(kit, 0, "not allowed");
    entry_quarantined(kit, 1, "not allowed");
    struct satchel_entry entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT id, title FROM item", "a|one");
    assert_int_equal(kit->apply->quarantined_count, 2);
    node_kit_expect(kit, "SELECT refused FROM satchel_replica", "2");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_history WHERE outcome = 'quarantined'", "2");
}

/* ---- what pending writes had been shown ---- */

static void test_apply__a_part_that_was_set_aside_may_be_of_any_shape(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a", FIELDS(TEXT_FIELD(99, "no such column")));
    entry_part(kit, SATCHEL_OP_UPDATE, "a", FIELDS(TEXT_FIELD(TITLE, "two")));
    entry_unlike(kit, 0);
    entry_quarantined(kit, 0, "item has no column 99");
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT id, title FROM item", "a|two");
}

static void test_apply__only_what_was_hidden_is_an_exception_to_seen(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    other_updates(kit, "a", DONE, number_of(1));
    other_updates(kit, "a", TITLE, text_of("theirs")); /* seq 3: hidden */
    other_updates(kit, "a", TITLE, text_of("again"));
    node_kit_sql(kit, "UPDATE item SET title = 'mine2' WHERE id = 'a'");
    assert_int_equal(seen_seq(kit, 2), 4);
    assert_int_equal(exception_seq(kit, 2, TITLE), 2);
    node_kit_sql(kit, "UPDATE item SET done = 2 WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 3, TITLE), -1);
    assert_int_equal(exception_seq(kit, 3, DONE), -1);
    own_comes_back(kit, 1);
    node_kit_sql(kit, "UPDATE item SET title = 'mine3' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 4, TITLE), 2); /* 2 is still pending */
}

static void test_apply__an_exception_ends_with_the_units_last_pending_write(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    node_kit_sql(kit, "UPDATE item SET body = 'b' WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    entry_begin(kit);
    entry_unlike(kit, 0);
    entry_effect(kit, SATCHEL_EFFECT_DELTA, "a", FIELDS(TEXT_FIELD(TITLE, "theirs")));
    struct satchel_entry entry = entry_of_own(kit, 1);
    apply_entry(kit, &entry);
    node_kit_expect(kit, "SELECT title, body FROM item", "theirs|b");
    node_kit_sql(kit, "UPDATE item SET title = 'knowing' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 3, TITLE), -1);
    assert_int_equal(seen_seq(kit, 3), 3);
}

static void test_apply__a_write_that_lost_without_effect_is_hidden_all_the_same(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    entry_begin(kit);
    entry_part(kit, SATCHEL_OP_UPDATE, "a", FIELDS(TEXT_FIELD(TITLE, "late")));
    entry_unlike(kit, 0);
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
    node_kit_sql(kit, "UPDATE item SET title = 'mine2' WHERE id = 'a'");
    assert_int_equal(exception_seq(kit, 2, TITLE), 1);
}

/* ---- the application's own triggers ---- */

static void test_apply__a_row_larger_than_a_change_set_may_have_pending_writes(void **state)
{
    struct node_kit *kit = *state;
    other_inserts(kit, "a", "t");
    char *large = sqlite3_mprintf("UPDATE item SET %%s = printf('%%%%.*c', %u, 'x')",
                                  SATCHEL_CHANGESET_BYTES_MAX - (1u << 20));
    static const char *const columns[] = {"body", "currency", "title"};
    for (uint64_t i = 0; i < 3; i++) {
        char *sql = sqlite3_mprintf(large, columns[i]);
        node_kit_sql(kit, sql);
        sqlite3_free(sql);
        own_comes_back(kit, i + 1);
    }
    sqlite3_free(large);
    node_kit_sql(kit, "UPDATE item SET done = 1");
    other_updates(kit, "a", DONE, number_of(2));
    node_kit_expect(kit, "SELECT done, length(title) > 1000 FROM item", "1|1");
    node_kit_sql(kit, "UPDATE item SET done = 3"); /* what is kept of the row does not travel */
    assert_int_equal(exception_seq(kit, 5, DONE), 4);
    own_comes_back(kit, 4);
    own_comes_back(kit, 5);
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
}

static void test_apply__a_search_index_kept_by_triggers_is_right_after_an_apply(void **state)
{
    struct node_kit *kit = *state;
    node_kit_sql(kit, "CREATE VIRTUAL TABLE search USING fts5(id UNINDEXED, title);"
                      "CREATE TRIGGER search_i AFTER INSERT ON item BEGIN"
                      " INSERT INTO search VALUES(new.id, new.title); END;"
                      "CREATE TRIGGER search_u AFTER UPDATE ON item BEGIN"
                      " UPDATE search SET title = new.title WHERE id = new.id; END;"
                      "CREATE TRIGGER search_d AFTER DELETE ON item BEGIN"
                      " DELETE FROM search WHERE id = old.id; END;");
    other_inserts(kit, "a", "red fox");
    other_inserts(kit, "b", "blue fox");
    other_updates(kit, "a", TITLE, text_of("green fox"));
    other_deletes(kit, "b");
    node_kit_expect(kit, "SELECT id, title FROM search WHERE search MATCH 'fox'", "a|green fox");
    node_kit_sql(kit, "UPDATE item SET title = 'mine fox' WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    node_kit_expect(kit, "SELECT title FROM search WHERE search MATCH 'fox'", "mine fox");
}

static void test_apply__a_guarded_trigger_sees_that_an_entry_is_applied(void **state)
{
    struct node_kit *kit = *state;
    node_kit_sql(kit, "CREATE TRIGGER copy AFTER INSERT ON item WHEN NOT satchel_applying() BEGIN"
                      " UPDATE item SET body = 'made here' WHERE id = new.id; END;");
    node_kit_reopen_sync(kit);
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "INSERT INTO item(id) VALUES('b')");
    node_kit_expect(kit, "SELECT id, body FROM item ORDER BY id", "a|null;b|made here");
}

static void test_apply__an_unguarded_trigger_is_refused_by_name(void **state)
{
    struct node_kit *kit = *state;
    struct satchel_error error = {0};
    struct satchel_apply *apply;
    node_kit_sql(kit, "CREATE TRIGGER meddler AFTER INSERT ON item BEGIN"
                      " UPDATE item SET body = 'x' WHERE id = new.id; END;");
    assert_int_equal(satchel_apply_new(&apply, kit->sync_replica, &error), SATCHEL_SCHEMA);
    assert_non_null(strstr(error.message, "meddler"));
    node_kit_sql(kit, "DROP TRIGGER meddler");
}

/* ---- migrations ---- */

static void test_apply__a_column_added_under_pending_writes_has_its_default(void **state)
{
    struct node_kit *kit = *state;
    struct satchel_error error = {0};
    struct satchel_migration migration = {
        2, satchel_span_text("002_more.sql"),
        satchel_span_text("ALTER TABLE item ADD COLUMN extra TEXT "
                          "DEFAULT 'd';")};
    struct satchel_message_schema schema = {&migration, 1};
    other_inserts(kit, "a", "one");
    node_kit_sql(kit, "UPDATE item SET title = 'mine' WHERE id = 'a'");
    other_updates(kit, "a", TITLE, text_of("theirs"));
    assert_int_equal(satchel_apply_begin(kit->apply, true, &error), SATCHEL_OK);
    assert_int_equal(satchel_apply_migrate(kit->apply, &schema, &error), SATCHEL_OK);
    assert_int_equal(satchel_apply_commit(kit->apply, &error), SATCHEL_OK);
    other_updates(kit, "a", BODY, text_of("b"));
    other_updates(kit, "a", DONE + 1, text_of("e"));
    other_inserts(kit, "b", "two");
    node_kit_expect(kit, "SELECT id, title, body, extra FROM item ORDER BY id",
                    "a|mine|b|e;b|two|null|d");
    own_comes_back(kit, 1);
    node_kit_expect(kit, "SELECT title, body, extra FROM item WHERE id = 'a'", "mine|b|e");
}

/* ---- all together ---- */

/* Whatever is pending, when everything has come back the replica shows what the node has. */
static void test_apply__a_table_without_pending_writes_is_the_nodes(void **state)
{
    struct node_kit *kit = *state;
    char sql[200];
    uint64_t number = 0, answered = 0;
    uint32_t random = 12345;
    other_inserts(kit, "a", "0");
    for (int i = 0; i < 400; i++) {
        random = random * 1664525u + 1013904223u;
        uint32_t dice = random >> 24;
        if (dice < 100) {
            snprintf(sql, sizeof sql, "UPDATE item SET %s = 'm%d' WHERE id = 'a'",
                     dice % 2 ? "title" : "body", i);
            node_kit_sql(kit, sql);
            number++;
        } else if (dice < 180) {
            char text[16];
            snprintf(text, sizeof text, "t%d", i);
            other_updates(kit, "a", dice % 2 ? TITLE : BODY, text_of(text));
        } else if (answered < number) {
            own_comes_back(kit, ++answered);
        }
        if (dice % 16 == 0)
            node_kit_reopen_sync(kit);
    }
    while (answered < number)
        own_comes_back(kit, ++answered);
    node_kit_expect(kit, "SELECT count(*) FROM satchel_base", "0");
    node_kit_expect(kit, "SELECT count(*) FROM satchel_change", "0");
    /* The last entry of each field is what the node has. */
    node_kit_expect(
        kit,
        "SELECT (SELECT new FROM satchel_history WHERE field = 'title' ORDER BY seq DESC LIMIT 1) "
        "IS title,"
        " (SELECT new FROM satchel_history WHERE field = 'body' ORDER BY seq DESC LIMIT 1) IS body"
        " FROM item",
        "1|1");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_apply__parts_as_they_stand_take_effect),
        TEST(test_apply__effects_are_whole_delta_gone_or_evict),
        TEST(test_apply__a_row_that_is_evicted_takes_its_open_conflicts_along),
        TEST(test_apply__a_row_that_left_and_is_made_anew_is_not_forgotten),
        TEST(test_apply__an_entry_that_is_here_gets_its_positions),
        TEST(test_apply__an_entry_at_or_below_the_cursor_changes_nothing),
        TEST(test_apply__what_is_not_committed_leaves_no_trace),
        TEST(test_apply__values_that_change_places_under_a_unique_index_are_all_set),
        TEST(test_apply__a_unique_index_that_others_data_breaks_is_named_and_nothing_is_written),
        TEST(test_apply__bytes_that_no_node_sends_are_refused),
        TEST(test_apply__an_own_entry_ends_the_pending_write_and_changes_nothing_shown),
        TEST(test_apply__a_pending_field_is_shown_over_the_nodes_and_others_are_the_nodes),
        TEST(test_apply__an_own_entry_that_lost_shows_the_winner),
        TEST(test_apply__a_later_pending_write_stays_shown_when_the_first_comes_back),
        TEST(test_apply__a_counter_shows_the_nodes_sum_and_the_pending_deltas),
        TEST(test_apply__the_columns_of_a_group_move_together),
        TEST(test_apply__a_pending_insert_is_shown_over_the_nodes_row),
        TEST(test_apply__a_row_that_came_back_is_seen_but_for_what_is_pending),
        TEST(test_apply__a_pending_delete_keeps_the_row_away_until_it_comes_back),
        TEST(test_apply__an_edit_whose_row_was_deleted_stays_shown_until_the_node_answers),
        TEST(test_apply__what_a_constraint_refuses_of_pending_and_node_together_shows_the_nodes),
        TEST(test_apply__a_quarantined_row_shows_the_nodes_value_again),
        TEST(test_apply__a_part_that_was_set_aside_may_be_of_any_shape),
        TEST(test_apply__only_what_was_hidden_is_an_exception_to_seen),
        TEST(test_apply__an_exception_ends_with_the_units_last_pending_write),
        TEST(test_apply__a_write_that_lost_without_effect_is_hidden_all_the_same),
        TEST(test_apply__a_row_larger_than_a_change_set_may_have_pending_writes),
        TEST(test_apply__a_search_index_kept_by_triggers_is_right_after_an_apply),
        TEST(test_apply__a_guarded_trigger_sees_that_an_entry_is_applied),
        TEST(test_apply__an_unguarded_trigger_is_refused_by_name),
        TEST(test_apply__a_column_added_under_pending_writes_has_its_default),
        TEST(test_apply__a_table_without_pending_writes_is_the_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
