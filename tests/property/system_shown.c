/* Owns what a replica must show on the way: when it has heard everything, the server's values, and
 * on top of them its own pending writes. */
#include "system_world.h"

enum { PENDING_MAX = SYSTEM_ROW_OPS_MAX + 8 };

struct shown {
    struct system_device *device;
    const struct system_snapshot *replica, *store;
    uint64_t answered;
    const struct system_op *pending[PENDING_MAX];
    unsigned pending_count;
};

static void find_pending(struct shown *shown, struct satchel_span name)
{
    struct system_world *world = shown->device->world;
    shown->pending_count = 0;
    for (size_t i = 0; i < world->op_count; i++) {
        const struct system_change *change = &world->changes[world->ops[i].change];
        if (change->device == shown->device->index && change->number > shown->answered &&
            satchel_span_equal(world->ops[i].name, name) && shown->pending_count < PENDING_MAX)
            shown->pending[shown->pending_count++] = &world->ops[i];
    }
}

static void fail_row(struct shown *shown, const char *what, const struct system_row *row,
                     const struct system_row *other)
{
    struct satchel_buffer text;
    satchel_buffer_init(&text, 1 << 20, NULL);
    system_describe_row(shown->device->world, &text, row);
    system_put(&text, " server: ", 9);
    if (other)
        system_describe_row(shown->device->world, &text, other);
    system_fail(shown->device->world, "device %u, %u ops pending on the row: %s: %s",
                shown->device->index, shown->pending_count, what, satchel_buffer_text(&text));
}

/* What column `c` must be, where all that is pending are updates of a row the server has. */
static struct satchel_value expected_value(const struct shown *shown,
                                           const struct system_row *stored, uint32_t c)
{
    const struct satchel_column_rules *rules = &stored->table->rules.columns[c];
    struct satchel_value value = stored->values[c];
    for (unsigned i = 0; i < shown->pending_count; i++) {
        const struct system_op *op = shown->pending[i];
        if (!system_op_writes(op, rules->unit) || c >= op->table->column_count)
            continue;
        if (rules->rule == SATCHEL_RULE_COUNTER)
            value = satchel_value_integer((value.type == SATCHEL_INTEGER ? value.integer : 0) +
                                          system_op_step(op, c));
        else
            value = op->after[c];
    }
    return value;
}

static void check_row(struct shown *shown, struct satchel_span name)
{
    const struct system_row *row = system_snapshot_find(shown->replica, name);
    const struct system_row *stored = system_snapshot_find(shown->store, name);
    const struct system_row *any = row ? row : stored;
    bool are_updates = true;
    if (strcmp(any->table->name, "stock") == 0)
        return; /* a CHECK may keep pending writes from view */
    find_pending(shown, name);
    for (unsigned i = 0; i < shown->pending_count; i++)
        are_updates = are_updates && shown->pending[i]->kind == SATCHEL_OP_UPDATE;
    system_counts.shown_pending += shown->pending_count > 0;
    if (shown->pending_count > 0) {
        enum satchel_op_kind last = shown->pending[shown->pending_count - 1]->kind;
        if ((last == SATCHEL_OP_DELETE) != (row == NULL))
            fail_row(shown, row ? "a deleted row is shown" : "a written row is not shown", any,
                     stored);
    } else if (!row != !stored) {
        fail_row(shown, row ? "is not on the server" : "is not shown", any, stored);
    }
    for (uint32_t c = 0; are_updates && row && stored && c < row->table->column_count; c++) {
        struct satchel_value expected = expected_value(shown, stored, c);
        if (!satchel_value_equal(&row->values[c], &expected))
            fail_row(shown, row->table->columns[c].name, row, stored);
    }
}

void system_check_shown(struct system_device *device)
{
    struct system_world *world = device->world;
    sqlite3 *db = system_app(device, 0), *central = satchel_store_sqlite_db(world->server.store);
    struct system_snapshot replica, store;
    struct shown shown = {.device = device, .replica = &replica, .store = &store};
    if ((uint64_t)system_integer(world, db, "SELECT cursor FROM satchel_replica") != world->head ||
        system_schema(world, db) != system_schema(world, central))
        return;
    shown.answered = (uint64_t)system_integer(world, db, "SELECT last_number FROM satchel_replica");
    system_snapshot_take(world, db, &replica);
    system_snapshot_take(world, central, &store);
    for (size_t i = 0; i < replica.count; i++)
        check_row(&shown, replica.rows[i].name);
    for (size_t i = 0; i < store.count; i++)
        check_row(&shown, store.rows[i].name);
    system_counts.shown_checks++;
}
