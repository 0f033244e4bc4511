/* Owns one user's view: the grants now and since an earlier head, and which sets they open. */
#include "scope_viewer_internal.h"

#include <satchel/mutation.h>
#include <stdlib.h>

static const char *const statement_sql[VIEWER_STATEMENT_COUNT] = {
    [VIEWER_GRANTS] = "SELECT value FROM satchel_held_grant WHERE user=?1",
    [VIEWER_GRANT_MOVES] = "SELECT value, is_gained, cursor FROM satchel_grant_move"
                           " WHERE user=?1 AND cursor>?2 ORDER BY cursor",
    [VIEWER_SET] = "SELECT grants FROM satchel_scope WHERE id=?1",
    [VIEWER_SCOPE] = "SELECT scope FROM satchel_row WHERE name=?1",
    [VIEWER_MOVES_OF_ROW] = "SELECT before, cursor FROM satchel_move WHERE name=?1 AND cursor>?2"
                            " ORDER BY cursor",
    [VIEWER_MOVED] = "SELECT name FROM satchel_move INDEXED BY satchel_move_cursor"
                     " WHERE cursor>?1 AND before<>0",
    [VIEWER_SETS_OF_VALUE] = "SELECT scope FROM satchel_scope_grant WHERE value=?1",
    [VIEWER_USER] = "SELECT role, is_active FROM satchel_held_user WHERE user=?1",
    [VIEWER_ROLE_MOVES] = "SELECT before FROM satchel_role_move WHERE user=?1 AND cursor>?2",
    [VIEWER_MASK_MOVES] = "SELECT DISTINCT tbl FROM satchel_mask_move WHERE cursor>?1",
    [VIEWER_NAME_BEHIND] = "SELECT name FROM satchel_row WHERE name>?1 ORDER BY name LIMIT 1",
    [VIEWER_ROWS_OF_SET] = "SELECT name FROM satchel_row INDEXED BY satchel_row_scope"
                           " WHERE scope=?1",
};

/* ---- looks ---- */

static void look_init(struct scope_look *look)
{
    satchel_map_init(&look->grants, SCOPE_ROWS_MAX, NULL);
}

static void look_deinit(struct scope_look *look)
{
    satchel_map_deinit(&look->grants);
    satchel_free(NULL, look->verdicts);
}

static void look_begin(struct scope_look *look)
{
    satchel_map_clear(&look->grants);
    if (++look->turn < UINT32_MAX / 2)
        return;
    look->turn = 1;
    if (look->verdicts)
        memset(look->verdicts, 0, look->verdict_capacity * sizeof *look->verdicts);
}

static enum satchel_status look_add(struct scope_look *look, struct satchel_span packed)
{
    return satchel_map_put(&look->grants, packed, look);
}

static enum satchel_status look_copy(struct scope_look *look, const struct scope_look *from)
{
    struct satchel_span key;
    size_t index = 0;
    void *value;
    enum satchel_status status = SATCHEL_OK;
    look_begin(look);
    while (status == SATCHEL_OK && satchel_map_next(&from->grants, &index, &key, &value))
        status = look_add(look, key);
    return status;
}

static enum satchel_status make_room(struct scope_look *look, uint64_t set)
{
    size_t capacity = look->verdict_capacity ? look->verdict_capacity : 256;
    if (set < look->verdict_capacity)
        return SATCHEL_OK;
    while (capacity <= set)
        capacity *= 2;
    uint32_t *grown = satchel_alloc_zero(NULL, capacity * sizeof *grown);
    if (!grown)
        return SATCHEL_NOMEM;
    if (look->verdicts)
        memcpy(grown, look->verdicts, look->verdict_capacity * sizeof *grown);
    satchel_free(NULL, look->verdicts);
    look->verdicts = grown;
    look->verdict_capacity = capacity;
    return SATCHEL_OK;
}

static enum satchel_status open_set(struct scope_viewer *viewer, struct scope_look *look,
                                    uint64_t set, bool *sees, struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_span packed;
    bool has_row = false;
    *sees = false;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_SET]);
    satchel_query_integer(&query, (int64_t)set);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        struct scope_set_reader reader = scope_set_read(satchel_column_span(query.statement, 0));
        while (!*sees && scope_set_next(&reader, &packed))
            *sees = satchel_map_get(&look->grants, packed) != NULL;
    }
    satchel_query_end(&query);
    return status;
}

enum satchel_status scope_look_sees(struct scope_viewer *viewer, struct scope_look *look,
                                    uint64_t set, bool *sees, struct satchel_error *error)
{
    *sees = set == SCOPE_EVERYONE;
    if (set <= SCOPE_NOBODY)
        return SATCHEL_OK;
    enum satchel_status status = make_room(look, set);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory for scopes");
    if (look->verdicts[set] / 2 != look->turn) {
        status = open_set(viewer, look, set, sees, error);
        if (status == SATCHEL_OK)
            look->verdicts[set] = 2 * look->turn + *sees;
    }
    *sees = look->verdicts[set] % 2 != 0;
    return status;
}

/* ---- a viewer's life ---- */

enum satchel_status scope_viewer_new(struct scope_viewer **out, sqlite3 *db,
                                     struct satchel_error *error)
{
    struct scope_viewer *viewer = satchel_alloc_zero(NULL, sizeof *viewer);
    *out = NULL;
    if (!viewer)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for scopes");
    viewer->db = db;
    satchel_arena_init(&viewer->arena, SIZE_MAX / 2, NULL);
    satchel_arena_init(&viewer->left.arena, SIZE_MAX / 2, NULL);
    satchel_arena_init(&viewer->came.arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&viewer->scratch, SCOPE_BYTES_MAX, NULL);
    satchel_map_init(&viewer->turns, SCOPE_ROWS_MAX, NULL);
    look_init(&viewer->present);
    look_init(&viewer->ever);
    look_init(&viewer->steady);
    enum satchel_status status = SATCHEL_OK;
    for (int i = 0; status == SATCHEL_OK && i < VIEWER_STATEMENT_COUNT; i++)
        status = satchel_db_prepare(db, statement_sql[i], &viewer->statements[i], error);
    if (status == SATCHEL_OK)
        *out = viewer;
    else
        scope_viewer_free(viewer);
    return status;
}

void scope_viewer_free(struct scope_viewer *viewer)
{
    if (!viewer)
        return;
    for (int i = 0; i < VIEWER_STATEMENT_COUNT; i++)
        sqlite3_finalize(viewer->statements[i]);
    look_deinit(&viewer->present);
    look_deinit(&viewer->ever);
    look_deinit(&viewer->steady);
    satchel_map_deinit(&viewer->turns);
    satchel_buffer_deinit(&viewer->scratch);
    satchel_arena_deinit(&viewer->came.arena);
    satchel_arena_deinit(&viewer->left.arena);
    satchel_arena_deinit(&viewer->arena);
    satchel_free(NULL, viewer);
}

static enum satchel_status pack_column(struct scope_viewer *viewer, sqlite3_stmt *row)
{
    struct satchel_value value = satchel_value_of_column(row, 0);
    satchel_buffer_clear(&viewer->scratch);
    return scope_value_pack(&viewer->scratch, &value);
}

static enum satchel_status read_grants(struct scope_viewer *viewer, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_GRANTS]);
    satchel_query_text(&query, viewer->login);
    do {
        status = satchel_query_step(&query, &has_row, error);
        if (status == SATCHEL_OK && has_row)
            status = pack_column(viewer, query.statement);
        if (status == SATCHEL_OK && has_row)
            status = look_add(&viewer->present, satchel_buffer_span(&viewer->scratch));
    } while (status == SATCHEL_OK && has_row);
    satchel_query_end(&query);
    return status;
}

static enum satchel_status read_user(struct scope_viewer *viewer, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    viewer->role = satchel_span_of(NULL, 0);
    viewer->is_active = false;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_USER]);
    satchel_query_text(&query, viewer->login);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        viewer->role = satchel_column_copy(query.statement, 0, &viewer->arena);
        viewer->is_active = sqlite3_column_int(query.statement, 1) != 0;
        status = viewer->role.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_query_end(&query);
    return status;
}

enum satchel_status scope_viewer_set(struct scope_viewer *viewer,
                                     const struct satchel_schema *schema, struct satchel_span login,
                                     struct satchel_error *error)
{
    viewer->schema = schema;
    viewer->is_blind = false;
    viewer->sees_all = !schema || (!schema->has_scopes && !schema->has_masks);
    viewer->has_head = viewer->left.is_known = viewer->came.is_known = false;
    satchel_arena_reset(&viewer->arena);
    look_begin(&viewer->present);
    viewer->login = satchel_arena_copy(&viewer->arena, login);
    enum satchel_status status = viewer->login.data ? read_user(viewer, error) : SATCHEL_NOMEM;
    if (status == SATCHEL_OK && !viewer->sees_all)
        status = read_grants(viewer, error);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the grants of a user cannot be read");
}

bool scope_viewer_sees_all(const struct scope_viewer *viewer)
{
    return viewer->sees_all;
}

struct satchel_span scope_viewer_role(const struct scope_viewer *viewer)
{
    return viewer->role;
}

bool scope_viewer_is_active(const struct scope_viewer *viewer)
{
    return viewer->is_active;
}

void scope_viewer_blind(struct scope_viewer *viewer)
{
    viewer->sees_all = false;
    viewer->is_blind = true;
}

/* ---- now ---- */

/* The number that a query about a row gives; `otherwise` if it gives none. */
static enum satchel_status read_number(struct satchel_query *query, bool *has_row, uint64_t *out,
                                       struct satchel_error *error)
{
    enum satchel_status status = satchel_query_step(query, has_row, error);
    *out = *has_row ? (uint64_t)sqlite3_column_int64(query->statement, 0) : 0;
    satchel_query_end(query);
    return status;
}

enum satchel_status scope_viewer_set_of(struct scope_viewer *viewer, struct satchel_span name,
                                        uint64_t *set, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_SCOPE]);
    satchel_query_blob(&query, name);
    return read_number(&query, &has_row, set, error);
}

bool scope_is_decided(const struct scope_viewer *viewer, const struct satchel_table *table,
                      bool *sees)
{
    *sees = !viewer->is_blind && (viewer->sees_all || !table->is_server);
    return viewer->is_blind || viewer->sees_all || !table->is_scoped;
}

enum satchel_status scope_sees(struct scope_viewer *viewer, const struct satchel_table *table,
                               struct satchel_span name, bool *sees, struct satchel_error *error)
{
    uint64_t set = 0;
    if (scope_is_decided(viewer, table, sees))
        return SATCHEL_OK;
    if (SATCHEL_MUTATED(late_cut) && viewer->has_head)
        return scope_saw_since(viewer, table, name, viewer->head, sees, error);
    *sees = false;
    enum satchel_status status = scope_viewer_set_of(viewer, name, &set, error);
    return status == SATCHEL_OK ? scope_look_sees(viewer, &viewer->present, set, sees, error)
                                : status;
}

enum satchel_status scope_sight(struct scope_viewer *viewer, const struct satchel_table *table,
                                struct satchel_span name, enum satchel_sight *sight,
                                struct satchel_error *error)
{
    struct satchel_query query;
    uint64_t set = 0;
    bool sees = false, has_row = false;
    *sight = SATCHEL_SIGHT_SEEN;
    if (scope_is_decided(viewer, table, &sees) && sees)
        return SATCHEL_OK;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_SCOPE]);
    satchel_query_blob(&query, name);
    enum satchel_status status = read_number(&query, &has_row, &set, error);
    if (status == SATCHEL_OK)
        status = scope_look_sees(viewer, &viewer->present, set, &sees, error);
    if (!has_row || (table->is_scoped && set == 0))
        *sight = SATCHEL_SIGHT_NEW;
    else if (!sees)
        *sight = SATCHEL_SIGHT_FOREIGN;
    return status;
}

enum satchel_status scope_is_granted(struct scope_viewer *viewer, const struct satchel_value *value,
                                     bool *is_granted, struct satchel_error *error)
{
    satchel_buffer_clear(&viewer->scratch);
    enum satchel_status status = scope_value_pack(&viewer->scratch, value);
    *is_granted =
        status == SATCHEL_OK && value->type != SATCHEL_NULL &&
        satchel_map_get(&viewer->present.grants, satchel_buffer_span(&viewer->scratch)) != NULL;
    return status == SATCHEL_OK ? status
                                : satchel_error_set(error, status, "a value cannot be looked up");
}

static enum satchel_status add_sets(struct scope_viewer *viewer, struct satchel_span packed,
                                    struct satchel_arena *arena, uint64_t **sets, size_t *count,
                                    size_t *capacity, struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_value value = scope_value_of(packed);
    bool has_row = false;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_SETS_OF_VALUE]);
    satchel_query_value(&query, &value);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    while (status == SATCHEL_OK && has_row) {
        if (*count == *capacity) {
            *capacity = *capacity ? 2 * *capacity : 64;
            uint64_t *grown = SATCHEL_ARENA_ARRAY(arena, uint64_t, *capacity);
            if (grown && *count > 0)
                memcpy(grown, *sets, *count * sizeof *grown);
            *sets = grown;
            status = grown ? SATCHEL_OK : SATCHEL_NOMEM;
        }
        if (status == SATCHEL_OK)
            (*sets)[(*count)++] = (uint64_t)sqlite3_column_int64(query.statement, 0);
        if (status == SATCHEL_OK)
            status = satchel_query_step(&query, &has_row, error);
    }
    satchel_query_end(&query);
    return status;
}

static int compare_sets(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

enum satchel_status scope_viewer_sets(struct scope_viewer *viewer, struct satchel_arena *arena,
                                      uint64_t **sets, size_t *count, struct satchel_error *error)
{
    struct satchel_span packed;
    size_t index = 0, capacity = 0, kept = 0;
    void *value;
    enum satchel_status status = SATCHEL_OK;
    *sets = NULL;
    *count = 0;
    while (status == SATCHEL_OK &&
           satchel_map_next(&viewer->present.grants, &index, &packed, &value))
        status = add_sets(viewer, packed, arena, sets, count, &capacity, error);
    if (*count > 1)
        qsort(*sets, *count, sizeof **sets, compare_sets);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || (*sets)[kept - 1] != (*sets)[i])
            (*sets)[kept++] = (*sets)[i];
    *count = kept;
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the scopes of a user cannot be read");
}

/* ---- since an earlier head ---- */

static enum satchel_status turns_of(struct scope_viewer *viewer, struct satchel_span packed,
                                    struct scope_turns **out)
{
    struct scope_turns *turns = satchel_map_get(&viewer->turns, packed);
    *out = turns;
    if (turns)
        return SATCHEL_OK;
    struct satchel_span kept = satchel_arena_copy(&viewer->arena, packed);
    turns = SATCHEL_ARENA_ARRAY(&viewer->arena, struct scope_turns, 1);
    if (!kept.data || !turns)
        return SATCHEL_NOMEM;
    turns->last = &turns->first;
    *out = turns;
    enum satchel_status status = scope_values_add(&viewer->changed, kept);
    return status == SATCHEL_OK ? satchel_map_put(&viewer->turns, packed, turns) : status;
}

/* A value that was lost had been held at some head since. */
static enum satchel_status take_turn(struct scope_viewer *viewer, struct satchel_span packed,
                                     uint64_t cursor, bool is_gained)
{
    struct scope_turns *turns = NULL;
    struct scope_turn *turn = SATCHEL_ARENA_ARRAY(&viewer->arena, struct scope_turn, 1);
    enum satchel_status status = turn ? turns_of(viewer, packed, &turns) : SATCHEL_NOMEM;
    if (status != SATCHEL_OK)
        return status;
    turn->cursor = cursor;
    turn->is_gained = is_gained;
    turn->next = NULL;
    *turns->last = turn;
    turns->last = &turn->next;
    (void)satchel_map_remove(&viewer->steady.grants, packed);
    return is_gained ? SATCHEL_OK : look_add(&viewer->ever, packed);
}

/* ---- columns, since an earlier head ---- */

static bool is_seen_otherwise(const struct satchel_table *table, struct satchel_span role,
                              struct satchel_span before)
{
    bool is_otherwise = false;
    for (uint32_t i = 0; table->has_masks && !is_otherwise && i < table->column_count; i++)
        is_otherwise =
            satchel_column_is_seen(table, i, role) != satchel_column_is_seen(table, i, before);
    return is_otherwise;
}

/* Marks what the rows of a query say: with `before` a role, else a table. */
static enum satchel_status mark_retold(struct scope_viewer *viewer, struct satchel_query *query,
                                       bool is_role, bool *marks, struct satchel_error *error)
{
    const struct satchel_schema *schema = viewer->schema;
    bool has_row = false;
    enum satchel_status status;
    while ((status = satchel_query_step(query, &has_row, error)) == SATCHEL_OK && has_row) {
        struct satchel_span before = satchel_column_span(query->statement, 0);
        uint32_t moved = is_role ? 0 : (uint32_t)sqlite3_column_int64(query->statement, 0);
        for (uint32_t i = 0; i < schema->table_count; i++)
            marks[i] =
                marks[i] || (is_role ? is_seen_otherwise(&schema->tables[i], viewer->role, before)
                                     : schema->tables[i].number == moved);
    }
    satchel_query_end(query);
    return status;
}

static enum satchel_status find_retold(struct scope_viewer *viewer, uint64_t head,
                                       struct satchel_error *error)
{
    struct satchel_query query;
    uint32_t count = viewer->schema->table_count;
    bool *marks = SATCHEL_ARENA_ARRAY(&viewer->arena, bool, count + 1);
    viewer->retold = SATCHEL_ARENA_ARRAY(&viewer->arena, uint32_t, count + 1);
    viewer->retold_count = 0;
    if (!marks || !viewer->retold)
        return SATCHEL_NOMEM;
    memset(marks, 0, (count + 1) * sizeof *marks);
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_ROLE_MOVES]);
    satchel_query_text(&query, viewer->login);
    satchel_query_integer(&query, (int64_t)head);
    enum satchel_status status = mark_retold(viewer, &query, true, marks, error);
    if (status == SATCHEL_OK) {
        satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_MASK_MOVES]);
        satchel_query_integer(&query, (int64_t)head);
        status = mark_retold(viewer, &query, false, marks, error);
    }
    for (uint32_t i = 0; i < count; i++)
        if (marks[i])
            viewer->retold[viewer->retold_count++] = viewer->schema->tables[i].number;
    return status;
}

/* ---- rows, since an earlier head ---- */

enum satchel_status scope_viewer_look_back(struct scope_viewer *viewer, uint64_t head,
                                           struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    if (viewer->has_head && viewer->head == head)
        return SATCHEL_OK;
    viewer->has_head = viewer->left.is_known = viewer->came.is_known = false;
    satchel_map_clear(&viewer->turns);
    viewer->changed = (struct scope_values){.arena = &viewer->arena};
    enum satchel_status status = find_retold(viewer, head, error);
    if (status == SATCHEL_OK)
        status = look_copy(&viewer->ever, &viewer->present);
    if (status == SATCHEL_OK)
        status = look_copy(&viewer->steady, &viewer->present);
    if (status != SATCHEL_OK)
        return satchel_error_default(error, status, "what a user could see cannot be read");
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_GRANT_MOVES]);
    satchel_query_text(&query, viewer->login);
    satchel_query_integer(&query, (int64_t)head);
    while (status == SATCHEL_OK) {
        status = satchel_query_step(&query, &has_row, error);
        if (status != SATCHEL_OK || !has_row)
            break;
        status = pack_column(viewer, query.statement);
        if (status == SATCHEL_OK)
            status = take_turn(viewer, satchel_buffer_span(&viewer->scratch),
                               (uint64_t)sqlite3_column_int64(query.statement, 2),
                               sqlite3_column_int(query.statement, 1) != 0);
    }
    satchel_query_end(&query);
    viewer->has_head = status == SATCHEL_OK;
    viewer->head = head;
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the grants of a user cannot be read");
}
