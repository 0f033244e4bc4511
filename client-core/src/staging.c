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
    enum { NOT_KNOWN, NONE, READY } * states; /* by table number - 1; READY in one transaction */
    bool indexes_wait;                        /* those of tables that are made from now on */
    struct satchel_arena memory;              /* as long as it lives */
    struct satchel_arena arena;               /* of a page, or of `apart` */
    struct satchel_arena scratch;             /* of a row */

    /* rows of the node that stand against one that was here, and are to be applied; in `arena` */
    struct satchel_effect *apart;
    uint32_t apart_count, apart_capacity;
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
                                        bool indexes_wait, struct satchel_error *error)
{
    struct satchel_staging *staging = satchel_alloc_zero(NULL, sizeof *staging);
    *out = NULL;
    if (!staging)
        return no_memory(error);
    staging->apply = apply;
    staging->indexes_wait = indexes_wait;
    satchel_arena_init(&staging->memory, 16 << 20, NULL);
    satchel_arena_init(&staging->arena, SIZE_MAX / 2, NULL);
    satchel_arena_init(&staging->scratch, SIZE_MAX / 2, NULL);
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
    satchel_arena_deinit(&staging->scratch);
    satchel_arena_deinit(&staging->arena);
    satchel_arena_deinit(&staging->memory);
    satchel_free(NULL, staging);
}

static const struct satchel_table *staging_table(const struct satchel_staging *staging,
                                                 const struct satchel_table *table)
{
    return &staging->schema.tables[table->number - 1];
}

bool satchel_staging_fits(const struct satchel_staging *staging)
{
    return staging->schema.migration_count == staging->apply->migration_count;
}

/* ---- a page ---- */

static enum satchel_status is_stageable(struct satchel_staging *staging,
                                        const struct satchel_table *table, bool *out,
                                        struct satchel_error *error)
{
    enum satchel_staging_state state;
    enum satchel_status status = SATCHEL_OK;
    if (staging->states[table->number - 1] == NOT_KNOWN) {
        status = satchel_staging_table_make(staging->apply->replica->db, table->name,
                                            staging->indexes_wait, &state, error);
        if (status == SATCHEL_OK && state == SATCHEL_STAGING_STALE)
            status = satchel_error_set(error, SATCHEL_AGAIN,
                                       "table %s has changed while the replica was being filled",
                                       table->name);
        if (status == SATCHEL_OK)
            staging->states[table->number - 1] = state == SATCHEL_STAGING_READY ? READY : NONE;
    }
    *out = staging->states[table->number - 1] == READY;
    return status;
}

static enum satchel_status stage(struct satchel_staging *staging, const struct satchel_table *table,
                                 const struct satchel_effect *effect, struct satchel_error *error)
{
    satchel_arena_reset(&staging->scratch);
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&staging->scratch, struct satchel_value, table->column_count);
    struct satchel_error refused = {0};
    if (!values)
        return no_memory(error);
    satchel_row_fill(table, effect->key, effect->fields, effect->field_count, values);
    enum satchel_status status =
        satchel_row_insert(staging->rows, staging_table(staging, table), values, &refused);
    if (satchel_apply_is_constraint(status, &refused))
        return satchel_error_set(error, status,
                                 "the first rows of table %s cannot be written: %s; a UNIQUE index "
                                 "or CHECK of the application's own stands against them: drop it "
                                 "and sync again",
                                 table->name, refused.message);
    if (status != SATCHEL_OK && error)
        *error = refused;
    return status;
}

/* Another sync of the replica may have dropped what there was; what cannot be stays so. */
static void forget_states(struct satchel_staging *staging)
{
    for (uint32_t i = 0; i < staging->schema.table_count; i++)
        if (staging->states[i] == READY)
            staging->states[i] = NOT_KNOWN;
}

static enum satchel_status take_effect(struct satchel_staging *staging,
                                       const struct satchel_effect *effect, bool *is_staged,
                                       struct satchel_error *error)
{
    const struct satchel_table *table = NULL;
    *is_staged = false;
    enum satchel_status status =
        satchel_apply_check(staging->apply, effect->table, effect->key_count, effect->fields,
                            effect->field_count, &table, error);
    if (status == SATCHEL_OK && effect->kind == SATCHEL_EFFECT_WHOLE)
        status = is_stageable(staging, table, is_staged, error);
    return status == SATCHEL_OK && *is_staged ? stage(staging, table, effect, error) : status;
}

enum satchel_status satchel_staging_take(struct satchel_staging *staging, struct satchel_span page,
                                         uint32_t *row, bool (*is_over)(void *context),
                                         void *context, bool *is_whole, struct satchel_buffer *left,
                                         struct satchel_error *error)
{
    struct satchel_notes notes = {0}, rest = {0};
    uint32_t first = *row;
    satchel_arena_reset(&staging->arena);
    satchel_buffer_clear(left);
    forget_states(staging);
    enum satchel_status status = satchel_notes_read(page, &staging->arena, &notes);
    struct satchel_effect *effects =
        SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_effect, notes.effect_count + 1);
    if (status == SATCHEL_OK && !effects)
        status = no_memory(error);
    while (status == SATCHEL_OK && *row < notes.effect_count &&
           (*row % BATCH_ROWS != 0 || *row == first || !is_over(context))) {
        bool is_staged = false;
        status = take_effect(staging, &notes.effects[*row], &is_staged, error);
        if (!is_staged)
            effects[rest.effect_count++] = notes.effects[*row];
        (*row)++;
    }
    *is_whole = *row >= notes.effect_count;
    rest.effects = effects;
    rest.conflicts = notes.conflicts;
    rest.conflict_count = *is_whole ? notes.conflict_count : 0;
    if (status == SATCHEL_OK && rest.effect_count + rest.conflict_count > 0)
        status = satchel_notes_write(left, &rest);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the first rows cannot be written: %s",
                                       satchel_status_text(status));
}

/* ---- what was here ---- */

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

/* All columns but the key's. */
static enum satchel_status copy_fields(struct satchel_staging *staging,
                                       const struct satchel_table *table,
                                       const struct satchel_value *values,
                                       struct satchel_effect *effect)
{
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_field, table->column_count);
    enum satchel_status status = fields ? SATCHEL_OK : SATCHEL_NOMEM;
    for (uint32_t i = 0; i < table->column_count && status == SATCHEL_OK; i++) {
        if (table->rules.columns[i].in_key)
            continue;
        struct satchel_field *field = &fields[effect->field_count++];
        field->column = i;
        status = satchel_value_copy(&staging->arena, &values[i], &field->value);
    }
    effect->fields = fields;
    return status;
}

static enum satchel_status add_apart(struct satchel_staging *staging, enum satchel_effect_kind kind,
                                     const struct satchel_table *table,
                                     const struct satchel_value *key,
                                     const struct satchel_value *values)
{
    if (staging->apart_count == staging->apart_capacity) {
        uint32_t capacity = staging->apart_capacity ? 2 * staging->apart_capacity : 64;
        struct satchel_effect *grown =
            SATCHEL_ARENA_ARRAY(&staging->arena, struct satchel_effect, capacity);
        if (!grown)
            return SATCHEL_NOMEM;
        if (staging->apart_count > 0)
            memcpy(grown, staging->apart, staging->apart_count * sizeof *grown);
        staging->apart = grown;
        staging->apart_capacity = capacity;
    }
    struct satchel_effect *effect = &staging->apart[staging->apart_count];
    struct satchel_value *copy = NULL;
    *effect = (struct satchel_effect){
        .kind = kind, .table = table->number, .key_count = table->key_count};
    enum satchel_status status = copy_key(staging, table, key, &copy);
    if (status == SATCHEL_OK && values)
        status = copy_fields(staging, table, values, effect);
    effect->key = copy;
    staging->apart_count += status == SATCHEL_OK;
    return status;
}

/* The node's row, if it has one, leaves the table again and is to be applied. */
static enum satchel_status set_apart(struct satchel_staging *staging,
                                     const struct satchel_table *table,
                                     const struct satchel_value *key, struct satchel_error *error)
{
    struct satchel_row_io *rows = staging->apply->rows;
    satchel_arena_reset(&staging->scratch);
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&staging->scratch, struct satchel_value, table->column_count);
    bool exists = false;
    if (!values)
        return no_memory(error);
    enum satchel_status status =
        satchel_row_read(rows, table, key, &staging->scratch, &exists, values, error);
    if (status != SATCHEL_OK || !exists)
        return status;
    if (add_apart(staging, SATCHEL_EFFECT_WHOLE, table, key, values) != SATCHEL_OK)
        return no_memory(error);
    return satchel_row_delete(rows, table, key, error);
}

static bool is_apart(const struct satchel_staging *staging, const struct satchel_table *table,
                     const struct satchel_value *key)
{
    for (uint32_t i = 0; i < staging->apart_count; i++) {
        const struct satchel_effect *effect = &staging->apart[i];
        uint32_t k = 0;
        while (effect->table == table->number && k < table->key_count &&
               satchel_value_equal(&effect->key[k], &key[k]))
            k++;
        if (effect->table == table->number && k == table->key_count)
            return true;
    }
    return false;
}

/* The row stands as it stood. One that breaks a CHECK was damaged: what is pending on it says what
 * it is. */
static enum satchel_status put_back(struct satchel_staging *staging,
                                    const struct satchel_table *table,
                                    const struct satchel_value *key,
                                    const struct satchel_value *values, struct satchel_error *error)
{
    enum satchel_status status = satchel_row_insert(staging->apply->rows, table, values, error);
    if (!satchel_apply_is_constraint(status, error) ||
        (error->native_code & 0xffff) != SQLITE_CONSTRAINT_CHECK)
        return status;
    if (is_apart(staging, table, key))
        return SATCHEL_OK;
    return add_apart(staging, SATCHEL_EFFECT_GONE, table, key, NULL) == SATCHEL_OK
               ? SATCHEL_OK
               : no_memory(error);
}

/* Rows that were here stand in what is the staging table now. */
static enum satchel_status each_row(struct satchel_staging *staging,
                                    const struct satchel_table *table, bool is_to_be_put_back,
                                    struct satchel_error *error)
{
    struct satchel_row_walk walk = {0};
    bool found = true;
    enum satchel_status status = satchel_row_walk_begin(&walk, staging->apply->replica->db,
                                                        staging_table(staging, table), NULL, error);
    while (status == SATCHEL_OK &&
           (status = satchel_row_walk_next(&walk, &found, error)) == SATCHEL_OK && found) {
        struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
        for (uint32_t i = 0; i < table->key_count; i++)
            key[i] = walk.values[table->key_columns[i]];
        status = is_to_be_put_back ? put_back(staging, table, key, walk.values, error)
                                   : set_apart(staging, table, key, error);
    }
    satchel_row_walk_end(&walk);
    return status;
}

static enum satchel_status each_table(struct satchel_staging *staging, bool is_to_be_put_back,
                                      struct satchel_error *error)
{
    const struct satchel_schema *schema = staging->apply->schema;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < schema->table_count && status == SATCHEL_OK; i++)
        if (staging->states[i] == READY)
            status = each_row(staging, &schema->tables[i], is_to_be_put_back, error);
    return status;
}

/* A row that was deleted here waits for the node, too. One that was not is set apart already. */
static enum satchel_status set_deleted_apart(struct satchel_staging *staging,
                                             const struct satchel_pending_row *row,
                                             struct satchel_error *error)
{
    struct satchel_apply *apply = staging->apply;
    const struct satchel_value *key;
    uint32_t number = 0, key_count = 0;
    enum satchel_status status =
        satchel_row_name_read(row->name, &staging->arena, &number, &key, &key_count);
    const struct satchel_table *table =
        status == SATCHEL_OK ? satchel_schema_table(apply->schema, number) : NULL;
    return table && staging->states[number - 1] == READY && key_count == table->key_count
               ? set_apart(staging, table, key, error)
               : status;
}

static enum satchel_status apply_apart(struct satchel_staging *staging, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < staging->apart_count && status == SATCHEL_OK;) {
        struct satchel_notes notes = {.effects = staging->apart + i};
        size_t bytes = 0;
        while (i < staging->apart_count && notes.effect_count < BATCH_ROWS && bytes < BATCH_BYTES) {
            const struct satchel_effect *effect = &staging->apart[i++];
            for (uint32_t f = 0; f < effect->field_count; f++)
                bytes += effect->fields[f].value.bytes.size;
            notes.effect_count++;
        }
        satchel_buffer_clear(&staging->notes);
        status = satchel_notes_write(&staging->notes, &notes);
        if (status == SATCHEL_OK)
            status =
                satchel_apply_rows(staging->apply, satchel_buffer_span(&staging->notes), error);
    }
    return status;
}

/* Every row steps aside before any comes back: values may have changed places under a UNIQUE
 * index. */
static enum satchel_status take_what_was_here(struct satchel_staging *staging,
                                              struct satchel_error *error)
{
    struct satchel_span name;
    size_t index = 0;
    void *row;
    satchel_arena_reset(&staging->arena);
    staging->apart = NULL;
    staging->apart_count = staging->apart_capacity = 0;
    enum satchel_status status = each_table(staging, false, error);
    while (status == SATCHEL_OK &&
           satchel_map_next(&staging->apply->pending.rows, &index, &name, &row))
        status = set_deleted_apart(staging, row, error);
    if (status == SATCHEL_OK)
        status = each_table(staging, true, error);
    return status == SATCHEL_OK ? apply_apart(staging, error) : status;
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
        staging->states[i] = is_there ? READY : NONE;
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
    return status;
}
