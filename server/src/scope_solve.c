/* Owns what set a row has: the values of all rows that it hangs on and its own, everyone if one of
 * them is everyone's. Rows that hang on each other in a circle are found by Tarjan's algorithm
 * (SIAM J. Comput. 1, 1972) and have one set; every row is looked at once in a commit. */
#include "scope_internal.h"

static enum satchel_status intern(struct scope_keeper *keeper, struct satchel_span packed,
                                  struct scope_set **out)
{
    struct scope_set *set = satchel_map_get(&keeper->sets, packed);
    *out = set;
    if (set)
        return SATCHEL_OK;
    set = SATCHEL_ARENA_ARRAY(&keeper->arena, struct scope_set, 1);
    if (!set)
        return SATCHEL_NOMEM;
    set->packed = satchel_arena_copy(&keeper->arena, packed);
    *out = set;
    return set->packed.data ? satchel_map_put(&keeper->sets, packed, set) : SATCHEL_NOMEM;
}

/* What the node brings along: its own values, and the sets of parents that are known already. Those
 * of its circle are not. */
static enum satchel_status gather(const struct scope_node *node, struct scope_values *values,
                                  bool *is_everyone)
{
    enum satchel_status status = SATCHEL_OK;
    *is_everyone = *is_everyone || node->is_everyones;
    for (uint32_t i = 0; status == SATCHEL_OK && i < node->own_count; i++)
        status = scope_values_add(values, node->own[i]);
    for (uint32_t p = 0; p < node->parent_count; p++) {
        const struct scope_set *set = node->parents[p]->set;
        struct satchel_span packed;
        if (!set)
            continue;
        *is_everyone = *is_everyone || scope_set_is_everyone(set->packed);
        struct scope_set_reader reader = scope_set_read(set->packed);
        while (status == SATCHEL_OK && scope_set_next(&reader, &packed))
            status = scope_values_add(values, packed);
    }
    return status;
}

/* The circle whose first node found is `root`, off the stack; each of its rows gets the set. A row
 * that is not there has none, unless it was merged into another that is. */
static enum satchel_status close_circle(struct scope_keeper *keeper, struct scope_node **stack,
                                        struct scope_node *root)
{
    struct scope_values values = {.arena = &keeper->arena};
    struct scope_node *first = *stack, *end = root->below;
    struct scope_set *set = NULL;
    bool is_everyone = false;
    enum satchel_status status = SATCHEL_OK;
    *stack = end;
    if (!root->exists && !(root->parent_count > 0 && root->parents[0]->set)) {
        root->is_on_stack = false;
        return SATCHEL_OK;
    }
    for (struct scope_node *node = first; status == SATCHEL_OK && node != end; node = node->below)
        status = gather(node, &values, &is_everyone);
    satchel_buffer_clear(&keeper->scratch);
    if (status == SATCHEL_OK && is_everyone) {
        status = satchel_buffer_append(&keeper->scratch, "\xc0", 1);
    } else if (status == SATCHEL_OK) {
        scope_values_sort(&values);
        status = scope_set_pack(&keeper->scratch, &values);
    }
    if (status == SATCHEL_OK)
        status = intern(keeper, satchel_buffer_span(&keeper->scratch), &set);
    for (struct scope_node *node = first; node != end; node = node->below) {
        node->is_on_stack = false;
        node->set = set;
    }
    return status;
}

static enum satchel_status enter(struct scope_keeper *keeper, struct scope_node *node,
                                 struct scope_node *caller, struct scope_node **stack,
                                 struct satchel_error *error)
{
    node->number = node->low = ++keeper->discovered;
    node->caller = caller;
    node->below = *stack;
    node->is_on_stack = true;
    *stack = node;
    return scope_node_read(keeper, node, error);
}

enum satchel_status scope_solve(struct scope_keeper *keeper, struct scope_node *node,
                                struct satchel_error *error)
{
    struct scope_node *stack = NULL, *at = node;
    if (node->number > 0)
        return SATCHEL_OK;
    enum satchel_status status = enter(keeper, node, NULL, &stack, error);
    while (status == SATCHEL_OK && at) {
        if (at->next_parent < at->parent_count) {
            struct scope_node *parent = at->parents[at->next_parent++];
            if (parent->number == 0) {
                status = enter(keeper, parent, at, &stack, error);
                at = parent;
            } else if (parent->is_on_stack && parent->number < at->low) {
                at->low = parent->number;
            }
            continue;
        }
        if (at->low == at->number)
            status = close_circle(keeper, &stack, at);
        if (at->caller && at->low < at->caller->low)
            at->caller->low = at->low;
        at = at->caller;
    }
    return status;
}
