/* Owns the end of a replica whose device was revoked, or whose user is one no more
 * (docs/scopes.md). From the WELCOME that says so (state 'draining') nothing is written here any
 * more; the session uploads what waits as any other does, and when all of it is answered, what the
 * workspace had here is removed (state 'wiped'), from the file and its WAL, too; then the server is
 * told. Broken off, it goes on in the next session. */
#include "recover.h"
#include "sync.h"

#include <satchel/mutation.h>

static const char DRAIN[] = "UPDATE satchel_replica SET state = 'draining' WHERE state = 'joined'";
static const char COUNT_WAITING[] =
    "SELECT (SELECT count(*) FROM satchel_change) + (SELECT count(*) FROM satchel_lost WHERE given"
    " IS NOT (SELECT node FROM satchel_replica) AND NOT is_cut)";
static const char SELECT_TRIGGER[] =
    "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE"
    " AND name NOT LIKE 'satchel!_%' ESCAPE '!' LIMIT 1";
static const char FORGET[] =
    "DELETE FROM satchel_entry; DELETE FROM satchel_segment; DELETE FROM satchel_conflict;"
    "DELETE FROM satchel_base; DELETE FROM satchel_alias; DELETE FROM satchel_lineage;"
    "DELETE FROM satchel_receipt; DELETE FROM satchel_lost; DELETE FROM satchel_doubt;"
    "DELETE FROM satchel_view; DELETE FROM satchel_elsewhere; DELETE FROM satchel_forget;"
    "DELETE FROM satchel_snapshot; DELETE FROM satchel_snapshot_page;"
    "UPDATE satchel_replica SET state = 'wiped', checked = NULL, checked_table = 0";

enum satchel_status satchel_wipe_begin(struct satchel_sync *sync, bool is_told,
                                       struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (is_told && !sync->is_drained) {
        status = satchel_replica_execute(sync->replica->db, DRAIN, error);
        if (status == SATCHEL_OK && sync->options.notice)
            sync->options.notice(sync->options.context,
                                 "this device was revoked: what waits here is sent, then the "
                                 "workspace's data are removed from this file");
    }
    sync->is_drained = sync->is_drained || is_told;
    return status;
}

/* ---- removing it ---- */

/* Of the application, on one table. */
static enum satchel_status drop_triggers(struct satchel_sync *sync, const char *table,
                                         struct satchel_error *error)
{
    sqlite3 *db = sync->replica->db;
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    bool is_over = false;
    while (status == SATCHEL_OK && !is_over) {
        char *sql = NULL;
        if (sqlite3_prepare_v2(db, SELECT_TRIGGER, -1, &select, NULL) == SQLITE_OK) {
            sqlite3_bind_text(select, 1, table, -1, SQLITE_STATIC);
            int code = sqlite3_step(select);
            is_over = code == SQLITE_DONE;
            if (code == SQLITE_ROW)
                sql = sqlite3_mprintf("DROP TRIGGER main.\"%w\"", sqlite3_column_text(select, 0));
        }
        sqlite3_finalize(select);
        if (sql)
            status = satchel_replica_execute(db, sql, error);
        else if (!is_over)
            status = satchel_apply_sql_error(sync->apply, "drop triggers", error);
        sqlite3_free(sql);
    }
    return status;
}

/* Triggers of the application go on, so that its search index loses the rows, too; where one does
 * not let rows go, those of the table are dropped. */
static enum satchel_status delete_rows(struct satchel_sync *sync, struct satchel_error *error)
{
    const struct satchel_schema *schema = sync->replica->schema;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; schema && i < schema->table_count && status == SATCHEL_OK; i++) {
        if (schema->tables[i].is_local)
            continue;
        char *sql = sqlite3_mprintf("DELETE FROM main.\"%w\"", schema->tables[i].name);
        status = sql ? satchel_replica_execute(sync->replica->db, sql, error) : SATCHEL_NOMEM;
        if (sql && (sqlite3_errcode(sync->replica->db) & 0xff) == SQLITE_CONSTRAINT) {
            status = drop_triggers(sync, schema->tables[i].name, error);
            if (status == SATCHEL_OK)
                status = satchel_replica_execute(sync->replica->db, sql, error);
        }
        sqlite3_free(sql);
        sync->apply->is_touched[i] = true;
    }
    return status;
}

static enum satchel_status count_waiting(struct satchel_sync *sync, int64_t *out,
                                         struct satchel_error *error)
{
    sqlite3_stmt *count = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, COUNT_WAITING, -1, &count, NULL) == SQLITE_OK &&
        sqlite3_step(count) == SQLITE_ROW)
        *out = sqlite3_column_int64(count, 0);
    else
        status = satchel_apply_sql_error(sync->apply, "count what waits to be sent", error);
    sqlite3_finalize(count);
    return status;
}

/* All or nothing of it; `*is_empty` false: something has still to be answered. */
static enum satchel_status remove_all(struct satchel_sync *sync, bool *is_empty,
                                      struct satchel_error *error)
{
    int64_t waiting = 0;
    enum satchel_status status = satchel_sync_begin_run(sync, error);
    if (status != SATCHEL_OK)
        return status;
    status = count_waiting(sync, &waiting, error);
    *is_empty = status == SATCHEL_OK && (waiting == 0 || SATCHEL_MUTATED(wipe_early));
    if (*is_empty)
        status = delete_rows(sync, error);
    if (status == SATCHEL_OK && *is_empty && SATCHEL_MUTATED(wipe_early))
        status = satchel_replica_execute(sync->replica->db, "DELETE FROM satchel_change", error);
    if (status == SATCHEL_OK && *is_empty)
        status = satchel_replica_execute(sync->replica->db, FORGET, error);
    status = satchel_sync_finish_run(sync, status, error);
    return status == SATCHEL_OK ? satchel_replica_read_identity(sync->replica, error) : status;
}

/* Pages that are free, and the WAL, hold what was there. */
static enum satchel_status scrub(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_replica *replica = sync->replica;
    enum satchel_status status = satchel_replica_execute(replica->db, "VACUUM", error);
    if (status == SATCHEL_OK)
        status = satchel_checkpoint_truncate(replica, error);
    if (status == SATCHEL_BUSY)
        satchel_error_set(error, status,
                          "%s: the workspace's data are removed, but traces of them may be left as "
                          "long as another program has the file open; close it and sync again",
                          replica->path);
    return status;
}

enum satchel_status satchel_wipe_step(struct satchel_sync *sync, struct satchel_error *error)
{
    const struct satchel_apply *apply = sync->apply;
    const struct satchel_message message = {.kind = SATCHEL_MESSAGE_WIPED};
    bool is_empty = false;
    if (!sync->is_drained || sync->is_wiped || sync->is_copy ||
        apply->complete < sync->complete_target || !satchel_recover_is_given(sync))
        return SATCHEL_OK;
    enum satchel_status status = satchel_replica_execute(
        sync->replica->db,
        SATCHEL_MUTATED(wipe_rows_only) ? "PRAGMA secure_delete=OFF" : "PRAGMA secure_delete=ON",
        error);
    if (status == SATCHEL_OK)
        status = remove_all(sync, &is_empty, error);
    if (status == SATCHEL_OK && is_empty && !SATCHEL_MUTATED(wipe_rows_only))
        status = scrub(sync, error);
    if (status != SATCHEL_OK || !is_empty)
        return status;
    status = satchel_session_send(sync->session, &message);
    sync->is_wiped = status == SATCHEL_OK;
    return status == SATCHEL_BUSY ? SATCHEL_OK : status;
}
