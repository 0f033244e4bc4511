/* What a merge costs a server, whoever wrote: CPU time to merge contacts into a store, log,
 * versions, scopes and history included, over CPU time for the same statements on plain tables. The
 * change sets are what a device's application has captured, a thousand rows in each. And what it
 * costs when the log has grown long, over the same at its beginning. */
#include "bench_captured.h"
#include "bench_contacts.h"
#include "bench_server.h"

#include <satchel/changeset.h>
#include <satchel/log_pack.h>

#include <string.h>

enum { ROWS = 50000, AUTHOR = 0, RIVAL = 1, SINGLE = 2, DEVICES = 3 };
enum { STRETCH = 20000, ENDS = 5, ENTRY_ROWS = 1000 }; /* ENDS: whose median counts */

static void fail(const char *why)
{
    bench_fail("merge", why);
}

enum { INSERTS, UPDATES, CONFLICTS, MEASURE_COUNT };
static const struct {
    const char *name, *text;
    double budget;
} MEASURES[MEASURE_COUNT] = {{"merge_inserts", "server's merge of inserts", 2},
                             {"merge_updates", "server's merge of one-field updates", 2},
                             {"merge_conflicts", "the same, when every one conflicts", 2.5}};

static void measure_merges(struct bench *bench, const struct bench_captured *captured)
{
    double ratios[MEASURE_COUNT][ROUNDS_MAX], rates[MEASURE_COUNT][ROUNDS_MAX];
    for (uint32_t round = 0; round < bench->round_count; round++) {
        struct bench_server server;
        double plain[MEASURE_COUNT], merged[MEASURE_COUNT];
        bench_plain_measure(bench, BENCH_ORDERED, ROWS, &plain[INSERTS], &plain[UPDATES]);
        plain[CONFLICTS] = plain[UPDATES];
        bench_server_open(&server, bench, "bench-store", BENCH_CONTACT_TRACKED, DEVICES);
        merged[INSERTS] =
            bench_captured_merge(&server, AUTHOR, captured->inserts, captured->insert_count);
        merged[UPDATES] =
            bench_captured_merge(&server, AUTHOR, captured->updates, captured->update_count);
        merged[CONFLICTS] =
            bench_captured_merge(&server, RIVAL, captured->rival, captured->rival_count);
        bench_server_close(&server);
        for (int i = 0; i < MEASURE_COUNT; i++) {
            ratios[i][round] = merged[i] / plain[i];
            rates[i][round] = ROWS / merged[i];
        }
    }
    for (int i = 0; i < MEASURE_COUNT; i++)
        bench_report_rounds(bench,
                            (struct bench_line){.name = MEASURES[i].name,
                                                .variant = "",
                                                .text = MEASURES[i].text,
                                                .unit = "raw",
                                                .budget = MEASURES[i].budget,
                                                .per_second_of = "merged"},
                            ratios[i], rates[i]);
}

/* ---- a long log ---- */

/* A change set of one row, made of nothing but an update. */
static struct satchel_span write_single(struct bench_server *server, uint32_t step,
                                        struct satchel_arena *arena)
{
    struct satchel_buffer body;
    struct satchel_error error = {0};
    struct satchel_store_head head;
    char id[40];
    if (server->store->ops->load_head(server->store, &head, &error) != SATCHEL_OK)
        fail(error.message);
    const struct satchel_position position = {head.node, head.seq};
    const struct satchel_changeset_header header = {1, {&position, 1}, satchel_span_text("rep"), 1};
    int size = bench_contact_id(BENCH_ORDERED, step * 7919 % ENTRY_ROWS, id);
    const struct satchel_value key = satchel_value_text(satchel_span_of(id, (size_t)size));
    const struct satchel_field field = {6, satchel_value_integer(step)};
    const struct satchel_part part = {.kind = SATCHEL_OP_UPDATE,
                                      .table = 1,
                                      .key = &key,
                                      .key_count = 1,
                                      .fields = &field,
                                      .field_count = 1};
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    if (satchel_changeset_write_header(&body, &header) != SATCHEL_OK ||
        satchel_changeset_write_part(&body, &part) != SATCHEL_OK)
        fail("a change set cannot be written");
    struct satchel_span copy = satchel_arena_copy(arena, satchel_buffer_span(&body));
    satchel_buffer_deinit(&body);
    return copy;
}

static double merge_stretch(struct bench_server *server, uint32_t first)
{
    struct satchel_incoming incoming[BENCH_BATCH_MAX];
    struct satchel_arena arena;
    double seconds = 0;
    satchel_arena_init(&arena, (size_t)1 << 30, NULL);
    for (uint32_t i = 0; i < STRETCH;) {
        uint32_t size = 0;
        for (; size < BENCH_BATCH_MAX && i < STRETCH; i++)
            incoming[size++] =
                bench_server_incoming(server, SINGLE, write_single(server, first + i, &arena));
        seconds += bench_server_merge(server, incoming, size);
        satchel_arena_reset(&arena);
    }
    satchel_arena_deinit(&arena);
    return seconds;
}

/* As a server does when it has nothing else to do; not measured. */
static void pack(struct bench_server *server)
{
    struct satchel_error error = {0};
    uint32_t packed = 1;
    while (packed > 0)
        if (satchel_log_pack(satchel_store_sqlite_db(server->store), SATCHEL_LOG_PACK_KEEP,
                             SATCHEL_SEGMENT_ENTRIES_MAX, &packed, &error) != SATCHEL_OK)
            fail(error.message);
}

/* A server whose log has so many entries, packed as it went. */
static void open_grown(struct bench_server *server, const struct bench *bench, const char *name,
                       const struct bench_captured *captured, uint32_t stretch_count)
{
    bench_server_open(server, bench, name, BENCH_CONTACT_TRACKED, DEVICES);
    bench_captured_merge(server, AUTHOR, captured->inserts,
                         ENTRY_ROWS / BENCH_ROWS_PER_TRANSACTION);
    for (uint32_t i = 0; i < stretch_count; i++) {
        merge_stretch(server, i * STRETCH);
        pack(server);
    }
}

/* In turn with one whose log is new: the machine is another one now and then in so long a time. */
static void measure_long_log(struct bench *bench, const struct bench_captured *captured)
{
    struct bench_server young, old;
    double ratios[ENDS];
    uint32_t stretches = bench->log_entries / STRETCH;
    uint32_t thousands = stretches * (STRETCH / 1000);
    char variant[32];
    if (thousands < 1000)
        snprintf(variant, sizeof variant, "%u,000", (unsigned)thousands);
    else
        snprintf(variant, sizeof variant, "%u,%03u,000", (unsigned)thousands / 1000,
                 (unsigned)thousands % 1000);
    open_grown(&young, bench, "bench-young", captured, 1);
    open_grown(&old, bench, "bench-old", captured, stretches);
    merge_stretch(&young, STRETCH); /* until caches are warm */
    for (uint32_t i = 0; i < ENDS; i++) {
        double new = merge_stretch(&young, (i + 2) * STRETCH);
        ratios[i] = merge_stretch(&old, (stretches + i) * STRETCH) / new;
        pack(&young);
        pack(&old);
    }
    bench_server_close(&young);
    bench_server_close(&old);
    bench_report(bench, &(struct bench_line){.name = "merge_long_log",
                                             .variant = variant,
                                             .text = "a merge at a log of so many entries",
                                             .unit = "new",
                                             .ratio = bench_median(ratios, ENDS),
                                             .budget = 1 / 0.9});
}

void bench_merge(struct bench *bench)
{
    struct bench_captured captured;
    printf("a server's merges: %d contacts of 240 bytes, medians of %u rounds\n", ROWS,
           (unsigned)bench->round_count);
    bench_capture(&captured, bench, BENCH_ORDERED, ROWS);
    measure_merges(bench, &captured);
    measure_long_log(bench, &captured);
    bench_captured_free(&captured);
}
