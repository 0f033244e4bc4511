/* Owns the two statements behind a history: over satchel_entry, and over a replica's
 * satchel_change. Knows nothing of what the change sets say. */
#include "history_source.h"

#include <satchel/sql_error.h>

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

static const char select_entries[] =
    "SELECT seq, device, number, stamp, user, body, notes FROM main.satchel_entry ORDER BY cursor";
/* Own change sets leave satchel_change when their entry is applied. */
static const char select_pending[] =
    "SELECT 0, (SELECT device FROM main.satchel_replica), number, stamp,"
    " (SELECT user FROM main.satchel_replica), body, x'' FROM main.satchel_change ORDER BY number";
static const char select_is_replica[] =
    "SELECT count(*) = 2 FROM main.sqlite_schema"
    " WHERE type = 'table' AND name IN('satchel_change', 'satchel_replica')";

static int is_replica(sqlite3 *db, bool *out)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, select_is_replica, -1, &statement, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *out = sqlite3_column_int(statement, 0) != 0;
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

enum satchel_status satchel_history_source_init(struct satchel_history_source *source,
                                                struct sqlite3 *db, struct satchel_error *error)
{
    memset(source, 0, sizeof *source);
    source->db = db;
    satchel_buffer_init(&source->scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    bool has_pending = false;
    int code = is_replica(db, &has_pending);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, select_entries, -1, &source->entries, NULL);
    if (code == SQLITE_OK && has_pending)
        code = sqlite3_prepare_v2(db, select_pending, -1, &source->pending, NULL);
    if (code != SQLITE_OK)
        return satchel_sql_error(error, db, "cannot read the history");
    return SATCHEL_OK;
}

void satchel_history_source_deinit(struct satchel_history_source *source)
{
    sqlite3_finalize(source->entries);
    sqlite3_finalize(source->pending);
    satchel_buffer_deinit(&source->scratch);
}

void satchel_history_source_rewind(struct satchel_history_source *source)
{
    sqlite3_reset(source->entries);
    if (source->pending)
        sqlite3_reset(source->pending);
    source->is_in_pending = false;
    source->is_at_end = false;
}

enum satchel_status satchel_history_source_corrupt(const struct satchel_history_entry *entry,
                                                   const char *what, struct satchel_error *error)
{
    char device[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&entry->device, device);
    return satchel_error_set(
        error, SATCHEL_CORRUPT,
        "the history holds a malformed change set (device %s, number %llu): %s", device,
        (unsigned long long)entry->number, what);
}

static struct satchel_span column_bytes(sqlite3_stmt *statement, int index)
{
    struct satchel_value value = satchel_value_of_column(statement, index);
    bool is_bytes = value.type == SATCHEL_TEXT || value.type == SATCHEL_BLOB;
    return is_bytes ? value.bytes : satchel_span_of(NULL, 0);
}

static enum satchel_status read_row(struct satchel_history_source *source, sqlite3_stmt *row,
                                    struct satchel_history_entry *out, struct satchel_error *error)
{
    memset(out, 0, sizeof *out);
    out->seq = (uint64_t)sqlite3_column_int64(row, 0);
    struct satchel_span device = column_bytes(row, 1);
    if (device.size == sizeof out->device.bytes)
        memcpy(out->device.bytes, device.data, device.size);
    out->number = (uint64_t)sqlite3_column_int64(row, 2);
    out->stamp = (satchel_stamp)sqlite3_column_int64(row, 3);
    out->user = column_bytes(row, 4);
    out->notes = column_bytes(row, 6);
    out->is_pending = row == source->pending;
    struct satchel_span stored = column_bytes(row, 5);
    if (stored.size == 0)
        return SATCHEL_OK;
    enum satchel_status status = satchel_body_load(stored, &source->scratch, &out->body);
    if (status == SATCHEL_CORRUPT)
        return satchel_history_source_corrupt(out, "its stored form cannot be read", error);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "cannot read a change set of the history: %s",
                                 satchel_status_text(status));
    return SATCHEL_OK;
}

enum satchel_status satchel_history_source_next(struct satchel_history_source *source, bool *found,
                                                struct satchel_history_entry *out,
                                                struct satchel_error *error)
{
    *found = false;
    while (!source->is_at_end) {
        sqlite3_stmt *row = source->is_in_pending ? source->pending : source->entries;
        int code = row ? sqlite3_step(row) : SQLITE_DONE;
        if (code == SQLITE_ROW) {
            *found = true;
            return read_row(source, row, out, error);
        }
        if (code != SQLITE_DONE)
            return satchel_sql_error(error, source->db, "cannot read the history");
        source->is_at_end = source->is_in_pending;
        source->is_in_pending = true;
    }
    return SATCHEL_OK;
}
