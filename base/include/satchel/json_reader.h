/* Reads JSON from anywhere (RFC 8259, strict; UTF-8) into its canonical form, in which equal
 * documents are equal bytes:
 *
 *   no spaces; strings with the fewest escapes (\" \\ \b \f \n \r \t, else \u00xx below 0x20);
 *   the members of an object ascending by satchel_json_compare of their names, each once (of a name
 *   given twice the last one counts); numbers as written; the items of an array as they stand.
 *
 * Canonical text is never longer than what it was read from. Text with more than
 * SATCHEL_JSON_DEPTH_MAX brackets inside each other, or with half a surrogate pair, is refused. */
#ifndef SATCHEL_JSON_READER_H
#define SATCHEL_JSON_READER_H

#include <satchel/memory.h>

#define SATCHEL_JSON_DEPTH_MAX 64

enum satchel_json_type {
    SATCHEL_JSON_INVALID = 0, /* no JSON, or not within the bounds */
    SATCHEL_JSON_NULL,
    SATCHEL_JSON_BOOL,
    SATCHEL_JSON_NUMBER,
    SATCHEL_JSON_STRING,
    SATCHEL_JSON_ARRAY,
    SATCHEL_JSON_OBJECT
};

/* What the whole of `text` is, spaces around it allowed, with at most `depth_max` brackets inside
 * each other (which may not be more than SATCHEL_JSON_DEPTH_MAX). Allocates nothing. */
enum satchel_json_type satchel_json_type_of(struct satchel_span text, uint32_t depth_max);

/* The functions below borrow from `text` what is canonical already; all else is in `arena`.
 * CORRUPT: no JSON, or not of that type; NOMEM. */

enum satchel_status satchel_json_canonical(struct satchel_span text, struct satchel_arena *arena,
                                           struct satchel_span *out) SATCHEL_MUST_USE;

/* One of an array or object, each part canonical on its own. */
struct satchel_json_item {
    struct satchel_span name; /* in quotes; of an array's item empty */
    struct satchel_span value;
};

/* Of an array: all, as they stand. Of an object: ascending by name, no name twice. */
enum satchel_status satchel_json_items(struct satchel_span text, enum satchel_json_type type,
                                       struct satchel_arena *arena, struct satchel_json_item **out,
                                       size_t *out_count) SATCHEL_MUST_USE;

/* The items of an array as they were written, for whoever reads each in turn. */
enum satchel_status satchel_json_split(struct satchel_span text, struct satchel_arena *arena,
                                       struct satchel_json_item **out,
                                       size_t *out_count) SATCHEL_MUST_USE;

/* The order of canonical texts: bytewise, of two strings without their quotes. */
int satchel_json_compare(struct satchel_span a, struct satchel_span b);

/* What a string in quotes says. */
enum satchel_status satchel_json_unquote(struct satchel_span text, struct satchel_arena *arena,
                                         struct satchel_span *out) SATCHEL_MUST_USE;

/* Canonical text of UTF-8 `bytes`; CORRUPT if they are none. */
enum satchel_status satchel_json_quote(struct satchel_span bytes, struct satchel_arena *arena,
                                       struct satchel_span *out) SATCHEL_MUST_USE;

#endif
