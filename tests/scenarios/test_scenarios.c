/* The acceptance scenarios of the CRM workspace, each in every order in which its devices can come
 * back, each upload once and twice. Names on the command line play only these scenarios. */
#include "play.h"

#include <dirent.h>
#include <stdlib.h>

#define FOLDER SATCHEL_SOURCE_DIR "/tests/scenarios"
#define SCHEMA SATCHEL_SOURCE_DIR "/examples/crm/schema"

/* Of more orders, every second one has its uploads come twice; of fewer, each is played both ways.
 * SATCHEL_ORDERS in the environment plays about that many of them, spread evenly. */
enum { ORDERS_BOTH_WAYS_MAX = 24, ORDERS_MAX = 120 };

static struct play_schema schema;

static struct scenario *read_scenario(const char *name)
{
    struct satchel_error error = {0};
    struct scenario *scenario = malloc(sizeof *scenario);
    assert_non_null(scenario);
    if (scenario_read(scenario, FOLDER, name, &error) != SATCHEL_OK)
        fail_msg("%s", error.message);
    return scenario;
}

static void drop_scenario(struct scenario *scenario)
{
    scenario_free(scenario);
    free(scenario);
}

static void test_scenario__every_order_ends_as_expected(void **state)
{
    struct scenario *scenario = read_scenario(*state);
    struct play *play = play_new(scenario, &schema);
    const char *limit = getenv("SATCHEL_ORDERS");
    unsigned orders_max = limit ? (unsigned)strtoul(limit, NULL, 10) : ORDERS_MAX, played = 0;
    for (unsigned order = 0; order < play_order_count(play);
         order += 1 + (play_order_count(play) - 1) / orders_max) {
        bool is_many = play_order_count(play) > ORDERS_BOTH_WAYS_MAX;
        for (unsigned way = 0; way < (is_many ? 1 : 2); way++) {
            bool is_twice = (played + way) % 2;
            const char *reason = play_order(play, order, is_twice);
            if (reason)
                fail_msg("order %u%s: %s", order, is_twice ? ", uploads twice" : "", reason);
        }
        played++;
    }
    printf("             %u orders of %u\n", played, play_order_count(play));
    play_free(play);
    drop_scenario(scenario);
}

/* ---- the player can fail ---- */

/* The first step of that kind of the scenario itself. */
static struct scenario_step *find_step(struct scenario *scenario, enum scenario_step_kind kind)
{
    for (unsigned i = 0; i < scenario->step_count; i++)
        if (scenario->steps[i].kind == kind && !scenario->steps[i].is_base)
            return &scenario->steps[i];
    fail_msg("no step of kind %d", (int)kind);
    return NULL;
}

static void assert_fails(struct scenario *scenario, const char *because)
{
    struct play *play = play_new(scenario, &schema);
    const char *reason = play_order(play, 0, false);
    if (!reason || !strstr(reason, because))
        fail_msg("expected '%s', got '%s'", because, reason ? reason : "success");
    play_free(play);
    drop_scenario(scenario);
}

static void test_play__a_wrong_row_fails(void **state)
{
    (void)state;
    struct scenario *scenario = read_scenario("02-three-people-one-customer.scenario");
    find_step(scenario, SCENARIO_EXPECT)->rows = "028-2000 | CNC | B\n";
    assert_fails(scenario,
                 "02-three-people-one-customer.scenario:21: the server has\n028-2000 | CNC");
}

static void test_play__a_missing_conflict_fails(void **state)
{
    (void)state;
    struct scenario *scenario = read_scenario("02-three-people-one-customer.scenario");
    find_step(scenario, SCENARIO_CONFLICTS)->rows = "";
    assert_fails(scenario, "notice group li account A1 address\n-- and not\n");
}

static void test_play__an_order_that_leads_elsewhere_fails(void **state)
{
    (void)state;
    struct scenario *scenario = read_scenario("02-three-people-one-customer.scenario");
    struct play *play = play_new(scenario, &schema);
    assert_null(play_order(play, 0, false));
    find_step(scenario, SCENARIO_WRITE)->text =
        "UPDATE account SET phone = '028-2000', website = 'another' WHERE id = 'A1'";
    const char *reason = play_order(play, 1, false);
    assert_non_null(reason);
    assert_non_null(strstr(reason, "another order leads to:\nA1 | "));
    play_free(play);
    drop_scenario(scenario);
}

static void test_play__a_refusal_that_does_not_come_fails(void **state)
{
    (void)state;
    struct scenario *scenario = read_scenario("02-three-people-one-customer.scenario");
    find_step(scenario, SCENARIO_WRITE)->refusal = "@append";
    assert_fails(scenario, "was not refused");
}

static void test_play__a_write_that_is_refused_fails(void **state)
{
    (void)state;
    struct scenario *scenario = read_scenario("02-three-people-one-customer.scenario");
    find_step(scenario, SCENARIO_WRITE)->text = "UPDATE account SET created_at = 1";
    assert_fails(scenario, "created_at");
}

static void test_scenario__a_line_that_means_nothing_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"08:00 li\n    SELECT 1;\n", "x.scenario:1: expected a time"},
        {"2026-10-12 08:00 li wang\n    SELECT 1;\n", "x.scenario:1: expected one name"},
        {"2026-10-12 08:00 li\nexpect\n", "x.scenario:2: nothing follows"},
        {"2026-10-12 08:00 sync, but li\n", "x.scenario:1: expected 'sync, not WHO'"},
        {"    SELECT 1;\n", "x.scenario:1: an indented line belongs to nothing"},
        {"expect\n    SELECT 1;\n", "x.scenario:2: a query without rows"},
        {"clock li fast\n", "x.scenario:1: expected 'clock WHO +3h'"},
        {"2026-10-12 08:00 server\n    UPDATE account\n", "x.scenario:2: expected 'set'"},
    };
    char folder[] = "/tmp/satchel-scenario-XXXXXX", path[100];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.scenario", folder);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct scenario scenario;
        struct satchel_error error = {0};
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(wrong[i].text, file);
        fclose(file);
        assert_int_equal(scenario_read(&scenario, folder, "x.scenario", &error), SATCHEL_INVALID);
        if (strncmp(error.message, wrong[i].message, strlen(wrong[i].message)) != 0)
            fail_msg("expected '%s', got '%s'", wrong[i].message, error.message);
        scenario_free(&scenario);
    }
    remove(path);
    remove(folder);
}

/* ---- all of them ---- */

enum { SCENARIOS_MAX = 64 };

static int is_scenario(const struct dirent *entry)
{
    const char *suffix = strstr(entry->d_name, ".scenario");
    return suffix && strcmp(suffix, ".scenario") == 0 &&
           strcmp(entry->d_name, "base.scenario") != 0;
}

/* Whether it is asked for: without arguments, all are. */
static bool is_wanted(const char *name, int argument_count, char **arguments)
{
    for (int i = 1; i < argument_count; i++)
        if (strncmp(name, arguments[i], strlen(arguments[i])) == 0)
            return true;
    return argument_count < 2;
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest player[] = {
        cmocka_unit_test(test_scenario__a_line_that_means_nothing_is_refused),
        cmocka_unit_test(test_play__a_wrong_row_fails),
        cmocka_unit_test(test_play__a_missing_conflict_fails),
        cmocka_unit_test(test_play__an_order_that_leads_elsewhere_fails),
        cmocka_unit_test(test_play__a_refusal_that_does_not_come_fails),
        cmocka_unit_test(test_play__a_write_that_is_refused_fails),
    };
    struct CMUnitTest tests[SCENARIOS_MAX];
    struct dirent **entries = NULL;
    size_t test_count = 0;
    int failed = 0, count = scandir(FOLDER, &entries, is_scenario, alphasort);
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    play_schema_read(&schema, SCHEMA);
    for (int i = 0; i < count && i < SCENARIOS_MAX; i++)
        if (is_wanted(entries[i]->d_name, argument_count, arguments))
            tests[test_count++] = (struct CMUnitTest){
                .name = entries[i]->d_name,
                .test_func = test_scenario__every_order_ends_as_expected,
                .initial_state = entries[i]->d_name,
            };
    if (argument_count < 2)
        failed += cmocka_run_group_tests_name("player", player, NULL, NULL);
    failed += _cmocka_run_group_tests("scenarios", tests, test_count, NULL, NULL);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    play_schema_free(&schema);
    return test_count == 0 ? 1 : failed;
}
