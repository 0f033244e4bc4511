/* Applying entries: what a node's stream does to the replica's tables.
 *
 *   apply.c        the transaction and the stream's state; the only writer of the cursor
 *   apply_entry.c  one entry: which rows it touches and how, the log, the conflicts
 *   apply_alias.c  rows merged into another, and rows of their own again
 *   apply_node.c   the node's value of a row with pending writes
 *   apply_row.c    what is shown of it: the pending writes replayed on the node's value; and
 *                  what their author was not shown
 *   apply_doubt.c  what is in view of a row that the node has lost writes to
 *   apply_lost.c   entries that the node had lost, when they come again
 *   copy.c         own change sets that the node has under the same number, but not the same
 *
 * An entry is applied whole or not at all. Several entries may share a transaction: every point
 * between two entries is a consistent state, so a crash loses at most work, never the order. */
#ifndef SATCHEL_APPLY_H
#define SATCHEL_APPLY_H

#include "pending.h"
#include "replica.h"

#include <satchel/alias.h>

enum satchel_apply_statement {
    APPLY_BEGIN,
    APPLY_BEGIN_READING,
    APPLY_COMMIT,
    APPLY_ROLLBACK,
    APPLY_READ_STATE,
    APPLY_WRITE_STATE,
    APPLY_TAKE_BODY,
    APPLY_DROP_CHANGE,
    APPLY_ANY_BASE,
    APPLY_READ_BASE,
    APPLY_WRITE_BASE,
    APPLY_DROP_BASE,
    APPLY_FIND_CONFLICT,
    APPLY_READ_PAST,
    APPLY_WRITE_RECEIPT,
    APPLY_HAS_WHOLE,
    APPLY_READ_RECEIPT,
    APPLY_ANY_LOST,
    APPLY_FIND_LOST,
    APPLY_DROP_LOST,
    APPLY_LOST_OWN,
    APPLY_NOTE_LOST_OWN,
    APPLY_NOTE_OWN,
    APPLY_FORGET_OWN,
    APPLY_ANY_CONFLICT,
    APPLY_ROW_CONFLICTS,
    APPLY_DROP_OPEN,
    APPLY_DROP_CONFLICT,
    APPLY_IN_DOUBT,
    APPLY_READ_VIEW,
    APPLY_WRITE_VIEW,
    APPLY_DROP_VIEW,
    APPLY_DROP_VIEWS,
    APPLY_ANY_MISSING,
    APPLY_ANY_DOUBT,
    APPLY_ANY_FORGOTTEN,
    APPLY_FORGET_ROW,
    APPLY_REMEMBER_ROW,
    APPLY_STATEMENT_COUNT
};

/* A row that an entry touches and that is worked out in memory before the table is written: rows
 * with pending writes, and all rows of an entry whose values change places under a UNIQUE index. */
struct satchel_row_plan {
    struct satchel_row_plan *next;
    const struct satchel_table *table;
    const struct satchel_value *key;
    struct satchel_span name;
    struct satchel_pending_row *pending; /* NULL: nothing is pending on it */
    struct satchel_base node;            /* what the node holds */
    bool had_base;                       /* satchel_base has the row */
    bool is_present;                     /* what the table holds before the entry */
    struct satchel_value *present;
    bool is_shown; /* what the table shall hold after it */
    bool is_left;  /* an edit whose row the node deleted: the table's row stays as it is */
    struct satchel_value *shown;
    bool *hides; /* by unit: a pending write to it is shown in place of the node's value */

    /* Of a row in doubt (replica.h): the views that satchel_view has of it, and what the entry in
     * hand does to it. */
    bool is_in_doubt;
    struct satchel_exception *views;
    uint32_t view_count;
    bool is_heard;  /* a part or an effect was of the row */
    bool *is_given; /* by unit: the node's value of it comes into view, unless it is hidden */
    bool is_row_given;
};

struct satchel_apply {
    struct satchel_replica *replica;
    sqlite3_stmt *statements[APPLY_STATEMENT_COUNT];
    struct satchel_log *log;

    /* made for one schema object; renewed when migrations arrive */
    const struct satchel_schema *schema;
    uint32_t migration_count;
    struct satchel_row_io *rows;
    bool *is_touched;     /* by table number - 1: changed since the last commit */
    uint32_t table_count; /* of is_touched */

    struct satchel_pending pending;
    struct satchel_aliases *aliases;
    bool has_aliases; /* some row is one */

    /* the stream's state: as in satchel_replica at begin, ahead of it until commit */
    struct satchel_id node;
    uint64_t cursor;
    satchel_stamp seen_stamp, last_stamp;
    uint64_t last_number;
    uint64_t complete, moved_head, rewinds; /* see satchel_replica */
    struct satchel_id end;                  /* of HEAD, if it belongs to `cursor`; else zero */
    struct satchel_position seen_items[SATCHEL_VECTOR_COUNT_MAX];
    struct satchel_vector seen;
    /* `seen` without what was lost and is not back; with the entry in hand: its memory */
    bool has_held;
    struct satchel_position held_items[SATCHEL_VECTOR_COUNT_MAX];
    struct satchel_vector held, held_next;
    /* the incarnations of the node before the present one, and the last cursor of each */
    struct satchel_vector past;
    struct satchel_arena past_arena;
    struct satchel_id past_node; /* the present one when they were read */
    bool is_open;                /* a transaction is */
    /* The number of the own change set of which the node holds another, and the own one's hash:
     * this replica is a copy (copy.c). 0: none. */
    uint64_t diverged_number;
    uint8_t diverged_hash[SATCHEL_HASH_BYTES];
    bool has_diverged_lost; /* it is one that a node had answered and lost */
    bool has_base;          /* satchel_base is not empty */
    bool has_lost;          /* satchel_lost is not */
    bool has_forgotten;     /* satchel_forget is not */
    bool must_forget;       /* the log may say what it should not (forget.c) */

    /* of the entry in hand */
    struct satchel_arena arena;
    struct satchel_map plans; /* row name -> satchel_row_plan */
    struct satchel_row_plan *first_plan, **plan_end;
    struct satchel_pending_set *own; /* the change set this entry answers, NULL for one of others */
    bool all_planned;                /* no row is written before every row is known */
    bool has_new_aliases;            /* it made or ended an alias */
    struct satchel_moved_row *moved; /* rows that pending writes left or came to for that */
    struct satchel_buffer name, scratch, stored;

    /* counted over its life; _stored: as of the last commit */
    uint64_t entry_count, conflict_count, quarantined_count;
    uint64_t entry_stored, conflict_stored, quarantined_stored;
};

/* ---- apply.c ---- */

/* `replica` must outlive it. SCHEMA: a trigger of the application is unguarded (named). */
enum satchel_status satchel_apply_new(struct satchel_apply **out, struct satchel_replica *replica,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_apply_free(struct satchel_apply *apply);
/* BEGIN IMMEDIATE, or without the write lock a reading transaction; reads the state, the schema if
 * it has grown, and local writes made meanwhile. BUSY: another connection held the write lock for
 * as long as the busy timeout allows; try again. AGAIN: another sync has found the replica to be a
 * copy. */
enum satchel_status satchel_apply_begin(struct satchel_apply *apply, bool is_writing,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* The incarnations are read again: they were written inside the open transaction. */
enum satchel_status satchel_apply_read_past(struct satchel_apply *apply,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* Writes the state and commits. After a failure nothing of the transaction is left. */
enum satchel_status satchel_apply_commit(struct satchel_apply *apply,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* Ends a transaction in which nothing was written. */
void satchel_apply_release(struct satchel_apply *apply);
/* Gives the transaction up; fine when there is none. */
void satchel_apply_rollback(struct satchel_apply *apply);
/* Installs migrations inside the open transaction; nothing else may have been applied in it. */
enum satchel_status satchel_apply_migrate(struct satchel_apply *apply,
                                          const struct satchel_message_schema *schema,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* `SATCHEL_SQL` with SQLite's words and code, and what was being done. BUSY for a lock. */
enum satchel_status satchel_apply_sql_error(const struct satchel_apply *apply, const char *doing,
                                            struct satchel_error *error);
/* Steps a bound statement that gives no rows, and resets it. */
enum satchel_status satchel_apply_run(struct satchel_apply *apply,
                                      enum satchel_apply_statement statement, const char *doing,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether a bound statement gives a row, and resets it. */
enum satchel_status satchel_apply_any(struct satchel_apply *apply,
                                      enum satchel_apply_statement statement, bool *any,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- apply_lost.c ---- */

/* An own change set is in the log as another device's. */
enum satchel_status satchel_apply_note_own(struct satchel_apply *apply,
                                           const struct satchel_entry *entry,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* What the entry says of those that the node has yet to be given back. */
enum satchel_status satchel_apply_drop_lost(struct satchel_apply *apply,
                                            const struct satchel_entry *entry,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* The positions of an entry that the log has, perhaps without some of them: another sync of this
 * replica may have heard it before they came. */
enum satchel_status satchel_apply_take_positions(struct satchel_apply *apply,
                                                 const struct satchel_entry *entry,
                                                 struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- apply_entry.c ---- */

/* Applies one entry inside the open transaction; one at or below the cursor is skipped. On failure
 * the caller rolls back. AGAIN: this replica is a copy (diverged_number); CORRUPT: the node sent
 * what no node sends; SQL: a UNIQUE index or trigger of the application's own stands against it
 * (named). */
enum satchel_status satchel_apply_entry(struct satchel_apply *apply,
                                        const struct satchel_entry *entry,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* The node has sent everything up to HEAD's cursor; inside the open transaction. */
enum satchel_status satchel_apply_head(struct satchel_apply *apply,
                                       const struct satchel_message_head *head,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* The incarnation of the node that put the entry there. */
const struct satchel_id *satchel_apply_node_at(const struct satchel_apply *apply, uint64_t cursor);

/* The table of a part or effect, after a look at everything the rest relies on. CORRUPT. */
enum satchel_status satchel_apply_check(const struct satchel_apply *apply, uint32_t number,
                                        uint32_t key_count, const struct satchel_field *fields,
                                        uint32_t field_count, const struct satchel_table **out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* For who applies rows without an entry: the parts and effects that change rows (`entry`:
 * where), the entry into the log, the conflicts, and the end of what was planned. */
enum satchel_status satchel_apply_write_effects(struct satchel_apply *apply,
                                                const struct satchel_entry *entry,
                                                const struct satchel_changeset *changeset,
                                                const struct satchel_notes *notes,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
/* What lets this device give the entry back to a server that has lost it. `is_cut`: the log has not
 * all of it. */
enum satchel_status satchel_apply_keep_receipt(struct satchel_apply *apply,
                                               const struct satchel_entry *entry, bool is_cut,
                                               struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_apply_append(struct satchel_apply *apply,
                                         const struct satchel_entry *entry,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
enum satchel_status satchel_apply_record_conflicts(struct satchel_apply *apply,
                                                   const struct satchel_notes *notes,
                                                   struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_apply_forget_plans(struct satchel_apply *apply);

/* ---- apply_rows.c ---- */

/* Rows that leave the replica or come into it, and what the log has about these; inside the open
 * transaction. */
enum satchel_status satchel_apply_scope(struct satchel_apply *apply,
                                        const struct satchel_message_scope *scope,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

/* An entry that the log is to have, whatever it has of it now; rows are left as they are. Inside
 * the open transaction. */
enum satchel_status satchel_apply_past(struct satchel_apply *apply,
                                       const struct satchel_entry *entry,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* Rows as the node has them at the replica's cursor, in notes: the tables and the rows' conflicts
 * become that, with what is pending on them. Inside the open transaction. */
enum satchel_status satchel_apply_rows(struct satchel_apply *apply, struct satchel_span notes,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* Of rows that an entry evicts, because they are one with a row that the replica does not get: its
 * conflicts go on there, or end there. Those that are closed already stay what they were. */
enum satchel_status satchel_apply_drop_evicted(struct satchel_apply *apply,
                                               const struct satchel_notes *notes,
                                               struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- copy.c ---- */

/* Whether the entry of this device answers its own change set of that number, which is pending.
 * AGAIN: it is another one, and diverged_number is set. */
enum satchel_status satchel_copy_compare(struct satchel_apply *apply,
                                         const struct satchel_entry *entry,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* The same of one that a node had answered and lost: this device may have given it back, or another
 * file with its id may have taken its number meanwhile. */
enum satchel_status satchel_copy_compare_lost(struct satchel_apply *apply,
                                              const struct satchel_entry *entry,
                                              struct satchel_error *error) SATCHEL_MUST_USE;

/* The entry of another device has the number of the oldest change set that is pending here: whether
 * it is that very one, sent by another file while both were one device. AGAIN: it is, as this
 * replica's copy, which this one is too. */
/* The secret of the own change set that is pending under the number. SQL. */
enum satchel_status satchel_copy_secret(struct satchel_apply *apply, uint64_t number,
                                        uint8_t secret[SATCHEL_SECRET_BYTES]) SATCHEL_MUST_USE;
enum satchel_status satchel_copy_meet(struct satchel_apply *apply,
                                      const struct satchel_entry *entry, bool *is_own,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- apply_alias.c ---- */

/* Takes the aliases that the effects make and end into satchel_alias, and brings the pending index
 * in line with them. Before anything else of the entry; no change set is being answered yet. */
enum satchel_status satchel_apply_aliases(struct satchel_apply *apply,
                                          const struct satchel_notes *notes,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* Plans for the rows that pending writes left or came to, and for those whose pending fields point
 * at one. */
enum satchel_status satchel_apply_plan_moved(struct satchel_apply *apply,
                                             struct satchel_error *error) SATCHEL_MUST_USE;
/* The key of the row that stands for the one with `*key`. */
enum satchel_status satchel_apply_resolve(struct satchel_apply *apply,
                                          const struct satchel_table *table,
                                          const struct satchel_value **key, bool *is_alias,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* Pending fields that point at an alias are shown pointing at the row that stands for it. */
enum satchel_status satchel_apply_resolve_references(struct satchel_apply *apply,
                                                     struct satchel_row_plan *plan,
                                                     struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- apply_node.c ---- */

/* The plan of a row, made and loaded at first use. `name` may be any storage. */
enum satchel_status satchel_row_plan_get(struct satchel_apply *apply,
                                         const struct satchel_table *table,
                                         const struct satchel_value *key, struct satchel_span name,
                                         struct satchel_row_plan **out,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* What a part does if it takes effect as it stands: its fields hold values then. Of one that did
 * not (`is_unlike`) only which fields it wrote: what is in them nobody has checked. NOMEM, CORRUPT.
 */
enum satchel_status satchel_effect_of_part(struct satchel_apply *apply,
                                           const struct satchel_table *table,
                                           const struct satchel_part *part, bool is_unlike,
                                           struct satchel_effect *effect) SATCHEL_MUST_USE;
/* Applies an effect to the node's values of the row. */
enum satchel_status satchel_row_plan_effect(struct satchel_row_plan *plan,
                                            const struct satchel_effect *effect) SATCHEL_MUST_USE;
/* Whether satchel_base has the row. */
enum satchel_status satchel_base_exists(struct satchel_apply *apply, struct satchel_span name,
                                        bool *exists, struct satchel_error *error) SATCHEL_MUST_USE;
/* A row's values when it is inserted with `fields`: the others have their declared default. */
void satchel_row_fill(const struct satchel_table *table, const struct satchel_value *key,
                      const struct satchel_field *fields, uint32_t field_count,
                      struct satchel_value *values);

/* The first write to the row that stays pending when the entry in hand has answered its own; or
 * NULL. */
struct satchel_pending_op *satchel_row_plan_left(const struct satchel_apply *apply,
                                                 const struct satchel_row_plan *plan);
/* What the node has under the pending writes from `op` on, as far as these tell: `values` and
 * `*exists` hold what the table shows and become the node's. Writes to an alias of the row tell
 * nothing: they are shown on it only where satchel_base has it. False: no memory. */
bool satchel_row_plan_under(const struct satchel_row_plan *plan,
                            const struct satchel_pending_op *op, struct satchel_arena *arena,
                            struct satchel_value *values, bool *exists);

/* Whether SQLite refused a row for a constraint, index or trigger. */
bool satchel_apply_is_constraint(enum satchel_status status, const struct satchel_error *error);

/* ---- apply_row.c ---- */

/* Notes that others' writes or effects touched these fields (all, if WHOLE) of the row: what is
 * pending there was not shown them. */
enum satchel_status satchel_row_plan_touch(struct satchel_apply *apply,
                                           struct satchel_row_plan *plan,
                                           enum satchel_effect_kind kind,
                                           const struct satchel_field *fields,
                                           uint32_t field_count) SATCHEL_MUST_USE;
/* Whether pending writes hide nothing: what others add is shown with what is added here. */
bool satchel_rule_is_shown_merged(enum satchel_rule rule);
/* Works out what is shown of every plan and writes tables and satchel_base. */
enum satchel_status satchel_row_plans_finish(struct satchel_apply *apply,
                                             struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- apply_doubt.c ---- */

/* `held` is `seen` without the position, and all of that node behind it. */
void satchel_doubt_clip(struct satchel_apply *apply, const struct satchel_position *lost);
/* Of what was seen no more than this counts. */
void satchel_doubt_clip_seen(struct satchel_apply *apply, const struct satchel_vector *vector);
/* Whether the row is in doubt, or has a view from when it was. */
enum satchel_status satchel_doubt_find(struct satchel_apply *apply, struct satchel_span name,
                                       bool *is_in_doubt,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* What a plan keeps of a row in doubt. */
enum satchel_status satchel_doubt_load(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* The entry has a part or an effect on the row; only if that is effective the node's value of what
 * it names comes into view. */
void satchel_doubt_hear(struct satchel_row_plan *plan, const struct satchel_effect *effect,
                        bool is_effective);
/* The view of the unit, or of SATCHEL_COLUMN_ROW, as the entry in hand found it. */
const struct satchel_vector *satchel_doubt_view(const struct satchel_apply *apply,
                                                const struct satchel_row_plan *plan, uint32_t unit);
/* Writes satchel_view, when it is known what is shown. */
enum satchel_status satchel_doubt_finish(struct satchel_apply *apply, struct satchel_row_plan *plan,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether something that was lost is not in the log again. */
enum satchel_status satchel_doubt_any_missing(struct satchel_apply *apply, bool *any,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Forgets views and `held` if nothing is in doubt or missing any more. */
enum satchel_status satchel_doubt_forget(struct satchel_apply *apply,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

#endif
