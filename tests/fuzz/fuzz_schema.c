/* The schema of fuzz.h: every rule that is built, in one table. */
#include "fuzz.h"

#include <satchel/schema.h>

#include <stdio.h>

const char fuzz_schema_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE thing(\n"
    "  id TEXT PRIMARY KEY,\n"
    "  title TEXT,                 -- @lww\n"
    "  code TEXT,                  -- @immutable\n"
    "  line TEXT,                  -- @append\n"
    "  amount INTEGER DEFAULT 7,   -- @group(price)\n"
    "  currency TEXT,              -- @group(price)\n"
    "  most INTEGER,               -- @max\n"
    "  least REAL,                 -- @min\n"
    "  one TEXT,                   -- @first\n"
    "  hits INTEGER DEFAULT 100,   -- @counter\n"
    "  tags TEXT DEFAULT '[\"a\"]', -- @set\n"
    "  extra TEXT,                 -- @map\n"
    "  body TEXT,                  -- @text3\n"
    "  stage TEXT DEFAULT 'draft', -- @state(thing)\n"
    "  why TEXT,                   -- @follows(stage)\n"
    "  grade TEXT,                 -- @authority(hq>rep)\n"
    "  owner TEXT,                 -- @claim(hq>rep)\n"
    "  phone TEXT,                 -- @key\n"
    "  mail TEXT,                  -- @key(weak)\n"
    "  sum INTEGER                 -- @lww frozen(sent)\n"
    ");\n"
    "-- @table scope=via(thing_id) delete=edit_wins\n"
    "CREATE TABLE part(id TEXT PRIMARY KEY,\n"
    "  thing_id TEXT REFERENCES thing(id), -- @lww\n"
    "  count INTEGER,                      -- @lww frozen(parent)\n"
    "  note TEXT                           -- @lww\n"
    ");\n"
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS\n"
    "  SELECT 'thing', 'draft', 10, 0, '[]';\n";

#define SPAN(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct satchel_span back_to_draft[] = {SPAN("draft")};
static const struct satchel_state states[] = {{SPAN("draft"), 10, false, NULL, 0},
                                              {SPAN("lost"), 40, true, NULL, 0},
                                              {SPAN("sent"), 20, false, back_to_draft, 1},
                                              {SPAN("won"), 50, true, back_to_draft, 1}};
const struct satchel_machine fuzz_machine = {states, 4};

const struct satchel_schema *fuzz_schema(void)
{
    static struct satchel_schema *schema; /* reachable until the process ends */
    const struct satchel_migration migration = {1, satchel_span_text("001_fuzz.sql"),
                                                satchel_span_text(fuzz_schema_sql)};
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (!schema && satchel_schema_new(&schema, &migration, 1, &error) != SATCHEL_OK) {
        fprintf(stderr, "%s\n", error.message);
        fuzz_fail("the schema of the fuzz targets is one", __FILE__, __LINE__);
    }
    return schema;
}
