/* Owns the memory of a run: taken from the front of a region of its own, and given back to a list
 * of its size. A run is a fork; what it wrote to the heap of the campaign would be copied page by
 * page. */
#include "simulation.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { STEP_BYTES = 16, STEPS = 64, DOUBLINGS = 10, CLASSES = STEPS + 4 * DOUBLINGS };
#define REGION_BYTES ((size_t)4 << 30)
#define PAGE_BYTES ((size_t)2 << 20)

struct block {
    uint32_t class, mark;
    struct block *next; /* of those that are free */
};
_Static_assert(sizeof(struct block) == STEP_BYTES, "blocks are aligned by their size");
#define TAKEN UINT32_C(0x5a7c4e11)
#define GIVEN_BACK UINT32_C(0xf2eef2ee)

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);

static uint8_t *region, *front, *end;
static struct block *given_back[CLASSES];

void sim_pool_begin(void)
{
    void *mapped = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return;
    (void)madvise(mapped, REGION_BYTES, MADV_HUGEPAGE);
    region = mapped;
    front = (uint8_t *)(((uintptr_t)region + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1));
    end = region + REGION_BYTES;
}

bool sim_pool_has(const void *memory)
{
    return (const uint8_t *)memory >= region && (const uint8_t *)memory < end;
}

/* Steps of 16 bytes up to 1 KiB, then four for each doubling up to 1 MiB. CLASSES: too large. */
static uint32_t class_of(size_t size)
{
    if (size <= (size_t)STEPS * STEP_BYTES)
        return size == 0 ? 0 : (uint32_t)((size - 1) / STEP_BYTES);
    if (size > (size_t)STEPS * STEP_BYTES << DOUBLINGS)
        return CLASSES;
    uint32_t log = 63 - (uint32_t)__builtin_clzll(size - 1); /* 2^log <= size - 1 */
    return STEPS + 4 * (log - 10) + (uint32_t)((size - 1) >> (log - 2) & 3);
}

static size_t size_of(uint32_t class)
{
    if (class < STEPS)
        return ((size_t) class + 1) * STEP_BYTES;
    class -= STEPS;
    return (size_t)(5 + class % 4) << (8 + class / 4);
}

void *sim_pool_alloc(size_t size)
{
    uint32_t class = class_of(size);
    if (class == CLASSES || !region)
        return __real_malloc(size);
    struct block *block = given_back[class];
    if (block) {
        given_back[class] = block->next;
    } else {
        size_t bytes = sizeof *block + size_of(class);
        if (bytes > (size_t)(end - front))
            return __real_malloc(size);
        block = (struct block *)(void *)front;
        front += bytes;
        block->class = class;
    }
    block->mark = TAKEN;
    return block + 1;
}

static struct block *block_of(void *memory)
{
    struct block *block = (struct block *)memory - 1;
    if (block->mark != TAKEN)
        abort(); /* given back twice, or written over */
    return block;
}

size_t sim_pool_size(void *memory)
{
    return size_of(block_of(memory)->class);
}

void sim_pool_free(void *memory)
{
    if (!sim_pool_has(memory)) {
        __real_free(memory);
        return;
    }
    struct block *block = block_of(memory);
    block->mark = GIVEN_BACK;
    block->next = given_back[block->class];
    given_back[block->class] = block;
}

void *sim_pool_realloc(void *memory, size_t size)
{
    if (!memory)
        return sim_pool_alloc(size);
    if (!sim_pool_has(memory))
        return __real_realloc(memory, size);
    size_t old_size = sim_pool_size(memory);
    if (class_of(size) == block_of(memory)->class)
        return memory;
    void *moved = sim_pool_alloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, memory, size < old_size ? size : old_size);
    sim_pool_free(memory);
    return moved;
}
