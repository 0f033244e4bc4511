/* Owns a new replica's first rows (docs/bootstrap.md): the pages of the server's snapshot are kept
 * as they come, beside the application's tables, until all are here; then they become its rows in
 * one transaction, under what was written here meanwhile, and the log goes on from where the
 * snapshot was made. Broken off, it goes on at the page that is missing. */
#include "recover.h"
#include "sync.h"

#include <satchel/mutation.h>

#include <stdio.h>

#define CACHE_KIB "16384" /* while the rows are written */
enum { WINDOW = 2 };      /* pages that are asked for and have not come */

static const char SELECT_STAGED[] =
    "SELECT id, cursor, vector, receipt, stamp, schema, row_count, page_count,"
    " iif(EXISTS(SELECT 1 FROM satchel_snapshot_page WHERE page = 0),"
    " (SELECT min(page) + 1 FROM satchel_snapshot_page p WHERE NOT EXISTS"
    " (SELECT 1 FROM satchel_snapshot_page WHERE page = p.page + 1)), 0) FROM satchel_snapshot";
static const char INSERT_SNAPSHOT[] =
    "INSERT INTO satchel_snapshot(one, id, cursor, vector, receipt, stamp, schema, row_count,"
    " page_count) VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
static const char INSERT_PAGE[] =
    "INSERT OR IGNORE INTO satchel_snapshot_page(page, notes) VALUES(?1, ?2)";
static const char SELECT_PAGE[] = "SELECT notes FROM satchel_snapshot_page WHERE page = ?1";
/* The receipt tells a server up to where the logs are the same, while there is nothing else to. */
static const char WRITE_BEGUN[] =
    "UPDATE satchel_replica SET begun = (SELECT cursor FROM satchel_snapshot);"
    "INSERT OR IGNORE INTO satchel_receipt(cursor, receipt, previous, is_cut)"
    " SELECT cursor, receipt, 0, 1 FROM satchel_snapshot";
static const char SELECT_PAST[] = "SELECT past, begun FROM satchel_replica";
/* Another sync may be ahead of this one, or have met a server that was restored. */
static const char WRITE_PAST[] =
    "UPDATE satchel_replica SET past = iif(?1 < begun, max(past, ?1), 0),"
    " begun = iif(?1 < begun, begun, 0) WHERE begun > 0 AND past >= ?2 AND ?1 > past";
static const char REWIND_PAST[] =
    "UPDATE satchel_replica SET past = iif(past < ?1, past, 0), begun = iif(past < ?1, ?1, 0)"
    " WHERE begun > ?1";
static const char DROP_STAGED[] = "DELETE FROM satchel_snapshot; DELETE FROM satchel_snapshot_page";

/* ---- what is here ---- */

/* In a transaction; `*page_next`: the first that is missing. The vector is in the arena of pushes,
 * of which this session has none. */
static enum satchel_status read_staged(struct satchel_sync *sync,
                                       struct satchel_message_snapshot *out, uint64_t *page_next,
                                       struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    struct satchel_apply *apply = sync->apply;
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_ERROR;
    memset(out, 0, sizeof *out);
    *page_next = 0;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_STAGED, -1, &select, NULL) == SQLITE_OK)
        code = sqlite3_step(select);
    if (code == SQLITE_ROW && satchel_column_id(select, 0, &out->snapshot) &&
        satchel_column_id(select, 3, &out->receipt)) {
        out->cursor = (uint64_t)sqlite3_column_int64(select, 1);
        out->stamp = (satchel_stamp)sqlite3_column_int64(select, 4);
        out->schema = (uint64_t)sqlite3_column_int64(select, 5);
        out->row_count = (uint64_t)sqlite3_column_int64(select, 6);
        out->page_count = (uint64_t)sqlite3_column_int64(select, 7);
        *page_next = (uint64_t)sqlite3_column_int64(select, 8);
        satchel_arena_reset(&sync->push_arena);
        struct satchel_span vector =
            satchel_arena_copy(&sync->push_arena, satchel_column_span(select, 2));
        status = vector.data ? satchel_vector_unpack(vector, &sync->push_arena, &out->vector)
                             : SATCHEL_NOMEM;
    } else if (code != SQLITE_DONE) {
        status = satchel_apply_sql_error(apply, "read satchel_snapshot", error);
    }
    sqlite3_finalize(select);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "what is here of a snapshot cannot be read");
}

enum satchel_status satchel_bootstrap_begin(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_bootstrap *bootstrap = &sync->bootstrap;
    struct satchel_message_snapshot staged;
    enum satchel_status status = satchel_sync_begin(sync, false, error);
    if (status != SATCHEL_OK)
        return status;
    status = read_staged(sync, &staged, &bootstrap->page_next, error);
    bootstrap->snapshot = staged.snapshot;
    bootstrap->page_count = staged.page_count;
    bootstrap->row_count = staged.row_count;
    bootstrap->schema = staged.schema;
    bootstrap->is_on = status == SATCHEL_OK;
    satchel_apply_release(sync->apply);
    return status;
}

enum satchel_status satchel_bootstrap_drop(struct satchel_sync *sync, struct satchel_error *error)
{
    return satchel_replica_execute(sync->replica->db, DROP_STAGED, error);
}

/* Another sync of the same replica may have filled it meanwhile. */
static enum satchel_status begin_writing(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin_run(sync, error);
    if (status != SATCHEL_OK || sync->apply->cursor == 0)
        return status;
    satchel_apply_rollback(sync->apply);
    satchel_sync_end_run(sync);
    return satchel_error_set(error, SATCHEL_AGAIN,
                             "another sync has filled this replica meanwhile; sync again");
}

/* What is here is still of the snapshot that this session has, and of the server that it has met:
 * another sync may have begun with another. */
static enum satchel_status check_staged(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_message_snapshot staged;
    uint64_t page_next = 0;
    enum satchel_status status = read_staged(sync, &staged, &page_next, error);
    if (status != SATCHEL_OK || (satchel_id_equal(&staged.snapshot, &sync->bootstrap.snapshot) &&
                                 satchel_id_equal(&sync->apply->node, &sync->recovery.node)))
        return status;
    return satchel_error_set(error, SATCHEL_AGAIN,
                             "another sync has begun to fill this replica; sync again");
}

/* ---- a page ---- */

/* Another sync of this replica may have begun with the same one. */
static enum satchel_status begin_snapshot(struct satchel_sync *sync,
                                          const struct satchel_message_snapshot *snapshot,
                                          struct satchel_error *error)
{
    sqlite3_stmt *insert = NULL;
    struct satchel_buffer *vector = &sync->push_scratch;
    struct satchel_message_snapshot staged;
    enum satchel_status status = read_staged(sync, &staged, &sync->bootstrap.page_next, error);
    if (status != SATCHEL_OK || satchel_id_equal(&staged.snapshot, &snapshot->snapshot))
        return status;
    sync->bootstrap.page_next = 0;
    status = satchel_bootstrap_drop(sync, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_buffer_clear(vector);
    status = satchel_vector_pack(vector, &snapshot->vector);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory for a snapshot");
    if (sqlite3_prepare_v2(sync->replica->db, INSERT_SNAPSHOT, -1, &insert, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_snapshot", error);
    sqlite3_bind_blob(insert, 1, snapshot->snapshot.bytes, sizeof snapshot->snapshot.bytes,
                      SQLITE_STATIC);
    sqlite3_bind_int64(insert, 2, (sqlite3_int64)snapshot->cursor);
    sqlite3_bind_blob64(insert, 3, vector->data, vector->size, SQLITE_STATIC);
    sqlite3_bind_blob(insert, 4, snapshot->receipt.bytes, sizeof snapshot->receipt.bytes,
                      SQLITE_STATIC);
    sqlite3_bind_int64(insert, 5, (sqlite3_int64)snapshot->stamp);
    sqlite3_bind_int64(insert, 6, (sqlite3_int64)snapshot->schema);
    sqlite3_bind_int64(insert, 7, (sqlite3_int64)snapshot->row_count);
    sqlite3_bind_int64(insert, 8, (sqlite3_int64)snapshot->page_count);
    if (sqlite3_step(insert) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot", error);
    sqlite3_finalize(insert);
    return status;
}

static enum satchel_status write_page(struct satchel_sync *sync,
                                      const struct satchel_message_snapshot *snapshot,
                                      struct satchel_error *error)
{
    sqlite3_stmt *insert = NULL;
    struct satchel_buffer stored;
    satchel_buffer_init(&stored, SATCHEL_FRAME_BYTES_MAX, NULL);
    enum satchel_status status = satchel_body_store(snapshot->notes, &stored);
    if (status != SATCHEL_OK)
        satchel_error_set(error, status, "no memory for a page of a snapshot");
    else if (sqlite3_prepare_v2(sync->replica->db, INSERT_PAGE, -1, &insert, NULL) != SQLITE_OK)
        status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot_page", error);
    if (status == SATCHEL_OK) {
        sqlite3_bind_int64(insert, 1, (sqlite3_int64)snapshot->page);
        sqlite3_bind_blob64(insert, 2, stored.data, stored.size, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE)
            status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot_page", error);
    }
    sqlite3_finalize(insert);
    satchel_buffer_deinit(&stored);
    return status;
}

/* Every answer is of the snapshot asked for, or the first page of a new one; or it says that this
 * one is no more. */
enum satchel_status satchel_bootstrap_take(struct satchel_sync *sync,
                                           const struct satchel_message_snapshot *snapshot,
                                           struct satchel_error *error)
{
    struct sync_bootstrap *bootstrap = &sync->bootstrap;
    if (!bootstrap->is_on || bootstrap->asked_count == 0)
        return SATCHEL_OK;
    bootstrap->asked_count--;
    bool is_gone = satchel_id_is_zero(&snapshot->snapshot);
    bool is_same = !is_gone && satchel_id_equal(&snapshot->snapshot, &bootstrap->snapshot);
    bool is_new = !is_same && !is_gone && satchel_id_is_zero(&bootstrap->snapshot);
    bootstrap->is_confirmed = is_same || is_new;
    if (is_gone || is_new) {
        bootstrap->snapshot = snapshot->snapshot;
        bootstrap->page_next = 0;
        bootstrap->page_count = snapshot->page_count;
        bootstrap->row_count = snapshot->row_count;
        bootstrap->schema = snapshot->schema;
    }
    if (!is_new && !(is_same && snapshot->page == bootstrap->page_next))
        return SATCHEL_OK; /* what is here of one that is gone goes when another one comes */
    enum satchel_status status = begin_writing(sync, error);
    if (status != SATCHEL_OK)
        return status;
    if (is_new)
        status = begin_snapshot(sync, snapshot, error);
    if (status == SATCHEL_OK && snapshot->page == bootstrap->page_next &&
        snapshot->page < snapshot->page_count) {
        status = check_staged(sync, error);
        if (status == SATCHEL_OK)
            status = write_page(sync, snapshot, error);
        bootstrap->page_next++;
    }
    return satchel_sync_finish_run(sync, status, error);
}

/* ---- all of it ---- */

static enum satchel_status apply_page(struct satchel_sync *sync, sqlite3_stmt *select,
                                      uint64_t page, struct satchel_buffer *scratch,
                                      struct satchel_error *error)
{
    struct satchel_span notes;
    enum satchel_status status;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)page);
    if (sqlite3_step(select) != SQLITE_ROW)
        status = satchel_apply_sql_error(sync->apply, "read satchel_snapshot_page", error);
    else
        status = satchel_body_load(satchel_column_span(select, 0), scratch, &notes);
    if (status == SATCHEL_OK)
        status = satchel_apply_rows(sync->apply, notes, error);
    sqlite3_reset(select);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "a page of the snapshot is damaged");
}

static enum satchel_status apply_pages(struct satchel_sync *sync, uint64_t count,
                                       struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    struct satchel_buffer scratch;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_PAGE, -1, &select, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "read satchel_snapshot_page", error);
    satchel_buffer_init(&scratch, SATCHEL_FRAME_BYTES_MAX, NULL);
    for (uint64_t page = 0; page < count && status == SATCHEL_OK; page++)
        status = apply_page(sync, select, page, &scratch, error);
    satchel_buffer_deinit(&scratch);
    sqlite3_finalize(select);
    return status;
}

/* The log goes on from the snapshot's cursor, at which the replica is complete. */
static enum satchel_status settle(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_apply *apply = sync->apply;
    struct satchel_message_snapshot snapshot;
    uint64_t page_next = 0;
    enum satchel_status status = check_staged(sync, error);
    if (status == SATCHEL_OK)
        status = read_staged(sync, &snapshot, &page_next, error);
    if (status != SATCHEL_OK)
        return status;
    if (page_next + SATCHEL_MUTATED(short_snapshot) < snapshot.page_count)
        return satchel_error_set(error, SATCHEL_AGAIN, "pages of the snapshot are missing");
    status = apply_pages(sync, page_next, error);
    struct satchel_message_head head = {snapshot.cursor, snapshot.vector, snapshot.receipt};
    if (SATCHEL_MUTATED(late_snapshot))
        head.cursor++;
    apply->complete = 0;
    apply->moved_head = snapshot.cursor;
    if (snapshot.stamp > apply->seen_stamp)
        apply->seen_stamp = snapshot.stamp;
    if (status == SATCHEL_OK)
        status = satchel_apply_head(apply, &head, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(sync->replica->db, WRITE_BEGUN, error);
    return status == SATCHEL_OK ? satchel_bootstrap_drop(sync, error) : status;
}

/* All rows in one transaction are more than the cache should hold. It may spill (replica.c says why
 * it may not else) where no statement can fail and the rest be committed all the same: what waits
 * here may stand against rows of the snapshot. */
static enum satchel_status open_cache(struct satchel_sync *sync, int *cache_size,
                                      struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    sqlite3 *db = sync->replica->db;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, "PRAGMA cache_size", -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW)
        status = satchel_apply_sql_error(sync->apply, "read a setting", error);
    *cache_size = status == SATCHEL_OK ? sqlite3_column_int(select, 0) : 0;
    sqlite3_finalize(select);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(db, "PRAGMA cache_size=-" CACHE_KIB, error);
    if (status == SATCHEL_OK && !sync->apply->pending.last)
        status = satchel_replica_execute(db, "PRAGMA cache_spill=ON", error);
    return status;
}

static void close_cache(struct satchel_sync *sync, int cache_size)
{
    char sql[80];
    snprintf(sql, sizeof sql, "PRAGMA cache_size=%d; PRAGMA cache_spill=OFF", cache_size);
    sqlite3_exec(sync->replica->db, sql, NULL, NULL, NULL);
}

static enum satchel_status take_over(struct satchel_sync *sync, struct satchel_error *error)
{
    int cache_size = 0;
    enum satchel_status status = begin_writing(sync, error);
    if (status != SATCHEL_OK)
        return status;
    status = open_cache(sync, &cache_size, error);
    if (status == SATCHEL_OK)
        status = settle(sync, error);
    status = satchel_sync_finish_run(sync, status, error);
    close_cache(sync, cache_size);
    return status == SATCHEL_OK
               ? satchel_error_set(error, SATCHEL_AGAIN,
                                   "the replica has its first rows; sync again for what has "
                                   "happened since")
               : status;
}

enum satchel_status satchel_bootstrap_step(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_bootstrap *bootstrap = &sync->bootstrap;
    enum satchel_status status = SATCHEL_OK;
    if (!bootstrap->is_on || sync->apply->migration_count < sync->schema_target)
        return SATCHEL_OK;
    if (bootstrap->is_confirmed && sync->apply->migration_count >= bootstrap->schema &&
        bootstrap->page_next + SATCHEL_MUTATED(short_snapshot) >= bootstrap->page_count)
        return take_over(sync, error);
    while (status == SATCHEL_OK &&
           bootstrap->asked_count < (bootstrap->is_confirmed ? WINDOW : 1)) {
        struct satchel_message message = {.kind = SATCHEL_MESSAGE_SNAPSHOT_REQUEST};
        message.snapshot_request.snapshot = bootstrap->snapshot;
        message.snapshot_request.page = bootstrap->page_next + bootstrap->asked_count;
        if (bootstrap->is_confirmed && message.snapshot_request.page >= bootstrap->page_count)
            break;
        /* To hear whether it is still there, where all of it is here. */
        if (!bootstrap->is_confirmed && bootstrap->page_next > 0 &&
            bootstrap->page_next == bootstrap->page_count)
            message.snapshot_request.page--;
        status = satchel_session_send(sync->session, &message);
        bootstrap->asked_count += status == SATCHEL_OK;
    }
    if (status == SATCHEL_OK || status == SATCHEL_BUSY)
        return SATCHEL_OK;
    return satchel_error_default(error, status, "cannot ask for rows: %s",
                                 satchel_status_text(status));
}

/* ---- what the log has from before ---- */

enum satchel_status satchel_past_begin(struct satchel_sync *sync, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_PAST, -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW)
        status = satchel_apply_sql_error(sync->apply, "read satchel_replica", error);
    sync->past = (struct sync_past){0};
    if (status == SATCHEL_OK) {
        sync->past.after = (uint64_t)sqlite3_column_int64(select, 0);
        sync->past.until = (uint64_t)sqlite3_column_int64(select, 1);
    }
    sqlite3_finalize(select);
    return status;
}

bool satchel_past_is_over(const struct satchel_sync *sync)
{
    return sync->past.after >= sync->past.until;
}

enum satchel_status satchel_past_step(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_past *past = &sync->past;
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PAST_REQUEST};
    if (!sync->is_equal || past->is_asked || satchel_past_is_over(sync))
        return SATCHEL_OK;
    message.past_request = (struct satchel_message_past_request){past->after, past->until};
    enum satchel_status status = satchel_session_send(sync->session, &message);
    past->is_asked = status == SATCHEL_OK;
    if (status == SATCHEL_OK || status == SATCHEL_BUSY)
        return SATCHEL_OK;
    return satchel_error_default(error, status, "cannot ask for the past: %s",
                                 satchel_status_text(status));
}

static enum satchel_status write_past(struct satchel_sync *sync, uint64_t reached,
                                      struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, WRITE_PAST, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_bind_int64(update, 1, (sqlite3_int64)reached);
    sqlite3_bind_int64(update, 2, (sqlite3_int64)sync->past.after);
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    return status;
}

/* Rows are as they are: only the log is told. */
enum satchel_status satchel_past_take(struct satchel_sync *sync,
                                      const struct satchel_message_past *past,
                                      struct satchel_error *error)
{
    if (!sync->past.is_asked || past->reached <= sync->past.after)
        return SATCHEL_OK;
    sync->past.is_asked = false;
    enum satchel_status status = satchel_sync_begin_run(sync, error);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_apply *apply = sync->apply;
    bool is_of_here = satchel_id_equal(&apply->node, &sync->recovery.node);
    /* It was cut before something that this replica, perhaps by another sync, has heard of. */
    bool is_old = past->head < apply->moved_head || past->head < apply->complete ||
                  past->schema < apply->migration_count;
    if (is_of_here && is_old) {
        satchel_apply_release(apply);
        satchel_sync_end_run(sync);
        return SATCHEL_OK;
    }
    for (uint32_t i = 0; is_of_here && i < past->entry_count && status == SATCHEL_OK; i++)
        status = satchel_apply_past(apply, &past->entries[i], error);
    if (status == SATCHEL_OK && is_of_here)
        status = write_past(sync, past->reached, error);
    status = satchel_sync_finish_run(sync, status, error);
    sync->past.after = past->reached;
    return status == SATCHEL_OK && !is_of_here
               ? satchel_error_set(
                     error, SATCHEL_AGAIN,
                     "another sync of this replica has met another server; sync again")
               : status;
}

enum satchel_status satchel_past_rewind(struct satchel_sync *sync, uint64_t cursor,
                                        struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, REWIND_PAST, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_bind_int64(update, 1, (sqlite3_int64)cursor);
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    return status;
}
