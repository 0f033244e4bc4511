/* Owns which columns are written together: the columns of a group with each other, followers with
 * their leader. A leader is any column of a unit that does not itself follow. */
#include "capture.h"

static bool leads(const struct satchel_table *table, uint32_t column)
{
    return table->rules.columns[column].rule != SATCHEL_RULE_FOLLOWS;
}

/* A unit's number is that of a leader, so the mark of the unit is the mark of that column. */

void satchel_capture_gather_units(const struct satchel_table *table, bool *is_changed)
{
    const struct satchel_column_rules *rules = table->rules.columns;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (is_changed[i])
            is_changed[rules[i].unit] = true;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (is_changed[rules[i].unit])
            is_changed[i] = true;
}

void satchel_capture_complete_units(const struct satchel_table *table, bool *is_written)
{
    const struct satchel_column_rules *rules = table->rules.columns;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (is_written[i] && leads(table, i))
            is_written[rules[i].unit] = true;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (is_written[rules[i].unit])
            is_written[i] = true;
}

bool satchel_capture_is_beside(const struct satchel_table *table, const bool *is_written,
                               uint32_t column)
{
    const struct satchel_column_rules *rules = table->rules.columns;
    if (is_written[column] || !leads(table, column))
        return false;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (is_written[i] && rules[i].unit == rules[column].unit)
            return true;
    return false;
}
