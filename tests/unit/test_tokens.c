/* A device's token gives way to another: which of them is good when, wherever it is cut, after a
 * restore of the server, and for who is let in again. */
#include "phone_kit.h"

#include <stdlib.h>

struct play {
    struct fixture fixture;
    struct device ann, bob;
};

static void open_play(struct play *play)
{
    open_joined(&play->fixture, &play->ann, &play->bob);
}

/* The device as it is when the answer has come: with the new token. */
static struct device rotate(struct fixture *fixture, const struct device *device, uint8_t mark)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ROTATE};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ROTATE);
    struct device after = *device;
    memset(after.token, mark, sizeof after.token);
    message.rotate.token = satchel_span_of(after.token, sizeof after.token);
    job->device = device->id;
    assert_ok(satchel_job_take_request(job, &message));
    assert_ok(run(fixture, job));
    assert_int_equal(job->answers[0].kind, SATCHEL_MESSAGE_ROTATED);
    after.receipt = job->answers[0].rotated.receipt;
    after.token_number = job->answers[0].rotated.token_number;
    satchel_job_free(job);
    return after;
}

static void expect_attached(struct play *play, struct device *device)
{
    assert_ok(attach(&play->fixture, device, NULL));
}

static void expect_denied(struct play *play, struct device *device)
{
    assert_int_equal(attach(&play->fixture, device, NULL), SATCHEL_DENIED);
}

static void test_tokens__both_are_good_until_the_new_one_is_shown(void **state)
{
    (void)state;
    struct play play;
    open_play(&play);
    struct device old = play.ann, new = rotate(&play.fixture, &old, 7);
    assert_int_equal(new.token_number, 1);
    expect_attached(&play, &old); /* the answer was lost */
    struct device again = rotate(&play.fixture, &old, 7);
    assert_memory_equal(&again.receipt, &new.receipt, sizeof new.receipt);
    expect_attached(&play, &old);
    expect_attached(&play, &new);
    expect_denied(&play, &old);
    expect_attached(&play, &new);
    new = rotate(&play.fixture, &new, 8);
    assert_int_equal(new.token_number, 2);
    expect_attached(&play, &new);
    expect_denied(&play, &again);
    expect_attached(&play, &play.bob);
    fixture_close(&play.fixture);
}

/* Two copies of one file at once. */
static void test_tokens__of_two_that_were_said_the_first_shown_counts(void **state)
{
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        struct play play;
        open_play(&play);
        struct device old = play.ann;
        struct device first = rotate(&play.fixture, &old, 7);
        struct device last = rotate(&play.fixture, &old, 8);
        expect_attached(&play, &old);
        expect_attached(&play, turn ? &first : &last);
        expect_denied(&play, &old);
        expect_denied(&play, turn ? &last : &first);
        fixture_close(&play.fixture);
    }
}

static void test_tokens__none_is_kept_as_it_is(void **state)
{
    (void)state;
    struct play play;
    char path[100];
    open_play(&play);
    struct device new = rotate(&play.fixture, &play.ann, 0xA7);
    expect_attached(&play, &new);
    (void)rotate(&play.fixture, &new, 0xB8);
    snprintf(path, sizeof path, "%s/w.db", play.fixture.directory);
    assert_string_equal(sql(&play.fixture, "SELECT count(*) FROM satchel_device, satchel_token"
                                           " WHERE instr(token, x'A7A7A7A7') OR"
                                           " instr(next, x'B8B8B8B8')"),
                        "0");
    fixture_close(&play.fixture);
}

/* A receipt proves a token, and that it is a later one than the store knows. */
static void test_tokens__a_restored_server_takes_the_later_and_no_earlier_one(void **state)
{
    (void)state;
    struct play play;
    open_play(&play);
    struct device old = play.ann;
    fixture_back_up(&play.fixture, "backup");
    struct device new = rotate(&play.fixture, &old, 7);
    expect_attached(&play, &new);
    struct device third = rotate(&play.fixture, &new, 8);
    expect_attached(&play, &third);
    fixture_put_back(&play.fixture, "backup", true);
    struct device forged = old;
    forged.token_number = 9;
    expect_attached(&play, &forged); /* the token is the store's */
    expect_attached(&play, &third);
    expect_denied(&play, &old);
    expect_denied(&play, &forged);
    expect_denied(&play, &new);
    forged = new;
    forged.token_number = 9;
    expect_denied(&play, &forged);
    expect_attached(&play, &third);
    fixture_close(&play.fixture);
}

static void test_tokens__a_server_that_forgot_the_device_remembers_how_many_it_had(void **state)
{
    (void)state;
    struct play play;
    struct device carl = device_new(9);
    char code[32];
    open_play(&play);
    fixture_back_up(&play.fixture, "backup");
    invite(&play.fixture, "ann", code);
    assert_ok(join(&play.fixture, &carl, code));
    struct device new = rotate(&play.fixture, &carl, 7);
    expect_attached(&play, &new);
    fixture_put_back(&play.fixture, "backup", true);
    expect_attached(&play, &new);
    expect_denied(&play, &carl);
    new = rotate(&play.fixture, &new, 8);
    assert_int_equal(new.token_number, 2);
    expect_attached(&play, &new);
    fixture_close(&play.fixture);
}

static void test_tokens__an_invite_of_the_user_lets_a_device_in_again(void **state)
{
    (void)state;
    struct play play;
    char code[32], other[32];
    open_play(&play);
    struct device copy = play.ann, present = rotate(&play.fixture, &play.ann, 7);
    expect_attached(&play, &present);
    expect_denied(&play, &copy);
    memset(copy.token, 9, sizeof copy.token);
    invite(&play.fixture, "bob", other);
    assert_int_equal(join(&play.fixture, &copy, other), SATCHEL_DENIED);
    assert_int_equal(join(&play.fixture, &copy, "00000-00000-00000-00000"), SATCHEL_DENIED);
    expect_attached(&play, &present);
    invite(&play.fixture, "ann", code);
    assert_ok(join(&play.fixture, &copy, code));
    struct device once = copy;
    assert_ok(join(&play.fixture, &copy, code)); /* the answer was lost */
    assert_memory_equal(&once.receipt, &copy.receipt, sizeof copy.receipt);
    assert_int_equal(copy.token_number, 2);
    expect_attached(&play, &copy);
    expect_denied(&play, &present);
    struct device thief = present;
    assert_int_equal(join(&play.fixture, &thief, code), SATCHEL_DENIED);
    assert_string_equal(sql(&play.fixture, "SELECT count(*) FROM satchel_device WHERE user='ann'"),
                        "1");
    fixture_close(&play.fixture);
}

/* ---- real replicas, cut anywhere ---- */

static void expect_one_good_token(struct phone *phone)
{
    char ours[80];
    snprintf(ours, sizeof ours, "%s",
             phone_read(phone, "SELECT token_number || '|' ||"
                               " (next_token ISNULL)"
                               " FROM satchel_replica"));
    assert_string_equal(ours, "1|1");
    assert_string_equal(sql(&phone->town->server, "SELECT number, next FROM satchel_token"),
                        "1|NULL");
}

static void test_tokens__wherever_a_sync_is_cut_the_device_gets_in(void **state)
{
    (void)state;
    bool was_cut = true;
    for (unsigned frames = 1; was_cut; frames++) {
        struct town town;
        assert_true(frames < 100);
        town_open(&town);
        struct phone *ann = town_join(&town);
        phone_write(ann, "INSERT INTO item(id, title) VALUES('a', 'one')");
        ann->rotates = true;
        ann->up_frames = frames;
        phone_sync(ann);
        was_cut = ann->up_frames == 0;
        ann->up_frames = 0;
        phone_write(ann, "INSERT INTO item(id, title) VALUES('b', 'two')");
        phone_sync(ann);
        assert_false(ann->rotates);
        phone_sync(ann);
        expect_one_good_token(ann);
        town_settle(&town);
        town_close(&town);
    }
}

/* Two syncs of one file, both with the first token: the second must not take away what the first
 * has been told. */
static void test_tokens__two_syncs_of_a_file_replace_it_once(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    struct phone second = *ann;
    second.app = NULL;
    assert_ok(phone_connect(&second));
    assert_ok(phone_talk(&second));
    ann->rotates = true;
    phone_sync(ann);
    assert_false(ann->rotates);
    second.sync->options.rotate = true;
    second.sync->is_equal = second.sync->is_done = false;
    assert_int_equal(phone_talk(&second), SATCHEL_AGAIN);
    phone_hang_up(&second);
    expect_one_good_token(ann);
    phone_sync(ann);
    phone_sync(&second);
    town_close(&town);
}

/* What the file loses in a power cut: it may have forgotten the next token, never the present one.
 */
static void test_tokens__a_next_one_that_was_forgotten_does_no_harm(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    phone_keep(ann);
    ann->rotates = true;
    ann->up_frames = 6; /* ROTATE is among them, its answer is not heard */
    phone_sync(ann);
    assert_string_equal(sql(&town.server, "SELECT number, next NOTNULL FROM satchel_token"), "0|1");
    assert_true(ann->rotates);
    phone_put_back(ann);
    ann->up_frames = 0;
    phone_sync(ann);
    assert_false(ann->rotates);
    expect_one_good_token(ann);
    town_settle(&town);
    town_close(&town);
}

/* The copy is known as one before it could replace the token of the file it was copied from. */
static void test_tokens__a_copy_replaces_its_own(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    struct phone *twin = town_clone(&town, ann);
    phone_write(ann, "INSERT INTO item(id, title) VALUES('a', 'one')");
    phone_write(twin, "INSERT INTO item(id, title) VALUES('b', 'two')");
    phone_sync(ann);
    twin->rotates = true;
    phone_sync(twin);
    assert_false(twin->rotates);
    phone_sync(ann); /* as ever */
    phone_sync(twin);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_token JOIN satchel_device"
                                          " ON id=device WHERE number=1 AND parent NOTNULL"),
                        "1");
    town_settle(&town);
    town_close(&town);
}

/* Two files are the same copy, and one of them has replaced its token: the other comes in all the
 * same, because it shows that it is the copy. */
static void test_tokens__a_copys_copy_is_let_in(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    struct phone *twin = town_clone(&town, ann);
    phone_write(twin, "INSERT INTO item(id, title) VALUES('b', 'two')");
    struct phone *third = town_clone(&town, twin);
    phone_write(ann, "INSERT INTO item(id, title) VALUES('a', 'one')");
    phone_sync(ann);
    twin->rotates = true;
    phone_sync(twin);
    phone_write(third, "INSERT INTO item(id, title) VALUES('c', 'three')");
    phone_sync(third);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_token WHERE number=2"),
                        "1");
    assert_true(phone_is_uploaded(third));
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens__both_are_good_until_the_new_one_is_shown),
        cmocka_unit_test(test_tokens__of_two_that_were_said_the_first_shown_counts),
        cmocka_unit_test(test_tokens__none_is_kept_as_it_is),
        cmocka_unit_test(test_tokens__a_restored_server_takes_the_later_and_no_earlier_one),
        cmocka_unit_test(test_tokens__a_server_that_forgot_the_device_remembers_how_many_it_had),
        cmocka_unit_test(test_tokens__an_invite_of_the_user_lets_a_device_in_again),
        cmocka_unit_test(test_tokens__wherever_a_sync_is_cut_the_device_gets_in),
        cmocka_unit_test(test_tokens__two_syncs_of_a_file_replace_it_once),
        cmocka_unit_test(test_tokens__a_next_one_that_was_forgotten_does_no_harm),
        cmocka_unit_test(test_tokens__a_copy_replaces_its_own),
        cmocka_unit_test(test_tokens__a_copys_copy_is_let_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
