/* Who had seen what: positions, vectors, views.
 *
 * A node gives each change set it accepts first-hand a position (node, seq); seqs of a node are
 * contiguous from 1. A vector {node: seq} says up to which seq a replica had applied everything of
 * that node. Write a saw write b iff b is an earlier change set of the same device (or of one that
 * this is a copy of, up to the copy), or one of b's positions is covered by the view that a had of
 * the field. */
#ifndef SATCHEL_CAUSALITY_H
#define SATCHEL_CAUSALITY_H

#include <satchel/id.h>
#include <satchel/memory.h>

struct satchel_position {
    struct satchel_id node;
    uint64_t seq; /* from 1 */
};

/* Components in ascending order of node, no node twice, no seq 0. Borrowed storage. */
struct satchel_vector {
    const struct satchel_position *items;
    size_t count;
};

#define SATCHEL_VECTOR_COUNT_MAX 1024

/* The seq of `node`, 0 if it has no component. */
uint64_t satchel_vector_get(const struct satchel_vector *vector, const struct satchel_id *node);
/* Whether any of `positions` is covered. */
bool satchel_vector_covers(const struct satchel_vector *vector,
                           const struct satchel_vector *positions);
/* Whether every component of `other` is at most the one here. */
bool satchel_vector_includes(const struct satchel_vector *vector,
                             const struct satchel_vector *other);
/* `vector` with node's component raised to `seq` (never lowered), in `arena`. NOMEM, LIMIT. */
enum satchel_status satchel_vector_raise(struct satchel_arena *arena,
                                         const struct satchel_vector *vector,
                                         const struct satchel_id *node, uint64_t seq,
                                         struct satchel_vector *out) SATCHEL_MUST_USE;

enum satchel_view_kind {
    SATCHEL_VIEW_SEEN = 0,      /* what `vector` covers */
    SATCHEL_VIEW_NODE_ONLY = 1, /* what `vector` covers, the node's own positions only (branches) */
    SATCHEL_VIEW_NONE = 2       /* nothing but its own device's writes */
};

/* What the author of a write was shown of a field. */
struct satchel_view {
    enum satchel_view_kind kind;
    struct satchel_vector vector;
};

#define SATCHEL_COLUMN_ROW UINT32_MAX /* where a column number is meant: the row as a whole */

/* An exception to a change set's `seen`: this column (or the whole row) was seen as
 * `view`. */
struct satchel_exception {
    uint32_t column;
    struct satchel_view view;
};

#endif
