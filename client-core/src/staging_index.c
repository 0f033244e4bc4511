/* Owns how an index gets its entries in order. Must not know what the tables are for.
 *
 * SQLite writes an entry only when it writes its row. But the b-tree of an index is that of a table
 * WITHOUT ROWID whose key is the columns of the index and what names the row; so for the length of
 * the filling the connection takes it for such a table, an imposter, as SQLite's RBU extension
 * does. The imposter is in this connection's memory alone, and gone where the schema is read anew:
 * what its root page is then, nobody here believes. */
#include "staging_index.h"

#include <satchel/memory.h>
#include <satchel/mutation.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>
#include <satchel/staging_table.h>

#include <limits.h>

#define SORTED "temp.satchel_sorted"
#define SQL_UNFILLED                                                          \
    "SELECT name, tbl_name FROM main.sqlite_schema WHERE type = 'index'"      \
    " AND substr(name, 1, length(?1)) = ?1 AND substr(sql, -length(?2)) = ?2" \
    " ORDER BY rowid"
/* A column without a name is the row's number. */
#define SQL_COLUMNS                                                                    \
    "SELECT coalesce('\"' || replace(i.name, '\"', '\"\"') || '\"', 'rowid'), t.type," \
    " i.coll, i.desc FROM pragma_index_xinfo(?1, 'main') AS i"                         \
    " LEFT JOIN pragma_table_xinfo(?2, 'main') AS t ON t.cid = i.cid ORDER BY i.seqno"

#ifdef SATCHEL_MUTATIONS
enum { STEP_ROWS = 2, STEPS_MAX = 1 }; /* the simulator has few rows, and wants many runs */
#else
enum { STEP_ROWS = 256, STEPS_MAX = INT_MAX };
#endif

struct unfilled {
    char *index, *table;
    char imposter[40]; /* "" until it is made */
};
struct satchel_index_filling {
    sqlite3 *db;
    struct unfilled *items;
    uint32_t count, next; /* the one under way is the one before `next` */
    char *declared, *key; /* of its imposter: the columns, and its PRIMARY KEY */
    sqlite3_stmt *insert;
    int64_t written, sorted; /* of its entries */
};

static enum satchel_status no_memory(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_NOMEM, "no memory to fill an index");
}

static enum satchel_status sql_error(struct satchel_index_filling *filling,
                                     struct satchel_error *error)
{
    return satchel_sql_error(error, filling->db, "cannot fill an index");
}

/* Runs `sql`, which it frees. */
static enum satchel_status run(struct satchel_index_filling *filling, char *sql,
                               struct satchel_error *error)
{
    enum satchel_status status = sql ? SATCHEL_OK : no_memory(error);
    if (sql && sqlite3_exec(filling->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        status = sql_error(filling, error);
    sqlite3_free(sql);
    return status;
}

static enum satchel_status read_number(struct satchel_index_filling *filling, char *sql,
                                       int64_t *out, struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = sql ? SATCHEL_OK : no_memory(error);
    if (sql && (sqlite3_prepare_v2(filling->db, sql, -1, &select, NULL) != SQLITE_OK ||
                sqlite3_step(select) != SQLITE_ROW))
        status = sql_error(filling, error);
    *out = status == SATCHEL_OK ? sqlite3_column_int64(select, 0) : 0;
    sqlite3_finalize(select);
    sqlite3_free(sql);
    return status;
}

/* ---- whether ---- */

/* Runs `sql`, which makes a table, for the b-tree at `root`. */
static int make_table_at(sqlite3 *db, int root, const char *sql)
{
    sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, db, "main", 1, root);
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, db, "main", 0, 0);
    return code;
}

/* An SQLite may be built without. */
static bool has_imposters(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *select = NULL;
    bool has = false;
    if (sqlite3_open(":memory:", &db) == SQLITE_OK &&
        sqlite3_exec(db, "CREATE TABLE t(x); CREATE INDEX i ON t(x) WHERE 0", NULL, NULL, NULL) ==
            SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_schema WHERE name = 'i'", -1, &select,
                           NULL) == SQLITE_OK &&
        sqlite3_step(select) == SQLITE_ROW) {
        int root = sqlite3_column_int(select, 0);
        sqlite3_finalize(select);
        select = NULL;
        has = make_table_at(db, root, "CREATE TABLE f(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID") ==
                  SQLITE_OK &&
              sqlite3_exec(db, "INSERT INTO f VALUES(NULL, 1)", NULL, NULL, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, "SELECT 1 FROM sqlite_schema WHERE name = 'f'", -1, &select,
                                 NULL) == SQLITE_OK &&
              sqlite3_step(select) == SQLITE_DONE;
    }
    sqlite3_finalize(select);
    sqlite3_close(db);
    return has;
}

bool satchel_indexes_may_wait(sqlite3 *db)
{
    sqlite3_stmt *select = NULL;
    int temp_store = 0;
    if (sqlite3_prepare_v2(db, "PRAGMA temp_store", -1, &select, NULL) == SQLITE_OK &&
        sqlite3_step(select) == SQLITE_ROW)
        temp_store = sqlite3_column_int(select, 0);
    sqlite3_finalize(select);
    bool is_in_memory = temp_store == 2 || sqlite3_compileoption_used("TEMP_STORE=3") ||
                        (temp_store == 0 && sqlite3_compileoption_used("TEMP_STORE=2"));
    return !is_in_memory && has_imposters();
}

/* ---- which ---- */

static enum satchel_status add(struct satchel_index_filling *filling, sqlite3_stmt *row,
                               struct satchel_error *error)
{
    struct unfilled *grown = sqlite3_realloc64(
        filling->items, (filling->count + 1) * (sqlite3_uint64)sizeof *filling->items);
    if (!grown)
        return no_memory(error);
    filling->items = grown;
    struct unfilled *item = &grown[filling->count++];
    *item = (struct unfilled){.index = sqlite3_mprintf("%s", sqlite3_column_text(row, 0)),
                              .table = sqlite3_mprintf("%s", sqlite3_column_text(row, 1))};
    return item->index && item->table ? SATCHEL_OK : no_memory(error);
}

static enum satchel_status find_unfilled(struct satchel_index_filling *filling,
                                         struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_ERROR;
    if (sqlite3_prepare_v2(filling->db, SQL_UNFILLED, -1, &select, NULL) != SQLITE_OK)
        return sql_error(filling, error);
    sqlite3_bind_text(select, 1, SATCHEL_STAGING_PREFIX, -1, SQLITE_STATIC);
    sqlite3_bind_text(select, 2, SATCHEL_STAGING_UNFILLED, -1, SQLITE_STATIC);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW)
        status = add(filling, select, error);
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = sql_error(filling, error);
    sqlite3_finalize(select);
    return status;
}

enum satchel_status satchel_index_filling_new(struct satchel_index_filling **out, sqlite3 *db,
                                              struct satchel_error *error)
{
    struct satchel_index_filling *filling = satchel_alloc_zero(NULL, sizeof *filling);
    *out = NULL;
    if (!filling)
        return no_memory(error);
    filling->db = db;
    enum satchel_status status = find_unfilled(filling, error);
    if (status == SATCHEL_OK && filling->count > 0)
        *out = filling;
    else
        satchel_index_filling_free(filling);
    return status;
}

static void end_one(struct satchel_index_filling *filling)
{
    sqlite3_finalize(filling->insert);
    filling->insert = NULL;
    sqlite3_free(filling->declared);
    sqlite3_free(filling->key);
    filling->declared = filling->key = NULL;
}

void satchel_index_filling_free(struct satchel_index_filling *filling)
{
    bool has_imposter = false;
    if (!filling)
        return;
    end_one(filling);
    for (uint32_t i = 0; i < filling->count; i++) {
        has_imposter = has_imposter || filling->items[i].imposter[0];
        sqlite3_free(filling->items[i].index);
        sqlite3_free(filling->items[i].table);
    }
    if (filling->next > 0)
        sqlite3_exec(filling->db, "DROP TABLE IF EXISTS " SORTED, NULL, NULL, NULL);
    if (has_imposter) /* the schema is read anew, without them */
        sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, filling->db, "main", 0, 1);
    sqlite3_free(filling->items);
    satchel_free(NULL, filling);
}

/* ---- sorted ---- */

struct columns {
    sqlite3_str *declared, *key, *selected;
};

static void add_column(struct columns *columns, int number, sqlite3_stmt *row)
{
    const char *comma = number > 0 ? ", " : "", *type = (const char *)sqlite3_column_text(row, 1);
    sqlite3_str_appendf(columns->declared, "%sc%d", comma, number);
    if (type && type[0]) /* its affinity says how a value is stored */
        sqlite3_str_appendf(columns->declared, " \"%w\"", type);
    sqlite3_str_appendf(columns->key, "%sc%d COLLATE \"%w\"%s", comma, number,
                        sqlite3_column_text(row, 2), sqlite3_column_int(row, 3) ? " DESC" : "");
    sqlite3_str_appendf(columns->selected, "%s%s AS c%d", comma, sqlite3_column_text(row, 0),
                        number);
}

/* `selected`: what reads the entries off the table; the caller's to free. */
static enum satchel_status read_columns(struct satchel_index_filling *filling,
                                        const struct unfilled *item, char **selected,
                                        struct satchel_error *error)
{
    sqlite3_stmt *select = NULL;
    struct columns columns = {sqlite3_str_new(filling->db), sqlite3_str_new(filling->db),
                              sqlite3_str_new(filling->db)};
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_ERROR, count = 0;
    if (sqlite3_prepare_v2(filling->db, SQL_COLUMNS, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_text(select, 1, item->index, -1, SQLITE_STATIC);
        sqlite3_bind_text(select, 2, item->table, -1, SQLITE_STATIC);
        while ((code = sqlite3_step(select)) == SQLITE_ROW)
            add_column(&columns, count++, select);
    }
    if (code != SQLITE_DONE)
        status = sql_error(filling, error);
    sqlite3_finalize(select);
    filling->declared = sqlite3_str_finish(columns.declared);
    filling->key = sqlite3_str_finish(columns.key);
    *selected = sqlite3_str_finish(columns.selected);
    if (status == SATCHEL_OK && count == 0)
        return satchel_error_set(error, SATCHEL_AGAIN, "index %s is no more", item->index);
    return status != SATCHEL_OK || (filling->declared && filling->key && *selected)
               ? status
               : no_memory(error);
}

/* What is sorted may go to the disk: no statement of the main database can fail meanwhile
 * (replica.c says what spilling is off for). */
static enum satchel_status sort(struct satchel_index_filling *filling, const struct unfilled *item,
                                const char *selected, struct satchel_error *error)
{
    enum satchel_status status = run(
        filling, sqlite3_mprintf("DROP TABLE IF EXISTS " SORTED ";PRAGMA cache_spill=ON"), error);
    if (status == SATCHEL_OK)
        status = run(filling,
                     sqlite3_mprintf("CREATE TABLE " SORTED " AS SELECT %s FROM main.\"%w\" ORDER "
                                     "BY %s",
                                     selected, item->table, filling->key),
                     error);
    sqlite3_exec(filling->db, "PRAGMA cache_spill=OFF", NULL, NULL, NULL);
    if (status == SATCHEL_OK)
        status =
            read_number(filling, sqlite3_mprintf("SELECT coalesce(max(rowid), 0) FROM " SORTED),
                        &filling->sorted, error);
    filling->written = 0;
    filling->sorted -= filling->sorted > 0 && SATCHEL_MUTATED(bare_index);
    return status;
}

enum satchel_status satchel_index_filling_sort(struct satchel_index_filling *filling, bool *is_over,
                                               struct satchel_error *error)
{
    char *selected = NULL;
    end_one(filling);
    *is_over = filling->next == filling->count;
    if (*is_over)
        return SATCHEL_OK;
    const struct unfilled *item = &filling->items[filling->next++];
    enum satchel_status status = read_columns(filling, item, &selected, error);
    if (status == SATCHEL_OK)
        status = sort(filling, item, selected, error);
    sqlite3_free(selected);
    return status;
}

/* ---- written ---- */

/* Every statement of the transaction has seen to it that the schema in memory is the file's: an
 * imposter that is still there has its root page still. */
static bool is_there(const struct satchel_index_filling *filling, const struct unfilled *item)
{
    return sqlite3_table_column_metadata(filling->db, "main", item->imposter, NULL, NULL, NULL,
                                         NULL, NULL, NULL) == SQLITE_OK;
}

static enum satchel_status changed(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_AGAIN,
                             "a table has changed while the replica was being filled; sync again");
}

static enum satchel_status make_imposter(struct satchel_index_filling *filling,
                                         struct unfilled *item, struct satchel_error *error)
{
    int64_t root = 0;
    enum satchel_status status =
        read_number(filling,
                    sqlite3_mprintf("SELECT coalesce(max(rootpage), 0) FROM main.sqlite_schema"
                                    " WHERE type = 'index' AND name = %Q",
                                    item->index),
                    &root, error);
    char *sql = sqlite3_mprintf("CREATE TABLE satchel_fill_%u(%s, PRIMARY KEY(%s)) WITHOUT "
                                "ROWID",
                                filling->next, filling->declared, filling->key);
    if (status == SATCHEL_OK && root == 0)
        status = changed(error);
    sqlite3_snprintf(sizeof item->imposter, item->imposter, "satchel_fill_%u", filling->next);
    if (status == SATCHEL_OK && !sql)
        status = no_memory(error);
    if (status == SATCHEL_OK && make_table_at(filling->db, (int)root, sql) != SQLITE_OK)
        status = sql_error(filling, error);
    sqlite3_free(sql);
    return status;
}

static enum satchel_status begin_index(struct satchel_index_filling *filling, struct unfilled *item,
                                       struct satchel_error *error)
{
    enum satchel_status status = make_imposter(filling, item, error);
    if (status == SATCHEL_OK) /* of an earlier session: in the same order */
        status =
            read_number(filling, sqlite3_mprintf("SELECT count(*) FROM main.%s", item->imposter),
                        &filling->written, error);
    char *sql = sqlite3_mprintf("INSERT OR IGNORE INTO main.%s SELECT * FROM " SORTED
                                " WHERE rowid > ?1 AND rowid <= ?2 ORDER BY rowid",
                                item->imposter);
    if (status == SATCHEL_OK && !sql)
        status = no_memory(error);
    if (status == SATCHEL_OK &&
        sqlite3_prepare_v2(filling->db, sql, -1, &filling->insert, NULL) != SQLITE_OK)
        status = sql_error(filling, error);
    sqlite3_free(sql);
    return status;
}

enum satchel_status satchel_index_filling_write(struct satchel_index_filling *filling,
                                                bool (*is_enough)(void *context), void *context,
                                                bool *is_whole, struct satchel_error *error)
{
    struct unfilled *item = &filling->items[filling->next - 1];
    enum satchel_status status = SATCHEL_OK;
    *is_whole = false;
    if (!filling->insert)
        status = begin_index(filling, item, error);
    else if (!is_there(filling, item))
        status = changed(error);
    for (int i = 0; status == SATCHEL_OK && filling->written < filling->sorted; i++) {
        int64_t end = filling->written + STEP_ROWS;
        sqlite3_bind_int64(filling->insert, 1, filling->written);
        sqlite3_bind_int64(filling->insert, 2, end);
        sqlite3_step(filling->insert);
        if (sqlite3_reset(filling->insert) != SQLITE_OK)
            status = sql_error(filling, error);
        else
            filling->written = end;
        if (i + 1 == STEPS_MAX || is_enough(context))
            break;
    }
    *is_whole = filling->written >= filling->sorted;
    return status;
}

enum satchel_status satchel_index_filling_settle(struct satchel_index_filling *filling,
                                                 struct satchel_error *error)
{
    for (uint32_t i = 0; i < filling->count; i++)
        if (!is_there(filling, &filling->items[i]))
            return changed(error);
    return satchel_staging_indexes_settle(filling->db, error);
}
