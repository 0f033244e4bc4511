/* Owns the virtual tables that the capture triggers write to: what SQLite calls, when, and what it
 * means for the operations in memory. What those are is capture_rows.c's; what becomes of them,
 * capture_flush.c's.
 *
 * There is one table per width, all feeding one transaction: SQLite begins, syncs and ends each of
 * them that was written to, so every call but the first of its kind finds its work done.
 *
 * recursive_triggers must stay on: SQLite fires the delete triggers of rows that REPLACE removes
 * only then. */
#include "capture.h"

#include <stdio.h>

enum { MARKS_MAX = 10000 /* nested savepoints */, MACHINES_BYTES_MAX = 16 << 20 };

struct table {
    sqlite3_vtab base;
    struct satchel_capture *capture;
};

struct cursor {
    sqlite3_vtab_cursor base;
};

static struct satchel_capture *capture_of(sqlite3_vtab *table)
{
    return ((struct table *)(void *)table)->capture;
}

static int code_of(enum satchel_status status)
{
    switch (status) {
    case SATCHEL_OK: return SQLITE_OK;
    case SATCHEL_NOMEM: return SQLITE_NOMEM;
    case SATCHEL_BUSY: return SQLITE_BUSY;
    case SATCHEL_LIMIT:
    case SATCHEL_REFUSED: return SQLITE_CONSTRAINT_VTAB;
    default: return SQLITE_ERROR;
    }
}

/* Hands SQLite the words of a failure; the statement (at the commit: the transaction) is then
 * undone. */
static int report(sqlite3_vtab *table, enum satchel_status status)
{
    struct satchel_capture *capture = capture_of(table);
    if (status == SATCHEL_OK)
        return SQLITE_OK;
    sqlite3_free(table->zErrMsg);
    table->zErrMsg = sqlite3_mprintf("satchel: %s", capture->error.status == status
                                                        ? capture->error.message
                                                        : satchel_status_text(status));
    return code_of(status);
}

/* ---- connecting ---- */

static int declare(sqlite3 *db, uint32_t width)
{
    char *sql = sqlite3_mprintf("CREATE TABLE x(code");
    for (uint32_t i = 1; i < width && sql; i++) {
        /* sqlite3_mprintf("%z") frees what it is given. */
        sql = sqlite3_mprintf("%z,v%u", sql, (unsigned)i);
    }
    if (sql)
        sql = sqlite3_mprintf("%z)", sql);
    int code = sql ? sqlite3_declare_vtab(db, sql) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return code;
}

static int table_connect(sqlite3 *db, void *context, int argument_count,
                         const char *const *arguments, sqlite3_vtab **out, char **error)
{
    static const char prefix[] = "satchel_capture_";
    struct satchel_replica *replica = context;
    unsigned width = 0;
    (void)argument_count, (void)error;
    if (sscanf(arguments[0] + sizeof prefix - 1, "%u", &width) != 1)
        return SQLITE_ERROR;
    int code = declare(db, width);
    if (code == SQLITE_OK)
        code = sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    struct table *table = code == SQLITE_OK ? sqlite3_malloc(sizeof *table) : NULL;
    if (!table)
        return code == SQLITE_OK ? SQLITE_NOMEM : code;
    memset(table, 0, sizeof *table);
    table->capture = replica->capture;
    table->capture->connection_count++;
    *out = &table->base;
    return SQLITE_OK;
}

/* sqlite3_close() disconnects virtual tables before it looks for statements that are left. */
static int table_disconnect(sqlite3_vtab *table)
{
    struct satchel_capture *capture = capture_of(table);
    if (--capture->connection_count == 0)
        satchel_capture_finalize_statements(capture);
    sqlite3_free(table);
    return SQLITE_OK;
}

/* ---- reading: there is nothing to read ---- */

static int table_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 1;
    info->estimatedRows = 1;
    return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    (void)table;
    struct cursor *cursor = sqlite3_malloc(sizeof *cursor);
    if (!cursor)
        return SQLITE_NOMEM;
    memset(cursor, 0, sizeof *cursor);
    *out = &cursor->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *cursor, int index, const char *text, int count,
                         sqlite3_value **values)
{
    (void)cursor, (void)index, (void)text, (void)count, (void)values;
    return SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    (void)cursor, (void)column;
    sqlite3_result_null(context);
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    (void)cursor;
    *rowid = 0;
    return SQLITE_OK;
}

/* ---- writing ---- */

/* REPLACE, in the statement or in the schema, removes rows unseen where recursive_triggers is off;
 * the pragma is asked only where there is one. */
static enum satchel_status check_replace(struct satchel_capture *capture, uint32_t table)
{
    sqlite3_stmt *statement = NULL;
    sqlite3 *db = capture->replica->db;
    bool may_replace = table <= capture->table_count && capture->tables[table].may_replace;
    if (sqlite3_vtab_on_conflict(db) != SQLITE_REPLACE && !may_replace)
        return SATCHEL_OK;
    bool is_on =
        sqlite3_prepare_v2(db, "PRAGMA recursive_triggers", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) == 1;
    sqlite3_finalize(statement);
    if (is_on)
        return SATCHEL_OK;
    return satchel_error_set(
        &capture->error, SATCHEL_REFUSED,
        "REPLACE needs PRAGMA recursive_triggers=ON, which was switched off on "
        "this connection");
}

static int table_update(sqlite3_vtab *table, int count, sqlite3_value **values,
                        sqlite3_int64 *rowid)
{
    struct satchel_capture *capture = capture_of(table);
    struct satchel_capture_code code;
    if (capture->replica->is_applying)
        return SQLITE_OK;
    capture->error.status = SATCHEL_OK;
    if (count < 3 || sqlite3_value_type(values[0]) != SQLITE_NULL ||
        !satchel_capture_code_unpack(sqlite3_value_int64(values[2]), &code))
        return report(table, satchel_error_set(&capture->error, SATCHEL_REFUSED,
                                               "only capture triggers write here"));
    if (code.tag != capture->tag)
        return report(
            table, satchel_error_set(&capture->error, SATCHEL_REFUSED,
                                     "the table belongs to another replica than this connection's "
                                     "main database; open that replica to write to it"));
    uint32_t value_count = code.column_count * (code.kind == SATCHEL_OP_UPDATE ? 2 : 1);
    if (value_count > (uint32_t)count - 3)
        return report(table, satchel_error_set(&capture->error, SATCHEL_REFUSED,
                                               "only capture triggers write here"));
    bool has_begun = capture->is_open && capture->state.is_known;
    enum satchel_status status = has_begun ? SATCHEL_OK : satchel_capture_begin(capture);
    if (status == SATCHEL_OK && code.kind != SATCHEL_OP_DELETE)
        status = check_replace(capture, code.table);
    if (status == SATCHEL_OK)
        status = satchel_capture_take(capture, &code, values + 3);
    *rowid = 0;
    return report(table, status);
}

/* ---- transactions ---- */

static int table_begin(sqlite3_vtab *table)
{
    (void)table; /* the first write opens: then SQLite has taken the lock */
    return SQLITE_OK;
}

static int table_sync(sqlite3_vtab *table)
{
    struct satchel_capture *capture = capture_of(table);
    if (!capture->is_open)
        return SQLITE_OK;
    capture->error.status = SATCHEL_OK;
    return report(table, satchel_capture_flush(capture));
}

static void end_transaction(struct satchel_capture *capture)
{
    struct satchel_capture_mark nothing = {8, 0, 0, 0, 0};
    satchel_capture_truncate(capture, &nothing);
    capture->mark_count = 0;
    capture->is_open = false;
    capture->flushed_number = 0;
}

static int table_commit(sqlite3_vtab *table)
{
    struct satchel_capture *capture = capture_of(table);
    struct satchel_replica *replica = capture->replica;
    if (!capture->is_open)
        return SQLITE_OK;
    if (capture->flushed_number > 0) {
        capture->state.last_number = capture->flushed_number;
        capture->state.last_stamp = capture->flushed_stamp;
    }
    /* This commit changed the version but nothing else of what is remembered. */
    uint32_t version = satchel_replica_data_version(replica);
    if (replica->reference_version == capture->state.version)
        replica->reference_version = version;
    capture->state.version = version;
    end_transaction(capture);
    return SQLITE_OK;
}

static int table_rollback(sqlite3_vtab *table)
{
    struct satchel_capture *capture = capture_of(table);
    capture->state.is_known = false;
    end_transaction(capture);
    return SQLITE_OK;
}

static int table_savepoint(sqlite3_vtab *table, int level)
{
    struct satchel_capture *capture = capture_of(table);
    if (level < 0 || (uint32_t)level < capture->mark_count)
        return SQLITE_OK; /* another width has told of it */
    uint32_t count = (uint32_t)level + 1;
    if (count > MARKS_MAX)
        return SQLITE_NOMEM;
    if (count > capture->mark_capacity) {
        uint32_t capacity = count < 16 ? 16 : count * 2;
        struct satchel_capture_mark *marks =
            sqlite3_realloc64(capture->marks, capacity * sizeof *marks);
        if (!marks)
            return SQLITE_NOMEM;
        capture->marks = marks;
        capture->mark_capacity = capacity;
    }
    /* Levels that were open before the first write begin here too. */
    while (capture->mark_count < count)
        satchel_capture_mark_get(capture, &capture->marks[capture->mark_count++]);
    return SQLITE_OK;
}

static int table_release(sqlite3_vtab *table, int level)
{
    struct satchel_capture *capture = capture_of(table);
    uint32_t count = level < 0 ? 0 : (uint32_t)level;
    if (count < capture->mark_count)
        capture->mark_count = count;
    return SQLITE_OK;
}

/* The savepoint itself stays open. Level -1 is the savepoint that began the transaction. */
static int table_rollback_to(sqlite3_vtab *table, int level)
{
    struct satchel_capture *capture = capture_of(table);
    struct satchel_capture_mark nothing = {8, 0, 0, 0, 0};
    satchel_capture_forget_machines(capture); /* read from rows that are taken back now */
    if (level < 0) {
        satchel_capture_truncate(capture, &nothing);
        capture->mark_count = 0;
    } else if ((uint32_t)level < capture->mark_count) {
        satchel_capture_truncate(capture, &capture->marks[level]);
        capture->mark_count = (uint32_t)level + 1;
    }
    /* A change set may have been written and taken back since the savepoint: its number is free. */
    if (capture->op_count == 0 && capture->flushed_number == 0)
        capture->state.is_known = false;
    return SQLITE_OK;
}

/* ---- registration ---- */

static const sqlite3_module module = {
    .iVersion = 2,
    .xConnect = table_connect, /* no xCreate: eponymous only */
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xDestroy = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
    .xUpdate = table_update,
    .xBegin = table_begin,
    .xSync = table_sync,
    .xCommit = table_commit,
    .xRollback = table_rollback,
    .xSavepoint = table_savepoint,
    .xRelease = table_release,
    .xRollbackTo = table_rollback_to,
};

/* SQLite forgets a module: at the close of the connection, or when it is registered anew. */
static void forget_module(void *context)
{
    struct satchel_replica *replica = context;
    if (--replica->module_count == 0)
        satchel_replica_free(replica);
}

static struct satchel_capture *new_capture(struct satchel_replica *replica)
{
    struct satchel_capture *capture = satchel_alloc_zero(NULL, sizeof *capture);
    if (!capture)
        return NULL;
    capture->replica = replica;
    capture->tag = satchel_capture_tag(&replica->file);
    satchel_buffer_init(&capture->ops, SATCHEL_CAPTURE_BYTES_MAX, NULL);
    satchel_buffer_init(&capture->parts, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&capture->body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&capture->stored, SATCHEL_CHANGESET_BYTES_MAX + 1024, NULL);
    satchel_buffer_init(&capture->local, 2 * (size_t)SATCHEL_CAPTURE_BYTES_MAX, NULL);
    satchel_buffer_init(&capture->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_arena_init(&capture->arena, (size_t)SATCHEL_CAPTURE_BYTES_MAX * 2, NULL);
    satchel_arena_init(&capture->state.seen_arena, 1u << 20, NULL);
    satchel_arena_init(&capture->machines_arena, MACHINES_BYTES_MAX, NULL);
    return capture;
}

void satchel_capture_free(struct satchel_capture *capture)
{
    if (!capture)
        return;
    satchel_capture_finalize_statements(capture);
    satchel_capture_forget_schema(capture);
    satchel_buffer_deinit(&capture->ops);
    satchel_buffer_deinit(&capture->parts);
    satchel_buffer_deinit(&capture->body);
    satchel_buffer_deinit(&capture->stored);
    satchel_buffer_deinit(&capture->local);
    satchel_buffer_deinit(&capture->name);
    satchel_arena_deinit(&capture->arena);
    satchel_arena_deinit(&capture->state.seen_arena);
    satchel_arena_deinit(&capture->machines_arena);
    satchel_free(NULL, capture->slots);
    sqlite3_free(capture->marks);
    satchel_free(NULL, capture);
}

int satchel_capture_register(struct satchel_replica *replica)
{
    static const uint32_t widths[] = SATCHEL_CAPTURE_WIDTHS;
    int code = SQLITE_OK;
    replica->capture = new_capture(replica);
    if (!replica->capture)
        return SQLITE_NOMEM;
    replica->module_count = 1; /* so that a failing registration does not free the handle */
    for (size_t i = 0; i < SATCHEL_CAPTURE_WIDTH_COUNT && code == SQLITE_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "satchel_capture_%u", (unsigned)widths[i]);
        replica->module_count++;
        code = sqlite3_create_module_v2(replica->db, name, &module, replica, forget_module);
    }
    replica->module_count--;
    return code;
}
