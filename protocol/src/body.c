/* Owns the form in which a log's blob column holds a change set's body. */
#include <satchel/changeset.h>

#include <satchel/compress.h>

enum { LEVEL = 1, BYTES_MIN = 1024 };

enum satchel_status satchel_body_store(struct satchel_span body, struct satchel_buffer *out)
{
    if (body.size > SATCHEL_CHANGESET_BYTES_MAX)
        return SATCHEL_LIMIT;
    return satchel_compress_store(body, LEVEL, BYTES_MIN, out);
}

enum satchel_status satchel_body_load(struct satchel_span stored, struct satchel_buffer *scratch,
                                      struct satchel_span *body)
{
    return satchel_compress_load(stored, SATCHEL_CHANGESET_BYTES_MAX, "stored change set", scratch,
                                 body, NULL);
}
