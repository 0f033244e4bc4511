/* Owns the verbs that only read: tables of a few known shapes, and one SELECT of the
 * administrator's own, bounded in time and size, that can read everything and do nothing else. */
#define _POSIX_C_SOURCE 200809L
#include "incarnation.h"
#include "workspace_internal.h"

#include <time.h>

#define RESULT_BYTES_MAX ((size_t)16 << 20)
#define RESULT_VALUES_MAX 4000000u
#define QUERY_SECONDS_MAX 30
#define PROGRESS_STEPS 20000

#define SQL_DEVICES                                                                               \
    "SELECT lower(hex(d.id)) AS id, d.user, d.last_seen, d.cursor, w.cursor-d.cursor AS pending," \
    " d.last_number, d.clock_error AS clock_error_ms, d.software AS version,"                     \
    " coalesce(iif(r.wiped IS NULL, iif(r.revoked IS NULL, NULL, 'revoked'), 'wiped'), '')"       \
    " AS state FROM satchel_device d LEFT JOIN satchel_revoked r ON r.device=d.id,"               \
    " satchel_workspace w WHERE d.id<>w.node ORDER BY d.user, d.joined, "                         \
    "d.id"
#define SQL_CONFLICTS                                                                       \
    "SELECT id, at, tbl, key, field, rule, severity, mine, theirs, kept, by_user, resolved" \
    " FROM satchel_conflicts"
#define SQL_HISTORY                                                                        \
    "SELECT id, at, user, device, seq, tbl, key, field, old, new, outcome, winner, reason" \
    " FROM satchel_history WHERE tbl=?1 AND key=?2 AND (?3 IS NULL OR field=?3)"
#define SQL_STATUS                                                                         \
    "SELECT w.name, (SELECT count(*) FROM satchel_migration) AS schema, w.cursor AS head," \
    " (SELECT count(*) FROM satchel_device d WHERE d.id<>w.node) AS devices,"              \
    " (SELECT count(*) FROM satchel_entry)"                                                \
    " + (SELECT ifnull(sum(entries), 0) FROM satchel_segment) AS entries,"                 \
    " lower(hex(w.node)) AS node,"                                                         \
    " sqlite_version() AS sqlite FROM satchel_workspace w"

/* ---- results ---- */

enum satchel_status query_result_begin(struct query_result *result, struct satchel_job *job,
                                       const char *const *columns, uint32_t column_count)
{
    struct satchel_message *answer = &job->answers[0];
    memset(result, 0, sizeof *result);
    result->job = job;
    result->column_count = column_count;
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_ADMIN_RESULT;
    answer->admin_result.columns =
        SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_span, column_count);
    if (!answer->admin_result.columns)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < column_count; i++) {
        struct satchel_span name = satchel_arena_copy(&job->arena, satchel_span_text(columns[i]));
        if (!name.data)
            return SATCHEL_NOMEM;
        answer->admin_result.columns[i] = name;
        result->bytes += name.size + 8;
    }
    answer->admin_result.column_count = column_count;
    return SATCHEL_OK;
}

enum satchel_status query_result_add(struct query_result *result, const struct satchel_value *value)
{
    struct satchel_job *job = result->job;
    result->bytes += 9;
    if (value->type == SATCHEL_TEXT || value->type == SATCHEL_BLOB)
        result->bytes += value->bytes.size;
    if (result->bytes > RESULT_BYTES_MAX || result->value_count >= RESULT_VALUES_MAX)
        return satchel_error_set(
            &job->error, SATCHEL_LIMIT,
            "the result is over %zu MiB: ask for fewer rows (LIMIT) or columns",
            RESULT_BYTES_MAX >> 20);
    if (result->value_count == result->value_capacity) {
        uint32_t capacity = result->value_capacity ? result->value_capacity * 2 : 256;
        struct satchel_value *values =
            SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_value, capacity);
        if (!values)
            return SATCHEL_NOMEM;
        if (result->value_count)
            memcpy(values, result->values, result->value_count * sizeof *values);
        result->values = values;
        result->value_capacity = capacity;
    }
    return satchel_value_copy(&job->arena, value, &result->values[result->value_count++]);
}

void query_result_end(struct query_result *result)
{
    struct satchel_message_admin_result *answer = &result->job->answers[0].admin_result;
    answer->values = result->values;
    answer->row_count = result->column_count ? result->value_count / result->column_count : 0;
    result->job->answer_count = 1;
}

/* ---- running a statement ---- */

struct deadline {
    struct timespec at;
    bool is_over;
};

static int check_deadline(void *context)
{
    struct deadline *deadline = context;
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC, &time) == 0 && time.tv_sec >= deadline->at.tv_sec)
        deadline->is_over = true;
    return deadline->is_over;
}

static enum satchel_status fetch(struct query_result *result, sqlite3_stmt *statement, sqlite3 *db)
{
    struct satchel_job *job = result->job;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        for (uint32_t i = 0; i < result->column_count; i++) {
            struct satchel_value value = satchel_value_of_column(statement, (int)i);
            enum satchel_status status = query_result_add(result, &value);
            if (status != SATCHEL_OK)
                return status;
        }
    return code == SQLITE_DONE ? SATCHEL_OK : satchel_db_error(&job->error, db, "SQL");
}

static enum satchel_status run(struct workspace_reader *reader, struct satchel_job *job,
                               sqlite3_stmt *statement, struct query_result *result)
{
    const char *names[SATCHEL_COLUMNS_MAX * 2];
    int column_count = sqlite3_column_count(statement);
    struct deadline deadline = {0};
    if ((size_t)column_count > sizeof names / sizeof *names)
        return satchel_error_set(&job->error, SATCHEL_LIMIT, "the result has more than %zu columns",
                                 sizeof names / sizeof *names);
    for (int i = 0; i < column_count; i++)
        if ((names[i] = sqlite3_column_name(statement, i)) == NULL)
            return SATCHEL_NOMEM;
    enum satchel_status status = query_result_begin(result, job, names, (uint32_t)column_count);
    if (status != SATCHEL_OK)
        return status;
    if (clock_gettime(CLOCK_MONOTONIC, &deadline.at) != 0)
        return SATCHEL_IO;
    deadline.at.tv_sec += QUERY_SECONDS_MAX;
    sqlite3_progress_handler(reader->db, PROGRESS_STEPS, check_deadline, &deadline);
    status = fetch(result, statement, reader->db);
    sqlite3_progress_handler(reader->db, 0, NULL, NULL);
    if (deadline.is_over)
        status = satchel_error_set(&job->error, SATCHEL_LIMIT,
                                   "the query took longer than %d seconds and was stopped",
                                   QUERY_SECONDS_MAX);
    if (status == SATCHEL_OK)
        query_result_end(result);
    return status;
}

static enum satchel_status run_known(struct workspace_reader *reader, struct satchel_job *job,
                                     const char *sql, const struct satchel_value *parameters,
                                     int parameter_count)
{
    struct satchel_query query;
    struct query_result result;
    enum satchel_status status = satchel_query_open(&query, reader->db, sql, &job->error);
    if (status != SATCHEL_OK)
        return status;
    for (int i = 0; status == SATCHEL_OK && i < parameter_count; i++)
        if (satchel_value_bind(query.statement, i + 1, &parameters[i]) != SQLITE_OK)
            status = satchel_db_error(&job->error, reader->db, "binding an argument");
    if (status == SATCHEL_OK)
        status = run(reader, job, query.statement, &result);
    satchel_query_close(&query);
    return status;
}

/* ---- workspace.sql ---- */

/* Reading only: no PRAGMA but the one that full-text indexes use themselves, no other file. */
static int allow(void *context, int action, const char *first, const char *second,
                 const char *database, const char *trigger)
{
    (void)context, (void)database, (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE: return SQLITE_OK;
    case SQLITE_FUNCTION:
        return second && sqlite3_stricmp(second, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_UPDATE: /* asked for when a virtual table is connected; nobody can do it really */
        return first && strcmp(first, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
        return first && !second && sqlite3_stricmp(first, "data_version") == 0 ? SQLITE_OK
                                                                               : SQLITE_DENY;
    default: return SQLITE_DENY;
    }
}

static enum satchel_status prepare_one(struct workspace_reader *reader, struct satchel_job *job,
                                       struct satchel_span sql, sqlite3_stmt **out)
{
    sqlite3_stmt *second = NULL;
    const char *text = (const char *)sql.data, *tail = NULL;
    if (sql.size > SATCHEL_FRAME_BYTES_MAX_EARLY)
        return satchel_error_set(&job->error, SATCHEL_LIMIT, "the statement is over 4 MiB");
    int code = sqlite3_prepare_v2(reader->db, text, (int)sql.size, out, &tail);
    if (code == SQLITE_AUTH)
        return satchel_error_set(
            &job->error, SATCHEL_DENIED,
            "workspace sql only reads: one SELECT, no PRAGMA, ATTACH or writing");
    if (code != SQLITE_OK)
        return satchel_error_set(&job->error, SATCHEL_SQL, "SQL: %s", sqlite3_errmsg(reader->db));
    if (!*out)
        return satchel_error_set(&job->error, SATCHEL_INVALID, "there is no statement");
    if (!sqlite3_stmt_readonly(*out) || sqlite3_column_count(*out) == 0)
        return satchel_error_set(&job->error, SATCHEL_DENIED,
                                 "workspace sql only reads: one SELECT");
    code = sqlite3_prepare_v2(reader->db, tail, (int)(sql.size - (size_t)(tail - text)), &second,
                              NULL);
    bool is_alone = code == SQLITE_OK && !second;
    sqlite3_finalize(second);
    if (!is_alone)
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "workspace sql runs one statement, and there is more after it");
    return SATCHEL_OK;
}

static enum satchel_status run_sql(struct workspace_reader *reader, struct satchel_job *job,
                                   struct satchel_span sql)
{
    sqlite3_stmt *statement = NULL;
    struct query_result result;
    if (sqlite3_set_authorizer(reader->db, allow, NULL) != SQLITE_OK)
        return satchel_db_error(&job->error, reader->db, "SQL");
    enum satchel_status status = prepare_one(reader, job, sql, &statement);
    if (status == SATCHEL_OK)
        status = run(reader, job, statement, &result);
    sqlite3_finalize(statement);
    if (sqlite3_set_authorizer(reader->db, NULL, NULL) != SQLITE_OK && status == SATCHEL_OK)
        status = satchel_db_error(&job->error, reader->db, "SQL");
    return status;
}

/* ---- device.list ---- */

/* What sessions of this process have seen since the devices attached. */
static void add_progress(struct satchel_workspace *workspace,
                         struct satchel_message_admin_result *result, uint64_t head)
{
    for (uint32_t row = 0; row < result->row_count; row++) {
        struct satchel_value *values = result->values + (size_t)row * result->column_count;
        struct satchel_id id;
        if (values[0].type != SATCHEL_TEXT || satchel_id_parse(&id, values[0].bytes) != SATCHEL_OK)
            continue;
        const struct workspace_progress *progress =
            satchel_map_get(&workspace->progress, satchel_span_of(id.bytes, sizeof id.bytes));
        if (!progress || values[3].type != SATCHEL_INTEGER ||
            (int64_t)progress->cursor < values[3].integer)
            continue;
        values[2] = satchel_value_integer(progress->at_ms);
        values[3] = satchel_value_integer((int64_t)progress->cursor);
        values[4] =
            satchel_value_integer(head > progress->cursor ? (int64_t)(head - progress->cursor) : 0);
    }
}

static enum satchel_status list_devices(struct satchel_workspace *workspace,
                                        struct workspace_reader *reader, struct satchel_job *job)
{
    struct incarnations known;
    enum satchel_status status = run_known(reader, job, SQL_DEVICES, NULL, 0);
    if (status == SATCHEL_OK)
        status = incarnations_read(reader->db, &job->arena, &known, &job->error);
    if (status != SATCHEL_OK)
        return status;
    pthread_mutex_lock(&workspace->progress_mutex);
    add_progress(workspace, &job->answers[0].admin_result, known.cursor);
    pthread_mutex_unlock(&workspace->progress_mutex);
    return status;
}

/* ---- the verbs ---- */

static enum satchel_status list_conflicts(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_span which;
    if (job->request.admin.argument_count < 3)
        return run_known(reader, job, SQL_CONFLICTS " ORDER BY at, id", NULL, 0);
    enum satchel_status status = job_argument(job, 2, "which conflicts", &which);
    if (status == SATCHEL_OK && !satchel_span_equal(which, satchel_span_text("open")))
        status = satchel_error_set(&job->error, SATCHEL_INVALID,
                                   "conflicts are listed all, or those that are 'open'");
    if (status != SATCHEL_OK)
        return status;
    return run_known(reader, job, SQL_CONFLICTS " WHERE resolved IS NULL ORDER BY at, id", NULL, 0);
}

static enum satchel_status list_history(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_value parameters[3];
    struct satchel_span table, key, field;
    enum satchel_status status = job_argument(job, 2, "the table", &table);
    if (status == SATCHEL_OK)
        status = job_argument(job, 3, "the key", &key);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_span name = satchel_arena_copy(&job->arena, table); /* with a NUL behind it */
    const struct satchel_table *known =
        name.data && reader->schema ? satchel_schema_find(reader->schema, (const char *)name.data)
                                    : NULL;
    if (!known || known->is_local)
        return satchel_error_set(&job->error, SATCHEL_NOT_FOUND, "there is no synced table '%.*s'",
                                 (int)(table.size < 200 ? table.size : 200),
                                 (const char *)table.data);
    parameters[0] = satchel_value_text(satchel_span_text(known->name));
    parameters[1] = satchel_value_text(key);
    parameters[2] = satchel_value_null();
    if (job->request.admin.argument_count > 4) {
        status = job_argument(job, 4, "the field", &field);
        if (status != SATCHEL_OK)
            return status;
        parameters[2] = satchel_value_text(field);
    }
    return run_known(reader, job, SQL_HISTORY, parameters, 3);
}

enum satchel_status query_verb(struct satchel_workspace *workspace, struct workspace_reader *reader,
                               struct satchel_job *job)
{
    struct satchel_span verb, sql;
    enum satchel_status status = job_argument(job, 0, "the verb", &verb);
    if (status != SATCHEL_OK)
        return status;
    if (satchel_span_equal(verb, satchel_span_text("workspace.sql"))) {
        status = job_argument(job, 2, "the statement", &sql);
        return status == SATCHEL_OK ? run_sql(reader, job, sql) : status;
    }
    if (satchel_span_equal(verb, satchel_span_text("device.list")))
        return list_devices(workspace, reader, job);
    if (satchel_span_equal(verb, satchel_span_text("conflicts")))
        return list_conflicts(reader, job);
    if (satchel_span_equal(verb, satchel_span_text("history")))
        return list_history(reader, job);
    if (satchel_span_equal(verb, satchel_span_text("quarantine.list")))
        return quarantine_list(reader, job);
    if (satchel_span_equal(verb, satchel_span_text("status")))
        return run_known(reader, job, SQL_STATUS, NULL, 0);
    return satchel_error_set(&job->error, SATCHEL_INVALID, "'%.*s' is no command of this server",
                             (int)(verb.size < 80 ? verb.size : 80), (const char *)verb.data);
}
