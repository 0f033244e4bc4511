/* Owns the world a scenario is played in: clocks, files and their state when the scenario begins,
 * enrolment. Implements what system_server.c and system_link.c need of a world. */
#include "play_internal.h"

#include "../unit/replica_fixture.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

enum { ARENA_BYTES_MAX = 256 << 20, TRACE_BYTES_MAX = 4 << 20, FILE_BYTES_MAX = 16 << 20 };

struct system_counts system_counts;

/* ---- chance, trace, failure ---- */

unsigned system_below(struct system_world *world, unsigned limit)
{
    uint64_t state = world->random.state; /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    world->random.state = state;
    return (unsigned)((state * UINT64_C(2685821657736338717)) >> 33) % limit;
}

bool system_one_in(struct system_world *world, unsigned limit)
{
    return system_below(world, limit) == 0;
}

void system_trace(struct system_world *world, const char *format, ...)
{
    char line[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    enum satchel_status status = satchel_buffer_format(&world->trace, "%s\n", line);
    (void)status; /* what is too long to print is cut */
}

void system_fail(struct system_world *world, const char *format, ...)
{
    char reason[4000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    printf("%s", satchel_buffer_text(&world->trace));
    fflush(stdout);
    fail_msg("%s", reason);
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
static struct system_world *the_world;
int64_t __wrap_workspace_now_ms(void);
int64_t __wrap_workspace_now_ms(void)
{
    return the_world->now_ms;
}

/* ---- the schema, read once: most of the time went into reading it for every connection ---- */

static struct satchel_schema *the_schema;
enum satchel_status __real_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error);
enum satchel_status __wrap_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error);
void __real_satchel_schema_free(struct satchel_schema *schema);
void __wrap_satchel_schema_free(struct satchel_schema *schema);

enum satchel_status __wrap_satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                               struct satchel_error *error)
{
    if (!the_schema)
        return __real_satchel_schema_load(db, out, error);
    *out = the_schema;
    return SATCHEL_OK;
}

void __wrap_satchel_schema_free(struct satchel_schema *schema)
{
    if (schema != the_schema)
        __real_satchel_schema_free(schema);
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
    if (!device->connections[which])
        device->connections[which] = system_open_replica(device);
    return device->connections[which]->db;
}

void system_close_apps(struct system_device *device)
{
    for (unsigned i = 0; i < SYSTEM_CONNECTIONS; i++) {
        satchel_replica_close(device->connections[i]);
        device->connections[i] = NULL;
    }
}

static void enrol(struct play *play, struct system_device *device, const char *login)
{
    char sql[512], id[SATCHEL_ID_TEXT_BYTES], hash[2 * INVITE_HASH_BYTES + 1];
    uint8_t bytes[INVITE_HASH_BYTES];
    struct system_world *world = &play->world;
    struct satchel_store *store = world->server.store;
    struct satchel_error error = {0};
    struct satchel_replica *replica = system_open_replica(device);
    device->id = replica->device;
    satchel_id_text(&replica->device, id);
    token_hash(satchel_span_of(replica->token, sizeof replica->token), bytes);
    satchel_hex(satchel_span_of(bytes, sizeof bytes), hash);
    satchel_replica_close(replica);
    snprintf(sql, sizeof sql,
             "INSERT INTO satchel_device(id, user, token, joined) VALUES(x'%s','%s',x'%s',0)", id,
             login, hash);
    system_ok(world, store->ops->begin(store, &error), "begin", &error);
    system_ok(world, satchel_db_exec(satchel_store_sqlite_db(store), sql, &error), "enrol a device",
              &error);
    system_ok(world, store->ops->commit(store, &error), "commit", &error);
}

void play_join(struct play *play, unsigned index)
{
    struct system_device *device = &play->world.devices[index];
    const char *login = play->scenario->devices[index].login;
    struct satchel_replica *replica = NULL;
    struct satchel_error error = {0};
    struct workspace_user user;
    if (play->is_joined[index])
        return;
    system_ok(&play->world,
              user_find(play->world.server.store, satchel_span_text(login), &play->world.arena,
                        &user, &error),
              "find a user", &error);
    system_check(&play->world, user.is_found, "nobody is called %s", login);
    assert_int_equal(fixture_replica_of(device->path, play->schema->migrations,
                                        play->schema->migration_count, login,
                                        (const char *)user.role.data, &device->clock, &replica),
                     SATCHEL_OK);
    satchel_replica_close(replica);
    enrol(play, device, login);
    play->is_joined[index] = true;
}

static void open_device(struct play *play, unsigned index)
{
    struct system_device *device = &play->world.devices[index];
    struct satchel_id id = device->id;
    memset(device, 0, sizeof *device);
    device->world = &play->world;
    device->index = index;
    device->id = id;
    device->clock = (struct satchel_clock){device, device_utc, device_monotonic, device_boot};
    device->boot = 1 + index;
    device->booted_ms = INT64_C(1700000000000);
    device->clock_error_ms = play->scenario->devices[index].clock_error_ms;
    /* The fixture makes the device's id from the path's end. */
    snprintf(device->path, sizeof device->path, "%s/a-replica-in-a-scenario-of-device-%02u.db",
             play->world.folder, index);
}

/* ---- files as they are when the scenario begins ---- */

static void keep_file(struct play *play, const char *path, const char *suffix)
{
    struct play_file *file = &play->files[play->file_count++];
    snprintf(file->path, sizeof file->path, "%s%s", path, suffix);
    FILE *stream = fopen(file->path, "rb");
    file->bytes = NULL;
    file->size = 0;
    if (!stream)
        return;
    file->bytes = malloc(FILE_BYTES_MAX);
    assert_non_null(file->bytes);
    file->size = fread(file->bytes, 1, FILE_BYTES_MAX, stream);
    assert_true(file->size < FILE_BYTES_MAX);
    fclose(stream);
}

static void close_all(struct play *play)
{
    for (unsigned i = 0; i < play->world.device_count; i++) {
        system_link_close(&play->world.devices[i]);
        system_close_apps(&play->world.devices[i]);
    }
    system_server_close(&play->world);
}

static void remove_all(struct play *play)
{
    close_all(play);
    fixture_remove(play->world.server.path);
    for (unsigned i = 0; i < play->world.device_count; i++)
        fixture_remove(play->world.devices[i].path);
}

void play_world_keep(struct play *play)
{
    close_all(play);
    keep_file(play, play->world.server.path, "");
    keep_file(play, play->world.server.path, "-wal");
    for (unsigned i = 0; i < play->world.device_count; i++) {
        keep_file(play, play->world.devices[i].path, "");
        keep_file(play, play->world.devices[i].path, "-wal");
    }
}

void play_world_restore(struct play *play, uint64_t seed)
{
    struct system_world *world = &play->world;
    remove_all(play);
    for (unsigned i = 0; i < play->file_count; i++) {
        const struct play_file *file = &play->files[i];
        FILE *stream = file->bytes ? fopen(file->path, "wb") : NULL;
        if (!file->bytes)
            continue;
        assert_non_null(stream);
        assert_int_equal(fwrite(file->bytes, 1, file->size, stream), file->size);
        assert_int_equal(fclose(stream), 0);
    }
    satchel_arena_reset(&world->arena);
    satchel_buffer_clear(&world->trace);
    world->random.state = seed;
    for (unsigned i = 0; i < world->device_count; i++)
        open_device(play, i);
    system_server_open(world);
}

/* ---- beginning and end ---- */

static void make_store(struct play *play)
{
    char path[256];
    struct system_world *world = &play->world;
    struct satchel_store *store = NULL;
    struct satchel_error error = {0};
    const char *notice;
    snprintf(path, sizeof path, "%s/test.db", world->folder);
    system_ok(
        world,
        satchel_store_sqlite_create(&store, path, satchel_span_text("test"), world->now_ms, &error),
        "create a store", &error);
    system_ok(world, store->ops->begin(store, &error), "begin", &error);
    system_ok(world,
              deploy_migrations(store, play->schema->migrations, play->schema->migration_count,
                                world->now_ms, &world->arena, &notice, &error),
              "deploy", &error);
    /* The fixture's workspace. */
    system_ok(world,
              satchel_db_exec(satchel_store_sqlite_db(store),
                              "UPDATE satchel_workspace SET id = CAST('test-workspace!!' AS BLOB)",
                              &error),
              "name the store", &error);
    system_ok(world, store->ops->commit(store, &error), "commit", &error);
    store->ops->close(store);
}

void play_world_open(struct play *play)
{
    struct system_world *world = &play->world;
    struct satchel_error error = {0};
    the_world = world;
    world->migrations = play->schema->migrations;
    world->now_ms = play->scenario->steps[0].at_ms - 3600000;
    world->random.state = 1;
    world->device_count = play->scenario->device_count;
    satchel_arena_init(&world->arena, ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&world->trace, TRACE_BYTES_MAX, NULL);
    satchel_buffer_init(&world->scratch, TRACE_BYTES_MAX, NULL);
    const char *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(world->folder, sizeof world->folder, "%s/satchel-scenario-XXXXXX", memory);
    assert_non_null(mkdtemp(world->folder));
    make_store(play);
    system_ok(world,
              satchel_schema_new(&the_schema, play->schema->migrations,
                                 play->schema->migration_count, &error),
              "read the schema", &error);
    for (unsigned i = 0; i < world->device_count; i++)
        open_device(play, i);
    system_server_open(world);
}

void play_world_close(struct play *play)
{
    remove_all(play);
    rmdir(play->world.folder);
    __real_satchel_schema_free(the_schema);
    the_schema = NULL;
    for (unsigned i = 0; i < play->file_count; i++)
        free(play->files[i].bytes);
    satchel_buffer_deinit(&play->world.trace);
    satchel_buffer_deinit(&play->world.scratch);
    satchel_arena_deinit(&play->world.arena);
}

/* ---- the schema ---- */

static int is_migration(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 4 && strcmp(entry->d_name + size - 4, ".sql") == 0;
}

void play_schema_read(struct play_schema *schema, const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_migration, alphasort);
    assert_true(count > 0);
    satchel_arena_init(&schema->arena, ARENA_BYTES_MAX, NULL);
    schema->migration_count = (uint32_t)count;
    schema->migrations =
        SATCHEL_ARENA_ARRAY(&schema->arena, struct satchel_migration, (size_t)count);
    assert_non_null(schema->migrations);
    for (int i = 0; i < count; i++) {
        char path[1000], *text = satchel_arena_alloc(&schema->arena, 1 << 20);
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        FILE *stream = fopen(path, "rb");
        assert_non_null(stream);
        assert_non_null(text);
        size_t size = fread(text, 1, (1 << 20) - 1, stream);
        text[size] = '\0';
        fclose(stream);
        schema->migrations[i].number = (uint64_t)i + 1;
        schema->migrations[i].name =
            satchel_arena_copy(&schema->arena, satchel_span_text(entries[i]->d_name));
        schema->migrations[i].sql = satchel_span_of(text, size);
        free(entries[i]);
    }
    free(entries);
}

void play_schema_free(struct play_schema *schema)
{
    satchel_arena_deinit(&schema->arena);
}
