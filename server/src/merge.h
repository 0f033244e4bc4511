/* The merge of a batch of change sets into a store: the one place where the state of a workspace
 * moves.
 *
 * A pure function of (what the store holds, the batch, the time): decode, check, merge row by row
 * (conflict/row.h), derive effects, conflicts and notes, give positions, write everything; the
 * caller commits and only then acknowledges and fans out. Called inside begin .. commit.
 *
 * Rows whose column the server numbers (the view satchel_numbers) get their number in the same
 * transaction, by change sets of the server itself that follow the batch. */
#ifndef SATCHEL_MERGE_H
#define SATCHEL_MERGE_H

#include "store.h"

/* One change set as it came from a session. Borrowed. */
struct satchel_incoming {
    struct satchel_id device;
    struct satchel_span user;    /* login, as the server knows it */
    struct satchel_span refusal; /* why none of its parts may be merged; empty: they may */
    bool is_copys; /* it is held as a copy's already, and its device is another: refused */
    uint64_t number;
    satchel_stamp stamp; /* the device's, corrected by it */
    uint8_t secret[SATCHEL_SECRET_BYTES];
    struct satchel_span body;
    /* An entry that this node sent before it was restored, given back by whoever had it: judged
     * then, its stamp fixed then. `positions` it had (earlier incarnations'); `quarantined`:
     * satchel_notes_quarantined of its notes. */
    bool is_forwarded;
    struct satchel_vector positions;
    struct satchel_span quarantined;
    const uint8_t *hash; /* satchel_changeset_hash, where it is known already; else NULL */
};

enum satchel_incoming_result {
    SATCHEL_INCOMING_MERGED,    /* has a new entry */
    SATCHEL_INCOMING_DUPLICATE, /* held already with the same hash: acknowledge again */
    SATCHEL_INCOMING_REFUSED    /* not acknowledged, nothing written; status and error say why */
};

struct satchel_incoming_outcome {
    enum satchel_incoming_result result;
    uint64_t cursor; /* of its entry, if merged */
    uint32_t quarantined_count;
    struct satchel_error
        error; /* if refused: CORRUPT malformed; STATE a number out of turn; MISMATCH the
                                   number is held with another hash (a copied replica); AGAIN one
                                   before it was refused */
};

/* Merges `count` change sets in order. A refused one does not touch the others; after it, later
 * ones of the same device are refused too. OK, or a status of the store: then the caller rolls back
 * and nothing has happened. Rows that break a rule, name tables or columns the schema has not, or
 * that SQLite's constraints refuse are quarantined with their reason; the rest of the change set
 * applies.
 *
 * A stamp is fixed here: not above `now_ms` (clamped), not at or below the device's previous one.
 * A forwarded change set that is held already gets the positions that it comes with. */
enum satchel_status satchel_merge_batch(struct satchel_store *store,
                                        const struct satchel_incoming *batch, size_t count,
                                        int64_t now_ms, struct satchel_incoming_outcome *outcomes,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
