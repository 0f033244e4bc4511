/* Owns how a device comes in: JOIN with an invite or a login, ATTACH with its token. */
#include "incarnation.h"
#include "workspace_internal.h"

#include <sodium.h>

#define SQL_INVITE "SELECT login, expires, used, device FROM satchel_invite WHERE hash=?1"
#define SQL_USE_INVITE "UPDATE satchel_invite SET used=?1, device=?2 WHERE hash=?3"
#define SQL_ADD_DEVICE "INSERT INTO satchel_device(id, user, token, joined) VALUES(?1,?2,?3,?4)"
#define SQL_DEVICE                                                                     \
    "SELECT user, token, last_number, coalesce(number,0), next, parent, parent_number" \
    " FROM satchel_device LEFT JOIN satchel_token ON device=id WHERE id=?1"
#define SQL_ENROL_AGAIN                                                                       \
    "INSERT INTO satchel_device(id, user, token, joined, parent, parent_number, last_number)" \
    " VALUES(?1,?2,?3,?4,?5,?6,?6) ON CONFLICT(id) DO UPDATE SET token=excluded.token,"       \
    " parent=coalesce(parent, excluded.parent), parent_number=coalesce(parent_number,"        \
    " excluded.parent_number), last_number=max(last_number, excluded.last_number)"            \
    " WHERE token IS NULL AND user=?2"
#define SQL_ATTACHED \
    "UPDATE satchel_device SET cursor=?1, clock_error=?2, last_seen=?3, software=?4 WHERE id=?5"

struct invite {
    bool is_found;
    struct satchel_span login;
    int64_t expires_ms;
    bool is_used;
    struct satchel_id device; /* that used it */
};

struct device {
    bool is_found;
    struct satchel_span user;
    bool has_token; /* false also of one that is only known by what was given back of it */
    bool is_token_right, is_token_next;
    uint64_t last_number, token_number;
    struct satchel_id parent; /* zero: it is no copy */
    uint64_t parent_number;
};

static enum satchel_status find_invite(sqlite3 *db, const uint8_t hash[INVITE_HASH_BYTES],
                                       struct satchel_arena *arena, struct invite *out,
                                       struct satchel_error *error)
{
    struct satchel_query query;
    memset(out, 0, sizeof *out);
    enum satchel_status status = satchel_query_open(&query, db, SQL_INVITE, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_blob(&query, satchel_span_of(hash, INVITE_HASH_BYTES));
    status = satchel_query_step(&query, &out->is_found, error);
    if (status == SATCHEL_OK && out->is_found) {
        out->login = satchel_column_copy(query.statement, 0, arena);
        out->expires_ms = sqlite3_column_int64(query.statement, 1);
        out->is_used = sqlite3_column_type(query.statement, 2) != SQLITE_NULL;
        if (out->is_used)
            satchel_column_id(query.statement, 3, &out->device);
        if (!out->login.data)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for an invite");
    }
    satchel_query_close(&query);
    return status;
}

static bool is_hash(const uint8_t hash[INVITE_HASH_BYTES], struct satchel_span kept)
{
    return kept.size == INVITE_HASH_BYTES && sodium_memcmp(kept.data, hash, INVITE_HASH_BYTES) == 0;
}

static enum satchel_status find_device(sqlite3 *db, const struct satchel_id *id,
                                       struct satchel_span token, struct satchel_arena *arena,
                                       struct device *out, struct satchel_error *error)
{
    struct satchel_query query;
    uint8_t hash[INVITE_HASH_BYTES];
    memset(out, 0, sizeof *out);
    enum satchel_status status = satchel_query_open(&query, db, SQL_DEVICE, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, id);
    status = satchel_query_step(&query, &out->is_found, error);
    if (status == SATCHEL_OK && out->is_found) {
        struct satchel_span kept = satchel_column_span(query.statement, 1);
        token_hash(token, hash);
        out->has_token = kept.size > 0;
        out->is_token_right = is_hash(hash, kept);
        out->is_token_next = is_hash(hash, satchel_column_span(query.statement, 4));
        out->token_number = (uint64_t)sqlite3_column_int64(query.statement, 3);
        out->user = satchel_column_copy(query.statement, 0, arena);
        out->last_number = (uint64_t)sqlite3_column_int64(query.statement, 2);
        if (satchel_column_id(query.statement, 5, &out->parent))
            out->parent_number = (uint64_t)sqlite3_column_int64(query.statement, 6);
        if (!out->user.data)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a device");
    }
    satchel_query_close(&query);
    return status;
}

static enum satchel_status check_protocol(uint64_t protocol, struct satchel_span token,
                                          struct satchel_error *error)
{
    if (protocol != SATCHEL_PROTOCOL_VERSION)
        return satchel_error_set(
            error, SATCHEL_VERSION,
            "this server speaks protocol %d, the device %llu: update the older",
            SATCHEL_PROTOCOL_VERSION, (unsigned long long)protocol);
    if (token.size != SATCHEL_TOKEN_BYTES)
        return satchel_error_set(error, SATCHEL_DENIED, "a token has %d bytes, this one %zu",
                                 SATCHEL_TOKEN_BYTES, token.size);
    return SATCHEL_OK;
}

static enum satchel_status check_active(struct satchel_workspace *workspace,
                                        struct satchel_job *job, struct satchel_span login,
                                        struct workspace_user *user)
{
    enum satchel_status status = user_find(workspace->store, login, &job->arena, user, &job->error);
    if (status == SATCHEL_OK && !user->is_found)
        status = satchel_error_set(&job->error, SATCHEL_DENIED, "workspace %s has no user %.*s",
                                   workspace->name, (int)login.size, (const char *)login.data);
    if (status == SATCHEL_OK && !user->is_active)
        status = satchel_error_set(&job->error, SATCHEL_DENIED,
                                   "user %.*s is no longer active in workspace %s", (int)login.size,
                                   (const char *)login.data, workspace->name);
    return status;
}

struct satchel_id enrolment_receipt(const struct incarnations *known, struct satchel_span token,
                                    const struct satchel_enrolment *enrolment)
{
    struct satchel_enrolment whole = *enrolment;
    uint8_t hash[INVITE_HASH_BYTES];
    token_hash(token, hash);
    whole.token_hash = satchel_span_of(hash, sizeof hash);
    return satchel_enrolment_receipt(known->secret, &whole);
}

static enum satchel_status renew(struct satchel_workspace *workspace, struct satchel_job *job,
                                 const struct satchel_id *device, struct satchel_span token,
                                 uint64_t token_number)
{
    uint8_t hash[INVITE_HASH_BYTES];
    token_hash(token, hash);
    job->renewed = *device;
    return token_replace(satchel_store_sqlite_db(workspace->store), device, hash, token_number,
                         &job->error);
}

/* ---- JOIN ---- */

static enum satchel_status add_device(sqlite3 *db, const struct satchel_message_join *join,
                                      struct satchel_span login, struct satchel_error *error)
{
    uint8_t hash[INVITE_HASH_BYTES];
    struct satchel_query query;
    bool has_row;
    token_hash(join->token, hash);
    enum satchel_status status = satchel_query_open(&query, db, SQL_ADD_DEVICE, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, &join->device);
    satchel_query_text(&query, login);
    satchel_query_blob(&query, satchel_span_of(hash, sizeof hash));
    satchel_query_integer(&query, workspace_now_ms());
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status use_invite(sqlite3 *db, const uint8_t invite[INVITE_HASH_BYTES],
                                      const struct satchel_id *device, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_USE_INVITE, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, workspace_now_ms());
    satchel_query_id(&query, device);
    satchel_query_blob(&query, satchel_span_of(invite, INVITE_HASH_BYTES));
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status answer_join(struct satchel_workspace *workspace, struct satchel_job *job,
                                       const struct device *device, struct satchel_span login,
                                       struct satchel_span role)
{
    const struct satchel_message_join *join = &job->request.join;
    struct satchel_store *store = workspace->store;
    const struct satchel_enrolment enrolment = {.device = join->device,
                                                .token_number = device->token_number,
                                                .user = login,
                                                .parent = device->parent,
                                                .parent_number = device->parent_number};
    struct incarnations known;
    struct satchel_message *joined = &job->answers[0];
    enum satchel_status status =
        incarnations_read(satchel_store_sqlite_db(store), &job->arena, &known, &job->error);
    if (status != SATCHEL_OK)
        return status;
    memset(joined, 0, sizeof *joined);
    joined->kind = SATCHEL_MESSAGE_JOINED;
    joined->joined.user = login;
    joined->joined.role = role;
    joined->joined.workspace = known.workspace_id;
    joined->joined.token_number = device->token_number;
    joined->joined.receipt = enrolment_receipt(&known, join->token, &enrolment);
    job->answer_count = 1;
    return tell_schema(satchel_store_sqlite_db(store), 0, job);
}

/* The invite, unless it is wrong, or used by another than `device`, or expired. */
static enum satchel_status check_invite(struct satchel_workspace *workspace,
                                        struct satchel_job *job, const struct device *device,
                                        uint8_t hash[INVITE_HASH_BYTES], struct invite *out)
{
    const struct satchel_message_join *join = &job->request.join;
    struct satchel_error *error = &job->error;
    if (!invite_hash(join->invite, hash))
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "that is no invite code: it looks like ABCDE-FGHJK-MNPQR-STVWX");
    enum satchel_status status =
        find_invite(satchel_store_sqlite_db(workspace->store), hash, &job->arena, out, error);
    if (status != SATCHEL_OK)
        return status;
    if (!out->is_found)
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "workspace %s knows no such invite: check the code and the "
                                 "workspace",
                                 workspace->name);
    if (out->is_used && !(device->is_found && device->is_token_right &&
                          satchel_id_equal(&out->device, &join->device)))
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "this invite has been used: ask for a new one");
    if (!out->is_used && out->expires_ms < workspace_now_ms())
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "this invite has expired: ask for a new one");
    return SATCHEL_OK;
}

/* A device of the user's whose file was put back or copied before its token was replaced: it is let
 * in with another, and whoever has the present one is not any more. */
static enum satchel_status let_in_again(struct satchel_workspace *workspace,
                                        struct satchel_job *job, struct device *device)
{
    const struct satchel_message_join *join = &job->request.join;
    char id[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&join->device, id);
    workspace_log(workspace, "device %s of %.*s joins again, with another token", id,
                  (int)device->user.size, (const char *)device->user.data);
    return renew(workspace, job, &join->device, join->token, ++device->token_number);
}

/* Enrols the device, which may be new, be the user's already, or have said the same before. */
static enum satchel_status enrol(struct satchel_workspace *workspace, struct satchel_job *job,
                                 struct device *device, bool is_again, struct satchel_span login)
{
    const struct satchel_message_join *join = &job->request.join;
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    bool is_users = device->has_token && satchel_span_equal(device->user, login);
    struct incarnations known;
    struct workspace_user user;
    enum satchel_status status = incarnations_read(db, &job->arena, &known, &job->error);
    if (status != SATCHEL_OK)
        return status;
    /* The node's own id is the device of what the server itself writes. */
    if (!is_again && !is_users &&
        (device->is_found || satchel_id_is_zero(&join->device) ||
         incarnation_is_own(&known, &join->device)))
        return satchel_error_set(&job->error, SATCHEL_DENIED,
                                 "a device of this id has joined already, for somebody else: start "
                                 "from a new file");
    status = check_active(workspace, job, login, &user);
    if (status == SATCHEL_OK && !is_again)
        status = is_users ? let_in_again(workspace, job, device)
                          : add_device(db, join, login, &job->error);
    if (status == SATCHEL_OK)
        status = role_told(db, &join->device, user.role, workspace_now_ms(), &job->error);
    if (status == SATCHEL_OK)
        status = answer_join(workspace, job, device, login, user.role);
    return status;
}

/* The same device with the same token may say JOIN again: the first answer was lost on the way. */
enum satchel_status enrol_join(struct satchel_workspace *workspace, struct satchel_job *job)
{
    const struct satchel_message_join *join = &job->request.join;
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    uint8_t hash[INVITE_HASH_BYTES];
    struct invite invite;
    struct device device;
    enum satchel_status status = check_protocol(join->protocol, join->token, &job->error);
    if (status == SATCHEL_OK)
        status = find_device(db, &join->device, join->token, &job->arena, &device, &job->error);
    if (status != SATCHEL_OK)
        return status;
    if (job->login.data) {
        bool is_again =
            device.is_found && device.is_token_right && satchel_span_equal(device.user, job->login);
        return enrol(workspace, job, &device, is_again, job->login);
    }
    status = check_invite(workspace, job, &device, hash, &invite);
    if (status == SATCHEL_OK)
        status = enrol(workspace, job, &device, invite.is_used, invite.login);
    if (status == SATCHEL_OK && !invite.is_used)
        status = use_invite(db, hash, &join->device, &job->error);
    return status;
}

/* ---- ATTACH ---- */

/* The store was put back to a moment at which the device had an earlier token. */
static enum satchel_status renew_by_receipt(struct satchel_workspace *workspace,
                                            struct satchel_job *job, struct device *device)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    if (!satchel_span_equal(device->user, hello->user))
        return SATCHEL_OK;
    workspace_log(workspace, "a device of %.*s has a later token, as its receipt says",
                  (int)hello->user.size, (const char *)hello->user.data);
    device->is_token_right = true;
    device->token_number = hello->token_number;
    return renew(workspace, job, &hello->device, hello->token, hello->token_number);
}

/* A device that joined after the moment to which this store was put back: its receipt says that it
 * was enrolled here. */
static enum satchel_status enrol_again(struct satchel_workspace *workspace, struct satchel_job *job,
                                       const struct incarnations *known, struct device *device)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    uint8_t hash[INVITE_HASH_BYTES];
    struct satchel_query query;
    bool has_row;
    const struct satchel_enrolment enrolment = {.device = hello->device,
                                                .token_number = hello->token_number,
                                                .user = hello->user,
                                                .parent = hello->parent,
                                                .parent_number = hello->parent_number};
    if ((device->has_token && hello->token_number <= device->token_number) ||
        satchel_id_is_zero(&hello->device) || hello->user.size == 0)
        return SATCHEL_OK;
    struct satchel_id receipt = enrolment_receipt(known, hello->token, &enrolment);
    if (!satchel_id_equal(&receipt, &hello->receipt))
        return SATCHEL_OK;
    if (device->has_token)
        return renew_by_receipt(workspace, job, device);
    token_hash(hello->token, hash);
    enum satchel_status status = satchel_query_open(&query, db, SQL_ENROL_AGAIN, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, &hello->device);
    satchel_query_text(&query, hello->user);
    satchel_query_blob(&query, satchel_span_of(hash, sizeof hash));
    satchel_query_integer(&query, workspace_now_ms());
    if (satchel_id_is_zero(&hello->parent))
        satchel_query_null(&query);
    else
        satchel_query_id(&query, &hello->parent);
    satchel_query_integer(&query, (int64_t)hello->parent_number);
    status = satchel_query_step(&query, &has_row, &job->error);
    satchel_query_close(&query);
    if (status == SATCHEL_OK && hello->token_number > 0)
        status = token_set_number(db, &hello->device, hello->token_number, &job->error);
    if (status != SATCHEL_OK)
        return status;
    workspace_log(workspace, "a device of %.*s is enrolled again by its receipt",
                  (int)hello->user.size, (const char *)hello->user.data);
    return find_device(db, &hello->device, hello->token, &job->arena, device, &job->error);
}

static enum satchel_status record_attach(sqlite3 *db, const struct satchel_message_hello *hello,
                                         struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_ATTACHED, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)hello->cursor);
    satchel_query_integer(&query, hello->clock_error_ms);
    satchel_query_integer(&query, workspace_now_ms());
    satchel_query_text(&query, hello->software);
    satchel_query_id(&query, &hello->device);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

/* Whether the replica has followed a later incarnation of this very store: then it was put back
 * by hand. */
static bool is_outlived(const struct incarnations *known, const struct satchel_message_hello *hello)
{
    return !satchel_id_equal(&hello->node, &known->node) &&
           satchel_vector_get(&hello->lineage, &known->node) > 0;
}

/* The head at which the device held what its user could see, 0 if nobody knows. One that has
 * nothing yet is sent exactly that from the first entry on. */
static uint64_t complete_of(const struct satchel_message_hello *hello, uint64_t fork,
                            const struct incarnations *known)
{
    uint64_t last = satchel_id_equal(&hello->node, &known->node)
                        ? known->cursor
                        : satchel_vector_get(&known->lineage, &hello->node);
    if (hello->cursor == 0 && satchel_id_is_zero(&hello->node))
        return known->cursor;
    return fork < hello->cursor || hello->complete > last ? 0 : hello->complete;
}

static void answer_attach(struct satchel_job *job, const struct incarnations *known,
                          const struct device *device, uint32_t schema, struct satchel_span role)
{
    struct satchel_message *answer = &job->answers[0];
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_WELCOME;
    struct satchel_message_welcome *welcome = &answer->welcome;
    welcome->node = known->node;
    welcome->vector = known->own;
    welcome->head = known->cursor;
    welcome->last_number = device->last_number;
    welcome->schema = schema;
    welcome->user = device->user;
    welcome->role = role;
    welcome->lineage = known->lineage;
    job->device = job->request.hello.device;
    job->is_outlived = is_outlived(known, &job->request.hello);
    job->head = known->cursor;
    job->answer_count = 1;
}

static enum satchel_status find_attaching(struct satchel_workspace *workspace,
                                          struct satchel_job *job, const struct incarnations *known,
                                          struct device *device, struct workspace_user *user)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    enum satchel_status status =
        find_device(db, &hello->device, hello->token, &job->arena, device, &job->error);
    /* What it has said by ROTATE, it shows: the token before that is worth nothing now. */
    if (status == SATCHEL_OK && device->is_token_next) {
        device->is_token_right = true;
        status = renew(workspace, job, &hello->device, hello->token, ++device->token_number);
    }
    if (status == SATCHEL_OK && !device->is_token_right)
        status = enrol_again(workspace, job, known, device);
    if (status != SATCHEL_OK)
        return status;
    if (!device->is_found || !device->is_token_right)
        return satchel_error_set(&job->error, SATCHEL_DENIED,
                                 "this device is not enrolled in workspace %s: its id or token is "
                                 "wrong; one whose token was replaced comes in again by satchel "
                                 "rejoin",
                                 workspace->name);
    return user_find(workspace->store, device->user, &job->arena, user, &job->error);
}

/* A wipe cannot be taken back. So it takes a row that says that the user is not active; a row that
 * is not there (a restored server, users that are still to come, a name mistyped) or that entries
 * of this very device may put right makes the device wait. */
static enum satchel_status judge_user(const struct satchel_workspace *workspace,
                                      struct satchel_job *job, const struct device *device,
                                      const struct workspace_user *user, uint64_t fork)
{
    const char *cure = NULL;
    if (!user->is_found)
        cure = "is not in satchel_users: a device that has the user's row has to sync first, or an "
               "administrator adds it";
    else if (!user->is_active && fork < job->request.hello.cursor)
        cure = "is not active as far as the server, which was restored, knows yet: a device that "
               "has newer changes has to sync first, or an administrator revokes this device";
    if (cure)
        return satchel_error_set(&job->error, SATCHEL_BUSY, "user %.*s of workspace %s %s",
                                 (int)device->user.size, (const char *)device->user.data,
                                 workspace->name, cure);
    job->is_drained = !user->is_active;
    return SATCHEL_OK;
}

/* A device that was revoked is drained and wiped; one that has begun with that ends it. When it
 * says that it was, and had said so before, it is refused; another file with its id is drained in
 * its turn. */
static enum satchel_status judge_revoked(sqlite3 *db, struct satchel_job *job)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    struct device_revoked revoked;
    enum satchel_status status = revoke_find(db, &hello->device, &revoked, &job->error);
    if (status != SATCHEL_OK)
        return status;
    job->is_drained = revoked.is_revoked || revoked.is_wiped || hello->drain != SATCHEL_NOT_DRAINED;
    return revoked.is_wiped && hello->drain == SATCHEL_WIPED
               ? satchel_error_set(&job->error, SATCHEL_DENIED,
                                   "this device was revoked, and its data were wiped; join again "
                                   "with an invite, under a new file name")
               : SATCHEL_OK;
}

enum satchel_status enrol_attach(struct satchel_workspace *workspace, struct satchel_job *job)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    struct satchel_store *store = workspace->store;
    sqlite3 *db = satchel_store_sqlite_db(store);
    struct satchel_error *error = &job->error;
    uint32_t schema = store->schema ? store->schema->migration_count : 0;
    struct incarnations known;
    struct device device;
    struct workspace_user user;
    uint64_t fork = 0;
    enum satchel_status status = check_protocol(hello->protocol, hello->token, error);
    if (status == SATCHEL_OK)
        status = incarnations_read(db, &job->arena, &known, error);
    if (status != SATCHEL_OK)
        return status;
    if (!satchel_id_equal(&hello->workspace_id, &known.workspace_id))
        return satchel_error_set(error, SATCHEL_MISMATCH,
                                 "this replica belongs to another workspace than the one called %s "
                                 "here",
                                 workspace->name);
    status = find_attaching(workspace, job, &known, &device, &user);
    if (status == SATCHEL_OK && hello->schema > schema)
        return satchel_error_set(error, SATCHEL_BUSY, /* the device waits */
                                 "this replica has migration %llu of workspace %s, the server only "
                                 "%u: it was put back to before a deployment, deploy the same "
                                 "migrations again (satchel workspace deploy)",
                                 (unsigned long long)hello->schema, workspace->name,
                                 (unsigned)schema);
    if (status == SATCHEL_OK)
        status = fork_find(workspace, job, &known, &fork);
    if (status == SATCHEL_OK)
        status = judge_revoked(db, job);
    if (status == SATCHEL_OK && !job->is_drained)
        status = judge_user(workspace, job, &device, &user, fork);
    if (status == SATCHEL_OK)
        status = record_attach(db, hello, error);
    if (status == SATCHEL_OK && !job->is_drained)
        status = role_told(db, &hello->device, user.role, workspace_now_ms(), error);
    if (status != SATCHEL_OK)
        return status;
    answer_attach(job, &known, &device, schema, user.role);
    job->answers[0].welcome.cursor = fork;
    job->answers[0].welcome.is_drained = job->is_drained;
    job->scope.complete = job->scope.cut = complete_of(hello, fork, &known);
    return SATCHEL_OK;
}
