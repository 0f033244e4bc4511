/* Owns the pending index. Knows how satchel_change keeps a change set; nothing of entries or of the
 * application's tables. */
#include "pending.h"

#include <satchel/row_io.h>
#include <satchel/sql_error.h>

#include <inttypes.h>

enum {
    CHUNK_BYTES = 256 * 1024,   /* small change sets share memory up to this */
    ROWS_MAX = 50 * 1000 * 1000 /* beyond any replica; the map wants a limit */
};
static const size_t CHUNK_BYTES_MAX = (size_t)1 << 31;

/* Memory of several change sets; freed when the last of them is dropped. */
struct satchel_pending_chunk {
    struct satchel_arena arena;
    size_t set_count;
};

static const char SELECT_CHANGES[] =
    "SELECT number, body, local FROM satchel_change WHERE number > ?1 ORDER BY number";

enum satchel_status satchel_pending_init(struct satchel_pending *pending, sqlite3 *db)
{
    memset(pending, 0, sizeof *pending);
    satchel_map_init(&pending->rows, ROWS_MAX, NULL);
    satchel_buffer_init(&pending->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&pending->scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    return sqlite3_prepare_v3(db, SELECT_CHANGES, -1, SQLITE_PREPARE_PERSISTENT, &pending->select,
                              NULL) == SQLITE_OK
               ? SATCHEL_OK
               : SATCHEL_SQL;
}

static void chunk_release(struct satchel_pending *pending, struct satchel_pending_chunk *chunk)
{
    if (--chunk->set_count > 0)
        return;
    if (chunk == pending->chunk)
        pending->chunk = NULL;
    satchel_arena_deinit(&chunk->arena);
    satchel_free(NULL, chunk);
}

static struct satchel_pending_chunk *chunk_for_set(struct satchel_pending *pending)
{
    struct satchel_pending_chunk *chunk = pending->chunk;
    if (!chunk || chunk->arena.used_bytes >= CHUNK_BYTES) {
        chunk = satchel_alloc_zero(NULL, sizeof *chunk);
        if (!chunk)
            return NULL;
        satchel_arena_init(&chunk->arena, CHUNK_BYTES_MAX, NULL);
        pending->chunk = chunk;
    }
    chunk->set_count++;
    return chunk;
}

void satchel_pending_drop_oldest(struct satchel_pending *pending)
{
    struct satchel_pending_set *set = pending->first;
    for (uint32_t i = 0; i < set->op_count; i++) {
        struct satchel_pending_row *row = set->ops[i].row;
        if (!row)
            continue; /* of a set that was only half read */
        row->first =
            set->ops[i].next; /* sets go in order, so its ops are the first of their rows */
        if (!row->first) {
            satchel_map_remove(&pending->rows, row->name);
            satchel_free(NULL, row);
            pending->row_count--;
        }
    }
    pending->first = set->next;
    if (!pending->first)
        pending->last = NULL;
    chunk_release(pending, set->chunk);
    if (pending->row_count == 0 && pending->rows.count > 0)
        satchel_map_clear(&pending->rows);
}

void satchel_pending_clear(struct satchel_pending *pending)
{
    while (pending->first)
        satchel_pending_drop_oldest(pending);
    pending->loaded_number = 0;
}

void satchel_pending_deinit(struct satchel_pending *pending)
{
    satchel_pending_clear(pending);
    satchel_map_deinit(&pending->rows);
    satchel_buffer_deinit(&pending->name);
    satchel_buffer_deinit(&pending->scratch);
    sqlite3_finalize(pending->select);
    pending->select = NULL;
}

struct satchel_pending_row *satchel_pending_find(const struct satchel_pending *pending,
                                                 struct satchel_span name)
{
    return satchel_map_get(&pending->rows, name);
}

struct satchel_pending_set *satchel_pending_oldest(const struct satchel_pending *pending,
                                                   uint64_t number)
{
    return pending->first && pending->first->number == number ? pending->first : NULL;
}

/* ---- reading satchel_change ---- */

/* An update: the old value of each field, and behind them the leaders beside its followers. */
static enum satchel_status read_update(struct satchel_cursor *local, struct satchel_arena *arena,
                                       struct satchel_pending_op *op)
{
    uint32_t count = op->part.field_count;
    uint32_t item_count = satchel_cursor_array(local, 3 * SATCHEL_COLUMNS_MAX);
    if (local->failed || item_count < count || (item_count - count) % 2 != 0)
        return SATCHEL_CORRUPT;
    uint32_t beside_count = (item_count - count) / 2;
    struct satchel_field *old = SATCHEL_ARENA_ARRAY(arena, struct satchel_field, count);
    struct satchel_field *beside = SATCHEL_ARENA_ARRAY(arena, struct satchel_field, beside_count);
    if (!old || !beside)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        old[i] = (struct satchel_field){op->part.fields[i].column, satchel_cursor_value(local)};
    for (uint32_t i = 0; i < beside_count; i++) {
        beside[i].column = (uint32_t)satchel_cursor_unsigned(local, SATCHEL_COLUMNS_MAX);
        beside[i].value = satchel_cursor_value(local);
    }
    op->old = old;
    op->old_count = count;
    op->beside = beside;
    op->beside_count = beside_count;
    return local->failed ? SATCHEL_CORRUPT : SATCHEL_OK;
}

/* A delete: the columns of the row and what they were. */
static enum satchel_status read_delete(struct satchel_cursor *local, struct satchel_arena *arena,
                                       struct satchel_pending_op *op)
{
    if (satchel_cursor_array(local, 2) != 2)
        return SATCHEL_CORRUPT;
    uint32_t count = satchel_cursor_array(local, SATCHEL_COLUMNS_MAX);
    struct satchel_field *old = SATCHEL_ARENA_ARRAY(arena, struct satchel_field, count);
    if (!old)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        old[i].column = (uint32_t)satchel_cursor_unsigned(local, SATCHEL_COLUMNS_MAX);
    if (satchel_cursor_array(local, count) != count)
        return SATCHEL_CORRUPT;
    for (uint32_t i = 0; i < count; i++)
        old[i].value = satchel_cursor_value(local);
    op->old = old;
    op->old_count = count;
    return local->failed ? SATCHEL_CORRUPT : SATCHEL_OK;
}

static enum satchel_status read_local(struct satchel_cursor *local, struct satchel_arena *arena,
                                      struct satchel_pending_op *op)
{
    switch (op->part.kind) {
    case SATCHEL_OP_INSERT: return satchel_cursor_take_nil(local) ? SATCHEL_OK : SATCHEL_CORRUPT;
    case SATCHEL_OP_UPDATE: return read_update(local, arena, op);
    case SATCHEL_OP_DELETE: return read_delete(local, arena, op);
    }
    return SATCHEL_CORRUPT;
}

/* The row that the op is shown on: the one it wrote, or the one that stands for it. Name and key in
 * `arena`. */
static enum satchel_status find_shown(struct satchel_pending *pending, struct satchel_arena *arena,
                                      struct satchel_pending_op *op, struct satchel_span *name,
                                      const struct satchel_value **key, struct satchel_error *error)
{
    struct satchel_span survivor = satchel_span_of(NULL, 0);
    uint32_t table, key_count;
    satchel_buffer_clear(&pending->name);
    enum satchel_status status =
        satchel_row_name(&pending->name, op->part.table, op->part.key, op->part.key_count);
    if (status != SATCHEL_OK)
        return status;
    *name = satchel_arena_copy(arena, satchel_buffer_span(&pending->name));
    *key = op->part.key;
    if (name->data && pending->aliases)
        status = satchel_alias_survivor(pending->aliases, *name, arena, &survivor, error);
    if (status == SATCHEL_OK && survivor.size > 0) {
        op->is_alias = true;
        *name = survivor;
        status = satchel_row_name_read(survivor, arena, &table, key, &key_count);
    }
    return status == SATCHEL_OK && !name->data ? SATCHEL_NOMEM : status;
}

static enum satchel_status index_op(struct satchel_pending *pending, struct satchel_arena *arena,
                                    struct satchel_pending_op *op, struct satchel_error *error)
{
    struct satchel_span name;
    const struct satchel_value *key;
    enum satchel_status status = find_shown(pending, arena, op, &name, &key, error);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_pending_row *row = satchel_pending_find(pending, name);
    if (!row) {
        row = satchel_alloc_zero(NULL, sizeof *row);
        if (!row)
            return SATCHEL_NOMEM;
        status = satchel_map_put(&pending->rows, name, row);
        if (status != SATCHEL_OK) {
            satchel_free(NULL, row);
            return status;
        }
        pending->row_count++;
    }
    /* Name and key of a row live with its newest op, which outlives the others. */
    row->name = name;
    row->key = key;
    if (row->first)
        row->last->next = op;
    else
        row->first = op;
    row->last = op;
    op->row = row;
    return SATCHEL_OK;
}

static enum satchel_status read_set(struct satchel_pending *pending, struct satchel_span stored,
                                    struct satchel_span local, struct satchel_pending_set *set,
                                    struct satchel_error *error)
{
    struct satchel_arena *arena = &set->chunk->arena;
    struct satchel_span body;
    enum satchel_status status = satchel_body_load(stored, &pending->scratch, &body);
    if (status != SATCHEL_OK)
        return status;
    body = satchel_arena_copy(arena, body);
    local = satchel_arena_copy(arena, local);
    if (!body.data || !local.data)
        return SATCHEL_NOMEM;
    struct satchel_changeset changeset;
    status = satchel_changeset_decode(body, arena, &changeset, error);
    if (status != SATCHEL_OK)
        return status;
    set->ops = SATCHEL_ARENA_ARRAY(arena, struct satchel_pending_op, changeset.header.part_count);
    if (!set->ops)
        return SATCHEL_NOMEM;
    set->op_count = changeset.header.part_count;
    struct satchel_cursor cursor = satchel_cursor_of(local);
    for (uint32_t i = 0; i < set->op_count && status == SATCHEL_OK; i++) {
        set->ops[i].number = set->number;
        set->ops[i].part = changeset.parts[i];
        status = read_local(&cursor, arena, &set->ops[i]);
        if (status == SATCHEL_OK)
            status = index_op(pending, arena, &set->ops[i], error);
    }
    return status;
}

static enum satchel_status add_set(struct satchel_pending *pending, uint64_t number,
                                   struct satchel_span stored, struct satchel_span local,
                                   struct satchel_error *error)
{
    struct satchel_pending_chunk *chunk = chunk_for_set(pending);
    if (!chunk)
        return SATCHEL_NOMEM;
    struct satchel_pending_set *set =
        SATCHEL_ARENA_ARRAY(&chunk->arena, struct satchel_pending_set, 1);
    if (!set) {
        chunk_release(pending, chunk);
        return SATCHEL_NOMEM;
    }
    set->chunk = chunk;
    set->number = number;
    if (pending->last)
        pending->last->next = set;
    else
        pending->first = set;
    pending->last = set;
    return read_set(pending, stored, local, set, error);
}

enum satchel_status satchel_pending_load(struct satchel_pending *pending,
                                         struct satchel_error *error)
{
    sqlite3_stmt *select = pending->select;
    enum satchel_status status = SATCHEL_OK;
    int code;
    sqlite3_bind_int64(select, 1, (sqlite3_int64)pending->loaded_number);
    while ((code = sqlite3_step(select)) == SQLITE_ROW && status == SATCHEL_OK) {
        uint64_t number = (uint64_t)sqlite3_column_int64(select, 0);
        struct satchel_span stored = satchel_span_of(sqlite3_column_blob(select, 1),
                                                     (size_t)sqlite3_column_bytes(select, 1));
        struct satchel_span local = satchel_span_of(sqlite3_column_blob(select, 2),
                                                    (size_t)sqlite3_column_bytes(select, 2));
        status = add_set(pending, number, stored, local, error);
        if (status != SATCHEL_OK)
            satchel_error_default(error, status,
                                  "the local change set %" PRIu64
                                  " in satchel_change cannot be read "
                                  "(%s); run PRAGMA integrity_check on the replica",
                                  number, satchel_status_text(status));
        pending->loaded_number = number;
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE) {
        status = satchel_sql_error(error, sqlite3_db_handle(select), "cannot read satchel_change");
    }
    sqlite3_reset(select);
    if (status != SATCHEL_OK)
        satchel_pending_clear(pending);
    return status;
}
