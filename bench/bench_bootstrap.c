/* What it takes to fill a new device: the time from the beginning of `satchel sync` until the rows
 * are in the application's table, over the time in which plain SQL copies that table, with its
 * index, into a new file. Real processes: both the server's part and the device's count, and what
 * goes between them. A table of contacts, at 100,000 rows and at a million. And how long the write
 * lock is not free meanwhile, at the longest, over the 50 ms that nothing may hold it. */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROWS_PER_COMMIT = 50000, PATH_BYTES = 4200 };
#define WAIT_SECONDS 0.05

static const char TABLE_SQL[] =
    "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, email TEXT, phone TEXT, city TEXT,"
    " score INTEGER, note TEXT);\n"
    "CREATE INDEX contact_name ON contact(name);\n";
static const char INSERT_SQL[] =
    "INSERT INTO contact WITH RECURSIVE n(i) AS (SELECT %u UNION ALL SELECT i+1 FROM n WHERE i<%u)"
    " SELECT printf('c%%08d-%%08x', i, i*7919), 'Name '||(i*31%%1000000),"
    " 'user'||i||'@example.com', printf('+49 %%09d', i), 'City '||(i%%500), i%%100,"
    " 'note note note note note '||i FROM n";

struct place {
    char folder[4096], programs[4096];
    char url[64];
    pid_t server;
};

static void fail(const char *why)
{
    bench_fail("bootstrap", why);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void path_of(const struct place *place, const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", place->folder, name);
}

/* Runs a command line whose programs are those built. */
static void run(const struct place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *words = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    char *command = sqlite3_mprintf("cd '%s' && PATH='%s':\"$PATH\" && { %s; } >/dev/null",
                                    place->folder, place->programs, words);
    if (!command || system(command) != 0)
        fail(words);
    sqlite3_free(command);
    sqlite3_free(words);
}

/* ---- the server ---- */

static void start_server(struct place *place)
{
    char program[PATH_BYTES], line[256] = "";
    int ends[2];
    if (pipe(ends) != 0 || (place->server = fork()) < 0)
        fail(strerror(errno));
    if (place->server == 0) {
        snprintf(program, sizeof program, "%s/satcheld", place->programs);
        if (chdir(place->folder) != 0 || dup2(ends[1], STDOUT_FILENO) < 0 ||
            !freopen("satcheld.log", "w", stderr))
            _exit(127);
        execl(program, "satcheld", "--data", "server", "--listen", "127.0.0.1:0",
              "--snapshot-entries", "1", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    if (!out || !fgets(line, sizeof line, out) ||
        sscanf(line, "satcheld ready %63s", place->url) != 1)
        fail("satcheld does not start");
    fclose(out);
}

static void stop_server(const struct place *place)
{
    kill(place->server, SIGTERM);
    waitpid(place->server, NULL, 0);
}

/* ---- devices ---- */

static void join(const struct place *place, const char *replica)
{
    run(place,
        "satchel join %s --server %s --workspace w --invite \"$(satchel invite --workspace w --user"
        " ana --server %s --token-file server/admin.token)\"",
        replica, place->url, place->url);
}

static void write_rows(const struct place *place, uint32_t from, uint32_t to)
{
    for (uint32_t first = from; first < to; first += ROWS_PER_COMMIT) {
        char *insert = sqlite3_mprintf(INSERT_SQL, first, first + ROWS_PER_COMMIT - 1);
        run(place, "satchel sql ana.db \"%s\"", insert);
        sqlite3_free(insert);
    }
    run(place, "satchel sync ana.db");
}

/* How long nobody else can write: as the application would, beside the sync. */
static double wait_for_lock(sqlite3 *db, sqlite3_stmt *select, bool *has_rows)
{
    double began = now();
    int code;
    while ((code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL)) == SQLITE_BUSY)
        usleep(500);
    if (code != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    double waited = now() - began;
    *has_rows = sqlite3_step(select) == SQLITE_ROW;
    sqlite3_reset(select);
    if (sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    return waited;
}

/* Seconds until it has its rows; `*longest_wait`: for the write lock until then. */
static double fill(const struct place *place, double *longest_wait)
{
    char program[PATH_BYTES], path[PATH_BYTES];
    sqlite3 *db = NULL;
    sqlite3_stmt *select = NULL;
    bool has_rows = false;
    int status = 0;
    path_of(place, "new.db", path);
    bench_remove_store(path);
    join(place, "new.db");
    snprintf(program, sizeof program, "%s/satchel", place->programs);
    double began = now(), filled = 0;
    pid_t sync = fork();
    if (sync == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(127);
        execl(program, "satchel", "sync", path, (char *)NULL);
        _exit(127);
    }
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    *longest_wait = 0;
    while (filled == 0) {
        usleep(5000);
        /* The table comes with the schema. */
        if (!select &&
            sqlite3_prepare_v2(db, "SELECT 1 FROM contact LIMIT 1", -1, &select, NULL) != SQLITE_OK)
            continue;
        double waited = wait_for_lock(db, select, &has_rows);
        *longest_wait = waited > *longest_wait ? waited : *longest_wait;
        if (has_rows)
            filled = now() - began;
        else if (waitpid(sync, &status, WNOHANG) != 0)
            fail("a new device is not filled");
    }
    sqlite3_finalize(select);
    sqlite3_close(db);
    if (waitpid(sync, &status, 0) < 0 || status != 0)
        fail("a new device cannot sync");
    return filled;
}

/* ---- plain SQL ---- */

static double copy(const struct place *place)
{
    char path[PATH_BYTES], attach[PATH_BYTES + 32];
    sqlite3 *db = NULL;
    char *error = NULL;
    path_of(place, "copy.db", path);
    bench_remove_store(path);
    snprintf(attach, sizeof attach, "ATTACH '%s/server/w.db' AS server", place->folder);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", NULL, NULL,
                     &error) != SQLITE_OK ||
        sqlite3_exec(db, TABLE_SQL, NULL, NULL, &error) != SQLITE_OK ||
        sqlite3_exec(db, attach, NULL, NULL, &error) != SQLITE_OK)
        fail(error ? error : sqlite3_errmsg(db));
    double began = now();
    if (sqlite3_exec(db, "INSERT INTO contact SELECT * FROM server.contact", NULL, NULL, &error) !=
        SQLITE_OK)
        fail(error);
    double seconds = now() - began;
    sqlite3_close(db);
    return seconds;
}

/* ---- measuring ---- */

static void measure(struct bench *bench, const struct place *place, uint32_t rows,
                    const char *variant)
{
    double ratios[ROUNDS_MAX], rates[ROUNDS_MAX], waits[ROUNDS_MAX];
    for (uint32_t round = 0; round < bench->round_count; round++) {
        double seconds = fill(place, &waits[round]);
        waits[round] /= WAIT_SECONDS;
        ratios[round] = seconds / copy(place);
        rates[round] = rows / seconds;
    }
    bench_report(bench, &(struct bench_line){.name = "bootstrap",
                                             .variant = variant,
                                             .text = "a new device, until it has its rows",
                                             .unit = "SQL",
                                             .ratio = bench_median(ratios, bench->round_count),
                                             .budget = 1 / 0.3,
                                             .per_second = bench_median(rates, bench->round_count),
                                             .per_second_of = "rows",
                                             .is_by_clock = true});
    bench_report(
        bench, &(struct bench_line){.name = "bootstrap_wait",
                                    .variant = variant,
                                    .text = "the longest that the write lock is not free meanwhile",
                                    .unit = "50ms",
                                    .ratio = bench_median(waits, bench->round_count),
                                    .budget = 1});
}

static void set_up(struct place *place, const struct bench *bench)
{
    char path[PATH_BYTES];
    ssize_t size = readlink("/proc/self/exe", place->programs, sizeof place->programs - 1);
    if (size <= 0 || !strrchr(place->programs, '/'))
        fail("where its own programs are is not known");
    *strrchr(place->programs, '/') = '\0';
    if (!realpath(bench->folder, path))
        fail(strerror(errno));
    snprintf(place->folder, sizeof place->folder, "%.4000s/bench-bootstrap", path);
    run(&(struct place){.folder = "/"}, "rm -rf '%s' && mkdir -p '%s/schema'", place->folder,
        place->folder);
    path_of(place, "schema/001_init.sql", path);
    FILE *file = fopen(path, "we");
    if (!file || fprintf(file, "-- @table scope=all delete=edit_wins\n%s", TABLE_SQL) < 0 ||
        fclose(file) != 0)
        fail("its schema cannot be written");
    start_server(place);
    run(place,
        "satchel workspace create w --schema schema --server %s --token-file server/admin.token",
        place->url);
    run(place,
        "satchel user add ana --workspace w --role rep --server %s --token-file server/admin.token",
        place->url);
    join(place, "ana.db");
    run(place, "satchel sync ana.db");
}

void bench_bootstrap(struct bench *bench)
{
    struct place place = {.server = 0};
    set_up(&place, bench);
    printf("a new device: medians of %u rounds, by the clock\n", (unsigned)bench->round_count);
    fflush(stdout); /* not once more by each process that is begun */
    write_rows(&place, 0, 100000);
    measure(bench, &place, 100000, "100,000");
    write_rows(&place, 100000, 1000000);
    measure(bench, &place, 1000000, "1,000,000");
    stop_server(&place);
    run(&(struct place){.folder = "/"}, "rm -rf '%s'", place.folder);
}
