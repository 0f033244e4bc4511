/* No memory at the ends of a session: every kind of message is written, framed, read and compared,
 * or it is said that there is none. The session itself: ../unit/test_session.c. */
#include "../unit/protocol_support.h"
#include "failing_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { RUNS = 1000 };

static void nothing(void *context)
{
    (void)context;
}

/* ---- a message through a frame ---- */

struct trip {
    struct satchel_message message;
    struct satchel_buffer written, frame, scratch;
    struct satchel_arena arena;
};

static void begin_trip(void *context)
{
    struct trip *trip = context;
    satchel_buffer_init(&trip->written, 1 << 20, NULL);
    satchel_buffer_init(&trip->frame, 1 << 20, NULL);
    satchel_buffer_init(&trip->scratch, 1 << 20, NULL);
    satchel_arena_init(&trip->arena, 1 << 20, NULL);
}

static enum satchel_status run_trip(void *context, struct satchel_error *error)
{
    struct trip *trip = context;
    struct satchel_message read;
    struct satchel_span bytes;
    satchel_buffer_clear(&trip->written);
    satchel_buffer_clear(&trip->frame);
    enum satchel_status status = satchel_message_write(&trip->written, &trip->message);
    if (status != SATCHEL_OK) {
        assert_int_equal(trip->written.size, 0); /* not half a message */
        return status;
    }
    status = satchel_frame_write(&trip->frame, satchel_buffer_span(&trip->written));
    if (status == SATCHEL_OK)
        status = satchel_frame_read(satchel_buffer_span(&trip->frame), 1 << 20, &trip->scratch,
                                    &bytes, error);
    if (status == SATCHEL_OK)
        status = satchel_message_read(bytes, &trip->arena, &read, error);
    if (status == SATCHEL_OK)
        assert_true(messages_equal(&trip->message, &read));
    return status;
}

static void finish_trip(void *context, enum satchel_status status)
{
    struct trip *trip = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_int_equal(run_trip(trip, &error), SATCHEL_OK);
    satchel_buffer_deinit(&trip->written);
    satchel_buffer_deinit(&trip->frame);
    satchel_buffer_deinit(&trip->scratch);
    satchel_arena_deinit(&trip->arena);
}

static void test_memory__every_message_passes_a_frame_or_does_not(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct trip trip = {.message = sample_message(i)};
        memory_scenario_run(
            &(struct memory_scenario){sample_name(i), begin_trip, run_trip, finish_trip}, &trip,
            RUNS);
    }
}

/* ---- change sets and notes of some size ---- */

enum { PARTS = 200, FIELDS = 20 };
static struct satchel_buffer body;

static void make_body(void)
{
    static struct satchel_field fields[FIELDS];
    const struct satchel_value key = satchel_value_text(satchel_span_text("key"));
    const struct satchel_changeset_header header = {.schema = 1, .part_count = PARTS};
    for (uint32_t i = 0; i < FIELDS; i++)
        fields[i] = (struct satchel_field){i, satchel_value_integer(i)};
    satchel_buffer_init(&body, 1 << 20, NULL);
    assert_int_equal(satchel_changeset_write_header(&body, &header), SATCHEL_OK);
    for (uint32_t i = 0; i < PARTS; i++) {
        const struct satchel_part part = {.kind = SATCHEL_OP_UPDATE,
                                          .table = 1,
                                          .key = &key,
                                          .key_count = 1,
                                          .fields = fields,
                                          .field_count = FIELDS};
        assert_int_equal(satchel_changeset_write_part(&body, &part), SATCHEL_OK);
    }
}

static enum satchel_status run_body(void *context, struct satchel_error *error)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = {1};
    uint8_t hash[SATCHEL_HASH_BYTES];
    struct satchel_buffer stored, scratch;
    struct satchel_arena arena;
    struct satchel_changeset changeset;
    struct satchel_span loaded;
    (void)context;
    satchel_buffer_init(&stored, 1 << 20, NULL);
    satchel_buffer_init(&scratch, 1 << 20, NULL);
    satchel_arena_init(&arena, 1 << 24, NULL);
    enum satchel_status status = satchel_body_store(satchel_buffer_span(&body), &stored);
    if (status == SATCHEL_OK)
        status = satchel_body_load(satchel_buffer_span(&stored), &scratch, &loaded);
    if (status == SATCHEL_OK)
        status = satchel_changeset_decode(loaded, &arena, &changeset, error);
    if (status == SATCHEL_OK)
        status = satchel_changeset_hash(loaded, secret, hash);
    if (status == SATCHEL_OK)
        assert_int_equal(changeset.parts[PARTS - 1].fields[FIELDS - 1].value.integer, FIELDS - 1);
    satchel_buffer_deinit(&stored);
    satchel_buffer_deinit(&scratch);
    satchel_arena_deinit(&arena);
    return status;
}

static void finish_body(void *context, enum satchel_status status)
{
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_int_equal(run_body(context, &error), SATCHEL_OK);
}

static void test_memory__a_change_set_is_read_or_not(void **state)
{
    (void)state;
    make_body();
    memory_scenario_run(&(struct memory_scenario){"change set", nothing, run_body, finish_body},
                        NULL, RUNS);
    satchel_buffer_deinit(&body);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__every_message_passes_a_frame_or_does_not),
        cmocka_unit_test(test_memory__a_change_set_is_read_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
