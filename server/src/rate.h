/* A token bucket: how much of something somebody may have a second, and at once. The clock is an
 * input. */
#ifndef SATCHEL_RATE_H
#define SATCHEL_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    int64_t per_second; /* 0: no limit */
    int64_t burst;      /* what may come at once after a pause */
};

struct rate {
    int64_t left_thousandths; /* of a unit; below 0: more was taken than there was */
    int64_t at_ms;            /* monotonic, of the last look */
};

/* A full bucket. */
struct rate rate_full(const struct rate_limit *limit, int64_t now_ms);
/* Whether `amount` is there at `now_ms`. */
bool rate_has(struct rate *rate, const struct rate_limit *limit, int64_t amount, int64_t now_ms);
/* Takes `amount`, if it is there or not: what is owed is at most `debt_seconds` of the limit. Of a
 * negative amount: gives it back. */
void rate_take(struct rate *rate, const struct rate_limit *limit, int64_t amount,
               int64_t debt_seconds, int64_t now_ms);

#endif
