/* Rows with equal keys become one, whatever the order of arrival: random histories of a few rows,
 * played into a node that keeps of each row only what a store keeps (its writes, the row, the keys
 * that stand) and asks for clusters only where these keys meet, against the naive reference.
 * SATCHEL_HISTORIES and SATCHEL_SEED in the environment ask for more. */
#include "cluster_reference.h"
#include "history.h"

#include <satchel/cluster.h>
#include <satchel/operation.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    OPS_MAX = 20, /* of a history */
    HISTORIES = 4000,
    HISTORIES_TO_MEET_ALL = 1000,
    ALL_ORDERS_OPS_MAX = 5,
    SAMPLED_ORDERS = 8,
    DEVICES_MAX = 4,
    ARENA_BYTES_MAX = 64 << 20
};

static struct {
    unsigned long histories, orders, merged, duplicates, chains, splits, apart, deleted, moved,
        reborn;
} totals;

/* ---- histories ---- */

struct device {
    unsigned cursor, uploaded;
    unsigned own[CLUSTER_OPS_MAX];
    unsigned own_count;
    unsigned written; /* change sets */
    satchel_stamp last;
    int64_t clock_error;
};

struct world {
    struct history_random *random;
    struct cluster_op ops[CLUSTER_OPS_MAX];
    unsigned op_count;
    struct device devices[DEVICES_MAX];
    unsigned device_count;
    unsigned log[CLUSTER_OPS_MAX];
    unsigned log_count;
    int64_t now_ms;
    enum satchel_delete_policy policy;
    bool two_keys;
};

static unsigned below(struct world *world, unsigned limit)
{
    return history_below(world->random, limit);
}

static uint32_t log_prefix(const struct world *world, unsigned length)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < length; i++)
        set |= UINT32_C(1) << world->log[i];
    return set;
}

static const char *some_key(struct world *world)
{
    static const char *const keys[] = {"K", "K", "k", "L", "M", "", NULL};
    return keys[below(world, 7)];
}

static const char *some_name(struct world *world)
{
    static const char *const names[] = {"ann", "bo", "cy", NULL};
    return names[below(world, 4)];
}

/* The view that the device's first pending op on the row had of the column. */
static bool first_pending_view(const struct world *world, const struct device *device,
                               const struct cluster_state *shown, const struct cluster_op *op,
                               uint32_t column, struct cluster_exception *view)
{
    for (unsigned i = 0; i < device->own_count; i++) {
        const struct cluster_op *own = &world->ops[device->own[i]];
        if ((op->seen >> device->own[i] & 1) ||
            shown->rows[own->row].survivor != shown->rows[op->row].survivor)
            continue;
        if (column == SATCHEL_COLUMN_ROW ? own->kind != SATCHEL_OP_DELETE : !own->writes[column])
            continue;
        *view = (struct cluster_exception){column, own->kind == SATCHEL_OP_INSERT, own->seen};
        for (unsigned e = 0; e < own->exception_count; e++)
            if (own->exceptions[e].column == column)
                *view = own->exceptions[e];
        return true;
    }
    return false;
}

static void add_exceptions(struct world *world, const struct device *device,
                           const struct cluster_state *shown, struct cluster_op *op)
{
    struct cluster_exception view;
    if (op->kind == SATCHEL_OP_INSERT)
        return;
    for (uint32_t c = 1; c <= CLUSTER_COLUMNS; c++) {
        uint32_t column = c < CLUSTER_COLUMNS ? c : SATCHEL_COLUMN_ROW;
        if (c < CLUSTER_COLUMNS && op->kind == SATCHEL_OP_UPDATE && !op->writes[c])
            continue;
        if (first_pending_view(world, device, shown, op, column, &view) &&
            (view.is_none || view.seen != op->seen))
            op->exceptions[op->exception_count++] = view;
    }
}

static void write_columns(struct world *world, struct cluster_op *op)
{
    bool is_insert = op->kind == SATCHEL_OP_INSERT;
    bool is_keyed = is_insert || below(world, 2);
    unsigned written = 0;
    while (!is_insert && written == 0) {
        op->writes[CLUSTER_TAX] = is_keyed && below(world, 2);
        op->writes[CLUSTER_PHONE] = is_keyed && world->two_keys && below(world, 2);
        op->writes[CLUSTER_NAME] = below(world, 3) == 0;
        op->writes[CLUSTER_VISITS] = below(world, 3) == 0;
        for (unsigned c = 1; c < CLUSTER_COLUMNS; c++)
            written += op->writes[c];
    }
    for (unsigned c = 1; c < CLUSTER_COLUMNS; c++) {
        bool is_key = c == CLUSTER_TAX || c == CLUSTER_PHONE;
        if (is_insert)
            op->writes[c] = (c != CLUSTER_PHONE || world->two_keys) && below(world, 4) != 0;
        op->texts[c] = is_key ? some_key(world) : some_name(world);
        if (is_insert && c != CLUSTER_VISITS && !op->texts[c])
            op->writes[c] = false; /* the default */
        op->sets_apart[c] =
            !is_insert && is_key && op->texts[c] && *op->texts[c] && below(world, 4) == 0;
    }
    op->visits = op->writes[CLUSTER_VISITS] ? 1 + below(world, 9) : 0;
}

/* A row for the device to write to, and how it appears to it. Now and then it names a row as it was
 * before it was merged, as a device does that has not finished what it began. */
static void choose_row(struct world *world, const struct device *device,
                       const struct cluster_state *shown, struct cluster_op *op)
{
    unsigned rows = 2 + below(world, CLUSTER_ROWS - 1);
    bool was_inserted = false, exists;
    op->row = below(world, rows);
    if (shown->rows[op->row].survivor != op->row && below(world, 3))
        op->row = shown->rows[op->row].survivor;
    exists = shown->rows[shown->rows[op->row].survivor].exists;
    for (unsigned i = 0; i < world->op_count; i++) {
        const struct cluster_op *other = &world->ops[i];
        bool is_known = (op->seen >> i & 1) || other->device == op->device;
        if (is_known && other->row == op->row && other->kind == SATCHEL_OP_INSERT)
            was_inserted = true;
    }
    for (unsigned i = 0; i < device->own_count; i++) {
        const struct cluster_op *own = &world->ops[device->own[i]];
        if (!(op->seen >> device->own[i] & 1) &&
            shown->rows[own->row].survivor == shown->rows[op->row].survivor)
            exists = own->kind != SATCHEL_OP_DELETE;
    }
    if (!exists || !was_inserted)
        op->kind = SATCHEL_OP_INSERT;
    else
        op->kind = below(world, 6) ? SATCHEL_OP_UPDATE : SATCHEL_OP_DELETE;
}

/* What a device does with a key or a delete of a merged row: the same to the rows it knows to be
 * part of it. */
static void write_aliases(struct world *world, struct device *device,
                          const struct cluster_state *shown, const struct cluster_op *op)
{
    bool has_key = op->writes[CLUSTER_TAX] || op->writes[CLUSTER_PHONE];
    if (op->kind == SATCHEL_OP_INSERT || (op->kind == SATCHEL_OP_UPDATE && !has_key) ||
        op->sets_apart[CLUSTER_TAX] || op->sets_apart[CLUSTER_PHONE])
        return;
    unsigned part = 0;
    for (unsigned r = 0; r < CLUSTER_ROWS && world->op_count < OPS_MAX; r++) {
        if (r == op->row || shown->rows[r].survivor != shown->rows[op->row].survivor)
            continue;
        struct cluster_op *also = &world->ops[world->op_count];
        *also = *op;
        also->row = r;
        also->part = ++part;
        also->writes[CLUSTER_NAME] = false;
        also->writes[CLUSTER_VISITS] = false;
        also->visits = 0;
        device->own[device->own_count++] = world->op_count++;
    }
}

static void step_write(struct world *world, unsigned number)
{
    static struct cluster_state shown;
    struct device *device = &world->devices[number];
    struct cluster_op *op = &world->ops[world->op_count];
    *op = (struct cluster_op){.device = number, .number = device->written + 1};
    op->seen = log_prefix(world, device->cursor);
    satchel_stamp floor = device->last;
    for (unsigned i = 0; i < world->op_count; i++)
        if ((op->seen >> i & 1) && world->ops[i].stamp > floor)
            floor = world->ops[i].stamp;
    op->stamp = device->last = satchel_stamp_next(floor, world->now_ms + device->clock_error);
    cluster_compute(world->ops, world->op_count, op->seen, world->policy, &shown);
    choose_row(world, device, &shown, op);
    if (op->kind != SATCHEL_OP_DELETE)
        write_columns(world, op);
    add_exceptions(world, device, &shown, op);
    device->own[device->own_count++] = world->op_count++;
    device->written++;
    if (below(world, 4))
        write_aliases(world, device, &shown, op);
}

static void generate(struct world *world, struct history_random *random)
{
    *world = (struct world){.random = random, .now_ms = 1000000};
    world->device_count = 2 + below(world, DEVICES_MAX - 1);
    world->policy = below(world, 6) ? SATCHEL_DELETE_EDIT_WINS : SATCHEL_DELETE_DELETE_WINS;
    world->two_keys = below(world, 2);
    for (unsigned i = 0; i < world->device_count; i++)
        if (below(world, 3) == 0)
            world->devices[i].clock_error = (int64_t)below(world, 4000) - 2000;
    unsigned ops = below(world, 3) ? 2 + below(world, 4) : 6 + below(world, OPS_MAX - 5);
    while (world->op_count < ops && world->op_count < OPS_MAX) {
        unsigned number = below(world, world->device_count);
        struct device *device = &world->devices[number];
        world->now_ms += below(world, 400);
        switch (below(world, 4)) {
        case 0: device->cursor += below(world, world->log_count - device->cursor + 1); break;
        case 1: device->cursor = world->log_count; break;
        case 2: {
            unsigned some = below(world, device->own_count - device->uploaded + 1);
            if (below(world, 3))
                some = device->own_count - device->uploaded;
            while (some-- > 0)
                world->log[world->log_count++] = device->own[device->uploaded++];
            break;
        }
        default: step_write(world, number);
        }
    }
}

static void print_text(const char *text)
{
    if (text)
        printf(" '%s'", text);
    else
        printf(" NULL");
}

static void print_history(const struct world *world)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    printf("policy %d\n", (int)world->policy);
    for (unsigned i = 0; i < world->op_count; i++) {
        const struct cluster_op *op = &world->ops[i];
        printf("op %u: device %u number %u stamp %llu %s row %u seen", i, op->device, op->number,
               (unsigned long long)op->stamp >> 16, kinds[op->kind], op->row);
        for (unsigned b = 0; b < world->op_count; b++)
            if (op->seen >> b & 1)
                printf(" %u", b);
        for (unsigned c = 1; c < CLUSTER_COLUMNS; c++) {
            if (!op->writes[c])
                continue;
            printf("; c%u%s", c, op->sets_apart[c] ? " apart" : "");
            if (c == CLUSTER_VISITS)
                printf(" +%lld", (long long)op->visits);
            else
                print_text(op->texts[c]);
        }
        for (unsigned e = 0; e < op->exception_count; e++)
            printf("; except %d%s %x", (int)op->exceptions[e].column,
                   op->exceptions[e].is_none ? " none" : "", (unsigned)op->exceptions[e].seen);
        printf("\n");
    }
}

/* ---- ops as writes ---- */

struct writes {
    struct satchel_write items[CLUSTER_OPS_MAX];
    struct satchel_position positions[CLUSTER_OPS_MAX];
    struct satchel_position seen[CLUSTER_OPS_MAX][CLUSTER_COLUMNS + 1][CLUSTER_OPS_MAX];
    struct satchel_field fields[CLUSTER_OPS_MAX][CLUSTER_COLUMNS];
    struct satchel_exception exceptions[CLUSTER_OPS_MAX][CLUSTER_COLUMNS];
};

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
    return (struct satchel_position){id_with(0xa0, op), 1 + op};
}

static struct satchel_vector vector_of(uint32_t set, struct satchel_position *storage)
{
    size_t count = 0;
    for (unsigned i = 0; i < CLUSTER_OPS_MAX; i++)
        if (set >> i & 1)
            storage[count++] = position_of(i);
    return (struct satchel_vector){storage, count};
}

static struct satchel_value text_value(const char *text)
{
    return text ? satchel_value_text(satchel_span_text(text)) : satchel_value_null();
}

static void make_write(const struct cluster_op *op, unsigned index, struct writes *writes)
{
    struct satchel_write *write = &writes->items[index];
    writes->positions[index] = position_of(index);
    *write = (struct satchel_write){
        .order = {op->stamp, id_with(0xd0, op->device), op->number, op->part},
        .positions = {&writes->positions[index], 1},
        .seen = vector_of(op->seen, writes->seen[index][CLUSTER_COLUMNS]),
        .kind = op->kind,
        .fields = writes->fields[index],
        .exceptions = writes->exceptions[index],
        .exception_count = op->exception_count};
    for (uint32_t c = 1; c < CLUSTER_COLUMNS; c++) {
        if (!op->writes[c])
            continue;
        struct satchel_value value =
            c == CLUSTER_VISITS ? satchel_value_integer(op->visits) : text_value(op->texts[c]);
        if (op->sets_apart[c])
            value = satchel_value_blob(value.bytes);
        writes->fields[index][write->field_count++] = (struct satchel_field){c, value};
    }
    for (unsigned e = 0; e < op->exception_count; e++)
        writes->exceptions[index][e] = (struct satchel_exception){
            op->exceptions[e].column,
            {op->exceptions[e].is_none ? SATCHEL_VIEW_NONE : SATCHEL_VIEW_SEEN,
             vector_of(op->exceptions[e].is_none ? 0 : op->exceptions[e].seen,
                       writes->seen[index][e])}};
}

/* ---- one node ---- */

struct node_row {
    struct satchel_write arrived[CLUSTER_OPS_MAX];
    size_t arrived_count;
    unsigned survivor;
    struct satchel_row row;
    struct satchel_value values[CLUSTER_COLUMNS];
    struct satchel_row_key *keys; /* as the store's index has them */
    uint32_t key_count;
};

struct node {
    const struct world *world;
    const struct writes *writes;
    const struct satchel_table_rules *rules;
    struct satchel_arena *arena;
    uint64_t seed;
    struct node_row rows[CLUSTER_ROWS];
    unsigned arrived[CLUSTER_OPS_MAX];
    unsigned arrived_count;
};

/* ---- a row as a store keeps it ---- */

/* Ids as numbers, as a store's table has them. */
static struct {
    struct satchel_id ids[4 * CLUSTER_OPS_MAX];
    uint32_t count;
} numbers;

static enum satchel_status number_of(void *context, const struct satchel_id *id, uint32_t *number)
{
    (void)context;
    for (*number = 0; *number < numbers.count; (*number)++)
        if (satchel_id_equal(&numbers.ids[*number], id))
            return SATCHEL_OK;
    numbers.ids[numbers.count++] = *id;
    return SATCHEL_OK;
}

static enum satchel_status id_of(void *context, uint32_t number, struct satchel_id *id)
{
    (void)context;
    *id = numbers.ids[number];
    return SATCHEL_OK;
}

/* Nothing is lost by it: what is open on a merged row stays so. */
static void store_and_load(struct node *node, unsigned row)
{
    const struct satchel_id_table ids = {number_of, id_of, NULL};
    struct satchel_buffer record;
    satchel_buffer_init(&record, 1 << 20, NULL);
    assert_int_equal(satchel_version_encode(node->rows[row].row.version, &ids, &record),
                     SATCHEL_OK);
    assert_int_equal(satchel_version_decode(node->arena, satchel_buffer_span(&record), &ids,
                                            &node->rows[row].row.version),
                     SATCHEL_OK);
    satchel_buffer_deinit(&record);
}

static const char names[CLUSTER_ROWS][2] = {"b", "a", "d", "c"};

static void clear_row(struct node *node, unsigned row)
{
    struct node_row *of = &node->rows[row];
    of->row =
        (struct satchel_row){.values = of->values, .version = satchel_version_new(node->arena)};
    assert_non_null(of->row.version);
    of->key_count = 0;
}

static void index_keys(struct node *node, unsigned row)
{
    struct node_row *of = &node->rows[row];
    assert_int_equal(
        satchel_row_keys(node->rules, &of->row, node->arena, &of->keys, &of->key_count),
        SATCHEL_OK);
}

static bool has_key(const struct node_row *row, uint32_t column, struct satchel_span match)
{
    for (uint32_t i = 0; i < row->key_count; i++)
        if (row->keys[i].column == column && satchel_span_equal(row->keys[i].match, match))
            return true;
    return false;
}

static void add_cluster(const struct node *node, unsigned survivor, bool *is_member)
{
    for (unsigned r = 0; r < CLUSTER_ROWS; r++)
        is_member[r] = is_member[r] || node->rows[r].survivor == survivor;
}

/* The rows that are one with the written row, and those that its new keys may link it to. */
static unsigned find_members(const struct node *node, unsigned row,
                             const struct satchel_write *write, bool *is_member)
{
    unsigned count = 0;
    add_cluster(node, node->rows[row].survivor, is_member);
    for (uint32_t i = 0; i < write->field_count; i++) {
        const struct satchel_field *field = &write->fields[i];
        if (field->column != CLUSTER_TAX && field->column != CLUSTER_PHONE)
            continue;
        struct satchel_buffer match;
        const struct satchel_value text = field->value.type == SATCHEL_BLOB
                                              ? satchel_value_text(field->value.bytes)
                                              : field->value;
        satchel_buffer_init(&match, 1000, NULL);
        assert_int_equal(satchel_key_match(&text, &match), SATCHEL_OK);
        for (unsigned r = 0; match.size > 0 && r < CLUSTER_ROWS; r++)
            if (has_key(&node->rows[r], field->column, satchel_buffer_span(&match)))
                add_cluster(node, node->rows[r].survivor, is_member);
        satchel_buffer_deinit(&match);
    }
    for (unsigned r = 0; r < CLUSTER_ROWS; r++)
        count += is_member[r];
    return count;
}

static void merge_alone(struct node *node, unsigned row, const struct satchel_write *write)
{
    struct node_row *of = &node->rows[row];
    struct satchel_merge_result result;
    struct satchel_error error = {0};
    enum satchel_status status =
        satchel_row_merge(node->rules, &of->row, write, node->arena, &result, &error);
    if (status == SATCHEL_NEED_TIMELINE)
        status = satchel_row_rebuild(node->rules, &of->row, of->arrived, of->arrived_count,
                                     node->arena, &result, &error);
    if (status != SATCHEL_OK)
        fail_msg("%s: %s", satchel_status_name(status), error.message);
    index_keys(node, row);
}

static void merge_clusters(struct node *node, unsigned row, const bool *is_member)
{
    struct satchel_member members[CLUSTER_ROWS];
    unsigned rows[CLUSTER_ROWS];
    uint32_t count = 0;
    struct satchel_clusters *clusters;
    for (unsigned i = CLUSTER_ROWS; i-- > 0;) { /* in no order of meaning */
        if (!is_member[i])
            continue;
        rows[count] = i;
        members[count++] = (struct satchel_member){
            satchel_span_text(names[i]), node->rows[i].arrived, node->rows[i].arrived_count};
    }
    assert_int_equal(satchel_clusters_new(&clusters, node->rules, members, count, node->arena),
                     SATCHEL_OK);
    for (uint32_t i = 0; i < count; i++) {
        node->rows[rows[i]].survivor = rows[satchel_clusters_survivor(clusters, i)];
        if (node->rows[rows[i]].survivor != rows[i])
            clear_row(node, rows[i]);
        assert_int_equal(satchel_clusters_keys(clusters, i, node->arena, &node->rows[rows[i]].keys,
                                               &node->rows[rows[i]].key_count),
                         SATCHEL_OK);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct node_row *of = &node->rows[rows[i]];
        struct satchel_merge_result result;
        struct satchel_error error = {0};
        const struct satchel_write *last = NULL;
        bool existed = of->row.exists;
        if (of->survivor != rows[i])
            continue;
        if (node->rows[row].survivor == rows[i])
            last = &node->rows[row].arrived[node->rows[row].arrived_count - 1];
        enum satchel_status status =
            satchel_clusters_rebuild(clusters, i, &of->row, last, node->arena, &result, &error);
        if (status != SATCHEL_OK)
            fail_msg("%s: %s", satchel_status_name(status), error.message);
        assert_int_equal(result.existed_before, existed);
        assert_int_equal(result.outcomes != NULL, last != NULL);
    }
}

/* A merge of one write into a row that others were merged into needs them all. */
static void expect_timeline(struct node *node, unsigned row, const struct satchel_write *write)
{
    struct satchel_merge_result result;
    bool is_merged = false;
    for (unsigned r = 0; r < CLUSTER_ROWS; r++)
        is_merged = is_merged || (r != row && node->rows[r].survivor == row);
    if (is_merged && node->rows[row].survivor == row)
        assert_int_equal(
            satchel_row_merge(node->rules, &node->rows[row].row, write, node->arena, &result, NULL),
            SATCHEL_NEED_TIMELINE);
}

static void deliver(struct node *node, unsigned op)
{
    unsigned row = node->world->ops[op].row;
    struct node_row *of = &node->rows[row];
    bool is_member[CLUSTER_ROWS] = {false};
    for (unsigned r = 0; r < CLUSTER_ROWS; r++)
        store_and_load(node, r);
    expect_timeline(node, row, &node->writes->items[op]);
    node->arrived[node->arrived_count++] = op;
    struct satchel_write *write = &of->arrived[of->arrived_count++];
    *write = node->writes->items[op];
    write->arrival = node->arrived_count;
    if (find_members(node, row, write, is_member) == 1)
        merge_alone(node, row, write);
    else
        merge_clusters(node, row, is_member);
}

/* ---- comparing ---- */

static unsigned op_of(const struct world *world, const struct satchel_order *order)
{
    for (unsigned i = 0; i < world->op_count; i++) {
        struct satchel_id device = id_with(0xd0, world->ops[i].device);
        if (world->ops[i].number == order->number && world->ops[i].part == order->part &&
            satchel_id_equal(&device, &order->device))
            return i;
    }
    return CLUSTER_OPS_MAX;
}

static bool is_expected(const struct node *node, const struct satchel_conflict *conflict,
                        const struct cluster_row *expected)
{
    enum satchel_severity severity =
        conflict->kind == SATCHEL_CONFLICT_RULE ? SATCHEL_SEVERITY_NOTICE : SATCHEL_SEVERITY_REVIEW;
    for (unsigned i = 0; i < expected->conflict_count; i++) {
        const struct cluster_conflict *other = &expected->conflicts[i];
        if (other->kind == conflict->kind && other->unit == conflict->unit &&
            other->loser == op_of(node->world, &conflict->loser) &&
            other->winner == op_of(node->world, &conflict->winner))
            return conflict->severity == severity;
    }
    return false;
}

static const char *difference(const struct node *node, unsigned r,
                              const struct cluster_state *expected)
{
    const struct node_row *of = &node->rows[r];
    const struct cluster_row *row = &expected->rows[r];
    if (of->survivor != row->survivor)
        return "who survives";
    if (of->survivor != r)
        return NULL;
    if (of->row.exists != row->exists)
        return "existence";
    if (!row->exists)
        return NULL;
    for (unsigned c = 1; c < CLUSTER_COLUMNS; c++) {
        struct satchel_value value =
            c == CLUSTER_VISITS ? satchel_value_integer(row->visits) : text_value(row->texts[c]);
        if (!satchel_value_equal(&of->row.values[c], &value))
            return "a value";
    }
    struct satchel_conflict_list conflicts;
    assert_int_equal(satchel_row_conflicts(node->rules, &of->row, node->arena, &conflicts),
                     SATCHEL_OK);
    if (conflicts.count != row->conflict_count)
        return "the number of open conflicts";
    for (size_t i = 0; i < conflicts.count; i++)
        if (!is_expected(node, &conflicts.items[i], row))
            return "a conflict";
    return NULL;
}

static void print_conflicts(const struct node *node, unsigned r, const struct cluster_row *expected)
{
    struct satchel_conflict_list conflicts;
    assert_int_equal(
        satchel_row_conflicts(node->rules, &node->rows[r].row, node->arena, &conflicts),
        SATCHEL_OK);
    for (unsigned i = 0; i < expected->conflict_count; i++)
        printf("expected: kind %d unit %d, %u lost to %u\n", (int)expected->conflicts[i].kind,
               (int)expected->conflicts[i].unit, expected->conflicts[i].loser,
               expected->conflicts[i].winner);
    for (size_t i = 0; i < conflicts.count; i++)
        printf("found: kind %d unit %d, %u lost to %u\n", (int)conflicts.items[i].kind,
               (int)conflicts.items[i].unit, op_of(node->world, &conflicts.items[i].loser),
               op_of(node->world, &conflicts.items[i].winner));
}

static void check(const struct node *node)
{
    static struct cluster_state expected;
    uint32_t set = 0;
    for (unsigned i = 0; i < node->arrived_count; i++)
        set |= UINT32_C(1) << node->arrived[i];
    cluster_compute(node->world->ops, node->world->op_count, set, node->world->policy, &expected);
    for (unsigned r = 0; r < CLUSTER_ROWS; r++) {
        const char *differing = difference(node, r, &expected);
        if (!differing)
            continue;
        print_history(node->world);
        printf("SATCHEL_SEED=%llu SATCHEL_HISTORIES=1 repeats it; arrival:",
               (unsigned long long)node->seed);
        for (unsigned i = 0; i < node->arrived_count; i++)
            printf(" %u", node->arrived[i]);
        printf("\n");
        print_conflicts(node, r, &expected.rows[r]);
        fail_msg("row %u differs from the reference in %s", r, differing);
    }
}

/* ---- orders of arrival ---- */

static bool comes_before(const struct cluster_op *a, const struct cluster_op *b)
{
    return a->number < b->number || (a->number == b->number && a->part < b->part);
}

static bool may_arrive(const struct world *world, unsigned op, uint32_t arrived)
{
    const struct cluster_op *next = &world->ops[op];
    if ((arrived >> op & 1) || (next->seen & ~arrived))
        return false;
    for (unsigned i = 0; i < world->op_count; i++)
        if (world->ops[i].device == next->device && comes_before(&world->ops[i], next) &&
            !(arrived >> i & 1))
            return false;
    return true;
}

static void check_order(struct node *node, const unsigned *order, bool check_every_step)
{
    totals.orders++;
    satchel_arena_reset(node->arena);
    numbers.count = 0;
    node->arrived_count = 0;
    for (unsigned r = 0; r < CLUSTER_ROWS; r++) {
        node->rows[r].arrived_count = 0;
        node->rows[r].survivor = r;
        clear_row(node, r);
    }
    for (unsigned i = 0; i < node->world->op_count; i++) {
        deliver(node, order[i]);
        if (check_every_step || i + 1 == node->world->op_count)
            check(node);
    }
}

static void all_orders(struct node *node, unsigned *order, unsigned length, uint32_t arrived)
{
    if (length == node->world->op_count) {
        check_order(node, order, false);
        return;
    }
    for (unsigned op = 0; op < node->world->op_count; op++) {
        if (!may_arrive(node->world, op, arrived))
            continue;
        order[length] = op;
        all_orders(node, order, length + 1, arrived | UINT32_C(1) << op);
    }
}

static void sampled_order(const struct node *node, struct history_random *random, unsigned *order)
{
    uint32_t arrived = 0;
    for (unsigned length = 0; length < node->world->op_count;) {
        unsigned op = history_below(random, node->world->op_count);
        if (!may_arrive(node->world, op, arrived))
            continue;
        order[length++] = op;
        arrived |= UINT32_C(1) << op;
    }
}

/* ---- what the histories met ---- */

static unsigned count_aliases(const struct cluster_state *state, unsigned *largest)
{
    unsigned aliases = 0;
    *largest = 0;
    for (unsigned r = 0; r < CLUSTER_ROWS; r++) {
        unsigned size = 0;
        aliases += state->rows[r].survivor != r;
        for (unsigned s = 0; s < CLUSTER_ROWS; s++)
            size += state->rows[s].survivor == r;
        *largest = size > *largest ? size : *largest;
    }
    return aliases;
}

static void count_events(const struct world *world)
{
    static struct cluster_state before, after;
    bool split = false, moved = false, apart = false, deleted = false, reborn = false;
    unsigned aliases = 0, largest = 0, duplicates = 0;
    cluster_compute(world->ops, world->op_count, 0, world->policy, &before);
    for (unsigned i = 0; i < world->op_count; i++) {
        const struct cluster_op *op = &world->ops[i];
        cluster_compute(world->ops, world->op_count, (UINT32_C(2) << i) - 1, world->policy, &after);
        for (unsigned r = 0; r < CLUSTER_ROWS; r++) {
            unsigned was = before.rows[r].survivor, is = after.rows[r].survivor;
            if (was != r && is == r && after.rows[was].survivor == was) {
                split = true;
                apart = apart || op->sets_apart[CLUSTER_TAX] || op->sets_apart[CLUSTER_PHONE];
            }
            moved = moved || (was != r && is == r && after.rows[was].survivor == r);
        }
        unsigned row = before.rows[op->row].survivor, unused;
        bool was_merged = count_aliases(&before, &unused) > 0;
        deleted = deleted || (was_merged && before.rows[row].exists &&
                              after.rows[row].survivor == row && !after.rows[row].exists);
        reborn =
            reborn || (was_merged && op->kind == SATCHEL_OP_INSERT && !before.rows[row].exists &&
                       after.rows[after.rows[op->row].survivor].exists);
        before = after;
    }
    aliases = count_aliases(&after, &largest);
    for (unsigned r = 0; r < CLUSTER_ROWS; r++)
        for (unsigned i = 0; i < after.rows[r].conflict_count; i++)
            duplicates += after.rows[r].conflicts[i].kind == SATCHEL_CONFLICT_DUPLICATE;
    totals.histories++;
    totals.merged += aliases > 0;
    totals.duplicates += duplicates > 0;
    totals.chains += largest > 2;
    totals.splits += split;
    totals.apart += apart;
    totals.moved += moved;
    totals.deleted += deleted;
    totals.reborn += reborn;
}

static void report(uint64_t seed)
{
    const struct {
        const char *name;
        unsigned long count;
    } counts[] = {
        {"merged rows", totals.merged},           {"an open duplicate", totals.duplicates},
        {"three rows in one", totals.chains},     {"a cluster that split", totals.splits},
        {"rows set apart", totals.apart},         {"another survivor", totals.moved},
        {"a merged row deleted", totals.deleted}, {"a new life of a merged row", totals.reborn}};
    printf("seed %llu: %lu histories, %lu orders\n", (unsigned long long)seed, totals.histories,
           totals.orders);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        printf("%s in %lu histories\n", counts[i].name, counts[i].count);
        assert_true(totals.histories < HISTORIES_TO_MEET_ALL || counts[i].count > 0);
    }
}

static void set_rules(struct satchel_column_rules *columns, struct satchel_table_rules *rules)
{
    for (uint32_t c = 0; c < CLUSTER_COLUMNS; c++)
        columns[c] = (struct satchel_column_rules){.rule = SATCHEL_RULE_LWW, .unit = c};
    columns[CLUSTER_ID].rule = SATCHEL_RULE_ID;
    columns[CLUSTER_ID].in_key = true;
    columns[CLUSTER_TAX].rule = SATCHEL_RULE_KEY;
    columns[CLUSTER_PHONE].rule = SATCHEL_RULE_KEY;
    columns[CLUSTER_VISITS].rule = SATCHEL_RULE_COUNTER;
    columns[CLUSTER_VISITS].default_value = satchel_value_integer(0);
    *rules = (struct satchel_table_rules){
        .columns = columns, .column_count = CLUSTER_COLUMNS, .has_keys = true};
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_clusters__every_order_of_arrival_gives_the_reference(void **state)
{
    (void)state;
    static struct world world;
    static struct writes writes;
    static struct node node;
    struct satchel_column_rules columns[CLUSTER_COLUMNS];
    struct satchel_table_rules rules;
    struct satchel_arena arena;
    uint64_t seed = from_environment("SATCHEL_SEED", 20261122);
    uint64_t histories = from_environment("SATCHEL_HISTORIES", HISTORIES);
    satchel_arena_init(&arena, ARENA_BYTES_MAX, NULL);
    set_rules(columns, &rules);
    for (uint64_t i = 0; i < histories; i++) {
        struct history_random random = {seed + i};
        unsigned order[CLUSTER_OPS_MAX] = {0};
        generate(&world, &random);
        for (unsigned op = 0; op < world.op_count; op++)
            make_write(&world.ops[op], op, &writes);
        rules.delete_policy = world.policy;
        node.world = &world;
        node.writes = &writes;
        node.rules = &rules;
        node.arena = &arena;
        node.seed = seed + i;
        count_events(&world);
        sampled_order(&node, &random, order);
        check_order(&node, order, true);
        if (world.op_count <= ALL_ORDERS_OPS_MAX) {
            all_orders(&node, order, 0, 0);
            continue;
        }
        for (unsigned sample = 0; sample < SAMPLED_ORDERS; sample++) {
            sampled_order(&node, &random, order);
            check_order(&node, order, false);
        }
    }
    report(seed);
    satchel_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clusters__every_order_of_arrival_gives_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
