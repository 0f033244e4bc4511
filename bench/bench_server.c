/* Owns the store of a measurement, and the merging into it. */
#include "bench_server.h"

#include <string.h>

static void must(enum satchel_status status, const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        bench_fail("store",
                   error && error->message[0] ? error->message : satchel_status_name(status));
}

static struct satchel_id device_id(uint32_t device)
{
    struct satchel_id id;
    memset(&id, (int)(device + 1), sizeof id);
    return id;
}

static void enrol(struct bench_server *server, uint32_t device)
{
    struct satchel_error error = {0};
    char id[SATCHEL_ID_TEXT_BYTES], sql[200];
    struct satchel_id raw = device_id(device);
    satchel_id_text(&raw, id);
    snprintf(sql, sizeof sql, "INSERT INTO satchel_device(id,user,joined) VALUES(x'%s','user%u',0)",
             id, (unsigned)device);
    must(satchel_db_exec(satchel_store_sqlite_db(server->store), sql, &error), &error);
}

void bench_server_open(struct bench_server *server, const struct bench *bench, const char *name,
                       const char *schema, uint32_t device_count)
{
    struct satchel_error error = {0};
    struct satchel_arena arena;
    const char *notice;
    memset(server, 0, sizeof *server);
    server->now_ms = 1719800000000;
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    snprintf(server->path, sizeof server->path, "%s/%s.db", bench->folder, name);
    bench_remove_store(server->path);
    const struct satchel_migration migration = {1, satchel_span_text("001_bench.sql"),
                                                satchel_span_text(schema)};
    must(satchel_store_sqlite_create(&server->store, server->path, satchel_span_text("bench"),
                                     server->now_ms, &error),
         &error);
    must(server->store->ops->begin(server->store, &error), &error);
    must(deploy_migrations(server->store, &migration, 1, server->now_ms, &arena, &notice, &error),
         &error);
    for (uint32_t i = 0; i < device_count; i++)
        enrol(server, i);
    must(server->store->ops->commit(server->store, &error), &error);
    satchel_arena_deinit(&arena);
}

void bench_server_close(struct bench_server *server)
{
    server->store->ops->close(server->store);
    bench_remove_store(server->path);
}

struct satchel_incoming bench_server_incoming(struct bench_server *server, uint32_t device,
                                              struct satchel_span body)
{
    return (struct satchel_incoming){.device = device_id(device),
                                     .user = satchel_span_text("user"),
                                     .number = ++server->numbers[device],
                                     .stamp = satchel_stamp_from_ms(server->now_ms++),
                                     .body = body};
}

double bench_server_merge(struct bench_server *server, const struct satchel_incoming *incoming,
                          size_t count)
{
    static struct satchel_incoming_outcome outcomes[BENCH_BATCH_MAX];
    struct satchel_error error = {0};
    double begin = bench_cpu_seconds();
    must(server->store->ops->begin(server->store, &error), &error);
    must(satchel_merge_batch(server->store, incoming, count, server->now_ms, outcomes, &error),
         &error);
    must(server->store->ops->commit(server->store, &error), &error);
    double seconds = bench_cpu_seconds() - begin;
    for (size_t i = 0; i < count; i++)
        if (outcomes[i].result != SATCHEL_INCOMING_MERGED || outcomes[i].quarantined_count > 0)
            bench_fail("store", outcomes[i].error.message[0] ? outcomes[i].error.message
                                                             : "a write was quarantined");
    return seconds;
}

void bench_server_see_all(struct bench_server *server)
{
    struct satchel_error error = {0};
    struct satchel_store_head head;
    must(server->store->ops->load_head(server->store, &head, &error), &error);
    server->seen = head.seq;
}
