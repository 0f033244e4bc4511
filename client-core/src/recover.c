/* Owns what this device does for a node that was restored, after its log was taken back
 * (recover_rewind.c): lost entries given back, rows in doubt asked for. What is done to rows is
 * apply's. */
#include "recover_internal.h"

#include <satchel/batch.h>

#include <inttypes.h>

enum {
    FORWARD_ITEMS = 1024, /* of a message */
    /* Of one that goes on until what the node wrote by itself. */
    FORWARD_ITEMS_MAX = 4096,
    FORWARD_BYTES_MAX = SATCHEL_CHANGESET_BYTES_MAX,
    ITEM_BYTES = 128, /* of an entry beside its body and names, at most */
    ROWS_ASKED_MAX = 256,
    ROWS_BYTES_MAX = 1 << 20,
    ASKS_MAX = 1000
};

/* What was given and has not come may have been refused, having no place yet, or lost once more. */
#define IS_TO_BE_GIVEN(node) "NOT is_cut AND (given IS NOT " node " OR " SATCHEL_LOST_IS_MISSING ")"
static const char SELECT_STATE[] =
    "SELECT coalesce(min(id), 0), coalesce(max(id), -1), EXISTS(SELECT 1 FROM satchel_doubt),"
    " coalesce(max(user = '" SATCHEL_SERVER_USER "'), 0)"
    " FROM satchel_lost WHERE " IS_TO_BE_GIVEN("?1");
static const char SELECT_LOST[] =
    "SELECT id, node, cursor, seq, device, number, stamp, user, secret, body, notes, positions,"
    " receipt, previous FROM satchel_lost WHERE id > ?1 AND " IS_TO_BE_GIVEN("?2") " ORDER BY id";
/* What is in the log as well needs no second place when the node has its positions. */
static const char DELETE_GIVEN[] =
    "DELETE FROM satchel_lost WHERE id BETWEEN ?2 AND ?3 AND EXISTS(SELECT 1 FROM satchel_receipt r"
    " WHERE r.cursor = satchel_lost.cursor AND r.receipt = satchel_lost.receipt)";
static const char WRITE_GIVEN[] = "UPDATE satchel_lost SET given = ?1 WHERE id BETWEEN ?2 AND ?3";
static const char SELECT_DOUBT[] = "SELECT name FROM satchel_doubt ORDER BY name LIMIT ?1";
static const char DELETE_DOUBT[] = "DELETE FROM satchel_doubt WHERE name = ?1";
static const char DELETE_VIEW[] = "DELETE FROM satchel_view WHERE name = ?1";

enum satchel_status recover_sql_error(struct satchel_sync *sync, struct satchel_error *error)
{
    return satchel_apply_sql_error(sync->apply, "keep what the server has lost", error);
}

enum satchel_status recover_prepare(struct satchel_sync *sync, const char *sql, sqlite3_stmt **out,
                                    struct satchel_error *error)
{
    return sqlite3_prepare_v2(sync->replica->db, sql, -1, out, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : recover_sql_error(sync, error);
}

void recover_bind_span(sqlite3_stmt *statement, int index, struct satchel_span bytes)
{
    sqlite3_bind_blob64(statement, index, bytes.size ? (const void *)bytes.data : "", bytes.size,
                        SQLITE_STATIC);
}

void recover_bind_id(sqlite3_stmt *statement, int index, const struct satchel_id *id)
{
    sqlite3_bind_blob(statement, index, id->bytes, sizeof id->bytes, SQLITE_STATIC);
}

/* ---- what was lost is given back ---- */

static bool has_sent(const struct sync_recovery *recovery)
{
    return recovery->sent_id >= recovery->lost_id_max;
}

enum satchel_status satchel_recover_begin(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    sqlite3_stmt *select = NULL;
    enum satchel_status status = recover_prepare(sync, SELECT_STATE, &select, error);
    if (status != SATCHEL_OK)
        return status;
    recovery->node = sync->apply->node; /* another sync may meet another one meanwhile */
    recover_bind_id(select, 1, &recovery->node);
    if (sqlite3_step(select) == SQLITE_ROW) {
        recovery->lost_id_min = sqlite3_column_int64(select, 0);
        recovery->lost_id_max = sqlite3_column_int64(select, 1);
        recovery->has_doubt = sqlite3_column_int(select, 2) != 0;
        recovery->has_numbers = sqlite3_column_int(select, 3) != 0;
    } else {
        status = recover_sql_error(sync, error);
    }
    sqlite3_finalize(select);
    recovery->sent_id = recovery->lost_id_min - 1;
    recovery->is_over = has_sent(recovery);
    recovery->refused_before = UINT64_MAX;
    return status;
}

static enum satchel_status read_lost(struct satchel_sync *sync, sqlite3_stmt *row,
                                     struct satchel_entry *entry)
{
    struct satchel_arena *arena = &sync->push_arena;
    struct satchel_span secret, body;
    memset(entry, 0, sizeof *entry);
    entry->cursor = (uint64_t)sqlite3_column_int64(row, 2);
    entry->seq = (uint64_t)sqlite3_column_int64(row, 3);
    satchel_column_id(row, 4, &entry->device);
    entry->number = (uint64_t)sqlite3_column_int64(row, 5);
    entry->stamp = (satchel_stamp)sqlite3_column_int64(row, 6);
    entry->user = satchel_arena_copy(arena, satchel_column_span(row, 7));
    secret = satchel_arena_copy(arena, satchel_column_span(row, 8));
    enum satchel_status status =
        satchel_body_load(satchel_column_span(row, 9), &sync->push_scratch, &body);
    if (status != SATCHEL_OK)
        return status;
    entry->body = satchel_arena_copy(arena, body);
    entry->notes = satchel_arena_copy(arena, satchel_column_span(row, 10));
    entry->positions = satchel_arena_copy(arena, satchel_column_span(row, 11));
    satchel_column_id(row, 12, &entry->receipt);
    entry->previous = (uint64_t)sqlite3_column_int64(row, 13);
    entry->secret = secret.data;
    if (!entry->user.data || !secret.data || !entry->body.data || !entry->notes.data ||
        !entry->positions.data)
        return SATCHEL_NOMEM;
    return secret.size == SATCHEL_SECRET_BYTES ? SATCHEL_OK : SATCHEL_CORRUPT;
}

/* A node numbers the documents of a message when it has merged it, those that come with their
 * numbers have them by then. Numbers are a change set of the node itself behind those of the
 * documents: where there are any, a message ends behind such a one. */
struct collection {
    size_t bytes;
    bool is_full;
    uint32_t whole_count; /* up to the last that the node wrote by itself; 0: none */
    int64_t whole_id;     /* of that */
};

static bool has_room(const struct sync_recovery *recovery, const struct collection *collection,
                     uint32_t count, size_t item_bytes, bool is_nodes)
{
    bool is_whole = collection->whole_count > 0 && !(is_nodes && collection->whole_count == count);
    bool may_go_on = recovery->has_numbers && !is_whole;
    size_t bytes_max = may_go_on ? FORWARD_BYTES_MAX : SATCHEL_BATCH_BYTES;
    return count < (may_go_on ? FORWARD_ITEMS_MAX : SATCHEL_BATCH_ITEMS(FORWARD_ITEMS)) &&
           (count == 0 || collection->bytes + item_bytes <= bytes_max);
}

/* One message: entries of one incarnation, in its order. */
static enum satchel_status collect_lost(struct satchel_sync *sync, sqlite3_stmt *select,
                                        struct satchel_message_forward *forward, int64_t *last_id,
                                        struct satchel_error *error)
{
    struct collection collection = {0};
    int code = SQLITE_DONE;
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        struct satchel_entry *entry = &forward->entries[forward->entry_count];
        struct satchel_id node;
        satchel_column_id(select, 1, &node);
        if (forward->entry_count > 0 &&
            (!satchel_id_equal(&node, &forward->node) ||
             (uint64_t)sqlite3_column_int64(select, 2) <= entry[-1].cursor))
            break;
        enum satchel_status status = read_lost(sync, select, entry);
        if (status == SATCHEL_NOMEM)
            return status;
        if (status != SATCHEL_OK)
            return satchel_error_set(error, SATCHEL_CORRUPT,
                                     "satchel_lost cannot be read; run PRAGMA integrity_check on "
                                     "the replica");
        size_t item_bytes = ITEM_BYTES + entry->user.size + entry->body.size + entry->notes.size +
                            entry->positions.size;
        bool is_nodes = satchel_span_equal(entry->user, satchel_span_text(SATCHEL_SERVER_USER));
        collection.is_full =
            !has_room(&sync->recovery, &collection, forward->entry_count, item_bytes, is_nodes);
        if (collection.is_full)
            break;
        forward->node = node;
        forward->entry_count++;
        collection.bytes += item_bytes;
        *last_id = sqlite3_column_int64(select, 0);
        if (is_nodes) {
            collection.whole_count = forward->entry_count;
            collection.whole_id = *last_id;
        }
    }
    if (collection.is_full && collection.whole_count > 0) {
        forward->entry_count = collection.whole_count;
        *last_id = collection.whole_id;
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : recover_sql_error(sync, error);
}

static enum satchel_status forward_batch(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_FORWARD};
    struct satchel_message_forward *forward = &message.forward;
    sqlite3_stmt *select = NULL;
    int64_t last_id = recovery->lost_id_max; /* none left: all were heard meanwhile */
    satchel_arena_reset(&sync->push_arena);
    forward->entries =
        SATCHEL_ARENA_ARRAY(&sync->push_arena, struct satchel_entry,
                            (recovery->has_numbers ? FORWARD_ITEMS_MAX : FORWARD_ITEMS) + 1);
    if (!forward->entries)
        return SATCHEL_NOMEM;
    enum satchel_status status = recover_prepare(sync, SELECT_LOST, &select, error);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_int64(select, 1, recovery->sent_id);
    recover_bind_id(select, 2, &recovery->node);
    status = collect_lost(sync, select, forward, &last_id, error);
    sqlite3_finalize(select);
    if (status == SATCHEL_OK && forward->entry_count > 0)
        status = satchel_session_send(sync->session, &message);
    if (status != SATCHEL_OK)
        return status;
    recovery->sent_id = last_id;
    recovery->sent_count += forward->entry_count;
    satchel_sync_push_forwarded(sync, forward);
    return SATCHEL_OK;
}

bool satchel_recover_is_given(const struct satchel_sync *sync)
{
    return sync->recovery.is_over;
}

bool satchel_recover_is_done(const struct satchel_sync *sync)
{
    return sync->recovery.is_over && !sync->recovery.has_doubt;
}

static enum satchel_status run_given(struct satchel_sync *sync, const char *sql,
                                     struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum satchel_status status = recover_prepare(sync, sql, &statement, error);
    if (status != SATCHEL_OK)
        return status;
    recover_bind_id(statement, 1, &sync->recovery.node);
    sqlite3_bind_int64(statement, 2, sync->recovery.lost_id_min);
    sqlite3_bind_int64(statement, 3, sync->recovery.lost_id_max);
    if (sqlite3_step(statement) != SQLITE_DONE)
        status = recover_sql_error(sync, error);
    sqlite3_finalize(statement);
    return status;
}

static enum satchel_status write_given(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status == SATCHEL_BUSY) /* then they are given once more */
        return SATCHEL_OK;
    if (status != SATCHEL_OK)
        return status;
    status = run_given(sync, DELETE_GIVEN, error);
    if (status == SATCHEL_OK)
        status = run_given(sync, WRITE_GIVEN, error);
    if (status == SATCHEL_OK)
        return satchel_sync_commit(sync, error);
    satchel_apply_rollback(sync->apply);
    return status;
}

/* What the node could not take may have its place behind what others give meanwhile: as long as a
 * round brings the node more, there is another. */
enum satchel_status satchel_recover_take_forwarded(
    struct satchel_sync *sync, const struct satchel_message_forwarded *forwarded,
    struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    recovery->confirmed_count += forwarded->entry_count;
    recovery->refused_count += forwarded->refused_count;
    if (recovery->is_over || !has_sent(recovery) ||
        recovery->confirmed_count < recovery->sent_count)
        return SATCHEL_OK;
    if (recovery->refused_count > 0 && recovery->refused_count < recovery->refused_before) {
        recovery->refused_before = recovery->refused_count;
        recovery->sent_id = recovery->lost_id_min - 1;
        recovery->sent_count = recovery->confirmed_count = recovery->refused_count = 0;
        return SATCHEL_OK;
    }
    recovery->is_over = true;
    return write_given(sync, error);
}

/* ---- the rows in doubt ---- */

static enum satchel_status collect_doubt(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    sqlite3_stmt *select = NULL;
    size_t bytes = 0;
    int code = SQLITE_DONE;
    satchel_arena_reset(&recovery->arena);
    recovery->asked_count = 0;
    recovery->asked =
        SATCHEL_ARENA_ARRAY(&recovery->arena, struct satchel_row_request, ROWS_ASKED_MAX);
    if (!recovery->asked)
        return SATCHEL_NOMEM;
    enum satchel_status status = recover_prepare(sync, SELECT_DOUBT, &select, error);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_int64(select, 1, SATCHEL_BATCH_ITEMS(ROWS_ASKED_MAX));
    while (bytes < ROWS_BYTES_MAX && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct satchel_span name =
            satchel_arena_copy(&recovery->arena, satchel_column_span(select, 0));
        if (!name.data) {
            status = SATCHEL_NOMEM;
            break;
        }
        bytes += name.size;
        recovery->asked[recovery->asked_count++].name = name;
    }
    if (status == SATCHEL_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        status = recover_sql_error(sync, error);
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status ask_rows(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ROWS_REQUEST};
    enum satchel_status status = collect_doubt(sync, error);
    if (status != SATCHEL_OK)
        return status;
    recovery->has_doubt = recovery->asked_count > 0;
    if (!recovery->has_doubt)
        return SATCHEL_OK;
    if (++recovery->ask_count > ASKS_MAX)
        return satchel_error_set(error, SATCHEL_BUSY,
                                 "the server changes faster than this replica can compare what "
                                 "was lost; sync again when it is quieter");
    message.rows_request.rows = recovery->asked;
    message.rows_request.row_count = recovery->asked_count;
    status = satchel_session_send(sync->session, &message);
    recovery->is_asking = status == SATCHEL_OK;
    return status == SATCHEL_BUSY ? SATCHEL_OK : status;
}

enum satchel_status satchel_recover_step(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && !recovery->is_over && !has_sent(recovery) &&
           satchel_session_output_bytes(sync->session) < SATCHEL_BATCH_BYTES)
        status = forward_batch(sync, error);
    /* All were heard meanwhile, or by another sync. */
    if (status == SATCHEL_OK && has_sent(recovery) && recovery->sent_count == 0)
        recovery->is_over = true;
    if (sync->is_drained) /* nobody looks at the rows any more */
        recovery->has_doubt = false;
    if (status == SATCHEL_OK && recovery->is_over && recovery->has_doubt && !recovery->is_asking &&
        !recovery->has_rows)
        status = ask_rows(sync, error);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status,
                                       "what the server has lost cannot be given back: %s",
                                       satchel_status_text(status));
}

enum satchel_status satchel_recover_take_rows(struct satchel_sync *sync,
                                              const struct satchel_message_rows *rows,
                                              struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    if (!recovery->is_asking)
        return SATCHEL_OK;
    if (rows->row_count == 0 || rows->row_count > recovery->asked_count)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "the server answers %" PRIu64 " rows of %" PRIu32 " asked for",
                                 rows->row_count, recovery->asked_count);
    satchel_buffer_clear(&recovery->rows);
    enum satchel_status status =
        satchel_buffer_append(&recovery->rows, rows->notes.data, rows->notes.size);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory for the rows of the server");
    recovery->is_asking = false;
    recovery->has_rows = true;
    recovery->rows_cursor = rows->cursor;
    recovery->row_count = (uint32_t)rows->row_count;
    /* What was given back is among the entries up to there. */
    if (sync->head_target < rows->cursor)
        sync->head_target = rows->cursor;
    return satchel_recover_apply_rows(sync, error);
}

/* For each of the rows that were asked for. */
static enum satchel_status settle_by(struct satchel_sync *sync, const char *sql,
                                     struct satchel_error *error)
{
    const struct sync_recovery *recovery = &sync->recovery;
    sqlite3_stmt *delete = NULL;
    enum satchel_status status = recover_prepare(sync, sql, &delete, error);
    for (uint32_t i = 0; i < recovery->row_count && status == SATCHEL_OK; i++) {
        recover_bind_span(delete, 1, recovery->asked[i].name);
        if (sqlite3_step(delete) != SQLITE_DONE)
            status = recover_sql_error(sync, error);
        sqlite3_reset(delete);
    }
    sqlite3_finalize(delete);
    return status;
}

/* The views stay while something is missing: the node may not have been able to take it. */
static enum satchel_status settle_doubt(struct satchel_sync *sync, struct satchel_error *error)
{
    bool is_missing = false;
    enum satchel_status status = settle_by(sync, DELETE_DOUBT, error);
    if (status == SATCHEL_OK)
        status = satchel_doubt_any_missing(sync->apply, &is_missing, error);
    if (status == SATCHEL_OK && !is_missing)
        status = settle_by(sync, DELETE_VIEW, error);
    return status == SATCHEL_OK ? satchel_doubt_forget(sync->apply, error) : status;
}

enum satchel_status satchel_recover_apply_rows(struct satchel_sync *sync,
                                               struct satchel_error *error)
{
    struct sync_recovery *recovery = &sync->recovery;
    if (!recovery->has_rows || sync->apply->cursor < recovery->rows_cursor)
        return SATCHEL_OK;
    recovery->has_rows = false;
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    /* Beyond it the answer is old: asked again. So it is where this replica has heard of a later
     * scope, which has evicted rows that this would bring back. */
    if (sync->apply->cursor == recovery->rows_cursor &&
        sync->apply->moved_head <= recovery->rows_cursor) {
        recovery->ask_count = 0;
        status = satchel_apply_rows(sync->apply, satchel_buffer_span(&recovery->rows), error);
        if (status == SATCHEL_OK)
            status = settle_doubt(sync, error);
    }
    if (status == SATCHEL_OK)
        return satchel_sync_commit(sync, error);
    satchel_apply_rollback(sync->apply);
    return status;
}

void satchel_recover_end(struct satchel_sync *sync)
{
    satchel_arena_deinit(&sync->recovery.arena);
    satchel_buffer_deinit(&sync->recovery.rows);
}
