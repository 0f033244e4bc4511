/* Owns what a device is told when rows leave its user's scope or come into it (docs/scopes.md).
 * Which rows these are is scope.h's. */
#include "incarnation.h"
#include "read_rows.h"

#include <satchel/batch.h>
#include <satchel/mutation.h>

#define SQL_VERSION "SELECT version FROM satchel_row WHERE name=?1"
#define SQL_QUARANTINED "SELECT cursor FROM satchel_quarantine WHERE name=?1"

enum {
    LEFT_ROWS = 4096, /* of a page */
    CAME_ROWS = 256,
    TOLD_ENTRIES_MAX = 1024,
    TOLD_PARTS_MIN = 32,       /* of an entry that is told once for all pages */
    PAST_BYTES_MAX = 16 << 20, /* of what a page tells of the log */
};

static struct satchel_message_scope *add_answer(struct satchel_job *job)
{
    struct satchel_message *answer = &job->answers[job->answer_count++];
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_SCOPE;
    answer->scope.head = job->head;
    return &answer->scope;
}

/* ---- rows that left ---- */

static enum satchel_status tell_left(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct satchel_span *names, size_t count)
{
    struct rows_answer rows;
    enum satchel_status status = rows_begin(&rows, reader, job, count);
    for (size_t i = 0; i < count && status == SATCHEL_OK; i++)
        status = rows_add(&rows, names[i]);
    if (status == SATCHEL_OK)
        status = rows_notes(&rows, &add_answer(job)->notes);
    rows_end(&rows);
    return status;
}

enum satchel_status scope_read_left(struct workspace_reader *reader, struct satchel_job *job,
                                    uint64_t head, bool *is_whole)
{
    struct satchel_scope_state *scope = &job->scope;
    struct satchel_span *names = NULL;
    size_t count = 0;
    *is_whole = true;
    if (scope_viewer_sees_all(reader->viewer)) {
        scope->cut = head;
        return SATCHEL_OK;
    }
    if (scope->next_cut == 0)
        scope->next_cut = head;
    enum satchel_status status =
        scope_left(reader->viewer, scope->cut, scope->left_after, SATCHEL_BATCH_ITEMS(LEFT_ROWS),
                   &job->arena, &names, &count, &job->error);
    if (status == SATCHEL_OK && count > 0 && !SATCHEL_MUTATED(no_evict))
        status = tell_left(reader, job, names, count);
    if (status != SATCHEL_OK)
        return status;
    *is_whole = count < SATCHEL_BATCH_ITEMS(LEFT_ROWS);
    scope->left_after = *is_whole ? satchel_span_of(NULL, 0) : names[count - 1];
    if (*is_whole) {
        scope->cut = scope->next_cut;
        scope->next_cut = 0;
        *is_whole = scope->cut == head; /* of several pages, others may have left meanwhile */
    }
    return SATCHEL_OK;
}

/* ---- what the log has about some rows ---- */

/* Goes back through the timelines of all of them at once, so that each entry is read once. */
struct past {
    struct workspace_reader *reader;
    struct satchel_job *job;
    const struct incarnations *known;
    struct satchel_map rows; /* names */
    struct satchel_buffer name;
    uint64_t *cursors; /* to be read: a heap, the greatest first */
    size_t cursor_count, cursor_capacity;
    struct satchel_entry *entries; /* descending */
    uint32_t entry_count, entry_capacity;
    uint64_t told[TOLD_ENTRIES_MAX]; /* by pages before this one, and by this one */
    size_t told_count;
    uint32_t part_count; /* of the entry read last */
    size_t bytes;
    bool is_over; /* there was more than a message should hold */
};

static bool make_room(struct satchel_arena *arena, void **items, size_t count, size_t *capacity,
                      size_t item_bytes)
{
    if (count < *capacity)
        return true;
    size_t grown_capacity = *capacity ? 2 * *capacity : 64;
    void *grown = satchel_arena_array(arena, grown_capacity, item_bytes);
    if (!grown)
        return false;
    if (count > 0)
        memcpy(grown, *items, count * item_bytes);
    *items = grown;
    *capacity = grown_capacity;
    return true;
}

static enum satchel_status push_cursor(struct past *past, uint64_t cursor)
{
    void *items = past->cursors;
    if (cursor == 0)
        return SATCHEL_OK;
    if (!make_room(&past->job->arena, &items, past->cursor_count, &past->cursor_capacity,
                   sizeof *past->cursors))
        return SATCHEL_NOMEM;
    past->cursors = items;
    size_t i = past->cursor_count++;
    for (; i > 0 && past->cursors[(i - 1) / 2] < cursor; i = (i - 1) / 2)
        past->cursors[i] = past->cursors[(i - 1) / 2];
    past->cursors[i] = cursor;
    return SATCHEL_OK;
}

static uint64_t pop_cursor(struct past *past)
{
    uint64_t *heap = past->cursors, top = heap[0], last = heap[--past->cursor_count];
    size_t i = 0;
    for (size_t child = 1; child < past->cursor_count; child = 2 * i + 1) {
        child += child + 1 < past->cursor_count && heap[child + 1] > heap[child];
        if (heap[child] <= last)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* Where the timelines of the rows go on behind the entry. */
static enum satchel_status follow(struct past *past, const struct satchel_log_entry *read)
{
    struct satchel_arena *arena = &past->reader->cut_arena;
    struct satchel_changeset content;
    struct satchel_span body;
    struct satchel_cursor chain = satchel_cursor_of(read->timeline);
    satchel_arena_reset(arena);
    enum satchel_status status = satchel_body_load(read->entry.body, &past->reader->scratch, &body);
    if (status == SATCHEL_OK)
        status = satchel_changeset_decode(body, arena, &content, &past->job->error);
    if (status != SATCHEL_OK)
        return status;
    uint32_t count = satchel_cursor_array(&chain, SATCHEL_CHANGESET_PARTS_MAX);
    past->part_count = content.header.part_count;
    for (uint32_t i = 0; i < count && i < content.header.part_count && status == SATCHEL_OK; i++) {
        const struct satchel_part *part = &content.parts[i];
        uint64_t previous = satchel_cursor_unsigned(&chain, read->entry.cursor - 1);
        if (chain.failed)
            return SATCHEL_CORRUPT;
        satchel_buffer_clear(&past->name);
        status = satchel_row_name(&past->name, part->table, part->key, part->key_count);
        if (status == SATCHEL_OK && satchel_map_get(&past->rows, satchel_buffer_span(&past->name)))
            status = push_cursor(past, previous);
    }
    return status;
}

static bool was_told(const struct past *past, uint64_t cursor)
{
    size_t i = past->part_count > SATCHEL_BATCH_ITEMS(TOLD_PARTS_MIN) ? past->told_count : 0;
    while (i > 0 && past->told[i - 1] != cursor)
        i--;
    return i > 0;
}

/* A page after this one need not tell it again: it would be cut as now, unless the scope becomes
 * another meanwhile; then what has come by that is told behind these pages, with all of it. */
static void note_told(struct past *past, uint64_t cursor)
{
    if (past->part_count > SATCHEL_BATCH_ITEMS(TOLD_PARTS_MIN) &&
        past->told_count < TOLD_ENTRIES_MAX)
        past->told[past->told_count++] = cursor;
}

static enum satchel_status take_entry(struct past *past, const struct satchel_entry *read)
{
    void *items = past->entries;
    size_t capacity = past->entry_capacity;
    bool is_empty = false;
    if (SATCHEL_MUTATED(no_past) || was_told(past, read->cursor))
        return SATCHEL_OK;
    if (!make_room(&past->job->arena, &items, past->entry_count, &capacity, sizeof *past->entries))
        return SATCHEL_NOMEM;
    past->entries = items;
    past->entry_capacity = (uint32_t)capacity;
    struct satchel_entry *entry = &past->entries[past->entry_count];
    enum satchel_status status =
        entry_read(past->reader, past->job, past->known, read, entry, &is_empty);
    if (status != SATCHEL_OK || is_empty)
        return status;
    past->entry_count++;
    note_told(past, read->cursor);
    past->bytes += 64 + entry->user.size + entry->body.size + entry->notes.size;
    return SATCHEL_OK;
}

static enum satchel_status read_past(struct past *past)
{
    struct satchel_log_entry read;
    uint64_t last = 0;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && past->cursor_count > 0) {
        bool found = false;
        uint64_t cursor = pop_cursor(past);
        if (cursor == last)
            continue;
        last = cursor;
        past->is_over = past->bytes > PAST_BYTES_MAX;
        if (past->is_over)
            break;
        status = satchel_log_read_at(past->reader->log, cursor, &found, &read, &past->job->error);
        if (status == SATCHEL_OK && !found)
            status = SATCHEL_CORRUPT;
        if (status == SATCHEL_OK)
            status = follow(past, &read);
        if (status == SATCHEL_OK)
            status = take_entry(past, &read.entry);
        if (status != SATCHEL_OK)
            satchel_error_default(&past->job->error, status, "entry %llu of the log is damaged",
                                  (unsigned long long)cursor);
    }
    satchel_log_read_end(past->reader->log);
    return status;
}

/* What was set aside of the row is not in its timeline. */
static enum satchel_status add_quarantined(struct past *past, sqlite3_stmt *select,
                                           struct satchel_span name)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status;
    satchel_query_begin(&query, past->reader->db, select);
    satchel_query_blob(&query, name);
    do {
        status = satchel_query_step(&query, &has_row, &past->job->error);
        if (status == SATCHEL_OK && has_row)
            status = push_cursor(past, (uint64_t)sqlite3_column_int64(query.statement, 0));
    } while (status == SATCHEL_OK && has_row);
    satchel_query_end(&query);
    return status;
}

static enum satchel_status add_row(struct past *past, sqlite3_stmt *select,
                                   struct satchel_span name)
{
    struct satchel_query query;
    bool has_row = false;
    uint64_t cursor = 0;
    enum satchel_status status = satchel_map_put(&past->rows, name, past);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_begin(&query, past->reader->db, select);
    satchel_query_blob(&query, name);
    status = satchel_query_step(&query, &has_row, &past->job->error);
    if (status == SATCHEL_OK && has_row)
        cursor = satchel_version_timeline_read(satchel_column_span(query.statement, 0));
    satchel_query_end(&query);
    return status == SATCHEL_OK ? push_cursor(past, cursor) : status;
}

/* What the log has about the rows, newest first if it is too much. */
static enum satchel_status find_past(struct past *past, const struct satchel_span *names,
                                     size_t count)
{
    struct satchel_job *job = past->job;
    struct satchel_query select, quarantined;
    enum satchel_status status =
        satchel_query_open(&select, past->reader->db, SQL_VERSION, &job->error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_open(&quarantined, past->reader->db, SQL_QUARANTINED, &job->error);
    if (status != SATCHEL_OK) {
        satchel_query_close(&select);
        return status;
    }
    satchel_map_init(&past->rows, CAME_ROWS, NULL);
    satchel_buffer_init(&past->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    past->told_count = job->scope.told.size / sizeof past->told[0];
    if (past->told_count > 0)
        memcpy(past->told, job->scope.told.data, job->scope.told.size);
    past->entry_count = 0;
    past->bytes = past->cursor_count = 0;
    past->is_over = false;
    for (size_t i = 0; i < count && status == SATCHEL_OK; i++)
        if ((status = add_row(past, select.statement, names[i])) == SATCHEL_OK)
            status = add_quarantined(past, quarantined.statement, names[i]);
    if (status == SATCHEL_OK)
        status = read_past(past);
    satchel_buffer_deinit(&past->name);
    satchel_map_deinit(&past->rows);
    satchel_query_close(&quarantined);
    satchel_query_close(&select);
    return status;
}

static enum satchel_status tell_past(struct past *past, struct satchel_message_scope *scope)
{
    struct satchel_scope_state *state = &past->job->scope;
    for (uint32_t i = 0; i < past->entry_count / 2; i++) {
        struct satchel_entry swapped = past->entries[i];
        past->entries[i] = past->entries[past->entry_count - 1 - i];
        past->entries[past->entry_count - 1 - i] = swapped;
    }
    scope->entries = past->entries;
    scope->entry_count = past->entry_count;
    state->told = satchel_arena_copy(
        &past->job->arena, satchel_span_of(past->told, past->told_count * sizeof past->told[0]));
    return state->told.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* ---- rows that came ---- */

/* As many of the rows as a message should hold, at least one. */
static enum satchel_status tell_came(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct incarnations *known,
                                     const struct satchel_span *names, size_t *count)
{
    struct past past = {.reader = reader, .job = job, .known = known};
    struct satchel_message_scope *scope = add_answer(job);
    struct rows_answer rows;
    enum satchel_status status = find_past(&past, names, *count);
    while (status == SATCHEL_OK && past.is_over && *count > 1) {
        *count = (*count + 3) / 4;
        status = find_past(&past, names, *count);
    }
    if (status == SATCHEL_OK)
        status = tell_past(&past, scope);
    if (status != SATCHEL_OK)
        return status;
    status = rows_begin(&rows, reader, job, *count);
    for (size_t i = 0; i < *count && rows.bytes < ROWS_BYTES_MAX && status == SATCHEL_OK; i++)
        status = rows_add(&rows, names[i]);
    if (status == SATCHEL_OK)
        status = rows_notes(&rows, &scope->notes);
    *count = rows.effect_count;
    rows_end(&rows);
    return status;
}

enum satchel_status scope_read_came(struct workspace_reader *reader, struct satchel_job *job,
                                    const struct incarnations *known)
{
    struct satchel_scope_state *scope = &job->scope;
    struct satchel_span *names = NULL;
    size_t count = 0;
    if (scope_viewer_sees_all(reader->viewer)) {
        scope->complete = known->cursor;
        return SATCHEL_OK;
    }
    if (scope->next_complete == 0)
        scope->next_complete = known->cursor;
    enum satchel_status status =
        scope_came(reader->viewer, scope->complete, scope->came_after,
                   SATCHEL_BATCH_ITEMS(CAME_ROWS), &job->arena, &names, &count, &job->error);
    size_t told = count;
    if (status == SATCHEL_OK && count > 0 && !SATCHEL_MUTATED(no_came))
        status = tell_came(reader, job, known, names, &told);
    if (status != SATCHEL_OK)
        return status;
    bool is_whole = told == count && count < SATCHEL_BATCH_ITEMS(CAME_ROWS);
    scope->came_after = is_whole ? satchel_span_of(NULL, 0) : names[told - 1];
    if (is_whole) {
        scope->complete = scope->next_complete;
        scope->next_complete = 0;
        scope->told = satchel_span_of(NULL, 0);
    }
    return SATCHEL_OK;
}
