/* Owns the encoding and decoding of a change set's body: header and parts. Knows nothing of rows,
 * logs or what a write does. */
#include <satchel/changeset.h>

#include "codec.h"

#include <inttypes.h>

enum {
    FORMAT_VERSION = 1,
    HEADER_ITEMS = 5,
    HEADER_ITEMS_MAX = 64, /* of a version that is not ours */
    PART_ITEMS = 6,
    PART_BYTES_MIN = 8, /* six items in an array, the key with one value */
    EXCEPTION_ITEMS = 3,
    EXCEPTIONS_MAX = SATCHEL_COLUMNS_MAX + 1
};

/* ---- encoding ---- */

enum satchel_status satchel_changeset_write_header(struct satchel_buffer *out,
                                                   const struct satchel_changeset_header *header)
{
    struct satchel_pack pack;
    size_t size_before = out->size;
    if (header->part_count > SATCHEL_CHANGESET_PARTS_MAX ||
        header->role.size > SATCHEL_ROLE_BYTES_MAX)
        return SATCHEL_LIMIT;
    if (!satchel_codec_vector_is_valid(&header->seen))
        return SATCHEL_INVALID;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, HEADER_ITEMS);
    satchel_pack_unsigned(&pack, FORMAT_VERSION);
    satchel_pack_unsigned(&pack, header->schema);
    satchel_pack_vector(&pack, &header->seen);
    satchel_pack_text(&pack, header->role);
    satchel_pack_unsigned(&pack, header->part_count);
    return satchel_codec_finish(&pack, size_before);
}

static bool exceptions_are_valid(const struct satchel_part *part)
{
    if (part->exception_count > EXCEPTIONS_MAX)
        return false;
    for (uint32_t i = 0; i < part->exception_count; i++) {
        const struct satchel_exception *exception = &part->exceptions[i];
        if (exception->column != SATCHEL_COLUMN_ROW && exception->column >= SATCHEL_COLUMNS_MAX)
            return false;
        if ((unsigned)exception->view.kind > SATCHEL_VIEW_NONE ||
            !satchel_codec_vector_is_valid(&exception->view.vector))
            return false;
    }
    return true;
}

static bool part_is_valid(const struct satchel_part *part)
{
    return (unsigned)part->kind <= SATCHEL_OP_DELETE && part->table <= SATCHEL_TABLES_MAX &&
           part->key_count >= 1 && part->key_count <= SATCHEL_KEY_COLUMNS_MAX &&
           (part->kind != SATCHEL_OP_DELETE || part->field_count == 0) &&
           satchel_codec_fields_are_valid(part->fields, part->field_count) &&
           exceptions_are_valid(part);
}

enum satchel_status satchel_changeset_write_part(struct satchel_buffer *out,
                                                 const struct satchel_part *part)
{
    struct satchel_pack pack;
    size_t size_before = out->size;
    if (!part_is_valid(part))
        return SATCHEL_INVALID;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, PART_ITEMS);
    satchel_pack_unsigned(&pack, (uint64_t)part->kind);
    satchel_pack_unsigned(&pack, part->table);
    satchel_codec_write_values(&pack, part->key, part->key_count);
    satchel_codec_write_columns(&pack, part->fields, part->field_count);
    satchel_codec_write_field_values(&pack, part->fields, part->field_count);
    satchel_pack_array(&pack, part->exception_count);
    for (uint32_t i = 0; i < part->exception_count; i++) {
        satchel_pack_array(&pack, EXCEPTION_ITEMS);
        satchel_codec_write_column(&pack, part->exceptions[i].column);
        satchel_pack_unsigned(&pack, (uint64_t)part->exceptions[i].view.kind);
        satchel_pack_vector(&pack, &part->exceptions[i].view.vector);
    }
    if (pack.status == SATCHEL_OK && out->size - size_before > SATCHEL_CHANGESET_BYTES_MAX)
        pack.status = SATCHEL_LIMIT;
    return satchel_codec_finish(&pack, size_before);
}

/* ---- decoding ---- */

enum satchel_status satchel_changeset_read_header(struct satchel_cursor *cursor,
                                                  struct satchel_arena *arena,
                                                  struct satchel_changeset_header *out)
{
    memset(out, 0, sizeof *out);
    uint32_t item_count = satchel_cursor_array(cursor, HEADER_ITEMS_MAX);
    uint64_t version = satchel_cursor_unsigned(cursor, UINT64_MAX);
    if (cursor->failed || item_count == 0)
        return SATCHEL_CORRUPT;
    if (version != FORMAT_VERSION)
        return SATCHEL_VERSION;
    if (item_count != HEADER_ITEMS)
        return SATCHEL_CORRUPT;
    out->schema = (uint32_t)satchel_cursor_unsigned(cursor, UINT32_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    enum satchel_status status = satchel_vector_read(cursor, arena, &out->seen);
    if (status != SATCHEL_OK)
        return status;
    out->role = satchel_cursor_text(cursor, SATCHEL_ROLE_BYTES_MAX);
    out->part_count = (uint32_t)satchel_cursor_unsigned(cursor, UINT32_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    if (out->part_count > SATCHEL_CHANGESET_PARTS_MAX)
        return SATCHEL_LIMIT;
    return out->part_count <= (size_t)(cursor->end - cursor->position) / PART_BYTES_MIN
               ? SATCHEL_OK
               : SATCHEL_CORRUPT;
}

static enum satchel_status read_exceptions(struct satchel_cursor *cursor,
                                           struct satchel_arena *arena, struct satchel_part *out)
{
    void *memory;
    uint32_t count = satchel_cursor_array(cursor, EXCEPTIONS_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_codec_array(arena, count, sizeof(struct satchel_exception), &memory);
    struct satchel_exception *exceptions = memory;
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++) {
        if (satchel_cursor_array(cursor, EXCEPTION_ITEMS) != EXCEPTION_ITEMS)
            return SATCHEL_CORRUPT;
        exceptions[i].column = satchel_codec_read_column(cursor);
        exceptions[i].view.kind =
            (enum satchel_view_kind)satchel_cursor_unsigned(cursor, SATCHEL_VIEW_NONE);
        status = cursor->failed ? SATCHEL_CORRUPT
                                : satchel_vector_read(cursor, arena, &exceptions[i].view.vector);
    }
    out->exceptions = exceptions;
    out->exception_count = count;
    return status;
}

enum satchel_status satchel_changeset_read_part(struct satchel_cursor *cursor,
                                                struct satchel_arena *arena,
                                                struct satchel_part *out)
{
    const uint8_t *start = cursor->position;
    struct satchel_field *fields;
    memset(out, 0, sizeof *out);
    if (satchel_cursor_array(cursor, PART_ITEMS) != PART_ITEMS)
        return SATCHEL_CORRUPT;
    out->kind = (enum satchel_op_kind)satchel_cursor_unsigned(cursor, SATCHEL_OP_DELETE);
    out->table = (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_TABLES_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    enum satchel_status status = satchel_codec_read_key(cursor, arena, &out->key, &out->key_count);
    if (status == SATCHEL_OK)
        status = satchel_codec_read_columns(cursor, arena, &fields, &out->field_count);
    if (status != SATCHEL_OK)
        return status;
    out->fields = fields;
    status = satchel_codec_read_field_values(cursor, fields, out->field_count);
    if (status == SATCHEL_OK && out->kind == SATCHEL_OP_DELETE && out->field_count > 0)
        status = SATCHEL_CORRUPT;
    if (status == SATCHEL_OK)
        status = read_exceptions(cursor, arena, out);
    out->bytes = satchel_span_of(start, (size_t)(cursor->position - start));
    return status;
}

enum satchel_status satchel_changeset_cut(struct satchel_span body,
                                          const struct satchel_part *const *parts, uint32_t count,
                                          struct satchel_buffer *out)
{
    static const struct satchel_value nothing = {.type = SATCHEL_NULL};
    static const struct satchel_part withheld = {
        .kind = SATCHEL_OP_UPDATE, .key = &nothing, .key_count = 1};
    struct satchel_cursor cursor = satchel_cursor_of(body);
    struct satchel_span header = satchel_cursor_item(&cursor);
    enum satchel_status status = satchel_buffer_append(out, header.data, header.size);
    for (uint32_t i = 0; status == SATCHEL_OK && i < count; i++) {
        const struct satchel_part *part = parts[i] ? parts[i] : &withheld;
        status = part->bytes.size > 0
                     ? satchel_buffer_append(out, part->bytes.data, part->bytes.size)
                     : satchel_changeset_write_part(out, part);
    }
    return status;
}

/* The words for a body that was refused while item `part` (0: the header) was read. */
static enum satchel_status refuse(struct satchel_error *error, enum satchel_status status,
                                  const struct satchel_cursor *cursor, struct satchel_span body,
                                  uint32_t part)
{
    size_t offset = body.size - (size_t)(cursor->end - cursor->position);
    switch (status) {
    case SATCHEL_VERSION:
        return satchel_error_set(error, status,
                                 "change set: a format later than version %d; update this side",
                                 FORMAT_VERSION);
    case SATCHEL_LIMIT:
        return satchel_error_set(error, status,
                                 "change set: over the limit of %d parts, or of memory to decode "
                                 "it, at byte %zu",
                                 SATCHEL_CHANGESET_PARTS_MAX, offset);
    case SATCHEL_NOMEM:
        return satchel_error_set(error, status, "change set: out of memory at byte %zu", offset);
    default:
        if (part == 0)
            return satchel_error_set(error, status,
                                     "change set: the header is malformed at byte %zu", offset);
        return satchel_error_set(
            error, status, "change set: part %" PRIu32 " is malformed at byte %zu", part, offset);
    }
}

enum satchel_status satchel_changeset_decode(struct satchel_span body, struct satchel_arena *arena,
                                             struct satchel_changeset *out,
                                             struct satchel_error *error)
{
    struct satchel_cursor cursor = satchel_cursor_of(body);
    void *memory;
    memset(out, 0, sizeof *out);
    if (body.size > SATCHEL_CHANGESET_BYTES_MAX)
        return satchel_error_set(error, SATCHEL_LIMIT,
                                 "change set: %zu bytes, over the limit of %u", body.size,
                                 SATCHEL_CHANGESET_BYTES_MAX);
    enum satchel_status status = satchel_changeset_read_header(&cursor, arena, &out->header);
    if (status == SATCHEL_OK)
        status = satchel_codec_array(arena, out->header.part_count, sizeof *out->parts, &memory);
    if (status != SATCHEL_OK)
        return refuse(error, status, &cursor, body, 0);
    out->parts = memory;
    for (uint32_t i = 0; i < out->header.part_count; i++) {
        status = satchel_changeset_read_part(&cursor, arena, &out->parts[i]);
        if (status != SATCHEL_OK)
            return refuse(error, status, &cursor, body, i + 1);
    }
    if (!satchel_cursor_at_end(&cursor))
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "change set: %zu bytes too many behind the last part",
                                 (size_t)(cursor.end - cursor.position));
    return SATCHEL_OK;
}
