/* Owns who may try to join: how often in vain from one address, and with a JWT what it proves. What
 * an invite is worth, and whether there is such a user, the workspace knows. */
#include "hub_internal.h"

/* The JWT's user goes with the job. */
static enum satchel_status take_login(struct hub_session *session, struct satchel_job *job,
                                      struct satchel_error *error)
{
    const struct satchel_message_join *join = &job->request.join;
    struct satchel_login login;

    if (join->jwt.size == 0)
        return SATCHEL_OK;
    if (join->invite.size > 0)
        return satchel_error_set(error, SATCHEL_INVALID, "an invite or a JWT, not both");
    if (!session->hub->login_key)
        return satchel_error_set(
            error, SATCHEL_DENIED,
            "this server takes no JWT (satcheld --jwt-key): ask for an invite");
    enum satchel_status status =
        satchel_login_check(session->hub->login_key, join->jwt, join->workspace,
                            hub_now().utc_ms / 1000, &login, error);
    if (status != SATCHEL_OK)
        return status;
    job->login = satchel_arena_copy(&job->arena, satchel_span_text(login.name));
    return job->login.data ? SATCHEL_OK : satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
}

static void join(struct hub_session *session, struct hub_workspace *workspace,
                 const struct satchel_message *message)
{
    struct satchel_error error = {0};
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_JOIN);

    if (!job)
        return;
    enum satchel_status status = satchel_job_take_request(job, message);
    if (status != SATCHEL_OK)
        (void)satchel_error_set(&error, status, "the server cannot hold the request");
    else
        status = take_login(session, job, &error);
    if (status == SATCHEL_OK) {
        hub_session_submit(session, workspace, job);
        return;
    }
    satchel_job_free(job);
    hub_join_complete(session, status);
    hub_session_fail(session, status, error.message);
}

void hub_join_request(struct hub_session *session, const struct satchel_message *message)
{
    struct hub_workspace *workspace = hub_workspace_find(session->hub, message->join.workspace);
    struct satchel_id address = satchel_connection_address(session->connection);

    if (!attempts_take(&session->hub->attempts, &address, hub_monotonic_ms()))
        hub_session_fail(session, SATCHEL_BUSY,
                         "too many wrong invites or JWTs came from this address: wait ten seconds");
    else if (workspace)
        join(session, workspace, message);
    else
        hub_session_no_workspace(session, message->join.workspace);
}

void hub_join_complete(struct hub_session *session, enum satchel_status status)
{
    struct satchel_id address = satchel_connection_address(session->connection);

    if (status != SATCHEL_DENIED)
        attempts_give_back(&session->hub->attempts, &address, hub_monotonic_ms());
}
