/* Owns reading the views satchel_states and satchel_numbers, and which tables a view reads. What an
 * application wrote into the tables behind them is not trusted: what cannot be used is left out,
 * with a warning. */
#include <satchel/json_reader.h>
#include <satchel/row_io.h>
#include <satchel/sql_error.h>
#include <satchel/sqlite.h>
#include <satchel/workspace_data.h>

#include <stdio.h>
#include <stdlib.h>

enum { WARNING_BYTES = 256 };

/* The same order whatever the view's own, so that of two equal codes every node takes the same. */
#define SQL_STATES                                                         \
    "SELECT machine, code, rank, closed, back_to FROM main.satchel_states" \
    " ORDER BY rank DESC, closed DESC, back_to COLLATE BINARY, machine COLLATE BINARY"
#define SQL_NUMBERS                                                      \
    "SELECT tbl, col, series, format FROM main.satchel_numbers ORDER BY" \
    " tbl COLLATE BINARY, col COLLATE BINARY, series COLLATE BINARY, format COLLATE BINARY"

/* ---- what both share ---- */

/* "satchel_states: the state", which, and why not. The first warning stays. */
static void warn(char warning[WARNING_BYTES], const char *what, struct satchel_span name,
                 const char *reason)
{
    if (warning[0] == '\0')
        snprintf(warning, WARNING_BYTES, "%.40s %.*s is left out: %.110s", what,
                 name.size < 80 ? (int)name.size : 80, (const char *)name.data, reason);
}

static enum satchel_status no_memory(struct satchel_error *error)
{
    return satchel_error_set(error, SATCHEL_NOMEM, "the workspace's states and numbers: no memory");
}

static enum satchel_status prepare(struct sqlite3 *db, const char *sql, sqlite3_stmt **out,
                                   const char *view, struct satchel_error *error)
{
    return sqlite3_prepare_v2(db, sql, -1, out, NULL) == SQLITE_OK
               ? SATCHEL_OK
               : satchel_sql_error(error, db, "the view %s cannot be read", view);
}

static enum satchel_status finish(struct sqlite3 *db, int code, const char *view,
                                  struct satchel_error *error)
{
    return code == SQLITE_DONE ? SATCHEL_OK
                               : satchel_sql_error(error, db, "the view %s cannot be read", view);
}

static bool take_text(sqlite3_stmt *row, int index, struct satchel_span *out)
{
    struct satchel_value value = satchel_value_of_column(row, index);
    *out = value.type == SATCHEL_TEXT && value.bytes.data ? value.bytes : satchel_span_of(NULL, 0);
    return value.type == SATCHEL_TEXT;
}

/* ---- states ---- */

struct state_row {
    struct satchel_state state;
    uint32_t order; /* of the view's rows: of equal codes the first one counts */
};

struct state_list {
    struct state_row *rows;
    uint32_t count, capacity;
};

struct states_reader {
    struct sqlite3 *db;
    const struct satchel_schema *schema;
    struct satchel_arena *arena;
    char *warning;
    struct satchel_error *error;
    struct state_list *lists; /* one per machine */
};

static uint32_t machine_of(const struct satchel_schema *schema, const char *name)
{
    uint32_t index = 0;
    while (index < schema->machine_count &&
           (!name || sqlite3_stricmp(schema->machines[index], name) != 0))
        index++;
    return index;
}

/* The texts of a JSON array. Read here and not by SQLite's json_valid, to which text that it has no
 * memory for is no JSON. */
static enum satchel_status read_back_to(struct states_reader *reader,
                                        const struct satchel_value *text,
                                        struct satchel_state *state, bool *is_usable)
{
    enum { BACK_TO_MAX = 1000 };
    struct satchel_json_item *items = NULL;
    size_t count = 0;
    enum satchel_status status = SATCHEL_CORRUPT;
    if (text->type == SATCHEL_TEXT)
        status = satchel_json_split(text->bytes, reader->arena, &items, &count);
    if (status == SATCHEL_OK && count > BACK_TO_MAX)
        status = SATCHEL_CORRUPT;
    struct satchel_span *codes = SATCHEL_ARENA_ARRAY(reader->arena, struct satchel_span, count);
    if (status == SATCHEL_OK && !codes)
        status = SATCHEL_NOMEM;
    for (size_t i = 0; i < count && status == SATCHEL_OK; i++)
        status = satchel_json_unquote(items[i].value, reader->arena, &codes[i]);
    *is_usable = status == SATCHEL_OK;
    if (status == SATCHEL_OK && count > 0) {
        state->back_to = codes;
        state->back_to_count = (uint32_t)count;
    }
    return status == SATCHEL_NOMEM ? no_memory(reader->error) : SATCHEL_OK;
}

static enum satchel_status add_state(struct states_reader *reader, struct state_list *list,
                                     const struct satchel_state *state)
{
    if (list->count == list->capacity) {
        uint32_t grown = list->capacity ? list->capacity * 2 : 16;
        struct state_row *wider = SATCHEL_ARENA_ARRAY(reader->arena, struct state_row, grown);
        if (!wider)
            return no_memory(reader->error);
        if (list->count)
            memcpy(wider, list->rows, list->count * sizeof *wider);
        list->rows = wider;
        list->capacity = grown;
    }
    list->rows[list->count] = (struct state_row){*state, list->count};
    list->count++;
    return SATCHEL_OK;
}

static enum satchel_status read_state(struct states_reader *reader, sqlite3_stmt *row)
{
    struct satchel_span machine, code;
    struct satchel_state state = {0};
    bool is_named = take_text(row, 0, &machine);
    uint32_t index =
        machine_of(reader->schema, is_named ? (const char *)sqlite3_column_text(row, 0) : NULL);
    if (index == reader->schema->machine_count)
        return SATCHEL_OK; /* of no column's machine */
    if (!take_text(row, 1, &code)) {
        warn(reader->warning, "satchel_states: a state of", machine, "its code is no text");
        return SATCHEL_OK;
    }
    if (sqlite3_column_type(row, 2) != SQLITE_INTEGER) {
        warn(reader->warning, "satchel_states: the state", code, "its rank is no whole number");
        return SATCHEL_OK;
    }
    state.rank = sqlite3_column_int64(row, 2);
    state.is_closed = sqlite3_column_int(row, 3) != 0;
    struct satchel_value back_to = satchel_value_of_column(row, 4);
    enum satchel_status status = SATCHEL_OK;
    bool is_usable = true;
    if (back_to.type != SATCHEL_NULL)
        status = read_back_to(reader, &back_to, &state, &is_usable);
    if (status == SATCHEL_OK && !is_usable)
        warn(reader->warning, "satchel_states: the state", code,
             "its back_to is no JSON array of texts");
    if (status != SATCHEL_OK || !is_usable)
        return status;
    state.code = satchel_arena_copy(reader->arena, code);
    return state.code.data ? add_state(reader, &reader->lists[index], &state)
                           : no_memory(reader->error);
}

static int compare_states(const void *left, const void *right)
{
    const struct state_row *a = left, *b = right;
    int order = satchel_span_compare(a->state.code, b->state.code);
    if (order != 0)
        return order;
    return a->order < b->order ? -1 : a->order > b->order;
}

static enum satchel_status make_machine(struct states_reader *reader, struct state_list *list,
                                        struct satchel_machine *machine)
{
    struct satchel_state *states =
        SATCHEL_ARENA_ARRAY(reader->arena, struct satchel_state, list->count);
    if (list->count == 0)
        return SATCHEL_OK;
    if (!states)
        return no_memory(reader->error);
    qsort(list->rows, list->count, sizeof *list->rows, compare_states);
    for (uint32_t i = 0; i < list->count; i++)
        if (i == 0 || !satchel_span_equal(list->rows[i - 1].state.code, list->rows[i].state.code))
            states[machine->state_count++] = list->rows[i].state;
    machine->states = states;
    return SATCHEL_OK;
}

static enum satchel_status read_states(struct states_reader *reader)
{
    sqlite3_stmt *rows = NULL;
    int code = SQLITE_DONE;
    enum satchel_status status =
        prepare(reader->db, SQL_STATES, &rows, "satchel_states", reader->error);
    while (status == SATCHEL_OK && (code = sqlite3_step(rows)) == SQLITE_ROW)
        status = read_state(reader, rows);
    if (status == SATCHEL_OK)
        status = finish(reader->db, code, "satchel_states", reader->error);
    sqlite3_finalize(rows);
    return status;
}

enum satchel_status satchel_machines_load(struct sqlite3 *db, const struct satchel_schema *schema,
                                          struct satchel_arena *arena,
                                          struct satchel_machine **machines, char warning[256],
                                          struct satchel_error *error)
{
    struct states_reader reader = {db, schema, arena, warning, error, NULL};
    warning[0] = '\0';
    *machines = SATCHEL_ARENA_ARRAY(arena, struct satchel_machine, schema->machine_count);
    reader.lists = SATCHEL_ARENA_ARRAY(arena, struct state_list, schema->machine_count);
    if (schema->machine_count == 0 || !schema->defines_states)
        return SATCHEL_OK;
    if (!*machines || !reader.lists)
        return no_memory(error);
    enum satchel_status status = read_states(&reader);
    for (uint32_t i = 0; status == SATCHEL_OK && i < schema->machine_count; i++)
        status = make_machine(&reader, &reader.lists[i], &(*machines)[i]);
    return status;
}

static bool states_equal(const struct satchel_state *a, const struct satchel_state *b)
{
    bool equal = satchel_span_equal(a->code, b->code) && a->rank == b->rank &&
                 a->is_closed == b->is_closed && a->back_to_count == b->back_to_count;
    for (uint32_t i = 0; equal && i < a->back_to_count; i++)
        equal = satchel_span_equal(a->back_to[i], b->back_to[i]);
    return equal;
}

bool satchel_machines_equal(const struct satchel_machine *a, const struct satchel_machine *b,
                            uint32_t count)
{
    for (uint32_t m = 0; m < count; m++) {
        if (a[m].state_count != b[m].state_count)
            return false;
        for (uint32_t i = 0; i < a[m].state_count; i++)
            if (!states_equal(&a[m].states[i], &b[m].states[i]))
                return false;
    }
    return true;
}

/* ---- numbers ---- */

/* Why the present row of satchel_numbers cannot be used, or NULL and `out` is filled, its texts
 * borrowed from the row. */
/* Why the row is no series, or NULL. */
static const char *read_series(const struct satchel_schema *schema, sqlite3_stmt *row,
                               struct satchel_number_series *out, struct satchel_error *format)
{
    struct satchel_span text;
    struct satchel_buffer sample;
    if (!take_text(row, 0, &text) || !take_text(row, 1, &text) ||
        !take_text(row, 2, &out->series) || !take_text(row, 3, &out->format))
        return "its columns are not all texts";
    const struct satchel_table *table =
        satchel_schema_find(schema, (const char *)sqlite3_column_text(row, 0));
    if (!table || table->is_local)
        return "there is no such synced table";
    const struct satchel_column *column =
        satchel_table_find_column(table, (const char *)sqlite3_column_text(row, 1));
    if (!column || column->rule != SATCHEL_RULE_SERVER)
        return "it names no @server column of the table";
    out->table = table->number;
    out->column = column->number;
    satchel_buffer_init(&sample, 1 << 16, NULL);
    enum satchel_status status =
        satchel_number_format(out->format, satchel_span_text("HQ"), 2000, 1, &sample, format);
    satchel_buffer_deinit(&sample);
    format->status = status; /* that there is no memory has no words */
    return status == SATCHEL_OK ? NULL : format->message;
}

static enum satchel_status add_series(struct satchel_arena *arena,
                                      const struct satchel_number_series *read,
                                      struct satchel_number_series **series, uint32_t *count,
                                      uint32_t *capacity, struct satchel_error *error)
{
    if (*count == *capacity) {
        uint32_t grown = *capacity ? *capacity * 2 : 8;
        struct satchel_number_series *wider =
            SATCHEL_ARENA_ARRAY(arena, struct satchel_number_series, grown);
        if (!wider)
            return no_memory(error);
        if (*count)
            memcpy(wider, *series, *count * sizeof *wider);
        *series = wider;
        *capacity = grown;
    }
    struct satchel_number_series *added = &(*series)[*count];
    *added = *read;
    added->series = satchel_arena_copy(arena, read->series);
    added->format = satchel_arena_copy(arena, read->format);
    if (!added->series.data || !added->format.data)
        return no_memory(error);
    (*count)++;
    return SATCHEL_OK;
}

static bool is_numbered(const struct satchel_number_series *series, uint32_t count,
                        const struct satchel_number_series *read)
{
    for (uint32_t i = 0; i < count; i++)
        if (series[i].table == read->table && series[i].column == read->column)
            return true;
    return false;
}

enum satchel_status satchel_numbers_load(struct sqlite3 *db, const struct satchel_schema *schema,
                                         struct satchel_arena *arena,
                                         struct satchel_number_series **series,
                                         uint32_t *series_count, char warning[256],
                                         struct satchel_error *error)
{
    sqlite3_stmt *rows = NULL;
    uint32_t capacity = 0;
    int code = SQLITE_DONE;
    warning[0] = '\0';
    *series = NULL;
    *series_count = 0;
    if (!schema->defines_numbers)
        return SATCHEL_OK;
    enum satchel_status status = prepare(db, SQL_NUMBERS, &rows, "satchel_numbers", error);
    while (status == SATCHEL_OK && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        struct satchel_number_series read;
        struct satchel_error format = {0};
        const char *reason = read_series(schema, rows, &read, &format);
        if (format.status == SATCHEL_NOMEM) {
            status = no_memory(error);
            continue;
        }
        if (!reason && is_numbered(*series, *series_count, &read))
            reason = "another series numbers the column";
        if (!reason) {
            status = add_series(arena, &read, series, series_count, &capacity, error);
            continue;
        }
        warn(warning, "satchel_numbers: a series of",
             satchel_span_text((const char *)sqlite3_column_text(rows, 0)), reason);
    }
    if (status == SATCHEL_OK)
        status = finish(db, code, "satchel_numbers", error);
    sqlite3_finalize(rows);
    return status;
}

/* ---- what a view reads ---- */

/* Whose table or index begins on that page. */
#define SQL_TABLE_AT "SELECT tbl_name FROM main.sqlite_schema WHERE rootpage = ?1"
/* Columns of EXPLAIN: OpenRead has the page in p2 and the database in p3, 0 for main. */
enum { EXPLAIN_OPCODE = 1, EXPLAIN_P2 = 3, EXPLAIN_P3 = 4 };

static enum satchel_status note_page(const struct satchel_schema *schema, sqlite3_stmt *table_at,
                                     int64_t page, bool *is_read)
{
    int code = sqlite3_bind_int64(table_at, 1, page);
    if (code == SQLITE_OK)
        code = sqlite3_step(table_at);
    if (code == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(table_at, 0);
        const struct satchel_table *found = name ? satchel_schema_find(schema, name) : NULL;
        if (found)
            is_read[found->number - 1] = true;
    }
    sqlite3_reset(table_at);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SATCHEL_OK : satchel_sql_status(code);
}

/* Not by the authorizer, which is somebody else's, but by the program that SQLite makes. */
enum satchel_status satchel_view_tables(struct sqlite3 *db, const struct satchel_schema *schema,
                                        const char *view, bool *is_read,
                                        struct satchel_error *error)
{
    sqlite3_stmt *program = NULL, *table_at = NULL;
    int code = SQLITE_DONE;
    memset(is_read, 0, schema->table_count * sizeof *is_read);
    char *sql = sqlite3_mprintf("EXPLAIN SELECT * FROM main.\"%w\"", view);
    if (!sql)
        return no_memory(error);
    enum satchel_status status = prepare(db, sql, &program, view, error);
    if (status == SATCHEL_OK)
        status = prepare(db, SQL_TABLE_AT, &table_at, view, error);
    while (status == SATCHEL_OK && (code = sqlite3_step(program)) == SQLITE_ROW) {
        const char *opcode = (const char *)sqlite3_column_text(program, EXPLAIN_OPCODE);
        if (opcode && strcmp(opcode, "OpenRead") == 0 &&
            sqlite3_column_int(program, EXPLAIN_P3) == 0)
            status =
                note_page(schema, table_at, sqlite3_column_int64(program, EXPLAIN_P2), is_read);
    }
    if (status == SATCHEL_OK)
        status = finish(db, code, view, error);
    else
        satchel_error_default(error, status, "the view %s cannot be read", view);
    sqlite3_finalize(program);
    sqlite3_finalize(table_at);
    sqlite3_free(sql);
    return status;
}
