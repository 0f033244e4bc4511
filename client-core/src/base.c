/* Owns the encoding of satchel_base rows and of the replica's `seen`:
 *
 *   base   = [ values or nil, [ view... ] ]
 *   view   = [ column or nil for the row, kind, vector ]
 *   vector = as in a change set's header
 *
 * Reads what this replica wrote itself, but from a file that anything may have happened to. */
#include "replica.h"

#include <satchel/cursor.h>
#include <satchel/pack.h>

enum satchel_status satchel_base_encode(struct satchel_buffer *out, const struct satchel_base *base,
                                        uint32_t column_count)
{
    size_t size_before = out->size;
    struct satchel_pack pack;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, 2);
    if (base->exists) {
        satchel_pack_array(&pack, column_count);
        for (uint32_t i = 0; i < column_count; i++)
            satchel_pack_value(&pack, &base->values[i]);
    } else {
        satchel_pack_nil(&pack);
    }
    satchel_pack_array(&pack, base->view_count);
    for (uint32_t i = 0; i < base->view_count; i++) {
        const struct satchel_exception *view = &base->views[i];
        satchel_pack_array(&pack, 3);
        if (view->column == SATCHEL_COLUMN_ROW)
            satchel_pack_nil(&pack);
        else
            satchel_pack_unsigned(&pack, view->column);
        satchel_pack_unsigned(&pack, view->view.kind);
        satchel_pack_vector(&pack, &view->view.vector);
    }
    if (pack.status != SATCHEL_OK)
        out->size = size_before;
    return pack.status;
}

static enum satchel_status read_view(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                     struct satchel_exception *out)
{
    if (satchel_cursor_array(cursor, 3) != 3)
        cursor->failed = true;
    out->column = satchel_cursor_take_nil(cursor)
                      ? SATCHEL_COLUMN_ROW
                      : (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_COLUMNS_MAX - 1);
    out->view.kind = (enum satchel_view_kind)satchel_cursor_unsigned(cursor, SATCHEL_VIEW_NONE);
    return cursor->failed ? SATCHEL_CORRUPT : satchel_vector_read(cursor, arena, &out->view.vector);
}

enum satchel_status satchel_base_decode(struct satchel_span bytes, uint32_t column_count,
                                        struct satchel_arena *arena, struct satchel_base *out)
{
    memset(out, 0, sizeof *out);
    struct satchel_cursor cursor = satchel_cursor_of(bytes);
    if (satchel_cursor_array(&cursor, 2) != 2)
        return SATCHEL_CORRUPT;
    out->exists = !satchel_cursor_take_nil(&cursor);
    if (out->exists) {
        out->value_count = satchel_cursor_array(&cursor, column_count);
        out->values = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, column_count);
        if (!out->values)
            return SATCHEL_NOMEM;
        for (uint32_t i = 0; i < out->value_count; i++)
            out->values[i] = satchel_cursor_value(&cursor);
    }
    out->view_count = satchel_cursor_array(&cursor, SATCHEL_COLUMNS_MAX + 1);
    if (cursor.failed)
        return SATCHEL_CORRUPT;
    out->views = SATCHEL_ARENA_ARRAY(arena, struct satchel_exception, out->view_count);
    if (!out->views)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < out->view_count && status == SATCHEL_OK; i++)
        status = read_view(&cursor, arena, &out->views[i]);
    if (status == SATCHEL_OK && !satchel_cursor_at_end(&cursor))
        status = SATCHEL_CORRUPT;
    return status;
}
