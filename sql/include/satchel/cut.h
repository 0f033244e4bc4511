/* Entries cut to the rows that somebody may see (docs/scopes.md): by a server as it sends them,
 * by a replica when rows leave it. */
#ifndef SATCHEL_CUT_H
#define SATCHEL_CUT_H

#include <satchel/entry.h>

enum satchel_seen {
    SATCHEL_SEEN,
    SATCHEL_HIDDEN,
    SATCHEL_NO_ROW /* the schema has none of that name: nobody sees it */
};

/* Who it is cut for. */
struct satchel_audience {
    void *context;
    enum satchel_status (*look)(void *context, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, enum satchel_seen *seen,
                                struct satchel_error *error);
};

/* Cuts `entry`, its body loaded: parts of rows that are not seen are withheld, effects and
 * conflicts of theirs left out. Of what its author is sent nothing is withheld (`is_author`):
 * instead the effect on a row that is hidden is EVICT. `*is_empty`: nothing of it is left. What
 * is new lives in `arena`; `scratch` is reset. CORRUPT, NOMEM, what `look` returns. */
enum satchel_status satchel_entry_cut(const struct satchel_audience *audience, bool is_author,
                                      struct satchel_arena *scratch, struct satchel_arena *arena,
                                      struct satchel_entry *entry, bool *is_empty,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

#endif
