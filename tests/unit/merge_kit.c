/* See merge_kit.h. */
#include "merge_kit.h"

#include <stdlib.h>
#include <unistd.h>

void kit_open(struct kit *kit, const char *sql)
{
    memset(kit, 0, sizeof *kit);
    snprintf(kit->directory, sizeof kit->directory, "/tmp/satchel-merge-XXXXXX");
    assert_non_null(mkdtemp(kit->directory));
    snprintf(kit->path, sizeof kit->path, "%s/w.db", kit->directory);
    satchel_arena_init(&kit->arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&kit->text, (size_t)64 << 20, NULL);
    struct satchel_migration migration = {1, satchel_span_text("001_init.sql"),
                                          satchel_span_text(sql)};
    const char *notice;
    enum satchel_status status = satchel_store_sqlite_create(
        &kit->store, kit->path, satchel_span_text("w"), KIT_NOW_MS, &kit->error);
    if (status == SATCHEL_OK) {
        kit_run(kit, "PRAGMA synchronous=OFF");
        status = kit->store->ops->begin(kit->store, &kit->error);
    }
    if (status == SATCHEL_OK)
        status = deploy_migrations(kit->store, &migration, 1, KIT_NOW_MS - 7200000, &kit->arena,
                                   &notice, &kit->error);
    for (uint8_t i = 1; i < 10 && status == SATCHEL_OK; i++) {
        char insert[200], id[SATCHEL_ID_TEXT_BYTES];
        struct satchel_id device = kit_device(i);
        satchel_id_text(&device, id);
        snprintf(insert, sizeof insert,
                 "INSERT INTO satchel_device(id,user,joined) VALUES(x'%s','user%d',0)", id, i);
        status = satchel_db_exec(satchel_store_sqlite_db(kit->store), insert, &kit->error);
    }
    if (status == SATCHEL_OK)
        status = kit->store->ops->commit(kit->store, &kit->error);
    if (status != SATCHEL_OK)
        fail_msg("%s", kit->error.message);
}

void kit_close(struct kit *kit)
{
    char path[100];
    static const char *const beside[] = {"", "-wal", "-shm"};
    kit->store->ops->close(kit->store);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", kit->path, beside[i]);
        unlink(path);
    }
    rmdir(kit->directory);
    satchel_arena_deinit(&kit->arena);
    satchel_buffer_deinit(&kit->text);
}

void kit_reopen(struct kit *kit)
{
    kit->store->ops->close(kit->store);
    assert_ok(satchel_store_sqlite_open(&kit->store, kit->path, &kit->error));
    kit_run(kit, "PRAGMA synchronous=OFF");
}

struct satchel_id kit_device(uint8_t number)
{
    struct satchel_id id;
    memset(&id, number, sizeof id);
    return id;
}

struct satchel_value text(const char *text)
{
    return satchel_value_text(satchel_span_text(text));
}

struct satchel_value integer(int64_t integer)
{
    return satchel_value_integer(integer);
}

struct satchel_value null(void)
{
    return satchel_value_null();
}

struct satchel_part kit_part(struct kit *kit, enum satchel_op_kind kind, const char *table,
                             const char *key, ...)
{
    struct satchel_part part = {.kind = kind, .key_count = 1};
    struct satchel_value *value = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_value, 1);
    struct satchel_field *fields = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_field, 16);
    const struct satchel_table *found = satchel_schema_find(kit->store->schema, table);
    assert_non_null(found);
    *value = text(key);
    part.table = found->number;
    part.key = value;
    part.fields = fields;
    va_list arguments;
    va_start(arguments, key);
    for (int column; (column = va_arg(arguments, int)) >= 0;) {
        fields[part.field_count].column = (uint32_t)column;
        fields[part.field_count++].value = va_arg(arguments, struct satchel_value);
    }
    va_end(arguments);
    return part;
}

struct satchel_incoming kit_changeset(struct kit *kit, uint8_t device, uint64_t number, int64_t ms,
                                      uint64_t seen, const struct satchel_part *parts,
                                      uint32_t part_count)
{
    struct satchel_store_head head;
    assert_ok(kit->store->ops->load_head(kit->store, &head, &kit->error));
    struct satchel_position position = {head.node, seen};
    return kit_changeset_seen(kit, device, number, ms, seen > 0 ? &position : NULL, parts,
                              part_count);
}

struct satchel_incoming kit_changeset_seen(struct kit *kit, uint8_t device, uint64_t number,
                                           int64_t ms, const struct satchel_position *seen,
                                           const struct satchel_part *parts, uint32_t part_count)
{
    struct satchel_incoming incoming = {.device = kit_device(device), .number = number};
    struct satchel_changeset_header header = {1, {seen, seen ? 1 : 0}, {NULL, 0}, part_count};
    char user[16];
    snprintf(user, sizeof user, "user%d", device);
    incoming.user = satchel_arena_copy(&kit->arena, satchel_span_text(user));
    incoming.stamp = satchel_stamp_from_ms(KIT_NOW_MS - 3600000 + ms);
    memset(incoming.secret, device, sizeof incoming.secret);
    struct satchel_buffer body;
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    for (uint32_t i = 0; i < part_count; i++)
        assert_ok(satchel_changeset_write_part(&body, &parts[i]));
    incoming.body = satchel_arena_copy(&kit->arena, satchel_buffer_span(&body));
    satchel_buffer_deinit(&body);
    return incoming;
}

void kit_merge(struct kit *kit, const struct satchel_incoming *incoming, size_t count,
               struct satchel_incoming_outcome *outcomes)
{
    const struct satchel_store_ops *ops = kit->store->ops;
    memset(&kit->error, 0, sizeof kit->error);
    assert_ok(ops->begin(kit->store, &kit->error));
    if (satchel_merge_batch(kit->store, incoming, count, KIT_NOW_MS, outcomes, &kit->error) !=
        SATCHEL_OK)
        fail_msg("%s", kit->error.message);
    assert_ok(ops->commit(kit->store, &kit->error));
}

uint32_t kit_push(struct kit *kit, uint8_t device, uint64_t number, int64_t ms, uint64_t seen,
                  struct satchel_part part)
{
    struct satchel_incoming incoming = kit_changeset(kit, device, number, ms, seen, &part, 1);
    struct satchel_incoming_outcome outcome;
    kit_merge(kit, &incoming, 1, &outcome);
    if (outcome.result != SATCHEL_INCOMING_MERGED)
        fail_msg("not merged: %s", outcome.error.message);
    return outcome.quarantined_count;
}

const char *kit_rows(struct kit *kit, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    sqlite3 *db = satchel_store_sqlite_db(kit->store);
    satchel_buffer_clear(&kit->text);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    for (bool is_first = true; sqlite3_step(statement) == SQLITE_ROW; is_first = false) {
        if (!is_first)
            assert_ok(satchel_buffer_append(&kit->text, "\n", 1));
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);
            assert_ok(
                satchel_buffer_format(&kit->text, "%s%s", i ? "|" : "", value ? value : "NULL"));
        }
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return satchel_buffer_text(&kit->text);
}

void kit_run(struct kit *kit, const char *sql)
{
    if (satchel_db_exec(satchel_store_sqlite_db(kit->store), sql, &kit->error) != SATCHEL_OK)
        fail_msg("%s", kit->error.message);
}

struct satchel_notes kit_notes(struct kit *kit, uint64_t cursor)
{
    struct satchel_entry entry;
    struct satchel_span timeline;
    struct satchel_notes notes;
    assert_ok(kit->store->ops->load_entries(kit->store, &cursor, 1, &entry, &timeline, &kit->arena,
                                            &kit->error));
    assert_ok(satchel_notes_read(entry.notes, &kit->arena, &notes));
    return notes;
}
