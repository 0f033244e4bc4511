/* An entry with its notes and positions, and notes, a list of what was quarantined and positions by
 * themselves: read within the documented memory, written again and read back to the same bytes. */
#include "fuzz.h"

#include <satchel/entry.h>

static void require_refused(enum satchel_status status)
{
    FUZZ_REQUIRE(status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT);
}

static void require_same_list(const struct satchel_notes *a, const struct satchel_notes *b)
{
    FUZZ_REQUIRE(a->quarantined_count == b->quarantined_count);
    for (uint32_t i = 0; i < a->quarantined_count; i++)
        FUZZ_REQUIRE(a->quarantined[i].part == b->quarantined[i].part &&
                     satchel_span_equal(a->quarantined[i].reason, b->quarantined[i].reason));
}

/* What is given back of notes: the list that they end with, which says the same by itself. */
static void check_given_back(struct satchel_span bytes, const struct satchel_notes *notes)
{
    struct satchel_arena arena;
    struct satchel_notes list;
    struct satchel_span quarantined = satchel_notes_quarantined(bytes);
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    FUZZ_REQUIRE((quarantined.size > 0) == (notes->quarantined_count > 0));
    FUZZ_REQUIRE(satchel_notes_quarantined_read(quarantined, &arena, &list) == SATCHEL_OK);
    require_same_list(&list, notes);
    satchel_arena_deinit(&arena);
}

/* The notes of a forwarded entry, as a peer says them. */
static void check_quarantined(struct satchel_span bytes)
{
    struct satchel_arena arena;
    struct satchel_notes list, again;
    struct satchel_buffer written;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&written, bytes.size + 64, NULL);
    enum satchel_status status = satchel_notes_quarantined_read(bytes, &arena, &list);
    fuzz_require_bounded(&arena, bytes.size);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(satchel_notes_write(&written, &list) == SATCHEL_OK);
        struct satchel_span quarantined = satchel_notes_quarantined(satchel_buffer_span(&written));
        FUZZ_REQUIRE(satchel_notes_quarantined_read(quarantined, &arena, &again) == SATCHEL_OK);
        require_same_list(&list, &again);
    } else {
        require_refused(status);
    }
    satchel_buffer_deinit(&written);
    satchel_arena_deinit(&arena);
}

static void check_positions(struct satchel_span bytes)
{
    struct satchel_arena arena;
    struct satchel_vector positions, again;
    struct satchel_buffer written;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&written, bytes.size + 64, NULL);
    enum satchel_status status = satchel_vector_unpack(bytes, &arena, &positions);
    fuzz_require_bounded(&arena, bytes.size);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(satchel_vector_pack(&written, &positions) == SATCHEL_OK);
        FUZZ_REQUIRE(satchel_vector_unpack(satchel_buffer_span(&written), &arena, &again) ==
                     SATCHEL_OK);
        FUZZ_REQUIRE(again.count == positions.count);
        for (size_t i = 0; i < again.count; i++)
            FUZZ_REQUIRE(satchel_id_equal(&again.items[i].node, &positions.items[i].node) &&
                         again.items[i].seq == positions.items[i].seq);
    } else {
        require_refused(status);
    }
    satchel_buffer_deinit(&written);
    satchel_arena_deinit(&arena);
}

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
        check_given_back(bytes, &notes);
    } else {
        require_refused(status);
    }
    satchel_buffer_deinit(&first);
    satchel_buffer_deinit(&second);
    satchel_arena_deinit(&arena);
    return status == SATCHEL_OK;
}

/* Of what was written and read again it is the same receipt; of another entry it is another. */
static void require_receipt(const struct satchel_entry *entry, const struct satchel_entry *again)
{
    static const uint8_t key[SATCHEL_WORKSPACE_KEY_BYTES] = {1}, hash[SATCHEL_HASH_BYTES] = {2};
    const struct satchel_id node = {{3}};
    struct satchel_entry other = *again;
    struct satchel_id first = satchel_entry_receipt(key, &node, entry, hash, entry->notes);
    struct satchel_id second = satchel_entry_receipt(key, &node, again, hash, again->notes);
    other.number ^= 1;
    struct satchel_id third = satchel_entry_receipt(key, &node, &other, hash, other.notes);
    FUZZ_REQUIRE(satchel_id_equal(&first, &second) && !satchel_id_equal(&first, &third));
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
    require_receipt(entry, &again);
    satchel_buffer_deinit(&first);
    satchel_buffer_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_cursor cursor = satchel_cursor_of(satchel_span_of(data, size));
    struct satchel_entry entry;
    if (check_notes(satchel_span_of(data, size)) && size > 0)
        fuzz_accepted_count++;
    check_quarantined(satchel_span_of(data, size));
    check_positions(satchel_span_of(data, size));
    while (!satchel_cursor_at_end(&cursor) && satchel_entry_read(&cursor, &entry) == SATCHEL_OK) {
        FUZZ_REQUIRE(!cursor.failed);
        check_entry(&entry);
        check_notes(entry.notes);
        check_positions(entry.positions);
        fuzz_accepted_count++;
    }
    return 0;
}
