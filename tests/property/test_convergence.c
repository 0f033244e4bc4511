/* The same set of writes gives the same state: random histories, every order of arrival that a node
 * can meet, against the naive reference. SATCHEL_HISTORIES and SATCHEL_SEED in the environment ask
 * for more. */
#include "history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    HISTORIES = 3000,
    HISTORIES_TO_MEET_ALL = 1000, /* in fewer a rule may meet no conflict by chance */
    ALL_ORDERS_OPS_MAX = 5,
    SAMPLED_ORDERS = 8,
    ARENA_BYTES_MAX = 64 << 20,
    RECORD_BYTES_MAX = 1 << 20
};

/* ---- ids as numbers: what a store's table does ---- */

struct numbers {
    struct satchel_id ids[2 * REFERENCE_OPS_MAX + 8];
    uint32_t count;
};

static enum satchel_status number_of(void *context, const struct satchel_id *id, uint32_t *number)
{
    struct numbers *numbers = context;
    for (*number = 0; *number < numbers->count; (*number)++)
        if (satchel_id_equal(&numbers->ids[*number], id))
            return SATCHEL_OK;
    numbers->ids[numbers->count++] = *id;
    return SATCHEL_OK;
}

static enum satchel_status id_of(void *context, uint32_t number, struct satchel_id *id)
{
    struct numbers *numbers = context;
    if (number >= numbers->count)
        return SATCHEL_NOT_FOUND;
    *id = numbers->ids[number];
    return SATCHEL_OK;
}

/* ---- ops as writes ---- */

static struct satchel_id id_with(uint8_t kind, unsigned number)
{
    struct satchel_id id = {{0}};
    id.bytes[0] = kind;
    id.bytes[15] = (uint8_t)number;
    return id;
}

/* Each change set has a node of its own, so that what was seen does not depend on the order of
 * arrival. */
static struct satchel_position position_of(unsigned op)
{
    return (struct satchel_position){id_with(0xa0, op), 1 + 700 * (uint64_t)op};
}

struct writes {
    struct satchel_write items[REFERENCE_OPS_MAX];
    struct satchel_position positions[REFERENCE_OPS_MAX];
    struct satchel_position seen[REFERENCE_OPS_MAX][REFERENCE_COLUMNS + 1][REFERENCE_OPS_MAX];
    struct satchel_field fields[REFERENCE_OPS_MAX][REFERENCE_COLUMNS];
    struct satchel_exception exceptions[REFERENCE_OPS_MAX][REFERENCE_COLUMNS];
    struct satchel_freeze parent_freeze;
    struct satchel_position parent_seen[REFERENCE_OPS_MAX];
};

static struct satchel_vector vector_of(uint32_t set, struct satchel_position *storage)
{
    size_t count = 0;
    for (unsigned i = 0; i < REFERENCE_OPS_MAX; i++)
        if (set >> i & 1)
            storage[count++] = position_of(i);
    return (struct satchel_vector){storage, count};
}

static void make_write(const struct history *history, unsigned index, struct writes *writes)
{
    const struct reference_op *op = &history->ops[index];
    struct satchel_write *write = &writes->items[index];
    writes->positions[index] = position_of(index);
    *write =
        (struct satchel_write){.order = {op->stamp, id_with(0xd0, op->device), op->number, 0},
                               .positions = {&writes->positions[index], 1},
                               .seen = vector_of(op->seen, writes->seen[index][REFERENCE_COLUMNS]),
                               .role = satchel_span_text(op->role),
                               .kind = op->kind,
                               .fields = writes->fields[index],
                               .exceptions = writes->exceptions[index],
                               .exception_count = op->exception_count};
    for (uint32_t c = 0; c < REFERENCE_COLUMNS; c++) {
        struct satchel_field *field = &writes->fields[index][write->field_count];
        if (op->writes[c] || history->carries_default[index][c]) {
            *field = (struct satchel_field){c, op->values[c]};
            write->field_count++;
        }
    }
    for (unsigned e = 0; e < op->exception_count; e++)
        writes->exceptions[index][e] = (struct satchel_exception){
            op->exceptions[e].column,
            {op->exceptions[e].kind, vector_of(op->exceptions[e].seen, writes->seen[index][e])}};
}

enum { PARENT_PART = 7 }; /* of the change set that freezes the parent row */

static void make_parent_freeze(const struct history *history, struct writes *writes)
{
    const struct reference_freeze *freeze = &history->parent_freeze;
    writes->parent_freeze =
        (struct satchel_freeze){
            .order = {1, id_with(0xd0, freeze->device), freeze->number, PARENT_PART},
            .seen = vector_of(freeze->seen, writes->parent_seen)};
}

/* ---- one node ---- */

struct node {
    const struct history *history;
    const struct writes *writes;
    struct history_random *random;
    uint64_t seed; /* of this history */
    struct satchel_arena *arena;
    struct numbers *numbers;
    struct satchel_buffer *record;
    struct satchel_row_context context;
    unsigned parent_freezes_at; /* after so many arrivals */
    struct satchel_row row;
    struct satchel_value values[REFERENCE_COLUMNS];
    struct satchel_write arrived[REFERENCE_OPS_MAX];
    size_t arrived_count;
};

static struct {
    unsigned long histories, orders, merges, rebuilds, refused;
    unsigned long met[SATCHEL_RULE_COUNT];
    unsigned long conflicts[SATCHEL_RULE_COUNT];
    unsigned long lost_deletes, survived, revived, gone, frozen, frozen_by_parent;
    size_t record_bytes_max;
} totals;

static void store_and_load(struct node *node)
{
    const struct satchel_id_table ids = {number_of, id_of, node->numbers};
    satchel_buffer_clear(node->record);
    assert_int_equal(satchel_version_encode(node->row.version, &ids, node->record), SATCHEL_OK);
    if (node->record->size > totals.record_bytes_max)
        totals.record_bytes_max = node->record->size;
    assert_int_equal(satchel_version_decode(node->arena, satchel_buffer_span(node->record), &ids,
                                            &node->row.version),
                     SATCHEL_OK);
}

/* Whether the result says which values are others than before; gone is as the defaults. */
static bool says_what_changed(const struct node *node, bool existed,
                              const struct satchel_value *before,
                              const struct satchel_merge_result *result)
{
    const struct satchel_column_rules *columns = node->history->columns;
    for (unsigned c = 1; c < REFERENCE_COLUMNS; c++) {
        const struct satchel_value *old = existed ? &before[c] : &columns[c].default_value;
        const struct satchel_value *new =
            node->row.exists ? &node->row.values[c] : &columns[c].default_value;
        if (result->changed[c] != !satchel_value_equal(old, new))
            return false;
    }
    return result->existed_before == existed;
}

static void deliver(struct node *node, unsigned op)
{
    const struct satchel_write *write = &node->writes->items[op];
    struct satchel_merge_result result;
    struct satchel_error error = {0};
    struct satchel_value before[REFERENCE_COLUMNS];
    bool existed = node->row.exists;
    memcpy(before, node->values, sizeof before);
    node->arrived[node->arrived_count++] = *write;
    enum satchel_status status =
        satchel_row_merge(&node->history->rules, &node->row, write, node->arena, &result, &error);
    totals.merges++;
    if (status == SATCHEL_NEED_TIMELINE) {
        totals.rebuilds++;
        status = satchel_row_rebuild(&node->history->rules, &node->row, node->arrived,
                                     node->arrived_count, node->arena, &result, &error);
    }
    if (status != SATCHEL_OK)
        fail_msg("op %u: %s: %s", op, satchel_status_name(status), error.message);
    if (!says_what_changed(node, existed, before, &result))
        fail_msg("SATCHEL_SEED=%llu: op %u: the result does not say what changed",
                 (unsigned long long)node->seed, op);
    if (history_below(node->random, 2))
        store_and_load(node);
    satchel_version_set_timeline(node->row.version, history_next(node->random) >> 40);
}

/* All writes again, none of them new. */
static void recompute(struct node *node)
{
    struct satchel_merge_result result;
    assert_int_equal(satchel_row_recompute(&node->history->rules, &node->row, node->arrived,
                                           node->arrived_count, node->arena, &result, NULL),
                     SATCHEL_OK);
    assert_null(result.outcomes);
}

/* It becomes known that the parent row was frozen: what it concerns is computed again. */
static void freeze_parent(struct node *node)
{
    if (!node->history->context.parent_freeze)
        return;
    node->context.parent_freeze = &node->writes->parent_freeze;
    if (node->arrived_count > 0)
        recompute(node);
}

static void start_node(struct node *node)
{
    satchel_arena_reset(node->arena);
    node->numbers->count = 0;
    node->arrived_count = 0;
    node->context = (struct satchel_row_context){.machines = node->history->context.machines,
                                                 .machine_count = 1};
    node->parent_freezes_at = history_below(node->random, node->history->op_count + 1);
    node->row = (struct satchel_row){.values = node->values,
                                     .version = satchel_version_new(node->arena),
                                     .context = &node->context};
    assert_non_null(node->row.version);
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        node->values[c] = satchel_value_integer(-77);
}

/* ---- comparing ---- */

static unsigned op_of(const struct history *history, const struct satchel_order *order)
{
    if (order->part == PARENT_PART)
        return REFERENCE_PARENT;
    for (unsigned i = 0; i < history->op_count; i++)
        if (history->ops[i].device == order->device.bytes[15] &&
            history->ops[i].number == order->number)
            return i;
    return REFERENCE_OPS_MAX;
}

static bool same_conflict(const struct history *history, const struct satchel_conflict *got,
                          const struct reference_conflict *expected)
{
    if (got->kind != expected->kind || got->severity != expected->severity ||
        got->unit != expected->unit ||
        (expected->lost_count && got->column_count != expected->lost_count) ||
        op_of(history, &got->loser) != expected->loser ||
        op_of(history, &got->winner) != expected->winner)
        return false;
    for (uint32_t i = 0; i < expected->lost_count; i++)
        if (!satchel_value_equal(&got->lost[i], &expected->lost[i]))
            return false;
    return true;
}

static const char *difference(const struct node *node, const struct satchel_row *row,
                              const struct reference_row *expected)
{
    const struct history *history = node->history;
    if (row->exists != expected->exists)
        return "existence";
    for (unsigned c = 1; row->exists && c < REFERENCE_COLUMNS; c++)
        if (!satchel_value_equal(&row->values[c], &expected->values[c]))
            return "a value";
    struct satchel_conflict_list conflicts;
    assert_int_equal(satchel_row_conflicts(&history->rules, row, node->arena, &conflicts),
                     SATCHEL_OK);
    if (conflicts.count != expected->conflict_count)
        return "the number of open conflicts";
    for (size_t i = 0; i < conflicts.count; i++) {
        if (i > 0 && (conflicts.items[i - 1].unit > conflicts.items[i].unit ||
                      (conflicts.items[i - 1].unit == conflicts.items[i].unit &&
                       satchel_order_compare(&conflicts.items[i - 1].loser,
                                             &conflicts.items[i].loser) >= 0)))
            return "the order of conflicts";
        bool found = false;
        for (unsigned j = 0; !found && j < expected->conflict_count; j++)
            found = same_conflict(history, &conflicts.items[i], &expected->conflicts[j]);
        if (!found)
            return "a conflict";
    }
    return NULL;
}

static void print_value(const struct satchel_value *value)
{
    if (value->type == SATCHEL_TEXT)
        printf(" '%.*s'", (int)value->bytes.size, (const char *)value->bytes.data);
    else
        printf(" %d:%lld", (int)value->type,
               value->type == SATCHEL_INTEGER ? (long long)value->integer : 0);
}

static void print_difference(const struct node *node, const struct satchel_row *row,
                             const struct reference_row *expected)
{
    struct satchel_conflict_list conflicts;
    printf("exists: expected %d, found %d\n", expected->exists, row->exists);
    for (unsigned c = 1; row->exists && c < REFERENCE_COLUMNS; c++)
        if (!satchel_value_equal(&row->values[c], &expected->values[c])) {
            printf("c%u (@%s): expected", c, satchel_rule_name(node->history->columns[c].rule));
            print_value(&expected->values[c]);
            printf(", found");
            print_value(&row->values[c]);
            printf("\n");
        }
    assert_int_equal(satchel_row_conflicts(&node->history->rules, row, node->arena, &conflicts),
                     SATCHEL_OK);
    for (unsigned i = 0; i < expected->conflict_count; i++) {
        const struct reference_conflict *conflict = &expected->conflicts[i];
        bool is_found = false;
        for (size_t j = 0; !is_found && j < conflicts.count; j++)
            is_found = same_conflict(node->history, &conflicts.items[j], conflict);
        if (!is_found)
            printf("expected: kind %d severity %d c%d, %u lost to %u\n", (int)conflict->kind,
                   (int)conflict->severity, (int)conflict->unit, conflict->loser, conflict->winner);
    }
    for (size_t j = 0; j < conflicts.count; j++) {
        const struct satchel_conflict *conflict = &conflicts.items[j];
        bool is_expected = false;
        for (unsigned i = 0; !is_expected && i < expected->conflict_count; i++)
            is_expected = same_conflict(node->history, conflict, &expected->conflicts[i]);
        if (!is_expected)
            printf("found: kind %d severity %d c%d, %u lost to %u\n", (int)conflict->kind,
                   (int)conflict->severity, (int)conflict->unit,
                   op_of(node->history, &conflict->loser), op_of(node->history, &conflict->winner));
    }
}

static void check(const struct node *node, const struct satchel_row *row, uint32_t set,
                  const char *what)
{
    static struct reference_row expected;
    struct reference_context context = node->history->context;
    if (!node->context.parent_freeze)
        context.parent_freeze = NULL;
    reference_compute(&node->history->rules, &context, node->history->ops, node->history->op_count,
                      set, &expected);
    const char *differing = difference(node, row, &expected);
    if (!differing)
        return;
    history_print(node->history);
    printf("SATCHEL_SEED=%llu SATCHEL_HISTORIES=1 repeats it; arrival:",
           (unsigned long long)node->seed);
    for (size_t i = 0; i < node->arrived_count; i++)
        printf(" %u", op_of(node->history, &node->arrived[i].order));
    if (node->context.parent_freeze)
        printf(", the parent frozen after %u", node->parent_freezes_at);
    printf("\n");
    print_difference(node, row, &expected);
    fail_msg("%s differs from the reference in %s", what, differing);
}

static void check_order(struct node *node, const unsigned *order, bool check_every_step)
{
    uint32_t set = 0;
    totals.orders++;
    start_node(node);
    for (unsigned i = 0; i < node->history->op_count; i++) {
        if (i == node->parent_freezes_at)
            freeze_parent(node);
        deliver(node, order[i]);
        set |= 1u << order[i];
        if (check_every_step || i + 1 == node->history->op_count)
            check(node, &node->row, set, "the merge");
    }
    if (node->parent_freezes_at == node->history->op_count)
        freeze_parent(node);
    recompute(node);
    check(node, &node->row, set, "what is computed again");
    struct satchel_value values[REFERENCE_COLUMNS] = {{SATCHEL_NULL, {0}}};
    struct satchel_row rebuilt = {
        .values = values, .version = satchel_version_new(node->arena), .context = &node->context};
    struct satchel_merge_result result;
    assert_int_equal(satchel_row_rebuild(&node->history->rules, &rebuilt, node->arrived,
                                         node->arrived_count, node->arena, &result, NULL),
                     SATCHEL_OK);
    check(node, &rebuilt, set, "the rebuild");
}

/* ---- orders of arrival ---- */

/* Whether an op may come next: after its device's earlier ones and all that it had seen. */
static bool may_arrive(const struct history *history, unsigned op, uint32_t arrived)
{
    const struct reference_op *next = &history->ops[op];
    if ((arrived >> op & 1) || (next->seen & ~arrived))
        return false;
    for (unsigned i = 0; i < history->op_count; i++)
        if (history->ops[i].device == next->device && history->ops[i].number < next->number &&
            !(arrived >> i & 1))
            return false;
    return true;
}

static void all_orders(struct node *node, unsigned *order, unsigned length, uint32_t arrived)
{
    if (length == node->history->op_count) {
        check_order(node, order, false);
        return;
    }
    for (unsigned op = 0; op < node->history->op_count; op++) {
        if (!may_arrive(node->history, op, arrived))
            continue;
        order[length] = op;
        all_orders(node, order, length + 1, arrived | 1u << op);
    }
}

static void sampled_order(struct node *node, unsigned *order)
{
    uint32_t arrived = 0;
    for (unsigned length = 0; length < node->history->op_count;) {
        unsigned op = history_below(node->random, node->history->op_count);
        if (!may_arrive(node->history, op, arrived))
            continue;
        order[length++] = op;
        arrived |= 1u << op;
    }
}

static void count_conflicts(const struct history *history)
{
    static struct reference_row row;
    uint32_t all = (uint32_t)((UINT64_C(1) << history->op_count) - 1);
    bool has_delete = false, open[SATCHEL_RULE_COUNT] = {false}, lost_delete = false;
    bool frozen_own = false, frozen_parent = false;
    reference_compute(&history->rules, &history->context, history->ops, history->op_count, all,
                      &row);
    for (unsigned i = 0; i < history->op_count; i++)
        has_delete = has_delete || history->ops[i].kind == SATCHEL_OP_DELETE;
    for (unsigned i = 0; i < row.conflict_count; i++) {
        if (row.conflicts[i].unit == SATCHEL_COLUMN_ROW)
            lost_delete = true;
        else if (row.conflicts[i].kind == SATCHEL_CONFLICT_FROZEN)
            *(row.conflicts[i].winner == REFERENCE_PARENT ? &frozen_parent : &frozen_own) = true;
        else
            open[history->columns[row.conflicts[i].unit].rule] = true;
    }
    for (unsigned rule = 0; rule < SATCHEL_RULE_COUNT; rule++) {
        totals.met[rule] += row.met[rule];
        totals.conflicts[rule] += open[rule];
    }
    totals.frozen += frozen_own;
    totals.frozen_by_parent += frozen_parent;
    totals.lost_deletes += lost_delete;
    totals.survived += has_delete && row.exists;
    totals.gone += !row.exists;
}

static void report(uint64_t seed)
{
    static const struct {
        enum satchel_rule rule;
        bool conflicts;
    } rules[] = {{SATCHEL_RULE_LWW, true},       {SATCHEL_RULE_GROUP, true},
                 {SATCHEL_RULE_FIRST, true},     {SATCHEL_RULE_MAX, false},
                 {SATCHEL_RULE_MIN, false},      {SATCHEL_RULE_IMMUTABLE, false},
                 {SATCHEL_RULE_APPEND, false},   {SATCHEL_RULE_COUNTER, false},
                 {SATCHEL_RULE_AUTHORITY, true}, {SATCHEL_RULE_CLAIM, true},
                 {SATCHEL_RULE_SERVER, true},    {SATCHEL_RULE_KEY, true},
                 {SATCHEL_RULE_KEY_WEAK, true},  {SATCHEL_RULE_STATE, true},
                 {SATCHEL_RULE_SET, false},      {SATCHEL_RULE_MAP, true},
                 {SATCHEL_RULE_TEXT3, true}};
    printf("seed %llu: %lu histories, %lu orders, %lu merges, %lu of them by timeline, "
           "largest record %zu bytes\n",
           (unsigned long long)seed, totals.histories, totals.orders, totals.merges,
           totals.rebuilds, totals.record_bytes_max);
    printf("rows gone %lu, alive after a delete %lu, with a lost delete %lu\n", totals.gone,
           totals.survived, totals.lost_deletes);
    printf("writes that came too late for a freeze in %lu histories, for the parent's in %lu\n",
           totals.frozen, totals.frozen_by_parent);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        printf("@%-9s unseen different values in %lu histories, open conflicts in %lu\n",
               satchel_rule_name(rules[i].rule), totals.met[rules[i].rule],
               totals.conflicts[rules[i].rule]);
    if (totals.histories < HISTORIES_TO_MEET_ALL)
        return;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        assert_true(totals.met[rules[i].rule] > 0);
        assert_true((totals.conflicts[rules[i].rule] > 0) == rules[i].conflicts);
    }
    assert_true(totals.lost_deletes > 0);
    assert_true(totals.frozen > 0);
    assert_true(totals.frozen_by_parent > 0);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_convergence__every_order_of_arrival_gives_the_reference(void **state)
{
    (void)state;
    static struct history history;
    static struct writes writes;
    static struct numbers numbers;
    struct satchel_arena arena;
    struct satchel_buffer record;
    uint64_t seed = from_environment("SATCHEL_SEED", 20261121);
    uint64_t histories = from_environment("SATCHEL_HISTORIES", HISTORIES);
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    satchel_buffer_init(&record, RECORD_BYTES_MAX, NULL);
    printf("seed %llu\n", (unsigned long long)seed);

    for (uint64_t i = 0; i < histories; i++) {
        struct history_random random = {seed + i};
        static struct node node;
        unsigned order[REFERENCE_OPS_MAX] = {0};
        history_generate(&history, &random);
        for (unsigned op = 0; op < history.op_count; op++)
            make_write(&history, op, &writes);
        make_parent_freeze(&history, &writes);
        node = (struct node){.history = &history,
                             .writes = &writes,
                             .random = &random,
                             .seed = seed + i,
                             .arena = &arena,
                             .numbers = &numbers,
                             .record = &record};
        totals.histories++;
        count_conflicts(&history);
        sampled_order(&node, order);
        check_order(&node, order, true);
        if (history.op_count <= ALL_ORDERS_OPS_MAX) {
            all_orders(&node, order, 0, 0);
            continue;
        }
        for (unsigned sample = 0; sample < SAMPLED_ORDERS; sample++) {
            sampled_order(&node, order);
            check_order(&node, order, false);
        }
    }
    report(seed);
    satchel_buffer_deinit(&record);
    satchel_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convergence__every_order_of_arrival_gives_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
