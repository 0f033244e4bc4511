/* Owns the merge of texts: which hunks of which writer stand. Knows no rule and no row. */
#include "text3.h"

#include "line_diff.h"

/* For the lines of one text and the search between two: LINES_MAX lines need less. */
#define SCRATCH_BYTES_MAX (16u << 20)

struct owned_hunk {
    struct line_hunk hunk;
    size_t side;
};

struct hunks {
    struct owned_hunk *items;
    size_t count;
};

struct text3 {
    struct satchel_arena *arena;
    struct lines base;
    struct hunks standing; /* ascending, apart from each other */
    struct hunks lost;     /* if what is the same as they does not stand in the end */
};

/* ---- hunks ---- */

static bool is_insertion(const struct line_hunk *hunk)
{
    return hunk->from == hunk->to;
}

/* Beside each other is not in each other's way: what comes first is clear. */
static bool overlap(const struct line_hunk *a, const struct line_hunk *b)
{
    if (is_insertion(a) && is_insertion(b))
        return a->from == b->from;
    return a->from < b->to && b->from < a->to;
}

/* Of hunks that do not overlap. */
static bool is_before(const struct line_hunk *a, const struct line_hunk *b)
{
    return a->from != b->from ? a->from < b->from : a->to < b->to;
}

static bool are_same(const struct line_hunk *a, const struct line_hunk *b)
{
    return a->from == b->from && a->to == b->to && satchel_span_equal(a->text, b->text);
}

static enum satchel_status keep_lost(struct text3 *text3, const struct owned_hunk *item,
                                     size_t *capacity)
{
    struct hunks *lost = &text3->lost;
    if (lost->count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 8;
        struct owned_hunk *items = SATCHEL_ARENA_ARRAY(text3->arena, struct owned_hunk, *capacity);
        if (!items)
            return SATCHEL_NOMEM;
        if (lost->count)
            memcpy(items, lost->items, lost->count * sizeof *items);
        lost->items = items;
    }
    lost->items[lost->count++] = *item;
    return SATCHEL_OK;
}

/* A later writer's hunks among those that stand. */
static enum satchel_status add_hunks(struct text3 *text3, size_t side,
                                     const struct line_hunk *hunks, size_t count,
                                     size_t *lost_capacity)
{
    const struct hunks before = text3->standing;
    struct owned_hunk *items =
        SATCHEL_ARENA_ARRAY(text3->arena, struct owned_hunk, before.count + count + 1);
    if (!items)
        return SATCHEL_NOMEM;
    size_t i = 0, k = 0, kept = 0;
    while (i < before.count || k < count) {
        const struct owned_hunk *old = i < before.count ? &before.items[i] : NULL;
        const struct line_hunk *new = k < count ? &hunks[k] : NULL;
        if (old && new &&are_same(&old->hunk, new)) {
            const struct owned_hunk also = {*new, side}; /* falls with the one that stands */
            enum satchel_status status = keep_lost(text3, &also, lost_capacity);
            if (status != SATCHEL_OK)
                return status;
            k++;
        } else if (old && new &&overlap(&old->hunk, new)) {
            enum satchel_status status = keep_lost(text3, old, lost_capacity);
            if (status != SATCHEL_OK)
                return status;
            i++;
        } else if (!new || (old && is_before(&old->hunk, new))) {
            items[kept++] = *old;
            i++;
        } else {
            items[kept++] = (struct owned_hunk){*new, side};
            k++;
        }
    }
    text3->standing = (struct hunks){items, kept};
    return SATCHEL_OK;
}

static bool stands(const struct text3 *text3, const struct line_hunk *hunk)
{
    size_t low = 0, high = text3->standing.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(&text3->standing.items[middle].hunk, hunk))
            low = middle + 1;
        else
            high = middle;
    }
    return low < text3->standing.count && are_same(&text3->standing.items[low].hunk, hunk);
}

/* ---- the text ---- */

struct output {
    uint8_t *text; /* NULL: only measured */
    size_t size;
    bool needs_line_end;
};

static void put(struct output *output, struct satchel_span text)
{
    if (text.size == 0)
        return;
    if (output->needs_line_end) {
        if (output->text)
            output->text[output->size] = '\n';
        output->size++;
    }
    if (output->text)
        memcpy(output->text + output->size, text.data, text.size);
    output->size += text.size;
    output->needs_line_end = text.data[text.size - 1] != '\n';
}

static void put_all(const struct text3 *text3, struct output *output)
{
    uint32_t line = 0;
    for (size_t i = 0; i <= text3->standing.count; i++) {
        const struct line_hunk *hunk =
            i < text3->standing.count ? &text3->standing.items[i].hunk : NULL;
        uint32_t stop = hunk ? hunk->from : text3->base.count;
        for (; line < stop; line++)
            put(output, text3->base.items[line]);
        if (!hunk)
            break;
        put(output, hunk->text);
        line = hunk->to;
    }
}

static enum satchel_status write_text(const struct text3 *text3, struct satchel_span *merged)
{
    struct output output = {0};
    put_all(text3, &output);
    uint8_t *text = satchel_arena_alloc(text3->arena, output.size + 1);
    if (!text)
        return SATCHEL_NOMEM;
    output = (struct output){.text = text};
    put_all(text3, &output);
    *merged = satchel_span_of(text, output.size);
    return SATCHEL_OK;
}

/* ---- sides ---- */

static enum satchel_status add_side(struct text3 *text3, size_t side, struct satchel_span text,
                                    struct satchel_arena *scratch, size_t *lost_capacity)
{
    struct lines lines;
    struct line_hunk *hunks;
    size_t count;
    enum satchel_status status = lines_split(text, scratch, &lines);
    if (status == SATCHEL_OK)
        status = line_diff(&text3->base, &lines, scratch, &hunks, &count);
    if (status == SATCHEL_OK)
        status = add_hunks(text3, side, hunks, count, lost_capacity);
    satchel_arena_reset(scratch);
    return status;
}

enum satchel_status satchel_text3_merge(struct satchel_span base, const struct satchel_span *sides,
                                        size_t side_count, struct satchel_arena *arena,
                                        struct satchel_span *merged, bool *lost)
{
    struct text3 text3 = {.arena = arena};
    struct satchel_arena scratch;
    size_t lost_capacity = 0;
    satchel_arena_init(&scratch, SCRATCH_BYTES_MAX, arena->allocator);
    enum satchel_status status = lines_split(base, arena, &text3.base);
    for (size_t i = 0; i < side_count && status == SATCHEL_OK; i++) {
        lost[i] = false;
        status = add_side(&text3, i, sides[i], &scratch, &lost_capacity);
    }
    satchel_arena_deinit(&scratch);
    if (status != SATCHEL_OK)
        return status;
    for (size_t i = 0; i < text3.lost.count; i++)
        if (!stands(&text3, &text3.lost.items[i].hunk))
            lost[text3.lost.items[i].side] = true;
    return write_text(&text3, merged);
}
