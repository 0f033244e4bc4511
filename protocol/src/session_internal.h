/* What the three files of the session share: session.c (its life), session_input.c (what arrives),
 * session_output.c (what is said). Internal to protocol/. */
#ifndef SATCHEL_SESSION_INTERNAL_H
#define SATCHEL_SESSION_INTERNAL_H

#include <satchel/session.h>

#include "clock.h"

#include <stdatomic.h>

/* A request that has been made and not yet answered. At most one at a time. */
enum request { REQUEST_NONE, REQUEST_JOIN, REQUEST_HELLO, REQUEST_ADMIN };

struct satchel_frame {
    atomic_uint holders;
    uint64_t first_cursor, last_cursor;
    size_t size;
    uint8_t bytes[];
};

/* A frame waiting to be sent. */
struct output {
    struct output *next;
    struct satchel_frame *shared; /* NULL: its bytes are right behind it */
    size_t size;
    uint8_t bytes[];
};

struct satchel_session {
    const struct satchel_allocator *allocator;
    size_t output_bytes_max;
    int64_t silence_ms_max;
    enum satchel_side side;

    /* Where the conversation is. */
    enum request request;
    bool has_joined;
    bool is_attached;
    struct satchel_id device; /* of the HELLO */
    uint64_t last_cursor;     /* of the stream of entries, once attached */
    uint64_t last_number;     /* pushed or forwarded, or held by the server at WELCOME */

    /* The clock: a client asks, one question at a time, and holds its first request meanwhile. */
    struct clock clock;
    int64_t asked_ms; /* monotonic, of the TIME in flight */
    struct satchel_buffer held;
    enum request held_request;

    /* Input: one frame, its message, one event. */
    struct satchel_buffer frame;
    struct satchel_buffer message;
    struct satchel_arena arena;
    struct satchel_message event;
    enum { EVENT_NONE, EVENT_WAITING, EVENT_TAKEN } event_state;
    int64_t received_ms; /* monotonic, when the peer was last heard */

    /* Output: a queue of frames, and the one that was handed out last. */
    struct output *first, *last;
    struct output *taken;
    size_t output_bytes;

    enum satchel_status status; /* why it is over */
    char *text;                 /* in words; NULL: not failed, or no memory for them */
};

/* ---- session.c ---- */

/* The session is over. The first reason stays. Returns the session's status. */
enum satchel_status satchel_session_over(struct satchel_session *session, bool tell_peer,
                                         enum satchel_status status, const char *text);
/* Forgets the event that was taken, and the memory it borrowed from. */
void satchel_session_release(struct satchel_session *session);

/* ---- session_output.c ---- */

/* Frames a message and queues it, whatever waits already. LIMIT, NOMEM, INVALID. */
enum satchel_status satchel_session_queue(struct satchel_session *session,
                                          const struct satchel_message *message) SATCHEL_MUST_USE;
/* Asks for the server's time. */
enum satchel_status satchel_session_ask_time(struct satchel_session *session,
                                             struct satchel_now now) SATCHEL_MUST_USE;
/* The clock is measured: what was held goes out. */
enum satchel_status satchel_session_send_held(struct satchel_session *session) SATCHEL_MUST_USE;
void satchel_session_drop_taken(struct satchel_session *session);
void satchel_session_drop_output(struct satchel_session *session);
/* WELCOME has been said: numbers and cursors go on from what HELLO and it agreed on. */
void satchel_session_attach(struct satchel_session *session,
                            const struct satchel_message_welcome *welcome);
/* Forwarded entries of the device itself are change sets that need not be pushed again. */
void satchel_session_forwarded(struct satchel_session *session,
                               const struct satchel_message_forward *forward);

#endif
