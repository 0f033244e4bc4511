/* The SQL functions: identifiers that never repeat, and who and when this is. */
#include "sql_support.h"

#include <satchel/functions.h>

#include "sha1.h"

struct who {
    bool is_applying;
    int64_t ms;
    const char *device, *user, *role;
};

static bool who_applying(void *context)
{
    return ((struct who *)context)->is_applying;
}
static int64_t who_now(void *context)
{
    return ((struct who *)context)->ms;
}
static const char *who_device(void *context)
{
    return ((struct who *)context)->device;
}
static const char *who_user(void *context)
{
    return ((struct who *)context)->user;
}
static const char *who_role(void *context)
{
    return ((struct who *)context)->role;
}

static struct satchel_identity identity_of(struct who *who)
{
    return (struct satchel_identity){who, who_applying, who_now, who_device, who_user, who_role};
}

#define DEVICE_A "000102030405060708090a0b0c0d0e0f"
#define DEVICE_B "f00102030405060708090a0b0c0d0e0f"

static void test_functions__sha1_gives_the_digests_of_rfc_3174(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int repeat;
        const char *digest;
    } cases[] = {
        {"abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {"a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
        {"0123456701234567012345670123456701234567012345670123456701234567", 10,
         "dea356a2cddd90c7a7ecedc5ebb563934f460452"},
        {"", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct satchel_sha1 sha1;
        uint8_t digest[SATCHEL_SHA1_BYTES];
        char text[2 * SATCHEL_SHA1_BYTES + 1];
        satchel_sha1_init(&sha1);
        for (int j = 0; j < cases[i].repeat; j++)
            satchel_sha1_update(&sha1, cases[i].text, strlen(cases[i].text));
        satchel_sha1_final(&sha1, digest);
        satchel_hex(satchel_span_of(digest, sizeof digest), text);
        assert_string_equal(text, cases[i].digest);
    }
}

static void test_functions__uuids_are_version_7_and_ascend_even_if_the_clock_does_not(void **state)
{
    (void)state;
    struct who who = {.ms = INT64_C(0x0123456789ab)};
    struct satchel_identity identity = identity_of(&who);
    sqlite3 *db = sql_open("CREATE TABLE u(n INTEGER PRIMARY KEY, id TEXT UNIQUE)");
    assert_int_equal(satchel_functions_register(db, &identity), SQLITE_OK);
    static const char fill[] =
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000)"
        " INSERT INTO u(id) SELECT satchel_uuid() FROM c";
    sql_run(db, fill);
    who.ms -= 1000000;
    sql_run(db, fill);
    who.ms += 2000000;
    sql_run(db, fill);
    assert_string_equal(
        sql_rows(db, "SELECT count(*), sum(id LIKE '012345__-____-7___-____-____________'),"
                     " sum(substr(id, 20, 1) IN('8', '9', 'a', 'b')) FROM u"),
        "60000|60000|60000");
    assert_string_equal(sql_rows(db, "SELECT count(*) FROM u a JOIN u b ON b.n = a.n + 1"
                                     " WHERE a.id >= b.id"),
                        "0");
    assert_string_equal(sql_rows(db, "SELECT substr(id, 1, 13) FROM u WHERE n IN(1, 60000)"),
                        "01234567-89ab\n01234576-cbeb");
    sql_close(db);
}

static void test_functions__ids_are_positive_and_never_repeat_on_one_or_two_devices(void **state)
{
    (void)state;
    struct who a = {.ms = INT64_C(1700000000000), .device = DEVICE_A};
    struct who b = {.ms = INT64_C(1700000000000), .device = DEVICE_B};
    struct satchel_identity identity_a = identity_of(&a), identity_b = identity_of(&b);
    sqlite3 *db = sql_open("CREATE TABLE u(id INTEGER PRIMARY KEY)");
    static const char fill[] =
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000)"
        " INSERT INTO u SELECT satchel_id() FROM c";
    assert_int_equal(satchel_functions_register(db, &identity_a), SQLITE_OK);
    sql_run(db, fill);
    a.ms += 1;
    sql_run(db, fill);
    a.ms -= 5000;
    sql_run(db, fill);
    assert_int_equal(satchel_functions_register(db, &identity_b), SQLITE_OK);
    sql_run(db, fill); /* the same milliseconds, all of them in bulk */
    assert_string_equal(sql_rows(db, "SELECT count(*), min(id) > 0 FROM u"), "80000|1");
    sql_run(db, "DELETE FROM u");
    b.ms = 0; /* a clock before 2020 gives positive numbers too */
    assert_int_equal(satchel_functions_register(db, &identity_b), SQLITE_OK);
    sql_run(db, fill);
    b.ms = INT64_C(4000000000000); /* 2096: past the 41 bits */
    sql_run(db, fill);
    assert_string_equal(sql_rows(db, "SELECT count(*), min(id) > 0 FROM u"), "40000|1");
    sql_close(db);
}

static void test_functions__uuid5_is_the_same_forever_and_tells_its_values_apart(void **state)
{
    (void)state;
    struct who who = {.ms = 0};
    struct satchel_identity identity = identity_of(&who);
    sqlite3 *db = sql_open(NULL);
    assert_int_equal(satchel_functions_register(db, &identity), SQLITE_OK);
    assert_string_equal(sql_rows(db, "SELECT satchel_uuid5('ab', 'c')"),
                        "1cfe49eb-c1ae-5416-abad-f0873a2ccfce");
    assert_string_equal(sql_rows(db, "SELECT satchel_uuid5(NULL, -1, 1.5, x'00ff', '')"),
                        "e689f3e3-f6ec-5a9a-9799-afc60e81402c");
    assert_string_equal(
        sql_rows(db, "SELECT count(DISTINCT id) FROM (SELECT satchel_uuid5('ab', 'c') AS id"
                     " UNION ALL SELECT satchel_uuid5('a', 'bc')"
                     " UNION ALL SELECT satchel_uuid5('abc')"
                     " UNION ALL SELECT satchel_uuid5(x'616263')"
                     " UNION ALL SELECT satchel_uuid5(1) UNION ALL SELECT satchel_uuid5(1.0)"
                     " UNION ALL SELECT satchel_uuid5('1') UNION ALL SELECT satchel_uuid5(NULL)"
                     " UNION ALL SELECT satchel_uuid5(''))"),
        "9");
    assert_int_equal(sqlite3_exec(db, "SELECT satchel_uuid5()", NULL, NULL, NULL), SQLITE_ERROR);
    /* deterministic: it may stand in an index */
    sql_run(db, "CREATE TABLE t(a, b); CREATE INDEX i ON t(satchel_uuid5(a, b))");
    sql_close(db);
}

static void test_functions__say_who_and_when_with_null_for_the_unknown(void **state)
{
    (void)state;
    struct who who = {.is_applying = true, .ms = 1234, .device = DEVICE_A, .user = "eva"};
    struct satchel_identity identity = identity_of(&who);
    sqlite3 *db = sql_open(NULL);
    assert_int_equal(satchel_functions_register(db, &identity), SQLITE_OK);
    static const char all[] = "SELECT satchel_applying(), satchel_now(), satchel_device(),"
                              " satchel_user(), satchel_role()";
    assert_string_equal(sql_rows(db, all), "1|1234|" DEVICE_A "|eva|NULL");
    who = (struct who){.role = "rep"};
    assert_string_equal(sql_rows(db, all), "0|0|NULL|NULL|rep");
    /* they may stand in a schema that is not trusted */
    sql_run(db, "PRAGMA trusted_schema = OFF;"
                "CREATE TABLE t(id DEFAULT (satchel_uuid()), n DEFAULT (satchel_id()));"
                "INSERT INTO t DEFAULT VALUES;"
                "CREATE VIEW v AS SELECT satchel_role() AS r");
    assert_string_equal(sql_rows(db, "SELECT r, length(id), n > 0 FROM v, t"), "rep|36|1");
    sql_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions__sha1_gives_the_digests_of_rfc_3174),
        cmocka_unit_test(test_functions__uuids_are_version_7_and_ascend_even_if_the_clock_does_not),
        cmocka_unit_test(test_functions__ids_are_positive_and_never_repeat_on_one_or_two_devices),
        cmocka_unit_test(test_functions__uuid5_is_the_same_forever_and_tells_its_values_apart),
        cmocka_unit_test(test_functions__say_who_and_when_with_null_for_the_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
