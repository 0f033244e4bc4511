/* Vectors: what covers what; and what a write had seen, exceptions included. */
#include "row_kit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct satchel_id node(unsigned number)
{
    struct satchel_id id = {{0}};
    id.bytes[0] = (uint8_t)(number >> 8);
    id.bytes[15] = (uint8_t)number;
    return id;
}

static void test_vector__covers_any_position_and_includes_all(void **state)
{
    (void)state;
    const struct satchel_position items[] = {{node(1), 5}, {node(3), 7}};
    const struct satchel_vector vector = {items, 2}, none = {NULL, 0};
    const struct satchel_position at_edge = {node(3), 7}, beyond = {node(3), 8},
                                  unknown = {node(2), 1};
    const struct satchel_vector edge = {&at_edge, 1}, over = {&beyond, 1}, foreign = {&unknown, 1};
    const struct satchel_position two[] = {{node(2), 1}, {node(3), 7}};
    const struct satchel_vector both = {two, 2};
    const struct satchel_id first = node(1), second = node(2);
    assert_int_equal(satchel_vector_get(&vector, &first), 5);
    assert_int_equal(satchel_vector_get(&vector, &second), 0);
    assert_true(satchel_vector_covers(&vector, &edge));
    assert_false(satchel_vector_covers(&vector, &over));
    assert_false(satchel_vector_covers(&vector, &foreign));
    assert_true(satchel_vector_covers(&vector, &both));
    assert_false(satchel_vector_covers(&vector, &none));
    assert_true(satchel_vector_includes(&vector, &edge));
    assert_false(satchel_vector_includes(&vector, &both));
    assert_true(satchel_vector_includes(&vector, &none));
    assert_true(satchel_vector_includes(&none, &none));
    assert_false(satchel_vector_includes(&none, &edge));
}

static void test_vector__raise_keeps_order_and_never_lowers(void **state)
{
    (void)state;
    struct satchel_arena arena;
    satchel_arena_init(&arena, 1 << 20, NULL);
    struct satchel_vector vector = {NULL, 0};
    const unsigned numbers[] = {5, 1, 9, 5, 3, 9, 1};
    const uint64_t seqs[] = {50, 10, 90, 20, 30, 91, 0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct satchel_id id = node(numbers[i]);
        assert_int_equal(satchel_vector_raise(&arena, &vector, &id, seqs[i], &vector), SATCHEL_OK);
    }
    const unsigned expected[] = {1, 3, 5, 9};
    const uint64_t expected_seqs[] = {10, 30, 50, 91};
    assert_int_equal(vector.count, 4);
    for (size_t i = 0; i < 4; i++) {
        struct satchel_id id = node(expected[i]);
        assert_true(satchel_id_equal(&vector.items[i].node, &id));
        assert_int_equal(vector.items[i].seq, expected_seqs[i]);
    }
    struct satchel_id unknown = node(7);
    assert_int_equal(satchel_vector_raise(&arena, &vector, &unknown, 0, &vector), SATCHEL_OK);
    assert_int_equal(vector.count, 4);
    satchel_arena_deinit(&arena);
}

static void test_vector__raise_stops_at_its_limits(void **state)
{
    (void)state;
    static struct satchel_position items[SATCHEL_VECTOR_COUNT_MAX];
    for (unsigned i = 0; i < SATCHEL_VECTOR_COUNT_MAX; i++)
        items[i] = (struct satchel_position){node(i), 1};
    const struct satchel_vector full = {items, SATCHEL_VECTOR_COUNT_MAX};
    struct satchel_vector out = {NULL, 0};
    struct satchel_arena arena;
    satchel_arena_init(&arena, 1 << 20, NULL);
    struct satchel_id known = node(8), unknown = node(5000);
    assert_int_equal(satchel_vector_raise(&arena, &full, &unknown, 1, &out), SATCHEL_LIMIT);
    assert_int_equal(satchel_vector_raise(&arena, &full, &known, 2, &out), SATCHEL_OK);
    assert_int_equal(satchel_vector_get(&out, &known), 2);
    assert_int_equal(items[8].seq, 1);
    satchel_arena_deinit(&arena);
    satchel_arena_init(&arena, 16, NULL);
    assert_int_equal(satchel_vector_raise(&arena, &full, &known, 2, &out), SATCHEL_NOMEM);
    satchel_arena_deinit(&arena);
}

static bool saw(struct kit *kit, const struct satchel_write *write, uint32_t column,
                const char *name)
{
    struct satchel_id device = kit_device(name[0]);
    struct satchel_vector positions = kit_vector(kit, name);
    return satchel_write_saw(write, column, &device, (uint64_t)(name[1] - '0'), &positions);
}

static void test_view__own_earlier_writes_and_what_seen_covers(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    struct satchel_write write = kit_make(
        &kit, &(struct kit_write){.name = "A5", .kind = SATCHEL_OP_UPDATE, .seen = "B1 A7"});
    assert_true(saw(&kit, &write, KIT_LWW, "A4"));
    assert_false(saw(&kit, &write, KIT_LWW, "A5"));
    assert_false(saw(&kit, &write, KIT_LWW, "A7")); /* a device's own order is by number alone */
    assert_true(saw(&kit, &write, KIT_LWW, "B1"));
    assert_false(saw(&kit, &write, KIT_LWW, "B2"));
    kit_deinit(&kit);
}

static void test_view__an_exception_replaces_seen_for_its_column_or_the_row(void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    struct kit_write said = {.name = "A5", .kind = SATCHEL_OP_UPDATE, .seen = "B1 B2"};
    said.exceptions[0] =
        (struct satchel_exception){KIT_LWW, {SATCHEL_VIEW_SEEN, kit_vector(&kit, "B1 C1")}};
    said.exception_count = 1;
    struct satchel_write write = kit_make(&kit, &said);
    assert_true(saw(&kit, &write, KIT_LWW, "B1"));
    assert_false(saw(&kit, &write, KIT_LWW, "B2"));
    assert_true(saw(&kit, &write, KIT_LWW, "C1"));
    assert_true(saw(&kit, &write, KIT_LWW, "A4"));
    assert_true(saw(&kit, &write, KIT_OPEN, "B2"));
    assert_true(saw(&kit, &write, SATCHEL_COLUMN_ROW, "B2"));
    assert_false(saw(&kit, &write, KIT_OPEN, "C1"));

    /* The row's exception holds for every column, together with the column's own. */
    said.exceptions[1] = (struct satchel_exception){
        SATCHEL_COLUMN_ROW, {SATCHEL_VIEW_NODE_ONLY, kit_vector(&kit, "B2 C1")}};
    said.exception_count = 2;
    write = kit_make(&kit, &said);
    assert_false(saw(&kit, &write, KIT_LWW, "B1"));
    assert_false(saw(&kit, &write, KIT_LWW, "B2"));
    assert_true(saw(&kit, &write, KIT_LWW, "C1"));
    assert_true(saw(&kit, &write, KIT_OPEN, "B2"));
    assert_false(saw(&kit, &write, KIT_OPEN, "B1"));

    said.exceptions[1].view.kind = SATCHEL_VIEW_NONE;
    write = kit_make(&kit, &said);
    assert_false(saw(&kit, &write, KIT_OPEN, "B2"));
    assert_true(saw(&kit, &write, KIT_OPEN, "A1"));
    kit_deinit(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector__covers_any_position_and_includes_all),
        cmocka_unit_test(test_vector__raise_keeps_order_and_never_lowers),
        cmocka_unit_test(test_vector__raise_stops_at_its_limits),
        cmocka_unit_test(test_view__own_earlier_writes_and_what_seen_covers),
        cmocka_unit_test(test_view__an_exception_replaces_seen_for_its_column_or_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
