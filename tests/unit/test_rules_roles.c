/* @authority, @claim, @server and @key within a row: the decision table of each. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct satchel_span roles[] = {{(const uint8_t *)"hq", 2},
                                            {(const uint8_t *)"manager", 7}};
#define RULED(name) .columns[1] = {.rule = SATCHEL_RULE_##name, .roles = roles, .role_count = 2}
#define INSERT                                           \
    {                                                    \
        .name = "Z1", .ms = 1, .kind = SATCHEL_OP_INSERT \
    }
#define SAY(who, when, what, knowing, as)                                                \
    {                                                                                    \
        .name = who, .ms = when, .kind = SATCHEL_OP_UPDATE, .seen = knowing, .role = as, \
        .fields = {                                                                      \
            {1, what}                                                                    \
        }                                                                                \
    }

static void test_authority__the_highest_role_keeps_the_value_seen_or_unseen(void **state)
{
    (void)state;
    story_check(&(struct story){
        RULED(AUTHORITY),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"), SAY("B1", 20, "b", "Z1", "manager")},
        .expected = "1=a | 1:B1<A1(b)"});
    story_check(&(struct story){
        RULED(AUTHORITY),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"), SAY("B1", 20, "b", "Z1 A1", "manager")},
        .expected = "1=a | 1:B1<A1(b)"});
    story_check(&(struct story){
        RULED(AUTHORITY),
        .writes = {INSERT, SAY("B1", 20, "b", "Z1", "manager"), SAY("A1", 10, "a", "Z1 B1", "hq")},
        .expected = "1=a |"});
    story_check(&(struct story){
        RULED(AUTHORITY),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "manager"), SAY("B1", 20, "b", "Z1", "rep")},
        .expected = "1=a | 1:B1<A1(b)"});
}

static void test_authority__among_one_role_the_latest_head(void **state)
{
    (void)state;
    story_check(
        &(struct story){RULED(AUTHORITY),
                        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"),
                                   SAY("B1", 20, "b", "Z1", "hq"), SAY("C1", 30, "c", "Z1", "rep")},
                        .expected = "1=b | 1:A1<B1(a) 1:C1<B1(c)"});
    story_check(&(struct story){
        RULED(AUTHORITY),
        .writes = {INSERT, SAY("A1", 90, "a", "Z1", "hq"), SAY("B1", 20, "b", "Z1 A1", "hq")},
        .expected = "1=b |"});
}

/* C knows A's value and is of a lower role: A stays, though no longer a head. When somebody writes
 * knowing C, only that is open; A's value came from no head all the while. */
static void test_authority__a_value_that_is_no_head_stands_and_goes(void **state)
{
    (void)state;
    story_check(&(struct story){RULED(AUTHORITY),
                                .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"),
                                           SAY("C1", 30, "c", "Z1 A1", "rep"),
                                           SAY("B1", 20, "b", "Z1", "manager")},
                                .expected = "1=a | 1:B1<A1(b) 1:C1<A1(c)"});
    story_check(&(struct story){RULED(AUTHORITY),
                                .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"),
                                           SAY("C1", 30, "c", "Z1 A1", "rep"),
                                           SAY("B1", 5, "b", "Z1 A1", "hq")},
                                .expected = "1=b | 1:C1<B1(c)"});
    story_check(&(struct story){RULED(AUTHORITY),
                                .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"),
                                           SAY("C1", 30, "c", "Z1 A1", "rep"),
                                           SAY("B1", 50, "a", "Z1 A1 C1", "rep")},
                                .expected = "1=a |"});
}

static void test_claim__the_earliest_of_the_highest_role_and_losers_are_for_review(void **state)
{
    (void)state;
    story_check(&(struct story){
        RULED(CLAIM),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "rep"), SAY("B1", 20, "b", "Z1", "rep")},
        .expected = "1=a | 1:B1<A1!(b)"});
    story_check(&(struct story){
        RULED(CLAIM),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "rep"), SAY("B1", 20, "b", "Z1", "manager")},
        .expected = "1=b | 1:A1<B1!(a)"});
    story_check(&(struct story){
        RULED(CLAIM),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "rep"), SAY("B1", 20, "b", "Z1 A1", "rep")},
        .expected = "1=b |"});
    story_check(&(struct story){
        RULED(CLAIM),
        .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"), SAY("B1", 20, "b", "Z1 A1", "hq"),
                   SAY("C1", 15, "c", "Z1", "hq"), SAY("D1", 1, "d", "Z1 A1", "manager")},
        .expected = "1=c | 1:D1<C1!(d) 1:B1<C1!(b)"});
}

static void test_server__the_first_number_told_stands(void **state)
{
    (void)state;
    story_check(&(struct story){RULED(SERVER),
                                .writes = {INSERT, SAY("A1", 10, "S-1", "Z1", "server"),
                                           SAY("B1", 20, "S-2", "Z1", "server")},
                                .expected = "1=S-1 | 1:B1<A1!(S-2)"});
    story_check(&(struct story){RULED(SERVER),
                                .writes = {INSERT, SAY("A1", 10, "S-1", "Z1", "server"),
                                           SAY("B1", 20, "S-2", "Z1 A1", "server")},
                                .expected = "1=S-2 |"});
}

static void test_key__within_a_row_is_lww_and_a_key_set_apart_stays_text(void **state)
{
    (void)state;
    story_check(&(struct story){
        RULED(KEY),
        .writes = {INSERT, SAY("A1", 10, "91A", "Z1", NULL), SAY("B1", 20, "91B", "Z1", NULL)},
        .expected = "1=91B | 1:A1<B1(91A)"});
    story_check(&(struct story){
        RULED(KEY),
        .writes = {INSERT, SAY("A1", 10, "91A", "Z1", NULL), SAY("B1", 20, "x'91A", "Z1", NULL)},
        .expected = "1=91A |"});
    story_check(&(struct story){
        RULED(KEY_WEAK),
        .writes = {INSERT, SAY("A1", 10, "91A", "Z1", NULL), SAY("B1", 20, "91B", "Z1 A1", NULL)},
        .expected = "1=91B |"});
}

/* Shown through aliases: both names of one account are one value, and no conflict. */
static bool resolve(void *context, uint32_t column, const struct satchel_value *value,
                    struct satchel_value *resolved)
{
    (void)context;
    if (column != 1 || value->type != SATCHEL_TEXT || value->bytes.data[0] != 'y')
        return false;
    *resolved = satchel_value_text(satchel_span_text("x"));
    return true;
}

static void test_reference__is_shown_and_compared_through_aliases(void **state)
{
    (void)state;
    struct story story = {
        .columns[1] = {.rule = SATCHEL_RULE_LWW, .is_reference = true},
        .context = {.resolve = resolve},
        .writes = {INSERT, SAY("A1", 10, "x", "Z1", NULL), SAY("B1", 20, "y", "Z1", NULL)},
        .expected = "1=x |"};
    story_check(&story);
    story_check_outcomes(&story, "applied");
}

static void test_claim__outcomes(void **state)
{
    (void)state;
    const struct story story = {RULED(CLAIM), .writes = {INSERT, SAY("A1", 10, "a", "Z1", "hq"),
                                                         SAY("B1", 20, "b", "Z1 A1", "rep")}};
    story_check_outcomes(&story, "superseded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authority__the_highest_role_keeps_the_value_seen_or_unseen),
        cmocka_unit_test(test_authority__among_one_role_the_latest_head),
        cmocka_unit_test(test_authority__a_value_that_is_no_head_stands_and_goes),
        cmocka_unit_test(test_claim__the_earliest_of_the_highest_role_and_losers_are_for_review),
        cmocka_unit_test(test_claim__outcomes),
        cmocka_unit_test(test_server__the_first_number_told_stands),
        cmocka_unit_test(test_key__within_a_row_is_lww_and_a_key_set_apart_stays_text),
        cmocka_unit_test(test_reference__is_shown_and_compared_through_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
