/* A bounded, allocation-free reader of MessagePack. Every length is checked against what is left
 * before it is believed; nothing nests deeper than the caller asks; a failed read leaves the cursor
 * failed. */
#ifndef SATCHEL_CURSOR_H
#define SATCHEL_CURSOR_H

#include <satchel/id.h>
#include <satchel/value.h>

struct satchel_cursor {
    const uint8_t *position;
    const uint8_t *end;
    bool failed;
};

struct satchel_cursor satchel_cursor_of(struct satchel_span bytes);
bool satchel_cursor_at_end(const struct satchel_cursor *cursor);

/* Each reads one item of exactly that kind; on anything else, or too few bytes, the cursor fails
 * and the result is 0, NULL, false or an empty span. Integers are accepted in any encoding. */
uint32_t satchel_cursor_array(struct satchel_cursor *cursor, uint32_t count_max);
uint64_t satchel_cursor_unsigned(struct satchel_cursor *cursor, uint64_t max);
int64_t satchel_cursor_integer(struct satchel_cursor *cursor);
bool satchel_cursor_bool(struct satchel_cursor *cursor);
struct satchel_span satchel_cursor_text(struct satchel_cursor *cursor, size_t bytes_max);
struct satchel_span satchel_cursor_binary(struct satchel_cursor *cursor, size_t bytes_max);
struct satchel_id satchel_cursor_id(struct satchel_cursor *cursor); /* binary of exactly 16 bytes */
bool satchel_cursor_take_nil(struct satchel_cursor *cursor); /* true and past it if nil is next */
struct satchel_value satchel_cursor_value(struct satchel_cursor *cursor); /* bytes borrowed */
/* The bytes of the next item, whatever it is (nesting at most 8), and past it. */
struct satchel_span satchel_cursor_item(struct satchel_cursor *cursor);

#endif
