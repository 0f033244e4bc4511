/* Owns how rows hang together: what a row's columns say of its scope, which rows hang on it. */
#include "scope_internal.h"

#include <satchel/entry.h>

enum satchel_status scope_node_of(struct scope_keeper *keeper, struct satchel_span name,
                                  struct scope_node **out)
{
    struct scope_node *node = satchel_map_get(&keeper->nodes, name);
    enum satchel_status status = SATCHEL_OK;
    if (!node) {
        node = SATCHEL_ARENA_ARRAY(&keeper->arena, struct scope_node, 1);
        if (!node)
            return SATCHEL_NOMEM;
        node->name = satchel_arena_copy(&keeper->arena, name);
        status = node->name.data ? satchel_map_put(&keeper->nodes, name, node) : SATCHEL_NOMEM;
    }
    *out = node;
    return status;
}

enum satchel_status scope_note(struct scope_keeper *keeper, struct satchel_span name,
                               bool has_come_or_gone)
{
    struct scope_node *node;
    enum satchel_status status = scope_node_of(keeper, name, &node);
    if (status != SATCHEL_OK)
        return status;
    node->has_come_or_gone = node->has_come_or_gone || has_come_or_gone;
    if (!node->is_noted) {
        node->is_noted = true;
        *keeper->next_noted = node;
        keeper->next_noted = &node->next_noted;
    }
    return SATCHEL_OK;
}

/* ---- a row ---- */

/* ", "c"" behind `sql`, which it frees; NULL without memory. */
static char *add_column(char *sql, const struct satchel_table *table, uint32_t column)
{
    return sql ? sqlite3_mprintf("%z, \"%w\"", sql, table->columns[column].name) : NULL;
}

static enum satchel_status prepare(struct scope_keeper *keeper, char *sql, sqlite3_stmt **out,
                                   struct satchel_error *error)
{
    if (!sql)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for the statements of scopes");
    enum satchel_status status = satchel_db_prepare(keeper->db, sql, out, error);
    sqlite3_free(sql);
    return status;
}

static char *key_columns(const struct satchel_table *table)
{
    char *sql = sqlite3_mprintf("SELECT 0");
    for (uint32_t i = 0; i < table->key_count; i++)
        sql = add_column(sql, table, table->key_columns[i]);
    return sql;
}

enum satchel_status scope_node_query_rows(struct scope_keeper *keeper,
                                          const struct satchel_table *table,
                                          struct satchel_query *query, struct satchel_error *error)
{
    char *sql = key_columns(table);
    if (sql)
        sql = sqlite3_mprintf("%z FROM main.\"%w\"", sql, table->name);
    if (!sql)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for the statements of scopes");
    enum satchel_status status = satchel_query_open(query, keeper->db, sql, error);
    sqlite3_free(sql);
    return status;
}

/* The row's key, then the columns of its scopes in their order. */
static enum satchel_status prepare_read(struct scope_keeper *keeper,
                                        const struct satchel_table *table, sqlite3_stmt **out,
                                        struct satchel_error *error)
{
    char *sql = key_columns(table);
    for (uint32_t s = 0; table->is_scoped && s < table->scope_count; s++)
        for (uint32_t i = 0; i < table->scopes[s].column_count; i++)
            sql = add_column(sql, table, table->scopes[s].columns[i]);
    if (sql)
        sql = sqlite3_mprintf("%z FROM main.\"%w\" WHERE 1", sql, table->name);
    for (uint32_t i = 0; sql && i < table->key_count; i++)
        sql = sqlite3_mprintf("%z AND \"%w\" IS ?%u", sql,
                              table->columns[table->key_columns[i]].name, i + 1);
    return prepare(keeper, sql, out, error);
}

/* The table of the rows that a reference points at; NULL: none. */
static const struct satchel_table *target_of(const struct satchel_schema *schema,
                                             const struct satchel_reference *reference,
                                             const struct satchel_value *type)
{
    char name[SATCHEL_NAME_BYTES_MAX + 1];
    const struct satchel_table *table;
    if (reference->target > 0) {
        table = satchel_schema_table(schema, reference->target);
    } else {
        if (type->type != SATCHEL_TEXT || type->bytes.size >= sizeof name ||
            (type->bytes.size > 0 && memchr(type->bytes.data, 0, type->bytes.size)))
            return NULL;
        if (type->bytes.size > 0)
            memcpy(name, type->bytes.data, type->bytes.size);
        name[type->bytes.size] = '\0';
        table = satchel_schema_find(schema, name);
    }
    return table && !table->is_local && table->key_count == 1 ? table : NULL;
}

static enum satchel_status add_parent(struct scope_keeper *keeper, struct scope_node *node,
                                      struct satchel_span name)
{
    struct scope_node *parent;
    enum satchel_status status = scope_node_of(keeper, name, &parent);
    if (status == SATCHEL_OK)
        node->parents[node->parent_count++] = parent;
    return status;
}

/* A VIA. */
static enum satchel_status follow(struct scope_keeper *keeper, struct scope_node *node,
                                  const struct satchel_scope_clause *clause,
                                  const struct satchel_value *values)
{
    const struct satchel_value *type = &values[clause->columns[0]];
    const struct satchel_value *value = &values[clause->columns[clause->column_count - 1]];
    const struct satchel_table *target =
        target_of(keeper->schema, &keeper->schema->references[clause->reference], type);
    if (!target || value->type == SATCHEL_NULL)
        return SATCHEL_OK;
    satchel_buffer_clear(&keeper->scratch);
    enum satchel_status status = satchel_row_name(&keeper->scratch, target->number, value, 1);
    return status == SATCHEL_OK ? add_parent(keeper, node, satchel_buffer_span(&keeper->scratch))
                                : status;
}

/* A ROW. */
static enum satchel_status take_values(struct scope_keeper *keeper, struct scope_values *own,
                                       const struct satchel_scope_clause *clause,
                                       const struct satchel_value *values)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < clause->column_count; i++) {
        const struct satchel_value *value = &values[clause->columns[i]];
        if (value->type == SATCHEL_NULL)
            continue;
        satchel_buffer_clear(&keeper->scratch);
        status = scope_value_pack(&keeper->scratch, value);
        if (status != SATCHEL_OK)
            break;
        struct satchel_span packed =
            satchel_arena_copy(&keeper->arena, satchel_buffer_span(&keeper->scratch));
        status = packed.data ? scope_values_add(own, packed) : SATCHEL_NOMEM;
    }
    return status;
}

/* What the row is seen by; of `values`, by column, those of its table's scopes are looked at. */
static enum satchel_status take_scopes(struct scope_keeper *keeper, struct scope_node *node,
                                       const struct satchel_value *values)
{
    const struct satchel_table *table = node->table;
    struct scope_values own = {.arena = &keeper->arena};
    enum satchel_status status = SATCHEL_OK;
    node->exists = true;
    node->is_everyones = !table->is_scoped && !table->is_server;
    for (uint32_t s = 0; status == SATCHEL_OK && table->is_scoped && s < table->scope_count; s++) {
        const struct satchel_scope_clause *clause = &table->scopes[s];
        if (clause->kind == SATCHEL_SCOPE_VIA)
            status = follow(keeper, node, clause, values);
        else if (clause->kind == SATCHEL_SCOPE_ROW)
            status = take_values(keeper, &own, clause, values);
    }
    node->own = own.items;
    node->own_count = (uint32_t)own.count;
    return status;
}

/* The row as prepare_read's statement gives it. */
static enum satchel_status take_row(struct scope_keeper *keeper, struct scope_node *node,
                                    sqlite3_stmt *row)
{
    const struct satchel_table *table = node->table;
    struct satchel_value values[SATCHEL_COLUMNS_MAX];
    int at = 1;
    /* SQLite may find a row by a value of another type: a row's name says what its key is. */
    for (uint32_t i = 0; i < table->key_count; i++) {
        struct satchel_value part = satchel_value_of_column(row, at++);
        if (!satchel_value_equal(&part, &node->key[i]))
            return SATCHEL_OK;
    }
    for (uint32_t s = 0; table->is_scoped && s < table->scope_count; s++)
        for (uint32_t i = 0; i < table->scopes[s].column_count; i++)
            values[table->scopes[s].columns[i]] = satchel_value_of_column(row, at++);
    return take_scopes(keeper, node, values);
}

static enum satchel_status read_row(struct scope_keeper *keeper, struct scope_node *node,
                                    struct satchel_error *error)
{
    sqlite3_stmt **read = &keeper->read[node->table->number - 1];
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        *read ? SATCHEL_OK : prepare_read(keeper, node->table, read, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_begin(&query, keeper->db, *read);
    for (uint32_t i = 0; i < node->table->key_count; i++)
        satchel_query_value(&query, &node->key[i]);
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row)
        status = take_row(keeper, node, query.statement);
    satchel_query_end(&query);
    return status;
}

static enum satchel_status ask_for_aliases(struct scope_keeper *keeper, struct satchel_error *error)
{
    if (keeper->knows_aliases)
        return SATCHEL_OK;
    keeper->knows_aliases = true;
    return satchel_alias_any(keeper->aliases, &keeper->has_aliases, error);
}

/* Who hangs on a row that was merged into another hangs on that one: by its key, which stays what
 * it is, a row may point at one that is not there any more. */
static enum satchel_status follow_alias(struct scope_keeper *keeper, struct scope_node *node,
                                        struct satchel_error *error)
{
    struct satchel_span survivor = {NULL, 0};
    enum satchel_status status = ask_for_aliases(keeper, error);
    if (status == SATCHEL_OK && keeper->has_aliases)
        status =
            satchel_alias_survivor(keeper->aliases, node->name, &keeper->arena, &survivor, error);
    return status == SATCHEL_OK && survivor.size > 0 ? add_parent(keeper, node, survivor) : status;
}

/* ---- rows that are gone ---- */

static struct scope_node *new_past(struct scope_keeper *keeper, struct scope_node *node,
                                   const struct satchel_table *table)
{
    struct scope_node *past = SATCHEL_ARENA_ARRAY(&keeper->arena, struct scope_node, 1);
    if (past) {
        past->name = node->name;
        past->table = table;
        past->exists = past->is_past = true;
        node->past = past;
    }
    return past;
}

enum satchel_status scope_node_note_gone(struct scope_keeper *keeper,
                                         const struct satchel_store_row *row)
{
    struct scope_node *node, *past = NULL;
    enum satchel_status status = scope_node_of(keeper, row->name, &node);
    if (status == SATCHEL_OK)
        past = new_past(keeper, node, row->table);
    return past ? take_scopes(keeper, past, row->values) : SATCHEL_NOMEM;
}

enum satchel_status scope_node_past(struct scope_keeper *keeper, struct scope_node **node,
                                    struct satchel_error *error)
{
    enum satchel_status status = scope_node_read(keeper, *node, error);
    if (status == SATCHEL_OK && !(*node)->exists && (*node)->parent_count > 0) {
        *node = (*node)->parents[0];
        status = scope_node_read(keeper, *node, error);
    }
    if (status != SATCHEL_OK || (*node)->exists || (*node)->is_past)
        return status;
    *node = (*node)->past ? (*node)->past : new_past(keeper, *node, (*node)->table);
    return *node ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* The set that it was kept with, as values of its own. */
static enum satchel_status take_kept(struct scope_keeper *keeper, struct scope_node *past,
                                     struct satchel_span kept)
{
    struct scope_values own = {.arena = &keeper->arena};
    struct satchel_span packed, set = satchel_arena_copy(&keeper->arena, kept);
    enum satchel_status status = set.data ? SATCHEL_OK : SATCHEL_NOMEM;
    past->is_everyones = scope_set_is_everyone(set);
    struct scope_set_reader reader = scope_set_read(set);
    while (status == SATCHEL_OK && scope_set_next(&reader, &packed))
        status = scope_values_add(&own, packed);
    past->own = own.items;
    past->own_count = (uint32_t)own.count;
    past->parent_count = 0;
    return status;
}

/* A row that has a set was there before the commit; one that came with it is what its last values
 * say; one that the store does not know is nothing, whatever was noted on the way. */
static enum satchel_status read_past(struct scope_keeper *keeper, struct scope_node *past,
                                     struct satchel_error *error)
{
    struct satchel_query query;
    bool is_known = false;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_KEPT]);
    satchel_query_blob(&query, past->name);
    enum satchel_status status = satchel_query_step(&query, &is_known, error);
    struct satchel_span kept = satchel_span_of(NULL, 0);
    if (status == SATCHEL_OK && is_known)
        kept = satchel_column_span(query.statement, 0);
    if (kept.size > 0)
        status = take_kept(keeper, past, kept);
    else if (!is_known)
        past->own_count = past->parent_count = 0;
    satchel_query_end(&query);
    if (kept.size == 0)
        past->is_everyones =
            is_known && past->table && !past->table->is_scoped && !past->table->is_server;
    for (uint32_t i = 0; status == SATCHEL_OK && i < past->parent_count; i++)
        status = scope_node_past(keeper, &past->parents[i], error);
    return status;
}

/* ---- any row ---- */

enum satchel_status scope_node_read(struct scope_keeper *keeper, struct scope_node *node,
                                    struct satchel_error *error)
{
    uint32_t table = 0, key_count = 0;
    if (node->is_read)
        return SATCHEL_OK;
    node->is_read = true;
    if (node->is_past)
        return read_past(keeper, node, error);
    enum satchel_status status =
        satchel_row_name_read(node->name, &keeper->arena, &table, &node->key, &key_count);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "a row whose scope is to be known has no name");
    node->table = satchel_schema_table(keeper->schema, table);
    if (!node->table || node->table->is_local || node->table->key_count != key_count) {
        node->table = NULL;
        return SATCHEL_OK;
    }
    status = read_row(keeper, node, error);
    return status == SATCHEL_OK && !node->exists ? follow_alias(keeper, node, error) : status;
}

/* ---- rows that hang on it, or were merged into it ---- */

static enum satchel_status prepare_find(struct scope_keeper *keeper, struct scope_link *link,
                                        struct satchel_error *error)
{
    const struct satchel_table *table = link->table;
    const struct satchel_reference *reference = link->reference;
    char *sql = key_columns(table);
    if (sql)
        sql = sqlite3_mprintf("%z FROM main.\"%w\" WHERE \"%w\"=?1", sql, table->name,
                              table->columns[reference->column].name);
    if (sql && reference->target == 0)
        sql = sqlite3_mprintf("%z AND \"%w\"=?2 COLLATE NOCASE", sql,
                              table->columns[reference->type_column].name);
    return prepare(keeper, sql, &link->find, error);
}

static enum satchel_status note_found(struct scope_keeper *keeper,
                                      const struct satchel_table *table, sqlite3_stmt *row)
{
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = satchel_value_of_column(row, 1 + (int)i);
    satchel_buffer_clear(&keeper->scratch);
    enum satchel_status status =
        satchel_row_name(&keeper->scratch, table->number, key, table->key_count);
    return status == SATCHEL_OK ? scope_note(keeper, satchel_buffer_span(&keeper->scratch), false)
                                : status;
}

/* The rows that point by `link` at the row of `target` with that key. */
static enum satchel_status note_pointing(struct scope_keeper *keeper, struct scope_link *link,
                                         const struct satchel_table *target,
                                         const struct satchel_value *key,
                                         struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = link->find ? SATCHEL_OK : prepare_find(keeper, link, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_begin(&query, keeper->db, link->find);
    satchel_query_value(&query, key);
    if (link->reference->target == 0)
        satchel_query_text(&query, satchel_span_text(target->name));
    do {
        status = satchel_query_step(&query, &has_row, error);
        if (status == SATCHEL_OK && has_row)
            status = note_found(keeper, link->table, query.statement);
    } while (status == SATCHEL_OK && has_row);
    satchel_query_end(&query);
    return status;
}

static enum satchel_status note_children_of(struct scope_keeper *keeper,
                                            const struct satchel_table *table,
                                            const struct satchel_value *key,
                                            struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < keeper->link_count; i++) {
        uint32_t target = keeper->links[i].reference->target;
        if (target == 0 || target == table->number)
            status = note_pointing(keeper, &keeper->links[i], table, key, error);
    }
    return status;
}

enum satchel_status scope_node_note_children(struct scope_keeper *keeper,
                                             const struct scope_node *node,
                                             struct satchel_error *error)
{
    struct satchel_span *aliases = NULL;
    uint32_t alias_count = 0;
    bool is_pointed_at = node->table && node->table->key_count == 1;
    enum satchel_status status = SATCHEL_OK;
    if (is_pointed_at)
        status = note_children_of(keeper, node->table, node->key, error);
    if (status == SATCHEL_OK && node->table && node->table->rules.has_keys)
        status = ask_for_aliases(keeper, error);
    if (status == SATCHEL_OK && keeper->has_aliases && node->table && node->table->rules.has_keys)
        status = satchel_alias_list(keeper->aliases, node->name, &keeper->arena, &aliases,
                                    &alias_count, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < alias_count; i++) {
        const struct satchel_value *key;
        uint32_t table, key_count;
        status = scope_note(keeper, aliases[i], false);
        if (status == SATCHEL_OK)
            status = satchel_row_name_read(aliases[i], &keeper->arena, &table, &key, &key_count);
        if (status == SATCHEL_OK && is_pointed_at)
            status = note_children_of(keeper, node->table, key, error);
    }
    return status;
}
