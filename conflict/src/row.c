/* Owns the merge of one write into one row where the version alone is enough, the checks that every
 * write passes, and what the caller is told of it. Rows with deletes are lives.c. */
#include "merge.h"

/* ---- checks ---- */

static enum satchel_status check_field(const struct satchel_table_rules *rules,
                                       const struct satchel_write *write, uint32_t index,
                                       struct satchel_error *error)
{
    uint32_t column = write->fields[index].column;
    if (column >= rules->column_count)
        return satchel_error_set(error, SATCHEL_REFUSED,
                                 "column %u: the table has only %u; deploy the migration first",
                                 (unsigned)column, (unsigned)rules->column_count);
    if (index > 0 && column <= write->fields[index - 1].column)
        return satchel_error_set(error, SATCHEL_REFUSED,
                                 "column %u: columns of a write must ascend", (unsigned)column);
    const struct satchel_column_rules *of = &rules->columns[column];
    if (of->in_key)
        return satchel_error_set(error, SATCHEL_REFUSED,
                                 "column %u is part of the primary key: a row keeps its key",
                                 (unsigned)column);
    const struct merge_rule *rule = merge_rule_of(of->rule);
    if (!rule)
        return satchel_error_set(error, SATCHEL_REFUSED, "column %u: rule @%s is not built yet",
                                 (unsigned)column, satchel_rule_name(of->rule));
    if (rule->is_final && write->kind == SATCHEL_OP_UPDATE)
        return satchel_error_set(
            error, SATCHEL_REFUSED,
            "column %u is @%s: it is set when the row is inserted and never changed",
            (unsigned)column, satchel_rule_name(of->rule));
    const char *refusal = rule->refusal ? rule->refusal(&write->fields[index].value) : NULL;
    if (refusal)
        return satchel_error_set(error, SATCHEL_REFUSED, "column %u: %s", (unsigned)column,
                                 refusal);
    return SATCHEL_OK;
}

enum satchel_status merge_check_write(const struct satchel_table_rules *rules,
                                      const struct satchel_write *write,
                                      struct satchel_error *error)
{
    if (write->kind == SATCHEL_OP_DELETE) {
        if (rules->delete_policy == SATCHEL_DELETE_FORBID)
            return satchel_error_set(error, SATCHEL_REFUSED,
                                     "rows of this table are never deleted (delete=forbid)");
        if (write->field_count != 0)
            return satchel_error_set(error, SATCHEL_REFUSED, "a delete carries no fields");
        return SATCHEL_OK;
    }
    if (write->kind != SATCHEL_OP_INSERT && write->kind != SATCHEL_OP_UPDATE)
        return satchel_error_set(error, SATCHEL_REFUSED, "unknown kind of write %d",
                                 (int)write->kind);
    if (write->kind == SATCHEL_OP_UPDATE && write->field_count == 0)
        return satchel_error_set(error, SATCHEL_REFUSED, "an update writes at least one field");
    for (uint32_t i = 0; i < write->field_count; i++) {
        enum satchel_status status = check_field(rules, write, i, error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status merge_refuse_missing(const struct satchel_write *write,
                                         struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_REFUSED,
                             "no such row: the insert that this %s builds on was never merged here",
                             write->kind == SATCHEL_OP_DELETE ? "delete" : "update");
}

/* ---- the result ---- */

static bool unit_has_written(const struct merge_state *after, const struct satchel_write *write,
                             uint32_t column)
{
    const struct satchel_table_rules *rules = after->rules;
    uint32_t unit = rules->columns[column].unit;
    uint32_t last =
        rules->columns[column].rule == SATCHEL_RULE_GROUP ? rules->column_count : unit + 1;
    for (uint32_t i = unit; i < last; i++)
        if (rules->columns[i].unit == unit &&
            !satchel_value_equal(merge_written_value(rules, write, i), &after->values[i]))
            return false;
    return true;
}

static enum satchel_outcome outcome_of(const struct merge_state *after, bool exists,
                                       const struct satchel_write *write, uint32_t index)
{
    uint32_t column = write->fields[index].column;
    if (!exists)
        return SATCHEL_OUTCOME_SUPERSEDED;
    if (merge_rule_of(after->rules->columns[column].rule)->combines)
        return SATCHEL_OUTCOME_MERGED;
    return unit_has_written(after, write, column) ? SATCHEL_OUTCOME_APPLIED
                                                  : SATCHEL_OUTCOME_SUPERSEDED;
}

static bool has_changed(const struct satchel_row *before, const struct merge_state *after,
                        bool exists, uint32_t column)
{
    const struct satchel_column_rules *of = &after->rules->columns[column];
    if (of->in_key || (!before->exists && !exists))
        return false;
    const struct satchel_value *old = before->exists ? &before->values[column] : &of->default_value;
    const struct satchel_value *new = exists ? &after->values[column] : &of->default_value;
    return !satchel_value_equal(old, new);
}

/* NULL: no memory. */
static enum satchel_outcome *fill_outcomes(const struct merge_state *after, bool exists,
                                           const struct satchel_write *write)
{
    uint32_t count = write->kind == SATCHEL_OP_DELETE ? 1 : write->field_count;
    enum satchel_outcome *outcomes = SATCHEL_ARENA_ARRAY(after->arena, enum satchel_outcome, count);
    if (!outcomes)
        return NULL;
    if (write->kind == SATCHEL_OP_DELETE)
        outcomes[0] = exists ? SATCHEL_OUTCOME_SUPERSEDED : SATCHEL_OUTCOME_APPLIED;
    for (uint32_t i = 0; i < write->field_count; i++)
        outcomes[i] = outcome_of(after, exists, write, i);
    return outcomes;
}

enum satchel_status merge_result_fill(const struct satchel_row *before,
                                      const struct merge_state *after, bool exists,
                                      const struct satchel_write *write,
                                      struct satchel_merge_result *result)
{
    enum satchel_outcome *outcomes = NULL;
    if (write) {
        outcomes = fill_outcomes(after, exists, write);
        if (!outcomes)
            return SATCHEL_NOMEM;
    }
    bool *changed = SATCHEL_ARENA_ARRAY(after->arena, bool, after->rules->column_count);
    if (!changed)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < after->rules->column_count; i++)
        changed[i] = has_changed(before, after, exists, i);
    *result = (struct satchel_merge_result){outcomes, changed, before->exists};
    return SATCHEL_OK;
}

void merge_state_commit(const struct merge_state *state, bool exists, struct satchel_row *row)
{
    for (uint32_t i = 0; exists && i < state->rules->column_count; i++)
        if (!state->rules->columns[i].in_key)
            row->values[i] = state->values[i];
    row->exists = exists;
    row->version = state->version;
}

/* ---- one write ---- */

static bool all_heads_seen(const struct satchel_write *write, const struct merge_head *heads,
                           uint32_t head_count)
{
    for (uint32_t i = 0; i < head_count; i++) {
        const struct merge_write *head = heads[i].write;
        /* What a head had seen is covered wherever the head is, for nodes put causes first. An
         * update known only because it is the device's own may stand on more than the delete's
         * `seen` says. */
        bool is_own_insert = head->is_insert &&
                             satchel_id_equal(&head->order.device, &write->order.device) &&
                             head->order.number < write->order.number;
        if (!is_own_insert && !satchel_vector_covers(&write->seen, &head->positions))
            return false;
    }
    return true;
}

/* Whether the delete takes with it everything the row is made of. */
static bool delete_saw_all(const struct satchel_version *version, const struct satchel_write *write)
{
    if (write->exception_count > 0)
        return false;
    const struct merge_head base = {.write = version->base};
    if (base.write && !all_heads_seen(write, &base, 1))
        return false;
    for (uint32_t i = 0; i < version->unit_count; i++)
        if (!all_heads_seen(write, version->units[i].heads, version->units[i].head_count))
            return false;
    return true;
}

static bool needs_timeline(const struct satchel_row *row, const struct satchel_write *write)
{
    const struct satchel_version *version = row->version;
    if (version->is_linked)
        return true;
    switch (write->kind) {
    case SATCHEL_OP_INSERT: return version->was_deleted;
    case SATCHEL_OP_UPDATE: return !row->exists;
    case SATCHEL_OP_DELETE: break;
    }
    return version->was_deleted || !delete_saw_all(version, write);
}

/* A row that survived deletes: the update may have seen some of them, and it is one more reason. */
static enum satchel_status advance_deletes(struct merge_state *state,
                                           const struct satchel_write *write)
{
    struct satchel_version *version = state->version;
    if (version->delete_count == 0)
        return SATCHEL_OK;
    const struct merge_write **deletes =
        SATCHEL_ARENA_ARRAY(state->arena, const struct merge_write *, version->delete_count);
    if (!deletes)
        return SATCHEL_NOMEM;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < version->delete_count; i++) {
        const struct merge_write *delete = version->deletes[i];
        if (!merge_saw_delete(&state->sight, write, merge_target_kept(delete)))
            deletes[kept++] = delete;
    }
    version->deletes = deletes;
    version->delete_count = kept;
    if (kept == 0) {
        version->survivor = NULL;
    } else if (!version->survivor ||
               satchel_order_compare(&version->survivor->order, &write->order) < 0) {
        version->survivor = merge_write_keep(state->arena, write);
        if (!version->survivor)
            return SATCHEL_NOMEM;
    }
    return SATCHEL_OK;
}

static enum satchel_status apply(struct merge_state *state, const struct satchel_row *row,
                                 const struct satchel_write *write)
{
    state->values =
        SATCHEL_ARENA_ARRAY(state->arena, struct satchel_value, state->rules->column_count);
    state->version = merge_version_copy(state->arena, row->version);
    if (!state->values || !state->version)
        return SATCHEL_NOMEM;
    if (row->exists)
        memcpy(state->values, row->values, state->rules->column_count * sizeof *state->values);
    else
        merge_state_reset(state);

    if (write->kind == SATCHEL_OP_DELETE) {
        *state->version =
            (struct satchel_version){.timeline = row->version->timeline, .was_deleted = true};
        return SATCHEL_OK;
    }
    enum satchel_status status = merge_state_write(state, write);
    if (status == SATCHEL_OK)
        status = advance_deletes(state, write);
    return status;
}

enum satchel_status satchel_row_merge(const struct satchel_table_rules *rules,
                                      struct satchel_row *row, const struct satchel_write *write,
                                      struct satchel_arena *arena,
                                      struct satchel_merge_result *result,
                                      struct satchel_error *error)
{
    enum satchel_status status = merge_check_write(rules, write, error);
    if (status != SATCHEL_OK)
        return status;
    if (write->kind != SATCHEL_OP_INSERT && !row->exists && !row->version->was_deleted)
        return merge_refuse_missing(write, error);
    if (needs_timeline(row, write))
        return SATCHEL_NEED_TIMELINE;

    struct merge_state state = {.rules = rules, .sight = {.rules = rules}, .arena = arena};
    bool exists = write->kind != SATCHEL_OP_DELETE;
    status = apply(&state, row, write);
    if (status == SATCHEL_OK)
        status = merge_result_fill(row, &state, exists, write, result);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "merging a write into a row: %s",
                                 satchel_status_text(status));
    merge_state_commit(&state, exists, row);
    return SATCHEL_OK;
}
