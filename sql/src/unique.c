/* Owns the layouts and the monotony of UUIDv7s and of 63-bit identifiers (see unique.h). */
#include "unique.h"

#include <sodium.h>

#include <stdio.h>

/* ---- UUIDv7 ---- */

#define MS_MASK (((uint64_t)1 << 48) - 1)
#define HIGH_MASK (((uint64_t)1 << 12) - 1)
#define LOW_MASK (((uint64_t)1 << 62) - 1)

/* The uppermost random bit stays clear: room to count up within the millisecond. */
static void draw_tail(struct satchel_uuid_source *source)
{
    uint64_t random[2];
    randombytes_buf(random, sizeof random);
    source->high = random[0] & (HIGH_MASK >> 1);
    source->low = random[1] & LOW_MASK;
}

static void step_tail(struct satchel_uuid_source *source)
{
    source->low += 1 + (uint64_t)randombytes_random();
    if (source->low > LOW_MASK) {
        source->low &= LOW_MASK;
        source->high++;
    }
    if (source->high > HIGH_MASK) {
        source->ms = (source->ms + 1) & MS_MASK;
        draw_tail(source);
    }
}

struct satchel_id satchel_uuid_next(struct satchel_uuid_source *source, int64_t now_ms)
{
    uint64_t ms = now_ms < 0 ? 0 : (uint64_t)now_ms & MS_MASK;
    if (!source->is_started || ms > source->ms) {
        source->is_started = true;
        source->ms = ms;
        draw_tail(source);
    } else {
        step_tail(source);
    }
    struct satchel_id uuid;
    uint64_t first = source->ms << 16 | (uint64_t)7 << 12 | source->high;
    uint64_t second = (uint64_t)2 << 62 | source->low;
    for (int i = 0; i < 8; i++) {
        uuid.bytes[i] = (uint8_t)(first >> (56 - 8 * i));
        uuid.bytes[8 + i] = (uint8_t)(second >> (56 - 8 * i));
    }
    return uuid;
}

void satchel_uuid_text(const struct satchel_id *uuid, char text[SATCHEL_UUID_TEXT_BYTES])
{
    char digits[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(uuid, digits);
    snprintf(text, SATCHEL_UUID_TEXT_BYTES, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8,
             digits + 12, digits + 16, digits + 20);
}

/* ---- 63-bit integers ---- */

#define EPOCH_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define SLOT_MASK (((uint64_t)1 << 41) - 1)

enum { LANE_BITS = 12, PLACE_BITS = 10, PLACES = 1 << PLACE_BITS };

/* The lane of `device`; kept until another device is named. */
static void choose_lane(struct satchel_integer_source *source, const char *device)
{
    char name[SATCHEL_ID_TEXT_BYTES] = "";
    if (device)
        snprintf(name, sizeof name, "%s", device);
    if (source->is_started && memcmp(source->device, name, sizeof name) == 0)
        return;
    memcpy(source->device, name, sizeof name);
    uint8_t hash[crypto_generichash_BYTES_MIN];
    if (device)
        crypto_generichash(hash, sizeof hash, (const uint8_t *)device, strlen(device), NULL, 0);
    else
        randombytes_buf(hash, sizeof hash);
    source->lane = ((uint32_t)hash[0] << 8 | hash[1]) >> (16 - LANE_BITS);
}

static void begin_ms(struct satchel_integer_source *source, int64_t ms)
{
    source->ms = ms;
    source->first_place = randombytes_uniform(PLACES);
    source->place_count = 0;
}

int64_t satchel_integer_next(struct satchel_integer_source *source, int64_t now_ms,
                             const char *device)
{
    choose_lane(source, device);
    if (!source->is_started || now_ms > source->ms)
        begin_ms(source, now_ms);
    else if (source->place_count == PLACES)
        begin_ms(source, source->ms < INT64_MAX ? source->ms + 1 : 0);
    source->is_started = true;
    uint64_t place = (source->first_place + source->place_count++) % PLACES;
    uint64_t slot = ((uint64_t)source->ms - (uint64_t)EPOCH_MS) & SLOT_MASK;
    return (int64_t)(slot << (LANE_BITS + PLACE_BITS) | (uint64_t)source->lane << PLACE_BITS |
                     place);
}
