/* BLAKE2b over pieces (libsodium's generichash), with the lengths and keys that this layer uses,
 * none of which can be refused: so nothing here fails. Internal to protocol/. */
#ifndef SATCHEL_DIGEST_H
#define SATCHEL_DIGEST_H

#include <satchel/span.h>

#include <assert.h>
#include <sodium/crypto_generichash.h>

struct digest {
    crypto_generichash_state state;
};

/* `key` is empty or 16 to 64 bytes. */
static inline void digest_init(struct digest *digest, struct satchel_span key, size_t out_bytes)
{
    int refused =
        crypto_generichash_init(&digest->state, key.size ? key.data : NULL, key.size, out_bytes);
    assert(!refused);
    (void)refused;
}

static inline void digest_bytes(struct digest *digest, const void *data, size_t size)
{
    if (size)
        (void)crypto_generichash_update(&digest->state, data, size);
}

static inline void digest_text(struct digest *digest, const char *text)
{
    digest_bytes(digest, text, strlen(text));
}

static inline void digest_number(struct digest *digest, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    digest_bytes(digest, bytes, sizeof bytes);
}

static inline void digest_final(struct digest *digest, uint8_t *out, size_t out_bytes)
{
    (void)crypto_generichash_final(&digest->state, out, out_bytes);
}

#endif
