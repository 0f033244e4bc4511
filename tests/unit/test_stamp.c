/* The hybrid logical clock never goes back and never leaves its range; the order of writes is
 * total. */
#include <satchel/stamp.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_stamp__a_time_out_of_range_is_clamped(void **state)
{
    (void)state;
    assert_int_equal(satchel_stamp_from_ms(-1), 0);
    assert_int_equal(satchel_stamp_from_ms(INT64_MIN), 0);
    assert_int_equal(satchel_stamp_from_ms(1), 65536);
    assert_int_equal(satchel_stamp_ms(satchel_stamp_from_ms(1790000000123)), 1790000000123);
    assert_int_equal(satchel_stamp_ms(satchel_stamp_from_ms(INT64_MAX)), SATCHEL_STAMP_MS_MAX);
}

static void test_stamp__the_next_is_now_or_just_after_the_last(void **state)
{
    (void)state;
    satchel_stamp noon = satchel_stamp_from_ms(1000);
    assert_int_equal(satchel_stamp_next(0, 1000), noon);
    assert_int_equal(satchel_stamp_next(noon, 1000), noon + 1);
    assert_int_equal(satchel_stamp_next(noon, 5), noon + 1); /* the clock was set back */
    assert_int_equal(satchel_stamp_next(noon + 7, 1001), satchel_stamp_from_ms(1001));
    assert_int_equal(satchel_stamp_next(noon, -5), noon + 1);
}

static void test_stamp__a_full_counter_runs_into_the_milliseconds(void **state)
{
    (void)state;
    satchel_stamp full = satchel_stamp_from_ms(1000) | 0xffff;
    assert_int_equal(satchel_stamp_next(full, 1000), satchel_stamp_from_ms(1001));
    assert_int_equal(satchel_stamp_next(UINT64_MAX, 1000), UINT64_MAX);
    assert_int_equal(satchel_stamp_next(UINT64_MAX, INT64_MAX), UINT64_MAX);
}

static void test_stamp__writes_are_ordered_by_stamp_device_number_part(void **state)
{
    (void)state;
    const struct satchel_id a = {{1}}, b = {{2}};
    const struct satchel_order ascending[] = {
        {1, b, 9, 9}, {2, a, 1, 0}, {2, a, 1, 1}, {2, a, 2, 0}, {2, b, 1, 0}, {3, a, 1, 0},
    };
    size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            assert_int_equal(satchel_order_compare(&ascending[i], &ascending[j]),
                             i < j ? -1 : i > j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stamp__a_time_out_of_range_is_clamped),
        cmocka_unit_test(test_stamp__the_next_is_now_or_just_after_the_last),
        cmocka_unit_test(test_stamp__a_full_counter_runs_into_the_milliseconds),
        cmocka_unit_test(test_stamp__writes_are_ordered_by_stamp_device_number_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
