/* Owns how a device's token gives way to another: by ROTATE, in two steps, of which the second is
 * that the new one is shown; or at once, by a new JOIN. How many a device has had is counted, so
 * that a receipt of an earlier one is worth nothing. Table satchel_token; a device without a row
 * there has the token it joined with. */
#include "incarnation.h"
#include "workspace_internal.h"

#define SQL_SAY_NEXT                                                    \
    "INSERT INTO satchel_token(device, number, next) VALUES(?1, 0, ?2)" \
    " ON CONFLICT(device) DO UPDATE SET next=excluded.next RETURNING number"
#define SQL_LOOK                                             \
    "SELECT token NOTNULL AND token<>?2, coalesce(number,0)" \
    " FROM satchel_device LEFT JOIN satchel_token ON device=id WHERE id=?1"
#define SQL_SET_TOKEN "UPDATE satchel_device SET token=?2 WHERE id=?1"
#define SQL_SET_NUMBER                                         \
    "INSERT INTO satchel_token(device, number) VALUES(?1, ?2)" \
    " ON CONFLICT(device) DO UPDATE SET number=excluded.number, next=NULL"

enum satchel_status token_look(sqlite3 *db, const struct satchel_id *device, const uint8_t *hash,
                               uint64_t *number, bool *is_another, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    *number = 0;
    *is_another = false;
    enum satchel_status status = satchel_query_open(&query, db, SQL_LOOK, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    satchel_query_blob(&query, satchel_span_of(hash, INVITE_HASH_BYTES));
    status = satchel_query_step(&query, &has_row, error);
    if (has_row) {
        *is_another = sqlite3_column_int(query.statement, 0) != 0;
        *number = (uint64_t)sqlite3_column_int64(query.statement, 1);
    }
    satchel_query_close(&query);
    return status;
}

enum satchel_status token_set_number(sqlite3 *db, const struct satchel_id *device, uint64_t number,
                                     struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_SET_NUMBER, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    satchel_query_integer(&query, (int64_t)number);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

enum satchel_status token_replace(sqlite3 *db, const struct satchel_id *device, const uint8_t *hash,
                                  uint64_t number, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_SET_TOKEN, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    satchel_query_blob(&query, satchel_span_of(hash, INVITE_HASH_BYTES));
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status == SATCHEL_OK ? token_set_number(db, device, number, error) : status;
}

static enum satchel_status say_next(sqlite3 *db, const struct satchel_id *device,
                                    struct satchel_span token, uint64_t *number,
                                    struct satchel_error *error)
{
    uint8_t hash[INVITE_HASH_BYTES];
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_SAY_NEXT, error);
    if (status != SATCHEL_OK)
        return status;
    token_hash(token, hash);
    satchel_query_id(&query, device);
    satchel_query_blob(&query, satchel_span_of(hash, sizeof hash));
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK)
        *number = (uint64_t)sqlite3_column_int64(query.statement, 0) + 1;
    satchel_query_close(&query);
    return status;
}

enum satchel_status token_rotate(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    sqlite3 *db = satchel_store_sqlite_db(store);
    const struct satchel_message_rotate *rotate = &job->request.rotate;
    struct satchel_message *rotated = &job->answers[0];
    struct satchel_store_device device = {.id = job->device};
    struct incarnations known;
    uint64_t number = 0;
    if (rotate->token.size != SATCHEL_TOKEN_BYTES)
        return satchel_error_set(&job->error, SATCHEL_CORRUPT, "ROTATE: a token is cut");
    enum satchel_status status =
        store->ops->load_devices(store, &device, 1, &job->arena, &job->error);
    if (status == SATCHEL_OK)
        status = incarnations_read(db, &job->arena, &known, &job->error);
    if (status == SATCHEL_OK)
        status = say_next(db, &job->device, rotate->token, &number, &job->error);
    if (status != SATCHEL_OK)
        return status;
    memset(rotated, 0, sizeof *rotated);
    rotated->kind = SATCHEL_MESSAGE_ROTATED;
    rotated->rotated.token_number = number;
    const struct satchel_enrolment enrolment = {.device = job->device,
                                                .token_number = number,
                                                .user = device.user,
                                                .parent = device.parent,
                                                .parent_number = device.parent_number};
    rotated->rotated.receipt = enrolment_receipt(&known, rotate->token, &enrolment);
    job->answer_count = 1;
    return SATCHEL_OK;
}
