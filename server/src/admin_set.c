/* Owns what an administrator writes directly: `workspace set`, and the short name under which this
 * node numbers documents. */
#include "admin_rows.h"

#include "affinity.h"

#define SQL_SET_BRANCH "UPDATE satchel_branch SET name=?1"
#define BRANCH_BYTES_MAX 16

/* FIELD=VALUE; FIELD alone is NULL. */
static enum satchel_status take_word(struct admin_edit *edit, struct satchel_span word,
                                     struct satchel_arena *arena, struct satchel_error *error)
{
    const struct satchel_table *table = edit->row->table;
    const uint8_t *sign = word.size > 0 ? memchr(word.data, '=', word.size) : NULL;
    struct satchel_span name = word;
    if (sign)
        name.size = (size_t)(sign - word.data);
    name = satchel_arena_copy(arena, name); /* with a NUL behind it */
    if (!name.data)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a name");
    const struct satchel_column *column = satchel_table_find_column(table, (const char *)name.data);
    if (!column)
        return satchel_error_set(error, SATCHEL_NOT_FOUND, "%s has no column '%.*s'", table->name,
                                 (int)(name.size < 128 ? name.size : 128), (const char *)name.data);
    if (column->key_position > 0)
        return satchel_error_set(error, SATCHEL_REFUSED,
                                 "%s.%s is in the key, which is never written", table->name,
                                 column->name);
    edit->is_set[column->number] = true;
    edit->values[column->number] = satchel_value_null();
    if (sign)
        edit->values[column->number] = affinity_value_of(
            table, column, satchel_span_of(sign + 1, word.size - (size_t)(sign - word.data) - 1));
    return SATCHEL_OK;
}

static enum satchel_status take_words(struct admin_edit *edit, struct satchel_job *job)
{
    const struct satchel_message_admin *request = &job->request.admin;
    if (request->argument_count < 5)
        return satchel_error_set(&job->error, SATCHEL_INVALID,
                                 "what to set is missing: FIELD=VALUE, or FIELD for NULL");
    for (uint32_t i = 4; i < request->argument_count; i++) {
        struct satchel_span word;
        enum satchel_status status = job_argument(job, i, "FIELD=VALUE", &word);
        if (status == SATCHEL_OK)
            status = take_word(edit, word, &job->arena, &job->error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status set_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    const struct satchel_table *table;
    struct satchel_span name, key_text;
    struct satchel_value *key;
    struct satchel_store_row row;
    struct admin_edit edit;
    struct satchel_part part;
    bool stands = false;
    enum satchel_status status = job_argument(job, 2, "the table", &name);
    if (status == SATCHEL_OK)
        status = job_argument(job, 3, "the key", &key_text);
    if (status == SATCHEL_OK)
        status = admin_table(store, name, &job->arena, &table, &job->error);
    if (status == SATCHEL_OK)
        status = admin_key(table, key_text, &job->arena, &key, &job->error);
    if (status == SATCHEL_OK)
        status = admin_row(store, table, key, &job->arena, &row, &job->error);
    if (status == SATCHEL_OK && !row.exists)
        status = satchel_error_set(&job->error, SATCHEL_NOT_FOUND, "%s has no row %.*s",
                                   table->name, (int)(key_text.size < 128 ? key_text.size : 128),
                                   (const char *)key_text.data);
    if (status == SATCHEL_OK)
        status = admin_edit_begin(&edit, &row, &job->arena);
    if (status == SATCHEL_OK)
        status = take_words(&edit, job);
    if (status == SATCHEL_OK)
        status = admin_edit_part(&edit, &job->arena, &part, &job->error);
    if (status == SATCHEL_OK)
        status = admin_merge(store, &part, satchel_span_text(SATCHEL_OWN_ROLE), &job->arena,
                             &job->error);
    if (status == SATCHEL_OK)
        status = admin_part_stands(store, &row, &part, &job->arena, &stands, &job->error);
    if (status != SATCHEL_OK)
        return status;
    return job_answer_text(
        job, "set %u field%s of %s %.*s%s", job->request.admin.argument_count - 4,
        job->request.admin.argument_count == 5 ? "" : "s", table->name,
        (int)(key_text.size < 128 ? key_text.size : 128), (const char *)key_text.data,
        stands ? "" : "; what others wrote stands over some of it");
}

enum satchel_status branch_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_query query;
    struct satchel_span name;
    bool has_row;
    enum satchel_status status = job_argument(job, 2, "the short name", &name);
    if (status == SATCHEL_OK && (name.size == 0 || name.size > BRANCH_BYTES_MAX))
        status = satchel_error_set(&job->error, SATCHEL_INVALID,
                                   "a short name for document numbers has 1 to %d bytes",
                                   BRANCH_BYTES_MAX);
    if (status == SATCHEL_OK)
        status = satchel_query_open(&query, satchel_store_sqlite_db(workspace->store),
                                    SQL_SET_BRANCH, &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_text(&query, name);
    status = satchel_query_step(&query, &has_row, &job->error);
    satchel_query_close(&query);
    if (status == SATCHEL_OK)
        status = job_answer_text(job, "documents are numbered as %.*s from now on", (int)name.size,
                                 (const char *)name.data);
    return status;
}
