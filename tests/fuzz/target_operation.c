/* The operations of every rule on hostile values. Input: a byte of column (of fuzz_schema's first
 * table), then as MessagePack the value that is there, an operation, and a value that is wanted.
 *
 * What the rule does not refuse can be done, undone and done again, and ends in canonical values
 * that the rule can take. */
#include "fuzz.h"

#include <satchel/operation.h>
#include <satchel/schema.h>

static void require_fits(const struct satchel_column_rules *column,
                         const struct satchel_value *value, struct satchel_arena *arena)
{
    struct satchel_value canonical;
    if (satchel_value_refusal(column, value))
        return;
    FUZZ_REQUIRE(satchel_value_canonical(column, value, arena, &canonical) == SATCHEL_OK);
    struct satchel_value again;
    FUZZ_REQUIRE(satchel_value_canonical(column, &canonical, arena, &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_value_equal(&canonical, &again));
}

/* Done to whatever is there; canonical, if the rule has such a form. */
static struct satchel_value apply(const struct satchel_column_rules *column,
                                  enum satchel_op_kind kind, const struct satchel_value *present,
                                  const struct satchel_value *operation,
                                  struct satchel_arena *arena)
{
    struct satchel_value result = satchel_value_null(), canonical;
    FUZZ_REQUIRE(satchel_operation_apply(column, kind, present, operation, arena, &result) ==
                 SATCHEL_OK);
    if (column->rule == SATCHEL_RULE_SET || column->rule == SATCHEL_RULE_MAP) {
        FUZZ_REQUIRE(!satchel_value_refusal(column, &result));
        FUZZ_REQUIRE(satchel_value_canonical(column, &result, arena, &canonical) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_value_equal(&canonical, &result));
    }
    return result;
}

static void do_operation(const struct satchel_column_rules *column, enum satchel_op_kind kind,
                         const struct satchel_value *present, const struct satchel_value *operation,
                         struct satchel_arena *arena)
{
    struct satchel_value old_state, new_state, inverse;
    if (satchel_operation_refusal(column, kind, operation, arena))
        return;
    struct satchel_value result = apply(column, kind, present, operation, arena);
    if (kind != SATCHEL_OP_UPDATE)
        return;
    if (column->rule == SATCHEL_RULE_STATE) {
        char text[SATCHEL_REFUSAL_BYTES];
        FUZZ_REQUIRE(satchel_state_step(operation, arena, &old_state, &new_state) == SATCHEL_OK);
        const char *refusal = satchel_state_refusal(&fuzz_machine, &old_state, &new_state, text);
        FUZZ_REQUIRE(!refusal || strlen(refusal) < SATCHEL_REFUSAL_BYTES);
    }
    if (!satchel_value_refusal(column, present)) {
        FUZZ_REQUIRE(satchel_operation_invert(column, present, operation, arena, &inverse) ==
                     SATCHEL_OK);
        FUZZ_REQUIRE(!satchel_operation_refusal(column, kind, &inverse, arena));
        apply(column, kind, &result, &inverse, arena);
    }
    fuzz_accepted_count++;
}

/* From one value to another: the operation made is one, and arrives. */
static void make_operation(const struct satchel_column_rules *column, enum satchel_op_kind kind,
                           const struct satchel_value *present, const struct satchel_value *wanted,
                           struct satchel_arena *arena)
{
    struct satchel_value operation, canonical, again;
    bool is_write;
    enum satchel_status status =
        satchel_operation_make(column, kind, present, wanted, arena, &operation, &is_write);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_REFUSED);
    FUZZ_REQUIRE((status == SATCHEL_REFUSED) == (satchel_value_refusal(column, wanted) != NULL));
    if (status != SATCHEL_OK)
        return;
    FUZZ_REQUIRE(!satchel_operation_refusal(column, kind, &operation, arena));
    struct satchel_value result = apply(column, kind, present, &operation, arena);
    FUZZ_REQUIRE(satchel_value_canonical(column, wanted, arena, &canonical) == SATCHEL_OK);
    if (is_write && kind == SATCHEL_OP_UPDATE && column->rule != SATCHEL_RULE_COUNTER)
        FUZZ_REQUIRE(satchel_value_equal(&result, &canonical));
    if (kind == SATCHEL_OP_UPDATE && !satchel_value_refusal(column, present)) {
        const struct satchel_value null = satchel_value_null();
        FUZZ_REQUIRE(satchel_operation_again(column, present, wanted, &null, arena, &again) ==
                     SATCHEL_OK);
        FUZZ_REQUIRE(!satchel_operation_refusal(column, kind, &again, arena));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct satchel_table_rules *rules = &fuzz_schema()->tables[0].rules;
    struct fuzz_input input = fuzz_input_of(data, size);
    struct satchel_arena arena;
    struct satchel_buffer match;
    uint8_t head = fuzz_byte(&input);
    const struct satchel_column_rules *column = &rules->columns[head % rules->column_count];
    enum satchel_op_kind kind = head & 0x80 ? SATCHEL_OP_INSERT : SATCHEL_OP_UPDATE;
    struct satchel_span rest = fuzz_bytes(&input, size);
    struct satchel_cursor cursor = satchel_cursor_of(rest);
    struct satchel_value present = satchel_cursor_value(&cursor);
    struct satchel_value operation = satchel_cursor_value(&cursor);
    struct satchel_value wanted = satchel_cursor_value(&cursor);
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&match, 16 * size + 64, NULL);
    require_fits(column, &present, &arena);
    require_fits(column, &wanted, &arena);
    do_operation(column, kind, &present, &operation, &arena);
    make_operation(column, kind, &present, &wanted, &arena);
    FUZZ_REQUIRE(satchel_key_match(&wanted, &match) == SATCHEL_OK);
    satchel_buffer_deinit(&match);
    satchel_arena_deinit(&arena);
    return 0;
}
