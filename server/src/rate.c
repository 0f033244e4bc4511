/* Owns the arithmetic of a token bucket. */
#include "rate.h"

enum { THOUSANDTHS = 1000 };

struct rate rate_full(const struct rate_limit *limit, int64_t now_ms)
{
    return (struct rate){.left_thousandths = limit->burst * THOUSANDTHS, .at_ms = now_ms};
}

/* A thousandth comes every ms for each unit a second. */
static void refill(struct rate *rate, const struct rate_limit *limit, int64_t now_ms)
{
    int64_t missing = limit->burst * THOUSANDTHS - rate->left_thousandths;
    int64_t elapsed_ms = now_ms > rate->at_ms ? now_ms - rate->at_ms : 0;

    rate->at_ms += elapsed_ms;
    if (elapsed_ms > missing / limit->per_second)
        rate->left_thousandths += missing;
    else
        rate->left_thousandths += elapsed_ms * limit->per_second;
}

bool rate_has(struct rate *rate, const struct rate_limit *limit, int64_t amount, int64_t now_ms)
{
    if (limit->per_second == 0)
        return true;
    refill(rate, limit, now_ms);
    return rate->left_thousandths >= amount * THOUSANDTHS;
}

void rate_take(struct rate *rate, const struct rate_limit *limit, int64_t amount,
               int64_t debt_seconds, int64_t now_ms)
{
    if (limit->per_second == 0)
        return;
    refill(rate, limit, now_ms);
    rate->left_thousandths -= amount * THOUSANDTHS;
    int64_t least = -limit->per_second * debt_seconds * THOUSANDTHS;
    if (rate->left_thousandths < least)
        rate->left_thousandths = least;
}
