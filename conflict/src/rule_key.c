/* @key and @key(weak): what a thing is known by (a customer's tax number, a telephone number).
 *
 *   value     as @lww: the head with the greatest order
 *   conflict  each other head that names another key: a notice to its author
 *
 *   | heads                          | value | open conflicts |
 *   | ---                            | ---   | ---            |
 *   | none                           | the declared default | none |
 *   | one                            | its value | none       |
 *   | a before b, keys differ        | b's   | a              |
 *   | a before b, two spellings of one key | b's | none       |
 *   | one that sets the row apart    | the key it names | none |
 *
 * That two rows with equal @keys become one row is cluster.h; @key(weak) never merges rows. */
#include "merge.h"

const struct merge_rule merge_rule_key = {
    .keeps_values = true, .pick = merge_pick_latest, .is_conflict = merge_conflict_notice};
