/* Owns devices: their clocks, their syncs, and how they come up again. Their applications are in
 * app.c. */
#include "simulation.h"

#include <string.h>

/* ---- clocks ---- */

static int64_t read_utc(void *context)
{
    return sim_machine_utc_ms(&((const struct sim_device *)context)->machine);
}

static int64_t read_monotonic(void *context)
{
    return sim.now_ms - ((const struct sim_device *)context)->machine.booted_ms;
}

static uint64_t read_boot(void *context)
{
    return ((const struct sim_device *)context)->machine.boot;
}

bool sim_is_revoked(const struct sim_device *device)
{
    if (!sim.options.is_revoking)
        return false;
    struct sim_process *running = sim_enter(NULL);
    sqlite3 *db = sim_observe(device->path), *store = sim_observe("/sim/server/test.db");
    sqlite3_stmt *id = sim_prepare(db, "SELECT device FROM satchel_replica");
    sqlite3_stmt *find = sim_prepare(store, "SELECT 1 FROM satchel_revoked WHERE device=?1");
    bool is_revoked = false;
    if (sqlite3_step(id) == SQLITE_ROW) {
        sqlite3_bind_value(find, 1, sqlite3_column_value(id, 0));
        is_revoked = sqlite3_step(find) == SQLITE_ROW;
    }
    sqlite3_finalize(find);
    sqlite3_finalize(id);
    sim_unobserve(store);
    sim_unobserve(db);
    sim_leave(running);
    return is_revoked;
}

/* ---- one sync after another ---- */

static bool is_to_stop(void *context)
{
    const struct sim_sync *sync = context;
    return sync->process.is_dead || sim.phase == SIM_PHASE_CHECK ||
           (sim.phase == SIM_PHASE_WORK && sim.now_ms < sync->device->offline_until_ms);
}

static bool is_lock(const struct satchel_error *error)
{
    return error->status == SATCHEL_BUSY ||
           (error->status == SATCHEL_SQL && (error->native_code & 0xff) == SQLITE_BUSY);
}

/* A sync ends well, or because of the network, or because of a fault. */
static void judge(const struct sim_sync *sync, enum satchel_status status,
                  const struct satchel_error *error)
{
    bool is_lost = status == SATCHEL_NETWORK || status == SATCHEL_TIMEOUT;
    if (sync->process.is_dead)
        return;
    sim_trace("%s: sync: %s %s", sync->process.name, satchel_status_name(status),
              status == SATCHEL_OK ? "" : error->message);
    sim.counts.syncs_done += status == SATCHEL_OK;
    sim.counts.syncs_lost += is_lost;
    if (status == SATCHEL_OK || is_lost)
        return;
    sim.counts.syncs_failed++;
    if ((status == SATCHEL_MISMATCH || status == SATCHEL_AGAIN) && sim.had_copies)
        return; /* where a copy parts from the other file: the next sync is another device's */
    if (status == SATCHEL_DENIED && sim_is_revoked(sync->device))
        return;
    sim_check(status != SATCHEL_MISMATCH && status != SATCHEL_CORRUPT, "%s cannot sync: %s: %s",
              sync->process.name, satchel_status_name(status), error->message);
    sim_check(is_lock(error) || sim_fiber_faults() > 0 || sync->process.was_server_at_fault,
              "%s cannot sync, and no fault met it: %s (%d): %s", sync->process.name,
              satchel_status_name(status), error->native_code, error->message);
}

static void sync_once(struct sim_sync *sync)
{
    struct satchel_sync_report report;
    struct satchel_error error = {0};
    const struct satchel_sync_options options = {
        .size = sizeof options,
        .watch = sim.options.is_watching,
        .clock = &sync->device->clock,
        .context = sync,
        .stop = is_to_stop,
        .rotate = sim.options.is_rotating && sim.counts.syncs_begun % 3 == 1,
    };
    sim_fiber_settle_faults();
    sync->process.was_server_at_fault = false;
    sim.counts.syncs_begun++;
    enum satchel_status status = satchel_sync_run(sync->device->path, &options, &report, &error);
    judge(sync, status, &error);
}

static void run_sync(void *context)
{
    struct sim_sync *sync = context;
    while (!sync->process.is_dead && sim.phase != SIM_PHASE_CHECK) {
        unsigned pause_ms = sim.phase == SIM_PHASE_HEAL ? 3000 : sim.options.sync_pause_ms;
        sim_sleep(1 + sim_below(SIM_ORDER, pause_ms));
        if (!is_to_stop(sync))
            sync_once(sync);
    }
}

static void on_sync_restart(void *context, uint64_t unused)
{
    struct sim_sync *sync = context;
    (void)unused;
    if (sync->process.fiber_count == 0 && !sync->device->machine.is_off)
        sim_sync_start(sync);
}

static void on_sync_end(struct sim_process *process)
{
    struct sim_device *device = &sim.devices[process->machine->index];
    if (process->machine->is_off)
        return;
    sim_ledger_recover(device);
    for (unsigned i = 0; i < device->sync_count; i++)
        if (&device->syncs[i].process == process)
            sim_after(1 + sim_skewed(SIM_FAULTS, 5000), on_sync_restart, &device->syncs[i], 0);
}

void sim_sync_start(struct sim_sync *sync)
{
    sync->process.is_dead = false;
    sim_fiber_new(&sync->process, run_sync, sync);
}

/* ---- life ---- */

static void set_clock(struct sim_machine *machine)
{
    static const int64_t YEAR_MS = INT64_C(31536000000);
    switch (sim_below(SIM_OPTIONS, 4)) {
    case 0: break;
    case 1: machine->clock_error_ms = (int64_t)sim_below(SIM_OPTIONS, 8000) - 4000; break;
    case 2: machine->clock_error_ms = ((int64_t)sim_below(SIM_OPTIONS, 49) - 24) * 3600000; break;
    default: machine->clock_error_ms = ((int64_t)sim_below(SIM_OPTIONS, 61) - 30) * YEAR_MS;
    }
}

void sim_device_init(struct sim_device *device, unsigned index)
{
    memset(device, 0, sizeof *device);
    device->index = index;
    sim_machine_init(&device->machine, index, false);
    set_clock(&device->machine);
    /* Where a torn sector takes its neighbours along, SQLite keeps only what was committed with
     * synchronous=FULL. */
    if (!sim.options.is_durable)
        device->machine.is_powersafe = true;
    device->id = sim.template->devices[index];
    device->user = sim_user_of(sim.options.world, index);
    device->role = sim_role_of(index);
    device->clock = (struct satchel_clock){device, read_utc, read_monotonic, read_boot};
    snprintf(device->path, sizeof device->path, "/sim/d%u/replica.db", index);
    device->app_count = 1 + sim_below(SIM_OPTIONS, sim.options.app_count);
    device->sync_count = 1 + sim_below(SIM_OPTIONS, sim.options.sync_count);
    for (unsigned i = 0; i < device->app_count; i++) {
        char name[8];
        snprintf(name, sizeof name, "app%u", i);
        device->apps[i].device = device;
        device->apps[i].index = i;
        device->apps[i].is_enforcing = sim.options.is_enforcing;
        sim_process_init(&device->apps[i].process, &device->machine, name);
    }
    for (unsigned i = 0; i < device->sync_count; i++) {
        char name[8];
        snprintf(name, sizeof name, "sync%u", i);
        device->syncs[i].device = device;
        device->syncs[i].index = i;
        sim_process_init(&device->syncs[i].process, &device->machine, name);
        device->syncs[i].process.on_end = on_sync_end;
        device->syncs[i].process.waits_for_disk = true;
    }
}

void sim_device_start(struct sim_device *device)
{
    device->machine.is_off = false;
    for (unsigned i = 0; i < device->app_count; i++)
        sim_app_start(&device->apps[i]);
    for (unsigned i = 0; i < device->sync_count; i++)
        sim_sync_start(&device->syncs[i]);
}

static bool has_fibers(const struct sim_machine *machine)
{
    for (unsigned i = 0; i < machine->process_count; i++)
        if (machine->processes[i]->fiber_count > 0)
            return true;
    return false;
}

/* ---- copies ---- */

static void copy_path(const struct sim_device *device, char path[64])
{
    snprintf(path, 64, "/sim/copies/d%u.db", device->index);
}

void sim_device_copy(struct sim_device *device)
{
    char copy[64];
    copy_path(device, copy);
    sim_trace("%s: its file is copied", device->machine.name);
    sim_disk_remove(copy);
    sim_disk_copy(device->path, copy);
    sim_ledger_shared(device);
    device->has_copy = true;
    device->changes_at_copy = sim.change_count;
    device->last_at_copy = device->last_number;
    device->had_doubt_at_copy = device->doubt != NULL;
    sim.counts.file_copies++;
}

void sim_device_put_back(struct sim_device *device)
{
    if (device->machine.is_off)
        return;
    device->is_to_be_put_back = true;
    sim_machine_power_cut(&device->machine);
}

static void put_back(struct sim_device *device)
{
    char copy[64];
    copy_path(device, copy);
    sim_trace("%s: its file is the older one again", device->machine.name);
    sim_disk_remove(device->path);
    sim_disk_copy(copy, device->path);
    sim_ledger_put_back(device);
    device->is_to_be_put_back = false;
    sim.counts.files_put_back++;
}

void sim_device_clone(struct sim_device *device)
{
    if (sim.device_count == SIM_DEVICES_MAX || device->machine.is_off)
        return;
    struct sim_device *clone = &sim.devices[sim.device_count];
    sim_device_init(clone, sim.device_count);
    sim.device_count++;
    clone->id = device->id;
    clone->user = device->user;
    clone->role = device->role;
    sim_trace("%s is a second phone with the file of %s", clone->machine.name,
              device->machine.name);
    sim_disk_remove(clone->path);
    sim_disk_copy(device->path, clone->path);
    sim_ledger_cloned(clone, device);
    sim.counts.second_phones++;
    sim_device_start(clone);
}

void sim_device_boot(void *context, uint64_t unused)
{
    struct sim_device *device = context;
    struct sim_machine *machine = &device->machine;
    (void)unused;
    sim_check(!has_fibers(machine), "%s is off and something runs on it", machine->name);
    machine->boot += SIM_DEVICES_MAX;
    machine->booted_ms = sim.now_ms;
    machine->has_rebooted = true;
    if (device->is_to_be_put_back)
        put_back(device);
    else
        sim_ledger_recover(device);
    machine->had_power_cut = false;
    sim_trace("%s is up again", machine->name);
    sim_device_start(device);
}
