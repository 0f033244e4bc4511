/* Owns how SQLite converts what is stored in a column (datatype3.html, 3.1). */
#include "affinity.h"

#include <math.h>
#include <stdlib.h>

enum affinity { AFFINITY_TEXT, AFFINITY_NUMERIC, AFFINITY_REAL, AFFINITY_NONE };

static bool contains(const char *type, const char *word)
{
    for (; *type; type++) {
        size_t i = 0;
        while (word[i] && (type[i] == word[i] || type[i] == word[i] + ('a' - 'A')))
            i++;
        if (!word[i])
            return true;
    }
    return false;
}

static enum affinity affinity_of(const struct satchel_table *table, const char *type)
{
    if (table->is_strict && strcmp(type, "ANY") == 0)
        return AFFINITY_NONE;
    if (contains(type, "INT"))
        return AFFINITY_NUMERIC;
    if (contains(type, "CHAR") || contains(type, "CLOB") || contains(type, "TEXT"))
        return AFFINITY_TEXT;
    if (type[0] == '\0' || contains(type, "BLOB"))
        return AFFINITY_NONE;
    if (contains(type, "REAL") || contains(type, "FLOA") || contains(type, "DOUB"))
        return AFFINITY_REAL;
    return AFFINITY_NUMERIC;
}

/* Whether SQLite would store the text as a number in a column of numeric affinity. */
static bool looks_numeric(struct satchel_span text)
{
    size_t i = 0, end = text.size, digits = 0;
    while (i < end && strchr(" \t\n\v\f\r", text.data[i]) && text.data[i])
        i++;
    while (end > i && strchr(" \t\n\v\f\r", text.data[end - 1]) && text.data[end - 1])
        end--;
    if (i < end && (text.data[i] == '+' || text.data[i] == '-'))
        i++;
    for (; i < end && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        digits++;
    if (i < end && text.data[i] == '.')
        for (i++; i < end && text.data[i] >= '0' && text.data[i] <= '9'; i++)
            digits++;
    if (digits == 0)
        return false;
    if (i == end)
        return true;
    if (text.data[i] != 'e' && text.data[i] != 'E')
        return false;
    i++;
    if (i < end && (text.data[i] == '+' || text.data[i] == '-'))
        i++;
    if (i == end)
        return false;
    for (; i < end; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return true;
}

static bool is_whole(double real)
{
    return real > -9223372036854775808.0 && real < 9223372036854775808.0 &&
           (double)(int64_t)real == real;
}

bool affinity_is_ambiguous(const struct satchel_table *table, const struct satchel_column *column,
                           const struct satchel_value *key)
{
    if (key->type != SATCHEL_REAL)
        return false;
    bool is_negative_zero = key->real == 0 && signbit(key->real);
    return is_negative_zero ||
           (affinity_of(table, column->declared_type) == AFFINITY_NONE && is_whole(key->real));
}

bool affinity_converts(const struct satchel_table *table, const struct satchel_column *column,
                       const struct satchel_value *value)
{
    switch (value->type) {
    case SATCHEL_NULL:
    case SATCHEL_BLOB: return false;
    case SATCHEL_TEXT:
        if (!looks_numeric(value->bytes))
            return false;
        break;
    case SATCHEL_REAL:
        if (value->real != value->real)
            return true; /* SQLite stores NaN as NULL */
        break;
    case SATCHEL_INTEGER: break;
    }
    switch (affinity_of(table, column->declared_type)) {
    case AFFINITY_TEXT: return value->type != SATCHEL_TEXT;
    case AFFINITY_REAL: return value->type != SATCHEL_REAL;
    case AFFINITY_NUMERIC:
        return value->type == SATCHEL_TEXT ||
               (value->type == SATCHEL_REAL && is_whole(value->real));
    case AFFINITY_NONE: break;
    }
    return false;
}

/* The text is SQLite's idea of a number. */
static struct satchel_value number_of(struct satchel_span text)
{
    char copy[64], *end;
    if (text.size >= sizeof copy)
        return satchel_value_text(text);
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    long long integer = strtoll(copy, &end, 10);
    if (*end == '\0' && integer != INT64_MAX && integer != INT64_MIN)
        return satchel_value_integer(integer);
    double real = strtod(copy, NULL);
    return is_whole(real) ? satchel_value_integer((int64_t)real) : satchel_value_real(real);
}

struct satchel_value affinity_value_of(const struct satchel_table *table,
                                       const struct satchel_column *column,
                                       struct satchel_span text)
{
    enum affinity affinity = affinity_of(table, column->declared_type);
    bool is_numeric = affinity == AFFINITY_NUMERIC || affinity == AFFINITY_REAL;
    if (!is_numeric || !looks_numeric(text))
        return satchel_value_text(text);
    struct satchel_value value = number_of(text);
    if (affinity == AFFINITY_REAL && value.type == SATCHEL_INTEGER)
        value = satchel_value_real((double)value.integer);
    return value;
}
