/* @state(machine): of two steps that did not know of each other the further one counts.
 *
 *   value     among the heads the state of the highest rank, then the later by order; a state that
 *             the machine does not know ranks below all it knows
 *   conflict  each other head in another state: a notice, for a person to review if that state is a
 *             closed one (cancelled, lost)
 *
 *   | heads, ranks 10 < 20 < 30                | value | open conflicts |
 *   | ---                                      | ---   | ---            |
 *   | none                                     | the declared default | none |
 *   | one, even a step back                    | its state | none       |
 *   | 20 at nine, 30 at eight                  | 30    | 20             |
 *   | two of rank 20                           | the later | the other  |
 *   | a step back to 10 that saw 20, 30 unseen | 30    | 10             |
 *
 * Whether a step is legal is judged by the old and the new state that the write itself carries
 * (satchel_state_refusal), never by the row: the author stepped from what he was shown. Without
 * the machine, where ranks are not known, it merges as @lww. */
#include "merge.h"

static const struct satchel_state *state_of(const struct merge_choice *choice, uint32_t head)
{
    const struct satchel_value *value = &choice->heads[head].values[choice->leader];
    return choice->machine && value->type == SATCHEL_TEXT
               ? satchel_machine_find(choice->machine, value->bytes)
               : NULL;
}

static uint32_t pick(const struct merge_choice *choice)
{
    uint32_t best = 0;
    const struct satchel_state *highest = state_of(choice, 0);
    for (uint32_t i = 1; i < choice->count; i++) {
        const struct satchel_state *state = state_of(choice, i);
        bool is_lower = highest && (!state || state->rank < highest->rank);
        if (is_lower)
            continue;
        best = i;
        highest = state;
    }
    return best;
}

static bool is_conflict(const struct merge_choice *choice, enum satchel_severity *severity)
{
    const struct satchel_state *state = state_of(choice, 0);
    *severity = state && state->is_closed ? SATCHEL_SEVERITY_REVIEW : SATCHEL_SEVERITY_NOTICE;
    return true;
}

enum satchel_status merge_state_step(enum satchel_op_kind kind,
                                     const struct satchel_value *operation,
                                     struct satchel_arena *arena, struct satchel_value *before,
                                     struct satchel_value *after)
{
    *before = satchel_value_null();
    *after = *operation;
    if (kind == SATCHEL_OP_INSERT)
        return SATCHEL_OK;
    enum satchel_status status = satchel_state_step(operation, arena, before, after);
    if (status != SATCHEL_CORRUPT)
        return status;
    *before = satchel_value_null();
    *after = *operation; /* written before the column was a @state */
    return SATCHEL_OK;
}

const struct merge_rule merge_rule_state = {
    .keeps_values = true, .pick = pick, .is_conflict = is_conflict};
