/* The log's tables: entries as they came, and conflicts that open, change, close and open again. */
#include "sql_support.h"

#include <satchel/log.h>

static const char sql[] = "-- @table scope=all delete=edit_wins\n"
                          "CREATE TABLE deal(id TEXT PRIMARY KEY,\n"
                          "  stage TEXT,      -- @lww\n"
                          "  amount INTEGER,  -- @group(price)\n"
                          "  currency TEXT);  -- @group(price)\n";

struct fixture {
    struct satchel_schema *schema;
    sqlite3 *db;
    struct satchel_log *log;
    struct satchel_error error;
    struct satchel_value key;
    struct satchel_field lost[2], kept[2];
};

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->schema = sql_schema(sql);
    fixture->db = sql_open(sql);
    assert_ok(satchel_log_create(fixture->db, &fixture->error));
    assert_ok(satchel_log_new(&fixture->log, fixture->db));
    fixture->key = text_value("d1");
}

static void close_fixture(struct fixture *fixture)
{
    satchel_log_free(fixture->log);
    sql_close(fixture->db);
    satchel_schema_free(fixture->schema);
}

/* A conflict of device 1's change set 5 (stamped at 1000 ms) against device 2's 9. */
static struct satchel_conflict_note note_on(struct fixture *fixture, uint32_t unit,
                                            uint32_t column_count)
{
    struct satchel_id loser = id_of(1);
    return (struct satchel_conflict_note){
        .id = satchel_conflict_id(1, &fixture->key, 1, unit, &loser, 5),
        .is_open = true,
        .table = 1,
        .key = &fixture->key,
        .key_count = 1,
        .unit = unit,
        .severity = SATCHEL_SEVERITY_NOTICE,
        .loser = {satchel_stamp_from_ms(1000), loser, 5, 0},
        .winner = {satchel_stamp_from_ms(2000), id_of(2), 9, 0},
        .loser_user = satchel_span_text("ann"),
        .winner_user = satchel_span_text("bob"),
        .lost = fixture->lost,
        .kept = fixture->kept,
        .column_count = column_count,
    };
}

static const char all_conflicts[] =
    "SELECT at, tbl, key, field, rule, severity, mine, theirs, kept,"
    " by_user, resolved FROM satchel_conflicts ORDER BY field";

static void record(struct fixture *fixture, const struct satchel_conflict_note *note)
{
    if (satchel_log_conflict(fixture->log, fixture->schema, note, &fixture->error) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
}

static void test_log__entries_are_kept_as_they_came(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    assert_ok(satchel_log_create(fixture.db, &fixture.error)); /* again: nothing happens */
    uint8_t secret[SATCHEL_SECRET_BYTES] = {1, 2, 3};
    struct satchel_entry entry = {.cursor = 1,
                                  .seq = UINT64_C(1) << 62,
                                  .device = id_of(7),
                                  .number = 3,
                                  .stamp = UINT64_MAX,
                                  .user = satchel_span_text("ann"),
                                  .secret = secret,
                                  .body = satchel_span_of("\0body", 5),
                                  .notes = satchel_span_of(NULL, 0)};
    assert_ok(satchel_log_append(fixture.log, &entry, satchel_span_of("\x90", 1), &fixture.error));
    assert_string_equal(
        sql_rows(fixture.db,
                 "SELECT cursor, seq, hex(device), number, stamp, user, substr(hex(secret), 1, 6),"
                 " hex(body), typeof(notes), length(notes), hex(timeline) FROM satchel_entry"),
        "1|4611686018427387904|07070707070707070707070707070707|3|-1|ann|010203|00626F6479|blob|0|"
        "90");
    /* only ever appended to */
    assert_int_equal(
        satchel_log_append(fixture.log, &entry, satchel_span_of(NULL, 0), &fixture.error),
        SATCHEL_SQL);
    assert_non_null(strstr(fixture.error.message, "entry 1"));
    close_fixture(&fixture);
}

static void test_log__a_conflict_opens_changes_closes_and_opens_again(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    fixture.lost[0] = (struct satchel_field){1, text_value("won")};
    fixture.kept[0] = (struct satchel_field){1, text_value("lost")};
    struct satchel_conflict_note note = note_on(&fixture, 1, 1);
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, all_conflicts),
                        "1000|deal|d1|stage|lww|notice|won|lost|lost|ann|NULL");
    assert_string_equal(sql_rows(fixture.db, "SELECT length(id), id = lower(id)"
                                             " FROM satchel_conflicts"),
                        "32|1");

    fixture.kept[0].value = text_value("proposal");
    note.winner.number = 10;
    note.winner_user = satchel_span_text("cyd");
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, all_conflicts),
                        "1000|deal|d1|stage|lww|notice|won|proposal|proposal|ann|NULL");

    note.is_open = false;
    note.resolved = satchel_stamp_from_ms(3000);
    fixture.kept[0].value = text_value("agreed");
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, all_conflicts),
                        "1000|deal|d1|stage|lww|notice|won|proposal|agreed|ann|3000");
    assert_string_equal(sql_rows(fixture.db, "SELECT winner_user, winner_at, winner_number"
                                             " FROM satchel_conflict"),
                        "cyd|2000|10");

    note.is_open = true;
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, all_conflicts),
                        "1000|deal|d1|stage|lww|notice|won|agreed|agreed|ann|NULL");
    close_fixture(&fixture);
}

static void test_log__a_group_is_one_object_and_a_delete_has_no_values(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    fixture.lost[0] = (struct satchel_field){2, satchel_value_integer(5)};
    fixture.lost[1] = (struct satchel_field){3, text_value("EUR \"x\"")};
    fixture.kept[0] = (struct satchel_field){2, satchel_value_null()};
    fixture.kept[1] = (struct satchel_field){3, satchel_value_null()};
    struct satchel_conflict_note group = note_on(&fixture, 2, 2);
    record(&fixture, &group);
    struct satchel_conflict_note gone = note_on(&fixture, SATCHEL_COLUMN_ROW, 0);
    gone.kind = SATCHEL_CONFLICT_DELETE;
    gone.severity = SATCHEL_SEVERITY_REVIEW;
    gone.loser_user = satchel_span_of(NULL, 0);
    record(&fixture, &gone);
    assert_string_equal(
        sql_rows(fixture.db, all_conflicts),
        "1000|deal|d1||delete_vs_update|review|NULL|NULL|NULL|NULL|NULL\n"
        "1000|deal|d1|price|group|notice|{\"amount\":5,\"currency\":\"EUR \\\"x\\\"\"}"
        "|{\"amount\":null,\"currency\":null}|{\"amount\":null,\"currency\":null}"
        "|ann|NULL");
    close_fixture(&fixture);
}

static void test_log__of_a_map_the_keys_that_were_lost_are_shown(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    struct satchel_schema *maps = sql_schema("-- @table scope=all delete=edit_wins\n"
                                             "CREATE TABLE deal(id TEXT PRIMARY KEY,\n"
                                             "  custom TEXT DEFAULT '{}'); -- @map\n");
    fixture.lost[0] = (struct satchel_field){1, text_value("[{\"p\":1},[\"q\"]]")};
    fixture.kept[0] = (struct satchel_field){1, text_value("{\"p\":2,\"q\":0}")};
    struct satchel_conflict_note note = note_on(&fixture, 1, 1);
    assert_ok(satchel_log_conflict(fixture.log, maps, &note, &fixture.error));
    assert_string_equal(sql_rows(fixture.db, "SELECT rule, mine, kept FROM satchel_conflicts"),
                        "map|{\"p\":1,\"q\":null}|{\"p\":2,\"q\":0}");
    satchel_schema_free(maps);
    close_fixture(&fixture);
}

static void test_log__a_leader_has_its_own_value_unless_only_followers_differ(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    fixture.lost[0] = (struct satchel_field){1, text_value("won")};
    fixture.lost[1] = (struct satchel_field){3, text_value("EUR")};
    fixture.kept[0] = (struct satchel_field){1, text_value("lost")};
    fixture.kept[1] = (struct satchel_field){3, text_value("USD")};
    struct satchel_conflict_note note = note_on(&fixture, 1, 2);
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, "SELECT mine, theirs FROM satchel_conflicts"),
                        "won|lost");
    fixture.kept[0].value = text_value("won");
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, "SELECT theirs FROM satchel_conflicts"),
                        "{\"stage\":\"won\",\"currency\":\"USD\"}");
    close_fixture(&fixture);
}

static void test_log__a_frozen_field_and_a_duplicate_have_rules_of_their_own(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    fixture.lost[0] = (struct satchel_field){1, text_value("late")};
    fixture.kept[0] = (struct satchel_field){1, text_value("sent")};
    struct satchel_conflict_note note = note_on(&fixture, 1, 1);
    note.kind = SATCHEL_CONFLICT_FROZEN;
    note.severity = SATCHEL_SEVERITY_REVIEW;
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, all_conflicts),
                        "1000|deal|d1|stage|frozen|review|late|sent|sent|ann|NULL");

    struct satchel_value alias = text_value("d2");
    note.kind = SATCHEL_CONFLICT_DUPLICATE;
    note.alias_key = &alias;
    record(&fixture, &note);
    sql_run(fixture.db, "DELETE FROM satchel_conflict");
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, all_conflicts),
                        "1000|deal|d1|stage|duplicate_key|review|d2|d1|d1|ann|NULL");
    assert_string_equal(sql_rows(fixture.db, "SELECT loser_key FROM satchel_conflict"), "d2");
    close_fixture(&fixture);
}

static void test_log__a_conflict_is_found_again_in_full(void **state)
{
    (void)state;
    struct fixture fixture;
    struct satchel_arena arena;
    struct satchel_conflict_note found;
    open_fixture(&fixture);
    satchel_arena_init(&arena, 1 << 20, NULL);
    fixture.lost[0] = (struct satchel_field){2, satchel_value_integer(5)};
    fixture.lost[1] = (struct satchel_field){3, text_value("EUR")};
    fixture.kept[0] = (struct satchel_field){2, satchel_value_null()};
    fixture.kept[1] = (struct satchel_field){3, satchel_value_null()};
    struct satchel_conflict_note note = note_on(&fixture, 2, 2);
    record(&fixture, &note);
    assert_ok(satchel_log_conflict_find(fixture.log, &note.id, &arena, &found, &fixture.error));
    assert_true(found.is_open);
    assert_int_equal(found.unit, 2);
    assert_int_equal(found.column_count, 2);
    assert_int_equal(found.lost[1].column, 3);
    assert_true(satchel_value_equal(&found.lost[1].value, &fixture.lost[1].value));
    assert_true(satchel_value_equal(&found.key[0], &fixture.key));
    note.is_open = false;
    note.resolved = satchel_stamp_from_ms(3000);
    record(&fixture, &note);
    assert_ok(satchel_log_conflict_find(fixture.log, &note.id, &arena, &found, &fixture.error));
    assert_false(found.is_open);
    struct satchel_id other = id_of(99);
    assert_int_equal(satchel_log_conflict_find(fixture.log, &other, &arena, &found, &fixture.error),
                     SATCHEL_NOT_FOUND);
    satchel_arena_deinit(&arena);
    close_fixture(&fixture);
}

static void test_log__values_keep_their_type_and_bits(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    fixture.lost[0] = (struct satchel_field){1, satchel_value_integer(INT64_MIN)};
    fixture.kept[0] = (struct satchel_field){1, satchel_value_blob(satchel_span_of("\0", 1))};
    struct satchel_conflict_note note = note_on(&fixture, 1, 1);
    record(&fixture, &note);
    assert_string_equal(sql_rows(fixture.db, "SELECT typeof(mine), mine, typeof(kept), hex(kept)"
                                             " FROM satchel_conflicts"),
                        "integer|-9223372036854775808|blob|00");
    close_fixture(&fixture);
}

static void test_log__a_conflict_that_fits_no_schema_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    fixture.lost[0] = (struct satchel_field){1, text_value("a")};
    fixture.kept[0] = (struct satchel_field){1, text_value("b")};
    struct satchel_conflict_note table = note_on(&fixture, 1, 1), unit = table, key = table,
                                 column = table;
    table.table = 2;
    unit.unit = 4;
    key.key_count = 0;
    assert_int_equal(satchel_log_conflict(fixture.log, fixture.schema, &table, &fixture.error),
                     SATCHEL_CORRUPT);
    assert_int_equal(satchel_log_conflict(fixture.log, fixture.schema, &unit, &fixture.error),
                     SATCHEL_CORRUPT);
    assert_int_equal(satchel_log_conflict(fixture.log, fixture.schema, &key, &fixture.error),
                     SATCHEL_CORRUPT);
    fixture.lost[0].column = fixture.kept[0].column = 4;
    assert_int_equal(satchel_log_conflict(fixture.log, fixture.schema, &column, &fixture.error),
                     SATCHEL_CORRUPT);
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM satchel_conflict"), "0");
    close_fixture(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__entries_are_kept_as_they_came),
        cmocka_unit_test(test_log__a_conflict_opens_changes_closes_and_opens_again),
        cmocka_unit_test(test_log__a_group_is_one_object_and_a_delete_has_no_values),
        cmocka_unit_test(test_log__of_a_map_the_keys_that_were_lost_are_shown),
        cmocka_unit_test(test_log__a_leader_has_its_own_value_unless_only_followers_differ),
        cmocka_unit_test(test_log__a_frozen_field_and_a_duplicate_have_rules_of_their_own),
        cmocka_unit_test(test_log__a_conflict_is_found_again_in_full),
        cmocka_unit_test(test_log__values_keep_their_type_and_bits),
        cmocka_unit_test(test_log__a_conflict_that_fits_no_schema_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
