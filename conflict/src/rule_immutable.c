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
 * The version keeps the earliest insert as the unit's keeper, because an even earlier one may still
 * arrive. */
#include "merge.h"

static enum satchel_status decide(struct merge_decision *decision)
{
    const struct merge_head *incoming = decision->incoming;
    if (decision->keeper &&
        satchel_order_compare(&decision->keeper->order, &incoming->write->order) < 0) {
        decision->decided = decision->present;
    } else {
        decision->keeper = incoming->write;
        decision->decided = incoming->values;
    }
    return SATCHEL_OK;
}

const struct merge_rule merge_rule_immutable = {.is_final = true, .decide = decide};
