/* The merge from inside: a batch of change sets, and one run over some of them.
 *
 * A batch decodes, checks and admits its change sets once. A run merges a stretch of them against
 * rows loaded for it and writes all of that, or, when the schema's constraints refuse a row,
 * nothing: then the batch is run again change set by change set, so that only the part at fault is
 * quarantined whatever happened to arrive together. */
#ifndef SATCHEL_MERGE_INTERNAL_H
#define SATCHEL_MERGE_INTERNAL_H

#include "merge.h"

#include <satchel/map.h>

/* The largest change set over the widest table needs 5 GiB: 48 bytes per row and column. */
#define MERGE_ARENA_BYTES_MAX ((size_t)8 << 30)
#define MERGE_ROWS_MAX (4u << 20)
/* Of a quarantine note: what SQLite said may quote a value of any length. Every part of a change
 * set may need one, within SATCHEL_NOTES_BYTES_MAX. */
#define MERGE_REASON_BYTES_MAX 200
/* The versions of one row, the values of its losing heads included. */
#define MERGE_VERSION_BYTES_MAX ((size_t)64 << 20)
/* Everything decoded for the timeline of one row; what is kept of it for the next rows. */
#define MERGE_TIMELINE_BYTES_MAX ((size_t)1 << 30)
#define MERGE_TIMELINE_BYTES_KEPT ((size_t)256 << 20)

/* A row for as long as one run. */
struct merge_row {
    struct satchel_store_row stored; /* as loaded; what names it */
    struct satchel_row row;          /* as merged so far */
    bool *changed;                   /* per column, since it was loaded */
    bool is_known;                   /* has a version: was ever seen, or is now */
    bool is_dirty;
    bool has_conflicts; /* `conflicts` is what is open now */
    struct satchel_conflict_list conflicts;
    const struct merge_changeset *named_by; /* the last change set of the run with a part for it */
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
    struct satchel_changeset content;
    struct merge_part *parts;
    satchel_stamp stamp; /* as fixed */
    uint8_t hash[SATCHEL_HASH_BYTES];

    /* of the present run */
    struct merge_row **rows; /* per part; NULL where the part has no table */
    uint64_t *timeline;      /* per part: the entry before in the row's chain */
    uint64_t cursor;
    struct satchel_position position;
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
    uint64_t seq_before;            /* what a device can have seen at most */
    int64_t now_ms;
    struct merge_changeset *changesets;
    size_t changeset_count;
    struct satchel_store_device *devices; /* of the batch */
    size_t device_count;
    struct satchel_map
        users; /* other devices -> struct satchel_store_device, as conflicts name them */
    struct merge_unnumbered *unnumbered; /* NULL: nobody asks */
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
    struct satchel_arena timeline_arena;   /* merge_timeline.c: this and the two maps */
    struct satchel_map write_by_name;      /* (cursor, row name) -> satchel_write */
    struct satchel_map loaded_entries;     /* cursor -> itself */
    struct satchel_store_row *stored_rows; /* in order of names once loaded */
    struct merge_row *rows;
    struct merge_row **sorted_rows; /* of stored_rows */
    size_t row_count;
    struct satchel_entry *entries;
    struct satchel_span *timelines;
    struct satchel_conflict_note *conflicts; /* of all change sets, as they came */
    size_t conflict_count, conflict_capacity;
    struct satchel_store_quarantine *quarantined; /* of all change sets */
    size_t quarantined_count, quarantined_capacity;
    bool is_to_be_redone; /* a part was set aside after it had been merged */
};

/* ---- merge_batch.c ---- */
/* REFUSED: nothing is written, parts have been given a reason if the run had one change set. */
enum satchel_status merge_run_stretch(struct merge_batch *batch, size_t first,
                                      size_t count) SATCHEL_MUST_USE;

/* ---- merge_checks.c ---- */
/* Gives each part its table, and a reason where it cannot be merged whatever the rows hold. */
enum satchel_status merge_check_parts(struct merge_batch *batch,
                                      struct merge_changeset *changeset) SATCHEL_MUST_USE;
struct satchel_span merge_reason(struct satchel_arena *arena, const char *text);

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

/* ---- merge_timeline.c ---- */
/* Every write in the chain of the row's timeline, oldest first, then `last`; valid until
 * merge_timeline_trim. LIMIT: the chain is over MERGE_TIMELINE_BYTES_MAX. */
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
    uint32_t effect_count;
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
/* The encoded notes, at most SATCHEL_NOTES_BYTES_MAX, in the run's arena; empty if they say
 * nothing. */
enum satchel_status merge_notes_end(struct merge_run *run, const struct merge_notes *notes,
                                    struct satchel_span *out) SATCHEL_MUST_USE;

#endif
