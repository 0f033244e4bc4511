/* A server that was restored, as a device sees it (docs/recovery.md): its log and the node's part
 * at a cursor. What the device has beyond it is taken out of the log, given back to the node, and
 * heard again; the rows that it touched are in doubt until the node has said what it has there. The
 * application's tables show the lost writes all the time. */
#ifndef SATCHEL_RECOVER_H
#define SATCHEL_RECOVER_H

#include "sync.h"

/* Inside the transaction of WELCOME of a new incarnation, before node and lineage are its: the log
 * ends at `cursor` now. `vector`: the node's. */
enum satchel_status satchel_recover_rewind(struct satchel_sync *sync, uint64_t cursor,
                                           const struct satchel_vector *vector,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* After WELCOME: what there is to give back and to ask for, from this session or an earlier one. */
enum satchel_status satchel_recover_begin(struct satchel_sync *sync,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* Says what there is to say now. Nothing may be pushed before everything lost is back
 * (satchel_recover_is_given): what is pushed may have seen it. */
enum satchel_status satchel_recover_step(struct satchel_sync *sync,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
bool satchel_recover_is_given(const struct satchel_sync *sync);
bool satchel_recover_is_done(const struct satchel_sync *sync);
enum satchel_status satchel_recover_take_forwarded(
    struct satchel_sync *sync, const struct satchel_message_forwarded *forwarded,
    struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_recover_take_rows(struct satchel_sync *sync,
                                              const struct satchel_message_rows *rows,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* An answer waits for the replica to come to its cursor; called when it may have. */
enum satchel_status satchel_recover_apply_rows(struct satchel_sync *sync,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_recover_end(struct satchel_sync *sync);

#endif
