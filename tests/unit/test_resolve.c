/* Settling a conflict inside an application that keeps its connection. */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Taking a value of a map says the lost keys again first, in a change set of its own. */
static void test_resolve__that_is_refused_uses_up_no_number(void **state)
{
    (void)state;
    struct town town;
    struct satchel_error error;
    char conflict[SATCHEL_ID_TEXT_BYTES];
    town_open(&town);
    struct phone *ann = town_join(&town), *bob = town_join(&town);
    phone_write(ann, "INSERT INTO item(id, title) VALUES('a', 'new')");
    phone_sync(ann);
    phone_sync(bob);
    phone_write(ann, "UPDATE item SET prefs = '{\"k\":1}'");
    phone_write(bob, "UPDATE item SET prefs = '{\"k\":2}'");
    phone_sync(ann);
    phone_sync(bob);
    phone_sync(ann);
    memcpy(conflict, phone_read(ann, "SELECT id FROM satchel_conflicts"), sizeof conflict);
    phone_write(ann, "UPDATE item SET prefs = '{\"z\":1}', hits = hits + 1");
    assert_int_equal(satchel_resolve(ann->app, conflict, "7", &error), SATCHEL_REFUSED);
    assert_ok(satchel_replica_execute(ann->app->db, "BEGIN", &error));
    assert_int_equal(satchel_resolve(ann->app, conflict, "7", &error), SATCHEL_REFUSED);
    phone_write(ann, "UPDATE item SET hits = hits + 10; COMMIT");
    assert_string_equal(phone_read(ann, "SELECT group_concat(number, ' ') FROM satchel_change"),
                        "3 4");
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT hits FROM item"), "11");
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve__that_is_refused_uses_up_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
