/* Owns what the schema's rules refuse at the write, in words that name table, column and rule. Pure
 * of SQLite: values in, a status out. */
#include "capture.h"

static enum satchel_status refuse(struct satchel_capture *capture,
                                  const struct satchel_table *table, uint32_t column,
                                  const char *words)
{
    return satchel_error_set(&capture->error, SATCHEL_REFUSED, "table %s, column %s: @%s: %s",
                             table->name, table->columns[column].name,
                             satchel_rule_name(table->columns[column].rule), words);
}

/* A declared default of NULL counts from 0. */
static int64_t counter_default(const struct satchel_table *table, uint32_t column)
{
    const struct satchel_value *value = &table->rules.columns[column].default_value;
    return value->type == SATCHEL_INTEGER ? value->integer : 0;
}

enum satchel_status satchel_capture_counter_delta(
    struct satchel_capture *capture, const struct satchel_table *table, uint32_t column,
    const struct satchel_value *old_value, const struct satchel_value *new_value, int64_t *delta)
{
    int64_t before =
        old_value->type == SATCHEL_INTEGER ? old_value->integer : counter_default(table, column);
    *delta = 0;
    if (new_value->type != SATCHEL_INTEGER)
        return refuse(capture, table, column, "takes whole numbers only");
    if (__builtin_sub_overflow(new_value->integer, before, delta))
        return refuse(capture, table, column, "the step is too large for 64 bits");
    return SATCHEL_OK;
}

enum satchel_status satchel_capture_check_update(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *old_values,
                                                 const struct satchel_value *new_values,
                                                 const bool *is_changed)
{
    const struct satchel_table *schema = table->table;
    int64_t delta;
    for (uint32_t i = 0; i < schema->column_count; i++) {
        if (!is_changed[i])
            continue;
        if (schema->is_append)
            return satchel_error_set(
                &capture->error, SATCHEL_REFUSED,
                "table %s, column %s: an append table: rows cannot change after "
                "the insert",
                schema->name, schema->columns[i].name);
        enum satchel_status status = SATCHEL_OK;
        switch (schema->rules.columns[i].rule) {
        case SATCHEL_RULE_IMMUTABLE:
        case SATCHEL_RULE_APPEND:
            return refuse(capture, schema, i, "cannot change after the insert");
        case SATCHEL_RULE_COUNTER:
            status = satchel_capture_counter_delta(capture, schema, i, &old_values[i],
                                                   &new_values[i], &delta);
            break;
        default: break;
        }
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

/* A row that this transaction has deleted comes back: to everybody else that is an update. */
static enum satchel_status check_return(struct satchel_capture *capture,
                                        const struct satchel_capture_table *table,
                                        const struct satchel_value *new_values)
{
    const struct satchel_table *schema = table->table;
    uint32_t first = satchel_capture_find(capture, table, new_values);
    for (uint32_t i = 0; first != 0 && i < schema->column_count; i++) {
        enum satchel_rule rule = schema->rules.columns[i].rule;
        struct satchel_value start;
        if ((rule == SATCHEL_RULE_IMMUTABLE || rule == SATCHEL_RULE_APPEND) &&
            !schema->rules.columns[i].in_key &&
            satchel_capture_chain_start(capture, first, i, &start) &&
            !satchel_value_equal(&start, &new_values[i]))
            return refuse(
                capture, schema, i,
                "cannot change after the insert, by deleting the row and inserting it again "
                "(REPLACE) neither");
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_capture_check_insert(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *new_values)
{
    const struct satchel_table *schema = table->table;
    const struct satchel_value null = satchel_value_null();
    enum satchel_status status = SATCHEL_OK;
    int64_t delta;
    for (uint32_t i = 0; table->has_counters && i < schema->column_count && status == SATCHEL_OK;
         i++)
        if (schema->rules.columns[i].rule == SATCHEL_RULE_COUNTER &&
            !satchel_value_equal(&new_values[i], &schema->rules.columns[i].default_value))
            status =
                satchel_capture_counter_delta(capture, schema, i, &null, &new_values[i], &delta);
    if (status == SATCHEL_OK && table->has_immutable && capture->row_count > 0)
        status = check_return(capture, table, new_values);
    return status;
}

enum satchel_status satchel_capture_check_delete(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 bool is_key_update)
{
    const struct satchel_table *schema = table->table;
    const char *what = is_key_update ? "its key cannot change" : "rows cannot be deleted";
    if (schema->is_append)
        return satchel_error_set(&capture->error, SATCHEL_REFUSED, "table %s: an append table: %s",
                                 schema->name, what);
    if (schema->rules.delete_policy == SATCHEL_DELETE_FORBID)
        return satchel_error_set(
            &capture->error, SATCHEL_REFUSED,
            "table %s: delete=forbid: %s; where REPLACE was meant to overwrite a "
            "row, use INSERT ... ON CONFLICT DO UPDATE",
            schema->name, what);
    return SATCHEL_OK;
}
