/* Owns what a seed makes of the run: which world, how many, how fast, which faults and how often.
 * Every run has its own mix, so that what two kinds of fault do together is not hidden by all the
 * others. */
#include "simulation.h"

#include <stdlib.h>
#include <string.h>

static const char *const fault_names[] = {
#define SIM_KIND(name) #name,
    SIM_FAULT_KINDS(SIM_KIND)
#undef SIM_KIND
};
static bool is_forbidden[SIM_FAULT_KIND_COUNT];
static bool is_rotating; /* every run */

const char *sim_fault_name(unsigned kind)
{
    return fault_names[kind];
}

bool sim_options_forbid(const char *name)
{
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++)
        if (strcmp(name, fault_names[i]) == 0) {
            is_forbidden[i] = true;
            return true;
        }
    return false;
}

static unsigned one_of(unsigned count, const unsigned *choices)
{
    return choices[sim_below(SIM_OPTIONS, count)];
}
#define ONE_OF(...)                                                    \
    one_of(sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned), \
           (const unsigned[]){__VA_ARGS__})

/* What old copies of the files of a device and of the server's do together takes several of each:
 * half of the runs that have them have them often. */
static void deal_old_copies(struct sim_options *options)
{
    static const unsigned KINDS[] = {SIM_FAULT_server_restore, SIM_FAULT_old_copy,
                                     SIM_FAULT_second_phone};
    for (unsigned i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
        if (options->fault_weights[KINDS[i]] > 0)
            options->fault_weights[KINDS[i]] = 8;
}

static void draw_faults(struct sim_options *options)
{
    unsigned kinds = sim_below(SIM_OPTIONS, 3); /* few, some, many */
    options->fault_pause_ms = (unsigned)options->span_ms / ONE_OF(2, 5, 10, 20, 40);
    if (sim_one_in(SIM_OPTIONS, 8))
        options->fault_pause_ms = 0;
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++) {
        unsigned weight = 1 + sim_below(SIM_OPTIONS, 8);
        bool is_in = sim_below(SIM_OPTIONS, 4) <= kinds;
        options->fault_weights[i] = is_in && !is_forbidden[i] ? weight : 0;
    }
    if (sim_one_in(SIM_OPTIONS, 2))
        deal_old_copies(options);
}

/* A few devices write a few rows over and over, each before it was shown what the others wrote; and
 * nothing that would keep the reference away. */
static void draw_duel(struct sim_options *options)
{
    options->world = SIM_DUEL;
    options->device_count = 2 + sim_one_in(SIM_OPTIONS, 3);
    options->app_count = 1;
    options->span_ms = (int64_t)ONE_OF(20, 60) * 1000;
    options->think_ms_max = 0;
    options->key_count = 2;
    options->bulk_one_in = 0;
    options->transaction_one_in = ONE_OF(4, 10);
    options->undo_one_in = options->resolve_one_in = ONE_OF(0, 30);
    options->sync_pause_ms = (unsigned)options->span_ms / ONE_OF(8, 16, 40);
    options->is_watching = !sim_one_in(SIM_OPTIONS, 4);
    options->wake_ms = ONE_OF(300, 1000);
    options->latency_ms = (unsigned)options->span_ms / ONE_OF(20, 40);
    options->queue_delay_ms = ONE_OF(50, 1000);
    options->admin_pause_ms = sim_one_in(SIM_OPTIONS, 4) ? (unsigned)options->span_ms / 4 : 0;
    options->checks_replay = true;
    if (options->fault_pause_ms > 0)
        options->fault_pause_ms = (unsigned)options->span_ms / ONE_OF(2, 5, 10);
    options->fault_weights[SIM_FAULT_server_restore] = 0;
    options->fault_weights[SIM_FAULT_old_copy] = 0;
    options->fault_weights[SIM_FAULT_second_phone] = 0;
}

/* Few rows that go to and fro between a few users, often enough that streams are cut in the middle
 * of it. */
static void draw_scoped(struct sim_options *options)
{
    /* As many seeds that once failed were drawn before there were masks. */
    unsigned place = (unsigned)(sim.seed / SIM_DUEL_SEEDS % 5);
    options->world = place == 2 || place == 3 ? SIM_SCOPED : SIM_MASKED;
    options->is_revoking = options->world == SIM_MASKED && sim.seed / SIM_DUEL_SEEDS % 4 == 0;
    options->device_count = 2 + sim_below(SIM_OPTIONS, 4);
    options->span_ms = (int64_t)ONE_OF(20, 60, 120) * 1000;
    options->actions = ONE_OF(40, 80, 160);
    options->key_count = ONE_OF(2, 3, 5);
    options->bulk_one_in = 0;
    options->sync_pause_ms = (unsigned)options->span_ms / ONE_OF(5, 10, 20);
    if (options->admin_pause_ms > 0)
        options->admin_pause_ms = (unsigned)options->span_ms / 5;
    if (options->fault_pause_ms > 0)
        options->fault_pause_ms = (unsigned)options->span_ms / ONE_OF(5, 10, 20, 40);
    options->fault_weights[SIM_FAULT_cut] = is_forbidden[SIM_FAULT_cut] ? 0 : 16;
}

/* The store is put back again and again, to moments before and after the last time, and people sync
 * between: what a run with everything has once, if at all. */
static void draw_restored(struct sim_options *options)
{
    options->world = SIM_RULES;
    options->device_count = 2 + sim_below(SIM_OPTIONS, 3);
    options->app_count = 1;
    options->span_ms = (int64_t)ONE_OF(60, 120, 300) * 1000;
    options->actions = ONE_OF(40, 80, 160);
    options->key_count = ONE_OF(1, 3, 8);
    options->bulk_one_in = 0;
    options->sync_pause_ms = (unsigned)options->span_ms / ONE_OF(16, 30, 60);
    options->wake_ms = ONE_OF(300, 1000);
    options->latency_ms = ONE_OF(1, 20, 200);
    options->bytes_per_ms = ONE_OF(1000, 100000);
    if (options->admin_pause_ms > 0)
        options->admin_pause_ms = (unsigned)options->span_ms / ONE_OF(5, 15);
    options->fault_pause_ms = (unsigned)options->span_ms / ONE_OF(6, 12, 24);
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++)
        if (!sim_one_in(SIM_OPTIONS, 4))
            options->fault_weights[i] = 0;
    options->fault_weights[SIM_FAULT_server_restore] =
        is_forbidden[SIM_FAULT_server_restore] ? 0 : ONE_OF(8, 30);
}

/* Not drawn, so that seeds that once failed are what they were. */
static unsigned snapshot_entries(void)
{
    static const unsigned entries[] = {0, 0, 0, 0, 1, 4, 15, 40};
    return entries[sim.seed * 0x9e3779b97f4a7c15u >> 61];
}

/* Likewise: those below failed with batches as they are. */
static unsigned batch_items(void)
{
    static const unsigned items[] = {1, 1, 2, 3, 7, 0, 0, 0};
    return sim.seed < 1070000000 ? 0 : items[sim.seed * 0xd6e8feb86659fd93u >> 61];
}

void sim_options_rotate(void)
{
    is_rotating = true;
}

void sim_options_draw(struct sim_options *options)
{
    memset(options, 0, sizeof *options);
    options->world = sim_one_in(SIM_OPTIONS, 10) ? SIM_CRM : SIM_RULES;
    options->device_count = 2 + sim_skewed(SIM_OPTIONS, SIM_DEVICES_MAX - 2);
    options->app_count = 1 + sim_one_in(SIM_OPTIONS, 3);
    options->sync_count = 1 + sim_one_in(SIM_OPTIONS, 3);
    options->span_ms = (int64_t)ONE_OF(20, 60, 60, 120, 300) * 1000;
    options->actions = ONE_OF(20, 40, 80, 160);
    options->think_ms_max = ONE_OF(0, 0, 50, 2000);
    options->key_count = ONE_OF(1, 3, 3, 8, 30);
    options->bulk_one_in = ONE_OF(0, 0, 0, 100, 30);
    options->big_one_in = ONE_OF(0, 0, 60, 15);
    options->undo_one_in = ONE_OF(0, 25, 10);
    options->resolve_one_in = ONE_OF(0, 25, 10);
    options->pack_one_in = ONE_OF(0, 0, 20);
    options->transaction_one_in = ONE_OF(1, 2, 4);
    options->sync_pause_ms = (unsigned)options->span_ms / ONE_OF(3, 5, 8, 16);
    options->is_watching = !sim_one_in(SIM_OPTIONS, 3);
    options->wake_ms = ONE_OF(300, 1000, 3000);
    options->latency_ms = ONE_OF(1, 20, 20, 200, 1500);
    options->bytes_per_ms = ONE_OF(10, 1000, 100000);
    options->queue_delay_ms = ONE_OF(0, 3, 50);
    options->disk_ms = ONE_OF(0, 0, 5, 100);
    options->cache_pages = ONE_OF(5, 20, 200, 2000);
    options->server_checkpoint_pages = ONE_OF(4, 40, 1000);
    options->wal_scale = ONE_OF(1, 20, 100, 400);
    options->is_durable = sim_one_in(SIM_OPTIONS, 2);
    options->is_enforcing = sim_one_in(SIM_OPTIONS, 3);
    options->admin_pause_ms =
        sim_one_in(SIM_OPTIONS, 3) ? 0 : (unsigned)options->span_ms / ONE_OF(2, 5, 15);
    options->checks_watch = sim_one_in(SIM_OPTIONS, 3);
    options->checks_replay = sim_one_in(SIM_OPTIONS, 2);
    draw_faults(options);
    if (sim.seed % SIM_DUEL_SEEDS == SIM_DUEL_SEED)
        draw_duel(options);
    if (sim.seed % SIM_DUEL_SEEDS == SIM_SCOPED_SEED)
        draw_scoped(options);
    if (sim.seed % SIM_DUEL_SEEDS == SIM_RESTORED_SEED)
        draw_restored(options);
    /* An entry that was cut cannot be given back. */
    if (sim_is_scoped(options->world) || options->world == SIM_CRM)
        options->fault_weights[SIM_FAULT_server_restore] = 0;
    options->has_numbers =
        options->world == SIM_RULES && options->fault_weights[SIM_FAULT_server_restore] > 0;
    options->snapshot_entries = snapshot_entries();
    options->batch_items = batch_items();
    options->is_rotating = is_rotating;
    if (is_rotating) /* a copy made before would need somebody to let it in */
        options->fault_weights[SIM_FAULT_old_copy] =
            options->fault_weights[SIM_FAULT_second_phone] = 0;
}

void sim_options_describe(const struct sim_options *options, struct satchel_buffer *out)
{
    static const char *const worlds[] = {"rules", "crm", "duel", "scoped", "masked"};
    sim_ok(satchel_buffer_format(
               out,
               "%s devices=%u apps=%u syncs=%u span=%llds actions=%u think=%ums keys=%u bulk=1/%u "
               "big=1/%u undo=1/%u resolve=1/%u transaction=1/%u pause=%ums %s wake=%ums "
               "latency=%ums rate=%u/ms queue=%ums disk=%ums cache=%u checkpoint=%u wal_scale=%u "
               "%s%s%s%s%s admin=%ums snapshot=%u batch=%u fault_every=%ums",
               worlds[options->world], options->device_count, options->app_count,
               options->sync_count, (long long)(options->span_ms / 1000), options->actions,
               options->think_ms_max, options->key_count, options->bulk_one_in, options->big_one_in,
               options->undo_one_in, options->resolve_one_in, options->transaction_one_in,
               options->sync_pause_ms, options->is_watching ? "watch" : "once", options->wake_ms,
               options->latency_ms, options->bytes_per_ms, options->queue_delay_ms,
               options->disk_ms, options->cache_pages, options->server_checkpoint_pages,
               options->wal_scale, options->is_durable ? "full" : "normal",
               options->is_enforcing ? " fk" : "", options->is_rotating ? " rotate" : "",
               options->is_revoking ? " revoke" : "", options->has_numbers ? " numbers" : "",
               options->admin_pause_ms, options->snapshot_entries, options->batch_items,
               options->fault_pause_ms),
           "describe", NULL);
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++)
        if (options->fault_weights[i] > 0 && options->fault_pause_ms > 0)
            sim_ok(satchel_buffer_format(out, " %s:%u", fault_names[i], options->fault_weights[i]),
                   "describe", NULL);
}
