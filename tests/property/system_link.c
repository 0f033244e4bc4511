/* Owns the connection between a device and the server: frames in both directions, one at a time,
 * and what is lost of them. */
#include "system_world.h"

void system_link_open(struct system_device *device)
{
    struct system_world *world = device->world;
    struct system_link *link = &device->link;
    struct satchel_error error = {0};
    const struct satchel_sync_options options = {
        .size = sizeof options, .watch = true, .clock = &device->clock};
    if (link->replica)
        return;
    system_trace(world, "%u connects", device->index);
    link->is_done = false;
    link->replica = system_open_replica(device);
    system_ok(
        world,
        satchel_sync_new(&link->sync, link->replica, &options, system_device_now(device), &error),
        "begin a sync", &error);
    system_peer_open(world, &link->peer);
}

static void end(struct system_world *world, struct system_link *link)
{
    if (!link->replica)
        return;
    satchel_sync_free(link->sync);
    satchel_replica_close(link->replica);
    system_peer_close(world, &link->peer);
    memset(link, 0, sizeof *link);
}

void system_link_close(struct system_device *device)
{
    end(device->world, &device->link);
    end(device->world, &device->parked);
}

void system_link_swap(struct system_device *device)
{
    struct system_link link = device->link;
    device->link = device->parked;
    device->parked = link;
}

/* A session that is to begin again, because of the replica's other sync, does so as with
 * satchel_sync_run. */
static void step(struct system_device *device)
{
    struct system_world *world = device->world;
    struct system_link *link = &device->link;
    struct satchel_error error = {0};
    bool is_done = false;
    enum satchel_status status =
        satchel_sync_step(link->sync, system_device_now(device), &is_done, &error);
    link->is_done = is_done;
    if (status == SATCHEL_AGAIN) {
        system_trace(world, "%u: %s", device->index, error.message);
        system_counts.begun_again++;
        end(world, link);
        system_link_open(device);
    } else {
        system_ok(world, status, "sync", &error);
    }
}

/* The next frame of a session, copied: the session's own bytes end with its next call. */
static bool take_frame(struct system_world *world, struct satchel_session *session,
                       struct satchel_span *out)
{
    struct satchel_span frame;
    if (!satchel_session_next_output(session, &frame))
        return false;
    satchel_buffer_clear(&world->scratch);
    system_ok(world, satchel_buffer_append(&world->scratch, frame.data, frame.size), "keep a frame",
              NULL);
    *out = satchel_buffer_span(&world->scratch);
    return true;
}

static bool carry_up(struct system_device *device)
{
    struct satchel_span frame;
    if (!take_frame(device->world, satchel_sync_session(device->link.sync), &frame))
        return false;
    system_peer_receive(device->world, &device->link.peer, frame);
    return true;
}

static bool carry_down(struct system_device *device)
{
    struct system_world *world = device->world;
    struct satchel_span frame;
    struct system_link *link = &device->link;
    system_peer_step(world, &link->peer);
    if (!take_frame(world, link->peer.session, &frame))
        return false;
    world->now_ms += system_below(world, 3);
    system_ok(world,
              satchel_session_receive(satchel_sync_session(link->sync), frame.data, frame.size,
                                      true, system_device_now(device)),
              "hear the server", NULL);
    step(device);
    return true;
}

bool system_link_pump(struct system_device *device, unsigned frames)
{
    bool is_carried = false;
    if (!device->link.replica)
        return false;
    for (unsigned i = 0; i < frames; i++) {
        step(device);
        bool is_up_first = system_one_in(device->world, 2);
        if ((is_up_first && carry_up(device)) || carry_down(device) || carry_up(device))
            is_carried = true;
        else
            break;
    }
    return is_carried;
}

void system_link_hear(struct system_device *device, unsigned frames)
{
    bool is_carried = device->link.replica != NULL;
    for (unsigned i = 0; i < frames && is_carried; i++) {
        step(device);
        is_carried = (!device->link.peer.is_attached && carry_up(device)) || carry_down(device);
    }
}

void system_link_arrive_late(struct system_device *device)
{
    struct system_world *world = device->world;
    struct system_late *late = &device->late;
    if (!late->peer.session)
        return;
    system_trace(world, "%u: %u late frames arrive", device->index, late->frame_count);
    for (unsigned i = 0; i < late->frame_count; i++)
        system_peer_receive(world, &late->peer, late->frames[i]);
    system_peer_close(world, &late->peer);
    memset(late, 0, sizeof *late);
}

void system_link_forget_late(struct system_device *device)
{
    system_peer_close(device->world, &device->late.peer);
    memset(&device->late, 0, sizeof device->late);
}

/* The session ends here, but what it has said goes on its way; the server has not noticed. */
static void leave_late(struct system_device *device)
{
    struct system_late *late = &device->late;
    struct system_link *link = &device->link;
    struct satchel_span frame;
    system_link_arrive_late(device);
    while (late->frame_count < SYSTEM_LATE_FRAMES_MAX &&
           take_frame(device->world, satchel_sync_session(link->sync), &frame)) {
        frame = satchel_arena_copy(&device->world->arena, frame);
        system_check(device->world, frame.data != NULL, "no memory");
        late->frames[late->frame_count++] = frame;
    }
    late->peer = link->peer;
    satchel_sync_free(link->sync);
    satchel_replica_close(link->replica);
    memset(link, 0, sizeof *link);
}

void system_link_cut(struct system_device *device)
{
    struct system_world *world = device->world;
    struct system_link *link = &device->link;
    unsigned up = 0;
    if (!link->replica)
        return;
    step(device); /* what is on its way at that moment */
    if (link->peer.is_attached && system_one_in(world, 3)) {
        system_trace(world, "%u is cut off, the server has not noticed", device->index);
        leave_late(device);
        return;
    }
    if (system_one_in(world, 2)) {
        /* What the device said arrives, the answers are lost. */
        while (up < 3 && carry_up(device))
            up++;
        if (up > 0 && world->pushes) {
            system_server_flush(world);
            system_counts.lost_acks++;
        }
    }
    system_peer_step(world, &link->peer);
    system_counts.cuts_up += satchel_session_output_bytes(satchel_sync_session(link->sync)) > 0;
    system_counts.cuts_down += satchel_session_output_bytes(link->peer.session) > 0;
    system_trace(world, "%u is cut off (%u frames arrive)", device->index, up);
    end(world, link);
}

void system_link_lose_answers(struct system_device *device)
{
    struct system_world *world = device->world;
    uint64_t head = world->head;
    system_link_open(device);
    while (!world->pushes && world->head == head && system_link_pump(device, 1))
        continue;
    while (carry_up(device))
        continue;
    system_server_flush(world);
    system_trace(world, "%u is cut off, its upload has arrived", device->index);
    end(world, &device->link);
}

void system_drain(struct system_world *world)
{
    bool is_moving = true;
    system_trace(world, "drain");
    for (unsigned i = 0; i < world->device_count; i++) {
        system_link_open(&world->devices[i]);
        if (system_one_in(world, 2))
            (void)system_link_pump(&world->devices[i], 12);
        system_link_arrive_late(&world->devices[i]);
    }
    for (unsigned round = 0; is_moving; round++) {
        system_check(world, round < 1000, "the system does not come to rest");
        is_moving = false;
        for (unsigned i = 0; i < world->device_count; i++) {
            is_moving = system_link_pump(&world->devices[i], 50) || is_moving;
            system_link_swap(&world->devices[i]);
            is_moving = system_link_pump(&world->devices[i], 50) || is_moving;
            system_link_swap(&world->devices[i]);
        }
        is_moving = is_moving || world->pushes;
        system_server_flush(world);
    }
    for (unsigned i = 0; i < world->device_count; i++) {
        const struct system_device *device = &world->devices[i];
        system_check(world,
                     device->link.is_done && (!device->parked.replica || device->parked.is_done),
                     "device %u is not done", i);
        system_link_close(&world->devices[i]);
    }
}
