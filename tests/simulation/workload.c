/* Owns the SQL that applications run: random statements on any schema, on few rows, so that devices
 * meet; values as the rules take them, now and then such as they do not. */
#include "simulation.h"

#include <string.h>

void sim_put(struct sim_sql *sql, const char *format, ...)
{
    char text[2000];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sim_check(size >= 0 && (size_t)size < sizeof text, "too long a piece of SQL");
    if (sql->size + (size_t)size + 1 > sql->capacity) {
        sql->capacity = (sql->size + (size_t)size + 1) * 2;
        sql->text = sim_alloc(sql->text, sql->capacity);
    }
    memcpy(sql->text + sql->size, text, (size_t)size + 1);
    sql->size += (size_t)size;
}

static unsigned long long next_value;
static bool is_importing; /* then hardly two rows have one key: who merges many takes his time */

static const char *some(const char *const *few, unsigned count)
{
    return few[sim_below(SIM_WORK, count)];
}
#define SOME(few) some(few, sizeof(few) / sizeof(few)[0])

/* ---- values ---- */

static void put_text(struct sim_sql *sql)
{
    static const char *const few[] = {"'a'", "'b'", "''", "'ring'", "'中文😀'", "'12'", "'dflt'"};
    if (sim_one_in(SIM_WORK, sim.options.big_one_in)) {
        sim.counts.big_values++;
        sim_put(sql, "hex(zeroblob(%u))", 1000 + sim_below(SIM_WORK, 20000));
    } else if (sim_one_in(SIM_WORK, 3)) {
        sim_put(sql, "%s", SOME(few));
    } else {
        sim_put(sql, "'v%llu'", ++next_value);
    }
}

static void put_integer(struct sim_sql *sql)
{
    static const char *const few[] = {"9223372036854775807", "-9223372036854775808", "0", "1", "2"};
    if (sim_one_in(SIM_WORK, 3))
        sim_put(sql, "%s", SOME(few));
    else
        sim_put(sql, "%llu", 1000 + ++next_value);
}

static void put_real(struct sim_sql *sql)
{
    static const char *const few[] = {"1.0", "1", "1e300", "0.1", "-1.5"};
    if (sim_one_in(SIM_WORK, 3))
        sim_put(sql, "%s", SOME(few));
    else
        sim_put(sql, "%llu.25", 1000 + ++next_value);
}

static void put_blob(struct sim_sql *sql)
{
    if (sim_one_in(SIM_WORK, sim.options.big_one_in)) {
        sim.counts.big_values++;
        sim_put(sql, "zeroblob(%u)", 1000 + sim_below(SIM_WORK, 40000));
    } else if (sim_one_in(SIM_WORK, 4)) {
        sim_put(sql, "x'00'");
    } else {
        sim_put(sql, "x'0000%08llx00'", ++next_value);
    }
}

static void put_any(struct sim_sql *sql)
{
    switch (sim_below(SIM_WORK, 4)) {
    case 0: put_text(sql); break;
    case 1: put_integer(sql); break;
    case 2: put_real(sql); break;
    default: put_blob(sql);
    }
}

static void put_plain(struct sim_sql *sql, const struct satchel_column *column)
{
    const char *type = column->declared_type;
    if (sim_one_in(SIM_WORK, column->not_null ? 40 : 8))
        sim_put(sql, "NULL");
    else if (type[0] == '\0' || sim_one_in(SIM_WORK, 25))
        put_any(sql);
    else if (strcmp(type, "TEXT") == 0)
        put_text(sql);
    else if (strcmp(type, "INTEGER") == 0)
        put_integer(sql);
    else if (strcmp(type, "REAL") == 0)
        put_real(sql);
    else
        put_blob(sql);
}

static void put_state(struct sim_sql *sql, const struct satchel_column *column)
{
    sim_put(sql,
            "(SELECT code FROM satchel_states WHERE machine='%s' ORDER BY rank, code LIMIT 1"
            " OFFSET %u)",
            column->rule_argument, sim_below(SIM_WORK, 5));
}

/* Elements are single letters, keys such letters with a digit, so that the naive reference can
 * read them. */
static void put_set(struct sim_sql *sql)
{
    unsigned count = sim_below(SIM_WORK, 4);
    sim_put(sql, "'[");
    for (unsigned i = 0; i < count; i++)
        sim_put(sql, "%s\"%c\"", i ? ", " : "", (int)('a' + sim_below(SIM_WORK, 6)));
    sim_put(sql, "]'");
}

static void put_map(struct sim_sql *sql)
{
    unsigned count = sim_below(SIM_WORK, 3), first = sim_below(SIM_WORK, 4);
    sim_put(sql, "'{");
    for (unsigned i = 0; i < count; i++)
        sim_put(sql, "%s\"%c\":%u", i ? "," : "", (int)('k' + first + i), sim_below(SIM_WORK, 8));
    sim_put(sql, "}'");
}

static void put_lines(struct sim_sql *sql)
{
    sim_put(sql, "'%s\nv%llu\n%s\n'", sim_one_in(SIM_WORK, 2) ? "one" : "two", ++next_value,
            sim_one_in(SIM_WORK, 2) ? "three" : "four");
}

static void put_value(struct sim_sql *sql, const struct satchel_column *column)
{
    static const char *const keys[] = {"'5551'", "' 5552'", "'５５５１'", "'(55)51-00'"};
    static const char *const parents[] = {"'account'", "'opportunity'", "'quote'", "'sales_order'"};
    static const char *const units[] = {"'north'", "'south'", "'south-two'", "'head-office'"};
    const char *target = column->references_table;
    if ((target || column->ref) && !sim_one_in(SIM_WORK, 4)) {
        if (target && strcmp(target, "user") == 0)
            sim_put(sql, "'u%u'", sim_below(SIM_WORK, sim.options.device_count));
        else if (target && strcmp(target, "org_unit") == 0)
            sim_put(sql, "%s", SOME(units));
        else
            sim_put(sql, "'k%u'", sim_below(SIM_WORK, sim.options.key_count));
        return;
    }
    if (strcmp(column->name, "parent_type") == 0 && !sim_one_in(SIM_WORK, 8)) {
        sim_put(sql, "%s", SOME(parents));
        return;
    }
    if (column->rule != SATCHEL_RULE_STATE && sim_one_in(SIM_WORK, 25)) {
        put_plain(sql, column); /* what the rule may refuse */
        return;
    }
    switch (column->rule) {
    case SATCHEL_RULE_STATE: put_state(sql, column); break;
    case SATCHEL_RULE_SET: put_set(sql); break;
    case SATCHEL_RULE_MAP: put_map(sql); break;
    case SATCHEL_RULE_TEXT3: put_lines(sql); break;
    case SATCHEL_RULE_COUNTER: sim_put(sql, "%d", (int)sim_below(SIM_WORK, 12) - 3); break;
    case SATCHEL_RULE_KEY:
        if (!sim_one_in(SIM_WORK, is_importing ? 40 : 2))
            sim_put(sql, "'%llu'", ++next_value);
        else
            sim_put(sql, "%s", SOME(keys));
        break;
    default: put_plain(sql, column);
    }
}

static void put_key(struct sim_sql *sql, const struct satchel_column *column, unsigned key)
{
    if (strcmp(column->declared_type, "INTEGER") == 0)
        sim_put(sql, "%u", column->key_position == 1 ? key : key % 2);
    else if (strcmp(column->declared_type, "BLOB") == 0)
        sim_put(sql, "x'00%08x'", key);
    else
        sim_put(sql, "'k%u'", key);
}

static void put_where(struct sim_sql *sql, const struct satchel_table *table, unsigned key)
{
    if (!table->rules.has_keys && sim_one_in(SIM_WORK, 30))
        return; /* all rows; not where hundreds would get one key */
    for (uint32_t i = 0; i < table->key_count; i++) {
        const struct satchel_column *column = &table->columns[table->key_columns[i]];
        sim_put(sql, "%s %s=", i ? " AND" : " WHERE", column->name);
        put_key(sql, column, key);
    }
}

/* ---- statements ---- */

static void put_row(struct sim_sql *sql, const struct satchel_table *table, unsigned key,
                    const bool *is_given)
{
    bool is_first = true;
    sim_put(sql, "(");
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (!is_given[i])
            continue;
        if (!is_first)
            sim_put(sql, ",");
        is_first = false;
        if (table->rules.columns[i].in_key)
            put_key(sql, &table->columns[i], key);
        else
            put_value(sql, &table->columns[i]);
    }
    sim_put(sql, ")");
}

/* Without them hardly anybody would ever see a row. */
static bool is_of_scope(const struct satchel_table *table, uint32_t column)
{
    for (uint32_t s = 0; s < table->scope_count; s++)
        for (uint32_t c = 0; c < table->scopes[s].column_count; c++)
            if (table->scopes[s].columns[c] == column)
                return true;
    return false;
}

static void put_insert(struct sim_sql *sql, const struct satchel_table *table, const char *verb,
                       unsigned key)
{
    bool is_given[SIM_COLUMNS_MAX] = {false}, is_first = true;
    unsigned chance = 1 + sim_below(SIM_WORK, 4);
    sim_put(sql, "%s INTO %s(", verb, table->name);
    for (uint32_t i = 0; i < table->column_count; i++) {
        is_given[i] =
            table->rules.columns[i].in_key ||
            (table->columns[i].rule != SATCHEL_RULE_SERVER && sim_one_in(SIM_WORK, chance)) ||
            (is_of_scope(table, i) && !sim_one_in(SIM_WORK, 4));
        if (is_given[i])
            sim_put(sql, "%s%s", is_first ? "" : ",", table->columns[i].name);
        is_first = is_first && !is_given[i];
    }
    sim_put(sql, ") VALUES");
    put_row(sql, table, key, is_given);
}

static bool is_fixed(const struct satchel_column *column)
{
    return column->rule == SATCHEL_RULE_IMMUTABLE || column->rule == SATCHEL_RULE_SERVER ||
           column->rule == SATCHEL_RULE_APPEND;
}

static void put_update(struct sim_sql *sql, const struct satchel_table *table, unsigned key)
{
    unsigned chance = table->column_count > 12 ? 6 : 4;
    bool is_first = true;
    sim_put(sql, "UPDATE %s SET ", table->name);
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct satchel_column *column = &table->columns[i];
        if (column->key_position > 0 || !sim_one_in(SIM_WORK, chance) ||
            (is_fixed(column) && !sim_one_in(SIM_WORK, 20)))
            continue;
        sim_put(sql, "%s%s=", is_first ? "" : ",", column->name);
        is_first = false;
        if (sim_one_in(SIM_WORK, 10))
            sim_put(sql, "%s", column->name);
        else if (column->rule == SATCHEL_RULE_COUNTER && !sim_one_in(SIM_WORK, 4))
            sim_put(sql, "coalesce(%s,0)+%d", column->name, (int)sim_below(SIM_WORK, 12) - 3);
        else
            put_value(sql, column);
    }
    if (is_first)
        sim_put(sql, "%s=%s", table->columns[0].name, table->columns[0].name);
    put_where(sql, table, key);
}

/* What says who may do what, and which states there are, is not for everybody to play with; nor
 * what the node answers with a number, where the same is to be written in other orders. */
static bool is_setting(const struct satchel_table *table)
{
    static const char *const names[] = {"stage", "pipeline_stage", "user", "org_unit",
                                        "custom_field"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(table->name, names[i]) == 0)
            return true;
    return table->is_local || (!sim.options.has_numbers && strcmp(table->name, "ticket") == 0);
}

const struct satchel_table *sim_work_table(const struct satchel_schema *schema)
{
    for (;;) {
        unsigned number =
            sim_one_in(SIM_WORK, 2)
                ? sim_below(SIM_WORK, schema->table_count)
                : (unsigned)((sim.seed + sim_below(SIM_WORK, 3)) % schema->table_count);
        if (!is_setting(&schema->tables[number]))
            return &schema->tables[number];
        if (sim_one_in(SIM_WORK, 8)) /* the seed's favourites may be none */
            for (uint32_t i = 0; i < schema->table_count; i++)
                if (!is_setting(&schema->tables[i]))
                    return &schema->tables[i];
    }
}

void sim_work_statement(const struct satchel_schema *schema, struct sim_sql *sql)
{
    static const char *const verbs[] = {"INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE",
                                        "INSERT"};
    if (sim.options.world == SIM_DUEL) {
        sim_duel_statement(sql);
        return;
    }
    if (sim_is_scoped(sim.options.world)) {
        sim_scoped_statement(schema, sql);
        return;
    }
    const struct satchel_table *table = sim_work_table(schema);
    unsigned key = sim_one_in(SIM_WORK, 2) ? 0 : sim_below(SIM_WORK, sim.options.key_count);
    unsigned chance = sim_below(SIM_WORK, 20);
    sql->size = 0;
    if (chance < 7)
        put_insert(sql, table, SOME(verbs), key);
    else if (chance < 17)
        put_update(sql, table, key);
    else if (chance < 19 || sim.options.world == SIM_CRM) {
        sim_put(sql, "DELETE FROM %s", table->name);
        put_where(sql, table, key);
    } else {
        sim_put(sql, "INSERT INTO seen_items VALUES('local',2)");
    }
}

void sim_work_import(const struct satchel_schema *schema, const struct satchel_table *table,
                     struct sim_sql *sql)
{
    (void)schema;
    sql->size = 0;
    is_importing = true;
    put_insert(sql, table, "INSERT OR IGNORE", (unsigned)(100 + ++next_value));
    is_importing = false;
}
