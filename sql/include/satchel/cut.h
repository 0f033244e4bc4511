/* Entries cut to the rows and columns that somebody may see (docs/scopes.md): by a server as it
 * sends them, by a replica when rows leave it. */
#ifndef SATCHEL_CUT_H
#define SATCHEL_CUT_H

#include <satchel/entry.h>
#include <satchel/schema.h>

enum satchel_seen {
    SATCHEL_SEEN,
    SATCHEL_HIDDEN,
    SATCHEL_NO_ROW /* the schema has none of that name: nobody sees it */
};

/* Who it is cut for. */
struct satchel_audience {
    void *context;
    enum satchel_status (*look)(void *context, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, enum satchel_seen *seen,
                                struct satchel_error *error);
    const struct satchel_schema *schema;
    struct satchel_span role; /* whose columns of these rows are seen */
};

enum satchel_authorship {
    SATCHEL_NOT_AUTHOR,
    SATCHEL_AUTHOR,        /* its user is the entry's */
    SATCHEL_AUTHOR_DEVICE, /* and the device, which has all of it */
    SATCHEL_AUTHOR_DRAINED /* and is to hear no more than that it has come */
};

/* Cuts `entry`, its body loaded: parts of rows and columns that are not seen are withheld, effects
 * and conflicts of theirs left out. Of what its author is sent no row is withheld, but its columns:
 * the effect on a row that is hidden is EVICT, that on a column its default. Of what a drained
 * device is sent all is withheld. The receipt that its author is sent is the whole entry's: any
 * file of his may have that waiting. `*is_empty`: nothing of it is left. What is new lives in
 * `arena`; `scratch` is reset. CORRUPT, NOMEM, what `look` returns. */
enum satchel_status satchel_entry_cut(const struct satchel_audience *audience,
                                      enum satchel_authorship authorship,
                                      struct satchel_arena *scratch, struct satchel_arena *arena,
                                      struct satchel_entry *entry, bool *is_empty,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

/* Of `fields`, those that a user of `role` sees; `fields` themselves if he sees all. `*out` in
 * `arena`. NOMEM. */
enum satchel_status satchel_fields_seen(const struct satchel_table *table, struct satchel_span role,
                                        const struct satchel_field *fields, uint32_t count,
                                        struct satchel_arena *arena,
                                        const struct satchel_field **out,
                                        uint32_t *out_count) SATCHEL_MUST_USE;
/* Whether the conflict is of what a user of `role` sees of a row of the table. */
bool satchel_conflict_is_seen(const struct satchel_table *table,
                              const struct satchel_conflict_note *note, struct satchel_span role);

#endif
