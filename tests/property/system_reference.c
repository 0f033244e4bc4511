/* Owns the comparison with the naive reference, row by row, and of what each write says it had seen
 * with what its author had been shown. */
#include "system_world.h"

/* ---- the reference ---- */

struct reference_row_case {
    struct satchel_table_rules rules;
    struct satchel_column_rules columns[REFERENCE_COLUMNS];
    struct reference_op ops[REFERENCE_OPS_MAX];
    const struct system_entry *entries[REFERENCE_OPS_MAX];
    uint32_t parts[REFERENCE_OPS_MAX];
    unsigned count;
};

/* In the order of ids, as ties break by it. */
unsigned system_device_rank(const struct system_world *world, const struct satchel_id *id)
{
    unsigned rank = 0;
    for (unsigned i = 0; i < world->device_count; i++)
        rank += satchel_id_compare(&world->devices[i].id, id) < 0;
    return rank * 2 + (id->bytes[0] == 0xe0 && id->bytes[15] == 0xe0);
}

static uint32_t covered(const struct reference_row_case *row, unsigned before,
                        const struct satchel_vector *vector)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < before; i++)
        if (vector->count > 0 && vector->items[0].seq >= row->entries[i]->seq)
            set |= 1u << i;
    return set;
}

static void add_reference_op(const struct system_world *world, struct reference_row_case *row,
                             const struct satchel_table *table, const struct system_entry *entry,
                             uint32_t index)
{
    const struct satchel_part *part = &entry->content.parts[index];
    struct reference_op *op = &row->ops[row->count];
    memset(op, 0, sizeof *op);
    op->kind = part->kind;
    op->device = system_device_rank(world, &entry->device);
    op->number = (unsigned)entry->number;
    op->stamp = entry->stamp;
    op->seen = covered(row, row->count, &entry->content.header.seen);
    for (uint32_t i = 0; i < part->exception_count; i++) {
        const struct satchel_exception *exception = &part->exceptions[i];
        op->exceptions[op->exception_count++] =
            (struct reference_exception){exception->column, exception->view.kind,
                                         covered(row, row->count, &exception->view.vector)};
    }
    for (uint32_t i = 0; i < part->field_count; i++) {
        uint32_t c = part->fields[i].column;
        const struct satchel_column_rules *rules = &table->rules.columns[c];
        bool is_default = rules->rule == SATCHEL_RULE_COUNTER
                              ? part->fields[i].value.integer == 0
                              : satchel_value_equal(&part->fields[i].value, &rules->default_value);
        if (part->kind == SATCHEL_OP_INSERT && is_default && !rules->default_varies)
            continue;
        op->writes[c] = true;
        op->values[c] = part->fields[i].value;
    }
    row->entries[row->count] = entry;
    row->parts[row->count++] = index;
}

static bool part_is_of(struct system_world *world, const struct satchel_part *part,
                       struct satchel_span name)
{
    satchel_buffer_clear(&world->scratch);
    system_ok(world, satchel_row_name(&world->scratch, part->table, part->key, part->key_count),
              "name a row", NULL);
    return satchel_span_equal(satchel_buffer_span(&world->scratch), name);
}

/* False: more ops than the reference has bits for. */
static bool collect_row(struct system_world *world, const struct satchel_table *table,
                        struct satchel_span name, const struct system_entry *entries, size_t count,
                        struct reference_row_case *row)
{
    memset(row, 0, sizeof *row);
    for (uint32_t c = 0; c < REFERENCE_COLUMNS; c++)
        row->columns[c] = (struct satchel_column_rules){.rule = SATCHEL_RULE_LWW, .unit = c};
    memcpy(row->columns, table->rules.columns, table->column_count * sizeof *row->columns);
    row->rules = (struct satchel_table_rules){.columns = row->columns,
                                              .column_count = REFERENCE_COLUMNS,
                                              .delete_policy = table->rules.delete_policy};
    for (size_t i = 0; i < count; i++)
        for (uint32_t p = 0; p < entries[i].content.header.part_count; p++)
            if (!entries[i].is_quarantined[p] &&
                part_is_of(world, &entries[i].content.parts[p], name)) {
                if (row->count == REFERENCE_OPS_MAX)
                    return false;
                add_reference_op(world, row, table, &entries[i], p);
            }
    return true;
}

static void describe_case(struct system_world *world, const struct reference_row_case *row)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    for (unsigned i = 0; i < row->count; i++) {
        const struct reference_op *op = &row->ops[i];
        char device[SATCHEL_ID_TEXT_BYTES];
        satchel_id_text(&row->entries[i]->device, device);
        system_trace(world,
                     "  op %u: entry %llu, device %u (%.4s) number %u stamp %llu.%u %s seen %x", i,
                     (unsigned long long)row->entries[i]->cursor, op->device, device, op->number,
                     (unsigned long long)(op->stamp >> 16), (unsigned)(op->stamp & 0xffff),
                     kinds[op->kind], op->seen);
        for (unsigned e = 0; e < op->exception_count; e++)
            system_trace(world, "    exception on %d kind %d seen %x",
                         (int)op->exceptions[e].column, (int)op->exceptions[e].kind,
                         op->exceptions[e].seen);
        for (unsigned c = 0; c < REFERENCE_COLUMNS; c++)
            if (op->writes[c])
                system_trace(
                    world, "    writes %u: type %d %.*s%lld", c, (int)op->values[c].type,
                    op->values[c].type >= SATCHEL_TEXT ? (int)op->values[c].bytes.size : 0,
                    op->values[c].type >= SATCHEL_TEXT ? (const char *)op->values[c].bytes.data
                                                       : "",
                    op->values[c].type == SATCHEL_INTEGER ? (long long)op->values[c].integer : 0);
    }
}

static const char FIND_CONFLICT[] =
    "SELECT mine, kept FROM satchel_conflict WHERE resolved IS NULL AND tbl=?1 AND key=?2 AND"
    " field=?3 AND loser_device=?4 AND loser_number=?5 AND winner_device=?6 AND winner_number=?7";

static void count_conflict(const struct satchel_table *table, uint32_t unit)
{
    if (unit == SATCHEL_COLUMN_ROW)
        system_counts.open_delete++;
    else if (table->rules.columns[unit].rule == SATCHEL_RULE_LWW)
        system_counts.open_lww++;
    else if (table->rules.columns[unit].rule == SATCHEL_RULE_GROUP)
        system_counts.open_group++;
    else
        system_counts.open_first++;
}

static void check_conflict(struct system_world *world, const struct satchel_table *table,
                           const struct reference_row_case *row,
                           const struct reference_row *expected,
                           const struct reference_conflict *conflict)
{
    sqlite3 *db = satchel_store_sqlite_db(world->server.store);
    sqlite3_stmt *select = NULL;
    const struct system_entry *loser = row->entries[conflict->loser];
    const struct system_entry *winner = row->entries[conflict->winner];
    const struct satchel_part *part = &loser->content.parts[row->parts[conflict->loser]];
    const char *field =
        conflict->unit == SATCHEL_COLUMN_ROW ? "" : table->columns[conflict->unit].field;
    satchel_buffer_clear(&world->scratch);
    system_ok(world, satchel_key_text(&world->scratch, part->key, part->key_count), "key", NULL);
    if (sqlite3_prepare_v2(db, FIND_CONFLICT, -1, &select, NULL) != SQLITE_OK)
        system_fail(world, "%s", sqlite3_errmsg(db));
    sqlite3_bind_text(select, 1, table->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(select, 2, (const char *)world->scratch.data, (int)world->scratch.size,
                      SQLITE_STATIC);
    sqlite3_bind_text(select, 3, field, -1, SQLITE_STATIC);
    sqlite3_bind_blob(select, 4, &loser->device, sizeof loser->device, SQLITE_STATIC);
    sqlite3_bind_int64(select, 5, (sqlite3_int64)loser->number);
    sqlite3_bind_blob(select, 6, &winner->device, sizeof winner->device, SQLITE_STATIC);
    sqlite3_bind_int64(select, 7, (sqlite3_int64)winner->number);
    if (sqlite3_step(select) != SQLITE_ROW) {
        describe_case(world, row);
        system_fail(world,
                    "the reference has a conflict that the server has not: %s.%s, op %u lost to %u",
                    table->name, field, conflict->loser, conflict->winner);
    }
    if (conflict->lost_count == 1) {
        struct satchel_value mine = satchel_value_of_column(select, 0);
        struct satchel_value kept = satchel_value_of_column(select, 1);
        system_check(world,
                     satchel_value_equal(&mine, &conflict->lost[0]) &&
                         satchel_value_equal(&kept, &expected->values[conflict->unit]),
                     "the values of a conflict on %s.%s are wrong", table->name, field);
    }
    sqlite3_finalize(select);
    count_conflict(table, conflict->unit);
}

static size_t check_row(struct system_world *world, const struct satchel_table *table,
                        struct satchel_span name, const struct reference_row_case *row,
                        const struct system_snapshot *store)
{
    static struct reference_row expected;
    const struct system_row *stored = system_snapshot_find(store, name);
    reference_compute(&row->rules, NULL, row->ops, row->count,
                      (uint32_t)((UINT64_C(1) << row->count) - 1), &expected);
    if (expected.exists != (stored != NULL)) {
        describe_case(world, row);
        system_fail(world, "a row of %s %s by the reference", table->name,
                    expected.exists ? "exists" : "is gone");
    }
    for (uint32_t c = 0; stored && c < table->column_count; c++)
        if (!table->rules.columns[c].in_key &&
            !satchel_value_equal(&expected.values[c], &stored->values[c])) {
            struct satchel_buffer text;
            satchel_buffer_init(&text, 1 << 20, NULL);
            system_describe_row(world, &text, stored);
            describe_case(world, row);
            system_fail(world, "column %u of %s is not the reference's", c,
                        satchel_buffer_text(&text));
        }
    for (unsigned i = 0; i < expected.conflict_count; i++)
        check_conflict(world, table, row, &expected, &expected.conflicts[i]);
    return expected.conflict_count;
}

/* Each row once: when its name is met first. */
static bool is_first_of_row(struct system_world *world, const struct system_entry *entries,
                            size_t entry, uint32_t part, struct satchel_span name)
{
    for (size_t i = 0; i <= entry; i++)
        for (uint32_t p = 0; p < entries[i].content.header.part_count; p++) {
            if (i == entry && p == part)
                return true;
            if (part_is_of(world, &entries[i].content.parts[p], name))
                return false;
        }
    return true;
}

/* ---- what was seen ---- */

static const struct system_op *ledger_op(const struct system_world *world,
                                         const struct system_entry *entry, struct satchel_span name)
{
    for (size_t i = 0; i < world->op_count; i++) {
        const struct system_change *change = &world->changes[world->ops[i].change];
        if (change->number == entry->number &&
            satchel_id_equal(&world->devices[change->device].id, &entry->device) &&
            satchel_span_equal(world->ops[i].name, name))
            return &world->ops[i];
    }
    return NULL;
}

static struct satchel_write write_of(const struct system_entry *entry, uint32_t index)
{
    const struct satchel_part *part = &entry->content.parts[index];
    return (struct satchel_write){
        .order = {entry->stamp, entry->device, entry->number, index},
        .seen = entry->content.header.seen,
        .kind = part->kind,
        .fields = part->fields,
        .field_count = part->field_count,
        .exceptions = part->exceptions,
        .exception_count = part->exception_count,
    };
}

static bool saw(const struct system_entry *entry, uint32_t part, uint32_t unit,
                const struct system_entry *other, const struct satchel_id *node)
{
    struct satchel_write write = write_of(entry, part);
    struct satchel_position position = {*node, other->seq};
    struct satchel_vector positions = {&position, 1};
    return satchel_write_saw(&write, unit, &other->device, other->number, &positions);
}

/* The only other write of the row that gave the column this value, if there is just one. */
static int writer_of(const struct reference_row_case *row, uint32_t column,
                     const struct satchel_value *value)
{
    int found = -1;
    for (unsigned i = 0; i < row->count; i++)
        if (row->ops[i].writes[column] && satchel_value_equal(&row->ops[i].values[column], value)) {
            if (found >= 0)
                return -1;
            found = (int)i;
        }
    return found;
}

/* Whether the author of `op` had itself given the column the value that `op` found there: a write
 * that the server has set aside is none of the row's, but was shown where it was made. */
static bool author_wrote_it(const struct system_world *world, const struct system_op *op,
                            uint32_t column)
{
    const struct satchel_column_rules *rules = &op->table->rules.columns[column];
    for (const struct system_op *own = world->ops; own < op; own++)
        if (world->changes[own->change].device == world->changes[op->change].device && own->after &&
            satchel_span_equal(own->name, op->name) && system_op_writes(own, rules->unit) &&
            satchel_value_equal(&own->after[column], &op->before[column]))
            return true;
    return false;
}

static void check_shown(struct system_world *world, const struct satchel_table *table,
                        const struct reference_row_case *row, unsigned w,
                        const struct system_op *op)
{
    const struct reference_op *write = &row->ops[w];
    const struct satchel_id node = {{0xe0, 0xe0, 0xe0, 0xe0, 0xe0, 0xe0, 0xe0, 0xe0, 0xe0, 0xe0,
                                     0xe0, 0xe0, 0xe0, 0xe0, 0xe0, 0xe0}};
    for (uint32_t c = 0; c < table->column_count; c++) {
        const struct satchel_column_rules *rules = &table->rules.columns[c];
        bool is_written = false;
        for (uint32_t d = 0; d < table->column_count; d++)
            is_written =
                is_written || (write->writes[d] && table->rules.columns[d].unit == rules->unit);
        if (rules->in_key || rules->rule == SATCHEL_RULE_COUNTER ||
            !(write->kind == SATCHEL_OP_DELETE || (write->kind == SATCHEL_OP_UPDATE && is_written)))
            continue;
        for (unsigned x = 0; x < row->count; x++) {
            const struct system_entry *other = row->entries[x];
            if (row->ops[x].device == write->device || !row->ops[x].writes[c])
                continue;
            bool is_seen = saw(row->entries[w], row->parts[w], rules->unit, other, &node);
            /* where a CHECK kept pending writes from view, more was shown than the model knows */
            if (is_seen && strcmp(table->name, "stock") != 0 &&
                other->cursor > op->shown[rules->unit]) {
                describe_case(world, row);
                system_fail(world,
                            "%s.%s: op %u says it had seen op %u, which its author was not shown "
                            "(up to %llu)",
                            table->name, table->columns[c].name, w, x,
                            (unsigned long long)op->shown[rules->unit]);
            }
            system_counts.unseen_overwrites += !is_seen && other->cursor < row->entries[w]->cursor;
        }
        int shown = satchel_value_equal(&op->before[c], &rules->default_value)
                        ? -1
                        : writer_of(row, c, &op->before[c]);
        if (shown < 0 || row->ops[shown].device == write->device || author_wrote_it(world, op, c))
            continue;
        system_counts.seen_overwrites++;
        if (!saw(row->entries[w], row->parts[w], rules->unit, row->entries[shown], &node)) {
            describe_case(world, row);
            system_fail(world,
                        "%s.%s: op %u replaced the value of op %u and says it had not seen it",
                        table->name, table->columns[c].name, w, (unsigned)shown);
        }
    }
}

bool system_has_reference(const struct satchel_table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if (table->columns[i].rule >= SATCHEL_RULE_SET || table->columns[i].frozen)
            return false;
    return true;
}

static size_t count_open(struct system_world *world, sqlite3 *db,
                         const struct satchel_schema *schema)
{
    size_t count = 0;
    for (uint32_t i = 0; i < schema->table_count; i++) {
        char sql[200];
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM satchel_conflict WHERE resolved IS NULL AND tbl='%s'",
                 schema->tables[i].name);
        if (system_has_reference(&schema->tables[i]))
            count += (size_t)system_integer(world, db, sql);
    }
    return count;
}

void system_check_reference(struct system_world *world, const struct system_entry *entries,
                            size_t count, const struct system_snapshot *store)
{
    const struct satchel_schema *schema =
        system_schema(world, satchel_store_sqlite_db(world->server.store));
    static struct reference_row_case row;
    size_t open_count = 0;
    bool is_complete = true;
    for (size_t i = 0; i < count; i++)
        for (uint32_t p = 0; p < entries[i].content.header.part_count; p++) {
            const struct satchel_part *part = &entries[i].content.parts[p];
            const struct satchel_table *table = satchel_schema_table(schema, part->table);
            system_check(world, table != NULL, "an entry names table %u", part->table);
            if (!system_has_reference(table))
                continue;
            satchel_buffer_clear(&world->scratch);
            system_ok(world,
                      satchel_row_name(&world->scratch, part->table, part->key, part->key_count),
                      "name", NULL);
            struct satchel_span name =
                satchel_arena_copy(&world->arena, satchel_buffer_span(&world->scratch));
            if (!is_first_of_row(world, entries, i, p, name))
                continue;
            if (!collect_row(world, table, name, entries, count, &row)) {
                is_complete = false;
                continue;
            }
            open_count += check_row(world, table, name, &row, store);
            bool has_delete = false;
            for (unsigned w = 0; w < row.count; w++) {
                const struct system_op *op = ledger_op(world, row.entries[w], name);
                has_delete = has_delete || row.ops[w].kind == SATCHEL_OP_DELETE;
                system_counts.rebuilds_likely += has_delete;
                if (op && op->before)
                    check_shown(world, table, &row, w, op);
            }
        }
    sqlite3 *db = satchel_store_sqlite_db(world->server.store);
    size_t stored = count_open(world, db, schema);
    system_check(world, !is_complete || stored == open_count,
                 "%zu conflicts are open on the server, %zu by the reference", stored, open_count);
    system_counts.conflicts_ever +=
        (unsigned long)system_integer(world, db, "SELECT count(*) FROM satchel_conflict");
}
