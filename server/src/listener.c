/* Owns the libwebsockets context: connections, fragments, flow control, closing, plain HTTP. Knows
 * nothing of sessions and workspaces. The accepting socket is in acceptor.c. */
#include "listener.h"

#include "acceptor.h"
#include "logging.h"
#include "peer.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FRAGMENT_BYTES = 65536, /* of a message, per WebSocket frame sent */
    RECEIVE_BYTES = 4096,   /* each open connection keeps a buffer of this size */
    SERVICE_BYTES = 65536,  /* one per context */
    HANDSHAKE_SECONDS = 10, /* TLS and HTTP headers */
    FINISH_SECONDS = 5,     /* to take what is owed before a close */
    HTTP_BODY_BYTES_MAX = 65536,
    HTTP_HEADER_BYTES = 1024,
    PING_SECONDS = 55,  /* of silence before a ping ... */
    HANGUP_SECONDS = 65 /* ... and before giving the peer up */
};

struct satchel_listener {
    struct satchel_listener_handlers handlers;
    struct satchel_metrics *metrics;
    struct acceptor acceptor;
    struct lws_context *context;
    struct lws_vhost *vhost;
    lws_sorted_usec_list_t pulse;
    size_t connection_count;
    size_t unfinished_count;
    const char *path_prefix; /* without a slash at its end; "": none */
    bool is_proxy_trusted;
    uint8_t fragment[LWS_PRE + FRAGMENT_BYTES]; /* where short messages are made ready to send */
};

/* What libwebsockets keeps for each connection; all zero until the WebSocket is open. */
struct satchel_connection {
    struct satchel_listener *listener;
    struct lws *wsi;
    void *data;
    uint8_t *frame; /* a long message being sent, LWS_PRE bytes in front */
    size_t frame_size;
    size_t frame_sent;
    const char *reason;
    enum satchel_close_code code;
    char *forwarded; /* the address that a trusted proxy names; NULL: none */
    bool is_open;
    bool is_paused;
    bool is_finishing;
};

/* ---- sending ---- */

static int write_fragment(struct satchel_connection *connection, uint8_t *bytes, size_t size,
                          bool is_first, bool is_last)
{
    int flags = is_first ? LWS_WRITE_BINARY : LWS_WRITE_CONTINUATION;

    if (!is_last)
        flags |= LWS_WRITE_NO_FIN;
    if (lws_write(connection->wsi, bytes, size, (enum lws_write_protocol)flags) < 0)
        return -1;
    satchel_metric_add(connection->listener->metrics, SATCHEL_METRIC_BYTES_SENT, size);
    lws_callback_on_writable(connection->wsi);
    return 0;
}

static int write_next_piece(struct satchel_connection *connection)
{
    size_t left = connection->frame_size - connection->frame_sent;
    size_t size = left < FRAGMENT_BYTES ? left : FRAGMENT_BYTES;
    /* The LWS_PRE bytes that libwebsockets writes in front of a piece are of one already sent. */
    int result = write_fragment(connection, connection->frame + LWS_PRE + connection->frame_sent,
                                size, connection->frame_sent == 0, size == left);

    connection->frame_sent += size;
    if (connection->frame_sent == connection->frame_size) {
        free(connection->frame);
        connection->frame = NULL;
    }
    return result;
}

/* A short message goes at once from the common buffer, a long one gets a copy of its own: what
 * next_frame lends does not last until the next piece. */
static int begin_frame(struct satchel_connection *connection, struct satchel_span frame)
{
    if (frame.size <= FRAGMENT_BYTES) {
        uint8_t *bytes = connection->listener->fragment + LWS_PRE;
        memcpy(bytes, frame.data, frame.size);
        return write_fragment(connection, bytes, frame.size, true, true);
    }
    connection->frame = malloc(LWS_PRE + frame.size);
    if (!connection->frame) {
        satchel_log_error("out of memory for a message of %zu bytes: closing its connection",
                          frame.size);
        return -1;
    }
    memcpy(connection->frame + LWS_PRE, frame.data, frame.size);
    connection->frame_size = frame.size;
    connection->frame_sent = 0;
    return write_next_piece(connection);
}

static void set_finished(struct satchel_connection *connection)
{
    if (connection->is_open)
        connection->listener->unfinished_count--;
    connection->is_open = false;
}

/* The socket can take something: at most one write per call. */
static int on_writable(struct satchel_connection *connection)
{
    const struct satchel_listener_handlers *handlers = &connection->listener->handlers;
    struct satchel_span frame;

    if (connection->frame)
        return write_next_piece(connection);
    if (handlers->next_frame(connection->data, &frame))
        return begin_frame(connection, frame);
    if (connection->is_finishing) {
        lws_close_reason(connection->wsi, (enum lws_close_status)connection->code,
                         (unsigned char *)(uintptr_t)connection->reason,
                         strlen(connection->reason));
        set_finished(connection);
        return -1;
    }
    handlers->drained(connection->data);
    return 0;
}

/* ---- the life of a connection ---- */

/* Several such headers are given as one list (RFC 9110, 5.3). */
static char *forwarded_address(struct lws *wsi)
{
    char header[512], address[PEER_ADDRESS_BYTES];

    if (lws_hdr_copy(wsi, header, sizeof header, WSI_TOKEN_X_FORWARDED_FOR) <= 0 ||
        !peer_forwarded(header, address))
        return NULL;
    return strdup(address); /* without memory the proxy's own stays, too */
}

static int on_opened(struct satchel_connection *connection, struct lws *wsi)
{
    struct satchel_listener *listener = lws_context_user(lws_get_context(wsi));

    memset(connection, 0, sizeof *connection);
    connection->listener = listener;
    connection->wsi = wsi;
    if (listener->is_proxy_trusted)
        connection->forwarded = forwarded_address(wsi);
    connection->data = listener->handlers.opened(listener->handlers.context, connection);
    if (!connection->data) {
        free(connection->forwarded);
        connection->forwarded = NULL;
        return -1;
    }
    connection->is_open = true;
    listener->connection_count++;
    listener->unfinished_count++;
    satchel_metric_add(listener->metrics, SATCHEL_METRIC_CONNECTIONS, 1);
    satchel_metric_add(listener->metrics, SATCHEL_METRIC_CONNECTIONS_OPENED, 1);
    return 0;
}

static void on_closed(struct satchel_connection *connection)
{
    struct satchel_listener *listener = connection->listener;

    if (!connection->data)
        return;
    set_finished(connection);
    free(connection->frame);
    connection->frame = NULL;
    listener->handlers.closed(connection->data);
    connection->data = NULL;
    free(connection->forwarded);
    connection->forwarded = NULL;
    listener->connection_count--;
    satchel_metric_subtract(listener->metrics, SATCHEL_METRIC_CONNECTIONS, 1);
}

static int on_received(struct satchel_connection *connection, const void *bytes, size_t size)
{
    bool is_last = lws_is_final_fragment(connection->wsi) != 0;

    satchel_metric_add(connection->listener->metrics, SATCHEL_METRIC_BYTES_RECEIVED, size);
    if (connection->is_finishing)
        return 0;
    if (!lws_frame_is_binary(connection->wsi))
        satchel_connection_finish(connection, SATCHEL_CLOSE_UNACCEPTABLE,
                                  "only binary messages are spoken here");
    else
        connection->listener->handlers.received(connection->data, bytes, size, is_last);
    return 0;
}

void satchel_connection_want_write(struct satchel_connection *connection)
{
    if (connection->is_open)
        lws_callback_on_writable(connection->wsi);
}

void satchel_connection_pause(struct satchel_connection *connection, bool is_paused)
{
    if (connection->is_paused == is_paused || !connection->is_open)
        return;
    connection->is_paused = is_paused;
    lws_rx_flow_control(connection->wsi, !is_paused);
}

void satchel_connection_finish(struct satchel_connection *connection, enum satchel_close_code code,
                               const char *reason)
{
    if (connection->is_finishing || !connection->is_open)
        return;
    connection->is_finishing = true;
    connection->code = code;
    connection->reason = reason;
    /* Of a message that is too long no more is read: its sender blocks, and is cut off if it does
     * not heed the close. From others the answer to the close is awaited. */
    satchel_connection_pause(connection, code == SATCHEL_CLOSE_TOO_BIG);
    lws_set_timeout(connection->wsi, PENDING_TIMEOUT_USER_REASON_BASE, FINISH_SECONDS);
    lws_callback_on_writable(connection->wsi);
}

void satchel_connection_peer(const struct satchel_connection *connection, char *text, size_t room)
{
    peer_text(lws_get_socket_fd(connection->wsi), connection->forwarded, text, room);
}

struct satchel_id satchel_connection_address(const struct satchel_connection *connection)
{
    return peer_address(lws_get_socket_fd(connection->wsi), connection->forwarded);
}

/* ---- plain HTTP ---- */

static int answer_http(struct lws *wsi, unsigned int code, struct satchel_span body)
{
    static const char content_type[] = "text/plain; charset=utf-8";
    uint8_t *bytes = malloc(LWS_PRE + HTTP_HEADER_BYTES + body.size);
    int result = -1;

    if (!bytes)
        return -1;
    uint8_t *start = bytes + LWS_PRE;
    uint8_t *at = start;
    uint8_t *end = start + HTTP_HEADER_BYTES;
    if (lws_add_http_common_headers(wsi, code, content_type, body.size, &at, end) ||
        lws_finalize_http_header(wsi, &at, end))
        goto cleanup;
    memcpy(at, body.data, body.size);
    size_t size = (size_t)(at - start) + body.size;
    if (lws_write(wsi, start, size, LWS_WRITE_HTTP_HEADERS) < 0)
        goto cleanup;
    result = lws_http_transaction_completed(wsi) ? -1 : 0;
cleanup:
    free(bytes);
    return result;
}

/* A proxy may hand paths on with the prefix that it serves the server under, or without. */
static const char *without_prefix(const struct satchel_listener *listener, const char *path)
{
    size_t size = strlen(listener->path_prefix);

    return strncmp(path, listener->path_prefix, size) == 0 && path[size] == '/' ? path + size
                                                                                : path;
}

static int on_http(struct lws *wsi, const char *path)
{
    static const char not_found[] =
        "not found: this is satcheld; /healthz and /metrics answer here\n";
    static const char not_allowed[] = "only GET is answered here\n";
    struct satchel_listener *listener = lws_context_user(lws_get_context(wsi));
    struct satchel_buffer body;
    int result;

    if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) == 0) {
        (void)answer_http(wsi, HTTP_STATUS_METHOD_NOT_ALLOWED, satchel_span_text(not_allowed));
        return -1; /* the body of the request is not read */
    }
    satchel_buffer_init(&body, HTTP_BODY_BYTES_MAX, NULL);
    path = without_prefix(listener, path);
    switch (listener->handlers.get(listener->handlers.context, path, &body)) {
    case SATCHEL_OK: result = answer_http(wsi, HTTP_STATUS_OK, satchel_buffer_span(&body)); break;
    case SATCHEL_NOT_FOUND:
        result = answer_http(wsi, HTTP_STATUS_NOT_FOUND, satchel_span_text(not_found));
        break;
    default: result = -1;
    }
    satchel_buffer_deinit(&body);
    return result;
}

/* ---- libwebsockets ---- */

/* Not handled, so that libwebsockets does what it does by itself: everything else. Above all
 * CONFIRM_UPGRADE, which 4.1.6 uses after free. */
static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size)
{
    struct satchel_connection *connection = user;

    switch (reason) {
    case LWS_CALLBACK_HTTP: return on_http(wsi, in);
    case LWS_CALLBACK_ESTABLISHED: return on_opened(connection, wsi);
    case LWS_CALLBACK_RECEIVE: return connection->data ? on_received(connection, in, size) : -1;
    case LWS_CALLBACK_SERVER_WRITEABLE: return connection->is_open ? on_writable(connection) : 0;
    case LWS_CALLBACK_CLOSED: on_closed(connection); return 0;
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {"satchel", on_event, sizeof(struct satchel_connection), RECEIVE_BYTES, 0, NULL, 0},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

static const lws_retry_bo_t idle_policy = {
    .secs_since_valid_ping = PING_SECONDS,
    .secs_since_valid_hangup = HANGUP_SECONDS,
};

static void log_library_line(int level, const char *line)
{
    (void)level;
    satchel_log_warning("libwebsockets: %.*s", (int)strcspn(line, "\r\n"), line);
}

/* With a loop of ours, libwebsockets arms its one timer only when the loop is idle, and never for
 * an earlier moment than it is armed for: on a busy server its timeouts would come late or not at
 * all. One that fires every second, and schedules itself again, keeps it armed. */
static void on_pulse(lws_sorted_usec_list_t *pulse)
{
    struct satchel_listener *listener = lws_container_of(pulse, struct satchel_listener, pulse);

    lws_sul_schedule(listener->context, 0, pulse, on_pulse, LWS_USEC_PER_SEC);
}

static void on_accepted(void *context, int fd)
{
    struct satchel_listener *listener = context;

    /* It closes the socket itself if that fails. */
    (void)lws_adopt_socket_vhost(listener->vhost, fd);
}

static enum satchel_status check_readable(const char *option, const char *path,
                                          struct satchel_error *error)
{
    if (access(path, R_OK) == 0)
        return SATCHEL_OK;
    return satchel_error_set(error, SATCHEL_IO, "cannot read %s %s: %s", option, path,
                             strerror(errno));
}

static enum satchel_status make_context(struct satchel_listener *listener,
                                        const struct satchel_listener_options *options,
                                        struct satchel_error *error)
{
    struct lws_context_creation_info info;
    void *loops[1] = {options->loop};

    memset(&info, 0, sizeof info);
    info.options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    if (options->tls_cert) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = options->tls_cert;
        info.ssl_private_key_filepath = options->tls_key;
    }
    info.foreign_loops = loops;
    info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
    info.protocols = protocols;
    info.user = listener;
    info.pt_serv_buf_size = SERVICE_BYTES;
    info.timeout_secs = HANDSHAKE_SECONDS;
    info.timeout_secs_ah_idle = HANDSHAKE_SECONDS;
    info.retry_and_idle_policy = &idle_policy;
    info.alpn = "http/1.1";
    info.server_string = "satcheld";
    listener->context = lws_create_context(&info);
    if (!listener->context)
        return satchel_error_set(
            error, SATCHEL_IO,
            "libwebsockets does not start with its libev plugin: is the package "
            "libwebsockets-evlib-ev installed?");
    listener->vhost = lws_create_vhost(listener->context, &info);
    if (!listener->vhost)
        return satchel_error_set(error, SATCHEL_IO,
                                 options->tls_cert
                                     ? "the certificate %s and the key do not serve for "
                                       "TLS: see the line above"
                                     : "libwebsockets makes no virtual host%s",
                                 options->tls_cert ? options->tls_cert : "");
    return SATCHEL_OK;
}

enum satchel_status satchel_listener_new(struct satchel_listener **out,
                                         const struct satchel_listener_options *options,
                                         struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    struct satchel_listener *listener = calloc(1, sizeof *listener);

    *out = NULL;
    if (!listener)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    listener->handlers = options->handlers;
    listener->metrics = options->metrics;
    listener->path_prefix = options->path_prefix ? options->path_prefix : "";
    listener->is_proxy_trusted = options->is_proxy_trusted;
    lws_set_log_level(LLL_ERR, log_library_line);
    acceptor_init(&listener->acceptor, options->loop, options->metrics, on_accepted, listener);
    if (options->tls_cert)
        status = check_readable("--tls-cert", options->tls_cert, error);
    if (status == SATCHEL_OK && options->tls_key)
        status = check_readable("--tls-key", options->tls_key, error);
    if (status == SATCHEL_OK)
        status = acceptor_bind(&listener->acceptor, options->host, options->port,
                               options->tls_cert || options->is_insecure, error);
    if (status == SATCHEL_OK)
        status = make_context(listener, options, error);
    if (status != SATCHEL_OK) {
        satchel_listener_free(listener);
        return status;
    }
    on_pulse(&listener->pulse);
    lws_cancel_service(listener->context);
    *out = listener;
    return SATCHEL_OK;
}

void satchel_listener_free(struct satchel_listener *listener)
{
    if (!listener)
        return;
    acceptor_close(&listener->acceptor);
    lws_sul_cancel(&listener->pulse);
    if (listener->context)
        lws_context_destroy(listener->context);
    free(listener);
}

void satchel_listener_accept(struct satchel_listener *listener)
{
    acceptor_start(&listener->acceptor);
}

void satchel_listener_stop(struct satchel_listener *listener)
{
    acceptor_close(&listener->acceptor);
}

unsigned int satchel_listener_port(const struct satchel_listener *listener)
{
    return listener->acceptor.port;
}

size_t satchel_listener_unfinished_count(const struct satchel_listener *listener)
{
    return listener->unfinished_count;
}

size_t satchel_listener_connection_count(const struct satchel_listener *listener)
{
    return listener->connection_count;
}

#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

const char *satchel_listener_library_version(void)
{
    return TEXT(LWS_LIBRARY_VERSION_MAJOR) "." TEXT(LWS_LIBRARY_VERSION_MINOR) "." TEXT(
        LWS_LIBRARY_VERSION_PATCH);
}
