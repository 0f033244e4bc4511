/* Owns the values of column defaults: what a row that leaves the column out gets, found by letting
 * SQLite do just that in a scratch database, and whether it gets the same every time. */
#include "schema_build.h"

#include "scanner.h"

#include <satchel/row_io.h>
#include <satchel/sqlite.h>
#include <stdio.h>

const char *satchel_build_affinity(const char *declared_type, bool is_strict)
{
    static const struct {
        const char *part, *type;
    } parts[] = {{"INT", "INTEGER"}, {"CHAR", "TEXT"}, {"CLOB", "TEXT"}, {"TEXT", "TEXT"},
                 {"BLOB", "BLOB"},   {"REAL", "REAL"}, {"FLOA", "REAL"}, {"DOUB", "REAL"}};
    if (declared_type[0] == '\0' || (is_strict && sqlite3_stricmp(declared_type, "ANY") == 0))
        return "BLOB";
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (const char *at = declared_type; *at; at++)
            if (sqlite3_strnicmp(at, parts[i].part, (int)strlen(parts[i].part)) == 0)
                return parts[i].type;
    return "NUMERIC";
}

/* Runs SQL made of `format`, a type and an expression. An SQLite result code. */
static int run(sqlite3 *db, const char *format, const char *type, const char *expression)
{
    size_t size = strlen(format) + strlen(type) + strlen(expression) + 1;
    char *sql = satchel_alloc(NULL, size);
    if (!sql)
        return SQLITE_NOMEM;
    snprintf(sql, size, format, type, expression);
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    satchel_free(NULL, sql);
    return code;
}

#define SQL_DROP "DROP TABLE IF EXISTS scratch"
#define SQL_INSERT "INSERT INTO scratch(a) VALUES (1)"
#define SQL_SELECT "SELECT b FROM scratch"
#define SQL_CREATE_LITERAL                                                                      \
    "CREATE TABLE IF NOT EXISTS literal(INTEGER INTEGER, TEXT TEXT, REAL REAL, NUMERIC NUMERIC" \
    ", BLOB BLOB)"
#define SQL_SELECT_LITERAL "SELECT coalesce(INTEGER, TEXT, REAL, NUMERIC, BLOB) FROM literal"

static int create_scratch(sqlite3 *db, const char *format, const char *type, const char *expression)
{
    int code = sqlite3_exec(db, SQL_DROP, NULL, NULL, NULL);
    return code == SQLITE_OK ? run(db, format, type, expression) : code;
}

static int fill_scratch(sqlite3 *db)
{
    return sqlite3_exec(db, SQL_INSERT, NULL, NULL, NULL);
}

static enum satchel_status read_scratch(struct satchel_build *build, const char *sql,
                                        struct satchel_value *out)
{
    sqlite3_stmt *query = NULL;
    if (sqlite3_prepare_v2(build->scratch, sql, -1, &query, NULL) != SQLITE_OK)
        return satchel_build_sql_failed(build, build->scratch);
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_step(query) == SQLITE_ROW) {
        struct satchel_value value = satchel_value_of_column(query, 0);
        status = satchel_value_copy(build->keep, &value, out);
        if (status != SATCHEL_OK)
            satchel_build_no_memory(build);
    } else {
        status = satchel_build_sql_failed(build, build->scratch);
    }
    sqlite3_finalize(query);
    return status;
}

/* A text, or a number with or without a sign. */
static bool is_literal(const char *expression)
{
    struct satchel_scanner scanner = satchel_scanner_of(satchel_span_text(expression), 1);
    struct satchel_token token = satchel_scanner_next_code(&scanner);
    bool is_signed = satchel_token_is_sign(&token, '-') || satchel_token_is_sign(&token, '+');
    if (is_signed)
        token = satchel_scanner_next_code(&scanner);
    bool is_one =
        token.kind == SATCHEL_TOKEN_NUMBER || (token.kind == SATCHEL_TOKEN_STRING && !is_signed);
    token = satchel_scanner_next_code(&scanner);
    return is_one && token.kind == SATCHEL_TOKEN_END;
}

/* Most defaults are literals. One table with a column of each affinity serves them all. */
static int store_literal(sqlite3 *db, const char *type, const char *expression)
{
    int code = sqlite3_exec(db, SQL_CREATE_LITERAL, NULL, NULL, NULL);
    return code == SQLITE_OK
               ? run(db, "REPLACE INTO literal(rowid, %s) VALUES (1, %s)", type, expression)
               : code;
}

/* `expression` as SQLite gives it: without the parentheses it was written in. */
static enum satchel_status evaluate(struct satchel_build *build, const char *type,
                                    const char *expression, struct satchel_place place,
                                    struct satchel_value *out, bool *varies)
{
    sqlite3 *db = build->scratch;
    if (is_literal(expression) && store_literal(db, type, expression) == SQLITE_OK)
        return read_scratch(build, SQL_SELECT_LITERAL, out);
    /* What cannot stand in parentheses is a bare name, which SQLite takes for text: a constant. */
    int code = create_scratch(db, "CREATE TABLE scratch(a, b %s DEFAULT (%s))", type, expression);
    bool is_expression = code == SQLITE_OK;
    if (code == SQLITE_ERROR)
        code = create_scratch(db, "CREATE TABLE scratch(a, b %s DEFAULT %s)", type, expression);
    if (code == SQLITE_OK)
        code = fill_scratch(db);
    if (code != SQLITE_OK && code != SQLITE_NOMEM)
        return satchel_refuse(
            build->error, place,
            "the default %.200s cannot be evaluated: %s; use SQLite's and Satchel's "
            "functions only",
            expression, sqlite3_errmsg(db));
    if (code != SQLITE_OK)
        return satchel_build_no_memory(build);
    enum satchel_status status = read_scratch(build, SQL_SELECT, out);
    if (status != SATCHEL_OK || !is_expression)
        return status;
    /* A generated column must be deterministic; SQLite knows of each function whether it is. */
    code = create_scratch(db, "CREATE TABLE scratch(a, b %s AS (%s) STORED)", type, expression);
    if (code == SQLITE_OK)
        code = fill_scratch(db);
    if (code == SQLITE_NOMEM)
        return satchel_build_no_memory(build);
    *varies = code != SQLITE_OK;
    if (*varies)
        *out = satchel_value_null();
    return SATCHEL_OK;
}

enum satchel_status satchel_build_default(struct satchel_build *build, const char *declared_type,
                                          bool is_strict, const char *expression,
                                          struct satchel_place place, struct satchel_value *out,
                                          bool *varies)
{
    /* A type name of the same affinity: no declared type, however odd, has to be quoted. */
    const char *type = satchel_build_affinity(declared_type, is_strict);
    *out = satchel_value_null();
    *varies = false;
    if (!expression)
        return SATCHEL_OK;
    for (uint32_t i = 0; i < build->value_count; i++) {
        const struct satchel_build_value *known = &build->values[i];
        if (known->type != type || strcmp(known->expression, expression) != 0)
            continue;
        *out = known->value;
        *varies = known->varies;
        return SATCHEL_OK;
    }
    enum satchel_status status = evaluate(build, type, expression, place, out, varies);
    if (status == SATCHEL_OK && build->value_count < SATCHEL_BUILD_VALUES_MAX) {
        const struct satchel_build_value value = {type, expression, *out, *varies};
        build->values[build->value_count++] = value;
    }
    return status;
}
