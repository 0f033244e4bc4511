/* Owns how a snapshot is read: which tables in which order, what makes a page. What a row comes to
 * is read_rows.h's; where pages are kept, snapshot.c's. */
#include "snapshot_make.h"

#include "read_rows.h"

#include <satchel/digest.h>
#include <satchel/mutation.h>
#include <sodium.h>
#include <stdlib.h>

enum {
#ifdef SATCHEL_MUTATIONS
    PAGE_ROWS = 2, /* the simulator has few rows, and wants many pages */
#else
    PAGE_ROWS = 4096,
#endif
    PAGE_BYTES = 256 << 10,      /* and roughly so much at most, or one row */
    PAGE_MEMORY_BYTES = 16 << 20 /* of rows that are gone there is nothing in it */
};
#define SQL_STAMP "SELECT stamp FROM satchel_workspace"

/* Going through a table beside the names of its rows, both in the order of the keys: what is read
 * in order needs no looking up. Names are ordered by length first, where keys are texts of
 * different lengths; and of a row that is gone there is only the name. What the walk does not come
 * upon is looked up. */
struct beside {
    struct satchel_row_walk walk;
    struct satchel_buffer name; /* of the walk's row */
    bool has_row;
};

struct snapshot_making {
    struct workspace_reader reader;
    struct satchel_job job;  /* that its user is found by */
    struct satchel_job page; /* what one page needs */
    struct rows_answer rows; /* of it */
    struct satchel_message_snapshot so_far;

    const struct satchel_table **tables; /* in order */
    uint32_t table_count, table_next;
    /* of the table before `table_next`, if it is begun */
    bool is_begun;
    struct scope_rows names;
    struct beside beside;
};

/* ---- a table ---- */

static enum satchel_status step(struct beside *beside, struct satchel_error *error)
{
    satchel_buffer_clear(&beside->name);
    enum satchel_status status = satchel_row_walk_next(&beside->walk, &beside->has_row, error);
    return status == SATCHEL_OK && beside->has_row
               ? satchel_row_walk_name(&beside->walk, &beside->name)
               : status;
}

static enum satchel_status begin_table(struct snapshot_making *making,
                                       const struct satchel_table *table)
{
    static const struct satchel_walk_bounds in_order = {.in_order = true};
    struct satchel_error *error = &making->job.error;
    struct beside *beside = &making->beside;
    *beside = (struct beside){.has_row = false};
    satchel_buffer_init(&beside->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    making->is_begun = true;
    enum satchel_status status =
        scope_rows_begin(&making->names, making->reader.viewer, table, error);
    if (status != SATCHEL_OK || !making->names.is_decided || !making->names.is_seen)
        return status;
    status = satchel_row_walk_begin(&beside->walk, making->reader.db, table, &in_order, error);
    return status == SATCHEL_OK ? step(beside, error) : status;
}

static void end_table(struct snapshot_making *making)
{
    if (!making->is_begun)
        return;
    if (making->beside.walk.statement)
        satchel_row_walk_end(&making->beside.walk);
    satchel_buffer_deinit(&making->beside.name);
    scope_rows_end(&making->names);
    making->is_begun = false;
}

/* The values of the row of that name; NULL: they are to be looked up. */
static enum satchel_status find_beside(struct beside *beside, struct satchel_span name,
                                       const struct satchel_value **values,
                                       struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    *values = NULL;
    while (status == SATCHEL_OK && beside->has_row) {
        int order = satchel_span_compare(satchel_buffer_span(&beside->name), name);
        if (order == 0)
            *values = beside->walk.values;
        if (order >= 0)
            break;
        status = step(beside, error);
    }
    return status;
}

/* ---- all tables ---- */

/* 1 before 2, and so on; tables without a priority are last. */
static int compare_tables(const void *left, const void *right)
{
    const struct satchel_table *a = *(const struct satchel_table *const *)left;
    const struct satchel_table *b = *(const struct satchel_table *const *)right;
    if (a->priority != b->priority) /* 0: none */
        return (unsigned)a->priority - 1 < (unsigned)b->priority - 1 ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* What the user needs first comes first. */
static enum satchel_status order_tables(struct snapshot_making *making)
{
    const struct satchel_schema *schema = making->reader.schema;
    uint32_t count = schema ? schema->table_count : 0;
    making->tables =
        SATCHEL_ARENA_ARRAY(&making->job.arena, const struct satchel_table *, count + 1);
    if (!making->tables)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        if (!schema->tables[i].is_local && !schema->tables[i].is_server)
            making->tables[making->table_count++] = &schema->tables[i];
    if (making->table_count > 0)
        qsort(making->tables, making->table_count, sizeof *making->tables, compare_tables);
    return SATCHEL_OK;
}

/* Of size 0: there is no more. */
static enum satchel_status next_row(struct snapshot_making *making, struct satchel_span *name)
{
    enum satchel_status status = SATCHEL_OK;
    *name = satchel_span_of(NULL, 0);
    while (status == SATCHEL_OK && name->size == 0) {
        if (!making->is_begun && making->table_next == making->table_count)
            break;
        if (!making->is_begun)
            status = begin_table(making, making->tables[making->table_next++]);
        if (status == SATCHEL_OK)
            status = scope_rows_next(&making->names, name, &making->job.error);
        if (status != SATCHEL_OK || name->size == 0)
            end_table(making);
    }
    return status;
}

/* ---- a page ---- */

/* Of rows that are gone only the conflicts are told. */
static enum satchel_status add_row(struct snapshot_making *making, struct satchel_span name)
{
    struct rows_answer *rows = &making->rows;
    const struct satchel_value *values;
    enum satchel_status status = find_beside(&making->beside, name, &values, &making->job.error);
    if (status != SATCHEL_OK)
        return status;
    name = satchel_arena_copy(&making->page.arena, name);
    if (!name.data)
        return SATCHEL_NOMEM;
    uint32_t conflict_count = rows->conflict_count;
    status = rows_add_seen(rows, name, values);
    if (status != SATCHEL_OK)
        return status;
    enum satchel_effect_kind kind = rows->effects[rows->effect_count - 1].kind;
    if (kind == SATCHEL_EFFECT_EVICT || /* it was merged into one that is not seen */
        (kind == SATCHEL_EFFECT_GONE && rows->conflict_count == conflict_count))
        rows->effect_count--;
    return SATCHEL_OK;
}

static bool is_full(const struct snapshot_making *making)
{
    return making->rows.effect_count == PAGE_ROWS || making->rows.bytes >= PAGE_BYTES ||
           making->page.arena.used_bytes >= PAGE_MEMORY_BYTES;
}

static enum satchel_status read_page(struct snapshot_making *making, struct satchel_span *notes)
{
    struct satchel_span name = {0};
    struct satchel_message_snapshot *so_far = &making->so_far;
    enum satchel_status status =
        rows_begin(&making->rows, &making->reader, &making->page, PAGE_ROWS);
    while (status == SATCHEL_OK && !is_full(making) &&
           (status = next_row(making, &name)) == SATCHEL_OK && name.size > 0)
        status = add_row(making, name);
    bool is_any = making->rows.effect_count > 0 || so_far->page_count == 0 || is_full(making);
    if (status == SATCHEL_OK && is_any)
        status = rows_notes(&making->rows, notes);
    if (status == SATCHEL_OK && is_any) {
        so_far->row_count += making->rows.effect_count;
        so_far->page_count++;
    }
    rows_end(&making->rows);
    return status;
}

enum satchel_status snapshot_making_page(struct snapshot_making *making, struct satchel_span *notes,
                                         struct satchel_error *error)
{
    *notes = satchel_span_of(NULL, 0);
    satchel_arena_reset(&making->page.arena);
    enum satchel_status status = read_page(making, notes);
    if (status != SATCHEL_OK && error)
        *error = making->page.error.message[0] ? making->page.error : making->job.error;
    return status;
}

/* ---- begun ---- */

static enum satchel_status read_stamp(struct snapshot_making *making)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        satchel_query_open(&query, making->reader.db, SQL_STAMP, &making->job.error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, &has_row, &making->job.error);
    if (status == SATCHEL_OK && has_row)
        making->so_far.stamp = (satchel_stamp)sqlite3_column_int64(query.statement, 0);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status begin(struct snapshot_making *making, const char *path)
{
    struct satchel_job *job = &making->job;
    struct satchel_message_snapshot *so_far = &making->so_far;
    enum satchel_status status = reader_open(&making->reader, path, &job->error);
    if (status == SATCHEL_OK)
        status = reader_begin(&making->reader, job);
    if (status == SATCHEL_OK)
        status = reader_end(&making->reader, job);
    if (status == SATCHEL_OK)
        status = read_stamp(making);
    if (status != SATCHEL_OK)
        return status;
    randombytes_buf(so_far->snapshot.bytes, sizeof so_far->snapshot.bytes);
    so_far->cursor = job->head;
    so_far->vector = job->vector;
    so_far->receipt = job->end;
    so_far->schema = making->reader.migration_count;
    return order_tables(making);
}

enum satchel_status snapshot_making_new(struct snapshot_making **out, const char *path,
                                        const struct satchel_id *device,
                                        struct satchel_error *error)
{
    struct snapshot_making *making = satchel_alloc_zero(NULL, sizeof *making);
    *out = NULL;
    if (!making)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a snapshot");
    making->job.device = *device;
    satchel_arena_init(&making->job.arena, WORKSPACE_JOB_BYTES_MAX, NULL);
    satchel_arena_init(&making->page.arena, SIZE_MAX / 2, NULL);
    enum satchel_status status = begin(making, path);
    if (status == SATCHEL_OK) {
        *out = making;
        return status;
    }
    if (error)
        *error = making->job.error;
    snapshot_making_free(making);
    return status;
}

void snapshot_making_free(struct snapshot_making *making)
{
    if (!making)
        return;
    end_table(making);
    reader_close(&making->reader);
    satchel_arena_deinit(&making->page.arena);
    satchel_arena_deinit(&making->job.arena);
    satchel_free(NULL, making);
}

const struct satchel_message_snapshot *snapshot_making_so_far(const struct snapshot_making *making)
{
    return &making->so_far;
}

const struct satchel_id *snapshot_making_device(const struct snapshot_making *making)
{
    return &making->job.device;
}

struct satchel_span snapshot_making_role(const struct snapshot_making *making)
{
    return scope_viewer_role(making->reader.viewer);
}
