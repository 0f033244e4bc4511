/* Owns how rows find each other in the SQLite store: rows with one key, rows that stand for others,
 * rows that point at one, rows deleted below one. */
#include "store_internal.h"

/* ---- aliases ---- */

enum satchel_status store_any_alias(struct satchel_store *base, bool *any,
                                    struct satchel_error *error)
{
    return satchel_alias_any(store_of(base)->aliases, any, error);
}

enum satchel_status store_find_alias(struct satchel_store *base, struct satchel_span name,
                                     struct satchel_arena *arena, struct satchel_span *survivor,
                                     struct satchel_error *error)
{
    return satchel_alias_survivor(store_of(base)->aliases, name, arena, survivor, error);
}

enum satchel_status store_write_aliases(struct satchel_store *base,
                                        const struct satchel_store_alias *aliases, size_t count,
                                        struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        status =
            aliases[i].survivor.size > 0
                ? satchel_alias_put(store->aliases, aliases[i].name, aliases[i].survivor, error)
                : satchel_alias_drop(store->aliases, aliases[i].name, error);
        if (status == SATCHEL_OK)
            status = scope_note_alias(store->scopes, aliases[i].name);
    }
    return status;
}

/* ---- names out of a query ---- */

struct names {
    struct satchel_arena *arena;
    struct satchel_span *items;
    size_t count, capacity;
};

/* NULL: no memory. */
static void *one_more(struct satchel_arena *arena, void *items, size_t count, size_t *capacity,
                      size_t item_bytes)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 16;
    void *grown = satchel_arena_array(arena, *capacity, item_bytes);
    if (grown && count > 0)
        memcpy(grown, items, count * item_bytes);
    return grown;
}

/* The first column of every row of a query that is bound. */
static enum satchel_status read_names(struct satchel_query *query, struct satchel_arena *arena,
                                      struct satchel_span **out, size_t *count,
                                      struct satchel_error *error)
{
    struct names names = {.arena = arena};
    bool has_row = false;
    enum satchel_status status;
    while ((status = satchel_query_step(query, &has_row, error)) == SATCHEL_OK && has_row) {
        names.items =
            one_more(arena, names.items, names.count, &names.capacity, sizeof *names.items);
        if (!names.items) {
            status = SATCHEL_NOMEM;
            break;
        }
        names.items[names.count] = satchel_column_copy(query->statement, 0, arena);
        if (!names.items[names.count++].data) {
            status = SATCHEL_NOMEM;
            break;
        }
    }
    satchel_query_end(query);
    *out = names.items;
    *count = names.count;
    return status;
}

/* ---- keys ---- */

enum satchel_status store_keys_of_row(struct satchel_store *base, struct satchel_span name,
                                      struct satchel_arena *arena, struct satchel_store_key **keys,
                                      size_t *count, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    size_t capacity = 0;
    bool has_row = false;
    enum satchel_status status;
    *keys = NULL;
    *count = 0;
    satchel_query_begin(&query, store->db, store->statements[STORE_KEYS_OF_ROW]);
    satchel_query_blob(&query, name);
    while ((status = satchel_query_step(&query, &has_row, error)) == SATCHEL_OK && has_row) {
        *keys = one_more(arena, *keys, *count, &capacity, sizeof **keys);
        struct satchel_span match = satchel_column_copy(query.statement, 2, arena);
        if (!*keys || !match.data) {
            status = SATCHEL_NOMEM;
            break;
        }
        (*keys)[(*count)++] = (struct satchel_store_key){
            (uint32_t)sqlite3_column_int64(query.statement, 0),
            (uint32_t)sqlite3_column_int64(query.statement, 1), match, name};
    }
    satchel_query_end(&query);
    return status;
}

enum satchel_status store_rows_of_key(struct satchel_store *base, uint32_t table, uint32_t column,
                                      struct satchel_span match, size_t limit,
                                      struct satchel_arena *arena, struct satchel_span **names,
                                      size_t *count, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_ROWS_OF_KEY]);
    satchel_query_integer(&query, table);
    satchel_query_integer(&query, column);
    satchel_query_blob(&query, match);
    satchel_query_integer(&query, (int64_t)limit);
    return read_names(&query, arena, names, count, error);
}

enum satchel_status store_write_keys(struct satchel_store *base,
                                     const struct satchel_store_key *keys, size_t count,
                                     struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        struct satchel_query query;
        satchel_query_begin(&query, store->db, store->statements[STORE_ADD_KEY]);
        satchel_query_integer(&query, keys[i].table);
        satchel_query_integer(&query, keys[i].column);
        satchel_query_blob(&query, keys[i].match);
        satchel_query_blob(&query, keys[i].name);
        status = satchel_query_run(&query, error);
    }
    return status;
}

/* ---- references ---- */

/* An identifier in SQL's quotes. */
static enum satchel_status add_name(struct satchel_buffer *sql, const char *name)
{
    enum satchel_status status = satchel_buffer_append(sql, "\"", 1);
    for (; status == SATCHEL_OK && *name; name++)
        status = satchel_buffer_append(sql, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    return status == SATCHEL_OK ? satchel_buffer_append(sql, "\"", 1) : status;
}

static enum satchel_status add_select(struct satchel_buffer *sql, const struct satchel_table *table,
                                      uint32_t column)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < table->key_count; i++) {
        status = satchel_buffer_format(sql, i == 0 ? "SELECT " : ", ");
        if (status == SATCHEL_OK)
            status = add_name(sql, table->columns[table->key_columns[i]].name);
    }
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(sql, " FROM main.");
    if (status == SATCHEL_OK)
        status = add_name(sql, table->name);
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(sql, " WHERE ");
    if (status == SATCHEL_OK)
        status = add_name(sql, table->columns[column].name);
    return status == SATCHEL_OK ? satchel_buffer_format(sql, "=?1") : status;
}

static enum satchel_status read_key(sqlite3_stmt *row, const struct satchel_table *table,
                                    struct satchel_arena *arena, const struct satchel_value **out)
{
    struct satchel_value *key = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, table->key_count);
    if (!key)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < table->key_count; i++) {
        struct satchel_value value = satchel_value_of_column(row, (int)i);
        if (satchel_value_copy(arena, &value, &key[i]) != SATCHEL_OK)
            return SATCHEL_NOMEM;
    }
    *out = key;
    return SATCHEL_OK;
}

static enum satchel_status read_keys(struct satchel_query *query, const struct satchel_table *table,
                                     struct satchel_arena *arena,
                                     const struct satchel_value ***keys, size_t *count,
                                     struct satchel_error *error)
{
    size_t capacity = 0;
    bool has_row = false;
    enum satchel_status status;
    while ((status = satchel_query_step(query, &has_row, error)) == SATCHEL_OK && has_row) {
        *keys = one_more(arena, *keys, *count, &capacity, sizeof **keys);
        status = *keys ? read_key(query->statement, table, arena, &(*keys)[*count]) : SATCHEL_NOMEM;
        if (status != SATCHEL_OK)
            break;
        ++*count;
    }
    return status;
}

enum satchel_status store_find_references(struct satchel_store *base,
                                          const struct satchel_table *table, uint32_t column,
                                          const struct satchel_value *value,
                                          struct satchel_arena *arena,
                                          const struct satchel_value ***keys, size_t *count,
                                          struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_buffer sql;
    struct satchel_query query;
    *keys = NULL;
    *count = 0;
    satchel_buffer_init(&sql, 1 << 20, NULL);
    enum satchel_status status = add_select(&sql, table, column);
    const char *text = satchel_buffer_text(&sql);
    if (status == SATCHEL_OK && !text)
        status = SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, store->db, text, error);
    satchel_buffer_deinit(&sql);
    if (status != SATCHEL_OK)
        return status;
    if (satchel_value_bind(query.statement, 1, value) != SQLITE_OK)
        status = satchel_db_error(error, store->db, "binding a reference");
    if (status == SATCHEL_OK)
        status = read_keys(&query, table, arena, keys, count, error);
    satchel_query_close(&query);
    return status;
}

/* The name of the row that a conflict's note is of. */
static enum satchel_status name_of_note(struct satchel_span bytes, struct satchel_arena *arena,
                                        struct satchel_span *out)
{
    struct satchel_notes notes;
    struct satchel_buffer name;
    struct satchel_span copy = satchel_arena_copy(arena, bytes);
    if (!copy.data)
        return SATCHEL_NOMEM;
    enum satchel_status status = satchel_notes_read(copy, arena, &notes);
    if (status != SATCHEL_OK || notes.conflict_count != 1)
        return status == SATCHEL_OK ? SATCHEL_CORRUPT : status;
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    status = satchel_row_name(&name, notes.conflicts[0].table, notes.conflicts[0].key,
                              notes.conflicts[0].key_count);
    if (status == SATCHEL_OK) {
        *out = satchel_arena_copy(arena, satchel_buffer_span(&name));
        status = out->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&name);
    return status;
}

enum satchel_status store_find_lost(struct satchel_store *base, const struct satchel_table *table,
                                    uint32_t column, const struct satchel_value *value,
                                    struct satchel_arena *arena, struct satchel_span **names,
                                    size_t *count, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_FIND_LOST]);
    satchel_query_text(&query, satchel_span_text(table->name));
    satchel_query_text(&query, satchel_span_text(table->columns[column].field));
    if (satchel_value_bind(query.statement, 3, value) != SQLITE_OK) {
        satchel_query_end(&query);
        return satchel_db_error(error, store->db, "binding a reference");
    }
    enum satchel_status status = read_names(&query, arena, names, count, error);
    for (size_t i = 0; status == SATCHEL_OK && i < *count; i++)
        status = name_of_note((*names)[i], arena, &(*names)[i]);
    return status;
}

/* ---- indexes of references ---- */

static bool is_scope(const struct satchel_table *table, uint32_t index)
{
    for (uint32_t i = 0; table->is_scoped && i < table->scope_count; i++)
        if (table->scopes[i].kind == SATCHEL_SCOPE_VIA && table->scopes[i].reference == index)
            return true;
    return false;
}

/* Whether rows are ever looked up by it: they may have to follow a merge, a freeze, or who gets the
 * row that they point at. */
static bool is_looked_up(const struct satchel_schema *schema, uint32_t index)
{
    const struct satchel_reference *reference = &schema->references[index];
    const struct satchel_table *table = satchel_schema_table(schema, reference->table);
    if (table->is_local)
        return false;
    if (is_scope(table, index) || (table->rules.is_frozen_by_parent && table->parent == index))
        return true;
    if (reference->target > 0)
        return satchel_schema_table(schema, reference->target)->rules.has_keys;
    for (uint32_t i = 0; i < schema->table_count; i++)
        if (schema->tables[i].rules.has_keys)
            return true;
    return false;
}

#define SQL_INDEXED                                                          \
    "SELECT 1 FROM pragma_index_list(?1) l JOIN pragma_index_info(l.name) i" \
    " WHERE i.seqno=0 AND i.cid=?2 AND l.partial=0"

static enum satchel_status is_indexed(struct satchel_store_sqlite *store,
                                      const struct satchel_table *table, uint32_t column,
                                      bool *indexed, struct satchel_error *error)
{
    struct satchel_query query;
    enum satchel_status status = satchel_query_open(&query, store->db, SQL_INDEXED, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, satchel_span_text(table->name));
    satchel_query_integer(&query, column);
    status = satchel_query_step(&query, indexed, error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status add_index(struct satchel_store_sqlite *store,
                                     const struct satchel_table *table, uint32_t column,
                                     struct satchel_error *error)
{
    struct satchel_buffer sql;
    satchel_buffer_init(&sql, 1 << 20, NULL);
    enum satchel_status status = satchel_buffer_format(
        &sql, "CREATE INDEX IF NOT EXISTS satchel_reference_%u_%u ON ", table->number, column);
    if (status == SATCHEL_OK)
        status = add_name(&sql, table->name);
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(&sql, "(");
    if (status == SATCHEL_OK)
        status = add_name(&sql, table->columns[column].name);
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(&sql, ")");
    const char *text = satchel_buffer_text(&sql);
    if (status == SATCHEL_OK)
        status = text ? satchel_db_exec(store->db, text, error) : SATCHEL_NOMEM;
    satchel_buffer_deinit(&sql);
    return status;
}

enum satchel_status store_index_references(struct satchel_store_sqlite *store,
                                           struct satchel_error *error)
{
    const struct satchel_schema *schema = store->schema;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < schema->reference_count; i++) {
        const struct satchel_reference *reference = &schema->references[i];
        const struct satchel_table *table = satchel_schema_table(schema, reference->table);
        bool indexed = false;
        if (!is_looked_up(schema, i))
            continue;
        status = is_indexed(store, table, reference->column, &indexed, error);
        if (status == SATCHEL_OK && !indexed)
            status = add_index(store, table, reference->column, error);
    }
    return status;
}

/* ---- rows deleted below another, rows of a table ---- */

enum satchel_status store_find_gone(struct satchel_store *base, struct satchel_span parent,
                                    struct satchel_arena *arena, struct satchel_span **names,
                                    size_t *count, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_FIND_GONE]);
    satchel_query_blob(&query, parent);
    return read_names(&query, arena, names, count, error);
}

enum satchel_status store_write_gone(struct satchel_store *base,
                                     const struct satchel_store_gone *gone, size_t count,
                                     struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        struct satchel_query query;
        satchel_query_begin(&query, store->db, store->statements[STORE_ADD_GONE]);
        satchel_query_blob(&query, gone[i].parent);
        satchel_query_blob(&query, gone[i].name);
        status = satchel_query_run(&query, error);
    }
    return status;
}

enum satchel_status store_list_rows(struct satchel_store *base, uint32_t table,
                                    struct satchel_span after, size_t limit,
                                    struct satchel_arena *arena, struct satchel_span **names,
                                    size_t *count, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_buffer first, end;
    struct satchel_query query;
    struct satchel_pack pack;
    satchel_buffer_init(&first, 64, NULL);
    satchel_buffer_init(&end, 64, NULL);
    /* a name begins with the table's number; behind all of them: the number and the highest byte */
    satchel_pack_init(&pack, &first);
    satchel_pack_unsigned(&pack, table);
    enum satchel_status status = pack.status;
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&end, satchel_buffer_span(&first).data,
                                       satchel_buffer_span(&first).size);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&end, "\xff", 1);
    if (status == SATCHEL_OK) {
        satchel_query_begin(&query, store->db, store->statements[STORE_LIST_ROWS]);
        satchel_query_blob(&query, after.size > 0 ? after : satchel_buffer_span(&first));
        satchel_query_blob(&query, satchel_buffer_span(&end));
        satchel_query_integer(&query, (int64_t)limit);
        status = read_names(&query, arena, names, count, error);
    }
    satchel_buffer_deinit(&end);
    satchel_buffer_deinit(&first);
    return status;
}
