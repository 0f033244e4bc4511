/* Owns the question where the log of a replica and this store's part (docs/recovery.md). What the
 * replica makes of the answer is its own business; knows nothing of sessions. */
#include "incarnation.h"
#include "lines.h"

/* The last cursor that both have of an incarnation that both know. */
static uint64_t fork_of_lineages(const struct incarnations *known,
                                 const struct satchel_message_hello *hello)
{
    uint64_t fork = 0;
    for (size_t i = 0; i < hello->lineage.count; i++) {
        const struct satchel_position *theirs = &hello->lineage.items[i];
        uint64_t ours = satchel_id_equal(&theirs->node, &known->node)
                            ? known->cursor
                            : satchel_vector_get(&known->lineage, &theirs->node);
        uint64_t common = theirs->seq < ours ? theirs->seq : ours;
        fork = common > fork ? common : fork;
    }
    return fork;
}

/* Whether a receipt is that of this store's entry at `cursor`. */
static enum satchel_status is_of_here(struct satchel_workspace *workspace, struct satchel_job *job,
                                      const struct incarnations *known,
                                      const struct satchel_position *theirs, bool *out)
{
    const struct satchel_store_ops *ops = workspace->store->ops;
    struct satchel_entry entry;
    struct satchel_span timeline;
    struct satchel_vector positions;
    struct satchel_buffer packed;
    uint8_t hash[SATCHEL_HASH_BYTES];
    enum satchel_status status = ops->load_entries(workspace->store, &theirs->seq, 1, &entry,
                                                   &timeline, &job->arena, &job->error);
    if (status == SATCHEL_OK)
        status = ops->load_hash(workspace->store, &entry.device, entry.number, hash, &job->error);
    if (status == SATCHEL_OK)
        status = ops->load_positions(workspace->store, theirs->seq, &job->arena, &positions,
                                     &job->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_buffer_init(&packed, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    if (positions.count > 0)
        status = satchel_vector_pack(&packed, &positions);
    entry.positions = satchel_buffer_span(&packed);
    if (status == SATCHEL_OK)
        status = line_previous(satchel_store_sqlite_db(workspace->store), &entry.device,
                               entry.number, &entry.previous, &job->error);
    struct satchel_id ours = incarnation_receipt(known, &entry, hash);
    struct satchel_id cut = satchel_entry_cut_receipt(&ours);
    *out = satchel_id_equal(&ours, &theirs->node) || satchel_id_equal(&cut, &theirs->node);
    satchel_buffer_deinit(&packed);
    return status;
}

/* The last of the receipts up to `cursor`; NULL: none. */
static const struct satchel_position *last_receipt(const struct satchel_vector *receipts,
                                                   uint64_t cursor)
{
    const struct satchel_position *last = NULL;
    for (size_t i = 0; i < receipts->count; i++)
        if (receipts->items[i].seq <= cursor && (!last || receipts->items[i].seq > last->seq))
            last = &receipts->items[i];
    return last;
}

/* Lineages alone do not tell where a store that was put back by hand has given the same positions
 * a second time: the receipts are of other entries then. */
enum satchel_status fork_find(struct satchel_workspace *workspace, struct satchel_job *job,
                              const struct incarnations *known, uint64_t *out)
{
    const struct satchel_message_hello *hello = &job->request.hello;
    const struct satchel_position *receipt;
    bool is_shared = hello->receipts.count == 0;
    enum satchel_status status = SATCHEL_OK;
    *out = fork_of_lineages(known, hello);
    while (status == SATCHEL_OK && !is_shared && *out > 0) {
        receipt = last_receipt(&hello->receipts, *out);
        *out = receipt ? receipt->seq : 0;
        if (receipt)
            status = is_of_here(workspace, job, known, receipt, &is_shared);
        if (status == SATCHEL_OK && receipt && !is_shared)
            *out = receipt->seq - 1;
    }
    return status;
}
