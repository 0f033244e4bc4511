/* Aliases: put, moved, dropped, found by either end; and row names read back. */
#include "sql_support.h"

#include <satchel/alias.h>
#include <satchel/log.h>
#include <satchel/row_io.h>

struct fixture {
    sqlite3 *db;
    struct satchel_aliases *aliases;
    struct satchel_arena arena;
    struct satchel_error error;
};

static void open_fixture(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->db = sql_open(NULL);
    assert_ok(satchel_log_create(fixture->db, &fixture->error));
    assert_ok(satchel_aliases_new(&fixture->aliases, fixture->db));
    satchel_arena_init(&fixture->arena, 1 << 20, NULL);
}

static void close_fixture(struct fixture *fixture)
{
    satchel_arena_deinit(&fixture->arena);
    satchel_aliases_free(fixture->aliases);
    sql_close(fixture->db);
}

static struct satchel_span name_of(struct fixture *fixture, uint32_t table, const char *key)
{
    struct satchel_buffer buffer;
    struct satchel_value value = text_value(key);
    satchel_buffer_init(&buffer, 1 << 16, NULL);
    assert_ok(satchel_row_name(&buffer, table, &value, 1));
    struct satchel_span name = satchel_arena_copy(&fixture->arena, satchel_buffer_span(&buffer));
    satchel_buffer_deinit(&buffer);
    return name;
}

static void put(struct fixture *fixture, const char *key, const char *survivor)
{
    assert_ok(satchel_alias_put(fixture->aliases, name_of(fixture, 3, key),
                                name_of(fixture, 3, survivor), &fixture->error));
}

static void expect_survivor(struct fixture *fixture, const char *key, const char *survivor)
{
    struct satchel_span found;
    assert_ok(satchel_alias_survivor(fixture->aliases, name_of(fixture, 3, key), &fixture->arena,
                                     &found, &fixture->error));
    struct satchel_span wanted =
        survivor ? name_of(fixture, 3, survivor) : satchel_span_of(NULL, 0);
    assert_true(satchel_span_equal(found, wanted));
}

static uint32_t list(struct fixture *fixture, const char *survivor, struct satchel_span **names)
{
    uint32_t count = 0;
    assert_ok(satchel_alias_list(fixture->aliases, name_of(fixture, 3, survivor), &fixture->arena,
                                 names, &count, &fixture->error));
    return count;
}

static void test_alias__is_found_by_its_name_and_by_its_survivor(void **state)
{
    (void)state;
    struct fixture f;
    struct satchel_span *names = NULL;
    bool any = true;
    open_fixture(&f);
    assert_ok(satchel_alias_any(f.aliases, &any, &f.error));
    assert_false(any);
    put(&f, "b", "a");
    for (char key[] = "c"; key[0] <= 'z'; key[0]++)
        put(&f, key, "a");
    expect_survivor(&f, "b", "a");
    expect_survivor(&f, "a", NULL);
    assert_int_equal(list(&f, "a", &names), 25);
    assert_true(satchel_span_equal(names[0], name_of(&f, 3, "b")));
    assert_true(satchel_span_equal(names[24], name_of(&f, 3, "z")));
    assert_int_equal(list(&f, "b", &names), 0);
    assert_ok(satchel_alias_any(f.aliases, &any, &f.error));
    assert_true(any);
    assert_string_equal(sql_rows(f.db, "SELECT tbl, key FROM satchel_alias ORDER BY name LIMIT 1"),
                        "3|b");
    close_fixture(&f);
}

static void test_alias__moves_to_another_survivor_and_becomes_a_row_again(void **state)
{
    (void)state;
    struct fixture f;
    struct satchel_span *names = NULL;
    open_fixture(&f);
    put(&f, "c", "b");
    put(&f, "c", "a");
    expect_survivor(&f, "c", "a");
    assert_int_equal(list(&f, "b", &names), 0);
    for (int i = 0; i < 2; i++) {
        assert_ok(satchel_alias_drop(f.aliases, name_of(&f, 3, "c"), &f.error));
        expect_survivor(&f, "c", NULL);
    }
    close_fixture(&f);
}

static void test_alias__a_name_that_is_none_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    assert_int_equal(
        satchel_alias_put(f.aliases, satchel_span_text("no name"), name_of(&f, 3, "a"), &f.error),
        SATCHEL_CORRUPT);
    close_fixture(&f);
}

static void test_row_name__is_read_back_and_no_part_of_it(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f);
    struct satchel_value key[3] = {text_value("k"), satchel_value_integer(-7),
                                   satchel_value_null()};
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, 1 << 16, NULL);
    assert_ok(satchel_row_name(&buffer, 300, key, 3));
    uint32_t table = 0, count = 0;
    const struct satchel_value *read = NULL;
    struct satchel_span name = satchel_buffer_span(&buffer);
    assert_ok(satchel_row_name_read(name, &f.arena, &table, &read, &count));
    assert_int_equal(table, 300);
    assert_int_equal(count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(satchel_value_equal(&read[i], &key[i]));
    for (size_t size = 0; size < name.size; size++)
        assert_int_equal(satchel_row_name_read(satchel_span_of(name.data, size), &f.arena, &table,
                                               &read, &count),
                         SATCHEL_CORRUPT);
    assert_ok(satchel_buffer_append(&buffer, "", 1));
    assert_int_equal(
        satchel_row_name_read(satchel_buffer_span(&buffer), &f.arena, &table, &read, &count),
        SATCHEL_CORRUPT);
    satchel_buffer_deinit(&buffer);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alias__is_found_by_its_name_and_by_its_survivor),
        cmocka_unit_test(test_alias__moves_to_another_survivor_and_becomes_a_row_again),
        cmocka_unit_test(test_alias__a_name_that_is_none_is_refused),
        cmocka_unit_test(test_row_name__is_read_back_and_no_part_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
