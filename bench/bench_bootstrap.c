/* What it takes to fill a new device: the time from the beginning of `satchel sync` until the rows
 * are in the application's table, over the time in which plain SQL copies that table, with its
 * index, into a new file. Real processes: both the server's part and the device's count, and what
 * goes between them. A table of contacts, at 100,000 rows and at a million. And how long the write
 * lock is not free meanwhile, at the longest, over the 50 ms that nothing may hold it. */
#include "bench_place.h"

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS_PER_COMMIT = 50000 };
#define WAIT_SECONDS 0.05

static const char TABLE_SQL[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE contact(id TEXT PRIMARY KEY, name TEXT, email TEXT, phone TEXT, city TEXT,"
    " score INTEGER, note TEXT);\n"
    "CREATE INDEX contact_name ON contact(name);\n";
static const char INSERT_SQL[] =
    "INSERT INTO contact WITH RECURSIVE n(i) AS (SELECT %u UNION ALL SELECT i+1 FROM n WHERE i<%u)"
    " SELECT printf('c%%08d-%%08x', i, i*7919), 'Name '||(i*31%%1000000),"
    " 'user'||i||'@example.com', printf('+49 %%09d', i), 'City '||(i%%500), i%%100,"
    " 'note note note note note '||i FROM n";

static void fail(const char *why)
{
    bench_fail("bootstrap", why);
}

/* ---- devices ---- */

static void write_rows(const struct bench_place *place, uint32_t from, uint32_t to)
{
    for (uint32_t first = from; first < to; first += ROWS_PER_COMMIT) {
        char *insert = sqlite3_mprintf(INSERT_SQL, first, first + ROWS_PER_COMMIT - 1);
        bench_place_run(place, "satchel sql ana.db \"%s\"", insert);
        sqlite3_free(insert);
    }
    bench_place_run(place, "satchel sync ana.db");
}

/* How long nobody else can write: as the application would, beside the sync. */
static double wait_for_lock(sqlite3 *db, sqlite3_stmt *select, bool *has_rows)
{
    double began = bench_now();
    int code;
    while ((code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL)) == SQLITE_BUSY)
        usleep(500);
    if (code != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    double waited = bench_now() - began;
    *has_rows = sqlite3_step(select) == SQLITE_ROW;
    sqlite3_reset(select);
    if (sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        fail(sqlite3_errmsg(db));
    return waited;
}

/* Seconds until it has its rows; `*longest_wait`: for the write lock until then. */
static double fill(const struct bench_place *place, double *longest_wait)
{
    char path[BENCH_PATH_BYTES];
    sqlite3 *db = NULL;
    sqlite3_stmt *select = NULL;
    bool has_rows = false;
    int status = 0;
    bench_place_path(place, "new.db", path);
    bench_remove_store(path);
    bench_place_join(place, "new.db");
    double began = bench_now(), filled = 0;
    pid_t sync = bench_place_sync(place, "new.db", false);
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
            filled = bench_now() - began;
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

static double copy(const struct bench_place *place)
{
    char path[BENCH_PATH_BYTES], attach[BENCH_PATH_BYTES + 32];
    sqlite3 *db = NULL;
    char *error = NULL;
    bench_place_path(place, "copy.db", path);
    bench_remove_store(path);
    snprintf(attach, sizeof attach, "ATTACH '%s/server/w.db' AS server", place->folder);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", NULL, NULL,
                     &error) != SQLITE_OK ||
        sqlite3_exec(db, TABLE_SQL, NULL, NULL, &error) != SQLITE_OK ||
        sqlite3_exec(db, attach, NULL, NULL, &error) != SQLITE_OK)
        fail(error ? error : sqlite3_errmsg(db));
    double began = bench_now();
    if (sqlite3_exec(db, "INSERT INTO contact SELECT * FROM server.contact", NULL, NULL, &error) !=
        SQLITE_OK)
        fail(error);
    double seconds = bench_now() - began;
    sqlite3_close(db);
    return seconds;
}

/* ---- measuring ---- */

static void measure(struct bench *bench, const struct bench_place *place, uint32_t rows,
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

void bench_bootstrap(struct bench *bench)
{
    struct bench_place place;
    bench_place_open(&place, bench, TABLE_SQL, "1");
    bench_place_join(&place, "ana.db");
    bench_place_run(&place, "satchel sync ana.db");
    printf("a new device: medians of %u rounds, by the clock\n", (unsigned)bench->round_count);
    fflush(stdout);
    write_rows(&place, 0, 100000);
    measure(bench, &place, 100000, "100,000");
    write_rows(&place, 100000, 1000000);
    measure(bench, &place, 1000000, "1,000,000");
    bench_place_close(&place);
}
