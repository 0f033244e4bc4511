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

#define DEVICES_MAX 6

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
    unsigned next_line;
    struct reference_row shown; /* what the writing device's node shows it */
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

static void set_machine(struct history *history)
{
    static const struct satchel_span back_to_new[] = {{(const uint8_t *)"new", 3}};
    static const struct satchel_span back_to_offer[] = {{(const uint8_t *)"offer", 5}};
    /* ascending code */
    static const struct satchel_state states[] = {
        {{(const uint8_t *)"lost", 4}, 60, true, back_to_new, 1},
        {{(const uint8_t *)"new", 3}, 10, false, NULL, 0},
        {{(const uint8_t *)"offer", 5}, 20, false, back_to_new, 1},
        {{(const uint8_t *)"sent", 4}, 40, false, back_to_offer, 1},
        {{(const uint8_t *)"talk", 4}, 20, false, NULL, 0},
        {{(const uint8_t *)"won", 3}, 60, true, NULL, 0},
    };
    static const struct satchel_machine machine = {states, sizeof states / sizeof states[0]};
    history->context = (struct reference_context){&machine, NULL};
}

static void set_contested_columns(struct history *history)
{
    static const struct satchel_span roles[] = {{(const uint8_t *)"hq", 2},
                                                {(const uint8_t *)"rep", 3}};
    const struct satchel_value null = satchel_value_null();
    struct satchel_column_rules *columns = history->columns;
    set_column(history, 14, SATCHEL_RULE_AUTHORITY, 14, null);
    set_column(history, 15, SATCHEL_RULE_CLAIM, 15, text("a"));
    for (unsigned c = 14; c <= 15; c++) {
        columns[c].roles = roles;
        columns[c].role_count = 2;
    }
    set_column(history, 16, SATCHEL_RULE_SERVER, 16, null);
    set_column(history, 17, SATCHEL_RULE_KEY, 17, null);
    set_column(history, 18, SATCHEL_RULE_KEY_WEAK, 18, null);
    set_column(history, 19, SATCHEL_RULE_STATE, 19, text("new"));
    set_column(history, 20, SATCHEL_RULE_FOLLOWS, 19, null);
    set_column(history, 21, SATCHEL_RULE_SET, 21, text("[\"a\",\"b\"]"));
    set_column(history, 22, SATCHEL_RULE_MAP, 22, text("{\"a\":1}"));
    set_column(history, 23, SATCHEL_RULE_TEXT3, 23, null);
    set_column(history, 24, SATCHEL_RULE_LWW, 24, null);
    set_column(history, 25, SATCHEL_RULE_COUNTER, 25, satchel_value_integer(0));
    set_column(history, 26, SATCHEL_RULE_SET, 26, null);
    set_column(history, 27, SATCHEL_RULE_LWW, 27, null);
    set_column(history, 28, SATCHEL_RULE_FOLLOWS, 14, text("a"));
    set_column(history, 29, SATCHEL_RULE_MAP, 29, null);
    set_column(history, 30, SATCHEL_RULE_LWW, 30, null);
    set_column(history, 31, SATCHEL_RULE_FOLLOWS, 30, null);
    columns[30].has_followers = true;
    columns[19].has_followers = true;
    columns[14].has_followers = true;
}

/* Frozen columns only in some histories: a row that is frozen is never deleted. */
static void set_freezing(struct history *history, struct history_random *random)
{
    static const struct satchel_span states[] = {{(const uint8_t *)"sent", 4},
                                                 {(const uint8_t *)"won", 3}};
    if (history_below(random, 3) == 0) {
        history->columns[24].frozen = 1;
        history->columns[25].frozen = 1;
        history->columns[26].frozen = 2;
        history->columns[30].frozen = 1;
        history->columns[31].frozen = 1;
        history->rules.freezing_states = states;
        history->rules.freezing_state_count = 2;
        history->rules.state_column = 19;
    }
    if (history_below(random, 4) == 0) {
        history->columns[27].frozen = SATCHEL_FROZEN_PARENT;
        history->rules.is_frozen_by_parent = true;
    }
}

static void set_rules(struct history *history, struct history_random *random)
{
    static const enum satchel_delete_policy policies[] = {
        SATCHEL_DELETE_EDIT_WINS, SATCHEL_DELETE_EDIT_WINS, SATCHEL_DELETE_EDIT_WINS,
        SATCHEL_DELETE_RESTRICT, SATCHEL_DELETE_DELETE_WINS};
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
    set_contested_columns(history);
    set_machine(history);
    /* CURRENT_TIMESTAMP and the like: an insert always writes them. */
    bool varies = history_below(random, 2);
    history->columns[2].default_varies = varies;
    history->columns[7].default_varies = varies;
    history->columns[8].default_varies = varies;
    history->rules =
        (struct satchel_table_rules){.columns = history->columns,
                                     .column_count = REFERENCE_COLUMNS,
                                     .delete_policy = policies[history_below(random, 5)]};
    set_freezing(history, random);
}

/* ---- values ---- */

static struct satchel_value keep_text(struct history *history, const char *bytes, size_t size)
{
    char *copy = history->texts + history->text_bytes;
    memcpy(copy, bytes, size);
    history->text_bytes += size;
    return satchel_value_text(satchel_span_of(copy, size));
}

static struct satchel_value some_elements(struct world *world, enum satchel_op_kind kind,
                                          bool is_map)
{
    struct reference_elements added = {{0}}, removed = {{0}};
    char bytes[256];
    for (unsigned i = 0; i < 4; i++) {
        unsigned what = history_below(world->random, 4);
        added.has[i] = what == 1 ? 1 + (is_map ? history_below(world->random, 3) : 0) : 0;
        removed.has[i] = what == 2;
    }
    size_t size = 0;
    if (kind == SATCHEL_OP_UPDATE)
        bytes[size++] = '[';
    size += reference_write_elements(&added, is_map, bytes + size).bytes.size;
    if (kind == SATCHEL_OP_UPDATE) {
        bytes[size++] = ',';
        size += reference_write_elements(&removed, false, bytes + size).bytes.size;
        bytes[size++] = ']';
    }
    return keep_text(world->history, bytes, size);
}

/* Lines are new ones, left out or kept, never moved: then there is one way to see what changed. */
static struct satchel_value some_text(struct world *world, struct satchel_value before)
{
    char bytes[2048];
    size_t size = 0, start = 0;
    unsigned chance = 2 + history_below(world->random, 4);
    bool is_text = before.type == SATCHEL_TEXT;
    if (history_below(world->random, 12) == 0)
        return satchel_value_null();
    for (size_t i = 0; is_text && i < before.bytes.size; i++) {
        if (before.bytes.data[i] != '\n')
            continue;
        unsigned what = history_below(world->random, chance * 3);
        if (what == 0)
            size += (size_t)snprintf(bytes + size, 16, "%u\n", world->next_line++);
        if (what == 1)
            size += (size_t)snprintf(bytes + size, 16, "%u\n", world->next_line++);
        if (what != 1 && what != 2 && size + (i + 1 - start) + 40 < sizeof bytes) {
            memcpy(bytes + size, before.bytes.data + start, i + 1 - start);
            size += i + 1 - start;
        }
        start = i + 1;
    }
    if (size == 0 || history_below(world->random, 4) == 0)
        for (unsigned i = size ? 1 : 3; i > 0; i--)
            size += (size_t)snprintf(bytes + size, 16, "%u\n", world->next_line++);
    return keep_text(world->history, bytes, size);
}

/* A legal step from the state shown; of an insert a state to begin with. */
static struct satchel_value some_state(struct world *world, enum satchel_op_kind kind,
                                       struct satchel_value before)
{
    const struct satchel_machine *machine = world->history->context.machines;
    const struct satchel_state *old = reference_state(machine, &before), *new;
    char bytes[64];
    if (kind == SATCHEL_OP_INSERT || !old)
        return satchel_value_text(
            machine->states[history_below(world->random, machine->state_count)].code);
    for (;;) {
        new = &machine->states[history_below(world->random, machine->state_count)];
        bool is_back = false;
        for (uint32_t i = 0; i < old->back_to_count; i++)
            is_back = is_back || satchel_span_equal(old->back_to[i], new->code);
        if (new != old && (is_back || new->rank >= old->rank))
            break;
        if (history_below(world->random, 50) == 0)
            return satchel_value_null(); /* there may be none */
    }
    int size =
        snprintf(bytes, sizeof bytes, "[\"%.*s\",\"%.*s\"]", (int)old->code.size,
                 (const char *)old->code.data, (int)new->code.size, (const char *)new->code.data);
    return keep_text(world->history, bytes, (size_t)size);
}

static struct satchel_value some_key(struct world *world, enum satchel_op_kind kind, bool is_weak)
{
    switch (history_below(world->random, 6)) {
    case 0: return satchel_value_null();
    case 1: return text("k");
    case 2:
        if (kind == SATCHEL_OP_UPDATE && !is_weak)
            return satchel_value_blob(satchel_span_text("L")); /* sets the row apart */
        return text("L");
    default: return text("K");
    }
}

/* A small domain, so that equal values meet. `before` is what the device shows. */
static struct satchel_value some_value(struct world *world, enum satchel_op_kind kind,
                                       unsigned column, struct satchel_value before)
{
    enum satchel_rule rule = world->history->columns[column].rule;
    switch (rule) {
    case SATCHEL_RULE_COUNTER:
        return satchel_value_integer((int64_t)history_below(world->random, 5) - 2);
    case SATCHEL_RULE_SET: return some_elements(world, kind, false);
    case SATCHEL_RULE_MAP: return some_elements(world, kind, true);
    case SATCHEL_RULE_TEXT3: return some_text(world, before);
    case SATCHEL_RULE_STATE: return some_state(world, kind, before);
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK: return some_key(world, kind, rule == SATCHEL_RULE_KEY_WEAK);
    default: break;
    }
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
static bool is_shown(struct world *world, const struct device *device, uint32_t known,
                     uint32_t pending)
{
    const struct history *history = world->history;
    reference_compute(&history->rules, &history->context, history->ops, history->op_count, known,
                      &world->shown);
    bool exists = world->shown.exists;
    for (unsigned i = 0; i < device->own_count; i++) {
        unsigned op = device->own[i];
        if (pending >> op & 1)
            exists = history->ops[op].kind != SATCHEL_OP_DELETE;
    }
    return exists;
}

/* The value of the column on the device's screen, of rules for which it matters. */
static struct satchel_value shown_value(const struct world *world, const struct device *device,
                                        uint32_t pending, unsigned column)
{
    const struct history *history = world->history;
    enum satchel_rule rule = history->columns[column].rule;
    struct satchel_value value =
        world->shown.exists ? world->shown.values[column] : history->columns[column].default_value;
    for (unsigned i = 0; i < device->own_count; i++) {
        const struct reference_op *op = &history->ops[device->own[i]];
        if (!(pending >> device->own[i] & 1))
            continue;
        if (op->kind == SATCHEL_OP_INSERT)
            value = history->columns[column].default_value;
        if (op->writes[column])
            value = rule == SATCHEL_RULE_STATE ? reference_new_state(op->kind, op->values[column])
                                               : op->values[column];
    }
    return value;
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
    /* Oftener where a freeze depends on it. */
    if (has_row || history_below(random, history->rules.freezing_state_count ? 8 : 25) != 0)
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

/* Which columns an update writes beyond those that were meant: groups whole, leaders with their
 * followers, a follower alone. */
static void complete_units(const struct history *history, struct reference_op *op)
{
    for (unsigned c = 1; c < REFERENCE_COLUMNS; c++)
        if (op->writes[c] && history->columns[c].rule != SATCHEL_RULE_FOLLOWS)
            for (unsigned d = 1; d < REFERENCE_COLUMNS; d++)
                if (history->columns[d].unit == history->columns[c].unit)
                    op->writes[d] = true;
}

static bool is_no_write(const struct satchel_column_rules *of, const struct satchel_value *value)
{
    if (of->default_varies)
        return false;
    return of->rule == SATCHEL_RULE_COUNTER ? value->integer == 0
                                            : satchel_value_equal(value, &of->default_value);
}

static void choose_columns(struct world *world, struct reference_op *op)
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
            unsigned odds = of->rule == SATCHEL_RULE_STATE && !is_insert ? 4 : chance;
            if (is_forced || (is_allowed && history_below(world->random, odds) == 0))
                op->writes[c] = true;
        }
        if (!is_insert)
            complete_units(history, op);
    } while (!is_insert && !memchr(op->writes, true, sizeof op->writes));
}

static void write_columns(struct world *world, const struct device *device, uint32_t pending,
                          struct reference_op *op, bool *carries_default)
{
    const struct history *history = world->history;
    choose_columns(world, op);
    for (unsigned c = 1; c < REFERENCE_COLUMNS; c++) {
        if (!op->writes[c])
            continue;
        op->values[c] = some_value(world, op->kind, c, shown_value(world, device, pending, c));
        if (op->kind == SATCHEL_OP_INSERT && is_no_write(&history->columns[c], &op->values[c])) {
            op->writes[c] = false;
            carries_default[c] = history_below(world->random, 2);
        }
        bool is_no_step = op->kind == SATCHEL_OP_UPDATE &&
                          history->columns[c].rule == SATCHEL_RULE_STATE &&
                          op->values[c].type == SATCHEL_NULL;
        for (unsigned d = 1; is_no_step && d < REFERENCE_COLUMNS; d++)
            if (history->columns[d].unit == c)
                op->writes[d] = false;
    }
    if (op->kind == SATCHEL_OP_UPDATE && !memchr(op->writes, true, sizeof op->writes)) {
        op->writes[1] = true;
        op->values[1] = text("b");
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
    static const char *const roles[] = {"rep", "hq", NULL};
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
    op->role = roles[history_below(world->random, 6) ? number_of_device % 3
                                                     : history_below(world->random, 3)];
    if (!is_shown(world, device, known, pending))
        op->kind = SATCHEL_OP_INSERT;
    else
        op->kind = history_below(world->random, 5) ? SATCHEL_OP_UPDATE : SATCHEL_OP_DELETE;
    if (op->kind != SATCHEL_OP_DELETE)
        write_columns(world, device, pending, op, history->carries_default[index]);
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

/* The device freezes the parent row; what it knows of this one counts. */
static void step_freeze_parent(struct world *world, unsigned number_of_device)
{
    struct history *history = world->history;
    const struct device *device = &world->devices[number_of_device];
    history->parent_freeze = (struct reference_freeze){number_of_device, device->own_count,
                                                       log_prefix(world, device->cursor)};
    history->context.parent_freeze = &history->parent_freeze;
}

void history_generate(struct history *history, struct history_random *random)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    world.history = history;
    world.random = random;
    world.now_ms = 1000000;
    history->op_count = 0;
    history->text_bytes = 0;
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
        if (history->rules.is_frozen_by_parent && !history->context.parent_freeze &&
            history_below(random, 6) == 0)
            step_freeze_parent(&world, chosen);
        if (history_below(random, 2))
            step_write(&world, chosen);
    }
}

static void print_value(unsigned column, const struct satchel_value *value)
{
    printf("; c%u ", column);
    switch (value->type) {
    case SATCHEL_NULL: printf("NULL"); break;
    case SATCHEL_INTEGER: printf("%lld", (long long)value->integer); break;
    case SATCHEL_REAL: printf("%g", value->real); break;
    case SATCHEL_BLOB: printf("apart "); /* fall through */
    case SATCHEL_TEXT:
        for (size_t i = 0; i < value->bytes.size; i++)
            putchar(value->bytes.data[i] == '\n' ? '/' : value->bytes.data[i]);
    }
}

void history_print(const struct history *history)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    static const char *const policies[] = {"forbid", "restrict", "edit_wins", "delete_wins"};
    printf("policy %s%s\n", policies[history->rules.delete_policy],
           history->rules.freezing_state_count ? ", frozen columns" : "");
    if (history->context.parent_freeze)
        printf("the parent is frozen by device %u at number %u, seen %x\n",
               history->parent_freeze.device, history->parent_freeze.number,
               (unsigned)history->parent_freeze.seen);
    for (unsigned i = 0; i < history->op_count; i++) {
        const struct reference_op *op = &history->ops[i];
        printf("op %u: device %u number %u stamp %llu %s %s seen", i, op->device, op->number,
               (unsigned long long)op->stamp >> 16, op->role ? op->role : "-", kinds[op->kind]);
        for (unsigned b = 0; b < history->op_count; b++)
            if (op->seen >> b & 1)
                printf(" %u", b);
        for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
            if (op->writes[c])
                print_value(c, &op->values[c]);
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
