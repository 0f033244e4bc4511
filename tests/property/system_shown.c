/* Owns what a replica must show on the way: when it has heard everything, the server's values, and
 * on top of them its own pending writes. */
#include "system_world.h"

#include <satchel/operation.h>

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

/* A follower written alone is shown while its leader is what it was when that was written. */
static bool is_shown(const struct system_op *op, const struct satchel_field *fields, uint32_t count,
                     uint32_t column, const struct satchel_value *values)
{
    const struct satchel_column_rules *rules = op->table->rules.columns;
    if (rules[column].rule != SATCHEL_RULE_FOLLOWS)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (rules[fields[i].column].unit == rules[column].unit &&
            rules[fields[i].column].rule != SATCHEL_RULE_FOLLOWS)
            return true;
    for (uint32_t i = 0; i < op->table->column_count; i++)
        if (rules[i].unit == rules[column].unit && rules[i].rule != SATCHEL_RULE_FOLLOWS &&
            !satchel_value_equal(&values[i], &op->before[i]))
            return false;
    return true;
}

/* What the columns must be, where all that is pending are updates of a row the server has. */
static void expected_values(const struct shown *shown, const struct system_row *stored,
                            struct satchel_value *values)
{
    struct system_world *world = shown->device->world;
    memcpy(values, stored->values, stored->table->column_count * sizeof *values);
    for (unsigned i = 0; i < shown->pending_count; i++) {
        const struct system_op *op = shown->pending[i];
        struct satchel_field fields[SYSTEM_COLUMNS_MAX];
        uint32_t count = system_op_fields(world, op, fields);
        for (uint32_t f = 0; f < count; f++)
            if (is_shown(op, fields, count, fields[f].column, values))
                system_ok(world,
                          satchel_operation_apply(&op->table->rules.columns[fields[f].column],
                                                  op->kind, &values[fields[f].column],
                                                  &fields[f].value, &world->arena,
                                                  &values[fields[f].column]),
                          "apply an operation", NULL);
    }
}

/* What the application wrote is shown in its own form until the server has answered. */
static bool is_same(struct system_world *world, const struct satchel_column_rules *rules,
                    const struct satchel_value *shown, const struct satchel_value *expected)
{
    struct satchel_value canonical;
    if (satchel_value_equal(shown, expected))
        return true;
    return satchel_value_canonical(rules, shown, &world->arena, &canonical) == SATCHEL_OK &&
           satchel_value_equal(&canonical, expected);
}

static void check_row(struct shown *shown, struct satchel_span name)
{
    const struct system_row *row = system_snapshot_find(shown->replica, name);
    const struct system_row *stored = system_snapshot_find(shown->store, name);
    const struct system_row *any = row ? row : stored;
    bool are_updates = true;
    struct satchel_value expected[SYSTEM_COLUMNS_MAX];
    if (strcmp(any->table->name, "stock") == 0)
        return; /* a CHECK may keep pending writes from view */
    if (any->table->rules.has_keys)
        return; /* a pending write to a row that was merged is shown on another */
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
    if (!are_updates || !row || !stored)
        return;
    expected_values(shown, stored, expected);
    for (uint32_t c = 0; c < row->table->column_count; c++) {
        if (!is_same(shown->device->world, &row->table->rules.columns[c], &row->values[c],
                     &expected[c]))
            fail_row(shown, row->table->columns[c].name, row, stored);
    }
}

static bool follows_server(struct system_world *world, sqlite3 *db)
{
    sqlite3_stmt *select = NULL;
    sqlite3 *central = satchel_store_sqlite_db(world->server.store);
    char node[33] = "";
    bool follows = false;
    for (int i = 0; i < 2; i++) {
        if (sqlite3_prepare_v2(i == 0 ? central : db,
                               i == 0 ? "SELECT hex(node) FROM satchel_workspace"
                                      : "SELECT hex(node) FROM satchel_replica",
                               -1, &select, NULL) != SQLITE_OK ||
            sqlite3_step(select) != SQLITE_ROW)
            system_fail(world, "no node");
        const char *text = (const char *)sqlite3_column_text(select, 0);
        if (i == 0)
            snprintf(node, sizeof node, "%s", text);
        else
            follows = text && strcmp(text, node) == 0;
        sqlite3_finalize(select);
    }
    return follows;
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
    /* It has not met the restored server yet, or not heard what that has of rows in doubt. */
    if (world->was_restored &&
        (system_integer(world, db, "SELECT count(*) FROM satchel_doubt") > 0 ||
         !follows_server(world, db)))
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
