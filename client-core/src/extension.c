/* The loadable extension satchel_sqlite: its entry points, and the table of SQLite's routines
 * through which this build of the library calls its host. Loading it on a replica attaches Satchel
 * to the connection; on any other database it only adds the SQL functions. */
#include "replica.h"

SQLITE_EXTENSION_INIT1

/* What Satchel calls and asks of SQLite is there since 3.38: sqlite3_error_offset(), which an older
 * host's table of routines ends before, PRAGMA table_list and sqlite_schema. */
enum { SQLITE_VERSION_MIN = 3038000 };

#define EXPORTED __attribute__((visibility("default")))

/* SQLite calls the entry point named after the file, or the general one. */
EXPORTED int sqlite3_satchelsqlite_init(sqlite3 *db, char **message,
                                        const sqlite3_api_routines *api);
EXPORTED int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *api);

int sqlite3_satchelsqlite_init(sqlite3 *db, char **message, const sqlite3_api_routines *api)
{
    struct satchel_error error = {0};
    SQLITE_EXTENSION_INIT2(api)
    if (sqlite3_libversion_number() < SQLITE_VERSION_MIN) {
        *message = sqlite3_mprintf("satchel: this program has SQLite %s; 3.38 or newer is needed",
                                   sqlite3_libversion());
        return SQLITE_ERROR;
    }
    enum satchel_status status = satchel_replica_attach(NULL, db, NULL, &error);
    if (status == SATCHEL_OK || status == SATCHEL_EXISTS) /* loaded again: once is enough */
        return SQLITE_OK;
    *message = sqlite3_mprintf("satchel: %s",
                               error.message[0] ? error.message : satchel_status_text(status));
    return SQLITE_ERROR;
}

int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *api)
{
    return sqlite3_satchelsqlite_init(db, message, api);
}
