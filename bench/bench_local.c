/* What capture costs a local write: CPU time with Satchel over CPU time without, for the same
 * statements on the same data. Rounds of both alternate, so that a machine that slows
 * down slows both; the result is the median of the rounds' ratios. */
#include "bench.h"
#include "bench_contacts.h"

enum { SINGLE_ROWS_DIVISOR = 10 };
enum { OPENED_ROWS = 1000000, OPENED_PENDING = 100000, OPENINGS = 9 };

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

static double measure_inserts(sqlite3 *db, enum bench_ids ids, uint32_t first, uint32_t count,
                              uint32_t per_transaction)
{
    double begin = bench_cpu_seconds();
    bench_contacts_insert(db, BENCH_CONTACT_INSERT, ids, first, count, per_transaction);
    return bench_cpu_seconds() - begin;
}

static double measure_updates(sqlite3 *db, enum bench_ids ids, uint32_t count)
{
    double begin = bench_cpu_seconds();
    bench_contacts_update(db, ids, count, 7);
    return bench_cpu_seconds() - begin;
}

static void measure_all(sqlite3 *db, const struct bench *bench, enum bench_ids ids,
                        double seconds[MEASURE_COUNT])
{
    uint32_t row_count = bench->row_count;
    uint32_t single_count = row_count / SINGLE_ROWS_DIVISOR;
    bench_sql(db, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000");
    seconds[INSERTS] = measure_inserts(db, ids, 0, row_count, BENCH_ROWS_PER_TRANSACTION);
    seconds[UPDATES] = measure_updates(db, ids, row_count);
    seconds[SINGLE_NORMAL] = measure_inserts(db, ids, row_count, single_count, 1);
    bench_sql(db, "PRAGMA synchronous=FULL");
    seconds[SINGLE_FULL] = measure_inserts(db, ids, row_count + single_count, single_count, 1);
}

static void measure_raw(const struct bench *bench, enum bench_ids ids,
                        double seconds[MEASURE_COUNT])
{
    struct bench_plain plain;
    bench_plain_open(&plain, bench, "bench-raw.db");
    measure_all(plain.db, bench, ids, seconds);
    bench_plain_close(&plain);
}

static void measure_replica(const struct bench *bench, enum bench_ids ids,
                            double seconds[MEASURE_COUNT])
{
    struct bench_replica replica;
    bench_replica_open(&replica, bench, "bench-replica.db", "ann");
    measure_all(replica.db, bench, ids, seconds);
    bench_replica_close(&replica);
}

static void report(struct bench *bench, enum bench_ids ids, enum measure measure, double ratio,
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

static void measure_ids(struct bench *bench, enum bench_ids ids)
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

/* ---- opening ---- */

static double open_once(const char *path)
{
    const struct satchel_open_options options = {.size = sizeof options};
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    double begin = bench_now();
    if (satchel_replica_open(&replica, path, &options, &error) != SATCHEL_OK)
        bench_fail(path, error.message);
    double seconds = bench_now() - begin;
    satchel_replica_close(replica);
    return seconds;
}

/* What an application waits for before its first statement. */
static void measure_opening(struct bench *bench)
{
    double seconds[OPENINGS];
    struct bench_replica replica;
    bench_replica_open(&replica, bench, "bench-replica.db", "ann");
    bench_sql(replica.db, "PRAGMA synchronous=OFF");
    bench_contacts_insert(replica.db, BENCH_CONTACT_INSERT, BENCH_ORDERED, 0, OPENED_ROWS,
                          BENCH_ROWS_PER_TRANSACTION);
    bench_sql(replica.db, "DELETE FROM satchel_change");
    bench_contacts_insert(replica.db, BENCH_CONTACT_INSERT, BENCH_ORDERED, OPENED_ROWS,
                          OPENED_PENDING, 1);
    satchel_replica_close(replica.handle);
    replica.handle = NULL;
    for (int i = 0; i < OPENINGS; i++)
        seconds[i] = open_once(replica.path);
    bench_replica_close(&replica);
    bench_report(bench, &(struct bench_line){.name = "local_open",
                                             .variant = "1,000,000",
                                             .text = "opening: rows, and 100,000 pending writes",
                                             .unit = "50ms",
                                             .ratio = bench_median(seconds, OPENINGS) / 0.05,
                                             .budget = 1});
}

void bench_local(struct bench *bench)
{
    printf("local writes: %u rows of 240 bytes, medians of %u rounds, SQLite %s\n",
           (unsigned)bench->row_count, (unsigned)bench->round_count, sqlite3_libversion());
    measure_ids(bench, BENCH_RANDOM);
    measure_ids(bench, BENCH_ORDERED);
    measure_opening(bench);
}
