/* Owns the encoding of an entry, and the identity of a conflict. What an entry's notes say is in
 * notes.c. */
#include <satchel/entry.h>
#include <satchel/message.h>

#include "codec.h"
#include "digest.h"

enum { ENTRY_ITEMS = 9, ENTRY_ITEMS_MAX = 64 };

static void digest_value(struct digest *digest, const struct satchel_value *value)
{
    uint64_t bits = 0;
    digest_number(digest, (uint64_t)value->type);
    switch (value->type) {
    case SATCHEL_NULL: break;
    case SATCHEL_INTEGER: digest_number(digest, (uint64_t)value->integer); break;
    case SATCHEL_REAL:
        memcpy(&bits, &value->real, sizeof bits);
        digest_number(digest, bits);
        break;
    case SATCHEL_TEXT:
    case SATCHEL_BLOB:
        digest_number(digest, value->bytes.size);
        digest_bytes(digest, value->bytes.data, value->bytes.size);
        break;
    }
}

struct satchel_id satchel_conflict_id(uint32_t table, const struct satchel_value *key,
                                      uint32_t key_count, uint32_t unit,
                                      const struct satchel_id *device, uint64_t number)
{
    struct satchel_id id;
    struct digest digest;
    digest_init(&digest, satchel_span_of(NULL, 0), sizeof id.bytes);
    digest_text(&digest, "satchel conflict");
    digest_number(&digest, table);
    digest_number(&digest, key_count);
    for (uint32_t i = 0; i < key_count; i++)
        digest_value(&digest, &key[i]);
    digest_number(&digest, unit);
    digest_bytes(&digest, device->bytes, sizeof device->bytes);
    digest_number(&digest, number);
    digest_final(&digest, id.bytes, sizeof id.bytes);
    return id;
}

enum satchel_status satchel_entry_write(struct satchel_buffer *out,
                                        const struct satchel_entry *entry)
{
    struct satchel_pack pack;
    size_t size_before = out->size;
    if (entry->cursor == 0 || entry->cursor > SATCHEL_SEQUENCE_MAX ||
        entry->seq > SATCHEL_SEQUENCE_MAX || entry->number > SATCHEL_SEQUENCE_MAX || !entry->secret)
        return SATCHEL_INVALID;
    if (entry->user.size > SATCHEL_NAME_BYTES_MAX || entry->body.size > SATCHEL_CHANGESET_BYTES_MAX)
        return SATCHEL_LIMIT;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, ENTRY_ITEMS);
    satchel_pack_unsigned(&pack, entry->cursor);
    satchel_pack_unsigned(&pack, entry->seq);
    satchel_pack_id(&pack, &entry->device);
    satchel_pack_unsigned(&pack, entry->number);
    satchel_pack_unsigned(&pack, entry->stamp);
    satchel_pack_text(&pack, entry->user);
    satchel_pack_binary(&pack, satchel_span_of(entry->secret, SATCHEL_SECRET_BYTES));
    satchel_pack_binary(&pack, entry->body);
    satchel_pack_binary(&pack, entry->notes);
    return satchel_codec_finish(&pack, size_before);
}

enum satchel_status satchel_entry_read(struct satchel_cursor *cursor, struct satchel_entry *out)
{
    memset(out, 0, sizeof *out);
    uint32_t item_count = satchel_cursor_array(cursor, ENTRY_ITEMS_MAX);
    if (cursor->failed || item_count < ENTRY_ITEMS)
        return SATCHEL_CORRUPT;
    out->cursor = satchel_cursor_unsigned(cursor, SATCHEL_SEQUENCE_MAX);
    out->seq = satchel_cursor_unsigned(cursor, SATCHEL_SEQUENCE_MAX);
    out->device = satchel_cursor_id(cursor);
    out->number = satchel_cursor_unsigned(cursor, SATCHEL_SEQUENCE_MAX);
    out->stamp = satchel_cursor_unsigned(cursor, UINT64_MAX);
    out->user = satchel_cursor_text(cursor, SATCHEL_NAME_BYTES_MAX);
    out->secret = satchel_codec_read_fixed(cursor, SATCHEL_SECRET_BYTES);
    out->body = satchel_cursor_binary(cursor, SATCHEL_CHANGESET_BYTES_MAX);
    out->notes = satchel_cursor_binary(cursor, SATCHEL_FRAME_BYTES_MAX);
    satchel_codec_skip(cursor, item_count - ENTRY_ITEMS);
    return cursor->failed || out->cursor == 0 ? SATCHEL_CORRUPT : SATCHEL_OK;
}
