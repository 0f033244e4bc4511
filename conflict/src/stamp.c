/* Owns the hybrid logical clock and the total order of writes. Never reads a clock. */
#include <satchel/stamp.h>

satchel_stamp satchel_stamp_from_ms(int64_t ms)
{
    if (ms < 0)
        ms = 0;
    if (ms > SATCHEL_STAMP_MS_MAX)
        ms = SATCHEL_STAMP_MS_MAX;
    return (satchel_stamp)ms << 16;
}

satchel_stamp satchel_stamp_next(satchel_stamp last, int64_t now_ms)
{
    satchel_stamp now = satchel_stamp_from_ms(now_ms);
    if (now > last)
        return now;
    return last == UINT64_MAX ? last : last + 1;
}

int satchel_order_compare(const struct satchel_order *a, const struct satchel_order *b)
{
    if (a->stamp != b->stamp)
        return a->stamp < b->stamp ? -1 : 1;
    int device = satchel_id_compare(&a->device, &b->device);
    if (device != 0)
        return device < 0 ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->part < b->part ? -1 : a->part > b->part;
}
