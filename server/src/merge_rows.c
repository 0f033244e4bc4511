/* Owns the rows of a run: named, loaded in bulk before the first change set or on the way, and
 * written all at once. */
#include "merge_internal.h"

#include <stdlib.h>

enum satchel_status merge_grow(struct satchel_arena *arena, void **items, size_t count,
                               size_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return SATCHEL_OK;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = satchel_arena_array(arena, wanted, item_bytes);
    if (!grown)
        return SATCHEL_NOMEM;
    if (count > 0)
        memcpy(grown, *items, count * item_bytes);
    *items = grown;
    *capacity = wanted;
    return SATCHEL_OK;
}

/* ---- naming and loading ---- */

static struct merge_row *add_row(struct merge_run *run, const struct satchel_table *table,
                                 const struct satchel_value *key, struct satchel_span name)
{
    if (MERGE_GROW(&run->arena, run->rows, run->row_count, run->row_capacity) != SATCHEL_OK)
        return NULL;
    struct merge_row *row = satchel_arena_alloc_zero(&run->arena, sizeof *row);
    if (!row)
        return NULL;
    row->run = run;
    row->stored.table = table;
    row->stored.key = key;
    row->stored.name = satchel_arena_copy(&run->arena, name);
    if (!row->stored.name.data ||
        satchel_map_put(&run->row_by_name, row->stored.name, row) != SATCHEL_OK)
        return NULL;
    run->rows[run->row_count++] = row;
    return row;
}

struct merge_row *merge_row_name(struct merge_run *run, const struct satchel_table *table,
                                 const struct satchel_value *key)
{
    satchel_buffer_clear(&run->scratch);
    if (satchel_row_name(&run->scratch, table->number, key, table->key_count) != SATCHEL_OK)
        return NULL;
    struct satchel_span name = satchel_buffer_span(&run->scratch);
    struct merge_row *row = satchel_map_get(&run->row_by_name, name);
    return row ? row : add_row(run, table, key, name);
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
    row->row.context = &row->context;
    merge_context_load(row);
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
enum satchel_status merge_rows_load(struct merge_run *run)
{
    size_t count = run->row_count - run->loaded_count;
    if (count == 0)
        return SATCHEL_OK;
    struct satchel_store_row *stored =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_store_row, count);
    if (!stored)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < count; i++)
        stored[i] = run->rows[run->loaded_count + i]->stored;
    qsort(stored, count, sizeof *stored, compare_names);
    enum satchel_status status =
        run->store->ops->load_rows(run->store, stored, count, &run->arena, run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++)
        status = open_row(run, satchel_map_get(&run->row_by_name, stored[i].name), &stored[i]);
    run->loaded_count = run->row_count;
    return status;
}

enum satchel_status merge_row_get(struct merge_run *run, const struct satchel_table *table,
                                  const struct satchel_value *key, struct merge_row **out)
{
    *out = merge_row_name(run, table, key);
    return *out ? merge_rows_load(run) : SATCHEL_NOMEM;
}

enum satchel_status merge_row_get_named(struct merge_run *run, struct satchel_span name,
                                        struct merge_row **out)
{
    const struct satchel_value *key;
    uint32_t number, key_count;
    *out = satchel_map_get(&run->row_by_name, name);
    if (*out)
        return SATCHEL_OK;
    name = satchel_arena_copy(&run->arena, name); /* its values stay */
    if (!name.data)
        return SATCHEL_NOMEM;
    enum satchel_status status =
        satchel_row_name_read(name, &run->arena, &number, &key, &key_count);
    const struct satchel_table *table =
        status == SATCHEL_OK ? satchel_schema_table(run->store->schema, number) : NULL;
    if (status == SATCHEL_NOMEM)
        return status;
    if (!table || table->key_count != key_count)
        return satchel_error_set(run->batch->error, SATCHEL_CORRUPT,
                                 "the store names a row that fits no table; restore a backup");
    return merge_row_get(run, table, key, out);
}

/* ---- writing ---- */

static size_t collect_dirty(const struct merge_run *run, struct satchel_store_row *dirty)
{
    size_t count = 0;
    for (size_t i = 0; i < run->loaded_count; i++)
        if (run->rows[i]->is_dirty)
            dirty[count++] = run->rows[i]->stored;
    qsort(dirty, count, sizeof *dirty, compare_names);
    return count;
}

/* REFUSED: the version of some rows is too large. */
static enum satchel_status encode_dirty(struct merge_run *run, struct satchel_store_row *dirty,
                                        struct satchel_span *refusals, size_t dirty_count)
{
    bool is_refused = false;
    for (size_t i = 0; i < dirty_count; i++) {
        const struct merge_row *row = satchel_map_get(&run->row_by_name, dirty[i].name);
        struct satchel_store_row *out = &dirty[i];
        satchel_buffer_clear(&run->scratch);
        enum satchel_status status =
            satchel_version_encode(row->row.version, &run->store->ids, &run->scratch);
        if (status != SATCHEL_OK && status != SATCHEL_LIMIT)
            return status;
        if (status == SATCHEL_LIMIT) {
            is_refused = true;
            refusals[i] = satchel_span_text(
                "the values in conflict on this row are too large together: resolve some first");
            continue;
        }
        out->version = satchel_arena_copy(&run->arena, satchel_buffer_span(&run->scratch));
        if (!out->version.data)
            return SATCHEL_NOMEM;
        out->existed = row->stored.exists;
        out->exists = row->row.exists;
        out->values = row->row.values;
        out->changed = row->was_gone ? NULL : row->changed;
    }
    return is_refused ? SATCHEL_REFUSED : SATCHEL_OK;
}

/* The parts of a lone change set whose rows the schema refuses are set aside for its next run:
 * those that name such a row, or else the one that changed it from afar. */
static enum satchel_status set_aside(struct merge_run *run, const struct satchel_store_row *dirty,
                                     const struct satchel_span *refusals, size_t dirty_count)
{
    struct merge_changeset *changeset = &run->changesets[0];
    for (size_t i = 0; i < dirty_count; i++) {
        if (!refusals[i].data)
            continue;
        const struct merge_row *row = satchel_map_get(&run->row_by_name, dirty[i].name);
        bool is_named = false;
        for (uint32_t p = 0; p < changeset->content.header.part_count; p++)
            is_named = is_named || (changeset->rows[p] == row && !changeset->parts[p].reason.data);
        for (uint32_t p = 0; p < changeset->content.header.part_count; p++) {
            struct merge_part *part = &changeset->parts[p];
            bool is_at_fault = is_named ? changeset->rows[p] == row : row->cause == p;
            if (!is_at_fault || part->reason.data)
                continue;
            part->reason = merge_reason(&run->batch->arena, (const char *)refusals[i].data);
            if (!part->reason.data)
                return SATCHEL_NOMEM;
        }
    }
    return SATCHEL_REFUSED;
}

/* What has been written is what is stored now. */
static void settle(struct merge_run *run, const struct satchel_store_row *dirty, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct merge_row *row = satchel_map_get(&run->row_by_name, dirty[i].name);
        row->is_dirty = row->was_gone = false;
        row->stored.exists = row->row.exists;
        memset(row->changed, 0, row->stored.table->column_count * sizeof *row->changed);
    }
}

enum satchel_status merge_rows_write(struct merge_run *run)
{
    struct satchel_store_row *dirty =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_store_row, run->row_count);
    struct satchel_span *refusals =
        SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_span, run->row_count);
    if (!dirty || !refusals)
        return SATCHEL_NOMEM;
    size_t count = collect_dirty(run, dirty);
    enum satchel_status status = encode_dirty(run, dirty, refusals, count);
    if (status == SATCHEL_OK)
        status = run->store->ops->write_rows(run->store, dirty, count, refusals, &run->arena,
                                             run->batch->error);
    if (status == SATCHEL_OK)
        settle(run, dirty, count);
    if (status == SATCHEL_REFUSED && run->changeset_count == 1)
        status = set_aside(run, dirty, refusals, count);
    return status;
}
