/* Operations: what a change set carries of a written field, and what it does to a value.
 *
 * A rule that combines needs to know what an author *did*, not what the field looked like
 * afterwards. Everything that captures, shows or merges writes goes through these functions; no
 * layer above knows a rule.
 *
 *   | rule     | operation of an update                    | of an insert                       |
 *   | ---      | ---                                       | ---                                |
 *   | @counter | INTEGER: the difference                   | INTEGER: difference to the default |
 *   | @set     | TEXT: [[added, ...],[removed, ...]]       | TEXT: the set                      |
 *   | @map     | TEXT: [{"key":value, ...},["removed", ...]] | TEXT: the map                    |
 *   | @state   | TEXT: ["old","new"]                       | TEXT: the state                    |
 *   | @key     | the value; BLOB: the value's text, and the row is set apart: until the key is
 *   |          | written again it is one with no other row | the value                          |
 *   | others   | the new value                             | the new value                      |
 *
 * JSON in operations and canonical values is compact: no spaces, the elements of a set ascending
 * and once each, the keys of a map ascending (both by satchel_json_compare), strings with the
 * fewest escapes, numbers as written. A set is a JSON array of anything, a map a JSON object, with
 * fewer than SATCHEL_JSON_DEPTH_MAX brackets inside each other. NULL counts as the empty set and
 * the empty map. */
#ifndef SATCHEL_OPERATION_H
#define SATCHEL_OPERATION_H

#include <satchel/row.h>

/* Why the rule cannot take `value` as a field's new value at all ("a @set takes a JSON array"), or
 * NULL. What depends on the machine or on the old value is satchel_state_refusal. */
const char *satchel_value_refusal(const struct satchel_column_rules *column,
                                  const struct satchel_value *value);

/* Why a row may not go from state `old_value` to `new_value` (an insert: `old_value` NULL), as a
 * sentence without the column's name, written into `text`; or NULL if it may. A step to a higher or
 * equal rank is always allowed; backwards only to a state in the old one's back_to. An old state
 * that the machine does not know may be left for any. A machine without states, whose rows are on
 * the way perhaps, allows everything. */
#define SATCHEL_REFUSAL_BYTES 200
const char *satchel_state_refusal(const struct satchel_machine *machine,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *new_value,
                                  char text[SATCHEL_REFUSAL_BYTES]);

/* The operation that turns `old_value` into `new_value`, in `arena` or borrowed from the values.
 * For an insert `old_value` is ignored and the declared default stands for it. `*is_write` is false
 * if nothing is written (the sets have the same elements, the values are equal): the operation then
 * is the one that changes nothing, and may be written all the same by whoever means to.
 *
 * What every replica holds afterwards is not `new_value` as the author wrote it but, bit for bit,
 * what satchel_operation_apply makes of `old_value`; if nothing is written, `old_value` (of an
 * insert the declared default) as it was. REFUSED: see satchel_value_refusal; NOMEM. */
enum satchel_status satchel_operation_make(
    const struct satchel_column_rules *column, enum satchel_op_kind kind,
    const struct satchel_value *old_value, const struct satchel_value *new_value,
    struct satchel_arena *arena, struct satchel_value *operation, bool *is_write) SATCHEL_MUST_USE;

/* What the field holds when `operation` is done to `present` (of an insert: to the default):
 * canonical. Any operation that satchel_operation_refusal lets pass can be done to any present
 * value: one that is no set, map or integer counts as none.
 * CORRUPT, NOMEM. */
enum satchel_status satchel_operation_apply(const struct satchel_column_rules *column,
                                            enum satchel_op_kind kind,
                                            const struct satchel_value *present,
                                            const struct satchel_value *operation,
                                            struct satchel_arena *arena,
                                            struct satchel_value *out) SATCHEL_MUST_USE;

/* The operation that takes `operation` back, as far as the rule can: a counter's difference with
 * the other sign, a set's additions removed and removals added, a map's keys as they were in
 * `old_value`; else `old_value` written again. */
enum satchel_status satchel_operation_invert(const struct satchel_column_rules *column,
                                             const struct satchel_value *old_value,
                                             const struct satchel_value *operation,
                                             struct satchel_arena *arena,
                                             struct satchel_value *out) SATCHEL_MUST_USE;

/* The states that an operation of an update of a @state goes from and to; NULL: none, or none that
 * has a code. CORRUPT, NOMEM. */
enum satchel_status satchel_state_step(const struct satchel_value *operation,
                                       struct satchel_arena *arena, struct satchel_value *old_value,
                                       struct satchel_value *new_value) SATCHEL_MUST_USE;

/* For settling a conflict over a column, with the value of its record (`lost`, NULL if it has
 * none): the operation that makes `wanted` of `present`, and of a map says every key again that was
 * lost, be it as it is already. `wanted` is no value that the rule refuses. CORRUPT, NOMEM. */
enum satchel_status satchel_operation_again(const struct satchel_column_rules *column,
                                            const struct satchel_value *present,
                                            const struct satchel_value *wanted,
                                            const struct satchel_value *lost,
                                            struct satchel_arena *arena,
                                            struct satchel_value *out) SATCHEL_MUST_USE;
/* And the value that the field has if the loser has its way: of a map the present one with the keys
 * that were lost, else `lost`. CORRUPT, NOMEM. */
enum satchel_status satchel_operation_prevail(const struct satchel_column_rules *column,
                                              const struct satchel_value *present,
                                              const struct satchel_value *lost,
                                              struct satchel_arena *arena,
                                              struct satchel_value *out) SATCHEL_MUST_USE;

/* Why bytes from elsewhere are no operation of the rule ("an operation on a @set is
 * [[added],[removed]]"), or NULL. Allocates nothing but in `arena`;
 * that there is no memory is satchel_operation_no_memory, which says nothing of the bytes. */
extern const char satchel_operation_no_memory[];
const char *satchel_operation_refusal(const struct satchel_column_rules *column,
                                      enum satchel_op_kind kind,
                                      const struct satchel_value *operation,
                                      struct satchel_arena *arena);

/* The value as every replica stores it once somebody wrote it: a set sorted, a map by key (NULL as
 * the empty one), a key without surrounding spaces and with full-width letters and digits made
 * narrow; other values untouched. CORRUPT if the
 * rule cannot take it; NOMEM. */
enum satchel_status satchel_value_canonical(const struct satchel_column_rules *column,
                                            const struct satchel_value *value,
                                            struct satchel_arena *arena,
                                            struct satchel_value *out) SATCHEL_MUST_USE;

/* What two values of a @key have in common if they name one thing: the canonical value in upper
 * case (ASCII), full-width signs made narrow too, inner runs of spaces as one; if it consists of
 * digits and the signs of telephone numbers (+ - ( ) . / and spaces) only, with at least five
 * digits, the digits alone. Of an integer the same of its digits. Empty for NULL, for an empty text
 * and for values that are no key. Appended to `out`, which is unchanged on failure. LIMIT, NOMEM.
 */
enum satchel_status satchel_key_match(const struct satchel_value *value,
                                      struct satchel_buffer *out) SATCHEL_MUST_USE;

#endif
