/* Owns the way from SQLite's calls and codes to statuses; see db.h. */
#include "db.h"

#include <satchel/sql_error.h>

#include <stdarg.h>
#include <stdio.h>

static enum satchel_status status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM: return SATCHEL_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return SATCHEL_BUSY;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN: return SATCHEL_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return SATCHEL_CORRUPT;
    case SQLITE_CONSTRAINT: return SATCHEL_REFUSED;
    default: return SATCHEL_SQL;
    }
}

enum satchel_status satchel_db_error(struct satchel_error *error, sqlite3 *db, const char *format,
                                     ...)
{
    enum satchel_status status = status_of(sqlite3_extended_errcode(db));
    char what[SATCHEL_ERROR_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    (void)satchel_sql_error(error, db, "%s", what);
    if (error)
        error->status = status;
    return status;
}

enum satchel_status satchel_db_exec(sqlite3 *db, const char *sql, struct satchel_error *error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return satchel_db_error(error, db, "running '%.60s'", sql);
    return SATCHEL_OK;
}

enum satchel_status satchel_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out,
                                       struct satchel_error *error)
{
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return satchel_db_error(error, db, "preparing '%.60s'", sql);
    return SATCHEL_OK;
}

void satchel_query_begin(struct satchel_query *query, sqlite3 *db, sqlite3_stmt *statement)
{
    query->db = db;
    query->statement = statement;
    query->bound_count = 0;
    query->code = SQLITE_OK;
}

enum satchel_status satchel_query_open(struct satchel_query *query, sqlite3 *db, const char *sql,
                                       struct satchel_error *error)
{
    satchel_query_begin(query, db, NULL);
    if (sqlite3_prepare_v2(db, sql, -1, &query->statement, NULL) != SQLITE_OK)
        return satchel_db_error(error, db, "preparing '%.60s'", sql);
    return SATCHEL_OK;
}

void satchel_query_close(struct satchel_query *query)
{
    sqlite3_finalize(query->statement); /* repeats the failure of the step, which has reported it */
    query->statement = NULL;
}

static void note(struct satchel_query *query, int code)
{
    if (query->code == SQLITE_OK)
        query->code = code;
}

void satchel_query_integer(struct satchel_query *query, int64_t integer)
{
    note(query, sqlite3_bind_int64(query->statement, ++query->bound_count, integer));
}

void satchel_query_text(struct satchel_query *query, struct satchel_span text)
{
    const char *data = text.size ? (const char *)text.data : "";
    note(query, sqlite3_bind_text64(query->statement, ++query->bound_count, data, text.size,
                                    SQLITE_STATIC, SQLITE_UTF8));
}

void satchel_query_blob(struct satchel_query *query, struct satchel_span bytes)
{
    const void *data = bytes.size ? (const void *)bytes.data : "";
    note(query, sqlite3_bind_blob64(query->statement, ++query->bound_count, data, bytes.size,
                                    SQLITE_STATIC));
}

void satchel_query_id(struct satchel_query *query, const struct satchel_id *id)
{
    satchel_query_blob(query, satchel_span_of(id->bytes, sizeof id->bytes));
}

void satchel_query_null(struct satchel_query *query)
{
    note(query, sqlite3_bind_null(query->statement, ++query->bound_count));
}

void satchel_query_value(struct satchel_query *query, const struct satchel_value *value)
{
    note(query, satchel_value_bind(query->statement, ++query->bound_count, value));
}

enum satchel_status satchel_query_step(struct satchel_query *query, bool *has_row,
                                       struct satchel_error *error)
{
    *has_row = false;
    if (query->code != SQLITE_OK)
        return satchel_db_error(error, query->db, "binding '%.60s'", sqlite3_sql(query->statement));
    int code = sqlite3_step(query->statement);
    *has_row = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return satchel_db_error(error, query->db, "running '%.60s'", sqlite3_sql(query->statement));
    return SATCHEL_OK;
}

void satchel_query_end(struct satchel_query *query)
{
    /* Both repeat or cannot have a failure of their own; the step has reported it. */
    sqlite3_reset(query->statement);
    sqlite3_clear_bindings(query->statement);
}

enum satchel_status satchel_query_run(struct satchel_query *query, struct satchel_error *error)
{
    bool has_row;
    enum satchel_status status = satchel_query_step(query, &has_row, error);
    satchel_query_end(query);
    return status;
}

struct satchel_span satchel_column_copy(sqlite3_stmt *statement, int index,
                                        struct satchel_arena *arena)
{
    return satchel_arena_copy(arena, satchel_column_span(statement, index));
}
