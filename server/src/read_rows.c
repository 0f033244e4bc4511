/* Owns rows as the node has them at one moment, with all their conflicts, as notes; and the
 * answer to ROWS_REQUEST, which is made of them. */
#include "read_rows.h"

#include <satchel/cut.h>

#include "incarnation.h"

/* One that is closed is as it was last opened, and closed since. */
#define SQL_CONFLICTS                                                        \
    "SELECT iif(resolved IS NULL, NULL, opened), note FROM satchel_conflict" \
    " WHERE tbl=?1 AND (key=?2 OR loser_key=?2) ORDER BY resolved NOTNULL, id"
/* Of an answer: a device keeps what a page has of them as one body. */
#define CONFLICTS_BYTES_MAX ((size_t)8 << 20)
#define SQL_ANY_CONFLICT "SELECT 1 FROM satchel_conflict LIMIT 1"

static enum satchel_status prepare_conflicts(struct rows_answer *answer)
{
    struct workspace_reader *reader = answer->reader;
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status =
        satchel_query_open(&query, reader->db, SQL_ANY_CONFLICT, &answer->job->error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_query_step(&query, &has_row, &answer->job->error);
    satchel_query_close(&query);
    return status == SATCHEL_OK && has_row
               ? satchel_db_prepare(reader->db, SQL_CONFLICTS, &answer->conflicts_of,
                                    &answer->job->error)
               : status;
}

enum satchel_status rows_begin(struct rows_answer *answer, struct workspace_reader *reader,
                               struct satchel_job *job, size_t row_count)
{
    memset(answer, 0, sizeof *answer);
    answer->reader = reader;
    answer->job = job;
    satchel_buffer_init(&answer->text, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    answer->effects = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_effect, row_count);
    if (!answer->effects)
        return SATCHEL_NOMEM;
    enum satchel_status status = satchel_row_io_new(&answer->rows, reader->db, reader->schema);
    if (status == SATCHEL_OK)
        status = satchel_aliases_new(&answer->aliases, reader->db);
    if (status == SATCHEL_OK)
        status = satchel_alias_any(answer->aliases, &answer->has_aliases, &job->error);
    return status == SATCHEL_OK ? prepare_conflicts(answer) : status;
}

void rows_end(struct rows_answer *answer)
{
    satchel_aliases_free(answer->aliases);
    satchel_row_io_free(answer->rows);
    sqlite3_finalize(answer->conflicts_of);
    satchel_buffer_deinit(&answer->text);
}

/* The row's values that are not their column's default, nor masked from the reader's viewer.
 * is_lent: they are to be copied. */
static enum satchel_status add_fields(struct rows_answer *answer, const struct satchel_table *table,
                                      const struct satchel_value *values, bool is_lent,
                                      struct satchel_effect *effect)
{
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&answer->job->arena, struct satchel_field, table->column_count);
    enum satchel_status status = fields ? SATCHEL_OK : SATCHEL_NOMEM;
    for (uint32_t i = 0; i < table->column_count && status == SATCHEL_OK; i++) {
        const struct satchel_column_rules *rules = &table->rules.columns[i];
        if (rules->in_key || satchel_value_equal(&values[i], &rules->default_value) ||
            !satchel_column_is_seen(table, i, scope_viewer_role(answer->reader->viewer)))
            continue;
        struct satchel_field *field = &fields[effect->field_count++];
        answer->bytes += values[i].bytes.size;
        *field = (struct satchel_field){i, values[i]};
        if (is_lent)
            status = satchel_value_copy(&answer->job->arena, &values[i], &field->value);
    }
    effect->fields = fields;
    return status;
}

/* A row that was merged into one which the receiver may not see is gone for it, and no more
 * said. */
static enum satchel_status add_alias(struct rows_answer *answer, const struct satchel_table *table,
                                     struct satchel_span survivor, struct satchel_effect *effect)
{
    uint32_t number, key_count;
    bool sees = false;
    enum satchel_status status =
        scope_sees(answer->reader->viewer, table, survivor, &sees, &answer->job->error);
    effect->kind = sees ? SATCHEL_EFFECT_ALIAS : SATCHEL_EFFECT_EVICT;
    return status == SATCHEL_OK && sees ? satchel_row_name_read(survivor, &answer->job->arena,
                                                                &number, &effect->into, &key_count)
                                        : status;
}

static enum satchel_status add_effect(struct rows_answer *answer, struct satchel_span name,
                                      const struct satchel_table *table,
                                      struct satchel_effect *effect)
{
    struct satchel_arena *arena = &answer->job->arena;
    struct satchel_span survivor = {0};
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_value, table->column_count);
    bool exists = false;
    if (!values)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    if (answer->has_aliases && table->rules.has_keys)
        status =
            satchel_alias_survivor(answer->aliases, name, arena, &survivor, &answer->job->error);
    if (status == SATCHEL_OK && survivor.size > 0)
        return add_alias(answer, table, survivor, effect);
    if (status == SATCHEL_OK)
        status = satchel_row_read(answer->rows, table, effect->key, arena, &exists, values,
                                  &answer->job->error);
    if (status != SATCHEL_OK || !exists)
        return status;
    effect->kind = SATCHEL_EFFECT_WHOLE;
    return add_fields(answer, table, values, false, effect);
}

enum satchel_status reader_sees(struct workspace_reader *reader, const struct satchel_table *table,
                                const struct satchel_value *key, bool *out,
                                struct satchel_error *error)
{
    satchel_buffer_clear(&reader->name);
    enum satchel_status status =
        satchel_row_name(&reader->name, table->number, key, table->key_count);
    return status == SATCHEL_OK
               ? scope_sees(reader->viewer, table, satchel_buffer_span(&reader->name), out, error)
               : status;
}

/* Of a conflict between rows that were one, both must be seen; and its column. */
static enum satchel_status sees_conflict(struct rows_answer *answer,
                                         const struct satchel_table *table,
                                         const struct satchel_conflict_note *note, bool *out)
{
    enum satchel_status status =
        reader_sees(answer->reader, table, note->key, out, &answer->job->error);
    *out = *out && satchel_conflict_is_seen(table, note, scope_viewer_role(answer->reader->viewer));
    return status == SATCHEL_OK && *out && note->alias_key
               ? reader_sees(answer->reader, table, note->alias_key, out, &answer->job->error)
               : status;
}

static enum satchel_status add_conflict(struct rows_answer *answer,
                                        const struct satchel_table *table, struct satchel_span note)
{
    struct satchel_arena *arena = &answer->job->arena;
    struct satchel_notes notes;
    answer->bytes += note.size;
    note = satchel_arena_copy(arena, note);
    if (!note.data)
        return SATCHEL_NOMEM;
    enum satchel_status status = satchel_notes_read(note, arena, &notes);
    for (uint32_t i = 0; i < notes.conflict_count && status == SATCHEL_OK; i++) {
        bool is_seen = false;
        status = sees_conflict(answer, table, &notes.conflicts[i], &is_seen);
        if (status != SATCHEL_OK || !is_seen)
            continue;
        if (answer->conflict_count == answer->conflict_capacity) {
            uint32_t capacity = answer->conflict_capacity ? 2 * answer->conflict_capacity : 16;
            struct satchel_conflict_note *grown =
                SATCHEL_ARENA_ARRAY(arena, struct satchel_conflict_note, capacity);
            if (!grown)
                return SATCHEL_NOMEM;
            if (answer->conflict_count)
                memcpy(grown, answer->conflicts, answer->conflict_count * sizeof *grown);
            answer->conflicts = grown;
            answer->conflict_capacity = capacity;
        }
        answer->conflicts[answer->conflict_count++] = notes.conflicts[i];
    }
    return status;
}

/* As far as they go into an answer, the open ones first: the node's record has them all. */
static enum satchel_status add_conflicts(struct rows_answer *answer,
                                         const struct satchel_table *table,
                                         const struct satchel_value *key)
{
    struct satchel_query query;
    bool has_row = true;
    if (!answer->conflicts_of)
        return SATCHEL_OK;
    satchel_buffer_clear(&answer->text);
    enum satchel_status status = satchel_key_text(&answer->text, key, table->key_count);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_begin(&query, answer->reader->db, answer->conflicts_of);
    satchel_query_text(&query, satchel_span_text(table->name));
    satchel_query_text(&query, satchel_buffer_span(&answer->text));
    while (status == SATCHEL_OK && answer->bytes < CONFLICTS_BYTES_MAX &&
           (status = satchel_query_step(&query, &has_row, &answer->job->error)) == SATCHEL_OK &&
           has_row) {
        if (sqlite3_column_type(query.statement, 0) != SQLITE_NULL)
            status = add_conflict(answer, table, satchel_column_span(query.statement, 0));
        if (status == SATCHEL_OK)
            status = add_conflict(answer, table, satchel_column_span(query.statement, 1));
    }
    satchel_query_end(&query);
    return status;
}

/* is_seen: as the caller knows; else it is looked up. So are the row's values, where they are
 * NULL. */
static enum satchel_status add(struct rows_answer *answer, struct satchel_span name, bool is_seen,
                               const struct satchel_value *values)
{
    const struct satchel_value *key;
    uint32_t number, key_count;
    enum satchel_status status =
        satchel_row_name_read(name, &answer->job->arena, &number, &key, &key_count);
    if (status == SATCHEL_NOMEM)
        return status;
    const struct satchel_table *table = status == SATCHEL_OK && answer->reader->schema
                                            ? satchel_schema_table(answer->reader->schema, number)
                                            : NULL;
    if (!table || table->is_local || table->key_count != key_count)
        return satchel_error_set(&answer->job->error, SATCHEL_INVALID,
                                 "ROWS_REQUEST names a row that the schema does not have");
    if (!is_seen)
        status = scope_sees(answer->reader->viewer, table, name, &is_seen, &answer->job->error);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_effect *effect = &answer->effects[answer->effect_count++];
    *effect = (struct satchel_effect){.kind = is_seen ? SATCHEL_EFFECT_GONE : SATCHEL_EFFECT_EVICT,
                                      .table = number,
                                      .key = key,
                                      .key_count = key_count};
    answer->bytes += name.size;
    if (!is_seen)
        return SATCHEL_OK;
    if (values)
        effect->kind = SATCHEL_EFFECT_WHOLE;
    status = values ? add_fields(answer, table, values, true, effect)
                    : add_effect(answer, name, table, effect);
    return status == SATCHEL_OK ? add_conflicts(answer, table, key) : status;
}

enum satchel_status rows_add(struct rows_answer *answer, struct satchel_span name)
{
    return add(answer, name, false, NULL);
}

enum satchel_status rows_add_seen(struct rows_answer *answer, struct satchel_span name,
                                  const struct satchel_value *values)
{
    return add(answer, name, true, values);
}

enum satchel_status rows_notes(struct rows_answer *answer, struct satchel_span *out)
{
    struct satchel_buffer bytes;
    struct satchel_notes notes = {.effects = answer->effects,
                                  .effect_count = answer->effect_count,
                                  .conflicts = answer->conflicts,
                                  .conflict_count = answer->conflict_count};
    satchel_buffer_init(&bytes, SATCHEL_NOTES_BYTES_MAX, NULL);
    enum satchel_status status = satchel_notes_write(&bytes, &notes);
    if (status == SATCHEL_OK) {
        *out = satchel_arena_copy(&answer->job->arena, satchel_buffer_span(&bytes));
        status = out->data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&bytes);
    return status;
}

enum satchel_status rows_read(struct workspace_reader *reader, struct satchel_job *job)
{
    const struct satchel_message_rows_request *request = &job->request.rows_request;
    struct satchel_message_rows *rows = &job->answers[0].rows;
    struct rows_answer answer;
    struct incarnations known;
    memset(&job->answers[0], 0, sizeof job->answers[0]);
    job->answers[0].kind = SATCHEL_MESSAGE_ROWS;
    job->answer_count = 1;
    enum satchel_status status = reader_known(reader, job, &known);
    if (status != SATCHEL_OK)
        return status;
    status = rows_begin(&answer, reader, job, request->row_count);
    for (uint32_t i = 0; i < request->row_count && status == SATCHEL_OK &&
                         (i == 0 || answer.bytes < ROWS_BYTES_MAX);
         i++)
        status = rows_add(&answer, request->rows[i].name);
    if (status == SATCHEL_OK)
        status = rows_notes(&answer, &rows->notes);
    rows->row_count = answer.effect_count;
    rows->cursor = job->head = known.cursor;
    rows_end(&answer);
    return status;
}
