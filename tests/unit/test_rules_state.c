/* @state and what follows it: the decision tables. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define U SATCHEL_OP_UPDATE
#define MACHINE .columns[2] = {.rule = SATCHEL_RULE_STATE}
/* Column 1 and 3 follow the state in column 2. */
#define FOLLOWED                                             \
    .columns[1] = {.rule = SATCHEL_RULE_FOLLOWS, .unit = 2}, \
    .columns[2] = {.rule = SATCHEL_RULE_STATE},              \
    .columns[3] = {.rule = SATCHEL_RULE_FOLLOWS, .unit = 2}
#define DRAFT                                                                        \
    {                                                                                \
        .name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = { {2, "draft"} } \
    }
#define STEP(who, when, step, knowing)                                               \
    {                                                                                \
        .name = who, .ms = when, .kind = U, .seen = knowing, .fields = { {2, step} } \
    }
#define STEP_WITH(who, when, step, one, three, knowing)                  \
    {                                                                    \
        .name = who, .ms = when, .kind = U, .seen = knowing, .fields = { \
            {1, one},                                                    \
            {2, step},                                                   \
            {3, three}                                                   \
        }                                                                \
    }
#define FOLLOWER(who, when, column, what, knowing)                                        \
    {                                                                                     \
        .name = who, .ms = when, .kind = U, .seen = knowing, .fields = { {column, what} } \
    }

static void test_state__the_furthest_step_counts_then_the_later(void **state)
{
    (void)state;
    story_check(&(struct story){MACHINE,
                                .writes = {DRAFT, STEP("A1", 30, "[\"draft\",\"sent\"]", "Z1"),
                                           STEP("B1", 20, "[\"draft\",\"won\"]", "Z1")},
                                .expected = "2=won | 2:A1<B1(sent)"});
    story_check(&(struct story){MACHINE,
                                .writes = {DRAFT, STEP("A1", 30, "[\"draft\",\"lost\"]", "Z1"),
                                           STEP("B1", 20, "[\"draft\",\"won\"]", "Z1")},
                                .expected = "2=won | 2:A1<B1!(lost)"});
    story_check(&(struct story){MACHINE,
                                .writes = {DRAFT, STEP("A1", 30, "[\"draft\",\"sent\"]", "Z1"),
                                           STEP("B1", 20, "[\"draft\",\"sent\"]", "Z1")},
                                .expected = "2=sent |"});
}

static void test_state__a_step_back_that_saw_the_state_counts(void **state)
{
    (void)state;
    story_check(&(struct story){MACHINE,
                                .writes = {DRAFT, STEP("A1", 30, "[\"draft\",\"sent\"]", "Z1"),
                                           STEP("B1", 20, "[\"sent\",\"draft\"]", "Z1 A1")},
                                .expected = "2=draft |"});
    /* The case of three: keeping only the winner would not converge. */
    story_check(&(struct story){MACHINE,
                                .writes = {DRAFT, STEP("X1", 25, "[\"draft\",\"sent\"]", "Z1"),
                                           STEP("A1", 30, "[\"draft\",\"won\"]", "Z1"),
                                           STEP("B1", 40, "[\"won\",\"draft\"]", "Z1 A1")},
                                .expected = "2=sent | 2:B1<X1(draft)"});
}

static void test_state__one_the_machine_does_not_know_ranks_below_all(void **state)
{
    (void)state;
    story_check(&(struct story){
        MACHINE,
        .writes = {{.name = "Z1", .ms = 9, .kind = SATCHEL_OP_INSERT, .fields = {{4, "x"}}},
                   STEP("A1", 30, "[null,\"draft\"]", "Z1"),
                   STEP("B1", 20, "[null,\"sent\"]", "Z1")},
        .expected = "2=sent 4=x | 2:A1<B1(draft)"});
}

static void test_state__an_illegal_step_is_refused_by_its_own_old_and_new(void **state)
{
    (void)state;
    story_check_refused(
        &(struct story){MACHINE, .writes = {DRAFT, STEP("A1", 30, "[\"lost\",\"draft\"]", "Z1")}},
        "may not go back");
    story_check_refused(
        &(struct story){MACHINE, .writes = {DRAFT, STEP("A1", 30, "[\"draft\",\"sold\"]", "Z1")}},
        "no state of the machine");
    story_check_refused(&(struct story){MACHINE, .writes = {DRAFT, STEP("A1", 30, "sent", "Z1")}},
                        "column 2");
    /* Legal by itself, though the row has gone further since. */
    story_check_outcomes(
        &(struct story){MACHINE, .writes = {DRAFT, STEP("A1", 30, "[\"draft\",\"won\"]", "Z1"),
                                            STEP("B1", 40, "[\"sent\",\"draft\"]", "Z1")}},
        "superseded");
}

static void test_follows__the_winner_brings_its_own(void **state)
{
    (void)state;
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1"),
                   STEP_WITH("B1", 20, "[\"draft\",\"won\"]", NULL, "12", "Z1")},
        .expected = "2=won 3=12 | 2:A1<B1!(dear)(lost)(NULL)"});
}

static void test_follows__alone_it_lies_on_the_write_its_author_saw(void **state)
{
    (void)state;
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1"),
                   FOLLOWER("B1", 5, 1, "too dear", "Z1 A1")},
        .expected = "1=too dear 2=lost |"});
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1"),
                   FOLLOWER("B1", 50, 1, "a note", "Z1")},
        .expected = "1=dear 2=lost |"});
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", "1", "Z1"),
                   STEP_WITH("C1", 20, "[\"draft\",\"won\"]", "good", "2", "Z1"),
                   FOLLOWER("B1", 50, 1, "too dear", "Z1 A1"),
                   FOLLOWER("D1", 60, 3, "3", "Z1 A1 C1")},
        .expected = "1=good 2=won 3=3 | 2:A1<C1!(too dear)(lost)(3)"});
}

static void test_follows__two_alone_unseen_are_as_lww(void **state)
{
    (void)state;
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT, FOLLOWER("A1", 30, 1, "a", "Z1"), FOLLOWER("B1", 20, 1, "b", "Z1")},
        .expected = "1=a 2=draft |"});
    story_check(&(struct story){FOLLOWED,
                                .writes = {DRAFT, FOLLOWER("A1", 30, 1, "a", "Z1"),
                                           FOLLOWER("B1", 20, 1, "b", "Z1"),
                                           FOLLOWER("C1", 10, 1, "c", "Z1 A1")},
                                .expected = "1=b 2=draft |"});
}

static void test_follows__lies_on_the_defaults_until_somebody_writes_the_leader(void **state)
{
    (void)state;
    story_check(&(struct story){FOLLOWED,
                                .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT},
                                           FOLLOWER("A1", 30, 1, "a", "Z1"),
                                           FOLLOWER("B1", 40, 1, "b", "Z1")},
                                .expected = "1=b |"});
    story_check(
        &(struct story){FOLLOWED,
                        .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT},
                                   FOLLOWER("A1", 30, 1, "a", "Z1"),
                                   STEP_WITH("B1", 20, "[null,\"draft\"]", NULL, NULL, "Z1"),
                                   FOLLOWER("C1", 10, 3, "c", "Z1 B1")},
                        .expected = "2=draft 3=c |"});
}

/* A write to a follower that lies on nothing is still one that a delete must have seen. */
static void test_follows__a_superseded_one_keeps_the_row_from_a_delete(void **state)
{
    (void)state;
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT,
                   STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1"),
                   FOLLOWER("B1", 50, 1, "a note", "Z1"),
                   {.name = "D1", .ms = 60, .kind = SATCHEL_OP_DELETE, .seen = "Z1 A1"}},
        .expected = "1=dear 2=lost | delete row:D1<B1!"});
    story_check(&(struct story){
        FOLLOWED,
        .writes = {DRAFT,
                   FOLLOWER("B1", 50, 1, "a note", "Z1"),
                   STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1 B1"),
                   {.name = "D1", .ms = 60, .kind = SATCHEL_OP_DELETE, .seen = "Z1 B1 A1"}},
        .expected = "gone |"});
}

static const struct satchel_span roles[] = {{(const uint8_t *)"hq", 2}};

/* A write of a lower role that knew the value loses with all it carried. */
static void test_follows__a_losing_write_to_the_leader_brings_nothing(void **state)
{
    (void)state;
    story_check(&(struct story){
        .columns[1] = {.rule = SATCHEL_RULE_AUTHORITY, .roles = roles, .role_count = 1},
        .columns[2] = {.rule = SATCHEL_RULE_FOLLOWS, .unit = 1},
        .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT},
                   {.name = "A1",
                    .ms = 10,
                    .kind = U,
                    .seen = "Z1",
                    .role = "hq",
                    .fields = {{1, "A"}, {2, "big"}}},
                   {.name = "B1",
                    .ms = 20,
                    .kind = U,
                    .seen = "Z1 A1",
                    .fields = {{1, "C"}, {2, "small"}}},
                   {.name = "C1", .ms = 15, .kind = U, .seen = "Z1 A1", .fields = {{2, "huge"}}}},
        .expected = "1=A 2=huge | 1:B1<A1(C)(small)"});
}

static void test_follows__without_memory_nothing_happens(void **state)
{
    (void)state;
    const struct story story = {
        FOLLOWED,
        .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", "1", "Z1"),
                   STEP_WITH("C1", 20, "[\"draft\",\"won\"]", "good", "2", "Z1"),
                   FOLLOWER("B1", 50, 1, "too dear", "Z1 A1"),
                   FOLLOWER("D1", 60, 3, "3", "Z1 A1 C1")},
        .expected = "1=good 2=won 3=3 | 2:A1<C1!(too dear)(lost)(3)"};
    story_check_memory(&story);
}

static void test_follows__of_a_group_moves_with_it(void **state)
{
    (void)state;
    story_check(&(struct story){
        .columns[1] = {.rule = SATCHEL_RULE_FOLLOWS, .unit = 2},
        .columns[2] = {.rule = SATCHEL_RULE_GROUP},
        .columns[3] = {.rule = SATCHEL_RULE_GROUP, .unit = 2},
        .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT, .fields = {{2, "1"}}},
                   {.name = "A1",
                    .ms = 10,
                    .kind = U,
                    .seen = "Z1",
                    .fields = {{1, "a"}, {2, "5"}, {3, "EUR"}}},
                   {.name = "B1",
                    .ms = 20,
                    .kind = U,
                    .seen = "Z1",
                    .fields = {{1, "b"}, {2, "6"}, {3, "CNY"}}},
                   {.name = "C1", .ms = 15, .kind = U, .seen = "Z1 B1", .fields = {{1, "c"}}}},
        .expected = "1=c 2=6 3=CNY | 2:A1<B1(a)(5)(EUR)"});
}

static void test_follows__outcomes(void **state)
{
    (void)state;
    struct story story = {
        FOLLOWED, .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1"),
                             FOLLOWER("B1", 50, 1, "a note", "Z1")}};
    story_check_outcomes(&story, "superseded");
    story.writes[2].seen = "Z1 A1";
    story_check_outcomes(&story, "applied");
    story.writes[2] =
        (struct story_write)STEP_WITH("B1", 5, "[\"draft\",\"won\"]", "x", NULL, "Z1");
    story_check_outcomes(&story, "applied applied applied");
    story.writes[2] =
        (struct story_write)STEP_WITH("B1", 5, "[\"draft\",\"sent\"]", "dear", NULL, "Z1");
    story_check_outcomes(&story, "superseded superseded superseded");
}

static void test_follows__a_damaged_version_is_corrupt_or_another(void **state)
{
    (void)state;
    story_check_damage(&(struct story){
        FOLLOWED,
        .writes = {DRAFT, STEP_WITH("A1", 30, "[\"draft\",\"lost\"]", "dear", NULL, "Z1"),
                   STEP_WITH("C1", 20, "[\"draft\",\"won\"]", "good", "2", "Z1"),
                   FOLLOWER("B1", 50, 1, "a", "Z1 A1"), FOLLOWER("D1", 40, 1, "b", "Z1 A1"),
                   FOLLOWER("E1", 40, 3, "b", "Z1 C1"),
                   STEP_WITH("F1", 25, "[\"draft\",\"sent\"]", "x", "y", "Z1 C1")}});
    story_check_damage(
        &(struct story){FOLLOWED, .writes = {{.name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT},
                                             FOLLOWER("A1", 30, 1, "a", "Z1"),
                                             FOLLOWER("B1", 30, 1, "b", "Z1"),
                                             FOLLOWER("C1", 30, 1, "c", "Z1")}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state__the_furthest_step_counts_then_the_later),
        cmocka_unit_test(test_state__a_step_back_that_saw_the_state_counts),
        cmocka_unit_test(test_state__one_the_machine_does_not_know_ranks_below_all),
        cmocka_unit_test(test_state__an_illegal_step_is_refused_by_its_own_old_and_new),
        cmocka_unit_test(test_follows__the_winner_brings_its_own),
        cmocka_unit_test(test_follows__alone_it_lies_on_the_write_its_author_saw),
        cmocka_unit_test(test_follows__two_alone_unseen_are_as_lww),
        cmocka_unit_test(test_follows__lies_on_the_defaults_until_somebody_writes_the_leader),
        cmocka_unit_test(test_follows__a_superseded_one_keeps_the_row_from_a_delete),
        cmocka_unit_test(test_follows__a_losing_write_to_the_leader_brings_nothing),
        cmocka_unit_test(test_follows__of_a_group_moves_with_it),
        cmocka_unit_test(test_follows__outcomes),
        cmocka_unit_test(test_follows__without_memory_nothing_happens),
        cmocka_unit_test(test_follows__a_damaged_version_is_corrupt_or_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
