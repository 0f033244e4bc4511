/* Owns what lies outside a row and judges it all the same: the state machines, the freeze of the
 * row it belongs to, and which rows stand for which. */
#include "merge_internal.h"

#include <satchel/sqlite.h>

/* ---- references ---- */

const struct satchel_table *merge_reference_target(const struct satchel_schema *schema,
                                                   const struct satchel_reference *reference,
                                                   const struct satchel_value *type)
{
    char name[SATCHEL_NAME_BYTES_MAX + 1];
    if (reference->target > 0)
        return satchel_schema_table(schema, reference->target);
    if (!type || type->type != SATCHEL_TEXT || type->bytes.size >= sizeof name)
        return NULL;
    memcpy(name, type->bytes.data, type->bytes.size);
    name[type->bytes.size] = '\0';
    return satchel_schema_find(schema, name);
}

static const struct satchel_reference *reference_of(const struct satchel_schema *schema,
                                                    uint32_t table, uint32_t column)
{
    for (uint32_t i = 0; i < schema->reference_count; i++)
        if (schema->references[i].table == table && schema->references[i].column == column)
            return &schema->references[i];
    return NULL;
}

/* The value of a column: the row's, or what an insert will give it. */
static const struct satchel_value *value_of(const struct merge_row *row,
                                            const struct satchel_part *part, uint32_t column)
{
    if (row->row.exists)
        return &row->row.values[column];
    for (uint32_t i = 0; part && i < part->field_count; i++)
        if (part->fields[i].column == column)
            return &part->fields[i].value;
    return part ? &row->stored.table->rules.columns[column].default_value : NULL;
}

/* ---- aliases ---- */

struct merge_alias {
    struct satchel_span survivor; /* empty: the row stands for itself */
};

enum satchel_status merge_alias_of(struct merge_run *run, struct satchel_span name,
                                   struct satchel_span *survivor)
{
    struct merge_alias *alias = satchel_map_get(&run->alias_by_name, name);
    *survivor = satchel_span_of(NULL, 0);
    if (alias) {
        *survivor = alias->survivor;
        return SATCHEL_OK;
    }
    if (!run->has_aliases)
        return SATCHEL_OK;
    alias = satchel_arena_alloc_zero(&run->arena, sizeof *alias);
    if (!alias)
        return SATCHEL_NOMEM;
    enum satchel_status status = run->store->ops->find_alias(run->store, name, &run->arena,
                                                             &alias->survivor, run->batch->error);
    if (status == SATCHEL_OK)
        status = satchel_map_put(&run->alias_by_name, name, alias);
    *survivor = alias->survivor;
    return status;
}

enum satchel_status merge_alias_set(struct merge_run *run, struct satchel_span name,
                                    struct satchel_span survivor)
{
    struct merge_alias *alias = satchel_arena_alloc_zero(&run->arena, sizeof *alias);
    if (!alias || MERGE_GROW(&run->arena, run->new_aliases, run->new_alias_count,
                             run->new_alias_capacity) != SATCHEL_OK)
        return SATCHEL_NOMEM;
    alias->survivor = survivor;
    run->has_aliases = true;
    run->new_aliases[run->new_alias_count++] = (struct satchel_store_alias){name, survivor};
    return satchel_map_put(&run->alias_by_name, name, alias);
}

/* The key of the row that stands for the one that a reference names; false: that one itself. */
static bool find_survivor(struct merge_run *run, const struct satchel_table *target,
                          const struct satchel_value *value, struct satchel_value *out)
{
    struct satchel_span survivor;
    const struct satchel_value *key;
    uint32_t table, key_count;
    satchel_buffer_clear(&run->name);
    enum satchel_status status = satchel_row_name(&run->name, target->number, value, 1);
    if (status == SATCHEL_OK)
        status = merge_alias_of(run, satchel_buffer_span(&run->name), &survivor);
    if (status == SATCHEL_OK && survivor.size > 0) {
        status = satchel_row_name_read(survivor, &run->arena, &table, &key, &key_count);
        if (status == SATCHEL_OK)
            *out = key[0];
    }
    if (status != SATCHEL_OK && run->context_status == SATCHEL_OK)
        run->context_status = status;
    return status == SATCHEL_OK && survivor.size > 0;
}

/* satchel_row_context.resolve */
static bool resolve(void *context, uint32_t column, const struct satchel_value *value,
                    struct satchel_value *resolved)
{
    struct merge_row *row = context;
    const struct satchel_schema *schema = row->run->store->schema;
    const struct satchel_reference *reference =
        reference_of(schema, row->stored.table->number, column);
    if (!reference || value->type == SATCHEL_NULL)
        return false;
    const struct satchel_value *type =
        reference->target == 0 && row->row.exists ? &row->row.values[reference->type_column] : NULL;
    const struct satchel_table *target = merge_reference_target(schema, reference, type);
    if (!target || !target->rules.has_keys || target->key_count != 1)
        return false;
    return find_survivor(row->run, target, value, resolved);
}

/* ---- the row above ---- */

/* The row that this one's frozen(parent) columns belong to; NULL: none, or none that can freeze. */
static enum satchel_status find_parent(struct merge_row *row, const struct satchel_part *part,
                                       struct merge_row **out)
{
    struct merge_run *run = row->run;
    const struct satchel_schema *schema = run->store->schema;
    const struct satchel_table *table = row->stored.table;
    struct satchel_value key;
    *out = NULL;
    if (!table->rules.is_frozen_by_parent || table->parent == SATCHEL_NO_REFERENCE)
        return SATCHEL_OK;
    const struct satchel_reference *reference = &schema->references[table->parent];
    const struct satchel_value *value = value_of(row, part, reference->column);
    const struct satchel_value *type =
        reference->target == 0 ? value_of(row, part, reference->type_column) : NULL;
    if (!value) {
        *out = row->last_parent;
        return SATCHEL_OK;
    }
    const struct satchel_table *target = merge_reference_target(schema, reference, type);
    if (!target || value->type == SATCHEL_NULL || target->key_count != 1 ||
        target->rules.freezing_state_count != 1)
        return SATCHEL_OK;
    if (target->rules.has_keys && find_survivor(run, target, value, &key))
        value = &key;
    struct satchel_value *kept = SATCHEL_ARENA_ARRAY(&run->arena, struct satchel_value, 1);
    if (!kept || satchel_value_copy(&run->arena, value, kept) != SATCHEL_OK)
        return SATCHEL_NOMEM;
    return merge_row_get(run, target, kept, out);
}

const struct satchel_freeze *merge_freeze_of(const struct merge_row *row)
{
    if (row->stored.table->rules.freezing_state_count != 1 || !row->row.exists)
        return NULL;
    return satchel_version_freeze(row->row.version, 0);
}

bool merge_freeze_equal(const struct satchel_freeze *a, const struct satchel_freeze *b)
{
    return a == b || (a && b && satchel_order_compare(&a->order, &b->order) == 0);
}

/* ---- all of it ---- */

/* What its version was made under, as far as its conflicts are told by it. */
void merge_context_load(struct merge_row *row)
{
    struct merge_run *run = row->run;
    row->context = (struct satchel_row_context){
        .machines = run->machines_before,
        .machine_count = run->machines_before ? run->store->schema->machine_count : 0,
    };
}

enum satchel_status merge_context_begin(struct merge_run *run)
{
    const struct satchel_schema *schema = run->store->schema;
    enum satchel_status status = SATCHEL_OK;
    if (schema && schema->machine_count > 0)
        status =
            run->store->ops->load_machines(run->store, false, &run->machines, run->batch->error);
    run->machines_before = run->machines;
    if (status == SATCHEL_OK && run->batch->has_keys)
        status = run->store->ops->any_alias(run->store, &run->has_aliases, run->batch->error);
    return status;
}

/* What the row's references with a type are resolved by as it stands: the tables that they point
 * at. A merge resolves by these, though it may give the row another type. */
static enum satchel_status note_targets(struct merge_row *row)
{
    const struct satchel_schema *schema = row->run->store->schema;
    row->was_new = !row->is_known;
    for (uint32_t i = 0; i < schema->reference_count; i++) {
        const struct satchel_reference *reference = &schema->references[i];
        if (reference->table != row->stored.table->number || reference->target > 0)
            continue;
        if (!row->targets)
            row->targets = SATCHEL_ARENA_ARRAY(&row->run->arena, const struct satchel_table *,
                                               schema->reference_count);
        if (!row->targets)
            return SATCHEL_NOMEM;
        row->targets[i] = row->row.exists
                              ? merge_reference_target(schema, reference,
                                                       &row->row.values[reference->type_column])
                              : NULL;
    }
    return SATCHEL_OK;
}

enum satchel_status merge_context_set(struct merge_row *row, const struct satchel_part *part)
{
    struct merge_run *run = row->run;
    const struct satchel_schema *schema = run->store->schema;
    struct merge_row *parent;
    enum satchel_status status = find_parent(row, part, &parent);
    if (status != SATCHEL_OK)
        return status;
    if (parent)
        row->last_parent = parent;
    if (run->has_aliases)
        status = note_targets(row);
    if (status != SATCHEL_OK)
        return status;
    row->has_context = true;
    row->context = (struct satchel_row_context){
        .machines = run->machines,
        .machine_count = run->machines ? schema->machine_count : 0,
        .parent_freeze = parent ? merge_freeze_of(parent) : NULL,
        .resolve = run->has_aliases ? resolve : NULL,
        .resolve_context = row,
    };
    return run->context_status;
}

static bool may_be_merged(const struct satchel_table *target)
{
    return target && target->rules.has_keys;
}

/* Whether a reference would be shown otherwise, or what lost on it: it was merged while its type
 * was not known, or was another. */
static bool resolves_otherwise(struct merge_row *row)
{
    const struct satchel_table *table = row->stored.table;
    const struct satchel_schema *schema = row->run->store->schema;
    struct satchel_value resolved;
    if (!row->context.resolve || !row->row.exists)
        return false;
    for (uint32_t i = 0; i < schema->reference_count; i++) {
        const struct satchel_reference *reference = &schema->references[i];
        if (reference->table != table->number || reference->target > 0)
            continue;
        const struct satchel_table *target =
            merge_reference_target(schema, reference, &row->row.values[reference->type_column]);
        if (row->targets[i] != target &&
            (may_be_merged(row->targets[i]) || (may_be_merged(target) && !row->was_new)))
            return true;
        if (resolve(row, reference->column, &row->row.values[reference->column], &resolved))
            return true;
    }
    return false;
}

enum satchel_status merge_context_is_stale(struct merge_row *row, bool *is_stale)
{
    struct merge_row *parent;
    *is_stale = row->has_context && resolves_otherwise(row);
    if (*is_stale || !row->has_context || !row->stored.table->rules.is_frozen_by_parent)
        return row->run->context_status;
    enum satchel_status status = find_parent(row, NULL, &parent);
    if (status == SATCHEL_OK)
        *is_stale = !merge_freeze_equal(parent ? merge_freeze_of(parent) : NULL,
                                        row->context.parent_freeze);
    return status;
}
