/* Who gets into a workspace: users, invites, devices and their tokens. */
#include "workspace_kit.h"

static void test_enrol__an_invite_lets_one_device_in_once(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob, other = device_new(3);
    char code[32], lower[32];
    open_joined(&fixture, &ann, &bob);
    invite(&fixture, "ann", code);
    /* as people type it */
    size_t length = 0;
    for (size_t i = 0; code[i]; i++)
        if (code[i] != '-')
            lower[length++] = code[i] >= 'A' ? (char)(code[i] + 32) : code[i];
    lower[length] = '\0';
    assert_ok(join(&fixture, &other, lower));
    assert_ok(join(&fixture, &other, code)); /* the answer was lost */
    struct device third = device_new(4);
    assert_int_equal(join(&fixture, &third, code), SATCHEL_DENIED);
    assert_non_null(strstr(fixture.error.message, "used"));
    other.token[0] ^= 1;
    assert_int_equal(join(&fixture, &other, code), SATCHEL_DENIED);
    assert_int_equal(join(&fixture, &third, "00000-00000-00000-00000"), SATCHEL_DENIED);
    assert_int_equal(join(&fixture, &third, "nonsense"), SATCHEL_DENIED);
    assert_int_equal(join(&fixture, &third, ""), SATCHEL_DENIED);
    assert_string_equal(sql(&fixture, "SELECT user, count(*) FROM satchel_device"
                                      " WHERE user <> 'satchel-server' GROUP BY 1"),
                        "ann|2\nbob|1");
    fixture_close(&fixture);
}

static void test_enrol__an_expired_invite_is_told_so(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob, other = device_new(3);
    char code[32], path[100];
    sqlite3 *db;
    open_joined(&fixture, &ann, &bob);
    invite(&fixture, "ann", code);
    snprintf(path, sizeof path, "%s/w.db", fixture.directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE satchel_invite SET expires = expires - 86400001",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(join(&fixture, &other, code), SATCHEL_DENIED);
    assert_non_null(strstr(fixture.error.message, "expired"));
    fixture_close(&fixture);
}

static void test_enrol__invites_are_for_active_users_of_the_schema(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "invite", "w", "nobody", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_NOT_FOUND);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_ADMIN, "invite", "w", "gone", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_DENIED);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_ADMIN, "user.add", "w", "carl", "rep", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_STATE);
    satchel_job_free(job);
    fixture_close(&fixture);
}

static void test_enrol__users_are_added_where_the_schema_has_none(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device carl = device_new(1);
    struct satchel_message_welcome welcome;
    char code[32];
    fixture_open(&fixture);
    assert_ok(create(&fixture, "w", kit_plain_sql));
    struct satchel_job *job =
        verb(SATCHEL_JOB_ADMIN, "user.add", "w", "carl", "rep", "north", NULL);
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_ADMIN, "user.add", "w", "carl", "rep", NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_EXISTS);
    satchel_job_free(job);
    invite(&fixture, "carl", code);
    assert_ok(join(&fixture, &carl, code));
    assert_ok(attach(&fixture, &carl, &welcome));
    fixture_close(&fixture);
}

static void test_enrol__attach_checks_the_token_and_the_past(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    open_joined(&fixture, &ann, &bob);
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_int_equal(welcome.head, 1); /* the first rows */
    assert_int_equal(welcome.schema, 1);
    ann.node = welcome.node;
    ann.cursor = 1;
    assert_ok(attach(&fixture, &ann, NULL));
    struct device wrong = ann;
    wrong.token[5] ^= 1;
    assert_int_equal(attach(&fixture, &wrong, NULL), SATCHEL_DENIED);
    wrong = ann;
    wrong.id.bytes[0] ^= 1;
    assert_int_equal(attach(&fixture, &wrong, NULL), SATCHEL_DENIED);
    wrong = ann;
    wrong.workspace_id.bytes[0] ^= 1;
    assert_int_equal(attach(&fixture, &wrong, NULL), SATCHEL_MISMATCH);
    /* Its log and the server's part: before anything, or at the server's end. */
    wrong = ann;
    wrong.node.bytes[0] ^= 1;
    assert_ok(attach(&fixture, &wrong, &welcome));
    assert_int_equal(welcome.cursor, 0);
    wrong = ann;
    wrong.cursor = 2;
    assert_ok(attach(&fixture, &wrong, &welcome));
    assert_int_equal(welcome.cursor, 1);
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_int_equal(welcome.cursor, 1);
    assert_string_equal(sql(&fixture, "SELECT cursor, clock_error, software FROM satchel_device"
                                      " WHERE user = 'ann'"),
                        "1|-1500|test 1");
    fixture_close(&fixture);
}

/* As if it had been merged; the writer has nothing to do meanwhile. */
static void write_user(struct fixture *fixture, const char *statement)
{
    assert_ok(satchel_db_exec(satchel_store_sqlite_db(fixture->workspace->store), statement,
                              &fixture->error));
}

static void test_enrol__a_user_who_is_no_longer_active_gets_no_further(void **state)
{
    (void)state;
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = {9};
    struct fixture fixture;
    struct device ann, bob, other;
    struct satchel_message_welcome welcome;
    struct satchel_value key = satchel_value_text(satchel_span_text("ann"));
    struct satchel_field field = {3, satchel_value_integer(0)};
    struct satchel_changeset_header header = {.schema = 1, .part_count = 1};
    struct satchel_part part = {.kind = SATCHEL_OP_UPDATE,
                                .table = 1,
                                .key = &key,
                                .key_count = 1,
                                .fields = &field,
                                .field_count = 1};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PUSH};
    struct satchel_push_item item = {1, 1, secret, {NULL, 0}};
    struct satchel_buffer body;
    char code[32];
    open_joined(&fixture, &ann, &bob);
    invite(&fixture, "ann", code);
    assert_ok(attach(&fixture, &ann, NULL));
    /* bob says so, on his own replica */
    satchel_buffer_init(&body, 4096, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    assert_ok(satchel_changeset_write_part(&body, &part));
    item.body = satchel_buffer_span(&body);
    message.push.items = &item;
    message.push.item_count = 1;
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_PUSH);
    job->device = bob.id;
    assert_ok(satchel_job_take_request(job, &message));
    satchel_buffer_deinit(&body);
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    other = ann;
    other.cursor = 99; /* the server was restored: she may have what makes her active */
    assert_int_equal(attach(&fixture, &other, NULL), SATCHEL_BUSY);
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_true(welcome.is_drained);
    write_user(&fixture, "UPDATE person SET active = 1 WHERE login = 'ann'");
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_false(welcome.is_drained);
    ann.drain = SATCHEL_DRAINING; /* had heard of it: no way back */
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_true(welcome.is_drained);
    write_user(&fixture, "DELETE FROM person WHERE login = 'ann'");
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_true(welcome.is_drained);
    ann.drain = SATCHEL_NOT_DRAINED; /* a name mistyped wipes no phone */
    assert_int_equal(attach(&fixture, &ann, NULL), SATCHEL_BUSY);
    job = satchel_job_new(SATCHEL_JOB_WIPED);
    job->device = ann.id;
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    assert_ok(attach(&fixture, &ann, NULL)); /* another file, so it seems */
    ann.drain = SATCHEL_WIPED;
    assert_int_equal(attach(&fixture, &ann, NULL), SATCHEL_DENIED);
    other = device_new(3);
    assert_int_equal(join(&fixture, &other, code), SATCHEL_DENIED);
    bob.last_number = 1;
    assert_ok(attach(&fixture, &bob, NULL));
    fixture_close(&fixture);
}

static void test_enrol__what_hello_says_outlives_its_frame(void **state)
{
    (void)state;
    struct satchel_position there = {.node = {.bytes = {7}}, .seq = 5};
    const struct satchel_vector vector = {.items = &there, .count = 1};
    const struct satchel_message message = {.kind = SATCHEL_MESSAGE_HELLO,
                                            .hello = {.lineage = vector, .receipts = vector}};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ATTACH);
    assert_ok(satchel_job_take_request(job, &message));
    there.seq = 0;
    assert_int_equal(job->request.hello.lineage.items[0].seq, 5);
    assert_int_equal(job->request.hello.receipts.items[0].seq, 5);
    satchel_job_free(job);
}

static void test_enrol__nobody_joins_as_the_server(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann = device_new(1), node = device_new(2);
    struct satchel_message_welcome welcome;
    char code[32];
    fixture_open(&fixture);
    assert_ok(create(&fixture, "w", kit_plain_sql)); /* no first rows: the node is no device yet */
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "user.add", "w", "ann", "rep", NULL);
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    invite(&fixture, "ann", code);
    assert_ok(join(&fixture, &ann, code));
    assert_ok(attach(&fixture, &ann, &welcome));
    invite(&fixture, "ann", code);
    node.id = welcome.node;
    assert_int_equal(join(&fixture, &node, code), SATCHEL_DENIED);
    node = device_new(3);
    assert_ok(join(&fixture, &node, code)); /* the invite is not used up */
    fixture_close(&fixture);
}

static void test_enrol__a_login_that_no_entry_could_carry_gets_no_invite(void **state)
{
    (void)state;
    static const char long_login_sql[] =
        "-- @table scope=all delete=edit_wins\n"
        "CREATE TABLE person (login TEXT PRIMARY KEY);\n"
        "CREATE VIEW satchel_users AS SELECT login, login AS id, 'rep' AS role, 1 AS active"
        " FROM person;\n"
        "INSERT INTO person VALUES (printf('%.128c', 'x')), (printf('%.129c', 'x'));\n";
    struct fixture fixture;
    char login[130];
    memset(login, 'x', 129);
    login[129] = '\0';
    fixture_open(&fixture);
    assert_ok(create(&fixture, "w", long_login_sql));
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "invite", "w", login, NULL);
    assert_int_equal(run(&fixture, job), SATCHEL_LIMIT);
    satchel_job_free(job);
    job = verb(SATCHEL_JOB_ADMIN, "invite", "w", login + 1, NULL);
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enrol__an_invite_lets_one_device_in_once),
        cmocka_unit_test(test_enrol__an_expired_invite_is_told_so),
        cmocka_unit_test(test_enrol__invites_are_for_active_users_of_the_schema),
        cmocka_unit_test(test_enrol__users_are_added_where_the_schema_has_none),
        cmocka_unit_test(test_enrol__attach_checks_the_token_and_the_past),
        cmocka_unit_test(test_enrol__a_user_who_is_no_longer_active_gets_no_further),
        cmocka_unit_test(test_enrol__what_hello_says_outlives_its_frame),
        cmocka_unit_test(test_enrol__nobody_joins_as_the_server),
        cmocka_unit_test(test_enrol__a_login_that_no_entry_could_carry_gets_no_invite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
