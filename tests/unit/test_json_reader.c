/* JSON from anywhere: what is read, what it looks like afterwards, and that no bytes hurt. */
#include <satchel/json.h>
#include <satchel/json_reader.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct satchel_arena arena;

static int setup(void **state)
{
    (void)state;
    satchel_arena_init(&arena, 1 << 22, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    satchel_arena_deinit(&arena);
    return 0;
}

static void assert_canonical(const char *text, const char *expected)
{
    struct satchel_span out;
    assert_int_equal(satchel_json_canonical(satchel_span_text(text), &arena, &out), SATCHEL_OK);
    if (!satchel_span_equal(out, satchel_span_text(expected)))
        fail_msg("%s became %.*s, not %s", text, (int)out.size, (const char *)out.data, expected);
}

static void assert_refused(const char *text)
{
    struct satchel_span out;
    if (satchel_json_canonical(satchel_span_text(text), &arena, &out) != SATCHEL_CORRUPT)
        fail_msg("%s is taken for JSON", text);
    assert_int_equal(satchel_json_type_of(satchel_span_text(text), SATCHEL_JSON_DEPTH_MAX),
                     SATCHEL_JSON_INVALID);
}

static void test_canonical__has_one_form_for_one_meaning(void **state)
{
    (void)state;
    assert_canonical(" [ 1 , 2.50 , -0 , 1e5 , 0.1E-3 ] ", "[1,2.50,-0,1e5,0.1E-3]");
    assert_canonical("{ }", "{}");
    assert_canonical("\t[\n]\r", "[]");
    assert_canonical("null", "null");
    assert_canonical(" true", "true");
    assert_canonical("\"\\u0041\\/\\u00e9\"", "\"A/\xc3\xa9\"");
    assert_canonical("\"\\u000a\\u0008\\u001F\\u0000\"", "\"\\n\\b\\u001f\\u0000\"");
    assert_canonical("\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"");
    assert_canonical("\"\\u5bA2\"", "\"\xe5\xae\xa2\"");
    assert_canonical("\"\\\"\\\\\\t\"", "\"\\\"\\\\\\t\"");
    assert_canonical("{\"b\":1,\"a\":{\"d\":[ ],\"c\":null}}",
                     "{\"a\":{\"c\":null,\"d\":[]},\"b\":1}");
    assert_canonical("{\"a\":1,\"b\":2,\"\\u0061\":3}", "{\"a\":3,\"b\":2}");
    assert_canonical("{\"a b\":1,\"a\":2}", "{\"a\":2,\"a b\":1}");
}

static void test_canonical__borrows_what_is_canonical_already(void **state)
{
    (void)state;
    struct satchel_span text = satchel_span_text("{\"a\":[1,\"x\\n\",{\"b\":null,\"c\":[]}]}");
    struct satchel_span out;
    assert_int_equal(satchel_json_canonical(text, &arena, &out), SATCHEL_OK);
    assert_ptr_equal(out.data, text.data);
    assert_int_equal(out.size, text.size);
}

static void test_reader__refuses_what_is_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        " ",
                                        "[",
                                        "]",
                                        "[1,]",
                                        "[,1]",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{a:1}",
                                        "{\"a\":1,}",
                                        "{1:2}",
                                        "01",
                                        "1.",
                                        ".5",
                                        "+1",
                                        "-",
                                        "1e",
                                        "1e+",
                                        "nul",
                                        "nulll",
                                        "True",
                                        "\"",
                                        "\"\\\"",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\n\"",
                                        "'a'",
                                        "[1]2",
                                        "[1 2]",
                                        "// x\n1",
                                        "NaN",
                                        "Infinity",
                                        "\"\\ud800\"",
                                        "\"\\udc00\"",
                                        "\"\\ud800\\u0041\"",
                                        "\"\xff\"",
                                        "\"\xc0\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "[1}",
                                        "{]",
                                        "\"\\u00g0\"",
                                        "\xef\xbb\xbf[]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_refused(texts[i]);
    struct satchel_span nul = satchel_span_of("[1]\0", 4);
    assert_int_equal(satchel_json_type_of(nul, SATCHEL_JSON_DEPTH_MAX), SATCHEL_JSON_INVALID);
}

static void test_reader__has_a_greatest_depth(void **state)
{
    (void)state;
    char text[2 * SATCHEL_JSON_DEPTH_MAX + 8] = "";
    memset(text, '[', SATCHEL_JSON_DEPTH_MAX);
    memset(text + SATCHEL_JSON_DEPTH_MAX, ']', SATCHEL_JSON_DEPTH_MAX);
    assert_canonical(text, text);
    assert_int_equal(satchel_json_type_of(satchel_span_text(text), SATCHEL_JSON_DEPTH_MAX - 1),
                     SATCHEL_JSON_INVALID);
    memset(text, '[', SATCHEL_JSON_DEPTH_MAX + 1);
    memset(text + SATCHEL_JSON_DEPTH_MAX + 1, ']', SATCHEL_JSON_DEPTH_MAX + 1);
    assert_refused(text);
    /* Brackets beside each other are not inside each other. */
    char row[3 * 100 + 2] = "[";
    for (int i = 0; i < 100; i++)
        memcpy(row + 1 + 3 * i, i < 99 ? "[]," : "[]]", 3);
    assert_canonical(row, row);
}

static void test_items__are_given_one_by_one(void **state)
{
    (void)state;
    struct satchel_json_item *items;
    size_t count;
    struct satchel_span text = satchel_span_text("[ 3, \"a\" ,[ 1 ]]");
    assert_int_equal(satchel_json_items(text, SATCHEL_JSON_ARRAY, &arena, &items, &count),
                     SATCHEL_OK);
    assert_int_equal(count, 3);
    assert_true(satchel_span_equal(items[0].value, satchel_span_text("3")));
    assert_true(satchel_span_equal(items[2].value, satchel_span_text("[1]")));
    assert_int_equal(items[0].name.size, 0);
    assert_int_equal(satchel_json_items(text, SATCHEL_JSON_OBJECT, &arena, &items, &count),
                     SATCHEL_CORRUPT);
    text = satchel_span_text("{\"b\":1,\"a\":2,\"b\":3}");
    assert_int_equal(satchel_json_items(text, SATCHEL_JSON_OBJECT, &arena, &items, &count),
                     SATCHEL_OK);
    assert_int_equal(count, 2);
    assert_true(satchel_span_equal(items[1].name, satchel_span_text("\"b\"")));
    assert_true(satchel_span_equal(items[1].value, satchel_span_text("3")));
}

static void test_quote__and_unquote_are_inverse(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x80; c++) {
        uint8_t bytes[3] = {'x', (uint8_t)c, 'y'};
        struct satchel_span text = satchel_span_of(bytes, 3), quoted, back, canonical;
        assert_int_equal(satchel_json_quote(text, &arena, &quoted), SATCHEL_OK);
        assert_int_equal(satchel_json_unquote(quoted, &arena, &back), SATCHEL_OK);
        assert_true(satchel_span_equal(back, text));
        assert_int_equal(satchel_json_canonical(quoted, &arena, &canonical), SATCHEL_OK);
        assert_ptr_equal(canonical.data, quoted.data);
    }
    struct satchel_span out;
    assert_int_equal(satchel_json_quote(satchel_span_text("\xff"), &arena, &out), SATCHEL_CORRUPT);
    assert_int_equal(satchel_json_unquote(satchel_span_text("\"a"), &arena, &out), SATCHEL_CORRUPT);
    assert_int_equal(satchel_json_unquote(satchel_span_text("a"), &arena, &out), SATCHEL_CORRUPT);
}

static void test_reader__agrees_with_the_writer(void **state)
{
    (void)state;
    struct satchel_buffer buffer;
    struct satchel_json json;
    satchel_buffer_init(&buffer, 4096, NULL);
    satchel_json_init(&json, &buffer);
    satchel_json_open(&json, '[');
    satchel_json_text(&json, satchel_span_text("\x01 \" \\ \n \xe5\xae\xa2 \xff"));
    satchel_json_real(&json, 1.5);
    satchel_json_integer(&json, INT64_MIN);
    satchel_json_close(&json, ']');
    assert_int_equal(satchel_json_type_of(satchel_buffer_span(&buffer), SATCHEL_JSON_DEPTH_MAX),
                     SATCHEL_JSON_ARRAY);
    satchel_buffer_deinit(&buffer);
}

static void test_split__leaves_the_items_as_written(void **state)
{
    (void)state;
    struct satchel_json_item *items;
    size_t count;
    struct satchel_span text = satchel_span_text(" [ {\"b\": 1, \"a\":2} , [ ] ]");
    assert_int_equal(satchel_json_split(text, &arena, &items, &count), SATCHEL_OK);
    assert_int_equal(count, 2);
    assert_true(satchel_span_equal(items[0].value, satchel_span_text("{\"b\": 1, \"a\":2}")));
    assert_true(satchel_span_equal(items[1].value, satchel_span_text("[ ]")));
    text = satchel_span_text("[[1,]]");
    assert_int_equal(satchel_json_split(text, &arena, &items, &count), SATCHEL_CORRUPT);
    text = satchel_span_text("{}");
    assert_int_equal(satchel_json_split(text, &arena, &items, &count), SATCHEL_CORRUPT);
}

/* ---- memory ---- */

struct meter {
    size_t bytes, most_bytes;
};

/* The size stands before what is handed out. */
static void *metered(void *context, void *memory, size_t size_bytes)
{
    struct meter *meter = context;
    size_t *block = memory ? (size_t *)memory - 2 : NULL, before = block ? *block : 0;
    if (size_bytes == 0) {
        satchel_free(NULL, block);
        meter->bytes -= before;
        return NULL;
    }
    /* Both at once, as where the block has to move. */
    size_t *moved = satchel_alloc(NULL, size_bytes + 2 * sizeof *moved);
    assert_non_null(moved);
    *moved = size_bytes;
    meter->bytes += size_bytes;
    meter->most_bytes = meter->bytes > meter->most_bytes ? meter->bytes : meter->most_bytes;
    if (memory)
        memcpy(moved + 2, memory, before < size_bytes ? before : size_bytes);
    satchel_free(NULL, block);
    meter->bytes -= before;
    return moved + 2;
}

/* The most memory that the items of a text like "[0,0,0]" take, in hundredths of its size. */
static size_t percent_taken(const char *start, const char *item, enum satchel_json_type type)
{
    enum { ITEMS = 100000 };
    struct meter meter = {0};
    const struct satchel_allocator allocator = {metered, &meter};
    struct satchel_buffer text;
    struct satchel_arena kept;
    struct satchel_json_item *items;
    size_t count;
    satchel_buffer_init(&text, 1 << 23, NULL);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_int_equal(satchel_buffer_format(&text, "%s%s", i ? "," : start, item), SATCHEL_OK);
    assert_int_equal(satchel_buffer_append(&text, type == SATCHEL_JSON_ARRAY ? "]" : "}", 1),
                     SATCHEL_OK);
    satchel_arena_init(&kept, (size_t)1 << 30, &allocator);
    assert_int_equal(satchel_json_items(satchel_buffer_span(&text), type, &kept, &items, &count),
                     SATCHEL_OK);
    assert_int_equal(count, type == SATCHEL_JSON_ARRAY ? ITEMS : 1);
    size_t percent = meter.most_bytes * 100 / text.size;
    satchel_arena_deinit(&kept);
    satchel_buffer_deinit(&text);
    assert_int_equal(meter.bytes, 0);
    return percent;
}

static void test_items__take_seventeen_times_their_text_at_most(void **state)
{
    (void)state;
    const size_t most = 1705; /* and what every allocation has around it */
    assert_in_range(percent_taken("[", "0", SATCHEL_JSON_ARRAY), 1, most);
    assert_in_range(percent_taken("[ ", "0", SATCHEL_JSON_ARRAY), 1, most);
    assert_in_range(percent_taken("[", "[0]", SATCHEL_JSON_ARRAY), 1, most);
    assert_in_range(percent_taken("[ ", "{}", SATCHEL_JSON_ARRAY), 1, most);
    assert_in_range(percent_taken("{", "\"\":0", SATCHEL_JSON_OBJECT), 1, most);
}

/* ---- any bytes ---- */

static void try_bytes(const uint8_t *bytes, size_t size)
{
    /* A copy of its own size, so that a sanitizer sees a byte too many. */
    uint8_t *copy = satchel_alloc(NULL, size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    struct satchel_span text = satchel_span_of(copy, size), once, twice;
    enum satchel_json_type type = satchel_json_type_of(text, SATCHEL_JSON_DEPTH_MAX);
    enum satchel_status status = satchel_json_canonical(text, &arena, &once);
    assert_int_equal(status, type == SATCHEL_JSON_INVALID ? SATCHEL_CORRUPT : SATCHEL_OK);
    if (status == SATCHEL_OK) {
        assert_true(once.size <= size);
        assert_int_equal(satchel_json_canonical(once, &arena, &twice), SATCHEL_OK);
        assert_ptr_equal(twice.data, once.data);
        assert_int_equal(twice.size, once.size);
        assert_int_equal(satchel_json_type_of(once, SATCHEL_JSON_DEPTH_MAX), type);
    }
    satchel_free(NULL, copy);
    satchel_arena_reset(&arena);
}

static void test_reader__survives_truncations_and_flipped_bits(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"name\":\"\\u5ba2\\ud83d\\ude00 "
        "\\\"x\\\"\",\"list\":[1,-2.5e+10,true,false,null,{}],\"a\":{}}",
        " [ \"a\" , [ [ ] , { \"k\" : \"v\\u0001\" , \"k\" : [ 0 ] } ] ] ",
        "\"\xe5\xae\xa2\xe6\x88\xb7 \xf0\x9f\x98\x80 \\b\\f\\n\\r\\t\\/\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t size = strlen(texts[i]);
        uint8_t bytes[256];
        memcpy(bytes, texts[i], size);
        for (size_t cut = 0; cut <= size; cut++)
            try_bytes(bytes, cut);
        for (size_t at = 0; at < size; at++) {
            for (unsigned value = 0; value < 256; value++) {
                uint8_t before = bytes[at];
                bytes[at] = (uint8_t)value;
                try_bytes(bytes, size);
                bytes[at] = before;
            }
        }
    }
}

static void test_canonical__reports_when_memory_runs_out(void **state)
{
    (void)state;
    struct satchel_span out;
    struct satchel_span text = satchel_span_text("{\"b\":[1, 2],\"a\":\"\\u0041\",\"b\":[ 3 ]}");
    bool was_done = false;
    for (size_t limit = 1; limit < 4000 && !was_done; limit += 16) {
        struct satchel_arena small;
        satchel_arena_init(&small, limit, NULL);
        enum satchel_status status = satchel_json_canonical(text, &small, &out);
        was_done = status == SATCHEL_OK;
        assert_true(was_done || status == SATCHEL_NOMEM);
        satchel_arena_deinit(&small);
    }
    assert_true(was_done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical__has_one_form_for_one_meaning),
        cmocka_unit_test(test_canonical__borrows_what_is_canonical_already),
        cmocka_unit_test(test_reader__refuses_what_is_no_json),
        cmocka_unit_test(test_reader__has_a_greatest_depth),
        cmocka_unit_test(test_items__are_given_one_by_one),
        cmocka_unit_test(test_quote__and_unquote_are_inverse),
        cmocka_unit_test(test_reader__agrees_with_the_writer),
        cmocka_unit_test(test_items__take_seventeen_times_their_text_at_most),
        cmocka_unit_test(test_split__leaves_the_items_as_written),
        cmocka_unit_test(test_reader__survives_truncations_and_flipped_bits),
        cmocka_unit_test(test_canonical__reports_when_memory_runs_out),
    };
    return cmocka_run_group_tests_name("json_reader", tests, setup, teardown);
}
