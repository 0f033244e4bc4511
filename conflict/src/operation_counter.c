/* Owns what a write does to a @counter: the difference, which wraps around past 64 bits as the sum
 * does, so that nothing is lost. */
#include "operation_rule.h"

static int64_t integer_of(const struct satchel_value *value)
{
    return value->type == SATCHEL_INTEGER ? value->integer : 0;
}

/* a + b or a - b, modulo 2^64. */
static struct satchel_value wrapped(uint64_t sum)
{
    return satchel_value_integer(sum <= INT64_MAX ? (int64_t)sum
                                                  : -1 - (int64_t)(UINT64_MAX - sum));
}

static const char *value_refusal(const struct satchel_value *value)
{
    return value->type == SATCHEL_INTEGER ? NULL : "a @counter takes integers only";
}

static enum satchel_status make(const struct satchel_column_rules *column,
                                const struct satchel_value *old_value,
                                const struct satchel_value *new_value, struct satchel_arena *arena,
                                struct satchel_value *operation, bool *is_write)
{
    (void)column;
    (void)arena;
    *operation = wrapped((uint64_t)new_value->integer - (uint64_t)integer_of(old_value));
    *is_write = operation->integer != 0;
    return SATCHEL_OK;
}

static enum satchel_status apply(const struct satchel_column_rules *column,
                                 const struct satchel_value *present,
                                 const struct satchel_value *operation, struct satchel_arena *arena,
                                 struct satchel_value *out)
{
    (void)column;
    (void)arena;
    if (operation->type != SATCHEL_INTEGER)
        return SATCHEL_CORRUPT;
    *out = wrapped((uint64_t)integer_of(present) + (uint64_t)operation->integer);
    return SATCHEL_OK;
}

static enum satchel_status invert(const struct satchel_column_rules *column,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *operation,
                                  struct satchel_arena *arena, struct satchel_value *out)
{
    const struct satchel_value zero = satchel_value_integer(0);
    bool is_write;
    (void)old_value;
    if (operation->type != SATCHEL_INTEGER)
        return SATCHEL_CORRUPT;
    return make(column, operation, &zero, arena, out, &is_write);
}

static enum satchel_status check(const struct satchel_column_rules *column,
                                 const struct satchel_value *operation, struct satchel_arena *arena)
{
    (void)column;
    (void)arena;
    return operation->type == SATCHEL_INTEGER ? SATCHEL_OK : SATCHEL_CORRUPT;
}

const struct operation_rule operation_counter = {.value_refusal = value_refusal,
                                                 .make = make,
                                                 .apply = apply,
                                                 .invert = invert,
                                                 .shape = "an operation on a @counter is the "
                                                          "difference, an integer",
                                                 .check = check,
                                                 .insert_is_operation = true};
