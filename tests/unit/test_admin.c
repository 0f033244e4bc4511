/* What an administrator writes: fields set by hand, conflicts resolved, parts that were set aside
 * released or given up. */
#include "merge_kit.h"

#include <stdlib.h>

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

/* account: 0 id, 1 name, 2 phone, 3 visits, 4 amount, 5 currency, 6 answered, 7 level */
static const char schema_sql[] = "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE account (\n"
                                 "  id TEXT PRIMARY KEY,\n"
                                 "  name TEXT, -- @lww\n"
                                 "  phone TEXT, -- @lww\n"
                                 "  visits INTEGER DEFAULT 0, -- @counter\n"
                                 "  amount INTEGER, -- @group(amount)\n"
                                 "  currency TEXT, -- @group(amount)\n"
                                 "  answered TEXT, -- @first\n"
                                 "  level INTEGER CHECK (level BETWEEN 1 AND 5) -- @lww\n"
                                 ");\n"
                                 "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE link (a TEXT, b INTEGER, note TEXT,"
                                 " PRIMARY KEY(a, b));\n";

static const char open_conflicts[] = "SELECT key, field, mine, kept, by_user FROM satchel_conflicts"
                                     " WHERE resolved IS NULL ORDER BY 1,2,3";

typedef enum satchel_status (*command)(struct satchel_workspace *, struct satchel_job *);

/* Runs a verb in a transaction of its own; its words end with NULL. */
static enum satchel_status run(struct kit *kit, command verb, ...)
{
    struct satchel_value words[16];
    struct satchel_workspace workspace = {.store = kit->store, .name = "w"};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ADMIN);
    uint32_t count = 2; /* the verb and the workspace, which nobody looks at here */
    words[0] = words[1] = text("w");
    va_list arguments;
    va_start(arguments, verb);
    for (const char *word; (word = va_arg(arguments, const char *)) != NULL;)
        words[count++] = text(word);
    va_end(arguments);
    job->request.admin.arguments = words;
    job->request.admin.argument_count = count;
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

static void assert_refused(struct kit *kit, enum satchel_status status, enum satchel_status wanted,
                           const char *words)
{
    assert_int_equal(status, wanted);
    if (!strstr(kit->error.message, words))
        fail_msg("'%s' does not say '%s'", kit->error.message, words);
}

static void open_with_account(struct kit *kit)
{
    kit_open(kit, schema_sql);
    kit_push(kit, 1, 1, 0, 0,
             kit_part(kit, INSERT, "account", "a", 1, text("Acme"), 2, text("1"), 4, integer(10), 5,
                      text("CNY"), -1));
}

static const char *conflict_id(struct kit *kit)
{
    static char id[64];
    snprintf(id, sizeof id, "%s",
             kit_rows(kit, "SELECT id FROM satchel_conflicts WHERE resolved IS NULL"));
    return id;
}

/* ---- set ---- */

static void test_set__writes_fields_as_the_server_does(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    assert_ok(
        run(&kit, set_job, "account", "a", "phone=555", "amount=20", "visits=7", "name", NULL));
    assert_string_equal(kit_rows(&kit, "SELECT name, phone, visits, amount, currency FROM account"),
                        "NULL|555|7|20|CNY");
    assert_string_equal(
        kit_rows(&kit, "SELECT user, number FROM satchel_entry ORDER BY cursor DESC LIMIT 1"),
        "satchel-server|1");
    /* somebody who had not seen it is in conflict with the server as with anybody */
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("2"), -1));
    assert_string_equal(kit_rows(&kit, open_conflicts), "a|phone|2|555|user2");
    kit_close(&kit);
}

static void test_set__says_what_is_wrong(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    assert_refused(&kit, run(&kit, set_job, "nothing", "a", "phone=1", NULL), SATCHEL_NOT_FOUND,
                   "no synced table 'nothing'");
    assert_refused(&kit, run(&kit, set_job, "account", "b", "phone=1", NULL), SATCHEL_NOT_FOUND,
                   "account has no row b");
    assert_refused(&kit, run(&kit, set_job, "account", "a", "fax=1", NULL), SATCHEL_NOT_FOUND,
                   "account has no column 'fax'");
    assert_refused(&kit, run(&kit, set_job, "account", "a", "id=1", NULL), SATCHEL_REFUSED, "key");
    assert_refused(&kit, run(&kit, set_job, "account", "a", NULL), SATCHEL_INVALID, "FIELD=VALUE");
    assert_refused(&kit, run(&kit, set_job, "account", "a", "visits=many", NULL), SATCHEL_REFUSED,
                   "visits");
    assert_refused(&kit, run(&kit, set_job, "account", "a", "level=9", NULL), SATCHEL_REFUSED,
                   "CHECK");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_entry"), "1");
    kit_close(&kit);
}

static void test_set__finds_rows_by_keys_of_several_columns(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    struct satchel_value key[] = {text("x\"y"), integer(7)};
    struct satchel_part part = kit_part(&kit, INSERT, "link", "", 2, text("n"), -1);
    part.key = key;
    part.key_count = 2;
    kit_push(&kit, 2, 1, 0, 0, part);
    assert_ok(run(&kit, set_job, "link", "[\"x\\\"y\", 7]", "note=m", NULL));
    assert_string_equal(kit_rows(&kit, "SELECT a, b, note FROM link"), "x\"y|7|m");
    assert_refused(&kit, run(&kit, set_job, "link", "x", "note=m", NULL), SATCHEL_INVALID,
                   "JSON array of 2 values");
    kit_close(&kit);
}

/* ---- resolve ---- */

static void push_two_phones(struct kit *kit)
{
    kit_push(kit, 2, 1, 1000, 1, kit_part(kit, UPDATE, "account", "a", 2, text("two"), -1));
    kit_push(kit, 3, 1, 9000, 1, kit_part(kit, UPDATE, "account", "a", 2, text("three"), -1));
}

static void test_resolve__takes_the_winner_the_loser_or_another_value(void **state)
{
    (void)state;
    static const char *const takes[] = {"winner", "loser", "four"};
    static const char *const phones[] = {"three", "two", "four"};
    for (int i = 0; i < 3; i++) {
        struct kit kit;
        open_with_account(&kit);
        push_two_phones(&kit);
        char id[64];
        snprintf(id, sizeof id, "%s", conflict_id(&kit));
        assert_ok(run(&kit, resolve_job, id, takes[i], NULL));
        assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), phones[i]);
        assert_string_equal(kit_rows(&kit, open_conflicts), "");
        assert_refused(&kit, run(&kit, resolve_job, id, "winner", NULL), SATCHEL_STATE, "closed");
        kit_close(&kit);
    }
}

static void test_resolve__a_group_moves_together(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1,
             kit_part(&kit, UPDATE, "account", "a", 4, integer(5), 5, text("EUR"), -1));
    kit_push(&kit, 3, 1, 2000, 1,
             kit_part(&kit, UPDATE, "account", "a", 4, integer(6), 5, text("CNY"), -1));
    char id[64];
    snprintf(id, sizeof id, "%s", conflict_id(&kit));
    assert_refused(&kit, run(&kit, resolve_job, id, "7", NULL), SATCHEL_REFUSED, "group");
    assert_ok(run(&kit, resolve_job, id, "loser", NULL));
    assert_string_equal(kit_rows(&kit, "SELECT amount, currency FROM account"), "5|EUR");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    kit_close(&kit);
}

static void test_resolve__a_lost_delete_is_settled_either_way(void **state)
{
    (void)state;
    for (int is_deleted = 0; is_deleted < 2; is_deleted++) {
        struct kit kit;
        open_with_account(&kit);
        kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("2"), -1));
        kit_push(&kit, 3, 1, 2000, 1, kit_part(&kit, DELETE, "account", "a", -1));
        assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), "1");
        char id[64];
        snprintf(id, sizeof id, "%s", conflict_id(&kit));
        assert_refused(&kit, run(&kit, resolve_job, id, "3", NULL), SATCHEL_REFUSED, "winner");
        assert_ok(run(&kit, resolve_job, id, is_deleted ? "loser" : "winner", NULL));
        assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM account"), is_deleted ? "0" : "1");
        assert_string_equal(kit_rows(&kit, open_conflicts), "");
        kit_close(&kit);
    }
}

static void test_resolve__a_rule_that_keeps_its_value_says_so(void **state)
{
    (void)state;
    struct kit kit;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 6, text("chen"), -1));
    kit_push(&kit, 3, 1, 2000, 1, kit_part(&kit, UPDATE, "account", "a", 6, text("li"), -1));
    char id[64];
    snprintf(id, sizeof id, "%s", conflict_id(&kit));
    assert_refused(&kit, run(&kit, resolve_job, id, "loser", NULL), SATCHEL_REFUSED,
                   "only the winner");
    assert_string_equal(kit_rows(&kit, "SELECT answered FROM account"), "chen");
    assert_ok(run(&kit, resolve_job, id, "winner", NULL));
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    assert_refused(&kit, run(&kit, resolve_job, "nonsense", "winner", NULL), SATCHEL_INVALID,
                   "no conflict's id");
    assert_refused(&kit, run(&kit, resolve_job, "00000000000000000000000000000000", "winner", NULL),
                   SATCHEL_NOT_FOUND, "no such conflict");
    kit_close(&kit);
}

/* ---- quarantine ---- */

static const char waiting[] = "SELECT cursor, part, state FROM satchel_quarantine ORDER BY 1, 2";

/* A row whose level its CHECK refuses, and an update that waits for it; the ids of both. */
static void set_aside(struct kit *kit, char insert[128], char update[128])
{
    char device[SATCHEL_ID_TEXT_BYTES];
    struct satchel_id id = kit_device(2);
    satchel_id_text(&id, device);
    kit_open(kit, schema_sql);
    assert_int_equal(
        kit_push(kit, 2, 1, 1000, 0,
                 kit_part(kit, INSERT, "account", "b", 2, text("1"), 7, integer(9), -1)),
        1);
    assert_int_equal(
        kit_push(kit, 2, 2, 2000, 0,
                 kit_part(kit, UPDATE, "account", "b", 2, text("2"), 7, integer(3), -1)),
        1);
    snprintf(insert, 128, "%s.1.0", device);
    snprintf(update, 128, "%s.2.0", device);
}

static void test_quarantine__what_is_refused_again_stays(void **state)
{
    (void)state;
    struct kit kit;
    char insert[128], update[128];
    set_aside(&kit, insert, update);
    assert_string_equal(kit_rows(&kit, waiting), "1|0|waiting\n2|0|waiting");
    assert_ok(run(&kit, quarantine_retry_job, insert, NULL));
    assert_string_equal(kit_rows(&kit, waiting), "1|0|waiting\n2|0|waiting");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_entry"), "2");
    kit_close(&kit);
}

static void test_quarantine__an_insert_takes_along_what_waits_for_it(void **state)
{
    (void)state;
    struct kit kit;
    char insert[128], update[128];
    set_aside(&kit, insert, update);
    kit_run(&kit, "PRAGMA ignore_check_constraints=ON"); /* as if a migration had lifted it */
    assert_ok(run(&kit, quarantine_retry_job, insert, NULL));
    assert_string_equal(kit_rows(&kit, waiting), "1|0|retried\n2|0|retried");
    assert_string_equal(kit_rows(&kit, "SELECT phone, level FROM account"), "2|3");
    assert_string_equal(kit_rows(&kit, "SELECT user FROM satchel_entry ORDER BY cursor"),
                        "user2\nuser2\nuser2\nuser2");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    assert_refused(&kit, run(&kit, quarantine_retry_job, insert, NULL), SATCHEL_STATE, "settled");
    kit_close(&kit);
}

static void test_quarantine__a_released_write_does_not_know_what_its_author_did_not(void **state)
{
    (void)state;
    struct kit kit;
    char device[SATCHEL_ID_TEXT_BYTES], id[128];
    struct satchel_id two = kit_device(2);
    satchel_id_text(&two, device);
    open_with_account(&kit);
    /* the author's own phone, not synced in between: the refused write knew it */
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("own"), -1));
    assert_int_equal(
        kit_push(&kit, 2, 2, 2000, 1,
                 kit_part(&kit, UPDATE, "account", "a", 2, text("set aside"), 7, integer(9), -1)),
        1);
    kit_run(&kit, "PRAGMA ignore_check_constraints=ON");
    snprintf(id, sizeof id, "%s.2.0", device);
    assert_ok(run(&kit, quarantine_retry_job, id, NULL));
    assert_string_equal(kit_rows(&kit, "SELECT phone FROM account"), "set aside");
    assert_string_equal(kit_rows(&kit, open_conflicts), "");
    kit_close(&kit);

    open_with_account(&kit);
    assert_int_equal(
        kit_push(&kit, 2, 1, 2000, 1,
                 kit_part(&kit, UPDATE, "account", "a", 2, text("set aside"), 7, integer(9), -1)),
        1);
    /* somebody else's, meanwhile: it did not */
    kit_push(&kit, 3, 1, 3000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("other"), -1));
    kit_run(&kit, "PRAGMA ignore_check_constraints=ON");
    snprintf(id, sizeof id, "%s.1.0", device);
    assert_ok(run(&kit, quarantine_retry_job, id, NULL));
    assert_string_equal(kit_rows(&kit, open_conflicts), "a|phone|other|set aside|user3");
    /* a conflict that it loses is its author's */
    kit_push(&kit, 4, 1, 9000000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("late"), -1));
    assert_string_equal(kit_rows(&kit, open_conflicts),
                        "a|phone|other|late|user3\na|phone|set aside|late|user2");
    kit_close(&kit);
}

static struct {
    const struct satchel_store_ops *ops;
    unsigned until; /* the read that fails, counted down */
} failing;

/* What a read that fails leaves behind is not to be looked at. */
static enum satchel_status load_or_fail(struct satchel_store *store, const uint64_t *cursors,
                                        size_t count, struct satchel_entry *entries,
                                        struct satchel_span *timelines, struct satchel_arena *arena,
                                        struct satchel_error *error)
{
    if (--failing.until > 0)
        return failing.ops->load_entries(store, cursors, count, entries, timelines, arena, error);
    for (size_t i = 0; i < count; i++)
        timelines[i] = satchel_span_of((const void *)(uintptr_t)1, 1);
    return satchel_error_set(error, SATCHEL_IO, "no read %zu", count);
}

static void test_quarantine__a_read_that_fails_releases_nothing(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_store_ops ops;
    char device[SATCHEL_ID_TEXT_BYTES], id[128];
    struct satchel_id two = kit_device(2);
    enum satchel_status status = SATCHEL_IO;
    unsigned reads = 0;
    open_with_account(&kit);
    kit_push(&kit, 2, 1, 1000, 1, kit_part(&kit, UPDATE, "account", "a", 2, text("own"), -1));
    kit_push(&kit, 2, 2, 2000, 1, kit_part(&kit, UPDATE, "account", "a", 7, integer(9), -1));
    kit_run(&kit, "PRAGMA ignore_check_constraints=ON");
    satchel_id_text(&two, device);
    snprintf(id, sizeof id, "%s.2.0", device);
    ops = *kit.store->ops;
    failing.ops = kit.store->ops;
    ops.load_entries = load_or_fail;
    kit.store->ops = &ops;
    while (status == SATCHEL_IO) {
        assert_string_equal(kit_rows(&kit, waiting), "3|0|waiting");
        failing.until = ++reads;
        status = run(&kit, quarantine_retry_job, id, NULL);
    }
    assert_ok(status);
    assert_true(reads > 3);
    assert_string_equal(kit_rows(&kit, waiting), "3|0|retried");
    kit.store->ops = failing.ops;
    kit_close(&kit);
}

static void test_quarantine__what_is_dropped_stays_on_record(void **state)
{
    (void)state;
    struct kit kit;
    char insert[128], update[128];
    set_aside(&kit, insert, update);
    assert_refused(&kit, run(&kit, quarantine_drop_job, NULL), SATCHEL_INVALID, "which one");
    assert_refused(&kit, run(&kit, quarantine_drop_job, "zzz", NULL), SATCHEL_INVALID,
                   "no id of the list");
    assert_ok(run(&kit, quarantine_drop_job, update, NULL));
    assert_string_equal(kit_rows(&kit, waiting), "1|0|waiting\n2|0|dropped");
    kit_run(&kit, "PRAGMA ignore_check_constraints=ON");
    assert_ok(run(&kit, quarantine_retry_job, NULL));
    assert_string_equal(kit_rows(&kit, "SELECT phone, level FROM account"), "1|9");
    assert_string_equal(kit_rows(&kit, waiting), "1|0|retried\n2|0|dropped");
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set__writes_fields_as_the_server_does),
        cmocka_unit_test(test_set__says_what_is_wrong),
        cmocka_unit_test(test_set__finds_rows_by_keys_of_several_columns),
        cmocka_unit_test(test_resolve__takes_the_winner_the_loser_or_another_value),
        cmocka_unit_test(test_resolve__a_group_moves_together),
        cmocka_unit_test(test_resolve__a_lost_delete_is_settled_either_way),
        cmocka_unit_test(test_resolve__a_rule_that_keeps_its_value_says_so),
        cmocka_unit_test(test_quarantine__what_is_refused_again_stays),
        cmocka_unit_test(test_quarantine__an_insert_takes_along_what_waits_for_it),
        cmocka_unit_test(test_quarantine__a_released_write_does_not_know_what_its_author_did_not),
        cmocka_unit_test(test_quarantine__a_read_that_fails_releases_nothing),
        cmocka_unit_test(test_quarantine__what_is_dropped_stays_on_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
