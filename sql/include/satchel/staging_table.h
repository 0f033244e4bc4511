/* Staging tables: beside a table of the application one of the same shape, with the same indexes,
 * that no trigger watches. It is filled in as many transactions as it takes; then the two exchange
 * their contents in one, in a time that does not grow with them: what is exchanged is the numbers
 * of their root pages in sqlite_schema. */
#ifndef SATCHEL_STAGING_TABLE_H
#define SATCHEL_STAGING_TABLE_H

#include <satchel/status.h>
#include <stdbool.h>

struct sqlite3;

/* In front of the name of the table; names that begin with satchel_ are Satchel's. */
#define SATCHEL_STAGING_PREFIX "satchel_new_"
/* The end of an index's text that is to be filled later, and stays empty until then. */
#define SATCHEL_STAGING_UNFILLED "\n WHERE 0"

/* All in the caller's transaction, which is to be rolled back after a failure: SQL, BUSY, NOMEM. */

enum satchel_staging_state {
    /* It can have none: it has triggers of the application, which would not fire; it numbers its
     * rows with AUTOINCREMENT; or its text, or an index's, makes no other table. */
    SATCHEL_STAGING_NONE,
    SATCHEL_STAGING_READY,
    SATCHEL_STAGING_STALE /* one is there; the table has other columns, indexes or triggers now */
};
/* Makes the staging table of `table`, unless it is there. What the table's foreign keys point at,
 * its staging table's point at the staging table of. `indexes_wait`: those of which no row depends
 * have no entries, and the whole is not alike, until _indexes_settle. */
enum satchel_status satchel_staging_table_make(struct sqlite3 *db, const char *table,
                                               bool indexes_wait, enum satchel_staging_state *state,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
/* Indexes that waited have their entries now, and are kept up from here on. No statement of `db`
 * may be under way. */
enum satchel_status satchel_staging_indexes_settle(struct sqlite3 *db,
                                                   struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether `table` has one. */
enum satchel_status satchel_staging_table_find(struct sqlite3 *db, const char *table,
                                               bool *is_there,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
/* Each exchanges its contents with its table's. `*is_done` false: one is stale, or has indexes
 * without entries, and nothing has happened. No statement of `db` may be under way. */
enum satchel_status satchel_staging_tables_exchange(struct sqlite3 *db, bool *is_done,
                                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* What was in them is not written over: traces stay in free pages. No statement of `db` may be
 * under way. */
enum satchel_status satchel_staging_tables_drop(struct sqlite3 *db,
                                                struct satchel_error *error) SATCHEL_MUST_USE;

#endif
