/* What the tests of protocol/ share: random numbers from a printed seed, an allocator that counts
 * and can be told to fail, hex text, and one sample of every message. */
#ifndef SATCHEL_TEST_PROTOCOL_SUPPORT_H
#define SATCHEL_TEST_PROTOCOL_SUPPORT_H

#include <satchel/session.h>

/* SplitMix64 (Steele et al., 2014). */
struct random_source {
    uint64_t state;
};
uint64_t random_next(struct random_source *source);
/* 0 to below - 1. */
uint32_t random_below(struct random_source *source, uint32_t below);
/* From SATCHEL_TEST_SEED, else fixed; printed, so that a failure can be run again. */
struct random_source random_seeded(const char *test_name);

/* Counts what is in use; fails the call numbered fail_at (from 1), and every later one. */
struct counting_allocator {
    struct satchel_allocator allocator;
    size_t used_bytes;
    size_t peak_bytes;
    size_t blocks;
    size_t calls;
    size_t fail_at; /* 0: never */
};
void counting_allocator_init(struct counting_allocator *counting);

struct satchel_id sample_id(uint8_t fill);

/* One message of every kind, with every field set. Static storage. */
enum { SAMPLE_COUNT = 32 };
struct satchel_message sample_message(int index);
const char *sample_name(int index);
/* Equal in every field. */
bool messages_equal(const struct satchel_message *a, const struct satchel_message *b);

#endif
