/* Owns what an entry says beside its body: parts that did not take effect as they stand, their
 * effects, conflicts opened, changed and closed, parts set aside (protocol's entry.h). */
#include "merge_internal.h"

#define NOTES_BYTES_MAX ((size_t)256 << 20)

enum satchel_status merge_notes_begin(struct merge_run *run, uint32_t part_count,
                                      struct merge_notes *notes)
{
    memset(notes, 0, sizeof *notes);
    notes->first_conflict = run->conflict_count;
    notes->unlike = SATCHEL_ARENA_ARRAY(&run->arena, uint32_t, part_count);
    notes->effects = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_effect, part_count);
    notes->quarantined =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_quarantine_note, part_count);
    return notes->unlike && notes->effects && notes->quarantined ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* ---- effects ---- */

static const struct satchel_field *written_field(const struct satchel_part *part, uint32_t column)
{
    for (uint32_t i = 0; i < part->field_count && part->fields[i].column <= column; i++)
        if (part->fields[i].column == column)
            return &part->fields[i];
    return NULL;
}

/* The value that the part by itself would leave in a column of the row; NULL for a counter, whose
 * effect is a sum. */
static const struct satchel_value *stands_for(const struct satchel_table *table,
                                              const struct satchel_field *field, uint32_t column)
{
    if (!field)
        return &table->rules.columns[column].default_value;
    return table->columns[column].rule == SATCHEL_RULE_COUNTER ? NULL : &field->value;
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
        const struct satchel_value *value = stands_for(table, field, column);
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
        const struct satchel_value *value = stands_for(table, field, column);
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

static struct satchel_effect *add_effect(struct merge_notes *notes, const struct satchel_part *part,
                                         uint32_t part_index, enum satchel_effect_kind kind)
{
    struct satchel_effect *effect = &notes->effects[notes->effect_count++];
    notes->unlike[notes->unlike_count++] = part_index;
    effect->kind = kind;
    effect->table = part->table;
    effect->key = part->key;
    effect->key_count = part->key_count;
    return effect;
}

/* The whole row as it is now, or that it is not there. */
static enum satchel_status add_whole(struct merge_run *run, struct merge_notes *notes,
                                     const struct satchel_part *part, uint32_t part_index,
                                     const struct merge_row *row)
{
    const struct satchel_table *table = row->stored.table;
    if (!row->row.exists) {
        add_effect(notes, part, part_index, SATCHEL_EFFECT_GONE);
        return SATCHEL_OK;
    }
    struct satchel_effect *effect = add_effect(notes, part, part_index, SATCHEL_EFFECT_WHOLE);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_field, table->column_count);
    if (!fields)
        return SATCHEL_NOMEM;
    effect->fields = fields;
    for (uint32_t column = 0; column < table->column_count; column++) {
        const struct satchel_column_rules *rules = &table->rules.columns[column];
        if (rules->in_key || satchel_value_equal(&rules->default_value, &row->row.values[column]))
            continue;
        fields[effect->field_count].column = column;
        fields[effect->field_count++].value = row->row.values[column];
    }
    return SATCHEL_OK;
}

/* The fields the author wrote, as they are now, and what else has changed with them. */
static enum satchel_status add_delta(struct merge_run *run, struct merge_notes *notes,
                                     const struct satchel_part *part, uint32_t part_index,
                                     const struct merge_row *row,
                                     const struct satchel_merge_result *result)
{
    const struct satchel_table *table = row->stored.table;
    struct satchel_effect *effect = add_effect(notes, part, part_index, SATCHEL_EFFECT_DELTA);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_field, table->column_count);
    if (!fields)
        return SATCHEL_NOMEM;
    effect->fields = fields;
    for (uint32_t column = 0; column < table->column_count; column++) {
        if (table->rules.columns[column].in_key ||
            (!result->changed[column] && !written_field(part, column)))
            continue;
        fields[effect->field_count].column = column;
        fields[effect->field_count++].value = row->row.values[column];
    }
    return SATCHEL_OK;
}

enum satchel_status merge_note_effect(struct merge_run *run, struct merge_notes *notes,
                                      const struct satchel_part *part, uint32_t part_index,
                                      const struct merge_row *row,
                                      const struct satchel_merge_result *result)
{
    if (stands(part, row, result))
        return SATCHEL_OK;
    if (part->kind == SATCHEL_OP_UPDATE && result->existed_before && row->row.exists)
        return add_delta(run, notes, part, part_index, row, result);
    return add_whole(run, notes, part, part_index, row);
}

enum satchel_status merge_note_quarantine(struct merge_run *run, struct merge_notes *notes,
                                          const struct satchel_part *part, uint32_t part_index,
                                          const struct merge_row *row, struct satchel_span reason)
{
    struct satchel_quarantine_note *note = &notes->quarantined[notes->quarantined_count++];
    note->part = part_index;
    note->reason = reason;
    if (row)
        return add_whole(run, notes, part, part_index, row);
    notes->unlike[notes->unlike_count++] = part_index;
    return SATCHEL_OK;
}

/* ---- conflicts ---- */

/* The list points to the row's present values, which the next merge replaces: keep copies. */
enum satchel_status merge_conflicts_list(struct merge_run *run, struct merge_row *row)
{
    struct satchel_conflict_list *list = &row->conflicts;
    row->has_conflicts = true;
    memset(list, 0, sizeof *list);
    if (!row->is_known)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_row_conflicts(&row->stored.table->rules, &row->row, &run->arena, list);
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

/* The login of a device: of the batch, met before, or loaded. Empty if nobody knows it. */
static enum satchel_status user_of(struct merge_run *run, const struct satchel_id *id,
                                   struct satchel_span *user)
{
    struct merge_batch *batch = run->batch;
    struct satchel_span key = satchel_span_of(id->bytes, sizeof id->bytes);
    struct satchel_store_device *device = satchel_map_get(&batch->users, key);
    if (!device) {
        device = SATCHEL_ARENA_ARRAY(&batch->arena, struct satchel_store_device, 1);
        if (!device)
            return SATCHEL_NOMEM;
        device->id = *id;
        enum satchel_status status =
            run->store->ops->load_devices(run->store, device, 1, &batch->arena, batch->error);
        if (status == SATCHEL_NOT_FOUND) {
            device->user = satchel_span_of(NULL, 0);
            status = SATCHEL_OK;
        }
        if (status == SATCHEL_OK)
            status = satchel_map_put(&batch->users, key, device);
        if (status != SATCHEL_OK)
            return status;
    }
    *user = device->user;
    return SATCHEL_OK;
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

/* `resolved`: 0 for a conflict that is open. */
static enum satchel_status add_conflict(struct merge_run *run, const struct merge_row *row,
                                        const struct satchel_conflict *conflict,
                                        satchel_stamp resolved)
{
    const struct satchel_table *table = row->stored.table;
    struct satchel_conflict_note *note = next_note(run);
    if (!note)
        return SATCHEL_NOMEM;
    note->id = satchel_conflict_id(table->number, row->stored.key, table->key_count, conflict->unit,
                                   &conflict->loser.device, conflict->loser.number);
    note->is_open = resolved == 0;
    note->table = table->number;
    note->key = row->stored.key;
    note->key_count = table->key_count;
    note->unit = conflict->unit;
    note->severity = conflict->severity;
    note->loser = conflict->loser;
    note->winner = conflict->winner;
    note->resolved = resolved;
    note->column_count = conflict->column_count;
    enum satchel_status status = user_of(run, &note->loser.device, &note->loser_user);
    if (status == SATCHEL_OK)
        status = user_of(run, &note->winner.device, &note->winner_user);
    if (status == SATCHEL_OK)
        status = copy_fields(run, table, conflict, conflict->lost, &note->lost);
    if (status == SATCHEL_OK)
        status = copy_fields(run, table, conflict, conflict->kept, &note->kept);
    /* What the row has now, if it is there; else what it had last. */
    for (uint32_t i = 0; status == SATCHEL_OK && row->row.exists && i < note->column_count; i++)
        note->kept[i].value = row->row.values[note->kept[i].column];
    return status;
}

static int compare(const struct satchel_conflict *a, const struct satchel_conflict *b)
{
    if (a->unit != b->unit)
        return a->unit < b->unit ? -1 : 1;
    return satchel_order_compare(&a->loser, &b->loser);
}

static bool is_same(const struct satchel_conflict *a, const struct satchel_conflict *b)
{
    if (a->severity != b->severity || satchel_order_compare(&a->winner, &b->winner) != 0)
        return false;
    for (uint32_t i = 0; i < a->column_count; i++)
        if (!satchel_value_equal(&a->kept[i], &b->kept[i]))
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
            status = add_conflict(run, row, &before->items[old++], stamp);
        else if (order > 0)
            status = add_conflict(run, row, &after->items[new ++], 0);
        else if (is_same(&before->items[old++], &after->items[new ++]))
            continue;
        else
            status = add_conflict(run, row, &after->items[new - 1], 0);
    }
    return status;
}

enum satchel_status merge_notes_end(struct merge_run *run, const struct merge_notes *notes,
                                    struct satchel_span *out)
{
    struct satchel_notes all = {
        .unlike = notes->unlike,
        .unlike_count = notes->unlike_count,
        .effects = notes->effects,
        .effect_count = notes->effect_count,
        .conflicts = run->conflicts ? run->conflicts + notes->first_conflict : NULL,
        .conflict_count = (uint32_t)(run->conflict_count - notes->first_conflict),
        .quarantined = notes->quarantined,
        .quarantined_count = notes->quarantined_count,
    };
    *out = satchel_span_of(NULL, 0);
    if (all.unlike_count == 0 && all.conflict_count == 0)
        return SATCHEL_OK;
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, NOTES_BYTES_MAX, NULL);
    enum satchel_status status = satchel_notes_write(&buffer, &all);
    if (status == SATCHEL_OK) {
        *out = satchel_arena_copy(&run->arena, satchel_buffer_span(&buffer));
        status = out->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&buffer);
    return status;
}
