/* Owns the frame around a message: one byte that says how it is compressed. */
#include <satchel/message.h>

#include <satchel/compress.h>

enum { LEVEL = 3, BYTES_MIN = 200 };

enum satchel_status satchel_frame_write(struct satchel_buffer *out, struct satchel_span message)
{
    if (message.size > SATCHEL_FRAME_BYTES_MAX - 1)
        return SATCHEL_LIMIT;
    return satchel_compress_store(message, LEVEL, BYTES_MIN, out);
}

enum satchel_status satchel_frame_read(struct satchel_span frame, size_t bytes_max,
                                       struct satchel_buffer *scratch, struct satchel_span *message,
                                       struct satchel_error *error)
{
    *message = satchel_span_of(NULL, 0);
    if (frame.size > bytes_max)
        return satchel_error_set(error, SATCHEL_LIMIT, "frame: %zu bytes, over the limit of %zu",
                                 frame.size, bytes_max);
    return satchel_compress_load(frame, bytes_max, "frame", scratch, message, error);
}
