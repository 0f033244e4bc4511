/* Owns the duel: a world of three small tables, and statements that write the same few rows again
 * and again. Some clauses of the rules need several writes to one row, each made before its author
 * was shown the one before; in the other worlds a run hardly ever writes one row that often. */
#include "simulation.h"

/* One table for each of what only such histories tell: kept and gone differ in what a delete does;
 * twin is the table that tests/property/cluster_reference.h knows. */
#define COLUMNS                            \
    "  id TEXT PRIMARY KEY,\n"             \
    "  a TEXT,\n"                          \
    "  b TEXT DEFAULT 'b',\n"              \
    "  won TEXT, -- @first\n"              \
    "  n INTEGER DEFAULT 0, -- @counter\n" \
    "  amount INTEGER, -- @group(money)\n" \
    "  currency TEXT -- @group(money)\n"
const char sim_duel_tables[] = "-- @table scope=all delete=edit_wins\n"
                               "CREATE TABLE kept(\n" COLUMNS ");\n"
                               "-- @table scope=all delete=delete_wins\n"
                               "CREATE TABLE gone(\n" COLUMNS ");\n"
                               "-- @table scope=all delete=edit_wins\n"
                               "CREATE TABLE twin(\n"
                               "  id TEXT PRIMARY KEY,\n"
                               "  tax TEXT, -- @key\n"
                               "  name TEXT,\n"
                               "  phone TEXT, -- @key\n"
                               "  visits INTEGER DEFAULT 0 -- @counter\n"
                               ");\n";
const char sim_duel_rows[] = "INSERT INTO kept(id, a, n) VALUES('k0', 'first', 7);\n"
                             "INSERT INTO gone(id, a, n) VALUES('k0', 'first', 7);\n"
                             "INSERT INTO twin(id, tax, name) VALUES('t0', 'K', 'first');\n"
                             "INSERT INTO twin(id, tax, name) VALUES('t1', 'L', 'second');\n";

/* Of the units of kept and gone the first are those in which it matters who had seen whom. */
enum { TWINS = 4, UNITS = 5, SEEING_UNITS = 3, SPELLS = 3 };
static unsigned long long next_value;

static unsigned below(unsigned limit)
{
    return sim_below(SIM_WORK, limit);
}

/* Which of all duels this is. */
static unsigned number(void)
{
    return (unsigned)(sim.seed / SIM_DUEL_SEEDS);
}

/* ---- kept, gone ---- */

static void put_column(struct sim_sql *sql, unsigned column)
{
    next_value++;
    switch (column) {
    case 0: sim_put(sql, "a='v%llu'", next_value); break;
    case 1: sim_put(sql, "b='v%llu'", next_value); break;
    case 2: sim_put(sql, "amount=%llu, currency='c%llu'", next_value, next_value); break;
    case 3: sim_put(sql, "won='v%llu'", next_value); break;
    default: sim_put(sql, "n=coalesce(n,0)+%u", 1 + below(9));
    }
}

static void put_row(struct sim_sql *sql, const char *table, unsigned key)
{
    unsigned long long value = ++next_value;
    sim_put(sql, "INSERT INTO %s(id, a, b, won, n, amount, currency) VALUES('k%u'", table, key);
    for (unsigned column = 0; column < 3; column++)
        if (below(3) == 0)
            sim_put(sql, ", %s", column == 1 ? "'b'" : "NULL");
        else
            sim_put(sql, ", 'i%llu'", value);
    sim_put(sql, ", %u, %llu, 'i%llu')", below(5), value, value);
}

/* The time is spells. At the beginning of each everybody writes one thing in a hurry; one device
 * goes on with it while the others' writes come, under writes of its own that nobody has answered;
 * then all wait. */
static int64_t spell_ms(void)
{
    return sim.options.span_ms / SPELLS;
}

static unsigned spell(void)
{
    return (unsigned)((sim.now_ms - sim.begun_ms) / spell_ms());
}

/* What is written in this spell. */
static unsigned hot(unsigned limit)
{
    return (number() + spell() * 3) % limit;
}

unsigned sim_duel_pause_ms(const struct sim_device *device)
{
    int64_t into_ms = (sim.now_ms - sim.begun_ms) % spell_ms(), hurry_ms = spell_ms() / 3;
    bool goes_on = device->index == (number() + spell()) % sim.options.device_count;
    if (into_ms < (goes_on ? hurry_ms : hurry_ms / 4))
        return (unsigned)hurry_ms / 5;
    return (unsigned)(spell_ms() - into_ms + hurry_ms / 4);
}

/* What only such histories tell is often overwritten later: so the reference is asked on the way,
 * too. */
static void look(void *context, uint64_t unused)
{
    (void)context;
    (void)unused;
    if (sim.phase != SIM_PHASE_WORK)
        return;
    sim_check_reference(false);
    sim_after(spell_ms() / 2, look, NULL, 0);
}

void sim_duel_start(void)
{
    sim_after(spell_ms() / 2, look, NULL, 0);
}

static void put_plain(struct sim_sql *sql, const char *table, unsigned deletes)
{
    unsigned unit = hot(SEEING_UNITS * sim.options.key_count), chance = below(10);
    bool is_hot = below(4) > 0;
    unsigned key = is_hot ? unit / SEEING_UNITS : below(sim.options.key_count);
    if (chance < deletes) {
        sim_put(sql, "DELETE FROM %s WHERE id='k%u'", table, key);
    } else if (chance < 2 * deletes) {
        put_row(sql, table, key);
    } else {
        unsigned first = is_hot ? unit % SEEING_UNITS : below(UNITS);
        sim_put(sql, "UPDATE %s SET ", table);
        put_column(sql, first);
        if (below(5) == 0) {
            sim_put(sql, ", ");
            put_column(sql, (first + 1 + below(UNITS - 1)) % UNITS);
        }
        sim_put(sql, " WHERE id='k%u'", key);
    }
}

/* ---- twin ---- */

/* Keys are letters, so that the naive reference can compare them. */
static const char *some_key(void)
{
    static const char *const keys[] = {"'K'", "'K'", "'k'", "'L'", "'M'", "''", "NULL"};
    return keys[below(sizeof keys / sizeof keys[0])];
}

static void put_twin(struct sim_sql *sql)
{
    unsigned row = below(4) ? hot(TWINS) : below(TWINS), chance = below(10);
    next_value++;
    if (chance < 3) {
        sim_put(sql,
                "INSERT INTO twin(id, tax, name, phone, visits) VALUES('t%u', %s, 'i%llu', %s, %u)",
                row, some_key(), next_value, below(4) ? "NULL" : some_key(), below(5));
    } else if (chance < 4) {
        sim_put(sql, "DELETE FROM twin WHERE id='t%u'", row);
    } else {
        sim_put(sql, "UPDATE twin SET name='v%llu'", next_value);
        if (below(3) == 0)
            sim_put(sql, ", tax=%s", some_key());
        if (below(6) == 0)
            sim_put(sql, ", phone=%s", some_key());
        if (below(4) == 0)
            sim_put(sql, ", visits=coalesce(visits,0)+%u", 1 + below(9));
        sim_put(sql, " WHERE id='t%u'", row);
    }
}

/* Mostly on the seed's table. */
void sim_duel_statement(struct sim_sql *sql)
{
    sql->size = 0;
    switch (below(8) ? number() % 4 : below(4)) {
    case 0: put_plain(sql, "gone", 3); break;
    case 1: put_twin(sql); break;
    default: put_plain(sql, "kept", 1);
    }
}
