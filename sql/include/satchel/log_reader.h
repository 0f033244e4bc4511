/* Reading the log, wherever an entry is kept: single in satchel_entry, or with many others in a
 * segment (log_pack.h). Everybody who reads entries reads them through here, so that packing
 * changes no answer.
 *
 *     satchel_log_read_from(reader, after, NULL, 0, &error);
 *     while (satchel_log_read_next(reader, &found, &entry, &error) == SATCHEL_OK && found)
 *         ...
 *     satchel_log_read_end(reader);
 *
 * A walk is one moment of the log: the statement it stands on stays open between its steps. */
#ifndef SATCHEL_LOG_READER_H
#define SATCHEL_LOG_READER_H

#include <satchel/entry.h>

struct sqlite3;
struct satchel_log_reader;

/* For one connection, statements prepared when they are first needed. NOMEM. */
enum satchel_status satchel_log_reader_new(struct satchel_log_reader **out,
                                           struct sqlite3 *db) SATCHEL_MUST_USE;
void satchel_log_reader_free(struct satchel_log_reader *reader);

/* An entry as the log keeps it: the body in a stored form (satchel_body_load), empty if the log
 * does not have it; no secret and no user if they are not known. Everything is borrowed until the
 * reader's next call. */
struct satchel_log_entry {
    struct satchel_entry entry;
    struct satchel_span timeline; /* server/src/store.h; empty on a replica */
};

/* What a segment may or may not hold: a row that entries wrote to or had effects on, or a change
 * set. A mark stands for more than one thing once in 2^64. */
typedef uint64_t satchel_log_mark;
satchel_log_mark satchel_log_mark_row(uint32_t table, struct satchel_span key_text);
satchel_log_mark satchel_log_mark_change(const struct satchel_id *device, uint64_t number);

/* Begins a walk over the entries with cursors above `after`, ascending. With marks (borrowed until
 * the end) most entries that have none of them may be passed over: those of the segments that hold
 * none. SQL, NOMEM. */
enum satchel_status satchel_log_read_from(struct satchel_log_reader *reader, uint64_t after,
                                          const satchel_log_mark *marks, uint32_t mark_count,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* `*found` false at the end. CORRUPT names the entry or segment that is damaged; SQL, BUSY, NOMEM.
 */
enum satchel_status satchel_log_read_next(struct satchel_log_reader *reader, bool *found,
                                          struct satchel_log_entry *out,
                                          struct satchel_error *error) SATCHEL_MUST_USE;
/* Ends a walk and lets go of a single entry: until then the connection's read transaction lasts. */
void satchel_log_read_end(struct satchel_log_reader *reader);

/* Single entries, to be let go of by satchel_log_read_end; each ends a walk. */
enum satchel_status satchel_log_read_at(struct satchel_log_reader *reader, uint64_t cursor,
                                        bool *found, struct satchel_log_entry *out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* The entry of a change set, if the log has it. */
enum satchel_status satchel_log_read_change(struct satchel_log_reader *reader,
                                            const struct satchel_id *device, uint64_t number,
                                            bool *found, struct satchel_log_entry *out,
                                            struct satchel_error *error) SATCHEL_MUST_USE;
/* The greatest position that the node gave up to that cursor; 0: none. */
enum satchel_status satchel_log_read_seq(struct satchel_log_reader *reader, uint64_t cursor,
                                         uint64_t *seq,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

#endif
