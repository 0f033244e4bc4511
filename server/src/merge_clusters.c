/* Owns the merge of a write where rows may be one (cluster.h): who is one with whom before and
 * after it, what becomes of every row concerned, and what has to be said of that.
 *
 * Each named row keeps a timeline of its own; which rows are one is worked out from all of them
 * together, with the write; which were, the store says. A row that another one stands for is in the
 * store as a version without content: its timeline. */
#include "merge_internal.h"

#include <satchel/cluster.h>

#include <stdlib.h>

/* A conflict of the row that stands for the cluster. */
struct open_conflict {
    uint32_t row, wrote; /* members */
    struct satchel_conflict conflict;
};

struct open_conflicts {
    struct open_conflict *items;
    size_t count, capacity;
};

struct gathering {
    struct merge_run *run;
    struct merge_changeset *changeset;
    struct merge_notes *notes;
    struct merge_row **rows; /* per member; the row written is the first */
    struct satchel_member *members;
    uint32_t count;
    bool has_write;
    bool has_begun; /* rows have been changed */
    uint32_t part;
    struct satchel_clusters *after;
    uint32_t *was, *is; /* who stood, who stands for each */
    bool *is_concerned;
    const struct satchel_table_rules *rules;
    const struct satchel_part *insert; /* the part, if it inserts */
    struct satchel_error *error;
};

/* ---- timelines ---- */

static enum satchel_status load_member(struct gathering *all, uint32_t member,
                                       const struct satchel_write *write)
{
    struct satchel_member *out = &all->members[member];
    out->name = all->rows[member]->stored.name;
    enum satchel_status status =
        merge_timeline(all->run, all->rows[member], write, &out->writes, &out->write_count);
    if (status == SATCHEL_LIMIT)
        status = satchel_error_set(all->error, SATCHEL_REFUSED,
                                   "the history of the rows with its keys is too large to merge "
                                   "into it");
    return status;
}

/* The row written comes last. */
static enum satchel_status load_members(struct gathering *all, struct merge_row **members,
                                        const struct satchel_write *write)
{
    struct satchel_arena *arena = &all->run->arena;
    uint32_t last = all->count - 1;
    all->rows = SATCHEL_ARENA_ARRAY(arena, struct merge_row *, all->count);
    all->members = SATCHEL_ARENA_ARRAY(arena, struct satchel_member, all->count);
    all->was = SATCHEL_ARENA_ARRAY(arena, uint32_t, all->count);
    all->is = SATCHEL_ARENA_ARRAY(arena, uint32_t, all->count);
    all->is_concerned = SATCHEL_ARENA_ARRAY(arena, bool, all->count);
    if (!all->rows || !all->members || !all->was || !all->is || !all->is_concerned)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < last; i++)
        all->rows[i] = members[i + 1];
    all->rows[last] = members[0];
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        status = load_member(all, i, i == last ? write : NULL);
    return status;
}

/* Rows without any write to them (it was set aside) are nobody. */
static void drop_empty(struct gathering *all)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all->count; i++)
        if (all->members[i].write_count > 0) {
            all->rows[kept] = all->rows[i];
            all->members[kept++] = all->members[i];
        }
    all->count = kept;
}

/* ---- who is one with whom ---- */

/* Who stood for the member, as everybody was told. Worked out anew it may be another: what was
 * given back may have got a position since, by which somebody had seen it. */
static enum satchel_status find_stored(struct gathering *all, uint32_t member)
{
    struct satchel_span survivor;
    enum satchel_status status =
        merge_alias_of(all->run, all->rows[member]->stored.name, &survivor);
    all->was[member] = member;
    for (uint32_t i = 0; status == SATCHEL_OK && survivor.size > 0 && i < all->count; i++)
        if (satchel_span_equal(all->rows[i]->stored.name, survivor))
            all->was[member] = i;
    return status;
}

/* The row written may be new: then it stood for itself. */
static enum satchel_status find_clusters(struct gathering *all)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        status = find_stored(all, i);
    if (status == SATCHEL_OK)
        status = satchel_clusters_new(&all->after, all->rules, all->members, all->count,
                                      &all->run->arena);
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        all->is[i] = satchel_clusters_survivor(all->after, i);
    return status;
}

/* Those that were or are one with the row written, and all that stand otherwise than before. */
static void find_concerned(struct gathering *all)
{
    uint32_t last = all->count - 1;
    for (uint32_t i = 0; i < all->count; i++)
        all->is_concerned[i] = all->was[i] == all->was[last] || all->is[i] == all->is[last] ||
                               all->was[i] != all->is[i];
    for (bool is_more = true; is_more;) {
        is_more = false;
        for (uint32_t i = 0; i < all->count; i++)
            for (uint32_t k = 0; k < all->count && all->is_concerned[i]; k++)
                if (!all->is_concerned[k] &&
                    (all->was[k] == all->was[i] || all->is[k] == all->is[i]))
                    all->is_concerned[k] = is_more = true;
    }
}

/* ---- conflicts ---- */

static enum satchel_status add_conflicts(struct gathering *all, uint32_t member,
                                         const struct satchel_row *row, struct open_conflicts *out)
{
    struct merge_run *run = all->run;
    struct satchel_conflict_list list;
    enum satchel_status status =
        merge_conflicts_of(run, all->rows[member]->stored.table, row, &list);
    for (size_t i = 0; status == SATCHEL_OK && i < list.count; i++) {
        status = MERGE_GROW(&run->arena, out->items, out->count, out->capacity);
        if (status == SATCHEL_OK)
            out->items[out->count++] =
                (struct open_conflict){member, list.items[i].member, list.items[i]};
    }
    return status;
}

/* The member that was written by the write of that order. */
static uint32_t member_of(const struct gathering *all, const struct satchel_order *order)
{
    for (uint32_t i = 0; i < all->count; i++)
        for (size_t k = 0; k < all->members[i].write_count; k++)
            if (satchel_order_compare(&all->members[i].writes[k].order, order) == 0)
                return i;
    return all->count - 1; /* cannot be: the row is made of these writes */
}

/* What was open before: by the versions of the clusters as they were, which tell members by the
 * numbers of that time. Not by rebuilding them: what lies outside may have changed since. */
static enum satchel_status conflicts_before(struct gathering *all, struct open_conflicts *out)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        if (all->was[i] == i && all->is_concerned[i] && all->rows[i]->is_known)
            status = add_conflicts(all, i, &all->rows[i]->row, out);
    for (size_t i = 0; status == SATCHEL_OK && i < out->count; i++)
        out->items[i].wrote = member_of(all, &out->items[i].conflict.loser);
    return status;
}

static int compare_conflicts(const void *left, const void *right)
{
    const struct open_conflict *a = left, *b = right;
    if (a->wrote != b->wrote)
        return a->wrote < b->wrote ? -1 : 1;
    if (a->conflict.unit != b->conflict.unit)
        return a->conflict.unit < b->conflict.unit ? -1 : 1;
    return satchel_order_compare(&a->conflict.loser, &b->conflict.loser);
}

static enum satchel_status note_conflict(struct gathering *all, const struct open_conflict *open,
                                         satchel_stamp resolved)
{
    return merge_note_conflict(all->run, all->rows[open->row], all->rows[open->wrote],
                               &open->conflict, resolved);
}

static enum satchel_status note_conflicts(struct gathering *all, struct open_conflicts *before,
                                          struct open_conflicts *after)
{
    satchel_stamp stamp = all->changeset->stamp;
    enum satchel_status status = SATCHEL_OK;
    if (before->count > 0)
        qsort(before->items, before->count, sizeof *before->items, compare_conflicts);
    if (after->count > 0)
        qsort(after->items, after->count, sizeof *after->items, compare_conflicts);
    for (size_t old = 0, new = 0;
         status == SATCHEL_OK && (old < before->count || new < after->count);) {
        struct open_conflict *was = old < before->count ? &before->items[old] : NULL;
        struct open_conflict *is = new < after->count ? &after->items[new] : NULL;
        int order = !was ? 1 : !is ? -1 : compare_conflicts(was, is);
        old += order <= 0;
        new += order >= 0;
        if (order < 0)
            status = note_conflict(all, was, stamp);
        else if (order > 0 || was->row != is->row || was->conflict.kind != is->conflict.kind ||
                 !merge_conflict_is_same(&was->conflict, &is->conflict))
            status = note_conflict(all, is, 0);
    }
    return status;
}

/* ---- rows ---- */

/* The effect of what `row` has become, for everybody and for the author of the part. */
static enum satchel_status note_row(struct gathering *all, uint32_t member,
                                    const struct satchel_merge_result *result)
{
    const struct satchel_part *part = all->has_write && all->is[member] == all->is[all->count - 1]
                                          ? &all->changeset->content.parts[all->part]
                                          : NULL;
    return merge_note_change(all->run, all->notes, part, all->rows[member],
                             all->was[member] != member, result);
}

static bool *no_changes(struct gathering *all, uint32_t member)
{
    return SATCHEL_ARENA_ARRAY(&all->run->arena, bool,
                               all->rows[member]->stored.table->column_count);
}

/* The row is another's from now on, or still: nothing but its timeline is kept. */
static enum satchel_status become_alias(struct gathering *all, uint32_t member)
{
    struct merge_run *run = all->run;
    struct merge_row *row = all->rows[member];
    const struct satchel_freeze *freeze = merge_freeze_of(row);
    struct satchel_merge_result result = {.existed_before = row->row.exists};
    struct satchel_version *version = satchel_version_new(&run->arena);
    result.changed = no_changes(all, member);
    if (!version || !result.changed)
        return SATCHEL_NOMEM;
    satchel_version_set_timeline(version, satchel_version_timeline(row->row.version));
    row->row.version = version;
    row->row.exists = false;
    row->has_conflicts = false;
    enum satchel_status status = SATCHEL_OK;
    if (all->was[member] != all->is[member]) {
        struct merge_row *into = all->rows[all->is[member]];
        status = merge_alias_set(run, row->stored.name, into->stored.name);
        if (status == SATCHEL_OK)
            status = merge_note_alias(run, all->notes, row, into);
    }
    return status == SATCHEL_OK ? merge_row_settle(run, row, &result, freeze, all->part) : status;
}

static enum satchel_status rebuild(struct gathering *all, uint32_t member,
                                   const struct satchel_write *last, struct open_conflicts *after)
{
    struct merge_run *run = all->run;
    struct merge_row *row = all->rows[member];
    const struct satchel_freeze *freeze = merge_freeze_of(row);
    struct satchel_merge_result result = {0};
    bool was_alias = all->was[member] != member;
    /* First, so that who points at it points at itself again, it too. */
    enum satchel_status status =
        was_alias ? merge_alias_set(run, row->stored.name, satchel_span_of(NULL, 0)) : SATCHEL_OK;
    if (status == SATCHEL_OK)
        status = merge_context_set(row, all->insert);
    if (status == SATCHEL_OK)
        status = satchel_clusters_rebuild(all->after, member, &row->row, last, &run->arena, &result,
                                          all->error);
    if (status == SATCHEL_REFUSED && was_alias &&
        merge_alias_set(run, row->stored.name, all->rows[all->was[member]]->stored.name) !=
            SATCHEL_OK)
        return SATCHEL_NOMEM;
    if (status != SATCHEL_OK)
        return status;
    if (all->has_write && !all->has_begun)
        merge_note_unlike(all->notes, all->part);
    all->has_begun = true;
    if (status == SATCHEL_OK)
        status = note_row(all, member, &result);
    row->has_conflicts = false;
    if (status == SATCHEL_OK)
        status = add_conflicts(all, member, &row->row, after);
    return status == SATCHEL_OK ? merge_row_settle(run, row, &result, freeze, all->part) : status;
}

/* A merge that the rules refuse leaves every row as it was: the row written is judged first. */
static enum satchel_status write_rows(struct gathering *all, struct open_conflicts *after)
{
    uint32_t last = all->count - 1, first = all->is[last];
    struct satchel_member *written = &all->members[last];
    const struct satchel_write *write =
        all->has_write ? &written->writes[written->write_count - 1] : NULL;
    enum satchel_status status = rebuild(all, first, write, after);
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        if (all->is_concerned[i] && all->is[i] != i)
            status = become_alias(all, i);
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        if (all->is_concerned[i] && all->is[i] == i && i != first)
            status = rebuild(all, i, NULL, after);
    return status;
}

/* Whoever pointed at a row that stands otherwise now. */
static enum satchel_status touch_pointing(struct gathering *all)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < all->count; i++)
        if (all->was[i] != all->is[i])
            status = merge_touch_add(all->run, all->rows[all->was[i]], false, all->part);
    return status;
}

static enum satchel_status merge_members(struct gathering *all, struct merge_row **members,
                                         const struct satchel_write *write)
{
    struct open_conflicts before = {0}, after = {0};
    enum satchel_status status = load_members(all, members, write);
    if (status != SATCHEL_OK)
        return status;
    if (!all->has_write)
        drop_empty(all);
    if (all->count == 0)
        return SATCHEL_OK;
    status = find_clusters(all);
    if (status != SATCHEL_OK)
        return status;
    find_concerned(all);
    status = conflicts_before(all, &before);
    if (status == SATCHEL_OK)
        status = write_rows(all, &after);
    if (status == SATCHEL_OK)
        status = note_conflicts(all, &before, &after);
    return status == SATCHEL_OK ? touch_pointing(all) : status;
}

enum satchel_status merge_cluster(struct merge_run *run, struct merge_changeset *changeset,
                                  struct merge_notes *notes, struct merge_row **members,
                                  uint32_t member_count, const struct satchel_write *write,
                                  uint32_t part_index, struct satchel_error *error)
{
    struct gathering all = {.run = run,
                            .changeset = changeset,
                            .notes = notes,
                            .count = member_count,
                            .has_write = write != NULL,
                            .part = part_index,
                            .rules = &members[0]->stored.table->rules,
                            .error = error};
    if (write && changeset->content.parts[part_index].kind == SATCHEL_OP_INSERT)
        all.insert = &changeset->content.parts[part_index];
    /* What a later change set of the run may mend: see merge.c. */
    if (run->changeset_count > 1 && members[0]->stored.table->may_refuse)
        return SATCHEL_REFUSED;
    run->keeps_timelines = true;
    enum satchel_status status = merge_members(&all, members, write);
    run->keeps_timelines = false;
    merge_timeline_trim(run);
    bool is_given_up = status == SATCHEL_REFUSED || status == SATCHEL_LIMIT;
    if (!is_given_up || !all.has_begun)
        return status;
    status = merge_take_back(run, changeset, part_index,
                             error->message[0] ? error->message : MERGE_TOO_LARGE);
    memset(error, 0, sizeof *error);
    return status;
}
