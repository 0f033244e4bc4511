/* Values and the declared types of columns: what SQLite would make of them. */
#ifndef SATCHEL_SERVER_AFFINITY_H
#define SATCHEL_SERVER_AFFINITY_H

#include <satchel/schema.h>

/* Whether SQLite holds the value equal to one of other bits: as a key it would name a row that has
 * another name here. */
bool affinity_is_ambiguous(const struct satchel_table *table, const struct satchel_column *column,
                           const struct satchel_value *key);
/* Whether the column would hold another value than the one given: then no other replica would have
 * it. */
bool affinity_converts(const struct satchel_table *table, const struct satchel_column *column,
                       const struct satchel_value *value);
/* What SQLite makes of a text stored in the column; borrows it. */
struct satchel_value affinity_value_of(const struct satchel_table *table,
                                       const struct satchel_column *column,
                                       struct satchel_span text);

#endif
