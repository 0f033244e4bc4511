/* Scopes from inside: what the files that keep them share. */
#ifndef SATCHEL_SCOPE_INTERNAL_H
#define SATCHEL_SCOPE_INTERNAL_H

#include "digest_keep.h"
#include "scope.h"

#include <satchel/map.h>
#include <satchel/pack.h>

#define SCOPE_EVERYONE 1
#define SCOPE_NOBODY 2
#define SCOPE_ROWS_MAX ((size_t)1 << 30)
#define SCOPE_BYTES_MAX ((size_t)1 << 30) /* of one set */

/* ---- scope_set.c ---- */

/* Appends the value as sets hold it. LIMIT, NOMEM. */
enum satchel_status scope_value_pack(struct satchel_buffer *out,
                                     const struct satchel_value *value) SATCHEL_MUST_USE;
/* Back again; borrows. */
struct satchel_value scope_value_of(struct satchel_span packed);

/* Values, packed, being put together. */
struct scope_values {
    struct satchel_arena *arena;
    struct satchel_span *items;
    size_t count, capacity;
};
enum satchel_status scope_values_add(struct scope_values *values,
                                     struct satchel_span packed) SATCHEL_MUST_USE;
/* Ascending, none twice. */
void scope_values_sort(struct scope_values *values);

/* A set as satchel_scope.grants holds it: an array of values, ascending; nil: everyone. */
enum satchel_status scope_set_pack(struct satchel_buffer *out,
                                   const struct scope_values *values) SATCHEL_MUST_USE;
bool scope_set_is_everyone(struct satchel_span set);
/* Its values one after the other. CORRUPT: it is no set. */
struct scope_set_reader {
    struct satchel_cursor cursor;
    uint32_t left;
};
struct scope_set_reader scope_set_read(struct satchel_span set);
bool scope_set_next(struct scope_set_reader *reader, struct satchel_span *packed);

/* ---- the keeper ---- */

struct scope_set {
    uint64_t id; /* 0: not looked up in the store yet */
    struct satchel_span packed;
};

/* A row as this commit meets it. */
struct scope_node {
    struct satchel_span name;
    bool is_noted;         /* to be worked out: it was written, or hangs on one that was */
    bool has_come_or_gone; /* what hangs on it is to be worked out again */
    bool is_read;          /* from here on */
    bool exists;           /* or it is a past: it has a set that is to be found */
    bool is_everyones;     /* its table's scope is `all` */
    bool is_past;          /* somebody's `past`: it hangs on rows that are gone, too */
    bool is_on_stack;
    uint32_t number, low; /* Tarjan's: in order of discovery, the lowest reached; 0: new */
    uint32_t parent_count, next_parent;
    struct scope_node *parents[SATCHEL_SCOPE_CLAUSES_MAX]; /* what it hangs on */
    struct scope_node *next_noted;
    struct scope_node *caller, *below; /* of the walk, on its stack */
    struct scope_node *past; /* of a row that is gone: as it was; NULL: nobody has asked */
    const struct satchel_table *table; /* NULL: none of the schema */
    const struct satchel_value *key;
    struct satchel_span *own; /* values of its own columns, packed */
    uint32_t own_count;
    struct scope_set *set; /* NULL: none, it is not there */
};

/* A way in which rows of a table hang on others. */
struct scope_link {
    const struct satchel_table *table;
    const struct satchel_reference *reference;
    sqlite3_stmt *find; /* prepared at its first use */
};

enum scope_statement {
    SCOPE_HEAD,
    SCOPE_OF_ROW,
    SCOPE_KEPT,
    SCOPE_SET_ROW,
    SCOPE_SET_FIRST,
    SCOPE_ADD_MOVE,
    SCOPE_FIND,
    SCOPE_ADD,
    SCOPE_ADD_GRANT,
    SCOPE_HELD,
    SCOPE_ADD_HELD,
    SCOPE_DROP_HELD,
    SCOPE_ADD_GRANT_MOVE,
    SCOPE_MASK,
    SCOPE_HOLD_MASK,
    SCOPE_ADD_MASK_MOVE,
    SCOPE_STATEMENT_COUNT
};

struct scope_keeper {
    sqlite3 *db;
    struct satchel_aliases *aliases;
    struct digest_keeper *digests;       /* is told what moves; NULL: nobody is yet */
    const struct satchel_schema *schema; /* NULL: none */
    sqlite3_stmt *statements[SCOPE_STATEMENT_COUNT];
    bool is_active;      /* a table is_scoped: rows have sets, users grants */
    sqlite3_stmt **read; /* per table; prepared at their first use */
    struct scope_link *links;
    uint32_t link_count;
    bool *feeds_users; /* per table: users or grants; NULL: not asked yet */
    bool *was_written; /* per table */

    /* of the transaction */
    bool has_entries;
    bool has_users_to_read; /* and what they are granted */
    bool has_masks_to_compare;
    struct satchel_arena arena;
    struct satchel_map nodes; /* name -> struct scope_node */
    struct satchel_map sets;  /* packed -> struct scope_set */
    struct scope_node *first_noted, **next_noted;
    struct satchel_buffer scratch;
    uint32_t discovered;
    bool has_aliases, knows_aliases;
};

/* ---- scope_node.c: rows as the commit finds them ---- */
enum satchel_status scope_node_of(struct scope_keeper *keeper, struct satchel_span name,
                                  struct scope_node **out) SATCHEL_MUST_USE;
enum satchel_status scope_note(struct scope_keeper *keeper, struct satchel_span name,
                               bool has_come_or_gone) SATCHEL_MUST_USE;
enum satchel_status scope_node_read(struct scope_keeper *keeper, struct scope_node *node,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* Notes a row that was found gone, with its last values. NOMEM. */
enum satchel_status scope_node_note_gone(struct scope_keeper *keeper,
                                         const struct satchel_store_row *row) SATCHEL_MUST_USE;
/* The node itself if the row is there; if it was merged into another, that one, as long as it is
 * there; else the row that is gone as it was. */
enum satchel_status scope_node_past(struct scope_keeper *keeper, struct scope_node **node,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* Opens a query for the keys of all rows of a table, in columns 1 and on. */
enum satchel_status scope_node_query_rows(struct scope_keeper *keeper,
                                          const struct satchel_table *table,
                                          struct satchel_query *query,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* Notes the rows that hang on it, and those that were merged into it. */
enum satchel_status scope_node_note_children(struct scope_keeper *keeper,
                                             const struct scope_node *node,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- scope_solve.c ---- */
/* The set of the row, and of all that it hangs on. */
enum satchel_status scope_solve(struct scope_keeper *keeper, struct scope_node *node,
                                struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- scope_grants.c ---- */
/* Brings satchel_held_grant up to date. */
enum satchel_status scope_grants_read(struct scope_keeper *keeper, uint64_t cursor,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether a written table says who is a user or holds what. */
enum satchel_status scope_users_are_old(struct scope_keeper *keeper, bool *out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- scope_users.c ---- */
/* Brings satchel_held_user up to date. */
enum satchel_status scope_users_read(struct scope_keeper *keeper, uint64_t cursor,
                                     struct satchel_error *error) SATCHEL_MUST_USE;
/* Brings satchel_held_mask up to date. */
enum satchel_status scope_masks_compare(struct scope_keeper *keeper, uint64_t cursor,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
