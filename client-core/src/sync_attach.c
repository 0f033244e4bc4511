/* Owns the device's half of the attach rule (docs/wire-format.md): what it says in HELLO, and what
 * it makes of the node's WELCOME. */
#include "recover.h"

#include <satchel/mutation.h>

#include <inttypes.h>
#include <stdio.h>

static const char SELECT_REFERENCE[] =
    "SELECT reference_server_ms, reference_utc_ms, reference_monotonic_ms, reference_boot,"
    " acked_number FROM satchel_replica";
static const char SELECT_PARENT[] =
    "SELECT device, last_number FROM satchel_ancestor ORDER BY last_number DESC LIMIT 1";
static const char SELECT_RECEIPT[] =
    "SELECT receipt, cursor FROM satchel_receipt WHERE cursor <= ?1 ORDER BY cursor DESC LIMIT 1";
static const char SELECT_ANSWERED_STAMP[] =
    "SELECT stamp FROM satchel_entry WHERE number = ?2 AND device IN (?1, (SELECT device FROM"
    " satchel_elsewhere WHERE number = ?2))"
    " UNION ALL SELECT stamp FROM satchel_lost WHERE is_own AND number = ?2";
static const char SELECT_ROLE[] = "SELECT coalesce(role, ''), role_head FROM satchel_replica";
/* Another sync may have heard of a later role. */
static const char WRITE_WELCOME[] =
    "UPDATE satchel_replica SET node = ?1, user = ?2,"
    " role = iif(node IS ?1 AND ?9 < role_head, role, ?3),"
    " role_head = iif(node IS ?1 AND ?9 < role_head, role_head, ?9),"
    " acked_number = ?4, reference_server_ms = ?5, reference_utc_ms = ?6,"
    " reference_monotonic_ms = ?7, reference_boot = ?8, pin = iif(?11, ?10, pin)";

/* Some may have been held as another device's, of which a file of the same line was, or are. */
static const char COUNT_LOST[] =
    "SELECT count(*) FROM (SELECT number FROM satchel_lost WHERE number > ?1 AND (is_own OR user ="
    " (SELECT user FROM satchel_replica)) UNION SELECT number FROM satchel_elsewhere WHERE number"
    " > ?1)";
static const char INSERT_LINEAGE[] =
    "INSERT INTO satchel_lineage(node, last_cursor) VALUES(?1, ?2)";

/* ---- HELLO ---- */

/* The clock's error at the last handshake, if there was one. */
static enum satchel_status read_reference(struct satchel_sync *sync, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_REFERENCE, -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW)
        status = satchel_apply_sql_error(sync->apply, "read satchel_replica", error);
    else
        sync->welcome_acked = (uint64_t)sqlite3_column_int64(select, 4);
    if (status == SATCHEL_OK && sqlite3_column_type(select, 0) != SQLITE_NULL) {
        sync->before.is_set = true;
        sync->before.server_ms = sqlite3_column_int64(select, 0);
        sync->before.utc_ms = sqlite3_column_int64(select, 1);
        sync->before.monotonic_ms = sqlite3_column_int64(select, 2);
        sync->before.boot = (uint64_t)sqlite3_column_int64(select, 3);
    }
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status read_parent(struct satchel_sync *sync,
                                       struct satchel_message_hello *hello,
                                       struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_ERROR;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_PARENT, -1, &select, NULL) == SQLITE_OK)
        code = sqlite3_step(select);
    if (code == SQLITE_ROW && satchel_column_id(select, 0, &hello->parent))
        hello->parent_number = (uint64_t)sqlite3_column_int64(select, 1);
    enum satchel_status status =
        code == SQLITE_ROW || code == SQLITE_DONE
            ? SATCHEL_OK
            : satchel_apply_sql_error(sync->apply, "read satchel_ancestor", error);
    sqlite3_finalize(select);
    return status;
}

/* Receipts at the end of the log and 1, 2, 4, ... before it: a node that was put back and went on
 * tells by them how much of the log is its own. */
static enum satchel_status read_receipts(struct satchel_sync *sync, struct satchel_vector *out,
                                         struct satchel_error *error)
{
    struct satchel_apply *apply = sync->apply;
    sqlite3_stmt *select = NULL;
    struct satchel_id receipt;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_RECEIPT, -1, &select, NULL) != SQLITE_OK)
        status = satchel_apply_sql_error(apply, "read satchel_receipt", error);
    if (status == SATCHEL_OK && !satchel_id_is_zero(&apply->end))
        status = satchel_vector_raise(&sync->push_arena, out, &apply->end, apply->cursor, out);
    for (uint64_t back = 0; status == SATCHEL_OK && back < apply->cursor;
         back = back ? 2 * back : 1) {
        uint64_t cursor = 0;
        sqlite3_bind_int64(select, 1, (sqlite3_int64)(apply->cursor - back));
        int code = sqlite3_step(select);
        bool is_whole = code == SQLITE_ROW && sqlite3_column_bytes(select, 0) == sizeof receipt;
        if (is_whole) {
            memcpy(receipt.bytes, sqlite3_column_blob(select, 0), sizeof receipt.bytes);
            cursor = (uint64_t)sqlite3_column_int64(select, 1);
        }
        sqlite3_reset(select);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            status = satchel_apply_sql_error(apply, "read satchel_receipt", error);
        else if (is_whole)
            status = satchel_vector_raise(&sync->push_arena, out, &receipt, cursor, out);
    }
    sqlite3_finalize(select);
    return status;
}

/* As of the last begin. */
static uint64_t last_own_number(const struct satchel_sync *sync)
{
    const struct satchel_pending *pending = &sync->apply->pending;
    return pending->last ? pending->last->number : sync->apply->last_number;
}

/* Up to where the log follows each incarnation: the earlier ones may reach beyond what has come so
 * far. */
static enum satchel_status make_lineage(struct satchel_sync *sync, struct satchel_vector *out)
{
    const struct satchel_apply *apply = sync->apply;
    enum satchel_status status = SATCHEL_OK;
    *out = (struct satchel_vector){NULL, 0};
    for (size_t i = 0; i < apply->past.count && status == SATCHEL_OK; i++) {
        const struct satchel_position *past = &apply->past.items[i];
        uint64_t cursor = past->seq < apply->cursor ? past->seq : apply->cursor;
        status = satchel_vector_raise(&sync->push_arena, out, &past->node, cursor, out);
    }
    return status == SATCHEL_OK
               ? satchel_vector_raise(&sync->push_arena, out, &apply->node, apply->cursor, out)
               : status;
}

enum satchel_status satchel_sync_send_hello(struct satchel_sync *sync, struct satchel_error *error)
{
    struct satchel_replica *replica = sync->replica;
    struct satchel_apply *apply = sync->apply;
    char software[64];
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_HELLO};
    struct satchel_message_hello *hello = &message.hello;
    enum satchel_status status = satchel_sync_begin(sync, false, error);
    if (status != SATCHEL_OK)
        return status;
    status = read_reference(sync, error);
    if (status == SATCHEL_OK)
        status = read_parent(sync, hello, error);
    if (status == SATCHEL_OK)
        status = read_receipts(sync, &hello->receipts, error);
    satchel_apply_release(apply);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_vector lineage;
    if (make_lineage(sync, &lineage) != SATCHEL_OK)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to sync");
    /* What the node's answer is held against: another sync of this replica may move on meanwhile.
     */
    sync->hello_node = apply->node;
    sync->hello_cursor = apply->cursor;
    sync->hello_complete = apply->complete;
    sync->hello_moved = apply->moved_head;
    sync->rewinds = apply->rewinds;
    sync->hello_answered = apply->last_number;
    snprintf(software, sizeof software, SATCHEL_SOFTWARE "%s", sqlite3_libversion());
    hello->protocol = SATCHEL_PROTOCOL_VERSION;
    hello->workspace = satchel_span_text(replica->workspace);
    hello->workspace_id = replica->workspace_id;
    hello->device = replica->device;
    memcpy(sync->shown_token, replica->token, sizeof sync->shown_token);
    hello->token = satchel_span_of(sync->shown_token, sizeof sync->shown_token);
    hello->node = apply->node;
    hello->cursor = apply->cursor;
    hello->lineage = lineage;
    hello->schema = apply->migration_count;
    hello->user = satchel_span_text(replica->user ? replica->user : "");
    hello->receipt = replica->receipt;
    hello->complete = apply->complete;
    hello->drain = replica->is_wiped     ? SATCHEL_WIPED
                   : replica->is_revoked ? SATCHEL_DRAINING
                                         : SATCHEL_NOT_DRAINED;
    hello->token_number = replica->token_number;
    hello->software = satchel_span_text(software);
    hello->last_number = last_own_number(sync);
    hello->wants_snapshot = apply->cursor == 0 && apply->last_number == 0 &&
                            apply->seen.count == 0 && !apply->has_lost && !replica->is_revoked &&
                            hello->parent_number == 0;
    status = satchel_session_send(sync->session, &message);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "cannot begin the session: %s",
                                       satchel_status_text(status));
}

/* ---- WELCOME ---- */

static enum satchel_status does_not_know(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_MISMATCH,
                             "the server does not know what it has sent to this replica; keep this "
                             "file (its pending changes are safe in it) and ask the server's "
                             "administrator");
}

/* Whether another sync of this replica has heard entries since HELLO: what the node said it does
 * not hold may be among them. */
static bool has_gone_on(const struct satchel_sync *sync)
{
    return sync->hello_cursor != sync->apply->cursor ||
           !satchel_id_equal(&sync->hello_node, &sync->apply->node);
}

/* Whether HELLO was that of a replica that has nothing yet: its stream makes exactly what is in
 * scope, from the first entry on. */
static bool was_new(const struct satchel_sync *sync)
{
    return sync->hello_cursor == 0 && satchel_id_is_zero(&sync->hello_node);
}

static enum satchel_status check_welcome(const struct satchel_sync *sync,
                                         const struct satchel_message_welcome *welcome,
                                         struct satchel_error *error)
{
    const struct satchel_id *node = &sync->apply->node;
    if (sync->rewinds != sync->apply->rewinds && !SATCHEL_MUTATED(stale_log))
        return satchel_error_set(
            error, SATCHEL_AGAIN,
            "another sync of this replica has begun anew meanwhile; sync again");
    /* What it has heard since may be of an incarnation that this node does not know. */
    if (has_gone_on(sync) && !satchel_id_equal(&welcome->node, node))
        return satchel_error_set(error, SATCHEL_AGAIN,
                                 "another sync of this replica has met another server; sync again");
    /* Of what another sync has applied meanwhile, as it was cut for that one, this stream would
     * tell no more: not which rows have come since. */
    if (was_new(sync) && has_gone_on(sync))
        return satchel_error_set(error, SATCHEL_AGAIN,
                                 "another sync has begun to fill this replica; sync again");
    if (welcome->cursor > sync->hello_cursor || welcome->cursor > welcome->head)
        return does_not_know(error);
    return SATCHEL_OK;
}

void satchel_sync_clock(const struct satchel_session *session, struct satchel_replica *replica,
                        int64_t now_ms, struct satchel_clock_reference *out)
{
    struct satchel_clock_sample sample;
    const struct satchel_clock *clock = &replica->clock;
    if (!satchel_session_clock(session, &sample))
        return;
    int64_t age_ms = now_ms - sample.monotonic_ms;
    out->is_set = true;
    out->server_ms = sample.server_ms;
    out->utc_ms = clock->utc_ms(clock->context) - age_ms;
    out->monotonic_ms = clock->monotonic_ms(clock->context) - age_ms;
    out->boot = satchel_replica_boot(replica);
}

/* The stream that the log follows from now on is the node's: so are its earlier incarnations. */
static enum satchel_status write_lineage(struct satchel_sync *sync,
                                         const struct satchel_vector *lineage,
                                         struct satchel_error *error)
{
    sqlite3_stmt *insert = NULL;
    sqlite3 *db = sync->replica->db;
    enum satchel_status status = satchel_replica_execute(db, "DELETE FROM satchel_lineage", error);
    if (status == SATCHEL_OK &&
        sqlite3_prepare_v2(db, INSERT_LINEAGE, -1, &insert, NULL) != SQLITE_OK)
        status = satchel_apply_sql_error(sync->apply, "write satchel_lineage", error);
    for (size_t i = 0; i < lineage->count && status == SATCHEL_OK; i++) {
        const struct satchel_position *past = &lineage->items[i];
        sqlite3_bind_blob(insert, 1, past->node.bytes, sizeof past->node.bytes, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 2, (sqlite3_int64)past->seq);
        if (sqlite3_step(insert) != SQLITE_DONE)
            status = satchel_apply_sql_error(sync->apply, "write satchel_lineage", error);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    return status == SATCHEL_OK ? satchel_apply_read_past(sync->apply, error) : status;
}

static enum satchel_status write_welcome(struct satchel_sync *sync,
                                         const struct satchel_message_welcome *welcome,
                                         struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    const struct satchel_clock_reference *after = &sync->after;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, WRITE_WELCOME, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_bind_blob(update, 1, welcome->node.bytes, sizeof welcome->node.bytes, SQLITE_STATIC);
    sqlite3_bind_text64(update, 2, (const char *)welcome->user.data, welcome->user.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_text64(update, 3, (const char *)welcome->role.data, welcome->role.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_int64(update, 4, (sqlite3_int64)welcome->last_number);
    if (after->is_set) {
        sqlite3_bind_int64(update, 5, after->server_ms);
        sqlite3_bind_int64(update, 6, after->utc_ms);
        sqlite3_bind_int64(update, 7, after->monotonic_ms);
        sqlite3_bind_int64(update, 8, (sqlite3_int64)after->boot);
    }
    sqlite3_bind_int64(update, 9, (sqlite3_int64)welcome->head);
    struct satchel_span pins = satchel_pins_span(&sync->pins);
    if (pins.size > 0) /* else NULL */
        sqlite3_bind_blob(update, 10, pins.data, (int)pins.size, SQLITE_STATIC);
    sqlite3_bind_int(update, 11, sync->options.pin != NULL);
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    return status == SATCHEL_OK ? write_lineage(sync, &welcome->lineage, error) : status;
}

/* Own change sets that a node had answered and this one does not hold are among those that are
 * given back to it. */
static enum satchel_status check_lost(struct satchel_sync *sync, uint64_t held_number,
                                      struct satchel_error *error)
{
    sqlite3_stmt *count = NULL;
    uint64_t lost = 0;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, COUNT_LOST, -1, &count, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "read satchel_lost", error);
    sqlite3_bind_int64(count, 1, (sqlite3_int64)held_number);
    if (sqlite3_step(count) == SQLITE_ROW)
        lost = (uint64_t)sqlite3_column_int64(count, 0);
    else
        status = satchel_apply_sql_error(sync->apply, "read satchel_lost", error);
    sqlite3_finalize(count);
    return status == SATCHEL_OK && lost < sync->hello_answered - held_number ? does_not_know(error)
                                                                             : status;
}

/* The stamp of the last own change set that a node has answered, from the log or among what the
 * node has lost since. */
static enum satchel_status find_answered_stamp(struct satchel_sync *sync, satchel_stamp *stamp,
                                               struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    const struct satchel_id *device = &sync->replica->device;
    enum satchel_status status = SATCHEL_OK;
    *stamp = 0;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_ANSWERED_STAMP, -1, &select, NULL) !=
        SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "read the log", error);
    sqlite3_bind_blob(select, 1, device->bytes, sizeof device->bytes, SQLITE_STATIC);
    sqlite3_bind_int64(select, 2, (sqlite3_int64)sync->apply->last_number);
    int code = sqlite3_step(select);
    if (code == SQLITE_ROW)
        *stamp = (satchel_stamp)sqlite3_column_int64(select, 0);
    else if (code != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "read the log", error);
    sqlite3_finalize(select);
    return status;
}

/* Whether the log followed another one so far. */
static bool is_new_incarnation(const struct satchel_sync *sync,
                               const struct satchel_message_welcome *welcome)
{
    return !was_new(sync) && !satchel_id_equal(&sync->apply->node, &welcome->node);
}

/* Up to where the node knows of what the log has followed so far. A replica that is still being
 * filled is to be complete beyond its log: behind that nobody knows what it has. */
static uint64_t known_head(const struct satchel_sync *sync,
                           const struct satchel_message_welcome *welcome)
{
    return is_new_incarnation(sync, welcome)
               ? satchel_vector_get(&welcome->lineage, &sync->apply->node)
               : welcome->head;
}

/* As the replica has it, and as of which head of the node. */
static enum satchel_status read_role(struct satchel_sync *sync, struct satchel_span *role,
                                     uint64_t *head, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_ROLE, -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW) {
        status = satchel_apply_sql_error(sync->apply, "read satchel_replica", error);
    } else {
        *role = satchel_arena_copy(&sync->push_arena, satchel_column_span(select, 0));
        *head = (uint64_t)sqlite3_column_int64(select, 1);
        status = role->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    sqlite3_finalize(select);
    return status;
}

/* What the node does not know of any more, the replica is not held to. What another sync has heard
 * since HELLO is not among that: this answer may be older. `*begins_again`: rows or columns have
 * left that the node takes for held here, as HELLO was complete before: they are to be told. */
static enum satchel_status forget_unknown(struct satchel_sync *sync,
                                          const struct satchel_message_welcome *welcome,
                                          bool *begins_again, struct satchel_error *error)
{
    struct satchel_apply *apply = sync->apply;
    uint64_t known = known_head(sync, welcome), role_head = 0;
    struct satchel_span role;
    enum satchel_status status = read_role(sync, &role, &role_head, error);
    if (status != SATCHEL_OK)
        return status;
    bool is_same_role = satchel_span_equal(role, welcome->role);
    bool is_stale = satchel_id_equal(&apply->node, &welcome->node) && welcome->head < role_head;
    bool has_left = known < apply->moved_head && apply->moved_head == sync->hello_moved;
    bool has_lost_role = known < role_head && !is_same_role && !is_stale;
    if (has_left)
        apply->moved_head = 0;
    if (has_left || has_lost_role ||
        (known < apply->complete && apply->complete == sync->hello_complete))
        apply->complete = 0;
    *begins_again = (has_left || has_lost_role) && sync->hello_complete > 0;
    return *begins_again || (!is_same_role && !is_stale) ? satchel_sync_begin_anew(sync, error)
                                                         : SATCHEL_OK;
}

/* The node was put back to an earlier moment: what this device has beyond it, it gives back. */
static enum satchel_status rewind_log(struct satchel_sync *sync,
                                      const struct satchel_message_welcome *welcome,
                                      struct satchel_error *error)
{
    char line[160];
    uint64_t count = sync->apply->cursor - welcome->cursor;
    enum satchel_status status =
        satchel_recover_rewind(sync, welcome->cursor, &welcome->vector, error);
    if (status == SATCHEL_OK && sync->options.notice) {
        snprintf(line, sizeof line,
                 "the server was restored to an earlier moment; this replica gives it back what it "
                 "has lost (up to %" PRIu64 " entr%s)",
                 count, count == 1 ? "y" : "ies");
        sync->options.notice(sync->options.context, line);
    }
    return status;
}

enum satchel_status satchel_sync_take_welcome(struct satchel_sync *sync,
                                              const struct satchel_message_welcome *welcome,
                                              struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin(sync, true, error);
    if (status != SATCHEL_OK)
        return status;
    bool is_answer = !has_gone_on(sync), begins_again = false;
    status = check_welcome(sync, welcome, error);
    if (status == SATCHEL_OK && welcome->cursor < sync->hello_cursor)
        status = rewind_log(sync, welcome, error);
    else if (status == SATCHEL_OK && is_new_incarnation(sync, welcome))
        status = satchel_recover_rewind(sync, sync->apply->cursor, &welcome->vector, error);
    if (status == SATCHEL_OK)
        status = satchel_doubt_forget(sync->apply, error);
    if (status == SATCHEL_OK && is_answer && welcome->last_number < sync->hello_answered)
        status = check_lost(sync, welcome->last_number, error);
    /* What was sent to a node that has lost it is sent again, with the stamps it had: the last one
     * is no floor for them. */
    if (status == SATCHEL_OK && welcome->last_number < sync->welcome_acked)
        status = find_answered_stamp(sync, &sync->apply->last_stamp, error);
    if (status == SATCHEL_OK) {
        satchel_sync_clock(sync->session, sync->replica, sync->now_ms, &sync->after);
        sync->head_target = sync->complete_target = sync->heard_head = welcome->head;
        status = forget_unknown(sync, welcome, &begins_again, error);
        if (was_new(sync))
            sync->apply->complete = welcome->head;
        if (status == SATCHEL_OK)
            status = satchel_wipe_begin(sync, welcome->is_drained != 0, error);
    }
    if (status == SATCHEL_OK && !welcome->has_snapshot)
        status = satchel_bootstrap_drop(sync, error);
    if (status == SATCHEL_OK) {
        sync->number_target = last_own_number(sync);
        sync->schema_target = welcome->schema;
        sync->rewinds = sync->apply->rewinds;
        status = write_welcome(sync, welcome, error);
    }
    if (status != SATCHEL_OK) {
        satchel_apply_rollback(sync->apply);
        return status;
    }
    status = satchel_sync_commit(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_read_identity(sync->replica, error);
    sync->apply->node = welcome->node;
    sync->apply->must_forget = true; /* in an earlier session it may not have come to it */
    if (status == SATCHEL_OK && begins_again)
        return satchel_error_set(error, SATCHEL_AGAIN,
                                 "the server was restored to before rows left this replica; sync "
                                 "again");
    if (status == SATCHEL_OK)
        status = satchel_recover_begin(sync, error);
    if (status == SATCHEL_OK)
        status = satchel_sync_push_begin(sync, welcome->last_number, error);
    if (status == SATCHEL_OK)
        status = satchel_past_begin(sync, error);
    if (status == SATCHEL_OK && welcome->has_snapshot)
        status = satchel_bootstrap_begin(sync, error);
    sync->is_welcome = status == SATCHEL_OK;
    return status;
}
