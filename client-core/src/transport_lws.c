/* Owns the WebSocket client: connecting, one session's frames in and out, the clock's ticks, the
 * close. Knows nothing of what the frames mean.
 *
 * Of libwebsockets 4.1.6: one write per WRITEABLE callback; a payload wants LWS_PRE bytes before
 * it, is masked in place and kept by the library if the socket is full; the poll loop waits for
 * events only, so a timer wakes it. */
#include "transport.h"

#include "pin_check.h"
#include "replica.h"
#include "watch.h"

#include <errno.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAGMENT_BYTES = 64 * 1024,
    WAKE_MS = 50,
    /* After a write that was noticed: a look after so long, then after half as long again, and so
     * on; the next write is noticed after REST_US. */
    LOOK_US = 250,
    REST_US = 70000,
    CONNECT_MS_MAX = 5000,
    CLOSE_MS_MAX = 1000,
    LATE_MS = 1000 /* after a longer step, what has come meanwhile is read before time passes */
};

struct transport {
    const struct satchel_transport_options *options;
    struct satchel_url url;
    char name[128]; /* the URL as errors show it: the caller's may change when the session attaches
                     */
    const struct satchel_clock *clock;
    struct satchel_pin_check pin_check;
    struct lws_context *context;
    struct lws *wsi;
    lws_sorted_usec_list_t timer;
    int watch, look;              /* -1: none */
    unsigned look_us, watched_us; /* the look's pause; since a write was noticed. 0: none was */
    bool is_connected, is_closed, is_closing, is_done;
    uint8_t *frame; /* LWS_PRE bytes, then the frame being sent */
    size_t frame_bytes, sent_bytes, frame_capacity;
    enum satchel_status status;
    struct satchel_error error;
};

/* ---- time ---- */

const struct satchel_clock *satchel_clock_or_system(const struct satchel_clock *clock)
{
    return clock ? clock : &satchel_clock_system;
}

struct satchel_now satchel_transport_now(const struct satchel_clock *clock)
{
    struct satchel_now now = {clock->utc_ms(clock->context), clock->monotonic_ms(clock->context)};
    return now;
}

/* Deadlines of the connection run on the system's clock: a test's clock may stand still. */
static int64_t elapsed_ms(void)
{
    return satchel_clock_system.monotonic_ms(NULL);
}

/* ---- the end ---- */

static void fail(struct transport *transport, enum satchel_status status, const char *words)
{
    if (transport->status != SATCHEL_OK)
        return;
    transport->status =
        satchel_error_set(&transport->error, status, "%s: %s", transport->name, words);
}

/* The session is over: its own words say why, unless that is how it was to end. */
static void fail_session(struct transport *transport)
{
    if (transport->status == SATCHEL_OK && !transport->is_done)
        transport->status = satchel_session_failed(transport->options->session, &transport->error);
}

static void step(struct transport *transport)
{
    if (transport->is_done || transport->status != SATCHEL_OK)
        return;
    transport->status = transport->options->step(transport->options->context,
                                                 satchel_transport_now(transport->clock),
                                                 &transport->is_done, &transport->error);
}

/* ---- writes that are noticed ---- */

/* A write that is noticed is looked for at once, and again: it is written before it is committed,
 * and a commit that takes long is not to wait for as long again. Where something was found, and at
 * the latest at the end, writes are not noticed for a while: an application that writes without a
 * pause is not to be synced to disk for each of its commits. */
static void look_after(struct transport *transport, unsigned us)
{
    unsigned left_us = REST_US - transport->watched_us;
    transport->look_us = us < left_us ? us : left_us;
    satchel_timer_set(transport->look, transport->look_us);
}

/* ---- out ---- */

static bool take_frame(struct transport *transport)
{
    struct satchel_span frame;
    if (!satchel_session_next_output(transport->options->session, &frame))
        return false;
    if (frame.size > transport->frame_capacity) {
        uint8_t *grown = satchel_alloc(NULL, LWS_PRE + frame.size);
        if (!grown) {
            fail(transport, SATCHEL_NOMEM, "no memory for a frame");
            return false;
        }
        satchel_free(NULL, transport->frame);
        transport->frame = grown;
        transport->frame_capacity = frame.size;
    }
    memcpy(transport->frame + LWS_PRE, frame.data, frame.size);
    transport->frame_bytes = frame.size;
    transport->sent_bytes = 0;
    return true;
}

/* One fragment of the frame in hand, or of the next one. */
static int write_some(struct transport *transport, struct lws *wsi)
{
    if (transport->frame_bytes == 0 && !take_frame(transport))
        return transport->status == SATCHEL_OK ? 0 : -1;
    size_t left = transport->frame_bytes - transport->sent_bytes;
    size_t size = left < FRAGMENT_BYTES ? left : FRAGMENT_BYTES;
    int flags = lws_write_ws_flags(LWS_WRITE_BINARY, transport->sent_bytes == 0, size == left);
    if (lws_write(wsi, transport->frame + LWS_PRE + transport->sent_bytes, size,
                  (enum lws_write_protocol)flags) < (int)size) {
        fail(transport, SATCHEL_NETWORK, "the connection was lost while sending");
        return -1;
    }
    transport->sent_bytes += size;
    if (transport->sent_bytes == transport->frame_bytes) {
        if (transport->options->count)
            transport->options->count(transport->options->context, transport->frame_bytes, 0);
        transport->frame_bytes = 0;
        if (transport->look_us > 0)
            look_after(transport, REST_US);
        step(transport);
    }
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_writable(struct transport *transport, struct lws *wsi)
{
    bool has_more =
        transport->frame_bytes > 0 || satchel_session_output_bytes(transport->options->session) > 0;
    if (transport->is_closing) {
        lws_close_reason(wsi,
                         transport->status == SATCHEL_OK ? LWS_CLOSE_STATUS_NORMAL
                                                         : LWS_CLOSE_STATUS_PROTOCOL_ERR,
                         NULL, 0);
        return -1;
    }
    return has_more ? write_some(transport, wsi) : 0;
}

/* ---- in ---- */

static int on_receive(struct transport *transport, struct lws *wsi, const void *bytes, size_t size)
{
    bool is_last = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
    if (transport->is_closing)
        return 0;
    if (!lws_frame_is_binary(wsi)) {
        fail(transport, SATCHEL_CORRUPT, "the server sent text; is this a Satchel server?");
        return 0;
    }
    if (transport->options->count)
        transport->options->count(transport->options->context, 0, size);
    enum satchel_status status = satchel_session_receive(
        transport->options->session, bytes, size, is_last, satchel_transport_now(transport->clock));
    if (is_last || status != SATCHEL_OK)
        step(transport); /* also when it is over: the server may have said why */
    if (status != SATCHEL_OK)
        fail_session(transport);
    if (satchel_session_output_bytes(transport->options->session) > 0)
        lws_callback_on_writable(wsi);
    return 0;
}

static bool has_pins(const struct transport *transport)
{
    return transport->options->pins && transport->options->pins->count > 0;
}

static void fail_pin(struct transport *transport)
{
    char shown[SATCHEL_PIN_TEXT_BYTES], words[256];
    satchel_pin_text(transport->pin_check.shown, shown);
    snprintf(words, sizeof words,
             "another server answers than the pinned one, and was told nothing: its pin is %s; if "
             "the server was given a new key, satchel sync --pin takes its pin",
             shown);
    fail(transport, SATCHEL_NETWORK, words);
}

/* The handshake has seen to it, unless libwebsockets made one that was not told of pins. */
static int check_pinned(struct transport *transport)
{
    if (!has_pins(transport) || transport->pin_check.is_matched)
        return 0;
    fail_pin(transport);
    return -1;
}

static void on_connect_failure(struct transport *transport, const char *reason, size_t size)
{
    char words[320];
    int shown = size < 160 ? (int)size : 160;
    transport->is_closed = true;
    if (transport->pin_check.is_shown && !transport->pin_check.is_matched) {
        fail_pin(transport);
        return;
    }
    snprintf(words, sizeof words, "cannot connect (%.*s); %s", shown > 0 ? shown : 9,
             shown > 0 ? reason : "no answer",
             !transport->url.is_secure ? "is satcheld running there?"
             : has_pins(transport)
                 ? "does satcheld speak TLS there?"
                 : "does satcheld speak TLS there, with a certificate that this system trusts?");
    fail(transport, SATCHEL_NETWORK, words);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size)
{
    struct transport *transport = user;
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS: /* `user` is the SSL_CTX */
        transport = lws_context_user(lws_get_context(wsi));
        if (has_pins(transport))
            satchel_pin_check_install(&transport->pin_check, user);
        return 0;
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: /* the first word to the server comes next */
        return check_pinned(transport);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        transport->is_connected = true;
        if (transport->options->was_connected)
            *transport->options->was_connected = true;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        on_connect_failure(transport, in, in ? size : 0);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE: return on_receive(transport, wsi, in, size);
    case LWS_CALLBACK_CLIENT_WRITEABLE: return on_writable(transport, wsi);
    case LWS_CALLBACK_CLIENT_CLOSED:
        transport->is_closed = true;
        if (!transport->is_closing)
            fail(transport, SATCHEL_NETWORK,
                 "the server closed the connection; sync again to go on (nothing is lost)");
        return 0;
    default: return 0;
    }
}

/* ---- the loop ---- */

static void wake(lws_sorted_usec_list_t *timer)
{
    struct transport *transport = lws_container_of(timer, struct transport, timer);
    lws_sul_schedule(transport->context, 0, timer, wake, WAKE_MS * LWS_US_PER_MS);
}

static int on_watched(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                      size_t size)
{
    struct transport *transport = lws_context_user(lws_get_context(wsi));
    (void)user, (void)in, (void)size;
    if (reason != LWS_CALLBACK_RAW_RX_FILE)
        return 0;
    satchel_watch_take(transport->watch);
    transport->watched_us = 0;
    look_after(transport, LOOK_US);
    return 0;
}

static int on_look(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t size)
{
    struct transport *transport = lws_context_user(lws_get_context(wsi));
    (void)user, (void)in, (void)size;
    if (reason != LWS_CALLBACK_RAW_RX_FILE)
        return 0;
    satchel_timer_take(transport->look);
    transport->watched_us += transport->look_us;
    if (transport->watched_us < REST_US) {
        look_after(transport, transport->look_us + transport->look_us / 2);
    } else {
        transport->look_us = 0;
        satchel_watch_arm(transport->watch, transport->options->watched);
    }
    return 0;
}

/* libwebsockets closes what it has adopted. */
static int adopt(struct transport *transport, int descriptor, const char *protocol)
{
    struct lws_vhost *host = lws_get_vhost_by_name(transport->context, "default");
    lws_sock_file_fd_type adopted = {.filefd = descriptor};
    if (descriptor < 0)
        return -1;
    if (host && lws_adopt_descriptor_vhost(host, LWS_ADOPT_RAW_FILE_DESC, adopted, protocol, NULL))
        return descriptor;
    close(descriptor);
    return -1;
}

static void watch(struct transport *transport)
{
    if (!transport->options->watched)
        return;
    transport->look = adopt(transport, satchel_timer_open(), "look");
    if (transport->look >= 0)
        transport->watch = adopt(transport, satchel_watch_open(), "watch");
    if (transport->watch >= 0)
        satchel_watch_arm(transport->watch, transport->options->watched);
}

static bool service(struct transport *transport)
{
    if (lws_service(transport->context, 0) >= 0)
        return true;
    fail(transport, SATCHEL_NETWORK, "the network loop failed");
    return false;
}

static void connect_to(struct transport *transport)
{
    static const struct lws_protocols PROTOCOLS[] = {
        {.name = "satchel", .callback = callback, .rx_buffer_size = FRAGMENT_BYTES},
        {.name = "watch", .callback = on_watched},
        {.name = "look", .callback = on_look},
        {.name = NULL}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = PROTOCOLS,
        .user = transport,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .pt_serv_buf_size = FRAGMENT_BYTES,
        .options = transport->url.is_secure ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0,
    };
    transport->context = lws_create_context(&info);
    if (!transport->context) {
        fail(transport, SATCHEL_NOMEM, "cannot set up the network");
        return;
    }
    struct lws_client_connect_info connect = {
        .context = transport->context,
        .address = transport->url.host,
        .port = transport->url.port,
        .path = transport->url.path,
        .host = transport->url.host,
        .origin = transport->url.host,
        .protocol = "satchel",
        .local_protocol_name = "satchel",
        .ssl_connection = transport->url.is_secure ? LCCSCF_USE_SSL : 0,
        .userdata = transport,
        .pwsi = &transport->wsi,
    };
    transport->watch = transport->look = -1;
    watch(transport);
    wake(&transport->timer);
    if (!lws_client_connect_via_info(&connect)) {
        /* The callback has said why, unless the host's name was not even looked up. */
        fail(transport, SATCHEL_NETWORK, "cannot connect; is satcheld running there?");
        transport->is_closed = true;
    }
}

static void wait_for_connection(struct transport *transport)
{
    int64_t deadline_ms = elapsed_ms() + CONNECT_MS_MAX;
    while (transport->status == SATCHEL_OK && !transport->is_connected && service(transport))
        if (elapsed_ms() > deadline_ms)
            fail(transport, SATCHEL_TIMEOUT, "no answer in 5 s; is satcheld running there?");
}

static bool is_stopped(const struct transport *transport)
{
    return transport->options->stop && transport->options->stop(transport->options->context);
}

static void run_session(struct transport *transport)
{
    struct satchel_session *session = transport->options->session;
    while (transport->status == SATCHEL_OK && !transport->is_done && !transport->is_closed &&
           !is_stopped(transport)) {
        int64_t began_ms = elapsed_ms();
        if (!service(transport))
            return;
        step(transport);
        /* A long step is not the server's silence. */
        if (elapsed_ms() - began_ms < LATE_MS &&
            satchel_session_tick(session, satchel_transport_now(transport->clock)) != SATCHEL_OK)
            fail_session(transport);
        if (!transport->is_closed && satchel_session_output_bytes(session) > 0)
            lws_callback_on_writable(transport->wsi);
    }
}

static void close_connection(struct transport *transport)
{
    int64_t deadline_ms = elapsed_ms() + CLOSE_MS_MAX;
    transport->is_closing = true;
    while (transport->is_connected && !transport->is_closed && elapsed_ms() < deadline_ms) {
        lws_callback_on_writable(transport->wsi);
        if (!service(transport))
            return;
    }
}

/* ---- SIGPIPE: a library must neither be killed by it nor change what the application does with it
 * ---- */

struct signals {
    sigset_t mask;
    struct sigaction action;
    bool was_pending;
};

static void hold_sigpipe(struct signals *signals)
{
    sigset_t pipe, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    signals->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &signals->mask);
    sigaction(SIGPIPE, NULL, &signals->action);
}

static void release_sigpipe(const struct signals *signals)
{
    static const struct timespec AT_ONCE = {0, 0};
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (!signals->was_pending)
        while (sigtimedwait(&pipe, NULL, &AT_ONCE) == -1 && errno == EINTR)
            continue;
    sigaction(SIGPIPE, &signals->action, NULL); /* libwebsockets has set its own */
    pthread_sigmask(SIG_SETMASK, &signals->mask, NULL);
}

enum satchel_status satchel_transport_run(const struct satchel_transport_options *options,
                                          struct satchel_error *error)
{
    struct transport *transport = satchel_alloc_zero(NULL, sizeof *transport);
    struct signals signals;
    if (!transport)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to connect");
    transport->options = options;
    transport->clock = satchel_clock_or_system(options->clock);
    enum satchel_status status = satchel_url_parse(&transport->url, options->url, error);
    if (status == SATCHEL_OK && has_pins(transport) && !transport->url.is_secure)
        status =
            satchel_error_set(error, SATCHEL_INVALID,
                              "%s: a pin wants a server that speaks TLS (wss://)", options->url);
    if (status != SATCHEL_OK)
        goto cleanup;
    transport->pin_check.pins = options->pins;
    snprintf(transport->name, sizeof transport->name, "%s", options->url);
    hold_sigpipe(&signals);
    lws_set_log_level(0, NULL);
    connect_to(transport);
    wait_for_connection(transport);
    run_session(transport);
    close_connection(transport);
    if (transport->context) {
        transport->is_closing = true; /* destroying it calls back */
        lws_sul_cancel(&transport->timer);
        lws_context_destroy(transport->context);
    }
    release_sigpipe(&signals);
    status = transport->status;
    if (status != SATCHEL_OK && error)
        *error = transport->error;
cleanup:
    satchel_free(NULL, transport->frame);
    satchel_free(NULL, transport);
    return status;
}
