/* satcheld: puts the parts together, says ready, runs the loop, ends it. */
#include "certificate.h"
#include "data_directory.h"
#include "hub.h"
#include "listener.h"
#include "logging.h"
#include "metrics.h"
#include "options.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    EXIT_ARGUMENTS = 2,
    BURST_SECONDS = 5,
    STOP_TICKS_MAX = 30, /* of a tenth of a second: then connections are cut */
    STOP_TICKS_AFTER = 2 /* for the last close frames to leave */
};

struct server {
    struct ev_loop *loop;
    struct satchel_data_directory directory;
    struct satchel_metrics metrics;
    struct satchel_login_key *login_key; /* NULL: no JWTs */
    struct satchel_hub *hub;
    struct satchel_listener *listener;
    ev_signal on_terminate;
    ev_signal on_interrupt;
    ev_timer stop;
    int stop_ticks;
    int finished_ticks;
};

/* ---- the end ---- */

/* The loop ends when everybody has been told to go, or has had the time. */
static void on_stop_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct server *server = timer->data;

    (void)events;
    server->stop_ticks++;
    if (satchel_listener_unfinished_count(server->listener) == 0)
        server->finished_ticks++;
    if (satchel_listener_connection_count(server->listener) == 0 ||
        server->finished_ticks >= STOP_TICKS_AFTER || server->stop_ticks >= STOP_TICKS_MAX)
        ev_break(loop, EVBREAK_ALL);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    struct server *server = watcher->data;

    (void)events;
    if (ev_is_active(&server->stop))
        return;
    satchel_log_info("%s: stopping", watcher->signum == SIGINT ? "SIGINT" : "SIGTERM");
    satchel_listener_stop(server->listener);
    satchel_hub_stop(server->hub);
    ev_timer_start(loop, &server->stop);
}

/* ---- the beginning ---- */

static void say_pin(const char *tls_cert)
{
    char pin[CERTIFICATE_PIN_BYTES];
    struct satchel_error error = {0};

    if (certificate_pin(tls_cert, pin, &error) == SATCHEL_OK)
        satchel_log_info("the certificate's public key is pinned by satchel join --pin %s", pin);
    else
        satchel_log_warning("no pin can be named: %s", error.message);
}

static void say_version(const struct server *server, const struct satchel_server_options *options)
{
    satchel_log_info("satcheld %s, SQLite %s, libwebsockets %s, data directory %s",
                     SATCHELD_VERSION, sqlite3_libversion(), satchel_listener_library_version(),
                     options->data_directory);
    if (options->tls_cert)
        say_pin(options->tls_cert);
    if (server->login_key)
        satchel_log_info("JWTs signed with %s let devices join, --jwt-key %s",
                         satchel_login_key_algorithm(server->login_key), options->jwt_key);
}

static void watch_signals(struct server *server)
{
    ev_signal_init(&server->on_terminate, on_signal, SIGTERM);
    ev_signal_init(&server->on_interrupt, on_signal, SIGINT);
    ev_timer_init(&server->stop, on_stop_tick, 0., 0.1);
    server->on_terminate.data = server->on_interrupt.data = server->stop.data = server;
    ev_signal_start(server->loop, &server->on_terminate);
    ev_signal_start(server->loop, &server->on_interrupt);
}

static enum satchel_status say_ready(const struct server *server,
                                     const struct satchel_server_options *options,
                                     struct satchel_error *error)
{
    bool is_address_6 = strchr(options->host, ':') != NULL;

    if (printf("satcheld ready %s://%s%s%s:%u\n", options->tls_cert ? "wss" : "ws",
               is_address_6 ? "[" : "", options->host, is_address_6 ? "]" : "",
               satchel_listener_port(server->listener)) < 0 ||
        fflush(stdout) != 0)
        return satchel_error_set(error, SATCHEL_IO, "cannot write to standard output: %s",
                                 strerror(errno));
    return SATCHEL_OK;
}

static struct rate_limit limit_of(int64_t per_second)
{
    return (struct rate_limit){.per_second = per_second, .burst = per_second * BURST_SECONDS};
}

static enum satchel_status start(struct server *server,
                                 const struct satchel_server_options *options,
                                 struct satchel_error *error)
{
    enum satchel_status status =
        satchel_data_directory_open(&server->directory, options->data_directory, error);
    if (status != SATCHEL_OK)
        return status;
    if (options->jwt_key)
        status = satchel_login_key_load(&server->login_key, options->jwt_key, error);
    if (status != SATCHEL_OK)
        return status;
    server->loop = ev_default_loop(EVFLAG_AUTO);
    if (!server->loop)
        return satchel_error_set(error, SATCHEL_IO, "libev finds no way to wait for events");
    struct satchel_hub_options hub_options = {.loop = server->loop,
                                              .directory = &server->directory,
                                              .metrics = &server->metrics,
                                              .login_key = server->login_key};
    hub_options.rate_limits[HUB_RATE_BYTES] = limit_of(options->rate_bytes);
    hub_options.rate_limits[HUB_RATE_MESSAGES] = limit_of(options->rate_messages);
    hub_options.rate_limits[HUB_RATE_CHANGE_SETS] = limit_of(options->rate_change_sets);
    hub_options.snapshot_entries = (uint64_t)options->snapshot_entries;
    status = satchel_hub_new(&server->hub, &hub_options, error);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_listener_options listener_options = {
        .loop = server->loop,
        .host = options->host,
        .port = options->port,
        .tls_cert = options->tls_cert,
        .tls_key = options->tls_key,
        .is_insecure = options->is_insecure,
        .path_prefix = options->path_prefix,
        .is_proxy_trusted = options->is_proxy_trusted,
        .metrics = &server->metrics,
        .handlers = satchel_hub_handlers(server->hub),
    };
    status = satchel_listener_new(&server->listener, &listener_options, error);
    if (status != SATCHEL_OK)
        return status;
    say_version(server, options); /* a refused start leaves only its reason on standard error */
    status = satchel_hub_open_workspaces(server->hub, error);
    if (status != SATCHEL_OK)
        return status;
    watch_signals(server);
    satchel_listener_accept(server->listener);
    return say_ready(server, options, error);
}

static int serve(const struct satchel_server_options *options)
{
    struct satchel_error error = {0};
    struct server *server = calloc(1, sizeof *server);
    enum satchel_status status;

    if (!server || sodium_init() < 0) {
        free(server);
        fprintf(stderr, "satcheld: out of memory or of randomness\n");
        return EXIT_FAILURE;
    }
    server->directory.lock_fd = -1;
    status = start(server, options, &error);
    if (status == SATCHEL_OK)
        (void)ev_run(server->loop, 0);
    else
        fprintf(stderr, "satcheld: %s\n", error.message);
    satchel_listener_free(server->listener);
    satchel_hub_free(server->hub);
    satchel_login_key_free(server->login_key);
    if (server->loop)
        ev_loop_destroy(server->loop);
    if (status == SATCHEL_OK)
        satchel_log_info("stopped");
    satchel_data_directory_close(&server->directory);
    free(server);
    return status == SATCHEL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct satchel_server_options options;
    struct satchel_error error = {0};

    if (satchel_server_options_parse(&options, argc, argv, &error) != SATCHEL_OK) {
        fprintf(stderr, "satcheld: %s (satcheld --help shows the arguments)\n", error.message);
        return EXIT_ARGUMENTS;
    }
    if (options.is_help) {
        fputs(satchel_server_usage, stdout);
        return EXIT_SUCCESS;
    }
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
    return serve(&options);
}
