/* Packing the log: entries that are no longer new move from satchel_entry, a row each, into
 * segments of many, compressed together:
 *
 *   satchel_segment(first PRIMARY KEY, last, entries, bytes, last_seq, summary, data)
 *       first, last: cursors; bytes: of the entries before compression; last_seq: the greatest
 *       position among them; summary: a filter over the marks of its entries (log_reader.h), by
 *       which the history of one row passes over the segments that have nothing of it
 *
 * Nothing is lost and no answer changes; log_reader.h reads both. */
#ifndef SATCHEL_LOG_PACK_H
#define SATCHEL_LOG_PACK_H

#include <satchel/status.h>

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

/* A segment ends at this many entries, or with the entry that reaches this many bytes. */
#define SATCHEL_SEGMENT_ENTRIES_MAX 1024
#define SATCHEL_SEGMENT_BYTES (1u << 20)
/* What stays single where nobody asks for more: what devices that come every day still need. */
#define SATCHEL_LOG_PACK_KEEP 4096

/* One step: moves the oldest entries, except the newest `keep`, into one segment, all or none of
 * them, also within the caller's transaction. Nothing happens (`*packed` is 0) if they would
 * neither fill a segment nor be `entries_min`, nor stand before a segment. BUSY, SQL, NOMEM. */
enum satchel_status satchel_log_pack(struct sqlite3 *db, uint32_t keep, uint32_t entries_min,
                                     uint32_t *packed,
                                     struct satchel_error *error) SATCHEL_MUST_USE;

/* Takes back everything beyond the cursor, in the caller's transaction: a segment that reaches
 * beyond it is single entries again. BUSY, SQL, CORRUPT, NOMEM. */
enum satchel_status satchel_log_cut(struct sqlite3 *db, uint64_t cursor,
                                    struct satchel_error *error) SATCHEL_MUST_USE;

/* Takes the entry at the cursor out of the log, if it is there, so that another can be put in
 * its place; a segment around that place is single entries again. In the caller's transaction.
 * BUSY, SQL, CORRUPT, NOMEM. */
enum satchel_status satchel_log_take(struct sqlite3 *db, uint64_t cursor,
                                     struct satchel_error *error) SATCHEL_MUST_USE;

#endif
