/* Owns rows and their versions in the SQLite store: loading many, writing many or none. */
#include "store_internal.h"

static enum satchel_status load_row(struct satchel_store_sqlite *store,
                                    struct satchel_store_row *row, struct satchel_arena *arena,
                                    struct satchel_error *error)
{
    row->exists = false;
    row->version = satchel_span_of(NULL, 0);
    row->values = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, row->table->column_count);
    if (!row->values)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a row of %s",
                                 row->table->name);
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_ROW]);
    satchel_query_blob(&query, row->name);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        row->version = satchel_column_copy(query.statement, 0, arena);
        if (!row->version.data)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a version");
    }
    uint64_t scope = has_row ? (uint64_t)sqlite3_column_int64(query.statement, 1) : 0;
    satchel_query_end(&query);
    /* A row without a version has never been seen. */
    if (status == SATCHEL_OK && has_row)
        status = satchel_row_read(store->rows, row->table, row->key, arena, &row->exists,
                                  row->values, error);
    return status == SATCHEL_OK ? digest_note_loaded(store->digests, row, scope) : status;
}

enum satchel_status store_load_rows(struct satchel_store *base, struct satchel_store_row *rows,
                                    size_t count, struct satchel_arena *arena,
                                    struct satchel_error *error)
{
    for (size_t i = 0; i < count; i++) {
        enum satchel_status status = load_row(store_of(base), &rows[i], arena, error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static enum satchel_status write_version(struct satchel_store_sqlite *store,
                                         const struct satchel_store_row *row,
                                         struct satchel_error *error)
{
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_SET_ROW]);
    satchel_query_blob(&query, row->name);
    satchel_query_blob(&query, row->version);
    return satchel_query_run(&query, error);
}

static enum satchel_status write_values(struct satchel_store_sqlite *store,
                                        const struct satchel_store_row *row,
                                        struct satchel_error *error)
{
    const struct satchel_table *table = row->table;
    struct satchel_field fields[SATCHEL_COLUMNS_MAX];
    uint32_t field_count = 0;
    if (!row->exists)
        return row->existed ? satchel_row_delete(store->rows, table, row->key, error) : SATCHEL_OK;
    if (!row->existed)
        return satchel_row_insert(store->rows, table, row->values, error);
    for (uint32_t column = 0; column < table->column_count; column++) {
        if (table->rules.columns[column].in_key || (row->changed && !row->changed[column]))
            continue;
        fields[field_count].column = column;
        fields[field_count++].value = row->values[column];
    }
    if (field_count == 0)
        return SATCHEL_OK;
    return satchel_row_update(store->rows, table, row->key, fields, field_count, error);
}

/* Whether it was the schema (a constraint, a type, a trigger) that refused, and not the machine. */
static bool is_refusal(int code)
{
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_ERROR: return true;
    default: return false;
    }
}

enum satchel_status store_write_rows(struct satchel_store *base,
                                     const struct satchel_store_row *rows, size_t count,
                                     struct satchel_span *refusals, struct satchel_arena *arena,
                                     struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    bool is_refused = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_SAVE]);
    enum satchel_status status = satchel_query_run(&query, error);
    if (status != SATCHEL_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        struct satchel_error detail = {0};
        status = digest_note_written(store->digests, &rows[i], &detail);
        if (status == SATCHEL_OK)
            status = write_values(store, &rows[i], &detail);
        if (status != SATCHEL_OK && is_refusal(detail.native_code) &&
            !sqlite3_get_autocommit(store->db)) {
            is_refused = true;
            refusals[i] = satchel_arena_copy(arena, satchel_span_text(detail.message));
            status = refusals[i].data ? SATCHEL_OK : SATCHEL_NOMEM;
            if (status == SATCHEL_OK)
                continue;
        }
        if (status == SATCHEL_OK && !is_refused)
            status = write_version(store, &rows[i], &detail);
        if (status == SATCHEL_OK && !is_refused)
            status = scope_note_row(store->scopes, &rows[i]);
        if (status != SATCHEL_OK) {
            if (error)
                *error = detail;
            return satchel_error_default(error, status, "a row of %s could not be written",
                                         rows[i].table->name);
        }
    }
    if (is_refused) {
        digest_note_back(store->digests);
        satchel_query_begin(&query, store->db, store->statements[STORE_BACK]);
        status = satchel_query_run(&query, error);
        if (status != SATCHEL_OK)
            return status;
    }
    satchel_query_begin(&query, store->db, store->statements[STORE_RELEASE]);
    status = satchel_query_run(&query, error);
    if (status == SATCHEL_OK && is_refused)
        status = satchel_error_set(error, SATCHEL_REFUSED, "the schema refuses a row");
    return status;
}
