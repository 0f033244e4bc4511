/* See workspace_kit.h. */
#include "workspace_kit.h"

#include "incarnation.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

const char kit_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE person (login TEXT PRIMARY KEY, id TEXT, role TEXT, active INTEGER DEFAULT 1);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE item (id TEXT PRIMARY KEY, name TEXT, stock INTEGER DEFAULT 0 -- @counter\n);\n"
    "CREATE VIEW satchel_users AS SELECT login, id, role, active FROM person;\n"
    "INSERT INTO person(login, id, role) VALUES ('ann', 'u1', 'rep'), ('bob', 'u2', 'hq');\n"
    "INSERT INTO person(login, id, role, active) VALUES ('gone', 'u3', 'rep', 0);\n";
const char kit_plain_sql[] = "-- @table scope=all delete=edit_wins\n"
                             "CREATE TABLE item (id TEXT PRIMARY KEY, name TEXT);\n";

static void complete(void *context, struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct fixture *fixture = context;
    (void)workspace;
    pthread_mutex_lock(&fixture->mutex);
    *(bool *)job->owner = true;
    fixture->completed_count++;
    pthread_cond_broadcast(&fixture->done);
    pthread_mutex_unlock(&fixture->mutex);
}

static void advanced(void *context, struct satchel_workspace *workspace, uint64_t head)
{
    struct fixture *fixture = context;
    (void)workspace;
    pthread_mutex_lock(&fixture->mutex);
    assert_true(head > fixture->advanced_to);
    fixture->advanced_to = head;
    pthread_cond_broadcast(&fixture->done);
    pthread_mutex_unlock(&fixture->mutex);
}

void fixture_open(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    pthread_mutex_init(&fixture->mutex, NULL);
    pthread_cond_init(&fixture->done, NULL);
    fixture->callbacks.context = fixture;
    fixture->callbacks.complete = complete;
    fixture->callbacks.advanced = advanced;
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/satchel-workspace-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
}

enum satchel_status create(struct fixture *fixture, const char *name, const char *sql)
{
    struct satchel_migration migration = {1, satchel_span_text("001_init.sql"),
                                          satchel_span_text(sql)};
    struct satchel_arena arena;
    struct satchel_span notice;
    memset(&fixture->error, 0, sizeof fixture->error);
    satchel_arena_init(&arena, 1 << 20, NULL);
    enum satchel_status status =
        satchel_workspace_create(&fixture->workspace, fixture->directory, name, &migration, 1,
                                 &fixture->callbacks, &notice, &arena, &fixture->error);
    satchel_arena_deinit(&arena);
    return status;
}

void fixture_close(struct fixture *fixture)
{
    char command[100];
    satchel_workspace_close(fixture->workspace);
    pthread_mutex_destroy(&fixture->mutex);
    pthread_cond_destroy(&fixture->done);
    snprintf(command, sizeof command, "rm -r %s", fixture->directory);
    assert_int_equal(system(command), 0);
}

void reopen(struct fixture *fixture)
{
    satchel_workspace_close(fixture->workspace);
    if (satchel_workspace_open(&fixture->workspace, fixture->directory, "w", &fixture->callbacks,
                               &fixture->error) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
}

static void copy_store(const struct fixture *fixture, const char *from, const char *to)
{
    char command[300];
    snprintf(command, sizeof command, "cd %s && rm -f %s.db-wal %s.db-shm && cp %s.db %s.db",
             fixture->directory, to, to, from, to);
    assert_int_equal(system(command), 0);
}

void fixture_back_up(struct fixture *fixture, const char *name)
{
    satchel_workspace_close(fixture->workspace);
    copy_store(fixture, "w", name);
    assert_ok(satchel_workspace_open(&fixture->workspace, fixture->directory, "w",
                                     &fixture->callbacks, &fixture->error));
}

void fixture_put_back(struct fixture *fixture, const char *name, bool as_new_incarnation)
{
    satchel_workspace_close(fixture->workspace);
    copy_store(fixture, name, "w");
    fixture->advanced_to = 0;
    if (as_new_incarnation) {
        char path[128];
        struct satchel_store *store;
        snprintf(path, sizeof path, "%s/w.db", fixture->directory);
        assert_ok(satchel_store_sqlite_open(&store, path, &fixture->error));
        assert_ok(incarnation_begin(satchel_store_sqlite_db(store), &fixture->error));
        store->ops->close(store);
    }
    assert_ok(satchel_workspace_open(&fixture->workspace, fixture->directory, "w",
                                     &fixture->callbacks, &fixture->error));
}

void fixture_damage(struct fixture *fixture, const char *sql)
{
    char path[128];
    sqlite3 *db;
    satchel_workspace_close(fixture->workspace);
    snprintf(path, sizeof path, "%s/w.db", fixture->directory);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_ok(satchel_workspace_open(&fixture->workspace, fixture->directory, "w",
                                     &fixture->callbacks, &fixture->error));
}

enum satchel_status run(struct fixture *fixture, struct satchel_job *job)
{
    bool is_done = false;
    job->owner = &is_done;
    assert_ok(satchel_workspace_submit(fixture->workspace, job));
    pthread_mutex_lock(&fixture->mutex);
    while (!is_done)
        pthread_cond_wait(&fixture->done, &fixture->mutex);
    pthread_mutex_unlock(&fixture->mutex);
    fixture->error = job->error;
    return job->status;
}

void wait_for_head(struct fixture *fixture, uint64_t head)
{
    pthread_mutex_lock(&fixture->mutex);
    while (fixture->advanced_to < head)
        pthread_cond_wait(&fixture->done, &fixture->mutex);
    assert_int_equal(fixture->advanced_to, head);
    pthread_mutex_unlock(&fixture->mutex);
}

/* ---- requests ---- */

struct satchel_job *verb(enum satchel_job_kind kind, ...)
{
    struct satchel_value values[16];
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ADMIN};
    struct satchel_job *job = satchel_job_new(kind);
    va_list arguments;
    va_start(arguments, kind);
    for (const char *argument; (argument = va_arg(arguments, const char *)) != NULL;)
        values[message.admin.argument_count++] = satchel_value_text(satchel_span_text(argument));
    va_end(arguments);
    message.admin.arguments = values;
    assert_ok(satchel_job_take_request(job, &message));
    return job;
}

const char *rows(const struct satchel_job *job)
{
    static char text[8192];
    const struct satchel_message_admin_result *result = &job->answers[0].admin_result;
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < result->row_count * result->column_count; i++) {
        const struct satchel_value *value = &result->values[i];
        const char *separator = i == 0 ? "" : i % result->column_count ? "|" : "\n";
        if (value->type == SATCHEL_INTEGER)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", separator,
                                     (long long)value->integer);
        else if (value->type == SATCHEL_TEXT)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", separator,
                                     (int)value->bytes.size, (const char *)value->bytes.data);
        else
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", separator,
                                     value->type == SATCHEL_NULL ? "NULL" : "?");
    }
    return text;
}

const char *sql(struct fixture *fixture, const char *statement)
{
    struct satchel_job *job = verb(SATCHEL_JOB_QUERY, "workspace.sql", "w", statement, NULL);
    if (run(fixture, job) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
    const char *text = rows(job);
    satchel_job_free(job);
    return text;
}

void invite(struct fixture *fixture, const char *login, char code[32])
{
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "invite", "w", login, NULL);
    if (run(fixture, job) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
    struct satchel_span text = job->answers[0].admin_result.text;
    assert_int_equal(text.size, 23);
    snprintf(code, 32, "%.*s", (int)text.size, (const char *)text.data);
    satchel_job_free(job);
}

struct device device_new(uint8_t number)
{
    struct device device = {0};
    memset(&device.id, number, sizeof device.id);
    memset(device.token, number ^ 0x5a, sizeof device.token);
    return device;
}

enum satchel_status join(struct fixture *fixture, struct device *device, const char *code)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_JOIN};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_JOIN);
    message.join.protocol = SATCHEL_PROTOCOL_VERSION;
    message.join.workspace = satchel_span_text("w");
    message.join.invite = satchel_span_text(code);
    message.join.device = device->id;
    message.join.token = satchel_span_of(device->token, sizeof device->token);
    assert_ok(satchel_job_take_request(job, &message));
    enum satchel_status status = run(fixture, job);
    if (status == SATCHEL_OK) {
        assert_int_equal(job->answer_count, 2);
        assert_int_equal(job->answers[0].kind, SATCHEL_MESSAGE_JOINED);
        assert_int_equal(job->answers[1].kind, SATCHEL_MESSAGE_SCHEMA);
        const struct satchel_message_joined *joined = &job->answers[0].joined;
        device->workspace_id = joined->workspace;
        device->receipt = joined->receipt;
        device->token_number = joined->token_number;
        snprintf(device->user, sizeof device->user, "%.*s", (int)joined->user.size,
                 (const char *)joined->user.data);
    }
    satchel_job_free(job);
    return status;
}

enum satchel_status attach(struct fixture *fixture, struct device *device,
                           struct satchel_message_welcome *welcome)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_HELLO};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ATTACH);
    message.hello.protocol = SATCHEL_PROTOCOL_VERSION;
    message.hello.workspace = satchel_span_text("w");
    message.hello.workspace_id = device->workspace_id;
    message.hello.device = device->id;
    message.hello.token = satchel_span_of(device->token, sizeof device->token);
    message.hello.node = device->node;
    message.hello.cursor = device->cursor;
    struct satchel_position here = {device->node, device->cursor};
    message.hello.lineage = (struct satchel_vector){&here, device->cursor > 0};
    message.hello.user = satchel_span_text(device->user);
    message.hello.receipt = device->receipt;
    message.hello.token_number = device->token_number;
    message.hello.last_number = device->last_number;
    message.hello.drain = device->drain;
    message.hello.clock_error_ms = -1500;
    message.hello.software = satchel_span_text("test 1");
    assert_ok(satchel_job_take_request(job, &message));
    enum satchel_status status = run(fixture, job);
    if (status == SATCHEL_OK && welcome)
        *welcome = job->answers[0].welcome;
    satchel_job_free(job);
    return status;
}

struct satchel_job *push_job(struct device *device, uint64_t number, const char *id, int64_t stock)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = {7};
    struct satchel_changeset_header header = {.schema = 1, .part_count = 1};
    struct satchel_value key = satchel_value_text(satchel_span_text(id));
    struct satchel_field field = {1, satchel_value_text(satchel_span_text("thing"))};
    struct satchel_part part = {.kind = SATCHEL_OP_INSERT,
                                .table = 2,
                                .key = &key,
                                .key_count = 1,
                                .fields = &field,
                                .field_count = 1};
    struct satchel_push_item item = {
        number, satchel_stamp_from_ms(workspace_now_ms()), secret, {NULL, 0}};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PUSH};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_PUSH);
    struct satchel_buffer body;
    if (stock) {
        part.kind = SATCHEL_OP_UPDATE;
        field.column = 2;
        field.value = satchel_value_integer(stock);
    }
    satchel_buffer_init(&body, 4096, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    assert_ok(satchel_changeset_write_part(&body, &part));
    item.body = satchel_buffer_span(&body);
    message.push.items = &item;
    message.push.item_count = 1;
    job->device = device->id;
    assert_ok(satchel_job_take_request(job, &message));
    satchel_buffer_deinit(&body);
    return job;
}

enum satchel_status push(struct fixture *fixture, struct device *device, uint64_t number,
                         const char *id, int64_t stock)
{
    struct satchel_job *job = push_job(device, number, id, stock);
    enum satchel_status status = run(fixture, job);
    if (status == SATCHEL_OK)
        assert_int_equal(job->acked_number, number);
    satchel_job_free(job);
    return status;
}

/* A workspace with two joined devices. */
void open_joined(struct fixture *fixture, struct device *ann, struct device *bob)
{
    char code[32];
    fixture_open(fixture);
    if (create(fixture, "w", kit_sql) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
    *ann = device_new(1);
    *bob = device_new(2);
    invite(fixture, "ann", code);
    assert_ok(join(fixture, ann, code));
    invite(fixture, "bob", code);
    assert_ok(join(fixture, bob, code));
}
