/* The log read as single writes, in order: what satchel_history shows. Internal to history. */
#ifndef SATCHEL_HISTORY_SCAN_H
#define SATCHEL_HISTORY_SCAN_H

#include <satchel/schema.h>

struct sqlite3;
struct satchel_history_scan;

/* What to show; NULL members show everything. Copied. */
struct satchel_history_filter {
    const char *table, *key, *field, *id, *device; /* texts as the columns show them */
    bool needs_old;                                /* old is asked for */
    bool needs_outcome;                            /* outcome, winner or reason is */
};

/* One written field (or a row as a whole, column SATCHEL_COLUMN_ROW). Borrowed until the next call.
 */
struct satchel_history_row {
    struct satchel_id device;
    uint64_t number;
    uint32_t part;
    uint32_t column;
    uint64_t seq; /* 0: none */
    int64_t at_ms;
    struct satchel_span user;
    uint32_t table;
    struct satchel_span key;
    struct satchel_value old_value, new_value; /* a counter's new value is text with a sign */
    const char *outcome;
    struct satchel_span winner, reason; /* empty: NULL */
};

/* `schema` gives the present schema, asked again at each row. */
enum satchel_status satchel_history_scan_new(struct satchel_history_scan **out, struct sqlite3 *db,
                                             const struct satchel_schema *(*schema)(void *context),
                                             void *context,
                                             const struct satchel_history_filter *filter,
                                             struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_history_scan_free(struct satchel_history_scan *scan);
/* `*out` NULL at the end. CORRUPT names the entry whose bytes are malformed. */
enum satchel_status satchel_history_scan_next(struct satchel_history_scan *scan,
                                              const struct satchel_history_row **out,
                                              struct satchel_error *error) SATCHEL_MUST_USE;

/* The value that a column of the row just returned had before the write, whatever the write's own
 * columns; needs_old was asked for. Bytes are borrowed until the next call. */
enum satchel_status satchel_history_scan_before(struct satchel_history_scan *scan, uint32_t column,
                                                const struct satchel_value *default_value,
                                                struct satchel_value *out) SATCHEL_MUST_USE;
/* Whether the row existed then. */
bool satchel_history_scan_existed(const struct satchel_history_scan *scan);

#endif
