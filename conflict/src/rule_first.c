/* @first: whoever said it first stays (first response, first touch).
 *
 *   value     the earliest value by order among all live writes; a NULL is no claim
 *   conflict  each head whose value differs and is not NULL: a notice to its author
 *
 *   | writes                                  | value   | open conflicts |
 *   | ---                                     | ---     | ---            |
 *   | none                                    | the declared default | none |
 *   | NULL only                               | NULL    | none           |
 *   | a before b, unseen, values differ       | a's     | b              |
 *   | a before b, b knew a, values differ     | a's     | b              |
 *   | a before b before NULL that knew both   | a's     | none           |
 *   | b is there, an earlier a arrives late   | a's     | b              |
 *
 * The version keeps the order of the write that gave the value as the unit's keeper, because that
 * write may no longer be a head when an earlier one arrives. */
#include "merge.h"

static enum satchel_status decide(struct merge_decision *decision)
{
    const struct merge_head *incoming = decision->incoming;
    bool is_claimed = decision->keeper && decision->present->type != SATCHEL_NULL;
    bool claims = incoming->values->type != SATCHEL_NULL;
    if (claims && (!is_claimed ||
                   satchel_order_compare(&incoming->write->order, &decision->keeper->order) < 0)) {
        decision->keeper = incoming->write;
        decision->decided = incoming->values;
    } else if (is_claimed) {
        decision->decided = decision->present;
    } else {
        decision->keeper = NULL;
        decision->decided = incoming->values;
    }
    return SATCHEL_OK;
}

static bool is_conflict(const struct merge_head *head, enum satchel_severity *severity)
{
    *severity = SATCHEL_SEVERITY_NOTICE;
    return head->value_count > 0 && head->values->type != SATCHEL_NULL;
}

const struct merge_rule merge_rule_first = {
    .keeps_values = true, .decide = decide, .is_conflict = is_conflict};
