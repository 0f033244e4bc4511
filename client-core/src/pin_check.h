/* The server's certificate against pins, inside the TLS handshake: before anything is said. */
#ifndef SATCHEL_PIN_CHECK_H
#define SATCHEL_PIN_CHECK_H

#include "pin.h"

struct satchel_pin_check {
    const struct satchel_pins *pins;
    bool is_shown; /* a certificate has been seen, with this key */
    uint8_t shown[SATCHEL_PIN_BYTES];
    bool is_matched;
};

/* Every handshake of the SSL_CTX is judged by the pins and by nothing else: neither who signed the
 * certificate, nor its name, nor its dates (RFC 7858, 4.2). `check` is borrowed for its life. */
void satchel_pin_check_install(struct satchel_pin_check *check, void *ssl_context);

#endif
