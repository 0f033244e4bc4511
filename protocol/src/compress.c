/* Owns what is done with zstd. Knows nothing of what is compressed. */
#include <satchel/compress.h>

#include <zstd.h>
#include <zstd_errors.h>

/* No zstd frame says more than this many bytes per byte of its own: a block is at most 128 KiB and
 * at least 4 bytes. A frame that claims more lies, and is refused before anything is allocated. */
enum { RATIO_MAX = 32768 };

enum satchel_status satchel_compress_store(struct satchel_span bytes, int level, size_t bytes_min,
                                           struct satchel_buffer *out)
{
    if (bytes.size == SIZE_MAX)
        return SATCHEL_LIMIT;
    enum satchel_status status = satchel_buffer_reserve(out, bytes.size + 1);
    if (status != SATCHEL_OK)
        return status;
    uint8_t *stored = out->data + out->size;
    if (bytes.size >= bytes_min && bytes.size > 1) {
        /* With less room than the bytes themselves need, zstd fails where it would not be smaller.
         */
        size_t size = ZSTD_compress(stored + 1, bytes.size - 1, bytes.data, bytes.size, level);
        if (!ZSTD_isError(size)) {
            stored[0] = SATCHEL_COMPRESS_ZSTD;
            out->size += size + 1;
            return SATCHEL_OK;
        }
    }
    stored[0] = SATCHEL_COMPRESS_RAW;
    if (bytes.size)
        memcpy(stored + 1, bytes.data, bytes.size);
    out->size += bytes.size + 1;
    return SATCHEL_OK;
}

static enum satchel_status decompress(struct satchel_span packed, size_t bytes_max,
                                      const char *what, struct satchel_buffer *scratch,
                                      struct satchel_error *error)
{
    unsigned long long size = ZSTD_getFrameContentSize(packed.data, packed.size);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "%s: compressed without a content size, or not by zstd", what);
    if (size > bytes_max)
        return satchel_error_set(error, SATCHEL_LIMIT,
                                 "%s: %llu bytes when decompressed, over the limit of %zu", what,
                                 size, bytes_max);
    if (size / RATIO_MAX > packed.size ||
        ZSTD_findFrameCompressedSize(packed.data, packed.size) != packed.size)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "%s: %zu bytes are not one zstd frame of %llu bytes", what,
                                 packed.size, size);
    enum satchel_status status = satchel_buffer_reserve(scratch, (size_t)size);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "%s: no room for its %llu bytes", what, size);
    size_t got = ZSTD_decompress(scratch->data, (size_t)size, packed.data, packed.size);
    if (ZSTD_isError(got) && ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
        return satchel_error_set(error, SATCHEL_NOMEM, "%s: out of memory to decompress it", what);
    if (ZSTD_isError(got) || got != size)
        return satchel_error_set(error, SATCHEL_CORRUPT, "%s: the compressed bytes are damaged",
                                 what);
    scratch->size = got;
    return SATCHEL_OK;
}

enum satchel_status satchel_compress_load(struct satchel_span stored, size_t bytes_max,
                                          const char *what, struct satchel_buffer *scratch,
                                          struct satchel_span *bytes, struct satchel_error *error)
{
    *bytes = satchel_span_of(NULL, 0);
    if (stored.size == 0)
        return satchel_error_set(error, SATCHEL_CORRUPT, "%s: empty", what);
    struct satchel_span rest = satchel_span_of(stored.data + 1, stored.size - 1);
    if (stored.data[0] == SATCHEL_COMPRESS_RAW) {
        if (rest.size > bytes_max)
            return satchel_error_set(error, SATCHEL_LIMIT, "%s: %zu bytes, over the limit of %zu",
                                     what, rest.size, bytes_max);
        *bytes = rest;
        return SATCHEL_OK;
    }
    if (stored.data[0] != SATCHEL_COMPRESS_ZSTD)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "%s: the first byte is %d, neither raw (0) nor zstd (1)", what,
                                 stored.data[0]);
    satchel_buffer_clear(scratch);
    enum satchel_status status = decompress(rest, bytes_max, what, scratch, error);
    if (status == SATCHEL_OK)
        *bytes = satchel_buffer_span(scratch);
    return status;
}
