/* Owns the tables satchel_entry and satchel_conflict: their shape and what is written to them.
 * Reading them for people is history.c's. Decides nothing: what became of a write comes in the
 * entry's notes. */
#include <satchel/alias.h>
#include <satchel/log.h>

#include "history_words.h"
#include "log_internal.h"
#include "migration_table.h"
#include "row_name.h"
#include <satchel/sql_error.h>

#include <satchel/row_io.h>
#include <satchel/sqlite.h>

/* cursor: place in the node's stream. seq: 0 if the node gave none. stamp, number: unsigned 64-bit
 * numbers in SQLite's signed ones. body: stored form. */
static const char create_entry[] =
    "CREATE TABLE IF NOT EXISTS main.satchel_entry("
    "cursor INTEGER PRIMARY KEY, seq INTEGER NOT NULL, device BLOB NOT NULL,"
    "number INTEGER NOT NULL, stamp INTEGER NOT NULL, user TEXT, secret BLOB, body BLOB NOT NULL,"
    "notes BLOB NOT NULL, timeline BLOB NOT NULL)";

/* One row per conflict ever opened. at, winner_at, resolved: ms since 1970 UTC; resolved is NULL
 * while open. mine, theirs, kept: the values themselves, of a group one JSON object. loser_key: of
 * the row that the loser wrote to, which may have been merged into that of `key` since. note: the
 * last note in full, as an entry's notes with nothing else; opened: the last that opened it. */
static const char create_conflict[] =
    "CREATE TABLE IF NOT EXISTS main.satchel_conflict("
    "id BLOB NOT NULL PRIMARY KEY, tbl TEXT NOT NULL, key TEXT NOT NULL, field TEXT NOT NULL,"
    "rule TEXT NOT NULL, severity TEXT NOT NULL, at INTEGER NOT NULL, mine, theirs, kept,"
    "by_user TEXT, loser_device BLOB NOT NULL, loser_number INTEGER NOT NULL,"
    "winner_user TEXT, winner_at INTEGER NOT NULL, winner_device BLOB NOT NULL,"
    "winner_number INTEGER NOT NULL, resolved INTEGER, loser_key TEXT NOT NULL,"
    "note BLOB NOT NULL, opened BLOB)";

/* history finds what a change set lost */
static const char create_conflict_loser[] = "CREATE INDEX IF NOT EXISTS main.satchel_conflict_loser"
                                            " ON satchel_conflict(loser_device, loser_number)";

/* Rows are told with all conflicts on them. Of the key alone: with the table before it SQLite would
 * take one of the two for `tbl = ?`, and read all conflicts of the table. */
static const char create_conflict_row[] =
    "CREATE INDEX IF NOT EXISTS main.satchel_conflict_key ON satchel_conflict(key);"
    "CREATE INDEX IF NOT EXISTS main.satchel_conflict_loser_key ON satchel_conflict(loser_key)";

static const char create_conflicts[] = "CREATE VIEW IF NOT EXISTS main.satchel_conflicts AS"
                                       " SELECT lower(hex(id)) AS id, at, tbl, key, field, rule, "
                                       "severity, mine, theirs, kept, by_user,"
                                       " resolved FROM satchel_conflict";

static const char create_migration[] = SATCHEL_MIGRATION_TABLE;

static const char insert_entry[] =
    "INSERT INTO main.satchel_entry(cursor, seq, device, number, stamp, user, secret, body, notes,"
    " timeline) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

#define INSERT_CONFLICT                                                                           \
    "INSERT INTO main.satchel_conflict(id, tbl, key, field, rule, severity, at, mine, theirs, "   \
    "kept,"                                                                                       \
    " by_user, loser_device, loser_number, winner_user, winner_at, winner_device, winner_number," \
    " resolved, loser_key, note, opened) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10,"     \
    " ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, iif(?17 IS NULL, ?19, NULL))"                  \
    " ON CONFLICT(id) DO UPDATE SET key = excluded.key,"                                          \
    " at = excluded.at, rule = excluded.rule, severity = excluded.severity,"                      \
    " loser_key = excluded.loser_key,"                                                            \
    " note = excluded.note, kept = excluded.kept,"

/* Again open: another write may have won meanwhile. */
static const char open_conflict[] =
    INSERT_CONFLICT " rule = excluded.rule, mine = excluded.mine, theirs = excluded.theirs, "
                    "winner_user = excluded.winner_user,"
                    " winner_at = excluded.winner_at,"
                    " winner_device = excluded.winner_device,"
                    " winner_number = excluded.winner_number, resolved = NULL,"
                    " opened = excluded.opened";

/* Closed: whom it was lost to stays on record. */
static const char close_conflict[] = INSERT_CONFLICT " resolved = excluded.resolved";

static const char find_conflict[] = "SELECT note FROM main.satchel_conflict WHERE id = ?1";

struct satchel_log {
    sqlite3 *db;
    sqlite3_stmt *insert_entry, *open_conflict, *close_conflict, *find_conflict;
    struct satchel_buffer key, loser_key, lost, kept; /* texts of the conflict being written */
    struct satchel_buffer note;
    struct satchel_arena words;
};

/* A key or a group's values: at most a row's. */
enum { TEXT_BYTES_MAX = 1 << 30 };

enum satchel_status satchel_log_create(struct sqlite3 *db, struct satchel_error *error)
{
    static const char *const statements[] = {create_entry,          create_conflict,
                                             create_conflict_loser, create_conflict_row,
                                             create_conflicts,      create_migration};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        if (sqlite3_exec(db, statements[i], NULL, NULL, NULL) != SQLITE_OK)
            return satchel_sql_error(error, db, "cannot create the log's tables");
    enum satchel_status status = satchel_alias_create(db, error);
    return status == SATCHEL_OK ? satchel_segment_create(db, error) : status;
}

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

enum satchel_status satchel_log_new(struct satchel_log **out, struct sqlite3 *db)
{
    *out = NULL;
    struct satchel_log *log = satchel_alloc_zero(NULL, sizeof *log);
    if (!log)
        return SATCHEL_NOMEM;
    log->db = db;
    satchel_buffer_init(&log->key, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&log->loser_key, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&log->note, TEXT_BYTES_MAX, NULL);
    satchel_arena_init(&log->words, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&log->lost, TEXT_BYTES_MAX, NULL);
    satchel_buffer_init(&log->kept, TEXT_BYTES_MAX, NULL);
    int code = prepare(db, insert_entry, &log->insert_entry);
    if (code == SQLITE_OK)
        code = prepare(db, open_conflict, &log->open_conflict);
    if (code == SQLITE_OK)
        code = prepare(db, close_conflict, &log->close_conflict);
    if (code == SQLITE_OK)
        code = prepare(db, find_conflict, &log->find_conflict);
    if (code != SQLITE_OK) {
        satchel_log_free(log);
        return satchel_sql_status(code);
    }
    *out = log;
    return SATCHEL_OK;
}

void satchel_log_free(struct satchel_log *log)
{
    if (!log)
        return;
    sqlite3_finalize(log->insert_entry);
    sqlite3_finalize(log->open_conflict);
    sqlite3_finalize(log->close_conflict);
    sqlite3_finalize(log->find_conflict);
    satchel_buffer_deinit(&log->key);
    satchel_buffer_deinit(&log->loser_key);
    satchel_buffer_deinit(&log->note);
    satchel_arena_deinit(&log->words);
    satchel_buffer_deinit(&log->lost);
    satchel_buffer_deinit(&log->kept);
    satchel_free(NULL, log);
}

/* ---- binding: the first failure sticks ---- */

struct binder {
    sqlite3_stmt *statement;
    int code;
};

static void bind_integer(struct binder *binder, int index, int64_t integer)
{
    if (binder->code == SQLITE_OK)
        binder->code = sqlite3_bind_int64(binder->statement, index, integer);
}

static void bind_blob(struct binder *binder, int index, struct satchel_span bytes)
{
    struct satchel_value value = satchel_value_blob(bytes);
    if (binder->code == SQLITE_OK)
        binder->code = satchel_value_bind(binder->statement, index, &value);
}

static void bind_text(struct binder *binder, int index, struct satchel_span text)
{
    struct satchel_value value = satchel_value_text(text);
    if (binder->code == SQLITE_OK)
        binder->code = satchel_value_bind(binder->statement, index, &value);
}

/* A login that is not known is NULL. */
static void bind_user(struct binder *binder, int index, struct satchel_span user)
{
    if (user.size > 0)
        bind_text(binder, index, user);
}

static void bind_id(struct binder *binder, int index, const struct satchel_id *id)
{
    bind_blob(binder, index, satchel_span_of(id->bytes, sizeof id->bytes));
}

/* Steps what is bound, leaves the statement ready for the next, and says whether it went well. */
static bool run(struct binder *binder)
{
    if (binder->code == SQLITE_OK)
        binder->code = sqlite3_step(binder->statement);
    return binder->code == SQLITE_DONE;
}

static void finish(struct binder *binder)
{
    sqlite3_reset(binder->statement); /* repeats the step's code, which was looked at */
    sqlite3_clear_bindings(binder->statement);
}

/* ---- entries ---- */

enum satchel_status satchel_log_append(struct satchel_log *log, const struct satchel_entry *entry,
                                       struct satchel_span timeline, struct satchel_error *error)
{
    struct binder binder = {log->insert_entry, SQLITE_OK};
    bind_integer(&binder, 1, (int64_t)entry->cursor);
    bind_integer(&binder, 2, (int64_t)entry->seq);
    bind_id(&binder, 3, &entry->device);
    bind_integer(&binder, 4, (int64_t)entry->number);
    bind_integer(&binder, 5, (int64_t)entry->stamp);
    bind_user(&binder, 6, entry->user);
    if (entry->secret)
        bind_blob(&binder, 7, satchel_span_of(entry->secret, SATCHEL_SECRET_BYTES));
    bind_blob(&binder, 8, entry->body);
    bind_blob(&binder, 9, entry->notes);
    bind_blob(&binder, 10, timeline);
    enum satchel_status status = SATCHEL_OK;
    if (!run(&binder))
        status = satchel_sql_error(error, log->db, "cannot append entry %llu to the log",
                                   (unsigned long long)entry->cursor);
    finish(&binder);
    return status;
}

/* ---- conflicts ---- */

/* The table of a note whose numbers all mean something in the schema; else NULL, and `error` says
 * what does not. */
static const struct satchel_table *table_of(const struct satchel_schema *schema,
                                            const struct satchel_conflict_note *note,
                                            struct satchel_error *error)
{
    const struct satchel_table *table = satchel_schema_table(schema, note->table);
    if (!table) {
        satchel_error_set(error, SATCHEL_CORRUPT,
                          "a conflict names table %u, but the schema has %u tables",
                          (unsigned)note->table, (unsigned)schema->table_count);
        return NULL;
    }
    if (note->key_count != table->key_count) {
        satchel_error_set(error, SATCHEL_CORRUPT,
                          "a conflict in table %s has a key of %u values instead of %u",
                          table->name, (unsigned)note->key_count, (unsigned)table->key_count);
        return NULL;
    }
    bool fits = note->unit == SATCHEL_COLUMN_ROW ? note->column_count == 0
                                                 : note->unit < table->column_count;
    for (uint32_t i = 0; i < note->column_count && fits; i++)
        fits = note->lost[i].column < table->column_count &&
               note->kept[i].column == note->lost[i].column;
    if (!fits) {
        satchel_error_set(error, SATCHEL_CORRUPT,
                          "a conflict in table %s names columns that do not belong together",
                          table->name);
        return NULL;
    }
    return table;
}

static enum satchel_status object_value(const struct satchel_table *table,
                                        const struct satchel_field *fields, uint32_t field_count,
                                        struct satchel_buffer *text, struct satchel_value *out)
{
    struct satchel_json json;
    satchel_buffer_clear(text);
    satchel_json_init(&json, text);
    satchel_json_open(&json, '{');
    for (uint32_t i = 0; i < field_count; i++) {
        satchel_json_name(&json, satchel_span_text(table->columns[fields[i].column].name));
        enum satchel_status status = satchel_json_value(&json, &fields[i].value);
        if (status != SATCHEL_OK)
            return status;
    }
    satchel_json_close(&json, '}');
    *out = satchel_value_text(satchel_buffer_span(text));
    return json.status;
}

/* The place of the column that names the unit. */
static uint32_t leader_index(const struct satchel_conflict_note *note)
{
    for (uint32_t i = 0; i < note->column_count; i++)
        if (note->lost[i].column == note->unit)
            return i;
    return 0;
}

/* What a write to a map lost are keys of its operation. */
static enum satchel_status lost_keys(struct satchel_log *log, const struct satchel_table *table,
                                     uint32_t unit, struct satchel_value *lost)
{
    const struct satchel_value operation = *lost;
    satchel_arena_reset(&log->words);
    return satchel_history_words(&table->rules.columns[unit], SATCHEL_OP_UPDATE, &operation,
                                 &log->words, lost);
}

/* Both values of the unit as people see them: of a leader its own, unless the writes differ only in
 * what follows it; then, and of a group, all of them as a JSON object. */
static enum satchel_status unit_values(struct satchel_log *log, const struct satchel_table *table,
                                       const struct satchel_conflict_note *note,
                                       struct satchel_value *lost, struct satchel_value *kept)
{
    *lost = *kept = satchel_value_null();
    if (note->column_count == 0)
        return SATCHEL_OK;
    uint32_t leader = leader_index(note);
    *lost = note->lost[leader].value;
    *kept = note->kept[leader].value;
    if (table->columns[note->unit].rule == SATCHEL_RULE_MAP)
        return lost_keys(log, table, note->unit, lost);
    bool is_object = table->columns[note->unit].rule == SATCHEL_RULE_GROUP ||
                     (note->column_count > 1 && satchel_value_equal(lost, kept));
    if (!is_object)
        return SATCHEL_OK;
    enum satchel_status status =
        object_value(table, note->lost, note->column_count, &log->lost, lost);
    return status == SATCHEL_OK
               ? object_value(table, note->kept, note->column_count, &log->kept, kept)
               : status;
}

/* Of a duplicate: the keys of the two rows. */
static enum satchel_status values_of(struct satchel_log *log, const struct satchel_table *table,
                                     const struct satchel_conflict_note *note,
                                     struct satchel_value *lost, struct satchel_value *kept)
{
    if (note->kind != SATCHEL_CONFLICT_DUPLICATE)
        return unit_values(log, table, note, lost, kept);
    *lost = satchel_value_text(satchel_buffer_span(&log->loser_key));
    *kept = satchel_value_text(satchel_buffer_span(&log->key));
    return SATCHEL_OK;
}

static enum satchel_status write_texts(struct satchel_log *log,
                                       const struct satchel_conflict_note *note)
{
    const struct satchel_notes alone = {.conflicts = note, .conflict_count = 1};
    satchel_buffer_clear(&log->key);
    satchel_buffer_clear(&log->loser_key);
    satchel_buffer_clear(&log->note);
    enum satchel_status status = satchel_key_text(&log->key, note->key, note->key_count);
    if (status == SATCHEL_OK)
        status = satchel_key_text(&log->loser_key, note->alias_key ? note->alias_key : note->key,
                                  note->key_count);
    return status == SATCHEL_OK ? satchel_notes_write(&log->note, &alone) : status;
}

static const char *rule_of(const struct satchel_conflict_note *note,
                           const struct satchel_column *unit)
{
    switch (note->kind) {
    case SATCHEL_CONFLICT_DELETE: return "delete_vs_update";
    case SATCHEL_CONFLICT_FROZEN: return "frozen";
    case SATCHEL_CONFLICT_DUPLICATE: return "duplicate_key";
    case SATCHEL_CONFLICT_RULE: break;
    }
    return unit ? satchel_rule_name(unit->rule) : "delete_vs_update";
}

static void bind_value(struct binder *binder, int index, const struct satchel_value *value)
{
    if (binder->code == SQLITE_OK)
        binder->code = satchel_value_bind(binder->statement, index, value);
}

static void bind_note(struct binder *binder, const struct satchel_conflict_note *note,
                      const struct satchel_table *table, const struct satchel_column *unit)
{
    bool is_review = note->severity == SATCHEL_SEVERITY_REVIEW;
    bind_id(binder, 1, &note->id);
    bind_text(binder, 2, satchel_span_text(table->name));
    bind_text(binder, 4, satchel_span_text(unit ? unit->field : ""));
    bind_text(binder, 5, satchel_span_text(rule_of(note, unit)));
    bind_text(binder, 6, satchel_span_text(is_review ? "review" : "notice"));
    bind_integer(binder, 7, satchel_stamp_ms(note->loser.stamp));
    bind_user(binder, 10, note->loser_user);
    bind_id(binder, 11, &note->loser.device);
    bind_integer(binder, 12, (int64_t)note->loser.number);
    bind_user(binder, 13, note->winner_user);
    bind_integer(binder, 14, satchel_stamp_ms(note->winner.stamp));
    bind_id(binder, 15, &note->winner.device);
    bind_integer(binder, 16, (int64_t)note->winner.number);
    if (!note->is_open)
        bind_integer(binder, 17, satchel_stamp_ms(note->resolved));
}

enum satchel_status satchel_log_conflict(struct satchel_log *log,
                                         const struct satchel_schema *schema,
                                         const struct satchel_conflict_note *note,
                                         struct satchel_error *error)
{
    const struct satchel_table *table = table_of(schema, note, error);
    if (!table)
        return SATCHEL_CORRUPT;
    const struct satchel_column *unit =
        note->unit == SATCHEL_COLUMN_ROW ? NULL : &table->columns[note->unit];
    struct satchel_value lost, kept;
    enum satchel_status status = write_texts(log, note);
    if (status == SATCHEL_OK)
        status = values_of(log, table, note, &lost, &kept);
    if (status != SATCHEL_OK)
        return satchel_error_set(error, status, "cannot write a conflict of table %s: %s",
                                 table->name, satchel_status_text(status));

    struct binder binder = {note->is_open ? log->open_conflict : log->close_conflict, SQLITE_OK};
    bind_note(&binder, note, table, unit);
    bind_text(&binder, 3, satchel_buffer_span(&log->key));
    bind_value(&binder, 8, &lost);
    bind_value(&binder, 9, &kept);
    bind_text(&binder, 18, satchel_buffer_span(&log->loser_key));
    bind_blob(&binder, 19, satchel_buffer_span(&log->note));
    if (!run(&binder))
        status =
            satchel_sql_error(error, log->db, "cannot record a conflict of table %s", table->name);
    finish(&binder);
    return status;
}

enum satchel_status satchel_log_conflict_find(struct satchel_log *log, const struct satchel_id *id,
                                              struct satchel_arena *arena,
                                              struct satchel_conflict_note *note,
                                              struct satchel_error *error)
{
    struct satchel_notes notes;
    struct binder binder = {log->find_conflict, SQLITE_OK};
    bind_id(&binder, 1, id);
    run(&binder);
    enum satchel_status status = SATCHEL_OK;
    if (binder.code == SQLITE_ROW) {
        struct satchel_value stored = satchel_value_of_column(log->find_conflict, 0);
        struct satchel_span bytes = satchel_arena_copy(arena, stored.bytes);
        status = bytes.data ? satchel_notes_read(bytes, arena, &notes) : SATCHEL_NOMEM;
        if (status == SATCHEL_OK && notes.conflict_count != 1)
            status = SATCHEL_CORRUPT;
        if (status == SATCHEL_OK)
            *note = notes.conflicts[0];
        else
            satchel_error_set(error, status, "cannot read a conflict of the log: %s",
                              satchel_status_text(status));
    } else if (binder.code == SQLITE_DONE) {
        status = satchel_error_set(error, SATCHEL_NOT_FOUND, "there is no such conflict");
    } else {
        status = satchel_sql_error(error, log->db, "cannot read a conflict of the log");
    }
    finish(&binder);
    return status;
}
