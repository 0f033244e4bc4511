/* What a device had seen that is a copy of another: the other's change sets up to the copy are its
 * own earlier ones, whatever `seen` and its exceptions say; the later ones are not. Device Y is a
 * copy of X from change set 3 on. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define U SATCHEL_OP_UPDATE
#define I SATCHEL_OP_INSERT
#define D SATCHEL_OP_DELETE
#define SPAN(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct satchel_span sent[] = {SPAN("sent")};

static void test_copy__saw_its_ancestor_up_to_the_copy_and_no_further(void **state)
{
    (void)state;
    struct satchel_position position = {{{7}}, 9}, ancestor = {{{1}}, 2};
    const struct satchel_vector positions = {&position, 1};
    const struct satchel_id x = {{1}}, other = {{2}};
    struct satchel_write write = {.order = {.device = {{3}}, .number = 5},
                                  .ancestors = {&ancestor, 1},
                                  .kind = U};
    const struct satchel_exception nothing = {1, {SATCHEL_VIEW_NONE, {NULL, 0}}};
    assert_true(satchel_write_saw(&write, 1, &x, 1, &positions));
    assert_true(satchel_write_saw(&write, 1, &x, 2, &positions));
    assert_false(satchel_write_saw(&write, 1, &x, 3, &positions));
    assert_false(satchel_write_saw(&write, 1, &other, 1, &positions));
    write.exceptions = &nothing; /* which takes nothing of its own away */
    write.exception_count = 1;
    assert_true(satchel_write_saw(&write, 1, &x, 2, &positions));
    assert_false(satchel_write_saw(&write, 1, &x, 3, &positions));
    write.seen = positions; /* what it was shown of it, it saw like anybody's */
    write.exception_count = 0;
    assert_true(satchel_write_saw(&write, 1, &x, 3, &positions));
    write.ancestors.count = 0;
    write.seen.count = 0;
    assert_false(satchel_write_saw(&write, 1, &x, 1, &positions));
}

static void test_copy__an_update_knows_its_ancestors_and_not_what_that_wrote_later(void **state)
{
    (void)state;
    struct story story = {
        .columns[1] = {.rule = SATCHEL_RULE_LWW},
        .writes = {{.name = "Z1", .ms = 1, .kind = I, .fields = {{1, "a"}}},
                   {.name = "X2", .ms = 10, .kind = U, .seen = "Z1", .fields = {{1, "b"}}},
                   {.name = "Y3",
                    .ms = 20,
                    .kind = U,
                    .seen = "Z1",
                    .copy_of = "X2",
                    .fields = {{1, "c"}}}},
        .expected = "1=c |"};
    story_check(&story);
    story.writes[2].copy_of = "X1"; /* copied before it */
    story.expected = "1=c | 1:X2<Y3(b)";
    story_check(&story);
}

static void test_copy__a_remove_takes_what_its_ancestor_added(void **state)
{
    (void)state;
    struct story story = {
        .columns[1] = {.rule = SATCHEL_RULE_SET},
        .writes = {{.name = "Z1", .ms = 1, .kind = I},
                   {.name = "X2",
                    .ms = 10,
                    .kind = U,
                    .seen = "Z1",
                    .fields = {{1, "[[\"x\"],[]]"}}},
                   {.name = "Y3",
                    .ms = 20,
                    .kind = U,
                    .seen = "Z1",
                    .copy_of = "X2",
                    .fields = {{1, "[[],[\"x\"]]"}}}},
        .expected = "1=[] |"};
    story_check(&story);
    story.writes[2].copy_of = "X1";
    story.expected = "1=[\"x\"] |";
    story_check(&story);
}

static void test_copy__a_delete_takes_what_its_ancestor_inserted(void **state)
{
    (void)state;
    struct story story = {
        .rules = {.delete_policy = SATCHEL_DELETE_EDIT_WINS},
        .writes = {{.name = "X1", .ms = 1, .kind = I, .fields = {{1, "a"}}},
                   {.name = "X2", .ms = 10, .kind = U, .fields = {{1, "b"}}},
                   {.name = "Y3", .ms = 20, .kind = D, .copy_of = "X2"}},
        .expected = "gone |"};
    story_check(&story);
    story.writes[2].copy_of = "X1"; /* the edit came after the copy */
    story.expected = "1=b | delete row:Y3<X2!";
    story_check(&story);
}

static void test_copy__an_insert_saw_its_ancestors_of_the_same_row(void **state)
{
    (void)state;
    struct story story = {
        .writes = {{.name = "X1", .ms = 1, .kind = I, .fields = {{1, "a"}}},
                   {.name = "X2", .ms = 10, .kind = D},
                   {.name = "Y3", .ms = 20, .kind = I, .copy_of = "X2", .fields = {{2, "b"}}}},
        .expected = "2=b |"};
    story_check(&story);
}

static void test_copy__a_freeze_counts_what_its_ancestor_wrote(void **state)
{
    (void)state;
    struct story story = {
        .columns[1] = {.rule = SATCHEL_RULE_STATE},
        .columns[2] = {.frozen = 1},
        .rules = {.freezing_states = sent, .freezing_state_count = 1, .state_column = 1},
        .writes = {{.name = "Z1", .ms = 1, .kind = I, .fields = {{1, "draft"}, {2, "1"}}},
                   {.name = "X2", .ms = 10, .kind = U, .seen = "Z1", .fields = {{2, "2"}}},
                   {.name = "Y3",
                    .ms = 20,
                    .kind = U,
                    .seen = "Z1",
                    .copy_of = "X2",
                    .fields = {{1, "[\"draft\",\"sent\"]"}}},
                   {.name = "X3", .ms = 15, .kind = U, .seen = "Z1", .fields = {{2, "3"}}}},
        .expected = "1=sent 2=2 | frozen 2:X3<Y3!(3)"};
    story_check(&story);
    story_check_damage(&story); /* the stored freeze names the ancestor */
}

static void test_copy__the_parents_freeze_counts_what_its_ancestor_wrote(void **state)
{
    (void)state;
    const struct satchel_position ancestor = {story_order("X1", 0).device, 2};
    const struct satchel_freeze freeze = {.order = story_order("Y3", 20),
                                          .ancestors = {&ancestor, 1}};
    struct story story = {
        .columns[2] = {.frozen = SATCHEL_FROZEN_PARENT},
        .rules = {.is_frozen_by_parent = true},
        .context = {.parent_freeze = &freeze},
        .writes = {{.name = "X1", .ms = 1, .kind = I, .fields = {{2, "1"}}},
                   {.name = "X2", .ms = 10, .kind = U, .fields = {{2, "2"}}},
                   {.name = "X3", .ms = 30, .kind = U, .fields = {{2, "3"}}}},
        .expected = "2=2 | frozen 2:X3<Y3!(3)"};
    story_check(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy__saw_its_ancestor_up_to_the_copy_and_no_further),
        cmocka_unit_test(test_copy__an_update_knows_its_ancestors_and_not_what_that_wrote_later),
        cmocka_unit_test(test_copy__a_remove_takes_what_its_ancestor_added),
        cmocka_unit_test(test_copy__a_delete_takes_what_its_ancestor_inserted),
        cmocka_unit_test(test_copy__an_insert_saw_its_ancestors_of_the_same_row),
        cmocka_unit_test(test_copy__a_freeze_counts_what_its_ancestor_wrote),
        cmocka_unit_test(test_copy__the_parents_freeze_counts_what_its_ancestor_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
