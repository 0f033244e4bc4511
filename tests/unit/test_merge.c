/* The merge of batches into a store: what survives, what is in conflict, what is set aside, and
 * that neither the order of arrival nor the size of the batch shows in the result. */
#include "merge_kit.h"

#include <stdlib.h>

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

/* columns: 0 id, 1 name, 2 phone, 3 visits, 4 amount, 5 currency, 6 rating, 7 level */
static const char schema_sql[] = "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE account (\n"
                                 "  id TEXT PRIMARY KEY,\n"
                                 "  name TEXT NOT NULL DEFAULT '',\n"
                                 "  phone TEXT, -- @lww\n"
                                 "  visits INTEGER DEFAULT 0, -- @counter\n"
                                 "  amount INTEGER, -- @group(amount)\n"
                                 "  currency TEXT, -- @group(amount)\n"
                                 "  rating INTEGER, -- @max\n"
                                 "  level INTEGER CHECK (level BETWEEN 1 AND 5) -- @lww\n"
                                 ");\n"
                                 "-- @table scope=all delete=forbid append\n"
                                 "CREATE TABLE visit (id TEXT PRIMARY KEY, note TEXT);\n";

static const char open_conflicts[] =
    "SELECT tbl, key, field, rule, mine, theirs, kept, by_user FROM satchel_conflicts"
    " WHERE resolved IS NULL ORDER BY 1,2,3,5,8";

/* The account 'a' by device 1, at seq 1. */
static void open_with_account(struct kit *kit)
{
    kit_open(kit, schema_sql);
    assert_int_equal(
        kit_push(kit, 1, 1, 0, 0,
                 kit_part(kit, INSERT, "account", "a", 1, text("Acme"), 2, text("1"), -1)),
        0);
}

static void test_merge__different_fields_of_one_row_both_survive(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 1, text("Acme Ltd"), -1));
    kit_push(&kit, 3, 1, 500, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("555"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id, name, phone, visits FROM account"),
                        "a|Acme Ltd|555|0");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    struct satchel_notes notes = kit_notes(&kit, 3);
    assert_int_equal(notes.unlike_count, 0);
    kit_close(&kit);
}

static void test_merge__the_later_stamp_wins_whatever_arrives_first(void **state)
{
    (void)state;
    for (int first_is_later = 0; first_is_later < 2; first_is_later++) {
        struct kit kit;
        open_with_account(&kit);
        struct satchel_part early = kit_part(&kit, UPDATE, "account", "a", 2, text("early"), -1);
        struct satchel_part late = kit_part(&kit, UPDATE, "account", "a", 2, text("late"), -1);
        if (first_is_later) {
            kit_push(&kit, 3, 1, 9000, 1, late);
            kit_push(&kit, 2, 1, 1000, 1, early);
        } else {
            kit_push(&kit, 2, 1, 1000, 1, early);
            kit_push(&kit, 3, 1, 9000, 1, late);
        }
        assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), "late");
        assert_string_equal(kit_rows(&kit, open_conflicts),
                            "account|a|phone|lww|early|late|late|user2");
        struct satchel_notes notes = kit_notes(&kit, 3);
        assert_int_equal(notes.conflict_count, 1);
        /* the loser's author is told what the field has */
        assert_int_equal(notes.unlike_count, first_is_later);
        if (first_is_later) {
            assert_int_equal(notes.effects[0].kind, SATCHEL_EFFECT_DELTA);
            assert_int_equal(notes.effects[0].field_count, 1);
            struct satchel_value winner = text("late");
            assert_true(satchel_value_equal(&notes.effects[0].fields[0].value, &winner));
        }
        kit_close(&kit);
    }
}

static void test_merge__an_edit_that_knows_both_closes_the_conflict(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("two"), -1));
    kit_push(&kit, 3, 1, 9000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("three"), -1));
    /* its clock is behind both: knowing them is what counts */
    kit_push(&kit, 4, 1, 10, 3, kit_part(&kit, UPDATE, "account", "a", 2, text("four"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), "four");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    assert_string_equal(kit_rows(&kit, "SELECT mine, kept, resolved FROM satchel_conflicts"),
                        "two|four|1699996400010");
    kit_close(&kit);
}

static void test_merge__an_edit_that_saw_the_other_is_no_conflict_whatever_the_clocks_say(
    void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 9000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("two"), -1));
    kit_push(&kit, 3, 1, -900000, 2, kit_part(&kit, UPDATE, "account", "a", 2, text("three"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), "three");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_conflicts"), "0");
    kit_close(&kit);
}

static void test_merge__append_only_rows_are_all_there(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    for (uint8_t device = 2; device < 6; device++) {
        char key[2] = {(char)('0' + device), 0};
        kit_push(&kit, device, 1, 100, 1,
                 kit_part(&kit, INSERT, "visit", key, 1, text("seen"), -1));
    }
    assert_string_equal(kit_rows(&kit, "SELECT group_concat(id) FROM visit"), "2,3,4,5");
    assert_int_equal(
        kit_push(&kit, 2, 2, 200, 1, kit_part(&kit, UPDATE, "visit", "3", 1, text("changed"), -1)),
        1);
    assert_string_equal(kit_rows(&kit, "SELECT note FROM visit WHERE id='3'"), "seen");
    kit_close(&kit);
}

static void test_merge__counters_add_up_and_tell_the_sum(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 3, integer(5), -1));
    kit_push(&kit, 3, 1, 500, 1, kit_part(&kit, UPDATE, "account", "a", 3, integer(-2), -1));
    assert_string_equal(kit_rows(&kit, "SELECT visits FROM account"), "3");
    struct satchel_notes notes = kit_notes(&kit, 3);
    assert_int_equal(notes.unlike_count, 1);
    assert_int_equal(notes.effects[0].fields[0].value.integer, 3);
    kit_close(&kit);
}

static void test_merge__a_group_wins_or_loses_as_one(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 9000, 1,
             kit_part(&kit, UPDATE, "account", "a", 4, integer(100), 5, text("EUR"), -1));
    kit_push(&kit, 3, 1, 500, 1,
             kit_part(&kit, UPDATE, "account", "a", 4, integer(999), 5, text("USD"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT amount, currency FROM account"), "100|EUR");
    assert_string_equal(
        kit_rows(&kit, open_conflicts),
        "account|a|amount|group|{\"amount\":999,\"currency\":\"USD\"}|"
        "{\"amount\":100,\"currency\":\"EUR\"}|{\"amount\":100,\"currency\":\"EUR\"}|user3");
    kit_close(&kit);
}

static void test_merge__an_unseen_edit_revives_a_deleted_row(void **state)
{
    (void)state;
    for (int edit_is_first = 0; edit_is_first < 2; edit_is_first++) {
        struct kit kit;
        open_with_account(&kit);
        struct satchel_part remove = kit_part(&kit, DELETE, "account", "a", -1);
        struct satchel_part edit = kit_part(&kit, UPDATE, "account", "a", 2, text("edited"), -1);
        if (edit_is_first) {
            kit_push(&kit, 3, 1, 500, 1, edit);
            kit_push(&kit, 2, 1, 1000, 1, remove);
        } else {
            kit_push(&kit, 2, 1, 1000, 1, remove);
            assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), "0");
            kit_push(&kit, 3, 1, 500, 1, edit);
        }
        assert_string_equal(kit_rows(&kit, "SELECT id, name, phone FROM account"), "a|Acme|edited");
        assert_string_equal(kit_rows(&kit, open_conflicts),
                            "account|a||delete_vs_update|NULL|NULL|NULL|user2");
        struct satchel_notes notes = kit_notes(&kit, 3);
        assert_int_equal(notes.unlike_count, 1);
        assert_int_equal(notes.effects[0].kind, SATCHEL_EFFECT_WHOLE);
        kit_close(&kit);
    }
}

static void test_merge__a_delete_that_saw_everything_ends_the_row_and_its_conflicts(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("two"), -1));
    kit_push(&kit, 3, 1, 2000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("three"), -1));
    kit_push(&kit, 4, 1, 3000, 3, kit_part(&kit, DELETE, "account", "a", -1));
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), "0");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_conflicts"), "1");
    /* a new life */
    kit_push(&kit, 5, 1, 4000, 4, kit_part(&kit, INSERT, "account", "a", 1, text("Again"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id, name, phone FROM account"), "a|Again|NULL");
    kit_close(&kit);
}

static void test_merge__a_duplicate_is_acknowledged_and_changes_nothing(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part part = kit_part(&kit, UPDATE, "account", "a", 3, integer(5), -1);
    struct satchel_incoming twice[3];
    struct satchel_incoming_outcome outcomes[3];
    twice[0] = twice[1] = kit_changeset(&kit, 2, 1, 100, 1, &part, 1);
    kit_merge(&kit, twice, 2, outcomes); /* within one batch */
    assert_int_equal(outcomes[0].result, SATCHEL_INCOMING_MERGED);
    assert_int_equal(outcomes[0].cursor, 2);
    assert_int_equal(outcomes[1].result, SATCHEL_INCOMING_DUPLICATE);
    kit_reopen(&kit);
    kit_merge(&kit, twice, 1, outcomes);
    assert_int_equal(outcomes[0].result, SATCHEL_INCOMING_DUPLICATE);
    assert_string_equal(kit_rows(&kit, "SELECT visits FROM account"), "5");
    assert_string_equal(kit_rows(&kit, "SELECT cursor, seq FROM satchel_workspace"), "2|2");
    kit_close(&kit);
}

/* An entry is here without the position of an earlier incarnation, by which somebody has seen it
 * (w); it is given back with that (g), or is not here yet and is sent by its author as well (s). */
static void test_merge__positions_are_added_before_anybody_who_has_seen_them(void **state)
{
    (void)state;
    static const char *const batches[] = {"s wg", "s gw", " swg", " sgw", " gws"};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        struct kit kit;
        struct satchel_incoming batch[3];
        struct satchel_incoming_outcome outcomes[3];
        size_t count = 0;
        const struct satchel_position old = {kit_device(77), 5};
        open_with_account(&kit);
        struct satchel_part theirs = kit_part(&kit, UPDATE, "account", "a", 2, text("2"), -1);
        struct satchel_part mine = kit_part(&kit, UPDATE, "account", "a", 2, text("3"), -1);
        struct satchel_incoming sent = kit_changeset(&kit, 2, 1, 1000, 1, &theirs, 1);
        struct satchel_incoming given = sent;
        given.is_forwarded = true;
        given.positions = (struct satchel_vector){&old, 1};
        for (const char *step = batches[i]; *step; step++) {
            if (*step == ' ') {
                kit_merge(&kit, batch, count, outcomes);
                count = 0;
                continue;
            }
            batch[count++] = *step == 's'   ? sent
                             : *step == 'g' ? given
                                            : kit_changeset_seen(&kit, 3, 1, 500, &old, &mine, 1);
        }
        kit_merge(&kit, batch, count, outcomes);
        assert_string_equal(kit_rows(&kit, open_conflicts), "");
        assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), "3");
        assert_string_equal(kit_rows(&kit, "SELECT substr(hex(device), 1, 2), p.seq FROM"
                                           " satchel_position p JOIN satchel_entry USING(cursor)"),
                            "02|5");
        kit_close(&kit);
    }
}

static void test_merge__a_copied_replica_and_a_number_out_of_turn_are_refused(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part part = kit_part(&kit, UPDATE, "account", "a", 2, text("x"), -1);
    struct satchel_part other = kit_part(&kit, UPDATE, "account", "a", 2, text("y"), -1);
    struct satchel_incoming_outcome outcomes[4];
    struct satchel_incoming batch[4] = {
        kit_changeset(&kit, 2, 1, 100, 1, &part, 1),
        kit_changeset(&kit, 2, 1, 100, 1, &other, 1), /* the same number, something else */
        kit_changeset(&kit, 3, 2, 100, 1, &part, 1),  /* number 1 is missing */
        kit_changeset(&kit, 4, 1, 100, 99, &part, 1), /* has seen what does not exist */
    };
    kit_merge(&kit, batch, 4, outcomes);
    assert_int_equal(outcomes[0].result, SATCHEL_INCOMING_MERGED);
    assert_int_equal(outcomes[1].result, SATCHEL_INCOMING_REFUSED);
    assert_int_equal(outcomes[1].error.status, SATCHEL_MISMATCH);
    assert_int_equal(outcomes[2].error.status, SATCHEL_STATE);
    assert_int_equal(outcomes[3].error.status, SATCHEL_CORRUPT);
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_entry"), "2");
    kit_close(&kit);
}

static void test_merge__malformed_bytes_are_refused_and_the_rest_is_merged(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part part = kit_part(&kit, UPDATE, "account", "a", 2, text("x"), -1);
    struct satchel_incoming whole = kit_changeset(&kit, 2, 1, 100, 1, &part, 1);
    struct satchel_incoming_outcome outcomes[2];
    struct satchel_span body = whole.body;
    for (size_t size = 0; size < body.size; size++) {
        struct satchel_incoming cut = whole;
        cut.body.size = size;
        kit_merge(&kit, &cut, 1, outcomes);
        assert_int_equal(outcomes[0].result, SATCHEL_INCOMING_REFUSED);
        assert_int_equal(outcomes[0].error.status, SATCHEL_CORRUPT);
    }
    struct satchel_incoming batch[2] = {whole, whole};
    batch[0].device = kit_device(3);
    batch[0].body.size--;
    kit_merge(&kit, batch, 2, outcomes);
    assert_int_equal(outcomes[0].result, SATCHEL_INCOMING_REFUSED);
    assert_int_equal(outcomes[1].result, SATCHEL_INCOMING_MERGED);
    kit_close(&kit);
}

static void test_merge__one_bad_row_among_good_ones_is_set_aside_with_its_reason(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part bad_table = kit_part(&kit, INSERT, "account", "z", -1);
    bad_table.table = 77;
    struct satchel_part parts[] = {
        kit_part(&kit, INSERT, "account", "b", 1, text("B"), -1),
        kit_part(&kit, INSERT, "account", "c", 7, integer(9), -1),      /* CHECK */
        kit_part(&kit, UPDATE, "account", "a", 1, null(), -1),          /* NOT NULL */
        kit_part(&kit, UPDATE, "account", "nowhere", 2, text("x"), -1), /* no such row */
        bad_table,
        kit_part(&kit, INSERT, "account", "d", 33, text("x"), -1), /* no such column */
        kit_part(&kit, UPDATE, "account", "a", 3, text("x"), -1),  /* row twice, and no integer */
        kit_part(&kit, INSERT, "visit", "v", 1, text("fine"), -1),
        kit_part(&kit, INSERT, "account", "e", 2, integer(5), -1), /* TEXT would convert it */
    };
    struct satchel_incoming incoming = kit_changeset(&kit, 2, 1, 100, 1, parts, 9);
    struct satchel_incoming_outcome outcome;
    kit_merge(&kit, &incoming, 1, &outcome);
    assert_int_equal(outcome.result, SATCHEL_INCOMING_MERGED);
    assert_int_equal(outcome.quarantined_count, 7);
    assert_string_equal(kit_rows(&kit, "SELECT id, name FROM account ORDER BY id"), "a|Acme\nb|B");
    assert_string_equal(kit_rows(&kit, "SELECT id FROM visit"), "v");
    struct satchel_notes notes = kit_notes(&kit, 2);
    assert_int_equal(notes.quarantined_count, 7);
    assert_int_equal(notes.unlike_count, 7);
    for (uint32_t i = 0; i < notes.quarantined_count; i++)
        assert_true(notes.quarantined[i].reason.size > 10);
    assert_int_equal(notes.quarantined[0].part, 1);
    /* what the author wrote to 'c' is taken back on its replica */
    assert_int_equal(notes.effects[0].kind, SATCHEL_EFFECT_GONE);
    /* and a write to it waits too */
    assert_int_equal(
        kit_push(&kit, 2, 2, 200, 1, kit_part(&kit, UPDATE, "account", "c", 2, text("x"), -1)), 1);
    kit_close(&kit);
}

static void test_merge__a_refused_row_blames_no_change_set_that_came_with_it(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part parts[] = {
        kit_part(&kit, UPDATE, "account", "a", 7, integer(3), -1),
        kit_part(&kit, UPDATE, "account", "a", 7, integer(9), -1), /* CHECK */
        kit_part(&kit, UPDATE, "account", "a", 2, text("phone"), -1),
    };
    struct satchel_incoming batch[3];
    struct satchel_incoming_outcome outcomes[3];
    for (uint8_t i = 0; i < 3; i++)
        batch[i] = kit_changeset(&kit, (uint8_t)(2 + i), 1, 100 * i, 1, &parts[i], 1);
    kit_merge(&kit, batch, 3, outcomes);
    assert_int_equal(outcomes[0].quarantined_count, 0);
    assert_int_equal(outcomes[1].quarantined_count, 1);
    assert_int_equal(outcomes[2].quarantined_count, 0);
    assert_int_equal(outcomes[2].cursor, 4);
    assert_string_equal(kit_rows(&kit, "SELECT level, phone FROM account"), "3|phone");
    kit_close(&kit);
}

/* A replica applies entry by entry: a value that only the next change set mends would stop it for
 * good. */
static void test_merge__what_a_later_change_set_of_the_batch_mends_is_set_aside_all_the_same(
    void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part parts[] = {
        kit_part(&kit, UPDATE, "account", "a", 7, integer(9), -1), /* CHECK */
        kit_part(&kit, UPDATE, "account", "a", 7, integer(2), -1),
        kit_part(&kit, UPDATE, "account", "a", 1, null(), -1), /* NOT NULL */
        kit_part(&kit, UPDATE, "account", "a", 1, text("Acme Ltd"), -1),
    };
    struct satchel_incoming batch[4];
    struct satchel_incoming_outcome outcomes[4];
    for (uint8_t i = 0; i < 4; i++)
        batch[i] = kit_changeset(&kit, 2, 1 + i, 100 * i, 1, &parts[i], 1);
    kit_merge(&kit, batch, 4, outcomes);
    for (int i = 0; i < 4; i++)
        assert_int_equal(outcomes[i].quarantined_count, i % 2 == 0);
    assert_string_equal(kit_rows(&kit, "SELECT level, name FROM account"), "2|Acme Ltd");
    kit_close(&kit);
}

static void test_merge__stamps_are_clamped_and_never_go_back_on_a_device(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, (int64_t)30 * 365 * 86400000, 1,
             kit_part(&kit, UPDATE, "account", "a", 2, text("x"), -1));
    kit_push(&kit, 2, 2, 100, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("y"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT (stamp >> 16) - 1700000000000 FROM satchel_entry"
                                       " ORDER BY cursor DESC LIMIT 2"),
                        "1\n0"); /* one counter tick past the end of the millisecond */
    assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), "y");
    kit_close(&kit);
}

static void test_merge__the_timeline_of_a_row_is_a_chain_through_the_log(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 100, 1, kit_part(&kit, INSERT, "account", "b", 1, text("B"), -1));
    struct satchel_part both[] = {kit_part(&kit, UPDATE, "account", "b", 2, text("x"), -1),
                                  kit_part(&kit, UPDATE, "account", "a", 2, text("y"), -1)};
    struct satchel_incoming incoming = kit_changeset(&kit, 2, 2, 200, 2, both, 2);
    struct satchel_incoming_outcome outcome;
    kit_merge(&kit, &incoming, 1, &outcome);
    /* MessagePack: one element 0; 0; then [2, 1] */
    assert_string_equal(kit_rows(&kit, "SELECT hex(timeline) FROM satchel_entry ORDER BY cursor"),
                        "9100\n9100\n920201");
    kit_close(&kit);
}

static void test_merge__a_timeline_runs_through_entries_of_the_same_batch(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_part parts[] = {
        kit_part(&kit, UPDATE, "account", "a", 3, integer(2), -1),
        kit_part(&kit, DELETE, "account", "a", -1),
        kit_part(&kit, UPDATE, "account", "a", 3, integer(40), -1),
        kit_part(&kit, UPDATE, "account", "a", 2, text("kept"), -1),
    };
    struct satchel_incoming batch[4];
    struct satchel_incoming_outcome outcomes[4];
    for (uint8_t i = 0; i < 4; i++)
        batch[i] = kit_changeset(&kit, (uint8_t)(2 + i), 1, 100 * i, 1, &parts[i], 1);
    kit_merge(&kit, batch, 4, outcomes);
    assert_string_equal(kit_rows(&kit, "SELECT visits, phone FROM account"), "42|kept");
    assert_string_equal(kit_rows(&kit, open_conflicts),
                        "account|a||delete_vs_update|NULL|NULL|NULL|user3");
    kit_close(&kit);
}

/* ---- any order of arrival ---- */

/* What device 2 + i did offline, two change sets each, all having seen the account only. */
static struct satchel_incoming offline_work(struct kit *kit, int device, int which)
{
    struct satchel_part parts[4];
    uint32_t count = 0;
    char own[] = {'v', (char)('0' + device), (char)('0' + which), 0};
    char phone[] = {'p', (char)('0' + device), (char)('0' + which), 0};
    parts[count++] = kit_part(kit, INSERT, "visit", own, 1, text("a visit"), -1);
    if (device == 2 && which == 1)
        parts[count++] = kit_part(kit, DELETE, "account", "a", -1);
    else
        parts[count++] =
            kit_part(kit, UPDATE, "account", "a", 2,
                     text((char *)satchel_arena_copy(&kit->arena, satchel_span_text(phone)).data),
                     3, integer(device + which), 4, integer(device * 10), 5, text("EUR"), 6,
                     integer(device * (which ? 1 : 7) % 5), -1);
    if (which == 0)
        parts[count++] = kit_part(kit, INSERT, "account", "shared", 1, text("the same key"), 2,
                                  text(device % 2 ? "odd" : "even"), 3, integer(device), -1);
    /* equal milliseconds on two devices: the id decides */
    return kit_changeset(kit, (uint8_t)(2 + device), (uint64_t)(1 + which),
                         1000 * which + 100 * (device / 2), 1, parts, count);
}

static char *state_after(const int order[4], bool is_one_batch)
{
    struct kit kit;
    struct satchel_incoming all[8];
    struct satchel_incoming_outcome outcomes[8];
    open_with_account(&kit);
    for (int i = 0; i < 4; i++)
        for (int which = 0; which < 2; which++)
            all[2 * i + which] = offline_work(&kit, order[i], which);
    for (int i = 0; i < 8; i += is_one_batch ? 8 : 1) {
        kit_merge(&kit, all + i, is_one_batch ? 8 : 1, outcomes);
        assert_int_equal(outcomes[0].result, SATCHEL_INCOMING_MERGED);
        assert_int_equal(outcomes[0].quarantined_count, 0);
    }
    struct satchel_buffer state;
    satchel_buffer_init(&state, 1 << 20, NULL);
    assert_ok(satchel_buffer_format(
        &state, "%s\n",
        kit_rows(&kit, "SELECT id, name, phone, visits, amount, currency, rating, level,"
                       " typeof(visits), typeof(rating) FROM account ORDER BY id")));
    assert_ok(
        satchel_buffer_format(&state, "%s\n", kit_rows(&kit, "SELECT * FROM visit ORDER BY id")));
    assert_ok(satchel_buffer_format(
        &state, "%s",
        kit_rows(&kit, "SELECT id, at, tbl, key, field, rule, severity, mine, theirs, kept, by_user"
                       " FROM satchel_conflicts WHERE resolved IS NULL ORDER BY id")));
    char *text = strdup(satchel_buffer_text(&state));
    satchel_buffer_deinit(&state);
    kit_close(&kit);
    return text;
}

static void test_merge__every_order_of_arrival_gives_the_same_state(void **state)
{
    (void)state;
    char *expected = NULL;
    for (int permutation = 0; permutation < 24; permutation++) {
        int order[4], rest[4] = {0, 1, 2, 3};
        for (int i = 0, code = permutation; i < 4; i++) {
            int choice = code % (4 - i);
            code /= 4 - i;
            order[i] = rest[choice];
            memmove(rest + choice, rest + choice + 1, (size_t)(3 - choice) * sizeof *rest);
        }
        for (int is_one_batch = 0; is_one_batch < 2; is_one_batch++) {
            char *found = state_after(order, is_one_batch);
            if (!expected)
                expected = strdup(found);
            if (strcmp(expected, found) != 0)
                fail_msg("order %d%d%d%d:\n%s\n--- instead of\n%s", order[0], order[1], order[2],
                         order[3], found, expected);
            free(found);
        }
    }
    assert_non_null(strstr(expected, "|delete_vs_update|"));
    assert_non_null(strstr(expected, "shared|"));
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge__different_fields_of_one_row_both_survive),
        cmocka_unit_test(test_merge__the_later_stamp_wins_whatever_arrives_first),
        cmocka_unit_test(test_merge__an_edit_that_knows_both_closes_the_conflict),
        cmocka_unit_test(
            test_merge__an_edit_that_saw_the_other_is_no_conflict_whatever_the_clocks_say),
        cmocka_unit_test(test_merge__append_only_rows_are_all_there),
        cmocka_unit_test(test_merge__counters_add_up_and_tell_the_sum),
        cmocka_unit_test(test_merge__a_group_wins_or_loses_as_one),
        cmocka_unit_test(test_merge__an_unseen_edit_revives_a_deleted_row),
        cmocka_unit_test(test_merge__a_delete_that_saw_everything_ends_the_row_and_its_conflicts),
        cmocka_unit_test(test_merge__a_duplicate_is_acknowledged_and_changes_nothing),
        cmocka_unit_test(test_merge__positions_are_added_before_anybody_who_has_seen_them),
        cmocka_unit_test(test_merge__a_copied_replica_and_a_number_out_of_turn_are_refused),
        cmocka_unit_test(test_merge__malformed_bytes_are_refused_and_the_rest_is_merged),
        cmocka_unit_test(test_merge__one_bad_row_among_good_ones_is_set_aside_with_its_reason),
        cmocka_unit_test(test_merge__a_refused_row_blames_no_change_set_that_came_with_it),
        cmocka_unit_test(
            test_merge__what_a_later_change_set_of_the_batch_mends_is_set_aside_all_the_same),
        cmocka_unit_test(test_merge__stamps_are_clamped_and_never_go_back_on_a_device),
        cmocka_unit_test(test_merge__the_timeline_of_a_row_is_a_chain_through_the_log),
        cmocka_unit_test(test_merge__a_timeline_runs_through_entries_of_the_same_batch),
        cmocka_unit_test(test_merge__every_order_of_arrival_gives_the_same_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
