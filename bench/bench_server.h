/* A central store without a server around it: what its writer thread does. Everything ends the
 * program when it fails. */
#ifndef SATCHEL_BENCH_SERVER_H
#define SATCHEL_BENCH_SERVER_H

#include "bench.h"

#include "merge.h"
#include "store_sqlite.h"
#include "workspace_internal.h"

enum { BENCH_DEVICES_MAX = 8, BENCH_BATCH_MAX = 64 };

struct bench_server {
    struct satchel_store *store;
    char path[4096];
    uint64_t numbers[BENCH_DEVICES_MAX]; /* last used, by device */
    int64_t now_ms;
    uint64_t seen; /* by who writes, of the store's */
};

/* In a file of that name, with these tables and devices. */
void bench_server_open(struct bench_server *server, const struct bench *bench, const char *name,
                       const char *schema, uint32_t device_count);
void bench_server_close(struct bench_server *server);
/* What the device sends next. */
struct satchel_incoming bench_server_incoming(struct bench_server *server, uint32_t device,
                                              struct satchel_span body);
/* At most BENCH_BATCH_MAX in one transaction; CPU seconds. */
double bench_server_merge(struct bench_server *server, const struct satchel_incoming *incoming,
                          size_t count);
/* Who writes has seen all that the store has. */
void bench_server_see_all(struct bench_server *server);

#endif
