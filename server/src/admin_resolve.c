/* Owns `resolve`: a conflict is closed by a write that knows both sides. What wins is written
 * again, what lost is written over it, in the highest role that the rule knows. */
#include "admin_rows.h"

#include "affinity.h"

#include <satchel/operation.h>

#include <inttypes.h>
#include <stdio.h>

struct resolution {
    struct satchel_store *store;
    struct satchel_job *job;
    struct satchel_id id;
    struct satchel_span take;
    struct satchel_conflict_note note;
    const struct satchel_table *table;
    struct satchel_store_row row; /* as it is in the table */
    struct satchel_part part;
    struct satchel_span role;
};

static bool takes(const struct resolution *resolution, const char *which)
{
    return satchel_span_equal(resolution->take, satchel_span_text(which));
}

static enum satchel_status refuse(struct resolution *resolution, const char *text)
{
    return satchel_error_set(&resolution->job->error, SATCHEL_REFUSED, "%s", text);
}

/* ---- a unit ---- */

static bool is_of_unit(const struct resolution *resolution, uint32_t column)
{
    const struct satchel_column_rules *rules = &resolution->table->rules.columns[column];
    return !rules->in_key && rules->unit == resolution->note.unit;
}

/* The unit's own columns, without those that follow. */
static uint32_t leading_count(const struct resolution *resolution, uint32_t *first)
{
    uint32_t count = 0;
    for (uint32_t i = resolution->table->column_count; i-- > 0;)
        if (is_of_unit(resolution, i) &&
            resolution->table->rules.columns[i].rule != SATCHEL_RULE_FOLLOWS) {
            *first = i;
            count++;
        }
    return count;
}

static enum satchel_status set_value(struct resolution *resolution, struct admin_edit *edit)
{
    uint32_t column = 0;
    if (leading_count(resolution, &column) != 1)
        return refuse(resolution, "a group has several values: take winner or loser, or write its "
                                  "fields (satchel workspace set)");
    edit->is_set[column] = true;
    edit->values[column] =
        affinity_value_of(resolution->table, &resolution->table->columns[column], resolution->take);
    return SATCHEL_OK;
}

/* The value that the conflict's record says the column has lost. */
static struct satchel_value lost_value(const struct resolution *resolution, uint32_t column)
{
    const struct satchel_conflict_note *note = &resolution->note;
    for (uint32_t i = 0; i < note->column_count; i++)
        if (note->lost[i].column == column)
            return note->lost[i].value;
    return satchel_value_null();
}

/* Writes the unit as the row has it, but for a value in `wanted` (NULL: none). */
static enum satchel_status write_unit(struct resolution *resolution,
                                      const struct admin_edit *wanted)
{
    const struct satchel_table *table = resolution->table;
    struct satchel_arena *arena = &resolution->job->arena;
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_field, table->column_count);
    enum satchel_status status = fields ? SATCHEL_OK : SATCHEL_NOMEM;
    uint32_t count = 0;
    for (uint32_t i = 0; status == SATCHEL_OK && i < table->column_count; i++) {
        const struct satchel_value *present = &resolution->row.values[i];
        struct satchel_value lost = lost_value(resolution, i);
        if (!is_of_unit(resolution, i))
            continue;
        fields[count].column = i;
        status = satchel_operation_again(&table->rules.columns[i], present,
                                         wanted && wanted->is_set[i] ? &wanted->values[i] : present,
                                         &lost, arena, &fields[count++].value);
    }
    resolution->part = (struct satchel_part){.kind = SATCHEL_OP_UPDATE,
                                             .table = table->number,
                                             .key = resolution->row.key,
                                             .key_count = table->key_count,
                                             .fields = fields,
                                             .field_count = count};
    return status;
}

static enum satchel_status edit_unit(struct resolution *resolution)
{
    const struct satchel_conflict_note *note = &resolution->note;
    struct satchel_job *job = resolution->job;
    struct admin_edit edit;
    if (takes(resolution, "winner"))
        return write_unit(resolution, NULL);
    enum satchel_status status = admin_edit_begin(&edit, &resolution->row, &job->arena);
    if (status == SATCHEL_OK && !takes(resolution, "loser"))
        status = set_value(resolution, &edit);
    for (uint32_t i = 0;
         status == SATCHEL_OK && takes(resolution, "loser") && i < note->column_count; i++) {
        uint32_t column = note->lost[i].column;
        edit.is_set[column] = true;
        status = satchel_operation_prevail(&resolution->table->rules.columns[column],
                                           &resolution->row.values[column], &note->lost[i].value,
                                           &job->arena, &edit.values[column]);
    }
    if (status == SATCHEL_OK)
        status = admin_edit_part(&edit, &job->arena, &resolution->part, &job->error);
    /* A map loses key by key: those are named, whatever they become. */
    if (status == SATCHEL_OK &&
        resolution->table->rules.columns[note->unit].rule == SATCHEL_RULE_MAP)
        status = write_unit(resolution, &edit);
    return status;
}

/* A role that no other write of the unit outranks. */
static void choose_role(struct resolution *resolution)
{
    resolution->role = satchel_span_text(SATCHEL_OWN_ROLE);
    for (uint32_t i = 0; i < resolution->table->column_count; i++) {
        const struct satchel_column_rules *rules = &resolution->table->rules.columns[i];
        if (is_of_unit(resolution, i) && rules->role_count > 0)
            resolution->role = rules->roles[0];
    }
}

/* ---- a row: a lost delete, a row merged into another ---- */

/* The row stays: one of its fields is written as it is. */
static enum satchel_status touch(struct resolution *resolution)
{
    struct satchel_job *job = resolution->job;
    struct admin_edit edit;
    enum satchel_status status = admin_edit_begin(&edit, &resolution->row, &job->arena);
    if (status != SATCHEL_OK)
        return status;
    for (uint32_t i = 0; i < resolution->table->column_count; i++) {
        if (!satchel_column_is_touchable(&resolution->table->rules.columns[i]))
            continue;
        edit.is_set[i] = true;
        edit.values[i] = resolution->row.values[i];
        return admin_edit_part(&edit, &job->arena, &resolution->part, &job->error);
    }
    return refuse(resolution, "the row has no field that may be written: take loser, or delete it");
}

static enum satchel_status settle_delete(struct resolution *resolution)
{
    if (takes(resolution, "winner"))
        return touch(resolution);
    if (!takes(resolution, "loser"))
        return refuse(resolution, "a lost delete is settled by winner (the row stays) or loser (it "
                                  "is deleted)");
    resolution->part = (struct satchel_part){.kind = SATCHEL_OP_DELETE,
                                             .table = resolution->table->number,
                                             .key = resolution->row.key,
                                             .key_count = resolution->table->key_count};
    return SATCHEL_OK;
}

/* The text of a key as the operation that sets a row apart carries it. */
static enum satchel_status apart_of(struct satchel_arena *arena, const struct satchel_value *key,
                                    struct satchel_value *out)
{
    char digits[24];
    struct satchel_span text = key->bytes;
    if (key->type == SATCHEL_INTEGER) {
        snprintf(digits, sizeof digits, "%" PRId64, key->integer);
        text = satchel_span_text(digits);
    } else if (key->type != SATCHEL_TEXT) {
        text = satchel_span_of(NULL, 0);
    }
    text = satchel_arena_copy(arena, text);
    *out = satchel_value_blob(text);
    return text.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

static enum satchel_status settle_duplicate(struct resolution *resolution)
{
    const struct satchel_conflict_note *note = &resolution->note;
    struct satchel_arena *arena = &resolution->job->arena;
    if (takes(resolution, "winner"))
        return edit_unit(resolution);
    if (!takes(resolution, "loser"))
        return refuse(resolution, "rows with one key are settled by winner (they are one) or loser "
                                  "(they are set apart)");
    struct satchel_field *field = SATCHEL_ARENA_ARRAY(arena, struct satchel_field, 1);
    if (!field || !note->alias_key || note->column_count == 0)
        return field ? SATCHEL_CORRUPT : SATCHEL_NOMEM;
    field->column = note->lost[0].column;
    resolution->part = (struct satchel_part){.kind = SATCHEL_OP_UPDATE,
                                             .table = resolution->table->number,
                                             .key = note->alias_key,
                                             .key_count = resolution->table->key_count,
                                             .fields = field,
                                             .field_count = 1};
    return apart_of(arena, &note->lost[0].value, &field->value);
}

/* ---- all of it ---- */

static enum satchel_status find(struct resolution *resolution)
{
    struct satchel_job *job = resolution->job;
    const struct satchel_conflict_note *note = &resolution->note;
    enum satchel_status status = resolution->store->ops->find_conflict(
        resolution->store, &resolution->id, &job->arena, &resolution->note, &job->error);
    if (status != SATCHEL_OK)
        return status;
    if (!note->is_open)
        return satchel_error_set(&job->error, SATCHEL_STATE,
                                 "this conflict is closed already: somebody wrote knowing both "
                                 "sides");
    resolution->table = satchel_schema_table(resolution->store->schema, note->table);
    if (!resolution->table || resolution->table->key_count != note->key_count)
        return satchel_error_set(&job->error, SATCHEL_CORRUPT,
                                 "the record of this conflict is damaged; restore a backup");
    status = admin_row(resolution->store, resolution->table, note->key, &job->arena,
                       &resolution->row, &job->error);
    if (status == SATCHEL_OK && !resolution->row.exists)
        status = satchel_error_set(&job->error, SATCHEL_STATE, "the row is not there any more");
    return status;
}

static enum satchel_status make_part(struct resolution *resolution)
{
    switch (resolution->note.kind) {
    case SATCHEL_CONFLICT_DELETE: return settle_delete(resolution);
    case SATCHEL_CONFLICT_DUPLICATE: return settle_duplicate(resolution);
    case SATCHEL_CONFLICT_RULE:
    case SATCHEL_CONFLICT_FROZEN: break;
    }
    return edit_unit(resolution);
}

/* Some rules keep a value whoever writes over it: then only the winner can be taken. */
static enum satchel_status check_closed(struct resolution *resolution)
{
    struct satchel_job *job = resolution->job;
    bool is_unit = resolution->note.kind == SATCHEL_CONFLICT_RULE ||
                   resolution->note.kind == SATCHEL_CONFLICT_FROZEN;
    bool took = true;
    enum satchel_status status = resolution->store->ops->find_conflict(
        resolution->store, &resolution->id, &job->arena, &resolution->note, &job->error);
    if (status == SATCHEL_OK && is_unit)
        status = admin_part_stands(resolution->store, &resolution->row, &resolution->part,
                                   &job->arena, &took, &job->error);
    if (status != SATCHEL_OK || (took && !resolution->note.is_open))
        return status;
    return refuse(resolution, took ? "this conflict cannot be closed so"
                                   : "the field's rule keeps the value that it has: only the "
                                     "winner can be taken");
}

enum satchel_status resolve_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct resolution resolution = {.store = workspace->store, .job = job};
    struct satchel_span id;
    enum satchel_status status = job_argument(job, 2, "the conflict's id", &id);
    if (status == SATCHEL_OK)
        status = job_argument(job, 3, "what to take", &resolution.take);
    if (status == SATCHEL_OK && satchel_id_parse(&resolution.id, id) != SATCHEL_OK)
        status = satchel_error_set(&job->error, SATCHEL_INVALID,
                                   "'%.*s' is no conflict's id: `satchel conflicts` lists them",
                                   (int)(id.size < 64 ? id.size : 64), (const char *)id.data);
    if (status == SATCHEL_OK)
        status = find(&resolution);
    if (status == SATCHEL_OK)
        status = make_part(&resolution);
    if (status != SATCHEL_OK)
        return status;
    choose_role(&resolution);
    status =
        admin_merge(resolution.store, &resolution.part, resolution.role, &job->arena, &job->error);
    if (status == SATCHEL_OK)
        status = check_closed(&resolution);
    return status == SATCHEL_OK ? job_answer_text(job, "resolved") : status;
}
