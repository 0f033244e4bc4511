/* Owns the upkeep of the kept sums: of each row that a transaction touches, what it was before and
 * what it is at the commit. Who may see which sums is read_digests.c's. */
#include "digest_keep.h"

#include <satchel/digest.h>
#include <satchel/map.h>
#include <satchel/mutation.h>

#define SQL_FIND_TABLE "SELECT 1 FROM sqlite_schema WHERE type='table' AND name='satchel_digest'"
#define SQL_TABLE                                                               \
    "CREATE TABLE satchel_digest(scope INTEGER NOT NULL, tbl INTEGER NOT NULL," \
    " col INTEGER NOT NULL, row_count INTEGER NOT NULL, sum BLOB NOT NULL,"     \
    " PRIMARY KEY(scope, tbl, col)) WITHOUT ROWID"
#define SQL_SCOPE "SELECT scope FROM satchel_row WHERE name=?1"
#define SQL_READ "SELECT row_count, sum FROM satchel_digest WHERE scope=?1 AND tbl=?2 AND col=?3"
#define SQL_WRITE                                                                    \
    "INSERT INTO satchel_digest(scope,tbl,col,row_count,sum) VALUES(?1,?2,?3,?4,?5)" \
    " ON CONFLICT DO UPDATE SET row_count=excluded.row_count, sum=excluded.sum"
#define SQL_DROP "DELETE FROM satchel_digest WHERE scope=?1 AND tbl=?2 AND col=?3"
#define SQL_DROP_TABLE "DELETE FROM satchel_digest WHERE tbl=?1"
#define ROWS_MAX ((size_t)1 << 30)
#define NAME_BYTES_MAX ((size_t)1 << 30)

enum statement { SCOPE, READ, WRITE, DROP, DROP_TABLE, STATEMENT_COUNT };

static const char *const statement_sql[STATEMENT_COUNT] = {[SCOPE] = SQL_SCOPE,
                                                           [READ] = SQL_READ,
                                                           [WRITE] = SQL_WRITE,
                                                           [DROP] = SQL_DROP,
                                                           [DROP_TABLE] = SQL_DROP_TABLE};

/* A row at one moment. */
struct look {
    bool exists;
    uint64_t scope;
    struct satchel_id *terms; /* if it exists */
};

/* A row that the transaction touches. */
struct note {
    struct note *next;
    const struct satchel_table *table;
    struct satchel_span name;
    struct look before, after;
    bool is_changed;   /* written, or moved; else `after` is not filled in */
    bool is_uncertain; /* what was written of it may have been taken back */
};

/* What a sum becomes more by. */
struct sum {
    struct sum *next;
    int64_t scope, col;
    uint32_t table;
    int64_t row_count;
    struct satchel_id digest;
};

struct digest_keeper {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    const struct satchel_schema *schema;
    struct satchel_row_io *rows;
    struct satchel_digester digester;
    /* By table: what its rows' terms are made of, as of the last commit and now. */
    uint64_t *kept_shapes, *shapes;
    uint32_t kept_count;
    bool *is_due; /* tables that are computed anew before the transaction commits */

    /* of the transaction */
    struct satchel_arena arena;
    struct satchel_map notes; /* name -> struct note */
    struct note *first;
    struct satchel_map sums; /* scope, table and column -> struct sum */
    struct sum *first_sum;
    struct satchel_buffer name;
};

/* ---- life ---- */

static void begin_transaction(struct digest_keeper *keeper)
{
    satchel_map_init(&keeper->notes, ROWS_MAX, NULL);
    satchel_map_init(&keeper->sums, ROWS_MAX, NULL);
    keeper->first = NULL;
    keeper->first_sum = NULL;
}

static void drop_notes(struct digest_keeper *keeper)
{
    if (!keeper->first && !keeper->first_sum)
        return;
    satchel_map_deinit(&keeper->notes);
    satchel_map_deinit(&keeper->sums);
    satchel_arena_reset(&keeper->arena);
    begin_transaction(keeper);
}

void digest_forget(struct digest_keeper *keeper)
{
    if (!keeper)
        return;
    drop_notes(keeper);
    if (keeper->schema)
        memset(keeper->is_due, 0, keeper->schema->table_count * sizeof *keeper->is_due);
}

void digest_keeper_free(struct digest_keeper *keeper)
{
    if (!keeper)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(keeper->statements[i]);
    satchel_row_io_free(keeper->rows);
    satchel_digester_deinit(&keeper->digester);
    satchel_map_deinit(&keeper->notes);
    satchel_map_deinit(&keeper->sums);
    satchel_arena_deinit(&keeper->arena);
    satchel_buffer_deinit(&keeper->name);
    satchel_free(NULL, keeper->kept_shapes);
    satchel_free(NULL, keeper->shapes);
    satchel_free(NULL, keeper->is_due);
    satchel_free(NULL, keeper);
}

/* ---- the schema ---- */

/* A column more, or another one masked, and all terms are others. */
static uint64_t shape_of(const struct satchel_table *table)
{
    uint64_t shape = 0;
    for (uint32_t term = 1; term < satchel_digest_term_count(table); term++)
        shape = shape * 1009 + satchel_digest_term_column(table, term) + 1;
    return shape * 1009 + table->column_count;
}

/* What was written before in the transaction, the first rows of a migration, was noted by the
 * schema of then. */
static void note_due(const struct digest_keeper *keeper, bool *is_due, uint32_t count)
{
    for (uint32_t i = 0; keeper->schema && i < keeper->schema->table_count && i < count; i++)
        is_due[i] = keeper->is_due[i];
    for (const struct note *note = keeper->first; note; note = note->next)
        if (note->is_changed && note->table->number <= count)
            is_due[note->table->number - 1] = true;
}

enum satchel_status digest_take_schema(struct digest_keeper *keeper,
                                       const struct satchel_schema *schema,
                                       struct satchel_error *error)
{
    uint32_t count = schema ? schema->table_count : 0;
    uint64_t *shapes = satchel_alloc_zero(NULL, (count + 1) * sizeof *shapes);
    bool *is_due = satchel_alloc_zero(NULL, (count + 1) * sizeof *is_due);
    bool has_memory = shapes && is_due;
    for (uint32_t i = 0; shapes && i < count; i++)
        shapes[i] = shape_of(&schema->tables[i]);
    if (is_due)
        note_due(keeper, is_due, count);
    satchel_row_io_free(keeper->rows);
    satchel_free(NULL, keeper->shapes);
    satchel_free(NULL, keeper->is_due);
    drop_notes(keeper);
    keeper->rows = NULL;
    keeper->shapes = shapes;
    keeper->is_due = is_due;
    if (has_memory && schema)
        has_memory = satchel_row_io_new(&keeper->rows, keeper->db, schema) == SATCHEL_OK;
    keeper->schema = has_memory ? schema : NULL;
    return has_memory
               ? SATCHEL_OK
               : satchel_error_set(error, SATCHEL_NOMEM, "no memory for the digests of the schema");
}

static bool has_other_shape(const struct digest_keeper *keeper, uint32_t index)
{
    return index < keeper->kept_count && keeper->kept_shapes[index] != keeper->shapes[index];
}

static bool is_stale(const struct digest_keeper *keeper, const struct satchel_table *table)
{
    uint32_t index = table->number - 1;
    return !table->is_local && (keeper->is_due[index] || has_other_shape(keeper, index));
}

void digest_settle(struct digest_keeper *keeper)
{
    digest_forget(keeper);
    uint32_t count = keeper->schema ? keeper->schema->table_count : 0;
    bool is_same = count == keeper->kept_count;
    for (uint32_t i = 0; is_same && i < count; i++)
        is_same = !has_other_shape(keeper, i);
    if (is_same)
        return;
    uint64_t *shapes = satchel_alloc_zero(NULL, (count + 1) * sizeof *shapes);
    if (!shapes)
        return; /* then they are computed once more */
    if (count > 0)
        memcpy(shapes, keeper->shapes, count * sizeof *shapes);
    satchel_free(NULL, keeper->kept_shapes);
    keeper->kept_shapes = shapes;
    keeper->kept_count = count;
}

/* ---- looks ---- */

static enum satchel_status take_terms(struct digest_keeper *keeper,
                                      const struct satchel_table *table, bool exists,
                                      const struct satchel_value *values, struct look *look)
{
    look->exists = exists;
    if (!exists)
        return SATCHEL_OK;
    if (!look->terms)
        look->terms = SATCHEL_ARENA_ARRAY(&keeper->arena, struct satchel_id,
                                          satchel_digest_term_count(table));
    return look->terms ? satchel_row_terms(&keeper->digester, table, values, look->terms)
                       : SATCHEL_NOMEM;
}

/* The row as the store has it now. */
static enum satchel_status read_row(struct digest_keeper *keeper, const struct satchel_table *table,
                                    struct satchel_span name, struct look *look,
                                    struct satchel_error *error)
{
    struct satchel_arena arena;
    const struct satchel_value *key;
    uint32_t number, key_count;
    bool exists = false;
    satchel_arena_init(&arena, ROWS_MAX, NULL);
    enum satchel_status status = satchel_row_name_read(name, &arena, &number, &key, &key_count);
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&arena, struct satchel_value, table->column_count);
    if (status == SATCHEL_OK && !values)
        status = SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = satchel_row_read(keeper->rows, table, key, &arena, &exists, values, error);
    if (status == SATCHEL_OK)
        status = take_terms(keeper, table, exists, values, look);
    satchel_arena_deinit(&arena);
    return status;
}

static enum satchel_status read_scope(struct digest_keeper *keeper,
                                      const struct satchel_table *table, struct satchel_span name,
                                      uint64_t *out, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    *out = DIGEST_WHOLE_TABLE;
    if (!table->is_scoped)
        return SATCHEL_OK;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE]);
    satchel_query_blob(&query, name);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    *out = has_row ? (uint64_t)sqlite3_column_int64(query.statement, 0) : DIGEST_WHOLE_TABLE;
    satchel_query_end(&query);
    return status;
}

static enum satchel_status add_note(struct digest_keeper *keeper, const struct satchel_table *table,
                                    struct satchel_span name, struct note **out)
{
    struct note *note = SATCHEL_ARENA_ARRAY(&keeper->arena, struct note, 1);
    if (!note)
        return SATCHEL_NOMEM;
    note->table = table;
    note->name = satchel_arena_copy(&keeper->arena, name);
    note->next = keeper->first;
    keeper->first = note;
    *out = note;
    return note->name.data ? satchel_map_put(&keeper->notes, name, note) : SATCHEL_NOMEM;
}

static enum satchel_status find_note(struct digest_keeper *keeper,
                                     const struct satchel_table *table, struct satchel_span name,
                                     struct note **out, struct satchel_error *error)
{
    *out = satchel_map_get(&keeper->notes, name);
    if (*out)
        return SATCHEL_OK;
    enum satchel_status status = add_note(keeper, table, name, out);
    if (status == SATCHEL_OK)
        status = read_row(keeper, table, name, &(*out)->before, error);
    if (status == SATCHEL_OK)
        status = read_scope(keeper, table, name, &(*out)->before.scope, error);
    return status;
}

/* Until something happens to it, a row stays as it is. */
static enum satchel_status begin_change(struct digest_keeper *keeper, struct note *note)
{
    uint32_t count = satchel_digest_term_count(note->table);
    if (note->is_changed)
        return SATCHEL_OK;
    note->is_changed = true;
    note->after = note->before;
    note->after.terms = SATCHEL_ARENA_ARRAY(&keeper->arena, struct satchel_id, count);
    if (!note->after.terms)
        return SATCHEL_NOMEM;
    if (note->before.exists)
        memcpy(note->after.terms, note->before.terms, count * sizeof *note->after.terms);
    return SATCHEL_OK;
}

/* ---- what the transaction does ---- */

enum satchel_status digest_note_loaded(struct digest_keeper *keeper,
                                       const struct satchel_store_row *row, uint64_t scope)
{
    struct note *note;
    if (satchel_map_get(&keeper->notes, row->name))
        return SATCHEL_OK;
    enum satchel_status status = add_note(keeper, row->table, row->name, &note);
    note->before.scope = row->table->is_scoped ? scope : DIGEST_WHOLE_TABLE;
    return status == SATCHEL_OK
               ? take_terms(keeper, row->table, row->exists, row->values, &note->before)
               : status;
}

enum satchel_status digest_note_written(struct digest_keeper *keeper,
                                        const struct satchel_store_row *row,
                                        struct satchel_error *error)
{
    struct note *note;
    enum satchel_status status = find_note(keeper, row->table, row->name, &note, error);
    if (status == SATCHEL_OK)
        status = begin_change(keeper, note);
    if (SATCHEL_MUTATED(stale_sum) && row->exists && row->existed)
        return status;
    return status == SATCHEL_OK
               ? take_terms(keeper, row->table, row->exists, row->values, &note->after)
               : status;
}

enum satchel_status digest_note_moved(struct digest_keeper *keeper, struct satchel_span name,
                                      uint64_t before, uint64_t after, struct satchel_error *error)
{
    struct satchel_cursor cursor = satchel_cursor_of(name);
    const struct satchel_table *table = satchel_schema_table(
        keeper->schema, (uint32_t)satchel_cursor_unsigned(&cursor, SATCHEL_TABLES_MAX));
    struct note *note;
    enum satchel_status status = find_note(keeper, table, name, &note, error);
    if (status == SATCHEL_OK && !note->is_changed)
        note->before.scope = before;
    if (status == SATCHEL_OK)
        status = begin_change(keeper, note);
    if (status == SATCHEL_OK)
        note->after.scope = after;
    return status;
}

void digest_note_back(struct digest_keeper *keeper)
{
    for (struct note *note = keeper->first; note; note = note->next)
        note->is_uncertain = note->is_changed;
}

/* ---- sums ---- */

static enum satchel_status sum_of(struct digest_keeper *keeper, uint64_t scope, uint32_t table,
                                  int64_t col, struct sum **out)
{
    const struct sum wanted = {.scope = (int64_t)scope, .col = col, .table = table};
    const int64_t parts[] = {wanted.scope, wanted.col, wanted.table};
    struct satchel_span key = satchel_span_of(parts, sizeof parts);
    *out = satchel_map_get(&keeper->sums, key);
    if (*out)
        return SATCHEL_OK;
    *out = SATCHEL_ARENA_ARRAY(&keeper->arena, struct sum, 1);
    if (!*out)
        return SATCHEL_NOMEM;
    **out = wanted;
    (*out)->next = keeper->first_sum;
    keeper->first_sum = *out;
    return satchel_map_put(&keeper->sums, key, *out);
}

static enum satchel_status count_row(struct digest_keeper *keeper,
                                     const struct satchel_table *table, const struct look *look,
                                     bool is_added)
{
    uint32_t count = look->exists ? satchel_digest_term_count(table) : 0;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t term = 0; term < count && status == SATCHEL_OK; term++) {
        struct sum *sum;
        int64_t col = term ? (int64_t)satchel_digest_term_column(table, term) : DIGEST_ROWS;
        status = sum_of(keeper, look->scope, table->number, col, &sum);
        if (status != SATCHEL_OK)
            break;
        (is_added ? satchel_digest_add : satchel_digest_subtract)(&sum->digest, &look->terms[term]);
        sum->row_count += term > 0 ? 0 : is_added ? 1 : -1;
    }
    return status;
}

static void bind_sum(struct satchel_query *query, struct digest_keeper *keeper,
                     enum statement statement, const struct sum *sum)
{
    satchel_query_begin(query, keeper->db, keeper->statements[statement]);
    satchel_query_integer(query, sum->scope);
    satchel_query_integer(query, sum->table);
    satchel_query_integer(query, sum->col);
}

static enum satchel_status write_sum(struct digest_keeper *keeper, struct sum *sum,
                                     struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_id kept;
    bool has_row = false;
    if (sum->row_count == 0 && satchel_id_is_zero(&sum->digest))
        return SATCHEL_OK;
    bind_sum(&query, keeper, READ, sum);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (has_row && satchel_column_id(query.statement, 1, &kept)) {
        satchel_digest_add(&sum->digest, &kept);
        sum->row_count += sqlite3_column_int64(query.statement, 0);
    }
    satchel_query_end(&query);
    if (status != SATCHEL_OK)
        return status;
    bool is_empty = sum->row_count == 0 && satchel_id_is_zero(&sum->digest);
    bind_sum(&query, keeper, is_empty ? DROP : WRITE, sum);
    if (!is_empty) {
        satchel_query_integer(&query, sum->row_count);
        satchel_query_id(&query, &sum->digest);
    }
    return satchel_query_run(&query, error);
}

static enum satchel_status write_sums(struct digest_keeper *keeper, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (struct sum *sum = keeper->first_sum; sum && status == SATCHEL_OK; sum = sum->next)
        status = write_sum(keeper, sum, error);
    return status;
}

/* ---- a table anew ---- */

static enum satchel_status count_present(struct digest_keeper *keeper,
                                         const struct satchel_row_walk *walk,
                                         struct satchel_id *terms, struct satchel_error *error)
{
    struct look look = {.exists = true, .terms = terms};
    satchel_buffer_clear(&keeper->name);
    enum satchel_status status = satchel_row_walk_name(walk, &keeper->name);
    if (status == SATCHEL_OK)
        status =
            read_scope(keeper, walk->table, satchel_buffer_span(&keeper->name), &look.scope, error);
    if (status == SATCHEL_OK)
        status = satchel_row_terms(&keeper->digester, walk->table, walk->values, terms);
    return status == SATCHEL_OK ? count_row(keeper, walk->table, &look, true) : status;
}

static enum satchel_status compute_table(struct digest_keeper *keeper,
                                         const struct satchel_table *table,
                                         struct satchel_error *error)
{
    struct satchel_row_walk walk;
    struct satchel_query query;
    bool found = true;
    struct satchel_id *terms =
        SATCHEL_ARENA_ARRAY(&keeper->arena, struct satchel_id, satchel_digest_term_count(table));
    if (!terms)
        return SATCHEL_NOMEM;
    satchel_query_begin(&query, keeper->db, keeper->statements[DROP_TABLE]);
    satchel_query_integer(&query, table->number);
    enum satchel_status status = satchel_query_run(&query, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_row_walk_begin(&walk, keeper->db, table, NULL, error);
    while (status == SATCHEL_OK &&
           (status = satchel_row_walk_next(&walk, &found, error)) == SATCHEL_OK && found)
        status = count_present(keeper, &walk, terms, error);
    satchel_row_walk_end(&walk);
    return status;
}

/* ---- the commit ---- */

static enum satchel_status finish_note(struct digest_keeper *keeper, struct note *note,
                                       struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (!note->is_changed || is_stale(keeper, note->table))
        return SATCHEL_OK;
    if (note->is_uncertain)
        status = read_row(keeper, note->table, note->name, &note->after, error);
    if (status == SATCHEL_OK && note->is_uncertain)
        status = read_scope(keeper, note->table, note->name, &note->after.scope, error);
    if (status == SATCHEL_OK)
        status = count_row(keeper, note->table, &note->before, false);
    return status == SATCHEL_OK ? count_row(keeper, note->table, &note->after, true) : status;
}

enum satchel_status digest_finish(struct digest_keeper *keeper, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (struct note *note = keeper->first; note && status == SATCHEL_OK; note = note->next)
        status = finish_note(keeper, note, error);
    for (uint32_t i = 0; keeper->schema && i < keeper->schema->table_count; i++)
        if (status == SATCHEL_OK && is_stale(keeper, &keeper->schema->tables[i]))
            status = compute_table(keeper, &keeper->schema->tables[i], error);
    if (status == SATCHEL_OK)
        status = write_sums(keeper, error);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the digests could not be kept: %s",
                                       satchel_status_text(status));
}

/* ---- a store that kept none ---- */

static enum satchel_status compute_all(struct digest_keeper *keeper, struct satchel_error *error)
{
    const struct satchel_schema *schema = keeper->schema;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; schema && i < schema->table_count && status == SATCHEL_OK; i++)
        if (!schema->tables[i].is_local)
            status = compute_table(keeper, &schema->tables[i], error);
    return status == SATCHEL_OK ? write_sums(keeper, error) : status;
}

static enum satchel_status find_table(sqlite3 *db, bool *found, struct satchel_error *error)
{
    struct satchel_query query;
    enum satchel_status status = satchel_query_open(&query, db, SQL_FIND_TABLE, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, found, error);
    satchel_query_close(&query);
    return status;
}

/* A connection that is closed before the COMMIT rolls it back. */
static enum satchel_status make_ready(struct digest_keeper *keeper,
                                      const struct satchel_schema *schema,
                                      struct satchel_error *error)
{
    bool has_table = false;
    enum satchel_status status = find_table(keeper->db, &has_table, error);
    if (status == SATCHEL_OK && !has_table)
        status = satchel_db_exec(keeper->db, "BEGIN IMMEDIATE;" SQL_TABLE, error);
    for (int i = 0; status == SATCHEL_OK && i < STATEMENT_COUNT; i++)
        status = satchel_db_prepare(keeper->db, statement_sql[i], &keeper->statements[i], error);
    if (status == SATCHEL_OK)
        status = digest_take_schema(keeper, schema, error);
    if (status == SATCHEL_OK && !has_table)
        status = compute_all(keeper, error);
    if (status == SATCHEL_OK && !has_table)
        status = satchel_db_exec(keeper->db, "COMMIT", error);
    if (status == SATCHEL_OK)
        digest_settle(keeper);
    return status;
}

enum satchel_status digest_keeper_open(struct digest_keeper **out, sqlite3 *db,
                                       const struct satchel_schema *schema,
                                       struct satchel_error *error)
{
    struct digest_keeper *keeper = satchel_alloc_zero(NULL, sizeof *keeper);
    *out = keeper;
    if (!keeper)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for digests");
    keeper->db = db;
    satchel_arena_init(&keeper->arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&keeper->name, NAME_BYTES_MAX, NULL);
    begin_transaction(keeper);
    enum satchel_status status = satchel_digester_init(&keeper->digester);
    if (status == SATCHEL_OK)
        status = make_ready(keeper, schema, error);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the digests could not be made ready: %s",
                                       satchel_status_text(status));
}
