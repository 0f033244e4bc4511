/* The hub between a real session of a device and a workspace made of paper: jobs are kept until the
 * test completes them, connections only remember what they were told. */
#include "hub.h"
#include "workspace.h"

#include <satchel/session.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <ev.h>

/* ---- a workspace of paper ---- */

struct satchel_workspace {
    struct satchel_workspace_callbacks callbacks;
    struct satchel_job *jobs[16]; /* in order of submission */
    size_t job_count;
    size_t room;
};

static struct satchel_workspace paper;

enum satchel_status satchel_workspace_open(struct satchel_workspace **out,
                                           const char *data_directory, const char *name,
                                           const struct satchel_workspace_callbacks *callbacks,
                                           struct satchel_error *error)
{
    (void)data_directory;
    (void)error;
    assert_string_equal(name, "w");
    paper.callbacks = *callbacks;
    paper.job_count = 0;
    paper.room = sizeof paper.jobs / sizeof *paper.jobs;
    *out = &paper;
    return SATCHEL_OK;
}

enum satchel_status satchel_workspace_create(
    struct satchel_workspace **out, const char *data_directory, const char *name,
    const struct satchel_migration *migrations, uint32_t migration_count,
    const struct satchel_workspace_callbacks *callbacks, struct satchel_span *notice,
    struct satchel_arena *arena, struct satchel_error *error)
{
    (void)out, (void)data_directory, (void)name, (void)migrations, (void)migration_count;
    (void)callbacks, (void)notice, (void)arena;
    return satchel_error_set(error, SATCHEL_EXISTS, "it is there already");
}

void satchel_workspace_close(struct satchel_workspace *workspace)
{
    for (size_t i = 0; workspace && i < workspace->job_count; i++) {
        workspace->jobs[i]->status = SATCHEL_STATE;
        workspace->callbacks.complete(workspace->callbacks.context, workspace, workspace->jobs[i]);
    }
    if (workspace)
        workspace->job_count = 0;
}

const char *satchel_workspace_name(const struct satchel_workspace *workspace)
{
    (void)workspace;
    return "w";
}

enum satchel_status satchel_workspace_submit(struct satchel_workspace *workspace,
                                             struct satchel_job *job)
{
    if (workspace->job_count >= workspace->room)
        return SATCHEL_BUSY;
    workspace->jobs[workspace->job_count++] = job;
    return SATCHEL_OK;
}

enum satchel_status satchel_migrations_of_arguments(
    const struct satchel_value *arguments, uint32_t argument_count, struct satchel_arena *arena,
    struct satchel_migration **out, uint32_t *out_count, struct satchel_error *error)
{
    (void)arguments, (void)argument_count, (void)arena, (void)error;
    *out = NULL;
    *out_count = 0;
    return SATCHEL_OK;
}

struct satchel_id satchel_workspace_id(const struct satchel_workspace *workspace)
{
    struct satchel_id id = {{1}};
    (void)workspace;
    return id;
}

/* ---- a connection of paper ---- */

struct satchel_connection {
    void *data;
    bool is_paused;
    enum satchel_close_code code; /* 0: not told to go */
};

void satchel_connection_want_write(struct satchel_connection *connection)
{
    (void)connection;
}

void satchel_connection_pause(struct satchel_connection *connection, bool is_paused)
{
    connection->is_paused = is_paused;
}

void satchel_connection_finish(struct satchel_connection *connection, enum satchel_close_code code,
                               const char *reason)
{
    assert_non_null(reason);
    if (!connection->code)
        connection->code = code;
}

void satchel_connection_peer(const struct satchel_connection *connection, char *text, size_t room)
{
    (void)connection;
    snprintf(text, room, "paper");
}

struct satchel_id satchel_connection_address(const struct satchel_connection *connection)
{
    (void)connection;
    return (struct satchel_id){{127}};
}

/* ---- the stage ---- */

struct stage {
    char folder[64];
    struct satchel_data_directory directory;
    struct satchel_metrics metrics;
    struct ev_loop *loop;
    struct satchel_hub *hub;
    struct satchel_listener_handlers handlers;
};

static const struct satchel_now moment = {.utc_ms = 1750000000000, .monotonic_ms = 1000};
static const struct satchel_id node = {{7}};

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    struct satchel_error error = {0};
    char path[80];

    assert_non_null(stage);
    snprintf(stage->folder, sizeof stage->folder, "/tmp/satchel-hub-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(path, sizeof path, "%s/w.db", stage->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(satchel_data_directory_open(&stage->directory, stage->folder, &error),
                     SATCHEL_OK);
    stage->loop = ev_loop_new(0);
    struct satchel_hub_options options = {
        .loop = stage->loop, .directory = &stage->directory, .metrics = &stage->metrics};
    options.rate_limits[HUB_RATE_CHANGE_SETS] = (struct rate_limit){.per_second = 1, .burst = 50};
    assert_int_equal(satchel_hub_new(&stage->hub, &options, &error), SATCHEL_OK);
    assert_int_equal(satchel_hub_open_workspaces(stage->hub, &error), SATCHEL_OK);
    stage->handlers = satchel_hub_handlers(stage->hub);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"w.db", "lock", "admin.token"};
    struct stage *stage = *state;

    satchel_hub_free(stage->hub);
    ev_loop_destroy(stage->loop);
    satchel_data_directory_close(&stage->directory);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s/%s", stage->folder, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(stage->folder), 0);
    free(stage);
    return 0;
}

/* Completes the oldest job after its answer has been filled in; the loop takes it. */
static void complete(struct stage *stage)
{
    struct satchel_job *job = paper.jobs[0];

    assert_true(paper.job_count > 0);
    paper.job_count--;
    memmove(paper.jobs, paper.jobs + 1, paper.job_count * sizeof *paper.jobs);
    paper.callbacks.complete(paper.callbacks.context, &paper, job);
    ev_run(stage->loop, EVRUN_NOWAIT);
}

static struct satchel_job *expect_job(enum satchel_job_kind kind)
{
    assert_true(paper.job_count > 0);
    assert_int_equal(paper.jobs[0]->kind, kind);
    return paper.jobs[0];
}

/* ---- a device ---- */

struct device {
    struct stage *stage;
    struct satchel_connection connection;
    struct satchel_session *session;
    enum satchel_message_kind heard[16];
    size_t heard_count;
    uint64_t acked;
    uint64_t status; /* of an ERROR */
};

static void exchange(struct device *device)
{
    const struct satchel_listener_handlers *handlers = &device->stage->handlers;
    struct satchel_span frame;
    bool moved = true;

    while (moved) {
        moved = false;
        while (!device->connection.is_paused && !device->connection.code &&
               satchel_session_next_output(device->session, &frame)) {
            moved = true;
            handlers->received(device->connection.data, frame.data, frame.size, true);
        }
        while (handlers->next_frame(device->connection.data, &frame)) {
            struct satchel_message event;
            enum satchel_status status =
                satchel_session_receive(device->session, frame.data, frame.size, true, moment);
            (void)status; /* an ERROR fails it, and is what some tests wait for */
            moved = true;
            while (satchel_session_next_event(device->session, &event)) {
                assert_true(device->heard_count < 16);
                device->heard[device->heard_count++] = event.kind;
                if (event.kind == SATCHEL_MESSAGE_ACK)
                    device->acked = event.ack.number;
                if (event.kind == SATCHEL_MESSAGE_ERROR)
                    device->status = event.error.status;
            }
        }
        if (moved)
            handlers->drained(device->connection.data);
    }
}

static void expect_heard(struct device *device, enum satchel_message_kind kind)
{
    assert_true(device->heard_count > 0);
    assert_int_equal(device->heard[0], kind);
    device->heard_count--;
    memmove(device->heard, device->heard + 1, device->heard_count * sizeof *device->heard);
}

static void open_device(struct stage *stage, struct device *device)
{
    struct satchel_session_options options = {.size = sizeof options, .side = SATCHEL_SIDE_CLIENT};

    memset(device, 0, sizeof *device);
    device->stage = stage;
    assert_int_equal(satchel_session_new(&device->session, &options, moment), SATCHEL_OK);
    device->connection.data = stage->handlers.opened(stage->handlers.context, &device->connection);
    assert_non_null(device->connection.data);
    exchange(device);
}

static void close_device(struct device *device)
{
    device->stage->handlers.closed(device->connection.data);
    satchel_session_free(device->session);
}

static void say_hello(struct device *device, const char *workspace)
{
    static const uint8_t token[SATCHEL_TOKEN_BYTES] = {1};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_HELLO};

    message.hello.protocol = SATCHEL_PROTOCOL_VERSION;
    message.hello.workspace = satchel_span_text(workspace);
    message.hello.device.bytes[0] = 9;
    message.hello.token = satchel_span_of(token, sizeof token);
    message.hello.schema = 1;
    message.hello.software = satchel_span_text("test");
    assert_int_equal(satchel_session_send(device->session, &message), SATCHEL_OK);
    exchange(device);
}

static void answer_welcome(struct device *device, uint64_t schema, uint64_t head)
{
    struct satchel_job *job = expect_job(SATCHEL_JOB_ATTACH);

    job->answer_count = 1;
    job->answers[0].kind = SATCHEL_MESSAGE_WELCOME;
    job->answers[0].welcome.node = node;
    job->answers[0].welcome.schema = schema;
    job->answers[0].welcome.head = head;
    job->answers[0].welcome.user = satchel_span_text("ana");
    complete(device->stage);
    exchange(device);
    expect_heard(device, SATCHEL_MESSAGE_WELCOME);
}

static void answer_entries(struct device *device, uint64_t first, uint32_t count, bool is_end)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = {2};
    struct satchel_job *job = expect_job(SATCHEL_JOB_ENTRIES);

    job->head = job->reached = first + count - 1;
    job->reached_end = is_end;
    job->scope.complete = job->scope.cut = is_end ? job->reached : 0;
    if (count > 0) {
        struct satchel_entry *entries =
            SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_entry, count);
        assert_non_null(entries);
        for (uint32_t i = 0; i < count; i++) {
            entries[i].cursor = first + i;
            entries[i].seq = first + i;
            entries[i].device.bytes[0] = 3;
            entries[i].number = first + i;
            entries[i].stamp = 1;
            entries[i].user = satchel_span_text("ben");
            entries[i].secret = secret;
        }
        job->answer_count = 1;
        job->answers[0].kind = SATCHEL_MESSAGE_ENTRIES;
        job->answers[0].entries.entries = entries;
        job->answers[0].entries.entry_count = count;
    }
    if (is_end && job->wants_head) {
        struct satchel_message *head = &job->answers[job->answer_count++];
        head->kind = SATCHEL_MESSAGE_HEAD;
        head->head.cursor = job->reached;
        job->has_head = true;
    }
    complete(device->stage);
    exchange(device);
}

static void answer_schema(struct device *device, uint64_t after)
{
    struct satchel_job *job = expect_job(SATCHEL_JOB_SCHEMA);
    struct satchel_migration *migration =
        SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_migration, 1);

    assert_int_equal(job->after, after);
    assert_non_null(migration);
    migration->number = after + 1;
    migration->name = satchel_span_text("migration.sql");
    migration->sql = satchel_span_text("CREATE TABLE t(a)");
    job->answer_count = 1;
    job->answers[0].kind = SATCHEL_MESSAGE_SCHEMA;
    job->answers[0].schema.migrations = migration;
    job->answers[0].schema.migration_count = 1;
    complete(device->stage);
    exchange(device);
    expect_heard(device, SATCHEL_MESSAGE_SCHEMA);
}

/* An attached device that has everything. */
static void attach(struct stage *stage, struct device *device)
{
    open_device(stage, device);
    say_hello(device, "w");
    answer_welcome(device, 1, 0);
    answer_entries(device, 1, 0, true);
    expect_heard(device, SATCHEL_MESSAGE_HEAD);
    assert_int_equal(paper.job_count, 0);
}

static void push(struct device *device, uint64_t number)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = {4};
    struct satchel_push_item item = {
        .number = number, .stamp = 1, .secret = secret, .body = satchel_span_text("body")};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PUSH};

    message.push.items = &item;
    message.push.item_count = 1;
    assert_int_equal(satchel_session_send(device->session, &message), SATCHEL_OK);
    exchange(device);
}

static void advance(struct stage *stage, uint64_t head)
{
    paper.callbacks.advanced(paper.callbacks.context, &paper, head);
    ev_run(stage->loop, EVRUN_NOWAIT);
}

/* Asks as an administrator with `token`; the arguments end with NULL. */
static void ask_with(struct device *device, const char *token, ...)
{
    struct satchel_value arguments[4];
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ADMIN};
    va_list words;

    va_start(words, token);
    for (const char *word; (word = va_arg(words, const char *)) != NULL;)
        arguments[message.admin.argument_count++] = satchel_value_text(satchel_span_text(word));
    va_end(words);
    message.admin.token = satchel_span_text(token);
    message.admin.arguments = arguments;
    assert_int_equal(satchel_session_send(device->session, &message), SATCHEL_OK);
    exchange(device);
}

/* The same as one whose token is right. */
#define ask_admin(device, ...) \
    ask_with((device), (device)->stage->directory.admin_token, __VA_ARGS__, NULL)

/* Clerks have threads of their own. */
static void wait_for_answer(struct device *device, enum satchel_message_kind kind)
{
    while (device->heard_count == 0) {
        ev_run(device->stage->loop, EVRUN_ONCE);
        exchange(device);
    }
    expect_heard(device, kind);
}

/* ---- promises ---- */

static void test_hub__attaches_and_streams_up_to_the_head(void **state)
{
    struct device device;

    open_device(*state, &device);
    say_hello(&device, "w");
    assert_int_equal(device.heard_count, 0);
    answer_welcome(&device, 2, 3);
    answer_schema(&device, 1);
    assert_int_equal(expect_job(SATCHEL_JOB_ENTRIES)->after, 0);
    answer_entries(&device, 1, 2, false);
    expect_heard(&device, SATCHEL_MESSAGE_ENTRIES);
    assert_int_equal(expect_job(SATCHEL_JOB_ENTRIES)->after, 2);
    answer_entries(&device, 3, 1, true);
    expect_heard(&device, SATCHEL_MESSAGE_ENTRIES);
    expect_heard(&device, SATCHEL_MESSAGE_HEAD);
    assert_int_equal(paper.job_count, 0);
    close_device(&device);
}

static void test_hub__acknowledges_only_what_is_complete(void **state)
{
    struct device device;

    attach(*state, &device);
    push(&device, 1);
    push(&device, 2);
    assert_int_equal(device.heard_count, 0);
    for (uint64_t number = 1; number <= 2; number++) {
        expect_job(SATCHEL_JOB_PUSH)->acked_number = number;
        complete(*state);
        exchange(&device);
        expect_heard(&device, SATCHEL_MESSAGE_ACK);
        assert_int_equal(device.acked, number);
    }
    close_device(&device);
}

static void test_hub__acknowledges_before_it_refuses_the_rest(void **state)
{
    struct device device;

    attach(*state, &device);
    push(&device, 1);
    struct satchel_job *job = expect_job(SATCHEL_JOB_PUSH);
    job->acked_number = 1;
    job->status = satchel_error_set(&job->error, SATCHEL_MISMATCH, "copied");
    complete(*state);
    exchange(&device);
    expect_heard(&device, SATCHEL_MESSAGE_ACK);
    expect_heard(&device, SATCHEL_MESSAGE_ERROR);
    assert_int_equal(device.status, SATCHEL_MISMATCH);
    assert_int_equal(device.connection.code, SATCHEL_CLOSE_POLICY);
    close_device(&device);
}

static void test_hub__wakes_attached_devices_when_the_workspace_advances(void **state)
{
    struct device one, two;

    attach(*state, &one);
    attach(*state, &two);
    advance(*state, 1);
    assert_int_equal(paper.job_count, 2);
    advance(*state, 2); /* one reading job per session is enough */
    assert_int_equal(paper.job_count, 2);
    close_device(&one);
    close_device(&two);
}

static void test_hub__reads_no_more_from_a_device_whose_queue_is_full(void **state)
{
    struct device device;

    attach(*state, &device);
    paper.room = 1;
    push(&device, 1);
    assert_false(device.connection.is_paused);
    push(&device, 2);
    assert_true(device.connection.is_paused);
    assert_int_equal(paper.job_count, 1);
    expect_job(SATCHEL_JOB_PUSH)->acked_number = 1;
    complete(*state);
    assert_false(device.connection.is_paused);
    assert_int_equal(expect_job(SATCHEL_JOB_PUSH)->request.push.items[0].number, 2);
    close_device(&device);
}

static void test_hub__reads_no_more_after_four_requests(void **state)
{
    struct device device;

    attach(*state, &device);
    for (uint64_t number = 1; number <= 4; number++) {
        assert_false(device.connection.is_paused);
        push(&device, number);
    }
    assert_true(device.connection.is_paused);
    expect_job(SATCHEL_JOB_PUSH)->acked_number = 1;
    complete(*state);
    assert_false(device.connection.is_paused);
    close_device(&device);
}

/* The bucket gives one a second: what is owed after 100 takes longer than any test. */
static void test_hub__reads_no_more_from_a_device_over_its_rate(void **state)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = {4};
    struct satchel_push_item items[100];
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PUSH};
    struct device device;

    attach(*state, &device);
    for (uint64_t i = 0; i < 100; i++)
        items[i] = (struct satchel_push_item){
            .number = i + 1, .stamp = 1, .secret = secret, .body = satchel_span_text("body")};
    message.push.items = items;
    message.push.item_count = 100;
    assert_int_equal(satchel_session_send(device.session, &message), SATCHEL_OK);
    exchange(&device);
    assert_true(device.connection.is_paused);
    expect_job(SATCHEL_JOB_PUSH)->acked_number = 100; /* it was taken all the same, */
    complete(*state);
    exchange(&device);
    assert_int_equal(device.acked, 100); /* and it hears what there is to hear */
    assert_true(device.connection.is_paused);
    assert_int_equal(device.connection.code, 0);
    close_device(&device);
}

/* One RANGES_REQUEST, whose answer takes so many rows; false: it was refused. */
static bool compare_ranges(struct device *device, uint64_t walked_count, bool is_spent)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_RANGES_REQUEST};

    message.ranges_request.table = 1;
    message.ranges_request.row_count = 1;
    assert_int_equal(satchel_session_send(device->session, &message), SATCHEL_OK);
    exchange(device);
    if (device->connection.code)
        return false;
    struct satchel_job *job = expect_job(SATCHEL_JOB_RANGES);
    assert_int_equal(job->has_walked_enough, is_spent);
    job->walked_count = walked_count;
    job->answers[0].kind = SATCHEL_MESSAGE_RANGES;
    job->answer_count = 1;
    complete(device->stage);
    exchange(device);
    expect_heard(device, SATCHEL_MESSAGE_RANGES);
    return true;
}

static void test_hub__a_session_compares_no_more_than_so_many_rows(void **state)
{
    struct device device;

    attach(*state, &device);
    for (unsigned i = 0; i < SATCHEL_RANGES_REQUESTS_MAX; i++)
        assert_true(compare_ranges(&device, 1, false));
    assert_false(compare_ranges(&device, 1, false));
    assert_int_equal(device.status, SATCHEL_LIMIT);
    close_device(&device);
    attach(*state, &device);
    for (unsigned i = 0; i < 5; i++)
        assert_true(compare_ranges(&device, 1 << 20, false));
    assert_true(compare_ranges(&device, 0, true));
    close_device(&device);
}

/* Else a device could have everything read again and again. */
static void test_hub__a_session_that_has_the_stream_gets_no_snapshot(void **state)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_SNAPSHOT_REQUEST};
    struct device device;

    attach(*state, &device);
    assert_int_equal(satchel_session_send(device.session, &message), SATCHEL_OK);
    exchange(&device);
    assert_int_equal(device.status, SATCHEL_STATE);
    close_device(&device);
}

static void test_hub__serves_everybody_in_line_for_a_queue(void **state)
{
    struct device one, two, three;

    attach(*state, &one);
    attach(*state, &two);
    attach(*state, &three);
    paper.room = 1;
    push(&one, 1);
    push(&two, 1);
    push(&three, 1);
    struct device *devices[] = {&one, &two, &three};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(paper.job_count, 1);
        expect_job(SATCHEL_JOB_PUSH)->acked_number = 1;
        complete(*state);
        exchange(devices[i]);
        expect_heard(devices[i], SATCHEL_MESSAGE_ACK);
    }
    assert_int_equal(paper.job_count, 0);
    close_device(&two);
    close_device(&one);
    close_device(&three);
}

static void test_hub__an_answer_for_a_session_that_went_reaches_nobody(void **state)
{
    struct device gone, next;

    attach(*state, &gone);
    push(&gone, 1);
    close_device(&gone);
    open_device(*state, &next); /* in the same slot */
    expect_job(SATCHEL_JOB_PUSH)->acked_number = 1;
    complete(*state);
    exchange(&next);
    assert_int_equal(next.heard_count, 0);
    assert_int_equal(next.connection.code, 0);
    close_device(&next);
}

static void test_hub__a_session_in_line_may_go(void **state)
{
    struct device one, two;

    attach(*state, &one);
    attach(*state, &two);
    paper.room = 1;
    push(&one, 1);
    push(&two, 1);
    close_device(&two);
    expect_job(SATCHEL_JOB_PUSH)->acked_number = 1;
    complete(*state);
    assert_int_equal(paper.job_count, 0);
    close_device(&one);
}

static void test_hub__entries_never_overtake_the_schema(void **state)
{
    struct device device, admin;

    attach(*state, &device);
    advance(*state, 1);
    expect_job(SATCHEL_JOB_ENTRIES);
    open_device(*state, &admin);
    ask_admin(&admin, "workspace.deploy", "w");
    assert_int_equal(paper.job_count, 2);
    assert_int_equal(paper.jobs[1]->request.admin.token.size, 0);

    /* The entries were read after the deploy's commit, and complete before it. */
    answer_entries(&device, 1, 1, true);
    assert_int_equal(device.heard_count, 0);
    struct satchel_job *deploy = expect_job(SATCHEL_JOB_ADMIN);
    deploy->answer_count = 1;
    deploy->answers[0].kind = SATCHEL_MESSAGE_ADMIN_RESULT;
    complete(*state);
    exchange(&admin);
    expect_heard(&admin, SATCHEL_MESSAGE_ADMIN_RESULT);
    answer_schema(&device, 1);
    answer_entries(&device, 1, 1, true);
    expect_heard(&device, SATCHEL_MESSAGE_ENTRIES);
    close_device(&admin);
    close_device(&device);
}

static void test_hub__says_what_it_does_not_have(void **state)
{
    struct device device;

    open_device(*state, &device);
    say_hello(&device, "nowhere");
    expect_heard(&device, SATCHEL_MESSAGE_ERROR);
    assert_int_equal(device.status, SATCHEL_NOT_FOUND);
    assert_int_equal(device.connection.code, SATCHEL_CLOSE_POLICY);
    close_device(&device);
}

static void test_hub__passes_a_refusal_on(void **state)
{
    struct device device;

    open_device(*state, &device);
    say_hello(&device, "w");
    struct satchel_job *job = expect_job(SATCHEL_JOB_ATTACH);
    job->status = satchel_error_set(&job->error, SATCHEL_DENIED, "not this token");
    complete(*state);
    exchange(&device);
    expect_heard(&device, SATCHEL_MESSAGE_ERROR);
    assert_int_equal(device.status, SATCHEL_DENIED);
    close_device(&device);
}

static void test_hub__a_stop_waits_for_what_is_in_hand(void **state)
{
    struct stage *stage = *state;
    struct device busy, idle;

    attach(stage, &busy);
    attach(stage, &idle);
    push(&busy, 1);
    satchel_hub_stop(stage->hub);
    assert_int_equal(idle.connection.code, SATCHEL_CLOSE_GOING_AWAY);
    assert_int_equal(busy.connection.code, 0);
    assert_true(busy.connection.is_paused);
    expect_job(SATCHEL_JOB_PUSH)->acked_number = 1;
    complete(stage);
    exchange(&busy);
    expect_heard(&busy, SATCHEL_MESSAGE_ACK);
    assert_int_equal(busy.connection.code, SATCHEL_CLOSE_GOING_AWAY);
    assert_null(stage->handlers.opened(stage->handlers.context, &busy.connection));
    close_device(&busy);
    close_device(&idle);
}

static void test_hub__answers_verbs_of_its_own(void **state)
{
    struct device admin;

    open_device(*state, &admin);
    ask_admin(&admin, "workspace.list", "");
    expect_heard(&admin, SATCHEL_MESSAGE_ADMIN_RESULT);
    ask_admin(&admin, "workspace.create", "w");
    wait_for_answer(&admin, SATCHEL_MESSAGE_ERROR);
    assert_int_equal(admin.status, SATCHEL_EXISTS);
    close_device(&admin);
}

/* A connection of its own asks, after `before` has been answered; the ERROR's status. */
static uint64_t refusal(struct stage *stage, const char *const *before, const char *const *words)
{
    struct device admin;

    open_device(stage, &admin);
    if (before) {
        ask_admin(&admin, before[0], before[1], before[2]);
        wait_for_answer(&admin, SATCHEL_MESSAGE_ADMIN_RESULT);
    }
    ask_admin(&admin, words[0], words[1], words[2]);
    wait_for_answer(&admin, SATCHEL_MESSAGE_ERROR);
    close_device(&admin);
    return admin.status;
}

static void test_hub__refuses_transfers_that_make_no_sense(void **state)
{
    static const char *const begun[] = {"restore.begin", "x", "1000"};
    static const struct {
        bool has_begun;
        const char *words[3];
        enum satchel_status status;
    } cases[] = {
        {false, {"backup.begin", "nowhere", NULL}, SATCHEL_NOT_FOUND},
        {false, {"backup.begin", "../w", NULL}, SATCHEL_INVALID},
        {false, {"backup.begin", "w", NULL}, SATCHEL_SQL}, /* the file of paper is empty */
        {false, {"backup.read", "0", NULL}, SATCHEL_STATE},
        {false, {"restore.write", "0", "bytes"}, SATCHEL_STATE},
        {false, {"restore.finish", "hash", NULL}, SATCHEL_STATE},
        {false, {"transfer.wait", NULL, NULL}, SATCHEL_STATE},
        {false, {"restore.begin", "../x", "1000"}, SATCHEL_INVALID},
        {false, {"restore.begin", "x", NULL}, SATCHEL_INVALID},
        {false, {"restore.begin", "x", "-1"}, SATCHEL_INVALID},
        {false, {"restore.begin", "x", "0"}, SATCHEL_INVALID},
        {false, {"restore.begin", "x", "9223372036854775807"}, SATCHEL_IO}, /* no such disk */
        {false, {"restore.begin", "x", "9999999999999999999"}, SATCHEL_INVALID},
        {false, {"restore.begin", "x", "99999999999999999999"}, SATCHEL_INVALID},
        {true, {"restore.begin", "y", "1000"}, SATCHEL_STATE}, /* one on a connection */
        {true, {"backup.read", "0", NULL}, SATCHEL_STATE},
        {true, {"transfer.wait", NULL, NULL}, SATCHEL_STATE},
        {true, {"restore.write", "0", NULL}, SATCHEL_INVALID},
        {true, {"restore.write", "1", "bytes"}, SATCHEL_INVALID},
        {true, {"restore.write", "x", "bytes"}, SATCHEL_INVALID},
        {true, {"restore.finish", "hash", NULL}, SATCHEL_INVALID},
        {true, {"restore.finish", "0123456789abcdef0123456789abcdef", NULL}, SATCHEL_INVALID},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t status = refusal(*state, cases[i].has_begun ? begun : NULL, cases[i].words);
        if (status != cases[i].status)
            fail_msg("case %zu: %s", i, satchel_status_name((enum satchel_status)status));
    }
}

static void test_hub__a_transfer_needs_the_token(void **state)
{
    struct device admin;

    open_device(*state, &admin);
    ask_with(&admin, "not the token", "restore.begin", "x", "1000", NULL);
    expect_heard(&admin, SATCHEL_MESSAGE_ERROR);
    assert_int_equal(admin.status, SATCHEL_DENIED);
    close_device(&admin);
}

static void test_hub__one_transfer_for_a_workspace_and_a_few_at_once(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    enum { COUNT = sizeof names / sizeof *names };
    struct device admins[COUNT];

    for (int i = 0; i < COUNT; i++) {
        open_device(*state, &admins[i]);
        ask_admin(&admins[i], "restore.begin", names[i], "1000");
        wait_for_answer(&admins[i], SATCHEL_MESSAGE_ADMIN_RESULT);
    }
    assert_int_equal(refusal(*state, NULL, (const char *const[]){"restore.begin", "a", "1000"}),
                     SATCHEL_BUSY);
    assert_int_equal(refusal(*state, NULL, (const char *const[]){"workspace.create", "a", NULL}),
                     SATCHEL_BUSY);
    assert_int_equal(refusal(*state, NULL, (const char *const[]){"restore.begin", "d", "1000"}),
                     SATCHEL_BUSY);
    close_device(&admins[0]); /* its transfer goes with it, at once for whoever comes next */
    open_device(*state, &admins[0]);
    ask_admin(&admins[0], "restore.begin", "a", "1000");
    wait_for_answer(&admins[0], SATCHEL_MESSAGE_ADMIN_RESULT);
    for (int i = 0; i < COUNT; i++)
        close_device(&admins[i]);
}

int main(void)
{
#define HUB_TEST(name) cmocka_unit_test_setup_teardown(test_hub__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        HUB_TEST(attaches_and_streams_up_to_the_head),
        HUB_TEST(acknowledges_only_what_is_complete),
        HUB_TEST(acknowledges_before_it_refuses_the_rest),
        HUB_TEST(wakes_attached_devices_when_the_workspace_advances),
        HUB_TEST(reads_no_more_from_a_device_whose_queue_is_full),
        HUB_TEST(reads_no_more_after_four_requests),
        HUB_TEST(reads_no_more_from_a_device_over_its_rate),
        HUB_TEST(a_session_compares_no_more_than_so_many_rows),
        HUB_TEST(a_session_that_has_the_stream_gets_no_snapshot),
        HUB_TEST(serves_everybody_in_line_for_a_queue),
        HUB_TEST(an_answer_for_a_session_that_went_reaches_nobody),
        HUB_TEST(a_session_in_line_may_go),
        HUB_TEST(entries_never_overtake_the_schema),
        HUB_TEST(says_what_it_does_not_have),
        HUB_TEST(passes_a_refusal_on),
        HUB_TEST(a_stop_waits_for_what_is_in_hand),
        HUB_TEST(answers_verbs_of_its_own),
        HUB_TEST(refuses_transfers_that_make_no_sense),
        HUB_TEST(a_transfer_needs_the_token),
        HUB_TEST(one_transfer_for_a_workspace_and_a_few_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
