/* Owns the CSV grammar. Knows nothing of tables. */
#include "csv.h"

void csv_open(struct csv_reader *reader, struct satchel_span file, struct satchel_arena *arena)
{
    if (file.size >= 3 && memcmp(file.data, "\xef\xbb\xbf", 3) == 0)
        file = satchel_span_of(file.data + 3, file.size - 3);
    reader->rest = file;
    reader->line = 1;
    reader->record_line = 1;
    reader->arena = arena;
}

/* A quoted field: unescapes into the arena, leaves `*at` behind the closing quote. */
static enum satchel_status read_quoted(struct csv_reader *reader, size_t *at,
                                       struct csv_field *field, struct satchel_error *error)
{
    const uint8_t *data = reader->rest.data;
    size_t size = reader->rest.size, end = *at + 1, length = 0;
    int opened = reader->line;
    while (end < size && (data[end] != '"' || (end + 1 < size && data[end + 1] == '"')))
        end += data[end] == '"' ? 2 : 1;
    if (end >= size)
        return satchel_error_set(error, SATCHEL_INVALID,
                                 "line %d: a quoted field is never closed; add the missing \"",
                                 opened);
    uint8_t *copy = satchel_arena_alloc(reader->arena, end - *at);
    if (!copy)
        return satchel_error_set(error, SATCHEL_LIMIT, "line %d: the record is too long", opened);
    for (size_t i = *at + 1; i < end; i++) {
        if (data[i] == '"')
            i++;
        if (data[i] == '\n')
            reader->line++;
        copy[length++] = data[i];
    }
    field->text = satchel_span_of(copy, length);
    field->is_quoted = true;
    *at = end + 1;
    return SATCHEL_OK;
}

enum satchel_status csv_read(struct csv_reader *reader, struct csv_field fields[CSV_FIELDS_MAX],
                             int *count, struct satchel_error *error)
{
    const uint8_t *data = reader->rest.data;
    size_t size = reader->rest.size, at = 0;
    *count = 0;
    while (at < size && (data[at] == '\n' || data[at] == '\r'))
        reader->line += data[at++] == '\n';
    reader->record_line = reader->line;
    if (at == size)
        return SATCHEL_OK;
    for (;;) {
        if (*count == CSV_FIELDS_MAX)
            return satchel_error_set(error, SATCHEL_LIMIT, "line %d: more than %d fields",
                                     reader->record_line, CSV_FIELDS_MAX);
        struct csv_field *field = &fields[(*count)++];
        if (at < size && data[at] == '"') {
            enum satchel_status status = read_quoted(reader, &at, field, error);
            if (status != SATCHEL_OK)
                return status;
            if (at < size && data[at] != ',' && data[at] != '\n' && data[at] != '\r')
                return satchel_error_set(error, SATCHEL_INVALID,
                                         "line %d: text after a closing quote; double the quotes "
                                         "inside a quoted field",
                                         reader->line);
        } else {
            size_t start = at;
            while (at < size && data[at] != ',' && data[at] != '\n' && data[at] != '\r')
                at++;
            field->text = satchel_span_of(data + start, at - start);
            field->is_quoted = false;
        }
        if (at < size && data[at] == ',') {
            at++;
            continue;
        }
        while (at < size && data[at] == '\r')
            at++;
        if (at < size && data[at] == '\n') {
            at++;
            reader->line++;
        }
        reader->rest = satchel_span_of(data + at, size - at);
        return SATCHEL_OK;
    }
}
