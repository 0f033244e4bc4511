/* The bytes of a segment of the log: its data and its summary. Internal to sql/.
 *
 *   data    = stored form (compress.h) of item*
 *   item    = [ cursor, seq, device, number, stamp, user or nil, secret or nil, body, notes,
 *               timeline ]                                MessagePack; body: a stored form, raw
 *   summary = a Bloom filter of 10 bits and 7 probes for each mark; empty: anything may be there */
#ifndef SATCHEL_SEGMENT_H
#define SATCHEL_SEGMENT_H

#include <satchel/cursor.h>
#include <satchel/log_reader.h>

/* ---- making one ---- */

struct satchel_segment_maker {
    struct satchel_buffer items;          /* before compression */
    struct satchel_buffer marks;          /* satchel_log_mark each */
    struct satchel_buffer body, raw, key; /* scratch */
    struct satchel_arena arena;           /* of one part or its notes */
    bool is_unknown;                      /* an entry could not be read: the summary says nothing */
    uint32_t entry_count;
    uint64_t first, last, last_seq;
};

void satchel_segment_maker_init(struct satchel_segment_maker *maker);
void satchel_segment_maker_deinit(struct satchel_segment_maker *maker);
/* Entries come by ascending cursor. LIMIT, NOMEM. */
enum satchel_status satchel_segment_add(struct satchel_segment_maker *maker,
                                        const struct satchel_log_entry *entry) SATCHEL_MUST_USE;
/* Appended. LIMIT, NOMEM. */
enum satchel_status satchel_segment_write(struct satchel_segment_maker *maker,
                                          struct satchel_buffer *data,
                                          struct satchel_buffer *summary) SATCHEL_MUST_USE;

/* ---- reading one ---- */

/* Whether the segment with that summary may hold what one of the marks stands for. */
bool satchel_segment_may_hold(struct satchel_span summary, const satchel_log_mark *marks,
                              uint32_t mark_count);
/* The items of `data`, borrowed from it or decompressed into `scratch`. CORRUPT, LIMIT, NOMEM. */
enum satchel_status satchel_segment_open(struct satchel_span data, struct satchel_buffer *scratch,
                                         struct satchel_cursor *items) SATCHEL_MUST_USE;
/* The next item, borrowed; false if there is none or it cannot be read (items->failed). */
bool satchel_segment_next(struct satchel_cursor *items, struct satchel_log_entry *out);

#endif
