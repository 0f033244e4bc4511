/* Owns the contacts: what their values are, and how they are written. */
#include "bench_contacts.h"

#include "../tests/unit/replica_fixture.h"

#include <stdlib.h>

void bench_sql(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        bench_fail(sql, sqlite3_errmsg(db));
}

sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
        bench_fail(sql, sqlite3_errmsg(db));
    return statement;
}

void bench_step(sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE)
        bench_fail(sqlite3_sql(statement), sqlite3_errmsg(sqlite3_db_handle(statement)));
    sqlite3_reset(statement);
}

int bench_contact_id(enum bench_ids ids, uint32_t row, char text[40])
{
    uint64_t mixed = (row + 1) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
    if (ids == BENCH_ORDERED)
        return snprintf(text, 40, "0190a5e2-%04x-7%03x-8abc-%012x", (unsigned)(row >> 12),
                        (unsigned)(row & 0xfff), (unsigned)mixed);
    return snprintf(text, 40, "%08x-%04x-4abc-8def-%012x", (unsigned)(mixed >> 32),
                    (unsigned)(mixed & 0xffff), (unsigned)row);
}

void bench_contact_insert(sqlite3_stmt *statement, enum bench_ids ids, uint32_t row, uint64_t *seed)
{
    static const char *const streets[] = {"Renmin South Road", "Jianshe North Road", "Hauptstrasse",
                                          "Rue de la Republique"};
    static const char *const cities[] = {"Chengdu", "Chongqing", "Heidelberg", "Marseille"};
    char id[40], name[40], street[60], phone[24], note[120];
    int id_size = bench_contact_id(ids, row, id);
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
    bench_step(statement);
}

void bench_contacts_insert(sqlite3 *db, const char *sql, enum bench_ids ids, uint32_t first,
                           uint32_t count, uint32_t per_transaction)
{
    uint64_t seed = first + 1;
    sqlite3_stmt *statement = bench_prepare(db, sql);
    for (uint32_t i = 0; i < count; i++) {
        if (per_transaction > 1 && i % per_transaction == 0)
            bench_sql(db, i ? "COMMIT; BEGIN" : "BEGIN");
        bench_contact_insert(statement, ids, first + i, &seed);
    }
    if (per_transaction > 1)
        bench_sql(db, "COMMIT");
    sqlite3_finalize(statement);
}

static uint32_t *shuffle(uint32_t count, uint64_t *seed)
{
    uint32_t *order = malloc(count * sizeof *order);
    if (!order)
        bench_fail("contacts", "out of memory");
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t other = bench_draw(seed, i + 1), row = order[i];
        order[i] = order[other];
        order[other] = row;
    }
    return order;
}

void bench_contacts_update(sqlite3 *db, enum bench_ids ids, uint32_t count, uint64_t seed)
{
    uint32_t *order = shuffle(count, &seed);
    sqlite3_stmt *statement = bench_prepare(db, BENCH_CONTACT_UPDATE);
    for (uint32_t i = 0; i < count; i++) {
        char id[40];
        if (i % BENCH_ROWS_PER_TRANSACTION == 0)
            bench_sql(db, i ? "COMMIT; BEGIN" : "BEGIN");
        int size = bench_contact_id(ids, order[i], id);
        sqlite3_bind_text(statement, 1, id, size, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, 1000000 + bench_draw(&seed, 1000000));
        bench_step(statement);
    }
    bench_sql(db, "COMMIT");
    sqlite3_finalize(statement);
    free(order);
}

/* ---- without Satchel ---- */

void bench_plain_open(struct bench_plain *plain, const struct bench *bench, const char *name)
{
    snprintf(plain->path, sizeof plain->path, "%s/%s", bench->folder, name);
    bench_remove_store(plain->path);
    if (sqlite3_open(plain->path, &plain->db) != SQLITE_OK)
        bench_fail(plain->path, sqlite3_errmsg(plain->db));
    bench_sql(plain->db,
              "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000");
    bench_sql(plain->db, BENCH_CONTACT_RAW);
}

void bench_plain_close(struct bench_plain *plain)
{
    sqlite3_close(plain->db);
    bench_remove_store(plain->path);
}

void bench_plain_measure(const struct bench *bench, enum bench_ids ids, uint32_t rows,
                         double *upserts, double *updates)
{
    struct bench_plain plain;
    bench_plain_open(&plain, bench, "bench-raw.db");
    double begin = bench_cpu_seconds();
    bench_contacts_insert(plain.db, BENCH_CONTACT_UPSERT, ids, 0, rows, BENCH_ROWS_PER_TRANSACTION);
    double middle = bench_cpu_seconds();
    bench_contacts_update(plain.db, ids, rows, 7);
    *upserts = middle - begin;
    *updates = bench_cpu_seconds() - middle;
    bench_plain_close(&plain);
}

/* ---- with it ---- */

void bench_replica_open(struct bench_replica *replica, const struct bench *bench, const char *name,
                        const char *user)
{
    snprintf(replica->path, sizeof replica->path, "%s/%s", bench->folder, name);
    if (fixture_replica(replica->path, BENCH_CONTACT_TRACKED, user, "rep", NULL,
                        &replica->handle) != SATCHEL_OK)
        bench_fail(replica->path, "cannot be made");
    replica->db = satchel_replica_db(replica->handle);
    bench_sql(replica->db, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000");
}

void bench_replica_close(struct bench_replica *replica)
{
    satchel_replica_close(replica->handle);
    fixture_remove(replica->path);
}
