/* What is promised of annotations: each of the edge cases in the schema documentation by its
 * number, the whole grammar, and for every mistake the file, the line, the reason and the remedy.
 */
#include <satchel/annotation.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* What was read, as one text: "t.c @rule(argument) frozen=… …" per column, separated by "; ". */
static const char *describe_columns(const struct satchel_annotations *all,
                                    struct satchel_buffer *text)
{
    satchel_buffer_clear(text);
    for (uint32_t i = 0; i < all->column_count; i++) {
        const struct satchel_column_annotation *column = &all->columns[i];
        const struct {
            const char *before, *value, *behind;
        } parts[] = {{"(", column->argument, ")"},
                     {" frozen=", column->frozen, ""},
                     {" mask=", column->mask, ""},
                     {" write=", column->write, ""},
                     {" ref=", column->ref, ""}};
        assert_int_equal(satchel_buffer_format(text, "%s%s%s.%s %s", i ? "; " : "",
                                               column->changes_rule ? "change " : "", column->table,
                                               column->column, column->rule),
                         SATCHEL_OK);
        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++)
            if (parts[k].value)
                assert_int_equal(satchel_buffer_format(text, "%s%s%s", parts[k].before,
                                                       parts[k].value, parts[k].behind),
                                 SATCHEL_OK);
    }
    return satchel_buffer_text(text);
}

static const char *describe_tables(const struct satchel_annotations *all,
                                   struct satchel_buffer *text)
{
    satchel_buffer_clear(text);
    for (uint32_t i = 0; i < all->table_count; i++) {
        const struct satchel_table_annotation *table = &all->tables[i];
        assert_int_equal(satchel_buffer_format(
                             text, "%s%s %s %s%s priority=%d retain=%d line=%d", i ? "; " : "",
                             table->table, table->is_local ? "local" : table->scope,
                             table->policy ? table->policy : "-", table->is_append ? " append" : "",
                             table->priority, (int)table->retain_days, table->line),
                         SATCHEL_OK);
    }
    return satchel_buffer_text(text);
}

struct reading {
    struct satchel_arena arena;
    struct satchel_buffer text;
    struct satchel_annotations all;
    struct satchel_error error;
    enum satchel_status status;
};

static void start(struct reading *reading, const char *sql)
{
    memset(reading, 0, sizeof *reading);
    satchel_arena_init(&reading->arena, 1 << 24, NULL);
    satchel_buffer_init(&reading->text, 1 << 20, NULL);
    reading->status = satchel_annotations_read("001_init.sql", satchel_span_text(sql),
                                               &reading->arena, &reading->all, &reading->error);
}

static void end(struct reading *reading)
{
    satchel_buffer_deinit(&reading->text);
    satchel_arena_deinit(&reading->arena);
}

static void expect_columns(const char *sql, const char *columns)
{
    struct reading reading;
    start(&reading, sql);
    assert_string_equal(reading.error.message, "");
    assert_int_equal(reading.status, SATCHEL_OK);
    assert_string_equal(describe_columns(&reading.all, &reading.text), columns);
    end(&reading);
}

static void expect_tables(const char *sql, const char *tables)
{
    struct reading reading;
    start(&reading, sql);
    assert_string_equal(reading.error.message, "");
    assert_string_equal(describe_tables(&reading.all, &reading.text), tables);
    end(&reading);
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* The message is "001_init.sql:LINE: reason; remedy" with these parts in it. */
static void expect_refused(const char *sql, int line, const char *reason, const char *remedy)
{
    struct reading reading;
    char place[64];
    start(&reading, sql);
    if (reading.status != SATCHEL_SCHEMA)
        fail_msg("accepted: %s", sql);
    snprintf(place, sizeof place, "001_init.sql:%d: ", line);
    if (strncmp(reading.error.message, place, strlen(place)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", reading.error.message, place);
    const char *semicolon = strstr(reading.error.message, "; ");
    assert_non_null(semicolon);
    assert_contains(reading.error.message, reason);
    assert_contains(semicolon, remedy);
    end(&reading);
}

/* A table t with one column x whose definition carries `comment`. */
#define COLUMN(comment) "CREATE TABLE t (\n  x TEXT -- " comment "\n);\n"

/* ---- the edge cases, by number ---- */

static void test_annotation__case_1_comment_behind_the_comma(void **state)
{
    (void)state;
    expect_columns("CREATE TABLE t (\nn INT DEFAULT 30,-- @max\nm INT\n);", "t.n @max");
}

static void test_annotation__case_2_last_column_without_comma(void **state)
{
    (void)state;
    expect_columns("CREATE TABLE t (\na INT,\nb INT -- @max\n);", "t.b @max");
    expect_columns("CREATE TABLE t (a INT,\nb INT) -- @max\n;", "t.b @max");
    expect_columns("CREATE TABLE t (a INT,\nb INT); -- @max", "t.b @max");
    expect_columns("CREATE TABLE t (a INT PRIMARY KEY, b INT) WITHOUT ROWID; -- @max", "t.b @max");
}

static void test_annotation__case_3_last_of_several_on_a_line(void **state)
{
    (void)state;
    expect_columns("CREATE TABLE t (\na, b, -- @max\nc);", "t.b @max");
}

static void test_annotation__case_4_comma_first(void **state)
{
    (void)state;
    expect_columns("CREATE TABLE t (\n  a TEXT -- @min\n, c TEXT -- @max\n, d TEXT\n);",
                   "t.a @min; t.c @max");
}

static void test_annotation__case_5_rule_alone_on_its_line(void **state)
{
    (void)state;
    expect_refused("CREATE TABLE t (\n  a TEXT,\n  -- @max\n  b TEXT\n);", 3,
                   "@max stands beside no column", "put it on the line");
    expect_refused("CREATE TABLE t (\n  -- @max\n  a TEXT\n);", 2, "@max stands beside no column",
                   "put it on the line");
    expect_refused("CREATE TABLE t (\n  a TEXT\n  -- @max\n);", 3, "@max stands beside no column",
                   "put it on the line");
    expect_refused("CREATE TABLE t (\n  a TEXT\n); \n-- @max\n", 4,
                   "@max stands between two statements", "put it on the line");
}

static void test_annotation__case_6_behind_a_table_constraint(void **state)
{
    (void)state;
    expect_refused("CREATE TABLE t (\nk1 INT, k2 INT,\nPRIMARY KEY(k1,k2) -- @max\n);", 3,
                   "@max stands behind a table constraint", "put it on the line");
    expect_refused("CREATE TABLE t (k INT, CONSTRAINT p PRIMARY KEY(k)); -- @max", 1,
                   "stands behind a table constraint", "put it on the line");
}

static void test_annotation__case_7_inside_a_string(void **state)
{
    (void)state;
    expect_columns(
        "CREATE TABLE t (\nx TEXT DEFAULT '-- @max',\ny TEXT DEFAULT 'it''s\n-- @max'\n);", "");
    expect_columns(
        "CREATE TABLE t (\nx TEXT DEFAULT \"-- @max\", [-- @min] INT,\n`-- @lww` INT\n);", "");
    expect_columns("CREATE TABLE t (\nx TEXT /* -- @max */, /*\n-- @min\n*/ y TEXT);", "");
}

static void test_annotation__case_8_behind_a_check_with_commas(void **state)
{
    (void)state;
    expect_columns("CREATE TABLE t (\nx TEXT\n CHECK(x IN('a','b')), -- @lww\ny TEXT);",
                   "t.x @lww");
}

static void test_annotation__case_9_quoted_names(void **state)
{
    (void)state;
    expect_columns(
        "CREATE TABLE t (\n\"a\"\"b\" TEXT, -- @lww\n[a b] TEXT, -- @max\n`c``d` TEXT -- @min\n);",
        "t.a\"b @lww; t.a b @max; t.c`d @min");
}

static void test_annotation__case_10_free_text_that_begins_with_frozen(void **state)
{
    (void)state;
    expect_columns(COLUMN("@lww frozen goods"), "t.x @lww");
    expect_columns(COLUMN("@lww frozen"), "t.x @lww");
}

/* Case 11, frozen(sent) in a table without @state, is the schema's: see test_schema. */
static void test_annotation__case_11_frozen_is_read_as_a_modifier(void **state)
{
    (void)state;
    expect_columns(COLUMN("@lww frozen(sent)"), "t.x @lww frozen=sent");
}

static void test_annotation__case_12_what_is_no_rule(void **state)
{
    (void)state;
    expect_refused(COLUMN("@max @min"), 2, "a column has one rule, and @min stands behind @max",
                   "take one out");
    expect_refused(COLUMN("@LWW"), 2, "\"@LWW\" is no rule", "lower case: @lww");
    expect_refused(COLUMN("@key(strong)"), 2, "@key(strong) is no rule",
                   "write @key or @key(weak)");
    expect_refused(COLUMN("@authority(hq>)"), 2, "a name is wanted where \")\" stands",
                   "a name is a letter");
}

/* Case 13, the rules of a table without annotations, is the schema's: see test_schema. */
static void test_annotation__case_13_one_line_append_table(void **state)
{
    (void)state;
    const char *sql = "-- @table scope=all delete=forbid append\n"
                      "CREATE TABLE t (id TEXT PRIMARY KEY, a INT, b TEXT);";
    expect_columns(sql, "");
    expect_tables(sql, "t all forbid append priority=0 retain=0 line=1");
}

static void test_annotation__case_14_append_table_with_authority_and_key(void **state)
{
    (void)state;
    expect_columns("-- @table scope=all delete=forbid append\n"
                   "CREATE TABLE t (id TEXT PRIMARY KEY,\n"
                   "a TEXT, -- @authority(finance)\nb TEXT -- @key\n);",
                   "t.a @authority(finance); t.b @key");
}

static void test_annotation__case_15_each_table_its_own(void **state)
{
    (void)state;
    expect_tables(
        "-- @table scope=all delete=forbid\nCREATE TABLE a (x);\n"
        "-- @table local\n-- a remark\n\nCREATE TABLE \"b c\" (x);\n"
        "CREATE TABLE d (x);\n-- @table local\nCREATE VIRTUAL TABLE e USING fts5(x);",
        "a all forbid priority=0 retain=0 line=1; b c local - priority=0 retain=0 line=3; "
        "e local - priority=0 retain=0 line=8");
    expect_refused("-- @table local\nCREATE VIEW v AS SELECT 1;", 1,
                   "@table stands before a statement (line 2) that creates no table",
                   "directly before");
}

/* ---- the grammar ---- */

static void test_annotation__every_rule_is_read(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "@id",         "@id(assigned)", "@lww",           "@immutable",
        "@append",     "@first",        "@min",           "@max",
        "@counter",    "@set",          "@map",           "@text3",
        "@server",     "@key",          "@key(weak)",     "@group(g)",
        "@follows(c)", "@state(m)",     "@authority(hq)", "@claim(hq>branch_manager>rep)"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        char sql[200], wanted[200];
        snprintf(sql, sizeof sql, COLUMN("%s  some words, @not read"), plain[i]);
        snprintf(wanted, sizeof wanted, "t.x %s", plain[i]);
        expect_columns(sql, wanted);
    }
    expect_columns(COLUMN("@authority( hq > \"branch manager\" )"),
                   "t.x @authority(hq>branch manager)");
    expect_columns(COLUMN("@key( weak )"), "t.x @key(weak)");
    expect_columns("CREATE TABLE t (x --@lww\n);", "t.x @lww");
    expect_columns("CREATE TABLE t (x --\t  @lww\r\n);\r\n", "t.x @lww");
}

static void test_annotation__every_modifier_is_read(void **state)
{
    (void)state;
    expect_columns(COLUMN("@lww frozen( sent ) @mask(hq, finance) @write( hq ) @ref(kind) words"),
                   "t.x @lww frozen=sent mask=hq,finance write=hq ref=kind");
    expect_columns(COLUMN("@lww @ref([a b]) frozen(parent)"), "t.x @lww frozen=parent ref=a b");
}

static void test_annotation__a_table_is_read_whole(void **state)
{
    (void)state;
    expect_tables(
        "-- @table scope=row( a ,  \"b c\")   via(d, e)  delete=edit_wins append priority=-3 "
        "retain=18m  \nCREATE TABLE main.t (x);",
        "t row( a , \"b c\") via(d, e) edit_wins append priority=-3 retain=540 line=1");
    expect_tables(
        "--@table scope=server delete=restrict retain=2y\nCREATE TABLE IF NOT EXISTS t (x);",
        "t server restrict priority=0 retain=730 line=1");
    expect_tables("-- @table scope=all all delete=delete_wins priority=7\nCREATE TABLE t (x);",
                  "t all all delete_wins priority=7 retain=0 line=1");
}

static void test_annotation__a_change_is_read(void **state)
{
    (void)state;
    expect_columns(
        "-- @column t.x @max\n-- @column \"a b\".[c d] @group(g) frozen(sent) @mask(hq)\n",
        "change t.x @max; change a b.c d @group(g) frozen=sent mask=hq");
    expect_refused("-- @column t.x @max words", 1, "a modifier or the end of the line",
                   "comment of their own");
    expect_refused("-- @column t @max", 1, "\".\" is missing", "@column table.column @rule");
    expect_refused("-- @column", 1, "a table's name is missing", "@column table.column @rule");
    expect_refused("-- @column t.x", 1, "a rule is missing", "the rules are");
}

static void test_annotation__mistakes_in_rules_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *reason, *remedy;
    } cases[] = {
        {COLUMN("@todo look at this"), "\"@todo\" is no annotation", "the rules are @id @lww"},
        {COLUMN("@"), "\"@\" is no annotation", "the rules are"},
        {COLUMN("@lww(x)"), "@lww takes nothing in parentheses", "write @lww and a space"},
        {COLUMN("@lww,"), "a space is wanted where \",\" stands", "put a space"},
        {COLUMN("@lww@ref(a)"), "a space is wanted where \"@ref(a)\"", "put a space"},
        {COLUMN("@group"), "\"(\" is missing", "@group(address)"},
        {COLUMN("@group (g)"), "\"(\" is missing", "@group(address)"},
        {COLUMN("@group()"), "a name is wanted", "a name is a letter"},
        {COLUMN("@group(a b)"), "\")\" is wanted where \"b)\" stands", "close the parentheses"},
        {COLUMN("@group(a,b)"), "\")\" is wanted", "close the parentheses"},
        {COLUMN("@group(a"), "\")\" is missing", "close the parentheses"},
        {COLUMN("@group(1a)"), "a name is wanted", "a name is a letter"},
        {COLUMN("@group(_a)"), "a name is wanted", "or quoted"},
        {COLUMN("@group(\"a)"), "a name is wanted", "close the quote"},
        {COLUMN("@group([])"), "a name is wanted", "close the quote"},
        {COLUMN("@id(made)"), "@id(made) is no rule", "write @id or @id(assigned)"},
        {COLUMN("@authority"), "\"(\" is missing", "parentheses"},
        {COLUMN("@authority(a,b)"), "\")\" is wanted", "close the parentheses"},
        {COLUMN("@claim(a>b>a)"), "the role \"a\" stands twice", "take one out"},
        {COLUMN("@claim(\"a>b\")"), "has a \",\" or \">\" in its name", "name it without"},
        {COLUMN("@mask(hq)"), "\"@mask\" stands without a rule", "@lww @mask(...)"},
        {COLUMN("@lww @mask"), "\"(\" is missing", "parentheses"},
        {COLUMN("@lww @mask(hq>rep)"), "\")\" is wanted", "close the parentheses"},
        {COLUMN("@lww @mask(a) @mask(b)"), "@mask stands twice", "take one out"},
        {COLUMN("@lww frozen(a) frozen(b)"), "frozen stands twice", "take one out"},
        {COLUMN("@lww frozen(a)b"), "a space is wanted", "put a space"},
        {COLUMN("@lww frozen()"), "a name is wanted", "a name is a letter"},
        {COLUMN("@lww @reff(a)"), "a modifier is wanted", "the modifiers are"},
        {COLUMN("@lww @LWW"), "a modifier is wanted", "the modifiers are"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(cases[i].sql, 2, cases[i].reason, cases[i].remedy);
}

static void test_annotation__mistakes_in_tables_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body, *reason, *remedy;
    } cases[] = {
        {"@table", "\"scope=\" or \"local\" is missing", "@table scope=all delete=edit_wins"},
        {"@tables scope=all delete=forbid", "\"@tables\" is no annotation", "the rules are"},
        {"@table(local)", "a space is wanted", "@table local"},
        {"@table locale", "\"scope=\" or \"local\" is wanted where \"locale\"", "@table local"},
        {"@table local delete=forbid", "the end of the line is wanted", "@table local"},
        {"@table delete=forbid", "\"scope=\" or \"local\" is wanted", "scope=all"},
        {"@table scope=", "a scope is missing", "the scopes are"},
        {"@table scope=everyone delete=forbid", "a scope is wanted where \"everyone\"",
         "the scopes are"},
        {"@table scope=allx delete=forbid", "a space is wanted", "the scopes are"},
        {"@table scope=row() delete=forbid", "a name is wanted", "a name is a letter"},
        {"@table scope=row delete=forbid", "\"(\" is missing", "parentheses"},
        {"@table scope=via(a,b,c) delete=forbid", "more than 2 names", "write fewer"},
        {"@table scope=all via(a) via(b) delete=forbid", "\"delete=\" is wanted", "scope=all"},
        {"@table scope=all", "\"delete=\" is missing", "delete=edit_wins"},
        {"@table scope=all delete=never", "a delete policy is wanted where \"never\"",
         "forbid, restrict"},
        {"@table scope=all delete=", "a delete policy is missing", "forbid, restrict"},
        {"@table scope=all append delete=forbid", "\"delete=\" is wanted where \"append\"",
         "in this order"},
        {"@table scope=all delete=forbid priority=1 append", "the end of the line is wanted",
         "in this order"},
        {"@table scope=all delete=forbid priority=high", "a whole number", "priority=1"},
        {"@table scope=all delete=forbid priority=9999999999", "a whole number", "priority=1"},
        {"@table scope=all delete=forbid retain=0d", "a positive number", "retain=90d"},
        {"@table scope=all delete=forbid retain=3w", "\"d\", \"m\" or \"y\" is wanted",
         "retain=90d"},
        {"@table scope=all delete=forbid retain=3", "\"d\", \"m\" or \"y\" is missing",
         "retain=90d"},
        {"@table scope=all delete=forbid words", "the end of the line is wanted", "scope=all"},
        {"@TABLE local", "\"@TABLE\" is no annotation", "the rules are"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[300];
        snprintf(sql, sizeof sql, "\n-- %s\nCREATE TABLE t (x);", cases[i].body);
        expect_refused(sql, 2, cases[i].reason, cases[i].remedy);
    }
}

/* ---- where annotations may stand ---- */

static void test_annotation__a_table_annotation_stands_alone_before_its_table(void **state)
{
    (void)state;
    expect_refused("CREATE TABLE a (x); -- @table local\nCREATE TABLE b (x);", 1,
                   "@table stands behind something else", "on a line of its own");
    expect_refused("/* b */ -- @table local\nCREATE TABLE b (x);", 1,
                   "@table stands behind something else", "on a line of its own");
    expect_refused("CREATE TABLE a ( -- @table local\nx);", 1, "@table stands inside a statement",
                   "before one");
    expect_refused("-- @table local\n-- @table local\nCREATE TABLE a (x);", 2,
                   "the @table on line 1 has no CREATE TABLE yet", "take one of the two out");
    expect_refused("CREATE TABLE a (x);\n-- @table local\n", 2,
                   "@table stands before no CREATE TABLE", "directly before");
    expect_refused("-- @table local\nINSERT INTO t VALUES (1);", 1, "creates no table",
                   "directly before");
    expect_refused("-- @table local\nALTER TABLE t ADD COLUMN x;", 1, "creates no table",
                   "directly before");
}

static void test_annotation__an_added_column_has_its_rule_before_or_behind_the_semicolon(
    void **state)
{
    (void)state;
    expect_columns("ALTER TABLE t ADD COLUMN x TEXT; -- @max", "t.x @max");
    expect_columns("ALTER TABLE t ADD x TEXT -- @max\n;", "t.x @max");
    expect_columns("ALTER TABLE \"t u\"\n ADD COLUMN [x y] TEXT\n -- @max\n;", "t u.x y @max");
    expect_columns("ALTER TABLE t ADD COLUMN x TEXT\n; -- @max", "t.x @max");
    expect_refused("ALTER TABLE t -- @max\nADD COLUMN x TEXT;", 1, "@max stands beside no column",
                   "put it on the line");
    expect_refused("ALTER TABLE t ADD COLUMN x -- @max\nTEXT;", 1, "@max stands beside no column",
                   "put it on the line");
    expect_refused("ALTER TABLE t ADD COLUMN x TEXT;\n-- @max", 2,
                   "@max stands between two statements", "@column table.column @max");
    expect_refused("ALTER TABLE t ADD COLUMN x TEXT -- @max\n; -- @max", 2,
                   "column x has an annotation on line 1 already", "take one out");
}

static void test_annotation__a_rule_stands_where_its_definition_or_comma_ends(void **state)
{
    (void)state;
    expect_columns("CREATE TABLE t (\na TEXT\n, -- @max\nb TEXT\nNOT NULL, -- @min\nc TEXT);",
                   "t.a @max; t.b @min");
    expect_refused("CREATE TABLE t (\na TEXT -- @max\nNOT NULL,\nb TEXT);", 2,
                   "@max stands beside no column", "put it on the line");
    expect_refused("CREATE TABLE t (\na TEXT\n) -- @max\n;", 3, "@max stands beside no column",
                   "put it on the line");
    expect_refused("CREATE TABLE t (\na TEXT -- @max\n, -- @min\nb TEXT);", 3,
                   "column a has an annotation on line 2 already", "take one out");
    expect_refused("CREATE TABLE t (a TEXT); CREATE INDEX i ON t(a); -- @max", 1,
                   "@max stands between two statements", "put it on the line");
    expect_refused("INSERT INTO t VALUES (1), -- @max\n(2);", 1,
                   "@max stands in a statement that defines no "
                   "column",
                   "take it out");
    expect_refused("CREATE VIEW v AS SELECT 1 -- @max\n;", 1, "defines no column", "take it out");
    expect_refused("CREATE TABLE t AS SELECT 1 AS a -- @max\n;", 1, "@max stands beside no column",
                   "put it on the line");
}

/* ---- statements ---- */

static void test_annotation__statements_are_cut_at_their_semicolons(void **state)
{
    (void)state;
    struct reading reading;
    start(&reading,
          "\xEF\xBB\xBF;; CREATE TABLE \"a;b\" (x DEFAULT ';' /* ; */, [y;] INT -- ;\n);\n"
          "CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN\n"
          "  SELECT CASE WHEN 1 THEN 2 END;\n  SELECT 1; -- x\nEND;\n"
          "ALTER TABLE t ADD c;\n insert into t values(1) ;\nDROP TABLE t;\n"
          "CREATE UNIQUE INDEX i ON t(x);\nCREATE VIRTUAL TABLE f USING fts5(x)");
    static const struct {
        enum satchel_statement_kind kind;
        const char *name;
        int line;
    } wanted[] = {
        {SATCHEL_STATEMENT_CREATE_TABLE, "a;b", 1}, {SATCHEL_STATEMENT_CREATE_OTHER, NULL, 3},
        {SATCHEL_STATEMENT_ADD_COLUMN, "t", 7},     {SATCHEL_STATEMENT_INSERT, NULL, 8},
        {SATCHEL_STATEMENT_OTHER, NULL, 9},         {SATCHEL_STATEMENT_CREATE_OTHER, NULL, 10},
        {SATCHEL_STATEMENT_CREATE_OTHER, "f", 11},
    };
    assert_int_equal(reading.status, SATCHEL_OK);
    assert_int_equal(reading.all.statement_count, sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < reading.all.statement_count; i++) {
        const struct satchel_statement *statement = &reading.all.statements[i];
        assert_int_equal(statement->kind, wanted[i].kind);
        assert_int_equal(statement->line, wanted[i].line);
        assert_int_equal(strlen(statement->sql), statement->text.size);
        if (wanted[i].name)
            assert_string_equal(statement->name, wanted[i].name);
        else
            assert_null(statement->name);
    }
    assert_string_equal(reading.all.statements[0].sql,
                        "CREATE TABLE \"a;b\" (x DEFAULT ';'        , [y;] INT     \n)");
    end(&reading);
}

static void test_annotation__what_never_ends_is_refused_where_it_begins(void **state)
{
    (void)state;
    static const char *const opened[] = {"'x", "\"x", "[x", "`x", "x'00"};
    for (size_t i = 0; i < sizeof opened / sizeof opened[0]; i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "\nSELECT 1;\nSELECT\n%s;\n\n", opened[i]);
        expect_refused(sql, 4, "the quoted text that begins here never ends", "close it");
    }
    expect_refused("\n/* x", 2, "the comment /* that begins here never ends", "close it");
}

static void test_annotation__a_file_that_is_no_text_or_too_long_is_refused(void **state)
{
    (void)state;
    struct reading reading;
    start(&reading, "");
    assert_int_equal(satchel_annotations_read("a.sql", satchel_span_of("\n\n\0", 3), &reading.arena,
                                              &reading.all, &reading.error),
                     SATCHEL_SCHEMA);
    assert_string_equal(reading.error.message,
                        "a.sql:3: a NUL byte stands in the text; save the file as UTF-8 text");
    size_t size = ((size_t)4 << 20) + 1;
    char *spaces = satchel_alloc(NULL, size);
    memset(spaces, ' ', size);
    assert_int_equal(satchel_annotations_read("a.sql", satchel_span_of(spaces, size),
                                              &reading.arena, &reading.all, &reading.error),
                     SATCHEL_LIMIT);
    assert_int_equal(satchel_annotations_read("a.sql", satchel_span_of(spaces, size - 1),
                                              &reading.arena, &reading.all, &reading.error),
                     SATCHEL_OK);
    satchel_free(NULL, spaces);
    end(&reading);
}

static void test_annotation__every_prefix_is_read_or_refused(void **state)
{
    (void)state;
    static const char sql[] =
        "-- @table scope=row(a, \"b\"\"c\") via(d, e) delete=edit_wins append retain=1y\n"
        "CREATE TABLE \"x\"\"y\" ([a b] TEXT CHECK (a IN ('x', ')')), -- @lww frozen(s)\n"
        "/* c */ `b` INT DEFAULT (1 + (2)) -- @claim(a>b) @mask(c, d)\n);\n"
        "ALTER TABLE t ADD COLUMN c; -- @key(weak)\n-- @column t.c @lww\n"
        "CREATE TRIGGER r AFTER UPDATE ON t WHEN x'00' BEGIN SELECT 1; END;\n";
    for (size_t size = 0; size < sizeof sql; size++) {
        struct reading reading;
        start(&reading, "");
        /* A copy of exactly this size, so that a read behind the end is seen. */
        uint8_t *copy = satchel_alloc(NULL, size ? size : 1);
        memcpy(copy, sql, size);
        enum satchel_status status = satchel_annotations_read(
            "a.sql", satchel_span_of(copy, size), &reading.arena, &reading.all, &reading.error);
        assert_true(status == SATCHEL_OK || status == SATCHEL_SCHEMA);
        satchel_free(NULL, copy);
        end(&reading);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_annotation__case_1_comment_behind_the_comma),
        cmocka_unit_test(test_annotation__case_2_last_column_without_comma),
        cmocka_unit_test(test_annotation__case_3_last_of_several_on_a_line),
        cmocka_unit_test(test_annotation__case_4_comma_first),
        cmocka_unit_test(test_annotation__case_5_rule_alone_on_its_line),
        cmocka_unit_test(test_annotation__case_6_behind_a_table_constraint),
        cmocka_unit_test(test_annotation__case_7_inside_a_string),
        cmocka_unit_test(test_annotation__case_8_behind_a_check_with_commas),
        cmocka_unit_test(test_annotation__case_9_quoted_names),
        cmocka_unit_test(test_annotation__case_10_free_text_that_begins_with_frozen),
        cmocka_unit_test(test_annotation__case_11_frozen_is_read_as_a_modifier),
        cmocka_unit_test(test_annotation__case_12_what_is_no_rule),
        cmocka_unit_test(test_annotation__case_13_one_line_append_table),
        cmocka_unit_test(test_annotation__case_14_append_table_with_authority_and_key),
        cmocka_unit_test(test_annotation__case_15_each_table_its_own),
        cmocka_unit_test(test_annotation__every_rule_is_read),
        cmocka_unit_test(test_annotation__every_modifier_is_read),
        cmocka_unit_test(test_annotation__a_table_is_read_whole),
        cmocka_unit_test(test_annotation__a_change_is_read),
        cmocka_unit_test(test_annotation__mistakes_in_rules_are_named),
        cmocka_unit_test(test_annotation__mistakes_in_tables_are_named),
        cmocka_unit_test(test_annotation__a_table_annotation_stands_alone_before_its_table),
        cmocka_unit_test(
            test_annotation__an_added_column_has_its_rule_before_or_behind_the_semicolon),
        cmocka_unit_test(test_annotation__a_rule_stands_where_its_definition_or_comma_ends),
        cmocka_unit_test(test_annotation__statements_are_cut_at_their_semicolons),
        cmocka_unit_test(test_annotation__what_never_ends_is_refused_where_it_begins),
        cmocka_unit_test(test_annotation__a_file_that_is_no_text_or_too_long_is_refused),
        cmocka_unit_test(test_annotation__every_prefix_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
