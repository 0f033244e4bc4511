/* The paths that every user pays for, on the same input each time, for who counts instructions
 * (hot_paths.py). What a function named region_... does is counted, what prepares it is not; those
 * named ..._raw are the same statements on plain tables. */
#include "bench_captured.h"
#include "bench_contacts.h"
#include "bench_device.h"

#include <satchel/message.h>

#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 4000, SINGLE_ROWS = 500, FRAME_ENTRIES = 4 };

/* By their names they are found: they are not inlined, nor made special for what they get. */
#define REGION(name, ...)            \
    void region_##name(__VA_ARGS__); \
    __attribute__((noinline, noclone, noipa)) void region_##name(__VA_ARGS__)

/* ---- an application's writes ---- */

/* The same statements twice: on a plain table, and captured. */
#define REGION_PAIR(name)             \
    REGION(name##_raw, sqlite3 *db)   \
    {                                 \
        name(db);                     \
    }                                 \
    REGION(name##_local, sqlite3 *db) \
    {                                 \
        name(db);                     \
    }

static void insert(sqlite3 *db)
{
    bench_contacts_insert(db, BENCH_CONTACT_INSERT, BENCH_RANDOM, 0, ROWS,
                          BENCH_ROWS_PER_TRANSACTION);
}

static void update(sqlite3 *db)
{
    bench_contacts_update(db, BENCH_RANDOM, ROWS, 7);
}

static void single(sqlite3 *db)
{
    bench_contacts_insert(db, BENCH_CONTACT_INSERT, BENCH_RANDOM, ROWS, SINGLE_ROWS, 1);
}

REGION_PAIR(insert)
REGION_PAIR(update)
REGION_PAIR(single)

static void write_raw(const struct bench *bench)
{
    struct bench_plain plain;
    bench_plain_open(&plain, bench, "bench-raw.db");
    region_insert_raw(plain.db);
    region_update_raw(plain.db);
    region_single_raw(plain.db);
    bench_plain_close(&plain);
}

static void write_local(const struct bench *bench)
{
    struct bench_replica replica;
    bench_replica_open(&replica, bench, "bench-replica.db", "ann");
    region_insert_local(replica.db);
    region_update_local(replica.db);
    region_single_local(replica.db);
    bench_replica_close(&replica);
}

/* ---- a server's merge, a device's apply, and what goes between them ---- */

REGION(insert_merge, struct bench_server *server, const struct bench_captured *captured)
{
    bench_captured_merge(server, 0, captured->inserts, captured->insert_count);
}

REGION(update_merge, struct bench_server *server, const struct bench_captured *captured)
{
    bench_captured_merge(server, 0, captured->updates, captured->update_count);
}

REGION(conflict_merge, struct bench_server *server, const struct bench_captured *captured)
{
    bench_captured_merge(server, 1, captured->rival, captured->rival_count);
}

REGION(insert_apply, struct bench_device *device, const struct satchel_entry *entries,
       uint32_t count)
{
    bench_device_apply(device, entries, count);
}

REGION(update_apply, struct bench_device *device, const struct satchel_entry *entries,
       uint32_t count)
{
    bench_device_apply(device, entries, count);
}

REGION(frame_write, struct satchel_buffer *frame, struct satchel_buffer *text,
       const struct satchel_message *message)
{
    if (satchel_message_write(text, message) != SATCHEL_OK ||
        satchel_frame_write(frame, satchel_buffer_span(text)) != SATCHEL_OK)
        bench_fail("frame", "cannot be written");
}

REGION(frame_read, struct satchel_buffer *frame, struct satchel_buffer *text,
       struct satchel_arena *arena)
{
    struct satchel_message message;
    struct satchel_span bytes;
    struct satchel_error error = {0};
    if (satchel_frame_read(satchel_buffer_span(frame), SATCHEL_FRAME_BYTES_MAX, text, &bytes,
                           &error) != SATCHEL_OK ||
        satchel_message_read(bytes, arena, &message, &error) != SATCHEL_OK)
        bench_fail("frame", error.message);
}

static void send(struct satchel_entry *entries, uint32_t count)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ENTRIES};
    struct satchel_buffer frame, text;
    struct satchel_arena arena;
    message.entries.entries = entries;
    message.entries.entry_count = count;
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    satchel_buffer_init(&frame, SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_buffer_init(&text, SATCHEL_FRAME_BYTES_MAX, NULL);
    region_frame_write(&frame, &text, &message);
    satchel_buffer_clear(&text);
    region_frame_read(&frame, &text, &arena);
    satchel_buffer_deinit(&frame);
    satchel_buffer_deinit(&text);
    satchel_arena_deinit(&arena);
}

static void merge_and_apply(const struct bench *bench)
{
    struct bench_captured captured;
    struct bench_server server;
    struct bench_entries entries;
    struct bench_device device;
    bench_capture(&captured, bench, BENCH_RANDOM, ROWS);
    bench_server_open(&server, bench, "bench-store", BENCH_CONTACT_TRACKED, 2);
    region_insert_merge(&server, &captured);
    region_update_merge(&server, &captured);
    region_conflict_merge(&server, &captured);
    bench_entries_read(&entries, &server);
    bench_server_close(&server);
    send(entries.items, FRAME_ENTRIES);
    bench_device_open(&device, bench);
    region_insert_apply(&device, entries.items, captured.insert_count);
    region_update_apply(&device, entries.items + captured.insert_count, captured.update_count);
    bench_device_close(&device);
    bench_entries_free(&entries);
    bench_captured_free(&captured);
}

int main(int count, char **words)
{
    const struct bench bench = {.folder = count > 1 ? words[1] : "."};
    write_raw(&bench);
    write_local(&bench);
    merge_and_apply(&bench);
    return 0;
}
