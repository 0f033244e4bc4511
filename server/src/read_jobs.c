/* Owns the reader threads' connections and what they do with a job: each in one read transaction,
 * so that everything in an answer is of the same moment. Entries are read_entries.c's, rows by name
 * read_rows.c's, digests read_digests.c's. */
#include "snapshot.h"

#define SQL_HASH                                                               \
    "SELECT h.hash FROM satchel_id i JOIN satchel_hash h ON h.device=i.number" \
    " AND h.number=?2 WHERE i.id=?1"
#define SQL_VERSION "PRAGMA data_version"
#define SQL_COUNT "SELECT count(*) FROM satchel_migration"
#define SQL_USER                                                                    \
    "SELECT user, EXISTS(SELECT 1 FROM satchel_revoked WHERE device=id AND revoked" \
    " IS NOT NULL) FROM satchel_device WHERE id=?1"

/* ---- the connection ---- */

static bool not_applying(void *context)
{
    (void)context;
    return false;
}

static int64_t now(void *context)
{
    (void)context;
    return workspace_now_ms();
}

static const char *nobody(void *context)
{
    (void)context;
    return NULL;
}

static const struct satchel_schema *present_schema(void *context)
{
    return ((const struct workspace_reader *)context)->schema;
}

enum satchel_status reader_open(struct workspace_reader *reader, const char *path,
                                struct satchel_error *error)
{
    struct satchel_identity identity = {reader, not_applying, now, nobody, nobody, nobody};
    reader->identity = identity;
    satchel_buffer_init(&reader->scratch, 2 * (size_t)SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&reader->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_arena_init(&reader->cut_arena, WORKSPACE_JOB_BYTES_MAX, NULL);
    satchel_arena_init(&reader->known_arena, WORKSPACE_JOB_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_store_sqlite_reader(&reader->db, path, &reader->identity, error);
    if (status == SATCHEL_OK &&
        satchel_history_register(reader->db, present_schema, reader) != SQLITE_OK)
        status = satchel_db_error(error, reader->db, "registering satchel_history");
    if (status == SATCHEL_OK && satchel_log_reader_new(&reader->log, reader->db) != SATCHEL_OK)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory to read the log");
    const struct {
        const char *sql;
        sqlite3_stmt **statement;
    } statements[] = {{"BEGIN", &reader->begin},   {"COMMIT", &reader->commit},
                      {SQL_HASH, &reader->hash},   {SQL_VERSION, &reader->version},
                      {SQL_COUNT, &reader->count}, {SQL_USER, &reader->user}};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && status == SATCHEL_OK; i++)
        status = satchel_db_prepare(reader->db, statements[i].sql, statements[i].statement, error);
    if (status == SATCHEL_OK)
        status = scope_viewer_new(&reader->viewer, reader->db, error);
    return status;
}

void reader_close(struct workspace_reader *reader)
{
    satchel_log_reader_free(reader->log);
    sqlite3_finalize(reader->begin);
    sqlite3_finalize(reader->commit);
    sqlite3_finalize(reader->hash);
    sqlite3_finalize(reader->version);
    sqlite3_finalize(reader->count);
    sqlite3_finalize(reader->user);
    scope_viewer_free(reader->viewer);
    sqlite3_close_v2(reader->db);
    satchel_schema_free(reader->schema);
    satchel_buffer_deinit(&reader->scratch);
    satchel_buffer_deinit(&reader->name);
    satchel_arena_deinit(&reader->cut_arena);
    satchel_arena_deinit(&reader->known_arena);
    snapshots_free(reader->snapshots);
    stream_batches_free(&reader->batches);
}

/* The schema as this transaction sees it. */
static enum satchel_status refresh_schema(struct workspace_reader *reader,
                                          struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    satchel_query_begin(&query, reader->db, reader->count);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    uint32_t count = has_row ? (uint32_t)sqlite3_column_int(reader->count, 0) : 0;
    satchel_query_end(&query);
    if (status != SATCHEL_OK || (reader->schema && count == reader->migration_count))
        return status;
    struct satchel_schema *schema = NULL;
    status = satchel_schema_load(reader->db, &schema, error);
    if (status == SATCHEL_OK) {
        satchel_schema_free(reader->schema);
        reader->schema = schema;
        reader->migration_count = count;
    }
    return status;
}

enum satchel_status reader_known(struct workspace_reader *reader, struct satchel_job *job,
                                 struct incarnations *out)
{
    struct satchel_query query;
    bool has_row;
    satchel_query_begin(&query, reader->db, reader->version);
    enum satchel_status status = satchel_query_step(&query, &has_row, &job->error);
    int64_t version = has_row ? sqlite3_column_int64(reader->version, 0) : 0;
    satchel_query_end(&query);
    if (status == SATCHEL_OK && (version == 0 || version != reader->known_version)) {
        reader->known_version = 0;
        satchel_arena_reset(&reader->known_arena);
        status = incarnations_read(reader->db, &reader->known_arena, &reader->known, &job->error);
        if (status == SATCHEL_OK)
            reader->known_version = version;
        reader->known.version = reader->known.has_positions ? version : 0;
    }
    *out = reader->known;
    return status;
}

/* Answers are for the user of the job's device from here on. */
static enum satchel_status find_viewer(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_query query;
    bool has_row = false, is_revoked = false;
    satchel_query_begin(&query, reader->db, reader->user);
    satchel_query_id(&query, &job->device);
    enum satchel_status status = satchel_query_step(&query, &has_row, &job->error);
    if (status == SATCHEL_OK && !has_row)
        status = satchel_error_set(&job->error, SATCHEL_DENIED,
                                   "the device is not enrolled in this workspace any more");
    if (status == SATCHEL_OK) {
        reader->login = satchel_column_copy(query.statement, 0, &job->arena);
        is_revoked = sqlite3_column_int(query.statement, 1) != 0;
        status = reader->login.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_query_end(&query);
    if (status == SATCHEL_OK)
        status = scope_viewer_set(reader->viewer, reader->schema, reader->login, &job->error);
    if (status == SATCHEL_OK && job->is_drained) {
        scope_viewer_blind(reader->viewer);
        return SATCHEL_OK;
    }
    if (status == SATCHEL_OK && (is_revoked || !scope_viewer_is_active(reader->viewer)))
        status =
            satchel_error_set(&job->error, SATCHEL_AGAIN,
                              "the device was revoked, or its user is one no more: sync again");
    if (status == SATCHEL_OK)
        job->role = satchel_arena_copy(&job->arena, scope_viewer_role(reader->viewer));
    if (status == SATCHEL_OK && !job->role.data)
        status = SATCHEL_NOMEM;
    job->is_cut = status == SATCHEL_OK && !scope_viewer_sees_all(reader->viewer);
    return status;
}

/* ---- SCHEMA ---- */

enum satchel_status tell_schema(sqlite3 *db, uint64_t after, struct satchel_job *job)
{
    struct satchel_message *answer = &job->answers[job->answer_count++];
    struct satchel_message_schema *schema = &answer->schema;
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_SCHEMA;
    enum satchel_status status = satchel_schema_migrations(
        db, after, &job->arena, &schema->migrations, &schema->migration_count, &job->error);
    return status == SATCHEL_OK
               ? satchel_migrations_blank_inserts(schema->migrations, schema->migration_count,
                                                  &job->arena, &job->error)
               : status;
}

/* ---- one job ---- */

static enum satchel_status answer(struct satchel_workspace *workspace,
                                  struct workspace_reader *reader, struct satchel_job *job)
{
    enum satchel_status status = refresh_schema(reader, &job->error);
    if (status != SATCHEL_OK)
        return status;
    if (job->kind != SATCHEL_JOB_SCHEMA && job->kind != SATCHEL_JOB_QUERY)
        status = find_viewer(reader, job);
    if (status != SATCHEL_OK)
        return status;
    switch (job->kind) {
    case SATCHEL_JOB_SCHEMA: return tell_schema(reader->db, job->after, job);
    case SATCHEL_JOB_ENTRIES: return entries_read(workspace, reader, job);
    case SATCHEL_JOB_DIGESTS: return digests_read(workspace, reader, job);
    case SATCHEL_JOB_RANGES: return ranges_read(reader, job);
    case SATCHEL_JOB_ROWS: return rows_read(reader, job);
    case SATCHEL_JOB_SNAPSHOT: return snapshot_read(reader, job);
    case SATCHEL_JOB_PAST: return past_read(reader, job);
    case SATCHEL_JOB_QUERY: return query_verb(workspace, reader, job);
    default: return SATCHEL_INVALID; /* a job of the writer: submit never brings it here */
    }
}

static enum satchel_status run_bare(struct workspace_reader *reader, sqlite3_stmt *statement,
                                    struct satchel_error *error)
{
    struct satchel_query query;
    satchel_query_begin(&query, reader->db, statement);
    return satchel_query_run(&query, error);
}

enum satchel_status reader_begin(struct workspace_reader *reader, struct satchel_job *job)
{
    enum satchel_status status = run_bare(reader, reader->begin, &job->error);
    if (status == SATCHEL_OK)
        status = refresh_schema(reader, &job->error);
    return status == SATCHEL_OK ? find_viewer(reader, job) : status;
}

void workspace_read(struct satchel_workspace *workspace, struct workspace_reader *reader,
                    struct satchel_job *job)
{
    enum satchel_status status = SATCHEL_OK;
    if (!sqlite3_get_autocommit(reader->db)) /* the end of the last one failed: out of memory */
        status = satchel_db_exec(reader->db, "ROLLBACK", &job->error);
    if (status == SATCHEL_OK)
        status = run_bare(reader, reader->begin, &job->error);
    if (status == SATCHEL_OK) {
        status = answer(workspace, reader, job);
        struct satchel_error detail = {0};
        enum satchel_status ended = run_bare(reader, reader->commit, &detail);
        if (status == SATCHEL_OK && ended != SATCHEL_OK) {
            status = ended;
            job->error = detail;
        }
    }
    workspace_complete(workspace, job, status);
}
