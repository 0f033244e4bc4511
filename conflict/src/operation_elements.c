/* Owns what a write does to a @set and a @map: which elements it added and removed, which keys it
 * set and removed. */
#include "elements.h"
#include "operation_rule.h"

static bool is_map(const struct satchel_column_rules *column)
{
    return column->rule == SATCHEL_RULE_MAP;
}

static bool is_set_or_map(const struct satchel_value *value, enum satchel_json_type type)
{
    /* One less than JSON may have: an operation wraps the value once more. */
    return value->type == SATCHEL_NULL ||
           (value->type == SATCHEL_TEXT &&
            satchel_json_type_of(value->bytes, SATCHEL_JSON_DEPTH_MAX - 1) == type);
}

static enum satchel_status canonical(const struct satchel_column_rules *column,
                                     const struct satchel_value *value, struct satchel_arena *arena,
                                     struct satchel_value *out)
{
    struct elements elements;
    enum satchel_status status = elements_of_value(value, is_map(column), arena, &elements);
    return status == SATCHEL_OK ? elements_write(&elements, is_map(column), arena, out) : status;
}

/* Elements of `to` that `from` lacks or has with another value. */
static enum satchel_status find_added(const struct elements *from, const struct elements *to,
                                      struct satchel_arena *arena, struct elements *out)
{
    struct satchel_json_item *items =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_json_item, to->count ? to->count : 1);
    if (!items)
        return SATCHEL_NOMEM;
    *out = (struct elements){items, 0};
    for (size_t i = 0; i < to->count; i++) {
        const struct satchel_json_item *before = elements_find(from, to->items[i].name);
        if (!before || !satchel_span_equal(before->value, to->items[i].value))
            items[out->count++] = to->items[i];
    }
    return SATCHEL_OK;
}

/* Names of `from` that `to` lacks. */
static enum satchel_status find_removed(const struct elements *from, const struct elements *to,
                                        struct satchel_arena *arena, struct elements *out)
{
    struct satchel_json_item *items =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_json_item, from->count ? from->count : 1);
    if (!items)
        return SATCHEL_NOMEM;
    *out = (struct elements){items, 0};
    for (size_t i = 0; i < from->count; i++)
        if (!elements_find(to, from->items[i].name))
            items[out->count++] = (struct satchel_json_item){.name = from->items[i].name};
    return SATCHEL_OK;
}

static enum satchel_status find_change(const struct elements *from, const struct elements *to,
                                       struct satchel_arena *arena, struct element_change *out)
{
    enum satchel_status status = find_added(from, to, arena, &out->added);
    return status == SATCHEL_OK ? find_removed(from, to, arena, &out->removed) : status;
}

static enum satchel_status make(const struct satchel_column_rules *column,
                                const struct satchel_value *old_value,
                                const struct satchel_value *new_value, struct satchel_arena *arena,
                                struct satchel_value *operation, bool *is_write)
{
    struct elements from, to;
    struct element_change change;
    enum satchel_status status = elements_of_value(old_value, is_map(column), arena, &from);
    if (status == SATCHEL_OK)
        status = elements_of_value(new_value, is_map(column), arena, &to);
    if (status == SATCHEL_OK)
        status = find_change(&from, &to, arena, &change);
    if (status != SATCHEL_OK)
        return status;
    *is_write = change.added.count > 0 || change.removed.count > 0;
    return element_change_write(&change, is_map(column), arena, operation);
}

static enum satchel_status change_elements(const struct elements *before,
                                           const struct element_change *change,
                                           struct satchel_arena *arena, struct elements *out)
{
    struct elements left;
    enum satchel_status status = elements_minus(before, &change->removed, arena, &left);
    return status == SATCHEL_OK ? elements_union(&left, &change->added, arena, out) : status;
}

static enum satchel_status apply(const struct satchel_column_rules *column,
                                 const struct satchel_value *present,
                                 const struct satchel_value *operation, struct satchel_arena *arena,
                                 struct satchel_value *out)
{
    struct elements before, after;
    struct element_change change;
    enum satchel_status status = element_change_read(operation, is_map(column), arena, &change);
    if (status == SATCHEL_OK)
        status = elements_of_value(present, is_map(column), arena, &before);
    if (status == SATCHEL_OK)
        status = change_elements(&before, &change, arena, &after);
    return status == SATCHEL_OK ? elements_write(&after, is_map(column), arena, out) : status;
}

/* The way back from what the operation made of the old value: names it did not touch stay out of
 * it, whatever became of them since. */
static enum satchel_status invert(const struct satchel_column_rules *column,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *operation,
                                  struct satchel_arena *arena, struct satchel_value *out)
{
    struct elements before, after;
    struct element_change change, back;
    enum satchel_status status = element_change_read(operation, is_map(column), arena, &change);
    if (status == SATCHEL_OK)
        status = elements_of_value(old_value, is_map(column), arena, &before);
    if (status == SATCHEL_OK)
        status = change_elements(&before, &change, arena, &after);
    if (status == SATCHEL_OK)
        status = find_change(&after, &before, arena, &back);
    return status == SATCHEL_OK ? element_change_write(&back, is_map(column), arena, out) : status;
}

/* A map's: the keys that the lost operation names are said again, changed or not. */
static enum satchel_status settle(const struct satchel_column_rules *column,
                                  const struct satchel_value *present,
                                  const struct satchel_value *wanted,
                                  const struct satchel_value *lost, struct satchel_arena *arena,
                                  struct satchel_value *out)
{
    struct elements before, after, named, others, all;
    struct element_change change;
    enum satchel_status status = element_change_read(lost, is_map(column), arena, &change);
    if (status == SATCHEL_OK)
        status = elements_of_value(present, is_map(column), arena, &before);
    if (status == SATCHEL_OK)
        status = elements_of_value(wanted, is_map(column), arena, &after);
    if (status == SATCHEL_OK)
        status = elements_union(&change.added, &change.removed, arena, &named);
    if (status == SATCHEL_OK)
        status = elements_minus(&before, &named, arena, &others);
    if (status == SATCHEL_OK)
        status = elements_union(&before, &named, arena, &all);
    if (status == SATCHEL_OK)
        status = find_added(&others, &after, arena, &change.added);
    if (status == SATCHEL_OK)
        status = find_removed(&all, &after, arena, &change.removed);
    return status == SATCHEL_OK ? element_change_write(&change, is_map(column), arena, out)
                                : status;
}

static enum satchel_status check(const struct satchel_column_rules *column,
                                 const struct satchel_value *operation, struct satchel_arena *arena)
{
    struct element_change change;
    return element_change_read(operation, is_map(column), arena, &change);
}

/* ---- the two rules ---- */

static const char *set_refusal(const struct satchel_value *value)
{
    return is_set_or_map(value, SATCHEL_JSON_ARRAY) ? NULL : "a @set takes a JSON array";
}

static const char *map_refusal(const struct satchel_value *value)
{
    return is_set_or_map(value, SATCHEL_JSON_OBJECT) ? NULL : "a @map takes a JSON object";
}

const struct operation_rule operation_set = {
    .value_refusal = set_refusal,
    .canonical = canonical,
    .make = make,
    .apply = apply,
    .invert = invert,
    .shape = "an operation on a @set is [[added],[removed]] in canonical form",
    .check = check};

const struct operation_rule operation_map = {
    .value_refusal = map_refusal,
    .canonical = canonical,
    .make = make,
    .apply = apply,
    .invert = invert,
    .settle = settle,
    .shape = "an operation on a @map is [{\"key\":value},[\"removed\"]] in canonical form",
    .check = check};
