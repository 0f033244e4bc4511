/* Owns how pins are written and compared. */
#include "pin.h"

#include <sodium.h>
#include <string.h>

enum { HEX_CHARACTERS = 2 * SATCHEL_PIN_BYTES };

static bool parse_one(uint8_t hash[SATCHEL_PIN_BYTES], const char *text, size_t size)
{
    static const char prefix[] = "sha256/"; /* curl writes two slashes */
    size_t prefix_size = sizeof prefix - 1, bytes = 0;
    const char *end = text + size;
    if (size > prefix_size && memcmp(text, prefix, prefix_size) == 0)
        text += prefix_size + (text[prefix_size] == '/');
    size = (size_t)(end - text);
    if (size == HEX_CHARACTERS)
        return sodium_hex2bin(hash, SATCHEL_PIN_BYTES, text, size, NULL, &bytes, NULL) == 0 &&
               bytes == SATCHEL_PIN_BYTES;
    if (size > 0 && text[size - 1] == '=')
        size--;
    return sodium_base642bin(hash, SATCHEL_PIN_BYTES, text, size, NULL, &bytes, NULL,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           bytes == SATCHEL_PIN_BYTES;
}

enum satchel_status satchel_pins_parse(struct satchel_pins *out, const char *text,
                                       struct satchel_error *error)
{
    memset(out, 0, sizeof *out);
    if (!text || strcmp(text, "none") == 0)
        return SATCHEL_OK;
    for (const char *at = text, *end; at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, ",");
        if (out->count == SATCHEL_PINS_MAX)
            return satchel_error_set(error, SATCHEL_INVALID, "there may be %d pins at most",
                                     SATCHEL_PINS_MAX);
        if (!parse_one(out->hashes[out->count], at, (size_t)(end - at)))
            return satchel_error_set(error, SATCHEL_INVALID,
                                     "'%.*s' is no pin: that is the SHA-256 of the server's public "
                                     "key, 44 characters of base64 or 64 of hex (satcheld logs it "
                                     "at its start)",
                                     (int)(end - at < 100 ? end - at : 100), at);
        out->count++;
    }
    return SATCHEL_OK;
}

bool satchel_pins_take(struct satchel_pins *out, struct satchel_span kept)
{
    memset(out, 0, sizeof *out);
    if (kept.size % SATCHEL_PIN_BYTES != 0 || kept.size > sizeof out->hashes)
        return false;
    out->count = (uint32_t)(kept.size / SATCHEL_PIN_BYTES);
    if (kept.size > 0)
        memcpy(out->hashes, kept.data, kept.size);
    return true;
}

bool satchel_pins_match(const struct satchel_pins *pins, const uint8_t hash[SATCHEL_PIN_BYTES])
{
    for (uint32_t i = 0; i < pins->count; i++)
        if (memcmp(pins->hashes[i], hash, SATCHEL_PIN_BYTES) == 0)
            return true;
    return false;
}

void satchel_pin_text(const uint8_t hash[SATCHEL_PIN_BYTES], char text[SATCHEL_PIN_TEXT_BYTES])
{
    sodium_bin2base64(text, SATCHEL_PIN_TEXT_BYTES, hash, SATCHEL_PIN_BYTES,
                      sodium_base64_VARIANT_ORIGINAL);
}
