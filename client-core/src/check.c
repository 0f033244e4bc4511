/* Owns what is asked of the server when everything is equal, and the comparison of whole tables.
 * Ranges and rows are check_rows.c's, digests compare.c's. */
#include "check.h"

#include "sync.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SUM_ROWS = 16384, /* that are gone through at each sync */
    ASKS_MAX = 8,     /* answers in a row that came too early or too late */
    ASKS_MAX_WHOLE = 100,
    ANSWER_MS_MAX = 5000,
    /* Between two checks of a sync that watches; the server counts ranges by half of that. */
    PAUSE_MS = 600000,
    SLICE_PAUSE_MS = 600000, /* between two slices of large tables */
    REPAIRS_MAX = 256        /* of a DIGEST_REQUEST */
};

static const char SELECT_SLICE[] = "SELECT checked_table, checked, checked_ms FROM satchel_replica";

/* ---- life ---- */

void satchel_check_init(struct sync_check *check)
{
    memset(check, 0, sizeof *check);
    satchel_arena_init(&check->answer, (size_t)2 * SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_arena_init(&check->found_area, SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_arena_init(&check->names_area, (size_t)1 << 31, NULL);
    satchel_buffer_init(&check->after, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&check->name_after, SATCHEL_CHANGESET_BYTES_MAX, NULL);
}

void satchel_check_deinit(struct sync_check *check)
{
    satchel_free(NULL, check->tables);
    satchel_arena_deinit(&check->answer);
    satchel_arena_deinit(&check->found_area);
    satchel_arena_deinit(&check->names_area);
    satchel_buffer_deinit(&check->after);
    satchel_buffer_deinit(&check->name_after);
}

bool satchel_check_is_over(const struct satchel_sync *sync)
{
    return sync->check.step == CHECK_OVER;
}

void satchel_check_end(struct satchel_sync *sync)
{
    sync->check.step = CHECK_OVER;
    sync->check.is_asked = sync->check.has_answer = false;
    sync->check.due_ms = sync->now_ms + PAUSE_MS;
}

uint64_t satchel_check_repaired(const struct satchel_sync *sync)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < sync->check.table_count; i++)
        count += sync->check.tables[i].repaired_count;
    return count;
}

void satchel_check_give_up(struct satchel_sync *sync, const struct satchel_table *table,
                           const char *reason)
{
    char line[512];
    sync->check.tables[table->number - 1].is_given_up = true;
    if (!sync->options.notice)
        return;
    snprintf(line, sizeof line, "table %.128s differs from the server's: %.300s", table->name,
             reason);
    sync->options.notice(sync->options.context, line);
}

/* ---- asking ---- */

static enum satchel_status ask_sums(struct satchel_sync *sync, struct satchel_message *message)
{
    struct sync_check *check = &sync->check;
    struct satchel_table_repair repairs[REPAIRS_MAX];
    uint32_t count = 0;
    message->kind = SATCHEL_MESSAGE_DIGEST_REQUEST;
    for (uint32_t i = 0; i < check->table_count && count < REPAIRS_MAX; i++)
        if (check->tables[i].repaired_count > check->tables[i].told_count)
            repairs[count++] = (struct satchel_table_repair){
                i + 1, check->tables[i].repaired_count - check->tables[i].told_count};
    message->digest_request = (struct satchel_message_digest_request){repairs, count};
    enum satchel_status status = satchel_session_send(sync->session, message);
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++)
        check->tables[repairs[i].table - 1].told_count += repairs[i].row_count;
    return status;
}

static enum satchel_status ask(struct satchel_sync *sync)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ROWS_REQUEST};
    struct sync_check *check = &sync->check;
    switch (check->step) {
    case CHECK_SUMS: return ask_sums(sync, &message);
    case CHECK_SLICE:
    case CHECK_RANGES:
    case CHECK_NAMES: return satchel_check_ask_ranges(sync, &message);
    default: break;
    }
    message.rows_request.rows = check->names + check->name_index;
    message.rows_request.row_count = check->name_count - check->name_index;
    if (message.rows_request.row_count > SATCHEL_ROWS_REQUEST_MAX)
        message.rows_request.row_count = SATCHEL_ROWS_REQUEST_MAX;
    return satchel_session_send(sync->session, &message);
}

/* A sync has done its work without this; verify is here for nothing else. */
static enum satchel_status stop_asking(struct satchel_sync *sync, struct satchel_error *error)
{
    if (sync->check.is_whole)
        return satchel_error_set(
            error, SATCHEL_BUSY,
            "the replica and the server change faster than they can be compared; "
            "verify again when it is quieter");
    satchel_check_end(sync);
    return SATCHEL_OK;
}

static bool is_waiting(const struct sync_check *check)
{
    return check->is_asked || check->has_answer || check->step == CHECK_HEAD;
}

static void begin(struct satchel_sync *sync)
{
    struct sync_check *check = &sync->check;
    check->step = CHECK_SUMS;
    check->is_confirmed = false;
    check->ask_count = check->ranges_count = 0;
    check->gives_up_ms = sync->now_ms + ANSWER_MS_MAX;
    for (uint32_t i = 0; i < check->table_count; i++)
        check->tables[i].is_suspect = false;
}

enum satchel_status satchel_check_step(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    bool is_due = check->step == CHECK_OVER && sync->options.watch && sync->now_ms >= check->due_ms;
    if (check->step == CHECK_WAITING || is_due)
        begin(sync);
    if (check->step == CHECK_OVER)
        return SATCHEL_OK;
    if (is_waiting(check))
        return check->is_whole || sync->now_ms < check->gives_up_ms ? SATCHEL_OK
                                                                    : stop_asking(sync, error);
    if (check->ask_count >= (check->is_whole ? ASKS_MAX_WHOLE : ASKS_MAX))
        return stop_asking(sync, error);
    enum satchel_status status = ask(sync);
    if (status == SATCHEL_BUSY)
        return SATCHEL_OK;
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "cannot ask for digests: %s",
                                 satchel_status_text(status));
    check->is_asked = true;
    check->ask_count++;
    check->gives_up_ms = sync->now_ms + ANSWER_MS_MAX;
    return SATCHEL_OK;
}

/* ---- answers ---- */

bool satchel_check_stops_here(const struct satchel_sync *sync)
{
    return sync->check.has_answer && sync->apply->cursor == sync->check.cursor;
}

/* Whether it is to this request, and then: of what. */
static bool begin_answer(struct sync_check *check, uint64_t cursor)
{
    if (!check->is_asked)
        return false;
    check->is_asked = check->has_head = false;
    check->has_answer = true;
    check->cursor = cursor;
    satchel_arena_reset(&check->answer);
    return true;
}

static enum satchel_status no_memory(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_NOMEM, "no memory to compare digests");
}

enum satchel_status satchel_check_take_digests(struct satchel_sync *sync,
                                               const struct satchel_message_digests *digests,
                                               struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    if (check->step != CHECK_SUMS || !begin_answer(check, digests->cursor))
        return SATCHEL_OK;
    check->schema = digests->schema;
    check->is_settled = digests->is_settled != 0;
    check->sum_count = digests->table_count;
    check->sums =
        SATCHEL_ARENA_ARRAY(&check->answer, struct satchel_table_digest, digests->table_count);
    if (!check->sums)
        return no_memory(error);
    if (digests->table_count > 0)
        memcpy(check->sums, digests->tables, digests->table_count * sizeof *check->sums);
    return satchel_check_go_on(sync, error);
}

enum satchel_status satchel_check_take_ranges(struct satchel_sync *sync,
                                              const struct satchel_message_ranges *ranges,
                                              struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    if (check->step < CHECK_SLICE || check->step > CHECK_NAMES ||
        !begin_answer(check, ranges->cursor))
        return SATCHEL_OK;
    check->schema = ranges->schema;
    check->range_count = ranges->range_count;
    check->ranges =
        SATCHEL_ARENA_ARRAY(&check->answer, struct satchel_range_digest, ranges->range_count);
    if (!check->ranges)
        return no_memory(error);
    for (uint32_t i = 0; i < ranges->range_count; i++) {
        check->ranges[i] = ranges->ranges[i];
        check->ranges[i].last = satchel_arena_copy(&check->answer, ranges->ranges[i].last);
        if (!check->ranges[i].last.data)
            return no_memory(error);
    }
    return satchel_check_go_on(sync, error);
}

bool satchel_check_wants_rows(const struct satchel_sync *sync)
{
    return sync->check.step == CHECK_ROWS && sync->check.is_asked;
}

enum satchel_status satchel_check_take_rows(struct satchel_sync *sync,
                                            const struct satchel_message_rows *rows,
                                            struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    if (rows->row_count == 0 || rows->row_count > check->name_count - check->name_index)
        return satchel_error_set(error, SATCHEL_CORRUPT,
                                 "the server answers %" PRIu64 " rows of %" PRIu32 " asked for",
                                 rows->row_count, check->name_count - check->name_index);
    (void)begin_answer(check, rows->cursor);
    check->schema = sync->apply->migration_count; /* rows without a new column have its default */
    check->row_count = (uint32_t)rows->row_count;
    check->notes = satchel_arena_copy(&check->answer, rows->notes);
    return check->notes.data ? satchel_check_go_on(sync, error) : no_memory(error);
}

void satchel_check_take_head(struct satchel_sync *sync, uint64_t cursor)
{
    struct sync_check *check = &sync->check;
    check->has_head = check->has_head || cursor >= check->cursor;
    if (check->step == CHECK_HEAD)
        check->step = CHECK_SUMS;
}

/* ---- at the answer's cursor ---- */

/* Not where another sync of this replica has heard of a later scope, which has evicted rows that
 * the answer still has. */
static bool is_there(const struct satchel_sync *sync)
{
    const struct sync_check *check = &sync->check;
    const struct satchel_apply *apply = sync->apply;
    return apply->cursor == check->cursor && apply->migration_count == check->schema &&
           apply->moved_head <= check->cursor;
}

enum satchel_status satchel_check_begin(struct satchel_sync *sync, bool is_writing, bool *out,
                                        struct satchel_error *error)
{
    enum satchel_status status = satchel_sync_begin(sync, is_writing, error);
    sync->check.has_answer = false;
    *out = status == SATCHEL_OK && is_there(sync);
    if (status == SATCHEL_OK && !*out)
        satchel_apply_release(sync->apply);
    if (*out)
        sync->check.ask_count = 0;
    if (*out && sync->apply->schema)
        sync->check.table = satchel_schema_table(sync->apply->schema, sync->check.table_number);
    return status;
}

static enum satchel_status use_sums(struct satchel_sync *sync, struct satchel_error *error);

static enum satchel_status use_answer(struct satchel_sync *sync, struct satchel_error *error)
{
    switch (sync->check.step) {
    case CHECK_SUMS: return use_sums(sync, error);
    case CHECK_NAMES: return satchel_check_use_names(sync, error);
    case CHECK_ROWS: return satchel_check_use_rows(sync, error);
    default: return satchel_check_use_ranges(sync, error);
    }
}

enum satchel_status satchel_check_go_on(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    const struct satchel_apply *apply = sync->apply;
    if (!check->has_answer || apply->cursor < check->cursor)
        return SATCHEL_OK;
    if (!check->is_settled && apply->cursor == check->cursor && apply->complete < check->cursor)
        return SATCHEL_OK; /* rows that came are still to come */
    enum satchel_status status = use_answer(sync, error);
    return status == SATCHEL_BUSY && !check->is_whole ? stop_asking(sync, error) : status;
}

/* ---- whole tables ---- */

static enum satchel_status make_tables(struct sync_check *check,
                                       const struct satchel_schema *schema,
                                       struct satchel_error *error)
{
    uint32_t count = schema ? schema->table_count : 0;
    if (check->tables && check->table_count == count)
        return SATCHEL_OK;
    struct check_table *tables = satchel_alloc_zero(NULL, (count + 1) * sizeof *tables);
    if (!tables)
        return no_memory(error);
    for (uint32_t i = 0; i < check->table_count && i < count; i++)
        tables[i] = check->tables[i];
    satchel_free(NULL, check->tables);
    check->tables = tables;
    check->table_count = count;
    return SATCHEL_OK;
}

/* A table that the server does not name has no rows there. */
static struct satchel_table_digest server_sum(const struct sync_check *check, uint32_t table)
{
    for (uint32_t i = 0; i < check->sum_count; i++)
        if (check->sums[i].table == table)
            return check->sums[i];
    return (struct satchel_table_digest){.table = table};
}

static enum satchel_status compare_tables(struct satchel_sync *sync,
                                          const struct satchel_schema *schema,
                                          struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    struct satchel_compare compare;
    uint64_t left = SUM_ROWS;
    enum satchel_status status = satchel_compare_init(&compare, sync->apply, error);
    for (uint32_t i = 0; i < check->table_count && status == SATCHEL_OK; i++) {
        struct check_table *table = &check->tables[i];
        if (schema->tables[i].is_local)
            continue;
        table->server = server_sum(check, i + 1);
        table->is_compared = check->is_whole || table->is_suspect || table->repaired_count > 0 ||
                             table->server.row_count <= left;
        table->differs = false;
        if (!table->is_compared)
            continue;
        status = satchel_compare_sum(&compare, &schema->tables[i], NULL, &table->own, error);
        table->differs = table->own.row_count != table->server.row_count ||
                         !satchel_id_equal(&table->own.digest, &table->server.digest);
        left -= table->own.row_count < left ? table->own.row_count : left;
    }
    satchel_compare_deinit(&compare);
    return status;
}

/* ---- slices of large tables ---- */

/* The table that is next: the one in which the last slice ended, or one behind it. */
static const struct satchel_table *next_slice(const struct satchel_sync *sync, uint32_t number,
                                              bool *is_same)
{
    const struct satchel_schema *schema = sync->apply->schema;
    uint32_t count = sync->check.table_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (number + count - 1 + i) % count;
        if (schema->tables[index].is_local || sync->check.tables[index].is_compared)
            continue;
        *is_same = index + 1 == number;
        return &schema->tables[index];
    }
    return NULL;
}

/* Every so often a slice of a table that is not compared whole is. In the open transaction. */
static enum satchel_status choose_slice(struct satchel_sync *sync, bool *is_due,
                                        struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    sqlite3_stmt *select = NULL;
    bool is_same = false;
    int64_t now_ms = satchel_replica_now_ms(sync->replica);
    *is_due = false;
    if (sqlite3_prepare_v2(sync->replica->db, SELECT_SLICE, -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW) {
        sqlite3_finalize(select);
        return satchel_apply_sql_error(sync->apply, "read satchel_replica", error);
    }
    int64_t age_ms = now_ms - sqlite3_column_int64(select, 2);
    const struct satchel_table *table =
        next_slice(sync, (uint32_t)sqlite3_column_int64(select, 0), &is_same);
    if (table)
        check->table_number = table->number;
    *is_due = table && (age_ms < 0 || age_ms >= SLICE_PAUSE_MS);
    struct satchel_span after = satchel_column_span(select, 1);
    satchel_buffer_clear(&check->after);
    enum satchel_status status = SATCHEL_OK;
    if (*is_due && is_same && after.size > 0)
        status = satchel_buffer_append(&check->after, after.data, after.size);
    sqlite3_finalize(select);
    return status == SATCHEL_OK ? status : no_memory(error);
}

/* ---- what follows from the sums ---- */

/* A slice differed, and the table as a whole is what the server has merged. */
static void tell_innocent(struct satchel_sync *sync)
{
    for (uint32_t i = 0; i < sync->check.table_count; i++) {
        struct check_table *table = &sync->check.tables[i];
        if (table->is_suspect && !table->differs && table->repaired_count == 0)
            satchel_check_give_up(sync, &sync->apply->schema->tables[i],
                                  "rows that the server shows are not those that it has merged, "
                                  "and this replica's are; have its administrator restore a "
                                  "backup");
    }
}

void satchel_check_next_table(struct satchel_sync *sync)
{
    struct sync_check *check = &sync->check;
    bool is_to_be_told = false;
    for (uint32_t i = 0; i < check->table_count; i++) {
        struct check_table *table = &check->tables[i];
        is_to_be_told = is_to_be_told || table->repaired_count > table->told_count;
        if (!table->differs || table->is_given_up)
            continue;
        check->table_number = i + 1;
        check->step = CHECK_RANGES;
        table->counted_before = table->repaired_count;
        satchel_buffer_clear(&check->after);
        return;
    }
    if (is_to_be_told)
        check->step = CHECK_SUMS;
    else
        satchel_check_end(sync);
}

static bool has_difference(const struct sync_check *check)
{
    for (uint32_t i = 0; i < check->table_count; i++)
        if (check->tables[i].differs && !check->tables[i].is_given_up)
            return true;
    return false;
}

static void decide(struct satchel_sync *sync, bool is_slice_due)
{
    struct sync_check *check = &sync->check;
    bool differs = has_difference(check);
    if (differs && !check->is_settled && !check->is_confirmed) {
        check->is_confirmed = true;
        check->step = check->has_head ? CHECK_SUMS : CHECK_HEAD;
    } else if (differs && !check->only_looks) {
        satchel_check_next_table(sync);
    } else if (!differs && is_slice_due) {
        check->step = CHECK_SLICE;
    } else {
        tell_innocent(sync);
        satchel_check_end(sync);
    }
}

static enum satchel_status use_sums(struct satchel_sync *sync, struct satchel_error *error)
{
    bool is_at_cursor = false, is_slice_due = false;
    enum satchel_status status = satchel_check_begin(sync, false, &is_at_cursor, error);
    if (status != SATCHEL_OK || !is_at_cursor)
        return status;
    const struct satchel_schema *schema = sync->apply->schema;
    status = make_tables(&sync->check, schema, error);
    if (status == SATCHEL_OK)
        status = compare_tables(sync, schema, error);
    if (status == SATCHEL_OK)
        status = choose_slice(sync, &is_slice_due, error);
    satchel_apply_release(sync->apply);
    if (status == SATCHEL_OK)
        decide(sync, is_slice_due);
    return status;
}
