/* What tests of the sql layer share: a schema from text, a database in memory, results as text. */
#ifndef SQL_SUPPORT_H
#define SQL_SUPPORT_H

#include <satchel/schema.h>
#include <satchel/sqlite.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* The schema of one migration. Fails the test if it is refused. */
struct satchel_schema *sql_schema(const char *sql);
/* A database in memory with the tables of `sql`, which may be NULL. */
sqlite3 *sql_open(const char *sql);
void sql_close(sqlite3 *db);
void sql_run(sqlite3 *db, const char *sql);
/* All rows of a query, '|' between columns and '\n' between rows, NULL as "NULL". Valid until the
 * next call. */
const char *sql_rows(sqlite3 *db, const char *sql);

struct satchel_value text_value(const char *text);
/* Sixteen times `byte`. */
struct satchel_id id_of(uint8_t byte);

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

#endif
