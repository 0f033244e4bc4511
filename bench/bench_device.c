/* Owns the device of a measurement, and the reading of what it is sent. */
#include "bench_device.h"

#include <satchel/changeset.h>
#include <satchel/log_reader.h>

static void must(enum satchel_status status, const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        bench_fail("device", error->message[0] ? error->message : satchel_status_name(status));
}

/* ---- entries ---- */

static const uint8_t SECRET[SATCHEL_SECRET_BYTES] = {1};

static struct satchel_entry *add_entry(struct bench_entries *entries)
{
    enum { ENTRIES_MAX = 4096 };
    if (!entries->items)
        entries->items = SATCHEL_ARENA_ARRAY(&entries->arena, struct satchel_entry, ENTRIES_MAX);
    if (!entries->items || entries->count == ENTRIES_MAX)
        bench_fail("device", "too many entries");
    return &entries->items[entries->count++];
}

void bench_entries_read(struct bench_entries *entries, struct bench_server *server)
{
    struct satchel_log_reader *reader;
    struct satchel_log_entry read;
    struct satchel_buffer text;
    struct satchel_span body;
    struct satchel_error error = {0};
    bool found = true;
    *entries = (struct bench_entries){0};
    satchel_arena_init(&entries->arena, (size_t)4 << 30, NULL);
    satchel_buffer_init(&text, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    must(satchel_log_reader_new(&reader, satchel_store_sqlite_db(server->store)), &error);
    must(satchel_log_read_from(reader, 0, NULL, 0, &error), &error);
    while (found) {
        must(satchel_log_read_next(reader, &found, &read, &error), &error);
        if (!found)
            break;
        struct satchel_entry *entry = add_entry(entries);
        must(satchel_body_load(read.entry.body, &text, &body), &error);
        *entry = read.entry;
        entry->body = satchel_arena_copy(&entries->arena, body);
        entry->notes = satchel_arena_copy(&entries->arena, read.entry.notes);
        entry->user = satchel_arena_copy(&entries->arena, read.entry.user);
        entry->positions = satchel_span_of(NULL, 0);
        entry->secret = SECRET;
        if (!entry->body.data || !entry->notes.data || !entry->user.data)
            bench_fail("device", "out of memory");
    }
    satchel_log_read_end(reader);
    satchel_log_reader_free(reader);
    satchel_buffer_deinit(&text);
}

void bench_entries_free(struct bench_entries *entries)
{
    satchel_arena_deinit(&entries->arena);
}

/* ---- a device ---- */

void bench_device_open(struct bench_device *device, const struct bench *bench)
{
    struct satchel_error error = {0};
    bench_replica_open(&device->replica, bench, "bench-device.db", "ben");
    bench_sql(device->replica.db,
              "UPDATE satchel_replica SET node = x'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'");
    must(satchel_apply_new(&device->apply, device->replica.handle, &error), &error);
}

void bench_device_close(struct bench_device *device)
{
    satchel_apply_free(device->apply);
    bench_replica_close(&device->replica);
}

void bench_device_apply(struct bench_device *device, const struct satchel_entry *entries,
                        uint32_t count)
{
    struct satchel_error error = {0};
    for (uint32_t i = 0; i < count; i++) {
        must(satchel_apply_begin(device->apply, true, &error), &error);
        must(satchel_apply_entry(device->apply, &entries[i], &error), &error);
        must(satchel_apply_commit(device->apply, &error), &error);
    }
}
