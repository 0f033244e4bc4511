/* Owns lives and deletes: the row as a function of every write to it. Fields of the live writes are
 * merged one by one, in the order of arrival, by unit.c. */
#include "merge.h"

#include <satchel/mutation.h>

struct lives {
    struct merge_state *state;
    const struct satchel_write *writes; /* in order of arrival */
    size_t count;
    bool *idle;      /* deletes that do nothing, because the row was frozen before */
    bool *ended;     /* deletes that an insert has seen, and deletes those had seen */
    bool *live;      /* inserts and updates that no ended delete has seen */
    bool *kept;      /* live writes that no standing delete has seen */
    size_t *deletes; /* the places of those that are not idle, ascending */
    size_t delete_count;
    size_t *open; /* places of writes that some question is still open about */
    bool was_deleted;
    bool has_standing_delete;
    bool exists;
};

static bool is_delete(const struct satchel_write *write)
{
    return write->kind == SATCHEL_OP_DELETE;
}

/* Asks of the deletes at the first `count` open places which of them the write had seen: they are
 * marked and leave the list, the others move up. How many are left.
 *
 * All questions about one write's sight come in a row, here and below: where rows are merged, each
 * write's sight takes work (cluster.c). */
static size_t drop_seen(const struct lives *lives, const struct satchel_write *by, size_t count,
                        bool *seen)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        const struct satchel_write *asked = &lives->writes[lives->open[i]];
        if (by != asked && merge_saw_delete(&lives->state->sight, by, merge_target_write(asked)))
            seen[lives->open[i]] = true;
        else
            lives->open[left++] = lives->open[i];
    }
    return left;
}

static void list_deletes(struct lives *lives)
{
    for (size_t i = 0; i < lives->count; i++) {
        if (!is_delete(&lives->writes[i]))
            continue;
        lives->was_deleted = true;
        if (!lives->idle[i])
            lives->deletes[lives->delete_count++] = i;
    }
}

static void find_ended(struct lives *lives)
{
    size_t open_count = lives->delete_count;
    memcpy(lives->open, lives->deletes, open_count * sizeof *lives->open);
    /* From the last one down, who saw most. */
    for (size_t i = lives->count; i-- > 0 && open_count > 0 && !SATCHEL_MUTATED(one_life);)
        if (lives->writes[i].kind == SATCHEL_OP_INSERT)
            open_count = drop_seen(lives, &lives->writes[i], open_count, lives->ended);
    /* An insert saw what a delete it saw had seen; arrival order is causal, so from the last down.
     */
    for (size_t d = lives->delete_count; d-- > 0 && open_count > 0;) {
        size_t place = lives->deletes[d], earlier = 0;
        while (earlier < open_count && lives->open[earlier] < place)
            earlier++;
        if (!lives->ended[place])
            continue;
        size_t left = drop_seen(lives, &lives->writes[place], earlier, lives->ended);
        memmove(lives->open + left, lives->open + earlier,
                (open_count - earlier) * sizeof *lives->open);
        open_count -= earlier - left;
    }
}

/* Of the inserts and updates at the open places those that no delete, ended or standing as asked,
 * has seen; how many these are. */
static size_t keep_unseen(const struct lives *lives, size_t count, bool ended)
{
    for (size_t d = lives->delete_count; d-- > 0 && count > 0;) { /* the last ones saw most */
        size_t place = lives->deletes[d], left = 0;
        if (lives->ended[place] != ended)
            continue;
        for (size_t i = 0; i < count; i++)
            if (!merge_delete_saw(&lives->state->sight, &lives->writes[place],
                                  &lives->writes[lives->open[i]]))
                lives->open[left++] = lives->open[i];
        count = left;
    }
    return count;
}

static void find_live(struct lives *lives)
{
    bool has_insert = false;
    size_t count = 0;
    for (size_t i = 0; i < lives->count; i++)
        if (!is_delete(&lives->writes[i]))
            lives->open[count++] = i;
    count = keep_unseen(lives, count, true);
    for (size_t i = 0; i < count; i++) {
        lives->live[lives->open[i]] = true;
        has_insert = has_insert || lives->writes[lives->open[i]].kind == SATCHEL_OP_INSERT;
    }
    count = keep_unseen(lives, count, false);
    for (size_t i = 0; i < count; i++)
        lives->kept[lives->open[i]] = true;
    for (size_t d = 0; d < lives->delete_count; d++)
        lives->has_standing_delete = lives->has_standing_delete || !lives->ended[lives->deletes[d]];
    bool survives = lives->state->rules->delete_policy != SATCHEL_DELETE_DELETE_WINS && count > 0;
    lives->exists = has_insert && (!lives->has_standing_delete || survives);
}

static enum satchel_status examine(struct lives *lives, struct satchel_arena *arena)
{
    lives->idle = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->ended = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->live = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->kept = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->deletes = SATCHEL_ARENA_ARRAY(arena, size_t, lives->count);
    lives->open = SATCHEL_ARENA_ARRAY(arena, size_t, lives->count);
    if (!lives->idle || !lives->ended || !lives->live || !lives->kept || !lives->deletes ||
        !lives->open)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < lives->count; i++)
        lives->idle[i] =
            is_delete(&lives->writes[i]) && merge_is_idle_delete(lives->state, &lives->writes[i]);
    list_deletes(lives);
    find_ended(lives);
    find_live(lives);
    return SATCHEL_OK;
}

enum satchel_status merge_find_live(const struct merge_sight *sight,
                                    const struct satchel_write *writes, size_t write_count,
                                    struct satchel_arena *arena, bool **is_live)
{
    const struct merge_history history = {.writes = writes, .count = write_count};
    struct merge_state state = {
        .rules = sight->rules, .sight = *sight, .arena = arena, .history = &history};
    struct lives lives = {.state = &state, .writes = writes, .count = write_count};
    enum satchel_status status = examine(&lives, arena);
    *is_live = lives.live;
    return status;
}

/* Which of the deletes that have not ended another write of the row has seen. NULL: no memory. */
static const bool *find_seen_deletes(const struct lives *lives, struct satchel_arena *arena)
{
    bool *seen = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    size_t count = 0;
    for (size_t i = 0; i < lives->count; i++)
        if (is_delete(&lives->writes[i]) && !lives->ended[i])
            lives->open[count++] = i;
    for (size_t i = seen ? lives->count : 0; i-- > 0 && count > 0;)
        count = drop_seen(lives, &lives->writes[i], count, seen);
    return seen;
}

static void insert_sorted(const struct merge_write **items, uint32_t count,
                          const struct merge_write *item)
{
    uint32_t place = count;
    while (place > 0 && satchel_order_compare(&items[place - 1]->order, &item->order) > 0) {
        items[place] = items[place - 1];
        place--;
    }
    items[place] = item;
}

/* The deletes that lost, and the latest write that kept the row. */
static enum satchel_status keep_deletes(const struct lives *lives, struct merge_state *state)
{
    struct satchel_version *version = state->version;
    version->deletes = SATCHEL_ARENA_ARRAY(state->arena, const struct merge_write *, lives->count);
    const bool *seen = find_seen_deletes(lives, state->arena);
    if (!version->deletes || !seen)
        return SATCHEL_NOMEM;
    const struct satchel_write *survivor = NULL;
    for (size_t i = 0; i < lives->count; i++) {
        const struct satchel_write *write = &lives->writes[i];
        if (lives->kept[i] &&
            (!survivor || satchel_order_compare(&survivor->order, &write->order) < 0))
            survivor = write;
        if (!is_delete(write) || lives->ended[i] || seen[i])
            continue;
        const struct merge_write *kept = merge_write_keep(state->arena, write);
        if (!kept)
            return SATCHEL_NOMEM;
        insert_sorted(version->deletes, version->delete_count++, kept);
    }
    if (version->delete_count > 0 && survivor) {
        version->survivor = merge_write_keep(state->arena, survivor);
        if (!version->survivor)
            return SATCHEL_NOMEM;
    }
    return SATCHEL_OK;
}

static enum satchel_status write_fields(const struct lives *lives, struct merge_state *state)
{
    enum satchel_status status = SATCHEL_OK;
    for (size_t i = 0; status == SATCHEL_OK && i < lives->count; i++)
        if (lives->live[i])
            status = merge_state_write(state, &lives->writes[i]);
    if (status == SATCHEL_OK)
        status = merge_texts(state);
    return status == SATCHEL_OK ? merge_keep_freezes(state) : status;
}

/* A row that is gone keeps nothing: whatever comes next is answered from its timeline again. */
static enum satchel_status build(const struct lives *lives, struct merge_state *state,
                                 uint64_t timeline)
{
    state->values =
        SATCHEL_ARENA_ARRAY(state->arena, struct satchel_value, state->rules->column_count);
    state->version = satchel_version_new(state->arena);
    if (!state->values || !state->version)
        return SATCHEL_NOMEM;
    state->version->timeline = timeline;
    state->version->was_deleted = lives->was_deleted;
    state->version->is_linked = state->sight.links != NULL;
    merge_state_reset(state);
    if (!lives->exists)
        return SATCHEL_OK;
    enum satchel_status status = write_fields(lives, state);
    return status == SATCHEL_OK ? keep_deletes(lives, state) : status;
}

enum satchel_status merge_check_columns(const struct satchel_table_rules *rules,
                                        const struct satchel_write *write, size_t index,
                                        struct satchel_error *error)
{
    for (uint32_t i = 0; i < write->field_count; i++) {
        uint32_t column = write->fields[i].column;
        if (column >= rules->column_count || rules->columns[column].in_key ||
            !merge_rule_of(rules->columns[column].rule) ||
            (i > 0 && column <= write->fields[i - 1].column))
            return satchel_error_set(error, SATCHEL_REFUSED,
                                     "write %zu of the timeline does not fit column %u", index + 1,
                                     (unsigned)column);
    }
    return SATCHEL_OK;
}

enum satchel_status merge_rebuild(const struct merge_sight *sight, struct satchel_row *row,
                                  const struct satchel_write *writes, size_t write_count,
                                  const struct satchel_write *last, struct satchel_arena *arena,
                                  struct satchel_merge_result *result, struct satchel_error *error)
{
    struct merge_state state = {
        .rules = sight->rules, .sight = *sight, .context = row->context, .arena = arena};
    struct merge_history history = {.writes = writes, .count = write_count};
    struct lives lives = {.state = &state, .writes = writes, .count = write_count};
    enum satchel_status status = merge_find_freezing(&state, &history);
    state.history = &history;
    if (status == SATCHEL_OK)
        status = examine(&lives, arena);
    history.live = lives.live;
    if (status == SATCHEL_OK)
        status = build(&lives, &state, row->version->timeline);
    if (status == SATCHEL_OK)
        status = merge_result_fill(row, &state, lives.exists, last, result);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "rebuilding a row from %zu writes: %s", write_count,
                                 satchel_status_text(status));
    merge_state_commit(&state, lives.exists, row);
    return SATCHEL_OK;
}

enum satchel_status satchel_row_rebuild(const struct satchel_table_rules *rules,
                                        struct satchel_row *row, const struct satchel_write *writes,
                                        size_t write_count, struct satchel_arena *arena,
                                        struct satchel_merge_result *result,
                                        struct satchel_error *error)
{
    if (write_count == 0)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "a row is rebuilt from at least one write");
    const struct satchel_write *last = &writes[write_count - 1];
    enum satchel_status status = merge_check_write(rules, row->context, last, arena, error);
    bool was_known = last->kind == SATCHEL_OP_INSERT;
    for (size_t i = 0; status == SATCHEL_OK && i + 1 < write_count; i++) {
        was_known = was_known || writes[i].kind != SATCHEL_OP_UPDATE;
        status = merge_check_columns(rules, &writes[i], i, error);
    }
    if (status == SATCHEL_OK && !was_known)
        status = merge_refuse_missing(last, error);
    if (status != SATCHEL_OK)
        return status;
    const struct merge_sight sight = {.rules = rules};
    return merge_rebuild(&sight, row, writes, write_count, last, arena, result, error);
}

enum satchel_status satchel_row_recompute(const struct satchel_table_rules *rules,
                                          struct satchel_row *row,
                                          const struct satchel_write *writes, size_t write_count,
                                          struct satchel_arena *arena,
                                          struct satchel_merge_result *result,
                                          struct satchel_error *error)
{
    for (size_t i = 0; i < write_count; i++) {
        enum satchel_status status = merge_check_columns(rules, &writes[i], i, error);
        if (status != SATCHEL_OK)
            return status;
    }
    const struct merge_sight sight = {.rules = rules};
    return merge_rebuild(&sight, row, writes, write_count, NULL, arena, result, error);
}
