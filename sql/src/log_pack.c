/* Owns moving entries from satchel_entry into segments (see log_pack.h), and the segments' table.
 * What a segment looks like is segment.h's. */
#include <satchel/log_pack.h>

#include "log_internal.h"
#include "segment.h"

#include <satchel/row_io.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

#define SQL_CREATE                                                                             \
    "CREATE TABLE IF NOT EXISTS main.satchel_segment(first INTEGER PRIMARY KEY, last INTEGER " \
    "NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, last_seq INTEGER NOT NULL, "  \
    "summary BLOB NOT NULL, data BLOB NOT NULL)"
/* The newest entry that need not stay single. */
#define SQL_UP_TO "SELECT cursor FROM main.satchel_entry ORDER BY cursor DESC LIMIT 1 OFFSET ?1"
#define SQL_OLDEST "SELECT cursor FROM main.satchel_entry ORDER BY cursor LIMIT 1"
#define SQL_SEGMENT_BEHIND \
    "SELECT first FROM main.satchel_segment WHERE first > ?1 ORDER BY first LIMIT 1"
#define SQL_INSERT                                                                            \
    "INSERT INTO main.satchel_segment(first, last, entries, bytes, last_seq, summary, data) " \
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
#define SQL_DELETE "DELETE FROM main.satchel_entry WHERE cursor BETWEEN ?1 AND ?2"

struct packing {
    sqlite3 *db;
    struct satchel_log_reader *reader;
    struct satchel_segment_maker maker;
    struct satchel_buffer data, summary;
    struct satchel_error *error;
};

enum satchel_status satchel_segment_create(struct sqlite3 *db, struct satchel_error *error)
{
    return sqlite3_exec(db, SQL_CREATE, NULL, NULL, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, db, "cannot create the table of segments");
}

static enum satchel_status sql_failed(const struct packing *packing)
{
    return satchel_sql_error(packing->error, packing->db, "cannot pack the log");
}

/* The number that `sql` selects, 0 for none and NULL; `argument` is bound if it has a parameter. */
static enum satchel_status select_number(const struct packing *packing, const char *sql,
                                         int64_t argument, uint64_t *out)
{
    sqlite3_stmt *query = NULL;
    *out = 0;
    int code = sqlite3_prepare_v2(packing->db, sql, -1, &query, NULL);
    if (code == SQLITE_OK && sqlite3_bind_parameter_count(query) > 0)
        code = sqlite3_bind_int64(query, 1, argument);
    if (code == SQLITE_OK)
        code = sqlite3_step(query);
    if (code == SQLITE_ROW)
        *out = (uint64_t)sqlite3_column_int64(query, 0);
    enum satchel_status status =
        code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : sql_failed(packing);
    sqlite3_finalize(query);
    return status;
}

static bool is_full(const struct satchel_segment_maker *maker)
{
    return maker->entry_count == SATCHEL_SEGMENT_ENTRIES_MAX ||
           maker->items.size >= SATCHEL_SEGMENT_BYTES;
}

static enum satchel_status gather(struct packing *packing, uint64_t after, uint64_t up_to)
{
    struct satchel_log_entry entry;
    bool found = true;
    enum satchel_status status =
        satchel_log_read_from(packing->reader, after, NULL, 0, packing->error);
    while (status == SATCHEL_OK && !is_full(&packing->maker)) {
        status = satchel_log_read_next(packing->reader, &found, &entry, packing->error);
        if (status != SATCHEL_OK || !found || entry.entry.cursor > up_to)
            break;
        status = satchel_segment_add(&packing->maker, &entry);
        if (status != SATCHEL_OK)
            satchel_error_set(packing->error, status, "cannot pack entry %llu of the log: %s",
                              (unsigned long long)entry.entry.cursor, satchel_status_text(status));
    }
    satchel_log_read_end(packing->reader);
    return status;
}

static enum satchel_status insert_segment(struct packing *packing)
{
    const struct satchel_segment_maker *maker = &packing->maker;
    const int64_t numbers[] = {(int64_t)maker->first, (int64_t)maker->last, maker->entry_count,
                               (int64_t)maker->items.size, (int64_t)maker->last_seq};
    const struct satchel_value blobs[] = {
        satchel_value_blob(satchel_buffer_span(&packing->summary)),
        satchel_value_blob(satchel_buffer_span(&packing->data))};
    sqlite3_stmt *insert = NULL;
    int code = sqlite3_prepare_v2(packing->db, SQL_INSERT, -1, &insert, NULL);
    for (int i = 0; i < 5 && code == SQLITE_OK; i++)
        code = sqlite3_bind_int64(insert, i + 1, numbers[i]);
    for (int i = 0; i < 2 && code == SQLITE_OK; i++)
        code = satchel_value_bind(insert, i + 6, &blobs[i]);
    if (code == SQLITE_OK)
        code = sqlite3_step(insert);
    enum satchel_status status = code == SQLITE_DONE ? SATCHEL_OK : sql_failed(packing);
    sqlite3_finalize(insert);
    return status;
}

static enum satchel_status delete_entries(struct packing *packing)
{
    sqlite3_stmt *delete = NULL;
    int code = sqlite3_prepare_v2(packing->db, SQL_DELETE, -1, &delete, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(delete, 1, (sqlite3_int64)packing->maker.first);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(delete, 2, (sqlite3_int64)packing->maker.last);
    if (code == SQLITE_OK)
        code = sqlite3_step(delete);
    bool is_all = code == SQLITE_DONE &&
                  sqlite3_changes64(packing->db) == (sqlite3_int64)packing->maker.entry_count;
    sqlite3_finalize(delete);
    if (code != SQLITE_DONE)
        return sql_failed(packing);
    return is_all ? SATCHEL_OK
                  : satchel_error_set(packing->error, SATCHEL_STATE,
                                      "the log changed while it was packed");
}

/* From the oldest single entry on. Before a segment there are no more to come: entries that were a
 * segment once, and one of them was renewed. */
static enum satchel_status move_entries(struct packing *packing, uint32_t keep,
                                        uint32_t entries_min, uint32_t *packed)
{
    uint64_t up_to = 0, oldest = 0, behind = 0;
    enum satchel_status status = select_number(packing, SQL_UP_TO, keep, &up_to);
    if (status == SATCHEL_OK)
        status = select_number(packing, SQL_OLDEST, 0, &oldest);
    if (status == SATCHEL_OK)
        status = select_number(packing, SQL_SEGMENT_BEHIND, (int64_t)oldest, &behind);
    if (behind > 0) {
        up_to = up_to < behind ? up_to : behind - 1;
        entries_min = 1;
    }
    if (status != SATCHEL_OK || up_to < oldest || oldest == 0)
        return status;
    status = gather(packing, oldest - 1, up_to);
    const struct satchel_segment_maker *maker = &packing->maker;
    bool is_enough =
        maker->entry_count > 0 && (is_full(maker) || maker->entry_count >= entries_min);
    if (status != SATCHEL_OK || !is_enough)
        return status;
    status = satchel_segment_write(&packing->maker, &packing->data, &packing->summary);
    if (status != SATCHEL_OK)
        return satchel_error_set(packing->error, status, "cannot pack the log: %s",
                                 satchel_status_text(status));
    status = insert_segment(packing);
    if (status == SATCHEL_OK)
        status = delete_entries(packing);
    if (status == SATCHEL_OK)
        *packed = maker->entry_count;
    return status;
}

enum satchel_status satchel_log_pack(struct sqlite3 *db, uint32_t keep, uint32_t entries_min,
                                     uint32_t *packed, struct satchel_error *error)
{
    enum { SEGMENT_BYTES_MAX = 256 << 20 };
    struct packing packing = {.db = db, .error = error};
    *packed = 0;
    if (satchel_log_reader_new(&packing.reader, db) != SATCHEL_OK)
        return satchel_error_set(error, SATCHEL_NOMEM, "cannot pack the log: no memory");
    satchel_segment_maker_init(&packing.maker);
    satchel_buffer_init(&packing.data, SEGMENT_BYTES_MAX, NULL);
    satchel_buffer_init(&packing.summary, SEGMENT_BYTES_MAX, NULL);
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_exec(db, "SAVEPOINT satchel_pack", NULL, NULL, NULL) != SQLITE_OK) {
        status = sql_failed(&packing);
    } else {
        status = move_entries(&packing, keep, entries_min, packed);
        if (status == SATCHEL_OK &&
            sqlite3_exec(db, "RELEASE satchel_pack", NULL, NULL, NULL) != SQLITE_OK)
            status = sql_failed(&packing);
        if (status != SATCHEL_OK) {
            *packed = 0;
            /* What could not be taken back, for lack of memory, must not be kept. */
            if (sqlite3_exec(db, "ROLLBACK TO satchel_pack", NULL, NULL, NULL) == SQLITE_OK)
                sqlite3_exec(db, "RELEASE satchel_pack", NULL, NULL, NULL);
        }
    }
    satchel_log_reader_free(packing.reader);
    satchel_segment_maker_deinit(&packing.maker);
    satchel_buffer_deinit(&packing.data);
    satchel_buffer_deinit(&packing.summary);
    return status;
}
