/* What it costs a device to apply what others wrote, log and receipts included: CPU time over CPU
 * time for the same statements on plain tables. */
#include "bench_captured.h"
#include "bench_device.h"

enum { ROWS = 50000 };

enum { INSERTS, UPDATES, MEASURE_COUNT };
static const struct {
    const char *name, *text;
} MEASURES[MEASURE_COUNT] = {{"apply_inserts", "a device's apply of inserted rows"},
                             {"apply_updates", "a device's apply of one-field updates"}};

static void measure_device(const struct bench *bench, const struct bench_entries *entries,
                           uint32_t insert_count, double seconds[MEASURE_COUNT])
{
    struct bench_device device;
    bench_device_open(&device, bench);
    double begin = bench_cpu_seconds();
    bench_device_apply(&device, entries->items, insert_count);
    double middle = bench_cpu_seconds();
    bench_device_apply(&device, entries->items + insert_count, entries->count - insert_count);
    seconds[INSERTS] = middle - begin;
    seconds[UPDATES] = bench_cpu_seconds() - middle;
    bench_device_close(&device);
}

void bench_apply(struct bench *bench)
{
    double ratios[MEASURE_COUNT][ROUNDS_MAX], rates[MEASURE_COUNT][ROUNDS_MAX];
    struct bench_captured captured;
    struct bench_server server;
    struct bench_entries entries;
    printf("a device's apply: %d contacts of 240 bytes, medians of %u rounds\n", ROWS,
           (unsigned)bench->round_count);
    bench_capture(&captured, bench, BENCH_RANDOM, ROWS);
    bench_server_open(&server, bench, "bench-store", BENCH_CONTACT_TRACKED, 1);
    bench_captured_merge(&server, 0, captured.inserts, captured.insert_count);
    bench_captured_merge(&server, 0, captured.updates, captured.update_count);
    bench_entries_read(&entries, &server);
    bench_server_close(&server);
    for (uint32_t round = 0; round < bench->round_count; round++) {
        double plain[MEASURE_COUNT], applied[MEASURE_COUNT];
        bench_plain_measure(bench, BENCH_RANDOM, ROWS, &plain[INSERTS], &plain[UPDATES]);
        measure_device(bench, &entries, captured.insert_count, applied);
        for (int i = 0; i < MEASURE_COUNT; i++) {
            ratios[i][round] = applied[i] / plain[i];
            rates[i][round] = ROWS / applied[i];
        }
    }
    for (int i = 0; i < MEASURE_COUNT; i++)
        bench_report_rounds(bench,
                            (struct bench_line){.name = MEASURES[i].name,
                                                .variant = "",
                                                .text = MEASURES[i].text,
                                                .unit = "raw",
                                                .budget = 2,
                                                .per_second_of = "applied"},
                            ratios[i], rates[i]);
    bench_entries_free(&entries);
    bench_captured_free(&captured);
}
