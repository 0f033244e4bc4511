/* Owns what a row is to the author of a write: seen, new, or somebody else's. What is kept of
 * scopes is scope.h's; what follows from it for the write is the merge's. */
#include "incarnation.h"
#include "store_internal.h"
#include "timelines.h"

enum { MAKING_STEPS_MAX = 256 }; /* of a timeline that is followed to the row's beginning */

static enum satchel_status look_as(struct satchel_store_sqlite *store, struct satchel_span user,
                                   struct satchel_error *error)
{
    if (store->is_looking && satchel_span_equal(satchel_buffer_span(&store->looked_as), user))
        return SATCHEL_OK;
    if (!store->is_looking)
        store->shown_seq = store->shown_cursor = 0;
    store->is_looking = false;
    enum satchel_status status =
        store->viewer ? SATCHEL_OK : scope_viewer_new(&store->viewer, store->db, error);
    if (status == SATCHEL_OK)
        status = scope_viewer_set(store->viewer, store->schema, user, error);
    satchel_buffer_clear(&store->looked_as);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&store->looked_as, user.data, user.size);
    store->is_looking = status == SATCHEL_OK;
    return status;
}

/* ---- what the author had been shown ---- */

/* The cursor of the entry of that seq: the first up to which it is the greatest. */
static enum satchel_status cursor_of(struct satchel_store_sqlite *store, uint64_t seq,
                                     uint64_t head, uint64_t *cursor, struct satchel_error *error)
{
    uint64_t low = 0, high = head;
    enum satchel_status status = SATCHEL_OK;
    if (seq == store->shown_seq) {
        *cursor = store->shown_cursor;
        return SATCHEL_OK;
    }
    while (low < high && status == SATCHEL_OK) {
        uint64_t middle = low + (high - low) / 2, greatest = 0;
        status = satchel_log_read_seq(store->log_reader, middle, &greatest, error);
        if (greatest < seq)
            low = middle + 1;
        else
            high = middle;
    }
    satchel_log_read_end(store->log_reader);
    *cursor = low;
    if (status == SATCHEL_OK) {
        store->shown_seq = seq;
        store->shown_cursor = low;
    }
    return status;
}

/* Of an earlier incarnation what is behind its last cursor was lost. */
static enum satchel_status shown_head(struct satchel_store_sqlite *store,
                                      const struct satchel_store_author *author, uint64_t *head,
                                      struct satchel_error *error)
{
    const struct incarnations *known = author->known;
    enum satchel_status status = SATCHEL_OK;
    *head = 0;
    for (size_t i = 0; i < author->seen->count && status == SATCHEL_OK; i++) {
        const struct satchel_position *seen = &author->seen->items[i];
        bool is_present = satchel_id_equal(&seen->node, &known->node);
        uint64_t last =
            is_present ? known->cursor : satchel_vector_get(&known->lineage, &seen->node);
        uint64_t cursor = 0;
        if (last > 0)
            status = cursor_of(store, seen->seq, known->cursor, &cursor, error);
        if (cursor > last)
            cursor = last;
        if (cursor > *head)
            *head = cursor;
    }
    return status;
}

/* ---- rows that he made himself ---- */

static enum satchel_status timeline_of(struct satchel_store_sqlite *store, struct satchel_span name,
                                       uint64_t *cursor, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_ROW]);
    satchel_query_blob(&query, name);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    *cursor = has_row ? satchel_version_timeline_read(satchel_column_span(query.statement, 0)) : 0;
    satchel_query_end(&query);
    return status;
}

/* Whether the row's first write is the user's, behind `head`: he goes on with what he made, even if
 * he made it for others, until he hears of it. */
static enum satchel_status was_made(struct satchel_store_sqlite *store, struct satchel_span user,
                                    struct satchel_span name, uint64_t head, bool *out,
                                    struct satchel_error *error)
{
    struct timeline_step step;
    uint64_t cursor = 0;
    *out = false;
    enum satchel_status status = timeline_of(store, name, &cursor, error);
    if (status == SATCHEL_OK && !store->timelines)
        status = timelines_new(&store->timelines, &store->base);
    for (int i = 0; status == SATCHEL_OK && cursor > head && i < MAKING_STEPS_MAX; i++) {
        status = timelines_step(store->timelines, cursor, name, &step, error);
        if (status != SATCHEL_OK)
            break;
        *out = step.previous == 0 && satchel_span_equal(step.entry->user, user);
        cursor = step.previous;
    }
    return status;
}

/* ---- what the merge asks ---- */

/* A row that was merged into another before it had a scope is what that one is. */
static enum satchel_status look_at_survivor(struct satchel_store_sqlite *store,
                                            const struct satchel_table *table,
                                            struct satchel_span *name, struct satchel_arena *arena,
                                            enum satchel_sight *sight, struct satchel_error *error)
{
    struct satchel_span survivor = {NULL, 0};
    if (!table->rules.has_keys)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_alias_survivor(store->aliases, *name, arena, &survivor, error);
    if (status != SATCHEL_OK || survivor.size == 0)
        return status;
    *name = survivor;
    return scope_sight(store->viewer, table, survivor, sight, error);
}

/* What somebody else has: whether it was the author's when he wrote. */
static enum satchel_status look_back(struct satchel_store_sqlite *store,
                                     const struct satchel_store_author *author,
                                     const struct satchel_table *table, struct satchel_span name,
                                     struct satchel_span seen_as, bool *is_his,
                                     struct satchel_error *error)
{
    uint64_t head = 0;
    enum satchel_status status = shown_head(store, author, &head, error);
    if (status == SATCHEL_OK)
        status = scope_saw_since(store->viewer, table, seen_as, head, is_his, error);
    return status == SATCHEL_OK && !*is_his
               ? was_made(store, author->user, name, head, is_his, error)
               : status;
}

enum satchel_status store_look(struct satchel_store *base,
                               const struct satchel_store_author *author,
                               const struct satchel_table *table, struct satchel_span name,
                               enum satchel_sight *sight, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_arena arena;
    struct satchel_span seen_as = name;
    bool is_his = false;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status = look_as(store, author->user, error);
    if (status == SATCHEL_OK)
        status = scope_sight(store->viewer, table, name, sight, error);
    if (status == SATCHEL_OK && *sight == SATCHEL_SIGHT_NEW)
        status = look_at_survivor(store, table, &seen_as, &arena, sight, error);
    if (status == SATCHEL_OK && *sight == SATCHEL_SIGHT_FOREIGN && !table->is_server)
        status = look_back(store, author, table, name, seen_as, &is_his, error);
    if (is_his)
        *sight = SATCHEL_SIGHT_SEEN;
    satchel_arena_deinit(&arena);
    return status;
}

enum satchel_status store_is_granted(struct satchel_store *base,
                                     const struct satchel_store_author *author,
                                     const struct satchel_value *value, bool *is_granted,
                                     struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    *is_granted = false;
    enum satchel_status status = look_as(store, author->user, error);
    return status == SATCHEL_OK ? scope_is_granted(store->viewer, value, is_granted, error)
                                : status;
}
