/* Digests: equal tables have equal digests, whatever the order of their rows.
 *
 * row digest   = the first 16 bytes of BLAKE2b (64 bytes long, no key) over the row's values in
 *                column order, each as MessagePack
 * table digest = the sum of its rows' digests as 128-bit big-endian numbers, modulo 2^128
 *
 * A sum can be kept up to date by adding and subtracting single rows. */
#ifndef SATCHEL_DIGEST_H
#define SATCHEL_DIGEST_H

#include <satchel/schema.h>

void satchel_digest_add(struct satchel_id *sum, const struct satchel_id *row);
void satchel_digest_subtract(struct satchel_id *sum, const struct satchel_id *row);
enum satchel_status satchel_row_digest(const struct satchel_value *values, uint32_t column_count,
                                       struct satchel_id *out) SATCHEL_MUST_USE;
/* Which rows of a table count, and with which values. */
struct satchel_row_filter {
    void *context;
    /* values: table->column_count; it may put others in their place. */
    enum satchel_status (*holds)(void *context, const struct satchel_table *table,
                                 struct satchel_value *values, bool *holds,
                                 struct satchel_error *error);
};
/* Reads the whole table in the caller's transaction. `filter` NULL: every row counts. */
enum satchel_status satchel_table_digest_compute(struct sqlite3 *db,
                                                 const struct satchel_table *table,
                                                 const struct satchel_row_filter *filter,
                                                 struct satchel_table_digest *out,
                                                 struct satchel_error *error) SATCHEL_MUST_USE;

#endif
