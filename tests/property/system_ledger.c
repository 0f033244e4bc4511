/* Owns the ledger: what every device committed, as its tables tell by comparing them before and
 * after. Capture must say the same; what each write had been shown is modelled here by the words of
 * the design, from the cursor and the writes still pending. */
#include "system_world.h"

#include <stdlib.h>

/* ---- snapshots ---- */

static void read_table(struct system_world *world, sqlite3 *db, const struct satchel_table *table,
                       struct system_snapshot *out, size_t *capacity)
{
    sqlite3_stmt *select = NULL;
    char sql[200];
    int code;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", table->name);
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK)
        system_fail(world, "%s: %s", sql, sqlite3_errmsg(db));
    system_check(world, sqlite3_column_count(select) == (int)table->column_count,
                 "%s has %d columns", table->name, sqlite3_column_count(select));
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
        if (out->count == *capacity) {
            *capacity = *capacity ? *capacity * 2 : 32;
            struct system_row *rows =
                SATCHEL_ARENA_ARRAY(&world->arena, struct system_row, *capacity);
            system_check(world, rows != NULL, "no memory");
            if (out->count)
                memcpy(rows, out->rows, out->count * sizeof *rows);
            out->rows = rows;
        }
        struct system_row *row = &out->rows[out->count++];
        row->table = table;
        row->values = SATCHEL_ARENA_ARRAY(&world->arena, struct satchel_value, table->column_count);
        system_check(world, row->values != NULL, "no memory");
        for (uint32_t i = 0; i < table->column_count; i++) {
            struct satchel_value value = satchel_value_of_column(select, (int)i);
            system_ok(world, satchel_value_copy(&world->arena, &value, &row->values[i]), "copy",
                      NULL);
        }
        for (uint32_t i = 0; i < table->key_count; i++)
            key[i] = row->values[table->key_columns[i]];
        satchel_buffer_clear(&world->scratch);
        system_ok(world, satchel_row_name(&world->scratch, table->number, key, table->key_count),
                  "name a row", NULL);
        row->name = satchel_arena_copy(&world->arena, satchel_buffer_span(&world->scratch));
    }
    system_check(world, code == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(select);
}

static int compare_rows(const void *left, const void *right)
{
    const struct system_row *a = left, *b = right;
    return satchel_span_compare(a->name, b->name);
}

void system_snapshot_take(struct system_world *world, sqlite3 *db, struct system_snapshot *out)
{
    const struct satchel_schema *schema = system_schema(world, db);
    size_t capacity = 0;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < schema->table_count; i++)
        if (!schema->tables[i].is_local)
            read_table(world, db, &schema->tables[i], out, &capacity);
    if (out->count)
        qsort(out->rows, out->count, sizeof *out->rows, compare_rows);
}

const struct system_row *system_snapshot_find(const struct system_snapshot *snapshot,
                                              struct satchel_span name)
{
    const struct system_row key = {.name = name};
    return snapshot->count
               ? bsearch(&key, snapshot->rows, snapshot->count, sizeof key, compare_rows)
               : NULL;
}

void system_describe_value(struct satchel_buffer *out, const struct satchel_value *value)
{
    static const char *const types[] = {"", "i", "r", "t", "b"};
    char hex[2 * 40 + 1];
    struct satchel_span bytes = value->bytes;
    enum satchel_status status = SATCHEL_OK;
    switch (value->type) {
    case SATCHEL_NULL: status = satchel_buffer_format(out, "NULL"); break;
    case SATCHEL_INTEGER:
        status = satchel_buffer_format(out, "%lld", (long long)value->integer);
        break;
    case SATCHEL_REAL: status = satchel_buffer_format(out, "%.17gr", value->real); break;
    case SATCHEL_TEXT:
        status = satchel_buffer_format(out, "'%.*s'", (int)bytes.size, (const char *)bytes.data);
        break;
    case SATCHEL_BLOB:
        if (bytes.size > 40)
            bytes.size = 40;
        satchel_hex(bytes, hex);
        status = satchel_buffer_format(out, "x%s%s", types[value->type], hex);
        break;
    }
    (void)status;
}

void system_describe_row(struct system_world *world, struct satchel_buffer *out,
                         const struct system_row *row)
{
    (void)world;
    if (satchel_buffer_format(out, "%s(", row->table->name) != SATCHEL_OK)
        return;
    for (uint32_t i = 0; i < row->table->column_count; i++) {
        if (satchel_buffer_format(out, "%s%s=", i ? ", " : "", row->table->columns[i].name) !=
            SATCHEL_OK)
            return;
        system_describe_value(out, &row->values[i]);
    }
    system_put(out, ")", 1);
}

/* ---- what a transaction did ---- */

static const struct satchel_column_rules *rules_of(const struct system_op *op, uint32_t column)
{
    return &op->table->rules.columns[column];
}

static struct row_change change_of(const struct system_op *op)
{
    return (struct row_change){op->kind, op->table, op->before, op->after};
}

uint32_t system_op_fields(struct system_world *world, const struct system_op *op,
                          struct satchel_field *fields)
{
    const struct row_change change = change_of(op);
    uint32_t count = 0;
    system_ok(world, row_change_fields(&change, &world->arena, fields, &count), "make an operation",
              NULL);
    return count;
}

static bool part_agrees(struct system_world *world, const struct system_op *op,
                        const struct satchel_part *part)
{
    const struct row_change change = change_of(op);
    return row_change_agrees(&change, &world->arena, part);
}

bool system_op_writes(const struct system_op *op, uint32_t unit)
{
    const struct row_change change = change_of(op);
    return row_change_writes(&change, unit);
}

/* ---- what it had been shown ---- */

static void model_shown(struct system_device *device, sqlite3 *db, struct system_op *op)
{
    struct system_world *world = device->world;
    uint64_t cursor = (uint64_t)system_integer(world, db, "SELECT cursor FROM satchel_replica");
    uint64_t answered =
        (uint64_t)system_integer(world, db, "SELECT last_number FROM satchel_replica");
    bool is_row_known = false, is_known[SYSTEM_COLUMNS_MAX] = {false};
    op->row_shown = cursor;
    for (uint32_t i = 0; i < SYSTEM_COLUMNS_MAX; i++)
        op->shown[i] = cursor;
    for (size_t i = 0; i < world->op_count; i++) {
        const struct system_op *pending = &world->ops[i];
        const struct system_change *change = &world->changes[pending->change];
        if (change->device != device->index || change->number <= answered ||
            !satchel_span_equal(pending->name, op->name))
            continue;
        bool is_whole = pending->kind == SATCHEL_OP_DELETE;
        for (uint32_t c = 0; c < op->table->column_count; c++)
            if (!is_known[c] && (is_whole || system_op_writes(pending, rules_of(op, c)->unit))) {
                is_known[c] = true;
                op->shown[c] = pending->shown[c];
            }
        if (is_whole && !is_row_known) {
            is_row_known = true;
            op->row_shown = pending->row_shown;
        }
    }
}

/* ---- the commit ---- */

static void *grown(struct system_world *world, void *items, size_t count, size_t *capacity,
                   size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 64;
    void *larger = satchel_arena_array(&world->arena, *capacity, size);
    system_check(world, larger != NULL, "no memory");
    if (count)
        memcpy(larger, items, count * size);
    return larger;
}

static struct system_op *add_op(struct system_world *world, const struct system_row *before,
                                const struct system_row *after)
{
    world->ops = grown(world, world->ops, world->op_count, &world->op_capacity, sizeof *world->ops);
    struct system_op *op = &world->ops[world->op_count];
    const struct system_row *row = after ? after : before;
    memset(op, 0, sizeof *op);
    op->kind = !before ? SATCHEL_OP_INSERT : !after ? SATCHEL_OP_DELETE : SATCHEL_OP_UPDATE;
    op->table = row->table;
    op->name = row->name;
    op->before = before ? before->values : NULL;
    op->after = after ? after->values : NULL;
    return op;
}

static bool differs(const struct system_row *before, const struct system_row *after)
{
    for (uint32_t i = 0; i < before->table->column_count; i++)
        if (!satchel_value_equal(&before->values[i], &after->values[i]))
            return true;
    return false;
}

static void count_op(struct system_world *world, const struct system_op *op)
{
    bool was_there = false;
    for (size_t i = 0; i < world->op_count; i++)
        was_there = was_there || (world->ops[i].kind == SATCHEL_OP_DELETE &&
                                  satchel_span_equal(world->ops[i].name, op->name));
    system_counts.inserts += op->kind == SATCHEL_OP_INSERT;
    system_counts.reinserts += op->kind == SATCHEL_OP_INSERT && was_there;
    system_counts.updates += op->kind == SATCHEL_OP_UPDATE;
    system_counts.deletes += op->kind == SATCHEL_OP_DELETE;
}

/* Adds an op per row that is another than before; they become part of the ledger with the change.
 */
static size_t collect(struct system_device *device, sqlite3 *db,
                      const struct system_snapshot *before, const struct system_snapshot *after)
{
    struct system_world *world = device->world;
    size_t first = world->op_count, count = 0;
    for (size_t i = 0; i < before->count + after->count; i++) {
        const struct system_row *old = i < before->count ? &before->rows[i] : NULL;
        const struct system_row *new = i < before->count
                                           ? system_snapshot_find(after, before->rows[i].name)
                                           : &after->rows[i - before->count];
        if (!old && system_snapshot_find(before, new->name))
            continue;
        if (old && new && !differs(old, new))
            continue;
        world->op_count = first + count;
        struct system_op *op = add_op(world, old, new);
        world->op_count = first; /* not yet among what is pending */
        op->change = (uint32_t)world->change_count;
        model_shown(device, db, op);
        count_op(world, op);
        count++;
    }
    return count;
}

static void read_body(struct system_device *device, sqlite3 *db, uint64_t number,
                      struct satchel_span *out)
{
    struct system_world *world = device->world;
    sqlite3_stmt *select = NULL;
    struct satchel_span body;
    if (sqlite3_prepare_v2(db, "SELECT body FROM satchel_change WHERE number=?1", -1, &select,
                           NULL) != SQLITE_OK)
        system_fail(world, "%s", sqlite3_errmsg(db));
    sqlite3_bind_int64(select, 1, (sqlite3_int64)number);
    system_check(world, sqlite3_step(select) == SQLITE_ROW,
                 "device %u: its tables changed, change set %llu was not captured", device->index,
                 (unsigned long long)number);
    satchel_buffer_clear(&world->scratch);
    system_ok(world,
              satchel_body_load(satchel_span_of(sqlite3_column_blob(select, 0),
                                                (size_t)sqlite3_column_bytes(select, 0)),
                                &world->scratch, &body),
              "read a change set", NULL);
    *out = satchel_arena_copy(&world->arena, body);
    sqlite3_finalize(select);
}

static void check_parts(struct system_device *device, const struct satchel_schema *schema,
                        const struct system_change *change, size_t op_count)
{
    struct system_world *world = device->world;
    struct satchel_changeset content;
    struct satchel_error error = {0};
    system_ok(world, satchel_changeset_decode(change->body, &world->arena, &content, &error),
              "read a change set", &error);
    size_t part_count = content.header.part_count;
    system_counts.old_schema_change_sets += world->is_deployed && content.header.schema == 1;
    for (uint32_t p = 0; p < content.header.part_count; p++) {
        const struct satchel_part *part = &content.parts[p];
        const struct system_op *op = NULL;
        satchel_buffer_clear(&world->scratch);
        system_ok(world, satchel_row_name(&world->scratch, part->table, part->key, part->key_count),
                  "name a row", NULL);
        for (size_t i = 0; i < op_count; i++)
            if (satchel_span_equal(world->ops[world->op_count + i].name,
                                   satchel_buffer_span(&world->scratch)))
                op = &world->ops[world->op_count + i];
        if (!op && satchel_schema_table(schema, part->table)->rules.has_keys) {
            part_count--; /* of a row that was merged into another */
            continue;
        }
        system_check(
            world, op && part_agrees(world, op, part),
            "device %u, change set %llu, part %u (table %u, kind %d, %u fields) is not what "
            "the transaction did",
            device->index, (unsigned long long)change->number, p, part->table, (int)part->kind,
            part->field_count);
        for (uint32_t i = 0; i < part->exception_count; i++) {
            system_counts.exceptions_sent++;
            system_counts.row_exceptions_sent += part->exceptions[i].column == SATCHEL_COLUMN_ROW;
        }
    }
    system_check(world, part_count == op_count,
                 "device %u changed %zu rows, change set %llu has %u", device->index, op_count,
                 (unsigned long long)change->number, content.header.part_count);
}

void system_ledger_commit(struct system_device *device, sqlite3 *db,
                          const struct system_snapshot *before)
{
    struct system_world *world = device->world;
    struct system_snapshot after;
    system_snapshot_take(world, db, &after);
    size_t op_count = collect(device, db, before, &after);
    uint64_t last = (uint64_t)system_integer(
        world, db,
        "SELECT max(last_number, coalesce((SELECT max(number) FROM satchel_change), 0))"
        " FROM satchel_replica");
    /* A row that is set apart is another's in the table until the server has answered. */
    bool has_written = last > device->last_number;
    system_check(world, last == device->last_number + has_written && (has_written || op_count == 0),
                 "device %u changed %zu rows; its last change set was %llu and is %llu",
                 device->index, op_count, (unsigned long long)device->last_number,
                 (unsigned long long)last);
    if (!has_written)
        return;
    world->changes = grown(world, world->changes, world->change_count, &world->change_capacity,
                           sizeof *world->changes);
    struct system_change *change = &world->changes[world->change_count];
    *change =
        (struct system_change){.device = device->index, .number = last, .true_ms = world->now_ms};
    read_body(device, db, last, &change->body);
    check_parts(device, system_schema(world, db), change, op_count);
    system_trace(world, "  = change set %u.%llu", device->index, (unsigned long long)last);
    device->last_number = last;
    world->op_count += op_count;
    world->change_count++;
    system_counts.change_sets++;
    system_counts.bases += system_integer(world, db, "SELECT count(*) FROM satchel_base") > 0;
}

size_t system_ledger_busiest(const struct system_world *world)
{
    size_t most = 0;
    for (size_t i = 0; i < world->op_count; i++) {
        size_t count = 0;
        for (size_t j = 0; j < world->op_count; j++)
            count += satchel_span_equal(world->ops[i].name, world->ops[j].name);
        most = count > most ? count : most;
    }
    return most;
}
