/* The session: a state machine between two ends, without I/O. Bytes in, bytes out, time passed in.
 *
 * The owner of a session (a device's sync, the server's hub, a test, a simulator) feeds it what
 * arrives and the time, takes events and answers with messages, and sends what it puts out:
 *
 *   on bytes from the transport   satchel_session_receive(session, bytes, size, is_last, now)
 *   until it returns false        satchel_session_next_event(session, &message)       act on each
 *   to say something              satchel_session_send(session, &message)
 *   whenever the socket can take  satchel_session_next_output(session, &frame)        send it whole
 *   now and then (1 s)            satchel_session_tick(session, now)
 *   after satchel_session_failed  send what is left in the output, then close the transport
 *
 * It owns: framing, limits, compression; which message may come in which state; contiguous PUSH
 * numbers and ascending cursors; answering TIME (server); measuring the clock (client: four TIME
 * exchanges before the first JOIN, HELLO or ADMIN goes out, best round trip counts); timeouts of
 * silence. It knows nothing of rows, stores, sockets or threads. */
#ifndef SATCHEL_SESSION_H
#define SATCHEL_SESSION_H

#include <satchel/message.h>

enum satchel_side { SATCHEL_SIDE_CLIENT, SATCHEL_SIDE_SERVER };

/* The time, as the owner's clocks read it when the event happened. */
struct satchel_now {
    int64_t utc_ms;       /* the wall clock, ms since 1970 (the server's is the reference) */
    int64_t monotonic_ms; /* never goes back; any origin */
};

struct satchel_session;

struct satchel_session_options {
    size_t size; /* sizeof this struct */
    enum satchel_side side;
    const struct satchel_allocator *allocator; /* NULL: malloc */
    size_t output_bytes_max; /* send returns BUSY while more than this waits; 0: 1 MiB */
    int64_t silence_ms_max;  /* the peer is lost after this long without a frame; 0: never */
};

/* INVALID, NOMEM. */
enum satchel_status satchel_session_new(struct satchel_session **out,
                                        const struct satchel_session_options *options,
                                        struct satchel_now now) SATCHEL_MUST_USE;
void satchel_session_free(struct satchel_session *session);

/* A run of bytes of one WebSocket message; `is_last` ends the message. OK, or the session has
 * failed: CORRUPT, LIMIT, VERSION, STATE, NOMEM; a server session then has an ERROR in its output.
 * At most one frame's events wait: take them before giving it the next frame (else STATE, nothing
 * is lost). */
enum satchel_status satchel_session_receive(struct satchel_session *session, const void *bytes,
                                            size_t size, bool is_last,
                                            struct satchel_now now) SATCHEL_MUST_USE;

/* The next message for the owner, or false. Valid until the next receive or tick, which give its
 * memory back: an idle session keeps none. TIME and TIME_REPLY never surface; an ERROR does, and
 * the session has then failed with its status. */
bool satchel_session_next_event(struct satchel_session *session, struct satchel_message *event);

/* Queues a message. BUSY: the output is full, take some and try again; STATE: not in this state or
 * not from this side; LIMIT: the message is over the frame limit; NOMEM. On the client the first
 * JOIN, HELLO or ADMIN waits for the clock measurement by itself, and a HELLO gets its
 * clock_error_ms filled in. */
enum satchel_status satchel_session_send(struct satchel_session *session,
                                         const struct satchel_message *message) SATCHEL_MUST_USE;

/* ENTRIES put into a frame once, for however many sessions are to send it. It does not change; each
 * holder lets go of it, on any thread. */
struct satchel_frame;

/* The caller is its first holder. LIMIT: over the frame limit; NOMEM. */
enum satchel_status satchel_frame_new(
    struct satchel_frame **out, const struct satchel_message_entries *entries) SATCHEL_MUST_USE;
struct satchel_frame *satchel_frame_hold(struct satchel_frame *frame);
/* NULL: nothing happens. */
void satchel_frame_release(struct satchel_frame *frame);
/* Queues it, as satchel_session_send would the ENTRIES that it was made of; while it waits the
 * session holds it. Of a server. */
enum satchel_status satchel_session_send_frame(struct satchel_session *session,
                                               struct satchel_frame *frame) SATCHEL_MUST_USE;

/* The next whole frame to send as one binary WebSocket message, or false. Valid until the next call
 * of any function of this session. */
bool satchel_session_next_output(struct satchel_session *session, struct satchel_span *frame);
/* Bytes waiting in the output. */
size_t satchel_session_output_bytes(const struct satchel_session *session);

/* Time passes: may fail the session with TIMEOUT. */
enum satchel_status satchel_session_tick(struct satchel_session *session,
                                         struct satchel_now now) SATCHEL_MUST_USE;

/* Why the session is over; OK while it is not. `error` (may be NULL) gets the words. */
enum satchel_status satchel_session_failed(const struct satchel_session *session,
                                           struct satchel_error *error);
/* Ends the session from this side: a server says ERROR(status, text) first. */
void satchel_session_fail(struct satchel_session *session, enum satchel_status status,
                          const char *text);

/* Client: the measured clock. False before the measurement is complete. server_ms is the server's
 * UTC at monotonic_ms of this device, good to half of round_trip_ms. */
struct satchel_clock_sample {
    int64_t server_ms;
    int64_t monotonic_ms;
    int64_t utc_ms; /* this device's wall clock at the same moment */
    int64_t round_trip_ms;
};
bool satchel_session_clock(const struct satchel_session *session, struct satchel_clock_sample *out);

/* Whether the peer's HELLO has been answered with WELCOME (server) or WELCOME has come (client). */
bool satchel_session_is_attached(const struct satchel_session *session);

#endif
