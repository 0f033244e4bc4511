/* @map: each key as @lww by itself.
 *
 *   value     per key what its latest head says; without the keys whose latest head removed them
 *   conflict  each write that lost a key to one that says something else: one notice for all the
 *             keys it lost
 *
 *   | writes                              | value        | open conflicts |
 *   | ---                                 | ---          | ---            |
 *   | none                                | the declared default | none   |
 *   | k = 1 and l = 2, unseen or not      | k = 1, l = 2 | none           |
 *   | k = 1 before k = 2, unseen          | k = 2        | the first      |
 *   | k = 1 before remove k, unseen       | -            | the first      |
 *   | remove k before k = 1, unseen       | k = 1        | the removal    |
 *   | k = 1, then k = 2 that saw it       | k = 2        | none           |
 *   | k = 1 before k = 1, unseen          | k = 1        | none           |
 *   | an insert                           | its keys are set; if it leaves the column out, the
 *   |                                     | default's |
 *
 * The version keeps, per key, the heads among the writes to it, removals too. */
#include "items.h"

static enum satchel_status combine(struct merge_combination *combination)
{
    return merge_items(combination, true);
}

/* What the write said of the key, if that lost to something else. */
static const struct merge_entry *lost_entry(const struct merge_item *item,
                                            const struct elements *present,
                                            const struct merge_write *write)
{
    const struct merge_entry *last = merge_item_last(item);
    for (uint32_t i = 0; i + 1 < item->entry_count; i++) {
        const struct merge_entry *entry = &item->entries[i];
        if (entry->write != write)
            continue;
        if (entry->has_value != last->has_value)
            return entry;
        const struct satchel_json_item *shown = elements_find(present, item->name);
        bool is_same =
            !entry->has_value || (shown && satchel_span_equal(shown->value, entry->value));
        return is_same ? NULL : entry;
    }
    return NULL;
}

enum satchel_status merge_map_lost(const struct merge_unit *unit,
                                   const struct satchel_value *present,
                                   const struct merge_write *write, struct satchel_arena *arena,
                                   struct satchel_value *lost, const struct merge_write **winner)
{
    struct elements shown;
    *winner = NULL;
    struct satchel_json_item *set =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_json_item, unit->item_count + 1);
    struct satchel_json_item *removed =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_json_item, unit->item_count + 1);
    if (!set || !removed)
        return SATCHEL_NOMEM;
    enum satchel_status status = elements_of_value(present, true, arena, &shown);
    if (status != SATCHEL_OK)
        return status;
    struct element_change change = {{set, 0}, {removed, 0}};
    for (uint32_t i = 0; i < unit->item_count; i++) {
        const struct merge_item *item = &unit->items[i];
        const struct merge_entry *entry = lost_entry(item, &shown, write);
        if (entry && !*winner)
            *winner = merge_item_last(item)->write;
        if (entry && entry->has_value)
            set[change.added.count++] = (struct satchel_json_item){item->name, entry->value};
        else if (entry)
            removed[change.removed.count++] = (struct satchel_json_item){.name = item->name};
    }
    return *winner ? element_change_write(&change, true, arena, lost) : SATCHEL_OK;
}

const struct merge_rule merge_rule_map = {
    .is_merged = true, .has_items = true, .combine = combine, .is_conflict = merge_conflict_notice};
