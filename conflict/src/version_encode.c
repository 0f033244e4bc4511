/* Owns the writing of a version's stored form. Varints are LEB128; `write` is an index into the
 * table of writes, which ascends by order:
 *
 *   version  = flags, timeline, writes, [row], [units], [deletes], [freezes], [duplicates]
 *   flags    = bit 0: was deleted; 1: one write, the base; 2: heads among inserts follow;
 *              3: units follow; 4: deletes follow; 5: freezes follow; 6: made from several rows,
 *              duplicates follow; the rest 0, for later formats
 *   writes   = with bit 1: write; else: count, and if that is not 0:
 *              base + 1 or 0 for none, write...
 *   write    = bits, device, number, ms since the write before * 2 + (1: counter follows),
 *              [counter], [part], [member], [position count], (node, seq - timeline as zigzag)...,
 *              [size, role]
 *   bits     = bit 0: insert; 1: part follows; 2: role follows; 3: member follows;
 *              4..7: positions, 15: count follows
 *   row      = count, write...
 *   units    = count, unit...
 *   unit     = number - the number before - 1, head count * 8 + bits, [value count], head...,
 *              [count, candidate...], [count, item...]
 *   bits     = bit 0: value count follows; 1: candidates follow; 2: items follow
 *   head     = (write + 1 or 0 for none) * 4 + bits, [bits], [value...], [count, top...]
 *              bit 0: values follow; 1: bits follow: bit 0: frozen; 1: tops follow
 *   candidate = head
 *   top      = column, write * 2 + (1: value follows), [value]
 *   item     = size, name, count, entry...
 *   entry    = write * 4 + bits, [size, JSON]; bit 0: has a value; 1: it follows
 *   deletes  = count, write..., survivor + 1 or 0 for none
 *   freezes  = count, freeze...
 *   freeze   = index, device, number, stamp, part, position count, (node, seq)...
 *   duplicates = count, (unit, write, winner, value)...
 *   value    = type, then INTEGER zigzag, REAL 8 bytes little-endian, TEXT and BLOB size, bytes
 *
 * Devices and nodes are numbers of the caller's table. seq stands relative to the timeline, because
 * a row fresh at a node has a seq near its cursor. */
#include "codec.h"

#include <stdlib.h>

/* One place of the table of writes. */
struct entry {
    const struct merge_write *write;
};

/* The first failure is kept; what follows does nothing. */
struct encoder {
    struct satchel_buffer *out;
    const struct satchel_id_table *ids;
    enum satchel_status status;
    uint64_t timeline;
    struct entry *writes; /* ascending, each once */
    size_t write_count;
    size_t write_capacity;
};

static void put_bytes(struct encoder *encoder, const void *bytes, size_t size)
{
    if (encoder->status == SATCHEL_OK)
        encoder->status = satchel_buffer_append(encoder->out, bytes, size);
}

static void put_varint(struct encoder *encoder, uint64_t number)
{
    uint8_t bytes[CODEC_VARINT_BYTES];
    size_t size = 0;
    do {
        bytes[size] = (uint8_t)((number & 0x7f) | (number > 0x7f ? 0x80 : 0));
        size++;
        number >>= 7;
    } while (number > 0);
    put_bytes(encoder, bytes, size);
}

/* `bits` is a two's complement number: small magnitudes become small. */
static void put_zigzag(struct encoder *encoder, uint64_t bits)
{
    put_varint(encoder, (bits << 1) ^ (bits >> 63 ? UINT64_MAX : 0));
}

static void put_id(struct encoder *encoder, const struct satchel_id *id)
{
    uint32_t number = 0;
    if (encoder->status == SATCHEL_OK)
        encoder->status = encoder->ids->number_of(encoder->ids->context, id, &number);
    put_varint(encoder, number);
}

static void put_value(struct encoder *encoder, const struct satchel_value *value)
{
    uint8_t bytes[8];
    uint64_t bits;
    put_varint(encoder, (uint64_t)value->type);
    switch (value->type) {
    case SATCHEL_NULL: break;
    case SATCHEL_INTEGER: put_zigzag(encoder, (uint64_t)value->integer); break;
    case SATCHEL_REAL:
        memcpy(&bits, &value->real, sizeof bits);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(bits >> (8 * i));
        put_bytes(encoder, bytes, sizeof bytes);
        break;
    case SATCHEL_TEXT:
    case SATCHEL_BLOB:
        put_varint(encoder, value->bytes.size);
        put_bytes(encoder, value->bytes.data, value->bytes.size);
        break;
    }
}

/* ---- the table of writes ---- */

static int compare_writes(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return satchel_order_compare(&left->write->order, &right->write->order);
}

/* Makes room for so many more. */
static bool reserve(struct encoder *encoder, size_t count)
{
    if (encoder->status != SATCHEL_OK)
        return false;
    if (encoder->write_capacity - encoder->write_count >= count)
        return true;
    size_t capacity = 2 * encoder->write_capacity + count;
    struct entry *writes = satchel_alloc(encoder->out->allocator, capacity * sizeof *writes);
    if (!writes) {
        encoder->status = SATCHEL_NOMEM;
        return false;
    }
    if (encoder->write_count)
        memcpy(writes, encoder->writes, encoder->write_count * sizeof *writes);
    satchel_free(encoder->out->allocator, encoder->writes);
    encoder->writes = writes;
    encoder->write_capacity = capacity;
    return true;
}

static void gather(struct encoder *encoder, const struct merge_write *write)
{
    if (write && reserve(encoder, 1))
        encoder->writes[encoder->write_count++].write = write;
}

static void gather_heads(struct encoder *encoder, const struct merge_head *heads, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        gather(encoder, heads[i].write);
        for (uint32_t j = 0; j < heads[i].top_count; j++)
            gather(encoder, heads[i].tops[j].write);
    }
}

static void gather_unit(struct encoder *encoder, const struct merge_unit *unit)
{
    gather_heads(encoder, unit->heads, unit->head_count);
    gather_heads(encoder, unit->candidates, unit->candidate_count);
    for (uint32_t i = 0; i < unit->item_count; i++)
        for (uint32_t j = 0; j < unit->items[i].entry_count; j++)
            gather(encoder, unit->items[i].entries[j].write);
}

/* All writes the version names, ascending and each once. */
static void gather_writes(struct encoder *encoder, const struct satchel_version *version)
{
    reserve(encoder, 2 + (size_t)version->unit_count + version->delete_count);
    gather(encoder, version->base);
    gather(encoder, version->survivor);
    for (uint32_t i = 0; i < version->delete_count; i++)
        gather(encoder, version->deletes[i]);
    for (uint32_t i = 0; i < version->unit_count; i++)
        gather_unit(encoder, &version->units[i]);
    for (uint32_t i = 0; i < version->duplicate_count; i++) {
        gather(encoder, version->duplicates[i].write);
        gather(encoder, version->duplicates[i].winner);
    }
    if (encoder->write_count > 1)
        qsort(encoder->writes, encoder->write_count, sizeof *encoder->writes, compare_writes);
    size_t kept = 0;
    for (size_t i = 0; i < encoder->write_count; i++)
        if (kept == 0 || compare_writes(&encoder->writes[kept - 1], &encoder->writes[i]) != 0)
            encoder->writes[kept++] = encoder->writes[i];
    encoder->write_count = kept;
}

static size_t index_of(const struct encoder *encoder, const struct merge_write *write)
{
    const struct entry sought = {write};
    const struct entry *found = bsearch(&sought, encoder->writes, encoder->write_count,
                                        sizeof *encoder->writes, compare_writes);
    return (size_t)(found - encoder->writes);
}

static void put_write(struct encoder *encoder, const struct merge_write *write, uint64_t *last_ms)
{
    const struct satchel_order *order = &write->order;
    size_t positions = write->positions.count;
    size_t shown = positions < CODEC_POSITIONS_FOLLOW ? positions : CODEC_POSITIONS_FOLLOW;
    uint64_t counter = order->stamp & 0xffff;
    put_varint(encoder, (write->is_insert ? CODEC_WRITE_INSERT : 0u) |
                            (order->part ? CODEC_WRITE_PART : 0u) |
                            (write->role.size ? CODEC_WRITE_ROLE : 0u) |
                            (write->member ? CODEC_WRITE_MEMBER : 0u) |
                            ((uint64_t)shown << CODEC_WRITE_POSITIONS_SHIFT));
    put_id(encoder, &order->device);
    put_varint(encoder, order->number);
    put_varint(encoder, ((order->stamp >> 16) - *last_ms) << 1 | (counter ? 1 : 0));
    if (counter)
        put_varint(encoder, counter);
    if (order->part)
        put_varint(encoder, order->part);
    if (write->member)
        put_varint(encoder, write->member);
    if (shown == CODEC_POSITIONS_FOLLOW)
        put_varint(encoder, positions);
    for (size_t i = 0; i < positions; i++) {
        put_id(encoder, &write->positions.items[i].node);
        put_zigzag(encoder, write->positions.items[i].seq - encoder->timeline);
    }
    if (write->role.size) {
        put_varint(encoder, write->role.size);
        put_bytes(encoder, write->role.data, write->role.size);
    }
    *last_ms = order->stamp >> 16;
}

static void put_writes(struct encoder *encoder, const struct satchel_version *version,
                       bool is_single)
{
    if (!is_single) {
        put_varint(encoder, encoder->write_count);
        if (encoder->write_count)
            put_varint(encoder, version->base ? index_of(encoder, version->base) + 1 : 0);
    }
    uint64_t last_ms = 0;
    for (size_t i = 0; i < encoder->write_count; i++)
        put_write(encoder, encoder->writes[i].write, &last_ms);
}

/* ---- units and deletes ---- */

static void put_span(struct encoder *encoder, struct satchel_span bytes)
{
    put_varint(encoder, bytes.size);
    put_bytes(encoder, bytes.data, bytes.size);
}

static void put_tops(struct encoder *encoder, const struct merge_head *head)
{
    put_varint(encoder, head->top_count);
    for (uint32_t i = 0; i < head->top_count; i++) {
        const struct merge_top *top = &head->tops[i];
        put_varint(encoder, top->column);
        put_varint(encoder, (uint64_t)index_of(encoder, top->write) << 1 | (top->value ? 1 : 0));
        if (top->value)
            put_value(encoder, top->value);
    }
}

static void put_head(struct encoder *encoder, const struct merge_head *head, uint32_t value_count)
{
    uint64_t index = head->write ? index_of(encoder, head->write) + 1 : 0;
    bool has_more = head->is_frozen || head->top_count > 0;
    put_varint(encoder, index << CODEC_HEAD_SHIFT | (head->values ? CODEC_HEAD_VALUES : 0u) |
                            (has_more ? CODEC_HEAD_MORE : 0u));
    if (has_more)
        put_varint(encoder, (head->is_frozen ? CODEC_HEAD_FROZEN : 0u) |
                                (head->top_count ? CODEC_HEAD_TOPS : 0u));
    for (uint32_t i = 0; head->values && i < value_count; i++)
        put_value(encoder, &head->values[i]);
    if (head->top_count)
        put_tops(encoder, head);
}

static void put_items(struct encoder *encoder, const struct merge_unit *unit)
{
    put_varint(encoder, unit->item_count);
    for (uint32_t i = 0; i < unit->item_count; i++) {
        const struct merge_item *item = &unit->items[i];
        put_span(encoder, item->name);
        put_varint(encoder, item->entry_count);
        for (uint32_t j = 0; j < item->entry_count; j++) {
            const struct merge_entry *entry = &item->entries[j];
            put_varint(encoder, (uint64_t)index_of(encoder, entry->write) << CODEC_ENTRY_SHIFT |
                                    (entry->has_value ? CODEC_ENTRY_VALUE : 0u) |
                                    (entry->value.size ? CODEC_ENTRY_BYTES : 0u));
            if (entry->value.size)
                put_span(encoder, entry->value);
        }
    }
}

/* How many values the unit's heads have: all that have any have as many. */
static uint32_t count_values(const struct merge_unit *unit)
{
    for (uint32_t i = 0; i < unit->head_count; i++)
        if (unit->heads[i].values)
            return unit->heads[i].value_count;
    for (uint32_t i = 0; i < unit->candidate_count; i++)
        if (unit->candidates[i].values)
            return unit->candidates[i].value_count;
    return 0;
}

static void put_unit(struct encoder *encoder, const struct merge_unit *unit, uint32_t next_unit)
{
    uint32_t value_count = count_values(unit);
    put_varint(encoder, unit->unit - next_unit);
    put_varint(encoder, (uint64_t)unit->head_count << CODEC_UNIT_SHIFT |
                            (value_count ? CODEC_UNIT_VALUES : 0u) |
                            (unit->has_candidates ? CODEC_UNIT_CANDIDATES : 0u) |
                            (unit->item_count ? CODEC_UNIT_ITEMS : 0u));
    if (value_count)
        put_varint(encoder, value_count);
    for (uint32_t i = 0; i < unit->head_count; i++)
        put_head(encoder, &unit->heads[i], value_count);
    if (unit->has_candidates) {
        put_varint(encoder, unit->candidate_count);
        for (uint32_t i = 0; i < unit->candidate_count; i++)
            put_head(encoder, &unit->candidates[i], value_count);
    }
    if (unit->item_count)
        put_items(encoder, unit);
}

static void put_units(struct encoder *encoder, const struct satchel_version *version)
{
    const struct merge_unit *row = merge_version_find(version, SATCHEL_COLUMN_ROW);
    uint32_t count = version->unit_count - (row ? 1 : 0);
    if (row) {
        put_varint(encoder, row->head_count);
        for (uint32_t i = 0; i < row->head_count; i++)
            put_varint(encoder, index_of(encoder, row->heads[i].write));
    }
    if (count)
        put_varint(encoder, count);
    uint32_t next_unit = 0;
    for (uint32_t i = 0; i < count; i++) {
        put_unit(encoder, &version->units[i], next_unit);
        next_unit = version->units[i].unit + 1;
    }
}

static void put_deletes(struct encoder *encoder, const struct satchel_version *version)
{
    put_varint(encoder, version->delete_count);
    for (uint32_t i = 0; i < version->delete_count; i++)
        put_varint(encoder, index_of(encoder, version->deletes[i]));
    put_varint(encoder, version->survivor ? index_of(encoder, version->survivor) + 1 : 0);
}

static void put_freeze(struct encoder *encoder, uint32_t index, const struct satchel_freeze *freeze)
{
    const struct satchel_vector *const vectors[] = {&freeze->seen, &freeze->ancestors};
    uint32_t vector_count = freeze->ancestors.count > 0 ? 2 : 1;
    put_varint(encoder, index | (vector_count > 1 ? CODEC_FREEZE_OF_COPY : 0u));
    put_id(encoder, &freeze->order.device);
    put_varint(encoder, freeze->order.number);
    put_varint(encoder, freeze->order.stamp);
    put_varint(encoder, freeze->order.part);
    for (uint32_t v = 0; v < vector_count; v++) {
        put_varint(encoder, vectors[v]->count);
        for (size_t i = 0; i < vectors[v]->count; i++) {
            put_id(encoder, &vectors[v]->items[i].node);
            put_varint(encoder, vectors[v]->items[i].seq);
        }
    }
}

static void put_freezes(struct encoder *encoder, const struct satchel_version *version)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MERGE_FREEZE_COUNT; i++)
        count += version->freezes[i] != NULL;
    put_varint(encoder, count);
    for (uint32_t i = 0; i < MERGE_FREEZE_COUNT; i++)
        if (version->freezes[i])
            put_freeze(encoder, i, version->freezes[i]);
}

static void put_duplicates(struct encoder *encoder, const struct satchel_version *version)
{
    put_varint(encoder, version->duplicate_count);
    for (uint32_t i = 0; i < version->duplicate_count; i++) {
        const struct merge_duplicate *duplicate = &version->duplicates[i];
        put_varint(encoder, duplicate->unit);
        put_varint(encoder, index_of(encoder, duplicate->write));
        put_varint(encoder, index_of(encoder, duplicate->winner));
        put_value(encoder, &duplicate->lost);
    }
}

enum satchel_status satchel_version_encode(const struct satchel_version *version,
                                           const struct satchel_id_table *ids,
                                           struct satchel_buffer *out)
{
    struct encoder encoder = {.out = out, .ids = ids, .timeline = version->timeline};
    size_t size_before = out->size;
    gather_writes(&encoder, version);
    if (encoder.status != SATCHEL_OK)
        goto cleanup;

    bool has_row = merge_version_find(version, SATCHEL_COLUMN_ROW) != NULL;
    bool is_single = encoder.write_count == 1 && version->base;
    put_varint(&encoder, (version->was_deleted ? CODEC_WAS_DELETED : 0u) |
                             (is_single ? CODEC_SINGLE : 0u) | (has_row ? CODEC_ROW : 0u) |
                             (version->unit_count > (has_row ? 1u : 0u) ? CODEC_UNITS : 0u) |
                             (version->delete_count ? CODEC_DELETES : 0u) |
                             (version->freezes ? CODEC_FREEZES : 0u) |
                             (version->is_linked ? CODEC_LINKED : 0u));
    put_varint(&encoder, version->timeline);
    put_writes(&encoder, version, is_single);
    put_units(&encoder, version);
    if (version->delete_count)
        put_deletes(&encoder, version);
    if (version->freezes)
        put_freezes(&encoder, version);
    if (version->is_linked)
        put_duplicates(&encoder, version);
    if (encoder.status != SATCHEL_OK)
        out->size = size_before;

cleanup:
    satchel_free(out->allocator, encoder.writes);
    return encoder.status;
}
