/* Owns one run of the merge: rows loaded in bulk, change sets merged into them in order, everything
 * written at once. */
#include "merge_internal.h"

#include <stdlib.h>

/* The run's row of a part, made when the first part names it. NULL: no memory. */
static struct merge_row *row_of(struct merge_run *run, const struct satchel_part *part,
                                const struct satchel_table *table)
{
    satchel_buffer_clear(&run->scratch);
    if (satchel_row_name(&run->scratch, part->table, part->key, part->key_count) != SATCHEL_OK)
        return NULL;
    struct satchel_span name = satchel_buffer_span(&run->scratch);
    struct merge_row *row = satchel_map_get(&run->row_by_name, name);
    if (row)
        return row;
    row = &run->rows[run->row_count];
    struct satchel_store_row *stored = &run->stored_rows[run->row_count++];
    stored->table = table;
    stored->key = part->key;
    stored->name = satchel_arena_copy(&run->arena, name);
    if (!stored->name.data || satchel_map_put(&run->row_by_name, stored->name, row) != SATCHEL_OK)
        return NULL;
    return row;
}

static enum satchel_status name_rows_of(struct merge_run *run, struct merge_changeset *changeset)
{
    uint32_t part_count = changeset->content.header.part_count;
    changeset->rows = SATCHEL_ARENA_ARRAY(&run->arena, struct merge_row *, part_count);
    changeset->timeline = SATCHEL_ARENA_ARRAY(&run->arena, uint64_t, part_count);
    if (!changeset->rows || !changeset->timeline)
        return SATCHEL_NOMEM;
    for (uint32_t p = 0; p < part_count; p++) {
        struct merge_part *part = &changeset->parts[p];
        if (!part->table)
            continue;
        struct merge_row *row = row_of(run, &changeset->content.parts[p], part->table);
        if (!row)
            return SATCHEL_NOMEM;
        changeset->rows[p] = row;
        /* A row's timeline has one write per change set: the first part of it. */
        if (row->named_by == changeset && !part->reason.data) {
            part->reason = merge_reason(&run->batch->arena, "the change set writes this row twice");
            if (!part->reason.data)
                return SATCHEL_NOMEM;
        }
        row->named_by = changeset;
    }
    return SATCHEL_OK;
}

static enum satchel_status name_rows(struct merge_run *run)
{
    size_t part_total = 0;
    for (size_t i = 0; i < run->changeset_count; i++)
        part_total += run->changesets[i].content.header.part_count;
    run->rows = SATCHEL_ARENA_ARRAY(&run->arena, struct merge_row, part_total);
    run->stored_rows = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_store_row, part_total);
    if (!run->rows || !run->stored_rows)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < run->changeset_count; i++) {
        enum satchel_status status = name_rows_of(run, &run->changesets[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static enum satchel_status open_row(struct merge_run *run, struct merge_row *row,
                                    const struct satchel_store_row *stored)
{
    const struct satchel_table *table = stored->table;
    enum satchel_status status = SATCHEL_OK;
    row->stored = *stored;
    row->is_known = stored->version.size > 0;
    row->row.exists = stored->exists;
    row->row.values = stored->values;
    row->changed = SATCHEL_ARENA_ARRAY(&run->arena, bool, table->column_count);
    if (!row->changed)
        return SATCHEL_NOMEM;
    if (!stored->exists)
        for (uint32_t i = 0; i < table->key_count; i++)
            row->row.values[table->key_columns[i]] = stored->key[i];
    if (row->is_known)
        status = satchel_version_decode(&run->arena, stored->version, &run->store->ids,
                                        &row->row.version);
    else
        row->row.version = satchel_version_new(&run->arena);
    if (status == SATCHEL_CORRUPT)
        return satchel_error_set(run->batch->error, status,
                                 "the version of a row of %s is damaged; restore a backup",
                                 table->name);
    return status == SATCHEL_OK && !row->row.version ? SATCHEL_NOMEM : status;
}

static int compare_names(const void *left, const void *right)
{
    const struct satchel_store_row *a = left, *b = right;
    return satchel_span_compare(a->name, b->name);
}

/* In order of names, which is nearly the order of keys in each table: a store that keeps rows in
 * trees then walks along them instead of jumping about. */
static enum satchel_status load_rows(struct merge_run *run)
{
    run->sorted_rows = SATCHEL_ARENA_ARRAY(&run->arena, struct merge_row *, run->row_count);
    if (!run->sorted_rows)
        return SATCHEL_NOMEM;
    qsort(run->stored_rows, run->row_count, sizeof *run->stored_rows, compare_names);
    enum satchel_status status = run->store->ops->load_rows(
        run->store, run->stored_rows, run->row_count, &run->arena, run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < run->row_count; i++) {
        run->sorted_rows[i] = satchel_map_get(&run->row_by_name, run->stored_rows[i].name);
        status = open_row(run, run->sorted_rows[i], &run->stored_rows[i]);
    }
    return status;
}

/* ---- one part ---- */

/* What keeps a well-formed part from being merged into the row as it is; NULL: nothing. */
static const char *obstacle(const struct satchel_part *part, const struct merge_row *row)
{
    if (!row->is_known && part->kind != SATCHEL_OP_INSERT)
        return "the insert of this row is not here: it was quarantined";
    return NULL;
}

static enum satchel_status merge_write(struct merge_run *run, struct merge_row *row,
                                       const struct satchel_write *write,
                                       struct satchel_merge_result *result,
                                       struct satchel_error *error)
{
    const struct satchel_table_rules *rules = &row->stored.table->rules;
    struct satchel_write *writes;
    size_t write_count;
    enum satchel_status status =
        satchel_row_merge(rules, &row->row, write, &run->arena, result, error);
    if (status != SATCHEL_NEED_TIMELINE)
        return status;
    status = merge_timeline(run, row, write, &writes, &write_count);
    if (status == SATCHEL_LIMIT)
        return satchel_error_set(error, SATCHEL_REFUSED,
                                 "the history of this row is too large to merge into it");
    if (status == SATCHEL_OK)
        status =
            satchel_row_rebuild(rules, &row->row, writes, write_count, &run->arena, result, error);
    merge_timeline_trim(run);
    return status;
}

/* What the part did to its row does not fit the entry's notes: the run is redone without it. */
static enum satchel_status take_back(struct merge_run *run, struct merge_part *part)
{
    if (run->changeset_count > 1)
        return SATCHEL_REFUSED;
    run->is_to_be_redone = true;
    part->reason = merge_reason(&run->batch->arena,
                                "what it changes is too large for one entry: write less at a time");
    return part->reason.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

static bool lacks_value(const struct merge_row *row)
{
    const struct satchel_table *table = row->stored.table;
    for (uint32_t i = 0; row->row.exists && i < table->column_count; i++)
        if (table->columns[i].not_null && row->row.values[i].type == SATCHEL_NULL &&
            !table->rules.columns[i].in_key)
            return true;
    return false;
}

static enum satchel_status merge_part(struct merge_run *run, struct merge_changeset *changeset,
                                      uint32_t index, struct merge_notes *notes)
{
    const struct satchel_part *part = &changeset->content.parts[index];
    struct merge_row *row = changeset->rows[index];
    struct satchel_span reason = changeset->parts[index].reason;
    struct satchel_merge_result result = {0};
    struct satchel_conflict_list before = {0};
    struct satchel_error refusal = {0};
    struct satchel_write write;
    enum satchel_status status = SATCHEL_OK;
    uint64_t previous = 0;

    const char *text = reason.data ? NULL : obstacle(part, row);
    if (!reason.data && !text) {
        if (!row->has_conflicts)
            status = merge_conflicts_list(run, row);
        if (status != SATCHEL_OK)
            return status;
        before = row->conflicts;
        previous = satchel_version_timeline(row->row.version);
        merge_write_of(changeset, index, &write);
        status = merge_write(run, row, &write, &result, &refusal);
        if (status == SATCHEL_REFUSED)
            text = refusal.message[0] ? refusal.message : "a rule of the schema refuses the write";
        else if (status != SATCHEL_OK)
            return status;
        /* What a later change set of the run may mend: alone, SQLite refuses it (merge.c). */
        if (!text && run->changeset_count > 1 && lacks_value(row))
            return SATCHEL_REFUSED;
    }
    if (text) {
        reason = merge_reason(&run->arena, text);
        if (!reason.data)
            return SATCHEL_NOMEM;
    }
    if (reason.data)
        return merge_note_quarantine(run, notes, part, index, row, reason);

    changeset->timeline[index] = previous;
    satchel_version_set_timeline(row->row.version, changeset->cursor);
    row->is_dirty = row->is_known = true;
    for (uint32_t column = 0; column < row->stored.table->column_count; column++)
        row->changed[column] |= result.changed[column];
    status = merge_note_effect(run, notes, part, index, row, &result);
    if (status == SATCHEL_LIMIT)
        status = take_back(run, &changeset->parts[index]);
    if (status == SATCHEL_OK)
        status = merge_conflicts_list(run, row);
    if (status == SATCHEL_OK)
        status = merge_note_conflicts(run, row, &before, changeset->stamp);
    if (status == SATCHEL_OK && run->batch->unnumbered)
        status = merge_unnumbered_add(run->batch->unnumbered, row);
    return status;
}

/* ---- one change set ---- */

static enum satchel_status pack_timeline(struct merge_run *run,
                                         const struct merge_changeset *changeset,
                                         struct satchel_span *out)
{
    struct satchel_pack pack;
    uint32_t part_count = changeset->content.header.part_count;
    satchel_buffer_clear(&run->scratch);
    satchel_pack_init(&pack, &run->scratch);
    satchel_pack_array(&pack, part_count);
    for (uint32_t p = 0; p < part_count; p++)
        satchel_pack_unsigned(&pack, changeset->timeline[p]);
    if (pack.status != SATCHEL_OK)
        return pack.status;
    *out = satchel_arena_copy(&run->arena, satchel_buffer_span(&run->scratch));
    return out->data ? SATCHEL_OK : SATCHEL_NOMEM;
}

static enum satchel_status fill_entry(struct merge_run *run,
                                      const struct merge_changeset *changeset,
                                      const struct merge_notes *notes, size_t index)
{
    struct satchel_entry *entry = &run->entries[index];
    entry->cursor = changeset->cursor;
    entry->seq = changeset->position.seq;
    entry->device = changeset->incoming->device;
    entry->number = changeset->incoming->number;
    entry->stamp = changeset->stamp;
    entry->user = changeset->incoming->user;
    entry->secret = changeset->incoming->secret;
    satchel_buffer_clear(&run->scratch);
    enum satchel_status status = satchel_body_store(changeset->incoming->body, &run->scratch);
    if (status != SATCHEL_OK)
        return status;
    entry->body = satchel_arena_copy(&run->arena, satchel_buffer_span(&run->scratch));
    if (!entry->body.data)
        return SATCHEL_NOMEM;
    status = merge_notes_end(run, notes, &entry->notes);
    if (status == SATCHEL_OK)
        status = pack_timeline(run, changeset, &run->timelines[index]);
    return status;
}

static enum satchel_status merge_changeset(struct merge_run *run, size_t index)
{
    struct merge_changeset *changeset = &run->changesets[index];
    struct merge_batch *batch = run->batch;
    uint32_t part_count = changeset->content.header.part_count;
    struct merge_notes notes;
    changeset->cursor = batch->head.cursor + 1 + index;
    changeset->position.node = batch->head.node;
    changeset->position.seq = batch->head.seq + 1 + index;
    enum satchel_status status = merge_notes_begin(run, changeset->cursor, part_count, &notes);
    for (uint32_t p = 0; status == SATCHEL_OK && p < part_count; p++)
        status = merge_part(run, changeset, p, &notes);
    if (status == SATCHEL_OK && run->is_to_be_redone)
        status = SATCHEL_REFUSED;
    if (status == SATCHEL_OK)
        status = fill_entry(run, changeset, &notes, index);
    changeset->outcome->cursor = changeset->cursor;
    changeset->outcome->quarantined_count = notes.quarantined_count;
    return status;
}

/* ---- writing ---- */

/* REFUSED: the version of some rows is too large. */
static enum satchel_status encode_dirty(struct merge_run *run, struct satchel_store_row *dirty,
                                        struct satchel_span *refusals, size_t *dirty_count)
{
    bool is_refused = false;
    *dirty_count = 0;
    for (size_t i = 0; i < run->row_count; i++) {
        const struct merge_row *row = run->sorted_rows[i];
        if (!row->is_dirty)
            continue;
        struct satchel_store_row *out = &dirty[(*dirty_count)++];
        satchel_buffer_clear(&run->scratch);
        enum satchel_status status =
            satchel_version_encode(row->row.version, &run->store->ids, &run->scratch);
        if (status != SATCHEL_OK && status != SATCHEL_LIMIT)
            return status;
        *out = row->stored;
        if (status == SATCHEL_LIMIT) {
            is_refused = true;
            refusals[*dirty_count - 1] = satchel_span_text(
                "the values in conflict on this row are too large together: resolve some first");
            continue;
        }
        out->version = satchel_arena_copy(&run->arena, satchel_buffer_span(&run->scratch));
        if (!out->version.data)
            return SATCHEL_NOMEM;
        out->existed = row->stored.exists;
        out->exists = row->row.exists;
        out->values = row->row.values;
        out->changed = row->changed;
    }
    return is_refused ? SATCHEL_REFUSED : SATCHEL_OK;
}

/* The parts of a lone change set whose rows the schema refuses are set aside for its next run. */
static enum satchel_status set_aside(struct merge_run *run, const struct satchel_store_row *dirty,
                                     const struct satchel_span *refusals, size_t dirty_count)
{
    struct merge_changeset *changeset = &run->changesets[0];
    for (size_t i = 0; i < dirty_count; i++) {
        if (!refusals[i].data)
            continue;
        const struct merge_row *row = satchel_map_get(&run->row_by_name, dirty[i].name);
        for (uint32_t p = 0; p < changeset->content.header.part_count; p++) {
            struct merge_part *part = &changeset->parts[p];
            if (changeset->rows[p] != row || part->reason.data)
                continue;
            part->reason = merge_reason(&run->batch->arena, (const char *)refusals[i].data);
            if (!part->reason.data)
                return SATCHEL_NOMEM;
        }
    }
    return SATCHEL_REFUSED;
}

static enum satchel_status write_rows(struct merge_run *run)
{
    size_t dirty_count;
    struct satchel_store_row *dirty =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_store_row, run->row_count);
    struct satchel_span *refusals =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_span, run->row_count);
    if (!dirty || !refusals)
        return SATCHEL_NOMEM;
    enum satchel_status status = encode_dirty(run, dirty, refusals, &dirty_count);
    if (status == SATCHEL_OK)
        status = run->store->ops->write_rows(run->store, dirty, dirty_count, refusals, &run->arena,
                                             run->batch->error);
    if (status == SATCHEL_REFUSED && run->changeset_count == 1)
        status = set_aside(run, dirty, refusals, dirty_count);
    return status;
}

static enum satchel_status write_log(struct merge_run *run)
{
    const struct satchel_store_ops *ops = run->store->ops;
    uint8_t(*hashes)[SATCHEL_HASH_BYTES] =
        satchel_arena_alloc(&run->arena, run->changeset_count * SATCHEL_HASH_BYTES);
    if (!hashes)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < run->changeset_count; i++)
        memcpy(hashes[i], run->changesets[i].hash, SATCHEL_HASH_BYTES);
    enum satchel_status status = ops->append_entries(run->store, run->entries, run->timelines,
                                                     (const uint8_t(*)[SATCHEL_HASH_BYTES])hashes,
                                                     run->changeset_count, run->batch->error);
    if (status == SATCHEL_OK && run->quarantined_count > 0)
        status = ops->write_quarantine(run->store, run->quarantined, run->quarantined_count,
                                       run->batch->error);
    if (status == SATCHEL_OK && run->conflict_count > 0)
        status = ops->write_conflicts(run->store, run->conflicts, run->conflict_count,
                                      run->batch->error);
    return status;
}

static enum satchel_status run_stretch(struct merge_run *run)
{
    run->entries = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_entry, run->changeset_count);
    run->timelines = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_span, run->changeset_count);
    if (!run->entries || !run->timelines)
        return SATCHEL_NOMEM;
    enum satchel_status status = name_rows(run);
    if (status == SATCHEL_OK)
        status = load_rows(run);
    for (size_t i = 0; status == SATCHEL_OK && i < run->changeset_count; i++)
        status = merge_changeset(run, i);
    if (status == SATCHEL_OK)
        status = write_rows(run);
    if (status == SATCHEL_OK)
        status = write_log(run);
    return status;
}

enum satchel_status merge_run_stretch(struct merge_batch *batch, size_t first, size_t count)
{
    struct merge_run run = {.batch = batch,
                            .store = batch->store,
                            .changesets = batch->changesets + first,
                            .changeset_count = count};
    satchel_arena_init(&run.arena, MERGE_ARENA_BYTES_MAX, NULL);
    satchel_arena_init(&run.timeline_arena, MERGE_TIMELINE_BYTES_MAX, NULL);
    satchel_buffer_init(&run.scratch, MERGE_VERSION_BYTES_MAX, NULL);
    satchel_map_init(&run.row_by_name, MERGE_ROWS_MAX, NULL);
    satchel_map_init(&run.write_by_name, MERGE_ROWS_MAX, NULL);
    satchel_map_init(&run.loaded_entries, MERGE_ROWS_MAX, NULL);
    enum satchel_status status = run_stretch(&run);
    if (status == SATCHEL_OK) {
        batch->head.cursor += count;
        batch->head.seq += count;
    }
    satchel_map_deinit(&run.loaded_entries);
    satchel_map_deinit(&run.write_by_name);
    satchel_map_deinit(&run.row_by_name);
    satchel_buffer_deinit(&run.scratch);
    satchel_arena_deinit(&run.timeline_arena);
    satchel_arena_deinit(&run.arena);
    return status;
}
