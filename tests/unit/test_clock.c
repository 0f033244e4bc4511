/* What a device's clock readings mean in the server's time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../client-core/src/replica.h"

#define HOUR ((int64_t)3600000)
#define YEAR (365 * 24 * HOUR)

static struct satchel_clock_reference reference(int64_t server_ms, int64_t utc_ms,
                                                int64_t monotonic_ms, uint64_t boot)
{
    return (struct satchel_clock_reference){true, server_ms, utc_ms, monotonic_ms, boot};
}

static void test_clock__without_a_reference_the_wall_clock_counts(void **state)
{
    (void)state;
    struct satchel_clock_reference none = {0};
    assert_int_equal(satchel_clock_correct(&none, 5000, 7, 1), 5000);
    assert_int_equal(satchel_clock_correct_between(&none, &none, 0, 5000, 7, 1), 5000);
}

static void test_clock__within_a_boot_the_wall_clock_does_not_matter(void **state)
{
    (void)state;
    struct satchel_clock_reference at = reference(10 * YEAR, 10 * YEAR + 3 * HOUR, 1000, 1);
    const int64_t walls[] = {0, 10 * YEAR, 40 * YEAR, -5 * YEAR, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof walls / sizeof walls[0]; i++) {
        assert_int_equal(satchel_clock_correct(&at, walls[i], 1000 + HOUR, 1), 10 * YEAR + HOUR);
        assert_int_equal(satchel_clock_correct(&at, walls[i], 400, 1), 10 * YEAR - 600);
    }
}

static void test_clock__after_a_restart_the_error_is_the_one_at_the_reference(void **state)
{
    (void)state;
    struct satchel_clock_reference at = reference(10 * YEAR, 40 * YEAR, 1000, 1);
    assert_int_equal(satchel_clock_correct(&at, 40 * YEAR + HOUR, 77, 2), 10 * YEAR + HOUR);
}

static void test_clock__of_two_references_the_same_boot_wins(void **state)
{
    (void)state;
    struct satchel_clock_reference before = reference(10 * YEAR, 10 * YEAR, 1000, 1);
    struct satchel_clock_reference after = reference(10 * YEAR + 5 * HOUR, 9 * YEAR, 50, 2);
    assert_int_equal(satchel_clock_correct_between(&before, &after, 0, 0, 1000 + HOUR, 1),
                     10 * YEAR + HOUR);
    assert_int_equal(satchel_clock_correct_between(&before, &after, 0, 0, 50 - HOUR, 2),
                     10 * YEAR + 4 * HOUR);
}

/* The wall clock was moved three hours ahead somewhere between the references, and the device
 * restarted twice: only one of the two corrections is possible. */
static void test_clock__between_two_references_the_possible_one_wins(void **state)
{
    (void)state;
    struct satchel_clock_reference before = reference(10 * YEAR, 10 * YEAR, 1000, 1);
    struct satchel_clock_reference after =
        reference(10 * YEAR + 2 * HOUR, 10 * YEAR + 5 * HOUR, 50, 3);
    /* written an hour after `before`, when the clock was right still */
    assert_int_equal(
        satchel_clock_correct_between(&before, &after, 10 * YEAR, 10 * YEAR + HOUR, 9, 2),
        10 * YEAR + HOUR);
    /* written then, when it had been moved */
    assert_int_equal(
        satchel_clock_correct_between(&before, &after, 10 * YEAR, 10 * YEAR + 4 * HOUR, 9, 2),
        10 * YEAR + HOUR);
    /* neither is possible: the newer knows more */
    assert_int_equal(satchel_clock_correct_between(&before, &after, 10 * YEAR, 90 * YEAR, 9, 2),
                     87 * YEAR + 3 * YEAR - 3 * HOUR);
}

static void test_clock__readings_out_of_range_do_not_overflow(void **state)
{
    (void)state;
    struct satchel_clock_reference at = reference(INT64_MAX, INT64_MIN, INT64_MIN, 1);
    assert_int_equal(satchel_clock_correct(&at, INT64_MAX, INT64_MAX, 1), INT64_MAX);
    assert_int_equal(satchel_clock_correct(&at, INT64_MAX, INT64_MAX, 2), INT64_MAX);
}

static void test_clock__the_systems_clocks_run(void **state)
{
    (void)state;
    const struct satchel_clock *clock = &satchel_clock_system;
    int64_t first = clock->monotonic_ms(clock->context);
    assert_true(clock->utc_ms(clock->context) > 50 * YEAR);
    assert_true(clock->monotonic_ms(clock->context) >= first);
    assert_true(clock->boot(clock->context) != 0);
    assert_true(clock->boot(clock->context) == clock->boot(clock->context));
    assert_true(clock->boot(clock->context) <= INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock__without_a_reference_the_wall_clock_counts),
        cmocka_unit_test(test_clock__within_a_boot_the_wall_clock_does_not_matter),
        cmocka_unit_test(test_clock__after_a_restart_the_error_is_the_one_at_the_reference),
        cmocka_unit_test(test_clock__of_two_references_the_same_boot_wins),
        cmocka_unit_test(test_clock__between_two_references_the_possible_one_wins),
        cmocka_unit_test(test_clock__readings_out_of_range_do_not_overflow),
        cmocka_unit_test(test_clock__the_systems_clocks_run),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
