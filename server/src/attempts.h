/* Who has tried to join in vain, by the peer's address, in bounded memory. */
#ifndef SATCHEL_ATTEMPTS_H
#define SATCHEL_ATTEMPTS_H

#include "rate.h"

#include <satchel/id.h>

enum { ATTEMPT_ADDRESSES = 1024 };

struct attempts {
    struct {
        struct satchel_id address;
        struct rate rate;
        bool is_used;
    } slots[ATTEMPT_ADDRESSES];
};

/* Whether the address may try; if so the attempt is counted. Of more addresses than there is room
 * for, some that came before are forgotten. */
bool attempts_take(struct attempts *attempts, const struct satchel_id *address, int64_t now_ms);
/* The attempt was not in vain. */
void attempts_give_back(struct attempts *attempts, const struct satchel_id *address,
                        int64_t now_ms);

#endif
