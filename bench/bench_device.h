/* What a device does with entries that a server sends: a replica, and entries out of a store's log.
 * Everything ends the program when it fails. */
#ifndef SATCHEL_BENCH_DEVICE_H
#define SATCHEL_BENCH_DEVICE_H

#include "bench_contacts.h"
#include "bench_server.h"

#include "apply.h"

struct bench_entries {
    struct satchel_arena arena;
    struct satchel_entry *items;
    uint32_t count;
};
/* All of the log; to be freed. */
void bench_entries_read(struct bench_entries *entries, struct bench_server *server);
void bench_entries_free(struct bench_entries *entries);

struct bench_device {
    struct bench_replica replica;
    struct satchel_apply *apply;
};
/* Another device than those that write. */
void bench_device_open(struct bench_device *device, const struct bench *bench);
void bench_device_close(struct bench_device *device);
/* Each in a transaction of its own. */
void bench_device_apply(struct bench_device *device, const struct satchel_entry *entries,
                        uint32_t count);

#endif
