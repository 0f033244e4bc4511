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

const struct merge_rule merge_rule_group = {
    .keeps_values = true, .pick = merge_pick_latest, .is_conflict = merge_conflict_notice};
