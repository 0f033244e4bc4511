/* Owns the virtual table satchel_history: its columns, and which constraints reach the scan. What
 * the rows say is history_scan.h's. Eponymous: it exists wherever it is registered and stores
 * nothing. */
#include <satchel/log.h>

#include "history_names.h"
#include "history_scan.h"

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

#include <inttypes.h>
#include <stdio.h>

static const char declaration[] =
    "CREATE TABLE satchel_history(id TEXT, at INTEGER, user TEXT, device TEXT, seq INTEGER,"
    " tbl TEXT, key TEXT, field TEXT, old, new, outcome TEXT, winner TEXT, reason TEXT)";

enum column {
    COLUMN_ID,
    COLUMN_AT,
    COLUMN_USER,
    COLUMN_DEVICE,
    COLUMN_SEQ,
    COLUMN_TBL,
    COLUMN_KEY,
    COLUMN_FIELD,
    COLUMN_OLD,
    COLUMN_NEW,
    COLUMN_OUTCOME,
    COLUMN_WINNER,
    COLUMN_REASON
};

/* Bits of a plan (idxNum): constraints in this order of arguments, then what has to be found out.
 */
enum plan {
    PLAN_TBL = 1,
    PLAN_KEY = 2,
    PLAN_FIELD = 4,
    PLAN_ID = 8,
    PLAN_DEVICE = 16,
    PLAN_OLD = 32,
    PLAN_OUTCOME = 64
};

static const struct {
    enum column column;
    enum plan bit;
} constraints[] = {
    {COLUMN_TBL, PLAN_TBL}, {COLUMN_KEY, PLAN_KEY},       {COLUMN_FIELD, PLAN_FIELD},
    {COLUMN_ID, PLAN_ID},   {COLUMN_DEVICE, PLAN_DEVICE},
};
enum { CONSTRAINT_COUNT = sizeof constraints / sizeof constraints[0] };

struct history_module {
    const struct satchel_schema *(*schema)(void *context);
    void *context;
};

struct history_table {
    sqlite3_vtab base;
    sqlite3 *db;
    const struct history_module *module;
};

struct history_cursor {
    sqlite3_vtab_cursor base;
    struct satchel_history_scan *scan;
    const struct satchel_history_row *row; /* NULL at the end */
    sqlite3_int64 rowid;
};

static int connect(sqlite3 *db, void *module, int argument_count, const char *const *arguments,
                   sqlite3_vtab **out, char **message)
{
    (void)argument_count, (void)arguments, (void)message;
    int code = sqlite3_declare_vtab(db, declaration);
    if (code == SQLITE_OK)
        code = sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    if (code != SQLITE_OK)
        return code;
    struct history_table *table = satchel_alloc_zero(NULL, sizeof *table);
    if (!table)
        return SQLITE_NOMEM;
    table->db = db;
    table->module = module;
    *out = &table->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *base)
{
    satchel_free(NULL, base);
    return SQLITE_OK;
}

/* The first usable equality on a column, or -1. */
static int find_equality(const sqlite3_index_info *info, enum column column)
{
    for (int i = 0; i < info->nConstraint; i++)
        if (info->aConstraint[i].usable && info->aConstraint[i].iColumn == (int)column &&
            info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ)
            return i;
    return -1;
}

static int best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    (void)base;
    const sqlite3_uint64 one = 1;
    int plan = 0, argument_count = 0;
    double rows = 1e6, cost = 1e7;
    for (int i = 0; i < CONSTRAINT_COUNT; i++) {
        int found = find_equality(info, constraints[i].column);
        if (found < 0)
            continue;
        /* Not omitted: SQLite compares again, by its own rules of affinity and collation. */
        info->aConstraintUsage[found].argvIndex = ++argument_count;
        plan |= constraints[i].bit;
        rows /= 10;
        cost /= 2; /* the log is read whole, but less of it is looked at */
    }
    if (plan & PLAN_ID)
        rows = 1;
    if (info->colUsed & one << COLUMN_OLD)
        plan |= PLAN_OLD;
    if (info->colUsed & (one << COLUMN_OUTCOME | one << COLUMN_WINNER | one << COLUMN_REASON))
        plan |= PLAN_OUTCOME;
    info->idxNum = plan;
    info->estimatedCost = cost;
    info->estimatedRows = (sqlite3_int64)rows;
    if (plan & PLAN_ID)
        info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    (void)base;
    struct history_cursor *cursor = satchel_alloc_zero(NULL, sizeof *cursor);
    if (!cursor)
        return SQLITE_NOMEM;
    *out = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct history_cursor *cursor = (struct history_cursor *)base;
    satchel_history_scan_free(cursor->scan);
    satchel_free(NULL, cursor);
    return SQLITE_OK;
}

static int fail(struct history_cursor *cursor, enum satchel_status status,
                const struct satchel_error *error)
{
    sqlite3_vtab *table = cursor->base.pVtab;
    cursor->row = NULL;
    if (status == SATCHEL_NOMEM)
        return SQLITE_NOMEM;
    sqlite3_free(table->zErrMsg);
    table->zErrMsg = sqlite3_mprintf("%s", error->message);
    switch (status) {
    case SATCHEL_CORRUPT: return SQLITE_CORRUPT_VTAB;
    case SATCHEL_BUSY: return SQLITE_BUSY;
    default: return SQLITE_ERROR;
    }
}

static int next(sqlite3_vtab_cursor *base)
{
    struct history_cursor *cursor = (struct history_cursor *)base;
    struct satchel_error error = {0};
    cursor->rowid++;
    enum satchel_status status = satchel_history_scan_next(cursor->scan, &cursor->row, &error);
    return status == SATCHEL_OK ? SQLITE_OK : fail(cursor, status, &error);
}

static const char **filter_text(struct satchel_history_filter *filter, enum plan bit)
{
    switch (bit) {
    case PLAN_TBL: return &filter->table;
    case PLAN_KEY: return &filter->key;
    case PLAN_FIELD: return &filter->field;
    case PLAN_ID: return &filter->id;
    default: return &filter->device;
    }
}

/* `*is_empty`: something is compared with NULL, which nothing equals. */
static int read_filter(int plan, sqlite3_value **arguments, struct satchel_history_filter *filter,
                       bool *is_empty)
{
    int index = 0;
    *is_empty = false;
    for (int i = 0; i < CONSTRAINT_COUNT; i++) {
        if (!(plan & (int)constraints[i].bit))
            continue;
        sqlite3_value *argument = arguments[index++];
        if (sqlite3_value_type(argument) == SQLITE_NULL) {
            *is_empty = true;
            continue;
        }
        const char *text = (const char *)sqlite3_value_text(argument);
        if (!text)
            return SQLITE_NOMEM;
        /* A text with a NUL inside is no C string; then SQLite's own comparison has to do. */
        if (strlen(text) == (size_t)sqlite3_value_bytes(argument))
            *filter_text(filter, constraints[i].bit) = text;
    }
    filter->needs_old = plan & PLAN_OLD;
    filter->needs_outcome = plan & PLAN_OUTCOME;
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *base, int plan, const char *plan_text, int argument_count,
                  sqlite3_value **arguments)
{
    (void)plan_text, (void)argument_count;
    struct history_cursor *cursor = (struct history_cursor *)base;
    const struct history_table *table = (const struct history_table *)base->pVtab;
    struct satchel_history_filter wanted = {0};
    struct satchel_error error = {0};
    bool is_empty;
    satchel_history_scan_free(cursor->scan);
    cursor->scan = NULL;
    cursor->row = NULL;
    cursor->rowid = 0;
    int code = read_filter(plan, arguments, &wanted, &is_empty);
    if (code != SQLITE_OK || is_empty)
        return code;
    enum satchel_status status = satchel_history_scan_new(
        &cursor->scan, table->db, table->module->schema, table->module->context, &wanted, &error);
    return status == SATCHEL_OK ? next(base) : fail(cursor, status, &error);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct history_cursor *)base)->row == NULL;
}

static int get_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    *out = ((struct history_cursor *)base)->rowid;
    return SQLITE_OK;
}

/* ---- columns ---- */

static void result_text(sqlite3_context *context, struct satchel_span text)
{
    if (text.data)
        sqlite3_result_text64(context, (const char *)text.data, text.size, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
}

static void result_value(sqlite3_context *context, const struct satchel_value *value)
{
    const void *data = "";
    switch (value->type) {
    case SATCHEL_NULL: break;
    case SATCHEL_INTEGER: sqlite3_result_int64(context, value->integer); break;
    case SATCHEL_REAL: sqlite3_result_double(context, value->real); break;
    case SATCHEL_TEXT:
    case SATCHEL_BLOB:
        if (value->bytes.size)
            data = value->bytes.data;
        if (value->type == SATCHEL_TEXT)
            sqlite3_result_text64(context, data, value->bytes.size, SQLITE_TRANSIENT, SQLITE_UTF8);
        else
            sqlite3_result_blob64(context, data, value->bytes.size, SQLITE_TRANSIENT);
        break;
    }
}

static void result_id(sqlite3_context *context, const struct satchel_history_row *row)
{
    char device[SATCHEL_ID_TEXT_BYTES];
    char column[12] = "-";
    char text[SATCHEL_ID_TEXT_BYTES + 48];
    satchel_id_text(&row->device, device);
    if (row->column != SATCHEL_COLUMN_ROW)
        snprintf(column, sizeof column, "%" PRIu32, row->column);
    snprintf(text, sizeof text, "%s.%" PRIu64 ".%" PRIu32 ".%s", device, row->number, row->part,
             column);
    result_text(context, satchel_span_text(text));
}

static void result_name(sqlite3_context *context, const struct satchel_schema *schema,
                        const struct satchel_history_row *row, enum column column)
{
    char scratch[SATCHEL_HISTORY_NAME_BYTES];
    const char *name = column == COLUMN_TBL
                           ? satchel_history_table_name(schema, row->table, scratch)
                           : satchel_history_field_name(schema, row->table, row->column, scratch);
    result_text(context, satchel_span_text(name));
}

static int get_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int index)
{
    const struct satchel_history_row *row = ((struct history_cursor *)base)->row;
    const struct history_module *module = ((const struct history_table *)base->pVtab)->module;
    char device[SATCHEL_ID_TEXT_BYTES];
    switch ((enum column)index) {
    case COLUMN_ID: result_id(context, row); break;
    case COLUMN_AT: sqlite3_result_int64(context, row->at_ms); break;
    case COLUMN_USER:
        if (row->user.size > 0)
            result_text(context, row->user);
        break;
    case COLUMN_DEVICE:
        satchel_id_text(&row->device, device);
        result_text(context, satchel_span_text(device));
        break;
    case COLUMN_SEQ:
        if (row->seq != 0)
            sqlite3_result_int64(context, (sqlite3_int64)row->seq);
        break;
    case COLUMN_TBL:
    case COLUMN_FIELD:
        result_name(context, module->schema(module->context), row, (enum column)index);
        break;
    case COLUMN_KEY: {
        struct satchel_value key = satchel_value_text(row->key);
        result_value(context, &key);
        break;
    }
    case COLUMN_OLD: result_value(context, &row->old_value); break;
    case COLUMN_NEW: result_value(context, &row->new_value); break;
    case COLUMN_OUTCOME: result_text(context, satchel_span_text(row->outcome)); break;
    case COLUMN_WINNER: result_text(context, row->winner); break;
    case COLUMN_REASON: result_text(context, row->reason); break;
    }
    return SQLITE_OK;
}

static void free_module(void *module)
{
    satchel_free(NULL, module);
}

/* No xCreate: eponymous only. No xUpdate: read-only. */
static const sqlite3_module history = {
    .iVersion = 0,
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = at_end,
    .xColumn = get_column,
    .xRowid = get_rowid,
};

int satchel_history_register(struct sqlite3 *db,
                             const struct satchel_schema *(*schema)(void *context), void *context)
{
    struct history_module *module = satchel_alloc_zero(NULL, sizeof *module);
    if (!module)
        return SQLITE_NOMEM;
    module->schema = schema;
    module->context = context;
    /* SQLite frees the module also when it refuses it. */
    return sqlite3_create_module_v2(db, "satchel_history", &history, module, free_module);
}
