/* Owns who may come in: users of the schema's view or of the server's own table, invites, the
 * hashes under which secrets are kept. */
#include "own_changes.h"
#include "workspace_internal.h"

#include <sodium.h>

#define INVITE_CHARACTERS 20
#define INVITE_VALID_MS ((int64_t)24 * 60 * 60 * 1000)

#define SQL_VIEW_USER "SELECT role, COALESCE(active,0)<>0 FROM satchel_users WHERE login=?1"
#define SQL_TABLE_USER "SELECT role, active FROM satchel_user WHERE login=?1"
#define SQL_ADD_USER "INSERT INTO satchel_user(login, role) VALUES(?1, ?2)"
#define SQL_ADD_GRANT "INSERT OR IGNORE INTO satchel_grant(user, value) VALUES(?1, ?2)"
#define SQL_ADD_INVITE \
    "INSERT INTO satchel_invite(hash, login, created, expires) VALUES(?1,?2,?3,?4)"
#define SQL_OLD_INVITES "DELETE FROM satchel_invite WHERE used IS NULL AND expires<?1"

/* Crockford's base32: no I, L, O, U. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

enum satchel_status user_find(struct satchel_store *store, struct satchel_span login,
                              struct satchel_arena *arena, struct workspace_user *out,
                              struct satchel_error *error)
{
    const char *sql =
        store->schema && store->schema->defines_users ? SQL_VIEW_USER : SQL_TABLE_USER;
    struct satchel_query query;
    memset(out, 0, sizeof *out);
    enum satchel_status status =
        satchel_query_open(&query, satchel_store_sqlite_db(store), sql, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, login);
    status = satchel_query_step(&query, &out->is_found, error);
    if (status == SATCHEL_OK && out->is_found) {
        out->role = satchel_column_copy(query.statement, 0, arena);
        out->is_active = sqlite3_column_int(query.statement, 1) != 0;
        if (!out->role.data)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a user");
        else if (out->role.size > SATCHEL_ROLE_BYTES_MAX)
            status = satchel_error_set(error, SATCHEL_LIMIT,
                                       "the role of %.*s is longer than %d bytes", (int)login.size,
                                       (const char *)login.data, SATCHEL_ROLE_BYTES_MAX);
    }
    satchel_query_close(&query);
    return status;
}

static enum satchel_status add_grant(sqlite3 *db, struct satchel_span login,
                                     const struct satchel_value *value, struct satchel_error *error)
{
    struct satchel_query query;
    enum satchel_status status = satchel_query_open(&query, db, SQL_ADD_GRANT, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, login);
    satchel_query_text(&query, value->bytes);
    bool has_row;
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status insert_user(sqlite3 *db, struct satchel_span login,
                                       const struct satchel_value *role,
                                       struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_ADD_USER, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, login);
    if (role->type == SATCHEL_TEXT)
        satchel_query_text(&query, role->bytes);
    else
        satchel_query_null(&query);
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_REFUSED)
        status = satchel_error_set(error, SATCHEL_EXISTS, "there is a user %.*s already",
                                   (int)login.size, (const char *)login.data);
    satchel_query_close(&query);
    return status;
}

enum satchel_status user_add(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    const struct satchel_message_admin *request = &job->request.admin;
    struct satchel_value role = satchel_value_null();
    struct satchel_span login;
    enum satchel_status status = job_argument(job, 2, "the login", &login);
    if (status != SATCHEL_OK)
        return status;
    if (store->schema && store->schema->defines_users)
        return satchel_error_set(&job->error, SATCHEL_STATE,
                                 "the schema of %s defines satchel_users: add users to the tables "
                                 "behind that view, through any device",
                                 workspace->name);
    if (login.size == 0 || login.size > SATCHEL_NAME_BYTES_MAX ||
        satchel_span_equal(login, satchel_span_text(SATCHEL_SERVER_USER)))
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "a login has 1 to %d bytes and is not %s", SATCHEL_NAME_BYTES_MAX,
                                 SATCHEL_SERVER_USER);
    if (request->argument_count > 3)
        role = request->arguments[3];
    if (role.type != SATCHEL_NULL &&
        (role.type != SATCHEL_TEXT || role.bytes.size > SATCHEL_ROLE_BYTES_MAX))
        return satchel_error_set(&job->error, SATCHEL_INVALID, "a role has at most %d bytes",
                                 SATCHEL_ROLE_BYTES_MAX);
    sqlite3 *db = satchel_store_sqlite_db(store);
    status = insert_user(db, login, &role, &job->error);
    for (uint32_t i = 4; status == SATCHEL_OK && i < request->argument_count; i++) {
        if (request->arguments[i].type != SATCHEL_TEXT)
            return satchel_error_set(&job->error, SATCHEL_INVALID, "a grant is a text");
        status = add_grant(db, login, &request->arguments[i], &job->error);
    }
    satchel_store_sqlite_note_users(store);
    if (status == SATCHEL_OK)
        status = job_answer_text(job, "added user %.*s", (int)login.size, (const char *)login.data);
    return status;
}

/* ---- invites and tokens ---- */

static int digit_of(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        c = (uint8_t)(c - 'a' + 'A');
    if (c == 'I' || c == 'L')
        c = '1';
    if (c == 'O')
        c = '0';
    const char *place = c ? strchr(alphabet, c) : NULL;
    return place ? (int)(place - alphabet) : -1;
}

bool invite_hash(struct satchel_span typed, uint8_t hash[INVITE_HASH_BYTES])
{
    uint8_t digits[INVITE_CHARACTERS];
    size_t count = 0;
    for (size_t i = 0; i < typed.size; i++) {
        if (typed.data[i] == '-' || typed.data[i] == ' ')
            continue;
        int digit = digit_of(typed.data[i]);
        if (digit < 0 || count == INVITE_CHARACTERS)
            return false;
        digits[count++] = (uint8_t)digit;
    }
    if (count != INVITE_CHARACTERS)
        return false;
    return crypto_generichash(hash, INVITE_HASH_BYTES, digits, sizeof digits, NULL, 0) == 0;
}

void token_hash(struct satchel_span token, uint8_t hash[INVITE_HASH_BYTES])
{
    crypto_generichash(hash, INVITE_HASH_BYTES, token.data, token.size, NULL, 0);
}

/* ABCDE-FGHJK-MNPQR-STVWX: 100 random bits. */
static void make_code(char code[INVITE_CHARACTERS + 4])
{
    uint8_t random[INVITE_CHARACTERS];
    size_t at = 0;
    randombytes_buf(random, sizeof random);
    for (size_t i = 0; i < INVITE_CHARACTERS; i++) {
        if (i > 0 && i % 5 == 0)
            code[at++] = '-';
        code[at++] = alphabet[random[i] & 31];
    }
    code[at] = '\0';
}

static enum satchel_status keep_invite(sqlite3 *db, const char *code, struct satchel_span login,
                                       struct satchel_error *error)
{
    struct satchel_query query;
    uint8_t hash[INVITE_HASH_BYTES];
    int64_t now = workspace_now_ms();
    bool has_row;
    enum satchel_status status = satchel_query_open(&query, db, SQL_OLD_INVITES, error);
    if (status != SATCHEL_OK)
        return status;
    /* An expired code is told from a wrong one for a month. */
    satchel_query_integer(&query, now - 30 * INVITE_VALID_MS);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, db, SQL_ADD_INVITE, error);
    if (status != SATCHEL_OK)
        return status;
    if (!invite_hash(satchel_span_text(code), hash))
        status = satchel_error_set(error, SATCHEL_INVALID, "an invite could not be made");
    satchel_query_blob(&query, satchel_span_of(hash, sizeof hash));
    satchel_query_text(&query, login);
    satchel_query_integer(&query, now);
    satchel_query_integer(&query, now + INVITE_VALID_MS);
    if (status == SATCHEL_OK)
        status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

enum satchel_status user_invite(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    struct workspace_user user;
    struct satchel_span login;
    char code[INVITE_CHARACTERS + 4];
    enum satchel_status status = job_argument(job, 2, "the login", &login);
    if (status == SATCHEL_OK)
        status = user_find(store, login, &job->arena, &user, &job->error);
    if (status != SATCHEL_OK)
        return status;
    if (login.size == 0 || login.size > SATCHEL_NAME_BYTES_MAX) /* entries carry it */
        return satchel_error_set(&job->error, SATCHEL_LIMIT, "a login has 1 to %d bytes",
                                 SATCHEL_NAME_BYTES_MAX);
    if (!user.is_found)
        return satchel_error_set(
            &job->error, SATCHEL_NOT_FOUND, "workspace %s has no user '%.*s'%s", workspace->name,
            (int)(login.size < 128 ? login.size : 128), (const char *)login.data,
            store->schema && store->schema->defines_users ? " in satchel_users"
                                                          : ": add it first (satchel user add)");
    if (!user.is_active)
        return satchel_error_set(&job->error, SATCHEL_DENIED, "user %.*s is not active",
                                 (int)login.size, (const char *)login.data);
    make_code(code);
    status = keep_invite(satchel_store_sqlite_db(store), code, login, &job->error);
    return status == SATCHEL_OK ? job_answer_text(job, "%s", code) : status;
}
