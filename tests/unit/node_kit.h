/* A scripted node and a real replica file, for tests of apply and sync: what a server would send,
 * built part by part; every step asserts. The replica is enrolled by hand, no server is asked. */
#ifndef NODE_KIT_H
#define NODE_KIT_H

#include "sync.h"

struct node_kit {
    char folder[64];
    char path[96];
    satchel_replica *replica;
    sqlite3 *db;                   /* the application's connection */
    satchel_replica *sync_replica; /* sync's connection */
    struct satchel_apply *apply;
    struct satchel_id node, other; /* the server's incarnation; another device */
    uint64_t cursor, seq, other_number;
    struct satchel_arena arena; /* of the entry being built */
    struct satchel_buffer body, notes;
    struct satchel_part *parts;
    uint32_t part_count;
    struct satchel_notes said; /* what the notes will say */
};

/* A table `item`: id, title, body, @group(price) amount and currency, @counter hits, done. */
extern const char NODE_KIT_SCHEMA[];
enum { ITEM = 1, TITLE = 1, BODY = 2, AMOUNT = 3, CURRENCY = 4, HITS = 5, DONE = 6 };

void node_kit_open(struct node_kit *kit, const char *schema);
void node_kit_close(struct node_kit *kit);
/* Applies through a fresh connection, as a later `satchel sync` would. */
void node_kit_reopen_sync(struct node_kit *kit);

/* The application runs statements; they must succeed. */
void node_kit_sql(struct node_kit *kit, const char *sql);
/* The rows of a query: columns joined by '|', rows by ';', NULL as "null". */
void node_kit_expect(struct node_kit *kit, const char *sql, const char *expected);

/* ---- an entry, part by part ---- */

struct satchel_value text_of(const char *text);
struct satchel_value number_of(int64_t number);
/* Begins an entry's body. */
void entry_begin(struct node_kit *kit);
/* Adds a part of another device; `fields` ends at column 0. */
void entry_part(struct node_kit *kit, enum satchel_op_kind kind, const char *id,
                const struct satchel_field *fields);
/* Says in the notes: these parts did not take effect as they stand; this effect there was. */
void entry_unlike(struct node_kit *kit, uint32_t part);
void entry_effect(struct node_kit *kit, enum satchel_effect_kind kind, const char *id,
                  const struct satchel_field *fields);
/* The row was merged into another. */
void entry_alias(struct node_kit *kit, const char *id, const char *into);
void entry_quarantined(struct node_kit *kit, uint32_t part, const char *reason);
void entry_conflict(struct node_kit *kit, const char *id, uint32_t unit, const char *lost,
                    const char *kept, bool is_open);
/* What the conflict said last lost was written to this row, which was merged into that one. */
void entry_conflict_wrote(struct node_kit *kit, const char *id);
/* The entry of the other device, or the answer to the replica's own change set `number`. */
struct satchel_entry entry_of_other(struct node_kit *kit);
struct satchel_entry entry_of_own(struct node_kit *kit, uint64_t number);
/* Applies it in a transaction of its own. */
void apply_entry(struct node_kit *kit, const struct satchel_entry *entry);

/* Shorthands: one part, applied as it stands. */
void other_inserts(struct node_kit *kit, const char *id, const char *title);
void other_updates(struct node_kit *kit, const char *id, uint32_t column,
                   struct satchel_value value);
void other_deletes(struct node_kit *kit, const char *id);
void own_comes_back(struct node_kit *kit, uint64_t number);

/* The view that change set `number` carries for a column of its only part: -1 no exception, else
 * the seq of the node it was shown up to (0: none of it). */
int64_t exception_seq(struct node_kit *kit, uint64_t number, uint32_t column);
/* The node's seq in the change set's `seen`. */
uint64_t seen_seq(struct node_kit *kit, uint64_t number);

#define FIELDS(...) ((const struct satchel_field[]){__VA_ARGS__, {0}})
#define TEXT_FIELD(number, text)                                      \
    {                                                                 \
        (number),                                                     \
        {                                                             \
            SATCHEL_TEXT,                                             \
            {                                                         \
                .bytes = {(const uint8_t *)(text), sizeof(text) - 1 } \
            }                                                         \
        }                                                             \
    }
#define INTEGER_FIELD(number, value) \
    {                                \
        (number),                    \
        {                            \
            SATCHEL_INTEGER,         \
            {                        \
                .integer = (value)   \
            }                        \
        }                            \
    }

#endif
