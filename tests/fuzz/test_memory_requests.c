/* No memory on the server while it is asked for something: an administrator's commands, what
 * devices give back, copies and rows are done whole or not at all. */
#include "incarnation.h"
#include "memory_store.h"

#include <satchel/row_io.h>

/* ---- requests ---- */

typedef enum satchel_status (*answerer)(struct satchel_workspace *, struct satchel_job *);
static answerer answer;

static enum satchel_status request_in_hand(struct world *world, struct satchel_error *error)
{
    struct satchel_workspace workspace = {.store = world->kit.store, .name = "w"};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ADMIN);
    if (!job)
        return SATCHEL_NOMEM;
    job->device = world->device;
    enum satchel_status status = satchel_job_take_request(job, &world->request);
    if (status == SATCHEL_OK)
        status = answer(&workspace, job);
    *error = job->error;
    satchel_job_free(job);
    return status;
}

static enum satchel_status run_request(void *context, struct satchel_error *error)
{
    return in_transaction(context, request_in_hand, error);
}

static void finish_request(void *context, enum satchel_status status)
{
    judge(context, status, run_request);
}

static void check_request(struct world *world, const char *name, answerer tried)
{
    answer = tried;
    satchel_buffer_clear(&world->expected);
    memory_scenario_run(&(struct memory_scenario){name, put_back, run_request, finish_request},
                        world, RUNS);
}

/* ---- administration ---- */

static void check_command(struct world *world, const char *name, answerer tried, const char *first,
                          const char *second, const char *third, const char *fourth)
{
    const char *const words[] = {name, "w", first, second, third, fourth, NULL};
    uint32_t count = 0;
    for (; words[count]; count++)
        world->arguments[count] = text(words[count]);
    world->request = (struct satchel_message){.kind = SATCHEL_MESSAGE_ADMIN};
    world->request.admin.arguments = world->arguments;
    world->request.admin.argument_count = count;
    check_request(world, name, tried);
}

static void test_memory__an_administrator_changes_all_or_nothing(void **state)
{
    (void)state;
    struct world world;
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    char conflict[64], quarantined[64];
    open_world(&world);
    make_batch(&world);
    kit_merge(&world.kit, world.batch, world.batch_count, outcomes);
    snprintf(conflict, sizeof conflict, "%s",
             kit_rows(&world.kit, "SELECT id FROM satchel_conflicts WHERE resolved IS NULL"
                                  " AND field = 'name'"));
    snprintf(quarantined, sizeof quarantined, "%s",
             kit_rows(&world.kit, "SELECT lower(hex(e.device)) || '.' || e.number || '.' || q.part"
                                  " FROM satchel_quarantine q JOIN satchel_entry e"
                                  " USING (cursor)"));
    assert_true(strlen(conflict) == 32 && strlen(quarantined) > 32);
    keep_template(&world);
    check_command(&world, "resolve", resolve_job, conflict, "loser", NULL, NULL);
    check_command(&world, "set", set_job, "account", "a", "name=by hand", "tags=[\"new\"]");
    check_command(&world, "quarantine drop", quarantine_drop_job, quarantined, NULL, NULL, NULL);
    close_world(&world);
}

/* ---- what devices give back, copies, rows ---- */

/* Part 1 of what the third change set said was set aside when this node had it. */
static struct satchel_span quarantined_then(struct kit *kit)
{
    static const uint32_t unlike[] = {1};
    const struct satchel_quarantine_note note = {1, satchel_span_text("not allowed")};
    const struct satchel_notes notes = {
        .unlike = unlike, .unlike_count = 1, .quarantined = &note, .quarantined_count = 1};
    struct satchel_buffer bytes;
    satchel_buffer_init(&bytes, 4096, NULL);
    assert_ok(satchel_notes_write(&bytes, &notes));
    struct satchel_span list =
        satchel_arena_copy(&kit->arena, satchel_notes_quarantined(satchel_buffer_span(&bytes)));
    satchel_buffer_deinit(&bytes);
    return list;
}

static struct satchel_span positions_then(struct kit *kit)
{
    struct satchel_position position = {kit_device(0x77), 9};
    const struct satchel_vector positions = {&position, 1};
    struct satchel_buffer bytes;
    satchel_buffer_init(&bytes, 4096, NULL);
    assert_ok(satchel_vector_pack(&bytes, &positions));
    struct satchel_span packed = satchel_arena_copy(&kit->arena, satchel_buffer_span(&bytes));
    satchel_buffer_deinit(&bytes);
    return packed;
}

/* The batch, the first change set of a device that the store does not know, and one whose number is
 * another's in the store, as the node that the store is now once sent them. */
static void make_forward(struct world *world)
{
    struct kit *kit = &world->kit;
    struct incarnations known;
    const struct satchel_part part = kit_part(kit, INSERT, "line", "new", 2, integer(5), -1);
    const struct satchel_part other = kit_part(kit, INSERT, "line", "other", 2, integer(6), -1);
    add(world, 12, 1, 300, 3, &part, 1);
    add(world, 1, 3, 301, 1, &other, 1);
    assert_ok(
        incarnations_read(satchel_store_sqlite_db(kit->store), &kit->arena, &known, &kit->error));
    struct satchel_entry *entries =
        SATCHEL_ARENA_ARRAY(&kit->arena, struct satchel_entry, BATCH_MAX);
    for (uint32_t i = 0; i < world->batch_count; i++) {
        const struct satchel_incoming *incoming = &world->batch[i];
        uint8_t hash[SATCHEL_HASH_BYTES];
        entries[i] = (struct satchel_entry){.cursor = known.cursor + i + 1,
                                            .seq = known.seq + i + 1,
                                            .device = incoming->device,
                                            .number = incoming->number,
                                            .stamp = incoming->stamp,
                                            .user = incoming->user,
                                            .secret = incoming->secret,
                                            .body = incoming->body};
        if (i == 2)
            entries[i].notes = quarantined_then(kit);
        if (i == 1)
            entries[i].positions = positions_then(kit);
        assert_ok(satchel_changeset_hash(incoming->body, incoming->secret, hash));
        entries[i].receipt =
            satchel_entry_receipt(known.secret, &known.node, &entries[i], hash, entries[i].notes);
    }
    world->request = (struct satchel_message){.kind = SATCHEL_MESSAGE_FORWARD};
    world->request.forward =
        (struct satchel_message_forward){known.node, entries, (uint32_t)world->batch_count};
}

static enum satchel_status take_back(struct satchel_workspace *workspace, struct satchel_job *job)
{
    enum satchel_status status = forward_job(workspace, job);
    if (status == SATCHEL_OK) {
        assert_false(job->is_renewed);
        assert_int_equal(job->answers[0].forwarded.entry_count, job->request.forward.entry_count);
        assert_int_equal(job->answers[0].forwarded.refused_count, 0);
    }
    return status;
}

static enum satchel_status be_renewed(struct satchel_workspace *workspace, struct satchel_job *job)
{
    enum satchel_status status = forward_job(workspace, job);
    assert_true(status != SATCHEL_OK || job->is_renewed);
    return status;
}

static void test_memory__what_is_given_back_is_taken_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    make_batch(&world);
    make_forward(&world);
    memory_chance = 0xc3; /* of the incarnation that begins */
    keep_template(&world);
    check_request(&world, "a node is another incarnation", be_renewed);
    put_back(&world);
    assert_ok(incarnation_begin(satchel_store_sqlite_db(world.kit.store), &world.kit.error));
    keep_template(&world);
    check_request(&world, "forward", take_back);
    memory_chance = 0x5a;
    close_world(&world);
}

static void test_memory__a_copy_is_enrolled_or_not(void **state)
{
    (void)state;
    struct world world;
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    static const uint8_t hash[SATCHEL_HASH_BYTES] = {1}, token[SATCHEL_TOKEN_BYTES] = {2};
    open_world(&world);
    make_batch(&world);
    kit_merge(&world.kit, world.batch, world.batch_count, outcomes);
    keep_template(&world);
    world.device = world.batch[0].device;
    world.request = (struct satchel_message){.kind = SATCHEL_MESSAGE_COPY};
    world.request.copy = (struct satchel_message_copy){2, satchel_span_of(hash, sizeof hash),
                                                       satchel_span_of(token, sizeof token)};
    check_request(&world, "copy", enrol_copy);
    close_world(&world);
}

static struct satchel_buffer rows_as_they_are; /* of the first answer */

static enum satchel_status read_rows(struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct workspace_reader reader = {
        .db = satchel_store_sqlite_db(workspace->store),
        .schema = (struct satchel_schema *)(uintptr_t)workspace->store->schema};
    satchel_buffer_init(&reader.name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_arena_init(&reader.known_arena, WORKSPACE_JOB_BYTES_MAX, NULL);
    enum satchel_status status =
        satchel_db_prepare(reader.db, "PRAGMA data_version", &reader.version, &job->error);
    if (status == SATCHEL_OK)
        status = scope_viewer_new(&reader.viewer, reader.db, &job->error);
    if (status == SATCHEL_OK)
        status =
            scope_viewer_set(reader.viewer, reader.schema, satchel_span_text("ada"), &job->error);
    if (status == SATCHEL_OK)
        status = rows_read(&reader, job);
    scope_viewer_free(reader.viewer);
    sqlite3_finalize(reader.version);
    satchel_arena_deinit(&reader.known_arena);
    satchel_buffer_deinit(&reader.name);
    if (status == SATCHEL_OK) {
        const struct satchel_message_rows *rows = &job->answers[0].rows;
        assert_int_equal(rows->row_count, job->request.rows_request.row_count);
        if (rows_as_they_are.size == 0) /* memory holds */
            assert_ok(satchel_buffer_append(&rows_as_they_are, rows->notes.data, rows->notes.size));
        assert_true(satchel_span_equal(satchel_buffer_span(&rows_as_they_are), rows->notes));
    }
    return status;
}

static void test_memory__rows_are_answered_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    static const char *const accounts[] = {"a", "two", "zwei", "nobody"};
    struct satchel_row_request requests[4];
    open_world(&world);
    make_batch(&world);
    kit_merge(&world.kit, world.batch, world.batch_count, outcomes);
    for (int i = 0; i < 4; i++) { /* one with conflicts, one merged into another, one that is not */
        struct satchel_value key = text(accounts[i]);
        satchel_buffer_clear(&world.is);
        assert_ok(satchel_row_name(&world.is, 1, &key, 1));
        requests[i].name = satchel_arena_copy(&world.kit.arena, satchel_buffer_span(&world.is));
    }
    keep_template(&world);
    world.request = (struct satchel_message){.kind = SATCHEL_MESSAGE_ROWS_REQUEST};
    world.request.rows_request = (struct satchel_message_rows_request){requests, 4};
    satchel_buffer_init(&rows_as_they_are, (size_t)1 << 20, NULL);
    check_request(&world, "rows", read_rows);
    satchel_buffer_deinit(&rows_as_they_are);
    close_world(&world);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__an_administrator_changes_all_or_nothing),
        cmocka_unit_test(test_memory__what_is_given_back_is_taken_whole_or_not),
        cmocka_unit_test(test_memory__a_copy_is_enrolled_or_not),
        cmocka_unit_test(test_memory__rows_are_answered_whole_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
