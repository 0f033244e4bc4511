/* Owns the comparison of a run's end with the naive reference, and of the same change sets in other
 * orders of arrival: what the whole-system property test does (tests/property/system_*.c) on the
 * store that a run has left. Implements what those files need of a world. */
#include "../property/system_world.h"
#include "simulation.h"

#include <string.h>

enum { ENTRIES_MAX = 200, PARTS_MAX = 500 };

struct system_counts system_counts;
static struct system_world world;

/* ---- what the system test's files ask of their world ---- */

unsigned system_below(struct system_world *of, unsigned limit)
{
    (void)of;
    return sim_below(SIM_ORDER, limit);
}

bool system_one_in(struct system_world *of, unsigned limit)
{
    (void)of;
    return sim_one_in(SIM_ORDER, limit);
}

void system_put(struct satchel_buffer *buffer, const void *bytes, size_t size)
{
    enum satchel_status status = satchel_buffer_append(buffer, bytes, size);
    (void)status; /* what is too long to print is cut */
}

void system_trace(struct system_world *of, const char *format, ...)
{
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    system_put(&of->trace, line, strlen(line));
    system_put(&of->trace, "\n", 1);
}

void system_fail(struct system_world *of, const char *format, ...)
{
    char reason[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    sim_fail("%s\n%s", reason, satchel_buffer_text(&of->trace));
}

void system_ok(struct system_world *of, enum satchel_status status, const char *doing,
               const struct satchel_error *error)
{
    (void)of;
    sim_ok(status, doing, error);
}

int64_t system_integer(struct system_world *of, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *select = NULL;
    int64_t integer = 0;
    (void)of;
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        sim_fail("%s: %s", sql, sqlite3_errmsg(db));
    if (sqlite3_step(select) == SQLITE_ROW)
        integer = sqlite3_column_int64(select, 0);
    sqlite3_finalize(select);
    return integer;
}

const struct satchel_schema *system_schema(struct system_world *of, sqlite3 *db)
{
    return sim_schema((unsigned)system_integer(of, db, "SELECT count(*) FROM satchel_migration"));
}

void system_store_write(const struct system_world *of, const char *path, bool is_for_replay)
{
    (void)of;
    sim_check(is_for_replay, "only stores for replays are written");
    char from[64];
    snprintf(from, sizeof from, "/sim/t%d/replay.db", (int)sim.options.world);
    sim_disk_copy(from, path);
}

/* ---- the world of a run ---- */

static void open_world(void)
{
    struct satchel_error error = {0};
    memset(&world, 0, sizeof world);
    satchel_arena_init(&world.arena, (size_t)1 << 30, NULL);
    satchel_buffer_init(&world.trace, 64 << 20, NULL);
    satchel_buffer_init(&world.scratch, 64 << 20, NULL);
    snprintf(world.folder, sizeof world.folder, "/sim/c");
    world.seed = sim.seed;
    world.now_ms = sim.now_ms;
    world.device_count = sim.device_count;
    world.is_deployed = sim.deployed == sim.template->migration_count;
    world.schemas[0] = sim.template->schemas[0];
    world.schemas[1] = sim.template->schemas[sim.template->migration_count - 1];
    for (unsigned i = 0; i < sim.device_count; i++)
        world.devices[i].id = sim.devices[i].id;
    sim_disk_copy("/sim/server/test.db", "/sim/c/test.db");
    sim_ok(satchel_store_sqlite_open(&world.server.store, "/sim/c/test.db", &error),
           "open the store", &error);
}

/* Whether the server has written by itself more than the first rows of migrations, or would where
 * it is played again. */
static bool has_own_entries(const struct system_entry *entries, size_t count)
{
    unsigned own = sim.options.has_numbers;
    for (size_t i = 0; i < count; i++)
        own += entries[i].device.bytes[0] == 0xe0 && entries[i].device.bytes[15] == 0xe0;
    return own > sim.deployed;
}

static void close_world(void)
{
    world.server.store->ops->close(world.server.store);
    satchel_buffer_deinit(&world.trace);
    satchel_buffer_deinit(&world.scratch);
    satchel_arena_deinit(&world.arena);
}

void sim_check_reference(bool is_end)
{
    struct system_entry *entries;
    struct system_snapshot store;
    size_t count, parts = 0;
    open_world();
    sqlite3 *db = satchel_store_sqlite_db(world.server.store);
    bool is_packed = system_integer(&world, db, "SELECT count(*) FROM satchel_segment") > 0;
    /* The reference knows nothing of references to rows that were merged. */
    bool has_moved = sim.options.world == SIM_CRM &&
                     system_integer(&world, db, "SELECT count(*) FROM satchel_alias") > 0;
    if (!is_packed && !has_moved) {
        system_entries_load(&world, &entries, &count);
        for (size_t i = 0; i < count; i++)
            parts += entries[i].content.header.part_count;
        if (count <= ENTRIES_MAX && parts <= PARTS_MAX) {
            system_snapshot_take(&world, db, &store);
            system_check_reference(&world, entries, count, &store);
            if (sim.options.world == SIM_DUEL)
                sim_check_clusters(&world, entries, count, &store);
            sim.counts.reference_checks++;
            if (is_end && sim.options.world != SIM_CRM && !has_own_entries(entries, count))
                system_replay(&world, entries, count);
            sim.counts.replays += system_counts.replays;
        }
    }
    close_world();
}

void sim_describe_log(struct satchel_buffer *out)
{
    open_world();
    system_describe_log(&world);
    system_put(out, world.trace.data, world.trace.size);
}
