/* News for devices that may see all of it: read, and put into a frame, once for however many have
 * everything before it. A batch belongs to the workspace's stream thread; a job that was answered
 * with it holds it, too, and may let go of it on another thread. */
#ifndef SATCHEL_SERVER_STREAM_BATCH_H
#define SATCHEL_SERVER_STREAM_BATCH_H

#include "incarnation.h"

#include <satchel/session.h>
#include <stdatomic.h>

struct satchel_job;

enum { STREAM_BATCHES_MAX = 4 }; /* kept: most devices are at the same place */

struct stream_batch {
    atomic_uint holders;
    struct satchel_id node; /* of which incarnation, up to which head; behind `job->after` */
    uint64_t head;
    int64_t version;         /* incarnations.version */
    struct satchel_job *job; /* nobody's: the entries that were read, and up to where */
    struct satchel_frame *frame;
};

struct stream_batches {
    struct stream_batch *items[STREAM_BATCHES_MAX];
    unsigned next; /* where the next one goes */
};

/* What makes it is its first holder. NULL: no memory. */
struct stream_batch *stream_batch_new(const struct incarnations *known, uint64_t after);
void stream_batch_release(struct stream_batch *batch);
/* In place of the oldest; the batches are the holder then in the maker's place. */
void stream_batch_keep(struct stream_batches *batches, struct stream_batch *batch);
/* NULL: there is none. */
struct stream_batch *stream_batch_find(const struct stream_batches *batches,
                                       const struct incarnations *known, uint64_t after);
/* The job is answered with it. */
void stream_batch_lend(struct stream_batch *batch, struct satchel_job *job);
void stream_batches_free(struct stream_batches *batches);

#endif
