/* What capture costs a local write: CPU time with Satchel over CPU time without, for the same
 * statements on the same data. Rounds of both alternate, so that a machine that slows
 * down slows both; the result is the median of the rounds' ratios.
 *
 *   bench_local [--rows N] [--rounds N] [--json FILE] [--folder DIR] */
#include "../tests/unit/replica_fixture.h"

#include <satchel/sqlite.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define COLUMNS                                                                       \
    "(id TEXT PRIMARY KEY, name TEXT, street TEXT, city TEXT, phone TEXT, note TEXT," \
    " amount INTEGER, rate REAL, created_at INTEGER, changed_at INTEGER)"

static const char CREATE_RAW[] = "CREATE TABLE contact" COLUMNS;
static const char CREATE_TRACKED[] =
    "-- @table scope=all delete=edit_wins\nCREATE TABLE contact" COLUMNS ";\n";
static const char INSERT[] = "INSERT INTO contact VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)";
static const char UPDATE[] = "UPDATE contact SET amount=?2 WHERE id=?1";

enum { ROWS_PER_TRANSACTION = 1000, SINGLE_ROWS_DIVISOR = 10, ROUNDS_MAX = 101 };

enum ids { RANDOM, ORDERED };

enum measure { INSERTS, UPDATES, SINGLE_NORMAL, SINGLE_FULL, MEASURE_COUNT };

static const char *const IDS[] = {"UUIDv4", "UUIDv7"};

static const struct {
    const char *name, *text;
    double budget;
} MEASURES[MEASURE_COUNT] = {
    {"local_insert", "insert, transactions of 1000", 1.30},
    {"local_update", "one-field update in random order, transactions of 1000", 1.20},
    {"local_single_normal", "single-row transactions, synchronous=NORMAL", 1.55},
    {"local_single_full", "single-row transactions, synchronous=FULL", 1.10},
};

struct options {
    uint32_t row_count, round_count;
    const char *json, *folder;
    enum ids ids;
};

static void fail(const char *what, sqlite3 *db)
{
    fprintf(stderr, "bench_local: %s: %s\n", what, db ? sqlite3_errmsg(db) : "failed");
    exit(1);
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail(sql, db);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
        fail(sql, db);
    return statement;
}

static void step(sqlite3 *db, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE)
        fail("step", db);
    sqlite3_reset(statement);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint32_t draw(uint64_t *seed, uint32_t count)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*seed >> 32) % count);
}

/* Ids as satchel_uuid() gives them (UUIDv7, in order of making) or at random (UUIDv4): then every
 * insert lands on another page of the key's index. */
static int id_of(enum ids ids, uint32_t row, char text[40])
{
    uint64_t mixed = (row + 1) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
    if (ids == ORDERED)
        return snprintf(text, 40, "0190a5e2-%04x-7%03x-8abc-%012x", (unsigned)(row >> 12),
                        (unsigned)(row & 0xfff), (unsigned)mixed);
    return snprintf(text, 40, "%08x-%04x-4abc-8def-%012x", (unsigned)(mixed >> 32),
                    (unsigned)(mixed & 0xffff), (unsigned)row);
}

static void insert_row(sqlite3 *db, sqlite3_stmt *statement, enum ids ids, uint32_t row,
                       uint64_t *seed)
{
    static const char *const streets[] = {"Renmin South Road", "Jianshe North Road", "Hauptstrasse",
                                          "Rue de la Republique"};
    static const char *const cities[] = {"Chengdu", "Chongqing", "Heidelberg", "Marseille"};
    char id[40], name[40], street[60], phone[24], note[120];
    int id_size = id_of(ids, row, id);
    int name_size =
        snprintf(name, sizeof name, "Contact %u-%u", (unsigned)row, (unsigned)draw(seed, 9999));
    int street_size =
        snprintf(street, sizeof street, "%s %u", streets[draw(seed, 4)], (unsigned)draw(seed, 400));
    int phone_size = snprintf(phone, sizeof phone, "+86 28 %08u", (unsigned)draw(seed, 99999999));
    int note_size =
        snprintf(note, sizeof note,
                 "visited on %02u/%02u, wants an offer for %u pumps and asks for a call "
                 "next week, ref %u",
                 1 + (unsigned)draw(seed, 28), 1 + (unsigned)draw(seed, 12),
                 (unsigned)draw(seed, 500), (unsigned)draw(seed, 99999999));
    sqlite3_bind_text(statement, 1, id, id_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, name, name_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, street, street_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, cities[draw(seed, 4)], -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 5, phone, phone_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 6, note, note_size, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 7, draw(seed, 1000000));
    sqlite3_bind_double(statement, 8, draw(seed, 1000) / 8.0);
    sqlite3_bind_int64(statement, 9, 1719800000000 + row);
    sqlite3_bind_int64(statement, 10, 1719800000000 + row);
    step(db, statement);
}

static double measure_inserts(sqlite3 *db, enum ids ids, uint32_t first, uint32_t count,
                              uint32_t per_transaction)
{
    uint64_t seed = first + 1;
    sqlite3_stmt *statement = prepare(db, INSERT);
    double begin = cpu_seconds();
    for (uint32_t i = 0; i < count; i++) {
        if (per_transaction > 1 && i % per_transaction == 0)
            run(db, i ? "COMMIT; BEGIN" : "BEGIN");
        insert_row(db, statement, ids, first + i, &seed);
    }
    if (per_transaction > 1)
        run(db, "COMMIT");
    double seconds = cpu_seconds() - begin;
    sqlite3_finalize(statement);
    return seconds;
}

static double measure_updates(sqlite3 *db, enum ids ids, uint32_t count)
{
    uint32_t *order = malloc(count * sizeof *order);
    uint64_t seed = 7;
    if (!order)
        fail("out of memory", NULL);
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t other = draw(&seed, i + 1), row = order[i];
        order[i] = order[other];
        order[other] = row;
    }
    sqlite3_stmt *statement = prepare(db, UPDATE);
    double begin = cpu_seconds();
    for (uint32_t i = 0; i < count; i++) {
        char id[40];
        if (i % ROWS_PER_TRANSACTION == 0)
            run(db, i ? "COMMIT; BEGIN" : "BEGIN");
        int size = id_of(ids, order[i], id);
        sqlite3_bind_text(statement, 1, id, size, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, 1000000 + draw(&seed, 1000000));
        step(db, statement);
    }
    run(db, "COMMIT");
    double seconds = cpu_seconds() - begin;
    sqlite3_finalize(statement);
    free(order);
    return seconds;
}

static void measure_all(sqlite3 *db, const struct options *options, double seconds[MEASURE_COUNT])
{
    uint32_t row_count = options->row_count;
    uint32_t single_count = row_count / SINGLE_ROWS_DIVISOR;
    run(db, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000");
    seconds[INSERTS] = measure_inserts(db, options->ids, 0, row_count, ROWS_PER_TRANSACTION);
    seconds[UPDATES] = measure_updates(db, options->ids, row_count);
    seconds[SINGLE_NORMAL] = measure_inserts(db, options->ids, row_count, single_count, 1);
    run(db, "PRAGMA synchronous=FULL");
    seconds[SINGLE_FULL] =
        measure_inserts(db, options->ids, row_count + single_count, single_count, 1);
}

static void measure_raw(const struct options *options, double seconds[MEASURE_COUNT])
{
    char path[4096];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/bench-raw.db", options->folder);
    fixture_remove(path);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fail(path, db);
    run(db, "PRAGMA journal_mode=WAL");
    run(db, CREATE_RAW);
    measure_all(db, options, seconds);
    sqlite3_close(db);
    fixture_remove(path);
}

static void measure_replica(const struct options *options, double seconds[MEASURE_COUNT])
{
    char path[4096];
    satchel_replica *replica = NULL;
    snprintf(path, sizeof path, "%s/bench-replica.db", options->folder);
    if (fixture_replica(path, CREATE_TRACKED, "ann", "rep", NULL, &replica) != SATCHEL_OK)
        fail(path, NULL);
    measure_all(satchel_replica_db(replica), options, seconds);
    satchel_replica_close(replica);
    fixture_remove(path);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *numbers, uint32_t count)
{
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    return count % 2 ? numbers[count / 2] : (numbers[count / 2 - 1] + numbers[count / 2]) / 2;
}

static void report(FILE *json, bool is_first, enum ids ids, enum measure measure, double ratio,
                   double raw_per_second)
{
    bool is_met = ratio <= MEASURES[measure].budget;
    printf("%-56s %s %5.2f x raw  budget %4.2f  %-6s  (raw: %.0f rows per CPU second)\n",
           MEASURES[measure].text, IDS[ids], ratio, MEASURES[measure].budget,
           is_met ? "met" : "missed", raw_per_second);
    if (json)
        fprintf(json,
                "%s{\"name\":\"%s\",\"ids\":\"%s\",\"ratio\":%.4f,\"budget\":%.2f,"
                "\"verdict\":\"%s\"}",
                is_first ? "[" : ",\n ", MEASURES[measure].name, IDS[ids], ratio,
                MEASURES[measure].budget, is_met ? "met" : "missed");
}

static void measure_ids(struct options *options, enum ids ids, FILE *json)
{
    static double ratios[MEASURE_COUNT][ROUNDS_MAX], raws[MEASURE_COUNT][ROUNDS_MAX];
    options->ids = ids;
    for (uint32_t round = 0; round < options->round_count; round++) {
        double raw[MEASURE_COUNT], captured[MEASURE_COUNT];
        measure_raw(options, raw);
        measure_replica(options, captured);
        for (int i = 0; i < MEASURE_COUNT; i++) {
            ratios[i][round] = captured[i] / raw[i];
            raws[i][round] = raw[i];
        }
    }
    for (int i = 0; i < MEASURE_COUNT; i++) {
        uint32_t rows =
            i < SINGLE_NORMAL ? options->row_count : options->row_count / SINGLE_ROWS_DIVISOR;
        report(json, ids == RANDOM && i == 0, ids, (enum measure)i,
               median(ratios[i], options->round_count),
               rows / median(raws[i], options->round_count));
    }
}

static bool read_options(int count, char **words, struct options *options)
{
    static const struct option names[] = {{"rows", required_argument, NULL, 'n'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"folder", required_argument, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    int found;
    while ((found = getopt_long(count, words, "", names, NULL)) != -1) {
        switch (found) {
        case 'n': options->row_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'r': options->round_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'j': options->json = optarg; break;
        case 'f': options->folder = optarg; break;
        default: return false;
        }
    }
    return optind == count && options->row_count >= ROWS_PER_TRANSACTION &&
           options->row_count <= 10000000 && options->round_count >= 1 &&
           options->round_count <= ROUNDS_MAX;
}

int main(int count, char **words)
{
    struct options options = {100000, 5, NULL, ".", RANDOM};
    if (!read_options(count, words, &options)) {
        fputs("usage: bench_local [--rows N] [--rounds N] [--json FILE] [--folder DIR]\n", stderr);
        return 2;
    }
    FILE *json = options.json ? fopen(options.json, "we") : NULL;
    if (options.json && !json)
        fail(options.json, NULL);
    printf("local writes: %u rows of 240 bytes, medians of %u rounds, SQLite %s\n",
           (unsigned)options.row_count, (unsigned)options.round_count, sqlite3_libversion());
    measure_ids(&options, RANDOM, json);
    measure_ids(&options, ORDERED, json);
    if (json) {
        fputs("]\n", json);
        if (fclose(json) != 0)
            fail(options.json, NULL);
    }
    return 0;
}
