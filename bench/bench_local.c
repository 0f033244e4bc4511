/* What capture costs a local write: CPU time with Satchel over CPU time without, for the same
 * statements on the same data. Rounds of both alternate, so that a machine that slows
 * down slows both; the result is the median of the rounds' ratios. */
#include "bench.h"

#include "../tests/unit/replica_fixture.h"

#include <satchel/sqlite.h>

#include <stdlib.h>

#define COLUMNS                                                                       \
    "(id TEXT PRIMARY KEY, name TEXT, street TEXT, city TEXT, phone TEXT, note TEXT," \
    " amount INTEGER, rate REAL, created_at INTEGER, changed_at INTEGER)"

static const char CREATE_RAW[] = "CREATE TABLE contact" COLUMNS;
static const char CREATE_TRACKED[] =
    "-- @table scope=all delete=edit_wins\nCREATE TABLE contact" COLUMNS ";\n";
static const char INSERT[] = "INSERT INTO contact VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)";
static const char UPDATE[] = "UPDATE contact SET amount=?2 WHERE id=?1";

enum { ROWS_PER_TRANSACTION = 1000, SINGLE_ROWS_DIVISOR = 10 };

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

static void fail(const char *what, sqlite3 *db)
{
    bench_fail(what, db ? sqlite3_errmsg(db) : "failed");
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
    int name_size = snprintf(name, sizeof name, "Contact %u-%u", (unsigned)row,
                             (unsigned)bench_draw(seed, 9999));
    int street_size = snprintf(street, sizeof street, "%s %u", streets[bench_draw(seed, 4)],
                               (unsigned)bench_draw(seed, 400));
    int phone_size =
        snprintf(phone, sizeof phone, "+86 28 %08u", (unsigned)bench_draw(seed, 99999999));
    int note_size =
        snprintf(note, sizeof note,
                 "visited on %02u/%02u, wants an offer for %u pumps and asks for a call "
                 "next week, ref %u",
                 1 + (unsigned)bench_draw(seed, 28), 1 + (unsigned)bench_draw(seed, 12),
                 (unsigned)bench_draw(seed, 500), (unsigned)bench_draw(seed, 99999999));
    sqlite3_bind_text(statement, 1, id, id_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, name, name_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, street, street_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, cities[bench_draw(seed, 4)], -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 5, phone, phone_size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 6, note, note_size, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 7, bench_draw(seed, 1000000));
    sqlite3_bind_double(statement, 8, bench_draw(seed, 1000) / 8.0);
    sqlite3_bind_int64(statement, 9, 1719800000000 + row);
    sqlite3_bind_int64(statement, 10, 1719800000000 + row);
    step(db, statement);
}

static double measure_inserts(sqlite3 *db, enum ids ids, uint32_t first, uint32_t count,
                              uint32_t per_transaction)
{
    uint64_t seed = first + 1;
    sqlite3_stmt *statement = prepare(db, INSERT);
    double begin = bench_cpu_seconds();
    for (uint32_t i = 0; i < count; i++) {
        if (per_transaction > 1 && i % per_transaction == 0)
            run(db, i ? "COMMIT; BEGIN" : "BEGIN");
        insert_row(db, statement, ids, first + i, &seed);
    }
    if (per_transaction > 1)
        run(db, "COMMIT");
    double seconds = bench_cpu_seconds() - begin;
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
        uint32_t other = bench_draw(&seed, i + 1), row = order[i];
        order[i] = order[other];
        order[other] = row;
    }
    sqlite3_stmt *statement = prepare(db, UPDATE);
    double begin = bench_cpu_seconds();
    for (uint32_t i = 0; i < count; i++) {
        char id[40];
        if (i % ROWS_PER_TRANSACTION == 0)
            run(db, i ? "COMMIT; BEGIN" : "BEGIN");
        int size = id_of(ids, order[i], id);
        sqlite3_bind_text(statement, 1, id, size, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, 1000000 + bench_draw(&seed, 1000000));
        step(db, statement);
    }
    run(db, "COMMIT");
    double seconds = bench_cpu_seconds() - begin;
    sqlite3_finalize(statement);
    free(order);
    return seconds;
}

static void measure_all(sqlite3 *db, const struct bench *bench, enum ids ids,
                        double seconds[MEASURE_COUNT])
{
    uint32_t row_count = bench->row_count;
    uint32_t single_count = row_count / SINGLE_ROWS_DIVISOR;
    run(db, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000");
    seconds[INSERTS] = measure_inserts(db, ids, 0, row_count, ROWS_PER_TRANSACTION);
    seconds[UPDATES] = measure_updates(db, ids, row_count);
    seconds[SINGLE_NORMAL] = measure_inserts(db, ids, row_count, single_count, 1);
    run(db, "PRAGMA synchronous=FULL");
    seconds[SINGLE_FULL] = measure_inserts(db, ids, row_count + single_count, single_count, 1);
}

static void measure_raw(const struct bench *bench, enum ids ids, double seconds[MEASURE_COUNT])
{
    char path[4096];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/bench-raw.db", bench->folder);
    fixture_remove(path);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fail(path, db);
    run(db, "PRAGMA journal_mode=WAL");
    run(db, CREATE_RAW);
    measure_all(db, bench, ids, seconds);
    sqlite3_close(db);
    fixture_remove(path);
}

static void measure_replica(const struct bench *bench, enum ids ids, double seconds[MEASURE_COUNT])
{
    char path[4096];
    satchel_replica *replica = NULL;
    snprintf(path, sizeof path, "%s/bench-replica.db", bench->folder);
    if (fixture_replica(path, CREATE_TRACKED, "ann", "rep", NULL, &replica) != SATCHEL_OK)
        fail(path, NULL);
    measure_all(satchel_replica_db(replica), bench, ids, seconds);
    satchel_replica_close(replica);
    fixture_remove(path);
}

static void report(struct bench *bench, enum ids ids, enum measure measure, double ratio,
                   double raw_per_second)
{
    bench_report(bench, &(struct bench_line){.name = MEASURES[measure].name,
                                             .variant = IDS[ids],
                                             .text = MEASURES[measure].text,
                                             .unit = "raw",
                                             .ratio = ratio,
                                             .budget = MEASURES[measure].budget,
                                             .per_second = raw_per_second,
                                             .per_second_of = "raw rows"});
}

static void measure_ids(struct bench *bench, enum ids ids)
{
    static double ratios[MEASURE_COUNT][ROUNDS_MAX], raws[MEASURE_COUNT][ROUNDS_MAX];
    for (uint32_t round = 0; round < bench->round_count; round++) {
        double raw[MEASURE_COUNT], captured[MEASURE_COUNT];
        measure_raw(bench, ids, raw);
        measure_replica(bench, ids, captured);
        for (int i = 0; i < MEASURE_COUNT; i++) {
            ratios[i][round] = captured[i] / raw[i];
            raws[i][round] = raw[i];
        }
    }
    for (int i = 0; i < MEASURE_COUNT; i++) {
        uint32_t rows =
            i < SINGLE_NORMAL ? bench->row_count : bench->row_count / SINGLE_ROWS_DIVISOR;
        report(bench, ids, (enum measure)i, bench_median(ratios[i], bench->round_count),
               rows / bench_median(raws[i], bench->round_count));
    }
}

void bench_local(struct bench *bench)
{
    printf("local writes: %u rows of 240 bytes, medians of %u rounds, SQLite %s\n",
           (unsigned)bench->row_count, (unsigned)bench->round_count, sqlite3_libversion());
    measure_ids(bench, RANDOM);
    measure_ids(bench, ORDERED);
}
