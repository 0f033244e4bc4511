/* Owns the merge of one live write into the units it writes: which heads remain, what the rule
 * decides, which values the version keeps. Knows neither deletes nor any particular rule. */
#include "merge.h"

enum satchel_status merge_unit_columns(const struct satchel_table_rules *rules, uint32_t unit,
                                       struct satchel_arena *arena, uint32_t *single,
                                       const uint32_t **columns, uint32_t *count)
{
    if (rules->columns[unit].rule != SATCHEL_RULE_GROUP) {
        *single = unit;
        *columns = single;
        *count = 1;
        return SATCHEL_OK;
    }
    uint32_t found = 0;
    for (uint32_t i = unit; i < rules->column_count; i++)
        found += rules->columns[i].unit == unit;
    uint32_t *list = SATCHEL_ARENA_ARRAY(arena, uint32_t, found);
    if (!list)
        return SATCHEL_NOMEM;
    found = 0;
    for (uint32_t i = unit; i < rules->column_count; i++)
        if (rules->columns[i].unit == unit)
            list[found++] = i;
    *columns = list;
    *count = found;
    return SATCHEL_OK;
}

static const struct satchel_field *find_field(const struct satchel_write *write, uint32_t column)
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

const struct satchel_value *merge_written_value(const struct satchel_table_rules *rules,
                                                const struct satchel_write *write, uint32_t column)
{
    const struct satchel_field *field = find_field(write, column);
    return field ? &field->value : &rules->columns[column].default_value;
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

/* ---- one unit ---- */

struct unit {
    struct merge_state *state;
    const struct merge_rule *rule;
    uint32_t number;
    uint32_t single;
    const uint32_t *columns;
    uint32_t column_count;
    struct satchel_value *present;
    struct merge_head *heads; /* room for one more */
    uint32_t head_count;
    const struct merge_write *keeper;
    bool was_touched;
};

static bool values_equal(const struct satchel_value *a, const struct satchel_value *b,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!satchel_value_equal(&a[i], &b[i]))
            return false;
    return true;
}

static bool is_at_default(const struct unit *unit, const struct satchel_value *values)
{
    for (uint32_t i = 0; i < unit->column_count; i++)
        if (!satchel_value_equal(&values[i],
                                 &unit->state->rules->columns[unit->columns[i]].default_value))
            return false;
    return true;
}

/* Gives a head its values in full: the row's present ones if it has none of its own, defaults for
 * columns that joined the unit after it was written. */
static enum satchel_status fill_head(const struct unit *unit, struct merge_head *head)
{
    if (!head->values) {
        head->values = unit->present;
    } else if (head->value_count < unit->column_count) {
        struct satchel_value *values =
            SATCHEL_ARENA_ARRAY(unit->state->arena, struct satchel_value, unit->column_count);
        if (!values)
            return SATCHEL_NOMEM;
        for (uint32_t i = 0; i < unit->column_count; i++)
            values[i] = i < head->value_count
                            ? head->values[i]
                            : unit->state->rules->columns[unit->columns[i]].default_value;
        head->values = values;
    }
    head->value_count = unit->column_count;
    return SATCHEL_OK;
}

/* Reads a unit out of the state, by its record or by the convention for units without one. */
static enum satchel_status load(struct unit *unit, struct merge_state *state, uint32_t number)
{
    *unit = (struct unit){.state = state,
                          .number = number,
                          .rule = merge_rule_of(state->rules->columns[number].rule)};
    enum satchel_status status = merge_unit_columns(
        state->rules, number, state->arena, &unit->single, &unit->columns, &unit->column_count);
    if (status != SATCHEL_OK)
        return status;
    unit->present = SATCHEL_ARENA_ARRAY(state->arena, struct satchel_value, unit->column_count);
    if (!unit->present)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < unit->column_count; i++)
        unit->present[i] = state->values[unit->columns[i]];

    const struct merge_unit *record = merge_version_find(state->version, number);
    const struct merge_head base = {.write = state->version->base};
    const struct merge_head *heads = &base;
    if (record) {
        unit->was_touched = true;
        unit->keeper = record->keeper;
        unit->head_count = record->head_count;
        heads = record->heads;
    } else if (base.write && !is_at_default(unit, unit->present)) {
        unit->was_touched = true;
        unit->keeper = base.write;
        unit->head_count = 1;
    }
    unit->heads = SATCHEL_ARENA_ARRAY(state->arena, struct merge_head, unit->head_count + 1);
    if (!unit->heads)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < unit->head_count; i++) {
        unit->heads[i] = heads[i];
        if (unit->rule->keeps_values)
            status = fill_head(unit, &unit->heads[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

/* heads' = { h in heads : the write has not seen h } + { the write } */
static uint32_t advance_heads(const struct merge_sight *sight, uint32_t number,
                              struct merge_head *heads, uint32_t head_count,
                              const struct satchel_write *write, const struct merge_head *incoming)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < head_count; i++)
        if (!merge_saw_unit(sight, write, number, merge_target_kept(heads[i].write)))
            heads[kept++] = heads[i];
    uint32_t place = kept;
    while (place > 0 &&
           satchel_order_compare(&heads[place - 1].write->order, &incoming->write->order) > 0)
        place--;
    memmove(heads + place + 1, heads + place, (kept - place) * sizeof *heads);
    heads[place] = *incoming;
    return kept + 1;
}

/* Puts the unit back into the state: the decided values, and a record unless the convention holds.
 */
static enum satchel_status store(struct unit *unit, const struct satchel_value *decided)
{
    struct merge_state *state = unit->state;
    for (uint32_t i = 0; i < unit->column_count; i++)
        state->values[unit->columns[i]] = decided[i];
    for (uint32_t i = 0; i < unit->head_count; i++) {
        struct merge_head *head = &unit->heads[i];
        if (!unit->rule->keeps_values || values_equal(head->values, decided, unit->column_count)) {
            head->values = NULL;
            head->value_count = 0;
        }
    }
    const struct merge_write *base = state->version->base;
    bool is_plain = base && unit->head_count == 1 && unit->heads[0].write == base &&
                    !unit->heads[0].values && (!unit->keeper || unit->keeper == base) &&
                    !is_at_default(unit, decided);
    if (is_plain) {
        merge_version_drop(state->version, unit->number);
        return SATCHEL_OK;
    }
    const struct merge_unit record = {unit->number, unit->head_count, unit->heads, unit->keeper};
    return merge_version_put(state->version, state->arena, &record);
}

static enum satchel_status merge_unit(struct merge_state *state, const struct satchel_write *write,
                                      const struct merge_write *kept, uint32_t number)
{
    struct unit unit;
    enum satchel_status status = load(&unit, state, number);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(state->arena, struct satchel_value, unit.column_count);
    if (!values)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < unit.column_count; i++)
        values[i] = *merge_written_value(state->rules, write, unit.columns[i]);
    const struct merge_head incoming = {kept, values, unit.column_count};
    unit.head_count =
        advance_heads(&state->sight, number, unit.heads, unit.head_count, write, &incoming);

    struct merge_decision decision = {.heads = unit.heads,
                                      .head_count = unit.head_count,
                                      .was_touched = unit.was_touched,
                                      .present = unit.present,
                                      .incoming = &incoming,
                                      .arena = state->arena,
                                      .keeper = unit.keeper};
    status = unit.rule->decide(&decision);
    if (status != SATCHEL_OK)
        return status;
    unit.keeper = decision.keeper;
    /* The write's bytes are borrowed; what stays of them must not be. */
    bool stays = unit.rule->keeps_values || decision.decided == values;
    for (uint32_t i = 0; stays && i < unit.column_count; i++) {
        status = satchel_value_copy(state->arena, &values[i], &values[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    return store(&unit, decision.decided);
}

/* ---- all units of a write ---- */

/* Whether an earlier field of the write belongs to the same unit: then the unit is merged already.
 */
static bool is_unit_done(const struct satchel_table_rules *rules, const struct satchel_write *write,
                         uint32_t index)
{
    const struct satchel_column_rules *column = &rules->columns[write->fields[index].column];
    if (column->rule != SATCHEL_RULE_GROUP)
        return false;
    for (uint32_t i = 0; i < index; i++)
        if (rules->columns[write->fields[i].column].unit == column->unit &&
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
    count = advance_heads(&state->sight, SATCHEL_COLUMN_ROW, heads, count, write, &incoming);
    const struct merge_unit changed = {SATCHEL_COLUMN_ROW, count, heads, NULL};
    return merge_version_put(version, state->arena, &changed);
}

enum satchel_status merge_state_write(struct merge_state *state, const struct satchel_write *write)
{
    const struct merge_write *kept = merge_write_keep(state->arena, write);
    if (!kept)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    if (write->kind == SATCHEL_OP_INSERT)
        status = merge_existence(state, write, kept);
    for (uint32_t i = 0; status == SATCHEL_OK && i < write->field_count; i++) {
        const struct satchel_field *field = &write->fields[i];
        if (!merge_field_is_default(state->rules, write, field) &&
            !is_unit_done(state->rules, write, i))
            status = merge_unit(state, write, kept, state->rules->columns[field->column].unit);
    }
    return status;
}
