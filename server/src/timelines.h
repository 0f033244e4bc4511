/* Owns the way back through the timelines of rows: which entry touched a row before another did.
 * Many rows of one entry are asked for in turn; it is read once for all of them. */
#ifndef SATCHEL_TIMELINES_H
#define SATCHEL_TIMELINES_H

#include "store.h"

/* An entry that touched a row. */
struct timeline_step {
    const struct satchel_entry *entry; /* no body, no notes; until the next call */
    uint64_t previous;                 /* cursor of the one before it; 0: none */
};

struct timelines;

enum satchel_status timelines_new(struct timelines **out, struct satchel_store *store);
void timelines_free(struct timelines *timelines);
/* Cursors may be those of other entries from now on. */
void timelines_forget(struct timelines *timelines);
/* `cursor` is in the timeline of the row of that name. CORRUPT, NOMEM, those of the store. */
enum satchel_status timelines_step(struct timelines *timelines, uint64_t cursor,
                                   struct satchel_span name, struct timeline_step *out,
                                   struct satchel_error *error);

#endif
