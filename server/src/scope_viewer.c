/* Owns one user's view: the grants now and at an earlier head, and which sets they open. */
#include "scope_viewer_internal.h"

#include <satchel/mutation.h>

static const char *const statement_sql[VIEWER_STATEMENT_COUNT] = {
    [VIEWER_GRANTS] = "SELECT value FROM satchel_held_grant WHERE user=?1",
    [VIEWER_GRANT_MOVES] = "SELECT value, is_gained, cursor FROM satchel_grant_move"
                           " WHERE user=?1 AND cursor>?2 ORDER BY cursor",
    [VIEWER_SET] = "SELECT grants FROM satchel_scope WHERE id=?1",
    [VIEWER_SCOPE] = "SELECT scope FROM satchel_row WHERE name=?1",
    [VIEWER_FIRST_MOVE] = "SELECT before FROM satchel_move WHERE name=?1 AND cursor>?2"
                          " ORDER BY cursor LIMIT 1",
    [VIEWER_MOVES_OF_ROW] = "SELECT before, cursor FROM satchel_move WHERE name=?1 AND cursor>?2"
                            " ORDER BY cursor",
    [VIEWER_MOVED] = "SELECT name FROM satchel_move INDEXED BY satchel_move_cursor"
                     " WHERE cursor>?1 AND before<>0",
    [VIEWER_SETS_OF_VALUE] = "SELECT scope FROM satchel_scope_grant WHERE value=?1",
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
    satchel_map_init(&viewer->is_changed, SCOPE_ROWS_MAX, NULL);
    look_init(&viewer->present);
    look_init(&viewer->past);
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
    look_deinit(&viewer->past);
    look_deinit(&viewer->steady);
    satchel_map_deinit(&viewer->is_changed);
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

enum satchel_status scope_viewer_set(struct scope_viewer *viewer,
                                     const struct satchel_schema *schema, struct satchel_span login,
                                     struct satchel_error *error)
{
    viewer->sees_all = !schema || !schema->has_scopes;
    viewer->has_head = viewer->left.is_known = viewer->came.is_known = false;
    satchel_arena_reset(&viewer->arena);
    look_begin(&viewer->present);
    if (viewer->sees_all)
        return SATCHEL_OK;
    viewer->login = satchel_arena_copy(&viewer->arena, login);
    enum satchel_status status = viewer->login.data ? read_grants(viewer, error) : SATCHEL_NOMEM;
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the grants of a user cannot be read");
}

bool scope_viewer_sees_all(const struct scope_viewer *viewer)
{
    return viewer->sees_all;
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

/* Whether the table alone says who sees its rows. */
static bool is_decided(const struct scope_viewer *viewer, const struct satchel_table *table,
                       bool *sees)
{
    *sees = viewer->sees_all || !table->is_server;
    return viewer->sees_all || !table->is_scoped;
}

enum satchel_status scope_sees(struct scope_viewer *viewer, const struct satchel_table *table,
                               struct satchel_span name, bool *sees, struct satchel_error *error)
{
    uint64_t set = 0;
    if (is_decided(viewer, table, sees))
        return SATCHEL_OK;
    if (SATCHEL_MUTATED(late_cut) && viewer->has_head)
        return scope_saw(viewer, table, name, viewer->head, sees, error);
    *sees = false;
    enum satchel_status status = scope_viewer_set_of(viewer, name, &set, error);
    return status == SATCHEL_OK ? scope_look_sees(viewer, &viewer->present, set, sees, error)
                                : status;
}

/* ---- at an earlier head ---- */

/* The first move of a value behind the head says whether it was held there. */
static enum satchel_status take_back(struct scope_viewer *viewer, struct satchel_span packed,
                                     bool is_gained)
{
    if (satchel_map_get(&viewer->is_changed, packed))
        return SATCHEL_OK;
    struct satchel_span kept = satchel_arena_copy(&viewer->arena, packed);
    enum satchel_status status =
        kept.data ? scope_values_add(&viewer->changed, kept) : SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = satchel_map_put(&viewer->is_changed, packed, viewer);
    (void)satchel_map_remove(&viewer->steady.grants, packed);
    if (is_gained)
        (void)satchel_map_remove(&viewer->past.grants, packed);
    else if (status == SATCHEL_OK)
        status = look_add(&viewer->past, packed);
    return status;
}

static enum satchel_status keep_move(struct scope_viewer *viewer, struct satchel_span packed,
                                     uint64_t cursor, bool is_gained)
{
    if (viewer->move_count == viewer->move_capacity) {
        size_t capacity = viewer->move_capacity ? 2 * viewer->move_capacity : 16;
        struct scope_grant_move *grown =
            SATCHEL_ARENA_ARRAY(&viewer->arena, struct scope_grant_move, capacity);
        if (!grown)
            return SATCHEL_NOMEM;
        if (viewer->move_count > 0)
            memcpy(grown, viewer->moves, viewer->move_count * sizeof *grown);
        viewer->moves = grown;
        viewer->move_capacity = capacity;
    }
    struct satchel_span kept = satchel_arena_copy(&viewer->arena, packed);
    viewer->moves[viewer->move_count++] = (struct scope_grant_move){kept, cursor, is_gained};
    return kept.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

enum satchel_status scope_viewer_look_back(struct scope_viewer *viewer, uint64_t head,
                                           struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    if (viewer->has_head && viewer->head == head)
        return SATCHEL_OK;
    viewer->has_head = viewer->left.is_known = viewer->came.is_known = false;
    satchel_map_clear(&viewer->is_changed);
    viewer->changed = (struct scope_values){.arena = &viewer->arena};
    viewer->moves = NULL;
    viewer->move_count = viewer->move_capacity = 0;
    enum satchel_status status = look_copy(&viewer->past, &viewer->present);
    if (status == SATCHEL_OK)
        status = look_copy(&viewer->steady, &viewer->present);
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_GRANT_MOVES]);
    satchel_query_text(&query, viewer->login);
    satchel_query_integer(&query, (int64_t)head);
    while (status == SATCHEL_OK) {
        status = satchel_query_step(&query, &has_row, error);
        if (status != SATCHEL_OK || !has_row)
            break;
        bool is_gained = sqlite3_column_int(query.statement, 1) != 0;
        status = pack_column(viewer, query.statement);
        if (status == SATCHEL_OK)
            status = keep_move(viewer, satchel_buffer_span(&viewer->scratch),
                               (uint64_t)sqlite3_column_int64(query.statement, 2), is_gained);
        if (status == SATCHEL_OK)
            status = take_back(viewer, satchel_buffer_span(&viewer->scratch), is_gained);
    }
    satchel_query_end(&query);
    viewer->has_head = status == SATCHEL_OK;
    viewer->head = head;
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the grants of a user cannot be read");
}

/* Until each of its moves a value was held if that took it; behind the last, if it is now. */
static bool held_between(const struct scope_viewer *viewer, struct satchel_span packed,
                         uint64_t first, uint64_t last)
{
    uint64_t since = viewer->head;
    for (size_t i = 0; i < viewer->move_count && since <= last; i++) {
        const struct scope_grant_move *move = &viewer->moves[i];
        if (!satchel_span_equal(move->packed, packed))
            continue;
        if (!move->is_gained && move->cursor > first)
            return true;
        since = move->cursor;
    }
    return since <= last && satchel_map_get(&viewer->present.grants, packed) != NULL;
}

enum satchel_status scope_viewer_saw_between(struct scope_viewer *viewer, uint64_t set,
                                             uint64_t first, uint64_t last, bool *saw,
                                             struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_span packed;
    bool has_row = false;
    enum satchel_status status = scope_look_sees(viewer, &viewer->steady, set, saw, error);
    if (status != SATCHEL_OK || *saw || set <= SCOPE_NOBODY || viewer->move_count == 0)
        return status;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_SET]);
    satchel_query_integer(&query, (int64_t)set);
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        struct scope_set_reader reader = scope_set_read(satchel_column_span(query.statement, 0));
        while (!*saw && scope_set_next(&reader, &packed))
            *saw = satchel_map_get(&viewer->is_changed, packed) &&
                   held_between(viewer, packed, first, last);
    }
    satchel_query_end(&query);
    return status;
}

enum satchel_status scope_viewer_past_set_of(struct scope_viewer *viewer, struct satchel_span name,
                                             uint64_t *set, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, viewer->db, viewer->statements[VIEWER_FIRST_MOVE]);
    satchel_query_blob(&query, name);
    satchel_query_integer(&query, (int64_t)viewer->head);
    enum satchel_status status = read_number(&query, &has_row, set, error);
    return status == SATCHEL_OK && !has_row ? scope_viewer_set_of(viewer, name, set, error)
                                            : status;
}

enum satchel_status scope_saw(struct scope_viewer *viewer, const struct satchel_table *table,
                              struct satchel_span name, uint64_t head, bool *saw,
                              struct satchel_error *error)
{
    uint64_t set = 0;
    if (is_decided(viewer, table, saw))
        return SATCHEL_OK;
    *saw = false;
    enum satchel_status status = scope_viewer_look_back(viewer, head, error);
    if (status == SATCHEL_OK)
        status = scope_viewer_past_set_of(viewer, name, &set, error);
    return status == SATCHEL_OK ? scope_look_sees(viewer, &viewer->past, set, saw, error) : status;
}
