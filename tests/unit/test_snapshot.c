/* A new device's first rows, as the server gives them: a snapshot is of one moment, and its first
 * pages come while others are still being read. */
#include "workspace_kit.h"

#include <satchel/entry.h>

/* More pages than are read before one is sent. */
enum { ITEMS = 50000, ROWS = ITEMS + 3 };
static const char items_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE person (login TEXT PRIMARY KEY, id TEXT, role TEXT, active INTEGER DEFAULT 1);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE item (id TEXT PRIMARY KEY, name TEXT, stock INTEGER DEFAULT 0 -- @counter\n);\n"
    "CREATE VIEW satchel_users AS SELECT login, id, role, active FROM person;\n"
    "INSERT INTO person(login, id, role) VALUES ('ann', 'u1', 'rep'), ('bob', 'u2', 'hq'),"
    " ('cat', 'u3', 'rep');\n"
    "INSERT INTO item(id, name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
    " WHERE i < 50000) SELECT 'i' || i, printf('%0100d', i) FROM n;\n";

/* What a device hears of its snapshot, page after page. */
struct reader {
    struct fixture *fixture;
    struct satchel_id device;
    struct satchel_message_snapshot last; /* without vector and notes */
    size_t rows;                          /* in `last` */
    bool has_item;                        /* i0 was among them */
};

static struct device join_as(struct fixture *fixture, uint8_t number, const char *login)
{
    char code[32];
    struct device device = device_new(number);
    invite(fixture, login, code);
    assert_ok(join(fixture, &device, code));
    return device;
}

static void open_items(struct fixture *fixture)
{
    fixture_open(fixture);
    if (create(fixture, "w", items_sql) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
}

static void read_notes(struct reader *reader, struct satchel_span bytes)
{
    struct satchel_arena arena;
    struct satchel_notes notes;
    satchel_arena_init(&arena, 64 << 20, NULL);
    assert_ok(satchel_notes_read(bytes, &arena, &notes));
    reader->rows = notes.effect_count;
    for (uint32_t i = 0; i < notes.effect_count; i++)
        reader->has_item = reader->has_item || satchel_span_equal(notes.effects[i].key[0].bytes,
                                                                  satchel_span_text("i0"));
    satchel_arena_deinit(&arena);
}

static void ask(struct reader *reader, const struct satchel_id *snapshot, uint64_t page)
{
    static const struct satchel_id none;
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_SNAPSHOT);
    job->device = reader->device;
    job->request.snapshot_request =
        (struct satchel_message_snapshot_request){snapshot ? *snapshot : none, page};
    if (run(reader->fixture, job) != SATCHEL_OK)
        fail_msg("%s", job->error.message);
    assert_int_equal(job->answer_count, 1);
    reader->last = job->answers[0].snapshot;
    reader->rows = 0;
    if (reader->last.notes.size > 0)
        read_notes(reader, reader->last.notes);
    satchel_job_free(job);
}

static void test_snapshot__it_is_of_one_moment_and_comes_while_it_is_read(void **state)
{
    (void)state;
    struct fixture fixture;
    open_items(&fixture);
    struct device ann = join_as(&fixture, 1, "ann"), bob = join_as(&fixture, 2, "bob");
    struct reader reader = {.fixture = &fixture, .device = ann.id};
    ask(&reader, NULL, 0);
    struct satchel_id id = reader.last.snapshot;
    uint64_t cursor = reader.last.cursor, page = 0;
    size_t rows = reader.rows;
    assert_int_equal(reader.last.page_count, 0); /* nobody knows yet */
    assert_int_equal(reader.last.row_count, 0);
    assert_true(rows > 0);
    assert_ok(push(&fixture, &bob, 1, "i0", 0)); /* nobody waits for it */
    while (reader.last.page_count == 0 || page + 1 < reader.last.page_count) {
        ask(&reader, &id, ++page);
        assert_true(satchel_id_equal(&reader.last.snapshot, &id));
        assert_int_equal(reader.last.page, page);
        assert_int_equal(reader.last.cursor, cursor);
        rows += reader.rows;
    }
    assert_int_equal(rows, ROWS);
    assert_int_equal(reader.last.row_count, ROWS);
    assert_false(reader.has_item);
    /* Who asked before it was known hears that there is no such page; who asks again gets it. */
    uint64_t count = reader.last.page_count;
    ask(&reader, &id, count + 1);
    assert_int_equal(reader.last.notes.size, 0);
    assert_int_equal(reader.last.page_count, count);
    ask(&reader, &id, 0);
    assert_true(reader.rows > 0);
    ask(&reader, NULL, 0); /* as another sync of the replica would */
    assert_true(satchel_id_equal(&reader.last.snapshot, &id));
    fixture_close(&fixture);
}

static void test_snapshot__one_is_read_at_a_time(void **state)
{
    (void)state;
    struct fixture fixture;
    open_items(&fixture);
    struct device ann = join_as(&fixture, 1, "ann"), bob = join_as(&fixture, 2, "bob");
    struct reader first = {.fixture = &fixture, .device = ann.id};
    struct reader second = {.fixture = &fixture, .device = bob.id};
    ask(&first, NULL, 0);
    struct satchel_id id = first.last.snapshot;
    assert_int_equal(first.last.page_count, 0);
    ask(&second, NULL, 0);
    assert_true(second.rows > 0);
    assert_false(satchel_id_equal(&second.last.snapshot, &id));
    ask(&first, &id, 1);
    assert_int_equal(first.last.row_count, ROWS); /* the first one is whole by now */
    ask(&second, &second.last.snapshot, 1000000);
    assert_int_equal(second.last.row_count, ROWS);
    assert_int_equal(second.last.notes.size, 0);
    fixture_close(&fixture);
}

static void test_snapshot__a_workspace_may_close_while_one_is_read(void **state)
{
    (void)state;
    struct fixture fixture;
    open_items(&fixture);
    struct device ann = join_as(&fixture, 1, "ann");
    struct reader reader = {.fixture = &fixture, .device = ann.id};
    ask(&reader, NULL, 0);
    struct satchel_id id = reader.last.snapshot;
    reopen(&fixture);
    ask(&reader, &id, 1);
    assert_true(satchel_id_is_zero(&reader.last.snapshot)); /* it is no more */
    ask(&reader, NULL, 0);
    assert_true(reader.rows > 0);
    fixture_close(&fixture);
}

static void test_snapshot__where_there_are_no_rows_there_is_a_page_without_any(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture);
    assert_ok(create(&fixture, "w", kit_plain_sql));
    struct satchel_job *job = verb(SATCHEL_JOB_ADMIN, "user.add", "w", "ann", "rep", NULL);
    assert_ok(run(&fixture, job));
    satchel_job_free(job);
    struct device ann = join_as(&fixture, 1, "ann");
    struct reader reader = {.fixture = &fixture, .device = ann.id};
    ask(&reader, NULL, 0);
    assert_int_equal(reader.last.page_count, 1);
    assert_int_equal(reader.last.row_count, 0);
    assert_int_equal(reader.rows, 0);
    assert_true(reader.last.notes.size > 0);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot__it_is_of_one_moment_and_comes_while_it_is_read),
        cmocka_unit_test(test_snapshot__one_is_read_at_a_time),
        cmocka_unit_test(test_snapshot__a_workspace_may_close_while_one_is_read),
        cmocka_unit_test(test_snapshot__where_there_are_no_rows_there_is_a_page_without_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
