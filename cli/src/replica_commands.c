/* status, history, conflicts, resolve, undo: what a replica tells of itself, and what is made good
 * there. */
#include "output.h"

#include <satchel/sqlite.h>

#include <stdio.h>

const char *const history_shown[] = {"at",      "user",   "field",  "old", "new",
                                     "outcome", "winner", "reason", "id",  NULL};
const char *const conflicts_shown[] = {"at",       "tbl",  "key",    "field", "rule",
                                       "severity", "mine", "theirs", "kept",  "by_user",
                                       "resolved", "id",   NULL};

static const struct output_words status_words[] = {
    {"to_give_back", "change set that the server has lost; the next sync gives it back",
     "change sets that the server has lost; the next sync gives them back"},
    {"in_doubt", "row to compare with what a restored server has; the next sync does",
     "rows to compare with what a restored server has; the next sync does"},
    {"pages_to_come", "page of the first rows, or more; the next sync brings them",
     "pages of the first rows; the next sync brings them"},
    {"entries_to_come", "entry of the log from before the first rows; the next sync brings it",
     "entries of the log from before the first rows, at most; the next sync brings them"},
    {NULL, NULL, NULL}};

struct question {
    const char *sql;
    const char *parameters[3];
    int parameter_count;
    enum output_style style;
    bool is_object;                   /* JSON of the only row */
    const char *const *shown;         /* of OUTPUT_ALIGNED */
    const struct output_words *words; /* of OUTPUT_LINES */
};

static enum satchel_status print_answer(sqlite3 *db, const struct question *question,
                                        struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    struct output output = {0};
    enum satchel_status status = SATCHEL_OK;
    int code = sqlite3_prepare_v2(db, question->sql, -1, &statement, NULL);
    for (int i = 0; code == SQLITE_OK && i < question->parameter_count; i++)
        code = sqlite3_bind_text(statement, i + 1, question->parameters[i], -1, SQLITE_STATIC);
    if (code != SQLITE_OK)
        status = satchel_error_set(error, SATCHEL_SQL, "%s", sqlite3_errmsg(db));
    if (status == SATCHEL_OK)
        status = output_collect(&output, statement, error);
    if (status == SATCHEL_OK) {
        output.shown = question->shown;
        output.words = question->words;
        status = question->is_object ? output_print_object(&output)
                                     : output_print(&output, question->style);
        if (status != SATCHEL_OK)
            satchel_error_set(error, status, "the result cannot be written");
        output_deinit(&output);
    }
    sqlite3_finalize(statement);
    return status;
}

static int ask_replica(const char *path, const struct question *question)
{
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    enum satchel_status status = satchel_replica_open(&replica, path, NULL, &error);
    if (status == SATCHEL_OK)
        status = print_answer(satchel_replica_db(replica), question, &error);
    satchel_replica_close(replica);
    return status == SATCHEL_OK ? EXIT_DONE : command_fail(&error);
}

int run_status(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return ask_replica(arguments->positional[0],
                       &(struct question){.sql = "SELECT * FROM satchel_status",
                                          .style = OUTPUT_LINES,
                                          .is_object = arguments->json,
                                          .words = status_words});
}

/* Whether the table is synced and has the field (NULL: any), as SQL compares names. `table` then
 * holds the name as the schema spells it. */
static enum satchel_status find_table(sqlite3 *db, const char *name, const char *field,
                                      char table[512], struct satchel_error *error)
{
    static const char sql[] =
        "SELECT tbl_name, ?2 IS NULL OR EXISTS(SELECT 1 FROM pragma_table_info(tbl_name)"
        " WHERE name=?2 COLLATE NOCASE) FROM sqlite_schema"
        " WHERE type='trigger' AND name='satchel_insert_'||?1 COLLATE NOCASE";
    sqlite3_stmt *statement = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(statement, 2, field, -1, SQLITE_STATIC) != SQLITE_OK)
        status = satchel_error_set(error, SATCHEL_SQL, "%s", sqlite3_errmsg(db));
    else if (sqlite3_step(statement) != SQLITE_ROW)
        status = satchel_error_set(error, SATCHEL_NOT_FOUND, "there is no synced table '%s'", name);
    else if (!sqlite3_column_int(statement, 1))
        status =
            satchel_error_set(error, SATCHEL_NOT_FOUND, "table %s has no column '%s'", name, field);
    else
        snprintf(table, 512, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return status;
}

int run_history(const struct command *command, const struct arguments *arguments)
{
    if (arguments->workspace)
        return arguments->positional_count == 2
                   ? server_history(arguments)
                   : command_usage(command, "TABLE and KEY are needed");
    if (arguments->positional_count != 3)
        return command_usage(command, "REPLICA, TABLE and KEY are needed");
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    char table[512];
    struct question question = {.sql = "SELECT * FROM satchel_history WHERE tbl=?1 AND key=?2 AND"
                                       " (?3 IS NULL OR field=?3 COLLATE NOCASE)",
                                .parameters = {table, arguments->positional[2], arguments->field},
                                .parameter_count = 3,
                                .style = arguments->json ? OUTPUT_JSON : OUTPUT_ALIGNED,
                                .shown = history_shown};
    enum satchel_status status =
        satchel_replica_open(&replica, arguments->positional[0], NULL, &error);
    if (status == SATCHEL_OK)
        status = find_table(satchel_replica_db(replica), arguments->positional[1], arguments->field,
                            table, &error);
    if (status == SATCHEL_OK)
        status = print_answer(satchel_replica_db(replica), &question, &error);
    satchel_replica_close(replica);
    return status == SATCHEL_OK ? EXIT_DONE : command_fail(&error);
}

#define CONFLICTS_MINE                                                                         \
    "SELECT * FROM satchel_conflicts WHERE (by_user=satchel_user() OR (severity='review' AND " \
    "resolved"                                                                                 \
    " IS NULL))"

int run_conflicts(const struct command *command, const struct arguments *arguments)
{
    if (arguments->workspace && arguments->positional_count == 0)
        return server_conflicts(arguments);
    if (arguments->positional_count != 1 || arguments->workspace)
        return command_usage(command, "either REPLICA or --workspace is needed");
    return ask_replica(arguments->positional[0],
                       &(struct question){.sql = arguments->given & OPTION_OPEN ? CONFLICTS_MINE
                                                     " AND resolved IS NULL ORDER BY at, id"
                                                                                : CONFLICTS_MINE
                                                     " ORDER BY at, id",
                                          .style = arguments->json ? OUTPUT_JSON : OUTPUT_ALIGNED,
                                          .shown = conflicts_shown});
}

int run_resolve(const struct command *command, const struct arguments *arguments)
{
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    if (!arguments->take)
        return command_usage(command, "--take winner|loser|VALUE is missing");
    if (arguments->workspace && arguments->positional_count == 1)
        return server_resolve(arguments);
    if (arguments->workspace || arguments->positional_count != 2)
        return command_usage(command, "either REPLICA and ID, or ID and --workspace are needed");
    enum satchel_status status =
        satchel_replica_open(&replica, arguments->positional[0], NULL, &error);
    if (status == SATCHEL_OK)
        status = satchel_resolve(replica, arguments->positional[1], arguments->take, &error);
    satchel_replica_close(replica);
    if (status != SATCHEL_OK)
        return command_fail(&error);
    puts("resolved here; sync to share it");
    return EXIT_DONE;
}

int run_undo(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    enum satchel_status status =
        satchel_replica_open(&replica, arguments->positional[0], NULL, &error);
    if (status == SATCHEL_OK)
        status = satchel_undo(replica, arguments->positional[1], &error);
    satchel_replica_close(replica);
    if (status != SATCHEL_OK)
        return command_fail(&error);
    puts("undone: the old value is written as a new change; sync to share it");
    return EXIT_DONE;
}
