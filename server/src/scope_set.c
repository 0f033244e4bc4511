/* Owns what a set of grants looks like: canonical values, sorted, as MessagePack. Knows no rows. */
#include "scope_internal.h"

#include <stdlib.h>

#define VALUES_MAX UINT32_MAX

enum satchel_status scope_value_pack(struct satchel_buffer *out, const struct satchel_value *value)
{
    struct satchel_value canonical = *value;
    struct satchel_pack pack;
    if (value->type == SATCHEL_REAL && value->real >= -9223372036854775808.0 &&
        value->real < 9223372036854775808.0 && (double)(int64_t)value->real == value->real)
        canonical = satchel_value_integer((int64_t)value->real);
    satchel_pack_init(&pack, out);
    satchel_pack_value(&pack, &canonical);
    return pack.status;
}

struct satchel_value scope_value_of(struct satchel_span packed)
{
    struct satchel_cursor cursor = satchel_cursor_of(packed);
    return satchel_cursor_value(&cursor);
}

enum satchel_status scope_values_add(struct scope_values *values, struct satchel_span packed)
{
    if (values->count == values->capacity) {
        size_t capacity = values->capacity ? values->capacity * 2 : 8;
        struct satchel_span *grown =
            SATCHEL_ARENA_ARRAY(values->arena, struct satchel_span, capacity);
        if (!grown)
            return SATCHEL_NOMEM;
        if (values->count > 0)
            memcpy(grown, values->items, values->count * sizeof *grown);
        values->items = grown;
        values->capacity = capacity;
    }
    values->items[values->count++] = packed;
    return SATCHEL_OK;
}

static int compare(const void *a, const void *b)
{
    return satchel_span_compare(*(const struct satchel_span *)a, *(const struct satchel_span *)b);
}

void scope_values_sort(struct scope_values *values)
{
    size_t kept = 0;
    if (values->count > 1)
        qsort(values->items, values->count, sizeof *values->items, compare);
    for (size_t i = 0; i < values->count; i++)
        if (kept == 0 || !satchel_span_equal(values->items[kept - 1], values->items[i]))
            values->items[kept++] = values->items[i];
    values->count = kept;
}

enum satchel_status scope_set_pack(struct satchel_buffer *out, const struct scope_values *values)
{
    struct satchel_pack pack;
    if (values->count > VALUES_MAX)
        return SATCHEL_LIMIT;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, (uint32_t)values->count);
    for (size_t i = 0; i < values->count; i++)
        satchel_pack_raw(&pack, values->items[i]);
    return pack.status;
}

bool scope_set_is_everyone(struct satchel_span set)
{
    struct satchel_cursor cursor = satchel_cursor_of(set);
    return satchel_cursor_take_nil(&cursor);
}

struct scope_set_reader scope_set_read(struct satchel_span set)
{
    struct scope_set_reader reader = {.cursor = satchel_cursor_of(set)};
    reader.left = satchel_cursor_array(&reader.cursor, VALUES_MAX);
    return reader;
}

bool scope_set_next(struct scope_set_reader *reader, struct satchel_span *packed)
{
    if (reader->left == 0 || reader->cursor.failed)
        return false;
    reader->left--;
    *packed = satchel_cursor_item(&reader->cursor);
    return !reader->cursor.failed;
}
