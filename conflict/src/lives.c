/* Owns lives and deletes: the row as a function of every write to it. Fields of the live writes are
 * merged one by one, in the order of arrival, by unit.c. */
#include "merge.h"

#include <satchel/mutation.h>

struct lives {
    struct merge_state *state;
    const struct satchel_write *writes; /* in order of arrival */
    size_t count;
    bool *idle;  /* deletes that do nothing, because the row was frozen before */
    bool *ended; /* deletes that an insert has seen, and deletes those had seen */
    bool *live;  /* inserts and updates that no ended delete has seen */
    bool *kept;  /* live writes that no standing delete has seen */
    bool was_deleted;
    bool has_standing_delete;
    bool exists;
};

static bool is_delete(const struct satchel_write *write)
{
    return write->kind == SATCHEL_OP_DELETE;
}

/* Whether `a` (any write) had seen the delete `b`. */
static bool saw_delete(const struct lives *lives, const struct satchel_write *a,
                       const struct satchel_write *b)
{
    return a != b && merge_saw_delete(&lives->state->sight, a, merge_target_write(b));
}

static void find_ended(struct lives *lives)
{
    const struct satchel_write *writes = lives->writes;
    for (size_t i = 0; i < lives->count; i++) {
        if (!is_delete(&writes[i]))
            continue;
        lives->was_deleted = true;
        if (lives->idle[i])
            continue;
        /* Round from the next one on: who saw it usually follows soon. */
        for (size_t k = 1; k < lives->count && !lives->ended[i]; k++) {
            size_t j = i + k < lives->count ? i + k : i + k - lives->count;
            lives->ended[i] = writes[j].kind == SATCHEL_OP_INSERT &&
                              saw_delete(lives, &writes[j], &writes[i]) &&
                              !SATCHEL_MUTATED(one_life);
        }
    }
    /* An insert saw what a delete it saw had seen; arrival order is causal, so from the last down.
     */
    for (size_t i = lives->count; i-- > 0;)
        for (size_t j = 0; j < i && lives->ended[i]; j++)
            if (is_delete(&writes[j]) && !lives->ended[j] && !lives->idle[j] &&
                saw_delete(lives, &writes[i], &writes[j]))
                lives->ended[j] = true;
}

/* Whether a delete, ended or standing as asked, has seen the insert or update `write`: the last
 * ones saw most. */
static bool is_seen_by_delete(const struct lives *lives, const struct satchel_write *write,
                              bool ended)
{
    for (size_t i = lives->was_deleted ? lives->count : 0; i-- > 0;)
        if (is_delete(&lives->writes[i]) && !lives->idle[i] && lives->ended[i] == ended &&
            merge_delete_saw(&lives->state->sight, &lives->writes[i], write))
            return true;
    return false;
}

static void find_live(struct lives *lives)
{
    bool has_insert = false, has_kept = false;
    for (size_t i = 0; i < lives->count; i++) {
        const struct satchel_write *write = &lives->writes[i];
        if (is_delete(write)) {
            bool is_standing = !lives->ended[i] && !lives->idle[i];
            lives->has_standing_delete = lives->has_standing_delete || is_standing;
            continue;
        }
        lives->live[i] = !is_seen_by_delete(lives, write, true);
        if (!lives->live[i])
            continue;
        lives->kept[i] = !is_seen_by_delete(lives, write, false);
        has_insert = has_insert || write->kind == SATCHEL_OP_INSERT;
        has_kept = has_kept || lives->kept[i];
    }
    bool survives = lives->state->rules->delete_policy != SATCHEL_DELETE_DELETE_WINS && has_kept;
    lives->exists = has_insert && (!lives->has_standing_delete || survives);
}

static enum satchel_status examine(struct lives *lives, struct satchel_arena *arena)
{
    lives->idle = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->ended = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->live = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    lives->kept = SATCHEL_ARENA_ARRAY(arena, bool, lives->count);
    if (!lives->idle || !lives->ended || !lives->live || !lives->kept)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < lives->count; i++)
        lives->idle[i] =
            is_delete(&lives->writes[i]) && merge_is_idle_delete(lives->state, &lives->writes[i]);
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

/* Whether any other write of the row has seen the delete. */
static bool is_seen_delete(const struct lives *lives, const struct satchel_write *delete)
{
    for (size_t i = 0; i < lives->count; i++)
        if (saw_delete(lives, &lives->writes[i], delete))
            return true;
    return false;
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
    if (!version->deletes)
        return SATCHEL_NOMEM;
    const struct satchel_write *survivor = NULL;
    for (size_t i = 0; i < lives->count; i++) {
        const struct satchel_write *write = &lives->writes[i];
        if (lives->kept[i] &&
            (!survivor || satchel_order_compare(&survivor->order, &write->order) < 0))
            survivor = write;
        if (!is_delete(write) || lives->ended[i] || is_seen_delete(lives, write))
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
