/* A joined replica without a server, made from the text of one migration. */
#ifndef SATCHEL_REPLICA_FIXTURE_H
#define SATCHEL_REPLICA_FIXTURE_H

#include <satchel.h>
#include <satchel/schema.h>

/* Creates the file at `path` (an older one is removed, WAL and lock file too) with the schema
 * `sql`, as if `login` with `role` had joined workspace "test" of "ws://127.0.0.1:1". Device id,
 * token and secret are made from the path's last bytes, so that a test's results repeat. `clock`
 * may be NULL. INSERTs in `sql` are not run. Prints what went wrong. */
enum satchel_status fixture_replica(const char *path, const char *sql, const char *login,
                                    const char *role, const struct satchel_clock *clock,
                                    satchel_replica **out);
/* The same from several migrations. */
enum satchel_status fixture_replica_of(const char *path, const struct satchel_migration *migrations,
                                       uint32_t migration_count, const char *login,
                                       const char *role, const struct satchel_clock *clock,
                                       satchel_replica **out);
/* Removes the file and those beside it. */
void fixture_remove(const char *path);

#endif
