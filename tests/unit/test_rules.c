/* The decision table of each rule, row by row. */
#include "row_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define INTEGER(i) satchel_value_integer(i)
#define NOTHING satchel_value_null()

/* What two unseen updates of one column make of a row that nobody else wrote there, in both orders.
 */
static void expect_of_two(uint32_t column, struct satchel_value early, struct satchel_value late,
                          struct satchel_value expected, const char *conflicts)
{
    for (int order = 0; order < 2; order++) {
        struct kit kit;
        kit_init(&kit);
        kit_insert(&kit, "Z1", 10, KIT_ID, NOTHING);
        if (order == 0) {
            kit_update(&kit, "A1", 20, "Z1", column, early);
            kit_update(&kit, "B1", 30, "Z1", column, late);
        } else {
            kit_update(&kit, "B1", 30, "Z1", column, late);
            kit_update(&kit, "A1", 20, "Z1", column, early);
        }
        kit_expect(&kit, column, expected);
        kit_expect_conflicts(&kit, conflicts);
        kit_deinit(&kit);
    }
}

static void test_rules__have_names(void **state)
{
    (void)state;
    assert_string_equal(satchel_rule_name(SATCHEL_RULE_LWW), "lww");
    assert_string_equal(satchel_rule_name(SATCHEL_RULE_KEY_WEAK), "key(weak)");
    assert_string_equal(satchel_rule_name(SATCHEL_RULE_COUNT), "unknown");
    assert_string_equal(satchel_outcome_name(SATCHEL_OUTCOME_MERGED), "merged");
}

static void test_lww__the_latest_unseen_write_wins(void **state)
{
    (void)state;
    expect_of_two(KIT_LWW, INTEGER(1), INTEGER(2), INTEGER(2), "1:A1<B1");
    expect_of_two(KIT_LWW, INTEGER(1), NOTHING, NOTHING, "1:A1<B1");
    expect_of_two(KIT_LWW, INTEGER(1), satchel_value_real(1.0), satchel_value_real(1.0), "1:A1<B1");
}

static void test_lww__equal_values_are_no_conflict(void **state)
{
    (void)state;
    expect_of_two(KIT_LWW, kit_text("x"), kit_text("x"), kit_text("x"), "");
}

static void test_lww__a_write_made_knowing_the_other_wins_whatever_the_clocks_say(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 1000000, KIT_LWW, INTEGER(1));
    kit_update(&kit, "B1", 5, "A1", KIT_LWW, INTEGER(2));
    kit_expect(&kit, KIT_LWW, INTEGER(2));
    kit_expect_conflicts(&kit, "");
    assert_int_equal(kit.result.outcomes[0], SATCHEL_OUTCOME_APPLIED);
    kit_deinit(&kit);
}

static void test_lww__three_heads_have_two_losers_and_the_conflict_keeps_both_values(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "Z1", 1, KIT_LWW, INTEGER(0));
    kit_update(&kit, "B1", 30, "Z1", KIT_LWW, INTEGER(3));
    kit_update(&kit, "A1", 20, "Z1", KIT_LWW, INTEGER(2));
    assert_int_equal(kit.result.outcomes[0], SATCHEL_OUTCOME_SUPERSEDED);
    assert_false(kit.result.changed[KIT_LWW]);
    kit_update(&kit, "C1", 10, "Z1", KIT_LWW, INTEGER(1));
    kit_expect_conflicts(&kit, "1:C1<B1 1:A1<B1");
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit.rules, &kit.row, &kit.arena, &list), SATCHEL_OK);
    assert_int_equal(list.items[1].lost->integer, 2);
    assert_int_equal(list.items[1].kept->integer, 3);
    assert_int_equal(list.items[1].severity, SATCHEL_SEVERITY_NOTICE);
    assert_int_equal(list.items[1].rule, SATCHEL_RULE_LWW);
    /* Somebody writes knowing only the winner: a loser takes its place in the order of heads. */
    kit_update(&kit, "D1", 15, "Z1 B1", KIT_LWW, INTEGER(9));
    kit_expect(&kit, KIT_LWW, INTEGER(2));
    kit_expect_conflicts(&kit, "1:C1<A1 1:D1<A1");
    kit_update(&kit, "D2", 16, "Z1 A1 B1 C1", KIT_LWW, INTEGER(9));
    kit_expect(&kit, KIT_LWW, INTEGER(9));
    kit_expect_conflicts(&kit, "");
    kit_deinit(&kit);
}

static void test_lww__a_tie_breaks_by_device(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "Z1", 1, KIT_ID, NOTHING);
    kit_update(&kit, "B1", 30, "Z1", KIT_LWW, INTEGER(2));
    kit_update(&kit, "A1", 30, "Z1", KIT_LWW, INTEGER(1));
    kit_expect(&kit, KIT_LWW, INTEGER(2));
    kit_deinit(&kit);
}

static void write_group(struct kit *kit, enum satchel_op_kind kind, const char *name, int64_t ms,
                        const char *seen, int64_t amount, const char *currency)
{
    struct kit_write write = {.name = name, .kind = kind, .ms = ms, .seen = seen, .field_count = 2};
    write.fields[0] = (struct satchel_field){KIT_AMOUNT, INTEGER(amount)};
    write.fields[1] = (struct satchel_field){KIT_CURRENCY, kit_text(currency)};
    assert_int_equal(kit_merge(kit, &write), SATCHEL_OK);
}

static void test_group__columns_win_and_lose_together(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    write_group(&kit, SATCHEL_OP_INSERT, "Z1", 1, "", 100, "CNY");
    write_group(&kit, SATCHEL_OP_UPDATE, "A1", 20, "Z1", 500, "CNY");
    write_group(&kit, SATCHEL_OP_UPDATE, "B1", 30, "Z1", 100, "EUR");
    kit_expect(&kit, KIT_AMOUNT, INTEGER(100));
    kit_expect(&kit, KIT_CURRENCY, kit_text("EUR"));
    kit_expect_conflicts(&kit, "5:A1<B1");
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit.rules, &kit.row, &kit.arena, &list), SATCHEL_OK);
    assert_int_equal(list.items[0].column_count, 2);
    assert_int_equal(list.items[0].lost[0].integer, 500);
    assert_memory_equal(list.items[0].lost[1].bytes.data, "CNY", 3);
    assert_memory_equal(list.items[0].kept[1].bytes.data, "EUR", 3);
    write_group(&kit, SATCHEL_OP_UPDATE, "C1", 40, "Z1", 100, "EUR");
    kit_expect_conflicts(&kit, "5:A1<C1"); /* C and B say the same */
    kit_deinit(&kit);
}

static void test_group__a_column_left_out_has_its_default(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 10, KIT_AMOUNT, INTEGER(7));
    kit_insert(&kit, "B1", 20, KIT_CURRENCY, kit_text("EUR"));
    kit_expect(&kit, KIT_AMOUNT, INTEGER(0));
    kit_expect(&kit, KIT_CURRENCY, kit_text("EUR"));
    kit_expect_conflicts(&kit, "5:A1<B1");
    kit_deinit(&kit);
}

static void test_immutable__the_earliest_insert_stands_and_updates_are_refused(void **state)
{
    (void)state;
    for (uint32_t column = KIT_IMMUTABLE; column <= KIT_APPEND; column++) {
        struct kit kit;
        kit_init(&kit);
        kit_insert(&kit, "B1", 30, column, INTEGER(3));
        kit_insert(&kit, "A1", 20, column, INTEGER(2));
        kit_expect(&kit, column, INTEGER(2));
        kit_insert(&kit, "C1", 40, column, INTEGER(4));
        kit_expect(&kit, column, INTEGER(2));
        assert_int_equal(kit.result.outcomes[0], SATCHEL_OUTCOME_SUPERSEDED);
        kit_insert(&kit, "D1", 10, KIT_ID, NOTHING); /* left it at its default: no write */
        kit_expect(&kit, column, INTEGER(2));
        kit_expect_conflicts(&kit, "");
        const struct kit_write update = {.name = "A2",
                                         .kind = SATCHEL_OP_UPDATE,
                                         .ms = 50,
                                         .fields = {{column, INTEGER(9)}},
                                         .field_count = 1};
        assert_int_equal(kit_merge(&kit, &update), SATCHEL_REFUSED);
        assert_non_null(strstr(kit.error.message, satchel_rule_name(kit.columns[column].rule)));
        kit_expect(&kit, column, INTEGER(2));
        kit_deinit(&kit);
    }
}

static void test_max_min__the_extreme_stays_and_null_never_beats_a_value(void **state)
{
    (void)state;
    const uint32_t max = KIT_MAX, min = KIT_MIN;
    expect_of_two(max, INTEGER(50), INTEGER(40), INTEGER(50), "");
    expect_of_two(max, INTEGER(10), INTEGER(20), INTEGER(20),
                  ""); /* the default 30 takes no part */
    expect_of_two(max, INTEGER(10), NOTHING, INTEGER(10), "");
    expect_of_two(max, NOTHING, NOTHING, NOTHING, "");
    expect_of_two(max, INTEGER(1), satchel_value_real(1.0), satchel_value_real(1.0), "");
    expect_of_two(max, kit_text("2026-10-01"), kit_text("2026-09-30"), kit_text("2026-10-01"), "");
    expect_of_two(min, INTEGER(50), INTEGER(40), INTEGER(40), "");
    expect_of_two(min, NOTHING, INTEGER(40), INTEGER(40), "");
    expect_of_two(min, INTEGER(40), NOTHING, INTEGER(40), "");
    expect_of_two(min, satchel_value_real(1.0), INTEGER(1), INTEGER(1), "");
}

static void test_max_min__knowing_the_other_changes_nothing(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 10, KIT_MAX, INTEGER(50));
    kit_update(&kit, "B1", 20, "A1", KIT_MAX, INTEGER(40));
    kit_expect(&kit, KIT_MAX, INTEGER(50));
    assert_int_equal(kit.result.outcomes[0], SATCHEL_OUTCOME_SUPERSEDED);
    kit_update(&kit, "B2", 30, "A1", KIT_MAX, NOTHING);
    kit_expect(&kit, KIT_MAX, INTEGER(50));
    kit_deinit(&kit);
}

static void test_max_min__the_default_stands_until_somebody_writes(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 10, KIT_ID, NOTHING);
    kit_expect(&kit, KIT_MAX, INTEGER(30));
    kit_update(&kit, "A2", 20, "", KIT_MAX, INTEGER(10));
    kit_expect(&kit, KIT_MAX, INTEGER(10));
    kit_update(&kit, "A3", 30, "", KIT_MAX, INTEGER(30));
    kit_update(&kit, "A4", 40, "", KIT_MAX,
               INTEGER(20)); /* 30 is a write now, though the default */
    kit_expect(&kit, KIT_MAX, INTEGER(30));
    kit_deinit(&kit);
}

static void test_first__the_earliest_claim_stands(void **state)
{
    (void)state;
    const uint32_t first = KIT_FIRST;
    expect_of_two(first, INTEGER(1), INTEGER(2), INTEGER(1), "9:B1<A1");
    expect_of_two(first, INTEGER(1), INTEGER(1), INTEGER(1), "");
    expect_of_two(first, NOTHING, INTEGER(2), INTEGER(2), "");
    expect_of_two(first, INTEGER(1), NOTHING, INTEGER(1), "");
    expect_of_two(first, NOTHING, NOTHING, NOTHING, "");
}

static void test_first__its_author_stays_known_after_it_is_no_head(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "B1", 20, KIT_FIRST, INTEGER(2));
    kit_update(&kit, "C1", 30, "B1", KIT_FIRST, INTEGER(3));
    kit_expect(&kit, KIT_FIRST, INTEGER(2));
    kit_expect_conflicts(&kit, "9:C1<B1");
    kit_update(&kit, "D1", 25, "", KIT_FIRST, INTEGER(4)); /* later than B, earlier than C */
    kit_expect(&kit, KIT_FIRST, INTEGER(2));
    kit_expect_conflicts(&kit, "9:D1<B1 9:C1<B1");
    kit_update(&kit, "A1", 10, "", KIT_FIRST, INTEGER(1)); /* the truly first arrives late */
    kit_expect(&kit, KIT_FIRST, INTEGER(1));
    kit_expect_conflicts(&kit, "9:D1<A1 9:C1<A1");
    kit_update(&kit, "E1", 90, "A1 B1 C1 D1", KIT_FIRST, NOTHING); /* no claim: all is settled */
    kit_expect(&kit, KIT_FIRST, INTEGER(1));
    kit_expect_conflicts(&kit, "");
    kit_deinit(&kit);
}

static void test_counter__sums_deltas_on_the_default_and_wraps(void **state)
{
    (void)state;
    expect_of_two(KIT_COUNTER, INTEGER(2), INTEGER(3), INTEGER(105), "");
    expect_of_two(KIT_COUNTER, INTEGER(-5), INTEGER(5), INTEGER(100), "");
    expect_of_two(KIT_COUNTER, INTEGER(INT64_MAX), INTEGER(1), INTEGER(INT64_MIN + 100), "");
    expect_of_two(KIT_COUNTER, INTEGER(INT64_MIN), INTEGER(INT64_MIN), INTEGER(100), "");
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 10, KIT_COUNTER, INTEGER(-60)); /* an insert gives 40: 100 - 60 */
    kit_insert(&kit, "B1", 20, KIT_COUNTER, INTEGER(1));
    kit_expect(&kit, KIT_COUNTER, INTEGER(41));
    assert_int_equal(kit.result.outcomes[0], SATCHEL_OUTCOME_MERGED);
    const struct kit_write wrong = {.name = "C1",
                                    .kind = SATCHEL_OP_UPDATE,
                                    .ms = 30,
                                    .fields = {{KIT_COUNTER, satchel_value_real(1.0)}},
                                    .field_count = 1};
    assert_int_equal(kit_merge(&kit, &wrong), SATCHEL_REFUSED);
    kit_expect(&kit, KIT_COUNTER, INTEGER(41));
    kit_deinit(&kit);
}

static void test_insert__what_equals_the_default_is_no_write(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 10, KIT_OPEN, kit_text("won"));
    kit_insert(&kit, "B1", 20, KIT_OPEN, kit_text("open"));
    kit_expect(&kit, KIT_OPEN, kit_text("won"));
    kit_expect_conflicts(&kit, "");
    kit_insert(&kit, "C1", 30, KIT_OPEN, kit_text("lost"));
    kit_expect(&kit, KIT_OPEN, kit_text("lost"));
    kit_expect_conflicts(&kit, "2:A1<C1");
    kit_deinit(&kit);
}

static void test_insert__a_default_that_varies_is_always_written(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "A1", 10, KIT_NOW, kit_text("10:00"));
    kit_insert(&kit, "B1", 20, KIT_NOW, NOTHING); /* an explicit NULL is a write */
    kit_expect(&kit, KIT_NOW, NOTHING);
    kit_expect_conflicts(&kit, "11:A1<B1");
    kit_deinit(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules__have_names),
        cmocka_unit_test(test_lww__the_latest_unseen_write_wins),
        cmocka_unit_test(test_lww__equal_values_are_no_conflict),
        cmocka_unit_test(test_lww__a_write_made_knowing_the_other_wins_whatever_the_clocks_say),
        cmocka_unit_test(test_lww__three_heads_have_two_losers_and_the_conflict_keeps_both_values),
        cmocka_unit_test(test_lww__a_tie_breaks_by_device),
        cmocka_unit_test(test_group__columns_win_and_lose_together),
        cmocka_unit_test(test_group__a_column_left_out_has_its_default),
        cmocka_unit_test(test_immutable__the_earliest_insert_stands_and_updates_are_refused),
        cmocka_unit_test(test_max_min__the_extreme_stays_and_null_never_beats_a_value),
        cmocka_unit_test(test_max_min__knowing_the_other_changes_nothing),
        cmocka_unit_test(test_max_min__the_default_stands_until_somebody_writes),
        cmocka_unit_test(test_first__the_earliest_claim_stands),
        cmocka_unit_test(test_first__its_author_stays_known_after_it_is_no_head),
        cmocka_unit_test(test_counter__sums_deltas_on_the_default_and_wraps),
        cmocka_unit_test(test_insert__what_equals_the_default_is_no_write),
        cmocka_unit_test(test_insert__a_default_that_varies_is_always_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
