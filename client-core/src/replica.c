/* Owns the replica handle: opening and attaching, who the replica is, its internal tables, its
 * schema. What is written through it is capture's; what comes from the server, apply's. */
#include "replica.h"

#include <stdio.h>
#include <sys/stat.h>

enum { ROLE_BYTES = SATCHEL_ROLE_BYTES_MAX + 1 };

static const char SELECT_IDENTITY[] =
    "SELECT format, state, server, workspace, workspace_id, device, token, secret, user, role,"
    " file, receipt, pin, token_number FROM main.satchel_replica";
static const char SELECT_IS_REPLICA[] =
    "SELECT count(*) FROM main.sqlite_schema WHERE type='table' AND name='satchel_replica'";
static const char SELECT_MIGRATION_COUNT[] = "SELECT count(*) FROM main.satchel_migration";

enum satchel_status satchel_replica_execute(sqlite3 *db, const char *sql,
                                            struct satchel_error *error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return SATCHEL_OK;
    return satchel_sql_error(error, db, "cannot run \"%.120s\"", sql);
}

uint32_t satchel_replica_data_version(const struct satchel_replica *replica)
{
    unsigned version = 0;
    if (sqlite3_file_control(replica->db, "main", SQLITE_FCNTL_DATA_VERSION, &version) != SQLITE_OK)
        return 0;
    return version;
}

/* ---- the internal tables ---- */

enum satchel_status satchel_replica_create_tables(sqlite3 *db, struct satchel_error *error)
{
    static const char *const statements[] = {SATCHEL_REPLICA_DDL,  SATCHEL_CHANGE_DDL,
                                             SATCHEL_BASE_DDL,     SATCHEL_RECOVERY_DDL,
                                             SATCHEL_SNAPSHOT_DDL, SATCHEL_STATUS_DDL};
    enum satchel_status status = satchel_log_create(db, error);
    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && status == SATCHEL_OK; i++)
        status = satchel_replica_execute(db, statements[i], error);
    return status;
}

/* ---- who it is ---- */

static char *copy_text(sqlite3_stmt *statement, int column, bool *is_missing)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = satchel_alloc(NULL, size);
    if (!copy)
        *is_missing = true;
    else
        memcpy(copy, text, size);
    return copy;
}

static bool copy_bytes(sqlite3_stmt *statement, int column, void *out, size_t size)
{
    const void *bytes = sqlite3_column_blob(statement, column);
    if (!bytes || (size_t)sqlite3_column_bytes(statement, column) != size)
        return false;
    memcpy(out, bytes, size);
    return true;
}

bool satchel_replica_is_device(const struct satchel_replica *replica, sqlite3_stmt *row, int column)
{
    struct satchel_id device = {{0}};
    return copy_bytes(row, column, device.bytes, sizeof device.bytes) &&
           satchel_id_equal(&device, &replica->device);
}

static void forget_texts(struct satchel_replica *replica)
{
    satchel_free(NULL, replica->server);
    satchel_free(NULL, replica->workspace);
    satchel_free(NULL, replica->user);
    satchel_free(NULL, replica->role);
    replica->server = replica->workspace = replica->user = replica->role = NULL;
}

static enum satchel_status take_identity(struct satchel_replica *replica, sqlite3_stmt *statement,
                                         struct satchel_error *error)
{
    int format = sqlite3_column_int(statement, 0);
    if (format != SATCHEL_REPLICA_FORMAT)
        return satchel_error_set(
            error, SATCHEL_VERSION,
            "%s: a replica of format %d, this software reads format %d; sync it "
            "with the version that made it, then join anew",
            replica->path, format, SATCHEL_REPLICA_FORMAT);
    const char *state = (const char *)sqlite3_column_text(statement, 1);
    bool is_enrolled = state && strcmp(state, "joining") != 0;
    bool is_whole = copy_bytes(statement, 5, replica->device.bytes, sizeof replica->device.bytes) &&
                    copy_bytes(statement, 6, replica->token, sizeof replica->token) &&
                    copy_bytes(statement, 7, replica->secret, sizeof replica->secret) &&
                    copy_bytes(statement, 10, replica->file.bytes, sizeof replica->file.bytes);
    if (is_enrolled)
        is_whole = is_whole &&
                   copy_bytes(statement, 4, replica->workspace_id.bytes,
                              sizeof replica->workspace_id.bytes) &&
                   copy_bytes(statement, 11, replica->receipt.bytes, sizeof replica->receipt.bytes);
    is_whole = is_whole && satchel_pins_take(&replica->pins, satchel_column_span(statement, 12));
    if (!is_whole)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "%s: satchel_replica does not hold a whole enrolment",
                                 replica->path);
    replica->token_number = (uint64_t)sqlite3_column_int64(statement, 13);
    satchel_id_text(&replica->device, replica->device_text);
    forget_texts(replica);
    bool is_missing = false;
    replica->server = copy_text(statement, 2, &is_missing);
    replica->workspace = copy_text(statement, 3, &is_missing);
    replica->user = copy_text(statement, 8, &is_missing);
    replica->role = copy_text(statement, 9, &is_missing);
    replica->is_enrolled = is_enrolled;
    replica->is_revoked = is_enrolled && strcmp(state, "joined") != 0;
    replica->is_wiped = is_enrolled && strcmp(state, "wiped") == 0;
    return is_missing ? satchel_error_set(error, SATCHEL_NOMEM, "out of memory") : SATCHEL_OK;
}

/* A database that is not one fails here, at the first read. */
static enum satchel_status check_is_replica(struct satchel_replica *replica,
                                            struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum satchel_status status = SATCHEL_OK;
    bool is_replica = false;
    int code = sqlite3_prepare_v2(replica->db, SELECT_IS_REPLICA, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        is_replica = sqlite3_column_int(statement, 0) == 1;
    else if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        status = satchel_error_set(error, SATCHEL_CORRUPT, "%s: not an SQLite database (%s)",
                                   replica->path, sqlite3_errmsg(replica->db));
    else
        status = satchel_sql_error(error, replica->db, "cannot read %s", replica->path);
    sqlite3_finalize(statement);
    if (status == SATCHEL_OK && !is_replica)
        status = satchel_error_set(error, SATCHEL_MISMATCH,
                                   "%s: an SQLite database, but no Satchel replica; make one with "
                                   "satchel join",
                                   replica->path);
    return status;
}

enum satchel_status satchel_replica_read_identity(struct satchel_replica *replica,
                                                  struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum satchel_status status = check_is_replica(replica, error);
    if (status != SATCHEL_OK)
        return status;
    int code = sqlite3_prepare_v2(replica->db, SELECT_IDENTITY, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        status = take_identity(replica, statement, error);
    else if (code == SQLITE_DONE)
        status = satchel_error_set(error, SATCHEL_MISMATCH,
                                   "%s: no Satchel replica: its enrolment was never begun",
                                   replica->path);
    else
        status = satchel_sql_error(error, replica->db, "cannot read satchel_replica of %s",
                                   replica->path);
    sqlite3_finalize(statement);
    return status;
}

/* ---- schema ---- */

static enum satchel_status read_migration_count(sqlite3 *db, uint32_t *out,
                                                struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    enum satchel_status status = SATCHEL_OK;
    int code = sqlite3_prepare_v2(db, SELECT_MIGRATION_COUNT, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *out = (uint32_t)sqlite3_column_int64(statement, 0);
    else
        status = satchel_sql_error(error, db, "cannot read satchel_migration");
    sqlite3_finalize(statement);
    return status;
}

enum satchel_status satchel_replica_refresh_schema(struct satchel_replica *replica,
                                                   struct satchel_error *error)
{
    uint32_t count = 0;
    enum satchel_status status = read_migration_count(replica->db, &count, error);
    uint32_t known = replica->schema ? replica->schema->migration_count : 0;
    if (status != SATCHEL_OK || count == known)
        return status;
    struct satchel_schema *schema = NULL;
    status = satchel_schema_load(replica->db, &schema, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_capture_forget_schema(replica->capture);
    satchel_schema_free(replica->schema);
    replica->schema = schema;
    return SATCHEL_OK;
}

static enum satchel_status create_triggers(struct satchel_replica *replica,
                                           struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    struct satchel_buffer sql;
    satchel_buffer_init(&sql, 4u << 20, NULL);
    for (uint32_t i = 0; i < replica->schema->table_count && status == SATCHEL_OK; i++) {
        const struct satchel_table *table = &replica->schema->tables[i];
        if (table->is_local)
            continue;
        satchel_buffer_clear(&sql);
        char *drop = sqlite3_mprintf("DROP TRIGGER IF EXISTS main.\"satchel_insert_%w\";"
                                     "DROP TRIGGER IF EXISTS main.\"satchel_update_%w\";"
                                     "DROP TRIGGER IF EXISTS main.\"satchel_delete_%w\";"
                                     "DROP TRIGGER IF EXISTS main.\"satchel_key_%w\";",
                                     table->name, table->name, table->name, table->name);
        status = drop ? satchel_replica_execute(replica->db, drop, error) : SATCHEL_NOMEM;
        sqlite3_free(drop);
        if (status == SATCHEL_OK)
            status = satchel_capture_triggers(table, &replica->file, &sql);
        if (status == SATCHEL_LIMIT)
            status = satchel_error_set(error, SATCHEL_SCHEMA,
                                       "table %s has %u columns, too many to capture", table->name,
                                       (unsigned)table->column_count);
        const char *text = status == SATCHEL_OK ? satchel_buffer_text(&sql) : NULL;
        if (status == SATCHEL_OK)
            status = text ? satchel_replica_execute(replica->db, text, error) : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&sql);
    return status;
}

enum satchel_status satchel_replica_migrate(struct satchel_replica *replica,
                                            const struct satchel_migration *migrations,
                                            uint32_t migration_count, struct satchel_error *error)
{
    satchel_guard_detach(replica); /* a sync is at work; it is back when that ends */
    enum satchel_status status =
        satchel_schema_install(replica->db, migrations, migration_count, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_refresh_schema(replica, error);
    if (status == SATCHEL_OK && replica->schema)
        status = create_triggers(replica, error);
    return status;
}

/* ---- what SQL functions and satchel_history ask ---- */

static bool identity_applying(void *context)
{
    return ((const struct satchel_replica *)context)->is_applying;
}

static int64_t identity_now_ms(void *context)
{
    return satchel_replica_now_ms(context);
}

/* A sync elsewhere may find that the replica is a copy, and make it a device of its own. What
 * cannot be read (the database is busy) stays as it was. */
static void refresh_device(struct satchel_replica *replica)
{
    /* Outside a transaction the version is that of the last one. */
    bool is_reading = sqlite3_txn_state(replica->db, "main") != SQLITE_TXN_NONE;
    uint32_t version = satchel_replica_data_version(replica);
    if (is_reading && replica->device_version == version && version != 0)
        return;
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(replica->db, "SELECT device FROM main.satchel_replica", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW &&
        copy_bytes(statement, 0, replica->device.bytes, sizeof replica->device.bytes)) {
        satchel_id_text(&replica->device, replica->device_text);
        replica->device_version = satchel_replica_data_version(replica);
    }
    sqlite3_finalize(statement);
}

static const char *identity_device(void *context)
{
    struct satchel_replica *replica = context;
    if (!replica->is_sync)
        refresh_device(replica);
    return replica->device_text[0] ? replica->device_text : NULL;
}

static const char *identity_user(void *context)
{
    return ((const struct satchel_replica *)context)->user;
}

static const char *identity_role(void *context)
{
    return ((const struct satchel_replica *)context)->role;
}

static const struct satchel_schema *history_schema(void *context)
{
    struct satchel_replica *replica = context;
    /* If there is no telling whether there is a newer one, the one in hand stays: a scan that has
     * begun with it must not be left without. */
    enum satchel_status status = satchel_replica_refresh_schema(replica, NULL);
    (void)status;
    return replica->schema;
}

/* ---- handles ---- */

static struct satchel_replica *new_replica(sqlite3 *db, const struct satchel_open_options *options)
{
    struct satchel_replica *replica = satchel_alloc_zero(NULL, sizeof *replica);
    const char *path = sqlite3_db_filename(db, "main");
    size_t size = path ? strlen(path) + 1 : 1;
    char *copy = satchel_alloc_zero(NULL, size);
    if (!replica || !copy) {
        satchel_free(NULL, replica);
        satchel_free(NULL, copy);
        return NULL;
    }
    if (path)
        memcpy(copy, path, size);
    replica->db = db;
    replica->path = copy;
    replica->checkpoint_lock = -1;
    replica->clock = options && options->clock ? *options->clock : satchel_clock_system;
    replica->identity = (struct satchel_identity){
        replica, identity_applying, identity_now_ms, identity_device, identity_user, identity_role};
    return replica;
}

void satchel_replica_free(struct satchel_replica *replica)
{
    if (!replica)
        return;
    satchel_checkpoint_detach(replica);
    satchel_capture_free(replica->capture);
    satchel_schema_free(replica->schema);
    forget_texts(replica);
    satchel_free(NULL, replica->path);
    satchel_free(NULL, replica);
}

/* Everything of an attached replica that can be refused, before SQLite is told of the handle. */
static enum satchel_status load(struct satchel_replica *replica, struct satchel_error *error)
{
    enum satchel_status status = satchel_replica_read_identity(replica, error);
    /* SQLite 3.40 commits frames without checksums to the WAL where the cache has spilled and a
     * savepoint is rolled back: a crash then loses them and all behind them. */
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(
            replica->db, "PRAGMA recursive_triggers=ON; PRAGMA cache_spill=OFF", error);
    if (status == SATCHEL_OK)
        status = satchel_replica_refresh_schema(replica, error);
    if (status == SATCHEL_OK && replica->schema)
        status = satchel_capture_check(replica, error);
    return status;
}

static enum satchel_status register_all(struct satchel_replica *replica,
                                        struct satchel_error *error)
{
    int code = satchel_functions_register(replica->db, &replica->identity);
    if (code == SQLITE_OK)
        code = satchel_history_register(replica->db, history_schema, replica);
    return code == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_failure(error, code, "cannot register Satchel's functions");
}

/* From here on the connection owns the handle, also on failure: SQLite frees it with its modules.
 */
static enum satchel_status hand_over(struct satchel_replica *replica, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    int code = satchel_capture_register(replica);
    if (code != SQLITE_OK) {
        status = satchel_sql_failure(error, code, "cannot register the capture of writes");
        if (replica->module_count == 0)
            satchel_replica_free(replica);
        return status;
    }
    status = register_all(replica, error);
    if (status == SATCHEL_OK)
        status = satchel_checkpoint_attach(replica, error);
    if (status == SATCHEL_OK && replica->schema)
        status = satchel_triggers_check(replica->db, replica->schema, error);
    if (status == SATCHEL_OK)
        satchel_guard_attach(replica); /* last: the check uses the authorizer too */
    return status;
}

/* Whether the connection has a handle already, from this or another build of the library. */
static enum satchel_status find_attached(sqlite3 *db, bool *is_attached,
                                         struct satchel_error *error)
{
    sqlite3_stmt *find = NULL;
    int code = sqlite3_prepare_v2(db,
                                  "SELECT 1 FROM pragma_module_list WHERE name LIKE "
                                  "'satchel_capture_%'",
                                  -1, &find, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(find);
    *is_attached = code == SQLITE_ROW;
    /* That the file is no database is said later, in words of its own. */
    enum satchel_status status = satchel_sql_status(code) == SATCHEL_NOMEM
                                     ? satchel_sql_error(error, db, "cannot attach")
                                     : SATCHEL_OK;
    sqlite3_finalize(find);
    return status;
}

enum satchel_status satchel_replica_attach(satchel_replica **out, struct sqlite3 *db,
                                           const struct satchel_open_options *options,
                                           struct satchel_error *error)
{
    if (out)
        *out = NULL;
    bool is_attached;
    enum satchel_status status = find_attached(db, &is_attached, error);
    if (status == SATCHEL_OK && is_attached)
        status = satchel_error_set(error, SATCHEL_EXISTS,
                                   "Satchel is attached to this connection already");
    if (status != SATCHEL_OK)
        return status;
    struct satchel_replica *replica = new_replica(db, options);
    if (!replica)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    status = load(replica, error);
    bool is_replica = status != SATCHEL_MISMATCH;
    if (status != SATCHEL_OK && is_replica) {
        satchel_replica_free(replica);
        return status;
    }
    status = hand_over(replica, error);
    if (status == SATCHEL_OK && is_replica && out)
        *out = replica;
    return status;
}

/* ---- opening ---- */

static enum satchel_status open_database(const char *path, sqlite3 **out,
                                         struct satchel_error *error)
{
    struct stat file;
    *out = NULL;
    if (stat(path, &file) != 0)
        return satchel_error_set(error, SATCHEL_NOT_FOUND, "%s: no such file", path);
    if (!S_ISREG(file.st_mode) || file.st_size == 0)
        return satchel_error_set(error, SATCHEL_CORRUPT, "%s: not an SQLite database", path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, out, flags, NULL) != SQLITE_OK)
        return satchel_sql_error(error, *out, "cannot open %s", path);
    sqlite3_extended_result_codes(*out, 1);
    sqlite3_busy_timeout(*out, SATCHEL_BUSY_TIMEOUT_MS);
    return SATCHEL_OK;
}

enum satchel_status satchel_replica_open(satchel_replica **out, const char *path,
                                         const struct satchel_open_options *options,
                                         struct satchel_error *error)
{
    sqlite3 *db = NULL;
    struct satchel_replica *replica = NULL;
    *out = NULL;
    enum satchel_status status = open_database(path, &db, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    status = satchel_replica_attach(&replica, db, options, error);
    if (status == SATCHEL_OK && !replica)
        status = satchel_error_default(error, SATCHEL_MISMATCH, "%s: no Satchel replica", path);
    if (status == SATCHEL_OK && !replica->is_enrolled)
        status = satchel_error_set(error, SATCHEL_STATE,
                                   "%s: its enrolment was not finished; run the same satchel join "
                                   "again",
                                   path);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(db, "PRAGMA journal_mode=WAL", error);
    if (status == SATCHEL_OK) {
        replica->owns_db = true;
        *out = replica;
        db = NULL;
    }
cleanup:
    sqlite3_close(db);
    return status;
}

void satchel_replica_close(satchel_replica *replica)
{
    if (!replica)
        return;
    satchel_checkpoint_offer(replica);
    sqlite3_close_v2(replica->db); /* frees the handle, at the latest with the last statement */
}

struct sqlite3 *satchel_replica_db(satchel_replica *replica)
{
    return replica->db;
}
