/* Owns the reading of a version's stored form, described in version_encode.c. Trusts nothing: every
 * count is bounded by the bytes that are left, every index by its table, every order is checked. */
#include "codec.h"

#include <satchel/json_reader.h>

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
    write->member = bits & CODEC_WRITE_MEMBER ? take_bounded(decoder, UINT32_MAX) : 0;
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

static struct satchel_value *take_values(struct decoder *decoder, uint32_t count)
{
    if (count == 0 || count > decoder->left) {
        fail(decoder, SATCHEL_CORRUPT);
        return NULL;
    }
    struct satchel_value *values = allocate(decoder, count, sizeof *values);
    for (uint32_t i = 0; values && i < count && decoder->status == SATCHEL_OK; i++)
        values[i] = take_value(decoder);
    return values;
}

static void take_tops(struct decoder *decoder, struct merge_head *head)
{
    uint32_t count = take_count(decoder, 2, UINT32_MAX);
    if (count == 0)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK)
        return;
    struct merge_top *tops = allocate(decoder, count, sizeof *tops);
    for (uint32_t i = 0; tops && i < count && decoder->status == SATCHEL_OK; i++) {
        tops[i].column = take_bounded(decoder, SATCHEL_COLUMNS_MAX - 1);
        uint64_t bits = take_varint(decoder);
        tops[i].write = write_at(decoder, bits >> 1);
        if (bits & 1)
            tops[i].value = take_values(decoder, 1);
        if (i > 0 && (tops[i].column < tops[i - 1].column ||
                      (tops[i].column == tops[i - 1].column && tops[i].write <= tops[i - 1].write)))
            fail(decoder, SATCHEL_CORRUPT);
    }
    head->tops = tops;
    head->top_count = count;
}

static void take_head(struct decoder *decoder, struct merge_head *head, uint32_t value_count)
{
    uint64_t bits = take_varint(decoder);
    uint32_t more =
        bits & CODEC_HEAD_MORE ? take_bounded(decoder, CODEC_HEAD_FROZEN | CODEC_HEAD_TOPS) : 0;
    uint64_t index = bits >> CODEC_HEAD_SHIFT;
    if (index > 0)
        head->write = write_at(decoder, index - 1);
    head->is_frozen = more & CODEC_HEAD_FROZEN;
    if (bits & CODEC_HEAD_VALUES) {
        head->values = take_values(decoder, value_count);
        head->value_count = value_count;
    }
    if (more & CODEC_HEAD_TOPS)
        take_tops(decoder, head);
}

/* Ascending; only the first of the candidates may be the defaults. */
static struct merge_head *take_heads(struct decoder *decoder, uint32_t count, uint32_t value_count,
                                     bool are_candidates)
{
    if (count > decoder->left)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK || count == 0)
        return NULL;
    struct merge_head *heads = allocate(decoder, count, sizeof *heads);
    for (uint32_t i = 0; heads && i < count && decoder->status == SATCHEL_OK; i++) {
        take_head(decoder, &heads[i], value_count);
        if ((!heads[i].write && !are_candidates) ||
            (i > 0 && heads[i].write <= heads[i - 1].write) || (!heads[i].write && count > 1))
            fail(decoder, SATCHEL_CORRUPT);
    }
    return heads;
}

static void take_item(struct decoder *decoder, struct merge_item *item)
{
    item->name = take_span(decoder);
    item->entry_count = take_count(decoder, 1, decoder->write_count);
    if (item->entry_count == 0 || item->name.size == 0)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK)
        return;
    item->entries = allocate(decoder, item->entry_count, sizeof *item->entries);
    for (uint32_t i = 0; item->entries && i < item->entry_count && decoder->status == SATCHEL_OK;
         i++) {
        struct merge_entry *entry = &item->entries[i];
        uint64_t bits = take_varint(decoder);
        entry->write = write_at(decoder, bits >> CODEC_ENTRY_SHIFT);
        entry->has_value = bits & CODEC_ENTRY_VALUE;
        if (bits & CODEC_ENTRY_BYTES)
            entry->value = take_span(decoder);
        if (i > 0 && entry->write <= item->entries[i - 1].write)
            fail(decoder, SATCHEL_CORRUPT);
    }
}

static void take_items(struct decoder *decoder, struct merge_unit *unit)
{
    uint32_t count = take_count(decoder, 3, UINT32_MAX);
    if (count == 0)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK)
        return;
    unit->items = allocate(decoder, count, sizeof *unit->items);
    for (uint32_t i = 0; unit->items && i < count && decoder->status == SATCHEL_OK; i++) {
        take_item(decoder, &unit->items[i]);
        if (decoder->status == SATCHEL_OK && i > 0 &&
            satchel_json_compare(unit->items[i - 1].name, unit->items[i].name) >= 0)
            fail(decoder, SATCHEL_CORRUPT);
    }
    unit->item_count = count;
}

static void take_unit(struct decoder *decoder, struct merge_unit *unit)
{
    uint64_t bits = take_varint(decoder);
    uint32_t value_count = 0;
    if (bits >> CODEC_UNIT_SHIFT > decoder->write_count) {
        fail(decoder, SATCHEL_CORRUPT);
        return;
    }
    if (bits & CODEC_UNIT_VALUES)
        value_count = take_bounded(decoder, SATCHEL_COLUMNS_MAX);
    unit->head_count = (uint32_t)(bits >> CODEC_UNIT_SHIFT);
    unit->heads = take_heads(decoder, unit->head_count, value_count, false);
    unit->has_candidates = bits & CODEC_UNIT_CANDIDATES;
    if (unit->has_candidates) {
        unit->candidate_count = take_bounded(decoder, (uint64_t)decoder->write_count + 1);
        unit->candidates = take_heads(decoder, unit->candidate_count, value_count, true);
    }
    if (bits & CODEC_UNIT_ITEMS)
        take_items(decoder, unit);
}

static void take_row(struct decoder *decoder, struct merge_unit *row)
{
    row->head_count = take_count(decoder, 1, decoder->write_count);
    if (row->head_count == 0)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK)
        return;
    row->heads = allocate(decoder, row->head_count, sizeof *row->heads);
    for (uint32_t i = 0; row->heads && i < row->head_count && decoder->status == SATCHEL_OK; i++) {
        row->heads[i].write = write_at(decoder, take_varint(decoder));
        if (i > 0 && row->heads[i].write <= row->heads[i - 1].write)
            fail(decoder, SATCHEL_CORRUPT);
    }
}

static void take_units(struct decoder *decoder, struct satchel_version *version, uint32_t flags)
{
    struct merge_unit row = {.unit = SATCHEL_COLUMN_ROW};
    if (flags & CODEC_ROW)
        take_row(decoder, &row);
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

static void take_vector(struct decoder *decoder, struct satchel_vector *vector)
{
    uint32_t count = take_count(decoder, 2, SATCHEL_VECTOR_COUNT_MAX);
    if (decoder->status != SATCHEL_OK || count == 0)
        return;
    struct satchel_position *items = allocate(decoder, count, sizeof *items);
    for (uint32_t i = 0; items && i < count && decoder->status == SATCHEL_OK; i++) {
        items[i].node = take_id(decoder);
        items[i].seq = take_varint(decoder);
        if (items[i].seq == 0 ||
            (i > 0 && satchel_id_compare(&items[i - 1].node, &items[i].node) >= 0))
            fail(decoder, SATCHEL_CORRUPT);
    }
    *vector = (struct satchel_vector){items, count};
}

static void take_freeze(struct decoder *decoder, bool is_of_copy, struct satchel_freeze *freeze)
{
    freeze->order.device = take_id(decoder);
    freeze->order.number = take_varint(decoder);
    freeze->order.stamp = take_varint(decoder);
    freeze->order.part = take_bounded(decoder, UINT32_MAX);
    take_vector(decoder, &freeze->seen);
    if (!is_of_copy)
        return;
    take_vector(decoder, &freeze->ancestors);
    if (freeze->ancestors.count == 0)
        fail(decoder, SATCHEL_CORRUPT);
}

static void take_freezes(struct decoder *decoder, struct satchel_version *version)
{
    uint32_t count = take_bounded(decoder, MERGE_FREEZE_COUNT), next = 0;
    if (count == 0)
        fail(decoder, SATCHEL_CORRUPT);
    if (decoder->status != SATCHEL_OK)
        return;
    const struct satchel_freeze **freezes = allocate(decoder, MERGE_FREEZE_COUNT, sizeof *freezes);
    for (uint32_t i = 0; freezes && i < count && decoder->status == SATCHEL_OK; i++) {
        uint32_t place = take_bounded(decoder, 2 * CODEC_FREEZE_OF_COPY - 1);
        uint32_t index = place & ~(uint32_t)CODEC_FREEZE_OF_COPY;
        if (index < next || index >= MERGE_FREEZE_COUNT)
            fail(decoder, SATCHEL_CORRUPT);
        struct satchel_freeze *freeze = allocate(decoder, 1, sizeof *freeze);
        if (!freeze || decoder->status != SATCHEL_OK)
            return;
        take_freeze(decoder, place & CODEC_FREEZE_OF_COPY, freeze);
        freezes[index] = freeze;
        next = index + 1;
    }
    version->freezes = freezes;
}

static void take_duplicates(struct decoder *decoder, struct satchel_version *version)
{
    version->is_linked = true;
    uint32_t count = take_count(decoder, 4, UINT32_MAX);
    if (decoder->status != SATCHEL_OK || count == 0)
        return;
    struct merge_duplicate *duplicates = allocate(decoder, count, sizeof *duplicates);
    for (uint32_t i = 0; duplicates && i < count && decoder->status == SATCHEL_OK; i++) {
        duplicates[i].unit = take_bounded(decoder, SATCHEL_COLUMNS_MAX - 1);
        duplicates[i].write = write_at(decoder, take_varint(decoder));
        duplicates[i].winner = write_at(decoder, take_varint(decoder));
        duplicates[i].lost = take_value(decoder);
    }
    version->duplicates = duplicates;
    version->duplicate_count = count;
}

uint64_t satchel_version_timeline_read(struct satchel_span bytes)
{
    struct decoder decoder = {.next = bytes.data, .left = bytes.size};
    take_bounded(&decoder, CODEC_FLAGS);
    uint64_t timeline = take_varint(&decoder);
    return decoder.status == SATCHEL_OK ? timeline : 0;
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
    if (flags & CODEC_FREEZES)
        take_freezes(&decoder, version);
    if (flags & CODEC_LINKED)
        take_duplicates(&decoder, version);
    if (decoder.left > 0)
        fail(&decoder, SATCHEL_CORRUPT);
    if (decoder.status == SATCHEL_OK)
        *out = version;
    return decoder.status;
}
