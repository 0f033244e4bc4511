/* @authority(a>b>c) and @claim(a>b>c): who says it counts more than when.
 *
 *   value     from the writes of the highest role that ever wrote it in the row's present life:
 *             @authority the latest of their heads, @claim the earliest (a later write that saw the
 *             claim replaces it)
 *   conflict  each head, of whatever role, that says something else: @authority a notice, @claim
 *             for a person to review
 *
 *   | writes, a the higher role          | value | @authority | @claim    |
 *   | ---                                | ---   | ---        | ---       |
 *   | none                               | the declared default | none | none |
 *   | a says x, b says y, seen or unseen | x     | b, notice  | b, review |
 *   | b says y, then a, knowing it, x    | x     | none       | none      |
 *   | a says x, later a says y, unseen   | y, of a claim x | the other | the other |
 *   | a says x, then a, knowing it, y    | y     | none       | none      |
 *
 * A role that the list does not name ranks below all of it. Whether a role may write the column at
 * all is not decided here. */
#include "merge.h"

uint32_t satchel_role_rank(const struct satchel_column_rules *column, struct satchel_span role)
{
    uint32_t rank = 0;
    while (rank < column->role_count && !satchel_span_equal(column->roles[rank], role))
        rank++;
    return rank;
}

static enum merge_admission admit(const struct merge_choice *choice,
                                  const struct merge_head *incoming)
{
    uint32_t standing = satchel_role_rank(choice->column, choice->heads[0].write->role);
    uint32_t rank = satchel_role_rank(choice->column, incoming->write->role);
    if (rank == standing)
        return MERGE_JOIN;
    return rank < standing ? MERGE_REPLACE : MERGE_STAY_OUT;
}

const struct merge_rule merge_rule_authority = {.keeps_values = true,
                                                .admit = admit,
                                                .pick = merge_pick_latest,
                                                .is_conflict = merge_conflict_notice};
const struct merge_rule merge_rule_claim = {.keeps_values = true,
                                            .admit = admit,
                                            .pick = merge_pick_earliest,
                                            .is_conflict = merge_conflict_review};
