/* Owns a new replica's first rows (docs/bootstrap.md): the pages of the server's snapshot are
 * written as they come, beside the application's tables (staging.c), until all are here; then they
 * become its rows in one transaction, under what was written here meanwhile, and the log goes on
 * from where the snapshot was made. Broken off, it goes on at the page that is missing. */
#include "recover.h"
#include "staging_index.h"
#include "sync.h"

#include <satchel/mutation.h>
#include <satchel/staging_table.h>

#include <stdio.h>

#define CACHE_KIB "16384" /* while rows are written that had no staging table */
enum {
#ifdef SATCHEL_MUTATIONS
    WAITING_ROWS_MIN = 1, /* the simulator has few rows */
#else
    WAITING_ROWS_MIN = 20000, /* with fewer, to fill an index later costs more than it saves */
#endif
    WINDOW = 2,      /* pages that are asked for and have not come */
    ROWS_MS_MAX = 20 /* of a run: its commit may take as long again */
};

static const char SELECT_STAGED[] = "SELECT id, cursor, vector, receipt, stamp, schema, row_count, "
                                    "page_count, page_next, row_next, migrations"
                                    " FROM satchel_snapshot";
static const char INSERT_SNAPSHOT[] =
    "INSERT INTO satchel_snapshot(one, id, cursor, vector, receipt, stamp, schema, row_count,"
    " page_count, migrations) VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
static const char INSERT_LEFT[] = "INSERT INTO satchel_snapshot_page(notes) VALUES(?1)";
static const char SELECT_LEFT[] = "SELECT notes FROM satchel_snapshot_page ORDER BY part";
static const char WRITE_NEXT[] =
    "UPDATE satchel_snapshot SET page_next = ?1, row_next = ?2, page_count = ?3, row_count = ?4";
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

/* satchel_snapshot; zero if there is none. */
struct staged {
    struct satchel_message_snapshot snapshot; /* without a page */
    uint64_t page_next, row_next, migrations;
};

/* In a transaction. The vector is in the arena of pushes, of which this session has none. */
static enum satchel_status read_staged(struct satchel_sync *sync, struct staged *staged,
                                       struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    struct satchel_apply *apply = sync->apply;
    enum satchel_status status = SATCHEL_OK;
    struct satchel_message_snapshot *out = &staged->snapshot;
    int code = SQLITE_ERROR;
    memset(staged, 0, sizeof *staged);
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_STAGED, -1, &select, NULL) == SQLITE_OK)
        code = sqlite3_step(select);
    if (code == SQLITE_ROW && satchel_column_id(select, 0, &out->snapshot) &&
        satchel_column_id(select, 3, &out->receipt)) {
        out->cursor = (uint64_t)sqlite3_column_int64(select, 1);
        out->stamp = (satchel_stamp)sqlite3_column_int64(select, 4);
        out->schema = (uint64_t)sqlite3_column_int64(select, 5);
        out->row_count = (uint64_t)sqlite3_column_int64(select, 6);
        out->page_count = (uint64_t)sqlite3_column_int64(select, 7);
        staged->page_next = (uint64_t)sqlite3_column_int64(select, 8);
        staged->row_next = (uint64_t)sqlite3_column_int64(select, 9);
        staged->migrations = (uint64_t)sqlite3_column_int64(select, 10);
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
    struct staged staged;
    enum satchel_status status = satchel_sync_begin(sync, false, error);
    if (status != SATCHEL_OK)
        return status;
    status = read_staged(sync, &staged, error);
    bootstrap->snapshot = staged.snapshot.snapshot;
    bootstrap->page_next = staged.page_next;
    bootstrap->page_count = staged.snapshot.page_count;
    bootstrap->row_count = staged.snapshot.row_count;
    bootstrap->schema = staged.snapshot.schema;
    bootstrap->is_on = status == SATCHEL_OK;
    satchel_apply_release(sync->apply);
    return status;
}

enum satchel_status satchel_bootstrap_drop(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_staging_tables_drop(sync->replica->db, error);
    satchel_staging_free(sync->bootstrap.staging);
    sync->bootstrap.staging = NULL;
    return status == SATCHEL_OK ? satchel_replica_execute(sync->replica->db, DROP_STAGED, error)
                                : status;
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

/* What is here is still of the snapshot that this session has: another sync may have begun with
 * another. */
static enum satchel_status check_staged(struct satchel_sync *sync, struct staged *staged,
                                        struct satchel_error *error)
{
    enum satchel_status status = read_staged(sync, staged, error);
    if (status != SATCHEL_OK ||
        satchel_id_equal(&staged->snapshot.snapshot, &sync->bootstrap.snapshot))
        return status;
    return satchel_error_set(error, SATCHEL_AGAIN,
                             "another sync has begun to fill this replica; sync again");
}

/* The application's tables are not what they were when the staging tables were made. In the open
 * transaction, which it ends. */
static enum satchel_status begin_anew(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_bootstrap_drop(sync, error);
    status = satchel_sync_finish_run(sync, status, error);
    return status == SATCHEL_OK
               ? satchel_error_set(error, SATCHEL_AGAIN,
                                   "a table has changed while the replica was being filled; sync "
                                   "again")
               : status;
}

static enum satchel_status open_staging(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_staging **staging = &sync->bootstrap.staging;
    if (*staging && satchel_staging_fits(*staging))
        return SATCHEL_OK;
    satchel_staging_free(*staging);
    const struct sync_bootstrap *bootstrap = &sync->bootstrap;
    bool is_large = bootstrap->page_count == 0 || bootstrap->row_count >= WAITING_ROWS_MIN;
    bool indexes_wait = is_large && satchel_indexes_may_wait(sync->replica->db);
    return satchel_staging_new(staging, sync->apply, indexes_wait, error);
}

/* ---- a page ---- */

/* Another sync of this replica may have begun with the same one. */
static enum satchel_status begin_snapshot(struct satchel_sync *sync,
                                          const struct satchel_message_snapshot *snapshot,
                                          struct satchel_error *error)
{
    sqlite3_stmt *insert = NULL;
    struct satchel_buffer *vector = &sync->push_scratch;
    struct staged staged;
    enum satchel_status status = read_staged(sync, &staged, error);
    if (status != SATCHEL_OK || satchel_id_equal(&staged.snapshot.snapshot, &snapshot->snapshot))
        return status;
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
    sqlite3_bind_int64(insert, 9, sync->apply->migration_count);
    if (sqlite3_step(insert) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot", error);
    sqlite3_finalize(insert);
    return status;
}

static enum satchel_status keep_left(struct satchel_sync *sync, struct satchel_span notes,
                                     struct satchel_error *error)
{
    sqlite3_stmt *insert = NULL;
    struct satchel_buffer stored;
    satchel_buffer_init(&stored, SATCHEL_FRAME_BYTES_MAX, NULL);
    enum satchel_status status = satchel_body_store(notes, &stored);
    if (status != SATCHEL_OK)
        satchel_error_set(error, status, "no memory for a page of a snapshot");
    else if (sqlite3_prepare_v2(sync->replica->db, INSERT_LEFT, -1, &insert, NULL) != SQLITE_OK)
        status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot_page", error);
    if (status == SATCHEL_OK) {
        sqlite3_bind_blob64(insert, 1, stored.data, stored.size, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE)
            status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot_page", error);
    }
    sqlite3_finalize(insert);
    satchel_buffer_deinit(&stored);
    return status;
}

static enum satchel_status write_next(struct satchel_sync *sync, const struct staged *staged,
                                      struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, WRITE_NEXT, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_snapshot", error);
    sqlite3_bind_int64(update, 1, (sqlite3_int64)staged->page_next);
    sqlite3_bind_int64(update, 2, (sqlite3_int64)staged->row_next);
    sqlite3_bind_int64(update, 3, (sqlite3_int64)staged->snapshot.page_count);
    sqlite3_bind_int64(update, 4, (sqlite3_int64)staged->snapshot.row_count);
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_snapshot", error);
    sqlite3_finalize(update);
    return status;
}

static bool is_run_over(void *context)
{
    return satchel_sync_run_ms(context) >= ROWS_MS_MAX;
}

/* As much of the page as a run may take. */
static enum satchel_status write_rows(struct satchel_sync *sync, struct satchel_span notes,
                                      struct staged *staged, struct satchel_error *error)
{
    struct satchel_buffer left;
    uint32_t row = (uint32_t)staged->row_next;
    bool is_whole = false;
    satchel_buffer_init(&left, SATCHEL_FRAME_BYTES_MAX, NULL);
    enum satchel_status status = open_staging(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_staging_take(sync->bootstrap.staging, notes, &row, is_run_over, sync,
                                      &is_whole, &left, error);
    if (status == SATCHEL_OK && left.size > 0)
        status = keep_left(sync, satchel_buffer_span(&left), error);
    staged->page_next += is_whole;
    staged->row_next = is_whole ? 0 : row;
    if (status == SATCHEL_OK)
        status = write_next(sync, staged, error);
    satchel_buffer_deinit(&left);
    return status;
}

/* One run of it; `*is_over` true: there is nothing more to write of this page. */
static enum satchel_status take_page(struct satchel_sync *sync,
                                     const struct satchel_message_snapshot *snapshot, bool is_new,
                                     bool *is_over, struct satchel_error *error)
{
    struct staged staged;
    *is_over = true;
    enum satchel_status status = begin_writing(sync, error);
    if (status != SATCHEL_OK)
        return status;
    if (is_new)
        status = begin_snapshot(sync, snapshot, error);
    if (status == SATCHEL_OK)
        status = check_staged(sync, &staged, error);
    if (status == SATCHEL_OK && staged.migrations != sync->apply->migration_count)
        return begin_anew(sync, error);
    bool is_new_count = status == SATCHEL_OK && snapshot->page_count > staged.snapshot.page_count;
    if (is_new_count) {
        staged.snapshot.page_count = snapshot->page_count;
        staged.snapshot.row_count = snapshot->row_count;
    }
    /* Another sync may have brought it; and there may be no such page. */
    if (status == SATCHEL_OK && snapshot->page == staged.page_next && snapshot->notes.size > 0) {
        status = write_rows(sync, snapshot->notes, &staged, error);
        if (status == SATCHEL_AGAIN)
            return begin_anew(sync, error);
        *is_over = staged.page_next > snapshot->page;
    } else if (is_new_count) {
        status = write_next(sync, &staged, error);
    }
    if (status == SATCHEL_OK)
        sync->bootstrap.page_next = staged.page_next;
    return satchel_sync_finish_run(sync, status, error);
}

/* Every answer is of the snapshot asked for, or the first page of a new one; or it says that this
 * one is no more. One of a schema that has not come yet is asked for again when it has. */
enum satchel_status satchel_bootstrap_take(struct satchel_sync *sync,
                                           const struct satchel_message_snapshot *snapshot,
                                           struct satchel_error *error)
{
    struct sync_bootstrap *bootstrap = &sync->bootstrap;
    if (!bootstrap->is_on || bootstrap->asked_count == 0)
        return SATCHEL_OK;
    bootstrap->asked_count--;
    bool is_gone = satchel_id_is_zero(&snapshot->snapshot);
    if (!is_gone && snapshot->schema > sync->apply->migration_count) {
        bootstrap->schema = snapshot->schema;
        return SATCHEL_OK;
    }
    bool is_same = !is_gone && satchel_id_equal(&snapshot->snapshot, &bootstrap->snapshot);
    bool is_new = !is_same && !is_gone && satchel_id_is_zero(&bootstrap->snapshot);
    bool is_over = !is_new && !is_same;
    enum satchel_status status = SATCHEL_OK;
    bootstrap->is_confirmed = is_same || is_new;
    if (is_gone || is_new) { /* what is here of one that is gone goes when another one comes */
        bootstrap->snapshot = snapshot->snapshot;
        bootstrap->page_next = bootstrap->page_count = bootstrap->row_count = 0;
        bootstrap->schema = snapshot->schema;
    }
    if (snapshot->page_count > 0) {
        bootstrap->page_count = snapshot->page_count;
        bootstrap->row_count = snapshot->row_count;
    }
    while (status == SATCHEL_OK && !is_over)
        status = take_page(sync, snapshot, is_new, &is_over, error);
    return status;
}

/* ---- indexes ---- */

/* A run: entries of one, as many as it may take; `is_whole` NULL: all have theirs, and settle. */
static enum satchel_status write_indexes(struct satchel_sync *sync,
                                         struct satchel_index_filling *filling, bool *is_whole,
                                         struct satchel_error *error)
{
    struct staged staged;
    enum satchel_status status = begin_writing(sync, error);
    if (status != SATCHEL_OK)
        return status;
    status = check_staged(sync, &staged, error);
    if (status == SATCHEL_OK && is_whole)
        status = satchel_index_filling_write(filling, is_run_over, sync, is_whole, error);
    else if (status == SATCHEL_OK)
        status = satchel_index_filling_settle(filling, error);
    return satchel_sync_finish_run(sync, status, error);
}

static enum satchel_status fill_indexes(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_index_filling *filling = NULL;
    bool is_over = false;
    enum satchel_status status = satchel_index_filling_new(&filling, sync->replica->db, error);
    if (status != SATCHEL_OK || !filling)
        return status;
    while (status == SATCHEL_OK) {
        bool is_whole = false;
        status = satchel_index_filling_sort(filling, &is_over, error);
        if (is_over)
            break;
        while (status == SATCHEL_OK && !is_whole)
            status = write_indexes(sync, filling, &is_whole, error);
    }
    if (status == SATCHEL_OK)
        status = write_indexes(sync, filling, NULL, error);
    satchel_index_filling_free(filling);
    return status;
}

/* ---- all of it ---- */

/* What had no place in a staging table. */
static enum satchel_status apply_left(struct satchel_sync *sync, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    struct satchel_buffer scratch;
    struct satchel_span notes;
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_DONE;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_LEFT, -1, &select, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "read satchel_snapshot_page", error);
    satchel_buffer_init(&scratch, SATCHEL_FRAME_BYTES_MAX, NULL);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        status = satchel_body_load(satchel_column_span(select, 0), &scratch, &notes);
        if (status == SATCHEL_OK)
            status = satchel_apply_rows(sync->apply, notes, error);
        if (status != SATCHEL_OK)
            satchel_error_default(error, status, "a page of the snapshot is damaged");
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "read satchel_snapshot_page", error);
    satchel_buffer_deinit(&scratch);
    sqlite3_finalize(select);
    return status;
}

/* It begins anew, and so does the other sync. */
static enum satchel_status drop_old(struct satchel_sync *sync, bool *is_done,
                                    struct satchel_error *error)
{
    sync->apply->complete = sync->apply->moved_head = 0;
    *is_done = true;
    enum satchel_status status = satchel_sync_begin_anew(sync, error);
    return status == SATCHEL_OK ? satchel_bootstrap_drop(sync, error) : status;
}

/* The log goes on from the snapshot's cursor, at which the replica is complete. `*is_done` false:
 * the application's tables are others now. */
static enum satchel_status settle(struct satchel_sync *sync, bool *is_done,
                                  struct satchel_error *error)
{
    struct satchel_apply *apply = sync->apply;
    struct staged staged;
    *is_done = false;
    enum satchel_status status = check_staged(sync, &staged, error);
    if (status != SATCHEL_OK || staged.migrations != apply->migration_count)
        return status;
    const struct satchel_message_snapshot *snapshot = &staged.snapshot;
    if (snapshot->page_count == 0 ||
        staged.page_next + SATCHEL_MUTATED(short_snapshot) < snapshot->page_count)
        return satchel_error_set(error, SATCHEL_AGAIN, "pages of the snapshot are missing");
    if (apply->moved_head > snapshot->cursor) /* another sync has evicted rows that are in it */
        return drop_old(sync, is_done, error);
    status = open_staging(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_staging_exchange(sync->bootstrap.staging, is_done, error);
    if (status != SATCHEL_OK || !*is_done)
        return status;
    status = apply_left(sync, error);
    struct satchel_message_head head = {snapshot->cursor, snapshot->vector, snapshot->receipt};
    if (SATCHEL_MUTATED(late_snapshot))
        head.cursor++;
    apply->complete = 0;
    apply->moved_head = snapshot->cursor;
    if (snapshot->stamp > apply->seen_stamp)
        apply->seen_stamp = snapshot->stamp;
    if (status == SATCHEL_OK)
        status = satchel_apply_head(apply, &head, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(sync->replica->db, WRITE_BEGUN, error);
    return status == SATCHEL_OK ? satchel_bootstrap_drop(sync, error) : status;
}

/* Rows without a staging table may be more than the cache should hold. It may spill (replica.c says
 * why it may not else) where no statement can fail and the rest be committed all the same: what
 * waits here may stand against rows of the snapshot. */
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
    snprintf(sql, sizeof sql, "PRAGMA cache_size=%d", cache_size);
    sqlite3_exec(sync->replica->db, "PRAGMA cache_spill=OFF", NULL, NULL, NULL);
    if (cache_size != 0) /* it was read */
        sqlite3_exec(sync->replica->db, sql, NULL, NULL, NULL);
}

static enum satchel_status take_over(struct satchel_sync *sync, struct satchel_error *error)
{
    int cache_size = 0;
    bool is_done = true;
    enum satchel_status status = fill_indexes(sync, error);
    if (status == SATCHEL_OK)
        status = begin_writing(sync, error);
    if (status != SATCHEL_OK)
        return status;
    status = open_cache(sync, &cache_size, error);
    if (status == SATCHEL_OK)
        status = settle(sync, &is_done, error);
    status = status == SATCHEL_OK && !is_done ? begin_anew(sync, error)
                                              : satchel_sync_finish_run(sync, status, error);
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
    if (!bootstrap->is_on || sync->apply->migration_count < sync->schema_target ||
        sync->apply->migration_count < bootstrap->schema)
        return SATCHEL_OK;
    if (bootstrap->is_confirmed && bootstrap->page_count > 0 &&
        bootstrap->page_next + SATCHEL_MUTATED(short_snapshot) >= bootstrap->page_count)
        return take_over(sync, error);
    while (status == SATCHEL_OK &&
           bootstrap->asked_count < (bootstrap->is_confirmed ? WINDOW : 1)) {
        struct satchel_message message = {.kind = SATCHEL_MESSAGE_SNAPSHOT_REQUEST};
        message.snapshot_request.snapshot = bootstrap->snapshot;
        if (bootstrap->asked_count == 0 || bootstrap->page_ask < bootstrap->page_next)
            bootstrap->page_ask = bootstrap->page_next;
        message.snapshot_request.page = bootstrap->page_ask;
        if (bootstrap->is_confirmed && bootstrap->page_count > 0 &&
            message.snapshot_request.page >= bootstrap->page_count)
            break;
        /* To hear whether it is still there, where all of it is here. */
        if (!bootstrap->is_confirmed && bootstrap->page_next > 0 &&
            bootstrap->page_next == bootstrap->page_count)
            message.snapshot_request.page--;
        status = satchel_session_send(sync->session, &message);
        bootstrap->asked_count += status == SATCHEL_OK;
        bootstrap->page_ask += status == SATCHEL_OK;
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
    /* It was cut before something that this replica, perhaps by another sync, has heard of. */
    bool is_old = past->head < apply->moved_head || past->head < apply->complete ||
                  past->schema < apply->migration_count;
    if (is_old) {
        satchel_apply_release(apply);
        satchel_sync_end_run(sync);
        return SATCHEL_OK;
    }
    for (uint32_t i = 0; i < past->entry_count && status == SATCHEL_OK; i++)
        status = satchel_apply_past(apply, &past->entries[i], error);
    if (status == SATCHEL_OK)
        status = write_past(sync, past->reached, error);
    status = satchel_sync_finish_run(sync, status, error);
    sync->past.after = past->reached;
    return status;
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
