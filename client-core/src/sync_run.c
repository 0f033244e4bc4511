/* Owns the blocking sync: a connection of its own to the replica, a sync by hand, the transport. */
#include "sync.h"
#include "transport.h"

#include <time.h>

/* SQLite's own busy handler sleeps ever longer and hardly ever meets the gap between two commits of
 * an application that writes without a pause: a sync beside it would stand still. */
static int wait_for_lock(void *context, int count)
{
    const struct satchel_replica *replica = context;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return count < replica->busy_wait_ms;
}

enum satchel_status satchel_sync_open(struct satchel_replica **out, const char *path,
                                      const struct satchel_sync_options *options,
                                      struct satchel_error *error)
{
    struct satchel_open_options open = {.size = sizeof open,
                                        .clock = options ? options->clock : NULL};
    enum satchel_status status = satchel_replica_open(out, path, &open, error);
    if (status != SATCHEL_OK)
        return status;
    (*out)->is_sync = true;
    (*out)->busy_wait_ms = SATCHEL_BUSY_TIMEOUT_MS;
    sqlite3_busy_handler((*out)->db, wait_for_lock, *out);
    /* What a power cut takes back, cursor and all, the server sends again; what is sent to the
     * server is synced to disk before (sync_push.c). A WAL that has grown long stays as long on the
     * disk, however little is in it, as long as anybody has the file open: what is beyond some 1000
     * pages goes when this connection is the first to write to it from its beginning again. */
    status = satchel_replica_execute(
        (*out)->db, "PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304", error);
    if (status != SATCHEL_OK) {
        satchel_replica_close(*out);
        *out = NULL;
    }
    return status;
}

static enum satchel_status step(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error)
{
    struct satchel_sync *sync = context;
    bool is_equal = false;
    enum satchel_status status = satchel_sync_step(sync, now, &is_equal, error);
    if (status == SATCHEL_OK && is_equal)
        satchel_sync_pack(sync);
    *is_done = is_equal && !sync->options.watch;
    return status;
}

static void count(void *context, size_t sent, size_t received)
{
    satchel_sync_count_bytes(context, sent, received);
}

static bool is_stopped(void *context)
{
    const struct satchel_sync *sync = context;
    return sync->options.stop && sync->options.stop(sync->options.context);
}

enum satchel_status satchel_sync_connect(
    struct satchel_sync *sync,
    enum satchel_status (*owners_step)(void *context, struct satchel_now now, bool *is_done,
                                       struct satchel_error *error),
    struct satchel_error *error)
{
    char *watched = sync->options.watch ? sqlite3_mprintf("%s-wal", sync->replica->path) : NULL;
    struct satchel_transport_options transport = {
        .url = sync->replica->server,
        .pins = &sync->pins,
        .session = satchel_sync_session(sync),
        .clock = &sync->replica->clock,
        .context = sync,
        .step = owners_step,
        .count = count,
        .stop = is_stopped,
        .watched = watched,
    };
    enum satchel_status status = satchel_transport_run(&transport, error);
    sqlite3_free(watched);
    return status;
}

static void add_report(struct satchel_sync_report *sum, const struct satchel_sync_report *session)
{
    sum->pushed_change_sets += session->pushed_change_sets;
    sum->pulled_entries += session->pulled_entries;
    sum->conflicts += session->conflicts;
    sum->quarantined += session->quarantined;
    sum->repaired += session->repaired;
    if (session->snapshot_rows > 0) /* begun again it is the same, or what was there is no more */
        sum->snapshot_rows = session->snapshot_rows;
    sum->bytes_sent += session->bytes_sent;
    sum->bytes_received += session->bytes_received;
    sum->cursor = session->cursor;
    sum->pending = session->pending;
}

/* `options->rotate` goes when that is done. */
static enum satchel_status run_session(const char *path, struct satchel_sync_options *options,
                                       struct satchel_sync_report *report, bool *was_done,
                                       struct satchel_error *error)
{
    struct satchel_replica *replica = NULL;
    struct satchel_sync *sync = NULL;
    struct satchel_sync_report session = {0};
    const struct satchel_clock *clock = satchel_clock_or_system(options->clock);
    enum satchel_status status = satchel_sync_open(&replica, path, options, error);
    if (status == SATCHEL_OK)
        status = satchel_sync_new(&sync, replica, options, satchel_transport_now(clock), error);
    if (status == SATCHEL_OK) {
        status = satchel_sync_connect(sync, step, error);
        satchel_sync_get_report(sync, &session);
        *was_done = sync->is_done;
        options->rotate = options->rotate && !sync->has_rotated;
        if (status == SATCHEL_DENIED && satchel_sync_is_token_old(sync))
            status = SATCHEL_AGAIN;
    }
    add_report(report, &session);
    satchel_sync_free(sync);
    satchel_replica_close(replica);
    return status;
}

bool satchel_sync_is_to_begin_again(enum satchel_status status, bool was_done, uint32_t *count)
{
    *count = was_done ? 1 : *count + 1;
    return status == SATCHEL_AGAIN && *count < SATCHEL_SYNC_SESSIONS_MAX;
}

enum satchel_status satchel_sync_run(const char *path, const struct satchel_sync_options *options,
                                     struct satchel_sync_report *report,
                                     struct satchel_error *error)
{
    const struct satchel_clock *clock = satchel_clock_or_system(options ? options->clock : NULL);
    struct satchel_sync_options session = {.size = sizeof session};
    struct satchel_now began = satchel_transport_now(clock);
    struct satchel_sync_report sum = {0};
    enum satchel_status status;
    uint32_t count = 0;
    bool was_done;
    if (options && options->size < sizeof *options)
        return satchel_error_set(error, SATCHEL_INVALID, "satchel_sync_options.size is too small");
    if (options)
        session = *options;
    do {
        was_done = false;
        status = run_session(path, &session, &sum, &was_done, error);
    } while (satchel_sync_is_to_begin_again(status, was_done, &count));
    sum.seconds = (double)(satchel_transport_now(clock).monotonic_ms - began.monotonic_ms) / 1000.0;
    if (report)
        *report = sum;
    return status;
}
