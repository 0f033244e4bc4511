/* Owns the question what a whole row was before a write of its history. */
#include "history_scan.h"

#include <satchel/log.h>

static const struct satchel_schema *given_schema(void *context)
{
    return context;
}

static enum satchel_status read_values(struct satchel_history_scan *scan,
                                       const struct satchel_table *table,
                                       struct satchel_arena *arena, struct satchel_value *values)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < table->column_count && status == SATCHEL_OK; i++) {
        const struct satchel_column_rules *rules = &table->rules.columns[i];
        struct satchel_value before;
        if (rules->in_key)
            continue;
        status = satchel_history_scan_before(scan, i, &rules->default_value, &before);
        if (status == SATCHEL_OK)
            status = satchel_value_copy(arena, &before, &values[i]);
    }
    return status;
}

enum satchel_status satchel_history_before(struct sqlite3 *db, const struct satchel_schema *schema,
                                           const struct satchel_table *table, const char *id,
                                           struct satchel_arena *arena, bool *existed,
                                           struct satchel_value *values,
                                           struct satchel_error *error)
{
    const struct satchel_history_filter filter = {.id = id, .needs_old = true};
    const struct satchel_history_row *row = NULL;
    struct satchel_history_scan *scan;
    /* The scan only hands it back to us. */
    enum satchel_status status = satchel_history_scan_new(
        &scan, db, given_schema, (void *)(uintptr_t)schema, &filter, error);
    if (status != SATCHEL_OK)
        return status;
    status = satchel_history_scan_next(scan, &row, error);
    if (status == SATCHEL_OK && (!row || row->table != table->number))
        status = satchel_error_set(error, SATCHEL_NOT_FOUND,
                                   "%s: no such write in the history; see satchel history", id);
    *existed = status == SATCHEL_OK && satchel_history_scan_existed(scan);
    if (*existed)
        status = read_values(scan, table, arena, values);
    satchel_history_scan_free(scan);
    return status;
}
