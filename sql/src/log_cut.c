/* Owns taking entries out of a log: its end, or one (see log_pack.h). */
#include <satchel/log_pack.h>

#include "log_internal.h"

#include <satchel/log.h>
#include <satchel/log_reader.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

#define SQL_SEGMENT "SELECT first FROM main.satchel_segment WHERE first <= ?1 AND last > ?1"
#define SQL_DELETE_SEGMENTS "DELETE FROM main.satchel_segment WHERE last > ?1"
#define SQL_AROUND "SELECT first FROM main.satchel_segment WHERE first <= ?1 AND last >= ?1"
#define SQL_LAST "SELECT last FROM main.satchel_segment WHERE first = ?1"
#define SQL_DELETE_SEGMENT "DELETE FROM main.satchel_segment WHERE first = ?1"
#define SQL_DELETE_ENTRY "DELETE FROM main.satchel_entry WHERE cursor = ?1"
#define SQL_DELETE_ENTRIES "DELETE FROM main.satchel_entry WHERE cursor > ?1"

static enum satchel_status failed(sqlite3 *db, struct satchel_error *error)
{
    return satchel_sql_error(error, db, "cannot take entries out of the log");
}

static enum satchel_status run(sqlite3 *db, const char *sql, uint64_t cursor, uint64_t *first,
                               struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 1, (sqlite3_int64)cursor);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW && first)
        *first = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : failed(db, error);
}

/* What a segment has up to the cursor becomes single again. */
static enum satchel_status unpack(sqlite3 *db, uint64_t first, uint64_t cursor,
                                  struct satchel_error *error)
{
    struct satchel_log_reader *reader = NULL;
    struct satchel_log *log = NULL;
    struct satchel_log_entry entry;
    bool found = true;
    enum satchel_status status = satchel_log_reader_new(&reader, db);
    if (status == SATCHEL_OK)
        status = satchel_log_new(&log, db);
    if (status == SATCHEL_OK)
        status = satchel_log_read_from(reader, first - 1, NULL, 0, error);
    while (status == SATCHEL_OK) {
        status = satchel_log_read_next(reader, &found, &entry, error);
        if (status != SATCHEL_OK || !found || entry.entry.cursor > cursor)
            break;
        status = satchel_log_append(log, &entry.entry, entry.timeline, error);
    }
    satchel_log_free(log);
    satchel_log_reader_free(reader);
    return status;
}

enum satchel_status satchel_log_cut(struct sqlite3 *db, uint64_t cursor,
                                    struct satchel_error *error)
{
    uint64_t first = 0;
    enum satchel_status status = run(db, SQL_DELETE_ENTRIES, cursor, NULL, error);
    if (status == SATCHEL_OK)
        status = run(db, SQL_SEGMENT, cursor, &first, error);
    if (status == SATCHEL_OK && first > 0)
        status = unpack(db, first, cursor, error);
    if (status == SATCHEL_OK)
        status = run(db, SQL_DELETE_SEGMENTS, cursor, NULL, error);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "the end of the log cannot be taken back: %s",
                                       satchel_status_text(status));
}

enum satchel_status satchel_log_take(struct sqlite3 *db, uint64_t cursor,
                                     struct satchel_error *error)
{
    uint64_t first = 0, last = 0;
    enum satchel_status status = run(db, SQL_AROUND, cursor, &first, error);
    if (status == SATCHEL_OK && first > 0)
        status = run(db, SQL_LAST, first, &last, error);
    if (status == SATCHEL_OK && first > 0)
        status = unpack(db, first, last, error);
    if (status == SATCHEL_OK && first > 0)
        status = run(db, SQL_DELETE_SEGMENT, first, NULL, error);
    if (status == SATCHEL_OK)
        status = run(db, SQL_DELETE_ENTRY, cursor, NULL, error);
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "entry %llu of the log cannot be renewed: %s",
                                       (unsigned long long)cursor, satchel_status_text(status));
}
