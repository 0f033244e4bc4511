/* Owns the admission of change sets to the merge: numbers, hashes, stamps, and what is told the
 * caller.
 *
 * ## The stamp
 *
 * The first node fixes it: a stamp above the node's time is clamped to it, and it always exceeds
 * the device's previous one. Clamping could bring a write to or below what its author had seen; so
 * a clamped stamp also exceeds the greatest one held here, which covers all that anybody can have
 * been shown. A stamp that needs no clamping already exceeds what the device had seen: the device
 * sees to that. */
#include "merge_internal.h"

#include <satchel/mutation.h>
#include <sodium.h>

/* The change set of this batch that has its device and number; NULL: none. */
static struct merge_changeset *find_admitted(struct merge_batch *batch,
                                             const struct satchel_incoming *incoming)
{
    for (size_t i = batch->changeset_count; i-- > 0;) {
        struct merge_changeset *other = &batch->changesets[i];
        if (other->incoming->number == incoming->number &&
            satchel_id_equal(&other->incoming->device, &incoming->device))
            return other;
    }
    return NULL;
}

/* What follows of the device in the batch is refused, too: it was written behind this one, and the
 * number may have been given to another one meanwhile, behind which it would be in turn. */
static void refuse(struct satchel_store_device *device, struct satchel_incoming_outcome *outcome)
{
    outcome->result = SATCHEL_INCOMING_REFUSED;
    device->is_refused = true;
}

static void refuse_copy(struct satchel_store_device *device,
                        const struct satchel_incoming *incoming,
                        struct satchel_incoming_outcome *outcome)
{
    refuse(device, outcome);
    satchel_error_set(&outcome->error, SATCHEL_MISMATCH,
                      "this replica is a copy: the server holds another change set number %llu of "
                      "its device; sync again, and it goes on as a device of its own",
                      (unsigned long long)incoming->number);
}

/* What is given back is held again, with everything that incarnation had put before it: from here
 * on it is one of this node's, and so is what it wrote itself (incarnation_is_own). */
static enum satchel_status hold_positions(struct merge_batch *batch,
                                          const struct satchel_incoming *incoming)
{
    enum satchel_status status = SATCHEL_OK;
    batch->known.has_positions = batch->known.has_positions || incoming->positions.count > 0;
    if (SATCHEL_MUTATED(no_held))
        return SATCHEL_OK;
    for (size_t i = 0; i < incoming->positions.count && status == SATCHEL_OK; i++)
        status = satchel_vector_raise(&batch->arena, &batch->known.held,
                                      &incoming->positions.items[i].node,
                                      incoming->positions.items[i].seq, &batch->known.held);
    return status;
}

/* Of a change set that is here, or will be with this batch. */
static enum satchel_status take_positions(struct merge_batch *batch,
                                          const struct satchel_incoming *incoming,
                                          struct merge_changeset *admitted)
{
    enum satchel_status status = hold_positions(batch, incoming);
    if (!admitted && incoming->is_forwarded)
        batch->again[batch->again_count++] = incoming;
    for (size_t i = 0; admitted && i < incoming->positions.count && status == SATCHEL_OK; i++)
        status = satchel_vector_raise(&batch->arena, &admitted->earlier,
                                      &incoming->positions.items[i].node,
                                      incoming->positions.items[i].seq, &admitted->earlier);
    return status;
}

/* A number held already: the same change set again, or a copied replica. */
static enum satchel_status admit_again(struct merge_batch *batch,
                                       const struct satchel_incoming *incoming,
                                       struct satchel_store_device *device,
                                       const uint8_t hash[SATCHEL_HASH_BYTES],
                                       struct satchel_incoming_outcome *outcome)
{
    uint8_t held[SATCHEL_HASH_BYTES];
    struct merge_changeset *admitted = find_admitted(batch, incoming);
    enum satchel_status status = SATCHEL_OK;
    if (admitted)
        memcpy(held, admitted->hash, sizeof held);
    else
        status = batch->store->ops->load_hash(batch->store, &incoming->device, incoming->number,
                                              held, batch->error);
    if (status == SATCHEL_OK && sodium_memcmp(held, hash, SATCHEL_HASH_BYTES) == 0) {
        outcome->result = SATCHEL_INCOMING_DUPLICATE;
        return take_positions(batch, incoming, admitted);
    }
    if (status != SATCHEL_OK && status != SATCHEL_NOT_FOUND)
        return status;
    refuse_copy(device, incoming, outcome);
    return SATCHEL_OK;
}

static satchel_stamp fix_stamp(struct merge_batch *batch, const struct satchel_incoming *incoming,
                               const struct satchel_store_device *device)
{
    satchel_stamp stamp = incoming->stamp;
    if (incoming->is_forwarded)
        return stamp;
    satchel_stamp now = satchel_stamp_from_ms(batch->now_ms) | 0xffff;
    if (stamp > now) {
        stamp = now;
        if (stamp <= batch->head.stamp)
            stamp = batch->head.stamp + 1;
    }
    if (stamp <= device->last_stamp)
        stamp = device->last_stamp + 1;
    return stamp;
}

/* Heads are enough only where nobody has seen what is still to come. The present incarnation knows
 * what it has given; of an earlier one something may be lost for good, and nobody waits for it. */
static bool is_in_future(const struct merge_batch *batch, const struct satchel_vector *seen)
{
    return satchel_vector_get(seen, &batch->known.node) > batch->known.seq;
}

/* Whether any part claims to have been shown what the node has yet to give a position. */
static bool saw_future(const struct merge_batch *batch, const struct satchel_changeset *content)
{
    if (is_in_future(batch, &content->header.seen))
        return true;
    for (uint32_t p = 0; p < content->header.part_count; p++)
        for (uint32_t i = 0; i < content->parts[p].exception_count; i++)
            if (is_in_future(batch, &content->parts[p].exceptions[i].view.vector))
                return true;
    return false;
}

static enum satchel_status admit(struct merge_batch *batch, const struct satchel_incoming *incoming,
                                 struct satchel_incoming_outcome *outcome)
{
    struct satchel_store_device *device = satchel_map_get(
        &batch->known_devices, satchel_span_of(incoming->device.bytes, sizeof incoming->device));
    struct merge_changeset *changeset = &batch->changesets[batch->changeset_count];
    memset(changeset, 0, sizeof *changeset);
    enum satchel_status status = satchel_changeset_decode(incoming->body, &batch->arena,
                                                          &changeset->content, &outcome->error);
    if (status == SATCHEL_OK && incoming->hash)
        memcpy(changeset->hash, incoming->hash, sizeof changeset->hash);
    else if (status == SATCHEL_OK)
        status = satchel_changeset_hash(incoming->body, incoming->secret, changeset->hash);
    if (status == SATCHEL_NOMEM)
        return status;
    if (status != SATCHEL_OK) {
        refuse(device, outcome);
        satchel_error_default(&outcome->error, status, "change set %llu is malformed",
                              (unsigned long long)incoming->number);
        return SATCHEL_OK;
    }
    if (incoming->is_copys) {
        refuse_copy(device, incoming, outcome);
        return SATCHEL_OK;
    }
    if (incoming->number <= device->last_number && incoming->number > 0)
        return admit_again(batch, incoming, device, changeset->hash, outcome);
    if (incoming->number != device->last_number + 1) {
        refuse(device, outcome);
        satchel_error_set(&outcome->error, SATCHEL_STATE,
                          "change set %llu is out of turn: the next one of this device is %llu",
                          (unsigned long long)incoming->number,
                          (unsigned long long)device->last_number + 1);
        return SATCHEL_OK;
    }
    if (device->is_refused && !incoming->is_forwarded) {
        refuse(device, outcome);
        satchel_error_set(&outcome->error, SATCHEL_AGAIN,
                          "change set %llu comes behind one that was refused: sync again",
                          (unsigned long long)incoming->number);
        return SATCHEL_OK;
    }
    if (saw_future(batch, &changeset->content)) {
        refuse(device, outcome);
        satchel_error_set(&outcome->error, SATCHEL_CORRUPT,
                          "change set %llu claims to have seen changes that this server does not "
                          "hold",
                          (unsigned long long)incoming->number);
        return SATCHEL_OK;
    }
    status = hold_positions(batch, incoming);
    if (status != SATCHEL_OK)
        return status;
    changeset->incoming = incoming;
    changeset->earlier = incoming->positions;
    changeset->outcome = outcome;
    changeset->device = device;
    changeset->ancestors = device->ancestors;
    changeset->stamp = fix_stamp(batch, incoming, device);
    device->last_number = incoming->number;
    if (changeset->stamp > device->last_stamp)
        device->last_stamp = changeset->stamp;
    if (changeset->stamp > batch->head.stamp)
        batch->head.stamp = changeset->stamp;
    batch->changeset_count++;
    return merge_check_parts(batch, changeset);
}

/* One change set, again and again until the schema refuses none of its rows: each time at least one
 * part more is set aside, usually all of them the first time. */
static enum satchel_status run_alone(struct merge_batch *batch, size_t index)
{
    uint32_t tries = batch->changesets[index].content.header.part_count + 1;
    enum satchel_status status = SATCHEL_REFUSED;
    while (status == SATCHEL_REFUSED && tries-- > 0)
        status = merge_run_stretch(batch, index, 1);
    if (status == SATCHEL_REFUSED)
        status = satchel_error_set(batch->error, SATCHEL_SQL,
                                   "the schema refuses a row that no part of the change set wrote");
    return status;
}

/* Whether the change set writes a row of a table with constraints that one since the last clear of
 * `rows` wrote too; its own are added to them. */
static enum satchel_status meets_again(struct merge_changeset *changeset,
                                       struct satchel_buffer *name, struct satchel_map *rows,
                                       bool *meets)
{
    *meets = false;
    for (uint32_t p = 0; p < changeset->content.header.part_count; p++) {
        const struct satchel_part *part = &changeset->content.parts[p];
        if (!changeset->parts[p].table || !changeset->parts[p].table->may_refuse)
            continue;
        satchel_buffer_clear(name);
        enum satchel_status status =
            satchel_row_name(name, part->table, part->key, part->key_count);
        if (status != SATCHEL_OK)
            return status;
        const void *writer = satchel_map_get(rows, satchel_buffer_span(name));
        *meets = *meets || (writer && writer != changeset);
        status = satchel_map_put(rows, satchel_buffer_span(name), changeset);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

bool merge_feeds_machines(const struct merge_batch *batch, const struct merge_part *part)
{
    return part->table && !part->reason.data && batch->feeds_machines[part->table->number - 1];
}

/* What a change set does to the machines is judged before the next one is merged. */
static bool is_for_itself(const struct merge_batch *batch, const struct merge_changeset *changeset)
{
    for (uint32_t p = 0; p < changeset->content.header.part_count; p++)
        if (merge_feeds_machines(batch, &changeset->parts[p]))
            return true;
    return false;
}

/* How many change sets from `first` on may share a run. SQLite judges a row when the run writes it,
 * and a replica after every entry: so each row that SQLite may refuse is written by one change set
 * of a run, or a value that a later one mends would be in an entry that no replica can apply. */
static enum satchel_status stretch_of(struct merge_batch *batch, size_t first, size_t *count)
{
    struct satchel_buffer name;
    struct satchel_map rows;
    enum satchel_status status = SATCHEL_OK;
    bool meets = false;
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_map_init(&rows, MERGE_ROWS_MAX, NULL);
    *count = 0;
    if (is_for_itself(batch, &batch->changesets[first]))
        *count = 1;
    meets = *count == 1;
    while (status == SATCHEL_OK && !meets && first + *count < batch->changeset_count) {
        if (is_for_itself(batch, &batch->changesets[first + *count]))
            break;
        status = meets_again(&batch->changesets[first + *count], &name, &rows, &meets);
        *count += !meets;
    }
    satchel_map_deinit(&rows);
    satchel_buffer_deinit(&name);
    return status;
}

/* What the schema says about rows that depend on others. */
static enum satchel_status learn_schema(struct merge_batch *batch)
{
    const struct satchel_schema *schema = batch->store->schema;
    uint32_t count = schema ? schema->table_count : 0;
    batch->freezes_others = SATCHEL_ARENA_ARRAY(&batch->arena, bool, count + 1);
    batch->feeds_machines = SATCHEL_ARENA_ARRAY(&batch->arena, bool, count + 1);
    if (!batch->freezes_others || !batch->feeds_machines)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const struct satchel_table *table = &schema->tables[i];
        batch->has_keys = batch->has_keys || table->rules.has_keys;
        if (!table->rules.is_frozen_by_parent || table->parent == SATCHEL_NO_REFERENCE)
            continue;
        uint32_t target = schema->references[table->parent].target;
        for (uint32_t t = 0; t < count; t++) /* 0: any table, by the row's own word */
            if (target == 0 || target == t + 1)
                batch->freezes_others[t] = true;
    }
    if (!schema || schema->machine_count == 0)
        return SATCHEL_OK;
    return batch->store->ops->machine_tables(batch->store, batch->feeds_machines, batch->error);
}

static enum satchel_status run_all(struct merge_batch *batch)
{
    enum satchel_status status = SATCHEL_OK;
    size_t count;
    for (size_t first = 0; status == SATCHEL_OK && first < batch->changeset_count; first += count) {
        status = stretch_of(batch, first, &count);
        if (status != SATCHEL_OK)
            return status;
        status = count > 1 ? merge_run_stretch(batch, first, count) : SATCHEL_REFUSED;
        if (status != SATCHEL_REFUSED)
            continue;
        status = SATCHEL_OK;
        for (size_t i = first; status == SATCHEL_OK && i < first + count; i++)
            status = run_alone(batch, i);
    }
    return status;
}

enum satchel_status merge_batch_run(struct satchel_store *store,
                                    const struct satchel_incoming *incoming, size_t count,
                                    int64_t now_ms, struct satchel_incoming_outcome *outcomes,
                                    struct merge_unnumbered *unnumbered,
                                    struct satchel_error *error)
{
    struct merge_batch batch = {
        .store = store, .now_ms = now_ms, .unnumbered = unnumbered, .error = error};
    satchel_arena_init(&batch.arena, MERGE_ARENA_BYTES_MAX, NULL);
    satchel_map_init(&batch.known_devices, MERGE_ROWS_MAX, NULL);
    satchel_map_init(&batch.newcomers, MERGE_ROWS_MAX, NULL);
    memset(outcomes, 0, count * sizeof *outcomes);
    enum satchel_status status = store->ops->load_head(store, &batch.head, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    status = store->ops->load_incarnations(store, &batch.arena, &batch.known, error);
    if (status != SATCHEL_OK)
        goto cleanup;
    batch.again = SATCHEL_ARENA_ARRAY(&batch.arena, const struct satchel_incoming *, count);
    batch.changesets = SATCHEL_ARENA_ARRAY(&batch.arena, struct merge_changeset, count);
    status = batch.changesets && batch.again ? merge_devices_load(&batch, incoming, count)
                                             : SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = learn_schema(&batch);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++)
        status = admit(&batch, &incoming[i], &outcomes[i]);
    if (status == SATCHEL_OK && batch.again_count > 0)
        status = merge_positions_add(&batch);
    if (status == SATCHEL_OK)
        status = run_all(&batch);
    if (status == SATCHEL_OK && batch.changeset_count > 0)
        status = store->ops->write_devices(store, batch.devices, batch.device_count, error);
    if (status == SATCHEL_OK && batch.changeset_count > 0)
        status = store->ops->write_head(store, &batch.head, error);
cleanup:
    satchel_map_deinit(&batch.newcomers);
    satchel_map_deinit(&batch.known_devices);
    satchel_arena_deinit(&batch.arena);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "the batch could not be merged");
    return status;
}

enum satchel_status satchel_merge_batch(struct satchel_store *store,
                                        const struct satchel_incoming *batch, size_t count,
                                        int64_t now_ms, struct satchel_incoming_outcome *outcomes,
                                        struct satchel_error *error)
{
    struct satchel_arena arena;
    struct merge_unnumbered unnumbered = {.arena = &arena};
    bool gives_numbers = store->schema && store->schema->defines_numbers;
    satchel_arena_init(&arena, MERGE_ARENA_BYTES_MAX, NULL);
    satchel_map_init(&unnumbered.by_name, MERGE_ROWS_MAX, NULL);
    enum satchel_status status = merge_batch_run(store, batch, count, now_ms, outcomes,
                                                 gives_numbers ? &unnumbered : NULL, error);
    if (status == SATCHEL_OK && unnumbered.count > 0)
        status = merge_give_numbers(store, &unnumbered, now_ms, error);
    satchel_map_deinit(&unnumbered.by_name);
    satchel_arena_deinit(&arena);
    return status;
}
