/* Entries and their notes: what is written comes back; what is cut short or out of order is
 * refused. */
#include "protocol_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct satchel_buffer buffer;
static struct satchel_arena arena;

static int setup(void **state)
{
    (void)state;
    satchel_buffer_init(&buffer, 1 << 20, NULL);
    satchel_arena_init(&arena, 1 << 20, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    satchel_buffer_deinit(&buffer);
    satchel_arena_deinit(&arena);
    return 0;
}

static struct satchel_value key[2], other_key[2];
static struct satchel_field fields[2], kept[2];
static struct satchel_effect effects[5];
static struct satchel_conflict_note conflicts[2];
static struct satchel_quarantine_note quarantined[1];
static uint32_t unlike[3];

/* Notes with every kind of everything. */
static struct satchel_notes sample_notes(void)
{
    key[0] = satchel_value_text(satchel_span_text("k"));
    key[1] = satchel_value_integer(-5);
    other_key[0] = satchel_value_text(satchel_span_text("other"));
    other_key[1] = satchel_value_integer(6);
    fields[0] = (struct satchel_field){2, satchel_value_real(-0.0)};
    fields[1] = (struct satchel_field){999, satchel_value_null()};
    kept[0] = (struct satchel_field){2, satchel_value_blob(satchel_span_of("\0\1", 2))};
    kept[1] = (struct satchel_field){999, satchel_value_text(satchel_span_text(""))};
    effects[0] = (struct satchel_effect){SATCHEL_EFFECT_DELTA, 1, key, 2, fields, 2, NULL};
    effects[1] = (struct satchel_effect){SATCHEL_EFFECT_WHOLE, 2, key, 1, fields, 1, NULL};
    effects[2] = (struct satchel_effect){SATCHEL_EFFECT_GONE, 3, key, 2, NULL, 0, NULL};
    effects[3] = (struct satchel_effect){SATCHEL_EFFECT_EVICT, 4, key, 1, NULL, 0, NULL};
    effects[4] = (struct satchel_effect){SATCHEL_EFFECT_ALIAS, 2, key, 2, NULL, 0, other_key};
    conflicts[0] =
        (struct satchel_conflict_note){.id = sample_id(1),
                                       .kind = SATCHEL_CONFLICT_DUPLICATE,
                                       .is_open = true,
                                       .table = 1,
                                       .key = key,
                                       .key_count = 2,
                                       .alias_key = other_key,
                                       .unit = 2,
                                       .severity = SATCHEL_SEVERITY_REVIEW,
                                       .loser = {UINT64_C(0x0123456789abcdef), sample_id(2), 7, 1},
                                       .winner = {UINT64_MAX, sample_id(3), INT64_MAX, 99},
                                       .loser_user = satchel_span_text("ada"),
                                       .winner_user = satchel_span_text("bob"),
                                       .lost = fields,
                                       .kept = kept,
                                       .column_count = 2};
    conflicts[1] = conflicts[0];
    conflicts[1].is_open = false;
    conflicts[1].unit = SATCHEL_COLUMN_ROW;
    conflicts[1].column_count = 0;
    conflicts[1].kind = SATCHEL_CONFLICT_DELETE;
    conflicts[1].alias_key = NULL;
    conflicts[1].resolved = 77;
    quarantined[0] = (struct satchel_quarantine_note){4, satchel_span_text("not allowed")};
    unlike[0] = 0;
    unlike[1] = 4;
    unlike[2] = 99999;
    return (struct satchel_notes){unlike, 3, effects, 5, conflicts, 2, quarantined, 1};
}

static void assert_rows_equal(const struct satchel_value *a, uint32_t a_count,
                              const struct satchel_value *b, uint32_t b_count)
{
    assert_int_equal(a_count, b_count);
    for (uint32_t i = 0; i < a_count; i++)
        assert_true(satchel_value_equal(&a[i], &b[i]));
}

static void assert_fields_equal(const struct satchel_field *a, const struct satchel_field *b,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(a[i].column, b[i].column);
        assert_true(satchel_value_equal(&a[i].value, &b[i].value));
    }
}

static void assert_orders_equal(const struct satchel_order *a, const struct satchel_order *b)
{
    assert_true(a->stamp == b->stamp && a->number == b->number && a->part == b->part);
    assert_true(satchel_id_equal(&a->device, &b->device));
}

static void test_notes__come_back_as_they_were_written(void **state)
{
    (void)state;
    struct satchel_notes in = sample_notes(), out;
    assert_int_equal(satchel_notes_write(&buffer, &in), SATCHEL_OK);
    assert_int_equal(satchel_notes_read(satchel_buffer_span(&buffer), &arena, &out), SATCHEL_OK);
    assert_int_equal(out.unlike_count, in.unlike_count);
    assert_memory_equal(out.unlike, in.unlike, sizeof unlike);
    assert_int_equal(out.effect_count, in.effect_count);
    for (uint32_t i = 0; i < in.effect_count; i++) {
        const struct satchel_effect *a = &in.effects[i], *b = &out.effects[i];
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->table, b->table);
        assert_rows_equal(a->key, a->key_count, b->key, b->key_count);
        assert_int_equal(a->field_count, b->field_count);
        assert_fields_equal(a->fields, b->fields, a->field_count);
        assert_int_equal(a->into != NULL, b->into != NULL);
        if (a->into)
            assert_rows_equal(a->into, a->key_count, b->into, b->key_count);
    }
    assert_int_equal(out.conflict_count, in.conflict_count);
    for (uint32_t i = 0; i < in.conflict_count; i++) {
        const struct satchel_conflict_note *a = &in.conflicts[i], *b = &out.conflicts[i];
        assert_true(satchel_id_equal(&a->id, &b->id));
        assert_int_equal(a->is_open, b->is_open);
        assert_int_equal(a->table, b->table);
        assert_rows_equal(a->key, a->key_count, b->key, b->key_count);
        assert_int_equal(a->unit, b->unit);
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->alias_key != NULL, b->alias_key != NULL);
        if (a->alias_key)
            assert_rows_equal(a->alias_key, a->key_count, b->alias_key, b->key_count);
        assert_int_equal(a->severity, b->severity);
        assert_orders_equal(&a->loser, &b->loser);
        assert_orders_equal(&a->winner, &b->winner);
        assert_true(satchel_span_equal(a->loser_user, b->loser_user));
        assert_true(satchel_span_equal(a->winner_user, b->winner_user));
        assert_int_equal(a->column_count, b->column_count);
        assert_fields_equal(a->lost, b->lost, a->column_count);
        assert_fields_equal(a->kept, b->kept, a->column_count);
        assert_true(a->resolved == b->resolved);
    }
    assert_int_equal(out.quarantined_count, 1);
    assert_int_equal(out.quarantined[0].part, 4);
    assert_true(satchel_span_equal(out.quarantined[0].reason, in.quarantined[0].reason));
}

static void test_notes__empty_bytes_say_nothing(void **state)
{
    (void)state;
    struct satchel_notes out, nothing = {0};
    assert_int_equal(satchel_notes_read(satchel_span_of(NULL, 0), &arena, &out), SATCHEL_OK);
    assert_int_equal(out.unlike_count + out.effect_count + out.conflict_count, 0);
    assert_int_equal(satchel_notes_write(&buffer, &nothing), SATCHEL_OK);
    assert_int_equal(buffer.size, 5);
    assert_int_equal(satchel_notes_read(satchel_buffer_span(&buffer), &arena, &out), SATCHEL_OK);
}

static void test_notes__every_truncation_is_corrupt_and_no_flipped_bit_costs_memory(void **state)
{
    (void)state;
    struct satchel_notes in = sample_notes(), out;
    assert_int_equal(satchel_notes_write(&buffer, &in), SATCHEL_OK);
    for (size_t size = 1; size < buffer.size; size++) {
        uint8_t *cut = malloc(size);
        assert_non_null(cut);
        memcpy(cut, buffer.data, size);
        assert_int_equal(satchel_notes_read(satchel_span_of(cut, size), &arena, &out),
                         SATCHEL_CORRUPT);
        free(cut);
    }
    for (size_t bit = 0; bit < buffer.size * 8; bit++) {
        buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        satchel_arena_reset(&arena);
        enum satchel_status status = satchel_notes_read(satchel_buffer_span(&buffer), &arena, &out);
        assert_true(status == SATCHEL_OK || status == SATCHEL_CORRUPT);
        assert_true(arena.used_bytes <= 48 * buffer.size);
        buffer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(satchel_buffer_append(&buffer, "", 1), SATCHEL_OK);
    assert_int_equal(satchel_notes_read(satchel_buffer_span(&buffer), &arena, &out),
                     SATCHEL_CORRUPT);
}

static void test_notes__a_later_version_may_add_items(void **state)
{
    (void)state;
    /* [[], [[2, 1, [5], [], [], "new"]], [], [], {"new": 1}] */
    static const uint8_t bytes[] = {0x95, 0x90, 0x91, 0x96, 2,    1,    0x91, 5,   0x90, 0x90, 0xa3,
                                    'n',  'e',  'w',  0x90, 0x90, 0x81, 0xa3, 'n', 'e',  'w',  1};
    struct satchel_notes out;
    assert_int_equal(satchel_notes_read(satchel_span_of(bytes, sizeof bytes), &arena, &out),
                     SATCHEL_OK);
    assert_int_equal(out.effect_count, 1);
    assert_int_equal(out.effects[0].kind, SATCHEL_EFFECT_GONE);
}

static void test_notes__the_writer_refuses_what_the_reader_would(void **state)
{
    (void)state;
    struct satchel_notes notes = sample_notes();
    unlike[1] = 0;
    assert_int_equal(satchel_notes_write(&buffer, &notes), SATCHEL_INVALID);
    notes = sample_notes();
    effects[2].fields = fields;
    effects[2].field_count = 1;
    assert_int_equal(satchel_notes_write(&buffer, &notes), SATCHEL_INVALID);
    notes = sample_notes();
    effects[0].key_count = 0;
    assert_int_equal(satchel_notes_write(&buffer, &notes), SATCHEL_INVALID);
    notes = sample_notes();
    kept[1].column = 5;
    assert_int_equal(satchel_notes_write(&buffer, &notes), SATCHEL_INVALID);
    notes = sample_notes();
    fields[1].column = 1000;
    assert_int_equal(satchel_notes_write(&buffer, &notes), SATCHEL_INVALID);
    assert_int_equal(buffer.size, 0);
}

static struct satchel_entry sample_entry(void)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = "0123456789abcde";
    return (struct satchel_entry){5,
                                  0,
                                  sample_id(1),
                                  9,
                                  UINT64_MAX,
                                  satchel_span_text("ada"),
                                  secret,
                                  satchel_span_text("body"),
                                  satchel_span_of(NULL, 0),
                                  satchel_span_text("positions"),
                                  sample_id(7),
                                  UINT64_MAX - 1,
                                  true};
}

static void test_entry__comes_back_and_every_truncation_is_corrupt(void **state)
{
    (void)state;
    struct satchel_entry in = sample_entry(), out;
    assert_int_equal(satchel_entry_write(&buffer, &in), SATCHEL_OK);
    struct satchel_cursor cursor = satchel_cursor_of(satchel_buffer_span(&buffer));
    assert_int_equal(satchel_entry_read(&cursor, &out), SATCHEL_OK);
    assert_true(satchel_cursor_at_end(&cursor));
    assert_true(out.cursor == 5 && out.seq == 0 && out.number == 9 && out.stamp == UINT64_MAX);
    assert_true(satchel_id_equal(&out.device, &in.device));
    assert_true(satchel_span_equal(out.user, in.user));
    assert_memory_equal(out.secret, in.secret, SATCHEL_SECRET_BYTES);
    assert_true(satchel_span_equal(out.body, in.body));
    assert_int_equal(out.notes.size, 0);
    assert_true(satchel_span_equal(out.positions, in.positions));
    assert_true(satchel_id_equal(&out.receipt, &in.receipt));
    assert_true(out.previous == in.previous);
    for (size_t size = 0; size < buffer.size; size++) {
        cursor = satchel_cursor_of(satchel_span_of(buffer.data, size));
        assert_int_equal(satchel_entry_read(&cursor, &out), SATCHEL_CORRUPT);
    }
}

static void test_entry__has_a_place_in_the_stream_and_bounded_names(void **state)
{
    (void)state;
    char name[SATCHEL_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof name);
    struct satchel_entry entry = sample_entry();
    entry.cursor = 0;
    assert_int_equal(satchel_entry_write(&buffer, &entry), SATCHEL_INVALID);
    entry = sample_entry();
    entry.seq = UINT64_MAX;
    assert_int_equal(satchel_entry_write(&buffer, &entry), SATCHEL_INVALID);
    entry = sample_entry();
    entry.user = satchel_span_of(name, sizeof name);
    assert_int_equal(satchel_entry_write(&buffer, &entry), SATCHEL_LIMIT);
    assert_int_equal(buffer.size, 0);
}

static void test_receipt__depends_on_each_of_its_parts(void **state)
{
    (void)state;
    uint8_t secret[SATCHEL_WORKSPACE_KEY_BYTES] = {1},
            other_secret[SATCHEL_WORKSPACE_KEY_BYTES] = {2};
    uint8_t hash[SATCHEL_HASH_BYTES] = {3}, other_hash[SATCHEL_HASH_BYTES] = {4};
    struct satchel_id node = sample_id(1), other_node = sample_id(2), receipts[12];
    struct satchel_entry entry = sample_entry();
    struct satchel_span none = satchel_span_of(NULL, 0);
    size_t count = 0;
    receipts[count++] = satchel_entry_receipt(secret, &node, &entry, hash, none);
    receipts[count++] = satchel_entry_receipt(other_secret, &node, &entry, hash, none);
    receipts[count++] = satchel_entry_receipt(secret, &other_node, &entry, hash, none);
    receipts[count++] = satchel_entry_receipt(secret, &node, &entry, other_hash, none);
    receipts[count++] = satchel_entry_receipt(secret, &node, &entry, hash, satchel_span_text("q"));
    for (int field = 0; field < 7; field++) {
        entry = sample_entry();
        switch (field) {
        case 0: entry.seq++; break;
        case 1: entry.device = sample_id(9); break;
        case 2: entry.number++; break;
        case 3: entry.stamp--; break;
        case 4: entry.user = satchel_span_text("adb"); break;
        case 5: entry.previous++; break;
        default: entry.positions = none; break;
        }
        receipts[count++] = satchel_entry_receipt(secret, &node, &entry, hash, none);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(satchel_id_equal(&receipts[i], &receipts[j]));
    entry = sample_entry();
    entry.cursor++; /* a place in the stream, which another incarnation gives anew */
    struct satchel_id again = satchel_entry_receipt(secret, &node, &entry, hash, none);
    assert_true(satchel_id_equal(&again, &receipts[0]));
}

static void test_notes__what_was_quarantined_is_found_without_the_rest(void **state)
{
    (void)state;
    struct satchel_notes in = sample_notes(), out;
    assert_true(in.quarantined_count > 0);
    satchel_buffer_clear(&buffer);
    assert_int_equal(satchel_notes_write(&buffer, &in), SATCHEL_OK);
    struct satchel_span list = satchel_notes_quarantined(satchel_buffer_span(&buffer));
    assert_int_equal(satchel_notes_quarantined_read(list, &arena, &out), SATCHEL_OK);
    assert_int_equal(out.quarantined_count, in.quarantined_count);
    for (uint32_t i = 0; i < in.quarantined_count; i++) {
        assert_int_equal(out.quarantined[i].part, in.quarantined[i].part);
        assert_true(satchel_span_equal(out.quarantined[i].reason, in.quarantined[i].reason));
    }
    for (size_t size = 0; size < list.size; size++)
        if (size > 0)
            assert_int_equal(
                satchel_notes_quarantined_read(satchel_span_of(list.data, size), &arena, &out),
                SATCHEL_CORRUPT);
    in.quarantined_count = 0;
    satchel_buffer_clear(&buffer);
    assert_int_equal(satchel_notes_write(&buffer, &in), SATCHEL_OK);
    assert_int_equal(satchel_notes_quarantined(satchel_buffer_span(&buffer)).size, 0);
    assert_int_equal(satchel_notes_quarantined(satchel_span_text("none")).size, 0);
}

static void test_conflict_id__depends_on_each_of_its_parts(void **state)
{
    (void)state;
    struct satchel_value row[2] = {satchel_value_text(satchel_span_text("ab")),
                                   satchel_value_integer(0)};
    struct satchel_value moved[2] = {satchel_value_text(satchel_span_text("a")),
                                     satchel_value_text(satchel_span_text("b"))};
    struct satchel_id device = sample_id(1), other = sample_id(2);
    struct satchel_id ids[] = {satchel_conflict_id(1, row, 2, 3, &device, 4),
                               satchel_conflict_id(2, row, 2, 3, &device, 4),
                               satchel_conflict_id(1, row, 1, 3, &device, 4),
                               satchel_conflict_id(1, moved, 2, 3, &device, 4),
                               satchel_conflict_id(1, row, 2, SATCHEL_COLUMN_ROW, &device, 4),
                               satchel_conflict_id(1, row, 2, 3, &other, 4),
                               satchel_conflict_id(1, row, 2, 3, &device, 5)};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(satchel_id_equal(&ids[i], &ids[j]));
    struct satchel_id again = satchel_conflict_id(1, row, 2, 3, &device, 4);
    assert_true(satchel_id_equal(&again, &ids[0]));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_notes__come_back_as_they_were_written),
        TEST(test_notes__empty_bytes_say_nothing),
        TEST(test_notes__every_truncation_is_corrupt_and_no_flipped_bit_costs_memory),
        TEST(test_notes__a_later_version_may_add_items),
        TEST(test_notes__the_writer_refuses_what_the_reader_would),
        TEST(test_entry__comes_back_and_every_truncation_is_corrupt),
        TEST(test_entry__has_a_place_in_the_stream_and_bounded_names),
        TEST(test_receipt__depends_on_each_of_its_parts),
        TEST(test_notes__what_was_quarantined_is_found_without_the_rest),
        TEST(test_conflict_id__depends_on_each_of_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
