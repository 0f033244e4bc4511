/* Owns the life of the hub: its slots of sessions, its clock, and the way back from the workspaces'
 * threads to the loop. Knows nothing of what the messages mean. */
#include "hub_internal.h"

#include "logging.h"

#include <stdlib.h>
#include <time.h>

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now = {0};

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t hub_monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

struct satchel_now hub_now(void)
{
    struct satchel_now now = {.utc_ms = clock_ms(CLOCK_REALTIME),
                              .monotonic_ms = clock_ms(CLOCK_MONOTONIC)};
    return now;
}

/* ---- slots: how an answer finds its session, or finds that it has gone ---- */

static uint64_t slot_number(const struct satchel_hub *hub, uint32_t slot)
{
    return (uint64_t)hub->generations[slot] << 32 | slot;
}

struct hub_session *hub_find_session(struct satchel_hub *hub, uint64_t number)
{
    uint32_t slot = (uint32_t)number;

    if (slot >= hub->slot_count || slot_number(hub, slot) != number)
        return NULL;
    return hub->slots[slot];
}

static bool grow_slots(struct satchel_hub *hub)
{
    uint32_t count = hub->slot_count ? hub->slot_count * 2 : 64;
    struct hub_session **slots = realloc(hub->slots, count * sizeof(struct hub_session *));

    if (!slots)
        return false;
    hub->slots = slots;
    uint32_t *generations = realloc(hub->generations, count * sizeof *generations);
    if (!generations)
        return false;
    hub->generations = generations;
    for (uint32_t i = hub->slot_count; i < count; i++) {
        slots[i] = NULL;
        generations[i] = 1;
    }
    hub->free_slot = hub->slot_count;
    hub->slot_count = count;
    return true;
}

static bool take_slot(struct satchel_hub *hub, struct hub_session *session)
{
    while (hub->free_slot < hub->slot_count && hub->slots[hub->free_slot])
        hub->free_slot++;
    if (hub->free_slot == hub->slot_count && !grow_slots(hub))
        return false;
    hub->slots[hub->free_slot] = session;
    session->number = slot_number(hub, hub->free_slot);
    return true;
}

static void release_slot(struct satchel_hub *hub, const struct hub_session *session)
{
    uint32_t slot = (uint32_t)session->number;

    hub->slots[slot] = NULL;
    hub->generations[slot]++;
    if (slot < hub->free_slot)
        hub->free_slot = slot;
}

/* ---- what the listener calls ---- */

static void *on_opened(void *context, struct satchel_connection *connection)
{
    struct satchel_hub *hub = context;
    struct hub_session *session = hub->is_stopping ? NULL : hub_session_new(hub, connection);

    if (session && !take_slot(hub, session)) {
        hub_session_free(session);
        session = NULL;
    }
    if (!session && !hub->is_stopping)
        satchel_log_error("out of memory for a session");
    return session;
}

static void on_received(void *data, const void *bytes, size_t size, bool is_last)
{
    hub_session_received(data, bytes, size, is_last);
}

static bool on_next_frame(void *data, struct satchel_span *frame)
{
    return hub_session_next_frame(data, frame);
}

static void on_drained(void *data)
{
    hub_session_step(data);
}

static void on_closed(void *data)
{
    struct hub_session *session = data;

    release_slot(session->hub, session);
    hub_session_free(session);
}

static enum satchel_status on_get(void *context, const char *path, struct satchel_buffer *body)
{
    struct satchel_hub *hub = context;

    if (strcmp(path, "/healthz") == 0)
        return satchel_buffer_append(body, "ok", 2);
    if (strcmp(path, "/metrics") == 0)
        return satchel_metrics_write(hub->metrics, body);
    return SATCHEL_NOT_FOUND;
}

struct satchel_listener_handlers satchel_hub_handlers(struct satchel_hub *hub)
{
    struct satchel_listener_handlers handlers = {
        .context = hub,
        .opened = on_opened,
        .received = on_received,
        .next_frame = on_next_frame,
        .drained = on_drained,
        .closed = on_closed,
        .get = on_get,
    };
    return handlers;
}

/* ---- from the workspaces' threads ---- */

void hub_signal(struct hub_workspace *workspace)
{
    struct satchel_hub *hub = workspace->hub;

    /* The caller holds the mutex. */
    if (!workspace->is_signalled) {
        workspace->is_signalled = true;
        workspace->next_signalled = hub->signalled;
        hub->signalled = workspace;
    }
    ev_async_send(hub->loop, &hub->wake);
}

static void take_completion(struct hub_workspace *workspace, struct satchel_job *job)
{
    struct satchel_hub *hub = workspace->hub;
    struct hub_session *session = hub_find_session(hub, job->owner_number);

    satchel_metric_subtract(hub->metrics, SATCHEL_METRIC_JOBS, 1);
    if (hub_admin_is_deploy(job)) {
        workspace->deploys_in_flight--;
        for (struct hub_session *s = workspace->sessions; s; s = s->next_attached)
            s->needs_schema = !s->is_drained;
        workspace->must_wake = true;
    }
    if (session)
        hub_session_complete(session, workspace, job);
    else
        satchel_job_free(job);
}

/* Not at every answer: each of a thousand that are told of a commit would look at all others. */
static void wake_attached(struct hub_workspace *workspace)
{
    if (!workspace->must_wake)
        return;
    workspace->must_wake = false;
    for (struct hub_session *s = workspace->sessions; s; s = s->next_attached)
        if (s->needs_schema || s->cursor < workspace->head)
            hub_session_step(s);
}

void hub_take_completed(struct hub_workspace *workspace)
{
    struct satchel_hub *hub = workspace->hub;

    (void)pthread_mutex_lock(&hub->mutex);
    struct satchel_job *job = workspace->completed_first;
    uint64_t advanced_head = workspace->advanced_head;
    uint64_t commits = workspace->advanced_count;
    workspace->completed_first = workspace->completed_last = NULL;
    workspace->advanced_count = 0;
    (void)pthread_mutex_unlock(&hub->mutex);

    satchel_metric_add(hub->metrics, SATCHEL_METRIC_COMMITS, commits);
    hub_workspace_raise_head(workspace, advanced_head);
    while (job) {
        struct satchel_job *next = job->next;
        job->next = NULL;
        take_completion(workspace, job);
        job = next;
    }
    wake_attached(workspace);
    hub_workspace_serve_waiting(workspace);
}

static void on_wake(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct satchel_hub *hub = watcher->data;

    (void)loop;
    (void)events;
    hub_clerks_collect(hub);
    for (;;) {
        (void)pthread_mutex_lock(&hub->mutex);
        struct hub_workspace *workspace = hub->signalled;
        if (workspace) {
            hub->signalled = workspace->next_signalled;
            workspace->is_signalled = false;
        }
        (void)pthread_mutex_unlock(&hub->mutex);
        if (!workspace)
            return;
        hub_take_completed(workspace);
    }
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct satchel_hub *hub = timer->data;
    struct satchel_now now = hub_now();

    (void)loop;
    (void)events;
    for (uint32_t i = 0; i < hub->slot_count; i++)
        if (hub->slots[i])
            hub_session_tick(hub->slots[i], now);
}

/* ---- life ---- */

enum satchel_status satchel_hub_new(struct satchel_hub **out,
                                    const struct satchel_hub_options *options,
                                    struct satchel_error *error)
{
    struct satchel_hub *hub = calloc(1, sizeof *hub);

    *out = NULL;
    if (!hub)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    hub->loop = options->loop;
    hub->directory = options->directory;
    hub->metrics = options->metrics;
    hub->login_key = options->login_key;
    memcpy(hub->rate_limits, options->rate_limits, sizeof hub->rate_limits);
    hub->snapshot_entries = options->snapshot_entries;
    if (pthread_mutex_init(&hub->mutex, NULL) != 0) {
        free(hub);
        return satchel_error_set(error, SATCHEL_NOMEM, "cannot make a lock");
    }
    ev_async_init(&hub->wake, on_wake);
    hub->wake.data = hub;
    ev_async_start(hub->loop, &hub->wake);
    ev_timer_init(&hub->tick, on_tick, 1., 1.);
    hub->tick.data = hub;
    ev_timer_start(hub->loop, &hub->tick);
    enum satchel_status status = hub_clerks_start(hub, error);
    if (status != SATCHEL_OK) {
        satchel_hub_free(hub);
        return status;
    }
    *out = hub;
    return SATCHEL_OK;
}

void satchel_hub_stop(struct satchel_hub *hub)
{
    hub->is_stopping = true;
    for (uint32_t i = 0; i < hub->slot_count; i++)
        if (hub->slots[i]) {
            hub_transfer_cancel(hub->slots[i]);
            hub_session_step(hub->slots[i]);
        }
}

void satchel_hub_free(struct satchel_hub *hub)
{
    if (!hub)
        return;
    hub_clerks_stop(hub);
    while (hub->workspaces) {
        struct hub_workspace *next = hub->workspaces->next;
        hub_workspace_free(hub->workspaces);
        hub->workspaces = next;
    }
    ev_timer_stop(hub->loop, &hub->tick);
    ev_async_stop(hub->loop, &hub->wake);
    (void)pthread_mutex_destroy(&hub->mutex);
    free(hub->slots);
    free(hub->generations);
    free(hub);
}
