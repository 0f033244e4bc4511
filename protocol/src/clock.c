/* Owns the estimate of the server's clock. Knows nothing of messages in flight. */
#include "clock.h"

#include <satchel/stamp.h>

int64_t satchel_clock_clamp_ms(int64_t ms)
{
    if (ms < -SATCHEL_STAMP_MS_MAX)
        return -SATCHEL_STAMP_MS_MAX;
    return ms > SATCHEL_STAMP_MS_MAX ? SATCHEL_STAMP_MS_MAX : ms;
}

bool satchel_clock_take_reply(struct clock *clock, const struct satchel_message_time_reply *reply,
                              struct satchel_now now)
{
    if (reply->server_ms < 0 || reply->server_ms > SATCHEL_STAMP_MS_MAX)
        return false;
    int64_t round_trip_ms =
        now.monotonic_ms > reply->client_ms ? now.monotonic_ms - reply->client_ms : 0;
    if (clock->rounds_done == 0 || round_trip_ms < clock->best.round_trip_ms) {
        clock->best.server_ms = reply->server_ms + round_trip_ms / 2;
        clock->best.monotonic_ms = now.monotonic_ms;
        clock->best.utc_ms = satchel_clock_clamp_ms(now.utc_ms);
        clock->best.round_trip_ms = round_trip_ms;
    }
    clock->rounds_done++;
    return true;
}

int64_t satchel_clock_error_ms(const struct clock *clock)
{
    return clock->best.utc_ms - clock->best.server_ms;
}
