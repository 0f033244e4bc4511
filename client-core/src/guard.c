/* Owns what a connection with Satchel may not do to the schema: drop, rename or alter a synced
 * table, or drop a trigger that captures it. The workspace's schema changes by migrations; a change
 * made here would leave a replica that cannot be synced. Knows nothing of writes to rows.
 *
 * It is the connection's authorizer. An application that sets one of its own takes its place: what
 * happens then is found at the next open, as with a connection without Satchel. */
#include "replica.h"

#include <satchel/schema.h>

static bool is_synced(const struct satchel_replica *replica, const char *name)
{
    const struct satchel_table *table =
        name && replica->schema ? satchel_schema_find(replica->schema, name) : NULL;
    return table && !table->is_local;
}

static int judge(void *context, int action, const char *first, const char *second,
                 const char *database, const char *trigger)
{
    const struct satchel_replica *replica = context;
    (void)trigger;
    switch (action) {
    case SQLITE_ALTER_TABLE: /* database, table */
        return first && strcmp(first, "main") == 0 && is_synced(replica, second) ? SQLITE_DENY
                                                                                 : SQLITE_OK;
    case SQLITE_DROP_TABLE: /* table */
        return database && strcmp(database, "main") == 0 && is_synced(replica, first) ? SQLITE_DENY
                                                                                      : SQLITE_OK;
    case SQLITE_DROP_TRIGGER: /* trigger, table */
        return first && strncmp(first, "satchel_", strlen("satchel_")) == 0 &&
                       is_synced(replica, second)
                   ? SQLITE_DENY
                   : SQLITE_OK;
    default: return SQLITE_OK;
    }
}

void satchel_guard_attach(struct satchel_replica *replica)
{
    if (replica->schema)
        sqlite3_set_authorizer(replica->db, judge, replica);
}

void satchel_guard_detach(struct satchel_replica *replica)
{
    sqlite3_set_authorizer(replica->db, NULL, NULL);
}
