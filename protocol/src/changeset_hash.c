/* Owns the identity of a change set: its secret and the hash over its parts. Knows the body's
 * outline, not what is in a part.
 *
 *   part key  i = BLAKE2b-256(key: secret,     "satchel part key" | le64 i)              i from 0
 *   part hash i = BLAKE2b-256(key: part key i, the part's bytes)
 *   hash        = BLAKE2b-256("satchel change set" | le64 size of header | header | part hashes)
 *
 * Who holds a part's key and bytes can compute its hash; who holds only its hash can guess nothing.
 */
#include <satchel/changeset.h>

#include "codec.h"
#include "digest.h"

enum { HEADER_ITEMS = 5 };

void satchel_changeset_secret(const uint8_t device_secret[32], uint64_t number,
                              const struct satchel_moment *moment,
                              uint8_t secret[SATCHEL_SECRET_BYTES])
{
    struct digest digest;
    digest_init(&digest, satchel_span_of(device_secret, 32), SATCHEL_SECRET_BYTES);
    digest_text(&digest, "satchel secret");
    digest_number(&digest, number);
    digest_number(&digest, (uint64_t)moment->utc_ms);
    digest_number(&digest, (uint64_t)moment->monotonic_ms);
    digest_number(&digest, moment->boot);
    digest_final(&digest, secret, SATCHEL_SECRET_BYTES);
}

static void part_hash(const uint8_t secret[SATCHEL_SECRET_BYTES], uint64_t index,
                      struct satchel_span part, uint8_t hash[SATCHEL_HASH_BYTES])
{
    uint8_t key[SATCHEL_HASH_BYTES];
    struct digest digest;
    digest_init(&digest, satchel_span_of(secret, SATCHEL_SECRET_BYTES), sizeof key);
    digest_text(&digest, "satchel part key");
    digest_number(&digest, index);
    digest_final(&digest, key, sizeof key);
    digest_init(&digest, satchel_span_of(key, sizeof key), SATCHEL_HASH_BYTES);
    digest_bytes(&digest, part.data, part.size);
    digest_final(&digest, hash, SATCHEL_HASH_BYTES);
}

enum satchel_status satchel_changeset_hash(struct satchel_span body,
                                           const uint8_t secret[SATCHEL_SECRET_BYTES],
                                           uint8_t hash[SATCHEL_HASH_BYTES])
{
    struct satchel_cursor cursor = satchel_cursor_of(body);
    struct satchel_cursor header = cursor;
    struct satchel_span header_bytes = satchel_cursor_item(&cursor);
    struct digest root;
    if (satchel_cursor_array(&header, HEADER_ITEMS) != HEADER_ITEMS)
        return SATCHEL_CORRUPT;
    satchel_codec_skip(&header, HEADER_ITEMS - 1);
    uint64_t part_count = satchel_cursor_unsigned(&header, SATCHEL_CHANGESET_PARTS_MAX);
    if (cursor.failed || header.failed)
        return SATCHEL_CORRUPT;

    digest_init(&root, satchel_span_of(NULL, 0), SATCHEL_HASH_BYTES);
    digest_text(&root, "satchel change set");
    digest_number(&root, header_bytes.size);
    digest_bytes(&root, header_bytes.data, header_bytes.size);
    for (uint64_t i = 0; i < part_count; i++) {
        uint8_t part[SATCHEL_HASH_BYTES];
        struct satchel_span bytes = satchel_cursor_item(&cursor);
        if (cursor.failed)
            return SATCHEL_CORRUPT;
        part_hash(secret, i, bytes, part);
        digest_bytes(&root, part, sizeof part);
    }
    if (!satchel_cursor_at_end(&cursor))
        return SATCHEL_CORRUPT;
    digest_final(&root, hash, SATCHEL_HASH_BYTES);
    return SATCHEL_OK;
}
