/* Owns the translation of SQLite's result codes and messages into statuses and error details. */
#include <satchel/sql_error.h>

#include <satchel/sqlite.h>
#include <stdarg.h>
#include <stdio.h>

enum satchel_status satchel_sql_status(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return SATCHEL_OK;
    case SQLITE_NOMEM: return SATCHEL_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return SATCHEL_BUSY;
    default: return SATCHEL_SQL;
    }
}

enum satchel_status satchel_sql_error(struct satchel_error *error, struct sqlite3 *db,
                                      const char *format, ...)
{
    int code = sqlite3_extended_errcode(db);
    enum satchel_status status = satchel_sql_status(code);
    if (status == SATCHEL_OK) /* an inner call succeeded since: the caller knows that it failed */
        status = SATCHEL_SQL;
    if (error) {
        char what[SATCHEL_ERROR_BYTES / 2];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(what, sizeof what, format, arguments);
        va_end(arguments);
        satchel_error_set(error, status, "%s: %s", what, sqlite3_errmsg(db));
        error->native_code = code;
    }
    return status;
}

enum satchel_status satchel_sql_failure(struct satchel_error *error, int code, const char *what)
{
    enum satchel_status status = satchel_sql_status(code);
    satchel_error_set(error, status, "%s: %s", what, sqlite3_errstr(code));
    if (error)
        error->native_code = code;
    return status;
}
