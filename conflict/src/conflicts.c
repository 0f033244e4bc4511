/* Owns the list of open conflicts: read from a row's version and values, never stored. */
#include "merge.h"

struct gathering {
    const struct satchel_table_rules *rules;
    const struct satchel_row *row;
    struct satchel_arena *arena;
    struct satchel_conflict_list *list;
};

static size_t count_max(const struct satchel_version *version)
{
    size_t count = version->delete_count;
    for (uint32_t i = 0; i < version->unit_count; i++)
        count += version->units[i].head_count;
    return count;
}

/* The head's values, in full for the unit as it is today. */
static enum satchel_status lost_values(const struct gathering *gathering,
                                       const struct merge_head *head, const uint32_t *columns,
                                       uint32_t column_count, const struct satchel_value **out)
{
    if (head->value_count >= column_count) {
        *out = head->values;
        return SATCHEL_OK;
    }
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(gathering->arena, struct satchel_value, column_count);
    if (!values)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < column_count; i++)
        values[i] = i < head->value_count ? head->values[i]
                                          : gathering->rules->columns[columns[i]].default_value;
    *out = values;
    return SATCHEL_OK;
}

/* The head as a key of a row that was merged into this one, or NULL. */
static const struct merge_duplicate *find_duplicate(const struct satchel_version *version,
                                                    uint32_t unit, const struct merge_write *write)
{
    for (uint32_t i = 0; i < version->duplicate_count; i++)
        if (version->duplicates[i].unit == unit && version->duplicates[i].write == write)
            return &version->duplicates[i];
    return NULL;
}

static enum satchel_status gather_unit(const struct gathering *gathering,
                                       const struct merge_unit *unit)
{
    const struct satchel_table_rules *rules = gathering->rules;
    uint32_t single, column_count;
    const uint32_t *columns;
    enum satchel_status status =
        merge_unit_columns(rules, unit->unit, gathering->arena, &single, &columns, &column_count);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_value *kept =
        SATCHEL_ARENA_ARRAY(gathering->arena, struct satchel_value, column_count);
    if (!kept)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < column_count; i++)
        kept[i] = gathering->row->values[columns[i]];

    enum satchel_rule rule = rules->columns[unit->unit].rule;
    const struct merge_rule *decider = merge_rule_of(rule);
    for (uint32_t i = 0; i < unit->head_count; i++) {
        const struct merge_head *head = &unit->heads[i];
        enum satchel_severity severity = SATCHEL_SEVERITY_NOTICE;
        const struct merge_duplicate *duplicate =
            find_duplicate(gathering->row->version, unit->unit, head->write);
        if (duplicate) {
            gathering->list->items[gathering->list->count++] =
                (struct satchel_conflict){.kind = SATCHEL_CONFLICT_DUPLICATE,
                                          .unit = unit->unit,
                                          .member = head->write->member,
                                          .rule = rule,
                                          .severity = SATCHEL_SEVERITY_REVIEW,
                                          .loser = head->write->order,
                                          .winner = duplicate->winner->order,
                                          .lost = &duplicate->lost,
                                          .kept = kept,
                                          .column_count = 1};
            continue;
        }
        if (!head->values || !unit->keeper || !decider->is_conflict(head, &severity))
            continue;
        struct satchel_conflict *conflict = &gathering->list->items[gathering->list->count++];
        *conflict = (struct satchel_conflict){.unit = unit->unit,
                                              .rule = rule,
                                              .severity = severity,
                                              .loser = head->write->order,
                                              .winner = unit->keeper->order,
                                              .kept = kept,
                                              .column_count = column_count};
        status = lost_values(gathering, head, columns, column_count, &conflict->lost);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static bool can_conflict(const struct satchel_table_rules *rules, uint32_t unit)
{
    if (unit >= rules->column_count || rules->columns[unit].unit != unit)
        return false;
    const struct merge_rule *rule = merge_rule_of(rules->columns[unit].rule);
    return rule && rule->is_conflict;
}

enum satchel_status satchel_row_conflicts(const struct satchel_table_rules *rules,
                                          const struct satchel_row *row,
                                          struct satchel_arena *arena,
                                          struct satchel_conflict_list *out)
{
    *out = (struct satchel_conflict_list){NULL, 0};
    const struct satchel_version *version = row->version;
    size_t most = row->exists ? count_max(version) : 0;
    if (most == 0)
        return SATCHEL_OK;
    out->items = SATCHEL_ARENA_ARRAY(arena, struct satchel_conflict, most);
    if (!out->items)
        return SATCHEL_NOMEM;
    const struct gathering gathering = {rules, row, arena, out};
    for (uint32_t i = 0; i < version->unit_count; i++) {
        if (!can_conflict(rules, version->units[i].unit))
            continue;
        enum satchel_status status = gather_unit(&gathering, &version->units[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    for (uint32_t i = 0; version->survivor && i < version->delete_count; i++)
        out->items[out->count++] = (struct satchel_conflict){.kind = SATCHEL_CONFLICT_DELETE,
                                                             .unit = SATCHEL_COLUMN_ROW,
                                                             .severity = SATCHEL_SEVERITY_REVIEW,
                                                             .loser = version->deletes[i]->order,
                                                             .winner = version->survivor->order};
    return SATCHEL_OK;
}
