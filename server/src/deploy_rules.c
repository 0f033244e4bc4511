/* Owns which rules may change under rows that are there: what the store keeps of a row was merged
 * by its rules, and means something else under others. */
#include "workspace_internal.h"

/* Rules by which a write says something else than a value, or a row is one with others. */
static bool is_of_its_own_kind(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_SET:
    case SATCHEL_RULE_MAP:
    case SATCHEL_RULE_COUNTER:
    case SATCHEL_RULE_TEXT3:
    case SATCHEL_RULE_STATE: return true;
    default: return false;
    }
}

/* What must stay of a column; NULL: nothing is in the way. */
static const char *what_changed(const struct satchel_table *old, const struct satchel_table *new,
                                uint32_t column)
{
    const struct satchel_column_rules *was = &old->rules.columns[column];
    const struct satchel_column_rules *is = &new->rules.columns[column];
    if (was->rule != is->rule && (is_of_its_own_kind(was->rule) || is_of_its_own_kind(is->rule)))
        return "the rule";
    if (was->unit != is->unit)
        return "the group or leader";
    return was->frozen != is->frozen ? "frozen(...)" : NULL;
}

static enum satchel_status has_rows(struct satchel_store *store, const struct satchel_table *table,
                                    struct satchel_arena *arena, bool *has,
                                    struct satchel_error *error)
{
    struct satchel_span *names;
    size_t count = 0;
    enum satchel_status status = store->ops->list_rows(
        store, table->number, satchel_span_of(NULL, 0), 1, arena, &names, &count, error);
    *has = count > 0;
    return status;
}

static enum satchel_status check_table(struct satchel_store *store, const struct satchel_table *old,
                                       const struct satchel_table *new, struct satchel_arena *arena,
                                       struct satchel_error *error)
{
    bool has = false,
         freezes_otherwise = old->rules.freezing_state_count != new->rules.freezing_state_count ||
                             old->rules.is_frozen_by_parent != new->rules.is_frozen_by_parent;
    const char *changed = NULL;
    uint32_t column = 0;
    while (column < old->column_count && !(changed = what_changed(old, new, column)))
        column++;
    enum satchel_status status = SATCHEL_OK;
    if (changed || freezes_otherwise)
        status = has_rows(store, old, arena, &has, error);
    if (status != SATCHEL_OK || !has)
        return status;
    if (changed)
        return satchel_error_set(
            error, SATCHEL_SCHEMA,
            "%s of %s.%s cannot change from here on: the rows of %s were merged by what it was; "
            "leave it, and add a column with the new one",
            changed, old->name, old->columns[column].name, old->name);
    return satchel_error_set(
        error, SATCHEL_SCHEMA,
        "what freezes rows of %s cannot change from here on: its rows do not tell since when they "
        "are frozen; leave the frozen(...) out, or make a new table",
        old->name);
}

enum satchel_status deploy_check_rules(struct satchel_store *store,
                                       const struct satchel_schema *whole,
                                       struct satchel_arena *arena, struct satchel_error *error)
{
    const struct satchel_schema *schema = store->schema;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; schema && status == SATCHEL_OK && i < schema->table_count; i++)
        if (!schema->tables[i].is_local)
            status = check_table(store, &schema->tables[i], &whole->tables[i], arena, error);
    return status;
}
