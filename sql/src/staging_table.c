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
#define OF_THE_APPLICATION                                                  \
    "sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE" \
    " AND name NOT LIKE 'satchel!_%' ESCAPE '!'"
#define SQL_TRIGGERS \
    "SELECT 1 FROM main." OF_THE_APPLICATION " UNION ALL SELECT 1 FROM temp." OF_THE_APPLICATION
#define SQL_STAGED                                                         \
    "SELECT substr(name, 13) FROM main.sqlite_schema WHERE type = 'table'" \
    " AND substr(name, 1, 12) = '" SATCHEL_STAGING_PREFIX "'"
/* Not one that refuses rows, nor one whose entries are more than columns and what names the row,
 * nor one whose order another connection may not know. */
#define SQL_MAY_WAIT                                                                    \
    "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE name = ?2 COLLATE NOCASE"        \
    " AND NOT \"unique\" AND NOT partial AND NOT EXISTS (SELECT 1 FROM"                 \
    " pragma_index_xinfo(?2, 'main') WHERE cid < -1 OR upper(coll) NOT IN ('BINARY',"   \
    " 'NOCASE', 'RTRIM')) AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(?1, 'main')" \
    " WHERE name = 'rowid' COLLATE NOCASE)"
#define SQL_SETTLE                                                                 \
    "UPDATE main.sqlite_schema SET sql = substr(sql, 1, length(sql) - length(?1))" \
    " WHERE type = 'index' AND substr(name, 1, 12) = '" SATCHEL_STAGING_PREFIX "'" \
    " AND substr(sql, -length(?1)) = ?1"
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
struct pair {
    struct pair *next;
    const char *table;
    struct objects objects, twins;
    bool may_be; /* the table may have a staging table */
};

/* ---- reading sqlite_schema ---- */

static enum satchel_status no_memory(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a staging table");
}

static const char *copy_text(struct satchel_arena *arena, sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text ? (const char *)satchel_arena_copy(arena, satchel_span_text(text)).data : NULL;
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
    const char *copy =
        text ? (const char *)satchel_arena_copy(arena, satchel_span_text(text)).data : NULL;
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

/* What stands behind the name of a table. An application's connection minds foreign keys: what is
 * staged must not be children of its rows. */
static enum satchel_status add_body(struct satchel_buffer *out, struct satchel_span body,
                                    struct satchel_arena *arena)
{
    struct satchel_scanner scanner = satchel_scanner_of(body, 1);
    struct satchel_token token = satchel_scanner_next_code(&scanner);
    const uint8_t *from = body.data;
    enum satchel_status status = SATCHEL_OK;
    while (token.kind != SATCHEL_TOKEN_END && status == SATCHEL_OK) {
        bool is_reference = satchel_token_is_word(&token, "REFERENCES");
        token = satchel_scanner_next_code(&scanner);
        const char *parent = is_reference ? satchel_token_name(&token, arena) : NULL;
        const char *name = parent ? print(arena, "\"" SATCHEL_STAGING_PREFIX "%w\"", parent) : NULL;
        if (!name)
            continue;
        status = satchel_buffer_append(out, from, (size_t)(token.text.data - from));
        if (status == SATCHEL_OK)
            status = satchel_buffer_append(out, name, strlen(name));
        from = token.text.data + token.text.size;
    }
    return status == SATCHEL_OK
               ? satchel_buffer_append(out, from, (size_t)(body.data + body.size - from))
               : status;
}

static const char *table_sql(const char *table, struct satchel_span body,
                             struct satchel_arena *arena)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, ARENA_BYTES_MAX, NULL);
    const char *head = print(arena, "CREATE TABLE \"" SATCHEL_STAGING_PREFIX "%w\"", table);
    enum satchel_status status =
        head ? satchel_buffer_append(&text, head, strlen(head)) : SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = add_body(&text, body, arena);
    const struct satchel_span copy = status == SATCHEL_OK
                                         ? satchel_arena_copy(arena, satchel_buffer_span(&text))
                                         : satchel_span_of(NULL, 0);
    satchel_buffer_deinit(&text);
    return (const char *)copy.data;
}

/* As sqlite_schema would have it. `*out` NULL: the text makes no table or index that is known.
 * `end`: of an index, if it waits. */
static enum satchel_status twin_sql(const struct object *object, const char *table, const char *end,
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
        *out = table_sql(table, satchel_span_text((const char *)create.behind_name), arena);
    else if (is_index)
        *out = print(arena,
                     "CREATE%s INDEX \"" SATCHEL_STAGING_PREFIX "%w\" ON \"" SATCHEL_STAGING_PREFIX
                     "%w\"%s%s",
                     create.is_unique ? " UNIQUE" : "", object->name, table,
                     (const char *)create.behind_target, end);
    return *out || !(is_table || is_index) ? SATCHEL_OK : no_memory(error);
}

static bool numbers_rows(const struct objects *objects)
{
    return objects->first && objects->first->sql &&
           sqlite3_strlike("%autoincrement%", objects->first->sql, 0) == 0;
}

static const struct object *find_object(const struct objects *objects, const char *name)
{
    const struct object *object = objects->first;
    while (object && sqlite3_stricmp(object->name, name) != 0)
        object = object->next;
    return object;
}

/* The text is the one expected, or may be that of an index that waits. */
static bool is_text(const char *text, const char *expected, bool may_wait)
{
    size_t size = expected ? strlen(expected) : 0;
    return expected && strncmp(text, expected, size) == 0 &&
           (!text[size] || (may_wait && strcmp(text + size, SATCHEL_STAGING_UNFILLED) == 0));
}

/* Puts the twins in the order of the objects. False: they are not alike any more, or not yet. */
static enum satchel_status match(struct pair *pair, bool indexes_may_wait,
                                 struct satchel_arena *arena, bool *is_alike,
                                 struct satchel_error *error)
{
    struct object *sorted = NULL, **end = &sorted;
    enum satchel_status status = SATCHEL_OK;
    *is_alike = pair->may_be && pair->objects.count == pair->twins.count;
    for (const struct object *object = pair->objects.first;
         object && *is_alike && status == SATCHEL_OK; object = object->next) {
        const char *name = twin_name(object, arena), *sql = NULL;
        struct object *copy = SATCHEL_ARENA_ARRAY(arena, struct object, 1);
        if (!name || !copy)
            return no_memory(error);
        if (object->sql)
            status = twin_sql(object, pair->table, "", arena, &sql, error);
        const struct object *twin = find_object(&pair->twins, name);
        *is_alike = status == SATCHEL_OK && twin &&
                    (twin->sql ? is_text(twin->sql, sql, indexes_may_wait) : !object->sql);
        if (!*is_alike)
            break;
        *copy = *twin;
        copy->next = NULL;
        *end = copy;
        end = &copy->next;
    }
    pair->twins.first = sorted;
    return status;
}

static enum satchel_status read_pair(sqlite3 *db, struct pair *pair, struct satchel_arena *arena,
                                     struct satchel_error *error)
{
    bool has_triggers = false;
    const char *twin = print(arena, SATCHEL_STAGING_PREFIX "%s", pair->table);
    enum satchel_status status = twin ? SATCHEL_OK : no_memory(error);
    if (status == SATCHEL_OK)
        status = has_row(db, SQL_TRIGGERS, pair->table, &has_triggers, error);
    if (status == SATCHEL_OK)
        status = read_objects(db, pair->table, arena, &pair->objects, error);
    if (status == SATCHEL_OK)
        status = read_objects(db, twin, arena, &pair->twins, error);
    pair->may_be = !has_triggers && pair->objects.count > 0 && !numbers_rows(&pair->objects);
    return status;
}

/* ---- making ---- */

static enum satchel_status run(sqlite3 *db, const char *sql, struct satchel_error *error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, db, "cannot run \"%.120s\"", sql);
}

static enum satchel_status may_wait(sqlite3 *db, const char *table, const char *index, bool *out,
                                    struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = open_select(db, SQL_MAY_WAIT, table, &select, error);
    if (status == SATCHEL_OK)
        sqlite3_bind_text(select, 2, index, -1, SQLITE_STATIC);
    int code = status == SATCHEL_OK ? sqlite3_step(select) : SQLITE_DONE;
    *out = code == SQLITE_ROW;
    return end_select(db, select, code, status, error);
}

static enum satchel_status make_objects(sqlite3 *db, const struct pair *pair, bool indexes_wait,
                                        struct satchel_arena *arena, bool *is_made,
                                        struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    *is_made = true;
    for (const struct object *object = pair->objects.first;
         object && *is_made && status == SATCHEL_OK; object = object->next) {
        const char *sql = NULL;
        bool waits = false;
        if (!object->sql)
            continue;
        if (indexes_wait && object != pair->objects.first)
            status = may_wait(db, pair->table, object->name, &waits, error);
        if (status == SATCHEL_OK)
            status = twin_sql(object, pair->table, waits ? SATCHEL_STAGING_UNFILLED : "", arena,
                              &sql, error);
        *is_made = sql != NULL;
        if (status != SATCHEL_OK || !sql)
            continue;
        status = run(db, sql, error);
        /* A CHECK that names its own table, for one. */
        if (status == SATCHEL_SQL && (sqlite3_errcode(db) & 0xff) == SQLITE_ERROR) {
            *is_made = false;
            status = SATCHEL_OK;
        }
    }
    return status;
}

static enum satchel_status make(sqlite3 *db, const struct pair *pair, bool indexes_wait,
                                struct satchel_arena *arena, bool *is_made,
                                struct satchel_error *error)
{
    enum satchel_status status = run(db, "SAVEPOINT satchel_staging", error);
    if (status == SATCHEL_OK)
        status = make_objects(db, pair, indexes_wait, arena, is_made, error);
    if (status == SATCHEL_OK && !*is_made)
        status = run(db, "ROLLBACK TO satchel_staging", error);
    return status == SATCHEL_OK ? run(db, "RELEASE satchel_staging", error) : status;
}

enum satchel_status satchel_staging_table_make(struct sqlite3 *db, const char *table,
                                               bool indexes_wait, enum satchel_staging_state *state,
                                               struct satchel_error *error)
{
    struct satchel_arena arena;
    struct pair pair = {.table = table};
    bool is_ready = false;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = read_pair(db, &pair, &arena, error);
    bool is_there = pair.twins.count > 0;
    if (status == SATCHEL_OK && is_there)
        status = match(&pair, true, &arena, &is_ready, error);
    else if (status == SATCHEL_OK && pair.may_be)
        status = make(db, &pair, indexes_wait, &arena, &is_ready, error);
    *state = is_ready   ? SATCHEL_STAGING_READY
             : is_there ? SATCHEL_STAGING_STALE
                        : SATCHEL_STAGING_NONE;
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

static enum satchel_status read_staged(sqlite3 *db, struct satchel_arena *arena, struct pair **out,
                                       struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_DONE;
    *out = NULL;
    enum satchel_status status = open_select(db, SQL_STAGED, NULL, &select, error);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct pair *pair = SATCHEL_ARENA_ARRAY(arena, struct pair, 1);
        const char *table = copy_text(arena, select, 0);
        if (!pair || !table) {
            status = no_memory(error);
            break;
        }
        *pair = (struct pair){.next = *out, .table = table};
        *out = pair;
    }
    return end_select(db, select, code, status, error);
}

static enum satchel_status drop(sqlite3 *db, const struct pair *pair, struct satchel_error *error)
{
    char *sql = sqlite3_mprintf("DROP TABLE main.\"" SATCHEL_STAGING_PREFIX "%w\"", pair->table);
    enum satchel_status status = sql ? run(db, sql, error) : no_memory(error);
    sqlite3_free(sql);
    return status;
}

static enum satchel_status pragma(sqlite3 *db, const char *sql, int *value,
                                  struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = open_select(db, sql, NULL, &select, error);
    int code = status == SATCHEL_OK ? sqlite3_step(select) : SQLITE_DONE;
    *value = code == SQLITE_ROW ? sqlite3_column_int(select, 0) : 0;
    return end_select(db, select, code, status, error);
}

/* 1: on, 2: fast */
static enum satchel_status set_secure_delete(sqlite3 *db, int value, struct satchel_error *error)
{
    static const char *const sql[] = {"PRAGMA main.secure_delete=OFF",
                                      "PRAGMA main.secure_delete=ON",
                                      "PRAGMA main.secure_delete=FAST"};
    return run(db, sql[value == 2 ? 2 : value != 0], error);
}

/* Written over, every page of it would be in memory until the commit. */
enum satchel_status satchel_staging_tables_drop(struct sqlite3 *db, struct satchel_error *error)
{
    struct satchel_arena arena;
    struct pair *pair = NULL;
    int was_secure = 0;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = read_staged(db, &arena, &pair, error);
    bool is_any = pair != NULL;
    if (status == SATCHEL_OK && is_any)
        status = pragma(db, "PRAGMA main.secure_delete", &was_secure, error);
    if (status == SATCHEL_OK && is_any)
        status = set_secure_delete(db, 0, error);
    for (; pair && status == SATCHEL_OK; pair = pair->next)
        status = drop(db, pair, error);
    if (is_any && was_secure) {
        enum satchel_status reset = set_secure_delete(db, was_secure, error);
        status = status == SATCHEL_OK ? reset : status;
    }
    satchel_arena_deinit(&arena);
    return status;
}

/* ---- the exchange ---- */

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

static enum satchel_status exchange_roots(sqlite3 *db, const struct pair *pair,
                                          struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, SQL_SET_ROOT, -1, &update, NULL) != SQLITE_OK)
        return satchel_sql_error(error, db, "cannot exchange tables");
    for (; pair; pair = pair->next) {
        const struct object *object = pair->objects.first, *twin = pair->twins.first;
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
    char sql[64];
    int version = 0;
    enum satchel_status status = pragma(db, "PRAGMA main.schema_version", &version, error);
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA main.schema_version=%d", version + 1);
    return status == SATCHEL_OK ? run(db, sql, error) : status;
}

/* Runs `change` with sqlite_schema writable, and has the schema read anew. */
static enum satchel_status change_schema(sqlite3 *db, const struct pair *pair,
                                         enum satchel_status (*change)(sqlite3 *db,
                                                                       const struct pair *pair,
                                                                       struct satchel_error *error),
                                         struct satchel_error *error)
{
    int was_defensive = 0, was_writable = 0;
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, -1, &was_defensive);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, -1, &was_writable);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
    enum satchel_status status = change(db, pair, error);
    if (status == SATCHEL_OK)
        status = renew_schema(db, error);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, was_writable, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, was_defensive, NULL);
    return status;
}

static enum satchel_status settle_indexes(sqlite3 *db, const struct pair *pair,
                                          struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    int code = SQLITE_ERROR;
    (void)pair; /* of all tables */
    if (sqlite3_prepare_v2(db, SQL_SETTLE, -1, &update, NULL) == SQLITE_OK &&
        sqlite3_bind_text(update, 1, SATCHEL_STAGING_UNFILLED, -1, SQLITE_STATIC) == SQLITE_OK)
        code = sqlite3_step(update);
    sqlite3_finalize(update);
    return code == SQLITE_DONE ? SATCHEL_OK : satchel_sql_error(error, db, "cannot settle indexes");
}

enum satchel_status satchel_staging_indexes_settle(struct sqlite3 *db, struct satchel_error *error)
{
    return change_schema(db, NULL, settle_indexes, error);
}

enum satchel_status satchel_staging_tables_exchange(struct sqlite3 *db, bool *is_done,
                                                    struct satchel_error *error)
{
    struct satchel_arena arena;
    struct pair *first;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = read_staged(db, &arena, &first, error);
    *is_done = true;
    for (struct pair *pair = first; pair && *is_done && status == SATCHEL_OK; pair = pair->next) {
        status = read_pair(db, pair, &arena, error);
        if (status == SATCHEL_OK)
            status = match(pair, false, &arena, is_done, error);
    }
    if (status == SATCHEL_OK && *is_done && first)
        status = change_schema(db, first, exchange_roots, error);
    satchel_arena_deinit(&arena);
    return status;
}
