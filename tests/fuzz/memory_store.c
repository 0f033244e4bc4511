/* See memory_store.h. */
#include "memory_store.h"

#include <stdlib.h>
#include <unistd.h>

/* account: 0 id, 1 name, 2 phone, 3 visits, 4 tags, 5 extra, 6 notes, 7 level
 * quote: 0 id, 1 number, 2 stage, 3 total, 4 account; line: 0 id, 1 quote, 2 amount */
const char schema_sql[] =
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

/* ---- the same chance and time every time ---- */

int64_t __wrap_workspace_now_ms(void);
void __wrap_randombytes_buf(void *bytes, size_t size);
uint32_t __wrap_randombytes_uniform(uint32_t below);

uint8_t memory_chance = 0x5a;

int64_t __wrap_workspace_now_ms(void)
{
    return KIT_NOW_MS;
}

void __wrap_randombytes_buf(void *bytes, size_t size)
{
    memset(bytes, memory_chance, size);
}

uint32_t __wrap_randombytes_uniform(uint32_t below)
{
    return memory_chance % below;
}

/* ---- the same file every time ---- */

void open_world(struct world *world)
{
    memset(world, 0, sizeof *world);
    kit_open(&world->kit, schema_sql);
    struct satchel_buffer *buffers[] = {&world->before, &world->expected,
                                        &world->expected_but_words, &world->is};
    for (int i = 0; i < 4; i++)
        satchel_buffer_init(buffers[i], (size_t)64 << 20, NULL);
}

/* What is in the store now is what every run begins with. */
void keep_template(struct world *world)
{
    struct kit *kit = &world->kit;
    database_state(satchel_store_sqlite_db(kit->store), "", &world->before);
    kit_run(kit, "PRAGMA wal_checkpoint(TRUNCATE)");
    snprintf(world->template, sizeof world->template, "%s.template", kit->path);
    memory_copy_file(kit->path, world->template);
    kit->store->ops->close(kit->store);
    kit->store = NULL;
}

void close_world(struct world *world)
{
    assert_ok(satchel_store_sqlite_open(&world->kit.store, world->kit.path, &world->kit.error));
    unlink(world->template);
    kit_close(&world->kit);
    satchel_buffer_deinit(&world->before);
    satchel_buffer_deinit(&world->expected);
    satchel_buffer_deinit(&world->expected_but_words);
    satchel_buffer_deinit(&world->is);
}

void put_back(void *context)
{
    struct world *world = context;
    struct kit *kit = &world->kit;
    char beside[100];
    snprintf(beside, sizeof beside, "%s-wal", kit->path);
    unlink(beside);
    memory_copy_file(world->template, kit->path);
    assert_ok(satchel_store_sqlite_open(&kit->store, kit->path, &kit->error));
    kit_run(kit, "PRAGMA synchronous=OFF");
}

/* ---- in a transaction, as the writer thread has it ---- */

enum satchel_status in_transaction(struct world *world,
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
void judge(struct world *world, enum satchel_status status,
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

void add(struct world *world, uint8_t device, uint64_t number, int64_t ms, uint64_t seen,
         const struct satchel_part *parts, uint32_t part_count)
{
    assert_true(world->batch_count < BATCH_MAX);
    world->batch[world->batch_count++] =
        kit_changeset(&world->kit, device, number, ms, seen, parts, part_count);
}

/* Two devices that did not know of each other, on every rule; duplicates, a quarantined part, lines
 * of a quote that froze, a document number. */
void make_batch(struct world *world)
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
