/* Owns connections: what is on its way, when it arrives, and how it ends. Frames travel in a stream
 * with their length before them, and arrive in pieces. */
#include "simulation.h"

#include "listener.h"

#include <stdlib.h>
#include <string.h>

enum { PIPE_BYTES_MAX = 128 << 10, HALF_OPEN_MS_MAX = 60000 };

static unsigned next_number;

static struct sim_machine *server_machine(void)
{
    return &sim.server.machine;
}

/* ---- arrival ---- */

static int64_t partitioned_until(const struct satchel_connection *connection)
{
    int64_t device = connection->device_machine->partitioned_until_ms;
    int64_t server = server_machine()->partitioned_until_ms;
    return device > server ? device : server;
}

static struct sim_pipe *pipe_of(struct satchel_connection *connection, bool is_up)
{
    return is_up ? &connection->up : &connection->down;
}

static void on_arrival(void *context, uint64_t is_up);

static void schedule(struct satchel_connection *connection, bool is_up)
{
    struct sim_pipe *pipe = pipe_of(connection, is_up);
    if (pipe->is_scheduled || pipe->segment_count == 0)
        return;
    pipe->is_scheduled = true;
    sim_at(pipe->segments[0].at_ms, on_arrival, connection, is_up);
}

static void give(struct satchel_connection *connection, bool is_up, const void *bytes, size_t size,
                 bool is_last)
{
    if (is_up) {
        (void)sim_listener_receive(connection, bytes, size, is_last);
    } else if (connection->device && !connection->device->is_dead) {
        connection->device_receive(connection->device_context, bytes, size, is_last);
    }
}

/* A run of bytes: lengths are taken off, what belongs to frames is handed on. */
static void take_bytes(struct satchel_connection *connection, bool is_up, const uint8_t *bytes,
                       size_t size)
{
    struct sim_pipe *pipe = pipe_of(connection, is_up);
    while (size > 0) {
        if (pipe->frame_left == 0) {
            pipe->header[pipe->header_bytes++] = *bytes++;
            size--;
            if (pipe->header_bytes == 4) {
                uint32_t length;
                memcpy(&length, pipe->header, 4);
                pipe->frame_left = length;
                pipe->header_bytes = 0;
            }
            continue;
        }
        size_t run = size < pipe->frame_left ? size : pipe->frame_left;
        pipe->frame_left -= run;
        give(connection, is_up, bytes, run, pipe->frame_left == 0);
        bytes += run;
        size -= run;
    }
}

static void drop_first(struct sim_pipe *pipe, size_t size)
{
    struct sim_segment *first = &pipe->segments[0];
    memmove(pipe->bytes, pipe->bytes + size, pipe->size - size);
    pipe->size -= size;
    first->size -= size;
    if (first->size == 0)
        memmove(first, first + 1, --pipe->segment_count * sizeof *first);
}

static void on_arrival(void *context, uint64_t is_up)
{
    struct satchel_connection *connection = context;
    struct sim_pipe *pipe = pipe_of(connection, is_up != 0);
    int64_t until_ms = partitioned_until(connection);
    pipe->is_scheduled = false;
    if (pipe->segment_count == 0)
        return;
    if (!connection->is_cut && until_ms > sim.now_ms) {
        pipe->is_scheduled = true; /* it is sent again and again meanwhile */
        sim_at(until_ms + 1 + sim_below(SIM_NETWORK, 400), on_arrival, connection, is_up);
        return;
    }
    if (is_up && connection->is_paused)
        return; /* goes on when the server reads again */
    size_t size = pipe->segments[0].size;
    if (sim_one_in(SIM_NETWORK, 3))
        size = 1 + sim_below(SIM_NETWORK, (unsigned)size);
    uint8_t *bytes = sim_alloc(NULL, size);
    memcpy(bytes, pipe->bytes, size);
    drop_first(pipe, size);
    sim_mix(bytes, size);
    if (connection->is_cut)
        sim.counts.late_bytes += size;
    take_bytes(connection, is_up != 0, bytes, size);
    free(bytes);
    schedule(connection, is_up != 0);
    if (!is_up && connection->is_open && !connection->is_write_scheduled)
        satchel_connection_want_write(connection); /* there may be room again */
    if (is_up && connection->device_wait)
        sim_wake(connection->device_wait, 0);
}

/* ---- sending ---- */

size_t sim_pipe_room(const struct sim_pipe *pipe)
{
    return pipe->size < PIPE_BYTES_MAX ? PIPE_BYTES_MAX - pipe->size : 0;
}

static int64_t arrival_ms(const struct satchel_connection *connection, const struct sim_pipe *pipe,
                          size_t size)
{
    unsigned rate = connection->is_slow ? 2 : sim.options.bytes_per_ms;
    int64_t at_ms = sim.now_ms + 1 + sim_skewed(SIM_NETWORK, sim.options.latency_ms) +
                    (int64_t)(size / (rate ? rate : 1));
    if (connection->is_slow)
        at_ms += sim_below(SIM_NETWORK, 800);
    int64_t last_ms = pipe->segment_count > 0 ? pipe->segments[pipe->segment_count - 1].at_ms : 0;
    return at_ms > last_ms ? at_ms : last_ms;
}

bool sim_send(struct satchel_connection *connection, bool is_up, struct satchel_span frame)
{
    struct sim_pipe *pipe = pipe_of(connection, is_up);
    uint32_t length = (uint32_t)frame.size;
    if (pipe->is_closed)
        return false;
    int64_t at_ms = arrival_ms(connection, pipe, frame.size);
    if (pipe->size + 4 + frame.size > pipe->capacity) {
        pipe->capacity = (pipe->size + 4 + frame.size) * 2;
        pipe->bytes = sim_alloc(pipe->bytes, pipe->capacity);
    }
    memcpy(pipe->bytes + pipe->size, &length, 4);
    memcpy(pipe->bytes + pipe->size + 4, frame.data, frame.size);
    pipe->size += 4 + frame.size;
    SIM_GROW(pipe->segments, pipe->segment_count, pipe->segment_capacity);
    pipe->segments[pipe->segment_count++] = (struct sim_segment){at_ms, 4 + frame.size};
    sim.counts.frames++;
    schedule(connection, is_up);
    return true;
}

/* ---- beginning and end ---- */

static void on_server_reached(void *context, uint64_t unused)
{
    struct satchel_connection *connection = context;
    (void)unused;
    if (connection->is_cut || connection->device_closed)
        return;
    if (partitioned_until(connection) > sim.now_ms) {
        sim_at(partitioned_until(connection) + 1, on_server_reached, connection, 0);
        return;
    }
    /* There is no hub where there was no memory for one. */
    if (sim.server.is_up && sim.server.hub && !sim.server.is_stopping) {
        connection->is_connected = true;
        sim_listener_open(connection);
    } else {
        connection->is_refused = true;
        sim.counts.connects_refused++;
    }
    sim_wake(connection->device_wait, 1 + sim_skewed(SIM_NETWORK, sim.options.latency_ms));
}

struct satchel_connection *sim_connect(struct sim_process *process,
                                       void (*receive)(void *context, const void *bytes,
                                                       size_t size, bool is_last),
                                       void *context)
{
    struct satchel_connection *connection = sim_alloc(NULL, sizeof *connection);
    memset(connection, 0, sizeof *connection);
    connection->number = ++next_number;
    connection->device = process;
    connection->device_machine = process->machine;
    connection->device_wait = connection;
    connection->device_receive = receive;
    connection->device_context = context;
    connection->is_slow = sim.machine_is_slow[process->machine->index];
    connection->next = sim.connections;
    sim.connections = connection;
    sim_after(1 + sim_skewed(SIM_NETWORK, sim.options.latency_ms), on_server_reached, connection,
              0);
    return connection;
}

static void on_server_notices(void *context, uint64_t unused)
{
    struct satchel_connection *connection = context;
    (void)unused;
    if (connection->up.segment_count > 0 && !connection->is_paused &&
        sim.server.is_up) { /* first what has come before */
        sim_after(1, on_server_notices, connection, 0);
        return;
    }
    if (!connection->server_closed) {
        connection->server_closed = true;
        sim_listener_close(connection);
    }
}

static void on_device_notices(void *context, uint64_t unused)
{
    struct satchel_connection *connection = context;
    (void)unused;
    connection->device_closed = true;
    if (connection->device_wait)
        sim_wake(connection->device_wait, 0);
}

static void shorten(struct sim_pipe *pipe)
{
    size_t kept =
        sim_one_in(SIM_NETWORK, 2) ? pipe->size : sim_below(SIM_NETWORK, (unsigned)pipe->size + 1);
    size_t at = 0;
    sim.counts.cuts_in_a_frame += kept < pipe->size;
    for (size_t i = 0; i < pipe->segment_count; i++) {
        struct sim_segment *segment = &pipe->segments[i];
        if (at + segment->size > kept)
            segment->size = kept - at;
        at += segment->size;
        if (segment->size == 0) {
            pipe->segment_count = i;
            break;
        }
    }
    pipe->size = kept;
    pipe->is_closed = true;
}

void sim_cut(struct satchel_connection *connection)
{
    if (connection->is_cut)
        return;
    unsigned server_ms = sim_one_in(SIM_NETWORK, 3) ? sim_below(SIM_NETWORK, HALF_OPEN_MS_MAX)
                                                    : sim_below(SIM_NETWORK, 500);
    bool is_silent = sim_one_in(SIM_NETWORK, 4);
    sim_trace("connection %u is cut, %zu bytes up and %zu down on their way", connection->number,
              connection->up.size, connection->down.size);
    connection->is_cut = true;
    sim.counts.cuts++;
    sim.counts.half_open += server_ms > 5000 || is_silent;
    shorten(&connection->up);
    shorten(&connection->down);
    sim_after(server_ms, on_server_notices, connection, 0);
    if (!is_silent) /* else its own patience ends it */
        sim_after(sim_below(SIM_NETWORK, 500), on_device_notices, connection, 0);
}

void sim_cut_all(const struct sim_machine *machine)
{
    for (struct satchel_connection *c = sim.connections; c; c = c->next) {
        if (c->is_cut || (machine != &sim.server.machine && c->device_machine != machine))
            continue;
        sim_cut(c);
        if (machine == &sim.server.machine) {
            c->up.segment_count = 0;
            c->up.size = 0;
        }
    }
}

void sim_disconnect(struct satchel_connection *connection)
{
    connection->device = NULL;
    connection->device_wait = NULL;
    connection->device_closed = true;
    if (connection->is_cut)
        return;
    connection->is_cut = connection->up.is_closed = connection->down.is_closed = true;
    sim_after(1 + sim_skewed(SIM_NETWORK, sim.options.latency_ms), on_server_notices, connection,
              0);
}

/* The server has closed its side: what it had sent still arrives. */
static void on_device_drained(void *context, uint64_t unused)
{
    struct satchel_connection *connection = context;
    (void)unused;
    if (connection->down.segment_count > 0 && connection->device)
        sim_after(1, on_device_drained, connection, 0);
    else
        on_device_notices(connection, 0);
}

void sim_server_disconnect(struct satchel_connection *connection);
void sim_server_disconnect(struct satchel_connection *connection)
{
    if (!connection->is_cut) {
        connection->is_cut = connection->up.is_closed = connection->down.is_closed = true;
        connection->up.segment_count = 0;
        connection->up.size = 0;
        sim_after(1, on_device_drained, connection, 0);
    }
    if (!connection->server_closed) {
        connection->server_closed = true;
        sim_listener_close(connection);
    }
}

struct satchel_connection *sim_some_connection(void)
{
    unsigned count = 0;
    for (const struct satchel_connection *c = sim.connections; c; c = c->next)
        count += c->is_connected && !c->is_cut;
    unsigned chosen = sim_below(SIM_FAULTS, count);
    for (struct satchel_connection *c = sim.connections; c; c = c->next)
        if (c->is_connected && !c->is_cut && chosen-- == 0)
            return c;
    return NULL;
}

void sim_read_again(struct satchel_connection *connection);
void sim_read_again(struct satchel_connection *connection)
{
    schedule(connection, true);
}
