/* Owns the encoding of messages from their tables. Knows nothing of sessions or frames. */
#include "codec.h"
#include "message_layout.h"

static void write_fields(struct satchel_pack *pack, const void *base, const struct field *fields,
                         uint32_t field_count);

static void refuse(struct satchel_pack *pack, enum satchel_status status)
{
    if (pack->status == SATCHEL_OK)
        pack->status = status;
}

static void write_unsigned(struct satchel_pack *pack, uint64_t number, uint64_t max)
{
    if (number > max)
        refuse(pack, SATCHEL_INVALID);
    satchel_pack_unsigned(pack, number);
}

static void write_bytes(struct satchel_pack *pack, const struct satchel_span *bytes,
                        const struct field *field)
{
    if (field->type == FIELD_TOKEN ? bytes->size != field->max : bytes->size > field->max)
        refuse(pack, field->type == FIELD_TOKEN ? SATCHEL_INVALID : SATCHEL_LIMIT);
    if (field->type == FIELD_TEXT)
        satchel_pack_text(pack, *bytes);
    else
        satchel_pack_binary(pack, *bytes);
}

static void write_list(struct satchel_pack *pack, const uint8_t *items, uint32_t count,
                       const struct list *list)
{
    satchel_pack_array(pack, count);
    for (uint32_t i = 0; i < count; i++) {
        satchel_pack_array(pack, list->field_count);
        write_fields(pack, items + (size_t)i * list->item_bytes, list->fields, list->field_count);
    }
}

static void write_entries(struct satchel_pack *pack, const struct satchel_entry *entries,
                          uint32_t count)
{
    satchel_pack_array(pack, count);
    for (uint32_t i = 0; i < count && pack->status == SATCHEL_OK; i++)
        pack->status = satchel_entry_write(pack->buffer, &entries[i]);
}

static void write_arguments(struct satchel_pack *pack, const struct satchel_value *arguments,
                            uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (arguments[i].type != SATCHEL_NULL && arguments[i].type != SATCHEL_TEXT)
            refuse(pack, SATCHEL_INVALID);
    satchel_codec_write_values(pack, arguments, count);
}

static void write_table(struct satchel_pack *pack,
                        const struct satchel_message_admin_result *result)
{
    uint64_t count = (uint64_t)result->row_count * result->column_count;
    if (count > UINT32_MAX || (result->row_count > 0 && result->column_count == 0)) {
        refuse(pack, SATCHEL_LIMIT);
        return;
    }
    satchel_codec_write_values(pack, result->values, (uint32_t)count);
}

/* Fields that are lists: `at` is where the pointer is, `count` how many it points to. */
static void write_many(struct satchel_pack *pack, const void *base, const struct field *field,
                       const uint8_t *at)
{
    const void *items;
    uint32_t count;
    memcpy(&items, at, sizeof items);
    memcpy(&count, (const uint8_t *)base + field->count_offset, sizeof count);
    if (count > field->max) {
        refuse(pack, SATCHEL_LIMIT);
        return;
    }
    if (field->type == FIELD_LIST) {
        write_list(pack, items, count, field->list);
    } else if (field->type == FIELD_ENTRIES) {
        write_entries(pack, items, count);
    } else if (field->type == FIELD_ARGUMENTS) {
        write_arguments(pack, items, count);
    } else {
        const struct satchel_span *texts = items;
        satchel_pack_array(pack, count);
        for (uint32_t i = 0; i < count; i++)
            satchel_pack_text(pack, texts[i]);
    }
}

static void write_field(struct satchel_pack *pack, const void *base, const struct field *field)
{
    const uint8_t *at = (const uint8_t *)base + field->offset;
    const uint8_t *secret;
    switch (field->type) {
    case FIELD_PROTOCOL:
    case FIELD_UNSIGNED:
        write_unsigned(pack, *(const uint64_t *)(const void *)at, field->max);
        break;
    case FIELD_INTEGER: satchel_pack_integer(pack, *(const int64_t *)(const void *)at); break;
    case FIELD_TEXT:
    case FIELD_BINARY:
    case FIELD_TOKEN:
        write_bytes(pack, (const struct satchel_span *)(const void *)at, field);
        break;
    case FIELD_SECRET:
        memcpy(&secret, at, sizeof secret);
        if (secret)
            satchel_pack_binary(pack, satchel_span_of(secret, SATCHEL_SECRET_BYTES));
        else
            refuse(pack, SATCHEL_INVALID);
        break;
    case FIELD_ID: satchel_pack_id(pack, (const struct satchel_id *)(const void *)at); break;
    case FIELD_VECTOR:
        if (!satchel_codec_vector_is_valid((const struct satchel_vector *)(const void *)at))
            refuse(pack, SATCHEL_INVALID);
        satchel_pack_vector(pack, (const struct satchel_vector *)(const void *)at);
        break;
    case FIELD_TABLE: write_table(pack, base); break;
    case FIELD_LIST:
    case FIELD_ENTRIES:
    case FIELD_TEXTS:
    case FIELD_ARGUMENTS: write_many(pack, base, field, at); break;
    }
}

static void write_fields(struct satchel_pack *pack, const void *base, const struct field *fields,
                         uint32_t field_count)
{
    for (uint32_t i = 0; i < field_count && pack->status == SATCHEL_OK; i++)
        write_field(pack, base, &fields[i]);
}

enum satchel_status satchel_message_write(struct satchel_buffer *out,
                                          const struct satchel_message *message)
{
    struct satchel_pack pack;
    size_t size_before = out->size;
    const struct layout *layout = satchel_message_layout((uint64_t)message->kind);
    if (!layout || satchel_message_flaw(message))
        return SATCHEL_INVALID;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, 1 + layout->field_count);
    satchel_pack_unsigned(&pack, (uint64_t)message->kind);
    write_fields(&pack, &message->time, layout->fields, layout->field_count);
    return satchel_codec_finish(&pack, size_before);
}
