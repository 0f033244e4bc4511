/* Owns what is shown of a row with pending writes: the pending writes replayed on the node's value,
 * what their author was not shown, and the writing of both. Where the node's value comes from is
 * apply_node.c's; knows nothing of entries as a whole, of the log or of transactions.
 *
 * An edit that waits while the node deletes its row will revive it (edit_wins) with the very values
 * the table shows now. So the table's row is left as it is until the node answers: a user's edit
 * does not vanish and come back. */
#include "apply.h"

#include <satchel/mutation.h>
#include <satchel/operation.h>

/* ---- views: what the author of pending writes was not shown ---- */

bool satchel_rule_is_shown_merged(enum satchel_rule rule)
{
    return rule == SATCHEL_RULE_COUNTER || rule == SATCHEL_RULE_SET || rule == SATCHEL_RULE_MAP;
}

static enum satchel_status add_view(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                    uint32_t unit)
{
    if (satchel_exception_find(plan->node.views, plan->node.view_count, unit))
        return SATCHEL_OK;
    const struct satchel_vector *before = satchel_doubt_view(apply, plan, unit);
    size_t size = before->count * sizeof *before->items;
    struct satchel_position *items = satchel_arena_alloc(&apply->arena, size);
    if (!items)
        return SATCHEL_NOMEM;
    memcpy(items, before->items, size);
    plan->node.views[plan->node.view_count++] =
        (struct satchel_exception){unit, {SATCHEL_VIEW_SEEN, {items, before->count}}};
    return SATCHEL_OK;
}

static bool unit_is_pending(const struct satchel_row_plan *plan,
                            const struct satchel_pending_op *op, uint32_t unit)
{
    for (; op; op = op->next)
        for (uint32_t i = 0; i < op->part.field_count; i++)
            if (plan->table->rules.columns[op->part.fields[i].column].unit == unit)
                return true;
    return false;
}

/* A pending delete keeps all of the row from view, whatever is written behind it. */
static bool delete_is_pending(const struct satchel_pending_op *op)
{
    for (; op; op = op->next)
        if (op->part.kind == SATCHEL_OP_DELETE)
            return true;
    return false;
}

static enum satchel_status touch_column(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                        const struct satchel_pending_op *op, uint32_t column)
{
    const struct satchel_column_rules *rules = &plan->table->rules.columns[column];
    if (rules->in_key || satchel_rule_is_shown_merged(rules->rule))
        return SATCHEL_OK;
    return unit_is_pending(plan, op, rules->unit) ? add_view(apply, plan, rules->unit) : SATCHEL_OK;
}

enum satchel_status satchel_row_plan_touch(struct satchel_apply *apply,
                                           struct satchel_row_plan *plan,
                                           enum satchel_effect_kind kind,
                                           const struct satchel_field *fields, uint32_t field_count)
{
    const struct satchel_pending_op *op = satchel_row_plan_left(apply, plan);
    if (!op)
        return SATCHEL_OK;
    bool goes = kind == SATCHEL_EFFECT_GONE || kind == SATCHEL_EFFECT_EVICT;
    enum satchel_status status = SATCHEL_OK;
    if (goes || delete_is_pending(op))
        return add_view(apply, plan, SATCHEL_COLUMN_ROW);
    if (kind == SATCHEL_EFFECT_WHOLE) {
        for (uint32_t i = 0; i < plan->table->column_count && status == SATCHEL_OK; i++)
            status = touch_column(apply, plan, op, i);
        return status;
    }
    for (uint32_t i = 0; i < field_count && status == SATCHEL_OK; i++)
        status = touch_column(apply, plan, op, fields[i].column);
    return status;
}

/* The view of a pending unit is no later than the row's was. */
static void narrow_unit(struct satchel_row_plan *plan, uint32_t unit,
                        const struct satchel_view *row)
{
    for (uint32_t i = 0; i < plan->node.view_count; i++) {
        struct satchel_exception *view = &plan->node.views[i];
        if (view->column != unit)
            continue;
        if (satchel_vector_includes(&view->view.vector, &row->vector))
            view->view = *row;
        return;
    }
    plan->node.views[plan->node.view_count++] = (struct satchel_exception){unit, *row};
}

/* The node's row is in view again, but for what is pending: so is the view of the row as a whole.
 * Where the row is in doubt, a unit may have been shown less than the row before it was hidden. */
static void narrow_to_units(const struct satchel_apply *apply, struct satchel_row_plan *plan)
{
    uint32_t index = 0;
    while (index < plan->node.view_count && plan->node.views[index].column != SATCHEL_COLUMN_ROW)
        index++;
    if (index == plan->node.view_count)
        return;
    struct satchel_view row = plan->node.views[index].view;
    plan->node.views[index] = plan->node.views[--plan->node.view_count];
    for (uint32_t i = 0; i < plan->table->column_count; i++) {
        const struct satchel_column_rules *rules = &plan->table->rules.columns[i];
        if (rules->unit != i || rules->in_key || satchel_rule_is_shown_merged(rules->rule) ||
            !plan->hides[i])
            continue;
        struct satchel_view view = row;
        const struct satchel_vector *unit = satchel_doubt_view(apply, plan, i);
        if (satchel_vector_includes(&row.vector, unit))
            view.vector = *unit;
        narrow_unit(plan, i, &view);
    }
    plan->is_row_given = true;
}

/* A unit without pending writes that are shown shows the node's value: nothing is hidden any more.
 * A pending delete wrote every unit, and had seen of each what the writes before it had. */
static void drop_views(const struct satchel_apply *apply, struct satchel_row_plan *plan,
                       const struct satchel_pending_op *op)
{
    uint32_t kept = 0;
    bool is_deleting = delete_is_pending(op);
    if (plan->node.exists && !is_deleting)
        narrow_to_units(apply, plan);
    for (uint32_t i = 0; i < plan->node.view_count; i++) {
        const struct satchel_exception *view = &plan->node.views[i];
        if (op && (view->column == SATCHEL_COLUMN_ROW || is_deleting || plan->hides[view->column]))
            plan->node.views[kept++] = *view;
        else if (view->column == SATCHEL_COLUMN_ROW)
            plan->is_row_given = true;
        else
            plan->is_given[view->column] = true;
    }
    plan->node.view_count = kept;
}

/* ---- what is shown ---- */

/* A follower written alone says something of the leader's value it was written beside; on another
 * it is not shown. */
static bool is_beside_leader(const struct satchel_table *table, const struct satchel_pending_op *op,
                             uint32_t column, const struct satchel_value *values)
{
    const struct satchel_column_rules *rules = table->rules.columns;
    for (uint32_t i = 0; i < op->beside_count; i++) {
        const struct satchel_field *leader = &op->beside[i];
        if (rules[leader->column].unit == rules[column].unit &&
            !satchel_value_equal(&values[leader->column], &leader->value))
            return false;
    }
    return true;
}

/* The row written, once it is one of its own, keeps its key; the row it is shown on has its own. */
static bool is_set_apart(const struct satchel_column_rules *rules,
                         const struct satchel_value *operation)
{
    return rules->rule == SATCHEL_RULE_KEY && operation->type == SATCHEL_BLOB;
}

static enum satchel_status write_over(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                      const struct satchel_pending_op *op)
{
    const struct satchel_table *table = plan->table;
    const struct satchel_part *part = &op->part;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < part->field_count && status == SATCHEL_OK; i++) {
        uint32_t column = part->fields[i].column;
        const struct satchel_column_rules *rules = &table->rules.columns[column];
        if (rules->rule == SATCHEL_RULE_FOLLOWS &&
            !is_beside_leader(table, op, column, plan->shown))
            continue;
        if (op->is_alias && is_set_apart(rules, &part->fields[i].value))
            continue;
        plan->hides[rules->unit] = true;
        status =
            satchel_operation_apply(rules, part->kind, &plan->shown[column], &part->fields[i].value,
                                    &apply->arena, &plan->shown[column]);
    }
    return status;
}

/* An edit of a row that the node has not: it waits, and what the table shows stays as it is. */
static void leave(struct satchel_row_plan *plan, const struct satchel_pending_op *op)
{
    plan->is_left = true;
    for (uint32_t i = 0; i < op->part.field_count; i++)
        plan->hides[plan->table->rules.columns[op->part.fields[i].column].unit] = true;
}

static enum satchel_status replay(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                  const struct satchel_pending_op *op)
{
    const struct satchel_table *table = plan->table;
    enum satchel_status status = SATCHEL_OK;
    plan->is_shown = plan->node.exists;
    plan->is_left = false;
    memcpy(plan->shown, plan->node.values, table->column_count * sizeof *plan->shown);
    memset(plan->hides, 0, table->column_count * sizeof *plan->hides);
    for (; op && status == SATCHEL_OK && !SATCHEL_MUTATED(no_overlay); op = op->next) {
        switch (op->part.kind) {
        case SATCHEL_OP_INSERT:
            if (!plan->is_shown)
                satchel_row_fill(table, plan->key, NULL, 0, plan->shown);
            status = write_over(apply, plan, op);
            plan->is_shown = true;
            plan->is_left = false;
            break;
        case SATCHEL_OP_UPDATE:
            if (plan->is_shown)
                status = write_over(apply, plan, op);
            else
                leave(plan, op);
            break;
        case SATCHEL_OP_DELETE: plan->is_shown = plan->is_left = false; break;
        }
    }
    return status;
}

static bool rows_equal(const struct satchel_table *table, bool a_exists,
                       const struct satchel_value *a, bool b_exists, const struct satchel_value *b)
{
    if (a_exists != b_exists)
        return false;
    for (uint32_t i = 0; a_exists && i < table->column_count; i++)
        if (!satchel_value_equal(&a[i], &b[i]))
            return false;
    return true;
}

/* ---- writing ---- */

static enum satchel_status write_row(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                     struct satchel_error *error)
{
    const struct satchel_table *table = plan->table;
    if (!plan->is_shown)
        return satchel_row_delete(apply->rows, table, plan->key, error);
    if (!plan->is_present)
        return satchel_row_insert(apply->rows, table, plan->shown, error);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_field, table->column_count);
    uint32_t count = 0;
    if (!fields)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (!table->rules.columns[i].in_key &&
            !satchel_value_equal(&plan->present[i], &plan->shown[i]))
            fields[count++] = (struct satchel_field){i, plan->shown[i]};
    return satchel_row_update(apply->rows, table, plan->key, fields, count, error);
}

static bool is_due(const struct satchel_row_plan *plan)
{
    return !plan->is_left &&
           !rows_equal(plan->table, plan->is_present, plan->present, plan->is_shown, plan->shown);
}

/* Pending writes on top of the node's values may break a CHECK that neither breaks alone: two steps
 * of a counter, one pending here and one made elsewhere. Then the row shows the node's values until
 * the node has answered, and the stream goes on. */
static enum satchel_status insert_shown(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                        struct satchel_error *error)
{
    const struct satchel_table *table = plan->table;
    enum satchel_status status = satchel_row_insert(apply->rows, table, plan->shown, error);
    if (!plan->pending || !satchel_apply_is_constraint(status, error))
        return status;
    plan->is_shown = plan->node.exists;
    memcpy(plan->shown, plan->node.values, table->column_count * sizeof *plan->shown);
    plan->node.view_count = 0; /* nothing of the node's is kept from view now */
    plan->is_row_given = true;
    return plan->is_shown ? satchel_row_insert(apply->rows, table, plan->shown, error) : SATCHEL_OK;
}

static enum satchel_status write_rows(struct satchel_apply *apply, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    struct satchel_row_plan *plan;
    /* Values that change places under a UNIQUE index: every row steps aside before any comes back.
     */
    for (plan = apply->first_plan; apply->all_planned && plan && status == SATCHEL_OK;
         plan = plan->next) {
        if (!is_due(plan) || !plan->is_present)
            continue;
        status = satchel_row_delete(apply->rows, plan->table, plan->key, error);
        apply->is_touched[plan->table->number - 1] = true;
    }
    for (plan = apply->first_plan; plan && status == SATCHEL_OK; plan = plan->next) {
        if (!is_due(plan))
            continue;
        if (apply->all_planned) {
            if (plan->is_shown)
                status = insert_shown(apply, plan, error);
        } else {
            status = write_row(apply, plan, error);
        }
        apply->is_touched[plan->table->number - 1] = true;
    }
    return status;
}

/* What a write to an alias replaced was never the row's. */
static bool wrote_alias(const struct satchel_pending_op *op)
{
    for (; op; op = op->next)
        if (op->is_alias)
            return true;
    return false;
}

/* Whether the pending writes left tell the node's values without a row of satchel_base. */
static enum satchel_status base_is_told(struct satchel_apply *apply,
                                        const struct satchel_row_plan *plan,
                                        const struct satchel_pending_op *op, bool *is_told)
{
    *is_told = op == NULL;
    if (!op || plan->node.view_count > 0 || plan->is_left || wrote_alias(op))
        return SATCHEL_OK;
    uint32_t column_count = plan->table->column_count;
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_value, column_count);
    bool exists = plan->is_shown;
    if (!values)
        return SATCHEL_NOMEM;
    memcpy(values, plan->shown, column_count * sizeof *values);
    if (!satchel_row_plan_under(plan, op, &apply->arena, values, &exists))
        return SATCHEL_NOMEM;
    *is_told = rows_equal(plan->table, exists, values, plan->node.exists, plan->node.values);
    return SATCHEL_OK;
}

static enum satchel_status write_base(struct satchel_apply *apply,
                                      const struct satchel_row_plan *plan,
                                      const struct satchel_pending_op *op,
                                      struct satchel_error *error)
{
    bool is_told = true;
    enum satchel_status status = base_is_told(apply, plan, op, &is_told);
    if (status != SATCHEL_OK || (is_told && !plan->had_base))
        return status;
    sqlite3_stmt *statement = apply->statements[is_told ? APPLY_DROP_BASE : APPLY_WRITE_BASE];
    if (!is_told) {
        satchel_buffer_clear(&apply->scratch);
        status = satchel_base_encode(&apply->scratch, &plan->node, plan->table->column_count);
        if (status != SATCHEL_OK)
            return status;
        sqlite3_bind_blob64(statement, 2, apply->scratch.data, apply->scratch.size, SQLITE_STATIC);
        apply->has_base = true;
    }
    sqlite3_bind_blob64(statement, 1, plan->name.data, plan->name.size, SQLITE_STATIC);
    return satchel_apply_run(apply, is_told ? APPLY_DROP_BASE : APPLY_WRITE_BASE,
                             "write satchel_base", error);
}

enum satchel_status satchel_row_plans_finish(struct satchel_apply *apply,
                                             struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    struct satchel_row_plan *plan;
    for (plan = apply->first_plan; plan && status == SATCHEL_OK; plan = plan->next) {
        const struct satchel_pending_op *op = satchel_row_plan_left(apply, plan);
        status = replay(apply, plan, op);
        if (status == SATCHEL_OK && apply->has_aliases)
            status = satchel_apply_resolve_references(apply, plan, error);
        drop_views(apply, plan, op);
    }
    if (status == SATCHEL_OK)
        status = write_rows(apply, error);
    for (plan = apply->first_plan; plan && status == SATCHEL_OK; plan = plan->next)
        if (plan->pending || plan->had_base)
            status = write_base(apply, plan, satchel_row_plan_left(apply, plan), error);
    for (plan = apply->first_plan; plan && status == SATCHEL_OK; plan = plan->next)
        status = satchel_doubt_finish(apply, plan, error);
    return status;
}
