/* Owns what an attached device is sent unasked: migrations it lacks, entries after its cursor,
 * heads.
 *
 * One reading job per session is in flight, and the next is made only when the output is empty: a
 * device that reads slowly holds one batch here, and nobody else up. */
#include "hub_internal.h"

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

static void ask_entries(struct hub_session *session)
{
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_ENTRIES);

    if (!job)
        return;
    job->after = session->cursor;
    job->number_min = session->held_number;
    job->number_max = session->acked_number;
    submit(session, job);
}

static void say_head(struct hub_session *session)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_HEAD};

    message.head.cursor = session->cursor;
    message.head.vector = session->workspace->end;
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
    else if (workspace->deploys_in_flight > 0)
        return; /* entries of the next schema must not overtake it */
    else if (!session->is_live || session->cursor < workspace->head)
        ask_entries(session);
    else if (session->needs_head && session->cursor == workspace->end_cursor)
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

static void complete_entries(struct hub_session *session, struct satchel_job *job)
{
    struct hub_workspace *workspace = session->workspace;
    const struct satchel_message_entries *entries = &job->answers[0].entries;
    uint32_t count = job->answer_count > 0 ? entries->entry_count : 0;

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
    if (count > 0)
        session->cursor = entries->entries[count - 1].cursor;
    if (workspace->head < job->head)
        workspace->head = job->head;
    if (job->reached_end || count == 0) {
        if (session->cursor < job->head)
            session->cursor = job->head; /* what was cut away whole */
        session->needs_head = session->needs_head || !session->is_live;
        session->is_live = true;
        if (hub_workspace_set_end(workspace, session->cursor, &job->vector) != SATCHEL_OK) {
            hub_session_fail(session, SATCHEL_NOMEM, "the server is out of memory");
            satchel_job_free(job);
            return;
        }
    }
    satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_ENTRIES, count);
    if (count > 0)
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
