/* Owns what a session hears: the assembly of a frame, which message may come when, and what each
 * changes. Everything here comes from a peer; what does not belong ends the session with words. */
#include "session_internal.h"

#include "message_layout.h"

#include <inttypes.h>
#include <stdio.h>

/* A server answers TIME without being asked by its owner, up to this much beyond the output's
 * limit: the answers of a peer that asks without reading must not pile up. */
enum { TIME_REPLIES_BYTES_MAX = 65536 };

/* Bytes of a peer's frame. A client trusts the server it called with more once it has asked
 * something: schemas, results and entries are large. */
static size_t frame_bytes_max(const struct satchel_session *session)
{
    if (session->side == SATCHEL_SIDE_SERVER)
        return session->is_attached ? SATCHEL_FRAME_BYTES_MAX_PUSH : SATCHEL_FRAME_BYTES_MAX_EARLY;
    bool has_asked = session->request != REQUEST_NONE || session->has_joined;
    return session->is_attached || has_asked ? SATCHEL_FRAME_BYTES_MAX
                                             : SATCHEL_FRAME_BYTES_MAX_EARLY;
}

/* The session is over because of what the peer did. */
static enum satchel_status end(struct satchel_session *session, enum satchel_status status,
                               const char *text)
{
    return satchel_session_over(session, session->side == SATCHEL_SIDE_SERVER, status, text);
}

static enum satchel_status out_of_place(struct satchel_session *session,
                                        const struct satchel_message *message)
{
    char text[128];
    snprintf(text, sizeof text, "%s is not expected in this state of the session",
             satchel_message_layout((uint64_t)message->kind)->name);
    return end(session, SATCHEL_STATE, text);
}

static enum satchel_status surface(struct satchel_session *session)
{
    session->event_state = EVENT_WAITING;
    return SATCHEL_OK;
}

/* ---- what a server hears ---- */

static enum satchel_status take_time(struct satchel_session *session,
                                     const struct satchel_message_time *time,
                                     struct satchel_now now)
{
    struct satchel_message reply = {.kind = SATCHEL_MESSAGE_TIME_REPLY};
    if (session->output_bytes > session->output_bytes_max &&
        session->output_bytes - session->output_bytes_max > TIME_REPLIES_BYTES_MAX)
        return end(session, SATCHEL_LIMIT, "TIME is asked again and again, and no answer read");
    reply.time_reply.client_ms = time->client_ms;
    reply.time_reply.server_ms = now.utc_ms < 0 ? 0 : satchel_clock_clamp_ms(now.utc_ms);
    enum satchel_status status = satchel_session_queue(session, &reply);
    return status == SATCHEL_OK ? status : end(session, status, "no memory to answer TIME");
}

static enum satchel_status take_request(struct satchel_session *session,
                                        const struct satchel_message *message, enum request request)
{
    if (session->is_attached || session->request != REQUEST_NONE)
        return out_of_place(session, message);
    if (request == REQUEST_HELLO)
        session->device = message->hello.device;
    session->request = request;
    return surface(session);
}

static enum satchel_status take_push(struct satchel_session *session,
                                     const struct satchel_message *message)
{
    const struct satchel_message_push *push = &message->push;
    if (!session->is_attached)
        return out_of_place(session, message);
    if (push->items[0].number != session->last_number + 1) {
        char text[128];
        snprintf(text, sizeof text,
                 "PUSH begins with change set %" PRIu64 ", but %" PRIu64 " is the next",
                 push->items[0].number, session->last_number + 1);
        return end(session, SATCHEL_STATE, text);
    }
    session->last_number += push->item_count;
    return surface(session);
}

static enum satchel_status server_takes(struct satchel_session *session,
                                        const struct satchel_message *message,
                                        struct satchel_now now)
{
    switch (message->kind) {
    case SATCHEL_MESSAGE_TIME: return take_time(session, &message->time, now);
    case SATCHEL_MESSAGE_JOIN: return take_request(session, message, REQUEST_JOIN);
    case SATCHEL_MESSAGE_HELLO: return take_request(session, message, REQUEST_HELLO);
    case SATCHEL_MESSAGE_ADMIN: return take_request(session, message, REQUEST_ADMIN);
    case SATCHEL_MESSAGE_PUSH: return take_push(session, message);
    case SATCHEL_MESSAGE_FORWARD:
        if (session->is_attached)
            satchel_session_forwarded(session, &message->forward);
        return session->is_attached ? surface(session) : out_of_place(session, message);
    case SATCHEL_MESSAGE_COPY:
    case SATCHEL_MESSAGE_ROTATE:
    case SATCHEL_MESSAGE_ROWS_REQUEST:
    case SATCHEL_MESSAGE_RANGES_REQUEST:
    case SATCHEL_MESSAGE_SNAPSHOT_REQUEST:
    case SATCHEL_MESSAGE_PAST_REQUEST:
    case SATCHEL_MESSAGE_DIGEST_REQUEST:
    case SATCHEL_MESSAGE_WIPED:
        return session->is_attached ? surface(session) : out_of_place(session, message);
    default: return out_of_place(session, message);
    }
}

/* ---- what a client hears ---- */

static enum satchel_status take_time_reply(struct satchel_session *session,
                                           const struct satchel_message *message,
                                           struct satchel_now now)
{
    if (satchel_clock_is_measured(&session->clock) ||
        message->time_reply.client_ms != session->asked_ms)
        return out_of_place(session, message);
    if (!satchel_clock_take_reply(&session->clock, &message->time_reply, now))
        return end(session, SATCHEL_CORRUPT, "TIME_REPLY: the server's clock is out of range");
    enum satchel_status status = satchel_clock_is_measured(&session->clock)
                                     ? satchel_session_send_held(session)
                                     : satchel_session_ask_time(session, now);
    return status == SATCHEL_OK ? status : end(session, status, satchel_status_text(status));
}

static enum satchel_status take_answer(struct satchel_session *session,
                                       const struct satchel_message *message, enum request request)
{
    /* Nothing can answer what is still held for the clock. */
    if (session->request != request || session->held_request != REQUEST_NONE)
        return out_of_place(session, message);
    session->request = REQUEST_NONE;
    return surface(session);
}

static enum satchel_status take_welcome(struct satchel_session *session,
                                        const struct satchel_message *message)
{
    enum satchel_status status = take_answer(session, message, REQUEST_HELLO);
    if (status != SATCHEL_OK)
        return status;
    satchel_session_attach(session, &message->welcome);
    return SATCHEL_OK;
}

static enum satchel_status not_ascending(struct satchel_session *session, const char *name,
                                         uint64_t cursor)
{
    char text[128];
    snprintf(text, sizeof text, "%s: cursor %" PRIu64 " after %" PRIu64, name, cursor,
             session->last_cursor);
    return end(session, SATCHEL_STATE, text);
}

static enum satchel_status take_entries(struct satchel_session *session,
                                        const struct satchel_message *message)
{
    const struct satchel_message_entries *entries = &message->entries;
    if (!session->is_attached)
        return out_of_place(session, message);
    if (entries->entries[0].cursor <= session->last_cursor)
        return not_ascending(session, "ENTRIES", entries->entries[0].cursor);
    session->last_cursor = entries->entries[entries->entry_count - 1].cursor;
    return surface(session);
}

static enum satchel_status take_head(struct satchel_session *session,
                                     const struct satchel_message *message)
{
    if (!session->is_attached)
        return out_of_place(session, message);
    if (message->head.cursor < session->last_cursor)
        return not_ascending(session, "HEAD", message->head.cursor);
    session->last_cursor = message->head.cursor;
    return surface(session);
}

/* A change set that was never pushed must not be believed to be safe on the server. */
static enum satchel_status take_ack(struct satchel_session *session,
                                    const struct satchel_message *message)
{
    if (!session->is_attached)
        return out_of_place(session, message);
    if (message->ack.number > session->last_number) {
        char text[128];
        snprintf(text, sizeof text,
                 "ACK of change set %" PRIu64 ", but %" PRIu64 " is the last sent",
                 message->ack.number, session->last_number);
        return end(session, SATCHEL_STATE, text);
    }
    return surface(session);
}

static enum satchel_status client_takes(struct satchel_session *session,
                                        const struct satchel_message *message,
                                        struct satchel_now now)
{
    enum satchel_status status;
    switch (message->kind) {
    case SATCHEL_MESSAGE_TIME_REPLY: return take_time_reply(session, message, now);
    case SATCHEL_MESSAGE_JOINED:
        status = take_answer(session, message, REQUEST_JOIN);
        session->has_joined = session->has_joined || status == SATCHEL_OK;
        return status;
    case SATCHEL_MESSAGE_WELCOME: return take_welcome(session, message);
    case SATCHEL_MESSAGE_ADMIN_RESULT: return take_answer(session, message, REQUEST_ADMIN);
    case SATCHEL_MESSAGE_SCHEMA:
        return session->is_attached || session->has_joined ? surface(session)
                                                           : out_of_place(session, message);
    case SATCHEL_MESSAGE_ENTRIES: return take_entries(session, message);
    case SATCHEL_MESSAGE_HEAD: return take_head(session, message);
    case SATCHEL_MESSAGE_ACK: return take_ack(session, message);
    case SATCHEL_MESSAGE_COPIED:
    case SATCHEL_MESSAGE_ROTATED:
    case SATCHEL_MESSAGE_ROWS:
    case SATCHEL_MESSAGE_RANGES:
    case SATCHEL_MESSAGE_SNAPSHOT:
    case SATCHEL_MESSAGE_PAST:
    case SATCHEL_MESSAGE_SCOPE:
    case SATCHEL_MESSAGE_FORWARDED:
    case SATCHEL_MESSAGE_DIGESTS:
        return session->is_attached ? surface(session) : out_of_place(session, message);
    default: return out_of_place(session, message);
    }
}

/* ---- both ---- */

/* The peer has ended the session: its status, if this side knows it, and its words. */
static enum satchel_status take_error(struct satchel_session *session,
                                      const struct satchel_message_error *error)
{
    char text[SATCHEL_ERROR_BYTES];
    enum satchel_status status = SATCHEL_UNSUPPORTED;
    if (error->status == 0)
        status = SATCHEL_CORRUPT;
    else if (error->status <= SATCHEL_STATUS_LAST)
        status = (enum satchel_status)error->status;
    size_t size = error->text.size < sizeof text ? error->text.size : sizeof text - 1;
    for (size_t i = 0; i < size; i++)
        text[i] = error->text.data[i] < ' ' ? ' ' : (char)error->text.data[i];
    text[size] = '\0';
    session->event_state = EVENT_WAITING;
    return satchel_session_over(session, false, status, size ? text : satchel_status_text(status));
}

/* Whether a message of that kind can have its place here. One that cannot is not decoded: that
 * costs far more than sending it did. */
static bool may_be_heard(const struct satchel_session *session, uint64_t kind)
{
    if (kind == SATCHEL_MESSAGE_ERROR)
        return true;
    if (session->side == SATCHEL_SIDE_CLIENT)
        return kind >= SATCHEL_MESSAGE_TIME_REPLY;
    switch (kind) {
    case SATCHEL_MESSAGE_TIME:
    case SATCHEL_MESSAGE_JOIN:
    case SATCHEL_MESSAGE_HELLO:
    case SATCHEL_MESSAGE_ADMIN: return true;
    default: return kind < SATCHEL_MESSAGE_TIME_REPLY && session->is_attached;
    }
}

/* Reads the message into the event, or ends the session. */
static enum satchel_status read_message(struct satchel_session *session,
                                        struct satchel_span message)
{
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_cursor head = satchel_cursor_of(message);
    satchel_cursor_array(&head, MESSAGE_ARRAY_MAX);
    uint64_t kind = satchel_cursor_unsigned(&head, UINT64_MAX);
    const struct layout *layout = head.failed ? NULL : satchel_message_layout(kind);
    if (layout && !may_be_heard(session, kind)) {
        session->event.kind = layout->kind;
        return out_of_place(session, &session->event);
    }
    enum satchel_status status =
        satchel_message_read(message, &session->arena, &session->event, &error);
    return status == SATCHEL_OK ? status : end(session, status, error.message);
}

/* A whole frame has been assembled. */
static enum satchel_status take_frame(struct satchel_session *session, struct satchel_now now)
{
    struct satchel_span message;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    enum satchel_status status =
        satchel_frame_read(satchel_buffer_span(&session->frame), frame_bytes_max(session),
                           &session->message, &message, &error);
    if (status != SATCHEL_OK)
        return end(session, status, error.message);
    status = read_message(session, message);
    if (status != SATCHEL_OK)
        return status;
    if (session->event.kind == SATCHEL_MESSAGE_ERROR)
        return take_error(session, &session->event.error);
    return session->side == SATCHEL_SIDE_SERVER ? server_takes(session, &session->event, now)
                                                : client_takes(session, &session->event, now);
}

/* Adds bytes to the frame in hand. */
static enum satchel_status assemble(struct satchel_session *session, const void *bytes, size_t size)
{
    size_t bytes_max = frame_bytes_max(session);
    if (size > bytes_max || session->frame.size > bytes_max - size) {
        char text[96];
        snprintf(text, sizeof text, "frame: more than the limit of %zu bytes", bytes_max);
        return end(session, SATCHEL_LIMIT, text);
    }
    enum satchel_status status = satchel_buffer_append(&session->frame, bytes, size);
    return status == SATCHEL_OK ? status : end(session, status, "no memory for a frame");
}

enum satchel_status satchel_session_receive(struct satchel_session *session, const void *bytes,
                                            size_t size, bool is_last, struct satchel_now now)
{
    satchel_session_drop_taken(session);
    if (session->status != SATCHEL_OK)
        return session->status;
    if (session->event_state == EVENT_WAITING)
        return SATCHEL_STATE;
    if (session->event_state == EVENT_TAKEN)
        satchel_session_release(session);
    session->received_ms = now.monotonic_ms;

    enum satchel_status status = assemble(session, bytes, size);
    if (status == SATCHEL_OK && is_last)
        status = take_frame(session, now);
    if (session->event_state == EVENT_NONE && (is_last || status != SATCHEL_OK))
        satchel_session_release(session);
    return status;
}

bool satchel_session_next_event(struct satchel_session *session, struct satchel_message *event)
{
    satchel_session_drop_taken(session);
    if (session->event_state != EVENT_WAITING)
        return false;
    session->event_state = EVENT_TAKEN;
    *event = session->event;
    return true;
}
