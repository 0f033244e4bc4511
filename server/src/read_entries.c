/* Owns the reading of entries for devices: what proves them, cut to what each may see, in batches.
 * The walk over the log is sql/'s. */
#include "workspace_internal.h"

#include "incarnation.h"
#include "lines.h"

#include <satchel/batch.h>
#include <satchel/cut.h>
#include <satchel/mutation.h>

enum { ENTRIES_MAX = 8192 }; /* in one message */

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
    enum satchel_status status = reader_sees(reader, table, key, &sees, error);
    *seen = sees ? SATCHEL_SEEN : SATCHEL_HIDDEN;
    return status;
}

static enum satchel_status cut_entry(struct workspace_reader *reader, struct satchel_job *job,
                                     struct satchel_entry *entry, bool is_there, bool *is_empty)
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
    if (is_there) { /* nothing to be withheld: it has just sent it */
        whole.notes = entry->notes;
        *entry = whole;
    }
    return status;
}

/* Its author has the body, unless what this device has under that number is another. */
static bool has_body(const struct satchel_job *job, const struct satchel_entry *entry)
{
    return satchel_id_equal(&entry->device, &job->device) && entry->number > job->number_min &&
           entry->number <= job->number_max;
}

/* The body, or nothing for an author who has it; by what the device may see. `*is_empty`:
 * nothing. */
static enum satchel_status read_body(struct workspace_reader *reader, struct satchel_job *job,
                                     struct satchel_span stored, struct satchel_entry *entry,
                                     bool *is_empty)
{
    bool is_there = has_body(job, entry);
    bool sees_all = scope_viewer_sees_all(reader->viewer) || SATCHEL_MUTATED(no_cut);
    if (is_there && sees_all)
        return SATCHEL_OK;
    enum satchel_status status = satchel_body_load(stored, &reader->scratch, &entry->body);
    if (status != SATCHEL_OK)
        return satchel_error_set(&job->error, status, "entry %llu of the log is damaged",
                                 (unsigned long long)entry->cursor);
    if (!sees_all)
        status = cut_entry(reader, job, entry, is_there, is_empty);
    if (status != SATCHEL_OK || *is_empty || entry->is_cut)
        return status;
    if (is_there)
        entry->body = satchel_span_of(NULL, 0);
    return is_there || copy_span(job, &entry->body) ? SATCHEL_OK : SATCHEL_NOMEM;
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

enum satchel_status entry_add(struct workspace_reader *reader, struct satchel_job *job,
                              const struct incarnations *known, const struct satchel_entry *from,
                              struct entry_batch *batch)
{
    struct satchel_message_entries *entries = &batch->entries;
    if (entries->entry_count == batch->capacity) {
        batch->capacity = batch->capacity ? 2 * batch->capacity : 16;
        struct satchel_entry *grown =
            SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_entry, batch->capacity);
        if (!grown)
            return SATCHEL_NOMEM;
        if (entries->entry_count)
            memcpy(grown, entries->entries, entries->entry_count * sizeof *grown);
        entries->entries = grown;
    }
    bool is_empty = false;
    struct satchel_entry *entry = &entries->entries[entries->entry_count];
    enum satchel_status status = entry_read(reader, job, known, from, entry, &is_empty);
    if (status != SATCHEL_OK || is_empty)
        return status;
    entries->entry_count++;
    batch->bytes += 64 + entry->user.size + entry->body.size + entry->notes.size;
    return SATCHEL_OK;
}

static enum satchel_status read_batch(struct workspace_reader *reader, struct satchel_job *job,
                                      const struct incarnations *known, uint64_t until,
                                      struct satchel_message_entries *out)
{
    struct satchel_log_entry read;
    struct entry_batch batch = {0};
    uint32_t read_count = 0;
    bool found = false;
    enum satchel_status status =
        satchel_log_read_from(reader->log, job->after, NULL, 0, &job->error);
    if (status == SATCHEL_OK)
        status = satchel_log_read_next(reader->log, &found, &read, &job->error);
    while (status == SATCHEL_OK && found && batch.bytes < SATCHEL_BATCH_BYTES &&
           read_count++ < SATCHEL_BATCH_ITEMS(ENTRIES_MAX) && read.entry.cursor <= until) {
        job->reached = read.entry.cursor;
        status = entry_add(reader, job, known, &read.entry, &batch);
        if (status == SATCHEL_OK)
            status = satchel_log_read_next(reader->log, &found, &read, &job->error);
    }
    *out = batch.entries;
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
    enum satchel_status status = reader_known(reader, job, &known);
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

/* The entries behind `after`, as far as one message goes, and what belongs to where they end. */
static enum satchel_status read_news(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct incarnations *known)
{
    struct satchel_message *answer = &job->answers[job->answer_count];
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_ENTRIES;
    enum satchel_status status = read_batch(reader, job, known, UINT64_MAX, &answer->entries);
    job->answer_count += answer->entries.entry_count > 0;
    if (status == SATCHEL_OK)
        status = vector_at(reader, job, known, job->reached);
    return status == SATCHEL_OK && job->reached_end ? prove_end(reader, job, known) : status;
}

/* Whether the device has the body of one of the entries: then it is not sent again. */
static bool has_body_of(const struct satchel_job *job, const struct satchel_message_entries *batch)
{
    for (uint32_t i = 0; i < batch->entry_count; i++)
        if (has_body(job, &batch->entries[i]))
            return true;
    return false;
}

/* `*out` NULL: there is nothing, or more than a frame may hold. */
static enum satchel_status make_batch(struct workspace_reader *reader,
                                      const struct incarnations *known, uint64_t after,
                                      struct stream_batch **out, struct satchel_error *error)
{
    struct stream_batch *batch = stream_batch_new(known, after);
    *out = NULL;
    if (!batch)
        return SATCHEL_NOMEM;
    struct satchel_job *job = batch->job;
    enum satchel_status status = read_news(reader, job, known);
    if (status != SATCHEL_OK && error)
        *error = job->error;
    if (status == SATCHEL_OK && job->answer_count > 0)
        status = satchel_frame_new(&batch->frame, &job->answers[0].entries);
    if (batch->frame) {
        stream_batch_keep(&reader->batches, batch);
        *out = batch;
    } else {
        stream_batch_release(batch);
    }
    return status == SATCHEL_LIMIT ? SATCHEL_OK : status;
}

/* One for the job's device; NULL: it is to be read its own. One that pushes is sent its own change
 * sets without their bodies: it makes none for others. */
static enum satchel_status find_batch(struct workspace_reader *reader, struct satchel_job *job,
                                      const struct incarnations *known, struct stream_batch **out)
{
    enum satchel_status status = SATCHEL_OK;
    *out = NULL;
    if (!scope_viewer_sees_all(reader->viewer) || job->after >= known->cursor)
        return SATCHEL_OK;
    *out = stream_batch_find(&reader->batches, known, job->after);
    if (!*out && job->number_max <= job->number_min)
        status = make_batch(reader, known, job->after, out, &job->error);
    if (*out && has_body_of(job, &(*out)->job->answers[0].entries))
        *out = NULL;
    return status;
}

/* Where many are to be sent the same, it is read once. */
static enum satchel_status tell_news(struct workspace_reader *reader, struct satchel_job *job,
                                     const struct incarnations *known)
{
    struct stream_batch *batch = NULL;
    enum satchel_status status = find_batch(reader, job, known, &batch);
    if (status != SATCHEL_OK)
        return status;
    if (!batch)
        return read_news(reader, job, known);
    stream_batch_lend(batch, job);
    return SATCHEL_OK;
}

/* Rows that left first, so that no news of a row that is kept is withheld; late positions of what
 * the device has; then the entries; at their end the rows that came. */
enum satchel_status entries_read(struct satchel_workspace *workspace,
                                 struct workspace_reader *reader, struct satchel_job *job)
{
    struct incarnations known;
    bool is_whole = true;
    enum satchel_status status = reader_known(reader, job, &known);
    if (status != SATCHEL_OK)
        return status;
    job->head = known.cursor;
    job->reached = job->after;
    if (job->is_drained) /* nothing is told of what left and came */
        job->scope.cut = job->scope.complete = known.cursor;
    else
        status = scope_read_left(reader, job, known.cursor, &is_whole);
    if (status == SATCHEL_OK && is_whole && !job->is_drained)
        status = positions_tell(reader, job, &known, &is_whole);
    if (status == SATCHEL_OK)
        status = is_whole ? tell_news(reader, job, &known)
                          : vector_at(reader, job, &known, job->reached);
    note_progress(workspace, job);
    if (status != SATCHEL_OK || !job->reached_end)
        return status;
    if (!job->is_drained)
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
enum satchel_status past_read(struct workspace_reader *reader, struct satchel_job *job)
{
    const struct satchel_message_past_request *request = &job->request.past_request;
    struct satchel_message *answer = &job->answers[0];
    struct satchel_message_entries batch = {0};
    struct incarnations known;
    enum satchel_status status = reader_known(reader, job, &known);
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
