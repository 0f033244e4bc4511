/* Owns who may see which row at which moment: an independent computation over the central store's
 * tables, the clauses of the schema and the view satchel_grants (docs/scopes.md). It shares nothing
 * with the server's: each time it goes through all rows, and lets what they are seen by flow down
 * from row to row until nothing changes. */
#include "simulation.h"

#include "db.h"

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
    struct history users[SIM_DEVICES_MAX];
    struct role_history roles[SIM_DEVICES_MAX];
    uint64_t *moments; /* cursors */
    size_t moment_count, moment_capacity;
    unsigned migrations; /* of the last */
    size_t first;        /* after a restore the cursors begin anew */
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

/* The row that the columns of the clause point at; none: nothing that could exist. */
static struct satchel_span parent_of(struct look *look, const struct satchel_scope_clause *clause,
                                     sqlite3_stmt *row)
{
    const struct satchel_reference *reference = &look->schema->references[clause->reference];
    struct satchel_value key = satchel_value_of_column(row, (int)reference->column);
    uint32_t target = reference->target;
    if (target == 0) {
        const char *name = (const char *)sqlite3_column_text(row, (int)reference->type_column);
        const struct satchel_table *named = name ? satchel_schema_find(look->schema, name) : NULL;
        target = named ? named->number : 0;
    }
    if (target == 0 || key.type == SATCHEL_NULL)
        return satchel_span_of(NULL, 0);
    satchel_buffer_clear(&sight.scratch);
    sim_ok(satchel_row_name(&sight.scratch, target, &key, 1), "name a row", NULL);
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
            struct satchel_span parent = parent_of(look, clause, select);
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

/* ---- moments ---- */

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

static void keep_rows(struct look *look, size_t moment)
{
    for (size_t i = 0; i < look->count; i++) {
        struct history *history = satchel_map_get(&sight.rows, look->rows[i].name);
        if (!history) {
            history = sim_alloc(NULL, sizeof *history);
            memset(history, 0, sizeof *history);
            sim_ok(satchel_map_put(&sight.rows, look->rows[i].name, history), "keep rows", NULL);
        }
        keep(history, &look->rows[i].set, moment);
    }
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
    if (sight.moment_count > 0 && cursor < sight.moments[sight.moment_count - 1])
        sight.first = sight.moment_count; /* restored */
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
    keep_rows(look, sight.moment_count - 1);
    keep_grants(look, sight.moment_count - 1);
    free(look->rows);
    satchel_map_deinit(&look->survivors);
    satchel_map_deinit(&look->by_name);
}

size_t sim_sight_observe(void)
{
    struct look look = {0};
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
    return sight.moment_count - 1;
}

size_t sim_sight_now(void)
{
    return sight.moment_count - 1;
}

size_t sim_sight_at(uint64_t cursor)
{
    size_t moment = sight.moment_count;
    while (moment > sight.first + 1 && sight.moments[moment - 1] > cursor)
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
    if (!history || history->changes[0].moment > to)
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
