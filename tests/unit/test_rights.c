/* Rights by scope: a device writes a row only if its user could see it when he wrote. */
#include "incarnation.h"
#include "merge_kit.h"
#include "own_changes.h"

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

static const char schema_sql[] =
    "-- @table scope=row(owner) delete=edit_wins\n"
    "CREATE TABLE account(id TEXT PRIMARY KEY, owner TEXT, name TEXT);\n"
    "-- @table scope=via(account_id) delete=edit_wins\n"
    "CREATE TABLE contact(id TEXT PRIMARY KEY, account_id TEXT REFERENCES account(id), name "
    "TEXT);\n"
    "-- @table scope=via(kind, on_id) via(account_id) delete=edit_wins\n"
    "CREATE TABLE note(id TEXT PRIMARY KEY, kind TEXT, on_id TEXT, -- @lww @ref(kind)\n"
    "  account_id TEXT REFERENCES account(id));\n"
    "-- @table scope=via(id) delete=edit_wins\n"
    "CREATE TABLE badge(id TEXT PRIMARY KEY REFERENCES account(id), name TEXT);\n"
    "-- @table scope=server delete=edit_wins\n"
    "CREATE TABLE secret(id TEXT PRIMARY KEY, name TEXT);\n"
    "-- @table scope=via(secret_id) delete=edit_wins\n"
    "CREATE TABLE pin(id TEXT PRIMARY KEY, secret_id TEXT REFERENCES secret(id));\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE city(id TEXT PRIMARY KEY, name TEXT);\n";

static const char foreign_account[] = "this row of account is not in the scope of user2";

static struct kit kit;
static uint64_t numbers[10];
static struct satchel_incoming_outcome last;

/* Users hold their logins; user3 also those of user1 and user2. */
static void open_kit(void)
{
    memset(numbers, 0, sizeof numbers);
    kit_open(&kit, schema_sql);
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    kit_run(&kit, "INSERT INTO satchel_user(login) VALUES('user1'), ('user2'), ('user3');"
                  "INSERT INTO satchel_grant VALUES('user3', 'user1'), ('user3', 'user2')");
    satchel_store_sqlite_note_users(kit.store);
    assert_ok(kit.store->ops->commit(kit.store, &kit.error));
}

static struct satchel_incoming of(uint8_t device, uint64_t seen, const struct satchel_part *parts,
                                  uint32_t count)
{
    uint64_t number = ++numbers[device];
    return kit_changeset(&kit, device, number, (int64_t)(100 * number), seen, parts, count);
}

/* The first reason for which a part was set aside; else "". */
static const char *reason_of(const struct satchel_incoming_outcome *outcome)
{
    if (outcome->result != SATCHEL_INCOMING_MERGED)
        fail_msg("not merged: %s", outcome->error.message);
    if (outcome->quarantined_count == 0)
        return "";
    struct satchel_span reason = kit_notes(&kit, outcome->cursor).quarantined[0].reason;
    char *copy = satchel_arena_alloc_zero(&kit.arena, reason.size + 1);
    assert_non_null(copy);
    memcpy(copy, reason.data, reason.size);
    return copy;
}

static const char *push(uint8_t device, uint64_t seen, struct satchel_part part)
{
    struct satchel_incoming incoming = of(device, seen, &part, 1);
    kit_merge(&kit, &incoming, 1, &last);
    return reason_of(&last);
}

static struct satchel_part account(const char *key, const char *owner, const char *name)
{
    return kit_part(&kit, INSERT, "account", key, 1, text(owner), 2, text(name), -1);
}

static struct satchel_part named(const char *table, const char *key, const char *name)
{
    return kit_part(&kit, UPDATE, table, key, 2, text(name), -1);
}

static struct satchel_part given(const char *key, const char *owner)
{
    return kit_part(&kit, UPDATE, "account", key, 1, text(owner), -1);
}

static struct satchel_part contact(const char *key, const char *of_account)
{
    return kit_part(&kit, INSERT, "contact", key, 1, text(of_account), 2, text(""), -1);
}

#define ACCOUNTS "SELECT id, owner, name FROM account ORDER BY id"

static void test_rights__a_row_out_of_scope_cannot_be_written(void **state)
{
    (void)state;
    open_kit();
    assert_string_equal(push(1, 0, account("a", "user1", "Acme")), "");
    assert_string_equal(push(2, 1, named("account", "a", "mine")), foreign_account);
    assert_string_equal(push(2, 1, given("a", "user2")), foreign_account);
    assert_string_equal(push(2, 1, kit_part(&kit, DELETE, "account", "a", -1)), foreign_account);
    assert_string_equal(push(2, 1, account("a", "user2", "mine")), foreign_account);
    assert_string_equal(push(2, 0, named("account", "a", "mine")), foreign_account);
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|Acme");
    /* the rest of a change set applies */
    struct satchel_part parts[] = {named("account", "a", "mine"), account("b", "user2", "Bolt")};
    struct satchel_incoming incoming = of(2, 1, parts, 2);
    kit_merge(&kit, &incoming, 1, &last);
    assert_string_equal(reason_of(&last), foreign_account);
    assert_int_equal(last.quarantined_count, 1);
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|Acme\nb|user2|Bolt");
    /* who sees it may */
    assert_string_equal(push(3, 1, named("account", "a", "Acme Ltd")), "");
    assert_string_equal(push(1, 1, named("account", "a", "Acme Inc")), "");
    kit_close(&kit);
}

static void test_rights__a_row_that_is_gone_stays_whose_it_was(void **state)
{
    (void)state;
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    push(1, 1, kit_part(&kit, DELETE, "account", "a", -1));
    assert_string_equal(push(2, 2, account("a", "user2", "mine")), foreign_account);
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "");
    assert_string_equal(push(1, 2, account("a", "user1", "back")), "");
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|back");
    kit_close(&kit);
}

static void test_rights__what_was_written_before_it_was_given_away_lands(void **state)
{
    (void)state;
    open_kit();
    push(2, 0, account("a", "user2", "Acme"));
    push(1, 0, account("b", "user1", "Bolt"));
    push(3, 2, given("a", "user1")); /* seq 3 */
    push(1, 2, named("account", "b", "Bolts"));
    assert_string_equal(push(2, 2, named("account", "a", "offline")), "");
    assert_string_equal(push(2, 2, contact("c", "a")), "");
    assert_string_equal(push(2, 2, named("account", "b", "never his")), foreign_account);
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|offline\nb|user1|Bolts");
    assert_string_equal(push(2, 3, named("account", "a", "knowing")), foreign_account);
    assert_string_equal(push(2, 3, contact("d", "a")),
                        "contact.account_id points outside the scope of user2");
    assert_string_equal(kit_rows(&kit, "SELECT id FROM contact"), "c");
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|offline\nb|user1|Bolts");
    kit_close(&kit);
}

/* It was his at no head that he had seen, but at one since. */
static void test_rights__a_row_that_was_his_meanwhile_may_be_written(void **state)
{
    (void)state;
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    push(3, 1, given("a", "user2"));
    push(3, 2, given("a", "user1")); /* seq 3 */
    assert_string_equal(push(2, 1, named("account", "a", "x")), "");
    assert_string_equal(push(2, 3, named("account", "a", "y")), foreign_account);
    kit_close(&kit);
}

static void test_rights__what_was_written_before_a_grant_was_lost_lands(void **state)
{
    (void)state;
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    kit_run(&kit, "DELETE FROM satchel_grant WHERE value='user1'");
    satchel_store_sqlite_note_users(kit.store);
    assert_ok(kit.store->ops->commit(kit.store, &kit.error));
    push(1, 1, account("b", "user1", "Bolt")); /* seq 2 */
    assert_string_equal(push(3, 1, named("account", "a", "offline")), "");
    assert_string_equal(push(3, 1, named("account", "b", "x")),
                        "this row of account is not in the scope of user3");
    assert_string_equal(push(3, 2, named("account", "a", "x")),
                        "this row of account is not in the scope of user3");
    kit_close(&kit);
}

static void test_rights__what_earlier_incarnations_showed_counts(void **state)
{
    (void)state;
    open_kit();
    push(2, 0, account("a", "user2", "Acme"));
    push(2, 1, account("c", "user2", "Core"));
    struct satchel_part late = named("account", "a", "knowing");
    struct satchel_part early = named("account", "a", "offline");
    struct satchel_incoming incoming = of(2, 2, &early, 1); /* it names this incarnation */
    push(3, 2, given("a", "user1"));                        /* seq 3 */
    struct satchel_incoming second = of(2, 3, &late, 1);
    struct satchel_part other = named("account", "c", "offline");
    struct satchel_incoming third = of(2, 9, &other, 1); /* it saw what the restore has lost */
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    assert_ok(incarnation_begin(satchel_store_sqlite_db(kit.store), &kit.error));
    assert_ok(kit.store->ops->commit(kit.store, &kit.error));
    push(3, 3, given("c", "user1"));
    kit_merge(&kit, &incoming, 1, &last);
    assert_string_equal(reason_of(&last), "");
    kit_merge(&kit, &second, 1, &last);
    assert_string_equal(reason_of(&last), foreign_account);
    kit_merge(&kit, &third, 1, &last);
    assert_string_equal(reason_of(&last), "");
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|offline\nc|user1|offline");
    kit_close(&kit);
}

static void test_rights__a_new_row_is_put_under_rows_that_its_author_may_write(void **state)
{
    (void)state;
    static const char outside[] = "contact.account_id points outside the scope of user2";
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    assert_string_equal(push(2, 1, contact("c", "a")), outside);
    assert_string_equal(push(2, 1, kit_part(&kit, INSERT, "badge", "a", 1, text("x"), -1)),
                        "badge.id points outside the scope of user2");
    assert_string_equal(push(2, 1, contact("d", "nowhere")), "");
    assert_string_equal(push(2, 1, kit_part(&kit, INSERT, "contact", "e", 2, text("x"), -1)), "");
    /* under what comes with it, before or after it */
    struct satchel_part parts[] = {contact("f", "b"), account("b", "user2", "Bolt"),
                                   contact("g", "b"), contact("h", "a")};
    struct satchel_incoming incoming = of(2, 1, parts, 4);
    kit_merge(&kit, &incoming, 1, &last);
    assert_int_equal(last.quarantined_count, 1);
    assert_string_equal(reason_of(&last), outside);
    assert_string_equal(kit_rows(&kit, "SELECT id FROM contact ORDER BY id"), "d\ne\nf\ng");
    /* one of two is enough */
    assert_string_equal(push(2, 1,
                             kit_part(&kit, INSERT, "note", "n", 1, text("account"), 2, text("a"),
                                      3, text("b"), -1)),
                        "");
    assert_string_equal(
        push(2, 1,
             kit_part(&kit, INSERT, "note", "o", 1, text("City"), 2, text("x"), 3, text("a"), -1)),
        "");
    assert_string_equal(
        push(2, 1, kit_part(&kit, INSERT, "note", "p", 1, text("account"), 2, text("a"), -1)),
        "note.on_id points outside the scope of user2");
    kit_close(&kit);
}

static void test_rights__what_waits_for_a_quarantined_insert_waits(void **state)
{
    (void)state;
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    push(2, 1, contact("c", "a"));
    assert_string_equal(push(2, 1, named("contact", "c", "x")),
                        "the insert of this row is not here: it was quarantined");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM contact"), "0");
    kit_close(&kit);
}

/* Of two change sets the second must not depend on whether the first was committed before. */
static void test_rights__who_made_a_row_for_others_goes_on_until_he_hears_of_it(void **state)
{
    (void)state;
    for (int together = 0; together < 2; together++) {
        open_kit();
        struct satchel_part first = account("a", "user2", "Acme");
        struct satchel_part rest[] = {named("account", "a", "Acme Ltd"), contact("c", "a")};
        struct satchel_incoming incoming[2];
        struct satchel_incoming_outcome outcomes[2];
        incoming[0] = of(1, 0, &first, 1);
        incoming[1] = of(1, 0, rest, 2);
        if (together)
            kit_merge(&kit, incoming, 2, outcomes);
        else
            for (int i = 0; i < 2; i++)
                kit_merge(&kit, &incoming[i], 1, &outcomes[i]);
        assert_string_equal(reason_of(&outcomes[0]), "");
        assert_string_equal(reason_of(&outcomes[1]), "");
        assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user2|Acme Ltd");
        assert_string_equal(kit_rows(&kit, "SELECT id FROM contact"), "c");
        push(2, 2, named("account", "a", "Acme Inc"));
        assert_string_equal(push(1, 0, named("account", "a", "Acme Corp")), "");
        assert_string_equal(push(1, 1, named("account", "a", "x")),
                            "this row of account is not in the scope of user1");
        assert_string_equal(push(1, 3, contact("d", "a")),
                            "contact.account_id points outside the scope of user1");
        kit_close(&kit);
    }
}

static void test_rights__rows_that_come_in_one_batch_are_their_authors(void **state)
{
    (void)state;
    struct satchel_incoming incoming[9];
    struct satchel_incoming_outcome outcomes[9];
    open_kit();
    struct satchel_part parts[] = {account("a", "user1", "Acme"),
                                   named("account", "a", "x"),
                                   account("a", "user2", "x"),
                                   contact("c", "a"),
                                   contact("d", "a"),
                                   contact("d", "nowhere"),
                                   account("a", "user1", "Acme Corp"),
                                   contact("e", "a"),
                                   contact("d", "a")};
    const uint8_t devices[] = {1, 2, 2, 2, 1, 2, 3, 3, 3};
    for (int i = 0; i < 9; i++)
        incoming[i] = of(devices[i], 0, &parts[i], 1);
    kit_merge(&kit, incoming, 9, outcomes);
    assert_string_equal(reason_of(&outcomes[0]), "");
    assert_string_equal(reason_of(&outcomes[1]), foreign_account);
    assert_string_equal(reason_of(&outcomes[2]), foreign_account);
    assert_string_equal(reason_of(&outcomes[3]),
                        "contact.account_id points outside the scope of user2");
    assert_string_equal(reason_of(&outcomes[4]), "");
    assert_string_equal(reason_of(&outcomes[5]),
                        "this row of contact is not in the scope of user2");
    for (int i = 6; i < 9; i++)
        assert_string_equal(reason_of(&outcomes[i]), "");
    assert_string_equal(kit_rows(&kit, "SELECT owner FROM account"), "user1");
    assert_string_equal(kit_rows(&kit, "SELECT id, account_id FROM contact ORDER BY id"),
                        "d|a\ne|a");
    kit_close(&kit);
}

static void test_rights__what_stays_on_the_server_is_not_written_from_outside(void **state)
{
    (void)state;
    open_kit();
    struct satchel_part secret =
        kit_part(&kit, INSERT, "secret", "s", 1, text("made by the server"), -1);
    struct satchel_own_changeset own = {.parts = &secret, .part_count = 1};
    static const char stay[] = "rows of secret stay on the server";
    assert_string_equal(push(1, 0, secret), stay);
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    assert_ok(satchel_own_merge(kit.store, &own, KIT_NOW_MS, &kit.arena, &last, &kit.error));
    assert_ok(kit.store->ops->commit(kit.store, &kit.error));
    assert_string_equal(reason_of(&last), "");
    assert_string_equal(push(1, 2, kit_part(&kit, UPDATE, "secret", "s", 1, text("x"), -1)), stay);
    assert_string_equal(push(1, 2, kit_part(&kit, DELETE, "secret", "s", -1)), stay);
    assert_string_equal(push(1, 2, kit_part(&kit, INSERT, "pin", "p", 1, text("s"), -1)),
                        "pin.secret_id points outside the scope of user1");
    assert_string_equal(kit_rows(&kit, "SELECT * FROM secret"), "s|made by the server");
    assert_string_equal(push(1, 2, kit_part(&kit, INSERT, "city", "x", 1, text("y"), -1)), "");
    kit_close(&kit);
}

/* What is given back after a restore was judged once; what is released is an administrator's. */
static void test_rights__forwarded_and_released_parts_are_not_judged(void **state)
{
    (void)state;
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    struct satchel_part part = named("account", "a", "given back");
    struct satchel_incoming incoming = of(2, 1, &part, 1);
    incoming.is_forwarded = true;
    kit_merge(&kit, &incoming, 1, &last);
    assert_string_equal(reason_of(&last), "");
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|given back");
    struct satchel_part released = named("account", "a", "released");
    struct satchel_own_changeset own = {
        .parts = &released, .part_count = 1, .user = satchel_span_text("user2")};
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    assert_ok(satchel_own_merge(kit.store, &own, KIT_NOW_MS, &kit.arena, &last, &kit.error));
    assert_ok(kit.store->ops->commit(kit.store, &kit.error));
    assert_string_equal(reason_of(&last), "");
    assert_string_equal(kit_rows(&kit, ACCOUNTS), "a|user1|released");
    kit_close(&kit);
}

/* Rights are those of the last commit, not those of an earlier transaction. */
static void test_rights__are_asked_for_again_in_every_transaction(void **state)
{
    (void)state;
    open_kit();
    push(1, 0, account("a", "user1", "Acme"));
    assert_string_equal(push(2, 1, named("account", "a", "x")), foreign_account);
    assert_ok(kit.store->ops->begin(kit.store, &kit.error));
    kit_run(&kit, "INSERT INTO satchel_grant VALUES('user2', 'user1')");
    satchel_store_sqlite_note_users(kit.store);
    assert_ok(kit.store->ops->commit(kit.store, &kit.error));
    assert_string_equal(push(2, 2, named("account", "a", "x")), "");
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights__a_row_out_of_scope_cannot_be_written),
        cmocka_unit_test(test_rights__a_row_that_is_gone_stays_whose_it_was),
        cmocka_unit_test(test_rights__what_was_written_before_it_was_given_away_lands),
        cmocka_unit_test(test_rights__a_row_that_was_his_meanwhile_may_be_written),
        cmocka_unit_test(test_rights__what_was_written_before_a_grant_was_lost_lands),
        cmocka_unit_test(test_rights__what_earlier_incarnations_showed_counts),
        cmocka_unit_test(test_rights__a_new_row_is_put_under_rows_that_its_author_may_write),
        cmocka_unit_test(test_rights__what_waits_for_a_quarantined_insert_waits),
        cmocka_unit_test(test_rights__who_made_a_row_for_others_goes_on_until_he_hears_of_it),
        cmocka_unit_test(test_rights__rows_that_come_in_one_batch_are_their_authors),
        cmocka_unit_test(test_rights__what_stays_on_the_server_is_not_written_from_outside),
        cmocka_unit_test(test_rights__forwarded_and_released_parts_are_not_judged),
        cmocka_unit_test(test_rights__are_asked_for_again_in_every_transaction)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
