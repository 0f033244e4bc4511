/* Rows in and out of SQLite: bit for bit, found by any key, in tables and columns of any name. */
#include "sql_support.h"

#include <satchel/row_io.h>

static const char plain_sql[] = "-- @table scope=all delete=edit_wins\n"
                                "CREATE TABLE plain(id TEXT PRIMARY KEY, a, b);";

struct fixture {
    struct satchel_schema *schema;
    sqlite3 *db;
    struct satchel_row_io *io;
    struct satchel_arena arena;
    struct satchel_error error;
};

static void open_fixture(struct fixture *fixture, const char *sql)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->schema = sql_schema(sql);
    fixture->db = sql_open(sql);
    satchel_arena_init(&fixture->arena, 64 << 20, NULL);
    assert_ok(satchel_row_io_new(&fixture->io, fixture->db, fixture->schema));
}

static void close_fixture(struct fixture *fixture)
{
    satchel_row_io_free(fixture->io);
    satchel_arena_deinit(&fixture->arena);
    sql_close(fixture->db);
    satchel_schema_free(fixture->schema);
}

static bool read_row(struct fixture *fixture, const struct satchel_table *table,
                     const struct satchel_value *key, struct satchel_value *values)
{
    bool exists;
    assert_ok(satchel_row_read(fixture->io, table, key, &fixture->arena, &exists, values,
                               &fixture->error));
    return exists;
}

static void test_row_io__values_survive_bit_for_bit(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture, plain_sql);
    static uint8_t megabyte[1 << 20];
    for (size_t i = 0; i < sizeof megabyte; i++)
        megabyte[i] = (uint8_t)(i * 7 + i / 256);
    const struct satchel_value values[] = {
        satchel_value_null(),
        satchel_value_integer(0),
        satchel_value_integer(INT64_MIN),
        satchel_value_integer(INT64_MAX),
        satchel_value_real(0.1),
        satchel_value_real(-0.0),
        satchel_value_real(1.0),
        satchel_value_real(5e-324),
        satchel_value_real((double)INFINITY),
        text_value(""),
        satchel_value_text(satchel_span_of(NULL, 0)),
        satchel_value_text(satchel_span_of("a\0b\0", 4)),
        text_value("\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80"),
        satchel_value_blob(satchel_span_of(NULL, 0)),
        satchel_value_blob(satchel_span_of("\0\0\0", 3)),
        satchel_value_blob(satchel_span_of(megabyte, sizeof megabyte)),
    };
    const struct satchel_table *table = satchel_schema_find(fixture.schema, "plain");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "row %zu", i);
        struct satchel_value row[3] = {text_value(name), values[i], satchel_value_null()};
        struct satchel_value back[3];
        assert_ok(satchel_row_insert(fixture.io, table, row, &fixture.error));
        const struct satchel_field field = {2, values[i]};
        assert_ok(satchel_row_update(fixture.io, table, row, &field, 1, &fixture.error));
        assert_true(read_row(&fixture, table, row, back));
        assert_true(satchel_value_equal(&back[0], &row[0]));
        assert_true(satchel_value_equal(&back[1], &values[i]));
        assert_true(satchel_value_equal(&back[2], &values[i]));
    }
    assert_string_equal(sql_rows(fixture.db, "SELECT count(*) FROM plain"), "16");
    close_fixture(&fixture);
}

static void test_row_io__keys_and_names_of_any_kind_find_their_row(void **state)
{
    (void)state;
    static const char sql[] = "-- @table scope=all delete=edit_wins\n"
                              "CREATE TABLE \"od\"\"d t\"(\"select\" BLOB, v, \"a\"\"b\" INTEGER,\n"
                              "  PRIMARY KEY(\"a\"\"b\", \"select\")) WITHOUT ROWID;\n"
                              "-- @table scope=all delete=edit_wins\n"
                              "CREATE TABLE nulls(x, y, v, PRIMARY KEY(x, y));";
    struct fixture fixture;
    open_fixture(&fixture, sql);
    const struct satchel_table *odd = satchel_schema_find(fixture.schema, "od\"d t");
    const struct satchel_table *nulls = satchel_schema_find(fixture.schema, "nulls");
    assert_non_null(odd);
    struct satchel_value values[3];

    for (int i = 0; i < 3; i++) {
        struct satchel_value row[3] = {satchel_value_blob(satchel_span_of("\0\1\2", (size_t)i)),
                                       text_value("first"), satchel_value_integer(7)};
        assert_ok(satchel_row_insert(fixture.io, odd, row, &fixture.error));
    }
    /* keys come in the key's order, not the table's */
    struct satchel_value key[2] = {satchel_value_integer(7),
                                   satchel_value_blob(satchel_span_of("\0\1\2", 1))};
    const struct satchel_field field = {1, text_value("second")};
    assert_ok(satchel_row_update(fixture.io, odd, key, &field, 1, &fixture.error));
    assert_true(read_row(&fixture, odd, key, values));
    assert_true(satchel_value_equal(&values[1], &field.value));
    assert_ok(satchel_row_delete(fixture.io, odd, key, &fixture.error));
    assert_false(read_row(&fixture, odd, key, values));
    assert_string_equal(sql_rows(fixture.db, "SELECT v FROM \"od\"\"d t\""), "first\nfirst");

    struct satchel_value null_row[3] = {satchel_value_null(), satchel_value_integer(1),
                                        text_value("n")};
    assert_ok(satchel_row_insert(fixture.io, nulls, null_row, &fixture.error));
    assert_true(read_row(&fixture, nulls, null_row, values));
    assert_ok(satchel_row_delete(fixture.io, nulls, null_row, &fixture.error));
    assert_false(read_row(&fixture, nulls, null_row, values));
    close_fixture(&fixture);
}

static void test_row_io__more_column_sets_than_the_cache_holds_still_work(void **state)
{
    (void)state;
    static const char sql[] = "-- @table scope=all delete=edit_wins\n"
                              "CREATE TABLE t(id TEXT PRIMARY KEY, a, b, c, d, e, f, g, h);";
    struct fixture fixture;
    open_fixture(&fixture, sql);
    const struct satchel_table *table = satchel_schema_find(fixture.schema, "t");
    struct satchel_value expected[9] = {text_value("k")}, values[9];
    assert_ok(satchel_row_insert(fixture.io, table, expected, &fixture.error));
    for (int round = 0; round < 2; round++)
        for (uint32_t set = 1; set < 256; set++) {
            struct satchel_field fields[8];
            uint32_t count = 0;
            for (uint32_t bit = 0; bit < 8; bit++)
                if (set >> bit & 1) {
                    expected[bit + 1] = satchel_value_integer((int64_t)set * (round + 1));
                    fields[count++] = (struct satchel_field){bit + 1, expected[bit + 1]};
                }
            assert_ok(
                satchel_row_update(fixture.io, table, expected, fields, count, &fixture.error));
            assert_true(read_row(&fixture, table, expected, values));
            for (int i = 0; i < 9; i++)
                assert_true(satchel_value_equal(&values[i], &expected[i]));
        }
    close_fixture(&fixture);
}

static void test_row_io__a_refusal_says_table_row_and_reason_and_removes_nothing(void **state)
{
    (void)state;
    static const char sql[] =
        "-- @table scope=all delete=edit_wins\n"
        "CREATE TABLE t(id TEXT PRIMARY KEY ON CONFLICT REPLACE NOT NULL, a CHECK(a < 10));";
    struct fixture fixture;
    open_fixture(&fixture, sql);
    const struct satchel_table *table = satchel_schema_find(fixture.schema, "t");
    struct satchel_value row[2] = {text_value("k"), satchel_value_integer(1)};
    assert_ok(satchel_row_insert(fixture.io, table, row, &fixture.error));
    row[1] = satchel_value_integer(2);
    assert_int_equal(satchel_row_insert(fixture.io, table, row, &fixture.error), SATCHEL_SQL);
    assert_int_equal(fixture.error.native_code & 0xff, SQLITE_CONSTRAINT);
    assert_non_null(strstr(fixture.error.message, "table t, row k"));
    const struct satchel_field field = {1, satchel_value_integer(10)};
    assert_int_equal(satchel_row_update(fixture.io, table, row, &field, 1, &fixture.error),
                     SATCHEL_SQL);
    assert_int_equal(fixture.error.native_code, SQLITE_CONSTRAINT_CHECK);
    assert_string_equal(sql_rows(fixture.db, "SELECT * FROM t"), "k|1");
    close_fixture(&fixture);
}

static void test_row_io__a_temporary_table_of_the_same_name_is_not_taken(void **state)
{
    (void)state;
    struct fixture fixture;
    open_fixture(&fixture, plain_sql);
    sql_run(fixture.db, "CREATE TEMP TABLE plain(id, a, b)");
    const struct satchel_table *table = satchel_schema_find(fixture.schema, "plain");
    struct satchel_value row[3] = {text_value("k"), satchel_value_null(), satchel_value_null()};
    assert_ok(satchel_row_insert(fixture.io, table, row, &fixture.error));
    assert_string_equal(sql_rows(fixture.db, "SELECT (SELECT count(*) FROM main.plain),"
                                             " (SELECT count(*) FROM temp.plain)"),
                        "1|0");
    close_fixture(&fixture);
}

static void test_row_io__names_tell_rows_apart_and_keys_read_as_text(void **state)
{
    (void)state;
    const struct satchel_value keys[] = {
        satchel_value_integer(1), satchel_value_real(1.0),
        text_value("1"),          satchel_value_blob(satchel_span_of("1", 1)),
        satchel_value_null(),     text_value(""),
    };
    const char *texts[] = {"1", "1.0", "1", "31", "", ""};
    struct satchel_buffer names[6], text;
    satchel_buffer_init(&text, 1000, NULL);
    for (size_t i = 0; i < 6; i++) {
        satchel_buffer_init(&names[i], 1000, NULL);
        assert_ok(satchel_row_name(&names[i], 3, &keys[i], 1));
        for (size_t j = 0; j < i; j++)
            assert_false(
                satchel_span_equal(satchel_buffer_span(&names[i]), satchel_buffer_span(&names[j])));
        satchel_buffer_clear(&text);
        assert_ok(satchel_key_text(&text, &keys[i], 1));
        assert_string_equal(satchel_buffer_text(&text), texts[i]);
    }
    satchel_buffer_clear(&text);
    assert_ok(satchel_key_text(&text, keys, 6));
    assert_string_equal(satchel_buffer_text(&text), "[1,1.0,\"1\",\"31\",null,\"\"]");
    for (size_t i = 0; i < 6; i++)
        satchel_buffer_deinit(&names[i]);
    satchel_buffer_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_io__values_survive_bit_for_bit),
        cmocka_unit_test(test_row_io__keys_and_names_of_any_kind_find_their_row),
        cmocka_unit_test(test_row_io__more_column_sets_than_the_cache_holds_still_work),
        cmocka_unit_test(test_row_io__a_refusal_says_table_row_and_reason_and_removes_nothing),
        cmocka_unit_test(test_row_io__a_temporary_table_of_the_same_name_is_not_taken),
        cmocka_unit_test(test_row_io__names_tell_rows_apart_and_keys_read_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
