/* The data that peers were measured with, too: contacts of 240 bytes in ten columns. */
#ifndef SATCHEL_BENCH_CONTACTS_H
#define SATCHEL_BENCH_CONTACTS_H

#include "bench.h"

#include <satchel.h>
#include <satchel/sqlite.h>

#include <stdint.h>

#define BENCH_CONTACT_COLUMNS                                                         \
    "(id TEXT PRIMARY KEY, name TEXT, street TEXT, city TEXT, phone TEXT, note TEXT," \
    " amount INTEGER, rate REAL, created_at INTEGER, changed_at INTEGER)"
#define BENCH_CONTACT_RAW "CREATE TABLE contact" BENCH_CONTACT_COLUMNS
#define BENCH_CONTACT_TRACKED \
    "-- @table scope=all delete=edit_wins\nCREATE TABLE contact" BENCH_CONTACT_COLUMNS ";\n"
#define BENCH_CONTACT_INSERT "INSERT INTO contact VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"
#define BENCH_CONTACT_UPSERT                                                                    \
    BENCH_CONTACT_INSERT                                                                        \
    " ON CONFLICT(id) DO UPDATE SET name=?2, street=?3, city=?4, phone=?5, note=?6, amount=?7," \
    " rate=?8, created_at=?9, changed_at=?10"
#define BENCH_CONTACT_UPDATE "UPDATE contact SET amount=?2 WHERE id=?1"

enum { BENCH_ROWS_PER_TRANSACTION = 1000 };

/* Ids as satchel_uuid() gives them (UUIDv7, in order of making) or at random (UUIDv4): then every
 * insert lands on another page of the key's index. */
enum bench_ids { BENCH_RANDOM, BENCH_ORDERED };
int bench_contact_id(enum bench_ids ids, uint32_t row, char text[40]);

/* Each ends the program if SQLite fails. */
void bench_sql(sqlite3 *db, const char *sql);
sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql);
/* One that gives no rows; reset behind it. */
void bench_step(sqlite3_stmt *statement);

/* The plain table in a database of its own, with nothing of Satchel. */
struct bench_plain {
    sqlite3 *db;
    char path[4096];
};
void bench_plain_open(struct bench_plain *plain, const struct bench *bench, const char *name);
void bench_plain_close(struct bench_plain *plain);
/* What merging and applying are compared with: CPU seconds of so many upserts into it, and of as
 * many one-field updates. */
void bench_plain_measure(const struct bench *bench, enum bench_ids ids, uint32_t rows,
                         double *upserts, double *updates);

/* The tracked table in a replica of its own, enrolled by hand. */
struct bench_replica {
    satchel_replica *handle;
    sqlite3 *db; /* the handle's */
    char path[4096];
};
void bench_replica_open(struct bench_replica *replica, const struct bench *bench, const char *name,
                        const char *user);
void bench_replica_close(struct bench_replica *replica);

/* With BENCH_CONTACT_INSERT or _UPSERT. */
void bench_contact_insert(sqlite3_stmt *statement, enum bench_ids ids, uint32_t row,
                          uint64_t *seed);
/* `count` rows from `first` on by that statement; per_transaction 1: each its own. */
void bench_contacts_insert(sqlite3 *db, const char *sql, enum bench_ids ids, uint32_t first,
                           uint32_t count, uint32_t per_transaction);
/* One field of each of the first `count` rows; order and values follow from `seed`. */
void bench_contacts_update(sqlite3 *db, enum bench_ids ids, uint32_t count, uint64_t seed);

#endif
