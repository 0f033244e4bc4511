/* Owns one run of the merge: rows loaded in bulk, change sets merged into them in order, everything
 * written at once. */
#include "merge_internal.h"

/* ---- the rows of the parts ---- */

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
        struct merge_row *row = merge_row_name(run, part->table, changeset->content.parts[p].key);
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
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < run->changeset_count; i++)
        status = name_rows_of(run, &run->changesets[i]);
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

enum satchel_status merge_take_back(struct merge_run *run, struct merge_changeset *changeset,
                                    uint32_t part, const char *reason)
{
    struct merge_part *fault = &changeset->parts[part];
    if (run->changeset_count > 1)
        return SATCHEL_REFUSED;
    run->is_to_be_redone = true;
    if (fault->reason.data)
        return SATCHEL_OK;
    fault->reason = merge_reason(&run->batch->arena, reason);
    return fault->reason.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

bool merge_lacks_value(const struct merge_row *row)
{
    const struct satchel_table *table = row->stored.table;
    for (uint32_t i = 0; row->row.exists && i < table->column_count; i++)
        if (table->columns[i].not_null && row->row.values[i].type == SATCHEL_NULL &&
            !table->rules.columns[i].in_key)
            return true;
    return false;
}

static enum satchel_status keep_gone(struct merge_run *run, const struct merge_row *row)
{
    enum satchel_status status =
        MERGE_GROW(&run->arena, run->gone, run->gone_count, run->gone_capacity);
    if (status == SATCHEL_OK)
        run->gone[run->gone_count++] =
            (struct satchel_store_gone){row->last_parent->stored.name, row->stored.name};
    return status;
}

enum satchel_status merge_row_settle(struct merge_run *run, struct merge_row *row,
                                     const struct satchel_merge_result *result,
                                     const struct satchel_freeze *freeze, uint32_t cause)
{
    const struct satchel_table *table = row->stored.table;
    enum satchel_status status = SATCHEL_OK;
    row->is_dirty = row->is_known = true;
    row->was_gone = row->was_gone || !row->row.exists;
    row->cause = cause;
    for (uint32_t column = 0; column < table->column_count; column++)
        row->changed[column] |= result->changed[column];
    /* What a later change set of the run may mend: alone, SQLite refuses it (merge.c). */
    if (run->changeset_count > 1 && merge_lacks_value(row))
        return SATCHEL_REFUSED;
    if (run->batch->freezes_others[table->number - 1] &&
        !merge_freeze_equal(freeze, merge_freeze_of(row)))
        status = merge_touch_add(run, row, true, cause);
    if (status == SATCHEL_OK && !row->row.exists && result->existed_before && row->last_parent)
        status = keep_gone(run, row);
    if (status == SATCHEL_OK && run->batch->unnumbered)
        status = merge_unnumbered_add(run->batch->unnumbered, row);
    return status;
}

/* The row by itself. REFUSED with `refusal`: by its rules, and nothing has happened. */
static enum satchel_status merge_alone(struct merge_run *run, struct merge_changeset *changeset,
                                       uint32_t index, struct merge_notes *notes,
                                       const struct satchel_write *write,
                                       struct satchel_error *refusal)
{
    const struct satchel_part *part = &changeset->content.parts[index];
    struct merge_row *row = changeset->rows[index];
    struct satchel_merge_result result = {0};
    enum satchel_status status = row->has_conflicts ? SATCHEL_OK : merge_conflicts_list(run, row);
    struct satchel_conflict_list before = row->conflicts;
    const struct satchel_freeze *freeze = merge_freeze_of(row);
    if (status == SATCHEL_OK)
        status = merge_context_set(row, part->kind == SATCHEL_OP_INSERT ? part : NULL);
    if (status == SATCHEL_OK)
        status = merge_write(run, row, write, &result, refusal);
    if (status == SATCHEL_REFUSED && !refusal->message[0])
        satchel_error_set(refusal, status, "a rule of the schema refuses the write");
    if (status != SATCHEL_OK)
        return status;
    satchel_version_set_timeline(row->row.version, changeset->cursor);
    status = merge_row_settle(run, row, &result, freeze, index);
    if (status == SATCHEL_OK)
        status = merge_note_effect(run, notes, part, index, row, &result);
    if (status == SATCHEL_LIMIT)
        status = merge_take_back(run, changeset, index, MERGE_TOO_LARGE);
    if (status == SATCHEL_OK)
        status = merge_conflicts_list(run, row);
    if (status == SATCHEL_OK)
        status = merge_note_conflicts(run, row, &before, changeset->stamp);
    return status;
}

/* The row with those that may be one with it. As merge_alone. */
static enum satchel_status merge_with(struct merge_run *run, struct merge_changeset *changeset,
                                      uint32_t index, struct merge_notes *notes,
                                      const struct satchel_write *write, struct merge_row **members,
                                      uint32_t member_count, struct satchel_error *refusal)
{
    if (member_count == 1)
        return merge_alone(run, changeset, index, notes, write, refusal);
    enum satchel_status status =
        merge_cluster(run, changeset, notes, members, member_count, write, index, refusal);
    if (status == SATCHEL_OK)
        satchel_version_set_timeline(members[0]->row.version, changeset->cursor);
    return status;
}

/* The row, and those that may be one with it: found by their keys. As merge_alone. */
static enum satchel_status merge_together(struct merge_run *run, struct merge_changeset *changeset,
                                          uint32_t index, struct merge_notes *notes,
                                          const struct satchel_write *write,
                                          struct merge_row ***members, uint32_t *member_count,
                                          struct satchel_error *refusal)
{
    struct merge_row *row = changeset->rows[index];
    struct merge_keys_mark mark;
    enum satchel_status status =
        merge_keys_meet(run, row, &changeset->content.parts[index], &mark, members, member_count);
    if (status == SATCHEL_LIMIT)
        status = satchel_error_set(refusal, SATCHEL_REFUSED,
                                   "too many rows have the same keys as this one");
    else if (status == SATCHEL_OK)
        status = merge_with(run, changeset, index, notes, write, *members, *member_count, refusal);
    if (status != SATCHEL_REFUSED)
        return status;
    enum satchel_status taken = merge_keys_take_back(run, row, &mark);
    return taken == SATCHEL_OK ? status : taken;
}

/* Rows that are judged by something else now than when they were merged: the row written may have
 * been pointed elsewhere, or one that is a row of its own again points somewhere. */
static enum satchel_status refresh(struct merge_run *run, struct merge_changeset *changeset,
                                   uint32_t index, struct merge_notes *notes,
                                   struct merge_row **rows, uint32_t count)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < count; i++) {
        bool is_stale;
        status = merge_context_is_stale(rows[i], &is_stale);
        if (status == SATCHEL_OK && is_stale)
            status = merge_recompute(run, changeset, notes, rows[i], index);
    }
    return status;
}

static enum satchel_status merge_part(struct merge_run *run, struct merge_changeset *changeset,
                                      uint32_t index, struct merge_notes *notes)
{
    const struct satchel_part *part = &changeset->content.parts[index];
    struct merge_row *row = changeset->rows[index];
    struct satchel_span reason = changeset->parts[index].reason;
    struct satchel_error refusal = {0};
    struct satchel_write write;
    struct merge_row **members = &row;
    uint32_t member_count = 1;
    if (!reason.data && obstacle(part, row))
        satchel_error_set(&refusal, SATCHEL_REFUSED, "%s", obstacle(part, row));
    if (!reason.data && !refusal.message[0]) {
        uint64_t previous = satchel_version_timeline(row->row.version);
        merge_write_of(changeset, index, &write);
        enum satchel_status status =
            row->stored.table->rules.has_keys
                ? merge_together(run, changeset, index, notes, &write, &members, &member_count,
                                 &refusal)
                : merge_alone(run, changeset, index, notes, &write, &refusal);
        if (status == SATCHEL_OK) {
            changeset->timeline[index] = previous;
            return refresh(run, changeset, index, notes, members, member_count);
        }
        if (status != SATCHEL_REFUSED || !refusal.message[0])
            return status;
    }
    if (!reason.data)
        reason = merge_reason(&run->arena, refusal.message);
    if (!reason.data)
        return SATCHEL_NOMEM;
    return merge_note_quarantine(run, notes, part, index, row, reason);
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

/* Whether it has written what a view of the machines is read from. */
static bool feeds_machines(struct merge_run *run, const struct merge_changeset *changeset)
{
    for (uint32_t p = 0; p < changeset->content.header.part_count; p++)
        if (merge_feeds_machines(run->batch, &changeset->parts[p]))
            return true;
    return false;
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
    changeset->positions = (struct satchel_vector){&changeset->position, 1};
    enum satchel_status status = SATCHEL_OK;
    if (changeset->earlier.count > 0)
        status = satchel_vector_raise(&run->arena, &changeset->earlier, &changeset->position.node,
                                      changeset->position.seq, &changeset->positions);
    if (status == SATCHEL_OK)
        status = merge_notes_begin(run, changeset->cursor, part_count, &notes);
    for (uint32_t p = 0; status == SATCHEL_OK && p < part_count; p++)
        status = merge_part(run, changeset, p, &notes);
    if (status == SATCHEL_OK)
        status = merge_spread(run, changeset, &notes);
    if (status == SATCHEL_OK && !run->is_to_be_redone && feeds_machines(run, changeset))
        status = merge_machines_changed(run, changeset, &notes);
    if (status == SATCHEL_OK && run->is_to_be_redone)
        status = SATCHEL_REFUSED;
    if (status == SATCHEL_OK)
        status = fill_entry(run, changeset, &notes, index);
    changeset->outcome->cursor = changeset->cursor;
    changeset->outcome->quarantined_count = notes.quarantined_count;
    return status;
}

/* ---- writing ---- */

static enum satchel_status write_index(struct merge_run *run)
{
    const struct satchel_store_ops *ops = run->store->ops;
    struct satchel_error *error = run->batch->error;
    enum satchel_status status = SATCHEL_OK;
    if (run->new_key_count > 0)
        status = ops->write_keys(run->store, run->new_keys, run->new_key_count, error);
    if (status == SATCHEL_OK && run->new_alias_count > 0)
        status = ops->write_aliases(run->store, run->new_aliases, run->new_alias_count, error);
    if (status == SATCHEL_OK && run->gone_count > 0)
        status = ops->write_gone(run->store, run->gone, run->gone_count, error);
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
    for (size_t i = 0; status == SATCHEL_OK && i < run->changeset_count; i++) {
        const struct satchel_vector *earlier = &run->changesets[i].earlier;
        for (size_t j = 0; status == SATCHEL_OK && j < earlier->count; j++)
            status = ops->add_position(run->store, run->changesets[i].cursor, &earlier->items[j], 0,
                                       run->batch->error);
    }
    if (status == SATCHEL_OK)
        status = write_index(run);
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
    enum satchel_status status = merge_context_begin(run);
    if (status == SATCHEL_OK)
        status = name_rows(run);
    if (status == SATCHEL_OK)
        status = merge_rows_load(run);
    for (size_t i = 0; status == SATCHEL_OK && i < run->changeset_count; i++)
        status = merge_changeset(run, i);
    if (status == SATCHEL_OK)
        status = merge_rows_write(run);
    if (status == SATCHEL_OK)
        status = write_log(run);
    return status;
}

/* A run that writes before it knows whether it stands (machines) can be taken back. */
static enum satchel_status run_marked(struct merge_run *run)
{
    const struct satchel_store_ops *ops = run->store->ops;
    if (run->changeset_count > 1 || !feeds_machines(run, &run->changesets[0]))
        return run_stretch(run);
    enum satchel_status status = ops->mark(run->store, run->batch->error);
    if (status != SATCHEL_OK)
        return status;
    status = run_stretch(run);
    enum satchel_status ended =
        ops->release_mark(run->store, status == SATCHEL_OK, run->batch->error);
    return ended == SATCHEL_OK ? status : ended;
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
    satchel_map_init(&run.alias_by_name, MERGE_ROWS_MAX, NULL);
    satchel_map_init(&run.rows_by_key, MERGE_ROWS_MAX, NULL);
    satchel_buffer_init(&run.name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = run_marked(&run);
    if (status == SATCHEL_OK) {
        batch->head.cursor += count;
        batch->head.seq += count;
    }
    satchel_buffer_deinit(&run.name);
    satchel_map_deinit(&run.rows_by_key);
    satchel_map_deinit(&run.alias_by_name);
    satchel_map_deinit(&run.loaded_entries);
    satchel_map_deinit(&run.write_by_name);
    satchel_map_deinit(&run.row_by_name);
    satchel_buffer_deinit(&run.scratch);
    satchel_arena_deinit(&run.timeline_arena);
    satchel_arena_deinit(&run.arena);
    return status;
}
