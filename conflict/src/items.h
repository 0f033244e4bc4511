/* The elements of a @set unit and the keys of a @map unit with who wrote them: one way for both. */
#ifndef SATCHEL_CONFLICT_ITEMS_H
#define SATCHEL_CONFLICT_ITEMS_H

#include "elements.h"
#include "merge.h"

/* Merges the operation into the unit's items, and writes the value they make. NOMEM. */
enum satchel_status merge_items(struct merge_combination *combination,
                                bool is_map) SATCHEL_MUST_USE;

/* The entry that decides what the row shows. */
static inline const struct merge_entry *merge_item_last(const struct merge_item *item)
{
    return &item->entries[item->entry_count - 1];
}

#endif
