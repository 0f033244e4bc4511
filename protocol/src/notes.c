/* Owns the encoding of an entry's notes: what a change set did beside what its parts say. */
#include <satchel/entry.h>
#include <satchel/message.h>

#include "codec.h"

enum {
    NOTES_ITEMS = 4,
    EFFECT_ITEMS = 5,
    CONFLICT_ITEMS = 16,
    ORDER_ITEMS = 4,
    QUARANTINED_ITEMS = 2,
    ITEMS_MAX = 64 /* of a later version, which may add some behind ours */
};

/* ---- writing ---- */

static bool row_is_valid(uint32_t table, uint32_t key_count)
{
    return table <= SATCHEL_TABLES_MAX && key_count >= 1 && key_count <= SATCHEL_KEY_COLUMNS_MAX;
}

static bool effect_is_valid(const struct satchel_effect *effect)
{
    bool has_fields = effect->kind == SATCHEL_EFFECT_DELTA || effect->kind == SATCHEL_EFFECT_WHOLE;
    return (unsigned)effect->kind <= SATCHEL_EFFECT_ALIAS &&
           (effect->kind == SATCHEL_EFFECT_ALIAS) == (effect->into != NULL) &&
           row_is_valid(effect->table, effect->key_count) &&
           (has_fields || effect->field_count == 0) &&
           satchel_codec_fields_are_valid(effect->fields, effect->field_count);
}

static bool conflict_is_valid(const struct satchel_conflict_note *note)
{
    if (!row_is_valid(note->table, note->key_count) ||
        (note->unit != SATCHEL_COLUMN_ROW && note->unit >= SATCHEL_COLUMNS_MAX) ||
        (unsigned)note->severity > SATCHEL_SEVERITY_REVIEW ||
        (unsigned)note->kind > SATCHEL_CONFLICT_DUPLICATE ||
        (note->kind == SATCHEL_CONFLICT_DUPLICATE && !note->alias_key) ||
        note->loser.number > SATCHEL_SEQUENCE_MAX || note->winner.number > SATCHEL_SEQUENCE_MAX ||
        note->loser_user.size > SATCHEL_NAME_BYTES_MAX ||
        note->winner_user.size > SATCHEL_NAME_BYTES_MAX ||
        !satchel_codec_fields_are_valid(note->lost, note->column_count))
        return false;
    for (uint32_t i = 0; i < note->column_count; i++)
        if (note->lost[i].column != note->kept[i].column)
            return false;
    return true;
}

static bool are_ascending(const uint32_t *parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (parts[i] >= SATCHEL_CHANGESET_PARTS_MAX || (i > 0 && parts[i - 1] >= parts[i]))
            return false;
    return true;
}

static bool notes_are_valid(const struct satchel_notes *notes)
{
    if (!are_ascending(notes->unlike, notes->unlike_count))
        return false;
    for (uint32_t i = 0; i < notes->effect_count; i++)
        if (!effect_is_valid(&notes->effects[i]))
            return false;
    for (uint32_t i = 0; i < notes->conflict_count; i++)
        if (!conflict_is_valid(&notes->conflicts[i]))
            return false;
    for (uint32_t i = 0; i < notes->quarantined_count; i++)
        if (notes->quarantined[i].part >= SATCHEL_CHANGESET_PARTS_MAX)
            return false;
    return true;
}

static void write_effect(struct satchel_pack *pack, const struct satchel_effect *effect)
{
    satchel_pack_array(pack, EFFECT_ITEMS);
    satchel_pack_unsigned(pack, (uint64_t)effect->kind);
    satchel_pack_unsigned(pack, effect->table);
    satchel_codec_write_values(pack, effect->key, effect->key_count);
    satchel_codec_write_columns(pack, effect->fields, effect->field_count);
    if (effect->into)
        satchel_codec_write_values(pack, effect->into, effect->key_count);
    else
        satchel_codec_write_field_values(pack, effect->fields, effect->field_count);
}

static void write_order(struct satchel_pack *pack, const struct satchel_order *order)
{
    satchel_pack_array(pack, ORDER_ITEMS);
    satchel_pack_unsigned(pack, order->stamp);
    satchel_pack_id(pack, &order->device);
    satchel_pack_unsigned(pack, order->number);
    satchel_pack_unsigned(pack, order->part);
}

static void write_conflict(struct satchel_pack *pack, const struct satchel_conflict_note *note)
{
    satchel_pack_array(pack, CONFLICT_ITEMS);
    satchel_pack_id(pack, &note->id);
    satchel_pack_bool(pack, note->is_open);
    satchel_pack_unsigned(pack, note->table);
    satchel_codec_write_values(pack, note->key, note->key_count);
    satchel_codec_write_column(pack, note->unit);
    satchel_pack_unsigned(pack, (uint64_t)note->severity);
    write_order(pack, &note->loser);
    write_order(pack, &note->winner);
    satchel_pack_text(pack, note->loser_user);
    satchel_pack_text(pack, note->winner_user);
    satchel_codec_write_columns(pack, note->lost, note->column_count);
    satchel_codec_write_field_values(pack, note->lost, note->column_count);
    satchel_codec_write_field_values(pack, note->kept, note->column_count);
    satchel_pack_unsigned(pack, note->resolved);
    satchel_pack_unsigned(pack, (uint64_t)note->kind);
    if (note->alias_key)
        satchel_codec_write_values(pack, note->alias_key, note->key_count);
    else
        satchel_pack_nil(pack);
}

enum satchel_status satchel_notes_write(struct satchel_buffer *out,
                                        const struct satchel_notes *notes)
{
    struct satchel_pack pack;
    size_t size_before = out->size;
    if (!notes_are_valid(notes))
        return SATCHEL_INVALID;
    satchel_pack_init(&pack, out);
    satchel_pack_array(&pack, NOTES_ITEMS);
    satchel_pack_array(&pack, notes->unlike_count);
    for (uint32_t i = 0; i < notes->unlike_count; i++)
        satchel_pack_unsigned(&pack, notes->unlike[i]);
    satchel_pack_array(&pack, notes->effect_count);
    for (uint32_t i = 0; i < notes->effect_count; i++)
        write_effect(&pack, &notes->effects[i]);
    satchel_pack_array(&pack, notes->conflict_count);
    for (uint32_t i = 0; i < notes->conflict_count; i++)
        write_conflict(&pack, &notes->conflicts[i]);
    satchel_pack_array(&pack, notes->quarantined_count);
    for (uint32_t i = 0; i < notes->quarantined_count; i++) {
        satchel_pack_array(&pack, QUARANTINED_ITEMS);
        satchel_pack_unsigned(&pack, notes->quarantined[i].part);
        satchel_pack_text(&pack, notes->quarantined[i].reason);
    }
    return satchel_codec_finish(&pack, size_before);
}

/* ---- reading ---- */

/* An array whose items are arrays of at least `items_min`, with room for it in `arena`. */
static enum satchel_status open_list(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                     uint32_t items_min, size_t item_bytes, void **items,
                                     uint32_t *count)
{
    *items = NULL;
    *count = satchel_cursor_array(cursor, UINT32_MAX);
    /* Each item needs its head and a byte per member. */
    if (cursor->failed || *count > (size_t)(cursor->end - cursor->position) / (items_min + 1))
        return SATCHEL_CORRUPT;
    return satchel_codec_array(arena, *count, item_bytes, items);
}

/* The head of an item; what a later version added is counted in `extra`. */
static enum satchel_status open_item(struct satchel_cursor *cursor, uint32_t items_min,
                                     uint32_t *extra)
{
    uint32_t item_count = satchel_cursor_array(cursor, ITEMS_MAX);
    if (cursor->failed || item_count < items_min)
        return SATCHEL_CORRUPT;
    *extra = item_count - items_min;
    return SATCHEL_OK;
}

static enum satchel_status read_unlike(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                       struct satchel_notes *out)
{
    void *memory;
    out->unlike_count = satchel_cursor_array(cursor, SATCHEL_CHANGESET_PARTS_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    enum satchel_status status =
        satchel_codec_array(arena, out->unlike_count, sizeof(uint32_t), &memory);
    if (status != SATCHEL_OK)
        return status;
    uint32_t *unlike = memory;
    for (uint32_t i = 0; i < out->unlike_count && !cursor->failed; i++)
        unlike[i] = (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_CHANGESET_PARTS_MAX - 1);
    out->unlike = unlike;
    return !cursor->failed && are_ascending(unlike, out->unlike_count) ? SATCHEL_OK
                                                                       : SATCHEL_CORRUPT;
}

/* The key of another row of the same table. */
static enum satchel_status read_other_key(struct satchel_cursor *cursor,
                                          struct satchel_arena *arena, uint32_t key_count,
                                          const struct satchel_value **out)
{
    uint32_t count;
    enum satchel_status status = satchel_codec_read_key(cursor, arena, out, &count);
    return status == SATCHEL_OK && count != key_count ? SATCHEL_CORRUPT : status;
}

static enum satchel_status read_effect(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                       struct satchel_effect *out)
{
    struct satchel_field *fields;
    uint32_t extra;
    enum satchel_status status = open_item(cursor, EFFECT_ITEMS, &extra);
    if (status != SATCHEL_OK)
        return status;
    out->kind = (enum satchel_effect_kind)satchel_cursor_unsigned(cursor, SATCHEL_EFFECT_ALIAS);
    out->table = (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_TABLES_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    status = satchel_codec_read_key(cursor, arena, &out->key, &out->key_count);
    if (status == SATCHEL_OK)
        status = satchel_codec_read_columns(cursor, arena, &fields, &out->field_count);
    if (status != SATCHEL_OK)
        return status;
    if (out->kind == SATCHEL_EFFECT_ALIAS) {
        status = read_other_key(cursor, arena, out->key_count, &out->into);
    } else {
        out->fields = fields;
        status = satchel_codec_read_field_values(cursor, fields, out->field_count);
    }
    if (status != SATCHEL_OK)
        return status;
    satchel_codec_skip(cursor, extra);
    return !cursor->failed && effect_is_valid(out) ? SATCHEL_OK : SATCHEL_CORRUPT;
}

static void read_order(struct satchel_cursor *cursor, struct satchel_order *out)
{
    if (satchel_cursor_array(cursor, ORDER_ITEMS) != ORDER_ITEMS)
        cursor->failed = true;
    out->stamp = satchel_cursor_unsigned(cursor, UINT64_MAX);
    out->device = satchel_cursor_id(cursor);
    out->number = satchel_cursor_unsigned(cursor, SATCHEL_SEQUENCE_MAX);
    out->part = (uint32_t)satchel_cursor_unsigned(cursor, UINT32_MAX);
}

/* The unit's columns, the losing values, the kept ones. */
static enum satchel_status read_columns(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                        struct satchel_conflict_note *out)
{
    void *memory;
    enum satchel_status status =
        satchel_codec_read_columns(cursor, arena, &out->lost, &out->column_count);
    if (status == SATCHEL_OK)
        status = satchel_codec_read_field_values(cursor, out->lost, out->column_count);
    if (status == SATCHEL_OK)
        status = satchel_codec_array(arena, out->column_count, sizeof *out->kept, &memory);
    if (status != SATCHEL_OK)
        return status;
    out->kept = memory;
    for (uint32_t i = 0; i < out->column_count; i++)
        out->kept[i].column = out->lost[i].column;
    return satchel_codec_read_field_values(cursor, out->kept, out->column_count);
}

static enum satchel_status read_conflict(struct satchel_cursor *cursor, struct satchel_arena *arena,
                                         struct satchel_conflict_note *out)
{
    uint32_t extra;
    enum satchel_status status = open_item(cursor, CONFLICT_ITEMS, &extra);
    if (status != SATCHEL_OK)
        return status;
    out->id = satchel_cursor_id(cursor);
    out->is_open = satchel_cursor_bool(cursor);
    out->table = (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_TABLES_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    status = satchel_codec_read_key(cursor, arena, &out->key, &out->key_count);
    if (status != SATCHEL_OK)
        return status;
    out->unit = satchel_codec_read_column(cursor);
    out->severity = (enum satchel_severity)satchel_cursor_unsigned(cursor, SATCHEL_SEVERITY_REVIEW);
    read_order(cursor, &out->loser);
    read_order(cursor, &out->winner);
    out->loser_user = satchel_cursor_text(cursor, SATCHEL_NAME_BYTES_MAX);
    out->winner_user = satchel_cursor_text(cursor, SATCHEL_NAME_BYTES_MAX);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    status = read_columns(cursor, arena, out);
    if (status != SATCHEL_OK)
        return status;
    out->resolved = satchel_cursor_unsigned(cursor, UINT64_MAX);
    out->kind =
        (enum satchel_conflict_kind)satchel_cursor_unsigned(cursor, SATCHEL_CONFLICT_DUPLICATE);
    if (cursor->failed)
        return SATCHEL_CORRUPT;
    out->alias_key = NULL;
    if (!satchel_cursor_take_nil(cursor))
        status = read_other_key(cursor, arena, out->key_count, &out->alias_key);
    if (status != SATCHEL_OK)
        return status;
    if (out->kind == SATCHEL_CONFLICT_DUPLICATE && !out->alias_key)
        return SATCHEL_CORRUPT;
    satchel_codec_skip(cursor, extra);
    return satchel_codec_status(cursor);
}

static enum satchel_status read_quarantined(struct satchel_cursor *cursor,
                                            struct satchel_quarantine_note *out)
{
    uint32_t extra;
    enum satchel_status status = open_item(cursor, QUARANTINED_ITEMS, &extra);
    if (status != SATCHEL_OK)
        return status;
    out->part = (uint32_t)satchel_cursor_unsigned(cursor, SATCHEL_CHANGESET_PARTS_MAX - 1);
    out->reason = satchel_cursor_text(cursor, UINT32_MAX);
    satchel_codec_skip(cursor, extra);
    return satchel_codec_status(cursor);
}

static enum satchel_status read_quarantined_list(struct satchel_cursor *cursor,
                                                 struct satchel_arena *arena,
                                                 struct satchel_notes *out)
{
    void *items;
    enum satchel_status status =
        open_list(cursor, arena, QUARANTINED_ITEMS, sizeof *out->quarantined, &items,
                  &out->quarantined_count);
    out->quarantined = items;
    for (uint32_t i = 0; i < out->quarantined_count && status == SATCHEL_OK; i++)
        status = read_quarantined(cursor, (struct satchel_quarantine_note *)items + i);
    return status;
}

struct satchel_span satchel_notes_quarantined(struct satchel_span bytes)
{
    struct satchel_span none = satchel_span_of(NULL, 0);
    struct satchel_cursor cursor = satchel_cursor_of(bytes);
    if (bytes.size == 0 || satchel_cursor_array(&cursor, ITEMS_MAX) < NOTES_ITEMS)
        return none;
    satchel_codec_skip(&cursor, NOTES_ITEMS - 1);
    struct satchel_cursor list = cursor;
    struct satchel_span item = satchel_cursor_item(&cursor);
    bool is_empty = satchel_cursor_array(&list, UINT32_MAX) == 0;
    return cursor.failed || list.failed || is_empty ? none : item;
}

enum satchel_status satchel_notes_quarantined_read(struct satchel_span bytes,
                                                   struct satchel_arena *arena,
                                                   struct satchel_notes *out)
{
    struct satchel_cursor cursor = satchel_cursor_of(bytes);
    memset(out, 0, sizeof *out);
    if (bytes.size == 0)
        return SATCHEL_OK;
    enum satchel_status status = read_quarantined_list(&cursor, arena, out);
    if (status != SATCHEL_OK)
        return status;
    return satchel_cursor_at_end(&cursor) ? SATCHEL_OK : SATCHEL_CORRUPT;
}

enum satchel_status satchel_notes_read(struct satchel_span bytes, struct satchel_arena *arena,
                                       struct satchel_notes *out)
{
    struct satchel_cursor cursor = satchel_cursor_of(bytes);
    void *items;
    uint32_t extra;
    memset(out, 0, sizeof *out);
    if (bytes.size == 0)
        return SATCHEL_OK;
    enum satchel_status status = open_item(&cursor, NOTES_ITEMS, &extra);
    if (status == SATCHEL_OK)
        status = read_unlike(&cursor, arena, out);
    if (status != SATCHEL_OK)
        return status;

    status =
        open_list(&cursor, arena, EFFECT_ITEMS, sizeof *out->effects, &items, &out->effect_count);
    out->effects = items;
    for (uint32_t i = 0; i < out->effect_count && status == SATCHEL_OK; i++)
        status = read_effect(&cursor, arena, (struct satchel_effect *)items + i);
    if (status != SATCHEL_OK)
        return status;

    status = open_list(&cursor, arena, CONFLICT_ITEMS, sizeof *out->conflicts, &items,
                       &out->conflict_count);
    out->conflicts = items;
    for (uint32_t i = 0; i < out->conflict_count && status == SATCHEL_OK; i++)
        status = read_conflict(&cursor, arena, (struct satchel_conflict_note *)items + i);
    if (status != SATCHEL_OK)
        return status;

    status = read_quarantined_list(&cursor, arena, out);
    if (status != SATCHEL_OK)
        return status;
    satchel_codec_skip(&cursor, extra);
    return satchel_cursor_at_end(&cursor) ? SATCHEL_OK : SATCHEL_CORRUPT;
}
