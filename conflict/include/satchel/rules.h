/* The rules of a table: what the schema says happens when two people change a thing apart.
 *
 * Columns are numbered as SQLite numbers them (PRAGMA table_xinfo cid): ADD COLUMN appends, so a
 * number never changes its meaning. A *unit* is what wins or loses together: a column alone, the
 * columns of a group, or either with its followers. A unit is named by the lowest number of its
 * columns, followers not counted. */
#ifndef SATCHEL_RULES_H
#define SATCHEL_RULES_H

#include <satchel/value.h>

/* name, spelling in the schema */
#define SATCHEL_RULE_TABLE(X)  \
    X(ID, "@id")               \
    X(LWW, "@lww")             \
    X(IMMUTABLE, "@immutable") \
    X(APPEND, "@append")       \
    X(GROUP, "@group")         \
    X(MAX, "@max")             \
    X(MIN, "@min")             \
    X(FIRST, "@first")         \
    X(COUNTER, "@counter")     \
    X(SET, "@set")             \
    X(MAP, "@map")             \
    X(TEXT3, "@text3")         \
    X(SERVER, "@server")       \
    X(KEY, "@key")             \
    X(KEY_WEAK, "@key(weak)")  \
    X(FOLLOWS, "@follows")     \
    X(STATE, "@state")         \
    X(AUTHORITY, "@authority") \
    X(CLAIM, "@claim")

enum satchel_rule {
#define SATCHEL_RULE_ENUM(name, spelling) SATCHEL_RULE_##name,
    SATCHEL_RULE_TABLE(SATCHEL_RULE_ENUM)
#undef SATCHEL_RULE_ENUM
        SATCHEL_RULE_COUNT
};

/* "lww": the spelling without the sign. Borrowed. */
const char *satchel_rule_name(enum satchel_rule rule);

struct satchel_column_rules;
/* Whether a column's present value may be written again by anybody, as a sign that its row is
 * meant to stay. */
bool satchel_column_is_touchable(const struct satchel_column_rules *column);

enum satchel_delete_policy {
    SATCHEL_DELETE_FORBID,   /* refused */
    SATCHEL_DELETE_RESTRICT, /* refused at the device while other rows point at the row; merged as
                                EDIT_WINS */
    SATCHEL_DELETE_EDIT_WINS,
    SATCHEL_DELETE_DELETE_WINS /* gone, whatever the delete had not seen */
};

enum satchel_severity {
    SATCHEL_SEVERITY_NOTICE = 0, /* told to the losing author */
    SATCHEL_SEVERITY_REVIEW = 1  /* needs a person */
};

/* ---- state machines: data of the workspace (the view satchel_states) ---- */

struct satchel_state {
    struct satchel_span code;
    int64_t rank;
    bool is_closed;
    const struct satchel_span *back_to; /* lower states that may follow it */
    uint32_t back_to_count;
};

struct satchel_machine {
    const struct satchel_state *states; /* ascending code; no code twice */
    uint32_t state_count;
};

/* NULL: the machine has no such state. */
const struct satchel_state *satchel_machine_find(const struct satchel_machine *machine,
                                                 struct satchel_span code);

/* ---- what the schema says of columns and tables ---- */

#define SATCHEL_FROZEN_NEVER 0
#define SATCHEL_FROZEN_PARENT UINT32_MAX

struct satchel_column_rules {
    const char *name; /* for what people are told; NULL: the number is */
    enum satchel_rule rule;
    /* The number of the unit it belongs to: the lowest column of a group; of a follower that of its
     * leader's unit; else its own. */
    uint32_t unit;
    struct satchel_value default_value; /* the declared one, as a row that leaves it out gets it */
    bool in_key;                        /* part of the primary key */
    /* Of the column that names the unit: others @follow it, and are part of the unit too. */
    bool has_followers;
    /* The default is no constant (CURRENT_TIMESTAMP, random()): default_value is NULL and an insert
     * writes the column always, whatever its value. */
    bool default_varies;
    /* The row as a whole points at another by this column (REFERENCES, @ref): its value is shown
     * through aliases. */
    bool is_reference;
    const struct satchel_span *roles; /* @authority, @claim: the highest first */
    uint32_t role_count;
    uint32_t machine; /* @state: index among the machines of the schema */
    /* SATCHEL_FROZEN_NEVER, SATCHEL_FROZEN_PARENT, or 1 + an index into freezing_states. The same
     * for all columns of a unit. */
    uint32_t frozen;
};

struct satchel_table_rules {
    const char *name; /* as a column's */
    const struct satchel_column_rules *columns;
    uint32_t column_count;
    enum satchel_delete_policy delete_policy;
    /* The states that frozen(...) names, of the table's one @state column; at most
     * SATCHEL_FREEZING_STATES_MAX. A row freezes the rows below it (frozen(parent)) if there is
     * exactly one. */
    const struct satchel_span *freezing_states;
    uint32_t freezing_state_count;
    uint32_t state_column;    /* meaningful if there are freezing states */
    bool has_keys;            /* some column is @key (not weak): rows may be merged */
    bool is_frozen_by_parent; /* some column is frozen(parent) */
};

/* The place of `role` among the roles of an @authority or @claim, 0 the highest; role_count if it
 * is not ranked. */
uint32_t satchel_role_rank(const struct satchel_column_rules *column, struct satchel_span role);

#define SATCHEL_FREEZING_STATES_MAX 8
#define SATCHEL_COLUMNS_MAX 1000
#define SATCHEL_KEY_COLUMNS_MAX 16

#endif
