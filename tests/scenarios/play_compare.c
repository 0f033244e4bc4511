/* Owns what is compared: rows with expectations, replicas with the server, order with order. */
#include "play_internal.h"

#include <stdlib.h>

#define SQL_NAMES                                                                              \
    "SELECT name FROM sqlite_schema WHERE type IN ('table', ?1) AND name NOT LIKE 'satchel_%'" \
    " AND name NOT LIKE 'sqlite_%' ORDER BY name"
#define SQL_OPEN_CONFLICTS                                                            \
    "SELECT trim(severity || ' ' || rule || ' ' || coalesce(by_user, '?') || ' ' || " \
    "tbl || ' ' || key || ' ' || field) FROM satchel_conflicts WHERE resolved IS NULL ORDER BY 1"
#define SQL_CONFLICTS_WHOLE                                                         \
    "SELECT id, tbl, key, field, rule, severity, mine, theirs, kept, by_user FROM " \
    "satchel_conflicts WHERE resolved IS NULL ORDER BY 1"

bool play_wrong(struct play *play, const struct scenario_step *step, const char *format, ...)
{
    char line[4000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    satchel_buffer_clear(&play->reason);
    system_ok(&play->world,
              satchel_buffer_format(&play->reason, "%s:%d: %s", step->file, step->line, line),
              "say what is wrong", NULL);
    return false;
}

/* ---- rows as text ---- */

static void put(struct play *play, struct satchel_buffer *out, const char *text)
{
    system_ok(&play->world, satchel_buffer_append(out, text, strlen(text)), "print rows", NULL);
}

/* The server's row of the table as the user sees it, who is the viewer's; its key is in these
 * columns. */
static bool sees(struct play *play, const char *table_name, sqlite3_stmt *row, const int *columns)
{
    struct workspace_reader *reader = &play->world.server.readers[THREAD_STREAM];
    const struct satchel_table *table = satchel_schema_find(reader->schema, table_name);
    struct satchel_value key[SATCHEL_KEY_COLUMNS_MAX];
    struct satchel_error error = {0};
    bool out = false;
    if (!table || table->is_local) /* a table of the server's own, which no device has */
        return true;
    for (uint32_t i = 0; i < table->key_count; i++)
        key[i] = satchel_value_of_column(row, columns ? columns[i] : (int)table->key_columns[i]);
    satchel_buffer_clear(&play->name);
    system_ok(&play->world, satchel_row_name(&play->name, table->number, key, table->key_count),
              "name a row", NULL);
    system_ok(&play->world,
              scope_sees(reader->viewer, table, satchel_buffer_span(&play->name), &out, &error),
              "ask for a scope", &error);
    play->hides = play->hides || !out;
    return out;
}

/* Appends the rows: ' | ' between columns, '\n' behind each. Of `table`, if that is not NULL, those
 * that the viewer's user sees. */
static bool put_rows(struct play *play, struct satchel_buffer *out, sqlite3 *db, const char *table,
                     const char *sql)
{
    static const int conflict_key[] = {2};
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        bool is_conflict = table && strcmp(table, "conflicts") == 0;
        const char *name = is_conflict && code == SQLITE_ROW
                               ? (const char *)sqlite3_column_text(statement, 1)
                               : table;
        if (table && code == SQLITE_ROW &&
            !sees(play, name, statement, is_conflict ? conflict_key : NULL))
            continue;
        for (int i = 0; code == SQLITE_ROW && i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);
            put(play, out, i > 0 ? " | " : "");
            put(play, out, value ? value : "NULL");
        }
        if (code == SQLITE_ROW)
            put(play, out, "\n");
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}

/* The server (index -1), read as its own readers do, or a device. */
static sqlite3 *database(struct play *play, int index)
{
    return index < 0 ? play->world.server.readers[THREAD_STREAM].db
                     : system_app(&play->world.devices[index], 0);
}

static const char *name_of(const struct play *play, int index)
{
    return index < 0 ? "the server" : play->scenario->devices[index].name;
}

/* ---- expectations ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The lines in order, appended to `out`. */
static void put_sorted(struct play *play, struct satchel_buffer *out, const char *lines)
{
    char *copy = strdup(lines), *sorted[256], *rest;
    size_t count = 0;
    assert_non_null(copy);
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        assert_true(count < 256);
        sorted[count++] = line;
    }
    qsort(sorted, count, sizeof sorted[0], compare_lines);
    for (size_t i = 0; i < count; i++) {
        put(play, out, sorted[i]);
        put(play, out, "\n");
    }
    free(copy);
}

static bool expect_of(struct play *play, const struct scenario_step *step, int index)
{
    sqlite3 *db = database(play, index);
    bool is_query = step->kind == SCENARIO_EXPECT;
    satchel_buffer_clear(&play->text);
    satchel_buffer_clear(&play->other);
    if (!put_rows(play, &play->text, db, NULL, is_query ? step->text : SQL_OPEN_CONFLICTS))
        return play_wrong(play, step, "%s: %s", name_of(play, index), sqlite3_errmsg(db));
    if (is_query)
        put(play, &play->other, step->rows);
    else
        put_sorted(play, &play->other, step->rows);
    const char *rows = satchel_buffer_text(&play->text);
    const char *expected = satchel_buffer_text(&play->other);
    if (strcmp(rows, expected) == 0)
        return true;
    return play_wrong(play, step, "%s has\n%s-- and not\n%s", name_of(play, index), rows, expected);
}

bool play_expect(struct play *play, const struct scenario_step *step)
{
    bool is_right = step->is_named || expect_of(play, step, -1);
    for (unsigned i = 0; is_right && i < play->world.device_count; i++)
        if (step->is_named ? step->takes_part[i] : play->is_here[i] && play->has_all[i])
            is_right = expect_of(play, step, (int)i);
    return is_right;
}

/* ---- the whole content ---- */

static bool put_table(struct play *play, struct satchel_buffer *out, sqlite3 *db, const char *name,
                      bool is_cut)
{
    char sql[2000];
    sqlite3_stmt *statement = NULL;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\"", name);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return false;
    int columns = sqlite3_column_count(statement);
    sqlite3_finalize(statement);
    for (int i = 0; i < columns; i++) {
        size_t size = strlen(sql);
        snprintf(sql + size, sizeof sql - size, "%s%d", i > 0 ? "," : " ORDER BY ", i + 1);
    }
    put(play, out, name);
    put(play, out, "\n");
    return put_rows(play, out, db, is_cut ? name : NULL, sql);
}

/* All tables, views too if asked for, and the open conflicts; if asked for, what the viewer's user
 * sees of them. */
static bool put_content(struct play *play, struct satchel_buffer *out, sqlite3 *db, bool has_views,
                        bool is_cut)
{
    sqlite3_stmt *names = NULL;
    bool is_right =
        sqlite3_prepare_v2(db, SQL_NAMES, -1, &names, NULL) == SQLITE_OK &&
        sqlite3_bind_text(names, 1, has_views ? "view" : "", -1, SQLITE_STATIC) == SQLITE_OK;
    while (is_right && sqlite3_step(names) == SQLITE_ROW)
        is_right = put_table(play, out, db, (const char *)sqlite3_column_text(names, 0), is_cut);
    sqlite3_finalize(names);
    put(play, out, "conflicts\n");
    return is_right && put_rows(play, out, db, is_cut ? "conflicts" : NULL, SQL_CONFLICTS_WHOLE);
}

/* The first line that differs, of both. */
static bool differs(struct play *play, const struct scenario_step *step, const char *who,
                    const char *has, const char *other)
{
    size_t start = 0, i = 0;
    for (; has[i] && has[i] == other[i]; i++)
        if (has[i] == '\n')
            start = i + 1;
    return play_wrong(play, step, "%s:\n%.*s\n-- and not\n%.*s", who,
                      (int)strcspn(has + start, "\n"), has + start,
                      (int)strcspn(other + start, "\n"), other + start);
}

/* What the server holds for the device, into play->other. */
static bool put_cut(struct play *play, unsigned index)
{
    struct workspace_reader *reader = &play->world.server.readers[THREAD_STREAM];
    struct satchel_error error = {0};
    bool is_right = sqlite3_exec(reader->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    satchel_buffer_clear(&play->other);
    play->hides = false;
    system_ok(&play->world,
              scope_viewer_set(reader->viewer, reader->schema,
                               satchel_span_text(play->scenario->devices[index].login), &error),
              "read grants", &error);
    is_right = is_right && put_content(play, &play->other, reader->db, false, true);
    play->has_all[index] = !play->hides;
    return sqlite3_exec(reader->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK && is_right;
}

bool play_compare(struct play *play, const struct scenario_step *step)
{
    size_t number = (size_t)(step - play->scenario->steps);
    for (unsigned i = 0; i < play->world.device_count; i++) {
        if (!play->is_here[i])
            continue;
        if (!put_cut(play, i))
            return play_wrong(play, step, "the server's tables cannot be read");
        satchel_buffer_clear(&play->text);
        if (!put_content(play, &play->text, database(play, (int)i), false, false))
            return play_wrong(play, step, "the tables of %s cannot be read",
                              play->scenario->devices[i].name);
        const char *has = satchel_buffer_text(&play->text);
        const char *server = satchel_buffer_text(&play->other);
        if (strcmp(has, server) != 0)
            return differs(play, step, play->scenario->devices[i].name, has, server);
    }
    satchel_buffer_clear(&play->text);
    if (!put_content(play, &play->text, database(play, -1), true, false))
        return play_wrong(play, step, "the server's views cannot be read");
    const char *now = satchel_buffer_text(&play->text);
    if (!play->dumps[number]) {
        play->dumps[number] = strdup(now);
        assert_non_null(play->dumps[number]);
    }
    if (strcmp(now, play->dumps[number]) != 0)
        return differs(play, step, "another order leads to", now, play->dumps[number]);
    return true;
}
