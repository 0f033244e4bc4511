/* Owns the reading of a version's stored form, described in version_encode.c. Trusts nothing: every
 * count is bounded by the bytes that are left, every index by its table, every order is checked. */
#include "codec.h"

#define STAMP_MS_LIMIT ((uint64_t)1 << 48)

/* The first failure is kept; what follows reads zeros. */
struct decoder {
    const uint8_t *next;
    size_t left;
    const struct satchel_id_table *ids;
    struct satchel_arena *arena;
    enum satchel_status status;
    uint64_t timeline;
    struct merge_write *writes;
    uint32_t write_count;
};

static void fail(struct decoder *decoder, enum satchel_status status)
{
    if (decoder->status == SATCHEL_OK)
        decoder->status = status;
    decoder->left = 0;
}

static const uint8_t *take(struct decoder *decoder, uint64_t size)
{
    if (size > decoder->left) {
        fail(decoder, SATCHEL_CORRUPT);
        return NULL;
    }
    const uint8_t *bytes = decoder->next;
    decoder->next += size;
    decoder->left -= size;
    return bytes;
}

static uint64_t take_varint(struct decoder *decoder)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t *byte = take(decoder, 1);
        if (!byte)
            return 0;
        if (shift == 63 && *byte > 1)
            break;
        number |= (uint64_t)(*byte & 0x7f) << shift;
        if (!(*byte & 0x80))
            return number;
    }
    fail(decoder, SATCHEL_CORRUPT);
    return 0;
}

/* A varint that must not exceed `most`. */
static uint32_t take_bounded(struct decoder *decoder, uint64_t most)
{
    uint64_t number = take_varint(decoder);
    if (number > most || number > UINT32_MAX) {
        fail(decoder, SATCHEL_CORRUPT);
        return 0;
    }
    return (uint32_t)number;
}

/* How many items of at least `item_bytes` each follow. */
static uint32_t take_count(struct decoder *decoder, size_t item_bytes, uint64_t most)
{
    uint32_t count = take_bounded(decoder, most);
    if (count > decoder->left / item_bytes) {
        fail(decoder, SATCHEL_CORRUPT);
        return 0;
    }
    return count;
}

static uint64_t take_zigzag(struct decoder *decoder)
{
    uint64_t number = take_varint(decoder);
    return (number >> 1) ^ (number & 1 ? UINT64_MAX : 0);
}

static void *allocate(struct decoder *decoder, size_t count, size_t item_bytes)
{
    void *memory = satchel_arena_alloc_zero(decoder->arena, count * item_bytes);
    if (!memory)
        fail(decoder, SATCHEL_NOMEM);
    return memory;
}

static struct satchel_span take_span(struct decoder *decoder)
{
    uint64_t size = take_varint(decoder);
    const uint8_t *bytes = take(decoder, size);
    if (!bytes)
        return satchel_span_of(NULL, 0);
    struct satchel_span copy =
        satchel_arena_copy(decoder->arena, satchel_span_of(bytes, (size_t)size));
    if (!copy.data)
        fail(decoder, SATCHEL_NOMEM);
    return copy;
}

static struct satchel_id take_id(struct decoder *decoder)
{
    struct satchel_id id = {{0}};
    uint32_t number = take_bounded(decoder, UINT32_MAX);
    if (decoder->status != SATCHEL_OK)
        return id;
    enum satchel_status status = decoder->ids->id_of(decoder->ids->context, number, &id);
    if (status != SATCHEL_OK)
        fail(decoder, status == SATCHEL_NOT_FOUND ? SATCHEL_CORRUPT : status);
    return id;
}

static struct satchel_value take_value(struct decoder *decoder)
{
    struct satchel_value value = satchel_value_null();
    uint64_t bits = 0;
    const uint8_t *bytes;
    value.type = (enum satchel_value_type)take_bounded(decoder, SATCHEL_BLOB);
    switch (value.type) {
    case SATCHEL_NULL: break;
    case SATCHEL_INTEGER:
        bits = take_zigzag(decoder);
        memcpy(&value.integer, &bits, sizeof bits);
        break;
    case SATCHEL_REAL:
        bytes = take(decoder, 8);
        for (size_t i = 0; bytes && i < 8; i++)
            bits |= (uint64_t)bytes[i] << (8 * i);
        memcpy(&value.real, &bits, sizeof bits);
        break;
    case SATCHEL_TEXT:
    case SATCHEL_BLOB: value.bytes = take_span(decoder); break;
    }
    return value;
}

/* ---- the table of writes ---- */

static void take_positions(struct decoder *decoder, uint32_t shown, struct merge_write *write)
{
    uint32_t count = shown;
    if (shown == CODEC_POSITIONS_FOLLOW)
        count = take_bounded(decoder, SATCHEL_VECTOR_COUNT_MAX);
    if (count > decoder->left / 2)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK || count == 0)
        return;
    struct satchel_position *items = allocate(decoder, count, sizeof *items);
    for (uint32_t i = 0; items && i < count && decoder->status == SATCHEL_OK; i++) {
        items[i].node = take_id(decoder);
        items[i].seq = take_zigzag(decoder) + decoder->timeline;
        if (items[i].seq == 0 ||
            (i > 0 && satchel_id_compare(&items[i - 1].node, &items[i].node) >= 0))
            fail(decoder, SATCHEL_CORRUPT);
    }
    write->positions = (struct satchel_vector){items, count};
}

static void take_write(struct decoder *decoder, struct merge_write *write, uint64_t *last_ms)
{
    uint32_t bits = take_bounded(decoder, UINT8_MAX);
    write->is_insert = bits & CODEC_WRITE_INSERT;
    write->order.device = take_id(decoder);
    write->order.number = take_varint(decoder);
    uint64_t elapsed = take_varint(decoder);
    uint64_t ms = *last_ms + (elapsed >> 1);
    uint64_t counter = elapsed & 1 ? take_bounded(decoder, UINT16_MAX) : 0;
    if (elapsed >> 1 >= STAMP_MS_LIMIT || ms >= STAMP_MS_LIMIT)
        fail(decoder, SATCHEL_CORRUPT);
    write->order.stamp = ms << 16 | counter;
    write->order.part = bits & CODEC_WRITE_PART ? take_bounded(decoder, UINT32_MAX) : 0;
    take_positions(decoder, bits >> CODEC_WRITE_POSITIONS_SHIFT, write);
    if (bits & CODEC_WRITE_ROLE)
        write->role = take_span(decoder);
    *last_ms = ms;
}

enum { WRITE_BYTES_MIN = 4 };

static void take_writes(struct decoder *decoder, struct satchel_version *version, bool is_single)
{
    uint32_t count = 1, base = 1;
    if (!is_single) {
        count = take_count(decoder, WRITE_BYTES_MIN, UINT32_MAX - 1);
        base = count ? take_bounded(decoder, count) : 0;
    }
    if (decoder->status != SATCHEL_OK || count == 0)
        return;
    decoder->writes = allocate(decoder, count, sizeof *decoder->writes);
    decoder->write_count = count;
    uint64_t last_ms = 0;
    for (uint32_t i = 0; i < count && decoder->status == SATCHEL_OK; i++) {
        take_write(decoder, &decoder->writes[i], &last_ms);
        if (i > 0 &&
            satchel_order_compare(&decoder->writes[i - 1].order, &decoder->writes[i].order) >= 0)
            fail(decoder, SATCHEL_CORRUPT);
    }
    if (decoder->status == SATCHEL_OK && base)
        version->base = &decoder->writes[base - 1];
}

static const struct merge_write *write_at(struct decoder *decoder, uint64_t index)
{
    if (decoder->status == SATCHEL_OK && index < decoder->write_count)
        return &decoder->writes[index];
    fail(decoder, SATCHEL_CORRUPT);
    return NULL;
}

/* ---- units and deletes ---- */

/* `value_count` 0: heads without values and without the bit that announces them. */
static void take_heads(struct decoder *decoder, struct merge_unit *unit, bool with_bit,
                       uint32_t value_count)
{
    if (unit->head_count > decoder->left)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK || unit->head_count == 0)
        return;
    unit->heads = allocate(decoder, unit->head_count, sizeof *unit->heads);
    for (uint32_t i = 0; i < unit->head_count && decoder->status == SATCHEL_OK; i++) {
        uint64_t bits = take_varint(decoder);
        unit->heads[i].write = write_at(decoder, with_bit ? bits >> 1 : bits);
        if (i > 0 && unit->heads[i].write <= unit->heads[i - 1].write)
            fail(decoder, SATCHEL_CORRUPT);
        if (!with_bit || !(bits & 1) || decoder->status != SATCHEL_OK)
            continue;
        if (value_count == 0 || value_count > decoder->left) {
            fail(decoder, SATCHEL_CORRUPT);
            return;
        }
        struct satchel_value *values = allocate(decoder, value_count, sizeof *values);
        for (uint32_t j = 0; j < value_count && decoder->status == SATCHEL_OK; j++)
            values[j] = take_value(decoder);
        unit->heads[i].values = values;
        unit->heads[i].value_count = value_count;
    }
}

static void take_unit(struct decoder *decoder, struct merge_unit *unit)
{
    uint64_t bits = take_varint(decoder);
    uint64_t keeper = bits & CODEC_KEEPER_MASK;
    uint32_t value_count = 0;
    if (keeper > CODEC_KEEPER_FOLLOWS || bits >> 3 > decoder->write_count ||
        (keeper == CODEC_KEEPER_LAST && bits >> 3 == 0)) {
        fail(decoder, SATCHEL_CORRUPT);
        return;
    }
    unit->head_count = (uint32_t)(bits >> 3);
    if (keeper == CODEC_KEEPER_FOLLOWS)
        unit->keeper = write_at(decoder, take_varint(decoder));
    if (bits & CODEC_UNIT_VALUES)
        value_count = take_bounded(decoder, SATCHEL_COLUMNS_MAX);
    take_heads(decoder, unit, true, value_count);
    if (keeper == CODEC_KEEPER_LAST && decoder->status == SATCHEL_OK)
        unit->keeper = unit->heads[unit->head_count - 1].write;
}

static void take_units(struct decoder *decoder, struct satchel_version *version, uint32_t flags)
{
    struct merge_unit row = {.unit = SATCHEL_COLUMN_ROW};
    if (flags & CODEC_ROW) {
        row.head_count = take_count(decoder, 1, decoder->write_count);
        if (row.head_count == 0)
            fail(decoder, SATCHEL_CORRUPT);
        take_heads(decoder, &row, false, 0);
    }
    uint32_t count = flags & CODEC_UNITS ? take_count(decoder, 2, SATCHEL_COLUMNS_MAX) : 0;
    if (decoder->status != SATCHEL_OK || (count == 0 && row.head_count == 0))
        return;
    version->units = allocate(decoder, count + 1, sizeof *version->units);
    version->unit_capacity = count + 1;
    uint64_t next_unit = 0;
    for (uint32_t i = 0; i < count && decoder->status == SATCHEL_OK; i++) {
        uint64_t unit = next_unit + take_bounded(decoder, SATCHEL_COLUMNS_MAX);
        if (unit >= SATCHEL_COLUMNS_MAX)
            fail(decoder, SATCHEL_CORRUPT);
        version->units[i].unit = (uint32_t)unit;
        take_unit(decoder, &version->units[i]);
        next_unit = unit + 1;
    }
    version->unit_count = count;
    if (row.head_count && version->units)
        version->units[version->unit_count++] = row;
}

static void take_deletes(struct decoder *decoder, struct satchel_version *version)
{
    uint32_t count = take_count(decoder, 1, decoder->write_count);
    if (count == 0)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK)
        return;
    version->deletes = SATCHEL_ARENA_ARRAY(decoder->arena, const struct merge_write *, count);
    if (!version->deletes)
        fail(decoder, SATCHEL_NOMEM);
    for (uint32_t i = 0; i < count && decoder->status == SATCHEL_OK; i++) {
        version->deletes[i] = write_at(decoder, take_varint(decoder));
        if (i > 0 && version->deletes[i] <= version->deletes[i - 1])
            fail(decoder, SATCHEL_CORRUPT);
    }
    version->delete_count = count;
    uint32_t survivor = take_bounded(decoder, decoder->write_count);
    if (survivor)
        version->survivor = write_at(decoder, survivor - 1);
}

enum satchel_status satchel_version_decode(struct satchel_arena *arena, struct satchel_span bytes,
                                           const struct satchel_id_table *ids,
                                           struct satchel_version **out)
{
    struct decoder decoder = {.next = bytes.data, .left = bytes.size, .ids = ids, .arena = arena};
    struct satchel_version *version = satchel_version_new(arena);
    if (!version)
        return SATCHEL_NOMEM;
    uint32_t flags = take_bounded(&decoder, CODEC_FLAGS);
    decoder.timeline = take_varint(&decoder);
    version->timeline = decoder.timeline;
    version->was_deleted = flags & CODEC_WAS_DELETED;
    take_writes(&decoder, version, flags & CODEC_SINGLE);
    take_units(&decoder, version, flags);
    if (flags & CODEC_DELETES)
        take_deletes(&decoder, version);
    if (decoder.left > 0)
        fail(&decoder, SATCHEL_CORRUPT);
    if (decoder.status == SATCHEL_OK)
        *out = version;
    return decoder.status;
}
