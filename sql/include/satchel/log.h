/* The log: entries and conflicts as tables, the same on a replica and in a central store, and what
 * people read of them. The log is the history; it is only ever appended to.
 *
 *   satchel_entry(cursor PRIMARY KEY, seq, device, number, stamp, user, secret, body, notes,
 *                 timeline)
 *       one row per entry of the node's stream, read through log_reader.h; body in its stored
 *       form (changeset.h), notes as in entry.h;
 *       timeline: only in a central store, see server/src/store.h
 *   satchel_segment(...)       older entries, many to a row: log_pack.h
 *   satchel_conflict(...)      every conflict ever opened, by id
 *   satchel_conflicts          for people: id, at, tbl, key, field, rule, severity, mine, theirs,
 *                              kept, by_user, resolved
 *   satchel_history            virtual table: id, at, user, device, seq, tbl, key, field, old, new,
 *                              outcome, winner, reason; registered per connection
 *
 * `mine` is the value that lost, `theirs` the winner's, `kept` what the row has; `by_user` is the
 * author of the losing write and `at` its time (ms); a group's values are one JSON object, and so
 * are a leader's where two writes differ only in what follows it. `rule` is that of the unit, or
 *   frozen             the row was frozen; a write that came too late
 *   delete_vs_update   a lost delete: field '' and NULL values
 *   duplicate_key      a row merged into this one: mine is its key, theirs and kept this one's */
#ifndef SATCHEL_LOG_H
#define SATCHEL_LOG_H

#include <satchel/schema.h>

struct sqlite3;
struct satchel_log;

/* Creates the tables and views above where they are missing (also satchel_migration and
 * satchel_alias). Idempotent. */
enum satchel_status satchel_log_create(struct sqlite3 *db,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* Prepared statements of one connection. */
enum satchel_status satchel_log_new(struct satchel_log **out, struct sqlite3 *db) SATCHEL_MUST_USE;
void satchel_log_free(struct satchel_log *log);

/* Appends an entry; `entry->body` in stored form, `timeline` may be empty. */
enum satchel_status satchel_log_append(struct satchel_log *log, const struct satchel_entry *entry,
                                       struct satchel_span timeline,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Records a conflict note: opens, changes or closes the row of its id. Field and rule names come
 * from the schema. */
enum satchel_status satchel_log_conflict(struct satchel_log *log,
                                         const struct satchel_schema *schema,
                                         const struct satchel_conflict_note *note,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* The last note of a conflict, as it is now, in `arena`. NOT_FOUND, CORRUPT, NOMEM, SQL. */
enum satchel_status satchel_log_conflict_find(struct satchel_log *log, const struct satchel_id *id,
                                              struct satchel_arena *arena,
                                              struct satchel_conflict_note *note,
                                              struct satchel_error *error) SATCHEL_MUST_USE;

/* Registers satchel_history on a connection: a row per written field, or one with field '' where
 * none was (a delete, an insert of defaults). id is DEVICE.NUMBER.PART.COLUMN, COLUMN '-' for such
 * a row; `old` is what the node's row had before. `new` says what was done: a counter's delta with
 * a sign ("+3"), what a set gained and lost ("+vip -cold"), the keys of a map as an object, null
 * where one was removed, the state a row went to; else the value. A write to a row that was merged
 * into another is shown under that one's key, or under whichever of their keys is asked for. A
 * follower written with its leader has the leader's outcome.
 *
 * Reads the log from its beginning; where one row (tbl and key) or one id is asked for, it passes
 * over the segments of a packed log that hold nothing of it (log_pack.h). Values it must remember
 * go to a private temporary database.
 *
 * `schema` gives the present schema at each use (it may change when a migration arrives); NULL from
 * it means no rows. On a replica the change sets not yet in satchel_entry are read from
 * satchel_change (see client-core/src/replica.h) with outcome 'pending'. Constraints on tbl, key,
 * field, id and device are used to skip what does not match; rows come in order of log. */
int satchel_history_register(struct sqlite3 *db,
                             const struct satchel_schema *(*schema)(void *context), void *context);

/* What a row of `table` held before the write that satchel_history shows as `id`: all its columns,
 * in `arena` (the key's as the write has them are left alone). `*existed` false: there was no row.
 * NOT_FOUND: no such write of a row of this table. */
enum satchel_status satchel_history_before(struct sqlite3 *db, const struct satchel_schema *schema,
                                           const struct satchel_table *table, const char *id,
                                           struct satchel_arena *arena, bool *existed,
                                           struct satchel_value *values,
                                           struct satchel_error *error) SATCHEL_MUST_USE;

#endif
