/* SHA-1 (FIPS 180-4, RFC 3174), because RFC 9562 defines UUIDv5 with it and libsodium rightly
 * leaves it out. For names only: it protects nothing. Internal to sql/. */
#ifndef SATCHEL_SHA1_H
#define SATCHEL_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SATCHEL_SHA1_BYTES 20

struct satchel_sha1 {
    uint32_t state[5];
    uint64_t size; /* bytes taken in */
    uint8_t block[64];
};

void satchel_sha1_init(struct satchel_sha1 *sha1);
void satchel_sha1_update(struct satchel_sha1 *sha1, const void *data, size_t size);
void satchel_sha1_final(struct satchel_sha1 *sha1, uint8_t digest[SATCHEL_SHA1_BYTES]);

#endif
