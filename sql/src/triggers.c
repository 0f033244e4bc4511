/* Owns finding triggers that write a synced table while sync applies an entry. Such a trigger's
 * writes were captured where they first happened; made again on apply they would be new writes of
 * this device. And those that end a row's triggers with the row written: capture's may be among
 * the ones that do not fire then. Must not know how capture or apply work. */
#include "definitions.h"
#include "schema_internal.h"
#include <satchel/sql_error.h>

#include <satchel/sqlite.h>

#define SQL_TRIGGERS                                                               \
    "SELECT name, tbl_name, sql, 0 FROM main.sqlite_master WHERE type = 'trigger'" \
    " UNION ALL SELECT name, tbl_name, sql, 1 FROM temp.sqlite_master WHERE type = 'trigger'"
#define SQL_COLUMNS "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid"

enum { TRIGGERS_MAX = 10000, FIRING_BYTES_MAX = 1 << 20, GUARD_DEPTH_MAX = 50 };

struct trigger {
    const char *name, *table;
    bool is_temporary, is_guarded, is_reached;
    bool is_known; /* what it writes has been looked for */
    bool is_after;
    bool ignores, rolls_back; /* RAISE(IGNORE), RAISE(ROLLBACK, ...) stands in its body */
    enum { FIRED_BY_NONE, FIRED_BY_INSERT, FIRED_BY_UPDATE, FIRED_BY_DELETE } fired_by;
    const char *synced_write; /* a synced table that it writes itself; NULL: none */
    const char **writes;      /* tables it writes itself */
    uint32_t write_count, write_capacity;
    uint32_t *nested; /* triggers that write and that SQLite compiles into what fires this one */
    uint32_t nested_count, nested_capacity;
};

struct search {
    sqlite3 *db;
    const struct satchel_schema *schema;
    struct satchel_arena *arena;
    struct satchel_error *error;
    struct trigger *triggers;
    uint32_t count, capacity;
    struct trigger *fired; /* the one whose firing statement is being prepared */
    bool no_memory;        /* the authorizer met it */
};

static enum satchel_status no_memory(struct search *search)
{
    return satchel_error_set(search->error, SATCHEL_NOMEM, "checking triggers: out of memory");
}

/* ---- the guard ---- */

static bool is_guard(const struct satchel_token *tokens, size_t count)
{
    return count == 4 && satchel_token_is_word(&tokens[0], "NOT") &&
           satchel_token_is_word(&tokens[1], "SATCHEL_APPLYING") &&
           satchel_token_is_sign(&tokens[2], '(') && satchel_token_is_sign(&tokens[3], ')');
}

/* How a token changes the depth of parentheses and CASE … END. */
static int depth_change(const struct satchel_token *tokens, size_t index)
{
    const struct satchel_token *token = &tokens[index];
    if (satchel_token_is_sign(token, '('))
        return 1;
    if (satchel_token_is_sign(token, ')'))
        return -1;
    if (index > 0 && satchel_token_is_sign(&tokens[index - 1], '.'))
        return 0; /* NEW.end */
    return satchel_token_is_word(token, "CASE") ? 1 : satchel_token_is_word(token, "END") ? -1 : 0;
}

/* Whether the parenthesis that opens first closes last. */
static bool is_wrapped(const struct satchel_token *tokens, size_t count)
{
    if (count < 2 || !satchel_token_is_sign(&tokens[0], '('))
        return false;
    int depth = 0;
    for (size_t i = 0; i < count; i++) {
        depth += depth_change(tokens, i);
        if (depth == 0)
            return i + 1 == count;
    }
    return false;
}

/* Whether the expression is false whenever satchel_applying(): the guard alone or one of its top
 * AND terms. */
static bool has_guard(const struct satchel_token *tokens, size_t count, int nesting)
{
    if (nesting > GUARD_DEPTH_MAX)
        return false;
    if (is_guard(tokens, count))
        return true;
    if (is_wrapped(tokens, count))
        return has_guard(tokens + 1, count - 2, nesting + 1);
    int depth = 0, betweens = 0;
    size_t begin = 0;
    bool found = false, splits = false;
    for (size_t i = 0; i < count; i++) {
        depth += depth_change(tokens, i);
        if (depth != 0)
            continue;
        if (satchel_token_is_word(&tokens[i], "OR"))
            return false;
        bool is_and = satchel_token_is_word(&tokens[i], "AND");
        if (satchel_token_is_word(&tokens[i], "BETWEEN")) {
            betweens++;
        } else if (is_and && betweens > 0) {
            betweens--; /* the AND of BETWEEN x AND y */
        } else if (is_and) {
            splits = true;
            found = found || has_guard(tokens + begin, i - begin, nesting + 1);
            begin = i + 1;
        }
    }
    return depth == 0 && splits && (found || has_guard(tokens + begin, count - begin, nesting + 1));
}

/* Which RAISE stand in what is left of the text. */
static void find_raises(struct satchel_scanner *scanner, struct trigger *trigger)
{
    bool behind_raise = false, in_raise = false;
    for (;;) {
        struct satchel_token token = satchel_scanner_next_code(scanner);
        if (token.kind == SATCHEL_TOKEN_END)
            return;
        trigger->ignores |= in_raise && satchel_token_is_word(&token, "IGNORE");
        trigger->rolls_back |= in_raise && satchel_token_is_word(&token, "ROLLBACK");
        in_raise = behind_raise && satchel_token_is_sign(&token, '(');
        behind_raise = satchel_token_is_word(&token, "RAISE");
    }
}

/* Reads event, WHEN clause and body from the trigger's text, which SQLite has accepted. */
static enum satchel_status read_text(struct search *search, struct trigger *trigger,
                                     const char *sql)
{
    struct satchel_span text = satchel_span_text(sql);
    struct satchel_create create;
    if (satchel_create_read(text, 1, search->arena, &create) != SATCHEL_OK)
        return no_memory(search);
    if (create.object != SATCHEL_OBJECT_TRIGGER || !create.name)
        return SATCHEL_OK;
    const uint8_t *end = text.data + text.size;
    struct satchel_scanner scanner = satchel_scanner_of(
        satchel_span_of(create.behind_name, (size_t)(end - create.behind_name)), 1);
    struct satchel_token token = satchel_scanner_next_code(&scanner);
    for (; token.kind != SATCHEL_TOKEN_END; token = satchel_scanner_next_code(&scanner)) {
        trigger->is_after = trigger->is_after || satchel_token_is_word(&token, "AFTER");
        trigger->fired_by = satchel_token_is_word(&token, "INSERT")   ? FIRED_BY_INSERT
                            : satchel_token_is_word(&token, "UPDATE") ? FIRED_BY_UPDATE
                            : satchel_token_is_word(&token, "DELETE") ? FIRED_BY_DELETE
                                                                      : FIRED_BY_NONE;
        if (trigger->fired_by != FIRED_BY_NONE)
            break;
    }
    struct satchel_token *when = NULL;
    uint32_t count = 0, capacity = 0;
    bool in_when = false, behind_dot = false;
    for (; token.kind != SATCHEL_TOKEN_END; token = satchel_scanner_next_code(&scanner)) {
        if (satchel_token_is_word(&token, "BEGIN") && !behind_dot)
            break;
        behind_dot = satchel_token_is_sign(&token, '.');
        if (in_when) {
            when = satchel_arena_grow(search->arena, when, count, &capacity, sizeof *when);
            if (!when)
                return no_memory(search);
            when[count++] = token;
        }
        in_when = in_when || satchel_token_is_word(&token, "WHEN");
    }
    trigger->is_guarded = has_guard(when, count, 0);
    find_raises(&scanner, trigger);
    return SATCHEL_OK;
}

/* ---- loading ---- */

static const char *copy_column(struct search *search, sqlite3_stmt *row, int index)
{
    const char *text = (const char *)sqlite3_column_text(row, index);
    return (const char *)satchel_arena_copy(search->arena, satchel_span_text(text)).data;
}

static enum satchel_status add_trigger(struct search *search, sqlite3_stmt *row)
{
    if (search->count == TRIGGERS_MAX)
        return satchel_error_set(search->error, SATCHEL_LIMIT, "more than %d triggers; drop some",
                                 TRIGGERS_MAX);
    search->triggers = satchel_arena_grow(search->arena, search->triggers, search->count,
                                          &search->capacity, sizeof *search->triggers);
    if (!search->triggers)
        return no_memory(search);
    struct trigger *trigger = &search->triggers[search->count++];
    memset(trigger, 0, sizeof *trigger);
    trigger->name = copy_column(search, row, 0);
    trigger->table = copy_column(search, row, 1);
    trigger->is_temporary = sqlite3_column_int(row, 3) != 0;
    const char *sql = copy_column(search, row, 2);
    if (!trigger->name || !trigger->table || !sql)
        return no_memory(search);
    return read_text(search, trigger, sql);
}

/* All triggers but Satchel's own, which only feed the capture table. */
static enum satchel_status load(struct search *search)
{
    sqlite3_stmt *query = NULL;
    if (sqlite3_prepare_v2(search->db, SQL_TRIGGERS, -1, &query, NULL) != SQLITE_OK)
        return satchel_sql_error(search->error, search->db, "reading the triggers");
    enum satchel_status status = SATCHEL_OK;
    int code = SQLITE_DONE;
    while (status == SATCHEL_OK && (code = sqlite3_step(query)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(query, 0);
        if (name && sqlite3_strnicmp(name, "satchel_", 8) != 0)
            status = add_trigger(search, query);
    }
    if (status == SATCHEL_OK && code != SQLITE_DONE)
        status = satchel_sql_error(search->error, search->db, "reading the triggers");
    sqlite3_finalize(query);
    return status;
}

/* ---- what each one writes ---- */

static const char *synced_name(const struct search *search, const char *name)
{
    const struct satchel_table *table = satchel_schema_find(search->schema, name);
    return table && !table->is_local ? table->name : NULL;
}

static enum satchel_status note_write(struct search *search, struct trigger *trigger,
                                      const char *table)
{
    for (uint32_t i = 0; i < trigger->write_count; i++)
        if (satchel_names_equal(trigger->writes[i], table))
            return SATCHEL_OK;
    trigger->writes = satchel_arena_grow(search->arena, trigger->writes, trigger->write_count,
                                         &trigger->write_capacity, sizeof *trigger->writes);
    const char *copy =
        (const char *)satchel_arena_copy(search->arena, satchel_span_text(table)).data;
    if (!trigger->writes || !copy)
        return SATCHEL_NOMEM;
    trigger->writes[trigger->write_count++] = copy;
    if (!trigger->synced_write)
        trigger->synced_write = synced_name(search, table);
    return SATCHEL_OK;
}

static enum satchel_status note_nested(struct search *search, uint32_t index)
{
    struct trigger *fired = search->fired;
    for (uint32_t i = 0; i < fired->nested_count; i++)
        if (fired->nested[i] == index)
            return SATCHEL_OK;
    fired->nested = satchel_arena_grow(search->arena, fired->nested, fired->nested_count,
                                       &fired->nested_capacity, sizeof *fired->nested);
    if (!fired->nested)
        return SATCHEL_NOMEM;
    fired->nested[fired->nested_count++] = index;
    return SATCHEL_OK;
}

/* SQLite names, with each write, the innermost trigger that makes it
 * (https://sqlite.org/c3ref/set_authorizer.html). */
static int note_action(void *context, int action, const char *table, const char *unused,
                       const char *database, const char *name)
{
    (void)unused, (void)database;
    struct search *search = context;
    if (!name || !table ||
        (action != SQLITE_INSERT && action != SQLITE_UPDATE && action != SQLITE_DELETE))
        return SQLITE_OK;
    for (uint32_t i = 0; i < search->count; i++) {
        struct trigger *trigger = &search->triggers[i];
        if (!satchel_names_equal(trigger->name, name))
            continue;
        enum satchel_status status =
            trigger == search->fired ? note_write(search, trigger, table) : note_nested(search, i);
        search->no_memory = search->no_memory || status != SATCHEL_OK;
    }
    return SQLITE_OK;
}

static enum satchel_status append_name(struct satchel_buffer *sql, const char *name)
{
    enum satchel_status status = satchel_buffer_append(sql, "\"", 1);
    for (const char *at = name; status == SATCHEL_OK && *at; at++)
        status = satchel_buffer_append(sql, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    return status == SATCHEL_OK ? satchel_buffer_append(sql, "\"", 1) : status;
}

static enum satchel_status append_assignments(struct search *search, struct satchel_buffer *sql,
                                              const char *table)
{
    sqlite3_stmt *query = NULL;
    if (sqlite3_prepare_v2(search->db, SQL_COLUMNS, -1, &query, NULL) != SQLITE_OK ||
        sqlite3_bind_text(query, 1, table, -1, SQLITE_STATIC) != SQLITE_OK) {
        sqlite3_finalize(query);
        return SATCHEL_SQL;
    }
    enum satchel_status status = SATCHEL_OK;
    const char *separator = " SET ";
    while (status == SATCHEL_OK && sqlite3_step(query) == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(query, 0);
        status = satchel_buffer_format(sql, "%s", separator);
        if (status == SATCHEL_OK)
            status = append_name(sql, column ? column : "");
        if (status == SATCHEL_OK)
            status = satchel_buffer_append(sql, "=", 1);
        if (status == SATCHEL_OK)
            status = append_name(sql, column ? column : "");
        separator = ", ";
    }
    sqlite3_finalize(query);
    return status;
}

/* A statement that fires the trigger. It is prepared, never run. */
static enum satchel_status write_firing(struct search *search, const struct trigger *trigger,
                                        struct satchel_buffer *sql)
{
    const char *verb = trigger->fired_by == FIRED_BY_INSERT   ? "INSERT INTO "
                       : trigger->fired_by == FIRED_BY_UPDATE ? "UPDATE "
                                                              : "DELETE FROM ";
    enum satchel_status status =
        satchel_buffer_format(sql, "%s%s", verb, trigger->is_temporary ? "" : "main.");
    if (status == SATCHEL_OK)
        status = append_name(sql, trigger->table);
    if (status == SATCHEL_OK && trigger->fired_by == FIRED_BY_INSERT)
        status = satchel_buffer_format(sql, " DEFAULT VALUES");
    if (status == SATCHEL_OK && trigger->fired_by == FIRED_BY_UPDATE)
        status = append_assignments(search, sql, trigger->table);
    return status;
}

/* Prepares what fires `trigger` under the authorizer. `*broken` gets SQLite's words if it cannot
 * be. */
static enum satchel_status look_into(struct search *search, struct trigger *trigger,
                                     const char **broken)
{
    struct satchel_buffer sql;
    sqlite3_stmt *prepared = NULL;
    *broken = NULL;
    if (trigger->fired_by == FIRED_BY_NONE)
        return SATCHEL_OK;
    satchel_buffer_init(&sql, FIRING_BYTES_MAX, NULL);
    enum satchel_status status = write_firing(search, trigger, &sql);
    const char *text = status == SATCHEL_OK ? satchel_buffer_text(&sql) : NULL;
    if (text) {
        search->fired = trigger;
        sqlite3_set_authorizer(search->db, note_action, search);
        int code = sqlite3_prepare_v2(search->db, text, -1, &prepared, NULL);
        sqlite3_set_authorizer(search->db, NULL, NULL);
        search->no_memory = search->no_memory || code == SQLITE_NOMEM;
        if (code != SQLITE_OK && !search->no_memory) {
            *broken = (const char *)satchel_arena_copy(
                          search->arena, satchel_span_text(sqlite3_errmsg(search->db)))
                          .data;
            search->no_memory = *broken == NULL;
        }
    }
    sqlite3_finalize(prepared);
    satchel_buffer_deinit(&sql);
    if (status == SATCHEL_NOMEM || (status == SATCHEL_OK && (!text || search->no_memory)))
        return no_memory(search);
    return status == SATCHEL_SQL ? satchel_sql_error(search->error, search->db, "reading columns")
                                 : status;
}

/* ---- the search ---- */

/* Reaches the triggers that fire when `trigger` does: those on tables it writes. */
static bool reach_nested(struct search *search, const struct trigger *trigger)
{
    bool changed = false;
    for (uint32_t i = 0; i < trigger->nested_count; i++) {
        struct trigger *nested = &search->triggers[trigger->nested[i]];
        if (nested->is_guarded || nested->is_reached)
            continue;
        for (uint32_t k = 0; k < trigger->write_count; k++)
            if (satchel_names_equal(trigger->writes[k], nested->table))
                changed = nested->is_reached = true;
    }
    return changed;
}

static enum satchel_status look_once(struct search *search, struct trigger *trigger,
                                     struct satchel_trigger_offence *out)
{
    const char *broken = NULL;
    if (trigger->is_known)
        return SATCHEL_OK;
    trigger->is_known = true;
    enum satchel_status status = look_into(search, trigger, &broken);
    if (broken && !out->broken) {
        out->broken = trigger->name;
        out->reason = broken;
    }
    return status;
}

static enum satchel_status reach_all(struct search *search, struct satchel_trigger_offence *out)
{
    for (uint32_t i = 0; i < search->count; i++)
        search->triggers[i].is_reached =
            !search->triggers[i].is_guarded && synced_name(search, search->triggers[i].table);
    enum satchel_status status = SATCHEL_OK;
    bool changed = true;
    while (changed) {
        changed = false;
        for (uint32_t i = 0; status == SATCHEL_OK && i < search->count; i++) {
            struct trigger *trigger = &search->triggers[i];
            if (!trigger->is_reached)
                continue;
            status = look_once(search, trigger, out);
            changed = reach_nested(search, trigger) || changed;
        }
    }
    return status;
}

enum satchel_status satchel_triggers_find_offence(struct sqlite3 *db,
                                                  const struct satchel_schema *schema,
                                                  bool finds_broken, struct satchel_arena *arena,
                                                  struct satchel_trigger_offence *out,
                                                  struct satchel_error *error)
{
    struct search search = {.db = db, .schema = schema, .arena = arena, .error = error};
    memset(out, 0, sizeof *out);
    enum satchel_status status = load(&search);
    for (uint32_t i = 0; finds_broken && status == SATCHEL_OK && i < search.count; i++)
        status = look_once(&search, &search.triggers[i], out);
    if (status == SATCHEL_OK)
        status = reach_all(&search, out);
    if (status != SATCHEL_OK)
        return status;
    for (uint32_t i = 0; i < search.count && !out->trigger; i++) {
        const struct trigger *trigger = &search.triggers[i];
        const char *synced = synced_name(&search, trigger->table);
        if (synced && (trigger->rolls_back || (trigger->is_after && trigger->ignores))) {
            out->trigger = trigger->name;
            out->on = synced;
            out->raise = trigger->rolls_back ? SATCHEL_TRIGGER_ROLLS_BACK : SATCHEL_TRIGGER_IGNORES;
        } else if (trigger->is_reached && trigger->synced_write) {
            out->trigger = trigger->name;
            out->on = trigger->table;
            out->written = trigger->synced_write;
        }
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_triggers_check(struct sqlite3 *db, const struct satchel_schema *schema,
                                           struct satchel_error *error)
{
    struct satchel_trigger_offence offence;
    struct satchel_arena arena;
    satchel_arena_init(&arena, (size_t)64 << 20, NULL);
    enum satchel_status status =
        satchel_triggers_find_offence(db, schema, false, &arena, &offence, error);
    if (status == SATCHEL_OK && offence.raise)
        status = satchel_error_set(error, SATCHEL_SCHEMA, "the trigger %s on %s calls %s",
                                   offence.trigger, offence.on, offence.raise);
    else if (status == SATCHEL_OK && offence.trigger)
        status =
            satchel_error_set(error, SATCHEL_SCHEMA,
                              "the trigger %s on %s writes the synced table %s when sync applies "
                              "changes, which were captured where they first happened; create it "
                              "with WHEN NOT satchel_applying()",
                              offence.trigger, offence.on, offence.written);
    satchel_arena_deinit(&arena);
    return status;
}
