/* Owns the text of the triggers that capture: what they are named, what they pass, whether they are
 * all still there. What becomes of what they pass is capture.c's.
 *
 * The virtual tables they write to are eponymous: nothing of them is in the file. So a connection
 * without Satchel reads, checks and dumps a replica as ever, and fails to prepare a write to a
 * tracked table with "no such table: main.satchel_capture_24". */
#include "capture.h"

/* ---- the code: tag, columns, table, kind ---- */

enum { KIND_BITS = 2, TABLE_BITS = 14, COLUMN_BITS = 10, TAG_BITS = 31 };

uint32_t satchel_capture_tag(const struct satchel_id *device)
{
    uint32_t tag;
    memcpy(&tag, device->bytes, sizeof tag);
    return tag >> 1;
}

int64_t satchel_capture_code_pack(const struct satchel_capture_code *code)
{
    uint64_t packed = code->tag;
    packed = packed << COLUMN_BITS | code->column_count;
    packed = packed << TABLE_BITS | code->table;
    packed = packed << KIND_BITS | (uint32_t)code->kind;
    return (int64_t)packed;
}

bool satchel_capture_code_unpack(int64_t packed, struct satchel_capture_code *code)
{
    uint64_t bits = (uint64_t)packed;
    uint32_t kind = (uint32_t)(bits & ((1u << KIND_BITS) - 1));
    bits >>= KIND_BITS;
    code->table = (uint32_t)(bits & ((1u << TABLE_BITS) - 1));
    bits >>= TABLE_BITS;
    code->column_count = (uint32_t)(bits & ((1u << COLUMN_BITS) - 1));
    bits >>= COLUMN_BITS;
    code->tag = (uint32_t)bits;
    code->kind = (enum satchel_op_kind)kind;
    return packed >= 0 && bits < (uint64_t)1 << TAG_BITS && kind <= SATCHEL_OP_DELETE;
}

/* ---- text ---- */

struct text {
    struct satchel_buffer *buffer;
    enum satchel_status status;
};

static void add(struct text *text, const char *words)
{
    if (text->status == SATCHEL_OK)
        text->status = satchel_buffer_append(text->buffer, words, strlen(words));
}

/* The name inside double quotes, without them. */
static void add_name(struct text *text, const char *name)
{
    for (const char *quote; (quote = strchr(name, '"')); name = quote + 1) {
        if (text->status == SATCHEL_OK)
            text->status = satchel_buffer_append(text->buffer, name, (size_t)(quote - name));
        add(text, "\"\"");
    }
    add(text, name);
}

static void add_row(struct text *text, const char *row, const struct satchel_table *table)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        add(text, row);
        add_name(text, table->columns[i].name);
        add(text, "\"");
    }
}

static uint32_t width_for(uint32_t argument_count)
{
    static const uint32_t widths[] = SATCHEL_CAPTURE_WIDTHS;
    for (size_t i = 0; i < SATCHEL_CAPTURE_WIDTH_COUNT; i++)
        if (argument_count <= widths[i])
            return widths[i];
    return 0;
}

static void add_trigger(struct text *text, const struct satchel_table *table,
                        const struct satchel_id *device, enum satchel_op_kind kind)
{
    static const char *const names[] = {"insert", "update", "delete"};
    static const char *const events[] = {"INSERT", "UPDATE", "DELETE"};
    uint32_t argument_count = 1 + table->column_count * (kind == SATCHEL_OP_UPDATE ? 2 : 1);
    uint32_t width = width_for(argument_count);
    struct satchel_capture_code code = {satchel_capture_tag(device), table->column_count,
                                        table->number, kind};
    if (width == 0 && text->status == SATCHEL_OK)
        text->status = SATCHEL_LIMIT;
    add(text, "CREATE TRIGGER \"satchel_");
    add(text, names[kind]);
    add(text, "_");
    add_name(text, table->name);
    add(text, "\" AFTER ");
    add(text, events[kind]);
    add(text, " ON \"");
    add_name(text, table->name);
    if (text->status == SATCHEL_OK)
        text->status = satchel_buffer_format(
            text->buffer, "\" BEGIN INSERT INTO satchel_capture_%u(code", (unsigned)width);
    for (uint32_t i = 1; i < argument_count && text->status == SATCHEL_OK; i++)
        text->status = satchel_buffer_format(text->buffer, ",v%u", (unsigned)i);
    if (text->status == SATCHEL_OK)
        text->status = satchel_buffer_format(text->buffer, ")VALUES(%lld",
                                             (long long)satchel_capture_code_pack(&code));
    if (kind != SATCHEL_OP_INSERT)
        add_row(text, ",OLD.\"", table);
    if (kind != SATCHEL_OP_DELETE)
        add_row(text, ",NEW.\"", table);
    add(text, "); END");
}

/* Whether SQLite would number the rows itself where an INSERT leaves the key out. */
static bool numbers_itself(const struct satchel_table *table)
{
    return table->key_count == 1 && !table->without_rowid &&
           sqlite3_stricmp(table->columns[table->key_columns[0]].declared_type, "INTEGER") == 0;
}

/* Refuses an INSERT that leaves an @id(assigned) out: before SQLite has chosen, such a key reads
 * -1. */
static void add_key_trigger(struct text *text, const struct satchel_table *table)
{
    const char *key = table->columns[table->key_columns[0]].name;
    char *sql = sqlite3_mprintf(
        "CREATE TRIGGER \"satchel_key_%w\" BEFORE INSERT ON \"%w\" WHEN NEW.\"%w\"=-1"
        " AND NOT satchel_applying() BEGIN SELECT RAISE(ABORT,'satchel: table %q, column %q: "
        "@id(assigned): give it satchel_id(); a number that SQLite makes up here is made up on "
        "another device too'); END",
        table->name, table->name, key, table->name, key);
    if (!sql && text->status == SATCHEL_OK)
        text->status = SATCHEL_NOMEM;
    if (sql)
        add(text, sql);
    sqlite3_free(sql);
}

enum satchel_status satchel_capture_triggers(const struct satchel_table *table,
                                             const struct satchel_id *device,
                                             struct satchel_buffer *sql)
{
    struct text text = {sql, SATCHEL_OK};
    for (int kind = SATCHEL_OP_INSERT; kind <= SATCHEL_OP_DELETE; kind++) {
        add_trigger(&text, table, device, (enum satchel_op_kind)kind);
        add(&text, ";");
    }
    if (numbers_itself(table)) {
        add_key_trigger(&text, table);
        add(&text, ";");
    }
    return text.status;
}

/* ---- whether they are all there ---- */

static const char SELECT_TABLE[] =
    "SELECT count(*) FROM main.sqlite_schema WHERE type='table' AND name=?1 COLLATE NOCASE";
static const char SELECT_COLUMNS[] = "SELECT name FROM pragma_table_xinfo(?1, 'main') ORDER BY cid";
static const char SELECT_TRIGGER[] =
    "SELECT sql FROM main.sqlite_schema WHERE type='trigger' AND sql=?1";

struct check {
    struct satchel_replica *replica;
    struct satchel_error *error;
    sqlite3_stmt *table, *columns, *trigger;
    struct satchel_buffer sql;
};

static enum satchel_status check_table(struct check *check, const struct satchel_table *table)
{
    sqlite3_bind_text(check->table, 1, table->name, -1, SQLITE_STATIC);
    int code = sqlite3_step(check->table);
    bool exists = code == SQLITE_ROW && sqlite3_column_int(check->table, 0) == 1;
    sqlite3_reset(check->table);
    if (code != SQLITE_ROW)
        return satchel_sql_error(check->error, check->replica->db, "cannot read the schema");
    if (!exists)
        return satchel_error_set(
            check->error, SATCHEL_SCHEMA,
            "table %s was dropped by a connection without Satchel; restore the "
            "replica, or join again with a new file",
            table->name);
    return SATCHEL_OK;
}

static enum satchel_status check_columns(struct check *check, const struct satchel_table *table)
{
    uint32_t count = 0;
    bool is_equal = true;
    int code;
    sqlite3_bind_text(check->columns, 1, table->name, -1, SQLITE_STATIC);
    while ((code = sqlite3_step(check->columns)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(check->columns, 0);
        if (count >= table->column_count || !name ||
            sqlite3_stricmp(name, table->columns[count].name) != 0)
            is_equal = false;
        count++;
    }
    sqlite3_reset(check->columns);
    if (code != SQLITE_DONE)
        return satchel_sql_error(check->error, check->replica->db, "cannot read the columns of %s",
                                 table->name);
    if (!is_equal || count != table->column_count)
        return satchel_error_set(
            check->error, SATCHEL_SCHEMA,
            "table %s does not have the columns of the workspace's schema: it was "
            "changed outside a migration; restore the replica, or join again with a "
            "new file",
            table->name);
    return SATCHEL_OK;
}

/* Whether the trigger whose text is in check->sql is there, unchanged. */
static enum satchel_status check_text(struct check *check, enum satchel_status text_status,
                                      const char *name, const struct satchel_table *table)
{
    if (text_status != SATCHEL_OK)
        return satchel_error_set(check->error, text_status, "table %s: cannot make its triggers",
                                 table->name);
    sqlite3_bind_text(check->trigger, 1, (const char *)check->sql.data, (int)check->sql.size,
                      SQLITE_STATIC);
    int code = sqlite3_step(check->trigger);
    sqlite3_reset(check->trigger);
    if (code == SQLITE_DONE)
        return satchel_error_set(
            check->error, SATCHEL_SCHEMA,
            "trigger satchel_%s_%s is missing or changed: writes to %s may have "
            "gone unseen; restore the replica, or join again with a new file",
            name, table->name, table->name);
    if (code != SQLITE_ROW)
        return satchel_sql_error(check->error, check->replica->db, "cannot read the schema");
    return SATCHEL_OK;
}

static enum satchel_status check_triggers(struct check *check, const struct satchel_table *table)
{
    static const char *const names[] = {"insert", "update", "delete"};
    enum satchel_status status = SATCHEL_OK;
    for (int kind = SATCHEL_OP_INSERT; kind <= SATCHEL_OP_DELETE && status == SATCHEL_OK; kind++) {
        struct text text = {&check->sql, SATCHEL_OK};
        satchel_buffer_clear(&check->sql);
        add_trigger(&text, table, &check->replica->file, (enum satchel_op_kind)kind);
        status = check_text(check, text.status, names[kind], table);
    }
    if (status == SATCHEL_OK && numbers_itself(table)) {
        struct text text = {&check->sql, SATCHEL_OK};
        satchel_buffer_clear(&check->sql);
        add_key_trigger(&text, table);
        status = check_text(check, text.status, "key", table);
    }
    return status;
}

enum satchel_status satchel_capture_check(struct satchel_replica *replica,
                                          struct satchel_error *error)
{
    struct check check = {.replica = replica, .error = error};
    enum satchel_status status = SATCHEL_OK;
    satchel_buffer_init(&check.sql, 1u << 20, NULL);
    if (sqlite3_prepare_v2(replica->db, SELECT_TABLE, -1, &check.table, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(replica->db, SELECT_COLUMNS, -1, &check.columns, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(replica->db, SELECT_TRIGGER, -1, &check.trigger, NULL) != SQLITE_OK)
        status = satchel_sql_error(error, replica->db, "cannot read the schema");
    for (uint32_t i = 0; i < replica->schema->table_count && status == SATCHEL_OK; i++) {
        const struct satchel_table *table = &replica->schema->tables[i];
        if (table->is_local)
            continue;
        status = check_table(&check, table);
        if (status == SATCHEL_OK)
            status = check_columns(&check, table);
        if (status == SATCHEL_OK)
            status = check_triggers(&check, table);
    }
    sqlite3_finalize(check.table);
    sqlite3_finalize(check.columns);
    sqlite3_finalize(check.trigger);
    satchel_buffer_deinit(&check.sql);
    return status;
}
