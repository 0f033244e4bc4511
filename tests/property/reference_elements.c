/* Owns sets and maps of the naive model: JSON of letters and digits only. */
#include "reference.h"

#include <string.h>

/* The letters between two places, each with the digit behind it if it has one. */
static void read(const uint8_t *text, size_t from, size_t to, struct reference_elements *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = from; i + 2 < to; i++) {
        if (text[i] != '"' || text[i + 2] != '"')
            continue;
        bool has_digit = i + 4 < to && text[i + 3] == ':';
        out->has[text[i + 1] - 'a'] = has_digit ? 1u + (unsigned)(text[i + 4] - '0') : 1;
        i += 2;
    }
}

void reference_read_value(const struct satchel_value *value, struct reference_elements *out)
{
    bool is_text = value->type == SATCHEL_TEXT;
    read(is_text ? value->bytes.data : NULL, 0, is_text ? value->bytes.size : 0, out);
}

void reference_read_change(enum satchel_op_kind kind, const struct satchel_value *operation,
                           struct reference_elements *added, struct reference_elements *removed)
{
    memset(removed, 0, sizeof *removed);
    reference_read_value(operation, added);
    if (kind == SATCHEL_OP_INSERT || operation->type != SATCHEL_TEXT)
        return;
    /* [ added , removed ]: the comma between the two stands at depth one */
    const uint8_t *text = operation->bytes.data;
    size_t size = operation->bytes.size, middle = 0;
    int depth = 0;
    for (size_t i = 0; i < size; i++) {
        depth += text[i] == '[' || text[i] == '{';
        depth -= text[i] == ']' || text[i] == '}';
        if (text[i] == ',' && depth == 1)
            middle = i;
    }
    read(text, 0, middle, added);
    read(text, middle, size, removed);
}

struct satchel_value reference_write_elements(const struct reference_elements *elements,
                                              bool is_map, char *text)
{
    size_t size = 0;
    text[size++] = is_map ? '{' : '[';
    for (unsigned i = 0; i < REFERENCE_LETTERS; i++) {
        if (!elements->has[i])
            continue;
        if (size > 1)
            text[size++] = ',';
        text[size++] = '"';
        text[size++] = (char)('a' + i);
        text[size++] = '"';
        if (is_map) {
            text[size++] = ':';
            text[size++] = (char)('0' + elements->has[i] - 1);
        }
    }
    text[size++] = is_map ? '}' : ']';
    return satchel_value_text(satchel_span_of(text, size));
}
