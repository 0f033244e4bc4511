/* Owns the first rows of a migration: its INSERTs are run in a savepoint that is rolled back, what
 * they would have written is collected, and merged as a change set of the server's own device, so
 * that these rows sync like any other.
 *
 * Temporary triggers on every synced table collect the keys of new rows and refuse everything else:
 * an INSERT that updates or replaces would need values that only the log may give. */
#include "own_changes.h"
#include "workspace_internal.h"

#include <satchel/operation.h>
#include <stdio.h>

#define SQL_SAVE "SAVEPOINT satchel_first_rows; PRAGMA recursive_triggers=ON"
#define SQL_BACK                                                     \
    "PRAGMA recursive_triggers=OFF; ROLLBACK TO satchel_first_rows;" \
    "RELEASE satchel_first_rows"
#define COLLECT "satchel_collect_row"
#define TRIGGERS_BYTES_MAX ((size_t)16 << 20)
#define ROWS_BYTES_MAX ((size_t)512 << 20)

struct collected {
    const struct satchel_table *table;
    struct satchel_value *key;
    int line;
};

struct collection {
    struct satchel_store *store;
    sqlite3 *db;
    const struct satchel_migration *migration;
    struct satchel_arena arena;
    struct satchel_part *parts;
    int *lines; /* per part: of its INSERT */
    uint32_t part_count;
    struct collected *rows; /* of the statement that is running */
    uint32_t row_count;
    bool is_collecting; /* the triggers are there */
    bool is_full;
    struct satchel_error *error;
};

static enum satchel_status refuse_at(struct collection *all, int line, const char *text)
{
    struct satchel_span name = all->migration->name;
    return satchel_error_set(all->error, SATCHEL_SCHEMA, "%.*s:%d: %s",
                             (int)(name.size < 200 ? name.size : 200), (const char *)name.data,
                             line, text);
}

/* ---- collecting ---- */

/* satchel_collect_row(table number, key...): called by the triggers. */
static void collect(sqlite3_context *context, int argument_count, sqlite3_value **arguments)
{
    struct collection *all = sqlite3_user_data(context);
    const struct satchel_table *table =
        satchel_schema_table(all->store->schema, (uint32_t)sqlite3_value_int(arguments[0]));
    if (!table || (uint32_t)argument_count != table->key_count + 1) {
        sqlite3_result_error(context, COLLECT " belongs to the deployment of first rows", -1);
        return;
    }
    if (all->part_count + all->row_count >= SATCHEL_CHANGESET_PARTS_MAX) {
        all->is_full = true;
        sqlite3_result_error(context, "too many first rows", -1);
        return;
    }
    struct collected *row = &all->rows[all->row_count];
    row->table = table;
    row->key = SATCHEL_ARENA_ARRAY(&all->arena, struct satchel_value, table->key_count);
    if (!row->key) {
        sqlite3_result_error_nomem(context);
        return;
    }
    for (uint32_t i = 0; i < table->key_count; i++) {
        struct satchel_value value = satchel_value_of_argument(arguments[i + 1]);
        if (satchel_value_copy(&all->arena, &value, &row->key[i]) != SATCHEL_OK) {
            sqlite3_result_error_nomem(context);
            return;
        }
    }
    all->row_count++;
}

/* An identifier in SQL's quotes. */
static enum satchel_status add_name(struct satchel_buffer *sql, const char *name)
{
    enum satchel_status status = satchel_buffer_append(sql, "\"", 1);
    for (; status == SATCHEL_OK && *name; name++)
        status = satchel_buffer_append(sql, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    return status == SATCHEL_OK ? satchel_buffer_append(sql, "\"", 1) : status;
}

static enum satchel_status add_triggers(struct satchel_buffer *sql,
                                        const struct satchel_table *table)
{
    static const char *const refused[] = {"UPDATE", "DELETE"};
    enum satchel_status status = satchel_buffer_format(
        sql, "CREATE TEMP TRIGGER satchel_first_rows_%u AFTER INSERT ON main.", table->number);
    if (status == SATCHEL_OK)
        status = add_name(sql, table->name);
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(sql, " BEGIN SELECT " COLLECT "(%u", table->number);
    for (uint32_t i = 0; status == SATCHEL_OK && i < table->key_count; i++) {
        status = satchel_buffer_format(sql, ", NEW.");
        if (status == SATCHEL_OK)
            status = add_name(sql, table->columns[table->key_columns[i]].name);
    }
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(sql, "); END;");
    for (size_t i = 0; status == SATCHEL_OK && i < sizeof refused / sizeof *refused; i++) {
        status = satchel_buffer_format(
            sql, "CREATE TEMP TRIGGER satchel_first_rows_%u_%zu BEFORE %s ON main.", table->number,
            i, refused[i]);
        if (status == SATCHEL_OK)
            status = add_name(sql, table->name);
        if (status == SATCHEL_OK)
            status = satchel_buffer_format(
                sql,
                " BEGIN SELECT RAISE(ABORT, 'a migration inserts new rows only: this row exists "
                "already'); END;");
    }
    return status;
}

static enum satchel_status create_triggers(struct collection *all)
{
    const struct satchel_schema *schema = all->store->schema;
    struct satchel_buffer sql;
    satchel_buffer_init(&sql, TRIGGERS_BYTES_MAX, NULL);
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < schema->table_count; i++)
        if (!schema->tables[i].is_local)
            status = add_triggers(&sql, &schema->tables[i]);
    const char *text = satchel_buffer_text(&sql);
    if (status != SATCHEL_OK || !text)
        status = satchel_error_set(all->error, SATCHEL_NOMEM, "no memory for triggers");
    else
        status = satchel_db_exec(all->db, text, all->error);
    satchel_buffer_deinit(&sql);
    return status;
}

/* ---- from a row to a part ---- */

static enum satchel_status field_of(struct collection *all, const struct satchel_table *table,
                                    uint32_t column, const struct satchel_value *value, int line,
                                    struct satchel_field *out, bool *is_write)
{
    const struct satchel_column_rules *rules = &table->rules.columns[column];
    out->column = column;
    if (!rules->default_varies && satchel_value_equal(value, &rules->default_value))
        return SATCHEL_OK; /* left out, whatever the rule takes */
    enum satchel_status status = satchel_operation_make(rules, SATCHEL_OP_INSERT, NULL, value,
                                                        &all->arena, &out->value, is_write);
    if (status == SATCHEL_REFUSED) {
        const char *refusal = satchel_value_refusal(rules, value);
        return refuse_at(all, line, refusal ? refusal : "a value does not fit its rule");
    }
    return status;
}

static enum satchel_status add_part(struct collection *all, const struct collected *row)
{
    const struct satchel_table *table = row->table;
    struct satchel_part *part = &all->parts[all->part_count];
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&all->arena, struct satchel_value, table->column_count);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&all->arena, struct satchel_field, table->column_count);
    bool exists = false;
    if (!values || !fields)
        return satchel_error_set(all->error, SATCHEL_NOMEM, "no memory for first rows");
    enum satchel_status status =
        satchel_row_read(satchel_store_sqlite_rows(all->store), table, row->key, &all->arena,
                         &exists, values, all->error);
    if (status != SATCHEL_OK || !exists) /* a trigger of the schema has deleted it again */
        return status;
    memset(part, 0, sizeof *part);
    part->kind = SATCHEL_OP_INSERT;
    part->table = table->number;
    part->key = row->key;
    part->key_count = table->key_count;
    part->fields = fields;
    for (uint32_t column = 0; column < table->column_count; column++) {
        const struct satchel_column_rules *rules = &table->rules.columns[column];
        bool is_write = false;
        if (rules->in_key)
            continue;
        status = field_of(all, table, column, &values[column], row->line,
                          &fields[part->field_count], &is_write);
        if (status != SATCHEL_OK)
            return status;
        part->field_count += is_write;
    }
    all->lines[all->part_count++] = row->line;
    return SATCHEL_OK;
}

/* One INSERT. */
static enum satchel_status visit(void *context, struct satchel_span statement, int line)
{
    struct collection *all = context;
    sqlite3_stmt *prepared = NULL;
    enum satchel_status status = SATCHEL_OK;
    all->row_count = 0;
    if (!all->is_collecting) {
        status = create_triggers(all);
        if (status != SATCHEL_OK)
            return status;
        all->is_collecting = true;
    }
    int code = sqlite3_prepare_v2(all->db, (const char *)statement.data, (int)statement.size,
                                  &prepared, NULL);
    if ((code & 0xff) == SQLITE_NOMEM)
        return satchel_db_error(all->error, all->db, "first rows, line %d", line);
    if (code != SQLITE_OK)
        return refuse_at(all, line, sqlite3_errmsg(all->db));
    do
        code = sqlite3_step(prepared);
    while (code == SQLITE_ROW);
    if (all->is_full)
        status = refuse_at(all, line,
                           "a migration has at most 100000 first rows: import the rest "
                           "through a device");
    else if ((code & 0xff) == SQLITE_CONSTRAINT)
        status = refuse_at(all, line, sqlite3_errmsg(all->db));
    else if ((code & 0xff) == SQLITE_ERROR)
        status = refuse_at(all, line, sqlite3_errmsg(all->db));
    else if (code != SQLITE_DONE)
        status = satchel_db_error(all->error, all->db, "first rows, line %d", line);
    else if (all->row_count == 0 && sqlite3_changes(all->db) > 0)
        status = refuse_at(all, line,
                           "a local table has no first rows: they would not reach any device");
    sqlite3_finalize(prepared);
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->row_count; i++) {
        all->rows[i].line = line;
        status = add_part(all, &all->rows[i]);
    }
    return status;
}

static enum satchel_status run_inserts(struct collection *all)
{
    enum satchel_status status = satchel_db_exec(all->db, SQL_SAVE, all->error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_migration_inserts(all->migration, visit, all, all->error);
    struct satchel_error back = {0};
    enum satchel_status undone = satchel_db_exec(all->db, SQL_BACK, &back);
    if (status == SATCHEL_OK && undone != SATCHEL_OK) {
        status = undone;
        if (all->error)
            *all->error = back;
    }
    return status;
}

/* ---- the change set ---- */

/* A first row that the merge has set aside is a mistake in the migration: says which and why. */
static enum satchel_status refuse_quarantined(struct collection *all, uint64_t cursor)
{
    struct satchel_span reason;
    char text[512];
    uint32_t part;
    enum satchel_status status =
        satchel_quarantine_reason(all->store, cursor, &all->arena, &part, &reason, all->error);
    if (status != SATCHEL_OK || reason.size == 0)
        return refuse_at(all, all->lines[0], "a first row breaks a rule of the schema");
    snprintf(text, sizeof text, "%.*s", (int)reason.size, (const char *)reason.data);
    return refuse_at(all, part < all->part_count ? all->lines[part] : 0, text);
}

static enum satchel_status merge_rows(struct collection *all, int64_t now_ms)
{
    struct satchel_own_changeset changes = {.parts = all->parts, .part_count = all->part_count};
    struct satchel_incoming_outcome outcome;
    char text[100];
    enum satchel_status status =
        satchel_own_merge(all->store, &changes, now_ms, &all->arena, &outcome, all->error);
    if (status == SATCHEL_LIMIT) {
        snprintf(text, sizeof text,
                 "the first rows of a migration are over %u MiB: import them through a device",
                 SATCHEL_CHANGESET_BYTES_MAX >> 20);
        return refuse_at(all, all->lines[0], text);
    }
    if (status == SATCHEL_OK && outcome.quarantined_count > 0)
        status = refuse_quarantined(all, outcome.cursor);
    return status;
}

enum satchel_status first_rows_merge(struct satchel_store *store,
                                     const struct satchel_migration *migration, int64_t now_ms,
                                     struct satchel_error *error)
{
    struct collection all = {.store = store,
                             .db = satchel_store_sqlite_db(store),
                             .migration = migration,
                             .error = error};
    satchel_arena_init(&all.arena, ROWS_BYTES_MAX, NULL);
    /* Room for the most there may be, and untouched: most migrations have few first rows. */
    all.parts = satchel_arena_alloc(&all.arena, SATCHEL_CHANGESET_PARTS_MAX * sizeof *all.parts);
    all.lines = satchel_arena_alloc(&all.arena, SATCHEL_CHANGESET_PARTS_MAX * sizeof *all.lines);
    all.rows = satchel_arena_alloc(&all.arena, SATCHEL_CHANGESET_PARTS_MAX * sizeof *all.rows);
    enum satchel_status status = SATCHEL_NOMEM;
    if (!all.parts || !all.lines || !all.rows)
        goto cleanup;
    if (sqlite3_create_function_v2(all.db, COLLECT, -1, SQLITE_UTF8, &all, collect, NULL, NULL,
                                   NULL) != SQLITE_OK) {
        status = satchel_db_error(error, all.db, "preparing for first rows");
        goto cleanup;
    }
    status = run_inserts(&all);
    if (sqlite3_create_function_v2(all.db, COLLECT, -1, SQLITE_UTF8, NULL, NULL, NULL, NULL,
                                   NULL) != SQLITE_OK &&
        status == SATCHEL_OK)
        status = satchel_db_error(error, all.db, "cleaning up after first rows");
    if (status == SATCHEL_OK && all.part_count > 0)
        status = merge_rows(&all, now_ms);
cleanup:
    satchel_arena_deinit(&all.arena);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "no memory for first rows");
    return status;
}
