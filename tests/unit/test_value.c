/* Values are equal bit for bit and ordered as SQLite orders them, made total. */
#include <satchel/value.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct satchel_value text(const char *bytes)
{
    return satchel_value_text(satchel_span_text(bytes));
}

static struct satchel_value blob(const void *bytes, size_t size)
{
    return satchel_value_blob(satchel_span_of(bytes, size));
}

static void test_value__equal_means_same_type_and_same_bits(void **state)
{
    (void)state;
    const struct satchel_value one = satchel_value_integer(1), one_real = satchel_value_real(1.0);
    const struct satchel_value null = satchel_value_null(), empty = text("");
    const struct satchel_value zero = satchel_value_real(0.0),
                               minus_zero = satchel_value_real(-0.0);
    const struct satchel_value not_a_number = satchel_value_real(NAN);
    const struct satchel_value zeros = blob("a\0b", 3),
                               zeros_text = satchel_value_text(zeros.bytes);
    assert_false(satchel_value_equal(&one, &one_real));
    assert_false(satchel_value_equal(&null, &empty));
    assert_false(satchel_value_equal(&zero, &minus_zero));
    assert_true(satchel_value_equal(&not_a_number, &not_a_number));
    assert_true(satchel_value_equal(&zeros, &zeros));
    assert_false(satchel_value_equal(&zeros, &zeros_text));
    assert_true(satchel_value_equal(&null, &null));
}

/* Strictly ascending; every pair is compared both ways, which also proves transitivity here. */
static void test_value__order_is_sqlites_and_total(void **state)
{
    (void)state;
    const struct satchel_value ascending[] = {
        satchel_value_null(),
        satchel_value_real(NAN),
        satchel_value_real(-INFINITY),
        satchel_value_real(-1e300),
        satchel_value_real(-9223372036854777856.0), /* the double below -2^63 */
        satchel_value_integer(INT64_MIN),
        satchel_value_real(-9223372036854775808.0),
        satchel_value_integer(INT64_MIN + 1),
        satchel_value_real(-1.5),
        satchel_value_integer(-1),
        satchel_value_real(-0.5),
        satchel_value_integer(0),
        satchel_value_real(0.0),
        satchel_value_real(-0.0),
        satchel_value_real(5e-324),
        satchel_value_real(0.5),
        satchel_value_integer(1),
        satchel_value_real(1.0),
        satchel_value_real(1.5),
        satchel_value_integer(9007199254740992), /* 2^53 */
        satchel_value_real(9007199254740992.0),
        satchel_value_integer(9007199254740993), /* no double is this */
        satchel_value_real(9007199254740994.0),
        satchel_value_integer(INT64_MAX),
        satchel_value_real(9223372036854775808.0),
        satchel_value_real(INFINITY),
        text(""),
        text("a"),
        text("ab"),
        text("b"),
        text("\xe5\xae\xa2"), /* UTF-8 of a Chinese character: bytewise */
        blob("", 0),
        blob("\0", 1),
        blob("\0\0", 2),
        blob("a", 1),
    };
    size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            int order = satchel_value_compare(&ascending[i], &ascending[j]);
            if (order != (i < j ? -1 : i > j))
                fail_msg("elements %zu and %zu compare %d", i, j, order);
        }
}

static void test_value__copy_owns_its_bytes(void **state)
{
    (void)state;
    struct satchel_arena arena;
    satchel_arena_init(&arena, 100000, NULL);
    char bytes[] = "here";
    const struct satchel_value original = text(bytes), empty = blob(NULL, 0);
    struct satchel_value copy, empty_copy;
    assert_int_equal(satchel_value_copy(&arena, &original, &copy), SATCHEL_OK);
    bytes[0] = 't';
    assert_memory_equal(copy.bytes.data, "here", 4);
    assert_int_equal(satchel_value_copy(&arena, &empty, &empty_copy), SATCHEL_OK);
    assert_true(satchel_value_equal(&empty, &empty_copy));
    satchel_arena_deinit(&arena);

    satchel_arena_init(&arena, 2, NULL);
    assert_int_equal(satchel_value_copy(&arena, &original, &copy), SATCHEL_NOMEM);
    satchel_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value__equal_means_same_type_and_same_bits),
        cmocka_unit_test(test_value__order_is_sqlites_and_total),
        cmocka_unit_test(test_value__copy_owns_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
