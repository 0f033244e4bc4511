/* @set and @map: the decision tables. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SET .columns[1] = {.rule = SATCHEL_RULE_SET}
#define MAP .columns[1] = {.rule = SATCHEL_RULE_MAP}
#define INSERT                                           \
    {                                                    \
        .name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT \
    }
#define INSERT_OF(who, when, value)                                                  \
    {                                                                                \
        .name = who, .ms = when, .kind = SATCHEL_OP_INSERT, .fields = { {1, value} } \
    }
#define DO(who, when, what, knowing)                                                     \
    {                                                                                    \
        .name = who, .ms = when, .kind = SATCHEL_OP_UPDATE, .seen = knowing, .fields = { \
            {1, what}                                                                    \
        }                                                                                \
    }

static void test_set__everybodys_elements_count(void **state)
{
    (void)state;
    story_check(&(struct story){SET,
                                .writes = {INSERT, DO("A1", 10, "[[\"vip\"],[]]", "Z1"),
                                           DO("B1", 20, "[[\"cold\"],[]]", "Z1")},
                                .expected = "1=[\"cold\",\"vip\"] |"});
    story_check(
        &(struct story){SET,
                        .writes = {INSERT_OF("Z1", 1, "[1,2]"), DO("A1", 10, "[[3],[1]]", "Z1"),
                                   DO("B1", 20, "[[3],[2]]", "Z1")},
                        .expected = "1=[3] |"});
}

static void test_set__a_remove_takes_only_what_it_saw(void **state)
{
    (void)state;
    story_check(&(struct story){SET,
                                .writes = {INSERT, DO("A1", 10, "[[\"x\"],[]]", "Z1"),
                                           DO("B1", 20, "[[\"x\"],[]]", "Z1"),
                                           DO("C1", 30, "[[],[\"x\"]]", "Z1 A1")},
                                .expected = "1=[\"x\"] |"});
    story_check(&(struct story){SET,
                                .writes = {INSERT, DO("A1", 10, "[[\"x\"],[]]", "Z1"),
                                           DO("B1", 20, "[[\"x\"],[]]", "Z1"),
                                           DO("C1", 3, "[[],[\"x\"]]", "Z1 A1 B1")},
                                .expected = "1=[] |"});
    story_check(&(struct story){
        SET,
        .writes = {INSERT_OF("Z1", 1, "[\"x\"]"), DO("A1", 10, "[[],[\"x\"]]", "Z1"),
                   DO("A2", 20, "[[\"x\"],[]]", "Z1"), DO("B1", 30, "[[],[\"x\"]]", "Z1")},
        .expected = "1=[\"x\"] |"});
}

static void test_set__each_insert_adds_its_elements_or_the_defaults(void **state)
{
    (void)state;
    struct story story = {SET,
                          .writes = {INSERT_OF("A1", 10, "[\"a\"]"), INSERT_OF("B1", 20, "[\"b\"]"),
                                     DO("C1", 30, "[[],[\"b\"]]", "A1 B1")},
                          .expected = "1=[\"a\"] |"};
    story_check(&story);
    story.columns[1].default_value = satchel_value_text(satchel_span_text("[\"new\"]"));
    story.writes[0] = (struct story_write)INSERT;
    story.writes[2].seen = "Z1 B1";
    story.expected = "1=[\"new\"] |";
    story_check(&story);
    story.writes[2] = (struct story_write)DO("C1", 30, "[[],[\"new\"]]", "Z1");
    story.expected = "1=[\"b\"] |";
    story_check(&story);
    /* The other insert leaves the column out too: its element is unseen by the remove. */
    story.writes[1] = (struct story_write){.name = "B1", .ms = 2, .kind = SATCHEL_OP_INSERT};
    story.expected = "1=[\"new\"] |";
    story_check(&story);
}

static void test_set__a_new_life_starts_empty(void **state)
{
    (void)state;
    story_check(&(struct story){
        SET,
        .writes = {INSERT_OF("Z1", 1, "[\"a\"]"),
                   DO("A1", 10, "[[\"b\"],[]]", "Z1"),
                   {.name = "B1", .ms = 20, .kind = SATCHEL_OP_DELETE, .seen = "Z1"},
                   {.name = "B2", .ms = 30, .kind = SATCHEL_OP_INSERT, .fields = {{1, "[\"c\"]"}}}},
        .expected = "1=[\"b\",\"c\"] |"});
}

static void test_set__refuses_what_is_no_operation(void **state)
{
    (void)state;
    story_check_refused(&(struct story){SET, .writes = {INSERT, DO("A1", 1, "[\"x\"]", "Z1")}},
                        "@set");
    story_check_refused(&(struct story){SET, .writes = {INSERT, DO("A1", 1, "7", "Z1")}}, "@set");
    story_check_outcomes(&(struct story){SET, .writes = {INSERT, DO("A1", 1, "[[1],[]]", "Z1")}},
                         "merged");
}

static void test_map__each_key_is_lww_by_itself(void **state)
{
    (void)state;
    story_check(&(struct story){MAP,
                                .writes = {INSERT, DO("A1", 10, "[{\"k\":1},[]]", "Z1"),
                                           DO("B1", 20, "[{\"l\":2},[]]", "Z1")},
                                .expected = "1={\"k\":1,\"l\":2} |"});
    story_check(&(struct story){MAP,
                                .writes = {INSERT, DO("A1", 10, "[{\"k\":1},[]]", "Z1"),
                                           DO("B1", 5, "[{\"k\":2},[]]", "Z1 A1")},
                                .expected = "1={\"k\":2} |"});
}

static void test_map__a_write_that_loses_keys_is_one_notice(void **state)
{
    (void)state;
    story_check(&(struct story){
        MAP,
        .writes = {INSERT_OF("Z1", 1, "{\"a\":0,\"b\":0,\"c\":0}"),
                   DO("A1", 10, "[{\"a\":1,\"b\":1,\"d\":1},[\"c\"]]", "Z1"),
                   DO("B1", 20, "[{\"a\":2,\"c\":5,\"d\":1},[\"b\"]]", "Z1")},
        .expected = "1={\"a\":2,\"c\":5,\"d\":1} | 1:A1<B1([{\"a\":1,\"b\":1},[\"c\"]])"});
    story_check(&(struct story){
        MAP,
        .writes = {INSERT_OF("Z1", 1, "{\"a\":0,\"b\":0}"), DO("A1", 10, "[{\"a\":1},[]]", "Z1"),
                   DO("B1", 20, "[{\"a\":2,\"b\":2},[]]", "Z1"),
                   DO("C1", 30, "[{\"b\":3},[]]", "Z1")},
        .expected = "1={\"a\":2,\"b\":3} | 1:A1<B1([{\"a\":1},[]]) 1:B1<C1([{\"b\":2},[]])"});
    story_check(&(struct story){
        MAP,
        .writes = {INSERT_OF("Z1", 1, "{\"a\":0}"), DO("A1", 10, "[{\"a\":1},[]]", "Z1"),
                   DO("B1", 20, "[{\"a\":2},[]]", "Z1"), DO("C1", 3, "[{\"a\":7},[]]", "Z1 A1 B1")},
        .expected = "1={\"a\":7} |"});
}

static void test_map__a_removal_is_a_write_like_any(void **state)
{
    (void)state;
    story_check(&(struct story){MAP,
                                .writes = {INSERT_OF("Z1", 1, "{\"a\":0,\"b\":1}"),
                                           DO("A1", 10, "[{},[\"a\"]]", "Z1"),
                                           DO("B1", 20, "[{\"a\":2},[]]", "Z1")},
                                .expected = "1={\"a\":2,\"b\":1} | 1:A1<B1([{},[\"a\"]])"});
    story_check(&(struct story){
        MAP,
        .writes = {INSERT_OF("Z1", 1, "{\"a\":0,\"b\":1}"), DO("A1", 10, "[{},[\"a\"]]", "Z1"),
                   DO("B1", 5, "[{\"a\":2},[]]", "Z1"), DO("C1", 2, "[{},[\"a\"]]", "Z1 B1")},
        .expected = "1={\"b\":1} |"});
}

static void test_map__without_memory_nothing_happens(void **state)
{
    (void)state;
    story_check_memory(&(struct story){
        MAP,
        .writes = {INSERT_OF("Z1", 1, "{\"a\":0,\"b\":0,\"c\":0}"),
                   DO("A1", 10, "[{\"a\":1,\"b\":1,\"d\":1},[\"c\"]]", "Z1"),
                   DO("B1", 20, "[{\"a\":2,\"c\":5,\"d\":1},[\"b\"]]", "Z1")},
        .expected = "1={\"a\":2,\"c\":5,\"d\":1} | 1:A1<B1([{\"a\":1,\"b\":1},[\"c\"]])"});
}

static void test_map__inserts_set_their_keys(void **state)
{
    (void)state;
    story_check(
        &(struct story){MAP,
                        .writes = {INSERT_OF("A1", 10, "{\"a\":1,\"x\":1}"),
                                   INSERT_OF("B1", 20, "{\"b\":2,\"x\":2}")},
                        .expected = "1={\"a\":1,\"b\":2,\"x\":2} | 1:A1<B1([{\"x\":1},[]])"});
}

static void test_items__a_damaged_version_is_corrupt_or_another(void **state)
{
    (void)state;
    struct story story = {SET, .writes = {INSERT_OF("Z1", 1, "[\"a\",\"b\"]"),
                                          DO("A1", 10, "[[\"c\"],[\"a\"]]", "Z1"),
                                          DO("B1", 20, "[[\"a\",\"c\"],[]]", "Z1"),
                                          DO("C1", 30, "[[\"d\"],[\"c\"]]", "Z1 A1")}};
    story_check_damage(&story);
    story = (struct story){MAP, .writes = {INSERT_OF("Z1", 1, "{\"a\":0,\"b\":0}"),
                                           DO("A1", 10, "[{\"a\":1,\"c\":1},[\"b\"]]", "Z1"),
                                           DO("B1", 20, "[{\"a\":2,\"b\":2},[]]", "Z1"),
                                           DO("C1", 30, "[{\"b\":3},[\"a\"]]", "Z1 A1")}};
    story_check_damage(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set__everybodys_elements_count),
        cmocka_unit_test(test_set__a_remove_takes_only_what_it_saw),
        cmocka_unit_test(test_set__each_insert_adds_its_elements_or_the_defaults),
        cmocka_unit_test(test_set__a_new_life_starts_empty),
        cmocka_unit_test(test_set__refuses_what_is_no_operation),
        cmocka_unit_test(test_map__each_key_is_lww_by_itself),
        cmocka_unit_test(test_map__a_write_that_loses_keys_is_one_notice),
        cmocka_unit_test(test_map__a_removal_is_a_write_like_any),
        cmocka_unit_test(test_map__without_memory_nothing_happens),
        cmocka_unit_test(test_map__inserts_set_their_keys),
        cmocka_unit_test(test_items__a_damaged_version_is_corrupt_or_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
