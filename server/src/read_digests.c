/* Owns the answers to DIGEST_REQUEST and RANGES_REQUEST (docs/digests.md): the sums that are kept
 * of what a user may see, and sums over the rows themselves, a bounded number of them. */
#include "digest_keep.h"
#include "incarnation.h"
#include "scope_internal.h"
#include "workspace_internal.h"

#include <satchel/digest.h>

#define SQL_SUMS "SELECT tbl, col, row_count, sum FROM satchel_digest WHERE scope=?1"

enum {
    WALK_ROWS = 16384,       /* after so many rows, seen by the user or not, an answer ends ... */
    WALK_ROWS_MAX = 1 << 20, /* ... where it has come to any that he sees */
    WALK_BYTES = 16 << 20,   /* likewise of their values */
    ANSWER_BYTES_MAX = 64 << 10, /* of the names of ranges */
};

/* ---- kept sums ---- */

static bool is_counted(const struct workspace_reader *reader, const struct satchel_table *table,
                       int64_t col)
{
    if (!table || table->is_local || (table->is_server && !scope_viewer_sees_all(reader->viewer)))
        return false;
    return col == DIGEST_ROWS ||
           (col < table->column_count &&
            satchel_column_is_seen(table, (uint32_t)col, scope_viewer_role(reader->viewer)));
}

/* Adds the sums of one set; `sums` by table. */
static enum satchel_status add_set(struct workspace_reader *reader, sqlite3_stmt *select,
                                   uint64_t set, struct satchel_table_digest *sums,
                                   struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, reader->db, select);
    satchel_query_integer(&query, (int64_t)set);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    while (status == SATCHEL_OK && has_row) {
        struct satchel_id sum;
        uint32_t number = (uint32_t)sqlite3_column_int64(select, 0);
        if (is_counted(reader, satchel_schema_table(reader->schema, number),
                       sqlite3_column_int64(select, 1)) &&
            satchel_column_id(select, 3, &sum)) {
            satchel_digest_add(&sums[number - 1].digest, &sum);
            sums[number - 1].row_count += (uint64_t)sqlite3_column_int64(select, 2);
        }
        status = satchel_query_step(&query, &has_row, error);
    }
    satchel_query_end(&query);
    return status;
}

static enum satchel_status add_sets(struct workspace_reader *reader, struct satchel_job *job,
                                    struct satchel_table_digest *sums)
{
    uint64_t *sets = NULL;
    size_t count = 0;
    struct satchel_query query;
    enum satchel_status status = SATCHEL_OK;
    if (job->is_drained) /* nothing is told of rows any more */
        return SATCHEL_OK;
    if (!scope_viewer_sees_all(reader->viewer))
        status = scope_viewer_sets(reader->viewer, &job->arena, &sets, &count, &job->error);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, reader->db, SQL_SUMS, &job->error);
    if (status != SATCHEL_OK)
        return status;
    status = add_set(reader, query.statement, DIGEST_WHOLE_TABLE, sums, &job->error);
    if (status == SATCHEL_OK)
        status = add_set(reader, query.statement, SCOPE_EVERYONE, sums, &job->error);
    for (size_t i = 0; i < count && status == SATCHEL_OK; i++)
        status = add_set(reader, query.statement, sets[i], sums, &job->error);
    satchel_query_close(&query);
    return status;
}

static void log_repairs(struct satchel_workspace *workspace, const struct workspace_reader *reader,
                        struct satchel_job *job)
{
    const struct satchel_message_digest_request *request = &job->request.digest_request;
    char device[SATCHEL_ID_TEXT_BYTES];
    uint64_t last = 0; /* a table twice would only fill the log */
    satchel_id_text(&job->device, device);
    for (uint32_t i = 0; i < request->repair_count; i++) {
        const struct satchel_table *table =
            reader->schema
                ? satchel_schema_table(reader->schema, (uint32_t)request->repairs[i].table)
                : NULL;
        if (!table || request->repairs[i].table <= last || request->repairs[i].row_count == 0)
            continue;
        last = request->repairs[i].table;
        job->repaired_count += request->repairs[i].row_count;
        workspace_log(workspace, "device %s of %.*s has repaired %llu rows of table %s", device,
                      (int)reader->login.size, (const char *)reader->login.data,
                      (unsigned long long)request->repairs[i].row_count, table->name);
    }
}

enum satchel_status digests_read(struct satchel_workspace *workspace,
                                 struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_message *answer = &job->answers[0];
    struct satchel_message_digests *digests = &answer->digests;
    const struct satchel_schema *schema = reader->schema;
    uint32_t table_count = schema ? schema->table_count : 0;
    struct incarnations known;
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_DIGESTS;
    job->answer_count = 1;
    log_repairs(workspace, reader, job);
    struct satchel_table_digest *sums =
        SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_table_digest, table_count + 1);
    if (!sums)
        return SATCHEL_NOMEM;
    enum satchel_status status = reader_known(reader, job, &known);
    if (status == SATCHEL_OK && schema)
        status = add_sets(reader, job, sums);
    if (status != SATCHEL_OK)
        return status;
    digests->cursor = job->head = known.cursor;
    digests->schema = reader->migration_count;
    digests->is_settled = !job->is_cut;
    digests->tables = sums;
    for (uint32_t i = 0; i < table_count; i++) {
        sums[i].table = i + 1;
        if (!schema->tables[i].is_local)
            sums[digests->table_count++] = sums[i];
    }
    return status;
}

/* ---- ranges ---- */

struct ranges {
    struct workspace_reader *reader;
    struct satchel_job *job;
    const struct satchel_table *table;
    struct satchel_digester digester;
    struct satchel_row_walk walk;
    struct satchel_message_ranges *out;
    size_t walked_bytes, answer_bytes;
    struct satchel_range_digest open; /* what has been walked behind the last range */
    struct satchel_buffer last;       /* name of the last row that the user sees */
};

/* The range that is open ends with the row of that name. */
static enum satchel_status close_range(struct ranges *ranges, struct satchel_span last)
{
    struct satchel_range_digest *range = &ranges->out->ranges[ranges->out->range_count++];
    *range = ranges->open;
    range->last = satchel_arena_copy(&ranges->job->arena, last);
    ranges->open = (struct satchel_range_digest){.row_count = 0};
    ranges->answer_bytes += last.size;
    return range->last.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

static size_t row_bytes(const struct ranges *ranges)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < ranges->table->column_count; i++)
        if (ranges->walk.values[i].type == SATCHEL_TEXT ||
            ranges->walk.values[i].type == SATCHEL_BLOB)
            bytes += ranges->walk.values[i].bytes.size;
    return bytes;
}

/* A range fewer than there may be: the end needs one. */
static bool is_enough(const struct ranges *ranges)
{
    return ranges->job->walked_count >= WALK_ROWS || ranges->walked_bytes >= WALK_BYTES ||
           ranges->answer_bytes >= ANSWER_BYTES_MAX ||
           ranges->out->range_count >= SATCHEL_RANGES_MAX - 1;
}

static enum satchel_status take_seen(struct ranges *ranges, struct satchel_span name)
{
    struct satchel_id digest;
    enum satchel_status status =
        satchel_row_digest(&ranges->digester, ranges->table, ranges->walk.values,
                           scope_viewer_role(ranges->reader->viewer), &digest);
    satchel_buffer_clear(&ranges->last);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&ranges->last, name.data, name.size);
    satchel_digest_add(&ranges->open.digest, &digest);
    ranges->open.row_count++;
    return status;
}

/* A range ends with a row that the user sees: he hears no name of another. */
static enum satchel_status take_row(struct ranges *ranges)
{
    struct workspace_reader *reader = ranges->reader;
    bool sees = false;
    satchel_buffer_clear(&reader->name);
    enum satchel_status status = satchel_row_walk_name(&ranges->walk, &reader->name);
    struct satchel_span name = satchel_buffer_span(&reader->name);
    if (status == SATCHEL_OK)
        status = scope_sees(reader->viewer, ranges->table, name, &sees, &ranges->job->error);
    ranges->job->walked_count++;
    ranges->walked_bytes += row_bytes(ranges);
    if (status == SATCHEL_OK && sees)
        status = take_seen(ranges, name);
    bool is_full = ranges->open.row_count >= ranges->job->request.ranges_request.row_count ||
                   (is_enough(ranges) && ranges->open.row_count > 0);
    return status == SATCHEL_OK && is_full ? close_range(ranges, satchel_buffer_span(&ranges->last))
                                           : status;
}

/* The key of a bound; NULL: there is none. */
static enum satchel_status key_of(struct ranges *ranges, struct satchel_span name,
                                  const struct satchel_value **key)
{
    *key = NULL;
    if (name.size == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_row_name_key(name, ranges->table, &ranges->job->arena, key);
    if (status != SATCHEL_CORRUPT)
        return status;
    return satchel_error_set(&ranges->job->error, SATCHEL_INVALID,
                             "RANGES_REQUEST names a row that table %s does not have",
                             ranges->table->name);
}

static enum satchel_status walk_rows(struct ranges *ranges)
{
    const struct satchel_message_ranges_request *request = &ranges->job->request.ranges_request;
    struct satchel_walk_bounds bounds = {.in_order = true};
    bool found = true;
    enum satchel_status status = key_of(ranges, request->after, &bounds.after);
    if (status == SATCHEL_OK)
        status = key_of(ranges, request->until, &bounds.until);
    if (status == SATCHEL_OK)
        status = satchel_row_walk_begin(&ranges->walk, ranges->reader->db, ranges->table, &bounds,
                                        &ranges->job->error);
    while (status == SATCHEL_OK && ranges->job->walked_count < WALK_ROWS_MAX &&
           !(is_enough(ranges) && ranges->out->range_count > 0)) {
        status = satchel_row_walk_next(&ranges->walk, &found, &ranges->job->error);
        if (status != SATCHEL_OK || !found)
            break;
        status = take_row(ranges);
    }
    return status == SATCHEL_OK && !found ? close_range(ranges, request->until) : status;
}

enum satchel_status ranges_read(struct workspace_reader *reader, struct satchel_job *job)
{
    uint32_t number = (uint32_t)job->request.ranges_request.table;
    struct satchel_message *answer = &job->answers[0];
    struct ranges ranges = {.reader = reader, .job = job, .out = &answer->ranges};
    struct incarnations known;
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_RANGES;
    job->answer_count = 1;
    ranges.table = reader->schema ? satchel_schema_table(reader->schema, number) : NULL;
    if (!ranges.table || ranges.table->is_local)
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "RANGES_REQUEST names a table that the schema does not have");
    answer->ranges.ranges =
        SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_range_digest, SATCHEL_RANGES_MAX);
    if (!answer->ranges.ranges)
        return SATCHEL_NOMEM;
    satchel_buffer_init(&ranges.last, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_digester_init(&ranges.digester);
    if (status == SATCHEL_OK)
        status = reader_known(reader, job, &known);
    bool sees_none = ranges.table->is_server && !scope_viewer_sees_all(reader->viewer);
    if (status == SATCHEL_OK && !job->has_walked_enough)
        status = sees_none ? close_range(&ranges, job->request.ranges_request.until)
                           : walk_rows(&ranges);
    satchel_buffer_deinit(&ranges.last);
    satchel_row_walk_end(&ranges.walk);
    satchel_digester_deinit(&ranges.digester);
    if (status == SATCHEL_OK) {
        answer->ranges.cursor = job->head = known.cursor;
        answer->ranges.schema = reader->migration_count;
    }
    return status;
}
