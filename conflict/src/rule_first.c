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
 * The claim that stands is the unit's candidate: it may no longer be a head when an earlier one
 * arrives. Where nobody claims, the candidates are the heads. */
#include "merge.h"

static bool claims(const struct merge_choice *choice, const struct merge_head *head)
{
    return head->values[choice->leader].type != SATCHEL_NULL;
}

/* The claim that stands, if any: candidates are one claim, or none of them is one. */
static const struct merge_head *standing_claim(const struct merge_choice *choice)
{
    for (uint32_t i = 0; i < choice->count; i++)
        if (claims(choice, &choice->heads[i]))
            return &choice->heads[i];
    return NULL;
}

static enum merge_admission admit(const struct merge_choice *choice,
                                  const struct merge_head *incoming)
{
    const struct merge_head *standing = standing_claim(choice);
    if (!standing)
        return claims(choice, incoming) ? MERGE_REPLACE : MERGE_JOIN;
    bool is_earlier = claims(choice, incoming) &&
                      satchel_order_compare(&incoming->write->order, &standing->write->order) < 0;
    return is_earlier ? MERGE_REPLACE : MERGE_STAY_OUT;
}

static uint32_t pick(const struct merge_choice *choice)
{
    const struct merge_head *standing = standing_claim(choice);
    return standing ? (uint32_t)(standing - choice->heads) : choice->count - 1;
}

static bool is_conflict(const struct merge_choice *choice, enum satchel_severity *severity)
{
    *severity = SATCHEL_SEVERITY_NOTICE;
    return claims(choice, &choice->heads[0]);
}

const struct merge_rule merge_rule_first = {
    .keeps_values = true, .admit = admit, .pick = pick, .is_conflict = is_conflict};
