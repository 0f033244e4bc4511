/* One byte that says how, then the bytes: raw, or zstd in one shot. */
#ifndef SATCHEL_COMPRESS_H
#define SATCHEL_COMPRESS_H

#include <satchel/memory.h>

enum { SATCHEL_COMPRESS_RAW = 0, SATCHEL_COMPRESS_ZSTD = 1 };

/* Appends the stored form of `bytes`: compressed if there are at least bytes_min of them and it is
 * smaller. On failure `out` is unchanged. LIMIT, NOMEM. */
enum satchel_status satchel_compress_store(struct satchel_span bytes, int level, size_t bytes_min,
                                           struct satchel_buffer *out) SATCHEL_MUST_USE;

/* The bytes of a stored form: borrowed, or decompressed into `scratch` (cleared first). `what`
 * names it in the error. CORRUPT: unknown first byte, no content size, not what zstd wrote. LIMIT:
 * over bytes_max, which is known before anything is allocated. NOMEM. */
enum satchel_status satchel_compress_load(struct satchel_span stored, size_t bytes_max,
                                          const char *what, struct satchel_buffer *scratch,
                                          struct satchel_span *bytes,
                                          struct satchel_error *error) SATCHEL_MUST_USE;

#endif
