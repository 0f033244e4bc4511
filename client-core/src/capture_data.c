/* Owns what the rules that hold at the write ask the database, on the writing connection: the state
 * machines as the transaction sees them, and whether rows point at a row. */
#include "capture.h"

#include <satchel/workspace_data.h>

#include <stdio.h>

/* ---- state machines ---- */

void satchel_capture_forget_machines(struct satchel_capture *capture)
{
    capture->machines = NULL;
    satchel_arena_reset(&capture->machines_arena);
}

enum satchel_status satchel_capture_machine(struct satchel_capture *capture, uint32_t index,
                                            const struct satchel_machine **out)
{
    char warning[256];
    enum satchel_status status = SATCHEL_OK;
    if (!capture->machines)
        status = satchel_machines_load(capture->replica->db, capture->replica->schema,
                                       &capture->machines_arena, &capture->machines, warning,
                                       &capture->error);
    *out = status == SATCHEL_OK ? &capture->machines[index] : NULL;
    return status;
}

/* ---- rows that point at a row ---- */

void satchel_capture_finalize_pointing(struct satchel_capture *capture)
{
    for (uint32_t i = 0; i < capture->pointing_count; i++)
        sqlite3_finalize(capture->select_pointing[i]);
    satchel_free(NULL, capture->select_pointing);
    capture->select_pointing = NULL;
    capture->pointing_count = 0;
}

/* ?1: the key pointed at; ?2: its table's name; ?3: whether that is the pointing table itself, in
 * which a row does not keep itself. */
static char *pointing_sql(const struct satchel_schema *schema,
                          const struct satchel_reference *reference)
{
    const struct satchel_table *table = satchel_schema_table(schema, reference->table);
    char *sql = sqlite3_mprintf("SELECT 1 FROM main.\"%w\" WHERE \"%w\"=?1", table->name,
                                table->columns[reference->column].name);
    if (sql && reference->target == 0)
        sql = sqlite3_mprintf("%z AND \"%w\"=?2 COLLATE NOCASE", sql,
                              table->columns[reference->type_column].name);
    if (sql && table->key_count == 1)
        sql = sqlite3_mprintf("%z AND NOT(?3 AND \"%w\" IS ?1)", sql,
                              table->columns[table->key_columns[0]].name);
    return sql ? sqlite3_mprintf("%z LIMIT 1", sql) : NULL;
}

/* The statement of the reference, prepared once. */
static enum satchel_status prepare_pointing(struct satchel_capture *capture, uint32_t index,
                                            sqlite3_stmt **out)
{
    const struct satchel_schema *schema = capture->replica->schema;
    if (!capture->select_pointing) {
        capture->select_pointing =
            satchel_alloc_zero(NULL, schema->reference_count * sizeof(sqlite3_stmt *));
        if (!capture->select_pointing)
            return SATCHEL_NOMEM;
        capture->pointing_count = schema->reference_count;
    }
    *out = capture->select_pointing[index];
    if (*out)
        return SATCHEL_OK;
    char *sql = pointing_sql(schema, &schema->references[index]);
    if (!sql)
        return SATCHEL_NOMEM;
    int code =
        sqlite3_prepare_v3(capture->replica->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    sqlite3_free(sql);
    capture->select_pointing[index] = *out;
    return code == SQLITE_OK ? SATCHEL_OK
                             : satchel_sql_error(&capture->error, capture->replica->db,
                                                 "cannot look for rows that point at the row");
}

static enum satchel_status is_pointed_at(struct satchel_capture *capture, uint32_t index,
                                         const struct satchel_table *target,
                                         const struct satchel_value *key, bool *is_found)
{
    sqlite3_stmt *select = NULL;
    const struct satchel_reference *reference = &capture->replica->schema->references[index];
    enum satchel_status status = prepare_pointing(capture, index, &select);
    if (status != SATCHEL_OK)
        return status;
    satchel_value_bind(select, 1, key); /* one that has no use for the others does not take them */
    sqlite3_bind_text(select, 2, target->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(select, 3, reference->table == target->number);
    int code = sqlite3_step(select);
    *is_found = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_sql_error(&capture->error, capture->replica->db,
                                   "cannot look for rows that point at the row");
    sqlite3_reset(select);
    sqlite3_clear_bindings(select);
    return status;
}

enum satchel_status satchel_capture_find_pointing(struct satchel_capture *capture,
                                                  const struct satchel_table *table,
                                                  const struct satchel_value *values,
                                                  const struct satchel_reference **out)
{
    const struct satchel_schema *schema = capture->replica->schema;
    enum satchel_status status = SATCHEL_OK;
    *out = NULL;
    if (table->key_count != 1) /* nothing points at a key of several columns */
        return SATCHEL_OK;
    for (uint32_t i = 0; i < schema->reference_count && !*out && status == SATCHEL_OK; i++) {
        const struct satchel_reference *reference = &schema->references[i];
        bool is_found = false;
        if (reference->target != 0 && reference->target != table->number)
            continue;
        status = is_pointed_at(capture, i, table, &values[table->key_columns[0]], &is_found);
        if (is_found)
            *out = reference;
    }
    return status;
}
