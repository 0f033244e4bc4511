/* The SQLite store: one file, one writing connection, the only one that ever checkpoints it. */
#ifndef SATCHEL_STORE_SQLITE_H
#define SATCHEL_STORE_SQLITE_H

#include "db.h"
#include "store.h"

#include <satchel/functions.h>

/* Opens the central store at `path` for writing. MISMATCH if the file is none, CORRUPT, VERSION,
 * IO, SQL. Its schema is loaded from satchel_migration and belongs to the store. */
enum satchel_status satchel_store_sqlite_open(struct satchel_store **out, const char *path,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Makes an empty central store without migrations at `path`, which must not exist, and opens it. */
enum satchel_status satchel_store_sqlite_create(struct satchel_store **out, const char *path,
                                                struct satchel_span name, int64_t now_ms,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

/* The writing connection, for what is not the merge: enrolment, migrations. */
sqlite3 *satchel_store_sqlite_db(struct satchel_store *store);
/* Lets go of statements over the old schema and uses `schema` (taken; NULL for none) from now on.
 */
enum satchel_status satchel_store_sqlite_take_schema(struct satchel_store *store,
                                                     struct satchel_schema *schema,
                                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* The statements on rows of the present schema. NULL before there is one. */
struct satchel_row_io *satchel_store_sqlite_rows(struct satchel_store *store);

/* Users or their grants were written in the server's own tables. */
void satchel_store_sqlite_note_users(struct satchel_store *store);

/* Opens a reading connection of the store at `path`: it can neither write nor checkpoint.
 * `identity` must outlive it. */
enum satchel_status satchel_store_sqlite_reader(sqlite3 **out, const char *path,
                                                const struct satchel_identity *identity,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

#endif
