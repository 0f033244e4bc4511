/* A frame and the message in it: refused with words, or read within the documented memory, written
 * again and read back equal. */
#include "../unit/protocol_support.h"
#include "fuzz.h"

enum { BYTES_MAX = 1 << 24 };

static void require_words(enum satchel_status status, const struct satchel_error *error)
{
    FUZZ_REQUIRE(status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT || status == SATCHEL_VERSION);
    FUZZ_REQUIRE(error->status == status && error->message[0] != '\0');
}

static void require_round_trip(const struct satchel_message *message, struct satchel_arena *arena)
{
    struct satchel_buffer written, framed, scratch;
    struct satchel_message again;
    struct satchel_span unframed;
    satchel_buffer_init(&written, 4 * BYTES_MAX, NULL);
    satchel_buffer_init(&framed, 4 * BYTES_MAX, NULL);
    satchel_buffer_init(&scratch, 4 * BYTES_MAX, NULL);
    FUZZ_REQUIRE(satchel_message_write(&written, message) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_frame_write(&framed, satchel_buffer_span(&written)) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_frame_read(satchel_buffer_span(&framed), 4 * BYTES_MAX, &scratch,
                                    &unframed, NULL) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(unframed, satchel_buffer_span(&written)));
    FUZZ_REQUIRE(satchel_message_read(unframed, arena, &again, NULL) == SATCHEL_OK);
    FUZZ_REQUIRE(messages_equal(message, &again));
    satchel_buffer_deinit(&written);
    satchel_buffer_deinit(&framed);
    satchel_buffer_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_buffer scratch;
    struct satchel_arena arena;
    struct satchel_message message;
    struct satchel_span bytes;
    satchel_buffer_init(&scratch, BYTES_MAX, NULL);
    satchel_arena_init(&arena, 64 * (size_t)BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_frame_read(satchel_span_of(data, size), BYTES_MAX, &scratch, &bytes, &error);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(bytes.size <= BYTES_MAX);
        status = satchel_message_read(bytes, &arena, &message, &error);
        fuzz_require_bounded(&arena, bytes.size);
    }
    if (status != SATCHEL_OK) {
        require_words(status, &error);
    } else {
        require_round_trip(&message, &arena);
        fuzz_accepted_count++;
    }
    satchel_arena_deinit(&arena);
    satchel_buffer_deinit(&scratch);
    return 0;
}
