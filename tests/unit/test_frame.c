/* The frame: small messages raw, larger ones compressed if that helps, and no bomb goes off. */
#include "protocol_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zstd.h>

static void test_frame__is_raw_below_200_bytes_and_where_zstd_does_not_help(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_frame");
    static uint8_t message[100000];
    struct satchel_buffer frame, scratch;
    satchel_buffer_init(&frame, 1 << 20, NULL);
    satchel_buffer_init(&scratch, 1 << 20, NULL);
    static const size_t sizes[] = {1, 199, 200, 5000, sizeof message};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int compressible = 0; compressible < 2; compressible++) {
            for (size_t at = 0; at < sizes[i]; at++)
                message[at] = compressible ? (uint8_t)(at % 11) : (uint8_t)random_next(&random);
            struct satchel_span in = satchel_span_of(message, sizes[i]), out;
            satchel_buffer_clear(&frame);
            assert_int_equal(satchel_frame_write(&frame, in), SATCHEL_OK);
            assert_int_equal(frame.data[0], compressible && sizes[i] >= 200 ? 1 : 0);
            assert_true(frame.size <= sizes[i] + 1);
            assert_int_equal(satchel_frame_read(satchel_buffer_span(&frame),
                                                SATCHEL_FRAME_BYTES_MAX, &scratch, &out, NULL),
                             SATCHEL_OK);
            assert_true(satchel_span_equal(in, out));
        }
    satchel_buffer_deinit(&frame);
    satchel_buffer_deinit(&scratch);
}

/* A frame of `size` zeros, with or without the content size. */
static struct satchel_span bomb(uint8_t *frame, size_t frame_bytes, size_t size, int content_size)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    uint8_t *zeros = calloc(1, size);
    assert_non_null(context);
    assert_non_null(zeros);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, content_size);
    size_t packed = ZSTD_compress2(context, frame + 1, frame_bytes - 1, zeros, size);
    assert_false(ZSTD_isError(packed));
    frame[0] = 1;
    free(zeros);
    ZSTD_freeCCtx(context);
    return satchel_span_of(frame, packed + 1);
}

static enum satchel_status read_counted(struct satchel_span frame, size_t bytes_max,
                                        size_t *peak_bytes, struct satchel_error *error)
{
    struct counting_allocator counting;
    struct satchel_buffer scratch;
    struct satchel_span message;
    counting_allocator_init(&counting);
    satchel_buffer_init(&scratch, SATCHEL_FRAME_BYTES_MAX, &counting.allocator);
    enum satchel_status status = satchel_frame_read(frame, bytes_max, &scratch, &message, error);
    satchel_buffer_deinit(&scratch);
    assert_int_equal(counting.blocks, 0);
    *peak_bytes = counting.peak_bytes;
    return status;
}

static void test_frame__a_bomb_is_refused_before_anything_is_allocated(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 16];
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    size_t peak;
    struct satchel_span frame = bomb(bytes, sizeof bytes, 200u << 20, 1);
    assert_true(frame.size < 20000);
    assert_int_equal(read_counted(frame, SATCHEL_FRAME_BYTES_MAX, &peak, &error), SATCHEL_LIMIT);
    assert_int_equal(peak, 0);
    assert_non_null(strstr(error.message, "209715200"));
    frame = bomb(bytes, sizeof bytes, 1 << 20, 1);
    assert_int_equal(read_counted(frame, (1 << 20) - 1, &peak, &error), SATCHEL_LIMIT);
    assert_int_equal(peak, 0);
    assert_int_equal(read_counted(frame, 1 << 20, &peak, &error), SATCHEL_OK);
    assert_int_equal(peak, 1 << 20);
}

static void test_frame__demands_the_content_size(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    size_t peak;
    struct satchel_span frame = bomb(bytes, sizeof bytes, 1000, 0);
    assert_int_equal(read_counted(frame, SATCHEL_FRAME_BYTES_MAX, &peak, &error), SATCHEL_CORRUPT);
    assert_int_equal(peak, 0);
}

static void test_frame__a_few_bytes_cannot_claim_megabytes(void **state)
{
    (void)state;
    /* Magic, single segment with a content size of 4 bytes: 16 MiB, and no block behind it. */
    static const uint8_t claim[] = {1, 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 1, 1, 0, 0};
    size_t peak;
    assert_int_equal(
        read_counted(satchel_span_of(claim, sizeof claim), SATCHEL_FRAME_BYTES_MAX, &peak, NULL),
        SATCHEL_CORRUPT);
    assert_int_equal(peak, 0);
}

static void test_frame__every_truncation_every_flipped_bit_and_a_second_frame(void **state)
{
    (void)state;
    uint8_t message[600];
    size_t peak;
    struct satchel_buffer frame;
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i % 60 < 40 ? i % 60 : i * 7);
    satchel_buffer_init(&frame, 1 << 16, NULL);
    assert_int_equal(satchel_frame_write(&frame, satchel_span_of(message, sizeof message)),
                     SATCHEL_OK);
    assert_int_equal(frame.data[0], 1);
    for (size_t size = 0; size < frame.size; size++)
        assert_int_equal(read_counted(satchel_span_of(frame.data, size), 1 << 20, &peak, NULL),
                         SATCHEL_CORRUPT);
    for (size_t bit = 0; bit < frame.size * 8; bit++) {
        frame.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        enum satchel_status status =
            read_counted(satchel_buffer_span(&frame), 1 << 20, &peak, NULL);
        assert_true(status == SATCHEL_OK || status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT);
        assert_true(peak <= 1 << 20);
        frame.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0};
    assert_int_equal(satchel_buffer_append(&frame, skippable, sizeof skippable), SATCHEL_OK);
    assert_int_equal(read_counted(satchel_buffer_span(&frame), 1 << 20, &peak, NULL),
                     SATCHEL_CORRUPT);
    satchel_buffer_deinit(&frame);
}

static void test_frame__holds_its_limits(void **state)
{
    (void)state;
    static const uint8_t raw[] = {0, 1, 2, 3, 4};
    static const uint8_t unknown[] = {2, 1, 2};
    size_t peak;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    assert_int_equal(read_counted(satchel_span_of(raw, sizeof raw), 5, &peak, NULL), SATCHEL_OK);
    assert_int_equal(read_counted(satchel_span_of(raw, sizeof raw), 4, &peak, NULL), SATCHEL_LIMIT);
    assert_int_equal(read_counted(satchel_span_of(raw, 0), 4, &peak, NULL), SATCHEL_CORRUPT);
    assert_int_equal(read_counted(satchel_span_of(unknown, sizeof unknown), 9, &peak, &error),
                     SATCHEL_CORRUPT);
    assert_true(error.message[0] != '\0');
    struct satchel_buffer frame;
    satchel_buffer_init(&frame, SIZE_MAX, NULL);
    assert_int_equal(satchel_frame_write(&frame, satchel_span_of(raw, SATCHEL_FRAME_BYTES_MAX)),
                     SATCHEL_LIMIT);
    satchel_buffer_deinit(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame__is_raw_below_200_bytes_and_where_zstd_does_not_help),
        cmocka_unit_test(test_frame__a_bomb_is_refused_before_anything_is_allocated),
        cmocka_unit_test(test_frame__demands_the_content_size),
        cmocka_unit_test(test_frame__a_few_bytes_cannot_claim_megabytes),
        cmocka_unit_test(test_frame__every_truncation_every_flipped_bit_and_a_second_frame),
        cmocka_unit_test(test_frame__holds_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
