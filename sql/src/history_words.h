/* What a write did to a field, as people read it. Internal to history. */
#ifndef SATCHEL_HISTORY_WORDS_H
#define SATCHEL_HISTORY_WORDS_H

#include <satchel/operation.h>

/* The operation of a part of that kind: of a counter "+3", of a set "+vip -cold", of a map the keys
 * written, null where one was removed, of a state the new one; else the value. What is no operation
 * of the rule stays as it is. In `arena`, or borrowed. NOMEM. */
enum satchel_status satchel_history_words(const struct satchel_column_rules *column,
                                          enum satchel_op_kind kind,
                                          const struct satchel_value *operation,
                                          struct satchel_arena *arena,
                                          struct satchel_value *out) SATCHEL_MUST_USE;

#endif
