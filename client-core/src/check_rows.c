/* Owns the way from a table that differs to its rows: ranges, the rows of a range, and what the
 * node has of rows that differ. */
#include "check.h"

#include "sync.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    RANGE_ROWS = 256,
    NAMES_MAX = 8192, /* of a range; what is beyond is found the next time */
    NAMES_KEPT_MAX = 1 << 24,
    RANGES_ASKED_MAX = SATCHEL_RANGES_REQUESTS_MAX - 2
};

static const char WRITE_SLICE[] =
    "UPDATE satchel_replica SET checked_table = ?1, checked = ?2, checked_ms = ?3";
static const char WRITE_REPAIRED[] =
    "UPDATE satchel_replica SET repaired = repaired + ?1, repaired_ms = ?2";

static struct check_table *table_of(struct satchel_sync *sync)
{
    return &sync->check.tables[sync->check.table_number - 1];
}

static enum satchel_status set_name(struct satchel_buffer *buffer, struct satchel_span name)
{
    satchel_buffer_clear(buffer);
    return satchel_buffer_append(buffer, name.data, name.size);
}

/* ---- asking ---- */

enum satchel_status satchel_check_ask_ranges(struct satchel_sync *sync,
                                             struct satchel_message *message)
{
    struct sync_check *check = &sync->check;
    struct satchel_message_ranges_request *request = &message->ranges_request;
    message->kind = SATCHEL_MESSAGE_RANGES_REQUEST;
    *request = (struct satchel_message_ranges_request){
        check->table_number, satchel_buffer_span(&check->after), {NULL, 0}, RANGE_ROWS};
    if (check->step == CHECK_NAMES) {
        request->after = satchel_buffer_span(&check->name_after);
        request->until = check->found[check->found_index].until;
        request->row_count = 1;
    }
    enum satchel_status status = satchel_session_send(sync->session, message);
    check->ranges_count += status == SATCHEL_OK;
    return status;
}

/* ---- bounds ---- */

/* The key of a bound, in the answer's memory; NULL: there is none. CORRUPT: the server names no row
 * of the table. */
static enum satchel_status key_of(struct sync_check *check, struct satchel_span name,
                                  const struct satchel_value **key)
{
    *key = NULL;
    return name.size == 0 ? SATCHEL_OK
                          : satchel_row_name_key(name, check->table, &check->answer, key);
}

static enum satchel_status bounds_of(struct sync_check *check, struct satchel_span after,
                                     struct satchel_span until, struct satchel_walk_bounds *out)
{
    out->in_order = true;
    enum satchel_status status = key_of(check, after, &out->after);
    return status == SATCHEL_OK ? key_of(check, until, &out->until) : status;
}

/* ---- ranges ---- */

static enum satchel_status add_found(struct sync_check *check, struct satchel_span after,
                                     struct satchel_span until)
{
    struct check_range *range = &check->found[check->found_count++];
    range->after = satchel_arena_copy(&check->found_area, after);
    range->until = satchel_arena_copy(&check->found_area, until);
    return range->after.data && range->until.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* Those of the answer that differ. In the open transaction. */
static enum satchel_status compare_ranges(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    struct satchel_compare compare;
    struct satchel_span after =
        satchel_arena_copy(&check->answer, satchel_buffer_span(&check->after));
    enum satchel_status status = satchel_compare_init(&compare, sync->apply, error);
    satchel_arena_reset(&check->found_area);
    check->found_count = check->found_index = 0;
    check->found =
        SATCHEL_ARENA_ARRAY(&check->found_area, struct check_range, check->range_count + 1);
    if (!check->found || !after.data)
        status = SATCHEL_NOMEM;
    for (uint32_t i = 0; i < check->range_count && status == SATCHEL_OK; i++) {
        const struct satchel_range_digest *range = &check->ranges[i];
        struct satchel_walk_bounds bounds;
        struct satchel_table_digest own = {0};
        status = bounds_of(check, after, range->last, &bounds);
        if (status == SATCHEL_OK)
            status = satchel_compare_sum(&compare, check->table, &bounds, &own, error);
        if (status == SATCHEL_OK &&
            (own.row_count != range->row_count || !satchel_id_equal(&own.digest, &range->digest)))
            status = add_found(check, after, range->last);
        after = range->last;
    }
    if (status == SATCHEL_OK)
        status = set_name(&check->after, after);
    check->is_walked = check->range_count > 0 && after.size == 0;
    satchel_compare_deinit(&compare);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "ranges of table %s cannot be compared: %s",
                                       check->table->name, satchel_status_text(status));
}

static enum satchel_status write_slice(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, WRITE_SLICE, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_bind_int64(update, 1, check->table->number + check->is_walked);
    if (!check->is_walked)
        sqlite3_bind_blob64(update, 2, check->after.data, check->after.size, SQLITE_STATIC);
    sqlite3_bind_int64(update, 3, satchel_replica_now_ms(sync->replica));
    int code = sqlite3_step(update);
    if (code != SQLITE_DONE && (code & 0xff) != SQLITE_BUSY) /* the next one compares it again */
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    return status;
}

/* Where a slice differs, the whole table is held against what the server has merged: it may be the
 * server's rows that are damaged. */
static enum satchel_status finish_slice(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    enum satchel_status status = write_slice(sync, error);
    if (check->found_count > 0) {
        table_of(sync)->is_suspect = true;
        check->step = CHECK_SUMS;
    } else {
        satchel_check_end(sync);
    }
    return status;
}

static void finish_table(struct satchel_sync *sync)
{
    struct check_table *table = table_of(sync);
    if (table->repaired_count == table->counted_before)
        satchel_check_give_up(sync, sync->check.table,
                              "not in any row that it shows; have its administrator look at the "
                              "server's log");
    else
        table->differs = false; /* until it is compared again */
    satchel_check_next_table(sync);
}

static enum satchel_status begin_range(struct satchel_sync *sync)
{
    struct sync_check *check = &sync->check;
    check->step = CHECK_NAMES;
    return set_name(&check->name_after, check->found[check->found_index].after);
}

/* What is next in the table: a range that differs, more ranges, or the next table. */
static enum satchel_status next_range(struct satchel_sync *sync)
{
    struct sync_check *check = &sync->check;
    if (check->ranges_count >= RANGES_ASKED_MAX) {
        satchel_check_give_up(sync, check->table,
                              "it is too large to be looked through at once; sync again");
        table_of(sync)->differs = false;
        satchel_check_next_table(sync);
        return SATCHEL_OK;
    }
    if (check->found_index < check->found_count)
        return begin_range(sync);
    check->step = CHECK_RANGES;
    if (check->is_walked)
        finish_table(sync);
    return SATCHEL_OK;
}

enum satchel_status satchel_check_use_ranges(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    bool is_there = false;
    enum satchel_status status = satchel_check_begin(sync, false, &is_there, error);
    if (status != SATCHEL_OK || !is_there)
        return status;
    status = compare_ranges(sync, error);
    satchel_apply_release(sync->apply);
    if (status != SATCHEL_OK)
        return status;
    if (check->step == CHECK_SLICE)
        return finish_slice(sync, error);
    if (check->range_count > 0)
        return next_range(sync);
    satchel_check_give_up(sync, check->table, "the server does not go through more rows for it");
    satchel_check_next_table(sync);
    return SATCHEL_OK;
}

/* ---- the rows of a range ---- */

struct own_row {
    struct own_row *next;
    struct satchel_span name;
    struct satchel_id digest;
    bool is_named; /* by the server */
};

struct own_rows {
    struct satchel_arena *arena;
    struct satchel_map by_name;
    struct own_row *first, **end;
};

static enum satchel_status keep_row(void *context, struct satchel_span name,
                                    const struct satchel_id *digest)
{
    struct own_rows *rows = context;
    struct own_row *row = SATCHEL_ARENA_ARRAY(rows->arena, struct own_row, 1);
    if (!row)
        return SATCHEL_NOMEM;
    row->name = satchel_arena_copy(rows->arena, name);
    row->digest = *digest;
    *rows->end = row;
    rows->end = &row->next;
    return row->name.data ? satchel_map_put(&rows->by_name, name, row) : SATCHEL_NOMEM;
}

static void add_name(struct sync_check *check, struct satchel_span name)
{
    if (check->name_count < NAMES_MAX)
        check->names[check->name_count++].name = name;
}

/* One that the server names. `*is_equal`: so it is here. */
static enum satchel_status look_at(struct satchel_compare *compare, struct sync_check *check,
                                   struct own_rows *rows, const struct satchel_range_digest *range,
                                   bool *is_equal, struct satchel_error *error)
{
    struct own_row *row = satchel_map_get(&rows->by_name, range->last);
    struct satchel_id digest;
    bool exists = row != NULL;
    enum satchel_status status = SATCHEL_OK;
    if (row) {
        row->is_named = true;
        digest = row->digest;
    } else { /* a pending delete may have taken it out of the table */
        const struct satchel_value *key;
        status = key_of(check, range->last, &key);
        if (status == SATCHEL_OK)
            status =
                satchel_compare_row(compare, check->table, range->last, &exists, &digest, error);
    }
    *is_equal = status == SATCHEL_OK && exists && satchel_id_equal(&digest, &range->digest);
    return status;
}

/* First those that the node has not: what replaces them may need their unique values. */
static enum satchel_status collect_names(struct satchel_compare *compare, struct sync_check *check,
                                         struct own_rows *rows, struct satchel_error *error)
{
    bool *is_equal = SATCHEL_ARENA_ARRAY(&check->names_area, bool, check->range_count + 1);
    enum satchel_status status = SATCHEL_OK;
    check->name_count = check->name_index = 0;
    check->names = SATCHEL_ARENA_ARRAY(&check->names_area, struct satchel_row_request, NAMES_MAX);
    if (!is_equal || !check->names)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < check->range_count && status == SATCHEL_OK; i++) {
        is_equal[i] = true;
        if (check->ranges[i].row_count > 0)
            status = look_at(compare, check, rows, &check->ranges[i], &is_equal[i], error);
    }
    for (const struct own_row *row = rows->first; row && status == SATCHEL_OK; row = row->next)
        if (!row->is_named)
            add_name(check, row->name);
    for (uint32_t i = 0; i < check->range_count && status == SATCHEL_OK; i++) {
        if (is_equal[i])
            continue;
        struct satchel_span name = satchel_arena_copy(&check->names_area, check->ranges[i].last);
        status = name.data ? SATCHEL_OK : SATCHEL_NOMEM;
        if (name.data)
            add_name(check, name);
    }
    return status;
}

/* In the open transaction. */
static enum satchel_status compare_names(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    struct satchel_span until = check->found[check->found_index].until;
    struct satchel_span last = check->ranges[check->range_count - 1].last;
    struct satchel_compare compare;
    struct satchel_walk_bounds bounds;
    struct own_rows rows = {.arena = &check->names_area, .end = &rows.first};
    const struct satchel_compare_visitor visitor = {&rows, keep_row};
    satchel_arena_reset(&check->names_area);
    satchel_map_init(&rows.by_name, NAMES_KEPT_MAX, NULL);
    enum satchel_status status = satchel_compare_init(&compare, sync->apply, error);
    if (status == SATCHEL_OK)
        status = bounds_of(check, satchel_buffer_span(&check->name_after), last, &bounds);
    if (status == SATCHEL_OK)
        status = satchel_compare_walk(&compare, check->table, &bounds, &visitor, error);
    if (status == SATCHEL_OK)
        status = collect_names(&compare, check, &rows, error);
    check->is_named = satchel_span_equal(last, until);
    if (status == SATCHEL_OK)
        status = set_name(&check->name_after, last);
    satchel_map_deinit(&rows.by_name);
    satchel_compare_deinit(&compare);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "rows of table %s cannot be compared: %s",
                                       check->table->name, satchel_status_text(status));
}

/* The rows of this part of the range are dealt with. */
static enum satchel_status next_names(struct satchel_sync *sync)
{
    sync->check.step = CHECK_NAMES;
    if (!sync->check.is_named && sync->check.ranges_count < RANGES_ASKED_MAX)
        return SATCHEL_OK;
    sync->check.found_index++;
    return next_range(sync);
}

enum satchel_status satchel_check_use_names(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    bool is_there = false;
    enum satchel_status status = satchel_check_begin(sync, false, &is_there, error);
    if (status != SATCHEL_OK || !is_there)
        return status;
    if (check->range_count > 0)
        status = compare_names(sync, error);
    satchel_apply_release(sync->apply);
    if (status != SATCHEL_OK)
        return status;
    if (check->range_count == 0)
        check->is_named = true;
    else if (check->name_count > 0)
        check->step = CHECK_ROWS;
    return check->step == CHECK_ROWS ? SATCHEL_OK : next_names(sync);
}

/* ---- rows that differ ---- */

static enum satchel_status count_repaired(struct satchel_sync *sync, uint32_t count,
                                          struct satchel_error *error)
{
    sqlite3_stmt *update = NULL;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_prepare_v2(sync->replica->db, WRITE_REPAIRED, -1, &update, NULL) != SQLITE_OK)
        return satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_bind_int64(update, 1, count);
    sqlite3_bind_int64(update, 2, satchel_replica_now_ms(sync->replica));
    if (sqlite3_step(update) != SQLITE_DONE)
        status = satchel_apply_sql_error(sync->apply, "write satchel_replica", error);
    sqlite3_finalize(update);
    return status;
}

static void tell_repaired(struct satchel_sync *sync, uint32_t count)
{
    char line[256];
    if (!sync->options.notice)
        return;
    snprintf(line, sizeof line,
             "%" PRIu32 " row%s of table %.128s differed from the server's and ha%s been repaired",
             count, count == 1 ? "" : "s", sync->check.table->name, count == 1 ? "s" : "ve");
    sync->options.notice(sync->options.context, line);
}

/* Pending writes stay what they are: the node's value beneath them is repaired. */
static enum satchel_status write_rows(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    enum satchel_status status = satchel_apply_rows(sync->apply, check->notes, error);
    if (status == SATCHEL_OK)
        status = count_repaired(sync, check->row_count, error);
    if (status == SATCHEL_OK)
        return satchel_sync_commit(sync, error);
    satchel_apply_rollback(sync->apply);
    return status;
}

enum satchel_status satchel_check_use_rows(struct satchel_sync *sync, struct satchel_error *error)
{
    struct sync_check *check = &sync->check;
    struct satchel_error detail = {0};
    bool is_there = false;
    enum satchel_status status = satchel_check_begin(sync, true, &is_there, error);
    if (status != SATCHEL_OK || !is_there)
        return status;
    status = write_rows(sync, &detail);
    if (status == SATCHEL_SQL || status == SATCHEL_CORRUPT) { /* an index, a page that is damaged */
        satchel_check_give_up(sync, check->table, detail.message);
        satchel_check_next_table(sync);
        return SATCHEL_OK;
    }
    if (status != SATCHEL_OK) {
        if (error)
            *error = detail;
        return status;
    }
    table_of(sync)->repaired_count += check->row_count;
    tell_repaired(sync, check->row_count);
    check->name_index += check->row_count;
    return check->name_index < check->name_count ? SATCHEL_OK : next_names(sync);
}
