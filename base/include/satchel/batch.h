/* How many items go into one message, or one transaction. The simulator's histories are short: in
 * some of its runs batches are, too, so that it comes to what is between two of them. Everywhere
 * else it is the number itself. */
#ifndef SATCHEL_BATCH_H
#define SATCHEL_BATCH_H

#ifdef SATCHEL_MUTATIONS
#include <stdint.h>
extern uint32_t satchel_batch_items; /* 0: as everywhere */
#define SATCHEL_BATCH_ITEMS(count) \
    (satchel_batch_items > 0 && satchel_batch_items < (count) ? satchel_batch_items : (count))
#else
#define SATCHEL_BATCH_ITEMS(count) (count)
#endif

#endif
