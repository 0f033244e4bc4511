/* Owns an application: a connection of its own to the replica, on which it writes, in one statement
 * or many, undoes and resolves; and the judgement of what failed. */
#include "simulation.h"

#include "../../client-core/src/replica.h"

#include <satchel/log_pack.h>
#include <stdlib.h>
#include <string.h>

enum { BULK_ROWS_MAX = 300, STATEMENTS_MAX = 6 };

/* ---- what may fail ---- */

static bool is_refusal(int code)
{
    return (code & 0xff) == SQLITE_CONSTRAINT;
}

static void judge(const struct sim_app *app, int code, const char *message, const char *doing)
{
    if (code == SQLITE_OK || app->process.is_dead)
        return;
    if (is_refusal(code)) {
        sim.counts.refusals++;
        return;
    }
    if ((code & 0xff) == SQLITE_BUSY) {
        sim_check(app->process.machine->process_count > 1, "%s waits for itself",
                  app->process.name);
        sim.counts.busy++;
        return;
    }
    if (message && strstr(message, "this device was revoked")) {
        sim_check(sim_is_revoked(app->device), "%s is told so, and nobody did it: %s",
                  app->process.name, message);
        return;
    }
    sim.counts.failed_operations++;
    sim_check(sim_fiber_faults() > 0, "%s: %s: %d %s, and no fault met it", app->process.name,
              doing, code, message ? message : "");
}

static int run(struct sim_app *app, const char *sql)
{
    char *message = NULL;
    sim_fiber_settle_faults();
    int code = sqlite3_exec(app->replica->db, sql, NULL, NULL, &message);
    sim_trace("%s: %.120s%s%s", app->process.name, sql, code == SQLITE_OK ? "" : " -- ",
              code == SQLITE_OK ? ""
              : message         ? message
                                : sqlite3_errstr(code));
    judge(app, code, message, sql);
    sqlite3_free(message);
    return code;
}

/* ---- transactions and the ledger ---- */

static void close_replica(struct sim_app *app)
{
    satchel_replica_close(app->replica);
    app->replica = NULL;
    app->transaction = NULL;
}

/* No transaction is left open; if it does not end for want of memory, the connection does. */
static void end_transaction(struct sim_app *app)
{
    for (int i = 0; i < 2; i++)
        if (!app->process.is_dead && !sqlite3_get_autocommit(app->replica->db))
            (void)run(app, "ROLLBACK");
    if (!app->process.is_dead && !sqlite3_get_autocommit(app->replica->db))
        close_replica(app);
}

/* The last call of a transaction has returned: it is in the ledger, it is not, or nobody knows. */
static void settle(struct sim_app *app, struct sim_transaction *transaction, int code)
{
    bool may_have_written = !is_refusal(code) && (code & 0xff) != SQLITE_BUSY;
    if (code == SQLITE_OK && !app->process.is_dead)
        sim_ledger_committed(transaction, app->replica->db, sim.options.is_durable);
    else if (may_have_written)
        sim_ledger_in_doubt(transaction);
    else
        sim_ledger_rolled_back(transaction);
    end_transaction(app);
}

static bool is_open(const struct sim_app *app)
{
    return !app->process.is_dead && app->replica && !sqlite3_get_autocommit(app->replica->db);
}

static void think(const struct sim_app *app)
{
    (void)app;
    if (sim.options.think_ms_max > 0 && sim_one_in(SIM_WORK, 3))
        sim_sleep(sim_skewed(SIM_WORK, sim.options.think_ms_max));
}

static void run_statements(struct sim_app *app, const struct satchel_schema *schema)
{
    struct sim_sql sql = {0};
    unsigned count = 1 + sim_below(SIM_WORK, STATEMENTS_MAX);
    bool is_inside = false;
    for (unsigned i = 0; i < count && is_open(app); i++) {
        if (!is_inside && sim_one_in(SIM_WORK, 5)) {
            is_inside = run(app, "SAVEPOINT inner") == SQLITE_OK;
            sim.counts.savepoints++;
            if (!is_open(app)) /* SQLite ends the transaction where there is no memory for it */
                break;
        }
        sim_work_statement(schema, &sql);
        (void)run(app, sql.text);
        think(app);
        if (is_inside && is_open(app) && sim_one_in(SIM_WORK, 2)) {
            if (sim_one_in(SIM_WORK, 2)) {
                (void)run(app, "ROLLBACK TO inner");
                sim.counts.savepoint_rollbacks++;
            }
            if (is_open(app))
                (void)run(app, "RELEASE inner");
            is_inside = false;
        }
    }
    free(sql.text);
}

static void import_rows(struct sim_app *app, const struct satchel_schema *schema)
{
    struct sim_sql sql = {0};
    unsigned count = 20 + sim_below(SIM_WORK, BULK_ROWS_MAX);
    const struct satchel_table *table = sim_work_table(schema);
    sim.counts.bulk_imports++;
    for (unsigned i = 0; i < count && is_open(app); i++) {
        sim_work_import(schema, table, &sql);
        (void)run(app, sql.text);
    }
    free(sql.text);
}

static const struct satchel_schema *read_schema(struct sim_app *app)
{
    sqlite3_stmt *select = NULL;
    unsigned count = 0;
    struct sim_process *running = sim_enter(NULL);
    if (sqlite3_prepare_v2(app->replica->db, "SELECT count(*) FROM satchel_migration", -1, &select,
                           NULL) == SQLITE_OK &&
        sqlite3_step(select) == SQLITE_ROW)
        count = (unsigned)sqlite3_column_int(select, 0);
    sqlite3_finalize(select);
    sim_leave(running);
    return count > 0 ? sim_schema(count) : NULL;
}

static void transact(struct sim_app *app, bool is_bulk)
{
    struct sim_transaction *transaction = sim_ledger_begin(app);
    const struct satchel_schema *schema = NULL;
    int code = run(app, is_bulk || sim_one_in(SIM_WORK, 2) ? "BEGIN IMMEDIATE" : "BEGIN");
    if (code == SQLITE_OK)
        schema = read_schema(app);
    if (schema && is_bulk)
        import_rows(app, schema);
    else if (schema)
        run_statements(app, schema);
    if (!is_open(app)) {
        sim_ledger_rolled_back(transaction);
    } else if (sim_one_in(SIM_WORK, 10)) {
        sim_ledger_rolled_back(transaction);
        end_transaction(app);
    } else {
        sim_ledger_read_after(transaction, app->replica->db);
        settle(app, transaction, run(app, "COMMIT"));
    }
}

/* What a sync does with an old log, of a log that is not old. */
static void pack(struct sim_app *app)
{
    struct satchel_error error = {0};
    uint32_t packed = 0;
    if (run(app, "BEGIN IMMEDIATE") != SQLITE_OK)
        return;
    sim_fiber_settle_faults();
    enum satchel_status status =
        satchel_log_pack(app->replica->db, sim_below(SIM_WORK, 20), 4, &packed, &error);
    judge(app, status == SATCHEL_OK ? SQLITE_OK : SQLITE_ERROR, error.message, "pack");
    if (status == SATCHEL_OK && run(app, "COMMIT") == SQLITE_OK)
        sim.counts.device_packs += packed > 0;
    end_transaction(app);
}

static void write_once(struct sim_app *app)
{
    struct sim_sql sql = {0};
    const struct satchel_schema *schema = read_schema(app);
    if (!schema)
        return;
    struct sim_transaction *transaction = sim_ledger_begin(app);
    sim_work_statement(schema, &sql);
    int code = run(app, sql.text);
    if (code == SQLITE_OK && !app->process.is_dead)
        sim_ledger_read_after(transaction, app->replica->db);
    settle(app, transaction, code);
    free(sql.text);
}

/* ---- undo and resolve ---- */

/* Text of the first column of a random row, read past all faults. */
static bool pick(struct sim_app *app, const char *from, char id[200])
{
    char sql[400];
    sqlite3_stmt *select = NULL;
    bool is_found = false;
    struct sim_process *running = sim_enter(NULL);
    snprintf(sql, sizeof sql, "SELECT id FROM %s LIMIT 1 OFFSET ?1", from);
    if (sqlite3_prepare_v2(app->replica->db, sql, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_int(select, 1, (int)sim_skewed(SIM_WORK, 60));
        is_found = sqlite3_step(select) == SQLITE_ROW;
        if (is_found)
            snprintf(id, 200, "%s", (const char *)sqlite3_column_text(select, 0));
    }
    sqlite3_finalize(select);
    sim_leave(running);
    return is_found;
}

static void settle_call(struct sim_app *app, struct sim_transaction *transaction,
                        enum satchel_status status, const struct satchel_error *error,
                        const char *doing)
{
    bool is_polite = status == SATCHEL_REFUSED || status == SATCHEL_NOT_FOUND ||
                     status == SATCHEL_STATE || status == SATCHEL_INVALID ||
                     status == SATCHEL_BUSY || strstr(error->message, "constraint failed") != NULL;
    int code = status == SATCHEL_OK ? SQLITE_OK
               : is_polite          ? SQLITE_CONSTRAINT
               : error->native_code ? error->native_code
                                    : SQLITE_ERROR;
    sim_trace("%s: %s %s %s", app->process.name, doing, satchel_status_name(status),
              status == SATCHEL_OK ? "" : error->message);
    if (!is_polite)
        judge(app, code, error->message, doing);
    if (status == SATCHEL_OK && !app->process.is_dead)
        sim_ledger_read_after(transaction, app->replica->db);
    settle(app, transaction, code);
}

static void undo(struct sim_app *app)
{
    char id[200];
    struct satchel_error error = {0};
    if (!pick(app, "satchel_history", id))
        return;
    struct sim_transaction *transaction = sim_ledger_begin(app);
    sim_fiber_settle_faults();
    enum satchel_status status = satchel_undo(app->replica, id, &error);
    sim.counts.undos += status == SATCHEL_OK;
    settle_call(app, transaction, status, &error, "undo");
}

static void resolve(struct sim_app *app)
{
    static const char *const takes[] = {"winner", "loser", "7"};
    char id[200];
    struct satchel_error error = {0};
    if (!pick(app, "(SELECT lower(hex(id)) AS id FROM satchel_conflict WHERE resolved IS NULL)",
              id))
        return;
    struct sim_transaction *transaction = sim_ledger_begin(app);
    transaction->may_repeat = true;
    sim_fiber_settle_faults();
    enum satchel_status status =
        satchel_resolve(app->replica, id, takes[sim_below(SIM_WORK, 3)], &error);
    sim.counts.resolves += status == SATCHEL_OK;
    settle_call(app, transaction, status, &error, "resolve");
}

/* ---- life ---- */

static void open_replica(struct sim_app *app)
{
    struct satchel_error error = {0};
    const struct satchel_open_options options = {sizeof options, &app->device->clock};
    sim_fiber_settle_faults();
    enum satchel_status status =
        satchel_replica_open(&app->replica, app->device->path, &options, &error);
    if (status != SATCHEL_OK) {
        sim_trace("%s: open: %s", app->process.name, error.message);
        sim_check(app->process.is_dead || sim_fiber_faults() > 0 || status == SATCHEL_BUSY ||
                      (error.native_code & 0xff) == SQLITE_BUSY,
                  "%s cannot open its replica: %s: %s", app->process.name,
                  satchel_status_name(status), error.message);
        return;
    }
    sim_ledger_opened(app->device);
    sim_ledger_attach(app, app->replica->db);
    struct sim_process *running = sim_enter(NULL);
    (void)sqlite3_exec(app->replica->db,
                       sim.options.is_durable ? "PRAGMA synchronous=FULL"
                                              : "PRAGMA synchronous=NORMAL",
                       NULL, NULL, NULL);
    if (app->is_enforcing)
        (void)sqlite3_exec(app->replica->db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL);
    sim_leave(running);
}

static void act(struct sim_app *app)
{
    if (!app->replica)
        open_replica(app);
    if (!app->replica)
        return;
    sim_watch_device(app->device, app->replica->db);
    if (sim_one_in(SIM_WORK, sim.options.pack_one_in))
        pack(app);
    else if (sim_one_in(SIM_WORK, sim.options.undo_one_in))
        undo(app);
    else if (sim_one_in(SIM_WORK, sim.options.resolve_one_in))
        resolve(app);
    else if (sim_one_in(SIM_WORK, sim.options.bulk_one_in))
        transact(app, true);
    else if (sim_one_in(SIM_WORK, sim.options.transaction_one_in))
        transact(app, false);
    else
        write_once(app);
    if (!app->process.is_dead && app->replica && sim_one_in(SIM_WORK, 30))
        close_replica(app);
}

static void run_app(void *context)
{
    struct sim_app *app = context;
    unsigned apps = 0;
    for (unsigned i = 0; i < sim.device_count; i++)
        apps += sim.devices[i].app_count;
    unsigned pause_ms = 2 * (unsigned)(sim.options.span_ms * apps / (sim.options.actions + 1));
    while (!app->process.is_dead && sim.phase == SIM_PHASE_WORK) {
        if (sim.options.world == SIM_DUEL)
            pause_ms = sim_duel_pause_ms(app->device);
        sim_sleep(1 + sim_below(SIM_WORK, pause_ms));
        if (app->process.is_dead || sim.phase != SIM_PHASE_WORK)
            break;
        app->is_acting = true;
        act(app);
        app->is_acting = false;
    }
    close_replica(app);
}

static void on_app_restart(void *context, uint64_t unused)
{
    struct sim_app *app = context;
    (void)unused;
    if (app->process.fiber_count == 0 && !app->device->machine.is_off)
        sim_app_start(app);
}

static void on_app_end(struct sim_process *process)
{
    struct sim_device *device = &sim.devices[process->machine->index];
    if (process->machine->is_off)
        return;
    sim_ledger_recover(device);
    for (unsigned i = 0; i < device->app_count; i++)
        if (&device->apps[i].process == process)
            sim_after(1 + sim_skewed(SIM_FAULTS, 5000), on_app_restart, &device->apps[i], 0);
}

void sim_app_start(struct sim_app *app)
{
    app->process.is_dead = app->is_acting = false;
    app->process.on_end = on_app_end;
    sim_fiber_new(&app->process, run_app, app);
}
