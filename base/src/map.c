/* Open addressing with linear probing; deletion leaves a grave that the next growth sweeps. */
#include <satchel/map.h>

struct satchel_map_slot {
    struct satchel_span key;
    void *value; /* NULL with key.data set: a grave */
};

/* Each step is a bijection of the state, so that bytes of one length that differ in one word only
 * never meet before a part is cut from it. */
static uint64_t hash_word(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    return hash ^ hash >> 32;
}

uint64_t satchel_hash(uint64_t seed, struct satchel_span bytes)
{
    uint64_t hash = seed * 0x9e3779b97f4a7c15u + bytes.size, word;
    size_t at = 0;
    for (; bytes.size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, bytes.data + at, sizeof word);
        hash = hash_word(hash, word);
    }
    word = 0;
    if (at < bytes.size)
        memcpy(&word, bytes.data + at, bytes.size - at);
    return at < bytes.size ? hash_word(hash, word) : hash;
}

void satchel_map_init(struct satchel_map *map, size_t count_max,
                      const struct satchel_allocator *allocator)
{
    memset(map, 0, sizeof *map);
    map->count_max = count_max;
    map->allocator = allocator;
    satchel_arena_init(&map->keys, SIZE_MAX / 2, allocator);
}

void satchel_map_deinit(struct satchel_map *map)
{
    satchel_free(map->allocator, map->slots);
    satchel_arena_deinit(&map->keys);
    map->slots = NULL;
    map->count = map->capacity = 0;
}

void satchel_map_clear(struct satchel_map *map)
{
    if (map->slots)
        memset(map->slots, 0, map->capacity * sizeof *map->slots);
    map->count = 0;
    satchel_arena_reset(&map->keys);
}

static struct satchel_map_slot *find(const struct satchel_map *map, struct satchel_span key)
{
    if (map->capacity == 0)
        return NULL;
    size_t index = (size_t)satchel_hash(0, key) & (map->capacity - 1);
    while (map->slots[index].key.data) {
        if (satchel_span_equal(map->slots[index].key, key))
            return &map->slots[index];
        index = (index + 1) & (map->capacity - 1);
    }
    return &map->slots[index];
}

void *satchel_map_get(const struct satchel_map *map, struct satchel_span key)
{
    struct satchel_map_slot *slot = find(map, key);
    return slot && slot->key.data ? slot->value : NULL;
}

static enum satchel_status grow(struct satchel_map *map)
{
    /* count includes graves; live entries are moved and graves dropped. */
    struct satchel_map old = *map;
    map->capacity = old.capacity ? old.capacity * 2 : 64;
    map->slots = satchel_alloc_zero(map->allocator, map->capacity * sizeof *map->slots);
    if (!map->slots) {
        *map = old;
        return SATCHEL_NOMEM;
    }
    map->count = 0;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].value) {
            *find(map, old.slots[i].key) = old.slots[i];
            map->count++;
        }
    }
    satchel_free(map->allocator, old.slots);
    return SATCHEL_OK;
}

enum satchel_status satchel_map_put(struct satchel_map *map, struct satchel_span key, void *value)
{
    struct satchel_map_slot *slot = find(map, key);
    if (slot && slot->key.data) {
        slot->value = value;
        return SATCHEL_OK;
    }
    if (map->count >= map->count_max)
        return SATCHEL_LIMIT;
    if ((map->count + 1) * 4 > map->capacity * 3) {
        enum satchel_status status = grow(map);
        if (status != SATCHEL_OK)
            return status;
        slot = find(map, key);
    }
    struct satchel_span copy = satchel_arena_copy(&map->keys, key);
    if (!copy.data)
        return SATCHEL_NOMEM;
    slot->key = copy;
    slot->value = value;
    map->count++;
    return SATCHEL_OK;
}

void *satchel_map_remove(struct satchel_map *map, struct satchel_span key)
{
    struct satchel_map_slot *slot = find(map, key);
    if (!slot || !slot->key.data)
        return NULL;
    void *value = slot->value;
    slot->value = NULL;
    return value;
}

bool satchel_map_next(const struct satchel_map *map, size_t *index, struct satchel_span *key,
                      void **value)
{
    for (; *index < map->capacity; (*index)++) {
        const struct satchel_map_slot *slot = &map->slots[*index];
        if (slot->value) {
            if (key)
                *key = slot->key;
            *value = slot->value;
            (*index)++;
            return true;
        }
    }
    return false;
}
