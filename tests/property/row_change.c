/* Owns what a change set must say of a row that a transaction has changed. */
#include "row_change.h"

#include <satchel/operation.h>

static const struct satchel_column_rules *rules_of(const struct row_change *change, uint32_t column)
{
    return &change->table->rules.columns[column];
}

/* The columns that the transaction gave another value, and those that are written with them: a
 * group whole, a leader's followers. */
static void find_written(const struct row_change *change, bool *is_changed, bool *is_written)
{
    uint32_t count = change->table->column_count;
    for (uint32_t i = 0; i < count && change->kind != SATCHEL_OP_DELETE; i++) {
        const struct satchel_column_rules *rules = rules_of(change, i);
        is_changed[i] = !rules->in_key &&
                        (change->kind == SATCHEL_OP_INSERT
                             ? rules->default_varies ||
                                   !satchel_value_equal(&change->after[i], &rules->default_value)
                             : !satchel_value_equal(&change->before[i], &change->after[i]));
        is_written[i] = is_written[i] || is_changed[i];
        for (uint32_t j = 0; is_changed[i] && rules->rule != SATCHEL_RULE_FOLLOWS && j < count; j++)
            is_written[j] = is_written[j] || rules_of(change, j)->unit == rules->unit;
    }
}

enum satchel_status row_change_fields(const struct row_change *change, struct satchel_arena *arena,
                                      struct satchel_field *fields, uint32_t *count)
{
    bool is_changed[ROW_CHANGE_COLUMNS_MAX] = {false}, is_written[ROW_CHANGE_COLUMNS_MAX] = {false};
    const struct satchel_value null = satchel_value_null();
    enum satchel_status status = SATCHEL_OK;
    *count = 0;
    find_written(change, is_changed, is_written);
    for (uint32_t i = 0; i < change->table->column_count && status == SATCHEL_OK; i++) {
        bool is_write;
        if (!is_written[i])
            continue;
        fields[*count] = (struct satchel_field){i, change->after[i]};
        if (is_changed[i])
            status = satchel_operation_make(
                rules_of(change, i), change->kind, change->before ? &change->before[i] : &null,
                &change->after[i], arena, &fields[*count].value, &is_write);
        (*count)++;
    }
    return status;
}

bool row_change_agrees(const struct row_change *change, struct satchel_arena *arena,
                       const struct satchel_part *part)
{
    struct satchel_field fields[ROW_CHANGE_COLUMNS_MAX];
    uint32_t count;
    if (row_change_fields(change, arena, fields, &count) != SATCHEL_OK ||
        part->kind != change->kind || part->field_count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (part->fields[i].column != fields[i].column ||
            !satchel_value_equal(&part->fields[i].value, &fields[i].value))
            return false;
    return true;
}

bool row_change_writes(const struct row_change *change, uint32_t unit)
{
    bool is_changed[ROW_CHANGE_COLUMNS_MAX] = {false}, is_written[ROW_CHANGE_COLUMNS_MAX] = {false};
    find_written(change, is_changed, is_written);
    for (uint32_t i = 0; i < change->table->column_count; i++)
        if (is_written[i] && rules_of(change, i)->unit == unit)
            return true;
    return false;
}
