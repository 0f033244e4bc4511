/* Packing the log changes nothing that is read of it, moves all or nothing, and lets the history of
 * one row pass over what has nothing of it. */
#include "sql_support.h"

#include <satchel/log.h>
#include <satchel/log_pack.h>
#include <satchel/log_reader.h>
#include <satchel/row_io.h>

#include <stdlib.h>

static const char sql[] = "-- @table scope=all delete=edit_wins\n"
                          "CREATE TABLE deal(id TEXT PRIMARY KEY,\n"
                          "  stage TEXT,      -- @lww\n"
                          "  visits INTEGER DEFAULT 0, -- @counter\n"
                          "  note TEXT);\n";

enum { STAGE = 1, VISITS, NOTE, ROWS = 50 };

struct fixture {
    struct satchel_schema *schema;
    sqlite3 *db;
    struct satchel_log *log;
    struct satchel_log_reader *reader;
    struct satchel_error error;
    uint64_t cursor;
};

static const struct satchel_schema *served_schema(void *context)
{
    return ((struct fixture *)context)->schema;
}

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->schema = sql_schema(sql);
    f->db = sql_open(sql);
    assert_ok(satchel_log_create(f->db, &f->error));
    assert_ok(satchel_log_new(&f->log, f->db));
    assert_ok(satchel_log_reader_new(&f->reader, f->db));
    assert_int_equal(satchel_history_register(f->db, served_schema, f), SQLITE_OK);
}

static void close_fixture(struct fixture *f)
{
    satchel_log_reader_free(f->reader);
    satchel_log_free(f->log);
    sql_close(f->db);
    satchel_schema_free(f->schema);
}

/* Writes the field of row "rN", N the cursor modulo ROWS; long notes, so that some bodies are
 * compressed; the counter's sum as an effect, on a row that the body does not name. */
static void append(struct fixture *f)
{
    char key_text[16], effect_text[16], note[3000];
    uint64_t cursor = ++f->cursor;
    snprintf(key_text, sizeof key_text, "r%d", (int)(cursor % ROWS));
    snprintf(effect_text, sizeof effect_text, "e%d", (int)(cursor % ROWS));
    memset(note, 'a' + (int)(cursor % 26), sizeof note);
    struct satchel_value key = text_value(key_text), effect_key = text_value(effect_text);
    struct satchel_field fields[] = {
        {STAGE, satchel_value_integer((int64_t)cursor)},
        {NOTE, satchel_value_text(satchel_span_of(note, cursor % 7 == 0 ? sizeof note : 5))}};
    struct satchel_field sum = {VISITS, satchel_value_integer((int64_t)cursor)};
    struct satchel_part part = {.kind = cursor <= ROWS ? SATCHEL_OP_INSERT : SATCHEL_OP_UPDATE,
                                .table = 1,
                                .key = &key,
                                .key_count = 1,
                                .fields = fields,
                                .field_count = 2};
    struct satchel_effect effect = {SATCHEL_EFFECT_DELTA, 1, &effect_key, 1, &sum, 1, NULL};
    struct satchel_notes notes = {.effects = &effect, .effect_count = cursor % 3 == 0};
    struct satchel_changeset_header header = {.schema = 1, .part_count = 1};
    struct satchel_buffer body, stored, noted;
    satchel_buffer_init(&body, 1 << 20, NULL);
    satchel_buffer_init(&stored, 1 << 20, NULL);
    satchel_buffer_init(&noted, 1 << 20, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    assert_ok(satchel_changeset_write_part(&body, &part));
    assert_ok(satchel_body_store(satchel_buffer_span(&body), &stored));
    if (notes.effect_count)
        assert_ok(satchel_notes_write(&noted, &notes));
    uint8_t secret[SATCHEL_SECRET_BYTES] = {(uint8_t)cursor, 7};
    struct satchel_entry entry = {
        .cursor = cursor,
        .seq = cursor % 5 == 0 ? 0 : cursor,
        .device = id_of((uint8_t)(1 + cursor % 3)),
        .number = cursor,
        .stamp = satchel_stamp_from_ms((int64_t)cursor * 1000),
        .user = cursor % 4 == 0 ? satchel_span_of(NULL, 0) : satchel_span_text("ann"),
        .secret = cursor % 11 == 0 ? NULL : secret,
        .body = cursor % 13 == 0 ? satchel_span_of(NULL, 0) : satchel_buffer_span(&stored),
        .notes = satchel_buffer_span(&noted)};
    assert_ok(satchel_log_append(f->log, &entry, satchel_span_of("\x91\x05", 2), &f->error));
    satchel_buffer_deinit(&body);
    satchel_buffer_deinit(&stored);
    satchel_buffer_deinit(&noted);
}

static void append_many(struct fixture *f, int count)
{
    sql_run(f->db, "BEGIN");
    for (int i = 0; i < count; i++)
        append(f);
    sql_run(f->db, "COMMIT");
}

/* Everything of an entry as text, the body as what it says. */
static void write_entry(struct satchel_buffer *out, const struct satchel_log_entry *read)
{
    const struct satchel_entry *entry = &read->entry;
    struct satchel_buffer scratch;
    struct satchel_span body = {NULL, 0};
    satchel_buffer_init(&scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    if (entry->body.size > 0)
        assert_ok(satchel_body_load(entry->body, &scratch, &body));
    assert_ok(satchel_buffer_format(
        out, "%llu %llu %d %llu %llu %.*s %d ", (unsigned long long)entry->cursor,
        (unsigned long long)entry->seq, entry->device.bytes[0], (unsigned long long)entry->number,
        (unsigned long long)entry->stamp, (int)entry->user.size, (const char *)entry->user.data,
        entry->secret ? entry->secret[0] : -1));
    assert_ok(satchel_buffer_append(out, body.data, body.size));
    assert_ok(satchel_buffer_append(out, entry->notes.data, entry->notes.size));
    assert_ok(satchel_buffer_append(out, read->timeline.data, read->timeline.size));
    satchel_buffer_deinit(&scratch);
}

/* The log from `after` on. */
static void read_all(struct fixture *f, uint64_t after, struct satchel_buffer *out)
{
    struct satchel_log_entry entry;
    bool found;
    satchel_buffer_init(out, 64 << 20, NULL);
    assert_ok(satchel_log_read_from(f->reader, after, NULL, 0, &f->error));
    for (;;) {
        assert_ok(satchel_log_read_next(f->reader, &found, &entry, &f->error));
        if (!found)
            break;
        write_entry(out, &entry);
    }
    satchel_log_read_end(f->reader);
}

static uint32_t pack(struct fixture *f, uint32_t keep, uint32_t entries_min)
{
    uint32_t packed = 0;
    if (satchel_log_pack(f->db, keep, entries_min, &packed, &f->error) != SATCHEL_OK)
        fail_msg("%s", f->error.message);
    return packed;
}

static const char *const queries[] = {
    "SELECT count(*), sum(length(old)), sum(length(new)), min(at), max(seq), count(user)"
    " FROM satchel_history",
    "SELECT at, field, old, new, outcome FROM satchel_history WHERE tbl='deal' AND key='r7'"
    " AND field='stage'",
    "SELECT id, at, old FROM satchel_history WHERE tbl='deal' AND key='r12' AND field='stage'",
    "SELECT count(*) FROM satchel_history WHERE tbl='deal' AND key='nothing'",
    "SELECT at, old, new FROM satchel_history WHERE id='02020202020202020202020202020202.1000.0.1'",
    "SELECT count(*) FROM satchel_history WHERE id='02020202020202020202020202020202.1001.0.1'",
    "SELECT count(*), sum(new) FROM satchel_history WHERE device='01010101010101010101010101010101'"
    " AND field='stage'",
};
enum { QUERY_COUNT = sizeof queries / sizeof queries[0] };

static void test_pack__changes_nothing_that_is_read(void **state)
{
    (void)state;
    static const uint64_t afters[] = {0, 1, 500, 1023, 1024, 1025, 2047, 2999, 3000};
    enum { AFTERS = sizeof afters / sizeof afters[0] };
    struct fixture f;
    struct satchel_buffer before[AFTERS], now;
    char *answers[QUERY_COUNT];
    open_fixture(&f);
    append_many(&f, 3000);
    for (int i = 0; i < AFTERS; i++)
        read_all(&f, afters[i], &before[i]);
    for (int i = 0; i < QUERY_COUNT; i++)
        answers[i] = strdup(sql_rows(f.db, queries[i]));
    static const uint32_t steps[] = {1024, 1024, 852, 0}; /* of what may be packed: 2900 */
    for (int step = 0; step < 4; step++) {
        assert_int_equal(pack(&f, 100, 1), steps[step]);
        for (int i = 0; i < AFTERS; i++) {
            read_all(&f, afters[i], &now);
            assert_int_equal(now.size, before[i].size);
            assert_memory_equal(now.data ? now.data : (void *)"",
                                before[i].data ? before[i].data : (void *)"", now.size);
            satchel_buffer_deinit(&now);
        }
        for (int i = 0; i < QUERY_COUNT; i++)
            assert_string_equal(sql_rows(f.db, queries[i]), answers[i]);
    }
    assert_string_equal(sql_rows(f.db, "SELECT count(*), min(cursor) FROM satchel_entry"),
                        "100|2901");
    assert_string_equal(
        sql_rows(f.db, "SELECT first, last, entries, last_seq FROM satchel_segment"),
        "1|1024|1024|1024\n1025|2048|1024|2048\n2049|2900|852|2899");
    for (int i = 0; i < AFTERS; i++)
        satchel_buffer_deinit(&before[i]);
    for (int i = 0; i < QUERY_COUNT; i++)
        free(answers[i]);
    close_fixture(&f);
}

static void test_pack__single_entries_are_found_wherever_they_are(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    append_many(&f, 2100);
    for (int packed = 0; packed < 2; packed++) {
        for (uint64_t cursor = 0; cursor <= 2101; cursor += cursor % 1020 < 8 ? 1 : 17) {
            struct satchel_log_entry entry;
            struct satchel_id device = id_of((uint8_t)(1 + cursor % 3)), other = id_of(9);
            bool found, is_there = cursor >= 1 && cursor <= 2100;
            uint64_t seq;
            assert_ok(satchel_log_read_at(f.reader, cursor, &found, &entry, &f.error));
            assert_int_equal(found, is_there);
            if (found)
                assert_int_equal(entry.entry.cursor, cursor);
            assert_ok(satchel_log_read_change(f.reader, &device, cursor, &found, &entry, &f.error));
            assert_int_equal(found, is_there);
            if (found)
                assert_int_equal(entry.entry.cursor, cursor);
            assert_ok(satchel_log_read_change(f.reader, &other, cursor, &found, &entry, &f.error));
            assert_false(found);
            assert_ok(satchel_log_read_seq(f.reader, cursor, &seq, &f.error));
            uint64_t at = cursor > 2100 ? 2100 : cursor;
            assert_int_equal(seq, at % 5 == 0 && at > 0 ? at - 1 : at);
        }
        while (pack(&f, 20, 1))
            ;
    }
    close_fixture(&f);
}

static void test_pack__waits_for_enough_to_fill_a_segment(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    assert_int_equal(pack(&f, 0, 1), 0);
    append_many(&f, 1100);
    assert_int_equal(pack(&f, 1100, 1), 0);
    assert_int_equal(pack(&f, 100, SATCHEL_SEGMENT_ENTRIES_MAX), 0);
    assert_int_equal(pack(&f, 76, SATCHEL_SEGMENT_ENTRIES_MAX), 1024);
    assert_int_equal(pack(&f, 0, 77), 0);
    assert_int_equal(pack(&f, 0, 76), 76);
    close_fixture(&f);
}

/* Entries of a segment of which one was renewed are single, until they are packed again. */
static void test_pack__fills_the_place_of_a_segment_that_was_taken_apart(void **state)
{
    (void)state;
    struct fixture f;
    struct satchel_buffer before, now;
    open_fixture(&f);
    append_many(&f, 3100);
    while (pack(&f, 20, SATCHEL_SEGMENT_ENTRIES_MAX))
        continue;
    assert_ok(satchel_log_take(f.db, 1500, &f.error));
    read_all(&f, 0, &before);
    assert_string_equal(sql_rows(f.db, "SELECT count(*) FROM satchel_entry"), "1051");
    assert_int_equal(pack(&f, 1060, 1), 0);
    assert_int_equal(pack(&f, 20, SATCHEL_SEGMENT_ENTRIES_MAX), 1023);
    assert_int_equal(pack(&f, 20, SATCHEL_SEGMENT_ENTRIES_MAX), 0);
    assert_string_equal(sql_rows(f.db, "SELECT first, last, entries FROM satchel_segment"),
                        "1|1024|1024\n1025|2048|1023\n2049|3072|1024");
    read_all(&f, 0, &now);
    assert_int_equal(now.size, before.size);
    assert_memory_equal(now.data, before.data, now.size);
    satchel_buffer_deinit(&now);
    satchel_buffer_deinit(&before);
    close_fixture(&f);
}

static void test_pack__moves_all_or_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct satchel_buffer before, after;
    uint32_t packed;
    open_fixture(&f);
    append_many(&f, 300);
    read_all(&f, 0, &before);
    /* Something fails between the segment and the entries that it holds. */
    sql_run(f.db, "CREATE TRIGGER fails BEFORE DELETE ON satchel_entry WHEN OLD.cursor = 200"
                  " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
    assert_int_equal(satchel_log_pack(f.db, 0, 1, &packed, &f.error), SATCHEL_SQL);
    assert_non_null(strstr(f.error.message, "the disk is full"));
    assert_int_equal(packed, 0);
    assert_string_equal(sql_rows(f.db, "SELECT (SELECT count(*) FROM satchel_segment),"
                                       " (SELECT count(*) FROM satchel_entry)"),
                        "0|300");
    assert_int_equal(sqlite3_get_autocommit(f.db), 1);
    sql_run(f.db, "DROP TRIGGER fails");
    /* Within a transaction it is the transaction's. */
    sql_run(f.db, "BEGIN");
    append(&f);
    assert_int_equal(pack(&f, 0, 1), 301);
    read_all(&f, 0, &after);
    satchel_buffer_deinit(&after);
    sql_run(f.db, "ROLLBACK");
    f.cursor--;
    read_all(&f, 0, &after);
    assert_int_equal(after.size, before.size);
    assert_memory_equal(after.data, before.data, before.size);
    satchel_buffer_deinit(&after);
    assert_int_equal(pack(&f, 0, 1), 300);
    read_all(&f, 0, &after);
    assert_int_equal(after.size, before.size);
    assert_memory_equal(after.data, before.data, before.size);
    satchel_buffer_deinit(&after);
    satchel_buffer_deinit(&before);
    close_fixture(&f);
}

/* A damaged segment is noticed by whoever reads it, and only by them. */
static void test_pack__the_history_of_a_row_passes_over_segments_without_it(void **state)
{
    (void)state;
    struct fixture f;
    struct satchel_value key = text_value("rare");
    struct satchel_field field = {STAGE, text_value("x")};
    struct satchel_part part = {SATCHEL_OP_INSERT, 1, &key, 1, &field, 1, NULL, 0, {NULL, 0}};
    struct satchel_changeset_header header = {.schema = 1, .part_count = 1};
    struct satchel_buffer body, stored;
    open_fixture(&f);
    append_many(&f, 1024);
    satchel_buffer_init(&body, 1 << 20, NULL);
    satchel_buffer_init(&stored, 1 << 20, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    assert_ok(satchel_changeset_write_part(&body, &part));
    assert_ok(satchel_body_store(satchel_buffer_span(&body), &stored));
    struct satchel_entry entry = {.cursor = ++f.cursor,
                                  .device = id_of(4),
                                  .number = 1,
                                  .body = satchel_buffer_span(&stored)};
    assert_ok(satchel_log_append(f.log, &entry, satchel_span_of(NULL, 0), &f.error));
    append_many(&f, 1023);
    assert_int_equal(pack(&f, 0, 1), 1024);
    assert_int_equal(pack(&f, 0, 1), 1024);
    sql_run(f.db, "UPDATE satchel_segment SET data = x'0100' WHERE first = 1");
    assert_string_equal(sql_rows(f.db, "SELECT field, new, outcome FROM satchel_history WHERE"
                                       " tbl = 'deal' AND key = 'rare'"),
                        "stage|x|applied");
    assert_string_equal(sql_rows(f.db, "SELECT key FROM satchel_history WHERE"
                                       " id = '04040404040404040404040404040404.1.0.1'"),
                        "rare");
    assert_int_equal(sqlite3_exec(f.db, "SELECT count(*) FROM satchel_history", NULL, NULL, NULL),
                     SQLITE_CORRUPT);
    assert_non_null(strstr(sqlite3_errmsg(f.db), "segment 1 of the log is damaged"));
    satchel_buffer_deinit(&body);
    satchel_buffer_deinit(&stored);
    close_fixture(&f);
}

/* An entry whose body cannot be read is kept as it is, and its segment is never passed over. */
static void test_pack__keeps_what_it_cannot_read(void **state)
{
    (void)state;
    struct fixture f;
    struct satchel_log_entry read;
    bool found;
    open_fixture(&f);
    append_many(&f, 10);
    struct satchel_entry entry = {.cursor = ++f.cursor,
                                  .device = id_of(4),
                                  .number = 1,
                                  .body = satchel_span_of("\x07what", 5)};
    assert_ok(satchel_log_append(f.log, &entry, satchel_span_of(NULL, 0), &f.error));
    assert_int_equal(pack(&f, 0, 1), 11);
    assert_ok(satchel_log_read_at(f.reader, 11, &found, &read, &f.error));
    assert_true(found);
    assert_true(satchel_span_equal(read.entry.body, entry.body));
    assert_string_equal(sql_rows(f.db, "SELECT length(summary) FROM satchel_segment"), "0");
    close_fixture(&f);
}

static void test_pack__makes_the_log_smaller(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    append_many(&f, 5120);
    int64_t before = atoll(sql_rows(
        f.db, "SELECT sum(ifnull(length(user), 0) + ifnull(length(secret), 0) + length(device)"
              " + length(body) + length(notes) + length(timeline)) FROM satchel_entry"));
    while (pack(&f, 0, 1))
        ;
    int64_t after =
        atoll(sql_rows(f.db, "SELECT sum(length(data) + length(summary)) FROM satchel_segment"));
    print_message("%lld bytes in rows, %lld packed\n", (long long)before, (long long)after);
    assert_true(after * 3 < before);
    close_fixture(&f);
}

/* Wherever the cut falls: among single entries, between two segments, inside one, before all. */
static void test_cut__leaves_what_there_was_up_to_the_cursor(void **state)
{
    (void)state;
    static const uint64_t cuts[] = {0, 1, 1000, 1024, 1025, 2100, 2900, 2901, 2950, 3000};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        struct fixture f, shorter;
        struct satchel_buffer expected, now;
        open_fixture(&f);
        open_fixture(&shorter);
        append_many(&f, 3000);
        append_many(&shorter, (int)cuts[i]);
        while (pack(&f, 100, 1) > 0)
            continue;
        sql_run(f.db, "BEGIN");
        assert_ok(satchel_log_cut(f.db, cuts[i], &f.error));
        sql_run(f.db, "COMMIT");
        read_all(&f, 0, &now);
        read_all(&shorter, 0, &expected);
        assert_int_equal(now.size, expected.size);
        assert_memory_equal(now.data ? now.data : (void *)"",
                            expected.data ? expected.data : (void *)"", now.size);
        f.cursor = cuts[i]; /* and it goes on from there */
        append_many(&f, 3);
        assert_string_equal(sql_rows(f.db, "SELECT max(cursor) - min(cursor) FROM (SELECT cursor"
                                           " FROM satchel_entry ORDER BY cursor DESC LIMIT 3)"),
                            "2");
        satchel_buffer_deinit(&now);
        satchel_buffer_deinit(&expected);
        close_fixture(&f);
        close_fixture(&shorter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack__changes_nothing_that_is_read),
        cmocka_unit_test(test_pack__single_entries_are_found_wherever_they_are),
        cmocka_unit_test(test_pack__waits_for_enough_to_fill_a_segment),
        cmocka_unit_test(test_pack__fills_the_place_of_a_segment_that_was_taken_apart),
        cmocka_unit_test(test_pack__moves_all_or_nothing),
        cmocka_unit_test(test_pack__the_history_of_a_row_passes_over_segments_without_it),
        cmocka_unit_test(test_pack__keeps_what_it_cannot_read),
        cmocka_unit_test(test_pack__makes_the_log_smaller),
        cmocka_unit_test(test_cut__leaves_what_there_was_up_to_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
