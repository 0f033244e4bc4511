/* Owns the scopes of the schema's tables: the names that @table gives as column numbers, and
 * whether who gets a row depends on the row. */
#include "schema_build.h"

static uint32_t find_reference(const struct satchel_schema *schema, uint32_t table, uint32_t column)
{
    for (uint32_t i = 0; i < schema->reference_count; i++)
        if (schema->references[i].table == table && schema->references[i].column == column)
            return i;
    return SATCHEL_NO_REFERENCE;
}

static enum satchel_status make_clause(struct satchel_build *build,
                                       const struct satchel_build_table *from,
                                       const struct satchel_scope *scope,
                                       struct satchel_scope_clause *out)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    uint32_t *columns = SATCHEL_ARENA_ARRAY(build->keep, uint32_t, scope->name_count);
    if (!columns)
        return satchel_build_no_memory(build);
    for (uint32_t i = 0; i < scope->name_count; i++)
        columns[i] = satchel_table_find_column(table, scope->names[i])->number;
    *out = (struct satchel_scope_clause){scope->kind, columns, scope->name_count,
                                         SATCHEL_NO_REFERENCE};
    if (scope->kind != SATCHEL_SCOPE_VIA)
        return SATCHEL_OK;
    out->reference = find_reference(build->schema, table->number, columns[scope->name_count - 1]);
    if (out->reference == SATCHEL_NO_REFERENCE)
        return satchel_refuse(
            build->error, from->annotation_place,
            "scope=via(%s), but the value of %s alone names no row of the table it references; "
            "use a column that holds the other table's primary key",
            scope->names[0], scope->names[0]);
    return SATCHEL_OK;
}

enum satchel_status satchel_build_scopes(struct satchel_build *build)
{
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        struct satchel_table *table = satchel_build_table_made(build, from);
        bool is_all = false, by_row = false;
        for (uint32_t s = 0; !table->is_local && s < from->scope_count; s++) {
            enum satchel_scope_kind kind = from->scopes[s].kind;
            enum satchel_status status =
                make_clause(build, from, &from->scopes[s], &table->scopes[s]);
            if (status != SATCHEL_OK)
                return status;
            table->scope_count++;
            is_all = is_all || kind == SATCHEL_SCOPE_ALL;
            by_row = by_row || kind == SATCHEL_SCOPE_ROW || kind == SATCHEL_SCOPE_VIA;
        }
        table->is_scoped = by_row && !is_all;
        table->is_server = !table->is_local && !by_row && !is_all;
        build->schema->has_scopes |= table->is_scoped || table->is_server;
    }
    return SATCHEL_OK;
}
