/* Owns the helpers of sql_support.h. */
#include "sql_support.h"

struct satchel_schema *sql_schema(const char *sql)
{
    struct satchel_migration migration = {1, satchel_span_text("001_test.sql"),
                                          satchel_span_text(sql)};
    struct satchel_schema *schema = NULL;
    struct satchel_error error = {0};
    if (satchel_schema_new(&schema, &migration, 1, &error) != SATCHEL_OK)
        fail_msg("%s", error.message);
    return schema;
}

void sql_run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

sqlite3 *sql_open(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    if (sql)
        sql_run(db, sql);
    return db;
}

void sql_close(sqlite3 *db)
{
    assert_int_equal(sqlite3_close(db), SQLITE_OK); /* nothing left unfinalized */
}

const char *sql_rows(sqlite3 *db, const char *sql)
{
    static char text[65536];
    size_t size = 0;
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int code;
    text[0] = '\0';
    for (int row = 0; (code = sqlite3_step(statement)) == SQLITE_ROW; row++)
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);
            size += (size_t)snprintf(text + size, sizeof text - size, "%s%s",
                                     i > 0     ? "|"
                                     : row > 0 ? "\n"
                                               : "",
                                     value ? value : "NULL");
            assert_true(size < sizeof text);
        }
    if (code != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return text;
}

struct satchel_value text_value(const char *text)
{
    return satchel_value_text(satchel_span_text(text));
}

struct satchel_id id_of(uint8_t byte)
{
    struct satchel_id id;
    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}
