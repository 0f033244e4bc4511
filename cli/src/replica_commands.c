/* status, history, conflicts, undo: what a replica tells of itself. */
#include "output.h"

#include <satchel/sqlite.h>

#include <stdio.h>

/* Runs one query with text parameters on the replica and prints it. */
static int query(const char *path, const char *sql, const char *const *parameters, int parameter_count,
                 enum output_style style, bool is_object)
{
    struct satchel_error error = {0};
    satchel_replica *replica = NULL;
    sqlite3_stmt *statement = NULL;
    struct output output = {0};
    enum satchel_status status = satchel_replica_open(&replica, path, NULL, &error);
    if (status == SATCHEL_OK) {
        sqlite3 *db = satchel_replica_db(replica);
        int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
        for (int i = 0; code == SQLITE_OK && i < parameter_count; i++)
            code = sqlite3_bind_text(statement, i + 1, parameters[i], -1, SQLITE_STATIC);
        if (code != SQLITE_OK)
            status = satchel_error_set(&error, SATCHEL_SQL, "%s", sqlite3_errmsg(db));
    }
    if (status == SATCHEL_OK)
        status = output_collect(&output, statement, &error);
    if (status == SATCHEL_OK) {
        status = is_object ? output_print_object(&output) : output_print(&output, style);
        if (status != SATCHEL_OK)
            satchel_error_set(&error, status, "the result cannot be written");
        output_deinit(&output);
    }
    sqlite3_finalize(statement);
    satchel_replica_close(replica);
    return status == SATCHEL_OK ? EXIT_DONE : command_fail(&error);
}

int run_status(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    return query(arguments->positional[0], "SELECT * FROM satchel_status", NULL, 0, OUTPUT_LINES,
                 arguments->json);
}

/* Text mode shows times as UTC and leaves the long ids out; JSON has every column. */
#define HISTORY_WHERE " FROM satchel_history WHERE tbl=?1 AND key=?2"
#define HISTORY_TEXT                                                                          \
    "SELECT strftime('%Y-%m-%d %H:%M:%S', at/1000, 'unixepoch') AS at_utc, user, field, old, new," \
    " outcome, winner, reason, id"

int run_history(const struct command *command, const struct arguments *arguments)
{
    if (arguments->workspace)
        return server_history(arguments);
    if (arguments->positional_count != 3)
        return command_usage(command, "an argument is missing");
    const char *parameters[3] = {arguments->positional[1], arguments->positional[2],
                                 arguments->field};
    const char *sql = arguments->json ? (arguments->field ? "SELECT *" HISTORY_WHERE " AND field=?3"
                                                          : "SELECT *" HISTORY_WHERE)
                      : arguments->field ? HISTORY_TEXT HISTORY_WHERE " AND field=?3"
                                         : HISTORY_TEXT HISTORY_WHERE;
    return query(arguments->positional[0], sql, parameters, arguments->field ? 3 : 2,
                 arguments->json ? OUTPUT_JSON : OUTPUT_ALIGNED, false);
}

#define CONFLICTS_MINE \
    " FROM satchel_conflicts WHERE (by_user=satchel_user() OR severity='review')"
#define CONFLICTS_TEXT                                                                             \
    "SELECT strftime('%Y-%m-%d %H:%M:%S', at/1000, 'unixepoch') AS at_utc, tbl, key, field, rule,"   \
    " severity, mine, theirs, kept, by_user,"                                                        \
    " CASE WHEN resolved IS NULL THEN 'open' ELSE 'resolved' END AS state, id"

int run_conflicts(const struct command *command, const struct arguments *arguments)
{
    if (arguments->workspace && arguments->positional_count == 0)
        return server_conflicts(arguments);
    if (arguments->positional_count != 1)
        return command_usage(command, "an argument is missing");
    bool only_open = (arguments->given & OPTION_OPEN) != 0;
    const char *sql = arguments->json ? (only_open ? "SELECT *" CONFLICTS_MINE " AND resolved IS NULL"
                                                   : "SELECT *" CONFLICTS_MINE)
                      : only_open ? CONFLICTS_TEXT CONFLICTS_MINE " AND resolved IS NULL"
                                  : CONFLICTS_TEXT CONFLICTS_MINE;
    return query(arguments->positional[0], sql, NULL, 0,
                 arguments->json ? OUTPUT_JSON : OUTPUT_ALIGNED, false);
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
