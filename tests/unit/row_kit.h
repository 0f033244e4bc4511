/* One row of one table with a column of every built rule, and writes said in a line. Every change
 * set has a node of its own, so that "a saw b" is said by naming b. */
#ifndef SATCHEL_TEST_ROW_KIT_H
#define SATCHEL_TEST_ROW_KIT_H

#include <satchel/row.h>

enum {
    KIT_ID,        /* the key */
    KIT_LWW,       /* default NULL */
    KIT_OPEN,      /* @lww, default 'open' */
    KIT_IMMUTABLE, /* default NULL */
    KIT_APPEND,    /* default NULL */
    KIT_AMOUNT,    /* @group(amount), default 0 */
    KIT_MAX,       /* default 30 */
    KIT_CURRENCY,  /* @group(amount), default NULL */
    KIT_MIN,       /* default NULL */
    KIT_FIRST,     /* default NULL */
    KIT_COUNTER,   /* default 100 */
    KIT_NOW,       /* @lww, default CURRENT_TIMESTAMP */
    KIT_COLUMNS
};

#define KIT_WRITES 32
#define KIT_SEEN 8

/* A change set as "device letter, number": "A1". Seen by others by that name. */
struct kit_write {
    const char *name;
    enum satchel_op_kind kind;
    int64_t ms;
    const char *seen; /* names apart by spaces, or NULL */
    struct satchel_field fields[KIT_COLUMNS];
    uint32_t field_count;
    struct satchel_exception exceptions[4];
    uint32_t exception_count;
};

struct kit {
    struct satchel_arena arena;
    struct satchel_column_rules columns[KIT_COLUMNS];
    struct satchel_table_rules rules;
    struct satchel_row row;
    struct satchel_value values[KIT_COLUMNS];
    struct satchel_write writes[KIT_WRITES]; /* as merged, in order of arrival */
    size_t write_count;
    struct satchel_merge_result result;
    struct satchel_error error;
};

void kit_init(struct kit *kit);
void kit_deinit(struct kit *kit);

struct satchel_value kit_text(const char *text);
struct satchel_id kit_device(char letter);
/* The position of the change set of that name, and a vector of several in the kit's arena. */
struct satchel_position kit_position(const char *name);
struct satchel_vector kit_vector(struct kit *kit, const char *names);

/* The write as a node sees it; in the kit's arena. */
struct satchel_write kit_make(struct kit *kit, const struct kit_write *write);
/* Merges, rebuilding where the merge asks for the timeline. The status of the last call. */
enum satchel_status kit_merge(struct kit *kit, const struct kit_write *write);
/* As kit_merge, but only satchel_row_merge, and the write is not remembered. */
enum satchel_status kit_merge_only(struct kit *kit, const struct kit_write *write);
/* Fails the test unless it merges. */
void kit_insert(struct kit *kit, const char *name, int64_t ms, uint32_t column,
                struct satchel_value value);
void kit_update(struct kit *kit, const char *name, int64_t ms, const char *seen, uint32_t column,
                struct satchel_value value);
void kit_delete(struct kit *kit, const char *name, int64_t ms, const char *seen);

/* Fails the test unless the row exists and the column has the value. */
void kit_expect(const struct kit *kit, uint32_t column, struct satchel_value value);
/* Fails the test unless the open conflicts are exactly these: "unit:loser<winner" apart by spaces,
 * unit being a column number or "row"; "" for none. */
void kit_expect_conflicts(struct kit *kit, const char *expected);

#endif
