/* Owns the shortest edit script between two texts: E. W. Myers, "An O(ND) Difference Algorithm and
 * Its Variations" (1986), section 4b, in linear space, with a bound on the work. Knows nothing of
 * who wrote what. */
#include "line_diff.h"

#include <stdlib.h>

/* Lines compared in a search, about; and how many edits from either end it looks for at least and
 * at most. */
#define WORK_MAX (UINT32_C(1) << 23)
#define EDITS_MIN 64
#define EDITS_MAX 2048

enum satchel_status lines_split(struct satchel_span text, struct satchel_arena *arena,
                                struct lines *out)
{
    uint32_t count = 0;
    const uint8_t *end = text.size ? text.data + text.size : text.data; /* NULL + 0 is no address */
    for (const uint8_t *at = text.data; count < LINES_MAX && text.size && at < end; count++) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        at = stop ? stop + 1 : end;
    }
    struct satchel_span *items = SATCHEL_ARENA_ARRAY(arena, struct satchel_span, count + 1);
    if (!items)
        return SATCHEL_NOMEM;
    const uint8_t *at = text.data;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *stop = i + 1 < LINES_MAX ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        const uint8_t *next = stop ? stop + 1 : end;
        items[i] = satchel_span_of(at, (size_t)(next - at));
        at = next;
    }
    *out = (struct lines){items, count};
    return SATCHEL_OK;
}

/* ---- lines as numbers: equal lines, equal numbers ---- */

struct numbered {
    struct satchel_span line;
    uint32_t *number;
};

static int compare_numbered(const void *left, const void *right)
{
    const struct numbered *a = left, *b = right;
    return satchel_span_compare(a->line, b->line);
}

/* The part of two texts between their common first and last lines. */
struct search {
    uint32_t *from_numbers, *to_numbers; /* per line */
    bool *is_removed, *is_added;
    /* Per diagonal, EDITS_MAX to both sides: how far one gets along `from` with so many edits, from
     * the start and from the end. */
    int32_t *forward, *backward;
};

static enum satchel_status number_lines(const struct satchel_span *from, uint32_t from_count,
                                        const struct satchel_span *to, uint32_t to_count,
                                        struct satchel_arena *arena, struct search *search)
{
    uint32_t count = from_count + to_count;
    struct numbered *lines = SATCHEL_ARENA_ARRAY(arena, struct numbered, count + 1);
    search->from_numbers = SATCHEL_ARENA_ARRAY(arena, uint32_t, from_count + 1);
    search->to_numbers = SATCHEL_ARENA_ARRAY(arena, uint32_t, to_count + 1);
    if (!lines || !search->from_numbers || !search->to_numbers)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < from_count; i++)
        lines[i] = (struct numbered){from[i], &search->from_numbers[i]};
    for (uint32_t i = 0; i < to_count; i++)
        lines[from_count + i] = (struct numbered){to[i], &search->to_numbers[i]};
    qsort(lines, count, sizeof *lines, compare_numbered);
    uint32_t number = 0;
    for (uint32_t i = 0; i < count; i++) {
        number += i > 0 && !satchel_span_equal(lines[i - 1].line, lines[i].line);
        *lines[i].number = number;
    }
    return SATCHEL_OK;
}

/* ---- the search ---- */

/* A part of the search: lines from_start to before from_end, to_start to before to_end. */
struct box {
    uint32_t from_start, from_end, to_start, to_end;
};

#define NOWHERE INT32_MIN

/* How far along `from` one gets on a diagonal with one edit more, before the equal lines that
 * follow; NOWHERE: only out of the box. */
static int32_t step(const int32_t *reached, int32_t diagonal, int32_t edits, int32_t from_count,
                    int32_t to_count)
{
    int32_t best = NOWHERE;
    if (edits == 0)
        return 0;
    if (diagonal < edits && reached[diagonal + 1] != NOWHERE &&
        reached[diagonal + 1] - diagonal <= to_count)
        best = reached[diagonal + 1];
    if (diagonal > -edits && reached[diagonal - 1] != NOWHERE &&
        reached[diagonal - 1] + 1 <= from_count && reached[diagonal - 1] + 1 > best)
        best = reached[diagonal - 1] + 1;
    return best;
}

static int32_t follow_forward(const struct search *search, const struct box *box, int32_t x,
                              int32_t diagonal)
{
    uint32_t from = box->from_start + (uint32_t)x, to = box->to_start + (uint32_t)(x - diagonal);
    while (from < box->from_end && to < box->to_end &&
           search->from_numbers[from] == search->to_numbers[to]) {
        from++;
        to++;
    }
    return (int32_t)(from - box->from_start);
}

static int32_t follow_backward(const struct search *search, const struct box *box, int32_t x,
                               int32_t diagonal)
{
    uint32_t from = box->from_end - (uint32_t)x, to = box->to_end - (uint32_t)(x - diagonal);
    while (from > box->from_start && to > box->to_start &&
           search->from_numbers[from - 1] == search->to_numbers[to - 1]) {
        from--;
        to--;
    }
    return (int32_t)(box->from_end - from);
}

/* A point that a shortest way passes, strictly inside; false if it takes too many edits. The box is
 * not empty to any side and neither its first nor its last lines are equal. */
static bool find_middle(const struct search *search, const struct box *box, uint32_t *from,
                        uint32_t *to)
{
    int32_t from_count = (int32_t)(box->from_end - box->from_start);
    int32_t to_count = (int32_t)(box->to_end - box->to_start);
    int32_t shift = from_count - to_count; /* a diagonal k is shift - k from the other end */
    int32_t edits_max = (int32_t)(WORK_MAX / (uint32_t)(from_count + to_count));
    edits_max = edits_max < EDITS_MIN ? EDITS_MIN : edits_max > EDITS_MAX ? EDITS_MAX : edits_max;
    int32_t *forward = search->forward + EDITS_MAX, *backward = search->backward + EDITS_MAX;
    for (int32_t edits = 0; edits <= edits_max; edits++) {
        for (int32_t k = -edits; k <= edits; k += 2) {
            int32_t x = step(forward, k, edits, from_count, to_count);
            forward[k] = x == NOWHERE ? x : follow_forward(search, box, x, k);
            int32_t other = shift - k;
            if (shift % 2 == 0 || x == NOWHERE || abs(other) >= edits ||
                backward[other] == NOWHERE || forward[k] + backward[other] < from_count)
                continue;
            *from = box->from_start + (uint32_t)forward[k];
            *to = box->to_start + (uint32_t)(forward[k] - k);
            return true;
        }
        for (int32_t k = -edits; k <= edits; k += 2) {
            int32_t x = step(backward, k, edits, from_count, to_count);
            backward[k] = x == NOWHERE ? x : follow_backward(search, box, x, k);
            int32_t other = shift - k;
            if (shift % 2 != 0 || x == NOWHERE || abs(other) > edits || forward[other] == NOWHERE ||
                forward[other] + backward[k] < from_count)
                continue;
            *from = box->from_end - (uint32_t)backward[k];
            *to = box->to_end - (uint32_t)(backward[k] - k);
            return true;
        }
    }
    return false;
}

static void skip_equal_ends(const struct search *search, struct box *box)
{
    while (box->from_start < box->from_end && box->to_start < box->to_end &&
           search->from_numbers[box->from_start] == search->to_numbers[box->to_start]) {
        box->from_start++;
        box->to_start++;
    }
    while (box->from_start < box->from_end && box->to_start < box->to_end &&
           search->from_numbers[box->from_end - 1] == search->to_numbers[box->to_end - 1]) {
        box->from_end--;
        box->to_end--;
    }
}

/* Either half needs half the edits: the recursion is no deeper than log2(2 * EDITS_MAX). */
static void mark_changes(const struct search *search, struct box box)
{
    skip_equal_ends(search, &box);
    uint32_t from, to;
    if (box.from_start < box.from_end && box.to_start < box.to_end &&
        find_middle(search, &box, &from, &to)) {
        mark_changes(search, (struct box){box.from_start, from, box.to_start, to});
        mark_changes(search, (struct box){from, box.from_end, to, box.to_end});
        return;
    }
    for (uint32_t i = box.from_start; i < box.from_end; i++)
        search->is_removed[i] = true;
    for (uint32_t i = box.to_start; i < box.to_end; i++)
        search->is_added[i] = true;
}

/* ---- hunks ---- */

static struct satchel_span text_between(const struct lines *lines, uint32_t from, uint32_t to)
{
    if (from == to)
        return satchel_span_of("", 0);
    const uint8_t *start = lines->items[from].data;
    const struct satchel_span *last = &lines->items[to - 1];
    return satchel_span_of(start, (size_t)(last->data + last->size - start));
}

/* `skipped`: common first lines, which the search does not know. */
static size_t gather_hunks(const struct search *search, const struct lines *to, uint32_t skipped,
                           uint32_t from_count, uint32_t to_count, struct line_hunk *hunks)
{
    size_t count = 0;
    uint32_t i = 0, k = 0;
    while (i < from_count || k < to_count) {
        uint32_t from_start = i, to_start = k;
        while (i < from_count && search->is_removed[i])
            i++;
        while (k < to_count && search->is_added[k])
            k++;
        if (i > from_start || k > to_start)
            hunks[count++] = (struct line_hunk){skipped + from_start, skipped + i,
                                                text_between(to, skipped + to_start, skipped + k)};
        i++;
        k++;
    }
    return count;
}

static size_t count_changes(const bool *changed, uint32_t count)
{
    size_t changes = 0;
    for (uint32_t i = 0; i < count; i++)
        changes += changed[i];
    return changes;
}

enum satchel_status line_diff(const struct lines *from, const struct lines *to,
                              struct satchel_arena *arena, struct line_hunk **out,
                              size_t *out_count)
{
    uint32_t first = 0, from_end = from->count, to_end = to->count;
    while (first < from_end && first < to_end &&
           satchel_span_equal(from->items[first], to->items[first]))
        first++;
    while (from_end > first && to_end > first &&
           satchel_span_equal(from->items[from_end - 1], to->items[to_end - 1])) {
        from_end--;
        to_end--;
    }
    uint32_t from_count = from_end - first, to_count = to_end - first;
    struct search search;
    enum satchel_status status =
        number_lines(from->items + first, from_count, to->items + first, to_count, arena, &search);
    if (status != SATCHEL_OK)
        return status;
    search.is_removed = SATCHEL_ARENA_ARRAY(arena, bool, from_count + 1);
    search.is_added = SATCHEL_ARENA_ARRAY(arena, bool, to_count + 1);
    search.forward = SATCHEL_ARENA_ARRAY(arena, int32_t, 2 * EDITS_MAX + 1);
    search.backward = SATCHEL_ARENA_ARRAY(arena, int32_t, 2 * EDITS_MAX + 1);
    if (!search.is_removed || !search.is_added || !search.forward || !search.backward)
        return SATCHEL_NOMEM;
    mark_changes(&search, (struct box){0, from_count, 0, to_count});
    size_t most =
        count_changes(search.is_removed, from_count) + count_changes(search.is_added, to_count);
    *out = SATCHEL_ARENA_ARRAY(arena, struct line_hunk, most + 1);
    if (!*out)
        return SATCHEL_NOMEM;
    *out_count = gather_hunks(&search, to, first, from_count, to_count, *out);
    return SATCHEL_OK;
}
