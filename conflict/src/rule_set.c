/* @set: everybody's elements; who takes one out takes out what he had seen.
 *
 *   value     every element that some live write added and no live write that had seen the addition
 *             removed; sorted, compact JSON
 *   conflict  never
 *
 *   | writes                                     | value |
 *   | ---                                        | ---   |
 *   | none                                       | the declared default |
 *   | add x, add y, unseen or not                | x, y  |
 *   | add x twice, unseen                        | x     |
 *   | add x, then a remove that saw it           | -     |
 *   | add x; another adds x and is unseen by a remove of the first | x |
 *   | add x, remove x, add x again, each knowing the one before | x |
 *   | an insert                                  | its elements are added |
 *   | an insert that leaves the column out       | the default's are added |
 *
 * The version keeps, per element, the additions that nobody who knows them has added again or
 * removed. */
#include "items.h"

static enum satchel_status combine(struct merge_combination *combination)
{
    return merge_items(combination, false);
}

const struct merge_rule merge_rule_set = {.is_merged = true, .has_items = true, .combine = combine};
