/* Owns the decoding of messages from their tables. Bytes come from a peer: every count is compared
 * with what is left before it is believed. Knows nothing of sessions or frames. */
#include "codec.h"
#include "message_layout.h"

#include <inttypes.h>

struct reader {
    struct satchel_cursor cursor;
    struct satchel_arena *arena;
    enum satchel_status status; /* the first failure that is not the cursor's */
    const struct field *field;  /* the innermost field in hand */
};

static bool is_over(const struct reader *reader)
{
    return reader->cursor.failed || reader->status != SATCHEL_OK;
}

static void read_fields(struct reader *reader, void *base, const struct field *fields,
                        uint32_t field_count);

/* The head of a message or of a list's item; what a later version added is counted. */
static uint32_t open_array(struct reader *reader, uint32_t count_min)
{
    uint32_t count = satchel_cursor_array(&reader->cursor, MESSAGE_ARRAY_MAX);
    if (!reader->cursor.failed && count < count_min)
        reader->cursor.failed = true;
    return reader->cursor.failed ? 0 : count - count_min;
}

/* An array of at most `max` items of at least `bytes_min` each on the wire, with room in the arena.
 */
static void *open_list(struct reader *reader, uint64_t max, uint32_t bytes_min, size_t item_bytes,
                       uint32_t *count)
{
    void *items = NULL;
    *count = satchel_cursor_array(&reader->cursor, UINT32_MAX);
    if (is_over(reader))
        return NULL;
    if (*count > max)
        reader->status = SATCHEL_LIMIT;
    else if (*count > (size_t)(reader->cursor.end - reader->cursor.position) / bytes_min)
        reader->cursor.failed = true;
    else
        reader->status = satchel_codec_array(reader->arena, *count, item_bytes, &items);
    return items;
}

static void *read_list(struct reader *reader, const struct field *field, uint32_t *count)
{
    const struct list *list = field->list;
    uint8_t *items = open_list(reader, field->max, 1 + list->field_count, list->item_bytes, count);
    for (uint32_t i = 0; i < *count && !is_over(reader); i++) {
        uint32_t extra = open_array(reader, list->field_count);
        read_fields(reader, items + (size_t)i * list->item_bytes, list->fields, list->field_count);
        satchel_codec_skip(&reader->cursor, extra);
    }
    return items;
}

enum { ENTRY_BYTES_MIN = 66 };

static void *read_entries(struct reader *reader, const struct field *field, uint32_t *count)
{
    struct satchel_entry *entries =
        open_list(reader, field->max, ENTRY_BYTES_MIN, sizeof *entries, count);
    for (uint32_t i = 0; i < *count && !is_over(reader); i++)
        if (satchel_entry_read(&reader->cursor, &entries[i]) != SATCHEL_OK)
            reader->cursor.failed = true;
    return entries;
}

static void *read_texts(struct reader *reader, const struct field *field, uint32_t *count)
{
    struct satchel_span *texts = open_list(reader, field->max, 1, sizeof *texts, count);
    for (uint32_t i = 0; i < *count && !is_over(reader); i++)
        texts[i] = satchel_cursor_text(&reader->cursor, SATCHEL_FRAME_BYTES_MAX);
    return texts;
}

static void *read_values(struct reader *reader, const struct field *field, uint32_t *count)
{
    struct satchel_value *values = open_list(reader, field->max, 1, sizeof *values, count);
    for (uint32_t i = 0; i < *count && !is_over(reader); i++)
        values[i] = satchel_cursor_value(&reader->cursor);
    return values;
}

static void *read_arguments(struct reader *reader, const struct field *field, uint32_t *count)
{
    struct satchel_value *values = read_values(reader, field, count);
    for (uint32_t i = 0; i < *count && !is_over(reader); i++)
        if (values[i].type != SATCHEL_NULL && values[i].type != SATCHEL_TEXT)
            reader->cursor.failed = true;
    return values;
}

/* The values of an ADMIN_RESULT; how many rows they are follows from its columns. */
static void *read_table(struct reader *reader, const struct satchel_message_admin_result *result,
                        const struct field *field, uint32_t *row_count)
{
    uint32_t count;
    void *values = read_values(reader, field, &count);
    *row_count = result->column_count ? count / result->column_count : 0;
    if ((uint64_t)*row_count * result->column_count != count)
        reader->cursor.failed = true;
    return values;
}

static void read_many(struct reader *reader, void *base, const struct field *field)
{
    void *items;
    uint32_t count = 0;
    if (field->type == FIELD_LIST)
        items = read_list(reader, field, &count);
    else if (field->type == FIELD_ENTRIES)
        items = read_entries(reader, field, &count);
    else if (field->type == FIELD_ARGUMENTS)
        items = read_arguments(reader, field, &count);
    else if (field->type == FIELD_TABLE)
        items = read_table(reader, base, field, &count);
    else
        items = read_texts(reader, field, &count);
    /* All object pointers have one representation on every platform that SQLite and POSIX run on.
     */
    memcpy((uint8_t *)base + field->offset, &items, sizeof items);
    memcpy((uint8_t *)base + field->count_offset, &count, sizeof count);
}

static void read_bytes(struct reader *reader, struct satchel_span *out, const struct field *field)
{
    if (field->type == FIELD_TEXT)
        *out = satchel_cursor_text(&reader->cursor, field->max);
    else if (field->type == FIELD_BINARY)
        *out = satchel_cursor_binary(&reader->cursor, field->max);
    else
        *out = satchel_span_of(satchel_codec_read_fixed(&reader->cursor, field->max), field->max);
}

static void read_field(struct reader *reader, void *base, const struct field *field)
{
    void *at = (uint8_t *)base + field->offset;
    const uint8_t *secret;
    switch (field->type) {
    case FIELD_PROTOCOL:
        *(uint64_t *)at = satchel_cursor_unsigned(&reader->cursor, field->max);
        if (!reader->cursor.failed && *(uint64_t *)at != SATCHEL_PROTOCOL_VERSION)
            reader->status = SATCHEL_VERSION;
        break;
    case FIELD_UNSIGNED:
        *(uint64_t *)at = satchel_cursor_unsigned(&reader->cursor, field->max);
        break;
    case FIELD_INTEGER: *(int64_t *)at = satchel_cursor_integer(&reader->cursor); break;
    case FIELD_TEXT:
    case FIELD_BINARY:
    case FIELD_TOKEN: read_bytes(reader, at, field); break;
    case FIELD_SECRET:
        secret = satchel_codec_read_fixed(&reader->cursor, SATCHEL_SECRET_BYTES);
        memcpy(at, &secret, sizeof secret);
        break;
    case FIELD_ID: *(struct satchel_id *)at = satchel_cursor_id(&reader->cursor); break;
    case FIELD_VECTOR: {
        enum satchel_status status = satchel_vector_read(&reader->cursor, reader->arena, at);
        if (status == SATCHEL_CORRUPT)
            reader->cursor.failed = true;
        else
            reader->status = status;
        break;
    }
    case FIELD_LIST:
    case FIELD_ENTRIES:
    case FIELD_TEXTS:
    case FIELD_TABLE:
    case FIELD_ARGUMENTS: read_many(reader, base, field); break;
    }
}

static void read_fields(struct reader *reader, void *base, const struct field *fields,
                        uint32_t field_count)
{
    for (uint32_t i = 0; i < field_count && !is_over(reader); i++) {
        reader->field = &fields[i];
        read_field(reader, base, &fields[i]);
    }
}

/* The words for a message of a known kind that could not be read. */
static enum satchel_status refuse(const struct reader *reader, const struct layout *layout,
                                  const struct satchel_message *message, size_t size,
                                  struct satchel_error *error)
{
    size_t offset = size - (size_t)(reader->cursor.end - reader->cursor.position);
    const char *field = reader->field ? reader->field->name : "kind";
    if (reader->status == SATCHEL_VERSION)
        return satchel_error_set(error, SATCHEL_VERSION,
                                 "%s: the peer speaks protocol %" PRIu64 ", this side %d; update "
                                 "the older one",
                                 layout->name,
                                 message->kind == SATCHEL_MESSAGE_JOIN ? message->join.protocol
                                                                       : message->hello.protocol,
                                 SATCHEL_PROTOCOL_VERSION);
    if (reader->status == SATCHEL_NOMEM)
        return satchel_error_set(error, SATCHEL_NOMEM, "%s: out of memory at byte %zu (%s)",
                                 layout->name, offset, field);
    if (reader->status != SATCHEL_OK)
        return satchel_error_set(error, reader->status, "%s: over a limit at byte %zu (%s)",
                                 layout->name, offset, field);
    return satchel_error_set(error, SATCHEL_CORRUPT, "%s: malformed at byte %zu (%s)", layout->name,
                             offset, field);
}

enum satchel_status satchel_message_read(struct satchel_span bytes, struct satchel_arena *arena,
                                         struct satchel_message *out, struct satchel_error *error)
{
    struct reader reader = {satchel_cursor_of(bytes), arena, SATCHEL_OK, NULL};
    memset(out, 0, sizeof *out);
    uint32_t field_count = open_array(&reader, 1);
    uint64_t kind = satchel_cursor_unsigned(&reader.cursor, UINT64_MAX);
    if (is_over(&reader))
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "message: not an array that begins with its kind");
    const struct layout *layout = satchel_message_layout(kind);
    if (!layout)
        return satchel_error_set(error, SATCHEL_VERSION,
                                 "message: kind %" PRIu64 " is unknown here; update this side",
                                 kind);
    out->kind = layout->kind;
    read_fields(&reader, &out->time, layout->fields,
                field_count < layout->field_count ? field_count : layout->field_count);
    if (field_count < layout->field_count && !is_over(&reader))
        reader.cursor.failed = true;
    if (is_over(&reader))
        return refuse(&reader, layout, out, bytes.size, error);
    satchel_codec_skip(&reader.cursor, field_count - layout->field_count);
    if (!satchel_cursor_at_end(&reader.cursor))
        return satchel_error_set(
            error, SATCHEL_CORRUPT, "%s: what follows the fields is malformed, at byte %zu of %zu",
            layout->name, bytes.size - (size_t)(reader.cursor.end - reader.cursor.position),
            bytes.size);
    const char *flaw = satchel_message_flaw(out);
    if (flaw)
        return satchel_error_set(error, SATCHEL_CORRUPT, "%s: %s", layout->name, flaw);
    return SATCHEL_OK;
}
