/* A server and devices as real processes, in a folder of their own. Everything ends the program
 * when it fails. */
#ifndef SATCHEL_BENCH_PLACE_H
#define SATCHEL_BENCH_PLACE_H

#include "bench.h"

#include <sys/types.h>

enum { BENCH_PATH_BYTES = 4200 };

struct bench_place {
    char folder[4096], programs[4096];
    char url[64];
    pid_t server;
};

/* With workspace "w" of that schema, and its user "ana". snapshot_entries: satcheld's option. */
void bench_place_open(struct bench_place *place, const struct bench *bench, const char *schema,
                      const char *snapshot_entries);
void bench_place_close(struct bench_place *place);
void bench_place_path(const struct bench_place *place, const char *name,
                      char path[BENCH_PATH_BYTES]);
/* Runs a command line, in the folder, whose programs are those built. */
void bench_place_run(const struct bench_place *place, const char *format, ...);
/* The number that follows `name` in what it prints. */
double bench_place_number(const struct bench_place *place, const char *name, const char *format,
                          ...);
/* A device of ana's. */
void bench_place_join(const struct bench_place *place, const char *replica);
/* `satchel sync`, or with --watch; to be waited for, or stopped. */
pid_t bench_place_sync(const struct bench_place *place, const char *replica, bool is_watching);
void bench_place_stop(pid_t process);

#endif
