/* Owns the table satchel_alias. Decides nothing: which rows are one is conflict/'s. */
#include <satchel/alias.h>
#include <satchel/row_io.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>

#define SQL_CREATE                                                                       \
    "CREATE TABLE IF NOT EXISTS main.satchel_alias(name BLOB NOT NULL PRIMARY KEY, tbl " \
    "INTEGER NOT NULL, key TEXT NOT NULL, survivor BLOB NOT NULL) WITHOUT ROWID"
#define SQL_CREATE_SURVIVOR \
    "CREATE INDEX IF NOT EXISTS main.satchel_alias_survivor ON satchel_alias(survivor)"

enum query { PUT, DROP, SURVIVOR, LIST, ANY, QUERY_COUNT };
static const char *const queries[QUERY_COUNT] = {
    [PUT] = "INSERT INTO main.satchel_alias(name, tbl, key, survivor) VALUES(?1, ?2, ?3, ?4)"
            " ON CONFLICT(name) DO UPDATE SET survivor = excluded.survivor",
    [DROP] = "DELETE FROM main.satchel_alias WHERE name = ?1",
    [SURVIVOR] = "SELECT survivor FROM main.satchel_alias WHERE name = ?1",
    [LIST] = "SELECT name FROM main.satchel_alias WHERE survivor = ?1 ORDER BY name",
    [ANY] = "SELECT EXISTS(SELECT 1 FROM main.satchel_alias)"};

struct satchel_aliases {
    sqlite3 *db;
    sqlite3_stmt *statements[QUERY_COUNT];
};

enum satchel_status satchel_alias_create(struct sqlite3 *db, struct satchel_error *error)
{
    return sqlite3_exec(db, SQL_CREATE ";" SQL_CREATE_SURVIVOR, NULL, NULL, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, db, "cannot create the table of aliases");
}

enum satchel_status satchel_aliases_new(struct satchel_aliases **out, struct sqlite3 *db)
{
    struct satchel_aliases *aliases = satchel_alloc_zero(NULL, sizeof *aliases);
    *out = NULL;
    if (!aliases)
        return SATCHEL_NOMEM;
    aliases->db = db;
    *out = aliases;
    return SATCHEL_OK;
}

/* Prepared at its first use: where only reading is allowed, only reading statements may be made. */
static int statement_of(struct satchel_aliases *aliases, enum query query, sqlite3_stmt **out)
{
    sqlite3_stmt **kept = &aliases->statements[query];
    int code = *kept ? SQLITE_OK
                     : sqlite3_prepare_v3(aliases->db, queries[query], -1,
                                          SQLITE_PREPARE_PERSISTENT, kept, NULL);
    *out = *kept;
    return code;
}

void satchel_aliases_free(struct satchel_aliases *aliases)
{
    if (!aliases)
        return;
    for (int i = 0; i < QUERY_COUNT; i++)
        sqlite3_finalize(aliases->statements[i]);
    satchel_free(NULL, aliases);
}

static int bind_name(sqlite3_stmt *statement, int index, struct satchel_span name)
{
    struct satchel_value value = satchel_value_blob(name);
    return satchel_value_bind(statement, index, &value);
}

/* Ends the use of a statement whose last code is not the one wanted. */
static enum satchel_status finish(struct satchel_aliases *aliases, enum query query, int code,
                                  int wanted, struct satchel_error *error)
{
    enum satchel_status status =
        code == wanted ? SATCHEL_OK : satchel_sql_error(error, aliases->db, "the table of aliases");
    if (aliases->statements[query]) {
        sqlite3_reset(aliases->statements[query]);
        sqlite3_clear_bindings(aliases->statements[query]);
    }
    return status;
}

static enum satchel_status key_of(struct satchel_span name, struct satchel_arena *arena,
                                  uint32_t *table, struct satchel_buffer *text)
{
    const struct satchel_value *key = NULL;
    uint32_t count = 0;
    enum satchel_status status = satchel_row_name_read(name, arena, table, &key, &count);
    return status == SATCHEL_OK ? satchel_key_text(text, key, count) : status;
}

enum satchel_status satchel_alias_put(struct satchel_aliases *aliases, struct satchel_span name,
                                      struct satchel_span survivor, struct satchel_error *error)
{
    enum { KEY_BYTES_MAX = 1 << 30 };
    sqlite3_stmt *put = NULL;
    struct satchel_arena arena;
    struct satchel_buffer text;
    uint32_t table = 0;
    satchel_arena_init(&arena, 1 << 20, NULL);
    satchel_buffer_init(&text, KEY_BYTES_MAX, NULL);
    enum satchel_status status = key_of(name, &arena, &table, &text);
    if (status != SATCHEL_OK) {
        satchel_error_set(error, status, "the name of a row: %s", satchel_status_text(status));
    } else {
        struct satchel_value key = satchel_value_text(satchel_buffer_span(&text));
        int code = statement_of(aliases, PUT, &put);
        if (code == SQLITE_OK)
            code = bind_name(put, 1, name);
        if (code == SQLITE_OK)
            code = sqlite3_bind_int64(put, 2, table);
        if (code == SQLITE_OK)
            code = satchel_value_bind(put, 3, &key);
        if (code == SQLITE_OK)
            code = bind_name(put, 4, survivor);
        if (code == SQLITE_OK)
            code = sqlite3_step(put);
        status = finish(aliases, PUT, code, SQLITE_DONE, error);
    }
    satchel_buffer_deinit(&text);
    satchel_arena_deinit(&arena);
    return status;
}

enum satchel_status satchel_alias_drop(struct satchel_aliases *aliases, struct satchel_span name,
                                       struct satchel_error *error)
{
    sqlite3_stmt *drop = NULL;
    int code = statement_of(aliases, DROP, &drop);
    if (code == SQLITE_OK)
        code = bind_name(drop, 1, name);
    if (code == SQLITE_OK)
        code = sqlite3_step(drop);
    return finish(aliases, DROP, code, SQLITE_DONE, error);
}

/* Column 0 of the present row, in `arena`. */
static enum satchel_status take_name(sqlite3_stmt *row, struct satchel_arena *arena,
                                     struct satchel_span *out, struct satchel_error *error)
{
    struct satchel_value value = satchel_value_of_column(row, 0);
    *out = satchel_arena_copy(arena, value.bytes);
    return out->data ? SATCHEL_OK
                     : satchel_error_set(error, SATCHEL_NOMEM, "the table of aliases: no memory");
}

enum satchel_status satchel_alias_survivor(struct satchel_aliases *aliases,
                                           struct satchel_span name, struct satchel_arena *arena,
                                           struct satchel_span *survivor,
                                           struct satchel_error *error)
{
    sqlite3_stmt *query = NULL;
    *survivor = satchel_span_of(NULL, 0);
    enum satchel_status status = SATCHEL_OK;
    int code = statement_of(aliases, SURVIVOR, &query);
    if (code == SQLITE_OK)
        code = bind_name(query, 1, name);
    if (code == SQLITE_OK)
        code = sqlite3_step(query);
    if (code == SQLITE_ROW) {
        status = take_name(query, arena, survivor, error);
        code = SQLITE_DONE;
    }
    enum satchel_status finished = finish(aliases, SURVIVOR, code, SQLITE_DONE, error);
    return status == SATCHEL_OK ? finished : status;
}

enum satchel_status satchel_alias_list(struct satchel_aliases *aliases,
                                       struct satchel_span survivor, struct satchel_arena *arena,
                                       struct satchel_span **names, uint32_t *count,
                                       struct satchel_error *error)
{
    sqlite3_stmt *query = NULL;
    enum satchel_status status = SATCHEL_OK;
    uint32_t capacity = 0;
    *names = NULL;
    *count = 0;
    int code = statement_of(aliases, LIST, &query);
    if (code == SQLITE_OK)
        code = bind_name(query, 1, survivor);
    while (code == SQLITE_OK && status == SATCHEL_OK &&
           (code = sqlite3_step(query)) == SQLITE_ROW) {
        if (*count == capacity) {
            uint32_t grown = capacity ? capacity * 2 : 8;
            struct satchel_span *wider = SATCHEL_ARENA_ARRAY(arena, struct satchel_span, grown);
            if (!wider) {
                status = satchel_error_set(error, SATCHEL_NOMEM, "the table of aliases: no memory");
                break;
            }
            if (*count)
                memcpy(wider, *names, *count * sizeof *wider);
            *names = wider;
            capacity = grown;
        }
        status = take_name(query, arena, &(*names)[*count], error);
        *count += status == SATCHEL_OK;
        code = SQLITE_OK;
    }
    if (status != SATCHEL_OK)
        code = SQLITE_DONE;
    enum satchel_status finished = finish(aliases, LIST, code, SQLITE_DONE, error);
    return status == SATCHEL_OK ? finished : status;
}

enum satchel_status satchel_alias_any(struct satchel_aliases *aliases, bool *any,
                                      struct satchel_error *error)
{
    sqlite3_stmt *query = NULL;
    int code = statement_of(aliases, ANY, &query);
    if (code == SQLITE_OK)
        code = sqlite3_step(query);
    *any = code == SQLITE_ROW && sqlite3_column_int(query, 0) != 0;
    return finish(aliases, ANY, code, SQLITE_ROW, error);
}
