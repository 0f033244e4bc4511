/* Owns what devices give back to a node that was restored: entries that an earlier incarnation of
 * it had sent. Their receipts are believed, nothing else; then they are merged as change sets of
 * their authors, as they were judged and stamped then. Knows nothing of sessions. */
#include "incarnation.h"
#include "workspace_internal.h"

#include <satchel/mutation.h>
#include <sodium.h>

struct forwarding {
    struct satchel_workspace *workspace;
    struct satchel_job *job;
    struct incarnations known;
    struct satchel_incoming *incoming;
    struct satchel_incoming_outcome *outcomes;
};

static enum satchel_status not_proven(struct satchel_job *job, const struct satchel_entry *entry)
{
    char device[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&entry->device, device);
    return satchel_error_set(&job->error, SATCHEL_DENIED,
                             "change set %llu of device %s was given back without a right receipt: "
                             "this server never sent it so",
                             (unsigned long long)entry->number, device);
}

/* Whether this server sent the entry as incarnation `node`. */
static enum satchel_status check_receipt(struct forwarding *forwarding,
                                         const struct satchel_entry *entry,
                                         uint8_t hash[SATCHEL_HASH_BYTES])
{
    const struct satchel_id *node = &forwarding->job->request.forward.node;
    if (satchel_changeset_hash(entry->body, entry->secret, hash) != SATCHEL_OK)
        return not_proven(forwarding->job, entry);
    struct satchel_id receipt =
        satchel_entry_receipt(forwarding->known.secret, node, entry, hash, entry->notes);
    return sodium_memcmp(receipt.bytes, entry->receipt.bytes, sizeof receipt.bytes) == 0
               ? SATCHEL_OK
               : not_proven(forwarding->job, entry);
}

static enum satchel_status take(struct forwarding *forwarding, const struct satchel_entry *entry,
                                struct satchel_incoming *incoming)
{
    struct satchel_job *job = forwarding->job;
    struct satchel_store *store = forwarding->workspace->store;
    uint8_t *hash = satchel_arena_alloc(&job->arena, SATCHEL_HASH_BYTES);
    enum satchel_status status = hash ? check_receipt(forwarding, entry, hash) : SATCHEL_NOMEM;
    if (status == SATCHEL_OK)
        status = satchel_vector_unpack(entry->positions, &job->arena, &incoming->positions);
    if (status == SATCHEL_OK && entry->seq > 0)
        status = satchel_vector_raise(&job->arena, &incoming->positions, &job->request.forward.node,
                                      entry->seq, &incoming->positions);
    /* An author that joined after the moment to which this node was put back. */
    if (status == SATCHEL_OK)
        status = store->ops->add_device(store, &entry->device, entry->user, workspace_now_ms(),
                                        &job->error);
    if (status != SATCHEL_OK)
        return status;
    incoming->device = entry->device;
    incoming->user = entry->user;
    incoming->number = entry->number;
    incoming->stamp = entry->stamp;
    memcpy(incoming->secret, entry->secret, SATCHEL_SECRET_BYTES);
    incoming->body = entry->body;
    incoming->is_forwarded = true;
    incoming->quarantined = entry->notes;
    incoming->hash = hash;
    if (SATCHEL_MUTATED(no_positions))
        incoming->positions.count = 0;
    return SATCHEL_OK;
}

/* Whether the store has the entry where its receipt says that it was. */
static enum satchel_status is_in_place(struct forwarding *forwarding,
                                       const struct satchel_entry *entry, bool *out)
{
    struct satchel_job *job = forwarding->job;
    struct satchel_store *store = forwarding->workspace->store;
    struct satchel_entry held;
    *out = false;
    enum satchel_status status = satchel_store_load_change(store, &entry->device, entry->number,
                                                           &held, &job->arena, &job->error);
    if (status == SATCHEL_NOT_FOUND)
        return SATCHEL_OK;
    if (status == SATCHEL_OK)
        *out = held.seq == entry->seq &&
               satchel_id_equal(incarnation_at(&forwarding->known, held.cursor),
                                &forwarding->known.node);
    return status;
}

/* Whether the store was put back to an earlier moment by hand, without becoming another
 * incarnation: it has no such entry, or not there, but its receipt says that it sent it; or it
 * sent it as a later incarnation. */
static enum satchel_status proves_restore(struct forwarding *forwarding, bool *out)
{
    const struct satchel_message_forward *forward = &forwarding->job->request.forward;
    const struct incarnations *known = &forwarding->known;
    bool is_right = true;
    enum satchel_status status = SATCHEL_OK;
    *out = forwarding->job->is_outlived && satchel_vector_get(&known->lineage, &forward->node) == 0;
    if (!satchel_id_equal(&forward->node, &known->node))
        return SATCHEL_OK;
    for (uint32_t i = 0; i < forward->entry_count && is_right && status == SATCHEL_OK; i++)
        status = is_in_place(forwarding, &forward->entries[i], &is_right);
    *out = !is_right;
    return status;
}

/* Sessions of the old incarnation end: who is attached attaches to the new one. */
static enum satchel_status begin_incarnation(struct forwarding *forwarding)
{
    struct satchel_job *job = forwarding->job;
    struct satchel_workspace *workspace = forwarding->workspace;
    workspace_log(
        workspace,
        "workspace %s was put back to an earlier moment (entry %llu): it goes on as a new "
        "incarnation, and devices give back what it has lost",
        workspace->name, (unsigned long long)forwarding->known.cursor);
    job->is_renewed = true;
    return incarnation_begin(satchel_store_sqlite_db(workspace->store), &job->error);
}

/* What the node cannot take stays where it came from, and is told of: it was never only here. */
static uint64_t tell_refused(const struct forwarding *forwarding)
{
    uint64_t count = 0;
    const struct satchel_message_forward *forward = &forwarding->job->request.forward;
    for (uint32_t i = 0; i < forward->entry_count; i++)
        if (forwarding->outcomes[i].result == SATCHEL_INCOMING_REFUSED) {
            char device[SATCHEL_ID_TEXT_BYTES];
            satchel_id_text(&forward->entries[i].device, device);
            workspace_log(forwarding->workspace,
                          "change set %llu of device %s was given back and is not taken: %s",
                          (unsigned long long)forward->entries[i].number, device,
                          forwarding->outcomes[i].error.message);
            count++;
        }
    return count;
}

enum satchel_status forward_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    const struct satchel_message_forward *forward = &job->request.forward;
    struct satchel_store *store = workspace->store;
    struct forwarding forwarding = {.workspace = workspace, .job = job};
    uint32_t count = forward->entry_count;
    bool is_proof = false;
    forwarding.incoming = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_incoming, count);
    forwarding.outcomes = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_incoming_outcome, count);
    if (!forwarding.incoming || !forwarding.outcomes)
        return SATCHEL_NOMEM;
    enum satchel_status status =
        store->ops->load_incarnations(store, &job->arena, &forwarding.known, &job->error);
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++)
        status = take(&forwarding, &forward->entries[i], &forwarding.incoming[i]);
    if (status == SATCHEL_OK)
        status = proves_restore(&forwarding, &is_proof);
    if (status == SATCHEL_OK && is_proof)
        return begin_incarnation(&forwarding);
    if (status == SATCHEL_OK)
        status = satchel_merge_batch(store, forwarding.incoming, count, workspace_now_ms(),
                                     forwarding.outcomes, &job->error);
    if (status != SATCHEL_OK)
        return status;
    memset(&job->answers[0], 0, sizeof job->answers[0]);
    job->answers[0].kind = SATCHEL_MESSAGE_FORWARDED;
    job->answers[0].forwarded.entry_count = count;
    job->answers[0].forwarded.refused_count = tell_refused(&forwarding);
    job->answer_count = 1;
    return SATCHEL_OK;
}
