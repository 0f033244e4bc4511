/* Owns the two names of a row: the byte string of internal tables, and the text of the interfaces.
 */
#include "row_name.h"

#include <satchel/cursor.h>
#include <satchel/pack.h>
#include <satchel/row_io.h>

enum satchel_status satchel_row_name(struct satchel_buffer *out, uint32_t table,
                                     const struct satchel_value *key, uint32_t key_count)
{
    struct satchel_pack pack;
    satchel_pack_init(&pack, out);
    satchel_pack_unsigned(&pack, table);
    satchel_pack_array(&pack, key_count);
    for (uint32_t i = 0; i < key_count; i++)
        satchel_pack_value(&pack, &key[i]);
    return pack.status;
}

enum satchel_status satchel_row_name_read(struct satchel_span name, struct satchel_arena *arena,
                                          uint32_t *table, const struct satchel_value **key,
                                          uint32_t *key_count)
{
    struct satchel_cursor cursor = satchel_cursor_of(name);
    *table = (uint32_t)satchel_cursor_unsigned(&cursor, UINT32_MAX);
    *key_count = satchel_cursor_array(&cursor, SATCHEL_KEY_COLUMNS_MAX);
    struct satchel_value *values = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, *key_count);
    if (!values)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < *key_count; i++)
        values[i] = satchel_cursor_value(&cursor);
    *key = values;
    bool is_whole = !cursor.failed && *key_count > 0 && satchel_cursor_at_end(&cursor);
    return is_whole ? SATCHEL_OK : SATCHEL_CORRUPT;
}

enum satchel_status satchel_row_name_key(struct satchel_span name,
                                         const struct satchel_table *table,
                                         struct satchel_arena *arena,
                                         const struct satchel_value **key)
{
    uint32_t number = 0, key_count = 0;
    enum satchel_status status = satchel_row_name_read(name, arena, &number, key, &key_count);
    bool is_fit = number == table->number && key_count == table->key_count;
    return status == SATCHEL_OK && !is_fit ? SATCHEL_CORRUPT : status;
}

enum satchel_status satchel_json_value(struct satchel_json *json, const struct satchel_value *value)
{
    switch (value->type) {
    case SATCHEL_NULL: satchel_json_null(json); break;
    case SATCHEL_INTEGER: satchel_json_integer(json, value->integer); break;
    case SATCHEL_REAL: satchel_json_real(json, value->real); break;
    case SATCHEL_TEXT: satchel_json_text(json, value->bytes); break;
    case SATCHEL_BLOB: satchel_json_hex(json, value->bytes); break;
    }
    return json->status;
}

/* A key of one column stands as it is: text bare, blobs in hex without quotes, NULL empty. */
static enum satchel_status write_bare(struct satchel_buffer *out, const struct satchel_value *value)
{
    struct satchel_json json;
    switch (value->type) {
    case SATCHEL_NULL: return SATCHEL_OK;
    case SATCHEL_TEXT: return satchel_buffer_append(out, value->bytes.data, value->bytes.size);
    case SATCHEL_BLOB: {
        if (value->bytes.size > SIZE_MAX / 2 - 1)
            return SATCHEL_LIMIT;
        enum satchel_status status = satchel_buffer_reserve(out, 2 * value->bytes.size + 1);
        if (status == SATCHEL_OK) {
            satchel_hex(value->bytes, (char *)out->data + out->size);
            out->size += 2 * value->bytes.size;
        }
        return status;
    }
    default: satchel_json_init(&json, out); return satchel_json_value(&json, value);
    }
}

enum satchel_status satchel_key_text(struct satchel_buffer *out, const struct satchel_value *key,
                                     uint32_t key_count)
{
    if (key_count == 1)
        return write_bare(out, &key[0]);
    struct satchel_json json;
    satchel_json_init(&json, out);
    satchel_json_open(&json, '[');
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < key_count && status == SATCHEL_OK; i++)
        status = satchel_json_value(&json, &key[i]);
    satchel_json_close(&json, ']');
    return json.status;
}
