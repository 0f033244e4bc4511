/* Owns a run: its beginning, its phases, its end. */
#include "simulation.h"

#include <satchel/batch.h>

#include "../../base/include/satchel/memory.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { HEAL_MS_MAX = 900000, LOOK_MS = 1000, END_MS_MAX = 120000 };

struct simulation sim;

void sim_schedule_init(uint64_t seed);
void sim_trace_tail(struct satchel_buffer *out);

/* ---- the end ---- */

static void finish(bool is_failed)
{
    struct sim_result *result = sim.result;
    result->hash = sim.hash;
    result->events = sim.events;
    result->virtual_ms = sim.now_ms - sim.begun_ms;
    result->counts = sim.counts;
    result->is_failed = is_failed;
    result->is_finished = true;
}

static void keep_text(const struct satchel_buffer *text)
{
    size_t room = sim.text_capacity - 1, size = text->size < room ? text->size : room;
    size_t skipped = text->size - size; /* the end says most */
    memcpy(sim.text, text->data + skipped, size);
    sim.text[size] = '\0';
    sim.result->text_bytes = (uint32_t)size;
}

void sim_fail(const char *format, ...)
{
    static bool is_failing;
    struct satchel_buffer text;
    static char reason[1 << 20];
    va_list arguments;
    sim.process = NULL;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    satchel_buffer_init(&text, 16 << 20, NULL);
    if (!sim.is_tracing)
        sim_trace_tail(&text);
    else if (sim.phase == SIM_PHASE_CHECK && !is_failing) {
        is_failing = true; /* what is found in the log is no other failure */
        sim_describe_log(&text);
    }
    enum satchel_status status =
        satchel_buffer_format(&text, "seed %llu, options: ", (unsigned long long)sim.seed);
    if (status == SATCHEL_OK)
        sim_options_describe(&sim.options, &text);
    if (status == SATCHEL_OK)
        status = satchel_buffer_format(
            &text, "\nrepeat it with: ./dev sim --seed %llu --trace\nFAILED %llu: %s\n",
            (unsigned long long)sim.seed, (unsigned long long)sim.seed, reason);
    (void)status;
    if (!sim.result) { /* while the templates are made */
        fprintf(stderr, "%s\n", reason);
        exit(2);
    }
    keep_text(&text);
    finish(true);
    fflush(stdout);
    _Exit(1);
}

/* ---- the phases ---- */

static void begin(uint64_t seed)
{
    sim.seed = seed;
    sim.now_ms = INT64_C(1760000001000);
    sim.begun_ms = sim.now_ms;
    sim_schedule_init(seed);
    sim_disk_reset();
    sim_options_draw(&sim.options);
    satchel_batch_items = sim.options.batch_items;
    sim.template = &sim_templates[sim.options.world];
    sim.device_count = sim.options.device_count;
    sim_machine_init(&sim.server.machine, SIM_DEVICES_MAX, true);
    sim_process_init(&sim.server.process, &sim.server.machine, "d");
    sim.server.process.waits_for_disk = true;
    for (unsigned i = 0; i < sim.device_count; i++)
        sim_device_init(&sim.devices[i], i);
    sim_template_use(sim.options.world);
}

static void work(void)
{
    sim.phase = SIM_PHASE_WORK;
    sim_server_start();
    for (unsigned i = 0; i < sim.device_count; i++)
        sim_device_start(&sim.devices[i]);
    sim_admin_start();
    sim_faults_start();
    if (sim.options.world == SIM_DUEL)
        sim_duel_start();
    sim_run_until(sim.now_ms + sim.options.span_ms);
}

static void heal(void)
{
    struct satchel_buffer why;
    satchel_buffer_init(&why, 1 << 16, NULL);
    sim_trace("the faults end");
    sim.phase = SIM_PHASE_HEAL;
    sim_faults_end();
    sim_faults_damage();
    int64_t deadline_ms = sim.now_ms + HEAL_MS_MAX;
    for (unsigned look = 1;; look++) {
        sim_run_until(sim.now_ms + LOOK_MS * (look < 8 ? look : 8));
        if (sim_is_quiet(NULL))
            break;
        if (sim.now_ms < deadline_ms)
            continue;
        (void)sim_is_quiet(&why);
        sim_fail("the system does not come to rest in %d s:%s", HEAL_MS_MAX / 1000,
                 satchel_buffer_text(&why));
    }
    satchel_buffer_deinit(&why);
}

static void rest(void)
{
    bool is_running = true;
    sim_trace("everybody is equal");
    sim_admin_end();
    sim.phase = SIM_PHASE_CHECK;
    for (unsigned i = 0; i < sim.device_count; i++)
        for (unsigned p = 0; p < sim.devices[i].machine.process_count; p++)
            sim_wake_process(sim.devices[i].machine.processes[p]);
    for (int64_t until_ms = sim.now_ms + END_MS_MAX; is_running && sim.now_ms < until_ms;) {
        sim_run_until(sim.now_ms + 1000);
        is_running = false;
        for (unsigned i = 0; i < sim.device_count; i++)
            for (unsigned p = 0; p < sim.devices[i].machine.process_count; p++)
                is_running = is_running || sim.devices[i].machine.processes[p]->fiber_count > 0;
    }
    sim_check(!is_running, "a process of a device does not end");
    sim_server_stop();
    sim_run_until(sim.now_ms + 6000);
}

void sim_run(uint64_t seed, bool is_tracing, struct sim_result *result, char *text,
             size_t text_capacity)
{
    sim.result = result;
    sim.text = text;
    sim.text_capacity = text_capacity;
    sim.is_tracing = is_tracing;
    memset(result, 0, sizeof *result);
    result->seed = seed;
    begin(seed);
    if (is_tracing) {
        struct satchel_buffer options;
        satchel_buffer_init(&options, 1 << 16, NULL);
        sim_options_describe(&sim.options, &options);
        printf("seed %llu: %s\n", (unsigned long long)seed, satchel_buffer_text(&options));
    }
    work();
    heal();
    rest();
    sim_check_all();
    finish(false);
}

/* ---- chance for the product ---- */

static const char *random_name(void)
{
    return "simulation";
}

static uint32_t random_word(void)
{
    return (uint32_t)sim_random(SIM_SECRETS);
}

static void random_bytes(void *const out, const size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)out)[i] = (uint8_t)sim_random(SIM_SECRETS);
}

void sim_chance_init(void);
void sim_chance_init(void)
{
    static struct randombytes_implementation implementation = {
        .implementation_name = random_name, .random = random_word, .buf = random_bytes};
    if (randombytes_set_implementation(&implementation) != 0 || sodium_init() < 0)
        abort();
}

/* ---- every connection of a process ---- */

struct hook {
    int (*callback)(void *context, sqlite3 *db, const char *name, int page_count);
    void *context;
};

/* A WAL seems longer to the replica than it is, so that checkpoints come in small histories too. */
static int on_commit(void *context, sqlite3 *db, const char *name, int page_count)
{
    const struct hook *hook = context;
    sim.counts.checkpoints += page_count * sim.options.wal_scale >= 1000;
    return hook->callback(hook->context, db, name, page_count * (int)sim.options.wal_scale);
}

void *__wrap_sqlite3_wal_hook(sqlite3 *db, int (*callback)(void *, sqlite3 *, const char *, int),
                              void *context);
void *__real_sqlite3_wal_hook(sqlite3 *db, int (*callback)(void *, sqlite3 *, const char *, int),
                              void *context);
void *__wrap_sqlite3_wal_hook(sqlite3 *db, int (*callback)(void *, sqlite3 *, const char *, int),
                              void *context)
{
    struct hook *hook = sim_alloc(NULL, sizeof *hook);
    *hook = (struct hook){callback, context};
    return __real_sqlite3_wal_hook(db, on_commit, hook);
}

static int on_open(sqlite3 *db, const char **message, const void *routines)
{
    char sql[200];
    (void)message;
    (void)routines;
    if (sim.phase == SIM_PHASE_SETUP)
        return sqlite3_exec(db, "PRAGMA page_size=1024", NULL, NULL, NULL);
    if (!sim.process || !sqlite3_db_filename(db, "main") || !sqlite3_db_filename(db, "main")[0])
        return SQLITE_OK;
    snprintf(sql, sizeof sql, "PRAGMA cache_size=%u", sim.options.cache_pages);
    (void)sqlite3_exec(db, sql, NULL, NULL, NULL); /* a fault may meet it */
    return SQLITE_OK;
}

void sim_init(void);
void sim_init(void)
{
    sim_memory_init();
    sim_disk_init();
    sim_chance_init();
    if (sqlite3_auto_extension((void (*)(void))on_open) != SQLITE_OK)
        abort();
    sim_schedule_init(0);
    sim_templates_make();
}
