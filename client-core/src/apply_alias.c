/* Owns what the merging of rows means to a replica: an entry makes a row the alias of another, or a
 * row of its own again. Pending writes to an alias are shown on the row it stands for, so they
 * change places in the pending index; the node's values of the rows they leave and come to go to
 * satchel_base first, because the writes no longer tell them. */
#include "apply.h"

/* A row that pending writes leave, or come to. */
struct satchel_moved_row {
    struct satchel_moved_row *next;
    const struct satchel_table *table;
    const struct satchel_value *key;
    struct satchel_span name;
};

static enum satchel_status row_name(struct satchel_apply *apply, uint32_t table,
                                    const struct satchel_value *key, uint32_t key_count,
                                    struct satchel_span *name)
{
    satchel_buffer_clear(&apply->name);
    enum satchel_status status = satchel_row_name(&apply->name, table, key, key_count);
    if (status != SATCHEL_OK)
        return status;
    *name = satchel_arena_copy(&apply->arena, satchel_buffer_span(&apply->name));
    return name->data ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* ---- looking up ---- */

enum satchel_status satchel_apply_resolve(struct satchel_apply *apply,
                                          const struct satchel_table *table,
                                          const struct satchel_value **key, bool *is_alias,
                                          struct satchel_error *error)
{
    struct satchel_span name, survivor;
    uint32_t number, key_count;
    *is_alias = false;
    if (!apply->has_aliases || !table->rules.has_keys)
        return SATCHEL_OK;
    enum satchel_status status = row_name(apply, table->number, *key, table->key_count, &name);
    if (status == SATCHEL_OK)
        status = satchel_alias_survivor(apply->aliases, name, &apply->arena, &survivor, error);
    if (status != SATCHEL_OK || survivor.size == 0)
        return status;
    *is_alias = true;
    return satchel_row_name_read(survivor, &apply->arena, &number, key, &key_count);
}

static const struct satchel_table *target_of(const struct satchel_schema *schema,
                                             const struct satchel_reference *reference,
                                             const struct satchel_value *values)
{
    if (reference->target != 0)
        return satchel_schema_table(schema, reference->target);
    const struct satchel_value *type = &values[reference->type_column];
    char name[256];
    if (type->type != SATCHEL_TEXT || type->bytes.size >= sizeof name)
        return NULL;
    memcpy(name, type->bytes.data, type->bytes.size);
    name[type->bytes.size] = '\0';
    return satchel_schema_find(schema, name);
}

enum satchel_status satchel_apply_resolve_references(struct satchel_apply *apply,
                                                     struct satchel_row_plan *plan,
                                                     struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < apply->schema->reference_count && status == SATCHEL_OK; i++) {
        const struct satchel_reference *reference = &apply->schema->references[i];
        uint32_t column = reference->column;
        if (reference->table != plan->table->number ||
            !plan->hides[plan->table->rules.columns[column].unit])
            continue;
        const struct satchel_table *target = target_of(apply->schema, reference, plan->shown);
        const struct satchel_value *key = &plan->shown[column];
        bool is_alias = false;
        if (target && target->key_count == 1)
            status = satchel_apply_resolve(apply, target, &key, &is_alias, error);
        if (is_alias)
            plan->shown[column] = *key;
    }
    return status;
}

/* ---- rows that pending writes leave or come to ---- */

static enum satchel_status store_node(struct satchel_apply *apply,
                                      const struct satchel_row_plan *plan,
                                      struct satchel_error *error)
{
    sqlite3_stmt *write = apply->statements[APPLY_WRITE_BASE];
    satchel_buffer_clear(&apply->scratch);
    enum satchel_status status =
        satchel_base_encode(&apply->scratch, &plan->node, plan->table->column_count);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_blob64(write, 1, plan->name.data, plan->name.size, SQLITE_STATIC);
    sqlite3_bind_blob64(write, 2, apply->scratch.data, apply->scratch.size, SQLITE_STATIC);
    apply->has_base = true;
    return satchel_apply_run(apply, APPLY_WRITE_BASE, "write satchel_base", error);
}

/* Before the index changes: what the node holds of the row, by all that tells it now. */
static enum satchel_status move(struct satchel_apply *apply, const struct satchel_table *table,
                                struct satchel_span name, struct satchel_error *error)
{
    struct satchel_moved_row *moved;
    struct satchel_row_plan *plan;
    uint32_t number, key_count;
    for (moved = apply->moved; moved; moved = moved->next)
        if (satchel_span_equal(moved->name, name))
            return SATCHEL_OK;
    moved = SATCHEL_ARENA_ARRAY(&apply->arena, struct satchel_moved_row, 1);
    if (!moved)
        return SATCHEL_NOMEM;
    enum satchel_status status =
        satchel_row_name_read(name, &apply->arena, &number, &moved->key, &key_count);
    if (status != SATCHEL_OK)
        return status;
    moved->table = table;
    moved->name = name;
    moved->next = apply->moved;
    apply->moved = moved;
    status = satchel_row_plan_get(apply, table, moved->key, name, &plan, error);
    return status == SATCHEL_OK ? store_node(apply, plan, error) : status;
}

/* `survivor` empty: the row becomes one of its own again. */
static enum satchel_status set_alias(struct satchel_apply *apply, const struct satchel_table *table,
                                     struct satchel_span name, struct satchel_span survivor,
                                     struct satchel_error *error)
{
    struct satchel_span before = satchel_span_of(NULL, 0);
    enum satchel_status status = SATCHEL_OK;
    if (apply->has_aliases)
        status = satchel_alias_survivor(apply->aliases, name, &apply->arena, &before, error);
    if (status != SATCHEL_OK || satchel_span_equal(before, survivor))
        return status;
    if (apply->pending.row_count > 0) {
        status = move(apply, table, name, error);
        if (status == SATCHEL_OK && before.size > 0)
            status = move(apply, table, before, error);
        if (status == SATCHEL_OK && survivor.size > 0)
            status = move(apply, table, survivor, error);
    }
    if (status != SATCHEL_OK)
        return status;
    apply->has_new_aliases = true;
    apply->has_aliases = true; /* until they are counted */
    return survivor.size > 0 ? satchel_alias_put(apply->aliases, name, survivor, error)
                             : satchel_alias_drop(apply->aliases, name, error);
}

/* The aliases of a row that becomes one itself go with it. */
static enum satchel_status set_aliases(struct satchel_apply *apply,
                                       const struct satchel_table *table, struct satchel_span name,
                                       struct satchel_span survivor, struct satchel_error *error)
{
    struct satchel_span *names = NULL;
    uint32_t count = 0;
    enum satchel_status status = SATCHEL_OK;
    if (apply->has_aliases && survivor.size > 0)
        status = satchel_alias_list(apply->aliases, name, &apply->arena, &names, &count, error);
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++)
        if (!satchel_span_equal(names[i], survivor))
            status = set_alias(apply, table, names[i], survivor, error);
    return status == SATCHEL_OK ? set_alias(apply, table, name, survivor, error) : status;
}

static enum satchel_status take_effect(struct satchel_apply *apply,
                                       const struct satchel_effect *effect,
                                       struct satchel_error *error)
{
    const struct satchel_table *table = satchel_schema_table(apply->schema, effect->table);
    struct satchel_span name, survivor = satchel_span_of(NULL, 0);
    bool is_alias = effect->kind == SATCHEL_EFFECT_ALIAS;
    if (!table || table->is_local || effect->key_count != table->key_count)
        return SATCHEL_OK; /* refused when its turn comes */
    if (!is_alias && (!apply->has_aliases || !table->rules.has_keys))
        return SATCHEL_OK;
    enum satchel_status status =
        row_name(apply, effect->table, effect->key, effect->key_count, &name);
    if (status == SATCHEL_OK && is_alias)
        status = row_name(apply, effect->table, effect->into, effect->key_count, &survivor);
    return status == SATCHEL_OK ? set_aliases(apply, table, name, survivor, error) : status;
}

enum satchel_status satchel_apply_aliases(struct satchel_apply *apply,
                                          const struct satchel_notes *notes,
                                          struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    apply->moved = NULL;
    apply->has_new_aliases = false;
    for (uint32_t i = 0; i < notes->effect_count && status == SATCHEL_OK; i++)
        status = take_effect(apply, &notes->effects[i], error);
    if (status != SATCHEL_OK || !apply->has_new_aliases)
        return status;
    status = satchel_alias_any(apply->aliases, &apply->has_aliases, error);
    if (status != SATCHEL_OK || !apply->moved)
        return status;
    satchel_pending_clear(&apply->pending);
    apply->pending.aliases = apply->has_aliases ? apply->aliases : NULL;
    return satchel_pending_load(&apply->pending, error);
}

/* ---- showing them ---- */

/* Whether a pending field of the change set points at a row that has moved. */
static bool points_at_moved(const struct satchel_apply *apply, const struct satchel_part *part)
{
    const struct satchel_table *table = satchel_schema_table(apply->schema, part->table);
    for (uint32_t i = 0; table && i < part->field_count; i++) {
        const struct satchel_field *field = &part->fields[i];
        if (field->column >= table->column_count ||
            !table->rules.columns[field->column].is_reference)
            continue;
        for (const struct satchel_moved_row *moved = apply->moved; moved; moved = moved->next)
            if (satchel_value_equal(&field->value, &moved->key[0]))
                return true;
    }
    return false;
}

static enum satchel_status plan_pointing(struct satchel_apply *apply, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (struct satchel_pending_set *set = apply->pending.first; set && status == SATCHEL_OK;
         set = set->next) {
        for (uint32_t i = 0; i < set->op_count && status == SATCHEL_OK; i++) {
            const struct satchel_pending_op *op = &set->ops[i];
            struct satchel_row_plan *plan;
            if (points_at_moved(apply, &op->part))
                status =
                    satchel_row_plan_get(apply, satchel_schema_table(apply->schema, op->part.table),
                                         op->row->key, op->row->name, &plan, error);
        }
    }
    return status;
}

enum satchel_status satchel_apply_plan_moved(struct satchel_apply *apply,
                                             struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (const struct satchel_moved_row *moved = apply->moved; moved && status == SATCHEL_OK;
         moved = moved->next) {
        struct satchel_row_plan *plan;
        status = satchel_row_plan_get(apply, moved->table, moved->key, moved->name, &plan, error);
        if (status == SATCHEL_OK) /* what came to be shown here hides the node's values */
            status = satchel_row_plan_touch(apply, plan, SATCHEL_EFFECT_WHOLE, NULL, 0);
    }
    return status == SATCHEL_OK && apply->moved ? plan_pointing(apply, error) : status;
}
