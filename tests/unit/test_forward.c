/* What devices give back to a server that was restored: only what it sent itself, once, as it was;
 * and that a store which somebody put back by hand notices. */
#include "workspace_kit.h"

/* What `device` is sent behind its cursor; freed by the caller. */
static struct satchel_job *pull(struct fixture *fixture, const struct device *device)
{
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ENTRIES);
    job->device = device->id;
    job->after = device->cursor;
    assert_ok(run(fixture, job));
    assert_int_equal(job->answer_count, 1);
    return job;
}

/* The entries of a pull, given back as entries of `node`. */
static struct satchel_job *forward_job_of(const struct device *device,
                                          const struct satchel_job *pulled,
                                          const struct satchel_id *node)
{
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_FORWARD};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_FORWARD);
    message.forward.node = *node;
    message.forward.entries = pulled->answers[0].entries.entries;
    message.forward.entry_count = pulled->answers[0].entries.entry_count;
    assert_ok(satchel_job_take_request(job, &message));
    for (uint32_t i = 0; i < message.forward.entry_count; i++)
        job->request.forward.entries[i].notes =
            satchel_notes_quarantined(job->request.forward.entries[i].notes);
    job->device = device->id;
    return job;
}

static enum satchel_status forward(struct fixture *fixture, const struct device *device,
                                   const struct satchel_job *pulled, const struct satchel_id *node)
{
    struct satchel_job *job = forward_job_of(device, pulled, node);
    enum satchel_status status = run(fixture, job);
    if (status == SATCHEL_OK && !job->is_renewed) {
        assert_int_equal(job->answers[0].kind, SATCHEL_MESSAGE_FORWARDED);
        assert_int_equal(job->answers[0].forwarded.entry_count, job->request.forward.entry_count);
    }
    satchel_job_free(job);
    return status;
}

#define ITEMS \
    "SELECT group_concat(id || '=' || coalesce(stock, 0)) FROM (SELECT * FROM item ORDER BY id)"
#define ENTRIES "SELECT count(*) FROM satchel_entry"

static void test_forward__brings_back_what_was_lost_with_its_old_positions(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "kept", 0));
    assert_ok(attach(&fixture, &bob, &welcome));
    struct satchel_id node = bob.node = welcome.node;
    bob.cursor = 2;
    fixture_back_up(&fixture, "backup");
    assert_ok(push(&fixture, &ann, 2, "lost", 0));
    assert_ok(push(&fixture, &ann, 3, "lost", 5));
    struct satchel_job *pulled = pull(&fixture, &bob);
    bob.cursor = 4;
    fixture_put_back(&fixture, "backup", true);
    assert_string_equal(sql(&fixture, ITEMS), "kept=0");
    assert_ok(attach(&fixture, &bob, &welcome));
    assert_int_equal(welcome.cursor, 2);
    assert_false(satchel_id_equal(&welcome.node, &node));
    for (int i = 0; i < 2; i++) { /* a second time it changes nothing */
        assert_ok(forward(&fixture, &bob, pulled, &node));
        assert_string_equal(sql(&fixture, ITEMS), "kept=0,lost=5");
        assert_string_equal(sql(&fixture, ENTRIES), "4");
        assert_string_equal(sql(&fixture, "SELECT group_concat(cursor || ':' || seq) FROM"
                                          " satchel_position WHERE node <> (SELECT node FROM"
                                          " satchel_workspace)"),
                            "3:3,4:4");
        assert_string_equal(sql(&fixture, "SELECT last_number FROM satchel_device WHERE"
                                          " user = 'ann'"),
                            "3");
    }
    /* Its author sends on where it stopped. */
    assert_ok(push(&fixture, &ann, 4, "lost", 1));
    assert_string_equal(sql(&fixture, ITEMS), "kept=0,lost=6");
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

/* The node has lost what ann pushed; bob has it. */
static struct satchel_job *open_lost(struct fixture *fixture, struct device *ann,
                                     struct device *bob, struct satchel_message_welcome *welcome)
{
    open_joined(fixture, ann, bob);
    assert_ok(attach(fixture, bob, welcome));
    bob->cursor = 1;
    fixture_back_up(fixture, "backup");
    assert_ok(push(fixture, ann, 1, "x", 0));
    struct satchel_job *pulled = pull(fixture, bob);
    fixture_put_back(fixture, "backup", true);
    return pulled;
}

static void test_forward__a_position_is_added_to_what_its_author_had_sent_again(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    struct satchel_job *pulled = open_lost(&fixture, &ann, &bob, &welcome);
    assert_ok(push(&fixture, &ann, 1, "x", 0));
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM satchel_position"), "0");
    assert_ok(forward(&fixture, &bob, pulled, &welcome.node));
    assert_string_equal(sql(&fixture, ENTRIES), "2");
    assert_string_equal(sql(&fixture, "SELECT cursor, seq FROM satchel_position"), "2|2");
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

static void test_forward__what_was_never_sent_is_refused_whole(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    struct satchel_job *pulled = open_lost(&fixture, &ann, &bob, &welcome);
    for (int what = 0; what < 9; what++) {
        struct satchel_job *job = forward_job_of(&bob, pulled, &welcome.node);
        struct satchel_entry *entry = &job->request.forward.entries[0];
        uint8_t *body = (uint8_t *)(uintptr_t)entry->body.data;
        switch (what) {
        case 0: entry->number++; break;
        case 1: entry->stamp++; break;
        case 2: entry->seq++; break;
        case 3: entry->user = satchel_span_text("bob"); break;
        case 4: entry->device = bob.id; break;
        case 5: body[entry->body.size - 1] ^= 1; break;
        case 6: job->request.forward.node.bytes[3] ^= 1; break;
        case 7: entry->previous = 1; break;
        default: entry->receipt.bytes[0] ^= 1; break;
        }
        assert_int_equal(run(&fixture, job), SATCHEL_DENIED);
        satchel_job_free(job);
    }
    assert_string_equal(sql(&fixture, ENTRIES), "1");
    assert_string_equal(sql(&fixture, "SELECT last_number FROM satchel_device WHERE user = 'ann'"),
                        "0");
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

/* A device says much without waiting for answers: what comes behind what failed may have seen that.
 */
static void test_forward__behind_what_failed_nothing_of_its_session_is_taken(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    struct satchel_job *pulled = open_lost(&fixture, &ann, &bob, &welcome);
    static const struct {
        uint64_t session;
        bool is_damaged;
        enum satchel_status status;
    } said[] = {{7, true, SATCHEL_DENIED}, {7, false, SATCHEL_AGAIN}, {8, false, SATCHEL_OK}};
    for (size_t i = 0; i < 3; i++) {
        struct satchel_job *job = forward_job_of(&bob, pulled, &welcome.node);
        job->owner_number = said[i].session;
        job->request.forward.entries[0].number += said[i].is_damaged;
        assert_int_equal(run(&fixture, job), said[i].status);
        satchel_job_free(job);
    }
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

/* What an other file had sent under the number is a copy's; what came behind it follows there, and
 * not behind what has the number now. */
static void test_forward__a_number_that_is_anothers_now_is_a_copys(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "x", 0));
    assert_ok(attach(&fixture, &bob, &welcome));
    bob.cursor = 2;
    fixture_back_up(&fixture, "backup");
    assert_ok(push(&fixture, &ann, 2, "x", 1));
    assert_ok(push(&fixture, &ann, 3, "x", 10));
    struct satchel_job *pulled = pull(&fixture, &bob);
    fixture_put_back(&fixture, "backup", true);
    assert_ok(push(&fixture, &ann, 2, "x", 100));
    /* The second of the two alone has no place: number 3 is free, but of the other one. */
    struct satchel_job *job = forward_job_of(&bob, pulled, &welcome.node);
    job->request.forward.entries++;
    job->request.forward.entry_count--;
    assert_ok(run(&fixture, job));
    assert_int_equal(job->answers[0].forwarded.refused_count, 1);
    satchel_job_free(job);
    assert_string_equal(sql(&fixture, ITEMS), "x=100");
    for (int i = 0; i < 2; i++) { /* a second time it changes nothing */
        assert_ok(forward(&fixture, &bob, pulled, &welcome.node));
        assert_string_equal(sql(&fixture, ITEMS), "x=111");
        assert_string_equal(sql(&fixture, "SELECT c.user, c.last_number, c.parent_number, c.token"
                                          " FROM satchel_device c JOIN satchel_device d ON"
                                          " d.id = c.parent WHERE d.user = 'ann'"),
                            "ann|3|1|NULL");
        assert_string_equal(sql(&fixture, ENTRIES), "5");
    }
    assert_ok(push(&fixture, &ann, 3, "x", 1000)); /* who has the number goes on */
    assert_string_equal(sql(&fixture, ITEMS), "x=1111");
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

/* The device that gave it back as its own is not the one that has its number: what it pushes behind
 * it in the same session would be in turn there. */
static void test_forward__who_gives_back_anothers_number_as_its_own_pushes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    open_joined(&fixture, &ann, &bob);
    assert_ok(attach(&fixture, &ann, &welcome));
    ann.cursor = 1;
    fixture_back_up(&fixture, "backup");
    assert_ok(push(&fixture, &ann, 1, "x", 0));
    struct satchel_job *pulled = pull(&fixture, &ann);
    fixture_put_back(&fixture, "backup", true);
    assert_ok(push(&fixture, &ann, 1, "other", 0));
    struct satchel_job *job = forward_job_of(&ann, pulled, &welcome.node);
    job->owner_number = 7;
    assert_ok(run(&fixture, job));
    assert_true(job->is_copy);
    satchel_job_free(job);
    for (uint64_t session = 7; session <= 8; session++) {
        job = push_job(&ann, 2, "behind", 0);
        job->owner_number = session;
        assert_int_equal(run(&fixture, job), session == 7 ? SATCHEL_AGAIN : SATCHEL_OK);
        satchel_job_free(job);
    }
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

static void test_forward__a_store_put_back_by_hand_becomes_another_incarnation(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    open_joined(&fixture, &ann, &bob);
    assert_ok(attach(&fixture, &bob, &welcome));
    struct satchel_id node = bob.node = welcome.node;
    bob.cursor = 1;
    fixture_back_up(&fixture, "backup");
    assert_ok(push(&fixture, &ann, 1, "x", 0));
    struct satchel_job *pulled = pull(&fixture, &bob);
    bob.cursor = 2;
    fixture_put_back(&fixture, "backup", false);
    assert_ok(attach(&fixture, &bob, &welcome));
    assert_true(satchel_id_equal(&welcome.node, &node));
    assert_int_equal(welcome.cursor, 1);
    assert_ok(forward(&fixture, &bob, pulled, &node)); /* which proves it, and is not merged yet */
    assert_string_equal(sql(&fixture, ENTRIES), "1");
    assert_ok(attach(&fixture, &bob, &welcome));
    assert_false(satchel_id_equal(&welcome.node, &node));
    assert_int_equal(welcome.cursor, 1);
    assert_ok(forward(&fixture, &bob, pulled, &node));
    assert_string_equal(sql(&fixture, ITEMS), "x=0");
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

static void test_forward__a_device_that_joined_after_the_backup_is_enrolled_again(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob, carl = device_new(3);
    struct satchel_message_welcome welcome;
    char code[32];
    open_joined(&fixture, &ann, &bob);
    fixture_back_up(&fixture, "backup");
    invite(&fixture, "bob", code);
    assert_ok(join(&fixture, &carl, code));
    assert_ok(push(&fixture, &carl, 1, "x", 0));
    bob.cursor = 1;
    struct satchel_job *pulled = pull(&fixture, &bob);
    assert_ok(attach(&fixture, &bob, &welcome));
    fixture_put_back(&fixture, "backup", true);
    /* Its change set comes back before it does, and gives nobody its place. */
    assert_ok(forward(&fixture, &bob, pulled, &welcome.node));
    struct device thief = carl;
    thief.token[0] ^= 1;
    assert_int_equal(attach(&fixture, &thief, NULL), SATCHEL_DENIED);
    thief = carl;
    snprintf(thief.user, sizeof thief.user, "ann");
    assert_int_equal(attach(&fixture, &thief, NULL), SATCHEL_DENIED);
    assert_ok(attach(&fixture, &carl, &welcome));
    assert_int_equal(welcome.last_number, 1);
    assert_ok(push(&fixture, &carl, 2, "x", 3));
    assert_string_equal(sql(&fixture, ITEMS), "x=3");
    satchel_job_free(pulled);
    fixture_close(&fixture);
}

static void test_rows__are_as_the_node_has_them_or_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ROWS_REQUEST};
    struct satchel_row_request requests[2];
    struct satchel_buffer names[2];
    struct satchel_value keys[2] = {satchel_value_text(satchel_span_text("x")),
                                    satchel_value_text(satchel_span_text("nobody"))};
    struct satchel_notes notes;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "x", 0));
    for (int i = 0; i < 2; i++) {
        satchel_buffer_init(&names[i], 100, NULL);
        assert_ok(satchel_row_name(&names[i], 2, &keys[i], 1));
        requests[i].name = satchel_buffer_span(&names[i]);
    }
    message.rows_request.rows = requests;
    message.rows_request.row_count = 2;
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ROWS);
    job->device = ann.id;
    assert_ok(satchel_job_take_request(job, &message));
    assert_ok(run(&fixture, job));
    const struct satchel_message_rows *answer = &job->answers[0].rows;
    assert_int_equal(answer->cursor, 2);
    assert_int_equal(answer->row_count, 2);
    assert_ok(satchel_notes_read(answer->notes, &job->arena, &notes));
    assert_int_equal(notes.effect_count, 2);
    assert_int_equal(notes.effects[0].kind, SATCHEL_EFFECT_WHOLE);
    assert_int_equal(notes.effects[0].field_count, 1); /* the name; what is default is left out */
    assert_int_equal(notes.effects[1].kind, SATCHEL_EFFECT_GONE);
    satchel_job_free(job);

    requests[1].name = satchel_span_text("no name");
    job = satchel_job_new(SATCHEL_JOB_ROWS);
    job->device = ann.id;
    assert_ok(satchel_job_take_request(job, &message));
    assert_int_equal(run(&fixture, job), SATCHEL_INVALID);
    satchel_job_free(job);
    for (int i = 0; i < 2; i++)
        satchel_buffer_deinit(&names[i]);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward__brings_back_what_was_lost_with_its_old_positions),
        cmocka_unit_test(test_forward__a_position_is_added_to_what_its_author_had_sent_again),
        cmocka_unit_test(test_forward__what_was_never_sent_is_refused_whole),
        cmocka_unit_test(test_forward__behind_what_failed_nothing_of_its_session_is_taken),
        cmocka_unit_test(test_forward__a_number_that_is_anothers_now_is_a_copys),
        cmocka_unit_test(test_forward__who_gives_back_anothers_number_as_its_own_pushes_nothing),
        cmocka_unit_test(test_forward__a_store_put_back_by_hand_becomes_another_incarnation),
        cmocka_unit_test(test_forward__a_device_that_joined_after_the_backup_is_enrolled_again),
        cmocka_unit_test(test_rows__are_as_the_node_has_them_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
