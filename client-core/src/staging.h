/* Filling a replica beside its tables (docs/bootstrap.md): rows go into staging tables
 * (satchel/staging_table.h), of which nothing is seen before they exchange their contents with the
 * application's. */
#ifndef SATCHEL_STAGING_H
#define SATCHEL_STAGING_H

#include "apply.h"

struct satchel_staging;

/* For the schema that `apply`, which must outlive it, has now. `indexes_wait`: of tables that are
 * made from now on they are filled at the end (staging_index.h). NOMEM. */
enum satchel_status satchel_staging_new(struct satchel_staging **out, struct satchel_apply *apply,
                                        bool indexes_wait,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_staging_free(struct satchel_staging *staging);

/* Whether it is for the schema that its `apply` has now. */
bool satchel_staging_fits(const struct satchel_staging *staging);

/* All inside the open transaction. */

/* The rows of a page, in notes, from the one numbered `*row` on, until `is_over` says that it is
 * enough; then `*row` is the next. `*is_whole` true: there is none. `left`, cleared first: notes of
 * what of these does not go there: rows of tables that can have no staging table, rows that were
 * merged into another, and with the last the page's conflicts; empty if there is nothing of the
 * kind. AGAIN: a staging table is stale. */
enum satchel_status satchel_staging_take(struct satchel_staging *staging, struct satchel_span page,
                                         uint32_t *row, bool (*is_over)(void *context),
                                         void *context, bool *is_whole, struct satchel_buffer *left,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* The rows become the application's, under what was written there meanwhile; the staging tables are
 * to be dropped then. `*is_done` false: its tables are others now, and nothing has happened. */
enum satchel_status satchel_staging_exchange(struct satchel_staging *staging, bool *is_done,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

#endif
