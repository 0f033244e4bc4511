/* The merge of what no honest device sends, and of more than fits: nothing blocks a device for
 * ever, nothing becomes too large to be sent on, and one row stays one row. */
#include "merge_internal.h"
#include "merge_kit.h"

#include <stdlib.h>

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE
#define MIB ((size_t)1 << 20)

/* columns: 0 id, 1 body, 2 mark */
static const char schema_sql[] = "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE paper (id TEXT PRIMARY KEY, body, mark INTEGER);\n"
                                 "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE loose (k PRIMARY KEY, v TEXT);\n"
                                 "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE anything (k ANY PRIMARY KEY, v TEXT);\n"
                                 "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE precise (k ANY PRIMARY KEY, v TEXT) STRICT;\n"
                                 "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE measured (k REAL PRIMARY KEY, v TEXT);\n";

static struct satchel_value large(struct kit *kit, size_t size, uint8_t fill)
{
    uint8_t *bytes = satchel_arena_alloc(&kit->arena, size);
    assert_non_null(bytes);
    memset(bytes, fill, size);
    return satchel_value_blob(satchel_span_of(bytes, size));
}

static const char *name_of(struct kit *kit, unsigned number)
{
    char name[16];
    snprintf(name, sizeof name, "p%03u", number);
    return (const char *)satchel_arena_copy(&kit->arena, satchel_span_text(name)).data;
}

static uint32_t push_parts(struct kit *kit, uint8_t device, uint64_t number, int64_t ms,
                           uint64_t seen, const struct satchel_part *parts, uint32_t part_count)
{
    struct satchel_incoming incoming =
        kit_changeset(kit, device, number, ms, seen, parts, part_count);
    struct satchel_incoming_outcome outcome;
    kit_merge(kit, &incoming, 1, &outcome);
    assert_int_equal(outcome.result, SATCHEL_INCOMING_MERGED);
    return outcome.quarantined_count;
}

/* The stored notes of the last entry. */
static size_t last_notes_size(struct kit *kit)
{
    return (size_t)strtoull(
        kit_rows(kit, "SELECT length(notes) FROM satchel_entry ORDER BY cursor DESC LIMIT 1"), NULL,
        10);
}

/* ---- what fits one entry ---- */

enum { PAPERS = 60 };

/* PAPERS papers of 1 MiB by device 1, ten to a change set. */
static void open_with_papers(struct kit *kit)
{
    kit_open(kit, schema_sql);
    for (unsigned i = 0; i < PAPERS; i += 10) {
        struct satchel_part parts[10];
        for (unsigned j = 0; j < 10; j++)
            parts[j] = kit_part(kit, INSERT, "paper", name_of(kit, i + j), 1,
                                large(kit, MIB, (uint8_t)(i + j)), -1);
        assert_int_equal(push_parts(kit, 1, 1 + i / 10, i, i / 10, parts, 10), 0);
    }
}

static void test_merge_limits__rows_that_come_back_fit_an_entry_or_are_set_aside(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_part deletes[PAPERS], edits[PAPERS];
    open_with_papers(&kit);
    for (unsigned i = 0; i < PAPERS; i++) {
        deletes[i] = kit_part(&kit, DELETE, "paper", name_of(&kit, i), -1);
        edits[i] = kit_part(&kit, UPDATE, "paper", name_of(&kit, i), 2, integer(i), -1);
    }
    assert_int_equal(push_parts(&kit, 1, 7, 1000, 6, deletes, PAPERS), 0);
    uint32_t quarantined = push_parts(&kit, 2, 1, 2000, 6, edits, PAPERS);
    assert_true(quarantined > 0 && quarantined < 20);
    assert_true(last_notes_size(&kit) <= SATCHEL_NOTES_BYTES_MAX);
    assert_int_equal(atoll(kit_rows(&kit, "SELECT count(*) FROM paper WHERE mark IS NOT NULL")),
                     PAPERS - quarantined);
    struct satchel_notes notes = kit_notes(&kit, 8);
    assert_int_equal(notes.quarantined_count, quarantined);
    assert_int_equal(notes.unlike_count, PAPERS);
    assert_non_null(strstr((const char *)notes.quarantined[0].reason.data, "too large"));
    /* what was set aside can be written again, less at a time */
    assert_int_equal(push_parts(&kit, 2, 2, 3000, 6, edits + PAPERS - quarantined, quarantined), 0);
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM paper"), "60");
    kit_close(&kit);
}

static void test_merge_limits__conflicts_fit_an_entry_and_the_log_has_them_whole(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_part parts[10];
    open_with_papers(&kit);
    for (unsigned i = 0; i < PAPERS; i += 10) {
        for (unsigned j = 0; j < 10; j++)
            parts[j] = kit_part(&kit, UPDATE, "paper", name_of(&kit, i + j), 1,
                                large(&kit, MIB, (uint8_t)(100 + i + j)), -1);
        push_parts(&kit, 2, 1 + i / 10, 5000 + i, 6, parts, 10);
    }
    struct satchel_part edits[PAPERS];
    for (unsigned i = 0; i < PAPERS; i++)
        edits[i] = kit_part(&kit, UPDATE, "paper", name_of(&kit, i), 1, integer(i), -1);
    /* loses everywhere: nothing changes, and 60 MiB of what stands are not said again */
    assert_int_equal(push_parts(&kit, 3, 1, 1000, 6, edits, PAPERS), 0);
    assert_true(last_notes_size(&kit) <= SATCHEL_NOTES_BYTES_MAX);
    struct satchel_notes notes = kit_notes(&kit, 13);
    assert_int_equal(notes.unlike_count, PAPERS);
    assert_int_equal(notes.conflict_count, PAPERS);
    assert_int_equal(notes.conflicts[0].kept[0].value.type, SATCHEL_NULL);
    assert_int_equal(notes.conflicts[0].lost[0].value.integer, 0);
    assert_string_equal(kit_rows(&kit, "SELECT count(*), sum(mine), min(length(kept))"
                                       " FROM satchel_conflicts WHERE resolved IS NULL"),
                        "60|1770|1048576");
    kit_close(&kit);
}

static void test_merge_limits__reasons_are_cut_between_characters(void **state)
{
    (void)state;
    struct kit kit;
    char text[400];
    kit_open(&kit, schema_sql);
    for (size_t pad = 0; pad < 4; pad++) {
        memset(text, 'x', pad);
        text[pad] = '\0';
        while (strlen(text) + 3 < sizeof text)
            memcpy(text + strlen(text), "\xe4\xbd\xa0", 4);
        struct satchel_span reason = merge_reason(&kit.arena, text);
        assert_int_equal((reason.size - pad) % 3, 0);
        assert_true(reason.size <= MERGE_REASON_BYTES_MAX);
        assert_true(reason.size > MERGE_REASON_BYTES_MAX - 3);
    }
    kit_close(&kit);
}

/* ---- what fits one row ---- */

static void test_merge_limits__too_many_large_values_in_conflict_block_nobody(void **state)
{
    (void)state;
    struct kit kit;
    uint32_t quarantined = 0;
    kit_open(&kit, schema_sql);
    kit_push(&kit, 1, 1, 0, 0, kit_part(&kit, INSERT, "paper", "p", 2, integer(1), -1));
    for (uint8_t device = 2; device < 9; device++)
        quarantined += kit_push(&kit, device, 1, device, 1,
                                kit_part(&kit, UPDATE, "paper", "p", 1,
                                         large(&kit, 15 * MIB, device), 2, integer(device), -1));
    assert_int_equal(quarantined, 2); /* 64 MiB hold four that lost; the fifth is in the row */
    assert_string_equal(kit_rows(&kit, "SELECT mark FROM paper"), "6");
    /* somebody who knows them all settles it, and the next may write again */
    kit_push(&kit, 1, 2, 100, 8, kit_part(&kit, UPDATE, "paper", "p", 1, text("settled"), -1));
    assert_int_equal(kit_push(&kit, 8, 2, 200, 9,
                              kit_part(&kit, UPDATE, "paper", "p", 1, large(&kit, MIB, 1), -1)),
                     0);
    kit_close(&kit);
}

static void test_merge_limits__a_row_that_ever_comes_and_goes_is_merged_to_the_end(void **state)
{
    (void)state;
    enum { ROUNDS = 400 };
    struct kit kit;
    struct satchel_incoming batch[50];
    struct satchel_incoming_outcome outcomes[50];
    uint64_t number = 0;
    kit_open(&kit, schema_sql);
    while (number < ROUNDS) {
        for (unsigned i = 0; i < 50; i++, number++) {
            struct satchel_part part =
                number % 2 ? kit_part(&kit, DELETE, "paper", "p", -1)
                           : kit_part(&kit, INSERT, "paper", "p", 2, integer((int64_t)number), -1);
            batch[i] = kit_changeset(&kit, 1, number + 1, (int64_t)number, 0, &part, 1);
        }
        kit_merge(&kit, batch, 50, outcomes);
    }
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM paper"), "0");
    kit_push(&kit, 2, 1, 0, 1, kit_part(&kit, UPDATE, "paper", "p", 2, integer(7), -1));
    kit_push(&kit, 2, 2, 5000, ROUNDS + 1, kit_part(&kit, INSERT, "paper", "p", 2, integer(8), -1));
    assert_string_equal(kit_rows(&kit, "SELECT mark FROM paper"), "8");
    kit_close(&kit);
}

/* ---- forged views ---- */

static void test_merge_limits__nobody_has_seen_what_is_not_there(void **state)
{
    (void)state;
    struct kit kit;
    struct satchel_store_head head;
    kit_open(&kit, schema_sql);
    assert_ok(kit.store->ops->load_head(kit.store, &head, &kit.error));
    struct satchel_position future = {head.node, 1000}, elsewhere = {{{7}}, 1000};
    struct satchel_exception exception = {SATCHEL_COLUMN_ROW, {SATCHEL_VIEW_SEEN, {&future, 1}}};
    struct satchel_part part = kit_part(&kit, INSERT, "paper", "p", 2, integer(1), -1);
    struct satchel_incoming_outcome outcome;
    part.exceptions = &exception;
    part.exception_count = 1;
    struct satchel_incoming forged = kit_changeset(&kit, 1, 1, 0, 0, &part, 1);
    kit_merge(&kit, &forged, 1, &outcome);
    assert_int_equal(outcome.result, SATCHEL_INCOMING_REFUSED);
    assert_int_equal(outcome.error.status, SATCHEL_CORRUPT);
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_entry"), "0");
    /* of a node that nobody here knows it says nothing */
    exception.view.vector.items = &elsewhere;
    struct satchel_incoming odd = kit_changeset(&kit, 1, 1, 0, 0, &part, 1);
    kit_merge(&kit, &odd, 1, &outcome);
    assert_int_equal(outcome.result, SATCHEL_INCOMING_MERGED);
    kit_close(&kit);
}

/* ---- one row, one name ---- */

static struct satchel_part with_key(struct kit *kit, const char *table, struct satchel_value key)
{
    struct satchel_part part = kit_part(kit, INSERT, table, "", 1, text("v"), -1);
    struct satchel_value *copy = SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_value, 1);
    *copy = key;
    part.key = copy;
    return part;
}

static void test_merge_limits__keys_that_sqlite_holds_equal_never_name_two_rows(void **state)
{
    (void)state;
    struct kit kit;
    uint64_t number = 0;
    kit_open(&kit, schema_sql);
    struct satchel_value zero = satchel_value_real(-0.0), one = satchel_value_real(1.0),
                         half = satchel_value_real(0.5);
    const struct {
        const char *table;
        struct satchel_value key;
        uint32_t quarantined;
    } cases[] = {
        {"loose", integer(1), 0},    {"loose", one, 1},          {"loose", zero, 1},
        {"loose", half, 0},          {"loose", text("1"), 0},    {"anything", integer(1), 0},
        {"anything", text("1"), 1},  {"anything", one, 1},       {"precise", integer(1), 0},
        {"precise", text("1"), 0},   {"precise", one, 1},        {"measured", one, 0},
        {"measured", integer(1), 1}, {"measured", text("1"), 1}, {"measured", zero, 1},
        {"measured", half, 0},       {"paper", integer(1), 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct satchel_part part = with_key(&kit, cases[i].table, cases[i].key);
        uint32_t quarantined = push_parts(&kit, 1, number + 1, (int64_t)i, number, &part, 1);
        number++;
        if (quarantined != cases[i].quarantined)
            fail_msg("case %zu of %s", i, cases[i].table);
    }
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM loose"), "3");
    assert_string_equal(kit_rows(&kit, "SELECT count(*) FROM satchel_row"), "8");
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_limits__rows_that_come_back_fit_an_entry_or_are_set_aside),
        cmocka_unit_test(test_merge_limits__conflicts_fit_an_entry_and_the_log_has_them_whole),
        cmocka_unit_test(test_merge_limits__reasons_are_cut_between_characters),
        cmocka_unit_test(test_merge_limits__too_many_large_values_in_conflict_block_nobody),
        cmocka_unit_test(test_merge_limits__a_row_that_ever_comes_and_goes_is_merged_to_the_end),
        cmocka_unit_test(test_merge_limits__nobody_has_seen_what_is_not_there),
        cmocka_unit_test(test_merge_limits__keys_that_sqlite_holds_equal_never_name_two_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
