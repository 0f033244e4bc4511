/* Owns what a change of one row means for others: rows frozen by the row they belong to, rows that
 * point at one that was merged into another, rows judged by a machine that has changed. They are
 * evaluated again from their timelines, and what comes of it is an effect of the entry at hand. */
#include "merge_internal.h"

/* Of one row by one change set: references that go in a circle end here. */
#define RECOMPUTED_MAX 8
/* Of a machine that changed: looked at together. */
#define JUDGED_ROWS 1000

/* ---- one row again ---- */

static enum satchel_status recompute_alone(struct merge_run *run, struct merge_notes *notes,
                                           struct merge_row *row, satchel_stamp stamp,
                                           uint32_t cause, struct satchel_error *refusal)
{
    const struct satchel_freeze *freeze = merge_freeze_of(row);
    struct satchel_conflict_list before;
    struct satchel_merge_result result = {0};
    struct satchel_write *writes;
    size_t write_count;
    enum satchel_status status = row->has_conflicts ? SATCHEL_OK : merge_conflicts_list(run, row);
    before = row->conflicts;
    if (status == SATCHEL_OK)
        status = merge_context_set(row, NULL);
    if (status == SATCHEL_OK)
        status = merge_timeline(run, row, NULL, &writes, &write_count);
    if (status == SATCHEL_OK && write_count > 0)
        status = satchel_row_recompute(&row->stored.table->rules, &row->row, writes, write_count,
                                       &run->arena, &result, refusal);
    merge_timeline_trim(run);
    if (status != SATCHEL_OK || write_count == 0)
        return status;
    status = merge_note_change(run, notes, NULL, row, false, &result);
    if (status == SATCHEL_OK)
        status = merge_conflicts_list(run, row);
    if (status == SATCHEL_OK)
        status = merge_note_conflicts(run, row, &before, stamp);
    return status == SATCHEL_OK ? merge_row_settle(run, row, &result, freeze, cause) : status;
}

static enum satchel_status recompute_once(struct merge_run *run, struct merge_changeset *changeset,
                                          struct merge_notes *notes, struct merge_row *row,
                                          uint32_t cause, struct satchel_error *refusal)
{
    struct merge_row **members;
    struct merge_keys_mark mark;
    uint32_t member_count = 1;
    enum satchel_status status = SATCHEL_OK;
    /* What a later change set of the run may mend: see merge.c. */
    if (run->changeset_count > 1 && row->stored.table->may_refuse)
        return SATCHEL_REFUSED;
    if (row->stored.table->rules.has_keys)
        status = merge_keys_meet(run, row, NULL, &mark, &members, &member_count);
    if (status != SATCHEL_OK)
        return status;
    if (member_count > 1)
        return merge_cluster(run, changeset, notes, members, member_count, NULL, cause, refusal);
    return recompute_alone(run, notes, row, changeset->stamp, cause, refusal);
}

enum satchel_status merge_recompute(struct merge_run *run, struct merge_changeset *changeset,
                                    struct merge_notes *notes, struct merge_row *row,
                                    uint32_t cause)
{
    struct satchel_error refusal = {0};
    bool is_stale = true;
    enum satchel_status status = SATCHEL_OK;
    if (row->recomputed_by != changeset)
        row->recomputed_count = 0;
    row->recomputed_by = changeset;
    while (status == SATCHEL_OK && is_stale && row->recomputed_count++ < RECOMPUTED_MAX) {
        status = recompute_once(run, changeset, notes, row, cause, &refusal);
        if (status == SATCHEL_OK)
            status = merge_context_is_stale(row, &is_stale);
    }
    if (status == SATCHEL_LIMIT)
        return merge_take_back(run, changeset, cause,
                               "what follows from it for other rows is too much for one entry: "
                               "write less at a time");
    if (status == SATCHEL_REFUSED && refusal.message[0])
        return merge_take_back(run, changeset, cause, refusal.message);
    return status;
}

/* ---- the rows that point at one ---- */

enum satchel_status merge_touch_add(struct merge_run *run, const struct merge_row *row,
                                    bool only_frozen, uint32_t cause)
{
    enum satchel_status status =
        MERGE_GROW(&run->arena, run->touches, run->touch_count, run->touch_capacity);
    if (status == SATCHEL_OK)
        run->touches[run->touch_count++] = (struct merge_touch){
            row->stored.table, row->stored.key, row->stored.name, only_frozen, cause};
    return status;
}

/* What has been touched since the last look. */
struct round {
    struct merge_run *run;
    struct merge_changeset *changeset;
    struct merge_notes *notes;
    struct merge_touch *touches;
    size_t count;
    struct satchel_map by_name; /* row name -> struct merge_touch */
};

static enum satchel_status index_touches(struct round *round)
{
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < round->count; i++) {
        struct merge_touch *touch = &round->touches[i];
        const struct merge_touch *same = satchel_map_get(&round->by_name, touch->name);
        if (!same || same->only_frozen)
            status = satchel_map_put(&round->by_name, touch->name, touch);
    }
    return status;
}

static bool is_concerned(const struct satchel_schema *schema, uint32_t index,
                         const struct merge_touch *touch)
{
    const struct satchel_reference *reference = &schema->references[index];
    const struct satchel_table *table = satchel_schema_table(schema, reference->table);
    if (table->is_local || touch->table->key_count != 1 ||
        (reference->target != 0 && reference->target != touch->table->number))
        return false;
    return !touch->only_frozen || (table->rules.is_frozen_by_parent && table->parent == index);
}

/* Names the rows of the store that point there; those of the run are named already. */
static enum satchel_status name_pointing(struct merge_run *run,
                                         const struct satchel_reference *reference,
                                         const struct merge_touch *touch)
{
    const struct satchel_table *table = satchel_schema_table(run->store->schema, reference->table);
    const struct satchel_value **keys;
    size_t count = 0;
    enum satchel_status status =
        run->store->ops->find_references(run->store, table, reference->column, &touch->key[0],
                                         &run->arena, &keys, &count, run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++)
        if (!merge_row_name(run, table, keys[i]))
            status = SATCHEL_NOMEM;
    return status;
}

/* Rows that do not point there any more, but whose conflicts say so of a value that lost. */
static enum satchel_status name_lost(struct merge_run *run,
                                     const struct satchel_reference *reference,
                                     const struct merge_touch *touch)
{
    const struct satchel_table *table = satchel_schema_table(run->store->schema, reference->table);
    struct satchel_span *names;
    struct merge_row *row;
    size_t count = 0;
    enum satchel_status status =
        run->store->ops->find_lost(run->store, table, reference->column, &touch->key[0],
                                   &run->arena, &names, &count, run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        status = merge_row_get_named(run, names[i], &row);
        if (status == SATCHEL_OK)
            row->lost_to = touch;
    }
    return status;
}

/* Rows that were deleted while they belonged to it: a freeze may keep them after all. */
static enum satchel_status name_gone(struct merge_run *run, const struct merge_touch *touch)
{
    struct satchel_span *names;
    struct merge_row *parent, *row;
    size_t count = 0;
    enum satchel_status status = merge_row_get_named(run, touch->name, &parent);
    if (status == SATCHEL_OK)
        status = run->store->ops->find_gone(run->store, touch->name, &run->arena, &names, &count,
                                            run->batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        status = merge_row_get_named(run, names[i], &row);
        if (status == SATCHEL_OK && !row->row.exists)
            row->last_parent = parent;
    }
    return status;
}

static enum satchel_status name_concerned(struct round *round)
{
    struct merge_run *run = round->run;
    const struct satchel_schema *schema = run->store->schema;
    enum satchel_status status = SATCHEL_OK;
    for (size_t t = 0; status == SATCHEL_OK && t < round->count; t++) {
        const struct merge_touch *touch = &round->touches[t];
        for (uint32_t i = 0; status == SATCHEL_OK && i < schema->reference_count; i++)
            if (is_concerned(schema, i, touch)) {
                status = name_pointing(run, &schema->references[i], touch);
                if (status == SATCHEL_OK && !touch->only_frozen)
                    status = name_lost(run, &schema->references[i], touch);
            }
        if (status == SATCHEL_OK && run->batch->freezes_others[touch->table->number - 1])
            status = name_gone(run, touch);
    }
    return status == SATCHEL_OK ? merge_rows_load(run) : status;
}

/* What a value of the row points at by the reference, if that was touched. */
static const struct merge_touch *touch_of(struct round *round, const struct merge_row *row,
                                          uint32_t index, const struct satchel_value *value)
{
    struct merge_run *run = round->run;
    const struct satchel_schema *schema = run->store->schema;
    const struct satchel_reference *reference = &schema->references[index];
    const struct satchel_value *values = row->row.values;
    const struct satchel_value *type =
        reference->target == 0 ? &values[reference->type_column] : NULL;
    const struct satchel_table *target = merge_reference_target(schema, reference, type);
    if (!target || target->key_count != 1)
        return NULL;
    satchel_buffer_clear(&run->name);
    if (satchel_row_name(&run->name, target->number, value, 1) != SATCHEL_OK)
        return NULL;
    const struct merge_touch *touch =
        satchel_map_get(&round->by_name, satchel_buffer_span(&run->name));
    return touch && is_concerned(schema, index, touch) ? touch : NULL;
}

/* The same of the values that lost on the row, as far as this run knows them. */
static const struct merge_touch *touch_of_lost(struct round *round, const struct merge_row *row,
                                               uint32_t index)
{
    uint32_t column = round->run->store->schema->references[index].column;
    const struct merge_touch *touch = NULL;
    for (size_t i = 0; !touch && row->has_conflicts && i < row->conflicts.count; i++) {
        const struct satchel_conflict *conflict = &row->conflicts.items[i];
        if (conflict->unit == column && conflict->column_count == 1)
            touch = touch_of(round, row, index, &conflict->lost[0]);
    }
    return touch && !touch->only_frozen ? touch : NULL;
}

/* Why the row has to be looked at again; NULL: it has not. */
static const struct merge_touch *find_touch(struct round *round, const struct merge_row *row)
{
    const struct satchel_schema *schema = round->run->store->schema;
    const struct merge_touch *touch = row->lost_to;
    if (!row->row.exists)
        return row->last_parent && row->is_known
                   ? satchel_map_get(&round->by_name, row->last_parent->stored.name)
                   : NULL;
    for (uint32_t i = 0; !touch && i < schema->reference_count; i++) {
        if (schema->references[i].table != row->stored.table->number)
            continue;
        touch = touch_of(round, row, i, &row->row.values[schema->references[i].column]);
        if (!touch)
            touch = touch_of_lost(round, row, i);
    }
    return touch;
}

static enum satchel_status recompute_touched(struct round *round)
{
    struct merge_run *run = round->run;
    enum satchel_status status = SATCHEL_OK;
    size_t count = run->row_count; /* what is named from here on points elsewhere */
    for (size_t i = 0; status == SATCHEL_OK && i < count && !run->is_to_be_redone; i++) {
        const struct merge_touch *touch = find_touch(round, run->rows[i]);
        run->rows[i]->lost_to = NULL;
        if (touch)
            status =
                merge_recompute(run, round->changeset, round->notes, run->rows[i], touch->cause);
    }
    return status;
}

enum satchel_status merge_spread(struct merge_run *run, struct merge_changeset *changeset,
                                 struct merge_notes *notes)
{
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && run->touch_count > 0 && !run->is_to_be_redone) {
        struct round round = {.run = run,
                              .changeset = changeset,
                              .notes = notes,
                              .touches = run->touches,
                              .count = run->touch_count};
        run->touches = NULL; /* what follows from these is for the next round */
        run->touch_count = run->touch_capacity = 0;
        satchel_map_init(&round.by_name, MERGE_ROWS_MAX, NULL);
        status = index_touches(&round);
        if (status == SATCHEL_OK)
            status = name_concerned(&round);
        if (status == SATCHEL_OK)
            status = recompute_touched(&round);
        satchel_map_deinit(&round.by_name);
    }
    return status;
}

/* ---- machines ---- */

static bool is_judged(const struct satchel_table *table)
{
    for (uint32_t i = 0; !table->is_local && i < table->column_count; i++)
        if (table->columns[i].rule == SATCHEL_RULE_STATE)
            return true;
    return false;
}

/* Whether another machine could make another row of it. */
static enum satchel_status may_differ(struct merge_run *run, struct merge_row *row, bool *may)
{
    *may = row->stored.table->rules.freezing_state_count > 0;
    if (*may || !row->is_known)
        return SATCHEL_OK;
    enum satchel_status status = row->has_conflicts ? SATCHEL_OK : merge_conflicts_list(run, row);
    *may = status == SATCHEL_OK && row->conflicts.count > 0;
    return status;
}

/* The first part that fed the machines: if what follows is too much, it is set aside. */
static uint32_t cause_of(const struct merge_run *run, const struct merge_changeset *changeset)
{
    uint32_t part = 0;
    while (!merge_feeds_machines(run->batch, &changeset->parts[part]))
        part++;
    return part;
}

static enum satchel_status judge(struct merge_run *run, struct merge_changeset *changeset,
                                 struct merge_notes *notes, const struct satchel_span *names,
                                 size_t count)
{
    uint32_t cause = cause_of(run, changeset);
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < count && !run->is_to_be_redone; i++) {
        struct merge_row *row;
        bool may = false;
        status = merge_row_get_named(run, names[i], &row);
        if (status == SATCHEL_OK)
            status = may_differ(run, row, &may);
        if (status == SATCHEL_OK && may)
            status = merge_recompute(run, changeset, notes, row, cause);
    }
    return status;
}

static enum satchel_status judge_table(struct merge_run *run, struct merge_changeset *changeset,
                                       struct merge_notes *notes, const struct satchel_table *table)
{
    struct satchel_span after = satchel_span_of(NULL, 0), *names;
    size_t count = JUDGED_ROWS;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && count == JUDGED_ROWS && !run->is_to_be_redone) {
        status = run->store->ops->list_rows(run->store, table->number, after, JUDGED_ROWS,
                                            &run->arena, &names, &count, run->batch->error);
        if (status == SATCHEL_OK)
            status = judge(run, changeset, notes, names, count);
        if (count > 0)
            after = names[count - 1];
    }
    return status;
}

enum satchel_status merge_machines_changed(struct merge_run *run, struct merge_changeset *changeset,
                                           struct merge_notes *notes)
{
    const struct satchel_schema *schema = run->store->schema;
    const struct satchel_machine *before = run->machines;
    enum satchel_status status = merge_rows_write(run);
    if (status == SATCHEL_OK)
        status =
            run->store->ops->load_machines(run->store, true, &run->machines, run->batch->error);
    if (status != SATCHEL_OK ||
        satchel_machines_equal(before, run->machines, schema->machine_count))
        return status;
    for (uint32_t i = 0; status == SATCHEL_OK && i < schema->table_count; i++)
        if (is_judged(&schema->tables[i]))
            status = judge_table(run, changeset, notes, &schema->tables[i]);
    return status == SATCHEL_OK ? merge_spread(run, changeset, notes) : status;
}
