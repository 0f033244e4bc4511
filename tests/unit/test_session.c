/* The session: two ends in one process, every byte and every millisecond passed by hand. */
#include "protocol_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const int64_t thirty_years_ms = (int64_t)30 * 365 * 86400 * 1000;

/* ---- a world of two ends ---- */

struct world {
    struct satchel_session *client, *server;
    int64_t true_ms;               /* the server's UTC */
    int64_t client_offset_ms;      /* what the device's wall clock is off */
    const int64_t (*delays_ms)[2]; /* up and down, per round trip of the first four; NULL: 1 each */
    int frames_up, frames_down;
    size_t chunk; /* bytes per receive; 0: whole frames */
    enum satchel_message_kind heard[64];
    int heard_count;
    bool is_done;
};

static struct satchel_now server_now(const struct world *world)
{
    return (struct satchel_now){world->true_ms, world->true_ms - 1000000};
}

static struct satchel_now client_now(const struct world *world)
{
    return (struct satchel_now){world->true_ms + world->client_offset_ms,
                                world->true_ms - 1699999990000};
}

static enum satchel_status world_init(struct world *world,
                                      const struct satchel_allocator *allocator)
{
    struct satchel_session_options options = {sizeof options, SATCHEL_SIDE_CLIENT, allocator, 0,
                                              60000};
    memset(world, 0, sizeof *world);
    world->true_ms = 1700000000000;
    enum satchel_status status = satchel_session_new(&world->client, &options, client_now(world));
    options.side = SATCHEL_SIDE_SERVER;
    if (status == SATCHEL_OK)
        status = satchel_session_new(&world->server, &options, server_now(world));
    return status;
}

static void world_deinit(struct world *world)
{
    satchel_session_free(world->client);
    satchel_session_free(world->server);
}

/* The numbers of the samples meet: HELLO has cursor 1000 of the node that WELCOME names, WELCOME
 * holds up to 12, PUSH begins with 13, ENTRIES with 1001. */
enum {
    TIME_ = 0,
    JOIN,
    HELLO,
    PUSH,
    DIGEST_REQUEST,
    ADMIN,
    TIME_REPLY,
    JOINED,
    WELCOME,
    SCHEMA,
    ENTRIES,
    ACK,
    HEAD,
    DIGESTS,
    ADMIN_RESULT,
    ERROR
};

static enum satchel_status say(struct satchel_session *session, int sample)
{
    struct satchel_message message = sample_message(sample);
    return satchel_session_send(session, &message);
}

static enum satchel_status server_reacts(struct world *world, enum satchel_message_kind kind)
{
    enum satchel_status status = SATCHEL_OK;
    switch (kind) {
    case SATCHEL_MESSAGE_JOIN:
        status = say(world->server, JOINED);
        return status == SATCHEL_OK ? say(world->server, SCHEMA) : status;
    case SATCHEL_MESSAGE_HELLO:
        status = say(world->server, WELCOME);
        if (status == SATCHEL_OK)
            status = say(world->server, ENTRIES);
        return status == SATCHEL_OK ? say(world->server, HEAD) : status;
    case SATCHEL_MESSAGE_PUSH: return say(world->server, ACK);
    case SATCHEL_MESSAGE_DIGEST_REQUEST: return say(world->server, DIGESTS);
    case SATCHEL_MESSAGE_ADMIN: return say(world->server, ADMIN_RESULT);
    default: return SATCHEL_OK;
    }
}

static enum satchel_status client_reacts(struct world *world, enum satchel_message_kind kind)
{
    switch (kind) {
    case SATCHEL_MESSAGE_ADMIN_RESULT: return say(world->client, JOIN);
    case SATCHEL_MESSAGE_SCHEMA: return say(world->client, HELLO);
    case SATCHEL_MESSAGE_HEAD: return say(world->client, PUSH);
    case SATCHEL_MESSAGE_ACK: return say(world->client, DIGEST_REQUEST);
    case SATCHEL_MESSAGE_DIGESTS: world->is_done = true; return SATCHEL_OK;
    default: return SATCHEL_OK;
    }
}

/* One frame in pieces. Every piece is a copy of exactly its size. */
static enum satchel_status deliver(struct satchel_session *to, struct satchel_span frame,
                                   size_t chunk, struct satchel_now now)
{
    enum satchel_status status = SATCHEL_OK;
    for (size_t at = 0; at < frame.size && status == SATCHEL_OK;) {
        size_t size = chunk && chunk < frame.size - at ? chunk : frame.size - at;
        uint8_t *piece = malloc(size);
        assert_non_null(piece);
        memcpy(piece, frame.data + at, size);
        at += size;
        status = satchel_session_receive(to, piece, size, at == frame.size, now);
        free(piece);
    }
    return status;
}

static void remember(struct world *world, enum satchel_message_kind kind)
{
    if (world->heard_count < 64)
        world->heard[world->heard_count++] = kind;
}

static int64_t delay_ms(const struct world *world, int frames_so_far, int direction)
{
    return world->delays_ms && frames_so_far < 4 ? world->delays_ms[frames_so_far][direction] : 1;
}

/* Everything that waits goes across, and what it causes, until nobody has more to say. */
static enum satchel_status run(struct world *world)
{
    struct satchel_span frame;
    struct satchel_message event;
    enum satchel_status status = SATCHEL_OK;
    for (;;) {
        if (satchel_session_next_output(world->client, &frame)) {
            world->true_ms += delay_ms(world, world->frames_up++, 0);
            status = deliver(world->server, frame, world->chunk, server_now(world));
            while (status == SATCHEL_OK && satchel_session_next_event(world->server, &event)) {
                remember(world, event.kind);
                status = server_reacts(world, event.kind);
            }
        } else if (satchel_session_next_output(world->server, &frame)) {
            world->true_ms += delay_ms(world, world->frames_down++, 1);
            status = deliver(world->client, frame, world->chunk, client_now(world));
            while (satchel_session_next_event(world->client, &event)) {
                remember(world, event.kind);
                if (status == SATCHEL_OK)
                    status = client_reacts(world, event.kind);
            }
        } else {
            return status;
        }
        if (status != SATCHEL_OK)
            return status;
    }
}

/* ---- whole conversations ---- */

static void test_session__goes_from_admin_to_digests_whole_or_a_byte_at_a_time(void **state)
{
    (void)state;
    static const size_t chunks[] = {0, 1, 7, 100};
    static const enum satchel_message_kind expected[] = {
        SATCHEL_MESSAGE_ADMIN,   SATCHEL_MESSAGE_ADMIN_RESULT, SATCHEL_MESSAGE_JOIN,
        SATCHEL_MESSAGE_JOINED,  SATCHEL_MESSAGE_SCHEMA,       SATCHEL_MESSAGE_HELLO,
        SATCHEL_MESSAGE_WELCOME, SATCHEL_MESSAGE_ENTRIES,      SATCHEL_MESSAGE_HEAD,
        SATCHEL_MESSAGE_PUSH,    SATCHEL_MESSAGE_ACK,          SATCHEL_MESSAGE_DIGEST_REQUEST,
        SATCHEL_MESSAGE_DIGESTS};
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        struct world world;
        assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
        world.chunk = chunks[i];
        assert_int_equal(say(world.client, ADMIN), SATCHEL_OK);
        assert_false(satchel_session_is_attached(world.client));
        assert_int_equal(run(&world), SATCHEL_OK);
        assert_true(world.is_done);
        assert_int_equal(world.heard_count, sizeof expected / sizeof expected[0]);
        assert_memory_equal(world.heard, expected, sizeof expected);
        assert_true(satchel_session_is_attached(world.client));
        assert_true(satchel_session_is_attached(world.server));
        assert_int_equal(satchel_session_failed(world.client, NULL), SATCHEL_OK);
        assert_int_equal(satchel_session_failed(world.server, NULL), SATCHEL_OK);
        world_deinit(&world);
    }
}

/* A client and a server attached to each other, with nothing under way. */
static void attach(struct world *world)
{
    assert_int_equal(world_init(world, NULL), SATCHEL_OK);
    assert_int_equal(say(world->client, JOIN), SATCHEL_OK);
    assert_int_equal(run(world), SATCHEL_OK);
    assert_true(world->is_done);
}

static void test_session__every_failed_allocation_ends_in_nomem_without_a_leak(void **state)
{
    (void)state;
    struct counting_allocator counting;
    size_t calls = 1;
    for (size_t fail_at = 1; fail_at <= calls; fail_at++) {
        struct world world;
        counting_allocator_init(&counting);
        counting.fail_at = fail_at;
        enum satchel_status status = world_init(&world, &counting.allocator);
        if (status == SATCHEL_OK)
            status = say(world.client, ADMIN);
        if (status == SATCHEL_OK)
            status = run(&world);
        assert_int_equal(status, SATCHEL_NOMEM);
        if (world.server) {
            /* Whatever happened, both ends can still be asked and ended. */
            struct satchel_error error = {SATCHEL_OK, 0, ""};
            satchel_session_failed(world.server, &error);
            satchel_session_fail(world.server, SATCHEL_IO, "over");
            satchel_session_fail(world.client, SATCHEL_IO, "over");
            assert_true(satchel_session_failed(world.client, &error) != SATCHEL_OK);
            assert_true(error.message[0] != '\0');
        }
        world_deinit(&world);
        assert_int_equal(counting.blocks, 0);
        assert_int_equal(counting.used_bytes, 0);
        if (fail_at == calls) {
            /* How many there are shows when this one succeeds. */
            counting_allocator_init(&counting);
            assert_int_equal(world_init(&world, &counting.allocator), SATCHEL_OK);
            assert_int_equal(say(world.client, ADMIN), SATCHEL_OK);
            assert_int_equal(run(&world), SATCHEL_OK);
            calls = counting.calls;
            world_deinit(&world);
            assert_int_equal(counting.blocks, 0);
        }
    }
    printf("allocations failed in turn: %zu\n", calls);
    assert_true(calls > 50);
}

static void test_session__an_idle_server_session_costs_less_than_2_kib(void **state)
{
    (void)state;
    struct world world;
    struct counting_allocator counting;
    struct satchel_session_options options = {sizeof options, SATCHEL_SIDE_SERVER, NULL, 0, 0};
    counting_allocator_init(&counting);
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    satchel_session_free(world.server);
    options.allocator = &counting.allocator;
    assert_int_equal(satchel_session_new(&world.server, &options, server_now(&world)), SATCHEL_OK);
    assert_int_equal(say(world.client, ADMIN), SATCHEL_OK);
    assert_int_equal(run(&world), SATCHEL_OK);
    assert_true(satchel_session_is_attached(world.server));
    assert_int_equal(satchel_session_tick(world.server, server_now(&world)), SATCHEL_OK);
    printf("idle server session: %zu bytes in %zu blocks\n", counting.used_bytes, counting.blocks);
    assert_true(counting.used_bytes < 2048);
    world_deinit(&world);
}

/* ---- the clock ---- */

static void test_session__measures_the_clock_by_the_fastest_of_four(void **state)
{
    (void)state;
    /* The third is fastest; the others are lopsided by seconds. */
    static const int64_t delays_ms[4][2] = {{9000, 10}, {20, 5000}, {30, 34}, {400, 300}};
    struct world world;
    struct satchel_clock_sample sample;
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    world.client_offset_ms = -thirty_years_ms;
    world.delays_ms = delays_ms;
    assert_false(satchel_session_clock(world.client, &sample));
    assert_int_equal(run(&world), SATCHEL_OK);
    assert_true(satchel_session_clock(world.client, &sample));
    assert_int_equal(sample.round_trip_ms, 64);
    int64_t error_ms = sample.utc_ms - sample.server_ms;
    assert_true(llabs(error_ms + thirty_years_ms) <= 32);
    assert_true(error_ms == -thirty_years_ms + 2); /* (30 - 34) / 2 late */
    assert_false(satchel_session_clock(world.server, &sample));
    world_deinit(&world);
}

static void test_session__a_hello_waits_for_the_clock_and_carries_its_error(void **state)
{
    (void)state;
    struct world world;
    struct satchel_span frame;
    struct satchel_message event = {.kind = SATCHEL_MESSAGE_TIME};
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    world.client_offset_ms = 10800000;
    /* What the caller's message borrows goes away before it is sent. */
    char *software = malloc(4);
    assert_non_null(software);
    memcpy(software, "abc", 4);
    struct satchel_message hello = sample_message(HELLO);
    hello.hello.software = satchel_span_text(software);
    assert_int_equal(satchel_session_send(world.client, &hello), SATCHEL_OK);
    free(software);
    assert_int_equal(say(world.client, HELLO), SATCHEL_STATE);
    int times = 0;
    while (satchel_session_next_output(world.client, &frame)) {
        assert_int_equal(deliver(world.server, frame, 0, server_now(&world)), SATCHEL_OK);
        if (satchel_session_next_event(world.server, &event))
            break;
        times++;
        assert_true(satchel_session_next_output(world.server, &frame));
        assert_int_equal(deliver(world.client, frame, 0, client_now(&world)), SATCHEL_OK);
    }
    assert_int_equal(times, 4);
    assert_int_equal(event.kind, SATCHEL_MESSAGE_HELLO);
    assert_int_equal(event.hello.clock_error_ms, 10800000);
    assert_true(satchel_span_equal(event.hello.software, satchel_span_text("abc")));
    world_deinit(&world);
}

static void test_session__a_time_no_server_has_is_refused(void **state)
{
    (void)state;
    static const int64_t absurd[] = {INT64_MAX, INT64_MIN, -1};
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        struct world world;
        struct satchel_buffer message, frame;
        assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
        satchel_buffer_init(&message, 1000, NULL);
        satchel_buffer_init(&frame, 1000, NULL);
        struct satchel_message reply = {.kind = SATCHEL_MESSAGE_TIME_REPLY};
        reply.time_reply.client_ms = client_now(&world).monotonic_ms;
        reply.time_reply.server_ms = absurd[i];
        assert_int_equal(satchel_message_write(&message, &reply), SATCHEL_OK);
        assert_int_equal(satchel_frame_write(&frame, satchel_buffer_span(&message)), SATCHEL_OK);
        assert_int_equal(deliver(world.client, satchel_buffer_span(&frame), 0, client_now(&world)),
                         SATCHEL_CORRUPT);
        satchel_buffer_deinit(&message);
        satchel_buffer_deinit(&frame);
        world_deinit(&world);
    }
}

static void test_session__asking_the_time_without_reading_is_bounded(void **state)
{
    (void)state;
    struct world world;
    struct satchel_span frame;
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    assert_true(satchel_session_next_output(world.client, &frame));
    enum satchel_status status = SATCHEL_OK;
    for (int i = 0; i < 200000 && status == SATCHEL_OK; i++)
        status = deliver(world.server, frame, 0, server_now(&world));
    assert_int_equal(status, SATCHEL_LIMIT);
    assert_true(satchel_session_output_bytes(world.server) < 1200000);
    world_deinit(&world);
}

/* ---- what is out of place ---- */

static enum satchel_status inject(struct satchel_session *session,
                                  const struct satchel_message *message, struct satchel_now now)
{
    struct satchel_buffer bytes, frame;
    satchel_buffer_init(&bytes, SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_buffer_init(&frame, SATCHEL_FRAME_BYTES_MAX, NULL);
    assert_int_equal(satchel_message_write(&bytes, message), SATCHEL_OK);
    assert_int_equal(satchel_frame_write(&frame, satchel_buffer_span(&bytes)), SATCHEL_OK);
    enum satchel_status status = deliver(session, satchel_buffer_span(&frame), 0, now);
    satchel_buffer_deinit(&bytes);
    satchel_buffer_deinit(&frame);
    return status;
}

/* The session has ended with STATE; a server said so. */
static void assert_out_of_place(struct satchel_session *session, bool is_server)
{
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_message event;
    struct satchel_span frame;
    assert_int_equal(satchel_session_failed(session, &error), SATCHEL_STATE);
    assert_true(error.message[0] != '\0');
    assert_false(satchel_session_next_event(session, &event));
    assert_int_equal(say(session, ACK), SATCHEL_STATE);
    bool has_said = false;
    while (satchel_session_next_output(session, &frame))
        has_said = frame.size > 3 && frame.data[0] == 0 && frame.data[2] == SATCHEL_MESSAGE_ERROR;
    assert_int_equal(has_said, is_server);
}

static void test_session__a_message_in_the_wrong_state_ends_the_session(void **state)
{
    (void)state;
    /* Who hears what in which state: F fresh, A attached. What is missing is allowed. */
    static const struct {
        char side, at;
        int sample;
    } cases[] = {{'S', 'F', PUSH},         {'S', 'F', DIGEST_REQUEST},
                 {'S', 'F', TIME_REPLY},   {'S', 'F', JOINED},
                 {'S', 'F', WELCOME},      {'S', 'F', SCHEMA},
                 {'S', 'F', ENTRIES},      {'S', 'F', ACK},
                 {'S', 'F', HEAD},         {'S', 'F', DIGESTS},
                 {'S', 'F', ADMIN_RESULT}, {'S', 'A', JOIN},
                 {'S', 'A', HELLO},        {'S', 'A', ADMIN},
                 {'S', 'A', ENTRIES},      {'S', 'A', WELCOME},
                 {'C', 'F', TIME_},        {'C', 'F', JOIN},
                 {'C', 'F', HELLO},        {'C', 'F', PUSH},
                 {'C', 'F', ADMIN},        {'C', 'F', JOINED},
                 {'C', 'F', WELCOME},      {'C', 'F', SCHEMA},
                 {'C', 'F', ENTRIES},      {'C', 'F', ACK},
                 {'C', 'F', HEAD},         {'C', 'F', DIGESTS},
                 {'C', 'F', ADMIN_RESULT}, {'C', 'F', TIME_REPLY},
                 {'C', 'A', JOINED},       {'C', 'A', WELCOME},
                 {'C', 'A', ADMIN_RESULT}, {'C', 'A', TIME_REPLY},
                 {'C', 'A', PUSH},         {'C', 'A', TIME_}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world world;
        struct satchel_message message = sample_message(cases[i].sample);
        if (cases[i].at == 'A')
            attach(&world);
        else
            assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
        bool is_server = cases[i].side == 'S';
        struct satchel_session *session = is_server ? world.server : world.client;
        struct satchel_now now = is_server ? server_now(&world) : client_now(&world);
        assert_int_equal(inject(session, &message, now), SATCHEL_STATE);
        assert_int_equal(inject(session, &message, now), SATCHEL_STATE);
        assert_out_of_place(session, is_server);
        world_deinit(&world);
    }
}

static void test_session__what_may_not_be_said_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct world world;
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    for (int sample = 0; sample < ERROR; sample++) {
        if (sample != JOIN && sample != HELLO && sample != ADMIN)
            assert_int_equal(say(world.client, sample), SATCHEL_STATE);
        assert_int_equal(say(world.server, sample), SATCHEL_STATE);
    }
    assert_int_equal(satchel_session_output_bytes(world.server), 0);
    world_deinit(&world);

    attach(&world);
    assert_int_equal(say(world.client, JOIN), SATCHEL_STATE);
    assert_int_equal(say(world.client, HELLO), SATCHEL_STATE);
    assert_int_equal(say(world.client, PUSH), SATCHEL_INVALID); /* 13 is pushed already */
    assert_int_equal(say(world.server, WELCOME), SATCHEL_STATE);
    assert_int_equal(say(world.server, ENTRIES), SATCHEL_INVALID); /* 1001 is sent already */
    assert_int_equal(say(world.server, PUSH), SATCHEL_STATE);
    assert_int_equal(satchel_session_output_bytes(world.server), 0);
    assert_int_equal(satchel_session_failed(world.client, NULL), SATCHEL_OK);
    assert_int_equal(run(&world), SATCHEL_OK);
    world_deinit(&world);
}

static void test_session__pushed_numbers_are_contiguous(void **state)
{
    (void)state;
    for (uint64_t first = 14; first <= 16; first++) {
        struct world world;
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        attach(&world); /* 13 and 14 are pushed */
        struct satchel_message push = sample_message(PUSH);
        push.push.items[0].number = first;
        push.push.items[1].number = first + 1;
        assert_int_equal(inject(world.server, &push, server_now(&world)),
                         first == 15 ? SATCHEL_OK : SATCHEL_STATE);
        if (satchel_session_failed(world.server, &error) != SATCHEL_OK)
            assert_non_null(strstr(error.message, "15 is the next"));
        world_deinit(&world);
    }
}

static void test_session__cursors_ascend_and_acknowledgements_name_what_was_pushed(void **state)
{
    (void)state;
    static const struct {
        int sample;
        uint64_t number;
        enum satchel_status expected;
    } cases[] = {{ENTRIES, 1002, SATCHEL_STATE}, {ENTRIES, 1003, SATCHEL_OK},
                 {HEAD, 1001, SATCHEL_STATE},    {HEAD, 1002, SATCHEL_OK},
                 {HEAD, 2000, SATCHEL_OK},       {ACK, 14, SATCHEL_OK},
                 {ACK, 15, SATCHEL_STATE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world world;
        attach(&world); /* entries up to 1002, change sets up to 14 */
        struct satchel_message message = sample_message(cases[i].sample);
        if (cases[i].sample == ENTRIES) {
            message.entries.entries[0].cursor = cases[i].number;
            message.entries.entries[1].cursor = cases[i].number + 5;
        } else if (cases[i].sample == HEAD) {
            message.head.cursor = cases[i].number;
        } else {
            message.ack.number = cases[i].number;
        }
        assert_int_equal(inject(world.client, &message, client_now(&world)), cases[i].expected);
        world_deinit(&world);
    }
}

static void test_session__a_frame_for_many_is_said_as_its_entries_would_be(void **state)
{
    (void)state;
    struct world first, second, third;
    struct satchel_frame *frame;
    struct satchel_span said, again;
    attach(&first);
    attach(&second);
    attach(&third);
    struct satchel_message message = sample_message(ENTRIES);
    message.entries.entries[0].cursor = 1003;
    message.entries.entries[1].cursor = 1008;
    assert_int_equal(satchel_frame_new(&frame, &message.entries), SATCHEL_OK);
    assert_int_equal(satchel_session_send_frame(first.client, frame), SATCHEL_STATE);
    assert_int_equal(satchel_session_send_frame(first.server, frame), SATCHEL_OK);
    assert_int_equal(satchel_session_send_frame(first.server, frame), SATCHEL_INVALID);
    assert_int_equal(satchel_session_send_frame(second.server, frame), SATCHEL_OK);
    satchel_frame_release(frame);
    assert_true(satchel_session_next_output(first.server, &said));
    assert_true(satchel_session_next_output(second.server, &again));
    assert_ptr_equal(said.data, again.data); /* once in memory */
    world_deinit(&second);
    assert_int_equal(satchel_session_send(third.server, &message), SATCHEL_OK);
    assert_true(satchel_session_next_output(third.server, &again));
    assert_true(satchel_span_equal(said, again));
    world_deinit(&third);
    assert_int_equal(deliver(first.client, said, 0, client_now(&first)), SATCHEL_OK);
    message.entries.entries[0].cursor = 1008;
    assert_int_equal(satchel_session_send(first.server, &message), SATCHEL_INVALID);
    world_deinit(&first);
}

static void test_session__the_stream_begins_where_the_welcome_says(void **state)
{
    (void)state;
    struct world world;
    struct satchel_message event;
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    assert_int_equal(run(&world), SATCHEL_OK);
    assert_int_equal(say(world.client, HELLO), SATCHEL_OK);
    struct satchel_message welcome = sample_message(WELCOME);
    welcome.welcome.node = sample_id(0x55);
    welcome.welcome.cursor = 0; /* nothing of the log is common */
    assert_int_equal(inject(world.client, &welcome, client_now(&world)), SATCHEL_OK);
    assert_true(satchel_session_next_event(world.client, &event));
    struct satchel_message entries = sample_message(ENTRIES);
    entries.entries.entries[0].cursor = 1; /* below the cursor of the HELLO */
    assert_int_equal(inject(world.client, &entries, client_now(&world)), SATCHEL_OK);
    world_deinit(&world);
}

static void test_session__a_second_request_before_the_answer_is_out_of_place(void **state)
{
    (void)state;
    struct world world;
    struct satchel_message event, hello = sample_message(HELLO);
    assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
    assert_int_equal(inject(world.server, &hello, server_now(&world)), SATCHEL_OK);
    assert_true(satchel_session_next_event(world.server, &event));
    assert_int_equal(inject(world.server, &hello, server_now(&world)), SATCHEL_STATE);
    assert_out_of_place(world.server, true);
    world_deinit(&world);
}

/* ---- one frame's event at a time ---- */

static void test_session__a_waiting_event_keeps_the_next_frame_out(void **state)
{
    (void)state;
    struct world world;
    struct satchel_message event, ack = sample_message(ACK), head = sample_message(HEAD);
    attach(&world);
    assert_int_equal(inject(world.client, &head, client_now(&world)), SATCHEL_OK);
    assert_int_equal(inject(world.client, &ack, client_now(&world)), SATCHEL_STATE);
    assert_int_equal(satchel_session_failed(world.client, NULL), SATCHEL_OK);
    assert_int_equal(satchel_session_tick(world.client, client_now(&world)), SATCHEL_OK);
    assert_true(satchel_session_next_event(world.client, &event));
    assert_true(messages_equal(&event, &head));
    assert_false(satchel_session_next_event(world.client, &event));
    assert_int_equal(inject(world.client, &ack, client_now(&world)), SATCHEL_OK);
    assert_true(satchel_session_next_event(world.client, &event));
    assert_true(messages_equal(&event, &ack));
    world_deinit(&world);
}

/* ---- limits ---- */

static void test_session__frames_are_small_before_the_attach_and_bounded_after(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 20];
    for (int attached = 0; attached < 2; attached++) {
        struct world world;
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        if (attached)
            attach(&world);
        else
            assert_int_equal(world_init(&world, NULL), SATCHEL_OK);
        size_t taken = 0;
        enum satchel_status status;
        while ((status = satchel_session_receive(world.server, bytes, sizeof bytes, false,
                                                 server_now(&world))) == SATCHEL_OK)
            taken += sizeof bytes;
        assert_int_equal(status, SATCHEL_LIMIT);
        assert_int_equal(taken,
                         attached ? SATCHEL_FRAME_BYTES_MAX_PUSH : SATCHEL_FRAME_BYTES_MAX_EARLY);
        assert_int_equal(satchel_session_failed(world.server, &error), SATCHEL_LIMIT);
        assert_non_null(strstr(error.message, "limit"));
        world_deinit(&world);
    }
}

static void test_session__send_is_busy_while_too_much_waits(void **state)
{
    (void)state;
    static uint8_t noise[SATCHEL_BATCH_BYTES];
    struct random_source random = random_seeded("test_session busy");
    struct world world;
    struct satchel_span frame;
    attach(&world);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)random_next(&random);
    struct satchel_message entries = sample_message(ENTRIES);
    entries.entries.entries[1].body = satchel_span_of(noise, sizeof noise);
    int sent = 0;
    enum satchel_status status;
    do {
        entries.entries.entries[0].cursor = 2000 + 2 * (uint64_t)sent;
        entries.entries.entries[1].cursor = 2001 + 2 * (uint64_t)sent;
        status = satchel_session_send(world.server, &entries);
        sent += status == SATCHEL_OK;
    } while (status == SATCHEL_OK);
    assert_int_equal(status, SATCHEL_BUSY);
    assert_int_equal(sent, 4); /* a little more than 256 KiB each, 1 MiB is the default */
    assert_true(satchel_session_next_output(world.server, &frame));
    assert_true(satchel_session_next_output(world.server, &frame));
    assert_int_equal(satchel_session_send(world.server, &entries), SATCHEL_OK);
    int left = 0;
    while (satchel_session_next_output(world.server, &frame))
        left++;
    assert_int_equal(left, 3);
    assert_int_equal(satchel_session_output_bytes(world.server), 0);
    world_deinit(&world);
}

static void test_session__a_change_set_of_the_largest_size_fits(void **state)
{
    (void)state;
    struct world world;
    struct satchel_span frame;
    struct satchel_message event;
    struct random_source random = random_seeded("test_session largest");
    uint8_t *body = malloc(SATCHEL_CHANGESET_BYTES_MAX);
    assert_non_null(body);
    for (size_t i = 0; i < SATCHEL_CHANGESET_BYTES_MAX; i += 8) {
        uint64_t bits = random_next(&random);
        memcpy(body + i, &bits, sizeof bits);
    }
    attach(&world);
    struct satchel_message push = sample_message(PUSH);
    push.push.items[0].number = 15;
    push.push.items[0].body = satchel_span_of(body, SATCHEL_CHANGESET_BYTES_MAX);
    push.push.item_count = 1;
    assert_int_equal(satchel_session_send(world.client, &push), SATCHEL_OK);
    assert_true(satchel_session_next_output(world.client, &frame));
    assert_int_equal(deliver(world.server, frame, 65536, server_now(&world)), SATCHEL_OK);
    assert_true(satchel_session_next_event(world.server, &event));
    assert_true(messages_equal(&push, &event));
    free(body);
    world_deinit(&world);
}

static void test_session__an_entry_of_the_largest_size_fits_behind_a_batch(void **state)
{
    (void)state;
    struct world world;
    struct satchel_span frame;
    struct satchel_message event;
    struct random_source random = random_seeded("test_session largest entry");
    size_t size = SATCHEL_NOTES_BYTES_MAX;
    uint8_t *noise = malloc(size);
    assert_non_null(noise);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t bits = random_next(&random);
        memcpy(noise + i, &bits, sizeof bits);
    }
    attach(&world);
    struct satchel_message entries = sample_message(ENTRIES);
    entries.entries.entries[0].cursor = 2000;
    entries.entries.entries[0].body = satchel_span_of(noise, SATCHEL_BATCH_BYTES - 1);
    entries.entries.entries[1].cursor = 2001;
    entries.entries.entries[1].body = satchel_span_of(noise, SATCHEL_CHANGESET_BYTES_MAX);
    entries.entries.entries[1].notes = satchel_span_of(noise, SATCHEL_NOTES_BYTES_MAX);
    assert_int_equal(satchel_session_send(world.server, &entries), SATCHEL_OK);
    assert_true(satchel_session_next_output(world.server, &frame));
    assert_int_equal(deliver(world.client, frame, 65536, client_now(&world)), SATCHEL_OK);
    assert_true(satchel_session_next_event(world.client, &event));
    assert_true(messages_equal(&entries, &event));
    free(noise);
    world_deinit(&world);
}

/* ---- the end ---- */

static void test_session__silence_is_a_timeout_and_the_server_says_so(void **state)
{
    (void)state;
    struct world world;
    struct satchel_span frame;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    attach(&world);
    world.true_ms += 59000;
    assert_int_equal(satchel_session_tick(world.client, client_now(&world)), SATCHEL_OK);
    struct satchel_message head = sample_message(HEAD);
    assert_int_equal(inject(world.client, &head, client_now(&world)), SATCHEL_OK);
    world.true_ms += 2000;
    assert_int_equal(satchel_session_tick(world.client, client_now(&world)), SATCHEL_OK);
    assert_int_equal(satchel_session_tick(world.server, server_now(&world)), SATCHEL_TIMEOUT);
    assert_int_equal(satchel_session_failed(world.server, &error), SATCHEL_TIMEOUT);
    assert_non_null(strstr(error.message, "61 s"));
    assert_true(satchel_session_next_output(world.server, &frame));
    struct satchel_message event;
    assert_true(satchel_session_next_event(world.client, &event));
    assert_int_equal(deliver(world.client, frame, 0, client_now(&world)), SATCHEL_TIMEOUT);
    world_deinit(&world);
}

static void test_session__the_peers_error_is_its_status_and_words(void **state)
{
    (void)state;
    static const struct {
        uint64_t said;
        enum satchel_status heard;
    } cases[] = {{SATCHEL_DENIED, SATCHEL_DENIED},
                 {SATCHEL_STATUS_LAST, SATCHEL_STATUS_LAST},
                 {SATCHEL_STATUS_LAST + 1, SATCHEL_UNSUPPORTED},
                 {UINT32_MAX, SATCHEL_UNSUPPORTED},
                 {0, SATCHEL_CORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world world;
        struct satchel_message event, message = sample_message(ERROR);
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        attach(&world);
        message.error.status = cases[i].said;
        message.error.text = satchel_span_text("the invite\nhas been used");
        assert_int_equal(inject(world.client, &message, client_now(&world)), cases[i].heard);
        assert_int_equal(satchel_session_failed(world.client, &error), cases[i].heard);
        assert_string_equal(error.message, "the invite has been used");
        assert_true(satchel_session_next_event(world.client, &event));
        assert_int_equal(event.kind, SATCHEL_MESSAGE_ERROR);
        assert_false(satchel_session_next_event(world.client, &event));
        world_deinit(&world);
    }
}

static void test_session__failing_keeps_the_first_reason_and_what_was_queued(void **state)
{
    (void)state;
    struct world world;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    attach(&world);
    struct satchel_message entries = sample_message(ENTRIES);
    entries.entries.entries[0].cursor = 1003;
    entries.entries.entry_count = 1;
    assert_int_equal(satchel_session_send(world.server, &entries), SATCHEL_OK);
    satchel_session_fail(world.server, SATCHEL_MISMATCH, "another workspace");
    satchel_session_fail(world.server, SATCHEL_IO, "later");
    assert_int_equal(run(&world), SATCHEL_MISMATCH);
    assert_int_equal(world.heard[world.heard_count - 2], SATCHEL_MESSAGE_ENTRIES);
    assert_int_equal(world.heard[world.heard_count - 1], SATCHEL_MESSAGE_ERROR);
    assert_int_equal(satchel_session_failed(world.client, &error), SATCHEL_MISMATCH);
    assert_string_equal(error.message, "another workspace");
    world_deinit(&world);
}

/* ---- strangers ---- */

static void random_frame(struct random_source *random, struct satchel_buffer *frame)
{
    struct satchel_buffer message;
    uint8_t bytes[64];
    satchel_buffer_clear(frame);
    satchel_buffer_init(&message, 1 << 16, NULL);
    switch (random_below(random, 4)) {
    case 0: /* anything */
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)random_next(random);
        assert_int_equal(satchel_buffer_append(frame, bytes, 1 + random_below(random, 63)),
                         SATCHEL_OK);
        break;
    case 1: /* an array that begins with some kind */
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = random_below(random, 2) ? (uint8_t)random_next(random)
                                               : (uint8_t)random_below(random, 4);
        bytes[0] = 0;
        bytes[1] = (uint8_t)(0x90 + random_below(random, 15));
        bytes[2] = (uint8_t)random_below(random, 65);
        assert_int_equal(satchel_buffer_append(frame, bytes, 3 + random_below(random, 60)),
                         SATCHEL_OK);
        break;
    default: { /* a sample with a few bytes changed */
        struct satchel_message sample = sample_message((int)random_below(random, SAMPLE_COUNT));
        assert_int_equal(satchel_message_write(&message, &sample), SATCHEL_OK);
        assert_int_equal(satchel_frame_write(frame, satchel_buffer_span(&message)), SATCHEL_OK);
        for (uint32_t i = random_below(random, 4); i > 0; i--)
            frame->data[random_below(random, (uint32_t)frame->size)] = (uint8_t)random_next(random);
        break;
    }
    }
    satchel_buffer_deinit(&message);
}

static void test_session__survives_100000_random_frames(void **state)
{
    (void)state;
    struct random_source random = random_seeded("test_session random frames");
    struct counting_allocator counting;
    struct satchel_buffer frame;
    size_t surfaced = 0;
    counting_allocator_init(&counting);
    satchel_buffer_init(&frame, 1 << 16, NULL);
    struct satchel_session *session = NULL;
    for (int i = 0; i < 100000; i++) {
        if (!session) {
            struct satchel_session_options options = {
                sizeof options,
                random_below(&random, 2) ? SATCHEL_SIDE_CLIENT : SATCHEL_SIDE_SERVER,
                &counting.allocator, 0, 0};
            assert_int_equal(satchel_session_new(&session, &options, (struct satchel_now){0, 0}),
                             SATCHEL_OK);
        }
        random_frame(&random, &frame);
        struct satchel_message event;
        enum satchel_status status =
            deliver(session, satchel_buffer_span(&frame), 1 + random_below(&random, 100),
                    (struct satchel_now){1700000000000 + i, i});
        while (satchel_session_next_event(session, &event))
            surfaced++;
        if (status == SATCHEL_OK && session && random_below(&random, 2))
            (void)!say(session, (int)random_below(&random, SAMPLE_COUNT - 1));
        if (status != SATCHEL_OK) {
            struct satchel_error error = {SATCHEL_OK, 0, ""};
            assert_int_equal(satchel_session_failed(session, &error), status);
            assert_true(error.message[0] != '\0');
            satchel_session_free(session);
            session = NULL;
            assert_int_equal(counting.blocks, 0);
        }
    }
    satchel_session_free(session);
    satchel_buffer_deinit(&frame);
    assert_int_equal(counting.blocks, 0);
    printf("events that surfaced: %zu, peak %zu bytes\n", surfaced, counting.peak_bytes);
    assert_true(surfaced > 1000);
    assert_true(counting.peak_bytes < 8u << 20);
}

static void test_session__refuses_options_that_say_nothing(void **state)
{
    (void)state;
    struct satchel_session *session = NULL;
    struct satchel_session_options options = {0, SATCHEL_SIDE_CLIENT, NULL, 0, 0};
    struct satchel_now now = {0, 0};
    assert_int_equal(satchel_session_new(&session, &options, now), SATCHEL_INVALID);
    assert_null(session);
    options.size = sizeof options;
    options.side = (enum satchel_side)2;
    assert_int_equal(satchel_session_new(&session, &options, now), SATCHEL_INVALID);
    assert_int_equal(satchel_session_new(&session, NULL, now), SATCHEL_INVALID);
    satchel_session_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__goes_from_admin_to_digests_whole_or_a_byte_at_a_time),
        cmocka_unit_test(test_session__every_failed_allocation_ends_in_nomem_without_a_leak),
        cmocka_unit_test(test_session__an_idle_server_session_costs_less_than_2_kib),
        cmocka_unit_test(test_session__measures_the_clock_by_the_fastest_of_four),
        cmocka_unit_test(test_session__a_hello_waits_for_the_clock_and_carries_its_error),
        cmocka_unit_test(test_session__a_time_no_server_has_is_refused),
        cmocka_unit_test(test_session__asking_the_time_without_reading_is_bounded),
        cmocka_unit_test(test_session__a_message_in_the_wrong_state_ends_the_session),
        cmocka_unit_test(test_session__what_may_not_be_said_is_refused_and_changes_nothing),
        cmocka_unit_test(test_session__pushed_numbers_are_contiguous),
        cmocka_unit_test(test_session__cursors_ascend_and_acknowledgements_name_what_was_pushed),
        cmocka_unit_test(test_session__a_frame_for_many_is_said_as_its_entries_would_be),
        cmocka_unit_test(test_session__the_stream_begins_where_the_welcome_says),
        cmocka_unit_test(test_session__a_second_request_before_the_answer_is_out_of_place),
        cmocka_unit_test(test_session__a_waiting_event_keeps_the_next_frame_out),
        cmocka_unit_test(test_session__frames_are_small_before_the_attach_and_bounded_after),
        cmocka_unit_test(test_session__send_is_busy_while_too_much_waits),
        cmocka_unit_test(test_session__a_change_set_of_the_largest_size_fits),
        cmocka_unit_test(test_session__an_entry_of_the_largest_size_fits_behind_a_batch),
        cmocka_unit_test(test_session__silence_is_a_timeout_and_the_server_says_so),
        cmocka_unit_test(test_session__the_peers_error_is_its_status_and_words),
        cmocka_unit_test(test_session__failing_keeps_the_first_reason_and_what_was_queued),
        cmocka_unit_test(test_session__survives_100000_random_frames),
        cmocka_unit_test(test_session__refuses_options_that_say_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
