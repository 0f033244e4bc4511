/* satchel import: a CSV file into one table, in one transaction. */
#include "command.h"
#include "csv.h"

#include <satchel/schema.h>
#include <satchel/sqlite.h>

#include <stdio.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)256 << 20)

struct import {
    sqlite3 *db;
    const char *table;
    sqlite3_stmt *insert;
    int column_count; /* bound per row: those of the file, then the keys filled in */
    int file_column_count;
    int key_from_file[CSV_FIELDS_MAX]; /* parameter -> 1 if it is a key column */
    sqlite3_stmt *new_id[2];           /* satchel_uuid(), satchel_id() */
    int id_kind[CSV_FIELDS_MAX];       /* parameter -> 0 uuid, 1 integer */
    uint64_t row_count;
};

static enum satchel_status read_file(const char *path, struct satchel_buffer *out,
                                     struct satchel_error *error)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return satchel_error_set(error, SATCHEL_NOT_FOUND, "%s: the file cannot be opened", path);
    char block[65536];
    size_t size;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && (size = fread(block, 1, sizeof block, file)) > 0)
        status = satchel_buffer_append(out, block, size);
    if (status != SATCHEL_OK)
        satchel_error_set(error, status, "%s: larger than 256 MiB; split it", path);
    else if (ferror(file))
        status = satchel_error_set(error, SATCHEL_IO, "%s: cannot be read", path);
    fclose(file);
    return status;
}

static bool is_named(const struct csv_field *field, const char *name)
{
    return field->text.size == strlen(name) &&
           sqlite3_strnicmp((const char *)field->text.data, name, (int)field->text.size) == 0;
}

/* Builds INSERT INTO table(columns...) from the header line; key columns that the file lacks are
 * added. */
static enum satchel_status prepare(struct import *import, const struct csv_field *header, int count,
                                   struct satchel_error *error)
{
    struct satchel_buffer columns, values;
    sqlite3_stmt *info = NULL;
    enum satchel_status status = SATCHEL_OK;
    bool known[CSV_FIELDS_MAX] = {false};
    int column_total = 0;
    satchel_buffer_init(&columns, 1 << 20, NULL);
    satchel_buffer_init(&values, 1 << 20, NULL);
    import->file_column_count = import->column_count = count;
    if (sqlite3_prepare_v2(import->db, "SELECT name, type, pk FROM pragma_table_xinfo(?1)", -1,
                           &info, NULL) != SQLITE_OK ||
        sqlite3_bind_text(info, 1, import->table, -1, SQLITE_STATIC) != SQLITE_OK) {
        status = satchel_error_set(error, SATCHEL_SQL, "%s", sqlite3_errmsg(import->db));
        goto cleanup;
    }
    char *names[CSV_FIELDS_MAX] = {NULL};
    while (sqlite3_step(info) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(info, 0);
        const char *type = (const char *)sqlite3_column_text(info, 1);
        bool is_key = sqlite3_column_int(info, 2) > 0;
        int parameter = -1;
        column_total++;
        for (int i = 0; i < count; i++) {
            if (is_named(&header[i], name)) {
                if (known[i] || parameter >= 0)
                    parameter = -2;
                known[i] = true;
                if (parameter != -2)
                    parameter = i;
            }
        }
        if (parameter == -2) {
            status =
                satchel_error_set(error, SATCHEL_INVALID, "line 1: column `%s` stands twice", name);
            break;
        }
        if (parameter < 0 && is_key && import->column_count < CSV_FIELDS_MAX)
            parameter = import->column_count++;
        if (parameter >= 0) {
            import->key_from_file[parameter] = is_key;
            import->id_kind[parameter] = sqlite3_strnicmp(type, "INT", 3) == 0;
            names[parameter] = sqlite3_mprintf("%w", name);
        }
    }
    if (status == SATCHEL_OK && column_total == 0)
        status =
            satchel_error_set(error, SATCHEL_NOT_FOUND, "there is no table `%s`", import->table);
    for (int i = 0; status == SATCHEL_OK && i < count; i++)
        if (!known[i])
            status = satchel_error_set(error, SATCHEL_INVALID,
                                       "line 1: table `%s` has no column `%.*s`", import->table,
                                       (int)header[i].text.size, (const char *)header[i].text.data);
    for (int i = 0; status == SATCHEL_OK && i < import->column_count; i++) {
        status =
            satchel_buffer_format(&columns, "%s\"%s\"", i ? "," : "", names[i] ? names[i] : "");
        if (status == SATCHEL_OK)
            status = satchel_buffer_format(&values, "%s?%d", i ? "," : "", i + 1);
        if (status != SATCHEL_OK)
            satchel_error_set(error, status, "line 1: too many columns");
    }
    if (status == SATCHEL_OK) {
        char *sql = sqlite3_mprintf("INSERT INTO \"%w\"(%s) VALUES(%s)", import->table,
                                    satchel_buffer_text(&columns), satchel_buffer_text(&values));
        if (!sql || sqlite3_prepare_v2(import->db, sql, -1, &import->insert, NULL) != SQLITE_OK)
            status = satchel_error_set(error, SATCHEL_SQL, "%s", sqlite3_errmsg(import->db));
        sqlite3_free(sql);
    }
    for (int i = 0; i < CSV_FIELDS_MAX; i++)
        sqlite3_free(names[i]);
cleanup:
    sqlite3_finalize(info);
    satchel_buffer_deinit(&columns);
    satchel_buffer_deinit(&values);
    return status;
}

static int bind_new_id(struct import *import, int parameter)
{
    sqlite3_stmt *id = import->new_id[import->id_kind[parameter]];
    int code = sqlite3_step(id);
    if (code == SQLITE_ROW)
        code = sqlite3_bind_value(import->insert, parameter + 1, sqlite3_column_value(id, 0));
    sqlite3_reset(id);
    return code;
}

static enum satchel_status insert_record(struct import *import, const struct csv_field *fields,
                                         int count, int line, struct satchel_error *error)
{
    if (count != import->file_column_count)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "line %d: %d fields, but the header has %d", line, count,
                                 import->file_column_count);
    int code = SQLITE_OK;
    for (int i = 0; code == SQLITE_OK && i < import->column_count; i++) {
        bool is_absent = i >= count || (fields[i].text.size == 0 && !fields[i].is_quoted);
        if (is_absent)
            code = import->key_from_file[i] ? bind_new_id(import, i)
                                            : sqlite3_bind_null(import->insert, i + 1);
        else
            code = sqlite3_bind_text64(import->insert, i + 1, (const char *)fields[i].text.data,
                                       fields[i].text.size, SQLITE_STATIC, SQLITE_UTF8);
    }
    if (code == SQLITE_OK)
        code = sqlite3_step(import->insert);
    enum satchel_status status = SATCHEL_OK;
    if (code != SQLITE_DONE)
        status =
            satchel_error_set(error, SATCHEL_SQL, "line %d: %s", line, sqlite3_errmsg(import->db));
    sqlite3_reset(import->insert);
    import->row_count++;
    return status;
}

static enum satchel_status import_file(struct import *import, struct satchel_span file,
                                       struct satchel_error *error)
{
    struct csv_reader reader;
    struct satchel_arena arena;
    static struct csv_field fields[CSV_FIELDS_MAX];
    int count = 0;
    bool shows_progress = isatty(STDERR_FILENO);
    satchel_arena_init(&arena, FILE_BYTES_MAX, NULL);
    csv_open(&reader, file, &arena);
    enum satchel_status status = csv_read(&reader, fields, &count, error);
    if (status == SATCHEL_OK && count == 0)
        status = satchel_error_set(error, SATCHEL_INVALID,
                                   "the file is empty; its first line must name the columns");
    if (status == SATCHEL_OK)
        status = prepare(import, fields, count, error);
    while (status == SATCHEL_OK) {
        satchel_arena_reset(&arena);
        status = csv_read(&reader, fields, &count, error);
        if (status != SATCHEL_OK || count == 0)
            break;
        status = insert_record(import, fields, count, reader.record_line, error);
        if (shows_progress && import->row_count % 1000 == 0)
            fprintf(stderr, "\r%llu rows", (unsigned long long)import->row_count);
    }
    if (shows_progress && import->row_count >= 1000)
        fputs("\r                    \r", stderr);
    satchel_arena_deinit(&arena);
    return status;
}

int run_import(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    struct satchel_buffer file;
    struct import import = {.table = arguments->positional[1]};
    satchel_buffer_init(&file, FILE_BYTES_MAX, NULL);
    enum satchel_status status = read_file(arguments->positional[2], &file, &error);
    if (status == SATCHEL_OK)
        status = satchel_replica_open(&replica, arguments->positional[0], NULL, &error);
    if (status == SATCHEL_OK) {
        import.db = satchel_replica_db(replica);
        if (sqlite3_prepare_v2(import.db, "SELECT satchel_uuid()", -1, &import.new_id[0], NULL) !=
                SQLITE_OK ||
            sqlite3_prepare_v2(import.db, "SELECT satchel_id()", -1, &import.new_id[1], NULL) !=
                SQLITE_OK ||
            sqlite3_exec(import.db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
            status = satchel_error_set(&error, SATCHEL_SQL, "%s", sqlite3_errmsg(import.db));
    }
    if (status == SATCHEL_OK) {
        struct satchel_error inner = {0};
        status = import_file(&import, satchel_buffer_span(&file), &inner);
        if (status == SATCHEL_OK &&
            sqlite3_exec(import.db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            status = satchel_error_set(&inner, SATCHEL_SQL, "%s", sqlite3_errmsg(import.db));
        if (status != SATCHEL_OK) {
            satchel_error_set(&error, status, "%s: %s; nothing was imported",
                              arguments->positional[2], inner.message);
            if (!sqlite3_get_autocommit(import.db))
                sqlite3_exec(import.db, "ROLLBACK", NULL, NULL, NULL);
        }
    }
    sqlite3_finalize(import.insert);
    sqlite3_finalize(import.new_id[0]);
    sqlite3_finalize(import.new_id[1]);
    satchel_buffer_deinit(&file);
    satchel_replica_close(replica);
    if (status != SATCHEL_OK)
        return command_fail(&error);
    printf("imported %llu rows into %s\n", (unsigned long long)import.row_count, import.table);
    return EXIT_DONE;
}
