/* The files behind backup and restore: a snapshot is one moment, what comes back is checked, one
 * file takes another's place or nothing has happened. */
#include "store_file.h"
#include "workspace_kit.h"

#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path_of(const struct fixture *fixture, const char *file)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", fixture->directory, file);
    return path;
}

static bool exists(const struct fixture *fixture, const char *file)
{
    struct stat found;
    return stat(path_of(fixture, file), &found) == 0;
}

/* The first value of a statement on a database of the directory, as text. */
static const char *ask(const struct fixture *fixture, const char *file, const char *statement)
{
    static char text[200];
    sqlite3 *db = NULL;
    sqlite3_stmt *prepared = NULL;
    assert_int_equal(sqlite3_open_v2(path_of(fixture, file), &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, statement, -1, &prepared, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(prepared), SQLITE_ROW);
    snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(prepared, 0));
    sqlite3_finalize(prepared);
    sqlite3_close(db);
    return text;
}

static void init(struct fixture *fixture, struct satchel_store_file *file, const char *name)
{
    static uint64_t number;
    assert_ok(store_file_init(file, fixture->directory, name, ++number, &fixture->error));
}

/* A whole snapshot of "w" in memory. */
static void back_up(struct fixture *fixture, struct satchel_buffer *whole, uint8_t hash[32])
{
    struct satchel_store_file file;
    struct satchel_buffer chunk;
    satchel_buffer_init(whole, 64 << 20, NULL);
    satchel_buffer_init(&chunk, STORE_FILE_CHUNK_BYTES_MAX, NULL);
    init(fixture, &file, "w");
    if (store_file_take(&file, "w", &fixture->error) != SATCHEL_OK)
        fail_msg("%s", fixture->error.message);
    while (whole->size < file.bytes) {
        assert_ok(store_file_read(&file, whole->size, &chunk, &fixture->error));
        assert_ok(satchel_buffer_append(whole, chunk.data, chunk.size));
    }
    assert_int_equal(whole->size, file.bytes);
    memcpy(hash, file.hash, 32);
    satchel_buffer_deinit(&chunk);
    store_file_deinit(&file);
}

/* Sends `bytes` and has them checked as `name`; the file is left to the caller. */
static enum satchel_status send(struct fixture *fixture, struct satchel_store_file *file,
                                const char *name, struct satchel_span bytes)
{
    uint8_t hash[32];
    crypto_generichash(hash, sizeof hash, bytes.data, bytes.size, NULL, 0);
    init(fixture, file, name);
    enum satchel_status status = store_file_expect(file, bytes.size, &fixture->error);
    if (status == SATCHEL_OK)
        status = store_file_write(file, 0, bytes, &fixture->error);
    return status == SATCHEL_OK ? store_file_check(file, name, hash, &fixture->error) : status;
}

static void test_store_file__a_snapshot_is_a_whole_store_of_its_owner_alone(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_store_file file;
    struct satchel_buffer chunk;
    struct stat facts;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    satchel_buffer_init(&chunk, STORE_FILE_CHUNK_BYTES_MAX, NULL);
    init(&fixture, &file, "w");
    assert_ok(store_file_take(&file, "w", &fixture.error));
    assert_ok(push(&fixture, &ann, 2, "i2", 0));
    assert_int_equal(file.entry_count, 2); /* the first rows, and i1 */
    const char *name = strrchr(file.path, '/') + 1;
    assert_int_equal(stat(file.path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_int_equal(facts.st_size, file.bytes);
    assert_string_equal(ask(&fixture, name, "PRAGMA integrity_check"), "ok");
    assert_string_equal(ask(&fixture, name, "PRAGMA journal_mode"), "delete");
    assert_string_equal(ask(&fixture, name, "SELECT group_concat(id) FROM item"), "i1");
    assert_int_equal(store_file_read(&file, file.bytes, &chunk, &fixture.error), SATCHEL_INVALID);
    assert_int_equal(store_file_read(&file, UINT64_MAX, &chunk, &fixture.error), SATCHEL_INVALID);
    assert_ok(store_file_read(&file, file.bytes - 1, &chunk, &fixture.error));
    assert_int_equal(chunk.size, 1);
    satchel_buffer_deinit(&chunk);
    store_file_deinit(&file);
    assert_int_equal(stat(path_of(&fixture, "w.db.new-1"), &facts), -1);
    fixture_close(&fixture);
}

static void test_store_file__what_is_given_up_ends(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_store_file file;
    open_joined(&fixture, &ann, &bob);
    init(&fixture, &file, "w");
    atomic_store(&file.is_cancelled, true);
    assert_int_equal(store_file_take(&file, "w", &fixture.error), SATCHEL_STATE);
    store_file_deinit(&file);
    fixture_close(&fixture);
}

static void test_store_file__what_comes_back_is_named_and_another_incarnation(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_store_file file;
    struct satchel_buffer whole;
    uint8_t hash[32];
    char node[40];
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    back_up(&fixture, &whole, hash);
    snprintf(node, sizeof node, "%s",
             ask(&fixture, "w.db", "SELECT lower(hex(node)) FROM satchel_workspace"));
    assert_ok(send(&fixture, &file, "other", satchel_buffer_span(&whole)));
    struct satchel_id id = satchel_workspace_id(fixture.workspace);
    assert_true(satchel_id_equal(&file.workspace_id, &id));
    assert_int_equal(file.entry_count, 2);
    const char *name = strrchr(file.path, '/') + 1;
    assert_string_equal(ask(&fixture, name, "SELECT name FROM satchel_workspace"), "other");
    assert_string_not_equal(ask(&fixture, name, "SELECT lower(hex(node)) FROM satchel_workspace"),
                            node);
    assert_string_equal(ask(&fixture, name, "SELECT lower(hex(node)) FROM satchel_incarnation"),
                        node);
    assert_string_equal(ask(&fixture, name, "SELECT group_concat(id) FROM item"), "i1");
    store_file_deinit(&file);
    satchel_buffer_deinit(&whole);
    fixture_close(&fixture);
}

static void test_store_file__bytes_come_in_order_and_no_more_than_said(void **state)
{
    (void)state;
    struct fixture fixture;
    struct satchel_store_file file;
    struct satchel_span piece = satchel_span_of("0123456789abcdef", 16);
    uint8_t hash[32] = {0};
    fixture_open(&fixture);
    init(&fixture, &file, "w");
    assert_int_equal(store_file_expect(&file, 0, &fixture.error), SATCHEL_INVALID);
    assert_int_equal(store_file_expect(&file, INT64_MAX, &fixture.error), SATCHEL_IO);
    assert_non_null(strstr(fixture.error.message, "MiB free"));
    assert_ok(store_file_expect(&file, 520, &fixture.error));
    assert_int_equal(store_file_write(&file, 1, piece, &fixture.error), SATCHEL_INVALID);
    assert_ok(store_file_write(&file, 0, piece, &fixture.error));
    assert_int_equal(store_file_write(&file, 0, piece, &fixture.error), SATCHEL_INVALID);
    for (uint64_t offset = 16; offset < 512; offset += 16)
        assert_ok(store_file_write(&file, offset, piece, &fixture.error));
    assert_int_equal(store_file_write(&file, 512, piece, &fixture.error), SATCHEL_INVALID);
    assert_int_equal(store_file_check(&file, "w", hash, &fixture.error), SATCHEL_INVALID);
    assert_string_equal(fixture.error.message, "only 512 of 520 bytes have come");
    store_file_deinit(&file);
    fixture_close(&fixture);
}

static void refuse(struct fixture *fixture, struct satchel_span bytes, enum satchel_status status,
                   const char *words)
{
    struct satchel_store_file file;
    assert_int_equal(send(fixture, &file, "w", bytes), status);
    if (!strstr(fixture->error.message, words))
        fail_msg("no '%s' in '%s'", words, fixture->error.message);
    store_file_deinit(&file);
}

static void test_store_file__what_is_no_sound_store_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_store_file file;
    struct satchel_buffer whole;
    uint8_t hash[32], zeros[4096] = {0};
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    back_up(&fixture, &whole, hash);
    struct satchel_span bytes = satchel_buffer_span(&whole);

    refuse(&fixture, satchel_span_of(zeros, sizeof zeros), SATCHEL_CORRUPT, "database");
    refuse(&fixture, satchel_span_of(bytes.data, bytes.size / 2), SATCHEL_CORRUPT, "");
    refuse(&fixture, satchel_span_of(bytes.data, bytes.size - 1000), SATCHEL_CORRUPT, "");

    init(&fixture, &file, "w"); /* another hash */
    assert_ok(store_file_expect(&file, bytes.size, &fixture.error));
    assert_ok(store_file_write(&file, 0, bytes, &fixture.error));
    hash[0] ^= 1;
    assert_int_equal(store_file_check(&file, "w", hash, &fixture.error), SATCHEL_CORRUPT);
    store_file_deinit(&file);

    memset(whole.data + 3 * 4096, 0x5a, 4096); /* a page in the middle */
    refuse(&fixture, bytes, SATCHEL_CORRUPT, "damaged");
    satchel_buffer_deinit(&whole);

    satchel_buffer_init(&whole, 64 << 20, NULL); /* a database of something else */
    sqlite3 *db = NULL;
    sqlite3_int64 size = 0;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a)", NULL, NULL, NULL), SQLITE_OK);
    unsigned char *image = sqlite3_serialize(db, "main", &size, 0);
    refuse(&fixture, satchel_span_of(image, (size_t)size), SATCHEL_MISMATCH, "no central store");
    sqlite3_free(image);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE satchel_workspace(format, node);"
                                  "INSERT INTO satchel_workspace VALUES(9, zeroblob(16))",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    image = sqlite3_serialize(db, "main", &size, 0);
    refuse(&fixture, satchel_span_of(image, (size_t)size), SATCHEL_VERSION, "format 9");
    sqlite3_free(image);
    sqlite3_close(db);
    fixture_close(&fixture);
}

/* The disk is full at every step of the way in turn. */
static void test_store_file__a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct rlimit before, small;
    bool was_taken = false, was_sent = false;
    struct satchel_buffer whole;
    uint8_t hash[32];
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    back_up(&fixture, &whole, hash);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    for (rlim_t pages = 1; !was_taken || !was_sent; pages += 3) {
        struct satchel_store_file taken, sent;
        small.rlim_cur = pages * 4096;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        init(&fixture, &taken, "w");
        enum satchel_status take = store_file_take(&taken, "w", &fixture.error);
        enum satchel_status come = send(&fixture, &sent, "w", satchel_buffer_span(&whole));
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        was_taken = take == SATCHEL_OK;
        was_sent = come == SATCHEL_OK;
        assert_true(was_taken || take == SATCHEL_IO);
        assert_true(was_sent || come == SATCHEL_IO);
        store_file_deinit(&taken);
        store_file_deinit(&sent);
        assert_true(pages < 1000);
    }
    assert_ok(push(&fixture, &ann, 2, "i2", 0));
    satchel_workspace_close(fixture.workspace);
    fixture.workspace = NULL;
    char command[200], left[16] = "";
    snprintf(command, sizeof command, "ls %s | tr '\\n' ' '", fixture.directory);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(left, sizeof left, list));
    pclose(list);
    assert_string_equal(left, "w.db ");
    satchel_buffer_deinit(&whole);
    fixture_close(&fixture);
}

/* ---- one file in the place of another ---- */

static void put(const struct fixture *fixture, const char *file, const char *text)
{
    FILE *out = fopen(path_of(fixture, file), "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static const char *content(const struct fixture *fixture, const char *file)
{
    static char text[64];
    FILE *in = fopen(path_of(fixture, file), "r");
    if (!in)
        return "(none)";
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    fclose(in);
    return text;
}

#define MOMENT_MS INT64_C(1750000000000) /* 2025-06-15 15:06:40 UTC */
#define REPLACED "w.db.replaced-20250615T150640Z"

static void replace(struct fixture *fixture, enum satchel_status expected, const char *replaced)
{
    char path[WORKSPACE_PATH_BYTES_MAX], was[WORKSPACE_PATH_BYTES_MAX];
    bool is_replaced;
    snprintf(path, sizeof path, "%s", path_of(fixture, "w.db.new-1"));
    assert_int_equal(workspace_replace_file(fixture->directory, "w", path, MOMENT_MS, &is_replaced,
                                            was, &fixture->error),
                     expected);
    assert_int_equal(is_replaced, expected == SATCHEL_OK);
    assert_string_equal(was[0] ? strrchr(was, '/') + 1 : "", replaced);
}

static void test_store_file__what_is_replaced_is_set_aside_with_all_that_belongs_to_it(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture);
    put(&fixture, "w.db.new-1", "first");
    put(&fixture, "w.db-wal", "of nobody");
    replace(&fixture, SATCHEL_OK, "");
    assert_string_equal(content(&fixture, "w.db"), "first");
    assert_false(exists(&fixture, "w.db-wal"));

    put(&fixture, "w.db-wal", "first's");
    put(&fixture, "w.db-shm", "first's");
    put(&fixture, "w.db.new-1", "second");
    replace(&fixture, SATCHEL_OK, REPLACED);
    assert_string_equal(content(&fixture, "w.db"), "second");
    assert_string_equal(content(&fixture, REPLACED), "first");
    assert_string_equal(content(&fixture, REPLACED "-wal"), "first's");
    assert_false(exists(&fixture, "w.db-wal"));
    assert_false(exists(&fixture, "w.db-shm"));

    put(&fixture, "w.db.new-1", "third"); /* in the same second */
    replace(&fixture, SATCHEL_OK, REPLACED "-2");
    assert_string_equal(content(&fixture, "w.db"), "third");
    assert_string_equal(content(&fixture, REPLACED), "first");
    assert_string_equal(content(&fixture, REPLACED "-2"), "second");
    assert_ok(satchel_workspace_sweep(fixture.directory, &fixture.error));
    assert_string_equal(content(&fixture, REPLACED), "first");
    assert_string_equal(content(&fixture, REPLACED "-wal"), "first's");
    assert_string_equal(content(&fixture, REPLACED "-2"), "second");
    fixture_close(&fixture);
}

static void test_store_file__a_replacement_that_fails_has_not_happened(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture);
    put(&fixture, "w.db", "first");
    put(&fixture, "w.db-wal", "first's");
    replace(&fixture, SATCHEL_IO, REPLACED); /* by nothing */
    assert_string_equal(content(&fixture, "w.db"), "first");
    assert_string_equal(content(&fixture, "w.db-wal"), "first's");
    assert_false(exists(&fixture, REPLACED));
    assert_false(exists(&fixture, REPLACED "-wal"));
    fixture_close(&fixture);
}

static void test_store_file__a_start_undoes_a_replacement_that_was_cut_short(void **state)
{
    (void)state;
    struct fixture fixture;
    char first[200], second[200];
    /* cut after the second name of the file, after that of its WAL, after the WAL's first went */
    for (int cut = 0; cut < 3; cut++) {
        fixture_open(&fixture);
        put(&fixture, "w.db", "first");
        put(&fixture, "w.db-wal", "first's");
        put(&fixture, "w.db.new-1", "second");
        put(&fixture, "other.db.replaced-20250615T150640Z", "alone");
        snprintf(first, sizeof first, "%s", path_of(&fixture, "w.db"));
        snprintf(second, sizeof second, "%s", path_of(&fixture, REPLACED));
        assert_int_equal(link(first, second), 0);
        snprintf(first, sizeof first, "%s", path_of(&fixture, "w.db-wal"));
        snprintf(second, sizeof second, "%s", path_of(&fixture, REPLACED "-wal"));
        if (cut > 0)
            assert_int_equal(link(first, second), 0);
        if (cut > 1)
            assert_int_equal(unlink(first), 0);
        assert_ok(satchel_workspace_sweep(fixture.directory, &fixture.error));
        assert_string_equal(content(&fixture, "w.db"), "first");
        assert_string_equal(content(&fixture, "w.db-wal"), "first's");
        assert_string_equal(content(&fixture, "other.db.replaced-20250615T150640Z"), "alone");
        assert_false(exists(&fixture, REPLACED));
        assert_false(exists(&fixture, REPLACED "-wal"));
        assert_false(exists(&fixture, "w.db.new-1"));
        fixture_close(&fixture);
    }
}

int main(void)
{
#define STORE_FILE_TEST(name) cmocka_unit_test(test_store_file__##name)
    const struct CMUnitTest tests[] = {
        STORE_FILE_TEST(a_snapshot_is_a_whole_store_of_its_owner_alone),
        STORE_FILE_TEST(what_is_given_up_ends),
        STORE_FILE_TEST(what_comes_back_is_named_and_another_incarnation),
        STORE_FILE_TEST(bytes_come_in_order_and_no_more_than_said),
        STORE_FILE_TEST(what_is_no_sound_store_is_refused),
        STORE_FILE_TEST(a_full_disk_leaves_nothing_behind),
        STORE_FILE_TEST(what_is_replaced_is_set_aside_with_all_that_belongs_to_it),
        STORE_FILE_TEST(a_replacement_that_fails_has_not_happened),
        STORE_FILE_TEST(a_start_undoes_a_replacement_that_was_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
