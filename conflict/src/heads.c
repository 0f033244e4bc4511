/* Owns the heads of one unit: who remains when a write arrives, and the unit taken out of a version
 * and put back by the convention of merge.h. Knows no rule by name. */
#include "merge.h"

#include <satchel/mutation.h>

bool merge_values_equal(const struct satchel_value *a, const struct satchel_value *b,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!satchel_value_equal(&a[i], &b[i]))
            return false;
    return true;
}

bool merge_is_one_column(const struct satchel_table_rules *rules, uint32_t unit)
{
    const struct satchel_column_rules *of = &rules->columns[unit];
    return of->rule != SATCHEL_RULE_GROUP && !of->has_followers;
}

enum satchel_status merge_unit_columns(const struct satchel_table_rules *rules, uint32_t unit,
                                       struct satchel_arena *arena, uint32_t *single,
                                       const uint32_t **columns, uint32_t *count)
{
    if (merge_is_one_column(rules, unit)) {
        *single = unit;
        *columns = single;
        *count = 1;
        return SATCHEL_OK;
    }
    uint32_t found = 0;
    for (uint32_t i = 0; i < rules->column_count; i++)
        found += rules->columns[i].unit == unit;
    uint32_t *list = SATCHEL_ARENA_ARRAY(arena, uint32_t, found);
    if (!list)
        return SATCHEL_NOMEM;
    found = 0;
    for (uint32_t i = 0; i < rules->column_count; i++)
        if (rules->columns[i].unit == unit)
            list[found++] = i;
    *columns = list;
    *count = found;
    return SATCHEL_OK;
}

/* The defaults stand below every write, and were seen by all. */
static bool was_seen(const struct merge_sight *sight, const struct satchel_write *write,
                     uint32_t unit, const struct merge_head *head)
{
    return !head->write || merge_saw_unit(sight, write, unit, merge_target_kept(head->write));
}

uint32_t merge_heads_advance(const struct merge_sight *sight, uint32_t unit,
                             struct merge_head *heads, uint32_t head_count,
                             const struct satchel_write *write, const struct merge_head *incoming)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < head_count; i++)
        if (!was_seen(sight, write, unit, &heads[i]) && !SATCHEL_MUTATED(no_head))
            heads[kept++] = heads[i];
    uint32_t place = kept;
    while (place > 0 &&
           satchel_order_compare(&heads[place - 1].write->order, &incoming->write->order) > 0)
        place--;
    memmove(heads + place + 1, heads + place, (kept - place) * sizeof *heads);
    heads[place] = *incoming;
    return kept + 1;
}

/* ---- out of the state ---- */

static const struct satchel_value *default_of(const struct merge_work *work, uint32_t index)
{
    return &work->state->rules->columns[work->columns[index]].default_value;
}

static bool is_at_default(const struct merge_work *work, const struct satchel_value *values)
{
    for (uint32_t i = 0; i < work->column_count; i++)
        if (!satchel_value_equal(&values[i], default_of(work, i)))
            return false;
    return true;
}

/* Gives a head its values in full: the row's present ones if it has none of its own, defaults for
 * columns that joined the unit after it was written. */
static enum satchel_status fill_head(const struct merge_work *work, struct merge_head *head)
{
    if (!head->values) {
        head->values = work->present;
    } else if (head->value_count < work->column_count) {
        struct satchel_value *values =
            SATCHEL_ARENA_ARRAY(work->state->arena, struct satchel_value, work->column_count);
        if (!values)
            return SATCHEL_NOMEM;
        for (uint32_t i = 0; i < work->column_count; i++)
            values[i] = i < head->value_count ? head->values[i] : *default_of(work, i);
        head->values = values;
    }
    head->value_count = work->column_count;
    return SATCHEL_OK;
}

/* A copy with room for one more, values filled in if the rule picks. NULL: no memory. */
static struct merge_head *load_heads(const struct merge_work *work, const struct merge_head *heads,
                                     uint32_t count)
{
    struct merge_head *copy = SATCHEL_ARENA_ARRAY(work->state->arena, struct merge_head, count + 1);
    for (uint32_t i = 0; copy && i < count; i++) {
        copy[i] = heads[i];
        if (work->rule->pick && fill_head(work, &copy[i]) != SATCHEL_OK)
            return NULL;
    }
    return copy;
}

enum satchel_status merge_work_load(struct merge_work *work, struct merge_state *state,
                                    uint32_t number)
{
    *work = (struct merge_work){.state = state,
                                .number = number,
                                .rule = merge_rule_of(state->rules->columns[number].rule)};
    enum satchel_status status = merge_unit_columns(
        state->rules, number, state->arena, &work->single, &work->columns, &work->column_count);
    if (status != SATCHEL_OK)
        return status;
    work->present = SATCHEL_ARENA_ARRAY(state->arena, struct satchel_value, work->column_count);
    if (!work->present)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < work->column_count; i++) {
        work->present[i] = state->values[work->columns[i]];
        if (work->columns[i] == number)
            work->leader = i;
    }

    const struct merge_unit *record = merge_version_find(state->version, number);
    const struct merge_head base = {.write = state->version->base};
    const struct merge_head *heads = &base;
    if (record) {
        work->was_touched = !record->has_candidates || record->candidate_count > 0;
        work->record = *record;
        heads = record->heads;
    } else if (base.write && !is_at_default(work, work->present)) {
        work->was_touched = true;
        work->record.head_count = 1;
    }
    work->record.unit = number;
    work->record.heads = load_heads(work, heads, work->record.head_count);
    if (work->record.has_candidates)
        work->record.candidates =
            load_heads(work, work->record.candidates, work->record.candidate_count);
    return work->record.heads && (!work->record.has_candidates || work->record.candidates)
               ? SATCHEL_OK
               : SATCHEL_NOMEM;
}

const struct merge_head *merge_work_choices(const struct merge_work *work, uint32_t *count)
{
    const struct merge_unit *record = &work->record;
    *count = record->has_candidates ? record->candidate_count : record->head_count;
    return record->has_candidates ? record->candidates : record->heads;
}

uint32_t merge_work_pick(const struct merge_work *work, const struct merge_head *choices,
                         uint32_t count)
{
    const struct satchel_column_rules *column = &work->state->rules->columns[work->number];
    const struct merge_choice choice = {choices, count, work->leader, column,
                                        merge_machine(work->state->context, column)};
    return work->rule->pick(&choice);
}

/* ---- back into the state ---- */

static bool same_writes(const struct merge_unit *record)
{
    if (record->candidate_count != record->head_count)
        return false;
    for (uint32_t i = 0; i < record->head_count; i++)
        if (record->candidates[i].write != record->heads[i].write)
            return false;
    return true;
}

/* Values that the row shows are not kept twice. What was written into a frozen unit whose rule
 * merges is an operation, not a value. */
static void trim_heads(const struct merge_work *work, struct merge_head *heads, uint32_t count,
                       const struct satchel_value *decided)
{
    for (uint32_t i = 0; i < count; i++) {
        struct merge_head *head = &heads[i];
        bool is_kept = head->values && (work->rule->keeps_values || head->is_frozen);
        bool is_operation = head->is_frozen && work->rule->is_merged;
        if (is_kept &&
            (is_operation || !merge_values_equal(head->values, decided, work->column_count)))
            continue;
        head->values = NULL;
        head->value_count = 0;
    }
}

/* Whether the unit needs no record: the base alone wrote it. */
static bool is_plain(const struct merge_work *work, const struct satchel_value *decided)
{
    const struct merge_unit *record = &work->record;
    const struct merge_write *base = work->state->version->base;
    return base && !record->has_candidates && record->item_count == 0 && record->head_count == 1 &&
           record->heads[0].write == base && !record->heads[0].values &&
           !record->heads[0].is_frozen && record->heads[0].top_count == 0 &&
           !is_at_default(work, decided);
}

enum satchel_status merge_work_store(struct merge_work *work, const struct satchel_value *decided)
{
    struct merge_state *state = work->state;
    struct merge_unit *record = &work->record;
    for (uint32_t i = 0; i < work->column_count; i++)
        state->values[work->columns[i]] = decided[i];
    trim_heads(work, record->heads, record->head_count, decided);
    if (record->has_candidates && same_writes(record))
        record->has_candidates = false;
    if (record->has_candidates) {
        trim_heads(work, record->candidates, record->candidate_count, decided);
    } else {
        record->candidates = NULL;
        record->candidate_count = 0;
    }
    if (is_plain(work, decided)) {
        merge_version_drop(state->version, work->number);
        return SATCHEL_OK;
    }
    return merge_version_put(state->version, state->arena, record);
}
