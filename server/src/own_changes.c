/* Owns how the server writes: as a device of its own, through the same merge as everybody. */
#include "own_changes.h"

#include "incarnation.h"

#include <sodium.h>

static enum satchel_status write_body(const struct satchel_store *store,
                                      const struct satchel_own_changeset *changes,
                                      const struct incarnations *known, struct satchel_buffer *body)
{
    struct satchel_changeset_header header = {
        .schema = store->schema ? store->schema->migration_count : 0,
        .seen = known->own,
        .role = changes->role,
        .part_count = changes->part_count,
    };
    if (changes->seen)
        header.seen = *changes->seen;
    enum satchel_status status = satchel_changeset_write_header(body, &header);
    for (uint32_t i = 0; status == SATCHEL_OK && i < changes->part_count; i++)
        status = satchel_changeset_write_part(body, &changes->parts[i]);
    return status;
}

enum satchel_status satchel_own_incoming(struct satchel_store *store,
                                         const struct satchel_own_changeset *changes,
                                         int64_t now_ms, struct satchel_arena *arena,
                                         struct satchel_incoming *out, struct satchel_error *error)
{
    struct satchel_store_head head;
    struct incarnations known;
    struct satchel_store_device device = {0};
    struct satchel_buffer body;
    struct satchel_span own_user = satchel_span_text(SATCHEL_SERVER_USER);
    memset(out, 0, sizeof *out);
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = store->ops->load_head(store, &head, error);
    if (status == SATCHEL_OK)
        status = store->ops->load_incarnations(store, arena, &known, error);
    if (status == SATCHEL_OK)
        status = store->ops->add_device(store, &head.node, own_user, now_ms, error);
    device.id = head.node;
    if (status == SATCHEL_OK)
        status = store->ops->load_devices(store, &device, 1, arena, error);
    if (status == SATCHEL_OK)
        status = write_body(store, changes, &known, &body);
    if (status == SATCHEL_OK) {
        out->device = head.node;
        out->user = changes->user.size > 0 ? changes->user : own_user;
        out->number = device.last_number + 1;
        out->stamp = satchel_stamp_next(head.stamp, now_ms);
        randombytes_buf(out->secret, sizeof out->secret);
        out->body = satchel_arena_copy(arena, satchel_buffer_span(&body));
        status = out->body.data ? SATCHEL_OK : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&body);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "a change set of the server could not be made");
    return status;
}

enum satchel_status satchel_own_merge(struct satchel_store *store,
                                      const struct satchel_own_changeset *changes, int64_t now_ms,
                                      struct satchel_arena *arena,
                                      struct satchel_incoming_outcome *outcome,
                                      struct satchel_error *error)
{
    struct satchel_incoming incoming;
    enum satchel_status status =
        satchel_own_incoming(store, changes, now_ms, arena, &incoming, error);
    if (status == SATCHEL_OK)
        status = satchel_merge_batch(store, &incoming, 1, now_ms, outcome, error);
    if (status == SATCHEL_OK && outcome->result != SATCHEL_INCOMING_MERGED)
        status = satchel_error_set(
            error, outcome->error.status ? outcome->error.status : SATCHEL_STATE,
            "the server's own change set was refused: %s", outcome->error.message);
    return status;
}

enum satchel_status satchel_quarantine_reason(struct satchel_store *store, uint64_t cursor,
                                              struct satchel_arena *arena, uint32_t *part,
                                              struct satchel_span *reason,
                                              struct satchel_error *error)
{
    struct satchel_entry entry;
    struct satchel_span timeline;
    struct satchel_notes notes;
    *part = 0;
    *reason = satchel_span_of(NULL, 0);
    enum satchel_status status =
        store->ops->load_entries(store, &cursor, 1, &entry, &timeline, arena, error);
    if (status == SATCHEL_OK)
        status = satchel_notes_read(entry.notes, arena, &notes);
    if (status != SATCHEL_OK)
        return satchel_error_default(error, status, "the notes of entry %llu cannot be read",
                                     (unsigned long long)cursor);
    if (notes.quarantined_count > 0) {
        *part = notes.quarantined[0].part;
        *reason = notes.quarantined[0].reason;
    }
    return SATCHEL_OK;
}
