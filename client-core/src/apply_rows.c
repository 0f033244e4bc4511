/* Owns rows that the node sends by themselves, as it has them: rows in doubt, and those that
 * leave the replica's scope or come into it, with what the log has about these. */
#include "apply.h"

#include <satchel/log_pack.h>
#include <satchel/mutation.h>

/* ---- rows as the node has them ---- */

/* What was only ever closed there is written anew. */
static bool is_opened(const struct satchel_notes *notes, struct satchel_span id)
{
    for (uint32_t i = 0; i < notes->conflict_count; i++)
        if (notes->conflicts[i].is_open &&
            satchel_span_equal(id, satchel_span_of(notes->conflicts[i].id.bytes,
                                                   sizeof notes->conflicts[i].id.bytes)))
            return true;
    return false;
}

static enum satchel_status drop_conflict(struct satchel_apply *apply, struct satchel_span id,
                                         struct satchel_error *error)
{
    sqlite3_bind_blob64(apply->statements[APPLY_DROP_CONFLICT], 1, id.data, id.size, SQLITE_STATIC);
    return satchel_apply_run(apply, APPLY_DROP_CONFLICT, "write satchel_conflict", error);
}

/* The row's table and key, as satchel_conflict names it. */
static enum satchel_status bind_row(struct satchel_apply *apply, sqlite3_stmt *statement,
                                    const struct satchel_effect *effect)
{
    const struct satchel_table *table = satchel_schema_table(apply->schema, effect->table);
    satchel_buffer_clear(&apply->name);
    enum satchel_status status = satchel_key_text(&apply->name, effect->key, effect->key_count);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_text(statement, 1, table->name, -1, SQLITE_STATIC);
    sqlite3_bind_text64(statement, 2, (const char *)apply->name.data, apply->name.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    return SATCHEL_OK;
}

/* Conflicts of the row that the node does not know of, or not so: it has come another way. */
static enum satchel_status drop_unknown_conflicts(struct satchel_apply *apply,
                                                  const struct satchel_effect *effect,
                                                  const struct satchel_notes *notes,
                                                  struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_ROW_CONFLICTS];
    int code = SQLITE_DONE;
    enum satchel_status status = bind_row(apply, select, effect);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct satchel_span id = satchel_column_span(select, 0);
        id = satchel_arena_copy(&apply->arena, id);
        if (!id.data)
            status = SATCHEL_NOMEM;
        else if (!is_opened(notes, id))
            status = drop_conflict(apply, id, error);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read satchel_conflict", error);
    sqlite3_reset(select);
    sqlite3_clear_bindings(select);
    return status;
}

enum satchel_status satchel_apply_drop_evicted(struct satchel_apply *apply,
                                               const struct satchel_notes *notes,
                                               struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < notes->effect_count && status == SATCHEL_OK; i++) {
        if (notes->effects[i].kind != SATCHEL_EFFECT_EVICT)
            continue;
        status = bind_row(apply, apply->statements[APPLY_DROP_OPEN], &notes->effects[i]);
        if (status == SATCHEL_OK)
            status = satchel_apply_run(apply, APPLY_DROP_OPEN, "write satchel_conflict", error);
    }
    return status;
}

enum satchel_status satchel_apply_rows(struct satchel_apply *apply, struct satchel_span bytes,
                                       struct satchel_error *error)
{
    const struct satchel_entry here = {.cursor = apply->cursor};
    const struct satchel_changeset nothing = {0};
    struct satchel_notes notes = {0};
    bool has_conflicts = false;
    satchel_arena_reset(&apply->arena);
    apply->own = NULL;
    apply->held_next = apply->held;
    satchel_apply_forget_plans(apply);
    enum satchel_status status = satchel_notes_read(bytes, &apply->arena, &notes);
    if (status == SATCHEL_OK)
        status = satchel_apply_aliases(apply, &notes, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_write_effects(apply, &here, &nothing, &notes, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_any(apply, APPLY_ANY_CONFLICT, &has_conflicts, error);
    for (uint32_t i = 0; has_conflicts && i < notes.effect_count && status == SATCHEL_OK; i++)
        status = drop_unknown_conflicts(apply, &notes.effects[i], &notes, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_record_conflicts(apply, &notes, error);
    satchel_apply_forget_plans(apply);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "rows of the server cannot be applied: %s",
                                       satchel_status_text(status));
}

/* ---- rows that leave and come ---- */

/* Whether the log has all of the entry, by its receipt. */
static enum satchel_status is_whole_here(struct satchel_apply *apply, uint64_t cursor, bool *out,
                                         struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_HAS_WHOLE];
    enum satchel_status status = SATCHEL_OK;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)cursor);
    int code = sqlite3_step(select);
    *out = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read satchel_receipt", error);
    sqlite3_reset(select);
    return status;
}

/* What the log has of it already is part of this. Of its own it has all, unless another file with
 * its id wrote it; but that may have got another position since. */
enum satchel_status satchel_apply_past(struct satchel_apply *apply,
                                       const struct satchel_entry *entry,
                                       struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    bool is_whole = false;
    apply->own = NULL;
    satchel_arena_reset(&apply->arena);
    if (satchel_id_equal(&entry->device, &apply->replica->device))
        status = is_whole_here(apply, entry->cursor, &is_whole, error);
    if (status == SATCHEL_OK && is_whole)
        status = satchel_apply_keep_receipt(apply, entry, false, error);
    if (status == SATCHEL_OK && !is_whole)
        status = satchel_log_take(apply->replica->db, entry->cursor, error);
    if (status == SATCHEL_OK && !is_whole)
        status = satchel_apply_append(apply, entry, error);
    if (status == SATCHEL_OK && apply->has_lost)
        status = satchel_apply_drop_lost(apply, entry, error);
    if (status == SATCHEL_OK && entry->cursor > apply->cursor) {
        apply->cursor = entry->cursor;
        memset(&apply->end, 0, sizeof apply->end);
    }
    return status;
}

enum satchel_status satchel_apply_scope(struct satchel_apply *apply,
                                        const struct satchel_message_scope *scope,
                                        struct satchel_error *error)
{
    if (!apply->schema)
        return satchel_error_set(error, SATCHEL_STATE, "the server sent rows before any schema");
    /* Another sync of this replica has rows as they were later. The next session begins where the
     * replica is. */
    if ((scope->head < apply->cursor || scope->head < apply->moved_head) &&
        !SATCHEL_MUTATED(stale_rows))
        return satchel_error_set(error, SATCHEL_AGAIN,
                                 "another sync of this replica is ahead of this one");
    apply->moved_head = scope->head;
    enum satchel_status status = satchel_apply_rows(apply, scope->notes, error);
    for (uint32_t i = 0; i < scope->entry_count && status == SATCHEL_OK; i++)
        status = satchel_apply_past(apply, &scope->entries[i], error);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "rows of the server cannot be applied: %s",
                                       satchel_status_text(status));
}
