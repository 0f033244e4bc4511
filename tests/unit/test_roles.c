/* Roles: a device writes in a role that it was told, and in an older one only what it wrote before
 * it heard of the new one. */
#include "merge_kit.h"

static const char schema_sql[] = "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE item (\n"
                                 "  id TEXT PRIMARY KEY,\n"
                                 "  name TEXT,\n"
                                 "  price INTEGER, -- @lww @write(hq, finance)\n"
                                 "  class TEXT -- @authority(hq>finance)\n"
                                 ");\n"
                                 "-- @table scope=all delete=edit_wins\n"
                                 "CREATE TABLE region (\n"
                                 "  id TEXT PRIMARY KEY, -- @id @write(hq)\n"
                                 "  name TEXT\n"
                                 ");\n";

/* Pushes `part` made in `role` at `ms` after the kit's beginning; the reason if it was set aside,
 * else "". */
static const char *push_part_as(struct kit *kit, struct satchel_part part, uint64_t number,
                                int64_t ms, const char *role)
{
    struct satchel_incoming incoming = kit_changeset(kit, 1, number, ms, 0, &part, 1);
    struct satchel_changeset_header header = {1, {NULL, 0}, satchel_span_text(role), 1};
    struct satchel_incoming_outcome outcome;
    struct satchel_buffer body;
    satchel_buffer_init(&body, 65536, NULL);
    assert_ok(satchel_changeset_write_header(&body, &header));
    assert_ok(satchel_changeset_write_part(&body, &part));
    incoming.body = satchel_arena_copy(&kit->arena, satchel_buffer_span(&body));
    satchel_buffer_deinit(&body);
    struct role_known known = {0};
    assert_ok(role_check(satchel_store_sqlite_db(kit->store), &incoming, &known, &kit->arena,
                         &kit->error));
    kit_merge(kit, &incoming, 1, &outcome);
    assert_int_equal(outcome.result, SATCHEL_INCOMING_MERGED);
    if (outcome.quarantined_count == 0)
        return "";
    struct satchel_notes notes = kit_notes(kit, outcome.cursor);
    struct satchel_span reason = notes.quarantined[0].reason;
    return (const char *)satchel_arena_copy(&kit->arena, reason).data;
}

static const char *push_as(struct kit *kit, const char *key, uint64_t number, int64_t ms,
                           const char *role)
{
    return push_part_as(kit, kit_part(kit, SATCHEL_OP_INSERT, "item", key, 1, text("thing"), -1),
                        number, ms, role);
}

static void tell(struct kit *kit, const char *role, int64_t ms)
{
    struct satchel_id device = kit_device(1);
    assert_ok(role_told(satchel_store_sqlite_db(kit->store), &device, satchel_span_text(role),
                        KIT_NOW_MS - 3600000 + ms, &kit->error));
}

static void test_roles__only_what_the_device_was_told_counts(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    tell(&kit, "rep", 0);
    assert_string_equal(push_as(&kit, "a", 1, 1000, "rep"), "");
    assert_string_equal(push_as(&kit, "b", 2, 2000, "hq"),
                        "user1 did not have the role 'hq' when this was written");
    assert_string_equal(push_as(&kit, "c", 3, 3000, ""), "");
    assert_string_equal(kit_rows(&kit, "SELECT id FROM item ORDER BY 1"), "a\nc");
    kit_close(&kit);
}

static void test_roles__an_old_role_is_good_for_what_was_written_offline_with_it(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    tell(&kit, "hq", 0);
    tell(&kit, "rep", 600000);
    kit_reopen(&kit);
    assert_string_equal(push_as(&kit, "a", 1, 300000, "hq"), "");
    assert_string_equal(push_as(&kit, "b", 2, 700000, "rep"), "");
    assert_string_equal(push_as(&kit, "c", 3, 800000, "hq"),
                        "user1 did not have the role 'hq' when this was written");
    tell(&kit, "hq", 900000);
    assert_string_equal(push_as(&kit, "d", 4, 950000, "hq"), "");
    kit_close(&kit);
}

/* A device that minds the schema refuses these itself; one that does not changes nothing. */
static void test_roles__what_a_role_may_not_set_is_set_aside(void **state)
{
    (void)state;
    struct kit kit;
    kit_open(&kit, schema_sql);
    tell(&kit, "rep", 0);
    tell(&kit, "hq", 0);
    tell(&kit, "", 0);
    const enum satchel_op_kind insert = SATCHEL_OP_INSERT, update = SATCHEL_OP_UPDATE;
    assert_string_equal(push_as(&kit, "a", 1, 1000, "rep"), "");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, update, "item", "a", 2, integer(7), -1), 2, 2000, "rep"),
        "item.price is @write(hq,finance): a rep may not set it");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, insert, "item", "b", 2, integer(7), -1), 3, 3000, ""),
        "item.price is @write(hq,finance): a user without a role may not set it");
    assert_string_equal(kit_rows(&kit, "SELECT id, name, price FROM item"), "a|thing|NULL");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, update, "item", "a", 2, integer(8), -1), 4, 4000, "hq"),
        "");
    assert_string_equal(kit_rows(&kit, "SELECT id, name, price FROM item"), "a|thing|8");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, update, "item", "a", 3, text("A"), -1), 5, 4500, "rep"),
        "item.class is @authority(hq>finance): a rep may not set it");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, insert, "region", "n", 1, text("N"), -1), 6, 5000, "rep"),
        "region.id is @write(hq): a rep may not set it");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, insert, "region", "s", 1, text("S"), -1), 7, 6000, "hq"),
        "");
    assert_string_equal(
        push_part_as(&kit, kit_part(&kit, update, "region", "s", 1, text("T"), -1), 8, 7000, "rep"),
        "");
    assert_string_equal(kit_rows(&kit, "SELECT id, name FROM region"), "s|T");
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles__only_what_the_device_was_told_counts),
        cmocka_unit_test(test_roles__an_old_role_is_good_for_what_was_written_offline_with_it),
        cmocka_unit_test(test_roles__what_a_role_may_not_set_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
