/* Stories: a few writes to one row, told in a line each, and what becomes of the row in every order
 * of arrival that the authors' knowledge allows. Every change set has a node of its own, so that
 * "a saw b" is said by naming b. */
#ifndef SATCHEL_TEST_STORY_KIT_H
#define SATCHEL_TEST_STORY_KIT_H

#include <satchel/operation.h>
#include <satchel/row.h>

#define STORY_COLUMNS 6 /* column 0 is the key */
#define STORY_WRITES 8
#define STORY_FIELDS 4

/* The machine of stories: cancelled 90 (closed), draft 10, lost 40 (closed), sent 20 (back to
 * draft), won 50 (closed, back to draft). */
extern const struct satchel_machine story_machine;

struct story_field {
    uint32_t column;
    const char *value; /* NULL; digits are an INTEGER, "x'..." a BLOB of the rest, else TEXT */
};

struct story_write {
    const char *name; /* device letter, number */
    int64_t ms;
    const char *seen; /* names apart by spaces, or NULL */
    struct story_field fields[STORY_FIELDS];
    const char *role;          /* NULL: "rep" */
    enum satchel_op_kind kind; /* the first write of a story is an insert anyway */
    bool saw_own_only;         /* of this row, whatever the change set had seen */
    const char *copy_of; /* its device is a copy of this one's, up to this number; NULL: of none */
};

struct story {
    struct satchel_column_rules columns[STORY_COLUMNS]; /* unit 0: its own */
    struct satchel_table_rules rules;                   /* columns and count are filled in */
    struct satchel_row_context context;                 /* the machine is filled in */
    struct story_write writes[STORY_WRITES];
    /* "column=value" of columns not at NULL, apart by spaces, then " | " and open conflicts:
     * "[kind ]unit:loser<winner", "!" behind those for review; of the lost value, if it matters,
     * "(column=value)". "gone" for a row that does not exist. */
    const char *expected;
};

/* Fails the test unless every order, with and without storing the version between, gives what is
 * expected, and so does a rebuild. */
void story_check(const struct story *story);
/* The writes in the order they stand; the outcomes of the last: "applied frozen". */
void story_check_outcomes(const struct story *story, const char *expected);
/* As story_check_outcomes, but the last write is refused with a message that contains `part`. */
void story_check_refused(const struct story *story, const char *part);

/* The version after all writes but the last is stored and damaged: truncated anywhere it is
 * corrupt, with bits flipped corrupt or one into which the last write can be merged. */
void story_check_damage(const struct story *story);

/* The last write with ever more memory, merged and by rebuilding the row: until it succeeds it says
 * that there is none, and the row stays as it was. So does the list of conflicts. */
void story_check_memory(const struct story *story);

/* The order and positions of a write of a story: what a parent's freeze is made of. */
struct satchel_order story_order(const char *name, int64_t ms);
struct satchel_position story_position(const char *name);

#endif
