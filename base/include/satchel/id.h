/* 128-bit identifiers of devices, nodes and conflicts, and their text form (32 lower-case hex
 * digits). */
#ifndef SATCHEL_ID_H
#define SATCHEL_ID_H

#include <satchel/span.h>
#include <satchel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct satchel_id {
    uint8_t bytes[16];
};

#define SATCHEL_ID_TEXT_BYTES 33 /* with the NUL */

static inline int satchel_id_compare(const struct satchel_id *a, const struct satchel_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}
static inline bool satchel_id_equal(const struct satchel_id *a, const struct satchel_id *b)
{
    return satchel_id_compare(a, b) == 0;
}
bool satchel_id_is_zero(const struct satchel_id *id);
void satchel_id_text(const struct satchel_id *id, char text[SATCHEL_ID_TEXT_BYTES]);
/* Exactly 32 hex digits of either case, else SATCHEL_INVALID. */
enum satchel_status satchel_id_parse(struct satchel_id *out, struct satchel_span text);
/* `text` must have room for 2 * bytes.size + 1. */
void satchel_hex(struct satchel_span bytes, char *text);

#ifdef __cplusplus
}
#endif
#endif
