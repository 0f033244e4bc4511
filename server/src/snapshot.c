/* Owns snapshots: how they are made, kept and served. What a row comes to is read_rows.h's. */
#include "snapshot.h"

#include "incarnation.h"
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
    PAGE_BYTES = 256 << 10, /* and roughly so much at most, or one row */
    SNAPSHOTS_MAX = 32,     /* kept at once: the one that was asked for least lately goes ... */
    IDLE_MS = 120000,       /* ... if nobody has for so long */
    CACHE_KIB = 2048
};

#define SQL_TABLES                                                                              \
    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"           \
    "CREATE TABLE snapshot(device BLOB PRIMARY KEY, id BLOB NOT NULL, cursor INTEGER NOT NULL," \
    " vector BLOB NOT NULL, receipt BLOB NOT NULL, stamp INTEGER NOT NULL,"                     \
    " schema INTEGER NOT NULL, role TEXT NOT NULL, asked_ms INTEGER NOT NULL,"                  \
    " row_count INTEGER NOT NULL, page_count INTEGER NOT NULL);"                                \
    "CREATE TABLE page(device BLOB NOT NULL, page INTEGER NOT NULL, notes BLOB NOT NULL);"      \
    "CREATE INDEX page_device ON page(device, page);"

enum statement { FIND, ADD, ASKED, DROP, DROP_PAGES, OLDEST, ADD_PAGE, FIND_PAGE, STATEMENT_COUNT };
static const char *const statement_sql[STATEMENT_COUNT] = {
    [FIND] = "SELECT id, cursor, vector, receipt, stamp, schema, role, row_count, page_count FROM"
             " snapshot WHERE device=?1",
    [ADD] = "INSERT INTO snapshot VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
    [ASKED] = "UPDATE snapshot SET asked_ms=?2 WHERE device=?1",
    [DROP] = "DELETE FROM snapshot WHERE device=?1",
    [DROP_PAGES] = "DELETE FROM page WHERE device=?1",
    [OLDEST] = "SELECT device, asked_ms FROM snapshot ORDER BY asked_ms DESC LIMIT 1 OFFSET ?1",
    [ADD_PAGE] = "INSERT INTO page VALUES(?1,?2,?3)",
    [FIND_PAGE] = "SELECT notes FROM page WHERE device=?1 AND page=?2",
};
/* In the store. */
#define SQL_LAST_NUMBER "SELECT last_number FROM satchel_device WHERE id=?1"
#define SQL_STAMP "SELECT stamp FROM satchel_workspace"

struct snapshots {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

/* ---- the file ---- */

void snapshots_free(struct snapshots *snapshots)
{
    if (!snapshots)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(snapshots->statements[i]);
    sqlite3_close_v2(snapshots->db);
    satchel_free(NULL, snapshots);
}

static enum satchel_status open_file(struct snapshots **out, struct satchel_error *error)
{
    char cache[64];
    struct snapshots *snapshots = satchel_alloc_zero(NULL, sizeof *snapshots);
    if (!snapshots)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_open_v2("", &snapshots->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK)
        status = SATCHEL_SQL;
    (void)sqlite3_snprintf(sizeof cache, cache, "PRAGMA cache_size=-%d", CACHE_KIB);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(snapshots->db, cache, error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(snapshots->db, SQL_TABLES, error);
    for (int i = 0; status == SATCHEL_OK && i < STATEMENT_COUNT; i++)
        status =
            satchel_db_prepare(snapshots->db, statement_sql[i], &snapshots->statements[i], error);
    if (status == SATCHEL_OK)
        *out = snapshots;
    else
        snapshots_free(snapshots);
    return status;
}

static void begin(struct snapshots *snapshots, struct satchel_query *query,
                  enum statement statement)
{
    satchel_query_begin(query, snapshots->db, snapshots->statements[statement]);
}

static enum satchel_status drop(struct snapshots *snapshots, const struct satchel_id *device,
                                struct satchel_error *error)
{
    struct satchel_query query;
    begin(snapshots, &query, DROP_PAGES);
    satchel_query_id(&query, device);
    enum satchel_status status = satchel_query_run(&query, error);
    if (status != SATCHEL_OK)
        return status;
    begin(snapshots, &query, DROP);
    satchel_query_id(&query, device);
    return satchel_query_run(&query, error);
}

/* Until there is room for one more. BUSY: all are being fetched. */
static enum satchel_status drop_oldest(struct snapshots *snapshots, struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_id device;
    bool has_row = false, is_idle = false;
    enum satchel_status status;
    do {
        begin(snapshots, &query, OLDEST);
        satchel_query_integer(&query, SNAPSHOTS_MAX - 1);
        status = satchel_query_step(&query, &has_row, error);
        has_row = has_row && satchel_column_id(query.statement, 0, &device);
        int64_t idle_ms =
            has_row ? workspace_now_ms() - sqlite3_column_int64(query.statement, 1) : 0;
        is_idle = idle_ms > IDLE_MS || idle_ms < 0; /* the clock was set back */
        satchel_query_end(&query);
        if (status == SATCHEL_OK && has_row && !is_idle)
            return satchel_error_set(error, SATCHEL_BUSY,
                                     "%d other new devices are being filled: try again later",
                                     SNAPSHOTS_MAX);
        if (status == SATCHEL_OK && has_row)
            status = drop(snapshots, &device, error);
    } while (status == SATCHEL_OK && has_row);
    return status;
}

/* ---- made ---- */

struct making {
    struct workspace_reader *reader;
    struct satchel_job *job; /* that it is for */
    struct satchel_job page; /* what one page needs */
    struct rows_answer rows;
    bool has_rows; /* rows_begin */
    struct satchel_message_snapshot *out;
};

static enum satchel_status end_page(struct making *making)
{
    struct snapshots *snapshots = making->reader->snapshots;
    struct satchel_span notes;
    struct satchel_query query;
    enum satchel_status status = SATCHEL_OK;
    if (making->has_rows && making->rows.effect_count > 0) {
        status = rows_notes(&making->rows, &notes);
        if (status == SATCHEL_OK) {
            begin(snapshots, &query, ADD_PAGE);
            satchel_query_id(&query, &making->job->device);
            satchel_query_integer(&query, (int64_t)making->out->page_count);
            satchel_query_blob(&query, notes);
            status = satchel_query_run(&query, &making->job->error);
        }
        making->out->row_count += making->rows.effect_count;
        making->out->page_count++;
    }
    if (making->has_rows)
        rows_end(&making->rows);
    making->has_rows = false;
    satchel_arena_reset(&making->page.arena);
    return status;
}

/* Of rows that are gone only the conflicts are told. `values`: NULL, they are to be looked up. */
static enum satchel_status add_row(struct making *making, struct satchel_span name,
                                   const struct satchel_value *values)
{
    struct rows_answer *rows = &making->rows;
    enum satchel_status status = SATCHEL_OK;
    if (making->has_rows && (rows->effect_count == PAGE_ROWS || rows->bytes >= PAGE_BYTES))
        status = end_page(making);
    if (status == SATCHEL_OK && !making->has_rows) {
        status = rows_begin(rows, making->reader, &making->page, PAGE_ROWS);
        making->has_rows = true;
    }
    name = satchel_arena_copy(&making->page.arena, name);
    if (status != SATCHEL_OK || !name.data)
        return status == SATCHEL_OK ? SATCHEL_NOMEM : status;
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

/* Going through a table beside the names of its rows, both in the order of the keys: what is read
 * in order needs no looking up. Names are ordered by length first, where keys are texts of different
 * lengths; and of a row that is gone there is only the name. What the walk does not come upon is
 * looked up. */
struct beside {
    struct satchel_row_walk walk;
    struct satchel_buffer name; /* of the walk's row */
    bool has_row;
};

static enum satchel_status step(struct beside *beside, struct satchel_error *error)
{
    satchel_buffer_clear(&beside->name);
    enum satchel_status status = satchel_row_walk_next(&beside->walk, &beside->has_row, error);
    return status == SATCHEL_OK && beside->has_row
               ? satchel_row_walk_name(&beside->walk, &beside->name)
               : status;
}

static enum satchel_status begin_beside(struct beside *beside, const struct making *making,
                                        const struct satchel_table *table)
{
    static const struct satchel_walk_bounds in_order = {.in_order = true};
    struct satchel_error *error = &making->job->error;
    *beside = (struct beside){.has_row = false};
    satchel_buffer_init(&beside->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_row_walk_begin(&beside->walk, making->reader->db, table, &in_order, error);
    return status == SATCHEL_OK ? step(beside, error) : status;
}

static void end_beside(struct beside *beside)
{
    if (beside->walk.statement)
        satchel_row_walk_end(&beside->walk);
    satchel_buffer_deinit(&beside->name);
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

static enum satchel_status add_table(struct making *making, const struct satchel_table *table)
{
    struct satchel_error *error = &making->job->error;
    struct scope_rows names;
    struct beside beside = {.has_row = false};
    struct satchel_span name;
    const struct satchel_value *values;
    enum satchel_status status = scope_rows_begin(&names, making->reader->viewer, table, error);
    if (status == SATCHEL_OK && names.is_decided && names.is_seen)
        status = begin_beside(&beside, making, table);
    while (status == SATCHEL_OK && (status = scope_rows_next(&names, &name, error)) == SATCHEL_OK &&
           name.size > 0) {
        status = find_beside(&beside, name, &values, error);
        if (status == SATCHEL_OK)
            status = add_row(making, name, values);
    }
    end_beside(&beside);
    scope_rows_end(&names);
    return status;
}

/* 1 before 2, and so on; tables without a priority are last. */
static int compare_tables(const void *left, const void *right)
{
    const struct satchel_table *a = *(const struct satchel_table *const *)left;
    const struct satchel_table *b = *(const struct satchel_table *const *)right;
    if (a->priority != b->priority)
        return (unsigned)a->priority - 1 < (unsigned)b->priority - 1 ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* What the user needs first comes first. */
static enum satchel_status add_tables(struct making *making)
{
    const struct satchel_schema *schema = making->reader->schema;
    uint32_t count = schema ? schema->table_count : 0;
    const struct satchel_table **tables =
        SATCHEL_ARENA_ARRAY(&making->job->arena, const struct satchel_table *, count + 1);
    enum satchel_status status = SATCHEL_OK;
    if (!tables)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        tables[i] = &schema->tables[i];
    if (count > 0)
        qsort(tables, count, sizeof *tables, compare_tables);
    for (uint32_t i = 0; status == SATCHEL_OK && i < count; i++)
        if (!tables[i]->is_local && !tables[i]->is_server)
            status = add_table(making, tables[i]);
    return status;
}

static enum satchel_status read_integer(struct workspace_reader *reader, const char *sql,
                                        const struct satchel_id *id, int64_t *out,
                                        struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = satchel_query_open(&query, reader->db, sql, error);
    if (status != SATCHEL_OK)
        return status;
    if (id)
        satchel_query_id(&query, id);
    status = satchel_query_step(&query, &has_row, error);
    *out = status == SATCHEL_OK && has_row ? sqlite3_column_int64(query.statement, 0) : 0;
    satchel_query_close(&query);
    return status;
}

/* A replica that was made from a copy of the file of one that has been here since must hear its
 * device's change sets, to know itself by them. */
static enum satchel_status check_number(struct workspace_reader *reader, struct satchel_job *job)
{
    int64_t last_number = 0;
    enum satchel_status status =
        read_integer(reader, SQL_LAST_NUMBER, &job->device, &last_number, &job->error);
    return status == SATCHEL_OK && last_number > 0
               ? satchel_error_set(&job->error, SATCHEL_AGAIN,
                                   "the device has sent changes meanwhile: sync again")
               : status;
}

static enum satchel_status add_snapshot(struct making *making)
{
    struct snapshots *snapshots = making->reader->snapshots;
    const struct satchel_message_snapshot *out = making->out;
    struct satchel_buffer vector;
    struct satchel_query query;
    satchel_buffer_init(&vector, SATCHEL_FRAME_BYTES_MAX, NULL);
    enum satchel_status status = satchel_vector_pack(&vector, &out->vector);
    if (status == SATCHEL_OK) {
        begin(snapshots, &query, ADD);
        satchel_query_id(&query, &making->job->device);
        satchel_query_id(&query, &out->snapshot);
        satchel_query_integer(&query, (int64_t)out->cursor);
        satchel_query_blob(&query, satchel_buffer_span(&vector));
        satchel_query_id(&query, &out->receipt);
        satchel_query_integer(&query, (int64_t)out->stamp);
        satchel_query_integer(&query, (int64_t)out->schema);
        satchel_query_text(&query, scope_viewer_role(making->reader->viewer));
        satchel_query_integer(&query, workspace_now_ms());
        satchel_query_integer(&query, (int64_t)out->row_count);
        satchel_query_integer(&query, (int64_t)out->page_count);
        status = satchel_query_run(&query, &making->job->error);
    }
    satchel_buffer_deinit(&vector);
    return status;
}

static enum satchel_status make(struct workspace_reader *reader, struct satchel_job *job,
                                struct satchel_message_snapshot *out)
{
    struct making making = {.reader = reader, .job = job, .out = out};
    int64_t stamp = 0;
    memset(out, 0, sizeof *out);
    enum satchel_status status = drop(reader->snapshots, &job->device, &job->error);
    if (status == SATCHEL_OK)
        status = drop_oldest(reader->snapshots, &job->error);
    if (status == SATCHEL_OK)
        status = reader_end(reader, job);
    if (status == SATCHEL_OK)
        status = read_integer(reader, SQL_STAMP, NULL, &stamp, &job->error);
    if (status != SATCHEL_OK)
        return status;
    randombytes_buf(out->snapshot.bytes, sizeof out->snapshot.bytes);
    out->cursor = job->head;
    out->vector = job->vector;
    out->receipt = job->end;
    out->stamp = (satchel_stamp)stamp;
    out->schema = reader->migration_count;
    satchel_arena_init(&making.page.arena, SIZE_MAX / 2, NULL);
    status = satchel_db_exec(reader->snapshots->db, "BEGIN", &job->error);
    if (status == SATCHEL_OK)
        status = add_tables(&making);
    if (status == SATCHEL_OK)
        status = end_page(&making);
    if (making.has_rows)
        rows_end(&making.rows);
    if (status == SATCHEL_OK)
        status = add_snapshot(&making);
    if (making.page.error.message[0] && !job->error.message[0])
        job->error = making.page.error;
    if (status == SATCHEL_OK)
        status = satchel_db_exec(reader->snapshots->db, "COMMIT", &job->error);
    satchel_arena_deinit(&making.page.arena);
    return status;
}

/* ---- served ---- */

/* Whether the device has a snapshot, which is the one asked for if one is, and made for the role
 * that its user has: with *out all of it but the notes. Of two syncs of one replica both get the
 * same. */
static enum satchel_status find(struct workspace_reader *reader, struct satchel_job *job,
                                struct satchel_message_snapshot *out, bool *found)
{
    struct satchel_query query;
    bool has_row = false;
    memset(out, 0, sizeof *out);
    *found = false;
    begin(reader->snapshots, &query, FIND);
    satchel_query_id(&query, &job->device);
    enum satchel_status status = satchel_query_step(&query, &has_row, &job->error);
    if (status == SATCHEL_OK && has_row && satchel_column_id(query.statement, 0, &out->snapshot) &&
        satchel_column_id(query.statement, 3, &out->receipt)) {
        struct satchel_span role = satchel_column_span(query.statement, 6);
        struct satchel_span vector = satchel_column_copy(query.statement, 2, &job->arena);
        out->cursor = (uint64_t)sqlite3_column_int64(query.statement, 1);
        out->stamp = (satchel_stamp)sqlite3_column_int64(query.statement, 4);
        out->schema = (uint64_t)sqlite3_column_int64(query.statement, 5);
        out->row_count = (uint64_t)sqlite3_column_int64(query.statement, 7);
        out->page_count = (uint64_t)sqlite3_column_int64(query.statement, 8);
        const struct satchel_id *asked = &job->request.snapshot_request.snapshot;
        *found = (satchel_id_is_zero(asked) || satchel_id_equal(&out->snapshot, asked)) &&
                 satchel_span_equal(role, scope_viewer_role(reader->viewer));
        status =
            vector.data ? satchel_vector_unpack(vector, &job->arena, &out->vector) : SATCHEL_NOMEM;
    }
    satchel_query_end(&query);
    return status;
}

/* Whether rows have left the user's scope since, or may be seen with other columns: which ones
 * follows from the role, for which it was made, and the schema. */
static enum satchel_status has_lost(struct workspace_reader *reader, struct satchel_job *job,
                                    const struct satchel_message_snapshot *snapshot, bool *rows,
                                    bool *columns)
{
    struct satchel_span *names = NULL;
    size_t count = 0;
    *rows = false;
    *columns = snapshot->schema != reader->migration_count && reader->schema->has_masks;
    if (scope_viewer_sees_all(reader->viewer))
        return SATCHEL_OK;
    enum satchel_status status =
        scope_left(reader->viewer, snapshot->cursor, satchel_span_of(NULL, 0), 1, &job->arena,
                   &names, &count, &job->error);
    *rows = count > 0;
    return status;
}

static enum satchel_status sees(struct workspace_reader *reader, struct satchel_job *job,
                                uint32_t table, const struct satchel_value *key, uint32_t key_count,
                                bool *out)
{
    const struct satchel_table *found = satchel_schema_table(reader->schema, table);
    *out = false;
    return found && found->key_count == key_count
               ? reader_sees(reader, found, key, out, &job->error)
               : SATCHEL_OK;
}

/* The page without what is of rows that have left. */
static enum satchel_status cut_page(struct workspace_reader *reader, struct satchel_job *job,
                                    struct satchel_span *page)
{
    struct satchel_notes notes, left = {0};
    struct satchel_buffer bytes;
    bool is_seen = false;
    enum satchel_status status = satchel_notes_read(*page, &job->arena, &notes);
    struct satchel_effect *effects =
        SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_effect, notes.effect_count + 1);
    struct satchel_conflict_note *conflicts =
        SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_conflict_note, notes.conflict_count + 1);
    left.effects = effects;
    left.conflicts = conflicts;
    if (status == SATCHEL_OK && (!effects || !conflicts))
        status = SATCHEL_NOMEM;
    for (uint32_t i = 0; status == SATCHEL_OK && i < notes.effect_count; i++) {
        const struct satchel_effect *effect = &notes.effects[i];
        status = sees(reader, job, effect->table, effect->key, effect->key_count, &is_seen);
        if (status == SATCHEL_OK && is_seen && effect->into)
            status = sees(reader, job, effect->table, effect->into, effect->key_count, &is_seen);
        if (is_seen)
            effects[left.effect_count++] = *effect;
    }
    for (uint32_t i = 0; status == SATCHEL_OK && i < notes.conflict_count; i++) {
        const struct satchel_conflict_note *note = &notes.conflicts[i];
        status = sees(reader, job, note->table, note->key, note->key_count, &is_seen);
        if (status == SATCHEL_OK && is_seen && note->alias_key)
            status = sees(reader, job, note->table, note->alias_key, note->key_count, &is_seen);
        if (is_seen)
            conflicts[left.conflict_count++] = *note;
    }
    satchel_buffer_init(&bytes, SATCHEL_NOTES_BYTES_MAX, NULL);
    if (status == SATCHEL_OK)
        status = satchel_notes_write(&bytes, &left);
    if (status == SATCHEL_OK) {
        *page = satchel_arena_copy(&job->arena, satchel_buffer_span(&bytes));
        status = page->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&bytes);
    return status;
}

static enum satchel_status read_page(struct workspace_reader *reader, struct satchel_job *job,
                                     struct satchel_message_snapshot *out, bool is_to_be_cut)
{
    struct satchel_query query;
    bool has_row = false;
    begin(reader->snapshots, &query, FIND_PAGE);
    satchel_query_id(&query, &job->device);
    satchel_query_integer(&query, (int64_t)out->page);
    enum satchel_status status = satchel_query_step(&query, &has_row, &job->error);
    if (status == SATCHEL_OK && has_row) {
        out->notes = satchel_column_copy(query.statement, 0, &job->arena);
        status = out->notes.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_query_end(&query);
    if (status == SATCHEL_OK && !has_row && (out->page > 0 || out->page_count > 0))
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "SNAPSHOT_REQUEST asks for a page that the snapshot has not");
    is_to_be_cut = is_to_be_cut && has_row && !SATCHEL_MUTATED(stale_page);
    return status == SATCHEL_OK && is_to_be_cut ? cut_page(reader, job, &out->notes) : status;
}

static enum satchel_status note_asked(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_query query;
    begin(reader->snapshots, &query, ASKED);
    satchel_query_id(&query, &job->device);
    satchel_query_integer(&query, workspace_now_ms());
    return satchel_query_run(&query, &job->error);
}

static enum satchel_status answer(struct workspace_reader *reader, struct satchel_job *job,
                                  struct satchel_message_snapshot *out)
{
    bool found = false, has_lost_rows = false, has_lost_columns = false;
    enum satchel_status status =
        reader->snapshots ? SATCHEL_OK : open_file(&reader->snapshots, &job->error);
    if (status == SATCHEL_OK)
        status = find(reader, job, out, &found);
    if (status == SATCHEL_OK && found)
        status = has_lost(reader, job, out, &has_lost_rows, &has_lost_columns);
    if (status != SATCHEL_OK)
        return status;
    if (found && !has_lost_columns) {
        out->page = job->request.snapshot_request.page;
        status = note_asked(reader, job);
    } else if (satchel_id_is_zero(&job->request.snapshot_request.snapshot)) {
        job->has_made_snapshot = true;
        status = make(reader, job, out);
        has_lost_rows = false;
    } else {
        memset(out, 0, sizeof *out);
    }
    return status == SATCHEL_OK ? read_page(reader, job, out, has_lost_rows) : status;
}

enum satchel_status snapshot_read(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_message *message = &job->answers[0];
    memset(message, 0, sizeof *message);
    message->kind = SATCHEL_MESSAGE_SNAPSHOT;
    enum satchel_status status = check_number(reader, job);
    if (status == SATCHEL_OK)
        status = answer(reader, job, &message->snapshot);
    job->answer_count = status == SATCHEL_OK;
    if (status == SATCHEL_SQL || status == SATCHEL_IO || status == SATCHEL_NOMEM) {
        /* Without a journal what a failed statement leaves is no file any more. */
        snapshots_free(reader->snapshots);
        reader->snapshots = NULL;
    }
    if (status == SATCHEL_SQL || status == SATCHEL_IO)
        status = satchel_error_set(&job->error, SATCHEL_BUSY,
                                   "the server cannot make a snapshot now: try again later");
    return status;
}
