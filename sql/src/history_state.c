/* Owns the table of values behind a scan of the history (see history_state.h). */
#include "history_state.h"

#include <satchel/sql_error.h>

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

enum { FIELD_EXISTS = -1, FIELD_SURVIVOR = -2, ALIAS_STEPS_MAX = 16, NAME_BYTES_MAX = 1 << 30 };

/* field -1: the row exists; -2: the name of the row it was merged into. Nobody else sees the file
 * and nothing of it outlives the scan. */
static const char setup[] = "PRAGMA journal_mode = OFF;"
                            "PRAGMA synchronous = OFF;"
                            "CREATE TABLE value(row BLOB NOT NULL, field INTEGER NOT NULL, value,"
                            " PRIMARY KEY(row, field)) WITHOUT ROWID;"
                            "BEGIN;";
static const char get_value[] = "SELECT value FROM value WHERE row = ?1 AND field = ?2";
static const char set_value[] = "INSERT INTO value(row, field, value) VALUES(?1, ?2, ?3)"
                                " ON CONFLICT(row, field) DO UPDATE SET value = excluded.value";
static const char delete_row[] = "DELETE FROM value WHERE row = ?1";

struct satchel_history_state {
    sqlite3 *db;
    sqlite3_stmt *get, *set, *delete;
    struct satchel_buffer row; /* satchel_row_name of the chosen row */
};

enum satchel_status satchel_history_state_new(struct satchel_history_state **out,
                                              struct satchel_error *error)
{
    *out = NULL;
    struct satchel_history_state *state = satchel_alloc_zero(NULL, sizeof *state);
    if (!state)
        return satchel_error_set(error, SATCHEL_NOMEM, "no memory to read the history");
    satchel_buffer_init(&state->row, NAME_BYTES_MAX, NULL);
    int code = sqlite3_open_v2(
        "", &state->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(state->db, setup, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(state->db, get_value, -1, &state->get, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(state->db, set_value, -1, &state->set, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(state->db, delete_row, -1, &state->delete, NULL);
    if (code != SQLITE_OK) {
        enum satchel_status status =
            state->db ? satchel_sql_error(error, state->db,
                                          "cannot make a temporary database to read the history")
                      : satchel_error_set(error, SATCHEL_NOMEM, "no memory to read the history");
        satchel_history_state_free(state);
        return status;
    }
    *out = state;
    return SATCHEL_OK;
}

void satchel_history_state_free(struct satchel_history_state *state)
{
    if (!state)
        return;
    sqlite3_finalize(state->get);
    sqlite3_finalize(state->set);
    sqlite3_finalize(state->delete);
    sqlite3_close(state->db);
    satchel_buffer_deinit(&state->row);
    satchel_free(NULL, state);
}

const char *satchel_history_state_message(struct satchel_history_state *state)
{
    return sqlite3_errmsg(state->db);
}

enum satchel_status satchel_history_state_row(struct satchel_history_state *state, uint32_t table,
                                              const struct satchel_value *key, uint32_t key_count)
{
    satchel_buffer_clear(&state->row);
    return satchel_row_name(&state->row, table, key, key_count);
}

static int bind_row(struct satchel_history_state *state, sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    struct satchel_value row = satchel_value_blob(satchel_buffer_span(&state->row));
    return satchel_value_bind(statement, 1, &row);
}

/* ROW with the value in state->get, DONE if there is none, or an error code. */
static int find(struct satchel_history_state *state, int64_t field)
{
    int code = bind_row(state, state->get);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(state->get, 2, field);
    return code == SQLITE_OK ? sqlite3_step(state->get) : code;
}

enum satchel_status satchel_history_state_exists(struct satchel_history_state *state, bool *exists)
{
    int code = find(state, FIELD_EXISTS);
    *exists = code == SQLITE_ROW;
    return satchel_sql_status(code);
}

enum satchel_status satchel_history_state_get(struct satchel_history_state *state, uint32_t column,
                                              const struct satchel_value *default_value,
                                              struct satchel_value *out)
{
    int code = find(state, column);
    if (code == SQLITE_ROW) {
        *out = satchel_value_of_column(state->get, 0);
        return SATCHEL_OK;
    }
    if (code != SQLITE_DONE)
        return satchel_sql_status(code);
    bool exists;
    enum satchel_status status = satchel_history_state_exists(state, &exists);
    *out = exists ? *default_value : satchel_value_null();
    return status;
}

static enum satchel_status put(struct satchel_history_state *state, int64_t field,
                               const struct satchel_value *value)
{
    int code = bind_row(state, state->set);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(state->set, 2, field);
    if (code == SQLITE_OK)
        code = satchel_value_bind(state->set, 3, value);
    if (code == SQLITE_OK)
        code = sqlite3_step(state->set);
    sqlite3_reset(state->set);
    sqlite3_clear_bindings(state->set);
    return satchel_sql_status(code);
}

enum satchel_status satchel_history_state_reset(struct satchel_history_state *state, bool exists)
{
    int code = bind_row(state, state->delete);
    if (code == SQLITE_OK)
        code = sqlite3_step(state->delete);
    sqlite3_reset(state->delete);
    if (code != SQLITE_DONE)
        return satchel_sql_status(code);
    struct satchel_value yes = satchel_value_integer(1);
    return exists ? put(state, FIELD_EXISTS, &yes) : SATCHEL_OK;
}

enum satchel_status satchel_history_state_alias(struct satchel_history_state *state,
                                                struct satchel_span survivor)
{
    struct satchel_value name = satchel_value_blob(survivor);
    enum satchel_status status = satchel_history_state_reset(state, false);
    return status == SATCHEL_OK ? put(state, FIELD_SURVIVOR, &name) : status;
}

enum satchel_status satchel_history_state_follow(struct satchel_history_state *state,
                                                 bool *is_merged)
{
    *is_merged = false;
    for (int step = 0; step < ALIAS_STEPS_MAX; step++) {
        int code = find(state, FIELD_SURVIVOR);
        if (code != SQLITE_ROW)
            return satchel_sql_status(code);
        struct satchel_value name = satchel_value_of_column(state->get, 0);
        *is_merged = true;
        satchel_buffer_clear(&state->row);
        enum satchel_status status =
            satchel_buffer_append(&state->row, name.bytes.data, name.bytes.size);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK; /* a circle: no node makes one */
}

struct satchel_span satchel_history_state_name(const struct satchel_history_state *state)
{
    return satchel_buffer_span(&state->row);
}

enum satchel_status satchel_history_state_set(struct satchel_history_state *state, uint32_t column,
                                              const struct satchel_value *value)
{
    return put(state, column, value);
}
