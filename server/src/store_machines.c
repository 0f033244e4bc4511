/* Owns the state machines as the SQLite store has read them: kept until something they are read
 * from has changed. */
#include "store_internal.h"

#define MACHINES_BYTES_MAX ((size_t)64 << 20)

void store_machines_init(struct satchel_store_sqlite *store)
{
    for (int i = 0; i < 2; i++)
        satchel_arena_init(&store->machine_arenas[i], MACHINES_BYTES_MAX, NULL);
    satchel_arena_init(&store->feeds_arena, MACHINES_BYTES_MAX, NULL);
}

void store_machines_deinit(struct satchel_store_sqlite *store)
{
    for (int i = 0; i < 2; i++)
        satchel_arena_deinit(&store->machine_arenas[i]);
    satchel_arena_deinit(&store->feeds_arena);
}

void store_machines_forget(struct satchel_store_sqlite *store, bool with_schema)
{
    store->has_machines = false;
    if (!with_schema)
        return;
    satchel_arena_reset(&store->feeds_arena);
    store->machine_feeds = NULL;
}

enum satchel_status store_load_machines(struct satchel_store *base, bool again,
                                        const struct satchel_machine **machines,
                                        struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    char warning[256];
    enum satchel_status status = SATCHEL_OK;
    if (again || !store->has_machines) {
        store->machine_turn = !store->machine_turn;
        struct satchel_arena *arena = &store->machine_arenas[store->machine_turn];
        satchel_arena_reset(arena);
        status = satchel_machines_load(store->db, store->schema, arena, &store->machines, warning,
                                       error);
        store->has_machines = status == SATCHEL_OK;
    }
    *machines = store->machines;
    return status;
}

enum satchel_status store_machine_tables(struct satchel_store *base, bool *is_read,
                                         struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    uint32_t count = store->schema->table_count;
    if (!store->machine_feeds && store->schema->defines_states) {
        bool *feeds = SATCHEL_ARENA_ARRAY(&store->feeds_arena, bool, count + 1);
        if (!feeds)
            return SATCHEL_NOMEM;
        enum satchel_status status =
            satchel_view_tables(store->db, store->schema, "satchel_states", feeds, error);
        if (status != SATCHEL_OK)
            return status;
        store->machine_feeds = feeds;
    }
    if (store->machine_feeds)
        memcpy(is_read, store->machine_feeds, count * sizeof *is_read);
    return SATCHEL_OK;
}
