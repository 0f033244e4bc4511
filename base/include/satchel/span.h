/* A borrowed run of bytes: pointer and length, no ownership, not terminated. */
#ifndef SATCHEL_SPAN_H
#define SATCHEL_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

struct satchel_span {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
};

static inline struct satchel_span satchel_span_of(const void *data, size_t size)
{
    struct satchel_span span = {(const uint8_t *)data, size};
    return span;
}

static inline struct satchel_span satchel_span_text(const char *text)
{
    return satchel_span_of(text, text ? strlen(text) : 0);
}

static inline bool satchel_span_equal(struct satchel_span a, struct satchel_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Bytewise, a prefix before its extensions. */
static inline int satchel_span_compare(struct satchel_span a, struct satchel_span b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

#ifdef __cplusplus
}
#endif
#endif
