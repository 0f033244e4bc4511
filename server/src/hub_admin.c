/* Owns administration: who may, and the verbs the hub answers itself: workspace.create, made on a
 * clerk's thread because running a schema's migrations takes as long as they are and the loop must
 * not wait, and workspace.list. Backup and restore are in hub_transfer.c; all other verbs are jobs
 * of the workspace they name. */
#include "hub_internal.h"

#include "logging.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_BYTES = 4096 };

/* A workspace.create, from the request to the answer. */
struct creation {
    struct hub_errand errand; /* first */
    struct satchel_hub *hub;
    struct hub_claim claim;
    struct satchel_job *job;
    struct hub_workspace *workspace; /* open if job->status is OK */
};

static void free_creation(struct creation *creation)
{
    if (creation->workspace)
        hub_workspace_free(creation->workspace);
    if (creation->job)
        satchel_job_free(creation->job);
    hub_claim_release(creation->hub, &creation->claim);
    free(creation);
}

/* ---- answers ---- */

struct satchel_span hub_admin_argument(const struct satchel_message_admin *admin, uint32_t index)
{
    if (index >= admin->argument_count || admin->arguments[index].type != SATCHEL_TEXT)
        return satchel_span_of(NULL, 0);
    return admin->arguments[index].bytes;
}

static bool verb_is(struct satchel_span verb, const char *name)
{
    return satchel_span_equal(verb, satchel_span_text(name));
}

static struct satchel_message_admin_result *set_result(struct satchel_job *job)
{
    memset(&job->answers[0], 0, sizeof job->answers[0]);
    job->answers[0].kind = SATCHEL_MESSAGE_ADMIN_RESULT;
    job->answer_count = 1;
    return &job->answers[0].admin_result;
}

/* ---- workspace.create, on the clerk's thread ---- */

static enum satchel_status tell_created(struct satchel_job *job, const char *name,
                                        uint32_t migration_count, struct satchel_span notice)
{
    struct satchel_buffer text;

    satchel_buffer_init(&text, ANSWER_BYTES + notice.size, NULL);
    enum satchel_status status =
        satchel_buffer_format(&text, "workspace %s created, %u migration%s", name, migration_count,
                              migration_count == 1 ? "" : "s");
    if (status == SATCHEL_OK && notice.size > 0)
        status = satchel_buffer_append(&text, "\n", 1);
    if (status == SATCHEL_OK && notice.size > 0)
        status = satchel_buffer_append(&text, notice.data, notice.size);
    if (status == SATCHEL_OK) {
        struct satchel_span copy = satchel_arena_copy(&job->arena, satchel_buffer_span(&text));
        status = copy.data ? SATCHEL_OK : SATCHEL_NOMEM;
        set_result(job)->text = copy;
    }
    satchel_buffer_deinit(&text);
    return status;
}

static enum satchel_status create_workspace(struct satchel_hub *hub, struct creation *creation)
{
    struct satchel_job *job = creation->job;
    struct satchel_span name = hub_admin_argument(&job->request.admin, 1);
    struct satchel_workspace_callbacks callbacks = hub_workspace_callbacks(creation->workspace);
    struct satchel_migration *migrations = NULL;
    uint32_t migration_count = 0;
    struct satchel_span notice = {0};

    struct satchel_span text = satchel_arena_copy(&job->arena, name);
    if (!text.data)
        return satchel_error_set(&job->error, SATCHEL_NOMEM, "out of memory");
    /* arguments: verb, NAME, FILE, SQL, FILE, SQL, ... */
    enum satchel_status status = satchel_migrations_of_arguments(
        job->request.admin.arguments + 2, job->request.admin.argument_count - 2, &job->arena,
        &migrations, &migration_count, &job->error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_workspace_create(&creation->workspace->workspace, hub->directory->path,
                                      (const char *)text.data, migrations, migration_count,
                                      &callbacks, &notice, &job->arena, &job->error);
    if (status != SATCHEL_OK)
        return satchel_error_default(&job->error, status, "workspace %s is not created: %s",
                                     (const char *)text.data, satchel_status_text(status));
    satchel_log_info("workspace %s is created", (const char *)text.data);
    status = tell_created(job, (const char *)text.data, migration_count, notice);
    if (status != SATCHEL_OK) /* it exists; only the words for it are missing */
        set_result(job);
    return SATCHEL_OK;
}

static void run_creation(struct hub_errand *errand)
{
    struct creation *creation = (struct creation *)(void *)errand;

    creation->job->status = create_workspace(creation->hub, creation);
}

static void drop_creation(struct hub_errand *errand)
{
    free_creation((struct creation *)(void *)errand);
}

/* ---- workspace.create, on the loop's thread ---- */

static void end_creation(struct hub_errand *errand)
{
    struct creation *creation = (struct creation *)(void *)errand;
    struct satchel_job *job = creation->job;
    struct hub_session *session = hub_find_session(creation->hub, job->owner_number);

    if (job->status == SATCHEL_OK) {
        hub_workspace_add(creation->hub, creation->workspace);
        creation->workspace = NULL;
    }
    creation->job = NULL;
    free_creation(creation);
    if (session)
        hub_session_complete(session, NULL, job);
    else
        satchel_job_free(job);
}

static enum satchel_status ask_clerk(struct satchel_hub *hub, struct satchel_job *job)
{
    struct creation *creation = calloc(1, sizeof *creation);

    if (creation)
        creation->workspace = hub_workspace_new(hub);
    if (!creation || !creation->workspace) {
        free(creation);
        return SATCHEL_NOMEM;
    }
    creation->errand.run = run_creation;
    creation->errand.done = end_creation;
    creation->errand.drop = drop_creation;
    creation->hub = hub;
    creation->job = job;
    hub_claim(hub, &creation->claim, hub_admin_argument(&job->request.admin, 1));
    hub_clerks_ask(hub, &creation->errand);
    return SATCHEL_OK;
}

bool hub_admin_may_claim(struct hub_session *session, struct satchel_span name)
{
    uint32_t claim_count = 0;

    for (const struct hub_claim *claim = session->hub->claims; claim; claim = claim->next)
        claim_count++;
    if (!satchel_workspace_name_is_valid(name))
        hub_session_fail(session, SATCHEL_INVALID,
                         "a workspace's name has 1 to 64 of a-z A-Z 0-9 _ -, and does not begin "
                         "with -");
    else if (hub_claim_find(session->hub, name))
        hub_session_fail(session, SATCHEL_BUSY,
                         "this workspace is being created, backed up or restored: try again when "
                         "that is done");
    else if (claim_count >= CLAIMS_MAX)
        hub_session_fail(session, SATCHEL_BUSY,
                         "other workspaces are being created, backed up or restored: try again");
    else
        return true;
    return false;
}

static void request_creation(struct hub_session *session, const struct satchel_message *message)
{
    struct satchel_hub *hub = session->hub;

    if (hub->workspace_count >= WORKSPACES_MAX) {
        hub_session_fail(session, SATCHEL_LIMIT,
                         "this server has as many workspaces as it opens: use another server");
        return;
    }
    if (!hub_admin_may_claim(session, hub_admin_argument(&message->admin, 1)))
        return;
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_ADMIN);
    if (!job)
        return;
    enum satchel_status status = satchel_job_take_request(job, message);
    if (status == SATCHEL_OK)
        status = ask_clerk(hub, job);
    if (status == SATCHEL_OK) {
        session->requests_in_flight++;
        return;
    }
    satchel_job_free(job);
    hub_session_fail(session, status, "the server cannot hold the schema");
}

/* ---- workspace.list ---- */

static void list_workspaces(struct hub_session *session)
{
    static const char *const names[] = {"name", "sessions"};
    enum { COLUMN_COUNT = 2 };
    struct satchel_hub *hub = session->hub;
    struct satchel_job *job = hub_session_job(session, SATCHEL_JOB_QUERY);

    if (!job)
        return;
    struct satchel_message_admin_result *result = set_result(job);
    result->columns = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_span, COLUMN_COUNT);
    result->values = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_value,
                                         (size_t)COLUMN_COUNT * hub->workspace_count + 1);
    if (!result->columns || !result->values) {
        satchel_job_free(job);
        hub_session_fail(session, SATCHEL_NOMEM, "the server is out of memory");
        return;
    }
    for (int i = 0; i < COLUMN_COUNT; i++)
        result->columns[i] = satchel_span_text(names[i]);
    result->column_count = COLUMN_COUNT;
    for (const struct hub_workspace *w = hub->workspaces; w; w = w->next) {
        struct satchel_value *row = result->values + (size_t)result->row_count * COLUMN_COUNT;
        int64_t sessions = 0;
        for (const struct hub_session *s = w->sessions; s; s = s->next_attached)
            sessions++;
        row[0] = satchel_value_text(satchel_span_text(satchel_workspace_name(w->workspace)));
        row[1] = satchel_value_integer(sessions);
        result->row_count++;
    }
    hub_session_answer(session, job);
}

/* ---- requests ---- */

static bool is_authorised(struct hub_session *session, const struct satchel_message_admin *admin)
{
    char peer[128];

    session->is_administrator =
        satchel_data_directory_token_matches(session->hub->directory, admin->token);
    if (session->is_administrator)
        return true;
    satchel_connection_peer(session->connection, peer, sizeof peer);
    satchel_log_warning("administration refused to %s: wrong token", peer);
    satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_ADMIN_DENIED, 1);
    hub_session_fail(session, SATCHEL_DENIED,
                     "the token is not this server's: it is in admin.token in its data directory");
    return false;
}

void hub_admin_request(struct hub_session *session, const struct satchel_message *message)
{
    struct satchel_message request = *message;
    struct satchel_span verb = hub_admin_argument(&message->admin, 0);
    struct satchel_span name = hub_admin_argument(&message->admin, 1);

    if (!is_authorised(session, &message->admin))
        return;
    request.admin.token = satchel_span_of(NULL, 0); /* no job needs to know it */
    if (verb_is(verb, "workspace.create")) {
        request_creation(session, &request);
        return;
    }
    if (verb_is(verb, "workspace.list")) {
        list_workspaces(session);
        return;
    }
    if (hub_transfer_request(session, &request))
        return;
    struct hub_workspace *workspace = hub_workspace_find(session->hub, name);
    if (workspace) {
        hub_session_request(session, workspace,
                            satchel_verb_is_writing(verb) ? SATCHEL_JOB_ADMIN : SATCHEL_JOB_QUERY,
                            &request);
        return;
    }
    const struct hub_claim *claim = hub_claim_find(session->hub, name);
    if (claim && claim->is_switching)
        hub_session_fail(session, SATCHEL_BUSY, "the workspace is being restored, try again");
    else
        hub_session_no_workspace(session, name);
}

bool hub_admin_is_deploy(const struct satchel_job *job)
{
    return job->kind == SATCHEL_JOB_ADMIN &&
           verb_is(hub_admin_argument(&job->request.admin, 0), "workspace.deploy");
}
