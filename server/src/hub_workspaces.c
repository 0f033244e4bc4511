/* Owns the table of open workspaces, the lines of sessions that wait for room in a queue, and what
 * a workspace's threads tell the hub. */
#include "hub_internal.h"

#include "logging.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

/* ---- called on a workspace's threads ---- */

static void on_complete(void *context, struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct hub_workspace *self = context;

    (void)workspace;
    job->next = NULL;
    (void)pthread_mutex_lock(&self->hub->mutex);
    if (self->completed_last)
        self->completed_last->next = job;
    else
        self->completed_first = job;
    self->completed_last = job;
    hub_signal(self);
    (void)pthread_mutex_unlock(&self->hub->mutex);
}

static void on_advanced(void *context, struct satchel_workspace *workspace, uint64_t head)
{
    struct hub_workspace *self = context;

    (void)workspace;
    (void)pthread_mutex_lock(&self->hub->mutex);
    if (self->advanced_head < head)
        self->advanced_head = head;
    self->advanced_count++;
    hub_signal(self);
    (void)pthread_mutex_unlock(&self->hub->mutex);
}

static void on_log(void *context, const char *line)
{
    (void)context;
    satchel_log_info("%s", line);
}

struct satchel_workspace_callbacks hub_workspace_callbacks(struct hub_workspace *workspace)
{
    struct satchel_workspace_callbacks callbacks = {
        .context = workspace,
        .complete = on_complete,
        .advanced = on_advanced,
        .log = on_log,
    };
    return callbacks;
}

/* ---- the table ---- */

struct hub_workspace *hub_workspace_find(struct satchel_hub *hub, struct satchel_span name)
{
    for (struct hub_workspace *w = hub->workspaces; w; w = w->next)
        if (satchel_span_equal(satchel_span_text(satchel_workspace_name(w->workspace)), name))
            return w;
    return NULL;
}

struct hub_workspace *hub_workspace_new(struct satchel_hub *hub)
{
    struct hub_workspace *workspace = calloc(1, sizeof *workspace);

    if (workspace)
        workspace->hub = hub;
    return workspace;
}

void hub_workspace_add(struct satchel_hub *hub, struct hub_workspace *workspace)
{
    struct hub_workspace **place = &hub->workspaces;
    const char *name = satchel_workspace_name(workspace->workspace);

    while (*place && strcmp(satchel_workspace_name((*place)->workspace), name) < 0)
        place = &(*place)->next;
    workspace->next = *place;
    *place = workspace;
    hub->workspace_count++;
    satchel_metric_add(hub->metrics, SATCHEL_METRIC_WORKSPACES, 1);
}

static bool uses(const struct hub_session *session, const struct hub_workspace *workspace)
{
    bool is_user = session->workspace == workspace ||
                   (session->stalled && session->stalled_workspace == workspace);

    for (int queue = 0; queue < HUB_QUEUE_COUNT; queue++)
        is_user = is_user || session->waiting_for[queue] == workspace;
    return is_user;
}

void hub_workspace_remove(struct hub_workspace *workspace)
{
    struct satchel_hub *hub = workspace->hub;
    struct hub_workspace **place = &hub->workspaces;

    while (*place != workspace)
        place = &(*place)->next;
    *place = workspace->next;
    workspace->next = NULL;
    workspace->is_closing = true;
    hub->workspace_count--;
    satchel_metric_subtract(hub->metrics, SATCHEL_METRIC_WORKSPACES, 1);
    for (uint32_t i = 0; i < hub->slot_count; i++)
        if (hub->slots[i] && uses(hub->slots[i], workspace))
            hub_session_send_away(hub->slots[i], "the workspace is being restored");
}

static void forget_signal(struct hub_workspace *workspace)
{
    struct satchel_hub *hub = workspace->hub;
    struct hub_workspace **place = &hub->signalled;

    (void)pthread_mutex_lock(&hub->mutex);
    while (*place && *place != workspace)
        place = &(*place)->next_signalled;
    if (*place)
        *place = workspace->next_signalled;
    (void)pthread_mutex_unlock(&hub->mutex);
}

void hub_workspace_free(struct hub_workspace *workspace)
{
    if (workspace->workspace)
        satchel_workspace_close(workspace->workspace);
    forget_signal(workspace);
    while (workspace->completed_first) {
        struct satchel_job *next = workspace->completed_first->next;
        satchel_job_free(workspace->completed_first);
        workspace->completed_first = next;
    }
    free((void *)(uintptr_t)workspace->end.items);
    free(workspace);
}

static enum satchel_status open_one(struct satchel_hub *hub, const char *name)
{
    struct satchel_error error = {0};
    struct hub_workspace *workspace = hub_workspace_new(hub);

    if (!workspace)
        return SATCHEL_NOMEM;
    struct satchel_workspace_callbacks callbacks = hub_workspace_callbacks(workspace);
    enum satchel_status status = satchel_workspace_open(&workspace->workspace, hub->directory->path,
                                                        name, &callbacks, &error);
    if (status == SATCHEL_OK) {
        hub_workspace_add(hub, workspace);
        satchel_log_info("workspace %s is open", name);
    } else {
        /* Workspaces share nothing: the others go on. */
        satchel_log_error("workspace %s does not open and is left alone: %s", name, error.message);
        hub_workspace_free(workspace);
    }
    return status == SATCHEL_NOMEM ? status : SATCHEL_OK;
}

/* The workspace's name of a file NAME.db, or an empty span. */
static struct satchel_span name_of_file(const char *file)
{
    static const char suffix[] = ".db";
    size_t size = strlen(file);

    if (size < sizeof suffix || strcmp(file + size - (sizeof suffix - 1), suffix) != 0)
        return satchel_span_of(NULL, 0);
    struct satchel_span name = satchel_span_of(file, size - (sizeof suffix - 1));
    return satchel_workspace_name_is_valid(name) ? name : satchel_span_of(NULL, 0);
}

enum satchel_status satchel_hub_open_workspaces(struct satchel_hub *hub,
                                                struct satchel_error *error)
{
    enum satchel_status status = satchel_workspace_sweep(hub->directory->path, error);
    struct dirent *item;

    if (status != SATCHEL_OK)
        return status;
    DIR *directory = opendir(hub->directory->path);
    if (!directory)
        return satchel_error_set(error, SATCHEL_IO, "cannot list the data directory %s: %s",
                                 hub->directory->path, strerror(errno));
    while (status == SATCHEL_OK && (item = readdir(directory)) != NULL) {
        char text[SATCHEL_NAME_BYTES_MAX + 1];
        struct satchel_span name = name_of_file(item->d_name);
        if (name.size == 0 || name.size >= sizeof text)
            continue;
        memcpy(text, name.data, name.size);
        text[name.size] = '\0';
        if (hub->workspace_count >= WORKSPACES_MAX)
            status = satchel_error_set(error, SATCHEL_LIMIT,
                                       "%s holds more than %d workspaces: spread them over several "
                                       "servers",
                                       hub->directory->path, WORKSPACES_MAX);
        else
            status = open_one(hub, text);
        if (status == SATCHEL_NOMEM)
            (void)satchel_error_set(error, status, "out of memory while opening %s", text);
    }
    (void)closedir(directory);
    return status;
}

/* ---- jobs, and who waits to give one ---- */

static enum hub_queue queue_of(enum satchel_job_kind kind)
{
    switch (kind) {
    case SATCHEL_JOB_JOIN:
    case SATCHEL_JOB_ATTACH:
    case SATCHEL_JOB_PUSH:
    case SATCHEL_JOB_FORWARD:
    case SATCHEL_JOB_COPY:
    case SATCHEL_JOB_WIPED:
    case SATCHEL_JOB_ROTATE:
    case SATCHEL_JOB_ADMIN: return HUB_QUEUE_WRITER;
    case SATCHEL_JOB_SCHEMA:
    case SATCHEL_JOB_ROWS:
    case SATCHEL_JOB_DIGESTS:
    case SATCHEL_JOB_PAST: /* never behind news of a row that it tells of */
    case SATCHEL_JOB_ENTRIES: return HUB_QUEUE_STREAM;
    case SATCHEL_JOB_RANGES:
    case SATCHEL_JOB_SNAPSHOT:
    case SATCHEL_JOB_QUERY: break;
    }
    return HUB_QUEUE_QUERY;
}

static void leave_line(struct hub_session *session, enum hub_queue queue)
{
    struct hub_workspace *workspace = session->waiting_for[queue];
    struct hub_session *next = session->next_waiting[queue];
    struct hub_session *previous = session->previous_waiting[queue];

    if (!workspace)
        return;
    if (previous)
        previous->next_waiting[queue] = next;
    else
        workspace->waiting[queue].first = next;
    if (next)
        next->previous_waiting[queue] = previous;
    else
        workspace->waiting[queue].last = previous;
    session->waiting_for[queue] = NULL;
    session->next_waiting[queue] = session->previous_waiting[queue] = NULL;
}

static void enter_line(struct hub_session *session, struct hub_workspace *workspace,
                       enum hub_queue queue)
{
    struct hub_session_list *line = &workspace->waiting[queue];

    if (session->waiting_for[queue])
        return;
    session->waiting_for[queue] = workspace;
    session->previous_waiting[queue] = line->last;
    if (line->last)
        line->last->next_waiting[queue] = session;
    else
        line->first = session;
    line->last = session;
}

enum satchel_status hub_workspace_submit(struct hub_workspace *workspace,
                                         struct hub_session *session, struct satchel_job *job)
{
    struct satchel_hub *hub = workspace->hub;
    enum hub_queue queue = queue_of(job->kind);
    bool is_deploy = hub_admin_is_deploy(job);
    enum satchel_status status = satchel_workspace_submit(workspace->workspace, job);

    /* From here on an accepted job belongs to the workspace's threads. */
    if (status == SATCHEL_BUSY)
        enter_line(session, workspace, queue);
    if (status != SATCHEL_OK)
        return status;
    satchel_metric_add(hub->metrics, SATCHEL_METRIC_JOBS, 1);
    workspace->deploys_in_flight += is_deploy;
    return SATCHEL_OK;
}

void hub_workspace_serve_waiting(struct hub_workspace *workspace)
{
    for (int queue = 0; queue < HUB_QUEUE_COUNT; queue++) {
        struct hub_session *session;
        while ((session = workspace->waiting[queue].first) != NULL) {
            leave_line(session, (enum hub_queue)queue);
            hub_session_step(session);
            if (session->waiting_for[queue])
                break; /* full again */
        }
    }
}

static void detach(struct hub_session *session)
{
    struct hub_workspace *workspace = session->workspace;

    if (!workspace)
        return;
    if (session->previous_attached)
        session->previous_attached->next_attached = session->next_attached;
    else
        workspace->sessions = session->next_attached;
    if (session->next_attached)
        session->next_attached->previous_attached = session->previous_attached;
    session->workspace = NULL;
    satchel_metric_subtract(workspace->hub->metrics, SATCHEL_METRIC_SESSIONS, 1);
}

void hub_workspace_attach_session(struct hub_workspace *workspace, struct hub_session *session)
{
    session->workspace = workspace;
    session->previous_attached = NULL;
    session->next_attached = workspace->sessions;
    if (workspace->sessions)
        workspace->sessions->previous_attached = session;
    workspace->sessions = session;
    satchel_metric_add(workspace->hub->metrics, SATCHEL_METRIC_SESSIONS, 1);
}

void hub_workspace_forget_session(struct hub_session *session)
{
    for (int queue = 0; queue < HUB_QUEUE_COUNT; queue++)
        leave_line(session, (enum hub_queue)queue);
    detach(session);
}

void hub_workspace_raise_head(struct hub_workspace *workspace, uint64_t head)
{
    if (workspace->head >= head)
        return;
    workspace->head = head;
    workspace->must_wake = true;
}

enum satchel_status hub_workspace_set_end(struct hub_workspace *workspace,
                                          const struct satchel_job *job)
{
    size_t bytes = job->vector.count * sizeof(struct satchel_position);
    struct satchel_position *items = NULL;

    if (job->reached < workspace->end_cursor)
        return SATCHEL_OK;
    if (bytes > 0) {
        items = malloc(bytes);
        if (!items)
            return SATCHEL_NOMEM;
        memcpy(items, job->vector.items, bytes);
    }
    free((void *)(uintptr_t)workspace->end.items);
    workspace->end.items = items;
    workspace->end.count = job->vector.count;
    workspace->end_receipt = job->end;
    workspace->end_cursor = job->reached;
    return SATCHEL_OK;
}
