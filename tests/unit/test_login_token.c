/* JWTs: which are taken, and that everything else is refused in words: other algorithms than the
 * key's above all. */
#include "login_token.h"

#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char secret[] = "0123456789abcdef0123456789abcdef";
static const char claims[] = "{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":2000}";
static const int64_t now_s = 1000;

/* A key pair, and the file that satcheld is given. */
struct pair {
    char private_text[8192];
    char path[64];
    struct satchel_login_key *key;
    enum satchel_status status;
    struct satchel_error error;
};

static void write_file(struct pair *pair, const void *bytes, size_t size)
{
    snprintf(pair->path, sizeof pair->path, "/tmp/satchel-key-XXXXXX");
    int fd = mkstemp(pair->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void load(struct pair *pair)
{
    pair->error = (struct satchel_error){0};
    pair->status = satchel_login_key_load(&pair->key, pair->path, &pair->error);
    assert_int_equal(pair->key != NULL, pair->status == SATCHEL_OK);
}

static void open_secret(struct pair *pair, const char *text)
{
    memset(pair, 0, sizeof *pair);
    snprintf(pair->private_text, sizeof pair->private_text, "%s", text);
    write_file(pair, text, strlen(text));
    load(pair);
}

static void open_key(struct pair *pair, EVP_PKEY *key, bool is_private)
{
    char *text;
    memset(pair, 0, sizeof *pair);
    assert_non_null(key);
    BIO *both = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(both, key, NULL, NULL, 0, NULL, NULL), 1);
    long size = BIO_get_mem_data(both, &text);
    snprintf(pair->private_text, sizeof pair->private_text, "%.*s", (int)size, text);
    if (!is_private) {
        assert_int_equal(BIO_reset(both), 1);
        assert_int_equal(PEM_write_bio_PUBKEY(both, key), 1);
        size = BIO_get_mem_data(both, &text);
    }
    write_file(pair, text, (size_t)size);
    BIO_free(both);
    EVP_PKEY_free(key);
    load(pair);
}

static void close_pair(struct pair *pair)
{
    satchel_login_key_free(pair->key);
    unlink(pair->path);
}

/* A token of these claims; the caller frees it. */
static char *sign(jwt_alg_t algorithm, const void *key, size_t key_bytes, const char *json)
{
    jwt_t *jwt;
    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_add_grants_json(jwt, json), 0);
    assert_int_equal(jwt_set_alg(jwt, algorithm, key, (int)key_bytes), 0);
    char *token = jwt_encode_str(jwt);
    assert_non_null(token);
    jwt_free(jwt);
    return token;
}

static char *sign_with(const struct pair *pair, jwt_alg_t algorithm, const char *json)
{
    return sign(algorithm, pair->private_text, strlen(pair->private_text), json);
}

static enum satchel_status check_bytes(const struct pair *pair, struct satchel_span token,
                                       struct satchel_login *login, struct satchel_error *error)
{
    *error = (struct satchel_error){0};
    return satchel_login_check(pair->key, token, satchel_span_text("crm"), now_s, login, error);
}

static void expect_taken(const struct pair *pair, char *token)
{
    struct satchel_login login;
    struct satchel_error error;
    assert_int_equal(check_bytes(pair, satchel_span_text(token), &login, &error), SATCHEL_OK);
    assert_string_equal(login.name, "ana");
    free(token);
}

static void expect_refused(const struct pair *pair, char *token, const char *words)
{
    struct satchel_login login;
    struct satchel_error error;
    assert_int_equal(check_bytes(pair, satchel_span_text(token), &login, &error), SATCHEL_DENIED);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    assert_null(strstr(error.message, secret));
    assert_true(strlen(token) < 16 || !strstr(error.message, token));
    free(token);
}

static void open_three(struct pair pairs[3])
{
    open_secret(&pairs[0], secret);
    open_key(&pairs[1], EVP_RSA_gen(2048), false);
    open_key(&pairs[2], EVP_EC_gen("P-256"), false);
}

static const jwt_alg_t algorithms[3] = {JWT_ALG_HS256, JWT_ALG_RS256, JWT_ALG_ES256};

static void test_login_token__each_kind_of_key_takes_its_own_tokens(void **state)
{
    (void)state;
    struct pair pairs[3];
    open_three(pairs);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pairs[i].status, SATCHEL_OK);
        assert_string_equal(satchel_login_key_algorithm(pairs[i].key), jwt_alg_str(algorithms[i]));
        expect_taken(&pairs[i], sign_with(&pairs[i], algorithms[i], claims));
    }
    for (int i = 0; i < 3; i++)
        close_pair(&pairs[i]);
    open_secret(&pairs[0], "0123456789abcdef0123456789abcdef\r\n");
    expect_taken(&pairs[0], sign(JWT_ALG_HS256, secret, strlen(secret), claims));
    close_pair(&pairs[0]);
}

/* The text of a public key is no secret: who signs with it as one must not come in. */
static void test_login_token__the_algorithm_is_the_keys_and_never_the_tokens(void **state)
{
    (void)state;
    struct pair pairs[3];
    open_three(pairs);
    for (int i = 1; i < 3; i++) {
        char text[4096];
        FILE *file = fopen(pairs[i].path, "r");
        assert_non_null(file);
        size_t size = fread(text, 1, sizeof text, file);
        fclose(file);
        expect_refused(&pairs[i], sign(JWT_ALG_HS256, text, size, claims),
                       i == 1 ? "RS256" : "ES256");
        expect_refused(&pairs[i], sign(JWT_ALG_HS512, text, size, claims), "wants it signed");
    }
    for (int i = 0; i < 3; i++) {
        expect_refused(&pairs[i], sign(JWT_ALG_NONE, NULL, 0, claims), "");
        /* {"alg":"none","typ":"JWT"} . claims . something */
        expect_refused(&pairs[i],
                       strdup("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
                              "eyJzdWIiOiJhbmEiLCJhdWQiOiJjcm0iLCJleHAiOjIwMDB9.AAAA"),
                       "wants it signed");
    }
    expect_refused(&pairs[0], sign_with(&pairs[0], JWT_ALG_HS384, claims), "HS256");
    expect_refused(&pairs[0], sign_with(&pairs[0], JWT_ALG_HS512, claims), "HS256");
    expect_refused(&pairs[1], sign_with(&pairs[1], JWT_ALG_RS512, claims), "RS256");
    for (int i = 0; i < 3; i++)
        close_pair(&pairs[i]);
}

static void test_login_token__another_key_is_refused(void **state)
{
    (void)state;
    struct pair ours[3], theirs[3];
    open_three(ours);
    open_three(theirs);
    for (int i = 1; i < 3; i++)
        expect_refused(&ours[i], sign_with(&theirs[i], algorithms[i], claims), "signature");
    expect_refused(&ours[0], sign(JWT_ALG_HS256, "another", 7, claims), "signature");
    for (int i = 0; i < 3; i++) {
        close_pair(&ours[i]);
        close_pair(&theirs[i]);
    }
}

static void test_login_token__claims_say_for_whom_and_when(void **state)
{
    (void)state;
    static const struct {
        const char *json, *words; /* NULL: taken */
    } cases[] = {
        {"{\"sub\":\"ana\",\"aud\":[\"other\",7,\"crm\"],\"exp\":1001.5}", NULL},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":941}", NULL}, /* a minute for clocks */
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":940}", "expired"},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":-5}", "expired"},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":\"2000\"}", "exp"},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":true}", "exp"},
        {"{\"sub\":\"ana\",\"aud\":\"crm\"}", "exp"},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":2000,\"nbf\":1060}", NULL},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":2000,\"nbf\":1061}", "not valid yet"},
        {"{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":2000,\"nbf\":null}", "nbf"},
        {"{\"sub\":\"ana\",\"aud\":\"crm2\",\"exp\":2000}", "aud"},
        {"{\"sub\":\"ana\",\"aud\":\"\",\"exp\":2000}", "aud"},
        {"{\"sub\":\"ana\",\"aud\":[],\"exp\":2000}", "aud"},
        {"{\"sub\":\"ana\",\"aud\":[[\"crm\"]],\"exp\":2000}", "aud"},
        {"{\"sub\":\"ana\",\"aud\":{\"crm\":1},\"exp\":2000}", "aud"},
        {"{\"sub\":\"ana\",\"exp\":2000}", "aud"},
        {"{\"aud\":\"crm\",\"exp\":2000}", "sub"},
        {"{\"sub\":\"\",\"aud\":\"crm\",\"exp\":2000}", "sub"},
        {"{\"sub\":7,\"aud\":\"crm\",\"exp\":2000}", "sub"},
    };
    struct pair pair;
    open_secret(&pair, secret);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *token = sign_with(&pair, JWT_ALG_HS256, cases[i].json);
        if (cases[i].words)
            expect_refused(&pair, token, cases[i].words);
        else
            expect_taken(&pair, token);
    }
    char json[256], login[SATCHEL_NAME_BYTES_MAX + 2];
    memset(login, 'a', sizeof login);
    login[sizeof login - 1] = '\0';
    snprintf(json, sizeof json, "{\"sub\":\"%s\",\"aud\":\"crm\",\"exp\":2000}", login);
    expect_refused(&pair, sign_with(&pair, JWT_ALG_HS256, json), "login");
    close_pair(&pair);
}

static void test_login_token__is_taken_whole_or_not_at_all(void **state)
{
    (void)state;
    struct pair pairs[3];
    struct satchel_login login;
    struct satchel_error error;
    open_three(pairs);
    for (int i = 0; i < 3; i++) {
        char *token = sign_with(&pairs[i], algorithms[i], claims);
        size_t size = strlen(token);
        for (size_t cut = 0; cut < size; cut++) { /* on the heap, so that a read beyond is seen */
            char *piece = malloc(cut + 1);
            memcpy(piece, token, cut);
            assert_int_equal(check_bytes(&pairs[i], satchel_span_of(piece, cut), &login, &error),
                             SATCHEL_DENIED);
            free(piece);
        }
        for (size_t at = 0; at + 1 < size; at++) { /* the last digit has bits that say nothing */
            char kept = token[at];
            for (int other = 1; other < 256; other = other * 3 + 1) {
                token[at] = (char)(kept ^ other);
                assert_int_equal(
                    check_bytes(&pairs[i], satchel_span_of(token, size), &login, &error),
                    SATCHEL_DENIED);
            }
            token[at] = kept;
        }
        free(token);
    }
    for (int i = 0; i < 3; i++)
        close_pair(&pairs[i]);
}

static void test_login_token__malformed_ones_are_refused(void **state)
{
    (void)state;
    static const char *const ill_formed[] = {
        "",
        ".",
        "..",
        "...",
        "e30.e30.",
        "e30..e30",
        ".e30.e30",
        "e30.e30",
        "e30",
        "e30.e30.e30.e30",
        "e30=.e30.e30",
        "e30 .e30.e30",
        "e30.e30.e30\n",
        "e+0.e30.e30",
        "e30.e30.e30e3", /* no base64 has 4n + 1 digits */
    };
    static const char *const unread[] = {
        "e30.e30.e30",                   /* {} */
        "bnVsbA.bnVsbA.bnVsbA",          /* null */
        "W10.W10.W10",                   /* [] */
        "IkhTMjU2Ig.e30.e30",            /* "HS256" */
        "eyJhbGciOjF9.e30.e30",          /* {"alg":1} */
        "eyJhbGciOm51bGx9.e30.e30",      /* {"alg":null} */
        "eyJhbGciOiJIUzI1NiJ9.W10.AAAA", /* claims: [] */
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", /* not signed so */
    };
    struct pair pair;
    struct satchel_login login;
    struct satchel_error error;
    open_secret(&pair, secret);
    for (size_t i = 0; i < sizeof ill_formed / sizeof *ill_formed; i++)
        expect_refused(&pair, strdup(ill_formed[i]), "three parts");
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        expect_refused(&pair, strdup(unread[i]), "");
    uint8_t bytes[SATCHEL_JWT_BYTES_MAX + 1];
    memset(bytes, 'W', sizeof bytes); /* deep in brackets: [[[[... */
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t) "W1tb"[i % 4];
    bytes[4000] = bytes[8000] = '.';
    assert_int_equal(check_bytes(&pair, satchel_span_of(bytes, 8100), &login, &error),
                     SATCHEL_DENIED);
    assert_int_equal(check_bytes(&pair, satchel_span_of(bytes, sizeof bytes), &login, &error),
                     SATCHEL_DENIED);
    assert_int_equal(check_bytes(&pair, satchel_span_of("e30.e30\0.e30", 12), &login, &error),
                     SATCHEL_DENIED);
    close_pair(&pair);
}

static void expect_no_key(struct pair *pair, const char *words)
{
    assert_int_equal(pair->status, SATCHEL_INVALID);
    if (!strstr(pair->error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", pair->error.message, words);
    close_pair(pair);
}

static void test_login_token__weak_and_wrong_keys_are_refused(void **state)
{
    (void)state;
    struct pair pair;
    char long_text[20000];
    open_secret(&pair, "0123456789abcdef0123456789abcde\n");
    expect_no_key(&pair, "32");
    open_secret(&pair, "");
    expect_no_key(&pair, "32");
    memset(long_text, 'x', sizeof long_text);
    long_text[1025] = '\0';
    open_secret(&pair, long_text);
    expect_no_key(&pair, "1024");
    long_text[1025] = 'x';
    long_text[sizeof long_text - 1] = '\0';
    open_secret(&pair, long_text);
    expect_no_key(&pair, "longer");
    open_key(&pair, EVP_RSA_gen(2048), true);
    expect_no_key(&pair, "pubout");
    open_key(&pair, EVP_RSA_gen(1024), false);
    expect_no_key(&pair, "2048");
    open_key(&pair, EVP_EC_gen("P-384"), false);
    expect_no_key(&pair, "P-256");
    open_key(&pair, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), false);
    expect_no_key(&pair, "P-256");
    open_secret(&pair, "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n");
    expect_no_key(&pair, "public key");
    struct satchel_login_key *key;
    assert_int_equal(satchel_login_key_load(&key, "/nowhere/key", &pair.error), SATCHEL_IO);
    assert_non_null(strstr(pair.error.message, "/nowhere/key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_token__each_kind_of_key_takes_its_own_tokens),
        cmocka_unit_test(test_login_token__the_algorithm_is_the_keys_and_never_the_tokens),
        cmocka_unit_test(test_login_token__another_key_is_refused),
        cmocka_unit_test(test_login_token__claims_say_for_whom_and_when),
        cmocka_unit_test(test_login_token__is_taken_whole_or_not_at_all),
        cmocka_unit_test(test_login_token__malformed_ones_are_refused),
        cmocka_unit_test(test_login_token__weak_and_wrong_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
