/* Owns the change set of a transaction: what it is based on, and its row in satchel_change, written
 * within the transaction it describes. What it says of the rows is capture_parts.c's. Statements
 * are prepared once and finalized when the virtual tables are disconnected. */
#include "capture.h"

#include <satchel/mutation.h>
#include <satchel/pack.h>
#include <satchel/workspace_data.h>

enum { HEADER_WIRE_BYTES = 64 }; /* without seen and role */

/* The replica's own words; the last own change set; whether rows have views; the schema. The
 * last own stamp is that of the last change set that is left, or as it was fixed when it was sent.
 */
static const char SELECT_STATE[] =
    "SELECT seen, seen_stamp, last_number, role, state,"
    " (SELECT max(number) FROM main.satchel_change),"
    " (SELECT stamp FROM main.satchel_change ORDER BY number DESC LIMIT 1),"
    " EXISTS(SELECT 1 FROM main.satchel_base), (SELECT count(*) FROM main.satchel_migration),"
    " last_stamp, EXISTS(SELECT 1 FROM main.satchel_view)"
    " FROM main.satchel_replica";
static const char SELECT_BASE[] = "SELECT base FROM main.satchel_base WHERE name=?1";
static const char SELECT_VIEW[] = "SELECT views FROM main.satchel_view WHERE name=?1";
/* REPLACE: a COMMIT that was BUSY is tried again, perhaps after more writes. */
static const char INSERT_CHANGE[] = "REPLACE INTO main.satchel_change(number, stamp, utc_ms, "
                                    "monotonic_ms, boot, floor, body, local)"
                                    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8)";
/* More than those whose key replaces, at no harm. */
static const char SELECT_REPLACING[] = "SELECT name FROM main.sqlite_schema WHERE type='table'"
                                       " AND sql LIKE '%CONFLICT%REPLACE%'";
static const char DELETE_CHANGE[] = "DELETE FROM main.satchel_change WHERE number=?1";

static enum satchel_status sql_error(struct satchel_capture *capture, const char *what)
{
    return satchel_sql_error(&capture->error, capture->replica->db, "%s", what);
}

static enum satchel_status prepare(struct satchel_capture *capture, const char *sql,
                                   sqlite3_stmt **statement)
{
    if (*statement)
        return SATCHEL_OK;
    if (sqlite3_prepare_v3(capture->replica->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement,
                           NULL) != SQLITE_OK)
        return sql_error(capture, "cannot capture the write");
    return SATCHEL_OK;
}

void satchel_capture_finalize_statements(struct satchel_capture *capture)
{
    sqlite3_finalize(capture->select_state);
    sqlite3_finalize(capture->select_base);
    sqlite3_finalize(capture->select_view);
    sqlite3_finalize(capture->insert_change);
    sqlite3_finalize(capture->delete_change);
    capture->select_state = capture->select_base = capture->select_view = NULL;
    capture->insert_change = capture->delete_change = NULL;
    satchel_row_io_free(capture->row_io);
    capture->row_io = NULL;
    satchel_capture_finalize_aliases(capture);
    satchel_capture_finalize_pointing(capture);
}

/* ---- the beginning ---- */

void satchel_capture_forget_schema(struct satchel_capture *capture)
{
    if (!capture)
        return;
    satchel_row_io_free(capture->row_io);
    capture->row_io = NULL;
    satchel_capture_finalize_pointing(capture);
    satchel_capture_forget_machines(capture);
    satchel_free(NULL, capture->tables);
    capture->tables = NULL;
    capture->table_count = 0;
}

static enum satchel_status find_replacing(struct satchel_capture *capture)
{
    sqlite3_stmt *select = NULL;
    int code = SQLITE_DONE;
    enum satchel_status status = prepare(capture, SELECT_REPLACING, &select);
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(select, 0);
        const struct satchel_table *table =
            name ? satchel_schema_find(capture->replica->schema, name) : NULL;
        if (table)
            capture->tables[table->number].may_replace = true;
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = sql_error(capture, "cannot read the schema");
    sqlite3_finalize(select);
    return status;
}

static bool takes_anything(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_COUNTER:
    case SATCHEL_RULE_SET:
    case SATCHEL_RULE_MAP:
    case SATCHEL_RULE_TEXT3:
    case SATCHEL_RULE_SERVER:
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK:
    case SATCHEL_RULE_STATE: return false;
    default: return true;
    }
}

/* Tables whose rows say what states there are. */
static enum satchel_status find_machine_tables(struct satchel_capture *capture)
{
    const struct satchel_schema *schema = capture->replica->schema;
    if (!schema->defines_states)
        return SATCHEL_OK;
    bool *is_read = satchel_alloc_zero(NULL, schema->table_count + 1);
    if (!is_read)
        return SATCHEL_NOMEM;
    enum satchel_status status = satchel_view_tables(capture->replica->db, schema, "satchel_states",
                                                     is_read, &capture->error);
    for (uint32_t i = 0; i < schema->table_count && status == SATCHEL_OK; i++)
        capture->tables[i + 1].feeds_machines = is_read[i];
    satchel_free(NULL, is_read);
    return status;
}

static enum satchel_status make_tables(struct satchel_capture *capture)
{
    const struct satchel_schema *schema = capture->replica->schema;
    uint32_t count = schema ? schema->table_count : 0;
    capture->tables = satchel_alloc_zero(NULL, (count + 1) * sizeof *capture->tables);
    if (!capture->tables)
        return SATCHEL_NOMEM;
    capture->table_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct satchel_table *table = &schema->tables[i];
        struct satchel_capture_table *tracked = &capture->tables[table->number];
        if (table->is_local)
            continue;
        tracked->table = table;
        for (uint32_t j = 0; j < table->column_count; j++) {
            const struct satchel_column_rules *rules = &table->rules.columns[j];
            tracked->has_immutable |= !rules->in_key && (rules->rule == SATCHEL_RULE_IMMUTABLE ||
                                                         rules->rule == SATCHEL_RULE_APPEND);
            tracked->has_units |= rules->unit != j;
            tracked->has_refusals |= !takes_anything(rules->rule);
            tracked->has_rights |=
                table->columns[j].write != NULL || rules->rule == SATCHEL_RULE_AUTHORITY;
        }
    }
    if (!schema)
        return SATCHEL_OK;
    enum satchel_status status = find_replacing(capture);
    if (status == SATCHEL_OK)
        status = find_machine_tables(capture);
    if (status != SATCHEL_OK)
        satchel_capture_forget_schema(capture);
    return status;
}

static enum satchel_status take_state(struct satchel_capture *capture, sqlite3_stmt *row)
{
    struct satchel_capture_state *state = &capture->state;
    const char *enrolment = (const char *)sqlite3_column_text(row, 4);
    if (enrolment && (strcmp(enrolment, "draining") == 0 || strcmp(enrolment, "wiped") == 0))
        return satchel_error_set(&capture->error, SATCHEL_DENIED,
                                 "this device was revoked: nothing is written here any more");
    if (!enrolment || strcmp(enrolment, "joined") != 0)
        return satchel_error_set(&capture->error, SATCHEL_STATE,
                                 "the replica's enrolment was not finished");
    struct satchel_span seen = satchel_column_span(row, 0);
    satchel_arena_reset(&state->seen_arena);
    enum satchel_status status = satchel_vector_unpack(seen, &state->seen_arena, &state->seen);
    if (status != SATCHEL_OK)
        return satchel_error_set(&capture->error, status, "satchel_replica.seen cannot be read");
    struct satchel_span role = satchel_column_span(row, 3);
    if (role.size > sizeof state->role)
        return satchel_error_set(&capture->error, SATCHEL_CORRUPT,
                                 "satchel_replica.role is too long");
    if (role.size)
        memcpy(state->role, role.data, role.size);
    state->role_bytes = (uint32_t)role.size;
    state->seen_stamp = (satchel_stamp)sqlite3_column_int64(row, 1);
    state->last_number = (uint64_t)sqlite3_column_int64(row, 2);
    uint64_t greatest = (uint64_t)sqlite3_column_int64(row, 5);
    if (greatest > state->last_number || SATCHEL_MUTATED(number_again))
        state->last_number = greatest;
    state->last_stamp = (satchel_stamp)sqlite3_column_int64(row, 6);
    if (state->last_stamp < (satchel_stamp)sqlite3_column_int64(row, 9))
        state->last_stamp = (satchel_stamp)sqlite3_column_int64(row, 9);
    state->has_base = sqlite3_column_int(row, 7) != 0;
    state->has_views = sqlite3_column_int(row, 10) != 0;
    state->migration_count = (uint32_t)sqlite3_column_int64(row, 8);
    state->header_bytes = HEADER_WIRE_BYTES + seen.size + role.size;
    return SATCHEL_OK;
}

static enum satchel_status read_state(struct satchel_capture *capture)
{
    enum satchel_status status = prepare(capture, SELECT_STATE, &capture->select_state);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_stmt *row = capture->select_state;
    if (sqlite3_step(row) != SQLITE_ROW)
        status = sql_error(capture, "cannot read satchel_replica");
    else
        status = take_state(capture, row);
    sqlite3_reset(row); /* its error, if any, was taken above */
    return status;
}

enum satchel_status satchel_capture_begin(struct satchel_capture *capture)
{
    struct satchel_capture_state *state = &capture->state;
    struct satchel_replica *replica = capture->replica;
    enum satchel_status status = SATCHEL_OK;
    uint32_t version = satchel_replica_data_version(replica);
    if (!state->is_known || version == 0 || version != state->version) {
        state->is_known = false;
        satchel_capture_forget_machines(capture);
        status = read_state(capture);
        state->is_known = status == SATCHEL_OK;
        state->version = version;
    }
    /* Also where nothing was read anew: a migration may have been rolled back. */
    if (status == SATCHEL_OK &&
        state->migration_count != (replica->schema ? replica->schema->migration_count : 0))
        status = satchel_replica_refresh_schema(replica, &capture->error);
    if (status == SATCHEL_OK && !capture->tables)
        status = make_tables(capture);
    capture->is_open = status == SATCHEL_OK;
    return status;
}

/* ---- views ---- */

/* Of the row named capture->name, by a statement for one of the two tables. */
static enum satchel_status read_views(struct satchel_capture *capture,
                                      const struct satchel_table *table, const char *sql,
                                      sqlite3_stmt **select, struct satchel_base *base)
{
    enum satchel_status status = prepare(capture, sql, select);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_blob64(*select, 1, capture->name.data, capture->name.size, SQLITE_STATIC);
    int code = sqlite3_step(*select);
    if (code == SQLITE_ROW) {
        struct satchel_span bytes =
            satchel_arena_copy(&capture->arena, satchel_column_span(*select, 0));
        status = bytes.data ? satchel_base_decode(bytes, table->column_count, &capture->arena, base)
                            : SATCHEL_NOMEM;
        if (status != SATCHEL_OK)
            satchel_error_set(&capture->error, status,
                              "what is shown of a row of table %s cannot be read", table->name);
    } else if (code != SQLITE_DONE) {
        status = sql_error(capture, "cannot read what is shown of a row");
    }
    sqlite3_reset(*select);
    return status;
}

enum satchel_status satchel_capture_views(struct satchel_capture *capture,
                                          const struct satchel_table *table,
                                          const struct satchel_value *key,
                                          struct satchel_exception **views, uint32_t *count)
{
    struct satchel_base hidden = {0}, doubt = {0};
    *count = 0;
    satchel_buffer_clear(&capture->name);
    enum satchel_status status =
        satchel_row_name(&capture->name, table->number, key, table->key_count);
    if (status == SATCHEL_OK && capture->state.has_base)
        status = read_views(capture, table, SELECT_BASE, &capture->select_base, &hidden);
    if (status == SATCHEL_OK && capture->state.has_views)
        status = read_views(capture, table, SELECT_VIEW, &capture->select_view, &doubt);
    *views = hidden.views;
    *count = hidden.view_count;
    if (status != SATCHEL_OK || doubt.view_count == 0)
        return status;
    *views = SATCHEL_ARENA_ARRAY(&capture->arena, struct satchel_exception,
                                 hidden.view_count + doubt.view_count);
    if (!*views)
        return SATCHEL_NOMEM;
    if (hidden.view_count > 0)
        memcpy(*views, hidden.views, hidden.view_count * sizeof **views);
    for (uint32_t i = 0; i < doubt.view_count; i++)
        if (!satchel_exception_find(hidden.views, hidden.view_count, doubt.views[i].column))
            (*views)[(*count)++] = doubt.views[i];
    return SATCHEL_OK;
}

/* ---- the change set ---- */

static enum satchel_status write_body(struct satchel_capture *capture, uint32_t part_count)
{
    const struct satchel_capture_state *state = &capture->state;
    struct satchel_changeset_header header = {
        capture->replica->schema->migration_count, state->seen,
        satchel_span_of(state->role, state->role_bytes), part_count};
    satchel_buffer_clear(&capture->body);
    satchel_buffer_clear(&capture->stored);
    enum satchel_status status = satchel_changeset_write_header(&capture->body, &header);
    if (status == SATCHEL_OK)
        status = satchel_buffer_append(&capture->body, capture->parts.data, capture->parts.size);
    if (status == SATCHEL_OK)
        status = satchel_body_store(satchel_buffer_span(&capture->body), &capture->stored);
    return status;
}

static enum satchel_status insert_change(struct satchel_capture *capture)
{
    struct satchel_replica *replica = capture->replica;
    const struct satchel_capture_state *state = &capture->state;
    const struct satchel_clock *clock = &replica->clock;
    enum satchel_status status = prepare(capture, INSERT_CHANGE, &capture->insert_change);
    if (status != SATCHEL_OK)
        return status;
    int64_t utc_ms = clock->utc_ms(clock->context);
    int64_t monotonic_ms = clock->monotonic_ms(clock->context);
    uint64_t boot = satchel_replica_boot(replica);
    /* Never passed over: what the transaction had written might be gone, and only this be kept. */
    if (satchel_replica_refresh_reference(replica) != SQLITE_OK)
        return sql_error(capture, "cannot read satchel_replica");
    int64_t now_ms = satchel_clock_correct(&replica->reference, utc_ms, monotonic_ms, boot);
    satchel_stamp last =
        state->seen_stamp > state->last_stamp ? state->seen_stamp : state->last_stamp;
    capture->flushed_number = state->last_number + 1;
    capture->flushed_stamp = satchel_stamp_next(last, now_ms);

    sqlite3_stmt *statement = capture->insert_change;
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(replica->db);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)capture->flushed_number);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)capture->flushed_stamp);
    sqlite3_bind_int64(statement, 3, utc_ms);
    sqlite3_bind_int64(statement, 4, monotonic_ms);
    sqlite3_bind_int64(statement, 5, (sqlite3_int64)boot);
    sqlite3_bind_int64(statement, 6, (sqlite3_int64)state->seen_stamp);
    sqlite3_bind_blob64(statement, 7, capture->stored.data, capture->stored.size, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 8, capture->local.data, capture->local.size, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE)
        status = sql_error(capture, "cannot write the change set");
    sqlite3_reset(statement); /* its error was taken above */
    sqlite3_set_last_insert_rowid(replica->db, rowid);
    return status;
}

/* Nothing is left to write of what an earlier attempt to commit had written. */
static enum satchel_status delete_change(struct satchel_capture *capture)
{
    enum satchel_status status = prepare(capture, DELETE_CHANGE, &capture->delete_change);
    if (status != SATCHEL_OK)
        return status;
    sqlite3_bind_int64(capture->delete_change, 1, (sqlite3_int64)capture->flushed_number);
    if (sqlite3_step(capture->delete_change) != SQLITE_DONE)
        status = sql_error(capture, "cannot drop the change set");
    sqlite3_reset(capture->delete_change);
    capture->flushed_number = 0;
    return status;
}

/* ---- a write that no statement makes ---- */

static enum satchel_status write_given(struct satchel_capture *capture,
                                       const struct satchel_capture_row *row,
                                       struct satchel_part *part)
{
    memset(capture->is_written, 0, row->table->column_count * sizeof *capture->is_written);
    for (uint32_t i = 0; i < part->field_count; i++)
        capture->is_written[part->fields[i].column] = true;
    satchel_buffer_clear(&capture->parts);
    satchel_buffer_clear(&capture->local);
    satchel_arena_reset(&capture->arena);
    enum satchel_status status = SATCHEL_OK;
    if (satchel_capture_has_views(capture, row->table))
        status = satchel_capture_make_exceptions(capture, row, part);
    if (status == SATCHEL_OK)
        status = satchel_capture_put_part(capture, row, part);
    if (status == SATCHEL_OK)
        status = write_body(capture, 1);
    return status == SATCHEL_OK ? insert_change(capture) : status;
}

static enum satchel_status write_alone(struct satchel_capture *capture,
                                       const struct satchel_part *part,
                                       struct satchel_value *values)
{
    struct satchel_part given = *part;
    enum satchel_status status = satchel_capture_begin(capture);
    if (status != SATCHEL_OK)
        return status;
    struct satchel_capture_row row = {.table = capture->tables[part->table].table,
                                      .existed = true,
                                      .exists = true,
                                      .old_values = values,
                                      .new_values = values};
    memcpy(row.key, part->key, part->key_count * sizeof *row.key);
    return write_given(capture, &row, &given);
}

enum satchel_status satchel_capture_write(struct satchel_capture *capture,
                                          const struct satchel_part *part,
                                          struct satchel_value *values)
{
    if (capture->op_count > 0)
        return satchel_error_set(&capture->error, SATCHEL_STATE,
                                 "the transaction has written already; commit it first");
    enum satchel_status status = write_alone(capture, part, values);
    /* What the transaction writes from here on is a change set of its own. */
    capture->is_open = false;
    capture->flushed_number = 0;
    capture->state.is_known = false;
    if (capture->connection_count == 0) /* no virtual table will end them with the connection */
        satchel_capture_finalize_statements(capture);
    return status;
}

static void trim(struct satchel_buffer *buffer)
{
    if (buffer->capacity > 4u << 20)
        satchel_buffer_deinit(buffer);
}

enum satchel_status satchel_capture_flush(struct satchel_capture *capture)
{
    uint32_t part_count = 0;
    enum satchel_status status = satchel_capture_write_parts(capture, &part_count);
    if (status == SATCHEL_OK && part_count == 0)
        status = capture->flushed_number > 0 ? delete_change(capture) : SATCHEL_OK;
    else if (status == SATCHEL_OK) {
        status = write_body(capture, part_count);
        if (status == SATCHEL_OK)
            status = insert_change(capture);
    }
    trim(&capture->parts);
    trim(&capture->body);
    trim(&capture->stored);
    trim(&capture->local);
    return status;
}
