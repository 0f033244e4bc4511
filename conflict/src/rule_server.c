/* @server: what only the server writes (document numbers, dates it promises). Two servers that did
 * not know of each other may both have written it: the first one has been told to people.
 *
 *   value     the head with the smallest order; a write that saw it replaces it
 *   conflict  each other head whose value differs: for a person to review
 *
 *   | heads                       | value | open conflicts |
 *   | ---                         | ---   | ---            |
 *   | none                        | the declared default | none |
 *   | one                         | its value | none       |
 *   | a before b, values differ   | a's   | b              |
 *   | a before b, values equal    | theirs | none          |
 *
 * That nobody else writes it is judged by who sends, before it is merged. */
#include "merge.h"

const struct merge_rule merge_rule_server = {
    .keeps_values = true, .pick = merge_pick_earliest, .is_conflict = merge_conflict_review};
