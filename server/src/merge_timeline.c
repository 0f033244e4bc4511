/* Owns the way back through a row's timeline: the chain of entries that starts at its version,
 * through entries of this run that are not written yet and entries of the store. */
#include "merge_internal.h"

/* The arena is full, or the machine's memory. */
static enum satchel_status no_room(const struct merge_run *run)
{
    const struct satchel_arena *arena = &run->timeline_arena;
    return arena->used_bytes > arena->bytes_max / 2 ? SATCHEL_LIMIT : SATCHEL_NOMEM;
}

struct timeline_item {
    struct satchel_write write;
    uint64_t previous; /* the entry before in the row's chain */
};

void merge_write_of(const struct merge_changeset *changeset, uint32_t index,
                    struct satchel_write *out)
{
    const struct satchel_part *part = &changeset->content.parts[index];
    memset(out, 0, sizeof *out);
    out->order.stamp = changeset->stamp;
    out->order.device = changeset->incoming->device;
    out->order.number = changeset->incoming->number;
    out->order.part = index;
    out->positions = changeset->positions;
    out->seen = changeset->content.header.seen;
    out->ancestors = changeset->ancestors;
    out->role = changeset->content.header.role;
    out->kind = part->kind;
    out->fields = part->fields;
    out->field_count = part->field_count;
    out->exceptions = part->exceptions;
    out->exception_count = part->exception_count;
    out->arrival = changeset->cursor;
}

/* The name of a row behind the cursor of an entry, in the run's scratch. */
static enum satchel_status name_at(struct merge_run *run, uint64_t cursor, struct satchel_span *out)
{
    *out = satchel_buffer_span(&run->scratch);
    enum satchel_status status = satchel_buffer_append(&run->scratch, &cursor, sizeof cursor);
    *out = satchel_buffer_span(&run->scratch);
    return status;
}

static enum satchel_status index_part(struct merge_run *run, uint64_t cursor,
                                      const struct satchel_part *part,
                                      const struct satchel_write *write, uint64_t previous)
{
    struct satchel_span name;
    satchel_buffer_clear(&run->scratch);
    enum satchel_status status =
        satchel_row_name(&run->scratch, part->table, part->key, part->key_count);
    if (status == SATCHEL_OK)
        status = name_at(run, cursor, &name);
    if (status != SATCHEL_OK || satchel_map_get(&run->write_by_name, name))
        return status; /* a row named twice: the first part is the one in the chain */
    struct timeline_item *item = satchel_arena_alloc(&run->timeline_arena, sizeof *item);
    if (!item)
        return no_room(run);
    item->write = *write;
    item->previous = previous;
    return satchel_map_put(&run->write_by_name, name, item);
}

static enum satchel_status damaged(struct merge_run *run, uint64_t cursor)
{
    return satchel_error_set(run->batch->error, SATCHEL_CORRUPT,
                             "entry %llu of the log is damaged; restore a backup",
                             (unsigned long long)cursor);
}

/* An entry of this run. */
static enum satchel_status index_changeset(struct merge_run *run,
                                           const struct merge_changeset *changeset)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t p = 0; status == SATCHEL_OK && p < changeset->content.header.part_count; p++) {
        struct satchel_write write;
        merge_write_of(changeset, p, &write);
        status = index_part(run, changeset->cursor, &changeset->content.parts[p], &write,
                            changeset->timeline[p]);
    }
    return status;
}

/* An entry of the store. Everything decoded stays in the timelines' arena. */
static enum satchel_status index_stored(struct merge_run *run, uint64_t cursor)
{
    struct satchel_arena *arena = &run->timeline_arena;
    struct satchel_entry entry = {0};
    struct satchel_span timeline, body;
    struct merge_changeset changeset = {0};
    struct satchel_incoming incoming = {0};
    const struct satchel_store_device *device;
    enum satchel_status status = run->store->ops->load_entries(run->store, &cursor, 1, &entry,
                                                               &timeline, arena, run->batch->error);
    if (status != SATCHEL_OK)
        return status == SATCHEL_NOMEM ? no_room(run) : status;
    status = satchel_body_load(entry.body, &run->scratch, &body);
    if (status != SATCHEL_OK)
        return status == SATCHEL_NOMEM ? status : damaged(run, cursor);
    body = satchel_arena_copy(arena, body); /* the scratch is used again */
    if (!body.data)
        return no_room(run);
    status = merge_positions_of(run->batch, cursor, entry.seq, arena, &changeset.positions);
    if (status != SATCHEL_OK)
        return status == SATCHEL_NOMEM ? no_room(run) : status;
    status = satchel_changeset_decode(body, arena, &changeset.content, NULL);
    if (status == SATCHEL_NOMEM || status == SATCHEL_LIMIT)
        return no_room(run);
    if (status != SATCHEL_OK)
        return damaged(run, cursor);
    status = merge_device_get(run->batch, &entry.device, &device);
    if (status != SATCHEL_OK)
        return status;
    incoming.device = entry.device;
    incoming.number = entry.number;
    changeset.incoming = &incoming;
    changeset.ancestors = device->ancestors;
    changeset.stamp = entry.stamp;
    changeset.cursor = cursor;

    struct satchel_cursor chain = satchel_cursor_of(timeline);
    uint32_t part_count = changeset.content.header.part_count;
    if (satchel_cursor_array(&chain, SATCHEL_CHANGESET_PARTS_MAX) != part_count)
        return damaged(run, cursor);
    for (uint32_t p = 0; status == SATCHEL_OK && p < part_count; p++) {
        struct satchel_write write;
        merge_write_of(&changeset, p, &write);
        uint64_t previous = satchel_cursor_unsigned(&chain, cursor - 1);
        if (chain.failed)
            return damaged(run, cursor);
        status = index_part(run, cursor, &changeset.content.parts[p], &write, previous);
    }
    return status;
}

static enum satchel_status index_entry(struct merge_run *run, uint64_t cursor)
{
    struct satchel_span key = satchel_span_of(&cursor, sizeof cursor);
    if (satchel_map_get(&run->loaded_entries, key))
        return SATCHEL_OK;
    uint64_t head = run->batch->head.cursor;
    enum satchel_status status;
    if (cursor <= head)
        status = index_stored(run, cursor);
    else if (cursor - head <= run->changeset_count)
        status = index_changeset(run, &run->changesets[cursor - head - 1]);
    else
        status = damaged(run, cursor);
    if (status == SATCHEL_OK)
        status = satchel_map_put(&run->loaded_entries, key, run);
    return status;
}

/* The item of `row` in the entry at `cursor`. */
static enum satchel_status find_item(struct merge_run *run, const struct merge_row *row,
                                     uint64_t cursor, struct timeline_item **out)
{
    struct satchel_span name;
    enum satchel_status status = index_entry(run, cursor);
    if (status != SATCHEL_OK)
        return status;
    satchel_buffer_clear(&run->scratch);
    status = satchel_buffer_append(&run->scratch, row->stored.name.data, row->stored.name.size);
    if (status == SATCHEL_OK)
        status = name_at(run, cursor, &name);
    if (status != SATCHEL_OK)
        return status;
    *out = satchel_map_get(&run->write_by_name, name);
    if (!*out)
        return damaged(run, cursor);
    /* An entry of this run may be read before all its parts are in their chains. */
    if (cursor > run->batch->head.cursor)
        (*out)->previous = run->changesets[cursor - run->batch->head.cursor - 1]
                               .timeline[(*out)->write.order.part];
    return SATCHEL_OK;
}

static void forget(struct merge_run *run)
{
    satchel_map_clear(&run->write_by_name);
    satchel_map_clear(&run->loaded_entries);
    satchel_arena_deinit(&run->timeline_arena);
}

void merge_timeline_trim(struct merge_run *run)
{
    if (!run->keeps_timelines && run->timeline_arena.used_bytes > MERGE_TIMELINE_BYTES_KEPT)
        forget(run);
}

static enum satchel_status collect(struct merge_run *run, const struct merge_row *row,
                                   const struct satchel_write *last, struct satchel_write **out,
                                   size_t *out_count)
{
    struct timeline_item *item = NULL;
    enum satchel_status status;
    size_t count = last != NULL;
    uint64_t start = satchel_version_timeline(row->row.version);
    for (uint64_t cursor = start; cursor; cursor = item->previous, count++) {
        status = find_item(run, row, cursor, &item);
        if (status != SATCHEL_OK)
            return status;
        if (item->previous >= cursor)
            return damaged(run, cursor);
    }
    struct satchel_write *writes =
        SATCHEL_ARENA_ARRAY(&run->timeline_arena, struct satchel_write, count + 1);
    if (!writes)
        return no_room(run);
    *out = writes;
    *out_count = count;
    if (last)
        writes[--count] = *last;
    for (uint64_t cursor = start; cursor; cursor = item->previous) {
        status = find_item(run, row, cursor, &item);
        if (status != SATCHEL_OK)
            return status;
        writes[--count] = item->write;
    }
    return SATCHEL_OK;
}

enum satchel_status merge_timeline(struct merge_run *run, const struct merge_row *row,
                                   const struct satchel_write *last, struct satchel_write **out,
                                   size_t *out_count)
{
    bool has_others = run->timeline_arena.used_bytes > 0 && !run->keeps_timelines;
    enum satchel_status status = collect(run, row, last, out, out_count);
    if (status != SATCHEL_LIMIT || !has_others)
        return status;
    forget(run);
    return collect(run, row, last, out, out_count);
}
