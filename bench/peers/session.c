/* The session extension of SQLite on the data of bench_contacts.h: what recording costs the writer,
 * what a change comes to on the wire, what applying one costs. It keeps no log, no history and no
 * versions, and syncs nothing: what is left of a sync engine when everything is left out. */
#include "bench.h"
#include "bench_contacts.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* sqlite3.h declares these only where it is told to; Debian's library has them. */
typedef struct sqlite3_session sqlite3_session;
int sqlite3session_create(sqlite3 *db, const char *schema, sqlite3_session **out);
int sqlite3session_attach(sqlite3_session *session, const char *table);
void sqlite3session_delete(sqlite3_session *session);
int sqlite3session_changeset(sqlite3_session *session, int *size, void **out);
int sqlite3session_patchset(sqlite3_session *session, int *size, void **out);
int sqlite3changeset_apply(sqlite3 *db, int size, void *changeset,
                           int (*filter)(void *context, const char *table),
                           int (*conflict)(void *context, int kind, void *iterator), void *context);

enum { ROWS = 50000, SINGLES = 5000, ROUNDS = 3, LEVEL = 3 };
enum { REPLACE = 1 }; /* SQLITE_CHANGESET_REPLACE */

enum measure { INSERT, UPDATE, SINGLE, APPLY_INSERT, APPLY_UPDATE, MEASURE_COUNT };
static const char *const NAMES[MEASURE_COUNT] = {"insert", "update", "single", "apply_insert",
                                                 "apply_update"};

struct patch {
    void *bytes;
    int size;
};

static void must(int code, const char *what)
{
    if (code != SQLITE_OK)
        bench_fail("session", what);
}

static sqlite3_session *begin(sqlite3 *db)
{
    sqlite3_session *session;
    must(sqlite3session_create(db, "main", &session), "create");
    must(sqlite3session_attach(session, NULL), "attach");
    return session;
}

static struct patch end(sqlite3_session *session)
{
    struct patch patch;
    must(sqlite3session_patchset(session, &patch.size, &patch.bytes), "patchset");
    sqlite3session_delete(session);
    return patch;
}

static double written(sqlite3 *db, enum bench_ids ids, enum measure measure)
{
    double since = bench_cpu_seconds();
    if (measure == INSERT)
        bench_contacts_insert(db, BENCH_CONTACT_INSERT, ids, 0, ROWS, BENCH_ROWS_PER_TRANSACTION);
    else if (measure == UPDATE)
        bench_contacts_update(db, ids, ROWS, 7);
    else
        bench_contacts_insert(db, BENCH_CONTACT_INSERT, ids, ROWS, SINGLES, 1);
    return bench_cpu_seconds() - since;
}

static int replace(void *context, int kind, void *iterator)
{
    (void)context;
    (void)kind;
    (void)iterator;
    return REPLACE;
}

static double applied(sqlite3 *db, const struct patch *patch)
{
    double since = bench_cpu_seconds();
    must(sqlite3changeset_apply(db, patch->size, patch->bytes, NULL, replace, NULL), "apply");
    return bench_cpu_seconds() - since;
}

static double upserted(sqlite3 *db, enum bench_ids ids)
{
    double since = bench_cpu_seconds();
    bench_contacts_insert(db, BENCH_CONTACT_UPSERT, ids, 0, ROWS, BENCH_ROWS_PER_TRANSACTION);
    return bench_cpu_seconds() - since;
}

static double per_row(const struct patch *patch)
{
    size_t room = ZSTD_compressBound((size_t)patch->size);
    void *packed = malloc(room);
    if (!packed)
        bench_fail("session", "out of memory");
    size_t size = ZSTD_compress(packed, room, patch->bytes, (size_t)patch->size, LEVEL);
    free(packed);
    return (double)size / ROWS;
}

/* Recorded over plain, and applied over plain upserts and updates: each kind in one piece, which
 * compresses better, and is applied in one transaction. */
static void play(enum bench_ids ids, double ratios[MEASURE_COUNT], double bytes[2])
{
    static const char *const names[] = {"peer-plain.db", "peer-recorded.db", "peer-receiver.db",
                                        "peer-floor.db"};
    enum { PLAIN, RECORDED, RECEIVER, FLOOR, DATABASES };
    const struct bench here = {.folder = "."};
    struct bench_plain databases[DATABASES];
    for (int i = 0; i < DATABASES; i++)
        bench_plain_open(&databases[i], &here, names[i]);
    sqlite3 *plain = databases[PLAIN].db, *recorded = databases[RECORDED].db;
    sqlite3 *receiver = databases[RECEIVER].db, *floor = databases[FLOOR].db;
    struct patch patches[2];
    double floors[2] = {upserted(floor, ids), written(floor, ids, UPDATE)};
    for (int i = INSERT; i <= SINGLE; i++) {
        double raw = written(plain, ids, (enum measure)i);
        sqlite3_session *session = begin(recorded);
        ratios[i] = written(recorded, ids, (enum measure)i) / raw;
        struct patch patch = end(session);
        if (i < SINGLE)
            patches[i] = patch;
        else
            sqlite3_free(patch.bytes);
    }
    for (int i = 0; i < 2; i++) {
        bytes[i] = per_row(&patches[i]);
        ratios[APPLY_INSERT + i] = applied(receiver, &patches[i]) / floors[i];
        sqlite3_free(patches[i].bytes);
    }
    for (int i = 0; i < DATABASES; i++)
        bench_plain_close(&databases[i]);
}

int main(void)
{
    double all[MEASURE_COUNT][ROUNDS], ordered[ROUNDS], ratios[MEASURE_COUNT], bytes[2];
    for (int round = 0; round < ROUNDS; round++) {
        play(BENCH_RANDOM, ratios, bytes);
        for (int i = 0; i < MEASURE_COUNT; i++)
            all[i][round] = ratios[i];
        play(BENCH_ORDERED, ratios, bytes); /* as the ids that an application is told to use */
        ordered[round] = ratios[INSERT];
    }
    printf("{");
    for (int i = 0; i < MEASURE_COUNT; i++)
        printf("\"%s\": %.2f, ", NAMES[i], bench_median(all[i], ROUNDS));
    printf("\"insert_ordered\": %.2f, ", bench_median(ordered, ROUNDS));
    printf("\"bytes_per_row\": %.1f, \"bytes_per_field\": %.1f}\n", bytes[0], bytes[1]);
    return 0;
}
