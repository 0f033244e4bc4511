/* Owns the checks of a part against the schema: what no merge could make sense of. A device checks
 * the same at the write; what arrives here in spite of that is set aside with its reason, never
 * lost. */
#include "merge_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* How SQLite converts what is stored in a column (datatype3.html, 3.1). */
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

struct satchel_span merge_reason(struct satchel_arena *arena, const char *text)
{
    struct satchel_span span = satchel_span_text(text);
    if (span.size > MERGE_REASON_BYTES_MAX) {
        span.size = MERGE_REASON_BYTES_MAX;
        while (span.size > 0 && (span.data[span.size] & 0xc0) == 0x80)
            span.size--; /* never half a character */
    }
    return satchel_arena_copy(arena, span);
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

/* Whether SQLite holds the value equal to one of other bits: as a key it would name a row that has
 * another name here. */
static bool is_ambiguous(const struct satchel_table *table, const struct satchel_column *column,
                         const struct satchel_value *key)
{
    if (key->type != SATCHEL_REAL)
        return false;
    bool is_negative_zero = key->real == 0 && signbit(key->real);
    return is_negative_zero ||
           (affinity_of(table, column->declared_type) == AFFINITY_NONE && is_whole(key->real));
}

/* Whether the column would hold another value than the one given: then no other replica would have
 * it. */
static bool is_converted(const struct satchel_table *table, const struct satchel_column *column,
                         const struct satchel_value *value)
{
    if (value->type == SATCHEL_REAL && value->real != value->real)
        return true; /* SQLite stores NaN as NULL */
    switch (affinity_of(table, column->declared_type)) {
    case AFFINITY_TEXT: return value->type == SATCHEL_INTEGER || value->type == SATCHEL_REAL;
    case AFFINITY_REAL:
        return value->type == SATCHEL_INTEGER ||
               (value->type == SATCHEL_TEXT && looks_numeric(value->bytes));
    case AFFINITY_NUMERIC:
        if (value->type == SATCHEL_REAL)
            return is_whole(value->real);
        return value->type == SATCHEL_TEXT && looks_numeric(value->bytes);
    case AFFINITY_NONE: break;
    }
    return false;
}

/* A reason in the arena of the batch. */
static enum satchel_status because(struct merge_batch *batch, struct merge_part *part,
                                   const char *format, ...) SATCHEL_PRINTF(3, 4);
static enum satchel_status because(struct merge_batch *batch, struct merge_part *part,
                                   const char *format, ...)
{
    char text[MERGE_REASON_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    part->reason = merge_reason(&batch->arena, text);
    return part->reason.data ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* `is_own`: the change set is the server's. */
static enum satchel_status check_fields(struct merge_batch *batch, const struct satchel_part *part,
                                        bool is_own, struct merge_part *out)
{
    const struct satchel_table *table = out->table;
    for (uint32_t i = 0; i < part->field_count; i++) {
        uint32_t number = part->fields[i].column;
        if (number >= table->column_count)
            return because(batch, out, "%s has no column %u", table->name, number);
        const struct satchel_column *column = &table->columns[number];
        const struct satchel_value *value = &part->fields[i].value;
        if (column->key_position > 0)
            return because(batch, out, "a change set may not write %s.%s, which is in the key",
                           table->name, column->name);
        if (column->rule == SATCHEL_RULE_SERVER && !is_own)
            return because(batch, out, "%s.%s is @server: only the server writes it", table->name,
                           column->name);
        if (column->rule == SATCHEL_RULE_COUNTER) {
            if (value->type != SATCHEL_INTEGER)
                return because(batch, out, "the counter %s.%s is given no integer", table->name,
                               column->name);
        } else if (is_converted(table, column, value)) {
            return because(batch, out, "a value of %s.%s is not of the column's type %s",
                           table->name, column->name, column->declared_type);
        }
    }
    if (part->kind == SATCHEL_OP_DELETE && part->field_count > 0)
        return because(batch, out, "a delete in %s writes fields", table->name);
    return SATCHEL_OK;
}

static enum satchel_status check_part(struct merge_batch *batch, const struct satchel_part *part,
                                      bool is_own, struct merge_part *out)
{
    const struct satchel_table *table = satchel_schema_table(batch->store->schema, part->table);
    if (!table || table->is_local)
        return because(batch, out, "the schema has no synced table number %u", part->table);
    if (part->key_count != table->key_count)
        return because(batch, out, "the key of %s has %u columns, not %u", table->name,
                       table->key_count, part->key_count);
    for (uint32_t i = 0; i < part->key_count; i++) {
        const struct satchel_column *column = &table->columns[table->key_columns[i]];
        if (is_ambiguous(table, column, &part->key[i]))
            return because(batch, out,
                           "the key value %.17g of %s.%s equals one of another kind: use integers",
                           part->key[i].real, table->name, column->name);
        if (part->key[i].type == SATCHEL_NULL || is_converted(table, column, &part->key[i]))
            return because(batch, out,
                           "a key value of %s.%s is NULL or not of the column's type %s",
                           table->name, column->name, column->declared_type);
    }
    out->table = table;
    return check_fields(batch, part, is_own, out);
}

enum satchel_status merge_check_parts(struct merge_batch *batch, struct merge_changeset *changeset)
{
    uint32_t part_count = changeset->content.header.part_count;
    changeset->parts = SATCHEL_ARENA_ARRAY(&batch->arena, struct merge_part, part_count);
    if (!changeset->parts)
        return SATCHEL_NOMEM;
    const struct satchel_incoming *incoming = changeset->incoming;
    bool is_own = satchel_id_equal(&incoming->device, &batch->head.node);
    for (uint32_t i = 0; i < part_count; i++) {
        struct merge_part *part = &changeset->parts[i];
        enum satchel_status status = check_part(batch, &changeset->content.parts[i], is_own, part);
        if (status == SATCHEL_OK && incoming->refusal.size > 0 && !part->reason.data) {
            part->reason = satchel_arena_copy(&batch->arena, incoming->refusal);
            status = part->reason.data ? SATCHEL_OK : SATCHEL_NOMEM;
        }
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}
