/* A row among several devices: fields apart, deletes, lives, revival, what is refused, what is
 * told. */
#include "row_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define INTEGER(i) satchel_value_integer(i)
#define NOTHING satchel_value_null()

static struct kit_write delete_of(const char *name, int64_t ms, const char *seen)
{
    return (struct kit_write){.name = name, .kind = SATCHEL_OP_DELETE, .ms = ms, .seen = seen};
}

static struct kit_write update_of(const char *name, int64_t ms, const char *seen, uint32_t column)
{
    return (struct kit_write){.name = name,
                              .kind = SATCHEL_OP_UPDATE,
                              .ms = ms,
                              .seen = seen,
                              .fields = {{column, INTEGER(ms)}},
                              .field_count = 1};
}

static int setup(void **state)
{
    struct kit *kit = malloc(sizeof *kit);
    if (!kit)
        return -1;
    kit_init(kit);
    *state = kit;
    return 0;
}

static int teardown(void **state)
{
    kit_deinit(*state);
    free(*state);
    return 0;
}

/* ---- fields and inserts ---- */

static void test_row__different_fields_of_one_row_all_survive(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_update(kit, "B1", 20, "A1", KIT_LWW, INTEGER(2));
    kit_update(kit, "C1", 20, "A1", KIT_OPEN, kit_text("won"));
    kit_expect(kit, KIT_LWW, INTEGER(2));
    kit_expect(kit, KIT_OPEN, kit_text("won"));
    kit_expect_conflicts(kit, "");
}

static void test_row__an_insert_over_a_row_never_deleted_is_concurrent(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    const struct kit_write insert = {.name = "B1",
                                     .kind = SATCHEL_OP_INSERT,
                                     .ms = 20,
                                     .seen = "A1", /* whatever its `seen` */
                                     .fields = {{KIT_LWW, INTEGER(2)}},
                                     .field_count = 1};
    assert_int_equal(kit_merge_only(kit, &insert), SATCHEL_OK);
    assert_true(kit->result.existed_before);
    kit_expect(kit, KIT_LWW, INTEGER(2));
    kit_expect_conflicts(kit, "1:A1<B1");
    kit_insert(kit, "B2", 5, KIT_LWW, INTEGER(3)); /* sees its own device's */
    kit_expect(kit, KIT_LWW, INTEGER(1));
    kit_expect_conflicts(kit, "1:B2<A1");
}

static void test_row__a_pending_field_saw_what_its_first_pending_write_saw(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "Z1", 1, KIT_LWW, INTEGER(0));
    kit_update(kit, "B1", 20, "Z1", KIT_LWW, INTEGER(2));
    kit_update(kit, "A1", 10, "Z1", KIT_LWW, INTEGER(1));
    /* A pulled B1 while its own A1 was pending, so B's value was never on its screen. */
    struct kit_write write = update_of("A2", 30, "Z1 B1", KIT_LWW);
    write.exceptions[0] =
        (struct satchel_exception){KIT_LWW, {SATCHEL_VIEW_SEEN, kit_vector(kit, "Z1")}};
    write.exception_count = 1;
    assert_int_equal(kit_merge(kit, &write), SATCHEL_OK);
    kit_expect(kit, KIT_LWW, INTEGER(30));
    kit_expect_conflicts(kit, "1:B1<A2");
}

static void test_row__an_exception_on_a_group_holds_for_all_its_columns(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "Z1", 1, KIT_CURRENCY, kit_text("CNY"));
    kit_update(kit, "B1", 20, "Z1", KIT_CURRENCY, kit_text("EUR"));
    struct kit_write write = update_of("A1", 30, "Z1 B1", KIT_CURRENCY);
    write.exceptions[0] = (struct satchel_exception){KIT_AMOUNT, {SATCHEL_VIEW_NONE, {NULL, 0}}};
    write.exception_count = 1;
    assert_int_equal(kit_merge(kit, &write), SATCHEL_OK);
    kit_expect_conflicts(kit, "5:B1<A1");
}

/* ---- deletes ---- */

static void test_delete__that_saw_all_needs_no_timeline(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_update(kit, "B1", 20, "A1", KIT_OPEN, kit_text("won"));
    const struct kit_write delete = delete_of("C1", 30, "A1 B1");
    assert_int_equal(kit_merge_only(kit, &delete), SATCHEL_OK);
    assert_false(kit->row.exists);
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_APPLIED);
    assert_true(kit->result.existed_before);
    assert_true(kit->result.changed[KIT_LWW]);
    assert_true(kit->result.changed[KIT_OPEN]);
    assert_false(kit->result.changed[KIT_MAX]); /* was at its default */
    assert_false(kit->result.changed[KIT_ID]);
    kit_expect_conflicts(kit, "");
}

static void test_delete__of_a_row_its_own_device_just_made_needs_no_timeline(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    const struct kit_write delete = delete_of("A2", 30, "");
    assert_int_equal(kit_merge_only(kit, &delete), SATCHEL_OK);
    assert_false(kit->row.exists);
}

static void test_delete__beside_an_unseen_edit_needs_the_timeline_and_loses(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_update(kit, "B1", 20, "A1", KIT_OPEN, kit_text("won"));
    const struct kit_write delete = delete_of("C1", 30, "A1");
    assert_int_equal(kit_merge_only(kit, &delete), SATCHEL_NEED_TIMELINE);
    kit_expect(kit, KIT_LWW, INTEGER(1));
    kit_delete(kit, "C1", 30, "A1");
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_SUPERSEDED);
    kit_expect(kit, KIT_LWW, INTEGER(1));
    kit_expect(kit, KIT_OPEN, kit_text("won"));
    kit_expect_conflicts(kit, "row:C1<B1");
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit->rules, &kit->row, &kit->arena, &list), SATCHEL_OK);
    assert_int_equal(list.items[0].severity, SATCHEL_SEVERITY_REVIEW);
    assert_null(list.items[0].lost);
    /* Another edit that has not seen it is one more reason; one that has seen it settles it. */
    kit_update(kit, "D1", 40, "A1", KIT_MAX, INTEGER(1));
    kit_expect_conflicts(kit, "row:C1<D1");
    kit_update(kit, "D2", 50, "A1 C1", KIT_MAX, INTEGER(2));
    kit_expect_conflicts(kit, "");
    /* From now on every delete is judged by the timeline. */
    const struct kit_write again = delete_of("E1", 60, "A1 B1 C1 D1 D2");
    assert_int_equal(kit_merge_only(kit, &again), SATCHEL_NEED_TIMELINE);
    kit_delete(kit, "E1", 60, "A1 B1 C1 D1 D2");
    assert_false(kit->row.exists);
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_APPLIED);
}

static void test_delete__unseen_by_a_counter_or_max_write_counts_as_well(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_ID, NOTHING);
    kit_update(kit, "B1", 20, "A1", KIT_COUNTER, INTEGER(1));
    kit_delete(kit, "C1", 30, "A1");
    kit_expect(kit, KIT_COUNTER, INTEGER(101));
    kit_expect_conflicts(kit, "row:C1<B1");
}

static void test_delete__unseen_by_a_bare_insert_counts_as_well(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_insert(kit, "B1", 20, KIT_ID, NOTHING);
    const struct kit_write delete = delete_of("C1", 30, "A1");
    assert_int_equal(kit_merge_only(kit, &delete), SATCHEL_NEED_TIMELINE);
    kit_delete(kit, "C1", 30, "A1");
    assert_true(kit->row.exists);
    kit_expect_conflicts(kit, "row:C1<B1");
}

static void test_delete__with_exceptions_is_judged_by_the_timeline(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "Z1", 1, KIT_LWW, INTEGER(0));
    kit_update(kit, "B1", 20, "Z1", KIT_LWW, INTEGER(2));
    kit_update(kit, "A1", 10, "Z1", KIT_LWW, INTEGER(1));
    struct kit_write delete = delete_of("A2", 30, "Z1 B1");
    delete.exceptions[0] =
        (struct satchel_exception){KIT_LWW, {SATCHEL_VIEW_SEEN, kit_vector(kit, "Z1")}};
    delete.exception_count = 1;
    assert_int_equal(kit_merge_only(kit, &delete), SATCHEL_NEED_TIMELINE);
    assert_int_equal(kit_merge(kit, &delete), SATCHEL_OK);
    assert_true(kit->row.exists); /* B's value was hidden behind A's pending one */
    kit_expect_conflicts(kit, "1:A1<B1 row:A2<B1");
}

static void test_delete__on_top_of_an_own_pending_edit_is_judged_by_the_timeline(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "Z1", 1, KIT_LWW, INTEGER(0));
    kit_update(kit, "A1", 10, "Z1", KIT_LWW, INTEGER(1));
    /* A was moved to a node without Z1: what its own A1 stood on is not covered any more. */
    const struct kit_write delete = delete_of("A2", 30, "");
    assert_int_equal(kit_merge_only(kit, &delete), SATCHEL_NEED_TIMELINE);
    kit_delete(kit, "A2", 30, "");
    assert_true(kit->row.exists);
}

static void test_delete__without_edit_wins_takes_unseen_edits_with_it(void **state)
{
    struct kit *kit = *state;
    kit->rules.delete_policy = SATCHEL_DELETE_DELETE_WINS;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_update(kit, "B1", 20, "A1", KIT_LWW, INTEGER(2));
    kit_delete(kit, "C1", 30, "A1");
    assert_false(kit->row.exists);
}

static void test_delete__under_forbid_is_refused(void **state)
{
    struct kit *kit = *state;
    kit->rules.delete_policy = SATCHEL_DELETE_FORBID;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    const struct kit_write delete = delete_of("A2", 30, "");
    assert_int_equal(kit_merge(kit, &delete), SATCHEL_REFUSED);
    assert_non_null(strstr(kit->error.message, "delete=forbid"));
    kit_expect(kit, KIT_LWW, INTEGER(1));
}

/* ---- revival and lives ---- */

static void test_lives__an_unseen_edit_revives_a_deleted_row_with_its_values(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_update(kit, "A2", 11, "", KIT_COUNTER, INTEGER(5));
    kit_delete(kit, "C1", 30, "A1 A2");
    assert_false(kit->row.exists);
    kit_update(kit, "B1", 20, "A1", KIT_OPEN, kit_text("won"));
    assert_false(kit->result.existed_before);
    assert_true(kit->result.changed[KIT_LWW]);
    assert_true(kit->result.changed[KIT_OPEN]);
    assert_false(kit->result.changed[KIT_MAX]);
    kit_expect(kit, KIT_LWW, INTEGER(1));
    kit_expect(kit, KIT_COUNTER, INTEGER(105));
    kit_expect(kit, KIT_OPEN, kit_text("won"));
    kit_expect_conflicts(kit, "row:C1<B1");
}

static void test_lives__an_edit_that_some_delete_saw_does_not_revive(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_delete(kit, "C1", 30, "A1");
    kit_update(kit, "B1", 20, "A1", KIT_LWW, INTEGER(2)); /* unseen by C1: alive */
    kit_expect_conflicts(kit, "row:C1<B1");
    kit_delete(kit, "D1", 40, "A1 B1"); /* never heard of C1 */
    assert_false(kit->row.exists);
    kit_expect_conflicts(kit, "");
    kit_update(kit, "E1", 50, "A1", KIT_LWW, INTEGER(3)); /* unseen by both */
    kit_expect(kit, KIT_LWW, INTEGER(3));
    kit_expect_conflicts(kit, "1:B1<E1 row:C1<E1 row:D1<E1");
}

static void test_lives__an_insert_that_saw_the_delete_starts_anew(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_update(kit, "A2", 20, "", KIT_COUNTER, INTEGER(5));
    kit_delete(kit, "B1", 30, "A1 A2");
    const struct kit_write insert = {.name = "C1",
                                     .kind = SATCHEL_OP_INSERT,
                                     .ms = 40,
                                     .seen = "A1 A2 B1",
                                     .fields = {{KIT_COUNTER, INTEGER(1)}},
                                     .field_count = 1};
    assert_int_equal(kit_merge_only(kit, &insert), SATCHEL_NEED_TIMELINE);
    assert_int_equal(kit_merge(kit, &insert), SATCHEL_OK);
    kit_expect(kit, KIT_LWW, NOTHING);
    kit_expect(kit, KIT_COUNTER, INTEGER(101)); /* the first life's 5 no longer counts */
    kit_expect_conflicts(kit, "");
    /* An edit of the first life that its delete had not seen counts still. */
    kit_update(kit, "D1", 25, "A1 A2", KIT_COUNTER, INTEGER(10));
    kit_expect(kit, KIT_COUNTER, INTEGER(111));
    kit_update(kit, "E1", 50, "A1 A2 B1 C1", KIT_LWW, INTEGER(7));
    kit_expect(kit, KIT_LWW, INTEGER(7));
    kit_expect_conflicts(kit, "");
}

static void test_lives__an_insert_ends_what_the_delete_it_saw_had_seen(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_delete(kit, "B1", 20, "A1");
    kit_delete(kit, "C1", 30, "A1 B1"); /* pending elsewhere when B1 came: deletes the row again */
    struct kit_write insert = {.name = "C2", .kind = SATCHEL_OP_INSERT, .ms = 40, .seen = "A1 B1"};
    insert.exceptions[0] =
        (struct satchel_exception){SATCHEL_COLUMN_ROW, {SATCHEL_VIEW_NONE, {NULL, 0}}};
    insert.exception_count = 1; /* of the row it saw its own device's writes only: C1, and so B1 */
    assert_int_equal(kit_merge(kit, &insert), SATCHEL_OK);
    assert_true(kit->row.exists);
    kit_expect(kit, KIT_LWW, NOTHING);
    kit_expect_conflicts(kit, "");
}

static void test_lives__an_insert_that_missed_the_delete_is_of_the_old_life(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_delete(kit, "B1", 20, "A1");
    kit_insert(kit, "C1", 5, KIT_OPEN, kit_text("won")); /* unseen by B1, so the row lives */
    kit_expect(kit, KIT_LWW, INTEGER(1));
    kit_expect(kit, KIT_OPEN, kit_text("won"));
    kit_expect_conflicts(kit, "row:B1<C1");
}

static void test_lives__a_deleted_row_has_no_open_conflicts(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_insert(kit, "B1", 20, KIT_LWW, INTEGER(2));
    kit_expect_conflicts(kit, "1:A1<B1");
    kit_delete(kit, "C1", 30, "A1 B1");
    kit_expect_conflicts(kit, "");
    kit_update(kit, "D1", 15, "A1", KIT_MAX, INTEGER(1));
    kit_expect_conflicts(kit, "1:A1<B1 row:C1<D1"); /* open again with the row */
}

/* ---- refusals and failures ---- */

static void test_row__refuses_what_breaks_a_rule_and_stays_as_it_was(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    const struct satchel_version *version = kit->row.version;
    struct kit_write write = update_of("B1", 20, "A1", KIT_ID);
    assert_int_equal(kit_merge(kit, &write), SATCHEL_REFUSED);
    assert_non_null(strstr(kit->error.message, "primary key"));
    write = update_of("B1", 20, "A1", KIT_COLUMNS);
    assert_int_equal(kit_merge(kit, &write), SATCHEL_REFUSED);
    assert_non_null(strstr(kit->error.message, "column 12"));
    write = update_of("B1", 20, "A1", KIT_OPEN);
    write.fields[1] = (struct satchel_field){KIT_LWW, INTEGER(1)};
    write.field_count = 2;
    assert_int_equal(kit_merge(kit, &write), SATCHEL_REFUSED);
    write.field_count = 0;
    assert_int_equal(kit_merge(kit, &write), SATCHEL_REFUSED);
    write = delete_of("B1", 20, "A1");
    write.field_count = 1;
    assert_int_equal(kit_merge(kit, &write), SATCHEL_REFUSED);
    assert_ptr_equal(kit->row.version, version);
    assert_int_equal(kit->row.values[KIT_LWW].integer, 1);
}

static void test_row__an_update_or_delete_of_a_row_never_inserted_is_refused(void **state)
{
    struct kit *kit = *state;
    const struct kit_write update = update_of("A1", 10, "", KIT_LWW);
    assert_int_equal(kit_merge(kit, &update), SATCHEL_REFUSED);
    assert_non_null(strstr(kit->error.message, "no such row"));
    const struct kit_write delete = delete_of("A1", 10, "");
    assert_int_equal(kit_merge(kit, &delete), SATCHEL_REFUSED);
    assert_false(kit->row.exists);
    struct satchel_write write = kit_make(kit, &update);
    assert_int_equal(satchel_row_rebuild(&kit->rules, &kit->row, &write, 1, &kit->arena,
                                         &kit->result, &kit->error),
                     SATCHEL_REFUSED);
    assert_int_equal(satchel_row_rebuild(&kit->rules, &kit->row, &write, 0, &kit->arena,
                                         &kit->result, &kit->error),
                     SATCHEL_INVALID);
}

/* Every allocation in turn fails: the merge says so and the row is what it was. */
static void test_row__out_of_memory_leaves_the_row_unchanged(void **state)
{
    struct kit *kit = *state;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_delete(kit, "B1", 20, "A1");
    kit_update(kit, "C1", 15, "A1", KIT_LWW, INTEGER(2));
    const struct satchel_version *version = kit->row.version;
    struct kit_write write = update_of("D1", 40, "A1", KIT_LWW);
    write.fields[1] = (struct satchel_field){KIT_AMOUNT, INTEGER(4)};
    write.fields[2] = (struct satchel_field){KIT_CURRENCY, kit_text("EUR")};
    write.field_count = 3;
    kit->writes[kit->write_count] = kit_make(kit, &write);
    bool rebuilds = false;
    for (size_t bytes = 0;; bytes += 16) {
        struct satchel_arena arena;
        satchel_arena_init(&arena, bytes, NULL);
        enum satchel_status status =
            rebuilds ? satchel_row_rebuild(&kit->rules, &kit->row, kit->writes,
                                           kit->write_count + 1, &arena, &kit->result, &kit->error)
                     : satchel_row_merge(&kit->rules, &kit->row, &kit->writes[kit->write_count],
                                         &arena, &kit->result, &kit->error);
        if (status == SATCHEL_OK) {
            assert_int_equal(kit->row.values[KIT_LWW].integer, 40);
            /* Once by merging, once by rebuilding the row as it was before. */
            kit->row.version = (struct satchel_version *)version;
            kit->row.values[KIT_LWW] = INTEGER(2);
            kit->row.values[KIT_AMOUNT] = INTEGER(0);
            kit->row.values[KIT_CURRENCY] = NOTHING;
            satchel_arena_deinit(&arena);
            if (rebuilds)
                return;
            rebuilds = true;
            bytes = 0;
            continue;
        }
        satchel_arena_deinit(&arena);
        assert_int_equal(status, SATCHEL_NOMEM);
        assert_ptr_equal(kit->row.version, version);
        assert_int_equal(kit->row.values[KIT_LWW].integer, 2);
        assert_int_equal(kit->row.values[KIT_AMOUNT].integer, 0);
    }
}

/* ---- what the caller is told ---- */

static void test_result__tells_outcome_and_change_of_each_column(void **state)
{
    struct kit *kit = *state;
    struct kit_write write = {.name = "A1", .kind = SATCHEL_OP_INSERT, .ms = 50, .field_count = 3};
    write.fields[0] = (struct satchel_field){KIT_LWW, INTEGER(1)};
    write.fields[1] = (struct satchel_field){KIT_OPEN, kit_text("open")};
    write.fields[2] = (struct satchel_field){KIT_COUNTER, INTEGER(1)};
    assert_int_equal(kit_merge(kit, &write), SATCHEL_OK);
    assert_false(kit->result.existed_before);
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_APPLIED);
    assert_int_equal(kit->result.outcomes[1], SATCHEL_OUTCOME_APPLIED);
    assert_int_equal(kit->result.outcomes[2], SATCHEL_OUTCOME_MERGED);
    assert_true(kit->result.changed[KIT_LWW]);
    assert_false(kit->result.changed[KIT_OPEN]);
    assert_true(kit->result.changed[KIT_COUNTER]);
    assert_false(kit->result.changed[KIT_ID]);

    kit_update(kit, "B1", 40, "", KIT_LWW, INTEGER(1)); /* loses by order, but says the same */
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_APPLIED);
    assert_false(kit->result.changed[KIT_LWW]);
    kit_update(kit, "C1", 45, "", KIT_LWW, INTEGER(2));
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_SUPERSEDED);
    kit_update(kit, "C2", 60, "A1 B1", KIT_LWW, INTEGER(2));
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_APPLIED);
    assert_true(kit->result.changed[KIT_LWW]);
    assert_true(kit->result.existed_before);
}

static void test_result__an_edit_that_stays_deleted_is_superseded(void **state)
{
    struct kit *kit = *state;
    kit->rules.delete_policy = SATCHEL_DELETE_DELETE_WINS;
    kit_insert(kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_delete(kit, "B1", 20, "A1");
    kit_update(kit, "C1", 30, "A1", KIT_LWW, INTEGER(2));
    assert_false(kit->row.exists);
    assert_int_equal(kit->result.outcomes[0], SATCHEL_OUTCOME_SUPERSEDED);
    assert_false(kit->result.changed[KIT_LWW]);
}

static void test_row__keeps_copies_of_what_it_was_given(void **state)
{
    struct kit *kit = *state;
    char bytes[] = "first";
    kit_insert(kit, "A1", 10, KIT_LWW, kit_text(bytes));
    bytes[0] = 'X';
    char loser[] = "loser";
    kit_update(kit, "B1", 5, "", KIT_LWW, kit_text(loser));
    loser[0] = 'X';
    kit_expect(kit, KIT_LWW, kit_text("first"));
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit->rules, &kit->row, &kit->arena, &list), SATCHEL_OK);
    assert_memory_equal(list.items[0].lost->bytes.data, "loser", 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_row__different_fields_of_one_row_all_survive),
        TEST(test_row__an_insert_over_a_row_never_deleted_is_concurrent),
        TEST(test_row__a_pending_field_saw_what_its_first_pending_write_saw),
        TEST(test_row__an_exception_on_a_group_holds_for_all_its_columns),
        TEST(test_delete__that_saw_all_needs_no_timeline),
        TEST(test_delete__of_a_row_its_own_device_just_made_needs_no_timeline),
        TEST(test_delete__beside_an_unseen_edit_needs_the_timeline_and_loses),
        TEST(test_delete__unseen_by_a_counter_or_max_write_counts_as_well),
        TEST(test_delete__unseen_by_a_bare_insert_counts_as_well),
        TEST(test_delete__with_exceptions_is_judged_by_the_timeline),
        TEST(test_delete__on_top_of_an_own_pending_edit_is_judged_by_the_timeline),
        TEST(test_delete__without_edit_wins_takes_unseen_edits_with_it),
        TEST(test_delete__under_forbid_is_refused),
        TEST(test_lives__an_unseen_edit_revives_a_deleted_row_with_its_values),
        TEST(test_lives__an_edit_that_some_delete_saw_does_not_revive),
        TEST(test_lives__an_insert_that_saw_the_delete_starts_anew),
        TEST(test_lives__an_insert_ends_what_the_delete_it_saw_had_seen),
        TEST(test_lives__an_insert_that_missed_the_delete_is_of_the_old_life),
        TEST(test_lives__a_deleted_row_has_no_open_conflicts),
        TEST(test_row__refuses_what_breaks_a_rule_and_stays_as_it_was),
        TEST(test_row__an_update_or_delete_of_a_row_never_inserted_is_refused),
        TEST(test_row__out_of_memory_leaves_the_row_unchanged),
        TEST(test_result__tells_outcome_and_change_of_each_column),
        TEST(test_result__an_edit_that_stays_deleted_is_superseded),
        TEST(test_row__keeps_copies_of_what_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
