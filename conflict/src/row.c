/* Owns the merge of one write into one row where the version alone is enough, the checks that every
 * write passes, and what the caller is told of it. Rows with deletes are lives.c. */
#include "merge.h"

/* ---- checks ---- */

struct checking {
    const struct satchel_table_rules *rules;
    const struct satchel_row_context *context;
    struct satchel_arena *arena;
};

/* In words that name table, column and rule, as a device's are. */
static enum satchel_status refuse(const struct satchel_table_rules *rules, uint32_t column,
                                  const char *words, struct satchel_error *error)
{
    const struct satchel_column_rules *of = &rules->columns[column];
    const char *rule = satchel_rule_name(of->rule);
    return rules->name && of->name
               ? satchel_error_set(error, SATCHEL_REFUSED, "table %s, column %s: @%s: %s",
                                   rules->name, of->name, rule, words)
               : satchel_error_set(error, SATCHEL_REFUSED, "column %u: @%s: %s", (unsigned)column,
                                   rule, words);
}

/* A step is judged by the states that the write itself carries. */
static enum satchel_status check_step(const struct checking *checking,
                                      const struct satchel_write *write, uint32_t index,
                                      struct satchel_error *error)
{
    const struct satchel_field *field = &write->fields[index];
    const struct satchel_machine *machine =
        merge_machine(checking->context, &checking->rules->columns[field->column]);
    struct satchel_value before, after;
    char text[SATCHEL_REFUSAL_BYTES];
    if (!machine)
        return SATCHEL_OK;
    enum satchel_status status =
        merge_state_step(write->kind, &field->value, checking->arena, &before, &after);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "reading a step from one state to another: %s",
                                 satchel_status_text(status));
    const char *refusal = satchel_state_refusal(machine, &before, &after, text);
    return refusal ? refuse(checking->rules, field->column, refusal, error) : SATCHEL_OK;
}

static enum satchel_status check_field(const struct checking *checking,
                                       const struct satchel_write *write, uint32_t index,
                                       struct satchel_error *error)
{
    const struct satchel_table_rules *rules = checking->rules;
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
        return refuse(rules, column, "a row keeps its primary key", error);
    if (merge_rule_of(of->rule)->is_final && write->kind == SATCHEL_OP_UPDATE)
        return refuse(rules, column, "cannot change after the insert", error);
    const char *refusal =
        satchel_operation_refusal(of, write->kind, &write->fields[index].value, checking->arena);
    if (refusal == satchel_operation_no_memory)
        return satchel_error_set(error, SATCHEL_NOMEM, "%s", refusal);
    if (refusal)
        return refuse(rules, column, refusal, error);
    return of->rule == SATCHEL_RULE_STATE ? check_step(checking, write, index, error) : SATCHEL_OK;
}

enum satchel_status merge_check_write(const struct satchel_table_rules *rules,
                                      const struct satchel_row_context *context,
                                      const struct satchel_write *write,
                                      struct satchel_arena *arena, struct satchel_error *error)
{
    if (write->kind == SATCHEL_OP_DELETE) {
        if (rules->delete_policy == SATCHEL_DELETE_FORBID)
            return satchel_error_set(error, SATCHEL_REFUSED,
                                     "delete=forbid: rows of %s cannot be deleted",
                                     rules->name ? rules->name : "the table");
        if (write->field_count != 0)
            return satchel_error_set(error, SATCHEL_REFUSED, "a delete carries no fields");
        return SATCHEL_OK;
    }
    if (write->kind != SATCHEL_OP_INSERT && write->kind != SATCHEL_OP_UPDATE)
        return satchel_error_set(error, SATCHEL_REFUSED, "unknown kind of write %d",
                                 (int)write->kind);
    if (write->kind == SATCHEL_OP_UPDATE && write->field_count == 0)
        return satchel_error_set(error, SATCHEL_REFUSED, "an update writes at least one field");
    const struct checking checking = {rules, context, arena};
    for (uint32_t i = 0; i < write->field_count; i++) {
        enum satchel_status status = check_field(&checking, write, i, error);
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

static enum satchel_status says_column(const struct merge_state *after,
                                       const struct satchel_write *write, uint32_t column,
                                       bool *says)
{
    struct satchel_value written;
    enum satchel_status status = merge_written_value(after, write, column, &written);
    *says = status == SATCHEL_OK && satchel_value_equal(&written, &after->values[column]);
    return status;
}

/* Whether the row holds what the write says of the field's unit; of a follower written alone, of
 * the field. */
static enum satchel_status says_unit(const struct merge_state *after,
                                     const struct satchel_write *write, uint32_t column, bool *says)
{
    const struct satchel_table_rules *rules = after->rules;
    uint32_t unit = rules->columns[column].unit, single, count;
    const uint32_t *columns;
    if (!merge_writes_leader(rules, write, unit))
        return says_column(after, write, column, says);
    enum satchel_status status =
        merge_unit_columns(rules, unit, after->arena, &single, &columns, &count);
    *says = true;
    for (uint32_t i = 0; status == SATCHEL_OK && *says && i < count; i++)
        status = says_column(after, write, columns[i], says);
    return status;
}

static enum satchel_status find_outcome(const struct merge_state *after, bool exists,
                                        const struct satchel_write *write, uint32_t index,
                                        enum satchel_outcome *outcome)
{
    uint32_t column = write->fields[index].column;
    uint32_t unit = after->rules->columns[column].unit;
    const struct merge_rule *rule = merge_rule_of(after->rules->columns[unit].rule);
    bool says = false;
    *outcome = SATCHEL_OUTCOME_SUPERSEDED;
    if (!exists)
        return SATCHEL_OK;
    bool counts = merge_counts(after, write, unit);
    if (counts && rule->is_merged) {
        *outcome = SATCHEL_OUTCOME_MERGED;
        return SATCHEL_OK;
    }
    enum satchel_status status =
        rule->is_merged ? SATCHEL_OK : says_unit(after, write, column, &says);
    if (says)
        *outcome = SATCHEL_OUTCOME_APPLIED;
    else if (!counts)
        *outcome = SATCHEL_OUTCOME_FROZEN;
    else if (rule->is_text)
        *outcome = SATCHEL_OUTCOME_MERGED;
    return status;
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

static enum satchel_status fill_outcomes(const struct merge_state *after, bool exists,
                                         const struct satchel_write *write,
                                         enum satchel_outcome **out)
{
    uint32_t count = write->kind == SATCHEL_OP_DELETE ? 1 : write->field_count;
    enum satchel_outcome *outcomes = SATCHEL_ARENA_ARRAY(after->arena, enum satchel_outcome, count);
    if (!outcomes)
        return SATCHEL_NOMEM;
    if (write->kind == SATCHEL_OP_DELETE)
        outcomes[0] = exists ? SATCHEL_OUTCOME_SUPERSEDED : SATCHEL_OUTCOME_APPLIED;
    for (uint32_t i = 0; i < write->field_count; i++) {
        enum satchel_status status = find_outcome(after, exists, write, i, &outcomes[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    *out = outcomes;
    return SATCHEL_OK;
}

enum satchel_status merge_result_fill(const struct satchel_row *before,
                                      const struct merge_state *after, bool exists,
                                      const struct satchel_write *write,
                                      struct satchel_merge_result *result)
{
    enum satchel_outcome *outcomes = NULL;
    enum satchel_status status =
        write ? fill_outcomes(after, exists, write, &outcomes) : SATCHEL_OK;
    if (status != SATCHEL_OK)
        return status;
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
        bool is_own_insert = head->is_insert && merge_is_own_earlier(write, &head->order.device,
                                                                     head->order.number);
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

static bool needs_timeline(const struct merge_state *state, const struct satchel_row *row,
                           const struct satchel_write *write)
{
    const struct satchel_version *version = row->version;
    if (version->is_linked)
        return true;
    switch (write->kind) {
    case SATCHEL_OP_INSERT: return version->was_deleted;
    case SATCHEL_OP_UPDATE: return !row->exists;
    case SATCHEL_OP_DELETE: break;
    }
    if (version->was_deleted || merge_is_frozen(state))
        return true;
    return state->rules->delete_policy != SATCHEL_DELETE_DELETE_WINS &&
           !delete_saw_all(version, write);
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
    if (write->kind == SATCHEL_OP_DELETE) {
        *state->version =
            (struct satchel_version){.timeline = row->version->timeline, .was_deleted = true};
        merge_state_reset(state);
        return SATCHEL_OK;
    }
    if (row->exists)
        memcpy(state->values, row->values, state->rules->column_count * sizeof *state->values);
    else
        merge_state_reset(state);
    enum satchel_status status = merge_freeze_row(state, write);
    if (status == SATCHEL_OK)
        status = merge_state_write(state, write);
    return status == SATCHEL_OK ? advance_deletes(state, write) : status;
}

enum satchel_status satchel_row_merge(const struct satchel_table_rules *rules,
                                      struct satchel_row *row, const struct satchel_write *write,
                                      struct satchel_arena *arena,
                                      struct satchel_merge_result *result,
                                      struct satchel_error *error)
{
    enum satchel_status status = merge_check_write(rules, row->context, write, arena, error);
    if (status != SATCHEL_OK)
        return status;
    if (write->kind != SATCHEL_OP_INSERT && !row->exists && !row->version->was_deleted)
        return merge_refuse_missing(write, error);

    struct merge_state state = {.rules = rules,
                                .sight = {.rules = rules},
                                .context = row->context,
                                .arena = arena,
                                .version = row->version};
    if (needs_timeline(&state, row, write))
        return SATCHEL_NEED_TIMELINE;
    bool exists = write->kind != SATCHEL_OP_DELETE;
    state.values = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, rules->column_count);
    state.version = merge_version_copy(arena, row->version);
    status = state.values && state.version ? apply(&state, row, write) : SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = merge_result_fill(row, &state, exists, write, result);
    if (status == SATCHEL_NEED_TIMELINE)
        return status;
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "merging a write into a row: %s",
                                 satchel_status_text(status));
    merge_state_commit(&state, exists, row);
    return SATCHEL_OK;
}
