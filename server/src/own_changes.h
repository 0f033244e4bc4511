/* Change sets of the server itself: first rows, document numbers, what an administrator sets,
 * resolves or releases. They come from the server's own device, with numbers and positions like any
 * other, and sync like any other. */
#ifndef SATCHEL_OWN_CHANGES_H
#define SATCHEL_OWN_CHANGES_H

#include "merge.h"

#define SATCHEL_OWN_ROLE "server"

struct satchel_own_changeset {
    const struct satchel_part *parts;
    uint32_t part_count;
    struct satchel_span user;          /* whose it is in history; empty: SATCHEL_SERVER_USER */
    struct satchel_span role;          /* empty: none */
    const struct satchel_vector *seen; /* NULL: all that the store holds */
};

/* The change set as it would come from a session, the next of
 * the server's device, which is enrolled if it is not yet. Inside begin .. commit; everything lives
 * in `arena`. LIMIT: it is larger than a change set may be. */
enum satchel_status satchel_own_incoming(struct satchel_store *store,
                                         const struct satchel_own_changeset *changes,
                                         int64_t now_ms, struct satchel_arena *arena,
                                         struct satchel_incoming *out,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* Makes and merges it. OK also if parts were quarantined: `outcome` says so. STATE: it was refused.
 */
enum satchel_status satchel_own_merge(struct satchel_store *store,
                                      const struct satchel_own_changeset *changes, int64_t now_ms,
                                      struct satchel_arena *arena,
                                      struct satchel_incoming_outcome *outcome,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* The first reason for which a part of the entry at `cursor` was quarantined, and which part; empty
 * if none was. In `arena`. */
enum satchel_status satchel_quarantine_reason(struct satchel_store *store, uint64_t cursor,
                                              struct satchel_arena *arena, uint32_t *part,
                                              struct satchel_span *reason,
                                              struct satchel_error *error) SATCHEL_MUST_USE;

#endif
