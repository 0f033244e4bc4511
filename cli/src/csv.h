/* CSV (RFC 4180): quoted fields, doubled quotes, line breaks inside quotes, LF or CRLF, a byte
 * order mark skipped. One record at a time from a whole file in memory. */
#ifndef SATCHEL_CSV_H
#define SATCHEL_CSV_H

#include <satchel/memory.h>

enum { CSV_FIELDS_MAX = 1000 };

struct csv_field {
    struct satchel_span text;
    bool is_quoted; /* tells "" from nothing */
};

struct csv_reader {
    struct satchel_span rest;
    int line;                    /* of the next record */
    int record_line;             /* of the record just read */
    struct satchel_arena *arena; /* for unescaped fields; the caller resets it between records */
};

void csv_open(struct csv_reader *reader, struct satchel_span file, struct satchel_arena *arena);
/* The next record that is not an empty line; *count 0 at the end. INVALID with the line, LIMIT,
 * NOMEM. */
enum satchel_status csv_read(struct csv_reader *reader, struct csv_field fields[CSV_FIELDS_MAX],
                             int *count, struct satchel_error *error) SATCHEL_MUST_USE;

#endif
