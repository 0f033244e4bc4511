/* Owns migrations in a database file: the table that holds them, running them there, and reading
 * them back. What they mean is the schema's. */
#include "migration_table.h"
#include "schema_build.h"
#include <satchel/sql_error.h>

#include <satchel/sqlite.h>

#define SQL_LAST "SELECT coalesce(max(number), 0) FROM main.satchel_migration"
#define SQL_RECORD "INSERT INTO main.satchel_migration(number, name, sql) VALUES (?1, ?2, ?3)"
#define SQL_READ \
    "SELECT number, name, sql FROM main.satchel_migration WHERE number > ?1 ORDER BY number"
#define SQL_HAS_TABLE \
    "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'satchel_migration'"

enum { SCAN_BYTES_MAX = 256 << 20 };

/* The name of a migration's file, for messages. */
static const char *file_name(const struct satchel_migration *migration, struct satchel_arena *arena)
{
    const char *name = (const char *)satchel_arena_copy(arena, migration->name).data;
    return name ? name : "migration";
}

/* ---- installing ---- */

static enum satchel_status run_ddl(sqlite3 *db, const struct satchel_migration *migration,
                                   struct satchel_arena *arena, struct satchel_error *error)
{
    struct satchel_annotations annotations;
    const char *file = file_name(migration, arena);
    enum satchel_status status =
        satchel_annotations_read(file, migration->sql, arena, &annotations, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < annotations.statement_count; i++) {
        const struct satchel_statement *statement = &annotations.statements[i];
        if (statement->kind == SATCHEL_STATEMENT_INSERT)
            continue;
        if (statement->kind == SATCHEL_STATEMENT_OTHER)
            return satchel_error_set(
                error, SATCHEL_SCHEMA,
                "%s:%d: a migration may hold CREATE, ALTER TABLE … ADD COLUMN and "
                "INSERT only; take this statement out",
                file, statement->line);
        if (sqlite3_exec(db, statement->sql, NULL, NULL, NULL) != SQLITE_OK)
            status =
                satchel_sql_error(error, db, "%s:%d: running the migration", file, statement->line);
    }
    return status;
}

static enum satchel_status record(sqlite3 *db, const struct satchel_migration *migration,
                                  struct satchel_error *error)
{
    sqlite3_stmt *insert = NULL;
    int code = sqlite3_prepare_v2(db, SQL_RECORD, -1, &insert, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(insert, 1, (sqlite3_int64)migration->number);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text64(insert, 2,
                                   migration->name.size ? (const char *)migration->name.data : "",
                                   migration->name.size, SQLITE_STATIC, SQLITE_UTF8);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text64(insert, 3,
                                   migration->sql.size ? (const char *)migration->sql.data : "",
                                   migration->sql.size, SQLITE_STATIC, SQLITE_UTF8);
    if (code == SQLITE_OK)
        code = sqlite3_step(insert);
    enum satchel_status status =
        code == SQLITE_DONE ? SATCHEL_OK : satchel_sql_error(error, db, "recording a migration");
    sqlite3_finalize(insert);
    return status;
}

static enum satchel_status last_number(sqlite3 *db, uint64_t *last, struct satchel_error *error)
{
    sqlite3_stmt *query = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, SQL_LAST, -1, &query, NULL) == SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW)
        *last = (uint64_t)sqlite3_column_int64(query, 0);
    else
        status = satchel_sql_error(error, db, "reading the migrations");
    sqlite3_finalize(query);
    return status;
}

enum satchel_status satchel_schema_install(struct sqlite3 *db,
                                           const struct satchel_migration *migrations,
                                           uint32_t migration_count, struct satchel_error *error)
{
    uint64_t last = 0;
    struct satchel_arena arena;
    satchel_arena_init(&arena, SCAN_BYTES_MAX, NULL);
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_exec(db, SATCHEL_MIGRATION_TABLE, NULL, NULL, NULL) != SQLITE_OK)
        status = satchel_sql_error(error, db, "creating the table satchel_migration");
    if (status == SATCHEL_OK)
        status = last_number(db, &last, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < migration_count; i++) {
        if (migrations[i].number <= last)
            continue;
        if (migrations[i].number != last + 1) {
            status = satchel_error_set(
                error, SATCHEL_SCHEMA,
                "%s:1: migration %llu cannot follow %llu; number them without a gap",
                file_name(&migrations[i], &arena), (unsigned long long)migrations[i].number,
                (unsigned long long)last);
            break;
        }
        satchel_arena_reset(&arena);
        status = run_ddl(db, &migrations[i], &arena, error);
        if (status == SATCHEL_OK)
            status = record(db, &migrations[i], error);
        last = migrations[i].number;
    }
    satchel_arena_deinit(&arena);
    return status;
}

/* ---- reading back ---- */

static bool has_table(sqlite3 *db, enum satchel_status *status, struct satchel_error *error)
{
    sqlite3_stmt *query = NULL;
    int code = sqlite3_prepare_v2(db, SQL_HAS_TABLE, -1, &query, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(query);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        *status = satchel_sql_error(error, db, "reading the migrations");
    sqlite3_finalize(query);
    return code == SQLITE_ROW;
}

static struct satchel_span copy_text(struct satchel_arena *arena, sqlite3_stmt *row, int index)
{
    const void *text = sqlite3_column_text(row, index);
    return satchel_arena_copy(
        arena, satchel_span_of(text, text ? (size_t)sqlite3_column_bytes(row, index) : 0));
}

static enum satchel_status read_rows(sqlite3 *db, sqlite3_stmt *query, struct satchel_arena *arena,
                                     struct satchel_migration **out, uint32_t *out_count,
                                     struct satchel_error *error)
{
    uint32_t capacity = 0;
    int code;
    while ((code = sqlite3_step(query)) == SQLITE_ROW) {
        *out = satchel_arena_grow(arena, *out, *out_count, &capacity, sizeof **out);
        if (!*out)
            return satchel_error_set(error, SATCHEL_NOMEM, "reading the migrations: out of memory");
        struct satchel_migration *migration = &(*out)[(*out_count)++];
        migration->number = (uint64_t)sqlite3_column_int64(query, 0);
        migration->name = copy_text(arena, query, 1);
        migration->sql = copy_text(arena, query, 2);
        if (!migration->name.data || !migration->sql.data)
            return satchel_error_set(error, SATCHEL_NOMEM, "reading the migrations: out of memory");
    }
    return code == SQLITE_DONE ? SATCHEL_OK
                               : satchel_sql_error(error, db, "reading the migrations");
}

enum satchel_status satchel_schema_migrations(struct sqlite3 *db, uint64_t after,
                                              struct satchel_arena *arena,
                                              struct satchel_migration **out, uint32_t *out_count,
                                              struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    sqlite3_stmt *query = NULL;
    *out = NULL;
    *out_count = 0;
    if (after > INT64_MAX || !has_table(db, &status, error))
        return status;
    if (sqlite3_prepare_v2(db, SQL_READ, -1, &query, NULL) == SQLITE_OK &&
        sqlite3_bind_int64(query, 1, (sqlite3_int64)after) == SQLITE_OK)
        status = read_rows(db, query, arena, out, out_count, error);
    else
        status = satchel_sql_error(error, db, "reading the migrations");
    sqlite3_finalize(query);
    return status;
}

enum satchel_status satchel_schema_load(struct sqlite3 *db, struct satchel_schema **out,
                                        struct satchel_error *error)
{
    struct satchel_migration *migrations = NULL;
    uint32_t count = 0;
    struct satchel_arena arena;
    *out = NULL;
    satchel_arena_init(&arena, SCAN_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_schema_migrations(db, 0, &arena, &migrations, &count, error);
    if (status == SATCHEL_OK && count > 0)
        status = satchel_schema_new(out, migrations, count, error);
    satchel_arena_deinit(&arena);
    return status;
}

/* ---- first rows ---- */

enum satchel_status satchel_migration_inserts(
    const struct satchel_migration *migration,
    enum satchel_status (*visit)(void *context, struct satchel_span statement, int line),
    void *context, struct satchel_error *error)
{
    struct satchel_annotations annotations;
    struct satchel_arena arena;
    satchel_arena_init(&arena, SCAN_BYTES_MAX, NULL);
    enum satchel_status status = satchel_annotations_read(
        file_name(migration, &arena), migration->sql, &arena, &annotations, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < annotations.statement_count; i++) {
        const struct satchel_statement *statement = &annotations.statements[i];
        if (statement->kind == SATCHEL_STATEMENT_INSERT)
            status = visit(context, satchel_span_text(statement->sql), statement->line);
    }
    satchel_arena_deinit(&arena);
    return status;
}

/* Comments before a statement may be annotations of the one before that. */
static void blank(const struct satchel_statement *statement, uint8_t *text)
{
    size_t i = strspn(statement->sql, " \t\r\n");
    for (; i < statement->text.size; i++)
        if (text[i] != '\n')
            text[i] = ' ';
}

static enum satchel_status blank_inserts(struct satchel_migration *migration,
                                         struct satchel_arena *arena, struct satchel_arena *scratch,
                                         struct satchel_error *error)
{
    struct satchel_annotations annotations;
    struct satchel_span from = migration->sql;
    uint8_t *text = NULL;
    enum satchel_status status =
        satchel_annotations_read(file_name(migration, scratch), from, scratch, &annotations, error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < annotations.statement_count; i++) {
        const struct satchel_statement *statement = &annotations.statements[i];
        if (statement->kind != SATCHEL_STATEMENT_INSERT)
            continue;
        if (!text && (text = satchel_arena_alloc(arena, from.size + 1)) != NULL)
            memcpy(text, from.data, from.size);
        if (!text)
            return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a migration");
        blank(statement, text + (statement->text.data - from.data));
    }
    if (text)
        migration->sql = satchel_span_of(text, from.size);
    return status;
}

enum satchel_status satchel_migrations_blank_inserts(struct satchel_migration *migrations,
                                                     uint32_t migration_count,
                                                     struct satchel_arena *arena,
                                                     struct satchel_error *error)
{
    struct satchel_arena scratch;
    enum satchel_status status = SATCHEL_OK;
    satchel_arena_init(&scratch, SCAN_BYTES_MAX, NULL);
    for (uint32_t i = 0; i < migration_count && status == SATCHEL_OK; i++) {
        satchel_arena_reset(&scratch);
        status = blank_inserts(&migrations[i], arena, &scratch, error);
    }
    satchel_arena_deinit(&scratch);
    return status;
}
