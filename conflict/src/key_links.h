/* Which writes of equal keys make two rows one: the pairs that cluster.h calls links. */
#ifndef SATCHEL_CONFLICT_KEY_LINKS_H
#define SATCHEL_CONFLICT_KEY_LINKS_H

#include "merge.h"

#include <satchel/cluster.h>

/* A write of a key that can link its row to others. */
struct key_write {
    const struct satchel_write *write;
    uint32_t column;
    struct satchel_span match; /* not empty */
    /* What overwrote it or deleted its row, as far as it tells which pairs that undid; the count
     * tells whether the key stands. */
    const struct satchel_write **overwriters;
    uint32_t overwriter_count;
};

struct key_link {
    const struct satchel_write *a, *b;
    uint32_t a_key, b_key; /* among the keys */
    uint32_t column;
};

struct key_links {
    struct key_write *keys; /* without those that link nothing any more */
    uint32_t key_count;
    struct key_link *items;
    uint32_t count;
};

/* The links among the writes of `members`, `member` being set in each. NOMEM. */
enum satchel_status key_links_find(const struct satchel_table_rules *rules,
                                   const struct satchel_member *members, uint32_t member_count,
                                   struct satchel_arena *arena,
                                   struct key_links *out) SATCHEL_MUST_USE;

/* Whether the change set of `write` covers the key's write: of two that link rows, its author was
 * shown one row. */
bool key_was_shown(const struct satchel_write *write, const struct satchel_write *key);

/* satchel_key_match in `arena`. NOMEM. */
enum satchel_status key_match_of(const struct satchel_value *value, struct satchel_arena *arena,
                                 struct satchel_span *out) SATCHEL_MUST_USE;

#endif
