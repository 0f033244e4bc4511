/* Owns how a scenario's text is read. Knows nothing of replicas or servers. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE_BYTES_MAX = 1000, BLOCK_BYTES_MAX = 1 << 16 };
#define ARENA_BYTES_MAX ((size_t)4 << 20)
/* The people of the scenarios live by Beijing's time. */
#define ZONE_MS (8 * INT64_C(3600000))

struct reader {
    struct scenario *scenario;
    const char *folder, *file;
    int line;
    bool is_base;
    int64_t day_ms, at_ms; /* of the last time read */
    /* the block of indented lines that belongs to `head` */
    struct scenario_step head;
    bool is_in_block;
    struct satchel_buffer text, rows;
    struct satchel_error *error;
};

static enum satchel_status wrong(struct reader *reader, const char *reason, const char *what)
{
    return satchel_error_set(reader->error, SATCHEL_INVALID, "%s:%d: %s: %s", reader->file,
                             reader->line, reason, what);
}

static const char *keep(struct reader *reader, const char *text, size_t size)
{
    return (const char *)satchel_arena_copy(&reader->scenario->arena, satchel_span_of(text, size))
        .data;
}

/* ---- times ---- */

/* "2026-10-12 09:40" or "09:40" of the day read last; how many bytes it took, 0 if it is none. */
static size_t read_time(const char *text, int64_t day_ms, int64_t *out_day, int64_t *out)
{
    struct tm parts = {0};
    int hour, minute, size = 0, rest = 0;
    if (sscanf(text, "%4d-%2d-%2d %n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &size) == 3 &&
        size == 11) {
        parts.tm_year -= 1900;
        parts.tm_mon -= 1;
        day_ms = (int64_t)timegm(&parts) * 1000;
    } else {
        size = 0;
    }
    if (sscanf(text + size, "%2d:%2d%n", &hour, &minute, &rest) != 2 || rest != 5 || day_ms == 0)
        return 0;
    *out_day = day_ms;
    *out = day_ms + (hour * INT64_C(60) + minute) * 60000 - ZONE_MS;
    return (size_t)(size + rest);
}

/* Appends a line, with the milliseconds for each {now} and {TIME} in it. */
static enum satchel_status append_line(struct reader *reader, struct satchel_buffer *out,
                                       const char *line)
{
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && *line) {
        int64_t day, at = reader->at_ms;
        size_t size = 0;
        if (strncmp(line, "{now}", 5) == 0)
            size = 5;
        else if (*line == '{' && (size = read_time(line + 1, reader->day_ms, &day, &at)) > 0)
            size = line[1 + size] == '}' ? size + 2 : 0;
        if (size > 0) {
            status = satchel_buffer_format(out, "%lld", (long long)at);
            line += size;
        } else {
            status = satchel_buffer_append(out, line++, 1);
        }
    }
    return status == SATCHEL_OK ? satchel_buffer_append(out, "\n", 1) : status;
}

/* ---- steps and devices ---- */

static enum satchel_status add_step(struct reader *reader, const struct scenario_step *step)
{
    struct scenario *scenario = reader->scenario;
    if (scenario->step_count == SCENARIO_STEPS_MAX)
        return wrong(reader, "too many steps", "split the scenario");
    scenario->steps[scenario->step_count] = *step;
    scenario->steps[scenario->step_count++].is_base = reader->is_base;
    return SATCHEL_OK;
}

static enum satchel_status find_device(struct reader *reader, const char *name, unsigned *out)
{
    struct scenario *scenario = reader->scenario;
    for (*out = 0; *out < scenario->device_count; ++*out)
        if (strcmp(scenario->devices[*out].name, name) == 0)
            return SATCHEL_OK;
    if (*out == SCENARIO_DEVICES_MAX)
        return wrong(reader, "too many devices", name);
    struct scenario_device *device = &scenario->devices[*out];
    device->name = keep(reader, name, strlen(name));
    device->login = keep(reader, name, strcspn(name, "/"));
    if (!device->name || !device->login)
        return wrong(reader, "no memory", name);
    scenario->device_count++;
    return SATCHEL_OK;
}

/* "sync", "sync li wang", "sync, not sun/2": who stays away is turned round at the end, when
 * everybody is known. */
static enum satchel_status read_sync(struct reader *reader, char *words)
{
    struct scenario_step step = {
        .kind = SCENARIO_SYNC, .file = reader->file, .line = reader->line, .at_ms = reader->at_ms};
    step.is_all_but = *words == ',' || *words == '\0';
    char *rest, *word = strtok_r(words, ", ", &rest);
    if (word && step.is_all_but) {
        if (strcmp(word, "not") != 0)
            return wrong(reader, "expected 'sync, not WHO'", word);
        word = strtok_r(NULL, ", ", &rest);
    }
    for (; word; word = strtok_r(NULL, ", ", &rest)) {
        unsigned device;
        enum satchel_status status = find_device(reader, word, &device);
        if (status != SATCHEL_OK)
            return status;
        step.takes_part[device] = true;
    }
    return add_step(reader, &step);
}

static void settle_syncs(struct scenario *scenario)
{
    for (unsigned i = 0; i < scenario->step_count; i++) {
        struct scenario_step *step = &scenario->steps[i];
        if (step->kind != SCENARIO_SYNC)
            continue;
        for (unsigned d = 0; step->is_all_but && d < scenario->device_count; d++)
            step->takes_part[d] = !step->takes_part[d];
        step->is_all_but = false;
    }
}

/* ---- blocks ---- */

/* A SELECT of an expect block and its rows are whole. */
static enum satchel_status end_query(struct reader *reader)
{
    struct scenario_step *step = &reader->head;
    if (reader->text.size == 0)
        return SATCHEL_OK;
    if (reader->rows.size == 0)
        return wrong(reader, "a query without rows", "say '= A | B' for each, or 'none'");
    const char *rows = satchel_buffer_text(&reader->rows);
    if (strcmp(rows, "none\n") == 0)
        rows = "";
    step->text = keep(reader, satchel_buffer_text(&reader->text), reader->text.size);
    step->rows = keep(reader, rows, strlen(rows));
    satchel_buffer_clear(&reader->text);
    satchel_buffer_clear(&reader->rows);
    return step->text && step->rows ? add_step(reader, step) : wrong(reader, "no memory", "");
}

static enum satchel_status end_block(struct reader *reader)
{
    struct scenario_step *step = &reader->head;
    if (!reader->is_in_block)
        return SATCHEL_OK;
    reader->is_in_block = false;
    if (step->kind == SCENARIO_EXPECT)
        return end_query(reader);
    struct satchel_buffer *block = step->kind == SCENARIO_CONFLICTS ? &reader->rows : &reader->text;
    const char *text = keep(reader, satchel_buffer_text(block), block->size);
    satchel_buffer_clear(block);
    if (!text)
        return wrong(reader, "no memory", "");
    if (!*text)
        return wrong(reader, "nothing follows", "indent what belongs to it");
    if (step->kind == SCENARIO_CONFLICTS)
        step->rows = strcmp(text, "none\n") == 0 ? "" : text;
    else
        step->text = text;
    return add_step(reader, step);
}

static enum satchel_status begin_block(struct reader *reader, enum scenario_step_kind kind)
{
    reader->head = (struct scenario_step){
        .kind = kind, .file = reader->file, .line = reader->line, .at_ms = reader->at_ms};
    reader->is_in_block = true;
    return SATCHEL_OK;
}

/* An indented line, without its indentation. */
static enum satchel_status read_inner(struct reader *reader, const char *line)
{
    if (!reader->is_in_block)
        return wrong(reader, "an indented line belongs to nothing", line);
    if (strncmp(line, "--", 2) == 0)
        return SATCHEL_OK;
    if (reader->head.kind == SCENARIO_SET)
        return strncmp(line, "set ", 4) == 0 ? append_line(reader, &reader->text, line + 4)
                                             : wrong(reader, "expected 'set'", line);
    if (reader->head.kind == SCENARIO_CONFLICTS)
        return append_line(reader, &reader->rows, line);
    if (reader->head.kind == SCENARIO_WRITE)
        return append_line(reader, &reader->text, line);
    if (strncmp(line, "= ", 2) == 0)
        return append_line(reader, &reader->rows, line + 2);
    if (strcmp(line, "none") == 0)
        return append_line(reader, &reader->rows, line);
    enum satchel_status status = SATCHEL_OK;
    if (reader->rows.size > 0)
        status = end_query(reader);
    if (reader->text.size == 0)
        reader->head.line = reader->line;
    return status == SATCHEL_OK ? append_line(reader, &reader->text, line) : status;
}

/* ---- lines ---- */

static enum satchel_status read_file(struct reader *reader, const char *name);

static enum satchel_status read_clock(struct reader *reader, char *words)
{
    char name[40], unit;
    int hours, size = 0;
    unsigned device;
    if (sscanf(words, " %39s %d%c%n", name, &hours, &unit, &size) != 3 || unit != 'h' ||
        words[size] != '\0')
        return wrong(reader, "expected 'clock WHO +3h'", words);
    enum satchel_status status = find_device(reader, name, &device);
    if (status == SATCHEL_OK)
        reader->scenario->devices[device].clock_error_ms = hours * INT64_C(3600000);
    return status;
}

/* What comes behind a time: "sync...", "server", or who writes. */
static enum satchel_status read_timed(struct reader *reader, char *words)
{
    static const char refused[] = " refused: ";
    if (strncmp(words, "sync", 4) == 0 && strchr(" ,", words[4]))
        return read_sync(reader, words + 4);
    if (strcmp(words, "server") == 0)
        return begin_block(reader, SCENARIO_SET);
    char *refusal = strstr(words, refused);
    if (refusal)
        *refusal = '\0';
    if (strchr(words, ' '))
        return wrong(reader, "expected one name, 'sync' or 'server'", words);
    unsigned device;
    enum satchel_status status = find_device(reader, words, &device);
    if (status != SATCHEL_OK)
        return status;
    (void)begin_block(reader, SCENARIO_WRITE);
    reader->head.device = device;
    if (refusal) {
        refusal += sizeof refused - 1;
        reader->head.refusal = keep(reader, refusal, strlen(refusal));
    }
    return SATCHEL_OK;
}

/* "expect" or "conflicts", with the devices it is of if they are named. */
static enum satchel_status read_expectation(struct reader *reader, enum scenario_step_kind kind,
                                            char *names)
{
    enum satchel_status status = begin_block(reader, kind);
    char *rest = NULL;
    for (char *name = strtok_r(names, " ", &rest); name && status == SATCHEL_OK;
         name = strtok_r(NULL, " ", &rest)) {
        unsigned device;
        status = find_device(reader, name, &device);
        if (status == SATCHEL_OK)
            reader->head.takes_part[device] = reader->head.is_named = true;
    }
    return status;
}

static bool begins(const char *line, const char *word)
{
    size_t size = strlen(word);
    return strncmp(line, word, size) == 0 && strchr(" ", line[size]);
}

static enum satchel_status read_outer(struct reader *reader, char *line)
{
    enum satchel_status status = end_block(reader);
    size_t size = read_time(line, reader->day_ms, &reader->day_ms, &reader->at_ms);
    if (status != SATCHEL_OK)
        return status;
    if (size > 0 && line[size] == ' ')
        return read_timed(reader, line + size + 1);
    if (begins(line, "expect"))
        return read_expectation(reader, SCENARIO_EXPECT, line + strlen("expect"));
    if (begins(line, "conflicts"))
        return read_expectation(reader, SCENARIO_CONFLICTS, line + strlen("conflicts"));
    if (strncmp(line, "clock ", 6) == 0)
        return read_clock(reader, line + 6);
    if (strncmp(line, "from ", 5) == 0) {
        struct reader base = {.scenario = reader->scenario,
                              .folder = reader->folder,
                              .is_base = true,
                              .error = reader->error};
        char name[LINE_BYTES_MAX + sizeof ".scenario"];
        snprintf(name, sizeof name, "%s.scenario", line + 5);
        return read_file(&base, name);
    }
    return wrong(reader, "expected a time, 'expect', 'conflicts', 'clock' or 'from'", line);
}

static enum satchel_status read_lines(struct reader *reader, FILE *file)
{
    char line[LINE_BYTES_MAX];
    enum satchel_status status = SATCHEL_OK;
    while (status == SATCHEL_OK && fgets(line, sizeof line, file)) {
        size_t size = strlen(line), indent = strspn(line, " ");
        reader->line++;
        if (size == sizeof line - 1)
            return wrong(reader, "the line is too long", "break it");
        while (size > 0 && strchr(" \r\n", line[size - 1]))
            line[--size] = '\0';
        if (size == 0 || line[0] == '#')
            continue;
        status = indent > 0 ? read_inner(reader, line + indent) : read_outer(reader, line);
    }
    return status == SATCHEL_OK ? end_block(reader) : status;
}

static enum satchel_status read_file(struct reader *reader, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", reader->folder, name);
    reader->file = keep(reader, name, strlen(name));
    FILE *file = fopen(path, "r");
    if (!file || !reader->file) {
        if (file)
            fclose(file);
        return satchel_error_set(reader->error, SATCHEL_NOT_FOUND, "%s: cannot be read", path);
    }
    satchel_buffer_init(&reader->text, BLOCK_BYTES_MAX, NULL);
    satchel_buffer_init(&reader->rows, BLOCK_BYTES_MAX, NULL);
    enum satchel_status status = read_lines(reader, file);
    satchel_buffer_deinit(&reader->text);
    satchel_buffer_deinit(&reader->rows);
    fclose(file);
    return status;
}

enum satchel_status scenario_read(struct scenario *scenario, const char *folder, const char *name,
                                  struct satchel_error *error)
{
    struct reader reader = {.scenario = scenario, .folder = folder, .error = error};
    memset(scenario, 0, sizeof *scenario);
    satchel_arena_init(&scenario->arena, ARENA_BYTES_MAX, NULL);
    enum satchel_status status = read_file(&reader, name);
    settle_syncs(scenario);
    return status;
}

void scenario_free(struct scenario *scenario)
{
    satchel_arena_deinit(&scenario->arena);
}
