/* Owns what a device is told of entries that it has and that have got a late position: whoever
 * hears what had seen them by that must have it, too, to give back both as they are. They are sent
 * again before the entries that came behind it. */
#include "incarnation.h"
#include "workspace_internal.h"

#include <satchel/batch.h>
#include <satchel/mutation.h>
#include <stdlib.h>

#define SQL_LATE                                                        \
    "SELECT late_turn, cursor FROM satchel_position WHERE late_turn>?1" \
    " AND late_after>=?2 AND cursor<=?2 ORDER BY late_turn"

enum { ENTRIES = 1024 }; /* of a message, at most */

struct late {
    struct workspace_reader *reader;
    struct satchel_job *job;
    const struct incarnations *known;
    struct entry_batch batch;
};

static bool is_taken(const struct satchel_message_entries *taken, uint64_t cursor)
{
    for (uint32_t i = 0; i < taken->entry_count; i++)
        if (taken->entries[i].cursor == cursor)
            return true;
    return false;
}

static enum satchel_status take(struct late *late, uint64_t cursor)
{
    struct satchel_job *job = late->job;
    struct satchel_log_entry read;
    bool found = false;
    if (is_taken(&late->batch.entries, cursor))
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_log_read_at(late->reader->log, cursor, &found, &read, &job->error);
    if (status == SATCHEL_OK && !found)
        status = satchel_error_set(&job->error, SATCHEL_CORRUPT, "entry %llu of the log is damaged",
                                   (unsigned long long)cursor);
    return status == SATCHEL_OK
               ? entry_add(late->reader, job, late->known, &read.entry, &late->batch)
               : status;
}

static int by_cursor(const void *a, const void *b)
{
    uint64_t left = ((const struct satchel_entry *)a)->cursor;
    uint64_t right = ((const struct satchel_entry *)b)->cursor;
    return (left > right) - (left < right);
}

static void tell(struct satchel_job *job, const struct satchel_message_entries *late)
{
    struct satchel_message *answer = &job->answers[job->answer_count++];
    qsort(late->entries, late->entry_count, sizeof *late->entries, by_cursor);
    memset(answer, 0, sizeof *answer);
    answer->kind = SATCHEL_MESSAGE_SCOPE;
    answer->scope.head = job->head;
    answer->scope.entries = late->entries;
    answer->scope.entry_count = late->entry_count;
}

/* `*is_whole` false: there are more. */
static enum satchel_status read_late(struct late *late, bool *is_whole)
{
    struct satchel_job *job = late->job;
    struct satchel_query query;
    bool has_row = true;
    *is_whole = true;
    enum satchel_status status =
        satchel_query_open(&query, late->reader->db, SQL_LATE, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)job->scope.late_turn);
    satchel_query_integer(&query, (int64_t)job->after);
    while (status == SATCHEL_OK &&
           (status = satchel_query_step(&query, &has_row, &job->error)) == SATCHEL_OK && has_row &&
           (*is_whole = late->batch.entries.entry_count < SATCHEL_BATCH_ITEMS(ENTRIES) &&
                        late->batch.bytes < SATCHEL_BATCH_BYTES)) {
        job->scope.late_turn = (uint64_t)sqlite3_column_int64(query.statement, 0);
        status = take(late, (uint64_t)sqlite3_column_int64(query.statement, 1));
    }
    satchel_log_read_end(late->reader->log);
    satchel_query_close(&query);
    return status;
}

enum satchel_status positions_tell(struct workspace_reader *reader, struct satchel_job *job,
                                   const struct incarnations *known, bool *is_whole)
{
    struct late late = {.reader = reader, .job = job, .known = known};
    enum satchel_status status = SATCHEL_OK;
    *is_whole = true;
    if (job->scope.late_turn < known->late_turn && job->after <= known->late_after &&
        !SATCHEL_MUTATED(late_untold))
        status = read_late(&late, is_whole);
    if (status != SATCHEL_OK)
        return status;
    if (*is_whole)
        job->scope.late_turn = known->late_turn;
    if (late.batch.entries.entry_count > 0)
        tell(job, &late.batch.entries);
    return SATCHEL_OK;
}
