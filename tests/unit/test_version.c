/* The stored form of a version: small, faithful, and harmless whatever its bytes. */
#include "row_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define INTEGER(i) satchel_value_integer(i)

struct numbers {
    struct satchel_id ids[64];
    uint32_t count;
};

static enum satchel_status number_of(void *context, const struct satchel_id *id, uint32_t *number)
{
    struct numbers *numbers = context;
    for (*number = 0; *number < numbers->count; (*number)++)
        if (satchel_id_equal(&numbers->ids[*number], id))
            return SATCHEL_OK;
    if (numbers->count == 64)
        return SATCHEL_NOMEM;
    numbers->ids[numbers->count++] = *id;
    return SATCHEL_OK;
}

static enum satchel_status id_of(void *context, uint32_t number, struct satchel_id *id)
{
    struct numbers *numbers = context;
    if (number >= numbers->count)
        return SATCHEL_NOT_FOUND;
    *id = numbers->ids[number];
    return SATCHEL_OK;
}

static void encode(const struct kit *kit, struct numbers *numbers, struct satchel_buffer *out)
{
    const struct satchel_id_table ids = {number_of, id_of, numbers};
    assert_int_equal(satchel_version_encode(kit->row.version, &ids, out), SATCHEL_OK);
}

/* A row with a bit of everything: several inserts, losing values of every type, a keeper that is no
 * head, roles, a delete that lost. */
static void make_rich(struct kit *kit)
{
    kit_init(kit);
    kit_insert(kit, "A1", 1790000000000, KIT_LWW, INTEGER(INT64_MIN));
    kit_insert(kit, "B1", 1790000000500, KIT_LWW, kit_text("\xe5\xae\xa2\xe6\x88\xb7"));
    kit_update(kit, "B2", 1790000001500, "", KIT_LWW, satchel_value_real(-0.0));
    kit_update(kit, "C1", 1790000001000, "", KIT_LWW,
               satchel_value_blob(satchel_span_of("\0\1\2", 3)));
    kit_update(kit, "D1", 1790000002000, "", KIT_LWW, satchel_value_null());
    kit_update(kit, "C2", 1790000003000, "A1", KIT_FIRST, INTEGER(1));
    kit_update(kit, "D2", 1790000004000, "A1 C2", KIT_FIRST, INTEGER(2));
    kit_update(kit, "C3", 1790000005000, "A1", KIT_AMOUNT, INTEGER(500));
    kit_update(kit, "D3", 1790000006000, "A1", KIT_CURRENCY, kit_text("EUR"));
    kit_update(kit, "D4", 5, "A1", KIT_COUNTER, INTEGER(7));
    kit_update(kit, "A2", 6, "A1", KIT_MAX, INTEGER(7));
    kit_delete(kit, "E1", 1790000007000, "A1 B1");
    satchel_version_set_timeline(kit->row.version, 123456);
}

static void test_version__of_a_fresh_row_is_about_twenty_bytes(void **state)
{
    (void)state;
    struct kit kit;
    struct numbers numbers = {.count = 0};
    struct satchel_buffer bytes;
    kit_init(&kit);
    satchel_buffer_init(&bytes, 1000, NULL);
    kit_insert(&kit, "A9999", 1790000000123, KIT_LWW, kit_text("a long value is not stored twice"));
    satchel_version_set_timeline(kit.row.version, 3);
    encode(&kit, &numbers, &bytes);
    if (bytes.size > 20)
        fail_msg("%zu bytes", bytes.size);
    size_t inserted = bytes.size;
    satchel_buffer_clear(&bytes);
    kit_update(&kit, "A10000", 1790000100123, "", KIT_LWW, kit_text("b"));
    encode(&kit, &numbers, &bytes);
    if (bytes.size > inserted + 22)
        fail_msg("%zu bytes after an update", bytes.size);
    satchel_buffer_clear(&bytes);
    kit_delete(&kit, "A10001", 1790000200123, "A10000 A9999");
    assert_false(kit.row.exists);
    encode(&kit, &numbers, &bytes);
    assert_true(bytes.size <= 4);
    satchel_buffer_deinit(&bytes);
    kit_deinit(&kit);
}

static void test_version__comes_back_as_it_was(void **state)
{
    (void)state;
    struct kit kit;
    struct numbers numbers = {.count = 0};
    const struct satchel_id_table ids = {number_of, id_of, &numbers};
    struct satchel_buffer bytes, again;
    make_rich(&kit);
    satchel_buffer_init(&bytes, 10000, NULL);
    satchel_buffer_init(&again, 10000, NULL);
    const char *conflicts = "1:A1<D1 1:C1<D1 1:B2<D1 5:C3<D3 9:D2<C2 row:E1<D3";
    kit_expect_conflicts(&kit, conflicts);
    encode(&kit, &numbers, &bytes);
    assert_int_equal(
        satchel_version_decode(&kit.arena, satchel_buffer_span(&bytes), &ids, &kit.row.version),
        SATCHEL_OK);
    assert_int_equal(satchel_version_timeline(kit.row.version), 123456);
    kit_expect_conflicts(&kit, conflicts);
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit.rules, &kit.row, &kit.arena, &list), SATCHEL_OK);
    assert_int_equal(list.items[0].lost->integer, INT64_MIN);
    assert_memory_equal(list.items[1].lost->bytes.data, "\0\1\2", 3);
    const struct satchel_value minus_zero = satchel_value_real(-0.0);
    assert_true(satchel_value_equal(list.items[2].lost, &minus_zero));
    encode(&kit, &numbers, &again);
    assert_true(satchel_span_equal(satchel_buffer_span(&bytes), satchel_buffer_span(&again)));
    satchel_buffer_deinit(&bytes);
    satchel_buffer_deinit(&again);
    kit_deinit(&kit);
}

static void test_version__a_new_one_and_a_deleted_one_come_back(void **state)
{
    (void)state;
    struct kit kit;
    struct numbers numbers = {.count = 0};
    const struct satchel_id_table ids = {number_of, id_of, &numbers};
    struct satchel_buffer bytes;
    kit_init(&kit);
    satchel_buffer_init(&bytes, 10000, NULL);
    encode(&kit, &numbers, &bytes);
    assert_int_equal(
        satchel_version_decode(&kit.arena, satchel_buffer_span(&bytes), &ids, &kit.row.version),
        SATCHEL_OK);
    kit_insert(&kit, "A1", 10, KIT_LWW, INTEGER(1));
    kit_delete(&kit, "A2", 20, "");
    satchel_buffer_clear(&bytes);
    encode(&kit, &numbers, &bytes);
    assert_int_equal(
        satchel_version_decode(&kit.arena, satchel_buffer_span(&bytes), &ids, &kit.row.version),
        SATCHEL_OK);
    const struct kit_write insert = {.name = "A3", .kind = SATCHEL_OP_INSERT, .ms = 30};
    assert_int_equal(kit_merge_only(&kit, &insert), SATCHEL_NEED_TIMELINE);
    satchel_buffer_deinit(&bytes);
    kit_deinit(&kit);
}

static void test_version__encoding_that_fails_appends_nothing(void **state)
{
    (void)state;
    struct kit kit;
    struct numbers numbers = {.count = 0};
    const struct satchel_id_table ids = {number_of, id_of, &numbers};
    struct satchel_buffer bytes;
    make_rich(&kit);
    satchel_buffer_init(&bytes, 50, NULL);
    assert_int_equal(satchel_buffer_append(&bytes, "before", 6), SATCHEL_OK);
    assert_int_equal(satchel_version_encode(kit.row.version, &ids, &bytes), SATCHEL_LIMIT);
    assert_int_equal(bytes.size, 6);
    satchel_buffer_deinit(&bytes);
    kit_deinit(&kit);
}

/* Decodes into memory that ends where the bytes end, so that a sanitizer sees a read too far; a
 * version that decodes must be usable. */
static enum satchel_status decode_and_use(struct kit *kit, struct numbers *numbers,
                                          const uint8_t *bytes, size_t size)
{
    const struct satchel_id_table ids = {number_of, id_of, numbers};
    struct satchel_arena arena;
    struct satchel_version *version = NULL;
    satchel_arena_init(&arena, 1 << 20, NULL);
    uint8_t *exact = satchel_alloc(NULL, size);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    enum satchel_status status =
        satchel_version_decode(&arena, satchel_span_of(exact, size), &ids, &version);
    satchel_free(NULL, exact);
    if (status == SATCHEL_OK) {
        struct satchel_value values[KIT_COLUMNS];
        memcpy(values, kit->values, sizeof values);
        struct satchel_row row = {.exists = true, .values = values, .version = version};
        struct satchel_conflict_list list;
        struct satchel_buffer out;
        satchel_buffer_init(&out, 1 << 20, NULL);
        assert_int_equal(satchel_row_conflicts(&kit->rules, &row, &arena, &list), SATCHEL_OK);
        assert_int_equal(satchel_version_encode(version, &ids, &out), SATCHEL_OK);
        satchel_buffer_deinit(&out);
        for (uint32_t column = 1; column < KIT_COLUMNS; column++) {
            if (column == KIT_IMMUTABLE || column == KIT_APPEND)
                continue;
            const struct kit_write said = {.name = "F1",
                                           .kind = SATCHEL_OP_UPDATE,
                                           .ms = 1790000003500,
                                           .seen = "A1 C2",
                                           .fields = {{column, INTEGER(4)}},
                                           .field_count = 1};
            struct satchel_write write = kit_make(kit, &said);
            assert_int_equal(
                satchel_row_merge(&kit->rules, &row, &write, &arena, &kit->result, NULL),
                SATCHEL_OK);
        }
        assert_int_equal(satchel_row_conflicts(&kit->rules, &row, &arena, &list), SATCHEL_OK);
    } else if (status != SATCHEL_CORRUPT) {
        fail_msg("%s", satchel_status_name(status));
    }
    satchel_arena_deinit(&arena);
    satchel_arena_reset(&kit->arena);
    return status;
}

static void test_version__every_truncation_is_corrupt(void **state)
{
    (void)state;
    struct kit kit, scratch;
    struct numbers numbers = {.count = 0};
    struct satchel_buffer bytes;
    make_rich(&kit);
    kit_init(&scratch);
    satchel_buffer_init(&bytes, 10000, NULL);
    encode(&kit, &numbers, &bytes);
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(decode_and_use(&scratch, &numbers, bytes.data, size), SATCHEL_CORRUPT);
    assert_int_equal(satchel_buffer_append(&bytes, "\0", 1), SATCHEL_OK);
    assert_int_equal(decode_and_use(&scratch, &numbers, bytes.data, bytes.size), SATCHEL_CORRUPT);
    satchel_buffer_deinit(&bytes);
    kit_deinit(&kit);
    kit_deinit(&scratch);
}

static uint64_t next_random(uint64_t *random)
{
    uint64_t z = (*random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void test_version__flipped_bits_are_corrupt_or_another_version(void **state)
{
    (void)state;
    struct kit kit, scratch;
    struct numbers numbers = {.count = 0};
    struct satchel_buffer bytes;
    uint64_t random = 20261121;
    size_t decoded = 0;
    make_rich(&kit);
    kit_init(&scratch);
    memcpy(scratch.values, kit.values, sizeof scratch.values);
    satchel_buffer_init(&bytes, 10000, NULL);
    encode(&kit, &numbers, &bytes);
    printf("seed %llu, %zu bytes\n", (unsigned long long)random, bytes.size);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) { /* every single bit */
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        decoded += decode_and_use(&scratch, &numbers, bytes.data, bytes.size) == SATCHEL_OK;
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (int round = 0; round < 20000; round++) { /* a few at random, and random bytes */
        uint8_t copy[1000];
        memcpy(copy, bytes.data, bytes.size);
        for (uint64_t flips = 1 + next_random(&random) % 6; flips > 0; flips--) {
            size_t at = next_random(&random) % bytes.size;
            copy[at] = round % 2 ? (uint8_t)next_random(&random)
                                 : copy[at] ^ (uint8_t)(1u << next_random(&random) % 8);
        }
        decoded += decode_and_use(&scratch, &numbers, copy, bytes.size) == SATCHEL_OK;
    }
    assert_true(decoded > 0);
    satchel_buffer_deinit(&bytes);
    kit_deinit(&kit);
    kit_deinit(&scratch);
}

/* A column that joins a group later: kept values of old heads are short. */
static void test_version__values_kept_before_a_column_was_added_are_filled_with_its_default(
    void **state)
{
    (void)state;
    struct kit kit;
    kit_init(&kit);
    kit_insert(&kit, "Z1", 1, KIT_ID, satchel_value_null());
    kit_update(&kit, "A1", 10, "Z1", KIT_AMOUNT, INTEGER(1));
    kit_update(&kit, "B1", 20, "Z1", KIT_AMOUNT, INTEGER(2));
    kit.columns[KIT_NOW] = (struct satchel_column_rules){
        .rule = SATCHEL_RULE_GROUP, .unit = KIT_AMOUNT, .default_value = kit_text("new")};
    kit.values[KIT_NOW] = kit_text("new");
    kit_expect_conflicts(&kit, "5:A1<B1");
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit.rules, &kit.row, &kit.arena, &list), SATCHEL_OK);
    assert_int_equal(list.items[0].column_count, 3);
    assert_memory_equal(list.items[0].lost[2].bytes.data, "new", 3);
    kit_update(&kit, "C1", 5, "Z1 B1", KIT_AMOUNT, INTEGER(3));
    kit_expect(&kit, KIT_AMOUNT, INTEGER(1));
    kit_expect(&kit, KIT_NOW, kit_text("new"));
    kit_deinit(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version__of_a_fresh_row_is_about_twenty_bytes),
        cmocka_unit_test(test_version__comes_back_as_it_was),
        cmocka_unit_test(test_version__a_new_one_and_a_deleted_one_come_back),
        cmocka_unit_test(test_version__encoding_that_fails_appends_nothing),
        cmocka_unit_test(test_version__every_truncation_is_corrupt),
        cmocka_unit_test(test_version__flipped_bits_are_corrupt_or_another_version),
        cmocka_unit_test(
            test_version__values_kept_before_a_column_was_added_are_filled_with_its_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
