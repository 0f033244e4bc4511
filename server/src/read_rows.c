/* Owns the answer to ROWS_REQUEST: rows as the node has them at one moment, with all their
 * conflicts, as notes. In the reader's transaction. */
#include "incarnation.h"
#include "workspace_internal.h"

#include <satchel/alias.h>
#include <satchel/row_io.h>

/* One that is closed is as it was last opened, and closed since. */
#define SQL_CONFLICTS                                                        \
    "SELECT iif(resolved IS NULL, NULL, opened), note FROM satchel_conflict" \
    " WHERE tbl=?1 AND key=?2"

/* The answer is cut where it grows beyond this: the device asks for the rest. */
enum { ROWS_BYTES_MAX = 4 << 20 };

struct rows_answer {
    struct workspace_reader *reader;
    struct satchel_job *job;
    struct satchel_row_io *rows;
    struct satchel_aliases *aliases;
    struct satchel_effect *effects;
    uint32_t effect_count;
    struct satchel_conflict_note *conflicts;
    uint32_t conflict_count, conflict_capacity;
    size_t bytes;
};

static enum satchel_status refuse_name(struct rows_answer *answer)
{
    return satchel_error_set(&answer->job->error, SATCHEL_INVALID,
                             "ROWS_REQUEST names a row that the schema does not have");
}

/* The row's values that are not their column's default. */
static enum satchel_status add_fields(struct rows_answer *answer, const struct satchel_table *table,
                                      const struct satchel_value *values,
                                      struct satchel_effect *effect)
{
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&answer->job->arena, struct satchel_field, table->column_count);
    if (!fields)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column_rules *rules = &table->rules.columns[i];
        if (rules->in_key || satchel_value_equal(&values[i], &rules->default_value))
            continue;
        answer->bytes += values[i].bytes.size;
        fields[effect->field_count++] = (struct satchel_field){i, values[i]};
    }
    effect->fields = fields;
    return SATCHEL_OK;
}

static enum satchel_status add_effect(struct rows_answer *answer, struct satchel_span name,
                                      const struct satchel_table *table,
                                      const struct satchel_value *key)
{
    struct satchel_arena *arena = &answer->job->arena;
    struct satchel_effect *effect = &answer->effects[answer->effect_count++];
    struct satchel_span survivor = {0};
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_value, table->column_count);
    uint32_t number, key_count;
    bool exists = false;
    if (!values)
        return SATCHEL_NOMEM;
    *effect = (struct satchel_effect){.kind = SATCHEL_EFFECT_GONE,
                                      .table = table->number,
                                      .key = key,
                                      .key_count = table->key_count};
    enum satchel_status status =
        satchel_alias_survivor(answer->aliases, name, arena, &survivor, &answer->job->error);
    if (status == SATCHEL_OK && survivor.size > 0) {
        effect->kind = SATCHEL_EFFECT_ALIAS;
        return satchel_row_name_read(survivor, arena, &number, &effect->into, &key_count);
    }
    if (status == SATCHEL_OK)
        status =
            satchel_row_read(answer->rows, table, key, arena, &exists, values, &answer->job->error);
    if (status != SATCHEL_OK || !exists)
        return status;
    effect->kind = SATCHEL_EFFECT_WHOLE;
    return add_fields(answer, table, values, effect);
}

static enum satchel_status add_conflict(struct rows_answer *answer, struct satchel_span note)
{
    struct satchel_arena *arena = &answer->job->arena;
    struct satchel_notes notes;
    answer->bytes += note.size;
    note = satchel_arena_copy(arena, note);
    if (!note.data)
        return SATCHEL_NOMEM;
    enum satchel_status status = satchel_notes_read(note, arena, &notes);
    for (uint32_t i = 0; i < notes.conflict_count && status == SATCHEL_OK; i++) {
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

static enum satchel_status add_conflicts(struct rows_answer *answer,
                                         const struct satchel_table *table,
                                         const struct satchel_value *key)
{
    struct satchel_query query;
    struct satchel_buffer text;
    bool has_row = true;
    satchel_buffer_init(&text, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_key_text(&text, key, table->key_count);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, answer->reader->db, SQL_CONFLICTS, &answer->job->error);
    if (status != SATCHEL_OK)
        goto cleanup;
    satchel_query_text(&query, satchel_span_text(table->name));
    satchel_query_text(&query, satchel_buffer_span(&text));
    while (status == SATCHEL_OK &&
           (status = satchel_query_step(&query, &has_row, &answer->job->error)) == SATCHEL_OK &&
           has_row) {
        if (sqlite3_column_type(query.statement, 0) != SQLITE_NULL)
            status = add_conflict(answer, satchel_column_span(query.statement, 0));
        if (status == SATCHEL_OK)
            status = add_conflict(answer, satchel_column_span(query.statement, 1));
    }
    satchel_query_close(&query);
cleanup:
    satchel_buffer_deinit(&text);
    return status;
}

static enum satchel_status add_row(struct rows_answer *answer, struct satchel_span name)
{
    const struct satchel_value *key;
    uint32_t number, key_count;
    enum satchel_status status =
        satchel_row_name_read(name, &answer->job->arena, &number, &key, &key_count);
    if (status == SATCHEL_NOMEM)
        return status;
    const struct satchel_table *table =
        status == SATCHEL_OK ? satchel_schema_table(answer->reader->schema, number) : NULL;
    if (!table || table->is_local || table->key_count != key_count)
        return refuse_name(answer);
    status = add_effect(answer, name, table, key);
    return status == SATCHEL_OK ? add_conflicts(answer, table, key) : status;
}

static enum satchel_status write_answer(struct rows_answer *answer)
{
    struct satchel_buffer bytes;
    struct satchel_message_rows *rows = &answer->job->answers[0].rows;
    struct satchel_notes notes = {.effects = answer->effects,
                                  .effect_count = answer->effect_count,
                                  .conflicts = answer->conflicts,
                                  .conflict_count = answer->conflict_count};
    satchel_buffer_init(&bytes, SATCHEL_NOTES_BYTES_MAX, NULL);
    enum satchel_status status = satchel_notes_write(&bytes, &notes);
    if (status == SATCHEL_OK) {
        rows->notes = satchel_arena_copy(&answer->job->arena, satchel_buffer_span(&bytes));
        status = rows->notes.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&bytes);
    rows->row_count = answer->effect_count;
    return status;
}

enum satchel_status rows_read(struct workspace_reader *reader, struct satchel_job *job)
{
    const struct satchel_message_rows_request *request = &job->request.rows_request;
    struct rows_answer answer = {.reader = reader, .job = job};
    struct incarnations known;
    memset(&job->answers[0], 0, sizeof job->answers[0]);
    job->answers[0].kind = SATCHEL_MESSAGE_ROWS;
    job->answer_count = 1;
    answer.effects = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_effect, request->row_count);
    if (!answer.effects)
        return SATCHEL_NOMEM;
    if (!reader->schema)
        return refuse_name(&answer);
    enum satchel_status status = incarnations_read(reader->db, &job->arena, &known, &job->error);
    if (status == SATCHEL_OK)
        status = satchel_row_io_new(&answer.rows, reader->db, reader->schema);
    if (status == SATCHEL_OK)
        status = satchel_aliases_new(&answer.aliases, reader->db);
    for (uint32_t i = 0; i < request->row_count && status == SATCHEL_OK &&
                         (i == 0 || answer.bytes < ROWS_BYTES_MAX);
         i++)
        status = add_row(&answer, request->rows[i].name);
    if (status == SATCHEL_OK)
        status = write_answer(&answer);
    job->answers[0].rows.cursor = known.cursor;
    satchel_aliases_free(answer.aliases);
    satchel_row_io_free(answer.rows);
    return status;
}
