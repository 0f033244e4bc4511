/* Owns administration: who may, the verbs the hub answers itself (workspace.create,
 * workspace.list), and the clerk, a thread on which workspaces are made, because running a schema's
 * migrations takes as long as they are and the loop must not wait. All other verbs are jobs of the
 * workspace they name. */
#include "hub_internal.h"

#include "logging.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_BYTES = 4096 };

/* A workspace.create, from the request to the answer. */
struct creation {
    struct creation *next;
    struct satchel_job *job;
    struct hub_workspace *workspace; /* open if job->status is OK */
};

struct creation_list {
    struct creation *first, *last;
    uint32_t count;
};

struct hub_clerk {
    struct satchel_hub *hub;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct creation_list asked; /* under the mutex, as everything below */
    struct creation_list made;
    bool is_stopping;
};

static void push_creation(struct creation_list *list, struct creation *creation)
{
    creation->next = NULL;
    if (list->last)
        list->last->next = creation;
    else
        list->first = creation;
    list->last = creation;
    list->count++;
}

static struct creation *pop_creation(struct creation_list *list)
{
    struct creation *creation = list->first;

    if (!creation)
        return NULL;
    list->first = creation->next;
    if (!list->first)
        list->last = NULL;
    list->count--;
    creation->next = NULL;
    return creation;
}

static void free_creation(struct creation *creation)
{
    if (creation->workspace)
        hub_workspace_free(creation->workspace);
    if (creation->job)
        satchel_job_free(creation->job);
    free(creation);
}

/* ---- answers ---- */

static struct satchel_span argument(const struct satchel_message_admin *admin, uint32_t index)
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
    struct satchel_span name = argument(&job->request.admin, 1);
    struct satchel_workspace_callbacks callbacks = hub_workspace_callbacks(creation->workspace);
    struct satchel_migration *migrations = NULL;
    uint32_t migration_count = 0;
    struct satchel_span notice = {0};

    if (!satchel_workspace_name_is_valid(name))
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "a workspace's name has 1 to 64 of a-z A-Z 0-9 _ -, and does not "
                                 "begin with -");
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

static void *run_clerk(void *context)
{
    struct hub_clerk *clerk = context;
    struct creation *creation;

    (void)pthread_mutex_lock(&clerk->mutex);
    while (!clerk->is_stopping) {
        creation = pop_creation(&clerk->asked);
        if (!creation) {
            (void)pthread_cond_wait(&clerk->changed, &clerk->mutex);
            continue;
        }
        (void)pthread_mutex_unlock(&clerk->mutex);
        creation->job->status = create_workspace(clerk->hub, creation);
        (void)pthread_mutex_lock(&clerk->mutex);
        push_creation(&clerk->made, creation);
        ev_async_send(clerk->hub->loop, &clerk->hub->wake);
    }
    (void)pthread_mutex_unlock(&clerk->mutex);
    return NULL;
}

/* ---- the clerk's life, on the loop's thread ---- */

enum satchel_status hub_clerk_start(struct satchel_hub *hub, struct satchel_error *error)
{
    struct hub_clerk *clerk = calloc(1, sizeof *clerk);

    if (!clerk)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    clerk->hub = hub;
    bool has_mutex = pthread_mutex_init(&clerk->mutex, NULL) == 0;
    bool has_condition = has_mutex && pthread_cond_init(&clerk->changed, NULL) == 0;
    if (has_condition && pthread_create(&clerk->thread, NULL, run_clerk, clerk) == 0) {
        hub->clerk = clerk;
        return SATCHEL_OK;
    }
    if (has_condition)
        (void)pthread_cond_destroy(&clerk->changed);
    if (has_mutex)
        (void)pthread_mutex_destroy(&clerk->mutex);
    free(clerk);
    return satchel_error_set(error, SATCHEL_NOMEM, "cannot start a thread");
}

void hub_clerk_stop(struct satchel_hub *hub)
{
    struct hub_clerk *clerk = hub->clerk;
    struct creation *creation;

    if (!clerk)
        return;
    (void)pthread_mutex_lock(&clerk->mutex);
    clerk->is_stopping = true;
    (void)pthread_cond_signal(&clerk->changed);
    (void)pthread_mutex_unlock(&clerk->mutex);
    (void)pthread_join(clerk->thread, NULL);
    while ((creation = pop_creation(&clerk->asked)) != NULL)
        free_creation(creation);
    while ((creation = pop_creation(&clerk->made)) != NULL)
        free_creation(creation);
    (void)pthread_cond_destroy(&clerk->changed);
    (void)pthread_mutex_destroy(&clerk->mutex);
    free(clerk);
    hub->clerk = NULL;
}

void hub_clerk_collect(struct satchel_hub *hub)
{
    struct hub_clerk *clerk = hub->clerk;

    for (;;) {
        (void)pthread_mutex_lock(&clerk->mutex);
        struct creation *creation = pop_creation(&clerk->made);
        (void)pthread_mutex_unlock(&clerk->mutex);
        if (!creation)
            return;
        struct satchel_job *job = creation->job;
        struct hub_session *session = hub_find_session(hub, job->owner_number);
        if (job->status == SATCHEL_OK) {
            hub_workspace_add(hub, creation->workspace);
            creation->workspace = NULL;
        }
        if (session) {
            creation->job = NULL;
            hub_session_complete(session, NULL, job);
        }
        free_creation(creation);
    }
}

static enum satchel_status ask_clerk(struct satchel_hub *hub, struct satchel_job *job)
{
    struct hub_clerk *clerk = hub->clerk;
    struct creation *creation = calloc(1, sizeof *creation);

    if (creation)
        creation->workspace = hub_workspace_new(hub);
    if (!creation || !creation->workspace) {
        free(creation);
        return SATCHEL_NOMEM;
    }
    creation->job = job;
    (void)pthread_mutex_lock(&clerk->mutex);
    bool has_room = clerk->asked.count < CREATIONS_MAX;
    if (has_room)
        push_creation(&clerk->asked, creation);
    (void)pthread_cond_signal(&clerk->changed);
    (void)pthread_mutex_unlock(&clerk->mutex);
    if (has_room)
        return SATCHEL_OK;
    creation->job = NULL;
    free_creation(creation);
    return SATCHEL_BUSY;
}

static void request_creation(struct hub_session *session, const struct satchel_message *message)
{
    struct satchel_hub *hub = session->hub;

    if (hub->workspace_count >= WORKSPACES_MAX) {
        hub_session_fail(session, SATCHEL_LIMIT,
                         "this server has as many workspaces as it opens: use another server");
        return;
    }
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
    hub_session_fail(session, status,
                     status == SATCHEL_BUSY ? "other workspaces are being created: try again"
                                            : "the server cannot hold the schema");
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

    if (satchel_data_directory_token_matches(session->hub->directory, admin->token))
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
    struct satchel_span verb = argument(&message->admin, 0);
    struct satchel_span name = argument(&message->admin, 1);
    char text[SATCHEL_NAME_BYTES_MAX + 64];

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
    struct hub_workspace *workspace = hub_workspace_find(session->hub, name);
    if (workspace) {
        hub_session_request(session, workspace,
                            satchel_verb_is_writing(verb) ? SATCHEL_JOB_ADMIN : SATCHEL_JOB_QUERY,
                            &request);
        return;
    }
    (void)snprintf(text, sizeof text, "this server has no workspace '%.*s'",
                   (int)(name.size < SATCHEL_NAME_BYTES_MAX ? name.size : SATCHEL_NAME_BYTES_MAX),
                   name.size ? (const char *)name.data : "");
    hub_session_fail(session, SATCHEL_NOT_FOUND, text);
}

bool hub_admin_is_deploy(const struct satchel_job *job)
{
    return job->kind == SATCHEL_JOB_ADMIN &&
           verb_is(argument(&job->request.admin, 0), "workspace.deploy");
}
