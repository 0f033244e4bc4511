/* Owns the table of addresses that have tried to join in vain: a few places for each hash of an
 * address, of which the one that has rested longest is given away. */
#include "attempts.h"

#include <string.h>

enum {
    PLACES = 8,        /* for addresses of one hash */
    ATTEMPT_UNITS = 10 /* so that one a second is an attempt every 10 s */
};

static const struct rate_limit limit = {.per_second = 1, .burst = 20 * ATTEMPT_UNITS};

/* The first of the address's places. FNV-1a. */
static size_t first_place(const struct satchel_id *address)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sizeof address->bytes; i++)
        hash = (hash ^ address->bytes[i]) * 16777619u;
    return hash % (ATTEMPT_ADDRESSES / PLACES) * PLACES;
}

static struct rate *find(struct attempts *attempts, const struct satchel_id *address)
{
    size_t first = first_place(address);

    for (size_t i = first; i < first + PLACES; i++)
        if (attempts->slots[i].is_used && satchel_id_equal(&attempts->slots[i].address, address))
            return &attempts->slots[i].rate;
    return NULL;
}

static struct rate *add(struct attempts *attempts, const struct satchel_id *address, int64_t now_ms)
{
    size_t first = first_place(address);
    size_t chosen = first;

    for (size_t i = first; i < first + PLACES && attempts->slots[chosen].is_used; i++)
        if (!attempts->slots[i].is_used ||
            attempts->slots[i].rate.at_ms < attempts->slots[chosen].rate.at_ms)
            chosen = i;
    attempts->slots[chosen].is_used = true;
    attempts->slots[chosen].address = *address;
    attempts->slots[chosen].rate = rate_full(&limit, now_ms);
    return &attempts->slots[chosen].rate;
}

bool attempts_take(struct attempts *attempts, const struct satchel_id *address, int64_t now_ms)
{
    struct rate *rate = find(attempts, address);

    if (!rate)
        rate = add(attempts, address, now_ms);
    if (!rate_has(rate, &limit, ATTEMPT_UNITS, now_ms))
        return false;
    rate_take(rate, &limit, ATTEMPT_UNITS, 0, now_ms);
    return true;
}

void attempts_give_back(struct attempts *attempts, const struct satchel_id *address, int64_t now_ms)
{
    struct rate *rate = find(attempts, address);

    if (rate)
        rate_take(rate, &limit, -ATTEMPT_UNITS, 0, now_ms);
}
