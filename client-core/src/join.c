/* Owns the enrolment of a new replica: the file with its identity first, in state 'joining', then
 * the server's consent, then the schema and state 'joined' in one transaction. Whatever is cut, the
 * same call again ends the same enrolment: device id and token are in the file. */
#include "sync.h"
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096 };

static const char INSERT_REPLICA[] =
    "INSERT INTO satchel_replica(one, format, state, server, workspace, device, token, secret,"
    " file, pin) VALUES(1, ?1, 'joining', ?2, ?3, ?4, ?5, ?6, ?4, ?7)";
static const char WRITE_JOINED[] =
    "UPDATE satchel_replica SET state = 'joined', server = ?1, workspace_id = ?2, user = ?3, role "
    "= ?4,"
    " reference_server_ms = ?5, reference_utc_ms = ?6, reference_monotonic_ms = ?7,"
    " reference_boot = ?8, receipt = ?9, pin = ?10, token_number = ?11";

struct join {
    const char *path;
    const struct satchel_join_options *options;
    struct satchel_pins pins;
    struct satchel_replica *replica; /* its connection is closed with it */
    sqlite3 *db;
    struct satchel_session *session;
    struct satchel_arena arena;
    bool was_created; /* by this call: to be removed if the server refuses */
    bool was_empty;   /* an empty file was there */
    bool was_connected;
    bool is_confirmed; /* JOINED has come */
    bool is_installed;
    bool is_refused; /* the server said no */
    struct satchel_message_joined joined;
    struct satchel_clock_reference reference;
};

/* ---- the file ---- */

static enum satchel_status exists(const struct join *join, const char *what,
                                  struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_EXISTS,
                             "%s: %s; it is left as it is, join under another file name",
                             join->path, what);
}

/* Whether the file begins as SQLite databases do. */
static bool looks_like_database(const char *path)
{
    char head[16] = "";
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    bool is_database = read(file, head, sizeof head) == (ssize_t)sizeof head &&
                       memcmp(head, "SQLite format 3", 16) == 0;
    close(file);
    return is_database;
}

/* An earlier call's file may be gone on with; anything else stays untouched. */
static enum satchel_status check_existing(struct join *join, struct satchel_error *error)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *select = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (!looks_like_database(join->path))
        return exists(join, "the file exists and is no SQLite database", error);
    if (sqlite3_open_v2(join->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
            SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT state, workspace FROM main.satchel_replica", -1, &select,
                           NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW) {
        status = exists(join, "the file exists and is no Satchel replica", error);
    } else {
        const char *state = (const char *)sqlite3_column_text(select, 0);
        const char *workspace = (const char *)sqlite3_column_text(select, 1);
        if (!state || strcmp(state, "joining") != 0)
            status = exists(join, "the file is a replica that has joined already (sync it)", error);
        else if (!workspace || strcmp(workspace, join->options->workspace) != 0)
            status = exists(join, "the file is a replica of another workspace", error);
    }
    sqlite3_finalize(select);
    sqlite3_close(db);
    return status;
}

/* Only the user may read it: it holds the device's token. */
static enum satchel_status create_file(struct join *join, struct satchel_error *error)
{
    struct stat file;
    int created = open(join->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (created >= 0) {
        close(created);
        join->was_created = true;
        return SATCHEL_OK;
    }
    int cause = errno;
    if (cause == EEXIST && stat(join->path, &file) == 0 && S_ISREG(file.st_mode)) {
        join->was_empty = file.st_size == 0;
        join->was_created = join->was_empty;
        return join->was_empty ? SATCHEL_OK : check_existing(join, error);
    }
    if (cause == EEXIST)
        return exists(join, "exists and is no file", error);
    if (error)
        error->native_code = cause;
    return satchel_error_set(error, SATCHEL_IO, "%s: cannot create the file: %s", join->path,
                             strerror(cause));
}

static void remove_files(const struct join *join)
{
    static const char *const SUFFIXES[] = {"-wal", "-shm", "-journal", "-ckpt"};
    char path[PATH_BYTES_MAX];
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof SUFFIXES[0]; i++) {
        int size = snprintf(path, sizeof path, "%s%s", join->path, SUFFIXES[i]);
        if (size > 0 && (size_t)size < sizeof path)
            unlink(path);
    }
    if (!join->was_empty)
        unlink(join->path);
    else if (truncate(join->path, 0) != 0)
        return; /* what is left is a replica that never joined, and says so */
}

static void bind_pins(sqlite3_stmt *statement, int parameter, const struct satchel_pins *pins)
{
    struct satchel_span kept = satchel_pins_span(pins);
    if (kept.size > 0) /* else NULL */
        sqlite3_bind_blob(statement, parameter, kept.data, (int)kept.size, SQLITE_STATIC);
}

static enum satchel_status write_identity(struct join *join, struct satchel_error *error)
{
    uint8_t device[16], token[SATCHEL_TOKEN_BYTES], secret[32];
    sqlite3_stmt *insert = NULL;
    randombytes_buf(device, sizeof device);
    randombytes_buf(token, sizeof token);
    randombytes_buf(secret, sizeof secret);
    enum satchel_status status = satchel_replica_execute(join->db, "BEGIN IMMEDIATE", error);
    if (status == SATCHEL_OK)
        status = satchel_replica_create_tables(join->db, error);
    if (status == SATCHEL_OK &&
        sqlite3_prepare_v2(join->db, INSERT_REPLICA, -1, &insert, NULL) != SQLITE_OK)
        status = satchel_sql_error(error, join->db, "cannot write satchel_replica");
    if (status == SATCHEL_OK) {
        sqlite3_bind_int(insert, 1, SATCHEL_REPLICA_FORMAT);
        sqlite3_bind_text(insert, 2, join->options->server, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 3, join->options->workspace, -1, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 4, device, sizeof device, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 5, token, sizeof token, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 6, secret, sizeof secret, SQLITE_STATIC);
        bind_pins(insert, 7, &join->pins);
        if (sqlite3_step(insert) != SQLITE_DONE)
            status = satchel_sql_error(error, join->db, "cannot write satchel_replica");
    }
    sqlite3_finalize(insert);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(join->db, "COMMIT", error);
    sodium_memzero(token, sizeof token);
    sodium_memzero(secret, sizeof secret);
    return status;
}

static enum satchel_status open_replica(struct join *join, struct satchel_error *error)
{
    struct satchel_open_options open = {.size = sizeof open, .clock = join->options->clock};
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(join->path, &join->db, flags, NULL) != SQLITE_OK)
        return satchel_sql_error(error, join->db, "cannot open %s", join->path);
    sqlite3_busy_timeout(join->db, SATCHEL_BUSY_TIMEOUT_MS);
    enum satchel_status status = SATCHEL_OK;
    /* Identity before WAL: a file cut here is empty, not a database that nobody knows. */
    if (join->was_created)
        status = write_identity(join, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(join->db, "PRAGMA journal_mode=WAL", error);
    if (status == SATCHEL_OK)
        status = satchel_replica_attach(&join->replica, join->db, &open, error);
    if (status == SATCHEL_OK && !join->replica)
        status = exists(join, "the file is no Satchel replica", error);
    return status;
}

/* ---- the server's consent ---- */

static struct satchel_span span_of_text(const char *text)
{
    return satchel_span_text(text ? text : "");
}

static enum satchel_status begin(struct join *join, struct satchel_error *error)
{
    struct satchel_session_options options = {.size = sizeof options,
                                              .side = SATCHEL_SIDE_CLIENT,
                                              .silence_ms_max = SATCHEL_SILENCE_MS_MAX};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_JOIN};
    message.join.protocol = SATCHEL_PROTOCOL_VERSION;
    message.join.workspace = satchel_span_text(join->options->workspace);
    message.join.invite = span_of_text(join->options->invite);
    message.join.jwt = span_of_text(join->options->jwt);
    message.join.device = join->replica->device;
    message.join.token = satchel_span_of(join->replica->token, sizeof join->replica->token);
    enum satchel_status status =
        satchel_session_new(&join->session, &options, satchel_transport_now(&join->replica->clock));
    if (status == SATCHEL_OK)
        status = satchel_session_send(join->session, &message);
    return status == SATCHEL_OK ? SATCHEL_OK
                                : satchel_error_set(error, status, "cannot ask to join: %s",
                                                    satchel_status_text(status));
}

static enum satchel_status take_joined(struct join *join,
                                       const struct satchel_message_joined *joined,
                                       struct satchel_now now, struct satchel_error *error)
{
    join->joined = *joined;
    join->joined.user = satchel_arena_copy(&join->arena, joined->user);
    join->joined.role = satchel_arena_copy(&join->arena, joined->role);
    if (!join->joined.user.data || !join->joined.role.data)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to join");
    satchel_sync_clock(join->session, join->replica, now.monotonic_ms, &join->reference);
    join->is_confirmed = true;
    return SATCHEL_OK;
}

static enum satchel_status write_joined(struct join *join, struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    const struct satchel_message_joined *joined = &join->joined;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(join->db, WRITE_JOINED, -1, &update, NULL) != SQLITE_OK)
        return satchel_sql_error(error, join->db, "cannot write satchel_replica");
    sqlite3_bind_text(update, 1, join->options->server, -1, SQLITE_STATIC);
    sqlite3_bind_blob(update, 2, joined->workspace.bytes, sizeof joined->workspace.bytes,
                      SQLITE_STATIC);
    sqlite3_bind_text64(update, 3, (const char *)joined->user.data, joined->user.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_text64(update, 4, (const char *)joined->role.data, joined->role.size,
                        SQLITE_STATIC, SQLITE_UTF8);
    if (join->reference.is_set) {
        sqlite3_bind_int64(update, 5, join->reference.server_ms);
        sqlite3_bind_int64(update, 6, join->reference.utc_ms);
        sqlite3_bind_int64(update, 7, join->reference.monotonic_ms);
        sqlite3_bind_int64(update, 8, (sqlite3_int64)join->reference.boot);
    }
    sqlite3_bind_blob(update, 9, joined->receipt.bytes, sizeof joined->receipt.bytes,
                      SQLITE_STATIC);
    bind_pins(update, 10, &join->pins);
    sqlite3_bind_int64(update, 11, (sqlite3_int64)joined->token_number);
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_sql_error(error, join->db, "cannot write satchel_replica");
    sqlite3_finalize(update);
    return status;
}

static enum satchel_status install(struct join *join, const struct satchel_message_schema *schema,
                                   struct satchel_error *error)
{
    enum satchel_status status = satchel_replica_execute(join->db, "BEGIN IMMEDIATE", error);
    if (status != SATCHEL_OK)
        return status;
    status =
        satchel_replica_migrate(join->replica, schema->migrations, schema->migration_count, error);
    if (status == SATCHEL_OK)
        status = write_joined(join, error);
    if (status == SATCHEL_OK)
        status = satchel_replica_execute(join->db, "COMMIT", error);
    if (status != SATCHEL_OK)
        sqlite3_exec(join->db, "ROLLBACK", NULL, NULL, NULL);
    join->is_installed = status == SATCHEL_OK;
    return status;
}

static enum satchel_status step(void *context, struct satchel_now now, bool *is_done,
                                struct satchel_error *error)
{
    struct join *join = context;
    struct satchel_message message;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && satchel_session_next_event(join->session, &message)) {
        if (message.kind == SATCHEL_MESSAGE_JOINED)
            status = take_joined(join, &message.joined, now, error);
        else if (message.kind == SATCHEL_MESSAGE_SCHEMA && join->is_confirmed)
            status = install(join, &message.schema, error);
        else if (message.kind == SATCHEL_MESSAGE_ERROR)
            join->is_refused = true;
    }
    if (status == SATCHEL_OK)
        status = satchel_session_failed(join->session, error);
    *is_done = status == SATCHEL_OK && join->is_installed;
    return status;
}

enum satchel_status satchel_join_check_proof(const struct satchel_join_options *options,
                                             struct satchel_error *error)
{
    if (!options->invite == !options->jwt)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "an invite is needed (an administrator makes one with satchel "
                                 "invite), or a JWT, and not both");
    if (options->invite && (!*options->invite || strlen(options->invite) > SATCHEL_NAME_BYTES_MAX))
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "the invite is not valid; an administrator makes one with satchel "
                                 "invite");
    if (options->jwt && (!*options->jwt || strlen(options->jwt) > SATCHEL_JWT_BYTES_MAX))
        return satchel_error_set(error, SATCHEL_INVALID, "the JWT is empty or longer than %d bytes",
                                 SATCHEL_JWT_BYTES_MAX);
    return SATCHEL_OK;
}

static enum satchel_status check_options(const char *path,
                                         const struct satchel_join_options *options,
                                         struct satchel_error *error)
{
    struct satchel_url url;
    if (!path || !*path || strlen(path) + 16 > PATH_BYTES_MAX)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "the replica's file name is missing or too long");
    if (!options || options->size < sizeof *options || !options->workspace ||
        !*options->workspace || strlen(options->workspace) > SATCHEL_NAME_BYTES_MAX)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "the workspace's name is missing or longer than %d bytes",
                                 SATCHEL_NAME_BYTES_MAX);
    enum satchel_status status = satchel_join_check_proof(options, error);
    if (status != SATCHEL_OK)
        return status;
    if (sodium_init() < 0)
        return satchel_error_set(error, SATCHEL_IO,
                                 "the system's random numbers are not available");
    return satchel_url_parse(&url, options->server, error);
}

enum satchel_status satchel_join(const char *path, const struct satchel_join_options *options,
                                 struct satchel_error *error)
{
    struct join join = {.path = path, .options = options};
    satchel_arena_init(&join.arena, 1 << 16, NULL);
    enum satchel_status status = check_options(path, options, error);
    if (status == SATCHEL_OK)
        status = satchel_pins_parse(&join.pins, options->pin, error);
    if (status == SATCHEL_OK)
        status = create_file(&join, error);
    if (status == SATCHEL_OK)
        status = open_replica(&join, error);
    if (status == SATCHEL_OK)
        status = begin(&join, error);
    if (status == SATCHEL_OK) {
        struct satchel_transport_options transport = {
            .url = options->server,
            .pins = &join.pins,
            .session = join.session,
            .clock = &join.replica->clock,
            .context = &join,
            .step = step,
            .was_connected = &join.was_connected,
        };
        status = satchel_transport_run(&transport, error);
    }
    satchel_session_free(join.session);
    sqlite3_close(join.db); /* frees the handle */
    satchel_arena_deinit(&join.arena);
    /* Once the request may have arrived, the file holds what the enrolment was made with. */
    if (status != SATCHEL_OK && join.was_created && (join.is_refused || !join.was_connected))
        remove_files(&join);
    return status;
}
