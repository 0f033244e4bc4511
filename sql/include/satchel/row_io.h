/* Rows of synced tables in and out of SQLite: prepared once per table, values bit for bit. */
#ifndef SATCHEL_ROW_IO_H
#define SATCHEL_ROW_IO_H

#include <satchel/schema.h>

struct sqlite3_stmt;
struct sqlite3_value;
struct satchel_row_io;

/* For one connection and schema; both must outlive it. */
enum satchel_status satchel_row_io_new(struct satchel_row_io **out, struct sqlite3 *db,
                                       const struct satchel_schema *schema) SATCHEL_MUST_USE;
void satchel_row_io_free(struct satchel_row_io *io);

/* Values in and out of SQLite. A bound value's bytes are borrowed until the statement is bound anew
 * or its bindings are cleared, a column's or argument's until the next step. Out of memory, TEXT
 * has NULL data. */
int satchel_value_bind(struct sqlite3_stmt *statement, int index,
                       const struct satchel_value *value);
struct satchel_value satchel_value_of_column(struct sqlite3_stmt *statement, int index);
struct satchel_value satchel_value_of_argument(struct sqlite3_value *argument);
/* The bytes of a column that is text or a blob; none if it is NULL, or out of memory. */
struct satchel_span satchel_column_span(struct sqlite3_stmt *statement, int index);
/* False, and `*out` zero, if the column is no id. */
bool satchel_column_id(struct sqlite3_stmt *statement, int index, struct satchel_id *out);

/* `*exists` and, if so, all columns in `values` (table->column_count), bytes copied into `arena`.
 */
enum satchel_status satchel_row_read(struct satchel_row_io *io, const struct satchel_table *table,
                                     const struct satchel_value *key, struct satchel_arena *arena,
                                     bool *exists, struct satchel_value *values,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* Inserts a whole row (all columns). SQL (native code SQLITE_CONSTRAINT…) if SQLite refuses it,
 * also where the table says ON CONFLICT REPLACE: no other row is ever removed. BUSY, NOMEM. */
enum satchel_status satchel_row_insert(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_value *values,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Sets the given fields of an existing row; without the row nothing happens. Statements are cached
 * per set of columns, bounded. SQL as above. */
enum satchel_status satchel_row_update(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_value *key,
                                       const struct satchel_field *fields, uint32_t field_count,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Deletes the row if it exists. */
enum satchel_status satchel_row_delete(struct satchel_row_io *io, const struct satchel_table *table,
                                       const struct satchel_value *key,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* One byte string per (table, key), for hash maps and for `key` columns of internal tables: the
 * table's number, then the key as a MessagePack array. Appended to `out`. */
enum satchel_status satchel_row_name(struct satchel_buffer *out, uint32_t table,
                                     const struct satchel_value *key,
                                     uint32_t key_count) SATCHEL_MUST_USE;
/* Back again; the key's array is in `arena`, its bytes borrowed from `name`. CORRUPT, NOMEM. */
enum satchel_status satchel_row_name_read(struct satchel_span name, struct satchel_arena *arena,
                                          uint32_t *table, const struct satchel_value **key,
                                          uint32_t *key_count) SATCHEL_MUST_USE;
/* The same of a row of `table`. CORRUPT: it names no such row. */
enum satchel_status satchel_row_name_key(struct satchel_span name,
                                         const struct satchel_table *table,
                                         struct satchel_arena *arena,
                                         const struct satchel_value **key) SATCHEL_MUST_USE;
/* The key as the interfaces show it (docs/interface.md: the value as text; several columns as a
 * JSON array). */
enum satchel_status satchel_key_text(struct satchel_buffer *out, const struct satchel_value *key,
                                     uint32_t key_count) SATCHEL_MUST_USE;

#endif
