/* Accepts connections and carries frames: libwebsockets on a libev loop, behind an interface that
 * names neither.
 *
 * A listener is an accepting socket of its own and one context that serves what it accepts, on the
 * loop it is given. The accepting socket is apart from the context so that several contexts, each
 * on its own thread, can share it one day: an accepted socket is handed to a context, and from then
 * on everything about that connection happens on that context's loop.
 *
 * All functions and all handlers run on the loop's thread. */
#ifndef SATCHEL_LISTENER_H
#define SATCHEL_LISTENER_H

#include "metrics.h"

#include <satchel/id.h>
#include <satchel/memory.h>

struct ev_loop;
struct satchel_listener;
struct satchel_connection; /* one WebSocket */

/* Why a connection is closed: RFC 6455, 7.4.1. */
enum satchel_close_code {
    SATCHEL_CLOSE_NORMAL = 1000,
    SATCHEL_CLOSE_GOING_AWAY = 1001,
    SATCHEL_CLOSE_PROTOCOL = 1002,
    SATCHEL_CLOSE_UNACCEPTABLE = 1003,
    SATCHEL_CLOSE_POLICY = 1008,
    SATCHEL_CLOSE_TOO_BIG = 1009,
    SATCHEL_CLOSE_INTERNAL = 1011
};

/* What a listener asks of whoever serves its connections. */
struct satchel_listener_handlers {
    void *context;
    /* A WebSocket is open. What it returns goes with the connection; NULL refuses it. */
    void *(*opened)(void *context, struct satchel_connection *connection);
    /* A run of bytes of a binary message; `is_last` ends the message. */
    void (*received)(void *data, const void *bytes, size_t size, bool is_last);
    /* The next whole message to send, or false. Borrowed until the handler returns control. */
    bool (*next_frame)(void *data, struct satchel_span *frame);
    /* Everything that next_frame gave has gone to the socket. */
    void (*drained)(void *data);
    /* The connection is gone; nobody may use it any more. */
    void (*closed)(void *data);
    /* A GET for `path`: fill `body` and say OK, or NOT_FOUND. */
    enum satchel_status (*get)(void *context, const char *path, struct satchel_buffer *body);
};

struct satchel_listener_options {
    struct ev_loop *loop;
    const char *host;     /* a name or an address */
    unsigned int port;    /* 0: any free one */
    const char *tls_cert; /* NULL: no TLS */
    const char *tls_key;
    bool is_insecure;        /* a non-loopback address without TLS is allowed */
    const char *path_prefix; /* what paths of GET may begin with, as "/sync"; NULL: nothing */
    bool is_proxy_trusted;   /* its X-Forwarded-For says who the peer is */
    struct satchel_metrics *metrics;
    struct satchel_listener_handlers handlers;
};

/* Binds; accepts nothing yet. IO with the reason in words: the address is taken, the certificate
 * cannot be read, ...; DENIED: not loopback and neither TLS nor is_insecure. Strings are borrowed.
 */
enum satchel_status satchel_listener_new(struct satchel_listener **out,
                                         const struct satchel_listener_options *options,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* Closes what is left without ado. After the loop has ended. */
void satchel_listener_free(struct satchel_listener *listener);

void satchel_listener_accept(struct satchel_listener *listener);
/* Accepts no more; open connections stay. */
void satchel_listener_stop(struct satchel_listener *listener);
/* The port it is bound to. */
unsigned int satchel_listener_port(const struct satchel_listener *listener);
/* Connections whose peer may still be owed something: open, and not told to go. */
size_t satchel_listener_unfinished_count(const struct satchel_listener *listener);
size_t satchel_listener_connection_count(const struct satchel_listener *listener);
/* libwebsockets' version. */
const char *satchel_listener_library_version(void);

/* ---- one connection ---- */

/* There may be something to send. */
void satchel_connection_want_write(struct satchel_connection *connection);
/* Stops or resumes reading; the peer then feels TCP's backpressure. */
void satchel_connection_pause(struct satchel_connection *connection, bool is_paused);
/* Sends what next_frame still has, then closes with `code` and `reason` (a literal, at most 120
 * bytes). What the peer sends from now on is discarded, or not even read (TOO_BIG); a peer that
 * does not take it all in a few seconds is cut off. The first call counts. */
void satchel_connection_finish(struct satchel_connection *connection, enum satchel_close_code code,
                               const char *reason);
/* The peer's address to count it by, as peer_address (peer.h) has it. */
struct satchel_id satchel_connection_address(const struct satchel_connection *connection);
/* The peer's address and port for the log. */
void satchel_connection_peer(const struct satchel_connection *connection, char *text, size_t room);

#endif
