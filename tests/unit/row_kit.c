/* Owns the short hand in which the tests of rows are written. */
#include "row_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct satchel_value kit_text(const char *text)
{
    return satchel_value_text(satchel_span_text(text));
}

static void set_column(struct kit *kit, uint32_t column, enum satchel_rule rule, uint32_t unit,
                       struct satchel_value default_value)
{
    kit->columns[column] = (struct satchel_column_rules){
        .rule = rule, .unit = unit, .default_value = default_value, .in_key = column == KIT_ID};
}

void kit_init(struct kit *kit)
{
    const struct satchel_value null = satchel_value_null();
    memset(kit, 0, sizeof *kit);
    satchel_arena_init(&kit->arena, 1 << 22, NULL);
    set_column(kit, KIT_ID, SATCHEL_RULE_ID, KIT_ID, null);
    set_column(kit, KIT_LWW, SATCHEL_RULE_LWW, KIT_LWW, null);
    set_column(kit, KIT_OPEN, SATCHEL_RULE_LWW, KIT_OPEN, kit_text("open"));
    set_column(kit, KIT_IMMUTABLE, SATCHEL_RULE_IMMUTABLE, KIT_IMMUTABLE, null);
    set_column(kit, KIT_APPEND, SATCHEL_RULE_APPEND, KIT_APPEND, null);
    set_column(kit, KIT_AMOUNT, SATCHEL_RULE_GROUP, KIT_AMOUNT, satchel_value_integer(0));
    set_column(kit, KIT_MAX, SATCHEL_RULE_MAX, KIT_MAX, satchel_value_integer(30));
    set_column(kit, KIT_CURRENCY, SATCHEL_RULE_GROUP, KIT_AMOUNT, null);
    set_column(kit, KIT_MIN, SATCHEL_RULE_MIN, KIT_MIN, null);
    set_column(kit, KIT_FIRST, SATCHEL_RULE_FIRST, KIT_FIRST, null);
    set_column(kit, KIT_COUNTER, SATCHEL_RULE_COUNTER, KIT_COUNTER, satchel_value_integer(100));
    set_column(kit, KIT_NOW, SATCHEL_RULE_LWW, KIT_NOW, null);
    kit->columns[KIT_NOW].default_varies = true;
    kit->rules = (struct satchel_table_rules){.columns = kit->columns,
                                              .column_count = KIT_COLUMNS,
                                              .delete_policy = SATCHEL_DELETE_EDIT_WINS};
    kit->values[KIT_ID] = kit_text("key");
    kit->row =
        (struct satchel_row){.values = kit->values, .version = satchel_version_new(&kit->arena)};
    assert_non_null(kit->row.version);
}

void kit_deinit(struct kit *kit)
{
    satchel_arena_deinit(&kit->arena);
}

struct satchel_id kit_device(char letter)
{
    struct satchel_id id = {{0xd0}};
    id.bytes[15] = (uint8_t)letter;
    return id;
}

struct satchel_position kit_position(const char *name)
{
    struct satchel_position position = {kit_device(name[0]), 5};
    position.node.bytes[0] = 0xa0;
    position.node.bytes[14] = (uint8_t)strtoul(name + 1, NULL, 10);
    return position;
}

struct satchel_vector kit_vector(struct kit *kit, const char *names)
{
    struct satchel_vector vector = {NULL, 0};
    while (names && *names) {
        struct satchel_position position = kit_position(names);
        assert_int_equal(
            satchel_vector_raise(&kit->arena, &vector, &position.node, position.seq, &vector),
            SATCHEL_OK);
        names = strchr(names, ' ');
        names = names ? names + 1 : NULL;
    }
    return vector;
}

struct satchel_write kit_make(struct kit *kit, const struct kit_write *write)
{
    struct kit_write *kept = satchel_arena_alloc(&kit->arena, sizeof *kept);
    assert_non_null(kept);
    *kept = *write;
    return (struct satchel_write){.order = {satchel_stamp_from_ms(write->ms),
                                            kit_device(write->name[0]),
                                            strtoul(write->name + 1, NULL, 10), 0},
                                  .positions = kit_vector(kit, write->name),
                                  .seen = kit_vector(kit, write->seen),
                                  .role = satchel_span_text("rep"),
                                  .kind = write->kind,
                                  .fields = kept->fields,
                                  .field_count = write->field_count,
                                  .exceptions = kept->exceptions,
                                  .exception_count = write->exception_count};
}

enum satchel_status kit_merge_only(struct kit *kit, const struct kit_write *write)
{
    struct satchel_write made = kit_make(kit, write);
    kit->error = (struct satchel_error){0};
    return satchel_row_merge(&kit->rules, &kit->row, &made, &kit->arena, &kit->result, &kit->error);
}

enum satchel_status kit_merge(struct kit *kit, const struct kit_write *write)
{
    assert_true(kit->write_count < KIT_WRITES);
    kit->writes[kit->write_count] = kit_make(kit, write);
    kit->error = (struct satchel_error){0};
    enum satchel_status status =
        satchel_row_merge(&kit->rules, &kit->row, &kit->writes[kit->write_count], &kit->arena,
                          &kit->result, &kit->error);
    if (status == SATCHEL_NEED_TIMELINE)
        status = satchel_row_rebuild(&kit->rules, &kit->row, kit->writes, kit->write_count + 1,
                                     &kit->arena, &kit->result, &kit->error);
    if (status == SATCHEL_OK)
        kit->write_count++;
    return status;
}

static void must_merge(struct kit *kit, const struct kit_write *write)
{
    enum satchel_status status = kit_merge(kit, write);
    if (status != SATCHEL_OK)
        fail_msg("%s: %s %s", write->name, satchel_status_name(status), kit->error.message);
}

void kit_insert(struct kit *kit, const char *name, int64_t ms, uint32_t column,
                struct satchel_value value)
{
    const struct kit_write write = {.name = name,
                                    .kind = SATCHEL_OP_INSERT,
                                    .ms = ms,
                                    .fields = {{column, value}},
                                    .field_count = column == KIT_ID ? 0 : 1};
    must_merge(kit, &write);
}

void kit_update(struct kit *kit, const char *name, int64_t ms, const char *seen, uint32_t column,
                struct satchel_value value)
{
    const struct kit_write write = {.name = name,
                                    .kind = SATCHEL_OP_UPDATE,
                                    .ms = ms,
                                    .seen = seen,
                                    .fields = {{column, value}},
                                    .field_count = 1};
    must_merge(kit, &write);
}

void kit_delete(struct kit *kit, const char *name, int64_t ms, const char *seen)
{
    const struct kit_write write = {
        .name = name, .kind = SATCHEL_OP_DELETE, .ms = ms, .seen = seen};
    must_merge(kit, &write);
}

void kit_expect(const struct kit *kit, uint32_t column, struct satchel_value value)
{
    assert_true(kit->row.exists);
    if (!satchel_value_equal(&kit->row.values[column], &value))
        fail_msg("column %u has type %d integer %lld, expected type %d integer %lld", column,
                 (int)kit->row.values[column].type, (long long)kit->row.values[column].integer,
                 (int)value.type, (long long)value.integer);
}

void kit_expect_conflicts(struct kit *kit, const char *expected)
{
    char text[1024] = "";
    size_t size = 0;
    struct satchel_conflict_list list;
    assert_int_equal(satchel_row_conflicts(&kit->rules, &kit->row, &kit->arena, &list), SATCHEL_OK);
    for (size_t i = 0; i < list.count; i++) {
        const struct satchel_conflict *conflict = &list.items[i];
        char unit[16] = "row";
        if (conflict->unit != SATCHEL_COLUMN_ROW)
            snprintf(unit, sizeof unit, "%u", (unsigned)conflict->unit);
        size += (size_t)snprintf(
            text + size, sizeof text - size, "%s%s:%c%llu<%c%llu", i ? " " : "", unit,
            conflict->loser.device.bytes[15], (unsigned long long)conflict->loser.number,
            conflict->winner.device.bytes[15], (unsigned long long)conflict->winner.number);
        assert_true(size < sizeof text);
    }
    assert_string_equal(text, expected);
}
