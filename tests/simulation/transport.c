/* Owns the device's side of connections: satchel_transport_run over the simulated network, in the
 * place of libwebsockets (client-core/src/transport_lws.c). */
#include "simulation.h"

#include "../../client-core/src/replica.h"
#include "../../client-core/src/transport.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS_MAX = 5000, LATE_MS = 1000 };

struct piece {
    struct piece *next;
    size_t size;
    bool is_last;
    uint8_t bytes[];
};
struct transport {
    const struct satchel_transport_options *options;
    const struct satchel_clock *clock;
    struct sim_process *process;
    struct satchel_connection *connection;
    struct piece *first, *last; /* arrived, not read */
    bool is_done;
    enum satchel_status status;
    struct satchel_error error;
};

const struct satchel_clock *satchel_clock_or_system(const struct satchel_clock *clock)
{
    return clock ? clock : &satchel_clock_system;
}

struct satchel_now satchel_transport_now(const struct satchel_clock *clock)
{
    return (struct satchel_now){clock->utc_ms(clock->context), clock->monotonic_ms(clock->context)};
}

static void on_bytes(void *context, const void *bytes, size_t size, bool is_last)
{
    struct transport *transport = context;
    struct piece *piece = sim_alloc(NULL, sizeof *piece + size);
    *piece = (struct piece){NULL, size, is_last};
    memcpy(piece->bytes, bytes, size);
    if (transport->last)
        transport->last->next = piece;
    else
        transport->first = piece;
    transport->last = piece;
    sim_wake(transport->connection, 0);
}

static struct piece *take_piece(struct transport *transport)
{
    struct piece *piece = transport->first;
    if (piece) {
        transport->first = piece->next;
        if (!transport->first)
            transport->last = NULL;
    }
    return piece;
}

static void fail(struct transport *transport, enum satchel_status status, const char *words)
{
    if (transport->status == SATCHEL_OK)
        transport->status = satchel_error_set(&transport->error, status, "%s", words);
}

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

static void connect_to_server(struct transport *transport)
{
    const struct satchel_connection *connection = transport->connection;
    int64_t deadline_ms = sim.now_ms + CONNECT_MS_MAX;
    while (!connection->is_connected && !connection->is_refused && !connection->device_closed &&
           sim.now_ms < deadline_ms && !transport->process->is_dead)
        sim_wait(connection, deadline_ms - sim.now_ms);
    if (connection->is_refused || connection->device_closed || transport->process->is_dead)
        fail(transport, SATCHEL_NETWORK, "cannot connect");
    else if (!connection->is_connected)
        fail(transport, SATCHEL_TIMEOUT, "no answer in 5 s");
}

static void receive_all(struct transport *transport)
{
    struct piece *piece;
    while (transport->status == SATCHEL_OK && !transport->is_done &&
           (piece = take_piece(transport)) != NULL) {
        enum satchel_status status =
            satchel_session_receive(transport->options->session, piece->bytes, piece->size,
                                    piece->is_last, satchel_transport_now(transport->clock));
        if (piece->is_last || status != SATCHEL_OK)
            step(transport);
        if (status != SATCHEL_OK)
            fail_session(transport);
        free(piece);
    }
}

static void send_some(struct transport *transport)
{
    struct satchel_span frame;
    while (transport->status == SATCHEL_OK && sim_pipe_room(&transport->connection->up) > 0 &&
           satchel_session_next_output(transport->options->session, &frame)) {
        sim_note_frame(transport->connection, frame);
        (void)sim_send(transport->connection, true, frame); /* into the void, if it is cut */
        step(transport);
    }
}

static bool is_over(const struct transport *transport)
{
    return transport->status != SATCHEL_OK || transport->is_done || transport->process->is_dead ||
           (transport->options->stop && transport->options->stop(transport->options->context));
}

static void run_session(struct transport *transport)
{
    while (!is_over(transport)) {
        if (transport->connection->device_closed && !transport->first) {
            fail(transport, SATCHEL_NETWORK, "the server closed the connection");
            return;
        }
        if (!transport->first)
            sim_wait(transport->connection, sim.options.wake_ms);
        int64_t began_ms = sim.now_ms;
        receive_all(transport);
        step(transport);
        if (sim.now_ms - began_ms < LATE_MS &&
            satchel_session_tick(transport->options->session,
                                 satchel_transport_now(transport->clock)) != SATCHEL_OK)
            fail_session(transport);
        send_some(transport);
    }
}

enum satchel_status satchel_transport_run(const struct satchel_transport_options *options,
                                          struct satchel_error *error)
{
    struct transport transport = {
        .options = options, .clock = options->clock, .process = sim.process};
    transport.connection = sim_connect(sim.process, on_bytes, &transport);
    connect_to_server(&transport);
    run_session(&transport);
    transport.process->was_server_at_fault =
        sim.server.process.faults_met != transport.connection->server_faults;
    sim_disconnect(transport.connection);
    while (transport.first)
        free(take_piece(&transport));
    if (transport.status != SATCHEL_OK && error)
        *error = transport.error;
    return transport.status;
}
