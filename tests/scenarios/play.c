/* Owns the course of a scenario: its steps, and the orders in which devices come back. */
#include "play_internal.h"

#include <stdlib.h>

enum { TEXT_BYTES_MAX = 64 << 20, ROUNDS_MAX = 1000 };

/* ---- writing ---- */

static bool write_step(struct play *play, const struct scenario_step *step)
{
    sqlite3 *db = system_app(&play->world.devices[step->device], 0);
    char *message = NULL;
    bool is_done = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
                   sqlite3_exec(db, step->text, NULL, NULL, &message) == SQLITE_OK &&
                   sqlite3_exec(db, "COMMIT", NULL, NULL, &message) == SQLITE_OK;
    bool is_right = is_done == !step->refusal;
    if (!is_done && step->refusal)
        is_right = message && strstr(message, step->refusal) != NULL;
    if (!is_right)
        play_wrong(play, step, "%s", message ? message : "was not refused");
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_free(message);
    play->has_written[step->device] |= is_done;
    return is_right;
}

/* Each line: TABLE KEY FIELD=VALUE... */
static void set_step(struct play *play, const struct scenario_step *step)
{
    char *copy = strdup(step->text), *rest_of_lines;
    assert_non_null(copy);
    for (char *line = strtok_r(copy, "\n", &rest_of_lines); line;
         line = strtok_r(NULL, "\n", &rest_of_lines)) {
        char *words[6] = {NULL}, *rest, *word = strtok_r(line, " ", &rest);
        for (int i = 0; i < 5 && word; i++, word = strtok_r(NULL, " ", &rest))
            words[i] = word;
        system_server_admin(&play->world, "workspace.set", "test", words[0], words[1], words[2],
                            words[3], words[4], NULL);
    }
    free(copy);
}

/* ---- coming back ---- */

static unsigned factorial(unsigned n)
{
    return n < 2 ? 1 : n * factorial(n - 1);
}

/* Who takes part: first those who have something to say, in the order of that number; then the
 * others. */
static unsigned arrange(const struct play *play, const struct scenario_step *step, unsigned order,
                        unsigned out[SCENARIO_DEVICES_MAX], unsigned *writer_count)
{
    unsigned writers[SCENARIO_DEVICES_MAX], left = 0, count = 0;
    for (unsigned i = 0; i < play->world.device_count; i++)
        if (step->takes_part[i] && play->has_written[i])
            writers[left++] = i;
    *writer_count = left;
    order %= factorial(left);
    for (; left > 0; left--) {
        unsigned which = order / factorial(left - 1);
        order %= factorial(left - 1);
        out[count++] = writers[which];
        memmove(writers + which, writers + which + 1, (left - which - 1) * sizeof *writers);
    }
    for (unsigned i = 0; i < play->world.device_count; i++)
        if (step->takes_part[i] && !play->has_written[i])
            out[count++] = i;
    return count;
}

/* Carries frames until nothing moves. */
static void sync_devices(struct play *play, const unsigned *devices, unsigned count)
{
    bool is_moving = true;
    for (unsigned i = 0; i < count; i++)
        system_link_open(&play->world.devices[devices[i]]);
    for (unsigned round = 0; is_moving; round++) {
        system_check(&play->world, round < ROUNDS_MAX, "the sync does not end");
        is_moving = false;
        for (unsigned i = 0; i < count; i++) {
            is_moving |= system_link_pump(&play->world.devices[devices[i]], 50);
            is_moving |= play->world.pushes != NULL;
            system_server_flush(&play->world);
        }
    }
    for (unsigned i = 0; i < count; i++)
        system_check(&play->world, play->world.devices[devices[i]].link.is_done,
                     "device %u is not done", devices[i]);
}

static void hang_up(struct play *play, const unsigned *devices, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        system_link_close(&play->world.devices[devices[i]]);
}

/* The cursors of those who take part, the server's, and what is pending. */
static uint64_t position(struct play *play, const unsigned *devices, unsigned count)
{
    uint64_t sum = play->world.head;
    for (unsigned i = 0; i < count; i++)
        sum +=
            (uint64_t)system_integer(&play->world, system_app(&play->world.devices[devices[i]], 0),
                                     "SELECT (SELECT cursor FROM satchel_replica) +"
                                     " 1000000 * (SELECT pending FROM satchel_status)");
    return sum;
}

static bool sync_step(struct play *play, const struct scenario_step *step, unsigned order,
                      bool is_twice)
{
    unsigned devices[SCENARIO_DEVICES_MAX], writer_count;
    unsigned count = arrange(play, step, order, devices, &writer_count);
    if (play->order_count < factorial(writer_count))
        play->order_count = factorial(writer_count);
    memset(play->is_here, 0, sizeof play->is_here);
    for (unsigned i = 0; i < count; i++) {
        play_join(play, devices[i]);
        if (is_twice && i < writer_count)
            system_link_lose_answers(&play->world.devices[devices[i]]);
        sync_devices(play, devices + i, 1); /* and stays */
        play->is_here[devices[i]] = true;
        play->has_written[devices[i]] = false;
    }
    sync_devices(play, devices, count);
    hang_up(play, devices, count);
    sync_devices(play, devices, count); /* who was connected was told nothing of others' scopes */
    hang_up(play, devices, count);
    uint64_t before = position(play, devices, count);
    sync_devices(play, devices, count);
    hang_up(play, devices, count);
    if (position(play, devices, count) != before || before != play->world.head * (count + 1))
        return play_wrong(play, step, "another sync moves something");
    return play_compare(play, step);
}

/* ---- the course ---- */

static bool play_step(struct play *play, const struct scenario_step *step, unsigned order,
                      bool is_twice)
{
    play->world.now_ms = step->at_ms;
    switch (step->kind) {
    case SCENARIO_WRITE: play_join(play, step->device); return write_step(play, step);
    case SCENARIO_SET: set_step(play, step); return true;
    case SCENARIO_SYNC: return sync_step(play, step, order, is_twice);
    case SCENARIO_EXPECT:
    case SCENARIO_CONFLICTS: break;
    }
    return play_expect(play, step);
}

static bool play_steps(struct play *play, bool is_base, unsigned order, bool is_twice)
{
    for (unsigned i = 0; i < play->scenario->step_count; i++)
        if (play->scenario->steps[i].is_base == is_base &&
            !play_step(play, &play->scenario->steps[i], order, is_twice))
            return false;
    return true;
}

struct play *play_new(const struct scenario *scenario, const struct play_schema *schema)
{
    struct play *play = calloc(1, sizeof *play);
    assert_non_null(play);
    play->scenario = scenario;
    play->schema = schema;
    satchel_buffer_init(&play->text, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&play->other, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&play->reason, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&play->name, TEXT_BYTES_MAX, NULL);
    play_world_open(play);
    if (!play_steps(play, true, 0, false))
        system_fail(&play->world, "%s", satchel_buffer_text(&play->reason));
    play_world_keep(play);
    play->order_count = 1;
    return play;
}

void play_free(struct play *play)
{
    play_world_close(play);
    for (size_t i = 0; i < SCENARIO_STEPS_MAX; i++)
        free(play->dumps[i]);
    satchel_buffer_deinit(&play->text);
    satchel_buffer_deinit(&play->other);
    satchel_buffer_deinit(&play->reason);
    satchel_buffer_deinit(&play->name);
    free(play);
}

unsigned play_order_count(const struct play *play)
{
    return play->order_count;
}

const char *play_order(struct play *play, unsigned order, bool is_twice)
{
    play_world_restore(play, UINT64_C(0x9e3779b97f4a7c15) * (2 * order + 1 + is_twice));
    play->world.is_delivering_twice = is_twice;
    memset(play->has_written, 0, sizeof play->has_written);
    return play_steps(play, false, order, is_twice) ? NULL : satchel_buffer_text(&play->reason);
}
