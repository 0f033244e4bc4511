/* Memory: an allocator per root object, a growing buffer with a limit, an arena.
 *
 * Nothing here is global. An allocator that returns NULL makes the caller return SATCHEL_NOMEM;
 * a growing thing that would pass its limit returns SATCHEL_LIMIT and is unchanged. */
#ifndef SATCHEL_MEMORY_H
#define SATCHEL_MEMORY_H

#include <satchel/span.h>
#include <satchel/status.h>

/* resize(context, NULL, n) allocates, resize(context, p, n) moves, resize(context, p, 0) frees. */
struct satchel_allocator {
    void *(*resize)(void *context, void *memory, size_t size_bytes);
    void *context;
};

/* malloc's; used wherever a NULL allocator is given. */
extern const struct satchel_allocator satchel_allocator_default;

void *satchel_alloc(const struct satchel_allocator *allocator, size_t size_bytes);
void *satchel_alloc_zero(const struct satchel_allocator *allocator, size_t size_bytes);
void satchel_free(const struct satchel_allocator *allocator, void *memory);

/* ---- buffer: bytes that grow up to a limit set at birth ---- */

struct satchel_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t bytes_max;
    const struct satchel_allocator *allocator;
};

void satchel_buffer_init(struct satchel_buffer *buffer, size_t bytes_max,
                         const struct satchel_allocator *allocator);
void satchel_buffer_deinit(struct satchel_buffer *buffer);
/* Makes room for `extra_bytes` more without changing size. LIMIT, NOMEM. */
enum satchel_status satchel_buffer_reserve(struct satchel_buffer *buffer,
                                           size_t extra_bytes) SATCHEL_MUST_USE;
enum satchel_status satchel_buffer_append(struct satchel_buffer *buffer, const void *data,
                                          size_t size) SATCHEL_MUST_USE;
enum satchel_status satchel_buffer_format(struct satchel_buffer *buffer, const char *format, ...)
    SATCHEL_PRINTF(2, 3) SATCHEL_MUST_USE;
/* A terminating NUL behind the bytes, not counted in size; the C string is borrowed. NULL: no
 * memory. */
const char *satchel_buffer_text(struct satchel_buffer *buffer);
static inline void satchel_buffer_clear(struct satchel_buffer *buffer)
{
    buffer->size = 0;
}
static inline struct satchel_span satchel_buffer_span(const struct satchel_buffer *buffer)
{
    return satchel_span_of(buffer->data, buffer->size);
}

/* ---- arena: many small allocations released at once; aligned for any type ---- */

struct satchel_arena_block;
struct satchel_arena {
    struct satchel_arena_block *blocks;
    size_t used_bytes; /* handed out since init or reset */
    size_t bytes_max;
    const struct satchel_allocator *allocator;
};

void satchel_arena_init(struct satchel_arena *arena, size_t bytes_max,
                        const struct satchel_allocator *allocator);
void satchel_arena_deinit(struct satchel_arena *arena);
/* Forgets every allocation, keeps one block for reuse. */
void satchel_arena_reset(struct satchel_arena *arena);
/* NULL when out of memory or over bytes_max. Not zeroed. */
void *satchel_arena_alloc(struct satchel_arena *arena, size_t size_bytes);
void *satchel_arena_alloc_zero(struct satchel_arena *arena, size_t size_bytes);
/* A copy with a NUL behind it (not counted). data is NULL on failure even for an empty span. */
struct satchel_span satchel_arena_copy(struct satchel_arena *arena, struct satchel_span bytes);

/* A zeroed array of `count` elements, overflow-checked. */
static inline void *satchel_arena_array(struct satchel_arena *arena, size_t count,
                                        size_t item_bytes)
{
    return count > SIZE_MAX / item_bytes ? NULL
                                         : satchel_arena_alloc_zero(arena, count * item_bytes);
}
#define SATCHEL_ARENA_ARRAY(arena, type, count) \
    ((type *)satchel_arena_array((arena), (size_t)(count), sizeof(type)))

#endif
