/* Owns one entry's way into the replica: which effects it has, which rows are written straight away
 * and which are worked out against pending writes first, the log, the conflicts, and the end of the
 * change set it answers. Knows nothing of transactions or of sessions. */
#include "apply.h"

#include <inttypes.h>

enum satchel_status satchel_apply_check(const struct satchel_apply *apply, uint32_t number,
                                        uint32_t key_count, const struct satchel_field *fields,
                                        uint32_t field_count, const struct satchel_table **out,
                                        struct satchel_error *error)
{
    const struct satchel_table *table = satchel_schema_table(apply->schema, number);
    *out = table;
    if (!table || table->is_local)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "the server sent a change of table number %" PRIu32
                                 ", which this replica's schema has not or keeps local",
                                 number);
    bool is_fit = key_count == table->key_count;
    for (uint32_t i = 0; i < field_count && is_fit; i++) {
        uint32_t column = fields[i].column;
        is_fit = column < table->column_count && !table->rules.columns[column].in_key;
    }
    return is_fit ? SATCHEL_OK
                  : satchel_error_set(error, SATCHEL_CORRUPT,
                                      "the server sent a change that does not fit table %s",
                                      table->name);
}

/* *table NULL: the part is nothing that this schema has. A node sets such a part aside, and it
 * stays in the change set's body for everybody to pass over; as an unlike one it takes no effect by
 * itself. */
static enum satchel_status check_part(const struct satchel_apply *apply,
                                      const struct satchel_part *part, bool is_unlike,
                                      const struct satchel_table **table,
                                      struct satchel_error *error)
{
    enum satchel_status status =
        satchel_apply_check(apply, part->table, part->key_count, part->fields, part->field_count,
                            table, is_unlike ? NULL : error);
    if (status == SATCHEL_OK || !is_unlike)
        return status;
    *table = NULL;
    return SATCHEL_OK;
}

/* ---- rows without pending writes ---- */

bool satchel_apply_is_constraint(enum satchel_status status, const struct satchel_error *error)
{
    return status == SATCHEL_SQL && (error->native_code & 0xff) == SQLITE_CONSTRAINT;
}

/* The row may exist already: then it takes all the values. Never REPLACE, which would fire the
 * application's delete triggers and remove rows nobody asked to remove. */
static enum satchel_status write_whole(struct satchel_apply *apply,
                                       const struct satchel_table *table,
                                       const struct satchel_effect *effect,
                                       struct satchel_error *error)
{
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_value, table->column_count);
    if (!values)
        return SATCHEL_NOMEM;
    satchel_row_fill(table, effect->key, effect->fields, effect->field_count, values);
    enum satchel_status status = satchel_row_insert(apply->rows, table, values, error);
    if (!satchel_apply_is_constraint(status, error))
        return status;
    struct satchel_value *present =
        SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_value, table->column_count);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_field, table->column_count);
    struct satchel_error refused = *error;
    bool exists = false;
    uint32_t count = 0;
    if (!present || !fields)
        return SATCHEL_NOMEM;
    status =
        satchel_row_read(apply->rows, table, effect->key, &apply->arena, &exists, present, error);
    if (status != SATCHEL_OK)
        return status;
    if (!exists) {
        *error = refused;
        return refused.status;
    }
    for (uint32_t i = 0; i < table->column_count; i++)
        if (!table->rules.columns[i].in_key && !satchel_value_equal(&present[i], &values[i]))
            fields[count++] = (struct satchel_field){i, values[i]};
    return satchel_row_update(apply->rows, table, effect->key, fields, count, error);
}

static enum satchel_status write_through(struct satchel_apply *apply,
                                         const struct satchel_table *table,
                                         const struct satchel_effect *effect,
                                         struct satchel_error *error)
{
    apply->is_touched[table->number - 1] = true;
    switch (effect->kind) {
    case SATCHEL_EFFECT_DELTA:
        return satchel_row_update(apply->rows, table, effect->key, effect->fields,
                                  effect->field_count, error);
    case SATCHEL_EFFECT_WHOLE: return write_whole(apply, table, effect, error);
    case SATCHEL_EFFECT_GONE:
    case SATCHEL_EFFECT_ALIAS:
    case SATCHEL_EFFECT_EVICT: return satchel_row_delete(apply->rows, table, effect->key, error);
    }
    return SATCHEL_CORRUPT;
}

/* ---- effects ---- */

/* A part or an effect of the entry: `is_effective` false for a part that did not take effect as it
 * stands, which still is something the authors of pending writes have not seen. */
static enum satchel_status take(struct satchel_apply *apply, const struct satchel_table *table,
                                const struct satchel_effect *effect, bool is_effective,
                                struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    bool is_plain = !apply->all_planned, is_in_doubt = false;
    if (apply->pending.row_count > 0 || apply->all_planned || apply->has_held) {
        satchel_buffer_clear(&apply->name);
        status = satchel_row_name(&apply->name, effect->table, effect->key, effect->key_count);
        if (status == SATCHEL_OK)
            status =
                satchel_doubt_find(apply, satchel_buffer_span(&apply->name), &is_in_doubt, error);
        if (status != SATCHEL_OK)
            return status;
        is_plain = !apply->all_planned && !is_in_doubt &&
                   !satchel_pending_find(&apply->pending, satchel_buffer_span(&apply->name)) &&
                   !satchel_map_get(&apply->plans, satchel_buffer_span(&apply->name));
    }
    if (is_plain)
        return is_effective ? write_through(apply, table, effect, error) : SATCHEL_OK;
    struct satchel_row_plan *plan;
    status = satchel_row_plan_get(apply, table, effect->key, satchel_buffer_span(&apply->name),
                                  &plan, error);
    if (status == SATCHEL_OK)
        status =
            satchel_row_plan_touch(apply, plan, effect->kind, effect->fields, effect->field_count);
    if (status == SATCHEL_OK)
        satchel_doubt_hear(plan, effect, is_effective);
    if (status == SATCHEL_OK && is_effective)
        status = satchel_row_plan_effect(plan, effect);
    return status;
}

static enum satchel_status note_row(struct satchel_apply *apply, enum satchel_apply_statement which,
                                    struct satchel_span name, struct satchel_error *error)
{
    apply->has_forgotten = apply->must_forget = true;
    sqlite3_bind_blob64(apply->statements[which], 1, name.data, name.size, SQLITE_STATIC);
    return satchel_apply_run(apply, which, "write satchel_forget", error);
}

/* What the log has of a row that leaves is to be forgotten, unless it comes again before that:
 * sent whole, or made anew. */
static enum satchel_status note_leaving(struct satchel_apply *apply,
                                        const struct satchel_effect *effect,
                                        struct satchel_error *error)
{
    bool is_leaving = effect->kind == SATCHEL_EFFECT_EVICT;
    enum satchel_apply_statement which = is_leaving ? APPLY_FORGET_ROW : APPLY_REMEMBER_ROW;
    if (!is_leaving && (effect->kind == SATCHEL_EFFECT_DELTA || !apply->has_forgotten))
        return SATCHEL_OK;
    satchel_buffer_clear(&apply->name);
    enum satchel_status status =
        satchel_row_name(&apply->name, effect->table, effect->key, effect->key_count);
    return status == SATCHEL_OK ? note_row(apply, which, satchel_buffer_span(&apply->name), error)
                                : status;
}

static enum satchel_status take_parts(struct satchel_apply *apply,
                                      const struct satchel_changeset *changeset,
                                      const struct satchel_notes *notes,
                                      struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    uint32_t next_unlike = 0;
    for (uint32_t i = 0; i < changeset->header.part_count && status == SATCHEL_OK; i++) {
        bool is_unlike = next_unlike < notes->unlike_count && notes->unlike[next_unlike] == i;
        const struct satchel_part *part = &changeset->parts[i];
        const struct satchel_table *table;
        struct satchel_effect effect;
        next_unlike += is_unlike;
        status = check_part(apply, part, is_unlike, &table, error);
        if (status == SATCHEL_OK && !table)
            continue;
        if (status == SATCHEL_OK)
            status = satchel_effect_of_part(apply, table, part, is_unlike, &effect);
        bool is_alias = false; /* then what it comes to is among the effects */
        if (status == SATCHEL_OK)
            status = satchel_apply_resolve(apply, table, &effect.key, &is_alias, error);
        if (status == SATCHEL_OK)
            status = take(apply, table, &effect, !is_unlike && !is_alias, error);
        if (status == SATCHEL_OK && !is_unlike)
            status = note_leaving(apply, &effect, error);
    }
    return status;
}

static enum satchel_status take_effects(struct satchel_apply *apply,
                                        const struct satchel_notes *notes,
                                        struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < notes->effect_count && status == SATCHEL_OK; i++) {
        const struct satchel_effect *effect = &notes->effects[i];
        const struct satchel_table *table;
        status = satchel_apply_check(apply, effect->table, effect->key_count, effect->fields,
                                     effect->field_count, &table, error);
        if (status == SATCHEL_OK)
            status = take(apply, table, effect, true, error);
        if (status == SATCHEL_OK)
            status = note_leaving(apply, effect, error);
    }
    return status;
}

/* Whether what the table shows after the part may be another than what everybody stores: a sum, a
 * set in another order, a key with spaces around it. */
static bool may_differ(const struct satchel_table *table, const struct satchel_part *part)
{
    for (uint32_t i = 0; i < part->field_count; i++) {
        switch (table->rules.columns[part->fields[i].column].rule) {
        case SATCHEL_RULE_COUNTER:
        case SATCHEL_RULE_SET:
        case SATCHEL_RULE_MAP:
        case SATCHEL_RULE_KEY:
        case SATCHEL_RULE_KEY_WEAK: return true;
        default: break;
        }
    }
    return false;
}

/* The application may have inserted a row that is an alias: the node has answered, and it is none
 * of its own. */
static enum satchel_status drop_alias_row(struct satchel_apply *apply,
                                          const struct satchel_table *table,
                                          const struct satchel_part *part,
                                          struct satchel_error *error)
{
    const struct satchel_effect gone = {.kind = SATCHEL_EFFECT_GONE,
                                        .table = part->table,
                                        .key = part->key,
                                        .key_count = part->key_count};
    return take(apply, table, &gone, true, error);
}

static enum satchel_status mark_unlike(struct satchel_pending_set *own,
                                       const struct satchel_notes *notes,
                                       struct satchel_error *error)
{
    for (uint32_t i = 0; i < notes->unlike_count; i++) {
        if (notes->unlike[i] >= own->op_count)
            return satchel_error_set(error, SATCHEL_CORRUPT,
                                     "the server's answer to change set %" PRIu64
                                     " names a part it does not have",
                                     own->number);
        own->ops[notes->unlike[i]].is_unlike = true;
    }
    return SATCHEL_OK;
}

/* The same for a row that was made anew here. */
static enum satchel_status note_made(struct satchel_apply *apply,
                                     const struct satchel_pending_op *op,
                                     struct satchel_error *error)
{
    bool may_remember = !op->is_unlike && !op->is_alias && op->part.kind != SATCHEL_OP_UPDATE;
    return may_remember && apply->has_forgotten
               ? note_row(apply, APPLY_REMEMBER_ROW, op->row->name, error)
               : SATCHEL_OK;
}

/* The rows of the change set this entry answers. A part that took effect as it stands changes
 * nothing that is shown: the node now has what the table already shows, unless satchel_base says
 * otherwise. */
static enum satchel_status take_own_parts(struct satchel_apply *apply, struct satchel_error *error)
{
    struct satchel_pending_set *own = apply->own;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < own->op_count && status == SATCHEL_OK; i++) {
        struct satchel_pending_op *op = &own->ops[i];
        const struct satchel_table *table;
        struct satchel_row_plan *plan;
        status = check_part(apply, &op->part, op->is_unlike, &table, error);
        if (status == SATCHEL_OK && !table)
            continue;
        /* A follower written alone may not be shown, on another value of its leader. */
        bool is_planned = status == SATCHEL_OK &&
                          (op->is_unlike || op->beside_count > 0 || may_differ(table, &op->part));
        if (status == SATCHEL_OK && !is_planned)
            status = satchel_base_exists(apply, op->row->name, &is_planned, error);
        if (status == SATCHEL_OK && is_planned)
            status = satchel_row_plan_get(apply, table, op->row->key, op->row->name, &plan, error);
        if (status == SATCHEL_OK && op->is_alias)
            status = drop_alias_row(apply, table, &op->part, error);
        if (status == SATCHEL_OK)
            status = note_made(apply, op, error);
    }
    return status;
}

void satchel_apply_forget_plans(struct satchel_apply *apply)
{
    if (apply->first_plan)
        satchel_map_clear(&apply->plans);
    apply->first_plan = NULL;
    apply->plan_end = &apply->first_plan;
}

static enum satchel_status take_all(struct satchel_apply *apply,
                                    const struct satchel_changeset *changeset,
                                    const struct satchel_notes *notes, struct satchel_error *error)
{
    satchel_apply_forget_plans(apply);
    enum satchel_status status = SATCHEL_OK;
    if (apply->own)
        status = mark_unlike(apply->own, notes, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_plan_moved(apply, error);
    if (status == SATCHEL_OK)
        status =
            apply->own ? take_own_parts(apply, error) : take_parts(apply, changeset, notes, error);
    if (status == SATCHEL_OK)
        status = take_effects(apply, notes, error);
    if (status == SATCHEL_OK && apply->first_plan)
        status = satchel_row_plans_finish(apply, error);
    return status;
}

/* Effects are absolute values, so what a first attempt has written does no harm to the second. */
enum satchel_status satchel_apply_write_effects(struct satchel_apply *apply,
                                                const struct satchel_entry *entry,
                                                const struct satchel_changeset *changeset,
                                                const struct satchel_notes *notes,
                                                struct satchel_error *error)
{
    struct satchel_error refused = {0};
    apply->all_planned = false;
    enum satchel_status status = take_all(apply, changeset, notes, &refused);
    if (satchel_apply_is_constraint(status, &refused)) {
        apply->all_planned = true;
        status = take_all(apply, changeset, notes, &refused);
    }
    if (satchel_apply_is_constraint(status, &refused)) {
        satchel_error_set(error, status,
                          "entry %" PRIu64
                          " of the server cannot be applied: %s; a UNIQUE index, CHECK "
                          "or trigger of the application's own stands against it: drop it and sync "
                          "again",
                          entry->cursor, refused.message);
        if (error)
            error->native_code = refused.native_code;
    } else if (status != SATCHEL_OK && error) {
        *error = refused;
        satchel_error_default(error, status,
                              "entry %" PRIu64 " of the server cannot be applied: %s",
                              entry->cursor, satchel_status_text(status));
    }
    return status;
}

/* ---- log and conflicts ---- */

/* The own change set's body, in stored form, into apply->stored. */
static enum satchel_status take_body(struct satchel_apply *apply, uint64_t number,
                                     struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_TAKE_BODY];
    enum satchel_status status = SATCHEL_OK;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
    if (sqlite3_step(select) == SQLITE_ROW)
        status = satchel_buffer_append(&apply->stored, sqlite3_column_blob(select, 0),
                                       (size_t)sqlite3_column_bytes(select, 0));
    else
        status = satchel_apply_sql_error(apply, "read satchel_change", error);
    sqlite3_reset(select);
    return status;
}

enum satchel_status satchel_apply_keep_receipt(struct satchel_apply *apply,
                                               const struct satchel_entry *entry, bool is_cut,
                                               struct satchel_error *error)
{
    sqlite3_stmt *insert = apply->statements[APPLY_WRITE_RECEIPT];
    sqlite3_bind_int64(insert, 1, (sqlite3_int64)entry->cursor);
    sqlite3_bind_blob(insert, 2, entry->receipt.bytes, sizeof entry->receipt.bytes, SQLITE_STATIC);
    if (entry->positions.size > 0)
        sqlite3_bind_blob64(insert, 3, entry->positions.data, entry->positions.size, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 4, (sqlite3_int64)entry->previous);
    sqlite3_bind_int(insert, 5, is_cut);
    return satchel_apply_run(apply, APPLY_WRITE_RECEIPT, "write satchel_receipt", error);
}

enum satchel_status satchel_apply_append(struct satchel_apply *apply,
                                         const struct satchel_entry *entry,
                                         struct satchel_error *error)
{
    satchel_buffer_clear(&apply->stored);
    enum satchel_status status = SATCHEL_OK;
    if (apply->own)
        status = take_body(apply, entry->number, error);
    else if (entry->body.size > 0)
        status = satchel_body_store(entry->body, &apply->stored);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_entry stored = *entry;
    uint8_t secret[SATCHEL_SECRET_BYTES];
    stored.body = satchel_buffer_span(&apply->stored);
    if (apply->own && entry->is_cut) { /* here it is whole, and so is the receipt */
        status = satchel_copy_secret(apply, entry->number, secret);
        stored.secret = secret;
        stored.is_cut = false;
    }
    if (status == SATCHEL_OK)
        status = satchel_log_append(apply->log, &stored, satchel_span_of(NULL, 0), error);
    return status == SATCHEL_OK ? satchel_apply_keep_receipt(apply, &stored, stored.is_cut, error)
                                : status;
}

enum satchel_status satchel_apply_record_conflicts(struct satchel_apply *apply,
                                                   const struct satchel_notes *notes,
                                                   struct satchel_error *error)
{
    sqlite3_stmt *find = apply->statements[APPLY_FIND_CONFLICT];
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < notes->conflict_count && status == SATCHEL_OK; i++) {
        const struct satchel_conflict_note *note = &notes->conflicts[i];
        sqlite3_bind_blob(find, 1, note->id.bytes, sizeof note->id.bytes, SQLITE_STATIC);
        int code = sqlite3_step(find);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            status = satchel_apply_sql_error(apply, "read satchel_conflict", error);
        apply->conflict_count += code == SQLITE_DONE && note->is_open;
        sqlite3_reset(find);
        if (status == SATCHEL_OK)
            status = satchel_log_conflict(apply->log, apply->schema, note, error);
    }
    return status;
}

/* ---- the entry ---- */

static enum satchel_status finish_own(struct satchel_apply *apply,
                                      const struct satchel_entry *entry,
                                      const struct satchel_notes *notes,
                                      struct satchel_error *error)
{
    sqlite3_stmt *drop = apply->statements[APPLY_DROP_CHANGE];
    sqlite3_bind_int64(drop, 1, (sqlite3_int64)entry->number);
    enum satchel_status status =
        satchel_apply_run(apply, APPLY_DROP_CHANGE, "write satchel_change", error);
    if (status == SATCHEL_OK)
        status = satchel_apply_note_own(apply, entry, error);
    if (status != SATCHEL_OK)
        return status;
    apply->quarantined_count += notes->quarantined_count;
    apply->own = NULL;
    satchel_pending_drop_oldest(&apply->pending);
    return SATCHEL_OK;
}

const struct satchel_id *satchel_apply_node_at(const struct satchel_apply *apply, uint64_t cursor)
{
    const struct satchel_position *found = NULL;
    for (size_t i = 0; i < apply->past.count; i++) {
        const struct satchel_position *past = &apply->past.items[i];
        if (past->seq >= cursor && (!found || past->seq < found->seq))
            found = past;
    }
    return found ? &found->node : &apply->node;
}

static void take_seen(struct satchel_apply *apply, const struct satchel_vector *raised)
{
    if (raised->count > 0)
        memmove(apply->seen_items, raised->items, raised->count * sizeof *raised->items);
    apply->seen = (struct satchel_vector){apply->seen_items, raised->count};
    if (apply->held_next.count > 0)
        memmove(apply->held_items, apply->held_next.items,
                apply->held_next.count * sizeof *apply->held_items);
    apply->held = (struct satchel_vector){apply->held_items, apply->held_next.count};
}

/* The replica has applied everything up to the position of the entry. Those that it had before say
 * nothing of what else is back. */
static enum satchel_status see(struct satchel_apply *apply, const struct satchel_entry *entry)
{
    struct satchel_vector raised = apply->seen;
    enum satchel_status status =
        entry->seq > 0
            ? satchel_vector_raise(&apply->arena, &raised,
                                   satchel_apply_node_at(apply, entry->cursor), entry->seq, &raised)
            : SATCHEL_OK;
    if (status != SATCHEL_OK)
        return status;
    take_seen(apply, &raised);
    return SATCHEL_OK;
}

/* What was lost comes back with a position that the node has given it now. */
static enum satchel_status hold(struct satchel_apply *apply, uint64_t cursor, uint64_t seq)
{
    apply->held_next = apply->held;
    return apply->has_held && seq > 0
               ? satchel_vector_raise(&apply->arena, &apply->held,
                                      satchel_apply_node_at(apply, cursor), seq, &apply->held_next)
               : SATCHEL_OK;
}

static enum satchel_status advance(struct satchel_apply *apply, const struct satchel_entry *entry,
                                   bool is_own)
{
    apply->cursor = entry->cursor;
    memset(&apply->end, 0, sizeof apply->end);
    if (entry->stamp > apply->seen_stamp)
        apply->seen_stamp = entry->stamp;
    if (is_own) {
        if (entry->number > apply->last_number)
            apply->last_number = entry->number;
        if (entry->stamp > apply->last_stamp)
            apply->last_stamp = entry->stamp;
    }
    return see(apply, entry);
}

/* An own change set that is not pending here was written by another file with this device's id, or
 * by this one before it was put back from an old copy: it is applied like anybody's, and the
 * numbers go on behind it. Unless this one had sent another under that number, which the node has
 * lost since. */
static enum satchel_status find_own(struct satchel_apply *apply, const struct satchel_entry *entry,
                                    struct satchel_error *error)
{
    bool has_body = entry->body.size > 0;
    const struct satchel_pending_set *first = apply->pending.first;
    bool is_own = satchel_id_equal(&entry->device, &apply->replica->device);
    enum satchel_status status = SATCHEL_OK;
    apply->own = NULL;
    if (!is_own && has_body && first && first->number == entry->number) {
        status = satchel_copy_meet(apply, entry, &is_own, error);
        if (is_own)
            apply->own = satchel_pending_oldest(&apply->pending, entry->number);
        return status;
    }
    if (!is_own)
        return SATCHEL_OK;
    if (first && first->number == entry->number) {
        apply->own = satchel_pending_oldest(&apply->pending, entry->number);
        return has_body ? satchel_copy_compare(apply, entry, error) : SATCHEL_OK;
    }
    if (!has_body || (first && entry->number > first->number))
        return satchel_error_set(error, SATCHEL_MISMATCH,
                                 "the server answers change set %" PRIu64
                                 ", which this replica does not have waiting",
                                 entry->number);
    return apply->has_lost ? satchel_copy_compare_lost(apply, entry, error) : SATCHEL_OK;
}

enum satchel_status satchel_apply_entry(struct satchel_apply *apply,
                                        const struct satchel_entry *entry,
                                        struct satchel_error *error)
{
    if (entry->cursor <= apply->cursor) /* another sync of this replica was faster */
        return satchel_apply_take_positions(apply, entry, error);
    if (!apply->schema)
        return satchel_error_set(error, SATCHEL_STATE,
                                 "the server sent an entry before any schema");
    satchel_arena_reset(&apply->arena);
    struct satchel_changeset changeset = {0};
    struct satchel_notes notes = {0};
    apply->own = NULL;
    satchel_apply_forget_plans(apply);
    enum satchel_status status = satchel_notes_read(entry->notes, &apply->arena, &notes);
    if (status == SATCHEL_OK)
        status = hold(apply, entry->cursor, entry->seq);
    if (status == SATCHEL_OK)
        status = satchel_apply_aliases(apply, &notes, error);
    if (status == SATCHEL_OK && (status = find_own(apply, entry, error)) != SATCHEL_OK)
        return status;
    if (status == SATCHEL_OK && !apply->own && entry->body.size > 0)
        status = satchel_changeset_decode(entry->body, &apply->arena, &changeset, error);
    if (status != SATCHEL_OK)
        return satchel_error_default(error, status,
                                     "entry %" PRIu64 " of the server cannot be read: %s",
                                     entry->cursor, satchel_status_text(status));
    bool is_own = apply->own || satchel_id_equal(&entry->device, &apply->replica->device);
    status = satchel_apply_write_effects(apply, entry, &changeset, &notes, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_apply_append(apply, entry, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_record_conflicts(apply, &notes, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_drop_evicted(apply, &notes, error);
    if (status == SATCHEL_OK && apply->own)
        status = finish_own(apply, entry, &notes, error);
    if (status == SATCHEL_OK && apply->has_lost)
        status = satchel_apply_drop_lost(apply, entry, error);
    if (status == SATCHEL_OK)
        status = advance(apply, entry, is_own);
    if (status != SATCHEL_OK)
        return satchel_error_default(error, status,
                                     "entry %" PRIu64 " of the server cannot be stored: "
                                     "%s",
                                     entry->cursor, satchel_status_text(status));
    satchel_apply_forget_plans(apply);
    apply->entry_count++;
    return SATCHEL_OK;
}

/* ---- the end of the stream ---- */

enum satchel_status satchel_apply_head(struct satchel_apply *apply,
                                       const struct satchel_message_head *head,
                                       struct satchel_error *error)
{
    const struct satchel_id *node = satchel_apply_node_at(apply, head->cursor);
    struct satchel_vector raised = apply->seen;
    if (head->cursor > apply->complete)
        apply->complete = head->cursor;
    if (head->cursor < apply->cursor) /* another sync of this replica is ahead */
        return SATCHEL_OK;
    satchel_arena_reset(&apply->arena);
    enum satchel_status status = hold(apply, head->cursor, satchel_vector_get(&head->vector, node));
    for (size_t i = 0; i < head->vector.count && status == SATCHEL_OK; i++)
        status = satchel_vector_raise(&apply->arena, &raised, &head->vector.items[i].node,
                                      head->vector.items[i].seq, &raised);
    if (status != SATCHEL_OK)
        return satchel_error_default(error, status, "the end of the stream cannot be kept: %s",
                                     satchel_status_text(status));
    take_seen(apply, &raised);
    apply->cursor = head->cursor;
    apply->end = head->receipt;
    return SATCHEL_OK;
}
