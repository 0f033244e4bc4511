/* @follows(c): the reason belongs to the decision. A follower means something only together with
 * the value of its leader (why a deal was lost, who decided the tier).
 *
 *   value     what was written together with the winning write of the leader, or on top of it: of
 *             the writes to the follower alone that had seen the winning write, as @lww; if there
 *             are none, what the winning write carried
 *   conflict  never by itself; the conflict of a losing leader shows its followers too
 *
 *   | leader                   | follower alone                 | follower's value |
 *   | ---                      | ---                            | ---              |
 *   | nobody wrote it          | a, b unseen of each other      | b: the later     |
 *   | one write w carrying x   | none                           | x                |
 *   | w carrying x             | a that saw w, whatever clocks say | a             |
 *   | w carrying x             | a that had not seen w          | x                |
 *   | v and w unseen, w wins   | a that saw only v              | what w carried   |
 *   | the same, and one writes knowing both | -                 | what that carries |
 *
 * A device writes all followers with the leader, changed or not, and a follower alone without the
 * leader. An insert that writes any of them writes all. A write to the leader that loses (a lower
 * role's, a later @first) carries its followers with it: they are never on top of another.
 *
 * Every head and candidate of the leader carries what lies on top of it, so that whichever wins has
 * its own. Under the number of the follower itself the version keeps the writes to it alone that
 * nobody has seen: a delete must have seen them too. */
#include "merge.h"

static uint32_t place_of(const struct merge_work *work, uint32_t column)
{
    uint32_t place = 0;
    while (work->columns[place] != column)
        place++;
    return place;
}

static bool is_after(const struct merge_top *a, const struct merge_top *b)
{
    if (a->column != b->column)
        return a->column > b->column;
    return satchel_order_compare(&a->write->order, &b->write->order) > 0;
}

/* The head's tops, without those of the follower that the write had seen, and the new one; all of
 * the follower with their values. NULL: no memory. */
static struct merge_top *make_tops(const struct merge_work *work, const struct merge_head *head,
                                   const struct satchel_write *write, const struct merge_top *top,
                                   uint32_t *count)
{
    struct merge_top *tops =
        SATCHEL_ARENA_ARRAY(work->state->arena, struct merge_top, head->top_count + 1);
    *count = 0;
    for (uint32_t i = 0; tops && i < head->top_count; i++) {
        struct merge_top other = head->tops[i];
        bool is_of_follower = other.column == top->column;
        if (is_of_follower && merge_saw_unit(&work->state->sight, write, work->number,
                                             merge_target_kept(other.write)))
            continue;
        if (is_of_follower && !other.value)
            other.value = &head->values[place_of(work, top->column)];
        tops[(*count)++] = other;
    }
    if (!tops)
        return NULL;
    uint32_t place = (*count)++;
    for (; place > 0 && is_after(&tops[place - 1], top); place--)
        tops[place] = tops[place - 1];
    tops[place] = *top;
    return tops;
}

/* Lays a write to one follower on top of a head that it had seen. */
static enum satchel_status lay(struct merge_work *work, struct merge_head *head,
                               const struct satchel_write *write, const struct merge_top *top)
{
    uint32_t count;
    struct merge_top *tops = make_tops(work, head, write, top, &count);
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(work->state->arena, struct satchel_value, work->column_count);
    if (!tops || !values)
        return SATCHEL_NOMEM;
    uint32_t last = count;
    while (tops[last - 1].column != top->column)
        last--;
    memcpy(values, head->values, work->column_count * sizeof *values);
    values[place_of(work, top->column)] = *tops[last - 1].value;
    tops[last - 1].value = NULL;
    head->tops = tops;
    head->top_count = count;
    head->values = values;
    return SATCHEL_OK;
}

static enum satchel_status lay_on_all(struct merge_work *work, struct merge_head *heads,
                                      uint32_t count, const struct satchel_write *write,
                                      const struct merge_top *top)
{
    for (uint32_t i = 0; i < count; i++) {
        bool has_seen = !heads[i].write || merge_saw_unit(&work->state->sight, write, work->number,
                                                          merge_target_kept(heads[i].write));
        enum satchel_status status =
            has_seen && !heads[i].is_frozen ? lay(work, &heads[i], write, top) : SATCHEL_OK;
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

/* No write to the leader counts yet: the followers lie on the defaults. */
static enum satchel_status stand_on_defaults(struct merge_work *work)
{
    struct merge_unit *record = &work->record;
    uint32_t count;
    merge_work_choices(work, &count);
    if (count > 0)
        return SATCHEL_OK;
    record->candidates = SATCHEL_ARENA_ARRAY(work->state->arena, struct merge_head, 2);
    if (!record->candidates)
        return SATCHEL_NOMEM;
    record->candidates[0] =
        (struct merge_head){.values = work->present, .value_count = work->column_count};
    record->candidate_count = 1;
    record->has_candidates = true;
    return SATCHEL_OK;
}

/* The writes to the follower alone that nobody has seen. */
static enum satchel_status advance_alone(struct merge_work *work, const struct satchel_write *write,
                                         const struct merge_head *incoming, uint32_t column)
{
    struct merge_state *state = work->state;
    const struct merge_unit *before = merge_version_find(state->version, column);
    uint32_t count = before ? before->head_count : 0;
    struct merge_head *heads = SATCHEL_ARENA_ARRAY(state->arena, struct merge_head, count + 1);
    if (!heads)
        return SATCHEL_NOMEM;
    if (count)
        memcpy(heads, before->heads, count * sizeof *heads);
    count = merge_heads_advance(&state->sight, work->number, heads, count, write, incoming);
    const struct merge_unit record = {.unit = column, .head_count = count, .heads = heads};
    return merge_version_put(state->version, state->arena, &record);
}

static enum satchel_status merge_follower(struct merge_work *work,
                                          const struct satchel_write *write,
                                          const struct merge_write *kept,
                                          const struct satchel_value *value, uint32_t column,
                                          bool counts)
{
    struct merge_unit *record = &work->record;
    if (!counts) {
        const struct merge_head frozen = {
            .write = kept, .values = value, .value_count = 1, .is_frozen = true};
        return advance_alone(work, write, &frozen, column);
    }
    const struct merge_top top = {column, kept, value};
    enum satchel_status status = stand_on_defaults(work);
    if (status == SATCHEL_OK)
        status = lay_on_all(work, record->heads, record->head_count, write, &top);
    if (status == SATCHEL_OK && record->has_candidates)
        status = lay_on_all(work, record->candidates, record->candidate_count, write, &top);
    const struct merge_head incoming = {.write = kept};
    return status == SATCHEL_OK ? advance_alone(work, write, &incoming, column) : status;
}

enum satchel_status merge_followers(struct merge_work *work, const struct satchel_write *write,
                                    const struct merge_write *kept, bool counts)
{
    struct merge_state *state = work->state;
    for (uint32_t i = 0; i < write->field_count; i++) {
        uint32_t column = write->fields[i].column;
        if (state->rules->columns[column].unit != work->number)
            continue;
        struct satchel_value *value = satchel_arena_alloc(state->arena, sizeof *value);
        if (!value)
            return SATCHEL_NOMEM;
        enum satchel_status status = merge_written_value(state, write, column, value);
        if (status == SATCHEL_OK)
            status = satchel_value_copy(state->arena, value, value);
        if (status == SATCHEL_OK)
            status = merge_follower(work, write, kept, value, column, counts);
        if (status != SATCHEL_OK)
            return status;
    }
    if (!counts)
        return SATCHEL_OK;
    uint32_t count;
    const struct merge_head *choices = merge_work_choices(work, &count);
    return count ? merge_work_store(work, choices[merge_work_pick(work, choices, count)].values)
                 : SATCHEL_OK;
}

enum satchel_status merge_followers_seen(struct merge_work *work, const struct satchel_write *write)
{
    struct merge_state *state = work->state;
    for (uint32_t i = 0; i < work->column_count; i++) {
        const struct merge_unit *before = merge_version_find(state->version, work->columns[i]);
        if (state->rules->columns[work->columns[i]].rule != SATCHEL_RULE_FOLLOWS || !before)
            continue;
        struct merge_head *heads =
            SATCHEL_ARENA_ARRAY(state->arena, struct merge_head, before->head_count);
        if (!heads)
            return SATCHEL_NOMEM;
        uint32_t count = 0;
        for (uint32_t j = 0; j < before->head_count; j++)
            if (!merge_saw_unit(&state->sight, write, work->number,
                                merge_target_kept(before->heads[j].write)))
                heads[count++] = before->heads[j];
        if (count == 0) {
            merge_version_drop(state->version, work->columns[i]);
            continue;
        }
        const struct merge_unit record = {
            .unit = work->columns[i], .head_count = count, .heads = heads};
        enum satchel_status status = merge_version_put(state->version, state->arena, &record);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

/* Its own rule is its leader's; alone it is written as any value. */
const struct merge_rule merge_rule_follows = {
    .keeps_values = true, .pick = merge_pick_latest, .is_conflict = merge_conflict_notice};
