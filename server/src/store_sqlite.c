/* Owns the file of a central store: its own tables, the connections, transactions, the head. What
 * rows, entries and ids look like in it is in store_rows.c, store_log.c and store_ids.c. */
#include "incarnation.h"
#include "store_internal.h"
#include "timelines.h"

#include <satchel/mutation.h>
#include <satchel/sql_error.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

/* A batch touches pages all over the trees: a WAL of 32 MiB lets several batches share the writing
 * of a page by one checkpoint. No spilling: SQLite 3.40 commits frames without checksums where the
 * cache has spilled and a savepoint is rolled back, and a crash then loses them and all behind. */
#define SQL_SETTINGS                  \
    "PRAGMA journal_mode=WAL;"        \
    "PRAGMA synchronous=FULL;"        \
    "PRAGMA foreign_keys=OFF;"        \
    "PRAGMA cache_size=-65536;"       \
    "PRAGMA cache_spill=OFF;"         \
    "PRAGMA wal_autocheckpoint=8000;" \
    "PRAGMA temp_store=MEMORY;"       \
    "PRAGMA journal_size_limit=67108864;"

#define SQL_TABLES                                                                              \
    "CREATE TABLE satchel_workspace(one INTEGER PRIMARY KEY CHECK(one=1),"                      \
    " format INTEGER NOT NULL, name TEXT NOT NULL, id BLOB NOT NULL, node BLOB NOT NULL,"       \
    " cursor INTEGER NOT NULL, seq INTEGER NOT NULL, stamp INTEGER NOT NULL,"                   \
    " created INTEGER NOT NULL, secret BLOB NOT NULL);"                                         \
    "CREATE TABLE satchel_incarnation(node BLOB PRIMARY KEY, last_cursor INTEGER,"              \
    " last_seq INTEGER NOT NULL, own_seq INTEGER) WITHOUT ROWID;"                               \
    "CREATE TABLE satchel_position(cursor INTEGER NOT NULL, node BLOB NOT NULL,"                \
    " seq INTEGER NOT NULL, late_after INTEGER, late_turn INTEGER,"                             \
    " PRIMARY KEY(cursor, node)) WITHOUT ROWID;"                                                \
    "CREATE TABLE satchel_id(number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);"             \
    "CREATE TABLE satchel_row(name BLOB PRIMARY KEY, version BLOB NOT NULL, scope INTEGER)"     \
    " WITHOUT ROWID;"                                                                           \
    "CREATE TABLE satchel_device(id BLOB PRIMARY KEY, user TEXT NOT NULL, token BLOB,"          \
    " last_number INTEGER NOT NULL DEFAULT 0, last_stamp INTEGER NOT NULL"                      \
    " DEFAULT 0, cursor INTEGER NOT NULL DEFAULT 0, clock_error INTEGER, last_seen INTEGER,"    \
    " software TEXT, joined INTEGER NOT NULL, parent BLOB, parent_number INTEGER)"              \
    " WITHOUT ROWID;"                                                                           \
    "CREATE TABLE satchel_hash(device INTEGER NOT NULL, number INTEGER NOT NULL,"               \
    " hash BLOB NOT NULL, cursor INTEGER NOT NULL, PRIMARY KEY(device, number)) WITHOUT ROWID;" \
    "CREATE TABLE satchel_user(login TEXT PRIMARY KEY, role TEXT, active INTEGER NOT NULL"      \
    " DEFAULT 1) WITHOUT ROWID;"                                                                \
    "CREATE TABLE satchel_grant(user TEXT NOT NULL, value NOT NULL, PRIMARY KEY(user, value))"  \
    " WITHOUT ROWID;"                                                                           \
    "CREATE TABLE satchel_invite(hash BLOB PRIMARY KEY, login TEXT NOT NULL,"                   \
    " created INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER, device BLOB)"           \
    " WITHOUT ROWID;"
/* What central stores made by earlier versions lack. */
#define SQL_LATER_TABLES                                                                    \
    "CREATE TABLE IF NOT EXISTS satchel_branch(one INTEGER PRIMARY KEY CHECK(one=1),"       \
    " name TEXT NOT NULL);"                                                                 \
    "INSERT OR IGNORE INTO satchel_branch VALUES(1,'HQ');"                                  \
    "CREATE TABLE IF NOT EXISTS satchel_number(series TEXT NOT NULL, branch TEXT NOT NULL," \
    " year INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY(series, branch, year))"     \
    " WITHOUT ROWID;"                                                                       \
    "CREATE TABLE IF NOT EXISTS satchel_device_role(device BLOB NOT NULL,"                  \
    " role TEXT NOT NULL, superseded INTEGER, PRIMARY KEY(device, role)) WITHOUT ROWID;"    \
    "CREATE TABLE IF NOT EXISTS satchel_revoked(device BLOB PRIMARY KEY, revoked INTEGER,"  \
    " wiped INTEGER, is_late INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"                    \
    "CREATE TABLE IF NOT EXISTS satchel_key(tbl INTEGER NOT NULL, col INTEGER NOT NULL,"    \
    " match BLOB NOT NULL, name BLOB NOT NULL, PRIMARY KEY(tbl, col, match, name))"         \
    " WITHOUT ROWID;"                                                                       \
    "CREATE INDEX IF NOT EXISTS satchel_device_copy ON satchel_device(parent)"              \
    " WHERE parent NOTNULL;"                                                                \
    "CREATE INDEX IF NOT EXISTS satchel_device_user ON satchel_device(user);"               \
    "CREATE INDEX IF NOT EXISTS satchel_key_name ON satchel_key(name);"                     \
    "CREATE TABLE IF NOT EXISTS satchel_gone(parent BLOB NOT NULL, name BLOB NOT NULL,"     \
    " PRIMARY KEY(parent, name)) WITHOUT ROWID;"                                            \
    "CREATE INDEX IF NOT EXISTS satchel_conflict_open ON satchel_conflict(tbl, field)"      \
    " WHERE resolved IS NULL;"                                                              \
    "CREATE TABLE IF NOT EXISTS satchel_quarantine(cursor INTEGER NOT NULL,"                \
    " part INTEGER NOT NULL, name BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',"    \
    " at INTEGER, entry INTEGER, PRIMARY KEY(cursor, part)) WITHOUT ROWID;"                 \
    "CREATE INDEX IF NOT EXISTS satchel_quarantine_name ON satchel_quarantine(name);"       \
    "CREATE TABLE IF NOT EXISTS satchel_token(device BLOB PRIMARY KEY,"                     \
    " number INTEGER NOT NULL, next BLOB) WITHOUT ROWID;"
/* Not together: the column must be there before a statement that names it is compiled. */
#define SQL_ADD_SCOPES "ALTER TABLE satchel_row ADD COLUMN scope INTEGER"
#define SQL_SET_FORMAT "UPDATE satchel_workspace SET format=%d"
#define SQL_INSERT_WORKSPACE "INSERT INTO satchel_workspace VALUES(1,?1,?2,?3,?4,0,0,0,?5,?6)"
#define SQL_FORMAT "SELECT format, node FROM satchel_workspace"

static const char *const statement_sql[STORE_STATEMENT_COUNT] = {
    [STORE_BEGIN] = "BEGIN IMMEDIATE",
    [STORE_COMMIT] = "COMMIT",
    [STORE_ROLLBACK] = "ROLLBACK",
    [STORE_SAVE] = "SAVEPOINT satchel_rows",
    [STORE_RELEASE] = "RELEASE satchel_rows",
    [STORE_BACK] = "ROLLBACK TO satchel_rows",
    [STORE_HEAD] = "SELECT id, node, cursor, seq, stamp FROM satchel_workspace",
    [STORE_SET_HEAD] = "UPDATE satchel_workspace SET cursor=?1, seq=?2, stamp=?3",
    [STORE_ROW] = "SELECT version, scope FROM satchel_row WHERE name=?1",
    [STORE_SET_ROW] = "INSERT INTO satchel_row(name,version) VALUES(?1,?2)"
                      " ON CONFLICT(name) DO UPDATE SET version=excluded.version",
    [STORE_DEVICE] =
        "SELECT user, last_number, last_stamp, parent, parent_number FROM satchel_device"
        " WHERE id=?1",
    [STORE_SET_DEVICE] = "UPDATE satchel_device SET last_number=?1, last_stamp=?2"
                         " WHERE id=?3",
    [STORE_HASH] = "SELECT hash FROM satchel_hash WHERE device=?1 AND number=?2",
    [STORE_ADD_HASH] = "INSERT INTO satchel_hash(device,number,hash,cursor) VALUES(?1,?2,?3,?4)",
    [STORE_ADD_ID] = "INSERT INTO satchel_id(number,id) VALUES(?1,?2)",
    [STORE_KEYS_OF_ROW] = "SELECT tbl, col, match FROM satchel_key WHERE name=?1",
    [STORE_ROWS_OF_KEY] = "SELECT name FROM satchel_key WHERE tbl=?1 AND col=?2 AND match=?3"
                          " LIMIT ?4",
    [STORE_ADD_KEY] = "INSERT OR IGNORE INTO satchel_key(tbl,col,match,name) VALUES(?1,?2,?3,?4)",
    [STORE_FIND_LOST] = "SELECT note FROM satchel_conflict WHERE resolved IS NULL AND tbl=?1"
                        " AND field=?2 AND mine=?3",
    [STORE_FIND_GONE] = "SELECT name FROM satchel_gone WHERE parent=?1",
    [STORE_ADD_GONE] = "INSERT OR IGNORE INTO satchel_gone(parent,name) VALUES(?1,?2)",
    [STORE_LIST_ROWS] = "SELECT name FROM satchel_row WHERE name>?1 AND name<?2 ORDER BY name"
                        " LIMIT ?3",
    [STORE_MARK] = "SAVEPOINT satchel_run",
    [STORE_MARK_RELEASE] = "RELEASE satchel_run",
    [STORE_MARK_BACK] = "ROLLBACK TO satchel_run",
    [STORE_FIND_ENTRY] = "SELECT cursor FROM satchel_hash WHERE device=?1 AND number=?2",
    [STORE_QUARANTINE] = "INSERT INTO satchel_quarantine(cursor,part,name) VALUES(?1,?2,?3)",
    [STORE_ADD_DEVICE] = "INSERT OR IGNORE INTO satchel_device(id, user, joined) VALUES(?1,?2,?3)",
    [STORE_BRANCH] = "SELECT name FROM satchel_branch",
    [STORE_TAKE_NUMBERS] = "INSERT INTO satchel_number(series,branch,year,last)"
                           " VALUES(?1,?2,?3,?4) ON CONFLICT(series,branch,year)"
                           " DO UPDATE SET last=last+excluded.last RETURNING last",
};

/* ---- transactions and the head ---- */

static enum satchel_status run(struct satchel_store_sqlite *store, enum store_statement which,
                               struct satchel_error *error)
{
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[which]);
    return satchel_query_run(&query, error);
}

static void store_rollback(struct satchel_store *base)
{
    struct satchel_store_sqlite *store = store_of(base);
    /* Some failures (a full disk) have ended the transaction already. Without memory one may stay
     * open, because after a change of the schema ROLLBACK has to be prepared again. */
    if (!sqlite3_get_autocommit(store->db) && run(store, STORE_ROLLBACK, NULL) != SATCHEL_OK)
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    store_ids_forget(store, store->id_committed);
    store_machines_forget(store, false);
    scope_forget(store->scopes);
    digest_forget(store->digests);
}

static enum satchel_status store_begin(struct satchel_store *base, struct satchel_error *error)
{
    if (!sqlite3_get_autocommit(store_of(base)->db))
        store_rollback(base);
    store_of(base)->is_looking = false;
    timelines_forget(store_of(base)->timelines);
    digest_forget(store_of(base)->digests); /* what was only looked at since the last commit */
    return run(store_of(base), STORE_BEGIN, error);
}

static enum satchel_status store_mark(struct satchel_store *base, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    store->id_marked = store->id_count;
    return run(store, STORE_MARK, error);
}

static enum satchel_status store_release_mark(struct satchel_store *base, bool keep,
                                              struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    enum satchel_status status = SATCHEL_OK;
    if (!keep) {
        timelines_forget(store->timelines);
        status = run(store, STORE_MARK_BACK, error);
        store_ids_forget(store, store->id_marked);
        store_machines_forget(store, false);
        digest_note_back(store->digests);
    }
    return status == SATCHEL_OK ? run(store, STORE_MARK_RELEASE, error) : status;
}

static enum satchel_status store_commit(struct satchel_store *base, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    enum satchel_status status = scope_finish(store->scopes, error);
    if (status == SATCHEL_OK)
        status = digest_finish(store->digests, error);
    if (status == SATCHEL_OK)
        status = run(store, STORE_COMMIT, error);
    if (status == SATCHEL_OK) {
        store->id_committed = store->id_count;
        scope_settle(store->scopes);
        digest_settle(store->digests);
    }
    return status;
}

static enum satchel_status store_load_head(struct satchel_store *base,
                                           struct satchel_store_head *head,
                                           struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_HEAD]);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK) {
        if (!has_row || !satchel_column_id(query.statement, 0, &head->workspace_id) ||
            !satchel_column_id(query.statement, 1, &head->node))
            status = satchel_error_set(error, SATCHEL_CORRUPT,
                                       "satchel_workspace is damaged; restore a backup");
        head->cursor = (uint64_t)sqlite3_column_int64(query.statement, 2);
        head->seq = (uint64_t)sqlite3_column_int64(query.statement, 3);
        head->stamp = (satchel_stamp)sqlite3_column_int64(query.statement, 4);
    }
    satchel_query_end(&query);
    return status;
}

static enum satchel_status store_write_head(struct satchel_store *base,
                                            const struct satchel_store_head *head,
                                            struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_SET_HEAD]);
    satchel_query_integer(&query, (int64_t)head->cursor);
    satchel_query_integer(&query, (int64_t)head->seq);
    satchel_query_integer(&query, (int64_t)head->stamp);
    return satchel_query_run(&query, error);
}

/* ---- the writing connection's life ---- */

static enum satchel_status store_load_incarnations(struct satchel_store *base,
                                                   struct satchel_arena *arena,
                                                   struct incarnations *out,
                                                   struct satchel_error *error)
{
    return incarnations_read(store_of(base)->db, arena, out, error);
}

static enum satchel_status store_load_positions(struct satchel_store *base, uint64_t cursor,
                                                struct satchel_arena *arena,
                                                struct satchel_vector *out,
                                                struct satchel_error *error)
{
    return positions_read(store_of(base)->db, cursor, arena, out, error);
}

static enum satchel_status store_add_position(struct satchel_store *base, uint64_t cursor,
                                              const struct satchel_position *position,
                                              uint64_t late_after, struct satchel_error *error)
{
    sqlite3 *db = store_of(base)->db;
    enum satchel_status status = positions_add(db, cursor, position, late_after, error);
    return status == SATCHEL_OK ? incarnation_raise(db, &position->node, position->seq, error)
                                : status;
}

static void store_close(struct satchel_store *base)
{
    struct satchel_store_sqlite *store = store_of(base);
    satchel_row_io_free(store->rows);
    satchel_log_free(store->log);
    satchel_log_reader_free(store->log_reader);
    scope_viewer_free(store->viewer);
    timelines_free(store->timelines);
    satchel_buffer_deinit(&store->looked_as);
    scope_keeper_free(store->scopes);
    digest_keeper_free(store->digests);
    satchel_aliases_free(store->aliases);
    for (int i = 0; i < STORE_STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close_v2(store->db);
    satchel_schema_free(store->schema);
    store_ids_deinit(store);
    store_machines_deinit(store);
    satchel_free(NULL, store);
}

static const struct satchel_store_ops sqlite_ops = {
    .begin = store_begin,
    .commit = store_commit,
    .rollback = store_rollback,
    .load_head = store_load_head,
    .load_incarnations = store_load_incarnations,
    .load_positions = store_load_positions,
    .add_position = store_add_position,
    .load_devices = store_load_devices,
    .load_rows = store_load_rows,
    .load_entries = store_load_entries,
    .load_hash = store_load_hash,
    .write_rows = store_write_rows,
    .append_entries = store_append_entries,
    .write_conflicts = store_write_conflicts,
    .write_quarantine = store_write_quarantine,
    .find_entry = store_find_entry,
    .find_conflict = store_find_conflict,
    .write_devices = store_write_devices,
    .any_alias = store_any_alias,
    .find_alias = store_find_alias,
    .write_aliases = store_write_aliases,
    .keys_of_row = store_keys_of_row,
    .rows_of_key = store_rows_of_key,
    .write_keys = store_write_keys,
    .find_references = store_find_references,
    .find_lost = store_find_lost,
    .find_gone = store_find_gone,
    .write_gone = store_write_gone,
    .list_rows = store_list_rows,
    .load_machines = store_load_machines,
    .machine_tables = store_machine_tables,
    .look = store_look,
    .is_granted = store_is_granted,
    .mark = store_mark,
    .release_mark = store_release_mark,
    .add_device = store_add_device,
    .load_numbering = store_load_numbering,
    .take_numbers = store_take_numbers,
    .write_head = store_write_head,
    .close = store_close,
};

static bool writer_applying(void *context)
{
    (void)context;
    return true; /* every write of the server to a synced table applies somebody's change set */
}

static int64_t wall_now(void *context)
{
    (void)context;
    struct timespec now;
    if (timespec_get(&now, TIME_UTC) == 0)
        return 0;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *writer_device(void *context)
{
    return ((struct satchel_store_sqlite *)context)->node_text;
}

static const char *no_name(void *context)
{
    (void)context;
    return NULL;
}

static enum satchel_status open_connection(sqlite3 **out, const char *path, int flags,
                                           const struct satchel_identity *identity,
                                           struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_open_v2(path, out, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        if (!*out)
            return satchel_error_set(error, SATCHEL_NOMEM, "no memory to open %s", path);
        status = satchel_db_error(error, *out, "opening %s", path);
    } else {
        sqlite3_extended_result_codes(*out, 1);
        sqlite3_busy_timeout(*out, 5000);
        int code = satchel_functions_register(*out, identity);
        if (code != SQLITE_OK)
            status = satchel_sql_failure(error, code, "registering the satchel functions");
    }
    if (status != SATCHEL_OK) {
        sqlite3_close_v2(*out);
        *out = NULL;
    }
    return status;
}

static enum satchel_status check_format(struct satchel_store_sqlite *store, const char *path,
                                        struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    struct satchel_query query;
    struct satchel_error detail = {0};
    struct satchel_id node;
    bool has_row = false;
    int format = 0;
    enum satchel_status status = satchel_db_prepare(store->db, SQL_FORMAT, &statement, &detail);
    if (status == SATCHEL_SQL || status == SATCHEL_CORRUPT) {
        status =
            satchel_error_set(error, SATCHEL_MISMATCH, "%s is no central store of a workspace (%s)",
                              path, detail.message);
        goto cleanup;
    }
    if (status != SATCHEL_OK) {
        satchel_error_set(error, status, "%s", detail.message);
        goto cleanup;
    }
    satchel_query_begin(&query, store->db, statement);
    status = satchel_query_step(&query, &has_row, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    if (!has_row || !satchel_column_id(statement, 1, &node))
        status =
            satchel_error_set(error, SATCHEL_MISMATCH, "%s is no complete central store", path);
    else
        format = sqlite3_column_int(statement, 0);
    store->is_unscoped = format == SATCHEL_STORE_FORMAT_UNSCOPED;
    store->is_earlier = store->is_unscoped || format == SATCHEL_STORE_FORMAT_WITHOUT_USERS;
    if (status == SATCHEL_OK && !store->is_earlier && format != SATCHEL_STORE_FORMAT)
        status = satchel_error_set(error, SATCHEL_VERSION,
                                   "%s has format %d, this satcheld knows %d: use the satcheld "
                                   "that wrote it, or a newer one",
                                   path, format, SATCHEL_STORE_FORMAT);
    if (status == SATCHEL_OK)
        satchel_id_text(&node, store->node_text);
cleanup:
    sqlite3_finalize(statement);
    return status;
}

static struct satchel_store_sqlite *store_new(void)
{
    struct satchel_store_sqlite *store = satchel_alloc_zero(NULL, sizeof *store);
    if (!store)
        return NULL;
    store->base.ops = &sqlite_ops;
    store->base.ids.number_of = store_ids_number_of;
    store->base.ids.id_of = store_ids_id_of;
    store->base.ids.context = store;
    store->identity.context = store;
    store_machines_init(store);
    store->identity.applying = writer_applying;
    store->identity.now_ms = wall_now;
    store->identity.device = writer_device;
    store->identity.user = no_name;
    store->identity.role = no_name;
    satchel_buffer_init(&store->looked_as, SIZE_MAX / 2, NULL);
    satchel_map_init(&store->id_numbers, SATCHEL_STORE_IDS_MAX, NULL);
    return store;
}

/* A store of an earlier format: in one transaction, which end_scopes ends, what users and scopes
 * are kept in, and those there are. A connection that is closed in between rolls it back. */
static enum satchel_status begin_scopes(struct satchel_store_sqlite *store,
                                        struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (store->is_earlier)
        status = satchel_db_exec(store->db, "BEGIN IMMEDIATE", error);
    if (status == SATCHEL_OK && store->is_unscoped)
        status = satchel_db_exec(store->db, SQL_ADD_SCOPES, error);
    return status == SATCHEL_OK ? scope_create_tables(store->db, error) : status;
}

static enum satchel_status end_scopes(struct satchel_store_sqlite *store,
                                      struct satchel_error *error)
{
    char sql[80];
    if (!store->is_earlier)
        return SATCHEL_OK;
    enum satchel_status status = scope_begin(store->scopes, !store->is_unscoped, error);
    snprintf(sql, sizeof sql, SQL_SET_FORMAT, SATCHEL_STORE_FORMAT);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(store->db, sql, error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(store->db, "COMMIT", error);
    store->is_earlier = store->is_unscoped = false;
    return status;
}

/* What an opened file of the right format still needs. */
static enum satchel_status make_ready(struct satchel_store_sqlite *store,
                                      struct satchel_error *error)
{
    struct satchel_schema *schema = NULL;
    enum satchel_status status = satchel_db_exec(store->db, SQL_SETTINGS, error);
    if (status == SATCHEL_OK && SATCHEL_MUTATED(no_server_sync))
        status = satchel_db_exec(store->db, "PRAGMA synchronous=OFF", error);
    if (status == SATCHEL_OK)
        status = satchel_log_create(store->db, error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(store->db, SQL_LATER_TABLES, error);
    if (status == SATCHEL_OK)
        status = incarnations_make_ready(store->db, error);
    if (status == SATCHEL_OK)
        status = begin_scopes(store, error);
    for (int i = 0; status == SATCHEL_OK && i < STORE_STATEMENT_COUNT; i++)
        status = satchel_db_prepare(store->db, statement_sql[i], &store->statements[i], error);
    if (status == SATCHEL_OK)
        status = satchel_log_new(&store->log, store->db);
    if (status == SATCHEL_OK)
        status = satchel_log_reader_new(&store->log_reader, store->db);
    if (status == SATCHEL_OK)
        status = satchel_aliases_new(&store->aliases, store->db);
    if (status == SATCHEL_OK)
        status = scope_keeper_new(&store->scopes, store->db, store->aliases, error);
    if (status == SATCHEL_OK)
        status = store_ids_load(store, error);
    if (status == SATCHEL_OK)
        status = satchel_schema_load(store->db, &schema, error);
    if (status == SATCHEL_OK)
        status = satchel_store_sqlite_take_schema(&store->base, schema, error);
    if (status == SATCHEL_OK)
        status = end_scopes(store, error);
    if (status == SATCHEL_OK)
        status = digest_keeper_open(&store->digests, store->db, store->schema, error);
    if (status == SATCHEL_OK)
        scope_tell_digests(store->scopes, store->digests);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "the central store could not be made ready");
    return status;
}

enum satchel_status satchel_store_sqlite_open(struct satchel_store **out, const char *path,
                                              struct satchel_error *error)
{
    *out = NULL;
    struct satchel_store_sqlite *store = store_new();
    if (!store)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to open %s", path);
    enum satchel_status status =
        open_connection(&store->db, path, SQLITE_OPEN_READWRITE, &store->identity, error);
    if (status == SATCHEL_OK)
        status = check_format(store, path, error);
    if (status == SATCHEL_OK)
        status = make_ready(store, error);
    if (status != SATCHEL_OK) {
        store_close(&store->base);
        return status;
    }
    *out = &store->base;
    return SATCHEL_OK;
}

static enum satchel_status create_tables(sqlite3 *db, struct satchel_span name, int64_t now_ms,
                                         struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    struct satchel_query query;
    struct satchel_id workspace, node;
    uint8_t secret[SATCHEL_WORKSPACE_KEY_BYTES];
    randombytes_buf(secret, sizeof secret);
    randombytes_buf(&workspace, sizeof workspace);
    randombytes_buf(&node, sizeof node);
    enum satchel_status status = satchel_db_exec(db, SQL_SETTINGS "BEGIN;" SQL_TABLES, error);
    if (status == SATCHEL_OK)
        status = satchel_db_prepare(db, SQL_INSERT_WORKSPACE, &statement, error);
    if (status == SATCHEL_OK) {
        satchel_query_begin(&query, db, statement);
        satchel_query_integer(&query, SATCHEL_STORE_FORMAT);
        satchel_query_text(&query, name);
        satchel_query_id(&query, &workspace);
        satchel_query_id(&query, &node);
        satchel_query_integer(&query, now_ms);
        satchel_query_blob(&query, satchel_span_of(secret, sizeof secret));
        status = satchel_query_run(&query, error);
    }
    sodium_memzero(secret, sizeof secret);
    sqlite3_finalize(statement);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(db, "COMMIT", error);
    return status;
}

enum satchel_status satchel_store_sqlite_create(struct satchel_store **out, const char *path,
                                                struct satchel_span name, int64_t now_ms,
                                                struct satchel_error *error)
{
    *out = NULL;
    sqlite3 *db = NULL;
    struct satchel_identity identity = {NULL, writer_applying, wall_now, no_name, no_name, no_name};
    enum satchel_status status =
        open_connection(&db, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &identity, error);
    if (status != SATCHEL_OK)
        return status;
    status = create_tables(db, name, now_ms, error);
    sqlite3_close_v2(db);
    if (status == SATCHEL_OK)
        status = satchel_store_sqlite_open(out, path, error);
    return status;
}

sqlite3 *satchel_store_sqlite_db(struct satchel_store *store)
{
    return store_of(store)->db;
}

struct satchel_row_io *satchel_store_sqlite_rows(struct satchel_store *store)
{
    return store_of(store)->rows;
}

void satchel_store_sqlite_note_users(struct satchel_store *store)
{
    scope_note_users(store_of(store)->scopes);
}

enum satchel_status satchel_store_sqlite_take_schema(struct satchel_store *base,
                                                     struct satchel_schema *schema,
                                                     struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    satchel_row_io_free(store->rows);
    store->rows = NULL;
    enum satchel_status status = scope_take_schema(store->scopes, schema, error);
    if (status == SATCHEL_OK && store->digests)
        status = digest_take_schema(store->digests, schema, error);
    satchel_schema_free(store->schema);
    store->schema = schema;
    base->schema = schema;
    store->is_looking = false;
    store_machines_forget(store, true);
    if (!schema || status != SATCHEL_OK)
        return status;
    status = satchel_row_io_new(&store->rows, store->db, schema);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory for the statements of the schema");
    return store_index_references(store, error);
}

/* ---- readers ---- */

enum satchel_status satchel_store_sqlite_reader(sqlite3 **out, const char *path,
                                                const struct satchel_identity *identity,
                                                struct satchel_error *error)
{
    enum satchel_status status = open_connection(out, path, SQLITE_OPEN_READWRITE, identity, error);
    if (status != SATCHEL_OK)
        return status;
    int code = sqlite3_db_config(*out, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    status = code == SQLITE_OK ? SATCHEL_OK : satchel_db_error(error, *out, "configuring a reader");
    if (status == SATCHEL_OK)
        status = satchel_db_exec(*out,
                                 "PRAGMA wal_autocheckpoint=0; PRAGMA query_only=1;"
                                 "PRAGMA foreign_keys=OFF; PRAGMA cache_size=-32768;"
                                 "PRAGMA temp_store=MEMORY;",
                                 error);
    if (status != SATCHEL_OK) {
        sqlite3_close_v2(*out);
        *out = NULL;
    }
    return status;
}
