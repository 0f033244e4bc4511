/* The whole system as one property: whatever devices write, whenever they sync, whatever is lost on
 * the way, nothing is lost, everybody ends with the same, and it is what a naive reference says.
 * SATCHEL_SEED and SATCHEL_HISTORIES in the environment ask for other and more histories,
 * SATCHEL_STEPS for shorter ones. A failure prints the history. */
#include "system_world.h"

#include <stdlib.h>

enum { HISTORIES = 100, HISTORIES_TO_MEET_ALL = 100 };

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void stop_server(struct system_world *world)
{
    for (unsigned i = 0; i < world->device_count; i++) {
        system_link_close(&world->devices[i]);
        system_link_forget_late(&world->devices[i]);
    }
    while (world->pushes) { /* had come, but not been committed */
        struct satchel_job *next = world->pushes->next;
        satchel_job_free(world->pushes);
        world->pushes = next;
    }
    world->last_push = NULL;
}

static void restart_server(struct system_world *world)
{
    system_trace(world, "the server restarts");
    stop_server(world);
    system_server_close(world);
    system_server_open(world);
    system_counts.server_restarts++;
}

/* Not to before a deployment: the replicas would be ahead of the server's schema until the same
 * migrations were deployed again. */
static void back_up_or_restore(struct system_world *world)
{
    if (world->has_backup && world->was_deployed == world->is_deployed && system_one_in(world, 2)) {
        stop_server(world);
        system_server_restore(world);
    } else {
        system_server_back_up(world);
    }
}

static void reboot(struct system_device *device)
{
    system_trace(device->world, "%u reboots", device->index);
    system_link_close(device);
    system_close_apps(device);
    device->has_rebooted = true;
    device->boot += SYSTEM_DEVICES_MAX;
    device->booted_ms = device->world->now_ms;
    system_counts.reboots++;
}

static void move_clock(struct system_device *device)
{
    struct system_world *world = device->world;
    int64_t jump = system_one_in(world, 2) ? (int64_t)system_below(world, 20000000) - 10000000
                                           : ((int64_t)system_below(world, 41) - 20) * 31536000000;
    device->clock_error_ms += jump;
    device->has_jumped = true;
    system_trace(world, "%u: its clock jumps by %lld ms", device->index, (long long)jump);
    system_counts.clock_jumps++;
}

static void pass_time(struct system_world *world)
{
    static const unsigned spans[] = {1, 2, 1000, 100000, 40000000};
    world->now_ms += system_below(world, spans[system_below(world, 5)]);
}

static void act(struct system_world *world)
{
    struct system_device *device = &world->devices[system_below(world, world->device_count)];
    unsigned chance = system_below(world, 40);
    pass_time(world);
    if (world->is_restored_at_times && system_one_in(world, 12))
        back_up_or_restore(world);
    else if (chance < 18) {
        if (system_ledger_busiest(world) < SYSTEM_ROW_OPS_MAX)
            system_write(device);
    } else if (chance < 30) {
        if (system_one_in(world, 8)) {
            system_trace(world, "%u: its other sync", device->index);
            system_link_swap(device);
            system_counts.second_syncs += device->parked.replica != NULL;
        }
        system_link_open(device);
        unsigned frames = 1 + system_below(world, system_one_in(world, 2) ? 40 : 12);
        system_trace(world, "%u: up to %u frames", device->index, frames);
        if (world->was_restored && frames % 2) /* what the server has lost is not given back yet */
            system_link_hear(device, frames);
        else
            (void)system_link_pump(device, frames);
        if (system_one_in(world, 2))
            system_link_arrive_late(device);
        system_check_shown(device);
    } else if (chance < 34) {
        system_link_cut(device);
    } else if (chance < 35) {
        move_clock(device);
    } else if (chance < 36) {
        reboot(device);
    } else if (chance < 37) {
        system_close_apps(device);
        system_counts.reopens++;
    } else if (chance < 38) {
        restart_server(world);
    } else if (chance < 39) {
        system_server_flush(world);
    } else if (!world->is_deployed) {
        system_trace(world, "deploy");
        system_server_deploy(world);
    }
}

static void report(uint64_t seed)
{
    const struct {
        const char *name;
        unsigned long count;
    } counts[] = {
#define SYSTEM_COUNT(name) {#name, system_counts.name},
        SYSTEM_COUNTS(SYSTEM_COUNT)
#undef SYSTEM_COUNT
    };
    printf("seed %llu:", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        printf("%s %lu %s", i ? "," : "", counts[i].count, counts[i].name);
    printf("\n");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (system_counts.histories >= HISTORIES_TO_MEET_ALL && counts[i].count == 0)
            fail_msg("no %s in %lu histories", counts[i].name, system_counts.histories);
}

static void play(struct system_world *world, uint64_t seed)
{
    uint64_t steps_max = from_environment("SATCHEL_STEPS", 1000);
    system_world_open(world, seed);
    uint64_t steps = 10 + system_below(world, system_one_in(world, 3) ? 120 : 40);
    for (uint64_t step = 0; step < steps && step < steps_max; step++)
        act(world);
    system_drain(world);
    system_check_all(world);
    system_world_close(world);
    system_counts.histories++;
}

static struct system_world world;

static void test_system__every_history_ends_as_the_reference_says(void **state)
{
    (void)state;
    uint64_t seed = from_environment("SATCHEL_SEED", 20261121);
    uint64_t histories = from_environment("SATCHEL_HISTORIES", HISTORIES);
    system_world_init(&world);
    for (uint64_t i = 0; i < histories; i++)
        play(&world, seed + i);
    system_world_deinit(&world);
    report(seed);
}

/* Which found something once. */
static void test_system__past_failures(void **state)
{
    static const uint64_t seeds[] = {50002988, 50004228, 50004404, 60002680,
                                     60002836, 60002868, 60005432};
    (void)state;
    system_world_init(&world);
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        play(&world, seeds[i]);
    system_world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system__every_history_ends_as_the_reference_says),
        cmocka_unit_test(test_system__past_failures),
    };
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
