/* Owns vectors of positions. Knows nothing of rows: what a write saw of a row is view.c. */
#include <satchel/causality.h>

/* The index of the first component whose node is not below `node`. */
static size_t lower_bound(const struct satchel_vector *vector, const struct satchel_id *node)
{
    size_t low = 0, high = vector->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (satchel_id_compare(&vector->items[middle].node, node) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t satchel_vector_get(const struct satchel_vector *vector, const struct satchel_id *node)
{
    size_t index = lower_bound(vector, node);
    if (index < vector->count && satchel_id_equal(&vector->items[index].node, node))
        return vector->items[index].seq;
    return 0;
}

bool satchel_vector_covers(const struct satchel_vector *vector,
                           const struct satchel_vector *positions)
{
    for (size_t i = 0; i < positions->count; i++)
        if (positions->items[i].seq != 0 &&
            satchel_vector_get(vector, &positions->items[i].node) >= positions->items[i].seq)
            return true;
    return false;
}

bool satchel_vector_includes(const struct satchel_vector *vector,
                             const struct satchel_vector *other)
{
    for (size_t i = 0; i < other->count; i++)
        if (satchel_vector_get(vector, &other->items[i].node) < other->items[i].seq)
            return false;
    return true;
}

enum satchel_status satchel_vector_raise(struct satchel_arena *arena,
                                         const struct satchel_vector *vector,
                                         const struct satchel_id *node, uint64_t seq,
                                         struct satchel_vector *out)
{
    size_t index = lower_bound(vector, node);
    bool is_present = index < vector->count && satchel_id_equal(&vector->items[index].node, node);
    bool is_new = !is_present && seq != 0;
    if (is_new && vector->count >= SATCHEL_VECTOR_COUNT_MAX)
        return SATCHEL_LIMIT;

    size_t count = vector->count + (is_new ? 1 : 0);
    struct satchel_position *items = SATCHEL_ARENA_ARRAY(arena, struct satchel_position, count);
    if (!items)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < vector->count; i++)
        items[i + (is_new && i >= index ? 1 : 0)] = vector->items[i];
    if (is_new)
        items[index] = (struct satchel_position){*node, seq};
    else if (is_present && items[index].seq < seq)
        items[index].seq = seq;
    out->items = items;
    out->count = count;
    return SATCHEL_OK;
}
