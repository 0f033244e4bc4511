/* Owns what goes into staging tables and how what was written here meanwhile comes on top of it.
 * Must not know where the rows come from.
 *
 * The exchange takes as long as what was written here is large, not as what was staged. For each
 * row that was here it is as if the node's had come into the table afterwards: the row stands as it
 * stood, and then the node's is applied like any other (apply_row.c). */
#include "staging.h"

#include <satchel/digest.h>
#include <satchel/mutation.h>
#include <satchel/staging_table.h>

#include <stdio.h>

enum { BATCH_ROWS = 64, BATCH_BYTES = 1 << 20 };

struct satchel_staging {
    struct satchel_apply *apply;
    struct satchel_schema schema;             /* the replica's, but for the names of the tables */
    struct satchel_row_io *rows;              /* of staging tables */
    enum { NOT_KNOWN, NONE, THERE } * states; /* by table number - 1 */
    struct satchel_arena memory;              /* as long as it lives */
    struct satchel_arena arena;               /* of a page, or a batch */

    /* rows of the node that stand against one that was here, and are to be applied */
    struct satchel_effect batch[BATCH_ROWS];
    uint32_t batch_count;
    struct satchel_buffer notes;
};

static enum satchel_status no_memory(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_NOMEM, "no memory for the first rows");
}

static enum satchel_status name_tables(struct satchel_staging *staging)
{
    const struct satchel_schema *schema = staging->apply->schema;
    struct satchel_table *tables =
        SATCHEL_ARENA_ARRAY(&staging->memory, struct satchel_table, schema->table_count + 1);
    staging->states = satchel_arena_alloc_zero(&staging->memory,
                                               (schema->table_count + 1) * sizeof *staging->states);
    if (!tables || !staging->states)
        return SATCHEL_NOMEM;
    staging->schema = *schema;
    staging->schema.tables = tables;
    for (uint32_t i = 0; i < schema->table_count; i++) {
        size_t size = strlen(SATCHEL_STAGING_PREFIX) + strlen(schema->tables[i].name) + 1;
        char *name = satchel_arena_alloc(&staging->memory, size);
        if (!name)
            return SATCHEL_NOMEM;
        snprintf(name, size, SATCHEL_STAGING_PREFIX "%s", schema->tables[i].name);
        tables[i] = schema->tables[i];
        tables[i].name = name;
    }
    return satchel_row_io_new(&staging->rows, staging->apply->replica->db, &staging->schema);
}

enum satchel_status satchel_staging_new(struct satchel_staging **out, struct satchel_apply *apply,
                                        struct satchel_error *error)
{
    struct satchel_staging *staging = satchel_alloc_zero(NULL, sizeof *staging);
    *out = NULL;
    if (!staging)
        return no_memory(error);
    staging->apply = apply;
    satchel_arena_init(&staging->memory, 16 << 20, NULL);
    satchel_arena_init(&staging->arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&staging->notes, SATCHEL_NOTES_BYTES_MAX, NULL);
    if (name_tables(staging) != SATCHEL_OK) {
        satchel_staging_free(staging);
        return no_memory(error);
    }
    *out = staging;
    return SATCHEL_OK;
}

void satchel_staging_free(struct satchel_staging *staging)
{
    if (!staging)
        return;
    satchel_row_io_free(staging->rows);
    satchel_buffer_deinit(&staging->notes);
    satchel_arena_deinit(&staging->arena);
    satchel_arena_deinit(&staging->memory);
    satchel_free(NULL, staging);
}

static const struct satchel_table *staging_table(const struct satchel_staging *staging,
                                                 const struct satchel_table *table)
{
    return &staging->schema.tables[table->number - 1];
}

/* ---- a page ---- */

static enum satchel_status is_stageable(struct satchel_staging *staging,
                                        const struct satchel_table *table, bool *out,
                                        struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    bool is_made = false;
    if (staging->states[table->number - 1] == NOT_KNOWN) {
        status =
            satchel_staging_table_make(staging->apply->replica->db, table->name, &is_made, error);
        if (status == SATCHEL_OK)
            staging->states[table->number - 1] = is_made ? THERE : NONE;
    }
    *out = staging->states[table->number - 1] == THERE;
    return status;
}

static enum satchel_status stage(struct satchel_staging *staging, const struct satchel_table *table,
                                 const struct satchel_effect *effect, struct satchel_error *error)
{
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_value, table->column_count);
    if (!values)
        return no_memory(error);
    satchel_row_fill(table, effect->key, effect->fields, effect->field_count, values);
    return satchel_row_insert(staging->rows, staging_table(staging, table), values, error);
}

enum satchel_status satchel_staging_take(struct satchel_staging *staging, struct satchel_span page,
                                         struct satchel_buffer *left, struct satchel_error *error)
{
    struct satchel_notes notes = {0}, rest = {0};
    satchel_arena_reset(&staging->arena);
    satchel_buffer_clear(left);
    /* Another sync of the replica may have dropped them since. */
    memset(staging->states, NOT_KNOWN, staging->schema.table_count * sizeof *staging->states);
    enum satchel_status status = satchel_notes_read(page, &staging->arena, &notes);
    struct satchel_effect *effects =
        SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_effect, notes.effect_count + 1);
    if (status == SATCHEL_OK && !effects)
        status = no_memory(error);
    for (uint32_t i = 0; i < notes.effect_count && status == SATCHEL_OK; i++) {
        const struct satchel_effect *effect = &notes.effects[i];
        const struct satchel_table *table = NULL;
        bool is_staged = false;
        status = satchel_apply_check(staging->apply, effect->table, effect->key_count,
                                     effect->fields, effect->field_count, &table, error);
        if (status == SATCHEL_OK && effect->kind == SATCHEL_EFFECT_WHOLE)
            status = is_stageable(staging, table, &is_staged, error);
        if (status == SATCHEL_OK && is_staged)
            status = stage(staging, table, effect, error);
        else if (status == SATCHEL_OK)
            effects[rest.effect_count++] = *effect;
    }
    rest.effects = effects;
    rest.conflicts = notes.conflicts;
    rest.conflict_count = notes.conflict_count;
    if (status == SATCHEL_OK && rest.effect_count + rest.conflict_count > 0)
        status = satchel_notes_write(left, &rest);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the first rows cannot be written: %s",
                                       satchel_status_text(status));
}

/* ---- what was here ---- */

static enum satchel_status apply_batch(struct satchel_staging *staging, struct satchel_error *error)
{
    const struct satchel_notes notes = {.effects = staging->batch,
                                        .effect_count = staging->batch_count};
    enum satchel_status status = SATCHEL_OK;
    satchel_buffer_clear(&staging->notes);
    if (staging->batch_count > 0)
        status = satchel_notes_write(&staging->notes, &notes);
    if (status == SATCHEL_OK && staging->batch_count > 0)
        status = satchel_apply_rows(staging->apply, satchel_buffer_span(&staging->notes), error);
    staging->batch_count = 0;
    satchel_arena_reset(&staging->arena);
    return status;
}

static enum satchel_status copy_key(struct satchel_staging *staging,
                                    const struct satchel_table *table,
                                    const struct satchel_value *from, struct satchel_value **out)
{
    enum satchel_status status = SATCHEL_OK;
    *out = SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_value, table->key_count);
    for (uint32_t i = 0; *out && i < table->key_count && status == SATCHEL_OK; i++)
        status = satchel_value_copy(&staging->arena, &from[i], &(*out)[i]);
    return *out ? status : SATCHEL_NOMEM;
}

/* The node's row, if it has one, leaves the table again and is to be applied. */
static enum satchel_status set_apart(struct satchel_staging *staging,
                                     const struct satchel_table *table,
                                     const struct satchel_value *row_key,
                                     struct satchel_error *error)
{
    struct satchel_apply *apply = staging->apply;
    struct satchel_value *key,
        *values = SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_value, table->column_count);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_field, table->column_count);
    struct satchel_effect *effect = &staging->batch[staging->batch_count];
    bool exists = false;
    if (!values || !fields || copy_key(staging, table, row_key, &key) != SATCHEL_OK)
        return no_memory(error);
    enum satchel_status status =
        satchel_row_read(apply->rows, table, key, &staging->arena, &exists, values, error);
    if (status != SATCHEL_OK || !exists)
        return status;
    *effect = (struct satchel_effect){.kind = SATCHEL_EFFECT_WHOLE,
                                      .table = table->number,
                                      .key = key,
                                      .key_count = table->key_count,
                                      .fields = fields};
    for (uint32_t i = 0; i < table->column_count; i++)
        if (!table->rules.columns[i].in_key)
            fields[effect->field_count++] = (struct satchel_field){i, values[i]};
    staging->batch_count++;
    return satchel_row_delete(apply->rows, table, key, error);
}

static bool is_batch_full(const struct satchel_staging *staging)
{
    return staging->batch_count == BATCH_ROWS || staging->arena.used_bytes > BATCH_BYTES;
}

/* It stands as it stood, also where it breaks a CHECK: then it was damaged, and will be mended. */
static enum satchel_status put_back(struct satchel_staging *staging,
                                    const struct satchel_table *table,
                                    const struct satchel_value *values, struct satchel_error *error)
{
    const struct satchel_apply *apply = staging->apply;
    sqlite3 *db = apply->replica->db;
    enum satchel_status status = satchel_row_insert(apply->rows, table, values, error);
    if (!satchel_apply_is_constraint(status, error))
        return status;
    status = satchel_replica_execute(db, "PRAGMA ignore_check_constraints=ON", error);
    if (status == SATCHEL_OK)
        status = satchel_row_insert(apply->rows, table, values, error);
    sqlite3_exec(db, "PRAGMA ignore_check_constraints=OFF", NULL, NULL, NULL);
    return status;
}

/* A row that was here: in what is the staging table now. */
static enum satchel_status take_row(struct satchel_staging *staging,
                                    const struct satchel_table *table,
                                    const struct satchel_value *values, struct satchel_error *error)
{
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = values[table->key_columns[i]];
    enum satchel_status status = set_apart(staging, table, key, error);
    if (status == SATCHEL_OK)
        status = put_back(staging, table, values, error);
    return status == SATCHEL_OK && is_batch_full(staging) ? apply_batch(staging, error) : status;
}

static enum satchel_status take_rows(struct satchel_staging *staging,
                                     const struct satchel_table *table, struct satchel_error *error)
{
    struct satchel_row_walk walk = {0};
    bool found = true;
    enum satchel_status status = satchel_row_walk_begin(&walk, staging->apply->replica->db,
                                                        staging_table(staging, table), NULL, error);
    while (status == SATCHEL_OK &&
           (status = satchel_row_walk_next(&walk, &found, error)) == SATCHEL_OK && found)
        status = take_row(staging, table, walk.values, error);
    satchel_row_walk_end(&walk);
    return status;
}

/* A row that was deleted here waits for the node, too. */
static enum satchel_status take_deleted(struct satchel_staging *staging,
                                        const struct satchel_pending_row *row,
                                        struct satchel_error *error)
{
    struct satchel_apply *apply = staging->apply;
    const struct satchel_value *key;
    uint32_t number = 0, key_count = 0;
    bool was_here = false;
    enum satchel_status status =
        satchel_row_name_read(row->name, &staging->arena, &number, &key, &key_count);
    const struct satchel_table *table =
        status == SATCHEL_OK ? satchel_schema_table(apply->schema, number) : NULL;
    if (!table || staging->states[number - 1] != THERE || key_count != table->key_count)
        return status;
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_value, table->column_count);
    if (!values)
        return no_memory(error);
    status = satchel_row_read(staging->rows, staging_table(staging, table), key, &staging->arena,
                              &was_here, values, error);
    if (status == SATCHEL_OK && !was_here)
        status = set_apart(staging, table, key, error);
    return status == SATCHEL_OK && is_batch_full(staging) ? apply_batch(staging, error) : status;
}

static enum satchel_status take_what_was_here(struct satchel_staging *staging,
                                              struct satchel_error *error)
{
    struct satchel_apply *apply = staging->apply;
    enum satchel_status status = SATCHEL_OK;
    struct satchel_span name;
    size_t index = 0;
    void *row;
    satchel_arena_reset(&staging->arena);
    staging->batch_count = 0;
    for (uint32_t i = 0; i < apply->schema->table_count && status == SATCHEL_OK; i++)
        if (staging->states[i] == THERE)
            status = take_rows(staging, &apply->schema->tables[i], error);
    while (status == SATCHEL_OK && satchel_map_next(&apply->pending.rows, &index, &name, &row))
        status = take_deleted(staging, row, error);
    return status == SATCHEL_OK ? apply_batch(staging, error) : status;
}

/* An earlier session may have made them. */
static enum satchel_status find_tables(struct satchel_staging *staging, struct satchel_error *error)
{
    struct satchel_apply *apply = staging->apply;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < apply->schema->table_count && status == SATCHEL_OK; i++) {
        bool is_there = false;
        status = satchel_staging_table_find(apply->replica->db, apply->schema->tables[i].name,
                                            &is_there, error);
        staging->states[i] = is_there ? THERE : NONE;
        apply->is_touched[i] = apply->is_touched[i] || is_there;
    }
    return status;
}

enum satchel_status satchel_staging_exchange(struct satchel_staging *staging, bool *is_done,
                                             struct satchel_error *error)
{
    sqlite3 *db = staging->apply->replica->db;
    *is_done = false;
    enum satchel_status status = find_tables(staging, error);
    if (status == SATCHEL_OK)
        status = satchel_staging_tables_exchange(db, is_done, error);
    if (status == SATCHEL_OK && *is_done && !SATCHEL_MUTATED(bare_exchange))
        status = take_what_was_here(staging, error);
    return status == SATCHEL_OK && *is_done ? satchel_staging_tables_drop(db, error) : status;
}
