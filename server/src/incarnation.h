/* What a node was called before it was restored. An incarnation is a node id of its own: entries up
 * to the moment to which the store was put back keep the earlier id, later ones have the new one
 * (docs/recovery.md). Tables satchel_incarnation and satchel_position.
 *
 * Works on any connection to a central store, inside the caller's transaction. */
#ifndef SATCHEL_SERVER_INCARNATION_H
#define SATCHEL_SERVER_INCARNATION_H

#include "db.h"

#include <satchel/causality.h>
#include <satchel/entry.h>

struct incarnations {
    struct satchel_id workspace_id;
    struct satchel_id node; /* the present one */
    uint64_t cursor, seq;   /* of the last entry */
    uint8_t secret[SATCHEL_WORKSPACE_KEY_BYTES];
    /* Earlier incarnations that entries here are of, and the last cursor of each. */
    struct satchel_vector lineage;
    /* Whose positions the node holds, and the greatest of each: what came back of an incarnation
     * may not be all. */
    struct satchel_vector held;
    /* What whoever has heard all entries has seen: of each incarnation that which it gave itself.
     * What came back of it has a later one's position as well. */
    struct satchel_vector own;
    bool has_positions; /* satchel_position is not empty */
    /* Of the last late position: its turn, and the last entry before it. 0: there is none. */
    uint64_t late_turn, late_after;
    int64_t version; /* a reader's: another one where positions may have come */
};

/* What the tables of an earlier version lack. */
enum satchel_status incarnations_make_ready(sqlite3 *db,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* Vectors live in `arena`. CORRUPT, SQL, NOMEM. */
enum satchel_status incarnations_read(sqlite3 *db, struct satchel_arena *arena,
                                      struct incarnations *out,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* The incarnation that gave the entry at `cursor` its seq. */
const struct satchel_id *incarnation_at(const struct incarnations *incarnations, uint64_t cursor);
/* What proves that the node sent the entry, with its positions, as the incarnation it is of. */
struct satchel_id incarnation_receipt(const struct incarnations *incarnations,
                                      const struct satchel_entry *entry,
                                      const uint8_t hash[SATCHEL_HASH_BYTES]);
/* Whether the id is the node's own, now or before. */
bool incarnation_is_own(const struct incarnations *incarnations, const struct satchel_id *id);
/* The vector the node had at the entry at `cursor`, of which `seq` is the position. */
enum satchel_status incarnations_vector(const struct incarnations *incarnations, uint64_t cursor,
                                        uint64_t seq, struct satchel_arena *arena,
                                        struct satchel_vector *out) SATCHEL_MUST_USE;

/* Positions that the entry has from earlier incarnations, beside its own. */
enum satchel_status positions_read(sqlite3 *db, uint64_t cursor, struct satchel_arena *arena,
                                   struct satchel_vector *out,
                                   struct satchel_error *error) SATCHEL_MUST_USE;
/* `late_after` 0: it comes with the entry. Else it is late: the node's last entry is that, and
 * whoever has the entry has it without the position. Late ones have turns, from 1. */
enum satchel_status positions_add(sqlite3 *db, uint64_t cursor,
                                  const struct satchel_position *position, uint64_t late_after,
                                  struct satchel_error *error) SATCHEL_MUST_USE;
/* The node holds everything that `node`, an earlier incarnation, put up to `seq`. */
enum satchel_status incarnation_raise(sqlite3 *db, const struct satchel_id *node, uint64_t seq,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* The store goes on as a new incarnation: what it had sent after its last entry, if it had, is lost
 * here and may come back. Document numbers go on under another short name of the node, so that none
 * is given twice. */
enum satchel_status incarnation_begin(sqlite3 *db, struct satchel_error *error) SATCHEL_MUST_USE;

#endif
