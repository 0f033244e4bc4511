/* SQLite's failures as statuses, for everything that talks to SQLite. */
#ifndef SATCHEL_SQL_ERROR_H
#define SATCHEL_SQL_ERROR_H

#include <satchel/status.h>

struct sqlite3;

/* NOMEM for SQLITE_NOMEM, BUSY for SQLITE_BUSY and SQLITE_LOCKED, else SQL. */
enum satchel_status satchel_sql_status(int code);

/* The last failure of `db`: its status; in `error` the formatted text, then ": " and SQLite's
 * message, with the extended result code as native code. */
enum satchel_status satchel_sql_error(struct satchel_error *error, struct sqlite3 *db,
                                      const char *format, ...) SATCHEL_PRINTF(3, 4);

/* The same of a result code that the connection may not know of (registering functions). */
enum satchel_status satchel_sql_failure(struct satchel_error *error, int code, const char *what);

#endif
