/* Owns the SQL functions of both sides: their registration, arguments and results. How identifiers
 * are made is unique.h's; who the replica is and what time it is, the identity's. */
#include <satchel/functions.h>

#include "sha1.h"
#include "unique.h"

#include <satchel/row_io.h>
#include <satchel/sqlite.h>
#include <sodium.h>

/* What the functions of one connection share; each registration holds a reference. */
struct functions {
    const struct satchel_identity *identity;
    unsigned reference_count;
    struct satchel_uuid_source uuids;
    struct satchel_integer_source integers;
};

static void release(void *data)
{
    struct functions *functions = data;
    if (--functions->reference_count == 0)
        satchel_free(NULL, functions);
}

static int64_t now_ms(const struct functions *functions)
{
    return functions->identity->now_ms(functions->identity->context);
}

static void call_uuid(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    struct functions *functions = sqlite3_user_data(context);
    struct satchel_id uuid = satchel_uuid_next(&functions->uuids, now_ms(functions));
    char text[SATCHEL_UUID_TEXT_BYTES];
    satchel_uuid_text(&uuid, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void call_id(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    struct functions *functions = sqlite3_user_data(context);
    const struct satchel_identity *identity = functions->identity;
    sqlite3_result_int64(context, satchel_integer_next(&functions->integers, now_ms(functions),
                                                       identity->device(identity->context)));
}

static void hash_big_endian(struct satchel_sha1 *sha1, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    satchel_sha1_update(sha1, bytes, sizeof bytes);
}

/* Type (enum satchel_value_type) in one byte, length of what follows in 8, then the bytes; integers
 * and reals are 8 bytes. All big-endian. Names made in years past must stay: this never changes. */
static void hash_value(struct satchel_sha1 *sha1, const struct satchel_value *value)
{
    uint8_t type = (uint8_t)value->type;
    satchel_sha1_update(sha1, &type, 1);
    uint64_t bits;
    switch (value->type) {
    case SATCHEL_NULL: hash_big_endian(sha1, 0); break;
    case SATCHEL_INTEGER:
        hash_big_endian(sha1, 8);
        hash_big_endian(sha1, (uint64_t)value->integer);
        break;
    case SATCHEL_REAL:
        memcpy(&bits, &value->real, sizeof bits);
        hash_big_endian(sha1, 8);
        hash_big_endian(sha1, bits);
        break;
    case SATCHEL_TEXT:
    case SATCHEL_BLOB:
        hash_big_endian(sha1, value->bytes.size);
        satchel_sha1_update(sha1, value->bytes.data, value->bytes.size);
        break;
    }
}

static void call_uuid5(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    static const uint8_t namespace[16] = {0x58, 0xe1, 0x83, 0xb7, 0xee, 0x3b, 0x41, 0x6b,
                                          0xa6, 0x98, 0xe3, 0x5d, 0x6c, 0x5f, 0x74, 0x85};
    if (count == 0) {
        sqlite3_result_error(context,
                             "satchel_uuid5 needs at least one value to derive the UUID from", -1);
        return;
    }
    struct satchel_sha1 sha1;
    satchel_sha1_init(&sha1);
    satchel_sha1_update(&sha1, namespace, sizeof namespace);
    for (int i = 0; i < count; i++) {
        struct satchel_value value = satchel_value_of_argument(arguments[i]);
        if (value.type == SATCHEL_TEXT && !value.bytes.data) {
            sqlite3_result_error_nomem(context);
            return;
        }
        hash_value(&sha1, &value);
    }
    uint8_t digest[SATCHEL_SHA1_BYTES];
    satchel_sha1_final(&sha1, digest);
    digest[6] = (uint8_t)((digest[6] & 0x0f) | 0x50);
    digest[8] = (uint8_t)((digest[8] & 0x3f) | 0x80);
    struct satchel_id uuid;
    memcpy(uuid.bytes, digest, sizeof uuid.bytes);
    char text[SATCHEL_UUID_TEXT_BYTES];
    satchel_uuid_text(&uuid, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void call_applying(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    struct functions *functions = sqlite3_user_data(context);
    sqlite3_result_int(context, functions->identity->applying(functions->identity->context));
}

static void call_now(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    sqlite3_result_int64(context, now_ms(sqlite3_user_data(context)));
}

static void call_device(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    struct functions *functions = sqlite3_user_data(context);
    sqlite3_result_text(context, functions->identity->device(functions->identity->context), -1,
                        SQLITE_TRANSIENT);
}

static void call_user(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    struct functions *functions = sqlite3_user_data(context);
    sqlite3_result_text(context, functions->identity->user(functions->identity->context), -1,
                        SQLITE_TRANSIENT);
}

static void call_role(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count, (void)arguments;
    struct functions *functions = sqlite3_user_data(context);
    sqlite3_result_text(context, functions->identity->role(functions->identity->context), -1,
                        SQLITE_TRANSIENT);
}

/* INNOCUOUS: they may stand in the schema itself (defaults, triggers, views), where SQLite would
 * otherwise refuse them to an application that does not trust its schema. */
static const struct {
    const char *name;
    int argument_count;
    int flags;
    void (*call)(sqlite3_context *, int, sqlite3_value **);
} table[] = {
    {"satchel_uuid", 0, SQLITE_INNOCUOUS, call_uuid},
    {"satchel_id", 0, SQLITE_INNOCUOUS, call_id},
    {"satchel_uuid5", -1, SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC, call_uuid5},
    {"satchel_applying", 0, SQLITE_INNOCUOUS, call_applying},
    {"satchel_now", 0, SQLITE_INNOCUOUS, call_now},
    {"satchel_device", 0, SQLITE_INNOCUOUS, call_device},
    {"satchel_user", 0, SQLITE_INNOCUOUS, call_user},
    {"satchel_role", 0, SQLITE_INNOCUOUS, call_role},
};

int satchel_functions_register(struct sqlite3 *db, const struct satchel_identity *identity)
{
    if (sodium_init() < 0)
        return SQLITE_ERROR;
    struct functions *functions = satchel_alloc_zero(NULL, sizeof *functions);
    if (!functions)
        return SQLITE_NOMEM;
    functions->identity = identity;
    functions->reference_count = 1;
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof table / sizeof table[0] && code == SQLITE_OK; i++) {
        functions->reference_count++; /* SQLite calls release also when it refuses the function */
        code = sqlite3_create_function_v2(db, table[i].name, table[i].argument_count,
                                          SQLITE_UTF8 | table[i].flags, functions, table[i].call,
                                          NULL, NULL, release);
    }
    release(functions);
    return code;
}
