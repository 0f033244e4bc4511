/* Small inputs that claim much: each is answered with a status, within the memory that is
 * documented (docs/wire-format.md, "What a reader believes"), in a process that has no more than
 * that. Not for builds with sanitizers, which need address space of their own. */
#include "../unit/protocol_support.h"

#include "segment.h"

#include <satchel/compress.h>
#include <satchel/json_reader.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#define MIB ((size_t)1 << 20)

enum { MESSAGE_EARLY_MAX = SATCHEL_FRAME_BYTES_MAX_EARLY };

/* ---- in a process of its own, with so much address space more than it has ---- */

static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* What `use` makes of the bytes with at most `extra_bytes` of memory: a status; and it ends. */
static enum satchel_status confined(enum satchel_status (*use)(struct satchel_span bytes),
                                    struct satchel_span bytes, size_t extra_bytes)
{
    int ended = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const rlim_t limit = address_space() + extra_bytes;
        const struct rlimit memory = {limit, limit};
        const struct rlimit seconds = {30, 30};
        if (setrlimit(RLIMIT_AS, &memory) != 0 || setrlimit(RLIMIT_CPU, &seconds) != 0)
            _exit(200);
        _exit((int)use(bytes));
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    if (!WIFEXITED(ended))
        fail_msg("ended by signal %d", WTERMSIG(ended));
    return (enum satchel_status)WEXITSTATUS(ended);
}

/* ---- bytes ---- */

static struct satchel_buffer bytes_new(void)
{
    struct satchel_buffer bytes;
    satchel_buffer_init(&bytes, SIZE_MAX / 2, NULL);
    return bytes;
}

static void put(struct satchel_buffer *bytes, const char *text, size_t size)
{
    assert_int_equal(satchel_buffer_append(bytes, text, size), SATCHEL_OK);
}
#define PUT(bytes, text) put((bytes), (text), sizeof(text) - 1)

static void repeat(struct satchel_buffer *bytes, const char *item, size_t size, size_t count)
{
    assert_int_equal(satchel_buffer_reserve(bytes, size * count), SATCHEL_OK);
    for (size_t i = 0; i < count; i++)
        put(bytes, item, size);
}

static void put_count(struct satchel_buffer *bytes, char tag, size_t count)
{
    const char head[] = {tag, (char)(count >> 24), (char)(count >> 16), (char)(count >> 8),
                         (char)count};
    put(bytes, head, sizeof head);
}

/* The message as a frame: raw, or compressed whatever that gains. */
static struct satchel_buffer frame_of(const struct satchel_buffer *message, bool compressed)
{
    struct satchel_buffer frame = bytes_new();
    const char form = compressed ? SATCHEL_COMPRESS_ZSTD : SATCHEL_COMPRESS_RAW;
    put(&frame, &form, 1);
    if (!compressed) {
        put(&frame, (const char *)message->data, message->size);
        return frame;
    }
    size_t bound = ZSTD_compressBound(message->size);
    assert_int_equal(satchel_buffer_reserve(&frame, bound), SATCHEL_OK);
    size_t size = ZSTD_compress(frame.data + 1, bound, message->data, message->size, 3);
    assert_false(ZSTD_isError(size));
    frame.size += size;
    return frame;
}

/* ---- messages that claim much ---- */

/* As large as a message of `size` bytes gets: one list of the smallest items that its kind has. */
static struct satchel_buffer full_list(const char *head, size_t head_size, const char *item,
                                       size_t item_size, const char *tail, size_t size)
{
    struct satchel_buffer message = bytes_new();
    size_t count = (size - head_size - 5 - strlen(tail)) / item_size;
    put(&message, head, head_size);
    put_count(&message, (char)0xdd, count);
    repeat(&message, item, item_size, count);
    put(&message, tail, strlen(tail));
    return message;
}
#define FULL_LIST(head, item, tail, size) \
    full_list(head, sizeof(head) - 1, item, sizeof(item) - 1, tail, size)

enum { LIST_COUNT = 10, KIND_COUNT = 15 };

#define ID16   \
    "\xc4\x10" \
    "16 bytes of them"
#define ENTRY "\x9d\x01\x01" ID16 "\x01\x01\xa0" ID16 "\xc4\x00\xc4\x00\xc4\x00" ID16 "\x01\xc2"

static struct satchel_buffer hostile_message(int which, size_t size)
{
    struct satchel_buffer message = bytes_new();
    switch (which) {
    case 0: /* ADMIN_RESULT: one column, values of a byte each */
        return FULL_LIST("\x94\x29\xa0\x91\xa0", "\xc0", "", size);
    case 1: return FULL_LIST("\x94\x29\xa0", "\xa0", "\x90", size);     /* column names */
    case 2: return FULL_LIST("\x93\x06\xc4\x00", "\xa0", "", size);     /* ADMIN: arguments */
    case 3: return FULL_LIST("\x92\x24", "\x93\x01\xa0\xa0", "", size); /* SCHEMA: migrations */
    case 4:                                                             /* PUSH: change sets */
        return FULL_LIST("\x92\x04", "\x94\x01\x01" ID16 "\xc4\x00", "", size);
    case 5: /* DIGESTS */ return FULL_LIST("\x95\x28\x01", "\x93\x01\x01" ID16, "\x01\x01", size);
    case 6: /* TIME, with something of a later version behind it that nests as deep as it is long */
        PUT(&message, "\x93\x01\x01");
        repeat(&message, "\x91", 1, size - 3);
        return message;
    case 7: return FULL_LIST("\x92\x25", ENTRY, "", size);                  /* ENTRIES */
    case 8: return FULL_LIST("\x93\x07" ID16, ENTRY, "", size);             /* FORWARD */
    case 9: return FULL_LIST("\x92\x09", "\x91\xc4\x00", "", size);         /* ROWS_REQUEST */
    case 10: PUT(&message, "\x92\x04\xdd\xff\xff\xff\xff"); return message; /* 4 G items */
    case 11: PUT(&message, "\x93\x01\x01\xdf\xff\xff\xff\xff"); return message;
    case 12: PUT(&message, "\x93\x01\x01\xc9\xff\xff\xff\xff\x01"); return message;
    case 13: return FULL_LIST("\x94\x2d\x01\xc4\x00", ENTRY, "", size); /* SCOPE */
    default: /* HELLO, whose `seen` has more nodes than there are */
        PUT(&message, "\xdc\x00\x16\x03");
        put(&message, (const char[]){SATCHEL_PROTOCOL_VERSION}, 1);
        PUT(&message, "\xa1w" ID16 ID16 "\xc4\x20 32 bytes of them 32 bytes of th" ID16 "\x00");
        put_count(&message, (char)0xdd, size / 18 * 2);
        repeat(&message, ID16 "\x01", 19, size / 19 - 10);
        return message;
    }
}

/* A session of that side hears one frame. */
static struct counting_allocator counting;

static enum satchel_status hear(enum satchel_side side, struct satchel_span frame)
{
    struct satchel_session *session;
    const struct satchel_now now = {1700000000000, 1000};
    counting_allocator_init(&counting);
    const struct satchel_session_options options = {sizeof options, side, &counting.allocator, 0,
                                                    0};
    if (satchel_session_new(&session, &options, now) != SATCHEL_OK)
        return SATCHEL_NOMEM;
    enum satchel_status status =
        satchel_session_receive(session, frame.data, frame.size, true, now);
    satchel_session_free(session);
    return status;
}

static enum satchel_status server_hears(struct satchel_span frame)
{
    return hear(SATCHEL_SIDE_SERVER, frame);
}

static enum satchel_status client_hears(struct satchel_span frame)
{
    return hear(SATCHEL_SIDE_CLIENT, frame);
}

static bool is_answer(enum satchel_status status)
{
    return status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT || status == SATCHEL_STATE ||
           status == SATCHEL_OK;
}

/* The frame, its message if that is another, 32 times the message, what a session has anyway. */
static size_t documented_bytes(size_t frame_bytes, size_t message_bytes)
{
    return frame_bytes + 33 * message_bytes + 64 * 1024;
}

static void test_bombs__a_session_answers_within_its_limits(void **state)
{
    (void)state;
    for (int which = 0; which < KIND_COUNT; which++)
        for (int compressed = 0; compressed < 2; compressed++) {
            struct satchel_buffer message = hostile_message(which, MESSAGE_EARLY_MAX - 64);
            struct satchel_buffer frame = frame_of(&message, compressed);
            struct satchel_span bytes = satchel_buffer_span(&frame);
            size_t most = documented_bytes(frame.size, message.size);
            for (int side = 0; side < 2; side++) {
                enum satchel_status status =
                    confined(side ? server_hears : client_hears, bytes, most + 4 * MIB);
                if (!is_answer(status))
                    fail_msg("message %d: %s", which, satchel_status_name(status));
                assert_int_equal(hear(side ? SATCHEL_SIDE_SERVER : SATCHEL_SIDE_CLIENT, bytes),
                                 status);
                if (side && status == SATCHEL_STATE) /* no device's to say: not decoded */
                    assert_true(counting.peak_bytes <= frame.size + message.size + 64 * 1024);
                if (counting.peak_bytes > most)
                    fail_msg("message %d: %zu bytes for %zu", which, counting.peak_bytes,
                             message.size);
            }
            satchel_buffer_deinit(&message);
            satchel_buffer_deinit(&frame);
        }
}

/* What an attached device may send at most, without a session around it. */
static enum satchel_status read_largest(struct satchel_span frame)
{
    struct satchel_buffer scratch;
    struct satchel_arena arena;
    struct satchel_message message;
    struct satchel_span bytes;
    satchel_buffer_init(&scratch, SATCHEL_FRAME_BYTES_MAX, NULL);
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status =
        satchel_frame_read(frame, SATCHEL_FRAME_BYTES_MAX, &scratch, &bytes, NULL);
    if (status == SATCHEL_OK)
        status = satchel_message_read(bytes, &arena, &message, NULL);
    satchel_arena_deinit(&arena);
    satchel_buffer_deinit(&scratch);
    return status;
}

static void test_bombs__the_largest_messages_take_the_documented_multiple(void **state)
{
    (void)state;
    for (int which = 0; which < LIST_COUNT; which++) {
        struct satchel_buffer message = hostile_message(which, SATCHEL_FRAME_BYTES_MAX - 64);
        struct satchel_buffer frame = frame_of(&message, true);
        enum satchel_status status = confined(read_largest, satchel_buffer_span(&frame),
                                              documented_bytes(frame.size, message.size) + 4 * MIB);
        if (!is_answer(status))
            fail_msg("message %d: %s", which, satchel_status_name(status));
        satchel_buffer_deinit(&message);
        satchel_buffer_deinit(&frame);
    }
}

/* ---- zstd ---- */

static struct satchel_buffer zeros(size_t size, bool has_content_size)
{
    struct satchel_buffer frame = bytes_new();
    ZSTD_CCtx *context = ZSTD_createCCtx();
    uint8_t *plain = calloc(1, size);
    size_t bound = ZSTD_compressBound(size);
    assert_non_null(context);
    assert_non_null(plain);
    put(&frame, "\1", 1);
    assert_int_equal(satchel_buffer_reserve(&frame, bound), SATCHEL_OK);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, has_content_size);
    size_t packed = ZSTD_compress2(context, frame.data + 1, bound, plain, size);
    assert_false(ZSTD_isError(packed));
    frame.size += packed;
    free(plain);
    ZSTD_freeCCtx(context);
    return frame;
}

/* Says another size than it has: 4 bytes behind magic, descriptor and, unless it is a single
 * segment, the window; for frames from 64 KiB on (RFC 8878, section 3.1.1.1). */
static struct satchel_buffer lying(size_t size, uint32_t said)
{
    struct satchel_buffer frame = zeros(size, true);
    assert_int_equal(ZSTD_getFrameContentSize(frame.data + 1, frame.size - 1), size);
    size_t at = frame.data[5] & 0x20 ? 6 : 7;
    for (size_t i = 0; i < 4; i++)
        frame.data[at + i] = (uint8_t)(said >> 8 * i);
    assert_int_equal(ZSTD_getFrameContentSize(frame.data + 1, frame.size - 1), said);
    return frame;
}

static enum satchel_status load_body(struct satchel_span stored)
{
    struct satchel_buffer scratch;
    struct satchel_span body;
    satchel_buffer_init(&scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_body_load(stored, &scratch, &body);
    satchel_buffer_deinit(&scratch);
    return status;
}

static enum satchel_status walk_segment(struct satchel_span data)
{
    struct satchel_buffer scratch, body_scratch;
    struct satchel_cursor items;
    struct satchel_log_entry entry;
    struct satchel_span body;
    satchel_buffer_init(&scratch, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&body_scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_segment_open(data, &scratch, &items);
    while (status == SATCHEL_OK && satchel_segment_next(&items, &entry))
        status = satchel_body_load(entry.entry.body, &body_scratch, &body);
    if (status == SATCHEL_OK && !satchel_cursor_at_end(&items))
        status = SATCHEL_CORRUPT;
    satchel_buffer_deinit(&scratch);
    satchel_buffer_deinit(&body_scratch);
    return status;
}

struct squeezed {
    struct satchel_buffer bytes;
    enum satchel_status expected;
    size_t extra_bytes;
};

static void expect_at(int line, enum satchel_status (*use)(struct satchel_span bytes),
                      struct squeezed squeezed)
{
    enum satchel_status status =
        confined(use, satchel_buffer_span(&squeezed.bytes), squeezed.extra_bytes);
    if (status != squeezed.expected)
        fail_msg("line %d: %s, not %s", line, satchel_status_name(status),
                 satchel_status_name(squeezed.expected));
    satchel_buffer_deinit(&squeezed.bytes);
}
#define expect(use, ...) expect_at(__LINE__, (use), __VA_ARGS__)

static void test_bombs__a_frame_says_its_size_and_keeps_to_it(void **state)
{
    (void)state;
    const size_t large = 8u << 20;
    /* Refused before there is anything: less than a tenth of what they say. */
    expect(read_largest, (struct squeezed){zeros(large, false), SATCHEL_CORRUPT, MIB});
    expect(read_largest, (struct squeezed){zeros(65u << 20, true), SATCHEL_LIMIT, MIB});
    expect(read_largest, (struct squeezed){lying(70000, UINT32_MAX), SATCHEL_LIMIT, MIB});
    expect(read_largest, (struct squeezed){lying(70000, 64u << 20), SATCHEL_CORRUPT, MIB});
    expect(server_hears, (struct squeezed){zeros(5u << 20, true), SATCHEL_LIMIT, MIB});
    expect(client_hears, (struct squeezed){zeros(64u << 20, true), SATCHEL_LIMIT, MIB});
    /* Decompressed, and then found to be another size. */
    expect(read_largest, (struct squeezed){lying(large, large + 1), SATCHEL_CORRUPT, 24 * MIB});
    expect(read_largest, (struct squeezed){lying(large, large - 1), SATCHEL_CORRUPT, 24 * MIB});
    /* 64 MiB of zeros are within the limit of a frame; they are no message. */
    expect(read_largest, (struct squeezed){zeros(64u << 20, true), SATCHEL_CORRUPT, 72 * MIB});
    /* Two frames, or something behind one. */
    struct satchel_buffer two = zeros(large, true);
    struct satchel_buffer second = zeros(large, true);
    put(&two, (const char *)second.data + 1, second.size - 1);
    satchel_buffer_deinit(&second);
    expect(read_largest, (struct squeezed){two, SATCHEL_CORRUPT, MIB});
}

static void test_bombs__stored_bodies_and_segments_keep_to_their_limits(void **state)
{
    (void)state;
    expect(load_body, (struct squeezed){zeros(SATCHEL_CHANGESET_BYTES_MAX, true), SATCHEL_OK,
                                        SATCHEL_CHANGESET_BYTES_MAX + 4 * MIB});
    expect(load_body,
           (struct squeezed){zeros(SATCHEL_CHANGESET_BYTES_MAX + 1, true), SATCHEL_LIMIT, MIB});
    expect(load_body, (struct squeezed){lying(70000, 16u << 20), SATCHEL_CORRUPT, MIB});
    expect(walk_segment, (struct squeezed){zeros(257u << 20, true), SATCHEL_LIMIT, MIB});
    expect(walk_segment, (struct squeezed){zeros(64u << 20, true), SATCHEL_CORRUPT, 68 * MIB});

    /* A hundred entries, each with a body that is 16 MiB when it is looked at. */
    struct satchel_segment_maker maker;
    struct satchel_pack pack;
    struct satchel_buffer body = zeros(SATCHEL_CHANGESET_BYTES_MAX, true), data = bytes_new();
    satchel_segment_maker_init(&maker);
    for (uint64_t i = 1; i <= 100; i++) {
        const struct satchel_id device = sample_id(1);
        satchel_pack_init(&pack, &maker.items);
        satchel_pack_array(&pack, 10);
        satchel_pack_unsigned(&pack, i);
        satchel_pack_unsigned(&pack, i);
        satchel_pack_id(&pack, &device);
        satchel_pack_unsigned(&pack, i);
        satchel_pack_unsigned(&pack, i);
        satchel_pack_nil(&pack);
        satchel_pack_nil(&pack);
        satchel_pack_binary(&pack, satchel_buffer_span(&body));
        satchel_pack_binary(&pack, satchel_span_of(NULL, 0));
        satchel_pack_binary(&pack, satchel_span_of(NULL, 0));
        assert_int_equal(pack.status, SATCHEL_OK);
    }
    assert_int_equal(satchel_segment_write(&maker, &data, &data), SATCHEL_OK);
    satchel_segment_maker_deinit(&maker);
    satchel_buffer_deinit(&body);
    expect(walk_segment, (struct squeezed){data, SATCHEL_OK, 24 * MIB});
}

/* ---- change sets, notes, text ---- */

static enum satchel_status decode_changeset(struct satchel_span body)
{
    struct satchel_changeset changeset;
    struct satchel_arena arena;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status = satchel_changeset_decode(body, &arena, &changeset, NULL);
    bool is_bounded = arena.used_bytes <= 32 * body.size + 4096;
    satchel_arena_deinit(&arena);
    return is_bounded ? status : SATCHEL_NOMEM;
}

static enum satchel_status decode_notes(struct satchel_span bytes)
{
    struct satchel_notes notes;
    struct satchel_arena arena;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status = satchel_notes_read(bytes, &arena, &notes);
    bool is_bounded = arena.used_bytes <= 32 * bytes.size + 4096;
    satchel_arena_deinit(&arena);
    return is_bounded ? status : SATCHEL_NOMEM;
}

static enum satchel_status read_json(struct satchel_span text)
{
    struct satchel_arena arena;
    struct satchel_json_item *items;
    size_t count;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status =
        satchel_json_items(text, SATCHEL_JSON_ARRAY, &arena, &items, &count);
    satchel_arena_deinit(&arena);
    return status;
}

static struct satchel_buffer changeset_of(size_t part_count, size_t said_count, const char *part,
                                          size_t part_size)
{
    struct satchel_buffer body = bytes_new();
    PUT(&body, "\x95\x01\x01\x90\xa0");
    put_count(&body, (char)0xce, said_count);
    repeat(&body, part, part_size, part_count);
    return body;
}
#define CHANGESET(parts, said, part) changeset_of(parts, said, part, sizeof(part) - 1)

/* A part that writes a thousand columns, or is a thousand exceptions. */
static struct satchel_buffer wide_changeset(bool has_exceptions)
{
    struct satchel_buffer body = CHANGESET(0, 4000, "");
    struct satchel_buffer part = bytes_new();
    PUT(&part, "\x96\x01\x01\x91\x01");
    for (int list = 0; list < 3; list++) {
        size_t count = (list == 2) == has_exceptions ? 1000 : 0;
        put_count(&part, (char)0xdd, count);
        for (size_t i = 0; i < count; i++) {
            const char column[] = {(char)0xcd, (char)(i >> 8), (char)i};
            if (list == 2)
                PUT(&part, "\x93");
            if (list != 1)
                put(&part, column, sizeof column);
            if (list == 1)
                PUT(&part, "\xc0");
            if (list == 2)
                PUT(&part, "\x02\x90");
        }
    }
    repeat(&body, (const char *)part.data, part.size, 16u * MIB / part.size - 1);
    satchel_buffer_deinit(&part);
    return body;
}

static void test_bombs__change_sets_and_notes_take_the_documented_multiple(void **state)
{
    (void)state;
    const size_t most = 33 * (size_t)SATCHEL_CHANGESET_BYTES_MAX;
    expect(decode_changeset,
           (struct squeezed){CHANGESET(100000, 100000, "\x96\x02\x01\x91\xc0\x90\x90\x90"),
                             SATCHEL_OK, 33 * 800000 + 4 * MIB});
    expect(decode_changeset, (struct squeezed){CHANGESET(100001, 100001,
                                                         "\x96\x02\x01\x91\xc0"
                                                         "\x90\x90\x90"),
                                               SATCHEL_LIMIT, MIB});
    expect(decode_changeset,
           (struct squeezed){CHANGESET(1, 100000, "\x96\x02\x01\x91\xc0\x90\x90\x90"),
                             SATCHEL_CORRUPT, MIB});
    expect(decode_changeset, (struct squeezed){CHANGESET(1, UINT32_MAX,
                                                         "\x96\x02\x01\x91\xc0"
                                                         "\x90\x90\x90"),
                                               SATCHEL_LIMIT, MIB});
    expect(decode_changeset, (struct squeezed){CHANGESET(1, 1, "\x96\x01\x01\xdd\xff\xff\xff\xff"),
                                               SATCHEL_CORRUPT, MIB});
    expect(decode_changeset, (struct squeezed){wide_changeset(false), SATCHEL_CORRUPT, most});
    expect(decode_changeset, (struct squeezed){wide_changeset(true), SATCHEL_CORRUPT, most});

    struct satchel_buffer notes =
        FULL_LIST("\x94\x90\x90\x90", "\x92\x01\xa0", "", (size_t)SATCHEL_NOTES_BYTES_MAX);
    expect(decode_notes,
           (struct squeezed){notes, SATCHEL_OK, 32 * (size_t)SATCHEL_NOTES_BYTES_MAX});
    notes = bytes_new();
    PUT(&notes, "\x94\x90\xdd\xff\xff\xff\xff");
    expect(decode_notes, (struct squeezed){notes, SATCHEL_CORRUPT, MIB});

    struct satchel_buffer brackets = bytes_new();
    repeat(&brackets, "[", 1, 16 * MIB);
    expect(read_json, (struct squeezed){brackets, SATCHEL_CORRUPT, MIB});
    /* The smallest items: the worst there is for JSON. */
    struct satchel_buffer items = bytes_new();
    PUT(&items, "[ 0");
    repeat(&items, ",0", 2, 4 * MIB);
    PUT(&items, "]");
    expect(read_json, (struct squeezed){items, SATCHEL_OK, 17 * 8 * MIB + MIB});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bombs__a_session_answers_within_its_limits),
        cmocka_unit_test(test_bombs__the_largest_messages_take_the_documented_multiple),
        cmocka_unit_test(test_bombs__a_frame_says_its_size_and_keeps_to_it),
        cmocka_unit_test(test_bombs__stored_bodies_and_segments_keep_to_their_limits),
        cmocka_unit_test(test_bombs__change_sets_and_notes_take_the_documented_multiple),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
