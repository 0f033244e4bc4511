/* Owns what a @key holds and what it matches. A BLOB in place of the value sets the row apart from
 * the rows that have the same key. */
#include "operation_rule.h"

/* ---- characters ---- */

/* The next character: its length, and in `narrow` the ASCII character that it is, or is the wide
 * form of (U+FF01 to U+FF5E, U+3000, and U+00A0), else 0. */
static size_t take_character(const uint8_t *text, size_t size, uint8_t *narrow)
{
    *narrow = 0;
    if (text[0] < 0x80) {
        *narrow = text[0];
        return 1;
    }
    if (size >= 2 && text[0] == 0xc2 && text[1] == 0xa0) {
        *narrow = ' ';
        return 2;
    }
    if (size < 3)
        return 1;
    if (text[0] == 0xe3 && text[1] == 0x80 && text[2] == 0x80) {
        *narrow = ' ';
        return 3;
    }
    if (text[0] == 0xef && text[1] == 0xbc && text[2] >= 0x81 && text[2] <= 0xbf) {
        *narrow = (uint8_t)(0x21 + text[2] - 0x81);
        return 3;
    }
    if (text[0] == 0xef && text[1] == 0xbd && text[2] >= 0x80 && text[2] <= 0x9e) {
        *narrow = (uint8_t)(0x60 + text[2] - 0x80);
        return 3;
    }
    return 1;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static struct satchel_span trim(struct satchel_span text)
{
    size_t start = 0, end = 0, length;
    for (size_t i = 0; i < text.size; i += length) {
        uint8_t narrow;
        length = take_character(text.data + i, text.size - i, &narrow);
        if (is_space(narrow)) {
            start = end == 0 ? i + length : start;
            continue;
        }
        end = i + length;
    }
    return end > start ? satchel_span_of(text.data + start, end - start) : satchel_span_of("", 0);
}

/* ---- the value ---- */

static const char *value_refusal(const struct satchel_value *value)
{
    bool is_key = value->type == SATCHEL_TEXT || value->type == SATCHEL_INTEGER;
    return is_key || value->type == SATCHEL_NULL ? NULL : "a @key takes text or an integer";
}

/* Trimmed, with wide letters and digits made narrow. */
static enum satchel_status fold(struct satchel_span text, struct satchel_arena *arena,
                                struct satchel_span *out)
{
    struct satchel_span trimmed = trim(text);
    uint8_t *folded = satchel_arena_alloc(arena, trimmed.size + 1);
    if (!folded)
        return SATCHEL_NOMEM;
    size_t size = 0, length;
    for (size_t i = 0; i < trimmed.size; i += length) {
        uint8_t narrow;
        length = take_character(trimmed.data + i, trimmed.size - i, &narrow);
        if (is_letter(narrow) || is_digit(narrow)) {
            folded[size++] = narrow;
        } else {
            memcpy(folded + size, trimmed.data + i, length);
            size += length;
        }
    }
    *out = satchel_span_of(folded, size);
    return SATCHEL_OK;
}

static enum satchel_status canonical(const struct satchel_column_rules *column,
                                     const struct satchel_value *value, struct satchel_arena *arena,
                                     struct satchel_value *out)
{
    (void)column;
    *out = *value;
    return value->type == SATCHEL_TEXT ? fold(value->bytes, arena, &out->bytes) : SATCHEL_OK;
}

/* ---- operations ---- */

static enum satchel_status apply(const struct satchel_column_rules *column,
                                 const struct satchel_value *present,
                                 const struct satchel_value *operation, struct satchel_arena *arena,
                                 struct satchel_value *out)
{
    struct satchel_value text = *operation;
    (void)present;
    if (operation->type == SATCHEL_BLOB && column->rule == SATCHEL_RULE_KEY)
        text = satchel_value_text(operation->bytes);
    return satchel_value_canonical(column, &text, arena, out);
}

/* A value that no @key can have, a default of another type, is left for none. */
static enum satchel_status invert(const struct satchel_column_rules *column,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *operation,
                                  struct satchel_arena *arena, struct satchel_value *out)
{
    const struct satchel_value null = satchel_value_null();
    (void)operation;
    return canonical(column, value_refusal(old_value) ? &null : old_value, arena, out);
}

static enum satchel_status check(const struct satchel_column_rules *column,
                                 const struct satchel_value *operation, struct satchel_arena *arena)
{
    struct satchel_value text;
    enum satchel_status status = apply(column, operation, operation, arena, &text);
    if (status != SATCHEL_OK || text.type != SATCHEL_TEXT)
        return status;
    bool is_empty_blob = operation->type == SATCHEL_BLOB && operation->bytes.size == 0;
    return is_empty_blob || !satchel_span_equal(text.bytes, operation->bytes) ? SATCHEL_CORRUPT
                                                                              : SATCHEL_OK;
}

const struct operation_rule operation_key = {
    .value_refusal = value_refusal,
    .canonical = canonical,
    .apply = apply,
    .invert = invert,
    .shape = "a @key takes an integer, or text without spaces around it, letters and digits narrow",
    .check = check};

/* ---- matching ---- */

static bool is_telephone_sign(uint8_t c)
{
    return c == '+' || c == '-' || c == '(' || c == ')' || c == '.' || c == '/' || c == ' ';
}

/* Appends the text in upper case, wide signs narrow too, inner runs of spaces as one. */
static enum satchel_status append_upper(struct satchel_span text, struct satchel_buffer *out,
                                        bool *is_telephone)
{
    enum satchel_status status = satchel_buffer_reserve(out, text.size);
    size_t digits = 0, length;
    *is_telephone = true;
    for (size_t i = 0; i < text.size && status == SATCHEL_OK; i += length) {
        uint8_t c;
        length = take_character(text.data + i, text.size - i, &c);
        if (c == 0) {
            status = satchel_buffer_append(out, text.data + i, length);
            *is_telephone = false;
            continue;
        }
        c = is_space(c) ? ' ' : c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
        digits += is_digit(c);
        *is_telephone = *is_telephone && (is_digit(c) || is_telephone_sign(c));
        if (c != ' ' || out->data[out->size - 1] != ' ')
            status = satchel_buffer_append(out, &c, 1);
    }
    *is_telephone = *is_telephone && digits >= 5;
    return status;
}

static struct satchel_span write_integer(int64_t integer, char digits[24])
{
    uint64_t rest = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    size_t first = 24;
    do {
        digits[--first] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (integer < 0)
        digits[--first] = '-';
    return satchel_span_of(digits + first, 24 - first);
}

enum satchel_status satchel_key_match(const struct satchel_value *value, struct satchel_buffer *out)
{
    char digits[24];
    struct satchel_span text = satchel_span_of("", 0);
    size_t start = out->size;
    bool is_telephone;
    if (value->type == SATCHEL_TEXT)
        text = trim(value->bytes);
    else if (value->type == SATCHEL_INTEGER)
        text = write_integer(value->integer, digits);
    enum satchel_status status = append_upper(text, out, &is_telephone);
    if (status != SATCHEL_OK) {
        out->size = start;
        return status;
    }
    if (!is_telephone)
        return SATCHEL_OK;
    size_t kept = start;
    for (size_t i = start; i < out->size; i++)
        if (is_digit(out->data[i]))
            out->data[kept++] = out->data[i];
    out->size = kept;
    return SATCHEL_OK;
}
