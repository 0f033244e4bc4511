/* Owns the texts by which history calls tables, columns and writes (see history_names.h). */
#include "history_names.h"

#include <inttypes.h>
#include <stdio.h>

const char *satchel_history_table_name(const struct satchel_schema *schema, uint32_t table,
                                       char scratch[SATCHEL_HISTORY_NAME_BYTES])
{
    const struct satchel_table *found = schema ? satchel_schema_table(schema, table) : NULL;
    if (found)
        return found->name;
    snprintf(scratch, SATCHEL_HISTORY_NAME_BYTES, "table %" PRIu32, table);
    return scratch;
}

const char *satchel_history_field_name(const struct satchel_schema *schema, uint32_t table,
                                       uint32_t column, char scratch[SATCHEL_HISTORY_NAME_BYTES])
{
    if (column == SATCHEL_COLUMN_ROW)
        return "";
    const struct satchel_table *found = schema ? satchel_schema_table(schema, table) : NULL;
    if (found && column < found->column_count)
        return found->columns[column].name;
    snprintf(scratch, SATCHEL_HISTORY_NAME_BYTES, "column %" PRIu32, column);
    return scratch;
}

/* A decimal number up to '.' or the end; false if it is none. */
static bool read_number(const char **text, uint64_t max, uint64_t *out)
{
    const char *c = *text;
    uint64_t number = 0;
    if (*c < '0' || *c > '9')
        return false;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *text = c;
    *out = number;
    return true;
}

/* "<device>.<number>.<part>.<column or ->" */
bool satchel_history_id_parse(const char *id, struct satchel_history_id *out)
{
    const size_t device_size = SATCHEL_ID_TEXT_BYTES - 1;
    uint64_t part, column = SATCHEL_COLUMN_ROW;
    if (strlen(id) <= device_size || id[device_size] != '.' ||
        satchel_id_parse(&out->device, satchel_span_of(id, device_size)) != SATCHEL_OK)
        return false;
    const char *at = id + device_size + 1;
    if (!read_number(&at, UINT64_MAX, &out->number) || *at++ != '.' ||
        !read_number(&at, UINT32_MAX, &part) || *at++ != '.')
        return false;
    if (*at == '-')
        at++;
    else if (!read_number(&at, SATCHEL_COLUMN_ROW - 1, &column))
        return false;
    out->part = (uint32_t)part;
    out->column = (uint32_t)column;
    return *at == '\0';
}
