/* The merge where one row depends on others: document numbers, state machines that are data, lines
 * frozen by their document, rows with one key, and the rows that point at them. */
#include "merge_kit.h"

#include <stdlib.h>

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

/* stage: 0 id, 1 code, 2 rank, 3 closed, 4 back_to
 * account: 0 id, 1 name, 2 phone, 3 notes
 * quote: 0 id, 1 number, 2 stage, 3 total, 4 account
 * line: 0 id, 1 quote, 2 amount
 * remark: 0 id, 1 kind, 2 on_id */
static const char schema_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE stage (id TEXT PRIMARY KEY, code TEXT,"
    " rank INTEGER CHECK (rank < 1000), closed INTEGER,"
    " back_to TEXT);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE account (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  name TEXT, -- @lww\n"
    "  phone TEXT, -- @key\n"
    "  notes TEXT -- @lww\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE quote (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  number TEXT, -- @server\n"
    "  stage TEXT DEFAULT 'draft', -- @state(quote)\n"
    "  total INTEGER, -- @lww frozen(sent)\n"
    "  account TEXT REFERENCES account(id) -- @lww\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE line (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  quote TEXT REFERENCES quote(id), -- @lww\n"
    "  amount INTEGER -- @lww frozen(parent)\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE remark (id TEXT PRIMARY KEY, kind TEXT, on_id TEXT -- @lww @ref(kind)\n"
    ");\n"
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS\n"
    " SELECT 'quote', code, rank, closed, back_to FROM stage;\n"
    "CREATE VIEW satchel_numbers(tbl, col, series, format) AS\n"
    " SELECT 'quote', 'number', 'Q', 'Q-{branch}-{year}-{n:03}';\n"
    "INSERT INTO stage VALUES ('d', 'draft', 10, 0, '[]'), ('r', 'review', 20, 0, '[\"draft\"]'),"
    " ('s', 'sent', 40, 0, '[]'), ('x', 'lost', 90, 1, '[]');\n";

static const char open_conflicts[] =
    "SELECT tbl, key, field, rule, mine, kept, by_user FROM satchel_conflicts"
    " WHERE resolved IS NULL ORDER BY 1,2,3,5,7";

static uint64_t head_of(struct kit *kit)
{
    struct satchel_store_head head;
    assert_ok(kit->store->ops->load_head(kit->store, &head, &kit->error));
    return head.seq;
}

/* ---- document numbers ---- */

static void test_numbers__every_new_row_gets_the_next_one(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_incoming_outcome outcome;
    kit_open(&kit, schema_sql);
    struct satchel_part parts[] = {kit_part(&kit, INSERT, "quote", "b", 3, integer(1), -1),
                                   kit_part(&kit, INSERT, "quote", "a", 3, integer(2), -1)};
    struct satchel_incoming incoming = kit_changeset(&kit, 1, 1, 0, 1, parts, 2);
    kit_merge(&kit, &incoming, 1, &outcome);
    /* in the order in which they came */
    assert_string_equal(kit_rows(&kit, "SELECT id, number FROM quote ORDER BY number"),
                        "b|Q-HQ-2023-001\na|Q-HQ-2023-002");
    kit_merge(&kit, &incoming, 1, &outcome); /* the same again */
    assert_int_equal(outcome.result, SATCHEL_INCOMING_DUPLICATE);
    kit_reopen(&kit);
    kit_push(&kit, 2, 1, 10, 1, kit_part(&kit, INSERT, "quote", "c", -1));
    kit_push(&kit, 1, 2, 20, head_of(&kit),
             kit_part(&kit, UPDATE, "quote", "b", 3, integer(5), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id, number FROM quote ORDER BY number"),
                        "b|Q-HQ-2023-001\na|Q-HQ-2023-002\nc|Q-HQ-2023-003");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_conflicts"), "0");
    kit_close(&kit);
}

static void test_numbers__what_is_rolled_back_leaves_no_gap(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_incoming_outcome outcome;
    kit_open(&kit, schema_sql);
    struct satchel_part part = kit_part(&kit, INSERT, "quote", "a", -1);
    struct satchel_incoming incoming = kit_changeset(&kit, 1, 1, 0, 1, &part, 1);
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    assert_ok(satchel_merge_batch(kit.store, &incoming, 1, KIT_NOW_MS, &outcome, &kit.error));
    kit.store->ops->rollback(kit.store);
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM quote"), "0");
    kit_push(&kit, 2, 1, 0, 1, kit_part(&kit, INSERT, "quote", "z", -1));
    kit_push(&kit, 1, 1, 0, 1, part);
    kit_push(&kit, 1, 2, 5, head_of(&kit), kit_part(&kit, DELETE, "quote", "a", -1));
    kit_push(&kit, 2, 2, 9, 1, kit_part(&kit, INSERT, "quote", "y", -1));
    assert_string_equal(kit_rows(&kit, "SELECT id, number FROM quote ORDER BY number"),
                        "z|Q-HQ-2023-001\ny|Q-HQ-2023-003");
    kit_close(&kit);
}

static void test_numbers__only_the_server_writes_them(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    assert_int_equal(kit_push(&kit, 1, 1, 0, 1,
                              kit_part(&kit, INSERT, "quote", "a", 1, text("Q-HQ-2023-999"), -1)),
                     1);
    struct satchel_notes notes = kit_notes(&kit, 2);
    assert_string_equal(
        (const char *)satchel_arena_copy(&kit.arena, notes.quarantined[0].reason).data,
        "quote.number is @server: only the server writes it");
    kit_close(&kit);
}

/* ---- machines ---- */

static void test_machines__a_changed_machine_judges_open_conflicts_again(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    kit_push(&kit, 1, 1, 0, 1, kit_part(&kit, INSERT, "quote", "a", -1));
    uint64_t seen = head_of(&kit);
    kit_push(&kit, 2, 1, 1000, seen,
             kit_part(&kit, UPDATE, "quote", "a", 2, text("[\"draft\",\"review\"]"), -1));
    kit_push(&kit, 3, 1, 2000, seen,
             kit_part(&kit, UPDATE, "quote", "a", 2, text("[\"draft\",\"sent\"]"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT stage FROM quote"), "sent");
    assert_string_equal(kit_rows(&kit, open_conflicts), "quote|a|stage|state|review|sent|user2");
    /* review now ranks above sent: another head is the highest */
    kit_push(&kit, 4, 1, 3000, seen, kit_part(&kit, UPDATE, "stage", "r", 2, integer(60), -1));
    assert_string_equal(kit_rows(&kit, "SELECT stage FROM quote"), "review");
    assert_string_equal(kit_rows(&kit, open_conflicts), "quote|a|stage|state|sent|review|user3");
    struct satchel_notes notes = kit_notes(&kit, head_of(&kit));
    assert_int_equal(notes.effect_count, 1);
    assert_int_equal(notes.conflict_count, 2);
    /* and back */
    kit_push(&kit, 4, 2, 4000, head_of(&kit),
             kit_part(&kit, UPDATE, "stage", "r", 2, integer(20), -1));
    assert_string_equal(kit_rows(&kit, "SELECT stage FROM quote"), "sent");
    kit_close(&kit);
}

static void test_machines__a_step_is_set_aside_in_words_that_name_its_column(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    assert_int_equal(
        kit_push(&kit, 1, 1, 0, 1, kit_part(&kit, INSERT, "quote", "a", 2, text("sold"), -1)), 1);
    struct satchel_notes notes = kit_notes(&kit, head_of(&kit));
    assert_string_equal(
        (const char *)satchel_arena_copy(&kit.arena, notes.quarantined[0].reason).data,
        "table quote, column stage: @state: 'sold' is no state of the machine; it has 'draft', "
        "'lost', 'review', 'sent'");
    kit_close(&kit);
}

static void test_machines__a_change_set_taken_back_leaves_the_store_whole(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_incoming_outcome outcome;
    kit_open(&kit, schema_sql);
    /* the first of its device, and SQLite refuses a row of it */
    struct satchel_part parts[] = {
        kit_part(&kit, INSERT, "stage", "n", 1, text("new"), 2, integer(5), -1),
        kit_part(&kit, INSERT, "stage", "o", 1, text("old"), 2, integer(5000), -1)};
    struct satchel_incoming incoming = kit_changeset(&kit, 3, 1, 0, 1, parts, 2);
    kit_merge(&kit, &incoming, 1, &outcome);
    assert_int_equal(outcome.quarantined_count, 1);
    kit_push(&kit, 4, 1, 10, 1, kit_part(&kit, INSERT, "quote", "a", -1));
    kit_reopen(&kit);
    kit_push(&kit, 3, 2, 20, head_of(&kit),
             kit_part(&kit, UPDATE, "stage", "n", 2, integer(6), -1));
    assert_string_equal(kit_rows(&kit, "SELECT rank FROM stage WHERE id='n'"), "6");
    kit_close(&kit);
}

static void test_machines__an_open_conflict_is_told_once(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    kit_push(&kit, 1, 1, 0, 1, kit_part(&kit, INSERT, "quote", "a", -1));
    uint64_t seen = head_of(&kit);
    /* the further state is the earlier one */
    kit_push(&kit, 2, 1, 2000, seen,
             kit_part(&kit, UPDATE, "quote", "a", 2, text("[\"draft\",\"review\"]"), -1));
    kit_push(&kit, 3, 1, 1000, seen,
             kit_part(&kit, UPDATE, "quote", "a", 2, text("[\"draft\",\"sent\"]"), -1));
    assert_string_equal(kit_rows(&kit, open_conflicts), "quote|a|stage|state|review|sent|user2");
    kit_push(&kit, 4, 1, 3000, seen, kit_part(&kit, UPDATE, "quote", "a", 4, text("x"), -1));
    assert_int_equal(kit_notes(&kit, head_of(&kit)).conflict_count, 0);
    kit_close(&kit);
}

/* What a delete did not do while the row was frozen, it does when the freeze is no more; the insert
 * after it is then another life. Nobody is in conflict about that, and all must hear of it. */
static void test_machines__an_effect_from_afar_is_told_without_a_conflict(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    kit_push(&kit, 1, 1, 0, 1,
             kit_part(&kit, INSERT, "quote", "a", 2, text("sent"), 4, text("x"), -1));
    kit_push(&kit, 2, 1, 1000, head_of(&kit), kit_part(&kit, DELETE, "quote", "a", -1));
    kit_push(&kit, 2, 2, 2000, head_of(&kit), kit_part(&kit, INSERT, "quote", "a", -1));
    assert_string_equal(kit_rows(&kit, "SELECT account FROM quote"), "x");
    uint64_t seen = head_of(&kit);
    kit_push(&kit, 3, 1, 3000, seen, kit_part(&kit, UPDATE, "stage", "s", 2, null(), -1));
    assert_string_equal(kit_rows(&kit, "SELECT account FROM quote"), "NULL");
    struct satchel_notes notes = kit_notes(&kit, seen + 1);
    assert_int_equal(notes.conflict_count, 0);
    assert_int_equal(notes.effect_count, 1);
    kit_close(&kit);
}

/* ---- frozen by the row above ---- */

/* Quote 'q' with line 'l' of 100, both known to everybody. The seq up to there. */
static uint64_t open_with_quote(struct kit *kit)
{
    kit_open(kit, schema_sql);
    kit_push(kit, 1, 1, 0, 1, kit_part(kit, INSERT, "quote", "q", 3, integer(100), -1));
    kit_push(kit, 1, 2, 10, head_of(kit),
             kit_part(kit, INSERT, "line", "l", 1, text("q"), 2, integer(100), -1));
    return head_of(kit);
}

static void send_quote(struct kit *kit, uint8_t device, uint64_t seen)
{
    kit_push(kit, device, 1, 5000, seen,
             kit_part(kit, UPDATE, "quote", "q", 2, text("[\"draft\",\"sent\"]"), -1));
}

static void test_frozen__a_line_keeps_what_the_sender_of_its_document_saw(void **state)
{
    (void)state;
    for (int is_sent_first = 0; is_sent_first < 2; is_sent_first++) {
        struct kit kit;
        uint64_t seen = open_with_quote(&kit);
        struct satchel_part edit = kit_part(&kit, UPDATE, "line", "l", 2, integer(90), -1);
        if (is_sent_first)
            send_quote(&kit, 2, seen);
        kit_push(&kit, 3, 1, 1000, seen, edit);
        if (!is_sent_first) {
            assert_string_equal(kit_rows(&kit, "SELECT amount FROM line"), "90");
            send_quote(&kit, 2, seen);
        }
        assert_string_equal(kit_rows(&kit, "SELECT amount FROM line"), "100");
        assert_string_equal(kit_rows(&kit, open_conflicts), "line|l|amount|frozen|90|100|user3");
        struct satchel_notes notes = kit_notes(&kit, head_of(&kit));
        /* the line, in whichever entry came last; of the sent document the new state */
        assert_int_equal(notes.effect_count, is_sent_first ? 1 : 2);
        kit_close(&kit);
    }
}

static void test_frozen__a_line_deleted_unseen_comes_back_in_any_order(void **state)
{
    (void)state;
    for (int is_sent_first = 0; is_sent_first < 2; is_sent_first++) {
        struct kit kit;
        uint64_t seen = open_with_quote(&kit);
        if (is_sent_first)
            send_quote(&kit, 2, seen);
        kit_push(&kit, 3, 1, 1000, seen, kit_part(&kit, DELETE, "line", "l", -1));
        if (!is_sent_first) {
            assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM line"), "0");
            kit_reopen(&kit);
            send_quote(&kit, 2, seen);
        }
        assert_string_equal(kit_rows(&kit, "SELECT amount FROM line"), "100");
        kit_close(&kit);
    }
}

static void test_frozen__a_line_moved_under_a_sent_document_is_judged_there(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t seen = open_with_quote(&kit);
    kit_push(&kit, 4, 1, 20, seen, kit_part(&kit, INSERT, "quote", "p", -1));
    kit_push(&kit, 4, 2, 30, head_of(&kit),
             kit_part(&kit, UPDATE, "quote", "p", 2, text("[\"draft\",\"sent\"]"), -1));
    kit_push(&kit, 3, 1, 1000, seen, kit_part(&kit, UPDATE, "line", "l", 2, integer(90), -1));
    assert_string_equal(kit_rows(&kit, "SELECT amount FROM line"), "90");
    kit_push(&kit, 3, 2, 2000, head_of(&kit),
             kit_part(&kit, UPDATE, "line", "l", 1, text("p"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT quote, amount FROM line"), "p|100");
    kit_close(&kit);
}

/* ---- rows with one key ---- */

static const char accounts[] = "SELECT id, name, phone, notes FROM account ORDER BY id";
static const char aliases[] = "SELECT key FROM satchel_alias ORDER BY key";

/* Devices 1 and 2 register one customer, apart; the second has an order for it. */
static uint64_t open_with_twins(struct kit *kit, bool is_second_first)
{
    kit_open(kit, schema_sql);
    struct satchel_part a =
        kit_part(kit, INSERT, "account", "a", 1, text("Acme"), 2, text("0755-123456"), -1);
    struct satchel_part b = kit_part(kit, INSERT, "account", "b", 1, text("ACME Ltd"), 2,
                                     text("0755 123456"), 3, text("hello"), -1);
    struct satchel_part both[] = {b, kit_part(kit, INSERT, "quote", "q", 4, text("b"), -1)};
    struct satchel_incoming incoming[] = {kit_changeset(kit, 1, 1, 0, 1, &a, 1),
                                          kit_changeset(kit, 2, 1, 1000, 1, both, 2)};
    struct satchel_incoming_outcome outcome;
    kit_merge(kit, &incoming[is_second_first], 1, &outcome);
    kit_merge(kit, &incoming[!is_second_first], 1, &outcome);
    assert_int_equal(outcome.quarantined_count, 0);
    return head_of(kit);
}

static void test_keys__two_rows_with_one_key_are_one_in_any_order(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct kit kit;
        open_with_twins(&kit, order);
        assert_string_equal(kit_rows(&kit, accounts), "a|ACME Ltd|0755 123456|hello");
        assert_string_equal(kit_rows(&kit, aliases), "b");
        assert_string_equal(kit_rows(&kit, "SELECT account FROM quote"), "a");
        assert_string_equal(
            kit_rows(&kit, "SELECT tbl, key, field, rule, mine, by_user, severity FROM"
                           " satchel_conflicts WHERE resolved IS NULL AND rule='duplicate_key'"),
            "account|a|phone|duplicate_key|b|user2|review");
        kit_close(&kit);
    }
}

static void test_keys__a_part_set_aside_leaves_an_alias_as_it_is(void **state)
{
    (void)state;
    struct kit kit;
    open_with_twins(&kit, 0);
    const struct satchel_value blob = {.type = SATCHEL_BLOB, .bytes = satchel_span_of("\x01", 1)};
    assert_int_equal(kit_push(&kit, 3, 1, 5000, head_of(&kit),
                              kit_part(&kit, INSERT, "account", "b", 2, blob, -1)),
                     1);
    struct satchel_notes notes = kit_notes(&kit, head_of(&kit));
    assert_int_equal(notes.effect_count, 1);
    assert_int_equal(notes.effects[0].kind, SATCHEL_EFFECT_ALIAS);
    kit_close(&kit);
}

static void test_keys__writes_and_references_to_the_alias_mean_the_survivor(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t seen = open_with_twins(&kit, false);
    kit_reopen(&kit);
    kit_push(&kit, 2, 2, 2000, 1, kit_part(&kit, UPDATE, "account", "b", 3, text("more"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id, notes FROM account"), "a|more");
    kit_push(&kit, 2, 3, 3000, 1, kit_part(&kit, INSERT, "quote", "r", 4, text("b"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT DISTINCT account FROM quote"), "a");
    kit_push(&kit, 3, 1, 4000, seen, kit_part(&kit, UPDATE, "account", "a", 3, text("last"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id, notes FROM account"), "a|last");
    kit_close(&kit);
}

static void test_keys__a_reference_means_the_survivor_only_among_rows_of_its_type(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t seen = open_with_twins(&kit, false);
    const char *remark = "SELECT kind, on_id FROM remark";
    kit_push(&kit, 3, 1, 2000, seen,
             kit_part(&kit, INSERT, "remark", "r", 1, text("account"), 2, text("b"), -1));
    assert_string_equal(kit_rows(&kit, remark), "account|a");
    kit_push(&kit, 3, 2, 3000, seen,
             kit_part(&kit, UPDATE, "remark", "r", 1, text("quote"), 2, text("b"), -1));
    assert_string_equal(kit_rows(&kit, remark), "quote|b");
    kit_push(&kit, 3, 3, 4000, seen, kit_part(&kit, UPDATE, "remark", "r", 1, text("account"), -1));
    assert_string_equal(kit_rows(&kit, remark), "account|a");
    kit_push(&kit, 3, 4, 5000, seen, kit_part(&kit, UPDATE, "remark", "r", 1, text("line"), -1));
    assert_string_equal(kit_rows(&kit, remark), "line|b");
    kit_close(&kit);
}

static void test_keys__a_third_row_with_an_earlier_insert_becomes_the_survivor(void **state)
{
    (void)state;
    struct kit kit;
    open_with_twins(&kit, false);
    kit_push(&kit, 3, 1, -1000, 1,
             kit_part(&kit, INSERT, "account", "c", 1, text("A."), 2, text("(0755)123456"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id FROM account"), "c");
    assert_string_equal(kit_rows(&kit, aliases), "a\nb");
    assert_string_equal(kit_rows(&kit, "SELECT account FROM quote"), "c");
    kit_close(&kit);
}

static void test_keys__set_apart_they_are_two_again(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t seen = open_with_twins(&kit, false);
    struct satchel_part apart = kit_part(&kit, UPDATE, "account", "b", 2,
                                         satchel_value_blob(satchel_span_text("0755 123456")), -1);
    kit_push(&kit, 3, 1, 9000, seen, apart);
    assert_string_equal(kit_rows(&kit, accounts),
                        "a|Acme|0755-123456|NULL\nb|ACME Ltd|0755 123456|hello");
    assert_string_equal(kit_rows(&kit, aliases), "");
    assert_string_equal(kit_rows(&kit, "SELECT account FROM quote"), "b");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    struct satchel_notes notes = kit_notes(&kit, head_of(&kit));
    bool has_whole = false;
    for (uint32_t i = 0; i < notes.effect_count; i++)
        has_whole = has_whole || notes.effects[i].kind == SATCHEL_EFFECT_WHOLE;
    assert_true(has_whole);
    kit_close(&kit);
}

static void test_keys__another_key_written_in_ignorance_parts_them(void **state)
{
    (void)state;
    struct kit kit;
    open_with_twins(&kit, false);
    /* the author of b corrects its phone before hearing of a */
    kit_push(&kit, 2, 2, 2000, 1, kit_part(&kit, UPDATE, "account", "b", 2, text("99999999"), -1));
    assert_string_equal(kit_rows(&kit, accounts),
                        "a|Acme|0755-123456|NULL\nb|ACME Ltd|99999999|hello");
    assert_string_equal(kit_rows(&kit, "SELECT account FROM quote"), "b");
    kit_close(&kit);
}

/* In one transaction: the table still has the row as it was before all that. */
static void test_keys__a_row_that_was_an_alias_within_a_batch_is_written_whole(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_incoming_outcome outcomes[2];
    kit_open(&kit, schema_sql);
    kit_push(&kit, 2, 1, 1000, 1,
             kit_part(&kit, INSERT, "account", "b", 1, text("ACME Ltd"), 2, text("0755 123456"), 3,
                      text("hello"), -1));
    struct satchel_part a =
        kit_part(&kit, INSERT, "account", "a", 1, text("Acme"), 2, text("0755-123456"), -1);
    struct satchel_part b =
        kit_part(&kit, UPDATE, "account", "b", 1, null(), 2, text("99999999"), -1);
    struct satchel_incoming batch[] = {kit_changeset(&kit, 1, 1, 0, 1, &a, 1),
                                       kit_changeset(&kit, 2, 2, 2000, 1, &b, 1)};
    kit_merge(&kit, batch, 2, outcomes);
    assert_string_equal(kit_rows(&kit, accounts), "a|Acme|0755-123456|NULL\nb|NULL|99999999|hello");
    kit_close(&kit);
}

static void test_keys__a_change_set_may_hold_both_rows(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_incoming_outcome outcome;
    kit_open(&kit, schema_sql);
    struct satchel_part parts[] = {
        kit_part(&kit, INSERT, "account", "a", 2, text("12345678"), -1),
        kit_part(&kit, INSERT, "quote", "q", 4, text("b"), -1),
        kit_part(&kit, INSERT, "account", "b", 2, text("1234-5678"), -1)};
    struct satchel_incoming incoming = kit_changeset(&kit, 1, 1, 0, 1, parts, 3);
    kit_merge(&kit, &incoming, 1, &outcome);
    assert_int_equal(outcome.quarantined_count, 0);
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), "1");
    assert_string_equal(kit_rows(&kit, "SELECT (SELECT id FROM account)=account FROM quote"), "1");
    kit_close(&kit);
}

/* ---- by an administrator ---- */

static enum satchel_status run_words(struct kit *kit,
                                     enum satchel_status (*verb)(struct satchel_workspace *,
                                                                 struct satchel_job *),
                                     const char *const *words, uint32_t count)
{
    struct satchel_value values[8];
    struct satchel_workspace workspace = {.store = kit->store, .name = "w"};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ADMIN);
    values[0] = values[1] = text("w");
    for (uint32_t i = 0; i < count; i++)
        values[2 + i] = text(words[i]);
    job->request.admin.arguments = values;
    job->request.admin.argument_count = 2 + count;
    assert_ok(kit->store->ops->begin(kit->store, &kit->error));
    enum satchel_status status = verb(&workspace, job);
    if (status == SATCHEL_OK)
        assert_ok(kit->store->ops->commit(kit->store, &kit->error));
    else
        kit->store->ops->rollback(kit->store);
    kit->error = job->error;
    satchel_job_free(job);
    return status;
}

static void resolve_duplicate(struct kit *kit, const char *take)
{
    char id[64];
    snprintf(id, sizeof id, "%s",
             kit_rows(kit, "SELECT id FROM satchel_conflicts WHERE resolved IS NULL AND"
                           " rule='duplicate_key'"));
    const char *words[] = {id, take};
    if (run_words(kit, resolve_job, words, 2) != SATCHEL_OK)
        fail_msg("%s", kit->error.message);
}

static void test_keys__an_administrator_settles_a_duplicate(void **state)
{
    (void)state;
    for (int is_apart = 0; is_apart < 2; is_apart++) {
        struct kit kit;
        open_with_twins(&kit, false);
        resolve_duplicate(&kit, is_apart ? "loser" : "winner");
        assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), is_apart ? "2" : "1");
        assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_conflicts WHERE resolved"
                                           " IS NULL AND rule='duplicate_key'"),
                            "0");
        kit_close(&kit);
    }
}

static void test_keys__a_key_set_by_hand_is_all_rows_own(void **state)
{
    (void)state;
    struct kit kit;
    open_with_twins(&kit, false);
    const char *words[] = {"account", "a", "phone=11111"};
    assert_ok(run_words(&kit, set_job, words, 3));
    assert_string_equal(kit_rows(&kit, "SELECT id, phone FROM account"), "a|11111");
    /* the old key is free for somebody else */
    kit_push(&kit, 3, 1, 90000, head_of(&kit),
             kit_part(&kit, INSERT, "account", "n", 2, text("0755123456"), -1));
    assert_string_equal(kit_rows(&kit, "SELECT id FROM account ORDER BY id"), "a\nn");
    kit_close(&kit);
}

/* ---- any order of arrival ---- */

#define SETS 6

/* What six devices did apart. */

/* Twins, a third with another writing of the key, a corrected key, notes on each, a delete. */
static struct satchel_part part_of_keys(struct kit *kit, int device)
{
    switch (device) {
    case 0: return kit_part(kit, INSERT, "account", "b", 1, text("B"), 2, text("0755 1"), -1);
    case 1: return kit_part(kit, INSERT, "account", "c", 2, text("K-1"), 3, text("c"), -1);
    case 2: return kit_part(kit, UPDATE, "account", "a", 2, text("k-1"), -1);
    case 3: return kit_part(kit, UPDATE, "account", "a", 1, text("A2"), 3, text("4"), -1);
    case 4: return kit_part(kit, DELETE, "account", "a", -1);
    default: return kit_part(kit, INSERT, "quote", "x", 3, integer(1), 4, text("c"), -1);
    }
}

/* A document sent, sent again, set back by someone, its lines edited, deleted and moved. */
static struct satchel_part part_of_lines(struct kit *kit, int device)
{
    switch (device) {
    case 0: return kit_part(kit, UPDATE, "quote", "q", 2, text("[\"draft\",\"sent\"]"), -1);
    case 1: return kit_part(kit, UPDATE, "line", "l", 2, integer(1), -1);
    case 2: return kit_part(kit, DELETE, "line", "l", -1);
    case 3: return kit_part(kit, UPDATE, "line", "m", 1, text("q"), 2, integer(3), -1);
    case 4: return kit_part(kit, UPDATE, "quote", "p", 2, text("[\"draft\",\"sent\"]"), -1);
    default: return kit_part(kit, INSERT, "account", "d", 2, text("zz"), -1);
    }
}

static const char everything[] =
    "SELECT 'a', id, name, phone, notes FROM account UNION ALL"
    " SELECT 'q', id, stage, total, account FROM quote UNION ALL"
    " SELECT 'l', id, quote, amount, '' FROM line UNION ALL"
    " SELECT 'r', id, kind, on_id, '' FROM remark UNION ALL"
    " SELECT 'alias', key, hex(survivor), '', '' FROM satchel_alias UNION ALL"
    " SELECT 'c', tbl||key, field||rule||severity, mine, kept FROM satchel_conflicts"
    " WHERE resolved IS NULL ORDER BY 1, 2, 3, 4";

static char *play(struct satchel_part (*part)(struct kit *, int), const int order[SETS], int split)
{
    struct kit kit;
    struct satchel_incoming batch[SETS];
    struct satchel_incoming_outcome outcomes[SETS];
    kit_open(&kit, schema_sql);
    kit_push(&kit, 9, 1, -9000, 1,
             kit_part(&kit, INSERT, "account", "a", 1, text("A"), 2, text("0755-1"), -1));
    kit_push(&kit, 9, 2, -8000, 1,
             kit_part(&kit, INSERT, "quote", "q", 3, integer(9), 4, text("a"), -1));
    kit_push(&kit, 9, 3, -7000, 1, kit_part(&kit, INSERT, "quote", "p", -1));
    kit_push(&kit, 9, 4, -6000, 1, kit_part(&kit, INSERT, "line", "l", 1, text("q"), -1));
    kit_push(&kit, 9, 5, -5000, 1, kit_part(&kit, INSERT, "line", "m", 1, text("p"), -1));
    uint64_t seen = head_of(&kit);
    for (int i = 0; i < SETS; i++) {
        struct satchel_part one = part(&kit, order[i]);
        batch[i] = kit_changeset(&kit, (uint8_t)(order[i] + 1), 1, 1000 * order[i], seen, &one, 1);
    }
    kit_merge(&kit, batch, (size_t)split, outcomes);
    if (split < SETS)
        kit_merge(&kit, batch + split, (size_t)(SETS - split), outcomes + split);
    for (int i = 0; i < SETS; i++)
        assert_int_equal(outcomes[i].quarantined_count, 0);
    char *state = strdup(kit_rows(&kit, everything));
    kit_close(&kit);
    return state;
}

/* The next order, as permutations go; false after the last. */
static bool next_order(int order[SETS])
{
    int i = SETS - 2, k = SETS - 1;
    while (i >= 0 && order[i] > order[i + 1])
        i--;
    if (i < 0)
        return false;
    while (order[k] < order[i])
        k--;
    int kept = order[i];
    order[i] = order[k];
    order[k] = kept;
    for (int a = i + 1, b = SETS - 1; a < b; a++, b--) {
        kept = order[a];
        order[a] = order[b];
        order[b] = kept;
    }
    return true;
}

static void play_all(const char *name, struct satchel_part (*part)(struct kit *, int))
{
    int order[SETS] = {0, 1, 2, 3, 4, 5};
    char *first = play(part, order, SETS);
    for (int n = 1; next_order(order); n++) {
        if (n % 31) /* a sample */
            continue;
        char *state = play(part, order, 1 + n % SETS);
        if (strcmp(first, state) != 0)
            fail_msg("%s, order %d%d%d%d%d%d:\n%s\ninstead of\n%s", name, order[0], order[1],
                     order[2], order[3], order[4], order[5], state, first);
        free(state);
    }
    free(first);
}

static void test_keys__no_order_of_arrival_shows(void **state)
{
    (void)state;
    play_all("keys", part_of_keys);
}

static void test_frozen__no_order_of_arrival_shows(void **state)
{
    (void)state;
    play_all("lines", part_of_lines);
}

/* ---- random stories ---- */

#define DEVICES 4
#define ROUNDS 3 /* change sets of each device, which knows of its own only */

static uint32_t random_state;

static uint32_t below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

/* A key of few, each in several writings. */
static struct satchel_value random_key(void)
{
    static const char *const keys[] = {"0755-1", "0755 1", "K-1", "k-1", "zz"};
    return text(keys[below(5)]);
}

/* One of the accounts that the device knows: a, and its own. */
static const char *known_account(const char *own, bool has_own)
{
    return has_own && below(2) ? own : "a";
}

static struct satchel_part random_part(struct kit *kit, const char *own, bool *has_own)
{
    static const char *const refs[] = {"a", "own0", "own1", "own2", "own3"};
    static const char *const kinds[] = {"account", "quote", "line"};
    switch (below(*has_own ? 13 : 14)) {
    case 0:
        return kit_part(kit, UPDATE, "account", known_account(own, *has_own), 2, random_key(), -1);
    case 1:
        return kit_part(kit, UPDATE, "account", known_account(own, *has_own), 3,
                        text(below(2) ? "n1" : "n2"), -1);
    case 2: return kit_part(kit, DELETE, "account", known_account(own, *has_own), -1);
    case 3:
        return kit_part(kit, UPDATE, "account", known_account(own, *has_own), 2,
                        satchel_value_blob(satchel_span_text(below(2) ? "K-1" : "0755-1")), -1);
    case 4: return kit_part(kit, UPDATE, "quote", "q", 4, text(refs[below(5)]), -1);
    case 5: return kit_part(kit, UPDATE, "quote", "q", 2, text("[\"draft\",\"sent\"]"), -1);
    case 6: return kit_part(kit, UPDATE, "quote", "p", 2, text("[\"draft\",\"sent\"]"), -1);
    case 7: return kit_part(kit, UPDATE, "line", "l", 2, integer(below(9)), -1);
    case 8: return kit_part(kit, DELETE, "line", below(2) ? "l" : "m", -1);
    case 9: return kit_part(kit, UPDATE, "line", "m", 1, text(below(2) ? "q" : "p"), -1);
    case 10: return kit_part(kit, UPDATE, "quote", "q", 3, integer(below(9)), -1);
    case 11: return kit_part(kit, UPDATE, "remark", "r", 1, text(kinds[below(3)]), -1);
    case 12:
        return kit_part(kit, UPDATE, "remark", "r", 1, text(kinds[below(3)]), 2,
                        text(refs[below(5)]), -1);
    default: break;
    }
    *has_own = true;
    return kit_part(kit, INSERT, "account", own, 1, text(own), 2, random_key(), -1);
}

struct random_set {
    struct satchel_part part;
    int64_t ms;
};

/* Plays the story of `seed`; the order of arrival is drawn from `order_seed`. */
static char *play_random(uint32_t seed, uint32_t order_seed)
{
    struct kit kit;
    struct random_set sets[DEVICES][ROUNDS];
    struct satchel_incoming batch[DEVICES * ROUNDS];
    struct satchel_incoming_outcome outcomes[DEVICES * ROUNDS];
    uint32_t next[DEVICES] = {0};
    char own[] = "own0";
    kit_open(&kit, schema_sql);
    kit_push(&kit, 9, 1, -9000, 1,
             kit_part(&kit, INSERT, "account", "a", 1, text("A"), 2, text("0755-1"), -1));
    kit_push(&kit, 9, 2, -8000, 1, kit_part(&kit, INSERT, "quote", "q", 4, text("a"), -1));
    kit_push(&kit, 9, 3, -7000, 1, kit_part(&kit, INSERT, "quote", "p", -1));
    kit_push(&kit, 9, 4, -6000, 1, kit_part(&kit, INSERT, "line", "l", 1, text("q"), -1));
    kit_push(&kit, 9, 5, -5000, 1, kit_part(&kit, INSERT, "line", "m", 1, text("p"), -1));
    kit_push(&kit, 9, 6, -4000, 1, kit_part(&kit, INSERT, "remark", "r", -1));
    uint64_t seen = head_of(&kit);
    random_state = seed;
    for (uint32_t d = 0; d < DEVICES; d++) {
        bool has_own = false;
        own[3] = (char)('0' + d);
        const char *name =
            (const char *)satchel_arena_copy(&kit.arena, satchel_span_text(own)).data;
        for (uint32_t r = 0; r < ROUNDS; r++)
            sets[d][r] = (struct random_set){random_part(&kit, name, &has_own),
                                             100000 * (int64_t)r + below(100000)};
    }
    random_state = order_seed;
    for (size_t i = 0; i < DEVICES * ROUNDS;) {
        uint32_t d = below(DEVICES);
        if (next[d] == ROUNDS)
            continue;
        const struct random_set *set = &sets[d][next[d]++];
        batch[i++] = kit_changeset(&kit, (uint8_t)(d + 1), next[d], set->ms, seen, &set->part, 1);
    }
    for (size_t done = 0, count; done < DEVICES * ROUNDS; done += count) {
        count = 1 + below(4);
        if (count > DEVICES * ROUNDS - done)
            count = DEVICES * ROUNDS - done;
        kit_merge(&kit, batch + done, count, outcomes);
    }
    char *state = strdup(kit_rows(&kit, everything));
    kit_close(&kit);
    return state;
}

static void test_rows__random_stories_end_the_same_in_any_order(void **state)
{
    (void)state;
    const char *wanted = getenv("SATCHEL_HISTORIES");
    uint32_t count = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : 15;
    for (uint32_t seed = 1; seed <= count; seed++) {
        char *first = play_random(seed, 1);
        for (uint32_t order = 2; order < 5; order++) {
            char *other = play_random(seed, order * 77);
            if (strcmp(first, other) != 0)
                fail_msg("story %u, order %u:\n%s\ninstead of\n%s", seed, order, other, first);
            free(other);
        }
        free(first);
    }
}

/* ---- rows with one key, below others ---- */

/* sheet: 0 id, 1 stage; badge: 0 id, 1 code, 2 sheet, 3 amount */
static const char badge_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE sheet (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  stage TEXT DEFAULT 'draft', -- @state(sheet)\n"
    "  total INTEGER -- @lww frozen(sent)\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE badge (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  code TEXT, -- @key\n"
    "  sheet TEXT REFERENCES sheet(id), -- @lww\n"
    "  amount INTEGER -- @lww frozen(parent)\n"
    ");\n"
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS VALUES"
    " ('sheet', 'draft', 10, 0, NULL), ('sheet', 'sent', 40, 0, NULL);\n";

/* Sheets p and q; badge 'a' of p and badge 'b' of none, with one code and amounts 1 and 2. The seq
 * when both sheets were there. */
static uint64_t open_with_badges(struct kit *kit)
{
    kit_open(kit, badge_sql);
    kit_push(kit, 1, 1, 0, 0, kit_part(kit, INSERT, "sheet", "p", -1));
    kit_push(kit, 1, 2, 10, 0, kit_part(kit, INSERT, "sheet", "q", -1));
    uint64_t seen = head_of(kit);
    kit_push(kit, 1, 3, 20, seen,
             kit_part(kit, INSERT, "badge", "a", 1, text("7"), 2, text("p"), 3, integer(1), -1));
    kit_push(kit, 2, 1, 30, seen,
             kit_part(kit, INSERT, "badge", "b", 1, text("7"), 3, integer(2), -1));
    return seen;
}

static void test_keys__a_merged_row_moves_below_a_frozen_one(void **state)
{
    (void)state;
    for (int is_by_alias = 0; is_by_alias < 2; is_by_alias++)
        for (int is_sent_first = 0; is_sent_first < 2; is_sent_first++) {
            struct kit kit;
            uint64_t seen = open_with_badges(&kit), both = head_of(&kit);
            struct satchel_part send =
                kit_part(&kit, UPDATE, "sheet", "q", 1, text("[\"draft\",\"sent\"]"), -1);
            if (is_sent_first)
                kit_push(&kit, 3, 1, 40, seen, send);
            kit_push(&kit, 4, 1, 500, both,
                     kit_part(&kit, UPDATE, "badge", is_by_alias ? "b" : "a", 2, text("q"), -1));
            if (!is_sent_first)
                kit_push(&kit, 3, 1, 40, seen, send);
            assert_string_equal(kit_rows(&kit, "SELECT id, sheet, amount FROM badge"), "a|q|NULL");
            assert_string_equal(kit_rows(&kit, open_conflicts),
                                "badge|a|amount|frozen|1|NULL|user1\n"
                                "badge|a|amount|frozen|2|NULL|user2\n"
                                "badge|a|code|duplicate_key|b|a|user2");
            kit_close(&kit);
        }
}

static void test_keys__a_merged_row_is_frozen_later(void **state)
{
    (void)state;
    for (int is_sent_first = 0; is_sent_first < 2; is_sent_first++) {
        struct kit kit;
        open_with_badges(&kit);
        uint64_t both = head_of(&kit);
        struct satchel_part send =
            kit_part(&kit, UPDATE, "sheet", "p", 1, text("[\"draft\",\"sent\"]"), -1);
        if (is_sent_first)
            kit_push(&kit, 3, 1, 100, both, send);
        kit_push(&kit, 4, 1, 200, both, kit_part(&kit, UPDATE, "badge", "a", 3, integer(9), -1));
        if (!is_sent_first)
            kit_push(&kit, 3, 1, 100, both, send);
        assert_string_equal(kit_rows(&kit, "SELECT id, amount FROM badge"), "a|2");
        assert_string_equal(kit_rows(&kit, open_conflicts), "badge|a|amount|frozen|9|2|user4\n"
                                                            "badge|a|code|duplicate_key|b|a|user2");
        kit_close(&kit);
    }
}

static void test_keys__one_row_too_many_leaves_the_others_as_they_are(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    uint32_t refused_count = 0;
    for (uint64_t i = 1; i <= 103; i++) {
        char key[16];
        snprintf(key, sizeof key, "a%llu", (unsigned long long)i);
        refused_count += kit_push(&kit, 1, i, (int64_t)i, 1,
                                  kit_part(&kit, INSERT, "account", key, 2, text("none"), -1));
    }
    assert_int_equal(refused_count, 3);
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), "1");
    uint64_t seen = head_of(&kit);
    assert_int_equal(
        kit_push(&kit, 2, 1, 500, seen, kit_part(&kit, UPDATE, "account", "a5", 1, text("x"), -1)),
        0);
    assert_int_equal(kit_push(&kit, 2, 2, 600, seen,
                              kit_part(&kit, UPDATE, "account", "a5", 2, text("0755-12345"), -1)),
                     0);
    /* a row of another key that is given theirs is refused, and goes on with its own */
    assert_int_equal(
        kit_push(&kit, 3, 1, 700, seen, kit_part(&kit, INSERT, "account", "z", 2, text("zz"), -1)),
        0);
    assert_int_equal(kit_push(&kit, 3, 2, 710, seen,
                              kit_part(&kit, UPDATE, "account", "z", 2, text("none"), -1)),
                     1);
    assert_int_equal(
        kit_push(&kit, 3, 3, 720, seen, kit_part(&kit, UPDATE, "account", "z", 1, text("y"), -1)),
        0);
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers__every_new_row_gets_the_next_one),
        cmocka_unit_test(test_numbers__what_is_rolled_back_leaves_no_gap),
        cmocka_unit_test(test_numbers__only_the_server_writes_them),
        cmocka_unit_test(test_machines__a_changed_machine_judges_open_conflicts_again),
        cmocka_unit_test(test_machines__a_change_set_taken_back_leaves_the_store_whole),
        cmocka_unit_test(test_machines__an_open_conflict_is_told_once),
        cmocka_unit_test(test_machines__an_effect_from_afar_is_told_without_a_conflict),
        cmocka_unit_test(test_keys__a_merged_row_moves_below_a_frozen_one),
        cmocka_unit_test(test_keys__a_merged_row_is_frozen_later),
        cmocka_unit_test(test_keys__one_row_too_many_leaves_the_others_as_they_are),
        cmocka_unit_test(test_machines__a_step_is_set_aside_in_words_that_name_its_column),
        cmocka_unit_test(test_frozen__a_line_keeps_what_the_sender_of_its_document_saw),
        cmocka_unit_test(test_frozen__a_line_deleted_unseen_comes_back_in_any_order),
        cmocka_unit_test(test_frozen__a_line_moved_under_a_sent_document_is_judged_there),
        cmocka_unit_test(test_keys__two_rows_with_one_key_are_one_in_any_order),
        cmocka_unit_test(test_keys__a_part_set_aside_leaves_an_alias_as_it_is),
        cmocka_unit_test(test_keys__writes_and_references_to_the_alias_mean_the_survivor),
        cmocka_unit_test(test_keys__a_reference_means_the_survivor_only_among_rows_of_its_type),
        cmocka_unit_test(test_keys__a_third_row_with_an_earlier_insert_becomes_the_survivor),
        cmocka_unit_test(test_keys__set_apart_they_are_two_again),
        cmocka_unit_test(test_keys__another_key_written_in_ignorance_parts_them),
        cmocka_unit_test(test_keys__a_row_that_was_an_alias_within_a_batch_is_written_whole),
        cmocka_unit_test(test_keys__a_change_set_may_hold_both_rows),
        cmocka_unit_test(test_keys__an_administrator_settles_a_duplicate),
        cmocka_unit_test(test_keys__a_key_set_by_hand_is_all_rows_own),
        cmocka_unit_test(test_keys__no_order_of_arrival_shows),
        cmocka_unit_test(test_frozen__no_order_of_arrival_shows),
        cmocka_unit_test(test_rows__random_stories_end_the_same_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
