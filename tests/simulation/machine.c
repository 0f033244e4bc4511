/* Owns machines and processes: who runs, who has died, what the clocks say. */
#include "simulation.h"

#include <string.h>

void sim_machine_init(struct sim_machine *machine, unsigned index, bool is_server)
{
    memset(machine, 0, sizeof *machine);
    machine->index = index;
    machine->is_server = is_server;
    if (is_server)
        snprintf(machine->name, sizeof machine->name, "server");
    else
        snprintf(machine->name, sizeof machine->name, "d%u", index);
    machine->is_powersafe = sim_one_in(SIM_OPTIONS, 2);
    machine->sector_bytes = sim_one_in(SIM_OPTIONS, 2) ? 512 : 4096;
    machine->boot = 1 + index;
    machine->booted_ms = sim.now_ms - (int64_t)sim_below(SIM_OPTIONS, 5000) * 1000;
}

void sim_process_init(struct sim_process *process, struct sim_machine *machine, const char *name)
{
    memset(process, 0, sizeof *process);
    process->machine = machine;
    snprintf(process->name, sizeof process->name, "%.8s/%.6s", machine->name, name);
    sim_check(machine->process_count < SIM_PROCESSES_MAX, "too many processes");
    machine->processes[machine->process_count++] = process;
}

int64_t sim_machine_utc_ms(const struct sim_machine *machine)
{
    return sim.now_ms + machine->clock_error_ms +
           (sim.now_ms - machine->drift_since_ms) * machine->drift_ppm / 1000000;
}

void sim_fault_met(void)
{
    if (sim.process)
        sim.process->faults_met++;
    sim_fiber_note_fault();
}

struct sim_process *sim_enter(struct sim_process *process)
{
    struct sim_process *before = sim.process;
    sim.process = process;
    return before;
}

void sim_leave(struct sim_process *before)
{
    sim.process = before;
}

/* ---- the end ---- */

void sim_process_keep_shm(struct sim_process *process)
{
    if (!process->shm_at_death)
        process->shm_at_death = sim_disk_keep_shm(process->machine);
}

void sim_process_restore_shm(struct sim_process *process)
{
    struct sim_shm_copy *copy = process->shm_at_death;
    process->shm_at_death = NULL;
    sim_disk_restore_shm(copy);
}

static void die(struct sim_process *process)
{
    process->is_dead = true;
    process->faults_met++;
    process->kill_in = 0;
    process->allocations_until_failure = 0;
    sim_wake_process(process);
}

void sim_process_kill(struct sim_process *process)
{
    if (process->is_dead)
        return;
    sim_trace("%s is killed", process->name);
    if (process->machine->is_server)
        sim_server_note_promises();
    die(process);
    sim_disk_drop_locks(process);
    if (sim.process == process)
        sim_process_keep_shm(process);
}

void sim_machine_power_cut(struct sim_machine *machine)
{
    if (machine->is_off)
        return;
    sim_trace("%s: power cut", machine->name);
    if (machine->is_server)
        sim_server_note_promises();
    machine->is_off = true;
    machine->power_cut_in = 0;
    for (unsigned i = 0; i < machine->process_count; i++)
        if (!machine->processes[i]->is_dead)
            die(machine->processes[i]);
    sim_disk_power_cut(machine);
    machine->lost_power = true;
    sim_cut_all(machine);
    if (!machine->is_server) {
        machine->had_power_cut = true;
        sim_after(500 + sim_skewed(SIM_FAULTS, 60000), sim_device_boot,
                  &sim.devices[machine->index], 0);
    }
}

bool sim_process_goes_on(struct sim_process *process)
{
    struct sim_machine *machine = process->machine;
    if (process->is_dead)
        return false;
    if (machine->power_cut_in > 0 && --machine->power_cut_in == 0) {
        sim.counts.power_cuts_in_an_operation++;
        sim_machine_power_cut(machine);
    } else if (process->kill_in > 0 && --process->kill_in == 0) {
        sim.counts.kills_in_an_operation++;
        sim_process_kill(process);
    }
    return !process->is_dead;
}
