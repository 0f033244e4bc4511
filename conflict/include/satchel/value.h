/* A value of a field: what SQLite can store, compared bit for bit. */
#ifndef SATCHEL_VALUE_H
#define SATCHEL_VALUE_H

#include <satchel/memory.h>

enum satchel_value_type {
    SATCHEL_NULL = 0,
    SATCHEL_INTEGER = 1,
    SATCHEL_REAL = 2,
    SATCHEL_TEXT = 3,
    SATCHEL_BLOB = 4
};

struct satchel_value {
    enum satchel_value_type type;
    union {
        int64_t integer;
        double real;
        struct satchel_span bytes; /* TEXT: as SQLite holds it, any bytes; BLOB */
    };
};

static inline struct satchel_value satchel_value_null(void)
{
    struct satchel_value value = {SATCHEL_NULL, {0}};
    return value;
}
static inline struct satchel_value satchel_value_integer(int64_t integer)
{
    struct satchel_value value = {SATCHEL_INTEGER, {.integer = integer}};
    return value;
}
static inline struct satchel_value satchel_value_real(double real)
{
    struct satchel_value value = {SATCHEL_REAL, {.real = real}};
    return value;
}
static inline struct satchel_value satchel_value_text(struct satchel_span bytes)
{
    struct satchel_value value = {SATCHEL_TEXT, {.bytes = bytes}};
    return value;
}
static inline struct satchel_value satchel_value_blob(struct satchel_span bytes)
{
    struct satchel_value value = {SATCHEL_BLOB, {.bytes = bytes}};
    return value;
}

/* Same type and same bits: 1 is not 1.0, '' is not NULL, -0.0 is not 0.0, a NaN equals itself. */
bool satchel_value_equal(const struct satchel_value *a, const struct satchel_value *b);

/* SQLite's order with BINARY collation: NULL < numbers (exact across int64 and double) < text <
 * blob; where that calls two values of different bits equal (1 and 1.0, 0.0 and -0.0) the integer,
 * then the smaller bit pattern, comes first, so that `max` and `min` never depend on arrival. */
int satchel_value_compare(const struct satchel_value *a, const struct satchel_value *b);

/* A deep copy in `arena`. NOMEM. */
enum satchel_status satchel_value_copy(struct satchel_arena *arena,
                                       const struct satchel_value *value,
                                       struct satchel_value *out) SATCHEL_MUST_USE;

#endif
