/* Owns the capturing of contacts for measurements of what becomes of them. */
#include "bench_captured.h"

#include <satchel/changeset.h>

static void fail(const char *why)
{
    bench_fail("capture", why);
}

static struct satchel_span *read_bodies(sqlite3 *db, struct satchel_arena *arena,
                                        uint32_t count_max, uint32_t *count)
{
    struct satchel_buffer scratch;
    struct satchel_span *bodies = SATCHEL_ARENA_ARRAY(arena, struct satchel_span, count_max), body;
    sqlite3_stmt *select = bench_prepare(db, "SELECT body FROM satchel_change ORDER BY number");
    satchel_buffer_init(&scratch, SATCHEL_FRAME_BYTES_MAX, NULL);
    for (*count = 0; *count < count_max && sqlite3_step(select) == SQLITE_ROW; (*count)++) {
        const struct satchel_span stored = satchel_span_of(sqlite3_column_blob(select, 0),
                                                           (size_t)sqlite3_column_bytes(select, 0));
        if (!bodies || satchel_body_load(stored, &scratch, &body) != SATCHEL_OK)
            fail("a change set cannot be read");
        bodies[*count] = satchel_arena_copy(arena, body);
    }
    sqlite3_finalize(select);
    satchel_buffer_deinit(&scratch);
    return bodies;
}

void bench_capture(struct bench_captured *captured, const struct bench *bench, enum bench_ids ids,
                   uint32_t rows)
{
    struct bench_replica replica;
    uint32_t count;
    satchel_arena_init(&captured->arena, (size_t)4 << 30, NULL);
    bench_replica_open(&replica, bench, "bench-replica.db", "ann");
    sqlite3 *db = replica.db;
    bench_contacts_insert(db, BENCH_CONTACT_INSERT, ids, 0, rows, BENCH_ROWS_PER_TRANSACTION);
    bench_contacts_update(db, ids, rows, 7);
    bench_contacts_update(db, ids, rows, 8);
    struct satchel_span *bodies = read_bodies(db, &captured->arena, 3 * rows, &count);
    captured->inserts = bodies;
    captured->insert_count = rows / BENCH_ROWS_PER_TRANSACTION;
    captured->updates = bodies + captured->insert_count;
    captured->update_count = (count - captured->insert_count) / 2;
    captured->rival = captured->updates + captured->update_count;
    captured->rival_count = count - captured->insert_count - captured->update_count;
    bench_replica_close(&replica);
}

void bench_captured_free(struct bench_captured *captured)
{
    satchel_arena_deinit(&captured->arena);
}

double bench_captured_merge(struct bench_server *server, uint32_t device,
                            const struct satchel_span *bodies, uint32_t count)
{
    struct satchel_incoming incoming[BENCH_BATCH_MAX];
    double seconds = 0;
    for (uint32_t i = 0; i < count;) {
        uint32_t size = 0;
        while (size < 10 && i < count)
            incoming[size++] = bench_server_incoming(server, device, bodies[i++]);
        seconds += bench_server_merge(server, incoming, size);
    }
    return seconds;
}
