/* Owns what freezes a row, frozen(state) and frozen(parent): it must be one thing, with a machine
 * that is defined, and seen by everybody who sees the row. */
#include "schema_build.h"

static bool is_parent(const char *frozen)
{
    return strcmp(frozen, "parent") == 0;
}

/* ---- the states that freeze ---- */

/* The table's only @state column, which decides when its rows freeze. */
static enum satchel_status find_state_column(struct satchel_build *build,
                                             const struct satchel_build_table *from,
                                             struct satchel_table *table,
                                             const struct satchel_column *frozen)
{
    const struct satchel_column *found = NULL;
    struct satchel_place place = satchel_build_place(from, frozen->name);
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column *column = &table->columns[i];
        if (column->rule != SATCHEL_RULE_STATE)
            continue;
        if (found)
            return satchel_refuse(
                build->error, place,
                "frozen(%s) on %s.%s, but %s has several @state columns, and it is not "
                "clear which one freezes; leave one",
                frozen->frozen, from->name, frozen->name, from->name);
        found = column;
    }
    if (!found)
        return satchel_refuse(build->error, place,
                              "frozen(%s) on %s.%s, but %s has no @state column; add one, or "
                              "take frozen(%s) out",
                              frozen->frozen, from->name, frozen->name, from->name, frozen->frozen);
    if (found->frozen && !is_parent(found->frozen))
        return satchel_refuse(
            build->error, satchel_build_place(from, found->name),
            "frozen(%s) on %s.%s, the very state that freezes the row; take it out, and "
            "let the machine say what may follow",
            found->frozen, from->name, found->name);
    table->rules.state_column = found->number;
    return SATCHEL_OK;
}

static enum satchel_status freeze_in(struct satchel_build *build,
                                     const struct satchel_build_table *from,
                                     struct satchel_table *table,
                                     const struct satchel_column *column, uint32_t *frozen)
{
    struct satchel_span *states = (struct satchel_span *)(uintptr_t)table->rules.freezing_states;
    struct satchel_span name = satchel_span_text(column->frozen);
    for (uint32_t i = 0; i < table->rules.freezing_state_count; i++) {
        *frozen = i + 1;
        if (satchel_span_equal(states[i], name))
            return SATCHEL_OK;
    }
    if (table->rules.freezing_state_count == SATCHEL_FREEZING_STATES_MAX)
        return satchel_refuse(build->error, satchel_build_place(from, column->name),
                              "%s.%s is frozen in one more state than the %d that a table may "
                              "name; use one of the others",
                              from->name, column->name, SATCHEL_FREEZING_STATES_MAX);
    states[table->rules.freezing_state_count++] = name;
    *frozen = table->rules.freezing_state_count;
    return SATCHEL_OK;
}

static enum satchel_status give_frozen(struct satchel_build *build,
                                       const struct satchel_build_table *from,
                                       const struct satchel_column *column)
{
    struct satchel_table *table = satchel_build_table_made(build, from);
    struct satchel_column_rules *rules = &satchel_build_rules_made(table)[column->number];
    if (!column->frozen)
        return SATCHEL_OK;
    if (is_parent(column->frozen)) {
        rules->frozen = SATCHEL_FROZEN_PARENT;
        table->rules.is_frozen_by_parent = true;
        return SATCHEL_OK;
    }
    if (!table->rules.freezing_states)
        table->rules.freezing_states =
            SATCHEL_ARENA_ARRAY(build->keep, struct satchel_span, SATCHEL_FREEZING_STATES_MAX);
    if (!table->rules.freezing_states)
        return satchel_build_no_memory(build);
    enum satchel_status status = find_state_column(build, from, table, column);
    return status == SATCHEL_OK ? freeze_in(build, from, table, column, &rules->frozen) : status;
}

static enum satchel_status check_unit(struct satchel_build *build,
                                      const struct satchel_build_table *from,
                                      const struct satchel_column *column)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    const struct satchel_column_rules *rules = &table->rules.columns[column->number];
    if (rules->frozen == table->rules.columns[rules->unit].frozen)
        return SATCHEL_OK;
    return satchel_refuse(build->error, satchel_build_place(from, column->name),
                          "%s.%s and %s win or lose together, but differ in frozen(...); write the "
                          "same beside both",
                          from->name, column->name, table->columns[rules->unit].name);
}

/* ---- frozen(parent) ---- */

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
    const struct satchel_table *table = satchel_build_table_made(build, from);
    struct satchel_place place = satchel_build_place(from, column->name);
    if (table->parent == SATCHEL_NO_REFERENCE)
        return satchel_refuse(
            build->error, place,
            "frozen(parent) on %s.%s, but %s has not exactly one parent (its only @ref, "
            "else its only REFERENCES to a primary key); write frozen(state), or leave one parent",
            from->name, column->name, from->name);
    const struct satchel_reference *reference = &build->schema->references[table->parent];
    const struct satchel_column *parent = &table->columns[reference->column];
    const struct satchel_build_table *referenced = NULL;
    if (reference->target != 0) {
        referenced = &build->tables[reference->target - 1];
        uint32_t states = build->schema->tables[reference->target - 1].rules.freezing_state_count;
        if (states != 1)
            return satchel_refuse(
                build->error, place,
                "frozen(parent) on %s.%s, but the parent %s has %s frozen states; have "
                "its columns frozen in one state",
                from->name, column->name, referenced->name, states ? "several" : "no");
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

/* ---- all ---- */

/* Calls `visit` for every column until one is refused. */
static enum satchel_status each_column(
    struct satchel_build *build,
    enum satchel_status (*visit)(struct satchel_build *build,
                                 const struct satchel_build_table *from,
                                 const struct satchel_column *column))
{
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_table *table = &build->schema->tables[t];
        for (uint32_t i = 0; i < table->column_count; i++) {
            enum satchel_status status = visit(build, &build->tables[t], &table->columns[i]);
            if (status != SATCHEL_OK)
                return status;
        }
    }
    return SATCHEL_OK;
}

static enum satchel_status check_frozen(struct satchel_build *build,
                                        const struct satchel_build_table *from,
                                        const struct satchel_column *column)
{
    enum satchel_status status = check_unit(build, from, column);
    if (status != SATCHEL_OK || !column->frozen || !is_parent(column->frozen))
        return status;
    return check_parent(build, from, column);
}

enum satchel_status satchel_build_frozen(struct satchel_build *build)
{
    enum satchel_status status = each_column(build, give_frozen);
    return status == SATCHEL_OK ? each_column(build, check_frozen) : status;
}

/* The machine's states are rows; all a schema can show is whether there is a place for them. */
enum satchel_status satchel_build_check_states(struct satchel_build *build)
{
    if (build->schema->defines_states)
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
