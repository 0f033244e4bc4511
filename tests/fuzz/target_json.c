/* JSON: what is canonical stays so and says the same part by part; no document is longer in its
 * canonical form; a string says the same when it is quoted again. */
#include "fuzz.h"

#include <satchel/json_reader.h>

static void require_canonical(struct satchel_span text, struct satchel_arena *arena)
{
    struct satchel_span again;
    FUZZ_REQUIRE(satchel_json_canonical(text, arena, &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(text, again));
}

static void require_string(struct satchel_span text, struct satchel_arena *arena)
{
    struct satchel_span bytes, quoted, canonical;
    FUZZ_REQUIRE(satchel_json_canonical(text, arena, &canonical) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_json_unquote(canonical, arena, &bytes) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_json_quote(bytes, arena, &quoted) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(quoted, canonical));
}

static void require_items(struct satchel_span text, enum satchel_json_type type,
                          struct satchel_arena *arena)
{
    struct satchel_json_item *items, *split;
    size_t count, split_count;
    FUZZ_REQUIRE(satchel_json_items(text, type, arena, &items, &count) == SATCHEL_OK);
    for (size_t i = 0; i < count; i++) {
        require_canonical(items[i].value, arena);
        FUZZ_REQUIRE((items[i].name.size > 0) == (type == SATCHEL_JSON_OBJECT));
        if (items[i].name.size > 0)
            require_string(items[i].name, arena);
        if (i > 0 && type == SATCHEL_JSON_OBJECT)
            FUZZ_REQUIRE(satchel_json_compare(items[i - 1].name, items[i].name) < 0);
    }
    if (type != SATCHEL_JSON_ARRAY)
        return;
    FUZZ_REQUIRE(satchel_json_split(text, arena, &split, &split_count) == SATCHEL_OK);
    FUZZ_REQUIRE(split_count == count);
    for (size_t i = 0; i < count; i++) {
        struct satchel_span canonical;
        FUZZ_REQUIRE(satchel_json_canonical(split[i].value, arena, &canonical) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_span_equal(canonical, items[i].value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_span text = satchel_span_of(data, size), canonical, quoted;
    struct satchel_arena arena;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_json_type type = satchel_json_type_of(text, SATCHEL_JSON_DEPTH_MAX);
    enum satchel_status status = satchel_json_canonical(text, &arena, &canonical);
    FUZZ_REQUIRE(status == (type == SATCHEL_JSON_INVALID ? SATCHEL_CORRUPT : SATCHEL_OK));
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(canonical.size <= size);
        FUZZ_REQUIRE(satchel_json_type_of(canonical, SATCHEL_JSON_DEPTH_MAX) == type);
        require_canonical(canonical, &arena);
        if (type == SATCHEL_JSON_ARRAY || type == SATCHEL_JSON_OBJECT)
            require_items(text, type, &arena);
        if (type == SATCHEL_JSON_STRING)
            require_string(text, &arena);
        fuzz_accepted_count++;
    }
    status = satchel_json_quote(text, &arena, &quoted);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_CORRUPT);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(satchel_json_unquote(quoted, &arena, &canonical) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_span_equal(canonical, text));
    }
    satchel_arena_deinit(&arena);
    return 0;
}
