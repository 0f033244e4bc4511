/* Owns the prepared statements that read and write rows of synced tables by their key, and nothing
 * of what the rows mean. Statements are bound, stepped, reset and cleared within one call, so that
 * values are never copied on their way in. */
#include <satchel/row_io.h>

#include <satchel/sql_error.h>
#include "sql_text.h"

#include <satchel/sqlite.h>

/* An application updates few different sets of columns per table; whoever updates at random pays a
 * prepare. */
enum { UPDATES_PER_TABLE_MAX = 64, KEY_SHOWN_BYTES_MAX = 120 };

struct update {
    sqlite3_stmt *statement;
    uint32_t *columns;
    uint32_t column_count;
    uint64_t used_at;
};

struct table_io {
    sqlite3_stmt *read, *insert, *delete;
    struct update *updates; /* UPDATES_PER_TABLE_MAX, made with the first update */
    uint32_t update_count;
    uint32_t last_update; /* runs of the same statement are the rule */
};

struct satchel_row_io {
    sqlite3 *db;
    uint32_t table_count;    /* of the schema, which may be gone when the statements are freed */
    struct table_io *tables; /* by table number - 1 */
    uint64_t clock;          /* counts updates, for the cache */
};

enum satchel_status satchel_row_io_new(struct satchel_row_io **out, struct sqlite3 *db,
                                       const struct satchel_schema *schema)
{
    *out = NULL;
    struct satchel_row_io *io = satchel_alloc_zero(NULL, sizeof *io);
    if (!io)
        return SATCHEL_NOMEM;
    io->db = db;
    io->table_count = schema->table_count;
    io->tables = satchel_alloc_zero(NULL, (schema->table_count + 1) * sizeof *io->tables);
    if (!io->tables) {
        satchel_free(NULL, io);
        return SATCHEL_NOMEM;
    }
    *out = io;
    return SATCHEL_OK;
}

static void update_free(struct update *update)
{
    sqlite3_finalize(update->statement);
    satchel_free(NULL, update->columns);
    memset(update, 0, sizeof *update);
}

void satchel_row_io_free(struct satchel_row_io *io)
{
    if (!io)
        return;
    for (uint32_t i = 0; i < io->table_count; i++) {
        struct table_io *table = &io->tables[i];
        sqlite3_finalize(table->read);
        sqlite3_finalize(table->insert);
        sqlite3_finalize(table->delete);
        for (uint32_t j = 0; j < table->update_count; j++)
            update_free(&table->updates[j]);
        satchel_free(NULL, table->updates);
    }
    satchel_free(NULL, io->tables);
    satchel_free(NULL, io);
}

/* ---- statements ---- */

static enum satchel_status prepare_read(struct satchel_row_io *io,
                                        const struct satchel_table *table, sqlite3_stmt **out,
                                        struct satchel_error *error)
{
    struct satchel_sql_text sql;
    satchel_sql_text_init(&sql);
    satchel_sql_text_add(&sql, "SELECT ");
    satchel_sql_text_columns(&sql, table);
    satchel_sql_text_add(&sql, " FROM ");
    satchel_sql_text_table(&sql, table);
    satchel_sql_text_add(&sql, " WHERE ");
    satchel_sql_text_key(&sql, table, 1);
    return satchel_sql_text_prepare(&sql, io->db, out, error);
}

/* OR ABORT, here and below: a REPLACE written in the application's schema must not remove a row
 * that sync knows nothing of. */
static enum satchel_status prepare_insert(struct satchel_row_io *io,
                                          const struct satchel_table *table, sqlite3_stmt **out,
                                          struct satchel_error *error)
{
    struct satchel_sql_text sql;
    satchel_sql_text_init(&sql);
    satchel_sql_text_add(&sql, "INSERT OR ABORT INTO ");
    satchel_sql_text_table(&sql, table);
    satchel_sql_text_add(&sql, "(");
    satchel_sql_text_columns(&sql, table);
    satchel_sql_text_add(&sql, ")VALUES(");
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            satchel_sql_text_add(&sql, ",");
        satchel_sql_text_parameter(&sql, i + 1);
    }
    satchel_sql_text_add(&sql, ")");
    return satchel_sql_text_prepare(&sql, io->db, out, error);
}

static enum satchel_status prepare_delete(struct satchel_row_io *io,
                                          const struct satchel_table *table, sqlite3_stmt **out,
                                          struct satchel_error *error)
{
    struct satchel_sql_text sql;
    satchel_sql_text_init(&sql);
    satchel_sql_text_add(&sql, "DELETE FROM ");
    satchel_sql_text_table(&sql, table);
    satchel_sql_text_add(&sql, " WHERE ");
    satchel_sql_text_key(&sql, table, 1);
    return satchel_sql_text_prepare(&sql, io->db, out, error);
}

static enum satchel_status prepare_update(struct satchel_row_io *io,
                                          const struct satchel_table *table,
                                          const struct satchel_field *fields, uint32_t field_count,
                                          sqlite3_stmt **out, struct satchel_error *error)
{
    struct satchel_sql_text sql;
    satchel_sql_text_init(&sql);
    satchel_sql_text_add(&sql, "UPDATE OR ABORT ");
    satchel_sql_text_table(&sql, table);
    satchel_sql_text_add(&sql, " SET ");
    for (uint32_t i = 0; i < field_count; i++) {
        if (i > 0)
            satchel_sql_text_add(&sql, ",");
        satchel_sql_text_name(&sql, table->columns[fields[i].column].name);
        satchel_sql_text_add(&sql, "=");
        satchel_sql_text_parameter(&sql, i + 1);
    }
    satchel_sql_text_add(&sql, " WHERE ");
    satchel_sql_text_key(&sql, table, field_count + 1);
    return satchel_sql_text_prepare(&sql, io->db, out, error);
}

static bool update_sets(const struct update *update, const struct satchel_field *fields,
                        uint32_t field_count)
{
    if (update->column_count != field_count)
        return false;
    for (uint32_t i = 0; i < field_count; i++)
        if (update->columns[i] != fields[i].column)
            return false;
    return true;
}

/* A slot for a new statement: a free one, else the one not used for longest. */
static uint32_t update_slot(struct table_io *table)
{
    if (table->update_count < UPDATES_PER_TABLE_MAX)
        return table->update_count++;
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < table->update_count; i++)
        if (table->updates[i].used_at < table->updates[oldest].used_at)
            oldest = i;
    update_free(&table->updates[oldest]);
    return oldest;
}

static enum satchel_status add_update(struct satchel_row_io *io, const struct satchel_table *table,
                                      const struct satchel_field *fields, uint32_t field_count,
                                      uint32_t *out_slot, struct satchel_error *error)
{
    struct table_io *cache = &io->tables[table->number - 1];
    if (!cache->updates)
        cache->updates = satchel_alloc_zero(NULL, UPDATES_PER_TABLE_MAX * sizeof *cache->updates);
    struct update made = {.column_count = field_count};
    made.columns = satchel_alloc(NULL, field_count * sizeof *made.columns);
    enum satchel_status status = SATCHEL_OK;
    if (!cache->updates || !made.columns)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a statement on table %s",
                                   table->name);
    if (status == SATCHEL_OK)
        status = prepare_update(io, table, fields, field_count, &made.statement, error);
    if (status != SATCHEL_OK) {
        update_free(&made);
        return status;
    }
    for (uint32_t i = 0; i < field_count; i++)
        made.columns[i] = fields[i].column;
    *out_slot = update_slot(cache);
    cache->updates[*out_slot] = made;
    return SATCHEL_OK;
}

static enum satchel_status find_update(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_field *fields, uint32_t field_count,
                                       sqlite3_stmt **out, struct satchel_error *error)
{
    struct table_io *cache = &io->tables[table->number - 1];
    uint32_t slot = cache->last_update;
    if (slot >= cache->update_count || !update_sets(&cache->updates[slot], fields, field_count)) {
        slot = 0;
        while (slot < cache->update_count &&
               !update_sets(&cache->updates[slot], fields, field_count))
            slot++;
    }
    if (slot == cache->update_count) {
        enum satchel_status status = add_update(io, table, fields, field_count, &slot, error);
        if (status != SATCHEL_OK)
            return status;
    }
    cache->updates[slot].used_at = ++io->clock;
    cache->last_update = slot;
    *out = cache->updates[slot].statement;
    return SATCHEL_OK;
}

/* ---- running them ---- */

/* Fills `error` for a statement that failed: what was done, the table, the row, SQLite's reason. */
static enum satchel_status failed(struct satchel_row_io *io, const char *action,
                                  const struct satchel_table *table,
                                  const struct satchel_value *key, struct satchel_error *error)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, 1 << 20, NULL);
    bool has_text = key && satchel_key_text(&text, key, table->key_count) == SATCHEL_OK;
    size_t size = text.size < KEY_SHOWN_BYTES_MAX ? text.size : KEY_SHOWN_BYTES_MAX;
    enum satchel_status status =
        satchel_sql_error(error, io->db, "cannot %s table %s, row %.*s%s", action, table->name,
                          has_text ? (int)size : 1, has_text ? (const char *)text.data : "?",
                          has_text && size < text.size ? "..." : "");
    satchel_buffer_deinit(&text);
    return status;
}

static int bind_key(sqlite3_stmt *statement, int first_index, const struct satchel_table *table,
                    const struct satchel_value *key)
{
    int code = SQLITE_OK;
    for (uint32_t i = 0; i < table->key_count && code == SQLITE_OK; i++)
        code = satchel_value_bind(statement, first_index + (int)i, &key[i]);
    return code;
}

/* Steps a statement that returns no rows. */
static int run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static void finish(sqlite3_stmt *statement)
{
    sqlite3_reset(statement); /* repeats the step's code, which was looked at */
    sqlite3_clear_bindings(statement);
}

static enum satchel_status copy_columns(struct satchel_row_io *io, sqlite3_stmt *statement,
                                        const struct satchel_table *table,
                                        struct satchel_arena *arena, struct satchel_value *values)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        struct satchel_value value = satchel_value_of_column(statement, (int)i);
        bool is_bytes = value.type == SATCHEL_TEXT || value.type == SATCHEL_BLOB;
        if (is_bytes && !value.bytes.data && sqlite3_errcode(io->db) == SQLITE_NOMEM)
            return SATCHEL_NOMEM;
        enum satchel_status status = satchel_value_copy(arena, &value, &values[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_row_read(struct satchel_row_io *io, const struct satchel_table *table,
                                     const struct satchel_value *key, struct satchel_arena *arena,
                                     bool *exists, struct satchel_value *values,
                                     struct satchel_error *error)
{
    struct table_io *cache = &io->tables[table->number - 1];
    enum satchel_status status = SATCHEL_OK;
    *exists = false;
    if (!cache->read && (status = prepare_read(io, table, &cache->read, error)) != SATCHEL_OK)
        return status;
    int code = bind_key(cache->read, 1, table, key);
    if (code == SQLITE_OK)
        code = sqlite3_step(cache->read);
    if (code == SQLITE_ROW) {
        status = copy_columns(io, cache->read, table, arena, values);
        *exists = status == SATCHEL_OK;
        if (status != SATCHEL_OK)
            satchel_error_set(error, status, "cannot read a row of table %s: %s", table->name,
                              satchel_status_text(status));
    } else if (code != SQLITE_DONE) {
        status = failed(io, "read", table, key, error);
    }
    finish(cache->read);
    return status;
}

enum satchel_status satchel_row_insert(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_value *values,
                                       struct satchel_error *error)
{
    struct table_io *cache = &io->tables[table->number - 1];
    enum satchel_status status = SATCHEL_OK;
    if (!cache->insert && (status = prepare_insert(io, table, &cache->insert, error)) != SATCHEL_OK)
        return status;
    int code = SQLITE_OK;
    for (uint32_t i = 0; i < table->column_count && code == SQLITE_OK; i++)
        code = satchel_value_bind(cache->insert, (int)i + 1, &values[i]);
    if (code == SQLITE_OK)
        code = run(cache->insert);
    if (code != SQLITE_OK) {
        struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
        bool has_key = table->key_count <= SATCHEL_KEY_COLUMNS_MAX;
        for (uint32_t i = 0; has_key && i < table->key_count; i++)
            key[i] = values[table->key_columns[i]];
        status = failed(io, "insert into", table, has_key ? key : NULL, error);
    }
    finish(cache->insert);
    return status;
}

enum satchel_status satchel_row_update(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_value *key,
                                       const struct satchel_field *fields, uint32_t field_count,
                                       struct satchel_error *error)
{
    if (field_count == 0)
        return SATCHEL_OK;
    sqlite3_stmt *statement;
    enum satchel_status status = find_update(io, table, fields, field_count, &statement, error);
    if (status != SATCHEL_OK)
        return status;
    int code = SQLITE_OK;
    for (uint32_t i = 0; i < field_count && code == SQLITE_OK; i++)
        code = satchel_value_bind(statement, (int)i + 1, &fields[i].value);
    if (code == SQLITE_OK)
        code = bind_key(statement, (int)field_count + 1, table, key);
    if (code == SQLITE_OK)
        code = run(statement);
    if (code != SQLITE_OK)
        status = failed(io, "update", table, key, error);
    finish(statement);
    return status;
}

enum satchel_status satchel_row_delete(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_value *key, struct satchel_error *error)
{
    struct table_io *cache = &io->tables[table->number - 1];
    enum satchel_status status = SATCHEL_OK;
    if (!cache->delete &&(status = prepare_delete(io, table, &cache->delete, error)) != SATCHEL_OK)
        return status;
    int code = bind_key(cache->delete, 1, table, key);
    if (code == SQLITE_OK)
        code = run(cache->delete);
    if (code != SQLITE_OK)
        status = failed(io, "delete from", table, key, error);
    finish(cache->delete);
    return status;
}
