#include "phone_kit.h"

#include "replica_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SESSIONS_MAX = 12, FRAMES_MAX = 10000, FILE_BYTES_MAX = 256 << 20, TEXT_BYTES = 16384 };

static const char SCHEMA[] = "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE item(\n"
                             "  id TEXT PRIMARY KEY,\n"
                             "  title TEXT,\n"
                             "  owner TEXT, -- @first\n"
                             "  code TEXT,  -- @immutable\n"
                             "  hits INTEGER NOT NULL DEFAULT 0, -- @counter\n"
                             "  prefs TEXT NOT NULL DEFAULT '{}', -- @map\n"
                             "  tags TEXT NOT NULL DEFAULT '[]' -- @set\n"
                             ");\n"
                             "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE firm(\n"
                             "  id TEXT PRIMARY KEY,\n"
                             "  name TEXT,\n"
                             "  tax_no TEXT -- @key\n"
                             ");\n"
                             "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE paper(\n"
                             "  id TEXT PRIMARY KEY,\n"
                             "  body TEXT,\n"
                             "  number TEXT -- @server\n"
                             ");\n"
                             "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE bill(\n"
                             "  id TEXT PRIMARY KEY,\n"
                             "  number TEXT -- @server\n"
                             ");\n"
                             "CREATE VIEW satchel_numbers AS SELECT 'paper' AS tbl,"
                             " 'number' AS col, 'P' AS series, 'P-{branch}-{n}' AS format"
                             " UNION ALL SELECT 'bill', 'number', 'B', 'B-{branch}-{n}';\n";
static const char ITEMS[] =
    "SELECT id, title, owner, code, hits, tags FROM item WHERE length(title) < 99"
    " ORDER BY id";
static const char TOTALS[] = "SELECT count(*), sum(length(title)), sum(hits) FROM item";

static void ok(enum satchel_status status, const char *doing, const char *words)
{
    if (status != SATCHEL_OK)
        fail_msg("%s: %s: %s", doing, satchel_status_name(status), words);
}

/* ---- clocks: phones that were started at different times ---- */

static int64_t phone_monotonic(void *context)
{
    return ((const struct phone *)context)->town->monotonic_ms;
}

static int64_t phone_utc(void *context)
{
    (void)context;
    return workspace_now_ms();
}

static uint64_t phone_boot(void *context)
{
    return 1 + ((const struct phone *)context)->index;
}

static struct satchel_now now_of(struct phone *phone)
{
    return (struct satchel_now){phone_utc(phone), phone->town->monotonic_ms};
}

/* ---- the town ---- */

static void administer(struct town *town, struct satchel_job *job)
{
    ok(run(&town->server, job), "administer", town->server.error.message);
    satchel_job_free(job);
}

void town_open(struct town *town)
{
    town_open_with(town, SCHEMA);
}

void town_open_with(struct town *town, const char *schema)
{
    memset(town, 0, sizeof *town);
    town->schema = schema;
    fixture_open(&town->server);
    ok(create(&town->server, "w", schema), "create", town->server.error.message);
    town_add_user(town, "ann");
    town->monotonic_ms = 1000;
}

void town_add_user(struct town *town, const char *login)
{
    administer(town, verb(SATCHEL_JOB_ADMIN, "user.add", "w", login, "rep", NULL));
}

void town_set(struct town *town, const char *table, const char *id, const char *field)
{
    administer(town, verb(SATCHEL_JOB_ADMIN, "workspace.set", "w", table, id, field, NULL));
}

void town_deploy(struct town *town, const char *migration)
{
    administer(town, verb(SATCHEL_JOB_ADMIN, "workspace.deploy", "w", "001_init.sql", town->schema,
                          "002_more.sql", migration, NULL));
}

void town_close(struct town *town)
{
    for (unsigned i = 0; i < town->phone_count; i++) {
        phone_hang_up(&town->phones[i]);
        phone_close_app(&town->phones[i]);
    }
    fixture_close(&town->server);
}

static struct phone *add_phone(struct town *town)
{
    assert_true(town->phone_count < PHONES_MAX);
    struct phone *phone = &town->phones[town->phone_count];
    char folder[sizeof town->server.directory];
    memcpy(folder, town->server.directory, sizeof folder);
    phone->town = town;
    phone->index = town->phone_count++;
    phone->pauses_behind = -1;
    phone->clock = (struct satchel_clock){phone, phone_utc, phone_monotonic, phone_boot};
    snprintf(phone->path, sizeof phone->path, "%s/phone-%u.replica", folder, phone->index);
    return phone;
}

struct phone *town_join(struct town *town)
{
    return town_join_as(town, "ann");
}

struct phone *town_join_as(struct town *town, const char *login)
{
    struct phone *phone = town_join_offline(town, login);
    phone_sync(phone);
    return phone;
}

struct phone *town_join_offline(struct town *town, const char *login)
{
    struct phone *phone = add_phone(town);
    struct device device = {0};
    char code[32];
    sqlite3_stmt *update = NULL;
    ok(fixture_replica(phone->path, town->schema, login, "rep", &phone->clock, &phone->app), "join",
       "");
    device.id = phone->app->device;
    memcpy(device.token, phone->app->token, sizeof device.token);
    invite(&town->server, login, code);
    ok(join(&town->server, &device, code), "join", town->server.error.message);
    assert_int_equal(
        sqlite3_prepare_v2(phone->app->db,
                           "UPDATE satchel_replica SET workspace_id = ?1, receipt = ?2", -1,
                           &update, NULL),
        SQLITE_OK);
    sqlite3_bind_blob(update, 1, device.workspace_id.bytes, sizeof device.workspace_id.bytes,
                      SQLITE_STATIC);
    sqlite3_bind_blob(update, 2, device.receipt.bytes, sizeof device.receipt.bytes, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(update), SQLITE_DONE);
    sqlite3_finalize(update);
    return phone;
}

/* ---- files ---- */

static void copy_file(const char *from, const char *to)
{
    uint8_t *bytes = malloc(FILE_BYTES_MAX);
    FILE *stream = fopen(from, "rb");
    assert_non_null(bytes);
    unlink(to);
    if (stream) {
        size_t size = fread(bytes, 1, FILE_BYTES_MAX, stream);
        assert_true(size < FILE_BYTES_MAX);
        assert_int_equal(fclose(stream), 0);
        stream = fopen(to, "wb");
        assert_non_null(stream);
        assert_int_equal(fwrite(bytes, 1, size, stream), size);
        assert_int_equal(fclose(stream), 0);
    }
    free(bytes);
}

static void copy_replica(struct phone *phone, const char *from, const char *to)
{
    char from_wal[160], to_wal[160];
    phone_hang_up(phone);
    phone_close_app(phone);
    snprintf(from_wal, sizeof from_wal, "%s-wal", from);
    snprintf(to_wal, sizeof to_wal, "%s-wal", to);
    fixture_remove(to);
    copy_file(from, to);
    copy_file(from_wal, to_wal);
}

struct phone *town_clone(struct town *town, struct phone *from)
{
    struct phone *phone = add_phone(town);
    copy_replica(from, from->path, phone->path);
    return phone;
}

struct phone phone_beside(const struct phone *phone)
{
    struct phone beside = *phone;
    beside.replica = NULL;
    beside.sync = NULL;
    memset(&beside.peer, 0, sizeof beside.peer);
    beside.in_flight = NULL;
    beside.held_count = beside.held_next = 0;
    beside.holds_on = false;
    beside.down_frames = beside.up_frames = 0;
    beside.watch = NULL;
    return beside;
}

void phone_keep(struct phone *phone)
{
    char kept[144];
    snprintf(kept, sizeof kept, "%s-kept", phone->path);
    copy_replica(phone, phone->path, kept);
}

void phone_put_back(struct phone *phone)
{
    char kept[144];
    snprintf(kept, sizeof kept, "%s-kept", phone->path);
    copy_replica(phone, kept, phone->path);
}

/* ---- the server's backup ---- */

static void hang_up_all(struct town *town)
{
    for (unsigned i = 0; i < town->phone_count; i++)
        phone_hang_up(&town->phones[i]);
}

void town_back_up(struct town *town, const char *name)
{
    hang_up_all(town);
    fixture_back_up(&town->server, name);
}

void town_restore(struct town *town, const char *name, bool by_hand)
{
    hang_up_all(town);
    fixture_put_back(&town->server, name, !by_hand);
}

/* ---- the application ---- */

static sqlite3 *app_of(struct phone *phone)
{
    const struct satchel_open_options options = {sizeof options, &phone->clock};
    struct satchel_error error = {0};
    if (!phone->app) {
        ok(satchel_replica_open(&phone->app, phone->path, &options, &error), "open", error.message);
        assert_ok(satchel_replica_execute(phone->app->db, "PRAGMA synchronous=OFF", &error));
    }
    return phone->app->db;
}

void phone_close_app(struct phone *phone)
{
    satchel_replica_close(phone->app);
    phone->app = NULL;
}

void phone_write(struct phone *phone, const char *sql)
{
    char *message = NULL;
    phone->town->monotonic_ms++;
    if (sqlite3_exec(app_of(phone), sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("phone %u: %s: %s", phone->index, sql, message);
    phone->town->commit_count++;
}

void phone_damage(struct phone *phone, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open_v2(phone->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("phone %u: %s: %s", phone->index, sql, message);
    sqlite3_close(db);
}

const char *phone_read(struct phone *phone, const char *sql)
{
    static char texts[4][TEXT_BYTES];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    size_t size = 0;
    sqlite3_stmt *select;
    sqlite3 *db = app_of(phone);
    text[0] = '\0';
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        fail_msg("phone %u: %s: %s", phone->index, sql, sqlite3_errmsg(db));
    for (bool is_first = true; sqlite3_step(select) == SQLITE_ROW; is_first = false)
        for (int i = 0; i < sqlite3_column_count(select); i++) {
            const char *value = (const char *)sqlite3_column_text(select, i);
            size += (size_t)snprintf(text + size, TEXT_BYTES - size, "%s%s",
                                     i > 0      ? "|"
                                     : is_first ? ""
                                                : ";",
                                     value ? value : "null");
            assert_true(size < TEXT_BYTES);
        }
    assert_int_equal(sqlite3_finalize(select), SQLITE_OK);
    return text;
}

/* ---- the server's half of a session ---- */

static struct satchel_job *job_of(struct phone *phone, enum satchel_job_kind kind,
                                  const struct satchel_message *message)
{
    struct satchel_job *job = satchel_job_new(kind);
    assert_non_null(job);
    job->device = phone->peer.device;
    job->owner_number = phone->peer.number;
    job->is_drained = phone->peer.is_drained;
    if (message)
        assert_ok(satchel_job_take_request(job, message));
    return job;
}

static void say(struct phone *phone, const struct satchel_message *message)
{
    assert_ok(satchel_session_send(phone->peer.session, message));
}

static uint64_t head_of(struct town *town)
{
    return strtoull(sql(&town->server, "SELECT cursor FROM satchel_workspace"), NULL, 10);
}

static void say_schema(struct phone *phone, uint64_t after)
{
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_SCHEMA, NULL);
    job->after = after;
    ok(run(&phone->town->server, job), "read the schema", job->error.message);
    say(phone, &job->answers[0]);
    satchel_job_free(job);
}

static void attach_phone(struct phone *phone, const struct satchel_message *message)
{
    struct phone_peer *peer = &phone->peer;
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_ATTACH, message);
    if (run(&phone->town->server, job) != SATCHEL_OK) {
        satchel_session_fail(peer->session, job->status, job->error.message);
    } else {
        struct satchel_message_welcome *welcome = &job->answers[0].welcome;
        peer->is_attached = true;
        peer->is_bootstrapping = phone->town->gives_snapshots && message->hello.wants_snapshot;
        welcome->has_snapshot = peer->is_bootstrapping;
        peer->device = message->hello.device;
        peer->cursor = welcome->cursor;
        peer->scope = job->scope;
        peer->is_outlived = job->is_outlived;
        peer->is_drained = job->is_drained;
        peer->held_number = peer->acked_number = welcome->last_number;
        say(phone, &job->answers[0]);
        if (message->hello.schema < welcome->schema && !welcome->is_drained)
            say_schema(phone, message->hello.schema);
    }
    satchel_job_free(job);
}

static void take_push(struct phone *phone, const struct satchel_message *message)
{
    struct phone_peer *peer = &phone->peer;
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_PUSH, message);
    uint64_t head = head_of(phone->town);
    phone->pushed_count += message->push.item_count;
    enum satchel_status status = run(&phone->town->server, job);
    if (job->acked_number > peer->acked_number) {
        struct satchel_message ack = {.kind = SATCHEL_MESSAGE_ACK};
        ack.ack.number = peer->acked_number = job->acked_number;
        say(phone, &ack);
    }
    if (status == SATCHEL_OK)
        phone->duplicate_count += message->push.item_count - (head_of(phone->town) - head);
    else
        satchel_session_fail(peer->session, status, job->error.message);
    satchel_job_free(job);
}

static void take_copy(struct phone *phone, const struct satchel_message *message)
{
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_COPY, message);
    phone->copy_count++;
    if (run(&phone->town->server, job) == SATCHEL_OK)
        say(phone, &job->answers[0]);
    else
        satchel_session_fail(phone->peer.session, job->status, job->error.message);
    satchel_job_free(job);
}

static void take_rotate(struct phone *phone, const struct satchel_message *message)
{
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_ROTATE, message);
    ok(run(&phone->town->server, job), "rotate", job->error.message);
    say(phone, &job->answers[0]);
    satchel_job_free(job);
}

/* The number that the node accepts from then on: of its own change sets it may lack the first. */
static void count_given(struct phone_peer *peer, const struct satchel_message_forward *forward)
{
    for (uint32_t i = 0; i < forward->entry_count; i++)
        if (satchel_id_equal(&forward->entries[i].device, &peer->device) &&
            forward->entries[i].number == peer->acked_number + 1)
            peer->held_number = ++peer->acked_number;
}

static void take_forward(struct phone *phone, const struct satchel_message *message)
{
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_FORWARD, message);
    job->is_outlived = phone->peer.is_outlived;
    ok(run(&phone->town->server, job), "take what is given back", job->error.message);
    if (job->is_renewed) {
        satchel_session_fail(phone->peer.session, SATCHEL_AGAIN, "another incarnation");
    } else {
        if (!job->is_copy)
            count_given(&phone->peer, &message->forward);
        say(phone, &job->answers[0]);
    }
    satchel_job_free(job);
}

static void write_once(struct phone *phone, const char **sql)
{
    const char *write = *sql;
    *sql = NULL;
    if (write)
        phone_write(phone, write);
}

static void say_read(struct phone *phone, enum satchel_job_kind kind,
                     const struct satchel_message *message)
{
    struct satchel_job *job = job_of(phone, kind, message);
    ok(run(&phone->town->server, job), "read", job->error.message);
    say(phone, &job->answers[0]);
    satchel_job_free(job);
}

/* Someone who may not see everything hears HEAD behind it. */
static void say_digests(struct phone *phone, enum satchel_job_kind kind,
                        const struct satchel_message *message)
{
    struct satchel_job *job = job_of(phone, kind, message);
    write_once(phone, &phone->writes_at_digests);
    ok(run(&phone->town->server, job), "compare", job->error.message);
    phone->repaired_count += job->repaired_count;
    phone->peer.is_live = phone->peer.is_live && !job->is_cut;
    say(phone, &job->answers[0]);
    satchel_job_free(job);
}

static void hear(struct phone *phone, struct satchel_span frame)
{
    struct satchel_session *session = phone->peer.session;
    struct satchel_message event;
    if (satchel_session_receive(session, frame.data, frame.size, true, now_of(phone)) != SATCHEL_OK)
        return;
    while (satchel_session_next_event(session, &event)) {
        switch (event.kind) {
        case SATCHEL_MESSAGE_HELLO: attach_phone(phone, &event); break;
        case SATCHEL_MESSAGE_PUSH: take_push(phone, &event); break;
        case SATCHEL_MESSAGE_COPY: take_copy(phone, &event); break;
        case SATCHEL_MESSAGE_ROTATE: take_rotate(phone, &event); break;
        case SATCHEL_MESSAGE_FORWARD: take_forward(phone, &event); break;
        case SATCHEL_MESSAGE_ROWS_REQUEST:
            write_once(phone, &phone->writes_at_rows);
            say_read(phone, SATCHEL_JOB_ROWS, &event);
            if (phone->behind_rows)
                phone->behind_rows(phone);
            phone->behind_rows = NULL;
            break;
        case SATCHEL_MESSAGE_SNAPSHOT_REQUEST: say_read(phone, SATCHEL_JOB_SNAPSHOT, &event); break;
        case SATCHEL_MESSAGE_PAST_REQUEST:
            if (!phone->town->has_no_past)
                say_read(phone, SATCHEL_JOB_PAST, &event);
            break;
        case SATCHEL_MESSAGE_DIGEST_REQUEST: say_digests(phone, SATCHEL_JOB_DIGESTS, &event); break;
        case SATCHEL_MESSAGE_RANGES_REQUEST:
            phone->ranges_count++;
            say_digests(phone, SATCHEL_JOB_RANGES, &event);
            break;
        case SATCHEL_MESSAGE_WIPED: break;
        default: fail_msg("phone %u says message %d", phone->index, (int)event.kind);
        }
        phone->is_paused = phone->is_paused || (int)event.kind == phone->pauses_behind;
    }
}

static void keep_bytes(uint8_t *kept, size_t room, struct satchel_span *bytes)
{
    assert_true(bytes->size <= room);
    if (bytes->size > 0)
        memcpy(kept, bytes->data, bytes->size);
    bytes->data = kept;
}

static void stream(struct phone *phone)
{
    struct phone_peer *peer = &phone->peer;
    if (!peer->is_attached || peer->is_bootstrapping ||
        satchel_session_output_bytes(peer->session) > 0 ||
        satchel_session_failed(peer->session, NULL) != SATCHEL_OK)
        return;
    const struct satchel_scope_state *scope = &peer->scope;
    if (peer->is_live && peer->cursor >= head_of(phone->town) && scope->next_cut == 0 &&
        scope->next_complete == 0 && scope->cut >= peer->cursor && scope->complete >= peer->cursor)
        return; /* nor would the hub ask for any */
    struct satchel_job *job = job_of(phone, SATCHEL_JOB_ENTRIES, NULL);
    job->after = peer->cursor;
    job->number_min = peer->held_number;
    job->number_max = peer->acked_number;
    job->scope = peer->scope;
    job->wants_head = !peer->is_live;
    ok(run(&phone->town->server, job), "read entries", job->error.message);
    peer->cursor = job->reached;
    peer->scope = job->scope;
    for (uint32_t i = 0; i < job->answer_count; i++) /* a HEAD is to follow */
        peer->is_live = peer->is_live && job->answers[i].kind != SATCHEL_MESSAGE_SCOPE;
    peer->is_live = peer->is_live || job->has_head;
    keep_bytes(peer->names[0], sizeof peer->names[0], &peer->scope.left_after);
    keep_bytes(peer->names[1], sizeof peer->names[1], &peer->scope.came_after);
    keep_bytes(peer->told, sizeof peer->told, &peer->scope.told);
    for (uint32_t i = 0; i < job->answer_count; i++) {
        const struct satchel_message_head *head = &job->answers[i].head;
        if (job->answers[i].kind == SATCHEL_MESSAGE_SCOPE)
            phone->past_count += job->answers[i].scope.entry_count;
        if (job->answers[i].kind == SATCHEL_MESSAGE_HEAD && head->cursor > 0)
            assert_false(satchel_id_is_zero(&head->receipt)); /* else it proves nothing */
        say(phone, &job->answers[i]);
    }
    satchel_job_free(job);
}

/* ---- sessions ---- */

enum satchel_status phone_connect(struct phone *phone)
{
    const struct satchel_session_options server = {.size = sizeof server,
                                                   .side = SATCHEL_SIDE_SERVER};
    const struct satchel_sync_options options = {
        .size = sizeof options, .watch = true, .clock = &phone->clock, .rotate = phone->rotates};
    struct satchel_error error = {0};
    phone_hang_up(phone);
    ok(satchel_sync_open(&phone->replica, phone->path, &options, &error), "open", error.message);
    phone->peer.number = ++phone->town->session_count;
    phone->session_count++;
    assert_ok(satchel_session_new(&phone->peer.session, &server, now_of(phone)));
    enum satchel_status status =
        satchel_sync_new(&phone->sync, phone->replica, &options, now_of(phone), &error);
    if (status != SATCHEL_OK && status != SATCHEL_AGAIN)
        fail_msg("phone %u: %s", phone->index, error.message);
    return status;
}

void phone_hang_up(struct phone *phone)
{
    while (phone->held_count > 0)
        free((void *)(uintptr_t)phone->held[--phone->held_count].data);
    phone->held_next = 0;
    satchel_sync_free(phone->sync);
    satchel_replica_close(phone->replica);
    satchel_session_free(phone->peer.session);
    phone->sync = NULL;
    phone->replica = NULL;
    phone->is_done = false;
    memset(&phone->peer, 0, sizeof phone->peer);
}

static bool carry_up(struct phone *phone, bool *is_cut)
{
    struct satchel_span frame;
    if ((phone->is_mute && phone->peer.is_attached) ||
        !satchel_session_next_output(satchel_sync_session(phone->sync), &frame))
        return false;
    unsigned copies = phone->copy_count;
    hear(phone, frame);
    *is_cut = (phone->up_frames > 0 && --phone->up_frames == 0) ||
              (phone->loses_copied && phone->copy_count > copies);
    return true;
}

static bool next_frame_down(struct phone *phone, struct satchel_span *frame)
{
    stream(phone);
    return satchel_session_next_output(phone->peer.session, frame);
}

/* All that the server has to say is on its way while something else happens. */
static void hold_frames(struct phone *phone)
{
    struct satchel_span frame;
    void (*in_flight)(struct phone * phone) = phone->in_flight;
    while (next_frame_down(phone, &frame)) {
        assert_true(phone->held_count < FRAMES_HELD_MAX);
        uint8_t *bytes = malloc(frame.size + 1);
        assert_non_null(bytes);
        memcpy(bytes, frame.data, frame.size);
        phone->held[phone->held_count++] = satchel_span_of(bytes, frame.size);
    }
    phone->in_flight = NULL;
    in_flight(phone);
}

static bool carry_down(struct phone *phone)
{
    struct satchel_span frame;
    if (phone->in_flight && phone->peer.is_attached)
        hold_frames(phone);
    if (phone->held_next < phone->held_count)
        frame = phone->held[phone->held_next++];
    else if (!next_frame_down(phone, &frame))
        return false;
    enum satchel_status status = satchel_session_receive(
        satchel_sync_session(phone->sync), frame.data, frame.size, true, now_of(phone));
    (void)status; /* the step says why the session is over */
    return true;
}

enum satchel_status phone_talk(struct phone *phone)
{
    struct satchel_error error = {0};
    enum satchel_status status = SATCHEL_OK;
    bool is_moving = true, is_cut = false;
    for (unsigned i = 0; is_moving && status == SATCHEL_OK; i++) {
        assert_true(i < FRAMES_MAX);
        status = satchel_sync_step(phone->sync, now_of(phone), &phone->is_done, &error);
        if (status != SATCHEL_OK)
            break;
        if (phone->watch)
            phone->watch(phone);
        is_moving = carry_up(phone, &is_cut);
        if (is_cut) {
            phone->loses_copied = false;
            phone_hang_up(phone);
            return SATCHEL_NETWORK;
        }
        if (phone->is_paused) {
            phone->is_paused = false;
            phone->pauses_behind = -1;
            return SATCHEL_BUSY;
        }
        bool has_come = carry_down(phone);
        is_moving = has_come || is_moving;
        if (has_come && phone->down_frames > 0 && --phone->down_frames == 0) {
            status = satchel_sync_step(phone->sync, now_of(phone), &phone->is_done, &error);
            if (phone->holds_on)
                return status == SATCHEL_OK ? SATCHEL_BUSY : status;
            phone_hang_up(phone);
            return SATCHEL_NETWORK;
        }
    }
    if (status != SATCHEL_OK && status != SATCHEL_AGAIN)
        fail_msg("phone %u: %s: %s", phone->index, satchel_status_name(status), error.message);
    phone->rotates = phone->rotates && !phone->sync->has_rotated;
    if (phone->is_mute && status == SATCHEL_OK) {
        phone_hang_up(phone);
        return SATCHEL_NETWORK;
    }
    return status;
}

unsigned phone_sync(struct phone *phone)
{
    enum satchel_status status = SATCHEL_AGAIN;
    unsigned count = 0;
    for (; status == SATCHEL_AGAIN; count++) {
        assert_true(count < SESSIONS_MAX);
        status = phone_connect(phone);
        if (status == SATCHEL_OK)
            status = phone_talk(phone);
    }
    if (status == SATCHEL_OK && !phone->town->has_no_past)
        assert_true(phone->is_done);
    phone_hang_up(phone);
    return count;
}

void phone_write_through(struct phone *phone, const char *sql)
{
    phone_write(phone, sql);
    phone_sync(phone);
}

void phone_beside_hears(const struct phone *phone, unsigned frames)
{
    struct phone beside = phone_beside(phone);
    beside.down_frames = frames;
    assert_int_equal(phone_connect(&beside), SATCHEL_OK);
    assert_int_equal(phone_talk(&beside), SATCHEL_NETWORK);
}

void phone_hear(struct phone *phone)
{
    phone->is_mute = true;
    for (unsigned count = 0;
         phone_connect(phone) == SATCHEL_AGAIN || phone_talk(phone) == SATCHEL_AGAIN; count++)
        assert_true(count < SESSIONS_MAX);
    phone->is_mute = false;
}

bool phone_is_uploaded(struct phone *phone)
{
    return strcmp(phone_read(phone, "SELECT count(*) FROM satchel_change"), "0") == 0;
}

/* The server's answer in the form of a phone's. */
static void expect_equal(struct town *town, const char *query)
{
    char expected[TEXT_BYTES];
    snprintf(expected, sizeof expected, "%s", sql(&town->server, query));
    for (char *at = expected; *at; at++)
        if (*at == '\n')
            *at = ';';
    for (char *at; (at = strstr(expected, "NULL")) != NULL;)
        memcpy(at, "null", 4);
    for (unsigned i = 0; i < town->phone_count; i++)
        assert_string_equal(phone_read(&town->phones[i], query), expected);
}

void town_settle(struct town *town)
{
    char count[32];
    for (int round = 0; round < 2; round++) /* what the last one sent reaches the first */
        for (unsigned i = 0; i < town->phone_count; i++)
            phone_sync(&town->phones[i]);
    snprintf(count, sizeof count, "%u", town->commit_count);
    assert_string_equal(sql(&town->server, "SELECT count(*) FROM satchel_entry"), count);
    assert_string_equal(sql(&town->server, "SELECT count(*) FROM (SELECT DISTINCT device, number"
                                           " FROM satchel_entry)"),
                        count);
    for (unsigned i = 0; i < town->phone_count; i++) {
        struct phone *phone = &town->phones[i];
        assert_string_equal(phone_read(phone, "SELECT pending FROM satchel_status"), "0");
        assert_string_equal(phone_read(phone, "SELECT count(*) FROM satchel_change"), "0");
        assert_string_equal(phone_read(phone, "SELECT count(*) FROM satchel_base"), "0");
        assert_string_equal(phone_read(phone, "SELECT count(*) FROM satchel_view"), "0");
        assert_string_equal(phone_read(phone, "SELECT held FROM satchel_replica"), "null");
        assert_string_equal(phone_read(phone, "SELECT count(*) FROM satchel_entry"), count);
    }
    expect_equal(town, ITEMS);
    expect_equal(town, TOTALS);
}
