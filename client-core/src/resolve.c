/* Owns settling an open conflict: a write of somebody who knows both sides. What stands is written
 * again, what lost (or a value given) is written over it; then neither is unseen any more, and the
 * node closes the conflict. Knows nothing of how writes are captured or merged. */
#include "capture.h"

#include <satchel/log.h>
#include <satchel/operation.h>

struct resolution {
    struct satchel_replica *replica;
    struct satchel_savepoint savepoint;
    struct satchel_error *error;
    struct satchel_id id;
    struct satchel_span take;
    struct satchel_arena arena;
    struct satchel_conflict_note note;
    const struct satchel_table *table;
    struct satchel_row_io *io;
    struct satchel_value *values; /* of the row as it is shown */
};

static bool takes(const struct resolution *resolution, const char *what)
{
    return satchel_span_equal(resolution->take, satchel_span_text(what));
}

static enum satchel_status refuse(const struct resolution *resolution, const char *words)
{
    return satchel_error_set(resolution->error, SATCHEL_REFUSED, "%s", words);
}

/* ---- writing ---- */

static enum satchel_status write_part(struct resolution *resolution,
                                      const struct satchel_value *key,
                                      const struct satchel_field *fields, uint32_t field_count)
{
    struct satchel_capture *capture = resolution->replica->capture;
    const struct satchel_part part = {.kind = SATCHEL_OP_UPDATE,
                                      .table = resolution->table->number,
                                      .key = key,
                                      .key_count = resolution->table->key_count,
                                      .fields = fields,
                                      .field_count = field_count};
    enum satchel_status status = satchel_capture_write(capture, &part, resolution->values);
    if (status != SATCHEL_OK)
        satchel_error_set(resolution->error, status, "%s", capture->error.message);
    return status;
}

static bool is_of_unit(const struct resolution *resolution, uint32_t column)
{
    const struct satchel_column_rules *rules = &resolution->table->rules.columns[column];
    return !rules->in_key && rules->unit == resolution->note.unit;
}

static bool leads(const struct resolution *resolution, uint32_t column)
{
    return is_of_unit(resolution, column) &&
           resolution->table->rules.columns[column].rule != SATCHEL_RULE_FOLLOWS;
}

static enum satchel_status write_again(struct resolution *resolution, uint32_t column,
                                       struct satchel_value *operation)
{
    const struct satchel_conflict_note *note = &resolution->note;
    const struct satchel_value *now = &resolution->values[column];
    const struct satchel_value nothing = satchel_value_null(), *lost = &nothing;
    for (uint32_t i = 0; i < note->column_count; i++)
        if (note->lost[i].column == column)
            lost = &note->lost[i].value;
    return satchel_operation_again(&resolution->table->rules.columns[column], now, now, lost,
                                   &resolution->arena, operation);
}

/* Writes the unit as the row has it. */
static enum satchel_status keep_unit(struct resolution *resolution)
{
    uint32_t column_count = resolution->table->column_count, count = 0;
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&resolution->arena, struct satchel_field, column_count);
    enum satchel_status status = fields ? SATCHEL_OK : SATCHEL_NOMEM;
    for (uint32_t i = 0; i < column_count && status == SATCHEL_OK; i++) {
        if (!is_of_unit(resolution, i))
            continue;
        fields[count].column = i;
        status = write_again(resolution, i, &fields[count++].value);
    }
    return status == SATCHEL_OK ? write_part(resolution, resolution->note.key, fields, count)
                                : status;
}

/* Sets fields of the row as an application would. Where that changes nothing they are written all
 * the same. */
static enum satchel_status set_fields(struct resolution *resolution,
                                      const struct satchel_field *fields, uint32_t field_count)
{
    struct satchel_capture *capture = resolution->replica->capture;
    uint32_t op_count = capture->op_count;
    enum satchel_status status =
        satchel_row_update(resolution->io, resolution->table, resolution->note.key, fields,
                           field_count, resolution->error);
    if (status != SATCHEL_OK || capture->op_count > op_count)
        return status;
    return keep_unit(resolution);
}

/* ---- a unit ---- */

static struct satchel_span role_of(const struct resolution *resolution)
{
    const char *role = resolution->replica->role;
    return role ? satchel_span_text(role) : satchel_span_of(NULL, 0);
}

static bool may_write(const struct resolution *resolution, uint32_t column)
{
    return satchel_column_may_set(resolution->table, column, role_of(resolution), NULL);
}

/* Where the higher role has its way, only who is no lower than the winner can write over it. */
static enum satchel_status check_role(struct resolution *resolution,
                                      const struct satchel_column_rules *rules)
{
    const struct satchel_order *winner = &resolution->note.winner;
    struct satchel_span role = role_of(resolution);
    struct satchel_changeset changeset;
    bool found = false;
    if (rules->role_count == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_replica_find_change(resolution->replica, &winner->device, winner->number,
                                    &resolution->arena, &changeset, &found, resolution->error);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_span winning = found ? changeset.header.role : rules->roles[0];
    if (satchel_role_rank(rules, role) <= satchel_role_rank(rules, winning))
        return SATCHEL_OK;
    return satchel_error_set(resolution->error, SATCHEL_REFUSED,
                             "@%s: a %s does not write over what a %.*s wrote: take winner, or ask "
                             "one whose role is high enough",
                             satchel_rule_name(rules->rule),
                             role.size ? resolution->replica->role : "user without a role",
                             (int)(winning.size < 64 ? winning.size : 64),
                             (const char *)winning.data);
}

/* Whether what stands can be written over at all. */
static enum satchel_status check_change(struct resolution *resolution)
{
    if (resolution->note.kind == SATCHEL_CONFLICT_FROZEN)
        return refuse(resolution,
                      "the field was frozen, and what was written too late does not count: only "
                      "the winner can be taken");
    for (uint32_t i = 0; i < resolution->table->column_count; i++) {
        const struct satchel_column_rules *rules = &resolution->table->rules.columns[i];
        if (!leads(resolution, i))
            continue;
        if (rules->rule == SATCHEL_RULE_FIRST && resolution->values[i].type != SATCHEL_NULL)
            return refuse(resolution, "@first: the first value stays, whoever writes over it: only "
                                      "the winner can be taken");
        enum satchel_status status = check_role(resolution, rules);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

/* ---- what was lost ---- */

static bool is_loser(const struct resolution *resolution, const struct satchel_part *part)
{
    const struct satchel_conflict_note *note = &resolution->note;
    const struct satchel_value *key = note->alias_key ? note->alias_key : note->key;
    bool is_same = part->table == note->table && part->key_count == note->key_count;
    for (uint32_t i = 0; is_same && i < part->key_count; i++)
        is_same = satchel_value_equal(&part->key[i], &key[i]);
    return is_same;
}

/* The value that the losing change set gave the column, `*value` as it was if it gave none. */
static enum satchel_status read_written(struct resolution *resolution,
                                        const struct satchel_changeset *changeset, uint32_t column,
                                        struct satchel_value *value)
{
    const struct satchel_column_rules *rules = &resolution->table->rules.columns[column];
    for (uint32_t i = 0; i < changeset->header.part_count; i++) {
        const struct satchel_part *part = &changeset->parts[i];
        if (!is_loser(resolution, part))
            continue;
        for (uint32_t j = 0; j < part->field_count; j++)
            if (part->fields[j].column == column)
                return satchel_operation_apply(rules, part->kind, &resolution->values[column],
                                               &part->fields[j].value, &resolution->arena, value);
    }
    return SATCHEL_OK;
}

/* A value that is too long for a conflict's record is NULL there; the write itself has it. */
static enum satchel_status find_long(struct resolution *resolution, struct satchel_field *lost)
{
    const struct satchel_order *loser = &resolution->note.loser;
    struct satchel_changeset changeset;
    bool found = false;
    enum satchel_status status =
        satchel_replica_find_change(resolution->replica, &loser->device, loser->number,
                                    &resolution->arena, &changeset, &found, resolution->error);
    if (status != SATCHEL_OK)
        return status;
    if (!found)
        return refuse(resolution,
                      "what was lost is not in this replica's log: write it as a value");
    return read_written(resolution, &changeset, lost->column, &lost->value);
}

/* What the field shall hold: of a map, with what the write did to the keys that it lost. */
static enum satchel_status find_lost(struct resolution *resolution, struct satchel_field *lost)
{
    const struct satchel_column_rules *rules = &resolution->table->rules.columns[lost->column];
    if (lost->value.type == SATCHEL_NULL)
        return find_long(resolution, lost);
    return satchel_operation_prevail(rules, &resolution->values[lost->column], &lost->value,
                                     &resolution->arena, &lost->value);
}

static enum satchel_status take_loser(struct resolution *resolution)
{
    const struct satchel_conflict_note *note = &resolution->note;
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&resolution->arena, struct satchel_field, note->column_count);
    enum satchel_status status = fields ? SATCHEL_OK : SATCHEL_NOMEM;
    for (uint32_t i = 0; i < note->column_count && status == SATCHEL_OK; i++) {
        fields[i] = note->lost[i];
        status = find_lost(resolution, &fields[i]);
    }
    return status == SATCHEL_OK ? set_fields(resolution, fields, note->column_count) : status;
}

static enum satchel_status take_value(struct resolution *resolution)
{
    uint32_t count = 0;
    struct satchel_field field = {0, satchel_value_text(resolution->take)};
    for (uint32_t i = 0; i < resolution->table->column_count; i++) {
        if (!leads(resolution, i))
            continue;
        field.column = i;
        count++;
    }
    if (count != 1)
        return refuse(resolution, "a group has several values: take winner or loser, or write its "
                                  "fields as you want them");
    /* Keys of a map that were lost may be in the value as they are: said again first. */
    bool is_map = resolution->table->rules.columns[field.column].rule == SATCHEL_RULE_MAP;
    enum satchel_status status = is_map ? keep_unit(resolution) : SATCHEL_OK;
    return status == SATCHEL_OK ? set_fields(resolution, &field, 1) : status;
}

static enum satchel_status settle_unit(struct resolution *resolution)
{
    if (takes(resolution, "winner"))
        return keep_unit(resolution);
    enum satchel_status status = check_change(resolution);
    if (status != SATCHEL_OK)
        return status;
    return takes(resolution, "loser") ? take_loser(resolution) : take_value(resolution);
}

/* ---- a row ---- */

/* The row stays: a unit of it is written as it is. */
static enum satchel_status touch(struct resolution *resolution)
{
    for (uint32_t i = 0; i < resolution->table->column_count; i++) {
        if (!satchel_column_is_touchable(&resolution->table->rules.columns[i]) ||
            !may_write(resolution, i))
            continue;
        resolution->note.unit = resolution->table->rules.columns[i].unit;
        resolution->note.column_count = 0;
        return keep_unit(resolution);
    }
    return refuse(resolution, "the row has no field that can be written: take loser, which deletes "
                              "it");
}

static enum satchel_status settle_delete(struct resolution *resolution)
{
    if (takes(resolution, "winner"))
        return touch(resolution);
    if (!takes(resolution, "loser"))
        return refuse(resolution, "a lost delete is settled by winner (the row stays) or loser (it "
                                  "is deleted)");
    return satchel_row_delete(resolution->io, resolution->table, resolution->note.key,
                              resolution->error);
}

static enum satchel_status settle_duplicate(struct resolution *resolution)
{
    const struct satchel_conflict_note *note = &resolution->note;
    if (takes(resolution, "winner"))
        return keep_unit(resolution);
    if (!takes(resolution, "loser"))
        return refuse(resolution, "two rows with one key are settled by winner (they are one) or "
                                  "loser (they are set apart)");
    if (!note->alias_key || note->column_count == 0 || note->lost[0].value.type != SATCHEL_TEXT)
        return SATCHEL_CORRUPT;
    const struct satchel_field apart = {note->lost[0].column,
                                        satchel_value_blob(note->lost[0].value.bytes)};
    return write_part(resolution, note->alias_key, &apart, 1);
}

/* ---- all of it ---- */

static enum satchel_status find(struct resolution *resolution)
{
    struct satchel_replica *replica = resolution->replica;
    struct satchel_conflict_note *note = &resolution->note;
    struct satchel_log *log;
    bool exists = false;
    enum satchel_status status = satchel_log_new(&log, replica->db);
    if (status != SATCHEL_OK)
        return satchel_error_set(resolution->error, status, "cannot read the conflicts: %s",
                                 satchel_status_text(status));
    status = satchel_log_conflict_find(log, &resolution->id, &resolution->arena, note,
                                       resolution->error);
    satchel_log_free(log);
    if (status != SATCHEL_OK)
        return status;
    if (!note->is_open)
        return satchel_error_set(resolution->error, SATCHEL_STATE,
                                 "this conflict is settled already: somebody wrote knowing both "
                                 "sides");
    resolution->table = satchel_schema_table(replica->schema, note->table);
    if (!resolution->table || resolution->table->is_local ||
        resolution->table->key_count != note->key_count)
        return SATCHEL_CORRUPT;
    resolution->values = SATCHEL_ARENA_ARRAY(&resolution->arena, struct satchel_value,
                                             resolution->table->column_count);
    if (!resolution->values)
        return SATCHEL_NOMEM;
    status = satchel_row_io_new(&resolution->io, replica->db, replica->schema);
    if (status == SATCHEL_OK)
        status = satchel_row_read(resolution->io, resolution->table, note->key, &resolution->arena,
                                  &exists, resolution->values, resolution->error);
    return status != SATCHEL_OK || exists ? status
                                          : satchel_error_set(resolution->error, SATCHEL_STATE,
                                                              "the row is not there any more");
}

static bool fits(const struct resolution *resolution)
{
    const struct satchel_conflict_note *note = &resolution->note;
    for (uint32_t i = 0; i < note->column_count; i++)
        if (note->lost[i].column >= resolution->table->column_count)
            return false;
    return true;
}

static enum satchel_status settle(struct resolution *resolution)
{
    enum satchel_status status =
        satchel_replica_refresh_schema(resolution->replica, resolution->error);
    if (status == SATCHEL_OK)
        status = find(resolution);
    if (status == SATCHEL_OK && !fits(resolution))
        status = SATCHEL_CORRUPT;
    if (status != SATCHEL_OK)
        return status;
    switch (resolution->note.kind) {
    case SATCHEL_CONFLICT_DELETE: return settle_delete(resolution);
    case SATCHEL_CONFLICT_DUPLICATE: return settle_duplicate(resolution);
    case SATCHEL_CONFLICT_RULE:
    case SATCHEL_CONFLICT_FROZEN: break;
    }
    for (uint32_t i = 0; i < resolution->table->column_count; i++) {
        if (!is_of_unit(resolution, i))
            continue;
        if (resolution->table->rules.columns[i].rule == SATCHEL_RULE_SERVER)
            return refuse(resolution, "@server: only the server writes the field: resolve it there "
                                      "(satchel resolve ID --take ... --workspace W)");
        if (!may_write(resolution, i))
            return refuse(resolution, "your role may not set the field: ask one whose role may");
    }
    return settle_unit(resolution);
}

static enum satchel_status begin(struct resolution *resolution, const char *id, const char *take)
{
    resolution->take = satchel_span_text(take);
    if (satchel_id_parse(&resolution->id, satchel_span_text(id)) != SATCHEL_OK)
        return satchel_error_set(resolution->error, SATCHEL_NOT_FOUND,
                                 "no conflict has such an id; see satchel conflicts");
    return satchel_savepoint_open(&resolution->savepoint, resolution->replica->db,
                                  resolution->error);
}

enum satchel_status satchel_resolve(satchel_replica *replica, const char *conflict_id,
                                    const char *take, struct satchel_error *error)
{
    struct satchel_error detail = {0};
    struct resolution resolution = {.replica = replica, .error = &detail};
    satchel_arena_init(&resolution.arena, (size_t)1 << 30, NULL);
    enum satchel_status status = begin(&resolution, conflict_id, take);
    if (status == SATCHEL_OK) {
        status = settle(&resolution);
        satchel_row_io_free(resolution.io); /* its statements first: ROLLBACK TO wants none */
        status = satchel_savepoint_close(&resolution.savepoint, status, &detail);
    }
    if (status == SATCHEL_SQL && detail.native_code == SQLITE_CONSTRAINT_VTAB)
        status = detail.status = SATCHEL_REFUSED; /* capture's words name table, column and rule */
    satchel_arena_deinit(&resolution.arena);
    if (status != SATCHEL_OK) {
        char reason[sizeof detail.message];
        memcpy(reason, detail.message, sizeof reason);
        satchel_error_set(&detail, status, "%.64s: %s", conflict_id,
                          reason[0] ? reason : satchel_status_text(status));
    }
    if (error)
        *error = detail;
    return status;
}
