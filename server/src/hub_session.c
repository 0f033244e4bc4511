/* Owns what a session asks and is told: events become jobs, answers become messages, limits become
 * backpressure. The stream of entries is in hub_stream.c, administration in hub_admin.c. */
#include "hub_internal.h"
#include "stream_batch.h"

#include "logging.h"

#include <stdio.h>
#include <stdlib.h>

enum { PEER_TEXT_BYTES = 128 };

/* ---- life and end ---- */

struct hub_session *hub_session_new(struct satchel_hub *hub, struct satchel_connection *connection)
{
    struct satchel_session_options options = {
        .size = sizeof options,
        .side = SATCHEL_SIDE_SERVER,
        .output_bytes_max = SESSION_OUTPUT_BYTES_MAX,
    };
    struct satchel_now now = hub_now();
    struct hub_session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    if (satchel_session_new(&session->session, &options, now) != SATCHEL_OK) {
        free(session);
        return NULL;
    }
    session->hub = hub;
    session->connection = connection;
    session->idle_since_ms = now.monotonic_ms;
    session->said_ms = now.monotonic_ms;
    hub_pace_start(session, now.monotonic_ms);
    return session;
}

static void drop_requests(struct hub_session *session)
{
    if (session->stalled)
        satchel_job_free(session->stalled);
    session->stalled = NULL;
    while (session->answers_first) {
        struct satchel_job *next = session->answers_first->next;
        satchel_job_free(session->answers_first);
        session->answers_first = next;
    }
    session->answers_last = NULL;
}

void hub_session_free(struct hub_session *session)
{
    hub_transfer_leave(session);
    hub_workspace_forget_session(session);
    drop_requests(session);
    hub_stream_forget(session);
    session->hub->early_bytes -= session->early_bytes;
    satchel_session_free(session->session);
    free(session);
}

static enum satchel_close_code close_code(enum satchel_status status)
{
    switch (status) {
    case SATCHEL_LIMIT: return SATCHEL_CLOSE_TOO_BIG;
    case SATCHEL_CORRUPT:
    case SATCHEL_VERSION:
    case SATCHEL_STATE: return SATCHEL_CLOSE_PROTOCOL;
    case SATCHEL_NOMEM:
    case SATCHEL_BUSY:
    case SATCHEL_IO:
    case SATCHEL_SQL: return SATCHEL_CLOSE_INTERNAL;
    default: return SATCHEL_CLOSE_POLICY;
    }
}

/* The protocol session has failed: its last words are in its output. */
static void end_failed(struct hub_session *session)
{
    struct satchel_error error = {0};
    char peer[PEER_TEXT_BYTES];
    enum satchel_status status = satchel_session_failed(session->session, &error);

    if (session->is_over)
        return;
    session->is_over = true;
    satchel_connection_peer(session->connection, peer, sizeof peer);
    satchel_log_warning("session of %s ends: %s: %s", peer, satchel_status_name(status),
                        error.message);
    satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_SESSIONS_FAILED, 1);
    hub_transfer_leave(session);
    hub_workspace_forget_session(session);
    drop_requests(session);
    satchel_connection_finish(session->connection, close_code(status), satchel_status_text(status));
}

void hub_session_send_away(struct hub_session *session, const char *reason)
{
    if (session->is_over)
        return;
    session->is_over = true;
    hub_transfer_leave(session);
    hub_workspace_forget_session(session);
    drop_requests(session);
    satchel_connection_finish(session->connection, SATCHEL_CLOSE_GOING_AWAY, reason);
}

void hub_session_fail(struct hub_session *session, enum satchel_status status, const char *text)
{
    if (session->is_over)
        return;
    satchel_session_fail(session->session, status, text);
    end_failed(session);
}

/* ---- saying ---- */

/* A full disk of the server is not one of the device: it is told to come again, and by whom. */
void hub_session_fail_job(struct hub_session *session, const struct satchel_job *job)
{
    char text[SATCHEL_ERROR_BYTES];
    bool is_of_device = job->kind != SATCHEL_JOB_ADMIN && job->kind != SATCHEL_JOB_QUERY;

    if (!is_of_device || (job->status != SATCHEL_IO && job->status != SATCHEL_NOMEM)) {
        hub_session_fail(session, job->status, job->error.message);
        return;
    }
    (void)snprintf(text, sizeof text,
                   "the server cannot do it now (%.900s); sync again later (nothing is lost)",
                   job->error.message);
    hub_session_fail(session, SATCHEL_BUSY, text);
}

bool hub_session_next_frame(struct hub_session *session, struct satchel_span *frame)
{
    if (!satchel_session_next_output(session->session, frame))
        return false;
    session->said_ms = hub_monotonic_ms();
    return true;
}

/* `status` of queuing it. */
static enum satchel_status said(struct hub_session *session, enum satchel_status status)
{
    if (status == SATCHEL_OK)
        satchel_connection_want_write(session->connection);
    else if (status == SATCHEL_LIMIT)
        hub_session_fail(session, status,
                         "the answer is larger than a message may be: ask for less");
    else if (status != SATCHEL_BUSY)
        hub_session_fail(session, status, "the server cannot say its answer");
    return status;
}

enum satchel_status hub_session_say(struct hub_session *session,
                                    const struct satchel_message *message)
{
    return said(session, satchel_session_send(session->session, message));
}

static enum satchel_status say_answer(struct hub_session *session, const struct satchel_job *job,
                                      const struct satchel_message *answer)
{
    return job->batch && answer->kind == SATCHEL_MESSAGE_ENTRIES
               ? said(session, satchel_session_send_frame(session->session, job->batch->frame))
               : hub_session_say(session, answer);
}

void hub_session_answer(struct hub_session *session, struct satchel_job *job)
{
    job->next = NULL;
    if (session->answers_last)
        session->answers_last->next = job;
    else
        session->answers_first = job;
    session->answers_last = job;
}

static void say_answers(struct hub_session *session)
{
    while (session->answers_first && !session->is_over) {
        struct satchel_job *job = session->answers_first;
        while (session->answers_said < job->answer_count) {
            const struct satchel_message *answer = &job->answers[session->answers_said];
            if (say_answer(session, job, answer) != SATCHEL_OK)
                return;
            session->answers_said++;
        }
        session->answers_said = 0;
        session->answers_first = job->next;
        if (!session->answers_first)
            session->answers_last = NULL;
        satchel_job_free(job);
        session->idle_since_ms = hub_monotonic_ms();
    }
}

static void say_ack(struct hub_session *session)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ACK};

    if (session->acked_number <= session->acked_said || session->is_over)
        return;
    message.ack.number = session->acked_number;
    if (hub_session_say(session, &message) == SATCHEL_OK)
        session->acked_said = session->acked_number;
}

/* ---- requests ---- */

struct satchel_job *hub_session_job(struct hub_session *session, enum satchel_job_kind kind)
{
    struct satchel_job *job = satchel_job_new(kind);

    if (!job) {
        hub_session_fail(session, SATCHEL_NOMEM, "the server is out of memory: try again later");
        return NULL;
    }
    job->owner = session->hub;
    job->owner_number = session->number;
    job->device = session->device;
    job->is_drained = session->is_drained;
    return job;
}

/* What a request weighs while it is in flight: the same before and after it is done. */
static size_t request_bytes(const struct satchel_job *job)
{
    size_t bytes = 0;

    if (job->kind == SATCHEL_JOB_PUSH)
        for (uint32_t i = 0; i < job->request.push.item_count; i++)
            bytes += job->request.push.items[i].body.size;
    if (job->kind == SATCHEL_JOB_FORWARD)
        for (uint32_t i = 0; i < job->request.forward.entry_count; i++)
            bytes += job->request.forward.entries[i].body.size;
    return bytes;
}

static void submit_stalled(struct hub_session *session)
{
    if (!session->stalled || session->is_over)
        return;
    struct satchel_job *job = session->stalled;
    enum satchel_status status = hub_workspace_submit(session->stalled_workspace, session, job);
    if (status == SATCHEL_BUSY)
        return;
    session->stalled = NULL;
    if (status != SATCHEL_OK) {
        satchel_job_free(job);
        hub_session_fail(session, status, "the workspace takes no requests now: try again later");
    }
}

void hub_session_request(struct hub_session *session, struct hub_workspace *workspace,
                         enum satchel_job_kind kind, const struct satchel_message *message)
{
    struct satchel_job *job = hub_session_job(session, kind);
    if (!job)
        return;
    job->is_outlived = session->is_outlived;
    job->has_walked_enough = session->walked_count > SESSION_WALKED_ROWS_MAX;
    enum satchel_status status = SATCHEL_OK;
    if (kind != SATCHEL_JOB_WIPED) /* which says nothing more */
        status = satchel_job_take_request(job, message);
    if (status == SATCHEL_OK) {
        hub_session_submit(session, workspace, job);
        return;
    }
    satchel_job_free(job);
    hub_session_fail(session, status, "the server cannot hold the request");
}

void hub_session_submit(struct hub_session *session, struct hub_workspace *workspace,
                        struct satchel_job *job)
{
    if (session->stalled) {
        satchel_job_free(job);
        hub_session_fail(session, SATCHEL_LIMIT, "a request before the last one could be taken");
        return;
    }
    session->requests_in_flight++;
    session->request_bytes += request_bytes(job);
    session->stalled = job;
    session->stalled_workspace = workspace;
    submit_stalled(session);
}

void hub_session_no_workspace(struct hub_session *session, struct satchel_span name)
{
    char text[SATCHEL_NAME_BYTES_MAX + 64];
    const struct hub_claim *claim = hub_claim_find(session->hub, name);

    if (claim && claim->is_switching) { /* devices come again after a 1001 */
        hub_session_send_away(session, "the workspace is being restored");
        return;
    }
    (void)snprintf(text, sizeof text, "this server has no workspace '%.*s'",
                   (int)(name.size < SATCHEL_NAME_BYTES_MAX ? name.size : SATCHEL_NAME_BYTES_MAX),
                   name.size ? (const char *)name.data : "");
    hub_session_fail(session, SATCHEL_NOT_FOUND, text);
}

static void request_attach(struct hub_session *session, const struct satchel_message *message)
{
    struct hub_workspace *workspace = hub_workspace_find(session->hub, message->hello.workspace);

    if (workspace)
        hub_session_request(session, workspace, SATCHEL_JOB_ATTACH, message);
    else
        hub_session_no_workspace(session, message->hello.workspace);
}

static void take_wiped(struct hub_session *session, const struct satchel_message *event)
{
    if (session->is_drained)
        hub_session_request(session, session->workspace, SATCHEL_JOB_WIPED, event);
    else
        hub_session_fail(session, SATCHEL_STATE, "WIPED from a device that is not to be wiped");
}

/* Each costs the server far more than its bytes. */
static void request_ranges(struct hub_session *session, const struct satchel_message *event)
{
    int64_t now_ms = hub_monotonic_ms();
    if (now_ms - session->ranges_since_ms >= RANGES_MS) {
        session->ranges_since_ms = now_ms;
        session->ranges_count = 0;
        session->walked_count = 0;
    }
    if (++session->ranges_count > SATCHEL_RANGES_REQUESTS_MAX)
        hub_session_fail(session, SATCHEL_LIMIT,
                         "the session has compared as many ranges as one may: sync again");
    else
        hub_session_request(session, session->workspace, SATCHEL_JOB_RANGES, event);
}

static void take_event(struct hub_session *session, const struct satchel_message *event)
{
    session->idle_since_ms = hub_monotonic_ms();
    switch (event->kind) {
    case SATCHEL_MESSAGE_JOIN: hub_join_request(session, event); break;
    case SATCHEL_MESSAGE_HELLO: request_attach(session, event); break;
    case SATCHEL_MESSAGE_PUSH:
        hub_pace_count(session, HUB_RATE_CHANGE_SETS, event->push.item_count);
        hub_session_request(session, session->workspace, SATCHEL_JOB_PUSH, event);
        break;
    case SATCHEL_MESSAGE_FORWARD:
        hub_pace_count(session, HUB_RATE_CHANGE_SETS, event->forward.entry_count);
        hub_session_request(session, session->workspace, SATCHEL_JOB_FORWARD, event);
        break;
    case SATCHEL_MESSAGE_ROWS_REQUEST:
        hub_session_request(session, session->workspace, SATCHEL_JOB_ROWS, event);
        break;
    case SATCHEL_MESSAGE_RANGES_REQUEST: request_ranges(session, event); break;
    case SATCHEL_MESSAGE_SNAPSHOT_REQUEST: hub_bootstrap_request(session, event); break;
    case SATCHEL_MESSAGE_PAST_REQUEST: hub_bootstrap_request_past(session, event); break;
    case SATCHEL_MESSAGE_COPY:
        if (session->has_copied)
            hub_session_fail(session, SATCHEL_STATE, "a second COPY: the session is over");
        else
            hub_session_request(session, session->workspace, SATCHEL_JOB_COPY, event);
        session->has_copied = true;
        break;
    case SATCHEL_MESSAGE_ROTATE:
        hub_session_request(session, session->workspace, SATCHEL_JOB_ROTATE, event);
        break;
    case SATCHEL_MESSAGE_DIGEST_REQUEST:
        hub_session_request(session, session->workspace, SATCHEL_JOB_DIGESTS, event);
        break;
    case SATCHEL_MESSAGE_WIPED: take_wiped(session, event); break;
    case SATCHEL_MESSAGE_ADMIN: hub_admin_request(session, event); break;
    default: break; /* ERROR: the session has failed with it */
    }
}

/* Whether there is room for what has come. Who is not attached has shown nothing yet: messages that
 * are never finished are not to fill the memory. */
static bool count_early(struct hub_session *session, size_t size, bool is_last)
{
    struct satchel_hub *hub = session->hub;
    size_t bytes = is_last || session->workspace ? 0 : session->early_bytes + size;
    size_t others = hub->early_bytes - session->early_bytes;
    bool has_room = bytes <= EARLY_BYTES_SMALL || others + bytes <= EARLY_BYTES_MAX;
    session->early_bytes = has_room ? bytes : 0;
    hub->early_bytes = others + session->early_bytes;
    return has_room;
}

void hub_session_received(struct hub_session *session, const void *bytes, size_t size, bool is_last)
{
    struct satchel_message event;

    if (session->is_over)
        return;
    if (!count_early(session, size, is_last)) {
        hub_session_fail(session, SATCHEL_BUSY,
                         "the server has no room for another large message now: try again later");
        return;
    }
    hub_pace_count(session, HUB_RATE_BYTES, (int64_t)size);
    if (is_last)
        hub_pace_count(session, HUB_RATE_MESSAGES, 1);
    enum satchel_status status =
        satchel_session_receive(session->session, bytes, size, is_last, hub_now());
    session->is_receiving = !is_last;
    while (!session->is_over && satchel_session_next_event(session->session, &event))
        take_event(session, &event);
    if (!session->is_over &&
        (status != SATCHEL_OK || satchel_session_failed(session->session, NULL) != SATCHEL_OK))
        end_failed(session);
    if (is_last)
        hub_session_step(session);
}

/* ---- answers ---- */

static void attach(struct hub_session *session, struct hub_workspace *workspace,
                   struct satchel_job *job)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    struct satchel_message_welcome *welcome = &job->answers[0].welcome;
    char device[SATCHEL_ID_TEXT_BYTES];
    char peer[PEER_TEXT_BYTES];

    session->device = hello->device;
    session->role_bytes = welcome->role.size;
    if (welcome->role.size > 0)
        memcpy(session->role, welcome->role.data, welcome->role.size);
    session->schema = hello->schema;
    session->is_drained = welcome->is_drained != 0;
    session->needs_schema = hello->schema < welcome->schema && !session->is_drained;
    session->is_bootstrapping = hub_bootstrap_is_due(session, hello, welcome);
    welcome->has_snapshot = session->is_bootstrapping;
    session->cursor = welcome->cursor;
    session->scope = job->scope;
    session->is_outlived = job->is_outlived;
    session->held_number = session->acked_number = session->acked_said = welcome->last_number;
    hub_workspace_raise_head(workspace, welcome->head);
    hub_workspace_attach_session(workspace, session);
    satchel_id_text(&session->device, device);
    satchel_connection_peer(session->connection, peer, sizeof peer);
    satchel_log_info("device %s of %.*s attached to %s from %s%s", device, (int)welcome->user.size,
                     welcome->user.size ? (const char *)welcome->user.data : "",
                     satchel_workspace_name(workspace->workspace), peer,
                     session->is_drained ? ", to be drained" : "");
}

static void acknowledge(struct hub_session *session, const struct satchel_job *job)
{
    if (job->acked_number <= session->acked_number)
        return;
    satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_CHANGE_SETS,
                       job->acked_number - session->acked_number);
    session->acked_number = job->acked_number;
}

/* What the device gave back of its own is held, and was not sent in this session: it hears all of
 * it again. Of a copy it is another device's. */
static void take_forwarded(struct hub_session *session, const struct satchel_job *job)
{
    const struct satchel_message_forward *forward = &job->request.forward;
    for (uint32_t i = 0; i < forward->entry_count && !job->is_copy; i++)
        if (satchel_id_equal(&forward->entries[i].device, &session->device) &&
            forward->entries[i].number == session->acked_number + 1)
            session->held_number = session->acked_said = ++session->acked_number;
}

/* The workspace is another incarnation: everybody attaches again. */
static void renew_sessions(struct hub_workspace *workspace)
{
    while (workspace->sessions)
        hub_session_fail(workspace->sessions, SATCHEL_AGAIN,
                         "the server was restored and goes on as a new incarnation: sync again");
}

static void revoke_sessions(struct hub_workspace *workspace, const struct satchel_id *device)
{
    struct hub_session *next;
    for (struct hub_session *session = workspace->sessions; session; session = next) {
        next = session->next_attached;
        if (satchel_id_equal(&session->device, device) && !session->is_drained)
            hub_session_fail(session, SATCHEL_AGAIN, "this device was revoked: sync again");
    }
}

static void end_wiped(struct hub_session *session)
{
    char device[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&session->device, device);
    satchel_log_info("device %s has uploaded what it had, and wiped it", device);
    hub_session_fail(session, SATCHEL_DENIED,
                     "this device was revoked; what waited on it has come, and its data are gone");
}

/* Whoever came in with the device's earlier token has to show that it has the new one. */
static void end_others(struct hub_workspace *workspace, const struct hub_session *session,
                       const struct satchel_id *device)
{
    if (satchel_id_is_zero(device))
        return;
    for (struct hub_session *other = workspace->sessions, *next; other; other = next) {
        next = other->next_attached;
        if (other != session && satchel_id_equal(&other->device, device))
            hub_session_fail(other, SATCHEL_AGAIN, "the device has another token now: sync again");
    }
}

static void complete_request(struct hub_session *session, struct hub_workspace *workspace,
                             struct satchel_job *job)
{
    session->requests_in_flight--;
    session->request_bytes -= request_bytes(job);
    session->walked_count += job->walked_count;
    session->snapshot_count += job->has_made_snapshot;
    satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_REPAIRED, job->repaired_count);
    if (job->status == SATCHEL_OK && job->is_renewed)
        renew_sessions(workspace);
    if (job->status == SATCHEL_OK && job->has_revoked)
        revoke_sessions(workspace, &job->device);
    if (job->status == SATCHEL_OK)
        end_others(workspace, session, &job->renewed);
    if (job->kind == SATCHEL_JOB_JOIN)
        hub_join_complete(session, job->status);
    if (session->is_over) {
        satchel_job_free(job);
        return;
    }
    if (job->kind == SATCHEL_JOB_PUSH) {
        acknowledge(session, job);
        say_ack(session); /* also if the rest of it was refused */
    }
    if (workspace && workspace->is_closing &&
        (job->kind == SATCHEL_JOB_ATTACH ||
         (job->kind == SATCHEL_JOB_JOIN && job->status == SATCHEL_STATE))) {
        hub_session_send_away(session, "the workspace is being restored");
        satchel_job_free(job);
        return;
    }
    if (job->status != SATCHEL_OK) {
        hub_session_fail_job(session, job);
        satchel_job_free(job);
        return;
    }
    if (hub_bootstrap_reads_on(session, workspace, job)) {
        satchel_job_free(job);
        return;
    }
    if (job->kind == SATCHEL_JOB_ATTACH)
        attach(session, workspace, job);
    else if (job->kind == SATCHEL_JOB_WIPED)
        end_wiped(session);
    else if (job->kind == SATCHEL_JOB_FORWARD)
        take_forwarded(session, job);
    else if (job->is_cut) /* the answer is of the end, which it may not have been told */
        session->needs_head = true;
    hub_session_answer(session, job);
}

/* The device writes by its user's role, and is told by it which columns it has. */
static void check_role(const struct hub_session *session, struct satchel_job *job)
{
    if (job->status == SATCHEL_OK && job->role.data &&
        !satchel_span_equal(job->role, satchel_span_of(session->role, session->role_bytes)))
        job->status = satchel_error_set(&job->error, SATCHEL_AGAIN,
                                        "the device's user has another role now: sync again");
}

void hub_session_complete(struct hub_session *session, struct hub_workspace *workspace,
                          struct satchel_job *job)
{
    check_role(session, job);
    if (job->kind == SATCHEL_JOB_ENTRIES || job->kind == SATCHEL_JOB_SCHEMA)
        hub_stream_complete(session, job);
    else
        complete_request(session, workspace, job);
    hub_session_step(session);
}

/* ---- one step ---- */

static bool is_to_be_paused(struct hub_session *session)
{
    return session->hub->is_stopping || session->stalled || session->answers_first ||
           session->requests_in_flight >= SESSION_REQUESTS_MAX ||
           session->request_bytes > SESSION_REQUEST_BYTES_MAX ||
           satchel_session_output_bytes(session->session) > SESSION_OUTPUT_BYTES_MAX ||
           !hub_pace_is_kept(session);
}

static void stop_if_answered(struct hub_session *session)
{
    if (session->stalled) {
        /* Not begun: the peer asks again elsewhere. */
        satchel_job_free(session->stalled);
        session->stalled = NULL;
        session->requests_in_flight--;
    }
    if (session->requests_in_flight > 0 || session->answers_first ||
        session->acked_said < session->acked_number)
        return;
    hub_session_send_away(session, "the server is stopping");
}

void hub_session_step(struct hub_session *session)
{
    if (session->is_over)
        return;
    if (!session->hub->is_stopping)
        submit_stalled(session);
    say_answers(session);
    say_ack(session);
    if (session->hub->is_stopping)
        stop_if_answered(session);
    else
        hub_stream_step(session);
    if (session->is_over)
        return;
    satchel_connection_pause(session->connection, is_to_be_paused(session));
    if (satchel_session_output_bytes(session->session) > 0)
        satchel_connection_want_write(session->connection);
}

/* ---- time ---- */

static void check_unattached(struct hub_session *session, struct satchel_now now)
{
    int64_t ms_max =
        session->is_receiving || session->transfer ? UNATTACHED_MESSAGE_MS_MAX : UNATTACHED_MS_MAX;

    if (session->requests_in_flight == 0 && !session->answers_first &&
        now.monotonic_ms - session->idle_since_ms > ms_max)
        hub_session_fail(session, SATCHEL_TIMEOUT,
                         "no request has come in time: say JOIN, HELLO or ADMIN");
}

void hub_session_tick(struct hub_session *session, struct satchel_now now)
{
    if (session->is_over)
        return;
    if (satchel_session_tick(session->session, now) != SATCHEL_OK) {
        end_failed(session);
        return;
    }
    hub_transfer_tick(session, now);
    if (!session->workspace)
        check_unattached(session, now);
    else if (session->is_live && now.monotonic_ms - session->said_ms >= HEARTBEAT_MS)
        session->needs_head = true;
    else if (session->is_bootstrapping && now.monotonic_ms - session->said_ms >= HEARTBEAT_MS)
        hub_bootstrap_say_alive(session);
    hub_session_step(session);
}
