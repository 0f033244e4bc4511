/* Owns a workspace's threads and queues: which job goes where, in which order, and what happens to
 * it when the workspace closes. What a job does is in write_jobs.c and read_jobs.c. */
#include "snapshot.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

int64_t workspace_now_ms(void)
{
    struct timespec now;
    if (timespec_get(&now, TIME_UTC) == 0)
        return 0;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void workspace_log(struct satchel_workspace *workspace, const char *format, ...)
{
    if (!workspace->callbacks.log)
        return;
    char line[SATCHEL_ERROR_BYTES + 128];
    int used = snprintf(line, sizeof line, "workspace %s: ", workspace->name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, sizeof line - (size_t)used, format, arguments);
    va_end(arguments);
    workspace->callbacks.log(workspace->callbacks.context, line);
}

void workspace_complete(struct satchel_workspace *workspace, struct satchel_job *job,
                        enum satchel_status status)
{
    job->next = NULL;
    job->status = status;
    if (status != SATCHEL_OK) {
        job->answer_count = 0;
        satchel_error_default(&job->error, status, "%s", satchel_status_text(status));
    }
    workspace->callbacks.complete(workspace->callbacks.context, workspace, job);
}

/* ---- queues ---- */

static enum satchel_status queue_init(struct workspace_queue *queue)
{
    if (pthread_mutex_init(&queue->mutex, NULL) != 0)
        return SATCHEL_NOMEM;
    if (pthread_cond_init(&queue->changed, NULL) != 0) {
        pthread_mutex_destroy(&queue->mutex);
        return SATCHEL_NOMEM;
    }
    return SATCHEL_OK;
}

static void queue_deinit(struct workspace_queue *queue)
{
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->mutex);
}

static void queue_close(struct workspace_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->is_closing = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

static enum satchel_status queue_add(struct workspace_queue *queue, struct satchel_job *job)
{
    enum satchel_status status = SATCHEL_OK;
    pthread_mutex_lock(&queue->mutex);
    if (queue->is_closing || queue->job_count >= WORKSPACE_QUEUE_JOBS_MAX ||
        (queue->bytes > 0 && queue->bytes + job->arena.used_bytes > WORKSPACE_QUEUE_BYTES_MAX)) {
        status = queue->is_closing ? SATCHEL_STATE : SATCHEL_BUSY;
    } else {
        job->next = NULL;
        if (queue->last)
            queue->last->next = job;
        else
            queue->first = job;
        queue->last = job;
        queue->job_count++;
        queue->bytes += job->arena.used_bytes;
        pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    return status;
}

static struct satchel_job *unlink_first(struct workspace_queue *queue)
{
    struct satchel_job *job = queue->first;
    queue->first = job->next;
    if (!queue->first)
        queue->last = NULL;
    queue->job_count--;
    queue->bytes -= job->arena.used_bytes;
    job->next = NULL;
    return job;
}

/* The next job; behind a PUSH, as many more PUSH jobs as stand next in line and fit one group
 * commit. NULL when the workspace closes. */
static struct satchel_job *queue_take(struct workspace_queue *queue)
{
    struct satchel_job *jobs = NULL, *last;
    pthread_mutex_lock(&queue->mutex);
    while (!queue->first && !queue->is_closing)
        pthread_cond_wait(&queue->changed, &queue->mutex);
    if (!queue->is_closing) {
        jobs = last = unlink_first(queue);
        size_t bytes = jobs->arena.used_bytes;
        size_t changeset_count = jobs->request.push.item_count;
        while (jobs->kind == SATCHEL_JOB_PUSH && queue->first &&
               queue->first->kind == SATCHEL_JOB_PUSH) {
            bytes += queue->first->arena.used_bytes;
            changeset_count += queue->first->request.push.item_count;
            if (bytes > WORKSPACE_GROUP_BYTES_MAX ||
                changeset_count > WORKSPACE_GROUP_CHANGESETS_MAX)
                break;
            last->next = unlink_first(queue);
            last = last->next;
        }
    }
    pthread_mutex_unlock(&queue->mutex);
    return jobs;
}

static bool queue_is_idle(struct workspace_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool is_idle = !queue->first && !queue->is_closing;
    pthread_mutex_unlock(&queue->mutex);
    return is_idle;
}

/* ---- threads ---- */

/* A step of what a thread does while nobody waits for it; false: there is nothing to do. */
static bool tidy_step(struct satchel_workspace *workspace, size_t which)
{
    return which == THREAD_WRITER ? pack_when_idle(workspace)
                                  : snapshots_go_on(&workspace->readers[which]);
}

/* While a snapshot is read the WAL cannot be begun anew: it goes on behind every job. */
static void tidy(struct satchel_workspace *workspace, size_t which)
{
    bool is_more = which == THREAD_WRITER || tidy_step(workspace, which);
    while (is_more && queue_is_idle(&workspace->workers[which].queue))
        is_more = tidy_step(workspace, which);
}

static void *work(void *argument)
{
    struct workspace_worker *worker = argument;
    struct satchel_workspace *workspace = worker->workspace;
    size_t which = (size_t)(worker - workspace->workers);
    struct satchel_job *jobs;
    tidy(workspace, which);
    while ((jobs = queue_take(&worker->queue)) != NULL) {
        if (which == THREAD_WRITER)
            workspace_write(workspace, jobs);
        else
            workspace_read(workspace, &workspace->readers[which], jobs);
        tidy(workspace, which);
    }
    while (worker->queue.first) {
        struct satchel_job *job = unlink_first(&worker->queue);
        satchel_error_set(&job->error, SATCHEL_STATE, "the server is closing this workspace");
        workspace_complete(workspace, job, SATCHEL_STATE);
    }
    return NULL;
}

static enum workspace_thread thread_of(enum satchel_job_kind kind)
{
    switch (kind) {
    case SATCHEL_JOB_JOIN:
    case SATCHEL_JOB_ATTACH:
    case SATCHEL_JOB_PUSH:
    case SATCHEL_JOB_FORWARD:
    case SATCHEL_JOB_COPY:
    case SATCHEL_JOB_WIPED:
    case SATCHEL_JOB_ROTATE:
    case SATCHEL_JOB_ADMIN: return THREAD_WRITER;
    case SATCHEL_JOB_SCHEMA:
    case SATCHEL_JOB_ROWS:
    case SATCHEL_JOB_DIGESTS:
    case SATCHEL_JOB_PAST: /* never behind news of a row that it tells of */
    case SATCHEL_JOB_ENTRIES: return THREAD_STREAM;
    case SATCHEL_JOB_RANGES:
    case SATCHEL_JOB_SNAPSHOT:
    case SATCHEL_JOB_QUERY: break;
    }
    return THREAD_QUERY;
}

enum satchel_status satchel_workspace_submit(struct satchel_workspace *workspace,
                                             struct satchel_job *job)
{
    return queue_add(&workspace->workers[thread_of(job->kind)].queue, job);
}

const char *satchel_workspace_name(const struct satchel_workspace *workspace)
{
    return workspace->name;
}

struct satchel_id satchel_workspace_id(const struct satchel_workspace *workspace)
{
    return workspace->id;
}

/* ---- life ---- */

static enum satchel_status start(struct satchel_workspace *workspace, struct satchel_error *error)
{
    enum satchel_status status =
        satchel_store_sqlite_open(&workspace->store, workspace->path, error);
    struct satchel_store_head head = {0};
    if (status == SATCHEL_OK)
        status = workspace->store->ops->load_head(workspace->store, &head, error);
    workspace->id = head.workspace_id;
    for (int i = THREAD_STREAM; status == SATCHEL_OK && i < THREAD_COUNT; i++)
        status = reader_open(&workspace->readers[i], workspace->path, error);
    for (int i = 0; status == SATCHEL_OK && i < THREAD_COUNT; i++) {
        struct workspace_worker *worker = &workspace->workers[i];
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no thread for workspace %s",
                                       workspace->name);
        else
            worker->is_running = true;
    }
    return status;
}

enum satchel_status satchel_workspace_open(struct satchel_workspace **out,
                                           const char *data_directory, const char *name,
                                           const struct satchel_workspace_callbacks *callbacks,
                                           struct satchel_error *error)
{
    *out = NULL;
    if (!satchel_workspace_name_is_valid(satchel_span_text(name)))
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "'%.80s' is no name for a workspace: 1-64 of a-z A-Z 0-9 _ -",
                                 name);
    struct satchel_workspace *workspace = satchel_alloc_zero(NULL, sizeof *workspace);
    if (!workspace || sodium_init() < 0 ||
        pthread_mutex_init(&workspace->progress_mutex, NULL) != 0) {
        satchel_free(NULL, workspace);
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for workspace %s", name);
    }
    enum satchel_status status = SATCHEL_OK;
    workspace->callbacks = *callbacks;
    satchel_map_init(&workspace->progress, WORKSPACE_DEVICES_MAX, NULL);
    satchel_arena_init(&workspace->progress_arena, SIZE_MAX / 2, NULL);
    snprintf(workspace->name, sizeof workspace->name, "%s", name);
    int size = snprintf(workspace->path, sizeof workspace->path, "%s/%s.db", data_directory, name);
    for (int i = 0; i < THREAD_COUNT; i++) {
        workspace->workers[i].workspace = workspace;
        if (status == SATCHEL_OK)
            status = queue_init(&workspace->workers[i].queue);
    }
    if (status == SATCHEL_OK && (size < 0 || (size_t)size >= sizeof workspace->path))
        status =
            satchel_error_set(error, SATCHEL_LIMIT, "the path of the data directory is too long");
    if (status == SATCHEL_OK)
        status = start(workspace, error);
    if (status != SATCHEL_OK) {
        satchel_workspace_close(workspace);
        satchel_error_default(error, status, "workspace %s cannot be opened", name);
        return status;
    }
    *out = workspace;
    return SATCHEL_OK;
}

void satchel_workspace_close(struct satchel_workspace *workspace)
{
    if (!workspace)
        return;
    for (int i = 0; i < THREAD_COUNT; i++)
        queue_close(&workspace->workers[i].queue);
    for (int i = 0; i < THREAD_COUNT; i++)
        if (workspace->workers[i].is_running)
            pthread_join(workspace->workers[i].thread, NULL);
    for (int i = 0; i < THREAD_COUNT; i++) {
        reader_close(&workspace->readers[i]);
        queue_deinit(&workspace->workers[i].queue);
    }
    if (workspace->store) /* last, so that its closing checkpoint finds no reader */
        workspace->store->ops->close(workspace->store);
    satchel_map_deinit(&workspace->progress);
    satchel_arena_deinit(&workspace->progress_arena);
    pthread_mutex_destroy(&workspace->progress_mutex);
    satchel_free(NULL, workspace);
}
