/* Inside the conflict layer: the version of a row in memory, one unit while a write is merged into
 * it, and what a rule is. Nothing outside conflict/ includes this.
 *
 * A version holds the heads of every unit in little space by one convention: a unit *without* a
 * record of its own has the base write (the insert) as its only head if its present values differ
 * from the defaults, and no head at all if they are the defaults, because an insert writes only
 * what differs. */
#ifndef SATCHEL_CONFLICT_MERGE_H
#define SATCHEL_CONFLICT_MERGE_H

#include <satchel/operation.h>
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

/* A write to a follower alone that had seen the head it lies on (rule_follows.c). */
struct merge_top {
    uint32_t column;
    const struct merge_write *write;
    const struct satchel_value *value; /* NULL: what the head's values say */
};

struct merge_head {
    const struct merge_write *write; /* NULL: the defaults, on which only followers were written */
    const struct satchel_value *values; /* per column of the unit; NULL: the row's present ones */
    uint32_t value_count;               /* fewer than the unit's columns if one was added since */
    bool is_frozen;                     /* the write that froze the unit had not seen it */
    const struct merge_top *tops;       /* ascending column, then order; unseen by each other */
    uint32_t top_count;
};

/* One write to an element of a set (it added it) or to a key of a map. */
struct merge_entry {
    const struct merge_write *write;
    bool has_value;            /* a map's: the key was given a value, not removed */
    struct satchel_span value; /* JSON; no bytes: what the row's map says */
};

struct merge_item {
    struct satchel_span name;    /* JSON */
    struct merge_entry *entries; /* heads among the writes to it; of a map ascending by order */
    uint32_t entry_count;
};

/* Heads ascend by order, and so do candidates: the writes from which the value comes, where these
 * are not the heads (of a rule that combines: none at all, where all came too late for a freeze).
 * The heads of unit SATCHEL_COLUMN_ROW are inserts: what makes the row exist; those of a follower's
 * own number are writes to it alone that nobody has seen. A set's element or a map's key without an
 * item was written by the base alone. */
struct merge_unit {
    uint32_t unit;
    uint32_t head_count;
    struct merge_head *heads;
    bool has_candidates;
    uint32_t candidate_count;
    struct merge_head *candidates;
    struct merge_item *items; /* ascending name */
    uint32_t item_count;
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
    /* By freezing state, the parent's at MERGE_FREEZE_PARENT; NULL: never frozen. */
    const struct satchel_freeze **freezes;
};

enum {
    MERGE_FREEZE_PARENT = SATCHEL_FREEZING_STATES_MAX,
    MERGE_FREEZE_COUNT = MERGE_FREEZE_PARENT + 1
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

/* Whether the change set is one of those that a device with these ancestors was copied with. */
static inline bool merge_is_ancestral(const struct satchel_vector *ancestors,
                                      const struct satchel_id *device, uint64_t number)
{
    return ancestors->count > 0 && number > 0 && satchel_vector_get(ancestors, device) >= number;
}

/* Whether the change set is an earlier one of the write's own device, or of one that this is a copy
 * of, up to the copy. */
bool merge_is_own_earlier(const struct satchel_write *write, const struct satchel_id *device,
                          uint64_t number);
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

/* What a rebuild knows beyond the version: every write. */
struct merge_history {
    const struct satchel_write *writes;
    size_t count;
    const bool *live;                                                  /* per write */
    const struct satchel_write *freezing[SATCHEL_FREEZING_STATES_MAX]; /* NULL: not frozen */
};

struct merge_state {
    const struct satchel_table_rules *rules;
    struct merge_sight sight;
    const struct satchel_row_context *context; /* may be NULL */
    struct satchel_arena *arena;
    struct satchel_value
        *values; /* a working copy: the caller's row stays as it was until all is well */
    struct satchel_version *version;
    const struct merge_history *history; /* NULL: one write is merged into a version */
};

/* A live insert or update into every unit it writes. NOMEM, and NEED_TIMELINE if the state has no
 * history and a rule needs it. */
enum satchel_status merge_state_write(struct merge_state *state,
                                      const struct satchel_write *write) SATCHEL_MUST_USE;
/* All columns outside the key to their defaults. */
void merge_state_reset(struct merge_state *state);
/* The machine of a @state column; NULL: there is none. */
const struct satchel_machine *merge_machine(const struct satchel_row_context *context,
                                            const struct satchel_column_rules *column);

/* Whether the unit is one column, as most are. */
bool merge_is_one_column(const struct satchel_table_rules *rules, uint32_t unit);
/* The columns of a unit, ascending; `single` is storage for the usual case of one. NOMEM. */
enum satchel_status merge_unit_columns(const struct satchel_table_rules *rules, uint32_t unit,
                                       struct satchel_arena *arena, uint32_t *single,
                                       const uint32_t **columns, uint32_t *count) SATCHEL_MUST_USE;
const struct satchel_field *merge_find_field(const struct satchel_write *write, uint32_t column);
/* What `write` says a column of a unit it writes holds: by its field or the default, references
 * shown as the row shows them; of a rule that combines the operation. Borrowed from the write or in
 * the arena. NOMEM. */
enum satchel_status merge_written_value(const struct merge_state *state,
                                        const struct satchel_write *write, uint32_t column,
                                        struct satchel_value *out) SATCHEL_MUST_USE;
/* Whether the field is no write at all: an insert's value equal to the default, if that is a
 * constant. */
bool merge_field_is_default(const struct satchel_table_rules *rules,
                            const struct satchel_write *write, const struct satchel_field *field);
/* Whether the write writes the unit itself, not only followers of it. An insert always does. */
bool merge_writes_leader(const struct satchel_table_rules *rules, const struct satchel_write *write,
                         uint32_t unit);
bool merge_values_equal(const struct satchel_value *a, const struct satchel_value *b,
                        uint32_t count);

/* ---- one unit ---- */

/* A unit taken out of the state: every head and candidate with its values, if the rule picks. */
struct merge_work {
    struct merge_state *state;
    const struct merge_rule *rule;
    uint32_t number;
    uint32_t single;
    const uint32_t *columns;
    uint32_t column_count;
    uint32_t leader; /* the place of column `number` among `columns` */
    struct satchel_value *present;
    bool was_touched; /* some write to the unit came before */
    struct merge_unit record;
};

enum satchel_status merge_work_load(struct merge_work *work, struct merge_state *state,
                                    uint32_t number) SATCHEL_MUST_USE;
/* Puts the unit back: the decided values, and a record unless the convention holds. NOMEM. */
enum satchel_status merge_work_store(struct merge_work *work,
                                     const struct satchel_value *decided) SATCHEL_MUST_USE;
/* The writes from which the value comes: candidates or heads. */
const struct merge_head *merge_work_choices(const struct merge_work *work, uint32_t *count);
/* Where the value comes from, among `count` > 0 choices with their values. */
uint32_t merge_work_pick(const struct merge_work *work, const struct merge_head *choices,
                         uint32_t count);

/* heads' = { h in heads : the write has not seen h } + { incoming }, in place with room for one
 * more; the number of heads'. */
uint32_t merge_heads_advance(const struct merge_sight *sight, uint32_t unit,
                             struct merge_head *heads, uint32_t head_count,
                             const struct satchel_write *write, const struct merge_head *incoming);

/* ---- rules ---- */

/* What a rule picks from. */
struct merge_choice {
    const struct merge_head *heads; /* ascending order, with their values */
    uint32_t count;
    uint32_t leader; /* the place of the ruling column among the values */
    const struct satchel_column_rules *column;
    const struct satchel_machine *machine; /* of a @state, if known */
};

/* What a write is to the candidates. */
enum merge_admission {
    MERGE_JOIN,    /* one of them, in place of those it had seen */
    MERGE_REPLACE, /* the only one */
    MERGE_STAY_OUT /* none: the value stays whatever it had seen */
};

/* One write into a unit whose rule combines. */
struct merge_combination {
    struct merge_work *work;
    const struct satchel_write *write;
    const struct merge_write *kept;
    const struct satchel_value *operation; /* or the value, of @max and @min */
    struct satchel_value decided;          /* out; in the arena. At first the present value */
};

/* Either `pick` or `combine`. */
struct merge_rule {
    bool is_final;     /* set when the row is inserted, never updated */
    bool keeps_values; /* the version holds the values of heads that did not win */
    bool is_merged;    /* a write is merged with others: it neither wins nor loses */
    bool is_text;      /* several heads are merged from the row's timeline */
    bool has_items;    /* written by elements or keys */
    /* NULL: every write joins. `choice` is what stood before and is not empty. */
    enum merge_admission (*admit)(const struct merge_choice *choice,
                                  const struct merge_head *incoming);
    uint32_t (*pick)(const struct merge_choice *choice);
    enum satchel_status (*combine)(struct merge_combination *combination);
    /* Whether a head whose values differ from the row's is a conflict, and how severe; `choice` is
     * of that one head. NULL: never. */
    bool (*is_conflict)(const struct merge_choice *choice, enum satchel_severity *severity);
};

/* The greatest head, or the smallest; a notice, or for a person (rule_lww.c). */
uint32_t merge_pick_latest(const struct merge_choice *choice);
uint32_t merge_pick_earliest(const struct merge_choice *choice);
bool merge_conflict_notice(const struct merge_choice *choice, enum satchel_severity *severity);
bool merge_conflict_review(const struct merge_choice *choice, enum satchel_severity *severity);

extern const struct merge_rule merge_rule_lww;
extern const struct merge_rule merge_rule_group;
extern const struct merge_rule merge_rule_immutable;
extern const struct merge_rule merge_rule_max;
extern const struct merge_rule merge_rule_min;
extern const struct merge_rule merge_rule_first;
extern const struct merge_rule merge_rule_counter;
extern const struct merge_rule merge_rule_authority;
extern const struct merge_rule merge_rule_claim;
extern const struct merge_rule merge_rule_server;
extern const struct merge_rule merge_rule_key;
extern const struct merge_rule merge_rule_state;
extern const struct merge_rule merge_rule_follows;
extern const struct merge_rule merge_rule_set;
extern const struct merge_rule merge_rule_map;
extern const struct merge_rule merge_rule_text3;

/* NULL: no such rule. */
const struct merge_rule *merge_rule_of(enum satchel_rule rule);

/* A write to followers of the unit alone, into the heads it had seen (rule_follows.c). NOMEM. */
enum satchel_status merge_followers(struct merge_work *work, const struct satchel_write *write,
                                    const struct merge_write *kept, bool counts) SATCHEL_MUST_USE;
/* A write to the unit itself had seen writes to its followers alone. NOMEM. */
enum satchel_status merge_followers_seen(struct merge_work *work,
                                         const struct satchel_write *write) SATCHEL_MUST_USE;
/* Several heads of a @text3 unit become one text (rule_text3.c); the state has its history.
 * NOMEM. */
enum satchel_status merge_texts(struct merge_state *state) SATCHEL_MUST_USE;
/* The step that a @state operation makes: the state before (NULL of an insert) and after, which is
 * all `after` that a plain value says. NOMEM. */
enum satchel_status merge_state_step(enum satchel_op_kind kind,
                                     const struct satchel_value *operation,
                                     struct satchel_arena *arena, struct satchel_value *before,
                                     struct satchel_value *after) SATCHEL_MUST_USE;
/* Of a @map unit, what `write` lost: as an operation, and to whom (of the first key); NULL: nothing
 * (rule_map.c). `present` is the row's map. NOMEM. */
enum satchel_status merge_map_lost(const struct merge_unit *unit,
                                   const struct satchel_value *present,
                                   const struct merge_write *write, struct satchel_arena *arena,
                                   struct satchel_value *lost,
                                   const struct merge_write **winner) SATCHEL_MUST_USE;

/* ---- freezing (freeze.c) ---- */

/* The writes that froze the row, into history->freezing. NOMEM. */
enum satchel_status merge_find_freezing(struct merge_state *state,
                                        struct merge_history *history) SATCHEL_MUST_USE;
/* Copies them, and the parent's, into the version. NOMEM. */
enum satchel_status merge_keep_freezes(struct merge_state *state) SATCHEL_MUST_USE;
/* Whether anything of the row is frozen. */
bool merge_is_frozen(const struct merge_state *state);
/* Whether the write counts in the unit: it is not frozen, or what froze it had seen the write. */
bool merge_counts(const struct merge_state *state, const struct satchel_write *write,
                  uint32_t unit);
/* Whether the delete does nothing, because what froze the row had not seen it. */
bool merge_is_idle_delete(const struct merge_state *state, const struct satchel_write *write);
/* Before `write` is merged into the version alone: freezes it brings are recorded. NEED_TIMELINE if
 * they, or the parent's, concern what is merged already. NOMEM. */
enum satchel_status merge_freeze_row(struct merge_state *state,
                                     const struct satchel_write *write) SATCHEL_MUST_USE;

/* ---- checks and results shared by one write (row.c) and a whole timeline (lives.c) ---- */

/* REFUSED if the write breaks what devices enforce, whatever the row's state. */
enum satchel_status merge_check_write(const struct satchel_table_rules *rules,
                                      const struct satchel_row_context *context,
                                      const struct satchel_write *write,
                                      struct satchel_arena *arena,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status merge_refuse_missing(const struct satchel_write *write,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* The result of `write` (NULL: without outcomes), from the row before and the state after.
 * NOMEM. */
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
 * seen; as if nothing were frozen. NOMEM. */
enum satchel_status merge_find_live(const struct merge_sight *sight,
                                    const struct satchel_write *writes, size_t write_count,
                                    struct satchel_arena *arena, bool **is_live) SATCHEL_MUST_USE;
/* REFUSED unless every column that the write names can be merged. */
enum satchel_status merge_check_columns(const struct satchel_table_rules *rules,
                                        const struct satchel_write *write, size_t index,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
