/* @text3 within a row: which text the heads started from, who lost lines. The merge of texts itself
 * is test_text3. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TEXT .columns[1] = {.rule = SATCHEL_RULE_TEXT3}
#define INSERT_OF(value)                                                           \
    {                                                                              \
        .name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = { {1, value} } \
    }
#define SAY(who, when, what, knowing)                                                    \
    {                                                                                    \
        .name = who, .ms = when, .kind = SATCHEL_OP_UPDATE, .seen = knowing, .fields = { \
            {1, what}                                                                    \
        }                                                                                \
    }

static void test_text3__edits_of_different_lines_both_count(void **state)
{
    (void)state;
    const struct story story = {TEXT,
                                .writes = {INSERT_OF("a\nb\nc\nd\ne\n"),
                                           SAY("A1", 10, "A\nb\nc\nd\ne\n", "Z1"),
                                           SAY("B1", 20, "a\nb\nc\nd\nE\n", "Z1")},
                                .expected = "1=A\nb\nc\nd\nE\n |"};
    story_check(&story);
    story_check_outcomes(&story, "merged");
}

static void test_text3__of_the_same_line_the_later_stands(void **state)
{
    (void)state;
    story_check(&(struct story){TEXT,
                                .writes = {INSERT_OF("a\nb\nc\nd\ne\n"),
                                           SAY("A1", 10, "a\nx\nc\nd\nE\n", "Z1"),
                                           SAY("B1", 20, "a\ny\nc\nd\ne\n", "Z1")},
                                .expected = "1=a\ny\nc\nd\nE\n | 1:A1<B1!(a\nx\nc\nd\nE\n)"});
}

static void test_text3__starts_from_what_all_heads_had_seen(void **state)
{
    (void)state;
    story_check(&(struct story){TEXT,
                                .writes = {INSERT_OF("a\nb\nc\nd\ne\n"),
                                           SAY("A1", 10, "a\nb\nC\nd\ne\n", "Z1"),
                                           SAY("B1", 20, "A\nb\nC\nd\ne\n", "Z1 A1"),
                                           SAY("C1", 30, "a\nb\nC\nd\nE\n", "Z1 A1")},
                                .expected = "1=A\nb\nC\nd\nE\n |"});
    story_check(&(struct story){TEXT,
                                .writes = {INSERT_OF("a\nb\nc\nd\ne\n"),
                                           SAY("A1", 10, "A\nb\nc\nd\ne\n", "Z1"),
                                           SAY("B1", 20, "a\nb\nc\nd\nE\n", "Z1"),
                                           SAY("C1", 5, "A\nb\nc\nd\nE\nf\n", "Z1 A1 B1")},
                                .expected = "1=A\nb\nc\nd\nE\nf\n |"});
    /* Three heads, one of which knows another's ancestor only. */
    story_check(&(struct story){
        TEXT,
        .writes = {INSERT_OF("a\nb\nc\nd\ne\n"), SAY("A1", 10, "A\nb\nc\nd\ne\n", "Z1"),
                   SAY("B1", 20, "a\nb\nC\nd\ne\n", "Z1"), SAY("C1", 30, "a\nb\nc\nd\nE\n", "Z1"),
                   SAY("A2", 40, "A1\nb\nc\nd\ne\n", "Z1")},
        .expected = "1=A1\nb\nC\nd\nE\n |"});
}

static void test_text3__null_is_the_empty_text_and_two_of_them_are_null(void **state)
{
    (void)state;
    story_check(&(struct story){
        TEXT, .writes = {INSERT_OF("a\n"), SAY("A1", 10, NULL, "Z1"), SAY("B1", 20, NULL, "Z1")},
        .expected = " |"});
    story_check(&(struct story){TEXT,
                                .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT},
                                           SAY("A1", 10, "same\n", "Z1"),
                                           SAY("B1", 20, "same\n", "Z1")},
                                .expected = "1=same\n |"});
}

static void test_text3__a_life_ended_is_no_ground_to_start_from(void **state)
{
    (void)state;
    story_check(&(struct story){
        TEXT,
        .writes = {INSERT_OF("a\nb\nc\n"),
                   {.name = "A1", .ms = 5, .kind = SATCHEL_OP_DELETE, .seen = "Z1"},
                   {.name = "A2", .ms = 6, .kind = SATCHEL_OP_INSERT, .fields = {{1, "x\ny\nz\n"}}},
                   SAY("B1", 10, "X\ny\nz\n", "Z1 A1 A2"),
                   SAY("C1", 20, "x\ny\nZ\n", "Z1 A1 A2")},
        .expected = "1=X\ny\nZ\n |"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text3__edits_of_different_lines_both_count),
        cmocka_unit_test(test_text3__of_the_same_line_the_later_stands),
        cmocka_unit_test(test_text3__starts_from_what_all_heads_had_seen),
        cmocka_unit_test(test_text3__null_is_the_empty_text_and_two_of_them_are_null),
        cmocka_unit_test(test_text3__a_life_ended_is_no_ground_to_start_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
