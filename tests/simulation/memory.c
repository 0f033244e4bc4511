/* Owns allocations that fail: Satchel's own (the linker's --wrap of malloc and its kin) and
 * SQLite's, of the process that runs. */
#include "simulation.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

void *sim_alloc(void *memory, size_t size)
{
    void *resized = sim_pool_realloc(memory, size ? size : 1);
    if (!resized)
        abort();
    return resized;
}

static bool fails(void)
{
    struct sim_process *process = sim.process;
    if (!process || process->allocations_until_failure == 0)
        return false;
    if (process->allocations_until_failure > 1) {
        process->allocations_until_failure--;
        return false;
    }
    if (process->allocations_failing > 0)
        process->allocations_failing--;
    if (process->allocations_failing == 0)
        process->allocations_until_failure = 0;
    sim.counts.allocations_failed++;
    sim_fault_met();
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : sim_pool_alloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    if (fails() || (size > 0 && count > SIZE_MAX / size))
        return NULL;
    void *memory = sim_pool_alloc(count * size);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : sim_pool_realloc(memory, size);
}

void __wrap_free(void *memory)
{
    sim_pool_free(memory);
}

static sqlite3_mem_methods system_methods;

static void *allocate(int size)
{
    return fails() ? NULL : sim_pool_alloc((size_t)size);
}

static void *reallocate(void *memory, int size)
{
    return fails() ? NULL : sim_pool_realloc(memory, (size_t)size);
}

static int size_of(void *memory)
{
    return (int)(sim_pool_has(memory) ? sim_pool_size(memory) : malloc_usable_size(memory));
}

void sim_memory_init(void)
{
    /* One thread; nobody asks how much is allocated. Both cost a tenth of a run. */
    if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK)
        abort();
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_methods) != SQLITE_OK)
        abort();
    sqlite3_mem_methods methods = system_methods;
    methods.xMalloc = allocate;
    methods.xRealloc = reallocate;
    methods.xFree = sim_pool_free;
    methods.xSize = size_of;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        abort();
}
