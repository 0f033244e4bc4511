/* Owns the encoding of an entry, and what identifies and proves things by a hash: conflicts,
 * copies, receipts. What an entry's notes say is in notes.c. */
#include <satchel/entry.h>
#include <satchel/message.h>

#include "codec.h"
#include "digest.h"

enum { ENTRY_ITEMS = 13, ENTRY_ITEMS_MAX = 64, POSITIONS_BYTES_MAX = 1 << 16 };

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

void satchel_copy_token(const uint8_t device_secret[32], const struct satchel_id *copy,
                        uint8_t token[32])
{
    struct digest digest;
    digest_init(&digest, satchel_span_of(device_secret, 32), 32);
    digest_text(&digest, "satchel copy token");
    digest_bytes(&digest, copy->bytes, sizeof copy->bytes);
    digest_final(&digest, token, 32);
}

static void digest_span(struct digest *digest, struct satchel_span bytes)
{
    digest_number(digest, bytes.size);
    digest_bytes(digest, bytes.data, bytes.size);
}

struct satchel_id satchel_entry_receipt(const uint8_t workspace_key[SATCHEL_WORKSPACE_KEY_BYTES],
                                        const struct satchel_id *node,
                                        const struct satchel_entry *entry,
                                        const uint8_t hash[SATCHEL_HASH_BYTES],
                                        struct satchel_span quarantined)
{
    struct satchel_id receipt;
    struct digest digest;
    digest_init(&digest, satchel_span_of(workspace_key, SATCHEL_WORKSPACE_KEY_BYTES),
                sizeof receipt.bytes);
    digest_text(&digest, "satchel entry");
    digest_bytes(&digest, node->bytes, sizeof node->bytes);
    digest_number(&digest, entry->seq);
    digest_bytes(&digest, entry->device.bytes, sizeof entry->device.bytes);
    digest_number(&digest, entry->number);
    digest_number(&digest, entry->stamp);
    digest_span(&digest, entry->user);
    digest_bytes(&digest, hash, SATCHEL_HASH_BYTES);
    digest_span(&digest, quarantined);
    digest_span(&digest, entry->positions);
    digest_number(&digest, entry->previous);
    digest_final(&digest, receipt.bytes, sizeof receipt.bytes);
    return receipt;
}

uint64_t satchel_entry_mark(const uint8_t hash[SATCHEL_HASH_BYTES])
{
    uint64_t mark = 0;
    for (size_t i = 0; i < sizeof mark; i++)
        mark |= (uint64_t)hash[i] << (8 * i);
    return mark ? mark : 1;
}

void satchel_entry_cut_secret(const uint8_t secret[SATCHEL_SECRET_BYTES],
                              uint8_t out[SATCHEL_SECRET_BYTES])
{
    struct digest digest;
    digest_init(&digest, satchel_span_of(secret, SATCHEL_SECRET_BYTES), SATCHEL_SECRET_BYTES);
    digest_text(&digest, "satchel cut");
    digest_final(&digest, out, SATCHEL_SECRET_BYTES);
}

struct satchel_id satchel_entry_cut_receipt(const struct satchel_id *receipt)
{
    struct satchel_id cut;
    struct digest digest;
    digest_init(&digest, satchel_span_of(receipt->bytes, sizeof receipt->bytes), sizeof cut.bytes);
    digest_text(&digest, "satchel cut");
    digest_final(&digest, cut.bytes, sizeof cut.bytes);
    return cut;
}

struct satchel_id satchel_enrolment_receipt(
    const uint8_t workspace_key[SATCHEL_WORKSPACE_KEY_BYTES],
    const struct satchel_enrolment *enrolment)
{
    struct satchel_id receipt;
    struct digest digest;
    digest_init(&digest, satchel_span_of(workspace_key, SATCHEL_WORKSPACE_KEY_BYTES),
                sizeof receipt.bytes);
    digest_text(&digest, "satchel enrolment");
    digest_bytes(&digest, enrolment->device.bytes, sizeof enrolment->device.bytes);
    digest_span(&digest, enrolment->token_hash);
    digest_span(&digest, enrolment->user);
    digest_bytes(&digest, enrolment->parent.bytes, sizeof enrolment->parent.bytes);
    digest_number(&digest, enrolment->parent_number);
    digest_number(&digest, enrolment->token_number);
    digest_final(&digest, receipt.bytes, sizeof receipt.bytes);
    return receipt;
}

struct satchel_id satchel_copy_id(const struct satchel_id *device, uint64_t last_common_number,
                                  const uint8_t hash[SATCHEL_HASH_BYTES])
{
    struct satchel_id id;
    struct digest digest;
    digest_init(&digest, satchel_span_of(NULL, 0), sizeof id.bytes);
    digest_text(&digest, "satchel copy");
    digest_bytes(&digest, device->bytes, sizeof device->bytes);
    digest_number(&digest, last_common_number);
    digest_bytes(&digest, hash, SATCHEL_HASH_BYTES);
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
    if (entry->user.size > SATCHEL_NAME_BYTES_MAX ||
        entry->body.size > SATCHEL_CHANGESET_BYTES_MAX ||
        entry->positions.size > POSITIONS_BYTES_MAX)
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
    satchel_pack_binary(&pack, entry->positions);
    satchel_pack_id(&pack, &entry->receipt);
    satchel_pack_unsigned(&pack, entry->previous);
    satchel_pack_bool(&pack, entry->is_cut);
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
    out->positions = satchel_cursor_binary(cursor, POSITIONS_BYTES_MAX);
    out->receipt = satchel_cursor_id(cursor);
    out->previous = satchel_cursor_unsigned(cursor, UINT64_MAX);
    out->is_cut = satchel_cursor_bool(cursor);
    satchel_codec_skip(cursor, item_count - ENTRY_ITEMS);
    return cursor->failed || out->cursor == 0 ? SATCHEL_CORRUPT : SATCHEL_OK;
}
