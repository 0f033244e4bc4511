/* Owns what is in view of a row that a restored node has lost writes to (replica.h, rows in doubt):
 * `held`, and the views in satchel_view. Which rows are in doubt, and how long, is recover.c's. */
#include "apply.h"

/* ---- what the log holds ---- */

void satchel_doubt_clip(struct satchel_apply *apply, const struct satchel_position *lost)
{
    size_t kept = 0;
    if (!apply->has_held) {
        if (apply->seen.count > 0)
            memcpy(apply->held_items, apply->seen_items,
                   apply->seen.count * sizeof *apply->held_items);
        apply->held = (struct satchel_vector){apply->held_items, apply->seen.count};
        apply->has_held = true;
    }
    for (size_t i = 0; i < apply->held.count; i++) {
        struct satchel_position position = apply->held_items[i];
        if (satchel_id_equal(&position.node, &lost->node) && position.seq >= lost->seq)
            position.seq = lost->seq - 1;
        if (position.seq > 0)
            apply->held_items[kept++] = position;
    }
    apply->held.count = kept;
}

static size_t clip_to(struct satchel_position *items, size_t count,
                      const struct satchel_vector *vector)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct satchel_position position = items[i];
        uint64_t seq = satchel_vector_get(vector, &position.node);
        if (position.seq > seq)
            position.seq = seq;
        if (position.seq > 0)
            items[kept++] = position;
    }
    return kept;
}

void satchel_doubt_clip_seen(struct satchel_apply *apply, const struct satchel_vector *vector)
{
    apply->seen.count = clip_to(apply->seen_items, apply->seen.count, vector);
    apply->held.count = clip_to(apply->held_items, apply->held.count, vector);
}

enum satchel_status satchel_doubt_any_missing(struct satchel_apply *apply, bool *any,
                                              struct satchel_error *error)
{
    return satchel_apply_any(apply, APPLY_ANY_MISSING, any, error);
}

enum satchel_status satchel_doubt_forget(struct satchel_apply *apply, struct satchel_error *error)
{
    bool is_needed = false;
    if (!apply->has_held)
        return SATCHEL_OK;
    enum satchel_status status = satchel_apply_any(apply, APPLY_ANY_DOUBT, &is_needed, error);
    if (status == SATCHEL_OK && !is_needed)
        status = satchel_doubt_any_missing(apply, &is_needed, error);
    if (status != SATCHEL_OK || is_needed)
        return status;
    apply->has_held = false;
    apply->held.count = 0;
    return satchel_apply_run(apply, APPLY_DROP_VIEWS, "write satchel_view", error);
}

/* ---- the views of a row ---- */

enum satchel_status satchel_doubt_find(struct satchel_apply *apply, struct satchel_span name,
                                       bool *is_in_doubt, struct satchel_error *error)
{
    *is_in_doubt = false;
    if (!apply->has_held)
        return SATCHEL_OK;
    sqlite3_bind_blob64(apply->statements[APPLY_IN_DOUBT], 1, name.data, name.size, SQLITE_STATIC);
    return satchel_apply_any(apply, APPLY_IN_DOUBT, is_in_doubt, error);
}

/* In room for one more of each unit. */
static enum satchel_status decode(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                  struct satchel_span bytes)
{
    struct satchel_base base = {0};
    enum satchel_status status = SATCHEL_OK;
    if (bytes.size > 0) {
        bytes = satchel_arena_copy(&apply->arena, bytes);
        status = bytes.data
                     ? satchel_base_decode(bytes, plan->table->column_count, &apply->arena, &base)
                     : SATCHEL_NOMEM;
    }
    if (status != SATCHEL_OK)
        return status;
    plan->views = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_exception,
                                      base.view_count + plan->table->column_count + 1);
    if (!plan->views)
        return SATCHEL_NOMEM;
    if (base.view_count > 0)
        memcpy(plan->views, base.views, base.view_count * sizeof *plan->views);
    plan->view_count = base.view_count;
    return SATCHEL_OK;
}

enum satchel_status satchel_doubt_load(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                       struct satchel_error *error)
{
    enum satchel_status status = satchel_doubt_find(apply, plan->name, &plan->is_in_doubt, error);
    if (status != SATCHEL_OK || !plan->is_in_doubt)
        return status;
    sqlite3_stmt *select = apply->statements[APPLY_READ_VIEW];
    sqlite3_bind_blob64(select, 1, plan->name.data, plan->name.size, SQLITE_STATIC);
    int code = sqlite3_step(select);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read satchel_view", error);
    else if ((status = decode(apply, plan,
                              code == SQLITE_ROW ? satchel_column_span(select, 0)
                                                 : satchel_span_of(NULL, 0))) != SATCHEL_OK)
        satchel_error_set(error, status,
                          "a row of satchel_view, of table %s, cannot be read (%s);"
                          " run PRAGMA integrity_check on the replica",
                          plan->table->name, satchel_status_text(status));
    sqlite3_reset(select);
    sqlite3_clear_bindings(select);
    return status;
}

static struct satchel_exception *find_view(const struct satchel_row_plan *plan, uint32_t unit)
{
    return satchel_exception_find(plan->views, plan->view_count, unit);
}

const struct satchel_vector *satchel_doubt_view(const struct satchel_apply *apply,
                                                const struct satchel_row_plan *plan, uint32_t unit)
{
    const struct satchel_exception *view = find_view(plan, unit);
    if (!view)
        view = find_view(plan, SATCHEL_COLUMN_ROW);
    return view ? &view->view.vector : &apply->seen;
}

/* ---- what the entry does to them ---- */

void satchel_doubt_hear(struct satchel_row_plan *plan, const struct satchel_effect *effect,
                        bool is_effective)
{
    plan->is_heard = true;
    if (!is_effective)
        return;
    if (effect->kind != SATCHEL_EFFECT_DELTA)
        plan->is_row_given = true;
    for (uint32_t i = 0; i < effect->field_count && effect->kind == SATCHEL_EFFECT_DELTA; i++)
        plan->is_given[plan->table->rules.columns[effect->fields[i].column].unit] = true;
}

/* Pending writes keep all of the row from view. */
static bool is_hidden(const struct satchel_row_plan *plan)
{
    return plan->is_left ||
           satchel_exception_find(plan->node.views, plan->node.view_count, SATCHEL_COLUMN_ROW);
}

static enum satchel_status raise_views(struct satchel_apply *apply, struct satchel_row_plan *plan)
{
    enum satchel_status status = SATCHEL_OK;
    const struct satchel_vector *held = &apply->held_next;
    for (uint32_t i = 0; i < plan->view_count; i++) {
        struct satchel_vector *view = &plan->views[i].view.vector;
        if (satchel_vector_includes(held, view)) {
            *view = *held;
            continue;
        }
        for (size_t j = 0; j < held->count && status == SATCHEL_OK; j++)
            status = satchel_vector_raise(&apply->arena, view, &held->items[j].node,
                                          held->items[j].seq, view);
    }
    return status;
}

static void set_view(const struct satchel_apply *apply, struct satchel_row_plan *plan,
                     uint32_t unit)
{
    struct satchel_exception *view = find_view(plan, unit);
    if (!view)
        view = &plan->views[plan->view_count++];
    *view = (struct satchel_exception){unit, {SATCHEL_VIEW_SEEN, apply->held_next}};
}

static void give_units(const struct satchel_apply *apply, struct satchel_row_plan *plan)
{
    for (uint32_t i = 0; i < plan->table->column_count; i++) {
        const struct satchel_column_rules *rules = &plan->table->rules.columns[i];
        if (plan->is_given[i] && (satchel_rule_is_shown_merged(rules->rule) || !plan->hides[i]))
            set_view(apply, plan, i);
    }
}

static enum satchel_status write_views(struct satchel_apply *apply,
                                       const struct satchel_row_plan *plan,
                                       struct satchel_error *error)
{
    sqlite3_stmt *write = apply->statements[APPLY_WRITE_VIEW];
    const struct satchel_base base = {.views = plan->views, .view_count = plan->view_count};
    if (plan->view_count == 0)
        return SATCHEL_OK;
    satchel_buffer_clear(&apply->scratch);
    enum satchel_status status = satchel_base_encode(&apply->scratch, &base, 0);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_blob64(write, 1, plan->name.data, plan->name.size, SQLITE_STATIC);
    sqlite3_bind_blob64(write, 2, apply->scratch.data, apply->scratch.size, SQLITE_STATIC);
    return satchel_apply_run(apply, APPLY_WRITE_VIEW, "write satchel_view", error);
}

enum satchel_status satchel_doubt_finish(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                         struct satchel_error *error)
{
    if (!plan->is_in_doubt || is_hidden(plan))
        return SATCHEL_OK;
    enum satchel_status status = plan->is_heard ? raise_views(apply, plan) : SATCHEL_OK;
    if (plan->is_row_given && (plan->is_present || plan->is_shown)) {
        plan->view_count = 0;
        set_view(apply, plan, SATCHEL_COLUMN_ROW);
    } else if (plan->is_shown) {
        give_units(apply, plan);
    }
    return status == SATCHEL_OK ? write_views(apply, plan, error) : status;
}
