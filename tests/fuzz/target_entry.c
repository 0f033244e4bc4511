/* An entry with its notes, and notes by themselves: read within the documented memory, written
 * again and read back to the same bytes. */
#include "fuzz.h"

#include <satchel/entry.h>

static bool check_notes(struct satchel_span bytes)
{
    struct satchel_buffer first, second;
    struct satchel_arena arena;
    struct satchel_notes notes;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&first, bytes.size + 64, NULL);
    satchel_buffer_init(&second, bytes.size + 64, NULL);
    enum satchel_status status = satchel_notes_read(bytes, &arena, &notes);
    fuzz_require_bounded(&arena, bytes.size);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(satchel_notes_write(&first, &notes) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_notes_read(satchel_buffer_span(&first), &arena, &notes) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_notes_write(&second, &notes) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_span_equal(satchel_buffer_span(&first), satchel_buffer_span(&second)));
    } else {
        FUZZ_REQUIRE(status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT);
    }
    satchel_buffer_deinit(&first);
    satchel_buffer_deinit(&second);
    satchel_arena_deinit(&arena);
    return status == SATCHEL_OK;
}

static void check_entry(const struct satchel_entry *entry)
{
    struct satchel_buffer first, second;
    struct satchel_entry again;
    satchel_buffer_init(&first, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&second, SIZE_MAX / 2, NULL);
    FUZZ_REQUIRE(satchel_entry_write(&first, entry) == SATCHEL_OK);
    struct satchel_cursor cursor = satchel_cursor_of(satchel_buffer_span(&first));
    FUZZ_REQUIRE(satchel_entry_read(&cursor, &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_cursor_at_end(&cursor));
    FUZZ_REQUIRE(satchel_entry_write(&second, &again) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_span_equal(satchel_buffer_span(&first), satchel_buffer_span(&second)));
    satchel_buffer_deinit(&first);
    satchel_buffer_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_cursor cursor = satchel_cursor_of(satchel_span_of(data, size));
    struct satchel_entry entry;
    if (check_notes(satchel_span_of(data, size)) && size > 0)
        fuzz_accepted_count++;
    while (!satchel_cursor_at_end(&cursor) && satchel_entry_read(&cursor, &entry) == SATCHEL_OK) {
        FUZZ_REQUIRE(!cursor.failed);
        check_entry(&entry);
        check_notes(entry.notes);
        fuzz_accepted_count++;
    }
    return 0;
}
