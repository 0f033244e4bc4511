/* What is promised of schemas: what the migrations say is what the schema says, and everything the
 * schema documentation refuses is refused with file, line, reason and remedy. */
#include "schema_internal.h"

#include <satchel/sqlite.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct satchel_migration migration_of(uint64_t number, const char *sql)
{
    static const char *const names[] = {"000", "001_init.sql", "002_more.sql", "003_last.sql",
                                        "004.sql"};
    struct satchel_migration migration = {number, satchel_span_text(names[number]),
                                          satchel_span_text(sql)};
    return migration;
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static struct satchel_schema *make(const char *first, const char *second, bool as_if_built)
{
    struct satchel_error error = {0};
    struct satchel_schema *schema = NULL;
    const struct satchel_migration migrations[] = {migration_of(1, first),
                                                   migration_of(2, second ? second : "")};
    enum satchel_status status =
        satchel_schema_new_internal(&schema, migrations, second ? 2 : 1, as_if_built, &error);
    if (status != SATCHEL_OK)
        fail_msg("refused: %s", error.message);
    assert_non_null(schema);
    return schema;
}

/* What every schema with @state needs. */
#define STATES_VIEW                                                        \
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS " \
    "SELECT 'quote', 'sent', 20, 0, '[]';"

static void expect_accepted(const char *sql)
{
    satchel_schema_free(make(sql, STATES_VIEW, true));
}

/* Refused with "PLACE: " and these parts in reason and remedy. `second` may be NULL. */
static void expect_refused_at(const char *first, const char *second, bool as_if_built,
                              const char *place, const char *reason, const char *remedy)
{
    struct satchel_error error = {0};
    struct satchel_schema *schema = NULL;
    const struct satchel_migration migrations[] = {migration_of(1, first),
                                                   migration_of(2, second ? second : "")};
    enum satchel_status status =
        satchel_schema_new_internal(&schema, migrations, second ? 2 : 1, as_if_built, &error);
    if (status != SATCHEL_SCHEMA)
        fail_msg("status %s (%s) for: %s", satchel_status_name(status), error.message, first);
    assert_null(schema);
    assert_int_equal(error.status, SATCHEL_SCHEMA);
    if (strncmp(error.message, place, strlen(place)) != 0 || error.message[strlen(place)] != ':')
        fail_msg("\"%s\" does not begin with \"%s: \"", error.message, place);
    assert_contains(error.message, reason);
    const char *semicolon = strrchr(error.message, ';');
    assert_non_null(semicolon);
    const char *first_semicolon = strchr(error.message, ';');
    assert_contains(first_semicolon, remedy);
}

/* In the first file, as a server would judge it. */
static void expect_refused(const char *sql, int line, const char *reason, const char *remedy)
{
    char place[64];
    snprintf(place, sizeof place, "001_init.sql:%d", line);
    expect_refused_at(sql, NULL, false, place, reason, remedy);
}

/* The same if everything were built. */
static void expect_mistake(const char *sql, int line, const char *reason, const char *remedy)
{
    char place[64];
    snprintf(place, sizeof place, "001_init.sql:%d", line);
    expect_refused_at(sql, NULL, true, place, reason, remedy);
}

#define ALL "-- @table scope=all delete=edit_wins\n"
#define LOCAL "-- @table local\n"
/* A synced table t whose columns, from line 3 on, are `columns`. */
#define TABLE(columns) ALL "CREATE TABLE t (id TEXT PRIMARY KEY,\n" columns "\n);\n"

static const struct satchel_column *column_of(const struct satchel_schema *schema,
                                              const char *table, const char *column)
{
    const struct satchel_table *found = satchel_schema_find(schema, table);
    assert_non_null(found);
    const struct satchel_column *column_found = satchel_table_find_column(found, column);
    assert_non_null(column_found);
    return column_found;
}

static const struct satchel_column_rules *rules_of(const struct satchel_schema *schema,
                                                   const char *table, const char *column)
{
    return &satchel_schema_find(schema, table)
                ->rules.columns[column_of(schema, table, column)->number];
}

/* ---- what a schema says ---- */

static void test_schema__tables_are_numbered_in_order_of_creation_over_all_migrations(void **state)
{
    (void)state;
    struct satchel_schema *schema = make(LOCAL "CREATE TABLE z (x);\n" TABLE("a"),
                                         ALL "CREATE TABLE \"B c\" (k1 INT, k2 INT, v,\n"
                                             "PRIMARY KEY (k2, k1)) WITHOUT ROWID;\n" LOCAL
                                             "CREATE VIRTUAL TABLE f USING fts5(body);\n",
                                         false);
    assert_int_equal(schema->table_count, 4);
    assert_int_equal(schema->migration_count, 2);
    static const char *const names[] = {"z", "t", "B c", "f"};
    static const bool local[] = {true, false, false, true};
    for (uint32_t i = 0; i < 4; i++) {
        const struct satchel_table *table = satchel_schema_table(schema, i + 1);
        assert_int_equal(table->number, i + 1);
        assert_string_equal(table->name, names[i]);
        assert_int_equal(table->is_local, local[i]);
    }
    const struct satchel_table *composite = satchel_schema_find(schema, "b C");
    assert_ptr_equal(composite, satchel_schema_table(schema, 3));
    assert_true(composite->without_rowid);
    assert_int_equal(composite->key_count, 2);
    assert_int_equal(composite->key_columns[0], 1);
    assert_int_equal(composite->key_columns[1], 0);
    assert_int_equal(composite->columns[0].key_position, 2);
    assert_null(satchel_schema_table(schema, 0));
    assert_null(satchel_schema_table(schema, 5));
    assert_null(satchel_schema_find(schema, "nothing"));
    satchel_schema_free(schema);
}

static void test_schema__columns_have_the_rule_of_their_annotation_or_the_default(void **state)
{
    (void)state;
    struct satchel_schema *schema = make(
        TABLE("a INT, -- @max\nb TEXT,\nc TEXT, -- @group(Address)\nd TEXT, -- @group(address)\n"
              "e INT NOT NULL DEFAULT 0 -- @counter"),
        "-- @column t.b @first\nALTER TABLE t ADD COLUMN f TEXT; -- @min\n"
        "ALTER TABLE t ADD g REFERENCES t(id);",
        false);
    static const struct {
        const char *name;
        enum satchel_rule rule;
        uint32_t unit;
        const char *field;
    } wanted[] = {
        {"id", SATCHEL_RULE_ID, 0, "id"},        {"a", SATCHEL_RULE_MAX, 1, "a"},
        {"b", SATCHEL_RULE_FIRST, 2, "b"},       {"c", SATCHEL_RULE_GROUP, 3, "Address"},
        {"d", SATCHEL_RULE_GROUP, 3, "Address"}, {"e", SATCHEL_RULE_COUNTER, 5, "e"},
        {"f", SATCHEL_RULE_MIN, 6, "f"},         {"g", SATCHEL_RULE_LWW, 7, "g"},
    };
    const struct satchel_table *table = satchel_schema_find(schema, "T");
    assert_int_equal(table->column_count, 8);
    assert_int_equal(table->rules.column_count, 8);
    assert_int_equal(table->rules.delete_policy, SATCHEL_DELETE_EDIT_WINS);
    for (uint32_t i = 0; i < 8; i++) {
        assert_string_equal(table->columns[i].name, wanted[i].name);
        assert_int_equal(table->columns[i].rule, wanted[i].rule);
        assert_int_equal(table->rules.columns[i].rule, wanted[i].rule);
        assert_int_equal(table->rules.columns[i].unit, wanted[i].unit);
        assert_int_equal(table->rules.columns[i].in_key, i == 0);
        assert_string_equal(table->columns[i].field, wanted[i].field);
        assert_int_equal(table->columns[i].number, i);
    }
    assert_true(table->columns[5].not_null);
    assert_string_equal(table->columns[1].declared_type, "INT");
    assert_string_equal(table->columns[7].declared_type, "");
    assert_string_equal(table->columns[7].references_table, "t");
    satchel_schema_free(schema);
}

static void test_schema__case_13_an_append_table_without_annotations(void **state)
{
    (void)state;
    struct satchel_schema *schema = make("-- @table scope=all delete=forbid append priority=2\n"
                                         "CREATE TABLE t (id TEXT PRIMARY KEY, a INT, b TEXT);",
                                         NULL, false);
    assert_true(schema->tables[0].is_append);
    assert_int_equal(schema->tables[0].priority, 2);
    assert_int_equal(column_of(schema, "t", "id")->rule, SATCHEL_RULE_ID);
    assert_int_equal(column_of(schema, "t", "a")->rule, SATCHEL_RULE_APPEND);
    assert_int_equal(column_of(schema, "t", "b")->rule, SATCHEL_RULE_APPEND);
    satchel_schema_free(schema);
}

static void test_schema__case_14_an_append_table_with_authority_and_key(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make("-- @table scope=all delete=forbid append\n"
             "CREATE TABLE t (id TEXT PRIMARY KEY,\na INT, -- @authority(hq>rep)\n"
             "b TEXT -- @key\n);",
             NULL, true);
    assert_int_equal(column_of(schema, "t", "a")->rule, SATCHEL_RULE_AUTHORITY);
    assert_string_equal(column_of(schema, "t", "a")->rule_argument, "hq>rep");
    assert_int_equal(column_of(schema, "t", "b")->rule, SATCHEL_RULE_KEY);
    satchel_schema_free(schema);
}

static void test_schema__case_11_frozen_without_a_state(void **state)
{
    (void)state;
    expect_refused(TABLE("x TEXT -- @lww frozen(sent)"), 3,
                   "frozen(sent) on t.x, but t has no @state column", "take frozen(sent) out");
    expect_accepted(TABLE("x TEXT, -- @lww frozen(sent)\ns TEXT -- @state(quote)"));
}

static void assert_value(const struct satchel_schema *schema, const char *column,
                         struct satchel_value wanted)
{
    const struct satchel_column_rules *rules = rules_of(schema, "t", column);
    assert_false(rules->default_varies);
    if (!satchel_value_equal(&rules->default_value, &wanted))
        fail_msg("the default of %s is another (type %d)", column, rules->default_value.type);
}

static void test_schema__defaults_are_what_a_row_that_leaves_the_column_out_gets(void **state)
{
    (void)state;
    static const char columns[] =
        TABLE("none TEXT,\nnul TEXT DEFAULT NULL,\nzero INTEGER DEFAULT 0,\nneg INT DEFAULT -5,\n"
              "big INTEGER DEFAULT -9223372036854775808,\nr REAL DEFAULT 1,\nt1 TEXT DEFAULT 7,\n"
              "n1 NUMERIC DEFAULT '12',\ni1 INTEGER DEFAULT 'x',\nblob BLOB DEFAULT x'00ff00',\n"
              "list TEXT DEFAULT '[]',\nquote TEXT DEFAULT 'it''s ''-- @max''',\nsum INT DEFAULT "
              "(1 + 2 * (3)),\n"
              "bare TEXT DEFAULT open,\ndq TEXT DEFAULT \"sea\",\nyes BOOLEAN DEFAULT TRUE,\n"
              "fun TEXT DEFAULT (upper('a') || char(0x4e2d)),\nodd \"my \"\"int\" DEFAULT '8',\n"
              "untyped DEFAULT '9',\nu5 TEXT DEFAULT (length(satchel_uuid5('a')))");
    struct satchel_schema *schema = make(columns, NULL, false);
    static const uint8_t bytes[] = {0, 255, 0};
    assert_value(schema, "none", satchel_value_null());
    assert_value(schema, "nul", satchel_value_null());
    assert_value(schema, "zero", satchel_value_integer(0));
    assert_value(schema, "neg", satchel_value_integer(-5));
    assert_value(schema, "big", satchel_value_integer(INT64_MIN));
    assert_value(schema, "r", satchel_value_real(1.0));
    assert_value(schema, "t1", satchel_value_text(satchel_span_text("7")));
    assert_value(schema, "n1", satchel_value_integer(12));
    assert_value(schema, "i1", satchel_value_text(satchel_span_text("x")));
    assert_value(schema, "blob", satchel_value_blob(satchel_span_of(bytes, sizeof bytes)));
    assert_value(schema, "list", satchel_value_text(satchel_span_text("[]")));
    assert_value(schema, "quote", satchel_value_text(satchel_span_text("it's '-- @max'")));
    assert_value(schema, "sum", satchel_value_integer(7));
    assert_value(schema, "bare", satchel_value_text(satchel_span_text("open")));
    assert_value(schema, "dq", satchel_value_text(satchel_span_text("sea")));
    assert_value(schema, "yes", satchel_value_integer(1));
    assert_value(schema, "fun", satchel_value_text(satchel_span_text("A\xe4\xb8\xad")));
    assert_value(schema, "odd", satchel_value_integer(8));
    assert_value(schema, "untyped", satchel_value_text(satchel_span_text("9")));
    assert_value(schema, "u5", satchel_value_text(satchel_span_text("36")));
    /* And SQLite agrees, in a table of its own. */
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    const char *text = strstr(columns, "CREATE");
    char *sql = sqlite3_mprintf("%.*s)", (int)(strstr(text, ",\nu5") - text), text);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO t(id) VALUES ('1')", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT * FROM t", -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    for (int i = 1; i < sqlite3_column_count(row); i++) {
        static const int types[] = {SQLITE_NULL, SQLITE_INTEGER, SQLITE_FLOAT, SQLITE_TEXT,
                                    SQLITE_BLOB};
        const struct satchel_value *value =
            &rules_of(schema, "t", sqlite3_column_name(row, i))->default_value;
        assert_int_equal(sqlite3_column_type(row, i), types[value->type]);
    }
    sqlite3_finalize(row);
    sqlite3_free(sql);
    sqlite3_close(db);
    satchel_schema_free(schema);
}

static void test_schema__a_default_that_is_no_constant_varies(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(TABLE("a TEXT DEFAULT CURRENT_TIMESTAMP,\nb INT DEFAULT (random()),\n"
                   "c TEXT DEFAULT (datetime('now')),\nd TEXT DEFAULT (satchel_uuid()),\n"
                   "e INT DEFAULT (satchel_now()),\nf TEXT DEFAULT (satchel_user()),\n"
                   "g TEXT DEFAULT (strftime('%Y', '2020-01-01'))"),
             NULL, false);
    for (const char *name = "abcdef"; *name; name++) {
        const char column[] = {*name, '\0'};
        if (!rules_of(schema, "t", column)->default_varies)
            fail_msg("%s is held constant", column);
        assert_int_equal(rules_of(schema, "t", column)->default_value.type, SATCHEL_NULL);
    }
    assert_value(schema, "g", satchel_value_text(satchel_span_text("2020")));
    satchel_schema_free(schema);
}

static void test_schema__scopes_without_grants_are_noticed(void **state)
{
    (void)state;
    struct satchel_schema *schema = make(TABLE("a"), NULL, false);
    assert_null(schema->scope_notice);
    assert_string_equal(schema->tables[0].scope, "all");
    satchel_schema_free(schema);
    schema = make("-- @table scope=row(id) via(p) delete=forbid\n"
                  "CREATE TABLE t (id TEXT PRIMARY KEY, p TEXT REFERENCES u(id));\n"
                  "-- @table scope=server delete=forbid\nCREATE TABLE u (id TEXT PRIMARY KEY);\n",
                  NULL, false);
    assert_string_equal(schema->scope_notice, "no view satchel_grants: a user gets rows by the "
                                              "login and by what satchel user add --grant "
                                              "gave, of t");
    assert_string_equal(schema->tables[0].scope, "row(id) via(p)");
    assert_true(schema->has_scopes);
    assert_true(schema->tables[0].is_scoped && !schema->tables[0].is_server);
    assert_int_equal(schema->tables[0].scope_count, 2);
    assert_int_equal(schema->tables[0].scopes[0].kind, SATCHEL_SCOPE_ROW);
    assert_int_equal(schema->tables[0].scopes[0].columns[0], 0);
    assert_int_equal(schema->tables[0].scopes[1].kind, SATCHEL_SCOPE_VIA);
    assert_int_equal(schema->references[schema->tables[0].scopes[1].reference].table, 1);
    assert_true(schema->tables[1].is_server && !schema->tables[1].is_scoped);
    satchel_schema_free(schema);
}

static void test_schema__an_empty_list_of_migrations_is_a_schema_without_tables(void **state)
{
    (void)state;
    struct satchel_schema *schema = NULL;
    assert_int_equal(satchel_schema_new(&schema, NULL, 0, NULL), SATCHEL_OK);
    assert_int_equal(schema->table_count, 0);
    satchel_schema_free(schema);
    satchel_schema_free(NULL);
}

/* ---- refused: statements ---- */

static void test_schema__statements_that_are_no_migration_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *remedy;
    } cases[] = {
        {"DROP TABLE t;", "leave it where it is"},
        {"drop index i;", "leave it where it is"},
        {"ALTER TABLE t RENAME TO u;", "add a column"},
        {"ALTER TABLE t DROP COLUMN a;", "add a column"},
        {"UPDATE t SET a = 1;", "on a device"},
        {"DELETE FROM t;", "on a device"},
        {"REPLACE INTO t VALUES (1);", "write INSERT"},
        {"BEGIN;", "a migration is one transaction"},
        {"COMMIT;", "a migration is one transaction"},
        {"PRAGMA foreign_keys = ON;", "the application"},
        {"SELECT 1;", "take it out"},
        {"ATTACH 'x' AS y;", "take it out"},
        {"VACUUM;", "take it out"},
        {"EXPLAIN SELECT 1;", "take it out"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[500];
        snprintf(sql, sizeof sql, "%s\n%s", TABLE("a"), cases[i].sql);
        expect_refused(sql, 6, "a migration may hold CREATE, ALTER TABLE … ADD COLUMN and INSERT",
                       cases[i].remedy);
    }
}

static void test_schema__what_sqlite_refuses_is_refused_with_its_words_and_line(void **state)
{
    (void)state;
    expect_refused(ALL "CREATE TABLE t (id TEXT PRIMARY KEY,\na TEXT NOT NUL\n);", 3,
                   "SQLite says: near \"NUL\": syntax error", "correct the statement");
    expect_refused(TABLE("a") "CREATE INDEX i ON t(b);", 5, "SQLite says: no such column: b",
                   "correct");
    expect_refused(TABLE("a") "INSERT INTO t(id, b) VALUES ('1', 2);", 5, "no column named b",
                   "correct");
    expect_refused(TABLE("a") "ALTER TABLE u ADD COLUMN b;", 5, "no such table: u", "correct");
    expect_refused(LOCAL "CREATE VIRTUAL TABLE v USING absent(x);", 2, "no such module: absent",
                   "correct");
    expect_refused(TABLE("a") "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1;", 5,
                   "incomplete input", "correct");
}

static void test_schema__objects_outside_the_database_are_refused(void **state)
{
    (void)state;
    expect_refused(ALL "CREATE TEMP TABLE t (id TEXT PRIMARY KEY);", 2, "what is TEMP is gone",
                   "take TEMP out");
    expect_refused("CREATE TEMPORARY VIEW v AS SELECT 1;", 1, "what is TEMP is gone",
                   "take TEMP out");
    expect_refused(ALL "CREATE TABLE temp.t (id TEXT PRIMARY KEY);", 2, "what is TEMP is gone",
                   "take TEMP out");
    expect_refused("CREATE VIEW other.v AS SELECT 1;", 1, "no database \"other\"",
                   "write the name alone");
    expect_refused(ALL "CREATE TABLE t AS SELECT 1 AS a;", 2, "no column definitions",
                   "write the columns out");
    expect_refused(TABLE("a") ALL "CREATE TABLE IF NOT EXISTS T (id TEXT PRIMARY KEY);", 6,
                   "there is a table T already", "another name");
}

static void test_schema__inserts_into_local_tables_are_refused(void **state)
{
    (void)state;
    expect_refused(LOCAL "CREATE TABLE l (x);\nINSERT INTO l VALUES (1);", 3,
                   "local table l do not sync", "fill it by a trigger");
    expect_accepted(
        TABLE("a") "INSERT INTO t VALUES (satchel_uuid(), 1), (satchel_uuid5('a', 1), 2);");
}

static void test_schema__migrations_are_numbered_without_a_gap(void **state)
{
    (void)state;
    struct satchel_schema *schema = NULL;
    struct satchel_error error = {0};
    const struct satchel_migration migrations[] = {migration_of(1, TABLE("a")),
                                                   migration_of(3, "")};
    assert_int_equal(satchel_schema_new(&schema, migrations, 2, &error), SATCHEL_SCHEMA);
    assert_string_equal(error.message,
                        "003_last.sql:1: migration 3 stands where 2 is due; number the files "
                        "001, 002, … without a gap");
}

/* ---- refused: tables ---- */

static void test_schema__a_table_without_annotation_is_refused_with_the_line_to_paste(void **state)
{
    (void)state;
    expect_refused("\nCREATE TABLE t (id TEXT PRIMARY KEY);", 2, "the table t has no @table",
                   "put this line before it: -- @table scope=all delete=edit_wins");
    expect_refused(ALL
                   "CREATE TABLE t (id TEXT PRIMARY KEY);\nCREATE TABLE u (id TEXT PRIMARY KEY);",
                   3, "the table u has no @table", "-- @table scope=all delete=edit_wins");
    expect_refused("CREATE VIRTUAL TABLE v USING fts5(x);", 1, "the table v has no @table",
                   "-- @table local");
}

static void test_schema__unique_is_refused(void **state)
{
    (void)state;
    expect_refused(TABLE("a TEXT,\nb TEXT UNIQUE"), 4, "UNIQUE cannot hold on t(b)",
                   "declare the column @key");
    expect_refused(TABLE("a TEXT,\nb TEXT,\nUNIQUE (a, b)"), 5, "UNIQUE cannot hold on t(a)",
                   "satchel_uuid5()");
    expect_refused(TABLE("a TEXT,\nUNIQUE (id, a)"), 4, "UNIQUE cannot hold on t(id)", "@key");
    expect_refused(TABLE("a TEXT") "CREATE UNIQUE INDEX i ON t(a);", 5,
                   "the UNIQUE index i cannot hold on t", "declare the column @key");
    expect_refused(
        TABLE("a TEXT") "CREATE UNIQUE INDEX IF NOT EXISTS main.i ON \"T\"(a) WHERE a > 1;", 5,
        "the UNIQUE index i", "@key");
    expect_accepted(TABLE("a TEXT,\nUNIQUE (id)"));
    expect_accepted(ALL "CREATE TABLE t (id INTEGER PRIMARY KEY UNIQUE -- @id(assigned)\n);");
    expect_accepted(ALL "CREATE TABLE t (a, b, PRIMARY KEY (a, b), UNIQUE (b, a));");
    expect_accepted(LOCAL "CREATE TABLE l (a UNIQUE);\nCREATE UNIQUE INDEX i ON l(a);");
}

static void test_schema__a_check_over_columns_that_merge_apart_is_refused(void **state)
{
    (void)state;
    expect_refused(TABLE("a INT,\nb INT,\nCHECK (a < b)"), 5,
                   "the CHECK over t.a and b cannot hold", "one @group(name)");
    expect_refused(TABLE("a INT,\nb INT CHECK (b > \"A\" -- remark\n)"), 4,
                   "the CHECK over t.a and b", "@group");
    expect_refused(TABLE("a INT, -- @group(x)\nb INT, -- @group(y)\nCHECK (coalesce(a, b) > 0)"), 5,
                   "the CHECK over t.a and b", "@group");
    expect_accepted(TABLE("a INT, -- @group(x)\nb INT, -- @group(x)\nCHECK (a < b)"));
    expect_accepted(
        TABLE("a INT,\nb TEXT CHECK (length(b) > 1),\nCHECK (a <> id AND a IN ('b', 'c'))"));
    expect_accepted(
        TABLE("a TEXT, -- @state(m)\nb INT, -- @follows(a)\nCHECK (a <> 'lost' OR b > 0)"));
    expect_accepted(TABLE("text TEXT,\nb TEXT CHECK (CAST(b AS text) <> 'text')"));
    expect_accepted(LOCAL "CREATE TABLE l (a, b, CHECK (a < b));");
}

static void test_schema__keys_that_cannot_work_are_refused(void **state)
{
    (void)state;
    expect_refused(ALL "CREATE TABLE t (\nid INTEGER PRIMARY KEY,\na TEXT);", 3,
                   "t.id is a lone INTEGER PRIMARY KEY", "satchel_uuid()");
    expect_refused(ALL "CREATE TABLE t (\nid integer PRIMARY KEY AUTOINCREMENT -- @id\n);", 3,
                   "t.id is a lone INTEGER PRIMARY KEY", "@id(assigned)");
    expect_refused(ALL "CREATE TABLE t (a,\nid INTEGER,\nPRIMARY KEY (id)) WITHOUT ROWID;", 3,
                   "t.id is a lone INTEGER PRIMARY KEY", "satchel_id()");
    expect_refused(ALL "CREATE TABLE t (a, b);", 2, "the table t has no primary key",
                   "add id TEXT PRIMARY KEY");
    expect_refused(ALL "CREATE TABLE t (\nid TEXT PRIMARY KEY, -- @lww\na);", 3, "never changes",
                   "write @id instead of @lww");
    expect_refused(TABLE("a TEXT -- @id"), 3, "t.a is @id but not in the primary key",
                   "@immutable");
    expect_refused(ALL "CREATE TABLE t (\nid TEXT COLLATE nocase PRIMARY KEY,\na);", 3,
                   "t.id is in the primary key and compares by nocase", "take the COLLATE out");
    expect_refused(ALL "CREATE TABLE t (\na,\nid TEXT,\nPRIMARY KEY (a, id COLLATE RTRIM)"
                       ") WITHOUT ROWID;",
                   4, "t.id is in the primary key and compares by RTRIM", "take the COLLATE out");
    expect_refused(ALL "CREATE TABLE t (\nid TEXT PRIMARY KEY,\nUNIQUE (id COLLATE NOCASE));", 3,
                   "t.id is in the primary key and compares by NOCASE", "take the COLLATE out");
    expect_accepted(ALL "CREATE TABLE t (id TEXT COLLATE BINARY PRIMARY KEY,\na COLLATE NOCASE);");
    expect_accepted(ALL "CREATE TABLE t (id INTEGER PRIMARY KEY, -- @id(assigned)\na);");
    expect_accepted(ALL "CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY (a, b));");
    expect_accepted(
        ALL "CREATE TABLE t (\na TEXT, -- @immutable\nb TEXT, -- @id\nPRIMARY KEY (a, b));");
    expect_accepted(LOCAL "CREATE TABLE l (id INTEGER PRIMARY KEY);");
}

static void test_schema__reserved_names_are_refused(void **state)
{
    (void)state;
    expect_refused(ALL "CREATE TABLE satchel_x (id TEXT PRIMARY KEY);", 2,
                   "names that begin with satchel_", "give \"satchel_x\" another name");
    expect_refused(ALL "CREATE TABLE \"Satchel_Users\" (id TEXT PRIMARY KEY);", 2,
                   "names that begin with satchel_", "another name");
    expect_refused("CREATE VIEW satchel_other AS SELECT 1;", 1, "names that begin with satchel_",
                   "another name");
    expect_refused(TABLE("a") "CREATE INDEX [satchel_i] ON t(a);", 5,
                   "names that begin with satchel_", "another name");
    expect_refused(TABLE("a") "CREATE TRIGGER satchel_r AFTER INSERT ON t BEGIN SELECT 1; END;", 5,
                   "names that begin with satchel_", "another name");
    expect_refused(LOCAL "CREATE VIRTUAL TABLE satchel_f USING fts5(x);", 2,
                   "names that begin with satchel_", "another name");
    expect_refused(TABLE("satchel_a TEXT"), 3, "names that begin with satchel_", "give the column");
}

static void test_schema__views_for_the_server_have_their_columns(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(TABLE("login, role, active") "CREATE VIEW satchel_users AS SELECT login, id, role, "
                                          "active FROM t;\n"
                                          "CREATE VIEW satchel_grants(user, value) AS SELECT id, "
                                          "id FROM t;",
             NULL, false);
    assert_true(schema->defines_users);
    assert_true(schema->defines_grants);
    satchel_schema_free(schema);
    expect_refused(TABLE("login") "CREATE VIEW satchel_users AS SELECT login, id FROM t;", 5,
                   "the view satchel_users cannot be read",
                   "it has the columns login, id, role, active");
    expect_refused("CREATE VIEW v AS SELECT * FROM absent;", 1, "no such table: main.absent",
                   "correct it");
    expect_accepted(TABLE("a") "CREATE VIEW v AS SELECT * FROM satchel_conflicts;\n"
                               "CREATE VIEW w AS SELECT my_function(a) FROM t;");
}

static void test_schema__generated_columns_and_virtual_tables_stay_local(void **state)
{
    (void)state;
    expect_refused(TABLE("a INT,\nb INT AS (a + 1)"), 4, "the generated column b cannot sync",
                   "@table local");
    expect_refused(TABLE("a INT,\nb INT GENERATED ALWAYS AS (a + 1) STORED"), 4,
                   "the generated column b", "in a view");
    expect_refused(ALL "CREATE VIRTUAL TABLE v USING fts5(x);", 2,
                   "the virtual table v cannot sync", "-- @table local");
    expect_accepted(LOCAL "CREATE TABLE l (a INT, b INT AS (a + 1));\n" LOCAL
                          "CREATE VIRTUAL TABLE v USING fts5(x);");
    expect_refused(LOCAL "CREATE TABLE l (\na INT -- @max\n);", 3,
                   "l has no rules, because it is @table local", "give the table a scope");
}

static void test_schema__added_columns_must_pass_in_tables_with_rows(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *reason, *remedy;
    } cases[] = {
        {"ALTER TABLE t ADD COLUMN b INT NOT NULL;", "no NOT NULL column without a default",
         "give b a DEFAULT"},
        {"ALTER TABLE t ADD COLUMN b INT DEFAULT CURRENT_TIMESTAMP;",
         "no column whose default is not constant", "constant default"},
        {"ALTER TABLE t ADD COLUMN b INT DEFAULT 0 CHECK (b > 0);",
         "the default of t.b breaks its own CHECK", "keeps the CHECK"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused_at(TABLE("a"), cases[i].sql, false, "002_more.sql:1", cases[i].reason,
                          cases[i].remedy);
    satchel_schema_free(make(
        TABLE("a"), "ALTER TABLE t ADD COLUMN b INT NOT NULL DEFAULT 1 CHECK (b > 0);", false));
}

static void test_schema__a_counter_starts_at_a_whole_number(void **state)
{
    (void)state;
    expect_refused(TABLE("a INT DEFAULT 'x' -- @counter"), 3, "t.a is a @counter",
                   "write DEFAULT 0");
    expect_refused(TABLE("a INT DEFAULT (random()) -- @counter"), 3, "t.a is a @counter",
                   "write DEFAULT 0");
    expect_accepted(TABLE("a INT -- @counter"));
}

/* ---- refused: names that do not exist ---- */

static void test_schema__names_in_annotations_must_exist(void **state)
{
    (void)state;
    expect_refused(
        "\n-- @table scope=row(owner) delete=forbid\nCREATE TABLE t (id TEXT PRIMARY KEY);", 2,
        "the scope names the column owner, which t does not have", "correct the name");
    expect_refused(
        "-- @table scope=via(owner) delete=forbid\nCREATE TABLE t (id TEXT PRIMARY KEY);", 1,
        "the scope names the column owner", "correct the name");
    expect_refused("-- @table scope=via(a) delete=forbid\nCREATE TABLE t (id TEXT PRIMARY KEY, a);",
                   1, "scope=via(a), but a points at no table", "add REFERENCES");
    expect_refused(
        "-- @table scope=via(a, b) delete=forbid\nCREATE TABLE t (id TEXT PRIMARY KEY, a, b);", 1,
        "b does not point at rows of the table that a names", "annotate b with @ref(a)");
    expect_refused(LOCAL "CREATE TABLE l (id);\n-- @table scope=via(a) delete=forbid\n"
                         "CREATE TABLE t (id TEXT PRIMARY KEY, a REFERENCES l(id));",
                   3, "l is @table local", "synced table");
    expect_refused(TABLE("a TEXT -- @follows(b)"), 3,
                   "@follows names the column b, which t does not have", "correct the name");
    expect_refused(TABLE("a TEXT -- @follows(a)"), 3, "t.a follows a, which leads nothing",
                   "at the head");
    expect_refused(TABLE("a TEXT, -- @follows(b)\nb TEXT, -- @follows(c)\nc TEXT"), 3,
                   "t.a follows b", "at the head");
    expect_refused(TABLE("a TEXT -- @follows(id)"), 3,
                   "t.a follows id, which is in the primary key", "@immutable");
    expect_refused(TABLE("a TEXT -- @lww @ref(kind)"), 3, "@ref names the column kind",
                   "correct the name");
    expect_refused(TABLE("a TEXT -- @lww @ref(a)"), 3, "@ref(a) on a itself", "name the column");
    expect_refused(TABLE("a TEXT REFERENCES u(id)"), 3,
                   "t.a REFERENCES u, and there is no such table", "correct the name");
}

static void test_schema__states_need_the_view_that_defines_them(void **state)
{
    (void)state;
    expect_mistake(TABLE("a, -- @state(deal)\nb"), 3,
                   "@state(deal) on t.a, but no view says what states there are",
                   "create the view satchel_states(machine, code, rank, closed, back_to)");
}

static void test_schema__changes_of_rules_must_be_of_earlier_migrations(void **state)
{
    (void)state;
    expect_refused_at(TABLE("a"), "\n-- @column u.a @max", false, "002_more.sql:2",
                      "no table there is: u", "correct the name");
    expect_refused_at(TABLE("a"), "-- @column t.b @max", false, "002_more.sql:1",
                      "no column there is: t.b", "correct the name");
    expect_refused(TABLE("a") "-- @column t.a @max", 5, "t.a is defined in this one",
                   "beside the column");
    struct satchel_schema *schema = make(TABLE("a -- @max"), "-- @column T.A @min", false);
    assert_int_equal(column_of(schema, "t", "a")->rule, SATCHEL_RULE_MIN);
    satchel_schema_free(schema);
    expect_refused_at(TABLE("a"), "-- @column t.a @lww frozen(x)", false, "002_more.sql:1",
                      "no @state column", "take frozen(x) out");
}

/* ---- what rules mean to others ---- */

static const struct satchel_table_rules *table_rules_of(const struct satchel_schema *schema,
                                                        const char *table)
{
    const struct satchel_table *found = satchel_schema_find(schema, table);
    assert_non_null(found);
    return &found->rules;
}

static void test_schema__a_follower_is_in_its_leaders_unit_under_its_own_name(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(TABLE("a, -- @follows(c)\nb, -- @group(g)\nc, -- @group(g)\nd, -- @follows(e)\n"
                   "e -- @state(m)"),
             STATES_VIEW, true);
    assert_int_equal(rules_of(schema, "t", "a")->unit, column_of(schema, "t", "b")->number);
    assert_string_equal(column_of(schema, "t", "a")->field, "a");
    assert_int_equal(rules_of(schema, "t", "d")->unit, column_of(schema, "t", "e")->number);
    assert_string_equal(column_of(schema, "t", "d")->field, "d");
    assert_string_equal(column_of(schema, "t", "e")->field, "e");
    satchel_schema_free(schema);
    static const char *const leaders[] = {"@counter", "@max",   "@min",       "@set",
                                          "@map",     "@text3", "@key(weak)", "@server"};
    for (size_t i = 0; i < sizeof leaders / sizeof leaders[0]; i++) {
        char sql[256], reason[128];
        snprintf(sql, sizeof sql, TABLE("a TEXT, -- %s\nb -- @follows(a)"), leaders[i]);
        snprintf(reason, sizeof reason, "t.b follows a, but of several writes to a %s", leaders[i]);
        if (strcmp(leaders[i], "@counter") == 0)
            snprintf(sql, sizeof sql, TABLE("a INT, -- @counter\nb -- @follows(a)"));
        expect_mistake(sql, 4, reason, "follow a column that is @lww");
    }
}

static void test_schema__machines_are_numbered_over_all_tables(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(TABLE("a, -- @state(deal)\nb -- @state(visit)") ALL
             "CREATE TABLE u (id TEXT PRIMARY KEY,\na -- @state(Deal)\n);",
             STATES_VIEW, true);
    assert_int_equal(schema->machine_count, 2);
    assert_string_equal(schema->machines[0], "deal");
    assert_string_equal(schema->machines[1], "visit");
    assert_int_equal(rules_of(schema, "t", "a")->machine, 0);
    assert_int_equal(rules_of(schema, "t", "b")->machine, 1);
    assert_int_equal(rules_of(schema, "u", "a")->machine, 0);
    assert_true(schema->defines_states);
    assert_false(schema->defines_numbers);
    satchel_schema_free(schema);
}

static void test_schema__roles_are_in_order_the_highest_first(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(TABLE("a, -- @authority(hq > branch_manager>rep)\nb -- @claim(hq)"), NULL, true);
    const struct satchel_column_rules *rules = rules_of(schema, "t", "a");
    static const char *const roles[] = {"hq", "branch_manager", "rep"};
    assert_int_equal(rules->role_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(satchel_span_equal(rules->roles[i], satchel_span_text(roles[i])));
    assert_int_equal(rules_of(schema, "t", "b")->role_count, 1);
    satchel_schema_free(schema);
}

static void test_schema__freezing_states_are_counted_once(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(TABLE("s, -- @state(m)\na, -- @lww frozen(sent)\nb, -- @lww frozen(paid)\n"
                   "c, -- @lww frozen(sent)\nd"),
             STATES_VIEW, true);
    const struct satchel_table_rules *rules = table_rules_of(schema, "t");
    assert_int_equal(rules->freezing_state_count, 2);
    assert_true(satchel_span_equal(rules->freezing_states[0], satchel_span_text("sent")));
    assert_true(satchel_span_equal(rules->freezing_states[1], satchel_span_text("paid")));
    assert_int_equal(rules->state_column, column_of(schema, "t", "s")->number);
    assert_int_equal(rules_of(schema, "t", "a")->frozen, 1);
    assert_int_equal(rules_of(schema, "t", "b")->frozen, 2);
    assert_int_equal(rules_of(schema, "t", "c")->frozen, 1);
    assert_int_equal(rules_of(schema, "t", "d")->frozen, SATCHEL_FROZEN_NEVER);
    assert_false(rules->is_frozen_by_parent);
    satchel_schema_free(schema);
}

static void test_schema__what_freezes_is_one_thing(void **state)
{
    (void)state;
    expect_mistake(TABLE("s, -- @state(m)\nu, -- @state(m)\na -- @lww frozen(sent)") STATES_VIEW, 5,
                   "t has several @state columns", "leave one");
    expect_accepted(TABLE("s, -- @state(m)\nu -- @state(n)"));
    expect_mistake(TABLE("s, -- @state(m) frozen(sent)\na") STATES_VIEW, 3,
                   "t.s, the very state that freezes the row", "take it out");
    expect_mistake(TABLE("s, -- @state(m)\na, -- @group(g) frozen(sent)\nb -- @group(g)")
                       STATES_VIEW,
                   5, "t.b and a win or lose together", "the same beside both");
    expect_mistake(TABLE("s, -- @state(m)\na, -- @lww\nb -- @follows(a) frozen(sent)") STATES_VIEW,
                   5, "t.b and a win or lose together", "the same beside both");
    expect_mistake(TABLE("s, -- @state(m)\nc1, -- @lww frozen(a)\nc2, -- @lww frozen(b)\n"
                         "c3, -- @lww frozen(c)\nc4, -- @lww frozen(d)\nc5, -- @lww frozen(e)\n"
                         "c6, -- @lww frozen(f)\nc7, -- @lww frozen(g)\nc8, -- @lww frozen(h)\n"
                         "c9 -- @lww frozen(i)") STATES_VIEW,
                   12, "one more state than the 8", "use one of the others");
}

static void test_schema__references_are_columns_that_name_a_row_alone(void **state)
{
    (void)state;
    struct satchel_schema *schema =
        make(ALL "CREATE TABLE p (id TEXT PRIMARY KEY, x TEXT, y TEXT);\n"
                 "-- @table local\nCREATE TABLE l (id TEXT PRIMARY KEY);\n" ALL
                 "CREATE TABLE c (id TEXT PRIMARY KEY REFERENCES p(id), a REFERENCES p, b "
                 "REFERENCES p(ID),\n"
                 "x REFERENCES p(x), l REFERENCES l(id), k TEXT,\nr TEXT, -- @lww @ref(k)\n"
                 "y TEXT, z TEXT, FOREIGN KEY (y, z) REFERENCES p(x, y));",
             NULL, true);
    assert_int_equal(schema->reference_count, 4);
    static const char *const columns[] = {"id", "a", "b", "r"};
    const struct satchel_table *c = satchel_schema_find(schema, "c");
    for (uint32_t i = 0; i < 4; i++) {
        const struct satchel_reference *reference = &schema->references[i];
        assert_int_equal(reference->table, c->number);
        assert_int_equal(reference->column, column_of(schema, "c", columns[i])->number);
        assert_int_equal(reference->target, i < 3 ? 1 : 0);
    }
    assert_int_equal(schema->references[3].type_column, column_of(schema, "c", "k")->number);
    assert_int_equal(c->parent, 3); /* the only @ref */
    assert_false(rules_of(schema, "c", "id")->is_reference);
    assert_true(rules_of(schema, "c", "a")->is_reference);
    assert_true(rules_of(schema, "c", "r")->is_reference);
    assert_false(rules_of(schema, "c", "x")->is_reference);
    assert_int_equal(satchel_schema_find(schema, "p")->parent, SATCHEL_NO_REFERENCE);
    satchel_schema_free(schema);
}

static void test_schema__the_parent_is_the_only_reference(void **state)
{
    (void)state;
    struct satchel_schema *schema = make(
        ALL "CREATE TABLE p (id TEXT PRIMARY KEY);\n" ALL
            "CREATE TABLE one (id TEXT PRIMARY KEY, a REFERENCES p(id));\n" ALL
            "CREATE TABLE two (id TEXT PRIMARY KEY, a REFERENCES p(id), b REFERENCES p(id));\n" ALL
            "CREATE TABLE refs (id TEXT PRIMARY KEY, k,\na, -- @lww @ref(k)\n"
            "b -- @lww @ref(k)\n);",
        NULL, true);
    assert_int_equal(satchel_schema_find(schema, "one")->parent, 0);
    assert_int_equal(satchel_schema_find(schema, "two")->parent, SATCHEL_NO_REFERENCE);
    assert_int_equal(satchel_schema_find(schema, "refs")->parent, SATCHEL_NO_REFERENCE);
    satchel_schema_free(schema);
}

static void test_schema__columns_can_hold_what_their_rules_write(void **state)
{
    (void)state;
    expect_mistake(TABLE("a INTEGER -- @set"), 3, "@set on t.a, which is declared INTEGER",
                   "declare it TEXT");
    expect_mistake(TABLE("a NUMERIC -- @map"), 3, "would not keep a JSON object",
                   "declare it TEXT");
    expect_mistake(TABLE("a REAL -- @text3"), 3, "would not keep a text", "declare it TEXT");
    expect_mistake(TABLE("a INT -- @state(m)") STATES_VIEW, 3, "a state's code", "declare it TEXT");
    expect_mistake(TABLE("a REAL -- @key"), 3, "what names a thing", "TEXT, or INTEGER");
    expect_mistake(TABLE("a BLOB -- @key(weak)"), 3, "what names a thing", "TEXT, or INTEGER");
    expect_accepted(TABLE("a, -- @set\nb TEXT, -- @map\nc VARCHAR(9), -- @key\nd INT -- @key"));

    expect_mistake(TABLE("a TEXT DEFAULT '{}' -- @set"), 3, "t.a is a @set", "write DEFAULT '[]'");
    expect_mistake(TABLE("a TEXT DEFAULT 'x' -- @set"), 3, "no constant JSON array", "'[]'");
    expect_mistake(TABLE("a DEFAULT 3 -- @set"), 3, "no constant JSON array", "'[]'");
    expect_mistake(TABLE("a TEXT DEFAULT '[1' -- @map"), 3, "no constant JSON object", "'{}'");
    expect_mistake(TABLE("a DEFAULT (json_array(random())) -- @set"), 3, "no constant", "'[]'");
    expect_accepted(TABLE("a DEFAULT '[\"x\", 1]', -- @set\nb DEFAULT ' {\"a\":[]} ', -- @map\n"
                          "c DEFAULT NULL -- @set"));
    expect_mistake(TABLE("a DEFAULT 1 -- @state(m)") STATES_VIEW, 3, "t.a is a @state",
                   "DEFAULT 'code'");
}

/* ---- refused: rights ---- */

static void test_schema__what_travels_together_has_the_same_rights(void **state)
{
    (void)state;
    expect_refused(TABLE("a, -- @group(g) @mask(hq)\nb -- @group(g)"), 4, "t.b and a are one group",
                   "the same roles");
    expect_refused(TABLE("a, -- @group(g) @write(hq)\nb -- @group(g) @write(rep)"), 4,
                   "differ in @write", "the same roles");
    expect_refused(TABLE("a, -- @lww @mask(hq)\nb -- @follows(a)"), 4,
                   "t.b and a are follower and leader", "the same roles");
    expect_accepted(TABLE(
        "a, -- @group(g) @mask(hq, rep) @write(hq)\nb -- @group(g) @write(hq) @mask(rep, hq)"));
}

static void test_schema__what_rules_need_is_not_masked(void **state)
{
    (void)state;
    expect_refused(ALL "CREATE TABLE t (id TEXT PRIMARY KEY -- @id @mask(hq)\n);", 2,
                   "t.id, which is a key", "take the @mask out");
    expect_refused(TABLE("a -- @key @mask(hq)"), 3, "t.a, which is a key", "take the @mask out");
    expect_refused(TABLE("a -- @key(weak) @mask(hq)"), 3, "t.a, which is a key",
                   "take the @mask out");
    expect_refused("-- @table scope=row(a) delete=forbid\nCREATE TABLE t (id TEXT PRIMARY KEY,\na "
                   "-- @lww @mask(hq)\n);",
                   3, "in the table's scope", "take the @mask out");
    expect_refused(TABLE("a TEXT NOT NULL -- @lww @mask(hq)"), 3, "NOT NULL without a constant",
                   "take the @mask out");
    expect_accepted(TABLE("a TEXT NOT NULL DEFAULT '' -- @lww @mask(hq)"));
    expect_refused(TABLE("a REFERENCES t(id) -- @lww @mask(hq)"), 3, "t.a, which is a reference",
                   "take the @mask out");
    expect_refused(TABLE("a, -- @lww @mask(hq)\nb -- @lww @ref(a)"), 3, "t.a, which is a reference",
                   "take the @mask out");
    expect_refused(TABLE("a, -- @lww\nb -- @lww @ref(a) @mask(hq)"), 4, "t.b, which is a reference",
                   "take the @mask out");
    expect_refused(TABLE("a, -- @state(m) @mask(hq)\nb -- @lww frozen(x)"), 3,
                   "t.a, which is a state that freezes", "take the @mask out");
    expect_accepted(TABLE("a, -- @state(m) @mask(hq)\nb -- @lww @mask(hq)"));
}

/* ---- refused: frozen(parent) ---- */

#define PARENT(columns) ALL "CREATE TABLE p (id TEXT PRIMARY KEY,\n" columns "\n);\n"
#define STATES "s TEXT, -- @state(m)\nf TEXT -- @lww frozen(sent)"

static void test_schema__frozen_parent_needs_exactly_one_parent(void **state)
{
    (void)state;
    expect_mistake(TABLE("a -- @lww frozen(parent)"), 3, "t has not exactly one parent",
                   "leave one parent");
    expect_mistake(PARENT(STATES)
                       TABLE("x REFERENCES p(id),\ny REFERENCES p(id),\na -- @lww frozen(parent)"),
                   10, "t has not exactly one parent", "leave one parent");
    expect_mistake(TABLE("k,\nx, -- @lww @ref(k)\ny, -- @lww @ref(k)\na -- @lww frozen(parent)"), 6,
                   "t has not exactly one parent", "leave one parent");
    expect_accepted(PARENT(STATES) TABLE("x REFERENCES p(id),\na -- @lww frozen(parent)"));
}

static void test_schema__frozen_parent_needs_a_parent_with_one_frozen_state(void **state)
{
    (void)state;
    expect_mistake(PARENT("s TEXT -- @state(m)")
                       TABLE("x REFERENCES p(id),\na -- @lww frozen(parent)"),
                   8, "the parent p has no frozen states", "frozen in one state");
    expect_mistake(PARENT(STATES "\n, g TEXT -- @lww frozen(paid)")
                       TABLE("x REFERENCES p(id),\na -- @lww frozen(parent)"),
                   10, "the parent p has several frozen states", "frozen in one state");
    /* With @ref the parent is known row by row only. */
    expect_accepted(
        "-- @table scope=via(k, x) delete=edit_wins\nCREATE TABLE t (id TEXT PRIMARY KEY,\n"
        "k, x, -- @lww @ref(k)\na -- @lww frozen(parent)\n);");
}

static void test_schema__frozen_parent_needs_the_parent_wherever_the_row_is(void **state)
{
    (void)state;
#define SCOPED(scope, columns)                                                                   \
    "-- @table scope=" scope " delete=edit_wins\nCREATE TABLE t (id TEXT PRIMARY KEY,\n" columns \
    "\n);\n"
#define SERVED                                                                                \
    "-- @table scope=row(id) delete=edit_wins\nCREATE TABLE p (id TEXT PRIMARY KEY,\n" STATES \
    "\n);\n"
    expect_mistake(SERVED SCOPED("all", "x REFERENCES p(id),\na -- @lww frozen(parent)"), 9,
                   "not everybody who gets the row gets its parent",
                   "scope=via(x) the table's only scope");
    expect_mistake(SERVED SCOPED("via(x) row(id)", "x REFERENCES p(id),\na -- @lww frozen(parent)"),
                   9, "not everybody who gets the row gets its parent", "only scope");
    expect_accepted(SERVED SCOPED("via(x)", "x REFERENCES p(id),\na -- @lww frozen(parent)"));
    expect_mistake(SCOPED("all", "k,\nx, -- @lww @ref(k)\na -- @lww frozen(parent)"), 5,
                   "not everybody who gets the row gets its parent", "scope=via(k, x)");
}

/* ---- refused: not built yet ---- */

static void test_schema__what_is_not_built_yet_is_refused_by_name(void **state)
{
    (void)state;
    expect_refused(
        "-- @table scope=all delete=forbid retain=1y\nCREATE TABLE t (id TEXT PRIMARY KEY);", 1,
        "retain= of t is not built yet", "take it out");
}

static void test_schema__mistakes_come_before_what_is_not_built(void **state)
{
    (void)state;
    static const char table[] = "-- @table scope=all delete=forbid retain=1y\n"
                                "CREATE TABLE t (id TEXT PRIMARY KEY,\n%s);";
    char sql[200];
    snprintf(sql, sizeof sql, table, "b -- @sett");
    expect_refused(sql, 3, "\"@sett\" is no annotation", "the rules are");
    snprintf(sql, sizeof sql, table, "b UNIQUE");
    expect_refused(sql, 3, "UNIQUE cannot hold", "@key");
}

static void test_schema__built_rules_work(void **state)
{
    (void)state;
    struct satchel_schema *schema = make("-- @table scope=all delete=forbid priority=1\nCREATE "
                                         "TABLE t (id TEXT PRIMARY KEY, -- @id\n"
                                         "a, -- @lww\nb, -- @immutable\nc, -- @append\nd, -- "
                                         "@group(g)\ne, -- @max\nf, -- @min\ng, -- @first\n"
                                         "h, -- @counter\nk, i -- @lww @ref(k)\n);",
                                         NULL, false);
    assert_string_equal(column_of(schema, "t", "i")->ref, "k");
    satchel_schema_free(schema);
}

/* ---- triggers ---- */

#define TWO                                                                      \
    TABLE("a INT")                                                               \
    ALL "CREATE TABLE u (id TEXT PRIMARY KEY, a);\n" LOCAL "CREATE TABLE l (x, " \
        "y);\n"
/* TWO has eight lines. */

static void test_schema__a_trigger_that_writes_a_synced_table_without_guard_is_refused(void **state)
{
    (void)state;
    static const char *const guilty[] = {
        "AFTER INSERT ON t BEGIN INSERT INTO u(id) VALUES (NEW.id); END",
        "AFTER INSERT ON t BEGIN UPDATE t SET a = 1 WHERE id = NEW.id; END",
        "BEFORE DELETE ON t BEGIN DELETE FROM u WHERE id = OLD.id; END",
        "AFTER UPDATE OF a ON t BEGIN INSERT OR REPLACE INTO u(id) VALUES (NEW.id); END",
        "AFTER INSERT ON t WHEN satchel_applying() BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN NOT satchel_applying() OR NEW.a BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN NEW.a BETWEEN 1 AND NOT satchel_applying() BEGIN DELETE FROM u; "
        "END",
        "AFTER INSERT ON t WHEN CASE WHEN NEW.a AND NOT satchel_applying() AND 1 THEN 1 ELSE 1 END "
        "BEGIN "
        "DELETE FROM u; END",
        "AFTER INSERT ON t WHEN NOT (NEW.a AND NOT satchel_applying()) BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN NEW.a IS NOT satchel_applying() BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN 'NOT satchel_applying()' BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN 1 /* AND NOT satchel_applying() */ BEGIN DELETE FROM u; END",
    };
    for (size_t i = 0; i < sizeof guilty / sizeof guilty[0]; i++) {
        char sql[700];
        snprintf(sql, sizeof sql, "%sCREATE TRIGGER r %s;", TWO, guilty[i]);
        expect_refused(sql, 9, "the trigger r on t writes the synced table",
                       "WHEN NOT satchel_applying()");
    }
}

static void test_schema__a_trigger_that_ends_the_others_behind_a_write_is_refused(void **state)
{
    (void)state;
    static const char *const guilty[] = {
        "AFTER INSERT ON t BEGIN SELECT RAISE(IGNORE); END",
        "AFTER UPDATE OF a ON t WHEN NEW.a > 1 BEGIN SELECT CASE WHEN NEW.a > 2 THEN raise ( /* x "
        "*/ ignore) END; END",
        "AFTER DELETE ON t WHEN NOT satchel_applying() BEGIN SELECT RAISE(IGNORE); END",
    };
    static const char *const innocent[] = {
        "BEFORE INSERT ON t BEGIN SELECT RAISE(IGNORE); END",
        "DELETE ON t BEGIN SELECT RAISE(IGNORE); END",
        "AFTER INSERT ON t BEGIN SELECT RAISE(ABORT, 'RAISE(IGNORE)'); END",
        "AFTER INSERT ON t BEGIN INSERT OR IGNORE INTO l VALUES (1, 2); END",
        "AFTER INSERT ON l BEGIN SELECT RAISE(IGNORE); END",
    };
    for (size_t i = 0; i < sizeof guilty / sizeof guilty[0]; i++) {
        char sql[700];
        snprintf(sql, sizeof sql, "%sCREATE TRIGGER r %s;", TWO, guilty[i]);
        expect_refused(sql, 9, "the trigger r on t calls RAISE(IGNORE)",
                       "make it a BEFORE trigger");
    }
    for (size_t i = 0; i < sizeof innocent / sizeof innocent[0]; i++) {
        char sql[700];
        snprintf(sql, sizeof sql, "%sCREATE TRIGGER r %s;", TWO, innocent[i]);
        expect_accepted(sql);
    }
}

static void test_schema__a_trigger_that_ends_the_transaction_is_refused(void **state)
{
    (void)state;
    static const char *const guilty[] = {
        "BEFORE INSERT ON t WHEN NEW.a > 1 BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
        "AFTER DELETE ON t BEGIN SELECT raise ( rollback , 'no'); END",
    };
    for (size_t i = 0; i < sizeof guilty / sizeof guilty[0]; i++) {
        char sql[700];
        snprintf(sql, sizeof sql, "%sCREATE TRIGGER r %s;", TWO, guilty[i]);
        expect_refused(sql, 9, "the trigger r on t calls RAISE(ROLLBACK)", "use RAISE(ABORT)");
    }
    char sql[700];
    snprintf(sql, sizeof sql,
             "%sCREATE TRIGGER r AFTER INSERT ON l BEGIN SELECT RAISE(ROLLBACK, 'x'); END;", TWO);
    expect_accepted(sql);
}

static void test_schema__a_guarded_trigger_is_accepted(void **state)
{
    (void)state;
    static const char *const innocent[] = {
        "AFTER INSERT ON t WHEN NOT satchel_applying() BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t FOR EACH ROW WHEN not Satchel_Applying ( ) BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN (NEW.a > 1 AND (NOT satchel_applying())) BEGIN DELETE FROM u; END",
        "AFTER INSERT ON t WHEN NEW.a BETWEEN 1 AND 2 AND NOT satchel_applying() BEGIN DELETE FROM "
        "u; END",
        "AFTER INSERT ON t WHEN (NEW.a OR 1) AND NOT satchel_applying() AND 1 BEGIN DELETE FROM u; "
        "END",
        "AFTER INSERT ON t WHEN /* x */ NOT satchel_applying() -- y\nBEGIN DELETE FROM u; END",
        "AFTER INSERT ON t BEGIN INSERT INTO l VALUES (NEW.id, 1); SELECT a FROM u; END",
        "AFTER INSERT ON l BEGIN INSERT INTO u(id) VALUES (NEW.x); END",
    };
    for (size_t i = 0; i < sizeof innocent / sizeof innocent[0]; i++) {
        char sql[700];
        snprintf(sql, sizeof sql, "%sCREATE TRIGGER r %s;", TWO, innocent[i]);
        expect_accepted(sql);
    }
}

static void test_schema__a_trigger_fired_by_another_counts(void **state)
{
    (void)state;
    static const char local_writes[] =
        "CREATE TRIGGER second AFTER INSERT ON l BEGIN UPDATE u SET a = 1; END;\n";
    char sql[1000];
    snprintf(sql, sizeof sql,
             "%s%sCREATE TRIGGER first AFTER INSERT ON t BEGIN INSERT INTO l(x) VALUES (1); END;",
             TWO, local_writes);
    expect_refused(sql, 9, "the trigger second on l writes the synced table u",
                   "WHEN NOT satchel_applying()");
    snprintf(sql, sizeof sql,
             "%s%sCREATE TRIGGER first AFTER INSERT ON t WHEN NOT satchel_applying() BEGIN "
             "INSERT INTO l(x) VALUES (1); END;",
             TWO, local_writes);
    expect_accepted(sql);
    /* An update of l fires no trigger on inserts into l. */
    snprintf(sql, sizeof sql,
             "%s%sCREATE TRIGGER first AFTER INSERT ON t BEGIN UPDATE l SET x = 1; END;", TWO,
             local_writes);
    expect_accepted(sql);
    /* Through a view. */
    snprintf(sql, sizeof sql,
             "%sCREATE VIEW v AS SELECT x FROM l;\n"
             "CREATE TRIGGER second INSTEAD OF INSERT ON v BEGIN DELETE FROM u; END;\n"
             "CREATE TRIGGER first AFTER DELETE ON t BEGIN INSERT INTO v(x) VALUES (1); END;",
             TWO);
    expect_refused(sql, 10, "the trigger second on v writes the synced table u",
                   "satchel_applying()");
}

static void test_schema__a_full_text_index_over_a_synced_table_is_accepted(void **state)
{
    (void)state;
    expect_accepted(TABLE("body TEXT") LOCAL
                    "CREATE VIRTUAL TABLE f USING fts5(body, content='t');\n"
                    "CREATE TRIGGER f1 AFTER INSERT ON t BEGIN\n"
                    "  INSERT INTO f(rowid, body) VALUES (NEW.rowid, NEW.body); END;\n"
                    "CREATE TRIGGER f2 AFTER UPDATE ON t BEGIN\n"
                    "  INSERT INTO f(f, rowid, body) VALUES ('delete', OLD.rowid, OLD.body);\n"
                    "  INSERT INTO f(rowid, body) VALUES (NEW.rowid, NEW.body); END;\n");
}

static void test_schema__a_trigger_that_cannot_run_is_refused(void **state)
{
    (void)state;
    expect_refused(TWO "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM absent; END;", 9,
                   "the trigger r cannot run (SQLite says: no such table: main.absent)",
                   "correct it");
    expect_refused(
        TWO "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO l VALUES (mine(), 2); END;", 9,
        "no such function: mine", "because the server runs it too");
}

/* ---- in a database file ---- */

static sqlite3 *open_memory(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    return db;
}

static int64_t number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *query = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &query, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(query), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    return number;
}

static void test_schema__install_runs_what_is_missing_and_load_reads_it_back(void **state)
{
    (void)state;
    sqlite3 *db = open_memory();
    struct satchel_error error = {0};
    struct satchel_schema *schema = NULL;
    const struct satchel_migration migrations[] = {
        migration_of(
            1, TABLE("a INT -- @max") "INSERT INTO t VALUES ('1', 2);\nCREATE INDEX i ON t(a);"),
        migration_of(2, "ALTER TABLE t ADD COLUMN b TEXT -- @min\n;"),
    };
    assert_int_equal(satchel_schema_load(db, &schema, &error), SATCHEL_OK);
    assert_null(schema);
    assert_int_equal(satchel_schema_install(db, migrations, 1, &error), SATCHEL_OK);
    assert_int_equal(satchel_schema_install(db, migrations, 2, &error), SATCHEL_OK);
    assert_int_equal(satchel_schema_install(db, migrations, 2, &error), SATCHEL_OK);
    assert_int_equal(satchel_schema_install(db, migrations + 1, 1, &error), SATCHEL_OK);
    assert_int_equal(number_of(db, "SELECT count(*) FROM t"), 0);
    assert_int_equal(number_of(db, "SELECT count(*) FROM sqlite_master WHERE name = 'i'"), 1);
    assert_int_equal(number_of(db, "SELECT count(*) FROM pragma_table_info('t')"), 3);
    assert_int_equal(satchel_schema_load(db, &schema, &error), SATCHEL_OK);
    assert_int_equal(schema->migration_count, 2);
    assert_int_equal(column_of(schema, "t", "b")->rule, SATCHEL_RULE_MIN);
    satchel_schema_free(schema);

    struct satchel_arena arena;
    struct satchel_migration *stored = NULL;
    uint32_t count = 0;
    satchel_arena_init(&arena, 1 << 20, NULL);
    assert_int_equal(satchel_schema_migrations(db, 1, &arena, &stored, &count, &error), SATCHEL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(stored[0].number, 2);
    assert_true(satchel_span_equal(stored[0].name, migrations[1].name));
    assert_true(satchel_span_equal(stored[0].sql, migrations[1].sql));
    assert_int_equal(satchel_schema_migrations(db, 2, &arena, &stored, &count, &error), SATCHEL_OK);
    assert_int_equal(count, 0);
    satchel_arena_deinit(&arena);
    sqlite3_close(db);
}

static void test_schema__install_refuses_a_gap_and_reports_what_sqlite_says(void **state)
{
    (void)state;
    sqlite3 *db = open_memory();
    struct satchel_error error = {0};
    const struct satchel_migration later = migration_of(2, "");
    assert_int_equal(satchel_schema_install(db, &later, 1, &error), SATCHEL_SCHEMA);
    assert_contains(error.message, "002_more.sql:1: migration 2 cannot follow 0");
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    const struct satchel_migration first = migration_of(1, TABLE("a"));
    assert_int_equal(satchel_schema_install(db, &first, 1, &error), SATCHEL_SQL);
    assert_contains(error.message, "001_init.sql:2: running the migration: table t already exists");
    assert_int_equal(error.native_code, SQLITE_ERROR);
    const struct satchel_migration wrong = migration_of(1, "DROP TABLE t;");
    assert_int_equal(satchel_schema_install(db, &wrong, 1, &error), SATCHEL_SCHEMA);
    sqlite3_close(db);
}

static enum satchel_status note_insert(void *context, struct satchel_span statement, int line)
{
    struct satchel_buffer *text = context;
    return satchel_buffer_format(text, "%d:%.*s|", line, (int)statement.size,
                                 (const char *)statement.data);
}

static void test_schema__inserts_are_visited_in_order(void **state)
{
    (void)state;
    struct satchel_buffer text;
    struct satchel_error error = {0};
    satchel_buffer_init(&text, 1 << 16, NULL);
    const struct satchel_migration migration = migration_of(
        1, TABLE("a") "INSERT INTO t VALUES ('a;b', 1);\nCREATE VIEW v AS SELECT 1;\ninsert into t "
                      "values('c',2)");
    assert_int_equal(satchel_migration_inserts(&migration, note_insert, &text, &error), SATCHEL_OK);
    assert_string_equal(satchel_buffer_text(&text),
                        "5:INSERT INTO t VALUES ('a;b', 1)|7:insert into t values('c',2)|");
    text.bytes_max = text.size; /* what the visitor returns ends the visit */
    assert_int_equal(satchel_migration_inserts(&migration, note_insert, &text, &error),
                     SATCHEL_LIMIT);
    satchel_buffer_deinit(&text);
}

static void test_schema__triggers_of_an_application_are_checked_in_its_database(void **state)
{
    (void)state;
    sqlite3 *db = open_memory();
    struct satchel_error error = {0};
    struct satchel_schema *schema = make(TWO, NULL, false);
    const struct satchel_migration migration = migration_of(1, TWO);
    assert_int_equal(satchel_schema_install(db, &migration, 1, &error), SATCHEL_OK);
    assert_int_equal(satchel_triggers_check(db, schema, &error), SATCHEL_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "CREATE TRIGGER satchel_t_insert AFTER INSERT ON t BEGIN DELETE FROM u; END;"
                     "CREATE TRIGGER fine AFTER INSERT ON t BEGIN INSERT INTO l(x) VALUES (1); END;"
                     "CREATE TRIGGER broken AFTER DELETE ON t BEGIN SELECT absent(); END;",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(satchel_triggers_check(db, schema, &error), SATCHEL_OK);
    assert_int_equal(
        sqlite3_exec(db, "CREATE TEMP TRIGGER mine AFTER UPDATE ON t BEGIN DELETE FROM u; END",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(satchel_triggers_check(db, schema, &error), SATCHEL_SCHEMA);
    assert_contains(error.message, "the trigger mine on t writes the synced table u");
    assert_contains(error.message, "WHEN NOT satchel_applying()");
    assert_int_equal(sqlite3_exec(db,
                                  "DROP TRIGGER mine; CREATE TEMP TRIGGER hush AFTER INSERT ON t"
                                  " BEGIN SELECT RAISE(IGNORE); END",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(satchel_triggers_check(db, schema, &error), SATCHEL_SCHEMA);
    assert_contains(error.message, "the trigger hush on t calls RAISE(IGNORE)");
    satchel_schema_free(schema);
    sqlite3_close(db);
}

/* ---- the whole CRM workspace ---- */

static char *read_file(const char *name)
{
    char path[500];
    snprintf(path, sizeof path, "%s/crm/%s", SATCHEL_GOLDEN_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = satchel_alloc(NULL, 1 << 18);
    assert_non_null(text);
    size_t size = fread(text, 1, (1 << 18) - 1, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

static const char *const crm_files[] = {"schema.sql", "stages.sql", "views.sql", "access.sql"};

static void read_crm(struct satchel_migration migrations[4])
{
    for (uint32_t i = 0; i < 4; i++) {
        migrations[i].number = i + 1;
        migrations[i].name = satchel_span_text(crm_files[i]);
        migrations[i].sql = satchel_span_text(read_file(crm_files[i]));
    }
}

static void free_crm(struct satchel_migration migrations[4])
{
    for (uint32_t i = 0; i < 4; i++)
        satchel_free(NULL, (void *)(uintptr_t)migrations[i].sql.data);
}

static void test_schema__the_crm_workspace_passes_every_check(void **state)
{
    (void)state;
    struct satchel_migration migrations[4];
    struct satchel_schema *schema = NULL;
    struct satchel_error error = {0};
    read_crm(migrations);
    if (satchel_schema_new(&schema, migrations, 4, &error) != SATCHEL_OK)
        fail_msg("%s", error.message);
    assert_int_equal(schema->table_count, 29);
    assert_true(schema->defines_users);
    assert_true(schema->defines_grants);
    assert_int_equal(schema->machine_count, 10);
    assert_true(schema->defines_states);
    assert_true(schema->defines_numbers);
    const struct satchel_table *line_item = satchel_schema_find(schema, "line_item");
    assert_int_equal(schema->references[line_item->parent].column,
                     column_of(schema, "line_item", "parent_id")->number);
    assert_int_equal(rules_of(schema, "line_item", "quantity")->frozen, SATCHEL_FROZEN_PARENT);
    assert_true(line_item->rules.is_frozen_by_parent);
    assert_int_equal(table_rules_of(schema, "quote")->freezing_state_count, 1);
    assert_int_equal(rules_of(schema, "opportunity", "closed_on")->unit,
                     column_of(schema, "opportunity", "stage")->number);
    assert_true(table_rules_of(schema, "account")->has_keys);
    assert_false(table_rules_of(schema, "contact")->has_keys);
    assert_null(schema->scope_notice);
    assert_string_equal(column_of(schema, "lead", "owner_id")->rule_argument,
                        "hq>branch_manager>rep>server");
    assert_string_equal(column_of(schema, "payment", "bank_account")->mask, "finance,hq");
    assert_true(satchel_schema_find(schema, "payment")->has_masks);
    assert_false(line_item->has_masks);
    assert_string_equal(column_of(schema, "line_item", "quantity")->frozen, "parent");
    assert_string_equal(column_of(schema, "line_item", "parent_id")->ref, "parent_type");
    assert_string_equal(column_of(schema, "quote", "account_id")->references_table, "account");
    assert_int_equal(rules_of(schema, "account", "postcode")->unit,
                     column_of(schema, "account", "country")->number);
    assert_int_equal(rules_of(schema, "user", "lead_capacity")->default_value.integer, 30);
    assert_int_equal(column_of(schema, "team_member", "access")->rule, SATCHEL_RULE_AUTHORITY);
    assert_int_equal(satchel_schema_find(schema, "line_item")->rules.delete_policy,
                     SATCHEL_DELETE_DELETE_WINS);
    satchel_schema_free(schema);
    free_crm(migrations);
}

/* xorshift64*: the same seed gives the same schemas everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static size_t mutate(char *text, size_t size, uint64_t *random)
{
    static const char *const pieces[] = {"--",
                                         "-- @lww\n",
                                         "'",
                                         "\"",
                                         "(",
                                         ")",
                                         ",",
                                         ";",
                                         "/*",
                                         "*/",
                                         "[",
                                         "\n",
                                         "-- @table local\n",
                                         "UNIQUE ",
                                         "CHECK (",
                                         "CREATE TABLE x (",
                                         "BEGIN ",
                                         "END;",
                                         "frozen(",
                                         "@mask(",
                                         "\xff",
                                         "PRIMARY KEY "};
    size_t at = next_random(random) % (size + 1);
    switch (next_random(random) % 4) {
    case 0: /* take some out */ {
        size_t length = next_random(random) % 40;
        length = length > size - at ? size - at : length;
        memmove(text + at, text + at + length, size - at - length);
        return size - length;
    }
    case 1: /* change a byte */
        if (at < size)
            text[at] = (char)(next_random(random) % 255 + 1);
        return size;
    default: /* put something in */ {
        const char *piece = pieces[next_random(random) % (sizeof pieces / sizeof pieces[0])];
        size_t length = strlen(piece);
        memmove(text + at + length, text + at, size - at);
        memcpy(text + at, piece, length);
        return size + length;
    }
    }
}

static void test_schema__mutations_of_the_crm_schema_are_accepted_or_refused_with_a_place(
    void **state)
{
    (void)state;
    const char *given = getenv("SATCHEL_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20260101;
    const char *rounds = getenv("SATCHEL_TEST_ROUNDS");
    unsigned long count = rounds ? strtoul(rounds, NULL, 10) : 300;
    print_message("SATCHEL_TEST_SEED=%llu\n", (unsigned long long)seed);
    char *original = read_file("schema.sql");
    size_t original_size = strlen(original);
    uint64_t random = seed | 1;
    for (unsigned long round = 0; round < count; round++) {
        /* A slice at table bounds would hide what a broken table does to the next: take the whole
         * or a part. */
        size_t size =
            next_random(&random) % 4 == 0 ? original_size : 1 + next_random(&random) % 6000;
        char *text = satchel_alloc(NULL, size + 4096);
        memcpy(text, original, size);
        size_t mutation_count = 1 + next_random(&random) % 8;
        for (size_t i = 0; i < mutation_count; i++)
            size = mutate(text, size, &random);
        char *exact = satchel_alloc(NULL, size ? size : 1);
        memcpy(exact, text, size);
        struct satchel_migration migration = {1, satchel_span_text("schema.sql"),
                                              satchel_span_of(exact, size)};
        struct satchel_schema *schema = NULL;
        struct satchel_error error = {0};
        enum satchel_status status =
            satchel_schema_new_internal(&schema, &migration, 1, true, &error);
        if (status != SATCHEL_OK && status != SATCHEL_SCHEMA)
            fail_msg("round %lu: %s: %s", round, satchel_status_name(status), error.message);
        if (status == SATCHEL_SCHEMA &&
            (strncmp(error.message, "schema.sql:", 11) != 0 || !strstr(error.message, "; ")))
            fail_msg("round %lu: no place or remedy: %s", round, error.message);
        satchel_schema_free(schema);
        satchel_free(NULL, exact);
        satchel_free(NULL, text);
    }
    satchel_free(NULL, original);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema__tables_are_numbered_in_order_of_creation_over_all_migrations),
        cmocka_unit_test(test_schema__columns_have_the_rule_of_their_annotation_or_the_default),
        cmocka_unit_test(test_schema__case_13_an_append_table_without_annotations),
        cmocka_unit_test(test_schema__case_14_an_append_table_with_authority_and_key),
        cmocka_unit_test(test_schema__case_11_frozen_without_a_state),
        cmocka_unit_test(test_schema__defaults_are_what_a_row_that_leaves_the_column_out_gets),
        cmocka_unit_test(test_schema__a_default_that_is_no_constant_varies),
        cmocka_unit_test(test_schema__scopes_without_grants_are_noticed),
        cmocka_unit_test(test_schema__an_empty_list_of_migrations_is_a_schema_without_tables),
        cmocka_unit_test(test_schema__statements_that_are_no_migration_are_refused),
        cmocka_unit_test(test_schema__what_sqlite_refuses_is_refused_with_its_words_and_line),
        cmocka_unit_test(test_schema__objects_outside_the_database_are_refused),
        cmocka_unit_test(test_schema__inserts_into_local_tables_are_refused),
        cmocka_unit_test(test_schema__migrations_are_numbered_without_a_gap),
        cmocka_unit_test(test_schema__a_table_without_annotation_is_refused_with_the_line_to_paste),
        cmocka_unit_test(test_schema__unique_is_refused),
        cmocka_unit_test(test_schema__a_check_over_columns_that_merge_apart_is_refused),
        cmocka_unit_test(test_schema__keys_that_cannot_work_are_refused),
        cmocka_unit_test(test_schema__reserved_names_are_refused),
        cmocka_unit_test(test_schema__views_for_the_server_have_their_columns),
        cmocka_unit_test(test_schema__generated_columns_and_virtual_tables_stay_local),
        cmocka_unit_test(test_schema__added_columns_must_pass_in_tables_with_rows),
        cmocka_unit_test(test_schema__a_counter_starts_at_a_whole_number),
        cmocka_unit_test(test_schema__names_in_annotations_must_exist),
        cmocka_unit_test(test_schema__states_need_the_view_that_defines_them),
        cmocka_unit_test(test_schema__changes_of_rules_must_be_of_earlier_migrations),
        cmocka_unit_test(test_schema__a_follower_is_in_its_leaders_unit_under_its_own_name),
        cmocka_unit_test(test_schema__machines_are_numbered_over_all_tables),
        cmocka_unit_test(test_schema__roles_are_in_order_the_highest_first),
        cmocka_unit_test(test_schema__freezing_states_are_counted_once),
        cmocka_unit_test(test_schema__what_freezes_is_one_thing),
        cmocka_unit_test(test_schema__references_are_columns_that_name_a_row_alone),
        cmocka_unit_test(test_schema__the_parent_is_the_only_reference),
        cmocka_unit_test(test_schema__columns_can_hold_what_their_rules_write),
        cmocka_unit_test(test_schema__what_travels_together_has_the_same_rights),
        cmocka_unit_test(test_schema__what_rules_need_is_not_masked),
        cmocka_unit_test(test_schema__frozen_parent_needs_exactly_one_parent),
        cmocka_unit_test(test_schema__frozen_parent_needs_a_parent_with_one_frozen_state),
        cmocka_unit_test(test_schema__frozen_parent_needs_the_parent_wherever_the_row_is),
        cmocka_unit_test(test_schema__what_is_not_built_yet_is_refused_by_name),
        cmocka_unit_test(test_schema__mistakes_come_before_what_is_not_built),
        cmocka_unit_test(test_schema__built_rules_work),
        cmocka_unit_test(
            test_schema__a_trigger_that_writes_a_synced_table_without_guard_is_refused),
        cmocka_unit_test(test_schema__a_trigger_that_ends_the_others_behind_a_write_is_refused),
        cmocka_unit_test(test_schema__a_trigger_that_ends_the_transaction_is_refused),
        cmocka_unit_test(test_schema__a_guarded_trigger_is_accepted),
        cmocka_unit_test(test_schema__a_trigger_fired_by_another_counts),
        cmocka_unit_test(test_schema__a_full_text_index_over_a_synced_table_is_accepted),
        cmocka_unit_test(test_schema__a_trigger_that_cannot_run_is_refused),
        cmocka_unit_test(test_schema__install_runs_what_is_missing_and_load_reads_it_back),
        cmocka_unit_test(test_schema__install_refuses_a_gap_and_reports_what_sqlite_says),
        cmocka_unit_test(test_schema__inserts_are_visited_in_order),
        cmocka_unit_test(test_schema__triggers_of_an_application_are_checked_in_its_database),
        cmocka_unit_test(test_schema__the_crm_workspace_passes_every_check),
        cmocka_unit_test(
            test_schema__mutations_of_the_crm_schema_are_accepted_or_refused_with_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
