/* Owns who may see which row at which moment: an independent computation over the central store's
 * tables, the clauses of the schema and the view satchel_grants (docs/scopes.md). It shares nothing
 * with the server's: each time it goes through all rows, and lets what they are seen by flow down
 * from row to row until nothing changes. */
#include "simulation.h"

#include "db.h"

#include <satchel/log_reader.h>
#include <satchel/map.h>
#include <satchel/row_io.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 64 * 1024, NAMES_MAX = 1 << 20 };

/* Values by their numbers, and everyone. */
struct set {
    bool is_everyones;
    uint32_t *values; /* ascending */
    size_t count, capacity;
};
/* From this moment on. */
struct change {
    size_t moment;
    struct set set;
};
struct role_change {
    size_t moment;
    char role[SATCHEL_ROLE_BYTES_MAX + 1];
};
struct role_history {
    struct role_change *changes;
    size_t count, capacity;
};
/* The last of a row that is gone stays. */
struct history {
    struct change *changes;
    size_t count, capacity;
};
static struct {
    struct satchel_map values; /* to their number + 1 */
    struct satchel_map rows;   /* names to a history */
    struct satchel_map passed; /* names of the world of the CRM that came and went at once */
    struct history users[SIM_DEVICES_MAX];
    struct role_history roles[SIM_DEVICES_MAX];
    uint64_t *moments; /* cursors */
    size_t moment_count, moment_capacity;
    unsigned migrations; /* of the last */
    struct sim_disk_state last_look;
    struct satchel_buffer scratch;
    struct satchel_arena arena;
    bool is_made;
} sight;

/* A row as it stands in the store. */
struct row {
    struct satchel_span name;
    struct set set;
    struct satchel_span parents[SATCHEL_SCOPE_CLAUSES_MAX];
    unsigned parent_count;
};
struct look {
    sqlite3 *db;
    const struct satchel_schema *schema;
    struct row *rows;
    size_t count, capacity;
    struct satchel_map by_name;
    struct satchel_map survivors; /* of rows that were merged into another */
};

static void make(void)
{
    if (sight.is_made)
        return;
    satchel_map_init(&sight.values, VALUES_MAX, NULL);
    satchel_map_init(&sight.rows, NAMES_MAX, NULL);
    satchel_map_init(&sight.passed, NAMES_MAX, NULL);
    satchel_buffer_init(&sight.scratch, 1 << 24, NULL);
    satchel_arena_init(&sight.arena, (size_t)1 << 30, NULL);
    sight.is_made = true;
}

/* Numbers of tables and their scopes are the same in every schema that has them. */
static const struct satchel_schema *last_schema(void)
{
    return sim.template->schemas[sim.template->migration_count - 1];
}

bool sim_has_scopes(void)
{
    return last_schema()->has_scopes || last_schema()->has_masks;
}

/* ---- sets ---- */

static void add_number(struct set *set, uint32_t number)
{
    size_t at = set->count;
    while (at > 0 && set->values[at - 1] > number)
        at--;
    if (at > 0 && set->values[at - 1] == number)
        return;
    SIM_GROW(set->values, set->count, set->capacity);
    memmove(set->values + at + 1, set->values + at, (set->count - at) * sizeof *set->values);
    set->values[at] = number;
    set->count++;
}

/* True if it grew. */
static bool add_set(struct set *to, const struct set *from)
{
    size_t before = to->count;
    bool was_everyones = to->is_everyones;
    to->is_everyones = to->is_everyones || from->is_everyones;
    for (size_t i = 0; i < from->count; i++)
        add_number(to, from->values[i]);
    return to->count != before || to->is_everyones != was_everyones;
}

static bool is_same(const struct set *a, const struct set *b)
{
    return a->is_everyones == b->is_everyones && a->count == b->count &&
           (a->count == 0 || memcmp(a->values, b->values, a->count * sizeof *a->values) == 0);
}

static bool meet(const struct set *row, const struct set *grants)
{
    size_t r = 0, g = 0;
    if (row->is_everyones)
        return true;
    while (r < row->count && g < grants->count) {
        if (row->values[r] == grants->values[g])
            return true;
        if (row->values[r] < grants->values[g])
            r++;
        else
            g++;
    }
    return false;
}

static uint32_t number_of(struct satchel_span bytes)
{
    void *known = satchel_map_get(&sight.values, bytes);
    uintptr_t number = known ? (uintptr_t)known : sight.values.count + 1;
    if (!known)
        sim_ok(satchel_map_put(&sight.values, bytes, (void *)number), "know a value", NULL);
    return (uint32_t)number;
}

/* By type and bytes; a real that is a whole number is that integer; NULL is nobody's. */
static void add_value(struct set *set, struct satchel_value value)
{
    uint8_t type = (uint8_t)value.type;
    if (value.type == SATCHEL_NULL)
        return;
    if (value.type == SATCHEL_REAL && value.real >= -9.2e18 && value.real <= 9.2e18 &&
        value.real == (double)(int64_t)value.real)
        value = satchel_value_integer((int64_t)value.real);
    type = (uint8_t)value.type;
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_buffer_append(&sight.scratch, &type, 1), "know a value", NULL);
    bool has_bytes = value.type == SATCHEL_TEXT || value.type == SATCHEL_BLOB;
    sim_ok(satchel_buffer_append(&sight.scratch,
                                 has_bytes ? (const void *)value.bytes.data : &value.integer,
                                 has_bytes ? value.bytes.size : sizeof value.integer),
           "know a value", NULL);
    add_number(set, number_of(satchel_buffer_span(&sight.scratch)));
}

/* ---- what stands in the store ---- */

struct satchel_span sim_row_name(const struct satchel_table *table, sqlite3_stmt *row)
{
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = satchel_value_of_column(row, (int)table->key_columns[i]);
    make();
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_row_name(&sight.scratch, table->number, key, table->key_count), "name a row",
           NULL);
    return satchel_arena_copy(&sight.arena, satchel_buffer_span(&sight.scratch));
}

/* The row that a reference points at; none: nothing that could exist. */
static struct satchel_span name_parent(struct look *look, const struct satchel_reference *reference,
                                       const struct satchel_value *key,
                                       const struct satchel_value *type)
{
    uint32_t target = reference->target;
    if (target == 0 && type->type == SATCHEL_TEXT && type->bytes.size <= SATCHEL_NAME_BYTES_MAX) {
        char name[SATCHEL_NAME_BYTES_MAX + 1];
        snprintf(name, sizeof name, "%.*s", (int)type->bytes.size, (const char *)type->bytes.data);
        const struct satchel_table *named = satchel_schema_find(look->schema, name);
        target = named ? named->number : 0;
    }
    if (target == 0 || key->type == SATCHEL_NULL)
        return satchel_span_of(NULL, 0);
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_row_name(&sight.scratch, target, key, 1), "name a row", NULL);
    struct satchel_span name = satchel_buffer_span(&sight.scratch);
    const struct satchel_span *survivor = satchel_map_get(&look->survivors, name);
    return satchel_arena_copy(&sight.arena, survivor ? *survivor : name);
}

static void read_row(struct look *look, const struct satchel_table *table, sqlite3_stmt *select)
{
    SIM_GROW(look->rows, look->count, look->capacity);
    struct row *row = &look->rows[look->count++];
    *row = (struct row){.name = sim_row_name(table, select)};
    for (uint32_t s = 0; s < table->scope_count; s++) {
        const struct satchel_scope_clause *clause = &table->scopes[s];
        switch (clause->kind) {
        case SATCHEL_SCOPE_ALL: row->set.is_everyones = true; break;
        case SATCHEL_SCOPE_SERVER: break;
        case SATCHEL_SCOPE_ROW:
            for (uint32_t c = 0; c < clause->column_count; c++)
                add_value(&row->set, satchel_value_of_column(select, (int)clause->columns[c]));
            break;
        case SATCHEL_SCOPE_VIA: {
            const struct satchel_reference *to = &look->schema->references[clause->reference];
            struct satchel_value key = satchel_value_of_column(select, (int)to->column);
            struct satchel_value type = satchel_value_of_column(select, (int)to->type_column);
            struct satchel_span parent = name_parent(look, to, &key, &type);
            if (parent.size > 0)
                row->parents[row->parent_count++] = parent;
        }
        }
    }
}

static void read_survivors(struct look *look)
{
    sqlite3_stmt *select = sim_prepare(look->db, "SELECT name, survivor FROM satchel_alias");
    while (sqlite3_step(select) == SQLITE_ROW) {
        struct satchel_span *survivor = SATCHEL_ARENA_ARRAY(&sight.arena, struct satchel_span, 1);
        *survivor = satchel_arena_copy(&sight.arena, satchel_column_span(select, 1));
        sim_ok(satchel_map_put(&look->survivors, satchel_column_span(select, 0), survivor),
               "read aliases", NULL);
    }
    sqlite3_finalize(select);
}

static void read_rows(struct look *look)
{
    for (uint32_t t = 0; t < look->schema->table_count; t++) {
        const struct satchel_table *table = &look->schema->tables[t];
        char sql[200];
        if (table->is_local)
            continue;
        snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", table->name);
        sqlite3_stmt *select = sim_prepare(look->db, sql);
        while (sqlite3_step(select) == SQLITE_ROW)
            read_row(look, table, select);
        sqlite3_finalize(select);
    }
    for (size_t i = 0; i < look->count; i++)
        sim_ok(satchel_map_put(&look->by_name, look->rows[i].name, (void *)(i + 1)), "read rows",
               NULL);
}

/* Rows that were merged into another are seen by whoever sees that one, as long as it is there. */
static void read_merged(struct look *look)
{
    struct satchel_span name;
    size_t index = 0;
    void *survivor;
    while (satchel_map_next(&look->survivors, &index, &name, &survivor)) {
        if (!satchel_map_get(&look->by_name, *(struct satchel_span *)survivor))
            continue;
        SIM_GROW(look->rows, look->count, look->capacity);
        look->rows[look->count++] = (struct row){.name = satchel_arena_copy(&sight.arena, name),
                                                 .parents = {*(struct satchel_span *)survivor},
                                                 .parent_count = 1};
    }
}

static void flow_down(struct look *look)
{
    bool has_grown = true;
    while (has_grown) {
        has_grown = false;
        for (size_t i = 0; i < look->count; i++)
            for (unsigned p = 0; p < look->rows[i].parent_count; p++) {
                uintptr_t at = (uintptr_t)satchel_map_get(&look->by_name, look->rows[i].parents[p]);
                if (at > 0 && add_set(&look->rows[i].set, &look->rows[at - 1].set))
                    has_grown = true;
            }
    }
}

/* ---- what is kept ---- */

static void keep(struct history *history, struct set *set, size_t moment)
{
    if (history->count > 0 && is_same(&history->changes[history->count - 1].set, set)) {
        free(set->values);
        return;
    }
    if (history->count > 0 && history->changes[history->count - 1].moment == moment) {
        free(history->changes[history->count - 1].set.values);
        history->count--;
    }
    SIM_GROW(history->changes, history->count, history->capacity);
    history->changes[history->count++] = (struct change){moment, *set};
}

static struct history *history_of(struct satchel_span name)
{
    struct history *history = satchel_map_get(&sight.rows, name);
    if (!history) {
        history = sim_alloc(NULL, sizeof *history);
        memset(history, 0, sizeof *history);
        sim_ok(satchel_map_put(&sight.rows, name, history), "keep rows", NULL);
    }
    return history;
}

static const struct set *last_of(const struct history *history)
{
    return history && history->count > 0 ? &history->changes[history->count - 1].set : NULL;
}

/* ---- rows that came and went between two moments ---- */

/* What one device wrote to such a row: an insert behind its own delete begins a new life, and what
 * it wrote before is of no more account. Nobody else was shown the delete. */
struct life {
    struct satchel_id device;
    uint64_t deleted, begun; /* the numbers of its last delete, and of the insert behind one */
};
/* A row that the store knows, that does not stand, and never did at any moment before. */
struct passing {
    const struct satchel_table *table;
    struct satchel_span name;
    struct satchel_value *values; /* as it was last, by column */
    struct satchel_order *orders; /* of the writes they are of */
    struct life *lives;
    size_t life_count, life_capacity;
    struct set set;
};
struct passings {
    struct passing *items;
    size_t count, capacity;
    struct satchel_map by_name;
};

static void find_passings(struct look *look, struct passings *all)
{
    sqlite3_stmt *select =
        sim_prepare(look->db, "SELECT name FROM satchel_row WHERE scope NOTNULL");
    while (sqlite3_step(select) == SQLITE_ROW) {
        const struct satchel_value *key;
        uint32_t table, key_count;
        struct satchel_span name = satchel_column_span(select, 0);
        if (satchel_map_get(&look->by_name, name) || satchel_map_get(&sight.rows, name) ||
            satchel_map_get(&look->survivors, name))
            continue;
        SIM_GROW(all->items, all->count, all->capacity);
        struct passing *passing = &all->items[all->count++];
        *passing = (struct passing){.name = satchel_arena_copy(&sight.arena, name)};
        sim_ok(satchel_row_name_read(passing->name, &sight.arena, &table, &key, &key_count),
               "read the name of a row", NULL);
        passing->table = satchel_schema_table(look->schema, table);
        uint32_t columns = passing->table->column_count;
        passing->values = SATCHEL_ARENA_ARRAY(&sight.arena, struct satchel_value, columns);
        passing->orders = SATCHEL_ARENA_ARRAY(&sight.arena, struct satchel_order, columns);
        for (uint32_t c = 0; c < columns; c++)
            passing->values[c] = passing->table->rules.columns[c].default_value;
        for (uint32_t k = 0; k < key_count; k++)
            passing->values[passing->table->key_columns[k]] = key[k];
    }
    sqlite3_finalize(select);
}

static struct passing *passing_of(struct passings *all, const struct satchel_part *part)
{
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_row_name(&sight.scratch, part->table, part->key, part->key_count), "name a row",
           NULL);
    uintptr_t at = (uintptr_t)satchel_map_get(&all->by_name, satchel_buffer_span(&sight.scratch));
    return at > 0 ? &all->items[at - 1] : NULL;
}

static struct life *life_of(struct passing *passing, const struct satchel_id *device)
{
    for (size_t i = 0; i < passing->life_count; i++)
        if (satchel_id_equal(&passing->lives[i].device, device))
            return &passing->lives[i];
    SIM_GROW(passing->lives, passing->life_count, passing->life_capacity);
    passing->lives[passing->life_count] = (struct life){.device = *device};
    return &passing->lives[passing->life_count++];
}

typedef void pass_part_function(struct passings *all, const struct satchel_order *order,
                                const struct satchel_part *part);

static void find_lives(struct passings *all, const struct satchel_order *order,
                       const struct satchel_part *part)
{
    struct passing *passing = passing_of(all, part);
    struct life *life = passing ? life_of(passing, &order->device) : NULL;
    if (life && part->kind == SATCHEL_OP_DELETE)
        life->deleted = order->number;
    if (life && part->kind == SATCHEL_OP_INSERT && life->deleted > 0)
        life->begun = order->number;
}

/* The later write of each column stays. */
static void pass_part(struct passings *all, const struct satchel_order *order,
                      const struct satchel_part *part)
{
    struct passing *passing = passing_of(all, part);
    if (!passing || order->number < life_of(passing, &order->device)->begun)
        return;
    for (uint32_t f = 0; f < part->field_count; f++) {
        uint32_t column = part->fields[f].column;
        if (satchel_order_compare(&passing->orders[column], order) > 0)
            continue;
        passing->orders[column] = *order;
        sim_ok(satchel_value_copy(&sight.arena, &part->fields[f].value, &passing->values[column]),
               "read a part", NULL);
    }
}

static void pass_entry(struct passings *all, const struct satchel_entry *entry,
                       pass_part_function *pass)
{
    struct satchel_changeset content;
    struct satchel_notes notes;
    struct satchel_buffer text;
    struct satchel_span body;
    struct satchel_error error = {0};
    struct satchel_order order = {
        .stamp = entry->stamp, .device = entry->device, .number = entry->number};
    satchel_buffer_init(&text, 256 << 20, NULL);
    sim_ok(satchel_body_load(entry->body, &text, &body), "read a body", NULL);
    sim_ok(satchel_changeset_decode(body, &sight.arena, &content, &error), "read a body", &error);
    sim_ok(satchel_notes_read(entry->notes, &sight.arena, &notes), "read notes", NULL);
    for (uint32_t p = 0; p < content.header.part_count; p++) {
        bool is_set_aside = false;
        for (uint32_t q = 0; q < notes.quarantined_count; q++)
            is_set_aside = is_set_aside || notes.quarantined[q].part == p;
        if (!is_set_aside)
            pass(all, &order, &content.parts[p]);
    }
    satchel_buffer_deinit(&text);
}

static void pass_log(struct look *look, struct passings *all, pass_part_function *pass)
{
    struct satchel_log_reader *log;
    struct satchel_log_entry read;
    struct satchel_error error = {0};
    bool found = true;
    sim_ok(satchel_log_reader_new(&log, look->db), "read the log", NULL);
    sim_ok(satchel_log_read_from(log, 0, NULL, 0, &error), "read the log", &error);
    while (found) {
        sim_ok(satchel_log_read_next(log, &found, &read, &error), "read the log", &error);
        if (found)
            pass_entry(all, &read.entry, pass);
    }
    satchel_log_read_end(log);
    satchel_log_reader_free(log);
}

static void read_passings(struct look *look, struct passings *all)
{
    satchel_map_init(&all->by_name, NAMES_MAX, NULL);
    for (size_t i = 0; i < all->count; i++)
        sim_ok(satchel_map_put(&all->by_name, all->items[i].name, (void *)(i + 1)), "keep rows",
               NULL);
    pass_log(look, all, find_lives);
    pass_log(look, all, pass_part);
}

/* What the clause says of the row. True if its set grew. */
static bool pass_clause(struct look *look, const struct passings *all, struct passing *passing,
                        const struct satchel_scope_clause *clause)
{
    bool has_grown = false;
    if (clause->kind == SATCHEL_SCOPE_ROW)
        for (uint32_t c = 0; c < clause->column_count; c++) {
            struct set one = {0};
            add_value(&one, passing->values[clause->columns[c]]);
            has_grown = add_set(&passing->set, &one) || has_grown;
            free(one.values);
        }
    if (clause->kind != SATCHEL_SCOPE_VIA)
        return has_grown;
    const struct satchel_reference *reference = &look->schema->references[clause->reference];
    struct satchel_span parent = name_parent(look, reference, &passing->values[reference->column],
                                             &passing->values[reference->type_column]);
    if (parent.size == 0)
        return false;
    uintptr_t stands = (uintptr_t)satchel_map_get(&look->by_name, parent);
    uintptr_t passes = (uintptr_t)satchel_map_get(&all->by_name, parent);
    const struct set *from = stands > 0   ? &look->rows[stands - 1].set
                             : passes > 0 ? &all->items[passes - 1].set
                                          : last_of(satchel_map_get(&sight.rows, parent));
    return from && add_set(&passing->set, from);
}

/* They hang on what stands, on each other, and on what is gone as it was last. */
static void take_passings(struct look *look, size_t moment)
{
    struct passings all = {0};
    bool has_grown = true;
    find_passings(look, &all);
    /* Where rules make other values than those written last, nobody knows. */
    for (size_t i = 0; sim.options.world == SIM_CRM && i < all.count; i++)
        sim_ok(satchel_map_put(&sight.passed, all.items[i].name, look), "keep rows", NULL);
    if (all.count == 0 || sim.options.world == SIM_CRM) {
        free(all.items);
        return;
    }
    read_passings(look, &all);
    while (has_grown) {
        has_grown = false;
        for (size_t i = 0; i < all.count; i++)
            for (uint32_t s = 0; s < all.items[i].table->scope_count; s++)
                has_grown =
                    pass_clause(look, &all, &all.items[i], &all.items[i].table->scopes[s]) ||
                    has_grown;
    }
    for (size_t i = 0; i < all.count; i++) {
        keep(history_of(all.items[i].name), &all.items[i].set, moment);
        free(all.items[i].lives);
    }
    sim.counts.passings += all.count;
    satchel_map_deinit(&all.by_name);
    free(all.items);
}

/* ---- moments ---- */

static void keep_rows(struct look *look, size_t moment)
{
    for (size_t i = 0; i < look->count; i++)
        keep(history_of(look->rows[i].name), &look->rows[i].set, moment);
}

static void keep_role(struct role_history *history, const char *role, size_t moment)
{
    if (history->count > 0 && strcmp(history->changes[history->count - 1].role, role) == 0)
        return;
    SIM_GROW(history->changes, history->count, history->capacity);
    struct role_change *change = &history->changes[history->count++];
    change->moment = moment;
    snprintf(change->role, sizeof change->role, "%s", role);
}

static void keep_grants(struct look *look, size_t moment)
{
    sqlite3_stmt *users =
        sim_prepare(look->db, "SELECT id, role FROM satchel_users WHERE login=?1");
    sqlite3_stmt *grants = sim_prepare(look->db, "SELECT value FROM satchel_grants WHERE user=?1");
    for (unsigned user = 0; user < SIM_DEVICES_MAX; user++) {
        char login[16];
        struct set set = {0};
        snprintf(login, sizeof login, "user%u", user);
        sqlite3_bind_text(users, 1, login, -1, SQLITE_STATIC);
        while (sqlite3_step(users) == SQLITE_ROW) {
            const char *role = (const char *)sqlite3_column_text(users, 1);
            keep_role(&sight.roles[user], role ? role : "", moment);
            sqlite3_bind_value(grants, 1, sqlite3_column_value(users, 0));
            while (sqlite3_step(grants) == SQLITE_ROW)
                add_value(&set, satchel_value_of_column(grants, 0));
            sqlite3_reset(grants);
        }
        sqlite3_reset(users);
        keep(&sight.users[user], &set, moment);
    }
    sqlite3_finalize(grants);
    sqlite3_finalize(users);
}

/* Every commit that changes a row or a grant has a cursor or a migration of its own. */
static bool is_new(uint64_t cursor, unsigned migrations)
{
    return sight.moment_count == 0 || sight.moments[sight.moment_count - 1] != cursor ||
           sight.migrations != migrations;
}

static void take(struct look *look, uint64_t cursor, unsigned migrations)
{
    SIM_GROW(sight.moments, sight.moment_count, sight.moment_capacity);
    sight.moments[sight.moment_count++] = cursor;
    sight.migrations = migrations;
    satchel_arena_reset(&sight.arena);
    satchel_map_init(&look->by_name, NAMES_MAX, NULL);
    satchel_map_init(&look->survivors, NAMES_MAX, NULL);
    look->schema = sim_schema(migrations);
    read_survivors(look);
    read_rows(look);
    read_merged(look);
    flow_down(look);
    take_passings(look, sight.moment_count - 1);
    keep_rows(look, sight.moment_count - 1);
    keep_grants(look, sight.moment_count - 1);
    free(look->rows);
    satchel_map_deinit(&look->survivors);
    satchel_map_deinit(&look->by_name);
}

size_t sim_sight_observe(void)
{
    struct look look = {0};
    struct sim_disk_state state = sim_disk_state("/sim/server/test.db");
    if (sight.moment_count > 0 && memcmp(&state, &sight.last_look, sizeof state) == 0)
        return sight.moment_count - 1;
    struct sim_process *running = sim_enter(NULL);
    make();
    look.db = sim_observe("/sim/server/test.db");
    sim_ok(satchel_db_exec(look.db, "BEGIN", NULL), "look", NULL);
    uint64_t cursor = sim_integer(look.db, "SELECT cursor FROM satchel_workspace");
    unsigned migrations = (unsigned)sim_integer(look.db, "SELECT count(*) FROM satchel_migration");
    if (is_new(cursor, migrations))
        take(&look, cursor, migrations);
    sim_ok(satchel_db_exec(look.db, "COMMIT", NULL), "look", NULL);
    sim_unobserve(look.db);
    sim_leave(running);
    sight.last_look = state;
    return sight.moment_count - 1;
}

size_t sim_sight_now(void)
{
    return sight.moment_count - 1;
}

/* The last one. Cursors fall where a power cut takes what a killed server had not synced, and where
 * a backup is restored, of which nobody knows what it had. */
size_t sim_sight_at(uint64_t cursor)
{
    size_t moment = sight.moment_count;
    while (moment > 1 && sight.moments[moment - 1] > cursor)
        moment--;
    return sight.moment_count > 0 && !sim.server.was_restored ? moment - 1 : 0;
}

static const struct set *at(const struct history *history, size_t moment)
{
    const struct set *found = NULL;
    for (size_t i = 0; i < history->count && history->changes[i].moment <= moment; i++)
        found = &history->changes[i].set;
    return found;
}

enum sim_sight sim_sight_of(unsigned user, const struct satchel_table *table,
                            struct satchel_span name, size_t from, size_t to)
{
    sim.counts.sights++;
    if (table->is_local)
        return SIM_HIDDEN;
    for (uint32_t s = 0; s < table->scope_count; s++)
        if (table->scopes[s].kind == SATCHEL_SCOPE_ALL)
            return SIM_SEEN;
    const struct history *history = satchel_map_get(&sight.rows, name);
    if (!history || history->changes[0].moment > to || satchel_map_get(&sight.passed, name))
        return SIM_UNKNOWN;
    for (size_t moment = from; moment <= to; moment++) {
        const struct set *row = at(history, moment), *grants = at(&sight.users[user], moment);
        if (row && grants && meet(row, grants))
            return SIM_SEEN;
    }
    return SIM_HIDDEN;
}

bool sim_sight_of_column(unsigned user, const struct satchel_table *table, uint32_t column,
                         size_t from, size_t to)
{
    const struct role_history *history = &sight.roles[user];
    bool is_seen = false;
    for (size_t i = 0; i < history->count && history->changes[i].moment <= to; i++) {
        bool is_over = i + 1 < history->count && history->changes[i + 1].moment <= from;
        is_seen = is_seen ||
                  (!is_over && satchel_column_is_seen(table, column,
                                                      satchel_span_text(history->changes[i].role)));
    }
    return is_seen;
}

uint64_t sim_sight_begun(uint32_t table, const struct satchel_value *key, uint32_t key_count)
{
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_row_name(&sight.scratch, table, key, key_count), "name a row", NULL);
    const struct history *history =
        satchel_map_get(&sight.rows, satchel_buffer_span(&sight.scratch));
    size_t first = history ? history->changes[0].moment : 0;
    return first > 0 ? sight.moments[first - 1] : 0;
}

enum sim_sight sim_sight_of_key(unsigned user, uint32_t table, const struct satchel_value *key,
                                uint32_t key_count, size_t from, size_t to)
{
    const struct satchel_table *found = satchel_schema_table(last_schema(), table);
    make();
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_row_name(&sight.scratch, table, key, key_count), "name a row", NULL);
    return found ? sim_sight_of(user, found, satchel_buffer_span(&sight.scratch), from, to)
                 : SIM_UNKNOWN;
}
