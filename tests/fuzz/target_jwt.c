/* JWTs. The first byte says what the rest is: 0 a token as it comes; else claims, signed here with
 * the server's key, behind a header that is as it should be (1) or the input's first piece (2).
 * What is taken names a user; what is refused tells nothing of the key. */
#include "fuzz.h"

#include "login_token.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PART_BYTES = 2 * SATCHEL_JWT_BYTES_MAX };

static const char secret[] = "0123456789abcdef0123456789abcdef";
static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

static const struct satchel_login_key *key_once(void)
{
    static struct satchel_login_key *key;
    if (!key) {
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        char path[] = "/tmp/satchel-fuzz-key-XXXXXX";
        int fd = mkstemp(path);
        FUZZ_REQUIRE(fd >= 0 && write(fd, secret, sizeof secret - 1) == sizeof secret - 1);
        close(fd);
        FUZZ_REQUIRE(satchel_login_key_load(&key, path, &error) == SATCHEL_OK);
        unlink(path);
    }
    return key;
}

static size_t put_part(char *at, size_t room, const void *bytes, size_t size)
{
    sodium_bin2base64(at, room, bytes, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(at);
}

/* `head` "." claims "." signature */
static size_t sign(char *token, struct satchel_span head, struct satchel_span claims)
{
    uint8_t signature[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    size_t size = put_part(token, PART_BYTES, head.data, head.size);
    token[size++] = '.';
    size += put_part(token + size, PART_BYTES, claims.data, claims.size);
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, sizeof secret - 1);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)token, size);
    crypto_auth_hmacsha256_final(&state, signature);
    token[size++] = '.';
    return size + put_part(token + size, PART_BYTES, signature, sizeof signature);
}

static void check(struct satchel_span token)
{
    struct satchel_login login;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    enum satchel_status status =
        satchel_login_check(key_once(), token, satchel_span_text("crm"), 1000, &login, &error);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(login.name[0] && strnlen(login.name, sizeof login.name) < sizeof login.name);
        fuzz_accepted_count++;
    } else {
        FUZZ_REQUIRE(status == SATCHEL_DENIED && error.message[0] != '\0');
        FUZZ_REQUIRE(!strstr(error.message, secret));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char token[3 * PART_BYTES];
    struct fuzz_input input = fuzz_input_of(data, size);
    uint8_t kind = fuzz_byte(&input) % 3;
    FUZZ_REQUIRE(sodium_init() >= 0);
    struct satchel_span head = satchel_span_text(header);
    if (kind == 2)
        head = fuzz_piece(&input);
    struct satchel_span rest = fuzz_bytes(&input, SATCHEL_JWT_BYTES_MAX + 1);
    if (head.size > SATCHEL_JWT_BYTES_MAX)
        head.size = SATCHEL_JWT_BYTES_MAX;
    if (kind > 0)
        rest = satchel_span_of(token, sign(token, head, rest));
    uint8_t *copy = fuzz_copy(rest); /* so that a read beyond it is seen */
    check(satchel_span_of(copy, rest.size));
    free(copy);
    return 0;
}
