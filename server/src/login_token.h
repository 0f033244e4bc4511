/* What an application's own login gives out so that a device may join: JWTs, checked with the key
 * of --jwt-key. The kind of key says which algorithm its tokens have. */
#ifndef SATCHEL_LOGIN_TOKEN_H
#define SATCHEL_LOGIN_TOKEN_H

#include <satchel/message.h>

struct satchel_login_key;

/* A secret of 32 bytes or more for HS256; for RS256 and ES256 a public key, PEM. IO; INVALID: it is
 * another kind of key, or a weak one, in words that tell nothing of it. */
enum satchel_status satchel_login_key_load(struct satchel_login_key **out, const char *path,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* The name of the one algorithm that its tokens are signed with. */
const char *satchel_login_key_algorithm(const struct satchel_login_key *key);
/* Wipes a secret. NULL is fine. */
void satchel_login_key_free(struct satchel_login_key *key);

struct satchel_login {
    char name[SATCHEL_NAME_BYTES_MAX + 1];
};

/* Whether `token` is signed with the key, for the workspace, and valid at `now_s` (seconds since
 * 1970 UTC); then `*out` is its user. DENIED with what is wrong of it; NOMEM. */
enum satchel_status satchel_login_check(const struct satchel_login_key *key,
                                        struct satchel_span token, struct satchel_span workspace,
                                        int64_t now_s, struct satchel_login *out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
