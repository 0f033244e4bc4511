/* satchel sql: statements on a replica, as sqlite3 runs them, captured. */
#include "output.h"

#include <satchel/sqlite.h>

#include <stdio.h>
#include <stdlib.h>

#define SQL_BYTES_MAX ((size_t)64 << 20)

static enum satchel_status read_standard_input(struct satchel_buffer *out,
                                               struct satchel_error *error)
{
    char block[65536];
    size_t size;
    while ((size = fread(block, 1, sizeof block, stdin)) > 0)
        if (satchel_buffer_append(out, block, size) != SATCHEL_OK)
            return satchel_error_set(
                error, SATCHEL_LIMIT,
                "standard input has more than 64 MiB of SQL; run it in pieces");
    return ferror(stdin) ? satchel_error_set(error, SATCHEL_IO, "standard input cannot be read")
                         : SATCHEL_OK;
}

/* Runs all statements; with JSON the rows of the last one that returns any are kept in `last`. */
static enum satchel_status run_all(sqlite3 *db, const char *sql, bool json, struct output *last,
                                   bool *has_last, struct satchel_error *error)
{
    const char *rest = sql;
    while (*rest) {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v2(db, rest, -1, &statement, &rest) != SQLITE_OK)
            return satchel_error_set(error, SATCHEL_SQL, "%s%s", sqlite3_errmsg(db),
                                     sqlite3_errcode(db) == SQLITE_AUTH
                                         ? ": synced tables change by a migration (satchel "
                                           "workspace deploy)"
                                         : "");
        if (!statement)
            continue; /* white space or a comment */
        struct output output = {0};
        enum satchel_status status = output_collect(&output, statement, error);
        bool returns_rows = sqlite3_column_count(statement) > 0;
        sqlite3_finalize(statement);
        if (status != SATCHEL_OK)
            return status;
        if (!json) {
            status = output_print(&output, OUTPUT_LIST);
            output_deinit(&output);
            if (status != SATCHEL_OK)
                return satchel_error_set(error, status, "the result cannot be written");
        } else if (returns_rows) {
            if (*has_last)
                output_deinit(last);
            *last = output;
            *has_last = true;
        } else {
            output_deinit(&output);
        }
    }
    if (!sqlite3_get_autocommit(db))
        return satchel_error_set(
            error, SATCHEL_STATE,
            "a transaction was left open and is rolled back; end it with COMMIT");
    return SATCHEL_OK;
}

int run_sql(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    struct satchel_buffer text;
    struct output last = {0};
    bool has_last = false;
    satchel_buffer_init(&text, SQL_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_replica_open(&replica, arguments->positional[0], NULL, &error);
    const char *sql = arguments->positional_count == 2 ? arguments->positional[1] : NULL;
    if (status == SATCHEL_OK && !sql) {
        status = read_standard_input(&text, &error);
        sql = status == SATCHEL_OK ? satchel_buffer_text(&text) : NULL;
        if (status == SATCHEL_OK && !sql)
            status = satchel_error_set(&error, SATCHEL_NOMEM, "no memory for the SQL");
    }
    if (status == SATCHEL_OK) {
        sqlite3 *db = satchel_replica_db(replica);
        status = run_all(db, sql, arguments->json, &last, &has_last, &error);
        if (!sqlite3_get_autocommit(db))
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (status == SATCHEL_OK && arguments->json) {
        if (has_last)
            status = output_print(&last, OUTPUT_JSON);
        else
            puts("[]");
    }
    if (has_last)
        output_deinit(&last);
    satchel_buffer_deinit(&text);
    satchel_replica_close(replica);
    return status == SATCHEL_OK ? EXIT_DONE : command_fail(&error);
}
