/* Inside the conflict layer: the version of a row in memory, one unit while a write is merged into
 * it, and what a rule is. Nothing outside conflict/ includes this.
 *
 * A version holds the heads of every unit in little space by one convention: a unit *without* a
 * record of its own has the base write (the insert) as its only head if its present values differ
 * from the defaults, and no head at all if they are the defaults, because an insert writes only
 * what differs. */
#ifndef SATCHEL_CONFLICT_MERGE_H
#define SATCHEL_CONFLICT_MERGE_H

#include <satchel/row.h>

/* ---- the version of a row ---- */

/* What is kept of a write: enough to tell who has seen it. Shared by pointer between units. */
struct merge_write {
    struct satchel_order order;
    struct satchel_vector positions;
    struct satchel_span role;
    uint32_t member; /* that was written, where rows are merged (cluster.h); else 0 */
    bool is_insert;
};

struct merge_head {
    const struct merge_write *write;
    const struct satchel_value *values; /* per column of the unit; NULL: the row's present ones */
    uint32_t value_count;               /* fewer than the unit's columns if one was added since */
};

/* Heads ascend by order. The keeper is the write whose value stands, where the rule asks for it: it
 * need not be a head. The heads of unit SATCHEL_COLUMN_ROW are inserts: what makes the row exist.
 */
struct merge_unit {
    uint32_t unit;
    uint32_t head_count;
    struct merge_head *heads;
    const struct merge_write *keeper;
};

/* A key head of a row that was merged into this one: a conflict of its own. */
struct merge_duplicate {
    uint32_t unit;
    const struct merge_write *write;  /* with the alias' member */
    const struct merge_write *winner; /* the survivor's own key */
    struct satchel_value lost;        /* the alias' key */
};

struct satchel_version {
    uint64_t timeline;
    bool was_deleted;               /* some delete of the row was ever merged */
    bool is_linked;                 /* made from the writes of several rows (cluster.h) */
    const struct merge_write *base; /* NULL: the row never existed or does not now */
    struct merge_unit *units;       /* ascending; units that do not follow the convention above */
    uint32_t unit_count;
    uint32_t unit_capacity;
    const struct merge_write **deletes; /* delete heads of a row that survived, ascending */
    uint32_t delete_count;
    const struct merge_write *survivor;       /* the latest write that no delete had seen, if any */
    const struct merge_duplicate *duplicates; /* ascending unit, then write */
    uint32_t duplicate_count;
};

/* A copy whose unit array may be changed; everything below it is shared. NULL: no memory. */
struct satchel_version *merge_version_copy(struct satchel_arena *arena,
                                           const struct satchel_version *version);
/* The unit's record, or NULL. */
const struct merge_unit *merge_version_find(const struct satchel_version *version, uint32_t unit);
/* Adds or replaces the record of unit->unit. NOMEM. */
enum satchel_status merge_version_put(struct satchel_version *version, struct satchel_arena *arena,
                                      const struct merge_unit *unit) SATCHEL_MUST_USE;
void merge_version_drop(struct satchel_version *version, uint32_t unit);
/* A deep copy of what is kept of `write`. NULL: no memory. */
const struct merge_write *merge_write_keep(struct satchel_arena *arena,
                                           const struct satchel_write *write);

/* ---- what a write had seen (view.c) ---- */

/* A write that another one may have seen. */
struct merge_target {
    const struct satchel_order *order;
    const struct satchel_vector *positions;
    uint32_t member;
};

static inline struct merge_target merge_target_kept(const struct merge_write *write)
{
    return (struct merge_target){&write->order, &write->positions, write->member};
}
static inline struct merge_target merge_target_write(const struct satchel_write *write)
{
    return (struct merge_target){&write->order, &write->positions, write->member};
}

/* Where rows are merged: whether the author of `write` had been shown that `member`, another one
 * than write->member, is the same row. Who had not been shown that has seen nothing of it. */
struct merge_links {
    bool (*knew)(void *context, const struct satchel_write *write, uint32_t member);
    void *context;
};

struct merge_sight {
    const struct satchel_table_rules *rules;
    const struct merge_links *links; /* NULL: one row by itself */
};

/* Whether `write` had seen, of `unit` (or SATCHEL_COLUMN_ROW), the write `target`. Of live writes
 * an insert saw only its own device's. */
bool merge_saw_unit(const struct merge_sight *sight, const struct satchel_write *write,
                    uint32_t unit, struct merge_target target);
/* Whether `write` had seen a delete: an update through every unit it writes. */
bool merge_saw_delete(const struct merge_sight *sight, const struct satchel_write *write,
                      struct merge_target target);
/* Whether the delete `write` had seen all that the insert or update `other` wrote. */
bool merge_delete_saw(const struct merge_sight *sight, const struct satchel_write *write,
                      const struct satchel_write *other);

/* ---- a row while writes are merged into it (unit.c) ---- */

struct merge_state {
    const struct satchel_table_rules *rules;
    struct merge_sight sight;
    struct satchel_arena *arena;
    struct satchel_value
        *values; /* a working copy: the caller's row stays as it was until all is well */
    struct satchel_version *version;
};

/* A live insert or update into every unit it writes. NOMEM. */
enum satchel_status merge_state_write(struct merge_state *state,
                                      const struct satchel_write *write) SATCHEL_MUST_USE;
/* All columns outside the key to their defaults. */
void merge_state_reset(struct merge_state *state);

/* The columns of a unit, ascending; `single` is storage for the usual case of one. NOMEM. */
enum satchel_status merge_unit_columns(const struct satchel_table_rules *rules, uint32_t unit,
                                       struct satchel_arena *arena, uint32_t *single,
                                       const uint32_t **columns, uint32_t *count) SATCHEL_MUST_USE;
/* The value that `write` gives to a column of a unit it writes: its field, or the default. */
const struct satchel_value *merge_written_value(const struct satchel_table_rules *rules,
                                                const struct satchel_write *write, uint32_t column);
/* Whether the field is no write at all: an insert's value equal to the default, if that is a
 * constant. */
bool merge_field_is_default(const struct satchel_table_rules *rules,
                            const struct satchel_write *write, const struct satchel_field *field);

/* ---- rules ---- */

/* One unit at the moment a rule decides: heads' already are the heads after the write. */
struct merge_decision {
    const struct merge_head
        *heads; /* ascending; every one with its values if the rule keeps them */
    uint32_t head_count;
    bool was_touched;                    /* some write to the unit came before this one */
    const struct satchel_value *present; /* the unit's values before */
    const struct merge_head *incoming;   /* the write, with its values, or deltas */
    struct satchel_arena *arena;
    /* in: the write whose value stood before; out: whose value stands now. NULL: none, or not asked
     * for */
    const struct merge_write *keeper;
    const struct satchel_value *decided; /* out: the unit's values now */
};

struct merge_rule {
    bool is_final;     /* set when the row is inserted, never updated */
    bool keeps_values; /* the version holds the values of heads that did not win */
    bool combines;     /* a write is merged with others: it neither wins nor loses */
    /* Why a value cannot be written, or NULL. NULL: any can. */
    const char *(*refusal)(const struct satchel_value *value);
    enum satchel_status (*decide)(struct merge_decision *decision);
    /* Whether a head whose values differ from the row's is a conflict, and how severe. NULL: never.
     */
    bool (*is_conflict)(const struct merge_head *head, enum satchel_severity *severity);
};

/* The greatest head's values stand; a head that says something else is a notice (rule_lww.c). */
enum satchel_status merge_decide_latest(struct merge_decision *decision);
bool merge_conflict_notice(const struct merge_head *head, enum satchel_severity *severity);

extern const struct merge_rule merge_rule_lww;
extern const struct merge_rule merge_rule_group;
extern const struct merge_rule merge_rule_immutable;
extern const struct merge_rule merge_rule_max;
extern const struct merge_rule merge_rule_min;
extern const struct merge_rule merge_rule_first;
extern const struct merge_rule merge_rule_counter;

/* NULL: parsed, but not built. */
const struct merge_rule *merge_rule_of(enum satchel_rule rule);

/* ---- checks and results shared by one write (row.c) and a whole timeline (lives.c) ---- */

/* REFUSED if the write breaks what devices enforce, whatever the row's state. */
enum satchel_status merge_check_write(const struct satchel_table_rules *rules,
                                      const struct satchel_write *write,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status merge_refuse_missing(const struct satchel_write *write,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* The result of `write` (NULL: outcomes are NULL), from the row before and the state after. NOMEM. */
enum satchel_status merge_result_fill(const struct satchel_row *before,
                                      const struct merge_state *after, bool exists,
                                      const struct satchel_write *write,
                                      struct satchel_merge_result *result) SATCHEL_MUST_USE;
/* Makes the state the row's. Cannot fail. */
void merge_state_commit(const struct merge_state *state, bool exists, struct satchel_row *row);

/* ---- a row from all its writes (lives.c) ---- */

/* The row from `writes`, in order of arrival and each checked already; `last` is the one being
 * merged, or NULL. A row rebuilt with links is from then on only rebuilt: satchel_row_merge says
 * NEED_TIMELINE. NOMEM. */
enum satchel_status merge_rebuild(const struct merge_sight *sight, struct satchel_row *row,
                                  const struct satchel_write *writes, size_t write_count,
                                  const struct satchel_write *last, struct satchel_arena *arena,
                                  struct satchel_merge_result *result,
                                  struct satchel_error *error) SATCHEL_MUST_USE;
/* Which of the writes are of the row's present life: inserts and updates that no ended delete has
 * seen. NOMEM. */
enum satchel_status merge_find_live(const struct merge_sight *sight,
                                    const struct satchel_write *writes, size_t write_count,
                                    struct satchel_arena *arena, bool **is_live) SATCHEL_MUST_USE;
/* REFUSED unless every column that the write names can be merged. */
enum satchel_status merge_check_columns(const struct satchel_table_rules *rules,
                                        const struct satchel_write *write, size_t index,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
