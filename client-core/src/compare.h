/* What the node has of a table, as far as this replica knows: the table's rows, and of those with
 * pending writes the node's values beneath. Inside the open transaction of an apply, whose memory
 * it uses. */
#ifndef SATCHEL_COMPARE_H
#define SATCHEL_COMPARE_H

#include "apply.h"

#include <satchel/digest.h>

struct satchel_compare {
    struct satchel_apply *apply;
    struct satchel_digester digester;
    struct satchel_buffer name;
};

/* IO, NOMEM. */
enum satchel_status satchel_compare_init(struct satchel_compare *compare,
                                         struct satchel_apply *apply,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
void satchel_compare_deinit(struct satchel_compare *compare);

/* Calls `visit` for every row that the node has within the bounds; `name` borrowed. Rows with a
 * pending delete, which are not in the table, are visited last, and only of a whole table: whether
 * they are within bounds SQLite alone could say. */
struct satchel_compare_visitor {
    void *context;
    enum satchel_status (*visit)(void *context, struct satchel_span name,
                                 const struct satchel_id *digest);
};
enum satchel_status satchel_compare_walk(struct satchel_compare *compare,
                                         const struct satchel_table *table,
                                         const struct satchel_walk_bounds *bounds,
                                         const struct satchel_compare_visitor *visitor,
                                         struct satchel_error *error) SATCHEL_MUST_USE;
/* The sum over the same rows. */
enum satchel_status satchel_compare_sum(struct satchel_compare *compare,
                                        const struct satchel_table *table,
                                        const struct satchel_walk_bounds *bounds,
                                        struct satchel_table_digest *out,
                                        struct satchel_error *error) SATCHEL_MUST_USE;
/* One row by name. */
enum satchel_status satchel_compare_row(struct satchel_compare *compare,
                                        const struct satchel_table *table, struct satchel_span name,
                                        bool *exists, struct satchel_id *digest,
                                        struct satchel_error *error) SATCHEL_MUST_USE;

#endif
