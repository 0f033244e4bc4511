/* Owns judging CHECK constraints: a merge takes each unit from one writer or another, so a CHECK
 * over several units could be broken by two writes that each kept it. */
#include "schema_build.h"

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

/* The columns of one table that an expression reads, found while SQLite compiles it. */
struct reads {
    const struct satchel_table *table;
    bool is_read[SATCHEL_COLUMNS_MAX];
};

static int note_read(void *context, int action, const char *table, const char *column,
                     const char *database, const char *trigger)
{
    (void)database, (void)trigger;
    struct reads *reads = context;
    if (action != SQLITE_READ || !table || !column ||
        !satchel_names_equal(table, reads->table->name))
        return SQLITE_OK;
    const struct satchel_column *found = satchel_table_find_column(reads->table, column);
    if (found)
        reads->is_read[found->number] = true;
    return SQLITE_OK;
}

/* Compiles the CHECK's expression over the table. What SQLite will not compile here reads nothing:
 * it has taken the CHECK itself. */
static enum satchel_status find_reads(struct satchel_build *build, const char *expression,
                                      struct reads *reads)
{
    sqlite3_stmt *prepared = NULL;
    /* The line end closes a comment that the expression may end with. */
    char *sql =
        sqlite3_mprintf("SELECT 1 FROM main.\"%w\" WHERE (%s\n)", reads->table->name, expression);
    if (!sql)
        return satchel_build_no_memory(build);
    sqlite3_set_authorizer(build->db, note_read, reads);
    int code = sqlite3_prepare_v2(build->db, sql, -1, &prepared, NULL);
    sqlite3_set_authorizer(build->db, NULL, NULL);
    sqlite3_finalize(prepared);
    sqlite3_free(sql);
    return code == SQLITE_NOMEM ? satchel_build_no_memory(build) : SATCHEL_OK;
}

/* What moves as one: a unit, and a leader with its followers. */
static uint32_t moves_with(const struct satchel_table *table, uint32_t index)
{
    const struct satchel_column *column = &table->columns[index];
    if (column->rule == SATCHEL_RULE_FOLLOWS) {
        const struct satchel_column *leader =
            satchel_table_find_column(table, column->rule_argument);
        index = leader ? leader->number : index;
    }
    return table->rules.columns[index].unit;
}

static enum satchel_status check_units(struct satchel_build *build,
                                       const struct satchel_build_clause *clause,
                                       const struct reads *reads)
{
    const struct satchel_table *table = reads->table;
    const struct satchel_column *first = NULL;
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (!reads->is_read[i] || table->rules.columns[i].in_key)
            continue; /* the key is the same in every write to the row */
        if (!first)
            first = &table->columns[i];
        else if (moves_with(table, i) != moves_with(table, first->number))
            return satchel_refuse(
                build->error, clause->place,
                "the CHECK over %s.%s and %s cannot hold, because a merge may take them "
                "from two devices; put both into one @group(name), or check it in a "
                "view",
                table->name, first->name, table->columns[i].name);
    }
    return SATCHEL_OK;
}

/* A column added to a table with rows: its default stands in them all and must keep its CHECK. */
static enum satchel_status check_added(struct satchel_build *build,
                                       const struct satchel_build_clause *clause,
                                       const struct satchel_table *table)
{
    const struct satchel_column *column = satchel_table_find_column(table, clause->column);
    if (!column)
        return SATCHEL_OK;
    sqlite3_stmt *query = NULL;
    char *sql = sqlite3_mprintf("SELECT 1 FROM (SELECT ?1 AS \"%w\") WHERE NOT (%s\n)",
                                column->name, clause->expression);
    if (!sql)
        return satchel_build_no_memory(build);
    int code = sqlite3_prepare_v2(build->db, sql, -1, &query, NULL);
    sqlite3_free(sql);
    bool is_broken =
        code == SQLITE_OK &&
        satchel_value_bind(query, 1, &table->rules.columns[column->number].default_value) ==
            SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW;
    sqlite3_finalize(query);
    if (!is_broken)
        return SATCHEL_OK;
    return satchel_refuse(
        build->error, clause->place,
        "the default of %s.%s breaks its own CHECK, which SQLite refuses in a table with "
        "rows; give it a default that keeps the CHECK",
        table->name, column->name);
}

enum satchel_status satchel_build_check_checks(struct satchel_build *build)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        struct reads reads = {.table = satchel_build_table_made(build, from)};
        for (uint32_t i = 0; status == SATCHEL_OK && i < from->clause_count; i++) {
            const struct satchel_build_clause *clause = &from->clauses[i];
            if (clause->kind != SATCHEL_CLAUSE_CHECK)
                continue;
            const struct satchel_build_column *column =
                clause->column ? satchel_build_find_column(from, clause->column) : NULL;
            if (column && column->is_added)
                status = check_added(build, clause, reads.table);
            if (status != SATCHEL_OK || reads.table->is_local)
                continue;
            memset(reads.is_read, 0, sizeof reads.is_read);
            status = find_reads(build, clause->expression, &reads);
            if (status == SATCHEL_OK)
                status = check_units(build, clause, &reads);
        }
    }
    return status;
}
