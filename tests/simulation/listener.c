/* Owns the server's side of connections: what server/src/listener.c does over libwebsockets, over
 * the simulated network. */
#include "simulation.h"

#include "hub_internal.h"

#include <stdlib.h>

void sim_server_disconnect(struct satchel_connection *connection);
void sim_read_again(struct satchel_connection *connection);

static struct satchel_listener_handlers handlers(void)
{
    return satchel_hub_handlers(sim.server.hub);
}

void sim_listener_open(struct satchel_connection *connection)
{
    struct sim_process *before = sim_enter(&sim.server.process);
    connection->is_open = true;
    connection->server_faults = sim.server.process.faults_met;
    connection->data = handlers().opened(sim.server.hub, connection);
    sim_leave(before);
    sim_trace("connection %u of %s", connection->number, connection->device->name);
    if (!connection->data) { /* out of memory */
        connection->is_open = false;
        sim_server_disconnect(connection);
    }
}

size_t sim_listener_receive(struct satchel_connection *connection, const void *bytes, size_t size,
                            bool is_last)
{
    if (!connection->is_open || connection->is_finishing || !sim.server.is_up ||
        sim.server.process.is_dead)
        return size;
    struct sim_process *before = sim_enter(&sim.server.process);
    handlers().received(connection->data, bytes, size, is_last);
    sim_leave(before);
    return size;
}

void sim_listener_close(struct satchel_connection *connection)
{
    if (!connection->is_open)
        return;
    connection->is_open = false;
    sim_server_note_promise(connection->data);
    struct sim_process *before = sim_enter(&sim.server.process);
    handlers().closed(connection->data);
    sim_leave(before);
    connection->data = NULL;
}

static void write_some(struct satchel_connection *connection)
{
    struct satchel_span frame;
    if (sim_pipe_room(&connection->down) == 0)
        return; /* when there is room again */
    if (handlers().next_frame(connection->data, &frame)) {
        sim_check_frame(connection, frame);
        (void)sim_send(connection, false, frame); /* into the void, if it is cut */
        satchel_connection_want_write(connection);
    } else if (connection->is_finishing) {
        sim_server_disconnect(connection);
    } else {
        sim_frames_drained(connection);
        handlers().drained(connection->data);
    }
}

static void on_writable(void *context, uint64_t unused)
{
    struct satchel_connection *connection = context;
    (void)unused;
    connection->is_write_scheduled = false;
    if (!connection->is_open || !sim.server.is_up || sim.server.process.is_dead)
        return;
    struct sim_process *before = sim_enter(&sim.server.process);
    write_some(connection);
    sim_leave(before);
}

/* ---- what the hub calls ---- */

void satchel_connection_want_write(struct satchel_connection *connection)
{
    if (connection->is_write_scheduled || !connection->is_open)
        return;
    connection->is_write_scheduled = true;
    sim_after(sim_one_in(SIM_NETWORK, 8), on_writable, connection, 0);
}

void satchel_connection_pause(struct satchel_connection *connection, bool is_paused)
{
    bool was_paused = connection->is_paused;
    connection->is_paused = is_paused;
    if (was_paused && !is_paused)
        sim_read_again(connection);
}

void satchel_connection_finish(struct satchel_connection *connection, enum satchel_close_code code,
                               const char *reason)
{
    if (connection->is_finishing || !connection->is_open)
        return;
    sim_trace("the server ends connection %u: %d %s", connection->number, (int)code, reason);
    connection->is_finishing = true;
    connection->is_paused = false;
    satchel_connection_want_write(connection);
}

struct satchel_id satchel_connection_address(const struct satchel_connection *connection)
{
    (void)connection;
    return (struct satchel_id){{127}};
}

void satchel_connection_peer(const struct satchel_connection *connection, char *text, size_t room)
{
    snprintf(text, room, "connection %u", connection->number);
}
