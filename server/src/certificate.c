/* Owns the reading of the server's certificate. */
#include "certificate.h"

#include <errno.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum satchel_status certificate_pin(const char *path, char pin[CERTIFICATE_PIN_BYTES],
                                    struct satchel_error *error)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    unsigned char *key = NULL;
    FILE *file = fopen(path, "re");

    if (!file)
        return satchel_error_set(error, SATCHEL_IO, "cannot read %s: %s", path, strerror(errno));
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    (void)fclose(file);
    int size = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key) : 0;
    X509_free(certificate);
    if (size <= 0)
        return satchel_error_set(error, SATCHEL_INVALID, "%s holds no certificate", path);
    crypto_hash_sha256(hash, key, (unsigned long long)size);
    OPENSSL_free(key);
    sodium_bin2base64(pin, CERTIFICATE_PIN_BYTES, hash, sizeof hash,
                      sodium_base64_VARIANT_ORIGINAL);
    return SATCHEL_OK;
}
