/* Aliases: rows that were merged into another row with the same key (cluster.h). The table
 *
 *   satchel_alias(name BLOB PRIMARY KEY, tbl INTEGER, key TEXT, survivor BLOB)
 *
 * is the same on a replica and in a central store: name and survivor are row names (row_io.h),
 * tbl the number of their table, key the alias row's key as people see it. A survivor is no alias
 * itself: whoever merges it into a third row first makes its aliases that row's. */
#ifndef SATCHEL_ALIAS_H
#define SATCHEL_ALIAS_H

#include <satchel/schema.h>

struct sqlite3;
struct satchel_aliases;

/* Creates the table where it is missing; satchel_log_create does. SQL. */
enum satchel_status satchel_alias_create(struct sqlite3 *db,
                                         struct satchel_error *error) SATCHEL_MUST_USE;

/* Statements of one connection, prepared when they are first needed. NOMEM. */
enum satchel_status satchel_aliases_new(struct satchel_aliases **out,
                                        struct sqlite3 *db) SATCHEL_MUST_USE;
void satchel_aliases_free(struct satchel_aliases *aliases);

/* Makes the row of that name an alias of `survivor`, a row of the same table, whatever it was
 * before. CORRUPT if `name` is no row's name; SQL, BUSY, NOMEM. */
enum satchel_status satchel_alias_put(struct satchel_aliases *aliases, struct satchel_span name,
                                      struct satchel_span survivor,
                                      struct satchel_error *error) SATCHEL_MUST_USE;
/* Makes it a row of its own again; nothing happens if it is one. SQL, BUSY. */
enum satchel_status satchel_alias_drop(struct satchel_aliases *aliases, struct satchel_span name,
                                       struct satchel_error *error) SATCHEL_MUST_USE;

/* The name of the row that stands for `name`, in `arena`; an empty span if the row stands for
 * itself. SQL, NOMEM. */
enum satchel_status satchel_alias_survivor(struct satchel_aliases *aliases,
                                           struct satchel_span name, struct satchel_arena *arena,
                                           struct satchel_span *survivor,
                                           struct satchel_error *error) SATCHEL_MUST_USE;
/* The names of the aliases of `survivor`, ascending, in `arena`. SQL, NOMEM. */
enum satchel_status satchel_alias_list(struct satchel_aliases *aliases,
                                       struct satchel_span survivor, struct satchel_arena *arena,
                                       struct satchel_span **names, uint32_t *count,
                                       struct satchel_error *error) SATCHEL_MUST_USE;
/* Whether there is any alias: if not, nothing need be looked up row by row. SQL. */
enum satchel_status satchel_alias_any(struct satchel_aliases *aliases, bool *any,
                                      struct satchel_error *error) SATCHEL_MUST_USE;

#endif
