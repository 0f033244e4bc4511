/* The measuring of a peer's clock (after Cristian, Probabilistic clock synchronization, 1989): ask
 * a few times, believe the answer that came back fastest. Internal to protocol/. */
#ifndef SATCHEL_CLOCK_H
#define SATCHEL_CLOCK_H

#include <satchel/session.h>

enum { CLOCK_ROUNDS = 4 };

struct clock {
    int rounds_done;
    struct satchel_clock_sample best;
};

static inline bool satchel_clock_is_measured(const struct clock *clock)
{
    return clock->rounds_done >= CLOCK_ROUNDS;
}

/* Within what a stamp can express. */
int64_t satchel_clock_clamp_ms(int64_t ms);

/* Takes an answer that arrived at `now`. False: no server has that time. */
bool satchel_clock_take_reply(struct clock *clock, const struct satchel_message_time_reply *reply,
                              struct satchel_now now);

/* This device's wall clock minus the server's. */
int64_t satchel_clock_error_ms(const struct clock *clock);

#endif
