/* Owns what happens next: the queue of events, the clock, chance, the trace and its hash. */
#include "simulation.h"

#include <string.h>

/* ---- chance ---- */

static uint64_t states[SIM_STREAM_COUNT];

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64 */
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_random(enum sim_stream stream)
{
    states[stream] += UINT64_C(0x9e3779b97f4a7c15);
    return mix(states[stream]);
}

unsigned sim_below(enum sim_stream stream, unsigned limit)
{
    return limit < 2 ? 0 : (unsigned)((sim_random(stream) >> 32) * limit >> 32);
}

bool sim_one_in(enum sim_stream stream, unsigned limit)
{
    return limit > 0 && sim_below(stream, limit) == 0;
}

unsigned sim_skewed(enum sim_stream stream, unsigned limit)
{
    unsigned bound = 1 + sim_below(stream, limit + 1);
    return sim_below(stream, 1 + sim_below(stream, bound));
}

void sim_schedule_init(uint64_t seed);
void sim_schedule_init(uint64_t seed)
{
    for (unsigned i = 0; i < SIM_STREAM_COUNT; i++)
        states[i] = mix(seed * SIM_STREAM_COUNT + i + UINT64_C(0x5a7c4e1));
}

/* ---- events ---- */

struct event {
    int64_t at_ms;
    uint64_t order; /* of two at one time the one planned first */
    sim_action *action;
    void *context;
    uint64_t argument;
};
static struct event *heap;
static size_t event_count, event_capacity;
static uint64_t next_order;

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void swap(size_t a, size_t b)
{
    struct event event = heap[a];
    heap[a] = heap[b];
    heap[b] = event;
}

void sim_at(int64_t at_ms, sim_action *action, void *context, uint64_t argument)
{
    SIM_GROW(heap, event_count, event_capacity);
    size_t i = event_count++;
    heap[i] = (struct event){at_ms < sim.now_ms ? sim.now_ms : at_ms, next_order++, action, context,
                             argument};
    for (; i > 0 && is_before(&heap[i], &heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

void sim_after(int64_t ms, sim_action *action, void *context, uint64_t argument)
{
    sim_at(sim.now_ms + ms, action, context, argument);
}

static struct event take_first(void)
{
    struct event first = heap[0];
    heap[0] = heap[--event_count];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t child = left; child < left + 2 && child < event_count; child++)
            if (is_before(&heap[child], &heap[least]))
                least = child;
        if (least == i)
            return first;
        swap(i, least);
        i = least;
    }
}

void sim_run_until(int64_t end_ms)
{
    while (event_count > 0 && heap[0].at_ms <= end_ms) {
        struct event event = take_first();
        if (event.at_ms > sim.now_ms)
            sim.now_ms = event.at_ms;
        sim.events++;
        event.action(event.context, event.argument);
    }
    if (sim.now_ms < end_ms)
        sim.now_ms = end_ms;
}

/* ---- the trace ---- */

enum { TRACE_LINES = 600, TRACE_LINE_BYTES = 240 };
static char lines[TRACE_LINES][TRACE_LINE_BYTES];
static size_t line_count;

void sim_mix(const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    uint64_t hash = sim.hash ^ size;
    for (; size >= 8; from += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 32;
    }
    for (; size > 0; from++, size--)
        hash = (hash ^ *from) * UINT64_C(0x100000001b3);
    sim.hash = hash;
}

void sim_trace(const char *format, ...)
{
    char *line = lines[line_count++ % TRACE_LINES];
    int used =
        snprintf(line, TRACE_LINE_BYTES, "%9.3f ", (double)(sim.now_ms - sim.begun_ms) / 1000.0);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + used, TRACE_LINE_BYTES - (size_t)used, format, arguments);
    va_end(arguments);
    sim_mix(line, strlen(line));
    if (sim.is_tracing) {
        printf("%s\n", line);
        fflush(stdout);
    }
}

void sim_trace_tail(struct satchel_buffer *out);
void sim_trace_tail(struct satchel_buffer *out)
{
    size_t first = line_count > TRACE_LINES ? line_count - TRACE_LINES : 0;
    for (size_t i = first; i < line_count; i++)
        if (satchel_buffer_format(out, "%s\n", lines[i % TRACE_LINES]) != SATCHEL_OK)
            return;
}

void sim_ok(enum satchel_status status, const char *doing, const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        sim_fail("%s: %s: %s", doing, satchel_status_name(status), error ? error->message : "");
}
