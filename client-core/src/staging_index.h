/* Filling the indexes of staging tables that were made without entries (satchel/staging_table.h):
 * all entries of one are sorted, in a temporary table, and written to its b-tree in order, in as
 * many transactions as it takes. An index that is kept up while its table is filled is written to
 * at random, each page of it over and over. */
#ifndef SATCHEL_STAGING_INDEX_H
#define SATCHEL_STAGING_INDEX_H

#include <satchel/status.h>
#include <stdbool.h>

struct sqlite3;
struct satchel_index_filling;

/* Whether this SQLite can: it lets a b-tree be written to under another table's name, as its own
 * RBU does, and keeps temporary tables in files, so that memory is bounded. */
bool satchel_indexes_may_wait(struct sqlite3 *db);

/* For all that are without entries; `*out` NULL: there is none. At its end the schema is
 * read anew. SQL, NOMEM. */
enum satchel_status satchel_index_filling_new(struct satchel_index_filling **out,
                                              struct sqlite3 *db,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_index_filling_free(struct satchel_index_filling *filling);

/* Goes on to the next one, and sorts its entries; `*is_over` true: there is none. Outside a
 * transaction: nobody waits for it. The tables must be whole. */
enum satchel_status satchel_index_filling_sort(struct satchel_index_filling *filling, bool *is_over,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
/* In a transaction. Writes its entries until `is_enough`; `*is_whole` true: there is none left.
 * What another connection has written of them is left as it is. AGAIN: the staging tables are no
 * more, or others. */
enum satchel_status satchel_index_filling_write(struct satchel_index_filling *filling,
                                                bool (*is_enough)(void *context), void *context,
                                                bool *is_whole,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
/* In a transaction, when all are whole: they are indexes like others from now on. AGAIN, as
 * above. */
enum satchel_status satchel_index_filling_settle(struct satchel_index_filling *filling,
                                                 struct satchel_error *error) SATCHEL_MUST_USE;

#endif
