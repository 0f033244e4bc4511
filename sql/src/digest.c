/* Owns the digests of rows and tables. */
#include <satchel/digest.h>

#include <satchel/sql_error.h>
#include "sql_text.h"

#include <satchel/pack.h>
#include <satchel/row_io.h>
#include <satchel/sqlite.h>
#include <sodium.h>

/* The greatest value SQLite can be built to hold, with its MessagePack head. */
enum { VALUE_BYTES_MAX = 0x7fffffff };

void satchel_digest_add(struct satchel_id *sum, const struct satchel_id *row)
{
    unsigned carry = 0;
    for (size_t i = sizeof sum->bytes; i-- > 0;) {
        carry += (unsigned)sum->bytes[i] + row->bytes[i];
        sum->bytes[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

void satchel_digest_subtract(struct satchel_id *sum, const struct satchel_id *row)
{
    unsigned borrow = 0;
    for (size_t i = sizeof sum->bytes; i-- > 0;) {
        unsigned difference = 256u + sum->bytes[i] - row->bytes[i] - borrow;
        sum->bytes[i] = (uint8_t)difference;
        borrow = difference < 256u;
    }
}

/* `scratch` holds one value at a time; it keeps its memory between rows. */
static enum satchel_status row_digest(struct satchel_buffer *scratch,
                                      const struct satchel_value *values, uint32_t column_count,
                                      struct satchel_id *out)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, crypto_generichash_BYTES_MAX);
    for (uint32_t i = 0; i < column_count; i++) {
        struct satchel_pack pack;
        satchel_buffer_clear(scratch);
        satchel_pack_init(&pack, scratch);
        satchel_pack_value(&pack, &values[i]);
        if (pack.status != SATCHEL_OK)
            return pack.status;
        crypto_generichash_update(&state, scratch->data, scratch->size);
    }
    uint8_t hash[crypto_generichash_BYTES_MAX];
    crypto_generichash_final(&state, hash, sizeof hash);
    memcpy(out->bytes, hash, sizeof out->bytes);
    return SATCHEL_OK;
}

enum satchel_status satchel_row_digest(const struct satchel_value *values, uint32_t column_count,
                                       struct satchel_id *out)
{
    if (sodium_init() < 0)
        return SATCHEL_IO;
    struct satchel_buffer scratch;
    satchel_buffer_init(&scratch, VALUE_BYTES_MAX, NULL);
    enum satchel_status status = row_digest(&scratch, values, column_count, out);
    satchel_buffer_deinit(&scratch);
    return status;
}

static enum satchel_status add_row(sqlite3_stmt *rows, const struct satchel_table *table,
                                   const struct satchel_row_filter *filter,
                                   struct satchel_buffer *scratch, struct satchel_value *values,
                                   struct satchel_table_digest *sum, struct satchel_error *error)
{
    bool holds = true;
    for (uint32_t i = 0; i < table->column_count; i++) {
        values[i] = satchel_value_of_column(rows, (int)i);
        bool is_bytes = values[i].type == SATCHEL_TEXT || values[i].type == SATCHEL_BLOB;
        if (is_bytes && !values[i].bytes.data &&
            sqlite3_errcode(sqlite3_db_handle(rows)) == SQLITE_NOMEM)
            return SATCHEL_NOMEM;
    }
    struct satchel_id digest;
    enum satchel_status status =
        filter ? filter->holds(filter->context, table, values, &holds, error) : SATCHEL_OK;
    if (status != SATCHEL_OK || !holds)
        return status;
    status = row_digest(scratch, values, table->column_count, &digest);
    if (status == SATCHEL_OK) {
        satchel_digest_add(&sum->digest, &digest);
        sum->row_count++;
    }
    return status;
}

static enum satchel_status prepare(struct sqlite3 *db, const struct satchel_table *table,
                                   sqlite3_stmt **out, struct satchel_error *error)
{
    struct satchel_sql_text sql;
    satchel_sql_text_init(&sql);
    satchel_sql_text_add(&sql, "SELECT ");
    satchel_sql_text_columns(&sql, table);
    satchel_sql_text_add(&sql, " FROM ");
    satchel_sql_text_table(&sql, table);
    return satchel_sql_text_prepare(&sql, db, out, error);
}

enum satchel_status satchel_table_digest_compute(struct sqlite3 *db,
                                                 const struct satchel_table *table,
                                                 const struct satchel_row_filter *filter,
                                                 struct satchel_table_digest *out,
                                                 struct satchel_error *error)
{
    struct satchel_table_digest sum = {.table = table->number};
    struct satchel_buffer scratch;
    struct satchel_value *values = NULL;
    sqlite3_stmt *rows = NULL;
    satchel_buffer_init(&scratch, VALUE_BYTES_MAX, NULL);

    if (sodium_init() < 0)
        return satchel_error_set(error, SATCHEL_IO, "libsodium cannot start: no random source");
    enum satchel_status status = prepare(db, table, &rows, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    values = satchel_alloc(NULL, (table->column_count + 1) * sizeof *values);
    if (!values) {
        status =
            satchel_error_set(error, SATCHEL_NOMEM, "no memory for a row of table %s", table->name);
        goto cleanup;
    }
    int code;
    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        status = add_row(rows, table, filter, &scratch, values, &sum, error);
        if (status != SATCHEL_OK) {
            satchel_error_default(error, status, "cannot digest a row of table %s: %s", table->name,
                                  satchel_status_text(status));
            goto cleanup;
        }
    }
    if (code != SQLITE_DONE) {
        status = satchel_sql_error(error, db, "cannot read table %s", table->name);
        goto cleanup;
    }
    *out = sum;

cleanup:
    sqlite3_finalize(rows);
    satchel_free(NULL, values);
    satchel_buffer_deinit(&scratch);
    return status;
}
