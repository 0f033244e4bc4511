/* Phones write one field of one row, sync when they like, hear a restored server without giving
 * back what it has lost, and write on. What each write claims to have seen must come to what its
 * author's table showed: the latest of the writes seen that none of the others seen had seen. */
#include "phone_kit.h"

#include <satchel/changeset.h>
#include <satchel/log_reader.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PLAYS = 40, STEPS = 40, WRITES_MAX = 64, PHONES = 4, TITLE = 1 };

struct claim {
    char shown[16], value[16]; /* as the table had it before and has it after */
    struct satchel_write write;
};

struct play {
    struct town town;
    unsigned random;
    struct claim claims[WRITES_MAX];
    unsigned count;
    struct satchel_arena arena;
};

static unsigned below(struct play *play, unsigned limit)
{
    play->random = play->random * 1103515245u + 12345u;
    return (play->random >> 16) % limit;
}

static void write_one(struct play *play, struct phone *phone)
{
    struct claim *claim = &play->claims[play->count];
    char statement[80];
    snprintf(claim->shown, sizeof claim->shown, "%s", phone_read(phone, "SELECT title FROM item"));
    snprintf(claim->value, sizeof claim->value, "v%u", play->count++);
    snprintf(statement, sizeof statement, "UPDATE item SET title = '%s'", claim->value);
    phone_write(phone, statement);
}

static void play_step(struct play *play)
{
    struct phone *phone = &play->town.phones[below(play, PHONES)];
    unsigned chance = below(play, 20);
    if (chance < 8)
        write_one(play, phone);
    else if (chance < 12)
        phone_sync(phone);
    else if (chance < 17)
        phone_hear(phone);
    else if (chance < 18)
        town_back_up(&play->town, "backup");
    else
        town_restore(&play->town, "backup", false);
}

/* ---- what the server has of the writes in the end ---- */

static struct satchel_vector positions_of(struct play *play, uint64_t cursor, uint64_t seq)
{
    char query[400];
    struct satchel_vector positions = {NULL, 0};
    snprintf(query, sizeof query,
             "SELECT group_concat(hex(node) || seq, ' ') || ' ' FROM (SELECT coalesce((SELECT node"
             " FROM satchel_incarnation WHERE last_cursor >= %llu ORDER BY last_cursor LIMIT 1),"
             " (SELECT node FROM satchel_workspace)) AS node, %llu AS seq UNION ALL SELECT node,"
             " seq FROM satchel_position WHERE cursor = %llu)",
             (unsigned long long)cursor, (unsigned long long)seq, (unsigned long long)cursor);
    for (const char *at = sql(&play->town.server, query); *at; at = strchr(at, ' ') + 1) {
        struct satchel_id node;
        for (int i = 0; i < 16; i++) {
            unsigned byte;
            assert_int_equal(sscanf(at + (size_t)2 * i, "%2x", &byte), 1);
            node.bytes[i] = (uint8_t)byte;
        }
        assert_int_equal(satchel_vector_raise(&play->arena, &positions, &node,
                                              strtoull(at + 32, NULL, 10), &positions),
                         SATCHEL_OK);
    }
    return positions;
}

static void take_entry(struct play *play, const struct satchel_entry *entry)
{
    struct satchel_buffer buffer;
    struct satchel_span body;
    struct satchel_changeset content;
    satchel_buffer_init(&buffer, 1 << 20, NULL);
    assert_ok(satchel_body_load(entry->body, &buffer, &body));
    body = satchel_arena_copy(&play->arena, body);
    assert_ok(satchel_changeset_decode(body, &play->arena, &content, NULL));
    satchel_buffer_deinit(&buffer);
    const struct satchel_part *part = &content.parts[0];
    for (unsigned i = 0; i < play->count; i++)
        if (part->kind == SATCHEL_OP_UPDATE &&
            satchel_span_equal(part->fields[0].value.bytes,
                               satchel_span_text(play->claims[i].value)))
            play->claims[i].write = (struct satchel_write){
                .order = {entry->stamp, entry->device, entry->number, 0},
                .positions = positions_of(play, entry->cursor, entry->seq),
                .seen = content.header.seen,
                .kind = part->kind,
                .exceptions = part->exceptions,
                .exception_count = part->exception_count,
            };
}

static void take_log(struct play *play)
{
    struct satchel_log_reader *reader;
    struct satchel_log_entry read;
    struct satchel_error error = {0};
    bool found = true;
    assert_ok(satchel_log_reader_new(&reader, play->town.phones[0].app->db));
    assert_ok(satchel_log_read_from(reader, 0, NULL, 0, &error));
    while (found) {
        assert_ok(satchel_log_read_next(reader, &found, &read, &error));
        if (found)
            take_entry(play, &read.entry);
    }
    satchel_log_reader_free(reader);
}

/* ---- what a write claims ---- */

static bool saw(const struct claim *claim, const struct claim *other)
{
    return claim != other && satchel_write_saw(&claim->write, TITLE, &other->write.order.device,
                                               other->write.order.number, &other->write.positions);
}

static const struct claim *latest_seen(const struct play *play, const struct claim *claim)
{
    const struct claim *latest = NULL;
    for (unsigned i = 0; i < play->count; i++) {
        const struct claim *candidate = &play->claims[i];
        bool is_head = saw(claim, candidate);
        for (unsigned j = 0; j < play->count && is_head; j++)
            is_head = !(saw(claim, &play->claims[j]) && saw(&play->claims[j], candidate));
        if (is_head &&
            (!latest || satchel_order_compare(&latest->write.order, &candidate->write.order) < 0))
            latest = candidate;
    }
    return latest;
}

/* An own value may have been shown because it was pending, and is seen though the server lost it.
 */
static bool is_own(const struct play *play, const struct claim *claim, const char *value)
{
    for (unsigned i = 0; i < play->count; i++)
        if (strcmp(play->claims[i].value, value) == 0)
            return satchel_id_equal(&play->claims[i].write.order.device,
                                    &claim->write.order.device);
    return false;
}

static void check_claims(const struct play *play, unsigned seed)
{
    for (unsigned i = 0; i < play->count; i++) {
        const struct claim *claim = &play->claims[i], *latest = latest_seen(play, claim);
        const char *claimed = latest ? latest->value : "old";
        if (!is_own(play, claim, claim->shown) && !is_own(play, claim, claimed) &&
            strcmp(claim->shown, claimed) != 0)
            fail_msg("play %u: %s was written over %s and claims to have seen %s", seed,
                     claim->value, claim->shown, claimed);
    }
}

static void test_claims__are_what_was_shown(void **state)
{
    (void)state;
    static struct play play;
    const char *first = getenv("SATCHEL_SEED");
    for (unsigned i = 0; i < PLAYS; i++) {
        unsigned seed = i + (first ? (unsigned)strtoul(first, NULL, 10) : 0);
        memset(&play, 0, sizeof play);
        play.random = seed;
        satchel_arena_init(&play.arena, 16 << 20, NULL);
        town_open(&play.town);
        phone_write(town_join(&play.town), "INSERT INTO item(id, title) VALUES('a', 'old')");
        for (int j = 1; j < PHONES; j++)
            phone_sync(town_join(&play.town));
        for (unsigned j = 0; j < PHONES; j++)
            phone_sync(&play.town.phones[j]);
        town_back_up(&play.town, "backup");
        for (int j = 0; j < STEPS; j++)
            play_step(&play);
        town_settle(&play.town);
        take_log(&play);
        check_claims(&play, seed);
        town_close(&play.town);
        satchel_arena_deinit(&play.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_claims__are_what_was_shown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
