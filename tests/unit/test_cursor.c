/* The reader of MessagePack against msgpack-c's packer and unpacker: what one writes the other
 * reads, what is cut short is refused, and no length is believed. */
#include "protocol_support.h"

#include <satchel/pack.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <msgpack.h>

static struct satchel_cursor over(const void *bytes, size_t size)
{
    return satchel_cursor_of(satchel_span_of(bytes, size));
}

/* ---- random items, written by msgpack-c ---- */

static int64_t random_integer(struct random_source *random)
{
    uint64_t number = random_next(random) >> random_below(random, 64);
    return random_below(random, 2) ? (int64_t)number : -(int64_t)(number >> 1);
}

static void write_random_bytes(msgpack_packer *packer, struct random_source *random)
{
    static char bytes[70000];
    size_t size = random_below(random, 50) == 0 ? random_below(random, sizeof bytes)
                                                : random_below(random, 300);
    switch (random_below(random, 3)) {
    case 0: msgpack_pack_str_with_body(packer, bytes, size); break;
    case 1: msgpack_pack_bin_with_body(packer, bytes, size); break;
    default: msgpack_pack_ext_with_body(packer, bytes, size, 5); break;
    }
}

static void write_random_item(msgpack_packer *packer, struct random_source *random, int depth)
{
    uint32_t count;
    switch (random_below(random, depth ? 9 : 6)) {
    case 0: msgpack_pack_nil(packer); break;
    case 1: random_below(random, 2) ? msgpack_pack_true(packer) : msgpack_pack_false(packer); break;
    case 2: msgpack_pack_int64(packer, random_integer(random)); break;
    case 3: msgpack_pack_uint64(packer, random_next(random) >> random_below(random, 64)); break;
    case 4:
        random_below(random, 2) ? msgpack_pack_double(packer, 0.1 * random_below(random, 100))
                                : msgpack_pack_float(packer, 0.5f);
        break;
    case 5: write_random_bytes(packer, random); break;
    case 6:
        count = random_below(random, 4);
        msgpack_pack_map(packer, count);
        for (uint32_t i = 0; i < 2 * count; i++)
            write_random_item(packer, random, depth - 1);
        break;
    default:
        count = random_below(random, 20);
        msgpack_pack_array(packer, count);
        for (uint32_t i = 0; i < count; i++)
            write_random_item(packer, random, random_below(random, (uint32_t)depth));
        break;
    }
}

static void test_cursor__agrees_with_msgpack_on_the_extent_of_any_item(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_cursor extent");
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    for (int round = 0; round < 5000; round++) {
        msgpack_sbuffer_clear(&buffer);
        msgpack_packer packer;
        msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
        write_random_item(&packer, &random, 8);
        struct satchel_cursor cursor = over(buffer.data, buffer.size);
        struct satchel_span item = satchel_cursor_item(&cursor);
        assert_false(cursor.failed);
        assert_int_equal(item.size, buffer.size);
        assert_true(satchel_cursor_at_end(&cursor));

        size_t cut = random_below(&random, (uint32_t)buffer.size);
        cursor = over(buffer.data, cut);
        item = satchel_cursor_item(&cursor);
        assert_true(cursor.failed);
        assert_int_equal(item.size, 0);
    }
    msgpack_sbuffer_destroy(&buffer);
}

static void test_cursor__accepts_of_random_bytes_what_msgpack_accepts(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_cursor random bytes");
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        size_t size = 1 + random_below(&random, sizeof bytes);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)random_next(&random);
            if (random_below(&random, 4) == 0) /* small items make long ones complete */
                bytes[i] = (uint8_t)random_below(&random, 8);
            if (bytes[i] == 0xdd || bytes[i] == 0xdf) /* msgpack-c would allocate what they claim */
                bytes[i] = 0xc0;
        }
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t offset = 0;
        msgpack_unpack_return answer =
            msgpack_unpack_next(&unpacked, (const char *)bytes, size, &offset);
        struct satchel_cursor cursor = over(bytes, size);
        struct satchel_span item = satchel_cursor_item(&cursor);
        if (answer == MSGPACK_UNPACK_SUCCESS || answer == MSGPACK_UNPACK_EXTRA_BYTES) {
            if (!cursor.failed)
                assert_int_equal(item.size, offset);
            else /* only nesting is refused that msgpack-c takes */
                assert_true(size > 8);
        } else {
            assert_true(cursor.failed);
        }
        msgpack_unpacked_destroy(&unpacked);
    }
}

/* ---- values ---- */

static struct satchel_value random_value(struct random_source *random)
{
    static const uint8_t bytes[300] = {0, 1, 0xff, 'a'};
    uint64_t bits = random_next(random);
    struct satchel_span span = satchel_span_of(bytes, random_below(random, sizeof bytes));
    double real;
    switch (random_below(random, 5)) {
    case 0: return satchel_value_null();
    case 1: return satchel_value_integer(random_integer(random));
    case 2: memcpy(&real, &bits, sizeof real); return satchel_value_real(real);
    case 3: return satchel_value_text(span);
    default: return satchel_value_blob(span);
    }
}

static void test_cursor__returns_values_bit_for_bit_and_msgpack_reads_the_same(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_cursor values");
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, 100000, NULL);
    for (int round = 0; round < 50000; round++) {
        struct satchel_value value = random_value(&random);
        struct satchel_pack pack;
        satchel_buffer_clear(&buffer);
        satchel_pack_init(&pack, &buffer);
        satchel_pack_value(&pack, &value);
        assert_int_equal(pack.status, SATCHEL_OK);

        struct satchel_cursor cursor = satchel_cursor_of(satchel_buffer_span(&buffer));
        struct satchel_value back = satchel_cursor_value(&cursor);
        assert_true(satchel_cursor_at_end(&cursor));
        assert_int_equal(back.type, value.type);

        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t offset = 0;
        assert_int_equal(
            msgpack_unpack_next(&unpacked, (const char *)buffer.data, buffer.size, &offset),
            MSGPACK_UNPACK_SUCCESS);
        msgpack_object object = unpacked.data;
        switch (value.type) {
        case SATCHEL_NULL: assert_int_equal(object.type, MSGPACK_OBJECT_NIL); break;
        case SATCHEL_INTEGER:
            assert_true(back.integer == value.integer && object.via.i64 == value.integer);
            break;
        case SATCHEL_REAL:
            assert_int_equal(object.type, MSGPACK_OBJECT_FLOAT64);
            assert_memory_equal(&object.via.f64, &value.real, sizeof value.real);
            assert_memory_equal(&back.real, &value.real, sizeof value.real);
            break;
        default:
            assert_true(satchel_span_equal(back.bytes, value.bytes));
            assert_int_equal(object.via.str.size, value.bytes.size);
            break;
        }
        msgpack_unpacked_destroy(&unpacked);
    }
    satchel_buffer_deinit(&buffer);
}

static void test_cursor__keeps_the_edges_of_numbers(void **state)
{
    (void)state;
    static const int64_t edges[] = {
        0,         1,  127, 128, 255,  256,  65535,  65536,  INT32_MAX, UINT32_MAX,
        INT64_MAX, -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN, (int64_t)INT32_MIN - 1,
        INT64_MIN};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        struct satchel_buffer buffer;
        struct satchel_pack pack;
        satchel_buffer_init(&buffer, 100, NULL);
        satchel_pack_init(&pack, &buffer);
        satchel_pack_integer(&pack, edges[i]);
        struct satchel_cursor cursor = satchel_cursor_of(satchel_buffer_span(&buffer));
        assert_true(satchel_cursor_integer(&cursor) == edges[i] && !cursor.failed);
        cursor = satchel_cursor_of(satchel_buffer_span(&buffer));
        uint64_t number = satchel_cursor_unsigned(&cursor, UINT64_MAX);
        assert_true(cursor.failed == (edges[i] < 0));
        assert_true(cursor.failed || number == (uint64_t)edges[i]);
        satchel_buffer_deinit(&buffer);
    }
    static const uint8_t beyond[] = {0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0}; /* 2^63 */
    struct satchel_cursor cursor = over(beyond, sizeof beyond);
    satchel_cursor_value(&cursor);
    assert_true(cursor.failed);
    cursor = over(beyond, sizeof beyond);
    satchel_cursor_integer(&cursor);
    assert_true(cursor.failed);
    cursor = over(beyond, sizeof beyond);
    assert_true(satchel_cursor_unsigned(&cursor, UINT64_MAX) == UINT64_C(1) << 63);
    static const uint8_t signed_positive[] = {0xd3, 0, 0, 0, 0, 0, 0, 0, 5};
    cursor = over(signed_positive, sizeof signed_positive);
    assert_int_equal(satchel_cursor_unsigned(&cursor, 5), 5);
}

/* ---- refusals ---- */

static void test_cursor__believes_no_length_beyond_its_bytes(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } lies[] = {{{0xdd, 0xff, 0xff, 0xff, 0xff}, 5},
                {{0xdf, 0xff, 0xff, 0xff, 0xff}, 5},
                {{0xdb, 0xff, 0xff, 0xff, 0xff}, 5},
                {{0xc6, 0xff, 0xff, 0xff, 0xff}, 5},
                {{0xc9, 0xff, 0xff, 0xff, 0xff, 1}, 6},
                {{0xdc, 0x00, 0x02, 0xc0}, 4},
                {{0x92, 0xc0}, 2},
                {{0x82, 0xc0, 0xc0, 0xc0}, 4},
                {{0xa2, 'a'}, 2},
                {{0xd8, 1}, 2},
                {{0xc1}, 1},
                {{0xcb, 0}, 2},
                {{0xd3, 0, 0, 0}, 4}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct satchel_cursor cursor = over(lies[i].bytes, lies[i].size);
        satchel_cursor_item(&cursor);
        assert_true(cursor.failed);
        cursor = over(lies[i].bytes, lies[i].size);
        assert_int_equal(satchel_cursor_array(&cursor, UINT32_MAX), 0);
        assert_true(cursor.failed);
        cursor = over(lies[i].bytes, lies[i].size);
        satchel_cursor_value(&cursor);
        assert_true(cursor.failed);
    }
}

static void test_cursor__item_nests_eight_deep_and_no_deeper(void **state)
{
    (void)state;
    static const uint8_t deep[] = {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0};
    struct satchel_cursor cursor = over(deep + 1, sizeof deep - 1);
    assert_int_equal(satchel_cursor_item(&cursor).size, sizeof deep - 1);
    assert_false(cursor.failed);
    cursor = over(deep, sizeof deep);
    satchel_cursor_item(&cursor);
    assert_true(cursor.failed);
}

static void test_cursor__a_failed_cursor_stays_failed_and_yields_nothing(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0xc0, 0x05, 0x91, 0xc0};
    struct satchel_cursor cursor = over(bytes, sizeof bytes);
    assert_int_equal(satchel_cursor_integer(&cursor), 0);
    assert_true(cursor.failed);
    assert_ptr_equal(cursor.position, bytes);
    assert_false(satchel_cursor_take_nil(&cursor));
    assert_int_equal(satchel_cursor_item(&cursor).size, 0);
    assert_int_equal(satchel_cursor_value(&cursor).type, SATCHEL_NULL);
    assert_false(satchel_cursor_at_end(&cursor));
    cursor.failed = false;
    assert_true(satchel_cursor_take_nil(&cursor));
    assert_false(satchel_cursor_take_nil(&cursor));
    assert_int_equal(satchel_cursor_unsigned(&cursor, 4), 0);
    assert_true(cursor.failed);
}

static void test_cursor__reads_ids_bools_and_bounded_bytes(void **state)
{
    (void)state;
    struct satchel_buffer buffer;
    struct satchel_pack pack;
    struct satchel_id id = sample_id(9);
    satchel_buffer_init(&buffer, 1000, NULL);
    satchel_pack_init(&pack, &buffer);
    satchel_pack_id(&pack, &id);
    satchel_pack_bool(&pack, true);
    satchel_pack_bool(&pack, false);
    satchel_pack_text(&pack, satchel_span_text("abc"));
    satchel_pack_text(&pack, satchel_span_of(NULL, 0));
    satchel_pack_binary(&pack, satchel_span_text("abcd"));
    assert_int_equal(pack.status, SATCHEL_OK);
    struct satchel_cursor cursor = satchel_cursor_of(satchel_buffer_span(&buffer));
    struct satchel_id back = satchel_cursor_id(&cursor);
    assert_true(satchel_id_equal(&back, &id));
    assert_true(satchel_cursor_bool(&cursor));
    assert_false(satchel_cursor_bool(&cursor));
    assert_true(satchel_span_equal(satchel_cursor_text(&cursor, 3), satchel_span_text("abc")));
    assert_int_equal(satchel_cursor_text(&cursor, 0).size, 0);
    assert_false(cursor.failed);
    struct satchel_cursor copy = cursor;
    satchel_cursor_binary(&copy, 3);
    assert_true(copy.failed);
    copy = cursor;
    satchel_cursor_id(&copy);
    assert_true(copy.failed);
    assert_int_equal(satchel_cursor_binary(&cursor, 4).size, 4);
    assert_true(satchel_cursor_at_end(&cursor));
    satchel_buffer_deinit(&buffer);
}

static void test_pack__the_first_failure_sticks(void **state)
{
    (void)state;
    struct satchel_buffer buffer;
    struct satchel_pack pack;
    satchel_buffer_init(&buffer, 10, NULL);
    satchel_pack_init(&pack, &buffer);
    satchel_pack_text(&pack, satchel_span_text("longer than ten bytes"));
    assert_int_equal(pack.status, SATCHEL_LIMIT);
    size_t size = buffer.size;
    satchel_pack_nil(&pack);
    satchel_pack_raw(&pack, satchel_span_text("x"));
    assert_int_equal(pack.status, SATCHEL_LIMIT);
    assert_int_equal(buffer.size, size);
    satchel_buffer_deinit(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor__agrees_with_msgpack_on_the_extent_of_any_item),
        cmocka_unit_test(test_cursor__accepts_of_random_bytes_what_msgpack_accepts),
        cmocka_unit_test(test_cursor__returns_values_bit_for_bit_and_msgpack_reads_the_same),
        cmocka_unit_test(test_cursor__keeps_the_edges_of_numbers),
        cmocka_unit_test(test_cursor__believes_no_length_beyond_its_bytes),
        cmocka_unit_test(test_cursor__item_nests_eight_deep_and_no_deeper),
        cmocka_unit_test(test_cursor__a_failed_cursor_stays_failed_and_yields_nothing),
        cmocka_unit_test(test_cursor__reads_ids_bools_and_bounded_bytes),
        cmocka_unit_test(test_pack__the_first_failure_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
