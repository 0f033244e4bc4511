/* Owns what a write to a merged row means for the rows it is made of: who changes its key, or
 * deletes it, means them all, and the change set says the same of each (cluster.h). */
#include "capture.h"

#include <satchel/alias.h>

void satchel_capture_finalize_aliases(struct satchel_capture *capture)
{
    satchel_aliases_free(capture->aliases);
    capture->aliases = NULL;
}

/* The names of the rows that the part's row stands for. */
static enum satchel_status find_aliases(struct satchel_capture *capture,
                                        const struct satchel_part *part,
                                        struct satchel_span **names, uint32_t *count)
{
    enum satchel_status status = SATCHEL_OK;
    if (!capture->aliases)
        status = satchel_aliases_new(&capture->aliases, capture->replica->db);
    satchel_buffer_clear(&capture->name);
    if (status == SATCHEL_OK)
        status = satchel_row_name(&capture->name, part->table, part->key, part->key_count);
    if (status == SATCHEL_OK)
        status = satchel_alias_list(capture->aliases, satchel_buffer_span(&capture->name),
                                    &capture->arena, names, count, &capture->error);
    return status;
}

/* Of an update only what it writes to keys, in room for all of its fields and exceptions. */
static void keep_keys(struct satchel_capture *capture, const struct satchel_table *table,
                      const struct satchel_part *from, struct satchel_field *fields,
                      struct satchel_exception *exceptions, struct satchel_part *part)
{
    memset(capture->is_written, 0, table->column_count * sizeof *capture->is_written);
    part->fields = fields;
    part->field_count = 0;
    for (uint32_t i = 0; i < from->field_count; i++) {
        uint32_t column = from->fields[i].column;
        if (table->rules.columns[table->rules.columns[column].unit].rule != SATCHEL_RULE_KEY)
            continue;
        fields[part->field_count++] = from->fields[i];
        capture->is_written[column] = true;
    }
    part->exceptions = exceptions;
    part->exception_count = 0;
    for (uint32_t i = 0; i < from->exception_count; i++)
        if (satchel_capture_is_excepted(part, table, &from->exceptions[i]))
            exceptions[part->exception_count++] = from->exceptions[i];
}

/* Whether the transaction writes the row by its own name: then that is what it says of it. */
static bool has_ops(struct satchel_capture *capture, const struct satchel_capture_row *row,
                    const struct satchel_value *key)
{
    struct satchel_value *values =
        SATCHEL_ARENA_ARRAY(&capture->arena, struct satchel_value, row->table->column_count);
    for (uint32_t i = 0; values && i < row->table->key_count; i++)
        values[row->table->key_columns[i]] = key[i];
    return values &&
           satchel_capture_find(capture, &capture->tables[row->table->number], values) != 0;
}

enum satchel_status satchel_capture_write_aliases(struct satchel_capture *capture,
                                                  const struct satchel_capture_row *row,
                                                  const struct satchel_part *written,
                                                  uint32_t *part_count)
{
    struct satchel_part part = *written;
    struct satchel_span *names;
    uint32_t count = 0, table;
    if (!row->table->rules.has_keys || part.kind == SATCHEL_OP_INSERT)
        return SATCHEL_OK;
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&capture->arena, struct satchel_field, part.field_count + 1);
    struct satchel_exception *exceptions =
        SATCHEL_ARENA_ARRAY(&capture->arena, struct satchel_exception, part.exception_count + 1);
    if (!fields || !exceptions)
        return SATCHEL_NOMEM;
    if (part.kind == SATCHEL_OP_UPDATE)
        keep_keys(capture, row->table, written, fields, exceptions, &part);
    if (part.kind == SATCHEL_OP_UPDATE && part.field_count == 0)
        return SATCHEL_OK;
    enum satchel_status status = find_aliases(capture, &part, &names, &count);
    for (uint32_t i = 0; i < count && status == SATCHEL_OK; i++) {
        status =
            satchel_row_name_read(names[i], &capture->arena, &table, &part.key, &part.key_count);
        if (status == SATCHEL_OK && has_ops(capture, row, part.key))
            continue;
        if (status == SATCHEL_OK)
            status = satchel_capture_put_part(capture, row, &part);
        (*part_count)++;
    }
    return status;
}
