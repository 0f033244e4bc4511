/* Owns what devices give back to a node that was restored: entries that an earlier incarnation of
 * it had sent. Their receipts are believed, nothing else; then they are merged as change sets of
 * their authors, as they were judged and stamped then. Knows nothing of sessions. */
#include "incarnation.h"
#include "lines.h"

#include <satchel/mutation.h>
#include <sodium.h>

struct forwarding {
    struct satchel_workspace *workspace;
    struct satchel_job *job;
    struct incarnations known;
    struct lines lines;
    uint8_t (*hashes)[SATCHEL_HASH_BYTES];
    /* Those that have a place here, and which entries they are. */
    struct satchel_incoming *incoming;
    struct satchel_incoming_outcome *outcomes;
    uint32_t *indexes;
    uint32_t count;
    uint64_t refused_count;
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

static enum satchel_status check_receipts(struct forwarding *forwarding)
{
    const struct satchel_message_forward *forward = &forwarding->job->request.forward;
    enum satchel_status status = SATCHEL_OK;
    forwarding->hashes = satchel_arena_alloc(&forwarding->job->arena,
                                             (size_t)forward->entry_count * SATCHEL_HASH_BYTES);
    if (!forwarding->hashes)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < forward->entry_count && status == SATCHEL_OK; i++)
        status = check_receipt(forwarding, &forward->entries[i], forwarding->hashes[i]);
    return status;
}

/* What the node cannot take stays where it came from, and is told of: it was never only here. */
static void refuse(struct forwarding *forwarding, const struct satchel_entry *entry,
                   const char *reason)
{
    char device[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&entry->device, device);
    workspace_log(forwarding->workspace,
                  "change set %llu of device %s was given back and is not taken: %s",
                  (unsigned long long)entry->number, device, reason);
    forwarding->refused_count++;
}

/* The session's own device is a copy, if the line in which its change set is here is another's. */
static enum satchel_status note_copy(struct forwarding *forwarding,
                                     const struct satchel_entry *entry,
                                     const struct satchel_id *device)
{
    struct satchel_job *job = forwarding->job;
    struct satchel_id author = job->device;
    if (!satchel_id_equal(&entry->device, &job->device))
        return SATCHEL_OK;
    enum satchel_status status = line_author(satchel_store_sqlite_db(forwarding->workspace->store),
                                             &author, entry->number, &job->error);
    job->is_copy = job->is_copy || !satchel_id_equal(&author, device);
    return status;
}

static enum satchel_status take(struct forwarding *forwarding, uint32_t index)
{
    struct satchel_job *job = forwarding->job;
    const struct satchel_entry *entry = &job->request.forward.entries[index];
    struct satchel_incoming *incoming = &forwarding->incoming[forwarding->count];
    bool is_placed = false;
    enum satchel_status status = lines_place(&forwarding->lines, entry, forwarding->hashes[index],
                                             &incoming->device, &is_placed);
    if (status == SATCHEL_OK && !is_placed)
        refuse(forwarding, entry, "what its author committed before it is not here");
    if (status != SATCHEL_OK || !is_placed)
        return status;
    status = note_copy(forwarding, entry, &incoming->device);
    if (status == SATCHEL_OK)
        status = satchel_vector_unpack(entry->positions, &job->arena, &incoming->positions);
    if (status == SATCHEL_OK && entry->seq > 0)
        status = satchel_vector_raise(&job->arena, &incoming->positions, &job->request.forward.node,
                                      entry->seq, &incoming->positions);
    if (status != SATCHEL_OK)
        return status;
    incoming->user = entry->user;
    incoming->number = entry->number;
    incoming->stamp = entry->stamp;
    memcpy(incoming->secret, entry->secret, SATCHEL_SECRET_BYTES);
    incoming->body = entry->body;
    incoming->is_forwarded = true;
    incoming->quarantined = entry->notes;
    incoming->hash = forwarding->hashes[index];
    if (SATCHEL_MUTATED(no_positions))
        incoming->positions.count = 0;
    forwarding->indexes[forwarding->count++] = index;
    return SATCHEL_OK;
}

static enum satchel_status take_all(struct forwarding *forwarding)
{
    struct satchel_job *job = forwarding->job;
    uint32_t count = job->request.forward.entry_count;
    forwarding->incoming = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_incoming, count);
    forwarding->outcomes = SATCHEL_ARENA_ARRAY(&job->arena, struct satchel_incoming_outcome, count);
    forwarding->indexes = SATCHEL_ARENA_ARRAY(&job->arena, uint32_t, count);
    if (!forwarding->incoming || !forwarding->outcomes || !forwarding->indexes)
        return SATCHEL_NOMEM;
    enum satchel_status status = SATCHEL_OK;
    lines_init(&forwarding->lines, forwarding->workspace, &job->arena, &job->error);
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++)
        status = take(forwarding, i);
    lines_deinit(&forwarding->lines);
    return status;
}

static enum satchel_status merge(struct forwarding *forwarding)
{
    struct satchel_job *job = forwarding->job;
    enum satchel_status status = SATCHEL_OK;
    if (forwarding->count > 0)
        status = satchel_merge_batch(forwarding->workspace->store, forwarding->incoming,
                                     forwarding->count, workspace_now_ms(), forwarding->outcomes,
                                     &job->error);
    for (uint32_t i = 0; i < forwarding->count && status == SATCHEL_OK; i++)
        if (forwarding->outcomes[i].result == SATCHEL_INCOMING_REFUSED)
            refuse(forwarding, &job->request.forward.entries[forwarding->indexes[i]],
                   forwarding->outcomes[i].error.message);
    return status;
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

enum satchel_status forward_job(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct satchel_store *store = workspace->store;
    struct forwarding forwarding = {.workspace = workspace, .job = job};
    bool is_proof = false;
    enum satchel_status status =
        store->ops->load_incarnations(store, &job->arena, &forwarding.known, &job->error);
    if (status == SATCHEL_OK)
        status = check_receipts(&forwarding);
    if (status == SATCHEL_OK)
        status = proves_restore(&forwarding, &is_proof);
    if (status == SATCHEL_OK && is_proof)
        return begin_incarnation(&forwarding);
    if (status == SATCHEL_OK)
        status = take_all(&forwarding);
    if (status == SATCHEL_OK)
        status = merge(&forwarding);
    if (status != SATCHEL_OK)
        return status;
    memset(&job->answers[0], 0, sizeof job->answers[0]);
    job->answers[0].kind = SATCHEL_MESSAGE_FORWARDED;
    job->answers[0].forwarded.entry_count = job->request.forward.entry_count;
    job->answers[0].forwarded.refused_count = forwarding.refused_count;
    job->answer_count = 1;
    return SATCHEL_OK;
}
