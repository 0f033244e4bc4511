/* The server's own TLS certificate, as far as it is told of. */
#ifndef SATCHEL_CERTIFICATE_H
#define SATCHEL_CERTIFICATE_H

#include <satchel/status.h>

enum { CERTIFICATE_PIN_BYTES = 45 };

/* What devices pin (RFC 7469, 2.4): the SHA-256 of the SubjectPublicKeyInfo of the first
 * certificate in the PEM file, in base64. IO; INVALID: there is none. */
enum satchel_status certificate_pin(const char *path, char pin[CERTIFICATE_PIN_BYTES],
                                    struct satchel_error *error) SATCHEL_MUST_USE;

#endif
