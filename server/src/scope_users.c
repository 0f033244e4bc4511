/* Owns in which role each user is, and which columns are masked: as of the last commit, and since
 * when it was otherwise. */
#include "scope_internal.h"

#include <stdio.h>

#define SQL_NOW                                                                                  \
    "WITH now(login, role, is_active) AS MATERIALIZED (SELECT login,"                            \
    " CAST(COALESCE(role,'') AS TEXT), COALESCE(active,0)<>0 FROM %s WHERE typeof(login)='text'" \
    " GROUP BY login) "
/* Of two moves with one cursor the first says what was before, to who has not synced in between. */
#define SQL_MOVES                                                                      \
    SQL_NOW "INSERT OR IGNORE INTO satchel_role_move(user, cursor, before)"            \
            " SELECT user, ?1, held.role FROM satchel_held_user AS held LEFT JOIN now" \
            " ON login=user WHERE held.role<>COALESCE(now.role,'')"
#define SQL_HOLD                                                                                \
    SQL_NOW "INSERT INTO satchel_held_user(user, role, is_active)"                              \
            " SELECT login, role, is_active FROM now WHERE true"                                \
            " ON CONFLICT(user) DO UPDATE SET role=excluded.role, is_active=excluded.is_active" \
            " WHERE role<>excluded.role OR is_active<>excluded.is_active"
#define SQL_DROP                                                \
    SQL_NOW "UPDATE satchel_held_user SET role='', is_active=0" \
            " WHERE (is_active OR role<>'') AND user NOT IN (SELECT login FROM now)"

/* ---- users ---- */

static enum satchel_status run(struct scope_keeper *keeper, const char *format, uint64_t cursor,
                               struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    char sql[600];
    snprintf(sql, sizeof sql, format,
             keeper->schema->defines_users ? "satchel_users" : "satchel_user");
    enum satchel_status status = satchel_query_open(&query, keeper->db, sql, error);
    if (status != SATCHEL_OK)
        return status;
    if (cursor > 0)
        satchel_query_integer(&query, (int64_t)cursor);
    status = satchel_query_step(&query, &has_row, error);
    satchel_query_close(&query);
    return status;
}

enum satchel_status scope_users_read(struct scope_keeper *keeper, uint64_t cursor,
                                     struct satchel_error *error)
{
    enum satchel_status status = run(keeper, SQL_MOVES, cursor, error);
    if (status == SATCHEL_OK)
        status = run(keeper, SQL_HOLD, 0, error);
    return status == SATCHEL_OK ? run(keeper, SQL_DROP, 0, error) : status;
}

/* ---- masks ---- */

static struct satchel_span roles_of(const struct satchel_column *column)
{
    return satchel_span_text(column->mask ? column->mask : "");
}

static enum satchel_status hold(struct scope_keeper *keeper, const struct satchel_column *column,
                                uint32_t table, struct satchel_error *error)
{
    struct satchel_query query;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_HOLD_MASK]);
    satchel_query_integer(&query, table);
    satchel_query_integer(&query, column->number);
    satchel_query_text(&query, roles_of(column));
    return satchel_query_run(&query, error);
}

static enum satchel_status move(struct scope_keeper *keeper, uint32_t table, uint64_t cursor,
                                struct satchel_error *error)
{
    struct satchel_query query;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_ADD_MASK_MOVE]);
    satchel_query_integer(&query, (int64_t)cursor);
    satchel_query_integer(&query, table);
    return satchel_query_run(&query, error);
}

/* A new column is nobody's loss or gain. */
static enum satchel_status compare(struct scope_keeper *keeper, const struct satchel_column *column,
                                   uint32_t table, uint64_t cursor, struct satchel_error *error)
{
    struct satchel_query query;
    bool is_held = false, is_another = false;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_MASK]);
    satchel_query_integer(&query, table);
    satchel_query_integer(&query, column->number);
    enum satchel_status status = satchel_query_step(&query, &is_held, error);
    if (status == SATCHEL_OK && is_held)
        is_another = !satchel_span_equal(satchel_column_span(query.statement, 0), roles_of(column));
    satchel_query_end(&query);
    if (status == SATCHEL_OK && is_another)
        status = move(keeper, table, cursor, error);
    return status == SATCHEL_OK && (is_another || !is_held) ? hold(keeper, column, table, error)
                                                            : status;
}

enum satchel_status scope_masks_compare(struct scope_keeper *keeper, uint64_t cursor,
                                        struct satchel_error *error)
{
    const struct satchel_schema *schema = keeper->schema;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t t = 0; t < schema->table_count; t++) {
        const struct satchel_table *table = &schema->tables[t];
        for (uint32_t i = 0; status == SATCHEL_OK && !table->is_local && i < table->column_count;
             i++)
            status = compare(keeper, &table->columns[i], table->number, cursor, error);
    }
    return status;
}
