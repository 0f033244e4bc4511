/* Owns JWTs: which key a file holds, whether a token is signed with it, what its claims say. Knows
 * nothing of users and workspaces but their names.
 *
 * Of libjwt 1.10: it verifies with whatever algorithm the token names, an HMAC with a public key's
 * text among them, and calls a token of `none` verified; so the algorithm is compared before and
 * after. It takes any bytes for base64 and writes behind an empty part; so the token's form is
 * checked first. It reads numbers as long and 0 for what is none; so claims are read here. */
#include "login_token.h"

#include <errno.h>
#include <jansson.h>
#include <jwt.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEY_BYTES_MAX = 16384, /* of the file */
    SECRET_BYTES_MIN = 32, /* RFC 7518, 3.2: as long as the hash */
    SECRET_BYTES_MAX = 1024,
    RSA_BITS_MIN = 2048, /* RFC 7518, 3.3 */
    CLOCK_SECONDS = 60   /* that clocks may differ by */
};

struct satchel_login_key {
    jwt_alg_t algorithm;
    int size;
    uint8_t bytes[KEY_BYTES_MAX + 1]; /* PEM with a NUL behind it, or a secret */
};

/* ---- the key ---- */

static enum satchel_status read_file(struct satchel_login_key *key, const char *path,
                                     struct satchel_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return satchel_error_set(error, SATCHEL_IO, "cannot read --jwt-key %s: %s", path,
                                 strerror(errno));
    size_t size = fread(key->bytes, 1, sizeof key->bytes, file);
    bool has_failed = ferror(file) != 0;
    (void)fclose(file);
    if (has_failed)
        return satchel_error_set(error, SATCHEL_IO, "cannot read --jwt-key %s", path);
    if (size > KEY_BYTES_MAX)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "--jwt-key %s is longer than %d bytes: it holds one secret or one "
                                 "public key",
                                 path, KEY_BYTES_MAX);
    key->bytes[size] = '\0';
    key->size = (int)size;
    return SATCHEL_OK;
}

static enum satchel_status take_secret(struct satchel_login_key *key, const char *path,
                                       struct satchel_error *error)
{
    if (key->size > 0 && key->bytes[key->size - 1] == '\n')
        key->size--;
    if (key->size > 0 && key->bytes[key->size - 1] == '\r')
        key->size--;
    if (key->size < SECRET_BYTES_MIN || key->size > SECRET_BYTES_MAX)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "--jwt-key %s: a secret for HS256 has %d to %d bytes, this one %d",
                                 path, SECRET_BYTES_MIN, SECRET_BYTES_MAX, key->size);
    key->algorithm = JWT_ALG_HS256;
    return SATCHEL_OK;
}

static bool is_on_p256(const EVP_PKEY *key)
{
    char group[32];
    return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static enum satchel_status take_public_key(struct satchel_login_key *key, const char *path,
                                           struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    BIO *bytes = BIO_new_mem_buf(key->bytes, key->size);
    EVP_PKEY *public_key = bytes ? PEM_read_bio_PUBKEY(bytes, NULL, NULL, NULL) : NULL;

    if (!public_key)
        status = satchel_error_set(error, SATCHEL_INVALID,
                                   "--jwt-key %s holds no public key (BEGIN PUBLIC KEY): `openssl "
                                   "pkey -in KEY -pubout` makes it of a private one",
                                   path);
    else if (EVP_PKEY_is_a(public_key, "RSA") && EVP_PKEY_get_bits(public_key) >= RSA_BITS_MIN)
        key->algorithm = JWT_ALG_RS256;
    else if (EVP_PKEY_is_a(public_key, "EC") && is_on_p256(public_key))
        key->algorithm = JWT_ALG_ES256;
    else
        status = satchel_error_set(error, SATCHEL_INVALID,
                                   "--jwt-key %s: neither an RSA key of %d bits or more nor one on "
                                   "the curve P-256",
                                   path, RSA_BITS_MIN);
    EVP_PKEY_free(public_key);
    BIO_free(bytes);
    return status;
}

enum satchel_status satchel_login_key_load(struct satchel_login_key **out, const char *path,
                                           struct satchel_error *error)
{
    struct satchel_login_key *key = calloc(1, sizeof *key);

    *out = NULL;
    if (!key)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    enum satchel_status status = read_file(key, path, error);
    if (status == SATCHEL_OK)
        status = strstr((const char *)key->bytes, "-----BEGIN ") ? take_public_key(key, path, error)
                                                                 : take_secret(key, path, error);
    if (status != SATCHEL_OK) {
        satchel_login_key_free(key);
        return status;
    }
    *out = key;
    return SATCHEL_OK;
}

const char *satchel_login_key_algorithm(const struct satchel_login_key *key)
{
    return jwt_alg_str(key->algorithm);
}

void satchel_login_key_free(struct satchel_login_key *key)
{
    if (key)
        sodium_memzero(key, sizeof *key);
    free(key);
}

/* ---- a token's form and signature ---- */

static enum satchel_status refuse(struct satchel_error *error, const char *why)
{
    return satchel_error_set(error, SATCHEL_DENIED, "the JWT is refused: %s", why);
}

/* Three parts of base64url, none empty and none of a length that base64 does not have. */
static bool is_well_formed(struct satchel_span token)
{
    size_t part_bytes = 0, part_count = 1;

    if (token.size == 0 || token.size > SATCHEL_JWT_BYTES_MAX)
        return false;
    for (size_t i = 0; i <= token.size; i++) {
        char c = i < token.size ? (char)token.data[i] : '.';
        bool is_digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!is_digit && (c != '.' || part_bytes == 0 || part_bytes % 4 == 1))
            return false;
        part_bytes = is_digit ? part_bytes + 1 : 0;
        part_count += c == '.' && i < token.size;
    }
    return part_count == 3;
}

/* Whether the header, which nobody has vouched for yet, names the key's algorithm. */
static enum satchel_status check_algorithm(const struct satchel_login_key *key, const char *token,
                                           struct satchel_error *error)
{
    const char *wanted = jwt_alg_str(key->algorithm);
    jwt_t *unverified = NULL;
    char why[64];

    if (jwt_decode(&unverified, token, NULL, 0) != 0)
        return refuse(error, "its header or its claims cannot be read");
    const char *named = jwt_get_header(unverified, "alg");
    bool is_wanted = named && strcmp(named, wanted) == 0;
    jwt_free(unverified);
    if (is_wanted)
        return SATCHEL_OK;
    (void)snprintf(why, sizeof why, "this server wants it signed with %s", wanted);
    return refuse(error, why);
}

static enum satchel_status verify(const struct satchel_login_key *key, const char *token,
                                  jwt_t **out, struct satchel_error *error)
{
    enum satchel_status status = check_algorithm(key, token, error);

    *out = NULL;
    if (status != SATCHEL_OK)
        return status;
    if (jwt_decode(out, token, key->bytes, key->size) == 0 && jwt_get_alg(*out) == key->algorithm)
        return SATCHEL_OK;
    jwt_free(*out);
    *out = NULL;
    return refuse(error, "its signature is not of the key that this server knows");
}

/* ---- its claims ---- */

static bool names_workspace(const json_t *audience, struct satchel_span workspace)
{
    size_t i;
    json_t *item;

    if (json_is_string(audience))
        return json_string_length(audience) == workspace.size &&
               memcmp(json_string_value(audience), workspace.data, workspace.size) == 0;
    if (json_is_array(audience))
        json_array_foreach(audience, i, item) if (json_is_string(item) &&
                                                  names_workspace(item, workspace)) return true;
    return false;
}

/* A NumericDate (RFC 7519, 2), which may have a fraction. */
static bool read_time(const json_t *claim, double *seconds)
{
    *seconds = json_number_value(claim);
    return json_is_number(claim) && isfinite(*seconds);
}

static enum satchel_status check_times(const json_t *claims, int64_t now_s,
                                       struct satchel_error *error)
{
    const json_t *not_before = json_object_get(claims, "nbf");
    double seconds;

    if (!read_time(json_object_get(claims, "exp"), &seconds))
        return refuse(error, "it does not say until when it is valid (exp)");
    if ((double)now_s >= seconds + CLOCK_SECONDS)
        return refuse(error, "it has expired; log in again");
    if (not_before && !read_time(not_before, &seconds))
        return refuse(error, "its nbf is no time");
    if (not_before && (double)now_s < seconds - CLOCK_SECONDS)
        return refuse(error, "it is not valid yet (nbf)");
    return SATCHEL_OK;
}

static enum satchel_status check_claims(const json_t *claims, struct satchel_span workspace,
                                        int64_t now_s, struct satchel_login *out,
                                        struct satchel_error *error)
{
    const json_t *subject = json_object_get(claims, "sub");
    enum satchel_status status = check_times(claims, now_s, error);

    if (status != SATCHEL_OK)
        return status;
    if (!names_workspace(json_object_get(claims, "aud"), workspace))
        return refuse(error, "it is not for this workspace (aud)");
    if (!json_is_string(subject) || json_string_length(subject) == 0 ||
        json_string_length(subject) > SATCHEL_NAME_BYTES_MAX)
        return refuse(error, "it names no user (sub), or one with too long a login");
    memcpy(out->name, json_string_value(subject), json_string_length(subject) + 1);
    return SATCHEL_OK;
}

enum satchel_status satchel_login_check(const struct satchel_login_key *key,
                                        struct satchel_span token, struct satchel_span workspace,
                                        int64_t now_s, struct satchel_login *out,
                                        struct satchel_error *error)
{
    char text[SATCHEL_JWT_BYTES_MAX + 1];
    jwt_t *jwt = NULL;

    if (!is_well_formed(token))
        return refuse(error, "it is not three parts of base64url with dots between them");
    memcpy(text, token.data, token.size);
    text[token.size] = '\0';
    enum satchel_status status = verify(key, text, &jwt, error);
    if (status != SATCHEL_OK)
        return status;
    char *claims_text = jwt_get_grants_json(jwt, NULL);
    json_t *claims = claims_text ? json_loads(claims_text, 0, NULL) : NULL;
    jwt_free(jwt);
    free(claims_text);
    if (!claims)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory for a JWT");
    status = check_claims(claims, workspace, now_s, out, error);
    json_decref(claims);
    return status;
}
