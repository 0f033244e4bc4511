/* Owns satchel_id: 128-bit ids as small numbers for versions, all of them in memory. */
#include "store_internal.h"

#define SQL_LOAD "SELECT number, id FROM satchel_id ORDER BY number"

static enum satchel_status remember(struct satchel_store_sqlite *store, const struct satchel_id *id)
{
    if (store->id_count >= SATCHEL_STORE_IDS_MAX)
        return SATCHEL_LIMIT;
    if (store->id_count == store->id_capacity) {
        size_t capacity = store->id_capacity ? store->id_capacity * 2 : 256;
        const struct satchel_allocator *allocator = &satchel_allocator_default;
        struct satchel_id *ids =
            allocator->resize(allocator->context, store->ids, capacity * sizeof *ids);
        if (!ids)
            return SATCHEL_NOMEM;
        store->ids = ids;
        store->id_capacity = capacity;
    }
    store->ids[store->id_count] = *id;
    enum satchel_status status =
        satchel_map_put(&store->id_numbers, satchel_span_of(id->bytes, sizeof id->bytes),
                        (void *)(uintptr_t)(store->id_count + 1));
    if (status == SATCHEL_OK)
        store->id_count++;
    return status;
}

enum satchel_status store_ids_load(struct satchel_store_sqlite *store, struct satchel_error *error)
{
    sqlite3_stmt *statement = NULL;
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = satchel_db_prepare(store->db, SQL_LOAD, &statement, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    satchel_query_begin(&query, store->db, statement);
    while ((status = satchel_query_step(&query, &has_row, error)) == SATCHEL_OK && has_row) {
        struct satchel_id id;
        if ((uint64_t)sqlite3_column_int64(statement, 0) != store->id_count + 1 ||
            !satchel_column_id(statement, 1, &id)) {
            status = satchel_error_set(error, SATCHEL_CORRUPT,
                                       "satchel_id is damaged at number %zu; restore a backup",
                                       store->id_count + 1);
            goto cleanup;
        }
        status = remember(store, &id);
        if (status != SATCHEL_OK)
            goto cleanup;
    }
    store->id_committed = store->id_count;
cleanup:
    sqlite3_finalize(statement);
    return status;
}

void store_ids_deinit(struct satchel_store_sqlite *store)
{
    satchel_free(&satchel_allocator_default, store->ids);
    satchel_map_deinit(&store->id_numbers);
}

void store_ids_forget(struct satchel_store_sqlite *store, size_t count)
{
    while (store->id_count > count) {
        const struct satchel_id *id = &store->ids[--store->id_count];
        satchel_map_remove(&store->id_numbers, satchel_span_of(id->bytes, sizeof id->bytes));
    }
}

uint32_t store_ids_find(const struct satchel_store_sqlite *store, const struct satchel_id *id)
{
    return (uint32_t)(uintptr_t)satchel_map_get(&store->id_numbers,
                                                satchel_span_of(id->bytes, sizeof id->bytes));
}

enum satchel_status store_ids_number_of(void *context, const struct satchel_id *id,
                                        uint32_t *number)
{
    struct satchel_store_sqlite *store = context;
    *number = store_ids_find(store, id);
    if (*number)
        return SATCHEL_OK;
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_ADD_ID]);
    satchel_query_integer(&query, (int64_t)(store->id_count + 1));
    satchel_query_id(&query, id);
    enum satchel_status status = satchel_query_run(&query, NULL);
    if (status == SATCHEL_OK)
        status = remember(store, id);
    *number = (uint32_t)store->id_count;
    return status;
}

enum satchel_status store_ids_id_of(void *context, uint32_t number, struct satchel_id *id)
{
    struct satchel_store_sqlite *store = context;
    if (number == 0 || number > store->id_count)
        return SATCHEL_CORRUPT;
    *id = store->ids[number - 1];
    return SATCHEL_OK;
}
