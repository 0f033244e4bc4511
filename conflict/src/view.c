/* Owns the question "had this write seen that one?": own device's earlier writes (those of a device
 * that it is a copy of are its own, up to the copy), the change set's
 * `seen`, and the exceptions to it. Knows nothing of values and rules.
 *
 * Several exceptions may apply to one unit: its own and the row's. Each only takes away, so a write
 * was seen iff every one that applies covers it. */
#include "merge.h"

#include <satchel/mutation.h>

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

/* Whether the author of `write` had been shown that both members are one row. */
static bool knew_member(const struct merge_sight *sight, const struct satchel_write *write,
                        uint32_t member)
{
    return write->member == member || !sight->links || SATCHEL_MUTATED(one_row) ||
           sight->links->knew(sight->links->context, write, member);
}

bool merge_is_own_earlier(const struct satchel_write *write, const struct satchel_id *device,
                          uint64_t number)
{
    if (satchel_id_equal(&write->order.device, device))
        return number < write->order.number;
    return merge_is_ancestral(&write->ancestors, device, number);
}

static bool saw(const struct satchel_table_rules *rules, const struct satchel_write *write,
                uint32_t unit, const struct satchel_id *device, uint64_t number,
                const struct satchel_vector *positions)
{
    if (satchel_id_equal(&write->order.device, device))
        return number < write->order.number;
    if (merge_is_ancestral(&write->ancestors, device, number) || SATCHEL_MUTATED(all_seen))
        return true;
    bool is_excepted = false;
    for (uint32_t i = 0; i < write->exception_count; i++) {
        const struct satchel_exception *exception = &write->exceptions[i];
        if (!applies(rules, exception, unit) ||
            (SATCHEL_MUTATED(no_views) && exception->column != SATCHEL_COLUMN_ROW))
            continue;
        if (!view_covers(&exception->view, positions))
            return false;
        is_excepted = true;
    }
    return is_excepted || satchel_vector_covers(&write->seen, positions);
}

static bool saw_target(const struct merge_sight *sight, const struct satchel_write *write,
                       uint32_t unit, struct merge_target target)
{
    return knew_member(sight, write, target.member) &&
           saw(sight->rules, write, unit, &target.order->device, target.order->number,
               target.positions);
}

bool satchel_write_saw(const struct satchel_write *write, uint32_t column,
                       const struct satchel_id *device, uint64_t number,
                       const struct satchel_vector *positions)
{
    return saw(NULL, write, column, device, number, positions);
}

bool merge_saw_unit(const struct merge_sight *sight, const struct satchel_write *write,
                    uint32_t unit, struct merge_target target)
{
    if (write->kind == SATCHEL_OP_INSERT && !SATCHEL_MUTATED(insert_sees))
        return merge_is_own_earlier(write, &target.order->device, target.order->number) &&
               knew_member(sight, write, target.member);
    return saw_target(sight, write, unit, target);
}

bool merge_saw_delete(const struct merge_sight *sight, const struct satchel_write *write,
                      struct merge_target target)
{
    if (write->kind != SATCHEL_OP_UPDATE)
        return saw_target(sight, write, SATCHEL_COLUMN_ROW, target);
    for (uint32_t i = 0; i < write->field_count; i++)
        if (!saw_target(sight, write, sight->rules->columns[write->fields[i].column].unit, target))
            return false;
    return true;
}

bool merge_delete_saw(const struct merge_sight *sight, const struct satchel_write *write,
                      const struct satchel_write *other)
{
    const struct satchel_table_rules *rules = sight->rules;
    const struct merge_target target = merge_target_write(other);
    bool wrote_fields = false;
    for (uint32_t i = 0; i < other->field_count; i++) {
        if (merge_field_is_default(rules, other, &other->fields[i]))
            continue;
        if (!saw_target(sight, write, rules->columns[other->fields[i].column].unit, target))
            return false;
        wrote_fields = true;
    }
    return wrote_fields || saw_target(sight, write, SATCHEL_COLUMN_ROW, target);
}
