/* Messages: every kind comes back as it was written, is byte for byte the golden vector under
 * tests/golden/ (SATCHEL_GOLDEN_WRITE=1 writes them anew), and survives being cut, flipped and
 * prolonged. */
#include "protocol_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct satchel_buffer buffer;
static struct satchel_arena arena;

static int setup(void **state)
{
    (void)state;
    satchel_buffer_init(&buffer, SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_arena_init(&arena, 1 << 24, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    satchel_buffer_deinit(&buffer);
    satchel_arena_deinit(&arena);
    return 0;
}

static void write_message(const struct satchel_message *message)
{
    satchel_buffer_clear(&buffer);
    assert_int_equal(satchel_message_write(&buffer, message), SATCHEL_OK);
}

static void test_message__every_kind_comes_back(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct satchel_message in = sample_message(i), out;
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        write_message(&in);
        assert_int_equal(satchel_message_read(satchel_buffer_span(&buffer), &arena, &out, &error),
                         SATCHEL_OK);
        assert_true(messages_equal(&in, &out));
    }
}

/* ---- golden vectors ---- */

static void golden_path(int index, char *path, size_t size)
{
    int length = snprintf(path, size, "%s/message_%s.hex", SATCHEL_GOLDEN_DIR, sample_name(index));
    assert_true(length > 0 && (size_t)length < size);
}

static void write_golden(int index, struct satchel_span bytes)
{
    char path[1024];
    golden_path(index, path, sizeof path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < bytes.size; i++)
        assert_true(fprintf(file, "%02x%s", bytes.data[i],
                            i % 32 == 31 || i + 1 == bytes.size ? "\n" : "") > 0);
    assert_int_equal(fclose(file), 0);
}

static size_t read_golden(int index, uint8_t *bytes, size_t bytes_max)
{
    char path[1024];
    unsigned byte;
    size_t size = 0;
    golden_path(index, path, sizeof path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fscanf(file, "%2x", &byte) == 1) {
        assert_true(size < bytes_max);
        bytes[size++] = (uint8_t)byte;
    }
    assert_int_equal(fclose(file), 0);
    return size;
}

static void test_message__is_the_golden_vector(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        static uint8_t golden[4096];
        struct satchel_message in = sample_message(i), out;
        write_message(&in);
        if (getenv("SATCHEL_GOLDEN_WRITE"))
            write_golden(i, satchel_buffer_span(&buffer));
        size_t size = read_golden(i, golden, sizeof golden);
        assert_int_equal(size, buffer.size);
        assert_memory_equal(golden, buffer.data, size);
        assert_int_equal(satchel_message_read(satchel_span_of(golden, size), &arena, &out, NULL),
                         SATCHEL_OK);
        assert_true(messages_equal(&in, &out));
    }
}

/* ---- damage ---- */

static void test_message__every_truncation_is_corrupt_with_words(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct satchel_message in = sample_message(i), out;
        write_message(&in);
        for (size_t size = 0; size < buffer.size; size++) {
            struct satchel_error error = {SATCHEL_OK, 0, ""};
            uint8_t *cut = malloc(size ? size : 1);
            assert_non_null(cut);
            memcpy(cut, buffer.data, size);
            satchel_arena_reset(&arena);
            assert_int_equal(satchel_message_read(satchel_span_of(cut, size), &arena, &out, &error),
                             SATCHEL_CORRUPT);
            assert_true(error.message[0] != '\0');
            free(cut);
        }
        assert_int_equal(satchel_buffer_append(&buffer, "\xc0", 1), SATCHEL_OK);
        assert_int_equal(satchel_message_read(satchel_buffer_span(&buffer), &arena, &out, NULL),
                         SATCHEL_CORRUPT);
    }
}

static void test_message__no_flipped_bit_crashes_or_allocates_beyond_a_multiple(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct satchel_message in = sample_message(i), out;
        write_message(&in);
        for (size_t bit = 0; bit < buffer.size * 8; bit++) {
            buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            satchel_arena_reset(&arena);
            enum satchel_status status =
                satchel_message_read(satchel_buffer_span(&buffer), &arena, &out, NULL);
            assert_true(status == SATCHEL_OK || status == SATCHEL_CORRUPT ||
                        status == SATCHEL_VERSION);
            assert_true(arena.used_bytes <= 32 * (buffer.size + 16));
            /* What is accepted can be said again. */
            if (status == SATCHEL_OK) {
                struct satchel_buffer again;
                satchel_buffer_init(&again, 1 << 20, NULL);
                assert_int_equal(satchel_message_write(&again, &out), SATCHEL_OK);
                satchel_buffer_deinit(&again);
            }
            buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
}

static void test_message__a_short_header_cannot_claim_memory(void **state)
{
    (void)state;
    static const uint8_t push[] = {0x92, 4, 0xdd, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t entries[] = {0x92, 37, 0xdd, 0x00, 0x00, 0x00, 0x02, 0xc0, 0xc0};
    struct satchel_message out;
    assert_int_equal(satchel_message_read(satchel_span_of(push, sizeof push), &arena, &out, NULL),
                     SATCHEL_CORRUPT);
    assert_int_equal(
        satchel_message_read(satchel_span_of(entries, sizeof entries), &arena, &out, NULL),
        SATCHEL_CORRUPT);
    assert_int_equal(arena.used_bytes, 0);
}

/* ---- versions ---- */

static void test_message__fields_of_a_later_version_are_ignored(void **state)
{
    (void)state;
    static const uint8_t more[] = {0xc3, 0x81, 0xa1, 'k', 0x92, 1, 2};
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct satchel_message in = sample_message(i), out;
        write_message(&in);
        size_t head =
            buffer.data[0] == 0xdc ? 3 : 1; /* of the array; up to 15 items take one byte */
        assert_true(head == 3 || (buffer.data[0] & 0xf0) == 0x90);
        /* The same message with its array's length in two bytes, and two fields more. */
        uint8_t count = head == 3 ? buffer.data[2] : buffer.data[0] & 0x0f;
        uint8_t longer[1024] = {0xdc, 0, (uint8_t)(count + 2)};
        size_t size = 3 + buffer.size - head + sizeof more;
        assert_true(size <= sizeof longer);
        memcpy(longer + 3, buffer.data + head, buffer.size - head);
        memcpy(longer + 3 + buffer.size - head, more, sizeof more);
        assert_int_equal(satchel_message_read(satchel_span_of(longer, size), &arena, &out, NULL),
                         SATCHEL_OK);
        assert_true(messages_equal(&in, &out));
    }
}

static void test_message__another_protocol_or_an_unknown_kind_is_a_matter_of_version(void **state)
{
    (void)state;
    static const uint8_t unknown[] = {0x92, 99, 0xc0};
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_message message = sample_message(2), out;
    message.hello.protocol = SATCHEL_PROTOCOL_VERSION + 1;
    write_message(&message);
    assert_int_equal(satchel_message_read(satchel_buffer_span(&buffer), &arena, &out, &error),
                     SATCHEL_VERSION);
    char named[32];
    snprintf(named, sizeof named, "protocol %d", SATCHEL_PROTOCOL_VERSION + 1);
    assert_non_null(strstr(error.message, named));
    assert_int_equal(
        satchel_message_read(satchel_span_of(unknown, sizeof unknown), &arena, &out, &error),
        SATCHEL_VERSION);
}

/* ---- what must hold within a message ---- */

static void test_message__the_writer_refuses_what_the_reader_would(void **state)
{
    (void)state;
    char name[SATCHEL_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof name);
    struct satchel_message message = sample_message(1);
    message.join.workspace = satchel_span_of(name, sizeof name);
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_LIMIT);
    message = sample_message(1);
    message.join.token.size = 31;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    message = sample_message(3);
    message.push.items[1].number = 15;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    message = sample_message(3);
    message.push.item_count = 0;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    static struct satchel_push_item items[SATCHEL_PUSH_ITEMS_MAX + 1];
    for (uint32_t i = 0; i <= SATCHEL_PUSH_ITEMS_MAX; i++) {
        items[i] = sample_message(3).push.items[0];
        items[i].number = i + 1;
    }
    message.push.items = items;
    message.push.item_count = SATCHEL_PUSH_ITEMS_MAX + 1;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_LIMIT);
    message.push.item_count--;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_OK);
    satchel_buffer_clear(&buffer);
    message = sample_message(5);
    message.admin.arguments[2] = satchel_value_integer(1);
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    message = sample_message(10);
    message.entries.entries[1].cursor = 1001;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    message = sample_message(9);
    message.schema.migrations[1].number = 1;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    message = sample_message(11);
    message.ack.number = UINT64_MAX;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    message.kind = (enum satchel_message_kind)7;
    assert_int_equal(satchel_message_write(&buffer, &message), SATCHEL_INVALID);
    assert_int_equal(buffer.size, 0);
}

static void test_message__a_table_is_as_wide_as_its_columns(void **state)
{
    (void)state;
    /* ["" , ["a","b"], [1, 2, 3]] */
    static const uint8_t ragged[] = {0x94, 41, 0xa0, 0x92, 0xa1, 'a', 0xa1, 'b', 0x93, 1, 2, 3};
    static const uint8_t no_columns[] = {0x94, 41, 0xa0, 0x90, 0x91, 1};
    struct satchel_message out;
    assert_int_equal(
        satchel_message_read(satchel_span_of(ragged, sizeof ragged), &arena, &out, NULL),
        SATCHEL_CORRUPT);
    assert_int_equal(
        satchel_message_read(satchel_span_of(no_columns, sizeof no_columns), &arena, &out, NULL),
        SATCHEL_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_message__every_kind_comes_back),
        TEST(test_message__is_the_golden_vector),
        TEST(test_message__every_truncation_is_corrupt_with_words),
        TEST(test_message__no_flipped_bit_crashes_or_allocates_beyond_a_multiple),
        TEST(test_message__a_short_header_cannot_claim_memory),
        TEST(test_message__fields_of_a_later_version_are_ignored),
        TEST(test_message__another_protocol_or_an_unknown_kind_is_a_matter_of_version),
        TEST(test_message__the_writer_refuses_what_the_reader_would),
        TEST(test_message__a_table_is_as_wide_as_its_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
