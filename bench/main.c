/* The budget table: ratios measured in one run on one machine, against their budgets.
 *
 *   bench [--rows N] [--rounds N] [--log N] [--json FILE] [--folder DIR] [PART]...
 *
 * All parts but with a PART: those named (PARTS). */
#include "bench.h"

#include <satchel.h>
#include <satchel/sqlite.h>

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zstd.h>

enum { ROWS_MIN = 1000, ROWS_MAX = 10000000, LOG_ENTRIES_MIN = 200000, LOG_ENTRIES_MAX = 10000000 };

void bench_report(struct bench *bench, const struct bench_line *line)
{
    const char *verdict = line->budget == 0             ? "shown"
                          : line->ratio <= line->budget ? "met"
                                                        : "missed";
    char budget[16] = "   -";
    if (line->budget != 0)
        snprintf(budget, sizeof budget, "%4.2f", line->budget);
    printf("%-56s %-11s %5.2f x %-4s  budget %s  %-6s", line->text, line->variant, line->ratio,
           line->unit, budget, verdict);
    if (line->per_second_of)
        printf("  (%s: %.0f per %s)", line->per_second_of, line->per_second,
               line->is_by_clock ? "second" : "CPU second");
    puts("");
    fflush(stdout);
    if (!bench->json)
        return;
    fprintf(bench->json,
            "%s{\"name\":\"%s\",\"variant\":\"%s\",\"text\":\"%s\",\"unit\":\"%s\",\"ratio\":%.4f",
            bench->has_lines ? ",\n " : "", line->name, line->variant, line->text, line->unit,
            line->ratio);
    if (line->budget != 0)
        fprintf(bench->json, ",\"budget\":%.2f", line->budget);
    if (line->per_second_of)
        fprintf(bench->json, ",\"per_second\":%.1f,\"per_second_of\":\"%s\"", line->per_second,
                line->per_second_of);
    fprintf(bench->json, ",\"verdict\":\"%s\"}", verdict);
    bench->has_lines = true;
}

void bench_report_rounds(struct bench *bench, struct bench_line line, double *ratios,
                         double *per_second)
{
    line.ratio = bench_median(ratios, bench->round_count);
    line.per_second = bench_median(per_second, bench->round_count);
    bench_report(bench, &line);
}

static const struct part {
    const char *name;
    void (*run)(struct bench *bench);
} PARTS[] = {{"local", bench_local},         {"rules", bench_rules},  {"store", bench_store},
             {"merge", bench_merge},         {"apply", bench_apply},  {"scope", bench_scope},
             {"bootstrap", bench_bootstrap}, {"system", bench_system}};
enum { PART_COUNT = sizeof PARTS / sizeof *PARTS };

static const struct part *find_part(const char *name)
{
    for (size_t i = 0; i < PART_COUNT; i++)
        if (strcmp(PARTS[i].name, name) == 0)
            return &PARTS[i];
    return NULL;
}

static bool read_options(int count, char **words, struct bench *bench, const char **json)
{
    static const struct option names[] = {
        {"rows", required_argument, NULL, 'n'},   {"rounds", required_argument, NULL, 'r'},
        {"log", required_argument, NULL, 'l'},    {"json", required_argument, NULL, 'j'},
        {"folder", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
    int found;
    while ((found = getopt_long(count, words, "", names, NULL)) != -1) {
        switch (found) {
        case 'n': bench->row_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'r': bench->round_count = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'l': bench->log_entries = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'j': *json = optarg; break;
        case 'f': bench->folder = optarg; break;
        default: return false;
        }
    }
    for (int i = optind; i < count; i++)
        if (!find_part(words[i]))
            return false;
    return bench->row_count >= ROWS_MIN && bench->row_count <= ROWS_MAX &&
           bench->round_count >= 1 && bench->round_count <= ROUNDS_MAX &&
           bench->log_entries >= LOG_ENTRIES_MIN && bench->log_entries <= LOG_ENTRIES_MAX;
}

/* Whether the part is asked for by name, or none is. */
static bool is_wanted(int count, char **words, const char *part)
{
    bool is_named = optind == count;
    for (int i = optind; i < count; i++)
        is_named = is_named || strcmp(words[i], part) == 0;
    return is_named;
}

/* What `key` says in /proc/cpuinfo, as far as it needs no escapes; empty: nothing. */
static void read_processor(const char *key, char *out, size_t room)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    *out = '\0';
    while (file && *out == '\0' && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 && strchr(line, ':'))
            snprintf(out, room, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\"\\\n"),
                     strchr(line, ':') + 2);
    if (file)
        fclose(file);
}

/* On which machine, with which versions. */
static void begin_json(struct bench *bench)
{
    char processor[200];
    struct utsname system;
    read_processor("model name", processor, sizeof processor);
    if (uname(&system) != 0)
        bench_fail("json", "the system is not known");
    fprintf(bench->json,
            "{\"machine\":{\"processor\":\"%s\",\"cores\":%ld,\"system\":\"%s %s %s\"},\n"
            " \"versions\":{\"satchel\":\"%s\",\"sqlite\":\"%s\",\"zstd\":\"%s\"},\n"
            " \"rounds\":%u,\n \"lines\":[",
            processor, sysconf(_SC_NPROCESSORS_ONLN), system.sysname, system.release,
            system.machine, SATCHEL_VERSION_TEXT, sqlite3_libversion(), ZSTD_versionString(),
            (unsigned)bench->round_count);
}

int main(int count, char **words)
{
    struct bench bench = {
        .row_count = 100000, .round_count = 5, .log_entries = 200000, .folder = "."};
    const char *json = NULL;
    if (!read_options(count, words, &bench, &json)) {
        fputs("usage: bench [--rows N] [--rounds N] [--log N] [--json FILE] [--folder DIR]"
              " [local] [rules] [store] [merge] [apply] [scope] [bootstrap] [system]\n",
              stderr);
        return 2;
    }
    bench.json = json ? fopen(json, "we") : NULL;
    if (json && !bench.json)
        bench_fail(json, "cannot be written");
    if (bench.json)
        begin_json(&bench);
    for (size_t i = 0; i < PART_COUNT; i++)
        if (is_wanted(count, words, PARTS[i].name))
            PARTS[i].run(&bench);
    if (bench.json) {
        fputs("]}\n", bench.json);
        if (fclose(bench.json) != 0)
            bench_fail(json, "cannot be written");
    }
    return 0;
}
