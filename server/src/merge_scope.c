/* Owns the right to write a row by its scope (docs/scopes.md): what follows for a part from what
 * its row is to its author. Rows that come with the batch are in no scope of the store yet. */
#include "merge_internal.h"

enum { NEWCOMER_DEPTH_MAX = 8 }; /* of rows of the batch that hang on each other */

/* A row that a change set of the batch inserts, and no commit has had. */
struct merge_newcomer {
    struct satchel_span user;
    const struct satchel_table *table;
    const struct satchel_part *part;
};

/* ---- what a part says of its row ---- */

static const struct satchel_value *value_of(const struct satchel_table *table,
                                            const struct satchel_part *part, uint32_t column)
{
    uint32_t position = table->columns[column].key_position;
    if (position > 0)
        return &part->key[position - 1];
    for (uint32_t i = 0; i < part->field_count; i++)
        if (part->fields[i].column == column)
            return &part->fields[i].value;
    return &table->rules.columns[column].default_value;
}

/* The table of the row that the clause points at, and its key; NULL: at none. */
static const struct satchel_table *target_of(const struct satchel_schema *schema,
                                             const struct satchel_table *table,
                                             const struct satchel_part *part,
                                             const struct satchel_scope_clause *clause,
                                             const struct satchel_value **key)
{
    const struct satchel_value *type = value_of(table, part, clause->columns[0]);
    *key = value_of(table, part, clause->columns[clause->column_count - 1]);
    if ((*key)->type == SATCHEL_NULL)
        return NULL;
    const struct satchel_table *target =
        merge_reference_target(schema, &schema->references[clause->reference], type);
    return target && !target->is_local && target->key_count == 1 ? target : NULL;
}

/* ---- what a row is to the author ---- */

static enum satchel_status sight_of(struct merge_batch *batch,
                                    const struct satchel_store_author *author,
                                    const struct satchel_table *table,
                                    const struct satchel_value *key, int depth,
                                    enum satchel_sight *out);

/* Whether he will see what another user inserts, as it is inserted. */
static enum satchel_status will_see(struct merge_batch *batch,
                                    const struct satchel_store_author *author,
                                    const struct merge_newcomer *newcomer, int depth, bool *out)
{
    const struct satchel_table *table = newcomer->table;
    const struct satchel_value *key;
    enum satchel_status status = SATCHEL_OK;
    *out = false;
    for (uint32_t s = 0; s < table->scope_count && !*out && status == SATCHEL_OK; s++) {
        const struct satchel_scope_clause *clause = &table->scopes[s];
        if (clause->kind == SATCHEL_SCOPE_ROW) {
            for (uint32_t i = 0; i < clause->column_count && !*out && status == SATCHEL_OK; i++)
                status = batch->store->ops->is_granted(
                    batch->store, author, value_of(table, newcomer->part, clause->columns[i]), out,
                    batch->error);
        } else if (clause->kind == SATCHEL_SCOPE_VIA && depth > 0) {
            enum satchel_sight sight = SATCHEL_SIGHT_NEW;
            const struct satchel_table *target =
                target_of(batch->store->schema, table, newcomer->part, clause, &key);
            if (target)
                status = sight_of(batch, author, target, key, depth - 1, &sight);
            *out = sight == SATCHEL_SIGHT_SEEN;
        }
    }
    return status;
}

static enum satchel_status sight_of(struct merge_batch *batch,
                                    const struct satchel_store_author *author,
                                    const struct satchel_table *table,
                                    const struct satchel_value *key, int depth,
                                    enum satchel_sight *out)
{
    struct satchel_buffer name;
    bool sees = false;
    *out = SATCHEL_SIGHT_SEEN;
    if (!table->is_scoped && !table->is_server)
        return SATCHEL_OK;
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_row_name(&name, table->number, key, table->key_count);
    const struct merge_newcomer *newcomer =
        satchel_map_get(&batch->newcomers, satchel_buffer_span(&name));
    if (status == SATCHEL_OK && !newcomer)
        status = batch->store->ops->look(batch->store, author, table, satchel_buffer_span(&name),
                                         out, batch->error);
    satchel_buffer_deinit(&name);
    if (status != SATCHEL_OK || !newcomer || satchel_span_equal(newcomer->user, author->user))
        return status;
    status = will_see(batch, author, newcomer, depth, &sees);
    *out = sees ? SATCHEL_SIGHT_SEEN : SATCHEL_SIGHT_FOREIGN;
    return status;
}

/* ---- what follows for the part ---- */

static bool is_given_by_row(const struct satchel_table *table)
{
    for (uint32_t s = 0; s < table->scope_count; s++)
        if (table->scopes[s].kind == SATCHEL_SCOPE_ROW)
            return true;
    return false;
}

/* A new row that is seen only by those it hangs on: not where it would be put among others'. */
static enum satchel_status check_parents(struct merge_batch *batch,
                                         const struct satchel_store_author *author,
                                         const struct satchel_part *part, struct merge_part *out)
{
    const struct satchel_table *table = out->table;
    const struct satchel_column *foreign = NULL;
    const struct satchel_value *key;
    for (uint32_t s = 0; s < table->scope_count; s++) {
        const struct satchel_scope_clause *clause = &table->scopes[s];
        enum satchel_sight sight;
        const struct satchel_table *target =
            target_of(batch->store->schema, table, part, clause, &key);
        if (!target)
            continue;
        enum satchel_status status =
            sight_of(batch, author, target, key, NEWCOMER_DEPTH_MAX, &sight);
        if (status != SATCHEL_OK || sight != SATCHEL_SIGHT_FOREIGN)
            return status;
        foreign = &table->columns[clause->columns[clause->column_count - 1]];
    }
    return foreign ? merge_because(batch, out, "%s.%s points outside the scope of %.*s",
                                   table->name, foreign->name, (int)author->user.size,
                                   (const char *)author->user.data)
                   : SATCHEL_OK;
}

static enum satchel_status note_newcomer(struct merge_batch *batch,
                                         const struct satchel_store_author *author,
                                         const struct satchel_part *part,
                                         const struct satchel_table *table)
{
    struct satchel_buffer name;
    struct merge_newcomer *newcomer = SATCHEL_ARENA_ARRAY(&batch->arena, struct merge_newcomer, 1);
    if (!newcomer)
        return SATCHEL_NOMEM;
    *newcomer = (struct merge_newcomer){author->user, table, part};
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_row_name(&name, table->number, part->key, part->key_count);
    if (status == SATCHEL_OK)
        status = satchel_map_put(&batch->newcomers, satchel_buffer_span(&name), newcomer);
    satchel_buffer_deinit(&name);
    return status;
}

enum satchel_status merge_check_scope(struct merge_batch *batch,
                                      const struct satchel_store_author *author,
                                      const struct satchel_part *part, struct merge_part *out)
{
    const struct satchel_table *table = out->table;
    enum satchel_sight sight;
    if (table->is_server)
        return merge_because(batch, out, "rows of %s stay on the server", table->name);
    if (!table->is_scoped)
        return SATCHEL_OK;
    enum satchel_status status =
        sight_of(batch, author, table, part->key, NEWCOMER_DEPTH_MAX, &sight);
    if (status == SATCHEL_OK && sight == SATCHEL_SIGHT_FOREIGN)
        return merge_because(batch, out, "this row of %s is not in the scope of %.*s", table->name,
                             (int)author->user.size, (const char *)author->user.data);
    if (status != SATCHEL_OK || sight != SATCHEL_SIGHT_NEW || part->kind != SATCHEL_OP_INSERT)
        return status;
    if (!is_given_by_row(table))
        status = check_parents(batch, author, part, out);
    return status == SATCHEL_OK && !out->reason.data ? note_newcomer(batch, author, part, table)
                                                     : status;
}
