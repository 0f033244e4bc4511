/* The hub: sessions on one side, workspaces on the other.
 *
 * Every connection has a session (protocol); what it asks for becomes a job of a workspace, and
 * what the job answers becomes messages. An acknowledgement is said when its job is complete, that
 * is after the commit, and a commit wakes every session of its workspace that has entries to come.
 *
 * Lives on the loop's thread. Workspaces complete their jobs on threads of their own: the hub takes
 * these over a locked queue and a wake-up of the loop. */
#ifndef SATCHEL_HUB_H
#define SATCHEL_HUB_H

#include "data_directory.h"
#include "listener.h"
#include "login_token.h"
#include "metrics.h"
#include "rate.h"

struct satchel_hub;

/* What one connection may say a second. */
enum hub_rate { HUB_RATE_BYTES, HUB_RATE_MESSAGES, HUB_RATE_CHANGE_SETS, HUB_RATE_COUNT };

struct satchel_hub_options {
    struct ev_loop *loop;
    const struct satchel_data_directory *directory;
    struct satchel_metrics *metrics;
    const struct satchel_login_key *login_key; /* NULL: no JWT is taken */
    struct rate_limit rate_limits[HUB_RATE_COUNT];
    uint64_t snapshot_entries; /* a new device has a snapshot where the log has so many; 0: never */
};

/* NOMEM, IO. Everything in the options is borrowed for the hub's life. */
enum satchel_status satchel_hub_new(struct satchel_hub **out,
                                    const struct satchel_hub_options *options,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* Opens every NAME.db of the data directory. The first that does not open ends it, with its status.
 */
enum satchel_status satchel_hub_open_workspaces(struct satchel_hub *hub,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
/* What a listener is to call. */
struct satchel_listener_handlers satchel_hub_handlers(struct satchel_hub *hub);

/* Takes no more requests; each session ends with 1001 once what it has asked for is answered. */
void satchel_hub_stop(struct satchel_hub *hub);
/* Finishes the commits in hand and closes the workspaces. After the listener is freed. */
void satchel_hub_free(struct satchel_hub *hub);

#endif
