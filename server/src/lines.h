/* The lines of devices. What one file committed is a line of change sets, each after another; a
 * device that is a copy goes on from its parent's (docs/recovery.md). Where a node was restored,
 * the lines of files with one device id may come back in another order than they were made: then a
 * line is another device's here than it was, and what is given back finds its place by what came
 * before it, which its receipt says. */
#ifndef SATCHEL_SERVER_LINES_H
#define SATCHEL_SERVER_LINES_H

#include "workspace_internal.h"

#include <satchel/entry.h>

/* The device whose change set `number` of `*device` is: itself, or one that it is a copy of. Any
 * connection to a central store. */
enum satchel_status line_author(sqlite3 *db, struct satchel_id *device, uint64_t number,
                                struct satchel_error *error) SATCHEL_MUST_USE;
/* satchel_entry_mark of the change set before `number` in the device's line; 0: none. */
enum satchel_status line_previous(sqlite3 *db, const struct satchel_id *device, uint64_t number,
                                  uint64_t *mark, struct satchel_error *error) SATCHEL_MUST_USE;

/* What is about to be merged, in order; inside the caller's transaction. */
struct lines {
    struct satchel_workspace *workspace;
    struct satchel_arena *arena;
    struct satchel_error *error;
    struct satchel_map devices; /* id -> struct line_device */
    struct satchel_map placed;  /* number and mark -> struct satchel_id: not in the store yet */
};

void lines_init(struct lines *lines, struct satchel_workspace *workspace,
                struct satchel_arena *arena, struct satchel_error *error);
void lines_deinit(struct lines *lines);
/* The device whose change set this one is here, enrolled if need be; `entry` is proved by its
 * receipt, `hash` its change set's. `*is_placed` false: what came before it is not here. */
enum satchel_status lines_place(struct lines *lines, const struct satchel_entry *entry,
                                const uint8_t hash[SATCHEL_HASH_BYTES], struct satchel_id *device,
                                bool *is_placed) SATCHEL_MUST_USE;

/* A change set that is about to be pushed as `*device`'s: if it is held as another device's, of
 * which another file is that has it too, then `*device` is that one, and the pusher goes on from
 * there. `*is_copy`: it cannot, having more of its own: it is a copy. */
enum satchel_status lines_meet(struct lines *lines, uint64_t number,
                               const uint8_t hash[SATCHEL_HASH_BYTES], struct satchel_id *device,
                               bool *is_elsewhere, bool *is_copy) SATCHEL_MUST_USE;

#endif
