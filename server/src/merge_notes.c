/* Owns what an entry says beside its body: parts that did not take effect as they stand, their
 * effects, conflicts opened, changed and closed, parts set aside (protocol's entry.h).
 *
 * ## The size of notes
 *
 * Notes repeat values that the body does not hold: rows that come back, what won over the written
 * fields, both sides of conflicts. Whatever is said has to fit the frame that carries the entry, or
 * no device could ever receive it:
 *
 *   parts set aside   room for all of them is kept free from the start
 *   effects           one that changed nothing may be left out: every replica has the value, and
 *                     the author the one under its pending write; a part whose change does not fit
 *                     is set aside instead
 *   conflicts         values over CONFLICT_VALUE_BYTES_MAX are cut to NULL, and conflicts that do
 *                     not fit what is left are left out: the node's own record has them whole */
#include "merge_internal.h"

#include <satchel/mutation.h>

enum {
    CONFLICT_VALUE_BYTES_MAX = 65536,
    NOTES_HEAD_BYTES = 64,
    /* at most, encoded: */
    PART_BYTES = 5 + 16 + MERGE_REASON_BYTES_MAX, /* of a part that is unlike and set aside */
    EFFECT_BYTES = 32,                            /* without key, columns, values */
    CONFLICT_BYTES = 192,                         /* without key, users, columns, values */
    COLUMN_BYTES = 3,
    NUMBER_BYTES = 9,
    LENGTH_BYTES = 5
};

enum satchel_status merge_notes_begin(struct merge_run *run, uint64_t cursor, uint32_t part_count,
                                      struct merge_notes *notes)
{
    memset(notes, 0, sizeof *notes);
    notes->cursor = cursor;
    notes->first_conflict = run->conflict_count;
    notes->effect_bytes_max =
        SATCHEL_NOTES_BYTES_MAX - NOTES_HEAD_BYTES - (size_t)part_count * PART_BYTES;
    notes->unlike = SATCHEL_ARENA_ARRAY(&run->arena, uint32_t, part_count);
    notes->quarantined =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_quarantine_note, part_count);
    return notes->unlike && notes->quarantined ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* ---- sizes ---- */

static size_t value_bytes(const struct satchel_value *value)
{
    bool is_bytes = value->type == SATCHEL_TEXT || value->type == SATCHEL_BLOB;
    return is_bytes ? LENGTH_BYTES + value->bytes.size : NUMBER_BYTES;
}

static size_t key_bytes(const struct satchel_value *key, uint32_t key_count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < key_count; i++)
        bytes += value_bytes(&key[i]);
    return bytes;
}

static size_t fields_bytes(const struct satchel_field *fields, uint32_t field_count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < field_count; i++)
        bytes += COLUMN_BYTES + value_bytes(&fields[i].value);
    return bytes;
}

/* ---- effects ---- */

static const struct satchel_field *written_field(const struct satchel_part *part, uint32_t column)
{
    for (uint32_t i = 0; i < part->field_count && part->fields[i].column <= column; i++)
        if (part->fields[i].column == column)
            return &part->fields[i];
    return NULL;
}

/* Whether an update carries what was done to the field, not what it holds afterwards. */
static bool carries_operation(enum satchel_rule rule)
{
    return rule == SATCHEL_RULE_COUNTER || rule == SATCHEL_RULE_SET || rule == SATCHEL_RULE_MAP ||
           rule == SATCHEL_RULE_STATE;
}

/* The value that the part by itself would leave in a column of the row; NULL where that is not what
 * it carries: what came of it is said explicitly. */
static const struct satchel_value *stands_for(const struct satchel_table *table,
                                              enum satchel_op_kind kind,
                                              const struct satchel_field *field, uint32_t column)
{
    enum satchel_rule rule = table->columns[column].rule;
    if (!field)
        return &table->rules.columns[column].default_value;
    if (kind == SATCHEL_OP_UPDATE ? carries_operation(rule) : rule == SATCHEL_RULE_COUNTER)
        return NULL;
    return &field->value;
}

static bool insert_stands(const struct satchel_part *part, const struct merge_row *row)
{
    const struct satchel_table *table = row->stored.table;
    uint32_t next = 0; /* both run in ascending columns */
    for (uint32_t column = 0; column < table->column_count; column++) {
        if (table->rules.columns[column].in_key)
            continue;
        const struct satchel_field *field = NULL;
        if (next < part->field_count && part->fields[next].column == column)
            field = &part->fields[next++];
        const struct satchel_value *value = stands_for(table, part->kind, field, column);
        if (!value || !satchel_value_equal(value, &row->row.values[column]))
            return false;
    }
    return true;
}

static bool update_stands(const struct satchel_part *part, const struct merge_row *row,
                          const struct satchel_merge_result *result)
{
    const struct satchel_table *table = row->stored.table;
    uint32_t next = 0;
    for (uint32_t column = 0; column < table->column_count; column++) {
        const struct satchel_field *field = NULL;
        if (next < part->field_count && part->fields[next].column == column)
            field = &part->fields[next++];
        if (!field && result->changed[column])
            return false;
        if (!field)
            continue;
        const struct satchel_value *value = stands_for(table, part->kind, field, column);
        if (!value || !satchel_value_equal(value, &row->row.values[column]))
            return false;
    }
    return true;
}

static bool stands(const struct satchel_part *part, const struct merge_row *row,
                   const struct satchel_merge_result *result)
{
    switch (part->kind) {
    case SATCHEL_OP_INSERT: return row->row.exists && insert_stands(part, row);
    case SATCHEL_OP_UPDATE:
        return result->existed_before && row->row.exists && update_stands(part, row, result);
    case SATCHEL_OP_DELETE: break;
    }
    return !row->row.exists;
}

/* Whether the column belongs into the effect. */
static bool is_in_effect(enum satchel_effect_kind kind, bool changes_only,
                         const struct satchel_part *part, const struct merge_row *row,
                         const struct satchel_merge_result *result, uint32_t column)
{
    const struct satchel_column_rules *rules = &row->stored.table->rules.columns[column];
    if (rules->in_key)
        return false;
    if (kind == SATCHEL_EFFECT_WHOLE)
        return !satchel_value_equal(&rules->default_value, &row->row.values[column]);
    return result->changed[column] || (!changes_only && written_field(part, column));
}

/* The row as it is now: what it is whole, or (delta) the fields the author wrote and what else has
 * changed with them, or only what has changed. */
static enum satchel_status make_effect(struct merge_run *run, enum satchel_effect_kind kind,
                                       bool changes_only, const struct satchel_part *part,
                                       const struct merge_row *row,
                                       const struct satchel_merge_result *result,
                                       struct satchel_effect *out)
{
    uint32_t column_count = row->stored.table->column_count, count = 0;
    *out = (struct satchel_effect){.kind = kind,
                                   .table = row->stored.table->number,
                                   .key = row->stored.key,
                                   .key_count = row->stored.table->key_count};
    if (kind == SATCHEL_EFFECT_GONE || kind == SATCHEL_EFFECT_ALIAS)
        return SATCHEL_OK;
    for (uint32_t column = 0; column < column_count; column++)
        count += is_in_effect(kind, changes_only, part, row, result, column);
    struct satchel_field *fields = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_field, count);
    if (!fields)
        return SATCHEL_NOMEM;
    out->fields = fields;
    for (uint32_t column = 0; column < column_count; column++)
        if (is_in_effect(kind, changes_only, part, row, result, column))
            fields[out->field_count++] = (struct satchel_field){column, row->row.values[column]};
    return SATCHEL_OK;
}

/* LIMIT: it does not fit any more. */
static enum satchel_status add_effect(struct merge_run *run, struct merge_notes *notes,
                                      const struct satchel_effect *effect)
{
    size_t bytes = EFFECT_BYTES + key_bytes(effect->key, effect->key_count) +
                   fields_bytes(effect->fields, effect->field_count) +
                   (effect->into ? key_bytes(effect->into, effect->key_count) : 0);
    if (bytes > notes->effect_bytes_max - notes->effect_bytes)
        return SATCHEL_LIMIT;
    enum satchel_status status =
        MERGE_GROW(&run->arena, notes->effects, notes->effect_count, notes->effect_capacity);
    if (status != SATCHEL_OK)
        return status;
    notes->effect_bytes += bytes;
    notes->effects[notes->effect_count] = *effect;
    notes->effect_count += !SATCHEL_MUTATED(no_effect);
    return SATCHEL_OK;
}

static bool has_changed(const struct merge_row *row, const struct satchel_merge_result *result)
{
    if (result->existed_before != row->row.exists)
        return true;
    for (uint32_t column = 0; column < row->stored.table->column_count; column++)
        if (result->changed[column])
            return true;
    return false;
}

enum satchel_status merge_note_effect(struct merge_run *run, struct merge_notes *notes,
                                      const struct satchel_part *part, uint32_t part_index,
                                      const struct merge_row *row,
                                      const struct satchel_merge_result *result)
{
    if (stands(part, row, result))
        return SATCHEL_OK;
    bool is_there_still = result->existed_before && row->row.exists;
    enum satchel_effect_kind kind = !row->row.exists ? SATCHEL_EFFECT_GONE
                                    : is_there_still && part->kind == SATCHEL_OP_UPDATE
                                        ? SATCHEL_EFFECT_DELTA
                                        : SATCHEL_EFFECT_WHOLE;
    struct satchel_effect effect;
    notes->unlike[notes->unlike_count++] = part_index;
    enum satchel_status status = make_effect(run, kind, false, part, row, result, &effect);
    if (status == SATCHEL_OK)
        status = add_effect(run, notes, &effect);
    if (status != SATCHEL_LIMIT || !has_changed(row, result))
        return status == SATCHEL_LIMIT ? SATCHEL_OK : status;
    if (!is_there_still)
        return SATCHEL_LIMIT;
    status = make_effect(run, SATCHEL_EFFECT_DELTA, true, part, row, result, &effect);
    return status == SATCHEL_OK ? add_effect(run, notes, &effect) : status;
}

void merge_note_unlike(struct merge_notes *notes, uint32_t part_index)
{
    notes->unlike[notes->unlike_count++] = part_index;
}

enum satchel_status merge_note_change(struct merge_run *run, struct merge_notes *notes,
                                      const struct satchel_part *part, const struct merge_row *row,
                                      bool was_alias, const struct satchel_merge_result *result)
{
    struct satchel_effect effect;
    if (!part && !was_alias && !has_changed(row, result))
        return SATCHEL_OK;
    enum satchel_effect_kind kind = !row->row.exists         ? SATCHEL_EFFECT_GONE
                                    : result->existed_before ? SATCHEL_EFFECT_DELTA
                                                             : SATCHEL_EFFECT_WHOLE;
    enum satchel_status status = make_effect(run, kind, part == NULL, part, row, result, &effect);
    return status == SATCHEL_OK ? add_effect(run, notes, &effect) : status;
}

enum satchel_status merge_note_alias(struct merge_run *run, struct merge_notes *notes,
                                     const struct merge_row *row, const struct merge_row *into)
{
    struct satchel_effect effect = {.kind = SATCHEL_EFFECT_ALIAS,
                                    .table = row->stored.table->number,
                                    .key = row->stored.key,
                                    .key_count = row->stored.table->key_count,
                                    .into = into->stored.key};
    return add_effect(run, notes, &effect);
}

static enum satchel_status keep_quarantined(struct merge_run *run, uint64_t cursor, uint32_t part,
                                            const struct merge_row *row)
{
    if (run->quarantined_count == run->quarantined_capacity) {
        size_t capacity = run->quarantined_capacity ? run->quarantined_capacity * 2 : 64;
        struct satchel_store_quarantine *all =
            SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_store_quarantine, capacity);
        if (!all)
            return SATCHEL_NOMEM;
        if (run->quarantined_count)
            memcpy(all, run->quarantined, run->quarantined_count * sizeof *all);
        run->quarantined = all;
        run->quarantined_capacity = capacity;
    }
    run->quarantined[run->quarantined_count++] = (struct satchel_store_quarantine){
        cursor, part, row ? row->stored.name : satchel_span_of(NULL, 0)};
    return SATCHEL_OK;
}

/* The effect says again what every replica but the author's shows: it may be left out. */
enum satchel_status merge_note_quarantine(struct merge_run *run, struct merge_notes *notes,
                                          const struct satchel_part *part, uint32_t part_index,
                                          const struct merge_row *row, struct satchel_span reason)
{
    struct satchel_quarantine_note *note = &notes->quarantined[notes->quarantined_count++];
    struct satchel_effect effect;
    struct satchel_span survivor;
    struct merge_row *into;
    note->part = part_index;
    note->reason = reason;
    notes->unlike[notes->unlike_count++] = part_index;
    enum satchel_status status = keep_quarantined(run, notes->cursor, part_index, row);
    if (!row || status != SATCHEL_OK)
        return status;
    enum satchel_effect_kind kind = row->row.exists ? SATCHEL_EFFECT_WHOLE : SATCHEL_EFFECT_GONE;
    status = merge_alias_of(run, row->stored.name, &survivor);
    if (status == SATCHEL_OK && survivor.size > 0) { /* it stays one */
        status = merge_row_get_named(run, survivor, &into);
        if (status == SATCHEL_OK)
            status = merge_note_alias(run, notes, row, into);
        return status == SATCHEL_LIMIT ? SATCHEL_OK : status;
    }
    if (status == SATCHEL_OK)
        status = make_effect(run, kind, false, part, row, NULL, &effect);
    if (status == SATCHEL_OK)
        status = add_effect(run, notes, &effect);
    return status == SATCHEL_LIMIT ? SATCHEL_OK : status;
}

/* ---- conflicts ---- */

/* The list points to the row's present values, which the next merge replaces: keep copies. */
enum satchel_status merge_conflicts_of(struct merge_run *run, const struct satchel_table *table,
                                       const struct satchel_row *row,
                                       struct satchel_conflict_list *list)
{
    memset(list, 0, sizeof *list);
    enum satchel_status status = satchel_row_conflicts(&table->rules, row, &run->arena, list);
    for (size_t i = 0; status == SATCHEL_OK && i < list->count; i++) {
        struct satchel_conflict *conflict = &list->items[i];
        if (conflict->column_count == 0)
            continue;
        struct satchel_value *kept =
            SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_value, conflict->column_count);
        if (!kept)
            return SATCHEL_NOMEM;
        memcpy(kept, conflict->kept, conflict->column_count * sizeof *kept);
        conflict->kept = kept;
    }
    return status;
}

enum satchel_status merge_conflicts_list(struct merge_run *run, struct merge_row *row)
{
    row->has_conflicts = true;
    memset(&row->conflicts, 0, sizeof row->conflicts);
    if (!row->is_known)
        return SATCHEL_OK;
    return merge_conflicts_of(run, row->stored.table, &row->row, &row->conflicts);
}

/* The login of a device. Empty if nobody knows it. */
static enum satchel_status user_of_device(struct merge_run *run, const struct satchel_id *id,
                                          struct satchel_span *user)
{
    const struct satchel_store_device *device;
    enum satchel_status status = merge_device_get(run->batch, id, &device);
    if (status == SATCHEL_OK)
        *user = device->user;
    return status;
}

/* The author of a write. The server's device writes in the name of others, too: of those whose
 * parts were released from quarantine. */
static enum satchel_status user_of(struct merge_run *run, const struct satchel_order *order,
                                   struct satchel_span *user)
{
    struct merge_batch *batch = run->batch;
    struct satchel_entry entry;
    if (!incarnation_is_own(&batch->known, &order->device))
        return user_of_device(run, &order->device, user);
    for (size_t i = 0; i < run->changeset_count; i++) {
        const struct satchel_incoming *incoming = run->changesets[i].incoming;
        if (incoming->number == order->number &&
            satchel_id_equal(&incoming->device, &order->device)) {
            *user = incoming->user;
            return SATCHEL_OK;
        }
    }
    enum satchel_status status = satchel_store_load_change(
        run->store, &order->device, order->number, &entry, &run->arena, batch->error);
    if (status == SATCHEL_OK)
        *user = entry.user;
    return status == SATCHEL_NOT_FOUND ? user_of_device(run, &order->device, user) : status;
}

static enum satchel_status copy_fields(struct merge_run *run, const struct satchel_table *table,
                                       const struct satchel_conflict *conflict,
                                       const struct satchel_value *values,
                                       struct satchel_field **out)
{
    *out = NULL;
    if (conflict->column_count == 0)
        return SATCHEL_OK;
    *out = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_field, conflict->column_count);
    if (!*out)
        return SATCHEL_NOMEM;
    uint32_t count = 0;
    for (uint32_t column = 0; column < table->column_count && count < conflict->column_count;
         column++) {
        if (table->rules.columns[column].unit != conflict->unit ||
            table->rules.columns[column].in_key)
            continue;
        (*out)[count].column = column;
        (*out)[count].value = values[count];
        count++;
    }
    return SATCHEL_OK;
}

static struct satchel_conflict_note *next_note(struct merge_run *run)
{
    if (run->conflict_count == run->conflict_capacity) {
        size_t capacity = run->conflict_capacity ? run->conflict_capacity * 2 : 64;
        struct satchel_conflict_note *notes =
            SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_conflict_note, capacity);
        if (!notes)
            return NULL;
        if (run->conflict_count)
            memcpy(notes, run->conflicts, run->conflict_count * sizeof *notes);
        run->conflicts = notes;
        run->conflict_capacity = capacity;
    }
    struct satchel_conflict_note *note = &run->conflicts[run->conflict_count++];
    memset(note, 0, sizeof *note);
    return note;
}

enum satchel_status merge_note_conflict(struct merge_run *run, const struct merge_row *row,
                                        const struct merge_row *wrote,
                                        const struct satchel_conflict *conflict,
                                        satchel_stamp resolved)
{
    const struct satchel_table *table = row->stored.table;
    struct satchel_conflict_note *note = next_note(run);
    if (!note)
        return SATCHEL_NOMEM;
    note->id = satchel_conflict_id(table->number, wrote->stored.key, table->key_count,
                                   conflict->unit, &conflict->loser.device, conflict->loser.number);
    note->alias_key = wrote == row ? NULL : wrote->stored.key;
    note->is_open = resolved == 0;
    note->table = table->number;
    note->key = row->stored.key;
    note->key_count = table->key_count;
    note->unit = conflict->unit;
    note->kind = conflict->kind;
    note->severity = conflict->severity;
    note->loser = conflict->loser;
    note->winner = conflict->winner;
    note->resolved = resolved;
    note->column_count = conflict->column_count;
    enum satchel_status status = user_of(run, &note->loser, &note->loser_user);
    if (status == SATCHEL_OK)
        status = user_of(run, &note->winner, &note->winner_user);
    if (status == SATCHEL_OK)
        status = copy_fields(run, table, conflict, conflict->lost, &note->lost);
    if (status == SATCHEL_OK)
        status = copy_fields(run, table, conflict, conflict->kept, &note->kept);
    /* What the row has now, if it is there; else what it had last. */
    bool is_there = row->row.exists && conflict->kind != SATCHEL_CONFLICT_DUPLICATE;
    for (uint32_t i = 0; status == SATCHEL_OK && is_there && i < note->column_count; i++)
        note->kept[i].value = row->row.values[note->kept[i].column];
    return status;
}

static int compare(const struct satchel_conflict *a, const struct satchel_conflict *b)
{
    if (a->unit != b->unit)
        return a->unit < b->unit ? -1 : 1;
    return satchel_order_compare(&a->loser, &b->loser);
}

bool merge_conflict_is_same(const struct satchel_conflict *a, const struct satchel_conflict *b)
{
    if (a->kind != b->kind || a->severity != b->severity ||
        satchel_order_compare(&a->winner, &b->winner) != 0)
        return false;
    for (uint32_t i = 0; i < a->column_count; i++)
        if (!satchel_value_equal(&a->kept[i], &b->kept[i]) ||
            !satchel_value_equal(&a->lost[i], &b->lost[i])) /* a map's keys are lost one by one */
            return false;
    return true;
}

enum satchel_status merge_note_conflicts(struct merge_run *run, const struct merge_row *row,
                                         const struct satchel_conflict_list *before,
                                         satchel_stamp stamp)
{
    const struct satchel_conflict_list *after = &row->conflicts;
    enum satchel_status status = SATCHEL_OK;
    for (size_t old = 0, new = 0;
         status == SATCHEL_OK && (old < before->count || new < after->count);) {
        int order = old == before->count  ? 1
                    : new == after->count ? -1
                                          : compare(&before->items[old], &after->items[new]);
        if (order < 0)
            status = merge_note_conflict(run, row, row, &before->items[old++], stamp);
        else if (order > 0)
            status = merge_note_conflict(run, row, row, &after->items[new ++], 0);
        else if (merge_conflict_is_same(&before->items[old++], &after->items[new ++]))
            continue;
        else
            status = merge_note_conflict(run, row, row, &after->items[new - 1], 0);
    }
    return status;
}

/* Large values to NULL. */
static enum satchel_status cut_values(struct merge_run *run, struct satchel_field **fields,
                                      uint32_t count)
{
    bool is_large = false;
    for (uint32_t i = 0; i < count; i++)
        is_large = is_large || value_bytes(&(*fields)[i].value) > CONFLICT_VALUE_BYTES_MAX;
    if (!is_large)
        return SATCHEL_OK;
    struct satchel_field *cut = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_field, count);
    if (!cut)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        cut[i] = (*fields)[i];
        if (value_bytes(&cut[i].value) > CONFLICT_VALUE_BYTES_MAX)
            cut[i].value = satchel_value_null();
    }
    *fields = cut;
    return SATCHEL_OK;
}

/* The conflicts of this entry as its notes say them, within `bytes_max`. */
static enum satchel_status fit_conflicts(struct merge_run *run, size_t first, size_t bytes_max,
                                         struct satchel_notes *notes)
{
    size_t count = run->conflict_count - first, bytes = 0;
    if (count == 0)
        return SATCHEL_OK;
    struct satchel_conflict_note *kept =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_conflict_note, count);
    if (!kept)
        return SATCHEL_NOMEM;
    notes->conflicts = kept;
    for (size_t i = 0; i < count; i++) {
        struct satchel_conflict_note *note = &kept[notes->conflict_count];
        *note = run->conflicts[first + i];
        enum satchel_status status = cut_values(run, &note->lost, note->column_count);
        if (status == SATCHEL_OK)
            status = cut_values(run, &note->kept, note->column_count);
        if (status != SATCHEL_OK)
            return status;
        size_t size = CONFLICT_BYTES + key_bytes(note->key, note->key_count) +
                      (note->alias_key ? key_bytes(note->alias_key, note->key_count) : 0) +
                      note->loser_user.size + note->winner_user.size +
                      fields_bytes(note->lost, note->column_count) +
                      fields_bytes(note->kept, note->column_count);
        if (size > bytes_max - bytes)
            continue;
        bytes += size;
        notes->conflict_count++;
    }
    return SATCHEL_OK;
}

enum satchel_status merge_notes_end(struct merge_run *run, const struct merge_notes *notes,
                                    struct satchel_span *out)
{
    struct satchel_notes all = {
        .unlike = notes->unlike,
        .unlike_count = notes->unlike_count,
        .effects = notes->effects,
        .effect_count = (uint32_t)notes->effect_count,
        .quarantined = notes->quarantined,
        .quarantined_count = notes->quarantined_count,
    };
    *out = satchel_span_of(NULL, 0);
    enum satchel_status status = fit_conflicts(run, notes->first_conflict,
                                               notes->effect_bytes_max - notes->effect_bytes, &all);
    if (status != SATCHEL_OK ||
        (all.unlike_count == 0 && all.effect_count == 0 && all.conflict_count == 0))
        return status;
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, SATCHEL_NOTES_BYTES_MAX, NULL);
    status = satchel_notes_write(&buffer, &all);
    if (status == SATCHEL_OK) {
        *out = satchel_arena_copy(&run->arena, satchel_buffer_span(&buffer));
        status = out->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&buffer);
    return status;
}
