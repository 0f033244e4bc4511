/* Owns the quoting and the assembly of SQL over a schema's tables. */
#include "sql_text.h"

#include <satchel/sql_error.h>

#include <satchel/sqlite.h>

#include <stdio.h>

enum { SQL_TEXT_BYTES_MAX = 1 << 20 }; /* SQLite's own default limit on a statement */

void satchel_sql_text_init(struct satchel_sql_text *sql)
{
    satchel_buffer_init(&sql->buffer, SQL_TEXT_BYTES_MAX, NULL);
    sql->status = SATCHEL_OK;
}

static void add(struct satchel_sql_text *sql, const char *text, size_t size)
{
    if (sql->status == SATCHEL_OK)
        sql->status = satchel_buffer_append(&sql->buffer, text, size);
}

void satchel_sql_text_add(struct satchel_sql_text *sql, const char *text)
{
    add(sql, text, strlen(text));
}

void satchel_sql_text_name(struct satchel_sql_text *sql, const char *name)
{
    add(sql, "\"", 1);
    for (const char *quote; (quote = strchr(name, '"')); name = quote + 1) {
        add(sql, name, (size_t)(quote - name));
        add(sql, "\"\"", 2);
    }
    add(sql, name, strlen(name));
    add(sql, "\"", 1);
}

void satchel_sql_text_table(struct satchel_sql_text *sql, const struct satchel_table *table)
{
    add(sql, "main.", 5);
    satchel_sql_text_name(sql, table->name);
}

void satchel_sql_text_parameter(struct satchel_sql_text *sql, uint32_t number)
{
    char text[16];
    snprintf(text, sizeof text, "?%u", (unsigned)number);
    satchel_sql_text_add(sql, text);
}

void satchel_sql_text_columns(struct satchel_sql_text *sql, const struct satchel_table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            add(sql, ",", 1);
        satchel_sql_text_name(sql, table->columns[i].name);
    }
}

void satchel_sql_text_key(struct satchel_sql_text *sql, const struct satchel_table *table,
                          uint32_t first_parameter)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            add(sql, " AND ", 5);
        satchel_sql_text_name(sql, table->columns[table->key_columns[i]].name);
        add(sql, " IS ", 4);
        satchel_sql_text_parameter(sql, first_parameter + i);
    }
}

static enum satchel_status prepare(const struct satchel_sql_text *sql, struct sqlite3 *db,
                                   struct sqlite3_stmt **out, struct satchel_error *error)
{
    *out = NULL;
    if (sql->status != SATCHEL_OK)
        return satchel_error_set(error, sql->status, "cannot build an SQL statement: %s",
                                 satchel_status_text(sql->status));
    if (sqlite3_prepare_v3(db, (const char *)sql->buffer.data, (int)sql->buffer.size,
                           SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return satchel_sql_error(error, db, "cannot prepare \"%.*s\"",
                                 (int)(sql->buffer.size < 160 ? sql->buffer.size : 160),
                                 (const char *)sql->buffer.data);
    return SATCHEL_OK;
}

enum satchel_status satchel_sql_text_prepare(struct satchel_sql_text *sql, struct sqlite3 *db,
                                             struct sqlite3_stmt **out, struct satchel_error *error)
{
    enum satchel_status status = prepare(sql, db, out, error);
    satchel_buffer_deinit(&sql->buffer);
    return status;
}
