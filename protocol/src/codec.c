/* Owns the pieces that several encodings are made of: keys, fields, vectors. Knows nothing of
 * messages. */
#include "codec.h"

#include <satchel/changeset.h>

enum satchel_status satchel_codec_array(struct satchel_arena *arena, size_t count,
                                        size_t item_bytes, void **out)
{
    *out = NULL;
    if (count == 0)
        return SATCHEL_OK;
    size_t room = arena->used_bytes < arena->bytes_max ? arena->bytes_max - arena->used_bytes : 0;
    /* The arena rounds up to its alignment, hence the margin. */
    if (count > room / item_bytes || room - count * item_bytes < 16)
        return SATCHEL_LIMIT;
    *out = satchel_arena_alloc_zero(arena, count * item_bytes);
    return *out ? SATCHEL_OK : SATCHEL_NOMEM;
}

bool satchel_codec_vector_is_valid(const struct satchel_vector *vector)
{
    if (vector->count > SATCHEL_VECTOR_COUNT_MAX)
        return false;
    for (size_t i = 0; i < vector->count; i++) {
        if (vector->items[i].seq == 0 || vector->items[i].seq > SATCHEL_SEQUENCE_MAX)
            return false;
        if (i > 0 && satchel_id_compare(&vector->items[i - 1].node, &vector->items[i].node) >= 0)
            return false;
    }
    return true;
}

enum satchel_status satchel_vector_read(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                        struct satchel_vector *out)
{
    uint32_t item_count = satchel_cursor_array(cursor, 2 * SATCHEL_VECTOR_COUNT_MAX);
    uint32_t count = item_count / 2;
    void *memory;
    *out = (struct satchel_vector){NULL, 0};
    if (cursor->failed || item_count % 2 != 0)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_codec_array(arena, count, sizeof(struct satchel_position), &memory);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_position *items = memory;
    for (uint32_t i = 0; i < count && !cursor->failed; i++) {
        items[i].node = satchel_cursor_id(cursor);
        items[i].seq = satchel_cursor_unsigned(cursor, SATCHEL_SEQUENCE_MAX);
    }
    *out = (struct satchel_vector){items, count};
    return !cursor->failed && satchel_codec_vector_is_valid(out) ? SATCHEL_OK : SATCHEL_CORRUPT;
}

enum satchel_status satchel_vector_pack(struct satchel_buffer *out,
                                        const struct satchel_vector *vector)
{
    struct satchel_pack pack;
    if (vector->count == 0)
        return SATCHEL_OK;
    satchel_pack_init(&pack, out);
    satchel_pack_vector(&pack, vector);
    return pack.status;
}

enum satchel_status satchel_vector_unpack(struct satchel_span bytes, struct satchel_arena *arena,
                                          struct satchel_vector *out)
{
    memset(out, 0, sizeof *out);
    if (bytes.size == 0)
        return SATCHEL_OK;
    struct satchel_cursor cursor = satchel_cursor_of(bytes);
    enum satchel_status status = satchel_vector_read(&cursor, arena, out);
    return status == SATCHEL_OK && !satchel_cursor_at_end(&cursor) ? SATCHEL_CORRUPT : status;
}

void satchel_codec_write_values(struct satchel_pack *pack, const struct satchel_value *values,
                                uint32_t count)
{
    satchel_pack_array(pack, count);
    for (uint32_t i = 0; i < count; i++)
        satchel_pack_value(pack, &values[i]);
}

enum satchel_status satchel_codec_read_values(struct satchel_cursor *cursor,
                                              struct satchel_arena *arena, uint32_t count_max,
                                              struct satchel_value **values, uint32_t *count)
{
    void *memory = NULL;
    *values = NULL;
    *count = satchel_cursor_array(cursor, count_max);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_codec_array(arena, *count, sizeof(struct satchel_value), &memory);
    if (status != SATCHEL_OK)
        return status;
    *values = memory;
    for (uint32_t i = 0; i < *count && !cursor->failed; i++)
        (*values)[i] = satchel_cursor_value(cursor);
    return satchel_codec_status(cursor);
}

enum satchel_status satchel_codec_read_key(struct satchel_cursor *cursor,
                                           struct satchel_arena *arena,
                                           const struct satchel_value **key, uint32_t *key_count)
{
    struct satchel_value *values;
    enum satchel_status status =
        satchel_codec_read_values(cursor, arena, SATCHEL_KEY_COLUMNS_MAX, &values, key_count);
    *key = values;
    if (status == SATCHEL_OK && *key_count == 0)
        status = SATCHEL_CORRUPT;
    return status;
}

bool satchel_codec_fields_are_valid(const struct satchel_field *fields, uint32_t count)
{
    if (count > SATCHEL_COLUMNS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (fields[i].column >= SATCHEL_COLUMNS_MAX ||
            (i > 0 && fields[i - 1].column >= fields[i].column))
            return false;
    return true;
}

void satchel_codec_write_columns(struct satchel_pack *pack, const struct satchel_field *fields,
                                 uint32_t count)
{
    satchel_pack_array(pack, count);
    for (uint32_t i = 0; i < count; i++)
        satchel_pack_unsigned(pack, fields[i].column);
}

void satchel_codec_write_field_values(struct satchel_pack *pack, const struct satchel_field *fields,
                                      uint32_t count)
{
    satchel_pack_array(pack, count);
    for (uint32_t i = 0; i < count; i++)
        satchel_pack_value(pack, &fields[i].value);
}

enum satchel_status satchel_codec_read_columns(struct satchel_cursor *cursor,
                                               struct satchel_arena *arena,
                                               struct satchel_field **fields, uint32_t *count)
{
    void *memory;
    *fields = NULL;
    *count = satchel_cursor_array(cursor, SATCHEL_COLUMNS_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_codec_array(arena, *count, sizeof(struct satchel_field), &memory);
    if (status != SATCHEL_OK)
        return status;
    *fields = memory;
    for (uint32_t i = 0; i < *count && !cursor->failed; i++)
        (*fields)[i].column = (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_COLUMNS_MAX - 1);
    return !cursor->failed && satchel_codec_fields_are_valid(*fields, *count) ? SATCHEL_OK
                                                                              : SATCHEL_CORRUPT;
}

enum satchel_status satchel_codec_read_field_values(struct satchel_cursor *cursor,
                                                    struct satchel_field *fields, uint32_t count)
{
    if (satchel_cursor_array(cursor, count) != count)
        return SATCHEL_CORRUPT;
    for (uint32_t i = 0; i < count && !cursor->failed; i++)
        fields[i].value = satchel_cursor_value(cursor);
    return satchel_codec_status(cursor);
}

void satchel_codec_write_column(struct satchel_pack *pack, uint32_t column)
{
    if (column == SATCHEL_COLUMN_ROW)
        satchel_pack_nil(pack);
    else
        satchel_pack_unsigned(pack, column);
}

uint32_t satchel_codec_read_column(struct satchel_cursor *cursor)
{
    if (satchel_cursor_take_nil(cursor))
        return SATCHEL_COLUMN_ROW;
    return (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_COLUMNS_MAX - 1);
}

void satchel_codec_skip(struct satchel_cursor *cursor, uint32_t count)
{
    for (uint32_t i = 0; i < count && !cursor->failed; i++)
        (void)satchel_cursor_item(cursor);
}

enum satchel_status satchel_codec_finish(struct satchel_pack *pack, size_t size_before)
{
    if (pack->status != SATCHEL_OK)
        pack->buffer->size = size_before;
    return pack->status;
}
