/* Owns the world of scopes (docs/scopes.md): a table of each kind of scope, a few users, and
 * statements that give rows away, hang them elsewhere, share them, move users from unit to unit,
 * and write to what was given away meanwhile. Each text bears the mark of its row. */
#include "simulation.h"

#include <string.h>

static const char TABLES[] =
    "-- @table scope=all delete=forbid\n"
    "CREATE TABLE unit(id TEXT PRIMARY KEY, parent_id TEXT REFERENCES unit(id));\n"
    "-- @table scope=all delete=forbid\n"
    "CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT, -- @immutable\n"
    "  unit_id TEXT REFERENCES unit(id));\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE member(id TEXT PRIMARY KEY, person_id TEXT REFERENCES person(id), value TEXT);\n"
    "-- @table scope=row(owner_id, unit_id, id) delete=edit_wins\n"
    "CREATE TABLE folder(id TEXT PRIMARY KEY, a TEXT, owner_id TEXT REFERENCES person(id),\n"
    "  unit_id TEXT REFERENCES unit(id), n INTEGER DEFAULT 0 -- @counter\n"
    ");\n"
    "-- @table scope=via(folder_id) delete=edit_wins\n"
    "CREATE TABLE paper(id TEXT PRIMARY KEY, a TEXT, folder_id TEXT REFERENCES folder(id),\n"
    "  b TEXT DEFAULT 'b');\n"
    "-- @table scope=via(kind, on_id) delete=delete_wins\n"
    "CREATE TABLE remark(id TEXT PRIMARY KEY, a TEXT, kind TEXT, on_id TEXT -- @lww @ref(kind)\n"
    ");\n"
    "-- @table scope=via(folder_id) row(owner_id) delete=edit_wins\n"
    "CREATE TABLE task(id TEXT PRIMARY KEY, a TEXT, folder_id TEXT REFERENCES folder(id),\n"
    "  owner_id TEXT REFERENCES person(id), n INTEGER DEFAULT 0 -- @counter\n"
    ");\n"
    "-- @table scope=row(owner_id) via(parent_id) delete=edit_wins\n"
    "CREATE TABLE node(id TEXT PRIMARY KEY, a TEXT, parent_id TEXT REFERENCES node(id),\n"
    "  owner_id TEXT REFERENCES person(id));\n"
    "-- @table scope=server delete=edit_wins\n"
    "CREATE TABLE secret(id TEXT PRIMARY KEY, a TEXT);\n"
    "-- @table scope=via(secret_id) row(owner_id) delete=edit_wins\n"
    "CREATE TABLE pin(id TEXT PRIMARY KEY, a TEXT, secret_id TEXT REFERENCES secret(id),\n"
    "  owner_id TEXT REFERENCES person(id));\n"
    "CREATE INDEX member_value ON member(value COLLATE NOCASE DESC, person_id);\n"
    "CREATE INDEX paper_folder ON paper(folder_id, a);\n"
    "CREATE INDEX task_n ON task(n);\n"
    "CREATE VIEW satchel_users(login, id, role, active) AS SELECT login, id, 'rep', 1 FROM "
    "person;\n"
    "CREATE VIEW satchel_grants(user, value) AS\n"
    "WITH RECURSIVE below(user, unit) AS (\n"
    "  SELECT id, unit_id FROM person WHERE unit_id IS NOT NULL UNION\n"
    "  SELECT below.user, unit.id FROM below JOIN unit ON unit.parent_id = below.unit)\n"
    "SELECT id, id FROM person UNION SELECT user, unit FROM below\n"
    "UNION SELECT person_id, value FROM member;\n";
static const char ROWS[] =
    "INSERT INTO unit(id, parent_id) VALUES('top', NULL), ('north', 'top'), ('south', 'top');\n"
    "INSERT INTO person(id, login, unit_id) VALUES('p0', 'user0', 'north'),\n"
    " ('p1', 'user1', 'south'), ('p2', 'user2', 'north'), ('p3', 'user3', NULL),\n"
    " ('p4', 'user4', 'top'), ('p5', 'user5', NULL);\n";

/* What masked columns add to that. */
static const struct {
    const char *from, *to;
} MASKS[] = {
    {"login TEXT, -- @immutable\n", "login TEXT, -- @immutable\n  role TEXT DEFAULT 'rep',\n"},
    {"'rep', 1 FROM person", "role, 1 FROM person"},
    {"person_id TEXT REFERENCES person(id), value TEXT);",
     "person_id TEXT REFERENCES person(id), value TEXT,\n"
     "  m TEXT DEFAULT 'm' -- @lww @mask(boss)\n);"},
    {"  b TEXT DEFAULT 'b');", "  b TEXT DEFAULT 'b',\n  m TEXT, -- @group(g) @mask(boss)\n"
                               "  l INTEGER DEFAULT 0 -- @group(g) @mask(boss)\n);"},
    {"CREATE TABLE node(id TEXT PRIMARY KEY,",
     "CREATE TABLE node(id TEXT PRIMARY KEY, m TEXT DEFAULT 'm', -- @lww @mask(boss)\n"
     "  l INTEGER DEFAULT 0, -- @max @mask(boss, chief)\n"
     "  n INTEGER DEFAULT 0, -- @counter @mask(chief)\n"},
    {"INSERT INTO person(id, login, unit_id)", "INSERT INTO person(id, login, unit_id, role)"},
    {"'user0', 'north')", "'user0', 'north', 'rep')"},
    {"'user1', 'south')", "'user1', 'south', 'boss')"},
    {"'user2', 'north')", "'user2', 'north', 'rep')"},
    {"'user3', NULL)", "'user3', NULL, 'rep')"},
    {"'user4', 'top')", "'user4', 'top', 'chief')"},
    {"'user5', NULL)", "'user5', NULL, 'boss')"},
};

static void put_with_masks(const char *text, bool has_masks, struct satchel_buffer *out)
{
    while (*text) {
        size_t i = 0, count = has_masks ? sizeof MASKS / sizeof MASKS[0] : 0;
        while (i < count && strncmp(text, MASKS[i].from, strlen(MASKS[i].from)) != 0)
            i++;
        const char *add = i < count ? MASKS[i].to : text;
        sim_ok(satchel_buffer_append(out, add, i < count ? strlen(add) : 1), "write", NULL);
        text += i < count ? strlen(MASKS[i].from) : 1;
    }
}

void sim_scoped_tables(bool has_masks, struct satchel_buffer *out)
{
    put_with_masks(TABLES, has_masks, out);
}

void sim_scoped_rows(bool has_masks, struct satchel_buffer *out)
{
    put_with_masks(ROWS, has_masks, out);
}

/* ---- chance ---- */

static unsigned below(unsigned limit)
{
    return sim_below(SIM_WORK, limit);
}

static unsigned key(void)
{
    return below(2) ? below(sim.options.key_count) : 0;
}

static const char *some_unit(void)
{
    static const char *const units[] = {"'north'", "'south'", "'north'",
                                        "'south'", "'top'",   "NULL"};
    return units[below(sizeof units / sizeof units[0])];
}

static unsigned some_person(void)
{
    return below(sim.options.device_count);
}

/* ---- marks ---- */

static unsigned *authors;
static size_t author_count, author_capacity;

int sim_scoped_author(unsigned long long mark)
{
    return mark < author_count ? (int)authors[mark] : -1;
}

/* ~table:row:mark~, with ! where it is for a masked column. */
static void put_text(struct sim_sql *sql, const struct satchel_table *table, unsigned row,
                     char sign)
{
    SIM_GROW(authors, author_count, author_capacity);
    authors[author_count++] = sim.devices[sim.process->machine->index].user;
    sim_put(sql, "'%c%u:k%u:%zu%c'", sign, table->number, row, author_count - 1, sign);
}

/* ---- statements ---- */

static void put_column(struct sim_sql *sql, const struct satchel_table *table, const char *column,
                       unsigned row)
{
    static const char *const kinds[] = {"'folder'", "'task'", "'paper'", "'node'", "'remark'"};
    if (strcmp(column, "a") == 0 || strcmp(column, "b") == 0)
        put_text(sql, table, row, '~');
    else if (strcmp(column, "m") == 0)
        put_text(sql, table, row, '!');
    else if (strcmp(column, "owner_id") == 0)
        sim_put(sql, "'p%u'", some_person());
    else if (strcmp(column, "unit_id") == 0)
        sim_put(sql, "%s", some_unit());
    else if (strcmp(column, "kind") == 0)
        sim_put(sql, "%s", kinds[below(sizeof kinds / sizeof kinds[0])]);
    else if (strcmp(column, "n") == 0 || strcmp(column, "l") == 0)
        sim_put(sql, "%u", below(9));
    else
        sim_put(sql, below(8) ? "'k%u'" : "NULL", key());
}

static void put_insert(struct sim_sql *sql, const struct satchel_table *table, unsigned row)
{
    sim_put(sql, "INSERT INTO %s(id", table->name);
    for (uint32_t c = 1; c < table->column_count; c++)
        sim_put(sql, ", %s", table->columns[c].name);
    sim_put(sql, ") VALUES('k%u'", row);
    for (uint32_t c = 1; c < table->column_count; c++) {
        sim_put(sql, ", ");
        put_column(sql, table, table->columns[c].name, row);
    }
    sim_put(sql, ")");
}

static void put_update(struct sim_sql *sql, const struct satchel_table *table, unsigned row)
{
    const char *column = table->columns[1 + below(table->column_count - 1)].name;
    sim_put(sql, "UPDATE %s SET %s=", table->name, column);
    if (strcmp(column, "n") == 0)
        sim_put(sql, "coalesce(n,0)+%u", 1 + below(9));
    else
        put_column(sql, table, column, row);
    if (below(3) == 0 && strcmp(column, "a") != 0) {
        sim_put(sql, ", a=");
        put_text(sql, table, row, '~');
    }
    sim_put(sql, " WHERE id='k%u'", row);
}

/* Who sees which columns. */
static void put_role(struct sim_sql *sql)
{
    static const char *const roles[] = {"rep", "rep", "boss", "chief"};
    sim_put(sql, "UPDATE person SET role='%s' WHERE id='p%u'",
            roles[below(sizeof roles / sizeof roles[0])], some_person());
}

/* What a user is granted. */
static void put_grant(struct sim_sql *sql)
{
    switch (below(6)) {
    case 0: sim_put(sql, "DELETE FROM member WHERE id='m%u'", below(4)); break;
    case 1:
        sim_put(sql, "UPDATE person SET unit_id=%s WHERE id='p%u'", some_unit(), some_person());
        break;
    case 2:
        sim_put(sql, "UPDATE unit SET parent_id=%s WHERE id='%s'", some_unit(),
                below(2) ? "south" : "north");
        break;
    case 3:
        sim_put(sql,
                "INSERT OR REPLACE INTO member(id, person_id, value)"
                " VALUES('m%u', 'p%u', 'p%u')",
                below(4), some_person(), some_person());
        break;
    default:
        sim_put(sql,
                "INSERT OR REPLACE INTO member(id, person_id, value)"
                " VALUES('m%u', 'p%u', 'k%u')",
                below(4), some_person(), key());
    }
}

void sim_scoped_statement(const struct satchel_schema *schema, struct sim_sql *sql)
{
    static const char *const names[] = {"folder", "folder", "paper",  "paper", "remark",
                                        "task",   "node",   "secret", "pin"};
    const struct satchel_table *table =
        satchel_schema_find(schema, names[below(sizeof names / sizeof names[0])]);
    unsigned row = key(), chance = below(20);
    sql->size = 0;
    if (sim.options.world == SIM_MASKED && below(12) == 0)
        put_role(sql);
    else if (chance < 3)
        put_grant(sql);
    else if (chance < 9)
        put_insert(sql, table, row);
    else if (chance < 18)
        put_update(sql, table, row);
    else
        sim_put(sql, "DELETE FROM %s WHERE id='k%u'", table->name, row);
}
