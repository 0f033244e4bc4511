/* Pins: which public keys a server's certificate may have (RFC 7469, 2.4). Where there are any,
 * they decide, and nothing else does. */
#ifndef SATCHEL_PIN_H
#define SATCHEL_PIN_H

#include <satchel/span.h>
#include <satchel/status.h>

enum { SATCHEL_PIN_BYTES = 32, SATCHEL_PINS_MAX = 4, SATCHEL_PIN_TEXT_BYTES = 45 };

struct satchel_pins {
    uint32_t count; /* 0: the system's certificates decide */
    uint8_t hashes[SATCHEL_PINS_MAX][SATCHEL_PIN_BYTES];
};

/* Reads "PIN[,PIN]...", each the SHA-256 of a SubjectPublicKeyInfo in base64 or hex, with or
 * without "sha256/" before it; "none", or NULL, is no pin. INVALID with words. */
enum satchel_status satchel_pins_parse(struct satchel_pins *out, const char *text,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* One behind the other, as a replica keeps them. */
static inline struct satchel_span satchel_pins_span(const struct satchel_pins *pins)
{
    return satchel_span_of(pins->hashes, (size_t)pins->count * SATCHEL_PIN_BYTES);
}
/* False: such are not kept. */
bool satchel_pins_take(struct satchel_pins *out, struct satchel_span kept);
bool satchel_pins_match(const struct satchel_pins *pins, const uint8_t hash[SATCHEL_PIN_BYTES]);
/* In base64. */
void satchel_pin_text(const uint8_t hash[SATCHEL_PIN_BYTES], char text[SATCHEL_PIN_TEXT_BYTES]);

#endif
