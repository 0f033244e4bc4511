/* Owns what the SQLite store keeps of document numbers: the last of each series. A number taken in
 * a transaction that is rolled back was never taken, so a series has no gaps. */
#include "store_internal.h"

enum satchel_status store_load_numbering(struct satchel_store *base,
                                         struct satchel_store_numbering *numbering,
                                         struct satchel_arena *arena, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    char warning[256];
    bool has_row = false;
    memset(numbering, 0, sizeof *numbering);
    satchel_query_begin(&query, store->db, store->statements[STORE_BRANCH]);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && !has_row)
        status = satchel_error_set(error, SATCHEL_CORRUPT,
                                   "satchel_branch is damaged; restore a backup");
    if (status == SATCHEL_OK) {
        numbering->branch = satchel_column_copy(query.statement, 0, arena);
        if (!numbering->branch.data)
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a name");
    }
    satchel_query_end(&query);
    if (status == SATCHEL_OK)
        status = satchel_numbers_load(store->db, base->schema, arena, &numbering->series,
                                      &numbering->series_count, warning, error);
    return status;
}

enum satchel_status store_take_numbers(struct satchel_store *base, struct satchel_span series,
                                       struct satchel_span branch, int year, uint64_t count,
                                       uint64_t *first, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_TAKE_NUMBERS]);
    satchel_query_text(&query, series);
    satchel_query_text(&query, branch);
    satchel_query_integer(&query, year);
    satchel_query_integer(&query, (int64_t)count);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK)
        *first = (uint64_t)sqlite3_column_int64(query.statement, 0) - count + 1;
    satchel_query_end(&query);
    return status;
}
