/* @text3: several texts written apart, made one, line by line (a line ends with its \n; the last
 * may lack one). */
#ifndef SATCHEL_CONFLICT_TEXT3_H
#define SATCHEL_CONFLICT_TEXT3_H

#include <satchel/memory.h>

/* Every text's changes against `base`, done together: `sides` ascend, the earlier writer first.
 *
 *   changes apart                       all count
 *   the same change twice               counts once, and nobody has lost
 *   changes of the same lines, or lines the later writer's stands; the earlier one is lost
 *   added at the same place
 *
 * Where a text without a last \n gets lines behind it, one is added. `lost[i]`: a change of side i
 * is not in the result, though nobody knew of it. The result is a function of base and sides in
 * their order. In `arena`, or a side's own text; NOMEM. */
enum satchel_status satchel_text3_merge(struct satchel_span base, const struct satchel_span *sides,
                                        size_t side_count, struct satchel_arena *arena,
                                        struct satchel_span *merged, bool *lost) SATCHEL_MUST_USE;

#endif
