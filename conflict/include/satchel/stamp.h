/* The hybrid logical clock: 48 bits of milliseconds since 1970 UTC, 16 bits of counter, compared as
 * one number. Pure: the caller passes the time in. (Kulkarni et al., Logical Physical Clocks,
 * 2014.) */
#ifndef SATCHEL_STAMP_H
#define SATCHEL_STAMP_H

#include <satchel/id.h>

typedef uint64_t satchel_stamp;

#define SATCHEL_STAMP_MS_MAX (((int64_t)1 << 48) - 1)

static inline int64_t satchel_stamp_ms(satchel_stamp stamp)
{
    return (int64_t)(stamp >> 16);
}

/* The smallest stamp of that millisecond; a time before 1970 or after the range is clamped. */
satchel_stamp satchel_stamp_from_ms(int64_t ms);

/* The stamp of a new event at `now_ms`, after everything up to `last`: now if that is later, else
 * last + 1. A counter that overflows runs into the milliseconds; at the end of the range it stays.
 */
satchel_stamp satchel_stamp_next(satchel_stamp last, int64_t now_ms);

/* The total order of writes: stamp, then device, then number, then position in the change
 * set. */
struct satchel_order {
    satchel_stamp stamp;
    struct satchel_id device;
    uint64_t number;
    uint32_t part;
};
int satchel_order_compare(const struct satchel_order *a, const struct satchel_order *b);

#endif
