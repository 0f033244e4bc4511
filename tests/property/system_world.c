/* Owns a history's beginning and end: files, clocks, the seed, the trace. See system_world.h. */
#include "system_world.h"

#include "../unit/replica_fixture.h"

#include <stdlib.h>
#include <unistd.h>

struct system_counts system_counts;

#define START_MS INT64_C(1700000000000)
#define HOUR_MS INT64_C(3600000)
#define YEAR_MS (365 * 24 * HOUR_MS)

enum { ARENA_BYTES_MAX = 256 << 20, TRACE_BYTES_MAX = 16 << 20, FILE_BYTES_MAX = 4 << 20 };

/* ---- chance, trace, failure ---- */

unsigned system_below(struct system_world *world, unsigned limit)
{
    return history_below(&world->random, limit);
}

bool system_one_in(struct system_world *world, unsigned limit)
{
    return history_below(&world->random, limit) == 0;
}

void system_put(struct satchel_buffer *buffer, const void *bytes, size_t size)
{
    enum satchel_status status = satchel_buffer_append(buffer, bytes, size);
    (void)status; /* what is too long to print is cut */
}

static void append(struct satchel_buffer *buffer, const char *format, va_list arguments)
{
    char line[4096];
    vsnprintf(line, sizeof line, format, arguments);
    system_put(buffer, line, strlen(line));
}

void system_trace(struct system_world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    append(&world->trace, format, arguments);
    va_end(arguments);
    system_put(&world->trace, "\n", 1);
}

void system_fail(struct system_world *world, const char *format, ...)
{
    struct satchel_buffer reason;
    va_list arguments;
    satchel_buffer_init(&reason, 1 << 20, NULL);
    va_start(arguments, format);
    append(&reason, format, arguments);
    va_end(arguments);
    if (world->is_server_open && !world->is_failing) {
        world->is_failing = true;
        system_describe_log(world);
    }
    printf("%s", satchel_buffer_text(&world->trace));
    printf("SATCHEL_SEED=%llu SATCHEL_HISTORIES=1 repeats it\nFAILED %llu: %s\n",
           (unsigned long long)world->seed, (unsigned long long)world->seed,
           satchel_buffer_text(&reason));
    fflush(stdout);
    fail_msg("seed %llu", (unsigned long long)world->seed);
}

void system_ok(struct system_world *world, enum satchel_status status, const char *doing,
               const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        system_fail(world, "%s: %s: %s", doing, satchel_status_name(status),
                    error ? error->message : "");
}

int64_t system_integer(struct system_world *world, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t integer = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        system_fail(world, "%s: %s", sql, sqlite3_errmsg(db));
    if (sqlite3_step(statement) == SQLITE_ROW)
        integer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return integer;
}

const struct satchel_schema *system_schema(struct system_world *world, sqlite3 *db)
{
    int64_t count = system_integer(world, db, "SELECT count(*) FROM satchel_migration");
    system_check(world, count == 1 || count == 2, "%lld migrations", (long long)count);
    return world->schemas[count - 1];
}

/* ---- clocks ---- */

static int64_t device_utc(void *context)
{
    const struct system_device *device = context;
    return device->world->now_ms + device->clock_error_ms;
}

static int64_t device_monotonic(void *context)
{
    const struct system_device *device = context;
    return device->world->now_ms - device->booted_ms;
}

static uint64_t device_boot(void *context)
{
    return ((const struct system_device *)context)->boot;
}

struct satchel_now system_device_now(const struct system_device *device)
{
    return (struct satchel_now){device_utc((void *)(uintptr_t)device),
                                device_monotonic((void *)(uintptr_t)device)};
}

/* The server's clock: every call of workspace_now_ms in the server's core comes here. */
static const struct system_world *the_world;
int64_t __wrap_workspace_now_ms(void);
int64_t __wrap_workspace_now_ms(void)
{
    return the_world->now_ms;
}

/* ---- schemas ---- */

/* Half of the time went into reading the same two schemas again and again: they are read once. */
enum satchel_status __real_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error);
enum satchel_status __wrap_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error);
void __real_satchel_schema_free(struct satchel_schema *schema);
void __wrap_satchel_schema_free(struct satchel_schema *schema);

enum satchel_status __wrap_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    int count = 0;
    if (sqlite3_prepare_v2(db, "SELECT count(*) FROM satchel_migration", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    if (count < 1 || count > 2 || !the_world->schemas[count - 1])
        return __real_satchel_schema_load(db, out, error);
    *out = the_world->schemas[count - 1];
    return SATCHEL_OK;
}

void __wrap_satchel_schema_free(struct satchel_schema *schema)
{
    if (schema && schema != the_world->schemas[0] && schema != the_world->schemas[1])
        __real_satchel_schema_free(schema);
}

/* ---- files ---- */

struct file {
    uint8_t *bytes;
    size_t size;
};
static struct file store_file, replay_file, replica_files[SYSTEM_DEVICES_MAX];

static struct file read_file(const char *path)
{
    struct file file = {malloc(FILE_BYTES_MAX), 0};
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    assert_non_null(file.bytes);
    file.size = fread(file.bytes, 1, FILE_BYTES_MAX, stream);
    assert_true(file.size > 0 && file.size < FILE_BYTES_MAX);
    fclose(stream);
    return file;
}

static void write_file(const char *path, const struct file *file)
{
    fixture_remove(path);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(file->bytes, 1, file->size, stream), file->size);
    assert_int_equal(fclose(stream), 0);
}

void system_store_write(const struct system_world *world, const char *path, bool is_for_replay)
{
    (void)world;
    write_file(path, is_for_replay ? &replay_file : &store_file);
}

/* Long enough that what the fixture makes of a path's end does not depend on the folder. */
static void replica_path(const struct system_world *world, unsigned index, char path[256])
{
    snprintf(path, 256, "%s/a-replica-of-the-whole-system-property-test-%u.db", world->folder,
             index);
}

static const char *role_of(unsigned index)
{
    return index == 0 ? "hq" : "rep";
}

static void enrol(struct system_world *world, sqlite3 *db, unsigned index)
{
    char sql[512], device[SATCHEL_ID_TEXT_BYTES], hash[2 * INVITE_HASH_BYTES + 1];
    uint8_t bytes[INVITE_HASH_BYTES];
    struct satchel_replica *replica = NULL;
    char path[256];
    struct satchel_error error = {0};
    replica_path(world, index, path);
    system_ok(world, satchel_replica_open(&replica, path, NULL, &error), "open a replica", &error);
    satchel_id_text(&replica->device, device);
    token_hash(satchel_span_of(replica->token, sizeof replica->token), bytes);
    satchel_hex(satchel_span_of(bytes, sizeof bytes), hash);
    world->devices[index].id = replica->device;
    satchel_replica_close(replica);
    snprintf(sql, sizeof sql,
             "INSERT INTO satchel_user(login, role) VALUES('user%u', '%s');"
             "INSERT INTO satchel_device(id, user, token, joined) VALUES(x'%s','user%u',x'%s',0)",
             index, role_of(index), device, index, hash);
    system_ok(world, satchel_db_exec(db, sql, &error), "enrol a device", &error);
}

static struct file make_store(struct system_world *world,
                              const struct satchel_migration *migrations, uint32_t count)
{
    char path[256];
    struct satchel_store *store = NULL;
    struct satchel_error error = {0};
    const char *notice;
    snprintf(path, sizeof path, "%s/template.db", world->folder);
    fixture_remove(path);
    system_ok(
        world,
        satchel_store_sqlite_create(&store, path, satchel_span_text("test"), START_MS, &error),
        "create a store", &error);
    system_ok(world, store->ops->begin(store, &error), "begin", &error);
    system_ok(world,
              deploy_migrations(store, migrations, count, START_MS, &world->arena, &notice, &error),
              "deploy", &error);
    sqlite3 *db = satchel_store_sqlite_db(store);
    for (unsigned i = 0; i < SYSTEM_DEVICES_MAX; i++)
        enrol(world, db, i);
    /* The fixture's workspace; a node that is the same in every run. */
    system_ok(
        world,
        satchel_db_exec(db,
                        "UPDATE satchel_id SET id = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'"
                        " WHERE id = (SELECT node FROM satchel_workspace);"
                        "UPDATE satchel_device SET id = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'"
                        " WHERE id = (SELECT node FROM satchel_workspace);"
                        "INSERT OR IGNORE INTO satchel_device(id, user, joined)"
                        " VALUES(x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0', 'satchel-server', 0);"
                        "UPDATE satchel_entry SET device = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0';"
                        "UPDATE satchel_workspace SET id = CAST('test-workspace!!' AS BLOB),"
                        " node = x'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'",
                        &error),
        "name the store", &error);
    system_ok(world, store->ops->commit(store, &error), "commit", &error);
    store->ops->close(store);
    struct file file = read_file(path);
    fixture_remove(path);
    return file;
}

void system_world_init(struct system_world *world)
{
    struct satchel_error error = {0};
    memset(world, 0, sizeof *world);
    the_world = world;
    world->migrations = system_migrations;
    satchel_arena_init(&world->arena, ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&world->trace, TRACE_BYTES_MAX, NULL);
    satchel_buffer_init(&world->scratch, TRACE_BYTES_MAX, NULL);
    const char *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(world->folder, sizeof world->folder, "%s/satchel-system-XXXXXX", memory);
    assert_non_null(mkdtemp(world->folder));
    world->now_ms = START_MS;
    for (uint32_t i = 0; i < 2; i++)
        system_ok(world, satchel_schema_new(&world->schemas[i], system_migrations, i + 1, &error),
                  "read the schema", &error);
    for (unsigned i = 0; i < SYSTEM_DEVICES_MAX; i++) {
        char path[256], login[16];
        struct satchel_replica *replica = NULL;
        replica_path(world, i, path);
        snprintf(login, sizeof login, "user%u", i);
        assert_int_equal(fixture_replica(path, (const char *)system_migrations[0].sql.data, login,
                                         role_of(i), NULL, &replica),
                         SATCHEL_OK);
        satchel_replica_close(replica);
    }
    store_file = make_store(world, system_migrations, 1);
    replay_file = make_store(world, system_bare_migrations, 2);
    for (unsigned i = 0; i < SYSTEM_DEVICES_MAX; i++) {
        char path[256];
        replica_path(world, i, path);
        replica_files[i] = read_file(path);
        fixture_remove(path);
    }
}

void system_world_deinit(struct system_world *world)
{
    rmdir(world->folder);
    free(store_file.bytes);
    free(replay_file.bytes);
    for (unsigned i = 0; i < SYSTEM_DEVICES_MAX; i++)
        free(replica_files[i].bytes);
    __real_satchel_schema_free(world->schemas[0]);
    __real_satchel_schema_free(world->schemas[1]);
    satchel_buffer_deinit(&world->trace);
    satchel_buffer_deinit(&world->scratch);
    satchel_arena_deinit(&world->arena);
}

/* ---- replicas ---- */

struct satchel_replica *system_open_replica(struct system_device *device)
{
    struct satchel_replica *replica = NULL;
    struct satchel_error error = {0};
    const struct satchel_open_options options = {sizeof options, &device->clock};
    system_ok(device->world, satchel_replica_open(&replica, device->path, &options, &error),
              "open a replica", &error);
    system_ok(device->world, satchel_replica_execute(replica->db, "PRAGMA synchronous=OFF", &error),
              "set up a replica", &error);
    return replica;
}

sqlite3 *system_app(struct system_device *device, unsigned which)
{
    struct satchel_error error = {0};
    if (!device->connections[which]) {
        device->connections[which] = system_open_replica(device);
        if (device->is_enforcing)
            system_ok(device->world,
                      satchel_replica_execute(device->connections[which]->db,
                                              "PRAGMA foreign_keys=ON", &error),
                      "set up a replica", &error);
    }
    return device->connections[which]->db;
}

void system_close_apps(struct system_device *device)
{
    for (unsigned i = 0; i < SYSTEM_CONNECTIONS; i++) {
        satchel_replica_close(device->connections[i]);
        device->connections[i] = NULL;
    }
}

static void open_device(struct system_world *world, unsigned index)
{
    struct system_device *device = &world->devices[index];
    struct satchel_id id = device->id;
    memset(device, 0, sizeof *device);
    device->world = world;
    device->index = index;
    device->id = id;
    device->clock = (struct satchel_clock){device, device_utc, device_monotonic, device_boot};
    device->boot = 1 + index;
    device->booted_ms = world->now_ms - 1000 * (int64_t)system_below(world, 5000);
    if (system_one_in(world, 2))
        device->clock_error_ms = (int64_t)system_below(world, 8000) - 4000;
    else if (system_one_in(world, 2))
        device->clock_error_ms = HOUR_MS * ((int64_t)system_below(world, 49) - 24);
    else
        device->clock_error_ms = YEAR_MS * ((int64_t)system_below(world, 61) - 30);
    device->is_enforcing = system_one_in(world, 2);
    replica_path(world, index, device->path);
    write_file(device->path, &replica_files[index]);
}

void system_world_open(struct system_world *world, uint64_t seed)
{
    world->seed = seed;
    world->random.state = seed;
    satchel_arena_reset(&world->arena);
    satchel_buffer_clear(&world->trace);
    world->now_ms = START_MS + 1000;
    world->changes = NULL;
    world->ops = NULL;
    world->change_count = world->op_count = world->change_capacity = world->op_capacity = 0;
    world->next_value = world->next_peer = 0;
    world->is_deployed = false;
    world->has_backup = world->was_restored = world->was_deployed = false;
    world->is_restored_at_times = seed % 4 == 0;
    world->pushes = world->last_push = NULL;
    world->device_count = 2 + system_below(world, SYSTEM_DEVICES_MAX - 1);
    world->has_stock = system_one_in(world, 2);
    world->has_rules = system_one_in(world, 2);
    char path[256];
    snprintf(path, sizeof path, "%s/test.db", world->folder);
    write_file(path, &store_file);
    system_server_open(world);
    for (unsigned i = 0; i < world->device_count; i++)
        open_device(world, i);
}

void system_world_close(struct system_world *world)
{
    for (unsigned i = 0; i < world->device_count; i++) {
        system_link_close(&world->devices[i]);
        system_link_forget_late(&world->devices[i]);
        system_close_apps(&world->devices[i]);
    }
    system_server_flush(world);
    system_server_close(world);
    for (unsigned i = 0; i < world->device_count; i++)
        fixture_remove(world->devices[i].path);
    fixture_remove(world->server.path);
}
