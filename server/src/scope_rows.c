/* Owns going through a table's rows for one user: each row's set is read with its name, not looked
 * up row by row. */
#include "scope_viewer_internal.h"

#define SQL_ROWS "SELECT name, scope FROM satchel_row WHERE name>?1 ORDER BY name"

enum satchel_status scope_rows_begin(struct scope_rows *rows, struct scope_viewer *viewer,
                                     const struct satchel_table *table, struct satchel_error *error)
{
    *rows = (struct scope_rows){.viewer = viewer, .table = table};
    rows->is_decided = scope_is_decided(viewer, table, &rows->is_seen);
    satchel_buffer_init(&rows->prefix, 64, NULL);
    enum satchel_status status = scope_name_prefix(&rows->prefix, table->number);
    if (status == SATCHEL_OK)
        status = satchel_db_prepare(viewer->db, SQL_ROWS, &rows->statement, error);
    if (status == SATCHEL_OK)
        sqlite3_bind_blob64(rows->statement, 1, rows->prefix.data, rows->prefix.size,
                            SQLITE_STATIC);
    return status;
}

static enum satchel_status sees_present(struct scope_rows *rows, bool *sees,
                                        struct satchel_error *error)
{
    uint64_t set = (uint64_t)sqlite3_column_int64(rows->statement, 1);
    *sees = rows->is_seen;
    return rows->is_decided
               ? SATCHEL_OK
               : scope_look_sees(rows->viewer, &rows->viewer->present, set, sees, error);
}

enum satchel_status scope_rows_next(struct scope_rows *rows, struct satchel_span *name,
                                    struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    bool sees = false;
    *name = satchel_span_of(NULL, 0);
    while (status == SATCHEL_OK && !sees) {
        int code = sqlite3_step(rows->statement);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            return satchel_db_error(error, rows->viewer->db, "reading satchel_row");
        struct satchel_span found =
            code == SQLITE_ROW ? satchel_column_span(rows->statement, 0) : satchel_span_of(NULL, 0);
        if (found.size < rows->prefix.size ||
            memcmp(found.data, rows->prefix.data, rows->prefix.size) != 0)
            return SATCHEL_OK;
        status = sees_present(rows, &sees, error);
        if (sees)
            *name = found;
    }
    return status;
}

void scope_rows_end(struct scope_rows *rows)
{
    sqlite3_finalize(rows->statement);
    satchel_buffer_deinit(&rows->prefix);
    rows->statement = NULL;
}
