/* Owns texts of the naive model: a longest common subsequence by dynamic programming, hunks, and
 * what stands of them. */
#include "reference.h"

#include <string.h>

#define LINES_MAX 64
#define HUNKS_MAX 256

struct lines {
    struct satchel_span items[LINES_MAX];
    unsigned count;
};

/* Lines from, to of the base become these lines of the side. */
struct hunk {
    unsigned from, to;
    unsigned first, count;
    unsigned side;
};

static void split(struct satchel_value value, struct lines *out)
{
    out->count = 0;
    if (value.type != SATCHEL_TEXT)
        return;
    size_t start = 0;
    for (size_t i = 0; i < value.bytes.size; i++)
        if (value.bytes.data[i] == '\n') {
            out->items[out->count++] = satchel_span_of(value.bytes.data + start, i + 1 - start);
            start = i + 1;
        }
}

static unsigned diff(const struct lines *a, const struct lines *b, unsigned side,
                     struct hunk *hunks)
{
    static unsigned common[LINES_MAX + 1][LINES_MAX + 1];
    unsigned count = 0, i = 0, j = 0;
    memset(common, 0, sizeof common);
    for (unsigned x = a->count; x-- > 0;)
        for (unsigned y = b->count; y-- > 0;) {
            unsigned skip =
                common[x + 1][y] > common[x][y + 1] ? common[x + 1][y] : common[x][y + 1];
            common[x][y] =
                satchel_span_equal(a->items[x], b->items[y]) ? common[x + 1][y + 1] + 1 : skip;
        }
    while (i < a->count || j < b->count) {
        struct hunk hunk = {.from = i, .first = j, .side = side};
        while ((i < a->count || j < b->count) &&
               !(i < a->count && j < b->count && satchel_span_equal(a->items[i], b->items[j]))) {
            if (i < a->count && (j == b->count || common[i + 1][j] >= common[i][j + 1]))
                i++;
            else
                j++;
        }
        hunk.to = i;
        hunk.count = j - hunk.first;
        if (hunk.to > hunk.from || hunk.count > 0)
            hunks[count++] = hunk;
        i += i < a->count;
        j += j < b->count;
    }
    return count;
}

static bool overlap(const struct hunk *a, const struct hunk *b)
{
    if (a->from == a->to && b->from == b->to)
        return a->from == b->from;
    return a->from < b->to && b->from < a->to;
}

static bool same(const struct lines *sides, const struct hunk *a, const struct hunk *b)
{
    if (a->from != b->from || a->to != b->to || a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!satchel_span_equal(sides[a->side].items[a->first + i],
                                sides[b->side].items[b->first + i]))
            return false;
    return true;
}

static bool stands(const struct lines *sides, const struct hunk *hunk, const struct hunk *standing,
                   unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (same(sides, hunk, &standing[i]))
            return true;
    return false;
}

static size_t put(char *text, size_t size, struct satchel_span line)
{
    memcpy(text + size, line.data, line.size);
    return size + line.size;
}

static size_t build(const struct lines *base, const struct lines *sides,
                    const struct hunk *standing, unsigned count, char *text)
{
    size_t size = 0;
    for (unsigned at = 0; at <= base->count; at++) {
        bool is_replaced = false;
        for (unsigned pass = 0; pass < 2; pass++) /* what is added comes before what replaces */
            for (unsigned i = 0; i < count; i++) {
                const struct hunk *hunk = &standing[i];
                bool adds = hunk->from == hunk->to;
                if (hunk->from != at || adds != (pass == 0))
                    continue;
                for (unsigned k = 0; k < hunk->count; k++)
                    size = put(text, size, sides[hunk->side].items[hunk->first + k]);
            }
        for (unsigned i = 0; i < count; i++)
            is_replaced = is_replaced || (standing[i].from <= at && at < standing[i].to);
        if (at < base->count && !is_replaced)
            size = put(text, size, base->items[at]);
    }
    return size;
}

size_t reference_merge_texts(struct satchel_value base, const struct satchel_value *sides,
                             unsigned side_count, char *text, bool *lost)
{
    static struct lines from, to[REFERENCE_OPS_MAX];
    static struct hunk all[REFERENCE_OPS_MAX][HUNKS_MAX], standing[HUNKS_MAX];
    unsigned counts[REFERENCE_OPS_MAX], count = 0;
    split(base, &from);
    for (unsigned s = 0; s < side_count; s++) {
        split(sides[s], &to[s]);
        counts[s] = diff(&from, &to[s], s, all[s]);
        for (unsigned h = 0; h < counts[s]; h++) {
            if (stands(to, &all[s][h], standing, count))
                continue;
            unsigned kept = 0;
            for (unsigned i = 0; i < count; i++)
                if (!overlap(&standing[i], &all[s][h]))
                    standing[kept++] = standing[i];
            count = kept;
            standing[count++] = all[s][h];
        }
    }
    for (unsigned s = 0; s < side_count; s++) {
        lost[s] = false;
        for (unsigned h = 0; h < counts[s]; h++)
            lost[s] = lost[s] || !stands(to, &all[s][h], standing, count);
    }
    return build(&from, to, standing, count, text);
}
