/* What a replica keeps of rows with pending writes, and of what it has seen: from a file that
 * anything may have happened to. Input: a byte of column count, then satchel_base's bytes. */
#include "fuzz.h"

#include "replica.h"

#include <satchel/pack.h>

static void check_base(struct satchel_span bytes, uint32_t column_count,
                       struct satchel_arena *arena)
{
    struct satchel_base base, again;
    struct satchel_buffer first, second;
    enum satchel_status status = satchel_base_decode(bytes, column_count, arena, &base);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_CORRUPT);
    if (status != SATCHEL_OK)
        return;
    FUZZ_REQUIRE(base.value_count <= column_count);
    satchel_buffer_init(&first, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&second, SIZE_MAX / 2, NULL);
    FUZZ_REQUIRE(satchel_base_encode(&first, &base, column_count) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_base_decode(satchel_buffer_span(&first), column_count, arena, &again) ==
                 SATCHEL_OK);
    FUZZ_REQUIRE(again.exists == base.exists && again.view_count == base.view_count);
    FUZZ_REQUIRE(satchel_base_encode(&second, &again, column_count) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(satchel_buffer_span(&first), satchel_buffer_span(&second)));
    satchel_buffer_deinit(&first);
    satchel_buffer_deinit(&second);
    fuzz_accepted_count++;
}

static void check_vector(struct satchel_span bytes, struct satchel_arena *arena)
{
    struct satchel_vector vector, again;
    struct satchel_buffer packed;
    struct satchel_pack pack;
    enum satchel_status status = satchel_vector_unpack(bytes, arena, &vector);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_CORRUPT);
    if (status != SATCHEL_OK)
        return;
    satchel_buffer_init(&packed, SIZE_MAX / 2, NULL);
    satchel_pack_init(&pack, &packed);
    satchel_pack_vector(&pack, &vector);
    FUZZ_REQUIRE(pack.status == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_vector_unpack(satchel_buffer_span(&packed), arena, &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_vector_includes(&vector, &again) &&
                 satchel_vector_includes(&again, &vector));
    satchel_buffer_deinit(&packed);
    fuzz_accepted_count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    struct satchel_arena arena;
    uint8_t column_count = fuzz_byte(&input);
    struct satchel_span rest = fuzz_bytes(&input, size);
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    check_base(rest, column_count, &arena);
    check_vector(rest, &arena);
    satchel_arena_deinit(&arena);
    return 0;
}
