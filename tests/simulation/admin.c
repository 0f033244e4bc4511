/* Owns administration: somebody at an office who deploys, resolves, retries and packs while the
 * others work, through the real requests. */
#include "simulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 4 + 2 * SIM_MIGRATIONS_MAX };

static struct sim_machine office;
static struct sim_process clerk;

static const char TOKEN_FILE[] = "/sim/admin.token";

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    static char token[] = "00000000000000000000000000000000000000000000000000000000000000ab\n";
    if (strcmp(path, TOKEN_FILE) == 0)
        return fmemopen(token, sizeof token - 1, "r");
    return __real_fopen(path, mode);
}

/* ---- one request ---- */

static void judge(const char *verb, enum satchel_status status, const struct satchel_error *error)
{
    sim_trace("office: %s: %s %.150s", verb, satchel_status_name(status),
              status == SATCHEL_OK ? "" : error->message);
    switch (status) {
    case SATCHEL_OK:
    case SATCHEL_NETWORK:
    case SATCHEL_TIMEOUT:
    case SATCHEL_NOT_FOUND:
    case SATCHEL_STATE:
    case SATCHEL_REFUSED:
    case SATCHEL_INVALID: return;
    default:
        sim_check(clerk.was_server_at_fault, "%s fails, and no fault met it: %s: %s", verb,
                  satchel_status_name(status), error->message);
    }
}

static enum satchel_status ask(const struct satchel_span *arguments, uint32_t count)
{
    struct satchel_value values[ARGUMENTS_MAX];
    struct satchel_message_admin_result result;
    struct satchel_error error = {0};
    struct satchel_arena arena;
    char verb[40];
    satchel_arena_init(&arena, 64 << 20, NULL);
    for (uint32_t i = 0; i < count; i++)
        values[i] = satchel_value_text(arguments[i]);
    snprintf(verb, sizeof verb, "%.*s", (int)arguments[0].size, (const char *)arguments[0].data);
    clerk.was_server_at_fault = false;
    enum satchel_status status =
        satchel_admin("ws://127.0.0.1:1", TOKEN_FILE, values, count, &arena, &result, &error);
    satchel_arena_deinit(&arena);
    judge(verb, status, &error);
    return status;
}

#define TEXT(text) satchel_span_text(text)

static bool pick(const char *sql, char id[200])
{
    sqlite3 *db = sim_observe("/sim/server/test.db");
    sqlite3_stmt *select = NULL;
    bool is_found = false;
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        sim_fail("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_bind_int(select, 1, (int)sim_skewed(SIM_WORK, 30));
    is_found = sqlite3_step(select) == SQLITE_ROW;
    if (is_found)
        snprintf(id, 200, "%s", (const char *)sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
    sim_unobserve(db);
    return is_found;
}

/* ---- what is asked ---- */

static void deploy(void)
{
    struct satchel_span arguments[ARGUMENTS_MAX] = {TEXT("workspace.deploy"), TEXT("test")};
    uint32_t count = 2;
    for (unsigned i = 0; i < sim.template->migration_count; i++) {
        arguments[count++] = sim.template->migrations[i].name;
        arguments[count++] = sim.template->migrations[i].sql;
    }
    if (ask(arguments, count) == SATCHEL_OK)
        sim.counts.deploys++;
}

static void resolve(void)
{
    char id[200];
    struct satchel_span arguments[4] = {TEXT("resolve"), TEXT("test")};
    if (!pick(
            "SELECT lower(hex(id)) FROM satchel_conflict WHERE resolved IS NULL ORDER BY id LIMIT 1"
            " OFFSET ?1",
            id))
        return;
    arguments[2] = satchel_span_text(id);
    arguments[3] = sim_one_in(SIM_WORK, 2) ? TEXT("winner") : TEXT("loser");
    sim.counts.admin_resolves += ask(arguments, 4) == SATCHEL_OK;
}

static void retry(void)
{
    struct satchel_span arguments[2] = {TEXT("quarantine.retry"), TEXT("test")};
    sim.counts.retries += ask(arguments, 2) == SATCHEL_OK;
}

static void drop(void)
{
    char id[200];
    struct satchel_span arguments[3] = {TEXT("quarantine.drop"), TEXT("test")};
    if (!pick("SELECT lower(hex(i.id))||'.'||h.number||'.'||q.part FROM satchel_quarantine q JOIN"
              " satchel_hash h ON h.cursor=q.cursor JOIN satchel_id i ON i.number=h.device"
              " ORDER BY q.cursor, q.part LIMIT 1 OFFSET ?1",
              id))
        return;
    arguments[2] = satchel_span_text(id);
    sim.counts.drops += ask(arguments, 3) == SATCHEL_OK;
}

static void pack(void)
{
    struct satchel_span arguments[2] = {TEXT("workspace.pack"), TEXT("test")};
    sim.counts.packs += ask(arguments, 2) == SATCHEL_OK;
}

static void set(void)
{
    static const char *const tables[] = {"item", "account", "kept", "folder"}; /* by world */
    struct satchel_span arguments[5] = {TEXT("workspace.set"), TEXT("test"),
                                        TEXT(tables[sim.options.world]), TEXT("k0")};
    arguments[4] = sim.options.world == SIM_CRM ? TEXT("name=office") : TEXT("a=office");
    sim.counts.admin_sets += ask(arguments, 5) == SATCHEL_OK;
}

/* Somebody has lost a phone. The answer may be lost, too; in the end it is told anyway. */
static void run_revocation(void *context)
{
    char id[SATCHEL_ID_TEXT_BYTES];
    struct satchel_span arguments[3] = {TEXT("device.revoke"), TEXT("test")};
    (void)context;
    satchel_id_text(&sim.template->devices[sim_below(SIM_WORK, sim.options.device_count)], id);
    arguments[2] = satchel_span_text(id);
    sim_sleep(1 + sim_below(SIM_WORK, (unsigned)sim.options.span_ms));
    while (ask(arguments, 3) != SATCHEL_OK)
        sim_sleep(3000);
    sim.counts.revocations++;
}

static void run_office(void *context)
{
    (void)context;
    while (sim.phase == SIM_PHASE_WORK) {
        sim_sleep(1 + sim_below(SIM_WORK, 2 * sim.options.admin_pause_ms));
        if (sim.phase != SIM_PHASE_WORK)
            break;
        switch (sim_below(SIM_WORK, 7)) {
        case 0: deploy(); break;
        case 1: retry(); break;
        case 2: drop(); break;
        case 3: pack(); break;
        case 4: set(); break;
        default: resolve();
        }
    }
}

void sim_admin_start(void)
{
    sim_machine_init(&office, SIM_DEVICES_MAX, false);
    snprintf(office.name, sizeof office.name, "office");
    sim_process_init(&clerk, &office, "clerk");
    if (sim.options.admin_pause_ms > 0)
        sim_fiber_new(&clerk, run_office, NULL);
    if (sim.options.is_revoking)
        sim_fiber_new(&clerk, run_revocation, NULL);
}

bool sim_admin_is_idle(void)
{
    return clerk.fiber_count == 0;
}

void sim_admin_end(void)
{
    char count[200];
    if (pick("SELECT count(*) FROM satchel_migration WHERE ?1 IS NOT NULL", count))
        sim.deployed = (unsigned)strtoul(count, NULL, 10);
}
