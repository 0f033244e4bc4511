/* The session of either side: what a peer says comes in pieces of the fuzzer's choice, between them
 * time passes and this side says something. Input: one byte of side and output limit, then steps.
 *
 *   step  = byte 0: kind in the low two bits, the rest an argument
 *           0 hear a piece that does not end the message; 1 one that does: size as two bytes,
 *             bytes; with bit 6 in as many pieces as it has bytes
 *           2 time passes: two bytes, times 16 ms
 *           3 say sample message number argument
 *           bit 7: nobody reads what this side says, and it piles up
 *
 * Whatever comes, the session stays within its limits, the first failure stays, what it puts out is
 * a message that may be read, what it lets through has its place and its order, and it leaves no
 * memory behind. */
#include "../unit/protocol_support.h"
#include "fuzz.h"

#include <satchel/compress.h>

#include <stdlib.h>

enum { OUTPUT_BYTES_MAX = 4096, STEPS_MAX = 4000, EVENT_MAX = 4 };

struct end {
    struct satchel_session *session;
    struct counting_allocator memory;
    enum satchel_side side;
    struct satchel_now now;
    enum satchel_status status;     /* the first failure */
    bool is_inside, has_compressed; /* a message has begun; one of them was compressed */
    unsigned long events;
    uint64_t cursor; /* of the last entry heard */
    uint64_t number; /* of the last change set heard, if has_number */
    bool has_number;
};

/* What a session may hold: the frame, what decoding it allocates, the output with one message more
 * than the limit and the answers to TIME, and buffers that double. Of a compressed frame it is a
 * multiple of what it says, not of the input: test_bombs.c measures those. */
static void require_bounded(const struct end *end, size_t input_bytes)
{
    FUZZ_REQUIRE(end->has_compressed ||
                 end->memory.peak_bytes <= 40 * input_bytes + 2 * (OUTPUT_BYTES_MAX + 65536));
}

static void require_sticks(struct end *end, enum satchel_status status)
{
    enum satchel_status failed = satchel_session_failed(end->session, NULL);
    if (end->status != SATCHEL_OK)
        FUZZ_REQUIRE(failed == end->status);
    else if (failed != SATCHEL_OK)
        FUZZ_REQUIRE(status == failed);
    end->status = failed;
}

static bool is_servers(enum satchel_message_kind kind)
{
    return kind >= SATCHEL_MESSAGE_TIME_REPLY;
}

static void take_output(struct end *end)
{
    struct satchel_span frame, bytes;
    while (satchel_session_next_output(end->session, &frame)) {
        struct satchel_buffer scratch;
        struct satchel_arena arena;
        struct satchel_message message;
        satchel_buffer_init(&scratch, SATCHEL_FRAME_BYTES_MAX, NULL);
        satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
        FUZZ_REQUIRE(satchel_frame_read(frame, SATCHEL_FRAME_BYTES_MAX, &scratch, &bytes, NULL) ==
                     SATCHEL_OK);
        FUZZ_REQUIRE(satchel_message_read(bytes, &arena, &message, NULL) == SATCHEL_OK);
        FUZZ_REQUIRE(message.kind == SATCHEL_MESSAGE_ERROR ||
                     is_servers(message.kind) == (end->side == SATCHEL_SIDE_SERVER));
        satchel_arena_deinit(&arena);
        satchel_buffer_deinit(&scratch);
    }
    FUZZ_REQUIRE(satchel_session_output_bytes(end->session) == 0);
}

/* What has a place before WELCOME, and WELCOME. */
static bool is_early(enum satchel_message_kind kind)
{
    switch (kind) {
    case SATCHEL_MESSAGE_JOIN:
    case SATCHEL_MESSAGE_HELLO:
    case SATCHEL_MESSAGE_ADMIN:
    case SATCHEL_MESSAGE_JOINED:
    case SATCHEL_MESSAGE_SCHEMA:
    case SATCHEL_MESSAGE_ADMIN_RESULT: return true;
    default: return false;
    }
}

/* Numbers go on where those before them ended; what is given back may move them. */
static void require_order(struct end *end, const struct satchel_message *event)
{
    switch (event->kind) {
    case SATCHEL_MESSAGE_WELCOME: end->cursor = event->welcome.cursor; break;
    case SATCHEL_MESSAGE_ENTRIES:
        for (uint32_t i = 0; i < event->entries.entry_count; i++) {
            FUZZ_REQUIRE(event->entries.entries[i].cursor > end->cursor);
            end->cursor = event->entries.entries[i].cursor;
        }
        break;
    case SATCHEL_MESSAGE_HEAD:
        FUZZ_REQUIRE(event->head.cursor >= end->cursor);
        end->cursor = event->head.cursor;
        break;
    case SATCHEL_MESSAGE_PUSH:
        for (uint32_t i = 0; i < event->push.item_count; i++) {
            FUZZ_REQUIRE(!end->has_number || event->push.items[i].number == end->number + 1);
            end->number = event->push.items[i].number;
            end->has_number = true;
        }
        break;
    case SATCHEL_MESSAGE_FORWARD:
        for (uint32_t i = 1; i < event->forward.entry_count; i++)
            FUZZ_REQUIRE(event->forward.entries[i].cursor > event->forward.entries[i - 1].cursor);
        end->has_number = false;
        break;
    default: break;
    }
}

static void take_events(struct end *end)
{
    struct satchel_message event;
    for (int i = 0; satchel_session_next_event(end->session, &event); i++) {
        FUZZ_REQUIRE(i < EVENT_MAX);
        FUZZ_REQUIRE(event.kind != SATCHEL_MESSAGE_TIME &&
                     event.kind != SATCHEL_MESSAGE_TIME_REPLY);
        if (event.kind == SATCHEL_MESSAGE_ERROR) {
            FUZZ_REQUIRE(end->status != SATCHEL_OK);
        } else {
            FUZZ_REQUIRE(is_servers(event.kind) == (end->side == SATCHEL_SIDE_CLIENT));
            FUZZ_REQUIRE(is_early(event.kind) || satchel_session_is_attached(end->session));
            require_order(end, &event);
        }
        end->events++;
    }
}

static void hear(struct end *end, struct fuzz_input *input, bool is_last, bool by_byte)
{
    struct satchel_span piece = fuzz_piece(input);
    uint8_t *copy = fuzz_copy(piece);
    if (!end->is_inside && piece.size > 0)
        end->has_compressed = end->has_compressed || piece.data[0] == SATCHEL_COMPRESS_ZSTD;
    end->is_inside = !is_last && (end->is_inside || piece.size > 0);
    enum satchel_status status = SATCHEL_OK;
    size_t step = by_byte || piece.size == 0 ? 1 : piece.size;
    for (size_t at = 0; at == 0 || (at < piece.size && status == SATCHEL_OK); at += step) {
        size_t size = piece.size < step ? piece.size : step;
        status = satchel_session_receive(end->session, copy + at, size,
                                         is_last && at + size >= piece.size, end->now);
    }
    memset(copy, 0xaa, piece.size); /* the session keeps nothing of the caller's */
    free(copy);
    require_sticks(end, status);
}

static void step(struct end *end, struct fuzz_input *input)
{
    uint8_t head = fuzz_byte(input);
    switch (head & 3) {
    case 0:
    case 1: hear(end, input, head & 1, head & 0x40); break;
    case 2:
        end->now.monotonic_ms += (int64_t)fuzz_short(input) * 16;
        end->now.utc_ms += 1;
        require_sticks(end, satchel_session_tick(end->session, end->now));
        break;
    default: {
        struct satchel_message message = sample_message((head >> 2) % SAMPLE_COUNT);
        enum satchel_status status = satchel_session_send(end->session, &message);
        FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_BUSY || status == SATCHEL_STATE ||
                     status == SATCHEL_INVALID || end->status != SATCHEL_OK);
        break;
    }
    }
    if (!(head & 0x80))
        take_output(end);
    take_events(end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    struct end end = {.now = {1700000000000, 1000}};
    uint8_t head = fuzz_byte(&input);
    counting_allocator_init(&end.memory);
    end.side = head & 1 ? SATCHEL_SIDE_SERVER : SATCHEL_SIDE_CLIENT;
    const struct satchel_session_options options = {sizeof options, end.side, &end.memory.allocator,
                                                    OUTPUT_BYTES_MAX, 60000};
    FUZZ_REQUIRE(satchel_session_new(&end.session, &options, end.now) == SATCHEL_OK);
    for (int i = 0; i < STEPS_MAX && input.at < input.end; i++)
        step(&end, &input);
    take_output(&end);
    require_bounded(&end, size);
    satchel_session_free(end.session);
    FUZZ_REQUIRE(end.memory.blocks == 0 && end.memory.used_bytes == 0);
    fuzz_accepted_count += end.events > 0;
    return 0;
}
