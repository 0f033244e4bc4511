/* Owns judging @state, frozen(state) and frozen(parent): a machine must be defined, what freezes a
 * row must be one thing, and seen by everybody who sees the row. */
#include "schema_build.h"

static bool is_parent(const char *frozen)
{
    return strcmp(frozen, "parent") == 0;
}

static bool has_state(const struct satchel_table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (table->columns[i].rule == SATCHEL_RULE_STATE)
            return true;
    return false;
}

/* The different states a table's own columns freeze in. */
static uint32_t count_states(const struct satchel_table *table)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const char *frozen = table->columns[i].frozen;
        bool is_new = frozen && !is_parent(frozen);
        for (uint32_t k = 0; is_new && k < i; k++)
            is_new = !table->columns[k].frozen || strcmp(table->columns[k].frozen, frozen) != 0;
        count += is_new;
    }
    return count;
}

/* The column through which a row has its one parent: the only @ref, else the only REFERENCES. */
static const struct satchel_column *parent_column(const struct satchel_build_table *from,
                                                  const struct satchel_table *table)
{
    const struct satchel_column *by_ref = NULL, *by_reference = NULL;
    uint32_t ref_count = 0;
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].ref) {
            by_ref = &table->columns[i];
            ref_count++;
        }
        if (table->columns[i].references_table && !by_reference)
            by_reference = &table->columns[i];
    }
    if (ref_count > 0)
        return ref_count == 1 ? by_ref : NULL;
    return from->references_count == 1 ? by_reference : NULL;
}

static bool is_scope_all(const struct satchel_build_table *table)
{
    return table && table->scope_count == 1 && table->scopes[0].kind == SATCHEL_SCOPE_ALL;
}

/* Whether the table's only scope is via `parent`. */
static bool is_only_via(const struct satchel_build_table *from, const struct satchel_column *parent)
{
    const struct satchel_scope *scope = &from->scopes[0];
    if (from->scope_count != 1 || scope->kind != SATCHEL_SCOPE_VIA)
        return false;
    return satchel_names_equal(scope->names[scope->name_count - 1], parent->name);
}

static enum satchel_status check_parent(struct satchel_build *build,
                                        const struct satchel_build_table *from,
                                        const struct satchel_column *column)
{
    const struct satchel_column *parent =
        parent_column(from, satchel_build_table_made(build, from));
    struct satchel_place place = satchel_build_place(from, column->name);
    if (!parent)
        return satchel_refuse(
            build->error, place,
            "frozen(parent) on %s.%s, but %s has not exactly one parent (its only @ref, "
            "else its only REFERENCES); write frozen(state), or leave one parent",
            from->name, column->name, from->name);
    const struct satchel_build_table *referenced = NULL;
    if (!parent->ref) {
        referenced = satchel_build_find_table(build, parent->references_table);
        uint32_t states =
            referenced ? count_states(satchel_build_table_made(build, referenced)) : 0;
        if (states != 1)
            return satchel_refuse(
                build->error, place,
                "frozen(parent) on %s.%s, but the parent %s has %s frozen states; have "
                "its columns frozen in one state",
                from->name, column->name, parent->references_table, states ? "several" : "no");
    }
    if (!is_only_via(from, parent) && !is_scope_all(referenced))
        return satchel_refuse(
            build->error, place,
            "frozen(parent) on %s.%s, but not everybody who gets the row gets its "
            "parent; make scope=via(%s%s%s) the table's only scope, or the parent "
            "scope=all",
            from->name, column->name, parent->ref ? parent->ref : "", parent->ref ? ", " : "",
            parent->name);
    return SATCHEL_OK;
}

enum satchel_status satchel_build_check_frozen(struct satchel_build *build)
{
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        const struct satchel_table *table = satchel_build_table_made(build, from);
        for (uint32_t i = 0; i < table->column_count; i++) {
            const struct satchel_column *column = &table->columns[i];
            enum satchel_status status = SATCHEL_OK;
            if (column->frozen && is_parent(column->frozen))
                status = check_parent(build, from, column);
            else if (column->frozen && !has_state(table))
                status = satchel_refuse(
                    build->error, satchel_build_place(from, column->name),
                    "frozen(%s) on %s.%s, but %s has no @state column; add one, or "
                    "take frozen(%s) out",
                    column->frozen, from->name, column->name, from->name, column->frozen);
            if (status != SATCHEL_OK)
                return status;
        }
    }
    return SATCHEL_OK;
}

/* The machine's states are rows; all a schema can show is whether there is a place for them. */
enum satchel_status satchel_build_check_states(struct satchel_build *build)
{
    for (uint32_t i = 0; i < build->object_count; i++)
        if (build->objects[i].kind == SATCHEL_OBJECT_VIEW &&
            satchel_names_equal(build->objects[i].name, "satchel_states"))
            return SATCHEL_OK;
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_table *table = &build->schema->tables[t];
        for (uint32_t i = 0; i < table->column_count; i++)
            if (table->columns[i].rule == SATCHEL_RULE_STATE)
                return satchel_refuse(
                    build->error, satchel_build_place(&build->tables[t], table->columns[i].name),
                    "@state(%s) on %s.%s, but no view says what states there are; create the view "
                    "satchel_states(machine, code, rank, closed, back_to)",
                    table->columns[i].rule_argument, table->name, table->columns[i].name);
    }
    return SATCHEL_OK;
}
