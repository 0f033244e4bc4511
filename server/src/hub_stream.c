/* Owns what an attached device is sent unasked: migrations it lacks, entries after its cursor, rows
 * that leave or come into its scope, heads.
 *
 * One reading job per session is in flight, and the next is made only when the output is empty: a
 * device that reads slowly holds one batch here, and nobody else up. */
#include "hub_internal.h"

#include <stdlib.h>

static void submit(struct hub_session *session, struct satchel_job *job)
{
    enum satchel_status status = hub_workspace_submit(session->workspace, session, job);

    if (status == SATCHEL_OK) {
        session->is_reading = true;
        return;
    }
    satchel_job_free(job); /* made again when there is room */
    if (status != SATCHEL_BUSY)
        hub_session_fail(session, status, "the workspace takes no requests now: try again later");
}

static void ask_schema(struct hub_session *session)
{
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_SCHEMA);

    if (!job)
        return;
    job->after = session->schema;
    submit(session, job);
    if (session->is_reading)
        session->needs_schema = false; /* unless a deploy comes meanwhile */
}

/* The state with its bytes in the job's memory; false: there is none. */
static bool lend_scope(const struct hub_session *session, struct satchel_job *job)
{
    const struct satchel_scope_state *scope = &session->scope;

    job->scope = *scope;
    job->scope.left_after = satchel_arena_copy(&job->arena, scope->left_after);
    job->scope.came_after = satchel_arena_copy(&job->arena, scope->came_after);
    job->scope.told = satchel_arena_copy(&job->arena, scope->told);
    return job->scope.left_after.data && job->scope.came_after.data && job->scope.told.data;
}

static bool keep_bytes(struct satchel_span *kept, struct satchel_span bytes)
{
    uint8_t *copy = bytes.size > 0 ? malloc(bytes.size) : NULL;

    free((void *)(uintptr_t)kept->data);
    if (copy)
        memcpy(copy, bytes.data, bytes.size);
    *kept = satchel_span_of(copy, copy ? bytes.size : 0);
    return copy || bytes.size == 0;
}

void hub_stream_forget(struct hub_session *session)
{
    (void)keep_bytes(&session->scope.left_after, satchel_span_of(NULL, 0));
    (void)keep_bytes(&session->scope.came_after, satchel_span_of(NULL, 0));
    (void)keep_bytes(&session->scope.told, satchel_span_of(NULL, 0));
}

static bool keep_scope(struct hub_session *session, const struct satchel_job *job)
{
    const struct satchel_scope_state before = session->scope;

    session->scope = job->scope;
    session->scope.left_after = before.left_after;
    session->scope.came_after = before.came_after;
    session->scope.told = before.told;
    return keep_bytes(&session->scope.left_after, job->scope.left_after) &&
           keep_bytes(&session->scope.came_after, job->scope.came_after) &&
           keep_bytes(&session->scope.told, job->scope.told);
}

/* Rows are still to be told of that have left or come, up to where the session has been sent
 * entries. */
static bool has_moves(const struct hub_session *session)
{
    const struct satchel_scope_state *scope = &session->scope;

    return scope->next_cut > 0 || scope->next_complete > 0 || scope->cut < session->cursor ||
           scope->complete < session->cursor;
}

static void ask_entries(struct hub_session *session)
{
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_ENTRIES);

    if (!job)
        return;
    if (!lend_scope(session, job)) {
        satchel_job_free(job);
        hub_session_fail(session, SATCHEL_NOMEM, "the server is out of memory: try again later");
        return;
    }
    job->after = session->cursor;
    job->wants_head = session->needs_head || !session->is_live;
    job->number_min = session->held_number;
    job->number_max = session->acked_number;
    submit(session, job);
}

static void say_head(struct hub_session *session)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_HEAD};

    message.head.cursor = session->cursor;
    message.head.vector = session->workspace->end;
    message.head.receipt = session->workspace->end_receipt;
    if (hub_session_say(session, &message) == SATCHEL_OK)
        session->needs_head = false;
}

void hub_stream_step(struct hub_session *session)
{
    struct hub_workspace *workspace = session->workspace;

    if (session->is_over || !workspace || session->is_reading || session->answers_first ||
        satchel_session_output_bytes(session->session) > 0)
        return;
    if (session->needs_schema)
        ask_schema(session);
    else if (session->is_bootstrapping)
        return;
    else if (workspace->deploys_in_flight > 0)
        return; /* entries of the next schema must not overtake it */
    else if (!session->is_live || session->cursor < workspace->head || has_moves(session))
        ask_entries(session);
    else if (session->needs_head && session->cursor == workspace->end_cursor &&
             session->cursor == session->scope.complete)
        say_head(session);
}

static void complete_schema(struct hub_session *session, struct satchel_job *job)
{
    const struct satchel_message_schema *schema = &job->answers[0].schema;

    if (job->answer_count == 0 || schema->migration_count == 0) {
        satchel_job_free(job);
        return;
    }
    session->schema = schema->migrations[schema->migration_count - 1].number;
    hub_session_answer(session, job);
}

static void count_answers(struct hub_session *session, const struct satchel_job *job)
{
    for (uint32_t i = 0; i < job->answer_count; i++) {
        if (job->answers[i].kind == SATCHEL_MESSAGE_ENTRIES)
            satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_ENTRIES,
                               job->answers[i].entries.entry_count);
        else if (job->answers[i].kind == SATCHEL_MESSAGE_SCOPE)
            session->needs_head = true; /* when all of what moved is told */
    }
    if (job->has_head)
        session->needs_head = false;
}

static void complete_entries(struct hub_session *session, struct satchel_job *job)
{
    struct hub_workspace *workspace = session->workspace;
    bool is_kept = true;

    if (session->needs_schema || workspace->deploys_in_flight > 0) {
        satchel_job_free(job); /* read while the schema moved: asked again behind it */
        return;
    }
    if (job->head < session->cursor) {
        hub_session_fail(session, SATCHEL_MISMATCH,
                         "the device has entries that this server has not: was it restored?");
        satchel_job_free(job);
        return;
    }
    session->cursor = job->reached;
    hub_workspace_raise_head(workspace, job->head);
    if (job->reached_end) {
        session->is_live = true;
        is_kept = hub_workspace_set_end(workspace, job) == SATCHEL_OK;
    }
    if (!keep_scope(session, job) || !is_kept) {
        hub_session_fail(session, SATCHEL_NOMEM, "the server is out of memory");
        satchel_job_free(job);
        return;
    }
    count_answers(session, job);
    if (job->answer_count > 0)
        hub_session_answer(session, job);
    else
        satchel_job_free(job);
}

void hub_stream_complete(struct hub_session *session, struct satchel_job *job)
{
    session->is_reading = false;
    if (session->is_over || !session->workspace) {
        satchel_job_free(job);
    } else if (job->status != SATCHEL_OK) {
        hub_session_fail_job(session, job);
        satchel_job_free(job);
    } else if (job->kind == SATCHEL_JOB_SCHEMA) {
        complete_schema(session, job);
    } else {
        complete_entries(session, job);
    }
}
