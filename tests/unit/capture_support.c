#include "capture_support.h"

#include "replica_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t fixed_utc_ms(void *context)
{
    return ((const struct kit *)context)->utc_ms;
}

static int64_t fixed_monotonic_ms(void *context)
{
    (void)context;
    return 5000;
}

static uint64_t fixed_boot(void *context)
{
    (void)context;
    return 7;
}

int kit_setup(void **state, const char *schema)
{
    struct kit *kit = test_calloc(1, sizeof *kit);
    kit->utc_ms = 1000000;
    const struct satchel_clock clock = {kit, fixed_utc_ms, fixed_monotonic_ms, fixed_boot};
    snprintf(kit->path, sizeof kit->path, "/tmp/satchel-capture-%ld.db", (long)getpid());
    *state = kit;
    if (fixture_replica(kit->path, schema, "ann", "rep", &clock, &kit->replica) != SATCHEL_OK)
        return -1;
    kit->db = satchel_replica_db(kit->replica);
    kit_run(kit, "PRAGMA synchronous=OFF");
    return 0;
}

int kit_teardown(void **state)
{
    struct kit *kit = *state;
    satchel_replica_close(kit->replica);
    fixture_remove(kit->path);
    test_free(kit);
    return 0;
}

void kit_run(struct kit *kit, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(kit->db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

void kit_fail(struct kit *kit, const char *sql)
{
    assert_int_not_equal(sqlite3_exec(kit->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

void kit_refuse(struct kit *kit, const char *sql, const char *words)
{
    assert_int_equal(sqlite3_exec(kit->db, sql, NULL, NULL, NULL), SQLITE_CONSTRAINT_VTAB);
    const char *message = sqlite3_errmsg(kit->db);
    if (!strstr(message, words) || strncmp(message, "satchel: ", 9) != 0)
        fail_msg("%s: %s, not %s", sql, message, words);
}

/* ---- change sets ---- */

struct reading {
    struct satchel_arena arena;
    struct satchel_buffer stored, scratch, local;
    struct satchel_changeset changeset;
};

static bool read_changeset(struct kit *kit, uint64_t number, struct reading *reading)
{
    sqlite3_stmt *statement;
    struct satchel_span body;
    struct satchel_error error = {0};
    satchel_arena_init(&reading->arena, 1u << 30, NULL);
    satchel_buffer_init(&reading->stored, 1u << 28, NULL);
    satchel_buffer_init(&reading->scratch, 1u << 28, NULL);
    satchel_buffer_init(&reading->local, 1u << 30, NULL);
    assert_int_equal(sqlite3_prepare_v2(kit->db,
                                        "SELECT body, local FROM satchel_change WHERE number=?1",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)number);
    bool exists = sqlite3_step(statement) == SQLITE_ROW;
    if (exists) {
        assert_int_equal(satchel_buffer_append(&reading->stored, sqlite3_column_blob(statement, 0),
                                               (size_t)sqlite3_column_bytes(statement, 0)),
                         0);
        assert_int_equal(satchel_buffer_append(&reading->local, sqlite3_column_blob(statement, 1),
                                               (size_t)sqlite3_column_bytes(statement, 1)),
                         0);
        assert_int_equal(
            satchel_body_load(satchel_buffer_span(&reading->stored), &reading->scratch, &body),
            SATCHEL_OK);
        if (satchel_changeset_decode(body, &reading->arena, &reading->changeset, &error) !=
            SATCHEL_OK)
            fail_msg("change set %lu: %s", (unsigned long)number, error.message);
        assert_int_equal(reading->changeset.header.schema, 1);
        assert_true(satchel_span_equal(reading->changeset.header.role, satchel_span_text("rep")));
    }
    sqlite3_finalize(statement);
    return exists;
}

static void end_reading(struct reading *reading)
{
    satchel_arena_deinit(&reading->arena);
    satchel_buffer_deinit(&reading->stored);
    satchel_buffer_deinit(&reading->scratch);
    satchel_buffer_deinit(&reading->local);
}

static void show(struct satchel_buffer *text, const char *words)
{
    assert_int_equal(satchel_buffer_append(text, words, strlen(words)), SATCHEL_OK);
}

static void show_value(struct satchel_buffer *text, const struct satchel_value *value)
{
    char words[64];
    switch (value->type) {
    case SATCHEL_NULL: show(text, "NULL"); return;
    case SATCHEL_INTEGER: snprintf(words, sizeof words, "%lld", (long long)value->integer); break;
    case SATCHEL_REAL:
        snprintf(words, sizeof words,
                 value->real == floor(value->real) && isfinite(value->real) ? "%.1f" : "%.17g",
                 value->real);
        break;
    default:
        show(text, value->type == SATCHEL_BLOB ? "x'" : "'");
        for (size_t i = 0; i < value->bytes.size; i++) {
            snprintf(words, sizeof words, value->type == SATCHEL_BLOB ? "%02X" : "%c",
                     value->bytes.data[i]);
            show(text, words);
        }
        show(text, "'");
        return;
    }
    show(text, words);
}

/* "was OLD,OLD", and the leaders that stayed as they were: " beside COLUMN:VALUE,...". */
static void show_old(struct satchel_buffer *text, const struct satchel_part *part,
                     struct satchel_cursor *local)
{
    uint32_t count = satchel_cursor_array(local, 3 * SATCHEL_COLUMNS_MAX);
    assert_in_range(count, part->field_count, 3 * SATCHEL_COLUMNS_MAX);
    for (uint32_t i = 0; i < part->field_count; i++) {
        struct satchel_value value = satchel_cursor_value(local);
        show(text, i ? "," : " was ");
        show_value(text, &value);
    }
    for (uint32_t i = part->field_count; i < count; i += 2) {
        char number[16];
        snprintf(number, sizeof number,
                 "%u:", (unsigned)satchel_cursor_unsigned(local, SATCHEL_COLUMNS_MAX));
        struct satchel_value value = satchel_cursor_value(local);
        show(text, i > part->field_count ? "," : " beside ");
        show(text, number);
        show_value(text, &value);
    }
}

static void show_row(struct satchel_buffer *text, struct satchel_cursor *local)
{
    uint32_t columns[SATCHEL_COLUMNS_MAX];
    assert_int_equal(satchel_cursor_array(local, 2), 2);
    uint32_t count = satchel_cursor_array(local, SATCHEL_COLUMNS_MAX);
    for (uint32_t i = 0; i < count; i++)
        columns[i] = (uint32_t)satchel_cursor_unsigned(local, SATCHEL_COLUMNS_MAX);
    assert_int_equal(satchel_cursor_array(local, SATCHEL_COLUMNS_MAX), count);
    for (uint32_t i = 0; i < count; i++) {
        struct satchel_value value = satchel_cursor_value(local);
        char number[16];
        snprintf(number, sizeof number, "%u:", (unsigned)columns[i]);
        show(text, i ? "," : " was ");
        show(text, number);
        show_value(text, &value);
    }
}

static void show_local(struct satchel_buffer *text, const struct satchel_part *part,
                       struct satchel_cursor *local)
{
    switch (part->kind) {
    case SATCHEL_OP_INSERT: assert_true(satchel_cursor_take_nil(local)); break;
    case SATCHEL_OP_UPDATE: show_old(text, part, local); break;
    case SATCHEL_OP_DELETE: show_row(text, local); break;
    }
    assert_false(local->failed);
}

static void show_part(struct kit *kit, struct satchel_buffer *text, const struct satchel_part *part,
                      struct satchel_cursor *local)
{
    static const char *const names[] = {"insert ", "update ", "delete "};
    const struct satchel_table *table = satchel_schema_table(kit->replica->schema, part->table);
    show(text, names[part->kind]);
    show(text, table->name);
    for (uint32_t i = 0; i < part->key_count; i++) {
        show(text, i ? "," : "(");
        show_value(text, &part->key[i]);
    }
    show(text, ")");
    for (uint32_t i = 0; i < part->field_count; i++) {
        show(text, " ");
        show(text, table->columns[part->fields[i].column].name);
        show(text, "=");
        show_value(text, &part->fields[i].value);
    }
    show_local(text, part, local);
    for (uint32_t i = 0; i < part->exception_count; i++) {
        const struct satchel_exception *exception = &part->exceptions[i];
        char words[32];
        snprintf(words, sizeof words, "%u:%d", (unsigned)exception->column,
                 (int)exception->view.kind);
        show(text, i ? " " : " except ");
        if (exception->column == SATCHEL_COLUMN_ROW)
            snprintf(words, sizeof words, "row:%d", (int)exception->view.kind);
        show(text, words);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void expect(struct kit *kit, const char *expected, bool sorted)
{
    struct reading reading;
    struct satchel_buffer text, line;
    const char *lines[16];
    satchel_buffer_init(&text, 1u << 26, NULL);
    satchel_buffer_init(&line, 1u << 26, NULL);
    if (!read_changeset(kit, ++kit->number, &reading))
        fail_msg("no change set %lu; expected: %s", (unsigned long)kit->number, expected);
    struct satchel_cursor local = satchel_cursor_of(satchel_buffer_span(&reading.local));
    uint32_t count = reading.changeset.header.part_count;
    assert_in_range(count, 1, 16);
    for (uint32_t i = 0; i < count; i++) {
        satchel_buffer_clear(&line);
        show_part(kit, &line, &reading.changeset.parts[i], &local);
        lines[i] =
            (const char *)satchel_arena_copy(&reading.arena, satchel_buffer_span(&line)).data;
    }
    assert_true(satchel_cursor_at_end(&local));
    if (sorted)
        qsort(lines, count, sizeof *lines, compare_lines);
    for (uint32_t i = 0; i < count; i++) {
        show(&text, i ? "\n" : "");
        show(&text, lines[i]);
    }
    assert_string_equal(satchel_buffer_text(&text), expected);
    satchel_buffer_deinit(&text);
    satchel_buffer_deinit(&line);
    end_reading(&reading);
}

void kit_expect(struct kit *kit, const char *text)
{
    expect(kit, text, false);
}

void kit_expect_sorted(struct kit *kit, const char *text)
{
    expect(kit, text, true);
}

void kit_skip(struct kit *kit)
{
    assert_in_range(kit_part_count(kit, ++kit->number), 1, UINT32_MAX);
}

void kit_expect_nothing(struct kit *kit)
{
    char text[32];
    snprintf(text, sizeof text, "%lu", (unsigned long)kit->number);
    kit_expect_sql(kit, "SELECT ifnull(max(number), 0) FROM satchel_change", text);
}

void kit_expect_sql(struct kit *kit, const char *sql, const char *text)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(kit->db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(kit->db));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), text);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
}

uint32_t kit_part_count(struct kit *kit, uint64_t number)
{
    struct reading reading;
    uint32_t count = 0;
    if (read_changeset(kit, number, &reading))
        count = reading.changeset.header.part_count;
    end_reading(&reading);
    return count;
}

void kit_expect_field_equals(struct kit *kit, uint64_t number, uint32_t part, const char *sql)
{
    struct reading reading;
    sqlite3_stmt *statement;
    assert_true(read_changeset(kit, number, &reading));
    assert_int_equal(sqlite3_prepare_v2(kit->db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    struct satchel_value value = satchel_value_of_column(statement, 0);
    assert_true(satchel_value_equal(&value, &reading.changeset.parts[part].fields[0].value));
    sqlite3_finalize(statement);
    end_reading(&reading);
}

void kit_put_base(struct kit *kit, const char *key, const uint32_t *columns, uint32_t count)
{
    struct satchel_exception views[4] = {0};
    struct satchel_base base = {.exists = false, .views = views, .view_count = count};
    struct satchel_buffer name, bytes;
    struct satchel_value value = satchel_value_text(satchel_span_text(key));
    const struct satchel_table *table = satchel_schema_find(kit->replica->schema, "item");
    sqlite3_stmt *statement;
    for (uint32_t i = 0; i < count; i++) {
        views[i].column = columns[i];
        views[i].view.kind = SATCHEL_VIEW_NONE;
    }
    satchel_buffer_init(&name, 1000, NULL);
    satchel_buffer_init(&bytes, 1000, NULL);
    assert_int_equal(satchel_row_name(&name, table->number, &value, 1), SATCHEL_OK);
    assert_int_equal(satchel_base_encode(&bytes, &base, table->column_count), SATCHEL_OK);
    assert_int_equal(sqlite3_prepare_v2(kit->db, "REPLACE INTO satchel_base VALUES(?1, ?2)", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    sqlite3_bind_blob(statement, 1, name.data, (int)name.size, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, bytes.data, (int)bytes.size, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_finalize(statement);
    satchel_buffer_deinit(&name);
    satchel_buffer_deinit(&bytes);
}

/* ---- random transactions ---- */

static uint32_t draw(uint64_t *seed, uint32_t count)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % count;
}

static void random_statement(struct kit *kit, uint64_t *seed)
{
    static const char *const forms[] = {
        "INSERT OR IGNORE INTO line VALUES('k', %u, %u, %u)",
        "REPLACE INTO line VALUES('k', %u, %u, %u)",
        "UPDATE line SET w = %u, v = %u WHERE b > %u",
        "UPDATE OR IGNORE line SET b = (b + %u) %% 12, v = %u WHERE b = %u",
        "UPDATE OR REPLACE line SET b = %u, v = %u WHERE b = %u",
        "DELETE FROM line WHERE b = %u OR b = %u OR b = %u",
        "SAVEPOINT s%u",
        "ROLLBACK TO s%u",
        "RELEASE s%u",
        "INSERT OR FAIL INTO line VALUES('k', %u, 1, 2), ('k', %u, 3, 4), ('k', %u, 5, 6)",
        "INSERT INTO line VALUES('k', %u, 1, 2), ('k', %u, 3, 4), ('k', %u, 5, 6)",
        "INSERT INTO line VALUES('k', %u, %u, 1) ON CONFLICT DO UPDATE SET v = excluded.v + %u",
    };
    uint32_t form = draw(seed, sizeof forms / sizeof forms[0]);
    uint32_t range = form >= 6 && form <= 8 ? 3 : 12;
    char sql[200];
    snprintf(sql, sizeof sql, forms[form], (unsigned)draw(seed, range), (unsigned)draw(seed, 12),
             (unsigned)draw(seed, 12));
    sqlite3_exec(kit->db, sql, NULL, NULL, NULL); /* many fail, as they should */
}

/* Puts a change set on the table `mirror`. */
static void put_on_mirror(struct kit *kit, const struct satchel_changeset *changeset)
{
    for (uint32_t i = 0; i < changeset->header.part_count; i++) {
        const struct satchel_part *part = &changeset->parts[i];
        long long key = (long long)part->key[1].integer;
        char sql[200];
        if (part->kind == SATCHEL_OP_INSERT)
            snprintf(sql, sizeof sql, "INSERT INTO mirror(b) VALUES(%lld)", key);
        else if (part->kind == SATCHEL_OP_DELETE)
            snprintf(sql, sizeof sql, "DELETE FROM mirror WHERE b = %lld", key);
        else
            snprintf(sql, sizeof sql, "UPDATE mirror SET b = b WHERE b = %lld", key);
        kit_run(kit, sql);
        assert_int_equal(sqlite3_changes(kit->db), 1);
        for (uint32_t j = 0; j < part->field_count; j++) {
            const struct satchel_field *field = &part->fields[j];
            assert_int_equal(field->value.type, SATCHEL_INTEGER);
            snprintf(sql, sizeof sql, "UPDATE mirror SET %s = %lld WHERE b = %lld",
                     field->column == 2 ? "v" : "w", (long long)field->value.integer, key);
            kit_run(kit, sql);
        }
    }
}

void kit_run_random(struct kit *kit, uint32_t count)
{
    uint64_t seed = 20240531;
    uint64_t number = 0;
    kit_run(kit, "CREATE TEMP TABLE mirror(b INTEGER PRIMARY KEY, v, w)");
    for (uint32_t i = 0; i < count; i++) {
        kit_run(kit, "BEGIN");
        for (uint32_t left = 1 + draw(&seed, 12); left > 0; left--)
            random_statement(kit, &seed);
        kit_run(kit, draw(&seed, 8) ? "COMMIT" : "ROLLBACK");
        struct reading reading;
        if (read_changeset(kit, number + 1, &reading)) {
            number++;
            put_on_mirror(kit, &reading.changeset);
        }
        end_reading(&reading);
        kit_expect_sql(
            kit, "SELECT count(*) FROM (SELECT b, v, w FROM line EXCEPT SELECT * FROM mirror)",
            "0");
        kit_expect_sql(
            kit, "SELECT count(*) FROM (SELECT * FROM mirror EXCEPT SELECT b, v, w FROM line)",
            "0");
    }
    assert_in_range(number, count / 4, count);
}
