/* Owns what an administrator decides about parts that were set aside.
 *
 * Retry: the part is merged now, as a change set of the server that carries the original operation
 * in its author's name and role. It has seen what its author had seen: the original `seen`, and
 * what the author's own device wrote to the row before. Writes that wait for a row whose insert was
 * set aside go with the insert. What is refused again stays where it was, with the new reason told.
 *
 * Drop: the part stays in the log and in the list, as dropped. */
#include "admin_rows.h"
#include "timelines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SQL_FIND "SELECT state FROM satchel_quarantine WHERE cursor=?1 AND part=?2"
#define SQL_WAITING                                                           \
    "SELECT cursor, part, name FROM satchel_quarantine WHERE state='waiting'" \
    " ORDER BY cursor, part"
#define SQL_BEHIND                                                                            \
    "SELECT w.cursor, w.part, w.name FROM satchel_quarantine q JOIN satchel_quarantine w"     \
    " ON w.name=q.name WHERE q.cursor=?1 AND q.part=?2 AND w.state='waiting'"                 \
    " AND (w.cursor>q.cursor OR (w.cursor=q.cursor AND w.part>=q.part)) AND length(q.name)>0" \
    " UNION SELECT cursor, part, name FROM satchel_quarantine WHERE cursor=?1 AND part=?2"
#define SQL_SETTLE \
    "UPDATE satchel_quarantine SET state=?1, at=?2, entry=?3 WHERE cursor=?4 AND part=?5"

#define PARTS_MAX 100000
#define TIMELINE_BYTES_MAX ((size_t)256 << 20)

struct waiting {
    struct satchel_store_quarantine part;
    bool is_failed;
    struct satchel_span reason; /* if it is */
    uint64_t entry;             /* that released it */
};

struct release {
    struct satchel_store *store;
    struct satchel_job *job;
    sqlite3 *db;
    struct waiting *parts; /* ascending cursor, part */
    size_t count, capacity;
    struct satchel_map chosen; /* by cursor and part */
    struct timelines *timelines;
};

static enum satchel_status release_begin(struct release *release,
                                         struct satchel_workspace *workspace,
                                         struct satchel_job *job)
{
    *release = (struct release){
        .store = workspace->store, .job = job, .db = satchel_store_sqlite_db(workspace->store)};
    satchel_map_init(&release->chosen, 2 * PARTS_MAX, NULL);
    return timelines_new(&release->timelines, release->store);
}

static void release_end(struct release *release)
{
    timelines_free(release->timelines);
    satchel_map_deinit(&release->chosen);
}

/* ---- which parts ---- */

static enum satchel_status add(struct release *release, const struct satchel_store_quarantine *part)
{
    const uint64_t id[] = {part->cursor, part->part};
    struct satchel_span key = satchel_span_of(id, sizeof id);
    if (satchel_map_get(&release->chosen, key))
        return SATCHEL_OK;
    if (release->count == PARTS_MAX)
        return satchel_error_set(&release->job->error, SATCHEL_LIMIT,
                                 "at most %d parts at once: name some of them", PARTS_MAX);
    if (release->count == release->capacity) {
        size_t capacity = release->capacity ? release->capacity * 2 : 64;
        struct waiting *parts = SATCHEL_ARENA_ARRAY(&release->job->arena, struct waiting, capacity);
        if (!parts)
            return SATCHEL_NOMEM;
        if (release->count)
            memcpy(parts, release->parts, release->count * sizeof *parts);
        release->parts = parts;
        release->capacity = capacity;
    }
    release->parts[release->count++].part = *part;
    return satchel_map_put(&release->chosen, key, release);
}

/* Every row of a query for cursor, part and name. */
static enum satchel_status add_all(struct release *release, struct satchel_query *query)
{
    bool has_row = false;
    enum satchel_status status;
    while ((status = satchel_query_step(query, &has_row, &release->job->error)) == SATCHEL_OK &&
           has_row) {
        struct satchel_store_quarantine part = {
            .cursor = (uint64_t)sqlite3_column_int64(query->statement, 0),
            .part = (uint32_t)sqlite3_column_int64(query->statement, 1),
            .name = satchel_column_copy(query->statement, 2, &release->job->arena)};
        status = part.name.data ? add(release, &part) : SATCHEL_NOMEM;
        if (status != SATCHEL_OK)
            break;
    }
    return status;
}

/* DEVICE.NUMBER.PART, as the list shows it. */
static bool parse_id(struct satchel_span text, struct satchel_id *device, uint64_t *number,
                     uint32_t *part)
{
    char copy[128], *end;
    const uint8_t *dot = text.size ? memchr(text.data, '.', text.size) : NULL;
    if (!dot || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    size_t id_size = (size_t)(dot - text.data);
    if (satchel_id_parse(device, satchel_span_of(text.data, id_size)) != SATCHEL_OK)
        return false;
    *number = strtoull(copy + id_size + 1, &end, 10);
    if (*end != '.' || end == copy + id_size + 1)
        return false;
    char *last = end + 1;
    *part = (uint32_t)strtoul(last, &end, 10);
    return *end == '\0' && end != last;
}

static enum satchel_status check_waiting(struct release *release, uint64_t cursor, uint32_t part,
                                         struct satchel_span id)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        satchel_query_open(&query, release->db, SQL_FIND, &release->job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)cursor);
    satchel_query_integer(&query, part);
    status = satchel_query_step(&query, &has_row, &release->job->error);
    if (status == SATCHEL_OK && !has_row)
        status = satchel_error_set(&release->job->error, SATCHEL_NOT_FOUND,
                                   "%.*s is not set aside: `satchel quarantine list` shows what is",
                                   (int)id.size, (const char *)id.data);
    if (status == SATCHEL_OK &&
        !satchel_span_equal(satchel_column_span(query.statement, 0), satchel_span_text("waiting")))
        status = satchel_error_set(
            &release->job->error, SATCHEL_STATE, "%.*s is settled: it was %s", (int)id.size,
            (const char *)id.data, (const char *)sqlite3_column_text(query.statement, 0));
    satchel_query_close(&query);
    return status;
}

/* `sql` gives the parts that go with the one. */
static enum satchel_status add_named(struct release *release, struct satchel_span id,
                                     const char *sql)
{
    struct satchel_error *error = &release->job->error;
    struct satchel_query query;
    struct satchel_id device;
    uint64_t number, cursor;
    uint32_t part;
    if (!parse_id(id, &device, &number, &part))
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "'%.*s' is no id of the list: DEVICE.NUMBER.PART",
                                 (int)(id.size < 100 ? id.size : 100), (const char *)id.data);
    enum satchel_status status =
        release->store->ops->find_entry(release->store, &device, number, &cursor, error);
    if (status == SATCHEL_OK)
        status = check_waiting(release, cursor, part, id);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, release->db, sql, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)cursor);
    satchel_query_integer(&query, part);
    status = add_all(release, &query);
    satchel_query_close(&query);
    return status;
}

static int compare_parts(const void *left, const void *right)
{
    const struct waiting *a = left, *b = right;
    if (a->part.cursor != b->part.cursor)
        return a->part.cursor < b->part.cursor ? -1 : 1;
    return a->part.part < b->part.part ? -1 : a->part.part > b->part.part;
}

static enum satchel_status choose(struct release *release, const char *sql)
{
    const struct satchel_message_admin *request = &release->job->request.admin;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 2; status == SATCHEL_OK && i < request->argument_count; i++) {
        struct satchel_span id;
        status = job_argument(release->job, i, "an id of the list", &id);
        if (status == SATCHEL_OK)
            status = add_named(release, id, sql);
    }
    if (release->count > 0)
        qsort(release->parts, release->count, sizeof *release->parts, compare_parts);
    return status;
}

static enum satchel_status choose_all(struct release *release)
{
    struct satchel_query query;
    enum satchel_status status =
        satchel_query_open(&query, release->db, SQL_WAITING, &release->job->error);
    if (status != SATCHEL_OK)
        return status;
    status = add_all(release, &query);
    satchel_query_close(&query);
    return status;
}

static enum satchel_status settle(struct release *release, const struct waiting *waiting,
                                  const char *state)
{
    struct satchel_query query;
    bool has_row;
    enum satchel_status status =
        satchel_query_open(&query, release->db, SQL_SETTLE, &release->job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, satchel_span_text(state));
    satchel_query_integer(&query, workspace_now_ms());
    if (waiting->entry)
        satchel_query_integer(&query, (int64_t)waiting->entry);
    else
        satchel_query_null(&query);
    satchel_query_integer(&query, (int64_t)waiting->part.cursor);
    satchel_query_integer(&query, waiting->part.part);
    status = satchel_query_step(&query, &has_row, &release->job->error);
    satchel_query_close(&query);
    return status;
}

/* ---- what the author had seen ---- */

/* Up to which seq every write to the row is one the original had seen: covered by its `seen`, or an
 * earlier one of its own device, or of one that this is a copy of. */
static enum satchel_status seen_of_row(struct release *release, struct satchel_span name,
                                       const struct satchel_entry *original, uint64_t seen,
                                       uint64_t *out)
{
    struct satchel_store *store = release->store;
    struct satchel_store_row row = {.name = name};
    struct satchel_version *version;
    struct satchel_arena arena;
    const struct satchel_value *key;
    uint32_t table, key_count;
    uint64_t cursor = 0, first_foreign = UINT64_MAX, last_own = seen;
    satchel_arena_init(&arena, TIMELINE_BYTES_MAX, NULL);
    enum satchel_status status = satchel_row_name_read(name, &arena, &table, &key, &key_count);
    row.key = key;
    row.table = satchel_schema_table(store->schema, table);
    if (status == SATCHEL_OK && row.table)
        status = store->ops->load_rows(store, &row, 1, &arena, &release->job->error);
    if (status == SATCHEL_OK && row.version.size > 0) {
        status = satchel_version_decode(&arena, row.version, &store->ids, &version);
        cursor = status == SATCHEL_OK ? satchel_version_timeline(version) : 0;
    }
    while (status == SATCHEL_OK && cursor > 0) {
        struct timeline_step step;
        bool is_own = false;
        status = timelines_step(release->timelines, cursor, name, &step, &release->job->error);
        if (status != SATCHEL_OK || step.entry->seq <= seen)
            break;
        status =
            copy_is_own_earlier(store, original, step.entry, &arena, &is_own, &release->job->error);
        if (status != SATCHEL_OK)
            break;
        if (is_own && step.entry->seq > last_own)
            last_own = step.entry->seq;
        if (!is_own)
            first_foreign = step.entry->seq; /* the chain goes back in time */
        cursor = step.previous;
    }
    satchel_arena_deinit(&arena);
    *out = last_own < first_foreign ? last_own : first_foreign - 1;
    if (*out < seen)
        *out = seen;
    return status;
}

/* The view of one part, as an exception to a change set that has seen up to `seen`. */
static enum satchel_status narrow(struct release *release, struct satchel_part *part,
                                  const struct satchel_id *node, uint64_t seen)
{
    struct satchel_arena *arena = &release->job->arena;
    uint32_t count = part->exception_count;
    struct satchel_position *position = SATCHEL_ARENA_ARRAY(arena, struct satchel_position, 1);
    struct satchel_exception *exceptions =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_exception, count + 1);
    if (!position || !exceptions)
        return SATCHEL_NOMEM;
    if (count > 0 && part->exceptions[count - 1].column == SATCHEL_COLUMN_ROW)
        return SATCHEL_OK; /* its own view of the row is narrower still */
    if (count > 0)
        memcpy(exceptions, part->exceptions, count * sizeof *exceptions);
    *position = (struct satchel_position){*node, seen};
    exceptions[count].column = SATCHEL_COLUMN_ROW;
    exceptions[count].view.kind = seen > 0 ? SATCHEL_VIEW_SEEN : SATCHEL_VIEW_NONE;
    exceptions[count].view.vector = (struct satchel_vector){position, seen > 0};
    part->exceptions = exceptions;
    part->exception_count = count + 1;
    return SATCHEL_OK;
}

/* ---- retry ---- */

/* The change set of some parts of one entry: their operations, and what they had seen. */
static enum satchel_status collect(struct release *release, const struct waiting *waiting,
                                   size_t count, struct satchel_own_changeset *changes)
{
    struct satchel_job *job = release->job;
    struct satchel_arena *arena = &job->arena;
    struct satchel_store_head head;
    struct satchel_entry entry;
    struct satchel_changeset original;
    struct satchel_part *parts = SATCHEL_ARENA_ARRAY(arena, struct satchel_part, count);
    uint64_t *seen = SATCHEL_ARENA_ARRAY(arena, uint64_t, count), greatest = 0;
    struct satchel_vector *vector = SATCHEL_ARENA_ARRAY(arena, struct satchel_vector, 1);
    if (!parts || !seen || !vector)
        return SATCHEL_NOMEM;
    enum satchel_status status = release->store->ops->load_head(release->store, &head, &job->error);
    if (status == SATCHEL_OK)
        status = admin_entry(release->store, waiting[0].part.cursor, arena, &entry, &original,
                             &job->error);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        uint64_t of_all = satchel_vector_get(&original.header.seen, &head.node);
        if (waiting[i].part.part >= original.header.part_count)
            return SATCHEL_CORRUPT;
        parts[i] = original.parts[waiting[i].part.part];
        seen[i] = of_all;
        if (waiting[i].part.name.size > 0)
            status = seen_of_row(release, waiting[i].part.name, &entry, of_all, &seen[i]);
        if (seen[i] > greatest)
            greatest = seen[i];
    }
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++)
        if (seen[i] < greatest)
            status = narrow(release, &parts[i], &head.node, seen[i]);
    if (status == SATCHEL_OK)
        status = satchel_vector_raise(arena, &original.header.seen, &head.node, greatest, vector);
    if (greatest == 0)
        *vector = original.header.seen;
    *changes = (struct satchel_own_changeset){.parts = parts,
                                              .part_count = (uint32_t)count,
                                              .user = entry.user,
                                              .role = original.header.role,
                                              .seen = vector};
    return status;
}

/* Marks the parts that the entry at `cursor` set aside again; `map` says which they were. */
static enum satchel_status mark_failed(struct release *release, uint64_t cursor,
                                       struct waiting **map)
{
    struct satchel_arena *arena = &release->job->arena;
    struct satchel_entry entry;
    struct satchel_span timeline;
    struct satchel_notes notes;
    enum satchel_status status = release->store->ops->load_entries(
        release->store, &cursor, 1, &entry, &timeline, arena, &release->job->error);
    if (status == SATCHEL_OK)
        status = satchel_notes_read(entry.notes, arena, &notes);
    for (uint32_t i = 0; status == SATCHEL_OK && i < notes.quarantined_count; i++) {
        map[notes.quarantined[i].part]->is_failed = true;
        map[notes.quarantined[i].part]->reason = notes.quarantined[i].reason;
    }
    return status;
}

/* Releases those of parts[first..] that are of one entry and have not failed. */
static enum satchel_status release_entry(struct release *release, size_t first, size_t end,
                                         bool *has_failed)
{
    struct satchel_arena *arena = &release->job->arena;
    struct waiting *chosen = SATCHEL_ARENA_ARRAY(arena, struct waiting, end - first);
    struct waiting **map = SATCHEL_ARENA_ARRAY(arena, struct waiting *, end - first);
    struct satchel_own_changeset changes;
    struct satchel_incoming_outcome outcome;
    size_t count = 0;
    if (!chosen || !map)
        return SATCHEL_NOMEM;
    for (size_t i = first; i < end; i++)
        if (!release->parts[i].is_failed) {
            map[count] = &release->parts[i];
            chosen[count++] = release->parts[i];
        }
    if (count == 0)
        return SATCHEL_OK;
    enum satchel_status status = collect(release, chosen, count, &changes);
    if (status == SATCHEL_OK)
        status = satchel_own_merge(release->store, &changes, workspace_now_ms(), arena, &outcome,
                                   &release->job->error);
    if (status == SATCHEL_OK && outcome.quarantined_count > 0) {
        *has_failed = true;
        status = mark_failed(release, outcome.cursor, map);
    }
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        map[i]->entry = outcome.cursor;
        status = settle(release, map[i], "retried");
    }
    return status;
}

static enum satchel_status release_all(struct release *release, bool *has_failed)
{
    enum satchel_status status = SATCHEL_OK;
    size_t end;
    *has_failed = false;
    for (size_t first = 0; status == SATCHEL_OK && first < release->count; first = end) {
        end = first + 1;
        while (end < release->count &&
               release->parts[end].part.cursor == release->parts[first].part.cursor)
            end++;
        status = release_entry(release, first, end, has_failed);
    }
    return status;
}

static enum satchel_status tell(struct release *release)
{
    static const char *const columns[] = {"id", "state", "reason"};
    struct query_result result;
    struct satchel_entry entry = {0};
    struct satchel_changeset changeset;
    enum satchel_status status = query_result_begin(&result, release->job, columns, 3);
    for (size_t i = 0; status == SATCHEL_OK && i < release->count; i++) {
        const struct waiting *waiting = &release->parts[i];
        char device[SATCHEL_ID_TEXT_BYTES], id[128];
        if (entry.cursor != waiting->part.cursor)
            status = admin_entry(release->store, waiting->part.cursor, &release->job->arena, &entry,
                                 &changeset, &release->job->error);
        if (status != SATCHEL_OK)
            break;
        satchel_id_text(&entry.device, device);
        snprintf(id, sizeof id, "%s.%" PRIu64 ".%u", device, entry.number, waiting->part.part);
        struct satchel_value values[] = {
            satchel_value_text(satchel_span_text(id)),
            satchel_value_text(satchel_span_text(waiting->is_failed ? "waiting" : "retried")),
            satchel_value_text(waiting->reason)};
        for (size_t v = 0; status == SATCHEL_OK && v < 3; v++)
            status = query_result_add(&result, &values[v]);
    }
    if (status == SATCHEL_OK)
        query_result_end(&result);
    return status;
}

/* What is refused again is left out and the rest tried anew, until nothing is refused: a released
 * change set holds only what took effect. */
enum satchel_status quarantine_retry_job(struct satchel_workspace *workspace,
                                         struct satchel_job *job)
{
    struct release release;
    bool has_failed = true;
    enum satchel_status status = release_begin(&release, workspace, job);
    if (status == SATCHEL_OK)
        status = job->request.admin.argument_count > 2 ? choose(&release, SQL_BEHIND)
                                                       : choose_all(&release);
    while (status == SATCHEL_OK && has_failed) {
        status = release_all(&release, &has_failed);
        if (status != SATCHEL_OK || !has_failed)
            break;
        release.store->ops->rollback(release.store);
        timelines_forget(release.timelines);
        status = release.store->ops->begin(release.store, &job->error);
    }
    if (status == SATCHEL_OK)
        status = tell(&release);
    release_end(&release);
    return status;
}

/* ---- drop ---- */

enum satchel_status quarantine_drop_job(struct satchel_workspace *workspace,
                                        struct satchel_job *job)
{
    struct release release;
    enum satchel_status status = release_begin(&release, workspace, job);
    if (status == SATCHEL_OK && job->request.admin.argument_count < 3)
        status = satchel_error_set(&job->error, SATCHEL_INVALID,
                                   "which one to drop is missing: `satchel quarantine list` shows "
                                   "ids");
    if (status == SATCHEL_OK)
        status =
            choose(&release, "SELECT cursor, part, name FROM satchel_quarantine WHERE cursor=?1"
                             " AND part=?2");
    for (size_t i = 0; status == SATCHEL_OK && i < release.count; i++)
        status = settle(&release, &release.parts[i], "dropped");
    release_end(&release);
    return status == SATCHEL_OK ? job_answer_text(job, "dropped %zu", release.count) : status;
}
