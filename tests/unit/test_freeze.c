/* Frozen units, by the row's own state and by the parent's, and the policies of deletes. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define U SATCHEL_OP_UPDATE
#define D SATCHEL_OP_DELETE
#define SPAN(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct satchel_span sent[] = {SPAN("sent")};
#define FREEZING                                \
    .columns[1] = {.rule = SATCHEL_RULE_STATE}, \
    .rules = {.freezing_states = sent, .freezing_state_count = 1, .state_column = 1}
#define DRAFT                                                                                  \
    {                                                                                          \
        .name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = { {1, "draft"}, {2, "1"} } \
    }
#define SEND(who, when, knowing)                                         \
    {                                                                    \
        .name = who, .ms = when, .kind = U, .seen = knowing, .fields = { \
            {1, "[\"draft\",\"sent\"]"}                                  \
        }                                                                \
    }
#define SAY(who, when, what, knowing)                                                \
    {                                                                                \
        .name = who, .ms = when, .kind = U, .seen = knowing, .fields = { {2, what} } \
    }

static void test_freeze__only_what_the_freezing_write_had_seen_counts(void **state)
{
    (void)state;
    struct story story = {FREEZING, .columns[2] = {.frozen = 1},
                          .writes = {DRAFT, SEND("F1", 20, "Z1"), SAY("A1", 10, "2", "Z1")},
                          .expected = "1=sent 2=1 | frozen 2:A1<F1!(2)"};
    story_check(&story);
    story_check_outcomes(&story, "frozen");
    story.writes[1].seen = "Z1 A1";
    story.expected = "1=sent 2=2 |";
    story_check(&story);
    /* Knowing that it is frozen does not help either. */
    story.writes[1].seen = "Z1";
    story.writes[2].seen = "Z1 F1";
    story.expected = "1=sent 2=1 | frozen 2:A1<F1!(2)";
    story_check(&story);
    /* Saying what the row says settles it. */
    story.writes[3] = (struct story_write)SAY("B1", 30, "1", "Z1 F1 A1");
    story.expected = "1=sent 2=1 |";
    story_check(&story);
    story_check_outcomes(&story, "applied");
}

static void test_freeze__counts_what_itself_had_seen_not_what_its_own_writes_had(void **state)
{
    (void)state;
    struct story story = {FREEZING,
                          .columns[2] = {.rule = SATCHEL_RULE_COUNTER,
                                         .default_value = {SATCHEL_INTEGER, {.integer = 0}},
                                         .frozen = 1},
                          .writes = {{.name = "A1", .ms = 1, .fields = {{1, "draft"}, {2, "1"}}},
                                     SAY("B1", 2, "5", "A1"),
                                     SAY("A2", 3, "2", "B1"),
                                     SEND("A3", 4, "A1 B1")},
                          .expected = "1=sent 2=3 |"};
    story.writes[3].saw_own_only = true;
    story_check(&story);
}

static void test_freeze__the_first_by_order_freezes(void **state)
{
    (void)state;
    story_check(&(struct story){
        FREEZING, .columns[2] = {.frozen = 1},
        .writes = {DRAFT, SEND("F1", 20, "Z1"), SEND("G1", 15, "Z1 A1"), SAY("A1", 10, "2", "Z1")},
        .expected = "1=sent 2=2 |"});
    story_check(&(struct story){
        FREEZING, .columns[2] = {.frozen = 1},
        .writes = {DRAFT, SEND("F1", 20, "Z1"), SEND("G1", 25, "Z1 A1"), SAY("A1", 10, "2", "Z1")},
        .expected = "1=sent 2=1 | frozen 2:A1<F1!(2)"});
    /* Any state of that rank or beyond; a step back does not thaw. */
    story_check(&(struct story){FREEZING, .columns[2] = {.frozen = 1},
                                .writes = {DRAFT,
                                           SEND("F1", 20, "Z1"),
                                           {.name = "B1",
                                            .ms = 30,
                                            .kind = U,
                                            .seen = "Z1 F1",
                                            .fields = {{1, "[\"sent\",\"draft\"]"}}},
                                           SAY("A1", 40, "2", "Z1 F1 B1")},
                                .expected = "1=draft 2=1 | frozen 2:A1<F1!(2)"});
}

static void test_freeze__one_change_set_writes_and_freezes(void **state)
{
    (void)state;
    story_check(&(struct story){FREEZING, .columns[2] = {.frozen = 1},
                                .writes = {DRAFT,
                                           {.name = "F1",
                                            .ms = 20,
                                            .kind = U,
                                            .seen = "Z1",
                                            .fields = {{1, "[\"draft\",\"sent\"]"}, {2, "7"}}},
                                           SAY("A1", 10, "2", "Z1")},
                                .expected = "1=sent 2=7 | frozen 2:A1<F1!(2)"});
    story_check(&(struct story){FREEZING, .columns[2] = {.frozen = 1},
                                .writes = {{.name = "Z1",
                                            .ms = 5,
                                            .kind = SATCHEL_OP_INSERT,
                                            .fields = {{1, "sent"}, {2, "7"}}},
                                           SAY("A1", 10, "2", "Z1"),
                                           SAY("Z2", 20, "3", NULL)},
                                .expected = "1=sent 2=7 | frozen 2:A1<Z1!(2) frozen 2:Z2<Z1!(3)"});
}

static void test_freeze__every_rule_keeps_what_it_made_of_what_counts(void **state)
{
    (void)state;
    struct story story = {FREEZING, .columns[2] = {.rule = SATCHEL_RULE_COUNTER, .frozen = 1},
                          .writes = {DRAFT, SAY("B1", 5, "2", "Z1"), SEND("F1", 20, "Z1 B1"),
                                     SAY("A1", 10, "5", "Z1")},
                          .expected = "1=sent 2=3 | frozen 2:A1<F1!(5)"};
    story_check(&story);
    story.columns[2].rule = SATCHEL_RULE_MAX;
    story.expected = "1=sent 2=2 | frozen 2:A1<F1!(5)";
    story_check(&story);
    story.columns[2].rule = SATCHEL_RULE_FIRST;
    story.expected = "1=sent 2=1 | 2:B1<Z1(2) frozen 2:A1<F1!(5)";
    story_check(&story);
    story.columns[2].rule = SATCHEL_RULE_SET;
    story.writes[0].fields[1].value = "[\"a\",\"b\"]";
    story.writes[1].fields[0].value = "[[\"c\"],[]]";
    story.writes[3].fields[0].value = "[[\"d\"],[\"a\"]]";
    story.expected = "1=sent 2=[\"a\",\"b\",\"c\"] | frozen 2:A1<F1!([[\"d\"],[\"a\"]])";
    story_check(&story);
    story.writes[3].fields[0].value = "[[\"c\"],[\"z\"]]"; /* would change nothing */
    story.expected = "1=sent 2=[\"a\",\"b\",\"c\"] |";
    story_check(&story);
    story.writes[3].fields[0].value = "[[\"d\"],[\"a\"]]";
    story.expected = "1=sent 2=[\"a\",\"b\",\"c\"] | frozen 2:A1<F1!([[\"d\"],[\"a\"]])";
    story_check_memory(&story);
    story.columns[2].rule = SATCHEL_RULE_TEXT3;
    story.writes[0].fields[1].value = "a\nb\nc\n";
    story.writes[1].fields[0].value = "A\nb\nc\n";
    story.writes[3] = (struct story_write)SAY("A1", 10, "a\nb\nC\n", "Z1");
    story.expected = "1=sent 2=A\nb\nc\n | frozen 2:A1<F1!(a\nb\nC\n)";
    story_check(&story);
    story.writes[2].seen = "Z1 A1 B1";
    story.writes[4] = (struct story_write)SAY("C1", 30, "x\n", "Z1");
    story.expected = "1=sent 2=A\nb\nC\n | frozen 2:C1<F1!(x\n)";
    story_check(&story);
}

static void test_freeze__followers_are_frozen_with_their_leader(void **state)
{
    (void)state;
    story_check(&(struct story){
        FREEZING, .columns[2] = {.frozen = 1},
        .columns[3] = {.rule = SATCHEL_RULE_FOLLOWS, .unit = 2, .frozen = 1},
        .writes =
            {DRAFT,
             SEND("F1", 20, "Z1"),
             {.name = "A1", .ms = 10, .kind = U, .seen = "Z1", .fields = {{3, "why"}}},
             {.name = "B1", .ms = 11, .kind = U, .seen = "Z1", .fields = {{2, "9"}, {3, "b"}}}},
        .expected = "1=sent 2=1 | frozen 2:A1<F1!(1)(why) frozen 2:B1<F1!(9)(b)"});
}

static void test_freeze__a_frozen_row_stays_when_a_delete_comes_too_late(void **state)
{
    (void)state;
    const struct story_write delete = {.name = "D1", .ms = 10, .kind = D, .seen = "Z1"};
    struct story story = {FREEZING, .columns[2] = {.frozen = 1},
                          .writes = {DRAFT, SEND("F1", 20, "Z1"), delete},
                          .expected = "1=sent 2=1 | delete row:D1<F1!"};
    story_check(&story);
    story.writes[2].seen = "Z1 F1"; /* who knows it may not delete it either */
    story_check(&story);
    story.rules.delete_policy = SATCHEL_DELETE_DELETE_WINS;
    story_check(&story);
    story.writes[3] = (struct story_write){
        .name = "D2", .ms = 30, .kind = SATCHEL_OP_INSERT, .fields = {{1, "draft"}, {2, "9"}}};
    story.expected = "1=sent 2=1 | 1:D2<F1(draft) frozen 2:D2<F1!(9)"; /* no new life */
    story_check(&story);
    story.writes[3] = (struct story_write){0};
    story.columns[2].frozen = SATCHEL_FROZEN_NEVER; /* nothing frozen: any table */
    story.rules.freezing_state_count = 0;
    story.expected = "gone |";
    story_check(&story);
}

/* ---- by the parent ---- */

static void test_frozen_by_parent__what_its_freeze_had_not_seen_does_not_count(void **state)
{
    (void)state;
    const struct satchel_position seen[] = {story_position("A1"), story_position("Z1")};
    const struct satchel_freeze freeze = {.order = story_order("F1", 20), .seen = {seen, 2}};
    struct story story = {
        .columns[2] = {.frozen = SATCHEL_FROZEN_PARENT},
        .rules = {.is_frozen_by_parent = true},
        .context = {.parent_freeze = &freeze},
        .writes =
            {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = {{2, "1"}, {3, "x"}}},
             SAY("A1", 10, "2", "Z1"),
             SAY("B1", 11, "3", "Z1"),
             {.name = "B2", .ms = 15, .kind = U, .seen = "Z1", .fields = {{3, "y"}}}},
        .expected = "2=2 3=y | frozen 2:B1<F1!(3)"};
    story_check(&story);
    story_check_outcomes(&story, "applied");
    story.writes[3] = (struct story_write){.name = "D1", .ms = 15, .kind = D, .seen = "Z1"};
    story.writes[2].name = "C1";
    story.expected = "2=2 3=x | frozen 2:C1<F1!(3) delete row:D1<C1!";
    story_check(&story);
}

static void test_frozen_by_parent__a_line_added_too_late_counts_for_nothing(void **state)
{
    (void)state;
    const struct satchel_freeze freeze = {.order = story_order("F1", 20)};
    struct story story = {.columns[2] = {.frozen = SATCHEL_FROZEN_PARENT},
                          .rules = {.is_frozen_by_parent = true},
                          .context = {.parent_freeze = &freeze},
                          .writes = {{.name = "A1",
                                      .ms = 1,
                                      .kind = SATCHEL_OP_INSERT,
                                      .fields = {{2, "1"}, {3, "x"}}}},
                          .expected = "3=x | frozen 2:A1<F1!(1)"};
    story_check(&story);
    story_check_outcomes(&story, "frozen applied");
    story.writes[0].name = "F1"; /* the change set that froze the parent */
    story.expected = "2=1 3=x |";
    story_check(&story);
}

/* ---- policies ---- */

static void test_policy__delete_wins_takes_what_it_had_not_seen(void **state)
{
    (void)state;
    struct story story = {
        .rules = {.delete_policy = SATCHEL_DELETE_DELETE_WINS},
        .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = {{2, "1"}}},
                   SAY("A1", 10, "2", "Z1"),
                   {.name = "D1", .ms = 5, .kind = D, .seen = "Z1"}},
        .expected = "gone |"};
    story_check(&story);
    story_check_outcomes(&story, "applied");
    story.writes[3] = (struct story_write){
        .name = "D2", .ms = 30, .kind = SATCHEL_OP_INSERT, .fields = {{3, "new"}}};
    story.expected = "2=2 3=new |"; /* an edit that the new life's delete had not seen */
    story_check(&story);
}

static void test_policy__restrict_merges_as_edit_wins(void **state)
{
    (void)state;
    story_check(&(struct story){
        .rules = {.delete_policy = SATCHEL_DELETE_RESTRICT},
        .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = {{2, "1"}}},
                   SAY("A1", 10, "2", "Z1"),
                   {.name = "D1", .ms = 5, .kind = D, .seen = "Z1"}},
        .expected = "2=2 | delete row:D1<A1!"});
}

static void test_freeze__a_damaged_version_is_corrupt_or_another(void **state)
{
    (void)state;
    story_check_damage(&(struct story){
        FREEZING, .columns[2] = {.frozen = 1},
        .columns[3] = {.rule = SATCHEL_RULE_FOLLOWS, .unit = 2, .frozen = 1},
        .writes = {
            DRAFT,
            SEND("F1", 20, "Z1"),
            {.name = "A1", .ms = 10, .kind = U, .seen = "Z1", .fields = {{3, "why"}}},
            {.name = "B1", .ms = 11, .kind = U, .seen = "Z1", .fields = {{2, "9"}, {3, "b"}}},
            {.name = "D1", .ms = 12, .kind = D, .seen = "Z1"},
            SAY("C1", 30, "2", "Z1 F1")}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze__only_what_the_freezing_write_had_seen_counts),
        cmocka_unit_test(test_freeze__counts_what_itself_had_seen_not_what_its_own_writes_had),
        cmocka_unit_test(test_freeze__the_first_by_order_freezes),
        cmocka_unit_test(test_freeze__one_change_set_writes_and_freezes),
        cmocka_unit_test(test_freeze__every_rule_keeps_what_it_made_of_what_counts),
        cmocka_unit_test(test_freeze__followers_are_frozen_with_their_leader),
        cmocka_unit_test(test_freeze__a_frozen_row_stays_when_a_delete_comes_too_late),
        cmocka_unit_test(test_freeze__a_damaged_version_is_corrupt_or_another),
        cmocka_unit_test(test_frozen_by_parent__what_its_freeze_had_not_seen_does_not_count),
        cmocka_unit_test(test_frozen_by_parent__a_line_added_too_late_counts_for_nothing),
        cmocka_unit_test(test_policy__delete_wins_takes_what_it_had_not_seen),
        cmocka_unit_test(test_policy__restrict_merges_as_edit_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
