/* Owns the devices that a batch meets: those it is of and those it finds in timelines and
 * conflicts; who uses them, and what each is a copy of. */
#include "merge_internal.h"

static struct satchel_span key_of(const struct satchel_id *id)
{
    return satchel_span_of(id->bytes, sizeof id->bytes);
}

static enum satchel_status keep(struct merge_batch *batch, struct satchel_store_device *device)
{
    return satchel_map_put(&batch->known_devices, key_of(&device->id), device);
}

/* Without its ancestors. */
static enum satchel_status get_alone(struct merge_batch *batch, const struct satchel_id *id,
                                     struct satchel_store_device **out)
{
    struct satchel_store_device *device = satchel_map_get(&batch->known_devices, key_of(id));
    enum satchel_status status = SATCHEL_OK;
    *out = device;
    if (device)
        return SATCHEL_OK;
    *out = device = satchel_arena_alloc_zero(&batch->arena, sizeof *device);
    if (!device)
        return SATCHEL_NOMEM;
    device->id = *id;
    status = batch->store->ops->load_devices(batch->store, device, 1, &batch->arena, batch->error);
    if (status == SATCHEL_NOT_FOUND)
        status = SATCHEL_OK;
    return status == SATCHEL_OK ? keep(batch, device) : status;
}

/* A copy continues the numbers of what it was copied from, so that each parent's last common number
 * is below the next one's. Ancestors beyond what a vector holds are no ancestors. */
static enum satchel_status find_ancestors(struct merge_batch *batch,
                                          struct satchel_store_device *device)
{
    struct satchel_store_device *copy = device;
    enum satchel_status status = SATCHEL_OK;
    if (device->ancestors.count > 0)
        return SATCHEL_OK;
    for (int i = 0;
         status == SATCHEL_OK && !satchel_id_is_zero(&copy->parent) && i < SATCHEL_VECTOR_COUNT_MAX;
         i++) {
        status = satchel_vector_raise(&batch->arena, &device->ancestors, &copy->parent,
                                      copy->parent_number, &device->ancestors);
        if (status == SATCHEL_OK)
            status = get_alone(batch, &copy->parent, &copy);
    }
    return status;
}

enum satchel_status merge_device_get(struct merge_batch *batch, const struct satchel_id *id,
                                     const struct satchel_store_device **out)
{
    struct satchel_store_device *device;
    enum satchel_status status = get_alone(batch, id, &device);
    *out = device;
    return status == SATCHEL_OK ? find_ancestors(batch, device) : status;
}

enum satchel_status merge_devices_load(struct merge_batch *batch,
                                       const struct satchel_incoming *incoming, size_t count)
{
    batch->devices = SATCHEL_ARENA_ARRAY(&batch->arena, struct satchel_store_device, count);
    if (!batch->devices)
        return SATCHEL_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (satchel_map_get(&batch->known_devices, key_of(&incoming[i].device)))
            continue;
        struct satchel_store_device *device = &batch->devices[batch->device_count++];
        *device = (struct satchel_store_device){.id = incoming[i].device};
        enum satchel_status status = keep(batch, device);
        if (status != SATCHEL_OK)
            return status;
    }
    enum satchel_status status = batch->store->ops->load_devices(
        batch->store, batch->devices, batch->device_count, &batch->arena, batch->error);
    for (size_t i = 0; status == SATCHEL_OK && i < batch->device_count; i++)
        status = find_ancestors(batch, &batch->devices[i]);
    return status;
}
