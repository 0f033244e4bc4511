/* Owns finding the rows that are one today (see history_rows.h). */
#include "history_rows.h"

#include <satchel/row_io.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

enum { ARENA_BYTES_MAX = 64 << 20, TEXT_BYTES_MAX = 1 << 30 };

static const char select_aliases[] =
    "SELECT name, survivor FROM main.satchel_alias ORDER BY survivor, name";

enum satchel_status satchel_history_rows_init(struct satchel_history_rows *rows, struct sqlite3 *db,
                                              const char *asked, struct satchel_error *error)
{
    memset(rows, 0, sizeof *rows);
    satchel_arena_init(&rows->arena, ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&rows->text, TEXT_BYTES_MAX, NULL);
    rows->asked = asked;
    rows->db = db;
    enum satchel_status status = satchel_aliases_new(&rows->aliases, db);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "cannot read the table of aliases: %s",
                                 sqlite3_errmsg(db));
    return satchel_alias_any(rows->aliases, &rows->any, error);
}

void satchel_history_rows_deinit(struct satchel_history_rows *rows)
{
    satchel_aliases_free(rows->aliases);
    satchel_arena_deinit(&rows->arena);
    satchel_buffer_deinit(&rows->text);
}

/* ---- the rows that are the one asked for ---- */

/* The rows of one survivor, itself among them, while the table is read. */
struct group {
    struct satchel_history_other *rows;
    uint32_t count, capacity;
    struct satchel_span survivor;
    bool is_wanted;
};

static enum satchel_status add(struct satchel_arena *arena, struct satchel_history_other **rows,
                               uint32_t *count, uint32_t *capacity,
                               const struct satchel_history_other *row)
{
    if (*count == *capacity) {
        uint32_t grown = *capacity ? *capacity * 2 : 8;
        struct satchel_history_other *wider =
            SATCHEL_ARENA_ARRAY(arena, struct satchel_history_other, grown);
        if (!wider)
            return SATCHEL_NOMEM;
        if (*count)
            memcpy(wider, *rows, *count * sizeof *wider);
        *rows = wider;
        *capacity = grown;
    }
    (*rows)[(*count)++] = *row;
    return SATCHEL_OK;
}

static enum satchel_status read_name(struct satchel_history_rows *rows, struct satchel_span name,
                                     struct satchel_history_other *out)
{
    const struct satchel_value *key;
    uint32_t key_count;
    enum satchel_status status =
        satchel_row_name_read(name, &rows->arena, &out->table, &key, &key_count);
    satchel_buffer_clear(&rows->text);
    if (status == SATCHEL_OK)
        status = satchel_key_text(&rows->text, key, key_count);
    if (status != SATCHEL_OK)
        return status;
    out->key = satchel_arena_copy(&rows->arena, satchel_buffer_span(&rows->text));
    return out->key.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

static enum satchel_status add_to_group(struct satchel_history_rows *rows, struct group *group,
                                        const struct satchel_schema *schema, const char *table,
                                        const char *key, struct satchel_span name)
{
    struct satchel_history_other row;
    enum satchel_status status = read_name(rows, name, &row);
    if (status != SATCHEL_OK)
        return status;
    const struct satchel_table *found = satchel_schema_table(schema, row.table);
    bool is_in_table = !table || (found && strcmp(found->name, table) == 0);
    group->is_wanted |= is_in_table && satchel_span_equal(row.key, satchel_span_text(key));
    return add(&rows->arena, &group->rows, &group->count, &group->capacity, &row);
}

static enum satchel_status end_group(struct satchel_history_rows *rows, struct group *group)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; group->is_wanted && i < group->count && status == SATCHEL_OK; i++)
        status = add(&rows->arena, &rows->others, &rows->other_count, &rows->other_capacity,
                     &group->rows[i]);
    group->is_wanted = false;
    group->count = 0;
    return status;
}

static enum satchel_status read_groups(struct satchel_history_rows *rows, sqlite3_stmt *query,
                                       const struct satchel_schema *schema, const char *table,
                                       const char *key, int *code)
{
    struct group group = {0};
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && (*code = sqlite3_step(query)) == SQLITE_ROW) {
        struct satchel_span name = satchel_value_of_column(query, 0).bytes;
        struct satchel_span survivor = satchel_value_of_column(query, 1).bytes;
        if (group.count == 0 || !satchel_span_equal(group.survivor, survivor)) {
            status = end_group(rows, &group);
            group.survivor = satchel_arena_copy(&rows->arena, survivor);
            if (status == SATCHEL_OK)
                status = group.survivor.data
                             ? add_to_group(rows, &group, schema, table, key, group.survivor)
                             : SATCHEL_NOMEM;
        }
        if (status == SATCHEL_OK)
            status = add_to_group(rows, &group, schema, table, key, name);
    }
    return status == SATCHEL_OK ? end_group(rows, &group) : status;
}

static enum satchel_status find_others(struct satchel_history_rows *rows,
                                       const struct satchel_schema *schema, const char *table,
                                       const char *key, struct satchel_error *error)
{
    sqlite3_stmt *query = NULL;
    if (!rows->any)
        return SATCHEL_OK;
    int code = sqlite3_prepare_v2(rows->db, select_aliases, -1, &query, NULL);
    enum satchel_status status = SATCHEL_OK;
    if (code == SQLITE_OK) {
        code = SQLITE_DONE;
        status = read_groups(rows, query, schema, table, key, &code);
    }
    if (status != SATCHEL_OK)
        satchel_error_set(error, status, "cannot read the table of aliases: %s",
                          satchel_status_text(status));
    else if (code != SQLITE_DONE)
        status = satchel_sql_error(error, rows->db, "cannot read the table of aliases");
    sqlite3_finalize(query);
    return status;
}

bool satchel_history_rows_have(const struct satchel_history_rows *rows, uint32_t table,
                               const char *key, struct satchel_span key_text)
{
    if (satchel_span_equal(key_text, satchel_span_text(key)))
        return true;
    for (uint32_t i = 0; i < rows->other_count; i++)
        if (rows->others[i].table == table && satchel_span_equal(rows->others[i].key, key_text))
            return true;
    return false;
}

/* Marks name rows by their table's number. */
static enum satchel_status make_marks(struct satchel_history_rows *rows,
                                      const struct satchel_schema *schema, const char *table,
                                      const char *key)
{
    const struct satchel_table *found = table ? satchel_schema_find(schema, table) : NULL;
    if (!found || strcmp(found->name, table) != 0)
        return SATCHEL_OK;
    rows->marks = SATCHEL_ARENA_ARRAY(&rows->arena, satchel_log_mark, rows->other_count + 1);
    if (!rows->marks)
        return SATCHEL_NOMEM;
    rows->marks[rows->mark_count++] = satchel_log_mark_row(found->number, satchel_span_text(key));
    for (uint32_t i = 0; i < rows->other_count; i++)
        rows->marks[rows->mark_count++] =
            satchel_log_mark_row(rows->others[i].table, rows->others[i].key);
    return SATCHEL_OK;
}

enum satchel_status satchel_history_rows_find(struct satchel_history_rows *rows,
                                              const struct satchel_schema *schema,
                                              const char *table, const char *key,
                                              struct satchel_error *error)
{
    enum satchel_status status = find_others(rows, schema, table, key, error);
    if (status != SATCHEL_OK)
        return status;
    status = make_marks(rows, schema, table, key);
    return status == SATCHEL_OK ? status
                                : satchel_error_set(error, status, "no memory to read the history");
}

/* ---- the key shown ---- */

enum satchel_status satchel_history_rows_shown(struct satchel_history_rows *rows, uint32_t table,
                                               const struct satchel_value *key, uint32_t key_count,
                                               struct satchel_span key_text,
                                               struct satchel_span *out,
                                               struct satchel_error *error)
{
    struct satchel_arena arena;
    struct satchel_span survivor = {NULL, 0};
    const struct satchel_value *shown = NULL;
    uint32_t shown_count = 0, shown_table = 0;
    *out = rows->asked ? satchel_span_text(rows->asked) : key_text;
    if (!rows->any || rows->asked)
        return SATCHEL_OK;
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    satchel_buffer_clear(&rows->text);
    enum satchel_status status = satchel_row_name(&rows->text, table, key, key_count);
    if (status == SATCHEL_OK)
        status = satchel_alias_survivor(rows->aliases, satchel_buffer_span(&rows->text), &arena,
                                        &survivor, error);
    if (status == SATCHEL_OK && survivor.size > 0) {
        status = satchel_row_name_read(survivor, &arena, &shown_table, &shown, &shown_count);
        satchel_buffer_clear(&rows->text);
        if (status == SATCHEL_OK)
            status = satchel_key_text(&rows->text, shown, shown_count);
        *out = satchel_buffer_span(&rows->text);
    }
    satchel_arena_deinit(&arena);
    return status == SATCHEL_OK ? status
                                : satchel_error_default(error, status, "cannot read the history");
}
