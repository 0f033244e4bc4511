/* Owns the parts of a change set: which fields a row's change writes and as what operations, what
 * its author had been shown of the row, and what only this device keeps beside it. */
#include "capture.h"

#include <satchel/mutation.h>
#include <satchel/operation.h>
#include <satchel/pack.h>

/* Of an insert what differs from the default; what only the server writes is left to it. */
static void choose_inserted(const struct satchel_capture_row *row)
{
    const struct satchel_table *table = row->table;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column_rules *rules = &table->rules.columns[i];
        row->is_changed[i] = !rules->in_key && rules->rule != SATCHEL_RULE_SERVER &&
                             (rules->default_varies ||
                              !satchel_value_equal(&row->new_values[i], &rules->default_value));
    }
}

/* Of an update what is another value, bit for bit: an equal set in another order is written too, so
 * that the node's answer brings back the form that everybody stores. */
static void choose_updated(const struct satchel_capture_row *row)
{
    for (uint32_t i = 0; i < row->table->column_count; i++)
        row->is_changed[i] = row->is_changed[i] &&
                             !satchel_value_equal(&row->old_values[i], &row->new_values[i]) &&
                             !(SATCHEL_MUTATED(column_missed) && i + 1 == row->table->column_count);
}

static enum satchel_status make_field(struct satchel_capture *capture,
                                      const struct satchel_capture_row *row, uint32_t column,
                                      struct satchel_value *out)
{
    const struct satchel_table *table = row->table;
    const struct satchel_value null = satchel_value_null();
    bool is_write;
    enum satchel_status status = satchel_operation_make(
        &table->rules.columns[column], row->existed ? SATCHEL_OP_UPDATE : SATCHEL_OP_INSERT,
        row->existed ? &row->old_values[column] : &null, &row->new_values[column], &capture->arena,
        out, &is_write);
    if (status != SATCHEL_REFUSED)
        return status;
    const char *words =
        satchel_value_refusal(&table->rules.columns[column], &row->new_values[column]);
    return satchel_error_set(&capture->error, status, "table %s, column %s: @%s: %s", table->name,
                             table->columns[column].name,
                             satchel_rule_name(table->columns[column].rule),
                             words ? words : "the step from the old value is too large");
}

/* Columns that are written only because others of their unit are have their value as it is. */
static enum satchel_status make_fields(struct satchel_capture *capture,
                                       const struct satchel_capture_row *row,
                                       struct satchel_part *part)
{
    const struct satchel_table *table = row->table;
    bool *is_written = capture->is_written;
    enum satchel_status status = SATCHEL_OK;
    if (row->existed)
        choose_updated(row);
    else
        choose_inserted(row);
    memcpy(is_written, row->is_changed, table->column_count * sizeof *is_written);
    if (capture->tables[table->number].has_units)
        satchel_capture_complete_units(table, is_written);
    for (uint32_t i = 0; i < table->column_count && status == SATCHEL_OK; i++) {
        struct satchel_field *field = &capture->fields[part->field_count];
        if (!is_written[i])
            continue;
        *field = (struct satchel_field){i, row->new_values[i]};
        if (row->is_changed[i])
            status = make_field(capture, row, i, &field->value);
        part->field_count++;
    }
    return status;
}

static bool writes_unit(const struct satchel_part *part, const struct satchel_table *table,
                        uint32_t unit)
{
    for (uint32_t i = 0; i < part->field_count; i++)
        if (table->rules.columns[part->fields[i].column].unit == unit)
            return true;
    return false;
}

/* Whether the part may freeze the row: then it speaks for what was shown of the units that freeze.
 */
static bool may_freeze(const struct satchel_part *part, const struct satchel_table *table)
{
    for (uint32_t i = 0; table->rules.freezing_state_count > 0 && i < part->field_count; i++)
        if (part->fields[i].column == table->rules.state_column)
            return true;
    return false;
}

static bool is_frozen_by_state(const struct satchel_table *table, uint32_t unit)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column_rules *rules = &table->rules.columns[i];
        if (rules->unit == unit && rules->frozen != SATCHEL_FROZEN_NEVER &&
            rules->frozen != SATCHEL_FROZEN_PARENT)
            return true;
    }
    return false;
}

bool satchel_capture_is_excepted(const struct satchel_part *part, const struct satchel_table *table,
                                 const struct satchel_exception *view)
{
    return part->kind != SATCHEL_OP_UPDATE || view->column == SATCHEL_COLUMN_ROW ||
           writes_unit(part, table, view->column) ||
           (may_freeze(part, table) && is_frozen_by_state(table, view->column));
}

static bool is_unit_masked(const struct satchel_capture *capture, const struct satchel_table *table,
                           uint32_t unit)
{
    const struct satchel_capture_state *state = &capture->state;
    return table->rules.columns[unit].unit == unit &&
           !satchel_column_is_seen(table, unit, satchel_span_of(state->role, state->role_bytes));
}

/* Nothing was shown of what is masked from the author, whatever was pending on it. */
static enum satchel_status except_masked(struct satchel_capture *capture,
                                         const struct satchel_table *table,
                                         struct satchel_part *part)
{
    struct satchel_exception *views = SATCHEL_ARENA_ARRAY(
        &capture->arena, struct satchel_exception, part->exception_count + table->column_count);
    uint32_t count = 0;
    if (!views)
        return satchel_error_set(&capture->error, SATCHEL_NOMEM, "no memory for a change");
    for (uint32_t i = 0; i < part->exception_count; i++) {
        uint32_t column = part->exceptions[i].column;
        if (column == SATCHEL_COLUMN_ROW || !is_unit_masked(capture, table, column))
            views[count++] = part->exceptions[i];
    }
    for (uint32_t unit = 0; unit < table->column_count; unit++) {
        const struct satchel_exception nothing = {unit, {.kind = SATCHEL_VIEW_NONE}};
        if (is_unit_masked(capture, table, unit) &&
            satchel_capture_is_excepted(part, table, &nothing))
            views[count++] = nothing;
    }
    part->exceptions = views;
    part->exception_count = count;
    return SATCHEL_OK;
}

/* What the author had in fact been shown of this row. */
enum satchel_status satchel_capture_make_exceptions(struct satchel_capture *capture,
                                                    const struct satchel_capture_row *row,
                                                    struct satchel_part *part)
{
    struct satchel_exception *views;
    uint32_t view_count, count = 0;
    enum satchel_status status =
        satchel_capture_views(capture, row->table, row->key, &views, &view_count);
    if (status != SATCHEL_OK)
        return status;
    for (uint32_t i = 0; i < view_count; i++)
        if (satchel_capture_is_excepted(part, row->table, &views[i]))
            views[count++] = views[i];
    part->exceptions = views;
    part->exception_count = count;
    return row->table->has_masks && part->kind == SATCHEL_OP_UPDATE
               ? except_masked(capture, row->table, part)
               : SATCHEL_OK;
}

static void write_old(const struct satchel_capture *capture, const struct satchel_capture_row *row,
                      const struct satchel_part *part, struct satchel_pack *pack)
{
    const struct satchel_table *table = row->table;
    bool has_units = capture->tables[table->number].has_units;
    uint32_t beside = 0;
    for (uint32_t i = 0; has_units && i < table->column_count; i++)
        beside += satchel_capture_is_beside(table, capture->is_written, i);
    satchel_pack_array(pack, part->field_count + 2 * beside);
    for (uint32_t i = 0; i < part->field_count; i++)
        satchel_pack_value(pack, &row->old_values[part->fields[i].column]);
    for (uint32_t i = 0; beside > 0 && i < table->column_count; i++) {
        if (!satchel_capture_is_beside(table, capture->is_written, i))
            continue;
        satchel_pack_unsigned(pack, i);
        satchel_pack_value(pack, &row->new_values[i]);
    }
}

/* What only this device needs: see SATCHEL_CHANGE_DDL. */
static enum satchel_status write_local(struct satchel_capture *capture,
                                       const struct satchel_capture_row *row,
                                       const struct satchel_part *part)
{
    const struct satchel_table *table = row->table;
    struct satchel_pack pack;
    satchel_pack_init(&pack, &capture->local);
    if (part->kind == SATCHEL_OP_INSERT) {
        satchel_pack_nil(&pack);
    } else if (part->kind == SATCHEL_OP_UPDATE) {
        write_old(capture, row, part, &pack);
    } else {
        uint32_t count = table->column_count - table->key_count;
        satchel_pack_array(&pack, 2);
        satchel_pack_array(&pack, count);
        for (uint32_t i = 0; i < table->column_count; i++)
            if (!table->rules.columns[i].in_key)
                satchel_pack_unsigned(&pack, i);
        satchel_pack_array(&pack, count);
        for (uint32_t i = 0; i < table->column_count; i++)
            if (!table->rules.columns[i].in_key)
                satchel_pack_value(&pack, &row->old_values[i]);
    }
    return pack.status;
}

/* Several operations of one row may come to what none of them was refused for. */
static enum satchel_status check_net(struct satchel_capture *capture,
                                     const struct satchel_capture_row *row)
{
    const struct satchel_capture_table *table = &capture->tables[row->table->number];
    if (!row->existed || !row->exists)
        return SATCHEL_OK;
    return satchel_capture_check_update(capture, table, row->old_values, row->new_values,
                                        row->is_changed);
}

/* The part as it travels, and what this device keeps of it. */
enum satchel_status satchel_capture_put_part(struct satchel_capture *capture,
                                             const struct satchel_capture_row *row,
                                             const struct satchel_part *part)
{
    enum satchel_status status = satchel_changeset_write_part(&capture->parts, part);
    return status == SATCHEL_OK ? write_local(capture, row, part) : status;
}

static enum satchel_status write_part(struct satchel_capture *capture, uint32_t first,
                                      uint32_t *part_count)
{
    struct satchel_capture_row row;
    struct satchel_part part = {0};
    satchel_arena_reset(&capture->arena);
    enum satchel_status status = satchel_capture_net(capture, first, &row);
    if (status != SATCHEL_OK || (!row.existed && !row.exists))
        return status;
    part.kind = !row.existed ? SATCHEL_OP_INSERT
                : row.exists ? SATCHEL_OP_UPDATE
                             : SATCHEL_OP_DELETE;
    part.table = row.table->number;
    part.key = row.key;
    part.key_count = row.table->key_count;
    part.fields = capture->fields;
    if (satchel_capture_op_at(capture, first)->next != 0)
        status = check_net(capture, &row);
    if (status == SATCHEL_OK && part.kind != SATCHEL_OP_DELETE)
        status = make_fields(capture, &row, &part);
    if (status != SATCHEL_OK || (part.kind == SATCHEL_OP_UPDATE && part.field_count == 0))
        return status;
    if (satchel_capture_has_views(capture, row.table))
        status = satchel_capture_make_exceptions(capture, &row, &part);
    if (status == SATCHEL_OK)
        status = satchel_capture_put_part(capture, &row, &part);
    (*part_count)++;
    return status == SATCHEL_OK ? satchel_capture_write_aliases(capture, &row, &part, part_count)
                                : status;
}

enum satchel_status satchel_capture_write_parts(struct satchel_capture *capture,
                                                uint32_t *part_count)
{
    enum satchel_status status = SATCHEL_OK;
    uint32_t offset = 8;
    satchel_buffer_clear(&capture->parts);
    satchel_buffer_clear(&capture->local);
    for (uint32_t i = 0; i < capture->op_count && status == SATCHEL_OK; i++) {
        const struct satchel_capture_op *op = satchel_capture_op_at(capture, offset);
        if (op->first == offset)
            status = write_part(capture, offset, part_count);
        offset += satchel_capture_op_at(capture, offset)->size;
    }
    return status;
}
