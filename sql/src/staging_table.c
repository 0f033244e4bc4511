/* Owns the making and the exchange of staging tables. Must not know what they are filled with.
 *
 * An object is a table or an index of it, as sqlite_schema has it; its twin is the staging table's.
 * Twins have the same text but for the names, so that their b-trees are built alike. */
#include <satchel/staging_table.h>

#include "definitions.h"

#include <satchel/sql_error.h>
#include <satchel/sqlite.h>
#include <stdarg.h>

#define AUTO_INDEX "sqlite_autoindex_"
#define SQL_OBJECTS                                                                         \
    "SELECT name, sql, rootpage FROM main.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE" \
    " AND type IN ('table', 'index') ORDER BY rowid"
#define SQL_TRIGGERS                                                                           \
    "SELECT 1 FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE" \
    " AND name NOT LIKE 'satchel!_%' ESCAPE '!'"
#define SQL_STAGED                                                         \
    "SELECT substr(name, 13) FROM main.sqlite_schema WHERE type = 'table'" \
    " AND substr(name, 1, 12) = '" SATCHEL_STAGING_PREFIX "'"
#define SQL_SET_ROOT \
    "UPDATE main.sqlite_schema SET rootpage = ?2 WHERE name = ?1 AND type IN ('table', 'index')"
_Static_assert(sizeof SATCHEL_STAGING_PREFIX == 12 + 1, "SQL_STAGED says how long it is");

enum { ARENA_BYTES_MAX = 16 << 20 };

struct object {
    struct object *next;
    const char *name, *sql; /* sql NULL: an index that SQLite made for a constraint */
    int64_t root;
};
/* The objects of one table or staging table, in the order in which they were made. */
struct objects {
    struct object *first;
    uint32_t count;
};
struct staged {
    struct staged *next;
    const char *table;
    struct objects objects, twins;
};

/* ---- reading sqlite_schema ---- */

static enum satchel_status no_memory(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a staging table");
}

static const char *copy_text(struct satchel_arena *arena, sqlite3_stmt *row, int column)
{
    const void *text = sqlite3_column_text(row, column);
    size_t size = (size_t)sqlite3_column_bytes(row, column);
    char *copy = text ? satchel_arena_alloc(arena, size + 1) : NULL;
    if (copy)
        memcpy(copy, text, size + 1);
    return copy;
}

static enum satchel_status open_select(sqlite3 *db, const char *sql, const char *table,
                                       sqlite3_stmt **out, struct satchel_error *error)
{
    if (sqlite3_prepare_v2(db, sql, -1, out, NULL) != SQLITE_OK ||
        (table && sqlite3_bind_text(*out, 1, table, -1, SQLITE_STATIC) != SQLITE_OK)) {
        sqlite3_finalize(*out);
        *out = NULL;
        return satchel_sql_error(error, db, "cannot read sqlite_schema");
    }
    return SATCHEL_OK;
}

static enum satchel_status end_select(sqlite3 *db, sqlite3_stmt *select, int code,
                                      enum satchel_status status, struct satchel_error *error)
{
    if (status == SATCHEL_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_sql_error(error, db, "cannot read sqlite_schema");
    sqlite3_finalize(select);
    return status;
}

static enum satchel_status read_objects(sqlite3 *db, const char *table, struct satchel_arena *arena,
                                        struct objects *out, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    struct object **end = &out->first;
    int code = SQLITE_DONE;
    *out = (struct objects){NULL, 0};
    enum satchel_status status = open_select(db, SQL_OBJECTS, table, &select, error);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct object *object = SATCHEL_ARENA_ARRAY(arena, struct object, 1);
        if (!object)
            status = no_memory(error);
        if (status != SATCHEL_OK)
            break;
        *object = (struct object){.name = copy_text(arena, select, 0),
                                  .sql = copy_text(arena, select, 1),
                                  .root = sqlite3_column_int64(select, 2)};
        if (!object->name || (!object->sql && sqlite3_column_type(select, 1) != SQLITE_NULL))
            status = no_memory(error);
        *end = object;
        end = &object->next;
        out->count++;
    }
    return end_select(db, select, code, status, error);
}

static enum satchel_status has_row(sqlite3 *db, const char *sql, const char *table, bool *out,
                                   struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_DONE;
    enum satchel_status status = open_select(db, sql, table, &select, error);
    if (status == SATCHEL_OK)
        code = sqlite3_step(select);
    *out = code == SQLITE_ROW;
    return end_select(db, select, code, status, error);
}

/* ---- twins ---- */

static const char *print(struct satchel_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    char *copy = text ? satchel_arena_alloc(arena, strlen(text) + 1) : NULL;
    if (copy)
        memcpy(copy, text, strlen(text) + 1);
    sqlite3_free(text);
    return copy;
}

static const char *twin_name(const struct object *object, struct satchel_arena *arena)
{
    size_t size = strlen(AUTO_INDEX);
    return !object->sql && strncmp(object->name, AUTO_INDEX, size) == 0
               ? print(arena, AUTO_INDEX SATCHEL_STAGING_PREFIX "%s", object->name + size)
               : print(arena, SATCHEL_STAGING_PREFIX "%s", object->name);
}

/* As sqlite_schema would have it. `*out` NULL: the text makes no table or index that is known. */
static enum satchel_status twin_sql(const struct object *object, const char *table,
                                    struct satchel_arena *arena, const char **out,
                                    struct satchel_error *error)
{
    struct satchel_create create;
    *out = NULL;
    enum satchel_status status =
        satchel_create_read(satchel_span_text(object->sql), 1, arena, &create);
    if (status != SATCHEL_OK)
        return no_memory(error);
    bool is_table = create.object == SATCHEL_OBJECT_TABLE && create.name;
    bool is_index = create.object == SATCHEL_OBJECT_INDEX && create.name && create.target;
    if (is_table)
        *out = print(arena, "CREATE TABLE \"" SATCHEL_STAGING_PREFIX "%w\"%s", table,
                     (const char *)create.behind_name);
    else if (is_index)
        *out = print(arena,
                     "CREATE%s INDEX \"" SATCHEL_STAGING_PREFIX "%w\" ON \"" SATCHEL_STAGING_PREFIX
                     "%w\"%s",
                     create.is_unique ? " UNIQUE" : "", object->name, table,
                     (const char *)create.behind_target);
    return *out || !(is_table || is_index) ? SATCHEL_OK : no_memory(error);
}

static bool numbers_rows(const struct objects *objects)
{
    return objects->first && objects->first->sql &&
           sqlite3_strlike("%autoincrement%", objects->first->sql, 0) == 0;
}

/* ---- making ---- */

static enum satchel_status run(sqlite3 *db, const char *sql, struct satchel_error *error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, db, "cannot run \"%.120s\"", sql);
}

static enum satchel_status make_objects(sqlite3 *db, const char *table,
                                        const struct objects *objects, struct satchel_arena *arena,
                                        bool *is_made, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    *is_made = objects->count > 0;
    for (const struct object *object = objects->first; object && *is_made && status == SATCHEL_OK;
         object = object->next) {
        const char *sql = NULL;
        if (!object->sql)
            continue;
        status = twin_sql(object, table, arena, &sql, error);
        *is_made = sql != NULL;
        if (status != SATCHEL_OK || !sql)
            continue;
        status = run(db, sql, error);
        /* A CHECK that names its own table, for one. */
        if (status == SATCHEL_SQL && sqlite3_errcode(db) == SQLITE_ERROR) {
            *is_made = false;
            status = SATCHEL_OK;
        }
    }
    return status;
}

enum satchel_status satchel_staging_table_make(struct sqlite3 *db, const char *table, bool *is_made,
                                               struct satchel_error *error)
{
    struct satchel_arena arena;
    struct objects objects;
    bool has_triggers = false;
    enum satchel_status status = satchel_staging_table_find(db, table, is_made, error);
    if (status != SATCHEL_OK || *is_made)
        return status;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    status = has_row(db, SQL_TRIGGERS, table, &has_triggers, error);
    if (status == SATCHEL_OK)
        status = read_objects(db, table, &arena, &objects, error);
    if (status == SATCHEL_OK && !has_triggers && !numbers_rows(&objects)) {
        status = run(db, "SAVEPOINT satchel_staging", error);
        if (status == SATCHEL_OK)
            status = make_objects(db, table, &objects, &arena, is_made, error);
        if (status == SATCHEL_OK && !*is_made)
            status = run(db, "ROLLBACK TO satchel_staging", error);
        if (status == SATCHEL_OK)
            status = run(db, "RELEASE satchel_staging", error);
    }
    satchel_arena_deinit(&arena);
    return status;
}

enum satchel_status satchel_staging_table_find(struct sqlite3 *db, const char *table,
                                               bool *is_there, struct satchel_error *error)
{
    char *name = sqlite3_mprintf(SATCHEL_STAGING_PREFIX "%s", table);
    enum satchel_status status =
        name ? has_row(db, SQL_OBJECTS, name, is_there, error) : no_memory(error);
    sqlite3_free(name);
    return status;
}

/* ---- all of them ---- */

static enum satchel_status read_staged(sqlite3 *db, struct satchel_arena *arena,
                                       struct staged **out, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_DONE;
    *out = NULL;
    enum satchel_status status = open_select(db, SQL_STAGED, NULL, &select, error);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct staged *staged = SATCHEL_ARENA_ARRAY(arena, struct staged, 1);
        const char *table = copy_text(arena, select, 0);
        if (!staged || !table) {
            status = no_memory(error);
            break;
        }
        *staged = (struct staged){.next = *out, .table = table};
        *out = staged;
    }
    return end_select(db, select, code, status, error);
}

static enum satchel_status drop(sqlite3 *db, const struct staged *staged,
                                struct satchel_error *error)
{
    char *sql = sqlite3_mprintf("DROP TABLE main.\"" SATCHEL_STAGING_PREFIX "%w\"", staged->table);
    enum satchel_status status = sql ? run(db, sql, error) : no_memory(error);
    sqlite3_free(sql);
    return status;
}

enum satchel_status satchel_staging_tables_drop(struct sqlite3 *db, struct satchel_error *error)
{
    struct satchel_arena arena;
    struct staged *staged;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = read_staged(db, &arena, &staged, error);
    for (; staged && status == SATCHEL_OK; staged = staged->next)
        status = drop(db, staged, error);
    satchel_arena_deinit(&arena);
    return status;
}

/* ---- the exchange ---- */

static const struct object *find_object(const struct objects *objects, const char *name)
{
    const struct object *object = objects->first;
    while (object && sqlite3_stricmp(object->name, name) != 0)
        object = object->next;
    return object;
}

/* Puts the twins in the order of the objects. False: they are not alike any more. */
static enum satchel_status match(struct staged *staged, struct satchel_arena *arena, bool *is_alike,
                                 struct satchel_error *error)
{
    struct object *sorted = NULL, **end = &sorted;
    enum satchel_status status = SATCHEL_OK;
    *is_alike = staged->objects.count == staged->twins.count && !numbers_rows(&staged->objects);
    for (const struct object *object = staged->objects.first;
         object && *is_alike && status == SATCHEL_OK; object = object->next) {
        const char *name = twin_name(object, arena), *sql = NULL;
        struct object *copy = SATCHEL_ARENA_ARRAY(arena, struct object, 1);
        if (!name || !copy)
            return no_memory(error);
        if (object->sql)
            status = twin_sql(object, staged->table, arena, &sql, error);
        const struct object *twin = find_object(&staged->twins, name);
        *is_alike = status == SATCHEL_OK && twin &&
                    (twin->sql ? sql && strcmp(sql, twin->sql) == 0 : !object->sql);
        if (!*is_alike)
            break;
        *copy = *twin;
        copy->next = NULL;
        *end = copy;
        end = &copy->next;
    }
    staged->twins.first = sorted;
    return status;
}

static enum satchel_status prepare(sqlite3 *db, struct staged *staged, struct satchel_arena *arena,
                                   bool *is_alike, struct satchel_error *error)
{
    bool has_triggers = false;
    char *twin = sqlite3_mprintf(SATCHEL_STAGING_PREFIX "%s", staged->table);
    enum satchel_status status = twin ? SATCHEL_OK : no_memory(error);
    *is_alike = false;
    if (status == SATCHEL_OK)
        status = has_row(db, SQL_TRIGGERS, staged->table, &has_triggers, error);
    if (status == SATCHEL_OK)
        status = read_objects(db, staged->table, arena, &staged->objects, error);
    if (status == SATCHEL_OK)
        status = read_objects(db, twin, arena, &staged->twins, error);
    if (status == SATCHEL_OK && !has_triggers)
        status = match(staged, arena, is_alike, error);
    sqlite3_free(twin);
    return status;
}

static enum satchel_status set_root(sqlite3 *db, sqlite3_stmt *update, const char *name,
                                    int64_t root, struct satchel_error *error)
{
    sqlite3_bind_text(update, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(update, 2, root);
    int code = sqlite3_step(update);
    sqlite3_reset(update);
    return code == SQLITE_DONE ? SATCHEL_OK
                               : satchel_sql_error(error, db, "cannot exchange tables");
}

static enum satchel_status exchange_roots(sqlite3 *db, const struct staged *staged,
                                          struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, SQL_SET_ROOT, -1, &update, NULL) != SQLITE_OK)
        return satchel_sql_error(error, db, "cannot exchange tables");
    for (; staged; staged = staged->next) {
        const struct object *object = staged->objects.first, *twin = staged->twins.first;
        for (; object && status == SATCHEL_OK; object = object->next, twin = twin->next) {
            status = set_root(db, update, object->name, twin->root, error);
            if (status == SATCHEL_OK)
                status = set_root(db, update, twin->name, object->root, error);
        }
    }
    sqlite3_finalize(update);
    return status;
}

/* Every connection, this one first, reads the schema anew. */
static enum satchel_status renew_schema(sqlite3 *db, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    char sql[64];
    int version = 0;
    if (sqlite3_prepare_v2(db, "PRAGMA main.schema_version", -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW) {
        sqlite3_finalize(select);
        return satchel_sql_error(error, db, "cannot exchange tables");
    }
    version = sqlite3_column_int(select, 0);
    sqlite3_finalize(select);
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA main.schema_version=%d", version + 1);
    return run(db, sql, error);
}

static enum satchel_status exchange_all(sqlite3 *db, const struct staged *staged,
                                        struct satchel_error *error)
{
    int was_defensive = 0, was_writable = 0;
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, -1, &was_defensive);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, -1, &was_writable);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
    enum satchel_status status = exchange_roots(db, staged, error);
    if (status == SATCHEL_OK)
        status = renew_schema(db, error);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, was_writable, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, was_defensive, NULL);
    return status;
}

enum satchel_status satchel_staging_tables_exchange(struct sqlite3 *db, bool *is_done,
                                                    struct satchel_error *error)
{
    struct satchel_arena arena;
    struct staged *first;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = read_staged(db, &arena, &first, error);
    *is_done = true;
    for (struct staged *staged = first; staged && *is_done && status == SATCHEL_OK;
         staged = staged->next)
        status = prepare(db, staged, &arena, is_done, error);
    if (status == SATCHEL_OK && *is_done && first)
        status = exchange_all(db, first, error);
    satchel_arena_deinit(&arena);
    return status;
}
