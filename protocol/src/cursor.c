/* Owns the reading of MessagePack from untrusted bytes: one head at a time, nothing allocated, no
 * length believed before it is compared with what is left. Knows nothing of what the items mean.
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md */
#include <satchel/cursor.h>

#include "codec.h"

enum { NESTING_MAX = 8 };

enum kind {
    KIND_INVALID,
    KIND_NIL,
    KIND_BOOL,
    KIND_UNSIGNED, /* number holds it */
    KIND_SIGNED,   /* in the format; a head that was read is UNSIGNED or NEGATIVE */
    KIND_NEGATIVE, /* number holds the two's complement */
    KIND_FLOAT32,
    KIND_FLOAT64, /* number holds the bits */
    KIND_TEXT,    /* number bytes follow */
    KIND_BINARY,
    KIND_EXTENSION,
    KIND_ARRAY, /* number items follow */
    KIND_MAP    /* number pairs of items follow */
};

struct head {
    enum kind kind;
    uint64_t number;
};

/* The tags 0xc0 to 0xdf: the kind, and the width in bytes of the number behind the tag. */
static const struct tag {
    uint8_t kind;
    uint8_t width;
} tags[32] = {{KIND_NIL, 0},       {KIND_INVALID, 0},   {KIND_BOOL, 0},      {KIND_BOOL, 0},
              {KIND_BINARY, 1},    {KIND_BINARY, 2},    {KIND_BINARY, 4},    {KIND_EXTENSION, 1},
              {KIND_EXTENSION, 2}, {KIND_EXTENSION, 4}, {KIND_FLOAT32, 4},   {KIND_FLOAT64, 8},
              {KIND_UNSIGNED, 1},  {KIND_UNSIGNED, 2},  {KIND_UNSIGNED, 4},  {KIND_UNSIGNED, 8},
              {KIND_SIGNED, 1},    {KIND_SIGNED, 2},    {KIND_SIGNED, 4},    {KIND_SIGNED, 8},
              {KIND_EXTENSION, 0}, {KIND_EXTENSION, 0}, {KIND_EXTENSION, 0}, {KIND_EXTENSION, 0},
              {KIND_EXTENSION, 0}, {KIND_TEXT, 1},      {KIND_TEXT, 2},      {KIND_TEXT, 4},
              {KIND_ARRAY, 2},     {KIND_ARRAY, 4},     {KIND_MAP, 2},       {KIND_MAP, 4}};

struct satchel_cursor satchel_cursor_of(struct satchel_span bytes)
{
    /* An empty span may have no address, and NULL + 0 is no valid end. */
    static const uint8_t nothing;
    struct satchel_cursor cursor = {bytes.size ? bytes.data : &nothing, NULL, false};
    cursor.end = cursor.position + bytes.size;
    return cursor;
}

bool satchel_cursor_at_end(const struct satchel_cursor *cursor)
{
    return !cursor->failed && cursor->position == cursor->end;
}

static size_t left(const struct satchel_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->position);
}

static uint64_t big_endian(const uint8_t *bytes, size_t width)
{
    uint64_t number = 0;
    for (size_t i = 0; i < width; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* What a tag of one byte says by itself. */
static void decode_tag(uint8_t tag, struct head *head, size_t *width)
{
    *width = 0;
    if (tag <= 0x7f) {
        *head = (struct head){KIND_UNSIGNED, tag};
    } else if (tag <= 0x8f) {
        *head = (struct head){KIND_MAP, tag & 0x0f};
    } else if (tag <= 0x9f) {
        *head = (struct head){KIND_ARRAY, tag & 0x0f};
    } else if (tag <= 0xbf) {
        *head = (struct head){KIND_TEXT, tag & 0x1f};
    } else if (tag >= 0xe0) {
        *head = (struct head){KIND_NEGATIVE, UINT64_MAX - (uint64_t)(0xff - tag)};
    } else {
        *head = (struct head){(enum kind)tags[tag - 0xc0].kind, tag};
        *width = tags[tag - 0xc0].width;
        if (tag >= 0xd4 && tag <= 0xd8)
            head->number = UINT64_C(1) << (tag - 0xd4);
    }
}

/* Whether what the head announces can be there at all. */
static bool fits(const struct head *head, size_t left_bytes)
{
    switch (head->kind) {
    case KIND_INVALID: return false;
    case KIND_TEXT:
    case KIND_BINARY:
    case KIND_ARRAY: return head->number <= left_bytes;
    case KIND_EXTENSION: /* the type byte comes first */ return head->number < left_bytes;
    case KIND_MAP: return head->number <= left_bytes / 2;
    default: return true;
    }
}

/* The next head, and past it (not past what it announces). */
static bool read_head(struct satchel_cursor *cursor, struct head *head)
{
    size_t width;
    if (cursor->failed || left(cursor) == 0)
        return false;
    decode_tag(*cursor->position, head, &width);
    if (left(cursor) - 1 < width)
        return false;
    if (width)
        head->number = big_endian(cursor->position + 1, width);
    if (head->kind == KIND_SIGNED) {
        uint64_t sign = UINT64_C(1) << (width * 8 - 1);
        head->kind = head->number & sign ? KIND_NEGATIVE : KIND_UNSIGNED;
        head->number = (head->number ^ sign) - sign;
    }
    if (!fits(head, left(cursor) - 1 - width))
        return false;
    cursor->position += 1 + width;
    return true;
}

/* The next head if it is of that kind; else the cursor fails and stays where the item begins. */
static bool expect(struct satchel_cursor *cursor, enum kind kind, struct head *head)
{
    const uint8_t *start = cursor->position;
    if (read_head(cursor, head) && head->kind == kind)
        return true;
    cursor->position = start;
    cursor->failed = true;
    return false;
}

uint32_t satchel_cursor_array(struct satchel_cursor *cursor, uint32_t count_max)
{
    const uint8_t *start = cursor->position;
    struct head head;
    if (!expect(cursor, KIND_ARRAY, &head))
        return 0;
    if (head.number > count_max) {
        cursor->position = start;
        cursor->failed = true;
        return 0;
    }
    return (uint32_t)head.number;
}

uint64_t satchel_cursor_unsigned(struct satchel_cursor *cursor, uint64_t max)
{
    const uint8_t *start = cursor->position;
    struct head head;
    if (!expect(cursor, KIND_UNSIGNED, &head))
        return 0;
    if (head.number > max) {
        cursor->position = start;
        cursor->failed = true;
        return 0;
    }
    return head.number;
}

/* A two's complement as the number it stands for, without relying on the compiler's conversion. */
static int64_t signed_of(uint64_t number)
{
    int64_t integer;
    memcpy(&integer, &number, sizeof integer);
    return integer;
}

int64_t satchel_cursor_integer(struct satchel_cursor *cursor)
{
    const uint8_t *start = cursor->position;
    struct head head;
    if (read_head(cursor, &head) &&
        (head.kind == KIND_NEGATIVE ? head.number > INT64_MAX
                                    : head.kind == KIND_UNSIGNED && head.number <= INT64_MAX))
        return signed_of(head.number);
    cursor->position = start;
    cursor->failed = true;
    return 0;
}

bool satchel_cursor_bool(struct satchel_cursor *cursor)
{
    struct head head;
    return expect(cursor, KIND_BOOL, &head) && head.number == 0xc3;
}

static struct satchel_span bytes_of(struct satchel_cursor *cursor, enum kind kind, size_t bytes_max)
{
    const uint8_t *start = cursor->position;
    struct head head;
    if (!expect(cursor, kind, &head))
        return satchel_span_of(NULL, 0);
    if (head.number > bytes_max) {
        cursor->position = start;
        cursor->failed = true;
        return satchel_span_of(NULL, 0);
    }
    struct satchel_span bytes = satchel_span_of(cursor->position, (size_t)head.number);
    cursor->position += bytes.size;
    return bytes;
}

struct satchel_span satchel_cursor_text(struct satchel_cursor *cursor, size_t bytes_max)
{
    return bytes_of(cursor, KIND_TEXT, bytes_max);
}

struct satchel_span satchel_cursor_binary(struct satchel_cursor *cursor, size_t bytes_max)
{
    return bytes_of(cursor, KIND_BINARY, bytes_max);
}

const uint8_t *satchel_codec_read_fixed(struct satchel_cursor *cursor, size_t size)
{
    const uint8_t *start = cursor->position;
    struct satchel_span bytes = bytes_of(cursor, KIND_BINARY, size);
    if (!cursor->failed && bytes.size == size)
        return bytes.data;
    cursor->position = start;
    cursor->failed = true;
    return NULL;
}

struct satchel_id satchel_cursor_id(struct satchel_cursor *cursor)
{
    struct satchel_id id = {{0}};
    const uint8_t *bytes = satchel_codec_read_fixed(cursor, sizeof id.bytes);
    if (bytes)
        memcpy(id.bytes, bytes, sizeof id.bytes);
    return id;
}

bool satchel_cursor_take_nil(struct satchel_cursor *cursor)
{
    if (cursor->failed || left(cursor) == 0 || *cursor->position != 0xc0)
        return false;
    cursor->position++;
    return true;
}

struct satchel_value satchel_cursor_value(struct satchel_cursor *cursor)
{
    const uint8_t *start = cursor->position;
    struct satchel_value value = satchel_value_null();
    struct head head;
    if (!read_head(cursor, &head))
        head.kind = KIND_INVALID;
    switch (head.kind) {
    case KIND_NIL: return value;
    case KIND_UNSIGNED:
        if (head.number > INT64_MAX)
            break;
        return satchel_value_integer(signed_of(head.number));
    case KIND_NEGATIVE:
        if (head.number <= INT64_MAX)
            break;
        return satchel_value_integer(signed_of(head.number));
    case KIND_FLOAT64:
        value.type = SATCHEL_REAL;
        memcpy(&value.real, &head.number, sizeof value.real);
        return value;
    case KIND_TEXT:
    case KIND_BINARY:
        value.type = head.kind == KIND_TEXT ? SATCHEL_TEXT : SATCHEL_BLOB;
        value.bytes = satchel_span_of(cursor->position, (size_t)head.number);
        cursor->position += value.bytes.size;
        return value;
    default: break;
    }
    cursor->position = start;
    cursor->failed = true;
    return value;
}

struct satchel_span satchel_cursor_item(struct satchel_cursor *cursor)
{
    const uint8_t *start = cursor->position;
    uint64_t open[NESTING_MAX + 1] = {1}; /* per level, how many items are still to come */
    size_t depth = 0;
    for (;;) {
        struct head head;
        open[depth]--;
        if (!read_head(cursor, &head))
            break;
        if (head.kind == KIND_TEXT || head.kind == KIND_BINARY)
            cursor->position += head.number;
        else if (head.kind == KIND_EXTENSION)
            cursor->position += head.number + 1;
        else if (head.kind == KIND_ARRAY || head.kind == KIND_MAP) {
            if (depth == NESTING_MAX)
                break;
            open[++depth] = head.kind == KIND_MAP ? head.number * 2 : head.number;
        }
        while (depth && open[depth] == 0)
            depth--;
        if (open[depth] == 0)
            return satchel_span_of(start, (size_t)(cursor->position - start));
    }
    cursor->position = start;
    cursor->failed = true;
    return satchel_span_of(NULL, 0);
}
