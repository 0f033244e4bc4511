/* Owns what the measured rules are given to merge. */
#include "bench_subjects.h"

const char *const BENCH_STATES[] = {"a_new", "b_open", "c_quoted", "d_sent", "e_won"};

static struct satchel_value make_text(struct bench_maker *maker, const char *text)
{
    struct satchel_span copy = satchel_arena_copy(&maker->arena, satchel_span_text(text));
    if (!copy.data)
        bench_fail("values", "out of memory");
    return satchel_value_text(copy);
}

struct satchel_value bench_plain_value(struct bench_maker *maker, uint32_t step)
{
    char text[48];
    snprintf(text, sizeof text, "+86 28 %08u-%u", (unsigned)bench_draw(&maker->seed, 99999999),
             (unsigned)step);
    return make_text(maker, text);
}

struct satchel_value bench_integer_value(struct bench_maker *maker, uint32_t step)
{
    return satchel_value_integer(1719800000000 + step * 1000 + bench_draw(&maker->seed, 5000));
}

/* Six tags, of which each step replaces one. */
static struct satchel_value set_value(struct bench_maker *maker, uint32_t step)
{
    static const char *const tags[] = {"export", "vip",    "pump",   "filter", "service",
                                       "west",   "credit", "public", "fair",   "website"};
    char text[128];
    size_t size = 0;
    for (uint32_t i = 0; i < 6; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%s\"%s\"", i ? "," : "[",
                                 tags[(i + step) % 10]);
    snprintf(text + size, sizeof text - size, "]");
    return make_text(maker, text);
}

/* Eight keys, of which each step changes one. */
static struct satchel_value map_value(struct bench_maker *maker, uint32_t step)
{
    char text[256];
    size_t size = 0;
    for (uint32_t i = 0; i < 8; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%s\"field_%u\":\"value %u\"",
                                 i ? "," : "{", (unsigned)i,
                                 (unsigned)(step < i ? 0 : (step - i) / 8 + 1));
    snprintf(text + size, sizeof text - size, "}");
    return make_text(maker, text);
}

/* Twelve lines, of which each step changes one. */
static struct satchel_value lines_value(struct bench_maker *maker, uint32_t step)
{
    char text[800];
    size_t size = 0;
    for (uint32_t i = 0; i < 12; i++)
        size += (size_t)snprintf(text + size, sizeof text - size,
                                 "line %u: visited, wants an offer, as of %u\n", (unsigned)i,
                                 (unsigned)(step < i ? 0 : (step - i) / 12 + 1));
    return make_text(maker, text);
}

struct satchel_value bench_state_value(struct bench_maker *maker, uint32_t step)
{
    return make_text(maker, BENCH_STATES[step % BENCH_STATE_COUNT]);
}

const struct bench_subject BENCH_SUBJECTS[BENCH_SUBJECT_COUNT] = {
    {SATCHEL_RULE_LWW, "lww", bench_plain_value, 0}, /* what the others are compared with */
    {SATCHEL_RULE_GROUP, "group", bench_integer_value, BENCH_GROUPED},
    {SATCHEL_RULE_MAX, "max", bench_integer_value, 0},
    {SATCHEL_RULE_MIN, "min", bench_integer_value, 0},
    {SATCHEL_RULE_FIRST, "first", bench_plain_value, 0},
    {SATCHEL_RULE_COUNTER, "counter", bench_integer_value, 0},
    {SATCHEL_RULE_SET, "set", set_value, 0},
    {SATCHEL_RULE_MAP, "map", map_value, 0},
    {SATCHEL_RULE_TEXT3, "text3", lines_value, BENCH_UNJUDGED_TOGETHER},
    {SATCHEL_RULE_SERVER, "server", bench_plain_value, 0},
    {SATCHEL_RULE_KEY, "key", bench_plain_value, 0},
    {SATCHEL_RULE_KEY_WEAK, "key_weak", bench_plain_value, 0},
    {SATCHEL_RULE_LWW, "follows", bench_plain_value, BENCH_FOLLOWED},
    {SATCHEL_RULE_STATE, "state", bench_state_value, 0},
    {SATCHEL_RULE_AUTHORITY, "authority", bench_plain_value, 0},
    {SATCHEL_RULE_CLAIM, "claim", bench_plain_value, 0},
    {SATCHEL_RULE_LWW, "frozen", bench_plain_value, BENCH_FREEZES},
    {SATCHEL_RULE_LWW, "lww_insert", bench_plain_value,
     BENCH_INSERTS}, /* the same, for those below */
    {SATCHEL_RULE_IMMUTABLE, "immutable", bench_plain_value, BENCH_INSERTS},
    {SATCHEL_RULE_APPEND, "append", bench_plain_value, BENCH_INSERTS},
};
