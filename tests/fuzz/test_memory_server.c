/* No memory on the server: what a central store is asked for is done whole or not at all, and once
 * there is memory again the same store does it. Every run begins with the same file. */
#include "../unit/merge_kit.h"
#include "failing_memory.h"
#include "incarnation.h"

#include <satchel/log_pack.h>
#include <satchel/row_io.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define INSERT SATCHEL_OP_INSERT
#define UPDATE SATCHEL_OP_UPDATE
#define DELETE SATCHEL_OP_DELETE

/* account: 0 id, 1 name, 2 phone, 3 visits, 4 tags, 5 extra, 6 notes, 7 level
 * quote: 0 id, 1 number, 2 stage, 3 total, 4 account; line: 0 id, 1 quote, 2 amount */
static const char schema_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE account (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  name TEXT, -- @lww\n"
    "  phone TEXT, -- @key\n"
    "  visits INTEGER DEFAULT 0, -- @counter\n"
    "  tags TEXT, -- @set\n"
    "  extra TEXT, -- @map\n"
    "  notes TEXT, -- @text3\n"
    "  level INTEGER CHECK (level BETWEEN 1 AND 5) -- @lww\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE quote (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  number TEXT, -- @server\n"
    "  stage TEXT DEFAULT 'draft', -- @state(quote)\n"
    "  total INTEGER, -- @lww frozen(sent)\n"
    "  account TEXT REFERENCES account(id) -- @lww\n"
    ");\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE line (\n"
    "  id TEXT PRIMARY KEY,\n"
    "  quote TEXT REFERENCES quote(id), -- @lww\n"
    "  amount INTEGER -- @lww frozen(parent)\n"
    ");\n"
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS\n"
    " VALUES('quote', 'draft', 10, 0, '[]'), ('quote', 'sent', 40, 0, '[]');\n"
    "CREATE VIEW satchel_numbers(tbl, col, series, format) AS\n"
    " SELECT 'quote', 'number', 'Q', 'Q-{branch}-{year}-{n:03}';\n";

enum { BATCH_MAX = 16, RUNS = 40 };

struct world {
    struct kit kit;
    char template[100];
    struct satchel_buffer before, expected, expected_but_words, is;
    struct satchel_incoming batch[BATCH_MAX];
    size_t batch_count;
    struct satchel_id device; /* whose request it is */
    struct satchel_message request;
    struct satchel_value arguments[8]; /* of an administrator's */
};

/* ---- the same chance and time every time ---- */

int64_t __wrap_workspace_now_ms(void);
void __wrap_randombytes_buf(void *bytes, size_t size);
uint32_t __wrap_randombytes_uniform(uint32_t below);

static uint8_t chance = 0x5a;

int64_t __wrap_workspace_now_ms(void)
{
    return KIT_NOW_MS;
}

void __wrap_randombytes_buf(void *bytes, size_t size)
{
    memset(bytes, chance, size);
}

uint32_t __wrap_randombytes_uniform(uint32_t below)
{
    return chance % below;
}

/* ---- the same file every time ---- */

static void copy_file(const char *from, const char *to)
{
    static uint8_t bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t size; (size = read(in, bytes, sizeof bytes)) > 0;)
        assert_int_equal(write(out, bytes, (size_t)size), size);
    close(in);
    close(out);
}

static void open_world(struct world *world)
{
    memset(world, 0, sizeof *world);
    kit_open(&world->kit, schema_sql);
    struct satchel_buffer *buffers[] = {&world->before, &world->expected,
                                        &world->expected_but_words, &world->is};
    for (int i = 0; i < 4; i++)
        satchel_buffer_init(buffers[i], (size_t)64 << 20, NULL);
}

/* What is in the store now is what every run begins with. */
static void keep_template(struct world *world)
{
    struct kit *kit = &world->kit;
    database_state(satchel_store_sqlite_db(kit->store), "", &world->before);
    kit_run(kit, "PRAGMA wal_checkpoint(TRUNCATE)");
    snprintf(world->template, sizeof world->template, "%s.template", kit->path);
    copy_file(kit->path, world->template);
    kit->store->ops->close(kit->store);
    kit->store = NULL;
}

static void close_world(struct world *world)
{
    assert_ok(satchel_store_sqlite_open(&world->kit.store, world->kit.path, &world->kit.error));
    unlink(world->template);
    kit_close(&world->kit);
    satchel_buffer_deinit(&world->before);
    satchel_buffer_deinit(&world->expected);
    satchel_buffer_deinit(&world->expected_but_words);
    satchel_buffer_deinit(&world->is);
}

static void put_back(void *context)
{
    struct world *world = context;
    struct kit *kit = &world->kit;
    char beside[100];
    snprintf(beside, sizeof beside, "%s-wal", kit->path);
    unlink(beside);
    copy_file(world->template, kit->path);
    assert_ok(satchel_store_sqlite_open(&kit->store, kit->path, &kit->error));
    kit_run(kit, "PRAGMA synchronous=OFF");
}

/* The same, and the store has done something already: its statements are prepared. */
static void put_back_warm(void *context)
{
    struct world *world = context;
    struct kit *kit = &world->kit;
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    put_back(world);
    assert_ok(kit->store->ops->begin(kit->store, &kit->error));
    assert_ok(satchel_merge_batch(kit->store, world->batch, world->batch_count, KIT_NOW_MS,
                                  outcomes, &kit->error));
    kit->store->ops->rollback(kit->store);
}

/* ---- in a transaction, as the writer thread has it ---- */

static enum satchel_status in_transaction(struct world *world,
                                          enum satchel_status (*work)(struct world *world,
                                                                      struct satchel_error *error),
                                          struct satchel_error *error)
{
    struct satchel_store *store = world->kit.store;
    enum satchel_status status = store->ops->begin(store, error);
    if (status != SATCHEL_OK)
        return status;
    status = work(world, error);
    if (status == SATCHEL_OK)
        status = store->ops->commit(store, error);
    if (status != SATCHEL_OK)
        store->ops->rollback(store);
    return status;
}

/* Where SQLite itself does without memory: its words for a constraint, which a quarantined part
 * keeps, are then fewer. */
static const char words_of_sqlite[] = "|notes|reason|";

/* After a run: all or nothing; then, if it was nothing, all. */
static void judge(struct world *world, enum satchel_status status,
                  enum satchel_status (*run)(void *context, struct satchel_error *error))
{
    struct kit *kit = &world->kit;
    sqlite3 *db = satchel_store_sqlite_db(kit->store);
    bool has_all_words = status != SATCHEL_OK || !memory_has_failed();
    if (status != SATCHEL_OK) {
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        kit->store->ops->rollback(kit->store); /* there may have been no memory for that */
        assert_true(sqlite3_get_autocommit(db));
        database_state(db, "", &world->is);
        assert_same_state(&world->is, &world->before);
        if (run(world, &error) != SATCHEL_OK)
            fail_msg("with memory again: %s", error.message);
    }
    if (world->expected.size == 0) { /* the first run, with memory that holds */
        database_state(db, "", &world->expected);
        database_state(db, words_of_sqlite, &world->expected_but_words);
    }
    database_state(db, has_all_words ? "" : words_of_sqlite, &world->is);
    assert_same_state(&world->is, has_all_words ? &world->expected : &world->expected_but_words);
    kit->store->ops->close(kit->store);
}

/* ---- a batch ---- */

static void add(struct world *world, uint8_t device, uint64_t number, int64_t ms, uint64_t seen,
                const struct satchel_part *parts, uint32_t part_count)
{
    assert_true(world->batch_count < BATCH_MAX);
    world->batch[world->batch_count++] =
        kit_changeset(&world->kit, device, number, ms, seen, parts, part_count);
}

/* Two devices that did not know of each other, on every rule; duplicates, a quarantined part, lines
 * of a quote that froze, a document number. */
static void make_batch(struct world *world)
{
    struct kit *kit = &world->kit;
    kit_push(kit, 1, 1, 0, 0,
             kit_part(kit, INSERT, "account", "a", 1, text("A"), 3, integer(2), 4,
                      text("[\"x\",\"y\"]"), 5, text("{\"k\":1}"), 6, text("one\ntwo\nthree\n"),
                      -1));
    kit_push(kit, 1, 2, 1, 1, kit_part(kit, INSERT, "quote", "q", 3, integer(1), -1));
    kit_push(kit, 1, 3, 2, 1, kit_part(kit, INSERT, "line", "l", 1, text("q"), 2, integer(1), -1));
    for (uint8_t device = 2; device < 4; device++) {
        const char *const d = device == 2 ? "two" : "zwei";
        const struct satchel_part edits[] = {
            kit_part(kit, UPDATE, "account", "a", 1, text(d), 3, integer(device), 4,
                     text(device == 2 ? "[[\"z\"],[\"x\"]]" : "[[],[\"y\"]]"), 5,
                     text(device == 2 ? "[{\"k\":2},[]]" : "[{\"k\":3,\"m\":4},[]]"), 6,
                     text(device == 2 ? "one\nTWO\nthree\n" : "one\ntwo\nthree\nfour\n"), -1),
            kit_part(kit, INSERT, "account", d, 2, text("0123 456"), 7, integer(device * 2), -1),
            kit_part(kit, INSERT, "quote", d, 4, text(d), -1)};
        const struct satchel_part later[] = {
            kit_part(kit, UPDATE, "quote", "q", 2, text("[\"draft\",\"sent\"]"), 3, integer(device),
                     -1),
            kit_part(kit, UPDATE, "line", "l", 2, integer(device), -1),
            kit_part(kit, device == 2 ? DELETE : UPDATE, "account", "a", device == 2 ? -1 : 1,
                     text("still"), -1)};
        add(world, device, 1, 100 + device, 3, edits, 3);
        add(world, device, 2, 200 + device, 3, later, 3);
    }
    world->batch[world->batch_count] = world->batch[0]; /* sent twice */
    world->batch_count++;
}

static enum satchel_status merge(struct world *world, struct satchel_error *error)
{
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    return satchel_merge_batch(world->kit.store, world->batch, world->batch_count, KIT_NOW_MS,
                               outcomes, error);
}

static enum satchel_status run_merge(void *context, struct satchel_error *error)
{
    return in_transaction(context, merge, error);
}

static void finish_merge(void *context, enum satchel_status status)
{
    judge(context, status, run_merge);
}

static void test_memory__a_batch_is_merged_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    make_batch(&world);
    keep_template(&world);
    memory_scenario_run(
        &(struct memory_scenario){"merge, first", put_back, run_merge, finish_merge}, &world, RUNS);
    memory_scenario_run(
        &(struct memory_scenario){"merge, later", put_back_warm, run_merge, finish_merge}, &world,
        2 * RUNS);
    close_world(&world);
}

/* ---- opening, packing ---- */

static void remove_store(void *context)
{
    struct world *world = context;
    put_back(world);
    world->kit.store->ops->close(world->kit.store);
    world->kit.store = NULL;
}

static enum satchel_status run_open(void *context, struct satchel_error *error)
{
    struct world *world = context;
    return satchel_store_sqlite_open(&world->kit.store, world->kit.path, error);
}

static void finish_open(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_ok(run_open(world, &error));
    database_state(satchel_store_sqlite_db(world->kit.store), "", &world->is);
    assert_same_state(&world->is, &world->before);
    world->kit.store->ops->close(world->kit.store);
}

static enum satchel_status pack(struct world *world, struct satchel_error *error)
{
    uint32_t packed;
    return satchel_log_pack(satchel_store_sqlite_db(world->kit.store), 0, 1, &packed, error);
}

static enum satchel_status run_pack(void *context, struct satchel_error *error)
{
    return in_transaction(context, pack, error);
}

static void finish_pack(void *context, enum satchel_status status)
{
    judge(context, status, run_pack);
}

static void test_memory__a_store_is_opened_and_its_log_packed_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    make_batch(&world);
    struct satchel_incoming_outcome outcomes[BATCH_MAX];
    kit_merge(&world.kit, world.batch, world.batch_count, outcomes);
    keep_template(&world);
    memory_scenario_run(&(struct memory_scenario){"open", remove_store, run_open, finish_open},
                        &world, RUNS);
    memory_scenario_run(&(struct memory_scenario){"pack", put_back, run_pack, finish_pack}, &world,
                        RUNS);
    close_world(&world);
}

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

/* The batch, and the first change set of a device that the store does not know, as the node that
 * the store is now once sent them. */
static void make_forward(struct world *world)
{
    struct kit *kit = &world->kit;
    struct incarnations known;
    const struct satchel_part part = kit_part(kit, INSERT, "line", "new", 2, integer(5), -1);
    add(world, 12, 1, 300, 3, &part, 1);
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
    chance = 0xc3; /* of the incarnation that begins */
    keep_template(&world);
    check_request(&world, "a node is another incarnation", be_renewed);
    put_back(&world);
    assert_ok(incarnation_begin(satchel_store_sqlite_db(world.kit.store), &world.kit.error));
    keep_template(&world);
    check_request(&world, "forward", take_back);
    chance = 0x5a;
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
    enum satchel_status status = rows_read(&reader, job);
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

/* ---- the schema ---- */

static enum satchel_status deploy(struct world *world, struct satchel_error *error)
{
    const struct satchel_migration migrations[] = {
        {1, satchel_span_text("001_init.sql"), satchel_span_text(schema_sql)},
        {2, satchel_span_text("002_more.sql"),
         satchel_span_text("ALTER TABLE line ADD COLUMN note TEXT DEFAULT 'n'; -- @lww\n"
                           "-- @table scope=all delete=forbid\n"
                           "CREATE TABLE unit(id TEXT PRIMARY KEY);\n"
                           "INSERT INTO unit VALUES('kg'), ('m');\n")}};
    struct satchel_arena arena;
    const char *notice;
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    enum satchel_status status =
        deploy_migrations(world->kit.store, migrations, 2, KIT_NOW_MS, &arena, &notice, error);
    satchel_arena_deinit(&arena);
    return status;
}

static enum satchel_status run_deploy(void *context, struct satchel_error *error)
{
    return in_transaction(context, deploy, error);
}

static void finish_deploy(void *context, enum satchel_status status)
{
    struct world *world = context;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    if (status != SATCHEL_OK)
        assert_ok(deploy_reload(world->kit.store, &error));
    judge(world, status, run_deploy);
}

static void test_memory__migrations_are_deployed_whole_or_not(void **state)
{
    (void)state;
    struct world world;
    open_world(&world);
    kit_push(&world.kit, 1, 1, 0, 0, kit_part(&world.kit, INSERT, "line", "l", -1));
    keep_template(&world);
    memory_scenario_run(&(struct memory_scenario){"deploy", put_back, run_deploy, finish_deploy},
                        &world, RUNS);
    close_world(&world);
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__a_batch_is_merged_whole_or_not),
        cmocka_unit_test(test_memory__a_store_is_opened_and_its_log_packed_or_not),
        cmocka_unit_test(test_memory__an_administrator_changes_all_or_nothing),
        cmocka_unit_test(test_memory__what_is_given_back_is_taken_whole_or_not),
        cmocka_unit_test(test_memory__a_copy_is_enrolled_or_not),
        cmocka_unit_test(test_memory__rows_are_answered_whole_or_not),
        cmocka_unit_test(test_memory__migrations_are_deployed_whole_or_not),
    };
    failing_memory_install();
    if (argument_count > 1) /* one of them, as cmocka has patterns */
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
