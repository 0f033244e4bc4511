/* The accepting socket of a listener, on a libev loop. Internal to the listener. */
#ifndef SATCHEL_ACCEPTOR_H
#define SATCHEL_ACCEPTOR_H

#include "metrics.h"

#include <ev.h>

struct acceptor {
    struct ev_loop *loop;
    struct satchel_metrics *metrics;
    ev_io readable;
    ev_timer pause; /* running while descriptors are exhausted */
    int fd;         /* -1: closed */
    unsigned int port;
    uint64_t connections_max;
    bool is_full; /* refusing, and said so */
    void (*accepted)(void *context, int fd);
    void *context;
};

/* `accepted` gets each new socket, non-blocking, and owns it. */
void acceptor_init(struct acceptor *acceptor, struct ev_loop *loop, struct satchel_metrics *metrics,
                   void (*accepted)(void *context, int fd), void *context);
/* Binds to the first address of `host`. IO with words; DENIED: not loopback, and that is not
 * allowed. */
enum satchel_status acceptor_bind(struct acceptor *acceptor, const char *host, unsigned int port,
                                  bool is_any_allowed,
                                  struct satchel_error *error) SATCHEL_MUST_USE;
void acceptor_start(struct acceptor *acceptor);
void acceptor_close(struct acceptor *acceptor);

#endif
