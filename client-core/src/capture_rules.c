/* Owns what the schema's rules refuse at the write, in words that name table, column and rule.
 * Values in, a status out; what it must ask the database for it asks of capture_data.c. */
#include "capture.h"

#include <satchel/operation.h>

static enum satchel_status refuse(struct satchel_capture *capture,
                                  const struct satchel_table *table, uint32_t column,
                                  const char *words)
{
    return satchel_error_set(&capture->error, SATCHEL_REFUSED, "table %s, column %s: @%s: %s",
                             table->name, table->columns[column].name,
                             satchel_rule_name(table->columns[column].rule), words);
}

static enum satchel_status check_role(struct satchel_capture *capture,
                                      const struct satchel_table *table, uint32_t column)
{
    const struct satchel_capture_state *state = &capture->state;
    struct satchel_span role = satchel_span_of(state->role, state->role_bytes);
    char words[SATCHEL_RIGHT_BYTES];
    if (satchel_column_may_set(table, column, role, words))
        return SATCHEL_OK;
    return satchel_error_set(&capture->error, SATCHEL_REFUSED, "table %s, column %s: %s",
                             table->name, table->columns[column].name, words);
}

/* `old_value` NULL: an insert. */
static enum satchel_status check_state(struct satchel_capture *capture,
                                       const struct satchel_table *table, uint32_t column,
                                       const struct satchel_value *old_value,
                                       const struct satchel_value *new_value)
{
    const struct satchel_machine *machine = NULL;
    char text[SATCHEL_REFUSAL_BYTES];
    enum satchel_status status =
        satchel_capture_machine(capture, table->rules.columns[column].machine, &machine);
    if (status != SATCHEL_OK)
        return status;
    const char *words = satchel_state_refusal(machine, old_value, new_value, text);
    return words ? refuse(capture, table, column, words) : SATCHEL_OK;
}

/* Whether the column can take the value at all; `old_value` NULL: an insert. */
static enum satchel_status check_value(struct satchel_capture *capture,
                                       const struct satchel_table *table, uint32_t column,
                                       const struct satchel_value *old_value,
                                       const struct satchel_value *new_value)
{
    const struct satchel_column_rules *rules = &table->rules.columns[column];
    const struct satchel_value null = satchel_value_null();
    if (rules->rule == SATCHEL_RULE_SERVER)
        return refuse(capture, table, column,
                      "only the server writes it; leave it out, it is filled in when you sync");
    const char *words = satchel_value_refusal(rules, new_value);
    if (words)
        return refuse(capture, table, column, words);
    return rules->rule == SATCHEL_RULE_STATE
               ? check_state(capture, table, column, old_value ? old_value : &null, new_value)
               : SATCHEL_OK;
}

enum satchel_status satchel_capture_check_update(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *old_values,
                                                 const struct satchel_value *new_values,
                                                 const bool *is_changed)
{
    const struct satchel_table *schema = table->table;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; i < schema->column_count && status == SATCHEL_OK; i++) {
        enum satchel_rule rule = schema->rules.columns[i].rule;
        if (!is_changed[i] || satchel_value_equal(&old_values[i], &new_values[i]))
            continue;
        if (schema->is_append && rule == SATCHEL_RULE_APPEND)
            return satchel_error_set(
                &capture->error, SATCHEL_REFUSED,
                "table %s, column %s: an append table: rows cannot change after "
                "the insert",
                schema->name, schema->columns[i].name);
        if (rule == SATCHEL_RULE_IMMUTABLE || rule == SATCHEL_RULE_APPEND)
            return refuse(capture, schema, i, "cannot change after the insert");
        if (table->has_rights)
            status = check_role(capture, schema, i);
        if (table->has_refusals && status == SATCHEL_OK)
            status = check_value(capture, schema, i, &old_values[i], &new_values[i]);
    }
    return status;
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

/* Of a row that comes back, what it had already is no write. Who may not set a key column may not
 * insert rows. */
static enum satchel_status check_rights(struct satchel_capture *capture,
                                        const struct satchel_capture_table *table,
                                        const struct satchel_value *new_values)
{
    const struct satchel_table *schema = table->table;
    enum satchel_status status = SATCHEL_OK;
    uint32_t first = capture->row_count > 0 ? satchel_capture_find(capture, table, new_values) : 0;
    for (uint32_t i = 0; i < schema->column_count && status == SATCHEL_OK; i++) {
        const struct satchel_column_rules *rules = &schema->rules.columns[i];
        struct satchel_value start;
        if (first == 0 || rules->in_key || !satchel_capture_chain_start(capture, first, i, &start))
            start = rules->default_value;
        if (rules->in_key ? first == 0 : !satchel_value_equal(&start, &new_values[i]))
            status = check_role(capture, schema, i);
    }
    return status;
}

enum satchel_status satchel_capture_check_insert(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *new_values)
{
    const struct satchel_table *schema = table->table;
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; table->has_refusals && i < schema->column_count && status == SATCHEL_OK;
         i++)
        if (!satchel_value_equal(&new_values[i], &schema->rules.columns[i].default_value) &&
            !schema->rules.columns[i].in_key)
            status = check_value(capture, schema, i, NULL, &new_values[i]);
    if (status == SATCHEL_OK && table->has_rights)
        status = check_rights(capture, table, new_values);
    if (status == SATCHEL_OK && table->has_immutable && capture->row_count > 0)
        status = check_return(capture, table, new_values);
    return status;
}

enum satchel_status satchel_capture_check_delete(struct satchel_capture *capture,
                                                 const struct satchel_capture_table *table,
                                                 const struct satchel_value *old_values,
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
    if (schema->rules.delete_policy != SATCHEL_DELETE_RESTRICT)
        return SATCHEL_OK;
    const struct satchel_reference *reference = NULL;
    enum satchel_status status =
        satchel_capture_find_pointing(capture, schema, old_values, &reference);
    if (status != SATCHEL_OK || !reference)
        return status;
    const struct satchel_table *pointing =
        satchel_schema_table(capture->replica->schema, reference->table);
    return satchel_error_set(&capture->error, SATCHEL_REFUSED,
                             "table %s: delete=restrict: rows of table %s, column %s, point at "
                             "this row: %s before those are deleted or point elsewhere",
                             schema->name, pointing->name,
                             pointing->columns[reference->column].name,
                             is_key_update ? "its key cannot change" : "it cannot be deleted");
}
