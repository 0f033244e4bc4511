/* Owns what a user has gained and lost since an earlier head. Rows that may be concerned are those
 * whose sets became others, and those of sets that a gained or lost grant opens; which of them are
 * is asked one by one. */
#include "scope_viewer_internal.h"

#include <satchel/mutation.h>

/* ---- rows that may be concerned ---- */

static enum satchel_status add_names(struct satchel_query *query, struct scope_values *names,
                                     struct satchel_error *error)
{
    bool has_row = false;
    enum satchel_status status;
    do {
        status = satchel_query_step(query, &has_row, error);
        if (status == SATCHEL_OK && has_row) {
            struct satchel_span name = satchel_column_copy(query->statement, 0, names->arena);
            status = name.data ? scope_values_add(names, name) : SATCHEL_NOMEM;
        }
    } while (status == SATCHEL_OK && has_row);
    satchel_query_end(query);
    return status;
}

/* Whether rows that stayed in the set are concerned. */
static enum satchel_status is_concerned(struct scope_viewer *viewer, bool is_left, uint64_t set,
                                        bool *out, struct satchel_error *error)
{
    bool sees = false, saw = false;
    enum satchel_status status = scope_look_sees(viewer, &viewer->present, set, &sees, error);
    if (status == SATCHEL_OK)
        status =
            scope_look_sees(viewer, is_left ? &viewer->ever : &viewer->steady, set, &saw, error);
    *out = is_left ? saw && !sees : sees && !saw;
    return status;
}

static enum satchel_status add_rows_of_value(struct scope_viewer *viewer, bool is_left,
                                             struct satchel_span packed, struct scope_values *names,
                                             struct satchel_error *error)
{
    struct satchel_query sets, rows;
    struct satchel_value value = scope_value_of(packed);
    bool has_set = false, concerned = false;
    enum satchel_status status;
    satchel_query_begin(&sets, viewer->db, viewer->statements[VIEWER_SETS_OF_VALUE]);
    satchel_query_value(&sets, &value);
    do {
        status = satchel_query_step(&sets, &has_set, error);
        if (status != SATCHEL_OK || !has_set)
            break;
        uint64_t set = (uint64_t)sqlite3_column_int64(sets.statement, 0);
        status = is_concerned(viewer, is_left, set, &concerned, error);
        if (status != SATCHEL_OK || !concerned)
            continue;
        satchel_query_begin(&rows, viewer->db, viewer->statements[VIEWER_ROWS_OF_SET]);
        satchel_query_integer(&rows, (int64_t)set);
        status = add_names(&rows, names, error);
    } while (status == SATCHEL_OK);
    satchel_query_end(&sets);
    return status;
}

static enum satchel_status find_candidates(struct scope_viewer *viewer, bool is_left,
                                           struct scope_candidates *out,
                                           struct satchel_error *error)
{
    struct satchel_query query;
    if (out->is_known)
        return SATCHEL_OK;
    satchel_arena_reset(&out->arena);
    out->names = (struct scope_values){.arena = &out->arena};
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_MOVED]);
    satchel_query_integer(&query, (int64_t)viewer->head);
    enum satchel_status status = add_names(&query, &out->names, error);
    for (size_t i = 0; status == SATCHEL_OK && i < viewer->changed.count; i++)
        status = add_rows_of_value(viewer, is_left, viewer->changed.items[i], &out->names, error);
    if (status == SATCHEL_OK)
        scope_values_sort(&out->names);
    out->is_known = status == SATCHEL_OK;
    return status;
}

/* ---- what was seen ---- */

/* Whether the user held the value at one of these heads, which are not before the viewer's. */
static bool was_held(const struct scope_viewer *viewer, struct satchel_span packed, uint64_t first,
                     uint64_t last)
{
    const struct scope_turns *turns = satchel_map_get(&viewer->turns, packed);
    uint64_t since = viewer->head;
    for (const struct scope_turn *turn = turns ? turns->first : NULL; turn; turn = turn->next) {
        if (!turn->is_gained && since <= last && turn->cursor > first)
            return true;
        since = turn->cursor;
    }
    return since <= last && satchel_map_get(&viewer->present.grants, packed);
}

/* Whether the user could see the set at one of these heads. */
static enum satchel_status was_open(struct scope_viewer *viewer, uint64_t set, uint64_t first,
                                    uint64_t last, bool *out, struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_span packed;
    bool has_row = false, is_whole = first == viewer->head && last == UINT64_MAX;
    enum satchel_status status = scope_look_sees(viewer, &viewer->ever, set, out, error);
    if (status != SATCHEL_OK || !*out || is_whole || set == SCOPE_EVERYONE)
        return status;
    *out = false;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_SET]);
    satchel_query_integer(&query, (int64_t)set);
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        struct scope_set_reader reader = scope_set_read(satchel_column_span(query.statement, 0));
        while (!*out && scope_set_next(&reader, &packed))
            *out = was_held(viewer, packed, first, last);
    }
    satchel_query_end(&query);
    return status;
}

/* Each of its sets from the viewer's head on, against the grants held while it had it. */
static enum satchel_status saw_since(struct scope_viewer *viewer, struct satchel_span name,
                                     bool *out, struct satchel_error *error)
{
    struct satchel_query query;
    uint64_t first = viewer->head, set = 0;
    bool has_row = false, is_over = false;
    *out = false;
    enum satchel_status status;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_MOVES_OF_ROW]);
    satchel_query_blob(&query, name);
    satchel_query_integer(&query, (int64_t)viewer->head);
    do {
        status = satchel_query_step(&query, &has_row, error);
        if (status != SATCHEL_OK || !has_row)
            break;
        uint64_t before = (uint64_t)sqlite3_column_int64(query.statement, 0);
        uint64_t cursor = (uint64_t)sqlite3_column_int64(query.statement, 1);
        status = was_open(viewer, before, first, cursor - 1, out, error);
        first = cursor;
        is_over = SATCHEL_MUTATED(left_at_head);
    } while (status == SATCHEL_OK && !*out && !is_over);
    satchel_query_end(&query);
    if (status != SATCHEL_OK || *out || is_over)
        return status;
    status = scope_viewer_set_of(viewer, name, &set, error);
    return status == SATCHEL_OK ? was_open(viewer, set, first, UINT64_MAX, out, error) : status;
}

enum satchel_status scope_saw_since(struct scope_viewer *viewer, const struct satchel_table *table,
                                    struct satchel_span name, uint64_t head, bool *saw,
                                    struct satchel_error *error)
{
    if (scope_is_decided(viewer, table, saw))
        return SATCHEL_OK;
    *saw = false;
    enum satchel_status status = scope_viewer_look_back(viewer, head, error);
    return status == SATCHEL_OK ? saw_since(viewer, name, saw, error) : status;
}

/* ---- which rows are concerned ---- */

static enum satchel_status has_left(struct scope_viewer *viewer, struct satchel_span name,
                                    uint64_t set, bool *out, struct satchel_error *error)
{
    bool sees = false;
    *out = false;
    enum satchel_status status = scope_look_sees(viewer, &viewer->present, set, &sees, error);
    return status == SATCHEL_OK && !sees ? saw_since(viewer, name, out, error) : status;
}

/* Whether one of the sets that it has had since is not one that the user could see all the time. */
static enum satchel_status has_come(struct scope_viewer *viewer, struct satchel_span name,
                                    uint64_t set, bool *out, struct satchel_error *error)
{
    struct satchel_query query;
    bool sees = false, steadily = false, has_row = false;
    *out = false;
    enum satchel_status status = scope_look_sees(viewer, &viewer->present, set, &sees, error);
    if (status == SATCHEL_OK && sees)
        status = scope_look_sees(viewer, &viewer->steady, set, &steadily, error);
    if (status != SATCHEL_OK || !sees)
        return status;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_MOVES_OF_ROW]);
    satchel_query_blob(&query, name);
    satchel_query_integer(&query, (int64_t)viewer->head);
    while (steadily) {
        status = satchel_query_step(&query, &has_row, error);
        if (status != SATCHEL_OK || !has_row)
            break;
        uint64_t before = (uint64_t)sqlite3_column_int64(query.statement, 0);
        if (before > 0)
            status = scope_look_sees(viewer, &viewer->steady, before, &steadily, error);
        if (status != SATCHEL_OK)
            break;
    }
    satchel_query_end(&query);
    *out = !steadily;
    return status;
}

/* Where the names behind `after` begin. */
static size_t find_after(const struct scope_values *names, struct satchel_span after)
{
    size_t low = 0, high = after.size > 0 ? names->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (satchel_span_compare(names->items[middle], after) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum satchel_status scope_name_prefix(struct satchel_buffer *out, uint32_t table)
{
    struct satchel_pack pack;
    satchel_buffer_clear(out);
    satchel_pack_init(&pack, out);
    satchel_pack_unsigned(&pack, table);
    return pack.status;
}

static const struct satchel_table *table_of(const struct scope_viewer *viewer,
                                            struct satchel_span name)
{
    struct satchel_cursor cursor = satchel_cursor_of(name);
    return satchel_schema_table(viewer->schema,
                                (uint32_t)satchel_cursor_unsigned(&cursor, UINT32_MAX));
}

/* The first row behind `after` of a table that is told anew, in the arena; none: empty. */
static enum satchel_status next_retold(struct scope_viewer *viewer, struct satchel_span after,
                                       struct satchel_arena *arena, struct satchel_span *out,
                                       struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    *out = satchel_span_of(NULL, 0);
    for (uint32_t i = 0; status == SATCHEL_OK && out->size == 0 && i < viewer->retold_count; i++) {
        struct satchel_query query;
        struct satchel_span first, name = satchel_span_of(NULL, 0);
        bool has_row = false;
        status = scope_name_prefix(&viewer->scratch, viewer->retold[i]);
        first = satchel_buffer_span(&viewer->scratch);
        if (status != SATCHEL_OK)
            break;
        satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_NAME_BEHIND]);
        satchel_query_blob(&query, satchel_span_compare(after, first) > 0 ? after : first);
        status = satchel_query_step(&query, &has_row, error);
        if (status == SATCHEL_OK && has_row)
            name = satchel_column_span(query.statement, 0);
        if (name.size >= first.size && memcmp(name.data, first.data, first.size) == 0) {
            *out = satchel_arena_copy(arena, name);
            status = out->data ? SATCHEL_OK : SATCHEL_NOMEM;
        }
        satchel_query_end(&query);
    }
    return status;
}

/* Candidates, and rows of tables that are told anew, ascending. */
struct walk {
    struct scope_viewer *viewer;
    const struct scope_values *names;
    size_t next;
    bool has_retold;
    struct satchel_span retold; /* the next; empty: there are no more */
    struct satchel_arena *arena;
};

static enum satchel_status walk_begin(struct walk *walk, struct satchel_span after,
                                      struct satchel_error *error)
{
    walk->next = find_after(walk->names, after);
    return walk->has_retold ? next_retold(walk->viewer, after, walk->arena, &walk->retold, error)
                            : SATCHEL_OK;
}

/* `*name` empty: that was all. */
static enum satchel_status walk_next(struct walk *walk, struct satchel_span *name, bool *is_retold,
                                     struct satchel_error *error)
{
    const struct scope_values *names = walk->names;
    struct satchel_span listed =
        walk->next < names->count ? names->items[walk->next] : satchel_span_of(NULL, 0);
    *is_retold = walk->retold.size > 0 &&
                 (listed.size == 0 || satchel_span_compare(walk->retold, listed) <= 0);
    *name = *is_retold ? walk->retold : listed;
    walk->next += listed.size > 0 && satchel_span_equal(*name, listed);
    return *is_retold ? next_retold(walk->viewer, *name, walk->arena, &walk->retold, error)
                      : SATCHEL_OK;
}

static enum satchel_status is_concerned_now(struct scope_viewer *viewer, bool is_left,
                                            struct satchel_span name, bool is_retold, bool *out,
                                            struct satchel_error *error)
{
    uint64_t set = 0;
    const struct satchel_table *table = is_retold ? table_of(viewer, name) : NULL;
    *out = false;
    if (is_retold)
        return table ? scope_sees(viewer, table, name, out, error) : SATCHEL_OK;
    enum satchel_status status = scope_viewer_set_of(viewer, name, &set, error);
    return status == SATCHEL_OK ? (is_left ? has_left : has_come)(viewer, name, set, out, error)
                                : status;
}

static enum satchel_status list(struct scope_viewer *viewer, bool is_left, uint64_t head,
                                struct satchel_span after, size_t limit,
                                struct satchel_arena *arena, struct satchel_span **names,
                                size_t *count, struct satchel_error *error)
{
    struct scope_candidates *candidates = is_left ? &viewer->left : &viewer->came;
    struct scope_values out = {.arena = arena};
    struct walk walk = {viewer, &candidates->names, 0, !is_left, {NULL, 0}, arena};
    struct satchel_span name = {NULL, 0};
    *names = NULL;
    *count = 0;
    if (viewer->sees_all)
        return SATCHEL_OK;
    enum satchel_status status = scope_viewer_look_back(viewer, head, error);
    if (status == SATCHEL_OK)
        status = find_candidates(viewer, is_left, candidates, error);
    if (status == SATCHEL_OK)
        status = walk_begin(&walk, after, error);
    while (status == SATCHEL_OK && out.count < limit) {
        bool is_one = false, is_retold = false;
        status = walk_next(&walk, &name, &is_retold, error);
        if (status != SATCHEL_OK || name.size == 0)
            break;
        status = is_concerned_now(viewer, is_left, name, is_retold, &is_one, error);
        if (status != SATCHEL_OK || !is_one)
            continue;
        name = satchel_arena_copy(arena, name);
        status = name.data ? scope_values_add(&out, name) : SATCHEL_NOMEM;
    }
    *names = out.items;
    *count = out.count;
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "what a user may see cannot be listed");
}

enum satchel_status scope_left(struct scope_viewer *viewer, uint64_t head,
                               struct satchel_span after, size_t limit, struct satchel_arena *arena,
                               struct satchel_span **names, size_t *count,
                               struct satchel_error *error)
{
    return list(viewer, true, head, after, limit, arena, names, count, error);
}

enum satchel_status scope_came(struct scope_viewer *viewer, uint64_t head,
                               struct satchel_span after, size_t limit, struct satchel_arena *arena,
                               struct satchel_span **names, size_t *count,
                               struct satchel_error *error)
{
    return list(viewer, false, head, after, limit, arena, names, count, error);
}
