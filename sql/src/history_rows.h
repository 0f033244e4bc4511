/* Which rows of the log are one row today (satchel_alias): what a row that is asked for was called
 * when it was written, and under which key a write is shown. Internal to history. */
#ifndef SATCHEL_HISTORY_ROWS_H
#define SATCHEL_HISTORY_ROWS_H

#include <satchel/alias.h>
#include <satchel/log_reader.h>

struct sqlite3;
struct satchel_history_rows {
    struct sqlite3 *db;
    struct satchel_aliases *aliases;
    bool any; /* there are aliases */
    struct satchel_arena arena;
    struct satchel_buffer text;
    /* the rows that are the one asked for, beside the one of that very key */
    struct satchel_history_other {
        uint32_t table;
        struct satchel_span key; /* as shown */
    } * others;
    uint32_t other_count, other_capacity;
    const char *asked;       /* NULL: all rows */
    satchel_log_mark *marks; /* of the row asked for and the others; none if not all are known */
    uint32_t mark_count;
};

/* `asked`: the key that the reader asks for, borrowed; NULL: none. */
enum satchel_status satchel_history_rows_init(struct satchel_history_rows *rows, struct sqlite3 *db,
                                              const char *asked,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_history_rows_deinit(struct satchel_history_rows *rows);
/* Finds the others of `key` (borrowed) in `table`, NULL: in every table; and the marks. */
enum satchel_status satchel_history_rows_find(struct satchel_history_rows *rows,
                                              const struct satchel_schema *schema,
                                              const char *table, const char *key,
                                              struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether the row with that key as text is `key`, or is one with it today. */
bool satchel_history_rows_have(const struct satchel_history_rows *rows, uint32_t table,
                               const char *key, struct satchel_span key_text);
/* The key under which a write to the row is shown: the one asked for, else that of the row which
 * stands for it, else its own. Borrowed until the next call. */
enum satchel_status satchel_history_rows_shown(struct satchel_history_rows *rows, uint32_t table,
                                               const struct satchel_value *key, uint32_t key_count,
                                               struct satchel_span key_text,
                                               struct satchel_span *out,
                                               struct satchel_error *error) SATCHEL_MUST_USE;

#endif
