/* Owns SHA-1, for UUIDv5 alone (see sha1.h). */
#include "sha1.h"

#include <string.h>

void satchel_sha1_init(struct satchel_sha1 *sha1)
{
    static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(sha1->state, start, sizeof start);
    sha1->size = 0;
}

static uint32_t rotate(uint32_t word, int bits)
{
    return word << bits | word >> (32 - bits);
}

static void mix_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);

    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int t = 0; t < 80; t++) {
        uint32_t f, k;
        if (t < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (t < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (t < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        uint32_t next = rotate(a, 5) + f + e + w[t] + k;
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void satchel_sha1_update(struct satchel_sha1 *sha1, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    while (size > 0) {
        size_t held = (size_t)(sha1->size % sizeof sha1->block);
        size_t taken = sizeof sha1->block - held;
        if (taken > size)
            taken = size;
        memcpy(sha1->block + held, bytes, taken);
        sha1->size += taken;
        bytes += taken;
        size -= taken;
        if (held + taken == sizeof sha1->block)
            mix_block(sha1->state, sha1->block);
    }
}

void satchel_sha1_final(struct satchel_sha1 *sha1, uint8_t digest[SATCHEL_SHA1_BYTES])
{
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = sha1->size * 8;
    size_t held = (size_t)(sha1->size % sizeof sha1->block);
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    satchel_sha1_update(sha1, padding, held < 56 ? 56 - held : 120 - held);
    satchel_sha1_update(sha1, length, sizeof length);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 4; j++)
            digest[4 * i + j] = (uint8_t)(sha1->state[i] >> (24 - 8 * j));
}
