#include "timelines.h"

#include <satchel/changeset.h>
#include <satchel/map.h>
#include <satchel/row_io.h>

enum {
    ROWS_MAX = 400000, /* that entries touched, of those that are kept; of one more */
    NAME_BYTES_MAX = 64 << 20
};

struct timelines {
    struct satchel_store *store;
    struct satchel_arena arena; /* of one entry */
    struct satchel_arena kept;
    struct satchel_map entries; /* kept, by cursor */
    struct satchel_map steps;   /* by cursor and name: the one before, and 1 */
    struct satchel_buffer key, body;
    size_t name_bytes;
};

static void init_kept(struct timelines *timelines)
{
    satchel_arena_init(&timelines->kept, SIZE_MAX / 2, NULL);
    satchel_map_init(&timelines->entries, SIZE_MAX / 4, NULL);
    satchel_map_init(&timelines->steps, SIZE_MAX / 4, NULL);
    timelines->name_bytes = 0;
}

static void drop_kept(struct timelines *timelines)
{
    satchel_map_deinit(&timelines->steps);
    satchel_map_deinit(&timelines->entries);
    satchel_arena_deinit(&timelines->kept);
}

enum satchel_status timelines_new(struct timelines **out, struct satchel_store *store)
{
    struct timelines *timelines = *out = satchel_alloc_zero(NULL, sizeof *timelines);
    if (!timelines)
        return SATCHEL_NOMEM;
    timelines->store = store;
    satchel_arena_init(&timelines->arena, SIZE_MAX / 2, NULL);
    init_kept(timelines);
    satchel_buffer_init(&timelines->key, 2 * SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&timelines->body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    return SATCHEL_OK;
}

void timelines_free(struct timelines *timelines)
{
    if (!timelines)
        return;
    satchel_buffer_deinit(&timelines->body);
    satchel_buffer_deinit(&timelines->key);
    drop_kept(timelines);
    satchel_arena_deinit(&timelines->arena);
    satchel_free(NULL, timelines);
}

void timelines_forget(struct timelines *timelines)
{
    if (!timelines || timelines->entries.count == 0)
        return;
    drop_kept(timelines);
    init_kept(timelines);
}

static struct satchel_span cursor_key(const uint64_t *cursor)
{
    return satchel_span_of(cursor, sizeof *cursor);
}

static enum satchel_status begin_key(struct timelines *timelines, uint64_t cursor)
{
    satchel_buffer_clear(&timelines->key);
    return satchel_buffer_append(&timelines->key, &cursor, sizeof cursor);
}

/* An entry that touches a row twice has the one before it at the first of the two. */
static enum satchel_status keep_part(struct timelines *timelines, uint64_t cursor,
                                     const struct satchel_part *part, uint64_t previous)
{
    enum satchel_status status = begin_key(timelines, cursor);
    if (status == SATCHEL_OK)
        status = satchel_row_name(&timelines->key, part->table, part->key, part->key_count);
    struct satchel_span key = satchel_buffer_span(&timelines->key);
    if (status != SATCHEL_OK || satchel_map_get(&timelines->steps, key))
        return status;
    timelines->name_bytes += key.size;
    return satchel_map_put(&timelines->steps, key, (void *)(uintptr_t)(previous + 1));
}

static enum satchel_status keep_parts(struct timelines *timelines,
                                      const struct satchel_entry *entry,
                                      struct satchel_span timeline, struct satchel_error *error)
{
    struct satchel_changeset content;
    struct satchel_span body;
    struct satchel_cursor chain = satchel_cursor_of(timeline);
    enum satchel_status status = satchel_body_load(entry->body, &timelines->body, &body);
    if (status == SATCHEL_OK)
        status = satchel_changeset_decode(body, &timelines->arena, &content, error);
    if (status != SATCHEL_OK)
        return status;
    if (satchel_cursor_array(&chain, SATCHEL_CHANGESET_PARTS_MAX) != content.header.part_count)
        return SATCHEL_CORRUPT;
    for (uint32_t i = 0; i < content.header.part_count && status == SATCHEL_OK; i++) {
        uint64_t previous = satchel_cursor_unsigned(&chain, entry->cursor - 1);
        status = chain.failed ? SATCHEL_CORRUPT
                              : keep_part(timelines, entry->cursor, &content.parts[i], previous);
    }
    return status;
}

static enum satchel_status read_entry(struct timelines *timelines, uint64_t cursor,
                                      struct satchel_entry **out, struct satchel_error *error)
{
    struct satchel_span timeline;
    if (timelines->steps.count > ROWS_MAX || timelines->name_bytes > NAME_BYTES_MAX)
        timelines_forget(timelines);
    struct satchel_entry *entry = *out =
        SATCHEL_ARENA_ARRAY(&timelines->kept, struct satchel_entry, 1);
    if (!entry)
        return SATCHEL_NOMEM;
    enum satchel_status status = timelines->store->ops->load_entries(
        timelines->store, &cursor, 1, entry, &timeline, &timelines->arena, error);
    if (status == SATCHEL_OK)
        status = keep_parts(timelines, entry, timeline, error);
    if (status != SATCHEL_OK)
        return status;
    entry->user = satchel_arena_copy(&timelines->kept, entry->user);
    entry->body = entry->notes = entry->positions = satchel_span_of(NULL, 0);
    entry->secret = NULL;
    if (!entry->user.data)
        return SATCHEL_NOMEM;
    return satchel_map_put(&timelines->entries, cursor_key(&cursor), entry);
}

enum satchel_status timelines_step(struct timelines *timelines, uint64_t cursor,
                                   struct satchel_span name, struct timeline_step *out,
                                   struct satchel_error *error)
{
    struct satchel_entry *entry = satchel_map_get(&timelines->entries, cursor_key(&cursor));
    enum satchel_status status = SATCHEL_OK;
    if (!entry)
        status = read_entry(timelines, cursor, &entry, error);
    satchel_arena_reset(&timelines->arena);
    if (status == SATCHEL_OK)
        status = begin_key(timelines, cursor);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&timelines->key, name.data, name.size);
    if (status != SATCHEL_OK) {
        timelines_forget(timelines); /* of the entry there may be a part */
        return satchel_error_default(error, status, "entry %llu of the log is damaged",
                                     (unsigned long long)cursor);
    }
    uintptr_t step =
        (uintptr_t)satchel_map_get(&timelines->steps, satchel_buffer_span(&timelines->key));
    *out = (struct timeline_step){entry, step > 0 ? step - 1 : 0};
    return SATCHEL_OK;
}
