/* States and number series as a workspace's views give them, good and bad; what numbers look like;
 * which tables a view reads. */
#include "schema_internal.h"
#include "sql_support.h"

#include <satchel/workspace_data.h>

#include <stdlib.h>

static const char tables_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE stage(id TEXT PRIMARY KEY, machine, code, rank, closed, back_to);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE deal(id TEXT PRIMARY KEY,\n"
    "  stage TEXT, -- @state(deal)\n"
    "  visit TEXT, -- @state(visit)\n"
    "  number TEXT, -- @server\n"
    "  other TEXT, -- @server\n"
    "  name TEXT);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE series(id TEXT PRIMARY KEY, tbl, col, series, format);\n"
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS\n"
    "  SELECT machine, code, rank, closed, back_to FROM stage;\n"
    "CREATE VIEW satchel_numbers(tbl, col, series, format) AS\n"
    "  SELECT tbl, col, series, format FROM series;\n";

struct fixture {
    struct satchel_schema *schema;
    sqlite3 *db;
    struct satchel_arena arena;
    struct satchel_machine *machines;
    struct satchel_number_series *series;
    uint32_t series_count;
    char warning[256];
    struct satchel_error error;
};

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    struct satchel_migration migration = {1, satchel_span_text("001_test.sql"),
                                          satchel_span_text(tables_sql)};
    if (satchel_schema_new_internal(&f->schema, &migration, 1, true, &f->error) != SATCHEL_OK)
        fail_msg("%s", f->error.message);
    f->db = sql_open(tables_sql);
    satchel_arena_init(&f->arena, 1 << 20, NULL);
}

static void close_fixture(struct fixture *f)
{
    satchel_arena_deinit(&f->arena);
    sql_close(f->db);
    satchel_schema_free(f->schema);
}

static void load_machines(struct fixture *f)
{
    assert_ok(
        satchel_machines_load(f->db, f->schema, &f->arena, &f->machines, f->warning, &f->error));
}

static void load_numbers(struct fixture *f)
{
    assert_ok(satchel_numbers_load(f->db, f->schema, &f->arena, &f->series, &f->series_count,
                                   f->warning, &f->error));
}

static void assert_span(struct satchel_span span, const char *text)
{
    if (!satchel_span_equal(span, satchel_span_text(text)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)span.size, (const char *)span.data, text);
}

static void test_machines__have_their_states_by_ascending_code(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    sql_run(f.db, "INSERT INTO stage VALUES(1,'deal','won',30,1,'[]'),"
                  "(2,'Deal','new',10,0,NULL),(3,'deal','bid',20,0,'[\"new\",\"lead\"]'),"
                  "(4,'none','x',1,0,'[]')");
    load_machines(&f);
    assert_string_equal(f.warning, "");
    assert_int_equal(f.machines[0].state_count, 3);
    assert_int_equal(f.machines[1].state_count, 0);
    const struct satchel_state *states = f.machines[0].states;
    assert_span(states[0].code, "bid");
    assert_span(states[1].code, "new");
    assert_span(states[2].code, "won");
    assert_int_equal(states[0].rank, 20);
    assert_int_equal(states[0].back_to_count, 2);
    assert_span(states[0].back_to[0], "new");
    assert_span(states[0].back_to[1], "lead");
    assert_false(states[1].is_closed);
    assert_int_equal(states[1].back_to_count, 0);
    assert_true(states[2].is_closed);
    close_fixture(&f);
}

static void test_machines__of_two_states_with_one_code_the_higher_rank_counts(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    sql_run(f.db, "INSERT INTO stage VALUES(1,'deal','a',10,0,'[]'),(2,'deal','a',30,1,'[\"b\"]'),"
                  "(3,'deal','a',20,0,'[]'),(4,'deal','b',5,0,'[]')");
    load_machines(&f);
    assert_int_equal(f.machines[0].state_count, 2);
    assert_int_equal(f.machines[0].states[0].rank, 30);
    assert_true(f.machines[0].states[0].is_closed);
    close_fixture(&f);
}

static void test_machines__what_cannot_be_used_is_left_out_with_a_warning(void **state)
{
    (void)state;
    static const struct {
        const char *row, *warning;
    } cases[] = {
        {"(1,'deal',NULL,10,0,'[]')", "a state of deal is left out: its code is no text"},
        {"(1,'deal',7,10,0,'[]')", "a state of deal is left out: its code is no text"},
        {"(1,'deal','x',NULL,0,'[]')", "the state x is left out: its rank is no whole number"},
        {"(1,'deal','x',1.5,0,'[]')", "the state x is left out: its rank is no whole number"},
        {"(1,'deal','x',1,0,'')", "the state x is left out: its back_to is no JSON array of texts"},
        {"(1,'deal','x',1,0,'{}')", "its back_to is no JSON array of texts"},
        {"(1,'deal','x',1,0,'[1]')", "its back_to is no JSON array of texts"},
        {"(1,'deal','x',1,0,'[\"a\",null]')", "its back_to is no JSON array of texts"},
        {"(1,'deal','x',1,0,x'00')", "its back_to is no JSON array of texts"},
        {"(1,NULL,NULL,1,0,'[]')", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        char sql[256];
        open_fixture(&f);
        snprintf(sql, sizeof sql, "INSERT INTO stage VALUES%s,(2,'deal','good',1,0,'[\"x\"]')",
                 cases[i].row);
        sql_run(f.db, sql);
        load_machines(&f);
        if (!strstr(f.warning, cases[i].warning) ||
            (cases[i].warning[0] == '\0') != (f.warning[0] == '\0'))
            fail_msg("%s: \"%s\"", cases[i].row, f.warning);
        assert_int_equal(f.machines[0].state_count, 1);
        assert_span(f.machines[0].states[0].code, "good");
        close_fixture(&f);
    }
}

static void test_machines__are_equal_if_nothing_of_any_state_differs(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "UPDATE stage SET rank = 11 WHERE id = '1'",
        "UPDATE stage SET closed = 1 WHERE id = '1'",
        "UPDATE stage SET back_to = '[\"b\",\"c\"]' WHERE id = '1'",
        "UPDATE stage SET back_to = '[\"c\"]' WHERE id = '1'",
        "UPDATE stage SET code = 'z' WHERE id = '1'",
        "DELETE FROM stage WHERE id = '2'"};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct fixture f;
        open_fixture(&f);
        sql_run(f.db, "INSERT INTO stage VALUES('1','deal','a',10,0,'[\"b\"]'),"
                      "('2','visit','b',5,0,'[]')");
        load_machines(&f);
        const struct satchel_machine *before = f.machines;
        load_machines(&f);
        assert_true(satchel_machines_equal(before, f.machines, 2));
        sql_run(f.db, changes[i]);
        load_machines(&f);
        assert_false(satchel_machines_equal(before, f.machines, 2));
        close_fixture(&f);
    }
}

static void test_machines__a_view_that_fails_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    sql_run(f.db, "DROP VIEW satchel_states");
    assert_int_equal(
        satchel_machines_load(f.db, f.schema, &f.arena, &f.machines, f.warning, &f.error),
        SATCHEL_SQL);
    assert_non_null(strstr(f.error.message, "satchel_states"));
    close_fixture(&f);
}

static void test_numbers__are_the_series_of_server_columns(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    sql_run(f.db, "INSERT INTO series VALUES(1,'deal','other','D','D-{n}'),"
                  "(2,'Deal','NUMBER','N','N-{branch}-{year}-{n:06}')");
    load_numbers(&f);
    assert_string_equal(f.warning, "");
    assert_int_equal(f.series_count, 2);
    assert_int_equal(f.series[0].table, 2);
    assert_int_equal(f.series[0].column, 3);
    assert_span(f.series[0].series, "N");
    assert_span(f.series[0].format, "N-{branch}-{year}-{n:06}");
    assert_int_equal(f.series[1].column, 4);
    close_fixture(&f);
}

static void test_numbers__what_cannot_be_used_is_left_out_with_a_warning(void **state)
{
    (void)state;
    static const struct {
        const char *row, *warning;
    } cases[] = {
        {"(1,'deal','number',NULL,'{n}')", "its columns are not all texts"},
        {"(1,'nowhere','number','N','{n}')", "there is no such synced table"},
        {"(1,'deal','name','N','{n}')", "it names no @server column"},
        {"(1,'deal','nothing','N','{n}')", "it names no @server column"},
        {"(1,'deal','number','N','{month}')", "no field {month}"},
        {"(1,'deal','other','M','{n}')", "another series numbers the column"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        char sql[256];
        open_fixture(&f);
        snprintf(sql, sizeof sql, "INSERT INTO series VALUES%s,(2,'deal','other','A','{n}')",
                 cases[i].row);
        sql_run(f.db, sql);
        load_numbers(&f);
        if (!strstr(f.warning, cases[i].warning))
            fail_msg("%s: \"%s\"", cases[i].row, f.warning);
        assert_int_equal(f.series_count, 1);
        assert_span(f.series[0].series, "A");
        close_fixture(&f);
    }
}

static enum satchel_status format_number(const char *format, uint64_t number, char text[64],
                                         struct satchel_error *error)
{
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, 63, NULL);
    enum satchel_status status = satchel_number_format(
        satchel_span_text(format), satchel_span_text("CD"), 2026, number, &buffer, error);
    if (buffer.size > 0)
        memcpy(text, buffer.data, buffer.size);
    text[buffer.size] = '\0';
    satchel_buffer_deinit(&buffer);
    return status;
}

static void test_number__is_written_as_its_format_says(void **state)
{
    (void)state;
    static const struct {
        const char *format, *number, *text;
    } cases[] = {
        {"Q-{branch}-{year}-{n:06}", "42", "Q-CD-2026-000042"},
        {"{n}", "42", "42"},
        {"{n:02}", "12345", "12345"},
        {"{n:020}", "18446744073709551615", "18446744073709551615"},
        {"{{{n}}}", "7", "{7}"},
        {"a}}b{{c", "7", "a}b{c"},
        {"", "7", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        struct satchel_error error = {0};
        assert_ok(
            format_number(cases[i].format, strtoull(cases[i].number, NULL, 10), text, &error));
        assert_string_equal(text, cases[i].text);
    }
}

static void test_number__an_unknown_field_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *format, *part;
    } cases[] = {{"x{month}", "no field {month}"},
                 {"{}", "no field {}"},
                 {"{n:6}", "no field {n:6}"},
                 {"{n:021}", "no field {n:021}"},
                 {"{n:0}", "no field {n:0}"},
                 {"{n:0x}", "no field {n:0x}"},
                 {"{n", "{ without }"},
                 {"n}", "} without {"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        struct satchel_error error = {0};
        assert_int_equal(format_number(cases[i].format, 1, text, &error), SATCHEL_REFUSED);
        if (!strstr(error.message, cases[i].part))
            fail_msg("%s: %s", cases[i].format, error.message);
        assert_string_equal(text, "");
    }
}

static void test_view__tells_which_tables_it_reads(void **state)
{
    (void)state;
    struct fixture f;
    bool is_read[3];
    open_fixture(&f);
    assert_ok(satchel_view_tables(f.db, f.schema, "satchel_states", is_read, &f.error));
    assert_true(is_read[0] && !is_read[1] && !is_read[2]);
    sql_run(
        f.db,
        "CREATE INDEX by_rank ON stage(rank); CREATE VIEW ranks AS SELECT max(rank) FROM stage");
    assert_ok(satchel_view_tables(f.db, f.schema, "ranks", is_read, &f.error));
    assert_true(is_read[0] && !is_read[1] && !is_read[2]); /* by its index alone */
    sql_run(f.db, "CREATE VIEW wider AS SELECT s.code, (SELECT count(*) FROM series) FROM "
                  "satchel_states AS s");
    assert_ok(satchel_view_tables(f.db, f.schema, "wider", is_read, &f.error));
    assert_true(is_read[0] && !is_read[1] && is_read[2]);
    assert_int_equal(satchel_view_tables(f.db, f.schema, "nothing", is_read, &f.error),
                     SATCHEL_SQL);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machines__have_their_states_by_ascending_code),
        cmocka_unit_test(test_machines__of_two_states_with_one_code_the_higher_rank_counts),
        cmocka_unit_test(test_machines__what_cannot_be_used_is_left_out_with_a_warning),
        cmocka_unit_test(test_machines__are_equal_if_nothing_of_any_state_differs),
        cmocka_unit_test(test_machines__a_view_that_fails_is_an_error),
        cmocka_unit_test(test_numbers__are_the_series_of_server_columns),
        cmocka_unit_test(test_numbers__what_cannot_be_used_is_left_out_with_a_warning),
        cmocka_unit_test(test_number__is_written_as_its_format_says),
        cmocka_unit_test(test_number__an_unknown_field_is_named),
        cmocka_unit_test(test_view__tells_which_tables_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
