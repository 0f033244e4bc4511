#include "node_kit.h"

#include "replica_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { PARTS_MAX = 64, NOTES_MAX = 16 };

const char NODE_KIT_SCHEMA[] = "-- @table scope=all delete=edit_wins\n"
                               "CREATE TABLE item(\n"
                               "  id TEXT PRIMARY KEY,\n"
                               "  title TEXT,\n"
                               "  body TEXT,\n"
                               "  amount INTEGER,  -- @group(price)\n"
                               "  currency TEXT,   -- @group(price)\n"
                               "  hits INTEGER NOT NULL DEFAULT 0, -- @counter\n"
                               "  done INTEGER DEFAULT 0\n"
                               ");\n";

static const uint8_t SECRET[SATCHEL_SECRET_BYTES] = {1, 2, 3};

static void ok(enum satchel_status status, const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        print_error("%s: %s\n", satchel_status_name(status), error->message);
    assert_int_equal(status, SATCHEL_OK);
}

/* ---- the replica ---- */

static void open_sync(struct node_kit *kit)
{
    struct satchel_error error = {0};
    ok(satchel_sync_open(&kit->sync_replica, kit->path, NULL, &error), &error);
    ok(satchel_apply_new(&kit->apply, kit->sync_replica, &error), &error);
}

static void close_sync(struct node_kit *kit)
{
    satchel_apply_free(kit->apply);
    satchel_replica_close(kit->sync_replica);
    kit->apply = NULL;
    kit->sync_replica = NULL;
}

void node_kit_open(struct node_kit *kit, const char *schema)
{
    memset(kit, 0, sizeof *kit);
    memcpy(kit->folder, "/tmp/satchel-apply-XXXXXX", sizeof "/tmp/satchel-apply-XXXXXX");
    assert_non_null(mkdtemp(kit->folder));
    snprintf(kit->path, sizeof kit->path, "%s/replica.db", kit->folder);
    memset(kit->node.bytes, 0xaa, sizeof kit->node.bytes);
    memset(kit->other.bytes, 0x22, sizeof kit->other.bytes);
    satchel_arena_init(&kit->arena, 1 << 28, NULL);
    satchel_buffer_init(&kit->body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&kit->notes, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    assert_int_equal(fixture_replica(kit->path, schema, "ann", "rep", NULL, &kit->replica),
                     SATCHEL_OK);
    kit->db = satchel_replica_db(kit->replica);
    node_kit_sql(kit, "UPDATE satchel_replica SET node = x'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'");
    open_sync(kit);
}

void node_kit_reopen_sync(struct node_kit *kit)
{
    close_sync(kit);
    open_sync(kit);
}

void node_kit_close(struct node_kit *kit)
{
    close_sync(kit);
    satchel_replica_close(kit->replica);
    satchel_arena_deinit(&kit->arena);
    satchel_buffer_deinit(&kit->body);
    satchel_buffer_deinit(&kit->notes);
    fixture_remove(kit->path);
    assert_int_equal(rmdir(kit->folder), 0);
}

void node_kit_sql(struct node_kit *kit, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(kit->db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

void node_kit_expect(struct node_kit *kit, const char *sql, const char *expected)
{
    struct satchel_buffer text;
    sqlite3_stmt *select;
    satchel_buffer_init(&text, 1 << 20, NULL);
    if (sqlite3_prepare_v2(kit->db, sql, -1, &select, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(kit->db));
    for (bool is_first = true; sqlite3_step(select) == SQLITE_ROW; is_first = false) {
        for (int i = 0; i < sqlite3_column_count(select); i++) {
            const char *value = (const char *)sqlite3_column_text(select, i);
            const char *separator = i > 0 ? "|" : is_first ? "" : ";";
            assert_int_equal(
                satchel_buffer_format(&text, "%s%s", separator, value ? value : "null"),
                SATCHEL_OK);
        }
    }
    sqlite3_finalize(select);
    assert_string_equal(satchel_buffer_text(&text), expected);
    satchel_buffer_deinit(&text);
}

/* ---- entries ---- */

struct satchel_value text_of(const char *text)
{
    return satchel_value_text(satchel_span_text(text));
}

struct satchel_value number_of(int64_t number)
{
    return satchel_value_integer(number);
}

void entry_begin(struct node_kit *kit)
{
    satchel_arena_reset(&kit->arena);
    satchel_buffer_clear(&kit->body);
    satchel_buffer_clear(&kit->notes);
    kit->parts = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_part, PARTS_MAX);
    kit->part_count = 0;
    kit->said = (struct satchel_notes){
        .unlike = SATCHEL_ARENA_ARRAY(&kit->arena, uint32_t, NOTES_MAX),
        .effects = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_effect, NOTES_MAX),
        .conflicts = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_conflict_note, NOTES_MAX),
        .quarantined = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_quarantine_note, NOTES_MAX),
    };
}

static uint32_t count_fields(const struct satchel_field *fields)
{
    uint32_t count = 0;
    while (fields && fields[count].column != 0)
        count++;
    return count;
}

static const struct satchel_value *key_of(struct node_kit *kit, const char *id)
{
    struct satchel_value *key = satchel_arena_alloc(&kit->arena, sizeof *key);
    *key = text_of(id);
    return key;
}

/* The fields live as long as the entry is built. */
static const struct satchel_field *keep(struct node_kit *kit, const struct satchel_field *fields)
{
    uint32_t count = count_fields(fields);
    struct satchel_field *kept = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_field, count);
    if (count)
        memcpy(kept, fields, count * sizeof *kept);
    return kept;
}

void entry_part(struct node_kit *kit, enum satchel_op_kind kind, const char *id,
                const struct satchel_field *fields)
{
    assert_true(kit->part_count < PARTS_MAX);
    kit->parts[kit->part_count++] = (struct satchel_part){
        .kind = kind,
        .table = ITEM,
        .key = key_of(kit, id),
        .key_count = 1,
        .fields = keep(kit, fields),
        .field_count = count_fields(fields),
    };
}

void entry_unlike(struct node_kit *kit, uint32_t part)
{
    ((uint32_t *)(uintptr_t)kit->said.unlike)[kit->said.unlike_count++] = part;
}

void entry_effect(struct node_kit *kit, enum satchel_effect_kind kind, const char *id,
                  const struct satchel_field *fields)
{
    struct satchel_effect *effects = (struct satchel_effect *)(uintptr_t)kit->said.effects;
    effects[kit->said.effect_count++] = (struct satchel_effect){
        .kind = kind,
        .table = ITEM,
        .key = key_of(kit, id),
        .key_count = 1,
        .fields = keep(kit, fields),
        .field_count = count_fields(fields),
    };
}

void entry_alias(struct node_kit *kit, const char *id, const char *into)
{
    struct satchel_effect *effects = (struct satchel_effect *)(uintptr_t)kit->said.effects;
    entry_effect(kit, SATCHEL_EFFECT_ALIAS, id, NULL);
    effects[kit->said.effect_count - 1].into = key_of(kit, into);
}

void entry_quarantined(struct node_kit *kit, uint32_t part, const char *reason)
{
    struct satchel_quarantine_note *notes =
        (struct satchel_quarantine_note *)(uintptr_t)kit->said.quarantined;
    notes[kit->said.quarantined_count++] =
        (struct satchel_quarantine_note){part, satchel_span_text(reason)};
}

void entry_conflict(struct node_kit *kit, const char *id, uint32_t unit, const char *lost,
                    const char *kept, bool is_open)
{
    struct satchel_conflict_note *notes =
        (struct satchel_conflict_note *)(uintptr_t)kit->said.conflicts;
    struct satchel_conflict_note *note = &notes[kit->said.conflict_count++];
    note->is_open = is_open;
    note->table = ITEM;
    note->key = key_of(kit, id);
    note->key_count = 1;
    note->unit = unit;
    note->loser.device = kit->other;
    note->loser.number = 1;
    note->loser.stamp = satchel_stamp_from_ms(1000);
    note->winner = note->loser;
    note->winner.number = 2;
    note->id = satchel_conflict_id(ITEM, note->key, 1, unit, &kit->other, 1);
    note->loser_user = satchel_span_text("bob");
    note->winner_user = satchel_span_text("eve");
    note->lost = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_field, 1);
    note->kept = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_field, 1);
    note->lost[0] = (struct satchel_field){unit, text_of(lost)};
    note->kept[0] = (struct satchel_field){unit, text_of(kept)};
    note->column_count = 1;
    note->resolved = is_open ? 0 : satchel_stamp_from_ms(2000);
}

void entry_conflict_wrote(struct node_kit *kit, const char *id)
{
    struct satchel_conflict_note *note = (struct satchel_conflict_note *)(uintptr_t)&kit->said
                                             .conflicts[kit->said.conflict_count - 1];
    note->alias_key = key_of(kit, id);
    note->id = satchel_conflict_id(ITEM, note->alias_key, 1, note->unit, &kit->other, 1);
}

static struct satchel_entry make_entry(struct node_kit *kit)
{
    struct satchel_entry entry = {.cursor = ++kit->cursor, .seq = ++kit->seq, .secret = SECRET};
    entry.stamp = satchel_stamp_from_ms((int64_t)1700000000000 + (int64_t)kit->seq);
    entry.user = satchel_span_text("bob");
    assert_int_equal(satchel_notes_write(&kit->notes, &kit->said), SATCHEL_OK);
    entry.notes = satchel_buffer_span(&kit->notes);
    return entry;
}

struct satchel_entry entry_of_other(struct node_kit *kit)
{
    struct satchel_changeset_header header = {.schema = 1, .part_count = kit->part_count};
    struct satchel_entry entry = make_entry(kit);
    assert_int_equal(satchel_changeset_write_header(&kit->body, &header), SATCHEL_OK);
    for (uint32_t i = 0; i < kit->part_count; i++)
        assert_int_equal(satchel_changeset_write_part(&kit->body, &kit->parts[i]), SATCHEL_OK);
    entry.device = kit->other;
    entry.number = ++kit->other_number;
    entry.body = satchel_buffer_span(&kit->body);
    return entry;
}

struct satchel_entry entry_of_own(struct node_kit *kit, uint64_t number)
{
    struct satchel_entry entry = make_entry(kit);
    entry.device = kit->replica->device;
    entry.number = number;
    return entry;
}

void apply_entry(struct node_kit *kit, const struct satchel_entry *entry)
{
    struct satchel_error error = {0};
    ok(satchel_apply_begin(kit->apply, true, &error), &error);
    ok(satchel_apply_entry(kit->apply, entry, &error), &error);
    ok(satchel_apply_commit(kit->apply, &error), &error);
}

static void other_does(struct node_kit *kit, enum satchel_op_kind kind, const char *id,
                       const struct satchel_field *fields)
{
    entry_begin(kit);
    entry_part(kit, kind, id, fields);
    struct satchel_entry entry = entry_of_other(kit);
    apply_entry(kit, &entry);
}

void other_inserts(struct node_kit *kit, const char *id, const char *title)
{
    struct satchel_field fields[] = {{TITLE, text_of(title)}, {0}};
    other_does(kit, SATCHEL_OP_INSERT, id, fields);
}

void other_updates(struct node_kit *kit, const char *id, uint32_t column,
                   struct satchel_value value)
{
    struct satchel_field fields[] = {{column, value}, {0}};
    other_does(kit, SATCHEL_OP_UPDATE, id, fields);
}

void other_deletes(struct node_kit *kit, const char *id)
{
    other_does(kit, SATCHEL_OP_DELETE, id, NULL);
}

void own_comes_back(struct node_kit *kit, uint64_t number)
{
    entry_begin(kit);
    struct satchel_entry entry = entry_of_own(kit, number);
    apply_entry(kit, &entry);
}

/* ---- what the replica captured ---- */

static void read_change(struct node_kit *kit, uint64_t number, struct satchel_changeset *out)
{
    struct satchel_buffer scratch;
    struct satchel_span body;
    struct satchel_error error = {0};
    sqlite3_stmt *select;
    satchel_arena_reset(&kit->arena);
    satchel_buffer_init(&scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    assert_int_equal(sqlite3_prepare_v2(kit->db,
                                        "SELECT body FROM satchel_change WHERE number = ?1", -1,
                                        &select, NULL),
                     SQLITE_OK);
    sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
    assert_int_equal(sqlite3_step(select), SQLITE_ROW);
    struct satchel_span stored =
        satchel_span_of(sqlite3_column_blob(select, 0), (size_t)sqlite3_column_bytes(select, 0));
    assert_int_equal(satchel_body_load(stored, &scratch, &body), SATCHEL_OK);
    body = satchel_arena_copy(&kit->arena, body);
    ok(satchel_changeset_decode(body, &kit->arena, out, &error), &error);
    sqlite3_finalize(select);
    satchel_buffer_deinit(&scratch);
}

int64_t exception_seq(struct node_kit *kit, uint64_t number, uint32_t column)
{
    struct satchel_changeset changeset;
    read_change(kit, number, &changeset);
    assert_int_equal(changeset.header.part_count, 1);
    const struct satchel_part *part = &changeset.parts[0];
    for (uint32_t i = 0; i < part->exception_count; i++)
        if (part->exceptions[i].column == column)
            return (int64_t)satchel_vector_get(&part->exceptions[i].view.vector, &kit->node);
    return -1;
}

uint64_t seen_seq(struct node_kit *kit, uint64_t number)
{
    struct satchel_changeset changeset;
    read_change(kit, number, &changeset);
    return satchel_vector_get(&changeset.header.seen, &kit->node);
}
