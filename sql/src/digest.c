/* Owns the digests of rows and tables, and the walk over the rows of a table. */
#include <satchel/digest.h>

#include <satchel/sql_error.h>
#include "sql_text.h"

#include <satchel/pack.h>
#include <satchel/row_io.h>
#include <satchel/sqlite.h>
#include <sodium.h>

/* The greatest row SQLite can be built to hold. */
enum { ROW_BYTES_MAX = 0x7fffffff };

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

enum satchel_status satchel_digester_init(struct satchel_digester *digester)
{
    satchel_buffer_init(&digester->scratch, ROW_BYTES_MAX, NULL);
    return sodium_init() < 0 ? SATCHEL_IO : SATCHEL_OK;
}

void satchel_digester_deinit(struct satchel_digester *digester)
{
    satchel_buffer_deinit(&digester->scratch);
}

/* ---- terms ---- */

static bool is_masked(const struct satchel_column *column)
{
    return column->mask != NULL;
}

uint32_t satchel_digest_term_count(const struct satchel_table *table)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < table->column_count; i++)
        count += is_masked(&table->columns[i]);
    return count;
}

uint32_t satchel_digest_term_column(const struct satchel_table *table, uint32_t term)
{
    uint32_t column = 0;
    for (; column < table->column_count; column++)
        if (is_masked(&table->columns[column]) && --term == 0)
            break;
    return column;
}

bool satchel_digest_sees_term(const struct satchel_table *table, uint32_t term,
                              struct satchel_span role)
{
    return term == 0 ||
           satchel_column_is_seen(table, satchel_digest_term_column(table, term), role);
}

static void finish(struct satchel_digester *digester, struct satchel_id *out)
{
    uint8_t hash[crypto_generichash_BYTES_MAX];
    crypto_generichash(hash, sizeof hash, digester->scratch.data, digester->scratch.size, NULL, 0);
    memcpy(out->bytes, hash, sizeof out->bytes);
}

static enum satchel_status column_term(struct satchel_digester *digester,
                                       const struct satchel_table *table, uint32_t column,
                                       const struct satchel_value *values, struct satchel_id *out)
{
    struct satchel_pack pack;
    satchel_buffer_clear(&digester->scratch);
    satchel_pack_init(&pack, &digester->scratch);
    satchel_pack_unsigned(&pack, column);
    for (uint32_t i = 0; i < table->key_count; i++)
        satchel_pack_value(&pack, &values[table->key_columns[i]]);
    satchel_pack_value(&pack, &values[column]);
    finish(digester, out);
    return pack.status;
}

enum satchel_status satchel_row_terms(struct satchel_digester *digester,
                                      const struct satchel_table *table,
                                      const struct satchel_value *values, struct satchel_id *terms)
{
    struct satchel_pack pack;
    enum satchel_status status = SATCHEL_OK;
    uint32_t term = 1;
    satchel_buffer_clear(&digester->scratch);
    satchel_pack_init(&pack, &digester->scratch);
    for (uint32_t i = 0; i < table->column_count; i++)
        if (!is_masked(&table->columns[i]))
            satchel_pack_value(&pack, &values[i]);
    finish(digester, &terms[0]);
    for (uint32_t i = 0; i < table->column_count && status == SATCHEL_OK; i++)
        if (is_masked(&table->columns[i]))
            status = column_term(digester, table, i, values, &terms[term++]);
    return pack.status == SATCHEL_OK ? status : pack.status;
}

enum satchel_status satchel_row_digest(struct satchel_digester *digester,
                                       const struct satchel_table *table,
                                       const struct satchel_value *values, struct satchel_span role,
                                       struct satchel_id *out)
{
    struct satchel_id terms[SATCHEL_COLUMNS_MAX];
    uint32_t count = satchel_digest_term_count(table);
    enum satchel_status status = satchel_row_terms(digester, table, values, terms);
    *out = terms[0];
    for (uint32_t i = 1; i < count && status == SATCHEL_OK; i++)
        if (satchel_digest_sees_term(table, i, role))
            satchel_digest_add(out, &terms[i]);
    return status;
}

/* ---- the rows of a table ---- */

static void add_keys(struct satchel_sql_text *sql, const struct satchel_table *table)
{
    for (uint32_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            satchel_sql_text_add(sql, ",");
        satchel_sql_text_name(sql, table->columns[table->key_columns[i]].name);
    }
}

/* (k1, k2) > (?N, ?N+1): of an index over the key SQLite reads just that part. */
static void add_bound(struct satchel_sql_text *sql, const struct satchel_table *table,
                      const char *operator, uint32_t first_parameter)
{
    satchel_sql_text_add(sql, "(");
    add_keys(sql, table);
    satchel_sql_text_add(sql, operator);
    for (uint32_t i = 0; i < table->key_count; i++) {
        if (i > 0)
            satchel_sql_text_add(sql, ",");
        satchel_sql_text_parameter(sql, first_parameter + i);
    }
    satchel_sql_text_add(sql, ")");
}

static void add_order(struct satchel_sql_text *sql, const struct satchel_table *table,
                      const struct satchel_walk_bounds *bounds)
{
    const char *before = " WHERE ";
    if (bounds->after) {
        satchel_sql_text_add(sql, before);
        add_bound(sql, table, ")>(", 1);
        before = " AND ";
    }
    if (bounds->until) {
        satchel_sql_text_add(sql, before);
        add_bound(sql, table, ")<=(", table->key_count + 1);
        before = " AND ";
    }
    for (uint32_t i = 0; i < table->key_count; i++) {
        satchel_sql_text_add(sql, before);
        satchel_sql_text_name(sql, table->columns[table->key_columns[i]].name);
        satchel_sql_text_add(sql, " NOTNULL");
        before = " AND ";
    }
    satchel_sql_text_add(sql, " ORDER BY ");
    add_keys(sql, table);
}

static enum satchel_status bind_key(struct satchel_row_walk *walk, int first_index,
                                    const struct satchel_value *key, struct sqlite3 *db,
                                    struct satchel_error *error)
{
    int code = SQLITE_OK;
    for (uint32_t i = 0; key && i < walk->table->key_count && code == SQLITE_OK; i++)
        code = satchel_value_bind(walk->statement, first_index + (int)i, &key[i]);
    return code == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, db, "cannot read table %s", walk->table->name);
}

enum satchel_status satchel_row_walk_begin(struct satchel_row_walk *walk, struct sqlite3 *db,
                                           const struct satchel_table *table,
                                           const struct satchel_walk_bounds *bounds,
                                           struct satchel_error *error)
{
    struct satchel_sql_text sql;
    *walk = (struct satchel_row_walk){.table = table};
    satchel_sql_text_init(&sql);
    satchel_sql_text_add(&sql, "SELECT ");
    satchel_sql_text_columns(&sql, table);
    satchel_sql_text_add(&sql, " FROM ");
    satchel_sql_text_table(&sql, table);
    if (bounds && (bounds->in_order || bounds->after || bounds->until))
        add_order(&sql, table, bounds);
    enum satchel_status status = satchel_sql_text_prepare(&sql, db, &walk->statement, error);
    if (status == SATCHEL_OK && bounds)
        status = bind_key(walk, 1, bounds->after, db, error);
    if (status == SATCHEL_OK && bounds)
        status = bind_key(walk, (int)table->key_count + 1, bounds->until, db, error);
    if (status != SATCHEL_OK)
        return status;
    walk->values = satchel_alloc(NULL, (table->column_count + 1) * sizeof *walk->values);
    return walk->values ? SATCHEL_OK
                        : satchel_error_set(error, SATCHEL_NOMEM, "no memory for a row of table %s",
                                            table->name);
}

enum satchel_status satchel_row_walk_next(struct satchel_row_walk *walk, bool *found,
                                          struct satchel_error *error)
{
    struct sqlite3 *db = sqlite3_db_handle(walk->statement);
    int code = sqlite3_step(walk->statement);
    *found = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return satchel_sql_error(error, db, "cannot read table %s", walk->table->name);
    for (uint32_t i = 0; *found && i < walk->table->column_count; i++) {
        struct satchel_value value = satchel_value_of_column(walk->statement, (int)i);
        bool is_bytes = value.type == SATCHEL_TEXT || value.type == SATCHEL_BLOB;
        if (is_bytes && !value.bytes.data && sqlite3_errcode(db) == SQLITE_NOMEM)
            return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a row of table %s",
                                     walk->table->name);
        walk->values[i] = value;
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_row_walk_name(const struct satchel_row_walk *walk,
                                          struct satchel_buffer *out)
{
    const struct satchel_table *table = walk->table;
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = walk->values[table->key_columns[i]];
    return satchel_row_name(out, table->number, key, table->key_count);
}

void satchel_row_walk_end(struct satchel_row_walk *walk)
{
    sqlite3_finalize(walk->statement);
    satchel_free(NULL, walk->values);
    *walk = (struct satchel_row_walk){NULL, NULL, NULL};
}

/* ---- a whole table ---- */

enum satchel_status satchel_table_digest_compute(struct sqlite3 *db,
                                                 const struct satchel_table *table,
                                                 struct satchel_span role,
                                                 struct satchel_table_digest *out,
                                                 struct satchel_error *error)
{
    struct satchel_table_digest sum = {.table = table->number};
    struct satchel_digester digester;
    struct satchel_row_walk walk = {0};
    bool found = true;
    enum satchel_status status = satchel_digester_init(&digester);
    if (status == SATCHEL_OK)
        status = satchel_row_walk_begin(&walk, db, table, NULL, error);
    while (status == SATCHEL_OK &&
           (status = satchel_row_walk_next(&walk, &found, error)) == SATCHEL_OK && found) {
        struct satchel_id digest;
        status = satchel_row_digest(&digester, table, walk.values, role, &digest);
        satchel_digest_add(&sum.digest, &digest);
        sum.row_count++;
    }
    satchel_row_walk_end(&walk);
    satchel_digester_deinit(&digester);
    *out = sum;
    return status == SATCHEL_OK
               ? SATCHEL_OK
               : satchel_error_default(error, status, "cannot digest a row of table %s: %s",
                                       table->name, satchel_status_text(status));
}
