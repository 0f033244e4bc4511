/* Owns the bytes of a segment (see segment.h). Knows nothing of tables. */
#include "segment.h"

#include <satchel/compress.h>
#include <satchel/pack.h>
#include <satchel/row_io.h>

#include <sodium.h>
#include <stdlib.h>

enum {
    ITEM_FIELDS = 10,
    ITEM_FIELDS_MAX = 64, /* of a later version, which may add some behind ours */
    PART_BYTES_MAX = 256 << 20,
    DATA_BYTES_MAX = 256 << 20,
    LEVEL = 6,
    COMPRESS_BYTES_MIN = 64,
    MARK_BITS = 10,
    PROBES = 7
};

/* ---- marks ---- */

/* The key is part of the format: marks are compared across years and machines. */
static const uint8_t mark_key[crypto_shorthash_KEYBYTES] = "satchel log mark";

static satchel_log_mark mark_of(uint8_t kind, uint64_t number, struct satchel_span bytes)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint8_t head[9 + 8] = {kind};
    satchel_log_mark mark = 0;
    crypto_shorthash(hash, bytes.data, bytes.size, mark_key);
    for (size_t i = 0; i < 8; i++) {
        head[1 + i] = (uint8_t)(number >> 8 * i);
        head[9 + i] = hash[i];
    }
    crypto_shorthash(hash, head, sizeof head, mark_key);
    for (size_t i = 0; i < 8; i++)
        mark |= (satchel_log_mark)hash[i] << 8 * i;
    return mark;
}

satchel_log_mark satchel_log_mark_row(uint32_t table, struct satchel_span key_text)
{
    return mark_of('r', table, key_text);
}

satchel_log_mark satchel_log_mark_change(const struct satchel_id *device, uint64_t number)
{
    return mark_of('c', number, satchel_span_of(device->bytes, sizeof device->bytes));
}

/* The bit of the probe: double hashing with the two halves of the mark. */
static uint64_t probe_bit(satchel_log_mark mark, uint32_t probe, uint64_t bit_count)
{
    uint64_t first = mark & UINT32_MAX, step = (mark >> 32) | 1;
    return (first + probe * step) % bit_count;
}

bool satchel_segment_may_hold(struct satchel_span summary, const satchel_log_mark *marks,
                              uint32_t mark_count)
{
    if (summary.size == 0 || mark_count == 0)
        return true;
    for (uint32_t i = 0; i < mark_count; i++) {
        uint32_t probe = 0;
        for (; probe < PROBES; probe++) {
            uint64_t bit = probe_bit(marks[i], probe, (uint64_t)summary.size * 8);
            if (!(summary.data[bit / 8] & 1u << bit % 8))
                break;
        }
        if (probe == PROBES)
            return true;
    }
    return false;
}

static int compare_marks(const void *left, const void *right)
{
    satchel_log_mark a = *(const satchel_log_mark *)left, b = *(const satchel_log_mark *)right;
    return a < b ? -1 : a > b;
}

static enum satchel_status write_summary(struct satchel_segment_maker *maker,
                                         struct satchel_buffer *summary)
{
    size_t count = maker->marks.size / sizeof(satchel_log_mark), unique = 0;
    if (maker->is_unknown || count == 0)
        return SATCHEL_OK;
    satchel_log_mark *marks = (satchel_log_mark *)(void *)maker->marks.data;
    qsort(marks, count, sizeof *marks, compare_marks);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || marks[i] != marks[i - 1])
            marks[unique++] = marks[i];
    size_t size = (unique * MARK_BITS + 7) / 8;
    enum satchel_status status = satchel_buffer_reserve(summary, size);
    if (status != SATCHEL_OK)
        return status;
    uint8_t *bits = summary->data + summary->size;
    memset(bits, 0, size);
    for (size_t i = 0; i < unique; i++)
        for (uint32_t probe = 0; probe < PROBES; probe++) {
            uint64_t bit = probe_bit(marks[i], probe, (uint64_t)size * 8);
            bits[bit / 8] |= (uint8_t)(1u << bit % 8);
        }
    summary->size += size;
    return SATCHEL_OK;
}

/* ---- making ---- */

void satchel_segment_maker_init(struct satchel_segment_maker *maker)
{
    memset(maker, 0, sizeof *maker);
    satchel_buffer_init(&maker->items, DATA_BYTES_MAX, NULL);
    satchel_buffer_init(&maker->marks, DATA_BYTES_MAX, NULL);
    satchel_buffer_init(&maker->body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&maker->raw, SATCHEL_CHANGESET_BYTES_MAX + 1, NULL);
    satchel_buffer_init(&maker->key, PART_BYTES_MAX, NULL);
    satchel_arena_init(&maker->arena, PART_BYTES_MAX, NULL);
}

void satchel_segment_maker_deinit(struct satchel_segment_maker *maker)
{
    satchel_buffer_deinit(&maker->items);
    satchel_buffer_deinit(&maker->marks);
    satchel_buffer_deinit(&maker->body);
    satchel_buffer_deinit(&maker->raw);
    satchel_buffer_deinit(&maker->key);
    satchel_arena_deinit(&maker->arena);
}

static enum satchel_status add_mark(struct satchel_segment_maker *maker, satchel_log_mark mark)
{
    return satchel_buffer_append(&maker->marks, &mark, sizeof mark);
}

static enum satchel_status mark_row(struct satchel_segment_maker *maker, uint32_t table,
                                    const struct satchel_value *key, uint32_t key_count)
{
    satchel_buffer_clear(&maker->key);
    enum satchel_status status = satchel_key_text(&maker->key, key, key_count);
    return status == SATCHEL_OK
               ? add_mark(maker, satchel_log_mark_row(table, satchel_buffer_span(&maker->key)))
               : status;
}

static enum satchel_status mark_parts(struct satchel_segment_maker *maker, struct satchel_span body)
{
    struct satchel_changeset_header header;
    struct satchel_cursor cursor = satchel_cursor_of(body);
    satchel_arena_reset(&maker->arena);
    enum satchel_status status = satchel_changeset_read_header(&cursor, &maker->arena, &header);
    for (uint32_t i = 0; status == SATCHEL_OK && i < header.part_count; i++) {
        struct satchel_part part;
        satchel_arena_reset(&maker->arena);
        status = satchel_changeset_read_part(&cursor, &maker->arena, &part);
        if (status == SATCHEL_OK)
            status = mark_row(maker, part.table, part.key, part.key_count);
    }
    return status;
}

static enum satchel_status mark_notes(struct satchel_segment_maker *maker,
                                      struct satchel_span bytes)
{
    struct satchel_notes notes;
    satchel_arena_reset(&maker->arena);
    enum satchel_status status = satchel_notes_read(bytes, &maker->arena, &notes);
    for (uint32_t i = 0; status == SATCHEL_OK && i < notes.effect_count; i++)
        status = mark_row(maker, notes.effects[i].table, notes.effects[i].key,
                          notes.effects[i].key_count);
    for (uint32_t i = 0; status == SATCHEL_OK && i < notes.conflict_count; i++) {
        const struct satchel_conflict_note *note = &notes.conflicts[i];
        status = mark_row(maker, note->table, note->key, note->key_count);
        if (status == SATCHEL_OK && note->alias_key)
            status = mark_row(maker, note->table, note->alias_key, note->key_count);
    }
    return status;
}

/* An entry that cannot be read is packed all the same: whoever reads it is told then. */
static enum satchel_status mark_entry(struct satchel_segment_maker *maker,
                                      const struct satchel_entry *entry, struct satchel_span body)
{
    enum satchel_status status =
        add_mark(maker, satchel_log_mark_change(&entry->device, entry->number));
    if (status == SATCHEL_OK && body.size > 0)
        status = mark_parts(maker, body);
    if (status == SATCHEL_OK)
        status = mark_notes(maker, entry->notes);
    if (status == SATCHEL_NOMEM)
        return status;
    maker->is_unknown = maker->is_unknown || status != SATCHEL_OK;
    return SATCHEL_OK;
}

static void write_item(struct satchel_segment_maker *maker, const struct satchel_log_entry *from,
                       struct satchel_span body, struct satchel_pack *pack)
{
    const struct satchel_entry *entry = &from->entry;
    satchel_pack_init(pack, &maker->items);
    satchel_pack_array(pack, ITEM_FIELDS);
    satchel_pack_unsigned(pack, entry->cursor);
    satchel_pack_unsigned(pack, entry->seq);
    satchel_pack_id(pack, &entry->device);
    satchel_pack_unsigned(pack, entry->number);
    satchel_pack_unsigned(pack, entry->stamp);
    if (entry->user.size > 0)
        satchel_pack_text(pack, entry->user);
    else
        satchel_pack_nil(pack);
    if (entry->secret)
        satchel_pack_binary(pack, satchel_span_of(entry->secret, SATCHEL_SECRET_BYTES));
    else
        satchel_pack_nil(pack);
    satchel_pack_binary(pack, body);
    satchel_pack_binary(pack, entry->notes);
    satchel_pack_binary(pack, from->timeline);
}

/* The body in a stored form that is not compressed: the segment will be. `*body` is what it says,
 * empty if that cannot be read. */
static enum satchel_status unpack_body(struct satchel_segment_maker *maker,
                                       struct satchel_span stored, struct satchel_span *body,
                                       struct satchel_span *raw)
{
    const uint8_t form = SATCHEL_COMPRESS_RAW;
    *body = satchel_span_of(NULL, 0);
    *raw = stored;
    if (stored.size == 0)
        return SATCHEL_OK;
    enum satchel_status status = satchel_body_load(stored, &maker->body, body);
    if (status == SATCHEL_NOMEM)
        return status;
    if (status != SATCHEL_OK) {
        maker->is_unknown = true;
        *body = satchel_span_of(NULL, 0);
        return SATCHEL_OK;
    }
    satchel_buffer_clear(&maker->raw);
    status = satchel_buffer_append(&maker->raw, &form, 1);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&maker->raw, body->data, body->size);
    *raw = satchel_buffer_span(&maker->raw);
    return status;
}

enum satchel_status satchel_segment_add(struct satchel_segment_maker *maker,
                                        const struct satchel_log_entry *entry)
{
    struct satchel_span body, raw;
    struct satchel_pack pack;
    enum satchel_status status = unpack_body(maker, entry->entry.body, &body, &raw);
    if (status == SATCHEL_OK)
        status = mark_entry(maker, &entry->entry, body);
    if (status != SATCHEL_OK)
        return status;
    write_item(maker, entry, raw, &pack);
    if (pack.status != SATCHEL_OK)
        return pack.status;
    if (maker->entry_count++ == 0)
        maker->first = entry->entry.cursor;
    maker->last = entry->entry.cursor;
    if (entry->entry.seq > maker->last_seq)
        maker->last_seq = entry->entry.seq;
    return SATCHEL_OK;
}

enum satchel_status satchel_segment_write(struct satchel_segment_maker *maker,
                                          struct satchel_buffer *data,
                                          struct satchel_buffer *summary)
{
    enum satchel_status status =
        satchel_compress_store(satchel_buffer_span(&maker->items), LEVEL, COMPRESS_BYTES_MIN, data);
    return status == SATCHEL_OK ? write_summary(maker, summary) : status;
}

/* ---- reading ---- */

enum satchel_status satchel_segment_open(struct satchel_span data, struct satchel_buffer *scratch,
                                         struct satchel_cursor *items)
{
    struct satchel_span bytes;
    enum satchel_status status =
        satchel_compress_load(data, DATA_BYTES_MAX, "segment of the log", scratch, &bytes, NULL);
    *items = satchel_cursor_of(bytes);
    return status;
}

bool satchel_segment_next(struct satchel_cursor *items, struct satchel_log_entry *out)
{
    struct satchel_entry *entry = &out->entry;
    memset(out, 0, sizeof *out);
    if (items->failed || satchel_cursor_at_end(items))
        return false;
    uint32_t count = satchel_cursor_array(items, ITEM_FIELDS_MAX);
    entry->cursor = satchel_cursor_unsigned(items, INT64_MAX);
    entry->seq = satchel_cursor_unsigned(items, INT64_MAX);
    entry->device = satchel_cursor_id(items);
    entry->number = satchel_cursor_unsigned(items, INT64_MAX);
    entry->stamp = satchel_cursor_unsigned(items, UINT64_MAX);
    if (!satchel_cursor_take_nil(items))
        entry->user = satchel_cursor_text(items, DATA_BYTES_MAX);
    if (!satchel_cursor_take_nil(items)) {
        struct satchel_span secret = satchel_cursor_binary(items, SATCHEL_SECRET_BYTES);
        items->failed = items->failed || secret.size != SATCHEL_SECRET_BYTES;
        entry->secret = secret.data;
    }
    entry->body = satchel_cursor_binary(items, DATA_BYTES_MAX);
    entry->notes = satchel_cursor_binary(items, DATA_BYTES_MAX);
    out->timeline = satchel_cursor_binary(items, DATA_BYTES_MAX);
    for (uint32_t i = ITEM_FIELDS; i < count; i++)
        satchel_cursor_item(items);
    items->failed = items->failed || count < ITEM_FIELDS;
    return !items->failed;
}
