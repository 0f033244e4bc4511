/* What a device's application has captured: contacts inserted, and each of them updated, twice; a
 * thousand rows in a change set. */
#ifndef SATCHEL_BENCH_CAPTURED_H
#define SATCHEL_BENCH_CAPTURED_H

#include "bench_contacts.h"
#include "bench_server.h"

/* Bodies of change sets, in the order in which they were captured. */
struct bench_captured {
    struct satchel_arena arena;
    struct satchel_span *inserts, *updates, *rival; /* rival: of the same fields, to other values */
    uint32_t insert_count, update_count, rival_count;
};

/* To be freed. Ends the program if it fails. */
void bench_capture(struct bench_captured *captured, const struct bench *bench, enum bench_ids ids,
                   uint32_t rows);
void bench_captured_free(struct bench_captured *captured);
/* As that device's, ten in a transaction; CPU seconds. */
double bench_captured_merge(struct bench_server *server, uint32_t device,
                            const struct satchel_span *bodies, uint32_t count);

#endif
