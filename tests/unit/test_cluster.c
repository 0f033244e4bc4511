/* Rows with one key, told as stories: a few writes to rows x, y and z, and what becomes of these in
 * every order of arrival that the authors' knowledge allows. */
#include "merge.h"

#include <satchel/cluster.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ID, TAX, PHONE, NAME, VISITS, COLUMNS };
enum { ROWS = 3, WRITES_MAX = 8, ARENA_BYTES_MAX = 64 << 20 };

/* A change set as "device letter, number"; one of several parts has a third letter. */
struct told {
    const char *name;
    char row;
    enum satchel_op_kind kind;
    int64_t ms;
    const char *seen;                /* names apart by spaces; what these had seen is seen too */
    const char *tax, *phone, *title; /* NULL: not written; "-": NULL; "!K": K, and set apart */
    int64_t visits;
};

struct fixture {
    struct satchel_arena arena;
    struct satchel_column_rules columns[COLUMNS];
    struct satchel_table_rules rules;
    const struct told *told;
    unsigned count;
    unsigned seen[WRITES_MAX]; /* bits */
    struct satchel_write writes[WRITES_MAX];
    struct satchel_position positions[WRITES_MAX], seen_positions[WRITES_MAX][WRITES_MAX];
    struct satchel_field fields[WRITES_MAX][COLUMNS];
    const char *expected;
};

static struct fixture fixture;

static int set_up(void **state)
{
    (void)state;
    memset(&fixture, 0, sizeof fixture);
    satchel_arena_init(&fixture.arena, ARENA_BYTES_MAX, NULL);
    for (uint32_t c = 0; c < COLUMNS; c++)
        fixture.columns[c] = (struct satchel_column_rules){.rule = SATCHEL_RULE_LWW, .unit = c};
    fixture.columns[ID].rule = SATCHEL_RULE_ID;
    fixture.columns[ID].in_key = true;
    fixture.columns[TAX].rule = SATCHEL_RULE_KEY;
    fixture.columns[PHONE].rule = SATCHEL_RULE_KEY;
    fixture.columns[VISITS].rule = SATCHEL_RULE_COUNTER;
    fixture.columns[VISITS].default_value = satchel_value_integer(0);
    fixture.rules = (struct satchel_table_rules){.columns = fixture.columns,
                                                 .column_count = COLUMNS,
                                                 .delete_policy = SATCHEL_DELETE_EDIT_WINS,
                                                 .has_keys = true};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    satchel_arena_deinit(&fixture.arena);
    return 0;
}

/* ---- writes ---- */

static struct satchel_id id_of(char kind, char letter, char digit)
{
    return (struct satchel_id){{(uint8_t)kind, (uint8_t)letter, (uint8_t)digit}};
}

/* Parts of one change set share its node. */
static struct satchel_position position_of(const char *name)
{
    return (struct satchel_position){id_of('n', name[0], name[1]), 1};
}

static bool is_named(const char *names, const char *name)
{
    for (const char *at = names; at && *at; at++)
        if (at[0] == name[0] && at[1] == name[1])
            return true;
    return false;
}

static void find_seen(unsigned index)
{
    for (unsigned i = 0; i < index; i++)
        if (is_named(fixture.told[index].seen, fixture.told[i].name))
            fixture.seen[index] |= 1u << i | fixture.seen[i];
}

static void add_text(struct satchel_write *write, unsigned index, uint32_t column, const char *text)
{
    if (!text)
        return;
    struct satchel_value value = satchel_value_text(satchel_span_text(text));
    if (strcmp(text, "-") == 0)
        value = satchel_value_null();
    else if (text[0] == '!')
        value = satchel_value_blob(satchel_span_text(text + 1));
    fixture.fields[index][write->field_count++] = (struct satchel_field){column, value};
}

static void make_write(unsigned index)
{
    const struct told *told = &fixture.told[index];
    struct satchel_write *write = &fixture.writes[index];
    size_t seen_count = 0;
    find_seen(index);
    for (unsigned i = 0; i < index; i++) {
        struct satchel_position position = position_of(fixture.told[i].name);
        struct satchel_position *last = &fixture.seen_positions[index][seen_count];
        bool is_known = seen_count > 0 && satchel_id_equal(&last[-1].node, &position.node);
        if ((fixture.seen[index] >> i & 1) && !is_known)
            fixture.seen_positions[index][seen_count++] = position;
    }
    /* ascending, as a vector is */
    for (size_t i = 1; i < seen_count; i++)
        for (size_t k = i; k > 0; k--) {
            struct satchel_position *at = &fixture.seen_positions[index][k];
            if (satchel_id_compare(&at[-1].node, &at[0].node) < 0)
                break;
            struct satchel_position swapped = at[0];
            at[0] = at[-1];
            at[-1] = swapped;
        }
    fixture.positions[index] = position_of(told->name);
    *write = (struct satchel_write){
        .order = {satchel_stamp_from_ms(told->ms), id_of('d', told->name[0], 0),
                  (uint64_t)(told->name[1] - '0'), told->name[2] ? (uint32_t)told->name[2] : 0},
        .positions = {&fixture.positions[index], 1},
        .seen = {fixture.seen_positions[index], seen_count},
        .kind = told->kind,
        .fields = fixture.fields[index]};
    add_text(write, index, TAX, told->tax);
    add_text(write, index, PHONE, told->phone);
    add_text(write, index, NAME, told->title);
    if (told->visits)
        fixture.fields[index][write->field_count++] =
            (struct satchel_field){VISITS, satchel_value_integer(told->visits)};
}

/* ---- what became of the rows ---- */

struct node {
    struct satchel_write arrived[ROWS][WRITES_MAX];
    size_t counts[ROWS];
    char text[2000];
};

static const char *name_of(const struct satchel_order *order)
{
    for (unsigned i = 0; i < fixture.count; i++)
        if (satchel_order_compare(&fixture.writes[i].order, order) == 0)
            return fixture.told[i].name;
    return "?";
}

static void say(struct node *node, const char *word, const struct satchel_value *value)
{
    size_t size = strlen(node->text);
    if (value->type == SATCHEL_TEXT)
        (void)snprintf(node->text + size, sizeof node->text - size, " %s=%.*s", word,
                       (int)value->bytes.size, (const char *)value->bytes.data);
    else if (value->type == SATCHEL_INTEGER && value->integer)
        (void)snprintf(node->text + size, sizeof node->text - size, " %s=%lld", word,
                       (long long)value->integer);
}

static void say_conflicts(struct node *node, const struct satchel_row *row,
                          const struct satchel_member *members)
{
    static const char *const kinds[] = {"", "delete ", "frozen ", "duplicate "};
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&fixture.rules, row, &fixture.arena, &list), SATCHEL_OK);
    for (size_t i = 0; i < list.count; i++) {
        const struct satchel_conflict *conflict = &list.items[i];
        size_t size = strlen(node->text);
        (void)snprintf(node->text + size, sizeof node->text - size, " | %s%s of %.*s to %s",
                       kinds[conflict->kind], name_of(&conflict->loser),
                       (int)members[conflict->member].name.size,
                       (const char *)members[conflict->member].name.data,
                       name_of(&conflict->winner));
        if (conflict->kind == SATCHEL_CONFLICT_DUPLICATE) {
            assert_int_equal(conflict->severity, SATCHEL_SEVERITY_REVIEW);
            assert_int_equal(conflict->column_count, 1);
            say(node, "lost", &conflict->lost[0]);
            assert_true(satchel_value_equal(&conflict->kept[0], &row->values[conflict->unit]));
        }
    }
}

static void say_survivor(struct node *node, const struct satchel_clusters *clusters,
                         const struct satchel_member *members, uint32_t member)
{
    struct satchel_value values[COLUMNS] = {{SATCHEL_NULL, {0}}};
    struct satchel_row row = {.values = values, .version = satchel_version_new(&fixture.arena)};
    struct satchel_merge_result result;
    assert_int_equal(
        satchel_clusters_rebuild(clusters, member, &row, NULL, &fixture.arena, &result, NULL),
        SATCHEL_OK);
    assert_null(result.outcomes);
    if (!row.exists) {
        size_t size = strlen(node->text);
        (void)snprintf(node->text + size, sizeof node->text - size, " gone");
        return;
    }
    say(node, "tax", &values[TAX]);
    say(node, "phone", &values[PHONE]);
    say(node, "name", &values[NAME]);
    say(node, "visits", &values[VISITS]);
    say_conflicts(node, &row, members);
}

static void check(struct node *node)
{
    struct satchel_member members[ROWS];
    struct satchel_clusters *clusters;
    uint32_t count = 0;
    for (unsigned r = 0; r < ROWS; r++)
        if (node->counts[r] > 0) {
            static const char *const names[ROWS] = {"x", "y", "z"};
            members[count++] = (struct satchel_member){satchel_span_text(names[r]),
                                                       node->arrived[r], node->counts[r]};
        }
    assert_int_equal(
        satchel_clusters_new(&clusters, &fixture.rules, members, count, &fixture.arena),
        SATCHEL_OK);
    node->text[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t survivor = satchel_clusters_survivor(clusters, i);
        size_t size = strlen(node->text);
        (void)snprintf(node->text + size, sizeof node->text - size, "%s%.*s", size ? "; " : "", 1,
                       (const char *)members[i].name.data);
        if (survivor == i)
            say_survivor(node, clusters, members, i);
        else
            (void)snprintf(node->text + size + (size ? 3 : 1), sizeof node->text - size - 3,
                           " is %.*s", 1, (const char *)members[survivor].name.data);
    }
    assert_string_equal(node->text, fixture.expected);
}

/* Whether the write may come next: after its device's earlier ones and all that it had seen. */
static bool may_arrive(unsigned index, unsigned arrived)
{
    const struct told *told = &fixture.told[index];
    if ((arrived >> index & 1) || (fixture.seen[index] & ~arrived))
        return false;
    for (unsigned i = 0; i < index; i++)
        if (fixture.told[i].name[0] == told->name[0] && !(arrived >> i & 1))
            return false;
    return true;
}

static void arrive(struct node *node, unsigned arrived, unsigned count)
{
    if (count == fixture.count) {
        check(node);
        satchel_arena_reset(&fixture.arena);
        return;
    }
    for (unsigned i = 0; i < fixture.count; i++) {
        unsigned row = (unsigned)(fixture.told[i].row - 'x');
        if (!may_arrive(i, arrived))
            continue;
        struct satchel_write *write = &node->arrived[row][node->counts[row]++];
        *write = fixture.writes[i];
        write->arrival = count + 1;
        arrive(node, arrived | 1u << i, count + 1);
        node->counts[row]--;
    }
}

static void tell(const struct told *told, unsigned count, const char *expected)
{
    static struct node node;
    fixture.told = told;
    fixture.count = count;
    fixture.expected = expected;
    memset(fixture.seen, 0, sizeof fixture.seen);
    for (unsigned i = 0; i < count; i++)
        make_write(i);
    memset(&node, 0, sizeof node);
    arrive(&node, 0, 0);
}

#define TELL(expected, ...)                                    \
    do {                                                       \
        static const struct told story[] = {__VA_ARGS__};      \
        tell(story, sizeof story / sizeof story[0], expected); \
    } while (0)

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

/* ---- merging ---- */

static void test_cluster__rows_with_one_key_are_one_row_named_by_the_earlier(void **state)
{
    (void)state;
    TELL("x tax=T name=B visits=5 | duplicate B1 of y to A1 lost=T | A1 of x to B1; y is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", NULL, "A", 2},
         {"B1", 'y', INSERT, 1120, NULL, "T", NULL, "B", 3});
    TELL("x is y; y tax=T | duplicate A1 of x to B1 lost=T",
         {"A1", 'x', INSERT, 2000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1000, NULL, "T", NULL, NULL, 0});
}

static void test_cluster__keys_match_whatever_the_case_and_punctuation(void **state)
{
    (void)state;
    TELL("x phone=(028) 99991 | duplicate B1 of y to A1 lost=(028) 99991; y is x",
         {"A1", 'x', INSERT, 1000, NULL, NULL, "028-9999 1", NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, NULL, "(028) 99991", NULL, 0});
    TELL("x tax=tax-x | duplicate B1 of y to A1 lost=tax-x; y is x",
         {"A1", 'x', INSERT, 1000, NULL, "TAX-X", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "tax-x", NULL, NULL, 0});
}

static void test_cluster__empty_keys_and_keys_of_other_columns_link_nothing(void **state)
{
    (void)state;
    TELL("x tax=T; y phone=T; z tax=", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, NULL, "T", NULL, 0},
         {"C1", 'z', INSERT, 1002, NULL, "", NULL, NULL, 0});
}

static void test_cluster__links_by_two_keys_make_one_row_of_three(void **state)
{
    (void)state;
    TELL("x tax=T phone=P | duplicate B1 of y to A1 lost=T | duplicate B1 of y to C1 lost=P"
         " | duplicate C1 of z to B1 lost=P; y is x; z is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", "P", NULL, 0},
         {"C1", 'z', INSERT, 1002, NULL, NULL, "P", NULL, 0});
}

/* ---- who had been shown what ---- */

static void test_cluster__who_had_not_been_shown_the_merge_saw_nothing_of_the_other_row(
    void **state)
{
    (void)state;
    /* C had both rows, but nobody had told it that they are one. */
    TELL("x tax=T phone=3 | duplicate B1 of y to A1 lost=T | A1 of x to C1; y is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", "1", NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'y', UPDATE, 1002, "B1", NULL, "3", NULL, 0});
    TELL("x tax=T phone=3 | duplicate B1 of y to A1 lost=T; y is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", "1", NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'y', UPDATE, 1002, "A1 B1", NULL, "3", NULL, 0});
}

static void test_cluster__the_key_written_with_knowledge_closes_the_duplicate(void **state)
{
    (void)state;
    TELL("x tax=T; y is x", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'x', UPDATE, 1002, "A1 B1", "T", NULL, NULL, 0});
}

/* ---- splitting ---- */

static void test_cluster__a_key_corrected_without_knowledge_parts_the_rows(void **state)
{
    (void)state;
    TELL("x tax=U; y tax=T", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"A2", 'x', UPDATE, 1002, "A1", "U", NULL, NULL, 0});
    /* One row in the middle gone, the other two are each their own. */
    TELL("x tax=T; y tax=U phone=R; z phone=P", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", "P", NULL, 0},
         {"C1", 'z', INSERT, 1002, NULL, NULL, "P", NULL, 0},
         {"B2", 'y', UPDATE, 1003, "B1", "U", "R", NULL, 0});
}

static void test_cluster__a_key_corrected_with_knowledge_is_the_merged_rows(void **state)
{
    (void)state;
    TELL("x tax=U; y is x", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'x', UPDATE, 1002, "A1 B1", "U", NULL, NULL, 0});
}

static void test_cluster__a_corrected_key_of_all_members_is_free_for_others(void **state)
{
    (void)state;
    TELL("x tax=U; y is x; z tax=T", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'x', UPDATE, 1002, "A1 B1", "U", NULL, NULL, 0},
         {"C1b", 'y', UPDATE, 1002, "A1 B1", "U", NULL, NULL, 0},
         {"D1", 'z', INSERT, 1003, NULL, "T", NULL, NULL, 0});
}

static void test_cluster__rows_set_apart_stay_apart_until_the_key_is_written_again(void **state)
{
    (void)state;
    TELL("x tax=T; y tax=T", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'y', UPDATE, 1002, "A1 B1", "!T", NULL, NULL, 0});
    /* A newcomer with the key is one with the row that was not set apart. */
    TELL("x tax=T | duplicate D1 of z to A1 lost=T; y tax=T; z is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'y', UPDATE, 1002, "A1 B1", "!T", NULL, NULL, 0},
         {"D1", 'z', INSERT, 1003, NULL, "T", NULL, NULL, 0});
    TELL("x tax=T | duplicate D2 of y to A1 lost=T; y is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 0},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 0},
         {"C1", 'y', UPDATE, 1002, "A1 B1", "!T", NULL, NULL, 0},
         {"D1", 'y', UPDATE, 1003, "C1", "U", NULL, NULL, 0},
         {"D2", 'y', UPDATE, 1004, "C1", "T", NULL, NULL, 0});
}

static void test_cluster__each_row_of_a_split_has_what_was_written_to_it(void **state)
{
    (void)state;
    TELL("x tax=T name=A visits=2; y tax=T name=C visits=12",
         {"A1", 'x', INSERT, 1000, NULL, "T", NULL, "A", 2},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, "B", 3},
         {"C1", 'y', UPDATE, 1002, "A1 B1", NULL, NULL, "C", 9},
         {"D1", 'y', UPDATE, 1003, "A1 B1", "!T", NULL, NULL, 0});
}

/* ---- deletes ---- */

static void test_cluster__a_delete_without_knowledge_takes_its_own_row_only(void **state)
{
    (void)state;
    TELL("x gone; y tax=T visits=3", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 2},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 3},
         {"A2", 'x', DELETE, 1002, "A1", NULL, NULL, NULL, 0});
}

static void test_cluster__a_delete_with_knowledge_takes_all_of_it(void **state)
{
    (void)state;
    TELL("x gone; y is x", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 2},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 3},
         {"C1", 'x', DELETE, 1002, "A1 B1", NULL, NULL, NULL, 0});
    /* but not what somebody wrote to the alias meanwhile */
    TELL("x tax=T visits=9 | duplicate B1 of y to A1 lost=T | delete C1 of x to B2; y is x",
         {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 2},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 3},
         {"C1", 'x', DELETE, 1002, "A1 B1", NULL, NULL, NULL, 0},
         {"B2", 'y', UPDATE, 1003, "B1", NULL, NULL, NULL, 4});
}

static void test_cluster__a_new_life_has_the_name_it_was_inserted_with(void **state)
{
    (void)state;
    TELL("x is y; y name=new visits=1", {"A1", 'x', INSERT, 1000, NULL, "T", NULL, NULL, 2},
         {"B1", 'y', INSERT, 1001, NULL, "T", NULL, NULL, 3},
         {"C1", 'x', DELETE, 1002, "A1 B1", NULL, NULL, NULL, 0},
         {"D1", 'y', INSERT, 1003, "C1", NULL, NULL, "new", 1});
}

/* ---- keys for the index ---- */

static void test_cluster__the_keys_that_stand_are_told_of_aliases_too(void **state)
{
    (void)state;
    static const struct told story[] = {
        {"A1", 'x', INSERT, 1000, NULL, "old", "P", NULL, 0},
        {"A2", 'x', UPDATE, 1001, "A1", "T", NULL, NULL, 0},
        {"B1", 'y', INSERT, 1002, NULL, "t", NULL, NULL, 0},
        {"C1", 'z', INSERT, 1003, NULL, "T", NULL, NULL, 0},
        {"D1", 'z', UPDATE, 1004, "C1", "!T", NULL, NULL, 0},
    };
    struct satchel_write writes[5];
    struct satchel_clusters *clusters;
    struct satchel_row_key *keys;
    uint32_t count;
    fixture.told = story;
    fixture.count = 5;
    for (unsigned i = 0; i < 5; i++) {
        make_write(i);
        writes[i] = fixture.writes[i];
        writes[i].arrival = i + 1;
    }
    struct satchel_member members[ROWS] = {{satchel_span_text("x"), &writes[0], 2},
                                           {satchel_span_text("y"), &writes[2], 1},
                                           {satchel_span_text("z"), &writes[3], 2}};
    assert_int_equal(satchel_clusters_new(&clusters, &fixture.rules, members, ROWS, &fixture.arena),
                     SATCHEL_OK);
    assert_int_equal(satchel_clusters_survivor(clusters, 1), 0);
    assert_int_equal(satchel_clusters_keys(clusters, 0, &fixture.arena, &keys, &count), SATCHEL_OK);
    assert_int_equal(count, 2); /* "old" is overwritten */
    assert_int_equal(keys[0].column, PHONE);
    assert_true(satchel_span_equal(keys[0].match, satchel_span_text("P")));
    assert_int_equal(keys[1].column, TAX);
    assert_true(satchel_span_equal(keys[1].match, satchel_span_text("T")));
    assert_int_equal(satchel_clusters_keys(clusters, 1, &fixture.arena, &keys, &count), SATCHEL_OK);
    assert_int_equal(count, 1);
    assert_true(satchel_span_equal(keys[0].match, satchel_span_text("T")));
    assert_int_equal(satchel_clusters_keys(clusters, 2, &fixture.arena, &keys, &count), SATCHEL_OK);
    assert_int_equal(count, 0); /* set apart */
}

/* ---- cost ---- */

enum { MANY = 60 }; /* rows, each inserted, deleted and inserted again */

struct asked {
    const struct satchel_write *last;
    unsigned changes;
};

static bool count_changes(void *context, const struct satchel_write *write, uint32_t member)
{
    struct asked *asked = context;
    (void)member;
    asked->changes += write != asked->last;
    asked->last = write;
    return true;
}

/* The first ones saw nothing, the deletes all of these, every other one of the last the deletes. */
static struct satchel_write one_of_many(unsigned round, unsigned row,
                                        const struct satchel_position *positions)
{
    static const enum satchel_op_kind kinds[] = {INSERT, DELETE, INSERT};
    unsigned index = round * MANY + row, seen = round == 2 && row % 2 ? 0 : round * MANY;
    return (struct satchel_write){
        .order = {1000 + index, id_of('d', (char)(round == 1 ? 0 : 1 + index), 0), 1, row},
        .positions = {&positions[index], 1},
        .seen = {positions, seen},
        .kind = kinds[round],
        .fields = fixture.fields[0],
        .field_count = round == 1 ? 0 : 1,
        .member = row,
        .arrival = 1 + index};
}

static void test_cluster__asks_once_each_time_what_a_write_was_shown(void **state)
{
    (void)state;
    struct satchel_write writes[3 * MANY];
    struct satchel_position positions[3 * MANY];
    struct asked asked = {0};
    const struct merge_links links = {count_changes, &asked};
    const struct merge_sight sight = {&fixture.rules, &links};
    struct satchel_value values[COLUMNS] = {{SATCHEL_NULL, {0}}};
    struct satchel_row row = {.values = values, .version = satchel_version_new(&fixture.arena)};
    struct satchel_merge_result result;
    fixture.fields[0][0] = (struct satchel_field){NAME, satchel_value_text(satchel_span_text("A"))};
    for (unsigned i = 0; i < 3 * MANY; i++)
        positions[i] = (struct satchel_position){id_of('n', (char)(1 + i), 0), 1};
    for (unsigned i = 0; i < 3 * MANY; i++)
        writes[i] = one_of_many(i / MANY, i % MANY, positions);
    assert_int_equal(
        merge_rebuild(&sight, &row, writes, 3 * MANY, NULL, &fixture.arena, &result, NULL),
        SATCHEL_OK);
    assert_true(row.exists);
    /* A few times for each write; not once for every write and delete. */
    assert_in_range(asked.changes, 1, 4 * 3 * MANY);
}

/* ---- no memory ---- */

static void test_cluster__says_when_memory_runs_out(void **state)
{
    (void)state;
    static const struct told story[] = {{"A1", 'x', INSERT, 1000, NULL, "T", "P", "A", 2},
                                        {"B1", 'y', INSERT, 1001, NULL, "T", NULL, "B", 3},
                                        {"C1", 'y', UPDATE, 1002, "A1 B1", NULL, "P", "C", 1}};
    struct satchel_write writes[3];
    fixture.told = story;
    fixture.count = 3;
    for (unsigned i = 0; i < 3; i++) {
        make_write(i);
        writes[i] = fixture.writes[i];
        writes[i].arrival = i + 1;
    }
    bool has_failed = false, has_succeeded = false;
    for (size_t bytes = 64; !has_succeeded; bytes += 64) {
        struct satchel_arena arena;
        struct satchel_member members[2] = {{satchel_span_text("x"), &writes[0], 1},
                                            {satchel_span_text("y"), &writes[1], 2}};
        struct satchel_value values[COLUMNS] = {{SATCHEL_NULL, {0}}};
        struct satchel_row row = {.values = values, .version = satchel_version_new(&fixture.arena)};
        struct satchel_clusters *clusters;
        struct satchel_merge_result result;
        satchel_arena_init(&arena, bytes, NULL);
        enum satchel_status status =
            satchel_clusters_new(&clusters, &fixture.rules, members, 2, &arena);
        if (status == SATCHEL_OK)
            status = satchel_clusters_rebuild(clusters, 0, &row, &writes[2], &arena, &result, NULL);
        if (status == SATCHEL_OK)
            has_succeeded = true;
        else
            assert_int_equal(status, SATCHEL_NOMEM);
        has_failed = has_failed || !has_succeeded;
        satchel_arena_deinit(&arena);
        assert_true(bytes < 1 << 20);
    }
    assert_true(has_failed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_cluster__rows_with_one_key_are_one_row_named_by_the_earlier),
        TEST(test_cluster__keys_match_whatever_the_case_and_punctuation),
        TEST(test_cluster__empty_keys_and_keys_of_other_columns_link_nothing),
        TEST(test_cluster__links_by_two_keys_make_one_row_of_three),
        TEST(test_cluster__who_had_not_been_shown_the_merge_saw_nothing_of_the_other_row),
        TEST(test_cluster__the_key_written_with_knowledge_closes_the_duplicate),
        TEST(test_cluster__a_key_corrected_without_knowledge_parts_the_rows),
        TEST(test_cluster__a_key_corrected_with_knowledge_is_the_merged_rows),
        TEST(test_cluster__a_corrected_key_of_all_members_is_free_for_others),
        TEST(test_cluster__rows_set_apart_stay_apart_until_the_key_is_written_again),
        TEST(test_cluster__each_row_of_a_split_has_what_was_written_to_it),
        TEST(test_cluster__a_delete_without_knowledge_takes_its_own_row_only),
        TEST(test_cluster__a_delete_with_knowledge_takes_all_of_it),
        TEST(test_cluster__a_new_life_has_the_name_it_was_inserted_with),
        TEST(test_cluster__the_keys_that_stand_are_told_of_aliases_too),
        TEST(test_cluster__asks_once_each_time_what_a_write_was_shown),
        TEST(test_cluster__says_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
