/* The body of a change set: read whole and part by part alike, within the documented memory; it has
 * a hash if and only if it can be read; written again it says the same. */
#include "fuzz.h"

#include <satchel/changeset.h>

static const uint8_t secret[SATCHEL_SECRET_BYTES] = "secret of a body";

static void require_same_part(const struct satchel_part *a, const struct satchel_part *b)
{
    FUZZ_REQUIRE(a->kind == b->kind && a->table == b->table && a->key_count == b->key_count &&
                 a->field_count == b->field_count && a->exception_count == b->exception_count);
    for (uint32_t i = 0; i < a->key_count; i++)
        FUZZ_REQUIRE(satchel_value_equal(&a->key[i], &b->key[i]));
    for (uint32_t i = 0; i < a->field_count; i++)
        FUZZ_REQUIRE(a->fields[i].column == b->fields[i].column &&
                     satchel_value_equal(&a->fields[i].value, &b->fields[i].value));
    for (uint32_t i = 0; i < a->exception_count; i++)
        FUZZ_REQUIRE(
            a->exceptions[i].column == b->exceptions[i].column &&
            a->exceptions[i].view.kind == b->exceptions[i].view.kind &&
            satchel_vector_includes(&a->exceptions[i].view.vector, &b->exceptions[i].view.vector) &&
            satchel_vector_includes(&b->exceptions[i].view.vector, &a->exceptions[i].view.vector));
}

/* What a reader of one part at a time finds. */
static void require_same_parts(struct satchel_span body, const struct satchel_changeset *changeset,
                               struct satchel_arena *arena)
{
    struct satchel_cursor cursor = satchel_cursor_of(body);
    struct satchel_changeset_header header;
    FUZZ_REQUIRE(satchel_changeset_read_header(&cursor, arena, &header) == SATCHEL_OK);
    FUZZ_REQUIRE(header.part_count == changeset->header.part_count &&
                 header.schema == changeset->header.schema &&
                 satchel_span_equal(header.role, changeset->header.role));
    for (uint32_t i = 0; i < header.part_count; i++) {
        struct satchel_part part;
        FUZZ_REQUIRE(satchel_changeset_read_part(&cursor, arena, &part) == SATCHEL_OK);
        require_same_part(&part, &changeset->parts[i]);
    }
    FUZZ_REQUIRE(satchel_cursor_at_end(&cursor));
}

static void require_round_trip(const struct satchel_changeset *changeset, size_t size,
                               struct satchel_arena *arena)
{
    struct satchel_buffer body, stored, scratch;
    struct satchel_span loaded;
    satchel_buffer_init(&body, size, NULL); /* the shortest forms are not longer */
    satchel_buffer_init(&stored, size + 1, NULL);
    satchel_buffer_init(&scratch, size, NULL);
    FUZZ_REQUIRE(satchel_changeset_write_header(&body, &changeset->header) == SATCHEL_OK);
    for (uint32_t i = 0; i < changeset->header.part_count; i++)
        FUZZ_REQUIRE(satchel_changeset_write_part(&body, &changeset->parts[i]) == SATCHEL_OK);
    require_same_parts(satchel_buffer_span(&body), changeset, arena);
    FUZZ_REQUIRE(satchel_body_store(satchel_buffer_span(&body), &stored) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_body_load(satchel_buffer_span(&stored), &scratch, &loaded) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(loaded, satchel_buffer_span(&body)));
    satchel_buffer_deinit(&body);
    satchel_buffer_deinit(&stored);
    satchel_buffer_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_span body = satchel_span_of(data, size);
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    struct satchel_changeset changeset;
    struct satchel_arena arena, other;
    uint8_t hash[SATCHEL_HASH_BYTES];
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    satchel_arena_init(&other, SIZE_MAX / 2, NULL);
    enum satchel_status status = satchel_changeset_decode(body, &arena, &changeset, &error);
    fuzz_require_bounded(&arena, size);
    enum satchel_status hashed = satchel_changeset_hash(body, secret, hash);
    FUZZ_REQUIRE(hashed == SATCHEL_OK || (hashed == SATCHEL_CORRUPT && status != SATCHEL_OK));
    if (status == SATCHEL_OK) {
        require_same_parts(body, &changeset, &other);
        require_round_trip(&changeset, size, &other);
        fuzz_accepted_count++;
    } else {
        FUZZ_REQUIRE(status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT ||
                     status == SATCHEL_VERSION);
        FUZZ_REQUIRE(error.message[0] != '\0');
    }
    satchel_arena_deinit(&arena);
    satchel_arena_deinit(&other);
    return 0;
}
