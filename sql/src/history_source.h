/* The change sets that a history is made of: the entries of the log, then those of this replica
 * that no entry has answered yet. Internal to history. */
#ifndef SATCHEL_HISTORY_SOURCE_H
#define SATCHEL_HISTORY_SOURCE_H

#include <satchel/log_reader.h>

struct sqlite3;
struct sqlite3_stmt;

struct satchel_history_source {
    struct sqlite3 *db;
    struct satchel_log_reader *entries;
    struct sqlite3_stmt *pending; /* NULL: the file is no replica */
    bool is_walking, is_in_pending, is_at_end;
    const satchel_log_mark *marks; /* what the log is searched for; none: everything */
    uint32_t mark_count;
    struct satchel_buffer scratch; /* a decompressed body */
};

/* One of them. Spans borrow from the source until the next call. */
struct satchel_history_entry {
    uint64_t seq; /* 0: none */
    struct satchel_id device;
    uint64_t number;
    satchel_stamp stamp;
    struct satchel_span user; /* empty: not known */
    struct satchel_span body; /* decompressed; NULL data if it is not in the log */
    struct satchel_span notes;
    bool is_pending;
};

enum satchel_status satchel_history_source_init(struct satchel_history_source *source,
                                                struct sqlite3 *db,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_history_source_deinit(struct satchel_history_source *source);
/* `*found` false at the end. CORRUPT, SQL, NOMEM. */
enum satchel_status satchel_history_source_next(struct satchel_history_source *source, bool *found,
                                                struct satchel_history_entry *out,
                                                struct satchel_error *error) SATCHEL_MUST_USE;
/* Back to the beginning, from now on passing over what has none of the marks, where it costs
 * nothing to know. Borrowed. */
void satchel_history_source_rewind(struct satchel_history_source *source,
                                   const satchel_log_mark *marks, uint32_t mark_count);

/* Who and what a malformed change set is, for messages. */
enum satchel_status satchel_history_source_corrupt(const struct satchel_history_entry *entry,
                                                   const char *what, struct satchel_error *error);

#endif
