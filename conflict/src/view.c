/* Owns the question "had this write seen that one?": own device's earlier writes, the change set's
 * `seen`, and the exceptions to it. Knows nothing of values and rules.
 *
 * Several exceptions may apply to one unit: its own and the row's. Each only takes away, so a write
 * was seen iff every one that applies covers it. */
#include "merge.h"

static bool view_covers(const struct satchel_view *view, const struct satchel_vector *positions)
{
    return view->kind != SATCHEL_VIEW_NONE && satchel_vector_covers(&view->vector, positions);
}

/* Whether an exception is about the unit, or about `unit` as a plain column if `rules` is NULL. */
static bool applies(const struct satchel_table_rules *rules,
                    const struct satchel_exception *exception, uint32_t unit)
{
    if (exception->column == SATCHEL_COLUMN_ROW || exception->column == unit)
        return true;
    return rules && exception->column < rules->column_count &&
           rules->columns[exception->column].unit == unit;
}

static bool saw(const struct satchel_table_rules *rules, const struct satchel_write *write,
                uint32_t unit, const struct satchel_id *device, uint64_t number,
                const struct satchel_vector *positions)
{
    if (satchel_id_equal(&write->order.device, device))
        return number < write->order.number;
    bool is_excepted = false;
    for (uint32_t i = 0; i < write->exception_count; i++) {
        const struct satchel_exception *exception = &write->exceptions[i];
        if (!applies(rules, exception, unit))
            continue;
        if (!view_covers(&exception->view, positions))
            return false;
        is_excepted = true;
    }
    return is_excepted || satchel_vector_covers(&write->seen, positions);
}

bool satchel_write_saw(const struct satchel_write *write, uint32_t column,
                       const struct satchel_id *device, uint64_t number,
                       const struct satchel_vector *positions)
{
    return saw(NULL, write, column, device, number, positions);
}

bool merge_saw_unit(const struct satchel_table_rules *rules, const struct satchel_write *write,
                    uint32_t unit, const struct satchel_order *other,
                    const struct satchel_vector *positions)
{
    if (write->kind == SATCHEL_OP_INSERT)
        return satchel_id_equal(&write->order.device, &other->device) &&
               other->number < write->order.number;
    return saw(rules, write, unit, &other->device, other->number, positions);
}

bool merge_saw_delete(const struct satchel_table_rules *rules, const struct satchel_write *write,
                      const struct satchel_order *other, const struct satchel_vector *positions)
{
    if (write->kind != SATCHEL_OP_UPDATE)
        return saw(rules, write, SATCHEL_COLUMN_ROW, &other->device, other->number, positions);
    for (uint32_t i = 0; i < write->field_count; i++)
        if (!saw(rules, write, rules->columns[write->fields[i].column].unit, &other->device,
                 other->number, positions))
            return false;
    return true;
}

bool merge_delete_saw(const struct satchel_table_rules *rules, const struct satchel_write *write,
                      const struct satchel_write *other)
{
    const struct satchel_order *order = &other->order;
    bool wrote_fields = false;
    for (uint32_t i = 0; i < other->field_count; i++) {
        if (merge_field_is_default(rules, other, &other->fields[i]))
            continue;
        if (!saw(rules, write, rules->columns[other->fields[i].column].unit, &order->device,
                 order->number, &other->positions))
            return false;
        wrote_fields = true;
    }
    return wrote_fields ||
           saw(rules, write, SATCHEL_COLUMN_ROW, &order->device, order->number, &other->positions);
}
