/* One user's view from inside: what its two files share. */
#ifndef SATCHEL_SCOPE_VIEWER_INTERNAL_H
#define SATCHEL_SCOPE_VIEWER_INTERNAL_H

#include "scope_internal.h"

enum viewer_statement {
    VIEWER_GRANTS,
    VIEWER_GRANT_MOVES,
    VIEWER_SET,
    VIEWER_SCOPE,
    VIEWER_MOVES_OF_ROW,
    VIEWER_MOVED,
    VIEWER_SETS_OF_VALUE,
    VIEWER_ROWS_OF_SET,
    VIEWER_USER,
    VIEWER_ROLE_MOVES,
    VIEWER_MASK_MOVES,
    VIEWER_NAME_BEHIND,
    VIEWER_STATEMENT_COUNT
};

/* Grants as of some moment, and which sets they open. */
struct scope_look {
    struct satchel_map grants; /* packed value -> itself */
    uint32_t *verdicts;        /* by set: 2 * turn, 1 more if it is seen; less: not known */
    size_t verdict_capacity;
    uint32_t turn;
};

/* A change of a grant. */
struct scope_turn {
    uint64_t cursor;
    bool is_gained;
    struct scope_turn *next;
};

/* How the grant of a value changed behind the viewer's head. */
struct scope_turns {
    struct scope_turn *first, **last;
};

/* Rows that scope_left or scope_came may name, ascending. */
struct scope_candidates {
    struct satchel_arena arena;
    struct scope_values names;
    bool is_known; /* of the viewer's head */
};

struct scope_viewer {
    sqlite3 *db;
    sqlite3_stmt *statements[VIEWER_STATEMENT_COUNT];
    struct satchel_arena arena;
    struct satchel_buffer scratch;
    const struct satchel_schema *schema; /* NULL: none */
    struct satchel_span login, role;
    bool is_active; /* the user is one still */
    bool sees_all, is_blind;
    struct scope_look present;

    bool has_head;
    uint64_t head;
    struct scope_look ever;      /* the grants held at `head` or at any later one */
    struct scope_look steady;    /* those held all the time */
    struct satchel_map turns;    /* packed value -> struct scope_turns; no others changed */
    struct scope_values changed; /* these values */
    struct scope_candidates left, came;
    uint32_t *retold; /* numbers of tables, ascending, of which other columns are seen than were */
    uint32_t retold_count;
};

/* Whether the grants open the set; 0: there is none. */
enum satchel_status scope_look_sees(struct scope_viewer *viewer, struct scope_look *look,
                                    uint64_t set, bool *sees,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* The set that the row has; 0: none. */
enum satchel_status scope_viewer_set_of(struct scope_viewer *viewer, struct satchel_span name,
                                        uint64_t *set,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether the table alone says who sees its rows. */
bool scope_is_decided(const struct scope_viewer *viewer, const struct satchel_table *table,
                      bool *sees);
/* What the names of a table's rows begin with. */
enum satchel_status scope_name_prefix(struct satchel_buffer *out, uint32_t table) SATCHEL_MUST_USE;
/* Makes `head` the viewer's. */
enum satchel_status scope_viewer_look_back(struct scope_viewer *viewer, uint64_t head,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

#endif
