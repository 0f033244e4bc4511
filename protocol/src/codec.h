/* What the encoders and decoders of this layer share: keys, fields, vectors, arrays in an arena.
 *
 * Readers return CORRUPT when the cursor has failed, LIMIT when the arena's limit is in the way,
 * NOMEM when memory is. Every array is allocated only after its count has been compared with the
 * bytes left, so that what is allocated stays a small multiple of what was received. Internal to
 * protocol/. */
#ifndef SATCHEL_CODEC_H
#define SATCHEL_CODEC_H

#include <satchel/cursor.h>
#include <satchel/pack.h>
#include <satchel/row.h>

/* Positions in sequences live in signed 64-bit columns of every store. */
#define SATCHEL_SEQUENCE_MAX ((uint64_t)INT64_MAX)

/* A zeroed array in *out; none (NULL) for count 0. */
enum satchel_status satchel_codec_array(struct satchel_arena *arena, size_t count,
                                        size_t item_bytes, void **out) SATCHEL_MUST_USE;

static inline enum satchel_status satchel_codec_status(const struct satchel_cursor *cursor)
{
    return cursor->failed ? SATCHEL_CORRUPT : SATCHEL_OK;
}

/* A binary of exactly `size` bytes, borrowed; NULL and the cursor failed on anything else. */
const uint8_t *satchel_codec_read_fixed(struct satchel_cursor *cursor, size_t size);

bool satchel_codec_vector_is_valid(const struct satchel_vector *vector);

/* An array of values. */
void satchel_codec_write_values(struct satchel_pack *pack, const struct satchel_value *values,
                                uint32_t count);
enum satchel_status satchel_codec_read_values(struct satchel_cursor *cursor,
                                              struct satchel_arena *arena, uint32_t count_max,
                                              struct satchel_value **values,
                                              uint32_t *count) SATCHEL_MUST_USE;

/* A primary key: 1 to SATCHEL_KEY_COLUMNS_MAX values. */
enum satchel_status satchel_codec_read_key(struct satchel_cursor *cursor,
                                           struct satchel_arena *arena,
                                           const struct satchel_value **key,
                                           uint32_t *key_count) SATCHEL_MUST_USE;

/* Ascending column numbers below SATCHEL_COLUMNS_MAX. */
bool satchel_codec_fields_are_valid(const struct satchel_field *fields, uint32_t count);
/* Two items: the array of column numbers, the array of values. */
void satchel_codec_write_columns(struct satchel_pack *pack, const struct satchel_field *fields,
                                 uint32_t count);
void satchel_codec_write_field_values(struct satchel_pack *pack, const struct satchel_field *fields,
                                      uint32_t count);
enum satchel_status satchel_codec_read_columns(struct satchel_cursor *cursor,
                                               struct satchel_arena *arena,
                                               struct satchel_field **fields,
                                               uint32_t *count) SATCHEL_MUST_USE;
enum satchel_status satchel_codec_read_field_values(struct satchel_cursor *cursor,
                                                    struct satchel_field *fields,
                                                    uint32_t count) SATCHEL_MUST_USE;

/* A column number, or nil for SATCHEL_COLUMN_ROW. */
void satchel_codec_write_column(struct satchel_pack *pack, uint32_t column);
uint32_t satchel_codec_read_column(struct satchel_cursor *cursor);

/* Past trailing items of an array that a later version has added. */
void satchel_codec_skip(struct satchel_cursor *cursor, uint32_t count);

/* Ends a writer: on failure the buffer is cut back to `size_before`. */
enum satchel_status satchel_codec_finish(struct satchel_pack *pack,
                                         size_t size_before) SATCHEL_MUST_USE;

#endif
