/* @text3: a text that several people write on, line by line.
 *
 *   value     one head: its text. Several: the edits of all heads against the text they all started
 *             from (the latest by order of the writes that every head had seen, else the default);
 *             where two edits touch the same lines, the later head's stand
 *   conflict  each head that lost such lines: for a person to review
 *
 *   | heads, on the text a b c      | value   | open conflicts |
 *   | ---                           | ---     | ---            |
 *   | none                          | the declared default | none |
 *   | one                           | its text | none          |
 *   | A b c, then a b C, unseen     | A b C   | none           |
 *   | a B c, then a X c, unseen     | a X c   | the first      |
 *   | A b c and A b c, unseen       | A b c   | none           |
 *   | NULL and NULL                 | NULL    | none           |
 *
 * Several heads are merged from the row's timeline, never from what arrived first. NULL counts as
 * the empty text. The version keeps the values of the heads that lost lines. */
#include "merge.h"
#include "text3.h"

struct text_merge {
    struct merge_state *state;
    struct merge_work work;
    struct merge_head *heads; /* that make the text */
    uint32_t head_count;
    const struct satchel_write **writes; /* of the heads */
    struct satchel_span *sides;
    bool *lost;
};

static const struct satchel_write *write_of(const struct merge_history *history,
                                            const struct merge_write *kept)
{
    for (size_t i = 0; i < history->count; i++)
        if (satchel_order_compare(&history->writes[i].order, &kept->order) == 0)
            return &history->writes[i];
    return NULL;
}

static struct satchel_span text_of(const struct satchel_value *value)
{
    bool has_text = value->type == SATCHEL_TEXT || value->type == SATCHEL_BLOB;
    return has_text ? value->bytes : satchel_span_of(NULL, 0);
}

static bool all_saw(const struct text_merge *merge, const struct satchel_write *write)
{
    for (uint32_t i = 0; i < merge->head_count; i++)
        if (merge->writes[i] == write ||
            !merge_saw_unit(&merge->state->sight, merge->writes[i], merge->work.number,
                            merge_target_write(write)))
            return false;
    return true;
}

/* The text that all heads started from. */
static enum satchel_status find_base(const struct text_merge *merge, struct satchel_value *base)
{
    const struct merge_history *history = merge->state->history;
    const struct satchel_write *latest = NULL;
    uint32_t column = merge->work.number;
    for (size_t i = 0; i < history->count; i++) {
        const struct satchel_write *write = &history->writes[i];
        const struct satchel_field *field = merge_find_field(write, column);
        bool is_written = field && !merge_field_is_default(merge->state->rules, write, field);
        bool is_later = !latest || satchel_order_compare(&latest->order, &write->order) < 0;
        if (history->live[i] && is_written && is_later && all_saw(merge, write))
            latest = write;
    }
    if (latest)
        return merge_written_value(merge->state, latest, column, base);
    *base = merge->state->rules->columns[column].default_value;
    return SATCHEL_OK;
}

static enum satchel_status prepare(struct text_merge *merge, struct merge_state *state,
                                   uint32_t number)
{
    *merge = (struct text_merge){.state = state};
    enum satchel_status status = merge_work_load(&merge->work, state, number);
    if (status != SATCHEL_OK)
        return status;
    struct merge_unit *record = &merge->work.record;
    merge->heads = record->has_candidates ? record->candidates : record->heads;
    merge->head_count = record->has_candidates ? record->candidate_count : record->head_count;
    merge->writes =
        SATCHEL_ARENA_ARRAY(state->arena, const struct satchel_write *, merge->head_count);
    merge->sides = SATCHEL_ARENA_ARRAY(state->arena, struct satchel_span, merge->head_count);
    merge->lost = SATCHEL_ARENA_ARRAY(state->arena, bool, merge->head_count);
    if (!merge->writes || !merge->sides || !merge->lost)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < merge->head_count; i++) {
        merge->writes[i] = write_of(state->history, merge->heads[i].write);
        merge->sides[i] = text_of(&merge->heads[i].values[merge->work.leader]);
    }
    return SATCHEL_OK;
}

static bool are_all_null(const struct text_merge *merge)
{
    for (uint32_t i = 0; i < merge->head_count; i++)
        if (merge->heads[i].values[merge->work.leader].type != SATCHEL_NULL)
            return false;
    return true;
}

/* Heads that lost nothing are shown by the merged text, whatever they said. */
static void mark_lost(const struct text_merge *merge, struct merge_head *heads, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < merge->head_count; j++)
            if (heads[i].write == merge->heads[j].write && !merge->lost[j])
                heads[i].values = NULL;
}

static enum satchel_status merge_text(struct merge_state *state, uint32_t number)
{
    struct text_merge merge;
    struct satchel_value base;
    enum satchel_status status = prepare(&merge, state, number);
    if (status != SATCHEL_OK || merge.head_count < 2)
        return status;
    status = find_base(&merge, &base);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_span merged;
    status = satchel_text3_merge(text_of(&base), merge.sides, merge.head_count, state->arena,
                                 &merged, merge.lost);
    if (status != SATCHEL_OK)
        return status;
    struct merge_unit *record = &merge.work.record;
    struct satchel_value decided =
        are_all_null(&merge) ? satchel_value_null() : satchel_value_text(merged);
    if (record->has_candidates)
        mark_lost(&merge, record->heads, record->head_count);
    mark_lost(&merge, merge.heads, merge.head_count);
    return merge_work_store(&merge.work, &decided);
}

enum satchel_status merge_texts(struct merge_state *state)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < state->version->unit_count; i++) {
        const struct merge_unit *record = &state->version->units[i];
        uint32_t count = record->has_candidates ? record->candidate_count : record->head_count;
        if (record->unit < state->rules->column_count && count > 1 &&
            state->rules->columns[record->unit].unit == record->unit &&
            merge_rule_of(state->rules->columns[record->unit].rule)->is_text)
            status = merge_text(state, record->unit);
    }
    return status;
}

const struct merge_rule merge_rule_text3 = {.keeps_values = true,
                                            .is_text = true,
                                            .pick = merge_pick_latest,
                                            .is_conflict = merge_conflict_review};
