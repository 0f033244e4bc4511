/* From values to operations and back, for every rule; and what a @key matches. */
#include <satchel/json_reader.h>
#include <satchel/operation.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

static struct satchel_arena arena;
static uint64_t seed = 20240229;

static int setup(void **state)
{
    (void)state;
    satchel_arena_init(&arena, 1 << 22, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    satchel_arena_deinit(&arena);
    return 0;
}

static uint32_t below(uint32_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((seed >> 33) % limit);
}

static struct satchel_value text(const char *text)
{
    return text ? satchel_value_text(satchel_span_text(text)) : satchel_value_null();
}

static struct satchel_value blob(const char *text)
{
    return satchel_value_blob(satchel_span_text(text));
}

static struct satchel_column_rules column(enum satchel_rule rule)
{
    return (struct satchel_column_rules){.rule = rule, .default_value = satchel_value_null()};
}

static void assert_value(struct satchel_value value, struct satchel_value expected)
{
    if (satchel_value_equal(&value, &expected))
        return;
    bool is_text = value.type == SATCHEL_TEXT;
    bool was_text = expected.type == SATCHEL_TEXT;
    fail_msg("type %d %.*s, not type %d %.*s", (int)value.type, is_text ? (int)value.bytes.size : 0,
             is_text ? (const char *)value.bytes.data : "", (int)expected.type,
             was_text ? (int)expected.bytes.size : 0,
             was_text ? (const char *)expected.bytes.data : "");
}

static struct satchel_value made(enum satchel_rule rule, struct satchel_value old_value,
                                 struct satchel_value new_value, bool *is_write)
{
    const struct satchel_column_rules rules = column(rule);
    struct satchel_value operation;
    assert_ok(satchel_operation_make(&rules, SATCHEL_OP_UPDATE, &old_value, &new_value, &arena,
                                     &operation, is_write));
    assert_null(satchel_operation_refusal(&rules, SATCHEL_OP_UPDATE, &operation, &arena));
    return operation;
}

static struct satchel_value applied(enum satchel_rule rule, struct satchel_value present,
                                    struct satchel_value operation)
{
    const struct satchel_column_rules rules = column(rule);
    struct satchel_value out;
    assert_ok(
        satchel_operation_apply(&rules, SATCHEL_OP_UPDATE, &present, &operation, &arena, &out));
    return out;
}

static struct satchel_value canonical(enum satchel_rule rule, struct satchel_value value)
{
    const struct satchel_column_rules rules = column(rule);
    struct satchel_value out;
    assert_ok(satchel_value_canonical(&rules, &value, &arena, &out));
    return out;
}

static void assert_made(enum satchel_rule rule, const char *old_value, const char *new_value,
                        const char *operation)
{
    bool is_write;
    assert_value(made(rule, text(old_value), text(new_value), &is_write), text(operation));
    assert_true(is_write);
}

static void assert_applied(enum satchel_rule rule, const char *present, const char *operation,
                           const char *expected)
{
    assert_value(applied(rule, text(present), text(operation)), text(expected));
}

static void assert_inverted(enum satchel_rule rule, struct satchel_value old_value,
                            struct satchel_value operation, struct satchel_value expected)
{
    const struct satchel_column_rules rules = column(rule);
    struct satchel_value out;
    assert_ok(satchel_operation_invert(&rules, &old_value, &operation, &arena, &out));
    assert_value(out, expected);
    assert_null(satchel_operation_refusal(&rules, SATCHEL_OP_UPDATE, &out, &arena));
}

static const char *refusal(enum satchel_rule rule, enum satchel_op_kind kind,
                           struct satchel_value operation)
{
    const struct satchel_column_rules rules = column(rule);
    struct satchel_value out, present = satchel_value_null();
    const char *refused = satchel_operation_refusal(&rules, kind, &operation, &arena);
    enum satchel_status status =
        satchel_operation_apply(&rules, kind, &present, &operation, &arena, &out);
    if (!refused)
        assert_ok(status);
    return refused;
}

static void assert_refused(enum satchel_rule rule, struct satchel_value operation)
{
    if (!refusal(rule, SATCHEL_OP_UPDATE, operation))
        fail_msg("%.*s is taken for an operation on a @%s",
                 operation.type >= SATCHEL_TEXT ? (int)operation.bytes.size : 0,
                 operation.type >= SATCHEL_TEXT ? (const char *)operation.bytes.data : "",
                 satchel_rule_name(rule));
}

/* ---- rules that carry the value ---- */

static void test_plain__carries_the_value_and_takes_back_the_old_one(void **state)
{
    (void)state;
    static const enum satchel_rule rules[] = {SATCHEL_RULE_LWW, SATCHEL_RULE_TEXT3,
                                              SATCHEL_RULE_MAX, SATCHEL_RULE_AUTHORITY};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        bool is_write;
        assert_made(rules[i], "a", " [b ", " [b ");
        assert_made(rules[i], "a", NULL, NULL);
        assert_applied(rules[i], "a", "b", "b");
        made(rules[i], text("a"), text("a"), &is_write);
        assert_false(is_write);
        assert_inverted(rules[i], text("a"), text("b"), text("a"));
    }
}

/* ---- counter ---- */

static void test_counter__carries_the_difference(void **state)
{
    (void)state;
    const struct satchel_value two = satchel_value_integer(2), five = satchel_value_integer(5);
    bool is_write;
    assert_value(made(SATCHEL_RULE_COUNTER, two, five, &is_write), satchel_value_integer(3));
    assert_true(is_write);
    assert_value(made(SATCHEL_RULE_COUNTER, text(NULL), five, &is_write), five);
    made(SATCHEL_RULE_COUNTER, five, five, &is_write);
    assert_false(is_write);
    assert_value(applied(SATCHEL_RULE_COUNTER, two, five), satchel_value_integer(7));
    assert_value(applied(SATCHEL_RULE_COUNTER, text("x"), five), five);
    assert_inverted(SATCHEL_RULE_COUNTER, two, five, satchel_value_integer(-5));
    assert_refused(SATCHEL_RULE_COUNTER, text("5"));
    assert_refused(SATCHEL_RULE_COUNTER, satchel_value_real(5));
    assert_refused(SATCHEL_RULE_COUNTER, text(NULL));
}

static void test_counter__wraps_around_and_loses_nothing(void **state)
{
    (void)state;
    const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < 7; i++) {
        for (size_t k = 0; k < 7; k++) {
            const struct satchel_value from = satchel_value_integer(ends[i]);
            const struct satchel_value to = satchel_value_integer(ends[k]);
            bool is_write;
            struct satchel_value step = made(SATCHEL_RULE_COUNTER, from, to, &is_write);
            assert_value(applied(SATCHEL_RULE_COUNTER, from, step), to);
        }
    }
}

/* ---- set ---- */

static void test_set__carries_what_was_added_and_removed(void **state)
{
    (void)state;
    assert_made(SATCHEL_RULE_SET, "[\"vip\",\"old\"]", "[ \"vip\", \"new\", \"new\" ]",
                "[[\"new\"],[\"old\"]]");
    assert_made(SATCHEL_RULE_SET, NULL, "[2,1]", "[[1,2],[]]");
    assert_made(SATCHEL_RULE_SET, "[1]", NULL, "[[],[1]]");
    assert_made(SATCHEL_RULE_SET, "no set", "[1]", "[[1],[]]");
    assert_made(SATCHEL_RULE_SET, "[]", "[{\"b\":1,\"a\":2}, [ ]]", "[[[],{\"a\":2,\"b\":1}],[]]");
    bool is_write;
    assert_value(made(SATCHEL_RULE_SET, text("[1,2]"), text("[2, 1, 2]"), &is_write),
                 text("[[],[]]"));
    assert_false(is_write);
    made(SATCHEL_RULE_SET, text(NULL), text("[]"), &is_write);
    assert_false(is_write);
}

static void test_set__applies_to_any_present_value(void **state)
{
    (void)state;
    assert_applied(SATCHEL_RULE_SET, "[1,2]", "[[3],[1]]", "[2,3]");
    assert_applied(SATCHEL_RULE_SET, "[2, 1]", "[[1],[7]]", "[1,2]");
    assert_applied(SATCHEL_RULE_SET, NULL, "[[3],[1]]", "[3]");
    assert_applied(SATCHEL_RULE_SET, "{broken", "[[3],[1]]", "[3]");
    assert_applied(SATCHEL_RULE_SET, "[1]", "[[],[1]]", "[]");
}

static void test_set__takes_back_only_what_it_did(void **state)
{
    (void)state;
    assert_inverted(SATCHEL_RULE_SET, text("[1,2]"), text("[[3],[1]]"), text("[[1],[3]]"));
    /* Added what was there, removed what was not. */
    assert_inverted(SATCHEL_RULE_SET, text("[1,2]"), text("[[2],[9]]"), text("[[],[]]"));
    assert_inverted(SATCHEL_RULE_SET, text(NULL), text("[[3],[]]"), text("[[],[3]]"));
}

static void test_set__refuses_what_is_no_operation(void **state)
{
    (void)state;
    static const char *const texts[] = {"[]",
                                        "[[1]]",
                                        "[[1],[2],[3]]",
                                        "[[1],[1]]",
                                        "[[2,1],[]]",
                                        "[[1,1],[]]",
                                        "[[1], []]",
                                        "[{},[]]",
                                        "[[1],{}]",
                                        "{}",
                                        "1",
                                        "",
                                        "[[\"\\u0041\"],[]]",
                                        "[[1],[]",
                                        " [[1],[]]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_refused(SATCHEL_RULE_SET, text(texts[i]));
    assert_refused(SATCHEL_RULE_SET, text(NULL));
    assert_refused(SATCHEL_RULE_SET, satchel_value_integer(1));
    assert_refused(SATCHEL_RULE_SET, blob("[[1],[]]"));
    assert_null(refusal(SATCHEL_RULE_SET, SATCHEL_OP_UPDATE, text("[[],[]]")));
    assert_null(refusal(SATCHEL_RULE_SET, SATCHEL_OP_INSERT, text("[1,2]")));
    assert_non_null(refusal(SATCHEL_RULE_SET, SATCHEL_OP_INSERT, text("[2,1]")));
    assert_non_null(refusal(SATCHEL_RULE_SET, SATCHEL_OP_INSERT, text("[[1],[]] ")));
    assert_non_null(refusal(SATCHEL_RULE_SET, SATCHEL_OP_INSERT, text(NULL)));
}

static void test_set__of_an_insert_is_the_set(void **state)
{
    (void)state;
    struct satchel_column_rules rules = column(SATCHEL_RULE_SET);
    struct satchel_value value = text("[2,1]"), operation, out;
    const struct satchel_value null = satchel_value_null();
    bool is_write;
    rules.default_value = text("[ 1, 2 ]");
    assert_ok(satchel_operation_make(&rules, SATCHEL_OP_INSERT, &null, &value, &arena, &operation,
                                     &is_write));
    assert_false(is_write);
    value = text("[3,1]");
    assert_ok(satchel_operation_make(&rules, SATCHEL_OP_INSERT, &null, &value, &arena, &operation,
                                     &is_write));
    assert_true(is_write);
    assert_value(operation, text("[1,3]"));
    assert_ok(satchel_operation_apply(&rules, SATCHEL_OP_INSERT, &rules.default_value, &operation,
                                      &arena, &out));
    assert_value(out, text("[1,3]"));
    rules.default_varies = true;
    rules.default_value = null;
    value = null;
    assert_ok(satchel_operation_make(&rules, SATCHEL_OP_INSERT, &null, &value, &arena, &operation,
                                     &is_write));
    assert_true(is_write);
    assert_value(operation, text("[]"));
}

/* ---- map ---- */

static void test_map__carries_the_keys_that_changed(void **state)
{
    (void)state;
    assert_made(SATCHEL_RULE_MAP, "{\"a\":1,\"b\":2}", "{\"c\" : 3, \"a\" : 9}",
                "[{\"a\":9,\"c\":3},[\"b\"]]");
    assert_made(SATCHEL_RULE_MAP, NULL, "{\"a\":null}", "[{\"a\":null},[]]");
    assert_made(SATCHEL_RULE_MAP, "{\"a\":{\"x\":1}}", "{\"a\":{\"x\":2}}",
                "[{\"a\":{\"x\":2}},[]]");
    bool is_write;
    made(SATCHEL_RULE_MAP, text("{\"a\":1,\"b\":2}"), text("{\"b\":2, \"a\":1}"), &is_write);
    assert_false(is_write);
    assert_applied(SATCHEL_RULE_MAP, "{\"a\":1,\"b\":2,\"z\":0}", "[{\"a\":9,\"c\":3},[\"b\"]]",
                   "{\"a\":9,\"c\":3,\"z\":0}");
    assert_applied(SATCHEL_RULE_MAP, "[1]", "[{\"a\":9},[\"b\"]]", "{\"a\":9}");
    assert_applied(SATCHEL_RULE_MAP, "{\"a\":1}", "[{},[\"a\"]]", "{}");
}

static void test_map__takes_back_keys_to_what_they_were(void **state)
{
    (void)state;
    assert_inverted(SATCHEL_RULE_MAP, text("{\"a\":1,\"b\":2}"),
                    text("[{\"a\":9,\"c\":3},[\"b\"]]"), text("[{\"a\":1,\"b\":2},[\"c\"]]"));
    assert_inverted(SATCHEL_RULE_MAP, text("{\"a\":1}"), text("[{\"a\":1},[\"x\"]]"),
                    text("[{},[]]"));
}

static void test_map__refuses_what_is_no_operation(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "[{}]",
                                        "[{\"a\":1},[\"a\"]]",
                                        "[{},[1]]",
                                        "[{\"b\":1,\"a\":2},[]]",
                                        "[{\"a\":1,\"a\":2},[]]",
                                        "[[],[]]",
                                        "[{},{}]",
                                        "[{\"a\": 1},[]]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_refused(SATCHEL_RULE_MAP, text(texts[i]));
    assert_null(refusal(SATCHEL_RULE_MAP, SATCHEL_OP_INSERT, text("{\"a\":1}")));
    assert_non_null(refusal(SATCHEL_RULE_MAP, SATCHEL_OP_INSERT, text("[]")));
}

/* ---- what a rule cannot take ---- */

static void test_value__is_refused_where_the_rule_cannot_take_it(void **state)
{
    (void)state;
    char deep[2 * SATCHEL_JSON_DEPTH_MAX + 1] = "";
    memset(deep, '[', SATCHEL_JSON_DEPTH_MAX);
    memset(deep + SATCHEL_JSON_DEPTH_MAX, ']', SATCHEL_JSON_DEPTH_MAX);
    const struct {
        enum satchel_rule rule;
        struct satchel_value value;
    } cases[] = {{SATCHEL_RULE_SET, text("{}")},
                 {SATCHEL_RULE_SET, text("a,b")},
                 {SATCHEL_RULE_SET, text("[1] x")},
                 {SATCHEL_RULE_SET, text(deep)},
                 {SATCHEL_RULE_SET, satchel_value_integer(1)},
                 {SATCHEL_RULE_SET, blob("[]")},
                 {SATCHEL_RULE_MAP, text("[]")},
                 {SATCHEL_RULE_MAP, satchel_value_real(1)},
                 {SATCHEL_RULE_COUNTER, text("1")},
                 {SATCHEL_RULE_COUNTER, text(NULL)},
                 {SATCHEL_RULE_STATE, satchel_value_integer(1)},
                 {SATCHEL_RULE_STATE, text("\xff")},
                 {SATCHEL_RULE_KEY, satchel_value_real(1)},
                 {SATCHEL_RULE_KEY, blob("x")},
                 {SATCHEL_RULE_KEY_WEAK, blob("x")}};
    const struct satchel_value old_value = satchel_value_null();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct satchel_column_rules rules = column(cases[i].rule);
        struct satchel_value out;
        bool is_write;
        assert_non_null(satchel_value_refusal(&rules, &cases[i].value));
        assert_int_equal(satchel_operation_make(&rules, SATCHEL_OP_UPDATE, &old_value,
                                                &cases[i].value, &arena, &out, &is_write),
                         SATCHEL_REFUSED);
        assert_int_equal(satchel_value_canonical(&rules, &cases[i].value, &arena, &out),
                         SATCHEL_CORRUPT);
    }
    /* One bracket less: its operation can be read. */
    deep[0] = ' ';
    deep[2 * SATCHEL_JSON_DEPTH_MAX - 1] = ' ';
    bool is_write;
    made(SATCHEL_RULE_SET, text("[]"), text(deep), &is_write);
}

/* ---- state ---- */

static const struct satchel_span back_to_draft[] = {{(const uint8_t *)"draft", 5}};
static const struct satchel_span back_to_two[] = {{(const uint8_t *)"draft", 5},
                                                  {(const uint8_t *)"sent", 4}};
static const struct satchel_state states[] = {
    {.code = {(const uint8_t *)"draft", 5}, .rank = 10},
    {.code = {(const uint8_t *)"lost", 4}, .rank = 100, .is_closed = true},
    {.code = {(const uint8_t *)"open", 4}, .rank = 10},
    {.code = {(const uint8_t *)"sent", 4},
     .rank = 20,
     .back_to = back_to_draft,
     .back_to_count = 1},
    {.code = {(const uint8_t *)"won", 3},
     .rank = 100,
     .is_closed = true,
     .back_to = back_to_two,
     .back_to_count = 2}};
static const struct satchel_machine machine = {states, 5};

static const char *step(const char *from, const char *to)
{
    static char words[SATCHEL_REFUSAL_BYTES];
    const struct satchel_value old_value = text(from), new_value = text(to);
    return satchel_state_refusal(&machine, &old_value, &new_value, words);
}

static void test_state__carries_the_step(void **state)
{
    (void)state;
    assert_made(SATCHEL_RULE_STATE, "draft", "se\"nt", "[\"draft\",\"se\\\"nt\"]");
    assert_made(SATCHEL_RULE_STATE, NULL, "draft", "[null,\"draft\"]");
    assert_applied(SATCHEL_RULE_STATE, "anything", "[\"draft\",\"se\\\"nt\"]", "se\"nt");
    assert_applied(SATCHEL_RULE_STATE, "anything", "[\"draft\",null]", NULL);
    assert_inverted(SATCHEL_RULE_STATE, text("draft"), text("[\"draft\",\"sent\"]"),
                    text("[\"sent\",\"draft\"]"));
    static const char *const texts[] = {"sent",         "[\"a\"]",   "[\"a\",\"b\",\"c\"]",
                                        "[1,\"a\"]",    "[\"a\",2]", "[\"a\", \"b\"]",
                                        "{\"a\":\"b\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_refused(SATCHEL_RULE_STATE, text(texts[i]));
    assert_null(refusal(SATCHEL_RULE_STATE, SATCHEL_OP_INSERT, text("sent")));
    assert_non_null(refusal(SATCHEL_RULE_STATE, SATCHEL_OP_INSERT, satchel_value_integer(1)));
    struct satchel_value from, to, operation = text("[null,\"x\"]");
    assert_ok(satchel_state_step(&operation, &arena, &from, &to));
    assert_value(from, text(NULL));
    assert_value(to, text("x"));
}

static void test_machine__finds_its_states(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++)
        assert_ptr_equal(satchel_machine_find(&machine, states[i].code), &states[i]);
    assert_null(satchel_machine_find(&machine, satchel_span_text("sen")));
    assert_null(satchel_machine_find(&machine, satchel_span_text("")));
    const struct satchel_machine none = {NULL, 0};
    assert_null(satchel_machine_find(&none, satchel_span_text("won")));
}

static void test_machine__allows_forward_and_named_ways_back(void **state)
{
    (void)state;
    assert_null(step("draft", "sent"));
    assert_null(step("draft", "open"));
    assert_null(step("won", "lost"));
    assert_null(step("sent", "draft"));
    assert_null(step("won", "sent"));
    assert_null(step(NULL, "won"));
    assert_null(step("gone", "draft"));
    assert_null(step("gone", "gone"));
    assert_null(step(NULL, NULL));
    assert_string_equal(step("sent", "open"),
                        "may not go back from 'sent' to 'open', only to 'draft'");
    assert_string_equal(step("won", "open"),
                        "may not go back from 'won' to 'open', only to 'draft', 'sent'");
    assert_string_equal(step("lost", "draft"),
                        "may not go back from 'lost' to 'draft', nor to any other state");
    assert_string_equal(
        step("draft", "gone"),
        "'gone' is no state of the machine; it has 'draft', 'lost', 'open', 'sent', 'won'");
    assert_non_null(step("draft", NULL));
    char words[SATCHEL_REFUSAL_BYTES];
    const struct satchel_value one = satchel_value_integer(1), draft = text("draft");
    assert_non_null(satchel_state_refusal(&machine, &draft, &one, words));
    assert_null(satchel_state_refusal(&machine, NULL, &draft, words));
}

static void test_machine__refuses_in_few_words_whatever_it_holds(void **state)
{
    (void)state;
    struct satchel_state many[300];
    char codes[300][80];
    for (int i = 0; i < 300; i++) {
        memset(codes[i], 'a', sizeof codes[i]);
        snprintf(codes[i], sizeof codes[i], "%03d\xe5\xae\xa2%064d", i, i);
        many[i] = (struct satchel_state){.code = satchel_span_text(codes[i])};
    }
    const struct satchel_machine wide = {many, 300};
    char words[SATCHEL_REFUSAL_BYTES + 1];
    words[SATCHEL_REFUSAL_BYTES] = 'x';
    const struct satchel_value unknown = text("\xff\x01 nowhere");
    const char *said = satchel_state_refusal(&wide, NULL, &unknown, words);
    assert_non_null(said);
    assert_true(strlen(said) < SATCHEL_REFUSAL_BYTES);
    assert_int_equal(words[SATCHEL_REFUSAL_BYTES], 'x');
    assert_string_equal(said + strlen(said) - 5, ", ...");
    const struct satchel_machine none = {NULL, 0};
    assert_null(satchel_state_refusal(&none, NULL, &unknown, words));
}

/* ---- key ---- */

static void test_key__is_trimmed_and_narrow(void **state)
{
    (void)state;
    const struct {
        const char *value, *canonical;
    } cases[] = {
        {"  Acme Ltd \t\n", "Acme Ltd"},
        {"\xe3\x80\x80\xef\xbc\xa1\xef\xbd\x82\xef\xbc\x91\xe3\x80\x80", "Ab1"},
        {"\xe5\x8d\x8e\xef\xbc\x88\xe6\x88\x90\xef\xbc\x89",
         "\xe5\x8d\x8e\xef\xbc\x88\xe6\x88\x90\xef\xbc\x89"},
        {"   ", ""},
        {"", ""},
        {"\xff\xfe x", "\xff\xfe x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct satchel_value once = canonical(SATCHEL_RULE_KEY, text(cases[i].value));
        assert_value(once, text(cases[i].canonical));
        assert_value(canonical(SATCHEL_RULE_KEY_WEAK, once), once);
    }
    assert_value(canonical(SATCHEL_RULE_KEY, text(NULL)), text(NULL));
    assert_made(SATCHEL_RULE_KEY, "a", " b ", "b");
    bool is_write;
    made(SATCHEL_RULE_KEY, text("b"), text(" b "), &is_write);
    assert_false(is_write);
    assert_inverted(SATCHEL_RULE_KEY, text("a"), text("b"), text("a"));
    assert_inverted(SATCHEL_RULE_KEY, satchel_value_real(1), text("b"), text(NULL));
    assert_value(canonical(SATCHEL_RULE_KEY, satchel_value_integer(7)), satchel_value_integer(7));
}

static void test_key__as_a_blob_sets_apart(void **state)
{
    (void)state;
    assert_value(applied(SATCHEL_RULE_KEY, text("x"), blob("Acme")), text("Acme"));
    assert_null(refusal(SATCHEL_RULE_KEY, SATCHEL_OP_UPDATE, blob("Acme")));
    assert_non_null(refusal(SATCHEL_RULE_KEY, SATCHEL_OP_INSERT, blob("Acme")));
    assert_refused(SATCHEL_RULE_KEY, blob(" Acme"));
    assert_refused(SATCHEL_RULE_KEY, blob(""));
    assert_refused(SATCHEL_RULE_KEY, text(" Acme"));
    assert_refused(SATCHEL_RULE_KEY, satchel_value_real(3));
    assert_null(refusal(SATCHEL_RULE_KEY, SATCHEL_OP_UPDATE, satchel_value_integer(3)));
    assert_value(applied(SATCHEL_RULE_KEY, text(NULL), blob("3")), text("3"));
    assert_refused(SATCHEL_RULE_KEY_WEAK, blob("Acme"));
}

static void assert_match(struct satchel_value value, const char *expected)
{
    struct satchel_buffer buffer;
    satchel_buffer_init(&buffer, 1000, NULL);
    assert_ok(satchel_buffer_append(&buffer, "12/", 3));
    assert_ok(satchel_key_match(&value, &buffer));
    const char *found = satchel_buffer_text(&buffer);
    assert_non_null(found);
    assert_string_equal(found + 3, expected);
    satchel_buffer_deinit(&buffer);
}

static void test_key__matches_what_names_one_thing(void **state)
{
    (void)state;
    assert_match(text("  Acme  \t Ltd "), "ACME LTD");
    assert_match(text("ACME\xe3\x80\x80ltd"), "ACME LTD");
    assert_match(text("\xef\xbc\xa1\xef\xbd\x83me"), "ACME");
    assert_match(text("\xe5\x8d\x8e\xef\xbc\x88\xe6\x88\x90\xef\xbc\x89"),
                 "\xe5\x8d\x8e(\xe6\x88\x90)");
    assert_match(text("+86 (28) 1234-5678"), "862812345678");
    assert_match(text("\xef\xbc\x8b\xef\xbc\x98\xef\xbc\x96 138.0013/8000"), "8613800138000");
    assert_match(text("12-34"), "12-34");
    assert_match(text("12-345"), "12345");
    assert_match(text("A-12345"), "A-12345");
    assert_match(text(""), "");
    assert_match(text("  "), "");
    assert_match(text(NULL), "");
    assert_match(satchel_value_integer(0), "0");
    assert_match(satchel_value_integer(12345), "12345");
    assert_match(satchel_value_integer(-12), "-12");
    assert_match(satchel_value_integer(INT64_MIN), "9223372036854775808");
    assert_match(satchel_value_real(12345), "");
    assert_match(blob("x"), "");
    assert_match(text("\xff"), "\xff");
    assert_match(text("\xef\xbc"), "\xef\xbc");
}

static void test_key__match_that_does_not_fit_leaves_the_buffer_alone(void **state)
{
    (void)state;
    struct satchel_buffer buffer;
    const struct satchel_value value = text("0123456789");
    satchel_buffer_init(&buffer, 8, NULL);
    assert_ok(satchel_buffer_append(&buffer, "abc", 3));
    assert_int_equal(satchel_key_match(&value, &buffer), SATCHEL_LIMIT);
    assert_int_equal(buffer.size, 3);
    satchel_buffer_deinit(&buffer);
}

/* ---- any values ---- */

#define RANDOM_BYTES 400

struct random_text {
    char text[RANDOM_BYTES];
    size_t size;
};

static void put(struct random_text *out, const char *part)
{
    size_t size = strlen(part);
    assert_true(out->size + size < RANDOM_BYTES);
    memcpy(out->text + out->size, part, size + 1);
    out->size += size;
}

static void put_space(struct random_text *out)
{
    if (below(6) == 0)
        put(out, below(2) ? " " : "\n");
}

static void put_json(struct random_text *out, int depth)
{
    static const char *const scalars[] = {
        "1",           "1.0",  "\"a\"", "\"\\u0061\"",      "null", "\"a b\"",
        "\"\\u000a\"", "true", "\"\"",  "\"\xe5\xae\xa2\"", "-0",   "\"A\""};
    uint32_t choice = depth > 0 ? below(14) : below(12);
    put_space(out);
    if (choice < 12) {
        put(out, scalars[choice]);
    } else {
        put(out, choice == 12 ? "[" : "{");
        uint32_t count = below(3);
        for (uint32_t i = 0; i < count; i++) {
            put(out, i ? "," : "");
            if (choice == 13)
                put(out, below(2) ? "\"k\":" : "\"\\u006b\" :");
            put_json(out, depth - 1);
        }
        put(out, choice == 12 ? "]" : "}");
    }
    put_space(out);
}

/* A set or map of a few elements that often are the same; sometimes NULL. */
static struct satchel_value random_value(enum satchel_rule rule, struct random_text *out)
{
    static const char *const names[] = {"\"a\"", "\"\\u0061\"", "\"b\"", "\"a b\"", "\"\\\"\""};
    out->size = 0;
    if (below(12) == 0)
        return satchel_value_null();
    uint32_t count = below(5);
    put(out, rule == SATCHEL_RULE_SET ? "[" : "{");
    for (uint32_t i = 0; i < count; i++) {
        put(out, i ? "," : "");
        if (rule == SATCHEL_RULE_MAP) {
            put(out, names[below(5)]);
            put(out, ":");
        }
        put_json(out, 2);
    }
    put(out, rule == SATCHEL_RULE_SET ? "]" : "}");
    return satchel_value_text(satchel_span_of(out->text, out->size));
}

static void check_roads(enum satchel_rule rule)
{
    const struct satchel_column_rules rules = column(rule);
    struct random_text texts[3];
    struct satchel_value from = random_value(rule, &texts[0]), to = random_value(rule, &texts[1]);
    struct satchel_value other = random_value(rule, &texts[2]);
    struct satchel_value back;
    bool is_write;
    struct satchel_value operation = made(rule, from, to, &is_write);
    assert_value(applied(rule, from, operation), canonical(rule, to));
    struct satchel_value a = canonical(rule, from), b = canonical(rule, to);
    assert_int_equal(is_write, !satchel_value_equal(&a, &b));
    assert_value(canonical(rule, a), a);
    assert_ok(satchel_operation_invert(&rules, &from, &operation, &arena, &back));
    assert_value(applied(rule, b, back), a);
    /* Done twice it is done once, to whatever value. */
    struct satchel_value once = applied(rule, other, operation);
    assert_value(applied(rule, once, operation), once);
    satchel_arena_reset(&arena);
}

static void test_operations__lead_from_any_value_to_any_other_and_back(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        check_roads(SATCHEL_RULE_SET);
        check_roads(SATCHEL_RULE_MAP);
    }
}

static void test_operations__from_elsewhere_are_checked_byte_by_byte(void **state)
{
    (void)state;
    static const struct {
        enum satchel_rule rule;
        const char *operation;
    } cases[] = {{SATCHEL_RULE_SET, "[[\"a\",{\"k\":[1]}],[\"b\\n\"]]"},
                 {SATCHEL_RULE_MAP, "[{\"a\":[1,null],\"b\":\"\\\\\"},[\"c\"]]"},
                 {SATCHEL_RULE_STATE, "[\"dr\\\"aft\",\"sent\"]"},
                 {SATCHEL_RULE_KEY, "\xef\xbc\x88\xe5\xae\xa2 x"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].operation);
        char bytes[64];
        memcpy(bytes, cases[i].operation, size);
        for (size_t cut = 0; cut < size; cut++)
            (void)refusal(cases[i].rule, SATCHEL_OP_UPDATE,
                          satchel_value_text(satchel_span_of(bytes, cut)));
        for (size_t at = 0; at < size; at++) {
            for (unsigned value = 0; value < 256; value++) {
                char before = bytes[at];
                bytes[at] = (char)value;
                (void)refusal(cases[i].rule, SATCHEL_OP_UPDATE,
                              satchel_value_text(satchel_span_of(bytes, size)));
                bytes[at] = before;
            }
            satchel_arena_reset(&arena);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain__carries_the_value_and_takes_back_the_old_one),
        cmocka_unit_test(test_counter__carries_the_difference),
        cmocka_unit_test(test_counter__wraps_around_and_loses_nothing),
        cmocka_unit_test(test_set__carries_what_was_added_and_removed),
        cmocka_unit_test(test_set__applies_to_any_present_value),
        cmocka_unit_test(test_set__takes_back_only_what_it_did),
        cmocka_unit_test(test_set__refuses_what_is_no_operation),
        cmocka_unit_test(test_set__of_an_insert_is_the_set),
        cmocka_unit_test(test_map__carries_the_keys_that_changed),
        cmocka_unit_test(test_map__takes_back_keys_to_what_they_were),
        cmocka_unit_test(test_map__refuses_what_is_no_operation),
        cmocka_unit_test(test_value__is_refused_where_the_rule_cannot_take_it),
        cmocka_unit_test(test_state__carries_the_step),
        cmocka_unit_test(test_machine__finds_its_states),
        cmocka_unit_test(test_machine__allows_forward_and_named_ways_back),
        cmocka_unit_test(test_machine__refuses_in_few_words_whatever_it_holds),
        cmocka_unit_test(test_key__is_trimmed_and_narrow),
        cmocka_unit_test(test_key__as_a_blob_sets_apart),
        cmocka_unit_test(test_key__matches_what_names_one_thing),
        cmocka_unit_test(test_key__match_that_does_not_fit_leaves_the_buffer_alone),
        cmocka_unit_test(test_operations__lead_from_any_value_to_any_other_and_back),
        cmocka_unit_test(test_operations__from_elsewhere_are_checked_byte_by_byte),
    };
    return cmocka_run_group_tests_name("operation", tests, setup, teardown);
}
