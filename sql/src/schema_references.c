/* Owns which columns point at other rows, and the one parent that a row may have. */
#include "schema_build.h"

/* The table that `column` points at by REFERENCES, if its value alone is the other row's key; 0:
 * none. */
static uint32_t referenced_table(const struct satchel_build *build,
                                 const struct satchel_build_table *from,
                                 const struct satchel_column *column)
{
    const struct satchel_build_reference *reference = &from->references[column->number];
    const struct satchel_build_table *target =
        column->references_table ? satchel_build_find_table(build, column->references_table) : NULL;
    if (!target || !reference->is_alone)
        return 0;
    const struct satchel_table *table = satchel_build_table_made(build, target);
    if (table->is_local || table->key_count != 1)
        return 0;
    const struct satchel_column *key = &table->columns[table->key_columns[0]];
    if (reference->target_column && !satchel_names_equal(reference->target_column, key->name))
        return 0;
    return table->number;
}

static bool points(const struct satchel_build *build, const struct satchel_build_table *from,
                   const struct satchel_column *column, struct satchel_reference *out)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    *out = (struct satchel_reference){.table = table->number, .column = column->number};
    if (column->ref) {
        out->type_column = satchel_table_find_column(table, column->ref)->number;
        return true;
    }
    out->target = referenced_table(build, from, column);
    return out->target != 0;
}

/* The only @ref of references[first..], all of one table; else its only REFERENCES. */
static uint32_t parent_of(const struct satchel_build_table *from,
                          const struct satchel_reference *references, uint32_t first,
                          uint32_t count)
{
    uint32_t by_ref = SATCHEL_NO_REFERENCE, by_references = SATCHEL_NO_REFERENCE;
    uint32_t ref_count = 0;
    for (uint32_t i = first; i < count; i++) {
        ref_count += references[i].target == 0;
        *(references[i].target == 0 ? &by_ref : &by_references) = i;
    }
    if (ref_count > 0)
        return ref_count == 1 ? by_ref : SATCHEL_NO_REFERENCE;
    return from->references_count == 1 ? by_references : SATCHEL_NO_REFERENCE;
}

enum satchel_status satchel_build_references(struct satchel_build *build)
{
    struct satchel_schema *schema = build->schema;
    struct satchel_reference *references = NULL;
    uint32_t capacity = 0;
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        struct satchel_table *table = satchel_build_table_made(build, from);
        struct satchel_column_rules *rules = satchel_build_rules_made(table);
        uint32_t first = schema->reference_count;
        table->parent = SATCHEL_NO_REFERENCE;
        for (uint32_t i = 0; !table->is_local && i < table->column_count; i++) {
            struct satchel_reference reference;
            if (!points(build, from, &table->columns[i], &reference))
                continue;
            references = satchel_arena_grow(build->keep, references, schema->reference_count,
                                            &capacity, sizeof *references);
            if (!references)
                return satchel_build_no_memory(build);
            references[schema->reference_count++] = reference;
            /* A row's own key stays what it is, whatever happens to the row it names. */
            rules[i].is_reference = !rules[i].in_key;
        }
        schema->references = references;
        if (!table->is_local)
            table->parent = parent_of(from, references, first, schema->reference_count);
    }
    return SATCHEL_OK;
}
