/* Owns the list of open conflicts: read from a row's version and values, never stored. */
#include "key_links.h"

struct gathering {
    const struct satchel_table_rules *rules;
    const struct satchel_row *row;
    struct satchel_arena *arena;
    struct satchel_conflict_list *list;
};

/* One unit as conflicts see it. */
struct contest {
    const struct gathering *gathering;
    uint32_t number;
    uint32_t single;
    const uint32_t *columns;
    uint32_t column_count;
    uint32_t leader;
    struct satchel_value *kept; /* what the row has */
};

static size_t count_max(const struct satchel_version *version)
{
    size_t count = version->delete_count;
    for (uint32_t i = 0; i < version->unit_count; i++) {
        const struct merge_unit *unit = &version->units[i];
        count += unit->head_count;
        for (uint32_t j = 0; j < unit->item_count; j++)
            count += unit->items[j].entry_count - 1;
    }
    return count;
}

static enum satchel_status open_contest(const struct gathering *gathering, uint32_t number,
                                        struct contest *out)
{
    *out = (struct contest){.gathering = gathering, .number = number};
    enum satchel_status status =
        merge_unit_columns(gathering->rules, number, gathering->arena, &out->single, &out->columns,
                           &out->column_count);
    if (status != SATCHEL_OK)
        return status;
    out->kept = SATCHEL_ARENA_ARRAY(gathering->arena, struct satchel_value, out->column_count);
    if (!out->kept)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < out->column_count; i++) {
        out->kept[i] = gathering->row->values[out->columns[i]];
        if (out->columns[i] == number)
            out->leader = i;
    }
    return SATCHEL_OK;
}

static const struct satchel_column_rules *ruling_column(const struct contest *contest)
{
    return &contest->gathering->rules->columns[contest->number];
}

static struct satchel_conflict *add_conflict(const struct contest *contest,
                                             enum satchel_conflict_kind kind,
                                             const struct merge_write *loser,
                                             const struct satchel_order *winner)
{
    struct satchel_conflict_list *list = contest->gathering->list;
    struct satchel_conflict *conflict = &list->items[list->count++];
    *conflict = (struct satchel_conflict){.kind = kind,
                                          .unit = contest->number,
                                          .member = loser->member,
                                          .rule = ruling_column(contest)->rule,
                                          .severity = SATCHEL_SEVERITY_REVIEW,
                                          .loser = loser->order,
                                          .winner = *winner,
                                          .kept = contest->kept,
                                          .column_count = contest->column_count};
    return conflict;
}

/* The heads with their values in full for the unit as it is today. NULL: no memory. */
static struct merge_head *fill_heads(const struct contest *contest, const struct merge_head *heads,
                                     uint32_t count)
{
    const struct gathering *gathering = contest->gathering;
    struct merge_head *filled = SATCHEL_ARENA_ARRAY(gathering->arena, struct merge_head, count);
    for (uint32_t i = 0; filled && i < count; i++) {
        filled[i] = heads[i];
        if (!heads[i].values) {
            filled[i].values = contest->kept;
        } else if (heads[i].value_count < contest->column_count) {
            struct satchel_value *values =
                SATCHEL_ARENA_ARRAY(gathering->arena, struct satchel_value, contest->column_count);
            if (!values)
                return NULL;
            for (uint32_t j = 0; j < contest->column_count; j++)
                values[j] = j < heads[i].value_count
                                ? heads[i].values[j]
                                : gathering->rules->columns[contest->columns[j]].default_value;
            filled[i].values = values;
        }
    }
    return filled;
}

/* Whether the head says another value of the unit itself than the row; followers never matter. */
static bool differs(const struct contest *contest, const struct merge_head *head)
{
    for (uint32_t i = 0; i < contest->column_count; i++) {
        enum satchel_rule rule = contest->gathering->rules->columns[contest->columns[i]].rule;
        if (rule != SATCHEL_RULE_FOLLOWS &&
            !satchel_value_equal(&head->values[i], &contest->kept[i]))
            return true;
    }
    return false;
}

/* Whether the head is the row's key in another spelling: that is no other key. */
static enum satchel_status is_spelling(const struct contest *contest, const struct merge_head *head,
                                       bool *out)
{
    enum satchel_rule rule = ruling_column(contest)->rule;
    struct satchel_arena *arena = contest->gathering->arena;
    struct satchel_span said, kept;
    *out = false;
    if (rule != SATCHEL_RULE_KEY && rule != SATCHEL_RULE_KEY_WEAK)
        return SATCHEL_OK;
    enum satchel_status status = key_match_of(&head->values[contest->leader], arena, &said);
    if (status == SATCHEL_OK)
        status = key_match_of(&contest->kept[contest->leader], arena, &kept);
    if (status == SATCHEL_OK)
        *out = said.size > 0 && satchel_span_equal(said, kept);
    return status;
}

/* ---- by rule ---- */

static struct merge_choice choice_of(const struct contest *contest, const struct merge_head *heads,
                                     uint32_t count)
{
    const struct satchel_column_rules *column = ruling_column(contest);
    return (struct merge_choice){heads, count, contest->leader, column,
                                 merge_machine(contest->gathering->row->context, column)};
}

/* The write whose value stands; NULL: that of none. */
static enum satchel_status find_winner(const struct contest *contest, const struct merge_unit *unit,
                                       const struct merge_write **out)
{
    const struct merge_head *choices = unit->has_candidates ? unit->candidates : unit->heads;
    uint32_t count = unit->has_candidates ? unit->candidate_count : unit->head_count;
    const struct merge_head *filled = fill_heads(contest, choices, count);
    *out = NULL;
    if (!filled)
        return SATCHEL_NOMEM;
    const struct merge_choice choice = choice_of(contest, filled, count);
    if (count > 0)
        *out = filled[merge_rule_of(choice.column->rule)->pick(&choice)].write;
    return SATCHEL_OK;
}

/* The head as a key of a row that was merged into this one, or NULL. */
static const struct merge_duplicate *find_duplicate(const struct contest *contest,
                                                    const struct merge_write *write)
{
    const struct satchel_version *version = contest->gathering->row->version;
    for (uint32_t i = 0; i < version->duplicate_count; i++)
        if (version->duplicates[i].unit == contest->number && version->duplicates[i].write == write)
            return &version->duplicates[i];
    return NULL;
}

static enum satchel_status add_duplicate(const struct contest *contest,
                                         const struct merge_duplicate *duplicate,
                                         const struct satchel_value *values)
{
    struct satchel_value *lost =
        SATCHEL_ARENA_ARRAY(contest->gathering->arena, struct satchel_value, contest->column_count);
    if (!lost)
        return SATCHEL_NOMEM;
    memcpy(lost, values, contest->column_count * sizeof *lost);
    lost[contest->leader] = duplicate->lost;
    add_conflict(contest, SATCHEL_CONFLICT_DUPLICATE, duplicate->write, &duplicate->winner->order)
        ->lost = lost;
    return SATCHEL_OK;
}

static enum satchel_status gather_heads(const struct contest *contest,
                                        const struct merge_unit *unit)
{
    const struct merge_rule *rule = merge_rule_of(ruling_column(contest)->rule);
    const struct merge_write *winner;
    const struct merge_head *filled = fill_heads(contest, unit->heads, unit->head_count);
    enum satchel_status status = filled ? find_winner(contest, unit, &winner) : SATCHEL_NOMEM;
    if (status != SATCHEL_OK || !winner)
        return status;
    for (uint32_t i = 0; i < unit->head_count; i++) {
        const struct merge_choice one = choice_of(contest, &filled[i], 1);
        const struct merge_duplicate *duplicate = find_duplicate(contest, filled[i].write);
        enum satchel_severity severity;
        bool is_same_key = false;
        if (duplicate)
            status = add_duplicate(contest, duplicate, filled[i].values);
        else
            status = is_spelling(contest, &filled[i], &is_same_key);
        if (status != SATCHEL_OK)
            return status;
        if (duplicate || is_same_key || filled[i].is_frozen || !differs(contest, &filled[i]) ||
            !rule->is_conflict(&one, &severity))
            continue;
        struct satchel_conflict *conflict =
            add_conflict(contest, SATCHEL_CONFLICT_RULE, filled[i].write, &winner->order);
        conflict->severity = severity;
        conflict->lost = filled[i].values;
    }
    return SATCHEL_OK;
}

/* Whether an earlier item has the entry's write: then it is gathered already. */
static bool is_gathered(const struct merge_unit *unit, uint32_t item,
                        const struct merge_write *write)
{
    for (uint32_t i = 0; i < item; i++)
        for (uint32_t j = 0; j + 1 < unit->items[i].entry_count; j++)
            if (unit->items[i].entries[j].write == write)
                return true;
    return false;
}

static enum satchel_status gather_keys(const struct contest *contest, const struct merge_unit *unit)
{
    struct satchel_arena *arena = contest->gathering->arena;
    for (uint32_t i = 0; i < unit->item_count; i++) {
        for (uint32_t j = 0; j + 1 < unit->items[i].entry_count; j++) {
            const struct merge_write *loser = unit->items[i].entries[j].write, *winner;
            if (is_gathered(unit, i, loser))
                continue;
            struct satchel_value *lost = satchel_arena_alloc(arena, sizeof *lost);
            enum satchel_status status =
                lost ? merge_map_lost(unit, contest->kept, loser, arena, lost, &winner)
                     : SATCHEL_NOMEM;
            if (status != SATCHEL_OK)
                return status;
            if (!winner)
                continue;
            struct satchel_conflict *conflict =
                add_conflict(contest, SATCHEL_CONFLICT_RULE, loser, &winner->order);
            conflict->severity = SATCHEL_SEVERITY_NOTICE;
            conflict->lost = lost;
        }
    }
    return SATCHEL_OK;
}

/* ---- frozen units ---- */

static const struct satchel_freeze *freeze_of(const struct contest *contest)
{
    uint32_t frozen = ruling_column(contest)->frozen;
    const struct satchel_freeze *const *freezes = contest->gathering->row->version->freezes;
    if (!freezes || frozen == SATCHEL_FROZEN_NEVER)
        return NULL;
    return freezes[frozen == SATCHEL_FROZEN_PARENT ? MERGE_FREEZE_PARENT : frozen - 1];
}

/* Whether what came too late would have changed the row. */
static enum satchel_status would_change(const struct contest *contest,
                                        const struct merge_head *head, bool *changes)
{
    const struct satchel_column_rules *column = ruling_column(contest);
    struct satchel_value after;
    *changes = differs(contest, head);
    if (!merge_rule_of(column->rule)->is_merged || head->write->is_insert)
        return SATCHEL_OK;
    enum satchel_status status = satchel_operation_apply(
        column, SATCHEL_OP_UPDATE, contest->kept, head->values, contest->gathering->arena, &after);
    if (status == SATCHEL_OK)
        *changes = !satchel_value_equal(&after, contest->kept);
    return status == SATCHEL_CORRUPT ? SATCHEL_OK : status;
}

static enum satchel_status gather_frozen(const struct contest *contest,
                                         const struct merge_unit *unit)
{
    const struct satchel_freeze *freeze = freeze_of(contest);
    const struct merge_head *filled =
        freeze ? fill_heads(contest, unit->heads, unit->head_count) : NULL;
    for (uint32_t i = 0; filled && i < unit->head_count; i++) {
        bool changes = false;
        enum satchel_status status =
            filled[i].is_frozen ? would_change(contest, &filled[i], &changes) : SATCHEL_OK;
        if (status != SATCHEL_OK)
            return status;
        if (changes)
            add_conflict(contest, SATCHEL_CONFLICT_FROZEN, filled[i].write, &freeze->order)->lost =
                filled[i].values;
    }
    return freeze && !filled ? SATCHEL_NOMEM : SATCHEL_OK;
}

/* The values lost by a write to followers alone: the row's, and what it said of followers. */
static struct satchel_value *values_beside(const struct contest *contest,
                                           const struct merge_write *loser,
                                           const struct satchel_freeze *freeze)
{
    struct satchel_conflict_list *list = contest->gathering->list;
    for (size_t i = list->count; i-- > 0 && list->items[i].unit == contest->number;)
        if (satchel_order_compare(&list->items[i].loser, &loser->order) == 0)
            return (struct satchel_value *)list->items[i].lost;
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(contest->gathering->arena, struct satchel_value, contest->column_count);
    if (!values)
        return NULL;
    memcpy(values, contest->kept, contest->column_count * sizeof *values);
    add_conflict(contest, SATCHEL_CONFLICT_FROZEN, loser, &freeze->order)->lost = values;
    return values;
}

/* `unit` has the number of a follower: what was written to it alone, too late. */
static enum satchel_status gather_frozen_follower(const struct contest *contest,
                                                  const struct merge_unit *unit)
{
    const struct satchel_freeze *freeze = freeze_of(contest);
    uint32_t place = 0;
    while (place < contest->column_count && contest->columns[place] != unit->unit)
        place++;
    for (uint32_t i = 0; freeze && place < contest->column_count && i < unit->head_count; i++) {
        const struct merge_head *head = &unit->heads[i];
        if (!head->is_frozen || !head->values ||
            satchel_value_equal(head->values, &contest->kept[place]))
            continue;
        struct satchel_value *lost = values_beside(contest, head->write, freeze);
        if (!lost)
            return SATCHEL_NOMEM;
        lost[place] = head->values[0];
    }
    return SATCHEL_OK;
}

/* ---- the whole list ---- */

static enum satchel_status gather_unit(const struct gathering *gathering,
                                       const struct merge_unit *unit)
{
    if (unit->unit >= gathering->rules->column_count)
        return SATCHEL_OK;
    struct contest contest;
    uint32_t number = gathering->rules->columns[unit->unit].unit;
    const struct merge_rule *rule = merge_rule_of(gathering->rules->columns[number].rule);
    enum satchel_status status = open_contest(gathering, number, &contest);
    if (status != SATCHEL_OK || number != unit->unit)
        return status == SATCHEL_OK ? gather_frozen_follower(&contest, unit) : status;
    if (rule->is_conflict && rule->pick)
        status = gather_heads(&contest, unit);
    else if (rule->is_conflict)
        status = gather_keys(&contest, unit);
    return status == SATCHEL_OK ? gather_frozen(&contest, unit) : status;
}

/* A change set that deletes a merged row deletes each row it is made of: one conflict. They follow
 * each other. */
static bool is_same_delete(const struct merge_write *a, const struct merge_write *b)
{
    return a->order.number == b->order.number &&
           satchel_id_equal(&a->order.device, &b->order.device);
}

static void gather_deletes(const struct gathering *gathering)
{
    const struct satchel_version *version = gathering->row->version;
    for (uint32_t i = 0; version->survivor && i < version->delete_count; i++) {
        const struct merge_write *delete = version->deletes[i];
        if (i > 0 && is_same_delete(version->deletes[i - 1], delete))
            continue;
        gathering->list->items[gathering->list->count++] =
            (struct satchel_conflict){.kind = SATCHEL_CONFLICT_DELETE,
                                      .unit = SATCHEL_COLUMN_ROW,
                                      .member = delete->member,
                                      .severity = SATCHEL_SEVERITY_REVIEW,
                                      .loser = delete->order,
                                      .winner = version->survivor->order};
    }
}

static bool is_before(const struct satchel_conflict *a, const struct satchel_conflict *b)
{
    if (a->unit != b->unit)
        return a->unit < b->unit;
    int order = satchel_order_compare(&a->loser, &b->loser);
    return order ? order < 0 : a->kind < b->kind;
}

/* Almost sorted already: only keys and followers come out of turn. */
static void sort(struct satchel_conflict_list *list)
{
    for (size_t i = 1; i < list->count; i++) {
        const struct satchel_conflict item = list->items[i];
        size_t place = i;
        for (; place > 0 && is_before(&item, &list->items[place - 1]); place--)
            list->items[place] = list->items[place - 1];
        list->items[place] = item;
    }
}

enum satchel_status satchel_row_conflicts(const struct satchel_table_rules *rules,
                                          const struct satchel_row *row,
                                          struct satchel_arena *arena,
                                          struct satchel_conflict_list *out)
{
    *out = (struct satchel_conflict_list){NULL, 0};
    const struct satchel_version *version = row->version;
    size_t most = row->exists ? count_max(version) : 0;
    if (most == 0)
        return SATCHEL_OK;
    out->items = SATCHEL_ARENA_ARRAY(arena, struct satchel_conflict, most);
    if (!out->items)
        return SATCHEL_NOMEM;
    const struct gathering gathering = {rules, row, arena, out};
    for (uint32_t i = 0; i < version->unit_count; i++) {
        enum satchel_status status = gather_unit(&gathering, &version->units[i]);
        if (status != SATCHEL_OK)
            return status;
    }
    gather_deletes(&gathering);
    sort(out);
    return SATCHEL_OK;
}
