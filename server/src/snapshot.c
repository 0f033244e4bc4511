/* Owns snapshots: how they are kept and served. How one is read is snapshot_make.h's. */
#include "snapshot.h"

#include "snapshot_make.h"

#include <satchel/mutation.h>

enum {
#ifdef SATCHEL_MUTATIONS
    PAGES_FIRST = 1,
#else
    PAGES_FIRST = 8, /* that are read before any is sent: a small one is whole then */
#endif
    SNAPSHOTS_MAX = 32, /* kept at once: the one that was asked for least lately goes ... */
    IDLE_MS = 120000,   /* ... if nobody has for so long */
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

enum statement {
    FIND,
    ADD,
    WHOLE,
    ASKED,
    DROP,
    DROP_PAGES,
    OLDEST,
    ADD_PAGE,
    FIND_PAGE,
    STATEMENT_COUNT
};
static const char *const statement_sql[STATEMENT_COUNT] = {
    [FIND] = "SELECT id, cursor, vector, receipt, stamp, schema, role, row_count, page_count FROM"
             " snapshot WHERE device=?1",
    [ADD] = "INSERT INTO snapshot VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,0,0)",
    [WHOLE] = "UPDATE snapshot SET row_count=?2, page_count=?3 WHERE device=?1",
    [ASKED] = "UPDATE snapshot SET asked_ms=?2 WHERE device=?1",
    [DROP] = "DELETE FROM snapshot WHERE device=?1",
    [DROP_PAGES] = "DELETE FROM page WHERE device=?1",
    [OLDEST] = "SELECT device, asked_ms FROM snapshot ORDER BY asked_ms DESC LIMIT 1 OFFSET ?1",
    [ADD_PAGE] = "INSERT INTO page VALUES(?1,?2,?3)",
    [FIND_PAGE] = "SELECT notes FROM page WHERE device=?1 AND page=?2",
};
/* In the store. */
#define SQL_LAST_NUMBER "SELECT last_number FROM satchel_device WHERE id=?1"

struct snapshots {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct snapshot_making *making; /* the one that is not whole; NULL: there is none */
};

/* ---- the file ---- */

/* Without a journal what a failed statement leaves is no file any more. */
static void forget_if_broken(struct workspace_reader *reader, enum satchel_status status)
{
    if (status != SATCHEL_SQL && status != SATCHEL_IO && status != SATCHEL_NOMEM)
        return;
    snapshots_free(reader->snapshots);
    reader->snapshots = NULL;
}

void snapshots_free(struct snapshots *snapshots)
{
    if (!snapshots)
        return;
    snapshot_making_free(snapshots->making);
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

static bool is_making(const struct snapshots *snapshots, const struct satchel_id *device)
{
    return snapshots->making && satchel_id_equal(snapshot_making_device(snapshots->making), device);
}

static void end_making(struct snapshots *snapshots)
{
    snapshot_making_free(snapshots->making);
    snapshots->making = NULL;
}

static enum satchel_status drop(struct snapshots *snapshots, const struct satchel_id *device,
                                struct satchel_error *error)
{
    struct satchel_query query;
    if (is_making(snapshots, device))
        end_making(snapshots);
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

static enum satchel_status add_page(struct snapshots *snapshots, struct satchel_span notes,
                                    struct satchel_error *error)
{
    struct satchel_query query;
    begin(snapshots, &query, ADD_PAGE);
    satchel_query_id(&query, snapshot_making_device(snapshots->making));
    satchel_query_integer(&query,
                          (int64_t)snapshot_making_so_far(snapshots->making)->page_count - 1);
    satchel_query_blob(&query, notes);
    return satchel_query_run(&query, error);
}

static enum satchel_status note_whole(struct snapshots *snapshots, struct satchel_error *error)
{
    const struct satchel_message_snapshot *so_far = snapshot_making_so_far(snapshots->making);
    struct satchel_query query;
    begin(snapshots, &query, WHOLE);
    satchel_query_id(&query, snapshot_making_device(snapshots->making));
    satchel_query_integer(&query, (int64_t)so_far->row_count);
    satchel_query_integer(&query, (int64_t)so_far->page_count);
    enum satchel_status status = satchel_query_run(&query, error);
    end_making(snapshots);
    return status;
}

/* One page more of what is being made; what cannot be made goes. */
static enum satchel_status make_page(struct snapshots *snapshots, struct satchel_error *error)
{
    struct satchel_id device = *snapshot_making_device(snapshots->making);
    struct satchel_error detail = {0}; /* of what is dropped behind it */
    struct satchel_span notes;
    enum satchel_status status = snapshot_making_page(snapshots->making, &notes, error);
    if (status == SATCHEL_OK)
        return notes.size > 0 ? add_page(snapshots, notes, error) : note_whole(snapshots, error);
    return drop(snapshots, &device, &detail) == SATCHEL_OK ? status : SATCHEL_SQL;
}

/* A replica that was made from a copy of the file of one that has been here since must hear its
 * device's change sets, to know itself by them. */
static enum satchel_status check_number(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        satchel_query_open(&query, reader->db, SQL_LAST_NUMBER, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, &job->device);
    status = satchel_query_step(&query, &has_row, &job->error);
    bool has_sent = has_row && sqlite3_column_int64(query.statement, 0) > 0;
    satchel_query_close(&query);
    return status == SATCHEL_OK && has_sent
               ? satchel_error_set(&job->error, SATCHEL_AGAIN,
                                   "the device has sent changes meanwhile: sync again")
               : status;
}

static enum satchel_status add_snapshot(struct snapshots *snapshots, struct satchel_error *error)
{
    const struct satchel_message_snapshot *so_far = snapshot_making_so_far(snapshots->making);
    struct satchel_buffer vector;
    struct satchel_query query;
    satchel_buffer_init(&vector, SATCHEL_FRAME_BYTES_MAX, NULL);
    enum satchel_status status = satchel_vector_pack(&vector, &so_far->vector);
    if (status == SATCHEL_OK) {
        begin(snapshots, &query, ADD);
        satchel_query_id(&query, snapshot_making_device(snapshots->making));
        satchel_query_id(&query, &so_far->snapshot);
        satchel_query_integer(&query, (int64_t)so_far->cursor);
        satchel_query_blob(&query, satchel_buffer_span(&vector));
        satchel_query_id(&query, &so_far->receipt);
        satchel_query_integer(&query, (int64_t)so_far->stamp);
        satchel_query_integer(&query, (int64_t)so_far->schema);
        satchel_query_text(&query, snapshot_making_role(snapshots->making));
        satchel_query_integer(&query, workspace_now_ms());
        status = satchel_query_run(&query, error);
    }
    satchel_buffer_deinit(&vector);
    return status;
}

/* One is made at a time: another device's becomes whole first. */
static enum satchel_status make(struct workspace_reader *reader, struct satchel_job *job)
{
    struct snapshots *snapshots = reader->snapshots;
    enum satchel_status status = drop(snapshots, &job->device, &job->error);
    while (status == SATCHEL_OK && snapshots->making)
        status = make_page(snapshots, &job->error);
    if (status == SATCHEL_OK)
        status = drop_oldest(snapshots, &job->error);
    if (status == SATCHEL_OK)
        status = snapshot_making_new(&snapshots->making, sqlite3_db_filename(reader->db, "main"),
                                     &job->device, &job->error);
    if (status == SATCHEL_OK)
        status = add_snapshot(snapshots, &job->error);
    for (int i = 0; i < PAGES_FIRST && status == SATCHEL_OK && snapshots->making; i++)
        status = make_page(snapshots, &job->error);
    return status;
}

bool snapshots_go_on(struct workspace_reader *reader)
{
    struct satchel_error error = {0}; /* who asks for the next page is told that there is none */
    if (!reader->snapshots || !reader->snapshots->making)
        return false;
    forget_if_broken(reader, make_page(reader->snapshots, &error));
    return true;
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

/* What is not read yet is read now. Where it turns out that there is no such page, the count is
 * told. */
static enum satchel_status read_page(struct workspace_reader *reader, struct satchel_job *job,
                                     uint64_t page, bool is_to_be_cut, struct satchel_span *notes)
{
    struct snapshots *snapshots = reader->snapshots;
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && is_making(snapshots, &job->device) &&
           snapshot_making_so_far(snapshots->making)->page_count <= page)
        status = make_page(snapshots, &job->error);
    if (status != SATCHEL_OK)
        return status;
    begin(snapshots, &query, FIND_PAGE);
    satchel_query_id(&query, &job->device);
    satchel_query_integer(&query, (int64_t)page);
    status = satchel_query_step(&query, &has_row, &job->error);
    if (status == SATCHEL_OK && has_row) {
        *notes = satchel_column_copy(query.statement, 0, &job->arena);
        status = notes->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_query_end(&query);
    is_to_be_cut = is_to_be_cut && has_row && !SATCHEL_MUTATED(stale_page);
    return status == SATCHEL_OK && is_to_be_cut ? cut_page(reader, job, notes) : status;
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
    const struct satchel_message_snapshot_request *request = &job->request.snapshot_request;
    struct satchel_span notes = {0};
    bool found = false, has_lost_rows = false, has_lost_columns = false;
    enum satchel_status status =
        reader->snapshots ? SATCHEL_OK : open_file(&reader->snapshots, &job->error);
    if (status == SATCHEL_OK)
        status = find(reader, job, out, &found);
    if (status == SATCHEL_OK && found)
        status = has_lost(reader, job, out, &has_lost_rows, &has_lost_columns);
    if (status != SATCHEL_OK)
        return status;
    bool is_new = !found || has_lost_columns;
    if (is_new && !satchel_id_is_zero(&request->snapshot)) {
        memset(out, 0, sizeof *out);
        return SATCHEL_OK;
    }
    job->has_made_snapshot = is_new;
    status = is_new ? make(reader, job) : note_asked(reader, job);
    uint64_t page = is_new ? 0 : request->page;
    if (status == SATCHEL_OK)
        status = read_page(reader, job, page, has_lost_rows && !is_new, &notes);
    if (status == SATCHEL_OK) /* it may be whole by now */
        status = find(reader, job, out, &found);
    out->page = page;
    out->notes = notes;
    return status;
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
    forget_if_broken(reader, status);
    if (status == SATCHEL_SQL || status == SATCHEL_IO)
        status = satchel_error_set(&job->error, SATCHEL_BUSY,
                                   "the server cannot make a snapshot now: try again later");
    return status;
}
