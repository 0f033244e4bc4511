/* What a rule does to a value, one file each for the rules that carry more than the new value.
 * operation.c asks; nothing else does. */
#ifndef SATCHEL_CONFLICT_OPERATION_RULE_H
#define SATCHEL_CONFLICT_OPERATION_RULE_H

#include <satchel/operation.h>

/* Functions that get a new value, a default or an operation get one that was not refused; old and
 * present values may be anything. NULL: as a rule that carries the new value. */
struct operation_rule {
    const char *(*value_refusal)(const struct satchel_value *value);
    enum satchel_status (*canonical)(const struct satchel_column_rules *column,
                                     const struct satchel_value *value, struct satchel_arena *arena,
                                     struct satchel_value *out);
    /* Of an update. */
    enum satchel_status (*make)(const struct satchel_column_rules *column,
                                const struct satchel_value *old_value,
                                const struct satchel_value *new_value, struct satchel_arena *arena,
                                struct satchel_value *operation, bool *is_write);
    enum satchel_status (*apply)(const struct satchel_column_rules *column,
                                 const struct satchel_value *present,
                                 const struct satchel_value *operation, struct satchel_arena *arena,
                                 struct satchel_value *out);
    enum satchel_status (*invert)(const struct satchel_column_rules *column,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *operation,
                                  struct satchel_arena *arena, struct satchel_value *out);
    /* As satchel_operation_again of a write that lost. NULL: as make. */
    enum satchel_status (*settle)(const struct satchel_column_rules *column,
                                  const struct satchel_value *present,
                                  const struct satchel_value *wanted,
                                  const struct satchel_value *lost, struct satchel_arena *arena,
                                  struct satchel_value *out);
    /* What an operation of an update is, and whether `operation` is one. */
    const char *shape;
    enum satchel_status (*check)(const struct satchel_column_rules *column,
                                 const struct satchel_value *operation,
                                 struct satchel_arena *arena);
    bool insert_is_operation; /* an insert carries what an update of the default would */
};

extern const struct operation_rule operation_counter;
extern const struct operation_rule operation_set;
extern const struct operation_rule operation_map;
extern const struct operation_rule operation_state;
extern const struct operation_rule operation_key;

#endif
