/* The SQL functions of docs/interface.md, registered on a connection of either side. */
#ifndef SATCHEL_FUNCTIONS_H
#define SATCHEL_FUNCTIONS_H

#include <satchel/id.h>

struct sqlite3;

/* Who and when, asked at each call of a function. Texts are borrowed until the next call. */
struct satchel_identity {
    void *context;
    bool (*applying)(void *context);
    int64_t (*now_ms)(void *context);     /* corrected, UTC */
    const char *(*device)(void *context); /* NULL becomes SQL NULL */
    const char *(*user)(void *context);
    const char *(*role)(void *context);
};

/* satchel_uuid() UUIDv7 (RFC 9562) text, ascending within a connection; satchel_id() 63-bit,
 * ordered by time, then by device and chance (the odds: sql/src/unique.h); satchel_uuid5(a, b, ...)
 * UUIDv5 over the values under a fixed namespace (each value typed and length-prefixed, so
 * ('ab','c') differs from ('a','bc')); satchel_applying(), satchel_now(), satchel_device(),
 * satchel_user(), satchel_role(). `identity` must outlive the connection. An SQLite result code. */
int satchel_functions_register(struct sqlite3 *db, const struct satchel_identity *identity);

#endif
