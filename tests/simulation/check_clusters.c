/* Owns the comparison of the duel's rows with keys, at a run's end, with the naive reference of
 * tests/property/cluster_reference.h: which rows are one, what they are, what is open. */
#include "../property/cluster_reference.h"
#include "../property/system_world.h"
#include "simulation.h"

#include <string.h>

static const char TABLE[] = "twin";

struct clusters {
    struct system_world *world;
    const struct satchel_table *table;
    struct cluster_op ops[CLUSTER_OPS_MAX];
    const struct system_entry *entries[CLUSTER_OPS_MAX];
    unsigned count;
    struct cluster_state expected;
};

/* ---- the log as the reference reads it ---- */

static const char *text_of(struct system_world *world, const struct satchel_value *value)
{
    if (value->type != SATCHEL_TEXT && value->type != SATCHEL_BLOB)
        return NULL;
    char *text = satchel_arena_alloc(&world->arena, value->bytes.size + 1);
    system_check(world, text != NULL, "no memory");
    memcpy(text, value->bytes.data, value->bytes.size);
    text[value->bytes.size] = '\0';
    return text;
}

static uint32_t covered(const struct clusters *of, const struct satchel_vector *vector)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < of->count; i++)
        if (vector->count > 0 && vector->items[0].seq >= of->entries[i]->seq)
            set |= UINT32_C(1) << i;
    return set;
}

static void read_fields(struct clusters *of, const struct satchel_part *part, struct cluster_op *op)
{
    for (uint32_t i = 0; i < part->field_count; i++) {
        const struct satchel_value *value = &part->fields[i].value;
        uint32_t c = part->fields[i].column;
        bool is_default = c == CLUSTER_VISITS ? value->integer == 0 : value->type == SATCHEL_NULL;
        if (part->kind == SATCHEL_OP_INSERT && is_default)
            continue;
        op->writes[c] = true;
        op->sets_apart[c] = value->type == SATCHEL_BLOB;
        op->texts[c] = text_of(of->world, value);
        op->visits = c == CLUSTER_VISITS ? value->integer : op->visits;
    }
}

static void add_op(struct clusters *of, const struct system_entry *entry, uint32_t index)
{
    const struct satchel_part *part = &entry->content.parts[index];
    struct cluster_op *op = &of->ops[of->count];
    /* covers what another part of the same change set writes as little as the product does */
    *op = (struct cluster_op){.row = part->key[0].bytes.data[1] - (unsigned)'0',
                              .kind = part->kind,
                              .device = system_device_rank(of->world, &entry->device),
                              .number = (unsigned)entry->number,
                              .part = index,
                              .stamp = entry->stamp,
                              .seen = covered(of, &entry->content.header.seen)};
    for (uint32_t i = 0; i < part->exception_count; i++) {
        const struct satchel_exception *exception = &part->exceptions[i];
        op->exceptions[op->exception_count++] =
            (struct cluster_exception){exception->column, exception->view.kind == SATCHEL_VIEW_NONE,
                                       covered(of, &exception->view.vector)};
    }
    read_fields(of, part, op);
    of->entries[of->count++] = entry;
}

/* False: more ops than the reference has bits for. */
static bool collect(struct clusters *of, const struct system_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (uint32_t p = 0; p < entries[i].content.header.part_count; p++) {
            if (entries[i].is_quarantined[p] ||
                entries[i].content.parts[p].table != of->table->number)
                continue;
            if (of->count == CLUSTER_OPS_MAX)
                return false;
            add_op(of, &entries[i], p);
        }
    return true;
}

static void describe(struct clusters *of)
{
    static const char *const kinds[] = {"insert", "update", "delete"};
    for (unsigned i = 0; i < of->count; i++) {
        const struct cluster_op *op = &of->ops[i];
        system_trace(of->world,
                     "  op %u: entry %llu, device %u number %u.%u stamp %llu.%u %s t%u seen %x", i,
                     (unsigned long long)of->entries[i]->cursor, op->device, op->number, op->part,
                     (unsigned long long)(op->stamp >> 16), (unsigned)(op->stamp & 0xffff),
                     kinds[op->kind], op->row, (unsigned)op->seen);
        for (unsigned e = 0; e < op->exception_count; e++)
            system_trace(of->world, "    exception on %d%s seen %x", (int)op->exceptions[e].column,
                         op->exceptions[e].is_none ? " (none)" : "",
                         (unsigned)op->exceptions[e].seen);
        for (unsigned c = 1; c < CLUSTER_COLUMNS; c++)
            if (op->writes[c])
                system_trace(of->world, "    writes %s: %s%s %+lld", of->table->columns[c].name,
                             op->texts[c] ? op->texts[c] : "NULL",
                             op->sets_apart[c] ? " (apart)" : "",
                             c == CLUSTER_VISITS ? (long long)op->visits : 0LL);
    }
}

/* ---- rows ---- */

static struct satchel_span name_of(struct clusters *of, unsigned row)
{
    char id[8];
    snprintf(id, sizeof id, "t%u", row);
    struct satchel_value key = satchel_value_text(satchel_span_text(id));
    satchel_buffer_clear(&of->world->scratch);
    system_ok(of->world, satchel_row_name(&of->world->scratch, of->table->number, &key, 1),
              "name a row", NULL);
    return satchel_arena_copy(&of->world->arena, satchel_buffer_span(&of->world->scratch));
}

/* The row that the store has for this one. */
static unsigned stored_survivor(struct clusters *of, unsigned row)
{
    sqlite3 *db = satchel_store_sqlite_db(of->world->server.store);
    sqlite3_stmt *select = NULL;
    unsigned survivor = row;
    struct satchel_span name = name_of(of, row);
    if (sqlite3_prepare_v2(db, "SELECT survivor FROM satchel_alias WHERE name=?1", -1, &select,
                           NULL) != SQLITE_OK)
        system_fail(of->world, "%s", sqlite3_errmsg(db));
    sqlite3_bind_blob(select, 1, name.data, (int)name.size, SQLITE_STATIC);
    if (sqlite3_step(select) == SQLITE_ROW) {
        struct satchel_span found = satchel_span_of(sqlite3_column_blob(select, 0),
                                                    (size_t)sqlite3_column_bytes(select, 0));
        survivor = CLUSTER_ROWS;
        for (unsigned other = 0; other < CLUSTER_ROWS; other++)
            if (satchel_span_equal(name_of(of, other), found))
                survivor = other;
    }
    sqlite3_finalize(select);
    return survivor;
}

static const char *difference(struct clusters *of, unsigned row,
                              const struct system_snapshot *store)
{
    const struct cluster_row *expected = &of->expected.rows[row];
    const struct system_row *stored = system_snapshot_find(store, name_of(of, row));
    if (stored_survivor(of, row) != expected->survivor)
        return "whose it is";
    bool exists = expected->survivor == row && expected->exists;
    if (exists != (stored != NULL))
        return "existence";
    for (unsigned c = 1; exists && c < CLUSTER_COLUMNS; c++) {
        const char *text = expected->texts[c];
        struct satchel_value value = c == CLUSTER_VISITS ? satchel_value_integer(expected->visits)
                                     : text ? satchel_value_text(satchel_span_text(text))
                                            : satchel_value_null();
        if (!satchel_value_equal(&stored->values[c], &value))
            return of->table->columns[c].name;
    }
    return NULL;
}

/* ---- conflicts ---- */

static const char FIND[] =
    "SELECT count(*) FROM satchel_conflict WHERE resolved IS NULL AND tbl=?1 AND field=?2"
    " AND loser_device=?3 AND loser_number=?4 AND winner_device=?5 AND winner_number=?6";
static const char COUNT[] = "SELECT count(*) FROM satchel_conflict WHERE resolved IS NULL AND"
                            " tbl='twin'";

static int64_t find_conflict(struct clusters *of, const struct cluster_conflict *conflict)
{
    sqlite3 *db = satchel_store_sqlite_db(of->world->server.store);
    sqlite3_stmt *select = NULL;
    const struct system_entry *loser = of->entries[conflict->loser];
    const struct system_entry *winner = of->entries[conflict->winner];
    const char *field =
        conflict->unit == SATCHEL_COLUMN_ROW ? "" : of->table->columns[conflict->unit].field;
    if (sqlite3_prepare_v2(db, FIND, -1, &select, NULL) != SQLITE_OK)
        system_fail(of->world, "%s", sqlite3_errmsg(db));
    sqlite3_bind_text(select, 1, TABLE, -1, SQLITE_STATIC);
    sqlite3_bind_text(select, 2, field, -1, SQLITE_STATIC);
    sqlite3_bind_blob(select, 3, &loser->device, sizeof loser->device, SQLITE_STATIC);
    sqlite3_bind_int64(select, 4, (sqlite3_int64)loser->number);
    sqlite3_bind_blob(select, 5, &winner->device, sizeof winner->device, SQLITE_STATIC);
    sqlite3_bind_int64(select, 6, (sqlite3_int64)winner->number);
    int64_t count = sqlite3_step(select) == SQLITE_ROW ? sqlite3_column_int64(select, 0) : 0;
    sqlite3_finalize(select);
    return count;
}

static void check_conflicts(struct clusters *of)
{
    int64_t expected = 0;
    for (unsigned row = 0; row < CLUSTER_ROWS; row++) {
        const struct cluster_row *cluster = &of->expected.rows[row];
        if (cluster->survivor != row)
            continue;
        for (unsigned i = 0; i < cluster->conflict_count; i++) {
            const struct cluster_conflict *conflict = &cluster->conflicts[i];
            expected++;
            if (find_conflict(of, conflict) > 0)
                continue;
            describe(of);
            system_fail(of->world,
                        "the reference has a conflict that the server has not: t%u, column %d, op "
                        "%u lost to %u",
                        row, (int)conflict->unit, conflict->loser, conflict->winner);
        }
    }
    int64_t stored =
        system_integer(of->world, satchel_store_sqlite_db(of->world->server.store), COUNT);
    if (stored == expected)
        return;
    describe(of);
    system_fail(of->world, "%lld conflicts of %s are open on the server, %lld by the reference",
                (long long)stored, TABLE, (long long)expected);
}

void sim_check_clusters(struct system_world *world, const struct system_entry *entries,
                        size_t count, const struct system_snapshot *store)
{
    static struct clusters of;
    memset(&of, 0, sizeof of);
    of.world = world;
    of.table = satchel_schema_find(sim_schema(sim.deployed), TABLE);
    system_check(world, of.table != NULL, "there is no table %s", TABLE);
    if (!collect(&of, entries, count))
        return;
    cluster_compute(of.ops, of.count, (uint32_t)((UINT64_C(1) << of.count) - 1),
                    of.table->rules.delete_policy, &of.expected);
    for (unsigned row = 0; row < CLUSTER_ROWS; row++) {
        const char *differing = difference(&of, row, store);
        if (!differing)
            continue;
        describe(&of);
        system_fail(world, "t%u differs from the reference in %s", row, differing);
    }
    check_conflicts(&of);
}
