/* Owns the way from an administrator's words to a part of a change set. */
#include "admin_rows.h"

#include "affinity.h"

#include <satchel/alias.h>
#include <satchel/json_reader.h>
#include <satchel/operation.h>

#define NAME_SHOWN 200
#define ADMIN_BODY_BYTES_MAX ((size_t)64 << 20)

static int shown(struct satchel_span text)
{
    return (int)(text.size < NAME_SHOWN ? text.size : NAME_SHOWN);
}

enum satchel_status admin_table(struct satchel_store *store, struct satchel_span name,
                                struct satchel_arena *arena, const struct satchel_table **out,
                                struct satchel_error *error)
{
    struct satchel_span copy = satchel_arena_copy(arena, name); /* with a NUL behind it */
    if (!copy.data)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a name");
    *out = store->schema ? satchel_schema_find(store->schema, (const char *)copy.data) : NULL;
    if (*out && !(*out)->is_local)
        return SATCHEL_OK;
    return satchel_error_set(error, SATCHEL_NOT_FOUND, "there is no synced table '%.*s'",
                             shown(name), (const char *)name.data);
}

/* ---- keys ---- */

/* A part of a key of several columns, which is a JSON array. */
static enum satchel_status key_item(const struct satchel_table *table, uint32_t position,
                                    struct satchel_span json, struct satchel_arena *arena,
                                    struct satchel_value *out)
{
    const struct satchel_column *column = &table->columns[table->key_columns[position]];
    struct satchel_span text;
    if (satchel_json_type_of(json, 1) != SATCHEL_JSON_STRING) {
        *out = affinity_value_of(table, column, json);
        return SATCHEL_OK;
    }
    enum satchel_status status = satchel_json_unquote(json, arena, &text);
    if (status == SATCHEL_OK)
        *out = satchel_value_text(text);
    return status;
}

enum satchel_status admin_key(const struct satchel_table *table, struct satchel_span text,
                              struct satchel_arena *arena, struct satchel_value **out,
                              struct satchel_error *error)
{
    struct satchel_json_item *items;
    size_t count = 0;
    enum satchel_status status = SATCHEL_OK;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, table->key_count);
    if (!*out)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a key");
    if (table->key_count == 1) {
        (*out)[0] = affinity_value_of(table, &table->columns[table->key_columns[0]], text);
        return SATCHEL_OK;
    }
    status = satchel_json_items(text, SATCHEL_JSON_ARRAY, arena, &items, &count);
    if (status == SATCHEL_OK && count != table->key_count)
        status = SATCHEL_CORRUPT;
    for (uint32_t i = 0; status == SATCHEL_OK && i < table->key_count; i++)
        status = key_item(table, i, items[i].value, arena, &(*out)[i]);
    if (status == SATCHEL_CORRUPT)
        status =
            satchel_error_set(error, SATCHEL_INVALID, "a key of %s is a JSON array of %u values",
                              table->name, table->key_count);
    return status;
}

enum satchel_status admin_row(struct satchel_store *store, const struct satchel_table *table,
                              const struct satchel_value *key, struct satchel_arena *arena,
                              struct satchel_store_row *out, struct satchel_error *error)
{
    struct satchel_buffer name;
    memset(out, 0, sizeof *out);
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_row_name(&name, table->number, key, table->key_count);
    out->table = table;
    out->key = key;
    out->name = satchel_arena_copy(arena, satchel_buffer_span(&name));
    satchel_buffer_deinit(&name);
    if (status == SATCHEL_OK && !out->name.data)
        status = SATCHEL_NOMEM;
    return status == SATCHEL_OK ? store->ops->load_rows(store, out, 1, arena, error) : status;
}

/* ---- edits ---- */

enum satchel_status admin_edit_begin(struct admin_edit *edit, const struct satchel_store_row *row,
                                     struct satchel_arena *arena)
{
    edit->row = row;
    edit->values = SATCHEL_ARENA_ARRAY(arena, struct satchel_value, row->table->column_count);
    edit->is_set = SATCHEL_ARENA_ARRAY(arena, bool, row->table->column_count);
    return edit->values && edit->is_set ? SATCHEL_OK : SATCHEL_NOMEM;
}

/* Whether a write of some set column carries this one along: both are of one unit, and the set one
 * is no follower, which is written alone. */
static bool is_carried(const struct admin_edit *edit, uint32_t column)
{
    const struct satchel_column_rules *columns = edit->row->table->rules.columns;
    for (uint32_t i = 0; i < edit->row->table->column_count; i++)
        if (edit->is_set[i] && !columns[i].in_key && columns[i].unit == columns[column].unit &&
            (i == column || columns[i].rule != SATCHEL_RULE_FOLLOWS))
            return true;
    return false;
}

static enum satchel_status make_field(const struct admin_edit *edit, uint32_t column,
                                      struct satchel_arena *arena, struct satchel_field *out,
                                      struct satchel_error *error)
{
    const struct satchel_table *table = edit->row->table;
    const struct satchel_column_rules *rules = &table->rules.columns[column];
    const struct satchel_value *present = &edit->row->values[column];
    const struct satchel_value *wanted = edit->is_set[column] ? &edit->values[column] : present;
    bool is_write;
    out->column = column;
    enum satchel_status status = satchel_operation_make(rules, SATCHEL_OP_UPDATE, present, wanted,
                                                        arena, &out->value, &is_write);
    if (status != SATCHEL_REFUSED)
        return status;
    const char *refusal = satchel_value_refusal(rules, wanted);
    return satchel_error_set(error, status, "%s.%s: %s", table->name, table->columns[column].name,
                             refusal ? refusal : "the value does not fit its rule");
}

enum satchel_status admin_edit_part(const struct admin_edit *edit, struct satchel_arena *arena,
                                    struct satchel_part *out, struct satchel_error *error)
{
    const struct satchel_table *table = edit->row->table;
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_field, table->column_count);
    if (!fields)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for a change set");
    *out = (struct satchel_part){.kind = SATCHEL_OP_UPDATE,
                                 .table = table->number,
                                 .key = edit->row->key,
                                 .key_count = table->key_count,
                                 .fields = fields};
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (table->rules.columns[i].in_key || !is_carried(edit, i))
            continue;
        enum satchel_status status = make_field(edit, i, arena, &fields[out->field_count++], error);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

/* ---- merging ---- */

static bool writes_key(const struct satchel_table *table, const struct satchel_field *field)
{
    return table->rules.columns[table->rules.columns[field->column].unit].rule == SATCHEL_RULE_KEY;
}

/* What of the part is meant for the row's aliases too: a delete, or what it writes to keys. */
static enum satchel_status keep_keys(const struct satchel_table *table,
                                     const struct satchel_part *part, struct satchel_arena *arena,
                                     struct satchel_part *out)
{
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(arena, struct satchel_field, part->field_count + 1);
    if (!fields)
        return SATCHEL_NOMEM;
    *out = *part;
    out->fields = fields;
    out->field_count = 0;
    for (uint32_t i = 0; i < part->field_count; i++)
        if (writes_key(table, &part->fields[i]))
            fields[out->field_count++] = part->fields[i];
    return SATCHEL_OK;
}

static enum satchel_status list_aliases(struct satchel_store *store,
                                        const struct satchel_part *part,
                                        struct satchel_arena *arena, struct satchel_span **names,
                                        uint32_t *count, struct satchel_error *error)
{
    struct satchel_aliases *aliases = NULL;
    struct satchel_buffer name;
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = satchel_aliases_new(&aliases, satchel_store_sqlite_db(store));
    if (status == SATCHEL_OK)
        status = satchel_row_name(&name, part->table, part->key, part->key_count);
    if (status == SATCHEL_OK)
        status =
            satchel_alias_list(aliases, satchel_buffer_span(&name), arena, names, count, error);
    satchel_aliases_free(aliases);
    satchel_buffer_deinit(&name);
    return status;
}

/* The part, and the same for every row that its row stands for, where it deletes or writes a key:
 * whoever does that to a merged row means all of it (cluster.h). */
static enum satchel_status with_aliases(struct satchel_store *store,
                                        const struct satchel_part *part,
                                        struct satchel_arena *arena, struct satchel_part **out,
                                        uint32_t *out_count, struct satchel_error *error)
{
    const struct satchel_table *table = satchel_schema_table(store->schema, part->table);
    struct satchel_part same;
    struct satchel_span *names;
    uint32_t count = 0, number;
    enum satchel_status status = keep_keys(table, part, arena, &same);
    if (status == SATCHEL_OK && table->rules.has_keys &&
        (part->kind == SATCHEL_OP_DELETE || same.field_count > 0))
        status = list_aliases(store, part, arena, &names, &count, error);
    if (status != SATCHEL_OK)
        return status;
    *out = SATCHEL_ARENA_ARRAY(arena, struct satchel_part, count + 1);
    if (!*out)
        return SATCHEL_NOMEM;
    (*out)[0] = *part;
    *out_count = count + 1;
    for (uint32_t i = 0; status == SATCHEL_OK && i < count; i++) {
        status = satchel_row_name_read(names[i], arena, &number, &same.key, &same.key_count);
        (*out)[1 + i] = same;
    }
    return status;
}

enum satchel_status admin_merge(struct satchel_store *store, const struct satchel_part *part,
                                struct satchel_span role, struct satchel_arena *arena,
                                struct satchel_error *error)
{
    struct satchel_own_changeset changes = {.role = role};
    struct satchel_incoming_outcome outcome;
    struct satchel_span reason;
    struct satchel_part *parts;
    uint32_t which;
    enum satchel_status status =
        with_aliases(store, part, arena, &parts, &changes.part_count, error);
    changes.parts = parts;
    if (status == SATCHEL_OK)
        status = satchel_own_merge(store, &changes, workspace_now_ms(), arena, &outcome, error);
    if (status != SATCHEL_OK || outcome.quarantined_count == 0)
        return status;
    status = satchel_quarantine_reason(store, outcome.cursor, arena, &which, &reason, error);
    if (status != SATCHEL_OK)
        return status;
    return satchel_error_set(error, SATCHEL_REFUSED, "%.*s", (int)reason.size,
                             (const char *)reason.data);
}

enum satchel_status admin_part_stands(struct satchel_store *store,
                                      const struct satchel_store_row *before,
                                      const struct satchel_part *part, struct satchel_arena *arena,
                                      bool *stands, struct satchel_error *error)
{
    const struct satchel_table *table = before->table;
    struct satchel_store_row after;
    enum satchel_status status = admin_row(store, table, before->key, arena, &after, error);
    *stands = status == SATCHEL_OK && after.exists;
    for (uint32_t i = 0; status == SATCHEL_OK && *stands && i < part->field_count; i++) {
        const struct satchel_field *field = &part->fields[i];
        struct satchel_value wanted;
        status =
            satchel_operation_apply(&table->rules.columns[field->column], SATCHEL_OP_UPDATE,
                                    &before->values[field->column], &field->value, arena, &wanted);
        *stands =
            status == SATCHEL_OK && satchel_value_equal(&wanted, &after.values[field->column]);
    }
    return status;
}

enum satchel_status admin_entry(struct satchel_store *store, uint64_t cursor,
                                struct satchel_arena *arena, struct satchel_entry *entry,
                                struct satchel_changeset *changeset, struct satchel_error *error)
{
    struct satchel_buffer scratch;
    struct satchel_span timeline, body;
    satchel_buffer_init(&scratch, ADMIN_BODY_BYTES_MAX, NULL);
    enum satchel_status status =
        store->ops->load_entries(store, &cursor, 1, entry, &timeline, arena, error);
    if (status == SATCHEL_OK)
        status = satchel_body_load(entry->body, &scratch, &body);
    if (status == SATCHEL_OK) {
        body = satchel_arena_copy(arena, body);
        status =
            body.data ? satchel_changeset_decode(body, arena, changeset, error) : SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&scratch);
    if (status != SATCHEL_OK)
        satchel_error_default(error, status, "entry %llu of the log cannot be read",
                              (unsigned long long)cursor);
    return status;
}
