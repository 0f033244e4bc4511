/* Owns the upkeep of scopes: what a transaction has written is noted, and before its commit the
 * sets of the rows concerned are worked out and kept, with what they were before. */
#include "scope_internal.h"

#define REBUILD_ROWS 10000

#define SQL_TABLES                                                                                \
    "CREATE TABLE IF NOT EXISTS satchel_scope(id INTEGER PRIMARY KEY,"                            \
    " grants BLOB NOT NULL UNIQUE);"                                                              \
    "INSERT OR IGNORE INTO satchel_scope VALUES(1, x'c0'), (2, x'90');"                           \
    "CREATE TABLE IF NOT EXISTS satchel_scope_grant(value NOT NULL, scope INTEGER NOT NULL,"      \
    " PRIMARY KEY(value, scope)) WITHOUT ROWID;"                                                  \
    "CREATE INDEX IF NOT EXISTS satchel_row_scope ON satchel_row(scope) WHERE scope NOTNULL;"     \
    "CREATE TABLE IF NOT EXISTS satchel_move(name BLOB NOT NULL, cursor INTEGER NOT NULL,"        \
    " before INTEGER NOT NULL, PRIMARY KEY(name, cursor)) WITHOUT ROWID;"                         \
    "CREATE INDEX IF NOT EXISTS satchel_move_cursor ON satchel_move(cursor) WHERE before<>0;"     \
    "CREATE TABLE IF NOT EXISTS satchel_held_grant(user TEXT NOT NULL, value NOT NULL,"           \
    " PRIMARY KEY(user, value)) WITHOUT ROWID;"                                                   \
    "CREATE TABLE IF NOT EXISTS satchel_grant_move(user TEXT NOT NULL, cursor INTEGER NOT NULL,"  \
    " value NOT NULL, is_gained INTEGER NOT NULL, PRIMARY KEY(user, cursor, value))"              \
    " WITHOUT ROWID;"                                                                             \
    "CREATE TABLE IF NOT EXISTS satchel_held_user(user TEXT PRIMARY KEY, role TEXT NOT NULL,"     \
    " is_active INTEGER NOT NULL) WITHOUT ROWID;"                                                 \
    "CREATE TABLE IF NOT EXISTS satchel_role_move(user TEXT NOT NULL, cursor INTEGER NOT NULL,"   \
    " before TEXT NOT NULL, PRIMARY KEY(user, cursor)) WITHOUT ROWID;"                            \
    "CREATE TABLE IF NOT EXISTS satchel_held_mask(tbl INTEGER NOT NULL, col INTEGER NOT NULL,"    \
    " roles TEXT NOT NULL, PRIMARY KEY(tbl, col)) WITHOUT ROWID;"                                 \
    "CREATE TABLE IF NOT EXISTS satchel_mask_move(cursor INTEGER NOT NULL, tbl INTEGER NOT NULL," \
    " PRIMARY KEY(cursor, tbl)) WITHOUT ROWID;"

/* Of two moves with one cursor the first says what was before, to who has not synced in between. */
static const char *const statement_sql[SCOPE_STATEMENT_COUNT] = {
    [SCOPE_HEAD] = "SELECT cursor FROM satchel_workspace",
    [SCOPE_OF_ROW] = "SELECT scope FROM satchel_row WHERE name=?1",
    [SCOPE_KEPT] = "SELECT grants FROM satchel_row LEFT JOIN satchel_scope ON id=scope"
                   " WHERE name=?1",
    [SCOPE_SET_FIRST] = "UPDATE satchel_row SET scope=?2 WHERE name=?1 AND scope IS NULL",
    [SCOPE_SET_ROW] = "UPDATE satchel_row SET scope=?2 WHERE name=?1",
    [SCOPE_ADD_MOVE] = "INSERT OR IGNORE INTO satchel_move(name,cursor,before) VALUES(?1,?2,?3)",
    [SCOPE_FIND] = "SELECT id FROM satchel_scope WHERE grants=?1",
    [SCOPE_ADD] = "INSERT INTO satchel_scope(grants) VALUES(?1)",
    [SCOPE_ADD_GRANT] = "INSERT INTO satchel_scope_grant(value,scope) VALUES(?1,?2)",
    [SCOPE_HELD] = "SELECT user, value FROM satchel_held_grant",
    [SCOPE_ADD_HELD] = "INSERT INTO satchel_held_grant(user,value) VALUES(?1,?2)",
    [SCOPE_DROP_HELD] = "DELETE FROM satchel_held_grant WHERE user=?1 AND value=?2",
    [SCOPE_ADD_GRANT_MOVE] = "INSERT OR IGNORE INTO satchel_grant_move(user,value,cursor,is_gained)"
                             " VALUES(?1,?2,?3,?4)",
    [SCOPE_MASK] = "SELECT roles FROM satchel_held_mask WHERE tbl=?1 AND col=?2",
    [SCOPE_HOLD_MASK] = "INSERT OR REPLACE INTO satchel_held_mask(tbl,col,roles) VALUES(?1,?2,?3)",
    [SCOPE_ADD_MASK_MOVE] = "INSERT OR IGNORE INTO satchel_mask_move(cursor,tbl) VALUES(?1,?2)",
};

enum satchel_status scope_create_tables(sqlite3 *db, struct satchel_error *error)
{
    return satchel_db_exec(db, SQL_TABLES, error);
}

/* ---- a keeper's life ---- */

static void begin_transaction(struct scope_keeper *keeper)
{
    satchel_map_init(&keeper->nodes, SCOPE_ROWS_MAX, NULL);
    satchel_map_init(&keeper->sets, SCOPE_ROWS_MAX, NULL);
    keeper->first_noted = NULL;
    keeper->next_noted = &keeper->first_noted;
    keeper->discovered = 0;
    keeper->knows_aliases = false;
}

static void drop_nodes(struct scope_keeper *keeper)
{
    satchel_map_deinit(&keeper->nodes);
    satchel_map_deinit(&keeper->sets);
    satchel_arena_reset(&keeper->arena);
    begin_transaction(keeper);
}

enum satchel_status scope_keeper_new(struct scope_keeper **out, sqlite3 *db,
                                     struct satchel_aliases *aliases, struct satchel_error *error)
{
    struct scope_keeper *keeper = satchel_alloc_zero(NULL, sizeof *keeper);
    *out = keeper;
    if (!keeper)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for scopes");
    keeper->db = db;
    keeper->aliases = aliases;
    satchel_arena_init(&keeper->arena, SIZE_MAX / 2, NULL);
    satchel_buffer_init(&keeper->scratch, SCOPE_BYTES_MAX, NULL);
    begin_transaction(keeper);
    enum satchel_status status = SATCHEL_OK;
    for (int i = 0; status == SATCHEL_OK && i < SCOPE_STATEMENT_COUNT; i++)
        status = satchel_db_prepare(db, statement_sql[i], &keeper->statements[i], error);
    return status;
}

static void drop_schema(struct scope_keeper *keeper)
{
    for (uint32_t i = 0; keeper->read && i < keeper->schema->table_count; i++)
        sqlite3_finalize(keeper->read[i]);
    for (uint32_t i = 0; keeper->links && i < keeper->link_count; i++)
        sqlite3_finalize(keeper->links[i].find);
    satchel_free(NULL, keeper->read);
    satchel_free(NULL, keeper->links);
    satchel_free(NULL, keeper->was_written);
    satchel_free(NULL, keeper->feeds_users);
    keeper->read = NULL;
    keeper->links = NULL;
    keeper->link_count = 0;
    keeper->was_written = keeper->feeds_users = NULL;
    keeper->schema = NULL;
    keeper->is_active = false;
}

void scope_keeper_free(struct scope_keeper *keeper)
{
    if (!keeper)
        return;
    drop_schema(keeper);
    for (int i = 0; i < SCOPE_STATEMENT_COUNT; i++)
        sqlite3_finalize(keeper->statements[i]);
    satchel_map_deinit(&keeper->nodes);
    satchel_map_deinit(&keeper->sets);
    satchel_arena_deinit(&keeper->arena);
    satchel_buffer_deinit(&keeper->scratch);
    satchel_free(NULL, keeper);
}

void scope_tell_digests(struct scope_keeper *keeper, struct digest_keeper *digests)
{
    keeper->digests = digests;
}

static void add_links(struct scope_keeper *keeper, const struct satchel_table *table)
{
    for (uint32_t s = 0; s < table->scope_count; s++)
        if (table->scopes[s].kind == SATCHEL_SCOPE_VIA)
            keeper->links[keeper->link_count++] = (struct scope_link){
                table, &keeper->schema->references[table->scopes[s].reference], NULL};
}

enum satchel_status scope_take_schema(struct scope_keeper *keeper,
                                      const struct satchel_schema *schema,
                                      struct satchel_error *error)
{
    uint32_t count = schema ? schema->table_count : 0;
    drop_schema(keeper);
    if (!schema)
        return SATCHEL_OK;
    for (uint32_t i = 0; i < count; i++)
        keeper->is_active = keeper->is_active || schema->tables[i].is_scoped;
    keeper->schema = schema;
    keeper->has_users_to_read = keeper->has_masks_to_compare = true;
    keeper->read = satchel_alloc_zero(NULL, count * sizeof(sqlite3_stmt *));
    keeper->links =
        satchel_alloc_zero(NULL, SATCHEL_SCOPE_CLAUSES_MAX * count * sizeof *keeper->links);
    keeper->was_written = satchel_alloc_zero(NULL, count * sizeof(bool));
    if (!keeper->read || !keeper->links || !keeper->was_written) {
        drop_schema(keeper);
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory for the scopes of the schema");
    }
    for (uint32_t i = 0; i < count; i++)
        if (schema->tables[i].is_scoped)
            add_links(keeper, &schema->tables[i]);
    return SATCHEL_OK;
}

/* ---- what a transaction does ---- */

static bool is_pointed_at(const struct scope_keeper *keeper, const struct satchel_table *table)
{
    for (uint32_t i = 0; table->key_count == 1 && i < keeper->link_count; i++) {
        uint32_t target = keeper->links[i].reference->target;
        if (target == 0 || target == table->number)
            return true;
    }
    return false;
}

enum satchel_status scope_note_row(struct scope_keeper *keeper, const struct satchel_store_row *row)
{
    const struct satchel_table *table = row->table;
    bool has_come_or_gone = row->exists != row->existed;
    if (keeper->schema)
        keeper->was_written[table->number - 1] = true;
    if (!keeper->is_active)
        return SATCHEL_OK;
    has_come_or_gone = has_come_or_gone && is_pointed_at(keeper, table);
    if (!table->is_scoped && !has_come_or_gone)
        return SATCHEL_OK;
    enum satchel_status status = scope_note(keeper, row->name, has_come_or_gone);
    return status == SATCHEL_OK && !row->exists ? scope_node_note_gone(keeper, row) : status;
}

enum satchel_status scope_note_alias(struct scope_keeper *keeper, struct satchel_span name)
{
    return keeper->is_active ? scope_note(keeper, name, true) : SATCHEL_OK;
}

void scope_note_entries(struct scope_keeper *keeper)
{
    keeper->has_entries = true;
}

void scope_note_users(struct scope_keeper *keeper)
{
    keeper->has_users_to_read = true;
}

/* ---- what follows ---- */

static enum satchel_status add_set(struct scope_keeper *keeper, struct scope_set *set,
                                   struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_span packed;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_ADD]);
    satchel_query_blob(&query, set->packed);
    enum satchel_status status = satchel_query_run(&query, error);
    set->id = (uint64_t)sqlite3_last_insert_rowid(keeper->db);
    struct scope_set_reader reader = scope_set_read(set->packed);
    while (status == SATCHEL_OK && scope_set_next(&reader, &packed)) {
        struct satchel_value value = scope_value_of(packed);
        satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_ADD_GRANT]);
        satchel_query_value(&query, &value);
        satchel_query_integer(&query, (int64_t)set->id);
        status = satchel_query_run(&query, error);
    }
    return status;
}

static enum satchel_status number_set(struct scope_keeper *keeper, struct scope_set *set,
                                      struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    if (set->id > 0)
        return SATCHEL_OK;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_FIND]);
    satchel_query_blob(&query, set->packed);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    if (has_row)
        set->id = (uint64_t)sqlite3_column_int64(query.statement, 0);
    satchel_query_end(&query);
    return status == SATCHEL_OK && !has_row ? add_set(keeper, set, error) : status;
}

/* 0: none. */
static enum satchel_status scope_of_row(struct scope_keeper *keeper, struct satchel_span name,
                                        uint64_t *out, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_OF_ROW]);
    satchel_query_blob(&query, name);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    *out = has_row ? (uint64_t)sqlite3_column_int64(query.statement, 0) : 0;
    satchel_query_end(&query);
    return status;
}

/* Gives the row its set. `first`: what it had before if it never had one. */
static enum satchel_status keep(struct scope_keeper *keeper, const struct scope_node *node,
                                uint64_t cursor, uint64_t first, bool *is_another,
                                struct satchel_error *error)
{
    struct satchel_query query;
    struct scope_set *set = node->set;
    uint64_t before = 0;
    enum satchel_status status = number_set(keeper, set, error);
    if (status == SATCHEL_OK)
        status = scope_of_row(keeper, node->name, &before, error);
    *is_another = before != set->id;
    if (status == SATCHEL_OK && *is_another && keeper->digests)
        status = digest_note_moved(keeper->digests, node->name, before, set->id, error);
    if (status != SATCHEL_OK || !*is_another)
        return status;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_SET_ROW]);
    satchel_query_blob(&query, node->name);
    satchel_query_integer(&query, (int64_t)set->id);
    status = satchel_query_run(&query, error);
    before = before > 0 ? before : first;
    if (status != SATCHEL_OK || before == set->id)
        return status;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_ADD_MOVE]);
    satchel_query_blob(&query, node->name);
    satchel_query_integer(&query, (int64_t)cursor);
    satchel_query_integer(&query, (int64_t)before);
    return satchel_query_run(&query, error);
}

/* Of a row that is gone: it keeps the set that it had. If it came within this commit it has none
 * yet, and gets that of its last values: as if each change set had been a commit of its own. */
static enum satchel_status keep_last(struct scope_keeper *keeper, struct scope_node *node,
                                     uint64_t cursor, struct satchel_error *error)
{
    struct satchel_query query;
    struct scope_node *past = node;
    uint64_t id = 0;
    enum satchel_status status = scope_of_row(keeper, node->name, &id, error);
    if (status != SATCHEL_OK || id > 0)
        return status;
    status = scope_node_past(keeper, &past, error);
    if (status == SATCHEL_OK)
        status = scope_solve(keeper, past, error);
    if (status == SATCHEL_OK && past->set)
        status = number_set(keeper, past->set, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_SET_FIRST]);
    satchel_query_blob(&query, node->name);
    satchel_query_integer(&query, past->set ? (int64_t)past->set->id : SCOPE_NOBODY);
    status = satchel_query_run(&query, error);
    if (status != SATCHEL_OK || sqlite3_changes(keeper->db) == 0)
        return status;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_ADD_MOVE]);
    satchel_query_blob(&query, node->name);
    satchel_query_integer(&query, (int64_t)cursor);
    satchel_query_integer(&query, 0);
    return satchel_query_run(&query, error);
}

/* Every row that is noted, and those that it notes behind itself. */
static enum satchel_status work_off(struct scope_keeper *keeper, uint64_t cursor, uint64_t first,
                                    struct satchel_error *error)
{
    enum satchel_status status = SATCHEL_OK;
    for (struct scope_node *node = keeper->first_noted; status == SATCHEL_OK && node;
         node = node->next_noted) {
        bool is_another = false;
        status = scope_solve(keeper, node, error);
        /* One that was merged into another has that one's. */
        if (status == SATCHEL_OK && node->table && node->table->is_scoped)
            status = node->set ? keep(keeper, node, cursor, first, &is_another, error)
                               : keep_last(keeper, node, cursor, error);
        if (status == SATCHEL_OK && (is_another || node->has_come_or_gone))
            status = scope_node_note_children(keeper, node, error);
    }
    return status;
}

/* What a commit without entries changes counts as part of the next one: a device that is complete
 * up to the head was so before. */
static enum satchel_status read_cursor(struct scope_keeper *keeper, uint64_t *out,
                                       struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    satchel_query_begin(&query, keeper->db, keeper->statements[SCOPE_HEAD]);
    enum satchel_status status = satchel_query_step(&query, &has_row, error);
    *out = has_row ? (uint64_t)sqlite3_column_int64(query.statement, 0) : 0;
    satchel_query_end(&query);
    *out += !keeper->has_entries;
    return status;
}

static enum satchel_status read_users(struct scope_keeper *keeper, uint64_t cursor,
                                      struct satchel_error *error)
{
    enum satchel_status status = scope_users_read(keeper, cursor, error);
    return status == SATCHEL_OK && keeper->is_active ? scope_grants_read(keeper, cursor, error)
                                                     : status;
}

enum satchel_status scope_finish(struct scope_keeper *keeper, struct satchel_error *error)
{
    uint64_t cursor = 0;
    bool are_old = false;
    if (!keeper->schema)
        return SATCHEL_OK;
    enum satchel_status status = scope_users_are_old(keeper, &are_old, error);
    if (status == SATCHEL_OK && (keeper->first_noted || are_old || keeper->has_masks_to_compare))
        status = read_cursor(keeper, &cursor, error);
    if (status == SATCHEL_OK)
        status = work_off(keeper, cursor, 0, error);
    if (status == SATCHEL_OK && are_old)
        status = read_users(keeper, cursor, error);
    if (status == SATCHEL_OK && keeper->has_masks_to_compare)
        status = scope_masks_compare(keeper, cursor, error);
    return status == SATCHEL_OK
               ? status
               : satchel_error_default(error, status, "the scopes could not be worked out: %s",
                                       satchel_status_text(status));
}

void scope_forget(struct scope_keeper *keeper)
{
    if (!keeper)
        return;
    if (keeper->first_noted)
        drop_nodes(keeper);
    if (keeper->was_written)
        memset(keeper->was_written, 0, keeper->schema->table_count * sizeof(bool));
    keeper->has_entries = false;
}

void scope_settle(struct scope_keeper *keeper)
{
    scope_forget(keeper);
    keeper->has_users_to_read = keeper->has_masks_to_compare = false;
}

/* ---- a store that kept none ---- */

static enum satchel_status begin_table(struct scope_keeper *keeper,
                                       const struct satchel_table *table, uint64_t cursor,
                                       struct satchel_error *error)
{
    struct satchel_query query;
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    bool has_row = false;
    size_t count = 0;
    enum satchel_status status = scope_node_query_rows(keeper, table, &query, error);
    if (status != SATCHEL_OK)
        return status;
    do {
        status = satchel_query_step(&query, &has_row, error);
        for (uint32_t i = 0; has_row && i < table->key_count; i++)
            key[i] = satchel_value_of_column(query.statement, 1 + (int)i);
        satchel_buffer_clear(&keeper->scratch);
        if (status == SATCHEL_OK && has_row)
            status = satchel_row_name(&keeper->scratch, table->number, key, table->key_count);
        if (status == SATCHEL_OK && has_row)
            status = scope_note(keeper, satchel_buffer_span(&keeper->scratch), false);
        if (status == SATCHEL_OK && (!has_row || ++count % REBUILD_ROWS == 0)) {
            status = work_off(keeper, cursor, SCOPE_EVERYONE, error);
            drop_nodes(keeper);
        }
    } while (status == SATCHEL_OK && has_row);
    satchel_query_close(&query);
    return status;
}

enum satchel_status scope_begin(struct scope_keeper *keeper, bool has_sets,
                                struct satchel_error *error)
{
    uint64_t cursor = 0;
    if (!keeper->schema)
        return SATCHEL_OK;
    enum satchel_status status = read_cursor(keeper, &cursor, error);
    for (uint32_t i = 0; status == SATCHEL_OK && !has_sets && i < keeper->schema->table_count; i++)
        if (keeper->schema->tables[i].is_scoped)
            status = begin_table(keeper, &keeper->schema->tables[i], cursor, error);
    return status == SATCHEL_OK ? read_users(keeper, cursor, error) : status;
}
