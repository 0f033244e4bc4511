/* A segment of the packed log: what can be read of it, with every entry's body and notes, can be
 * packed again and is read back the same, and the new summary passes over none of it. */
#include "fuzz.h"

#include "segment.h"

#include <satchel/row_io.h>

static void require_same(const struct satchel_log_entry *a, const struct satchel_log_entry *b)
{
    const struct satchel_entry *x = &a->entry, *y = &b->entry;
    FUZZ_REQUIRE(x->cursor == y->cursor && x->seq == y->seq && x->number == y->number &&
                 x->stamp == y->stamp && satchel_id_equal(&x->device, &y->device));
    FUZZ_REQUIRE(satchel_span_equal(x->user, y->user) && satchel_span_equal(x->notes, y->notes) &&
                 satchel_span_equal(a->timeline, b->timeline));
    FUZZ_REQUIRE(!x->secret == !y->secret);
    FUZZ_REQUIRE(!x->secret || memcmp(x->secret, y->secret, SATCHEL_SECRET_BYTES) == 0);
}

/* The body of a stored form, which may be compressed before and is not after. */
static bool load(struct satchel_span stored, struct satchel_buffer *scratch,
                 struct satchel_span *body)
{
    satchel_buffer_init(scratch, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    *body = satchel_span_of(NULL, 0);
    return stored.size > 0 && satchel_body_load(stored, scratch, body) == SATCHEL_OK;
}

static void require_same_body(struct satchel_span a, struct satchel_span b)
{
    struct satchel_buffer scratch_a, scratch_b;
    struct satchel_span body_a, body_b;
    bool loads = load(a, &scratch_a, &body_a);
    FUZZ_REQUIRE(loads == load(b, &scratch_b, &body_b));
    FUZZ_REQUIRE(loads ? satchel_span_equal(body_a, body_b) : satchel_span_equal(a, b));
    satchel_buffer_deinit(&scratch_a);
    satchel_buffer_deinit(&scratch_b);
}

/* Everything that a reader asks of the summary about an entry that can be read. */
static void require_held(struct satchel_span summary, const struct satchel_log_entry *read)
{
    struct satchel_buffer scratch, key;
    struct satchel_changeset changeset;
    struct satchel_arena arena;
    struct satchel_span body;
    satchel_log_mark mark = satchel_log_mark_change(&read->entry.device, read->entry.number);
    FUZZ_REQUIRE(satchel_segment_may_hold(summary, &mark, 1));
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&key, SIZE_MAX / 2, NULL);
    if (load(read->entry.body, &scratch, &body) &&
        satchel_changeset_decode(body, &arena, &changeset, NULL) == SATCHEL_OK)
        for (uint32_t i = 0; i < changeset.header.part_count; i++) {
            const struct satchel_part *part = &changeset.parts[i];
            satchel_buffer_clear(&key);
            FUZZ_REQUIRE(satchel_key_text(&key, part->key, part->key_count) == SATCHEL_OK);
            mark = satchel_log_mark_row(part->table, satchel_buffer_span(&key));
            FUZZ_REQUIRE(satchel_segment_may_hold(summary, &mark, 1));
        }
    satchel_buffer_deinit(&scratch);
    satchel_buffer_deinit(&key);
    satchel_arena_deinit(&arena);
}

static void require_repacks(struct satchel_span data, struct satchel_segment_maker *maker)
{
    struct satchel_buffer packed, summary, scratch, scratch_again;
    struct satchel_cursor items, items_again;
    struct satchel_log_entry read, read_again;
    satchel_buffer_init(&packed, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&summary, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&scratch, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&scratch_again, SIZE_MAX / 2, NULL);
    FUZZ_REQUIRE(satchel_segment_write(maker, &packed, &summary) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_segment_open(data, &scratch, &items) == SATCHEL_OK);
    FUZZ_REQUIRE(satchel_segment_open(satchel_buffer_span(&packed), &scratch_again, &items_again) ==
                 SATCHEL_OK);
    while (satchel_segment_next(&items, &read)) {
        FUZZ_REQUIRE(satchel_segment_next(&items_again, &read_again));
        require_same(&read, &read_again);
        require_same_body(read.entry.body, read_again.entry.body);
        require_held(satchel_buffer_span(&summary), &read_again);
    }
    FUZZ_REQUIRE(satchel_cursor_at_end(&items_again));
    satchel_buffer_deinit(&packed);
    satchel_buffer_deinit(&summary);
    satchel_buffer_deinit(&scratch);
    satchel_buffer_deinit(&scratch_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_segment_maker maker;
    struct satchel_buffer scratch;
    struct satchel_cursor items;
    struct satchel_log_entry read;
    satchel_segment_maker_init(&maker);
    satchel_buffer_init(&scratch, SIZE_MAX / 2, NULL);
    enum satchel_status status =
        satchel_segment_open(satchel_span_of(data, size), &scratch, &items);
    FUZZ_REQUIRE(status == SATCHEL_OK || status == SATCHEL_CORRUPT || status == SATCHEL_LIMIT);
    while (status == SATCHEL_OK && satchel_segment_next(&items, &read))
        FUZZ_REQUIRE(satchel_segment_add(&maker, &read) == SATCHEL_OK);
    if (status == SATCHEL_OK && maker.entry_count > 0) {
        require_repacks(satchel_span_of(data, size), &maker);
        fuzz_accepted_count++;
    }
    satchel_segment_maker_deinit(&maker);
    satchel_buffer_deinit(&scratch);
    return 0;
}
