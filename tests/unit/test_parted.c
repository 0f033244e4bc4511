/* Files of one device that part while the server is put back to an earlier moment: what the server
 * had of the one and lost comes back under the number that the other has taken, as a copy's. Every
 * commit of everybody is in the history once (town_settle), and nobody keeps anything as lost. */
#include "phone_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char CONFLICTS[] = "SELECT conflicts FROM satchel_status";
static const char COPY_OF[] = "SELECT copy_of FROM satchel_status";
static const char HITS[] = "SELECT hits FROM item WHERE id = 'a'";
static const char LOST[] = "SELECT count(*) FROM satchel_lost";
static const char ENTRIES[] = "SELECT count(*) FROM satchel_entry";
static const char COPIES[] = "SELECT count(parent), count(token) FROM satchel_device WHERE user ="
                             " 'ann'";

static void add(struct phone *phone, unsigned hits)
{
    char sql[128];
    snprintf(sql, sizeof sql, "UPDATE item SET hits = hits + %u WHERE id = 'a'", hits);
    phone_write(phone, sql);
}

/* Everybody has everything; nothing waits to be given back. */
static void settle(struct town *town)
{
    town_settle(town);
    for (unsigned i = 0; i < town->phone_count; i++)
        assert_string_equal(phone_read(&town->phones[i], LOST), "0");
}

/* Ann's phone and a second one with a copy of her file; Bob, who hears what either sends. */
struct story {
    struct town town;
    struct phone *ann, *twin, *bob;
};

static void open_story(struct story *story)
{
    town_open(&story->town);
    story->ann = town_join(&story->town);
    story->bob = town_join(&story->town);
    phone_write(story->ann, "INSERT INTO item(id, title) VALUES('a', 'new')");
    phone_sync(story->ann);
    phone_sync(story->bob);
    story->twin = town_clone(&story->town, story->ann);
    town_back_up(&story->town, "backup");
}

/* ---- the lost one of two ---- */

/* Ann has sent two change sets, which the server loses; the twin takes their numbers. Bit 0: who
 * comes next; the rest: how many of its own the twin sends before. */
static void test_lost__comes_back_as_a_copys_and_its_author_becomes_the_copy(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 8; order++) {
        struct story story;
        char device[SATCHEL_ID_TEXT_BYTES];
        unsigned expected = 1 + 10 + 1000 + 10000;
        open_story(&story);
        add(story.ann, 1);
        phone_write(story.ann, "UPDATE item SET title = 'ann', hits = hits + 10 WHERE id = 'a'");
        phone_sync(story.ann);
        phone_sync(story.bob);
        memcpy(device, phone_read(story.ann, "SELECT device FROM satchel_status"), sizeof device);
        town_restore(&story.town, "backup", false);
        for (unsigned i = 0; i <= order / 2; i++) {
            add(story.twin, 100);
            expected += 100;
        }
        assert_int_equal(phone_sync(story.twin), 1);
        add(story.ann, 1000); /* waits, behind what was lost */
        phone_sync(order % 2 ? story.bob : story.ann);
        phone_sync(order % 2 ? story.ann : story.bob);
        add(story.ann, 10000);
        settle(&story.town);
        assert_string_equal(phone_read(story.twin, COPY_OF), "null");
        assert_string_equal(phone_read(story.ann, COPY_OF), device);
        assert_string_equal(phone_read(story.ann, "SELECT last_number FROM satchel_ancestor"), "1");
        assert_int_equal(strtoul(phone_read(story.bob, HITS), NULL, 10), expected);
        assert_string_equal(phone_read(story.bob, "SELECT title FROM item"), "ann");
        assert_string_equal(phone_read(story.bob, CONFLICTS), "0");
        assert_string_equal(sql(&story.town.server, COPIES), "1|3");
        town_close(&story.town);
    }
}

/* Bob alone has heard it; the phone that wrote it fell into the river. */
static void test_lost__comes_back_without_its_author(void **state)
{
    (void)state;
    struct story story;
    open_story(&story);
    phone_write(story.ann, "UPDATE item SET title = 'ann', hits = hits + 1 WHERE id = 'a'");
    add(story.ann, 10);
    phone_sync(story.ann);
    phone_sync(story.bob);
    town_restore(&story.town, "backup", false);
    phone_write(story.twin, "UPDATE item SET title = 'twin', hits = hits + 100 WHERE id = 'a'");
    phone_sync(story.twin);
    phone_sync(story.bob);
    assert_string_equal(sql(&story.town.server, ENTRIES), "4");
    assert_string_equal(sql(&story.town.server, "SELECT hits FROM item"), "111");
    assert_string_equal(sql(&story.town.server, COPIES), "1|2"); /* who was it has to show */
    assert_string_equal(phone_read(story.bob, LOST), "0");
    assert_string_equal(phone_read(story.bob, CONFLICTS), "1"); /* neither knew the other */
    settle(&story.town);
    town_close(&story.town);
}

/* Bob was there the first time; Ann meets the third incarnation only. */
static void test_lost__twice_and_given_back_in_any_order(void **state)
{
    (void)state;
    for (int order = 0; order < 6; order++) {
        static const int ORDERS[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        struct story story;
        open_story(&story);
        struct phone *all[3] = {story.ann, story.twin, story.bob};
        add(story.ann, 1);
        add(story.ann, 10);
        phone_sync(story.ann);
        phone_sync(story.bob);
        town_restore(&story.town, "backup", false);
        add(story.twin, 100);
        phone_sync(story.twin);
        phone_sync(story.bob);
        add(story.twin, 1000);
        phone_sync(story.twin);
        add(story.ann, 10000);
        town_restore(&story.town, "backup", false);
        for (int i = 0; i < 3; i++)
            phone_sync(all[ORDERS[order][i]]);
        add(story.twin, 100000);
        settle(&story.town);
        assert_string_equal(phone_read(story.bob, HITS), "111111");
        town_close(&story.town);
    }
}

/* Bob gives back what he has last first, which no device does by itself. The server, which knows of
 * no copy any more, has some of it already, as the first device's. */
static void test_lost__is_there_once_whatever_the_order(void **state)
{
    (void)state;
    struct story story;
    open_story(&story);
    add(story.ann, 1);
    add(story.ann, 10);
    phone_sync(story.ann);
    phone_sync(story.bob);
    town_restore(&story.town, "backup", false);
    add(story.twin, 100);
    phone_sync(story.twin);
    phone_sync(story.bob);
    town_restore(&story.town, "backup", false);
    phone_sync(story.ann);
    for (unsigned frames = 1; strcmp(phone_read(story.bob, LOST), "0") == 0; frames++) {
        assert_true(frames < 20);
        story.bob->up_frames = frames;
        if (phone_connect(story.bob) == SATCHEL_OK)
            (void)phone_talk(story.bob);
    }
    story.bob->up_frames = 0;
    assert_string_equal(phone_read(story.bob, LOST), "4");
    assert_int_equal(
        sqlite3_exec(story.bob->app->db, "UPDATE satchel_lost SET id = 1 - id", NULL, NULL, NULL),
        SQLITE_OK);
    phone_sync(story.bob);
    settle(&story.town);
    assert_string_equal(phone_read(story.bob, HITS), "111");
    town_close(&story.town);
}

/* ---- a copy that the server has lost ---- */

static void test_copy__that_was_lost_is_given_back_without_its_coming(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct story story;
        open_story(&story);
        phone_write(story.ann, "UPDATE item SET title = 'ann', hits = hits + 1 WHERE id = 'a'");
        phone_sync(story.ann);
        phone_write(story.twin, "UPDATE item SET title = 'twin', hits = hits + 10 WHERE id = 'a'");
        add(story.twin, 100);
        assert_int_equal(phone_sync(story.twin), 2);
        phone_sync(story.bob);
        if (order)
            phone_sync(story.ann);
        town_restore(&story.town, "backup", false);
        phone_sync(order ? story.ann : story.bob);
        assert_string_equal(sql(&story.town.server, ENTRIES), "4");
        assert_string_equal(sql(&story.town.server, "SELECT title, hits FROM item"), "twin|111");
        assert_string_equal(sql(&story.town.server, COPIES), "1|2");
        add(story.twin, 1000); /* and it comes after all */
        phone_sync(story.twin);
        assert_string_equal(sql(&story.town.server, COPIES), "1|3");
        settle(&story.town);
        assert_string_equal(phone_read(story.bob, HITS), "1111");
        assert_string_equal(phone_read(story.bob, CONFLICTS), "1");
        town_close(&story.town);
    }
}

/* The copy's own number comes first, from another file of the same device: it is that one's then,
 * and the copy goes on behind it. */
static void test_copy__whose_change_set_another_file_has_sent_goes_on_behind_it(void **state)
{
    (void)state;
    struct story story;
    open_story(&story);
    add(story.ann, 1);
    add(story.twin, 10);
    struct phone *third = town_clone(&story.town, story.twin);
    phone_sync(story.ann);
    assert_int_equal(phone_sync(story.twin), 2);
    phone_sync(story.bob);
    town_restore(&story.town, "backup", false);
    assert_int_equal(phone_sync(third), 1); /* the twin's, as the device that both were */
    add(story.twin, 100);
    phone_sync(story.twin);
    phone_sync(story.bob);
    add(story.twin, 1000);
    add(third, 10000);
    add(story.ann, 100000);
    settle(&story.town);
    assert_string_equal(phone_read(story.bob, HITS), "111111");
    town_close(&story.town);
}

/* The same before the copy had an answer to that change set, as the copy: bit 0 says who of the two
 * that have it pending comes first. */
static void test_copy__whose_pending_change_set_another_file_has_too_is_there_once(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct story story;
        open_story(&story);
        add(story.ann, 1);
        add(story.twin, 10);
        add(story.twin, 100);
        struct phone *third = town_clone(&story.town, story.twin);
        phone_sync(story.ann);
        story.twin->up_frames = 11; /* with COPY, and as the copy up to HELLO */
        phone_sync(story.twin);
        assert_int_equal(story.twin->copy_count, 1);
        assert_string_not_equal(phone_read(story.twin, COPY_OF), "null");
        town_restore(&story.town, "backup", false);
        phone_sync(order ? story.twin : third);
        add(story.twin, 1000);
        add(third, 10000);
        phone_sync(order ? third : story.twin);
        phone_sync(story.bob);
        settle(&story.town);
        assert_string_equal(phone_read(story.bob, HITS), "11111");
        town_close(&story.town);
    }
}

/* Ann's phone becomes a copy and hears nothing as such before the server forgets it, with what it
 * had parted from: what she had sent is then the first device's again. Bit 0: she has heard it as
 * her own before the restore; the rest: who comes first after it. */
static void test_copy__that_the_server_forgets_goes_on_from_what_it_had_sent(void **state)
{
    (void)state;
    for (int order = 0; order < 12; order++) {
        static const int ORDERS[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        struct story story;
        open_story(&story);
        struct phone *all[3] = {story.ann, story.twin, story.bob};
        add(story.ann, 1);
        add(story.ann, 10);
        phone_sync(story.ann);
        phone_sync(story.bob);
        town_restore(&story.town, "backup", false);
        add(story.twin, 100);
        phone_sync(story.twin);
        for (unsigned frames = 1; strcmp(phone_read(story.ann, COPY_OF), "null") == 0; frames++) {
            assert_true(frames < 20);
            story.ann->up_frames = frames;
            if (phone_connect(story.ann) == SATCHEL_OK)
                (void)phone_talk(story.ann);
        }
        story.ann->up_frames = 0;
        if (order % 2)
            phone_hear(story.ann);
        assert_string_equal(phone_read(story.ann, LOST), order % 2 ? "0" : "2");
        add(story.ann, 1000);
        town_restore(&story.town, "backup", false);
        for (int i = 0; i < 3; i++)
            phone_sync(all[ORDERS[order / 2][i]]);
        add(story.ann, 10000);
        add(story.twin, 100000);
        settle(&story.town);
        assert_string_equal(phone_read(story.bob, HITS), "111111");
        town_close(&story.town);
    }
}

/* ---- while others are there ---- */

/* What waits behind what was lost is not sent as the other's. */
static void test_attached__its_pending_writes_are_not_the_others(void **state)
{
    (void)state;
    struct story story;
    open_story(&story);
    add(story.ann, 1);
    phone_sync(story.ann);
    phone_sync(story.bob);
    town_restore(&story.town, "backup", false);
    add(story.twin, 10);
    add(story.ann, 100);
    assert_int_equal(phone_connect(story.ann), SATCHEL_OK); /* HELLO waits in its session */
    assert_int_equal(phone_sync(story.twin), 1);
    phone_sync(story.bob);
    enum satchel_status status = phone_talk(story.ann);
    assert_int_equal(status, SATCHEL_AGAIN);
    settle(&story.town);
    assert_string_equal(phone_read(story.bob, HITS), "111");
    assert_string_equal(phone_read(story.twin, COPY_OF), "null");
    town_close(&story.town);
}

/* Cut off after each of its frames: what was begun is gone on with. */
static void test_cut__anywhere_the_next_sync_goes_on(void **state)
{
    (void)state;
    for (unsigned frames = 1; frames < 10; frames++) {
        struct story story;
        open_story(&story);
        add(story.ann, 1);
        add(story.ann, 10);
        phone_sync(story.ann);
        town_restore(&story.town, "backup", false);
        add(story.twin, 100);
        phone_sync(story.twin);
        add(story.ann, 1000);
        story.ann->up_frames = frames;
        phone_sync(story.ann);
        story.ann->up_frames = 0;
        settle(&story.town);
        assert_string_equal(phone_read(story.bob, HITS), "1111");
        assert_string_equal(phone_read(story.twin, COPY_OF), "null");
        town_close(&story.town);
    }
}

/* ---- at random ---- */

static unsigned below(uint64_t *random, unsigned limit)
{
    *random ^= *random >> 12; /* xorshift64* */
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return (unsigned)((*random * UINT64_C(2685821657736338717)) >> 33) % limit;
}

enum { BACKUPS_MAX = 3 };

struct play {
    struct town town;
    uint64_t random;
    int64_t hits; /* added by anybody */
    bool is_kept[PHONES_MAX];
    unsigned backup_count;
};

/* What a file has that nobody else has would be gone with it. */
static void sync_all(struct play *play)
{
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < play->town.phone_count; i++)
            phone_sync(&play->town.phones[i]);
}

static void do_something(struct play *play)
{
    struct town *town = &play->town;
    struct phone *phone = &town->phones[below(&play->random, town->phone_count)];
    unsigned what = below(&play->random, 24), amount;
    char name[32];
    snprintf(name, sizeof name, "backup-%u", below(&play->random, BACKUPS_MAX));
    switch (what) {
    case 0:
    case 1:
        if (town->phone_count < PHONES_MAX)
            (void)town_clone(town, phone);
        break;
    case 2:
        phone_keep(phone);
        play->is_kept[phone->index] = true;
        break;
    case 3:
        if (play->is_kept[phone->index]) {
            sync_all(play);
            phone_put_back(phone);
        }
        break;
    case 4:
        snprintf(name, sizeof name, "backup-%u", play->backup_count++ % BACKUPS_MAX);
        town_back_up(town, name);
        break;
    case 5:
    case 6:
        if (play->backup_count >= BACKUPS_MAX)
            town_restore(town, name, false);
        break;
    case 7:
        phone->up_frames = 1 + below(&play->random, 8);
        phone_sync(phone);
        phone->up_frames = 0;
        break;
    case 8: phone->loses_copied = true; break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13: phone_sync(phone); break;
    default:
        amount = 1 + below(&play->random, 3);
        add(phone, amount);
        play->hits += amount;
    }
}

static void play_at_random(uint64_t seed, unsigned step_count)
{
    struct play play = {.random = seed};
    char expected[32];
    printf("seed %llu\n", (unsigned long long)seed);
    town_open(&play.town);
    phone_write(town_join(&play.town), "INSERT INTO item(id, title) VALUES('a', 'new')");
    phone_sync(&play.town.phones[0]);
    (void)town_join(&play.town);
    for (unsigned i = 0; i < step_count; i++)
        do_something(&play);
    for (unsigned i = 0; i < play.town.phone_count; i++)
        play.town.phones[i].loses_copied = false;
    town_settle(&play.town);
    snprintf(expected, sizeof expected, "%lld", (long long)play.hits);
    assert_string_equal(phone_read(&play.town.phones[0], HITS), expected);
    town_close(&play.town);
}

/* SATCHEL_SEED=N SATCHEL_STEPS=N plays one again, or another; SATCHEL_HISTORIES=N that many. */
static void test_parted__at_random(void **state)
{
    const char *seed = getenv("SATCHEL_SEED"), *steps = getenv("SATCHEL_STEPS");
    const char *histories = getenv("SATCHEL_HISTORIES");
    unsigned step_count = steps ? (unsigned)strtoul(steps, NULL, 10) : 100;
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = histories ? strtoull(histories, NULL, 10) : seed ? 1 : 12;
    (void)state;
    for (uint64_t i = first; i < first + count; i++)
        play_at_random(i * UINT64_C(0x9e3779b97f4a7c15), step_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost__comes_back_as_a_copys_and_its_author_becomes_the_copy),
        cmocka_unit_test(test_lost__comes_back_without_its_author),
        cmocka_unit_test(test_lost__twice_and_given_back_in_any_order),
        cmocka_unit_test(test_lost__is_there_once_whatever_the_order),
        cmocka_unit_test(test_copy__that_was_lost_is_given_back_without_its_coming),
        cmocka_unit_test(test_copy__whose_change_set_another_file_has_sent_goes_on_behind_it),
        cmocka_unit_test(test_copy__whose_pending_change_set_another_file_has_too_is_there_once),
        cmocka_unit_test(test_copy__that_the_server_forgets_goes_on_from_what_it_had_sent),
        cmocka_unit_test(test_attached__its_pending_writes_are_not_the_others),
        cmocka_unit_test(test_cut__anywhere_the_next_sync_goes_on),
        cmocka_unit_test(test_parted__at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
