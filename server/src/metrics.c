/* Owns the names and the text form of the server's metrics. */
#include "metrics.h"

#include <inttypes.h>

static const struct {
    const char *name;
    const char *kind;
    const char *help;
} metric_facts[SATCHEL_METRIC_COUNT] = {
#define METRIC_FACT(id, name, kind, help) {name, kind, help},
    SATCHEL_METRIC_TABLE(METRIC_FACT)
#undef METRIC_FACT
};

enum satchel_status satchel_metrics_write(const struct satchel_metrics *metrics,
                                          struct satchel_buffer *out)
{
    for (int i = 0; i < SATCHEL_METRIC_COUNT; i++) {
        const char *name = metric_facts[i].name;
        uint64_t value = atomic_load_explicit(&metrics->values[i], memory_order_relaxed);
        enum satchel_status status = satchel_buffer_format(
            out, "# HELP satchel_%s %s\n# TYPE satchel_%s %s\nsatchel_%s %" PRIu64 "\n", name,
            metric_facts[i].help, name, metric_facts[i].kind, name, value);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}
