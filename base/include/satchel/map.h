/* A hash map from byte strings to pointers. Keys are copied; values are the caller's. */
#ifndef SATCHEL_MAP_H
#define SATCHEL_MAP_H

#include <satchel/memory.h>

/* Of bytes, for tables in memory: the same on one machine, not on all. */
uint64_t satchel_hash(uint64_t seed, struct satchel_span bytes);

struct satchel_map_slot;
struct satchel_map {
    struct satchel_map_slot *slots;
    size_t count;
    size_t capacity;
    size_t count_max;
    struct satchel_arena keys;
    const struct satchel_allocator *allocator;
};

void satchel_map_init(struct satchel_map *map, size_t count_max,
                      const struct satchel_allocator *allocator);
void satchel_map_deinit(struct satchel_map *map);
void satchel_map_clear(struct satchel_map *map);
/* The value at `key`, or NULL. */
void *satchel_map_get(const struct satchel_map *map, struct satchel_span key);
/* Sets `key` to `value` (not NULL), replacing. LIMIT, NOMEM. */
enum satchel_status satchel_map_put(struct satchel_map *map, struct satchel_span key,
                                    void *value) SATCHEL_MUST_USE;
/* Removes and returns the value, or NULL. The key's bytes stay until clear. */
void *satchel_map_remove(struct satchel_map *map, struct satchel_span key);
/* Iteration in no particular order: start with *index = 0; false at the end. */
bool satchel_map_next(const struct satchel_map *map, size_t *index, struct satchel_span *key,
                      void **value);

#endif
