/* Owns how a copied replica comes in as a device of its own: COPY, from the device that it is a
 * copy of. What the copy has seen through its ancestors is the merge's (merge_devices.c). */
#include "incarnation.h"
#include "lines.h"

#include <sodium.h>

/* A copy that is enrolled already is told so again: the first answer was lost, or the copy was
 * copied in its turn, and both files have the same token; if the other has replaced it since, it is
 * good again instead of the other's. One without a token is known by what was given back of it, and
 * goes on from where that does. */
#define SQL_ADD_COPY                                                                       \
    "INSERT INTO satchel_device(id, user, token, joined, last_number, last_stamp, parent," \
    " parent_number) VALUES(?1,?2,?3,?4,?5,?6,?7,?5) ON CONFLICT(id) DO UPDATE SET"        \
    " token=excluded.token, parent=coalesce(parent, excluded.parent),"                     \
    " parent_number=coalesce(parent_number, excluded.parent_number),"                      \
    " last_number=max(last_number, excluded.last_number) WHERE user=excluded.user AND"     \
    " (token IS NULL OR token=excluded.token OR ?8) RETURNING last_number"
#define SQL_PLACE_COPY                                                              \
    "INSERT INTO satchel_device(id, user, joined, last_number, last_stamp, parent," \
    " parent_number) VALUES(?1,?2,?3,?4,?5,?6,?4) ON CONFLICT(id) DO UPDATE SET"    \
    " parent=excluded.parent, parent_number=excluded.parent_number,"                \
    " last_number=excluded.last_number, last_stamp=max(last_stamp, excluded.last_stamp)"
#define SQL_COPY_ROLES                                                    \
    "INSERT OR IGNORE INTO satchel_device_role(device, role, superseded)" \
    " SELECT ?1, role, superseded FROM satchel_device_role WHERE device=?2"

static enum satchel_status check_divergence(struct satchel_workspace *workspace,
                                            struct satchel_job *job,
                                            const struct satchel_store_device *parent)
{
    const struct satchel_message_copy *copy = &job->request.copy;
    struct satchel_store *store = workspace->store;
    uint8_t held[SATCHEL_HASH_BYTES];
    enum satchel_status status = SATCHEL_NOT_FOUND;
    if (copy->hash.size != SATCHEL_HASH_BYTES || copy->token.size != SATCHEL_TOKEN_BYTES)
        return satchel_error_set(&job->error, SATCHEL_CORRUPT, "COPY: a hash or token is cut");
    /* Another file that is this copy, too, may have been here before. */
    struct satchel_id id = satchel_copy_id(&job->device, copy->number - 1, copy->hash.data);
    status = store->ops->load_hash(store, &id, copy->number, held, &job->error);
    if (status == SATCHEL_OK && sodium_memcmp(held, copy->hash.data, sizeof held) == 0)
        return status;
    if (status == SATCHEL_NOT_FOUND && copy->number <= parent->last_number)
        status = store->ops->load_hash(store, &job->device, copy->number, held, &job->error);
    if (status == SATCHEL_NOT_FOUND ||
        (status == SATCHEL_OK && sodium_memcmp(held, copy->hash.data, sizeof held) == 0))
        return satchel_error_set(&job->error, SATCHEL_MISMATCH,
                                 "the server holds no other change set %llu of this device: it is "
                                 "no copy",
                                 (unsigned long long)copy->number);
    return status;
}

/* The stamp of the last change set that a copy shares with its parent; 0: it is not here. */
static enum satchel_status find_stamp(struct satchel_workspace *workspace,
                                      const struct satchel_id *parent, uint64_t number,
                                      struct satchel_arena *arena, satchel_stamp *stamp,
                                      struct satchel_error *error)
{
    struct satchel_store *store = workspace->store;
    struct satchel_id author = *parent;
    struct satchel_entry entry = {0};
    *stamp = 0;
    if (number == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        line_author(satchel_store_sqlite_db(store), &author, number, error);
    if (status == SATCHEL_OK)
        status = satchel_store_load_change(store, &author, number, &entry, arena, error);
    *stamp = status == SATCHEL_OK ? entry.stamp : 0;
    return status == SATCHEL_NOT_FOUND ? SATCHEL_OK : status;
}

static enum satchel_status copy_roles(struct satchel_workspace *workspace,
                                      const struct satchel_id *id, const struct satchel_id *parent,
                                      struct satchel_error *error)
{
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_COPY_ROLES, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, id);
    satchel_query_id(&query, parent);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status add_copy(struct satchel_workspace *workspace, struct satchel_job *job,
                                    const struct satchel_store_device *parent,
                                    const struct satchel_id *id, uint64_t *token_number)
{
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    uint64_t common = job->request.copy.number - 1;
    uint8_t token[INVITE_HASH_BYTES];
    struct satchel_query query;
    satchel_stamp stamp;
    bool has_row = false, is_another = false;
    token_hash(job->request.copy.token, token);
    enum satchel_status status =
        find_stamp(workspace, &parent->id, common, &job->arena, &stamp, &job->error);
    if (status == SATCHEL_OK)
        status = token_look(db, id, token, token_number, &is_another, &job->error);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, db, SQL_ADD_COPY, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, id);
    satchel_query_text(&query, parent->user);
    satchel_query_blob(&query, satchel_span_of(token, sizeof token));
    satchel_query_integer(&query, workspace_now_ms());
    satchel_query_integer(&query, (int64_t)common);
    satchel_query_integer(&query, (int64_t)stamp);
    satchel_query_id(&query, &parent->id);
    satchel_query_integer(&query, *token_number > 0);
    status = satchel_query_step(&query, &has_row, &job->error);
    satchel_query_close(&query);
    if (status == SATCHEL_OK && !has_row)
        status = satchel_error_set(&job->error, SATCHEL_DENIED,
                                   "the copy's id is another device's; join a new replica");
    if (status == SATCHEL_OK)
        status = revoke_copy(db, id, &parent->id, &job->error);
    if (status == SATCHEL_OK && is_another) {
        job->renewed = *id;
        status = token_set_number(db, id, ++*token_number, &job->error);
    }
    return status == SATCHEL_OK ? copy_roles(workspace, id, &parent->id, &job->error) : status;
}

enum satchel_status copy_place(struct satchel_workspace *workspace, const struct satchel_id *id,
                               struct satchel_span user, const struct satchel_id *parent,
                               uint64_t number, struct satchel_arena *arena,
                               struct satchel_error *error)
{
    struct satchel_query query;
    satchel_stamp stamp;
    bool has_row;
    enum satchel_status status = find_stamp(workspace, parent, number, arena, &stamp, error);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, satchel_store_sqlite_db(workspace->store),
                                    SQL_PLACE_COPY, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, id);
    satchel_query_text(&query, user);
    satchel_query_integer(&query, workspace_now_ms());
    satchel_query_integer(&query, (int64_t)number);
    satchel_query_integer(&query, (int64_t)stamp);
    satchel_query_id(&query, parent);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status == SATCHEL_OK ? copy_roles(workspace, id, parent, error) : status;
}

static enum satchel_status answer(struct satchel_workspace *workspace, struct satchel_job *job,
                                  const struct satchel_store_device *parent,
                                  const struct satchel_id *id, uint64_t token_number)
{
    const struct satchel_enrolment enrolment = {.device = *id,
                                                .token_number = token_number,
                                                .user = parent->user,
                                                .parent = parent->id,
                                                .parent_number = job->request.copy.number - 1};
    struct satchel_message *copied = &job->answers[0];
    struct incarnations known;
    char old_text[SATCHEL_ID_TEXT_BYTES], new_text[SATCHEL_ID_TEXT_BYTES];
    enum satchel_status status = incarnations_read(satchel_store_sqlite_db(workspace->store),
                                                   &job->arena, &known, &job->error);
    if (status != SATCHEL_OK)
        return status;
    memset(copied, 0, sizeof *copied);
    copied->kind = SATCHEL_MESSAGE_COPIED;
    copied->copied.device = *id;
    copied->copied.receipt = enrolment_receipt(&known, job->request.copy.token, &enrolment);
    copied->copied.token_number = token_number;
    job->answer_count = 1;
    satchel_id_text(&parent->id, old_text);
    satchel_id_text(id, new_text);
    workspace_log(workspace, "device %s is in use twice: from change set %llu on the copy is %s",
                  old_text, (unsigned long long)job->request.copy.number, new_text);
    return SATCHEL_OK;
}

enum satchel_status enrol_copy(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    struct satchel_store_device parent = {.id = job->device};
    enum satchel_status status =
        store->ops->load_devices(store, &parent, 1, &job->arena, &job->error);
    if (status == SATCHEL_OK)
        status = check_divergence(workspace, job, &parent);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_id id =
        satchel_copy_id(&parent.id, job->request.copy.number - 1, job->request.copy.hash.data);
    uint64_t token_number = 0;
    status = add_copy(workspace, job, &parent, &id, &token_number);
    return status == SATCHEL_OK ? answer(workspace, job, &parent, &id, token_number) : status;
}

enum satchel_status copy_is_own_earlier(struct satchel_store *store,
                                        const struct satchel_entry *later,
                                        const struct satchel_entry *entry,
                                        struct satchel_arena *arena, bool *out,
                                        struct satchel_error *error)
{
    struct satchel_store_device device = {.id = later->device};
    uint64_t last_number = later->number - 1;
    enum satchel_status status = SATCHEL_OK;
    *out = false;
    while (status == SATCHEL_OK && !satchel_id_equal(&device.id, &entry->device)) {
        status = store->ops->load_devices(store, &device, 1, arena, error);
        if (status != SATCHEL_OK || satchel_id_is_zero(&device.parent))
            return status == SATCHEL_NOT_FOUND ? SATCHEL_OK : status;
        last_number = device.parent_number;
        device = (struct satchel_store_device){.id = device.parent};
    }
    *out = status == SATCHEL_OK && entry->number <= last_number;
    return status;
}
