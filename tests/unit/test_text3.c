/* Texts written apart become one: the least changes are found, and whose stand. */
#include "line_diff.h"
#include "text3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

static struct satchel_arena arena;
static uint64_t seed = 20240229;

static int setup(void **state)
{
    (void)state;
    satchel_arena_init(&arena, 64u << 20, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    satchel_arena_deinit(&arena);
    return 0;
}

static uint32_t below(uint32_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((seed >> 33) % limit);
}

/* `lost`: a letter for each side, 'x' if it lost. */
static void assert_merged(const char *base, const char *first, const char *second,
                          const char *expected, const char *expected_lost)
{
    const struct satchel_span sides[] = {satchel_span_text(first), satchel_span_text(second)};
    struct satchel_span merged;
    bool lost[2];
    assert_ok(
        satchel_text3_merge(satchel_span_text(base), sides, second ? 2 : 1, &arena, &merged, lost));
    if (!satchel_span_equal(merged, satchel_span_text(expected)))
        fail_msg("merged to \"%.*s\", not \"%s\"", (int)merged.size, (const char *)merged.data,
                 expected);
    for (size_t i = 0; expected_lost[i]; i++)
        assert_int_equal(lost[i], expected_lost[i] == 'x');
}

static void test_text3__takes_changes_of_different_lines_from_all(void **state)
{
    (void)state;
    assert_merged("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n", "..");
    assert_merged("a\nb\n", "x\na\nb\n", "a\nb\ny\n", "x\na\nb\ny\n", "..");
    assert_merged("a\nb\nc\n", "b\nc\n", "a\nb\n", "b\n", "..");
    assert_merged("a\nb\nc\n", "a\nB\nc\n", NULL, "a\nB\nc\n", ".");
    assert_merged("a\nb\nc\n", "a\nb\nc\n", "", "", "..");
}

static void test_text3__knows_the_same_change_made_twice(void **state)
{
    (void)state;
    assert_merged("a\nb\n", "a\nX\n", "a\nX\n", "a\nX\n", "..");
    assert_merged("a\n", "a\nb\n", "a\nb\n", "a\nb\n", "..");
    assert_merged("", "note\n", "note\n", "note\n", "..");
    assert_merged("a\nb\nc\n", "a\nc\n", "c\n", "c\n", "x.");
}

static void test_text3__gives_lines_changed_twice_to_the_later(void **state)
{
    (void)state;
    assert_merged("a\nb\nc\n", "a\n1\nc\n", "a\n2\nc\n", "a\n2\nc\n", "x.");
    assert_merged("a\n", "a\n1\n", "a\n2\n", "a\n2\n", "x.");
    assert_merged("", "1", "2", "2", "x.");
    assert_merged("a\nb\nc\nd\n", "1\n2\nc\nd\n", "a\n3\n4\nd\n", "a\n3\n4\nd\n", "x.");
    /* Into lines that somebody else took away. */
    assert_merged("a\nb\nc\n", "a\nb\nx\nc\n", "a\n", "a\n", "x.");
    /* The earlier writer's other changes stay. */
    assert_merged("a\nb\nc\n", "1\nb\n2\n", "a\nb\n3\n", "1\nb\n3\n", "x.");
}

static void test_text3__keeps_both_of_changes_beside_each_other(void **state)
{
    (void)state;
    assert_merged("a\nb\n", "1\nb\n", "a\n2\n", "1\n2\n", "..");
    assert_merged("a\nb\n", "1\nb\n", "a\nx\nb\n", "1\nx\nb\n", "..");
    assert_merged("a\nb\n", "a\nx\nb\n", "a\n2\n", "a\nx\n2\n", "..");
}

static void test_text3__never_joins_two_lines_into_one(void **state)
{
    (void)state;
    assert_merged("a\nb", "a\nb\nc", "A\nb", "A\nb\nc", "..");
    assert_merged("a\nb\n", "a\nx", "a\nb\nc\n", "a\nx\nc\n", "..");
    assert_merged("a", "a", "b\na", "b\na", "..");
}

static void test_text3__of_three_writers_has_the_last_say_and_all_losers(void **state)
{
    (void)state;
    const struct satchel_span sides[] = {satchel_span_text("a\n1\nc\nd\n"),
                                         satchel_span_text("a\n2\nc\nD\n"),
                                         satchel_span_text("A\n1\nc\nd\n")};
    struct satchel_span merged;
    bool lost[3];
    assert_ok(
        satchel_text3_merge(satchel_span_text("a\nb\nc\nd\n"), sides, 3, &arena, &merged, lost));
    /* The third writes two lines in one, and of the first's says the same of one only. */
    assert_true(satchel_span_equal(merged, satchel_span_text("A\n1\nc\nD\n")));
    assert_true(lost[0]);
    assert_true(lost[1]);
    assert_false(lost[2]);
    const struct satchel_span again[] = {sides[0], sides[1], sides[0]};
    assert_ok(
        satchel_text3_merge(satchel_span_text("a\nb\nc\nd\n"), again, 3, &arena, &merged, lost));
    assert_true(satchel_span_equal(merged, satchel_span_text("a\n1\nc\nD\n")));
    assert_false(lost[0]); /* what it said stands */
    assert_true(lost[1]);
    assert_false(lost[2]);
}

static void test_text3__who_said_the_same_loses_with_him(void **state)
{
    (void)state;
    const struct satchel_span sides[] = {satchel_span_text("1\n"), satchel_span_text("1\n"),
                                         satchel_span_text("2\n")};
    struct satchel_span merged;
    bool lost[3];
    assert_ok(satchel_text3_merge(satchel_span_text("a\n"), sides, 3, &arena, &merged, lost));
    assert_true(satchel_span_equal(merged, satchel_span_text("2\n")));
    assert_true(lost[0]);
    assert_true(lost[1]);
    assert_false(lost[2]);
}

static void test_text3__takes_any_bytes(void **state)
{
    (void)state;
    struct satchel_span merged;
    bool lost[2];
    const struct satchel_span nothing = {NULL, 0};
    const struct satchel_span sides[] = {satchel_span_of("\0\n\xff", 3), nothing};
    assert_ok(satchel_text3_merge(nothing, sides, 2, &arena, &merged, lost));
    assert_true(satchel_span_equal(merged, sides[0]));
    assert_ok(satchel_text3_merge(sides[0], sides, 2, &arena, &merged, lost));
    assert_int_equal(merged.size, 0);
    assert_ok(satchel_text3_merge(sides[0], NULL, 0, &arena, &merged, lost));
    assert_true(satchel_span_equal(merged, sides[0]));
}

/* ---- the least changes ---- */

#define LINES 40

struct random_text {
    char text[LINES * 8];
    uint32_t letters[LINES];
    uint32_t count;
};

static struct satchel_span make_text(struct random_text *out, uint32_t count, uint32_t alphabet)
{
    size_t size = 0;
    out->count = count;
    for (uint32_t i = 0; i < count; i++) {
        out->letters[i] = below(alphabet);
        size +=
            (size_t)snprintf(out->text + size, sizeof out->text - size, "%u\n", out->letters[i]);
    }
    return satchel_span_of(out->text, size);
}

static uint32_t longest_common(const struct random_text *a, const struct random_text *b)
{
    uint32_t longest[LINES + 1][LINES + 1] = {{0}};
    for (uint32_t i = 1; i <= a->count; i++) {
        for (uint32_t k = 1; k <= b->count; k++) {
            uint32_t up = longest[i - 1][k], left = longest[i][k - 1];
            longest[i][k] = a->letters[i - 1] == b->letters[k - 1] ? longest[i - 1][k - 1] + 1
                            : up > left                            ? up
                                                                   : left;
        }
    }
    return longest[a->count][b->count];
}

/* The changed lines; checks that the hunks lead from one to the other and lie apart. */
static size_t check_hunks(const struct lines *from, struct satchel_span to,
                          const struct line_hunk *hunks, size_t count)
{
    struct satchel_buffer buffer;
    size_t changed = 0;
    uint32_t line = 0;
    satchel_buffer_init(&buffer, 64u << 20, NULL);
    for (size_t i = 0; i <= count; i++) {
        uint32_t stop = i < count ? hunks[i].from : from->count;
        assert_true(i == 0 || i == count ? line <= stop : line < stop);
        for (; line < stop; line++)
            assert_ok(
                satchel_buffer_append(&buffer, from->items[line].data, from->items[line].size));
        if (i == count)
            break;
        struct lines added;
        assert_ok(lines_split(hunks[i].text, &arena, &added));
        assert_ok(satchel_buffer_append(&buffer, hunks[i].text.data, hunks[i].text.size));
        assert_true(hunks[i].to >= hunks[i].from);
        assert_true(added.count + hunks[i].to - hunks[i].from > 0);
        changed += added.count + hunks[i].to - hunks[i].from;
        line = hunks[i].to;
    }
    assert_true(satchel_span_equal(satchel_buffer_span(&buffer), to));
    satchel_buffer_deinit(&buffer);
    return changed;
}

static void test_line_diff__changes_as_few_lines_as_possible(void **state)
{
    (void)state;
    for (int i = 0; i < 4000; i++) {
        struct random_text a, b;
        uint32_t alphabet = 1 + below(12);
        struct satchel_span from = make_text(&a, below(LINES + 1), alphabet);
        struct satchel_span to = make_text(&b, below(LINES + 1), alphabet);
        struct lines from_lines, to_lines;
        struct line_hunk *hunks;
        size_t count;
        assert_ok(lines_split(from, &arena, &from_lines));
        assert_ok(lines_split(to, &arena, &to_lines));
        assert_int_equal(from_lines.count, a.count);
        assert_ok(line_diff(&from_lines, &to_lines, &arena, &hunks, &count));
        assert_int_equal(check_hunks(&from_lines, to, hunks, count),
                         a.count + b.count - 2 * longest_common(&a, &b));
        satchel_arena_reset(&arena);
    }
}

static struct satchel_span long_text(uint32_t count, uint32_t alphabet)
{
    char *text = satchel_arena_alloc(&arena, count * 8 + 1);
    size_t size = 0;
    assert_non_null(text);
    for (uint32_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, 8, "%u\n", below(alphabet));
    return satchel_span_of(text, size);
}

static void check_long(struct satchel_span from, struct satchel_span to)
{
    struct lines from_lines, to_lines;
    struct line_hunk *hunks;
    size_t count;
    assert_ok(lines_split(from, &arena, &from_lines));
    assert_ok(lines_split(to, &arena, &to_lines));
    assert_ok(line_diff(&from_lines, &to_lines, &arena, &hunks, &count));
    check_hunks(&from_lines, to, hunks, count);
}

static void test_line_diff__has_bounded_work_on_long_texts(void **state)
{
    (void)state;
    for (uint32_t count = 5000; count < 100000; count *= 4) {
        struct satchel_span from = long_text(count, 50), to = long_text(count, 50);
        check_long(from, to);
        check_long(from, satchel_span_of(to.data, to.size / 3));
        check_long(from, satchel_span_of("", 0));
        satchel_arena_reset(&arena);
    }
    /* Every line an empty one. */
    uint8_t *empty = satchel_arena_alloc(&arena, 1u << 20);
    assert_non_null(empty);
    memset(empty, '\n', 1u << 20);
    check_long(satchel_span_of(empty, 1u << 20), satchel_span_of(empty, 1u << 19));
    satchel_arena_reset(&arena);
}

/* ---- any texts, against a naive merge ---- */

/* No line occurs twice, so that there is one least set of changes: the one that was made. */
struct edited {
    uint32_t lines[4 * LINES]; /* numbers above LINES are new */
    uint32_t count;
    struct naive_hunk {
        uint32_t from, to;
        uint32_t lines[2 * LINES];
        uint32_t count;
        size_t side;
        bool is_gone;
    } hunks[LINES];
    size_t hunk_count;
};

static struct satchel_span text_of(const uint32_t *lines, uint32_t count)
{
    char *text = satchel_arena_alloc(&arena, count * 12 + 1);
    size_t size = 0;
    assert_non_null(text);
    for (uint32_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, 12, "%u\n", lines[i]);
    return satchel_span_of(text, size);
}

/* Rarely changes a line; `new_line` is small, so that others often write the same. */
static void edit(struct edited *out, uint32_t base_count, size_t side)
{
    struct naive_hunk *open = NULL;
    *out = (struct edited){0};
    for (uint32_t i = 0; i <= base_count; i++) {
        uint32_t added = below(8) == 0 ? 1 + below(2) : 0;
        bool is_removed = i < base_count && below(6) == 0;
        if (!open && (added || is_removed)) {
            open = &out->hunks[out->hunk_count++];
            open->from = open->to = i;
            open->side = side;
        }
        for (uint32_t k = 0; k < added; k++) {
            /* New at this place only, one of two texts. */
            uint32_t line = 1000 + i * 100 + k * 10 + below(2);
            open->lines[open->count++] = line;
            out->lines[out->count++] = line;
        }
        if (is_removed) {
            open->to = i + 1;
        } else {
            if (i < base_count)
                out->lines[out->count++] = i;
            open = NULL;
        }
    }
}

static bool naive_same(const struct naive_hunk *a, const struct naive_hunk *b)
{
    return a->from == b->from && a->to == b->to && a->count == b->count &&
           memcmp(a->lines, b->lines, a->count * sizeof *a->lines) == 0;
}

static bool naive_overlap(const struct naive_hunk *a, const struct naive_hunk *b)
{
    if (a->from == a->to && b->from == b->to)
        return a->from == b->from;
    return a->from < b->to && b->from < a->to;
}

#define SIDES 4

static void naive_merge(uint32_t base_count, const struct edited *sides, size_t side_count,
                        uint32_t *lines, uint32_t *line_count, bool *lost)
{
    static struct naive_hunk kept[SIDES * LINES];
    size_t kept_count = 0;
    for (size_t s = 0; s < side_count; s++) {
        for (size_t h = 0; h < sides[s].hunk_count; h++) {
            const struct naive_hunk *hunk = &sides[s].hunks[h];
            bool is_known = false;
            for (size_t i = 0; i < kept_count; i++)
                is_known = is_known || (!kept[i].is_gone && naive_same(&kept[i], hunk));
            for (size_t i = 0; i < kept_count && !is_known; i++)
                if (kept[i].side != s && naive_overlap(&kept[i], hunk))
                    kept[i].is_gone = true;
            kept[kept_count] = *hunk;
            kept[kept_count++].is_gone = is_known; /* said by the one that is there */
        }
    }
    for (size_t i = 0; i < kept_count; i++) {
        bool is_said = false;
        for (size_t k = 0; k < kept_count; k++)
            is_said = is_said || (!kept[k].is_gone && naive_same(&kept[i], &kept[k]));
        lost[kept[i].side] = lost[kept[i].side] || !is_said;
    }
    *line_count = 0;
    for (uint32_t i = 0; i <= base_count; i++) {
        bool is_covered = false;
        for (size_t k = 0; k < kept_count; k++) {
            if (kept[k].is_gone)
                continue;
            is_covered = is_covered || (i >= kept[k].from && i < kept[k].to);
        }
        for (int is_long = 0; is_long < 2; is_long++)
            for (size_t k = 0; k < kept_count; k++)
                for (uint32_t n = 0; !kept[k].is_gone && kept[k].from == i &&
                                     (kept[k].to > i) == is_long && n < kept[k].count;
                     n++)
                    lines[(*line_count)++] = kept[k].lines[n];
        if (i < base_count && !is_covered)
            lines[(*line_count)++] = i;
    }
}

static void test_text3__agrees_with_a_naive_merge(void **state)
{
    (void)state;
    static struct edited sides[SIDES];
    for (int round = 0; round < 4000; round++) {
        uint32_t base_count = below(12), base[LINES];
        size_t side_count = 1 + below(SIDES);
        struct satchel_span texts[SIDES], merged;
        bool lost[SIDES], naive_lost[SIDES] = {false};
        for (uint32_t i = 0; i < base_count; i++)
            base[i] = i;
        for (size_t s = 0; s < side_count; s++) {
            edit(&sides[s], base_count, s);
            texts[s] = text_of(sides[s].lines, sides[s].count);
        }
        uint32_t expected[SIDES * LINES * 2], expected_count;
        naive_merge(base_count, sides, side_count, expected, &expected_count, naive_lost);
        assert_ok(satchel_text3_merge(text_of(base, base_count), texts, side_count, &arena, &merged,
                                      lost));
        struct satchel_span text = text_of(expected, expected_count);
        if (!satchel_span_equal(merged, text))
            fail_msg("round %d: merged to\n%.*snot\n%.*s", round, (int)merged.size,
                     (const char *)merged.data, (int)text.size, (const char *)text.data);
        for (size_t s = 0; s < side_count; s++)
            assert_int_equal(lost[s], naive_lost[s]);
        satchel_arena_reset(&arena);
    }
}

static void test_text3__reports_when_memory_runs_out(void **state)
{
    (void)state;
    const struct satchel_span sides[] = {satchel_span_text("1\nb\n"), satchel_span_text("2\nb\n")};
    bool was_done = false;
    for (size_t limit = 1; limit < 4000 && !was_done; limit += 32) {
        struct satchel_arena small;
        struct satchel_span merged;
        bool lost[2];
        satchel_arena_init(&small, limit, NULL);
        enum satchel_status status =
            satchel_text3_merge(satchel_span_text("a\nb\n"), sides, 2, &small, &merged, lost);
        was_done = status == SATCHEL_OK;
        assert_true(was_done || status == SATCHEL_NOMEM);
        satchel_arena_deinit(&small);
    }
    assert_true(was_done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text3__takes_changes_of_different_lines_from_all),
        cmocka_unit_test(test_text3__knows_the_same_change_made_twice),
        cmocka_unit_test(test_text3__gives_lines_changed_twice_to_the_later),
        cmocka_unit_test(test_text3__keeps_both_of_changes_beside_each_other),
        cmocka_unit_test(test_text3__never_joins_two_lines_into_one),
        cmocka_unit_test(test_text3__of_three_writers_has_the_last_say_and_all_losers),
        cmocka_unit_test(test_text3__who_said_the_same_loses_with_him),
        cmocka_unit_test(test_text3__takes_any_bytes),
        cmocka_unit_test(test_line_diff__changes_as_few_lines_as_possible),
        cmocka_unit_test(test_line_diff__has_bounded_work_on_long_texts),
        cmocka_unit_test(test_text3__agrees_with_a_naive_merge),
        cmocka_unit_test(test_text3__reports_when_memory_runs_out),
    };
    return cmocka_run_group_tests_name("text3", tests, setup, teardown);
}
