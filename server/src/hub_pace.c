/* Owns how fast a peer may talk: who says more than that is read from more slowly, and loses
 * nothing by it. */
#include "hub_internal.h"

#include "logging.h"

enum {
    /* Longer than that nobody is left unread: libwebsockets would give up a peer whose answers to
     * its pings are not heard. */
    DEBT_SECONDS = 30
};

static const char *const rate_units[HUB_RATE_COUNT] = {[HUB_RATE_BYTES] = "bytes",
                                                       [HUB_RATE_MESSAGES] = "messages",
                                                       [HUB_RATE_CHANGE_SETS] = "change sets"};

void hub_pace_start(struct hub_session *session, int64_t now_ms)
{
    for (int i = 0; i < HUB_RATE_COUNT; i++)
        session->rates[i] = rate_full(&session->hub->rate_limits[i], now_ms);
}

void hub_pace_count(struct hub_session *session, enum hub_rate rate, int64_t amount)
{
    rate_take(&session->rates[rate], &session->hub->rate_limits[rate], amount, DEBT_SECONDS,
              hub_monotonic_ms());
}

static void tell(struct hub_session *session, enum hub_rate rate)
{
    char peer[128];

    if (session->is_slowed)
        return;
    session->is_slowed = true;
    satchel_metric_add(session->hub->metrics, SATCHEL_METRIC_SLOWED, 1);
    satchel_connection_peer(session->connection, peer, sizeof peer);
    satchel_log_warning("%s says more than %lld %s a second: it is read from more slowly", peer,
                        (long long)session->hub->rate_limits[rate].per_second, rate_units[rate]);
}

bool hub_pace_is_kept(struct hub_session *session)
{
    int64_t now_ms = hub_monotonic_ms();

    for (int i = 0; i < HUB_RATE_COUNT && !session->is_administrator; i++)
        if (!rate_has(&session->rates[i], &session->hub->rate_limits[i], 1, now_ms)) {
            tell(session, (enum hub_rate)i);
            return false;
        }
    return true;
}
