/* The sums of the rows' terms (sql/include/satchel/digest.h) by table and set of readers
 * (docs/digests.md): brought up to date by the writer with every commit, so that what a user's rows
 * come to is known without reading them. */
#ifndef SATCHEL_SERVER_DIGEST_KEEP_H
#define SATCHEL_SERVER_DIGEST_KEEP_H

#include "db.h"
#include "store.h"

/* The set of all rows of a table whose scope is the same for every row. */
#define DIGEST_WHOLE_TABLE 0
/* satchel_digest.col of the sum of the rows' first terms, with which the rows are counted. */
#define DIGEST_ROWS (-1)

struct digest_keeper;

/* Makes the table satchel_digest if the store has none, and computes everything in it, in a
 * transaction of its own. `db` must outlive the keeper. SQL, NOMEM. */
enum satchel_status digest_keeper_open(struct digest_keeper **out, sqlite3 *db,
                                       const struct satchel_schema *schema,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
void digest_keeper_free(struct digest_keeper *keeper);
/* The schema (NULL: none) from now on. Tables that have other columns than before the transaction
 * are computed anew before it commits. NOMEM. */
enum satchel_status digest_take_schema(struct digest_keeper *keeper,
                                       const struct satchel_schema *schema,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- what the transaction does ---- */

/* A row as it was loaded, with its scope (0: none). What the transaction began with is what is
 * noted of a row first, by whatever call. NOMEM, LIMIT. */
enum satchel_status digest_note_loaded(struct digest_keeper *keeper,
                                       const struct satchel_store_row *row,
                                       uint64_t scope) SATCHEL_MUST_USE;
/* A row that is about to be written. SQL, NOMEM, LIMIT. */
enum satchel_status digest_note_written(struct digest_keeper *keeper,
                                        const struct satchel_store_row *row,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* A row whose scope becomes another, written or not. */
enum satchel_status digest_note_moved(struct digest_keeper *keeper, struct satchel_span name,
                                      uint64_t before, uint64_t after,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* Something of what was written has been taken back. */
void digest_note_back(struct digest_keeper *keeper);

/* Before the COMMIT, when all scopes are known. SQL, NOMEM. */
enum satchel_status digest_finish(struct digest_keeper *keeper,
                                  struct satchel_error *error) SATCHEL_MUST_USE;
/* After it; after a ROLLBACK. */
void digest_settle(struct digest_keeper *keeper);
void digest_forget(struct digest_keeper *keeper);

#endif
