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

uint32_t merge_pick_latest(const struct merge_choice *choice)
{
    return choice->count - 1;
}

uint32_t merge_pick_earliest(const struct merge_choice *choice)
{
    (void)choice;
    return 0;
}

bool merge_conflict_notice(const struct merge_choice *choice, enum satchel_severity *severity)
{
    (void)choice;
    *severity = SATCHEL_SEVERITY_NOTICE;
    return true;
}

bool merge_conflict_review(const struct merge_choice *choice, enum satchel_severity *severity)
{
    (void)choice;
    *severity = SATCHEL_SEVERITY_REVIEW;
    return true;
}

const struct merge_rule merge_rule_lww = {
    .keeps_values = true, .pick = merge_pick_latest, .is_conflict = merge_conflict_notice};
