/* Owns the log's side of the SQLite store: entries, hashes of change sets, conflicts, devices. */
#include "store_internal.h"

static bool copy_span(struct satchel_arena *arena, struct satchel_span *span)
{
    *span = satchel_arena_copy(arena, *span);
    return span->data != NULL;
}

static enum satchel_status load_entry(struct satchel_store_sqlite *store, uint64_t cursor,
                                      struct satchel_entry *entry, struct satchel_span *timeline,
                                      struct satchel_arena *arena, struct satchel_error *error)
{
    struct satchel_log_entry read;
    bool found;
    enum satchel_status status =
        satchel_log_read_at(store->log_reader, cursor, &found, &read, error);
    if (status == SATCHEL_OK && (!found || !read.entry.secret))
        status = satchel_error_set(error, SATCHEL_CORRUPT,
                                   "entry %llu of the log is missing or damaged; restore a backup",
                                   (unsigned long long)cursor);
    if (status == SATCHEL_OK) {
        struct satchel_span secret = satchel_span_of(read.entry.secret, SATCHEL_SECRET_BYTES);
        *entry = read.entry;
        *timeline = read.timeline;
        if (!copy_span(arena, &secret) || !copy_span(arena, &entry->user) ||
            !copy_span(arena, &entry->body) || !copy_span(arena, &entry->notes) ||
            !copy_span(arena, timeline))
            status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for entry %llu",
                                       (unsigned long long)cursor);
        entry->secret = secret.data;
    }
    satchel_log_read_end(store->log_reader);
    return status;
}

enum satchel_status store_load_entries(struct satchel_store *base, const uint64_t *cursors,
                                       size_t count, struct satchel_entry *entries,
                                       struct satchel_span *timelines, struct satchel_arena *arena,
                                       struct satchel_error *error)
{
    for (size_t i = 0; i < count; i++) {
        enum satchel_status status =
            load_entry(store_of(base), cursors[i], &entries[i], &timelines[i], arena, error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

static enum satchel_status add_hash(struct satchel_store_sqlite *store,
                                    const struct satchel_entry *entry,
                                    const uint8_t hash[SATCHEL_HASH_BYTES],
                                    struct satchel_error *error)
{
    uint32_t device;
    enum satchel_status status = store_ids_number_of(store, &entry->device, &device);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "the device of an entry could not be noted");
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_ADD_HASH]);
    satchel_query_integer(&query, device);
    satchel_query_integer(&query, (int64_t)entry->number);
    satchel_query_blob(&query, satchel_span_of(hash, SATCHEL_HASH_BYTES));
    satchel_query_integer(&query, (int64_t)entry->cursor);
    return satchel_query_run(&query, error);
}

enum satchel_status store_append_entries(struct satchel_store *base,
                                         const struct satchel_entry *entries,
                                         const struct satchel_span *timelines,
                                         const uint8_t (*hashes)[SATCHEL_HASH_BYTES], size_t count,
                                         struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    for (size_t i = 0; i < count; i++) {
        enum satchel_status status =
            satchel_log_append(store->log, &entries[i], timelines[i], error);
        if (status == SATCHEL_OK)
            status = add_hash(store, &entries[i], hashes[i], error);
        if (status != SATCHEL_OK)
            return status;
        scope_note_entries(store->scopes);
    }
    return SATCHEL_OK;
}

enum satchel_status store_load_hash(struct satchel_store *base, const struct satchel_id *device,
                                    uint64_t number, uint8_t hash[SATCHEL_HASH_BYTES],
                                    struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_HASH]);
    satchel_query_integer(&query, store_ids_find(store, device)); /* 0 is no device's number */
    satchel_query_integer(&query, (int64_t)number);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK) {
        struct satchel_span kept =
            has_row ? satchel_column_span(query.statement, 0) : satchel_span_of(NULL, 0);
        if (kept.size == SATCHEL_HASH_BYTES)
            memcpy(hash, kept.data, SATCHEL_HASH_BYTES);
        else
            status = satchel_error_set(error, SATCHEL_NOT_FOUND,
                                       "no change set %llu of this device is held",
                                       (unsigned long long)number);
    }
    satchel_query_end(&query);
    return status;
}

enum satchel_status store_write_conflicts(struct satchel_store *base,
                                          const struct satchel_conflict_note *notes, size_t count,
                                          struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    for (size_t i = 0; i < count; i++) {
        enum satchel_status status =
            satchel_log_conflict(store->log, store->schema, &notes[i], error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status store_write_quarantine(struct satchel_store *base,
                                           const struct satchel_store_quarantine *parts,
                                           size_t count, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    for (size_t i = 0; i < count; i++) {
        struct satchel_query query;
        satchel_query_begin(&query, store->db, store->statements[STORE_QUARANTINE]);
        satchel_query_integer(&query, (int64_t)parts[i].cursor);
        satchel_query_integer(&query, parts[i].part);
        satchel_query_blob(&query, parts[i].name);
        enum satchel_status status = satchel_query_run(&query, error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status store_find_entry(struct satchel_store *base, const struct satchel_id *device,
                                     uint64_t number, uint64_t *cursor, struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, store->db, store->statements[STORE_FIND_ENTRY]);
    satchel_query_integer(&query, store_ids_find(store, device)); /* 0 is no device's number */
    satchel_query_integer(&query, (int64_t)number);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row)
        *cursor = (uint64_t)sqlite3_column_int64(query.statement, 0);
    else if (status == SATCHEL_OK)
        status =
            satchel_error_set(error, SATCHEL_NOT_FOUND, "no change set %llu of this device is held",
                              (unsigned long long)number);
    satchel_query_end(&query);
    return status;
}

enum satchel_status store_find_conflict(struct satchel_store *base, const struct satchel_id *id,
                                        struct satchel_arena *arena,
                                        struct satchel_conflict_note *note,
                                        struct satchel_error *error)
{
    return satchel_log_conflict_find(store_of(base)->log, id, arena, note, error);
}

static enum satchel_status load_device(struct satchel_store_sqlite *store,
                                       struct satchel_store_device *device,
                                       struct satchel_arena *arena, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    char text[SATCHEL_ID_TEXT_BYTES];
    satchel_query_begin(&query, store->db, store->statements[STORE_DEVICE]);
    satchel_query_id(&query, &device->id);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    satchel_id_text(&device->id, text);
    if (!has_row) {
        status = satchel_error_set(error, SATCHEL_NOT_FOUND, "device %s is not known here", text);
        goto cleanup;
    }
    device->user = satchel_column_copy(query.statement, 0, arena);
    device->last_number = (uint64_t)sqlite3_column_int64(query.statement, 1);
    device->last_stamp = (satchel_stamp)sqlite3_column_int64(query.statement, 2);
    device->ancestors = (struct satchel_vector){NULL, 0};
    satchel_column_id(query.statement, 3, &device->parent);
    device->parent_number = (uint64_t)sqlite3_column_int64(query.statement, 4);
    if (!device->user.data)
        status = satchel_error_set(error, SATCHEL_NOMEM, "no memory for a device");
cleanup:
    satchel_query_end(&query);
    return status;
}

enum satchel_status store_load_devices(struct satchel_store *base,
                                       struct satchel_store_device *devices, size_t count,
                                       struct satchel_arena *arena, struct satchel_error *error)
{
    for (size_t i = 0; i < count; i++) {
        enum satchel_status status = load_device(store_of(base), &devices[i], arena, error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status store_add_device(struct satchel_store *base, const struct satchel_id *device,
                                     struct satchel_span user, int64_t now_ms,
                                     struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    struct satchel_query query;
    satchel_query_begin(&query, store->db, store->statements[STORE_ADD_DEVICE]);
    satchel_query_id(&query, device);
    satchel_query_text(&query, user);
    satchel_query_integer(&query, now_ms);
    return satchel_query_run(&query, error);
}

enum satchel_status store_write_devices(struct satchel_store *base,
                                        const struct satchel_store_device *devices, size_t count,
                                        struct satchel_error *error)
{
    struct satchel_store_sqlite *store = store_of(base);
    for (size_t i = 0; i < count; i++) {
        struct satchel_query query;
        satchel_query_begin(&query, store->db, store->statements[STORE_SET_DEVICE]);
        satchel_query_integer(&query, (int64_t)devices[i].last_number);
        satchel_query_integer(&query, (int64_t)devices[i].last_stamp);
        satchel_query_id(&query, &devices[i].id);
        enum satchel_status status = satchel_query_run(&query, error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}
