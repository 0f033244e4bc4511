/* satchel_sync_* by hand against a small server in memory, made of the protocol's own session: the
 * attach rule, uploads and their stamps, resuming after a cut at any frame, watching. */
#include "node_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LOG_MAX = 512, FRAMES_MAX = 100000 };

/* ---- the server: every change set takes effect as it stands ---- */

struct logged {
    struct satchel_id device;
    uint64_t number;
    satchel_stamp stamp;
    uint8_t secret[SATCHEL_SECRET_BYTES];
    struct satchel_span body; /* owned */
};

struct server {
    struct satchel_id node;
    struct logged log[LOG_MAX]; /* log[i] has cursor and seq i + 1 */
    uint32_t log_count;
    uint64_t device_number; /* of the replica under test */
    const char *const *migrations;
    uint32_t migration_count;

    struct satchel_session *session;
    uint64_t held_number; /* when the session began */
    uint64_t sent_cursor; /* in this session */
    uint32_t frames_left; /* the connection is cut when none is */
    uint64_t push_frames, entry_frames;
    uint32_t copy_count; /* COPY heard */
    struct satchel_id copy;
    bool has_said_end; /* HEAD, in this session */
};

static struct satchel_now at(int64_t ms)
{
    struct satchel_now now = {1800000000000 + ms, ms};
    return now;
}

static int64_t clock_ms; /* of both ends in the session; moves with each frame */

static void server_send(struct server *server, const struct satchel_message *message)
{
    assert_int_equal(satchel_session_send(server->session, message), SATCHEL_OK);
}

static void server_log(struct server *server, const struct satchel_id *device, uint64_t number,
                       satchel_stamp stamp, const uint8_t *secret, struct satchel_span body)
{
    assert_true(server->log_count < LOG_MAX);
    struct logged *logged = &server->log[server->log_count++];
    uint8_t *copy = malloc(body.size);
    assert_non_null(copy);
    memcpy(copy, body.data, body.size);
    *logged = (struct logged){*device, number, stamp, {0}, {copy, body.size}};
    memcpy(logged->secret, secret, sizeof logged->secret);
}

static void server_welcome(struct server *server, const struct satchel_message_hello *hello)
{
    struct satchel_position position = {server->node, server->log_count};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_WELCOME};
    message.welcome.node = server->node;
    message.welcome.vector = (struct satchel_vector){&position, server->log_count ? 1 : 0};
    message.welcome.head = server->log_count;
    message.welcome.last_number = server->device_number;
    message.welcome.schema = server->migration_count;
    message.welcome.cursor = satchel_id_equal(&hello->node, &server->node) ? hello->cursor : 0;
    message.welcome.user = satchel_span_text("ann");
    message.welcome.role = satchel_span_text("rep");
    server_send(server, &message);
    server->sent_cursor = hello->cursor;
    server->held_number = server->device_number;
    server->has_said_end = false;
    if (hello->schema < server->migration_count) {
        struct satchel_migration migrations[8];
        message = (struct satchel_message){.kind = SATCHEL_MESSAGE_SCHEMA};
        message.schema.migrations = migrations;
        for (uint64_t i = hello->schema; i < server->migration_count; i++)
            migrations[message.schema.migration_count++] = (struct satchel_migration){
                i + 1, satchel_span_text("00x.sql"), satchel_span_text(server->migrations[i])};
        server_send(server, &message);
    }
}

static void assert_same(const struct server *server, const struct satchel_id *device,
                        const struct satchel_push_item *item)
{
    for (uint32_t i = 0; i < server->log_count; i++) {
        const struct logged *logged = &server->log[i];
        if (logged->number != item->number || !satchel_id_equal(&logged->device, device))
            continue;
        assert_true(satchel_span_equal(logged->body, item->body));
        assert_memory_equal(logged->secret, item->secret, SATCHEL_SECRET_BYTES);
        return;
    }
    fail_msg("change set %d is not held", (int)item->number);
}

static void server_take(struct server *server, const struct satchel_id *device,
                        const struct satchel_message *message)
{
    switch (message->kind) {
    case SATCHEL_MESSAGE_HELLO: server_welcome(server, &message->hello); return;
    case SATCHEL_MESSAGE_PUSH: {
        struct satchel_message ack = {.kind = SATCHEL_MESSAGE_ACK};
        server->push_frames++;
        for (uint32_t i = 0; i < message->push.item_count; i++) {
            const struct satchel_push_item *item = &message->push.items[i];
            if (item->number <= server->device_number) { /* again: the same, and acknowledged */
                assert_same(server, device, item);
                continue;
            }
            assert_int_equal(item->number, server->device_number + 1);
            server->device_number = item->number;
            server_log(server, device, item->number, item->stamp, item->secret, item->body);
        }
        ack.ack.number = server->device_number;
        server_send(server, &ack);
        return;
    }
    case SATCHEL_MESSAGE_COPY: {
        struct satchel_message copied = {.kind = SATCHEL_MESSAGE_COPIED};
        const struct satchel_message_copy *copy = &message->copy;
        server->copy_count++;
        server->copy = satchel_copy_id(device, copy->number - 1, copy->hash.data);
        copied.copied.device = server->copy;
        server_send(server, &copied);
        return;
    }
    case SATCHEL_MESSAGE_DIGEST_REQUEST: {
        /* It has nothing to compare: of another schema nobody can. */
        struct satchel_message digests = {.kind = SATCHEL_MESSAGE_DIGESTS};
        digests.digests.cursor = server->log_count;
        digests.digests.schema = server->migration_count + 1;
        digests.digests.is_settled = 1;
        server_send(server, &digests);
        return;
    }
    default: return;
    }
}

/* One entry per frame, so that a cut finds many places. */
static void server_stream(struct server *server, const struct satchel_id *device)
{
    while (satchel_session_is_attached(server->session) &&
           server->sent_cursor < server->log_count) {
        const struct logged *logged = &server->log[server->sent_cursor++];
        struct satchel_entry entry = {
            .cursor = server->sent_cursor,
            .seq = server->sent_cursor,
            .device = logged->device,
            .number = logged->number,
            .stamp = logged->stamp,
            .user = satchel_span_text("x"),
            .secret = logged->secret,
        };
        if (!satchel_id_equal(&logged->device, device) || logged->number <= server->held_number)
            entry.body = logged->body;
        struct satchel_message message = {.kind = SATCHEL_MESSAGE_ENTRIES};
        message.entries.entries = &entry;
        message.entries.entry_count = 1;
        server->entry_frames++;
        server_send(server, &message);
    }
    if (satchel_session_is_attached(server->session) && !server->has_said_end) {
        const struct satchel_position position = {server->node, server->log_count};
        struct satchel_message message = {.kind = SATCHEL_MESSAGE_HEAD};
        message.head.cursor = server->sent_cursor;
        message.head.vector = (struct satchel_vector){&position, server->log_count ? 1 : 0};
        server_send(server, &message);
        server->has_said_end = true;
    }
}

static void server_open(struct server *server, uint32_t frame_count)
{
    struct satchel_session_options options = {
        .size = sizeof options, .side = SATCHEL_SIDE_SERVER, .output_bytes_max = 1 << 28};
    satchel_session_free(server->session);
    server->frames_left = frame_count;
    assert_int_equal(satchel_session_new(&server->session, &options, at(clock_ms)), SATCHEL_OK);
}

static void server_close(struct server *server)
{
    satchel_session_free(server->session);
    for (uint32_t i = 0; i < server->log_count; i++)
        free((void *)(uintptr_t)server->log[i].body.data);
}

/* ---- both ends ---- */

/* Moves frames until both are quiet or the connection is cut; false if it was. */
static bool pump(struct node_kit *kit, struct server *server, satchel_sync *sync, bool *is_done,
                 enum satchel_status *status, struct satchel_error *error)
{
    struct satchel_session *client = satchel_sync_session(sync);
    struct satchel_span frame;
    struct satchel_message message;
    bool has_moved = true;
    *status = SATCHEL_OK;
    while (has_moved && *status == SATCHEL_OK) {
        has_moved = false;
        while (satchel_session_next_output(client, &frame)) {
            has_moved = true;
            if (server->frames_left-- == 0)
                return false;
            clock_ms++;
            assert_int_equal(satchel_session_receive(server->session, frame.data, frame.size, true,
                                                     at(clock_ms)),
                             SATCHEL_OK);
            while (satchel_session_next_event(server->session, &message))
                server_take(server, &kit->replica->device, &message);
        }
        server_stream(server, &kit->replica->device);
        while (*status == SATCHEL_OK && satchel_session_next_output(server->session, &frame)) {
            has_moved = true;
            if (server->frames_left-- == 0)
                return false;
            clock_ms++;
            enum satchel_status received =
                satchel_session_receive(client, frame.data, frame.size, true, at(clock_ms));
            *status = satchel_sync_step(sync, at(clock_ms), is_done, error);
            if (*status == SATCHEL_OK)
                assert_int_equal(received, SATCHEL_OK);
        }
        if (*status == SATCHEL_OK)
            *status = satchel_sync_step(sync, at(++clock_ms), is_done, error);
        has_moved = has_moved || satchel_session_output_bytes(client) > 0;
    }
    return true;
}

static enum satchel_status sync_once(struct node_kit *kit, struct server *server,
                                     uint32_t frame_count, bool *is_done,
                                     struct satchel_sync_report *report,
                                     struct satchel_error *error)
{
    satchel_sync *sync;
    struct satchel_sync_options options = {.size = sizeof options};
    enum satchel_status status =
        satchel_sync_new(&sync, kit->sync_replica, &options, at(clock_ms), error);
    *is_done = false;
    if (status != SATCHEL_OK)
        return status;
    server_open(server, frame_count);
    pump(kit, server, sync, is_done, &status, error);
    if (report)
        satchel_sync_get_report(sync, report);
    satchel_sync_free(sync);
    return status;
}

static void sync_whole(struct node_kit *kit, struct server *server,
                       struct satchel_sync_report *report)
{
    struct satchel_error error = {0};
    bool is_done;
    enum satchel_status status = sync_once(kit, server, FRAMES_MAX, &is_done, report, &error);
    if (status != SATCHEL_OK)
        print_error("%s\n", error.message);
    assert_int_equal(status, SATCHEL_OK);
    assert_true(is_done);
}

/* Another device's change set reaches the server. */
static void other_pushes(struct node_kit *kit, struct server *server, enum satchel_op_kind kind,
                         const char *id, const struct satchel_field *fields)
{
    static const uint8_t SECRET[SATCHEL_SECRET_BYTES] = {9};
    entry_begin(kit);
    entry_part(kit, kind, id, fields);
    struct satchel_entry entry = entry_of_other(kit);
    server_log(server, &entry.device, entry.number, entry.stamp, SECRET, entry.body);
}

struct fixture {
    struct node_kit kit;
    struct server server;
};

static const char *const MIGRATIONS[] = {
    NULL, /* the kit's, set below */
    "ALTER TABLE item ADD COLUMN extra TEXT DEFAULT 'd';",
};
static const char *migrations[2];

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    node_kit_open(&fixture->kit, NODE_KIT_SCHEMA);
    fixture->server.node = fixture->kit.node;
    migrations[0] = NODE_KIT_SCHEMA;
    migrations[1] = MIGRATIONS[1];
    fixture->server.migrations = migrations;
    fixture->server.migration_count = 1;
}

static void close_fixture(struct fixture *fixture)
{
    server_close(&fixture->server);
    node_kit_close(&fixture->kit);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    clock_ms = 0;
    open_fixture(&fixture);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    close_fixture(*state);
    return 0;
}

/* ---- tests ---- */

static void test_sync__pushes_what_is_pending_and_pulls_what_is_new(void **state)
{
    struct fixture *fixture = *state;
    struct satchel_sync_report report;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id, title) VALUES('mine', 'm')");
    node_kit_sql(&fixture->kit, "UPDATE item SET body = 'b'");
    other_pushes(&fixture->kit, &fixture->server, SATCHEL_OP_INSERT, "theirs",
                 FIELDS(TEXT_FIELD(TITLE, "t")));
    sync_whole(&fixture->kit, &fixture->server, &report);
    assert_int_equal(report.pushed_change_sets, 2);
    assert_int_equal(report.pulled_entries, 3);
    assert_int_equal(report.pending, 0);
    assert_int_equal(report.cursor, 3);
    node_kit_expect(&fixture->kit, "SELECT id, title, body FROM item ORDER BY id",
                    "mine|m|b;theirs|t|null");
    node_kit_expect(&fixture->kit,
                    "SELECT acked_number, last_number, user, last_sync_ms > 0"
                    " FROM satchel_replica",
                    "2|2|ann|1");
}

static void test_sync__a_second_sync_moves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct satchel_sync_report report;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id, title) VALUES('mine', 'm')");
    sync_whole(&fixture->kit, &fixture->server, &report);
    fixture->server.push_frames = fixture->server.entry_frames = 0;
    sync_whole(&fixture->kit, &fixture->server, &report);
    assert_int_equal(fixture->server.push_frames, 0);
    assert_int_equal(fixture->server.entry_frames, 0);
    assert_int_equal(report.pushed_change_sets + report.pulled_entries, 0);
}

/* Uploads of many frames, downloads of many; the connection dies after each possible number of
 * frames, once with the replica left open and once with it closed, and the next sync goes on. */
static void test_sync__goes_on_after_a_cut_at_any_frame(void **state)
{
    (void)state;
    bool is_done = false;
    for (uint32_t frame_count = 0; !is_done; frame_count++) {
        struct fixture fixture;
        struct satchel_error error = {0};
        open_fixture(&fixture);
        for (int i = 0; i < 3; i++) {
            char sql[128];
            snprintf(sql, sizeof sql,
                     "INSERT INTO item(id, title, body) VALUES('m%d', hex(randomblob(100000)), %d)",
                     i, i);
            node_kit_sql(&fixture.kit, sql);
            other_pushes(&fixture.kit, &fixture.server, SATCHEL_OP_INSERT,
                         i ? i > 1 ? "c" : "b" : "a", FIELDS(TEXT_FIELD(TITLE, "t")));
        }
        enum satchel_status status =
            sync_once(&fixture.kit, &fixture.server, frame_count, &is_done, NULL, &error);
        assert_int_equal(status, SATCHEL_OK);
        if (frame_count % 2)
            node_kit_reopen_sync(&fixture.kit);
        sync_whole(&fixture.kit, &fixture.server, NULL);
        node_kit_expect(&fixture.kit, "SELECT count(*), count(DISTINCT id) FROM item", "6|6");
        node_kit_expect(&fixture.kit, "SELECT count(*) FROM satchel_change", "0");
        node_kit_expect(&fixture.kit, "SELECT count(*), max(cursor) FROM satchel_entry", "6|6");
        assert_int_equal(fixture.server.log_count, 6);
        close_fixture(&fixture);
        assert_true(frame_count < 200);
    }
}

static void test_sync__installs_migrations_before_the_entries_that_need_them(void **state)
{
    struct fixture *fixture = *state;
    fixture->server.migration_count = 2;
    other_pushes(&fixture->kit, &fixture->server, SATCHEL_OP_INSERT, "a",
                 FIELDS(TEXT_FIELD(TITLE, "t"), TEXT_FIELD(DONE + 1, "e")));
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('mine')");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    node_kit_expect(&fixture->kit, "SELECT id, extra FROM item ORDER BY id", "a|e;mine|d");
    node_kit_sql(&fixture->kit, "UPDATE item SET extra = 'x' WHERE id = 'mine'");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    assert_int_equal(fixture->server.device_number, 2);
}

static void test_sync__a_change_set_larger_than_a_batch_goes_alone(void **state)
{
    struct fixture *fixture = *state;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('small')");
    node_kit_sql(&fixture->kit,
                 "INSERT INTO item(id, title) VALUES('large', hex(randomblob(3000000)))");
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('after')");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    assert_int_equal(fixture->server.push_frames, 3);
    node_kit_expect(&fixture->kit, "SELECT count(*) FROM satchel_change", "0");
}

static void test_sync__many_small_change_sets_share_frames(void **state)
{
    struct fixture *fixture = *state;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('a')");
    for (int i = 0; i < 200; i++)
        node_kit_sql(&fixture->kit, "UPDATE item SET hits = hits + 1, done = done + 1");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    assert_int_equal(fixture->server.push_frames, 1);
    assert_int_equal(fixture->server.device_number, 201);
}

static void test_sync__stamps_ascend_with_the_numbers_whatever_the_clock_did(void **state)
{
    struct fixture *fixture = *state;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('a')");
    for (int i = 0; i < 5; i++)
        node_kit_sql(&fixture->kit, "UPDATE item SET done = done + 1");
    node_kit_sql(&fixture->kit, "UPDATE satchel_change SET utc_ms = 5, boot = 77, monotonic_ms = 9"
                                " WHERE number % 2");
    node_kit_sql(&fixture->kit,
                 "UPDATE satchel_change SET utc_ms = 1 << 50, boot = 78 WHERE number = 4");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    for (uint32_t i = 1; i < fixture->server.log_count; i++)
        assert_true(fixture->server.log[i].stamp > fixture->server.log[i - 1].stamp);
}

/* ---- the attach rule ---- */

static void expect_refusal(struct fixture *fixture, enum satchel_status expected, const char *word)
{
    struct satchel_error error = {0};
    bool is_done;
    uint64_t number = fixture->server.device_number;
    assert_int_equal(sync_once(&fixture->kit, &fixture->server, FRAMES_MAX, &is_done, NULL, &error),
                     expected);
    if (!strstr(error.message, word))
        fail_msg("no \"%s\" in: %s", word, error.message);
    assert_int_equal(fixture->server.device_number, number); /* nothing was sent */
    node_kit_expect(&fixture->kit, "SELECT id FROM item", "mine");
}

static void test_sync__a_server_that_knows_nothing_of_what_it_sent_is_refused(void **state)
{
    struct fixture *fixture = *state;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('mine')");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    node_kit_sql(&fixture->kit, "UPDATE satchel_replica SET last_number = 5");
    fixture->server.device_number = 0;
    expect_refusal(fixture, SATCHEL_MISMATCH, "does not know");
}

static void test_sync__a_server_that_keeps_back_what_it_holds_is_refused(void **state)
{
    struct fixture *fixture = *state;
    node_kit_sql(&fixture->kit, "INSERT INTO item(id) VALUES('mine')");
    fixture->server.device_number = 3;
    expect_refusal(fixture, SATCHEL_MISMATCH, "does not send it");
    node_kit_expect(&fixture->kit, "SELECT count(*) FROM satchel_change", "1");
}

/* The server's change set 1 of this device is another one. */
static void test_sync__a_copied_replica_becomes_a_device_of_its_own(void **state)
{
    struct fixture *fixture = *state;
    struct node_kit *kit = &fixture->kit;
    struct server *server = &fixture->server;
    const struct satchel_field fields[] = {TEXT_FIELD(TITLE, "twin"), {0}};
    struct satchel_id device = kit->replica->device;
    char expected[SATCHEL_ID_TEXT_BYTES + 8];
    node_kit_sql(kit, "INSERT INTO item(id) VALUES('mine')");
    node_kit_sql(kit, "UPDATE item SET hits = hits + 1");
    other_pushes(kit, server, SATCHEL_OP_INSERT, "twin's", fields);
    server->log[0].device = device;
    server->device_number = 1;
    expect_refusal(fixture, SATCHEL_AGAIN, "copy");
    assert_int_equal(server->copy_count, 1);
    satchel_id_text(&server->copy, expected);
    memcpy(expected + strlen(expected), "|0|2", sizeof "|0|2");
    node_kit_expect(kit,
                    "SELECT device, (SELECT last_number FROM satchel_ancestor), pending"
                    " FROM satchel_status",
                    expected);
    node_kit_expect(kit,
                    "SELECT satchel_device() = lower(hex(device)), file <> device FROM"
                    " satchel_replica",
                    "1|1");
    server->device_number = 0;
    sync_whole(kit, server, NULL);
    assert_int_equal(server->device_number, 2);
    assert_memory_equal(&server->log[2].device, &server->copy, sizeof server->copy);
    node_kit_expect(kit, "SELECT id, hits FROM item ORDER BY id", "mine|1;twin's|0");
}

static void test_sync__the_first_welcome_names_the_node(void **state)
{
    struct fixture *fixture = *state;
    node_kit_sql(&fixture->kit, "UPDATE satchel_replica SET node = NULL");
    sync_whole(&fixture->kit, &fixture->server, NULL);
    node_kit_expect(&fixture->kit, "SELECT hex(node) FROM satchel_replica",
                    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
}

/* ---- watching ---- */

static void test_sync__a_watching_sync_pushes_and_applies_as_things_happen(void **state)
{
    struct fixture *fixture = *state;
    struct satchel_error error = {0};
    struct satchel_sync_options options = {.size = sizeof options, .watch = true};
    satchel_sync *sync;
    enum satchel_status status;
    bool is_done = false;
    assert_int_equal(
        satchel_sync_new(&sync, fixture->kit.sync_replica, &options, at(clock_ms), &error),
        SATCHEL_OK);
    server_open(&fixture->server, FRAMES_MAX);
    assert_true(pump(&fixture->kit, &fixture->server, sync, &is_done, &status, &error));
    assert_true(is_done);
    for (int i = 0; i < 5; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "INSERT INTO item(id) VALUES('m%d')", i);
        node_kit_sql(&fixture->kit, sql); /* through another connection */
        other_pushes(&fixture->kit, &fixture->server, SATCHEL_OP_INSERT, i ? "b" : "a",
                     FIELDS(INTEGER_FIELD(DONE, 1)));
        assert_true(pump(&fixture->kit, &fixture->server, sync, &is_done, &status, &error));
        assert_int_equal(status, SATCHEL_OK);
        assert_int_equal(fixture->server.device_number, i + 1);
        node_kit_expect(&fixture->kit, "SELECT count(*) FROM satchel_change", "0");
    }
    satchel_sync_free(sync);
    node_kit_expect(&fixture->kit, "SELECT count(*) FROM item", "7");
}

/* Two syncs of one replica, as an application and a `sync --watch` may run: the second answers what
 * the first has not sent yet, and the first goes on behind it. */
static void test_sync__two_syncs_of_one_replica_do_not_trip_over_each_other(void **state)
{
    struct fixture *fixture = *state;
    struct node_kit *kit = &fixture->kit;
    struct satchel_error error = {0};
    struct satchel_sync_options options = {.size = sizeof options, .watch = true};
    struct server second;
    satchel_replica *first_replica = kit->sync_replica;
    satchel_sync *sync;
    enum satchel_status status;
    bool is_done = false;
    node_kit_sql(kit, "INSERT INTO item(id) VALUES('m0')");
    assert_int_equal(satchel_sync_new(&sync, first_replica, &options, at(clock_ms), &error),
                     SATCHEL_OK);
    server_open(&fixture->server, FRAMES_MAX);
    assert_true(pump(kit, &fixture->server, sync, &is_done, &status, &error));
    for (int i = 1; i < 6; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "INSERT INTO item(id) VALUES('m%d')", i);
        node_kit_sql(kit, sql);
        if (i % 3) { /* twice the other sync is faster, then this one */
            second = fixture->server;
            second.session = NULL;
            assert_int_equal(satchel_sync_open(&kit->sync_replica, kit->path, NULL, &error),
                             SATCHEL_OK);
            sync_whole(kit, &second, NULL);
            satchel_replica_close(kit->sync_replica);
            memcpy(fixture->server.log, second.log, sizeof second.log);
            fixture->server.log_count = second.log_count;
            fixture->server.device_number = second.device_number;
            satchel_session_free(second.session);
            continue;
        }
        assert_true(pump(kit, &fixture->server, sync, &is_done, &status, &error));
        if (status != SATCHEL_OK)
            print_error("%s\n", error.message);
        assert_int_equal(status, SATCHEL_OK);
        node_kit_expect(kit, "SELECT count(*) FROM satchel_change", "0");
    }
    satchel_sync_free(sync);
    kit->sync_replica = first_replica;
    assert_int_equal(fixture->server.log_count, 6);
    node_kit_expect(kit, "SELECT count(*), max(cursor) FROM satchel_entry", "6|6");
}

struct observed {
    char tables[64];
    uint32_t progress_count;
};

static void on_changed(void *context, const char *table)
{
    struct observed *observed = context;
    size_t size = strlen(observed->tables);
    snprintf(observed->tables + size, sizeof observed->tables - size, "%s;", table);
}

static void on_progress(void *context, const struct satchel_sync_report *report)
{
    struct observed *observed = context;
    observed->progress_count++;
    assert_true(report->pulled_entries <= 1);
}

static void test_sync__observers_hear_which_tables_changed_after_the_commit(void **state)
{
    struct fixture *fixture = *state;
    struct satchel_error error = {0};
    struct observed observed = {"", 0};
    struct satchel_sync_options options = {.size = sizeof options,
                                           .context = &observed,
                                           .changed = on_changed,
                                           .progress = on_progress};
    satchel_sync *sync;
    enum satchel_status status;
    bool is_done;
    other_pushes(&fixture->kit, &fixture->server, SATCHEL_OP_INSERT, "a",
                 FIELDS(TEXT_FIELD(TITLE, "t")));
    assert_int_equal(
        satchel_sync_new(&sync, fixture->kit.sync_replica, &options, at(clock_ms), &error),
        SATCHEL_OK);
    server_open(&fixture->server, FRAMES_MAX);
    pump(&fixture->kit, &fixture->server, sync, &is_done, &status, &error);
    satchel_sync_free(sync);
    assert_string_equal(observed.tables, "item;");
    assert_true(observed.progress_count > 0);
}

static void test_sync__an_entry_that_cannot_be_applied_keeps_none_before_it_away(void **state)
{
    struct fixture *fixture = *state;
    struct node_kit *kit = &fixture->kit;
    struct satchel_error error = {0};
    bool is_done;
    node_kit_sql(kit, "CREATE UNIQUE INDEX mine ON item(title)");
    other_pushes(kit, &fixture->server, SATCHEL_OP_INSERT, "a", FIELDS(TEXT_FIELD(TITLE, "one")));
    other_pushes(kit, &fixture->server, SATCHEL_OP_INSERT, "b", FIELDS(TEXT_FIELD(TITLE, "two")));
    other_pushes(kit, &fixture->server, SATCHEL_OP_INSERT, "c", FIELDS(TEXT_FIELD(TITLE, "one")));
    other_pushes(kit, &fixture->server, SATCHEL_OP_INSERT, "d", FIELDS(TEXT_FIELD(TITLE, "four")));
    assert_int_equal(sync_once(kit, &fixture->server, FRAMES_MAX, &is_done, NULL, &error),
                     SATCHEL_SQL);
    assert_non_null(strstr(error.message, "entry 3 of the server cannot be applied"));
    node_kit_expect(kit, "SELECT id FROM item ORDER BY id", "a;b");
    node_kit_expect(kit, "SELECT cursor FROM satchel_replica", "2");
    node_kit_sql(kit, "DROP INDEX mine");
    sync_whole(kit, &fixture->server, NULL);
    node_kit_expect(kit, "SELECT id FROM item ORDER BY id", "a;b;c;d");
}

static void test_sync__puts_foreign_keys_back_as_they_were(void **state)
{
    struct fixture *fixture = *state;
    sqlite3 *db = satchel_replica_db(fixture->kit.sync_replica);
    sqlite3_stmt *select;
    assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL), SQLITE_OK);
    sync_whole(&fixture->kit, &fixture->server, NULL);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA foreign_keys", -1, &select, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(select), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(select, 0), 1);
    sqlite3_finalize(select);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_sync__pushes_what_is_pending_and_pulls_what_is_new),
        TEST(test_sync__a_second_sync_moves_nothing),
        cmocka_unit_test(test_sync__goes_on_after_a_cut_at_any_frame),
        TEST(test_sync__installs_migrations_before_the_entries_that_need_them),
        TEST(test_sync__a_change_set_larger_than_a_batch_goes_alone),
        TEST(test_sync__many_small_change_sets_share_frames),
        TEST(test_sync__stamps_ascend_with_the_numbers_whatever_the_clock_did),
        TEST(test_sync__a_server_that_knows_nothing_of_what_it_sent_is_refused),
        TEST(test_sync__a_server_that_keeps_back_what_it_holds_is_refused),
        TEST(test_sync__a_copied_replica_becomes_a_device_of_its_own),
        TEST(test_sync__the_first_welcome_names_the_node),
        TEST(test_sync__a_watching_sync_pushes_and_applies_as_things_happen),
        TEST(test_sync__two_syncs_of_one_replica_do_not_trip_over_each_other),
        TEST(test_sync__observers_hear_which_tables_changed_after_the_commit),
        TEST(test_sync__an_entry_that_cannot_be_applied_keeps_none_before_it_away),
        TEST(test_sync__puts_foreign_keys_back_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
