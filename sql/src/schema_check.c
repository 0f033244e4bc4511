/* Owns judging the synced tables of a build as a whole: names that annotations refer to, keys,
 * masks, and CHECKs. */
#include "schema_build.h"

#include <satchel/sqlite.h>

/* ---- names ---- */

static enum satchel_status refuse_no_column(struct satchel_build *build, struct satchel_place place,
                                            const char *where, const char *table,
                                            const char *column)
{
    return satchel_refuse(build->error, place,
                          "%s names the column %s, which %s does not have; correct the name", where,
                          column, table);
}

static enum satchel_status check_via(struct satchel_build *build,
                                     const struct satchel_build_table *from,
                                     const struct satchel_scope *scope)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    const char *name = scope->names[scope->name_count - 1];
    const struct satchel_column *column = satchel_table_find_column(table, name);
    struct satchel_place place = from->annotation_place;
    if (scope->name_count == 2) {
        if (!column->ref || !satchel_names_equal(column->ref, scope->names[0]))
            return satchel_refuse(
                build->error, place,
                "scope=via(%s, %s), but %s does not point at rows of the table that "
                "%s names; annotate %s with @ref(%s)",
                scope->names[0], name, name, scope->names[0], name, scope->names[0]);
        return SATCHEL_OK;
    }
    const struct satchel_build_table *parent =
        column->references_table ? satchel_build_find_table(build, column->references_table) : NULL;
    if (!parent)
        return satchel_refuse(
            build->error, place,
            "scope=via(%s), but %s points at no table; add REFERENCES to it, or use "
            "via(type_column, id_column)",
            name, name);
    if (parent->annotation->is_local)
        return satchel_refuse(
            build->error, place,
            "scope=via(%s), but %s is @table local; use a column that points at a "
            "synced table",
            name, parent->name);
    return SATCHEL_OK;
}

static enum satchel_status check_scopes(struct satchel_build *build,
                                        const struct satchel_build_table *from)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    for (uint32_t s = 0; s < from->scope_count; s++) {
        const struct satchel_scope *scope = &from->scopes[s];
        for (uint32_t i = 0; i < scope->name_count; i++)
            if (!satchel_table_find_column(table, scope->names[i]))
                return refuse_no_column(build, from->annotation_place, "the scope", from->name,
                                        scope->names[i]);
        enum satchel_status status =
            scope->kind == SATCHEL_SCOPE_VIA ? check_via(build, from, scope) : SATCHEL_OK;
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static enum satchel_status check_column_names(struct satchel_build *build,
                                              const struct satchel_build_table *from,
                                              const struct satchel_column *column)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    struct satchel_place place = satchel_build_place(from, column->name);
    if (column->ref) {
        const struct satchel_column *type = satchel_table_find_column(table, column->ref);
        if (!type)
            return refuse_no_column(build, place, "@ref", from->name, column->ref);
        if (type == column)
            return satchel_refuse(
                build->error, place,
                "@ref(%s) on %s itself; name the column that holds the table's name", column->ref,
                column->name);
    }
    if (column->references_table && !satchel_build_find_table(build, column->references_table)) {
        const struct satchel_build_column *written = satchel_build_find_column(from, column->name);
        return satchel_refuse(build->error, written ? written->place : place,
                              "%s.%s REFERENCES %s, and there is no such table; correct the name",
                              from->name, column->name, column->references_table);
    }
    return SATCHEL_OK;
}

/* ---- the key ---- */

static enum satchel_status check_key(struct satchel_build *build,
                                     const struct satchel_build_table *from)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    const struct satchel_column *key = &table->columns[table->key_columns[0]];
    if (table->key_count != 1 || sqlite3_stricmp(key->declared_type, "INTEGER") != 0)
        return SATCHEL_OK;
    const struct satchel_build_column *written = satchel_build_find_column(from, key->name);
    if (written && written->annotation && strcmp(written->annotation->rule, "@id(assigned)") == 0)
        return SATCHEL_OK;
    return satchel_refuse(
        build->error, satchel_build_place(from, key->name),
        "%s.%s is a lone INTEGER PRIMARY KEY, for which two devices would invent the "
        "same number; use id TEXT PRIMARY KEY with satchel_uuid(), or annotate it "
        "@id(assigned) and fill it by satchel_id()",
        from->name, key->name);
}

/* A UNIQUE that compares by other rules than the bytes, over the key's own columns. */
#define SQL_KEY_COLLATION                                                                    \
    "SELECT c.name, c.coll FROM pragma_index_list(?1) AS i, pragma_index_xinfo(i.name) AS c" \
    " WHERE i.\"unique\" AND c.key AND c.coll <> 'BINARY' COLLATE NOCASE"

static enum satchel_status refuse_collation(struct satchel_build *build,
                                            const struct satchel_build_table *from,
                                            const char *column, const char *collation)
{
    return satchel_refuse(build->error, satchel_build_place(from, column),
                          "%s.%s is in the primary key and compares by %s, so that two rows that "
                          "devices tell apart could not stand in one table; take the COLLATE out, "
                          "and write it in the queries that need it",
                          from->name, column, collation);
}

/* Rows are named by the bytes of their keys, on every device and server. */
static enum satchel_status check_key_collation(struct satchel_build *build,
                                               const struct satchel_build_table *from)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    sqlite3_stmt *query = NULL;
    for (uint32_t i = 0; i < table->key_count; i++) {
        const char *name = table->columns[table->key_columns[i]].name, *collation = NULL;
        if (sqlite3_table_column_metadata(build->db, "main", table->name, name, NULL, &collation,
                                          NULL, NULL, NULL) != SQLITE_OK)
            return satchel_build_sql_failed(build, build->db);
        if (collation && sqlite3_stricmp(collation, "BINARY") != 0)
            return refuse_collation(build, from, name, collation);
    }
    enum satchel_status status = SATCHEL_OK;
    int code = sqlite3_prepare_v2(build->db, SQL_KEY_COLLATION, -1, &query, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(query, 1, table->name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(query);
    if (code == SQLITE_ROW)
        status = refuse_collation(build, from, (const char *)sqlite3_column_text(query, 0),
                                  (const char *)sqlite3_column_text(query, 1));
    else if (code != SQLITE_DONE)
        status = satchel_build_sql_failed(build, build->db);
    sqlite3_finalize(query);
    return status;
}

/* ---- masks and rights ---- */

static bool holds_roles(const char *all, const char *some)
{
    while (some) {
        const char *comma = strchr(some, ',');
        size_t size = comma ? (size_t)(comma - some) : strlen(some);
        if (!satchel_roles_hold(all, satchel_span_of(some, size)))
            return false;
        some = comma ? comma + 1 : NULL;
    }
    return true;
}

/* The same roles, in any order. */
static bool roles_equal(const char *a, const char *b)
{
    return (!a) == (!b) && holds_roles(a, b) && holds_roles(b, a);
}

static enum satchel_status check_together(struct satchel_build *build,
                                          const struct satchel_build_table *from,
                                          const struct satchel_column *column,
                                          const struct satchel_column *with, const char *what)
{
    const char *differing = !roles_equal(column->mask, with->mask)     ? "@mask"
                            : !roles_equal(column->write, with->write) ? "@write"
                                                                       : NULL;
    if (!differing)
        return SATCHEL_OK;
    return satchel_refuse(
        build->error, satchel_build_place(from, column->name),
        "%s.%s and %s are %s and travel together, but differ in %s; give both the same "
        "roles",
        from->name, column->name, with->name, what, differing);
}

/* A scope, a reference or a state that freezes is read by rules on every device that has the row.
 */
static const char *needed_by_rules(const struct satchel_build_table *from,
                                   const struct satchel_table *table,
                                   const struct satchel_column *column)
{
    if (column->key_position || column->rule == SATCHEL_RULE_KEY ||
        column->rule == SATCHEL_RULE_KEY_WEAK)
        return "a key";
    for (uint32_t s = 0; s < from->scope_count; s++)
        for (uint32_t i = 0; i < from->scopes[s].name_count; i++)
            if (satchel_names_equal(from->scopes[s].names[i], column->name))
                return "in the table's scope";
    if (column->references_table || column->ref)
        return "a reference";
    if (column->not_null && table->rules.columns[column->number].default_value.type == SATCHEL_NULL)
        return "NOT NULL without a constant default";
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column *other = &table->columns[i];
        if (other->ref && satchel_names_equal(other->ref, column->name))
            return "a reference";
        if (column->rule == SATCHEL_RULE_STATE && other->frozen &&
            strcmp(other->frozen, "parent") != 0)
            return "a state that freezes";
    }
    return NULL;
}

static enum satchel_status check_rights(struct satchel_build *build,
                                        const struct satchel_build_table *from,
                                        const struct satchel_column *column)
{
    struct satchel_table *table = satchel_build_table_made(build, from);
    table->has_masks |= column->mask != NULL;
    build->schema->has_masks |= column->mask != NULL;
    const char *needed = column->mask ? needed_by_rules(from, table, column) : NULL;
    if (needed)
        return satchel_refuse(
            build->error, satchel_build_place(from, column->name),
            "@mask on %s.%s, which is %s and needed by everybody who gets the row; "
            "take the @mask out",
            from->name, column->name, needed);
    const struct satchel_column *first = &table->columns[table->rules.columns[column->number].unit];
    return check_together(build, from, column, first,
                          column->rule == SATCHEL_RULE_FOLLOWS ? "follower and leader"
                                                               : "one group");
}

/* ---- all ---- */

enum satchel_status satchel_build_check_names(struct satchel_build *build)
{
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        const struct satchel_table *table = satchel_build_table_made(build, from);
        if (table->is_local)
            continue;
        enum satchel_status status = check_key(build, from);
        if (status == SATCHEL_OK)
            status = check_key_collation(build, from);
        if (status == SATCHEL_OK)
            status = check_scopes(build, from);
        for (uint32_t i = 0; status == SATCHEL_OK && i < table->column_count; i++)
            status = check_column_names(build, from, &table->columns[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static enum satchel_status check_column(struct satchel_build *build,
                                        const struct satchel_build_table *from,
                                        const struct satchel_column *column)
{
    enum satchel_status status = satchel_build_check_value(build, from, column);
    return status == SATCHEL_OK ? check_rights(build, from, column) : status;
}

enum satchel_status satchel_build_check(struct satchel_build *build)
{
    enum satchel_status status = satchel_build_check_names(build);
    if (status == SATCHEL_OK)
        status = satchel_build_arguments(build);
    if (status == SATCHEL_OK)
        status = satchel_build_references(build);
    if (status == SATCHEL_OK)
        status = satchel_build_scopes(build);
    for (uint32_t t = 0; status == SATCHEL_OK && t < build->table_count; t++) {
        const struct satchel_table *table = &build->schema->tables[t];
        for (uint32_t i = 0; status == SATCHEL_OK && !table->is_local && i < table->column_count;
             i++)
            status = check_column(build, &build->tables[t], &table->columns[i]);
    }
    if (status == SATCHEL_OK)
        status = satchel_build_frozen(build);
    if (status == SATCHEL_OK)
        status = satchel_build_check_checks(build);
    return status == SATCHEL_OK ? satchel_build_check_triggers(build) : status;
}
