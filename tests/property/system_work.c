/* Owns the application of the whole-system test: random SQL on few rows, so that devices meet. */
#include "system_world.h"

enum { SQL_BYTES = 2000 };

struct sql {
    char text[SQL_BYTES];
    size_t size;
};

static void put(struct sql *sql, const char *format, ...) SATCHEL_PRINTF(2, 3);
static void put(struct sql *sql, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(sql->text + sql->size, SQL_BYTES - sql->size, format, arguments);
    va_end(arguments);
    assert_true(size >= 0 && (size_t)size < SQL_BYTES - sql->size);
    sql->size += (size_t)size;
}

/* ---- literals ---- */

static void put_text(struct system_world *world, struct sql *sql)
{
    static const char *const few[] = {"'a'", "'b'", "''", "'ring'", "'中文😀'", "'12'", "'dflt'"};
    if (system_one_in(world, 3))
        put(sql, "%s", few[system_below(world, 7)]);
    else
        put(sql, "'v%llu'", (unsigned long long)++world->next_value);
}

static void put_integer(struct system_world *world, struct sql *sql)
{
    static const char *const few[] = {"9223372036854775807", "-9223372036854775808", "0", "1", "2"};
    if (system_one_in(world, 3))
        put(sql, "%s", few[system_below(world, 5)]);
    else
        put(sql, "%llu", 1000 + (unsigned long long)++world->next_value);
}

static void put_real(struct system_world *world, struct sql *sql)
{
    static const char *const few[] = {"1.0", "1", "1e300", "0.1", "-1.5"};
    if (system_one_in(world, 3))
        put(sql, "%s", few[system_below(world, 5)]);
    else
        put(sql, "%llu.25", 1000 + (unsigned long long)++world->next_value);
}

static void put_blob(struct system_world *world, struct sql *sql)
{
    if (system_one_in(world, 4))
        put(sql, "x'00'");
    else
        put(sql, "x'0000%08llx00'", (unsigned long long)++world->next_value);
}

static void put_any(struct system_world *world, struct sql *sql)
{
    switch (system_below(world, 4)) {
    case 0: put_text(world, sql); break;
    case 1: put_integer(world, sql); break;
    case 2: put_real(world, sql); break;
    default: put_blob(world, sql);
    }
}

static const char *some(struct system_world *world, const char *const *few, unsigned count)
{
    return few[system_below(world, count)];
}

/* A value of a rule that does not take any; false: the rule does. */
static bool put_ruled(struct system_world *world, struct sql *sql,
                      const struct satchel_column *column)
{
    static const char *const states[] = {"'new'", "'sent'", "'won'", "'lost'"};
    static const char *const sets[] = {"'[\"a\"]'", "'[ \"b\", \"a\", \"b\" ]'", "'[]'",
                                       "'[\"a\",\"c\",7,{\"x\":[]}]'", "'[\"c\"]'"};
    static const char *const maps[] = {"'{}'", "'{\"k\":1}'", "'{ \"l\":[1, 2], \"k\":0 }'",
                                       "'{\"l\":null}'"};
    static const char *const keys[] = {"'5551'", "' 5552'", "'ï¼ï¼ï¼ï¼'",
                                       "'(55)51-00'"};
    unsigned long long value = (unsigned long long)++world->next_value;
    switch (column->rule) {
    case SATCHEL_RULE_STATE: put(sql, "%s", some(world, states, 4)); return true;
    case SATCHEL_RULE_KEY:
        if (system_one_in(world, 2))
            put(sql, "'%llu'", value);
        else
            put(sql, "%s", some(world, keys, 4));
        return true;
    case SATCHEL_RULE_SET:
        if (system_one_in(world, 2))
            put(sql, "'[%llu,\"a\"]'", value);
        else
            put(sql, "%s", some(world, sets, 5));
        return true;
    case SATCHEL_RULE_MAP:
        if (system_one_in(world, 2))
            put(sql, "'{\"%s\":%llu,\"m\":%llu}'", system_one_in(world, 2) ? "k" : "l", value,
                value % 2);
        else
            put(sql, "%s", some(world, maps, 4));
        return true;
    case SATCHEL_RULE_TEXT3:
        put(sql, "'%s\nv%llu\n%s\n'", system_one_in(world, 2) ? "one" : "two", value,
            system_one_in(world, 2) ? "three" : "four");
        return true;
    default: return false;
    }
}

static void put_value(struct system_world *world, struct sql *sql,
                      const struct satchel_column *column)
{
    /* What a machine refuses depends on when its states have come. */
    bool is_state = column->rule == SATCHEL_RULE_STATE;
    if ((is_state || !system_one_in(world, 20)) && put_ruled(world, sql, column))
        return;
    if (column->rule == SATCHEL_RULE_COUNTER) {
        put(sql, "%d", (int)system_below(world, 12) - 3);
    } else if (system_one_in(world, column->not_null ? 40 : 8)) {
        put(sql, "NULL");
    } else if (column->declared_type[0] == '\0' || system_one_in(world, 25)) {
        put_any(world, sql);
    } else if (strcmp(column->declared_type, "TEXT") == 0) {
        put_text(world, sql);
    } else if (strcmp(column->declared_type, "INTEGER") == 0) {
        put_integer(world, sql);
    } else if (strcmp(column->declared_type, "REAL") == 0) {
        put_real(world, sql);
    } else {
        put_blob(world, sql);
    }
}

/* One of SYSTEM_KEYS rows of each table. */
static void put_key(struct sql *sql, const struct satchel_column *column, unsigned key)
{
    if (strcmp(column->declared_type, "INTEGER") == 0)
        put(sql, "%u", column->key_position == 1 ? key : key % 2);
    else if (strcmp(column->declared_type, "BLOB") == 0)
        put(sql, "x'00%02x'", key);
    else
        put(sql, "'k%u'", key);
}

static void put_where(struct system_world *world, struct sql *sql,
                      const struct satchel_table *table, unsigned key)
{
    if (system_one_in(world, 12))
        return; /* all rows */
    for (uint32_t i = 0; i < table->key_count; i++) {
        const struct satchel_column *column = &table->columns[table->key_columns[i]];
        put(sql, "%s %s=", i ? " AND" : " WHERE", column->name);
        put_key(sql, column, key);
    }
}

/* ---- statements ---- */

static void put_row(struct system_world *world, struct sql *sql, const struct satchel_table *table,
                    unsigned key, const bool *is_given)
{
    bool is_first = true;
    put(sql, "(");
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (!is_given[i])
            continue;
        if (!is_first)
            put(sql, ",");
        is_first = false;
        if (table->rules.columns[i].in_key)
            put_key(sql, &table->columns[i], key);
        else if (table->columns[i].references_table && !system_one_in(world, 4))
            put(sql, "'k%u'", system_below(world, SYSTEM_KEYS));
        else
            put_value(world, sql, &table->columns[i]);
    }
    put(sql, ")");
}

static void put_insert(struct system_world *world, struct sql *sql,
                       const struct satchel_table *table, unsigned key)
{
    static const char *const verbs[] = {"INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT",
                                        "INSERT"};
    bool is_given[SYSTEM_COLUMNS_MAX] = {false}, is_first = true;
    unsigned verb = system_below(world, 5), chance = 1 + system_below(world, 4);
    put(sql, "%s INTO %s(", verbs[verb], table->name);
    for (uint32_t i = 0; i < table->column_count; i++) {
        is_given[i] = table->rules.columns[i].in_key || system_one_in(world, chance);
        if (is_given[i])
            put(sql, "%s%s", is_first ? "" : ",", table->columns[i].name);
        is_first = is_first && !is_given[i];
    }
    put(sql, ") VALUES");
    put_row(world, sql, table, key, is_given);
    if (system_one_in(world, 5)) { /* often aborted by the last of its rows */
        put(sql, ",");
        put_row(world, sql, table, (key + 1) % SYSTEM_KEYS, is_given);
    }
    system_counts.replaces += verb == 1;
    if (verb < 3 || system_one_in(world, 2))
        return;
    put(sql, " ON CONFLICT DO UPDATE SET ");
    is_first = true;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (!table->rules.columns[i].in_key && (is_first || system_one_in(world, 3))) {
            put(sql, "%s%s=excluded.%s", is_first ? "" : ",", table->columns[i].name,
                table->columns[i].name);
            is_first = false;
        }
    system_counts.upserts++;
}

static void put_update(struct system_world *world, struct sql *sql,
                       const struct satchel_table *table, unsigned key)
{
    bool is_first = true;
    put(sql, "UPDATE %s SET ", table->name);
    if (system_one_in(world, 15) && !table->is_append) {
        const struct satchel_column *column = &table->columns[table->key_columns[0]];
        put(sql, "%s=", column->name);
        put_key(sql, column, (key + 1) % SYSTEM_KEYS);
        is_first = false;
        system_counts.key_updates++;
    }
    unsigned start = system_below(world, table->column_count);
    for (uint32_t n = 0; n < table->column_count; n++) {
        const struct satchel_column *column = &table->columns[(start + n) % table->column_count];
        bool is_fixed = column->rule == SATCHEL_RULE_IMMUTABLE && !system_one_in(world, 20);
        if (column->key_position > 0 || is_fixed || (!is_first && !system_one_in(world, 5)))
            continue;
        put(sql, "%s%s=", is_first ? "" : ",", column->name);
        is_first = false;
        if (system_one_in(world, 10)) {
            put(sql, "%s", column->name);
            system_counts.no_ops++;
        } else if (column->rule == SATCHEL_RULE_COUNTER && !system_one_in(world, 4)) {
            put(sql, "coalesce(%s,0)+%d", column->name, (int)system_below(world, 12) - 3);
        } else {
            put_value(world, sql, column);
        }
    }
    if (is_first)
        put(sql, "%s=%s", table->columns[0].name, table->columns[0].name);
    put_where(world, sql, table, key);
}

static const struct satchel_table *some_table(struct system_world *world,
                                              const struct satchel_schema *schema)
{
    if (world->has_stock && system_one_in(world, 3))
        return satchel_schema_find(schema, "stock");
    if (world->has_rules && !system_one_in(world, 3))
        return satchel_schema_find(schema, system_one_in(world, 3) ? "firm" : "deal");
    for (;;) {
        const struct satchel_table *table =
            &schema->tables[system_one_in(world, 2) ? 0 : system_below(world, schema->table_count)];
        if (!table->is_local && (world->has_stock || strcmp(table->name, "stock") != 0) &&
            strcmp(table->name, "stage") != 0)
            return table;
    }
}

static void put_statement(struct system_world *world, struct sql *sql,
                          const struct satchel_schema *schema)
{
    const struct satchel_table *table = some_table(world, schema);
    unsigned key = system_below(world, system_one_in(world, 2) ? 1 : SYSTEM_KEYS);
    unsigned chance = system_below(world, 10);
    sql->size = 0;
    if (chance < 3) {
        put_insert(world, sql, table, key);
    } else if (chance < 8) {
        put_update(world, sql, table, key);
    } else if (chance < 9) {
        put(sql, "DELETE FROM %s", table->name);
        put_where(world, sql, table, key);
    } else {
        put(sql, "INSERT INTO seen_items VALUES('local',2)");
    }
}

/* ---- transactions ---- */

/* False if the transaction it stood in is gone. */
static bool run(struct system_device *device, sqlite3 *db, const char *sql)
{
    struct system_world *world = device->world;
    bool was_open = !sqlite3_get_autocommit(db);
    char *message = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &message) & 0xff;
    if (code == SQLITE_OK) {
        system_trace(world, "  %u: %s", device->index, sql);
    } else {
        system_trace(world, "  %u: %s -- %s", device->index, sql, message ? message : "");
        bool is_refused = message && strncmp(message, "satchel: ", 9) == 0;
        system_check(world, code == SQLITE_CONSTRAINT, "%s: %d %s", sql, code,
                     message ? message : "");
        system_counts.statement_aborts += !is_refused;
        system_counts.refusals += is_refused;
    }
    sqlite3_free(message);
    return !was_open || !sqlite3_get_autocommit(db);
}

static void transact(struct system_device *device, sqlite3 *db, const struct satchel_schema *schema)
{
    struct system_world *world = device->world;
    struct sql sql;
    unsigned statements = 1 + system_below(world, 5);
    bool is_inside = false;
    (void)run(device, db, system_one_in(world, 2) ? "BEGIN" : "BEGIN IMMEDIATE");
    for (unsigned i = 0; i < statements; i++) {
        if (!is_inside && system_one_in(world, 5)) {
            (void)run(device, db, "SAVEPOINT inner");
            is_inside = true;
        }
        put_statement(world, &sql, schema);
        if (!run(device, db, sql.text))
            return;
        if (is_inside && system_one_in(world, 2)) {
            if (system_one_in(world, 2)) {
                (void)run(device, db, "ROLLBACK TO inner");
                system_counts.savepoint_rollbacks++;
            }
            (void)run(device, db, "RELEASE inner");
            is_inside = false;
        }
    }
    if (system_one_in(world, 10)) {
        (void)run(device, db, "ROLLBACK");
        system_counts.rollbacks++;
        return;
    }
    (void)run(device, db, "COMMIT");
    if (!sqlite3_get_autocommit(db))
        (void)run(device, db, "ROLLBACK");
}

static void undo(struct system_device *device, sqlite3 *db)
{
    struct system_world *world = device->world;
    struct satchel_error error = {0};
    sqlite3_stmt *select = NULL;
    char id[200] = "";
    int64_t count =
        system_integer(world, db, "SELECT count(*) FROM satchel_history WHERE tbl<>'stage'");
    if (count == 0)
        return;
    if (sqlite3_prepare_v2(db,
                           "SELECT id FROM satchel_history WHERE tbl<>'stage' LIMIT 1 OFFSET ?1",
                           -1, &select, NULL) != SQLITE_OK)
        system_fail(world, "history: %s", sqlite3_errmsg(db));
    sqlite3_bind_int64(select, 1, (sqlite3_int64)system_below(world, (unsigned)count));
    if (sqlite3_step(select) == SQLITE_ROW)
        snprintf(id, sizeof id, "%s", (const char *)sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
    enum satchel_status status = satchel_undo(device->connections[0], id, &error);
    system_trace(world, "  %u: undo %s -- %s %s", device->index, id, satchel_status_name(status),
                 error.message);
    system_check(world,
                 status == SATCHEL_OK || status == SATCHEL_REFUSED || status == SATCHEL_SQL ||
                     status == SATCHEL_NOT_FOUND,
                 "undo %s: %s: %s", id, satchel_status_name(status), error.message);
    system_counts.undos += status == SATCHEL_OK;
}

void system_write(struct system_device *device)
{
    struct system_world *world = device->world;
    unsigned which = system_one_in(world, 4) ? 1 : 0;
    sqlite3 *db = system_app(device, which);
    struct system_snapshot before;
    struct sql sql;
    system_snapshot_take(world, db, &before);
    const struct satchel_schema *schema = system_schema(world, db);
    if (which == 0 && system_one_in(world, 20)) {
        undo(device, db);
    } else if (system_one_in(world, 2)) {
        put_statement(world, &sql, schema);
        (void)run(device, db, sql.text);
    } else {
        transact(device, db, schema);
    }
    system_check(world, sqlite3_get_autocommit(db), "a transaction is left open");
    system_ledger_commit(device, db, &before);
}
