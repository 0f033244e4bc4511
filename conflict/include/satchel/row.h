/* How two edits meet: the merge of one write into one row. Pure.
 *
 * ## What a node knows of a row
 *
 * `struct satchel_row`: whether the row exists, its values, and its version: for every unit the
 * *heads*, the writes that no other write to that unit has seen, plus the heads among deletes.
 * Usually one write (the insert) is the only head of every unit, and the version is a few bytes.
 *
 * ## Why heads are enough
 *
 * A node merges a change set only when it holds everything the change set had seen. So when a write
 * w arrives, no write already here has seen w; only "which heads has w seen?" is asked:
 *
 *     heads' = { h in heads : w has not seen h } + { w }
 *
 * and each rule derives value and conflicts from heads' and the value before. Where the value comes
 * from other writes than the heads (the earliest claim, the highest role's heads, what counts of a
 * frozen unit), the version keeps these *candidates* beside them. A conflict is a head that did not
 * win and whose value differs; it closes when its loser stops being a head. Both are functions of
 * the *set* of writes and their views, whatever the order of arrival.
 *
 * ## What an insert writes
 *
 * An insert writes only what differs from the declared defaults (a field equal to its default is no
 * write): a unit that nobody wrote has its default and no heads, and a unit that one of two
 * concurrent inserts wrote has one head. A column whose default varies is always written. A column
 * of a group, or of a leader and its followers, that a write of the unit leaves out has its
 * default. A set or map that an insert leaves out gets from it the elements or keys of the default.
 *
 * ## Deletes and lives
 *
 * An update to a row that exists, an insert of a row never deleted, and a delete that has seen
 * every head of a row never deleted need nothing more. Everything else (a delete with unseen writes
 * beside it, or whose sight of the row has exceptions or rests on own updates outside its `seen`,
 * an update of a deleted row, an insert or delete of a row that ever was deleted) is answered from
 * the row's timeline: satchel_row_merge returns SATCHEL_NEED_TIMELINE and the caller calls
 * satchel_row_rebuild with every write to the row in order of arrival, the new one last:
 *
 *   ended   = deletes that some insert has seen, and deletes those had seen, and so on
 *   live    = inserts and updates that no ended delete has seen
 *   deletes = deletes not ended
 *   the row exists iff live has an insert and (deletes is empty, or some live write was seen by
 *       no delete and the policy is not delete_wins)
 *   delete conflicts: each of `deletes` that no other write of the row has seen, if it exists
 *   fields: the live writes merged one by one, in order of arrival
 *
 * A delete saw a write iff it saw all its fields, or the row if it wrote none; an update saw a
 * delete iff it saw it through every field that it writes itself.
 *
 * ## Freezing
 *
 * Units can be frozen in a state, of the row itself or of its parent: see conflict/src/freeze.c.
 * Deletes that the freezing write had not seen are none of `ended` and `deletes` then, but
 * conflicts all the same. Whatever the version alone cannot answer needs the timeline, as do
 * several heads of a @text3 unit.
 *
 * A row that does not exist has no open conflicts on its fields. An insert saw deletes of its row
 * and what those had seen, and its own device's writes; nothing else of the row, whatever its
 * `seen`. All this relies on `seen` being causal: what covers a write covers what it had seen. */
#ifndef SATCHEL_ROW_H
#define SATCHEL_ROW_H

#include <satchel/causality.h>
#include <satchel/rules.h>
#include <satchel/stamp.h>

enum satchel_op_kind { SATCHEL_OP_INSERT = 0, SATCHEL_OP_UPDATE = 1, SATCHEL_OP_DELETE = 2 };

/* One written field: what was done to it (operation.h). */
struct satchel_field {
    uint32_t column;
    struct satchel_value value;
};

/* One change set's operation on one row, as a node sees it. Everything borrowed. */
struct satchel_write {
    struct satchel_order order;      /* device, number, stamp as fixed, part */
    struct satchel_vector positions; /* where nodes have put the change set */
    struct satchel_vector seen;      /* the change set's */
    /* The devices that the author's is a copy of, and up to which number it was them: those change
     * sets are its own earlier ones. */
    struct satchel_vector ancestors;
    struct satchel_span role; /* of the author */
    enum satchel_op_kind kind;
    const struct satchel_field *fields; /* ascending column; key columns never; none for a delete */
    uint32_t field_count;
    const struct satchel_exception *exceptions;
    uint32_t exception_count;
    /* Where rows are merged (cluster.h): the member that was written, and the place in the node's
     * order of arrival (the entry's cursor). 0 elsewhere. */
    uint32_t member;
    uint64_t arrival;
};

/* Whether `write` (not an insert) had been shown, of `column` (or of the row, SATCHEL_COLUMN_ROW),
 * the write of `device`, `number` with those positions: an earlier one of its own device, or of one
 * that this is a copy of, up to the copy; else one
 * covered by the view of every exception that applies (the column's, the row's); else, if none
 * applies, one covered by `seen`. An exception on any column of a group applies to the group when
 * rows are merged. */
bool satchel_write_saw(const struct satchel_write *write, uint32_t column,
                       const struct satchel_id *device, uint64_t number,
                       const struct satchel_vector *positions);

/* Ids as small numbers, so that a stored version is a few bytes. The caller's store keeps the
 * table; a number is never reused. `number_of` may assign a new number (and fails only for lack of
 * memory). */
struct satchel_id_table {
    enum satchel_status (*number_of)(void *context, const struct satchel_id *id, uint32_t *number);
    enum satchel_status (*id_of)(void *context, uint32_t number, struct satchel_id *id);
    void *context;
};

/* Opaque; lives in the arena it was decoded or made in. A merge makes a new one, which borrows from
 * the one before: that arena must live as long. */
struct satchel_version;

/* The version of a row never seen before. NULL: no memory. */
struct satchel_version *satchel_version_new(struct satchel_arena *arena);
/* From what satchel_version_encode wrote. Bounded; CORRUPT, NOMEM. Copies what it keeps. */
enum satchel_status satchel_version_decode(struct satchel_arena *arena, struct satchel_span bytes,
                                           const struct satchel_id_table *ids,
                                           struct satchel_version **out) SATCHEL_MUST_USE;
enum satchel_status satchel_version_encode(const struct satchel_version *version,
                                           const struct satchel_id_table *ids,
                                           struct satchel_buffer *out) SATCHEL_MUST_USE;

/* The cursor of the last entry whose change set or effects touched the row: the end of its
 * timeline's chain. The caller's, kept in the version; 0 at first. */
uint64_t satchel_version_timeline(const struct satchel_version *version);
/* The same of what satchel_version_encode wrote; 0 if it is no version. */
uint64_t satchel_version_timeline_read(struct satchel_span bytes);
void satchel_version_set_timeline(struct satchel_version *version, uint64_t cursor);
/* Gives what a decoded version keeps of the writes of one change set other positions (borrowed by
 * the version): one more has become known. False: it keeps none of them. No value changes. */
bool satchel_version_reposition(struct satchel_version *version, const struct satchel_id *device,
                                uint64_t number, const struct satchel_vector *positions);

/* ---- freezing ---- */

/* The write that brought a row into a freezing state: of those that did, the first by order. */
struct satchel_freeze {
    struct satchel_order order;
    struct satchel_vector seen, ancestors; /* its change set's */
};

/* Of freezing_states[index], or NULL: not frozen. A row that does not exist freezes nothing. */
const struct satchel_freeze *satchel_version_freeze(const struct satchel_version *version,
                                                    uint32_t index);
/* Whether the freezing write had seen a write with that order and those positions: the same device
 * up to the same change set (which writes the lines and freezes them at once), a device that this
 * is a copy of up to the copy, or covered by its `seen`. */
bool satchel_freeze_saw(const struct satchel_freeze *freeze, const struct satchel_order *order,
                        const struct satchel_vector *positions);

/* ---- what lies outside the row ---- */

/* All borrowed. A merge is a function of the writes *and of this*: when something of it changes,
 * the caller rebuilds the rows it concerns. */
struct satchel_row_context {
    const struct satchel_machine *machines; /* of the schema, by satchel_column_rules.machine */
    uint32_t machine_count;
    const struct satchel_freeze *parent_freeze; /* for frozen(parent); NULL: not frozen */
    /* The value of a reference column as it is shown: that of the surviving row if it names one
     * that was merged away (true), else untouched (false). NULL: nothing was merged away. The
     * result lives as long as the merge. */
    bool (*resolve)(void *context, uint32_t column, const struct satchel_value *value,
                    struct satchel_value *resolved);
    void *resolve_context;
};

/* A row at a node. `values` has rules->column_count elements (key columns included, untouched) and
 * is meaningful only if `exists`; a merge replaces elements, the bytes then being in the merge's
 * arena. */
struct satchel_row {
    bool exists;
    struct satchel_value *values;
    struct satchel_version *version;
    const struct satchel_row_context *context; /* NULL: there is nothing of that kind */
};

/* What became of a written unit when it was merged. */
enum satchel_outcome {
    SATCHEL_OUTCOME_APPLIED = 0,     /* the unit now has the written value */
    SATCHEL_OUTCOME_SUPERSEDED = 1,  /* another write keeps it: see the conflict, or the rule */
    SATCHEL_OUTCOME_MERGED = 2,      /* combined with others: counter, set, map, text3 */
    SATCHEL_OUTCOME_QUARANTINED = 3, /* broke a rule, a right or a limit; not part of the state */
    SATCHEL_OUTCOME_FROZEN = 4       /* came after the write that froze the field, unseen by it */
};
const char *satchel_outcome_name(enum satchel_outcome outcome);

enum satchel_conflict_kind {
    SATCHEL_CONFLICT_RULE = 0,     /* the rule of the unit decided */
    SATCHEL_CONFLICT_DELETE = 1,   /* a lost delete */
    SATCHEL_CONFLICT_FROZEN = 2,   /* written to a frozen unit */
    SATCHEL_CONFLICT_DUPLICATE = 3 /* a row with the same key, merged into this one */
};

/* An open conflict: a head that did not win. Derived, never stored by this layer. */
struct satchel_conflict {
    enum satchel_conflict_kind kind;
    uint32_t unit;                  /* the unit's number, or SATCHEL_COLUMN_ROW: a lost delete */
    uint32_t member;                /* that the loser wrote to, where rows are merged; else 0 */
    enum satchel_rule rule;         /* of the unit; meaningless for a delete */
    enum satchel_severity severity; /* a lost delete is REVIEW */
    struct satchel_order loser;
    struct satchel_order winner; /* for a delete: the latest write that kept the row */
    /* Per column of the unit, ascending; NULL for a delete. Of a @map the operation, with the keys
     * that lost; of another rule that combines (into a frozen unit) the operation as written. */
    const struct satchel_value *lost;
    const struct satchel_value *kept; /* what the row has there now; NULL for a delete */
    uint32_t column_count;
};

struct satchel_conflict_list {
    struct satchel_conflict *items; /* ascending unit, then loser */
    size_t count;
};

/* The open conflicts of a row: a function of its version and values. */
enum satchel_status satchel_row_conflicts(const struct satchel_table_rules *rules,
                                          const struct satchel_row *row,
                                          struct satchel_arena *arena,
                                          struct satchel_conflict_list *out) SATCHEL_MUST_USE;

struct satchel_merge_result {
    /* One per field of the write. A delete has one for the row: applied if it is gone, superseded
     * if it survives. Writes to a row that stays deleted are superseded. NULL if none was merged.
     */
    enum satchel_outcome *outcomes;
    /* Per column, key columns never: the row's value is another than before the merge. For a row
     * that appears or disappears: the value it has now, or had, is not the declared default. */
    bool *changed;
    bool existed_before; /* with row->exists: whether the row appeared or disappeared */
};

/* Merges `write` into `row` (in place). New bytes and `result` live in `arena`; values of `write`
 * that are kept are copied. On any status but OK the row is unchanged.
 *   NEED_TIMELINE  see above; call satchel_row_rebuild
 *   NOMEM          arena exhausted
 *   REFUSED        the write breaks a rule that devices enforce at the write: an update of an
 *                  immutable or append column, a delete under `forbid`, bytes that are no operation
 *                  of the rule, a step that the machine does not allow from the state the write
 *                  itself names, an update without fields, a column number out of range, in the
 *                  key or out of order; or it updates or deletes a row never inserted here; `error`
 *                  says which. Never for what other writes did meanwhile */
enum satchel_status satchel_row_merge(const struct satchel_table_rules *rules,
                                      struct satchel_row *row, const struct satchel_write *write,
                                      struct satchel_arena *arena,
                                      struct satchel_merge_result *result,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* The row as a function of every write to it, given in order of arrival at this node (which
 * respects causality), the write being merged last. `row` is the row before (its key values and
 * timeline are kept; `result` compares against it) and becomes the row after. Statuses as above,
 * never NEED_TIMELINE. */
enum satchel_status satchel_row_rebuild(const struct satchel_table_rules *rules,
                                        struct satchel_row *row, const struct satchel_write *writes,
                                        size_t write_count, struct satchel_arena *arena,
                                        struct satchel_merge_result *result,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* The row again from all its writes, none of them new: because its context has changed. `result`
 * has no outcomes. NOMEM, and REFUSED for writes that fit no column. */
enum satchel_status satchel_row_recompute(const struct satchel_table_rules *rules,
                                          struct satchel_row *row,
                                          const struct satchel_write *writes, size_t write_count,
                                          struct satchel_arena *arena,
                                          struct satchel_merge_result *result,
                                          struct satchel_error *error) SATCHEL_MUST_USE;

#endif
