/* Owns what must hold when nothing is on its way any more: everybody equal, nothing lost, and all
 * of it as the naive reference computes it from the change sets. */
#include "system_world.h"

#include <satchel/digest.h>
#include <stdlib.h>

/* ---- every committed change set exactly once ---- */

static const struct system_entry *find_entry(const struct system_entry *entries, size_t count,
                                             const struct satchel_id *device, uint64_t number)
{
    for (size_t i = 0; i < count; i++)
        if (entries[i].number == number && satchel_id_equal(&entries[i].device, device))
            return &entries[i];
    return NULL;
}

/* The stamp is the true time of the write, however wrong the device's clock was. */
static void check_time(struct system_world *world, const struct system_change *change,
                       const struct system_entry *entry)
{
    enum { HANDSHAKE_MS = 10 };
    const struct system_device *device = &world->devices[change->device];
    int64_t error_ms = satchel_stamp_ms(entry->stamp) - change->true_ms;
    if (device->has_rebooted && device->has_jumped)
        return;
    system_check(world, error_ms >= -HANDSHAKE_MS && error_ms <= HANDSHAKE_MS,
                 "the stamp of change set %u.%llu is %lld ms off", change->device,
                 (unsigned long long)change->number, (long long)error_ms);
}

static void check_nothing_lost(struct system_world *world, const struct system_entry *entries,
                               size_t count)
{
    size_t of_devices = 0;
    for (size_t i = 0; i < count; i++)
        for (unsigned d = 0; d < world->device_count; d++)
            of_devices += satchel_id_equal(&entries[i].device, &world->devices[d].id);
    system_check(world, of_devices == world->change_count,
                 "%zu change sets were committed, %zu are in the history", world->change_count,
                 of_devices);
    for (size_t i = 0; i < world->change_count; i++) {
        const struct system_change *change = &world->changes[i];
        const struct system_entry *entry =
            find_entry(entries, count, &world->devices[change->device].id, change->number);
        system_check(world, entry && satchel_span_equal(entry->body, change->body),
                     "change set %u.%llu is not in the history as it was committed", change->device,
                     (unsigned long long)change->number);
        check_time(world, change, entry);
    }
}

/* ---- equal everywhere ---- */

static void dump_query(struct system_world *world, sqlite3 *db, const char *sql,
                       struct satchel_buffer *out)
{
    sqlite3_stmt *select = NULL;
    int code;
    satchel_buffer_clear(out);
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        system_fail(world, "%s: %s", sql, sqlite3_errmsg(db));
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(select); i++) {
            struct satchel_value value = satchel_value_of_column(select, i);
            char hex[2 * 4096 + 1] = "";
            if (value.type == SATCHEL_BLOB && value.bytes.size <= 4096)
                satchel_hex(value.bytes, hex);
            system_ok(world,
                      satchel_buffer_format(out, "%d:%s|", (int)value.type,
                                            value.type == SATCHEL_BLOB
                                                ? hex
                                                : (const char *)sqlite3_column_text(select, i)),
                      "dump", NULL);
        }
        system_ok(world, satchel_buffer_append(out, "\n", 1), "dump", NULL);
    }
    system_check(world, code == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(select);
}

static void check_same_query(struct system_world *world, unsigned device, sqlite3 *replica,
                             sqlite3 *store, const char *sql)
{
    struct satchel_buffer ours, theirs;
    satchel_buffer_init(&ours, 64 << 20, NULL);
    satchel_buffer_init(&theirs, 64 << 20, NULL);
    dump_query(world, replica, sql, &ours);
    dump_query(world, store, sql, &theirs);
    if (!satchel_span_equal(satchel_buffer_span(&ours), satchel_buffer_span(&theirs))) {
        system_trace(world, "device %u:", device);
        system_put(&world->trace, ours.data, ours.size);
        system_trace(world, "server:");
        system_put(&world->trace, theirs.data, theirs.size);
        system_fail(world, "device %u and the server differ in: %s", device, sql);
    }
    satchel_buffer_deinit(&ours);
    satchel_buffer_deinit(&theirs);
}

static void check_rows(struct system_world *world, unsigned device,
                       const struct system_snapshot *ours, const struct system_snapshot *theirs)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, 1 << 20, NULL);
    for (int side = 0; side < 2; side++) {
        const struct system_snapshot *from = side ? theirs : ours, *in = side ? ours : theirs;
        for (size_t i = 0; i < from->count; i++) {
            const struct system_row *row = &from->rows[i];
            const struct system_row *other = system_snapshot_find(in, row->name);
            bool is_same = other != NULL;
            for (uint32_t c = 0; is_same && c < row->table->column_count; c++)
                is_same = satchel_value_equal(&row->values[c], &other->values[c]);
            if (is_same)
                continue;
            system_describe_row(world, &text, row);
            system_put(&text, side ? " (server) " : " (device) ", 10);
            if (other)
                system_describe_row(world, &text, other);
            system_fail(world, "device %u and the server differ: %s", device,
                        satchel_buffer_text(&text));
        }
    }
    satchel_buffer_deinit(&text);
}

static void check_digests(struct system_world *world, unsigned device, sqlite3 *replica,
                          sqlite3 *store)
{
    const struct satchel_schema *schema = system_schema(world, store);
    for (uint32_t i = 0; i < schema->table_count; i++) {
        struct satchel_table_digest ours, theirs;
        struct satchel_error error = {0};
        if (schema->tables[i].is_local)
            continue;
        system_ok(world,
                  satchel_table_digest_compute(replica, &schema->tables[i], satchel_span_text(""),
                                               &ours, &error),
                  "digest", &error);
        system_ok(world,
                  satchel_table_digest_compute(store, &schema->tables[i], satchel_span_text(""),
                                               &theirs, &error),
                  "digest", &error);
        system_check(world,
                     ours.row_count == theirs.row_count &&
                         memcmp(&ours.digest, &theirs.digest, sizeof ours.digest) == 0,
                     "device %u: the digest of %s differs", device, schema->tables[i].name);
    }
}

static void check_integrity(struct system_world *world, sqlite3 *db)
{
    sqlite3_stmt *select = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &select, NULL) != SQLITE_OK ||
        sqlite3_step(select) != SQLITE_ROW ||
        strcmp((const char *)sqlite3_column_text(select, 0), "ok") != 0)
        system_fail(world, "integrity_check: %s", sqlite3_errmsg(db));
    sqlite3_finalize(select);
}

static void check_replica(struct system_world *world, unsigned index,
                          const struct system_snapshot *store)
{
    struct system_device *device = &world->devices[index];
    sqlite3 *db = system_app(device, 0), *central = satchel_store_sqlite_db(world->server.store);
    struct system_snapshot snapshot;
    system_snapshot_take(world, db, &snapshot);
    check_rows(world, index, &snapshot, store);
    check_digests(world, index, db, central);
    check_integrity(world, db);
    system_check(world, system_integer(world, db, "SELECT count(*) FROM satchel_change") == 0,
                 "device %u still has pending change sets", index);
    system_check(world, system_integer(world, db, "SELECT count(*) FROM satchel_base") == 0,
                 "device %u still has rows in satchel_base", index);
    check_same_query(world, index, db, central, "SELECT * FROM satchel_conflict ORDER BY id");
    check_same_query(world, index, db, central,
                     "SELECT cursor, seq, device, number, stamp, user, secret, body, notes FROM"
                     " satchel_entry ORDER BY cursor");
    if (system_one_in(world, 4))
        check_same_query(world, index, db, world->server.readers[THREAD_STREAM].db,
                         "SELECT id, at, user, device, seq, tbl, key, field, old, new, outcome,"
                         " winner, reason FROM satchel_history");
}

/* ---- all ---- */

void system_check_all(struct system_world *world)
{
    sqlite3 *db = satchel_store_sqlite_db(world->server.store);
    struct system_entry *entries;
    struct system_snapshot store;
    size_t count;
    if (!world->is_deployed && system_one_in(world, 2)) {
        /* last of all */
        system_server_deploy(world);
        system_drain(world);
    }
    system_snapshot_take(world, db, &store);
    system_entries_load(world, &entries, &count);
    for (size_t i = 0; i < count; i++)
        system_counts.quarantined += entries[i].notes.quarantined_count;
    check_nothing_lost(world, entries, count);
    check_integrity(world, db);
    for (unsigned i = 0; i < world->device_count; i++)
        check_replica(world, i, &store);
    if (world->was_restored)
        return; /* the two count in the node's entries, whose order is another now */
    system_check_reference(world, entries, count, &store);
    system_replay(world, entries, count);
}
