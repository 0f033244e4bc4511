/* Owns how a new device is filled, on the side of its session (docs/bootstrap.md): who gets a
 * snapshot, how often one may be made for it, and what it hears of the log from before. */
#include "hub_internal.h"

/* To make one costs the server a reading of all rows. */
void hub_bootstrap_request(struct hub_session *session, const struct satchel_message *event)
{
    if (!session->is_bootstrapping)
        hub_session_fail(session, SATCHEL_STATE,
                         "SNAPSHOT_REQUEST in a session that has the stream");
    else if (session->snapshot_count >= SESSION_SNAPSHOTS_MAX &&
             satchel_id_is_zero(&event->snapshot_request.snapshot))
        hub_session_fail(session, SATCHEL_LIMIT,
                         "the session has had as many snapshots as one may: sync again");
    else
        hub_session_request(session, session->workspace, SATCHEL_JOB_SNAPSHOT, event);
}

/* A session reads the log once, but for what was read too early. */
void hub_bootstrap_request_past(struct hub_session *session, const struct satchel_message *event)
{
    uint64_t after = event->past_request.after;
    session->past_repeats += session->has_asked_past && after <= session->past_after;
    session->has_asked_past = true;
    if (after > session->past_after)
        session->past_after = after;
    if (session->past_repeats > SESSION_PAST_REPEATS_MAX)
        hub_session_fail(session, SATCHEL_LIMIT,
                         "the session has asked for the same past as often as one may: sync again");
    else
        hub_session_request(session, session->workspace, SATCHEL_JOB_PAST, event);
}

/* A device that has nothing, and of which there is nothing. */
bool hub_bootstrap_is_due(const struct hub_session *session,
                          const struct satchel_message_hello *hello,
                          const struct satchel_message_welcome *welcome)
{
    return hello->wants_snapshot != 0 && hello->cursor == 0 && welcome->last_number == 0 &&
           !welcome->is_drained && session->hub->snapshot_entries > 0 &&
           welcome->head >= session->hub->snapshot_entries;
}

/* Of a stretch of the log in which there is nothing for the device it does not hear: how much
 * others write is none of its business. */
bool hub_bootstrap_reads_on(struct hub_session *session, struct hub_workspace *workspace,
                            const struct satchel_job *job)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PAST_REQUEST};
    const struct satchel_message_past *past = &job->answers[0].past;

    if (job->kind != SATCHEL_JOB_PAST || past->entry_count > 0 || session->stalled ||
        session->hub->is_stopping || past->reached >= job->request.past_request.until)
        return false;
    message.past_request = job->request.past_request;
    message.past_request.after = past->reached;
    hub_session_request(session, workspace, SATCHEL_JOB_PAST, &message);
    return true;
}

/* Where there is no HEAD to be said: that nothing new is acknowledged. */
void hub_bootstrap_say_alive(struct hub_session *session)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ACK};

    message.ack.number = session->acked_said;
    if (hub_session_say(session, &message) != SATCHEL_OK)
        return; /* at the next tick */
}
