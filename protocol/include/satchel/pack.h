/* Writes MessagePack (msgpack-c's encoder) into a bounded buffer. The first failure sticks. And
 * vectors, which logs keep by themselves, both ways. */
#ifndef SATCHEL_PACK_H
#define SATCHEL_PACK_H

#include <satchel/causality.h>
#include <satchel/cursor.h>

struct satchel_pack {
    struct satchel_buffer *buffer;
    enum satchel_status status;
};

void satchel_pack_init(struct satchel_pack *pack, struct satchel_buffer *buffer);
void satchel_pack_array(struct satchel_pack *pack, uint32_t count);
void satchel_pack_unsigned(struct satchel_pack *pack, uint64_t number);
void satchel_pack_integer(struct satchel_pack *pack, int64_t number);
void satchel_pack_bool(struct satchel_pack *pack, bool value);
void satchel_pack_nil(struct satchel_pack *pack);
void satchel_pack_text(struct satchel_pack *pack, struct satchel_span text);
void satchel_pack_binary(struct satchel_pack *pack, struct satchel_span bytes);
void satchel_pack_id(struct satchel_pack *pack, const struct satchel_id *id);
/* NULL nil, INTEGER int, REAL always float 64, TEXT str, BLOB bin: bit for bit. */
void satchel_pack_value(struct satchel_pack *pack, const struct satchel_value *value);
void satchel_pack_vector(struct satchel_pack *pack, const struct satchel_vector *vector);
/* Bytes that are MessagePack already. */
void satchel_pack_raw(struct satchel_pack *pack, struct satchel_span bytes);

/* Appends a vector; nothing for the empty one. */
enum satchel_status satchel_vector_pack(struct satchel_buffer *out,
                                        const struct satchel_vector *vector) SATCHEL_MUST_USE;
/* What satchel_vector_pack wrote, or satchel_pack_vector; an empty span is the empty vector.
 * CORRUPT, NOMEM. */
enum satchel_status satchel_vector_unpack(struct satchel_span bytes, struct satchel_arena *arena,
                                          struct satchel_vector *out) SATCHEL_MUST_USE;
/* The next item as a vector: nodes ascending, no seq 0. CORRUPT, NOMEM. */
enum satchel_status satchel_vector_read(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                        struct satchel_vector *out) SATCHEL_MUST_USE;

#endif
