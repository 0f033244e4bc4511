/* Owns the list of what has been set aside: each part as it stands in the log, its reason, and what
 * became of it. */
#include "workspace_internal.h"

#define SQL_PARTS "SELECT cursor, part, state FROM satchel_quarantine ORDER BY cursor, part"
#define SCRATCH_BYTES_MAX ((size_t)256 << 20)

struct scan {
    struct workspace_reader *reader;
    struct satchel_job *job;
    struct query_result result;
    struct satchel_arena arena; /* of one entry */
    struct satchel_buffer text;
    /* the entry at hand */
    uint64_t cursor;
    struct satchel_span user;
    char device[SATCHEL_ID_TEXT_BYTES];
    int64_t number, at_ms;
    struct satchel_changeset changeset;
    struct satchel_notes notes;
};

static enum satchel_status damaged(struct scan *scan)
{
    return satchel_error_set(&scan->job->error, SATCHEL_CORRUPT,
                             "entry %llu of the log is damaged; restore a backup",
                             (unsigned long long)scan->cursor);
}

static enum satchel_status load_entry(struct scan *scan, const struct satchel_entry *entry)
{
    struct satchel_span body;
    satchel_id_text(&entry->device, scan->device);
    scan->number = (int64_t)entry->number;
    scan->at_ms = satchel_stamp_ms(entry->stamp);
    scan->user = satchel_arena_copy(&scan->arena, entry->user);
    struct satchel_span notes = satchel_arena_copy(&scan->arena, entry->notes);
    if (!scan->user.data || !notes.data)
        return SATCHEL_NOMEM;
    enum satchel_status status = satchel_notes_read(notes, &scan->arena, &scan->notes);
    if (status == SATCHEL_OK)
        status = satchel_body_load(entry->body, &scan->reader->scratch, &body);
    if (status == SATCHEL_OK) {
        body = satchel_arena_copy(&scan->arena, body);
        status = body.data ? satchel_changeset_decode(body, &scan->arena, &scan->changeset,
                                                      &scan->job->error)
                           : SATCHEL_NOMEM;
    }
    return status;
}

static enum satchel_status find_entry(struct scan *scan, uint64_t cursor)
{
    struct satchel_log_reader *log = scan->reader->log;
    struct satchel_log_entry read;
    bool found = false;
    if (scan->cursor == cursor)
        return SATCHEL_OK;
    satchel_arena_reset(&scan->arena);
    scan->cursor = cursor;
    enum satchel_status status = satchel_log_read_at(log, cursor, &found, &read, &scan->job->error);
    if (status == SATCHEL_OK)
        status = found ? load_entry(scan, &read.entry) : damaged(scan);
    satchel_log_read_end(log);
    return status;
}

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

static struct satchel_span reason_of(const struct scan *scan, uint32_t part)
{
    for (uint32_t i = 0; i < scan->notes.quarantined_count; i++)
        if (scan->notes.quarantined[i].part == part)
            return scan->notes.quarantined[i].reason;
    return satchel_span_of(NULL, 0);
}

static enum satchel_status add_id(struct scan *scan, uint32_t part)
{
    satchel_buffer_clear(&scan->text);
    enum satchel_status status = satchel_buffer_format(&scan->text, "%s.%lld.%u", scan->device,
                                                       (long long)scan->number, part);
    return status == SATCHEL_OK ? add_text(scan, satchel_buffer_span(&scan->text)) : status;
}

static enum satchel_status add_row(struct scan *scan, const struct satchel_part *part)
{
    const struct satchel_table *table = satchel_schema_table(scan->reader->schema, part->table);
    char number[16];
    sqlite3_snprintf(sizeof number, number, "%u", part->table);
    enum satchel_status status = add_text(scan, satchel_span_text(table ? table->name : number));
    satchel_buffer_clear(&scan->text);
    if (status == SATCHEL_OK)
        status = satchel_key_text(&scan->text, part->key, part->key_count);
    return status == SATCHEL_OK ? add_text(scan, satchel_buffer_span(&scan->text)) : status;
}

static enum satchel_status add_part(struct scan *scan, uint32_t part, struct satchel_span state)
{
    if (part >= scan->changeset.header.part_count)
        return damaged(scan);
    enum satchel_status status = add_id(scan, part);
    if (status == SATCHEL_OK)
        status = add_integer(scan, scan->at_ms);
    if (status == SATCHEL_OK)
        status = add_text(scan, scan->user);
    if (status == SATCHEL_OK)
        status = add_text(scan, satchel_span_text(scan->device));
    if (status == SATCHEL_OK)
        status = add_integer(scan, scan->number);
    if (status == SATCHEL_OK)
        status = add_integer(scan, part);
    if (status == SATCHEL_OK)
        status = add_row(scan, &scan->changeset.parts[part]);
    if (status == SATCHEL_OK)
        status = add_text(scan, reason_of(scan, part));
    return status == SATCHEL_OK ? add_text(scan, state) : status;
}

static enum satchel_status list_parts(struct scan *scan)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        satchel_query_open(&query, scan->reader->db, SQL_PARTS, &scan->job->error);
    if (status != SATCHEL_OK)
        return status;
    while ((status = satchel_query_step(&query, &has_row, &scan->job->error)) == SATCHEL_OK &&
           has_row) {
        status = find_entry(scan, (uint64_t)sqlite3_column_int64(query.statement, 0));
        if (status == SATCHEL_OK)
            status = add_part(scan, (uint32_t)sqlite3_column_int64(query.statement, 1),
                              satchel_column_span(query.statement, 2));
        if (status != SATCHEL_OK)
            break;
    }
    satchel_query_close(&query);
    return status;
}

enum satchel_status quarantine_list(struct workspace_reader *reader, struct satchel_job *job)
{
    static const char *const columns[] = {"id",   "at",  "user", "device", "number",
                                          "part", "tbl", "key",  "reason", "state"};
    struct scan scan = {.reader = reader, .job = job};
    satchel_arena_init(&scan.arena, SCRATCH_BYTES_MAX, NULL);
    satchel_buffer_init(&scan.text, SCRATCH_BYTES_MAX, NULL);
    enum satchel_status status =
        query_result_begin(&scan.result, job, columns, sizeof columns / sizeof *columns);
    if (status == SATCHEL_OK)
        status = list_parts(&scan);
    if (status == SATCHEL_OK)
        query_result_end(&scan.result);
    satchel_buffer_deinit(&scan.text);
    satchel_arena_deinit(&scan.arena);
    return status;
}
