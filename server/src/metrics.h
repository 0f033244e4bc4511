/* What the server counts, and its text for Prometheus. Counting is safe from any thread. */
#ifndef SATCHEL_METRICS_H
#define SATCHEL_METRICS_H

#include <satchel/memory.h>
#include <stdatomic.h>

/* name, kind, help */
#define SATCHEL_METRIC_TABLE(X)                                                                   \
    X(CONNECTIONS, "connections", "gauge", "Open WebSocket connections")                          \
    X(SESSIONS, "sessions", "gauge", "Devices attached to a workspace")                           \
    X(WORKSPACES, "workspaces", "gauge", "Open workspaces")                                       \
    X(JOBS, "jobs_queued", "gauge", "Requests given to workspaces and not answered yet")          \
    X(CONNECTIONS_OPENED, "connections_opened_total", "counter", "Connections since start")       \
    X(CONNECTIONS_REFUSED, "connections_refused_total", "counter",                                \
      "Connections refused because too many are open")                                            \
    X(SESSIONS_FAILED, "sessions_failed_total", "counter", "Sessions ended with an error")        \
    X(ADMIN_DENIED, "admin_denied_total", "counter", "Administration with a wrong token")         \
    X(SLOWED, "slowed_total", "counter", "Connections read from more slowly for their rate")      \
    X(CHANGE_SETS, "change_sets_merged_total", "counter", "Change sets acknowledged")             \
    X(ENTRIES, "entries_sent_total", "counter", "Entries given to devices")                       \
    X(REPAIRED, "repaired_rows_total", "counter", "Rows that devices found damaged and repaired") \
    X(COMMITS, "commits_total", "counter", "Commits that appended entries")                       \
    X(BYTES_RECEIVED, "received_bytes_total", "counter", "Message bytes received")                \
    X(BYTES_SENT, "sent_bytes_total", "counter", "Message bytes sent")

enum satchel_metric {
#define SATCHEL_METRIC_ENUM(id, name, kind, help) SATCHEL_METRIC_##id,
    SATCHEL_METRIC_TABLE(SATCHEL_METRIC_ENUM)
#undef SATCHEL_METRIC_ENUM
        SATCHEL_METRIC_COUNT
};

/* Zero-initialised by its owner. */
struct satchel_metrics {
    _Atomic uint64_t values[SATCHEL_METRIC_COUNT];
};

static inline void satchel_metric_add(struct satchel_metrics *metrics, enum satchel_metric metric,
                                      uint64_t amount)
{
    atomic_fetch_add_explicit(&metrics->values[metric], amount, memory_order_relaxed);
}
static inline void satchel_metric_subtract(struct satchel_metrics *metrics,
                                           enum satchel_metric metric, uint64_t amount)
{
    atomic_fetch_sub_explicit(&metrics->values[metric], amount, memory_order_relaxed);
}

/* Appends the Prometheus text exposition (format 0.0.4). LIMIT, NOMEM. */
enum satchel_status satchel_metrics_write(const struct satchel_metrics *metrics,
                                          struct satchel_buffer *out) SATCHEL_MUST_USE;

#endif
