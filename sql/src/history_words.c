/* Owns the words for operations (see history_words.h). Knows their form from operation.h; what they
 * do to a value it does not. */
#include "history_words.h"

#include <satchel/json_reader.h>

#include <inttypes.h>
#include <stdio.h>

enum { WORDS_BYTES_MAX = 64 << 20 };

static enum satchel_status keep(struct satchel_buffer *text, struct satchel_arena *arena,
                                struct satchel_value *out)
{
    struct satchel_span kept = satchel_arena_copy(arena, satchel_buffer_span(text));
    if (!kept.data)
        return SATCHEL_NOMEM;
    *out = satchel_value_text(kept);
    return SATCHEL_OK;
}

static enum satchel_status counter_words(const struct satchel_value *operation,
                                         struct satchel_arena *arena, struct satchel_value *out)
{
    char text[24];
    if (operation->type != SATCHEL_INTEGER)
        return SATCHEL_OK;
    int length = snprintf(text, sizeof text, "%+" PRId64, operation->integer);
    struct satchel_span kept = satchel_arena_copy(arena, satchel_span_of(text, (size_t)length));
    if (!kept.data)
        return SATCHEL_NOMEM;
    *out = satchel_value_text(kept);
    return SATCHEL_OK;
}

/* The two lists of an operation on a set or map. */
struct change {
    struct satchel_json_item *added, *removed;
    size_t added_count, removed_count;
};

static enum satchel_status read_change(const struct satchel_value *operation,
                                       enum satchel_json_type added_type,
                                       struct satchel_arena *arena, struct change *out)
{
    struct satchel_json_item *lists = NULL;
    size_t count = 0;
    if (operation->type != SATCHEL_TEXT)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_json_items(operation->bytes, SATCHEL_JSON_ARRAY, arena, &lists, &count);
    if (status == SATCHEL_OK && count != 2)
        status = SATCHEL_CORRUPT;
    if (status == SATCHEL_OK)
        status =
            satchel_json_items(lists[0].value, added_type, arena, &out->added, &out->added_count);
    if (status == SATCHEL_OK)
        status = satchel_json_items(lists[1].value, SATCHEL_JSON_ARRAY, arena, &out->removed,
                                    &out->removed_count);
    return status;
}

/* A text that cannot be mistaken for something else stands without its quotes. */
static bool is_plain_word(struct satchel_span quoted)
{
    if (quoted.size < 3 || quoted.data[0] != '"')
        return false;
    for (size_t i = 1; i + 1 < quoted.size; i++)
        if (quoted.data[i] <= ' ' || quoted.data[i] == '\\')
            return false;
    return true;
}

static enum satchel_status add_word(struct satchel_buffer *text, char sign,
                                    struct satchel_span element)
{
    if (is_plain_word(element))
        element = satchel_span_of(element.data + 1, element.size - 2);
    enum satchel_status status = text->size > 0 ? satchel_buffer_append(text, " ", 1) : SATCHEL_OK;
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(text, &sign, 1);
    return status == SATCHEL_OK ? satchel_buffer_append(text, element.data, element.size) : status;
}

static enum satchel_status write_set(const struct change *change, struct satchel_buffer *text)
{
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; i < change->added_count && status == SATCHEL_OK; i++)
        status = add_word(text, '+', change->added[i].value);
    for (size_t i = 0; i < change->removed_count && status == SATCHEL_OK; i++)
        status = add_word(text, '-', change->removed[i].value);
    return status;
}

static enum satchel_status add_member(struct satchel_buffer *text, struct satchel_span name,
                                      struct satchel_span value)
{
    enum satchel_status status = satchel_buffer_append(text, text->size > 0 ? "," : "{", 1);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(text, name.data, name.size);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(text, ":", 1);
    return status == SATCHEL_OK ? satchel_buffer_append(text, value.data, value.size) : status;
}

static enum satchel_status write_map(const struct change *change, struct satchel_buffer *text)
{
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; i < change->added_count && status == SATCHEL_OK; i++)
        status = add_member(text, change->added[i].name, change->added[i].value);
    for (size_t i = 0; i < change->removed_count && status == SATCHEL_OK; i++)
        status = add_member(text, change->removed[i].value, satchel_span_text("null"));
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(text, text->size > 0 ? "}" : "{}", text->size > 0 ? 1 : 2);
    return status;
}

static enum satchel_status change_words(const struct satchel_value *operation, bool is_map,
                                        struct satchel_arena *arena, struct satchel_value *out)
{
    struct change change = {0};
    struct satchel_buffer text;
    enum satchel_status status =
        read_change(operation, is_map ? SATCHEL_JSON_OBJECT : SATCHEL_JSON_ARRAY, arena, &change);
    if (status != SATCHEL_OK)
        return status;
    satchel_buffer_init(&text, WORDS_BYTES_MAX, NULL);
    status = is_map ? write_map(&change, &text) : write_set(&change, &text);
    if (status == SATCHEL_OK)
        status = keep(&text, arena, out);
    satchel_buffer_deinit(&text);
    return status;
}

enum satchel_status satchel_history_words(const struct satchel_column_rules *column,
                                          enum satchel_op_kind kind,
                                          const struct satchel_value *operation,
                                          struct satchel_arena *arena, struct satchel_value *out)
{
    struct satchel_value old_state;
    bool is_update = kind == SATCHEL_OP_UPDATE;
    enum satchel_status status = SATCHEL_OK;
    *out = *operation;
    switch (column->rule) {
    case SATCHEL_RULE_COUNTER: status = counter_words(operation, arena, out); break;
    case SATCHEL_RULE_SET:
    case SATCHEL_RULE_MAP:
        if (is_update)
            status = change_words(operation, column->rule == SATCHEL_RULE_MAP, arena, out);
        break;
    case SATCHEL_RULE_STATE:
        if (is_update)
            status = satchel_state_step(operation, arena, &old_state, out);
        break;
    case SATCHEL_RULE_KEY:
        if (operation->type == SATCHEL_BLOB)
            *out = satchel_value_text(operation->bytes);
        break;
    default: break;
    }
    if (status != SATCHEL_CORRUPT)
        return status;
    *out = *operation;
    return SATCHEL_OK;
}
