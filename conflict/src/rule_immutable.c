/* @immutable, @append (a whole row that is a fact) and @id: what the insert said.
 *
 *   value     of the earliest insert by order that gave one
 *   conflict  never
 *
 *   | writes                                | value            |
 *   | ---                                   | ---              |
 *   | no insert gave one                    | the declared default |
 *   | one insert gave a                     | a                |
 *   | insert a before insert b, both unseen | a                |
 *   | an update                             | refused at the device, and again when it is merged |
 *
 * The version keeps the earliest insert as the unit's candidate, because an even earlier one may
 * still arrive. */
#include "merge.h"

static enum merge_admission admit(const struct merge_choice *choice,
                                  const struct merge_head *incoming)
{
    return satchel_order_compare(&choice->heads[0].write->order, &incoming->write->order) < 0
               ? MERGE_STAY_OUT
               : MERGE_REPLACE;
}

const struct merge_rule merge_rule_immutable = {
    .is_final = true, .admit = admit, .pick = merge_pick_earliest};
