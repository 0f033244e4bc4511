/* Owns the positions of entries that earlier incarnations of the node gave: what an entry has of
 * them, and what a change set that came back gets although it was here already. Knows nothing of
 * rules: positions change no value, only who is known to have seen what.
 *
 * So they must be here before any write that has seen them is merged: who has seen whom is worked
 * out once for a row, and again and again where rows may be one, and has to come out the same. A
 * device gives what was lost in the order of the log, and what stands with another position before
 * it; of one batch, positions come first. */
#include "merge_internal.h"

enum satchel_status merge_positions_of(struct merge_batch *batch, uint64_t cursor, uint64_t seq,
                                       struct satchel_arena *arena, struct satchel_vector *out)
{
    enum satchel_status status = SATCHEL_OK;
    *out = (struct satchel_vector){NULL, 0};
    if (batch->known.has_positions)
        status = batch->store->ops->load_positions(batch->store, cursor, arena, out, batch->error);
    if (status != SATCHEL_OK || seq == 0)
        return status;
    return satchel_vector_raise(arena, out, incarnation_at(&batch->known, cursor), seq, out);
}

static bool holds(const struct satchel_vector *positions, const struct satchel_position *position)
{
    return satchel_vector_get(positions, &position->node) == position->seq;
}

/* The version of one row, as far as it keeps the change set's writes. */
static enum satchel_status mend_row(struct merge_batch *batch, struct satchel_arena *arena,
                                    struct satchel_store_row *row,
                                    const struct satchel_incoming *incoming,
                                    const struct satchel_vector *positions)
{
    const struct satchel_store_ops *ops = batch->store->ops;
    struct satchel_version *version;
    struct satchel_buffer bytes;
    struct satchel_span refusal = {0};
    bool is_kept = false;
    enum satchel_status status = ops->load_rows(batch->store, row, 1, arena, batch->error);
    if (status != SATCHEL_OK || row->version.size == 0)
        return status;
    satchel_buffer_init(&bytes, MERGE_VERSION_BYTES_MAX, NULL);
    status = satchel_version_decode(arena, row->version, &batch->store->ids, &version);
    if (status == SATCHEL_OK)
        is_kept =
            satchel_version_reposition(version, &incoming->device, incoming->number, positions);
    if (status == SATCHEL_OK && is_kept)
        status = satchel_version_encode(version, &batch->store->ids, &bytes);
    if (status == SATCHEL_OK && is_kept) {
        row->version = satchel_buffer_span(&bytes);
        row->existed = row->exists;
        row->changed = SATCHEL_ARENA_ARRAY(arena, bool, row->table->column_count);
        status = row->changed ? ops->write_rows(batch->store, row, 1, &refusal, arena, batch->error)
                              : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&bytes);
    return status;
}

/* The row that was written, and the one that stands for it now. */
static enum satchel_status mend_part(struct merge_batch *batch, struct satchel_arena *arena,
                                     const struct satchel_part *part,
                                     const struct satchel_incoming *incoming,
                                     const struct satchel_vector *positions)
{
    const struct satchel_table *table = satchel_schema_table(batch->store->schema, part->table);
    struct satchel_store_row row = {.table = table, .key = part->key};
    struct satchel_span survivor = {0};
    struct satchel_buffer name;
    if (!table || table->is_local || table->key_count != part->key_count)
        return SATCHEL_OK; /* it was set aside */
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_row_name(&name, part->table, part->key, part->key_count);
    row.name = satchel_buffer_span(&name);
    if (status == SATCHEL_OK)
        status = mend_row(batch, arena, &row, incoming, positions);
    if (status == SATCHEL_OK && batch->has_keys)
        status =
            batch->store->ops->find_alias(batch->store, row.name, arena, &survivor, batch->error);
    if (status == SATCHEL_OK && survivor.size > 0) {
        uint32_t number, key_count;
        row = (struct satchel_store_row){.table = table, .name = survivor};
        status = satchel_row_name_read(survivor, arena, &number, &row.key, &key_count);
        if (status == SATCHEL_OK)
            status = mend_row(batch, arena, &row, incoming, positions);
    }
    satchel_buffer_deinit(&name);
    return status;
}

static enum satchel_status add_missing(struct merge_batch *batch, struct satchel_arena *arena,
                                       const struct satchel_incoming *incoming)
{
    const struct satchel_store_ops *ops = batch->store->ops;
    struct satchel_entry entry = {0};
    struct satchel_vector positions;
    struct satchel_changeset content;
    bool is_new = false;
    enum satchel_status status = satchel_store_load_change(
        batch->store, &incoming->device, incoming->number, &entry, arena, batch->error);
    if (status == SATCHEL_OK)
        status = merge_positions_of(batch, entry.cursor, entry.seq, arena, &positions);
    for (size_t i = 0; status == SATCHEL_OK && i < incoming->positions.count; i++) {
        const struct satchel_position *position = &incoming->positions.items[i];
        if (holds(&positions, position))
            continue;
        is_new = true;
        status = ops->add_position(batch->store, entry.cursor, position, batch->known.cursor,
                                   batch->error);
        if (status == SATCHEL_OK)
            status =
                satchel_vector_raise(arena, &positions, &position->node, position->seq, &positions);
    }
    if (status == SATCHEL_OK && is_new)
        status = satchel_changeset_decode(incoming->body, arena, &content, batch->error);
    for (uint32_t p = 0; status == SATCHEL_OK && is_new && p < content.header.part_count; p++)
        status = mend_part(batch, arena, &content.parts[p], incoming, &positions);
    return status;
}

enum satchel_status merge_positions_add(struct merge_batch *batch)
{
    struct satchel_arena arena;
    enum satchel_status status = SATCHEL_OK;
    satchel_arena_init(&arena, MERGE_ARENA_BYTES_MAX, NULL);
    for (size_t i = 0; status == SATCHEL_OK && i < batch->again_count; i++) {
        status = add_missing(batch, &arena, batch->again[i]);
        satchel_arena_reset(&arena);
    }
    satchel_arena_deinit(&arena);
    return status;
}
