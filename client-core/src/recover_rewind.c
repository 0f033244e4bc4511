/* Owns the end of the log that is taken back where the node was restored to before it.
 *
 * What is lost now goes before what was lost earlier and has not come back. Whatever an entry has
 * seen came before it in the log of its time, and is still in the log or among what is lost before
 * it: so the log and behind it satchel_lost, in the order of its ids, stay an order in which
 * everything comes after what it has seen, however often a node is restored.
 *
 * What stays in the log may have positions that the node lacks: the entry was given back by one
 * device before the moment to which it was put back, and by another, with another position, behind
 * it. So every new incarnation is given such entries, too. */
#include "recover_internal.h"

#include <satchel/log_pack.h>
#include <satchel/log_reader.h>
#include <satchel/mutation.h>

/* One that was kept for a position alone, and is lost now, has its place among what is lost now. */
static const char INSERT_LOST[] =
    "INSERT INTO satchel_lost(node, cursor, seq, device, number, stamp, user, secret,"
    " body, notes, id, positions, receipt, previous, is_cut, mark, is_own) SELECT ?1, ?2, ?3, ?4,"
    " ?5, ?6, ?7, ?8, ?9, ?10, ?11, positions, receipt, previous, is_cut, iif(is_cut, ?8, ?12),"
    " ?4 = (SELECT device FROM satchel_replica)"
    " OR EXISTS(SELECT 1 FROM satchel_elsewhere WHERE number = ?5 AND device = ?4)"
    " FROM satchel_receipt WHERE cursor = ?2 ON CONFLICT(secret, node, cursor) DO UPDATE SET"
    " id = excluded.id, positions = excluded.positions, receipt = excluded.receipt,"
    " previous = excluded.previous, given = NULL";
static const char SELECT_GIVEN_BACK[] =
    "SELECT cursor FROM satchel_receipt WHERE cursor <= ?1 AND positions NOTNULL AND NOT is_cut"
    " ORDER BY cursor";
static const char SELECT_FIRST[] = "SELECT coalesce(min(id), 0) FROM satchel_lost";
static const char INSERT_DOUBT[] = "INSERT OR IGNORE INTO satchel_doubt(name) VALUES(?1)";
static const char SELECT_IS_UNHEARD[] = "SELECT begun > ?1 FROM satchel_replica";
static const char SELECT_CONFLICTS[] = "SELECT note FROM satchel_conflict";
static const char SELECT_POSITIONS[] =
    "SELECT positions FROM satchel_receipt WHERE cursor > ?1 AND positions NOTNULL";
static const char DELETE_RECEIPTS[] = "DELETE FROM satchel_receipt WHERE cursor > ?1";

struct rewinding {
    struct satchel_sync *sync;
    int64_t next_id;
    sqlite3_stmt *insert_lost, *insert_doubt;
    struct satchel_arena arena;
    struct satchel_buffer name, body;
    struct satchel_error *error;
};

/* A row that the schema has; a part that names none was set aside by the node, and did nothing. */
static enum satchel_status doubt_row(struct rewinding *rewinding, uint32_t number,
                                     const struct satchel_value *key, uint32_t key_count)
{
    const struct satchel_table *table =
        satchel_schema_table(rewinding->sync->apply->schema, number);
    if (!table || table->is_local || table->key_count != key_count)
        return SATCHEL_OK;
    satchel_buffer_clear(&rewinding->name);
    enum satchel_status status = satchel_row_name(&rewinding->name, number, key, key_count);
    if (status != SATCHEL_OK)
        return status;
    recover_bind_span(rewinding->insert_doubt, 1, satchel_buffer_span(&rewinding->name));
    if (sqlite3_step(rewinding->insert_doubt) != SQLITE_DONE)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    sqlite3_reset(rewinding->insert_doubt);
    return status;
}

static enum satchel_status doubt_notes(struct rewinding *rewinding, struct satchel_span bytes)
{
    struct satchel_notes notes;
    enum satchel_status status = satchel_notes_read(bytes, &rewinding->arena, &notes);
    for (uint32_t i = 0; i < notes.effect_count && status == SATCHEL_OK; i++) {
        const struct satchel_effect *effect = &notes.effects[i];
        status = doubt_row(rewinding, effect->table, effect->key, effect->key_count);
        if (status == SATCHEL_OK && effect->into)
            status = doubt_row(rewinding, effect->table, effect->into, effect->key_count);
    }
    for (uint32_t i = 0; i < notes.conflict_count && status == SATCHEL_OK; i++) {
        const struct satchel_conflict_note *note = &notes.conflicts[i];
        status = doubt_row(rewinding, note->table, note->key, note->key_count);
        if (status == SATCHEL_OK && note->alias_key)
            status = doubt_row(rewinding, note->table, note->alias_key, note->key_count);
    }
    return status;
}

/* Every row that the entry wrote, changed, or opened or closed a conflict on. */
static enum satchel_status doubt_entry(struct rewinding *rewinding,
                                       const struct satchel_entry *entry)
{
    struct satchel_changeset changeset;
    struct satchel_span body;
    enum satchel_status status = satchel_body_load(entry->body, &rewinding->body, &body);
    if (status == SATCHEL_OK)
        status = satchel_changeset_decode(body, &rewinding->arena, &changeset, NULL);
    for (uint32_t i = 0; status == SATCHEL_OK && i < changeset.header.part_count; i++) {
        const struct satchel_part *part = &changeset.parts[i];
        status = doubt_row(rewinding, part->table, part->key, part->key_count);
    }
    return status == SATCHEL_OK ? doubt_notes(rewinding, entry->notes) : status;
}

/* To be given back. */
static enum satchel_status keep(struct rewinding *rewinding, const struct satchel_entry *entry)
{
    sqlite3_stmt *insert = rewinding->insert_lost;
    static const uint8_t nothing[SATCHEL_SECRET_BYTES];
    uint8_t mark[SATCHEL_SECRET_BYTES];
    enum satchel_status status = SATCHEL_OK;
    recover_bind_id(insert, 1, satchel_apply_node_at(rewinding->sync->apply, entry->cursor));
    sqlite3_bind_int64(insert, 2, (sqlite3_int64)entry->cursor);
    sqlite3_bind_int64(insert, 3, (sqlite3_int64)entry->seq);
    recover_bind_id(insert, 4, &entry->device);
    sqlite3_bind_int64(insert, 5, (sqlite3_int64)entry->number);
    sqlite3_bind_int64(insert, 6, (sqlite3_int64)entry->stamp);
    sqlite3_bind_text64(insert, 7, entry->user.size ? (const char *)entry->user.data : "",
                        entry->user.size, SQLITE_STATIC, SQLITE_UTF8);
    recover_bind_span(insert, 8,
                      satchel_span_of(entry->secret, entry->secret ? SATCHEL_SECRET_BYTES : 0));
    recover_bind_span(insert, 9, entry->body);
    recover_bind_span(insert, 10, satchel_notes_quarantined(entry->notes));
    int64_t id = rewinding->next_id++;
    sqlite3_bind_int64(insert, 11, SATCHEL_MUTATED(give_backwards) ? -id : id);
    satchel_entry_cut_secret(entry->secret ? entry->secret : nothing, mark);
    recover_bind_span(insert, 12, satchel_span_of(mark, sizeof mark));
    if (SATCHEL_MUTATED(own_only) &&
        !satchel_id_equal(&entry->device, &rewinding->sync->replica->device))
        return SATCHEL_OK;
    if (sqlite3_step(insert) != SQLITE_DONE)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    sqlite3_reset(insert);
    return status;
}

static enum satchel_status lose(struct rewinding *rewinding, const struct satchel_entry *entry)
{
    struct satchel_apply *apply = rewinding->sync->apply;
    const struct satchel_position lost = {*satchel_apply_node_at(apply, entry->cursor), entry->seq};
    if (entry->seq > 0)
        satchel_doubt_clip(apply, &lost);
    enum satchel_status status = keep(rewinding, entry);
    return status == SATCHEL_OK ? doubt_entry(rewinding, entry) : status;
}

static enum satchel_status doubt_conflicts(struct rewinding *rewinding)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_DONE;
    enum satchel_status status =
        recover_prepare(rewinding->sync, SELECT_CONFLICTS, &select, rewinding->error);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        satchel_arena_reset(&rewinding->arena);
        status = doubt_notes(rewinding, satchel_column_span(select, 0));
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status is_unheard(struct rewinding *rewinding, uint64_t cursor, bool *out)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status =
        recover_prepare(rewinding->sync, SELECT_IS_UNHEARD, &select, rewinding->error);
    *out = false;
    if (status == SATCHEL_OK)
        sqlite3_bind_int64(select, 1, (sqlite3_int64)cursor);
    if (status == SATCHEL_OK && sqlite3_step(select) == SQLITE_ROW)
        *out = sqlite3_column_int(select, 0) != 0;
    else if (status == SATCHEL_OK)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    sqlite3_finalize(select);
    return status;
}

/* What the node has lost may be of before the replica's first rows, and not in its log yet: nobody
 * can tell which rows it touched. Those that differ are found by their digests; conflicts have
 * none. And nothing of it counts as seen from here on: what is shown of a row now may be replaced
 * by what was written without it. */
static enum satchel_status lose_unheard(struct rewinding *rewinding, uint64_t cursor,
                                        const struct satchel_vector *vector)
{
    bool is = false;
    enum satchel_status status = is_unheard(rewinding, cursor, &is);
    if (status != SATCHEL_OK || !is)
        return status;
    satchel_doubt_clip_seen(rewinding->sync->apply, vector);
    return doubt_conflicts(rewinding);
}

/* Below all ids that there are, with room for the log. */
static enum satchel_status find_next_id(struct rewinding *rewinding)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status =
        recover_prepare(rewinding->sync, SELECT_FIRST, &select, rewinding->error);
    if (status == SATCHEL_OK && sqlite3_step(select) == SQLITE_ROW)
        rewinding->next_id =
            sqlite3_column_int64(select, 0) - (int64_t)rewinding->sync->apply->cursor;
    else if (status == SATCHEL_OK)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status keep_given_back(struct rewinding *rewinding,
                                           struct satchel_log_reader *reader, uint64_t cursor)
{
    sqlite3_stmt *select = NULL;
    struct satchel_log_entry read;
    bool found = false;
    int code = SQLITE_DONE;
    enum satchel_status status =
        recover_prepare(rewinding->sync, SELECT_GIVEN_BACK, &select, rewinding->error);
    if (status == SATCHEL_OK)
        sqlite3_bind_int64(select, 1, (sqlite3_int64)cursor);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        uint64_t at = (uint64_t)sqlite3_column_int64(select, 0);
        status = satchel_log_read_at(reader, at, &found, &read, rewinding->error);
        if (status == SATCHEL_OK && found)
            status = keep(rewinding, &read.entry);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    satchel_log_read_end(reader);
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status lose_all(struct rewinding *rewinding, struct satchel_log_reader *reader,
                                    uint64_t cursor)
{
    struct satchel_log_entry read;
    bool found = true;
    enum satchel_status status = satchel_log_read_from(reader, cursor, NULL, 0, rewinding->error);
    while (status == SATCHEL_OK && found) {
        status = satchel_log_read_next(reader, &found, &read, rewinding->error);
        if (status == SATCHEL_OK && found)
            status = lose(rewinding, &read.entry);
        satchel_arena_reset(&rewinding->arena);
    }
    return status;
}

static enum satchel_status keep_all(struct rewinding *rewinding, uint64_t cursor)
{
    struct satchel_log_reader *reader = NULL;
    enum satchel_status status = find_next_id(rewinding);
    if (status == SATCHEL_OK)
        status = satchel_log_reader_new(&reader, rewinding->sync->replica->db);
    if (status == SATCHEL_OK)
        status = keep_given_back(rewinding, reader, cursor);
    if (status == SATCHEL_OK)
        status = lose_all(rewinding, reader, cursor);
    satchel_log_reader_free(reader);
    return status;
}

/* What the lost entries had been given back with. */
static enum satchel_status clip_positions(struct rewinding *rewinding, uint64_t cursor)
{
    struct satchel_apply *apply = rewinding->sync->apply;
    sqlite3_stmt *select = NULL;
    int code = SQLITE_DONE;
    enum satchel_status status =
        recover_prepare(rewinding->sync, SELECT_POSITIONS, &select, rewinding->error);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)cursor);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct satchel_vector positions;
        satchel_arena_reset(&rewinding->arena);
        status =
            satchel_vector_unpack(satchel_column_span(select, 0), &rewinding->arena, &positions);
        for (size_t i = 0; i < positions.count && status == SATCHEL_OK; i++)
            satchel_doubt_clip(apply, &positions.items[i]);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = recover_sql_error(rewinding->sync, rewinding->error);
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status forget_receipts(struct satchel_sync *sync, uint64_t cursor,
                                           struct satchel_error *error)
{
    sqlite3_stmt *delete = NULL;
    enum satchel_status status = recover_prepare(sync, DELETE_RECEIPTS, &delete, error);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_int64(delete, 1, (sqlite3_int64)cursor);
    if (sqlite3_step(delete) != SQLITE_DONE)
        status = recover_sql_error(sync, error);
    sqlite3_finalize(delete);
    return status;
}

static enum satchel_status cut_log(struct rewinding *rewinding, uint64_t cursor)
{
    struct satchel_sync *sync = rewinding->sync;
    enum satchel_status status = clip_positions(rewinding, cursor);
    if (status == SATCHEL_OK)
        status = satchel_log_cut(sync->replica->db, cursor, rewinding->error);
    if (status == SATCHEL_OK)
        status = forget_receipts(sync, cursor, rewinding->error);
    if (status == SATCHEL_OK)
        status = satchel_past_rewind(sync, cursor, rewinding->error);
    if (status == SATCHEL_OK) {
        sync->apply->cursor = cursor;
        sync->apply->rewinds++;
        /* Rows came and left that the node knows nothing of. */
        sync->apply->complete = sync->apply->moved_head = 0;
        memset(&sync->apply->end, 0, sizeof sync->apply->end);
    }
    return status;
}

enum satchel_status satchel_recover_rewind(struct satchel_sync *sync, uint64_t cursor,
                                           const struct satchel_vector *vector,
                                           struct satchel_error *error)
{
    struct rewinding rewinding = {.sync = sync, .error = error};
    satchel_arena_init(&rewinding.arena, (size_t)2 << 30, NULL);
    satchel_buffer_init(&rewinding.name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&rewinding.body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = recover_prepare(sync, INSERT_LOST, &rewinding.insert_lost, error);
    if (status == SATCHEL_OK)
        status = recover_prepare(sync, INSERT_DOUBT, &rewinding.insert_doubt, error);
    if (status == SATCHEL_OK)
        status = keep_all(&rewinding, cursor);
    if (status == SATCHEL_OK && cursor < sync->apply->cursor)
        status = lose_unheard(&rewinding, cursor, vector);
    sqlite3_finalize(rewinding.insert_lost);
    sqlite3_finalize(rewinding.insert_doubt);
    if (status == SATCHEL_OK && cursor < sync->apply->cursor)
        status = cut_log(&rewinding, cursor);
    satchel_buffer_deinit(&rewinding.name);
    satchel_buffer_deinit(&rewinding.body);
    satchel_arena_deinit(&rewinding.arena);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status,
                                       "what the server has lost cannot be kept for it: %s",
                                       satchel_status_text(status));
}
