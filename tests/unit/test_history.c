/* What people read of the log: every write with its author, what it replaced, what became of it and
 * why. */
#include "schema_internal.h"
#include "sql_support.h"

#include <satchel/alias.h>
#include <satchel/log.h>
#include <satchel/row_io.h>

static const char sql[] = "-- @table scope=all delete=edit_wins\n"
                          "CREATE TABLE deal(id TEXT PRIMARY KEY,\n"
                          "  stage TEXT DEFAULT 'new', -- @lww\n"
                          "  amount INTEGER,  -- @group(price)\n"
                          "  currency TEXT,   -- @group(price)\n"
                          "  best INTEGER,    -- @max\n"
                          "  visits INTEGER DEFAULT 0, -- @counter\n"
                          "  source TEXT);    -- @first\n"
                          "-- @table scope=all delete=edit_wins\n"
                          "CREATE TABLE pair(a, b, v, PRIMARY KEY(a, b));\n";

enum { STAGE = 1, AMOUNT, CURRENCY, BEST, VISITS, SOURCE };

/* Rules that combine, move on, freeze, lead and merge. */
static const char rules_sql[] = "-- @table scope=all delete=edit_wins\n"
                                "CREATE TABLE deal(id TEXT PRIMARY KEY,\n"
                                "  stage TEXT DEFAULT 'new', -- @state(deal)\n"
                                "  chance INTEGER,  -- @follows(stage)\n"
                                "  tags TEXT DEFAULT '[]', -- @set\n"
                                "  custom TEXT DEFAULT '{}', -- @map\n"
                                "  price INTEGER,   -- @lww frozen(sent)\n"
                                "  owner TEXT,      -- @claim(hq>rep)\n"
                                "  tax_no TEXT);    -- @key\n"
                                "CREATE VIEW satchel_states(machine, code, rank, closed, back_to)"
                                " AS SELECT 'deal', 'new', 1, 0, '[]';\n";

enum { CHANCE = 2, TAGS, CUSTOM, PRICE, OWNER, TAX_NO };

struct fixture {
    struct satchel_schema *schema, *served;
    sqlite3 *db;
    struct satchel_log *log;
    struct satchel_error error;
    uint64_t cursor;
};

static const struct satchel_schema *served_schema(void *context)
{
    return ((struct fixture *)context)->served;
}

static void open_fixture_of(struct fixture *fixture, const char *text)
{
    struct satchel_migration migration = {1, satchel_span_text("001_test.sql"),
                                          satchel_span_text(text)};
    memset(fixture, 0, sizeof *fixture);
    if (satchel_schema_new_internal(&fixture->schema, &migration, 1, true, &fixture->error) !=
        SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
    fixture->served = fixture->schema;
    fixture->db = sql_open(text);
    assert_ok(satchel_log_create(fixture->db, &fixture->error));
    assert_ok(satchel_log_new(&fixture->log, fixture->db));
    assert_int_equal(satchel_history_register(fixture->db, served_schema, fixture), SQLITE_OK);
}

static void open_fixture(struct fixture *fixture)
{
    open_fixture_of(fixture, sql);
}

static void close_fixture(struct fixture *fixture)
{
    satchel_log_free(fixture->log);
    sql_close(fixture->db);
    satchel_schema_free(fixture->schema);
}

static struct satchel_part part_of(enum satchel_op_kind kind, const struct satchel_value *key,
                                   const struct satchel_field *fields, uint32_t field_count)
{
    return (struct satchel_part){.kind = kind,
                                 .table = 1,
                                 .key = key,
                                 .key_count = 1,
                                 .fields = fields,
                                 .field_count = field_count};
}

/* The stored form of a change set of these parts. */
static void store(struct satchel_buffer *stored, const struct satchel_part *parts, uint32_t count)
{
    struct satchel_buffer body;
    struct satchel_changeset_header header = {.schema = 1, .part_count = count};
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(stored, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    for (uint32_t i = 0; i < count; i++)
        assert_ok(satchel_changeset_write_part(&body, &parts[i]));
    assert_ok(satchel_body_store(satchel_buffer_span(&body), stored));
    satchel_buffer_deinit(&body);
}

/* Appends the change set `number` of device `byte` (whose user is "u<byte>"), stamped at cursor
 * seconds. */
static void append(struct fixture *fixture, uint8_t byte, uint64_t number,
                   const struct satchel_part *parts, uint32_t count,
                   const struct satchel_notes *notes)
{
    static const struct satchel_notes nothing;
    struct satchel_buffer stored, notes_bytes;
    char user[8];
    snprintf(user, sizeof user, "u%d", byte);
    store(&stored, parts, count);
    satchel_buffer_init(&notes_bytes, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    assert_ok(satchel_notes_write(&notes_bytes, notes ? notes : &nothing));
    uint8_t secret[SATCHEL_SECRET_BYTES] = {0};
    uint64_t cursor = ++fixture->cursor;
    struct satchel_entry entry = {.cursor = cursor,
                                  .seq = cursor,
                                  .device = id_of(byte),
                                  .number = number,
                                  .stamp = satchel_stamp_from_ms((int64_t)cursor * 1000),
                                  .user = satchel_span_text(user),
                                  .secret = secret,
                                  .body = satchel_buffer_span(&stored),
                                  .notes = satchel_buffer_span(&notes_bytes)};
    assert_ok(satchel_log_append(fixture->log, &entry, satchel_span_of(NULL, 0), &fixture->error));
    satchel_buffer_deinit(&stored);
    satchel_buffer_deinit(&notes_bytes);
}

static void append_one(struct fixture *fixture, uint8_t byte, uint64_t number,
                       enum satchel_op_kind kind, const char *key, uint32_t column,
                       struct satchel_value value)
{
    struct satchel_value key_value = text_value(key);
    struct satchel_field field = {column, value};
    struct satchel_part part = part_of(kind, &key_value, &field, kind == SATCHEL_OP_DELETE ? 0 : 1);
    append(fixture, byte, number, &part, 1, NULL);
}

static void test_history__shows_every_write_in_order_with_what_it_replaced(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    struct satchel_value key = text_value("d1");
    struct satchel_field inserted[] = {{AMOUNT, satchel_value_integer(5)},
                                       {CURRENCY, text_value("EUR")}};
    struct satchel_part insert = part_of(SATCHEL_OP_INSERT, &key, inserted, 2);
    append(&fixture, 1, 1, &insert, 1, NULL);
    append_one(&fixture, 2, 1, SATCHEL_OP_UPDATE, "d1", STAGE, text_value("won"));
    append_one(&fixture, 1, 2, SATCHEL_OP_UPDATE, "d1", STAGE, satchel_value_null());
    append_one(&fixture, 2, 2, SATCHEL_OP_DELETE, "d1", 0, satchel_value_null());
    struct satchel_part bare = part_of(SATCHEL_OP_INSERT, &key, NULL, 0);
    append(&fixture, 1, 3, &bare, 1, NULL);
    append_one(&fixture, 1, 4, SATCHEL_OP_UPDATE, "d1", STAGE, text_value("x"));
    assert_string_equal(
        sql_rows(fixture.db,
                 "SELECT at, user, substr(device, 1, 2), seq, tbl, key, field, old, new,"
                 " outcome, winner, reason FROM satchel_history"),
        "1000|u1|01|1|deal|d1|amount|NULL|5|applied|NULL|NULL\n"
        "1000|u1|01|1|deal|d1|currency|NULL|EUR|applied|NULL|NULL\n"
        "2000|u2|02|2|deal|d1|stage|new|won|applied|NULL|NULL\n"
        "3000|u1|01|3|deal|d1|stage|won|NULL|applied|NULL|NULL\n"
        "4000|u2|02|4|deal|d1||NULL|NULL|applied|NULL|NULL\n"
        "5000|u1|01|5|deal|d1||NULL|NULL|applied|NULL|NULL\n"
        "6000|u1|01|6|deal|d1|stage|new|x|applied|NULL|NULL");
    assert_string_equal(sql_rows(fixture.db, "SELECT id FROM satchel_history WHERE at = 1000"),
                        "01010101010101010101010101010101.1.0.2\n"
                        "01010101010101010101010101010101.1.0.3");
    assert_string_equal(sql_rows(fixture.db, "SELECT id FROM satchel_history WHERE at = 4000"),
                        "02020202020202020202020202020202.2.0.-");
    fixture.served = NULL;
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM satchel_history"), "0");
    close_fixture(&fixture);
}

static void test_history__constraints_find_the_same_rows_as_a_look_at_all(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    struct satchel_value pair[2] = {satchel_value_integer(7), text_value("x\"y")};
    for (uint64_t i = 1; i <= 40; i++) {
        char key[8], value[8];
        snprintf(key, sizeof key, "d%d", (int)(i % 5));
        snprintf(value, sizeof value, "v%d", (int)i);
        struct satchel_value key_value = text_value(key);
        struct satchel_field fields[] = {{STAGE, text_value(value)},
                                         {BEST, satchel_value_integer((int64_t)i)}};
        struct satchel_field v = {2, text_value(value)};
        struct satchel_part parts[2] = {
            part_of(i <= 5 ? SATCHEL_OP_INSERT : SATCHEL_OP_UPDATE, &key_value, fields, 2),
            {.kind = i == 1 ? SATCHEL_OP_INSERT : SATCHEL_OP_UPDATE,
             .table = 2,
             .key = pair,
             .key_count = 2,
             .fields = &v,
             .field_count = 1}};
        append(&fixture, (uint8_t)(1 + i % 3), i, parts, 2, NULL);
    }
    sql_run(fixture.db, "CREATE TABLE copy AS SELECT * FROM satchel_history");
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM copy"), "120");
    static const char *const wheres[] = {
        "tbl = 'deal'",
        "tbl = 'DEAL'",
        "tbl = 'deal' AND key = 'd3'",
        "tbl = 'deal' AND key = 'd3' AND field = 'best'",
        "tbl = 'pair' AND key = '[7,\"x\\\"y\"]'",
        "field = 'v'",
        "field = ''",
        "key = 'd1' AND device = '02020202020202020202020202020202'",
        "device = '02'",
        "id = '02020202020202020202020202020202.37.0.1'",
        "id = '02020202020202020202020202020202.37.1.2'",
        "id = '02020202020202020202020202020202.37.1.-'",
        "id = '02020202020202020202020202020202.37.9.1'",
        "id = 'nonsense'",
        "id = '02020202020202020202020202020202.37.0.1' AND tbl = 'pair'",
        "tbl = NULL",
        "key = 'd' || char(0)",
        "id IN('02020202020202020202020202020202.37.0.1','01010101010101010101010101010101.3.0.4')",
    };
    for (size_t i = 0; i < sizeof wheres / sizeof wheres[0]; i++) {
        char query[512];
        snprintf(query, sizeof query,
                 "SELECT count(*) FROM (SELECT * FROM satchel_history WHERE %s"
                 " EXCEPT SELECT * FROM copy WHERE %s)",
                 wheres[i], wheres[i]);
        assert_string_equal(sql_rows(fixture.db, query), "0");
        snprintf(query, sizeof query,
                 "SELECT (SELECT count(*) FROM satchel_history WHERE %s)"
                 " - (SELECT count(*) FROM copy WHERE %s)",
                 wheres[i], wheres[i]);
        assert_string_equal(sql_rows(fixture.db, query), "0");
    }
    assert_string_equal(sql_rows(fixture.db, "SELECT old, new FROM satchel_history WHERE id ="
                                             " '02020202020202020202020202020202.37.0.1'"),
                        "v32|v37");
    close_fixture(&fixture);
}

static void test_history__a_loser_has_its_winner_and_the_reason_even_when_closed(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    struct satchel_value key = text_value("d1");
    append_one(&fixture, 1, 1, SATCHEL_OP_INSERT, "d1", SOURCE, text_value("fair"));
    append_one(&fixture, 1, 2, SATCHEL_OP_UPDATE, "d1", STAGE, text_value("mine"));
    append_one(&fixture, 2, 1, SATCHEL_OP_UPDATE, "d1", STAGE, text_value("theirs"));
    append_one(&fixture, 2, 2, SATCHEL_OP_UPDATE, "d1", SOURCE, text_value("web"));
    struct satchel_field lost = {STAGE, text_value("mine")}, kept = {STAGE, text_value("theirs")};
    struct satchel_id one = id_of(1), two = id_of(2);
    struct satchel_conflict_note note = {
        .id = satchel_conflict_id(1, &key, 1, STAGE, &one, 2),
        .is_open = true,
        .table = 1,
        .key = &key,
        .key_count = 1,
        .unit = STAGE,
        .loser = {satchel_stamp_from_ms(2000), one, 2, 0},
        .winner = {satchel_stamp_from_ms(1714564800123), two, 1, 0},
        .loser_user = satchel_span_text("u1"),
        .winner_user = satchel_span_text("u2"),
        .lost = &lost,
        .kept = &kept,
        .column_count = 1};
    assert_ok(satchel_log_conflict(fixture.log, fixture.schema, &note, &fixture.error));
    note.id = satchel_conflict_id(1, &key, 1, SOURCE, &two, 2);
    note.unit = lost.column = kept.column = SOURCE;
    note.loser = (struct satchel_order){satchel_stamp_from_ms(4000), two, 2, 0};
    note.winner = (struct satchel_order){satchel_stamp_from_ms(1000), one, 1, 0};
    note.winner_user = satchel_span_text("u1");
    assert_ok(satchel_log_conflict(fixture.log, fixture.schema, &note, &fixture.error));
    static const char expected[] =
        "source|fair|applied|NULL|NULL\n"
        "stage|mine|superseded|u2|the later write wins: u2 at 2024-05-01T12:00:00.123Z\n"
        "stage|theirs|applied|NULL|NULL\n"
        "source|web|superseded|u1|the first value stays: u1 at 1970-01-01T00:00:01.000Z";
    static const char query[] = "SELECT field, new, outcome, winner, reason FROM satchel_history"
                                " WHERE tbl = 'deal' AND key = 'd1'";
    assert_string_equal(sql_rows(fixture.db, query), expected);
    sql_run(fixture.db, "UPDATE satchel_conflict SET resolved = 5000");
    assert_string_equal(sql_rows(fixture.db, query), expected);
    close_fixture(&fixture);
}

/* Parts that did not take effect as they stand: what the effects say decides. */
static void test_history__effects_tell_what_became_of_a_part_unlike_its_change_set(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    struct satchel_value key = text_value("d1"), other = text_value("d2"), third = text_value("d3");
    struct satchel_field first[] = {{BEST, satchel_value_integer(9)},
                                    {VISITS, satchel_value_integer(2)}};
    struct satchel_field whole[] = {{BEST, satchel_value_integer(9)},
                                    {VISITS, satchel_value_integer(2)}};
    struct satchel_part insert = part_of(SATCHEL_OP_INSERT, &key, first, 2);
    struct satchel_effect effect = {SATCHEL_EFFECT_WHOLE, 1, &key, 1, whole, 2, NULL};
    uint32_t unlike[] = {0, 1, 2};
    struct satchel_notes notes = {
        .unlike = unlike, .unlike_count = 1, .effects = &effect, .effect_count = 1};
    append(&fixture, 1, 1, &insert, 1, &notes);

    /* a smaller maximum, a counter, and a stage that applies; a row that is gone; a row set aside
     */
    struct satchel_field second[] = {{STAGE, text_value("won")},
                                     {BEST, satchel_value_integer(3)},
                                     {VISITS, satchel_value_integer(-1)}};
    struct satchel_field to_gone[] = {{STAGE, text_value("late")}};
    struct satchel_field delta[] = {{STAGE, text_value("won")}, {VISITS, satchel_value_integer(1)}};
    struct satchel_part parts[] = {part_of(SATCHEL_OP_UPDATE, &key, second, 3),
                                   part_of(SATCHEL_OP_UPDATE, &other, to_gone, 1),
                                   part_of(SATCHEL_OP_INSERT, &third, to_gone, 1)};
    struct satchel_quarantine_note quarantine = {2, satchel_span_text("stage is too long")};
    effect = (struct satchel_effect){SATCHEL_EFFECT_DELTA, 1, &key, 1, delta, 2, NULL};
    notes.unlike_count = 3;
    notes.quarantined = &quarantine;
    notes.quarantined_count = 1;
    append(&fixture, 2, 1, parts, 3, &notes);
    append_one(&fixture, 1, 2, SATCHEL_OP_UPDATE, "d1", STAGE, text_value("next"));
    append_one(&fixture, 1, 3, SATCHEL_OP_INSERT, "d3", STAGE, text_value("again"));
    assert_string_equal(
        sql_rows(fixture.db, "SELECT key, field, old, new, outcome, reason FROM satchel_history"),
        "d1|best|NULL|9|applied|NULL\n"
        "d1|visits|NULL|+2|merged|added to what others counted\n"
        "d1|stage|new|won|applied|NULL\n"
        "d1|best|9|3|superseded|a larger value stays\n"
        "d1|visits|NULL|-1|merged|added to what others counted\n"
        "d2|stage|NULL|late|superseded|the row is deleted\n"
        "d3|stage|NULL|late|quarantined|stage is too long\n"
        "d1|stage|won|next|applied|NULL\n"
        "d3|stage|NULL|again|applied|NULL");
    close_fixture(&fixture);
}

static void test_history__what_no_schema_knows_is_shown_by_number(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    struct satchel_value key = text_value("k");
    struct satchel_field field = {77, text_value("v")};
    struct satchel_part parts[] = {part_of(SATCHEL_OP_UPDATE, &key, &field, 1),
                                   part_of(SATCHEL_OP_INSERT, &key, &field, 1)};
    parts[1].table = 9;
    uint32_t unlike[] = {0, 1};
    struct satchel_quarantine_note quarantined[] = {{0, satchel_span_text("no such column")},
                                                    {1, satchel_span_text("no such table")}};
    struct satchel_notes notes = {
        .unlike = unlike, .unlike_count = 2, .quarantined = quarantined, .quarantined_count = 2};
    append(&fixture, 1, 1, parts, 2, &notes);
    assert_string_equal(
        sql_rows(fixture.db, "SELECT tbl, field, new, outcome, reason FROM satchel_history"),
        "deal|column 77|v|quarantined|no such column\ntable 9|column 77|v|quarantined|no such "
        "table");
    close_fixture(&fixture);
}

static void test_history__pending_change_sets_of_a_replica_come_last(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    append_one(&fixture, 2, 1, SATCHEL_OP_INSERT, "d1", STAGE, text_value("a"));
    sql_run(fixture.db,
            "CREATE TABLE satchel_replica(device BLOB, user TEXT);"
            "INSERT INTO satchel_replica VALUES(x'01010101010101010101010101010101', 'me');"
            "CREATE TABLE satchel_change(number INTEGER PRIMARY KEY, stamp INTEGER, body BLOB)");
    for (int i = 0; i < 2; i++) {
        struct satchel_buffer stored;
        struct satchel_value key = text_value("d1");
        struct satchel_field fields[] = {{STAGE, text_value(i ? "c" : "b")},
                                         {VISITS, satchel_value_integer(1)}};
        struct satchel_part part = part_of(SATCHEL_OP_UPDATE, &key, fields, 2);
        store(&stored, &part, 1);
        sqlite3_stmt *statement;
        assert_int_equal(sqlite3_prepare_v2(fixture.db,
                                            "INSERT INTO satchel_change VALUES(?1, ?2, ?3)", -1,
                                            &statement, NULL),
                         SQLITE_OK);
        sqlite3_bind_int(statement, 1, 8 + i);
        sqlite3_bind_int64(statement, 2, (int64_t)satchel_stamp_from_ms(9000 + i));
        sqlite3_bind_blob(statement, 3, stored.data, (int)stored.size, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
        sqlite3_finalize(statement);
        satchel_buffer_deinit(&stored);
    }
    assert_string_equal(sql_rows(fixture.db, "SELECT at, user, seq, field, old, new, outcome"
                                             " FROM satchel_history WHERE key = 'd1'"),
                        "1000|u2|1|stage|NULL|a|applied\n"
                        "9000|me|NULL|stage|a|b|pending\n"
                        "9000|me|NULL|visits|NULL|+1|pending\n"
                        "9001|me|NULL|stage|b|c|pending\n"
                        "9001|me|NULL|visits|NULL|+1|pending");
    assert_string_equal(sql_rows(fixture.db, "SELECT old, new FROM satchel_history WHERE id ="
                                             " '01010101010101010101010101010101.9.0.1'"),
                        "b|c");
    close_fixture(&fixture);
}

static void test_history__is_read_only_and_says_which_change_set_is_malformed(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture);
    assert_int_equal(sqlite3_exec(fixture.db, "DELETE FROM satchel_history", NULL, NULL, NULL),
                     SQLITE_ERROR);
    sql_run(fixture.db, "PRAGMA trusted_schema = OFF;"
                        "CREATE VIEW mine AS SELECT * FROM satchel_history WHERE user = 'me'");
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM mine"), "0");
    struct satchel_buffer stored;
    struct satchel_value key = text_value("d1");
    struct satchel_field field = {STAGE, text_value("v")};
    struct satchel_part part = part_of(SATCHEL_OP_INSERT, &key, &field, 1);
    store(&stored, &part, 1);
    uint8_t secret[SATCHEL_SECRET_BYTES] = {0};
    for (size_t size = 1; size < stored.size; size++) {
        struct satchel_entry entry = {.cursor = 1,
                                      .device = id_of(3),
                                      .number = 12,
                                      .secret = secret,
                                      .body = satchel_span_of(stored.data, size)};
        sql_run(fixture.db, "DELETE FROM satchel_entry");
        assert_ok(
            satchel_log_append(fixture.log, &entry, satchel_span_of(NULL, 0), &fixture.error));
        char *message = NULL;
        assert_int_equal(
            sqlite3_exec(fixture.db, "SELECT * FROM satchel_history", NULL, NULL, &message) & 0xff,
            SQLITE_CORRUPT);
        assert_non_null(strstr(message, "device 03030303030303030303030303030303, number 12"));
        sqlite3_free(message);
    }
    satchel_buffer_deinit(&stored);
    close_fixture(&fixture);
}

static void test_history__operations_are_shown_in_words_and_old_values_as_they_were(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture_of(&fixture, rules_sql);
    struct satchel_value key = text_value("d1");
    struct satchel_field inserted[] = {{STAGE, text_value("lead")}, {TAGS, text_value("[\"a\"]")}};
    struct satchel_part insert = part_of(SATCHEL_OP_INSERT, &key, inserted, 2);
    append(&fixture, 1, 1, &insert, 1, NULL);
    struct satchel_field updated[] = {{STAGE, text_value("[\"lead\",\"won\"]")},
                                      {CHANCE, satchel_value_integer(100)},
                                      {TAGS, text_value("[[\"big one\",\"vip\",3],[\"a\"]]")},
                                      {CUSTOM, text_value("[{\"x\":1,\"y\":\"z\"},[\"w\"]]")}};
    struct satchel_part update = part_of(SATCHEL_OP_UPDATE, &key, updated, 4);
    append(&fixture, 2, 1, &update, 1, NULL);
    struct satchel_field apart[] = {{TAGS, text_value("no operation")},
                                    {TAX_NO, satchel_value_blob(satchel_span_of("T1", 2))}};
    struct satchel_part set_apart = part_of(SATCHEL_OP_UPDATE, &key, apart, 2);
    append(&fixture, 2, 2, &set_apart, 1, NULL);
    assert_string_equal(
        sql_rows(fixture.db, "SELECT field, old, new, typeof(new), outcome FROM satchel_history"),
        "stage|NULL|lead|text|applied\n"
        "tags|NULL|[\"a\"]|text|merged\n"
        "stage|lead|won|text|applied\n"
        "chance|NULL|100|integer|applied\n"
        "tags|[\"a\"]|+\"big one\" +vip +3 -a|text|merged\n"
        "custom|{}|{\"x\":1,\"y\":\"z\",\"w\":null}|text|merged\n"
        "tags|[\"big one\",\"vip\",3]|no operation|text|merged\n"
        "tax_no|NULL|T1|text|applied");
    close_fixture(&fixture);
}

/* A conflict that device 1's change set `number` lost to device 2's, over one column. */
static void lose(struct fixture *fixture, uint32_t column, uint64_t number,
                 enum satchel_conflict_kind kind, const char *row, const char *written_to)
{
    struct satchel_value key = text_value(row), alias = text_value(written_to);
    struct satchel_id one = id_of(1), two = id_of(2);
    struct satchel_field lost = {column, text_value("mine")}, kept = {column, text_value("x")};
    struct satchel_conflict_note note = {
        .id = satchel_conflict_id(1, &alias, 1, column, &one, number),
        .kind = kind,
        .is_open = true,
        .table = 1,
        .key = &key,
        .key_count = 1,
        .alias_key = strcmp(row, written_to) ? &alias : NULL,
        .unit = column,
        .loser = {satchel_stamp_from_ms(2000), one, number, 0},
        .winner = {satchel_stamp_from_ms(1000), two, 1, 0},
        .loser_user = satchel_span_text("u1"),
        .winner_user = satchel_span_text("u2"),
        .lost = &lost,
        .kept = &kept,
        .column_count = 1};
    assert_ok(satchel_log_conflict(fixture->log, fixture->schema, &note, &fixture->error));
}

static void test_history__a_loss_is_told_by_its_rule_and_a_follower_goes_with_its_leader(
    void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture_of(&fixture, rules_sql);
    struct satchel_value key = text_value("d1");
    struct satchel_field fields[] = {{STAGE, text_value("[\"a\",\"b\"]")},
                                     {CHANCE, satchel_value_integer(5)},
                                     {CUSTOM, text_value("[{\"x\":1},[]]")},
                                     {PRICE, satchel_value_integer(7500)},
                                     {OWNER, text_value("li")}};
    struct satchel_part update = part_of(SATCHEL_OP_UPDATE, &key, fields, 5);
    append(&fixture, 1, 1, &update, 1, NULL);
    lose(&fixture, STAGE, 1, SATCHEL_CONFLICT_RULE, "d1", "d1");
    lose(&fixture, CUSTOM, 1, SATCHEL_CONFLICT_RULE, "d1", "d1");
    lose(&fixture, PRICE, 1, SATCHEL_CONFLICT_FROZEN, "d1", "d1");
    lose(&fixture, OWNER, 1, SATCHEL_CONFLICT_RULE, "d1", "d1");
#define BY_U2 ": u2 at 1970-01-01T00:00:01.000Z"
    assert_string_equal(
        sql_rows(fixture.db, "SELECT field, outcome, winner, reason FROM satchel_history"),
        "stage|superseded|u2|the state further on wins, of one rank the later write" BY_U2 "\n"
        "chance|superseded|u2|the state further on wins, of one rank the later write" BY_U2 "\n"
        "custom|merged|u2|of a key that both wrote the later write wins" BY_U2 "\n"
        "price|frozen|u2|came too late for the write that froze the row" BY_U2 "\n"
        "owner|superseded|u2|the highest role keeps it, of one role the earlier claim" BY_U2);
    close_fixture(&fixture);
}

static struct satchel_span name_of(struct satchel_buffer *buffer, const char *key)
{
    struct satchel_value value = text_value(key);
    satchel_buffer_clear(buffer);
    assert_ok(satchel_row_name(buffer, 1, &value, 1));
    return satchel_buffer_span(buffer);
}

static void merge_row(struct fixture *fixture, const char *alias, const char *survivor)
{
    struct satchel_buffer from, into;
    struct satchel_aliases *aliases;
    satchel_buffer_init(&from, 1 << 10, NULL);
    satchel_buffer_init(&into, 1 << 10, NULL);
    assert_ok(satchel_aliases_new(&aliases, fixture->db));
    assert_ok(satchel_alias_put(aliases, name_of(&from, alias), name_of(&into, survivor),
                                &fixture->error));
    satchel_aliases_free(aliases);
    satchel_buffer_deinit(&from);
    satchel_buffer_deinit(&into);
}

/* B is merged into A when its key arrives; then a device that does not know writes to B. */
static void test_history__a_row_merged_into_another_is_shown_as_that_one(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture_of(&fixture, rules_sql);
    struct satchel_value a = text_value("a"), b = text_value("b");
    append_one(&fixture, 2, 1, SATCHEL_OP_INSERT, "a", TAX_NO, text_value("T"));
    append_one(&fixture, 1, 1, SATCHEL_OP_INSERT, "b", PRICE, satchel_value_integer(7));
    struct satchel_field tax_no = {TAX_NO, text_value("T")};
    struct satchel_field price = {PRICE, satchel_value_integer(7)};
    struct satchel_field late = {PRICE, satchel_value_integer(9)};
    struct satchel_part update = part_of(SATCHEL_OP_UPDATE, &b, &tax_no, 1);
    const struct satchel_effect merged[] = {{SATCHEL_EFFECT_ALIAS, 1, &b, 1, NULL, 0, &a},
                                            {SATCHEL_EFFECT_DELTA, 1, &a, 1, &price, 1, NULL}};
    uint32_t unlike[] = {0};
    struct satchel_notes notes = {
        .unlike = unlike, .unlike_count = 1, .effects = merged, .effect_count = 2};
    append(&fixture, 1, 2, &update, 1, &notes);
    merge_row(&fixture, "b", "a");
    lose(&fixture, TAX_NO, 2, SATCHEL_CONFLICT_DUPLICATE, "a", "b");
    update = part_of(SATCHEL_OP_UPDATE, &b, &late, 1);
    const struct satchel_effect landed = {SATCHEL_EFFECT_DELTA, 1, &a, 1, &late, 1, NULL};
    notes.effects = &landed;
    notes.effect_count = 1;
    append(&fixture, 1, 3, &update, 1, &notes);
    append_one(&fixture, 2, 2, SATCHEL_OP_UPDATE, "other", PRICE, satchel_value_integer(1));

    static const char expected[] =
        "tax_no|NULL|T|applied|NULL\n"
        "price|NULL|7|applied|NULL\n"
        "tax_no|T|T|merged|the row has the key of a and was merged into it\n"
        "price|7|9|applied|NULL";
    static const char query[] = "SELECT field, old, new, outcome, reason FROM satchel_history"
                                " WHERE tbl = 'deal' AND key = '%s'";
    for (int i = 0; i < 2; i++) { /* whoever names either means the one row */
        char text[256];
        snprintf(text, sizeof text, query, i == 0 ? "a" : "b");
        assert_string_equal(sql_rows(fixture.db, text), expected);
    }
    assert_string_equal(sql_rows(fixture.db, "SELECT group_concat(key) FROM satchel_history"),
                        "a,a,a,a,other");
    assert_string_equal(sql_rows(fixture.db, "SELECT key, old FROM satchel_history WHERE id ="
                                             " '01010101010101010101010101010101.3.0.5'"),
                        "a|7");
    close_fixture(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history__shows_every_write_in_order_with_what_it_replaced),
        cmocka_unit_test(test_history__constraints_find_the_same_rows_as_a_look_at_all),
        cmocka_unit_test(test_history__a_loser_has_its_winner_and_the_reason_even_when_closed),
        cmocka_unit_test(test_history__effects_tell_what_became_of_a_part_unlike_its_change_set),
        cmocka_unit_test(test_history__what_no_schema_knows_is_shown_by_number),
        cmocka_unit_test(test_history__pending_change_sets_of_a_replica_come_last),
        cmocka_unit_test(test_history__is_read_only_and_says_which_change_set_is_malformed),
        cmocka_unit_test(test_history__operations_are_shown_in_words_and_old_values_as_they_were),
        cmocka_unit_test(
            test_history__a_loss_is_told_by_its_rule_and_a_follower_goes_with_its_leader),
        cmocka_unit_test(test_history__a_row_merged_into_another_is_shown_as_that_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
