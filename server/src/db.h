/* What every user of SQLite in the server needs: statements bound in order, run, and their failures
 * as statuses. Knows no table. */
#ifndef SATCHEL_SERVER_DB_H
#define SATCHEL_SERVER_DB_H

#include <satchel/id.h>
#include <satchel/memory.h>
#include <satchel/row_io.h>
#include <satchel/sqlite.h>
#include <satchel/value.h>

/* The last failure of `db` as a status (NOMEM, BUSY, IO when the disk is full or fails, CORRUPT,
 * REFUSED for a constraint, else SQL) with SQLite's words behind the formatted ones. */
enum satchel_status satchel_db_error(struct satchel_error *error, sqlite3 *db, const char *format,
                                     ...) SATCHEL_PRINTF(3, 4);
/* Runs one or more statements that return nothing. */
enum satchel_status satchel_db_exec(sqlite3 *db, const char *sql,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* A statement kept for as long as its connection. */
enum satchel_status satchel_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* One use of a prepared statement: bound left to right, then run. What is bound is borrowed until
 * satchel_query_end. */
struct satchel_query {
    sqlite3 *db;
    sqlite3_stmt *statement;
    int bound_count;
    int code; /* the first failure of a bind */
};

void satchel_query_begin(struct satchel_query *query, sqlite3 *db, sqlite3_stmt *statement);
/* The same for SQL that is used now and then: prepared here, finalised by satchel_query_close. */
enum satchel_status satchel_query_open(struct satchel_query *query, sqlite3 *db, const char *sql,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_query_close(struct satchel_query *query);
void satchel_query_integer(struct satchel_query *query, int64_t integer);
void satchel_query_text(struct satchel_query *query, struct satchel_span text);
void satchel_query_blob(struct satchel_query *query, struct satchel_span bytes);
void satchel_query_id(struct satchel_query *query, const struct satchel_id *id);
void satchel_query_null(struct satchel_query *query);
void satchel_query_value(struct satchel_query *query, const struct satchel_value *value);
/* The next row, if there is one. */
enum satchel_status satchel_query_step(struct satchel_query *query, bool *has_row,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Makes the statement ready for its next use. */
void satchel_query_end(struct satchel_query *query);
/* Runs a statement that returns nothing, and ends it. */
enum satchel_status satchel_query_run(struct satchel_query *query,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* Columns of the present row, as satchel_column_span. Copied: data NULL if there is no memory. */
struct satchel_span satchel_column_copy(sqlite3_stmt *statement, int index,
                                        struct satchel_arena *arena);

#endif
