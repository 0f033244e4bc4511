/* Owns the upload: which local change sets go next, with which stamp, and what is acknowledged.
 * Knows nothing of entries. */
#include "sync.h"

#include <satchel/batch.h>
#include <satchel/log_reader.h>
#include <satchel/mutation.h>

#include <inttypes.h>

enum {
    UNACKED_BYTES_MAX = 4 << 20,
    ITEMS_MAX = 4096, /* per PUSH */
    ITEM_BYTES = 64   /* of an item beside its body, at most */
};

static const char SELECT_LAST[] =
    "SELECT max(last_number, coalesce((SELECT max(number) FROM satchel_change), 0)),"
    " (SELECT min(number) FROM satchel_change), device FROM satchel_replica";
/* Nothing, once another sync has found the replica to be a copy: they are another device's. */
static const char SELECT_UNSENT[] =
    "SELECT number, utc_ms, monotonic_ms, boot, floor, body FROM satchel_change WHERE number > ?1"
    " AND (SELECT device FROM satchel_replica) = ?2 ORDER BY number";
static const char SELECT_LOST[] =
    "SELECT min(number) FROM satchel_lost WHERE is_own AND number >= ?1";
static const char SELECT_ELSEWHERE[] = "SELECT device FROM satchel_elsewhere WHERE number = ?1";
static const char WRITE_ACK[] = "UPDATE satchel_replica SET acked_number = max(acked_number, ?1),"
                                " last_stamp = max(last_stamp, ?2)";

static enum satchel_status prepare(struct satchel_sync *sync, struct satchel_error *error)
{
    static const char *const SQL[] = {SELECT_LAST, SELECT_UNSENT, WRITE_ACK};
    sqlite3_stmt **const statements[] = {&sync->select_last, &sync->select_unsent,
                                         &sync->write_ack};
    for (size_t i = 0; i < sizeof SQL / sizeof SQL[0]; i++)
        if (!*statements[i] &&
            sqlite3_prepare_v3(sync->replica->db, SQL[i], -1, SQLITE_PREPARE_PERSISTENT,
                               statements[i], NULL) != SQLITE_OK)
            return satchel_apply_sql_error(sync->apply, "prepare to send change sets", error);
    return SATCHEL_OK;
}

static void bind_device(struct satchel_sync *sync)
{
    const struct satchel_id *device = &sync->replica->device;
    sqlite3_bind_blob(sync->select_unsent, 2, device->bytes, sizeof device->bytes, SQLITE_STATIC);
}

/* ---- stamps ---- */

/* The stamp of the change set the statement stands on, corrected by what the handshakes before and
 * after it say of the clock; above what its author had seen and above the change set before it. */
static satchel_stamp correct_stamp(struct satchel_sync *sync, sqlite3_stmt *row)
{
    satchel_stamp floor = (satchel_stamp)sqlite3_column_int64(row, 4);
    int64_t true_ms = satchel_clock_correct_between(
        &sync->before, &sync->after, satchel_stamp_ms(floor), sqlite3_column_int64(row, 1),
        sqlite3_column_int64(row, 2), (uint64_t)sqlite3_column_int64(row, 3));
    if (SATCHEL_MUTATED(raw_stamp))
        true_ms = sqlite3_column_int64(row, 1);
    satchel_stamp last = sync->sent_stamp > floor ? sync->sent_stamp : floor;
    return satchel_stamp_next(last, true_ms);
}

/* The item of a change set in stored form; its bytes live in the push arena. The secret is the
 * caller's to fill in. */
static enum satchel_status make_item(struct satchel_sync *sync, uint64_t number,
                                     struct satchel_span stored, struct satchel_push_item *item,
                                     uint8_t **secret_out, struct satchel_error *error)
{
    struct satchel_span body;
    enum satchel_status status = satchel_body_load(stored, &sync->push_scratch, &body);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status,
                                 "change set %" PRIu64 " of this replica cannot be read (%s); run "
                                 "PRAGMA integrity_check on it",
                                 number, satchel_status_text(status));
    uint8_t *secret = satchel_arena_alloc(&sync->push_arena, SATCHEL_SECRET_BYTES);
    item->number = number;
    item->body = satchel_arena_copy(&sync->push_arena, body);
    item->secret = secret;
    if (!item->body.data || !secret)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to send change sets");
    *secret_out = secret;
    return SATCHEL_OK;
}

/* The first own change set from `number` on that a node has lost; 0: none. */
static enum satchel_status find_lost(struct satchel_sync *sync, uint64_t number, uint64_t *lost,
                                     struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_ERROR;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_LOST, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
        code = sqlite3_step(select);
    }
    *lost = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(select, 0) : 0;
    enum satchel_status status =
        code == SQLITE_ROW ? SATCHEL_OK
                           : satchel_apply_sql_error(sync->apply, "read satchel_lost", error);
    sqlite3_finalize(select);
    return status;
}

enum satchel_status satchel_sync_push_begin(struct satchel_sync *sync, uint64_t held_number,
                                            struct satchel_error *error)
{
    uint64_t lost = 0;
    enum satchel_status status = prepare(sync, error);
    if (status == SATCHEL_OK)
        status = find_lost(sync, 0, &lost, error);
    if (status != SATCHEL_OK)
        return status;
    sync->compares_lost = lost > 0 && lost <= held_number;
    sync->held_number = sync->sent_number = sync->acked_number = held_number;
    sync->sent_stamp = sync->apply->last_stamp;
    sync->batch_count = 0;
    sync->unacked_bytes = 0;
    /* What the node took but has not answered yet got its stamps from the same clocks. */
    sqlite3_stmt *select = sync->select_unsent;
    int code;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)sync->apply->last_number);
    bind_device(sync);
    while ((code = sqlite3_step(select)) == SQLITE_ROW &&
           (uint64_t)sqlite3_column_int64(select, 0) <= held_number)
        sync->sent_stamp = correct_stamp(sync, select);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "read satchel_change", error);
    sqlite3_reset(select);
    return status;
}

/* ---- sending ---- */

/* What is sent must survive a power cut here, or the device would later give its number to another
 * change set: the application may commit with synchronous=NORMAL, so the WAL is synced before. */
enum satchel_status satchel_sync_make_durable(struct satchel_sync *sync,
                                              struct satchel_error *error)
{
    sqlite3_file *wal = NULL;
    int code = sqlite3_file_control(sync->replica->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (code != SQLITE_OK || !wal || !wal->pMethods || SATCHEL_MUTATED(no_device_sync))
        return SATCHEL_OK; /* no WAL: the journal of a rollback database is gone at the commit */
    code = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    if (code == SQLITE_OK)
        return SATCHEL_OK;
    if (error)
        error->native_code = code;
    return satchel_error_set(error, SATCHEL_IO, "cannot sync the replica's WAL to disk: %s",
                             sqlite3_errstr(code));
}

/* Where another sync has heard of a restore since this one began, what this one took for the
 * node's is not: a new session says how it stands. BUSY: what was given back in an earlier session
 * is still to be heard. */
static enum satchel_status is_missing(struct satchel_sync *sync, uint64_t number, bool is_in_log,
                                      struct satchel_error *error)
{
    uint64_t lost = 0;
    enum satchel_status status = is_in_log ? SATCHEL_OK : find_lost(sync, number, &lost, error);
    if (status != SATCHEL_OK)
        return status;
    if (lost == number && sync->apply->cursor < sync->head_target)
        return SATCHEL_BUSY;
    return is_in_log || lost == number || number <= sync->apply->last_number
               ? satchel_error_set(error, SATCHEL_AGAIN,
                                   "another sync of this replica has given back what the server "
                                   "had lost; sync again")
               : satchel_error_set(error, SATCHEL_CORRUPT,
                                   "satchel_change lacks change set %" PRIu64
                                   "; the replica was tampered with",
                                   number);
}

/* The device as whose the own change set is in the log; zero: no other one's. */
static enum satchel_status find_elsewhere(struct satchel_sync *sync, uint64_t number,
                                          struct satchel_id *device, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_ERROR;
    memset(device, 0, sizeof *device);
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_ELSEWHERE, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
        code = sqlite3_step(select);
    }
    if (code == SQLITE_ROW)
        satchel_column_id(select, 0, device);
    enum satchel_status status =
        code == SQLITE_ROW || code == SQLITE_DONE
            ? SATCHEL_OK
            : satchel_apply_sql_error(sync->apply, "read satchel_elsewhere", error);
    sqlite3_finalize(select);
    return status;
}

/* In the log as this device's since the session began, or as another one's. */
static enum satchel_status read_answered(struct satchel_sync *sync,
                                         struct satchel_log_reader *reader, uint64_t number,
                                         struct satchel_log_entry *entry, bool *is_in_log,
                                         bool *found, struct satchel_error *error)
{
    struct satchel_id other;
    enum satchel_status status =
        satchel_log_read_change(reader, &sync->replica->device, number, is_in_log, entry, error);
    *found = *is_in_log && entry->entry.cursor > sync->hello_cursor;
    if (status != SATCHEL_OK || *is_in_log)
        return status;
    status = find_elsewhere(sync, number, &other, error);
    if (status == SATCHEL_OK && !satchel_id_is_zero(&other))
        status = satchel_log_read_change(reader, &other, number, found, entry, error);
    return status;
}

/* A change set that was answered although the node does not count it: it was sent by another sync
 * of this replica (or of another file with its id) since this one began, or it is another device's
 * here, and the node goes by it to see where this one goes on. The session's numbers must follow
 * each other. */
static enum satchel_status make_answered(struct satchel_sync *sync, uint64_t number,
                                         struct satchel_push_item *item,
                                         struct satchel_error *error)
{
    struct satchel_log_reader *reader;
    struct satchel_log_entry entry;
    uint8_t *secret = NULL;
    bool is_in_log = false, found = false;
    enum satchel_status status = satchel_log_reader_new(&reader, sync->replica->db);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory to read the log");
    status = read_answered(sync, reader, number, &entry, &is_in_log, &found, error);
    if (status == SATCHEL_OK && found && entry.entry.secret) {
        item->stamp = entry.entry.stamp;
        status = make_item(sync, number, entry.entry.body, item, &secret, error);
        if (status == SATCHEL_OK)
            memcpy(secret, entry.entry.secret, SATCHEL_SECRET_BYTES);
    } else if (status == SATCHEL_OK) {
        status = is_missing(sync, number, is_in_log, error);
    }
    satchel_log_reader_free(reader);
    return status;
}

static void add(struct satchel_sync *sync, struct satchel_message_push *push,
                struct sync_batch *batch)
{
    const struct satchel_push_item *item = &push->items[push->item_count++];
    batch->bytes += item->body.size + ITEM_BYTES;
    batch->last_number = item->number;
    batch->last_stamp = item->stamp;
    if (item->stamp > sync->sent_stamp)
        sync->sent_stamp = item->stamp;
}

static bool is_full(const struct satchel_message_push *push, const struct sync_batch *batch)
{
    return push->item_count == SATCHEL_BATCH_ITEMS(ITEMS_MAX) ||
           batch->bytes >= SATCHEL_BATCH_BYTES;
}

/* Fills a PUSH with what follows sent_number. A change set joins a batch that is not empty only if
 * it fits; alone it may be of any size. */
static enum satchel_status collect(struct satchel_sync *sync, struct satchel_message_push *push,
                                   struct sync_batch *batch, struct satchel_error *error)
{
    sqlite3_stmt *select = sync->select_unsent;
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_ROW;
    uint64_t next = sync->sent_number + 1;
    satchel_stamp sent_stamp = sync->sent_stamp;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)sync->sent_number);
    bind_device(sync);
    while (status == SATCHEL_OK && !is_full(push, batch) &&
           (code = sqlite3_step(select)) == SQLITE_ROW) {
        uint64_t number = (uint64_t)sqlite3_column_int64(select, 0);
        size_t bytes = (size_t)sqlite3_column_bytes(select, 5) + ITEM_BYTES;
        for (; next < number && status == SATCHEL_OK && !is_full(push, batch); next++) {
            status = make_answered(sync, next, &push->items[push->item_count], error);
            if (status == SATCHEL_OK)
                add(sync, push, batch);
        }
        if (status != SATCHEL_OK || is_full(push, batch) ||
            (push->item_count > 0 && batch->bytes + bytes > SATCHEL_BATCH_BYTES))
            break;
        struct satchel_push_item *item = &push->items[push->item_count];
        uint8_t *secret = NULL;
        status = make_item(sync, number, satchel_column_span(select, 5), item, &secret, error);
        if (status == SATCHEL_OK) {
            const struct satchel_moment moment = {sqlite3_column_int64(select, 1),
                                                  sqlite3_column_int64(select, 2),
                                                  (uint64_t)sqlite3_column_int64(select, 3)};
            satchel_changeset_secret(sync->replica->secret, number, &moment, secret);
            item->stamp = correct_stamp(sync, select);
            add(sync, push, batch);
            next++;
        }
    }
    if (status == SATCHEL_BUSY) /* goes on from there in a later step */
        status = SATCHEL_OK;
    if (status == SATCHEL_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "read satchel_change", error);
    sqlite3_reset(select);
    sync->sent_stamp = sent_stamp; /* until it is sent */
    return status;
}

/* `*is_waiting`: the node held own numbers when the session began that have not been compared yet
 * with what is pending here, or with what it had lost. Until they are, this may be a copy, and
 * sends nothing. */
static enum satchel_status last_number(struct satchel_sync *sync, uint64_t *out, bool *is_waiting,
                                       struct satchel_error *error)
{
    sqlite3_stmt *select = sync->select_last;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_step(select) != SQLITE_ROW) {
        status = satchel_apply_sql_error(sync->apply, "read satchel_change", error);
    } else {
        *out = (uint64_t)sqlite3_column_int64(select, 0);
        *is_waiting = sqlite3_column_type(select, 1) != SQLITE_NULL &&
                      (uint64_t)sqlite3_column_int64(select, 1) <= sync->held_number;
        if (!satchel_replica_is_device(sync->replica, select, 2))
            status = satchel_error_set(error, SATCHEL_AGAIN,
                                       "the replica has become a device of its own meanwhile; sync "
                                       "again");
    }
    sqlite3_reset(select);
    return status;
}

static enum satchel_status push_batch(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_PUSH};
    struct sync_batch batch = {0};
    satchel_arena_reset(&sync->push_arena);
    message.push.items =
        SATCHEL_ARENA_ARRAY(&sync->push_arena, struct satchel_push_item, ITEMS_MAX);
    if (!message.push.items)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to send change sets");
    enum satchel_status status = collect(sync, &message.push, &batch, error);
    if (status == SATCHEL_OK && message.push.item_count == 0)
        return SATCHEL_OK;
    if (status == SATCHEL_OK)
        status = satchel_sync_make_durable(sync, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_session_send(sync->session, &message);
    if (status == SATCHEL_OK) {
        uint32_t slot = (sync->batch_first + sync->batch_count++) % SYNC_BATCHES_MAX;
        sync->batches[slot] = batch;
        sync->unacked_bytes += batch.bytes;
        sync->sent_number = batch.last_number;
        sync->sent_stamp = batch.last_stamp;
    }
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "change set %" PRIu64 " cannot be sent: %s",
                                       sync->sent_number + 1, satchel_status_text(status));
}

enum satchel_status satchel_sync_push(struct satchel_sync *sync, struct satchel_error *error)
{
    uint64_t last = 0;
    bool is_waiting = false;
    enum satchel_status status = last_number(sync, &last, &is_waiting, error);
    if (status == SATCHEL_OK && is_waiting && sync->apply->cursor >= sync->head_target)
        return satchel_error_set(
            error, SATCHEL_MISMATCH,
            "the server says that it holds change set %" PRIu64
            " of this device and does not send it; keep this file (its pending changes are safe in "
            "it), join again under a new file name and enter them there",
            sync->held_number);
    sync->compares_lost = sync->compares_lost && sync->apply->cursor < sync->head_target;
    is_waiting = is_waiting || sync->compares_lost;
    while (status == SATCHEL_OK && !is_waiting && sync->sent_number < last &&
           sync->unacked_bytes < UNACKED_BYTES_MAX && sync->batch_count < SYNC_BATCHES_MAX &&
           satchel_session_output_bytes(sync->session) < SATCHEL_BATCH_BYTES) {
        uint64_t sent_before = sync->sent_number;
        status = push_batch(sync, error);
        if (sync->sent_number == sent_before)
            break;
    }
    return status;
}

void satchel_sync_push_forwarded(struct satchel_sync *sync,
                                 const struct satchel_message_forward *forward)
{
    for (uint32_t i = 0; i < forward->entry_count; i++)
        if (satchel_id_equal(&forward->entries[i].device, &sync->replica->device) &&
            forward->entries[i].number == sync->sent_number + 1)
            sync->acked_number = ++sync->sent_number;
}

/* ---- acknowledgements ---- */

enum satchel_status satchel_sync_push_acked(struct satchel_sync *sync, uint64_t number,
                                            struct satchel_error *error)
{
    if (number <= sync->acked_number)
        return SATCHEL_OK;
    satchel_stamp stamp = 0;
    sync->pushed_count += number - sync->acked_number;
    sync->acked_number = number;
    while (sync->batch_count > 0 && sync->batches[sync->batch_first].last_number <= number) {
        const struct sync_batch *batch = &sync->batches[sync->batch_first];
        stamp = batch->last_stamp;
        sync->unacked_bytes -= batch->bytes;
        sync->batch_first = (sync->batch_first + 1) % SYNC_BATCHES_MAX;
        sync->batch_count--;
    }
    /* The next handshake learns it from the node if this is not written: a lock that a long
     * transaction of the application holds is no failure. */
    sqlite3_bind_int64(sync->write_ack, 1, (sqlite3_int64)number);
    sqlite3_bind_int64(sync->write_ack, 2, (sqlite3_int64)stamp);
    int code = sqlite3_step(sync->write_ack);
    enum satchel_status status = SATCHEL_OK;
    if (code != SQLITE_DONE && (code & 0xff) != SQLITE_BUSY)
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_reset(sync->write_ack);
    return status;
}
