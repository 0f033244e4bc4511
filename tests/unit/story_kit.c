/* Owns the playing of stories. */
#include "story_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SPAN(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct satchel_span back_to_draft[] = {SPAN("draft")};
static const struct satchel_state states[] = {
    {SPAN("cancelled"), 90, true, NULL, 0},    {SPAN("draft"), 10, false, NULL, 0},
    {SPAN("lost"), 40, true, NULL, 0},         {SPAN("sent"), 20, false, back_to_draft, 1},
    {SPAN("won"), 50, true, back_to_draft, 1},
};
const struct satchel_machine story_machine = {states, 5};

/* ---- words into writes ---- */

static struct satchel_id device_of(const char *name)
{
    struct satchel_id id = {{0xd0}};
    id.bytes[15] = (uint8_t)name[0];
    return id;
}

struct satchel_order story_order(const char *name, int64_t ms)
{
    return (struct satchel_order){satchel_stamp_from_ms(ms), device_of(name),
                                  strtoul(name + 1, NULL, 10), 0};
}

struct satchel_position story_position(const char *name)
{
    struct satchel_position position = {device_of(name), 5};
    position.node.bytes[0] = 0xa0;
    position.node.bytes[14] = (uint8_t)strtoul(name + 1, NULL, 10);
    return position;
}

struct play {
    const struct story *story;
    size_t count; /* of writes */
    struct satchel_column_rules columns[STORY_COLUMNS];
    struct satchel_table_rules rules;
    struct satchel_row_context context;
    struct satchel_arena arena;
    struct satchel_write made[STORY_WRITES];
    struct satchel_row row;
    struct satchel_value values[STORY_COLUMNS];
    struct satchel_write arrived[STORY_WRITES];
    size_t arrived_count;
    struct satchel_merge_result result;
    struct satchel_error error;
    struct satchel_id ids[32];
    uint32_t id_count;
    bool stores;
    size_t orders;
};

static struct satchel_value value_of(const char *text)
{
    if (!text)
        return satchel_value_null();
    if (*text && strspn(text, "-0123456789") == strlen(text))
        return satchel_value_integer(strtoll(text, NULL, 10));
    if (strncmp(text, "x'", 2) == 0)
        return satchel_value_blob(satchel_span_text(text + 2));
    return satchel_value_text(satchel_span_text(text));
}

static struct satchel_vector vector_of(struct play *play, const char *names)
{
    struct satchel_vector vector = {NULL, 0};
    while (names && *names) {
        struct satchel_position position = story_position(names);
        assert_int_equal(
            satchel_vector_raise(&play->arena, &vector, &position.node, position.seq, &vector),
            SATCHEL_OK);
        names = strchr(names, ' ');
        names = names ? names + 1 : NULL;
    }
    return vector;
}

static struct satchel_vector ancestors_of(struct play *play, const char *name)
{
    struct satchel_vector vector = {NULL, 0};
    if (!name)
        return vector;
    struct satchel_order last = story_order(name, 0);
    assert_int_equal(
        satchel_vector_raise(&play->arena, &vector, &last.device, last.number, &vector),
        SATCHEL_OK);
    return vector;
}

static struct satchel_write make(struct play *play, size_t index)
{
    const struct story_write *said = &play->story->writes[index];
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&play->arena, struct satchel_field, STORY_FIELDS);
    uint32_t count = 0;
    assert_non_null(fields);
    for (; count < STORY_FIELDS && said->fields[count].column; count++)
        fields[count] =
            (struct satchel_field){said->fields[count].column, value_of(said->fields[count].value)};
    static const struct satchel_exception own_only = {SATCHEL_COLUMN_ROW,
                                                      {.kind = SATCHEL_VIEW_NONE}};
    return (struct satchel_write){.order = story_order(said->name, said->ms),
                                  .positions = vector_of(play, said->name),
                                  .seen = vector_of(play, said->seen),
                                  .ancestors = ancestors_of(play, said->copy_of),
                                  .role = satchel_span_text(said->role ? said->role : "rep"),
                                  .kind = said->kind,
                                  .fields = fields,
                                  .field_count = count,
                                  .exceptions = &own_only,
                                  .exception_count = said->saw_own_only};
}

static void start(struct play *play, const struct story *story)
{
    play->story = story;
    satchel_arena_init(&play->arena, 1 << 24, NULL);
    memcpy(play->columns, story->columns, sizeof play->columns);
    play->columns[0] = (struct satchel_column_rules){.rule = SATCHEL_RULE_ID, .in_key = true};
    for (uint32_t i = 1; i < STORY_COLUMNS; i++) {
        if (play->columns[i].rule == SATCHEL_RULE_ID)
            play->columns[i].rule = SATCHEL_RULE_LWW;
        if (play->columns[i].unit == 0)
            play->columns[i].unit = i;
        else if (play->columns[i].rule == SATCHEL_RULE_FOLLOWS)
            play->columns[play->columns[i].unit].has_followers = true;
    }
    play->rules = story->rules;
    play->rules.columns = play->columns;
    play->rules.column_count = STORY_COLUMNS;
    if (play->rules.delete_policy == SATCHEL_DELETE_FORBID)
        play->rules.delete_policy = SATCHEL_DELETE_EDIT_WINS;
    play->context = story->context;
    play->context.machines = &story_machine;
    play->context.machine_count = 1;
    for (; play->count < STORY_WRITES && story->writes[play->count].name; play->count++)
        play->made[play->count] = make(play, play->count);
}

/* ---- the row as words ---- */

static size_t say_value(char *text, size_t size, const struct satchel_value *value)
{
    switch (value->type) {
    case SATCHEL_NULL: return (size_t)snprintf(text, size, "NULL");
    case SATCHEL_INTEGER: return (size_t)snprintf(text, size, "%lld", (long long)value->integer);
    case SATCHEL_REAL: return (size_t)snprintf(text, size, "%g", value->real);
    case SATCHEL_TEXT:
    case SATCHEL_BLOB: break;
    }
    return (size_t)snprintf(text, size, "%.*s", (int)value->bytes.size,
                            (const char *)value->bytes.data);
}

static size_t say_conflict(char *text, size_t size, const struct play *play,
                           const struct satchel_conflict *conflict)
{
    static const char *const kinds[] = {"", "delete ", "frozen ", "duplicate "};
    char unit[12] = "row";
    if (conflict->unit != SATCHEL_COLUMN_ROW)
        snprintf(unit, sizeof unit, "%u", (unsigned)conflict->unit);
    size_t used =
        (size_t)snprintf(text, size, " %s%s:%c%u<%c%u%s", kinds[conflict->kind], unit,
                         conflict->loser.device.bytes[15], (unsigned)conflict->loser.number,
                         conflict->winner.device.bytes[15], (unsigned)conflict->winner.number,
                         conflict->severity == SATCHEL_SEVERITY_REVIEW ? "!" : "");
    uint32_t place = 0;
    for (uint32_t i = 1; i < STORY_COLUMNS; i++) {
        if (play->columns[i].unit != conflict->unit)
            continue;
        assert_true(place < conflict->column_count);
        assert_true(satchel_value_equal(&conflict->kept[place], &play->row.values[i]));
        used += (size_t)snprintf(text + used, size - used, "(");
        used += say_value(text + used, size - used, &conflict->lost[place++]);
        used += (size_t)snprintf(text + used, size - used, ")");
    }
    assert_int_equal(place, conflict->column_count);
    return used;
}

static void say_row(struct play *play, const struct satchel_row *row, char *text, size_t size)
{
    struct satchel_conflict_list list;
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 1; row->exists && i < STORY_COLUMNS; i++) {
        if (row->values[i].type == SATCHEL_NULL)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%u=", used ? " " : "", i);
        used += say_value(text + used, size - used, &row->values[i]);
    }
    if (!row->exists)
        used += (size_t)snprintf(text, size, "gone");
    used += (size_t)snprintf(text + used, size - used, " |");
    assert_int_equal(satchel_row_conflicts(&play->rules, row, &play->arena, &list), SATCHEL_OK);
    for (size_t i = 0; i < list.count; i++)
        used += say_conflict(text + used, size - used, play, &list.items[i]);
    assert_true(used < size);
}

static void expect(struct play *play, const char *how)
{
    char text[2000];
    say_row(play, &play->row, text, sizeof text);
    if (strcmp(text, play->story->expected) == 0)
        return;
    print_message("arrival:");
    for (size_t i = 0; i < play->arrived_count; i++)
        print_message(" %c%u", play->arrived[i].order.device.bytes[15],
                      (unsigned)play->arrived[i].order.number);
    print_message("\n");
    fail_msg("%s:\n  got      %s\n  expected %s", how, text, play->story->expected);
}

/* ---- merging ---- */

static enum satchel_status number_of(void *context, const struct satchel_id *id, uint32_t *number)
{
    struct play *play = context;
    for (*number = 0; *number < play->id_count; (*number)++)
        if (satchel_id_equal(&play->ids[*number], id))
            return SATCHEL_OK;
    assert_true(play->id_count < 32);
    play->ids[play->id_count++] = *id;
    return SATCHEL_OK;
}

static enum satchel_status id_of(void *context, uint32_t number, struct satchel_id *id)
{
    struct play *play = context;
    if (number >= play->id_count)
        return SATCHEL_NOT_FOUND;
    *id = play->ids[number];
    return SATCHEL_OK;
}

static void store_and_load(struct play *play)
{
    const struct satchel_id_table ids = {number_of, id_of, play};
    struct satchel_buffer bytes, again;
    satchel_buffer_init(&bytes, 100000, NULL);
    satchel_buffer_init(&again, 100000, NULL);
    assert_int_equal(satchel_version_encode(play->row.version, &ids, &bytes), SATCHEL_OK);
    assert_int_equal(
        satchel_version_decode(&play->arena, satchel_buffer_span(&bytes), &ids, &play->row.version),
        SATCHEL_OK);
    assert_int_equal(satchel_version_encode(play->row.version, &ids, &again), SATCHEL_OK);
    assert_true(satchel_span_equal(satchel_buffer_span(&bytes), satchel_buffer_span(&again)));
    satchel_buffer_deinit(&bytes);
    satchel_buffer_deinit(&again);
}

static void reset(struct play *play)
{
    play->row = (struct satchel_row){.values = play->values,
                                     .version = satchel_version_new(&play->arena),
                                     .context = &play->context};
    assert_non_null(play->row.version);
    for (uint32_t i = 0; i < STORY_COLUMNS; i++)
        play->values[i] = satchel_value_integer(-77);
    play->arrived_count = 0;
}

static enum satchel_status deliver(struct play *play, size_t index)
{
    play->arrived[play->arrived_count++] = play->made[index];
    play->error = (struct satchel_error){0};
    enum satchel_status status = satchel_row_merge(&play->rules, &play->row, &play->made[index],
                                                   &play->arena, &play->result, &play->error);
    if (status == SATCHEL_NEED_TIMELINE)
        status = satchel_row_rebuild(&play->rules, &play->row, play->arrived, play->arrived_count,
                                     &play->arena, &play->result, &play->error);
    if (status == SATCHEL_OK && play->stores)
        store_and_load(play);
    return status;
}

static void must_deliver(struct play *play, size_t index)
{
    enum satchel_status status = deliver(play, index);
    if (status != SATCHEL_OK)
        fail_msg("%s: %s %s", play->story->writes[index].name, satchel_status_name(status),
                 play->error.message);
}

/* ---- orders of arrival ---- */

static bool has_arrived(const struct play *play, unsigned arrived, const char *name)
{
    for (size_t i = 0; i < play->count; i++)
        if (story_order(name, 0).number == play->made[i].order.number &&
            (uint8_t)name[0] == play->made[i].order.device.bytes[15])
            return arrived >> i & 1;
    fail_msg("nobody wrote %s", name);
    return false;
}

static bool may_arrive(const struct play *play, size_t index, unsigned arrived)
{
    if (arrived >> index & 1)
        return false;
    const struct satchel_write *write = &play->made[index];
    for (size_t i = 0; i < play->count; i++) {
        const struct satchel_order *other = &play->made[i].order;
        bool is_own = satchel_id_equal(&other->device, &write->order.device)
                          ? other->number < write->order.number
                          : satchel_vector_get(&write->ancestors, &other->device) >= other->number;
        if (is_own && !(arrived >> i & 1))
            return false;
    }
    const char *names = play->story->writes[index].seen;
    while (names && *names) {
        if (!has_arrived(play, arrived, names))
            return false;
        names = strchr(names, ' ');
        names = names ? names + 1 : NULL;
    }
    /* An update of a row that the node has never heard of is refused. */
    return arrived || play->made[index].kind == SATCHEL_OP_INSERT;
}

static void check_order(struct play *play, const size_t *order)
{
    for (int stores = 0; stores < 2; stores++) {
        play->stores = stores;
        reset(play);
        for (size_t i = 0; i < play->count; i++)
            must_deliver(play, order[i]);
        expect(play, stores ? "merged and stored" : "merged");
    }
    assert_int_equal(satchel_row_recompute(&play->rules, &play->row, play->arrived,
                                           play->arrived_count, &play->arena, &play->result,
                                           &play->error),
                     SATCHEL_OK);
    assert_null(play->result.outcomes);
    for (uint32_t i = 0; i < STORY_COLUMNS; i++)
        assert_false(play->result.changed[i]);
    expect(play, "recomputed");
    play->orders++;
}

static void try_orders(struct play *play, size_t *order, size_t length, unsigned arrived)
{
    if (length == play->count) {
        check_order(play, order);
        return;
    }
    for (size_t i = 0; i < play->count; i++) {
        if (!may_arrive(play, i, arrived))
            continue;
        order[length] = i;
        try_orders(play, order, length + 1, arrived | 1u << i);
    }
}

void story_check(const struct story *story)
{
    struct play play = {0};
    size_t order[STORY_WRITES];
    start(&play, story);
    try_orders(&play, order, 0, 0);
    assert_true(play.orders > 0);
    satchel_arena_deinit(&play.arena);
}

static void play_in_order(struct play *play, const struct story *story, size_t left_out)
{
    start(play, story);
    reset(play);
    for (size_t i = 0; i + left_out < play->count; i++)
        must_deliver(play, i);
}

void story_check_outcomes(const struct story *story, const char *expected)
{
    struct play play = {0};
    char text[200] = "";
    size_t used = 0;
    play_in_order(&play, story, 0);
    const struct satchel_write *last = &play.made[play.count - 1];
    for (uint32_t i = 0; i < (last->field_count ? last->field_count : 1); i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "",
                                 satchel_outcome_name(play.result.outcomes[i]));
    assert_string_equal(text, expected);
    satchel_arena_deinit(&play.arena);
}

void story_check_refused(const struct story *story, const char *part)
{
    struct play play = {0};
    play_in_order(&play, story, 1);
    assert_int_equal(deliver(&play, play.count - 1), SATCHEL_REFUSED);
    if (!strstr(play.error.message, part))
        fail_msg("refused with \"%s\", expected \"%s\"", play.error.message, part);
    satchel_arena_deinit(&play.arena);
}

/* ---- damage ---- */

/* Decodes into memory that ends where the bytes end, so that a sanitizer sees a read too far; a
 * version that decodes must be usable. */
static enum satchel_status decode_and_use(struct play *play, const uint8_t *bytes, size_t size)
{
    const struct satchel_id_table ids = {number_of, id_of, play};
    const struct satchel_arena whole = play->arena;
    const struct satchel_row before = play->row;
    struct satchel_value values[STORY_COLUMNS];
    struct satchel_conflict_list list;
    struct satchel_buffer out;
    satchel_arena_init(&play->arena, 1 << 20, NULL);
    satchel_buffer_init(&out, 1 << 20, NULL);
    memcpy(values, play->values, sizeof values);
    uint8_t *exact = satchel_alloc(NULL, size);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    enum satchel_status status = satchel_version_decode(&play->arena, satchel_span_of(exact, size),
                                                        &ids, &play->row.version);
    satchel_free(NULL, exact);
    if (status == SATCHEL_OK) {
        assert_int_equal(satchel_row_conflicts(&play->rules, &play->row, &play->arena, &list),
                         SATCHEL_OK);
        enum satchel_status merged =
            satchel_row_merge(&play->rules, &play->row, &play->made[play->count - 1], &play->arena,
                              &play->result, &play->error);
        assert_true(merged == SATCHEL_OK || merged == SATCHEL_NEED_TIMELINE);
        assert_int_equal(satchel_row_conflicts(&play->rules, &play->row, &play->arena, &list),
                         SATCHEL_OK);
        assert_int_equal(satchel_version_encode(play->row.version, &ids, &out), SATCHEL_OK);
    } else {
        assert_int_equal(status, SATCHEL_CORRUPT);
    }
    satchel_buffer_deinit(&out);
    satchel_arena_deinit(&play->arena);
    play->arena = whole;
    play->row = before;
    memcpy(play->values, values, sizeof values);
    return status;
}

static uint64_t next_random(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *random >> 33;
}

void story_check_damage(const struct story *story)
{
    struct play play = {0};
    struct satchel_buffer bytes;
    uint64_t random = 20261122;
    size_t decoded = 0;
    play_in_order(&play, story, 1);
    const struct satchel_id_table ids = {number_of, id_of, &play};
    satchel_buffer_init(&bytes, 100000, NULL);
    assert_int_equal(satchel_version_encode(play.row.version, &ids, &bytes), SATCHEL_OK);
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(decode_and_use(&play, bytes.data, size), SATCHEL_CORRUPT);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        decoded += decode_and_use(&play, bytes.data, bytes.size) == SATCHEL_OK;
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (int round = 0; round < 3000; round++) {
        uint8_t copy[2000];
        assert_true(bytes.size <= sizeof copy);
        memcpy(copy, bytes.data, bytes.size);
        for (uint64_t flips = 1 + next_random(&random) % 6; flips > 0; flips--)
            copy[next_random(&random) % bytes.size] = (uint8_t)next_random(&random);
        decoded += decode_and_use(&play, copy, bytes.size) == SATCHEL_OK;
    }
    assert_true(decoded > 0);
    satchel_buffer_deinit(&bytes);
    satchel_arena_deinit(&play.arena);
}

/* ---- no memory ---- */

static enum satchel_status merge_within(struct play *play, bool rebuilds, size_t bytes)
{
    struct satchel_arena arena;
    struct satchel_conflict_list list;
    const struct satchel_row before = play->row;
    struct satchel_value values[STORY_COLUMNS];
    memcpy(values, play->values, sizeof values);
    satchel_arena_init(&arena, bytes, NULL);
    enum satchel_status status =
        rebuilds ? satchel_row_rebuild(&play->rules, &play->row, play->made, play->count, &arena,
                                       &play->result, &play->error)
                 : satchel_row_merge(&play->rules, &play->row, &play->made[play->count - 1], &arena,
                                     &play->result, &play->error);
    if (status != SATCHEL_OK) {
        assert_ptr_equal(play->row.version, before.version);
        assert_memory_equal(values, play->values, sizeof values);
    } else {
        status = satchel_row_conflicts(&play->rules, &play->row, &arena, &list);
        if (status == SATCHEL_OK)
            expect(play, "with just enough memory");
    }
    play->row = before;
    memcpy(play->values, values, sizeof values);
    satchel_arena_deinit(&arena);
    return status;
}

void story_check_memory(const struct story *story)
{
    struct play play = {0};
    play_in_order(&play, story, 1);
    for (int rebuilds = 0; rebuilds < 2; rebuilds++) {
        enum satchel_status status = SATCHEL_NOMEM;
        for (size_t bytes = 0; status == SATCHEL_NOMEM; bytes += 16)
            status = merge_within(&play, rebuilds, bytes);
        assert_true(status == SATCHEL_OK || (!rebuilds && status == SATCHEL_NEED_TIMELINE));
    }
    satchel_arena_deinit(&play.arena);
}
