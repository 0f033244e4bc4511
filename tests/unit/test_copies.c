/* Replica files that were copied to a second phone, or put back from an old copy: each is known as
 * a copy where it parts from what the server holds, goes on as a device of its own, and every
 * commit of everybody is in the history once (town_settle). */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char CONFLICTS[] = "SELECT conflicts FROM satchel_status";
static const char COPY_OF[] = "SELECT copy_of FROM satchel_status";
static const char DEVICES[] = "SELECT count(*) FROM satchel_device WHERE token NOTNULL";

static void insert_item(struct phone *phone, const char *id)
{
    char sql[128];
    snprintf(sql, sizeof sql, "INSERT INTO item(id, title) VALUES('%s', 'new')", id);
    phone_write(phone, sql);
}

/* ---- put back from an old copy ---- */

static void test_put_back__without_writes_it_catches_up_and_stays_the_same_device(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    phone_keep(ann);
    insert_item(ann, "b");
    phone_write(ann, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
    phone_sync(ann);
    phone_put_back(ann);
    assert_int_equal(phone_sync(ann), 1);
    phone_write(ann, "UPDATE item SET title = 'mine', hits = hits + 1 WHERE id = 'b'");
    assert_int_equal(phone_sync(ann), 1);
    town_settle(&town);
    assert_string_equal(phone_read(ann, CONFLICTS), "0");
    assert_string_equal(phone_read(ann, COPY_OF), "null");
    assert_string_equal(phone_read(ann, "SELECT max(number) FROM satchel_entry"), "4");
    assert_string_equal(sql(&town.server, DEVICES), "1");
    town_close(&town);
}

static void test_put_back__with_writes_of_its_own_it_is_a_copy(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    phone_keep(ann);
    phone_write(ann, "UPDATE item SET title = 'before', hits = hits + 1 WHERE id = 'a'");
    phone_write(ann, "UPDATE item SET hits = hits + 10 WHERE id = 'a'");
    phone_sync(ann);
    char device[SATCHEL_ID_TEXT_BYTES];
    memcpy(device, phone_read(ann, "SELECT device FROM satchel_status"), sizeof device);
    phone_put_back(ann);
    phone_write(ann, "UPDATE item SET title = 'after', hits = hits + 100 WHERE id = 'a'");
    phone_write(ann, "UPDATE item SET hits = hits + 1000 WHERE id = 'a'");
    assert_int_equal(phone_sync(ann), 2);
    town_settle(&town);
    assert_string_equal(phone_read(ann, "SELECT title, hits FROM item"), "after|1111");
    assert_string_equal(phone_read(ann, CONFLICTS), "1"); /* 'before' was not shown to 'after' */
    assert_string_equal(phone_read(ann, COPY_OF), device);
    assert_string_equal(phone_read(ann, "SELECT satchel_device() <> copy_of, satchel_device() ="
                                        " device FROM satchel_status"),
                        "1|1");
    assert_string_equal(phone_read(ann, "SELECT last_number FROM satchel_ancestor"), "1");
    assert_string_equal(sql(&town.server, DEVICES), "2");
    town_close(&town);
}

/* Until it has caught up, what it writes is written not knowing what its device wrote before. */
static void test_put_back__what_is_written_while_it_catches_up_is_a_copys(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    phone_keep(ann);
    phone_write(ann, "UPDATE item SET title = 'before' WHERE id = 'a'");
    phone_sync(ann);
    phone_put_back(ann);
    assert_int_equal(phone_connect(ann), SATCHEL_OK);
    phone_write(ann, "UPDATE item SET title = 'after' WHERE id = 'a'");
    assert_int_equal(phone_talk(ann), SATCHEL_AGAIN);
    phone_sync(ann);
    town_settle(&town);
    assert_string_equal(phone_read(ann, CONFLICTS), "1");
    town_close(&town);
}

/* ---- cloned ---- */

static void clone_and_sync_in_order(bool is_clone_first)
{
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town), *bob = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    phone_write(ann, "UPDATE item SET title = 'ann', hits = hits + 1 WHERE id = 'a'");
    phone_write(twin, "UPDATE item SET title = 'twin', hits = hits + 10 WHERE id = 'a'");
    phone_write(ann, "UPDATE item SET hits = hits + 100 WHERE id = 'a'");
    insert_item(twin, "t");
    struct phone *first = is_clone_first ? twin : ann, *second = is_clone_first ? ann : twin;
    assert_int_equal(phone_sync(first), 1);
    assert_int_equal(phone_sync(second), 2);
    assert_int_equal(second->copy_count, 1);
    phone_write(ann, "UPDATE item SET hits = hits + 1000 WHERE id = 'a'");
    phone_write(twin, "UPDATE item SET hits = hits + 10000 WHERE id = 'a'");
    assert_int_equal(phone_sync(second), 1);
    assert_int_equal(phone_sync(first), 1);
    town_settle(&town);
    assert_string_equal(phone_read(bob, "SELECT hits FROM item WHERE id = 'a'"), "11111");
    assert_string_equal(phone_read(bob, CONFLICTS), "1");
    assert_int_equal(ann->duplicate_count + twin->duplicate_count, 0);
    town_close(&town);
}

static void test_clone__both_go_on_whichever_syncs_first(void **state)
{
    (void)state;
    clone_and_sync_in_order(false);
    clone_and_sync_in_order(true);
}

/* Nothing in a change set says which file it is of but the moment of its commit. */
static void test_clone__equal_writes_of_both_count_twice(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    phone_write(ann, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
    phone_write(twin, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
    phone_sync(ann);
    assert_int_equal(phone_sync(twin), 2);
    town_settle(&town);
    assert_string_equal(phone_read(ann, "SELECT hits FROM item"), "2");
    town_close(&town);
}

/* What both files have pending when one is copied is one device's, and known to both. */
static void test_clone__what_was_pending_at_the_copy_is_no_conflict(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    insert_item(ann, "gone");
    phone_sync(ann);
    phone_write(ann, "UPDATE item SET title = 'common', hits = hits + 1 WHERE id = 'a'");
    phone_write(ann, "INSERT INTO item(id, title, code) VALUES('new', 'common', 'c')");
    phone_write(ann, "UPDATE item SET title = 'common' WHERE id = 'gone'");
    struct phone *twin = town_clone(&town, ann);
    insert_item(ann, "of ann");
    phone_write(twin, "UPDATE item SET title = 'twin', hits = hits + 10 WHERE id = 'a'");
    phone_write(twin, "UPDATE item SET title = 'twin', owner = 'twin' WHERE id = 'new'");
    phone_write(twin, "DELETE FROM item WHERE id = 'gone'");
    assert_int_equal(phone_sync(ann), 1);
    assert_int_equal(phone_sync(twin), 2);
    town_settle(&town);
    assert_string_equal(phone_read(ann, "SELECT id, title, hits, owner FROM item ORDER BY id"),
                        "a|twin|11|null;new|twin|0|twin;of ann|new|0|null");
    assert_string_equal(phone_read(ann, CONFLICTS), "0");
    assert_string_equal(phone_read(twin, "SELECT last_number FROM satchel_ancestor"), "5");
    town_close(&town);
}

/* The common change sets are uploaded by the one, and the others of the other know them, even if
 * its frame is taken before its own entries tell it that it is a copy. */
static void test_clone__both_attached_push_the_same_number(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    phone_write(ann, "SELECT 1");
    town.commit_count--; /* that was none; the application is open before the sessions */
    phone_write(twin, "SELECT 1");
    town.commit_count--;
    assert_int_equal(phone_connect(ann), SATCHEL_OK);
    assert_int_equal(phone_connect(twin), SATCHEL_OK);
    assert_int_equal(phone_talk(ann), SATCHEL_OK);
    assert_int_equal(phone_talk(twin), SATCHEL_OK);
    phone_write(ann, "UPDATE item SET title = 'ann', hits = hits + 1 WHERE id = 'a'");
    phone_write(twin, "UPDATE item SET title = 'twin', hits = hits + 10 WHERE id = 'a'");
    phone_write(twin, "UPDATE item SET hits = hits + 100 WHERE id = 'a'"); /* behind the refused */
    assert_int_equal(phone_talk(ann), SATCHEL_OK);
    assert_int_equal(phone_talk(twin), SATCHEL_AGAIN);
    assert_int_equal(phone_sync(twin), 2);
    assert_int_equal(phone_talk(ann), SATCHEL_OK);
    town_settle(&town);
    assert_string_equal(phone_read(ann, "SELECT hits FROM item"), "111");
    town_close(&town);
}

/* One that has nothing pending takes what its twin writes as its own, and goes on behind it. */
static void test_clone__attached_without_writes_it_follows_its_twin(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    assert_int_equal(phone_connect(twin), SATCHEL_OK);
    assert_int_equal(phone_talk(twin), SATCHEL_OK);
    insert_item(ann, "b");
    phone_sync(ann);
    assert_int_equal(phone_talk(twin), SATCHEL_OK);
    phone_write(twin, "UPDATE item SET title = 'twin' WHERE id = 'b'");
    assert_int_equal(phone_talk(twin), SATCHEL_OK);
    town_settle(&town);
    assert_string_equal(phone_read(ann, CONFLICTS), "0");
    assert_string_equal(sql(&town.server, DEVICES), "1");
    town_close(&town);
}

static void test_clone__of_a_clone_on_three_phones(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *second = town_clone(&town, ann);
    phone_write(ann, "UPDATE item SET hits = hits + 1 WHERE id = 'a'");
    phone_write(second, "UPDATE item SET title = 'second', hits = hits + 10 WHERE id = 'a'");
    phone_write(second, "UPDATE item SET hits = hits + 100 WHERE id = 'a'");
    struct phone *third = town_clone(&town, second); /* before either knows that it is a copy */
    phone_write(second, "UPDATE item SET hits = hits + 1000 WHERE id = 'a'");
    phone_write(third, "UPDATE item SET title = 'third', hits = hits + 10000 WHERE id = 'a'");
    phone_sync(ann);
    assert_int_equal(phone_sync(second), 2);
    assert_int_equal(phone_sync(third), 3);
    town_settle(&town);
    assert_string_equal(phone_read(ann, "SELECT title, hits FROM item"), "third|11111");
    assert_string_equal(phone_read(ann, CONFLICTS), "0"); /* 'third' knew 'second' */
    assert_string_equal(phone_read(third, "SELECT group_concat(last_number, ' ') FROM (SELECT"
                                          " last_number FROM satchel_ancestor ORDER BY 1)"),
                        "1 3");
    /* And a clone of what is known as a copy. */
    struct phone *fourth = town_clone(&town, third);
    insert_item(third, "of the third");
    insert_item(fourth, "of the fourth");
    phone_sync(fourth);
    assert_int_equal(phone_sync(third), 2);
    town_settle(&town);
    town_close(&town);
}

/* ---- cut off ---- */

static void test_cut__a_lost_copied_is_asked_for_again(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    insert_item(ann, "of ann");
    insert_item(twin, "of the twin");
    phone_sync(ann);
    twin->loses_copied = true;
    phone_sync(twin);
    assert_int_equal(twin->copy_count, 1);
    assert_string_equal(phone_read(twin, COPY_OF), "null");
    /* The file that lost it is copied: both are the same copy until they part in their turn. */
    struct phone *third = town_clone(&town, twin);
    insert_item(twin, "of the twin again");
    insert_item(third, "of the third");
    assert_int_equal(phone_sync(twin), 2);
    assert_int_equal(phone_sync(third), 3);
    town_settle(&town);
    assert_string_equal(sql(&town.server, DEVICES), "3");
    town_close(&town);
}

static void test_cut__an_upload_goes_on_where_it_was_cut_and_sends_nothing_twice(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    char sql[4200];
    memset(sql, 'x', sizeof sql);
    for (int i = 0; i < 300; i++) { /* some frames */
        int size = snprintf(sql, sizeof sql, "INSERT INTO item(id, title) VALUES('%d', hex(", i);
        sql[size] = ' ';
        memcpy(sql + 60, "randomblob(1500)))", sizeof "randomblob(1500)))");
        memset(sql + size, ' ', 60 - (size_t)size);
        phone_write(ann, sql);
    }
    ann->up_frames = 4; /* TIME, HELLO, ... */
    phone_sync(ann);
    assert_int_equal(ann->copy_count, 0);
    assert_int_equal(phone_sync(ann), 1);
    assert_int_equal(ann->pushed_count, 300);
    assert_int_equal(ann->duplicate_count, 0);
    assert_int_equal(ann->copy_count, 0);
    town_settle(&town);
    town_close(&town);
}

/* ---- others on the same file ---- */

static void test_application__that_stays_open_goes_on_capturing_as_the_copy(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    insert_item(ann, "of ann");
    phone_sync(ann);
    insert_item(twin, "of the twin");
    const char *before = phone_read(twin, "SELECT satchel_device()");
    assert_int_equal(phone_sync(twin), 2); /* the application is open */
    const char *after = phone_read(twin, "SELECT satchel_device()");
    assert_string_not_equal(before, after);
    assert_string_equal(phone_read(twin, "SELECT device FROM satchel_status"), after);
    insert_item(twin, "written later");
    assert_string_equal(phone_read(twin, "SELECT number FROM satchel_change"), "3");
    assert_string_equal(phone_read(twin, "SELECT count(*) FROM satchel_history WHERE device ="
                                         " satchel_device() AND key = 'written later'"),
                        "1");
    town_settle(&town);
    town_close(&town);
}

static void test_application__a_sync_beside_the_one_that_finds_the_copy_begins_again(void **state)
{
    (void)state;
    struct town town;
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    struct phone *twin = town_clone(&town, ann);
    insert_item(ann, "of ann");
    assert_int_equal(phone_connect(twin), SATCHEL_OK);
    assert_int_equal(phone_talk(twin), SATCHEL_OK);
    phone_sync(ann);
    insert_item(twin, "of the twin");
    struct phone beside = phone_beside(twin);
    assert_int_equal(phone_sync(&beside), 2);
    assert_int_equal(phone_talk(twin), SATCHEL_AGAIN);
    phone_hang_up(twin);
    town_settle(&town);
    town_close(&town);
}

/* ---- at random ---- */

static unsigned below(uint64_t *random, unsigned limit)
{
    *random ^= *random >> 12; /* xorshift64* */
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return (unsigned)((*random * UINT64_C(2685821657736338717)) >> 33) % limit;
}

struct play {
    struct town town;
    uint64_t random;
    int64_t hits; /* added by anybody */
    unsigned item_count;
    bool is_kept[PHONES_MAX];
};

static void write_something(struct play *play, struct phone *phone)
{
    char sql[160];
    unsigned amount = 1 + below(&play->random, 3); /* often the same on two phones */
    switch (below(&play->random, 4)) {
    case 0:
        snprintf(sql, sizeof sql, "INSERT INTO item(id, title, code) VALUES('i%u', 'new', 'c')",
                 play->item_count++);
        break;
    case 1:
        snprintf(sql, sizeof sql, "UPDATE item SET title = 't%u', owner = 'o%u' WHERE id = 'a'",
                 below(&play->random, 1000), phone->index);
        break;
    default:
        snprintf(sql, sizeof sql, "UPDATE item SET hits = hits + %u WHERE id = 'a'", amount);
        play->hits += amount;
    }
    phone_write(phone, sql);
}

static void do_something(struct play *play)
{
    struct town *town = &play->town;
    struct phone *phone = &town->phones[below(&play->random, town->phone_count)];
    switch (below(&play->random, 12)) {
    case 0:
        if (town->phone_count < PHONES_MAX)
            (void)town_clone(town, phone);
        break;
    case 1:
        phone_keep(phone);
        play->is_kept[phone->index] = true;
        break;
    case 2: /* what was not uploaded would be lost with the file */
        phone_sync(phone);
        if (play->is_kept[phone->index] && phone_is_uploaded(phone))
            phone_put_back(phone);
        break;
    case 3:
        phone->up_frames = 1 + below(&play->random, 8);
        phone_sync(phone);
        phone->up_frames = 0;
        break;
    case 4: phone->loses_copied = true; break;
    case 5:
    case 6: phone_sync(phone); break;
    case 7: /* stays connected while others write */
        if (!phone->sync && phone_connect(phone) != SATCHEL_OK)
            phone_hang_up(phone);
        break;
    case 8:
        if (phone->sync && phone_talk(phone) == SATCHEL_AGAIN)
            phone_hang_up(phone);
        break;
    default: write_something(play, phone);
    }
}

static void play_at_random(uint64_t seed, unsigned step_count)
{
    struct play play = {.random = seed};
    char expected[32];
    printf("seed %llu\n", (unsigned long long)seed);
    town_open(&play.town);
    insert_item(town_join(&play.town), "a");
    phone_sync(&play.town.phones[0]);
    for (unsigned i = 0; i < step_count; i++)
        do_something(&play);
    for (unsigned i = 0; i < play.town.phone_count; i++)
        play.town.phones[i].loses_copied = false;
    town_settle(&play.town);
    snprintf(expected, sizeof expected, "%lld", (long long)play.hits);
    assert_string_equal(phone_read(&play.town.phones[0], "SELECT hits FROM item WHERE id = 'a'"),
                        expected);
    town_close(&play.town);
}

/* SATCHEL_SEED=N SATCHEL_STEPS=N plays one again, or another. */
static void test_copies__at_random(void **state)
{
    const char *seed = getenv("SATCHEL_SEED"), *steps = getenv("SATCHEL_STEPS");
    unsigned step_count = steps ? (unsigned)strtoul(steps, NULL, 10) : 60;
    (void)state;
    if (seed) {
        play_at_random(strtoull(seed, NULL, 10), step_count);
        return;
    }
    for (uint64_t i = 1; i <= 8; i++)
        play_at_random(i * UINT64_C(0x9e3779b97f4a7c15), step_count);
}

/* ---- the server's part ---- */

static enum satchel_status say_copy(struct town *town, const struct phone *phone, uint64_t number,
                                    const uint8_t hash[SATCHEL_HASH_BYTES], struct satchel_id *copy)
{
    static const uint8_t token[SATCHEL_TOKEN_BYTES] = {5};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_COPY};
    struct satchel_job *job = satchel_job_new(SATCHEL_JOB_COPY);
    message.copy.number = number;
    message.copy.hash = satchel_span_of(hash, SATCHEL_HASH_BYTES);
    message.copy.token = satchel_span_of(token, sizeof token);
    job->device = phone->app->device;
    assert_ok(satchel_job_take_request(job, &message));
    enum satchel_status status = run(&town->server, job);
    if (status == SATCHEL_OK) {
        assert_int_equal(job->answers[0].kind, SATCHEL_MESSAGE_COPIED);
        *copy = job->answers[0].copied.device;
    }
    satchel_job_free(job);
    return status;
}

static void test_server__a_copy_is_one_only_of_what_it_holds_otherwise(void **state)
{
    (void)state;
    struct town town;
    struct satchel_id copy, again, expected;
    uint8_t held[SATCHEL_HASH_BYTES], hash[SATCHEL_HASH_BYTES] = {1};
    const char *text;
    char parent[SATCHEL_ID_TEXT_BYTES], statement[200];
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    insert_item(ann, "b");
    phone_sync(ann);
    text = sql(&town.server, "SELECT lower(hex(hash)) FROM satchel_hash WHERE number = 2");
    for (size_t i = 0; i < sizeof held; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        held[i] = (uint8_t)byte;
    }
    assert_int_equal(say_copy(&town, ann, 2, held, &copy), SATCHEL_MISMATCH);
    assert_int_equal(say_copy(&town, ann, 3, hash, &copy), SATCHEL_MISMATCH);
    assert_string_equal(sql(&town.server, DEVICES), "1");
    assert_int_equal(say_copy(&town, ann, 2, hash, &copy), SATCHEL_OK);
    assert_int_equal(say_copy(&town, ann, 2, hash, &again), SATCHEL_OK);
    expected = satchel_copy_id(&ann->app->device, 1, hash);
    assert_memory_equal(&copy, &expected, sizeof copy);
    assert_memory_equal(&again, &expected, sizeof again);
    assert_string_equal(sql(&town.server, DEVICES), "2");
    satchel_id_text(&ann->app->device, parent);
    snprintf(statement, sizeof statement,
             "SELECT user, last_number, parent_number, lower(hex(parent)) = '%s' FROM"
             " satchel_device WHERE parent NOTNULL",
             parent);
    assert_string_equal(sql(&town.server, statement), "ann|1|1|1");
    assert_string_equal(sql(&town.server, "SELECT count(*), count(DISTINCT role) FROM"
                                          " satchel_device_role"),
                        "2|1");
    town_close(&town);
}

/* The one that was refused, and what its session had said behind it, are not merged, though the
 * next number is in turn once another file's has taken the place. */
static void test_server__what_follows_a_refused_change_set_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct device ann, bob;
    open_joined(&fixture, &ann, &bob);
    assert_ok(push(&fixture, &ann, 1, "one", 0));
    for (int i = 0; i < 3; i++) {
        static const struct {
            uint64_t session, number;
            enum satchel_status status;
        } said[] = {{7, 1, SATCHEL_MISMATCH}, {7, 2, SATCHEL_AGAIN}, {8, 2, SATCHEL_OK}};
        struct satchel_job *job = push_job(&ann, said[i].number, "other", 0);
        job->owner_number = said[i].session;
        assert_int_equal(run(&fixture, job), said[i].status);
        satchel_job_free(job);
    }
    fixture_close(&fixture);
}

/* What is pushed is held already, of the copy that says it; the next number of the device by whose
 * name it says it is free. */
static void test_server__what_a_copy_says_behind_what_it_has_said_is_not_taken(void **state)
{
    (void)state;
    struct town town;
    struct satchel_id copy;
    uint8_t hash[SATCHEL_HASH_BYTES];
    town_open(&town);
    struct phone *ann = town_join(&town);
    insert_item(ann, "a");
    phone_sync(ann);
    town_back_up(&town, "backup"); /* a node that was restored looks for it in other lines */
    town_restore(&town, "backup", false);
    struct device device = device_new(1);
    device.id = ann->app->device;
    assert_ok(push(&town.server, &device, 2, "of the first file", 0));
    struct satchel_job *job = push_job(&device, 2, "both", 0), *next = push_job(&device, 3, "z", 0);
    const struct satchel_push_item *said = &job->request.push.items[0];
    assert_ok(satchel_changeset_hash(said->body, said->secret, hash));
    assert_ok(say_copy(&town, ann, 2, hash, &copy));
    device.id = copy;
    assert_ok(push(&town.server, &device, 2, "both", 0));
    struct satchel_push_item items[] = {*said, next->request.push.items[0]};
    job->request.push.items = items;
    job->request.push.item_count = 2;
    assert_ok(run(&town.server, job));
    assert_int_equal(job->acked_number, 0);
    assert_string_equal(sql(&town.server, "SELECT count(*) FROM satchel_entry"), "3");
    satchel_job_free(next);
    satchel_job_free(job);
    town_close(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_back__without_writes_it_catches_up_and_stays_the_same_device),
        cmocka_unit_test(test_put_back__with_writes_of_its_own_it_is_a_copy),
        cmocka_unit_test(test_put_back__what_is_written_while_it_catches_up_is_a_copys),
        cmocka_unit_test(test_clone__both_go_on_whichever_syncs_first),
        cmocka_unit_test(test_clone__equal_writes_of_both_count_twice),
        cmocka_unit_test(test_clone__what_was_pending_at_the_copy_is_no_conflict),
        cmocka_unit_test(test_clone__both_attached_push_the_same_number),
        cmocka_unit_test(test_clone__attached_without_writes_it_follows_its_twin),
        cmocka_unit_test(test_clone__of_a_clone_on_three_phones),
        cmocka_unit_test(test_cut__a_lost_copied_is_asked_for_again),
        cmocka_unit_test(test_cut__an_upload_goes_on_where_it_was_cut_and_sends_nothing_twice),
        cmocka_unit_test(test_application__that_stays_open_goes_on_capturing_as_the_copy),
        cmocka_unit_test(test_application__a_sync_beside_the_one_that_finds_the_copy_begins_again),
        cmocka_unit_test(test_copies__at_random),
        cmocka_unit_test(test_server__a_copy_is_one_only_of_what_it_holds_otherwise),
        cmocka_unit_test(test_server__what_follows_a_refused_change_set_is_refused),
        cmocka_unit_test(test_server__what_a_copy_says_behind_what_it_has_said_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
