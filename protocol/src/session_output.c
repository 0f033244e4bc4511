/* Owns what a session says: which message may be said when, the queue of frames, the requests that
 * wait for the clock. */
#include "session_internal.h"

/* ---- frames for many ---- */

enum satchel_status satchel_frame_new(struct satchel_frame **out,
                                      const struct satchel_message_entries *entries)
{
    const struct satchel_message message = {.kind = SATCHEL_MESSAGE_ENTRIES, .entries = *entries};
    struct satchel_buffer bytes, frame;
    satchel_buffer_init(&bytes, SATCHEL_FRAME_BYTES_MAX - 1, NULL);
    satchel_buffer_init(&frame, SATCHEL_FRAME_BYTES_MAX, NULL);
    *out = NULL;
    enum satchel_status status = entries->entry_count > 0 ? SATCHEL_OK : SATCHEL_INVALID;
    if (status == SATCHEL_OK)
        status = satchel_message_write(&bytes, &message);
    if (status == SATCHEL_OK)
        status = satchel_frame_write(&frame, satchel_buffer_span(&bytes));
    if (status == SATCHEL_OK)
        *out = satchel_alloc(NULL, sizeof **out + frame.size);
    if (*out) {
        atomic_init(&(*out)->holders, 1);
        (*out)->first_cursor = entries->entries[0].cursor;
        (*out)->last_cursor = entries->entries[entries->entry_count - 1].cursor;
        (*out)->size = frame.size;
        memcpy((*out)->bytes, frame.data, frame.size);
    }
    satchel_buffer_deinit(&bytes);
    satchel_buffer_deinit(&frame);
    return status == SATCHEL_OK && !*out ? SATCHEL_NOMEM : status;
}

struct satchel_frame *satchel_frame_hold(struct satchel_frame *frame)
{
    atomic_fetch_add(&frame->holders, 1);
    return frame;
}

void satchel_frame_release(struct satchel_frame *frame)
{
    if (frame && atomic_fetch_sub(&frame->holders, 1) == 1)
        satchel_free(NULL, frame);
}

/* ---- the queue ---- */

static void drop(struct satchel_session *session, struct output *output)
{
    if (!output)
        return;
    satchel_frame_release(output->shared);
    satchel_free(session->allocator, output);
}

void satchel_session_drop_taken(struct satchel_session *session)
{
    drop(session, session->taken);
    session->taken = NULL;
}

void satchel_session_drop_output(struct satchel_session *session)
{
    satchel_session_drop_taken(session);
    while (session->first) {
        struct output *next = session->first->next;
        drop(session, session->first);
        session->first = next;
    }
    session->last = NULL;
    session->output_bytes = 0;
}

/* Of `size` bytes; `own_size` of them are to be written behind it. NULL: no memory. */
static struct output *add_output(struct satchel_session *session, size_t size, size_t own_size)
{
    struct output *output = satchel_alloc(session->allocator, sizeof *output + own_size);
    if (!output)
        return NULL;
    *output = (struct output){.size = size};
    if (session->last)
        session->last->next = output;
    else
        session->first = output;
    session->last = output;
    session->output_bytes += size;
    return output;
}

/* The peer's limit on what it will take now. */
static size_t frame_bytes_max(const struct satchel_session *session)
{
    if (session->side == SATCHEL_SIDE_SERVER)
        return SATCHEL_FRAME_BYTES_MAX;
    return session->is_attached ? SATCHEL_FRAME_BYTES_MAX_PUSH : SATCHEL_FRAME_BYTES_MAX_EARLY;
}

static enum satchel_status queue_bytes(struct satchel_session *session, struct satchel_span message)
{
    struct satchel_buffer frame;
    size_t bytes_max = frame_bytes_max(session);
    if (message.size > bytes_max - 1)
        return SATCHEL_LIMIT;
    satchel_buffer_init(&frame, bytes_max, session->allocator);
    enum satchel_status status = satchel_frame_write(&frame, message);
    if (status == SATCHEL_OK) {
        struct output *output = add_output(session, frame.size, frame.size);
        if (output)
            memcpy(output->bytes, frame.data, frame.size);
        else
            status = SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&frame);
    return status;
}

enum satchel_status satchel_session_queue(struct satchel_session *session,
                                          const struct satchel_message *message)
{
    struct satchel_buffer bytes;
    satchel_buffer_init(&bytes, frame_bytes_max(session), session->allocator);
    enum satchel_status status = satchel_message_write(&bytes, message);
    if (status == SATCHEL_OK)
        status = queue_bytes(session, satchel_buffer_span(&bytes));
    satchel_buffer_deinit(&bytes);
    return status;
}

bool satchel_session_next_output(struct satchel_session *session, struct satchel_span *frame)
{
    satchel_session_drop_taken(session);
    struct output *output = session->first;
    if (!output)
        return false;
    session->first = output->next;
    if (!session->first)
        session->last = NULL;
    session->output_bytes -= output->size;
    session->taken = output;
    *frame = satchel_span_of(output->shared ? output->shared->bytes : output->bytes, output->size);
    return true;
}

size_t satchel_session_output_bytes(const struct satchel_session *session)
{
    return session->output_bytes;
}

/* ---- the client's requests ---- */

enum satchel_status satchel_session_ask_time(struct satchel_session *session,
                                             struct satchel_now now)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_TIME};
    message.time.client_ms = now.monotonic_ms;
    session->asked_ms = now.monotonic_ms;
    return satchel_session_queue(session, &message);
}

static enum request request_of(enum satchel_message_kind kind)
{
    switch (kind) {
    case SATCHEL_MESSAGE_JOIN: return REQUEST_JOIN;
    case SATCHEL_MESSAGE_HELLO: return REQUEST_HELLO;
    case SATCHEL_MESSAGE_ADMIN: return REQUEST_ADMIN;
    default: return REQUEST_NONE;
    }
}

/* A request now, with the clock's error in a HELLO. */
static enum satchel_status send_request(struct satchel_session *session,
                                        const struct satchel_message *message)
{
    struct satchel_message stamped = *message;
    if (message->kind == SATCHEL_MESSAGE_HELLO) {
        stamped.hello.clock_error_ms = satchel_clock_error_ms(&session->clock);
        session->device = message->hello.device;
    }
    return satchel_session_queue(session, &stamped);
}

enum satchel_status satchel_session_send_held(struct satchel_session *session)
{
    struct satchel_arena arena;
    struct satchel_message message;
    if (session->held_request == REQUEST_NONE)
        return SATCHEL_OK;
    satchel_arena_init(&arena, SATCHEL_FRAME_BYTES_MAX_EARLY, session->allocator);
    enum satchel_status status =
        satchel_message_read(satchel_buffer_span(&session->held), &arena, &message, NULL);
    if (status == SATCHEL_OK)
        status = send_request(session, &message);
    satchel_arena_deinit(&arena);
    satchel_buffer_deinit(&session->held);
    session->held_request = REQUEST_NONE;
    return status;
}

/* Before the clock is measured the caller's message is kept as bytes: what it borrows may go away.
 */
static enum satchel_status hold(struct satchel_session *session,
                                const struct satchel_message *message)
{
    enum satchel_status status = satchel_message_write(&session->held, message);
    if (status == SATCHEL_OK)
        session->held_request = request_of(message->kind);
    else
        satchel_buffer_deinit(&session->held);
    return status;
}

static enum satchel_status send_from_client(struct satchel_session *session,
                                            const struct satchel_message *message)
{
    enum satchel_status status;
    switch (message->kind) {
    case SATCHEL_MESSAGE_JOIN:
    case SATCHEL_MESSAGE_HELLO:
    case SATCHEL_MESSAGE_ADMIN:
        if (session->is_attached || session->request != REQUEST_NONE)
            return SATCHEL_STATE;
        status = satchel_clock_is_measured(&session->clock) ? send_request(session, message)
                                                            : hold(session, message);
        if (status == SATCHEL_OK)
            session->request = request_of(message->kind);
        return status;
    case SATCHEL_MESSAGE_PUSH:
        if (!session->is_attached)
            return SATCHEL_STATE;
        if (message->push.item_count == 0 ||
            message->push.items[0].number != session->last_number + 1)
            return SATCHEL_INVALID;
        status = satchel_session_queue(session, message);
        if (status == SATCHEL_OK)
            session->last_number += message->push.item_count;
        return status;
    case SATCHEL_MESSAGE_FORWARD:
        if (!session->is_attached)
            return SATCHEL_STATE;
        status = satchel_session_queue(session, message);
        if (status == SATCHEL_OK)
            satchel_session_forwarded(session, &message->forward);
        return status;
    case SATCHEL_MESSAGE_COPY:
    case SATCHEL_MESSAGE_ROTATE:
    case SATCHEL_MESSAGE_ROWS_REQUEST:
    case SATCHEL_MESSAGE_RANGES_REQUEST:
    case SATCHEL_MESSAGE_SNAPSHOT_REQUEST:
    case SATCHEL_MESSAGE_PAST_REQUEST:
    case SATCHEL_MESSAGE_DIGEST_REQUEST:
    case SATCHEL_MESSAGE_WIPED:
        return session->is_attached ? satchel_session_queue(session, message) : SATCHEL_STATE;
    default: return SATCHEL_STATE;
    }
}

/* ---- the server's answers ---- */

static enum satchel_status send_answer(struct satchel_session *session,
                                       const struct satchel_message *message, enum request request)
{
    if (session->request != request)
        return SATCHEL_STATE;
    enum satchel_status status = satchel_session_queue(session, message);
    if (status == SATCHEL_OK)
        session->request = REQUEST_NONE;
    return status;
}

static enum satchel_status send_welcome(struct satchel_session *session,
                                        const struct satchel_message *message)
{
    enum satchel_status status = send_answer(session, message, REQUEST_HELLO);
    if (status != SATCHEL_OK)
        return status;
    satchel_session_attach(session, &message->welcome);
    return SATCHEL_OK;
}

static enum satchel_status send_entries(struct satchel_session *session,
                                        const struct satchel_message *message)
{
    const struct satchel_message_entries *entries = &message->entries;
    if (entries->entry_count == 0 || entries->entries[0].cursor <= session->last_cursor)
        return SATCHEL_INVALID;
    enum satchel_status status = satchel_session_queue(session, message);
    if (status == SATCHEL_OK)
        session->last_cursor = entries->entries[entries->entry_count - 1].cursor;
    return status;
}

static enum satchel_status send_head(struct satchel_session *session,
                                     const struct satchel_message *message)
{
    if (message->head.cursor < session->last_cursor)
        return SATCHEL_INVALID;
    enum satchel_status status = satchel_session_queue(session, message);
    if (status == SATCHEL_OK)
        session->last_cursor = message->head.cursor;
    return status;
}

static enum satchel_status send_from_server(struct satchel_session *session,
                                            const struct satchel_message *message)
{
    enum satchel_status status;
    switch (message->kind) {
    case SATCHEL_MESSAGE_JOINED:
        status = send_answer(session, message, REQUEST_JOIN);
        session->has_joined = session->has_joined || status == SATCHEL_OK;
        return status;
    case SATCHEL_MESSAGE_WELCOME: return send_welcome(session, message);
    case SATCHEL_MESSAGE_ADMIN_RESULT: return send_answer(session, message, REQUEST_ADMIN);
    case SATCHEL_MESSAGE_SCHEMA:
        return session->is_attached || session->has_joined ? satchel_session_queue(session, message)
                                                           : SATCHEL_STATE;
    case SATCHEL_MESSAGE_ENTRIES:
        return session->is_attached ? send_entries(session, message) : SATCHEL_STATE;
    case SATCHEL_MESSAGE_HEAD:
        return session->is_attached ? send_head(session, message) : SATCHEL_STATE;
    case SATCHEL_MESSAGE_ACK:
    case SATCHEL_MESSAGE_COPIED:
    case SATCHEL_MESSAGE_ROTATED:
    case SATCHEL_MESSAGE_ROWS:
    case SATCHEL_MESSAGE_RANGES:
    case SATCHEL_MESSAGE_SNAPSHOT:
    case SATCHEL_MESSAGE_PAST:
    case SATCHEL_MESSAGE_SCOPE:
    case SATCHEL_MESSAGE_FORWARDED:
    case SATCHEL_MESSAGE_DIGESTS:
        return session->is_attached ? satchel_session_queue(session, message) : SATCHEL_STATE;
    default: return SATCHEL_STATE;
    }
}

/* An ERROR that the owner says itself ends the session as satchel_session_fail does. */
static enum satchel_status send_error(struct satchel_session *session,
                                      const struct satchel_message *message)
{
    enum satchel_status status = satchel_session_queue(session, message);
    if (status != SATCHEL_OK)
        return status;
    uint64_t code = message->error.status;
    struct satchel_span words = message->error.text;
    char text[SATCHEL_ERROR_BYTES];
    size_t size = words.size < sizeof text ? words.size : sizeof text - 1;
    if (size)
        memcpy(text, words.data, size);
    text[size] = '\0';
    satchel_session_over(session, false,
                         code != 0 && code <= SATCHEL_STATUS_LAST ? (enum satchel_status)code
                                                                  : SATCHEL_INVALID,
                         text);
    return SATCHEL_OK;
}

enum satchel_status satchel_session_send(struct satchel_session *session,
                                         const struct satchel_message *message)
{
    satchel_session_drop_taken(session);
    if (session->status != SATCHEL_OK)
        return SATCHEL_STATE;
    if (message->kind == SATCHEL_MESSAGE_ERROR)
        return send_error(session, message);
    if (session->output_bytes > session->output_bytes_max)
        return SATCHEL_BUSY;
    return session->side == SATCHEL_SIDE_CLIENT ? send_from_client(session, message)
                                                : send_from_server(session, message);
}

enum satchel_status satchel_session_send_frame(struct satchel_session *session,
                                               struct satchel_frame *frame)
{
    satchel_session_drop_taken(session);
    if (session->status != SATCHEL_OK || session->side != SATCHEL_SIDE_SERVER ||
        !session->is_attached)
        return SATCHEL_STATE;
    if (session->output_bytes > session->output_bytes_max)
        return SATCHEL_BUSY;
    if (frame->first_cursor <= session->last_cursor)
        return SATCHEL_INVALID;
    struct output *output = add_output(session, frame->size, 0);
    if (!output)
        return SATCHEL_NOMEM;
    output->shared = satchel_frame_hold(frame);
    session->last_cursor = frame->last_cursor;
    return SATCHEL_OK;
}
