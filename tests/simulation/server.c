/* Owns the server: the real hub and workspace on a libev loop of the simulator's, their start, stop
 * and death, and what must have outlived it. */
#include "simulation.h"

#include "hub_internal.h"
#include "incarnation.h"
#include "workspace_internal.h"

#include <ev.h>
#include <string.h>

enum { RESTART_MS_MAX = 20000, STOP_MS_MAX = 5000 };

static struct satchel_data_directory directory = {
    "/sim/server", -1, "00000000000000000000000000000000000000000000000000000000000000ab"};
static struct satchel_metrics metrics;
static const char STORE[] = "/sim/server/test.db", BACKUP[] = "/sim/server/backup";
static uint64_t life; /* of the process: a watcher of an earlier one is gone */

/* ---- libev ---- */

static bool is_alive(uint64_t of_life)
{
    return of_life == life && sim.server.is_up && !sim.server.process.is_dead;
}

struct watcher_life {
    void *watcher;
    uint64_t life;
    bool is_pending;
};
static struct watcher_life wake_of_hub;

void ev_async_start(struct ev_loop *loop, ev_async *watcher)
{
    (void)loop;
    wake_of_hub = (struct watcher_life){watcher, life, false};
}

void ev_async_stop(struct ev_loop *loop, ev_async *watcher)
{
    (void)loop;
    (void)watcher;
    wake_of_hub.watcher = NULL;
}

static void on_async(void *context, uint64_t of_life)
{
    ev_async *watcher = context;
    if (!is_alive(of_life) || wake_of_hub.watcher != watcher)
        return;
    wake_of_hub.is_pending = false;
    struct sim_process *before = sim_enter(&sim.server.process);
    watcher->cb(NULL, watcher, 0);
    sim_leave(before);
}

void ev_async_send(struct ev_loop *loop, ev_async *watcher)
{
    (void)loop;
    if (wake_of_hub.is_pending || wake_of_hub.watcher != watcher)
        return;
    wake_of_hub.is_pending = true;
    sim_after(sim_one_in(SIM_ORDER, 4), on_async, watcher, life);
}

static void on_timer(void *context, uint64_t of_life)
{
    ev_timer *watcher = context;
    if (!is_alive(of_life))
        return;
    sim_after(1000, on_timer, watcher, of_life);
    struct sim_process *before = sim_enter(&sim.server.process);
    watcher->cb(NULL, watcher, 0);
    sim_leave(before);
}

void ev_timer_start(struct ev_loop *loop, ev_timer *watcher)
{
    (void)loop;
    sim_after(1000, on_timer, watcher, life);
}

void ev_timer_stop(struct ev_loop *loop, ev_timer *watcher)
{
    (void)loop;
    (void)watcher;
}

/* ---- the log ---- */

#define LOG(name)                                            \
    void __wrap_satchel_log_##name(const char *format, ...); \
    void __wrap_satchel_log_##name(const char *format, ...)  \
    {                                                        \
        char line[400];                                      \
        va_list arguments;                                   \
        va_start(arguments, format);                         \
        vsnprintf(line, sizeof line, format, arguments);     \
        va_end(arguments);                                   \
        sim_trace("server: %s", line);                       \
    }
LOG(info)
LOG(warning)
LOG(error)

/* ---- no job fails but by a fault ---- */

void __real_workspace_complete(struct satchel_workspace *workspace, struct satchel_job *job,
                               enum satchel_status status);
void __wrap_workspace_complete(struct satchel_workspace *workspace, struct satchel_job *job,
                               enum satchel_status status);

static bool is_upload(const struct satchel_job *job)
{
    return job->kind == SATCHEL_JOB_PUSH || job->kind == SATCHEL_JOB_FORWARD;
}

/* Whether one of the same session has. */
static bool has_failed_before(const struct satchel_job *job)
{
    for (unsigned i = 0; i < SIM_FAILED_PUSHES; i++)
        if (sim.server.failed_pushes[i] == job->owner_number && job->owner_number != 0)
            return true;
    return false;
}

static bool is_explained(const struct satchel_job *job, enum satchel_status status)
{
    if (status == SATCHEL_OK || sim_fiber_faults() > 0)
        return true;
    if (sim.server.process.is_dead || (status == SATCHEL_STATE && !sim.server.is_up))
        return true;
    if ((status == SATCHEL_MISMATCH || status == SATCHEL_AGAIN) && job->kind == SATCHEL_JOB_PUSH &&
        sim.had_copies)
        return true; /* where a copy parts from the other file */
    if ((status == SATCHEL_STATE || status == SATCHEL_AGAIN) && is_upload(job) &&
        has_failed_before(job))
        return true; /* it stood behind one that a fault met */
    if (status == SATCHEL_DENIED && job->kind == SATCHEL_JOB_ATTACH && sim.options.is_rotating)
        return true; /* another sync of the file was faster; this one must find out */
    if (status == SATCHEL_AGAIN && job->kind == SATCHEL_JOB_SNAPSHOT)
        return true; /* another sync of the file has filled it and sent what was written there */
    if (sim.options.is_revoking && (status == SATCHEL_AGAIN || status == SATCHEL_DENIED))
        return true; /* device.c and check.c know who is revoked */
    return job->kind == SATCHEL_JOB_ADMIN || job->kind == SATCHEL_JOB_QUERY; /* admin.c judges */
}

void __wrap_workspace_complete(struct satchel_workspace *workspace, struct satchel_job *job,
                               enum satchel_status status)
{
    static const char *const kinds[] = {
        [SATCHEL_JOB_JOIN] = "join",         [SATCHEL_JOB_ATTACH] = "attach",
        [SATCHEL_JOB_PUSH] = "push",         [SATCHEL_JOB_FORWARD] = "take back",
        [SATCHEL_JOB_COPY] = "copy",         [SATCHEL_JOB_ROTATE] = "rotate",
        [SATCHEL_JOB_ADMIN] = "admin",       [SATCHEL_JOB_SCHEMA] = "schema",
        [SATCHEL_JOB_ENTRIES] = "entries",   [SATCHEL_JOB_ROWS] = "rows",
        [SATCHEL_JOB_DIGESTS] = "digests",   [SATCHEL_JOB_RANGES] = "ranges",
        [SATCHEL_JOB_SNAPSHOT] = "snapshot", [SATCHEL_JOB_PAST] = "past",
        [SATCHEL_JOB_QUERY] = "query"};
    sim_trace("server: %s %s%s%s", kinds[job->kind], satchel_status_name(status),
              status == SATCHEL_OK ? "" : " ", status == SATCHEL_OK ? "" : job->error.message);
    sim_check(is_explained(job, status), "the server could not %s: %s: %s", kinds[job->kind],
              satchel_status_name(status), job->error.message);
    if (status != SATCHEL_OK && is_upload(job))
        sim.server.failed_pushes[sim.server.failed_push_count++ % SIM_FAILED_PUSHES] =
            job->owner_number;
    sim_fiber_settle_faults();
    if (status == SATCHEL_OK && (job->kind == SATCHEL_JOB_PUSH || job->kind == SATCHEL_JOB_ADMIN))
        sim_watch_server();
    __real_workspace_complete(workspace, job, status);
}

/* ---- what must outlive the process ---- */

static uint64_t promised_numbers[SIM_DEVICES_MAX]; /* acknowledged, to each device */

void sim_server_note_promise(const void *data)
{
    const struct hub_session *session = data;
    for (unsigned d = 0; session && d < sim.device_count; d++)
        if (satchel_id_equal(&session->device, &sim.devices[d].id) &&
            session->acked_said > promised_numbers[d])
            promised_numbers[d] = session->acked_said;
}

void sim_server_note_promises(void)
{
    const struct satchel_hub *hub = sim.server.hub;
    for (uint32_t i = 0; hub && i < hub->slot_count; i++)
        sim_server_note_promise(hub->slots[i]);
    sim_after(0, sim_server_bury, NULL, life);
}

static void check_promises(void)
{
    sqlite3 *db = sim_observe(STORE);
    sqlite3_stmt *select = NULL;
    if (sqlite3_prepare_v2(db, "SELECT last_number FROM satchel_device WHERE id=?1", -1, &select,
                           NULL) != SQLITE_OK)
        sim_fail("the store after a crash: %s", sqlite3_errmsg(db));
    for (unsigned i = 0; i < sim.device_count; i++) {
        sqlite3_bind_blob(select, 1, &sim.devices[i].id, sizeof sim.devices[i].id, SQLITE_STATIC);
        uint64_t last =
            sqlite3_step(select) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(select, 0) : 0;
        sqlite3_reset(select);
        sim_check(last >= promised_numbers[i],
                  "the server had acknowledged %llu of device %u and holds %llu after its crash",
                  (unsigned long long)promised_numbers[i], i, (unsigned long long)last);
    }
    sqlite3_finalize(select);
    sim_unobserve(db);
}

/* ---- backup and restore ---- */

static int64_t count_migrations(const char *path)
{
    sqlite3 *db = sim_observe(path);
    sqlite3_stmt *select = NULL;
    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM satchel_migration", -1, &select, NULL) !=
            SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW)
        sim_fail("%s: %s", path, sqlite3_errmsg(db));
    int64_t count = sqlite3_column_int64(select, 0);
    sqlite3_finalize(select);
    sim_unobserve(db);
    return count;
}

void sim_server_back_up(void)
{
    if (!sim.server.is_up || sim.server.process.is_dead)
        return;
    sim_trace("the server is backed up");
    sim_disk_remove(BACKUP);
    sim_disk_copy(STORE, BACKUP);
    sim.server.has_backup = true;
    sim.counts.server_backups++;
}

void sim_server_restore(void)
{
    if (!sim.server.is_up || sim.server.process.is_dead || sim.server.is_stopping)
        return;
    sim.server.is_to_be_restored = true;
    sim_process_kill(&sim.server.process);
}

/* What was acknowledged since the backup is promised no more: the devices bring it back. */
static void put_back(void)
{
    struct satchel_error error = {0};
    sim.server.is_to_be_restored = false;
    if (count_migrations(STORE) != count_migrations(BACKUP))
        return;
    sim_trace("the server is restored");
    sqlite3 *db = sim_observe(STORE);
    sim_seen_keep(db);
    sim_unobserve(db);
    sim_disk_remove(STORE);
    sim_disk_copy(BACKUP, STORE);
    db = sim_observe(STORE);
    sim_ok(satchel_db_exec(db, "BEGIN IMMEDIATE", &error), "restore", &error);
    sim_ok(incarnation_begin(db, &error), "restore", &error);
    sim_ok(satchel_db_exec(db, "COMMIT", &error), "restore", &error);
    sim_unobserve(db);
    memset(promised_numbers, 0, sizeof promised_numbers);
    sim.server.was_restored = true;
    sim.counts.server_restores++;
}

/* ---- life and death ---- */

static void on_restart(void *context, uint64_t unused)
{
    (void)context;
    (void)unused;
    if (!sim.server.is_up)
        sim_server_start();
}

/* As if there had been much more: checkpoints, and the beginning of the WAL anew, come often. */
static void keep_wal_short(struct satchel_workspace *workspace)
{
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    char sql[100];
    snprintf(sql, sizeof sql, "PRAGMA cache_size=%u", sim.options.cache_pages);
    (void)sqlite3_exec(db, sql, NULL, NULL, NULL); /* a fault may meet it */
    (void)sqlite3_wal_autocheckpoint(db, (int)sim.options.server_checkpoint_pages);
}

static enum satchel_status open_workspace(struct satchel_hub *hub, struct satchel_error *error)
{
    struct hub_workspace *workspace = hub_workspace_new(hub);
    if (!workspace)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a workspace");
    const struct satchel_workspace_callbacks callbacks = hub_workspace_callbacks(workspace);
    enum satchel_status status =
        satchel_workspace_open(&workspace->workspace, directory.path, "test", &callbacks, error);
    if (status == SATCHEL_OK) {
        keep_wal_short(workspace->workspace);
        hub_workspace_add(hub, workspace);
    } else {
        hub_workspace_free(workspace);
    }
    return status;
}

static void restart_later(void)
{
    sim_after(1 + sim_skewed(SIM_FAULTS, RESTART_MS_MAX), on_restart, NULL, 0);
}

void sim_server_start(void)
{
    struct sim_server *server = &sim.server;
    struct satchel_error error = {0};
    const struct satchel_hub_options options = {.directory = &directory,
                                                .metrics = &metrics,
                                                .snapshot_entries = sim.options.snapshot_entries};
    if (server->is_to_be_restored)
        put_back();
    check_promises();
    life++;
    server->machine.is_off = false;
    server->process.is_dead = false;
    server->process.kill_in = 0;
    server->is_up = true;
    server->is_stopping = false;
    uint64_t faults = server->process.faults_met;
    struct sim_process *before = sim_enter(&server->process);
    enum satchel_status status = satchel_hub_new(&server->hub, &options, &error);
    if (status == SATCHEL_OK)
        status = open_workspace(server->hub, &error);
    sim_leave(before);
    sim_trace("server starts: %s %s", satchel_status_name(status), error.message);
    sim.counts.store_opens++;
    if (status == SATCHEL_OK)
        return;
    sim_check(server->process.faults_met > faults, "the server does not start: %s: %s",
              satchel_status_name(status), error.message);
    if (!server->process.is_dead)
        sim_process_kill(&server->process); /* somebody starts it again */
}

/* What it had is given back; the connections end as the system ends them. */
static void take_down(void)
{
    struct sim_server *server = &sim.server;
    for (struct satchel_connection *c = sim.connections; c; c = c->next)
        if (c->is_open)
            sim_listener_close(c);
    sim_cut_all(&server->machine);
    struct sim_process *before = sim_enter(&server->process);
    satchel_hub_free(server->hub);
    sim_leave(before);
    server->hub = NULL;
    server->is_up = false;
    server->is_stopping = false;
}

void sim_server_bury(void *context, uint64_t of_life)
{
    (void)context;
    if (of_life != life || !sim.server.is_up)
        return;
    take_down();
    sim_check(sim.server.process.fiber_count == 0, "a thread of the server lives on");
    restart_later();
}

static void on_stopped(void *context, uint64_t of_life)
{
    (void)context;
    if (of_life != life || !sim.server.is_up || sim.server.process.is_dead)
        return;
    sim_trace("server has stopped");
    take_down();
    sim.server.process.is_dead = true;
    restart_later();
}

void sim_server_stop(void)
{
    struct sim_server *server = &sim.server;
    if (!server->is_up || server->is_stopping || server->process.is_dead)
        return;
    sim_trace("server is told to stop");
    sim.counts.server_stops++;
    server->is_stopping = true;
    struct sim_process *before = sim_enter(&server->process);
    satchel_hub_stop(server->hub);
    sim_leave(before);
    sim_after(sim_below(SIM_FAULTS, STOP_MS_MAX), on_stopped, NULL, life);
}

/* ---- looking at a file ---- */

sqlite3 *sim_observe(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        sim_fail("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_autocheckpoint(db, 0);
    return db;
}

void sim_unobserve(sqlite3 *db)
{
    sim_check(sqlite3_close(db) == SQLITE_OK, "an observer's statement is open");
}

sqlite3_stmt *sim_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *select = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        sim_fail("%s: %s", sql, sqlite3_errmsg(db));
    return select;
}

uint64_t sim_integer(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *select = sim_prepare(db, sql);
    uint64_t value =
        sqlite3_step(select) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(select, 0) : 0;
    sqlite3_finalize(select);
    return value;
}
