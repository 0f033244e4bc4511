/* Owns devices that are to be drained and wiped (docs/scopes.md): those that an administrator has
 * revoked, and what became of them and of those whose user is one no more. */
#include "workspace_internal.h"

#define SQL_FIND                                                                  \
    "SELECT revoked IS NOT NULL, wiped IS NOT NULL, is_late FROM satchel_revoked" \
    " WHERE device=?1"
#define SQL_IS_DEVICE "SELECT 1 FROM satchel_device WHERE id=?1 AND token IS NOT NULL"
#define SQL_REVOKE                                               \
    "INSERT INTO satchel_revoked(device, revoked) VALUES(?1,?2)" \
    " ON CONFLICT(device) DO UPDATE SET revoked=coalesce(revoked, ?2)"
#define SQL_WIPED                                                         \
    "INSERT INTO satchel_revoked(device, wiped, is_late) VALUES(?1,?2,1)" \
    " ON CONFLICT(device) DO UPDATE SET wiped=?2, is_late=1"
#define SQL_COPY                                                      \
    "INSERT OR IGNORE INTO satchel_revoked(device, revoked, is_late)" \
    " SELECT ?1, coalesce(revoked, wiped), is_late FROM satchel_revoked WHERE device=?2"

enum satchel_status revoke_find(sqlite3 *db, const struct satchel_id *device,
                                struct device_revoked *out, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    enum satchel_status status = satchel_query_open(&query, db, SQL_FIND, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        out->is_revoked = sqlite3_column_int(query.statement, 0) != 0;
        out->is_wiped = sqlite3_column_int(query.statement, 1) != 0;
        out->is_late = sqlite3_column_int(query.statement, 2) != 0;
    }
    satchel_query_close(&query);
    return status;
}

/* Runs a statement about the device; `other` NULL: at this moment. */
static enum satchel_status run(sqlite3 *db, const char *sql, const struct satchel_id *device,
                               const struct satchel_id *other, bool *has_row,
                               struct satchel_error *error)
{
    struct satchel_query query;
    enum satchel_status status = satchel_query_open(&query, db, sql, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    if (other)
        satchel_query_id(&query, other);
    else if (sqlite3_bind_parameter_count(query.statement) > 1)
        satchel_query_integer(&query, workspace_now_ms());
    status = satchel_query_step(&query, has_row, error);
    satchel_query_close(&query);
    return status;
}

enum satchel_status revoke_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    struct satchel_span text;
    struct satchel_id device;
    bool is_device = false, has_row;
    enum satchel_status status = job_argument(job, 2, "the device's id", &text);
    if (status == SATCHEL_OK && satchel_id_parse(&device, text) != SATCHEL_OK)
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "a device's id has 32 hexadecimal digits (satchel device list)");
    if (status == SATCHEL_OK)
        status = run(db, SQL_IS_DEVICE, &device, NULL, &is_device, &job->error);
    if (status == SATCHEL_OK && !is_device)
        return satchel_error_set(&job->error, SATCHEL_NOT_FOUND,
                                 "workspace %s has no device %.*s (satchel device list)",
                                 workspace->name, (int)text.size, (const char *)text.data);
    if (status == SATCHEL_OK)
        status = run(db, SQL_REVOKE, &device, NULL, &has_row, &job->error);
    job->device = device;
    job->has_revoked = status == SATCHEL_OK;
    return status == SATCHEL_OK
               ? job_answer_text(job,
                                 "device %.*s is revoked: it uploads what waits on it once more, "
                                 "and wipes its data",
                                 (int)text.size, (const char *)text.data)
               : status;
}

enum satchel_status revoke_wiped(struct satchel_workspace *workspace, struct satchel_job *job)
{
    bool has_row;
    return run(satchel_store_sqlite_db(workspace->store), SQL_WIPED, &job->device, NULL, &has_row,
               &job->error);
}

enum satchel_status revoke_copy(sqlite3 *db, const struct satchel_id *copy,
                                const struct satchel_id *parent, struct satchel_error *error)
{
    bool has_row;
    return run(db, SQL_COPY, copy, parent, &has_row, error);
}

enum satchel_status revoke_check(sqlite3 *db, struct satchel_incoming *incoming,
                                 struct satchel_error *error)
{
    static const char reason[] = "its device had been revoked and wiped before this came";
    struct device_revoked revoked;
    enum satchel_status status = revoke_find(db, &incoming->device, &revoked, error);
    if (status == SATCHEL_OK && revoked.is_late)
        incoming->refusal = satchel_span_text(reason);
    return status;
}
