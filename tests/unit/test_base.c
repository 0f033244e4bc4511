/* What every layer relies on: limits hold, growth keeps contents, text comes out escaped. */
#include <satchel/id.h>
#include <satchel/json.h>
#include <satchel/map.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_buffer__refuses_to_grow_past_its_limit_and_keeps_its_bytes(void **state)
{
    (void)state;
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, 300, NULL);
    char block[200] = {7};
    assert_int_equal(satchel_buffer_append(&buffer, block, sizeof block), SATCHEL_OK);
    assert_int_equal(satchel_buffer_append(&buffer, block, sizeof block), SATCHEL_LIMIT);
    assert_int_equal(satchel_buffer_reserve(&buffer, SIZE_MAX), SATCHEL_LIMIT);
    assert_int_equal(buffer.size, 200);
    assert_int_equal(buffer.data[0], 7);
    assert_int_equal(satchel_buffer_append(&buffer, block, 100), SATCHEL_OK);
    assert_int_equal(satchel_buffer_append(&buffer, block, 1), SATCHEL_LIMIT);
    satchel_buffer_deinit(&buffer);
}

static void test_arena__hands_out_aligned_memory_up_to_its_limit(void **state)
{
    (void)state;
    struct satchel_arena arena;
    satchel_arena_init(&arena, 100000, NULL);
    size_t total = 0;
    for (size_t size = 1; size < 400; size++) {
        uint8_t *memory = satchel_arena_alloc(&arena, size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        memset(memory, (int)size, size);
        total += size;
    }
    assert_null(satchel_arena_alloc(&arena, 100000 - total));
    assert_null(satchel_arena_alloc(&arena, SIZE_MAX));
    satchel_arena_reset(&arena);
    assert_non_null(satchel_arena_alloc(&arena, 90000));
    struct satchel_span copy = satchel_arena_copy(&arena, satchel_span_of(NULL, 0));
    assert_non_null(copy.data);
    satchel_arena_deinit(&arena);
}

static void test_map__finds_replaces_and_removes_among_many(void **state)
{
    (void)state;
    struct satchel_map map;
    satchel_map_init(&map, 5000, NULL);
    static int values[5000];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++)
            assert_int_equal(satchel_map_put(&map, satchel_span_of(&i, sizeof i), &values[i]),
                             SATCHEL_OK);
    int over = 5000;
    assert_int_equal(satchel_map_put(&map, satchel_span_of(&over, sizeof over), &values[0]),
                     SATCHEL_LIMIT);
    for (int i = 0; i < 5000; i += 2)
        assert_ptr_equal(satchel_map_remove(&map, satchel_span_of(&i, sizeof i)), &values[i]);
    for (int i = 0; i < 5000; i++)
        assert_ptr_equal(satchel_map_get(&map, satchel_span_of(&i, sizeof i)),
                         i % 2 ? &values[i] : NULL);
    size_t index = 0, seen = 0;
    void *value;
    while (satchel_map_next(&map, &index, NULL, &value))
        seen++;
    assert_int_equal(seen, 2500);
    satchel_map_deinit(&map);
}

static void test_id__text_form_goes_both_ways_and_bad_text_is_refused(void **state)
{
    (void)state;
    struct satchel_id id, again;
    for (int i = 0; i < 16; i++)
        id.bytes[i] = (uint8_t)(i * 17);
    char text[SATCHEL_ID_TEXT_BYTES];
    satchel_id_text(&id, text);
    assert_string_equal(text, "00112233445566778899aabbccddeeff");
    assert_int_equal(satchel_id_parse(&again, satchel_span_text(text)), SATCHEL_OK);
    assert_true(satchel_id_equal(&id, &again));
    text[5] = 'g';
    assert_int_equal(satchel_id_parse(&again, satchel_span_text(text)), SATCHEL_INVALID);
    assert_int_equal(satchel_id_parse(&again, satchel_span_text("00")), SATCHEL_INVALID);
}

static void test_json__numbers_are_exact_and_text_is_escaped(void **state)
{
    (void)state;
    struct satchel_buffer buffer;
    struct satchel_json json;
    satchel_buffer_init(&buffer, 1000, NULL);
    satchel_json_init(&json, &buffer);
    satchel_json_open(&json, '{');
    satchel_json_name(&json, satchel_span_text("a\"b"));
    satchel_json_text(&json, satchel_span_of("\x01\n\\\xe4\xb8\xad\xff", 7));
    satchel_json_name(&json, satchel_span_text("n"));
    satchel_json_open(&json, '[');
    satchel_json_integer(&json, INT64_MIN);
    satchel_json_real(&json, 1.0);
    satchel_json_real(&json, 0.1);
    satchel_json_real(&json, -0.0);
    satchel_json_real(&json, (double)INFINITY);
    satchel_json_hex(&json, satchel_span_of("\0\xab", 2));
    satchel_json_bool(&json, true);
    satchel_json_null(&json);
    satchel_json_close(&json, ']');
    satchel_json_close(&json, '}');
    assert_int_equal(json.status, SATCHEL_OK);
    assert_string_equal(
        satchel_buffer_text(&buffer),
        "{\"a\\\"b\":\"\\u0001\\u000a\\\\\xe4\xb8\xad\xef\xbf\xbd\",\"n\":["
        "-9223372036854775808,1.0,0.10000000000000001,-0.0,1e999,\"00ab\",true,null]}");
    satchel_buffer_deinit(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer__refuses_to_grow_past_its_limit_and_keeps_its_bytes),
        cmocka_unit_test(test_arena__hands_out_aligned_memory_up_to_its_limit),
        cmocka_unit_test(test_map__finds_replaces_and_removes_among_many),
        cmocka_unit_test(test_id__text_form_goes_both_ways_and_bad_text_is_refused),
        cmocka_unit_test(test_json__numbers_are_exact_and_text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
