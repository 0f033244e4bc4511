/* Owns what is behind a history: the log, and a replica's satchel_change. Knows nothing of what the
 * change sets say. */
#include "history_source.h"

#include <satchel/sql_error.h>

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

/* Own change sets leave satchel_change when their entry is applied. */
static const char select_pending[] =
    "SELECT (SELECT device FROM main.satchel_replica), number, stamp,"
    " (SELECT user FROM main.satchel_replica), body FROM main.satchel_change ORDER BY number";
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
    if (code == SQLITE_OK && has_pending)
        code = sqlite3_prepare_v2(db, select_pending, -1, &source->pending, NULL);
    if (code != SQLITE_OK)
        return satchel_sql_error(error, db, "cannot read the history");
    return satchel_log_reader_new(&source->entries, db) == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_set(error, SATCHEL_NOMEM, "no memory to read the history");
}

void satchel_history_source_deinit(struct satchel_history_source *source)
{
    satchel_log_reader_free(source->entries);
    sqlite3_finalize(source->pending);
    satchel_buffer_deinit(&source->scratch);
}

void satchel_history_source_rewind(struct satchel_history_source *source,
                                   const satchel_log_mark *marks, uint32_t mark_count)
{
    source->marks = marks;
    source->mark_count = mark_count;
    source->is_walking = false;
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

static enum satchel_status load_body(struct satchel_history_source *source,
                                     struct satchel_span stored, struct satchel_history_entry *out,
                                     struct satchel_error *error)
{
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

static enum satchel_status next_entry(struct satchel_history_source *source, bool *found,
                                      struct satchel_history_entry *out,
                                      struct satchel_error *error)
{
    struct satchel_log_entry read;
    enum satchel_status status = SATCHEL_OK;
    if (!source->is_walking)
        status =
            satchel_log_read_from(source->entries, 0, source->marks, source->mark_count, error);
    source->is_walking = true;
    if (status == SATCHEL_OK)
        status = satchel_log_read_next(source->entries, found, &read, error);
    if (status != SATCHEL_OK || !*found)
        return status;
    const struct satchel_entry *entry = &read.entry;
    *out = (struct satchel_history_entry){.seq = entry->seq,
                                          .device = entry->device,
                                          .number = entry->number,
                                          .stamp = entry->stamp,
                                          .user = entry->user,
                                          .notes = entry->notes};
    return load_body(source, entry->body, out, error);
}

static enum satchel_status next_pending(struct satchel_history_source *source, bool *found,
                                        struct satchel_history_entry *out,
                                        struct satchel_error *error)
{
    sqlite3_stmt *row = source->pending;
    int code = row ? sqlite3_step(row) : SQLITE_DONE;
    *found = code == SQLITE_ROW;
    if (code == SQLITE_DONE)
        return SATCHEL_OK;
    if (code != SQLITE_ROW)
        return satchel_sql_error(error, source->db, "cannot read the history");
    memset(out, 0, sizeof *out);
    struct satchel_span device = satchel_column_span(row, 0);
    if (device.size == sizeof out->device.bytes)
        memcpy(out->device.bytes, device.data, device.size);
    out->number = (uint64_t)sqlite3_column_int64(row, 1);
    out->stamp = (satchel_stamp)sqlite3_column_int64(row, 2);
    out->user = satchel_column_span(row, 3);
    out->is_pending = true;
    return load_body(source, satchel_column_span(row, 4), out, error);
}

enum satchel_status satchel_history_source_next(struct satchel_history_source *source, bool *found,
                                                struct satchel_history_entry *out,
                                                struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    *found = false;
    while (status == SATCHEL_OK && !source->is_at_end && !*found) {
        status = source->is_in_pending ? next_pending(source, found, out, error)
                                       : next_entry(source, found, out, error);
        if (status != SATCHEL_OK || *found)
            continue;
        source->is_at_end = source->is_in_pending;
        source->is_in_pending = true;
    }
    return status;
}
