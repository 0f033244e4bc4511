/* Owns what a replica does that is a copy: a file put back from an old one, or a second phone's,
 * with the device id and the numbers of another file (docs/recovery.md).
 *
 * Own change sets come back in the order of their numbers, and each is compared with the one that
 * is pending here under its number. Up to the first that differs the two files are one device. From
 * there on this one goes on as a device of its own, whose id follows from what differs: whoever
 * finds the same divergence gets the same id and token, however often it asks and whichever file it
 * is. The secret stays, and with it the hash of what is pending: a node may hold it already. */
#include "sync.h"

#include <inttypes.h>
#include <satchel/mutation.h>
#include <sodium.h>

static const char WRITE_DEVICE[] =
    "UPDATE satchel_replica SET device = ?1, token = ?2, receipt = ?3,"
    " acked_number = last_number, next_token = NULL, token_number = ?4";
static const char ADD_ANCESTOR[] =
    "INSERT INTO satchel_ancestor(device, last_number) VALUES(?1, ?2)";

/* ---- the comparison ---- */

/* Of the own change set that is pending under the number. `hash` NULL: the secret alone. */
static enum satchel_status read_own(struct satchel_apply *apply, uint64_t number,
                                    uint8_t secret[SATCHEL_SECRET_BYTES], uint8_t *hash)
{
    sqlite3_stmt *select = apply->statements[APPLY_TAKE_BODY];
    struct satchel_span body;
    enum satchel_status status = SATCHEL_SQL;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
    if (sqlite3_step(select) == SQLITE_ROW) {
        const struct satchel_moment moment = {sqlite3_column_int64(select, 1),
                                              sqlite3_column_int64(select, 2),
                                              (uint64_t)sqlite3_column_int64(select, 3)};
        satchel_changeset_secret(apply->replica->secret, number, &moment, secret);
        status = hash ? satchel_body_load(satchel_column_span(select, 0), &apply->scratch, &body)
                      : SATCHEL_OK;
        if (status == SATCHEL_OK && hash)
            status = satchel_changeset_hash(body, secret, hash);
    }
    sqlite3_reset(select);
    return status;
}

/* `*found` false: no node has lost it. */
static enum satchel_status read_lost(struct satchel_apply *apply, uint64_t number, bool *found,
                                     uint8_t secret[SATCHEL_SECRET_BYTES],
                                     uint8_t hash[SATCHEL_HASH_BYTES])
{
    sqlite3_stmt *select = apply->statements[APPLY_LOST_OWN];
    struct satchel_span body, kept;
    enum satchel_status status = SATCHEL_OK;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
    int code = sqlite3_step(select);
    *found = code == SQLITE_ROW;
    if (*found) {
        kept = satchel_column_span(select, 1);
        status = kept.size == SATCHEL_SECRET_BYTES
                     ? satchel_body_load(satchel_column_span(select, 0), &apply->scratch, &body)
                     : SATCHEL_CORRUPT;
        if (status == SATCHEL_OK) {
            memcpy(secret, kept.data, SATCHEL_SECRET_BYTES);
            status = satchel_changeset_hash(body, secret, hash);
        }
    } else if (code != SQLITE_DONE) {
        status = SATCHEL_SQL;
    }
    sqlite3_reset(select);
    return status;
}

static enum satchel_status diverge(struct satchel_apply *apply, uint64_t number,
                                   const uint8_t own[SATCHEL_HASH_BYTES], bool is_lost,
                                   struct satchel_error *error)
{
    apply->diverged_number = number;
    apply->has_diverged_lost = is_lost;
    memcpy(apply->diverged_hash, own, sizeof apply->diverged_hash);
    return satchel_error_set(error, SATCHEL_AGAIN,
                             "this replica is a copy: the server holds another change set %" PRIu64
                             " of its device; sync again",
                             number);
}

/* `status`: of the own one's secret and hash. What was cut has no hash here, but no other change
 * set has its secret. */
static enum satchel_status is_the_same(const struct satchel_entry *entry,
                                       enum satchel_status status,
                                       const uint8_t secret[SATCHEL_SECRET_BYTES],
                                       const uint8_t own[SATCHEL_HASH_BYTES], bool *out,
                                       struct satchel_error *error)
{
    uint8_t held[SATCHEL_HASH_BYTES], mark[SATCHEL_SECRET_BYTES];
    if (status == SATCHEL_OK && !entry->is_cut)
        status = satchel_changeset_hash(entry->body, entry->secret, held);
    else if (status == SATCHEL_OK)
        satchel_entry_cut_secret(secret, mark);
    *out = status == SATCHEL_OK && (entry->is_cut ? memcmp(mark, entry->secret, sizeof mark) == 0
                                                  : memcmp(own, held, sizeof held) == 0);
    return status == SATCHEL_OK ? SATCHEL_OK
                                : satchel_error_set(error, status,
                                                    "change set %" PRIu64
                                                    " cannot be compared with the server's: %s",
                                                    entry->number, satchel_status_text(status));
}

static enum satchel_status compare(struct satchel_apply *apply, const struct satchel_entry *entry,
                                   bool is_lost, enum satchel_status status,
                                   const uint8_t secret[SATCHEL_SECRET_BYTES],
                                   const uint8_t own[SATCHEL_HASH_BYTES],
                                   struct satchel_error *error)
{
    bool is_same = false;
    status = is_the_same(entry, status, secret, own, &is_same, error);
    return status != SATCHEL_OK || is_same || SATCHEL_MUTATED(copy_as_same)
               ? status
               : diverge(apply, entry->number, own, is_lost, error);
}

enum satchel_status satchel_copy_compare(struct satchel_apply *apply,
                                         const struct satchel_entry *entry,
                                         struct satchel_error *error)
{
    uint8_t secret[SATCHEL_SECRET_BYTES], own[SATCHEL_HASH_BYTES];
    enum satchel_status status = read_own(apply, entry->number, secret, own);
    return compare(apply, entry, false, status, secret, own, error);
}

enum satchel_status satchel_copy_compare_lost(struct satchel_apply *apply,
                                              const struct satchel_entry *entry,
                                              struct satchel_error *error)
{
    uint8_t secret[SATCHEL_SECRET_BYTES], own[SATCHEL_HASH_BYTES];
    bool found = false;
    enum satchel_status status = read_lost(apply, entry->number, &found, secret, own);
    if (status == SATCHEL_OK && !found)
        return SATCHEL_OK;
    return compare(apply, entry, true, status, secret, own, error);
}

enum satchel_status satchel_copy_meet(struct satchel_apply *apply,
                                      const struct satchel_entry *entry, bool *is_own,
                                      struct satchel_error *error)
{
    uint8_t secret[SATCHEL_SECRET_BYTES], mark[SATCHEL_SECRET_BYTES], own[SATCHEL_HASH_BYTES];
    *is_own = false;
    enum satchel_status status = read_own(apply, entry->number, secret, NULL);
    if (status == SATCHEL_OK)
        satchel_entry_cut_secret(secret, mark);
    if (status == SATCHEL_OK &&
        memcmp(entry->is_cut ? mark : secret, entry->secret, sizeof secret) != 0)
        return SATCHEL_OK;
    if (status == SATCHEL_OK)
        status = read_own(apply, entry->number, secret, own);
    status = is_the_same(entry, status, secret, own, is_own, error);
    if (status != SATCHEL_OK || !*is_own)
        return status;
    struct satchel_id copy = satchel_copy_id(&apply->replica->device, entry->number - 1, own);
    return satchel_id_equal(&copy, &entry->device)
               ? diverge(apply, entry->number, own, false, error)
               : SATCHEL_OK;
}

enum satchel_status satchel_copy_secret(struct satchel_apply *apply, uint64_t number,
                                        uint8_t secret[SATCHEL_SECRET_BYTES])
{
    return read_own(apply, number, secret, NULL);
}

/* ---- COPY ---- */

/* All that the two files share is answered, or was: true of the replica as it is in the
 * transaction. */
static bool is_at_divergence(struct satchel_apply *apply)
{
    uint8_t secret[SATCHEL_SECRET_BYTES], own[SATCHEL_HASH_BYTES];
    bool found = false;
    if (apply->has_diverged_lost)
        return read_lost(apply, apply->diverged_number, &found, secret, own) == SATCHEL_OK &&
               found && memcmp(own, apply->diverged_hash, sizeof own) == 0;
    return apply->pending.first && apply->pending.first->number == apply->diverged_number &&
           apply->last_number == apply->diverged_number - 1;
}

static enum satchel_status not_there(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_BUSY,
                             "the replica was written to by another sync meanwhile; sync again "
                             "(nothing is lost)");
}

static struct satchel_id copy_id(const struct satchel_sync *sync)
{
    const struct satchel_apply *apply = sync->apply;
    return satchel_copy_id(&sync->replica->device, apply->diverged_number - 1,
                           apply->diverged_hash);
}

enum satchel_status satchel_sync_copy_found(struct satchel_sync *sync, struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin(sync, false, error);
    if (status != SATCHEL_OK)
        return status;
    sync->is_copy = is_at_divergence(sync->apply);
    satchel_apply_release(sync->apply);
    return sync->is_copy ? SATCHEL_OK : not_there(error);
}

enum satchel_status satchel_sync_send_copy(struct satchel_sync *sync, struct satchel_error *error)
{
    const struct satchel_apply *apply = sync->apply;
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_COPY};
    uint8_t token[SATCHEL_TOKEN_BYTES];
    if (sync->has_asked_copy)
        return SATCHEL_OK;
    struct satchel_id id = copy_id(sync);
    satchel_copy_token(sync->replica->secret, &id, token);
    message.copy.number = apply->diverged_number;
    message.copy.hash = satchel_span_of(apply->diverged_hash, sizeof apply->diverged_hash);
    message.copy.token = satchel_span_of(token, sizeof token);
    enum satchel_status status = satchel_session_send(sync->session, &message);
    sodium_memzero(token, sizeof token);
    if (status == SATCHEL_BUSY) /* in a later step */
        return SATCHEL_OK;
    sync->has_asked_copy = status == SATCHEL_OK;
    return status == SATCHEL_OK ? status
                                : satchel_error_default(error, status, "cannot say COPY: %s",
                                                        satchel_status_text(status));
}

/* ---- COPIED ---- */

static enum satchel_status write_device(struct satchel_sync *sync,
                                        const struct satchel_message_copied *copied,
                                        struct satchel_error *error)
{
    const struct satchel_replica *replica = sync->replica;
    uint8_t token[SATCHEL_TOKEN_BYTES];
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    satchel_copy_token(replica->secret, &copied->device, token);
    if (sqlite3_prepare_v2(replica->db, WRITE_DEVICE, -1, &update, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(update, 1, copied->device.bytes, sizeof copied->device.bytes,
                          SQLITE_STATIC);
        sqlite3_bind_blob(update, 2, token, sizeof token, SQLITE_STATIC);
        sqlite3_bind_blob(update, 3, copied->receipt.bytes, sizeof copied->receipt.bytes,
                          SQLITE_STATIC);
        sqlite3_bind_int64(update, 4, (sqlite3_int64)copied->token_number);
    }
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    sodium_memzero(token, sizeof token);
    return status;
}

static enum satchel_status add_ancestor(struct satchel_sync *sync, struct satchel_error *error)
{
    const struct satchel_replica *replica = sync->replica;
    sqlite3_stmt *insert = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(replica->db, ADD_ANCESTOR, -1, &insert, NULL) == SQLITE_OK) {
        sqlite3_bind_blob(insert, 1, replica->device.bytes, sizeof replica->device.bytes,
                          SQLITE_STATIC);
        sqlite3_bind_int64(insert, 2, (sqlite3_int64)sync->apply->diverged_number - 1);
    }
    if (sqlite3_step(insert) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_ancestor", error);
    sqlite3_finalize(insert);
    return status;
}

enum satchel_status satchel_sync_take_copied(struct satchel_sync *sync,
                                             const struct satchel_message_copied *copied,
                                             struct satchel_error *error)
{
    struct satchel_id id = copy_id(sync);
    char text[SATCHEL_ID_TEXT_BYTES];
    if (!sync->has_asked_copy || !satchel_id_equal(&id, &copied->device))
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "the server names another device than this copy's");
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    status = is_at_divergence(sync->apply) ? SATCHEL_OK : not_there(error);
    if (status == SATCHEL_OK)
        status = add_ancestor(sync, error);
    if (status == SATCHEL_OK)
        status = write_device(sync, copied, error);
    if (status != SATCHEL_OK) {
        satchel_apply_rollback(sync->apply);
        return status;
    }
    status = satchel_sync_commit(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_read_identity(sync->replica, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_id_text(&id, text);
    satchel_error_set(error, SATCHEL_AGAIN,
                      "this replica is a copy of one that goes on elsewhere: it is device %s now",
                      text);
    if (error && sync->options.notice)
        sync->options.notice(sync->options.context, error->message);
    return SATCHEL_AGAIN;
}
