/* Owns the writing of MessagePack: msgpack-c's encoder over a bounded buffer. Knows nothing of what
 * the items mean. */
#include <satchel/pack.h>

#include <msgpack/pack.h>

static int append(void *context, const char *data, size_t size)
{
    struct satchel_pack *pack = context;
    if (pack->status == SATCHEL_OK)
        pack->status = satchel_buffer_append(pack->buffer, data, size);
    return pack->status == SATCHEL_OK ? 0 : -1;
}

static msgpack_packer packer_of(struct satchel_pack *pack)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, pack, append);
    return packer;
}

/* msgpack-c passes on what `append` returns, and that stays in pack->status. */
static void sent(struct satchel_pack *pack, int result)
{
    if (result != 0 && pack->status == SATCHEL_OK)
        pack->status = SATCHEL_INVALID;
}

void satchel_pack_init(struct satchel_pack *pack, struct satchel_buffer *buffer)
{
    pack->buffer = buffer;
    pack->status = SATCHEL_OK;
}

void satchel_pack_array(struct satchel_pack *pack, uint32_t count)
{
    msgpack_packer packer = packer_of(pack);
    sent(pack, msgpack_pack_array(&packer, count));
}

void satchel_pack_unsigned(struct satchel_pack *pack, uint64_t number)
{
    msgpack_packer packer = packer_of(pack);
    sent(pack, msgpack_pack_uint64(&packer, number));
}

void satchel_pack_integer(struct satchel_pack *pack, int64_t number)
{
    msgpack_packer packer = packer_of(pack);
    sent(pack, msgpack_pack_int64(&packer, number));
}

void satchel_pack_bool(struct satchel_pack *pack, bool value)
{
    msgpack_packer packer = packer_of(pack);
    sent(pack, value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
}

void satchel_pack_nil(struct satchel_pack *pack)
{
    msgpack_packer packer = packer_of(pack);
    sent(pack, msgpack_pack_nil(&packer));
}

/* MessagePack has no longer strings; msgpack-c would cut the length. */
static bool has_length(struct satchel_pack *pack, size_t size)
{
    if (size > UINT32_MAX && pack->status == SATCHEL_OK)
        pack->status = SATCHEL_LIMIT;
    return pack->status == SATCHEL_OK;
}

void satchel_pack_text(struct satchel_pack *pack, struct satchel_span text)
{
    msgpack_packer packer = packer_of(pack);
    if (!has_length(pack, text.size))
        return;
    sent(pack, msgpack_pack_str(&packer, text.size));
    if (text.size)
        sent(pack, msgpack_pack_str_body(&packer, text.data, text.size));
}

void satchel_pack_binary(struct satchel_pack *pack, struct satchel_span bytes)
{
    msgpack_packer packer = packer_of(pack);
    if (!has_length(pack, bytes.size))
        return;
    sent(pack, msgpack_pack_bin(&packer, bytes.size));
    if (bytes.size)
        sent(pack, msgpack_pack_bin_body(&packer, bytes.data, bytes.size));
}

void satchel_pack_id(struct satchel_pack *pack, const struct satchel_id *id)
{
    satchel_pack_binary(pack, satchel_span_of(id->bytes, sizeof id->bytes));
}

void satchel_pack_value(struct satchel_pack *pack, const struct satchel_value *value)
{
    msgpack_packer packer = packer_of(pack);
    switch (value->type) {
    case SATCHEL_NULL: satchel_pack_nil(pack); return;
    case SATCHEL_INTEGER: satchel_pack_integer(pack, value->integer); return;
    case SATCHEL_REAL: sent(pack, msgpack_pack_double(&packer, value->real)); return;
    case SATCHEL_TEXT: satchel_pack_text(pack, value->bytes); return;
    case SATCHEL_BLOB: satchel_pack_binary(pack, value->bytes); return;
    }
    if (pack->status == SATCHEL_OK)
        pack->status = SATCHEL_INVALID;
}

void satchel_pack_vector(struct satchel_pack *pack, const struct satchel_vector *vector)
{
    if (vector->count > SATCHEL_VECTOR_COUNT_MAX) {
        if (pack->status == SATCHEL_OK)
            pack->status = SATCHEL_LIMIT;
        return;
    }
    satchel_pack_array(pack, (uint32_t)vector->count * 2);
    for (size_t i = 0; i < vector->count; i++) {
        satchel_pack_id(pack, &vector->items[i].node);
        satchel_pack_unsigned(pack, vector->items[i].seq);
    }
}

void satchel_pack_raw(struct satchel_pack *pack, struct satchel_span bytes)
{
    if (pack->status == SATCHEL_OK)
        pack->status = satchel_buffer_append(pack->buffer, bytes.data, bytes.size);
}
