/* One user's view from inside: what its two files share. */
#ifndef SATCHEL_SCOPE_VIEWER_INTERNAL_H
#define SATCHEL_SCOPE_VIEWER_INTERNAL_H

#include "scope_internal.h"

enum viewer_statement {
    VIEWER_GRANTS,
    VIEWER_GRANT_MOVES,
    VIEWER_SET,
    VIEWER_SCOPE,
    VIEWER_FIRST_MOVE,
    VIEWER_MOVES_OF_ROW,
    VIEWER_MOVED,
    VIEWER_SETS_OF_VALUE,
    VIEWER_ROWS_OF_SET,
    VIEWER_STATEMENT_COUNT
};

/* Grants as of some moment, and which sets they open. */
struct scope_look {
    struct satchel_map grants; /* packed value -> itself */
    uint32_t *verdicts;        /* by set: 2 * turn, 1 more if it is seen; less: not known */
    size_t verdict_capacity;
    uint32_t turn;
};

/* A value was granted or taken behind the viewer's head. */
struct scope_grant_move {
    struct satchel_span packed;
    uint64_t cursor;
    bool is_gained;
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
    struct satchel_span login;
    bool sees_all;
    struct scope_look present;

    bool has_head;
    uint64_t head;
    struct scope_look past;        /* the grants at `head` */
    struct scope_look steady;      /* those held all the time since then */
    struct satchel_map is_changed; /* values whose grant was gained or lost since then, packed */
    struct scope_values changed;
    struct scope_grant_move *moves; /* of all of them, ascending */
    size_t move_count, move_capacity;
    struct scope_candidates left, came;
};

/* Whether the grants open the set; 0: there is none. */
enum satchel_status scope_look_sees(struct scope_viewer *viewer, struct scope_look *look,
                                    uint64_t set, bool *sees,
                                    struct satchel_error *error) SATCHEL_MUST_USE;
/* The set that the row has; 0: none. */
enum satchel_status scope_viewer_set_of(struct scope_viewer *viewer, struct satchel_span name,
                                        uint64_t *set,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* The set that it had at the viewer's head. */
enum satchel_status scope_viewer_past_set_of(struct scope_viewer *viewer, struct satchel_span name,
                                             uint64_t *set,
                                             struct satchel_error *error) SATCHEL_MUST_USE;
/* Makes `head` the viewer's. */
enum satchel_status scope_viewer_look_back(struct scope_viewer *viewer, uint64_t head,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

/* Whether the grants of some head from `first` to `last` opened the set. None is before the
 * viewer's. */
enum satchel_status scope_viewer_saw_between(struct scope_viewer *viewer, uint64_t set,
                                             uint64_t first, uint64_t last, bool *saw,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

#endif
