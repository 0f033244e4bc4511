/* A workspace through its queues, as the hub uses it: what is acknowledged, what is sent, and what
 * is still there after it was closed, killed or out of disk. */
#include "workspace_kit.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_workspace__what_was_acknowledged_is_there_after_a_reopen(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_message_welcome welcome;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    assert_ok(push(&fixture, &ann, 2, "i1", 5));
    assert_ok(push(&fixture, &ann, 2, "i1", 5)); /* the acknowledgement was lost */
    reopen(&fixture);
    ann.last_number = 2;
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_int_equal(welcome.last_number, 2);
    assert_int_equal(welcome.head, 3);
    assert_ok(push(&fixture, &ann, 3, "i1", 1));
    assert_string_equal(sql(&fixture, "SELECT name, stock FROM item"), "thing|6");
    assert_int_equal(push(&fixture, &ann, 3, "i1", 2), SATCHEL_MISMATCH); /* a copy */
    assert_int_equal(push(&fixture, &ann, 9, "i1", 2), SATCHEL_STATE);
    ann.last_number =
        1; /* said before another sync of the replica sent more: it judges by WELCOME */
    assert_ok(attach(&fixture, &ann, &welcome));
    assert_int_equal(welcome.last_number, 3);
    assert_string_equal(sql(&fixture, "SELECT stock FROM item"), "6");
    fixture_close(&fixture);
}

static void test_workspace__entries_come_whole_but_without_the_body_for_their_author(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    assert_ok(push(&fixture, &bob, 1, "i2", 0));
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ENTRIES);
    job->device = ann.id;
    job->number_max = 1; /* what its session has sent */
    assert_ok(run(&fixture, job));
    assert_true(job->reached_end);
    assert_int_equal(job->head, 3);
    assert_int_equal(job->vector.count, 1);
    assert_int_equal(job->vector.items[0].seq, 3);
    const struct satchel_message_entries *entries = &job->answers[0].entries;
    assert_int_equal(entries->entry_count, 3);
    assert_true(entries->entries[0].body.size > 0);
    assert_int_equal(entries->entries[1].body.size, 0);
    assert_true(entries->entries[2].body.size > 0);
    assert_true(satchel_span_equal(entries->entries[2].user, satchel_span_text("bob")));
    satchel_job_free(job);
    job = satchel_job_new(SATCHEL_JOB_ENTRIES);
    job->device = ann.id; /* another session of it, or a copy: it may have something else there */
    assert_ok(run(&fixture, job));
    assert_true(job->answers[0].entries.entries[1].body.size > 0);
    satchel_job_free(job);
    job = satchel_job_new(SATCHEL_JOB_ENTRIES);
    job->device = ann.id;
    job->after = 3;
    assert_ok(run(&fixture, job));
    assert_true(job->reached_end);
    assert_int_equal(job->answer_count, 0);
    assert_int_equal(job->vector.items[0].seq, 3);
    satchel_job_free(job);
    fixture_close(&fixture);
}

static struct satchel_job *news(struct fixture *fixture, const struct device *device,
                                uint64_t after, uint64_t number_max)
{
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_ENTRIES);
    job->device = device->id;
    job->after = after;
    job->number_max = number_max;
    assert_ok(run(fixture, job));
    return job;
}

static void test_workspace__news_for_many_are_read_and_put_into_a_frame_once(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob, cleo = device_new(9);
    char code[32];
    open_joined(&fixture, &ann, &bob);
    invite(&fixture, "bob", code);
    assert_ok(join(&fixture, &cleo, code));
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    /* Who has written it makes nothing for others, and is sent no body. */
    struct satchel_job *own = news(&fixture, &ann, 1, 1), *first = news(&fixture, &bob, 1, 0),
                       *second = news(&fixture, &cleo, 1, 0), *late = news(&fixture, &ann, 1, 1);
    assert_null(own->batch);
    assert_non_null(first->batch);
    assert_ptr_equal(second->batch, first->batch);
    assert_null(late->batch);
    assert_int_equal(late->answers[0].entries.entries[0].body.size, 0);
    assert_true(second->answers[0].entries.entries[0].body.size > 0);
    assert_int_equal(second->reached, 2);
    assert_true(second->reached_end);
    assert_int_equal(second->vector.items[0].seq, 2);
    assert_true(satchel_id_equal(&second->end, &own->end));
    assert_true(satchel_id_equal(&second->answers[0].entries.entries[0].receipt,
                                 &own->answers[0].entries.entries[0].receipt));
    satchel_job_free(first);
    satchel_job_free(own);
    satchel_job_free(late);
    /* There is more; and from elsewhere. */
    assert_ok(push(&fixture, &ann, 2, "i2", 0));
    struct satchel_job *third = news(&fixture, &bob, 1, 0), *end = news(&fixture, &bob, 3, 0);
    assert_ptr_not_equal(third->batch, second->batch);
    assert_int_equal(third->answers[0].entries.entry_count, 2);
    assert_null(end->batch);
    for (uint64_t after = 0; after < 3; after++)
        satchel_job_free(news(&fixture, &cleo, after, 0));
    assert_int_equal(second->answers[0].entries.entry_count, 1); /* as long as a job holds it */
    satchel_job_free(second);
    satchel_job_free(third);
    satchel_job_free(end);
    fixture_close(&fixture);
}

static void test_workspace__many_pushes_at_once_each_get_their_answer(void **state)
{
    (void)state;
    enum { DEVICES = 20, EACH = 10 };
    struct fixture fixture;
    struct device ann, bob, devices[DEVICES];
    struct satchel_job *jobs[DEVICES * EACH];
    bool is_done[DEVICES * EACH] = {false};
    char code[32], id[16];
    open_joined(&fixture, &ann, &bob);
    for (int d = 0; d < DEVICES; d++) {
        devices[d] = device_new((uint8_t)(10 + d));
        invite(&fixture, "ann", code);
        assert_ok(join(&fixture, &devices[d], code));
    }
    assert_ok(push(&fixture, &ann, 1, "i", 0));
    size_t before = fixture.completed_count;
    for (int n = 0; n < EACH; n++)
        for (int d = 0; d < DEVICES; d++) {
            int i = n * DEVICES + d;
            snprintf(id, sizeof id, "i");
            /* one device is out of turn: it alone hears of it */
            jobs[i] = push_job(&devices[d], (uint64_t)n + (d == 7 && n > 4 ? 2 : 1), id, 1);
            jobs[i]->owner = &is_done[i];
            assert_ok(satchel_workspace_submit(fixture.workspace, jobs[i]));
        }
    pthread_mutex_lock(&fixture.mutex);
    while (fixture.completed_count < before + DEVICES * EACH)
        pthread_cond_wait(&fixture.done, &fixture.mutex);
    pthread_mutex_unlock(&fixture.mutex);
    for (int i = 0; i < DEVICES * EACH; i++) {
        bool is_refused = i % DEVICES == 7 && i / DEVICES > 4;
        assert_int_equal(jobs[i]->status, is_refused ? SATCHEL_STATE : SATCHEL_OK);
        satchel_job_free(jobs[i]);
    }
    assert_string_equal(sql(&fixture, "SELECT stock FROM item"), "195");
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM satchel_entry"), "197");
    fixture_close(&fixture);
}

static void test_workspace__closing_answers_every_job_and_keeps_what_was_acknowledged(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    struct fixture fixture;
    struct device ann, bob;
    struct satchel_job *jobs[COUNT];
    bool is_done[COUNT] = {false};
    char id[16], query[64];
    open_joined(&fixture, &ann, &bob);
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof id, "i%d", i);
        jobs[i] = push_job(&ann, (uint64_t)i + 1, id, 0);
        jobs[i]->owner = &is_done[i];
        assert_ok(satchel_workspace_submit(fixture.workspace, jobs[i]));
    }
    satchel_workspace_close(fixture.workspace);
    int acknowledged = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(is_done[i]);
        assert_true(jobs[i]->status == SATCHEL_OK || jobs[i]->status == SATCHEL_STATE);
        acknowledged += jobs[i]->status == SATCHEL_OK;
        satchel_job_free(jobs[i]);
    }
    assert_ok(satchel_workspace_open(&fixture.workspace, fixture.directory, "w", &fixture.callbacks,
                                     &fixture.error));
    snprintf(query, sizeof query, "SELECT count(*)=%d FROM item", acknowledged);
    assert_string_equal(sql(&fixture, query), "1");
    fixture_close(&fixture);
}

/* In a process of its own: pushes items as fast as it can and writes to `out` what was
 * acknowledged. */
static void push_until_killed(struct fixture *fixture, struct device *device, uint64_t first,
                              int out)
{
    char id[32];
    if (satchel_workspace_open(&fixture->workspace, fixture->directory, "w", &fixture->callbacks,
                               &fixture->error) != SATCHEL_OK)
        _exit(1);
    for (uint64_t number = first;; number++) {
        snprintf(id, sizeof id, "i%llu", (unsigned long long)number);
        if (push(fixture, device, number, id, 0) != SATCHEL_OK ||
            write(out, &number, sizeof number) != (ssize_t)sizeof number)
            _exit(1);
    }
}

static void test_workspace__a_killed_server_has_all_that_it_acknowledged_and_nothing_twice(
    void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    char query[160];
    uint64_t acknowledged = 0;
    open_joined(&fixture, &ann, &bob);
    for (int round = 0; round < 8; round++) {
        struct satchel_message_welcome welcome;
        int ends[2];
        ann.last_number = 1000000;
        assert_ok(attach(&fixture, &ann, &welcome));
        /* the last one may have been committed and not acknowledged any more */
        assert_true(welcome.last_number == acknowledged || welcome.last_number == acknowledged + 1);
        satchel_workspace_close(fixture.workspace);
        fixture.advanced_to = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            push_until_killed(&fixture, &ann, welcome.last_number + 1, ends[1]);
        }
        close(ends[1]);
        for (int count = 0; count < 20 + 7 * round; count++)
            assert_int_equal(read(ends[0], &acknowledged, sizeof acknowledged),
                             sizeof acknowledged);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(ends[0], &acknowledged, sizeof acknowledged) == (ssize_t)sizeof acknowledged)
            ;
        close(ends[0]);
        assert_ok(satchel_workspace_open(&fixture.workspace, fixture.directory, "w",
                                         &fixture.callbacks, &fixture.error));
        snprintf(query, sizeof query,
                 "SELECT count(*) - %llu IN (0, 1), count(DISTINCT id) = count(*) FROM item",
                 (unsigned long long)acknowledged);
        assert_string_equal(sql(&fixture, query), "1|1");
        assert_string_equal(sql(&fixture, "SELECT cursor = (SELECT count(*) FROM satchel_entry),"
                                          " seq = (SELECT max(seq) FROM satchel_entry)"
                                          " FROM satchel_workspace"),
                            "1|1");
    }
    fixture_close(&fixture);
}

static void test_workspace__a_full_disk_refuses_and_harms_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    struct rlimit before, small;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096; /* no file grows beyond this: the next page of the WAL fails */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum satchel_status full = push(&fixture, &ann, 2, "i2", 0);
    enum satchel_status still_full = push(&fixture, &bob, 1, "i3", 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(full, SATCHEL_IO);
    assert_int_equal(still_full, SATCHEL_IO);
    assert_true(fixture.error.message[0] != '\0');
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM item"), "1");
    assert_ok(push(&fixture, &ann, 2, "i2", 0));
    assert_ok(push(&fixture, &bob, 1, "i3", 0));
    assert_string_equal(sql(&fixture, "SELECT group_concat(id) FROM item"), "i1,i2,i3");
    reopen(&fixture);
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM item"), "3");
    fixture_close(&fixture);
}

static void test_workspace__a_workspace_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    struct fixture fixture;
    struct rlimit before, small;
    char path[100];
    bool was_made = false;
    fixture_open(&fixture);
    snprintf(path, sizeof path, "%s/w.db", fixture.directory);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    /* the disk is full at every step of the way in turn */
    for (rlim_t pages = 1; !was_made; pages++) {
        small.rlim_cur = pages * 4096;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        was_made = create(&fixture, "w", kit_sql) == SATCHEL_OK;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(access(path, F_OK) == 0, was_made);
        assert_true(pages < 1000);
    }
    assert_string_equal(sql(&fixture, "SELECT count(*) FROM person"), "3");
    fixture_close(&fixture);
}

static void test_workspace__digests_are_of_the_head(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "i1", 0));
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_DIGESTS);
    job->device = ann.id;
    assert_ok(run(&fixture, job));
    const struct satchel_message_digests *digests = &job->answers[0].digests;
    assert_int_equal(digests->cursor, 2);
    assert_int_equal(digests->table_count, 2);
    assert_int_equal(digests->tables[0].row_count, 3);
    assert_int_equal(digests->tables[1].row_count, 1);
    satchel_job_free(job);
    job = satchel_job_new(SATCHEL_JOB_DIGESTS);
    job->device = ann.id;
    job->is_drained = true; /* nothing of the rows is told */
    assert_ok(run(&fixture, job));
    digests = &job->answers[0].digests;
    assert_int_equal(digests->table_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(digests->tables[i].row_count, 0);
        assert_true(satchel_id_is_zero(&digests->tables[i].digest));
    }
    satchel_job_free(job);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workspace__what_was_acknowledged_is_there_after_a_reopen),
        cmocka_unit_test(test_workspace__entries_come_whole_but_without_the_body_for_their_author),
        cmocka_unit_test(test_workspace__news_for_many_are_read_and_put_into_a_frame_once),
        cmocka_unit_test(test_workspace__many_pushes_at_once_each_get_their_answer),
        cmocka_unit_test(test_workspace__closing_answers_every_job_and_keeps_what_was_acknowledged),
        cmocka_unit_test(
            test_workspace__a_killed_server_has_all_that_it_acknowledged_and_nothing_twice),
        cmocka_unit_test(test_workspace__a_full_disk_refuses_and_harms_nothing),
        cmocka_unit_test(test_workspace__a_workspace_is_made_whole_or_not_at_all),
        cmocka_unit_test(test_workspace__digests_are_of_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
