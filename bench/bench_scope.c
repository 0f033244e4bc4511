/* What it costs to tell which rows a user may see: CPU time to go through a table as a snapshot is
 * made, and to look at each row by itself, as for what is sent one by one, over CPU time for one
 * SELECT that joins the rows with the user's grants. 1,000 grants of 2,000 values, 100,000 rows, so
 * that half of them are seen; once where the row itself has the value, once where the row has it
 * that it hangs on. */
#include "bench.h"

#include "merge.h"
#include "scope.h"
#include "store_sqlite.h"
#include "workspace_internal.h"

#include <satchel/row_io.h>
#include <satchel/schema.h>

#include <stdlib.h>
#include <string.h>

enum { ROWS = 100000 };

static const char SCHEMA_SQL[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE person(id TEXT PRIMARY KEY);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE allowed(id TEXT PRIMARY KEY, value TEXT);\n"
    "-- @table scope=row(owner) delete=edit_wins\n"
    "CREATE TABLE account(id TEXT PRIMARY KEY, owner TEXT, name TEXT);\n"
    "-- @table scope=via(account_id) delete=edit_wins\n"
    "CREATE TABLE contact(id TEXT PRIMARY KEY, account_id TEXT REFERENCES account(id), name "
    "TEXT);\n"
    "CREATE VIEW satchel_users AS SELECT id AS login, id, 'rep' AS role, 1 AS active FROM person;\n"
    "CREATE VIEW satchel_grants AS SELECT 'ana' AS user, value FROM allowed;\n"
    "INSERT INTO person VALUES('ana');\n"
    "INSERT INTO allowed WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<999)"
    " SELECT printf('g%06d', i), printf('v%06d', 2*i) FROM n;\n";
static const char ACCOUNTS_SQL[] =
    "INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE "
    "i<99999)"
    " SELECT printf('0190a5e2-%08d', i), printf('v%06d', i % 2000), 'Northwind' FROM n;\n";
static const char CONTACTS_SQL[] =
    "INSERT INTO contact WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE "
    "i<99999)"
    " SELECT printf('0190a5e3-%08d', i), printf('0190a5e2-%08d', i / 4), 'Astrid' FROM n;\n";

static const char *const TABLES[] = {"account", "contact"};
static const char *const VARIANTS[] = {"row", "via"};
static const char *const PLAIN_SQL[] = {
    "SELECT id FROM account WHERE owner IN (SELECT value FROM satchel_grants WHERE user = 'ana')",
    "SELECT c.id FROM contact c JOIN account a ON a.id = c.account_id"
    " WHERE a.owner IN (SELECT value FROM satchel_grants WHERE user = 'ana')"};
static const char *const ALL_SQL[] = {"SELECT id FROM account", "SELECT id FROM contact"};

static void must(enum satchel_status status, const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        bench_fail("scope", error->message[0] ? error->message : satchel_status_name(status));
}

static struct satchel_store *open_store(const char *path)
{
    struct satchel_store *store = NULL;
    struct satchel_error error = {0};
    struct satchel_arena arena;
    const char *notice;
    const struct satchel_migration migrations[] = {
        {1, satchel_span_text("001_bench.sql"), satchel_span_text(SCHEMA_SQL)},
        {2, satchel_span_text("002_accounts.sql"), satchel_span_text(ACCOUNTS_SQL)},
        {3, satchel_span_text("003_contacts.sql"), satchel_span_text(CONTACTS_SQL)}};
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    must(satchel_store_sqlite_create(&store, path, satchel_span_text("bench"), 1719800000000,
                                     &error),
         &error);
    must(store->ops->begin(store, &error), &error);
    must(deploy_migrations(store, migrations, 3, 1719800000000, &arena, &notice, &error), &error);
    must(store->ops->commit(store, &error), &error);
    satchel_arena_deinit(&arena);
    return store;
}

/* Rows that are seen, by one statement. */
static uint32_t count_plainly(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *select = NULL;
    uint32_t count = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        bench_fail("scope", sqlite3_errmsg(db));
    while (sqlite3_step(select) == SQLITE_ROW)
        count += sqlite3_column_bytes(select, 0) > 0;
    sqlite3_finalize(select);
    return count;
}

/* The same by their scopes, one row after the other. */
static uint32_t count_one_by_one(struct satchel_store *store, struct scope_viewer *viewer,
                                 int which)
{
    sqlite3 *db = satchel_store_sqlite_db(store);
    const struct satchel_table *table = satchel_schema_find(store->schema, TABLES[which]);
    struct satchel_error error = {0};
    struct satchel_buffer name;
    sqlite3_stmt *select = NULL;
    uint32_t count = 0;
    bool sees;
    satchel_buffer_init(&name, 1024, NULL);
    must(scope_viewer_set(viewer, store->schema, satchel_span_text("ana"), &error), &error);
    if (!table || sqlite3_prepare_v2(db, ALL_SQL[which], -1, &select, NULL) != SQLITE_OK)
        bench_fail("scope", sqlite3_errmsg(db));
    while (sqlite3_step(select) == SQLITE_ROW) {
        const struct satchel_value key = satchel_value_text(satchel_span_of(
            sqlite3_column_text(select, 0), (size_t)sqlite3_column_bytes(select, 0)));
        satchel_buffer_clear(&name);
        must(satchel_row_name(&name, table->number, &key, 1), &error);
        must(scope_sees(viewer, table, satchel_buffer_span(&name), &sees, &error), &error);
        count += sees;
    }
    sqlite3_finalize(select);
    satchel_buffer_deinit(&name);
    return count;
}

/* The same, of the whole table. */
static uint32_t count_by_scope(struct satchel_store *store, struct scope_viewer *viewer, int which)
{
    const struct satchel_table *table = satchel_schema_find(store->schema, TABLES[which]);
    struct satchel_error error = {0};
    struct scope_rows rows;
    struct satchel_span name;
    uint32_t count = 0;
    must(scope_viewer_set(viewer, store->schema, satchel_span_text("ana"), &error), &error);
    must(scope_rows_begin(&rows, viewer, table, &error), &error);
    for (;; count++) {
        must(scope_rows_next(&rows, &name, &error), &error);
        if (name.size == 0)
            break;
    }
    scope_rows_end(&rows);
    return count;
}

void bench_scope(struct bench *bench)
{
    static double ratios[2][ROUNDS_MAX], singles[2][ROUNDS_MAX], rates[2][ROUNDS_MAX];
    struct satchel_error error = {0};
    struct scope_viewer *viewer = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/bench-scope.db", bench->folder);
    bench_remove_store(path);
    struct satchel_store *store = open_store(path);
    sqlite3 *db = satchel_store_sqlite_db(store);
    must(scope_viewer_new(&viewer, db, &error), &error);
    printf("who sees which of %d rows, with 1,000 grants: medians of %u rounds\n", ROWS,
           (unsigned)bench->round_count);
    for (uint32_t round = 0; round < bench->round_count; round++)
        for (int i = 0; i < 2; i++) {
            double begin = bench_cpu_seconds();
            uint32_t plain = count_plainly(db, PLAIN_SQL[i]);
            double middle = bench_cpu_seconds();
            uint32_t seen = count_by_scope(store, viewer, i);
            double later = bench_cpu_seconds();
            uint32_t single = count_one_by_one(store, viewer, i);
            double end = bench_cpu_seconds();
            if (plain != seen || plain != single || plain != ROWS / 2)
                bench_fail("scope", "they see different rows");
            ratios[i][round] = (later - middle) / (middle - begin);
            singles[i][round] = (end - later) / (middle - begin);
            rates[i][round] = ROWS / (middle - begin);
        }
    for (int i = 0; i < 2; i++) {
        struct bench_line line = {.name = "scope",
                                  .variant = VARIANTS[i],
                                  .text = "which rows of a table a user may see, by their scopes",
                                  .unit = "SQL",
                                  .ratio = bench_median(ratios[i], bench->round_count),
                                  .budget = 2,
                                  .per_second = bench_median(rates[i], bench->round_count),
                                  .per_second_of = "rows by a join"};
        bench_report(bench, &line);
        line.name = "scope_single";
        line.text = "the same, each row looked up by its name";
        line.ratio = bench_median(singles[i], bench->round_count);
        line.budget = 0;
        bench_report(bench, &line);
    }
    scope_viewer_free(viewer);
    store->ops->close(store);
    bench_remove_store(path);
}
