/* Owns reading the log of the store, decoded. */
#include "system_world.h"

static struct satchel_span column_copy(struct system_world *world, sqlite3_stmt *row, int column)
{
    return satchel_arena_copy(&world->arena,
                              satchel_span_of(sqlite3_column_blob(row, column),
                                              (size_t)sqlite3_column_bytes(row, column)));
}

static void decode_entry(struct system_world *world, sqlite3_stmt *row, struct system_entry *out)
{
    struct satchel_span device = column_copy(world, row, 3), secret = column_copy(world, row, 6),
                        body;
    struct satchel_error error = {0};
    out->cursor = (uint64_t)sqlite3_column_int64(row, 0);
    out->seq = (uint64_t)sqlite3_column_int64(row, 1);
    out->number = (uint64_t)sqlite3_column_int64(row, 2);
    memcpy(out->device.bytes, device.data, sizeof out->device);
    out->stamp = (satchel_stamp)sqlite3_column_int64(row, 4);
    out->user = column_copy(world, row, 5);
    memcpy(out->secret, secret.data, SATCHEL_SECRET_BYTES);
    satchel_buffer_clear(&world->scratch);
    system_ok(world, satchel_body_load(column_copy(world, row, 7), &world->scratch, &body), "body",
              NULL);
    out->body = satchel_arena_copy(&world->arena, body);
    system_ok(world, satchel_changeset_decode(out->body, &world->arena, &out->content, &error),
              "read an entry", &error);
    system_ok(world, satchel_notes_read(column_copy(world, row, 8), &world->arena, &out->notes),
              "notes", NULL);
    out->is_quarantined = SATCHEL_ARENA_ARRAY(&world->arena, bool, out->content.header.part_count);
    system_check(world, out->is_quarantined != NULL, "no memory");
    for (uint32_t i = 0; i < out->notes.quarantined_count; i++)
        out->is_quarantined[out->notes.quarantined[i].part] = true;
}

void system_entries_load(struct system_world *world, struct system_entry **out, size_t *count)
{
    sqlite3 *db = satchel_store_sqlite_db(world->server.store);
    sqlite3_stmt *select = NULL;
    size_t total = (size_t)system_integer(world, db, "SELECT count(*) FROM satchel_entry");
    *out = SATCHEL_ARENA_ARRAY(&world->arena, struct system_entry, total);
    *count = 0;
    system_check(world, *out != NULL, "no memory");
    if (sqlite3_prepare_v2(db,
                           "SELECT cursor, seq, number, device, stamp, user, secret, body, notes"
                           " FROM satchel_entry ORDER BY cursor",
                           -1, &select, NULL) != SQLITE_OK)
        system_fail(world, "%s", sqlite3_errmsg(db));
    while (sqlite3_step(select) == SQLITE_ROW)
        decode_entry(world, select, &(*out)[(*count)++]);
    sqlite3_finalize(select);
}
