/* Owns what OpenSSL is told of pins. */
#include "pin_check.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sodium.h>

static bool hash_key(const X509 *certificate, uint8_t hash[SATCHEL_PIN_BYTES])
{
    unsigned char *key = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    if (size <= 0)
        return false;
    crypto_hash_sha256(hash, key, (unsigned long long)size);
    OPENSSL_free(key);
    return true;
}

/* That the server has the certificate's key, the handshake proves. */
static int verify(X509_STORE_CTX *store, void *context)
{
    struct satchel_pin_check *check = context;
    const X509 *certificate = X509_STORE_CTX_get0_cert(store);
    check->is_shown = certificate && hash_key(certificate, check->shown);
    check->is_matched = check->is_shown && satchel_pins_match(check->pins, check->shown);
    X509_STORE_CTX_set_error(store,
                             check->is_matched ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return check->is_matched;
}

void satchel_pin_check_install(struct satchel_pin_check *check, void *ssl_context)
{
    SSL_CTX_set_cert_verify_callback(ssl_context, verify, check);
}
