/* What a workspace says of its rules as data: state machines and number series, read from the views
 * satchel_states and satchel_numbers of a replica or central store. */
#ifndef SATCHEL_WORKSPACE_DATA_H
#define SATCHEL_WORKSPACE_DATA_H

#include <satchel/schema.h>

struct sqlite3;

/* One machine per schema->machines, in that order, in `arena`; a machine without rows has no
 * states. A row that cannot be used (a code that is no text, a rank that is no integer, a back_to
 * that is neither NULL nor a JSON array of texts) is left out and the first such reason is written
 * into `warning` (empty if none). Of two rows with one code the one with the higher rank counts.
 * SQL, NOMEM. */
enum satchel_status satchel_machines_load(struct sqlite3 *db, const struct satchel_schema *schema,
                                          struct satchel_arena *arena,
                                          struct satchel_machine **machines, char warning[256],
                                          struct satchel_error *error) SATCHEL_MUST_USE;
bool satchel_machines_equal(const struct satchel_machine *a, const struct satchel_machine *b,
                            uint32_t count);

struct satchel_number_series {
    uint32_t table, column;
    struct satchel_span series;
    struct satchel_span format;
};

/* The rows of satchel_numbers that name a @server column of a synced table and have a format that
 * can be used; the first reason why another is left out is written into `warning`. A column has one
 * series. SQL, NOMEM. */
enum satchel_status satchel_numbers_load(struct sqlite3 *db, const struct satchel_schema *schema,
                                         struct satchel_arena *arena,
                                         struct satchel_number_series **series,
                                         uint32_t *series_count, char warning[256],
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* A document number: `{branch}` the numbering node's short name, `{year}` in UTC, `{n}` or `{n:06}`
 * the number, padded with zeros; `{{` and `}}` the braces. REFUSED: an unknown field (named).
 * Appended; nothing on failure. LIMIT, NOMEM. */
enum satchel_status satchel_number_format(struct satchel_span format, struct satchel_span branch,
                                          int year, uint64_t number, struct satchel_buffer *out,
                                          struct satchel_error *error) SATCHEL_MUST_USE;

/* The tables that a view reads, also through other views: is_read[table number - 1] of
 * schema->table_count. For evaluating again only when one of them changes. SQL, NOMEM. */
enum satchel_status satchel_view_tables(struct sqlite3 *db, const struct satchel_schema *schema,
                                        const char *view, bool *is_read,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
