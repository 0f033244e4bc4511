/* Owns the faults: which comes when, whom it meets, and that it ends. Where a fault must come out
 * in the middle of an operation it is only planned here, and met in disk_vfs.c and memory.c. */
#include "simulation.h"

#include "db.h"

#include <stdlib.h>

static bool are_over;

static struct sim_device *some_device(void)
{
    return &sim.devices[sim_below(SIM_FAULTS, sim.device_count)];
}

static struct sim_process *some_process(const struct sim_device *device)
{
    return device->machine.processes[sim_below(SIM_FAULTS, device->machine.process_count)];
}

/* Half of the crashes come at once, between two operations, the others at a write to come. */
static bool is_in_operation(void)
{
    return sim_one_in(SIM_FAULTS, 2);
}

static void end_disk_faults(void *context, uint64_t unused)
{
    struct sim_machine *machine = context;
    (void)unused;
    machine->is_disk_full = false;
    machine->io_error_one_in = 0;
}

static struct sim_machine *some_machine(void)
{
    return sim_one_in(SIM_FAULTS, 3) ? &sim.server.machine : &some_device()->machine;
}

static void strike_disk(enum sim_fault_kind kind)
{
    struct sim_machine *machine = some_machine();
    if (kind == SIM_FAULT_disk_full)
        machine->is_disk_full = true;
    else
        machine->io_error_one_in = 1 + sim_skewed(SIM_FAULTS, 30);
    sim_trace("%s: %s", machine->name, sim_fault_name(kind));
    sim_after(1 + sim_skewed(SIM_FAULTS, 30000), end_disk_faults, machine, 0);
}

static void strike_memory(void)
{
    struct sim_process *process =
        sim_one_in(SIM_FAULTS, 3) ? &sim.server.process : some_process(some_device());
    process->allocations_until_failure = 1 + sim_skewed(SIM_FAULTS, 3000);
    process->allocations_failing = sim_one_in(SIM_FAULTS, 3) ? 1 + sim_skewed(SIM_FAULTS, 200) : 1;
    sim_trace("%s: memory is short, in %u allocations %u times", process->name,
              process->allocations_until_failure, process->allocations_failing);
}

static void strike_power(struct sim_machine *machine, uint64_t *count)
{
    (*count)++;
    if (is_in_operation())
        machine->power_cut_in = 1 + sim_skewed(SIM_FAULTS, 60);
    else
        sim_machine_power_cut(machine);
}

static void strike_process(struct sim_process *process, uint64_t *count)
{
    if (process->is_dead || process->machine->is_off)
        return;
    (*count)++;
    if (is_in_operation())
        process->kill_in = 1 + sim_skewed(SIM_FAULTS, 60);
    else
        sim_process_kill(process);
}

static void strike_clock(struct sim_machine *machine)
{
    static const int64_t YEAR_MS = INT64_C(31536000000);
    if (sim_one_in(SIM_FAULTS, 3)) {
        machine->clock_error_ms = sim_machine_utc_ms(machine) - sim.now_ms;
        machine->drift_since_ms = sim.now_ms;
        machine->drift_ppm = (int)sim_below(SIM_FAULTS, 400) - 200;
        sim.counts.clock_drifts++;
    } else {
        machine->clock_error_ms += sim_one_in(SIM_FAULTS, 2)
                                       ? (int64_t)sim_below(SIM_FAULTS, 20000000) - 10000000
                                       : ((int64_t)sim_below(SIM_FAULTS, 41) - 20) * YEAR_MS;
        sim.counts.clock_jumps++;
    }
    machine->has_jumped = true;
    sim_trace("%s: its clock is %lld ms off", machine->name,
              (long long)(sim_machine_utc_ms(machine) - sim.now_ms));
}

static void strike_partition(struct sim_machine *machine, uint64_t *count)
{
    unsigned ms = sim_skewed(SIM_FAULTS, 120000);
    (*count)++;
    machine->partitioned_until_ms = sim.now_ms + ms;
    sim_trace("%s is cut off for %u ms", machine->name, ms);
}

static void restart_device(struct sim_device *device)
{
    if (device->machine.is_off)
        return;
    sim.counts.reboots++;
    sim_trace("%s restarts", device->machine.name);
    device->offline_until_ms = sim.now_ms + sim_skewed(SIM_FAULTS, 60000);
    /* What is synced stays; nothing else is lost in an orderly end but the processes. */
    for (unsigned i = 0; i < device->machine.process_count; i++)
        sim_process_kill(device->machine.processes[i]);
    device->machine.boot += SIM_DEVICES_MAX;
    device->machine.booted_ms = sim.now_ms;
    device->machine.has_rebooted = true;
}

static void strike_slow_link(void)
{
    unsigned device = sim_below(SIM_FAULTS, sim.device_count);
    sim.machine_is_slow[device] = !sim.machine_is_slow[device];
    sim.counts.slow_links++;
    for (struct satchel_connection *c = sim.connections; c; c = c->next)
        if (c->device_machine->index == device)
            c->is_slow = sim.machine_is_slow[device];
}

static void strike_cut(void)
{
    struct satchel_connection *connection = sim_some_connection();
    if (connection)
        sim_cut(connection);
}

static void strike(enum sim_fault_kind kind)
{
    struct sim_device *device = some_device();
    switch (kind) {
    case SIM_FAULT_power_cut: strike_power(&device->machine, &sim.counts.power_cuts); break;
    case SIM_FAULT_kill: strike_process(some_process(device), &sim.counts.kills); break;
    case SIM_FAULT_server_power_cut:
        if (sim.server.is_up)
            strike_power(&sim.server.machine, &sim.counts.server_power_cuts);
        break;
    case SIM_FAULT_server_kill:
        if (sim.server.is_up)
            strike_process(&sim.server.process, &sim.counts.server_kills);
        break;
    case SIM_FAULT_server_stop: sim_server_stop(); break;
    case SIM_FAULT_disk_full:
    case SIM_FAULT_io_error: strike_disk(kind); break;
    case SIM_FAULT_memory: strike_memory(); break;
    case SIM_FAULT_cut: strike_cut(); break;
    case SIM_FAULT_partition: strike_partition(&device->machine, &sim.counts.partitions); break;
    case SIM_FAULT_server_partition:
        strike_partition(&sim.server.machine, &sim.counts.server_partitions);
        break;
    case SIM_FAULT_slow_link: strike_slow_link(); break;
    case SIM_FAULT_stall:
        sim.counts.stalls++;
        device->offline_until_ms = sim.now_ms + sim_skewed(SIM_FAULTS, 120000);
        break;
    case SIM_FAULT_leap: /* everything sleeps, as in a suspended machine room */
        sim.counts.leaps++;
        sim.now_ms += sim_skewed(SIM_FAULTS, 40000000);
        break;
    case SIM_FAULT_clock: strike_clock(&device->machine); break;
    case SIM_FAULT_reboot: restart_device(device); break;
    case SIM_FAULT_server_restore:
        if (sim.server.has_backup && sim_one_in(SIM_FAULTS, 2))
            sim_server_restore();
        else
            sim_server_back_up();
        break;
    case SIM_FAULT_old_copy:
        if (device->has_copy && sim_one_in(SIM_FAULTS, 2))
            sim_device_put_back(device);
        else
            sim_device_copy(device);
        break;
    case SIM_FAULT_second_phone: sim_device_clone(device); break;
    case SIM_FAULT_KIND_COUNT: break;
    }
}

static void on_strike(void *context, uint64_t unused)
{
    unsigned total = 0;
    (void)context;
    (void)unused;
    if (are_over)
        return;
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++)
        total += sim.options.fault_weights[i];
    unsigned chosen = sim_below(SIM_FAULTS, total);
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++) {
        if (chosen < sim.options.fault_weights[i]) {
            strike((enum sim_fault_kind)i);
            break;
        }
        chosen -= sim.options.fault_weights[i];
    }
    sim_after(1 + sim_below(SIM_FAULTS, 2 * sim.options.fault_pause_ms), on_strike, NULL, 0);
}

void sim_faults_start(void)
{
    are_over = false;
    if (sim.options.fault_pause_ms > 0)
        on_strike(NULL, 0);
}

/* ---- damage ---- */

static void choose_row(const struct satchel_table *table, unsigned row, struct sim_sql *sql)
{
    struct sim_sql key = {0};
    for (uint32_t i = 0; i < table->key_count; i++)
        sim_put(&key, "%s\"%s\"", i ? "," : "", table->columns[table->key_columns[i]].name);
    sim_put(sql, " WHERE (%s) IN (SELECT %s FROM \"%s\" ORDER BY %s LIMIT 1 OFFSET %u)", key.text,
            key.text, table->name, key.text, row);
    free(key.text);
}

static void make_damage(const struct satchel_schema *schema, sqlite3 *db, struct sim_sql *sql)
{
    static const char *const values[] = {"'damaged'", "424242", "x'00'", "-0.5", "''"};
    const struct satchel_table *table = sim_work_table(schema);
    struct sim_sql count = {0};
    if (table->is_local)
        return;
    sim_put(&count, "SELECT count(*) FROM \"%s\"", table->name);
    unsigned rows = (unsigned)sim_integer(db, count.text);
    free(count.text);
    unsigned row = rows > 0 ? sim_below(SIM_FAULTS, rows) : 0;
    uint32_t column = sim_below(SIM_FAULTS, table->column_count);
    if (sim_one_in(SIM_FAULTS, 4))
        sim_put(sql, "DELETE FROM \"%s\"", table->name);
    else
        sim_put(sql, "UPDATE OR IGNORE \"%s\" SET \"%s\" = %s", table->name,
                table->columns[column].name,
                values[sim_below(SIM_FAULTS, sizeof values / sizeof values[0])]);
    choose_row(table, row, sql);
}

static void damage(struct sim_device *device)
{
    struct sim_sql sql = {0};
    sqlite3 *db = sim_observe(device->path);
    const struct satchel_schema *schema =
        sim_schema((unsigned)sim_integer(db, "SELECT count(*) FROM satchel_migration"));
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sim_ok(satchel_db_exec(db, "PRAGMA ignore_check_constraints=ON", NULL), "damage", NULL);
    if (schema)
        make_damage(schema, db, &sql);
    /* Where somebody holds the lock, or a type stands against it, there is none. */
    if (sql.text && sqlite3_exec(db, sql.text, NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_changes(db) > 0) {
        sim_trace("%s is damaged: %s", device->machine.name, sql.text);
        device->was_damaged = true;
        sim.counts.damages++;
    }
    free(sql.text);
    sim_unobserve(db);
}

/* When applications are at rest: what they write is to be what they were shown. */
void sim_faults_damage(void)
{
    sim_check_repaired();
    for (unsigned i = 0; i < sim.device_count; i++) {
        struct sim_device *device = &sim.devices[i];
        bool is_acting = device->machine.is_off;
        for (unsigned a = 0; a < device->app_count; a++)
            is_acting = is_acting || device->apps[a].is_acting;
        if (is_acting || !sim_one_in(SIM_FAULTS, 4))
            continue;
        damage(device);
        for (unsigned s = 0; s < device->sync_count; s++) /* one that watches has compared */
            sim_process_kill(&device->syncs[s].process);
    }
}

static void heal_process(struct sim_process *process)
{
    process->kill_in = 0;
    process->allocations_until_failure = 0;
}

static void heal_machine(struct sim_machine *machine)
{
    end_disk_faults(machine, 0);
    machine->power_cut_in = 0;
    machine->partitioned_until_ms = 0;
    for (unsigned i = 0; i < machine->process_count; i++)
        heal_process(machine->processes[i]);
}

void sim_faults_end(void)
{
    are_over = true;
    heal_machine(&sim.server.machine);
    for (unsigned i = 0; i < sim.device_count; i++) {
        heal_machine(&sim.devices[i].machine);
        sim.devices[i].offline_until_ms = 0;
        sim.machine_is_slow[i] = false;
    }
    for (struct satchel_connection *c = sim.connections; c; c = c->next)
        c->is_slow = false;
}
