/* Every example of docs/rules.md: the table it declares, the writes it lists, in every order in
 * which they may arrive. */
#include <satchel/operation.h>
#include <satchel/schema.h>
#include <satchel/workspace_data.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

enum { CELLS = 8, FIELDS = 40, WRITES = 4, COLUMNS_MAX = 40, LINE_BYTES = 2000 };

/* The row before is write 0; A, B and C are 1 to 3. */
struct example {
    struct satchel_write writes[WRITES];
    struct satchel_field fields[WRITES][FIELDS];
    unsigned knows[WRITES]; /* a bit per other write */
    bool is_there[WRITES];
};

struct page {
    struct satchel_arena arena; /* of the page */
    struct satchel_arena work;  /* of one example */
    struct satchel_schema *schema;
    const struct satchel_table *table;
    struct satchel_row_context context;
    char *text;
    int line;
    size_t example_count;
};

/* ---- the page ---- */

static char *read_page(void)
{
    FILE *file = fopen(SATCHEL_RULES_PAGE, "rbe");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    text[size] = 0;
    assert_int_equal(fclose(file), 0);
    return text;
}

/* The page's only SQL: the table of its examples. */
static void read_schema(struct page *page)
{
    const char *begin = strstr(page->text, "```sql\n");
    assert_non_null(begin);
    begin += strlen("```sql\n");
    const char *end = strstr(begin, "```");
    assert_non_null(end);
    struct satchel_error error = {0};
    struct satchel_span sql =
        satchel_arena_copy(&page->arena, satchel_span_of(begin, (size_t)(end - begin)));
    assert_non_null(sql.data);
    const struct satchel_migration migration = {1, satchel_span_text("001_rules.sql"), sql};
    if (satchel_schema_new(&page->schema, &migration, 1, &error) != SATCHEL_OK)
        fail_msg("%s", error.message);
    page->table = satchel_schema_find(page->schema, "deal");
    assert_non_null(page->table);
    assert_true(page->table->column_count <= COLUMNS_MAX);

    sqlite3 *db = NULL;
    char warning[256];
    struct satchel_machine *machines;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, (const char *)sql.data, NULL, NULL, NULL), SQLITE_OK);
    assert_ok(satchel_machines_load(db, page->schema, &page->arena, &machines, warning, &error));
    assert_string_equal(warning, "");
    page->context = (struct satchel_row_context){.machines = machines,
                                                 .machine_count = page->schema->machine_count};
    sqlite3_close(db);
}

/* The cells of a line of a table; 0: it is none. */
static size_t split_cells(char *line, char *cells[CELLS])
{
    size_t count = 0;
    char *rest = NULL;
    if (line[0] != '|')
        return 0;
    for (char *cell = strtok_r(line, "|", &rest); cell; cell = strtok_r(NULL, "|", &rest)) {
        assert_true(count < CELLS);
        cells[count++] = cell;
    }
    return count;
}

/* ---- cells ---- */

static uint32_t column_of(const struct page *page, const char *name, size_t size)
{
    for (uint32_t i = 0; i < page->table->column_count; i++)
        if (strlen(page->table->columns[i].name) == size &&
            memcmp(page->table->columns[i].name, name, size) == 0)
            return i;
    fail_msg("line %d: no column %.*s", page->line, (int)size, name);
    return 0;
}

static struct satchel_value value_of(struct page *page, const char *text, size_t size)
{
    char *copy = satchel_arena_alloc(&page->work, size + 1), *end = copy;
    assert_non_null(copy);
    for (size_t i = 0; i < size; i++) {
        bool is_line_end = text[i] == '\\' && i + 1 < size && text[i + 1] == 'n';
        *end++ = is_line_end ? '\n' : text[i];
        i += is_line_end;
    }
    *end = 0;
    if (strcmp(copy, "NULL") == 0)
        return satchel_value_null();
    return satchel_value_text(satchel_span_of(copy, (size_t)(end - copy)));
}

/* A text as SQLite stores it in the column. */
static struct satchel_value stored_as(const struct page *page, uint32_t column,
                                      struct satchel_value value)
{
    bool is_integer = strcmp(page->table->columns[column].declared_type, "INTEGER") == 0;
    if (value.type == SATCHEL_TEXT && is_integer)
        return satchel_value_integer(strtoll((const char *)value.bytes.data, NULL, 10));
    return value;
}

/* The `column=value` of a cell into `values`, those it has into `has`. */
static bool read_values(struct page *page, const char *cell, struct satchel_value *values,
                        bool *has)
{
    bool has_any = false;
    for (const char *at = strchr(cell, '`'); at; at = strchr(at, '`')) {
        const char *end = strchr(++at, '`');
        assert_non_null(end);
        const char *equals = memchr(at, '=', (size_t)(end - at));
        assert_non_null(equals);
        uint32_t column = column_of(page, at, (size_t)(equals - at));
        struct satchel_value value = value_of(page, equals + 1, (size_t)(end - equals - 1));
        values[column] = stored_as(page, column, value);
        has[column] = true;
        has_any = true;
        at = end + 1;
    }
    return has_any;
}

/* ---- writes ---- */

static struct satchel_id id_of(uint8_t kind, uint32_t number)
{
    struct satchel_id id = {{kind}};
    id.bytes[15] = (uint8_t)(number + 1);
    return id;
}

/* Every change set has a node of its own, so that any of them can be seen alone. */
static struct satchel_vector positions_of(struct page *page, unsigned writes)
{
    struct satchel_vector vector = {NULL, 0};
    for (uint32_t i = 0; i < WRITES; i++) {
        struct satchel_id node = id_of(0xa0, i);
        if (writes & 1u << i)
            assert_ok(satchel_vector_raise(&page->work, &vector, &node, 1, &vector));
    }
    return vector;
}

static void start_write(struct page *page, struct example *example, uint32_t index,
                        const char *cell)
{
    static const char *const roles[] = {"hq", "manager", "server"};
    struct satchel_write *write = &example->writes[index];
    const char *role = "rep";
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        char words[16];
        snprintf(words, sizeof words, "as %s", roles[i]);
        role = strstr(cell, words) ? roles[i] : role;
    }
    for (uint32_t i = 1; i < WRITES; i++) {
        char words[16];
        snprintf(words, sizeof words, "knowing %c", (char)('A' + i - 1));
        if (strstr(cell, words))
            example->knows[index] |= 1u << i;
    }
    if (strstr(cell, "knowing both"))
        example->knows[index] |= 1u << 1 | 1u << 2;
    if (index > 0 && example->is_there[0])
        example->knows[index] |= 1;
    *write = (struct satchel_write){
        .order = {satchel_stamp_from_ms(1719800000000 + index * 3600000), id_of(0xd0, index), 1, 0},
        .positions = positions_of(page, 1u << index),
        .seen = positions_of(page, example->knows[index]),
        .role = satchel_span_text(role),
        .kind = strstr(cell, "deletes")      ? SATCHEL_OP_DELETE
                : example->knows[index] & 1u ? SATCHEL_OP_UPDATE
                                             : SATCHEL_OP_INSERT,
        .fields = example->fields[index]};
    example->is_there[index] = true;
}

/* A write to a column that others go with carries them all, as a device's does. */
static void complete_units(const struct page *page, const struct satchel_value *shown,
                           struct satchel_value *values, bool *has)
{
    const struct satchel_column_rules *columns = page->table->rules.columns;
    bool writes_unit[COLUMNS_MAX] = {false};
    for (uint32_t i = 0; i < page->table->column_count; i++)
        if (has[i] && columns[i].rule != SATCHEL_RULE_FOLLOWS)
            writes_unit[columns[i].unit] = true;
    for (uint32_t i = 0; i < page->table->column_count; i++) {
        if (has[i] || columns[i].in_key || !writes_unit[columns[i].unit])
            continue;
        values[i] = shown[i];
        has[i] = true;
    }
}

static void fill_write(struct page *page, struct example *example, uint32_t index, const char *cell,
                       const struct satchel_value *shown)
{
    struct satchel_write *write = &example->writes[index];
    struct satchel_value values[COLUMNS_MAX];
    bool has[COLUMNS_MAX] = {false};
    if (write->kind == SATCHEL_OP_DELETE)
        return;
    read_values(page, cell, values, has);
    complete_units(page, shown, values, has);
    for (uint32_t i = 0; i < page->table->column_count; i++) {
        if (!has[i])
            continue;
        struct satchel_field *field = &example->fields[index][write->field_count++];
        bool is_write;
        field->column = i;
        assert_ok(satchel_operation_make(&page->table->rules.columns[i], write->kind, &shown[i],
                                         &values[i], &page->work, &field->value, &is_write));
    }
}

/* ---- merging ---- */

struct outcome {
    struct satchel_value values[COLUMNS_MAX];
    struct satchel_row row;
    struct satchel_conflict_list conflicts;
};

static void start_row(struct page *page, struct outcome *out)
{
    for (uint32_t i = 0; i < page->table->column_count; i++)
        out->values[i] = page->table->rules.columns[i].default_value;
    out->values[0] = satchel_value_text(satchel_span_text("key"));
    out->row = (struct satchel_row){.values = out->values,
                                    .version = satchel_version_new(&page->work),
                                    .context = &page->context};
    assert_non_null(out->row.version);
}

static void merge_in_order(struct page *page, const struct example *example, const uint32_t *order,
                           uint32_t count, struct outcome *out)
{
    struct satchel_write arrived[WRITES];
    start_row(page, out);
    for (uint32_t i = 0; i < count; i++) {
        struct satchel_merge_result result;
        struct satchel_error error = {0};
        arrived[i] = example->writes[order[i]];
        enum satchel_status status = satchel_row_merge(&page->table->rules, &out->row, &arrived[i],
                                                       &page->work, &result, &error);
        if (status == SATCHEL_NEED_TIMELINE)
            status = satchel_row_rebuild(&page->table->rules, &out->row, arrived, i + 1,
                                         &page->work, &result, &error);
        if (status != SATCHEL_OK)
            fail_msg("line %d: %s", page->line, error.message);
    }
    assert_ok(satchel_row_conflicts(&page->table->rules, &out->row, &page->work, &out->conflicts));
}

/* What the author of `index` was shown. */
static void show(struct page *page, const struct example *example, uint32_t index,
                 struct outcome *out)
{
    uint32_t order[WRITES], count = 0;
    for (uint32_t pass = 0; pass < 2; pass++) /* those that know others come after them */
        for (uint32_t i = 0; i < WRITES; i++)
            if (example->knows[index] & 1u << i && (example->knows[i] > 1) == (pass == 1))
                order[count++] = i;
    merge_in_order(page, example, order, count, out);
}

/* ---- what is expected ---- */

static void check_values(struct page *page, const char *cell, const struct outcome *outcome)
{
    struct satchel_value values[COLUMNS_MAX];
    bool has[COLUMNS_MAX] = {false};
    if (strstr(cell, "gone")) {
        assert_false(outcome->row.exists);
        return;
    }
    assert_true(outcome->row.exists);
    assert_true(read_values(page, cell, values, has));
    for (uint32_t i = 0; i < page->table->column_count; i++) {
        const struct satchel_value *value = &outcome->values[i];
        if (!has[i] || satchel_value_equal(&values[i], value))
            continue;
        bool is_text = value->type == SATCHEL_TEXT;
        fail_msg("line %d: %s is of type %d, %.*s, integer %lld", page->line,
                 page->table->columns[i].name, (int)value->type,
                 is_text ? (int)value->bytes.size : 0,
                 is_text ? (const char *)value->bytes.data : "", (long long)value->integer);
    }
}

static void check_conflicts(struct page *page, const char *cell, const struct outcome *outcome)
{
    char found[200] = "";
    size_t size = 0;
    for (size_t i = 0; i < outcome->conflicts.count; i++) {
        const struct satchel_conflict *conflict = &outcome->conflicts.items[i];
        bool is_review = conflict->severity == SATCHEL_SEVERITY_REVIEW;
        size += (size_t)snprintf(found + size, sizeof found - size, "%s%c: %s", i ? ", " : "",
                                 (char)('A' + conflict->loser.device.bytes[15] - 2),
                                 is_review ? "review" : "notice");
        assert_true(size < sizeof found);
    }
    const char *expected = cell + strspn(cell, " ");
    size_t expected_size = strlen(expected);
    while (expected_size && expected[expected_size - 1] == ' ')
        expected_size--;
    const char *text = size ? found : "none";
    if (strlen(text) != expected_size || memcmp(text, expected, expected_size) != 0)
        fail_msg("line %d: conflicts are \"%s\", not \"%.*s\"", page->line, text,
                 (int)expected_size, expected);
}

/* Every order in which whoever knows a write comes after it. */
static void try_orders(struct page *page, const struct example *example, uint32_t *order,
                       uint32_t count, unsigned placed, const char *values, const char *conflicts)
{
    bool is_all = true;
    for (uint32_t i = 0; i < WRITES; i++) {
        if (!example->is_there[i] || placed & 1u << i)
            continue;
        is_all = false;
        if ((example->knows[i] & ~placed) != 0)
            continue;
        order[count] = i;
        try_orders(page, example, order, count + 1, placed | 1u << i, values, conflicts);
    }
    if (!is_all)
        return;
    struct outcome outcome;
    merge_in_order(page, example, order, count, &outcome);
    check_values(page, values, &outcome);
    check_conflicts(page, conflicts, &outcome);
}

/* | before | A writes | B writes | the row has | conflict | */
static void run_example(struct page *page, char **cells)
{
    struct example example = {.is_there = {false}};
    struct outcome shown;
    uint32_t order[WRITES];
    if (!strstr(cells[0], "no row")) {
        start_row(page, &shown);
        start_write(page, &example, 0, "");
        fill_write(page, &example, 0, cells[0], shown.values);
    }
    for (uint32_t i = 1; i <= 2; i++)
        start_write(page, &example, i, cells[i]);
    /* Who knows the other one is shown it: that one writes first. */
    uint32_t first = example.knows[1] & 1u << 2 ? 2 : 1;
    const uint32_t turns[] = {first, 3 - first};
    for (uint32_t i = 0; i < 2; i++) {
        show(page, &example, turns[i], &shown);
        fill_write(page, &example, turns[i], cells[turns[i]], shown.values);
    }
    try_orders(page, &example, order, 0, 0, cells[3], cells[4]);
    page->example_count++;
    satchel_arena_reset(&page->work);
}

static void test_page__says_what_happens(void **state)
{
    (void)state;
    struct page page = {.text = read_page()};
    satchel_arena_init(&page.arena, 1u << 20, NULL);
    satchel_arena_init(&page.work, 1u << 22, NULL);
    read_schema(&page);
    bool is_examples = false;
    for (char *at = page.text; *at; page.line++) {
        char line[LINE_BYTES], *cells[CELLS];
        size_t size = strcspn(at, "\n");
        assert_true(size < sizeof line);
        memcpy(line, at, size);
        line[size] = 0;
        at += size + (at[size] == '\n');
        bool is_head =
            strcmp(line, "| before | A writes | B writes | the row has | conflict |") == 0;
        bool is_rule = strncmp(line, "| ---", 5) == 0;
        size_t count = split_cells(line, cells);
        is_examples = count > 0 && (is_examples || is_head);
        if (!is_examples || is_head || is_rule)
            continue;
        page.line++;
        assert_int_equal(count, 5);
        run_example(&page, cells);
        page.line--;
    }
    assert_true(page.example_count > 60);
    satchel_schema_free(page.schema);
    satchel_arena_deinit(&page.work);
    satchel_arena_deinit(&page.arena);
    free(page.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page__says_what_happens)};
    return cmocka_run_group_tests_name("rules_page", tests, NULL, NULL);
}
