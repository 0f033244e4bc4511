/* @group(name): columns that mean something only together (an amount and its currency) win or lose
 * together.
 *
 *   value     all columns from the head with the greatest order; a column that it left out (an
 *             insert leaves out what is at its default) has its default
 *   conflict  each other head in which any column differs: one notice per write, not per column
 *
 *   | heads                               | values       | open conflicts |
 *   | ---                                 | ---          | ---            |
 *   | none                                | the defaults | none           |
 *   | one                                 | its columns  | none           |
 *   | a before b, any column differs      | all of b's   | a, once        |
 *   | a before b, no column differs       | theirs       | none           |
 *
 * A device writes the whole group even if one column changed, so that no mixture ever arises. */
#include "merge.h"

static enum satchel_status decide(struct merge_decision *decision)
{
    const struct merge_head *winner = &decision->heads[decision->head_count - 1];
    decision->keeper = winner->write;
    decision->decided = winner->values;
    return SATCHEL_OK;
}

static bool is_conflict(const struct merge_head *head, enum satchel_severity *severity)
{
    (void)head;
    *severity = SATCHEL_SEVERITY_NOTICE;
    return true;
}

const struct merge_rule merge_rule_group = {
    .keeps_values = true, .decide = decide, .is_conflict = is_conflict};
