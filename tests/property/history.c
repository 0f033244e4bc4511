/* Owns the generator of histories. What a device had been shown is modelled as docs/architecture.md
 * has it: the hub's log up to the device's cursor, cut down where local writes were pending. */
#include "history.h"

#include <stdio.h>
#include <string.h>

/* splitmix64: small, seeded, the same everywhere. */
uint64_t history_next(struct history_random *random)
{
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

unsigned history_below(struct history_random *random, unsigned limit)
{
    return (unsigned)(history_next(random) % limit);
}

#define DEVICES_MAX 5

struct device {
    unsigned cursor;   /* entries of the hub's log applied */
    unsigned uploaded; /* own ops uploaded */
    unsigned own[REFERENCE_OPS_MAX];
    unsigned own_count;
    int64_t clock_error;
    satchel_stamp last;
};

struct world {
    struct history *history;
    struct history_random *random;
    struct device devices[DEVICES_MAX];
    unsigned log[REFERENCE_OPS_MAX];
    unsigned log_count;
    int64_t now_ms;
    bool has_bad_stamps;
};

static struct satchel_value text(const char *bytes)
{
    return satchel_value_text(satchel_span_text(bytes));
}

static void set_column(struct history *history, unsigned column, enum satchel_rule rule,
                       unsigned unit, struct satchel_value default_value)
{
    history->columns[column] =
        (struct satchel_column_rules){.rule = rule, .unit = unit, .default_value = default_value};
}

static void set_rules(struct history *history, struct history_random *random)
{
    const struct satchel_value null = satchel_value_null();
    set_column(history, 0, SATCHEL_RULE_ID, 0, null);
    history->columns[0].in_key = true;
    set_column(history, 1, SATCHEL_RULE_LWW, 1, text("a"));
    set_column(history, 2, SATCHEL_RULE_LWW, 2, null);
    set_column(history, 3, SATCHEL_RULE_IMMUTABLE, 3, null);
    set_column(history, 4, SATCHEL_RULE_GROUP, 4, satchel_value_integer(0));
    set_column(history, 5, SATCHEL_RULE_MAX, 5, satchel_value_integer(2));
    set_column(history, 6, SATCHEL_RULE_GROUP, 4, null);
    set_column(history, 7, SATCHEL_RULE_MIN, 7, null);
    set_column(history, 8, SATCHEL_RULE_FIRST, 8, null);
    set_column(history, 9, SATCHEL_RULE_COUNTER, 9, satchel_value_integer(INT64_MAX - 3));
    set_column(history, 10, SATCHEL_RULE_APPEND, 10, text("b"));
    set_column(history, 11, SATCHEL_RULE_FIRST, 11, satchel_value_integer(1));
    set_column(history, 12, SATCHEL_RULE_COUNTER, 12, null);
    set_column(history, 13, SATCHEL_RULE_MAX, 13, null);
    /* CURRENT_TIMESTAMP and the like: an insert always writes them. */
    bool varies = history_below(random, 2);
    history->columns[2].default_varies = varies;
    history->columns[7].default_varies = varies;
    history->columns[8].default_varies = varies;
    enum satchel_delete_policy policy =
        history_below(random, 8) ? SATCHEL_DELETE_EDIT_WINS : SATCHEL_DELETE_DELETE_WINS;
    history->rules = (struct satchel_table_rules){
        .columns = history->columns, .column_count = REFERENCE_COLUMNS, .delete_policy = policy};
}

/* A small domain, so that equal values meet. */
static struct satchel_value some_value(struct world *world, unsigned column)
{
    if (world->history->columns[column].rule == SATCHEL_RULE_COUNTER)
        return satchel_value_integer((int64_t)history_below(world->random, 5) - 2);
    switch (history_below(world->random, 8)) {
    case 0: return satchel_value_null();
    case 1: return text("a");
    case 2: return text("b");
    case 3: return satchel_value_real(1.0);
    case 4: return text("");
    default: return satchel_value_integer((int64_t)history_below(world->random, 4));
    }
}

/* ---- what a device knows ---- */

static uint32_t log_prefix(const struct world *world, unsigned length)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < length; i++)
        set |= 1u << world->log[i];
    return set;
}

/* The device's own ops whose entries it has not applied. */
static uint32_t pending_of(const struct world *world, const struct device *device, uint32_t known)
{
    (void)world;
    uint32_t pending = 0;
    for (unsigned i = 0; i < device->own_count; i++)
        if (!(known >> device->own[i] & 1))
            pending |= 1u << device->own[i];
    return pending;
}

/* Whether the application sees the row: the hub's state with the pending ops on it. */
static bool is_shown(const struct world *world, const struct device *device, uint32_t known,
                     uint32_t pending)
{
    static struct reference_row row;
    const struct history *history = world->history;
    reference_compute(&history->rules, history->ops, history->op_count, known, &row);
    bool exists = row.exists;
    for (unsigned i = 0; i < device->own_count; i++) {
        unsigned op = device->own[i];
        if (pending >> op & 1)
            exists = history->ops[op].kind != SATCHEL_OP_DELETE;
    }
    return exists;
}

/* ---- what a write had seen ---- */

static bool op_touches(const struct history *history, const struct reference_op *op, uint32_t unit)
{
    if (unit == SATCHEL_COLUMN_ROW)
        return op->kind == SATCHEL_OP_DELETE;
    for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
        if (op->writes[c] && history->columns[c].unit == unit)
            return true;
    return false;
}

/* The view that the first pending op on the unit had of it; false if there is none. */
static bool first_pending_view(const struct world *world, const struct device *device,
                               uint32_t pending, uint32_t unit, struct reference_exception *view)
{
    for (unsigned i = 0; i < device->own_count; i++) {
        const struct reference_op *op = &world->history->ops[device->own[i]];
        if (!(pending >> device->own[i] & 1) || !op_touches(world->history, op, unit))
            continue;
        *view = (struct reference_exception){unit, SATCHEL_VIEW_SEEN, op->seen};
        for (unsigned e = 0; e < op->exception_count; e++)
            if (op->exceptions[e].column == unit ||
                (op->exceptions[e].column == SATCHEL_COLUMN_ROW && view->seen == op->seen)) {
                *view = op->exceptions[e];
                view->column = unit;
            }
        if (op->kind == SATCHEL_OP_INSERT)
            *view = (struct reference_exception){unit, SATCHEL_VIEW_NONE, 0};
        return true;
    }
    return false;
}

static void add_exceptions(struct world *world, const struct device *device, uint32_t pending,
                           struct reference_op *op)
{
    struct history_random *random = world->random;
    const struct history *history = world->history;
    struct reference_exception view;
    for (uint32_t c = 1; c <= REFERENCE_COLUMNS; c++) {
        uint32_t unit = c < REFERENCE_COLUMNS ? c : SATCHEL_COLUMN_ROW;
        bool is_row = unit == SATCHEL_COLUMN_ROW;
        if (!is_row && (history->columns[c].unit != c ||
                        (op->kind != SATCHEL_OP_DELETE && !op_touches(history, op, unit))))
            continue;
        if (first_pending_view(world, device, pending, unit, &view) &&
            (view.kind != SATCHEL_VIEW_SEEN || view.seen != op->seen))
            op->exceptions[op->exception_count++] = view;
    }
    bool has_row =
        op->exception_count && op->exceptions[op->exception_count - 1].column == SATCHEL_COLUMN_ROW;
    if (has_row || history_below(random, 25) != 0)
        return;
    /* The row was not held from the node at all, or held only as of an earlier state. */
    view = (struct reference_exception){SATCHEL_COLUMN_ROW, SATCHEL_VIEW_NONE, 0};
    if (history_below(random, 2)) {
        view.kind = SATCHEL_VIEW_NODE_ONLY;
        view.seen = log_prefix(world, history_below(random, device->cursor + 1));
    }
    op->exceptions[op->exception_count++] = view;
}

/* ---- steps ---- */

static void write_columns(struct world *world, struct reference_op *op, bool *carries_default)
{
    const struct history *history = world->history;
    bool is_insert = op->kind == SATCHEL_OP_INSERT;
    bool is_bare = is_insert && history_below(world->random, 5) == 0; /* nothing but the key */
    unsigned chance = is_insert ? 1 + history_below(world->random, 4) : 10;
    do {
        for (unsigned c = 1; c < REFERENCE_COLUMNS; c++) {
            const struct satchel_column_rules *of = &history->columns[c];
            bool is_final = of->rule == SATCHEL_RULE_IMMUTABLE || of->rule == SATCHEL_RULE_APPEND;
            bool is_forced = is_insert && of->default_varies;
            bool is_allowed = is_insert ? !is_bare : !is_final;
            if (is_forced || (is_allowed && history_below(world->random, chance) == 0))
                op->writes[c] = true;
        }
        for (unsigned c = 1; c < REFERENCE_COLUMNS && !is_insert; c++)
            if (op->writes[c])
                for (unsigned d = 1; d < REFERENCE_COLUMNS; d++)
                    if (history->columns[d].unit == history->columns[c].unit)
                        op->writes[d] = true;
    } while (!is_insert && !memchr(op->writes, true, sizeof op->writes));
    for (unsigned c = 1; c < REFERENCE_COLUMNS; c++) {
        if (!op->writes[c])
            continue;
        const struct satchel_column_rules *of = &history->columns[c];
        op->values[c] = some_value(world, c);
        bool is_counter = of->rule == SATCHEL_RULE_COUNTER;
        if (is_insert && !of->default_varies &&
            (is_counter ? op->values[c].integer == 0
                        : satchel_value_equal(&op->values[c], &of->default_value))) {
            op->writes[c] = false;
            carries_default[c] = history_below(world->random, 2);
        }
    }
}

static satchel_stamp stamp_of(struct world *world, struct device *device, uint32_t known)
{
    satchel_stamp floor = device->last;
    for (unsigned i = 0; i < world->history->op_count; i++)
        if ((known >> i & 1) && world->history->ops[i].stamp > floor)
            floor = world->history->ops[i].stamp;
    int64_t now_ms = world->now_ms + device->clock_error;
    satchel_stamp stamp =
        world->has_bad_stamps ? satchel_stamp_from_ms(now_ms) : satchel_stamp_next(floor, now_ms);
    device->last = stamp;
    return stamp;
}

static void step_write(struct world *world, unsigned number_of_device)
{
    struct history *history = world->history;
    struct device *device = &world->devices[number_of_device];
    uint32_t known = log_prefix(world, device->cursor);
    uint32_t pending = pending_of(world, device, known);
    unsigned index = history->op_count;
    struct reference_op *op = &history->ops[index];
    memset(op, 0, sizeof *op);
    memset(history->carries_default[index], 0, sizeof history->carries_default[index]);
    op->device = number_of_device;
    op->number = device->own_count + 1;
    op->seen = known;
    op->stamp = stamp_of(world, device, known);
    if (!is_shown(world, device, known, pending))
        op->kind = SATCHEL_OP_INSERT;
    else
        op->kind = history_below(world->random, 5) ? SATCHEL_OP_UPDATE : SATCHEL_OP_DELETE;
    if (op->kind != SATCHEL_OP_DELETE)
        write_columns(world, op, history->carries_default[index]);
    add_exceptions(world, device, pending, op);
    device->own[device->own_count++] = index;
    history->op_count++;
}

static void step_upload(struct world *world, struct device *device)
{
    unsigned some = history_below(world->random, device->own_count - device->uploaded + 1);
    if (history_below(world->random, 3))
        some = device->own_count - device->uploaded;
    while (some-- > 0)
        world->log[world->log_count++] = device->own[device->uploaded++];
}

static void step_pull(struct world *world, struct device *device)
{
    unsigned ahead = world->log_count - device->cursor;
    device->cursor +=
        history_below(world->random, 3) ? ahead : history_below(world->random, ahead + 1);
}

void history_generate(struct history *history, struct history_random *random)
{
    struct world world = {.history = history, .random = random, .now_ms = 1000000};
    history->op_count = 0;
    history->device_count = 2 + history_below(random, DEVICES_MAX - 1);
    set_rules(history, random);
    world.has_bad_stamps = history_below(random, 6) == 0;
    for (unsigned i = 0; i < history->device_count; i++)
        if (history_below(random, 3) == 0)
            world.devices[i].clock_error = (int64_t)history_below(random, 400000) - 200000;

    unsigned ops =
        history_below(random, 3) ? 2 + history_below(random, 4) : 6 + history_below(random, 9);
    unsigned online = 2 + history_below(random, 6);
    while (history->op_count < ops) {
        unsigned chosen = history_below(random, history->device_count);
        struct device *device = &world.devices[chosen];
        world.now_ms += history_below(random, 4) * 10000;
        if (history_below(random, online)) {
            step_upload(&world, device);
            step_pull(&world, device);
        } else if (history_below(random, 4) == 0) {
            step_upload(&world, device);
        }
        if (history_below(random, 2))
            step_write(&world, chosen);
    }
}

void history_print(const struct history *history)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    printf("policy %s\n",
           history->rules.delete_policy == SATCHEL_DELETE_EDIT_WINS ? "edit_wins" : "delete_wins");
    for (unsigned i = 0; i < history->op_count; i++) {
        const struct reference_op *op = &history->ops[i];
        printf("op %u: device %u number %u stamp %llu %s seen", i, op->device, op->number,
               (unsigned long long)op->stamp >> 16, kinds[op->kind]);
        for (unsigned b = 0; b < history->op_count; b++)
            if (op->seen >> b & 1)
                printf(" %u", b);
        for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
            if (op->writes[c])
                printf("; c%u type %d %lld", c, (int)op->values[c].type,
                       op->values[c].type == SATCHEL_INTEGER ? (long long)op->values[c].integer
                                                             : 0);
        for (unsigned e = 0; e < op->exception_count; e++) {
            printf("; except %d kind %d:", (int)op->exceptions[e].column,
                   (int)op->exceptions[e].kind);
            for (unsigned b = 0; b < history->op_count; b++)
                if (op->exceptions[e].seen >> b & 1)
                    printf(" %u", b);
        }
        printf("\n");
    }
}
