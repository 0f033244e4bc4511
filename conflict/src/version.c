/* Owns the version of a row in memory: making, copying, and the sorted array of unit records. Its
 * stored form is version_encode.c and version_decode.c. */
#include "merge.h"

struct satchel_version *satchel_version_new(struct satchel_arena *arena)
{
    return satchel_arena_alloc_zero(arena, sizeof(struct satchel_version));
}

uint64_t satchel_version_timeline(const struct satchel_version *version)
{
    return version->timeline;
}

void satchel_version_set_timeline(struct satchel_version *version, uint64_t cursor)
{
    version->timeline = cursor;
}

struct satchel_version *merge_version_copy(struct satchel_arena *arena,
                                           const struct satchel_version *version)
{
    struct satchel_version *copy = satchel_version_new(arena);
    if (!copy)
        return NULL;
    *copy = *version;
    copy->unit_capacity = version->unit_count;
    if (version->unit_count) {
        copy->units = SATCHEL_ARENA_ARRAY(arena, struct merge_unit, version->unit_count);
        if (!copy->units)
            return NULL;
        memcpy(copy->units, version->units, version->unit_count * sizeof *copy->units);
    }
    return copy;
}

/* The index of the first record not below `unit`. */
static uint32_t lower_bound(const struct satchel_version *version, uint32_t unit)
{
    uint32_t low = 0, high = version->unit_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (version->units[middle].unit < unit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct merge_unit *merge_version_find(const struct satchel_version *version, uint32_t unit)
{
    uint32_t index = lower_bound(version, unit);
    return index < version->unit_count && version->units[index].unit == unit
               ? &version->units[index]
               : NULL;
}

static enum satchel_status grow(struct satchel_version *version, struct satchel_arena *arena)
{
    uint32_t capacity = version->unit_capacity < 4 ? 8 : version->unit_capacity * 2;
    struct merge_unit *units = SATCHEL_ARENA_ARRAY(arena, struct merge_unit, capacity);
    if (!units)
        return SATCHEL_NOMEM;
    if (version->unit_count)
        memcpy(units, version->units, version->unit_count * sizeof *units);
    version->units = units;
    version->unit_capacity = capacity;
    return SATCHEL_OK;
}

enum satchel_status merge_version_put(struct satchel_version *version, struct satchel_arena *arena,
                                      const struct merge_unit *unit)
{
    uint32_t index = lower_bound(version, unit->unit);
    if (index < version->unit_count && version->units[index].unit == unit->unit) {
        version->units[index] = *unit;
        return SATCHEL_OK;
    }
    if (version->unit_count == version->unit_capacity) {
        enum satchel_status status = grow(version, arena);
        if (status != SATCHEL_OK)
            return status;
    }
    memmove(version->units + index + 1, version->units + index,
            (version->unit_count - index) * sizeof *version->units);
    version->units[index] = *unit;
    version->unit_count++;
    return SATCHEL_OK;
}

void merge_version_drop(struct satchel_version *version, uint32_t unit)
{
    uint32_t index = lower_bound(version, unit);
    if (index == version->unit_count || version->units[index].unit != unit)
        return;
    version->unit_count--;
    memmove(version->units + index, version->units + index + 1,
            (version->unit_count - index) * sizeof *version->units);
}

const struct merge_write *merge_write_keep(struct satchel_arena *arena,
                                           const struct satchel_write *write)
{
    struct merge_write *kept = satchel_arena_alloc_zero(arena, sizeof *kept);
    if (!kept)
        return NULL;
    kept->order = write->order;
    kept->member = write->member;
    kept->is_insert = write->kind == SATCHEL_OP_INSERT;
    if (write->role.size) {
        kept->role = satchel_arena_copy(arena, write->role);
        if (!kept->role.data)
            return NULL;
    }
    if (write->positions.count) {
        struct satchel_position *items =
            SATCHEL_ARENA_ARRAY(arena, struct satchel_position, write->positions.count);
        if (!items)
            return NULL;
        memcpy(items, write->positions.items, write->positions.count * sizeof *items);
        kept->positions = (struct satchel_vector){items, write->positions.count};
    }
    return kept;
}

/* ---- positions that become known later ---- */

struct reposition {
    const struct satchel_id *device;
    uint64_t number;
    const struct satchel_vector *positions;
    bool is_kept;
};

/* The writes of a version that was decoded are its own: nobody else looks at them. */
static void reposition_write(struct reposition *what, const struct merge_write *write)
{
    if (!write || write->order.number != what->number ||
        !satchel_id_equal(&write->order.device, what->device))
        return;
    ((struct merge_write *)(uintptr_t)write)->positions = *what->positions;
    what->is_kept = true;
}

static void reposition_heads(struct reposition *what, const struct merge_head *heads,
                             uint32_t head_count)
{
    for (uint32_t i = 0; i < head_count; i++) {
        reposition_write(what, heads[i].write);
        for (uint32_t j = 0; j < heads[i].top_count; j++)
            reposition_write(what, heads[i].tops[j].write);
    }
}

static void reposition_unit(struct reposition *what, const struct merge_unit *unit)
{
    reposition_heads(what, unit->heads, unit->head_count);
    reposition_heads(what, unit->candidates, unit->candidate_count);
    for (uint32_t i = 0; i < unit->item_count; i++)
        for (uint32_t j = 0; j < unit->items[i].entry_count; j++)
            reposition_write(what, unit->items[i].entries[j].write);
}

bool satchel_version_reposition(struct satchel_version *version, const struct satchel_id *device,
                                uint64_t number, const struct satchel_vector *positions)
{
    struct reposition what = {device, number, positions, false};
    reposition_write(&what, version->base);
    for (uint32_t i = 0; i < version->unit_count; i++)
        reposition_unit(&what, &version->units[i]);
    for (uint32_t i = 0; i < version->delete_count; i++)
        reposition_write(&what, version->deletes[i]);
    reposition_write(&what, version->survivor);
    for (uint32_t i = 0; i < version->duplicate_count; i++) {
        reposition_write(&what, version->duplicates[i].write);
        reposition_write(&what, version->duplicates[i].winner);
    }
    return what.is_kept;
}
