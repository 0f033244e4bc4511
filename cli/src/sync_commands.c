/* sync, verify: the commands that bring a replica and its server together. */
#include "output.h"

#include <satchel/json.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RETRY_SECONDS_MAX = 8, BAR_WIDTH = 40 };

static volatile sig_atomic_t is_stopped;

static void on_signal(int signal_number)
{
    (void)signal_number;
    is_stopped = 1;
}

static bool stop_asked(void *context)
{
    (void)context;
    return is_stopped != 0;
}

/* A bar of the pages of the first rows that are here. */
static void show_snapshot(const struct satchel_sync_report *report)
{
    char bar[BAR_WIDTH + 1];
    uint64_t pages = report->snapshot_pages, here = report->snapshot_pages_here;
    size_t filled = (size_t)(here * BAR_WIDTH / pages);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled < BAR_WIDTH ? filled : BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r\033[K[%s] %llu%% of the first %llu rows", bar,
            (unsigned long long)(here * 100 / pages), (unsigned long long)report->snapshot_rows);
}

static void show_progress(void *context, const struct satchel_sync_report *report)
{
    (void)context;
    if (report->snapshot_pages > 0) {
        show_snapshot(report);
        return;
    }
    if (report->snapshot_pages_here > 0) {
        fprintf(stderr, "\r\033[Kreceived %llu pages of the first rows",
                (unsigned long long)report->snapshot_pages_here);
        return;
    }
    fprintf(stderr, "\rsent %llu change sets, received %llu entries ",
            (unsigned long long)report->pushed_change_sets,
            (unsigned long long)report->pulled_entries);
}

static void show_notice(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "satchel: %s\n", line);
}

static int print_report(const struct satchel_sync_report *report)
{
    struct satchel_buffer buffer;
    struct satchel_json json;
    satchel_buffer_init(&buffer, 65536, NULL);
    satchel_json_init(&json, &buffer);
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"pushed_change_sets", report->pushed_change_sets},
        {"pulled_entries", report->pulled_entries},
        {"conflicts", report->conflicts},
        {"quarantined", report->quarantined},
        {"bytes_sent", report->bytes_sent},
        {"bytes_received", report->bytes_received},
        {"cursor", report->cursor},
        {"pending", report->pending},
        {"repaired", report->repaired},
        {"snapshot_rows", report->snapshot_rows},
    };
    satchel_json_open(&json, '{');
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        satchel_json_name(&json, satchel_span_text(counts[i].name));
        satchel_json_integer(&json, (int64_t)counts[i].value);
    }
    satchel_json_name(&json, satchel_span_text("seconds"));
    if (json.status == SATCHEL_OK) /* measured in ms: 17 digits would only be noise */
        json.status = satchel_buffer_format(&buffer, "%.3f", report->seconds);
    satchel_json_close(&json, '}');
    bool is_whole = json.status == SATCHEL_OK;
    if (is_whole) {
        fwrite(buffer.data, 1, buffer.size, stdout);
        putchar('\n');
    }
    satchel_buffer_deinit(&buffer);
    return is_whole ? EXIT_DONE : EXIT_FAILED;
}

static void add_report(struct satchel_sync_report *sum, const struct satchel_sync_report *part)
{
    sum->pushed_change_sets += part->pushed_change_sets;
    sum->pulled_entries += part->pulled_entries;
    sum->conflicts += part->conflicts;
    sum->quarantined += part->quarantined;
    sum->repaired += part->repaired;
    sum->snapshot_rows += part->snapshot_rows;
    sum->bytes_sent += part->bytes_sent;
    sum->bytes_received += part->bytes_received;
    sum->seconds += part->seconds;
    sum->cursor = part->cursor;
    sum->pending = part->pending;
}

/* Waits, unless a signal asks to stop. */
static void wait_to_retry(int seconds)
{
    for (int i = 0; i < seconds * 10 && !is_stopped; i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

/* Watching outlives the server, its troubles and the network: it connects again until it is
 * stopped. Whatever else is wrong (a token, the disk here) ends it as it ends a sync. */
static enum satchel_status watch(const char *path, const struct satchel_sync_options *options,
                                 struct satchel_sync_report *sum, struct satchel_error *error)
{
    int pause_seconds = 1;
    bool is_busy = false;
    for (bool is_lost = false;;) {
        struct satchel_sync_report report = {0};
        enum satchel_status status = satchel_sync_run(path, options, &report, error);
        add_report(sum, &report);
        if (status != SATCHEL_NETWORK && status != SATCHEL_TIMEOUT && status != SATCHEL_BUSY)
            return status;
        if (report.bytes_received && status != SATCHEL_BUSY)
            is_lost = false;
        if (status == SATCHEL_BUSY && !is_busy)
            is_lost = false; /* the server is there again and says what it lacks */
        is_busy = status == SATCHEL_BUSY;
        if (!is_lost) { /* what happened, without the advice behind it */
            fprintf(stderr, "satchel: %.*s; trying again until the server answers\n",
                    (int)strcspn(error->message, ";"), error->message);
            pause_seconds = 1;
        }
        is_lost = true;
        wait_to_retry(pause_seconds);
        if (is_stopped)
            return SATCHEL_OK;
        if (pause_seconds < RETRY_SECONDS_MAX)
            pause_seconds *= 2;
    }
}

int run_sync(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    struct satchel_error error = {0};
    struct satchel_sync_report report = {0};
    bool is_terminal = isatty(STDERR_FILENO);
    struct satchel_sync_options options = {.size = sizeof options,
                                           .watch = (arguments->given & OPTION_WATCH) != 0,
                                           .stop = stop_asked,
                                           .progress = is_terminal ? show_progress : NULL,
                                           .notice = show_notice,
                                           .pin = arguments->pin,
                                           .rotate = (arguments->given & OPTION_ROTATE) != 0};
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    enum satchel_status status =
        options.watch ? watch(arguments->positional[0], &options, &report, &error)
                      : satchel_sync_run(arguments->positional[0], &options, &report, &error);
    if (is_terminal)
        fputs("\r\033[K", stderr);
    if (status != SATCHEL_OK)
        return command_fail(&error);
    if (arguments->json)
        return print_report(&report);
    if (report.snapshot_rows > 0)
        printf("filled with the first %llu rows\n", (unsigned long long)report.snapshot_rows);
    printf("sent %llu change sets (%llu bytes), received %llu entries (%llu bytes), %llu new "
           "conflicts, %llu quarantined, %llu repaired, %.2f s\n",
           (unsigned long long)report.pushed_change_sets, (unsigned long long)report.bytes_sent,
           (unsigned long long)report.pulled_entries, (unsigned long long)report.bytes_received,
           (unsigned long long)report.conflicts, (unsigned long long)report.quarantined,
           (unsigned long long)report.repaired, report.seconds);
    return EXIT_DONE;
}

int run_verify(const struct command *command, const struct arguments *arguments)
{
    (void)command;
    struct satchel_error error = {0};
    struct satchel_verify_table *tables = NULL;
    size_t count = 0, difference_count = 0;
    struct satchel_sync_options options = {.size = sizeof options,
                                           .notice = show_notice,
                                           .repairs = (arguments->given & OPTION_REPAIR) != 0};
    if (satchel_verify(arguments->positional[0], &options, &tables, &count, &error) != SATCHEL_OK)
        return command_fail(&error);
    static const char *const columns[] = {"table", "rows", "digest", "state"};
    struct output output = {0};
    enum satchel_status status = output_init(&output, columns, 4);
    for (size_t i = 0; status == SATCHEL_OK && i < count; i++) {
        const struct satchel_value row[] = {
            satchel_value_text(satchel_span_text(tables[i].name)),
            satchel_value_integer((int64_t)tables[i].row_count),
            satchel_value_text(satchel_span_text(tables[i].digest)),
            satchel_value_text(satchel_span_text(tables[i].is_equal ? "equal" : "differs"))};
        status = output_row(&output, row);
        difference_count += !tables[i].is_equal;
    }
    if (status == SATCHEL_OK)
        status = output_print(&output, arguments->json ? OUTPUT_JSON : OUTPUT_ALIGNED);
    output_deinit(&output);
    satchel_verify_free(tables);
    if (status != SATCHEL_OK) {
        satchel_error_set(&error, status, "the result cannot be printed");
        return command_fail(&error);
    }
    if (difference_count) {
        fprintf(stderr, "satchel: %zu of %zu tables differ from the server\n", difference_count,
                count);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}
