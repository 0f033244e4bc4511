/* How one text becomes another, line by line. A line ends with its \n; the last may lack one. */
#ifndef SATCHEL_CONFLICT_LINE_DIFF_H
#define SATCHEL_CONFLICT_LINE_DIFF_H

#include <satchel/memory.h>

/* Lines of a text beyond so many are one line together. */
#define LINES_MAX 32768

struct lines {
    const struct satchel_span *items;
    uint32_t count;
};

/* Lines `from` to before `to` of the old text become `text`, any number of lines. */
struct line_hunk {
    uint32_t from;
    uint32_t to;
    struct satchel_span text;
};

/* NOMEM. The lines borrow from `text`. */
enum satchel_status lines_split(struct satchel_span text, struct satchel_arena *arena,
                                struct lines *out) SATCHEL_MUST_USE;

/* The hunks that lead from `from` to `to`, ascending, an unchanged line between any two: as few
 * lines removed and added as possible, while that can be found with bounded work; else everything
 * between the first and the last difference is one hunk. A function of the two texts. Working
 * memory and `*out` are in `arena`; texts borrow. NOMEM. */
enum satchel_status line_diff(const struct lines *from, const struct lines *to,
                              struct satchel_arena *arena, struct line_hunk **out,
                              size_t *out_count) SATCHEL_MUST_USE;

#endif
