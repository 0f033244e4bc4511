/* Owns the default allocator, the bounded buffer and the arena. Knows nothing of what they hold. */
#include <satchel/memory.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void *default_resize(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    if (size_bytes == 0) {
        free(memory);
        return NULL;
    }
    return realloc(memory, size_bytes);
}

const struct satchel_allocator satchel_allocator_default = {default_resize, NULL};

static void *resize(const struct satchel_allocator *allocator, void *memory, size_t size_bytes)
{
    if (!allocator)
        allocator = &satchel_allocator_default;
    return allocator->resize(allocator->context, memory, size_bytes);
}

void *satchel_alloc(const struct satchel_allocator *allocator, size_t size_bytes)
{
    return resize(allocator, NULL, size_bytes ? size_bytes : 1);
}

void *satchel_alloc_zero(const struct satchel_allocator *allocator, size_t size_bytes)
{
    void *memory = satchel_alloc(allocator, size_bytes);
    if (memory)
        memset(memory, 0, size_bytes);
    return memory;
}

void satchel_free(const struct satchel_allocator *allocator, void *memory)
{
    if (memory)
        resize(allocator, memory, 0);
}

/* ---- buffer ---- */

void satchel_buffer_init(struct satchel_buffer *buffer, size_t bytes_max,
                         const struct satchel_allocator *allocator)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->bytes_max = bytes_max;
    buffer->allocator = allocator;
}

void satchel_buffer_deinit(struct satchel_buffer *buffer)
{
    satchel_free(buffer->allocator, buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
}

enum satchel_status satchel_buffer_reserve(struct satchel_buffer *buffer, size_t extra_bytes)
{
    if (extra_bytes <= buffer->capacity - buffer->size)
        return SATCHEL_OK;
    if (extra_bytes > buffer->bytes_max || buffer->size > buffer->bytes_max - extra_bytes)
        return SATCHEL_LIMIT;
    size_t wanted = buffer->size + extra_bytes;
    size_t capacity = buffer->capacity < 128 ? 128 : buffer->capacity * 2;
    if (capacity < wanted)
        capacity = wanted;
    if (capacity > buffer->bytes_max)
        capacity = buffer->bytes_max;
    uint8_t *data = resize(buffer->allocator, buffer->data, capacity);
    if (!data)
        return SATCHEL_NOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    return SATCHEL_OK;
}

enum satchel_status satchel_buffer_append(struct satchel_buffer *buffer, const void *data,
                                          size_t size)
{
    enum satchel_status status = satchel_buffer_reserve(buffer, size);
    if (status == SATCHEL_OK && size) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
    return status;
}

enum satchel_status satchel_buffer_format(struct satchel_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_list measured;
    va_start(arguments, format);
    va_copy(measured, arguments);
    int length = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    enum satchel_status status = length < 0 ? SATCHEL_INVALID : SATCHEL_OK;
    if (status == SATCHEL_OK)
        status = satchel_buffer_reserve(buffer, (size_t)length + 1);
    if (status == SATCHEL_OK) {
        vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
        buffer->size += (size_t)length;
    }
    va_end(arguments);
    return status;
}

const char *satchel_buffer_text(struct satchel_buffer *buffer)
{
    if (satchel_buffer_reserve(buffer, 1) != SATCHEL_OK)
        return NULL;
    buffer->data[buffer->size] = '\0';
    return (const char *)buffer->data;
}

/* ---- arena ---- */

enum { ARENA_BLOCK_BYTES = 4096, ARENA_ALIGN = 16 };

struct satchel_arena_block {
    struct satchel_arena_block *next;
    size_t size;     /* usable bytes */
    size_t position; /* bytes handed out */
    size_t padding;  /* keeps what follows aligned to ARENA_ALIGN */
};

void satchel_arena_init(struct satchel_arena *arena, size_t bytes_max,
                        const struct satchel_allocator *allocator)
{
    memset(arena, 0, sizeof *arena);
    arena->bytes_max = bytes_max;
    arena->allocator = allocator;
}

void satchel_arena_deinit(struct satchel_arena *arena)
{
    while (arena->blocks) {
        struct satchel_arena_block *next = arena->blocks->next;
        satchel_free(arena->allocator, arena->blocks);
        arena->blocks = next;
    }
    arena->used_bytes = 0;
}

void satchel_arena_reset(struct satchel_arena *arena)
{
    struct satchel_arena_block *kept = arena->blocks;
    if (kept) {
        struct satchel_arena_block *block = kept->next;
        while (block) {
            struct satchel_arena_block *next = block->next;
            satchel_free(arena->allocator, block);
            block = next;
        }
        kept->next = NULL;
        kept->position = 0;
    }
    arena->used_bytes = 0;
}

void *satchel_arena_alloc(struct satchel_arena *arena, size_t size_bytes)
{
    if (size_bytes > arena->bytes_max)
        return NULL;
    size_t size =
        size_bytes ? (size_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;
    if (size > arena->bytes_max -
                   (arena->used_bytes < arena->bytes_max ? arena->used_bytes : arena->bytes_max))
        return NULL;
    struct satchel_arena_block *block = arena->blocks;
    if (!block || size > block->size - block->position) {
        /* Blocks double, so that a large batch costs few calls. */
        size_t block_bytes = block ? block->size * 2 : ARENA_BLOCK_BYTES;
        if (block_bytes > ((size_t)1 << 20))
            block_bytes = (size_t)1 << 20;
        if (block_bytes < size)
            block_bytes = size;
        block = satchel_alloc(arena->allocator, sizeof *block + block_bytes);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        block->size = block_bytes;
        block->position = 0;
        arena->blocks = block;
    }
    void *memory = (uint8_t *)(block + 1) + block->position;
    block->position += size;
    arena->used_bytes += size;
    return memory;
}

void *satchel_arena_alloc_zero(struct satchel_arena *arena, size_t size_bytes)
{
    void *memory = satchel_arena_alloc(arena, size_bytes);
    if (memory)
        memset(memory, 0, size_bytes);
    return memory;
}

struct satchel_span satchel_arena_copy(struct satchel_arena *arena, struct satchel_span bytes)
{
    uint8_t *memory = bytes.size < SIZE_MAX ? satchel_arena_alloc(arena, bytes.size + 1) : NULL;
    if (!memory)
        return satchel_span_of(NULL, 0);
    if (bytes.size)
        memcpy(memory, bytes.data, bytes.size);
    memory[bytes.size] = '\0';
    return satchel_span_of(memory, bytes.size);
}
