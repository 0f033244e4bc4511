/* Owns what must hold on the way: a replica that has nothing pending shows, at whatever place of
 * the stream it stands, what the server had there; not a transaction in part, not an entry twice.
 * Until the server is restored: then there are two streams, and replicas stand in both. */
#include "simulation.h"

#include <stdlib.h>
#include <string.h>

/* What the server's tables were at the end of a commit. */
enum { TABLES_MAX = 40 };
struct moment {
    uint64_t cursor;
    unsigned migrations;
    uint64_t tables[TABLES_MAX];
};
static struct moment *moments;
static size_t moment_count, moment_capacity;

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ from[i]) * UINT64_C(0x100000001b3);
    return (hash ^ size) * UINT64_C(0x9fb21c651e98df25);
}

static uint64_t hash_table(sqlite3 *db, const struct satchel_table *table)
{
    struct sim_sql sql = {0};
    uint64_t hash = 0;
    sim_put(&sql, "SELECT * FROM \"%s\" ORDER BY ", table->name);
    for (uint32_t k = 0; k < table->key_count; k++)
        sim_put(&sql, "%s\"%s\"", k ? "," : "", table->columns[table->key_columns[k]].name);
    sqlite3_stmt *select = sim_prepare(db, sql.text);
    int code;
    while ((code = sqlite3_step(select)) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(select); i++) {
            int type = sqlite3_column_type(select, i);
            hash = mix(hash, &type, sizeof type);
            const void *bytes = sqlite3_column_blob(select, i);
            hash = mix(hash, bytes, (size_t)sqlite3_column_bytes(select, i));
        }
    sim_check(code == SQLITE_DONE, "%s: %s", sql.text, sqlite3_errmsg(db));
    sqlite3_finalize(select);
    free(sql.text);
    return hash;
}

static void hash_tables(sqlite3 *db, unsigned migrations, uint64_t hashes[TABLES_MAX])
{
    const struct satchel_schema *schema = sim_schema(migrations);
    sim_check(schema->table_count <= TABLES_MAX, "too many tables");
    memset(hashes, 0, TABLES_MAX * sizeof *hashes);
    for (uint32_t i = 0; i < schema->table_count; i++)
        if (!schema->tables[i].is_local)
            hashes[i] = hash_table(db, &schema->tables[i]);
}

static const struct moment *find_moment(uint64_t cursor, unsigned migrations)
{
    for (size_t i = moment_count; i > 0; i--)
        if (moments[i - 1].cursor == cursor && moments[i - 1].migrations == migrations)
            return &moments[i - 1];
    return NULL;
}

void sim_watch_server(void)
{
    if (sim_has_scopes())
        (void)sim_sight_observe();
    if (!sim.options.checks_watch || sim.server.was_restored || sim_has_scopes())
        return;
    struct sim_process *running = sim_enter(NULL);
    sqlite3 *db = sim_observe("/sim/server/test.db");
    uint64_t cursor = sim_integer(db, "SELECT cursor FROM satchel_workspace");
    unsigned migrations = (unsigned)sim_integer(db, "SELECT count(*) FROM satchel_migration");
    if (moment_count == 0 || moments[moment_count - 1].cursor != cursor ||
        moments[moment_count - 1].migrations != migrations) {
        SIM_GROW(moments, moment_count, moment_capacity);
        struct moment *moment = &moments[moment_count++];
        *moment = (struct moment){cursor, migrations, {0}};
        hash_tables(db, migrations, moment->tables);
    }
    sim_unobserve(db);
    sim_leave(running);
}

void sim_watch_device(const struct sim_device *device, sqlite3 *db)
{
    if (!sim.options.checks_watch || sim.server.was_restored || sim_has_scopes())
        return;
    struct sim_process *running = sim_enter(NULL);
    const struct moment *moment =
        find_moment(sim_integer(db, "SELECT cursor FROM satchel_replica"),
                    (unsigned)sim_integer(db, "SELECT count(*) FROM satchel_migration"));
    if (moment && sim_integer(db, "SELECT count(*) FROM satchel_change") == 0) {
        uint64_t hashes[TABLES_MAX];
        hash_tables(db, moment->migrations, hashes);
        for (unsigned i = 0; i < TABLES_MAX; i++)
            sim_check(hashes[i] == moment->tables[i],
                      "%s shows in %s, at entry %llu, what the server never had there",
                      device->machine.name, sim_schema(moment->migrations)->tables[i].name,
                      (unsigned long long)moment->cursor);
        sim.counts.watch_checks++;
    }
    sim_leave(running);
}
