/* Token buckets, attempts to join by address, and what a peer is called. */
#include "attempts.h"
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_rate__gives_the_burst_at_once_and_then_so_much_a_second(void **state)
{
    (void)state;
    const struct rate_limit limit = {.per_second = 100, .burst = 300};
    struct rate rate = rate_full(&limit, 5000);
    rate_take(&rate, &limit, 299, 10, 5000);
    assert_true(rate_has(&rate, &limit, 1, 5000));
    rate_take(&rate, &limit, 1, 10, 5000);
    assert_false(rate_has(&rate, &limit, 1, 5000));
    assert_false(rate_has(&rate, &limit, 1, 5009));
    assert_true(rate_has(&rate, &limit, 1, 5010));
    assert_true(rate_has(&rate, &limit, 100, 6000));
    assert_false(rate_has(&rate, &limit, 101, 6000));
    assert_true(rate_has(&rate, &limit, 300, INT64_MAX));
    assert_false(rate_has(&rate, &limit, 301, INT64_MAX));
}

static void test_rate__what_is_owed_is_bounded(void **state)
{
    (void)state;
    const struct rate_limit limit = {.per_second = 100, .burst = 300};
    struct rate rate = rate_full(&limit, 0);
    rate_take(&rate, &limit, 1000000, 10, 0);
    assert_false(rate_has(&rate, &limit, 1, 10000));
    assert_true(rate_has(&rate, &limit, 1, 10010));
}

static void test_rate__no_limit_and_a_clock_that_stands(void **state)
{
    (void)state;
    const struct rate_limit none = {0}, limit = {.per_second = 1, .burst = 1};
    struct rate rate = rate_full(&none, 0);
    rate_take(&rate, &none, INT64_MAX / 2, 10, 0);
    assert_true(rate_has(&rate, &none, 1, 0));
    rate = rate_full(&limit, 1000);
    rate_take(&rate, &limit, 1, 10, 1000);
    assert_false(rate_has(&rate, &limit, 1, 0));
    assert_false(rate_has(&rate, &limit, 1, 1999));
    assert_true(rate_has(&rate, &limit, 1, 2000));
}

static struct satchel_id address_of(uint32_t number)
{
    struct satchel_id id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static void test_attempts__twenty_in_vain_then_one_in_ten_seconds(void **state)
{
    (void)state;
    static struct attempts attempts;
    struct satchel_id one = address_of(1), other = address_of(2);
    for (int i = 0; i < 20; i++)
        assert_true(attempts_take(&attempts, &one, 1000));
    assert_false(attempts_take(&attempts, &one, 1000));
    assert_true(attempts_take(&attempts, &other, 1000));
    assert_false(attempts_take(&attempts, &one, 10999));
    assert_true(attempts_take(&attempts, &one, 11000));
    assert_false(attempts_take(&attempts, &one, 11001));
    attempts_give_back(&attempts, &one, 11001);
    assert_true(attempts_take(&attempts, &one, 11001));
}

static void test_attempts__who_joins_is_not_counted(void **state)
{
    (void)state;
    static struct attempts attempts;
    struct satchel_id one = address_of(1);
    for (int i = 0; i < 1000; i++) {
        assert_true(attempts_take(&attempts, &one, 1000));
        attempts_give_back(&attempts, &one, 1000);
    }
}

static void test_attempts__many_addresses_are_bounded_and_the_busiest_kept(void **state)
{
    (void)state;
    static struct attempts attempts;
    struct satchel_id busy = address_of(1);
    for (int i = 0; i < 20; i++)
        assert_true(attempts_take(&attempts, &busy, 1000));
    for (uint32_t i = 2; i < 100000; i++) {
        struct satchel_id other = address_of(i);
        assert_true(attempts_take(&attempts, &other, 1000 + i / 100));
        assert_false(attempts_take(&attempts, &busy, 1000 + i / 100));
    }
}

static void test_peer__a_proxy_names_the_last_address(void **state)
{
    (void)state;
    static const struct {
        const char *header, *address; /* NULL: none */
    } cases[] = {
        {"192.0.2.7", "192.0.2.7"},
        {"  192.0.2.7\t", "192.0.2.7"},
        {"6.6.6.6, 192.0.2.7", "192.0.2.7"}, /* the first is what the client says of itself */
        {"unknown,2001:db8::1", "2001:db8::1"},
        {"192.0.2.7,", NULL},
        {"192.0.2.7, unknown", NULL},
        {"192.0.2.7:443", NULL},
        {"192.0.2.7 x", NULL},
        {"192.0.2.7\nerror forged", NULL},
        {"", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:0000", NULL},
    };
    char address[PEER_ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(peer_forwarded(cases[i].header, address), cases[i].address != NULL);
        if (cases[i].address)
            assert_string_equal(address, cases[i].address);
    }
}

static void test_peer__addresses_of_one_household_are_one(void **state)
{
    (void)state;
    struct satchel_id a = peer_address(-1, "2001:db8:1:2:3:4:5:6");
    struct satchel_id b = peer_address(-1, "2001:db8:1:2::9");
    struct satchel_id c = peer_address(-1, "2001:db8:1:3::9");
    struct satchel_id four = peer_address(-1, "192.0.2.7");
    struct satchel_id mapped = peer_address(-1, "::ffff:192.0.2.7");
    struct satchel_id other = peer_address(-1, "192.0.2.8");
    assert_true(satchel_id_equal(&a, &b));
    assert_false(satchel_id_equal(&a, &c));
    assert_true(satchel_id_equal(&four, &mapped));
    assert_false(satchel_id_equal(&four, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate__gives_the_burst_at_once_and_then_so_much_a_second),
        cmocka_unit_test(test_rate__what_is_owed_is_bounded),
        cmocka_unit_test(test_rate__no_limit_and_a_clock_that_stands),
        cmocka_unit_test(test_attempts__twenty_in_vain_then_one_in_ten_seconds),
        cmocka_unit_test(test_attempts__who_joins_is_not_counted),
        cmocka_unit_test(test_attempts__many_addresses_are_bounded_and_the_busiest_kept),
        cmocka_unit_test(test_peer__a_proxy_names_the_last_address),
        cmocka_unit_test(test_peer__addresses_of_one_household_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
