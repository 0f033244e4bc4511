/* Digests: equal tables have equal digests, whatever the order of their rows (docs/digests.md).
 *
 * row term     = the first 16 bytes of BLAKE2b (64 bytes long, no key) over the row's values in
 *                column order without those of masked columns, each as MessagePack
 * column term  = of a masked column: the same over its number, the row's key and its value
 * row digest   = the sum of the row's terms, of masked columns those that its reader may see
 * table digest = the sum of its rows' digests
 *
 * Sums are of 128-bit big-endian numbers, modulo 2^128: kept up to date by adding and subtracting
 * single rows. */
#ifndef SATCHEL_DIGEST_H
#define SATCHEL_DIGEST_H

#include <satchel/schema.h>

void satchel_digest_add(struct satchel_id *sum, const struct satchel_id *row);
void satchel_digest_subtract(struct satchel_id *sum, const struct satchel_id *row);

/* Keeps its memory from row to row. */
struct satchel_digester {
    struct satchel_buffer scratch; /* the values of a row */
};
/* IO: there is no source of random bytes, without which libsodium does not start. */
enum satchel_status satchel_digester_init(struct satchel_digester *digester) SATCHEL_MUST_USE;
void satchel_digester_deinit(struct satchel_digester *digester);

/* How many terms a row of the table has: one, and one for each masked column. */
uint32_t satchel_digest_term_count(const struct satchel_table *table);
/* The column of a term but the first. */
uint32_t satchel_digest_term_column(const struct satchel_table *table, uint32_t term);
/* Whether somebody with that role sees the term. */
bool satchel_digest_sees_term(const struct satchel_table *table, uint32_t term,
                              struct satchel_span role);
/* `values`: table->column_count; `terms`: as many as the row has. NOMEM, LIMIT. */
enum satchel_status satchel_row_terms(struct satchel_digester *digester,
                                      const struct satchel_table *table,
                                      const struct satchel_value *values,
                                      struct satchel_id *terms) SATCHEL_MUST_USE;
/* The row's digest for somebody with that role. */
enum satchel_status satchel_row_digest(struct satchel_digester *digester,
                                       const struct satchel_table *table,
                                       const struct satchel_value *values, struct satchel_span role,
                                       struct satchel_id *out) SATCHEL_MUST_USE;

/* The rows of a table one after the other, in the caller's transaction. */
struct satchel_row_walk {
    const struct satchel_table *table;
    struct sqlite3_stmt *statement;
    struct satchel_value *values; /* of the present row, until the next step */
};
/* Rows in the order of their keys, those behind the key `after` (NULL: from the first) up to and
 * with the key `until` (NULL: to the last). With either bound or `in_order` none whose key holds a
 * NULL is among them. satchel_row_walk_end in any case. */
struct satchel_walk_bounds {
    const struct satchel_value *after, *until;
    bool in_order;
};
enum satchel_status satchel_row_walk_begin(struct satchel_row_walk *walk, struct sqlite3 *db,
                                           const struct satchel_table *table,
                                           const struct satchel_walk_bounds *bounds,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_row_walk_next(struct satchel_row_walk *walk, bool *found,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* Appends the name of the present row. */
enum satchel_status satchel_row_walk_name(const struct satchel_row_walk *walk,
                                          struct satchel_buffer *out) SATCHEL_MUST_USE;
void satchel_row_walk_end(struct satchel_row_walk *walk);

/* Reads the whole table in the caller's transaction, for somebody with that role. */
enum satchel_status satchel_table_digest_compute(struct sqlite3 *db,
                                                 const struct satchel_table *table,
                                                 struct satchel_span role,
                                                 struct satchel_table_digest *out,
                                                 struct satchel_error *error) SATCHEL_MUST_USE;

#endif
