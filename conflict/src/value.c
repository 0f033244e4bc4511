/* Owns equality, order and copies of values. Knows nothing of rows or rules. */
#include <satchel/value.h>

static uint64_t real_bits(double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

bool satchel_value_equal(const struct satchel_value *a, const struct satchel_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case SATCHEL_NULL: return true;
    case SATCHEL_INTEGER: return a->integer == b->integer;
    case SATCHEL_REAL: return real_bits(a->real) == real_bits(b->real);
    case SATCHEL_TEXT:
    case SATCHEL_BLOB: return satchel_span_equal(a->bytes, b->bytes);
    }
    return false;
}

static bool is_nan(double real)
{
    return real != real;
}

/* Exact: a double is never rounded to an integer that it is not, nor the other way. A NaN, which
 * SQLite does not store, comes before every number, so that the order stays total. */
static int compare_integer_real(int64_t integer, double real)
{
    if (is_nan(real) || real < -9223372036854775808.0)
        return 1;
    if (real >= 9223372036854775808.0)
        return -1;
    int64_t whole = (int64_t)real;
    if (integer != whole)
        return integer < whole ? -1 : 1;
    /* Doubles from 2^53 on are whole; below it the conversion back is exact. */
    double rest = real - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int compare_reals(double a, double b)
{
    bool a_is_nan = is_nan(a), b_is_nan = is_nan(b);
    if (a_is_nan != b_is_nan)
        return a_is_nan ? -1 : 1;
    if (!a_is_nan && a != b)
        return a < b ? -1 : 1;
    uint64_t a_bits = real_bits(a), b_bits = real_bits(b);
    return a_bits < b_bits ? -1 : a_bits > b_bits;
}

static int compare_numbers(const struct satchel_value *a, const struct satchel_value *b)
{
    if (a->type == SATCHEL_REAL && b->type == SATCHEL_REAL)
        return compare_reals(a->real, b->real);
    if (a->type == SATCHEL_INTEGER && b->type == SATCHEL_INTEGER)
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    if (a->type == SATCHEL_INTEGER) {
        int order = compare_integer_real(a->integer, b->real);
        return order ? order : -1;
    }
    int order = compare_integer_real(b->integer, a->real);
    return order ? -order : 1;
}

static int storage_class(const struct satchel_value *value)
{
    switch (value->type) {
    case SATCHEL_NULL: return 0;
    case SATCHEL_INTEGER:
    case SATCHEL_REAL: return 1;
    case SATCHEL_TEXT: return 2;
    case SATCHEL_BLOB: break;
    }
    return 3;
}

int satchel_value_compare(const struct satchel_value *a, const struct satchel_value *b)
{
    int a_class = storage_class(a), b_class = storage_class(b);
    if (a_class != b_class)
        return a_class < b_class ? -1 : 1;
    if (a_class == 0)
        return 0;
    if (a_class == 1)
        return compare_numbers(a, b);
    int order = satchel_span_compare(a->bytes, b->bytes);
    return order < 0 ? -1 : order > 0;
}

enum satchel_status satchel_value_copy(struct satchel_arena *arena,
                                       const struct satchel_value *value, struct satchel_value *out)
{
    struct satchel_value copy = *value;
    if (value->type == SATCHEL_TEXT || value->type == SATCHEL_BLOB) {
        copy.bytes = satchel_arena_copy(arena, value->bytes);
        if (!copy.bytes.data)
            return SATCHEL_NOMEM;
    }
    *out = copy;
    return SATCHEL_OK;
}
