/* @max and @min: the largest, or smallest, value ever written in the row's present life.
 *
 *   value     the extreme in satchel_value_compare's order; NULL never beats a value
 *   conflict  never
 *
 *   | writes                 | @max | @min |
 *   | ---                    | ---  | ---  |
 *   | none                   | the default | the default |
 *   | NULL only              | NULL | NULL |
 *   | NULL and 3             | 3    | 3    |
 *   | 3 and 5, in any order, seen or unseen | 5 | 3 |
 *   | 1 and 1.0              | 1.0  | 1    |
 *
 * The default takes no part once something was written: a row inserted with 10 where the default is
 * 30 has 10. */
#include "merge.h"

static enum satchel_status combine(struct merge_combination *combination, int sign)
{
    const struct satchel_value *incoming = combination->operation;
    const struct satchel_value *present = &combination->decided;
    bool wins =
        !combination->work->was_touched || present->type == SATCHEL_NULL ||
        (incoming->type != SATCHEL_NULL && satchel_value_compare(incoming, present) * sign > 0);
    return wins ? satchel_value_copy(combination->work->state->arena, incoming,
                                     &combination->decided)
                : SATCHEL_OK;
}

static enum satchel_status combine_max(struct merge_combination *combination)
{
    return combine(combination, 1);
}

static enum satchel_status combine_min(struct merge_combination *combination)
{
    return combine(combination, -1);
}

const struct merge_rule merge_rule_max = {.combine = combine_max};
const struct merge_rule merge_rule_min = {.combine = combine_min};
