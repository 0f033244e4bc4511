/* The merge from inside: a batch of change sets, and one run over some of them.
 *
 * A batch decodes, checks and admits its change sets once. A run merges a stretch of them against
 * rows loaded for it and writes all of that, or, when the schema's constraints refuse a row,
 * nothing: then the batch is run again change set by change set, so that only the part at fault is
 * quarantined whatever happened to arrive together. */
#ifndef SATCHEL_MERGE_INTERNAL_H
#define SATCHEL_MERGE_INTERNAL_H

#include "incarnation.h"
#include "merge.h"

#include <satchel/map.h>

/* The largest change set over the widest table needs 5 GiB: 48 bytes per row and column. */
#define MERGE_ARENA_BYTES_MAX ((size_t)8 << 30)
#define MERGE_ROWS_MAX (4u << 20)
#define MERGE_TOO_LARGE "what it changes is too large for one entry: write less at a time"
/* Of a quarantine note: what SQLite said may quote a value of any length. Every part of a change
 * set may need one, within SATCHEL_NOTES_BYTES_MAX. */
#define MERGE_REASON_BYTES_MAX 200
/* The versions of one row, the values of its losing heads included. */
#define MERGE_VERSION_BYTES_MAX ((size_t)64 << 20)
/* Everything decoded for the timeline of one row; what is kept of it for the next rows. */
#define MERGE_TIMELINE_BYTES_MAX ((size_t)1 << 30)
#define MERGE_TIMELINE_BYTES_KEPT ((size_t)256 << 20)

struct merge_run;
struct merge_notes;
struct merge_touch;

/* A key by which a row was ever written, for finding rows that may be one with it. */
struct merge_key {
    uint32_t column;
    struct satchel_span match;
};

/* A row for as long as one run. */
struct merge_row {
    struct merge_run *run;
    struct satchel_store_row stored; /* as loaded, or written last; what names it */
    struct satchel_row row;          /* as merged so far */
    struct satchel_row_context context;
    bool *changed; /* per column, since it was loaded */
    bool was_gone; /* from the table, for some change sets of the run: then all columns are */
    bool is_known; /* has a version: was ever seen, or is now */
    bool is_dirty;
    bool has_conflicts; /* `conflicts` is what is open now */
    struct satchel_conflict_list conflicts;
    const struct merge_changeset *named_by; /* the last change set of the run with a part for it */
    uint32_t cause; /* the part of the last change set that changed it, itself or another row */

    /* merge_context.c */
    bool has_context;                     /* `context` is what this run merged it by */
    const struct satchel_table **targets; /* by reference: what it pointed at, by its type, then */
    bool was_new;                         /* then */
    struct merge_row *last_parent;        /* of a row that is not there */
    /* merge_spread.c */
    const struct merge_touch *lost_to; /* a value that lost on it points there */
    const struct merge_changeset *recomputed_by;
    uint32_t recomputed_count;
    /* merge_keys.c */
    bool has_keys; /* loaded */
    struct merge_key *keys;
    uint32_t key_count, key_capacity;
    uint64_t met_in; /* number of the search that had it already */
};

struct merge_part {
    const struct satchel_table *table; /* NULL: the part names no row of the schema */
    struct satchel_span reason;        /* data set: quarantined, whatever the rows hold */
};

/* A change set that is in turn and well-formed. */
struct merge_changeset {
    const struct satchel_incoming *incoming;
    struct satchel_incoming_outcome *outcome;
    struct satchel_store_device *device;
    struct satchel_vector ancestors; /* the device's */
    struct satchel_changeset content;
    struct merge_part *parts;
    satchel_stamp stamp; /* as fixed */
    uint8_t hash[SATCHEL_HASH_BYTES];
    struct satchel_vector earlier; /* positions that earlier incarnations gave it */

    /* of the present run */
    struct merge_row **rows; /* per part; NULL where the part has no table */
    uint64_t *timeline;      /* per part: the entry before in the row's chain */
    uint64_t cursor;
    struct satchel_position position;
    struct satchel_vector positions; /* that one, and the earlier ones */
};

/* Rows that came to exist, or were written, and lack a number: in order of arrival. */
struct merge_unnumbered {
    struct satchel_arena *arena;
    struct satchel_map by_name;
    struct satchel_store_row *rows; /* table, key, name */
    size_t count, capacity;
};

struct merge_batch {
    struct satchel_store *store;
    struct satchel_arena arena;
    struct satchel_store_head head; /* moves on with every run that was written */
    struct incarnations known;      /* as before the batch; what it brings back is held at once */
    int64_t now_ms;
    struct merge_changeset *changesets;
    size_t changeset_count;
    struct satchel_store_device *devices; /* of the batch */
    size_t device_count;
    struct satchel_map known_devices; /* those and all met since -> struct satchel_store_device */
    struct satchel_map newcomers;     /* merge_scope.c: row name -> struct merge_newcomer */
    bool *freezes_others; /* by table number - 1: rows below it have frozen(parent) columns */
    bool *feeds_machines; /* by table number - 1 */
    bool has_keys;        /* some table's rows may be merged */
    struct merge_unnumbered *unnumbered;   /* NULL: nobody asks */
    const struct satchel_incoming **again; /* forwarded, and held already */
    size_t again_count;
    struct satchel_error *error;
};

struct merge_run {
    struct merge_batch *batch;
    struct satchel_store *store;
    struct merge_changeset *changesets;
    size_t changeset_count;
    struct satchel_arena arena;
    struct satchel_buffer scratch;
    struct satchel_map row_by_name;
    struct satchel_arena timeline_arena; /* merge_timeline.c: this and the two maps */
    struct satchel_map write_by_name;    /* (cursor, row name) -> satchel_write */
    struct satchel_map loaded_entries;   /* cursor -> itself */
    bool keeps_timelines;                /* several are needed at once: none is forgotten */
    struct merge_row **rows;             /* in the order in which they were named */
    size_t row_count, row_capacity;
    size_t loaded_count; /* of rows, from the first */
    struct satchel_entry *entries;
    struct satchel_span *timelines;
    struct satchel_conflict_note *conflicts; /* of all change sets, as they came */
    size_t conflict_count, conflict_capacity;
    struct satchel_store_quarantine *quarantined; /* of all change sets */
    size_t quarantined_count, quarantined_capacity;
    bool is_to_be_redone; /* a part was set aside after it had been merged */

    /* merge_context.c */
    const struct satchel_machine *machines;
    const struct satchel_machine *machines_before; /* by which what the store holds was merged */
    struct satchel_buffer name;                    /* of rows looked up from within a merge */
    struct satchel_map alias_by_name;              /* row name -> struct merge_alias */
    bool has_aliases;                   /* some table has keys, some row may be an alias */
    enum satchel_status context_status; /* the first failure of such a look-up */
    /* merge_spread.c */
    struct merge_touch *touches;
    size_t touch_count, touch_capacity;
    /* merge_keys.c */
    struct satchel_map rows_by_key; /* (table, column, match) -> struct merge_key_rows */
    struct satchel_store_key *new_keys;
    size_t new_key_count, new_key_capacity;
    struct satchel_store_gone *gone;
    size_t gone_count, gone_capacity;
    struct satchel_store_alias *new_aliases;
    size_t new_alias_count, new_alias_capacity;
    uint64_t search_number;
};

/* Makes room for one more item in an array in `arena`. NOMEM. */
enum satchel_status merge_grow(struct satchel_arena *arena, void **items, size_t count,
                               size_t *capacity, size_t item_bytes) SATCHEL_MUST_USE;
#define MERGE_GROW(arena, items, count, capacity) \
    merge_grow((arena), (void **)&(items), (count), &(capacity), sizeof *(items))

/* ---- merge_rows.c ---- */
/* The run's row of a name, made when it is first named. `key` is borrowed for as long as the run.
 * NULL: no memory. */
struct merge_row *merge_row_name(struct merge_run *run, const struct satchel_table *table,
                                 const struct satchel_value *key);
/* Loads all rows that have been named since. */
enum satchel_status merge_rows_load(struct merge_run *run) SATCHEL_MUST_USE;
/* Names and loads one. */
enum satchel_status merge_row_get(struct merge_run *run, const struct satchel_table *table,
                                  const struct satchel_value *key,
                                  struct merge_row **out) SATCHEL_MUST_USE;
/* The same by its name, which is copied. */
enum satchel_status merge_row_get_named(struct merge_run *run, struct satchel_span name,
                                        struct merge_row **out) SATCHEL_MUST_USE;
/* Writes every dirty row. REFUSED: the schema refuses some; parts of a lone change set have been
 * given the reason. */
enum satchel_status merge_rows_write(struct merge_run *run) SATCHEL_MUST_USE;

/* ---- merge_context.c ---- */
enum satchel_status merge_context_begin(struct merge_run *run) SATCHEL_MUST_USE;
/* What a row that has just been loaded was merged by. */
void merge_context_load(struct merge_row *row);
/* What lies outside the row, as it is now. `part`: an insert of a row that is not there yet, whose
 * parent it names; or NULL. */
enum satchel_status merge_context_set(struct merge_row *row,
                                      const struct satchel_part *part) SATCHEL_MUST_USE;
/* Whether the row, as it is, would be judged by something else than this run did. */
enum satchel_status merge_context_is_stale(struct merge_row *row, bool *is_stale) SATCHEL_MUST_USE;
/* The freeze that the row is to the rows below it; NULL: none. */
const struct satchel_freeze *merge_freeze_of(const struct merge_row *row);
bool merge_freeze_equal(const struct satchel_freeze *a, const struct satchel_freeze *b);
/* The row that stands for the one of that name; empty: itself. */
enum satchel_status merge_alias_of(struct merge_run *run, struct satchel_span name,
                                   struct satchel_span *survivor) SATCHEL_MUST_USE;
/* Makes it so from now on; an empty survivor: a row of its own. */
enum satchel_status merge_alias_set(struct merge_run *run, struct satchel_span name,
                                    struct satchel_span survivor) SATCHEL_MUST_USE;
/* The table that a value of the reference names, given the row's type; NULL: none. */
const struct satchel_table *merge_reference_target(const struct satchel_schema *schema,
                                                   const struct satchel_reference *reference,
                                                   const struct satchel_value *type);

/* ---- merge_spread.c ---- */
/* The rows that point at the row of that key have to be looked at again: those frozen by it, or
 * all, because it is another row now. */
struct merge_touch {
    const struct satchel_table *table;
    const struct satchel_value *key;
    struct satchel_span name;
    bool only_frozen;
    uint32_t cause;
};
enum satchel_status merge_touch_add(struct merge_run *run, const struct merge_row *row,
                                    bool only_frozen, uint32_t cause) SATCHEL_MUST_USE;
/* Looks at them, and at what follows from that. */
enum satchel_status merge_spread(struct merge_run *run, struct merge_changeset *changeset,
                                 struct merge_notes *notes) SATCHEL_MUST_USE;
/* The row again from its timeline, its cluster's if it is in one. */
enum satchel_status merge_recompute(struct merge_run *run, struct merge_changeset *changeset,
                                    struct merge_notes *notes, struct merge_row *row,
                                    uint32_t cause) SATCHEL_MUST_USE;
/* A change set has written a view that machines are read from: rows that they judge. */
enum satchel_status merge_machines_changed(struct merge_run *run, struct merge_changeset *changeset,
                                           struct merge_notes *notes) SATCHEL_MUST_USE;

/* ---- merge_keys.c ---- */
/* What was known of keys before a write. */
struct merge_keys_mark {
    uint32_t key_count; /* of the row */
    size_t new_key_count;
};
/* The rows that may be one with `row`, itself first, once it is written by `part` (may be NULL).
 * LIMIT: too many. */
enum satchel_status merge_keys_meet(struct merge_run *run, struct merge_row *row,
                                    const struct satchel_part *part, struct merge_keys_mark *mark,
                                    struct merge_row ***out, uint32_t *out_count) SATCHEL_MUST_USE;
/* The part is not merged after all: its keys are nobody's. */
enum satchel_status merge_keys_take_back(struct merge_run *run, struct merge_row *row,
                                         const struct merge_keys_mark *mark) SATCHEL_MUST_USE;

/* ---- merge_clusters.c ---- */
/* Merges a write (or, NULL, recomputes) where rows may be one: `members[0]` is the row written.
 * REFUSED with `error` as satchel_row_merge. */
enum satchel_status merge_cluster(struct merge_run *run, struct merge_changeset *changeset,
                                  struct merge_notes *notes, struct merge_row **members,
                                  uint32_t member_count, const struct satchel_write *write,
                                  uint32_t part_index,
                                  struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- merge_batch.c ---- */
/* What a row has become: its effect is noted already. `freeze`: what it was to the rows below. */
enum satchel_status merge_row_settle(struct merge_run *run, struct merge_row *row,
                                     const struct satchel_merge_result *result,
                                     const struct satchel_freeze *freeze,
                                     uint32_t cause) SATCHEL_MUST_USE;
/* Whether a column that must have a value has none. */
bool merge_lacks_value(const struct merge_row *row);
/* What the part (or what followed from it) did does not fit the entry's notes, or a row refuses it:
 * the run is redone without it. REFUSED: of several change sets. */
enum satchel_status merge_take_back(struct merge_run *run, struct merge_changeset *changeset,
                                    uint32_t part, const char *reason) SATCHEL_MUST_USE;
/* REFUSED: nothing is written, parts have been given a reason if the run had one change set. */
enum satchel_status merge_run_stretch(struct merge_batch *batch, size_t first,
                                      size_t count) SATCHEL_MUST_USE;

/* ---- merge_checks.c ---- */
/* Gives each part its table, and a reason where it cannot be merged whatever the rows hold. */
enum satchel_status merge_check_parts(struct merge_batch *batch,
                                      struct merge_changeset *changeset) SATCHEL_MUST_USE;
struct satchel_span merge_reason(struct satchel_arena *arena, const char *text);
/* Gives the part a reason. */
enum satchel_status merge_because(struct merge_batch *batch, struct merge_part *part,
                                  const char *format, ...) SATCHEL_PRINTF(3, 4) SATCHEL_MUST_USE;

/* ---- merge_scope.c ---- */
/* Gives the part, which has a table, a reason if its author may not write that row. */
enum satchel_status merge_check_scope(struct merge_batch *batch,
                                      const struct satchel_store_author *author,
                                      const struct satchel_part *part,
                                      struct merge_part *out) SATCHEL_MUST_USE;

/* ---- merge_numbers.c ---- */
/* Remembers the row if it lacks a number that the server gives. */
enum satchel_status merge_unnumbered_add(struct merge_unnumbered *unnumbered,
                                         const struct merge_row *row) SATCHEL_MUST_USE;
/* Gives numbers to those that still lack one, as change sets of the server. */
enum satchel_status merge_give_numbers(struct satchel_store *store,
                                       const struct merge_unnumbered *unnumbered, int64_t now_ms,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* ---- merge.c ---- */
/* satchel_merge_batch without numbers. `unnumbered` may be NULL. */
enum satchel_status merge_batch_run(struct satchel_store *store,
                                    const struct satchel_incoming *incoming, size_t count,
                                    int64_t now_ms, struct satchel_incoming_outcome *outcomes,
                                    struct merge_unnumbered *unnumbered,
                                    struct satchel_error *error) SATCHEL_MUST_USE;

/* Whether the part writes a table that the machines are read from. */
bool merge_feeds_machines(const struct merge_batch *batch, const struct merge_part *part);

/* ---- merge_devices.c ---- */
/* Loads the devices of the batch. */
enum satchel_status merge_devices_load(struct merge_batch *batch,
                                       const struct satchel_incoming *incoming,
                                       size_t count) SATCHEL_MUST_USE;
/* A device, with its ancestors: of the batch, met before, or loaded. One that nobody knows has no
 * user and no ancestors. */
enum satchel_status merge_device_get(struct merge_batch *batch, const struct satchel_id *id,
                                     const struct satchel_store_device **out) SATCHEL_MUST_USE;

/* ---- merge_timeline.c ---- */
/* Every write in the chain of the row's timeline, oldest first, then `last` (if not NULL; room for
 * it is there in any case); valid until merge_timeline_trim. LIMIT: the chain is over
 * MERGE_TIMELINE_BYTES_MAX. */
enum satchel_status merge_timeline(struct merge_run *run, const struct merge_row *row,
                                   const struct satchel_write *last, struct satchel_write **out,
                                   size_t *out_count) SATCHEL_MUST_USE;
/* Forgets what was loaded for timelines if it has become much. */
void merge_timeline_trim(struct merge_run *run);
/* A part as a write. */
void merge_write_of(const struct merge_changeset *changeset, uint32_t part,
                    struct satchel_write *out);

/* ---- merge_notes.c ---- */
/* What one entry says beside its body, while it is being put together. */
struct merge_notes {
    uint64_t cursor; /* of the entry */
    uint32_t *unlike;
    uint32_t unlike_count;
    struct satchel_effect *effects;
    size_t effect_count, effect_capacity;
    size_t effect_bytes, effect_bytes_max; /* encoded, at most */
    struct satchel_quarantine_note *quarantined;
    uint32_t quarantined_count;
    size_t first_conflict; /* in run->conflicts */
};
enum satchel_status merge_notes_begin(struct merge_run *run, uint64_t cursor, uint32_t part_count,
                                      struct merge_notes *notes) SATCHEL_MUST_USE;
/* The part was merged: adds its effect unless it took effect as it stands. LIMIT: what it changed
 * does not fit the notes any more. */
enum satchel_status merge_note_effect(struct merge_run *run, struct merge_notes *notes,
                                      const struct satchel_part *part, uint32_t part_index,
                                      const struct merge_row *row,
                                      const struct satchel_merge_result *result) SATCHEL_MUST_USE;
/* The same for a row that no part of the entry wrote, or not by its own name: DELTA of what has
 * changed, WHOLE, or GONE. One that was an alias is told of in any case: it is none any more. */
enum satchel_status merge_note_change(struct merge_run *run, struct merge_notes *notes,
                                      const struct satchel_part *part, const struct merge_row *row,
                                      bool was_alias,
                                      const struct satchel_merge_result *result) SATCHEL_MUST_USE;
/* The part did not take effect as it stands; its effects are noted apart. */
void merge_note_unlike(struct merge_notes *notes, uint32_t part_index);
/* The row stands for itself no more. */
enum satchel_status merge_note_alias(struct merge_run *run, struct merge_notes *notes,
                                     const struct merge_row *row,
                                     const struct merge_row *into) SATCHEL_MUST_USE;
/* The part was not merged: `row` may be NULL. */
enum satchel_status merge_note_quarantine(struct merge_run *run, struct merge_notes *notes,
                                          const struct satchel_part *part, uint32_t part_index,
                                          const struct merge_row *row,
                                          struct satchel_span reason) SATCHEL_MUST_USE;
/* What is open on the row now; kept with it. */
enum satchel_status merge_conflicts_list(struct merge_run *run,
                                         struct merge_row *row) SATCHEL_MUST_USE;
/* Adds what the write at hand opened, changed and closed against `before`. */
enum satchel_status merge_note_conflicts(struct merge_run *run, const struct merge_row *row,
                                         const struct satchel_conflict_list *before,
                                         satchel_stamp stamp) SATCHEL_MUST_USE;
/* One conflict of `row`, whose loser wrote to `wrote`; `resolved`: 0 while it is open. */
enum satchel_status merge_note_conflict(struct merge_run *run, const struct merge_row *row,
                                        const struct merge_row *wrote,
                                        const struct satchel_conflict *conflict,
                                        satchel_stamp resolved) SATCHEL_MUST_USE;
bool merge_conflict_is_same(const struct satchel_conflict *a, const struct satchel_conflict *b);
/* The open conflicts of a state of the row; kept values are copies. */
enum satchel_status merge_conflicts_of(struct merge_run *run, const struct satchel_table *table,
                                       const struct satchel_row *row,
                                       struct satchel_conflict_list *list) SATCHEL_MUST_USE;
/* The encoded notes, at most SATCHEL_NOTES_BYTES_MAX, in the run's arena; empty if they say
 * nothing. */
enum satchel_status merge_notes_end(struct merge_run *run, const struct merge_notes *notes,
                                    struct satchel_span *out) SATCHEL_MUST_USE;

/* ---- merge_positions.c ---- */
/* All positions of the entry at `cursor`, of whose seq `seq` is its own (0: none). */
enum satchel_status merge_positions_of(struct merge_batch *batch, uint64_t cursor, uint64_t seq,
                                       struct satchel_arena *arena,
                                       struct satchel_vector *out) SATCHEL_MUST_USE;
/* Gives forwarded change sets that are held the positions that they came with: whoever has seen
 * them by these has seen them. */
enum satchel_status merge_positions_add(struct merge_batch *batch) SATCHEL_MUST_USE;

#endif
