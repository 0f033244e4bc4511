/* Owns the merge of one live write into the units it writes: which heads and candidates remain,
 * what the rule decides. Knows neither deletes nor any particular rule. */
#include "merge.h"

const struct satchel_field *merge_find_field(const struct satchel_write *write, uint32_t column)
{
    uint32_t low = 0, high = write->field_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (write->fields[middle].column < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low < write->field_count && write->fields[low].column == column ? &write->fields[low]
                                                                           : NULL;
}

bool merge_field_is_default(const struct satchel_table_rules *rules,
                            const struct satchel_write *write, const struct satchel_field *field)
{
    const struct satchel_column_rules *column = &rules->columns[field->column];
    if (write->kind != SATCHEL_OP_INSERT || column->default_varies)
        return false;
    if (column->rule == SATCHEL_RULE_COUNTER)
        return field->value.type == SATCHEL_INTEGER && field->value.integer == 0;
    return satchel_value_equal(&field->value, &column->default_value);
}

void merge_state_reset(struct merge_state *state)
{
    for (uint32_t i = 0; i < state->rules->column_count; i++)
        if (!state->rules->columns[i].in_key)
            state->values[i] = state->rules->columns[i].default_value;
}

const struct satchel_machine *merge_machine(const struct satchel_row_context *context,
                                            const struct satchel_column_rules *column)
{
    if (column->rule != SATCHEL_RULE_STATE || !context || column->machine >= context->machine_count)
        return NULL;
    return &context->machines[column->machine];
}

/* ---- what a write says ---- */

enum satchel_status merge_written_value(const struct merge_state *state,
                                        const struct satchel_write *write, uint32_t column,
                                        struct satchel_value *out)
{
    const struct satchel_column_rules *of = &state->rules->columns[column];
    const struct satchel_field *field = merge_find_field(write, column);
    const struct satchel_row_context *context = state->context;
    *out = field ? field->value : of->default_value;
    if (!field)
        return SATCHEL_OK;
    if (of->rule == SATCHEL_RULE_STATE) {
        struct satchel_value before;
        return merge_state_step(write->kind, &field->value, state->arena, &before, out);
    }
    if (of->rule == SATCHEL_RULE_KEY && out->type == SATCHEL_BLOB)
        out->type = SATCHEL_TEXT; /* set apart: the key stays what it says */
    struct satchel_value resolved;
    if (of->is_reference && context && context->resolve &&
        context->resolve(context->resolve_context, column, out, &resolved))
        *out = resolved;
    return SATCHEL_OK;
}

bool merge_writes_leader(const struct satchel_table_rules *rules, const struct satchel_write *write,
                         uint32_t unit)
{
    if (write->kind == SATCHEL_OP_INSERT || !rules->columns[unit].has_followers)
        return true;
    for (uint32_t i = 0; i < write->field_count; i++) {
        const struct satchel_column_rules *column = &rules->columns[write->fields[i].column];
        if (column->unit == unit && column->rule != SATCHEL_RULE_FOLLOWS)
            return true;
    }
    return false;
}

/* ---- one unit ---- */

static bool may_borrow(const struct satchel_value *value)
{
    return value->type == SATCHEL_TEXT || value->type == SATCHEL_BLOB;
}

/* The write as a head, its values in full and owned by the arena if they stay. */
static enum satchel_status make_head(const struct merge_work *work,
                                     const struct satchel_write *write,
                                     const struct merge_write *kept, bool stays,
                                     struct merge_head *out)
{
    struct merge_state *state = work->state;
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(state->arena, struct satchel_value, work->column_count);
    if (!values)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < work->column_count; i++) {
        enum satchel_status status =
            merge_written_value(state, write, work->columns[i], &values[i]);
        if (status == SATCHEL_OK && stays && may_borrow(&values[i]))
            status = satchel_value_copy(state->arena, &values[i], &values[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    *out = (struct merge_head){.write = kept, .values = values, .value_count = work->column_count};
    return SATCHEL_OK;
}

/* From here on the candidates are not simply the heads. */
static enum satchel_status part_candidates(struct merge_work *work)
{
    struct merge_unit *record = &work->record;
    if (record->has_candidates)
        return SATCHEL_OK;
    record->candidates =
        SATCHEL_ARENA_ARRAY(work->state->arena, struct merge_head, record->head_count + 1);
    if (!record->candidates)
        return SATCHEL_NOMEM;
    if (record->head_count)
        memcpy(record->candidates, record->heads, record->head_count * sizeof *record->heads);
    record->candidate_count = record->head_count;
    record->has_candidates = true;
    return SATCHEL_OK;
}

static enum merge_admission admission(const struct merge_work *work,
                                      const struct merge_head *incoming)
{
    uint32_t count;
    const struct merge_head *choices = merge_work_choices(work, &count);
    if (count == 0 || !choices[0].write)
        return MERGE_REPLACE;
    if (!work->rule->admit)
        return MERGE_JOIN;
    const struct merge_choice choice = {.heads = choices,
                                        .count = count,
                                        .leader = work->leader,
                                        .column = &work->state->rules->columns[work->number]};
    return work->rule->admit(&choice, incoming);
}

/* The candidates after a write that counts; before the heads advance. */
static enum satchel_status advance_candidates(struct merge_work *work,
                                              const struct satchel_write *write,
                                              const struct merge_head *incoming)
{
    struct merge_unit *record = &work->record;
    enum merge_admission admitted = admission(work, incoming);
    if (admitted == MERGE_JOIN && !record->has_candidates)
        return SATCHEL_OK; /* as the heads */
    enum satchel_status status = part_candidates(work);
    if (status != SATCHEL_OK)
        return status;
    if (admitted == MERGE_REPLACE) {
        record->candidates[0] = *incoming;
        record->candidate_count = 1;
    } else if (admitted == MERGE_JOIN) {
        record->candidate_count =
            merge_heads_advance(&work->state->sight, work->number, record->candidates,
                                record->candidate_count, write, incoming);
    }
    return SATCHEL_OK;
}

static enum satchel_status pick(struct merge_work *work, const struct satchel_write *write,
                                const struct merge_head *incoming, bool counts)
{
    struct merge_unit *record = &work->record;
    enum satchel_status status =
        counts ? advance_candidates(work, write, incoming) : part_candidates(work);
    if (status != SATCHEL_OK)
        return status;
    record->head_count = merge_heads_advance(&work->state->sight, work->number, record->heads,
                                             record->head_count, write, incoming);
    if (!counts)
        return merge_work_store(work, work->present);
    uint32_t count;
    const struct merge_head *choices = merge_work_choices(work, &count);
    if (work->rule->is_text && count > 1 && !work->state->history)
        return SATCHEL_NEED_TIMELINE;
    return merge_work_store(work, choices[merge_work_pick(work, choices, count)].values);
}

static enum satchel_status combine(struct merge_work *work, const struct satchel_write *write,
                                   const struct merge_head *incoming, bool counts)
{
    struct merge_unit *record = &work->record;
    struct merge_combination combination = {.work = work,
                                            .write = write,
                                            .kept = incoming->write,
                                            .operation = incoming->values,
                                            .decided = work->present[0]};
    enum satchel_status status = counts ? work->rule->combine(&combination) : SATCHEL_OK;
    if (status != SATCHEL_OK)
        return status;
    record->has_candidates = !counts && !work->was_touched; /* the value comes from no write */
    record->head_count = merge_heads_advance(&work->state->sight, work->number, record->heads,
                                             record->head_count, write, incoming);
    return merge_work_store(work, &combination.decided);
}

/* Whether the write is the insert that the row is made of, and nobody has written the unit before:
 * where a rule picks among values there is one to pick, and no record to keep of it. */
static bool is_only_choice(const struct merge_state *state, const struct merge_write *kept,
                           uint32_t number)
{
    return state->version->base == kept && merge_is_one_column(state->rules, number) &&
           merge_rule_of(state->rules->columns[number].rule)->pick &&
           !merge_version_find(state->version, number);
}

static enum satchel_status take_only_choice(struct merge_state *state,
                                            const struct satchel_write *write, uint32_t number,
                                            bool *is_taken)
{
    struct satchel_value value;
    enum satchel_status status = merge_written_value(state, write, number, &value);
    /* One that is the default after all, as what a reference came to, is told from an unwritten one
     * by a record. */
    *is_taken = status == SATCHEL_OK &&
                !satchel_value_equal(&value, &state->rules->columns[number].default_value);
    if (*is_taken && may_borrow(&value))
        status = satchel_value_copy(state->arena, &value, &value);
    if (*is_taken)
        state->values[number] = value;
    return status;
}

static enum satchel_status merge_unit(struct merge_state *state, const struct satchel_write *write,
                                      const struct merge_write *kept, uint32_t number)
{
    bool counts = merge_counts(state, write, number);
    if (counts && is_only_choice(state, kept, number)) {
        bool is_taken = false;
        enum satchel_status taken = take_only_choice(state, write, number, &is_taken);
        if (taken != SATCHEL_OK || is_taken)
            return taken;
    }
    struct merge_work work;
    struct merge_head incoming;
    enum satchel_status status = merge_work_load(&work, state, number);
    if (status != SATCHEL_OK)
        return status;
    if (!merge_writes_leader(state->rules, write, number))
        return merge_followers(&work, write, kept, counts);
    if (state->rules->columns[number].has_followers)
        status = merge_followers_seen(&work, write);
    if (status == SATCHEL_OK)
        status = make_head(&work, write, kept, !counts || work.rule->pick || work.rule->has_items,
                           &incoming);
    if (status != SATCHEL_OK)
        return status;
    incoming.is_frozen = !counts;
    return work.rule->pick ? pick(&work, write, &incoming, counts)
                           : combine(&work, write, &incoming, counts);
}

/* ---- all units of a write ---- */

/* Whether an earlier field of the write belongs to the same unit: then the unit is merged already.
 */
static bool is_unit_done(const struct satchel_table_rules *rules, const struct satchel_write *write,
                         uint32_t index)
{
    uint32_t unit = rules->columns[write->fields[index].column].unit;
    const struct satchel_column_rules *leader = &rules->columns[unit];
    if (leader->rule != SATCHEL_RULE_GROUP && !leader->has_followers)
        return false;
    for (uint32_t i = 0; i < index; i++)
        if (rules->columns[write->fields[i].column].unit == unit &&
            !merge_field_is_default(rules, write, &write->fields[i]))
            return true;
    return false;
}

/* An insert is also a head of the row itself: a delete must have seen it even if it wrote no field.
 */
static enum satchel_status merge_existence(struct merge_state *state,
                                           const struct satchel_write *write,
                                           const struct merge_write *kept)
{
    struct satchel_version *version = state->version;
    const struct merge_unit *record = merge_version_find(version, SATCHEL_COLUMN_ROW);
    if (!version->base) {
        version->base = kept;
        return SATCHEL_OK;
    }
    const struct merge_head base = {.write = version->base};
    const struct merge_head *before = record ? record->heads : &base;
    uint32_t count = record ? record->head_count : 1;
    struct merge_head *heads = SATCHEL_ARENA_ARRAY(state->arena, struct merge_head, count + 1);
    if (!heads)
        return SATCHEL_NOMEM;
    memcpy(heads, before, count * sizeof *heads);
    const struct merge_head incoming = {.write = kept};
    count = merge_heads_advance(&state->sight, SATCHEL_COLUMN_ROW, heads, count, write, &incoming);
    const struct merge_unit changed = {
        .unit = SATCHEL_COLUMN_ROW, .head_count = count, .heads = heads};
    return merge_version_put(version, state->arena, &changed);
}

/* Sets and maps that an insert leaves out: it adds what the default holds. For the base that is
 * what a unit without a record means. */
static enum satchel_status merge_default_items(struct merge_state *state,
                                               const struct satchel_write *write,
                                               const struct merge_write *kept)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < state->rules->column_count; i++) {
        const struct satchel_column_rules *column = &state->rules->columns[i];
        if (column->default_value.type != SATCHEL_TEXT || column->in_key ||
            !merge_rule_of(column->rule)->has_items)
            continue;
        const struct satchel_field *field = merge_find_field(write, i);
        bool is_written = field && !merge_field_is_default(state->rules, write, field);
        bool is_implied = state->version->base == kept && !merge_version_find(state->version, i);
        if (!is_written && !is_implied)
            status = merge_unit(state, write, kept, i);
    }
    return status;
}

enum satchel_status merge_state_write(struct merge_state *state, const struct satchel_write *write)
{
    const struct merge_write *kept = merge_write_keep(state->arena, write);
    if (!kept)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    if (write->kind == SATCHEL_OP_INSERT)
        status = merge_existence(state, write, kept);
    if (status == SATCHEL_OK && write->kind == SATCHEL_OP_INSERT)
        status = merge_default_items(state, write, kept);
    for (uint32_t i = 0; status == SATCHEL_OK && i < write->field_count; i++) {
        const struct satchel_field *field = &write->fields[i];
        if (!merge_field_is_default(state->rules, write, field) &&
            !is_unit_done(state->rules, write, i))
            status = merge_unit(state, write, kept, state->rules->columns[field->column].unit);
    }
    return status;
}
