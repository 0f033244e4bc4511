/* Owns the reader threads' work for sessions: migrations and entries; each in one read transaction,
 * so that everything in an answer is of the same moment. Rows by name are read_rows.c's, digests
 * read_digests.c's. */
#include "incarnation.h"
#include "lines.h"
#include "snapshot.h"

#include <satchel/mutation.h>

#define SQL_HASH                                                               \
    "SELECT h.hash FROM satchel_id i JOIN satchel_hash h ON h.device=i.number" \
    " AND h.number=?2 WHERE i.id=?1"
#define SQL_COUNT "SELECT count(*) FROM satchel_migration"
#define SQL_USER                                                                    \
    "SELECT user, EXISTS(SELECT 1 FROM satchel_revoked WHERE device=id AND revoked" \
    " IS NOT NULL) FROM satchel_device WHERE id=?1"
#define ENTRIES_MAX 8192

/* ---- the connection ---- */

static bool not_applying(void *context)
{
    (void)context;
    return false;
}

static int64_t now(void *context)
{
    (void)context;
    return workspace_now_ms();
}

static const char *nobody(void *context)
{
    (void)context;
    return NULL;
}

static const struct satchel_schema *present_schema(void *context)
{
    return ((const struct workspace_reader *)context)->schema;
}

enum satchel_status reader_open(struct workspace_reader *reader, const char *path,
                                struct satchel_error *error)
{
    struct satchel_identity identity = {reader, not_applying, now, nobody, nobody, nobody};
    reader->identity = identity;
    satchel_buffer_init(&reader->scratch, 2 * (size_t)SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&reader->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_arena_init(&reader->cut_arena, WORKSPACE_JOB_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_store_sqlite_reader(&reader->db, path, &reader->identity, error);
    if (status == SATCHEL_OK &&
        satchel_history_register(reader->db, present_schema, reader) != SQLITE_OK)
        status = satchel_db_error(error, reader->db, "registering satchel_history");
    if (status == SATCHEL_OK && satchel_log_reader_new(&reader->log, reader->db) != SATCHEL_OK)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory to read the log");
    if (status == SATCHEL_OK)
        status = satchel_db_prepare(reader->db, SQL_HASH, &reader->hash, error);
    if (status == SATCHEL_OK)
        status = satchel_db_prepare(reader->db, SQL_COUNT, &reader->count, error);
    if (status == SATCHEL_OK)
        status = satchel_db_prepare(reader->db, SQL_USER, &reader->user, error);
    if (status == SATCHEL_OK)
        status = scope_viewer_new(&reader->viewer, reader->db, error);
    return status;
}

void reader_close(struct workspace_reader *reader)
{
    satchel_log_reader_free(reader->log);
    sqlite3_finalize(reader->hash);
    sqlite3_finalize(reader->count);
    sqlite3_finalize(reader->user);
    scope_viewer_free(reader->viewer);
    sqlite3_close_v2(reader->db);
    satchel_schema_free(reader->schema);
    satchel_buffer_deinit(&reader->scratch);
    satchel_buffer_deinit(&reader->name);
    satchel_arena_deinit(&reader->cut_arena);
    snapshots_free(reader->snapshots);
}

/* The schema as this transaction sees it. */
static enum satchel_status refresh_schema(struct workspace_reader *reader,
                                          struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row;
    satchel_query_begin(&query, reader->db, reader->count);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    uint32_t count = has_row ? (uint32_t)sqlite3_column_int(reader->count, 0) : 0;
    satchel_query_end(&query);
    if (status != SATCHEL_OK || (reader->schema && count == reader->migration_count))
        return status;
    struct satchel_schema *schema = NULL;
    status = satchel_schema_load(reader->db, &schema, error);
    if (status == SATCHEL_OK) {
        satchel_schema_free(reader->schema);
        reader->schema = schema;
        reader->migration_count = count;
    }
    return status;
}

/* Answers are for the user of the job's device from here on. */
static enum satchel_status find_viewer(struct workspace_reader *reader, struct satchel_job *job)
{
    struct satchel_query query;
    bool has_row = false, is_revoked = false;
    satchel_query_begin(&query, reader->db, reader->user);
    satchel_query_id(&query, &job->device);
    enum satchel_status status = satchel_query_step(&query, &has_row, &job->error);
    if (status == SATCHEL_OK && !has_row)
        status = satchel_error_set(&job->error, SATCHEL_DENIED,
                                   "the device is not enrolled in this workspace any more");
    if (status == SATCHEL_OK) {
        reader->login = satchel_column_copy(query.statement, 0, &job->arena);
        is_revoked = sqlite3_column_int(query.statement, 1) != 0;
        status = reader->login.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_query_end(&query);
    if (status == SATCHEL_OK)
        status = scope_viewer_set(reader->viewer, reader->schema, reader->login, &job->error);
    if (status == SATCHEL_OK && job->is_drained) {
        scope_viewer_blind(reader->viewer);
        return SATCHEL_OK;
    }
    if (status == SATCHEL_OK && (is_revoked || !scope_viewer_is_active(reader->viewer)))
        status =
            satchel_error_set(&job->error, SATCHEL_AGAIN,
                              "the device was revoked, or its user is one no more: sync again");
    if (status == SATCHEL_OK)
        job->role = satchel_arena_copy(&job->arena, scope_viewer_role(reader->viewer));
    if (status == SATCHEL_OK && !job->role.data)
        status = SATCHEL_NOMEM;
    job->is_cut = status == SATCHEL_OK && !scope_viewer_sees_all(reader->viewer);
    return status;
}

/* ---- ENTRIES ---- */

static bool copy_span(struct satchel_job *job, struct satchel_span *span)
{
    *span = satchel_arena_copy(&job->arena, *span);
    return span->data != NULL;
}

static enum satchel_status find_hash(struct workspace_reader *reader,
                                     const struct satchel_id *device, uint64_t number,
                                     uint8_t hash[SATCHEL_HASH_BYTES], bool *found,
                                     struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, reader->db, reader->hash);
    satchel_query_id(&query, device);
    satchel_query_integer(&query, (int64_t)number);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    struct satchel_span kept =
        has_row ? satchel_column_span(query.statement, 0) : satchel_span_of(NULL, 0);
    *found = status == SATCHEL_OK && kept.size == SATCHEL_HASH_BYTES;
    if (*found)
        memcpy(hash, kept.data, SATCHEL_HASH_BYTES);
    satchel_query_end(&query);
    return status;
}

/* Of most the device has it under the number before. */
static enum satchel_status find_previous(struct workspace_reader *reader,
                                         struct satchel_entry *entry, struct satchel_error *error)
{
    uint8_t hash[SATCHEL_HASH_BYTES];
    bool found = false;
    enum satchel_status status = SATCHEL_OK;
    entry->previous = 0;
    if (entry->number > 1)
        status = find_hash(reader, &entry->device, entry->number - 1, hash, &found, error);
    if (status == SATCHEL_OK && found)
        entry->previous = satchel_entry_mark(hash);
    else if (status == SATCHEL_OK)
        status = line_previous(reader->db, &entry->device, entry->number, &entry->previous, error);
    return status;
}

/* What lets the receiver give the entry back, should it be lost here. */
static enum satchel_status prove_entry(struct workspace_reader *reader, struct satchel_job *job,
                                       const struct incarnations *known,
                                       struct satchel_entry *entry)
{
    uint8_t hash[SATCHEL_HASH_BYTES];
    struct satchel_vector positions = {NULL, 0};
    bool found = false;
    enum satchel_status status = SATCHEL_OK;
    entry->positions = satchel_span_of(NULL, 0);
    if (known->has_positions)
        status = positions_read(reader->db, entry->cursor, &job->arena, &positions, &job->error);
    if (status == SATCHEL_OK && positions.count > 0) {
        satchel_buffer_clear(&reader->scratch);
        status = satchel_vector_pack(&reader->scratch, &positions);
        entry->positions = satchel_buffer_span(&reader->scratch);
        if (status == SATCHEL_OK && !copy_span(job, &entry->positions))
            status = SATCHEL_NOMEM;
    }
    if (status == SATCHEL_OK)
        status = find_hash(reader, &entry->device, entry->number, hash, &found, &job->error);
    if (status == SATCHEL_OK && !found)
        status = satchel_error_set(&job->error, SATCHEL_CORRUPT, "entry %llu of the log is damaged",
                                   (unsigned long long)entry->cursor);
    if (status == SATCHEL_OK)
        status = find_previous(reader, entry, &job->error);
    if (status == SATCHEL_OK)
        entry->receipt = incarnation_receipt(known, entry, hash);
    return status;
}

static enum satchel_status look(void *context, uint32_t number, const struct satchel_value *key,
                                uint32_t key_count, enum satchel_seen *seen,
                                struct satchel_error *error)
{
    struct workspace_reader *reader = context;
    const struct satchel_table *table = satchel_schema_table(reader->schema, number);
    bool sees = false;
    *seen = SATCHEL_NO_ROW;
    if (!table || table->is_local || table->key_count != key_count)
        return SATCHEL_OK;
    satchel_buffer_clear(&reader->name);
    enum satchel_status status = satchel_row_name(&reader->name, number, key, key_count);
    if (status == SATCHEL_OK)
        status =
            scope_sees(reader->viewer, table, satchel_buffer_span(&reader->name), &sees, error);
    *seen = sees ? SATCHEL_SEEN : SATCHEL_HIDDEN;
    return status;
}

static enum satchel_status cut_entry(struct workspace_reader *reader, struct satchel_job *job,
                                     struct satchel_entry *entry, bool has_body, bool *is_empty)
{
    struct satchel_audience audience = {reader, look, reader->schema,
                                        scope_viewer_role(reader->viewer)};
    struct satchel_entry whole = *entry;
    enum satchel_authorship authorship = SATCHEL_NOT_AUTHOR;
    bool is_own = satchel_id_equal(&entry->device, &job->device);
    if (job->is_drained && !is_own) {
        *is_empty = true;
        return SATCHEL_OK;
    }
    if (job->is_drained)
        authorship = SATCHEL_AUTHOR_DRAINED;
    else if (satchel_span_equal(entry->user, reader->login))
        authorship = is_own ? SATCHEL_AUTHOR_DEVICE : SATCHEL_AUTHOR;
    enum satchel_status status = satchel_entry_cut(&audience, authorship, &reader->cut_arena,
                                                   &job->arena, entry, is_empty, &job->error);
    if (has_body) { /* nothing to be withheld: it has just sent it */
        whole.notes = entry->notes;
        *entry = whole;
    }
    return status;
}

/* The body, or nothing for an author who has it; by what the device may see. `*is_empty`:
 * nothing. */
static enum satchel_status read_body(struct workspace_reader *reader, struct satchel_job *job,
                                     struct satchel_span stored, struct satchel_entry *entry,
                                     bool *is_empty)
{
    /* Its author has the body, unless what this device has under that number is another. */
    bool has_body = satchel_id_equal(&entry->device, &job->device) &&
                    entry->number > job->number_min && entry->number <= job->number_max;
    bool sees_all = scope_viewer_sees_all(reader->viewer) || SATCHEL_MUTATED(no_cut);
    if (has_body && sees_all)
        return SATCHEL_OK;
    enum satchel_status status = satchel_body_load(stored, &reader->scratch, &entry->body);
    if (status != SATCHEL_OK)
        return satchel_error_set(&job->error, status, "entry %llu of the log is damaged",
                                 (unsigned long long)entry->cursor);
    if (!sees_all)
        status = cut_entry(reader, job, entry, has_body, is_empty);
    if (status != SATCHEL_OK || *is_empty || entry->is_cut)
        return status;
    if (has_body)
        entry->body = satchel_span_of(NULL, 0);
    return has_body || copy_span(job, &entry->body) ? SATCHEL_OK : SATCHEL_NOMEM;
}

enum satchel_status entry_read(struct workspace_reader *reader, struct satchel_job *job,
                               const struct incarnations *known, const struct satchel_entry *from,
                               struct satchel_entry *entry, bool *is_empty)
{
    *entry = *from;
    *is_empty = false;
    if (!from->secret)
        return satchel_error_set(&job->error, SATCHEL_CORRUPT, "entry %llu of the log is damaged",
                                 (unsigned long long)entry->cursor);
    struct satchel_span secret = satchel_span_of(from->secret, SATCHEL_SECRET_BYTES);
    entry->body = satchel_span_of(NULL, 0);
    if (!copy_span(job, &secret) || !copy_span(job, &entry->user) || !copy_span(job, &entry->notes))
        return SATCHEL_NOMEM;
    entry->secret = secret.data;
    enum satchel_status status = prove_entry(reader, job, known, entry);
    return status == SATCHEL_OK ? read_body(reader, job, from->body, entry, is_empty) : status;
}

static enum satchel_status add_entry(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct incarnations *known,
                                     const struct satchel_entry *read,
                                     struct satchel_message_entries *batch, uint32_t *capacity)
{
    if (batch->entry_count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 16;
        struct satchel_entry *entries =
            SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_entry, *capacity);
        if (!entries)
            return SATCHEL_NOMEM;
        if (batch->entry_count)
            memcpy(entries, batch->entries, batch->entry_count * sizeof *entries);
        batch->entries = entries;
    }
    bool is_empty = false;
    enum satchel_status status =
        entry_read(reader, job, known, read, &batch->entries[batch->entry_count], &is_empty);
    batch->entry_count += status == SATCHEL_OK && !is_empty;
    return status;
}

static enum satchel_status read_batch(struct workspace_reader *reader, struct satchel_job *job,
                                      const struct incarnations *known, uint64_t until,
                                      struct satchel_message_entries *batch)
{
    struct satchel_log_entry read;
    uint32_t capacity = 0, read_count = 0;
    size_t bytes = 0;
    bool found = false;
    enum satchel_status status =
        satchel_log_read_from(reader->log, job->after, NULL, 0, &job->error);
    if (status == SATCHEL_OK)
        status = satchel_log_read_next(reader->log, &found, &read, &job->error);
    while (status == SATCHEL_OK && found && bytes < SATCHEL_BATCH_BYTES &&
           read_count++ < ENTRIES_MAX && read.entry.cursor <= until) {
        uint32_t before = batch->entry_count;
        job->reached = read.entry.cursor;
        status = add_entry(reader, job, known, &read.entry, batch, &capacity);
        if (status != SATCHEL_OK)
            break;
        const struct satchel_entry *entry = &batch->entries[before];
        if (batch->entry_count > before)
            bytes += 64 + entry->user.size + entry->body.size + entry->notes.size;
        status = satchel_log_read_next(reader->log, &found, &read, &job->error);
    }
    job->reached_end = status == SATCHEL_OK && !found;
    if (job->reached_end)
        job->reached = known->cursor;
    satchel_log_read_end(reader->log);
    return status;
}

/* The node's vector at an entry. */
static enum satchel_status vector_at(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct incarnations *known, uint64_t cursor)
{
    uint64_t seq = 0;
    enum satchel_status status = satchel_log_read_seq(reader->log, cursor, &seq, &job->error);
    return status == SATCHEL_OK ? incarnations_vector(known, cursor, seq, &job->arena, &job->vector)
                                : status;
}

/* Remembers how far the device of an ENTRIES job has come; only for device.list. */
static void note_progress(struct satchel_workspace *workspace, const struct satchel_job *job)
{
    struct satchel_span key = satchel_span_of(job->device.bytes, sizeof job->device);
    pthread_mutex_lock(&workspace->progress_mutex);
    struct workspace_progress *progress = satchel_map_get(&workspace->progress, key);
    if (!progress) {
        progress = satchel_arena_alloc_zero(&workspace->progress_arena, sizeof *progress);
        if (progress && satchel_map_put(&workspace->progress, key, progress) != SATCHEL_OK)
            progress = NULL; /* then its cursor is that of its last attach */
    }
    if (progress) {
        progress->cursor = job->after;
        progress->at_ms = workspace_now_ms();
    }
    pthread_mutex_unlock(&workspace->progress_mutex);
}

/* What proves to this server that the device knows of its last entry, sent or not. */
static enum satchel_status prove_end(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct incarnations *known)
{
    struct satchel_log_entry read;
    struct satchel_entry end;
    bool found = false;
    if (known->cursor == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_log_read_at(reader->log, known->cursor, &found, &read, &job->error);
    if (status == SATCHEL_OK && !found)
        status = satchel_error_set(&job->error, SATCHEL_CORRUPT,
                                   "the end of the log is damaged; restore a backup");
    if (status != SATCHEL_OK)
        return status;
    end = read.entry; /* its user and notes until the reader's next call: nothing reads it here */
    status = prove_entry(reader, job, known, &end);
    job->end = satchel_entry_cut_receipt(&end.receipt);
    satchel_log_read_end(reader->log);
    return status;
}

enum satchel_status reader_end(struct workspace_reader *reader, struct satchel_job *job)
{
    struct incarnations known;
    enum satchel_status status = incarnations_read(reader->db, &job->arena, &known, &job->error);
    if (status != SATCHEL_OK)
        return status;
    job->head = known.cursor;
    status = vector_at(reader, job, &known, known.cursor);
    return status == SATCHEL_OK ? prove_end(reader, job, &known) : status;
}

static void add_head(struct satchel_job *job)
{
    struct satchel_message *answer = &job->answers[job->answer_count++];
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_HEAD;
    answer->head.cursor = job->reached;
    answer->head.vector = job->vector;
    answer->head.receipt = job->end;
    job->has_head = true;
}

/* Rows that left first, so that no news of a row that is kept is withheld; then the entries; at
 * their end the rows that came. */
static enum satchel_status read_entries(struct satchel_workspace *workspace,
                                        struct workspace_reader *reader, struct satchel_job *job)
{
    struct incarnations known;
    bool is_whole = true;
    enum satchel_status status = incarnations_read(reader->db, &job->arena, &known, &job->error);
    if (status != SATCHEL_OK)
        return status;
    job->head = known.cursor;
    job->reached = job->after;
    if (job->is_drained) /* nothing is told of what left and came */
        job->scope.cut = job->scope.complete = known.cursor;
    else
        status = scope_read_left(reader, job, known.cursor, &is_whole);
    if (status == SATCHEL_OK && is_whole) {
        struct satchel_message *answer = &job->answers[job->answer_count];
        memset(answer, 0, sizeof *answer);
        answer->kind = SATCHEL_MESSAGE_ENTRIES;
        status = read_batch(reader, job, &known, UINT64_MAX, &answer->entries);
        job->answer_count += answer->entries.entry_count > 0;
    }
    note_progress(workspace, job);
    if (status == SATCHEL_OK)
        status = vector_at(reader, job, &known, job->reached);
    if (status == SATCHEL_OK && job->reached_end)
        status = prove_end(reader, job, &known);
    if (status == SATCHEL_OK && job->reached_end && !job->is_drained)
        status = scope_read_came(reader, job, &known);
    bool has_moves = job->answer_count > 0 &&
                     job->answers[job->answer_count - 1].kind != SATCHEL_MESSAGE_ENTRIES;
    if (status == SATCHEL_OK && job->scope.complete == job->reached &&
        (job->wants_head || has_moves))
        add_head(job);
    return status;
}

/* What a replica lacks of the log that was filled from a snapshot; a drained one has no use for
 * it. */
static enum satchel_status read_past(struct workspace_reader *reader, struct satchel_job *job)
{
    const struct satchel_message_past_request *request = &job->request.past_request;
    struct satchel_message *answer = &job->answers[0];
    struct satchel_message_entries batch = {0};
    struct incarnations known;
    enum satchel_status status = incarnations_read(reader->db, &job->arena, &known, &job->error);
    job->after = job->reached = request->after;
    if (status == SATCHEL_OK && !job->is_drained)
        status = read_batch(reader, job, &known, request->until, &batch);
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_PAST;
    answer->past = (struct satchel_message_past){
        job->reached, known.cursor, reader->migration_count, batch.entries, batch.entry_count};
    if (job->reached_end || job->reached > request->until)
        answer->past.reached = request->until;
    job->answer_count = 1;
    return status;
}

/* ---- SCHEMA ---- */

enum satchel_status tell_schema(sqlite3 *db, uint64_t after, struct satchel_job *job)
{
    struct satchel_message *answer = &job->answers[job->answer_count++];
    struct satchel_message_schema *schema = &answer->schema;
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_SCHEMA;
    enum satchel_status status = satchel_schema_migrations(
        db, after, &job->arena, &schema->migrations, &schema->migration_count, &job->error);
    return status == SATCHEL_OK
               ? satchel_migrations_blank_inserts(schema->migrations, schema->migration_count,
                                                  &job->arena, &job->error)
               : status;
}

/* ---- one job ---- */

static enum satchel_status answer(struct satchel_workspace *workspace,
                                  struct workspace_reader *reader, struct satchel_job *job)
{
    enum satchel_status status = refresh_schema(reader, &job->error);
    if (status != SATCHEL_OK)
        return status;
    if (job->kind != SATCHEL_JOB_SCHEMA && job->kind != SATCHEL_JOB_QUERY)
        status = find_viewer(reader, job);
    if (status != SATCHEL_OK)
        return status;
    switch (job->kind) {
    case SATCHEL_JOB_SCHEMA: return tell_schema(reader->db, job->after, job);
    case SATCHEL_JOB_ENTRIES: return read_entries(workspace, reader, job);
    case SATCHEL_JOB_DIGESTS: return digests_read(workspace, reader, job);
    case SATCHEL_JOB_RANGES: return ranges_read(reader, job);
    case SATCHEL_JOB_ROWS: return rows_read(reader, job);
    case SATCHEL_JOB_SNAPSHOT: return snapshot_read(reader, job);
    case SATCHEL_JOB_PAST: return read_past(reader, job);
    case SATCHEL_JOB_QUERY: return query_verb(workspace, reader, job);
    default: return SATCHEL_INVALID; /* a job of the writer: submit never brings it here */
    }
}

void workspace_read(struct satchel_workspace *workspace, struct workspace_reader *reader,
                    struct satchel_job *job)
{
    enum satchel_status status = SATCHEL_OK;
    if (!sqlite3_get_autocommit(reader->db)) /* the end of the last one failed: out of memory */
        status = satchel_db_exec(reader->db, "ROLLBACK", &job->error);
    if (status == SATCHEL_OK)
        status = satchel_db_exec(reader->db, "BEGIN", &job->error);
    if (status == SATCHEL_OK) {
        status = answer(workspace, reader, job);
        struct satchel_error detail = {0};
        enum satchel_status ended = satchel_db_exec(reader->db, "COMMIT", &detail);
        if (status == SATCHEL_OK && ended != SATCHEL_OK) {
            status = ended;
            job->error = detail;
        }
    }
    workspace_complete(workspace, job, status);
}
