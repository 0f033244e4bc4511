/* @counter: everybody's additions count.
 *
 *   value     the declared default (0 if it is no integer) plus the sum of all live deltas
 *   conflict  never
 *
 *   | writes                     | value       |
 *   | ---                        | ---         |
 *   | none                       | the declared default |
 *   | +2 and +3, unseen or not   | default + 5 |
 *   | +2 and -2                  | default     |
 *   | a delta that is no integer | refused     |
 *
 * Past the range of 64 bits the sum wraps around: of all ways to overflow it is the one that does
 * not depend on the order of additions (saturating does: max + 1 - 1), and a later delta brings it
 * back. */
#include "merge.h"

static int64_t add(int64_t a, int64_t b)
{
    uint64_t sum = (uint64_t)a + (uint64_t)b;
    return sum <= INT64_MAX ? (int64_t)sum : -1 - (int64_t)(UINT64_MAX - sum);
}

static int64_t integer_of(const struct satchel_value *value)
{
    return value->type == SATCHEL_INTEGER ? value->integer : 0;
}

static enum satchel_status combine(struct merge_combination *combination)
{
    combination->decided = satchel_value_integer(
        add(integer_of(&combination->decided), integer_of(combination->operation)));
    return SATCHEL_OK;
}

const struct merge_rule merge_rule_counter = {.is_merged = true, .combine = combine};
