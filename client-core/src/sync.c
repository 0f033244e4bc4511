/* Owns a sync by hand: what each message of the server leads to, the transactions, and when
 * everything is equal. The handshake is sync_attach.c's, uploads are sync_push.c's, entries
 * apply's, sockets nobody's here.
 *
 * Between two calls no transaction is open and no lock held: the network may be as slow as it
 * likes. */
#include "recover.h"
#include "sync.h"

#include <satchel/batch.h>
#include <satchel/mutation.h>

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum {
    RUN_ENTRIES_MAX = 256, /* entries that share a transaction */
    RUN_MS_MAX = 50,       /* and how long it may hold the write lock */
    PAUSE_MS = 12,         /* for which it is then free */
    BUSY_TRIES = 6         /* each as long as the busy timeout */
};
static const size_t PUSH_ARENA_BYTES_MAX = (size_t)4 * SATCHEL_CHANGESET_BYTES_MAX;

static const char WRITE_LAST_SYNC[] = "UPDATE satchel_replica SET last_sync_ms = ?1";
/* Numbers are contiguous, and counting rows would read them all. */
static const char COUNT_PENDING[] =
    "SELECT coalesce((SELECT max(number) FROM satchel_change), last_number) - last_number"
    " FROM satchel_replica";

/* ---- life ---- */

static enum satchel_status pragma_foreign_keys(sqlite3 *db, bool *is_on)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA foreign_keys", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        sqlite3_finalize(statement);
        return SATCHEL_SQL;
    }
    *is_on = sqlite3_column_int(statement, 0) != 0;
    sqlite3_finalize(statement);
    return SATCHEL_OK;
}

static enum satchel_status begin_session(struct satchel_sync *sync, struct satchel_now now,
                                         struct satchel_error *error)
{
    struct satchel_session_options options = {.size = sizeof options,
                                              .side = SATCHEL_SIDE_CLIENT,
                                              .silence_ms_max = SATCHEL_SILENCE_MS_MAX};
    enum satchel_status status = satchel_session_new(&sync->session, &options, now);
    return status == SATCHEL_OK ? SATCHEL_OK
                                : satchel_error_set(error, status, "cannot begin a session: %s",
                                                    satchel_status_text(status));
}

static enum satchel_status set_up(struct satchel_sync *sync, struct satchel_now now,
                                  struct satchel_error *error)
{
    sqlite3 *db = sync->replica->db;
    enum satchel_status status = pragma_foreign_keys(db, &sync->had_foreign_keys);
    if (status == SATCHEL_OK && sync->had_foreign_keys)
        status = satchel_replica_execute(db, "PRAGMA foreign_keys=OFF", error);
    if (status == SATCHEL_OK)
        status = satchel_replica_read_identity(sync->replica, error);
    if (status == SATCHEL_OK && !sync->replica->is_enrolled)
        status = satchel_error_set(error, SATCHEL_STATE,
                                   "%s: its enrolment was not finished; run the same satchel join "
                                   "again",
                                   sync->replica->path);
    sync->is_drained = sync->replica->is_revoked;
    if (status == SATCHEL_OK)
        status = satchel_apply_new(&sync->apply, sync->replica, error);
    if (status == SATCHEL_OK)
        status = begin_session(sync, now, error);
    return status == SATCHEL_OK ? satchel_sync_send_hello(sync, error) : status;
}

enum satchel_status satchel_sync_new(satchel_sync **out, satchel_replica *replica,
                                     const struct satchel_sync_options *options,
                                     struct satchel_now now, struct satchel_error *error)
{
    *out = NULL;
    if (options && options->size < sizeof *options)
        return satchel_error_set(error, SATCHEL_INVALID, "satchel_sync_options.size is too small");
    struct satchel_sync *sync = satchel_alloc_zero(NULL, sizeof *sync);
    if (!sync)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to sync");
    sync->replica = replica;
    sync->pins = replica->pins;
    if (options)
        sync->options = *options;
    sync->began_ms = sync->now_ms = now.monotonic_ms;
    satchel_check_init(&sync->check);
    satchel_arena_init(&sync->push_arena, PUSH_ARENA_BYTES_MAX, NULL);
    satchel_arena_init(&sync->recovery.arena, PUSH_ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&sync->recovery.rows, SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_buffer_init(&sync->push_scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = SATCHEL_OK;
    if (sync->options.pin)
        status = satchel_pins_parse(&sync->pins, sync->options.pin, error);
    if (status == SATCHEL_OK)
        status = set_up(sync, now, error);
    if (status != SATCHEL_OK) {
        satchel_sync_free(sync);
        return satchel_error_default(error, status, "cannot sync: %s", satchel_status_text(status));
    }
    *out = sync;
    return SATCHEL_OK;
}

void satchel_sync_free(struct satchel_sync *sync)
{
    if (!sync)
        return;
    satchel_staging_free(sync->bootstrap.staging);
    satchel_apply_free(sync->apply);
    satchel_session_free(sync->session);
    sqlite3_finalize(sync->select_last);
    sqlite3_finalize(sync->select_unsent);
    sqlite3_finalize(sync->write_ack);
    satchel_check_deinit(&sync->check);
    satchel_recover_end(sync);
    satchel_arena_deinit(&sync->push_arena);
    satchel_buffer_deinit(&sync->push_scratch);
    if (sync->had_foreign_keys)
        sqlite3_exec(sync->replica->db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL);
    satchel_free(NULL, sync);
}

struct satchel_session *satchel_sync_session(satchel_sync *sync)
{
    return sync->session;
}

/* ---- transactions ---- */

bool satchel_sync_is_stopped(const struct satchel_sync *sync)
{
    return sync->options.stop && sync->options.stop(sync->options.context);
}

/* Whether what comes goes on from the log that is here, and is for who its user is now. Another
 * sync of this replica may have cut it back, or gone on from another incarnation of the node:
 * behind that this stream would leave a hole, or put entries that the node does not have any more.
 * Or it has heard of another role, of masks: this stream has what the user may see no more. */
static bool is_stream_good(const struct satchel_sync *sync)
{
    const struct satchel_apply *apply = sync->apply;
    return SATCHEL_MUTATED(stale_log) || (apply->rewinds == sync->rewinds &&
                                          satchel_id_equal(&apply->node, &sync->recovery.node));
}

enum satchel_status satchel_sync_begin(struct satchel_sync *sync, bool is_writing,
                                       struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_BUSY;
    for (int i = 0;
         i < BUSY_TRIES && status == SATCHEL_BUSY && !(i > 0 && satchel_sync_is_stopped(sync)); i++)
        status = satchel_apply_begin(sync->apply, is_writing, error);
    if (status == SATCHEL_BUSY)
        satchel_error_set(
            error, status,
            "%s: another program keeps the replica locked; end its transaction and sync "
            "again (nothing is lost)",
            sync->replica->path);
    if (status != SATCHEL_OK || !sync->is_welcome || is_stream_good(sync))
        return status;
    satchel_apply_release(sync->apply);
    return satchel_error_set(error, SATCHEL_AGAIN,
                             "another sync of this replica has begun anew meanwhile; sync again");
}

/* `hidden` may be of before another one that was not gone through. */
enum satchel_status satchel_sync_begin_anew(struct satchel_sync *sync, struct satchel_error *error)
{
    sync->rewinds = ++sync->apply->rewinds;
    return satchel_replica_execute(sync->replica->db, "UPDATE satchel_replica SET hidden = ''",
                                   error);
}

static void tell_changes(struct satchel_sync *sync)
{
    struct satchel_apply *apply = sync->apply;
    for (uint32_t i = 0; apply->schema && i < apply->schema->table_count; i++) {
        if (!apply->is_touched[i])
            continue;
        apply->is_touched[i] = false;
        if (sync->options.changed)
            sync->options.changed(sync->options.context, apply->schema->tables[i].name);
    }
}

static void tell_progress(struct satchel_sync *sync)
{
    struct satchel_sync_report report;
    if (!sync->options.progress)
        return;
    satchel_sync_get_report(sync, &report);
    sync->options.progress(sync->options.context, &report);
}

enum satchel_status satchel_sync_commit(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_apply_commit(sync->apply, error);
    if (status == SATCHEL_OK) {
        tell_changes(sync);
        tell_progress(sync);
    }
    return status;
}

/* ---- SCHEMA, ENTRIES ---- */

static enum satchel_status take_schema(struct satchel_sync *sync,
                                       const struct satchel_message_schema *schema,
                                       struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    uint64_t last =
        schema->migration_count > 0 ? schema->migrations[schema->migration_count - 1].number : 0;
    bool is_new = last > sync->apply->migration_count;
    status = satchel_apply_migrate(sync->apply, schema, error);
    if (status != SATCHEL_OK) {
        satchel_apply_rollback(sync->apply);
        return status;
    }
    if (is_new) /* what another sync was sent before may have columns that are masked now */
        status = satchel_sync_begin_anew(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_sync_commit(sync, error);
    else
        satchel_apply_rollback(sync->apply);
    sync->apply->must_forget = true;
    if (status == SATCHEL_OK) /* so that rows are read by it, and counted in is_done */
        status = satchel_sync_begin(sync, false, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_apply_release(sync->apply);
    return sync->replica->schema
               ? satchel_triggers_check(sync->replica->db, sync->replica->schema, error)
               : SATCHEL_OK;
}

/* SQLite gives its write lock to whoever asks first, and who waits for it sleeps in between, at
 * first for 1, 2, 5, 10, 15, 20 and 25 ms: let go and taken again at once, it would never be found
 * free, and a local write would wait until a long download ends. */
static void leave_lock(struct satchel_sync *sync)
{
    const struct satchel_clock *clock = &satchel_clock_system;
    int64_t free_ms = clock->monotonic_ms(clock->context) - sync->released_ms;
    int64_t run_ms = sync->released_ms - sync->began_run_ms; /* the next may be as long as this */
    if (free_ms < PAUSE_MS && sync->held_ms + run_ms < RUN_MS_MAX)
        return;
    if (free_ms < PAUSE_MS) {
        satchel_checkpoint_in_pause(sync->replica);
        free_ms = clock->monotonic_ms(clock->context) - sync->released_ms;
    }
    if (free_ms < PAUSE_MS) {
        const struct timespec pause = {0, (PAUSE_MS - free_ms) * 1000 * 1000};
        nanosleep(&pause, NULL); /* a signal may cut it short, at no harm */
    }
    sync->held_ms = 0;
}

enum satchel_status satchel_sync_begin_run(struct satchel_sync *sync, struct satchel_error *error)
{
    const struct satchel_clock *clock = &satchel_clock_system;
    leave_lock(sync);
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    sync->began_run_ms = clock->monotonic_ms(clock->context);
    return status;
}

int64_t satchel_sync_run_ms(const struct satchel_sync *sync)
{
    const struct satchel_clock *clock = &satchel_clock_system;
    return clock->monotonic_ms(clock->context) - sync->began_run_ms;
}

bool satchel_sync_is_run_over(const struct satchel_sync *sync)
{
    return satchel_sync_run_ms(sync) >= RUN_MS_MAX;
}

void satchel_sync_end_run(struct satchel_sync *sync)
{
    const struct satchel_clock *clock = &satchel_clock_system;
    bool is_committed = sync->replica->released_ms >= sync->began_run_ms;
    sync->released_ms =
        is_committed ? sync->replica->released_ms : clock->monotonic_ms(clock->context);
    sync->held_ms += sync->released_ms - sync->began_run_ms;
}

enum satchel_status satchel_sync_finish_run(struct satchel_sync *sync, enum satchel_status status,
                                            struct satchel_error *error)
{
    if (status == SATCHEL_OK)
        status = satchel_sync_commit(sync, error);
    else
        satchel_apply_rollback(sync->apply);
    satchel_sync_end_run(sync);
    return status;
}

/* Whether the entry may have been cut by an older scope than another sync of this replica has heard
 * of: that has evicted rows which this one would bring back. */
static bool is_cut_too_early(const struct satchel_sync *sync, uint64_t cursor)
{
    const struct satchel_apply *apply = sync->apply;
    return sync->heard_head < apply->moved_head && cursor > apply->cursor &&
           cursor <= apply->moved_head && !SATCHEL_MUTATED(stale_rows);
}

/* A run of entries from `*index` on, before `end`, in one transaction: bounded in number and in
 * time, and ended where digests are to be compared. */
static enum satchel_status apply_run(struct satchel_sync *sync,
                                     const struct satchel_message_entries *entries, uint32_t *index,
                                     uint32_t end, struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin_run(sync, error);
    uint32_t count = 0;
    bool is_full = false;
    while (status == SATCHEL_OK && !is_full && *index < end) {
        const struct satchel_entry *entry = &entries->entries[*index];
        status = is_cut_too_early(sync, entry->cursor)
                     ? satchel_error_set(error, SATCHEL_AGAIN,
                                         "another sync of this replica is ahead of this one")
                     : satchel_apply_entry(sync->apply, entry, error);
        (*index)++;
        is_full = ++count >= SATCHEL_BATCH_ITEMS(RUN_ENTRIES_MAX) ||
                  satchel_sync_is_run_over(sync) || satchel_check_stops_here(sync) ||
                  (sync->recovery.has_rows && sync->apply->cursor == sync->recovery.rows_cursor);
    }
    return satchel_sync_finish_run(sync, status, error);
}

/* ---- the step ---- */

/* An entry that cannot be applied, as long as an index of the application's own stands against it,
 * does not keep those before it away. */
static void keep_before(struct satchel_sync *sync, const struct satchel_message_entries *entries,
                        uint32_t index, uint32_t end)
{
    struct satchel_error error = {0}; /* the one that is told is the first */
    while (index < end && apply_run(sync, entries, &index, end, &error) == SATCHEL_OK)
        continue;
}

/* What waits for the replica to be at a cursor. */
static enum satchel_status go_on(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_check_go_on(sync, error);
    return status == SATCHEL_OK ? satchel_recover_apply_rows(sync, error) : status;
}

static enum satchel_status take_entries(struct satchel_sync *sync,
                                        const struct satchel_message_entries *entries,
                                        struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    bool is_over = sync->is_copy || sync->replica->is_wiped;
    uint32_t index = is_over ? entries->entry_count : 0;
    while (index < entries->entry_count && status == SATCHEL_OK) {
        uint32_t first = index;
        status = apply_run(sync, entries, &index, entries->entry_count, error);
        if (status != SATCHEL_OK && index > first + 1)
            keep_before(sync, entries, first, index - 1);
        if (status == SATCHEL_OK)
            status = go_on(sync, error);
    }
    if (status == SATCHEL_AGAIN && sync->apply->diverged_number > 0)
        status = satchel_sync_copy_found(sync, error);
    return status;
}

static enum satchel_status take_head(struct satchel_sync *sync,
                                     const struct satchel_message_head *head,
                                     struct satchel_error *error)
{
    if (head->cursor > sync->heard_head)
        sync->heard_head = head->cursor;
    satchel_check_take_head(sync, head->cursor);
    if (sync->is_copy ||
        (sync->apply->cursor == head->cursor && sync->apply->complete == head->cursor))
        return SATCHEL_OK; /* nothing new, as a rule: the server lives */
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_apply_head(sync->apply, head, error);
    if (status == SATCHEL_OK)
        status = satchel_sync_commit(sync, error);
    else
        satchel_apply_rollback(sync->apply);
    return status == SATCHEL_OK ? go_on(sync, error) : status;
}

static enum satchel_status take_scope(struct satchel_sync *sync,
                                      const struct satchel_message_scope *scope,
                                      struct satchel_error *error)
{
    if (sync->is_copy)
        return SATCHEL_OK;
    if (scope->head > sync->heard_head)
        sync->heard_head = scope->head;
    leave_lock(sync);
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_apply_scope(sync->apply, scope, error);
    if (status != SATCHEL_OK) {
        satchel_apply_rollback(sync->apply);
        return status;
    }
    return satchel_sync_commit(sync, error);
}

static enum satchel_status take(struct satchel_sync *sync, const struct satchel_message *message,
                                struct satchel_error *error)
{
    switch (message->kind) {
    case SATCHEL_MESSAGE_WELCOME: return satchel_sync_take_welcome(sync, &message->welcome, error);
    case SATCHEL_MESSAGE_SCHEMA: return take_schema(sync, &message->schema, error);
    case SATCHEL_MESSAGE_ENTRIES: return take_entries(sync, &message->entries, error);
    case SATCHEL_MESSAGE_COPIED: return satchel_sync_take_copied(sync, &message->copied, error);
    case SATCHEL_MESSAGE_ROTATED: return satchel_sync_take_rotated(sync, &message->rotated, error);
    case SATCHEL_MESSAGE_ACK: return satchel_sync_push_acked(sync, message->ack.number, error);
    case SATCHEL_MESSAGE_DIGESTS: return satchel_check_take_digests(sync, &message->digests, error);
    case SATCHEL_MESSAGE_RANGES: return satchel_check_take_ranges(sync, &message->ranges, error);
    case SATCHEL_MESSAGE_ROWS:
        return satchel_check_wants_rows(sync)
                   ? satchel_check_take_rows(sync, &message->rows, error)
                   : satchel_recover_take_rows(sync, &message->rows, error);
    case SATCHEL_MESSAGE_FORWARDED:
        return satchel_recover_take_forwarded(sync, &message->forwarded, error);
    case SATCHEL_MESSAGE_HEAD: return take_head(sync, &message->head, error);
    case SATCHEL_MESSAGE_SCOPE: return take_scope(sync, &message->scope, error);
    case SATCHEL_MESSAGE_PAST: return satchel_past_take(sync, &message->past, error);
    case SATCHEL_MESSAGE_SNAPSHOT: return satchel_bootstrap_take(sync, &message->snapshot, error);
    default: /* ERROR has ended the session, which says so itself */ return SATCHEL_OK;
    }
}

static enum satchel_status write_last_sync(struct satchel_sync *sync, struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, WRITE_LAST_SYNC, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_bind_int64(update, 1, satchel_replica_now_ms(sync->replica));
    int code = sqlite3_step(update);
    if (code != SQLITE_DONE && (code & 0xff) != SQLITE_BUSY) /* the next one writes it again */
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    return status;
}

static void tell_quarantined(struct satchel_sync *sync)
{
    char line[160];
    uint64_t count = sync->apply->quarantined_stored;
    if (count == 0 || !sync->options.notice)
        return;
    snprintf(line, sizeof line,
             "the server set aside %" PRIu64
             " of this replica's rows; satchel history says which and "
             "why",
             count);
    sync->options.notice(sync->options.context, line);
}

/* What is answered by its entry was acknowledged, if not in this session. Once true it stays so:
 * with watch, later writes do not undo that everything was equal. */
static enum satchel_status judge_equal(struct satchel_sync *sync, struct satchel_error *error)
{
    const struct satchel_apply *apply = sync->apply;
    if (sync->is_equal || !sync->is_welcome || sync->is_drained ||
        apply->migration_count < sync->schema_target || apply->cursor < sync->head_target ||
        apply->complete < sync->complete_target || apply->last_number < sync->number_target ||
        !satchel_recover_is_done(sync))
        return SATCHEL_OK;
    /* Now it is known not to be a copy, of which the other file would lose its token. */
    if (sync->options.rotate)
        return satchel_sync_send_rotate(sync, error);
    sync->is_equal = true;
    tell_quarantined(sync);
    return write_last_sync(sync, error);
}

static enum satchel_status judge_done(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = judge_equal(sync, error);
    if (status == SATCHEL_OK && sync->is_equal && !sync->is_copy)
        status = satchel_check_step(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_past_step(sync, error);
    sync->is_done = sync->is_done ||
                    (sync->is_equal && satchel_check_is_over(sync) && satchel_past_is_over(sync));
    return status;
}

/* The server has refused what an attached device said: another file with its id said something else
 * meanwhile. The next session shows which. */
static enum satchel_status begin_again(struct satchel_error *error)
{
    if (error)
        error->status = SATCHEL_AGAIN;
    return SATCHEL_AGAIN;
}

enum satchel_status satchel_sync_step(satchel_sync *sync, struct satchel_now now, bool *is_done,
                                      struct satchel_error *error)
{
    struct satchel_message message;
    enum satchel_status status = SATCHEL_OK;
    sync->now_ms = now.monotonic_ms;
    while (status == SATCHEL_OK && satchel_session_next_event(sync->session, &message))
        status = take(sync, &message, error);
    if (status == SATCHEL_OK)
        status = satchel_session_failed(sync->session, error);
    if (status == SATCHEL_DENIED && sync->is_wiped) { /* that is the answer to WIPED */
        *is_done = sync->is_done = true;
        return SATCHEL_OK;
    }
    if (status == SATCHEL_MISMATCH && sync->is_welcome)
        status = begin_again(error);
    if (status == SATCHEL_OK && sync->is_welcome && sync->bootstrap.is_on) {
        *is_done = false;
        return satchel_bootstrap_step(sync, error);
    }
    if (status == SATCHEL_OK && sync->is_welcome)
        status = satchel_recover_step(sync, error);
    if (status == SATCHEL_OK && sync->is_welcome && satchel_recover_is_given(sync))
        status =
            sync->is_copy ? satchel_sync_send_copy(sync, error) : satchel_sync_push(sync, error);
    if (status == SATCHEL_OK && sync->is_welcome)
        status =
            sync->is_drained ? satchel_wipe_step(sync, error) : satchel_forget_step(sync, error);
    if (status == SATCHEL_OK)
        status = judge_done(sync, error);
    *is_done = sync->is_done;
    return status == SATCHEL_OK ? SATCHEL_OK
                                : satchel_error_default(error, status, "sync failed: %s",
                                                        satchel_status_text(status));
}

/* ---- the report ---- */

void satchel_sync_count_bytes(struct satchel_sync *sync, size_t sent, size_t received)
{
    sync->bytes_sent += sent;
    sync->bytes_received += received;
}

void satchel_sync_get_report(const satchel_sync *sync, struct satchel_sync_report *report)
{
    sqlite3_stmt *count = NULL;
    const struct satchel_apply *apply = sync->apply;
    memset(report, 0, sizeof *report);
    report->pushed_change_sets = sync->pushed_count;
    report->pulled_entries = apply->entry_stored;
    report->conflicts = apply->conflict_stored;
    report->quarantined = apply->quarantined_stored;
    report->repaired = satchel_check_repaired(sync);
    report->bytes_sent = sync->bytes_sent;
    report->bytes_received = sync->bytes_received;
    report->seconds = (double)(sync->now_ms - sync->began_ms) / 1000.0;
    report->cursor = apply->cursor;
    report->snapshot_rows = sync->bootstrap.row_count;
    report->snapshot_pages = sync->bootstrap.is_on ? sync->bootstrap.page_count : 0;
    report->snapshot_pages_here = sync->bootstrap.page_next;
    if (sqlite3_prepare_v2(sync->replica->db, COUNT_PENDING, -1, &count, NULL) == SQLITE_OK &&
        sqlite3_step(count) == SQLITE_ROW)
        report->pending = (uint64_t)sqlite3_column_int64(count, 0);
    sqlite3_finalize(count);
}
