/* Owns the elements of sets and maps: read, written, joined. Knows nothing of who wrote them. */
#include "elements.h"

#include <stdlib.h>

static int compare_items(const void *left, const void *right)
{
    const struct satchel_json_item *a = left, *b = right;
    return satchel_json_compare(a->name, b->name);
}

static bool is_ascending(const struct satchel_json_item *items, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (compare_items(&items[i - 1], &items[i]) >= 0)
            return false;
    return true;
}

/* The items of an array become names, ascending and once each. */
static size_t make_names(struct satchel_json_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        items[i] = (struct satchel_json_item){.name = items[i].value};
    if (is_ascending(items, count))
        return count;
    qsort(items, count, sizeof *items, compare_items);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || compare_items(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
    return kept;
}

enum satchel_status elements_read(struct satchel_span text, bool is_map,
                                  struct satchel_arena *arena, struct elements *out)
{
    struct satchel_json_item *items;
    size_t count;
    enum satchel_status status = satchel_json_items(
        text, is_map ? SATCHEL_JSON_OBJECT : SATCHEL_JSON_ARRAY, arena, &items, &count);
    if (status != SATCHEL_OK)
        return status;
    out->items = items;
    out->count = is_map ? count : make_names(items, count);
    return SATCHEL_OK;
}

enum satchel_status elements_of_value(const struct satchel_value *value, bool is_map,
                                      struct satchel_arena *arena, struct elements *out)
{
    enum satchel_status status = value->type == SATCHEL_TEXT
                                     ? elements_read(value->bytes, is_map, arena, out)
                                     : SATCHEL_CORRUPT;
    if (status != SATCHEL_CORRUPT)
        return status;
    *out = (struct elements){NULL, 0};
    return SATCHEL_OK;
}

/* ---- writing ---- */

static size_t written_bytes(const struct elements *elements)
{
    size_t bytes = 2 + (elements->count ? elements->count - 1 : 0);
    for (size_t i = 0; i < elements->count; i++) {
        const struct satchel_json_item *item = &elements->items[i];
        bytes += item->name.size + (item->value.size ? 1 + item->value.size : 0);
    }
    return bytes;
}

static uint8_t *put(uint8_t *at, struct satchel_span text)
{
    if (text.size)
        memcpy(at, text.data, text.size);
    return at + text.size;
}

static uint8_t *put_elements(uint8_t *at, const struct elements *elements, bool is_map)
{
    *at++ = is_map ? '{' : '[';
    for (size_t i = 0; i < elements->count; i++) {
        const struct satchel_json_item *item = &elements->items[i];
        if (i > 0)
            *at++ = ',';
        at = put(at, item->name);
        if (item->value.size)
            *at++ = ':';
        at = put(at, item->value);
    }
    *at++ = is_map ? '}' : ']';
    return at;
}

enum satchel_status elements_write(const struct elements *elements, bool is_map,
                                   struct satchel_arena *arena, struct satchel_value *out)
{
    size_t size = written_bytes(elements);
    uint8_t *text = satchel_arena_alloc(arena, size);
    if (!text)
        return SATCHEL_NOMEM;
    put_elements(text, elements, is_map);
    *out = satchel_value_text(satchel_span_of(text, size));
    return SATCHEL_OK;
}

enum satchel_status element_change_write(const struct element_change *change, bool is_map,
                                         struct satchel_arena *arena, struct satchel_value *out)
{
    size_t size = 3 + written_bytes(&change->added) + written_bytes(&change->removed);
    uint8_t *text = satchel_arena_alloc(arena, size);
    if (!text)
        return SATCHEL_NOMEM;
    uint8_t *at = text;
    *at++ = '[';
    at = put_elements(at, &change->added, is_map);
    *at++ = ',';
    at = put_elements(at, &change->removed, false);
    *at = ']';
    *out = satchel_value_text(satchel_span_of(text, size));
    return SATCHEL_OK;
}

/* ---- operations ---- */

static bool are_strings(const struct elements *elements)
{
    for (size_t i = 0; i < elements->count; i++)
        if (elements->items[i].name.data[0] != '"')
            return false;
    return true;
}

static bool share_name(const struct elements *a, const struct elements *b)
{
    for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
        int order = compare_items(&a->items[i], &b->items[k]);
        if (order == 0)
            return true;
        if (order < 0)
            i++;
        else
            k++;
    }
    return false;
}

enum satchel_status element_change_read(const struct satchel_value *operation, bool is_map,
                                        struct satchel_arena *arena, struct element_change *out)
{
    if (operation->type != SATCHEL_TEXT)
        return SATCHEL_CORRUPT;
    struct satchel_json_item *pair;
    size_t count;
    enum satchel_status status = satchel_json_split(operation->bytes, arena, &pair, &count);
    if (status == SATCHEL_OK && count != 2)
        status = SATCHEL_CORRUPT;
    if (status == SATCHEL_OK)
        status = elements_read(pair[0].value, is_map, arena, &out->added);
    if (status == SATCHEL_OK)
        status = elements_read(pair[1].value, false, arena, &out->removed);
    if (status != SATCHEL_OK)
        return status;
    if (share_name(&out->added, &out->removed) || (is_map && !are_strings(&out->removed)))
        return SATCHEL_CORRUPT;
    struct satchel_value again;
    status = element_change_write(out, is_map, arena, &again);
    if (status == SATCHEL_OK && !satchel_value_equal(&again, operation))
        status = SATCHEL_CORRUPT;
    return status;
}

/* ---- joining ---- */

static struct satchel_json_item *room_for(struct satchel_arena *arena, size_t count)
{
    return SATCHEL_ARENA_ARRAY(arena, struct satchel_json_item, count ? count : 1);
}

enum satchel_status elements_union(const struct elements *first, const struct elements *second,
                                   struct satchel_arena *arena, struct elements *out)
{
    struct satchel_json_item *items = room_for(arena, first->count + second->count);
    if (!items)
        return SATCHEL_NOMEM;
    size_t i = 0, k = 0, count = 0;
    while (i < first->count || k < second->count) {
        int order = i == first->count    ? 1
                    : k == second->count ? -1
                                         : compare_items(&first->items[i], &second->items[k]);
        items[count++] = order < 0 ? first->items[i] : second->items[k];
        i += order <= 0;
        k += order >= 0;
    }
    *out = (struct elements){items, count};
    return SATCHEL_OK;
}

enum satchel_status elements_minus(const struct elements *from, const struct elements *without,
                                   struct satchel_arena *arena, struct elements *out)
{
    struct satchel_json_item *items = room_for(arena, from->count);
    if (!items)
        return SATCHEL_NOMEM;
    size_t k = 0, count = 0;
    for (size_t i = 0; i < from->count; i++) {
        while (k < without->count && compare_items(&without->items[k], &from->items[i]) < 0)
            k++;
        if (k == without->count || compare_items(&without->items[k], &from->items[i]) != 0)
            items[count++] = from->items[i];
    }
    *out = (struct elements){items, count};
    return SATCHEL_OK;
}

const struct satchel_json_item *elements_find(const struct elements *elements,
                                              struct satchel_span name)
{
    size_t low = 0, high = elements->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = satchel_json_compare(elements->items[middle].name, name);
        if (order == 0)
            return &elements->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
