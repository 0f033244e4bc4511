/* A session over libwebsockets, in one blocking call: what satchel_sync_run, satchel_join,
 * satchel_verify and satchel_admin stand on. */
#ifndef SATCHEL_TRANSPORT_H
#define SATCHEL_TRANSPORT_H

#include "pin.h"

#include <satchel.h>

struct satchel_transport_options {
    const char *url; /* ws://HOST[:PORT] or wss://HOST[:PORT]; a path behind it is kept */
    const struct satchel_pins *pins; /* of which the server must have one; NULL: none */
    struct satchel_session *session;
    const struct satchel_clock *clock;
    void *context; /* of what follows */
    /* Called when a frame has come, when one was sent, and several times a second: takes the
     * session's events and says something. `*is_done` or a failure ends the connection. */
    enum satchel_status (*step)(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error);
    void (*count)(void *context, size_t sent, size_t received); /* payload bytes; may be NULL */
    bool (*stop)(void *context);                                /* may be NULL */
    const char *watched; /* NULL, or a file: when somebody writes to it, `step` is called soon, and
                            some times more while what was written may not be committed yet */
    bool *was_connected; /* may be NULL: set once the server was reached */
};

/* Connects, runs the session until it is done, is stopped or fails, and closes the connection (1000
 * when nothing failed). INVALID: the URL, in words; NETWORK: no connection, it was lost, or the
 * server is not the pinned one;
 * TIMEOUT: no answer in 5 s while connecting; whatever the session or `step` says. */
enum satchel_status satchel_transport_run(const struct satchel_transport_options *options,
                                          struct satchel_error *error) SATCHEL_MUST_USE;

/* Reads the clock. */
struct satchel_now satchel_transport_now(const struct satchel_clock *clock);
/* `clock`, or the system's for NULL. */
const struct satchel_clock *satchel_clock_or_system(const struct satchel_clock *clock);

/* Takes a URL apart; the texts are copies of at most the sizes below. */
struct satchel_url {
    bool is_secure;
    char host[256];
    char path[256];
    int port;
};
enum satchel_status satchel_url_parse(struct satchel_url *out, const char *text,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

#endif
