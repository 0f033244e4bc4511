/* Owns what every run begins with, made once: a central store and a joined replica per device, for
 * each world; and the schemas, read once. */
#include "simulation.h"

#include "../../client-core/src/replica.h"
#include "../property/system_schema.h"
#include "../unit/replica_fixture.h"
#include "store_sqlite.h"
#include "workspace_internal.h"

#include <stdlib.h>
#include <string.h>

struct sim_template sim_templates[SIM_WORLD_COUNT];

#define MADE_MS INT64_C(1760000000000)

const char *sim_role_of(unsigned device)
{
    static const char *const crm[SIM_DEVICES_MAX] = {"rep", "branch_manager", "rep",
                                                     "hq",  "finance",        "engineer"};
    static const char *const masked[SIM_DEVICES_MAX] = {"rep", "boss",  "rep",
                                                        "rep", "chief", "boss"};
    if (sim.template == &sim_templates[SIM_CRM])
        return crm[device];
    if (sim.template == &sim_templates[SIM_SCOPED])
        return "rep";
    if (sim.template == &sim_templates[SIM_MASKED])
        return masked[device];
    return device == 1 ? "hq" : "rep";
}

/* In the world of scopes one user has two devices. */
unsigned sim_user_of(enum sim_world world, unsigned device)
{
    return sim_is_scoped(world) && device == 3 ? 0 : device;
}

bool sim_is_scoped(enum sim_world world)
{
    return world == SIM_SCOPED || world == SIM_MASKED;
}

const struct satchel_schema *sim_schema(unsigned migration_count)
{
    sim_check(migration_count > 0 && migration_count <= sim.template->migration_count,
              "%u migrations", migration_count);
    return sim.template->schemas[migration_count - 1];
}

/* ---- schemas are read once, by whoever loads one ---- */

enum satchel_status __real_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error);
enum satchel_status __wrap_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error);
void __real_satchel_schema_free(struct satchel_schema *schema);
void __wrap_satchel_schema_free(struct satchel_schema *schema);

enum satchel_status __wrap_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    unsigned count = 0;
    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM satchel_migration", -1, &select, NULL) ==
            SQLITE_OK &&
        sqlite3_step(select) == SQLITE_ROW)
        count = (unsigned)sqlite3_column_int(select, 0);
    sqlite3_finalize(select);
    if (!sim.template || count == 0 || count > sim.template->migration_count ||
        !sim.template->schemas[count - 1])
        return __real_satchel_schema_load(db, out, error);
    *out = sim.template->schemas[count - 1];
    return SATCHEL_OK;
}

void __wrap_satchel_schema_free(struct satchel_schema *schema)
{
    for (int i = 0; i < SIM_WORLD_COUNT; i++)
        for (unsigned m = 0; m < SIM_MIGRATIONS_MAX; m++)
            if (schema && schema == sim_templates[i].schemas[m])
                return;
    __real_satchel_schema_free(schema);
}

/* ---- the migrations ---- */

static void add_migration(struct sim_template *template, const char *name, struct satchel_span sql,
                          struct satchel_span bare)
{
    unsigned i = template->migration_count++;
    template->migrations[i] = (struct satchel_migration){i + 1, satchel_span_text(name), sql};
    template->bare[i] = (struct satchel_migration){i + 1, satchel_span_text(name), bare};
}

static struct satchel_span read_text(const char *name)
{
    enum { TEXT_BYTES_MAX = 1 << 20 };
    char path[400], *text = sim_alloc(NULL, TEXT_BYTES_MAX);
    snprintf(path, sizeof path, "%s/examples/crm/schema/%s", SATCHEL_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    size_t size = fread(text, 1, TEXT_BYTES_MAX, file);
    fclose(file);
    return satchel_span_of(text, size);
}

/* One sees everything, two a branch, one of these a team of it, two what is theirs or shared. */
static const char TEAM[] = "INSERT INTO org_unit(id,kind,code,name,parent_id,created_at) VALUES"
                           "('north','branch','N','North','head-office',1),"
                           "('south','branch','S','South','head-office',1),"
                           "('south-two','team','S2','South two','south',1);\n"
                           "INSERT INTO user(id,login,name,role,org_unit_id,created_at) VALUES"
                           "('u0','user0','Ana','rep','north',1),"
                           "('u1','user1','Ben','branch_manager','south',1),"
                           "('u2','user2','Cai','rep','south-two',1),"
                           "('u3','user3','Dee','hq','head-office',1),"
                           "('u4','user4','Eve','finance',NULL,1),"
                           "('u5','user5','Fay','engineer','north',1);\n"
                           "INSERT INTO product(id,code,name,price_minor,created_at) VALUES"
                           "('p0','P-0','Pump',1000,1),('p1','P-1','Valve',200,1);\n";
static const char LATER[] = "ALTER TABLE account ADD COLUMN nickname TEXT; -- @lww\n"
                            "ALTER TABLE lead ADD COLUMN heat INTEGER DEFAULT 1; -- @max\n";

/* What the node writes by itself, which no device can say again in its place. */
static const char NUMBERED[] = "-- @table scope=all delete=edit_wins\n"
                               "CREATE TABLE ticket(id TEXT PRIMARY KEY, number TEXT, -- @server\n"
                               "  note TEXT);\n"
                               "CREATE VIEW satchel_numbers(tbl, col, series, format) AS"
                               " SELECT 'ticket', 'number', 'T', 'T-{branch}-{n}';\n";

static struct satchel_span with_numbered(struct satchel_span sql)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, 1 << 20, NULL);
    sim_ok(satchel_buffer_append(&text, NUMBERED, sizeof NUMBERED - 1), "read", NULL);
    sim_ok(satchel_buffer_append(&text, sql.data, sql.size), "read", NULL);
    return satchel_buffer_span(&text);
}

static void add_scoped(struct sim_template *template, bool has_masks)
{
    struct satchel_buffer all, bare;
    satchel_buffer_init(&all, 1 << 20, NULL);
    satchel_buffer_init(&bare, 1 << 20, NULL);
    sim_scoped_tables(has_masks, &all);
    sim_scoped_tables(has_masks, &bare);
    sim_scoped_rows(has_masks, &all);
    add_migration(template, "001_scoped.sql", satchel_buffer_span(&all),
                  satchel_buffer_span(&bare));
    template->first_count = 1;
}

static void read_migrations(void)
{
    struct sim_template *rules = &sim_templates[SIM_RULES], *crm = &sim_templates[SIM_CRM];
    const struct satchel_span none = satchel_span_text("-- no rows\n");
    for (unsigned i = 0; i < 2; i++)
        add_migration(rules, (const char *)system_migrations[i].name.data, system_migrations[i].sql,
                      system_bare_migrations[i].sql);
    rules->migrations[0].sql = with_numbered(rules->migrations[0].sql);
    rules->bare[0].sql = with_numbered(rules->bare[0].sql);
    rules->first_count = 1;
    struct satchel_span tables = read_text("001_crm.sql");
    struct satchel_span views = read_text("003_views.sql");
    add_migration(crm, "001_crm.sql", tables, tables);
    add_migration(crm, "002_stages.sql", read_text("002_stages.sql"), none);
    add_migration(crm, "003_views.sql", views, views);
    add_migration(crm, "004_team.sql", satchel_span_text(TEAM), none);
    add_migration(crm, "005_later.sql", satchel_span_text(LATER), satchel_span_text(LATER));
    /* Head office's first rows come with the team's: users name their unit. */
    struct satchel_buffer team;
    struct satchel_span office = read_text("004_head_office.sql");
    satchel_buffer_init(&team, 1 << 20, NULL);
    sim_ok(satchel_buffer_append(&team, office.data, office.size), "read", NULL);
    sim_ok(satchel_buffer_append(&team, TEAM, sizeof TEAM - 1), "read", NULL);
    crm->migrations[3].sql = satchel_buffer_span(&team);
    crm->first_count = 4;
    struct satchel_buffer duel;
    satchel_buffer_init(&duel, 1 << 20, NULL);
    sim_ok(satchel_buffer_format(&duel, "%s%s", sim_duel_tables, sim_duel_rows), "read", NULL);
    add_migration(&sim_templates[SIM_DUEL], "001_duel.sql", satchel_buffer_span(&duel),
                  satchel_span_text(sim_duel_tables));
    sim_templates[SIM_DUEL].first_count = 1;
    add_scoped(&sim_templates[SIM_SCOPED], false);
    add_scoped(&sim_templates[SIM_MASKED], true);
}

/* ---- files ---- */

static void path_of(enum sim_world world, int device, char path[64])
{
    if (device < 0)
        snprintf(path, 64, "/sim/t%d/test.db", (int)world);
    else
        snprintf(path, 64, "/sim/t%d/r%d/replica.db", (int)world, device);
}

static void make_replica(struct sim_template *template, enum sim_world world, int device)
{
    char path[64], login[16];
    struct satchel_replica *replica = NULL;
    path_of(world, device, path);
    snprintf(login, sizeof login, "user%u", sim_user_of(world, (unsigned)device));
    sim_ok(fixture_replica_of(path, template->migrations, template->first_count, login,
                              sim_role_of((unsigned)device), NULL, &replica),
           "make a replica", NULL);
    template->devices[device] = replica->device;
    satchel_replica_close(replica);
}

static void enrol(sqlite3 *db, enum sim_world world, int device)
{
    char path[64], sql[512], id[SATCHEL_ID_TEXT_BYTES], hash[2 * INVITE_HASH_BYTES + 1];
    uint8_t bytes[INVITE_HASH_BYTES];
    struct satchel_replica *replica = NULL;
    struct satchel_error error = {0};
    path_of(world, device, path);
    sim_ok(satchel_replica_open(&replica, path, NULL, &error), "open a replica", &error);
    satchel_id_text(&replica->device, id);
    token_hash(satchel_span_of(replica->token, sizeof replica->token), bytes);
    satchel_hex(satchel_span_of(bytes, sizeof bytes), hash);
    satchel_replica_close(replica);
    snprintf(sql, sizeof sql,
             "INSERT INTO satchel_device(id, user, token, joined) VALUES(x'%s','user%u',x'%s',0)",
             id, sim_user_of(world, (unsigned)device), hash);
    sim_ok(satchel_db_exec(db, sql, &error), "enrol a device", &error);
    if (world == SIM_CRM || sim_is_scoped(world))
        return; /* its users are rows of the workspace */
    snprintf(sql, sizeof sql, "INSERT INTO satchel_user(login, role) VALUES('user%d','%s')", device,
             sim_role_of((unsigned)device));
    sim_ok(satchel_db_exec(db, sql, &error), "add a user", &error);
}

/* A node that is the same in every run. */
static const char NAME_STORE[] =
    "UPDATE satchel_id SET id = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'"
    " WHERE id = (SELECT node FROM satchel_workspace);"
    "UPDATE satchel_device SET id = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'"
    " WHERE id = (SELECT node FROM satchel_workspace);"
    "INSERT OR IGNORE INTO satchel_device(id, user, joined)"
    " VALUES(x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0', 'satchel-server', 0);"
    "UPDATE satchel_entry SET device = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0';"
    "UPDATE satchel_workspace SET id = CAST('test-workspace!!' AS BLOB),"
    " node = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'";

static void make_store(struct sim_template *template, enum sim_world world, bool is_for_replay)
{
    char path[64];
    struct satchel_store *store = NULL;
    struct satchel_error error = {0};
    const char *notice;
    path_of(world, -1, path);
    if (is_for_replay)
        snprintf(path, sizeof path, "/sim/t%d/replay.db", (int)world);
    sim_ok(satchel_store_sqlite_create(&store, path, satchel_span_text("test"), MADE_MS, &error),
           "create a store", &error);
    sim_ok(store->ops->begin(store, &error), "begin", &error);
    sim_ok(deploy_migrations(store, is_for_replay ? template->bare : template->migrations,
                             is_for_replay ? template->migration_count : template->first_count,
                             MADE_MS, &sim.arena, &notice, &error),
           "deploy", &error);
    for (int i = 0; i < SIM_DEVICES_MAX; i++)
        enrol(satchel_store_sqlite_db(store), world, i);
    sim_ok(satchel_db_exec(satchel_store_sqlite_db(store), NAME_STORE, &error), "name the store",
           &error);
    sim_ok(store->ops->commit(store, &error), "commit", &error);
    store->ops->close(store);
}

void sim_templates_make(void)
{
    struct satchel_error error = {0};
    sim.now_ms = MADE_MS;
    satchel_arena_init(&sim.arena, (size_t)1 << 30, NULL);
    satchel_buffer_init(&sim.scratch, 64 << 20, NULL);
    read_migrations();
    for (int world = 0; world < SIM_WORLD_COUNT; world++) {
        struct sim_template *template = &sim_templates[world];
        sim.template = template;
        for (uint32_t i = 0; i < template->migration_count; i++)
            sim_ok(satchel_schema_new(&template->schemas[i], template->migrations, i + 1, &error),
                   "read the schema", &error);
        for (int i = 0; i < SIM_DEVICES_MAX; i++)
            make_replica(template, (enum sim_world)world, i);
        make_store(template, (enum sim_world)world, false);
        make_store(template, (enum sim_world)world, true);
    }
    sim.template = NULL;
    satchel_arena_reset(&sim.arena);
}

void sim_template_use(enum sim_world world)
{
    char from[64];
    sim.template = &sim_templates[world];
    path_of(world, -1, from);
    sim_disk_copy(from, "/sim/server/test.db");
    for (unsigned i = 0; i < sim.device_count; i++) {
        path_of(world, (int)i, from);
        sim_disk_copy(from, sim.devices[i].path);
    }
    sim.deployed = sim.template->first_count;
}
