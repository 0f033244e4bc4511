/* Owns what a write does to a @state: a step from one state to another, which carries both so that
 * anybody can judge it. Whether the step is legal is machine.c. */
#include "operation_rule.h"

#include <satchel/json_reader.h>
#include <satchel/utf8.h>

static bool is_utf8(struct satchel_span text)
{
    size_t length = 1;
    for (size_t i = 0; i < text.size && length; i += length)
        length = satchel_utf8_length(text.data + i, text.size - i);
    return length > 0;
}

static const char *value_refusal(const struct satchel_value *value)
{
    bool is_code = value->type == SATCHEL_TEXT && is_utf8(value->bytes);
    return value->type == SATCHEL_NULL || is_code ? NULL : "a @state takes the code of a state";
}

static enum satchel_status quote(const struct satchel_value *state, struct satchel_arena *arena,
                                 struct satchel_span *out)
{
    *out = satchel_span_text("null");
    if (state->type == SATCHEL_NULL || value_refusal(state))
        return SATCHEL_OK;
    return satchel_json_quote(state->bytes, arena, out);
}

static enum satchel_status make(const struct satchel_column_rules *column,
                                const struct satchel_value *old_value,
                                const struct satchel_value *new_value, struct satchel_arena *arena,
                                struct satchel_value *operation, bool *is_write)
{
    struct satchel_span from, to;
    (void)column;
    enum satchel_status status = quote(old_value, arena, &from);
    if (status == SATCHEL_OK)
        status = quote(new_value, arena, &to);
    if (status != SATCHEL_OK)
        return status;
    size_t size = from.size + to.size + 3;
    uint8_t *text = satchel_arena_alloc(arena, size);
    if (!text)
        return SATCHEL_NOMEM;
    text[0] = '[';
    memcpy(text + 1, from.data, from.size);
    text[1 + from.size] = ',';
    memcpy(text + 2 + from.size, to.data, to.size);
    text[size - 1] = ']';
    *operation = satchel_value_text(satchel_span_of(text, size));
    *is_write = !satchel_value_equal(old_value, new_value);
    return SATCHEL_OK;
}

static enum satchel_status unquote(struct satchel_span text, struct satchel_arena *arena,
                                   struct satchel_value *out)
{
    struct satchel_span code;
    *out = satchel_value_null();
    if (satchel_span_equal(text, satchel_span_text("null")))
        return SATCHEL_OK;
    enum satchel_status status = satchel_json_unquote(text, arena, &code);
    if (status == SATCHEL_OK)
        *out = satchel_value_text(code);
    return status;
}

enum satchel_status satchel_state_step(const struct satchel_value *operation,
                                       struct satchel_arena *arena, struct satchel_value *old_value,
                                       struct satchel_value *new_value)
{
    struct satchel_json_item *items;
    size_t count;
    if (operation->type != SATCHEL_TEXT)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_json_items(operation->bytes, SATCHEL_JSON_ARRAY, arena, &items, &count);
    if (status == SATCHEL_OK && count != 2)
        status = SATCHEL_CORRUPT;
    if (status == SATCHEL_OK)
        status = unquote(items[0].value, arena, old_value);
    if (status == SATCHEL_OK)
        status = unquote(items[1].value, arena, new_value);
    return status;
}

static enum satchel_status apply(const struct satchel_column_rules *column,
                                 const struct satchel_value *present,
                                 const struct satchel_value *operation, struct satchel_arena *arena,
                                 struct satchel_value *out)
{
    struct satchel_value from;
    (void)column;
    (void)present;
    return satchel_state_step(operation, arena, &from, out);
}

static enum satchel_status invert(const struct satchel_column_rules *column,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *operation,
                                  struct satchel_arena *arena, struct satchel_value *out)
{
    struct satchel_value from, to;
    bool is_write;
    enum satchel_status status = satchel_state_step(operation, arena, &from, &to);
    return status == SATCHEL_OK ? make(column, &to, old_value, arena, out, &is_write) : status;
}

static enum satchel_status check(const struct satchel_column_rules *column,
                                 const struct satchel_value *operation, struct satchel_arena *arena)
{
    struct satchel_value from, to, again;
    bool is_write;
    enum satchel_status status = satchel_state_step(operation, arena, &from, &to);
    if (status == SATCHEL_OK)
        status = make(column, &from, &to, arena, &again, &is_write);
    return status == SATCHEL_OK && !satchel_value_equal(&again, operation) ? SATCHEL_CORRUPT
                                                                           : status;
}

const struct operation_rule operation_state = {
    .value_refusal = value_refusal,
    .make = make,
    .apply = apply,
    .invert = invert,
    .shape = "an operation on a @state is [\"old\",\"new\"] in canonical form",
    .check = check};
