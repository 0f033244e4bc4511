/* Owns the node's value of a row that has pending writes, and how an entry changes it:
 *
 *   under pending writes    from satchel_base; or else, per column, the value that the first
 *                           pending write replaced, the other columns as the table shows them
 *   under a pending insert  there is no row
 *
 * What is shown of it is apply_row.c's. */
#include "apply.h"

#include <satchel/operation.h>

void satchel_row_fill(const struct satchel_table *table, const struct satchel_value *key,
                      const struct satchel_field *fields, uint32_t field_count,
                      struct satchel_value *values)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        values[i] = table->rules.columns[i].default_value;
    for (uint32_t i = 0; i < table->key_count; i++)
        values[table->key_columns[i]] = key[i];
    for (uint32_t i = 0; i < field_count; i++)
        values[fields[i].column] = fields[i].value;
}

/* Pending writes come from this device's own capture, so a column out of range is damage, not a
 * peer. */
static bool op_fits(const struct satchel_table *table, const struct satchel_pending_op *op)
{
    for (uint32_t i = 0; i < op->part.field_count; i++)
        if (op->part.fields[i].column >= table->column_count)
            return false;
    for (uint32_t i = 0; i < op->old_count; i++)
        if (op->old[i].column >= table->column_count)
            return false;
    for (uint32_t i = 0; i < op->beside_count; i++)
        if (op->beside[i].column >= table->column_count)
            return false;
    return op->part.key_count == table->key_count;
}

struct satchel_pending_op *satchel_row_plan_left(const struct satchel_apply *apply,
                                                 const struct satchel_row_plan *plan)
{
    struct satchel_pending_op *op = plan->pending ? plan->pending->first : NULL;
    while (op && apply->own && op->number == apply->own->number)
        op = op->next;
    return op;
}

/* ---- the node's values ---- */

/* An edited row that is not there although nobody has deleted it is damage (check.h): what it was
 * is not made up of the edits. */
static bool is_deleted(const struct satchel_pending_op *op)
{
    for (; op; op = op->next)
        if (op->part.kind == SATCHEL_OP_DELETE)
            return true;
    return false;
}

bool satchel_row_plan_under(const struct satchel_row_plan *plan,
                            const struct satchel_pending_op *op, struct satchel_arena *arena,
                            struct satchel_value *values, bool *exists)
{
    const struct satchel_table *table = plan->table;
    bool *is_known = SATCHEL_ARENA_ARRAY(arena, bool, table->column_count);
    if (!is_known)
        return false;
    for (uint32_t i = 0; i < table->key_count; i++)
        values[table->key_columns[i]] = plan->key[i];
    while (op && op->is_alias)
        op = op->next;
    if (op)
        *exists = op->part.kind != SATCHEL_OP_INSERT && (*exists || is_deleted(op));
    for (; op && (op->is_alias || op->part.kind != SATCHEL_OP_INSERT); op = op->next) {
        if (op->is_alias)
            continue;
        for (uint32_t i = 0; i < op->old_count; i++) {
            uint32_t column = op->old[i].column;
            if (!is_known[column])
                values[column] = op->old[i].value;
            is_known[column] = true;
        }
        if (op->part.kind != SATCHEL_OP_DELETE)
            continue;
        /* The row was whole here; what came later is not of the node's row. */
        for (uint32_t i = 0; i < table->column_count; i++)
            if (!is_known[i] && !table->rules.columns[i].in_key)
                values[i] = table->rules.columns[i].default_value;
        break;
    }
    return true;
}

static enum satchel_status read_base(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                     struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_READ_BASE];
    enum satchel_status status = SATCHEL_OK;
    sqlite3_bind_blob64(select, 1, plan->name.data, plan->name.size, SQLITE_STATIC);
    int code = sqlite3_step(select);
    if (code == SQLITE_ROW) {
        struct satchel_span bytes = satchel_column_span(select, 0);
        bytes = satchel_arena_copy(&apply->arena, bytes);
        status = bytes.data ? satchel_base_decode(bytes, plan->table->column_count, &apply->arena,
                                                  &plan->node)
                            : SATCHEL_NOMEM;
        plan->had_base = true;
        for (uint32_t i = plan->node.value_count;
             status == SATCHEL_OK && plan->node.exists && i < plan->table->column_count; i++)
            plan->node.values[i] = plan->table->rules.columns[i].default_value;
        if (status != SATCHEL_OK)
            satchel_error_set(error, status,
                              "a row of satchel_base, of table %s, cannot be read (%s);"
                              " run PRAGMA integrity_check on the replica",
                              plan->table->name, satchel_status_text(status));
    } else if (code != SQLITE_DONE) {
        status = satchel_apply_sql_error(apply, "read satchel_base", error);
    }
    sqlite3_reset(select);
    sqlite3_clear_bindings(select);
    return status;
}

enum satchel_status satchel_base_exists(struct satchel_apply *apply, struct satchel_span name,
                                        bool *exists, struct satchel_error *error)
{
    *exists = false;
    if (!apply->has_base)
        return SATCHEL_OK;
    sqlite3_stmt *select = apply->statements[APPLY_READ_BASE];
    enum satchel_status status = SATCHEL_OK;
    sqlite3_bind_blob64(select, 1, name.data, name.size, SQLITE_STATIC);
    int code = sqlite3_step(select);
    *exists = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read satchel_base", error);
    sqlite3_reset(select);
    sqlite3_clear_bindings(select);
    return status;
}

/* Values and views where they can be changed: a whole row of columns, room for a view of each. */
static bool make_changeable(struct satchel_apply *apply, struct satchel_row_plan *plan)
{
    uint32_t column_count = plan->table->column_count;
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_value, column_count);
    struct satchel_exception *views = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_exception,
                                                          plan->node.view_count + column_count + 1);
    if (!values || !views)
        return false;
    const struct satchel_value *from = plan->had_base ? plan->node.values : plan->present;
    bool has_values = plan->had_base ? plan->node.exists : plan->is_present;
    if (has_values && from)
        memcpy(values, from, column_count * sizeof *values);
    if (plan->node.view_count)
        memcpy(views, plan->node.views, plan->node.view_count * sizeof *views);
    plan->node.values = values;
    plan->node.views = views;
    return true;
}

static enum satchel_status load_node(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                     struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (apply->has_base)
        status = read_base(apply, plan, error);
    if (status != SATCHEL_OK)
        return status;
    if (!make_changeable(apply, plan))
        return SATCHEL_NOMEM;
    if (plan->had_base)
        return SATCHEL_OK;
    plan->node.exists = plan->is_present;
    if (!plan->pending)
        return SATCHEL_OK;
    for (struct satchel_pending_op *op = plan->pending->first; op; op = op->next)
        if (!op_fits(plan->table, op))
            return satchel_error_set(
                error, SATCHEL_CORRUPT,
                "a change set in satchel_change does not fit table %s; run PRAGMA "
                "integrity_check on the replica",
                plan->table->name);
    return satchel_row_plan_under(plan, plan->pending->first, &apply->arena, plan->node.values,
                                  &plan->node.exists)
               ? SATCHEL_OK
               : SATCHEL_NOMEM;
}

/* ---- parts that took effect as they stand ---- */

/* The values that the operations make of the defaults: the operations themselves, for most rules.
 */
static enum satchel_status make_values(struct satchel_apply *apply,
                                       const struct satchel_table *table,
                                       const struct satchel_part *part,
                                       struct satchel_effect *effect)
{
    struct satchel_field *fields = NULL;
    for (uint32_t i = 0; i < part->field_count; i++) {
        const struct satchel_field *field = &part->fields[i];
        const struct satchel_column_rules *rules = &table->rules.columns[field->column];
        struct satchel_value value;
        enum satchel_status status = satchel_operation_apply(
            rules, part->kind, &rules->default_value, &field->value, &apply->arena, &value);
        if (status != SATCHEL_OK)
            return status;
        if (!fields && satchel_value_equal(&value, &field->value))
            continue;
        if (!fields) {
            fields = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_field, part->field_count);
            if (!fields)
                return SATCHEL_NOMEM;
            memcpy(fields, part->fields, part->field_count * sizeof *fields);
            effect->fields = fields;
        }
        fields[i].value = value;
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_effect_of_part(struct satchel_apply *apply,
                                           const struct satchel_table *table,
                                           const struct satchel_part *part, bool is_unlike,
                                           struct satchel_effect *effect)
{
    static const enum satchel_effect_kind EFFECT_OF[] = {
        [SATCHEL_OP_INSERT] = SATCHEL_EFFECT_WHOLE,
        [SATCHEL_OP_UPDATE] = SATCHEL_EFFECT_DELTA,
        [SATCHEL_OP_DELETE] = SATCHEL_EFFECT_GONE,
    };
    *effect = (struct satchel_effect){
        .kind = EFFECT_OF[part->kind],
        .table = part->table,
        .key = part->key,
        .key_count = part->key_count,
        .fields = part->fields,
        .field_count = part->field_count,
    };
    return is_unlike ? SATCHEL_OK : make_values(apply, table, part, effect);
}

/* What the node made of this device's own parts that took effect as they stand. */
static enum satchel_status take_own(struct satchel_apply *apply, struct satchel_row_plan *plan)
{
    enum satchel_status status = SATCHEL_OK;
    struct satchel_pending_op *op = apply->own && plan->pending ? plan->pending->first : NULL;
    for (; op && op->number == apply->own->number && status == SATCHEL_OK; op = op->next) {
        struct satchel_effect effect;
        if (op->is_unlike || op->is_alias) /* of an alias the effects say it */
            continue;
        status = satchel_effect_of_part(apply, plan->table, &op->part, false, &effect);
        if (status == SATCHEL_OK)
            status = satchel_row_plan_effect(plan, &effect);
    }
    return status;
}

enum satchel_status satchel_row_plan_get(struct satchel_apply *apply,
                                         const struct satchel_table *table,
                                         const struct satchel_value *key, struct satchel_span name,
                                         struct satchel_row_plan **out, struct satchel_error *error)
{
    *out = satchel_map_get(&apply->plans, name);
    if (*out)
        return SATCHEL_OK;
    struct satchel_row_plan *plan = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_row_plan, 1);
    if (!plan)
        return SATCHEL_NOMEM;
    plan->table = table;
    plan->key = key;
    plan->name = satchel_arena_copy(&apply->arena, name);
    plan->present = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_value, table->column_count);
    plan->shown = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_value, table->column_count);
    plan->hides = SATCHEL_ARENA_ARRAY(&apply->arena, bool, table->column_count);
    plan->is_given = SATCHEL_ARENA_ARRAY(&apply->arena, bool, table->column_count);
    if (!plan->name.data || !plan->present || !plan->shown || !plan->hides || !plan->is_given)
        return SATCHEL_NOMEM;
    plan->pending = satchel_pending_find(&apply->pending, plan->name);
    enum satchel_status status = satchel_row_read(apply->rows, table, key, &apply->arena,
                                                  &plan->is_present, plan->present, error);
    if (status == SATCHEL_OK)
        status = load_node(apply, plan, error);
    if (status == SATCHEL_OK)
        status = satchel_doubt_load(apply, plan, error);
    if (status == SATCHEL_OK)
        status = take_own(apply, plan);
    if (status == SATCHEL_OK)
        status = satchel_map_put(&apply->plans, plan->name, plan);
    if (status != SATCHEL_OK)
        return status;
    *apply->plan_end = plan;
    apply->plan_end = &plan->next;
    *out = plan;
    return SATCHEL_OK;
}

enum satchel_status satchel_row_plan_effect(struct satchel_row_plan *plan,
                                            const struct satchel_effect *effect)
{
    switch (effect->kind) {
    case SATCHEL_EFFECT_DELTA:
        if (plan->node.exists)
            for (uint32_t i = 0; i < effect->field_count; i++)
                plan->node.values[effect->fields[i].column] = effect->fields[i].value;
        return SATCHEL_OK;
    case SATCHEL_EFFECT_WHOLE:
        satchel_row_fill(plan->table, plan->key, effect->fields, effect->field_count,
                         plan->node.values);
        plan->node.exists = true;
        return SATCHEL_OK;
    case SATCHEL_EFFECT_GONE:
    case SATCHEL_EFFECT_ALIAS:
    case SATCHEL_EFFECT_EVICT: plan->node.exists = false; return SATCHEL_OK;
    }
    return SATCHEL_CORRUPT;
}
