/* What is a character of UTF-8. */
#ifndef SATCHEL_UTF8_H
#define SATCHEL_UTF8_H

#include <satchel/span.h>

/* The length of the well-formed character at the start of `text` (size_bytes > 0), or 0 (Unicode
 * 15, table 3-7). */
static inline size_t satchel_utf8_length(const uint8_t *text, size_t size_bytes)
{
    uint8_t lead = text[0];
    size_t length = lead < 0x80                   ? 1
                    : lead >= 0xc2 && lead < 0xe0 ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
    if (length == 0 || length > size_bytes)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((lead == 0xe0 && text[1] < 0xa0) || (lead == 0xed && text[1] > 0x9f) ||
        (lead == 0xf0 && text[1] < 0x90) || (lead == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

#endif
