/* Owns the list of what has been set aside: read from the notes of the log's entries, where it
 * stands beside the change set it belongs to. */
#include "workspace_internal.h"

#define SQL_NOTED                                                                \
    "SELECT cursor, device, number, stamp, user, body, notes FROM satchel_entry" \
    " WHERE length(notes)>0 ORDER BY cursor"
#define SCRATCH_BYTES_MAX ((size_t)256 << 20)

struct scan {
    struct workspace_reader *reader;
    struct satchel_job *job;
    struct query_result result;
    struct satchel_arena arena; /* of one entry */
    struct satchel_buffer key;
};

static enum satchel_status add_text(struct scan *scan, struct satchel_span text)
{
    struct satchel_value value = satchel_value_text(text);
    return query_result_add(&scan->result, &value);
}

static enum satchel_status add_integer(struct scan *scan, int64_t integer)
{
    struct satchel_value value = satchel_value_integer(integer);
    return query_result_add(&scan->result, &value);
}

static enum satchel_status add_note(struct scan *scan, sqlite3_stmt *row,
                                    const struct satchel_changeset *changeset,
                                    const struct satchel_quarantine_note *note)
{
    char device[SATCHEL_ID_TEXT_BYTES] = "", table_number[16];
    struct satchel_id id;
    if (note->part >= changeset->header.part_count)
        return satchel_error_set(&scan->job->error, SATCHEL_CORRUPT,
                                 "the notes of entry %lld are damaged",
                                 (long long)sqlite3_column_int64(row, 0));
    const struct satchel_part *part = &changeset->parts[note->part];
    const struct satchel_table *table = satchel_schema_table(scan->reader->schema, part->table);
    if (satchel_column_id(row, 1, &id))
        satchel_id_text(&id, device);
    sqlite3_snprintf(sizeof table_number, table_number, "%u", part->table);
    satchel_buffer_clear(&scan->key);
    enum satchel_status status = satchel_key_text(&scan->key, part->key, part->key_count);
    if (status == SATCHEL_OK)
        status = add_text(scan, satchel_column_bytes(row, 4));
    if (status == SATCHEL_OK)
        status = add_text(scan, satchel_span_text(device));
    if (status == SATCHEL_OK)
        status = add_integer(scan, sqlite3_column_int64(row, 2));
    if (status == SATCHEL_OK)
        status = add_integer(scan, note->part);
    if (status == SATCHEL_OK)
        status = add_text(scan, satchel_span_text(table ? table->name : table_number));
    if (status == SATCHEL_OK)
        status = add_text(scan, satchel_buffer_span(&scan->key));
    if (status == SATCHEL_OK)
        status = add_text(scan, note->reason);
    if (status == SATCHEL_OK)
        status = add_integer(scan, satchel_stamp_ms((satchel_stamp)sqlite3_column_int64(row, 3)));
    return status;
}

static enum satchel_status add_entry(struct scan *scan, sqlite3_stmt *row)
{
    struct satchel_notes notes;
    struct satchel_changeset changeset;
    struct satchel_span body;
    enum satchel_status status =
        satchel_notes_read(satchel_column_bytes(row, 6), &scan->arena, &notes);
    if (status != SATCHEL_OK || notes.quarantined_count == 0)
        return status;
    status = satchel_body_load(satchel_column_bytes(row, 5), &scan->reader->scratch, &body);
    if (status == SATCHEL_OK)
        status = satchel_changeset_decode(body, &scan->arena, &changeset, &scan->job->error);
    for (uint32_t i = 0; status == SATCHEL_OK && i < notes.quarantined_count; i++)
        status = add_note(scan, row, &changeset, &notes.quarantined[i]);
    return status;
}

enum satchel_status quarantine_list(struct workspace_reader *reader, struct satchel_job *job)
{
    static const char *const columns[] = {"user", "device", "number", "part",
                                          "tbl",  "key",    "reason", "at"};
    struct scan scan = {.reader = reader, .job = job};
    struct satchel_query query;
    bool has_row = false;
    satchel_arena_init(&scan.arena, SCRATCH_BYTES_MAX, NULL);
    satchel_buffer_init(&scan.key, SCRATCH_BYTES_MAX, NULL);
    enum satchel_status status =
        query_result_begin(&scan.result, job, columns, sizeof columns / sizeof *columns);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, reader->db, SQL_NOTED, &job->error);
    if (status != SATCHEL_OK)
        goto cleanup;
    while ((status = satchel_query_step(&query, &has_row, &job->error)) == SATCHEL_OK && has_row) {
        satchel_arena_reset(&scan.arena);
        status = add_entry(&scan, query.statement);
        if (status != SATCHEL_OK)
            break;
    }
    satchel_query_close(&query);
    if (status == SATCHEL_OK)
        query_result_end(&scan.result);
cleanup:
    satchel_buffer_deinit(&scan.key);
    satchel_arena_deinit(&scan.arena);
    return status;
}
