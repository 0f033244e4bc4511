/* The change set's body: what is written comes back, nothing malformed is accepted, the hash names
 * it. */
#include "protocol_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct satchel_buffer buffer;
static struct satchel_arena arena;

static int setup(void **state)
{
    (void)state;
    satchel_buffer_init(&buffer, SATCHEL_CHANGESET_BYTES_MAX + 1000, NULL);
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    satchel_buffer_deinit(&buffer);
    satchel_arena_deinit(&arena);
    return 0;
}

/* ---- random change sets ---- */

static struct satchel_value random_value(struct random_source *random)
{
    static const uint8_t bytes[600] = {0xff, 0, 'x'};
    struct satchel_span span =
        satchel_span_of(bytes, random_below(random, 20) == 0 ? random_below(random, sizeof bytes)
                                                             : random_below(random, 12));
    uint64_t bits = random_next(random);
    double real;
    memcpy(&real, &bits, sizeof real);
    switch (random_below(random, 5)) {
    case 0: return satchel_value_null();
    case 1: return satchel_value_integer((int64_t)(bits >> random_below(random, 64)));
    case 2: return satchel_value_real(real);
    case 3: return satchel_value_text(span);
    default: return satchel_value_blob(span);
    }
}

static struct satchel_vector random_vector(struct random_source *random)
{
    struct satchel_vector vector = {NULL, random_below(random, 4)};
    struct satchel_position *items =
        SATCHEL_ARENA_ARRAY(&arena, struct satchel_position, vector.count);
    for (size_t i = 0; i < vector.count; i++) {
        items[i].node = sample_id((uint8_t)(i * 16 + random_below(random, 16)));
        items[i].seq = 1 + (random_next(random) >> (1 + random_below(random, 62)));
    }
    vector.items = items;
    return vector;
}

static struct satchel_part random_part(struct random_source *random)
{
    struct satchel_part part = {.kind = (enum satchel_op_kind)random_below(random, 3)};
    part.table = random_below(random, 100);
    part.key_count = 1 + random_below(random, 3);
    struct satchel_value *key = SATCHEL_ARENA_ARRAY(&arena, struct satchel_value, part.key_count);
    for (uint32_t i = 0; i < part.key_count; i++)
        key[i] = random_value(random);
    part.key = key;
    part.field_count = part.kind == SATCHEL_OP_DELETE ? 0 : random_below(random, 6);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&arena, struct satchel_field, part.field_count);
    for (uint32_t i = 0; i < part.field_count; i++) {
        fields[i].column = i * 20 + random_below(random, 20);
        fields[i].value = random_value(random);
    }
    part.fields = fields;
    part.exception_count = random_below(random, 8) == 0 ? random_below(random, 4) : 0;
    struct satchel_exception *exceptions =
        SATCHEL_ARENA_ARRAY(&arena, struct satchel_exception, part.exception_count);
    for (uint32_t i = 0; i < part.exception_count; i++) {
        exceptions[i].column =
            random_below(random, 2) ? SATCHEL_COLUMN_ROW : random_below(random, 1000);
        exceptions[i].view.kind = (enum satchel_view_kind)random_below(random, 3);
        exceptions[i].view.vector = random_vector(random);
    }
    part.exceptions = exceptions;
    return part;
}

static struct satchel_changeset random_changeset(struct random_source *random, uint32_t parts_max)
{
    struct satchel_changeset changeset = {
        .header = {random_below(random, 200), random_vector(random),
                   satchel_span_text(random_below(random, 2) ? "rep" : ""),
                   random_below(random, parts_max + 1)}};
    changeset.parts = SATCHEL_ARENA_ARRAY(&arena, struct satchel_part, changeset.header.part_count);
    for (uint32_t i = 0; i < changeset.header.part_count; i++)
        changeset.parts[i] = random_part(random);
    return changeset;
}

static void write_changeset(const struct satchel_changeset *changeset)
{
    satchel_buffer_clear(&buffer);
    assert_int_equal(satchel_changeset_write_header(&buffer, &changeset->header), SATCHEL_OK);
    for (uint32_t i = 0; i < changeset->header.part_count; i++)
        assert_int_equal(satchel_changeset_write_part(&buffer, &changeset->parts[i]), SATCHEL_OK);
}

static void assert_vectors_equal(const struct satchel_vector *a, const struct satchel_vector *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_true(satchel_id_equal(&a->items[i].node, &b->items[i].node));
        assert_true(a->items[i].seq == b->items[i].seq);
    }
}

static void assert_parts_equal(const struct satchel_part *a, const struct satchel_part *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->table, b->table);
    assert_int_equal(a->key_count, b->key_count);
    for (uint32_t i = 0; i < a->key_count; i++)
        assert_true(satchel_value_equal(&a->key[i], &b->key[i]));
    assert_int_equal(a->field_count, b->field_count);
    for (uint32_t i = 0; i < a->field_count; i++) {
        assert_int_equal(a->fields[i].column, b->fields[i].column);
        assert_true(satchel_value_equal(&a->fields[i].value, &b->fields[i].value));
    }
    assert_int_equal(a->exception_count, b->exception_count);
    for (uint32_t i = 0; i < a->exception_count; i++) {
        assert_int_equal(a->exceptions[i].column, b->exceptions[i].column);
        assert_int_equal(a->exceptions[i].view.kind, b->exceptions[i].view.kind);
        assert_vectors_equal(&a->exceptions[i].view.vector, &b->exceptions[i].view.vector);
    }
}

static void test_changeset__comes_back_as_it_was_written(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_changeset round trip");
    for (int round = 0; round < 2000; round++) {
        struct satchel_changeset in = random_changeset(&random, 12), out;
        write_changeset(&in);
        struct satchel_span body = satchel_buffer_span(&buffer);
        assert_int_equal(satchel_changeset_decode(body, &arena, &out, NULL), SATCHEL_OK);
        assert_int_equal(out.header.schema, in.header.schema);
        assert_true(satchel_span_equal(out.header.role, in.header.role));
        assert_vectors_equal(&out.header.seen, &in.header.seen);
        assert_int_equal(out.header.part_count, in.header.part_count);
        const uint8_t *expected_at = NULL;
        for (uint32_t i = 0; i < in.header.part_count; i++) {
            assert_parts_equal(&in.parts[i], &out.parts[i]);
            if (expected_at)
                assert_ptr_equal(out.parts[i].bytes.data, expected_at);
            expected_at = out.parts[i].bytes.data + out.parts[i].bytes.size;
        }
        if (expected_at)
            assert_ptr_equal(expected_at, body.data + body.size);
        satchel_arena_reset(&arena);
    }
}

static void test_changeset__every_truncation_is_corrupt(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_changeset truncation");
    uint8_t secret[SATCHEL_SECRET_BYTES] = {1};
    uint8_t hash[SATCHEL_HASH_BYTES];
    for (int round = 0; round < 20; round++) {
        struct satchel_changeset in = random_changeset(&random, 6), out;
        write_changeset(&in);
        for (size_t size = 0; size < buffer.size; size++) {
            /* A copy of exactly that size, so that a sanitizer sees any read past it. */
            uint8_t *cut = malloc(size ? size : 1);
            assert_non_null(cut);
            memcpy(cut, buffer.data, size);
            struct satchel_span body = satchel_span_of(cut, size);
            struct satchel_error error = {SATCHEL_OK, 0, ""};
            assert_int_equal(satchel_changeset_decode(body, &arena, &out, &error), SATCHEL_CORRUPT);
            assert_true(error.message[0] != '\0');
            assert_int_equal(satchel_changeset_hash(body, secret, hash), SATCHEL_CORRUPT);
            free(cut);
        }
        assert_int_equal(satchel_buffer_append(&buffer, "\0", 1), SATCHEL_OK);
        assert_int_equal(satchel_changeset_decode(satchel_buffer_span(&buffer), &arena, &out, NULL),
                         SATCHEL_CORRUPT);
        assert_int_equal(satchel_changeset_hash(satchel_buffer_span(&buffer), secret, hash),
                         SATCHEL_CORRUPT);
        satchel_arena_reset(&arena);
    }
}

static void test_changeset__flipped_bits_never_allocate_beyond_a_multiple_of_the_body(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_changeset bits");
    for (int round = 0; round < 10; round++) {
        struct satchel_changeset in = random_changeset(&random, 8), out;
        write_changeset(&in);
        for (size_t bit = 0; bit < buffer.size * 8; bit++) {
            buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            satchel_arena_reset(&arena);
            enum satchel_status status =
                satchel_changeset_decode(satchel_buffer_span(&buffer), &arena, &out, NULL);
            assert_true(status == SATCHEL_OK || status == SATCHEL_CORRUPT ||
                        status == SATCHEL_VERSION || status == SATCHEL_LIMIT);
            assert_true(arena.used_bytes <= 48 * (buffer.size + 16));
            buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        satchel_arena_reset(&arena);
    }
}

/* ---- refusals ---- */

static void expect_decode(const uint8_t *bytes, size_t size, enum satchel_status expected)
{
    struct satchel_changeset out;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    assert_int_equal(satchel_changeset_decode(satchel_span_of(bytes, size), &arena, &out, &error),
                     expected);
    assert_int_equal(error.status, expected);
}

#define EXPECT_DECODE(expected, ...)                    \
    do {                                                \
        static const uint8_t bytes_[] = {__VA_ARGS__};  \
        expect_decode(bytes_, sizeof bytes_, expected); \
    } while (0)

#define HEADER_OF(parts) 0x95, 1, 2, 0x90, 0xa0, parts

static void test_changeset__refuses_what_is_not_valid(void **state)
{
    (void)state;
    EXPECT_DECODE(SATCHEL_OK, HEADER_OF(1), 0x96, 1, 3, 0x91, 7, 0x92, 1, 2, 0x92, 0xc0, 5, 0x90);
    EXPECT_DECODE(SATCHEL_VERSION, 0x95, 2, 2, 0x90, 0xa0, 0);
    EXPECT_DECODE(SATCHEL_VERSION, 0x97, 9, 2, 0x90, 0xa0, 0, 0, 0);
    EXPECT_DECODE(SATCHEL_CORRUPT, 0x94, 1, 2, 0x90, 0xa0);
    EXPECT_DECODE(SATCHEL_LIMIT, 0x95, 1, 2, 0x90, 0xa0, 0xce, 0, 1, 0x86, 0xa1); /* 100,001 */
    EXPECT_DECODE(SATCHEL_CORRUPT, 0x95, 1, 2, 0x90, 0xa0, 0xce, 0, 1, 0x86, 0xa0);
    /* columns that do not ascend; fewer values than columns; a column out of range */
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0x91, 7, 0x92, 2, 2, 0x92, 0xc0, 5,
                  0x90);
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0x91, 7, 0x92, 1, 2, 0x91, 0xc0, 0x90);
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0x91, 7, 0x91, 0xcd, 3, 0xe8, 0x91, 5,
                  0x90);
    /* a delete with fields; an unknown operation; no key; a key of 17 */
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 2, 3, 0x91, 7, 0x91, 1, 0x91, 5, 0x90);
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 3, 3, 0x91, 7, 0x90, 0x90, 0x90);
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0x90, 0x90, 0x90, 0x90, 0xc0);
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0xdc, 0, 17, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                  1, 1, 1, 1, 1, 1, 1, 1, 0x90, 0x90, 0x90);
    /* an exception of unknown kind; a value that is a map */
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0x91, 7, 0x90, 0x90, 0x91, 0x93, 0xc0,
                  3, 0x90);
    EXPECT_DECODE(SATCHEL_CORRUPT, HEADER_OF(1), 0x96, 1, 3, 0x91, 0x80, 0x90, 0x90, 0x90);
}

static void test_changeset__refuses_vectors_out_of_order(void **state)
{
    (void)state;
    struct satchel_position items[2] = {{sample_id(2), 1}, {sample_id(1), 1}};
    struct satchel_changeset_header header = {1, {items, 2}, {NULL, 0}, 0};
    struct satchel_changeset out;
    struct satchel_pack pack;
    assert_int_equal(satchel_changeset_write_header(&buffer, &header), SATCHEL_INVALID);
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            items[1] = (struct satchel_position){sample_id(3), 0};
        if (round == 2)
            items[1] = (struct satchel_position){sample_id(3), 4};
        satchel_buffer_clear(&buffer);
        satchel_pack_init(&pack, &buffer);
        satchel_pack_raw(&pack, satchel_span_of("\x95\x01\x01", 3));
        satchel_pack_vector(&pack, &header.seen);
        satchel_pack_raw(&pack, satchel_span_of("\xa0\x00", 2));
        assert_int_equal(pack.status, SATCHEL_OK);
        assert_int_equal(satchel_changeset_decode(satchel_buffer_span(&buffer), &arena, &out, NULL),
                         round == 2 ? SATCHEL_OK : SATCHEL_CORRUPT);
    }
}

static void test_changeset__the_encoder_holds_the_limits_and_leaves_the_buffer(void **state)
{
    (void)state;
    struct satchel_value key = satchel_value_integer(1);
    struct satchel_field fields[2] = {{3, satchel_value_null()}, {3, satchel_value_null()}};
    struct satchel_part part = {SATCHEL_OP_UPDATE, 1, &key, 1, fields, 2, NULL, 0, {NULL, 0}};
    struct satchel_changeset_header header = {
        1, {NULL, 0}, {NULL, 0}, SATCHEL_CHANGESET_PARTS_MAX + 1};
    assert_int_equal(satchel_buffer_append(&buffer, "kept", 4), SATCHEL_OK);
    assert_int_equal(satchel_changeset_write_part(&buffer, &part), SATCHEL_INVALID);
    part.field_count = 1;
    part.kind = SATCHEL_OP_DELETE;
    assert_int_equal(satchel_changeset_write_part(&buffer, &part), SATCHEL_INVALID);
    part.kind = SATCHEL_OP_UPDATE;
    part.key_count = 0;
    assert_int_equal(satchel_changeset_write_part(&buffer, &part), SATCHEL_INVALID);
    part.key_count = 1;
    uint8_t *large = calloc(1, SATCHEL_CHANGESET_BYTES_MAX);
    assert_non_null(large);
    fields[0].value = satchel_value_blob(satchel_span_of(large, SATCHEL_CHANGESET_BYTES_MAX));
    assert_int_equal(satchel_changeset_write_part(&buffer, &part), SATCHEL_LIMIT);
    free(large);
    assert_int_equal(satchel_changeset_write_header(&buffer, &header), SATCHEL_LIMIT);
    assert_int_equal(buffer.size, 4);
}

static void test_changeset__a_limit_of_memory_is_told_from_its_lack(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_changeset memory");
    struct satchel_changeset in = random_changeset(&random, 1), out;
    do
        in = random_changeset(&random, 9);
    while (in.header.part_count < 5);
    write_changeset(&in);
    struct counting_allocator counting;
    counting_allocator_init(&counting);
    struct satchel_arena small;
    satchel_arena_init(&small, 200, &counting.allocator);
    assert_int_equal(satchel_changeset_decode(satchel_buffer_span(&buffer), &small, &out, NULL),
                     SATCHEL_LIMIT);
    satchel_arena_deinit(&small);
    counting.fail_at = 1;
    counting.calls = 0;
    satchel_arena_init(&small, 1 << 20, &counting.allocator);
    assert_int_equal(satchel_changeset_decode(satchel_buffer_span(&buffer), &small, &out, NULL),
                     SATCHEL_NOMEM);
    satchel_arena_deinit(&small);
    assert_int_equal(counting.blocks, 0);
}

/* ---- identity ---- */

static void test_hash__changes_with_every_bit_of_body_and_secret(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_hash");
    struct satchel_changeset in = random_changeset(&random, 4);
    uint8_t secret[SATCHEL_SECRET_BYTES] = {7};
    uint8_t hash[SATCHEL_HASH_BYTES], other[SATCHEL_HASH_BYTES];
    write_changeset(&in);
    struct satchel_span body = satchel_buffer_span(&buffer);
    assert_int_equal(satchel_changeset_hash(body, secret, hash), SATCHEL_OK);
    assert_int_equal(satchel_changeset_hash(body, secret, other), SATCHEL_OK);
    assert_memory_equal(hash, other, sizeof hash);
    for (size_t bit = 0; bit < body.size * 8; bit++) {
        buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (satchel_changeset_hash(body, secret, other) == SATCHEL_OK)
            assert_memory_not_equal(hash, other, sizeof hash);
        buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    if (in.header.part_count > 0) {
        secret[15] ^= 1;
        assert_int_equal(satchel_changeset_hash(body, secret, other), SATCHEL_OK);
        assert_memory_not_equal(hash, other, sizeof hash);
    }
}

static void test_hash__is_the_documented_construction(void **state)
{
    (void)state;
    /* Computed with Python's hashlib.blake2b from docs/wire-format.md. */
    static const uint8_t body[] = {HEADER_OF(1), 0x96, 1, 3,   0x91, 7, 0x92, 1, 2,
                                   0x92,         0xc0, 5, 0x90};
    static const char *const expected =
        "3f55602cc0dc5ff0cbb9709b28eeb4c9970f24b892a8f9ce12dca0c960f12336";
    uint8_t secret[SATCHEL_SECRET_BYTES];
    uint8_t hash[SATCHEL_HASH_BYTES];
    char text[2 * SATCHEL_HASH_BYTES + 1];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)i;
    assert_int_equal(satchel_changeset_hash(satchel_span_of(body, sizeof body), secret, hash),
                     SATCHEL_OK);
    satchel_hex(satchel_span_of(hash, sizeof hash), text);
    assert_string_equal(text, expected);
}

static void test_secret__differs_per_number_device_and_moment(void **state)
{
    (void)state;
    uint8_t device[32] = {1}, a[SATCHEL_SECRET_BYTES], b[SATCHEL_SECRET_BYTES];
    const struct satchel_moment moment = {1, 2, 3}, others[] = {{2, 2, 3}, {1, 3, 3}, {1, 2, 4}};
    satchel_changeset_secret(device, 1, &moment, a);
    satchel_changeset_secret(device, 1, &moment, b);
    assert_memory_equal(a, b, sizeof a);
    satchel_changeset_secret(device, 2, &moment, b);
    assert_memory_not_equal(a, b, sizeof a);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        satchel_changeset_secret(device, 1, &others[i], b);
        assert_memory_not_equal(a, b, sizeof a);
    }
    device[31] = 1;
    satchel_changeset_secret(device, 1, &moment, b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* ---- stored form ---- */

static void test_body__is_stored_raw_or_smaller_and_loads_again(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_body");
    struct satchel_buffer stored, scratch;
    satchel_buffer_init(&stored, 1 << 20, NULL);
    satchel_buffer_init(&scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    static const size_t sizes[] = {0, 1, 1023, 1024, 5000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int compressible = 0; compressible < 2; compressible++) {
            satchel_buffer_clear(&buffer);
            satchel_buffer_clear(&stored);
            for (size_t at = 0; at < sizes[i]; at++) {
                uint8_t byte = compressible ? (uint8_t)(at % 7) : (uint8_t)random_next(&random);
                assert_int_equal(satchel_buffer_append(&buffer, &byte, 1), SATCHEL_OK);
            }
            struct satchel_span body = satchel_buffer_span(&buffer), back;
            assert_int_equal(satchel_body_store(body, &stored), SATCHEL_OK);
            assert_true(stored.size <= body.size + 1);
            assert_int_equal(stored.data[0], compressible && sizes[i] >= 1024 ? 1 : 0);
            assert_int_equal(satchel_body_load(satchel_buffer_span(&stored), &scratch, &back),
                             SATCHEL_OK);
            assert_true(satchel_span_equal(back, body));
            for (size_t cut = 0; stored.data[0] == 1 && cut < stored.size; cut++)
                assert_int_equal(
                    satchel_body_load(satchel_span_of(stored.data, cut), &scratch, &back),
                    SATCHEL_CORRUPT);
        }
    struct satchel_span back;
    assert_int_equal(satchel_body_load(satchel_span_of("\x02xyz", 4), &scratch, &back),
                     SATCHEL_CORRUPT);
    assert_int_equal(satchel_body_load(satchel_span_of(NULL, 0), &scratch, &back), SATCHEL_CORRUPT);
    satchel_buffer_deinit(&stored);
    satchel_buffer_deinit(&scratch);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_changeset__comes_back_as_it_was_written),
        TEST(test_changeset__every_truncation_is_corrupt),
        TEST(test_changeset__flipped_bits_never_allocate_beyond_a_multiple_of_the_body),
        TEST(test_changeset__refuses_what_is_not_valid),
        TEST(test_changeset__refuses_vectors_out_of_order),
        TEST(test_changeset__the_encoder_holds_the_limits_and_leaves_the_buffer),
        TEST(test_changeset__a_limit_of_memory_is_told_from_its_lack),
        TEST(test_hash__changes_with_every_bit_of_body_and_secret),
        TEST(test_hash__is_the_documented_construction),
        TEST(test_secret__differs_per_number_device_and_moment),
        TEST(test_body__is_stored_raw_or_smaller_and_loads_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
