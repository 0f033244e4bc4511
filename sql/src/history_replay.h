/* The log done again, entry by entry, on a state of values (history_state.h): what rows looked like
 * when a write came. Internal to history. */
#ifndef SATCHEL_HISTORY_REPLAY_H
#define SATCHEL_HISTORY_REPLAY_H

#include "history_outcome.h"
#include "history_state.h"

struct satchel_history_replay {
    struct satchel_history_state *state; /* NULL: nothing is replayed */
    struct satchel_arena values, place;
    struct satchel_buffer name;
};

/* SQL, NOMEM; to be deinitialised also then. */
enum satchel_status satchel_history_replay_init(struct satchel_history_replay *replay,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_history_replay_deinit(struct satchel_history_replay *replay);

/* The row that the part was written to, borrowed until the next call: its own, or the one which
 * that is merged into, perhaps by this very entry. Chooses it in the state. */
enum satchel_status satchel_history_replay_place(
    struct satchel_history_replay *replay, const struct satchel_notes *notes,
    const struct satchel_part *part, struct satchel_history_place *place) SATCHEL_MUST_USE;
/* The part takes effect as it stands; `table` NULL: the schema has none. */
enum satchel_status satchel_history_replay_part(struct satchel_history_replay *replay,
                                                const struct satchel_table *table,
                                                const struct satchel_part *part) SATCHEL_MUST_USE;
enum satchel_status satchel_history_replay_effect(
    struct satchel_history_replay *replay, const struct satchel_effect *effect) SATCHEL_MUST_USE;

#endif
