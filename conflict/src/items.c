/* Owns the items of a set or map while a write is merged into them: taken out of the value and the
 * record, changed, and put back. What an item without entries or with several means is
 * rule_set.c and rule_map.c. */
#include "items.h"

struct items {
    struct merge_item *items; /* ascending name, all that the value or the record has */
    uint32_t count;
};

struct change {
    struct merge_combination *combination;
    struct satchel_arena *arena;
    bool is_map;
    struct elements present;
    struct element_change written;
};

static struct satchel_arena *arena_of(const struct merge_combination *combination)
{
    return combination->work->state->arena;
}

/* ---- out of the unit ---- */

/* What the operation does; one that is none (written under another rule) does nothing. */
static enum satchel_status read_written(struct change *change)
{
    const struct satchel_value *operation = change->combination->operation;
    enum satchel_status status;
    if (change->combination->write->kind == SATCHEL_OP_INSERT)
        return elements_of_value(operation, change->is_map, change->arena, &change->written.added);
    status = element_change_read(operation, change->is_map, change->arena, &change->written);
    if (status != SATCHEL_CORRUPT)
        return status;
    change->written = (struct element_change){0};
    return SATCHEL_OK;
}

/* An element or key that the base alone wrote; before it writes, the default says nothing. */
static enum satchel_status implied_item(const struct change *change,
                                        const struct satchel_json_item *element,
                                        struct merge_item *out)
{
    const struct merge_write *base = change->combination->work->state->version->base;
    struct merge_entry *entry = satchel_arena_alloc(change->arena, sizeof *entry);
    if (!entry)
        return SATCHEL_NOMEM;
    *entry = (struct merge_entry){base, change->is_map, element->value};
    bool is_written = base && base != change->combination->kept;
    *out = (struct merge_item){element->name, entry, is_written ? 1 : 0};
    return SATCHEL_OK;
}

/* An item of the record; a value that the row shows is not kept twice. */
static enum satchel_status recorded_item(const struct change *change, const struct merge_item *item,
                                         struct merge_item *out)
{
    const struct satchel_json_item *shown = elements_find(&change->present, item->name);
    struct merge_entry *entries =
        SATCHEL_ARENA_ARRAY(change->arena, struct merge_entry, item->entry_count);
    if (!entries)
        return SATCHEL_NOMEM;
    for (uint32_t i = 0; i < item->entry_count; i++) {
        entries[i] = item->entries[i];
        if (entries[i].has_value && entries[i].value.size == 0)
            entries[i].value = shown ? shown->value : satchel_span_text("null");
    }
    *out = (struct merge_item){item->name, entries, item->entry_count};
    return SATCHEL_OK;
}

static enum satchel_status load(const struct change *change, struct items *out)
{
    const struct merge_unit *record = &change->combination->work->record;
    const struct elements *present = &change->present;
    size_t i = 0, k = 0;
    out->count = 0;
    out->items = SATCHEL_ARENA_ARRAY(change->arena, struct merge_item,
                                     present->count + record->item_count + 1);
    if (!out->items)
        return SATCHEL_NOMEM;
    while (i < present->count || k < record->item_count) {
        int order = i == present->count ? 1
                    : k == record->item_count
                        ? -1
                        : satchel_json_compare(present->items[i].name, record->items[k].name);
        struct merge_item *item = &out->items[out->count];
        enum satchel_status status = order < 0 ? implied_item(change, &present->items[i], item)
                                               : recorded_item(change, &record->items[k], item);
        if (status != SATCHEL_OK)
            return status;
        out->count += item->entry_count > 0;
        i += order <= 0;
        k += order >= 0;
    }
    return SATCHEL_OK;
}

/* ---- changing ---- */

/* The item after the write: what it had not seen stays beside what it says (NULL: nothing). */
static enum satchel_status rewrite(const struct change *change, const struct merge_item *before,
                                   const struct merge_entry *said, struct merge_item *out)
{
    const struct merge_combination *combination = change->combination;
    uint32_t before_count = before ? before->entry_count : 0;
    struct merge_entry *entries =
        SATCHEL_ARENA_ARRAY(change->arena, struct merge_entry, before_count + 1);
    if (!entries)
        return SATCHEL_NOMEM;
    uint32_t count = 0;
    for (uint32_t i = 0; i < before_count; i++)
        if (!merge_saw_unit(&combination->work->state->sight, combination->write,
                            combination->work->number, merge_target_kept(before->entries[i].write)))
            entries[count++] = before->entries[i];
    if (said) {
        uint32_t place = count++;
        for (; place > 0 &&
               satchel_order_compare(&entries[place - 1].write->order, &said->write->order) > 0;
             place--)
            entries[place] = entries[place - 1];
        entries[place] = *said;
    }
    out->entries = entries;
    out->entry_count = count;
    return SATCHEL_OK;
}

/* The least of the names at the three places that are not yet at an end. */
static struct satchel_span next_name(const struct items *items, uint32_t item,
                                     const struct element_change *written, size_t added,
                                     size_t removed)
{
    struct satchel_span name = {NULL, 0};
    if (item < items->count)
        name = items->items[item].name;
    if (added < written->added.count &&
        (!name.data || satchel_json_compare(written->added.items[added].name, name) < 0))
        name = written->added.items[added].name;
    if (removed < written->removed.count &&
        (!name.data || satchel_json_compare(written->removed.items[removed].name, name) < 0))
        name = written->removed.items[removed].name;
    return name;
}

static bool is_at(const struct elements *elements, size_t index, struct satchel_span name)
{
    return index < elements->count && satchel_span_equal(elements->items[index].name, name);
}

static enum satchel_status apply(const struct change *change, const struct items *before,
                                 struct items *after)
{
    const struct element_change *written = &change->written;
    size_t most = before->count + written->added.count + written->removed.count;
    uint32_t i = 0;
    size_t a = 0, r = 0;
    after->count = 0;
    after->items = SATCHEL_ARENA_ARRAY(change->arena, struct merge_item, most + 1);
    if (!after->items)
        return SATCHEL_NOMEM;
    while (i < before->count || a < written->added.count || r < written->removed.count) {
        struct merge_item item = {.name = next_name(before, i, written, a, r)};
        bool is_known = i < before->count && satchel_span_equal(before->items[i].name, item.name);
        bool is_added = is_at(&written->added, a, item.name);
        bool is_removed = is_at(&written->removed, r, item.name);
        const struct merge_entry said = {change->combination->kept, is_added && change->is_map,
                                         is_added ? written->added.items[a].value
                                                  : satchel_span_of(NULL, 0)};
        const struct merge_item *known = is_known ? &before->items[i] : NULL;
        enum satchel_status status = SATCHEL_OK;
        if (is_added || is_removed)
            status = rewrite(change, known, is_added || change->is_map ? &said : NULL, &item);
        else
            item = *known;
        if (status != SATCHEL_OK)
            return status;
        if (item.entry_count > 0)
            after->items[after->count++] = item;
        i += is_known;
        a += is_added;
        r += is_removed;
    }
    return SATCHEL_OK;
}

/* ---- back into the unit ---- */

static enum satchel_status write_value(const struct change *change, const struct items *items)
{
    struct satchel_json_item *shown =
        SATCHEL_ARENA_ARRAY(change->arena, struct satchel_json_item, items->count + 1);
    if (!shown)
        return SATCHEL_NOMEM;
    struct elements elements = {shown, 0};
    for (uint32_t i = 0; i < items->count; i++) {
        const struct merge_entry *last = merge_item_last(&items->items[i]);
        if (!change->is_map)
            shown[elements.count++] = (struct satchel_json_item){.name = items->items[i].name};
        else if (last->has_value)
            shown[elements.count++] = (struct satchel_json_item){items->items[i].name, last->value};
    }
    return elements_write(&elements, change->is_map, change->arena, &change->combination->decided);
}

/* The record keeps the items that the base did not write alone. */
static void keep_items(const struct change *change, struct items *items)
{
    struct merge_unit *record = &change->combination->work->record;
    const struct merge_write *base = change->combination->work->state->version->base;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < items->count; i++) {
        struct merge_item *item = &items->items[i];
        struct merge_entry *last = &item->entries[item->entry_count - 1];
        if (base && item->entry_count == 1 && last->write == base &&
            last->has_value == change->is_map)
            continue;
        if (last->has_value)
            last->value = satchel_span_of(NULL, 0);
        items->items[kept++] = *item;
    }
    record->items = items->items;
    record->item_count = kept;
}

enum satchel_status merge_items(struct merge_combination *combination, bool is_map)
{
    struct change change = {
        .combination = combination, .arena = arena_of(combination), .is_map = is_map};
    struct items before, after;
    enum satchel_status status =
        elements_of_value(&combination->decided, is_map, change.arena, &change.present);
    if (status == SATCHEL_OK)
        status = read_written(&change);
    if (status == SATCHEL_OK)
        status = load(&change, &before);
    if (status == SATCHEL_OK)
        status = apply(&change, &before, &after);
    if (status == SATCHEL_OK)
        status = write_value(&change, &after);
    if (status == SATCHEL_OK)
        keep_items(&change, &after);
    return status;
}
