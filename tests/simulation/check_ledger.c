/* Owns the comparison of the ledger with the server's history: every committed change set once, as
 * it was captured, with its true time; and no other. */
#include "simulation.h"

#include <satchel/changeset.h>
#include <satchel/log_reader.h>

/* As far as the clock of a device can be known: half of a round trip over a bad line, in the middle
 * of which everything may have slept, and what a clock drifts meanwhile. */
enum { CLOCK_MS = 20000, HANDSHAKE_MS = 150000, LEAP_MS = 40000000 };

struct history {
    sqlite3 *db;
    struct satchel_log_reader *reader;
    struct satchel_buffer body;
    uint64_t found[SIM_DEVICES_MAX];
};

static int device_of(const struct satchel_id *id)
{
    for (unsigned i = 0; i < sim.device_count; i++)
        if (satchel_id_equal(&sim.devices[i].id, id))
            return (int)i;
    return -1;
}

/* Of what was taken back by a power cut there may be several with one number; committed is one. */
static struct sim_change *find_change(unsigned device, uint64_t number)
{
    for (size_t i = 0; i < sim.change_count; i++)
        if (sim.changes[i].device == device && sim.changes[i].number == number &&
            sim.changes[i].fate == SIM_COMMITTED)
            return &sim.changes[i];
    return NULL;
}

/* The stamp is the true time of the write, however wrong the device's clock was; unless the device
 * was both restarted and its clock moved between the write and its sending: then nobody knows. */
static void check_time(const struct sim_change *change, const struct satchel_entry *entry)
{
    const struct sim_machine *machine = &sim.devices[change->device].machine;
    int64_t error_ms = satchel_stamp_ms(entry->stamp) - change->true_ms;
    if (machine->has_jumped && machine->has_rebooted)
        return;
    int64_t most_ms = HANDSHAKE_MS + CLOCK_MS + (sim.counts.leaps > 0 ? LEAP_MS : 0);
    sim_check(error_ms >= -most_ms && error_ms <= most_ms,
              "the stamp of change set %u.%llu is %lld ms off", change->device,
              (unsigned long long)change->number, (long long)error_ms);
}

/* ---- where files were copied ---- */

static bool is_node(sqlite3 *db, const struct satchel_id *id)
{
    sqlite3_stmt *select = NULL;
    if (sqlite3_prepare_v2(db,
                           "SELECT 1 FROM satchel_workspace WHERE node=?1"
                           " UNION SELECT 1 FROM satchel_incarnation WHERE node=?1",
                           -1, &select, NULL) != SQLITE_OK)
        sim_fail("%s", sqlite3_errmsg(db));
    sqlite3_bind_blob(select, 1, id, sizeof *id, SQLITE_STATIC);
    bool is_found = sqlite3_step(select) == SQLITE_ROW;
    sqlite3_finalize(select);
    return is_found;
}

static struct sim_change *find_body(struct satchel_span body, enum sim_fate fate)
{
    for (size_t i = 0; i < sim.change_count; i++)
        if (!sim.changes[i].is_matched && sim.changes[i].fate == fate &&
            satchel_span_equal(sim.changes[i].body, body))
            return &sim.changes[i];
    return NULL;
}

/* A copy becomes a device of its own, and a number may be two devices': what was written says which
 * change set it is. */
static void check_copied(struct history *history, const struct satchel_entry *entry)
{
    struct satchel_span body;
    if (is_node(history->db, &entry->device))
        return;
    sim_ok(satchel_body_load(entry->body, &history->body, &body), "read a body", NULL);
    struct sim_change *change = find_body(body, SIM_COMMITTED);
    if (!change)
        change = find_body(body, SIM_IN_DOUBT);
    if (change)
        change->is_matched = true;
    else if (sim.unknown_changes > 0)
        sim.unknown_changes--;
    else
        sim_fail("entry %llu of the history, number %llu of its device, was never committed, or is "
                 "there twice",
                 (unsigned long long)entry->cursor, (unsigned long long)entry->number);
}

static void check_all_found(void)
{
    for (size_t i = 0; i < sim.change_count; i++)
        sim_check(sim.changes[i].is_matched || sim.changes[i].fate != SIM_COMMITTED,
                  "change set %u.%llu is not in the history", sim.changes[i].device,
                  (unsigned long long)sim.changes[i].number);
}

/* ---- where they were not ---- */

static void check_entry(struct history *history, const struct satchel_entry *entry)
{
    struct satchel_span body;
    int device = device_of(&entry->device);
    sim.counts.entries++;
    if (device < 0)
        return; /* the server's own */
    const struct sim_change *change = find_change((unsigned)device, entry->number);
    sim_check(change != NULL, "the history has change set %d.%llu, which was never committed",
              device, (unsigned long long)entry->number);
    sim_ok(satchel_body_load(entry->body, &history->body, &body), "read a body", NULL);
    sim_check(satchel_span_equal(body, change->body),
              "change set %d.%llu is in the history, but not as it was committed", device,
              (unsigned long long)entry->number);
    sim_check(entry->number == history->found[device] + 1,
              "change set %d.%llu follows %llu in the history", device,
              (unsigned long long)entry->number, (unsigned long long)history->found[device]);
    history->found[device] = entry->number;
    check_time(change, entry);
    sim.counts.old_schema_change_sets += change->schema < sim.deployed;
}

void sim_check_ledger(void)
{
    struct history history = {0};
    struct satchel_log_entry entry;
    struct satchel_error error = {0};
    bool found = true;
    /* Since a commit failed perhaps only syncs have opened the file. */
    for (unsigned i = 0; i < sim.device_count; i++)
        sim_ledger_opened(&sim.devices[i]);
    sqlite3 *db = sim_observe("/sim/server/test.db");
    history.db = db;
    satchel_buffer_init(&history.body, 256 << 20, NULL);
    sim_ok(satchel_log_reader_new(&history.reader, db), "read the log", NULL);
    sim_ok(satchel_log_read_from(history.reader, 0, NULL, 0, &error), "read the log", &error);
    while (found) {
        sim_ok(satchel_log_read_next(history.reader, &found, &entry, &error), "read the log",
               &error);
        if (found && sim.had_copies)
            check_copied(&history, &entry.entry);
        else if (found)
            check_entry(&history, &entry.entry);
    }
    if (sim.had_copies)
        check_all_found();
    for (unsigned i = 0; i < sim.device_count && !sim.had_copies; i++)
        sim_check(history.found[i] == sim.devices[i].last_number,
                  "device %u has committed %llu change sets, %llu are in the history", i,
                  (unsigned long long)sim.devices[i].last_number,
                  (unsigned long long)history.found[i]);
    satchel_log_read_end(history.reader);
    satchel_log_reader_free(history.reader);
    satchel_buffer_deinit(&history.body);
    sim_unobserve(db);
}
