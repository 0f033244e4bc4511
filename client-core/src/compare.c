/* Owns the digests of what the node has (docs/digests.md), made of this replica's rows. Knows
 * nothing of messages, nor of what is done about a difference. */
#include "compare.h"

enum satchel_status satchel_compare_init(struct satchel_compare *compare,
                                         struct satchel_apply *apply, struct satchel_error *error)
{
    compare->apply = apply;
    satchel_buffer_init(&compare->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    apply->own = NULL;
    enum satchel_status status = satchel_digester_init(&compare->digester);
    return status == SATCHEL_OK
               ? status
               : satchel_error_set(error, status, "libsodium cannot start: no random source");
}

void satchel_compare_deinit(struct satchel_compare *compare)
{
    satchel_digester_deinit(&compare->digester);
    satchel_buffer_deinit(&compare->name);
}

/* A masked column that the user does not see is in no sum of the node's: but one that has not its
 * default is none that the node has sent, and shows as a difference. */
static enum satchel_status row_digest(struct satchel_compare *compare,
                                      const struct satchel_table *table,
                                      const struct satchel_value *values, struct satchel_id *out)
{
    const char *role = compare->apply->replica->role;
    struct satchel_id terms[SATCHEL_COLUMNS_MAX];
    uint32_t count = satchel_digest_term_count(table);
    enum satchel_status status = satchel_row_terms(&compare->digester, table, values, terms);
    *out = terms[0];
    for (uint32_t i = 1; i < count && status == SATCHEL_OK; i++) {
        uint32_t column = satchel_digest_term_column(table, i);
        if (satchel_digest_sees_term(table, i, satchel_span_text(role ? role : "")) ||
            !satchel_value_equal(&values[column], &table->rules.columns[column].default_value))
            satchel_digest_add(out, &terms[i]);
    }
    return status;
}

/* ---- rows with pending writes ---- */

static enum satchel_status load_plan(struct satchel_compare *compare,
                                     const struct satchel_table *table, struct satchel_span name,
                                     struct satchel_row_plan **out, struct satchel_error *error)
{
    struct satchel_apply *apply = compare->apply;
    const struct satchel_value *key;
    uint32_t number, key_count;
    satchel_apply_forget_plans(apply);
    satchel_arena_reset(&apply->arena);
    name = satchel_arena_copy(&apply->arena, name); /* the key's values borrow from it */
    if (!name.data)
        return SATCHEL_NOMEM;
    enum satchel_status status =
        satchel_row_name_read(name, &apply->arena, &number, &key, &key_count);
    return status == SATCHEL_OK ? satchel_row_plan_get(apply, table, key, name, out, error)
                                : status;
}

enum satchel_status satchel_compare_row(struct satchel_compare *compare,
                                        const struct satchel_table *table, struct satchel_span name,
                                        bool *exists, struct satchel_id *digest,
                                        struct satchel_error *error)
{
    struct satchel_row_plan *plan = NULL;
    enum satchel_status status = load_plan(compare, table, name, &plan, error);
    *exists = status == SATCHEL_OK && plan->node.exists;
    if (*exists)
        status = row_digest(compare, table, plan->node.values, digest);
    satchel_apply_forget_plans(compare->apply);
    return status;
}

/* ---- all rows ---- */

/* A row that was merged into another is not the node's, even if the application has inserted it
 * again. */
static enum satchel_status is_alias(struct satchel_compare *compare, struct satchel_span name,
                                    bool *out, struct satchel_error *error)
{
    struct satchel_span survivor = {NULL, 0};
    *out = false;
    if (!compare->apply->has_aliases)
        return SATCHEL_OK;
    satchel_arena_reset(&compare->apply->arena);
    enum satchel_status status = satchel_alias_survivor(compare->apply->aliases, name,
                                                        &compare->apply->arena, &survivor, error);
    *out = survivor.size > 0;
    return status;
}

static enum satchel_status visit_present(struct satchel_compare *compare,
                                         const struct satchel_row_walk *walk,
                                         const struct satchel_compare_visitor *visitor,
                                         struct satchel_error *error)
{
    struct satchel_id digest;
    bool exists = true, alias = false;
    satchel_buffer_clear(&compare->name);
    enum satchel_status status = satchel_row_walk_name(walk, &compare->name);
    struct satchel_span name = satchel_buffer_span(&compare->name);
    if (status == SATCHEL_OK)
        status = is_alias(compare, name, &alias, error);
    if (status != SATCHEL_OK || alias)
        return status;
    status = satchel_pending_find(&compare->apply->pending, name)
                 ? satchel_compare_row(compare, walk->table, name, &exists, &digest, error)
                 : row_digest(compare, walk->table, walk->values, &digest);
    return status == SATCHEL_OK && exists ? visitor->visit(visitor->context, name, &digest)
                                          : status;
}

/* Rows that a pending delete has taken out of the table. */
static enum satchel_status visit_absent(struct satchel_compare *compare,
                                        const struct satchel_table *table,
                                        const struct satchel_compare_visitor *visitor,
                                        struct satchel_error *error)
{
    const struct satchel_map *rows = &compare->apply->pending.rows;
    struct satchel_span name;
    size_t index = 0;
    void *row;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && satchel_map_next(rows, &index, &name, &row)) {
        struct satchel_cursor cursor = satchel_cursor_of(name);
        struct satchel_row_plan *plan;
        struct satchel_id digest;
        if (satchel_cursor_unsigned(&cursor, SATCHEL_TABLES_MAX) != table->number)
            continue;
        status = load_plan(compare, table, name, &plan, error);
        if (status != SATCHEL_OK || plan->is_present || !plan->node.exists)
            continue;
        status = row_digest(compare, table, plan->node.values, &digest);
        if (status == SATCHEL_OK)
            status = visitor->visit(visitor->context, name, &digest);
    }
    satchel_apply_forget_plans(compare->apply);
    return status;
}

enum satchel_status satchel_compare_walk(struct satchel_compare *compare,
                                         const struct satchel_table *table,
                                         const struct satchel_walk_bounds *bounds,
                                         const struct satchel_compare_visitor *visitor,
                                         struct satchel_error *error)
{
    struct satchel_row_walk walk;
    bool found = true;
    enum satchel_status status =
        satchel_row_walk_begin(&walk, compare->apply->replica->db, table, bounds, error);
    while (status == SATCHEL_OK &&
           (status = satchel_row_walk_next(&walk, &found, error)) == SATCHEL_OK && found)
        status = visit_present(compare, &walk, visitor, error);
    satchel_row_walk_end(&walk);
    if (status == SATCHEL_OK && !bounds && compare->apply->pending.row_count > 0)
        status = visit_absent(compare, table, visitor, error);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "table %s cannot be compared: %s",
                                       table->name, satchel_status_text(status));
}

static enum satchel_status add(void *context, struct satchel_span name,
                               const struct satchel_id *digest)
{
    struct satchel_table_digest *sum = context;
    (void)name;
    satchel_digest_add(&sum->digest, digest);
    sum->row_count++;
    return SATCHEL_OK;
}

enum satchel_status satchel_compare_sum(struct satchel_compare *compare,
                                        const struct satchel_table *table,
                                        const struct satchel_walk_bounds *bounds,
                                        struct satchel_table_digest *out,
                                        struct satchel_error *error)
{
    *out = (struct satchel_table_digest){.table = table->number};
    const struct satchel_compare_visitor visitor = {out, add};
    return satchel_compare_walk(compare, table, bounds, &visitor, error);
}
