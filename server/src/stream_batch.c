/* Owns batches: what they are kept by, and who holds them. What is in one is read_entries.c's. */
#include "workspace_internal.h"

struct stream_batch *stream_batch_new(const struct incarnations *known, uint64_t after)
{
    struct stream_batch *batch = satchel_alloc_zero(NULL, sizeof *batch);
    if (!batch)
        return NULL;
    atomic_init(&batch->holders, 1);
    batch->node = known->node;
    batch->head = known->cursor;
    batch->version = known->version;
    batch->job = satchel_job_new(SATCHEL_JOB_ENTRIES);
    if (!batch->job) {
        stream_batch_release(batch);
        return NULL;
    }
    batch->job->after = after;
    return batch;
}

void stream_batch_release(struct stream_batch *batch)
{
    if (!batch || atomic_fetch_sub(&batch->holders, 1) > 1)
        return;
    satchel_frame_release(batch->frame);
    satchel_job_free(batch->job);
    satchel_free(NULL, batch);
}

void stream_batch_keep(struct stream_batches *batches, struct stream_batch *batch)
{
    struct stream_batch **place = &batches->items[batches->next++ % STREAM_BATCHES_MAX];
    stream_batch_release(*place);
    *place = batch;
}

struct stream_batch *stream_batch_find(const struct stream_batches *batches,
                                       const struct incarnations *known, uint64_t after)
{
    for (int i = 0; i < STREAM_BATCHES_MAX; i++) {
        struct stream_batch *batch = batches->items[i];
        if (batch && batch->job->after == after && batch->head == known->cursor &&
            batch->version == known->version && satchel_id_equal(&batch->node, &known->node))
            return batch;
    }
    return NULL;
}

void stream_batch_lend(struct stream_batch *batch, struct satchel_job *job)
{
    const struct satchel_job *read = batch->job;
    atomic_fetch_add(&batch->holders, 1);
    job->batch = batch;
    job->answers[job->answer_count++] = read->answers[0];
    job->reached = read->reached;
    job->reached_end = read->reached_end;
    job->vector = read->vector;
    job->end = read->end;
}

void stream_batches_free(struct stream_batches *batches)
{
    for (int i = 0; i < STREAM_BATCHES_MAX; i++) {
        stream_batch_release(batches->items[i]);
        batches->items[i] = NULL;
    }
}
