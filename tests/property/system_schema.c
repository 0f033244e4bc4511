/* Owns the schema of the whole-system test and of the simulator: every rule that is built, in two
 * migrations, with and without their first rows. */
#include "system_schema.h"

#define TABLES_1                                                                                \
    "-- @table scope=all delete=edit_wins\n"                                                    \
    "CREATE TABLE item(\n"                                                                      \
    "  id TEXT PRIMARY KEY,\n"                                                                  \
    "  a TEXT,\n"                                                                               \
    "  b TEXT DEFAULT 'dflt',\n"                                                                \
    "  born TEXT, -- @immutable\n"                                                              \
    "  amount INTEGER DEFAULT 0, -- @group(money)\n"                                            \
    "  lo REAL, -- @min\n"                                                                      \
    "  currency TEXT DEFAULT 'CNY', -- @group(money)\n"                                         \
    "  hi, -- @max\n"                                                                           \
    "  won TEXT, -- @first\n"                                                                   \
    "  hits INTEGER NOT NULL DEFAULT 5, -- @counter\n"                                          \
    "  made TEXT DEFAULT (lower('MADE')),\n"                                                    \
    "  raw BLOB NOT NULL DEFAULT x'00'\n"                                                       \
    ");\n"                                                                                      \
    "-- @table scope=all delete=edit_wins\n"                                                    \
    "CREATE TABLE part(\n"                                                                      \
    "  id TEXT PRIMARY KEY,\n"                                                                  \
    "  item TEXT REFERENCES item(id) ON DELETE CASCADE,\n"                                      \
    "  note TEXT\n"                                                                             \
    ");\n"                                                                                      \
    "-- @table scope=all delete=forbid append\n"                                                \
    "CREATE TABLE fact(id BLOB PRIMARY KEY NOT NULL, what, amount REAL);\n"                     \
    "-- @table scope=all delete=forbid\n"                                                       \
    "CREATE TABLE fixed(\n"                                                                     \
    "  id INTEGER PRIMARY KEY, -- @id(assigned)\n"                                              \
    "  x,\n"                                                                                    \
    "  y INTEGER NOT NULL DEFAULT -1, -- @max\n"                                                \
    "  z TEXT -- @first\n"                                                                      \
    ");\n"                                                                                      \
    "-- @table scope=all delete=edit_wins\n"                                                    \
    "CREATE TABLE pair(\n"                                                                      \
    "  k1 TEXT,\n"                                                                              \
    "  v REAL,\n"                                                                               \
    "  k2 INTEGER,\n"                                                                           \
    "  w BLOB,\n"                                                                               \
    "  n INTEGER, -- @counter\n"                                                                \
    "  PRIMARY KEY(k2, k1)\n"                                                                   \
    ") WITHOUT ROWID;\n"                                                                        \
    "-- @table scope=all delete=edit_wins\n"                                                    \
    "CREATE TABLE stock(\n"                                                                     \
    "  id TEXT PRIMARY KEY,\n"                                                                  \
    "  n INTEGER NOT NULL DEFAULT 0 CHECK(n BETWEEN -9 AND 9), -- @counter\n"                   \
    "  note TEXT\n"                                                                             \
    ");\n"                                                                                      \
    "-- @table scope=all delete=edit_wins\n"                                                    \
    "CREATE TABLE stage(code TEXT PRIMARY KEY, rank INTEGER, closed INTEGER, back_to TEXT);\n"  \
    "CREATE VIEW satchel_states AS SELECT 'deal' AS machine, code, rank, closed, back_to FROM " \
    "stage;\n"                                                                                  \
    "-- @table scope=all delete=edit_wins\n"                                                    \
    "CREATE TABLE deal(\n"                                                                      \
    "  id TEXT PRIMARY KEY,\n"                                                                  \
    "  stage TEXT DEFAULT 'new', -- @state(deal)\n"                                             \
    "  why TEXT,                 -- @follows(stage)\n"                                          \
    "  tags TEXT,                -- @set\n"                                                     \
    "  since TEXT,               -- @follows(stage)\n"                                          \
    "  prefs TEXT DEFAULT '{\"k\":0}', -- @map\n"                                               \
    "  notes TEXT DEFAULT 'one',     -- @text3\n"                                               \
    "  owner TEXT,               -- @claim(hq>rep)\n"                                           \
    "  tier TEXT,                -- @authority(hq>rep)\n"                                       \
    "  terms TEXT,               -- @lww frozen(sent)\n"                                        \
    "  price INTEGER,            -- @group(price)\n"                                            \
    "  basis TEXT,               -- @follows(price)\n"                                          \
    "  unit TEXT                 -- @group(price)\n"                                            \
    ");\n"                                                                                      \
    "-- @table scope=all delete=delete_wins\n"                                                  \
    "CREATE TABLE firm(id TEXT PRIMARY KEY, phone TEXT, -- @key\n"                              \
    "  tags TEXT DEFAULT '[1]', -- @set\n"                                                      \
    "  name TEXT,\n"                                                                            \
    "  boss TEXT REFERENCES firm(id)\n"                                                         \
    ");\n"                                                                                      \
    "-- @table local\n"                                                                         \
    "CREATE TABLE seen_items(id TEXT, n INTEGER);\n"                                            \
    "CREATE TRIGGER item_seen AFTER INSERT ON item BEGIN\n"                                     \
    "  INSERT INTO seen_items VALUES(new.id, 1);\n"                                             \
    "END;\n"                                                                                    \
    "CREATE TRIGGER item_ring AFTER UPDATE OF a ON item\n"                                      \
    "WHEN NOT satchel_applying() AND new.a = 'ring' BEGIN\n"                                    \
    "  UPDATE item SET hits = hits + 1 WHERE id = new.id;\n"                                    \
    "  INSERT OR IGNORE INTO part(id, item, note) VALUES('k0', new.id, 'rung');\n"              \
    "END;\n"
#define ROWS_1                                                             \
    "INSERT INTO item(id, a, hits) VALUES('k0', 'first', 7);\n"            \
    "INSERT INTO pair(k1, k2, v) VALUES('k0', 0, 1.5);\n"                  \
    "INSERT INTO stage VALUES('new', 10, 0, '[]'),"                        \
    " ('sent', 30, 0, '[\"new\"]'), ('won', 50, 1, '[\"new\",\"sent\"]')," \
    " ('lost', 50, 1, '[\"new\",\"sent\"]');\n"
#define TABLES_2                                                                  \
    "ALTER TABLE item ADD COLUMN extra TEXT DEFAULT 'more'; -- @first\n"          \
    "ALTER TABLE pair ADD COLUMN top INTEGER; -- @max\n"                          \
    "ALTER TABLE part ADD COLUMN count INTEGER NOT NULL DEFAULT 3; -- @counter\n" \
    "-- @table scope=all delete=edit_wins\n"                                      \
    "CREATE TABLE late(id TEXT PRIMARY KEY, t TEXT);\n"
#define ROWS_2                                            \
    "INSERT INTO late(id, t) VALUES('k1', 'deployed');\n" \
    "INSERT INTO item(id, a) VALUES('deployed', 'deployed');\n"

const struct satchel_migration system_migrations[2] = {
    {1,
     {(const uint8_t *)"001_init.sql", 12},
     {(const uint8_t *)TABLES_1 ROWS_1, sizeof(TABLES_1 ROWS_1) - 1}},
    {2,
     {(const uint8_t *)"002_more.sql", 12},
     {(const uint8_t *)TABLES_2 ROWS_2, sizeof(TABLES_2 ROWS_2) - 1}},
};
const struct satchel_migration system_bare_migrations[2] = {
    {1, {(const uint8_t *)"001_init.sql", 12}, {(const uint8_t *)TABLES_1, sizeof TABLES_1 - 1}},
    {2, {(const uint8_t *)"002_more.sql", 12}, {(const uint8_t *)TABLES_2, sizeof TABLES_2 - 1}},
};
