/* Owns the processes of a measurement: how they are begun, told what to do, and ended. */
#include "bench_place.h"

#include <satchel/sqlite.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *why)
{
    bench_fail("processes", why);
}

void bench_place_path(const struct bench_place *place, const char *name,
                      char path[BENCH_PATH_BYTES])
{
    snprintf(path, BENCH_PATH_BYTES, "%s/%s", place->folder, name);
}

/* ---- commands ---- */

static char *command_of(const struct bench_place *place, const char *format, va_list arguments)
{
    char *words = sqlite3_vmprintf(format, arguments);
    char *command = words ? sqlite3_mprintf("cd '%s' && PATH='%s':\"$PATH\" && { %s; }",
                                            place->folder, place->programs, words)
                          : NULL;
    sqlite3_free(words);
    if (!command)
        fail("out of memory");
    return command;
}

double bench_place_number(const struct bench_place *place, const char *name, const char *format,
                          ...)
{
    va_list arguments;
    char text[4096];
    va_start(arguments, format);
    char *command = command_of(place, format, arguments);
    va_end(arguments);
    FILE *out = popen(command, "r");
    size_t size = out ? fread(text, 1, sizeof text - 1, out) : 0;
    if (!out || pclose(out) != 0)
        fail(command);
    text[size] = '\0';
    const char *found = strstr(text, name);
    if (!found)
        fail(command);
    sqlite3_free(command);
    return strtod(found + strlen(name), NULL);
}

void bench_place_run(const struct bench_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *command = command_of(place, format, arguments);
    va_end(arguments);
    char *silent = sqlite3_mprintf("{ %s; } >/dev/null", command);
    if (!silent || system(silent) != 0)
        fail(command);
    sqlite3_free(silent);
    sqlite3_free(command);
}

/* ---- the server ---- */

static void start_server(struct bench_place *place, const char *snapshot_entries)
{
    char program[BENCH_PATH_BYTES], line[256] = "";
    int ends[2];
    if (pipe(ends) != 0 || (place->server = fork()) < 0)
        fail(strerror(errno));
    if (place->server == 0) {
        snprintf(program, sizeof program, "%s/satcheld", place->programs);
        if (chdir(place->folder) != 0 || dup2(ends[1], STDOUT_FILENO) < 0 ||
            !freopen("satcheld.log", "w", stderr))
            _exit(127);
        execl(program, "satcheld", "--data", "server", "--listen", "127.0.0.1:0",
              "--snapshot-entries", snapshot_entries, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    if (!out || !fgets(line, sizeof line, out) ||
        sscanf(line, "satcheld ready %63s", place->url) != 1)
        fail("satcheld does not start");
    fclose(out);
}

/* ---- devices ---- */

void bench_place_join(const struct bench_place *place, const char *replica)
{
    bench_place_run(
        place,
        "satchel join %s --server %s --workspace w --invite \"$(satchel invite --workspace w --user"
        " ana --server %s --token-file server/admin.token)\"",
        replica, place->url, place->url);
}

pid_t bench_place_sync(const struct bench_place *place, const char *replica, bool is_watching)
{
    char program[BENCH_PATH_BYTES], path[BENCH_PATH_BYTES];
    snprintf(program, sizeof program, "%s/satchel", place->programs);
    bench_place_path(place, replica, path);
    pid_t process = fork();
    if (process < 0)
        fail(strerror(errno));
    if (process > 0)
        return process;
    if (!freopen("/dev/null", "w", stdout))
        _exit(127);
    execl(program, "satchel", "sync", path, is_watching ? "--watch" : (char *)NULL, (char *)NULL);
    _exit(127);
}

void bench_place_stop(pid_t process)
{
    kill(process, SIGTERM);
    waitpid(process, NULL, 0);
}

/* ---- all of it ---- */

static void write_schema(const struct bench_place *place, const char *schema)
{
    char path[BENCH_PATH_BYTES];
    bench_place_path(place, "schema/001_init.sql", path);
    FILE *file = fopen(path, "we");
    if (!file || fputs(schema, file) < 0 || fclose(file) != 0)
        fail("the schema cannot be written");
}

void bench_place_open(struct bench_place *place, const struct bench *bench, const char *schema,
                      const char *snapshot_entries)
{
    char path[BENCH_PATH_BYTES];
    memset(place, 0, sizeof *place);
    ssize_t size = readlink("/proc/self/exe", place->programs, sizeof place->programs - 1);
    if (size <= 0 || !strrchr(place->programs, '/'))
        fail("where its own programs are is not known");
    *strrchr(place->programs, '/') = '\0';
    if (!realpath(bench->folder, path))
        fail(strerror(errno));
    snprintf(place->folder, sizeof place->folder, "%.4000s/bench-processes", path);
    fflush(stdout); /* not once more by each process that is begun */
    bench_place_run(&(struct bench_place){.folder = "/"}, "rm -rf '%s' && mkdir -p '%s/schema'",
                    place->folder, place->folder);
    write_schema(place, schema);
    start_server(place, snapshot_entries);
    bench_place_run(
        place,
        "satchel workspace create w --schema schema --server %s --token-file server/admin.token",
        place->url);
    bench_place_run(
        place,
        "satchel user add ana --workspace w --role rep --server %s --token-file server/admin.token",
        place->url);
}

void bench_place_close(struct bench_place *place)
{
    bench_place_stop(place->server);
    bench_place_run(&(struct bench_place){.folder = "/"}, "rm -rf '%s'", place->folder);
}
