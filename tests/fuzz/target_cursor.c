/* MessagePack by the cursor, with msgpack-c as the witness: what the cursor passes over is one
 * well-formed item of the same size, and a value it reads is the value that stands there. */
#include "fuzz.h"

#include <msgpack.h>

static void require_bytes(const struct satchel_value *value, const char *bytes, uint32_t size)
{
    FUZZ_REQUIRE(satchel_span_equal(value->bytes, satchel_span_of(bytes, size)));
}

/* A value that the cursor read, beside the object that msgpack-c made of the same bytes. */
static void require_same_value(const struct satchel_value *value, const msgpack_object *object)
{
    switch (value->type) {
    case SATCHEL_NULL: FUZZ_REQUIRE(object->type == MSGPACK_OBJECT_NIL); return;
    case SATCHEL_INTEGER:
        FUZZ_REQUIRE(object->type == (value->integer < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER
                                                         : MSGPACK_OBJECT_POSITIVE_INTEGER));
        FUZZ_REQUIRE(object->via.i64 == value->integer);
        return;
    case SATCHEL_REAL:
        FUZZ_REQUIRE(object->type == MSGPACK_OBJECT_FLOAT64);
        FUZZ_REQUIRE(memcmp(&object->via.f64, &value->real, sizeof value->real) == 0);
        return;
    case SATCHEL_TEXT:
        FUZZ_REQUIRE(object->type == MSGPACK_OBJECT_STR);
        require_bytes(value, object->via.str.ptr, object->via.str.size);
        return;
    case SATCHEL_BLOB:
        FUZZ_REQUIRE(object->type == MSGPACK_OBJECT_BIN);
        require_bytes(value, object->via.bin.ptr, object->via.bin.size);
        return;
    }
}

/* Whether msgpack-c's object is one that a cursor must read as a value. */
static bool is_value(const msgpack_object *object)
{
    return object->type == MSGPACK_OBJECT_NIL || object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ||
           (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= INT64_MAX) ||
           object->type == MSGPACK_OBJECT_FLOAT64 || object->type == MSGPACK_OBJECT_STR ||
           object->type == MSGPACK_OBJECT_BIN;
}

static void require_same(struct satchel_span item)
{
    msgpack_unpacked unpacked;
    size_t offset = 0;
    msgpack_unpacked_init(&unpacked);
    FUZZ_REQUIRE(msgpack_unpack_next(&unpacked, (const char *)item.data, item.size, &offset) ==
                 MSGPACK_UNPACK_SUCCESS);
    FUZZ_REQUIRE(offset == item.size);

    struct satchel_cursor cursor = satchel_cursor_of(item);
    struct satchel_value value = satchel_cursor_value(&cursor);
    FUZZ_REQUIRE(is_value(&unpacked.data) == !cursor.failed);
    if (!cursor.failed) {
        FUZZ_REQUIRE(satchel_cursor_at_end(&cursor));
        require_same_value(&value, &unpacked.data);
    }
    cursor = satchel_cursor_of(item);
    uint32_t count = satchel_cursor_array(&cursor, UINT32_MAX);
    FUZZ_REQUIRE(cursor.failed == (unpacked.data.type != MSGPACK_OBJECT_ARRAY));
    FUZZ_REQUIRE(cursor.failed || count == unpacked.data.via.array.size);
    cursor = satchel_cursor_of(item);
    uint64_t number = satchel_cursor_unsigned(&cursor, UINT64_MAX);
    FUZZ_REQUIRE(cursor.failed == (unpacked.data.type != MSGPACK_OBJECT_POSITIVE_INTEGER));
    FUZZ_REQUIRE(cursor.failed || number == unpacked.data.via.u64);
    msgpack_unpacked_destroy(&unpacked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_cursor cursor = satchel_cursor_of(satchel_span_of(data, size));
    while (!satchel_cursor_at_end(&cursor)) {
        const uint8_t *start = cursor.position;
        struct satchel_span item = satchel_cursor_item(&cursor);
        if (cursor.failed) {
            FUZZ_REQUIRE(cursor.position == start && item.size == 0);
            return 0;
        }
        FUZZ_REQUIRE(item.data == start && item.size > 0);
        require_same(item);
    }
    fuzz_accepted_count++;
    return 0;
}
