/* Owns reading entries wherever they are kept (see log_reader.h). Knows nothing of what change sets
 * say. */
#include <satchel/log_reader.h>

#include "segment.h"

#include <satchel/row_io.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

#define ENTRY_COLUMNS "seq, device, number, stamp, user, secret, body, notes, timeline"

enum query { WALK, DATA, AT, COVERING, CHANGE, SEQ, SEQ_PACKED, QUERY_COUNT };
static const char *const queries[QUERY_COUNT] = {
    /* Segments and single entries in one statement, which sees one moment of both. Segments are
       told by `last`; the first one may begin before what is asked for. */
    [WALK] = "SELECT first, last, summary, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
             " FROM main.satchel_segment WHERE first >= ifnull("
             "(SELECT max(first) FROM main.satchel_segment WHERE first <= ?1), 0)"
             " UNION ALL SELECT cursor, NULL, NULL, " ENTRY_COLUMNS
             " FROM main.satchel_entry WHERE cursor > ?1 ORDER BY 1",
    [DATA] = "SELECT data FROM main.satchel_segment WHERE first = ?1",
    [AT] = "SELECT cursor, NULL, NULL, " ENTRY_COLUMNS " FROM main.satchel_entry WHERE cursor = ?1",
    [COVERING] = "SELECT first, last FROM main.satchel_segment WHERE first <= ?1"
                 " ORDER BY first DESC LIMIT 1",
    [CHANGE] = "SELECT cursor, NULL, NULL, " ENTRY_COLUMNS
               " FROM main.satchel_entry WHERE device = ?1 AND number = ?2",
    [SEQ] = "SELECT seq FROM main.satchel_entry WHERE cursor <= ?1 AND seq > 0"
            " ORDER BY cursor DESC LIMIT 1",
    [SEQ_PACKED] = "SELECT last_seq FROM main.satchel_segment WHERE last <= ?1 AND last_seq > 0"
                   " ORDER BY first DESC LIMIT 1",
};

enum {
    COLUMN_PLACE,
    COLUMN_LAST,
    COLUMN_SUMMARY,
    COLUMN_SEQ,
    COLUMN_DEVICE,
    COLUMN_NUMBER,
    COLUMN_STAMP,
    COLUMN_USER,
    COLUMN_SECRET,
    COLUMN_BODY,
    COLUMN_NOTES,
    COLUMN_TIMELINE
};

enum { SCRATCH_BYTES_MAX = 256 << 20 };

struct satchel_log_reader {
    sqlite3 *db;
    sqlite3_stmt *statements[QUERY_COUNT];
    /* the segment last opened, which never changes; none if `last` is 0 */
    uint64_t first, last;
    struct satchel_span data; /* in `stored` or `scratch` */
    struct satchel_buffer stored, scratch;
    /* the walk */
    uint64_t after;
    const satchel_log_mark *marks;
    uint32_t mark_count;
    bool is_in_segment;
    struct satchel_cursor items;
};

enum satchel_status satchel_log_reader_new(struct satchel_log_reader **out, struct sqlite3 *db)
{
    struct satchel_log_reader *reader = satchel_alloc_zero(NULL, sizeof *reader);
    *out = reader;
    if (!reader)
        return SATCHEL_NOMEM;
    reader->db = db;
    satchel_buffer_init(&reader->stored, SCRATCH_BYTES_MAX, NULL);
    satchel_buffer_init(&reader->scratch, SCRATCH_BYTES_MAX, NULL);
    return SATCHEL_OK;
}

void satchel_log_reader_free(struct satchel_log_reader *reader)
{
    if (!reader)
        return;
    for (int i = 0; i < QUERY_COUNT; i++)
        sqlite3_finalize(reader->statements[i]);
    satchel_buffer_deinit(&reader->stored);
    satchel_buffer_deinit(&reader->scratch);
    satchel_free(NULL, reader);
}

/* ---- statements ---- */

static enum satchel_status sql_failed(struct satchel_log_reader *reader,
                                      struct satchel_error *error)
{
    return satchel_sql_error(error, reader->db, "cannot read the log");
}

static enum satchel_status damaged(struct satchel_error *error, const char *what, uint64_t cursor)
{
    return satchel_error_set(error, SATCHEL_CORRUPT,
                             "the %s %llu of the log is damaged; restore a backup", what,
                             (unsigned long long)cursor);
}

/* A statement with the number bound as its first parameter, ready to step. */
static enum satchel_status begin(struct satchel_log_reader *reader, enum query query,
                                 uint64_t number, sqlite3_stmt **out, struct satchel_error *error)
{
    sqlite3_stmt **kept = &reader->statements[query];
    int code = *kept ? sqlite3_reset(*kept)
                     : sqlite3_prepare_v3(reader->db, queries[query], -1, SQLITE_PREPARE_PERSISTENT,
                                          kept, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(*kept, 1, (sqlite3_int64)number);
    *out = *kept;
    return code == SQLITE_OK ? SATCHEL_OK : sql_failed(reader, error);
}

static enum satchel_status step(struct satchel_log_reader *reader, sqlite3_stmt *statement,
                                bool *has_row, struct satchel_error *error)
{
    int code = sqlite3_step(statement);
    *has_row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : sql_failed(reader, error);
}

/* The single entry in the present row. */
static enum satchel_status read_row(sqlite3_stmt *row, struct satchel_log_entry *out,
                                    struct satchel_error *error)
{
    struct satchel_entry *entry = &out->entry;
    memset(out, 0, sizeof *out);
    entry->cursor = (uint64_t)sqlite3_column_int64(row, COLUMN_PLACE);
    entry->seq = (uint64_t)sqlite3_column_int64(row, COLUMN_SEQ);
    struct satchel_span device = satchel_column_span(row, COLUMN_DEVICE);
    if (device.size != sizeof entry->device.bytes)
        return damaged(error, "entry", entry->cursor);
    memcpy(entry->device.bytes, device.data, device.size);
    entry->number = (uint64_t)sqlite3_column_int64(row, COLUMN_NUMBER);
    entry->stamp = (satchel_stamp)sqlite3_column_int64(row, COLUMN_STAMP);
    entry->user = satchel_column_span(row, COLUMN_USER);
    struct satchel_span secret = satchel_column_span(row, COLUMN_SECRET);
    entry->secret = secret.size == SATCHEL_SECRET_BYTES ? secret.data : NULL;
    entry->body = satchel_column_span(row, COLUMN_BODY);
    entry->notes = satchel_column_span(row, COLUMN_NOTES);
    out->timeline = satchel_column_span(row, COLUMN_TIMELINE);
    return SATCHEL_OK;
}

/* ---- segments ---- */

static enum satchel_status load_segment(struct satchel_log_reader *reader, uint64_t first,
                                        uint64_t last, struct satchel_error *error)
{
    sqlite3_stmt *query;
    bool has_row = false;
    if (reader->last != 0 && reader->first == first && reader->last == last)
        return SATCHEL_OK;
    reader->last = 0;
    enum satchel_status status = begin(reader, DATA, first, &query, error);
    if (status == SATCHEL_OK)
        status = step(reader, query, &has_row, error);
    if (status == SATCHEL_OK && !has_row)
        status = damaged(error, "segment", first);
    if (status == SATCHEL_OK) {
        struct satchel_span bytes = satchel_column_span(query, 0);
        satchel_buffer_clear(&reader->stored);
        status = satchel_buffer_append(&reader->stored, bytes.data, bytes.size);
        if (status != SATCHEL_OK)
            satchel_error_set(error, status, "cannot read a segment of the log: %s",
                              satchel_status_text(status));
    }
    if (query)
        sqlite3_reset(query);
    if (status == SATCHEL_OK) {
        struct satchel_cursor items;
        status =
            satchel_segment_open(satchel_buffer_span(&reader->stored), &reader->scratch, &items);
        if (status == SATCHEL_NOMEM)
            return satchel_error_set(error, status, "cannot read a segment of the log: no memory");
        if (status != SATCHEL_OK)
            return damaged(error, "segment", first);
        reader->data = satchel_span_of(items.position, (size_t)(items.end - items.position));
        reader->first = first;
        reader->last = last;
    }
    return status;
}

static enum satchel_status next_item(struct satchel_log_reader *reader, bool *found,
                                     struct satchel_log_entry *out, struct satchel_error *error)
{
    *found = satchel_segment_next(&reader->items, out);
    return !*found && reader->items.failed ? damaged(error, "segment", reader->first) : SATCHEL_OK;
}

/* ---- walks ---- */

enum satchel_status satchel_log_read_from(struct satchel_log_reader *reader, uint64_t after,
                                          const satchel_log_mark *marks, uint32_t mark_count,
                                          struct satchel_error *error)
{
    sqlite3_stmt *walk;
    reader->after = after;
    reader->marks = marks;
    reader->mark_count = mark_count;
    reader->is_in_segment = false;
    return begin(reader, WALK, after, &walk, error);
}

/* The segment in the present row of the walk: opened if it is of interest. */
static enum satchel_status enter_segment(struct satchel_log_reader *reader, sqlite3_stmt *row,
                                         struct satchel_error *error)
{
    uint64_t first = (uint64_t)sqlite3_column_int64(row, COLUMN_PLACE);
    uint64_t last = (uint64_t)sqlite3_column_int64(row, COLUMN_LAST);
    if (last <= reader->after || !satchel_segment_may_hold(satchel_column_span(row, COLUMN_SUMMARY),
                                                           reader->marks, reader->mark_count))
        return SATCHEL_OK;
    enum satchel_status status = load_segment(reader, first, last, error);
    reader->is_in_segment = status == SATCHEL_OK;
    reader->items = satchel_cursor_of(reader->data);
    return status;
}

enum satchel_status satchel_log_read_next(struct satchel_log_reader *reader, bool *found,
                                          struct satchel_log_entry *out,
                                          struct satchel_error *error)
{
    sqlite3_stmt *walk = reader->statements[WALK];
    enum satchel_status status = SATCHEL_OK;
    bool has_row = true;
    *found = false;
    while (status == SATCHEL_OK && has_row && !*found) {
        if (reader->is_in_segment) {
            status = next_item(reader, &reader->is_in_segment, out, error);
            *found = reader->is_in_segment && out->entry.cursor > reader->after;
            continue;
        }
        status = step(reader, walk, &has_row, error);
        if (status != SATCHEL_OK || !has_row)
            break;
        if (sqlite3_column_type(walk, COLUMN_LAST) != SQLITE_NULL) {
            status = enter_segment(reader, walk, error);
        } else {
            status = read_row(walk, out, error);
            *found = status == SATCHEL_OK;
        }
    }
    return status;
}

void satchel_log_read_end(struct satchel_log_reader *reader)
{
    static const enum query held[] = {WALK, AT, CHANGE};
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++)
        if (reader->statements[held[i]])
            sqlite3_reset(reader->statements[held[i]]);
    reader->is_in_segment = false;
}

/* ---- single entries ---- */

/* The segment that would hold `cursor`; `*found` is false if none does. */
static enum satchel_status load_covering(struct satchel_log_reader *reader, uint64_t cursor,
                                         bool *found, struct satchel_error *error)
{
    sqlite3_stmt *query;
    enum satchel_status status = begin(reader, COVERING, cursor, &query, error);
    if (status == SATCHEL_OK)
        status = step(reader, query, found, error);
    if (status == SATCHEL_OK && *found) {
        uint64_t first = (uint64_t)sqlite3_column_int64(query, 0);
        uint64_t last = (uint64_t)sqlite3_column_int64(query, 1);
        *found = last >= cursor;
        if (*found)
            status = load_segment(reader, first, last, error);
        reader->items = satchel_cursor_of(reader->data);
    }
    sqlite3_reset(query);
    return status;
}

enum satchel_status satchel_log_read_at(struct satchel_log_reader *reader, uint64_t cursor,
                                        bool *found, struct satchel_log_entry *out,
                                        struct satchel_error *error)
{
    sqlite3_stmt *query;
    bool has_item = false;
    *found = false;
    satchel_log_read_end(reader);
    enum satchel_status status = begin(reader, AT, cursor, &query, error);
    if (status == SATCHEL_OK)
        status = step(reader, query, found, error);
    if (status == SATCHEL_OK && *found)
        return read_row(query, out, error);
    if (status == SATCHEL_OK)
        status = load_covering(reader, cursor, &has_item, error);
    while (status == SATCHEL_OK && has_item && !*found) {
        status = next_item(reader, &has_item, out, error);
        *found = status == SATCHEL_OK && has_item && out->entry.cursor == cursor;
    }
    return status;
}

static bool is_change(const struct satchel_log_entry *entry, const struct satchel_id *device,
                      uint64_t number)
{
    return entry->entry.number == number && satchel_id_equal(&entry->entry.device, device);
}

enum satchel_status satchel_log_read_change(struct satchel_log_reader *reader,
                                            const struct satchel_id *device, uint64_t number,
                                            bool *found, struct satchel_log_entry *out,
                                            struct satchel_error *error)
{
    sqlite3_stmt *query;
    const satchel_log_mark mark = satchel_log_mark_change(device, number);
    *found = false;
    satchel_log_read_end(reader);
    enum satchel_status status = begin(reader, CHANGE, 0, &query, error);
    if (status == SATCHEL_OK && (sqlite3_bind_blob(query, 1, device->bytes, sizeof device->bytes,
                                                   SQLITE_TRANSIENT) != SQLITE_OK ||
                                 sqlite3_bind_int64(query, 2, (sqlite3_int64)number) != SQLITE_OK))
        status = sql_failed(reader, error);
    if (status == SATCHEL_OK)
        status = step(reader, query, found, error);
    if (status == SATCHEL_OK && *found)
        return read_row(query, out, error);
    if (status == SATCHEL_OK)
        status = satchel_log_read_from(reader, 0, &mark, 1, error);
    bool has_entry = true;
    while (status == SATCHEL_OK && has_entry && !*found) {
        status = satchel_log_read_next(reader, &has_entry, out, error);
        *found = status == SATCHEL_OK && has_entry && is_change(out, device, number);
    }
    reader->marks = NULL;
    reader->mark_count = 0;
    return status;
}

/* Of the items of the segment up to that cursor. */
static enum satchel_status seq_in_segment(struct satchel_log_reader *reader, uint64_t cursor,
                                          uint64_t *seq, struct satchel_error *error)
{
    struct satchel_log_entry item;
    bool has_item = true;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && has_item) {
        status = next_item(reader, &has_item, &item, error);
        if (status != SATCHEL_OK || !has_item || item.entry.cursor > cursor)
            break;
        if (item.entry.seq > 0)
            *seq = item.entry.seq;
    }
    return status;
}

static enum satchel_status seq_of(struct satchel_log_reader *reader, enum query which,
                                  uint64_t cursor, uint64_t *seq, struct satchel_error *error)
{
    sqlite3_stmt *query;
    bool has_row = false;
    enum satchel_status status = begin(reader, which, cursor, &query, error);
    if (status == SATCHEL_OK)
        status = step(reader, query, &has_row, error);
    if (has_row)
        *seq = (uint64_t)sqlite3_column_int64(query, 0);
    if (query)
        sqlite3_reset(query);
    return status;
}

enum satchel_status satchel_log_read_seq(struct satchel_log_reader *reader, uint64_t cursor,
                                         uint64_t *seq, struct satchel_error *error)
{
    bool is_covered = false;
    *seq = 0;
    satchel_log_read_end(reader);
    enum satchel_status status = seq_of(reader, SEQ, cursor, seq, error);
    if (status == SATCHEL_OK && *seq == 0)
        status = load_covering(reader, cursor, &is_covered, error);
    if (status == SATCHEL_OK && is_covered)
        status = seq_in_segment(reader, cursor, seq, error);
    return status == SATCHEL_OK && *seq == 0 ? seq_of(reader, SEQ_PACKED, cursor, seq, error)
                                             : status;
}
