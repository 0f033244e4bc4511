/* What a CREATE or ALTER TABLE … ADD COLUMN statement says, read from its text: the kind of object,
 * its name, and where each column definition and constraint stands. It finds places, so that
 * comments can be matched to columns and refusals can name lines; what the definitions mean is
 * SQLite's to say. */
#ifndef SATCHEL_DEFINITIONS_H
#define SATCHEL_DEFINITIONS_H

#include <satchel/annotation.h>

#include "scanner.h"

enum satchel_object_kind {
    SATCHEL_OBJECT_NONE, /* no CREATE statement that SQLite would take either */
    SATCHEL_OBJECT_TABLE,
    SATCHEL_OBJECT_VIRTUAL_TABLE,
    SATCHEL_OBJECT_INDEX,
    SATCHEL_OBJECT_VIEW,
    SATCHEL_OBJECT_TRIGGER
};

/* The head of a CREATE statement. Names unquoted, NULL where absent. */
struct satchel_create {
    enum satchel_object_kind object;
    bool is_temporary, is_unique;
    const char *database; /* of database.name */
    const char *name;
    const char *target; /* the table or view an index or trigger is ON */
    /* where the text goes on behind the name; behind the target, if there is one */
    const uint8_t *behind_name, *behind_target;
    int line_behind_name;
};

/* NOMEM. */
enum satchel_status satchel_create_read(struct satchel_span statement, int line,
                                        struct satchel_arena *arena,
                                        struct satchel_create *out) SATCHEL_MUST_USE;

struct satchel_definition {
    const char *name; /* of a column, unquoted; NULL: a table constraint */
    const uint8_t *begin;
    int line;       /* where it begins */
    int line_end;   /* where its last token ends */
    int line_comma; /* of the comma behind it; 0: none */
};

enum satchel_clause_kind { SATCHEL_CLAUSE_CHECK, SATCHEL_CLAUSE_UNIQUE };

/* A CHECK or UNIQUE, in a column definition or as a table constraint. */
struct satchel_clause {
    enum satchel_clause_kind kind;
    uint32_t definition;            /* index of what it stands in */
    struct satchel_span expression; /* of CHECK, without the parentheses, comments and all */
    int line;
};

struct satchel_definitions {
    struct satchel_definition *items;
    uint32_t count, capacity;
    struct satchel_clause *clauses;
    uint32_t clause_count, clause_capacity;
    const char *table;    /* created or altered */
    const char *database; /* of database.table */
};

/* Of a CREATE TABLE (no items for CREATE TABLE … AS SELECT) or ALTER TABLE … ADD COLUMN (one item).
 * `*out` has no table name for anything else. NOMEM. */
enum satchel_status satchel_definitions_read(struct satchel_span statement, int line,
                                             struct satchel_arena *arena,
                                             struct satchel_definitions *out) SATCHEL_MUST_USE;

/* The definition a comment at `comment` on `comment_line` belongs to: the last one begun before it,
 * if it or its comma ends on that line. NULL: none. */
const struct satchel_definition *satchel_definitions_beside(const struct satchel_definitions *all,
                                                            const uint8_t *comment,
                                                            int comment_line);

/* An array of `count` elements with room for one more, grown by doubling in the arena; NULL: no
 * memory. */
void *satchel_arena_grow(struct satchel_arena *arena, void *array, uint32_t count,
                         uint32_t *capacity, size_t element_bytes);

#endif
