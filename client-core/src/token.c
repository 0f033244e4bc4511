/* Owns the change of the device's token inside a sync (docs/operations.md): ROTATE says the next
 * one, which is in the file before; from ROTATED on the file has no other, and the next session
 * shows it. Wherever that is cut, one of the tokens that the file has is good at the server. */
#include "sync.h"

#include <sodium.h>

static const char MAKE_NEXT[] =
    "UPDATE satchel_replica SET next_token = ?1 WHERE next_token IS NULL";
static const char SELECT_NEXT[] = "SELECT next_token FROM satchel_replica";
static const char TAKE_NEXT[] =
    "UPDATE satchel_replica SET token = next_token, next_token = NULL, receipt = ?1,"
    " token_number = ?2 WHERE next_token = ?3";

enum satchel_status satchel_token_next(sqlite3 *db, uint8_t token[SATCHEL_TOKEN_BYTES],
                                       struct satchel_error *error)
{
    sqlite3_stmt *update = NULL, *select = NULL;
    enum satchel_status status = SATCHEL_SQL;
    randombytes_buf(token, SATCHEL_TOKEN_BYTES);
    if (sqlite3_prepare_v2(db, MAKE_NEXT, -1, &update, NULL) != SQLITE_OK ||
        sqlite3_bind_blob(update, 1, token, SATCHEL_TOKEN_BYTES, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(update) != SQLITE_DONE)
        goto cleanup;
    if (sqlite3_prepare_v2(db, SELECT_NEXT, -1, &select, NULL) == SQLITE_OK &&
        sqlite3_step(select) == SQLITE_ROW &&
        sqlite3_column_bytes(select, 0) == SATCHEL_TOKEN_BYTES) {
        memcpy(token, sqlite3_column_blob(select, 0), SATCHEL_TOKEN_BYTES);
        status = SATCHEL_OK;
    }
cleanup:
    if (status != SATCHEL_OK)
        status = satchel_sql_error(error, db, "cannot make another token");
    sqlite3_finalize(update);
    sqlite3_finalize(select);
    return status;
}

enum satchel_status satchel_token_take(sqlite3 *db, const uint8_t token[SATCHEL_TOKEN_BYTES],
                                       const struct satchel_id *receipt, uint64_t token_number,
                                       struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, TAKE_NEXT, -1, &update, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(update, 1, receipt->bytes, sizeof receipt->bytes, SQLITE_STATIC);
        sqlite3_bind_int64(update, 2, (sqlite3_int64)token_number);
        sqlite3_bind_blob(update, 3, token, SATCHEL_TOKEN_BYTES, SQLITE_STATIC);
    }
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_sql_error(error, db, "cannot write satchel_replica");
    sqlite3_finalize(update);
    return status;
}

bool satchel_sync_is_token_old(const struct satchel_sync *sync)
{
    struct satchel_replica *replica = sync->replica;
    return satchel_replica_read_identity(replica, NULL) == SATCHEL_OK &&
           sodium_memcmp(sync->shown_token, replica->token, sizeof sync->shown_token) != 0;
}

/* AGAIN: another sync of the replica has replaced the token since this one showed it. To replace it
 * once more would be to take from that one what the server has told it. */
static enum satchel_status make_next(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    sync->has_rotated = satchel_sync_is_token_old(sync);
    if (sync->has_rotated)
        status =
            satchel_error_set(error, SATCHEL_AGAIN,
                              "another sync of this replica has replaced its token; sync again");
    if (status == SATCHEL_OK)
        status = satchel_token_next(sync->replica->db, sync->next_token, error);
    if (status == SATCHEL_OK)
        return satchel_sync_commit(sync, error);
    satchel_apply_rollback(sync->apply);
    return status;
}

enum satchel_status satchel_sync_send_rotate(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ROTATE};
    if (sync->has_asked_rotate)
        return SATCHEL_OK;
    enum satchel_status status = make_next(sync, error);
    if (status != SATCHEL_OK)
        return status;
    message.rotate.token = satchel_span_of(sync->next_token, sizeof sync->next_token);
    status = satchel_session_send(sync->session, &message);
    if (status == SATCHEL_BUSY) /* in a later step */
        return SATCHEL_OK;
    sync->has_asked_rotate = status == SATCHEL_OK;
    return status == SATCHEL_OK ? status
                                : satchel_error_default(error, status, "cannot say ROTATE: %s",
                                                        satchel_status_text(status));
}

/* The file must not forget a token that the server has seen, or it would have none that is good. */
enum satchel_status satchel_sync_take_rotated(struct satchel_sync *sync,
                                              const struct satchel_message_rotated *rotated,
                                              struct satchel_error *error)
{
    if (!sync->has_asked_rotate)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "the server answers ROTATE, which was not said");
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_token_take(sync->replica->db, sync->next_token, &rotated->receipt,
                                rotated->token_number, error);
    if (status != SATCHEL_OK) {
        satchel_apply_rollback(sync->apply);
        return status;
    }
    status = satchel_sync_commit(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_sync_make_durable(sync, error);
    if (status != SATCHEL_OK)
        return status;
    sync->has_rotated = true;
    return satchel_error_set(error, SATCHEL_AGAIN, "this device has another token now; sync again");
}
