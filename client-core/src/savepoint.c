/* Owns the transactions of what the library writes on the application's connection. */
#include "replica.h"

enum { OUTERMOST, NESTED };
static const char *const begin_sql[] = {"BEGIN", "SAVEPOINT satchel_savepoint"};
static const char *const back_sql[] = {"ROLLBACK", "ROLLBACK TO satchel_savepoint"};
static const char *const release_sql[] = {"COMMIT", "RELEASE satchel_savepoint"};

enum satchel_status satchel_savepoint_open(struct satchel_savepoint *savepoint, sqlite3 *db,
                                           struct satchel_error *error)
{
    /* An outermost savepoint that cannot be released is gone, but the transaction is not. */
    int kind = sqlite3_get_autocommit(db) ? OUTERMOST : NESTED;
    memset(savepoint, 0, sizeof *savepoint);
    savepoint->db = db;
    if (sqlite3_prepare_v2(db, back_sql[kind], -1, &savepoint->back, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, release_sql[kind], -1, &savepoint->release, NULL) == SQLITE_OK &&
        sqlite3_exec(db, begin_sql[kind], NULL, NULL, NULL) == SQLITE_OK)
        return SATCHEL_OK;
    enum satchel_status status = satchel_sql_error(error, db, "cannot begin");
    sqlite3_finalize(savepoint->back);
    sqlite3_finalize(savepoint->release);
    return status;
}

static bool step(sqlite3_stmt *statement)
{
    bool is_done = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    return is_done;
}

enum satchel_status satchel_savepoint_close(struct satchel_savepoint *savepoint,
                                            enum satchel_status status, struct satchel_error *error)
{
    if (status == SATCHEL_OK && !step(savepoint->release))
        status = satchel_sql_error(error, savepoint->db, "cannot commit");
    if (status != SATCHEL_OK && !sqlite3_get_autocommit(savepoint->db)) {
        step(savepoint->back);
        if (!sqlite3_get_autocommit(savepoint->db))
            step(savepoint->release);
    }
    sqlite3_finalize(savepoint->back);
    sqlite3_finalize(savepoint->release);
    return status;
}
