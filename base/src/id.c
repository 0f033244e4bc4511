/* Owns the text form of identifiers. */
#include <satchel/id.h>

bool satchel_id_is_zero(const struct satchel_id *id)
{
    static const struct satchel_id zero;
    return satchel_id_equal(id, &zero);
}

void satchel_hex(struct satchel_span bytes, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        text[2 * i] = digits[bytes.data[i] >> 4];
        text[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    text[2 * bytes.size] = '\0';
}

void satchel_id_text(const struct satchel_id *id, char text[SATCHEL_ID_TEXT_BYTES])
{
    satchel_hex(satchel_span_of(id->bytes, sizeof id->bytes), text);
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum satchel_status satchel_id_parse(struct satchel_id *out, struct satchel_span text)
{
    struct satchel_id id;
    if (text.size != 2 * sizeof id.bytes)
        return SATCHEL_INVALID;
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        int high = digit(text.data[2 * i]);
        int low = digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return SATCHEL_INVALID;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = id;
    return SATCHEL_OK;
}
