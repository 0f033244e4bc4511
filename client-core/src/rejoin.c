/* Owns how a replica comes in again whose token the server does not know any more: its file was put
 * back or copied before the token was replaced. An invite or a JWT of its user gives it another; it
 * stays the device that it was, with everything in it. */
#include "sync.h"
#include "transport.h"

#include <sodium.h>

struct rejoin {
    struct satchel_replica *replica;
    struct satchel_session *session;
    uint8_t token[SATCHEL_TOKEN_BYTES]; /* the next one */
    bool is_done;
};

static struct satchel_span span_of_text(const char *text)
{
    return satchel_span_text(text ? text : "");
}

static enum satchel_status take_joined(struct rejoin *rejoin,
                                       const struct satchel_message_joined *joined,
                                       struct satchel_error *error)
{
    const struct satchel_replica *replica = rejoin->replica;
    if (!satchel_id_equal(&joined->workspace, &replica->workspace_id))
        return satchel_error_set(error, SATCHEL_MISMATCH,
                                 "%s belongs to another workspace than the one called %s there",
                                 replica->path, replica->workspace);
    enum satchel_status status = satchel_token_take(replica->db, rejoin->token, &joined->receipt,
                                                    joined->token_number, error);
    rejoin->is_done = status == SATCHEL_OK;
    return status;
}

static enum satchel_status step(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error)
{
    struct rejoin *rejoin = context;
    struct satchel_message message;
    enum satchel_status status = SATCHEL_OK;
    (void)now;
    while (status == SATCHEL_OK && satchel_session_next_event(rejoin->session, &message))
        if (message.kind == SATCHEL_MESSAGE_JOINED) /* the schema behind it comes with the sync */
            status = take_joined(rejoin, &message.joined, error);
    if (status == SATCHEL_OK && !rejoin->is_done)
        status = satchel_session_failed(rejoin->session, error);
    *is_done = rejoin->is_done;
    return status;
}

/* In the file for good before the server hears of it. */
static enum satchel_status make_token(struct rejoin *rejoin, struct satchel_error *error)
{
    struct satchel_replica *replica = rejoin->replica;
    enum satchel_status status =
        satchel_replica_execute(replica->db, "PRAGMA synchronous=FULL", error);
    if (status == SATCHEL_OK)
        status = satchel_token_next(replica->db, rejoin->token, error);
    return status;
}

static enum satchel_status begin(struct rejoin *rejoin, const struct satchel_join_options *options,
                                 struct satchel_error *error)
{
    const struct satchel_session_options session = {.size = sizeof session,
                                                    .side = SATCHEL_SIDE_CLIENT,
                                                    .silence_ms_max = SATCHEL_SILENCE_MS_MAX};
    const struct satchel_replica *replica = rejoin->replica;
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_JOIN};
    message.join.protocol = SATCHEL_PROTOCOL_VERSION;
    message.join.workspace = span_of_text(replica->workspace);
    message.join.invite = span_of_text(options->invite);
    message.join.jwt = span_of_text(options->jwt);
    message.join.device = replica->device;
    message.join.token = satchel_span_of(rejoin->token, sizeof rejoin->token);
    enum satchel_status status =
        satchel_session_new(&rejoin->session, &session, satchel_transport_now(&replica->clock));
    if (status == SATCHEL_OK)
        status = satchel_session_send(rejoin->session, &message);
    return status == SATCHEL_OK ? status
                                : satchel_error_set(error, status, "cannot ask to join: %s",
                                                    satchel_status_text(status));
}

static enum satchel_status run(struct rejoin *rejoin, const struct satchel_join_options *options,
                               struct satchel_error *error)
{
    struct satchel_pins pins = rejoin->replica->pins;
    enum satchel_status status =
        options->pin ? satchel_pins_parse(&pins, options->pin, error) : SATCHEL_OK;
    if (status == SATCHEL_OK)
        status = make_token(rejoin, error);
    if (status == SATCHEL_OK)
        status = begin(rejoin, options, error);
    if (status != SATCHEL_OK)
        return status;
    const struct satchel_transport_options transport = {
        .url = rejoin->replica->server,
        .pins = &pins,
        .session = rejoin->session,
        .clock = &rejoin->replica->clock,
        .context = rejoin,
        .step = step,
    };
    return satchel_transport_run(&transport, error);
}

enum satchel_status satchel_rejoin(const char *path, const struct satchel_join_options *options,
                                   struct satchel_error *error)
{
    struct rejoin rejoin = {0};
    if (!options || options->size < sizeof *options || options->server || options->workspace)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "the replica knows its server and workspace: only an invite or a "
                                 "JWT is needed");
    enum satchel_status status = satchel_join_check_proof(options, error);
    if (status != SATCHEL_OK)
        return status;
    const struct satchel_open_options open = {.size = sizeof open, .clock = options->clock};
    status = satchel_replica_open(&rejoin.replica, path, &open, error);
    if (status == SATCHEL_OK)
        status = run(&rejoin, options, error);
    satchel_session_free(rejoin.session);
    satchel_replica_close(rejoin.replica);
    sodium_memzero(rejoin.token, sizeof rejoin.token);
    return status;
}
