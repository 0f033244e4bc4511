/* Owns asking SQLite what the tables of the build are, and writing it into the schema. Must not
 * know annotations beyond those of whole tables. */
#include "schema_build.h"

#include <satchel/sqlite.h>

#define SQL_TABLES                                                                             \
    "SELECT name, wr, strict, name COLLATE NOCASE IN (SELECT tbl_name FROM main.sqlite_schema" \
    " WHERE type = 'trigger') FROM pragma_table_list WHERE schema = 'main'"
#define SQL_COLUMNS                                                                                \
    "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY " \
    "cid"
#define SQL_REFERENCES                                                                        \
    "SELECT id, \"from\", \"table\", \"to\", count(*) OVER (PARTITION BY id) = 1 AS is_alone" \
    " FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq"
/* UNIQUE constraints over other columns than exactly the primary key's; cid -1 is a rowid key. */
#define SQL_UNIQUE                                                                               \
    "WITH key(cid) AS (SELECT cid FROM pragma_table_xinfo(?1) WHERE pk > 0)"                     \
    " SELECT (SELECT name FROM pragma_index_info(u.name)) FROM pragma_index_list(?1) AS u"       \
    " WHERE u.origin = 'u' AND ("                                                                \
    "  EXISTS (SELECT 1 FROM pragma_index_info(u.name) AS c WHERE c.cid <> -1 AND c.cid NOT IN " \
    "key)"                                                                                       \
    "  OR (SELECT count(*) FROM pragma_index_info(u.name)) <> (SELECT count(*) FROM key))"       \
    " ORDER BY u.seq DESC"

/* The statements of the introspection, prepared once. */
struct queries {
    sqlite3_stmt *columns, *references, *unique;
};

static const char *keep_text(struct satchel_build *build, sqlite3_stmt *row, int index)
{
    const char *text = (const char *)sqlite3_column_text(row, index);
    return (const char *)satchel_arena_copy(build->keep, satchel_span_text(text)).data;
}

static enum satchel_status prepare(struct satchel_build *build, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(build->db, sql, -1, out, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : satchel_build_sql_failed(build, build->db);
}

static enum satchel_status start(struct satchel_build *build, sqlite3_stmt *query, const char *name)
{
    sqlite3_reset(query);
    if (sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC) != SQLITE_OK)
        return satchel_build_sql_failed(build, build->db);
    return SATCHEL_OK;
}

static enum satchel_status finish(struct satchel_build *build, int code)
{
    return code == SQLITE_DONE ? SATCHEL_OK : satchel_build_sql_failed(build, build->db);
}

/* ---- the tables themselves ---- */

static enum satchel_status keep_table(struct satchel_build *build, sqlite3_stmt *query,
                                      const struct satchel_build_table *from)
{
    struct satchel_table *table = satchel_build_table_made(build, from);
    const struct satchel_table_annotation *annotation = from->annotation;
    table->name = keep_text(build, query, 0);
    table->without_rowid = sqlite3_column_int(query, 1) != 0;
    table->is_strict = sqlite3_column_int(query, 2) != 0;
    table->may_refuse = table->is_strict || sqlite3_column_int(query, 3) != 0;
    for (uint32_t i = 0; i < from->clause_count; i++)
        table->may_refuse = table->may_refuse || from->clauses[i].kind == SATCHEL_CLAUSE_CHECK;
    table->is_local = annotation->is_local;
    table->is_append = annotation->is_append;
    table->priority = annotation->priority;
    table->retain_days = annotation->retain_days;
    if (annotation->scope) {
        table->scope =
            (const char *)satchel_arena_copy(build->keep, satchel_span_text(annotation->scope))
                .data;
        if (!table->scope)
            return satchel_build_no_memory(build);
    }
    return table->name ? SATCHEL_OK : satchel_build_no_memory(build);
}

/* All in one go: to list one, SQLite looks at every table and view. */
static enum satchel_status read_tables(struct satchel_build *build)
{
    sqlite3_stmt *query = NULL;
    enum satchel_status status = prepare(build, SQL_TABLES, &query);
    int code = SQLITE_DONE;
    while (status == SATCHEL_OK && (code = sqlite3_step(query)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(query, 0);
        const struct satchel_build_table *from =
            name ? satchel_build_find_table(build, name) : NULL;
        if (from)
            status = keep_table(build, query, from);
        else if (!name)
            status = satchel_build_no_memory(build);
    }
    sqlite3_finalize(query);
    return status == SATCHEL_OK ? finish(build, code) : status;
}

/* ---- columns ---- */

struct column_row {
    struct satchel_column column;
    const char *default_expression; /* in the build's arena */
    bool is_hidden;
};

static enum satchel_status read_column(struct satchel_build *build, sqlite3_stmt *query,
                                       struct column_row *out)
{
    struct satchel_column *column = &out->column;
    column->name = keep_text(build, query, 0);
    column->declared_type = keep_text(build, query, 1);
    column->not_null = sqlite3_column_int(query, 2) != 0;
    column->key_position = (uint32_t)sqlite3_column_int(query, 4);
    out->is_hidden = sqlite3_column_int(query, 5) != 0;
    const char *expression = (const char *)sqlite3_column_text(query, 3);
    if (expression)
        out->default_expression =
            (const char *)satchel_arena_copy(&build->arena, satchel_span_text(expression)).data;
    bool complete =
        column->name && column->declared_type && (!expression || out->default_expression);
    return complete ? SATCHEL_OK : satchel_build_no_memory(build);
}

static enum satchel_status read_columns(struct satchel_build *build, sqlite3_stmt *query,
                                        const struct satchel_build_table *from,
                                        struct column_row **out, uint32_t *count)
{
    struct column_row *rows = NULL;
    uint32_t capacity = 0;
    *count = 0;
    enum satchel_status status = start(build, query, from->name);
    int code = SQLITE_DONE;
    while (status == SATCHEL_OK && (code = sqlite3_step(query)) == SQLITE_ROW) {
        rows = satchel_arena_grow(&build->arena, rows, *count, &capacity, sizeof *rows);
        if (!rows)
            return satchel_build_no_memory(build);
        rows[*count].column.number = *count;
        status = read_column(build, query, &rows[(*count)++]);
    }
    sqlite3_reset(query);
    *out = rows;
    return status == SATCHEL_OK ? finish(build, code) : status;
}

static enum satchel_status refuse_columns(struct satchel_build *build,
                                          const struct satchel_build_table *from,
                                          const struct column_row *rows, uint32_t count)
{
    uint32_t key_count = 0;
    if (count > SATCHEL_COLUMNS_MAX)
        return satchel_refuse(build->error, from->place,
                              "the table %s has more than %d columns; split it", from->name,
                              SATCHEL_COLUMNS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct satchel_column *column = &rows[i].column;
        key_count += column->key_position != 0;
        if (rows[i].is_hidden)
            return satchel_refuse(
                build->error, satchel_build_place(from, column->name),
                "the generated column %s cannot sync; compute it in a view, or in a "
                "@table local",
                column->name);
    }
    if (key_count == 0)
        return satchel_refuse(
            build->error, from->place,
            "the table %s has no primary key, so devices could not name its rows; add "
            "id TEXT PRIMARY KEY, filled by satchel_uuid()",
            from->name);
    if (key_count > SATCHEL_KEY_COLUMNS_MAX)
        return satchel_refuse(build->error, from->place,
                              "the primary key of %s has more than %d columns; use fewer",
                              from->name, SATCHEL_KEY_COLUMNS_MAX);
    return SATCHEL_OK;
}

/* ADD COLUMN passes on the empty tables of the build and must pass on the full ones of devices too.
 */
static enum satchel_status check_added(struct satchel_build *build,
                                       const struct satchel_build_column *from,
                                       const struct satchel_column *column,
                                       const struct satchel_column_rules *rules)
{
    if (!from || !from->is_added)
        return SATCHEL_OK;
    if (rules->default_varies)
        return satchel_refuse(build->error, from->place,
                              "SQLite adds no column whose default is not constant to a table with "
                              "rows; give %s a constant default, or none",
                              column->name);
    if (column->not_null && rules->default_value.type == SATCHEL_NULL)
        return satchel_refuse(
            build->error, from->place,
            "SQLite adds no NOT NULL column without a default to a table with rows; "
            "give %s a DEFAULT",
            column->name);
    return SATCHEL_OK;
}

static enum satchel_status keep_columns(struct satchel_build *build,
                                        const struct satchel_build_table *from,
                                        const struct column_row *rows, uint32_t count,
                                        struct satchel_table *table)
{
    struct satchel_column_rules *rules =
        SATCHEL_ARENA_ARRAY(build->keep, struct satchel_column_rules, count);
    table->columns = SATCHEL_ARENA_ARRAY(build->keep, struct satchel_column, count);
    if (!table->columns || !rules)
        return satchel_build_no_memory(build);
    table->column_count = table->rules.column_count = count;
    table->rules.columns = rules;
    table->rules.name = table->name;
    for (uint32_t i = 0; i < count; i++) {
        const struct satchel_build_column *column =
            satchel_build_find_column(from, rows[i].column.name);
        table->columns[i] = rows[i].column;
        rules[i].name = table->columns[i].name;
        rules[i].in_key = rows[i].column.key_position != 0;
        rules[i].unit = i;
        table->key_count += rules[i].in_key;
        if (from->is_virtual || rows[i].is_hidden)
            continue;
        enum satchel_status status = satchel_build_default(
            build, rows[i].column.declared_type, table->is_strict, rows[i].default_expression,
            satchel_build_place(from, rows[i].column.name), &rules[i].default_value,
            &rules[i].default_varies);
        if (status == SATCHEL_OK)
            status = check_added(build, column, &rows[i].column, &rules[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    table->key_columns = SATCHEL_ARENA_ARRAY(build->keep, uint32_t, table->key_count);
    if (!table->key_columns)
        return satchel_build_no_memory(build);
    for (uint32_t i = 0; i < count; i++)
        if (rules[i].in_key)
            table->key_columns[table->columns[i].key_position - 1] = i;
    return SATCHEL_OK;
}

/* ---- references and UNIQUE ---- */

static enum satchel_status keep_reference(struct satchel_build *build, sqlite3_stmt *query,
                                          struct satchel_column *column,
                                          struct satchel_build_reference *reference)
{
    bool has_target = sqlite3_column_type(query, 3) != SQLITE_NULL;
    column->references_table = keep_text(build, query, 2);
    if (has_target)
        reference->target_column = keep_text(build, query, 3);
    reference->is_alone = sqlite3_column_int(query, 4) != 0;
    return column->references_table && (!has_target || reference->target_column)
               ? SATCHEL_OK
               : satchel_build_no_memory(build);
}

static enum satchel_status read_references(struct satchel_build *build, sqlite3_stmt *query,
                                           struct satchel_build_table *from,
                                           struct satchel_table *table)
{
    from->references =
        SATCHEL_ARENA_ARRAY(&build->arena, struct satchel_build_reference, table->column_count);
    if (!from->references)
        return satchel_build_no_memory(build);
    enum satchel_status status = start(build, query, from->name);
    int code = SQLITE_DONE;
    int last_id = -1;
    while (status == SATCHEL_OK && (code = sqlite3_step(query)) == SQLITE_ROW) {
        int id = sqlite3_column_int(query, 0);
        const char *name = (const char *)sqlite3_column_text(query, 1);
        const struct satchel_column *found = name ? satchel_table_find_column(table, name) : NULL;
        from->references_count += id != last_id;
        last_id = id;
        if (!found || found->references_table)
            continue; /* of several, the first REFERENCES of a column is the one that counts */
        status = keep_reference(build, query, &table->columns[found->number],
                                &from->references[found->number]);
    }
    sqlite3_reset(query);
    return status == SATCHEL_OK ? finish(build, code) : status;
}

/* Where the UNIQUE stands that has `column` first: in its definition, else among the constraints.
 */
static const struct satchel_build_clause *unique_clause(const struct satchel_build_table *from,
                                                        const char *column)
{
    const struct satchel_build_clause *found = NULL;
    for (uint32_t i = 0; i < from->clause_count; i++) {
        const struct satchel_build_clause *clause = &from->clauses[i];
        if (clause->kind != SATCHEL_CLAUSE_UNIQUE)
            continue;
        if (clause->column && column && satchel_names_equal(clause->column, column))
            return clause;
        if (!clause->column && !found)
            found = clause;
    }
    return found;
}

static enum satchel_status refuse_unique(struct satchel_build *build, sqlite3_stmt *query,
                                         const struct satchel_build_table *from)
{
    enum satchel_status status = start(build, query, from->name);
    if (status != SATCHEL_OK)
        return status;
    int code = sqlite3_step(query);
    if (code == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(query, 0);
        const struct satchel_build_clause *clause = unique_clause(from, column);
        status =
            satchel_refuse(build->error, clause ? clause->place : from->place,
                           "UNIQUE cannot hold on %s(%s), because two devices may write the same "
                           "value apart; declare the column @key, or derive the primary key from "
                           "it with satchel_uuid5()",
                           from->name, column ? column : "");
    } else {
        status = finish(build, code);
    }
    sqlite3_reset(query);
    return status;
}

/* ---- all ---- */

static enum satchel_status read_one(struct satchel_build *build, const struct queries *queries,
                                    uint32_t index)
{
    struct satchel_build_table *from = &build->tables[index];
    struct satchel_table *table = &build->schema->tables[index];
    struct column_row *rows = NULL;
    uint32_t count = 0;
    table->number = index + 1;
    if (!table->name)
        return satchel_refuse(build->error, from->place,
                              "SQLite does not know the table %s; write its name plainly",
                              from->name);
    enum satchel_status status = read_columns(build, queries->columns, from, &rows, &count);
    if (status == SATCHEL_OK && !table->is_local)
        status = refuse_columns(build, from, rows, count);
    if (status == SATCHEL_OK)
        status = keep_columns(build, from, rows, count, table);
    if (status == SATCHEL_OK)
        status = read_references(build, queries->references, from, table);
    if (status == SATCHEL_OK && !table->is_local)
        status = refuse_unique(build, queries->unique, from);
    return status;
}

enum satchel_status satchel_build_tables(struct satchel_build *build)
{
    struct queries queries = {0};
    build->schema->tables =
        SATCHEL_ARENA_ARRAY(build->keep, struct satchel_table, build->table_count);
    if (!build->schema->tables)
        return satchel_build_no_memory(build);
    build->schema->table_count = build->table_count;
    enum satchel_status status = read_tables(build);
    if (status == SATCHEL_OK)
        status = prepare(build, SQL_COLUMNS, &queries.columns);
    if (status == SATCHEL_OK)
        status = prepare(build, SQL_REFERENCES, &queries.references);
    if (status == SATCHEL_OK)
        status = prepare(build, SQL_UNIQUE, &queries.unique);
    for (uint32_t i = 0; status == SATCHEL_OK && i < build->table_count; i++)
        status = read_one(build, &queries, i);
    sqlite3_finalize(queries.columns);
    sqlite3_finalize(queries.references);
    sqlite3_finalize(queries.unique);
    return status;
}
