/* Owns freezing: which write froze a row, which writes came too late for that, which deletes do
 * nothing.
 *
 * A row is frozen in a state from the first write by order on that brought it to that state's rank
 * or beyond. Of the units frozen in that state only writes count that the freezing write had seen;
 * the value is the rule's among these. The other writes are heads as ever, so that a head that says
 * something else is shown as a conflict until somebody writes knowing it. Deletes that the freezing
 * write had not seen do nothing, so a life in which a row is frozen does not end. */
#include "merge.h"

const struct satchel_freeze *satchel_version_freeze(const struct satchel_version *version,
                                                    uint32_t index)
{
    return version->freezes && index < SATCHEL_FREEZING_STATES_MAX ? version->freezes[index] : NULL;
}

bool satchel_freeze_saw(const struct satchel_freeze *freeze, const struct satchel_order *order,
                        const struct satchel_vector *positions)
{
    if (satchel_id_equal(&freeze->order.device, &order->device))
        return order->number <= freeze->order.number;
    return merge_is_ancestral(&freeze->ancestors, &order->device, order->number) ||
           satchel_vector_covers(&freeze->seen, positions);
}

static const struct satchel_freeze *parent_freeze(const struct merge_state *state)
{
    return state->rules->is_frozen_by_parent && state->context ? state->context->parent_freeze
                                                               : NULL;
}

/* ---- states ---- */

static const struct satchel_machine *machine_of(const struct merge_state *state)
{
    if (state->rules->freezing_state_count == 0)
        return NULL;
    return merge_machine(state->context, &state->rules->columns[state->rules->state_column]);
}

/* The state that the write brings the row to; NULL: none that the machine knows. */
static enum satchel_status find_state(const struct merge_state *state,
                                      const struct satchel_machine *machine,
                                      const struct satchel_write *write,
                                      const struct satchel_state **out)
{
    const struct satchel_field *field = merge_find_field(write, state->rules->state_column);
    struct satchel_value value;
    *out = NULL;
    if (!field || merge_field_is_default(state->rules, write, field))
        return SATCHEL_OK;
    enum satchel_status status =
        merge_written_value(state, write, state->rules->state_column, &value);
    if (status == SATCHEL_OK && value.type == SATCHEL_TEXT)
        *out = satchel_machine_find(machine, value.bytes);
    return status;
}

static bool reaches(const struct merge_state *state, const struct satchel_machine *machine,
                    const struct satchel_state *reached, uint32_t index)
{
    const struct satchel_state *freezing =
        satchel_machine_find(machine, state->rules->freezing_states[index]);
    return freezing && reached->rank >= freezing->rank;
}

enum satchel_status merge_find_freezing(struct merge_state *state, struct merge_history *history)
{
    const struct satchel_machine *machine = machine_of(state);
    for (size_t i = 0; machine && i < history->count; i++) {
        const struct satchel_write *write = &history->writes[i];
        const struct satchel_state *reached;
        enum satchel_status status = find_state(state, machine, write, &reached);
        if (status != SATCHEL_OK)
            return status;
        for (uint32_t j = 0; reached && j < state->rules->freezing_state_count; j++) {
            const struct satchel_write *first = history->freezing[j];
            if (reaches(state, machine, reached, j) &&
                (!first || satchel_order_compare(&write->order, &first->order) < 0))
                history->freezing[j] = write;
        }
    }
    return SATCHEL_OK;
}

/* ---- the version's record ---- */

static bool keep_vector(struct satchel_arena *arena, const struct satchel_vector *vector,
                        struct satchel_vector *out)
{
    struct satchel_position *items =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_position, vector->count + 1);
    if (items && vector->count)
        memcpy(items, vector->items, vector->count * sizeof *items);
    *out = (struct satchel_vector){items, vector->count};
    return items != NULL;
}

static enum satchel_status keep_freeze(struct merge_state *state, uint32_t index,
                                       const struct satchel_order *order,
                                       const struct satchel_vector *seen,
                                       const struct satchel_vector *ancestors)
{
    struct satchel_version *version = state->version;
    const struct satchel_freeze **freezes =
        SATCHEL_ARENA_ARRAY(state->arena, const struct satchel_freeze *, MERGE_FREEZE_COUNT);
    struct satchel_freeze *freeze = satchel_arena_alloc(state->arena, sizeof *freeze);
    if (!freezes || !freeze || !keep_vector(state->arena, seen, &freeze->seen) ||
        !keep_vector(state->arena, ancestors, &freeze->ancestors))
        return SATCHEL_NOMEM;
    if (version->freezes)
        memcpy(freezes, version->freezes, MERGE_FREEZE_COUNT * sizeof(void *));
    freeze->order = *order;
    freezes[index] = freeze;
    version->freezes = freezes;
    return SATCHEL_OK;
}

/* Only its order: that of the parent is asked again at every merge. */
static enum satchel_status keep_parent_freeze(struct merge_state *state)
{
    const struct satchel_freeze *freeze = parent_freeze(state);
    const struct satchel_vector nothing = {NULL, 0};
    return freeze ? keep_freeze(state, MERGE_FREEZE_PARENT, &freeze->order, &nothing, &nothing)
                  : SATCHEL_OK;
}

enum satchel_status merge_keep_freezes(struct merge_state *state)
{
    enum satchel_status status = keep_parent_freeze(state);
    for (uint32_t i = 0; status == SATCHEL_OK && i < SATCHEL_FREEZING_STATES_MAX; i++) {
        const struct satchel_write *freezing = state->history->freezing[i];
        if (freezing)
            status = keep_freeze(state, i, &freezing->order, &freezing->seen, &freezing->ancestors);
    }
    return status;
}

/* ---- what counts ---- */

bool merge_is_frozen(const struct merge_state *state)
{
    if (state->version && state->version->freezes)
        return true;
    for (uint32_t i = 0; state->history && i < SATCHEL_FREEZING_STATES_MAX; i++)
        if (state->history->freezing[i])
            return true;
    return parent_freeze(state) != NULL;
}

/* Whether the freezing write had seen the unit as the other wrote it; one change set writes and
 * freezes at once. */
static bool freezing_saw(const struct merge_state *state, const struct satchel_write *freezing,
                         const struct satchel_write *write, uint32_t unit)
{
    if (freezing == write || (satchel_id_equal(&freezing->order.device, &write->order.device) &&
                              freezing->order.number == write->order.number))
        return true;
    return merge_saw_unit(&state->sight, freezing, unit, merge_target_write(write));
}

bool merge_counts(const struct merge_state *state, const struct satchel_write *write, uint32_t unit)
{
    uint32_t frozen = state->rules->columns[unit].frozen;
    if (frozen == SATCHEL_FROZEN_NEVER)
        return true;
    if (frozen == SATCHEL_FROZEN_PARENT) {
        const struct satchel_freeze *freeze = parent_freeze(state);
        return !freeze || satchel_freeze_saw(freeze, &write->order, &write->positions);
    }
    if (state->history) {
        const struct satchel_write *freezing = state->history->freezing[frozen - 1];
        return !freezing || freezing_saw(state, freezing, write, unit);
    }
    const struct satchel_freeze *freeze = satchel_version_freeze(state->version, frozen - 1);
    return !freeze || satchel_freeze_saw(freeze, &write->order, &write->positions);
}

bool merge_is_idle_delete(const struct merge_state *state, const struct satchel_write *write)
{
    const struct satchel_freeze *freeze = parent_freeze(state);
    if (freeze && !satchel_freeze_saw(freeze, &write->order, &write->positions))
        return true;
    for (uint32_t i = 0; i < SATCHEL_FREEZING_STATES_MAX; i++) {
        const struct satchel_write *freezing = state->history->freezing[i];
        if (freezing && !merge_saw_delete(&state->sight, freezing, merge_target_write(write)))
            return true;
    }
    return false;
}

/* ---- one write into a version ---- */

static bool is_unborn(const struct satchel_version *version)
{
    return !version->base && !version->was_deleted;
}

/* Whether the write had seen all that is merged of the units frozen in that state. */
static bool saw_frozen_units(const struct merge_state *state, const struct satchel_write *write,
                             uint32_t index)
{
    const struct satchel_version *version = state->version;
    /* An own head that it knows all the same may have seen what the exceptions hid from it. */
    if (write->exception_count > 0)
        return false;
    for (uint32_t i = 0; i < state->rules->column_count; i++) {
        const struct satchel_column_rules *column = &state->rules->columns[i];
        if (column->frozen != index + 1)
            continue;
        const struct merge_unit *record = merge_version_find(version, i);
        if (!record && version->base &&
            !merge_saw_unit(&state->sight, write, column->unit, merge_target_kept(version->base)))
            return false;
        for (uint32_t j = 0; record && j < record->head_count; j++)
            if (!merge_saw_unit(&state->sight, write, column->unit,
                                merge_target_kept(record->heads[j].write)))
                return false;
    }
    return true;
}

static enum satchel_status bring_freeze(struct merge_state *state,
                                        const struct satchel_write *write, uint32_t index)
{
    const struct satchel_freeze *standing = satchel_version_freeze(state->version, index);
    if (standing)
        return satchel_order_compare(&standing->order, &write->order) < 0 ? SATCHEL_OK
                                                                          : SATCHEL_NEED_TIMELINE;
    if (state->version->was_deleted || !saw_frozen_units(state, write, index))
        return SATCHEL_NEED_TIMELINE;
    return keep_freeze(state, index, &write->order, &write->seen, &write->ancestors);
}

static enum satchel_status bring_freezes(struct merge_state *state,
                                         const struct satchel_write *write)
{
    const struct satchel_machine *machine = machine_of(state);
    const struct satchel_state *reached;
    enum satchel_status status = machine ? find_state(state, machine, write, &reached) : SATCHEL_OK;
    if (!machine || status != SATCHEL_OK || !reached)
        return status;
    for (uint32_t i = 0; status == SATCHEL_OK && i < state->rules->freezing_state_count; i++)
        if (reaches(state, machine, reached, i))
            status = bring_freeze(state, write, i);
    return status;
}

/* Whether the version was made under the parent's freeze as it is now. */
static bool is_under_parent_freeze(const struct merge_state *state)
{
    const struct satchel_freeze *now = parent_freeze(state);
    const struct satchel_freeze *then =
        state->version->freezes ? state->version->freezes[MERGE_FREEZE_PARENT] : NULL;
    return now && then ? satchel_order_compare(&now->order, &then->order) == 0 : now == then;
}

enum satchel_status merge_freeze_row(struct merge_state *state, const struct satchel_write *write)
{
    if (state->rules->freezing_state_count == 0 && !state->rules->is_frozen_by_parent)
        return SATCHEL_OK;
    if (is_unborn(state->version)) {
        enum satchel_status status = keep_parent_freeze(state);
        return status == SATCHEL_OK ? bring_freezes(state, write) : status;
    }
    if (!is_under_parent_freeze(state))
        return SATCHEL_NEED_TIMELINE;
    const struct satchel_freeze *parent = parent_freeze(state);
    if (parent && satchel_freeze_saw(parent, &write->order, &write->positions))
        return SATCHEL_NEED_TIMELINE;
    for (uint32_t i = 0; i < state->rules->freezing_state_count; i++) {
        const struct satchel_freeze *freeze = satchel_version_freeze(state->version, i);
        if (freeze && satchel_freeze_saw(freeze, &write->order, &write->positions))
            return SATCHEL_NEED_TIMELINE; /* another part of the change set that froze it */
    }
    return bring_freezes(state, write);
}
