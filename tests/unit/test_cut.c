/* What is withheld of an entry from somebody who may not see every row in it. */
#include "node_kit.h"

#include <satchel/cut.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct node_kit kit;
static struct satchel_arena scratch, arena;

static int set_up(void **state)
{
    (void)state;
    node_kit_open(&kit, NODE_KIT_SCHEMA);
    satchel_arena_init(&scratch, 1 << 20, NULL);
    satchel_arena_init(&arena, 1 << 20, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    satchel_arena_deinit(&arena);
    satchel_arena_deinit(&scratch);
    node_kit_close(&kit);
    return 0;
}

/* Rows whose id begins with h are hidden. */
static enum satchel_status look(void *context, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, enum satchel_seen *seen,
                                struct satchel_error *error)
{
    (void)context;
    (void)error;
    assert_int_equal(table, ITEM);
    assert_int_equal(key_count, 1);
    *seen = key[0].bytes.data[0] == 'h' ? SATCHEL_HIDDEN : SATCHEL_SEEN;
    return SATCHEL_OK;
}

/* What is left of the notes of the entry that the kit has built. */
static struct satchel_notes cut(bool *is_empty)
{
    const struct satchel_audience audience = {NULL, look, kit.replica->schema, {NULL, 0}};
    struct satchel_error error = {0};
    struct satchel_notes notes;
    struct satchel_entry entry = entry_of_other(&kit);
    assert_int_equal(satchel_entry_cut(&audience, SATCHEL_NOT_AUTHOR, &scratch, &arena, &entry,
                                       is_empty, &error),
                     SATCHEL_OK);
    assert_int_equal(satchel_notes_read(entry.notes, &arena, &notes), SATCHEL_OK);
    return notes;
}

static void test_cut__a_conflict_is_told_to_who_sees_both_rows_that_were_one(void **state)
{
    bool is_empty;
    (void)state;
    entry_begin(&kit);
    entry_conflict(&kit, "a", TITLE, "lost", "kept", true);
    entry_conflict(&kit, "a", BODY, "lost", "kept", true);
    entry_conflict_wrote(&kit, "b");
    entry_conflict(&kit, "a", TITLE, "secret", "kept", true);
    entry_conflict_wrote(&kit, "hidden");
    entry_conflict(&kit, "hidden", TITLE, "lost", "secret", true);
    entry_conflict_wrote(&kit, "a");
    entry_conflict(&kit, "hidden", BODY, "secret", "secret", true);
    struct satchel_notes notes = cut(&is_empty);
    assert_false(is_empty);
    assert_int_equal(notes.conflict_count, 2);
    assert_int_equal(notes.conflicts[0].unit, TITLE);
    assert_null(notes.conflicts[0].alias_key);
    assert_int_equal(notes.conflicts[1].unit, BODY);
}

static void test_cut__a_row_that_became_one_with_a_hidden_one_is_evicted(void **state)
{
    bool is_empty;
    (void)state;
    entry_begin(&kit);
    entry_alias(&kit, "a", "hidden");
    entry_alias(&kit, "h2", "b");
    struct satchel_notes notes = cut(&is_empty);
    assert_false(is_empty);
    assert_int_equal(notes.effect_count, 1);
    assert_int_equal(notes.effects[0].kind, SATCHEL_EFFECT_EVICT);
    assert_null(notes.effects[0].into);
}

static void test_cut__nothing_is_left_of_an_entry_about_hidden_rows(void **state)
{
    bool is_empty;
    (void)state;
    entry_begin(&kit);
    entry_part(&kit, SATCHEL_OP_UPDATE, "hidden", FIELDS(TEXT_FIELD(TITLE, "secret")));
    entry_effect(&kit, SATCHEL_EFFECT_WHOLE, "h2", FIELDS(TEXT_FIELD(TITLE, "secret")));
    entry_conflict(&kit, "a", TITLE, "secret", "kept", true);
    entry_conflict_wrote(&kit, "hidden");
    (void)cut(&is_empty);
    assert_true(is_empty);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_cut__a_conflict_is_told_to_who_sees_both_rows_that_were_one),
        TEST(test_cut__a_row_that_became_one_with_a_hidden_one_is_evicted),
        TEST(test_cut__nothing_is_left_of_an_entry_about_hidden_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
