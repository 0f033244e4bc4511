/* The entry: one change set's place in a node's stream, with what it did to the node's tables.
 *
 * A device applies effects, never its own guess. Most parts take effect as they stand; those are
 * not repeated: an entry lists the parts that did not ("unlike"), and all effects of these
 * explicitly. What an entry says beside the change set's body is its *notes*, stored by every log
 * as one blob:
 *
 *   notes     = [ unlike, effects, conflicts, quarantined ]
 *   unlike    = [ part index, ... ]                                                ascending
 *   effect    = [ kind, table, key, columns, values ]
 *               kind: 0 delta, 1 whole row, 2 gone, 3 evict, 4 alias (values: the other row's key)
 *   conflict  = see struct satchel_conflict_note
 *   quarantined = [ [ part index, reason ], ... ]        these parts are also in unlike
 *
 * "As it stands" for an insert: the row now exists and has the written values, others their
 * default; for an update: the written fields have the written values; for a delete: the row is
 * gone. The written value of a field whose rule combines is what its operation makes of the
 * declared default (satchel_operation_apply): a set's, map's or counter's update is unlike, as a
 * rule, because its effect is another value. */
#ifndef SATCHEL_ENTRY_H
#define SATCHEL_ENTRY_H

#include <satchel/changeset.h>

/* The user of what the node wrote and nobody asked for: first rows, document numbers. */
#define SATCHEL_SERVER_USER "satchel-server"

enum satchel_effect_kind {
    SATCHEL_EFFECT_DELTA = 0, /* these fields of a row that exists; ignored where it is not held */
    SATCHEL_EFFECT_WHOLE = 1, /* the row exists with these values, others their default */
    SATCHEL_EFFECT_GONE = 2,  /* the row does not exist */
    SATCHEL_EFFECT_EVICT = 3, /* the row has left the receiver's scope (no delete) */
    /* The row was merged into another (`into`) and is in the table no more; whoever names it means
     * the other. Until an effect makes it a row of its own again. The rows that point at it are
     * effects of their own. */
    SATCHEL_EFFECT_ALIAS = 4
};

struct satchel_effect {
    enum satchel_effect_kind kind;
    uint32_t table;
    const struct satchel_value *key;
    uint32_t key_count;
    const struct satchel_field *fields; /* ascending column, key columns never */
    uint32_t field_count;
    const struct satchel_value *into; /* of an alias: the key of the other row; key_count values */
};

/* A conflict that this entry opened, changed or closed. */
struct satchel_conflict_note {
    struct satchel_id id; /* satchel_conflict_id, with the key of the row that the loser wrote to */
    enum satchel_conflict_kind kind;
    bool is_open;
    uint32_t table;
    const struct satchel_value *key; /* of the row as it is in the table */
    uint32_t key_count;
    /* The key of the row that the loser wrote to, if that was merged into this one (always so for a
     * DUPLICATE); NULL: the same row. key_count values. */
    const struct satchel_value *alias_key;
    uint32_t unit; /* the unit's number, or SATCHEL_COLUMN_ROW: a lost delete */
    enum satchel_severity severity;
    struct satchel_order loser, winner;
    struct satchel_span loser_user, winner_user; /* logins */
    struct satchel_field *lost; /* the unit's columns with the losing values; none for a delete */
    struct satchel_field *kept; /* the same columns with the node's values */
    uint32_t column_count;
    satchel_stamp resolved; /* of the write that closed it, 0 while open */
};

struct satchel_quarantine_note {
    uint32_t part;
    struct satchel_span reason;
};

struct satchel_notes {
    const uint32_t *unlike;
    uint32_t unlike_count;
    const struct satchel_effect *effects;
    uint32_t effect_count;
    const struct satchel_conflict_note *conflicts;
    uint32_t conflict_count;
    const struct satchel_quarantine_note *quarantined;
    uint32_t quarantined_count;
};

/* Derived from (table, key, unit, loser's device and number): the same at every node. */
struct satchel_id satchel_conflict_id(uint32_t table, const struct satchel_value *key,
                                      uint32_t key_count, uint32_t unit,
                                      const struct satchel_id *device, uint64_t number);

enum satchel_status satchel_notes_write(struct satchel_buffer *out,
                                        const struct satchel_notes *notes) SATCHEL_MUST_USE;
/* An empty span is notes that say nothing. CORRUPT, LIMIT, NOMEM. Values borrow from `bytes`. */
enum satchel_status satchel_notes_read(struct satchel_span bytes, struct satchel_arena *arena,
                                       struct satchel_notes *out) SATCHEL_MUST_USE;

/* Of notes as written, the list of what was quarantined, as it stands there; empty: nothing was, or
 * they are no notes. Borrowed. This is all that a forwarded entry has as its notes. */
struct satchel_span satchel_notes_quarantined(struct satchel_span bytes);
/* The list again. CORRUPT, LIMIT, NOMEM. */
enum satchel_status satchel_notes_quarantined_read(struct satchel_span bytes,
                                                   struct satchel_arena *arena,
                                                   struct satchel_notes *out) SATCHEL_MUST_USE;

struct satchel_entry {
    uint64_t cursor; /* place in the node's stream, from 1, ascending */
    uint64_t seq;    /* the node's position of the change set; 0: got none here */
    struct satchel_id device;
    uint64_t number;
    satchel_stamp stamp;      /* as fixed by the first node */
    struct satchel_span user; /* login of the author */
    const uint8_t *secret;    /* SATCHEL_SECRET_BYTES */
    struct satchel_span body; /* empty for its author, who has it */
    struct satchel_span notes;
    /* Positions that earlier incarnations gave the change set, beside `seq`: a vector as
     * satchel_pack_vector writes it; empty: none. */
    struct satchel_span positions;
    struct satchel_id receipt; /* satchel_entry_receipt, made when the entry is sent */
    /* satchel_entry_mark of the change set that its author committed before this one: the device's,
     * or of one that the device is a copy of. 0: there is none. Made when the entry is sent. */
    uint64_t previous;
    /* Parts are withheld from the receiver (satchel_changeset_cut): `secret` and `receipt` are
     * satchel_entry_cut_secret, satchel_entry_cut_receipt of the whole entry's. It cannot be given
     * back. */
    bool is_cut;
};

enum { SATCHEL_WORKSPACE_KEY_BYTES = 32 };

/* Proves to the server of a workspace, whose secret key it is made with, that an entry is one that
 * it sent itself as incarnation `node`: then whoever has the entry can give it back to a server
 * that lost it. Over everything but the cursor; of the body `hash`, its change set's, of the notes
 * what was quarantined (satchel_notes_quarantined). Says what came before it, too (previous): two
 * change sets with one device and number are told apart, and each one's successors are its own. */
struct satchel_id satchel_entry_receipt(const uint8_t workspace_key[SATCHEL_WORKSPACE_KEY_BYTES],
                                        const struct satchel_id *node,
                                        const struct satchel_entry *entry,
                                        const uint8_t hash[SATCHEL_HASH_BYTES],
                                        struct satchel_span quarantined);
/* The first bytes of a change set's hash: enough to know it among those with its number. Not 0. */
uint64_t satchel_entry_mark(const uint8_t hash[SATCHEL_HASH_BYTES]);
/* Of an entry that is cut: they name it as the whole entry's do, and nothing follows from them:
 * nobody can try out with them what was withheld, or prove that he had all of it. */
void satchel_entry_cut_secret(const uint8_t secret[SATCHEL_SECRET_BYTES],
                              uint8_t out[SATCHEL_SECRET_BYTES]);
struct satchel_id satchel_entry_cut_receipt(const struct satchel_id *receipt);
/* The cut secret, of an entry that is cut or whole. */
static inline void satchel_entry_cut_mark(const struct satchel_entry *entry,
                                          uint8_t out[SATCHEL_SECRET_BYTES])
{
    if (entry->is_cut)
        memcpy(out, entry->secret, SATCHEL_SECRET_BYTES);
    else
        satchel_entry_cut_secret(entry->secret, out);
}
struct satchel_enrolment {
    struct satchel_id device;
    struct satchel_span token_hash;
    uint64_t token_number; /* how many tokens it had before */
    struct satchel_span user;
    struct satchel_id parent; /* what it is a copy of; zero: nothing */
    uint64_t parent_number;   /* up to which */
};
/* Proves the same of an enrolment. */
struct satchel_id satchel_enrolment_receipt(
    const uint8_t workspace_key[SATCHEL_WORKSPACE_KEY_BYTES],
    const struct satchel_enrolment *enrolment);
/* The id of the device that a copied replica goes on as: of the old id, the last number that both
 * share, and the hash of the first change set in which they differ. The same at every node. */
struct satchel_id satchel_copy_id(const struct satchel_id *device, uint64_t last_common_number,
                                  const uint8_t hash[SATCHEL_HASH_BYTES]);
/* The copy's own token. Derived, because the copy may have been copied in its turn before it was
 * known as one: all files that go on as device `copy` must have the same. */
void satchel_copy_token(const uint8_t device_secret[32], const struct satchel_id *copy,
                        uint8_t token[32]);

enum satchel_status satchel_entry_write(struct satchel_buffer *out,
                                        const struct satchel_entry *entry) SATCHEL_MUST_USE;
/* Reads one entry; spans borrow from the cursor's bytes. A failed cursor: CORRUPT. */
enum satchel_status satchel_entry_read(struct satchel_cursor *cursor,
                                       struct satchel_entry *out) SATCHEL_MUST_USE;

#endif
