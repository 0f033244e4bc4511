/* Owns the transaction in which entries are applied, and the stream's state in satchel_replica:
 * cursor, seen, stamps, last number. Knows nothing of what an entry says. */
#include "apply.h"

#include <satchel/mutation.h>

#include <inttypes.h>

/* A change set of the largest size, decoded, with the rows it touches. */
static const size_t ENTRY_ARENA_BYTES_MAX = (size_t)2 << 30;
/* A row may be larger than any change set: SQLite's own limit is a little lower. */
static const size_t ROW_BYTES_MAX = (size_t)1 << 30;

enum { PLANS_MAX = 1000 * 1000, PAST_ARENA_BYTES_MAX = 1 << 20 };

static const char *const SQL[APPLY_STATEMENT_COUNT] = {
    [APPLY_BEGIN] = "BEGIN IMMEDIATE",
    [APPLY_BEGIN_READING] = "BEGIN",
    [APPLY_COMMIT] = "COMMIT",
    [APPLY_ROLLBACK] = "ROLLBACK",
    [APPLY_READ_STATE] =
        "SELECT node, cursor, seen, seen_stamp, last_number, last_stamp,"
        " (SELECT count(*) FROM satchel_migration), device, held, complete, end, moved,"
        " (state <> 'joined') + (state = 'wiped'), rewinds FROM satchel_replica",
    [APPLY_WRITE_STATE] = "UPDATE satchel_replica SET cursor = ?1, seen = ?2, seen_stamp = ?3,"
                          " last_number = ?4, last_stamp = ?5, refused = refused + ?6, held = ?7,"
                          " complete = ?8, end = ?9, moved = ?10, rewinds = ?11",
    [APPLY_TAKE_BODY] =
        "SELECT body, utc_ms, monotonic_ms, boot FROM satchel_change WHERE number = ?1",
    [APPLY_DROP_CHANGE] = "DELETE FROM satchel_change WHERE number = ?1",
    [APPLY_ANY_BASE] = "SELECT 1 FROM satchel_base LIMIT 1",
    [APPLY_READ_BASE] = "SELECT base FROM satchel_base WHERE name = ?1",
    [APPLY_WRITE_BASE] = "INSERT INTO satchel_base(name, base) VALUES(?1, ?2)"
                         " ON CONFLICT(name) DO UPDATE SET base = excluded.base",
    [APPLY_DROP_BASE] = "DELETE FROM satchel_base WHERE name = ?1",
    [APPLY_FIND_CONFLICT] = "SELECT 1 FROM satchel_conflict WHERE id = ?1 AND resolved IS NULL",
    [APPLY_READ_PAST] = "SELECT node, last_cursor FROM satchel_lineage ORDER BY node",
    [APPLY_WRITE_RECEIPT] = "INSERT OR REPLACE INTO satchel_receipt(cursor, receipt, positions,"
                            " previous, is_cut) VALUES(?1, ?2, ?3, ?4, ?5)",
    [APPLY_HAS_WHOLE] = "SELECT 1 FROM satchel_receipt WHERE cursor = ?1 AND NOT is_cut",
    [APPLY_READ_RECEIPT] = "SELECT positions, is_cut FROM satchel_receipt WHERE cursor = ?1",
    [APPLY_ANY_LOST] = "SELECT 1 FROM satchel_lost LIMIT 1",
    [APPLY_FIND_LOST] = "SELECT id, positions FROM satchel_lost WHERE mark = ?1 AND node = ?2"
                        " AND seq = ?3",
    [APPLY_DROP_LOST] = "DELETE FROM satchel_lost WHERE id = ?1",
    [APPLY_LOST_OWN] = "SELECT body, secret FROM satchel_lost WHERE is_own AND number = ?1"
                       " AND NOT is_cut",
    [APPLY_NOTE_LOST_OWN] = "INSERT OR REPLACE INTO satchel_elsewhere(number, device)"
                            " SELECT number, ?2 FROM satchel_lost WHERE mark = ?1 AND is_own",
    [APPLY_NOTE_OWN] = "INSERT OR REPLACE INTO satchel_elsewhere(number, device) VALUES(?1, ?2)",
    [APPLY_FORGET_OWN] = "DELETE FROM satchel_elsewhere WHERE number = ?1",
    [APPLY_ANY_CONFLICT] = "SELECT 1 FROM satchel_conflict LIMIT 1",
    [APPLY_ROW_CONFLICTS] =
        "SELECT id FROM satchel_conflict WHERE tbl = ?1 AND (key = ?2 OR loser_key = ?2)",
    [APPLY_DROP_OPEN] = "DELETE FROM satchel_conflict WHERE tbl = ?1"
                        " AND (key = ?2 OR loser_key = ?2) AND resolved IS NULL",
    [APPLY_DROP_CONFLICT] = "DELETE FROM satchel_conflict WHERE id = ?1",
    [APPLY_IN_DOUBT] = "SELECT 1 FROM satchel_doubt WHERE name = ?1"
                       " UNION ALL SELECT 1 FROM satchel_view WHERE name = ?1",
    [APPLY_READ_VIEW] = "SELECT views FROM satchel_view WHERE name = ?1",
    [APPLY_WRITE_VIEW] = "INSERT INTO satchel_view(name, views) VALUES(?1, ?2)"
                         " ON CONFLICT(name) DO UPDATE SET views = excluded.views",
    [APPLY_DROP_VIEW] = "DELETE FROM satchel_view WHERE name = ?1",
    [APPLY_DROP_VIEWS] = "DELETE FROM satchel_view",
    [APPLY_ANY_MISSING] = "SELECT 1 FROM satchel_lost WHERE " SATCHEL_LOST_IS_MISSING " LIMIT 1",
    [APPLY_ANY_DOUBT] = "SELECT 1 FROM satchel_doubt LIMIT 1",
    [APPLY_ANY_FORGOTTEN] = "SELECT 1 FROM satchel_forget LIMIT 1",
    [APPLY_FORGET_ROW] = "INSERT OR IGNORE INTO satchel_forget(name) VALUES(?1)",
    [APPLY_REMEMBER_ROW] = "DELETE FROM satchel_forget WHERE name = ?1",
};

enum satchel_status satchel_apply_sql_error(const struct satchel_apply *apply, const char *doing,
                                            struct satchel_error *error)
{
    return satchel_sql_error(error, apply->replica->db, "cannot %s", doing);
}

enum satchel_status satchel_apply_run(struct satchel_apply *apply,
                                      enum satchel_apply_statement statement, const char *doing,
                                      struct satchel_error *error)
{
    sqlite3_stmt *prepared = apply->statements[statement];
    enum satchel_status status = SATCHEL_OK;
    if (sqlite3_step(prepared) != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, doing, error);
    sqlite3_reset(prepared);
    sqlite3_clear_bindings(prepared);
    return status;
}

/* ---- life ---- */

enum satchel_status satchel_apply_new(struct satchel_apply **out, struct satchel_replica *replica,
                                      struct satchel_error *error)
{
    *out = NULL;
    struct satchel_apply *apply = satchel_alloc_zero(NULL, sizeof *apply);
    if (!apply)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to apply entries");
    apply->replica = replica;
    satchel_arena_init(&apply->arena, ENTRY_ARENA_BYTES_MAX, NULL);
    satchel_arena_init(&apply->past_arena, PAST_ARENA_BYTES_MAX, NULL);
    satchel_map_init(&apply->plans, PLANS_MAX, NULL);
    satchel_buffer_init(&apply->name, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    satchel_buffer_init(&apply->scratch, ROW_BYTES_MAX, NULL);
    satchel_buffer_init(&apply->stored, (size_t)2 * SATCHEL_CHANGESET_BYTES_MAX, NULL);
    enum satchel_status status = SATCHEL_OK;
    for (int i = 0; i < APPLY_STATEMENT_COUNT && status == SATCHEL_OK; i++)
        if (sqlite3_prepare_v3(replica->db, SQL[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &apply->statements[i], NULL) != SQLITE_OK)
            status = satchel_apply_sql_error(apply, "prepare to apply entries", error);
    if (status == SATCHEL_OK && (status = satchel_pending_init(&apply->pending, replica->db)))
        status = satchel_apply_sql_error(apply, "read satchel_change", error);
    if (status == SATCHEL_OK && (status = satchel_log_new(&apply->log, replica->db)))
        status = satchel_apply_sql_error(apply, "open the log", error);
    if (status == SATCHEL_OK && (status = satchel_aliases_new(&apply->aliases, replica->db)))
        status = satchel_apply_sql_error(apply, "read satchel_alias", error);
    if (status == SATCHEL_OK)
        status = satchel_replica_refresh_schema(replica, error);
    if (status == SATCHEL_OK && replica->schema)
        status = satchel_triggers_check(replica->db, replica->schema, error);
    if (status != SATCHEL_OK) {
        satchel_apply_free(apply);
        return status;
    }
    *out = apply;
    return SATCHEL_OK;
}

void satchel_apply_free(struct satchel_apply *apply)
{
    if (!apply)
        return;
    satchel_apply_rollback(apply);
    satchel_row_io_free(apply->rows);
    satchel_log_free(apply->log);
    satchel_pending_deinit(&apply->pending);
    satchel_aliases_free(apply->aliases);
    for (int i = 0; i < APPLY_STATEMENT_COUNT; i++)
        sqlite3_finalize(apply->statements[i]);
    satchel_free(NULL, apply->is_touched);
    satchel_map_deinit(&apply->plans);
    satchel_arena_deinit(&apply->arena);
    satchel_arena_deinit(&apply->past_arena);
    satchel_buffer_deinit(&apply->name);
    satchel_buffer_deinit(&apply->scratch);
    satchel_buffer_deinit(&apply->stored);
    satchel_guard_attach(apply->replica); /* the checks of triggers have taken it away */
    satchel_free(NULL, apply);
}

/* ---- the state ---- */

static enum satchel_status read_vector(struct satchel_apply *apply, struct satchel_span bytes,
                                       struct satchel_position *items, struct satchel_vector *out)
{
    struct satchel_vector read;
    satchel_arena_reset(&apply->arena);
    enum satchel_status status = satchel_vector_unpack(bytes, &apply->arena, &read);
    if (status != SATCHEL_OK)
        return status;
    if (read.count)
        memcpy(items, read.items, read.count * sizeof *read.items);
    *out = (struct satchel_vector){items, read.count};
    return SATCHEL_OK;
}

static enum satchel_status read_state(struct satchel_apply *apply, uint32_t *migration_count,
                                      struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_READ_STATE];
    enum satchel_status status = SATCHEL_OK;
    uint64_t cursor_before = apply->cursor, number_before = apply->last_number;
    if (sqlite3_step(select) != SQLITE_ROW) {
        status = satchel_apply_sql_error(apply, "read satchel_replica", error);
    } else {
        satchel_column_id(select, 0, &apply->node);
        apply->cursor = (uint64_t)sqlite3_column_int64(select, 1);
        status =
            read_vector(apply, satchel_column_span(select, 2), apply->seen_items, &apply->seen);
        apply->has_held = sqlite3_column_type(select, 8) != SQLITE_NULL;
        if (status == SATCHEL_OK)
            status =
                read_vector(apply, satchel_column_span(select, 8), apply->held_items, &apply->held);
        apply->seen_stamp = (satchel_stamp)sqlite3_column_int64(select, 3);
        apply->last_number = (uint64_t)sqlite3_column_int64(select, 4);
        apply->last_stamp = (satchel_stamp)sqlite3_column_int64(select, 5);
        apply->complete = (uint64_t)sqlite3_column_int64(select, 9);
        satchel_column_id(select, 10, &apply->end);
        apply->moved_head = (uint64_t)sqlite3_column_int64(select, 11);
        apply->rewinds = (uint64_t)sqlite3_column_int64(select, 13);
        *migration_count = (uint32_t)sqlite3_column_int64(select, 6);
        if (status != SATCHEL_OK)
            satchel_error_set(error, status,
                              "satchel_replica.seen cannot be read; run PRAGMA "
                              "integrity_check on the replica");
        else if (!satchel_replica_is_device(apply->replica, select, 7))
            status = satchel_error_set(error, SATCHEL_AGAIN,
                                       "the replica has become a device of its own meanwhile; sync "
                                       "again");
        else if (sqlite3_column_int(select, 12) !=
                 apply->replica->is_revoked + apply->replica->is_wiped)
            status = satchel_error_set(error, SATCHEL_AGAIN,
                                       "another sync of this replica has heard that its device was "
                                       "revoked; sync again");
    }
    sqlite3_reset(select);
    /* Another sync of the same replica has been here: what is pending must be read again. */
    if (apply->cursor != cursor_before || apply->last_number != number_before)
        satchel_pending_clear(&apply->pending);
    return status;
}

enum satchel_status satchel_apply_read_past(struct satchel_apply *apply,
                                            struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[APPLY_READ_PAST];
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_DONE;
    satchel_arena_reset(&apply->past_arena);
    apply->past = (struct satchel_vector){NULL, 0};
    apply->past_node = apply->node;
    while (status == SATCHEL_OK && (code = sqlite3_step(select)) == SQLITE_ROW) {
        struct satchel_id node;
        satchel_column_id(select, 0, &node);
        status = satchel_vector_raise(&apply->past_arena, &apply->past, &node,
                                      (uint64_t)sqlite3_column_int64(select, 1), &apply->past);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read satchel_lineage", error);
    sqlite3_reset(select);
    return status;
}

/* Rows are read and written by the schema that is in the file now. */
static enum satchel_status renew_rows(struct satchel_apply *apply, uint32_t migration_count,
                                      struct satchel_error *error)
{
    struct satchel_replica *replica = apply->replica;
    if (apply->rows && apply->schema == replica->schema &&
        apply->migration_count == migration_count)
        return SATCHEL_OK;
    satchel_row_io_free(apply->rows); /* before the schema it was made for */
    apply->rows = NULL;
    apply->schema = NULL;
    enum satchel_status status = satchel_replica_refresh_schema(replica, error);
    if (status != SATCHEL_OK || !replica->schema)
        return status;
    bool *is_touched = satchel_alloc_zero(NULL, replica->schema->table_count + 1);
    if (!is_touched)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to apply entries");
    satchel_free(NULL, apply->is_touched);
    apply->is_touched = is_touched;
    apply->table_count = replica->schema->table_count;
    status = satchel_row_io_new(&apply->rows, replica->db, replica->schema);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "no memory to apply entries");
    apply->schema = replica->schema;
    apply->migration_count = migration_count;
    return SATCHEL_OK;
}

enum satchel_status satchel_apply_any(struct satchel_apply *apply,
                                      enum satchel_apply_statement statement, bool *any,
                                      struct satchel_error *error)
{
    sqlite3_stmt *select = apply->statements[statement];
    int code = sqlite3_step(select);
    enum satchel_status status = SATCHEL_OK;
    *any = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = satchel_apply_sql_error(apply, "read Satchel's tables", error);
    sqlite3_reset(select);
    sqlite3_clear_bindings(select);
    return status;
}

/* ---- the transaction ---- */

enum satchel_status satchel_apply_begin(struct satchel_apply *apply, bool is_writing,
                                        struct satchel_error *error)
{
    enum satchel_status status = satchel_apply_run(
        apply, is_writing ? APPLY_BEGIN : APPLY_BEGIN_READING, "begin a transaction", error);
    if (status != SATCHEL_OK)
        return status;
    apply->is_open = true;
    uint32_t migration_count = 0;
    status = read_state(apply, &migration_count, error);
    if (status == SATCHEL_OK && !satchel_id_equal(&apply->node, &apply->past_node))
        status = satchel_apply_read_past(apply, error);
    if (status == SATCHEL_OK)
        status = renew_rows(apply, migration_count, error);
    if (status == SATCHEL_OK)
        status = satchel_alias_any(apply->aliases, &apply->has_aliases, error);
    if (status == SATCHEL_OK) {
        apply->pending.aliases = apply->has_aliases ? apply->aliases : NULL;
        status = satchel_pending_load(&apply->pending, error);
    }
    if (status == SATCHEL_OK)
        status = satchel_apply_any(apply, APPLY_ANY_BASE, &apply->has_base, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_any(apply, APPLY_ANY_LOST, &apply->has_lost, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_any(apply, APPLY_ANY_FORGOTTEN, &apply->has_forgotten, error);
    if (status == SATCHEL_OK)
        apply->replica->is_applying = is_writing;
    else
        satchel_apply_rollback(apply);
    return status;
}

static enum satchel_status write_state(struct satchel_apply *apply, struct satchel_error *error)
{
    sqlite3_stmt *update = apply->statements[APPLY_WRITE_STATE];
    struct satchel_pack pack;
    satchel_buffer_clear(&apply->scratch);
    satchel_pack_init(&pack, &apply->scratch);
    satchel_pack_vector(&pack, &apply->seen);
    size_t seen_bytes = apply->scratch.size;
    if (apply->has_held)
        satchel_pack_vector(&pack, &apply->held);
    if (pack.status != SATCHEL_OK)
        return satchel_error_set(error, pack.status, "cannot store what the replica has seen");
    sqlite3_bind_int64(update, 1, (sqlite3_int64)apply->cursor);
    sqlite3_bind_blob64(update, 2, apply->scratch.data, seen_bytes, SQLITE_STATIC);
    sqlite3_bind_int64(update, 3, (sqlite3_int64)apply->seen_stamp);
    sqlite3_bind_int64(update, 4, (sqlite3_int64)apply->last_number);
    sqlite3_bind_int64(update, 5, (sqlite3_int64)apply->last_stamp);
    sqlite3_bind_int64(update, 6,
                       (sqlite3_int64)(apply->quarantined_count - apply->quarantined_stored));
    if (apply->has_held)
        sqlite3_bind_blob64(update, 7, apply->scratch.data + seen_bytes,
                            apply->scratch.size - seen_bytes, SQLITE_STATIC);
    sqlite3_bind_int64(update, 8, (sqlite3_int64)apply->complete);
    sqlite3_bind_blob(update, 9, apply->end.bytes, sizeof apply->end.bytes, SQLITE_STATIC);
    sqlite3_bind_int64(update, 10, (sqlite3_int64)apply->moved_head);
    sqlite3_bind_int64(update, 11, (sqlite3_int64)apply->rewinds);
    return satchel_apply_run(apply, APPLY_WRITE_STATE, "write satchel_replica", error);
}

enum satchel_status satchel_apply_commit(struct satchel_apply *apply, struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    if (SATCHEL_MUTATED(cursor_apart))
        status = satchel_apply_run(apply, APPLY_COMMIT, "commit", error);
    if (status == SATCHEL_OK && SATCHEL_MUTATED(cursor_apart))
        status = satchel_apply_run(apply, APPLY_BEGIN, "begin", error);
    if (status == SATCHEL_OK)
        status = write_state(apply, error);
    if (status == SATCHEL_OK)
        status = satchel_apply_run(apply, APPLY_COMMIT, "commit", error);
    if (status != SATCHEL_OK) {
        satchel_apply_rollback(apply);
        return status;
    }
    apply->is_open = false;
    apply->replica->is_applying = false;
    apply->entry_stored = apply->entry_count;
    apply->conflict_stored = apply->conflict_count;
    apply->quarantined_stored = apply->quarantined_count;
    return SATCHEL_OK;
}

void satchel_apply_rollback(struct satchel_apply *apply)
{
    if (!apply->is_open)
        return;
    if (!sqlite3_get_autocommit(apply->replica->db)) {
        sqlite3_step(apply->statements[APPLY_ROLLBACK]);
        sqlite3_reset(apply->statements[APPLY_ROLLBACK]);
    }
    apply->is_open = false;
    apply->replica->is_applying = false;
    apply->own = NULL;
    apply->entry_count = apply->entry_stored;
    apply->conflict_count = apply->conflict_stored;
    apply->quarantined_count = apply->quarantined_stored;
    /* What was dropped from the index is back in satchel_change. */
    satchel_pending_clear(&apply->pending);
    if (apply->is_touched)
        memset(apply->is_touched, 0, apply->table_count);
}

void satchel_apply_release(struct satchel_apply *apply)
{
    if (!apply->is_open)
        return;
    sqlite3_step(apply->statements[APPLY_ROLLBACK]);
    sqlite3_reset(apply->statements[APPLY_ROLLBACK]);
    apply->is_open = false;
    apply->replica->is_applying = false;
}

enum satchel_status satchel_apply_migrate(struct satchel_apply *apply,
                                          const struct satchel_message_schema *schema,
                                          struct satchel_error *error)
{
    satchel_row_io_free(apply->rows);
    apply->rows = NULL;
    apply->schema = NULL;
    return satchel_replica_migrate(apply->replica, schema->migrations, schema->migration_count,
                                   error);
}
