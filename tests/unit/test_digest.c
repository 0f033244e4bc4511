/* Equal tables have equal digests, whatever the order of their rows; nothing else has. */
#include "sql_support.h"

#include <satchel/digest.h>

static void test_digest__a_sum_takes_back_what_was_added_across_carries(void **state)
{
    (void)state;
    struct satchel_id sum = {{0}}, one = {{0}}, ones;
    memset(ones.bytes, 0xff, sizeof ones.bytes);
    one.bytes[15] = 1;
    satchel_digest_add(&sum, &ones);
    satchel_digest_add(&sum, &one); /* 2^128 */
    assert_true(satchel_id_is_zero(&sum));
    satchel_digest_subtract(&sum, &one);
    assert_true(satchel_id_equal(&sum, &ones));
    struct satchel_id half = {{0}};
    half.bytes[7] = 1; /* 2^64 */
    sum = half;
    satchel_digest_subtract(&sum, &one);
    for (int i = 0; i < 16; i++)
        assert_int_equal(sum.bytes[i], i < 8 ? 0 : 0xff);
    satchel_digest_add(&sum, &one);
    assert_true(satchel_id_equal(&sum, &half));
}

/* Of a row of a table whose first column is the key and whose last one only an hq may see, if the
 * table has more than three. */
static void digest_of(const struct satchel_value *row, uint32_t count, const char *role,
                      struct satchel_id *out)
{
    struct satchel_column columns[4] = {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}};
    uint32_t key[] = {0};
    const struct satchel_table table = {.number = 1,
                                        .columns = columns,
                                        .column_count = count,
                                        .key_columns = key,
                                        .key_count = 1,
                                        .has_masks = count > 3};
    struct satchel_digester digester;
    columns[3].mask = "hq,boss";
    assert_ok(satchel_digester_init(&digester));
    assert_ok(satchel_row_digest(&digester, &table, row, satchel_span_text(role), out));
    satchel_digester_deinit(&digester);
}

static void test_digest__leaves_a_masked_column_out_for_who_may_not_see_it(void **state)
{
    (void)state;
    struct satchel_value row[] = {satchel_value_integer(1), text_value("a"), satchel_value_null(),
                                  satchel_value_integer(7)};
    struct satchel_id bare, rep, hq, other;
    digest_of(row, 3, "rep", &bare);
    digest_of(row, 4, "rep", &rep);
    digest_of(row, 4, "hq", &hq);
    assert_true(satchel_id_equal(&bare, &rep));
    assert_false(satchel_id_equal(&hq, &rep));
    row[3] = satchel_value_integer(8);
    digest_of(row, 4, "rep", &other);
    assert_true(satchel_id_equal(&other, &rep));
    digest_of(row, 4, "boss", &other);
    assert_false(satchel_id_equal(&other, &hq));
    /* The same value in another row is another term. */
    row[3] = satchel_value_integer(7);
    row[0] = satchel_value_integer(2);
    satchel_digest_subtract(&hq, &rep);
    digest_of(row, 4, "hq", &other);
    digest_of(row, 4, "rep", &rep);
    satchel_digest_subtract(&other, &rep);
    assert_false(satchel_id_equal(&other, &hq));
}

static void test_digest__of_a_row_is_blake2b_over_messagepack(void **state)
{
    (void)state;
    const struct satchel_value row[] = {satchel_value_integer(1), text_value("a"),
                                        satchel_value_null()};
    struct satchel_id digest;
    char text[SATCHEL_ID_TEXT_BYTES];
    digest_of(row, 3, "", &digest);
    satchel_id_text(&digest, text);
    assert_string_equal(text, "f6b0ad0e9a4f76a9a9ae217d316fc59b");
}

static void test_digest__tells_every_difference_of_type_and_bits(void **state)
{
    (void)state;
    const struct satchel_value values[] = {
        satchel_value_null(),     satchel_value_integer(0),
        satchel_value_real(0.0),  satchel_value_real(-0.0),
        text_value(""),           satchel_value_blob(satchel_span_of("", 0)),
        text_value("0"),          satchel_value_blob(satchel_span_of("0", 1)),
        text_value("a"),          satchel_value_text(satchel_span_of("a\0", 2)),
        satchel_value_integer(1), satchel_value_integer(INT64_MIN),
    };
    struct satchel_id digests[sizeof values / sizeof values[0]];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        digest_of(&values[i], 1, "", &digests[i]);
        for (size_t j = 0; j < i; j++)
            assert_false(satchel_id_equal(&digests[i], &digests[j]));
    }
}

static void test_digest__of_a_table_knows_no_order_and_is_the_sum_of_its_rows(void **state)
{
    (void)state;
    static const char sql[] = "-- @table scope=all delete=edit_wins\n"
                              "CREATE TABLE t(id TEXT PRIMARY KEY, a, b REAL);";
    struct satchel_schema *schema = sql_schema(sql);
    const struct satchel_table *table = satchel_schema_find(schema, "t");
    sqlite3 *one = sql_open(sql), *other = sql_open(sql);
    sql_run(one, "INSERT INTO t VALUES('x', x'00', 1), ('y', NULL, 0.1), ('z', '', NULL)");
    sql_run(other, "INSERT INTO t VALUES('z', '', NULL), ('y', NULL, 0.1)");
    struct satchel_table_digest a, b;
    struct satchel_error error = {0};
    assert_ok(satchel_table_digest_compute(one, table, satchel_span_text(""), &a, &error));
    assert_ok(satchel_table_digest_compute(other, table, satchel_span_text(""), &b, &error));
    assert_int_equal(a.table, table->number);
    assert_int_equal(a.row_count, 3);
    assert_int_equal(b.row_count, 2);
    assert_false(satchel_id_equal(&a.digest, &b.digest));

    const struct satchel_value row[] = {
        text_value("x"), satchel_value_blob(satchel_span_of("\0", 1)), satchel_value_real(1)};
    struct satchel_id digest;
    digest_of(row, 3, "", &digest);
    satchel_digest_add(&b.digest, &digest);
    assert_true(satchel_id_equal(&a.digest, &b.digest));

    sql_run(one, "DELETE FROM t");
    assert_ok(satchel_table_digest_compute(one, table, satchel_span_text(""), &a, &error));
    assert_int_equal(a.row_count, 0);
    assert_true(satchel_id_is_zero(&a.digest));
    sql_run(one, "DROP TABLE t");
    assert_int_equal(satchel_table_digest_compute(one, table, satchel_span_text(""), &a, &error),
                     SATCHEL_SQL);
    sql_close(one);
    sql_close(other);
    satchel_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest__a_sum_takes_back_what_was_added_across_carries),
        cmocka_unit_test(test_digest__leaves_a_masked_column_out_for_who_may_not_see_it),
        cmocka_unit_test(test_digest__of_a_row_is_blake2b_over_messagepack),
        cmocka_unit_test(test_digest__tells_every_difference_of_type_and_bits),
        cmocka_unit_test(test_digest__of_a_table_knows_no_order_and_is_the_sum_of_its_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
