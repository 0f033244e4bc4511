/* Owns bringing a write back: the value it replaced becomes a new local write, captured like any
 * other, so that every rule, right and merge holds for it. Reads satchel_history and the change
 * set; knows nothing of how either is made.
 *
 *   a field of an insert or update   its unit is taken back as its rule can (operation.h): to the
 *                                    value it replaced; a counter by the step, a set by what was
 *                                    added and removed
 *   a key that merged its row into   the row is set apart
 *   another
 *   an insert without fields         the row is deleted
 *   a delete                         the row is inserted with the values its history says it had */
#include "capture.h"

#include <satchel/alias.h>
#include <satchel/changeset.h>
#include <satchel/operation.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char SELECT_OLD[] = "SELECT old FROM satchel_history WHERE id=?1";
struct undo {
    struct satchel_replica *replica;
    struct satchel_error *error;
    const char *history_id;
    /* the parts of the id */
    struct satchel_id device;
    uint64_t number;
    uint32_t part_index, column; /* SATCHEL_COLUMN_ROW: the row as a whole */

    struct satchel_arena arena;
    struct satchel_changeset changeset;
    const struct satchel_part *part;
    const struct satchel_table *table;
    struct satchel_row_io *io;
    struct satchel_value *values; /* of the row as it is */
    bool exists;
    bool is_alias; /* it was merged into another */
};

static enum satchel_status not_found(const struct undo *undo)
{
    return satchel_error_set(undo->error, SATCHEL_NOT_FOUND,
                             "%s: no such write in the history; see satchel history",
                             undo->history_id);
}

static enum satchel_status refuse(const struct undo *undo, const char *words)
{
    return satchel_error_set(undo->error, SATCHEL_REFUSED, "%s: cannot be undone: %s",
                             undo->history_id, words);
}

/* DEVICE.NUMBER.PART.COLUMN, the column "-" for the row. */
static bool parse_id(struct undo *undo)
{
    const char *text = undo->history_id;
    char *end;
    if (strlen(text) < SATCHEL_ID_TEXT_BYTES + 5 ||
        satchel_id_parse(&undo->device, satchel_span_of(text, SATCHEL_ID_TEXT_BYTES - 1)) !=
            SATCHEL_OK ||
        text[SATCHEL_ID_TEXT_BYTES - 1] != '.')
        return false;
    undo->number = strtoull(text + SATCHEL_ID_TEXT_BYTES, &end, 10);
    if (*end != '.')
        return false;
    unsigned long part = strtoul(end + 1, &end, 10);
    if (*end != '.' || part >= SATCHEL_CHANGESET_PARTS_MAX)
        return false;
    undo->part_index = (uint32_t)part;
    undo->column = SATCHEL_COLUMN_ROW;
    if (strcmp(end, ".-") == 0)
        return true;
    unsigned long column = strtoul(end + 1, &end, 10);
    undo->column = (uint32_t)column;
    return *end == '\0' && column < SATCHEL_COLUMNS_MAX;
}

static enum satchel_status sql_error(const struct undo *undo)
{
    return satchel_sql_error(undo->error, undo->replica->db, "cannot read the history");
}

static enum satchel_status read_part(struct undo *undo)
{
    bool found = false;
    enum satchel_status status =
        satchel_replica_find_change(undo->replica, &undo->device, undo->number, &undo->arena,
                                    &undo->changeset, &found, undo->error);
    if (status != SATCHEL_OK)
        return status;
    if (!found || undo->part_index >= undo->changeset.header.part_count)
        return not_found(undo);
    undo->part = &undo->changeset.parts[undo->part_index];
    undo->table = satchel_schema_table(undo->replica->schema, undo->part->table);
    if (!undo->table || undo->table->is_local || undo->table->key_count != undo->part->key_count)
        return refuse(undo, "its table is not in this replica's schema");
    for (uint32_t i = 0; i < undo->part->field_count; i++)
        if (undo->part->fields[i].column >= undo->table->column_count)
            return refuse(undo, "it was written under a newer schema than this replica's");
    return SATCHEL_OK;
}

static const struct satchel_field *find_field(const struct undo *undo, uint32_t column)
{
    for (uint32_t i = 0; i < undo->part->field_count; i++)
        if (undo->part->fields[i].column == column)
            return &undo->part->fields[i];
    return NULL;
}

/* ---- a field ---- */

/* What the write of this change set to `column` replaced. */
static enum satchel_status read_old(struct undo *undo, uint32_t column, struct satchel_value *out)
{
    sqlite3_stmt *statement = NULL;
    char device[SATCHEL_ID_TEXT_BYTES], id[128];
    satchel_id_text(&undo->device, device);
    snprintf(id, sizeof id, "%s.%" PRIu64 ".%" PRIu32 ".%" PRIu32, device, undo->number,
             undo->part_index, column);
    if (sqlite3_prepare_v2(undo->replica->db, SELECT_OLD, -1, &statement, NULL) != SQLITE_OK)
        return sql_error(undo);
    sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    enum satchel_status status = code == SQLITE_DONE ? not_found(undo) : SATCHEL_OK;
    if (code == SQLITE_ROW) {
        struct satchel_value value = satchel_value_of_column(statement, 0);
        status = satchel_value_copy(&undo->arena, &value, out);
    } else if (code != SQLITE_DONE) {
        status = sql_error(undo);
    }
    sqlite3_finalize(statement);
    return status;
}

/* An insert's operation as an update of the default. */
static enum satchel_status as_update(struct undo *undo, const struct satchel_column_rules *rules,
                                     const struct satchel_value *operation,
                                     struct satchel_value *out)
{
    struct satchel_value value;
    bool is_write;
    enum satchel_status status = satchel_operation_apply(
        rules, SATCHEL_OP_INSERT, &rules->default_value, operation, &undo->arena, &value);
    return status == SATCHEL_OK
               ? satchel_operation_make(rules, SATCHEL_OP_UPDATE, &rules->default_value, &value,
                                        &undo->arena, out, &is_write)
               : status;
}

/* The row's value without what the write did to it. */
static enum satchel_status undo_operation(struct undo *undo, const struct satchel_field *written,
                                          struct satchel_value *out)
{
    const struct satchel_column_rules *rules = &undo->table->rules.columns[written->column];
    struct satchel_value old = rules->default_value, operation = written->value, back;
    enum satchel_status status = undo->part->kind == SATCHEL_OP_INSERT
                                     ? as_update(undo, rules, &written->value, &operation)
                                     : read_old(undo, written->column, &old);
    if (status == SATCHEL_OK)
        status = satchel_operation_invert(rules, &old, &operation, &undo->arena, &back);
    if (status == SATCHEL_OK)
        status = satchel_operation_apply(rules, SATCHEL_OP_UPDATE, &undo->values[written->column],
                                         &back, &undo->arena, out);
    return status == SATCHEL_CORRUPT || status == SATCHEL_REFUSED
               ? refuse(undo, "what it replaced does not fit the column's rule")
               : status;
}

/* The row was merged into another because of the key it was given: it is set apart again, with its
 * key. Other writes to it are the other row's now. */
static enum satchel_status undo_merge(struct undo *undo)
{
    const struct satchel_field *written = find_field(undo, undo->column);
    struct satchel_field apart = {undo->column, satchel_value_blob(written->value.bytes)};
    if (undo->table->rules.columns[undo->column].rule != SATCHEL_RULE_KEY ||
        written->value.type != SATCHEL_TEXT)
        return refuse(undo, "its row was merged into another with the same key; undo the write of "
                            "the key, which sets the rows apart, or write to the other row");
    const struct satchel_part part = {.kind = SATCHEL_OP_UPDATE,
                                      .table = undo->table->number,
                                      .key = undo->part->key,
                                      .key_count = undo->part->key_count,
                                      .fields = &apart,
                                      .field_count = 1};
    struct satchel_capture *capture = undo->replica->capture;
    enum satchel_status status = satchel_capture_write(capture, &part, undo->values);
    return status == SATCHEL_OK ? status
                                : satchel_error_set(undo->error, status, "%s: %s", undo->history_id,
                                                    capture->error.message);
}

static enum satchel_status undo_field(struct undo *undo)
{
    const struct satchel_table_rules *rules = &undo->table->rules;
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&undo->arena, struct satchel_field, rules->column_count);
    uint32_t count = 0;
    enum satchel_status status = SATCHEL_OK;
    if (!fields)
        return SATCHEL_NOMEM;
    if (undo->column >= rules->column_count || !find_field(undo, undo->column))
        return not_found(undo);
    if (undo->is_alias)
        return undo_merge(undo);
    if (!undo->exists)
        return refuse(undo, "the row does not exist any more; undo its delete first");
    for (uint32_t i = 0; i < rules->column_count && status == SATCHEL_OK; i++) {
        const struct satchel_field *written = find_field(undo, i);
        if (!written || rules->columns[i].unit != rules->columns[undo->column].unit)
            continue;
        fields[count].column = i;
        status = undo_operation(undo, written, &fields[count++].value);
    }
    if (status == SATCHEL_OK)
        status =
            satchel_row_update(undo->io, undo->table, undo->part->key, fields, count, undo->error);
    return status;
}

/* ---- a row ---- */

static enum satchel_status undo_delete(struct undo *undo)
{
    if (undo->exists)
        return refuse(undo, "the row exists again");
    bool existed = false;
    enum satchel_status status =
        satchel_history_before(undo->replica->db, undo->replica->schema, undo->table,
                               undo->history_id, &undo->arena, &existed, undo->values, undo->error);
    if (status == SATCHEL_OK && !existed)
        status = refuse(undo, "the history does not say what the row was");
    if (status != SATCHEL_OK)
        return status;
    for (uint32_t i = 0; i < undo->table->key_count; i++)
        undo->values[undo->table->key_columns[i]] = undo->part->key[i];
    for (uint32_t i = 0; i < undo->table->column_count; i++) /* the server fills it in again */
        if (undo->table->rules.columns[i].rule == SATCHEL_RULE_SERVER)
            undo->values[i] = undo->table->rules.columns[i].default_value;
    return satchel_row_insert(undo->io, undo->table, undo->values, undo->error);
}

static enum satchel_status undo_row(struct undo *undo)
{
    if (undo->part->kind == SATCHEL_OP_DELETE)
        return undo_delete(undo);
    if (undo->part->kind != SATCHEL_OP_INSERT || undo->part->field_count > 0)
        return not_found(undo);
    if (!undo->exists)
        return refuse(undo, "the row does not exist any more");
    return satchel_row_delete(undo->io, undo->table, undo->part->key, undo->error);
}

static enum satchel_status find_alias(struct undo *undo)
{
    struct satchel_aliases *aliases;
    struct satchel_buffer name;
    struct satchel_span survivor = satchel_span_of(NULL, 0);
    enum satchel_status status = satchel_aliases_new(&aliases, undo->replica->db);
    if (status != SATCHEL_OK)
        return sql_error(undo);
    satchel_buffer_init(&name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    status = satchel_row_name(&name, undo->table->number, undo->part->key, undo->part->key_count);
    if (status == SATCHEL_OK)
        status = satchel_alias_survivor(aliases, satchel_buffer_span(&name), &undo->arena,
                                        &survivor, undo->error);
    undo->is_alias = survivor.size > 0;
    satchel_buffer_deinit(&name);
    satchel_aliases_free(aliases);
    return status;
}

static enum satchel_status undo_write(struct undo *undo)
{
    enum satchel_status status = satchel_replica_refresh_schema(undo->replica, undo->error);
    if (status == SATCHEL_OK && !undo->replica->schema)
        return not_found(undo);
    if (status == SATCHEL_OK)
        status = read_part(undo);
    if (status == SATCHEL_OK)
        status = satchel_row_io_new(&undo->io, undo->replica->db, undo->replica->schema);
    if (status != SATCHEL_OK)
        return status;
    undo->values =
        SATCHEL_ARENA_ARRAY(&undo->arena, struct satchel_value, undo->table->column_count);
    if (!undo->values)
        return SATCHEL_NOMEM;
    status = satchel_row_read(undo->io, undo->table, undo->part->key, &undo->arena, &undo->exists,
                              undo->values, undo->error);
    if (status == SATCHEL_OK && !undo->exists)
        status = find_alias(undo);
    if (status != SATCHEL_OK)
        return status;
    return undo->column == SATCHEL_COLUMN_ROW ? undo_row(undo) : undo_field(undo);
}

enum satchel_status satchel_undo(satchel_replica *replica, const char *history_id,
                                 struct satchel_error *error)
{
    struct satchel_error detail = {0};
    struct undo undo = {.replica = replica, .error = &detail, .history_id = history_id};
    struct satchel_savepoint savepoint;
    satchel_arena_init(&undo.arena, (size_t)1 << 30, NULL);
    enum satchel_status status = parse_id(&undo) ? SATCHEL_OK : not_found(&undo);
    if (status == SATCHEL_OK)
        status = satchel_savepoint_open(&savepoint, replica->db, &detail);
    if (status == SATCHEL_OK) {
        status = undo_write(&undo);
        satchel_row_io_free(undo.io); /* its statements first: ROLLBACK TO wants none running */
        status = satchel_savepoint_close(&savepoint, status, &detail);
    }
    if (status == SATCHEL_SQL && detail.native_code == SQLITE_CONSTRAINT_VTAB)
        status = detail.status = SATCHEL_REFUSED; /* capture's words name table, column and rule */
    satchel_arena_deinit(&undo.arena);
    if (status != SATCHEL_OK)
        satchel_error_default(&detail, status, "%s: %s", history_id, satchel_status_text(status));
    if (error)
        *error = detail;
    return status;
}
