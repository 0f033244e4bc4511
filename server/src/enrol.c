/* Owns how a device comes in: JOIN with an invite, ATTACH with its token. */
#include "workspace_internal.h"

#include <sodium.h>

#define SQL_INVITE "SELECT login, expires, used, device FROM satchel_invite WHERE hash=?1"
#define SQL_USE_INVITE "UPDATE satchel_invite SET used=?1, device=?2 WHERE hash=?3"
#define SQL_ADD_DEVICE "INSERT INTO satchel_device(id, user, token, joined) VALUES(?1,?2,?3,?4)"
#define SQL_DEVICE                                                                             \
    "SELECT user, token, last_number, (SELECT h.hash FROM satchel_id i JOIN satchel_hash h"    \
    " ON h.device=i.number AND h.number=last_number WHERE i.id=?1) FROM satchel_device WHERE " \
    "id=?1"
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
    bool is_token_right;
    uint64_t last_number;
    struct satchel_id last_hash; /* the first bytes of it; zero: there is none */
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
        if (out->is_used && !satchel_column_id(query.statement, 3, &out->device))
            memset(&out->device, 0, sizeof out->device);
        if (!out->login.data)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for an invite");
    }
    satchel_query_close(&query);
    return status;
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
        struct satchel_span kept = satchel_column_bytes(query.statement, 1);
        token_hash(token, hash);
        out->is_token_right = kept.size == INVITE_HASH_BYTES &&
                              sodium_memcmp(kept.data, hash, INVITE_HASH_BYTES) == 0;
        out->user = satchel_column_copy(query.statement, 0, arena);
        out->last_number = (uint64_t)sqlite3_column_int64(query.statement, 2);
        struct satchel_span held = satchel_column_bytes(query.statement, 3);
        if (held.size == SATCHEL_HASH_BYTES)
            memcpy(out->last_hash.bytes, held.data, sizeof out->last_hash.bytes);
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
    if (status == SATCHEL_OK && !(user->is_found && user->is_active))
        status = satchel_error_set(&job->error, SATCHEL_DENIED,
                                   "user %.*s is no longer active in workspace %s", (int)login.size,
                                   (const char *)login.data, workspace->name);
    return status;
}

/* ---- JOIN ---- */

static enum satchel_status enrol(struct satchel_workspace *workspace, struct satchel_job *job,
                                 const uint8_t invite[INVITE_HASH_BYTES], struct satchel_span login)
{
    const struct satchel_message_join *join = &job->request.join;
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    int64_t now = workspace_now_ms();
    uint8_t hash[INVITE_HASH_BYTES];
    struct satchel_query query;
    bool has_row;
    token_hash(join->token, hash);
    enum satchel_status status = satchel_query_open(&query, db, SQL_ADD_DEVICE, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, &join->device);
    satchel_query_text(&query, login);
    satchel_query_blob(&query, satchel_span_of(hash, sizeof hash));
    satchel_query_integer(&query, now);
    status = satchel_query_step(&query, &has_row, &job->error);
    satchel_query_close(&query);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, db, SQL_USE_INVITE, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, now);
    satchel_query_id(&query, &join->device);
    satchel_query_blob(&query, satchel_span_of(invite, INVITE_HASH_BYTES));
    status = satchel_query_step(&query, &has_row, &job->error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status answer_join(struct satchel_workspace *workspace, struct satchel_job *job,
                                       struct satchel_span login, struct satchel_span role)
{
    struct satchel_store *store = workspace->store;
    struct satchel_store_head head;
    struct satchel_message *joined = &job->answers[0], *schema = &job->answers[1];
    enum satchel_status status = store->ops->load_head(store, &head, &job->error);
    if (status != SATCHEL_OK)
        return status;
    memset(job->answers, 0, sizeof job->answers);
    joined->kind = SATCHEL_MESSAGE_JOINED;
    joined->joined.user = login;
    joined->joined.role = role;
    joined->joined.workspace = head.workspace_id;
    schema->kind = SATCHEL_MESSAGE_SCHEMA;
    job->answer_count = 2;
    return satchel_schema_migrations(satchel_store_sqlite_db(store), 0, &job->arena,
                                     &schema->schema.migrations, &schema->schema.migration_count,
                                     &job->error);
}

/* The same device with the same token may say JOIN again: the first answer was lost on the way. */
enum satchel_status enrol_join(struct satchel_workspace *workspace, struct satchel_job *job)
{
    const struct satchel_message_join *join = &job->request.join;
    sqlite3 *db = satchel_store_sqlite_db(workspace->store);
    struct satchel_error *error = &job->error;
    uint8_t hash[INVITE_HASH_BYTES];
    struct satchel_store_head head;
    struct invite invite;
    struct device device;
    struct workspace_user user;
    enum satchel_status status = check_protocol(join->protocol, join->token, error);
    if (status != SATCHEL_OK)
        return status;
    if (!invite_hash(join->invite, hash))
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "that is no invite code: it looks like ABCDE-FGHJK-MNPQR-STVWX");
    status = find_invite(db, hash, &job->arena, &invite, error);
    if (status == SATCHEL_OK)
        status = find_device(db, &join->device, join->token, &job->arena, &device, error);
    if (status == SATCHEL_OK)
        status = workspace->store->ops->load_head(workspace->store, &head, error);
    if (status != SATCHEL_OK)
        return status;
    if (!invite.is_found)
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "workspace %s knows no such invite: check the code and the "
                                 "workspace",
                                 workspace->name);
    bool is_again = invite.is_used && device.is_found && device.is_token_right &&
                    satchel_id_equal(&invite.device, &join->device);
    if (invite.is_used && !is_again)
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "this invite has been used: ask for a new one");
    if (!invite.is_used && invite.expires_ms < workspace_now_ms())
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "this invite has expired: ask for a new one");
    /* The node's own id is the device of what the server itself writes. */
    if (!is_again && (device.is_found || satchel_id_is_zero(&join->device) ||
                      satchel_id_equal(&join->device, &head.node)))
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "a device of this id has joined already: start from a new file");
    status = check_active(workspace, job, invite.login, &user);
    if (status == SATCHEL_OK && !is_again)
        status = enrol(workspace, job, hash, invite.login);
    if (status == SATCHEL_OK)
        status = role_told(db, &join->device, user.role, workspace_now_ms(), error);
    if (status == SATCHEL_OK)
        status = answer_join(workspace, job, invite.login, user.role);
    return status;
}

/* ---- ATTACH ---- */

/* Whether this store can be the one that the replica has been talking to so far. The last number of
 * HELLO is not held against the store's: another sync of the same replica may have sent more since
 * it was said. A replica that was copied or put back knows from WELCOME, and from its present
 * state. */
static enum satchel_status check_past(const struct satchel_message_hello *hello,
                                      const struct satchel_store_head *head, uint32_t schema,
                                      struct satchel_error *error)
{
    uint64_t seen = satchel_vector_get(&hello->seen, &head->node);
    if (!satchel_id_is_zero(&hello->node) && !satchel_id_equal(&hello->node, &head->node))
        return satchel_error_set(error, SATCHEL_MISMATCH,
                                 "this replica follows another server of its workspace; join a new "
                                 "replica here");
    if (hello->cursor > head->cursor || seen > head->seq || hello->schema > schema)
        return satchel_error_set(
            error, SATCHEL_MISMATCH,
            "the server's log ends at entry %llu, before this replica's cursor "
            "%llu: was the server restored from an older copy?",
            (unsigned long long)head->cursor, (unsigned long long)hello->cursor);
    return SATCHEL_OK;
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

static enum satchel_status answer_attach(struct satchel_job *job,
                                         const struct satchel_store_head *head,
                                         const struct device *device, uint32_t schema,
                                         struct satchel_span role)
{
    struct satchel_message *answer = &job->answers[0];
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_WELCOME;
    struct satchel_message_welcome *welcome = &answer->welcome;
    struct satchel_vector none = {NULL, 0};
    welcome->node = head->node;
    welcome->head = head->cursor;
    welcome->last_number = device->last_number;
    welcome->last_hash = device->last_hash;
    welcome->schema = schema;
    welcome->user = device->user;
    welcome->role = role;
    job->device = job->request.hello.device;
    job->head = head->cursor;
    job->answer_count = 1;
    if (head->seq == 0)
        return SATCHEL_OK;
    return satchel_vector_raise(&job->arena, &none, &head->node, head->seq, &welcome->vector);
}

enum satchel_status enrol_attach(struct satchel_workspace *workspace, struct satchel_job *job)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    struct satchel_store *store = workspace->store;
    sqlite3 *db = satchel_store_sqlite_db(store);
    struct satchel_error *error = &job->error;
    uint32_t schema = store->schema ? store->schema->migration_count : 0;
    struct satchel_store_head head;
    struct device device;
    struct workspace_user user;
    enum satchel_status status = check_protocol(hello->protocol, hello->token, error);
    if (status == SATCHEL_OK)
        status = store->ops->load_head(store, &head, error);
    if (status != SATCHEL_OK)
        return status;
    if (!satchel_id_equal(&hello->workspace_id, &head.workspace_id))
        return satchel_error_set(error, SATCHEL_MISMATCH,
                                 "this replica belongs to another workspace than the one called %s "
                                 "here",
                                 workspace->name);
    status = find_device(db, &hello->device, hello->token, &job->arena, &device, error);
    if (status != SATCHEL_OK)
        return status;
    if (!device.is_found || !device.is_token_right)
        return satchel_error_set(error, SATCHEL_DENIED,
                                 "this device is not enrolled in workspace %s: its id or token is "
                                 "wrong",
                                 workspace->name);
    status = check_active(workspace, job, device.user, &user);
    if (status == SATCHEL_OK)
        status = check_past(hello, &head, schema, error);
    if (status == SATCHEL_OK)
        status = record_attach(db, hello, error);
    if (status == SATCHEL_OK)
        status = role_told(db, &hello->device, user.role, workspace_now_ms(), error);
    if (status == SATCHEL_OK)
        status = answer_attach(job, &head, &device, schema, user.role);
    return status;
}
