/* Owns the life of a session: birth, the passing of time, failure, death. What arrives is in
 * session_input.c, what is said in session_output.c. */
#include "session_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    OUTPUT_BYTES_MAX_DEFAULT = 1 << 20,
    ARENA_BYTES_MAX = 1 << 28, /* some of the arrays of the largest message are larger than it */
    KEPT_BYTES_MAX = 256       /* capacity of a buffer that an idle session keeps */
};

enum satchel_status satchel_session_new(struct satchel_session **out,
                                        const struct satchel_session_options *options,
                                        struct satchel_now now)
{
    *out = NULL;
    if (!options || options->size < sizeof *options ||
        (options->side != SATCHEL_SIDE_CLIENT && options->side != SATCHEL_SIDE_SERVER) ||
        options->silence_ms_max < 0)
        return SATCHEL_INVALID;
    struct satchel_session *session = satchel_alloc_zero(options->allocator, sizeof *session);
    if (!session)
        return SATCHEL_NOMEM;
    session->allocator = options->allocator;
    session->side = options->side;
    session->output_bytes_max =
        options->output_bytes_max ? options->output_bytes_max : OUTPUT_BYTES_MAX_DEFAULT;
    session->silence_ms_max = options->silence_ms_max;
    session->received_ms = now.monotonic_ms;
    satchel_buffer_init(&session->held, SATCHEL_FRAME_BYTES_MAX_EARLY, session->allocator);
    satchel_buffer_init(&session->frame, SATCHEL_FRAME_BYTES_MAX, session->allocator);
    satchel_buffer_init(&session->message, SATCHEL_FRAME_BYTES_MAX, session->allocator);
    satchel_arena_init(&session->arena, ARENA_BYTES_MAX, session->allocator);
    if (session->side == SATCHEL_SIDE_CLIENT) {
        enum satchel_status status = satchel_session_ask_time(session, now);
        if (status != SATCHEL_OK) {
            satchel_session_free(session);
            return status;
        }
    }
    *out = session;
    return SATCHEL_OK;
}

void satchel_session_free(struct satchel_session *session)
{
    if (!session)
        return;
    satchel_session_drop_output(session);
    satchel_buffer_deinit(&session->held);
    satchel_buffer_deinit(&session->frame);
    satchel_buffer_deinit(&session->message);
    satchel_arena_deinit(&session->arena);
    satchel_free(session->allocator, session->text);
    satchel_free(session->allocator, session);
}

static void shrink(struct satchel_buffer *buffer)
{
    satchel_buffer_clear(buffer);
    if (buffer->capacity > KEPT_BYTES_MAX)
        satchel_buffer_deinit(buffer);
}

void satchel_session_release(struct satchel_session *session)
{
    session->event_state = EVENT_NONE;
    shrink(&session->frame);
    shrink(&session->message);
    satchel_arena_deinit(&session->arena);
}

/* ---- the end ---- */

enum satchel_status satchel_session_over(struct satchel_session *session, bool tell_peer,
                                         enum satchel_status status, const char *text)
{
    if (session->status != SATCHEL_OK)
        return session->status;
    session->status = status;
    struct satchel_span words = satchel_span_text(text);
    if (words.size >= SATCHEL_ERROR_BYTES)
        words.size = SATCHEL_ERROR_BYTES - 1;
    session->text = satchel_alloc(session->allocator, words.size + 1);
    if (session->text) {
        memcpy(session->text, words.data, words.size);
        session->text[words.size] = '\0';
    }
    if (tell_peer) {
        struct satchel_message message = {.kind = SATCHEL_MESSAGE_ERROR};
        message.error.status = (uint64_t)status;
        message.error.text = words;
        /* Without memory the peer sees the connection close, which is all that can be done. */
        enum satchel_status ignored = satchel_session_queue(session, &message);
        (void)ignored;
    }
    return status;
}

void satchel_session_fail(struct satchel_session *session, enum satchel_status status,
                          const char *text)
{
    satchel_session_drop_taken(session);
    if (status == SATCHEL_OK)
        status = SATCHEL_INVALID;
    satchel_session_over(session, session->side == SATCHEL_SIDE_SERVER, status,
                         text && *text ? text : satchel_status_text(status));
}

enum satchel_status satchel_session_failed(const struct satchel_session *session,
                                           struct satchel_error *error)
{
    if (session->status != SATCHEL_OK)
        return satchel_error_set(error, session->status, "%s",
                                 session->text ? session->text
                                               : satchel_status_text(session->status));
    return SATCHEL_OK;
}

/* ---- time and state ---- */

enum satchel_status satchel_session_tick(struct satchel_session *session, struct satchel_now now)
{
    satchel_session_drop_taken(session);
    if (session->event_state == EVENT_TAKEN)
        satchel_session_release(session);
    if (session->status != SATCHEL_OK)
        return session->status;
    if (session->silence_ms_max == 0 || now.monotonic_ms <= session->received_ms ||
        now.monotonic_ms - session->received_ms <= session->silence_ms_max)
        return SATCHEL_OK;
    char text[96];
    snprintf(text, sizeof text, "nothing from the peer for %" PRId64 " s: the connection is lost",
             (now.monotonic_ms - session->received_ms) / 1000);
    return satchel_session_over(session, session->side == SATCHEL_SIDE_SERVER, SATCHEL_TIMEOUT,
                                text);
}

bool satchel_session_clock(const struct satchel_session *session, struct satchel_clock_sample *out)
{
    if (session->side != SATCHEL_SIDE_CLIENT || !satchel_clock_is_measured(&session->clock))
        return false;
    *out = session->clock.best;
    return true;
}

void satchel_session_attach(struct satchel_session *session,
                            const struct satchel_message_welcome *welcome)
{
    session->is_attached = true;
    session->last_number = welcome->last_number;
    session->last_cursor = welcome->cursor;
}

void satchel_session_forwarded(struct satchel_session *session,
                               const struct satchel_message_forward *forward)
{
    for (uint32_t i = 0; i < forward->entry_count; i++)
        if (satchel_id_equal(&forward->entries[i].device, &session->device) &&
            forward->entries[i].number == session->last_number + 1)
            session->last_number++;
}

bool satchel_session_is_attached(const struct satchel_session *session)
{
    return session->is_attached;
}
