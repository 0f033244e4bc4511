/* @lww: the latest of the writes that did not know of each other wins.
 *
 *   value     the head with the greatest order (corrected stamp, then device, number, part)
 *   conflict  each other head whose value differs: a notice to its author
 *
 *   | heads                         | value | open conflicts |
 *   | ---                           | ---   | ---            |
 *   | none: nobody wrote it         | the declared default | none |
 *   | one: everyone knew the others | its value, whatever the clocks say | none |
 *   | a before b, values differ     | b's   | a              |
 *   | a before b, values equal      | theirs | none          |
 *   | a before b before c           | c's   | of a and b those that differ from c's |
 */
#include "merge.h"

enum satchel_status merge_decide_latest(struct merge_decision *decision)
{
    const struct merge_head *winner = &decision->heads[decision->head_count - 1];
    decision->keeper = winner->write;
    decision->decided = winner->values;
    return SATCHEL_OK;
}

bool merge_conflict_notice(const struct merge_head *head, enum satchel_severity *severity)
{
    (void)head;
    *severity = SATCHEL_SEVERITY_NOTICE;
    return true;
}

const struct merge_rule merge_rule_lww = {
    .keeps_values = true, .decide = merge_decide_latest, .is_conflict = merge_conflict_notice};
