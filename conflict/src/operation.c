/* Owns the road from values to operations and back: which rule is asked what. What the rules answer
 * is operation_*.c. */
#include "operation_rule.h"

static const struct operation_rule operation_plain = {0};

static const struct operation_rule *rule_of(const struct satchel_column_rules *column)
{
    switch (column->rule) {
    case SATCHEL_RULE_COUNTER: return &operation_counter;
    case SATCHEL_RULE_SET: return &operation_set;
    case SATCHEL_RULE_MAP: return &operation_map;
    case SATCHEL_RULE_STATE: return &operation_state;
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK: return &operation_key;
    default: return &operation_plain;
    }
}

const char *satchel_value_refusal(const struct satchel_column_rules *column,
                                  const struct satchel_value *value)
{
    const struct operation_rule *rule = rule_of(column);
    return rule->value_refusal ? rule->value_refusal(value) : NULL;
}

static enum satchel_status canonical(const struct satchel_column_rules *column,
                                     const struct satchel_value *value, struct satchel_arena *arena,
                                     struct satchel_value *out)
{
    const struct operation_rule *rule = rule_of(column);
    if (rule->canonical)
        return rule->canonical(column, value, arena, out);
    *out = *value;
    return SATCHEL_OK;
}

enum satchel_status satchel_value_canonical(const struct satchel_column_rules *column,
                                            const struct satchel_value *value,
                                            struct satchel_arena *arena, struct satchel_value *out)
{
    if (satchel_value_refusal(column, value))
        return SATCHEL_CORRUPT;
    return canonical(column, value, arena, out);
}

/* ---- making ---- */

static enum satchel_status make_update(const struct satchel_column_rules *column,
                                       const struct satchel_value *old_value,
                                       const struct satchel_value *new_value,
                                       struct satchel_arena *arena, struct satchel_value *operation,
                                       bool *is_write)
{
    const struct operation_rule *rule = rule_of(column);
    if (rule->make)
        return rule->make(column, old_value, new_value, arena, operation, is_write);
    enum satchel_status status = canonical(column, new_value, arena, operation);
    *is_write = status == SATCHEL_OK && !satchel_value_equal(old_value, new_value) &&
                !satchel_value_equal(old_value, operation);
    return status;
}

static enum satchel_status make_insert(const struct satchel_column_rules *column,
                                       const struct satchel_value *new_value,
                                       struct satchel_arena *arena, struct satchel_value *operation,
                                       bool *is_write)
{
    enum satchel_status status =
        make_update(column, &column->default_value, new_value, arena, operation, is_write);
    if (status == SATCHEL_OK && !rule_of(column)->insert_is_operation)
        status = canonical(column, new_value, arena, operation);
    *is_write = *is_write || column->default_varies;
    return status;
}

enum satchel_status satchel_operation_make(const struct satchel_column_rules *column,
                                           enum satchel_op_kind kind,
                                           const struct satchel_value *old_value,
                                           const struct satchel_value *new_value,
                                           struct satchel_arena *arena,
                                           struct satchel_value *operation, bool *is_write)
{
    *is_write = false;
    if (satchel_value_refusal(column, new_value))
        return SATCHEL_REFUSED;
    if (kind == SATCHEL_OP_INSERT)
        return make_insert(column, new_value, arena, operation, is_write);
    return make_update(column, old_value, new_value, arena, operation, is_write);
}

/* ---- from elsewhere ---- */

/* CORRUPT: no value of the rule in canonical form. */
static enum satchel_status check_value(const struct satchel_column_rules *column,
                                       const struct satchel_value *value,
                                       struct satchel_arena *arena)
{
    struct satchel_value same;
    if (satchel_value_refusal(column, value))
        return SATCHEL_CORRUPT;
    enum satchel_status status = canonical(column, value, arena, &same);
    return status == SATCHEL_OK && !satchel_value_equal(&same, value) ? SATCHEL_CORRUPT : status;
}

const char satchel_operation_no_memory[] = "an operation does not fit into memory";

const char *satchel_operation_refusal(const struct satchel_column_rules *column,
                                      enum satchel_op_kind kind,
                                      const struct satchel_value *operation,
                                      struct satchel_arena *arena)
{
    const struct operation_rule *rule = rule_of(column);
    bool is_shaped = rule->check && (kind == SATCHEL_OP_UPDATE || rule->insert_is_operation);
    enum satchel_status status =
        is_shaped ? rule->check(column, operation, arena) : check_value(column, operation, arena);
    if (status == SATCHEL_OK)
        return NULL;
    if (status == SATCHEL_NOMEM)
        return satchel_operation_no_memory;
    const char *refusal = is_shaped ? rule->shape : satchel_value_refusal(column, operation);
    return refusal ? refusal : "a value is not in canonical form";
}

enum satchel_status satchel_operation_apply(const struct satchel_column_rules *column,
                                            enum satchel_op_kind kind,
                                            const struct satchel_value *present,
                                            const struct satchel_value *operation,
                                            struct satchel_arena *arena, struct satchel_value *out)
{
    const struct operation_rule *rule = rule_of(column);
    if (rule->apply && (kind == SATCHEL_OP_UPDATE || rule->insert_is_operation))
        return rule->apply(column, present, operation, arena, out);
    return satchel_value_canonical(column, operation, arena, out);
}

enum satchel_status satchel_operation_invert(const struct satchel_column_rules *column,
                                             const struct satchel_value *old_value,
                                             const struct satchel_value *operation,
                                             struct satchel_arena *arena, struct satchel_value *out)
{
    const struct operation_rule *rule = rule_of(column);
    return rule->invert ? rule->invert(column, old_value, operation, arena, out)
                        : satchel_value_canonical(column, old_value, arena, out);
}

/* ---- settling a conflict ---- */

enum satchel_status satchel_operation_prevail(const struct satchel_column_rules *column,
                                              const struct satchel_value *present,
                                              const struct satchel_value *lost,
                                              struct satchel_arena *arena,
                                              struct satchel_value *out)
{
    if (column->rule == SATCHEL_RULE_MAP && lost->type != SATCHEL_NULL)
        return satchel_operation_apply(column, SATCHEL_OP_UPDATE, present, lost, arena, out);
    *out = *lost;
    return SATCHEL_OK;
}

enum satchel_status satchel_operation_again(const struct satchel_column_rules *column,
                                            const struct satchel_value *present,
                                            const struct satchel_value *wanted,
                                            const struct satchel_value *lost,
                                            struct satchel_arena *arena, struct satchel_value *out)
{
    const struct operation_rule *rule = rule_of(column);
    bool is_write;
    if (rule->settle && lost->type != SATCHEL_NULL)
        return rule->settle(column, present, wanted, lost, arena, out);
    return satchel_operation_make(column, SATCHEL_OP_UPDATE, present, wanted, arena, out,
                                  &is_write);
}
